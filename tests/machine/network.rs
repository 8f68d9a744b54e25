//! Volumes of a network file system, with a server that answers over the machine's loopback: the kernel's own nfsd, and Samba.

use crate::common::skip;
use crate::guest::{Guest, SAMBA, lacking, lacking_for};

/// Exports /export, a file system in memory, as the root of NFS version 4.
const SERVER: &str = "mkdir -p /export /run /etc/exports.d /var/lib/nfs/v4recovery /var/lib/nfs/rpc_pipefs \
  && touch /var/lib/nfs/etab /var/lib/nfs/rmtab && mount -t tmpfs export /export && chmod 777 /export \
  && echo from the server > /export/greeting && mount -t nfsd nfsd /proc/fs/nfsd \
  && echo '/export 127.0.0.1(rw,fsid=0,no_root_squash,insecure,no_subtree_check)' > /etc/exports \
  && exportfs -a && rpc.mountd -N 2 -N 3 && echo 10 > /proc/fs/nfsd/nfsv4leasetime && echo 10 > /proc/fs/nfsd/nfsv4gracetime \
  && rpc.nfsd -N 3 2";

#[test]
fn containers_share_an_nfs_volume_and_its_files_are_the_servers() {
    if let Some(why) = lacking() {
        return skip(&why);
    }
    let mut guest = Guest::start();
    guest.ok(SERVER);
    guest.ok("ebb volume create --opt type=nfs --opt o=addr=127.0.0.1,rw,nfsvers=4 --opt device=:/ share");
    guest.ok("ebb run -d --name one -v share:/data busybox sh -c 'echo one > /data/one; sleep 1000'");
    let second = "ebb run --rm -v share:/data busybox sh -c 'cat /data/greeting; until [ -e /data/one ]; do :; done; \
                  cat /data/one; echo two > /data/two'";
    assert_eq!(guest.ok(second), "from the server\none");
    assert_eq!(guest.ok("ebb exec one cat /data/two; cat /export/two"), "two\ntwo");
    assert!(guest.ok("ebb exec one grep /data /proc/self/mountinfo").contains(" nfs4 "));
    // It is mounted nowhere on the host, and a backup reads what the server has.
    let outside =
        "grep -c ' nfs4 ' /proc/self/mountinfo; ebb volume export -o /tmp/x.tar share > /dev/null; tar tf /tmp/x.tar";
    assert_eq!(guest.ok(outside), "0\n./\n./greeting\n./one\n./two");
    guest.ok("ebb rm -f one");
    assert_eq!(
        guest.ok("ebb volume rm --now share; ls /export; cat /proc/fs/nfsfs/volumes | wc -l"),
        "share\ngreeting\none\ntwo\n1"
    );
}

#[test]
fn a_server_that_refuses_is_quoted_and_nothing_is_left() {
    if let Some(why) = lacking() {
        return skip(&why);
    }
    let mut guest = Guest::start();
    guest.ok(SERVER);
    for (name, options, device, why) in [
        (
            "wrong",
            "addr=127.0.0.1,rw,nfsvers=4",
            ":/wrong",
            "no such file or directory (NFS4: Couldn't follow remote path)\n  the server exports nothing",
        ),
        (
            "nobody",
            "addr=127.0.0.2,nfsvers=4,port=2050,soft,timeo=10,retrans=1",
            ":/",
            "connection refused (NFS4: Couldn't follow remote path)\n  no such server listens",
        ),
        ("old", "addr=127.0.0.1,nfsvers=3,nolock", ":/export", "protocol not supported"),
        ("bogus", "addr=127.0.0.1,bogus=1", ":/", "invalid argument"),
    ] {
        guest.ok(&format!("ebb volume create --opt type=nfs --opt o={options} --opt device={device} {name}"));
        let said = guest.fails(125, &format!("ebb run --rm -v {name}:/data busybox true"));
        let expected = format!(
            "error while mounting volume '/disk/store/volumes/{name}/_data': failed to mount local volume: \
             mount {device}:/disk/store/volumes/{name}/_data: {why}"
        );
        assert!(said.contains(&expected), "{said}");
    }
    assert_eq!(
        guest.ok("ebb ps -aq; ls /disk/store/tmp; ebb system check"),
        "0 containers, 4 volumes, 1 images: sound"
    );
}

/// Samba's smbd, which serves /share, a file system in memory, to the user learner, and not the share `closed`.
const SMBD: &str = "mkdir -p /share/below /etc/samba /var/lib/samba/private /var/cache/samba /var/log/samba /run/samba \
  && mount -t tmpfs share /share && chmod 777 /share && echo from the server > /share/greeting \
  && for user in learner:1000 nobody:65534; do name=${user%:*}; id=${user#*:}; \
     echo $name:x:$id:$id::/:/bin/sh >> /etc/passwd; echo $name:x:$id: >> /etc/group; done \
  && printf '%s\n' '[global]' 'dos charset = ASCII' 'interfaces = lo' 'bind interfaces only = yes' 'smb ports = 445' \
     'disable netbios = yes' 'disable spoolss = yes' 'load printers = no' 'rpc start on demand helpers = no' \
     'store dos attributes = no' '[share]' 'path = /share' 'read only = no' '[closed]' 'path = /share' 'valid users = nobody' \
     > /etc/samba/smb.conf \
  && printf 'hush-1\nhush-1\n' | smbpasswd -s -a learner 2> /tmp/samba && smbd -D \
  && until netstat -tln | grep -q '127.0.0.1:445 '; do :; done";

#[test]
fn containers_share_an_smb_volume_and_its_files_are_the_servers() {
    if let Some(why) = lacking_for(&SAMBA) {
        return skip(&why);
    }
    let mut guest = Guest::with(&SAMBA);
    guest.ok(SMBD);
    guest
        .ok("ebb volume create --opt type=cifs --opt o=username=learner,password=hush-1,addr=127.0.0.1,uid=33,gid=33 \
         --opt device=//127.0.0.1/share share");
    guest.ok("ebb run -d --name one -v share:/data busybox sh -c 'echo one > /data/one; sleep 1000'");
    // As who the mount says that the files belong to.
    let second = "ebb run --rm -u 33:33 -v share:/data busybox sh -c 'cat /data/greeting; \
                  until [ -e /data/one ]; do :; done; cat /data/one; echo two > /data/two; stat -c %u:%g /data/greeting'";
    assert_eq!(guest.ok(second), "from the server\none\n33:33");
    assert_eq!(guest.ok("ebb exec one cat /data/two; cat /share/two; stat -c %U /share/two"), "two\ntwo\nlearner");
    assert!(guest.ok("ebb exec one grep /data /proc/self/mountinfo").contains(" - cifs //127.0.0.1/share "));
    // It is mounted nowhere on the host, and a backup reads what the server has.
    let outside =
        "grep -c cifs /proc/self/mountinfo; ebb volume export -o /tmp/x.tar share > /dev/null; tar tf /tmp/x.tar";
    assert_eq!(guest.ok(outside), "0\n./\n./greeting\n./one\n./two");
    // The server is found by name as well, where there is no getent(1): the device's, where no addr= says it. (Each is a
    // session of its own with the server: what another one had written within a second, Linux 6.1 here read once as missing and
    // once with zeros behind it.)
    let options = "--opt type=cifs --opt o=username=learner,password=hush-1";
    guest.ok(&format!("ebb volume create {options} --opt device=//localhost/share by-device"));
    guest.ok(&format!("ebb volume create {options},addr=localhost --opt device=//localhost/share by-addr"));
    for name in ["by-device", "by-addr"] {
        let read =
            format!("ebb run --rm -v {name}:/data busybox sh -c 'cat /data/greeting || grep /data /proc/mounts'");
        assert_eq!(guest.ok(&read), "from the server", "{name}");
    }
    // Whoever looks on is told no secret; the volume's own `inspect` shows what it was made with, as Docker's does.
    let told = "ebb --explain run --rm -v by-addr:/data busybox cat /proc/self/mountinfo 2>&1; ebb inspect one; \
                ebb where one:/data; ebb volume ls --format json; ebb system check; ebb ps -a; cat /proc/mounts";
    let told = guest.ok(told);
    assert!(told.contains("password=***") && told.contains("cifs") && !told.contains("hush-"), "{told}");
    assert_eq!(guest.ok("ebb volume inspect share | grep -c hush-1"), "1");
    guest.ok("ebb rm -f one");
    // The last who used it has ended its session with the server.
    assert_eq!(
        guest.ok("ebb volume rm --now share by-device by-addr; ls /share; grep -A1 Servers: /proc/fs/cifs/DebugData"),
        "share\nby-device\nby-addr\ngreeting\none\ntwo\nServers: \n\t[NONE]"
    );
}

#[test]
fn an_smb_server_that_refuses_is_quoted_and_no_password_is_told() {
    if let Some(why) = lacking_for(&SAMBA) {
        return skip(&why);
    }
    let mut guest = Guest::with(&SAMBA);
    guest.ok(SMBD);
    let (refused, missing) = (
        "permission denied\n  the server refuses the user name or the password",
        "no such file or directory\n  the server has no such share",
    );
    for (name, options, device, why) in [
        ("wrong", "username=learner,password=hush-2", "//127.0.0.1/share", refused),
        ("stranger", "username=other,password=hush-1", "//127.0.0.1/share", refused),
        ("closed", "username=learner,password=hush-1", "//127.0.0.1/closed", refused),
        ("missing", "username=learner,password=hush-1", "//127.0.0.1/nosuch", missing),
        ("below", "username=learner,password=hush-1", "//127.0.0.1/share/nosuch", missing),
        (
            "nobody",
            "username=learner,password=hush-1,port=446",
            "//127.0.0.1/share",
            "connection refused\n  no such server",
        ),
        (
            "bogus",
            "username=learner,password=hush-1,bogus=1",
            "//127.0.0.1/share",
            "invalid argument (cifs: Unknown parameter 'bogus')",
        ),
    ] {
        guest.ok(&format!("ebb volume create --opt type=cifs --opt o={options} --opt device={device} {name}"));
        let said = guest.fails(125, &format!("ebb run --rm -v {name}:/data busybox true"));
        let expected = format!(
            "error while mounting volume '/disk/store/volumes/{name}/_data': failed to mount local volume: \
             mount {device}:/disk/store/volumes/{name}/_data: {why}"
        );
        assert!(said.contains(&expected), "{said}");
        let explained = guest.fails(125, &format!("ebb --explain run --rm -v {name}:/data busybox true"));
        assert!(!(said + &explained).contains("hush-"), "{explained}");
    }
    assert_eq!(
        guest.ok("ebb ps -aq; ls /disk/store/tmp; ebb system check; grep -A1 Servers: /proc/fs/cifs/DebugData"),
        "0 containers, 7 volumes, 1 images: sound\nServers: \n\t[NONE]"
    );
}

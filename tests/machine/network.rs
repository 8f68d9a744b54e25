//! Volumes of a network file system, with a server that answers: the kernel's own nfsd, over the machine's loopback.

use crate::common::skip;
use crate::guest::{Guest, lacking};

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
        ("wrong", "addr=127.0.0.1,rw,nfsvers=4", ":/wrong", "no such file or directory"),
        ("nobody", "addr=127.0.0.2,nfsvers=4,port=2050,soft,timeo=10,retrans=1", ":/", "connection refused"),
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

//! A store on xfs, which shares blocks between files.

use crate::common::skip;
use crate::guest::{Guest, lacking};

#[test]
fn on_xfs_a_clone_shares_its_blocks_until_one_of_the_two_is_written() {
    if let Some(why) = lacking() {
        return skip(&why);
    }
    let mut guest = Guest::start();
    begin(&mut guest);
    // `used` counts kilobytes; `shared` the pieces of a file that another one has, too.
    guest.ok(r#"cat > /tmp/measures <<'END'
export EBB_ROOT=/xfs/store
data() { echo "$EBB_ROOT/volumes/$1/_data/$2"; }
used() { sync; df -k /xfs | awk 'END { print $3 }'; }
shared() { filefrag -v "$1" | grep -c shared || true; }
END"#);
    let mut measured = |script: &str| guest.ok(&format!(". /tmp/measures; {script}"));
    measured(
        "ebb volume create vase; head -c 16777216 /dev/urandom > $(data vase f); head -c 9000 /dev/urandom > $(data vase small)",
    );
    assert_eq!(measured("shared $(data vase f)"), "0");
    let mut number = |script: &str| measured(script).parse::<i64>().expect("a number");
    let before = number("used");
    number("ebb volume clone vase copy > /dev/null; echo 0");
    let cloned = number("used");
    assert!(cloned - before < 1024, "16 MB were cloned and none was to be kept twice: {before} {cloned}");
    let both = number("shared $(data vase f)").min(number("shared $(data copy f)"));
    assert!(both > 0, "both share");
    number("cmp $(data vase f) $(data copy f) && cmp $(data vase small) $(data copy small) && echo 0");
    number(
        "sha256sum < $(data vase f) > /tmp/sum; dd if=/dev/zero of=$(data copy f) bs=1M count=4 seek=3 conv=notrunc 2>/dev/null; echo 0",
    );
    let written = number("used") - cloned;
    assert!((4096..6000).contains(&written), "what is written is one's own: {written}");
    number("sha256sum < $(data vase f) | cmp - /tmp/sum && ! cmp -s $(data vase f) $(data copy f) && echo 0");
    number(
        "head -c 3000000 $(data vase f) | sha256sum > /tmp/head; ebb volume rm --now vase > /dev/null; \
            head -c 3000000 $(data copy f) | sha256sum | cmp - /tmp/head && echo 0",
    );
    let copied = number("cp $(data copy f) /xfs/copied; used");
    assert!(copied - cloned > 4096, "a copy that shares nothing is seen: {copied} {cloned}");
    assert_eq!(measured("ebb system check"), "0 containers, 1 volumes, 1 images: sound");
}

#[test]
fn on_xfs_a_container_has_ids_of_its_own_and_a_volume_a_limit() {
    if let Some(why) = lacking() {
        return skip(&why);
    }
    let mut guest = Guest::start();
    begin(&mut guest);
    let mut ebb = |words: &str| guest.run(&format!("export EBB_ROOT=/xfs/store; {words}"));
    // The kernel maps ids on xfs, too: what root writes in the container is root's on the disk.
    let ids = ebb(
        "ebb run --rm -v vase:/data busybox sh -c 'touch /data/x; cat /proc/self/uid_map'; stat -c %u $EBB_ROOT/volumes/vase/_data/x",
    );
    let words: Vec<&str> = ids.stdout.split_whitespace().collect();
    assert!(words.len() == 4 && words[0] == "0" && words[1] != "0" && words[3] == "0", "{}", ids.shown());
    // A limit is a disk of ext4's, in a file: no quota of xfs's is needed for it.
    let full = ebb(
        "ebb volume create --opt size=20m small && ebb run --rm -v small:/data busybox sh -c 'dd if=/dev/zero of=/data/x bs=1M count=30; df -k /data'",
    );
    assert!(full.stderr.contains("No space left on device") && full.stdout.contains(" 100% /data"), "{}", full.shown());
    let refused = ebb("ebb volume create --opt type=xfs --opt size=400m other");
    assert_eq!(refused.code, 1, "{}", refused.shown());
    assert!(
        refused.stderr.contains("quota size requested but no quota support: Ebb makes no file system of type xfs"),
        "{}",
        refused.shown()
    );
    // One that is there already is mounted, as any other.
    let own = ebb("truncate -s 320M /disk/other; mkfs.xfs -q /disk/other; losetup /dev/loop5 /disk/other; \
                   ebb volume create --opt type=xfs --opt device=/dev/loop5 disk && \
                   ebb run --rm -v disk:/data busybox sh -c 'echo kept > /data/f' && \
                   ebb run --rm -v disk:/data busybox sh -c 'cat /data/f; grep -o \" xfs /dev/loop5\" /proc/self/mountinfo'; losetup -d /dev/loop5");
    assert_eq!(own.stdout, "disk\nkept\n xfs /dev/loop5\n", "{}", own.shown());
    let end = ebb(
        "ebb system check; ls $EBB_ROOT/tmp $EBB_ROOT/trash; losetup -a | grep -c disk/store; grep -c loop /proc/mounts",
    );
    assert!(
        end.stdout.contains("3 volumes, 1 images: sound\n") && end.stdout.ends_with("trash:\n0\n1\n"),
        "{}",
        end.shown()
    );
}

fn begin(guest: &mut Guest) {
    guest.ok("truncate -s 400M /disk/xfs && mkfs.xfs -q -m reflink=1 /disk/xfs && mkdir /xfs && mount -o loop /disk/xfs /xfs");
    guest.ok("EBB_ROOT=/xfs/store ebb image load -q -i /work/busybox.tar");
}

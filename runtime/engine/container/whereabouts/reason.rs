//! Why the kernel said yes or no, in words: the owner, the group and the others of a mode, in this order (path_resolution(7)).

use super::access::{Answer, Asker, Look, Step, Who};
use crate::engine::owners::host_user;
use nix::errno::Errno;

const CAP_DAC_OVERRIDE: u64 = 1 << 1;

/// Whether it may write, and why (not).
pub fn of(asker: &Asker, look: &Look, owner: &Who) -> (bool, String) {
    let last = look.way.len().saturating_sub(1);
    match look.answer {
        Answer::Yes => (true, look.way.last().map_or_else(String::new, |step| allowed(asker, step))),
        Answer::No(index, errno) => {
            let why =
                look.way.get(index).map(|step| refused(asker, step, Errno::from_raw(errno), index == last, owner));
            (false, why.unwrap_or_default())
        }
    }
}

fn allowed(asker: &Asker, step: &Step) -> String {
    let needs = if step.is_directory() { 0o3 } else { 0o2 };
    let (class, bits) = class(asker, step);
    if bits & needs == needs && !(step.has_acl && class != Class::Owner) {
        return match class {
            Class::Owner => "it is the owner".into(),
            Class::Group => format!("it is of the group {}, which may", step.gid),
            Class::Others => "everybody may".into(),
        };
    }
    match asker.capabilities & CAP_DAC_OVERRIDE {
        0 => "an access control list (getfacl) lets it".into(),
        _ => "it holds CAP_DAC_OVERRIDE, for which the mode counts nothing".into(),
    }
}

fn refused(asker: &Asker, step: &Step, errno: Errno, is_last: bool, owner: &Who) -> String {
    let shown = step.path.display();
    match errno {
        Errno::EROFS => return "it is mounted read-only there".into(),
        Errno::EPERM => return format!("{shown} is immutable (chattr +i), or the kernel's own"),
        Errno::ENXIO => return "it is a device on a mount that takes none (nodev)".into(),
        Errno::EACCES => {}
        other => return format!("{shown}: {}", other.desc().to_lowercase()),
    }
    let mode = step.mode & 0o7777;
    let verb = match (is_last, step.is_directory()) {
        (false, _) => "pass",
        (true, true) => "make files there",
        (true, false) => "write",
    };
    if is_last && owner.unmapped {
        let who = owner.on_host.map_or_else(|| "somebody".into(), |(uid, _)| host_user(uid));
        return format!(
            "it belongs to {who} of the host, who is nobody in the container, and mode {mode:04o} binds even its root"
        );
    }
    if step.has_acl {
        return format!("the access control list of {shown} (getfacl) does not let it {verb}");
    }
    let of = if is_last { String::new() } else { format!("{shown}, on the way: ") };
    match class(asker, step).0 {
        Class::Owner => format!("{of}mode {mode:04o} does not let even its owner {verb}"),
        Class::Group => format!("{of}mode {mode:04o} does not let its group {} {verb}", step.gid),
        Class::Others => format!(
            "{of}it is neither the owner, {}, nor of the group {}, and mode {mode:04o} does not let others {verb}",
            step.uid, step.gid
        ),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Class {
    Owner,
    Group,
    Others,
}

/// The part of the mode that counts: the first that fits, even where a later one would give more.
fn class(asker: &Asker, step: &Step) -> (Class, u32) {
    if asker.uid == step.uid {
        (Class::Owner, step.mode >> 6 & 7)
    } else if asker.gid == step.gid || asker.groups.contains(&step.gid) {
        (Class::Group, step.mode >> 3 & 7)
    } else {
        (Class::Others, step.mode & 7)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(uid: u32, gid: u32, mode: u32) -> Step {
        Step { path: "/f".into(), uid, gid, mode, has_acl: false }
    }

    fn asker(uid: u32, gid: u32, groups: &[u32], capabilities: u64) -> Asker {
        Asker { uid, gid, groups: groups.to_vec(), capabilities }
    }

    #[test]
    fn the_first_class_that_fits_counts() {
        let web = asker(33, 33, &[4], 0);
        assert_eq!(allowed(&web, &step(33, 0, 0o100_600)), "it is the owner");
        assert_eq!(allowed(&web, &step(0, 4, 0o100_660)), "it is of the group 4, which may");
        assert_eq!(allowed(&web, &step(0, 0, 0o100_666)), "everybody may");
        let no = |uid, gid, mode| refused(&web, &step(uid, gid, mode), Errno::EACCES, true, &Who::default());
        assert!(no(33, 0, 0o100_066).contains("even its owner"), "the owner, though others might");
        assert!(no(0, 4, 0o100_606).contains("its group 4"));
        assert!(no(0, 0, 0o100_664).contains("neither the owner, 0, nor of the group 0"));
    }

    #[test]
    fn root_writes_by_its_capability_and_not_without() {
        let root = asker(0, 0, &[], CAP_DAC_OVERRIDE);
        assert!(allowed(&root, &step(33, 33, 0o100_644)).contains("CAP_DAC_OVERRIDE"));
        let why = refused(&root, &step(33, 33, 0o100_644), Errno::EROFS, true, &Who::default());
        assert_eq!(why, "it is mounted read-only there");
    }
}

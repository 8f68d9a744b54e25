//! The host's own device nodes that a container is shown are the host's: no container changes their owner or their mode.

mod common;

use common::{Ebb, is_root};

/// To the mode that it has: where that succeeds, any other would. (The machine that runs the tests needs its /dev/null.)
const TRY: &str = "try() { chmod 666 $1 2>/tmp/why && echo \"changed $1\"; }
    for node in /proc/self/fd/0 /dev/stdin /dev/fd/0 /proc/keys /proc/timer_list; do try $node; done
    cat < /dev/null; echo into > /dev/null; echo out > /proc/self/fd/0; echo used";

#[test]
fn nobody_changes_the_mode_of_the_hosts_null_device() {
    let ebb = Ebb::new();
    let kinds: &[&[&str]] =
        if is_root() { &[&[], &["--userns", "host"], &["--pid", "host"], &["--network", "host"]] } else { &[&[]] };
    let script = format!("{TRY}; sleep 1000");
    for kind in kinds {
        let run = [&["run", "-d", "--name", "box"], *kind, &["busybox", "sh", "-c", &script]].concat();
        ebb.ok(&run);
        ebb.await_line("box", "used");
        assert_eq!(ebb.ok(["logs", "box"]), "used", "{kind:?}");
        assert_eq!(ebb.ok(["exec", "box", "sh", "-c", TRY]), "used", "{kind:?}");
        ebb.ok(["rm", "-f", "box"]);
    }
}

#[test]
fn a_device_of_the_users_own_is_shown_and_not_given() {
    if is_root() {
        return; // A device of root's belongs to nobody in a user namespace.
    }
    let ebb = Ebb::new();
    let Some(terminal) = own_terminal() else { panic!("no pseudo-terminal") };
    let device = format!("{}:/dev/mine", terminal.1);
    let script = "chmod 600 /dev/mine 2>/dev/null && echo changed; echo through > /dev/mine; echo done";
    assert_eq!(ebb.ok(["run", "--rm", "--device", &device, "busybox", "sh", "-c", script]), "done");
}

/// The master of a new pseudo-terminal, which must stay open, and the path of its slave, which is ours.
fn own_terminal() -> Option<(nix::pty::PtyMaster, String)> {
    let master = nix::pty::posix_openpt(nix::fcntl::OFlag::O_RDWR | nix::fcntl::OFlag::O_NOCTTY).ok()?;
    nix::pty::grantpt(&master).ok()?;
    nix::pty::unlockpt(&master).ok()?;
    let name = nix::pty::ptsname_r(&master).ok()?;
    Some((master, name))
}

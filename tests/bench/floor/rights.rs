//! Who the floor's process is, and what it may.

use ebb::kernel;

/// The user's own id, and those of /etc/subuid and /etc/subgid after it.
pub fn subordinate_ids(pid: nix::unistd::Pid) {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).expect("users").expect("a user");
    let start = |file: &str, program: &str, own: u32| {
        let text = std::fs::read_to_string(file).expect("subordinate ids");
        let line = text.lines().find(|line| line.split(':').next() == Some(&user.name)).expect("subordinate ids");
        let first = line.split(':').nth(1).expect("an id").to_owned();
        let words = [pid.to_string(), "0".into(), own.to_string(), "1".into(), "1".into(), first, "65535".into()];
        std::process::Command::new(program).args(words).spawn().expect("it starts")
    };
    let uids = start("/etc/subuid", "newuidmap", nix::unistd::geteuid().as_raw());
    let gids = start("/etc/subgid", "newgidmap", nix::unistd::getegid().as_raw());
    for mut one in [uids, gids] {
        assert!(one.wait().expect("it ends").success(), "the ids are mapped");
    }
}

/// A deny list of 120 calls that nobody makes: as long as a usual one.
pub fn lock_down() {
    kernel::prctl(libc::PR_SET_NO_NEW_PRIVS, 1).expect("no_new_privs");
    const KEPT: [libc::c_ulong; 3] = [0, 5, 10];
    for capability in (0..=40).filter(|capability| !KEPT.contains(capability)) {
        let _ = kernel::prctl(libc::PR_CAPBSET_DROP, capability);
    }
    let mut program = vec![kernel::Bpf { code: 0x20, jt: 0, jf: 0, k: 0 }];
    program.extend((0..120).map(|number| kernel::Bpf { code: 0x15, jt: 120 - number as u8, jf: 0, k: 2000 + number }));
    program.push(kernel::Bpf { code: 0x06, jt: 0, jf: 0, k: 0x7fff_0000 });
    program.push(kernel::Bpf { code: 0x06, jt: 0, jf: 0, k: 0x0005_0001 });
    kernel::seccomp_load(&program, 0).expect("seccomp");
}

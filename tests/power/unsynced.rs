//! A program that starts another to which fsync(2) and its like answer that all is on the disk, and do nothing: what Ebb
//! would lose if it forgot to ask. Where that loses nothing, the cuts prove nothing.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// The name under which the test itself is this program, in the machine.
pub const NAME: &str = "unsynced";

const SYNCS: &[i64] = &[
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync,
    libc::SYS_syncfs,
    libc::SYS_sync_file_range,
    libc::SYS_msync,
];

/// Becomes the command in `words`, and returns only why it cannot.
pub fn execute(words: &[String]) -> std::io::Error {
    let statement = |code: u32, k: u32, jf: u8| libc::sock_filter { code: code as u16, jt: 0, jf, k };
    let answer = |what: u32| statement(libc::BPF_RET | libc::BPF_K, what, 0);
    // The number of the call is the first word of what the filter is given.
    let mut filter = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    for call in SYNCS {
        filter.push(statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, *call as u32, 1));
        // The error number 0: success.
        filter.push(answer(libc::SECCOMP_RET_ERRNO));
    }
    filter.push(answer(libc::SECCOMP_RET_ALLOW));
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program and its filter live until the call has returned, which copies them.
    let loaded = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    if loaded != 0 {
        return std::io::Error::last_os_error();
    }
    Command::new(&words[0]).args(&words[1..]).exec()
}

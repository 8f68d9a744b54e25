//! What runtime/kernel.rs offers to safe code cannot be used to share memory with a child, or to hand the kernel an address.

use ebb::kernel;
use nix::errno::Errno;

#[test]
fn a_child_that_would_share_memory_descriptors_or_handlers_is_refused() {
    let shared =
        [libc::CLONE_VM, libc::CLONE_FS, libc::CLONE_FILES, libc::CLONE_SIGHAND, libc::CLONE_THREAD, libc::CLONE_VFORK];
    for flag in shared.into_iter().chain([libc::CLONE_SETTLS, libc::CLONE_PARENT_SETTID, libc::CLONE_CHILD_CLEARTID]) {
        assert_eq!(kernel::clone3(flag as u64, None).err(), Some(Errno::EINVAL), "{flag:#x}");
        let with_more = (flag | libc::CLONE_NEWNS) as u64;
        assert_eq!(kernel::clone3(with_more, None).err(), Some(Errno::EINVAL), "{flag:#x}");
    }
}

#[test]
fn an_option_that_takes_an_address_is_refused() {
    for option in [libc::PR_GET_NAME, libc::PR_SET_MM, libc::PR_GET_PDEATHSIG, libc::PR_SET_SECCOMP] {
        assert_eq!(kernel::prctl(option, 0x1000), Err(Errno::EINVAL), "{option}");
    }
    assert!(kernel::prctl(libc::PR_CAPBSET_READ, 0).is_ok());
}

#[test]
fn a_descriptor_that_is_received_is_owned_once() {
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
    use std::io::Read;
    use std::os::fd::AsRawFd;
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let numbers = [writer.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&numbers)];
    let text = [std::io::IoSlice::new(b"x")];
    sendmsg::<()>(ours.as_raw_fd(), &text, &rights, MsgFlags::empty(), None).expect("sent");
    drop(writer);
    let mut bytes = [0; 8];
    let (length, mut received) = kernel::receive(&theirs, &mut bytes).expect("received");
    assert_eq!((length, bytes[0], received.len()), (1, b'x', 1));
    // Once it is dropped nobody else holds the other end.
    drop(received.pop());
    assert_eq!(reader.read(&mut bytes).expect("the end"), 0);
}

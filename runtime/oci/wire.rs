//! How a container's first process and the one that made it talk while it is being set up: short messages over a socket
//! pair, with descriptors where one side has what the other needs.

use crate::error::{Doing, Error, Result};
use crate::kernel::{self, MOST_DESCRIPTORS};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair};
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// What can be said.
#[derive(Debug)]
pub enum Message {
    /// Child: I am in my namespaces; write my id maps, and send the mounts that only you can make.
    Cloned,
    /// Parent: your cgroup is made. Carries what one joins it by.
    Grouped(Vec<OwnedFd>),
    /// Parent: your ids are mapped. Carries the id-mapped mounts, in the order of the bundle.
    Mapped(Vec<OwnedFd>),
    /// Parent: you may go on; this is your number on the host.
    Numbered(i32),
    /// Child: my mounts are made; run the hooks that come before pivot_root.
    Mounted,
    /// Parent: they have run.
    Hooked,
    /// Child: the terminal that was asked for is made. Carries its master, which the child keeps no copy of.
    Terminal(OwnedFd),
    /// Child: all is done but execve.
    Ready,
    /// Parent, or whoever starts the container: exec.
    Start,
    /// Child of `exec`: this is the process that entered the container, and its pidfd.
    Entered(i32, OwnedFd),
    /// Child: this failed.
    Failed(Error),
    /// The other side is gone; after `Start`, that is how a successful execve looks.
    End,
}

/// A connected pair that keeps the boundaries of messages and closes on exec.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).doing(|| "make a socket pair")
}

pub fn send(socket: impl AsFd, message: &Message) -> Result<()> {
    let (tag, text, fds): (u8, Vec<u8>, Vec<RawFd>) = match message {
        Message::Cloned => (b'c', Vec::new(), Vec::new()),
        Message::Grouped(fds) => (b'g', Vec::new(), fds.iter().map(AsRawFd::as_raw_fd).collect()),
        Message::Mapped(fds) => (b'm', Vec::new(), fds.iter().map(AsRawFd::as_raw_fd).collect()),
        Message::Numbered(pid) => (b'n', pid.to_string().into_bytes(), Vec::new()),
        Message::Mounted => (b'h', Vec::new(), Vec::new()),
        Message::Hooked => (b'k', Vec::new(), Vec::new()),
        Message::Terminal(master) => (b't', Vec::new(), vec![master.as_raw_fd()]),
        Message::Ready => (b'r', Vec::new(), Vec::new()),
        Message::Start => (b's', Vec::new(), Vec::new()),
        Message::Entered(pid, pidfd) => (b'p', pid.to_string().into_bytes(), vec![pidfd.as_raw_fd()]),
        Message::Failed(error) => (b'e', serde_json::to_vec(error).unwrap_or_default(), Vec::new()),
        Message::End => return Ok(()),
    };
    // One packet carries at most 253 descriptors (unix(7)); what is more goes ahead in packets of their own.
    let mut batches = fds.chunks(MOST_DESCRIPTORS).peekable();
    while let Some(batch) = batches.next() {
        if batches.peek().is_none() {
            return packet(socket.as_fd(), tag, &text, batch);
        }
        packet(socket.as_fd(), b'+', &[], batch)?;
    }
    packet(socket.as_fd(), tag, &text, &[])
}

/// An error's text, with room to spare.
const LONGEST: usize = 16 * 1024;

fn packet(socket: BorrowedFd, tag: u8, text: &[u8], fds: &[RawFd]) -> Result<()> {
    let tag = [tag];
    let text = &text[..text.len().min(LONGEST - 1)];
    let parts = [IoSlice::new(&tag), IoSlice::new(text)];
    let rights = [ControlMessage::ScmRights(fds)];
    let control: &[ControlMessage] = if fds.is_empty() { &[] } else { &rights };
    loop {
        match sendmsg::<()>(socket.as_raw_fd(), &parts, control, MsgFlags::MSG_NOSIGNAL, None) {
            Err(Errno::EINTR) => {}
            result => return result.map(drop).doing(|| "talk to the other side of the container's start"),
        }
    }
}

/// Waits for the next message.
pub fn receive(socket: impl AsFd) -> Result<Message> {
    let mut fds: Vec<OwnedFd> = Vec::new();
    loop {
        let mut buffer = vec![0u8; LONGEST];
        let (length, received) = match kernel::receive(&socket, &mut buffer) {
            // The kernel says once, before what the other side did say, that it left some of what we said unread.
            Err(Errno::EINTR | Errno::ECONNRESET) => continue,
            result => result.doing(|| "listen to the other side of the container's start")?,
        };
        fds.extend(received);
        let Some((tag, text)) = buffer[..length].split_first() else { return Ok(Message::End) };
        return Ok(match tag {
            b'+' => continue,
            b'c' => Message::Cloned,
            b'g' => Message::Grouped(fds),
            b'm' => Message::Mapped(fds),
            b'n' => number(text).map_or(Message::End, Message::Numbered),
            b'h' => Message::Mounted,
            b'k' => Message::Hooked,
            b't' => fds.pop().map_or(Message::End, Message::Terminal),
            b'r' => Message::Ready,
            b's' => Message::Start,
            b'p' => match (number(text), fds.pop()) {
                (Some(pid), Some(pidfd)) => Message::Entered(pid, pidfd),
                _ => Message::End,
            },
            _ => Message::Failed(serde_json::from_slice(text).doing(|| "read the container's error")?),
        });
    }
}

fn number(text: &[u8]) -> Option<i32> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

//! A container that was created by one process can be started by another: its first process listens on a socket.

use super::wire::{self, Message};
use crate::error::{Doing, Error, Result};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind as bind_to, connect, listen, socket,
};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

/// Starts the container whose gate is at `path`; the errors are those of [`super::Init::start`].
pub fn start(path: &Path) -> Result<()> {
    let (socket, address, _directory) = prepare(path)?;
    connect(socket.as_raw_fd(), &address).doing(|| format!("reach the container through {}", path.display()))?;
    wire::send(&socket, &Message::Start)?;
    finish(&socket)
}

/// After `Start`: the end of the conversation is the success of execve.
pub fn finish(socket: &OwnedFd) -> Result<()> {
    match wire::receive(socket)? {
        Message::Failed(error) => Err(error),
        _ => Ok(()),
    }
}

pub fn bind(path: &Path) -> Result<OwnedFd> {
    let (socket, address, _directory) = prepare(path)?;
    bind_to(socket.as_raw_fd(), &address).doing(|| format!("bind the gate {}", path.display()))?;
    let backlog = Backlog::new(1).doing(|| "listen at the gate")?;
    listen(&socket, backlog).doing(|| "listen at the gate")?;
    Ok(socket)
}

pub fn accept(gate: &OwnedFd) -> Result<OwnedFd> {
    loop {
        match crate::kernel::accept(gate, SockFlag::empty()) {
            Err(Errno::EINTR) => {}
            result => return result.doing(|| "wait at the gate"),
        }
    }
}

/// A socket's name has at most 108 bytes (unix(7)); through the directory's descriptor any path is short.
fn prepare(path: &Path) -> Result<(OwnedFd, UnixAddr, std::fs::File)> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let directory = std::fs::File::open(parent).doing(|| format!("open {}", parent.display()))?;
    let name = path.file_name().ok_or_else(|| Error::new("the gate needs a name"))?;
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    let address = UnixAddr::new(&short).doing(|| "name the gate")?;
    let made =
        socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).doing(|| "make a socket")?;
    Ok((made, address, directory))
}

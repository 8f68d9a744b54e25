//! What a container's supervisor and those who are attached to it say to each other: packets over a socket, a letter
//! and what it is about.

use crate::error::{Doing, Error, Result};
use crate::kernel;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, bind, connect, listen, recv, send, socket,
    socketpair,
};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

/// The most that one packet carries; a socket's buffer takes a few of them.
pub const LONGEST: usize = 32 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// Supervisor: output.
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
    /// Supervisor: it has ended, with this code.
    Exit(i32),
    /// Client: input.
    Stdin(Vec<u8>),
    CloseStdin,
    /// Client: rows and columns of its terminal.
    Size(u16, u16),
    /// Client: a signal for the container's first process.
    Signal(i32),
    /// The other side is gone.
    End,
}

impl Packet {
    pub fn encode(&self) -> Vec<u8> {
        let with = |letter: u8, rest: &[u8]| [&[letter], rest].concat();
        match self {
            Packet::Stdout(bytes) => with(b'o', bytes),
            Packet::Stderr(bytes) => with(b'e', bytes),
            Packet::Exit(code) => with(b'x', &code.to_le_bytes()),
            Packet::Stdin(bytes) => with(b'i', bytes),
            Packet::CloseStdin => vec![b'c'],
            Packet::Size(rows, columns) => with(b'w', &[rows.to_le_bytes(), columns.to_le_bytes()].concat()),
            Packet::Signal(number) => with(b's', &number.to_le_bytes()),
            Packet::End => Vec::new(),
        }
    }

    fn decode(bytes: &[u8]) -> Option<Packet> {
        let (letter, rest) = bytes.split_first()?;
        let short = |at: usize| Some(u16::from_le_bytes(rest.get(at..at + 2)?.try_into().ok()?));
        let number = || Some(i32::from_le_bytes(rest.try_into().ok()?));
        Some(match letter {
            b'o' => Packet::Stdout(rest.to_vec()),
            b'e' => Packet::Stderr(rest.to_vec()),
            b'x' => Packet::Exit(number()?),
            b'i' => Packet::Stdin(rest.to_vec()),
            b'c' => Packet::CloseStdin,
            b'w' => Packet::Size(short(0)?, short(2)?),
            b's' => Packet::Signal(number()?),
            _ => return None,
        })
    }
}

const KIND: SockType = SockType::SeqPacket;

/// For an attached `run`: connected before the container exists, so that no byte of its output is missed.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::Unix, KIND, None, SockFlag::SOCK_CLOEXEC).doing(|| "make a socket pair")
}

/// The supervisor's door, `attach.sock` in the container's directory.
pub fn open_door(directory: &Path) -> Result<OwnedFd> {
    let (address, _held) = address(directory)?;
    let _ = std::fs::remove_file(directory.join(DOOR));
    let door = new_socket(SockFlag::SOCK_NONBLOCK)?;
    bind(door.as_raw_fd(), &address).doing(|| "bind attach.sock")?;
    listen(&door, Backlog::new(16).doing(|| "listen")?).doing(|| "listen at attach.sock")?;
    Ok(door)
}

pub fn knock(directory: &Path) -> Result<OwnedFd> {
    let (address, _held) = address(directory)?;
    let client = new_socket(SockFlag::empty())?;
    connect(client.as_raw_fd(), &address).doing(|| "reach the container's supervisor")?;
    Ok(client)
}

/// The next one who wants in, if there is one.
pub fn admit(door: &OwnedFd) -> Option<OwnedFd> {
    kernel::accept(door, SockFlag::SOCK_NONBLOCK).ok()
}

const DOOR: &str = "attach.sock";

fn new_socket(flags: SockFlag) -> Result<OwnedFd> {
    socket(AddressFamily::Unix, KIND, SockFlag::SOCK_CLOEXEC | flags, None).doing(|| "make a socket")
}

/// A socket's name has at most 108 bytes (unix(7)); through the directory's descriptor any path is short.
fn address(directory: &Path) -> Result<(UnixAddr, std::fs::File)> {
    let held = std::fs::File::open(directory).doing(|| format!("open {}", directory.display()))?;
    let short = Path::new("/proc/self/fd").join(held.as_raw_fd().to_string()).join(DOOR);
    Ok((UnixAddr::new(&short).doing(|| "name attach.sock")?, held))
}

/// Sends encoded bytes as one packet. EAGAIN where the other side has not yet taken the last ones.
pub fn send_bytes(socket: impl AsFd, bytes: &[u8]) -> nix::Result<()> {
    send(socket.as_fd().as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL).map(drop)
}

/// The next packet; `None` where none is there yet (on a non-blocking socket).
pub fn hear(socket: impl AsFd) -> Result<Option<Packet>> {
    let mut buffer = vec![0u8; LONGEST + 1];
    match recv(socket.as_fd().as_raw_fd(), &mut buffer, MsgFlags::empty()) {
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
        Ok(0) | Err(Errno::ECONNRESET) => Ok(Some(Packet::End)),
        Err(errno) => Err(errno).doing(|| "hear from the other side"),
        Ok(length) => {
            let packet = Packet::decode(&buffer[..length]);
            packet.map(Some).ok_or_else(|| Error::new("an unknown packet came over the attach socket"))
        }
    }
}

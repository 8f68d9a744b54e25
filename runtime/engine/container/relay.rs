//! The supervisor's daily work: the container's output goes to its log and to whoever is attached, their input to it.

use super::health::Monitor;
use super::log::{self, Stream};
use super::protocol::{self, Packet};
use super::record::Container;
use super::streams::set_nonblocking;
use crate::engine::events;
use crate::error::{Doing, Result};
use crate::kernel;
use crate::store::Store;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{read, write};
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How much is kept for a client that reads slowly, before the container itself is made to wait: no byte of an attached
/// container is dropped, and none is kept without bound.
const PATIENCE: usize = 1 << 20;

/// The supervisor's ends of the container's streams.
#[derive(Default)]
pub struct Ends {
    pub stdin: Option<OwnedFd>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
    /// In the place of all three, for a container with a terminal.
    pub console: Option<OwnedFd>,
}

struct Client {
    socket: OwnedFd,
    waiting: VecDeque<Vec<u8>>,
    waiting_bytes: usize,
}

/// Everything between one supervisor and its clients, over all lives of the container.
pub struct Relay {
    door: OwnedFd,
    clients: Vec<Client>,
    /// Input that the container has not taken yet.
    typed: Vec<u8>,
    /// The input ends with the first client's (an attached `run -i`), not only with the container.
    stdin_once: bool,
    /// That client's has ended: so does the container's, as soon as it has taken what was typed before.
    closing: bool,
    log: log::Writer,
}

impl Relay {
    pub fn new(store: &Store, container: &Container, first: Option<OwnedFd>) -> Result<Relay> {
        let directory = super::dir(store, &container.id);
        let mut relay = Relay {
            door: protocol::open_door(&directory)?,
            clients: Vec::new(),
            typed: Vec::new(),
            stdin_once: container.config.attach_stdin,
            closing: false,
            log: log::Writer::open(&directory, &container.host_config.log_config)?,
        };
        if let Some(socket) = first {
            set_nonblocking(&socket)?;
            relay.admit(socket);
        }
        Ok(relay)
    }

    /// Whether a command shows what the container writes, and waits for its end.
    pub fn is_attached(&self) -> bool {
        !self.clients.is_empty()
    }

    fn admit(&mut self, socket: OwnedFd) {
        self.clients.push(Client { socket, waiting: VecDeque::new(), waiting_bytes: 0 });
    }

    /// Relays until the process behind `pidfd` has ended and all that it wrote is in the log.
    pub fn run(&mut self, store: &Store, container: &Container, pidfd: &OwnedFd, mut ends: Ends) -> Result<()> {
        for fd in [&ends.stdin, &ends.stdout, &ends.stderr, &ends.console].into_iter().flatten() {
            set_nonblocking(fd)?;
        }
        let mut health = Monitor::new(container);
        let mut settled = false;
        loop {
            let ready = self.wait(&ends, pidfd, health.as_ref(), settled)?;
            if ready.idle && !settled {
                // Not before: what ends at once would only fault its pages in again. And nothing else before the next sleep.
                settled = true;
                kernel::release_program_pages();
                continue;
            }
            if ready.door {
                for _ in 0..PACKETS {
                    let Some(socket) = protocol::admit(&self.door) else { break };
                    self.admit(socket);
                }
            }
            self.flush_clients();
            for signal in self.hear_clients(&mut ends) {
                // Told first, as by `kill`.
                let extra = [("signal", signal.to_string())];
                events::tell(store, &[events::of_container(container, "kill", &extra)]);
                let _ = kernel::pidfd_send_signal(pidfd, signal);
            }
            self.feed(&mut ends);
            self.take_output(&mut ends, false);
            if ready.ended {
                self.take_output(&mut ends, true);
                self.log.finish(jiff::Timestamp::now())?;
                return Ok(());
            }
            if let Some(monitor) = &mut health {
                let mut let_go = || {
                    ends = Ends::default();
                    self.clients.clear();
                };
                // A full disk keeps a verdict from being written down; the container does not suffer for it.
                let _ = monitor.advance(store, container, &mut let_go);
            }
        }
    }

    fn wait(&self, ends: &Ends, pidfd: &OwnedFd, health: Option<&Monitor>, settled: bool) -> Result<Ready> {
        let mut fds =
            vec![PollFd::new(pidfd.as_fd(), PollFlags::POLLIN), PollFd::new(self.door.as_fd(), PollFlags::POLLIN)];
        let full = self.clients.iter().any(|client| client.waiting_bytes > PATIENCE);
        if !full {
            let outputs = [&ends.stdout, &ends.stderr, &ends.console].into_iter().flatten();
            fds.extend(outputs.map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
        }
        let input = ends.console.as_ref().or(ends.stdin.as_ref());
        if let (Some(input), false) = (input, self.typed.is_empty()) {
            fds.push(PollFd::new(input.as_fd(), PollFlags::POLLOUT));
        }
        for client in &self.clients {
            // Input that the container does not take stays in the client's socket, and so with who types it.
            let mut events = if self.typed.len() < LARGEST_INPUT { PollFlags::POLLIN } else { PollFlags::empty() };
            if !client.waiting.is_empty() {
                events |= PollFlags::POLLOUT;
            }
            fds.push(PollFd::new(client.socket.as_fd(), events));
        }
        let probes: Vec<BorrowedFd> = health.map(Monitor::descriptors).unwrap_or_default();
        fds.extend(probes.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)));
        let settling = (!settled).then(|| Instant::now() + SETTLING);
        let deadline = health.and_then(Monitor::deadline).into_iter().chain(settling).min();
        let idle = match poll(&mut fds, deadline.map_or(PollTimeout::NONE, until)) {
            Ok(count) => count == 0,
            Err(Errno::EINTR) => false,
            Err(errno) => return Err(errno).doing(|| "wait for the container"),
        };
        Ok(Ready { ended: fds[0].any().unwrap_or(false), door: fds[1].any().unwrap_or(false), idle })
    }

    /// Reads what the container wrote. With `all`, until there is no more, whoever waits.
    fn take_output(&mut self, ends: &mut Ends, all: bool) {
        let mut buffer = vec![0u8; LONGEST_READ];
        for (slot, stream) in [
            (&mut ends.stdout, Stream::Stdout),
            (&mut ends.stderr, Stream::Stderr),
            (&mut ends.console, Stream::Stdout),
        ] {
            let Some(from) = slot else { continue };
            let mut rounds = 0;
            let open = loop {
                if !all && (rounds == 8 || self.clients.iter().any(|client| client.waiting_bytes > PATIENCE)) {
                    break true;
                }
                rounds += 1;
                match read(&*from, &mut buffer) {
                    Ok(0) => break false,
                    Ok(length) => self.publish(stream, &buffer[..length]),
                    Err(Errno::EINTR) => {}
                    Err(Errno::EAGAIN) => break true,
                    // EIO is how a terminal's master says that nobody has the other side open.
                    Err(_) => break false,
                }
            };
            if !open {
                *slot = None;
            }
        }
    }

    fn publish(&mut self, stream: Stream, bytes: &[u8]) {
        // A log that cannot be written (a full disk) must not stop the container; the writer notes what is missing.
        let _ = self.log.write(stream, bytes, jiff::Timestamp::now());
        let packet = match stream {
            Stream::Stdout => Packet::Stdout(bytes.to_vec()),
            Stream::Stderr => Packet::Stderr(bytes.to_vec()),
        };
        self.tell(&packet);
    }

    /// Tells all clients, without waiting for any of them.
    pub fn tell(&mut self, packet: &Packet) {
        let encoded = packet.encode();
        for client in &mut self.clients {
            client.waiting_bytes += encoded.len();
            client.waiting.push_back(encoded.clone());
        }
        self.flush_clients();
    }

    fn flush_clients(&mut self) {
        self.clients.retain_mut(|client| {
            while let Some(packet) = client.waiting.front() {
                match protocol::send_bytes(&client.socket, packet) {
                    Ok(()) => {
                        client.waiting_bytes -= packet.len();
                        client.waiting.pop_front();
                    }
                    Err(Errno::EAGAIN | Errno::EINTR) => return true,
                    Err(_) => return false,
                }
            }
            true
        });
    }

    /// The last word to everybody, and all that they have not read yet; a client that does not read is not waited for
    /// longer than a moment.
    pub fn farewell(&mut self, code: i32) {
        self.tell(&Packet::Exit(code));
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.clients.iter().any(|client| !client.waiting.is_empty()) && Instant::now() < deadline {
            let mut fds: Vec<PollFd> =
                self.clients.iter().map(|client| PollFd::new(client.socket.as_fd(), PollFlags::POLLOUT)).collect();
            let _ = poll(&mut fds, until(deadline));
            drop(fds);
            self.flush_clients();
        }
    }

    /// Returns the signals that they send to the container.
    fn hear_clients(&mut self, ends: &mut Ends) -> Vec<i32> {
        let (mut typed, mut close, mut signals) = (Vec::new(), false, Vec::new());
        let room = self.typed.len() < LARGEST_INPUT;
        let stdin_once = self.stdin_once;
        self.clients.retain(|client| {
            // One that sends without end has its turn, as the others do; what is left wakes the next poll(2).
            for _ in 0..PACKETS {
                if !room || typed.len() >= LARGEST_INPUT {
                    return true;
                }
                match protocol::hear(&client.socket) {
                    Ok(Some(Packet::Stdin(bytes))) => typed.extend_from_slice(&bytes),
                    Ok(Some(Packet::CloseStdin)) => close |= stdin_once,
                    Ok(Some(Packet::Size(rows, columns))) => {
                        if let Some(console) = &ends.console {
                            let _ = kernel::set_window_size(console, rows, columns);
                        }
                    }
                    Ok(Some(Packet::Signal(number))) => signals.push(number),
                    Ok(Some(Packet::End)) | Err(_) => return false,
                    Ok(Some(_)) => {}
                    Ok(None) => return true,
                }
            }
            true
        });
        self.typed.extend_from_slice(&typed);
        self.closing |= close;
        signals
    }

    /// Gives the container what was typed, as much as it takes.
    fn feed(&mut self, ends: &mut Ends) {
        let Some(input) = ends.console.as_ref().or(ends.stdin.as_ref()) else { return self.typed.clear() };
        while !self.typed.is_empty() {
            match write(input, &self.typed) {
                Ok(length) => drop(self.typed.drain(..length)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                Err(_) => {
                    self.typed.clear();
                    ends.stdin = None;
                    return;
                }
            }
        }
        if self.closing {
            ends.stdin = None;
        }
    }
}

/// A container that has been silent for so long will mostly sleep, and its supervisor with it.
const SETTLING: Duration = Duration::from_millis(100);
const LARGEST_INPUT: usize = 64 * 1024;
/// Packets of one client, and clients at the door, that are taken in one round.
const PACKETS: usize = 32;
const LONGEST_READ: usize = protocol::LONGEST - 1;

/// What poll(2) said of the two that matter by name.
struct Ready {
    ended: bool,
    door: bool,
    idle: bool,
}

fn until(deadline: Instant) -> PollTimeout {
    let left = deadline.saturating_duration_since(Instant::now());
    PollTimeout::try_from(left.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX)
}

//! The user's side of an attached container: what it writes is shown, what is typed goes to it, signals are passed on.

use super::heedless;
use super::protocol::{self, Packet};
use super::record::Container;
use super::streams::{self, Unheard};
use super::terminal::{DetachKeys, Raw};
use crate::engine::events;
use crate::error::{Doing, Result};
use crate::kernel;
use crate::store::Store;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::read;
use std::collections::VecDeque;
use std::io::IsTerminal;
use std::os::fd::{AsFd, OwnedFd};

/// What the user sees and sends.
pub struct Attachment {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub proxy_signals: bool,
    pub detach_keys: DetachKeys,
    /// The container has a terminal.
    pub tty: bool,
    signals: SignalFd,
    mask: SigSet,
    /// How often the user asked for an end.
    asked: u32,
    /// Where the container's first process is found, when it does not come.
    store: Store,
    id: String,
    /// What the supervisor has not taken yet. Never waited for: it may itself be waiting for us to read.
    outgoing: VecDeque<Vec<u8>>,
}

/// Why the attachment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Exited(i32),
    Detached,
    /// The supervisor is gone without a word: it was killed.
    Lost,
    /// The user asked so often for an end that does not come, and the container goes on.
    Forced,
    /// The user's terminal is gone, and the container goes on.
    HungUp,
    /// The container goes on, and nobody sees what it writes.
    Unheard(Unheard),
}

/// The signals that are the container's business, not ours, while we are attached.
const PROXIED: [Signal; 12] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTERM,
    Signal::SIGALRM,
    Signal::SIGCONT,
    Signal::SIGIO,
    Signal::SIGVTALRM,
    Signal::SIGPROF,
    Signal::SIGSYS,
];

impl Attachment {
    /// Signals are taken from here on, so that none that comes while the container starts is lost.
    pub fn new(
        store: &Store,
        container: &Container,
        stdin: bool,
        proxy_signals: bool,
        detach_keys: &str,
    ) -> Result<Attachment> {
        let detach_keys = DetachKeys::parse(detach_keys)?;
        let mut mask = SigSet::from_iter([Signal::SIGWINCH]);
        if proxy_signals {
            mask.extend(PROXIED);
        }
        mask.thread_block().doing(|| "block signals")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&mask, flags).doing(|| "watch for signals")?;
        let stdin = stdin && container.config.open_stdin;
        let tty = container.config.tty;
        events::tell(store, &[events::of_container(container, "attach", &[])]);
        Ok(Attachment {
            stdin,
            stdout: true,
            stderr: true,
            proxy_signals,
            detach_keys,
            tty,
            signals,
            mask,
            asked: 0,
            store: store.clone(),
            id: container.id.clone(),
            outgoing: VecDeque::new(),
        })
    }

    /// Relays until the container has ended, the user detaches, or the supervisor is gone.
    pub fn run(mut self, socket: &OwnedFd) -> Result<End> {
        let user = std::io::stdin();
        let raw = if self.tty && self.stdin && user.is_terminal() { Some(Raw::enter(&user)?) } else { None };
        streams::set_nonblocking(socket)?;
        self.send_size();
        let end = self.relay(socket, raw.is_some());
        drop(raw);
        let _ = self.mask.thread_unblock();
        end
    }

    fn relay(&mut self, socket: &OwnedFd, raw: bool) -> Result<End> {
        let user = std::io::stdin();
        loop {
            self.send(socket)?;
            let writable = if self.outgoing.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT };
            let mut fds = vec![
                PollFd::new(socket.as_fd(), PollFlags::POLLIN | writable),
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            ];
            if self.stdin && self.outgoing.is_empty() {
                fds.push(PollFd::new(user.as_fd(), PollFlags::POLLIN));
            }
            match poll(&mut fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                result => drop(result.doing(|| "wait for the container")?),
            }
            let seen = |index: usize| fds.get(index).is_some_and(|fd| fd.any().unwrap_or(false));
            let (heard, signalled, typed) = (seen(0), seen(1), seen(2));
            if signalled {
                self.pass_signals();
                // As Docker's client: a container whose first process has no handler ignores them (pid_namespaces(7)).
                if self.asked >= 3 {
                    self.send(socket)?;
                    return Ok(End::Forced);
                }
            }
            if typed && let Some(end) = self.pass_input(raw)? {
                self.send(socket)?;
                return Ok(end);
            }
            if heard && let Some(end) = self.show(socket)? {
                return Ok(end);
            }
        }
    }

    /// Shows what came; the end, if that is what came.
    fn show(&self, socket: &OwnedFd) -> Result<Option<End>> {
        let shown = match protocol::hear(socket)? {
            Some(Packet::Stdout(bytes)) if self.stdout => streams::show("stdout", std::io::stdout(), &bytes),
            Some(Packet::Stderr(bytes)) if self.stderr => streams::show("stderr", std::io::stderr(), &bytes),
            Some(Packet::Exit(code)) => return Ok(Some(End::Exited(code))),
            Some(Packet::End) => return Ok(Some(End::Lost)),
            _ => Ok(()),
        };
        // As in Docker the container goes on. To wait for its end could be to wait for ever: `… | head -1`.
        Ok(shown.err().map(End::Unheard))
    }

    fn send(&mut self, socket: &OwnedFd) -> Result<()> {
        while let Some(packet) = self.outgoing.front() {
            match protocol::send_bytes(socket, packet) {
                Ok(()) => drop(self.outgoing.pop_front()),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(()),
                // It has ended; what it said last is still to be read.
                Err(Errno::EPIPE | Errno::ECONNRESET) => self.outgoing.clear(),
                Err(errno) => return Err(errno).doing(|| "talk to the container's supervisor"),
            }
        }
        Ok(())
    }

    fn say(&mut self, packet: &Packet) {
        self.outgoing.push_back(packet.encode());
    }

    /// Passes on what was typed; the end, where that was the detach keys. A terminal in raw mode has no end of its own.
    fn pass_input(&mut self, raw: bool) -> Result<Option<End>> {
        let mut buffer = vec![0u8; protocol::LONGEST - 16];
        match read(std::io::stdin(), &mut buffer) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Ok(0) | Err(_) if raw => return Ok(Some(End::HungUp)),
            Ok(0) | Err(_) => {
                self.stdin = false;
                self.say(&Packet::CloseStdin);
            }
            Ok(length) if self.tty => {
                let (through, detached) = self.detach_keys.filter(&buffer[..length]);
                if !through.is_empty() {
                    self.say(&Packet::Stdin(through));
                }
                return Ok(detached.then_some(End::Detached));
            }
            Ok(length) => self.say(&Packet::Stdin(buffer[..length].to_vec())),
        }
        Ok(None)
    }

    fn pass_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            let number = info.ssi_signo as i32;
            if [Signal::SIGINT as i32, Signal::SIGTERM as i32].contains(&number) {
                self.asked += 1;
                if self.asked == 2
                    && let Some(why) = heedless::why(&self.store, &self.id, number)
                {
                    eprintln!("\n{why}");
                }
            }
            if number == Signal::SIGWINCH as i32 {
                self.send_size();
            } else {
                self.say(&Packet::Signal(number));
            }
        }
    }

    fn send_size(&mut self) {
        let (rows, columns) = size();
        if self.tty && rows > 0 {
            self.say(&Packet::Size(rows, columns));
        }
    }
}

/// The size of the user's terminal, where there is one.
pub fn size() -> (u16, u16) {
    kernel::window_size(std::io::stdin()).or_else(|_| kernel::window_size(std::io::stdout())).unwrap_or((0, 0))
}

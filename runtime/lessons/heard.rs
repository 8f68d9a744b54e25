//! A command on the learner's own terminal that is heard while it speaks: it has the keyboard, Ctrl-C and the size of the
//! window as ever, and its stdout and stderr are terminals, too; what it writes there is shown at once, and kept.

use super::classroom::Room;
use super::shell::{self, Answer};
use crate::error::{Doing, Result};
use crate::kernel;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{PtyMaster, posix_openpt};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::Pid;
use std::io::{IsTerminal, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Stdio};

/// So much of an answer is kept; the rest is only shown.
const MOST: usize = 1 << 20;

/// Runs `line` and returns what it answered.
pub fn run(room: &Room, line: &str) -> Result<Answer> {
    let (mut out, mut err) = (Ear::new(std::io::stdout())?, Ear::new(std::io::stderr())?);
    let mut command = shell::command(room, line);
    for (ear, is_out) in [(&mut out, true), (&mut err, false)] {
        if let Some(side) = ear.side.take() {
            if is_out {
                command.stdout(side)
            } else {
                command.stderr(side)
            };
        }
    }
    let mut child = command.spawn().doing(|| format!("run {line}"))?;
    // It holds our copies of its sides; once it is gone, the end of what it wrote can be seen.
    drop(command);
    let code = shell::undisturbed(|| listen(&mut child, &mut out, &mut err)).doing(|| format!("run {line}"))?;
    Ok(Answer { stdout: out.text(), stderr: err.text(), code })
}

/// Shows what comes until the command has ended, and then what has come by then: what it left running is not waited for.
fn listen(child: &mut Child, out: &mut Ear, err: &mut Ear) -> std::io::Result<i32> {
    let ended = kernel::pidfd_open(Pid::from_raw(child.id().cast_signed()))?;
    loop {
        let over = wait(&ended, out, err)?;
        out.pass_on(std::io::stdout())?;
        err.pass_on(std::io::stderr())?;
        if over {
            return child.wait().map(shell::code);
        }
    }
}

/// Blocks until there is something to hear, or the command has ended: then it is true.
fn wait(ended: &OwnedFd, out: &Ear, err: &Ear) -> std::io::Result<bool> {
    let mut fds = vec![PollFd::new(ended.as_fd(), PollFlags::POLLIN)];
    fds.extend(
        [out, err].iter().filter_map(|ear| ear.master.as_ref()).map(|m| PollFd::new(m.as_fd(), PollFlags::POLLIN)),
    );
    match poll(&mut fds, PollTimeout::NONE) {
        Err(nix::errno::Errno::EINTR) => Ok(false),
        result => result.map(|_| fds[0].any().unwrap_or(false)).map_err(Into::into),
    }
}

/// One of the two streams.
struct Ear {
    /// `None` where the stream is no terminal, or nobody holds its other side any more.
    master: Option<PtyMaster>,
    /// The command's side, until it has it.
    side: Option<Stdio>,
    heard: Vec<u8>,
}

impl Ear {
    fn new(ours: impl AsFd + IsTerminal) -> Result<Ear> {
        if !ours.is_terminal() {
            return Ok(Ear { master: None, side: None, heard: Vec::new() });
        }
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let master = posix_openpt(flags).doing(|| "make a terminal")?;
        let side = kernel::open_terminal_slave(&master).doing(|| "make a terminal")?;
        // Nothing is translated here: our own terminal does that.
        let mut modes = tcgetattr(&side).doing(|| "set the terminal")?;
        cfmakeraw(&mut modes);
        tcsetattr(&side, SetArg::TCSANOW, &modes).doing(|| "set the terminal")?;
        if let Ok((rows, columns)) = kernel::window_size(&ours) {
            let _ = kernel::set_window_size(&master, rows, columns);
        }
        Ok(Ear { master: Some(master), side: Some(side.into()), heard: Vec::new() })
    }

    /// Shows all that there is to read now.
    fn pass_on(&mut self, mut ours: impl Write + AsFd) -> std::io::Result<()> {
        let Some(master) = &mut self.master else { return Ok(()) };
        // The window may have another size than before.
        if let Ok((rows, columns)) = kernel::window_size(&ours) {
            let _ = kernel::set_window_size(&*master, rows, columns);
        }
        let mut buffer = [0u8; 8192];
        // No more at once than a screen can take: who writes without end must not keep us from the end of the command.
        for _ in 0..32 {
            // Asked before each read: that is when the kernel brings over what was written just now.
            let mut fds = [PollFd::new(master.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, PollTimeout::ZERO).map_or(true, |ready| ready == 0) {
                return Ok(());
            }
            match master.read(&mut buffer) {
                Ok(length) if length > 0 => {
                    ours.write_all(&buffer[..length])?;
                    ours.flush()?;
                    let room = MOST.saturating_sub(self.heard.len()).min(length);
                    self.heard.extend_from_slice(&buffer[..room]);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                // Its end, or EIO: nobody holds the other side.
                _ => {
                    self.master = None;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.heard).into_owned()
    }
}

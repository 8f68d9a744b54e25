//! A terminal of the test's own, with a command in it, as a user's terminal program has one.

use super::{Ebb, exit_code};
use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub struct Terminal {
    master: PtyMaster,
    /// The command's side is open in the command alone, so that its end is the end of what can be read.
    path: PathBuf,
    child: Child,
    /// What was read and not yet asked for.
    unread: String,
    /// Whether only letters are of interest.
    plain: bool,
}

impl Terminal {
    /// Starts `command` as the leader of a session whose controlling terminal is a new one of 33 rows and 77 columns.
    pub fn start(command: &Command) -> Terminal {
        // Were its own end inherited by the command, the end of a failing test would not end it.
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).expect("a terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("a terminal");
        let path = PathBuf::from(ptsname_r(&master).expect("the terminal's name"));
        set_size(&path, 33, 77);
        let slave = File::options().read(true).write(true).custom_flags(libc::O_NOCTTY).open(&path).expect("its side");
        let side = || Stdio::from(slave.try_clone().expect("a descriptor"));
        // setsid(1) executes the command in its own place, so that the child is the command.
        let mut session = Command::new("setsid");
        session.arg("--ctty").arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => session.env(name, value),
                None => session.env_remove(name),
            };
        }
        session.current_dir(command.get_current_dir().expect("every command has its test's directory"));
        let child = session.stdin(side()).stdout(side()).stderr(side()).spawn().expect("setsid starts");
        Terminal { master, path, child, unread: String::new(), plain: false }
    }

    /// A command that has come to the step that says so, and waits there for Enter.
    pub fn at_the_step(ebb: &Ebb, words: &[&str], step: &str) -> Terminal {
        let mut command = ebb.command();
        command.arg("--step").args(words);
        let mut stepping = Terminal::start(&command);
        while !stepping.shows("⏎").contains(step) {
            stepping.types("\n");
        }
        stepping
    }

    /// Passes all steps that are left, and gives the exit code.
    pub fn goes_on(mut self) -> i32 {
        self.types(&"\n".repeat(100));
        self.ends()
    }

    /// From here on what moves the cursor or clears a line is left out of what is shown.
    pub fn plain(self) -> Terminal {
        Terminal { plain: true, ..self }
    }

    pub fn types(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("typed");
    }

    /// Blocks until `wanted` is shown; returns what came before it. What comes after it is kept for the next call.
    pub fn shows(&mut self, wanted: &str) -> String {
        let mut buffer = [0u8; 1024];
        loop {
            if let Some(at) = self.unread.find(wanted) {
                let rest = self.unread.split_off(at + wanted.len());
                let mut before = std::mem::replace(&mut self.unread, rest);
                before.truncate(at);
                return before;
            }
            let length = self.master.read(&mut buffer).unwrap_or(0);
            assert!(length > 0, "ended without {wanted:?}: {:?}", self.unread);
            self.unread.push_str(&String::from_utf8_lossy(&buffer[..length]));
            if self.plain {
                self.unread = letters(&self.unread);
            }
        }
    }

    /// Changes the window's size, as dragging its corner does: the kernel tells the command by SIGWINCH.
    pub fn resize(&self, rows: u16, columns: u16) {
        set_size(&self.path, rows, columns);
    }

    /// The flags that say whether the terminal is raw.
    pub fn modes(&self) -> String {
        let modes = nix::sys::termios::tcgetattr(&self.master).expect("a terminal");
        format!("{:?} {:?} {:?}", modes.local_flags, modes.input_flags, modes.output_flags)
    }

    /// Closes the window, and blocks until the command ends.
    pub fn closes(self) -> i32 {
        let Terminal { master, mut child, .. } = self;
        drop(master);
        exit_code(child.wait().expect("the command ends"))
    }

    /// Blocks until the command ends.
    pub fn ends(&mut self) -> i32 {
        exit_code(self.child.wait().expect("the command ends"))
    }
}

fn set_size(path: &Path, rows: u16, columns: u16) {
    let (rows, columns) = (rows.to_string(), columns.to_string());
    let done = Command::new("stty").arg("-F").arg(path).args(["rows", &rows, "cols", &columns]).status();
    assert!(done.expect("stty starts").success());
}

/// The text without CSI sequences, and without returns to the line's beginning. One that has only begun stays at the end.
fn letters(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['\x1b', '\r']) {
        shown.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with("\r\n") {
            shown.push_str("\r\n");
            rest = &rest[2..];
        } else if rest.len() == 1 {
            break;
        } else if rest.starts_with('\r') {
            rest = &rest[1..];
        } else {
            let Some(end) = rest.find(|letter: char| letter.is_ascii_alphabetic()) else { break };
            rest = &rest[end + 1..];
        }
    }
    shown + rest
}

//! The user's terminal while it is lent to a container: raw mode, and the keys that take it back.

use crate::error::{Doing, Error, Result};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use std::os::fd::{AsFd, OwnedFd};

/// Raw mode: every key goes to the container, Ctrl-C too. The old mode comes back when this is dropped.
pub struct Raw {
    terminal: OwnedFd,
    before: Termios,
}

impl Raw {
    pub fn enter(terminal: impl AsFd) -> Result<Raw> {
        let doing = || "set the terminal to raw mode";
        let terminal = terminal.as_fd().try_clone_to_owned().doing(doing)?;
        let before = tcgetattr(&terminal).doing(doing)?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(&terminal, SetArg::TCSANOW, &raw).doing(doing)?;
        Ok(Raw { terminal, before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, SetArg::TCSANOW, &self.before);
    }
}

/// Docker's default detach keys.
pub const DETACH_KEYS: &str = "ctrl-p,ctrl-q";

/// Watches what is typed for the keys that detach.
pub struct DetachKeys {
    keys: Vec<u8>,
    /// How many of them have just been typed; they are held back until it is clear what they mean.
    matched: usize,
}

impl DetachKeys {
    /// `ctrl-p,ctrl-q`, `ctrl-@`, `a,b`; empty for none.
    pub fn parse(text: &str) -> Result<DetachKeys> {
        let key = |name: &str| match (name.as_bytes(), name.strip_prefix("ctrl-").map(str::as_bytes)) {
            ([byte], _) => Some(*byte),
            (_, Some([letter @ (b'a'..=b'z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_')])) => Some(letter & 0x1f),
            _ => None,
        };
        let keys = text.split(',').filter(|_| !text.is_empty());
        let keys: Option<Vec<u8>> = keys.map(key).collect();
        let keys = keys.ok_or_else(|| {
            Error::new(format!("invalid detach keys ({text})"))
                .with_cure("name them as in ctrl-p,ctrl-q: single characters, or ctrl- and one of a-z @ [ \\ ] ^ _")
        })?;
        Ok(DetachKeys { keys, matched: 0 })
    }

    /// Takes what was typed; gives what is for the container, and whether the keys were pressed.
    pub fn filter(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut through = Vec::with_capacity(typed.len());
        for byte in typed {
            if self.keys.get(self.matched) != Some(byte) {
                through.extend_from_slice(&self.keys[..self.matched]);
                self.matched = 0;
            }
            if self.keys.get(self.matched) == Some(byte) {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    return (through, true);
                }
            } else {
                through.push(*byte);
            }
        }
        (through, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_detach_and_half_of_them_goes_through() {
        let mut keys = DetachKeys::parse(DETACH_KEYS).unwrap();
        assert_eq!(keys.filter(b"a\x10b"), (b"a\x10b".to_vec(), false));
        assert_eq!(keys.filter(b"\x10"), (vec![], false));
        assert_eq!(keys.filter(b"\x10\x11c"), (vec![0x10], true));
        assert_eq!(DetachKeys::parse("").unwrap().filter(b"\x10\x11"), (b"\x10\x11".to_vec(), false));
        assert!(DetachKeys::parse("ctrl-1").is_err() && DetachKeys::parse("xy").is_err());
    }
}

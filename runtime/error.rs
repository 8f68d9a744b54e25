//! One error for all of Ebb: what we were doing, to what, why it failed, and the likely cure.

use std::fmt;

pub type Result<T> = std::result::Result<T, Error>;

/// What a caller may have to tell apart; everything else is `Other`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Kind {
    Other,
    /// The named object does not exist.
    NotFound,
    /// A name is taken, or a state forbids the step.
    Conflict,
    /// A later version of Ebb wrote it: nothing can be said of it, and nothing may be changed.
    Newer,
    /// The file system, or the user's quota, has no room for it.
    NoRoom,
    /// The kernel lacks a call, or a filter withholds it: the message says which, and nothing else would help.
    Lacking,
    /// The container's program exists but cannot be executed: exit code 126.
    NotExecutable,
    /// The container's program does not exist: exit code 127.
    CommandNotFound,
    /// The command line itself was wrong; the usage may help.
    Usage,
    /// Everything was already reported (several names, some failed): only the exit code is left to give.
    Reported,
}

/// Lower case, no final period, carries the path or the name. Returned or reported, never both.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Error {
    pub kind: Kind,
    pub message: String,
    /// What the user can do about it, printed on a line of its own.
    pub cure: Option<String>,
}

impl Error {
    pub fn new(message: impl Into<String>) -> Error {
        Error { kind: Kind::Other, message: message.into(), cure: None }
    }

    pub fn of(kind: Kind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into(), cure: None }
    }

    pub fn not_found(message: impl Into<String>) -> Error {
        Error::of(Kind::NotFound, message)
    }

    pub fn conflict(message: impl Into<String>) -> Error {
        Error::of(Kind::Conflict, message)
    }

    /// Where the kernel lacks a call, that is the cause, and no other cure is one.
    #[must_use]
    pub fn with_cure(mut self, cure: impl Into<String>) -> Error {
        if self.kind != Kind::Lacking {
            self.cure = Some(cure.into());
        }
        self
    }

    pub fn is_not_found(&self) -> bool {
        self.kind == Kind::NotFound
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.cure {
            Some(cure) => write!(f, "\n  {cure}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// Puts "what we were doing" in front of a cause: `open(p).doing(|| format!("open {p}"))`.
pub trait Doing<T> {
    fn doing<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T>;
}

impl<T, E: Cause> Doing<T> for std::result::Result<T, E> {
    fn doing<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|cause| {
            let mut error = cause.into_error();
            error.message = format!("{}: {}", what().into(), error.message);
            error
        })
    }
}

/// Anything that can be the reason of an [`Error`].
pub trait Cause {
    fn into_error(self) -> Error;
}

impl Cause for Error {
    fn into_error(self) -> Error {
        self
    }
}

impl Cause for nix::errno::Errno {
    fn into_error(self) -> Error {
        use nix::errno::Errno;
        let kind = match self {
            Errno::ENOENT => Kind::NotFound,
            Errno::ENOSPC | Errno::EDQUOT => Kind::NoRoom,
            Errno::ENOSYS => match crate::required::missing() {
                Some(missing) => return missing,
                None => Kind::Other,
            },
            _ => Kind::Other,
        };
        Error::of(kind, lower_first(self.desc()))
    }
}

impl Cause for std::io::Error {
    fn into_error(self) -> Error {
        match self.raw_os_error() {
            Some(number) => nix::errno::Errno::from_raw(number).into_error(),
            None => Error::new(lower_first(&self.to_string())),
        }
    }
}

impl Cause for serde_json::Error {
    fn into_error(self) -> Error {
        Error::new(self.to_string())
    }
}

impl Cause for oci_spec::OciSpecError {
    fn into_error(self) -> Error {
        Error::new(self.to_string())
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) if !text.starts_with("I/O") => first.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}

//! The host's own programs that Ebb runs (newuidmap, mkfs, ps, getent, apt by way of a recipe): where they are looked for, and
//! with which environment they start.
//!
//! For root in fixed directories only, to which nobody else can write, and with none of the caller's variables but a few:
//! whoever has set PATH, LD_PRELOAD or APT_CONFIG in the environment of root's command decides nothing. An ordinary user's
//! PATH is that user's own business, but an entry of it that is no absolute path is passed over: it would run what lies in
//! the current directory.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where root's programs are.
const FIXED: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Where else an ordinary user's may be, whose PATH most often lacks the programs for administration.
const MORE: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Of the caller's variables, those that root's programs get: how to speak, and the way to the network.
const PASSED: [&str; 15] = [
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_CTYPE",
    "LC_MESSAGES",
    "TERM",
    "TZ",
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SOURCE_DATE_EPOCH",
];

/// The directories in which programs are looked for, in this order.
pub fn directories() -> Vec<PathBuf> {
    if nix::unistd::geteuid().is_root() {
        return FIXED.map(PathBuf::from).to_vec();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut all: Vec<PathBuf> = std::env::split_paths(&path).filter(|dir| dir.is_absolute()).collect();
    all.extend(MORE.map(PathBuf::from).into_iter().filter(|dir| !std::env::split_paths(&path).any(|own| own == *dir)));
    all
}

/// [`directories`] as a PATH.
pub fn search_path() -> OsString {
    let all: Vec<OsString> = directories().into_iter().map(PathBuf::into_os_string).collect();
    all.join(OsStr::new(":"))
}

/// Where the program is that can be executed.
pub fn find(program: &str) -> Option<PathBuf> {
    let executable = |path: &PathBuf| {
        let found = Path::metadata(path);
        found.is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    directories().into_iter().map(|dir| dir.join(program)).find(executable)
}

/// The program, ready for its arguments. `NotFound` where the host has none.
pub fn command(program: &str) -> io::Result<Command> {
    let Some(path) = find(program) else {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no {program} on this system")));
    };
    let mut command = Command::new(path);
    if nix::unistd::geteuid().is_root() {
        let passed = PASSED.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        command.env_clear().envs(passed).env("PATH", search_path());
    }
    Ok(command)
}

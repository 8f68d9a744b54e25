//! Servers of network file systems: the kernel wants an address, mount.nfs(8) and mount.cifs(8), and Docker after them, take
//! a name too.

use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use crate::programs;
use nix::errno::Errno;
use std::io::ErrorKind;
use std::net::IpAddr;

/// The device and the words of a mount of type `kind`, with addresses for names where Docker puts them: in the first `addr=`,
/// and where that is no name, in cifs's `//SERVER/SHARE`.
pub fn resolve(kind: &str, device: &str, mut words: Vec<String>) -> Result<(String, Vec<String>)> {
    if !matches!(kind, "nfs" | "nfs4" | "cifs") {
        return Ok((device.to_owned(), words));
    }
    if let Some(word) = words.iter_mut().find(|word| word.starts_with("addr="))
        && is_name(&word["addr=".len()..])
    {
        *word = format!("addr={}", address(&word["addr=".len()..])?);
        return Ok((device.to_owned(), words));
    }
    match device.strip_prefix("//").map(|path| path.split_at(path.find('/').unwrap_or(path.len()))) {
        Some((server, share)) if kind == "cifs" && is_name(server) => {
            Ok((format!("//{}{share}", address(server)?), words))
        }
        _ => Ok((device.to_owned(), words)),
    }
}

/// What a refusal to mount most often means, where a server is asked: the kernel says it in one word, and the rest in its log.
pub fn explain_refusal(kind: &str, error: Error) -> Error {
    let says = |errno: Errno| error.message.starts_with(&errno.desc().to_lowercase());
    let cure = match kind {
        "cifs" if says(Errno::EACCES) => "the server refuses the user name or the password, or to this user the share",
        "cifs" if says(Errno::ENOENT) => {
            "the server has no such share, or the share no such directory; if it has, `dmesg` says what this kernel lacks"
        }
        "nfs" | "nfs4" if says(Errno::ENOENT) => "the server exports nothing by this name",
        "cifs" | "nfs" | "nfs4" if says(Errno::ECONNREFUSED) => "no such server listens at this address",
        _ => return error,
    };
    error.with_cure(cure)
}

fn is_name(server: &str) -> bool {
    !server.is_empty() && server.parse::<IpAddr>().is_err()
}

/// An IPv4 address goes first, as in Docker.
fn address(name: &str) -> Result<String> {
    let asked = by_name_services(name)?;
    let services = asked.is_some();
    let found = asked.map_or_else(|| in_hosts(name), Ok)?;
    let first = found.iter().find(|address| address.contains('.')).or(found.first()).cloned();
    first.ok_or_else(|| {
        let failed = format!("error resolving passed in network volume address: lookup {name}: no such host");
        match services {
            true => Error::new(failed),
            false => Error::new(format!(
                "{failed} in /etc/hosts, and there is no getent(1) here to ask the host's other name services"
            )),
        }
        .with_cure("give the server's address, or make its name known in /etc/hosts")
    })
}

/// By getent(1): a static program cannot load the host's name services itself. `None` where there is none, or one that
/// knows nothing of `ahosts`.
fn by_name_services(name: &str) -> Result<Option<Vec<String>>> {
    /// The key was not found (getent(1), "EXIT STATUS").
    const UNKNOWN: i32 = 2;
    explain::step(format_args!("the address of {name}"), format_args!("getent ahosts {name}"));
    let asked = programs::command("getent");
    let output = match asked.and_then(|mut getent| calls::output(getent.args(["ahosts", "--", name]))) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        output => output.doing(|| "run getent")?,
    };
    if !output.status.success() && output.status.code() != Some(UNKNOWN) {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(Some(text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()))
}

/// What hosts(5) says of a name: an address, and behind it all that it is called.
fn in_hosts(name: &str) -> Result<Vec<String>> {
    const HOSTS: &str = "/etc/hosts";
    let text = match std::fs::read(HOSTS) {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        text => text.doing(|| format!("read {HOSTS}"))?,
    };
    let address = |line: &str| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address = words.next()?.to_owned();
        words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
    };
    Ok(String::from_utf8_lossy(&text).lines().filter_map(address).collect())
}

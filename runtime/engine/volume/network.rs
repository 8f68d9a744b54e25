//! Servers of network file systems: the kernel wants an address, mount.nfs(8) and mount.cifs(8), and Docker after them, take
//! a name too.

use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use std::net::IpAddr;
use std::process::Command;

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

fn is_name(server: &str) -> bool {
    !server.is_empty() && server.parse::<IpAddr>().is_err()
}

/// By getent(1): a static program cannot load the host's name services itself. An IPv4 address goes first, as in Docker.
fn address(name: &str) -> Result<String> {
    explain::step(format_args!("the address of {name}"), format_args!("getent ahosts {name}"));
    let output = calls::output(Command::new("getent").args(["ahosts", "--", name])).doing(|| "run getent")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let found: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    found
        .iter()
        .find(|address| address.contains('.'))
        .or(found.first())
        .map(|address| (*address).to_owned())
        .ok_or_else(|| {
            Error::new(format!("error resolving passed in network volume address: lookup {name}: no such host"))
                .with_cure("give the server's address, or make its name known in /etc/hosts")
        })
}

//! Programs of the host, replaced for one command.

use super::{Ebb, is_root};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Mounts each file of `$1` over the host's program of that name, in a mount namespace that goes with the command.
const OVER: &str = r#"
    for program in "$1"/*; do
        mount --bind "$program" "$(PATH=/usr/sbin:/usr/bin:/sbin:/bin command -v "${program##*/}")" || exit 99
    done
    shift
    exec "$@"
"#;

/// `ebb`, for which the host's programs are those in `directory`: an ordinary user's by PATH; root's, which Ebb takes from
/// nowhere else than where they are, in their places.
pub fn replaced(ebb: &Ebb, directory: &Path) -> Command {
    let mut command = ebb.command();
    let path = format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", directory.display());
    if !is_root() {
        command.env("PATH", path);
        return command;
    }
    let mut over = Command::new("unshare");
    over.args(["-m", "sh", "-c", OVER, "sh"]).arg(directory).arg(command.get_program());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => over.env(name, value),
            None => over.env_remove(name),
        };
    }
    over.current_dir(&ebb.dir).stdin(std::process::Stdio::null());
    over
}

/// Writes a shell script that can be executed; a new file, since the old one may still be running.
pub fn script(path: &Path, text: &str) {
    let _ = std::fs::remove_file(path);
    std::fs::write(path, format!("#!/bin/sh\n{text}\n")).expect("a script");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("executable");
}

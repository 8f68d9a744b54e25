//! volume import.

use crate::cli::{Execute, output, store, target};
use crate::engine::volume;
use crate::error::{Doing, Error, Result};
use crate::progress::Progress;
use std::fs::File;
use std::io::IsTerminal;

/// Replace what a volume holds by the contents of a tar archive
///
/// The archive may be compressed with gzip, xz, bzip2 or zstd, and come from `ebb volume export`, `podman volume export` or tar. The
/// volume is made where there is none. It holds the old content or the new one, whatever happens. The archive's digest is
/// printed.
#[derive(Debug, clap::Parser)]
#[command(after_help = "Examples:
  ebb volume import myvolume myvolume.tar.zst
  podman volume export myvolume | ebb volume import myvolume
  tar -C site -c . | ebb volume import web -")]
pub struct Import {
    #[arg(value_name = "VOLUME")]
    name: String,
    /// A file, or - for stdin (the default)
    #[arg(value_name = "FILE", default_value = "-")]
    file: String,
}

impl Execute for Import {
    fn execute(self) -> Result<i32> {
        let input = match self.file.as_str() {
            "-" if std::io::stdin().is_terminal() => {
                return Err(Error::new("requested import from stdin, but stdin is a terminal")
                    .with_cure(format!("ebb volume import {} FILE", self.name)));
            }
            "-" => target::stdin()?,
            path => File::open(path).doing(|| format!("open {path}"))?,
        };
        let total = input.metadata().ok().filter(std::fs::Metadata::is_file).map_or(0, |meta| meta.len());
        let mut bar = Progress::new("importing", total);
        let imported = volume::import(&store()?, &self.name, &input, &mut |done| bar.set(done));
        bar.finish();
        let imported = imported?;
        if imported.unpacked.members == 0 {
            eprintln!("ebb: the archive has nothing in it: {} is empty", self.name);
        }
        tell_left_out(imported.unpacked.attributes_left_out);
        output::line(&imported.digest)?;
        Ok(0)
    }
}

/// Says that files have not got all of their attributes.
pub fn tell_left_out(files: u64) {
    let files = match files {
        0 => return,
        1 => "1 file".to_owned(),
        files => format!("{files} files"),
    };
    eprintln!(
        "ebb: attributes of {files} were left out: only user.*, capabilities and binary ACLs are kept in a volume, and \
         of the latter two what they say of users and groups who have an id here"
    );
}

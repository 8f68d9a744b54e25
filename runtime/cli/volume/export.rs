//! volume export.

use crate::cli::target::Target;
use crate::cli::{Execute, output, store};
use crate::engine::volume::{self, Format};
use crate::error::Result;
use crate::progress::Progress;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// Write a volume to a tar archive (streamed to stdout by default)
///
/// Owners, modes, times, user.* attributes, ACLs, file capabilities, hard links, holes, FIFOs and sockets are kept; owners are
/// the ids that containers see. A file named .tar.gz or .tar.zst is compressed. The digest of what was written is printed: on stdout
/// with -o, else on stderr. A socket is an empty file to other programs than Ebb, since tar knows none.
#[derive(Debug, clap::Parser)]
#[command(after_help = "Examples:
  ebb volume export -o myvolume.tar.zst myvolume
  ebb volume export --pause -o db.tar db     no container writes meanwhile
  ebb volume export myvolume | ssh host ebb volume import myvolume -")]
pub struct Export {
    /// Write to a file, instead of stdout
    #[arg(short, long, value_name = "string")]
    output: Option<PathBuf>,
    /// Pause the containers that use the volume, for a copy of one moment
    #[arg(long)]
    pause: bool,
    #[arg(value_name = "VOLUME")]
    name: String,
}

impl Execute for Export {
    fn execute(self) -> Result<i32> {
        let store = store()?;
        let volume = volume::get(&store, &self.name)?;
        let path = self.output.as_ref().filter(|path| path.as_path() != Path::new("-"));
        let format = path.map_or(Ok(Format::Plain), |path| Format::of(path))?;
        let target = Target::open(path)?;
        // Counted first only where somebody watches.
        let total = match std::io::stderr().is_terminal() {
            true => volume::contents(&store, &volume).map_or(0, |contents| contents.bytes),
            false => 0,
        };
        let mut bar = Progress::new("exporting", total);
        let mut written = None;
        let mut write = |sound: &dyn Fn() -> Result<()>| {
            let mut progress = |done| bar.set(done);
            written = Some(volume::export(&store, &self.name, &target.file, format, &mut progress, sound)?);
            Ok(())
        };
        let exported = match self.pause {
            true => volume::while_frozen(&store, &self.name, write),
            false => write(&|| Ok(())),
        };
        bar.finish();
        target.finish_durably(exported)?;
        if let Some(exported) = written {
            self.tell(&exported, path.is_some())?;
        }
        Ok(0)
    }
}

impl Export {
    fn tell(&self, exported: &volume::Exported, to_file: bool) -> Result<()> {
        if let Some((first, count)) = &exported.changed {
            let first = output::printable(&first.to_string_lossy());
            let others = if *count > 1 { format!(" and {} others", count - 1) } else { String::new() };
            eprintln!("ebb: {first}{others} changed while being read; `--pause` makes a copy of one moment");
        }
        match to_file {
            true => output::line(&exported.digest),
            false => {
                eprintln!("{}", exported.digest);
                Ok(())
            }
        }
    }
}

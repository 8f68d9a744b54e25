//! What can be asked of a run.

use std::path::PathBuf;

pub struct Options {
    /// Rounds of a table; a long one (image load) does a third.
    pub rounds: usize,
    /// Names of rows; empty for all.
    pub rows: Vec<String>,
    pub peers: Vec<String>,
    pub dir: PathBuf,
    /// An ordinary user with subordinate ids, for the rows without root.
    pub user: Option<String>,
    pub words: Vec<String>,
}

const HELP: &str = "just bench [OPTIONS], or cargo bench -- [OPTIONS]
  --rounds N      rounds of each table (20)
  --rows A,B      only these: run dirty rootless detach exec volume list version memory load backup fifty growth
  --peers A,B     only these of crun, runc, podman, docker (all that are installed)
  --dir DIR       scratch directory (/tmp/ebb-bench); a loop-mounted ext4 with a journal is made in it where root can
  --user NAME     the ordinary user of the row without root (the first of /etc/subuid that has an account)";

impl Options {
    pub fn parse(words: &[String]) -> Result<Options, String> {
        let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        let mut options = Options {
            rounds: 20,
            rows: Vec::new(),
            peers: list("crun,runc,podman,docker"),
            dir: PathBuf::from("/tmp/ebb-bench"),
            user: None,
            words: words.iter().filter(|word| *word != "--bench").cloned().collect(),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            // `cargo bench` and `cargo test --benches` pass words of their own.
            if word == "--bench" {
                continue;
            }
            let mut value = || words.next().cloned().ok_or(format!("{word} needs a value\n{HELP}"));
            match word.as_str() {
                "--rounds" => options.rounds = value()?.parse().map_err(|_| HELP.to_owned())?,
                "--rows" => options.rows = list(&value()?),
                "--peers" => options.peers = list(&value()?),
                "--dir" => options.dir = PathBuf::from(value()?),
                "--user" => options.user = Some(value()?),
                _ => return Err(HELP.to_owned()),
            }
        }
        Ok(options)
    }

    pub fn wants(&self, row: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|name| name == row)
    }
}

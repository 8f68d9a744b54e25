//! top: the processes of a container.

use crate::cli::{Execute, output, store};
use crate::engine::container::{self, top};
use crate::error::{Error, Kind, Result};

/// Display the running processes of a container
#[derive(Debug, clap::Parser)]
pub struct Top {
    /// After the container's name everything is an option of the host's ps
    #[arg(value_names = ["CONTAINER", "PS OPTIONS"], required = true, num_args = 1.., trailing_var_arg = true)]
    words: Vec<String>,
}

impl Execute for Top {
    fn execute(self) -> Result<i32> {
        let Some((name, options)) = self.words.split_first() else {
            return Err(Error::of(Kind::Usage, "no container"));
        };
        let store = store()?;
        let processes = top::top(&store, &container::find(&store, name)?, options)?;
        let rows: Vec<&[String]> =
            std::iter::once(&processes.titles).chain(&processes.rows).map(Vec::as_slice).collect();
        output::bytes(aligned(&rows).as_bytes())?;
        Ok(0)
    }
}

/// Docker's columns here are at least 20 wide, with 3 spaces between; the last one is as it is.
fn aligned(rows: &[&[String]]) -> String {
    let width = |column: usize| {
        let longest = rows.iter().filter_map(|row| row.get(column)).map(|word| word.chars().count()).max();
        (longest.unwrap_or(0) + 3).max(20)
    };
    let widths: Vec<usize> = (0..rows.first().map_or(0, |row| row.len())).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let Some((last, others)) = row.split_last() else { continue };
        for (word, width) in others.iter().zip(&widths) {
            // A process writes its own arguments, and Rust's formatting ends the program at a width of 65536.
            text.push_str(word);
            text.extend(std::iter::repeat_n(' ', width.saturating_sub(word.chars().count())));
        }
        text.push_str(last);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_column_is_as_wide_as_any_word() {
        let rows = [["x".repeat(100_000), "1".to_owned()], ["y".to_owned(), "2".to_owned()]];
        let text = super::aligned(&rows.each_ref().map(|row| &row[..]));
        assert!(text.lines().all(|line| line.len() == 100_004), "{}", text.len());
    }
}

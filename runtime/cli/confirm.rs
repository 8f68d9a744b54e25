//! The question before something is taken away.

use crate::cli::output;
use crate::error::Result;

/// Says `WARNING! …` and asks, as Docker's prune commands do. No answer is a no.
pub fn confirm(warning: &str) -> Result<bool> {
    output::bytes(format!("WARNING! {warning}\nAre you sure you want to continue? [y/N] ").as_bytes())?;
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer).unwrap_or(0);
    if read == 0 {
        output::line("")?;
    }
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}

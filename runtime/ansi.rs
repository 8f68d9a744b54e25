//! What a terminal is told beside letters.

/// Whether the terminal reads escape sequences: one that is called "dumb", or nothing at all, shows them as letters.
pub fn is_understood() -> bool {
    std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// Whether it may be told colours. NO_COLOR is about these alone (no-color.org), not about links.
pub fn has_colour() -> bool {
    is_understood() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

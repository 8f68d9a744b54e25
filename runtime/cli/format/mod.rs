//! How results are shown: Docker's `--format`, tables, units and `--filter`.

pub mod filter;
pub mod inspect;
pub mod table;
pub mod template;
pub mod units;

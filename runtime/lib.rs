//! Ebb, in reading order. Who may know whom is held by `tests/tidy.rs`:
//! `cli -> engine -> oci`, `engine -> store`; `oci` knows no image, volume or container name.

pub mod cli;
pub mod engine;
pub mod lessons;
pub mod oci;
pub mod store;

pub mod error;
pub mod kernel;
pub mod progress;

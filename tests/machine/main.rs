//! What the kernel of a test's host may not have: servers of network file systems, xfs, cgroup v2. Seen in a machine of
//! qemu's with Debian's kernel, which is made as that of tests/power is.
//!
//! Not part of `cargo test`: `just machine`. tests/power/README.md says what it needs.

mod cgroup2;
#[path = "../common/mod.rs"]
mod common;
mod guest;
#[path = "../power/machine.rs"]
mod machine;
mod network;
mod xfs;

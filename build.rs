//! Has the linker lay side by side what every `run` needs of the program (`runtime/order.txt`, which `just order` writes): a
//! fifth fewer page faults, and two fifths less memory at the peak. Where the linker is not one that can, or the compiler is
//! another than the list was made with, and so the names are others, the program is the same in another order.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=runtime/order.txt");
    let variable = |name| std::env::var(name).unwrap_or_default();
    let order = Path::new(&variable("CARGO_MANIFEST_DIR")).join("runtime/order.txt");
    let words = [format!("-Wl,--symbol-ordering-file={}", order.display()), "-Wl,--no-warn-symbol-ordering".to_owned()];
    if variable("PROFILE") == "release"
        && can_order(&variable("RUSTC"), &variable("TARGET"), &variable("OUT_DIR"), &words)
    {
        for word in words {
            println!("cargo::rustc-link-arg-bin=ebb={word}");
        }
    }
}

/// Tries it on the smallest of programs.
fn can_order(rustc: &str, target: &str, out: &str, words: &[String]) -> bool {
    let program = Path::new(out).join("probe");
    let mut command = Command::new(rustc);
    command.args(["--target", target, "--crate-name", "probe", "-o"]).arg(program);
    // With the linker and the flags that the program itself will be linked with: they may ask for another than the usual one.
    let flags = std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    command.args(flags.split('\x1f').filter(|flag| !flag.is_empty()));
    command.args(std::env::var("RUSTC_LINKER").iter().map(|linker| format!("-Clinker={linker}")));
    command.args(words.iter().map(|word| format!("-Clink-arg={word}"))).arg("-");
    let linked =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().and_then(|mut child| {
            if let Some(mut source) = child.stdin.take() {
                source.write_all(b"fn main() {}")?;
            }
            child.wait()
        });
    linked.is_ok_and(|status| status.success())
}

//! Every command that the README shows is run, as it stands there.

mod common;

use common::Ebb;
use std::path::Path;
use std::process::Command;

const README: &str = include_str!("../README.md");
const PROJECT: &str = env!("CARGO_MANIFEST_DIR");

/// The lines of the README's `sh` blocks.
fn shell_lines() -> Vec<&'static str> {
    let mut lines = Vec::new();
    let mut inside = false;
    for line in README.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            line if inside && !line.is_empty() => lines.push(line),
            _ => {}
        }
    }
    lines
}

#[test]
fn the_console_blocks_answer_as_written() {
    let ebb = Ebb::new();
    ebb.ok(["image", "load", "-q", "-i", common::nginx_archive().to_str().expect("UTF-8")]);
    let said = ebb.ok(["lesson", &format!("{PROJECT}/README.md"), "--check"]);
    assert!(said.contains("all as written"), "{said}");
}

/// One test for all of them, since they share Cargo's target directory and its lock.
#[test]
fn the_shell_blocks_work_as_they_stand() {
    let ebb = Ebb::new();
    ebb.ok(["image", "load", "-q", "-i", common::nginx_archive().to_str().expect("UTF-8")]);
    let lines = shell_lines();
    assert!(lines.contains(&"cargo test"), "the README gives the test command: {lines:?}");
    for line in lines {
        if line == "cargo test" {
            // This is that command. CI takes it from the README, and so must not drift from it.
            let ci = std::fs::read_to_string(format!("{PROJECT}/.ci/run")).expect(".ci/run");
            assert!(ci.contains(line), ".ci/run does not run `{line}`");
            continue;
        }
        run(&ebb, line);
    }
}

#[test]
fn the_just_recipes_that_the_readme_names_exist() {
    if Command::new("just").arg("--version").output().is_err() {
        return common::skip("just is not installed (PyPI's rust-just has it)");
    }
    for part in README.split('`').filter(|part| part.starts_with("just ")) {
        let recipe = part.trim_start_matches("just ");
        let shown = Command::new("just").args(["--dry-run", recipe]).current_dir(PROJECT).output().expect("just runs");
        assert!(shown.status.success(), "just {recipe}: {}", String::from_utf8_lossy(&shown.stderr));
        let shown = String::from_utf8_lossy(&shown.stderr).into_owned();
        let wanted = match recipe {
            "test" => "cargo test",
            "torture" => "cargo test --test torture",
            _ => "cargo run --release -- lesson 3",
        };
        assert!(shown.contains(wanted), "just {recipe} does not run `{wanted}`: {shown}");
    }
}

#[test]
fn every_file_that_the_readme_links_exists() {
    for target in README.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        if !target.starts_with("http") {
            assert!(Path::new(PROJECT).join(target).exists(), "README links {target}, which does not exist");
        }
    }
}

/// Runs a line as a newcomer would, except that their home is the test's and the toolchain stays where it is.
fn run(ebb: &Ebb, line: &str) {
    let home = std::env::var("HOME").unwrap_or_else(|_| "/root".into());
    let toolchain = |name: &str, dir: &str| std::env::var(name).unwrap_or_else(|_| format!("{home}/{dir}"));
    let mut shell = Command::new("sh");
    shell.args(["-ec", line]).current_dir(PROJECT).env("EBB_ROOT", ebb.store()).env("HOME", &ebb.dir);
    shell.env("CARGO_HOME", toolchain("CARGO_HOME", ".cargo")).env("RUSTUP_HOME", toolchain("RUSTUP_HOME", ".rustup"));
    // Cargo tells its tests of itself; a newcomer's shell has none of that.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CARGO_PKG") || name.starts_with("CARGO_BIN"))
    {
        shell.env_remove(name);
    }
    let said = common::answer(&mut shell);
    assert_eq!(said.code, 0, "`{line}`\n{}", said.shown());
}

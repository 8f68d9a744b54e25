//! The rules that hold for the source itself. Each says why it exists; an exception stands in a list, with its reason.

#[path = "common/links.rs"]
mod links;
#[path = "common/source.rs"]
mod source;

use source::*;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Who may import whom: a module of `runtime/`, and the modules of `runtime/` that it must not name.
const BOUNDARIES: &[(&str, &[&str], &str)] = &[
    ("oci", &["engine", "cli", "lessons"], "oci turns a bundle into a process, and knows no image, volume or name"),
    ("engine", &["cli", "lessons"], "the engine works for any front end"),
    ("store", &["oci", "engine", "cli", "lessons", "progress"], "the store is the ground that the others stand on"),
    ("lessons", &["engine", "oci"], "a lesson may only do what a learner can type"),
    ("error", &["oci", "engine", "cli", "lessons", "store", "kernel", "progress"], "everything stands on the error"),
    ("kernel", &["oci", "engine", "cli", "lessons", "store", "progress"], "system calls have no policy"),
    ("progress", &["oci", "engine", "cli", "lessons", "store"], "a bar knows nothing of what it measures"),
    (
        "explain",
        &["oci", "engine", "cli", "lessons", "store"],
        "the narration knows calls, and nothing of what they are for",
    ),
];

/// What must not be called in `runtime/`, outside of unit tests.
const FORBIDDEN: &[(&str, &str)] = &[
    (".unwrap()", "a learner meets an error message, never a panic"),
    (".expect(", "a learner meets an error message, never a panic"),
    ("panic!", "a learner meets an error message, never a panic"),
    ("unreachable!", "a learner meets an error message, never a panic"),
    ("todo!", "what is not there is refused with a sentence"),
    ("unimplemented!", "what is not there is refused with a sentence"),
    ("remove_dir_all", "store::tree::remove never crosses a mount, and so never deletes what is not ours"),
    ("thread::spawn", "a process with a second thread must not be cloned"),
    ("thread::scope", "a process with a second thread must not be cloned"),
    ("thread::Builder", "a process with a second thread must not be cloned"),
];

/// Files that may sleep, and why: everywhere else a handshake, a pidfd, poll or inotify tells when.
const SLEEPERS: &[(&str, &str)] = &[
    (
        "runtime/oci/cgroup/v1.rs",
        "cgroup v1 tells nobody when a freeze is complete, or a directory free of its last process",
    ),
    ("runtime/engine/volume/frozen.rs", "a process that stops tells its parent, and nobody else"),
    ("tests/bench/peers.rs", "dockerd tells nobody when it listens"),
    ("tests/power/main.rs", "the kernel tells nobody when the mounts of a process that has ended are gone"),
];

/// Calls that are made in `runtime/explain/calls` only, where each is told.
const TOLD: &[&str] = &[
    "kernel::clone3(",
    "kernel::fork(",
    "kernel::setns(",
    "kernel::open_tree(",
    "kernel::move_mount(",
    "kernel::mount_setattr(",
    "kernel::fsopen(",
    "kernel::fsconfig",
    "kernel::fsmount(",
    "kernel::pivot_root",
    "kernel::set_domain_name(",
    "kernel::seccomp_load(",
    "kernel::set_limit(",
    "kernel::new_session_keyring(",
    "kernel::loopback_up(",
    "kernel::prctl(libc::PR_SET",
    "kernel::prctl(libc::PR_CAPBSET_DROP",
    "mount::mount(",
    "mount::umount",
    "sched::unshare(",
    "sched::setns(",
    "unistd::chroot(",
    "unistd::sethostname(",
    "unistd::setgroups(",
    "unistd::setuid(",
    "unistd::setgid(",
    "unistd::setres",
    "unistd::execve(",
    "unistd::execveat(",
    "unistd::pivot_root(",
    "caps::set(",
    "caps::clear(",
    "caps::raise(",
    "caps::drop(",
];

const LONGEST_FILE: usize = 400;
const LONGEST_FUNCTION: usize = 70;

/// Files that may be longer, and why.
const LONG_FILES: &[(&str, &str)] =
    &[("runtime/kernel.rs", "all unsafe code stands in this one file; its parts have nothing else in common")];

/// Functions that may be longer, as `FILE::NAME`, and why.
const LONG_FUNCTIONS: &[(&str, &str)] = &[];

/// What stands at the root of the repository: the names of the card, and what convention puts there.
const TOP_LEVEL: &[&str] = &[
    "ARCHITECTURE.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "build.rs",
    "clippy.toml",
    "images",
    "justfile",
    "lessons",
    "runtime",
    "rustfmt.toml",
    "target",
    "tests",
];

#[test]
fn no_module_knows_one_above_it() {
    let mut wrong = Vec::new();
    for source in sources("runtime") {
        let module = source.name.trim_start_matches("runtime/").split(['/', '.']).next().unwrap_or("").to_owned();
        let Some((_, banned, why)) = BOUNDARIES.iter().find(|(name, ..)| *name == module) else { continue };
        for known in modules_named(&source.code) {
            if banned.contains(&known.as_str()) {
                wrong.push(format!("{} names crate::{known}: {why}", source.name));
            }
        }
    }
    none(wrong);
}

#[test]
fn unsafe_stands_in_one_file_with_its_reason() {
    let mut wrong = Vec::new();
    for source in sources("runtime") {
        let original: Vec<_> = source.text.lines().collect();
        for (index, line) in source.code.lines().enumerate() {
            if !words(line).any(|word| word == "unsafe") {
                continue;
            }
            if source.name != "runtime/kernel.rs" {
                wrong.push(format!("{}:{}: unsafe outside of runtime/kernel.rs", source.name, index + 1));
            }
            let above = original[..index].iter().rev().take_while(|line| line.trim_start().starts_with("//"));
            if !above.into_iter().any(|line| line.contains("// SAFETY: ")) {
                wrong.push(format!("{}:{}: no SAFETY comment above", source.name, index + 1));
            }
        }
    }
    none(wrong);
}

#[test]
fn nothing_in_the_runtime_can_panic_on_purpose() {
    let mut wrong = Vec::new();
    for source in sources("runtime") {
        for (index, line) in without_unit_tests(&source).lines().enumerate() {
            for (call, why) in FORBIDDEN {
                if line.contains(call) {
                    wrong.push(format!("{}:{}: {call}: {why}", source.name, index + 1));
                }
            }
            if line.contains("process::exit") && source.name != "runtime/main.rs" {
                wrong.push(format!("{}:{}: process::exit: only main decides the exit code", source.name, index + 1));
            }
        }
    }
    none(wrong);
}

#[test]
fn no_isolating_call_is_made_where_it_is_not_told() {
    let mut wrong = Vec::new();
    for source in sources("runtime").iter().filter(|source| !source.name.starts_with("runtime/explain/calls")) {
        let code = without_unit_tests(source);
        // Imported by name, it would not show its path where it is called.
        let imported =
            ["use nix::mount::{mount", "use nix::mount::mount", "use nix::sched::{setns", "use nix::sched::unshare"];
        for call in TOLD.iter().chain(&imported).filter(|call| code.contains(**call)) {
            if source.name != "runtime/kernel.rs" || call.starts_with("kernel::") {
                wrong.push(format!("{}: {call} tells nobody; explain::calls does", source.name));
            }
        }
    }
    none(wrong);
}

#[test]
fn a_file_fits_in_a_sitting_and_a_function_on_a_screen() {
    let mut wrong = Vec::new();
    for source in sources("runtime") {
        let lines = source.text.lines().count();
        if lines > LONGEST_FILE && !LONG_FILES.iter().any(|(name, _)| *name == source.name) {
            wrong.push(format!("{} has {lines} lines, more than {LONGEST_FILE}", source.name));
        }
        for (name, lines) in functions(&source.code) {
            let full = format!("{}::{name}", source.name);
            if lines > LONGEST_FUNCTION && !LONG_FUNCTIONS.iter().any(|(name, _)| *name == full) {
                wrong.push(format!("{full} has {lines} lines, more than {LONGEST_FUNCTION}"));
            }
        }
    }
    none(wrong);
}

/// The compiler says nothing of a file that no module names: it is read by people, and by nothing else.
#[test]
fn every_source_file_is_compiled() {
    let mut wrong = Vec::new();
    for source in sources("runtime") {
        let path = Path::new(&source.name);
        let (name, dir) = (path.file_stem().unwrap_or_default(), path.parent().expect("a directory"));
        let name = name.to_string_lossy();
        let (name, dir) = match name.as_ref() {
            "lib" | "main" => continue,
            "mod" => (dir.file_name().unwrap_or_default().to_string_lossy(), dir.parent().expect("a directory")),
            _ => (name, dir),
        };
        let parents = [dir.join("mod.rs"), dir.with_extension("rs"), dir.join("lib.rs")];
        let named = |parent: &PathBuf| {
            let text = std::fs::read_to_string(root().join(parent)).unwrap_or_default();
            text.lines().any(|line| line.trim().trim_start_matches("pub ").ends_with(&format!("mod {name};")))
        };
        if !parents.iter().any(named) {
            wrong.push(format!("{}: no module names it", source.name));
        }
    }
    none(wrong);
}

#[test]
fn an_exception_names_something_that_still_needs_it() {
    let mut wrong = Vec::new();
    let all = sources("runtime");
    for (name, why) in LONG_FILES {
        let lines = all.iter().find(|source| source.name == *name).map_or(0, |source| source.text.lines().count());
        if lines <= LONGEST_FILE || why.is_empty() {
            wrong.push(format!("{name} has {lines} lines"));
        }
    }
    for (name, why) in LONG_FUNCTIONS {
        let lines = all.iter().flat_map(|source| {
            functions(&source.code)
                .into_iter()
                .map(move |(function, lines)| (format!("{}::{function}", source.name), lines))
        });
        if !lines.into_iter().any(|(full, lines)| full == *name && lines > LONGEST_FUNCTION) || why.is_empty() {
            wrong.push(format!("{name} is not long"));
        }
    }
    none(wrong);
}

#[test]
fn names_are_terms_of_the_field() {
    let mut wrong = Vec::new();
    for path in files(&root().join("runtime")) {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if ["helper", "helpers", "util", "utils", "manager", "common", "misc"].contains(&stem.as_str()) {
            wrong.push(format!("{} says nothing of what is in it", path.display()));
        }
    }
    none(wrong);
}

#[test]
fn no_stub_is_left() {
    let mut wrong = Vec::new();
    for source in sources("runtime") {
        for (index, line) in source.text.lines().enumerate() {
            if line.contains("TO BE WRITTEN") || line.contains("being written\"") || line.contains("TODO") {
                wrong.push(format!("{}:{}: {}", source.name, index + 1, line.trim()));
            }
        }
    }
    none(wrong);
}

#[test]
fn every_dependency_has_its_reason() {
    let page = read(&root().join("ARCHITECTURE.md"));
    let rows: String = page.lines().filter(|line| line.starts_with('|')).map(|line| format!(" {line}")).collect();
    let known: BTreeSet<_> = words(&rows).collect();
    let manifest = read(&root().join("Cargo.toml"));
    let mut inside = false;
    let mut wrong = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if let Some((name, _)) = line.split_once('=').filter(|_| inside)
            && !known.contains(name.trim())
        {
            wrong.push(format!("{} has no line in ARCHITECTURE.md", name.trim()));
        }
    }
    none(wrong);
}

#[test]
fn the_architecture_names_files_that_exist() {
    let page = read(&root().join("ARCHITECTURE.md"));
    let mut wrong = Vec::new();
    for name in page.split('`').skip(1).step_by(2) {
        let path = name.trim_start_matches("runtime/");
        let top = path.split('/').next().unwrap_or("");
        let ours = ["cli", "engine", "oci", "store", "lessons"].contains(&top) && path.contains('/');
        let is_path = path.ends_with(".rs") || path.ends_with('/');
        if ours && is_path && !path.contains(char::is_whitespace) && !root().join("runtime").join(path).exists() {
            wrong.push(format!("ARCHITECTURE.md names {name}, which is not there"));
        }
    }
    none(wrong);
}

#[test]
fn the_top_level_holds_what_the_card_names() {
    let entries = std::fs::read_dir(root()).expect("the repository");
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let unknown = names.filter(|name| !name.starts_with('.') && !TOP_LEVEL.contains(&name.as_str()));
    none(unknown.map(|name| format!("{name} has no place at the top")).collect());
}

#[test]
fn every_file_of_a_recipe_is_in_the_binary() {
    let table = read(&root().join("runtime/engine/image/recipe/mod.rs"));
    let images = root().join("images");
    let mut wrong = Vec::new();
    for path in files(&images) {
        let path = path.strip_prefix(&images).expect("below images").to_string_lossy().into_owned();
        let (name, file) = path.split_once('/').unwrap_or(("", &path));
        let listed = table.contains(&format!("\"{name}\"")) && table.contains(&format!("\"{file}\""));
        if !name.is_empty() && !listed {
            wrong.push(format!("images/{path} is in no row of RECIPES"));
        }
    }
    none(wrong);
}

#[test]
fn nothing_sleeps_and_no_test_looks_away() {
    let mut wrong = Vec::new();
    for source in sources("tests").into_iter().chain(sources("runtime")) {
        for (index, line) in source.code.lines().enumerate() {
            if line.contains("thread::sleep") && !SLEEPERS.iter().any(|(name, _)| *name == source.name) {
                wrong.push(format!("{}:{}: a sleep, where a handshake belongs", source.name, index + 1));
            }
            if line.contains("#[ignore") {
                wrong.push(format!("{}:{}: an ignored test promises nothing", source.name, index + 1));
            }
        }
    }
    none(wrong);
}

#[test]
fn the_reader_of_sources_reads_rust() {
    let code = code_of("let a = \"x // y\"; // note\nlet c = '\"'; let s = r#\"q\"q\"#; fn f<'a>() { '{'; b'\\''; }\n");
    assert_eq!(code, "let a = ; \nlet c = ; let s = ; fn f<'a>() { ; b; }\n");
    assert_eq!(functions("fn a() {\n}\nfn b();\npub fn c(\n) {\n  {}\n}\n"), [("a".into(), 2), ("c".into(), 4)]);
    let named = modules_named("use crate::{cli::{output, x}, store}; crate::kernel::fork()");
    assert_eq!(named.into_iter().collect::<Vec<_>>(), ["cli", "kernel", "store"]);
}

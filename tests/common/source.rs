//! Reads the project's own sources, as far as the rules for them need it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A source file.
pub struct Source {
    /// From the root of the repository: `runtime/kernel.rs`.
    pub name: String,
    pub text: String,
    /// The text without its comments, and with its strings empty; line for line.
    pub code: String,
}

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub fn sources(dir: &str) -> Vec<Source> {
    let paths = files(&root().join(dir)).into_iter().filter(|path| path.extension().is_some_and(|ext| ext == "rs"));
    paths
        .map(|path| {
            let name = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
            let text = read(&path);
            Source { name, code: code_of(&text), text }
        })
        .collect()
}

pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-').filter(|word| !word.is_empty())
}

/// The first names after `crate::`, those in braces too.
pub fn modules_named(code: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let Some(group) = rest.strip_prefix('{') else {
            named.extend(words(rest).next().map(str::to_owned));
            continue;
        };
        let mut depth = 1;
        let mut start = true;
        let mut word = String::new();
        for c in group.chars() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => start = true,
                c if start && depth == 1 && (c.is_alphanumeric() || c == '_') => word.push(c),
                _ if !word.is_empty() => {
                    named.insert(std::mem::take(&mut word));
                    start = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        named.insert(word);
    }
    named
}

/// Everything before `#[cfg(test)] mod NAME {`, which stands at the end of a file; nothing of a file that its parent
/// declares by `#[cfg(test)] mod NAME;`.
pub fn without_unit_tests(source: &Source) -> &str {
    let path = root().join(&source.name);
    let (dir, stem) = (path.parent().unwrap_or(Path::new("")), path.file_stem().unwrap_or_default().to_string_lossy());
    let parents = [dir.join("mod.rs"), dir.with_extension("rs")];
    let declared = format!("#[cfg(test)]\nmod {stem};");
    if parents.iter().any(|parent| std::fs::read_to_string(parent).is_ok_and(|text| text.contains(&declared))) {
        return "";
    }
    let tests = source.code.match_indices("#[cfg(test)]\nmod ").find(|(at, _)| {
        let declaration = source.code[*at..].lines().nth(1).unwrap_or("");
        declaration.ends_with('{')
    });
    tests.map_or(&source.code, |(at, _)| &source.code[..at])
}

/// Every function with a body, and the lines from its name to its closing brace.
pub fn functions(code: &str) -> Vec<(String, usize)> {
    let lines: Vec<_> = code.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(at) = line.find("fn ").filter(|at| *at == 0 || line[..*at].ends_with([' ', '(', ')'])) else {
            continue;
        };
        let name: String = line[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if name.is_empty() {
            continue;
        }
        let mut depth = 0;
        'body: for (length, line) in lines[index..].iter().enumerate() {
            for c in line.chars() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ';' if depth == 0 => break 'body,
                    _ => {}
                }
                if c == '}' && depth == 0 {
                    found.push((name, length + 1));
                    break 'body;
                }
            }
        }
    }
    found
}

/// Takes comments and the content of strings and characters away, and leaves every line where it was.
pub fn code_of(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let length = match rest {
            [b'/', b'/', ..] => rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
            [b'/', b'*', ..] => text[at..].find("*/").map_or(rest.len(), |end| end + 2),
            [b'r', b'"' | b'#', ..] if !code.last().is_some_and(|byte: &u8| byte.is_ascii_alphanumeric()) => {
                raw_string(rest)
            }
            [b'"', ..] => quoted(rest, b'"'),
            [b'\'', b'\\', ..] => quoted(rest, b'\''),
            // A character, and not a lifetime: the quote comes again after one character of any width.
            [b'\'', ..] => {
                let width = text[at + 1..].chars().next().map_or(1, char::len_utf8);
                if rest.get(1 + width) == Some(&b'\'') { width + 2 } else { 0 }
            }
            _ => 0,
        };
        if length == 0 {
            code.push(bytes[at]);
            at += 1;
        } else {
            code.extend(rest[..length].iter().filter(|byte| **byte == b'\n'));
            at += length;
        }
    }
    String::from_utf8_lossy(&code).into_owned()
}

fn quoted(text: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < text.len() && text[at] != quote {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(text.len())
}

/// 0 where this is no raw string but a raw name (`r#type`).
fn raw_string(text: &[u8]) -> usize {
    let hashes = text[1..].iter().take_while(|byte| **byte == b'#').count();
    if text.get(1 + hashes) != Some(&b'"') {
        return 0;
    }
    let end = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    let body = 2 + hashes;
    text[body..]
        .windows(end.len())
        .position(|window| window == end)
        .map_or(text.len(), |found| body + found + end.len())
}

//! Every rule that `surface.md` lists of volumes and mounts, and every wall of SECURITY.md, is held by a test that there is.

use std::path::{Path, PathBuf};

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn rows(table: &str) -> Vec<&str> {
    table.lines().filter(|line| line.starts_with("| ") && line.contains("::")).collect()
}

/// A row's names are in backticks, as `FILE::TEST`.
fn every_name_is_a_test(row: &str) {
    for name in row.split('`').skip(1).step_by(2).filter(|name| name.contains("::")) {
        let (file, test) = name.split_once("::").unwrap_or_default();
        let source = std::fs::read_to_string(tests().join(format!("{file}.rs"))).unwrap_or_default();
        assert!(source.contains(&format!("#[test]\nfn {test}()")), "there is no test {name}: {row}");
    }
}

#[test]
fn every_test_that_the_table_names_exists() {
    let table = std::fs::read_to_string(tests().join("surface.md")).expect("the table");
    let all: Vec<&str> = table.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(all.len() > 80, "the table has only {} rows", all.len());
    for row in all {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert!(!cells[2].is_empty() || !cells[3].is_empty(), "nothing holds: {row}");
        for name in cells[2].split(';').map(|name| name.trim().trim_matches('`')).filter(|name| !name.is_empty()) {
            assert!(name.contains("::"), "{name:?} is no FILE::TEST: {row}");
        }
        every_name_is_a_test(row);
    }
}

#[test]
fn every_wall_of_the_security_page_names_tests_that_exist() {
    let page = std::fs::read_to_string(tests().join("../SECURITY.md")).expect("the page");
    let walls = rows(&page);
    assert!(walls.len() > 30, "the page has only {} walls", walls.len());
    walls.into_iter().for_each(every_name_is_a_test);
}

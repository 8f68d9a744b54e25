//! Every rule of volumes and mounts that `surface.md` lists is held by a test that there is.

use std::path::Path;

#[test]
fn every_test_that_the_table_names_exists() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let table = std::fs::read_to_string(tests.join("surface.md")).expect("the table");
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() > 80, "the table has only {} rows", rows.len());
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert!(!cells[2].is_empty() || !cells[3].is_empty(), "nothing holds: {row}");
        for name in cells[2].split(';').map(|name| name.trim().trim_matches('`')).filter(|name| !name.is_empty()) {
            let (file, test) = name.split_once("::").unwrap_or_else(|| panic!("{name:?} is no FILE::TEST: {row}"));
            let source = std::fs::read_to_string(tests.join(format!("{file}.rs"))).unwrap_or_default();
            assert!(source.contains(&format!("#[test]\nfn {test}()")), "there is no test {name}: {row}");
        }
    }
}

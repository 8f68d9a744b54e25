//! Reads of an ELF file what it needs to run: its loader and its shared libraries (elf(5)). The loader itself is never
//! asked, as `ldd` would: it runs what it is asked about.

/// What one program or library asks for.
#[derive(Debug, Default, PartialEq)]
pub struct Needs {
    /// PT_INTERP: the loader's path.
    pub loader: Option<String>,
    /// DT_NEEDED: names of libraries.
    pub libraries: Vec<String>,
    /// DT_RUNPATH or DT_RPATH: where it wants them looked for first. `$ORIGIN` is its own directory.
    pub search: Vec<String>,
}

const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
const PT_INTERP: u64 = 3;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;

/// `None` where `file` is no 64-bit ELF file of this machine's byte order, or is cut short.
pub fn needs(file: &[u8]) -> Option<Needs> {
    let segments = segments(file)?;
    let of_kind = |kind| segments.iter().filter(move |segment| segment.kind == kind);
    let mut needs = Needs::default();
    if let Some(loader) = of_kind(PT_INTERP).next() {
        needs.loader = Some(text(file, loader.offset)?);
    }
    let Some(dynamic) = of_kind(PT_DYNAMIC).next() else { return Some(needs) };
    let count = dynamic.size / 16;
    let entries = (0..count).map_while(|index| {
        let at = dynamic.offset.checked_add(index.checked_mul(16)?)?;
        Some((word(file, at, 8)?, word(file, at + 8, 8)?))
    });
    let entries: Vec<_> = entries.take_while(|(tag, _)| *tag != 0).collect();
    let Some((_, strings)) = entries.iter().find(|(tag, _)| *tag == DT_STRTAB) else { return Some(needs) };
    // The table's place is given as an address in memory; the segments say where in the file that is.
    let home =
        of_kind(PT_LOAD).find(|load| (load.address..load.address.saturating_add(load.size)).contains(strings))?;
    let strings = strings - home.address + home.offset;
    for (tag, value) in &entries {
        match *tag {
            DT_NEEDED => needs.libraries.push(text(file, strings.checked_add(*value)?)?),
            DT_RUNPATH | DT_RPATH => {
                needs.search.extend(text(file, strings.checked_add(*value)?)?.split(':').map(str::to_owned));
            }
            _ => {}
        }
    }
    Some(needs)
}

/// The machine that a file is for (`e_machine`), to tell an i386 library from an amd64 one of the same name.
pub fn machine(file: &[u8]) -> Option<u64> {
    is_elf64(file).then(|| word(file, 18, 2)).flatten()
}

fn is_elf64(file: &[u8]) -> bool {
    let ours = if cfg!(target_endian = "little") { 1 } else { 2 };
    file.starts_with(b"\x7fELF\x02") && file.get(5) == Some(&ours)
}

struct Segment {
    kind: u64,
    offset: u64,
    address: u64,
    /// Bytes in the file.
    size: u64,
}

fn segments(file: &[u8]) -> Option<Vec<Segment>> {
    if !is_elf64(file) {
        return None;
    }
    let (table, size, count) = (word(file, 32, 8)?, word(file, 54, 2)?, word(file, 56, 2)?);
    let segment = |index: u64| {
        let at = table.checked_add(index.checked_mul(size)?)?;
        let field = |offset| word(file, at.checked_add(offset)?, 8);
        Some(Segment { kind: word(file, at, 4)?, offset: field(8)?, address: field(16)?, size: field(32)? })
    };
    (0..count).map(segment).collect()
}

/// An unsigned number of `size` bytes at `offset`.
fn word(file: &[u8], offset: u64, size: usize) -> Option<u64> {
    let start = usize::try_from(offset).ok()?;
    let bytes = file.get(start..start.checked_add(size)?)?;
    let mut wide = [0; 8];
    let place = if cfg!(target_endian = "little") { 0 } else { 8 - size };
    wide.get_mut(place..place + size)?.copy_from_slice(bytes);
    Some(u64::from_ne_bytes(wide))
}

fn text(file: &[u8], offset: u64) -> Option<String> {
    let rest = file.get(usize::try_from(offset).ok()?..)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    String::from_utf8(rest[..end].to_owned()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell() -> Vec<u8> {
        std::fs::read("/bin/sh").expect("every Linux has a shell")
    }

    #[test]
    fn the_hosts_shell_is_read_without_running_it() {
        let needs = needs(&shell()).expect("an ELF file");
        assert!(needs.loader.is_none_or(|loader| std::path::Path::new(&loader).exists()));
        assert!(needs.libraries.iter().all(|library| !library.is_empty()));
    }

    #[test]
    fn a_file_cut_short_anywhere_is_no_crash() {
        let shell = shell();
        for length in (0..shell.len()).step_by(997) {
            let _ = needs(&shell[..length]);
        }
        assert_eq!(needs(b"#!/bin/sh\n"), None);
    }

    #[test]
    fn numbers_out_of_range_are_no_crash() {
        let mut shell = shell();
        shell.truncate(8192);
        for offset in 32..1024.min(shell.len()) {
            let mut wrong = shell.clone();
            wrong[offset] = 0xff;
            let _ = needs(&wrong);
        }
    }
}

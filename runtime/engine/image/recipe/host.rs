//! The host's own programs, with the closure of the shared libraries that they need.

use super::elf::{self, Needs};
use crate::error::{Doing, Result};
use crate::programs;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Copies what the host has of each directory's programs into `root/DIR`, and what they need to where their loader looks
/// for it. A program that the host does not have is left out.
pub fn copy_programs(root: &Path, wanted: &[(String, Vec<String>)]) -> Result<()> {
    let mut copied = Copied { root, made: BTreeMap::new(), libraries: BTreeSet::new() };
    for (dir, name) in wanted.iter().flat_map(|(dir, names)| names.iter().map(move |name| (dir, name))) {
        let Some(found) = find(name) else { continue };
        let place = root.join(dir).join(name);
        if std::fs::symlink_metadata(&place).is_ok() {
            continue;
        }
        let bytes = copied.file(&found, &place)?;
        if let Some(needs) = elf::needs(&bytes) {
            copied.closure(&found, &needs, elf::machine(&bytes))?;
        }
        if name == "busybox" {
            link_applets(&bytes, &place)?;
        }
    }
    Ok(())
}

/// The program's real file. It need not be executable by us: a busybox of mode 0744 can still be copied.
fn find(name: &str) -> Option<PathBuf> {
    programs::directories()
        .into_iter()
        .map(|dir| dir.join(name))
        .find(|path| path.is_absolute() && path.is_file() && std::fs::File::open(path).is_ok())
        .and_then(|path| path.canonicalize().ok())
}

struct Copied<'a> {
    root: &'a Path,
    /// Each file of the host is copied once; a program of many names becomes hard links.
    made: BTreeMap<PathBuf, PathBuf>,
    libraries: BTreeSet<String>,
}

impl Copied<'_> {
    fn file(&mut self, from: &Path, to: &Path) -> Result<Vec<u8>> {
        let bytes = std::fs::read(from).doing(|| format!("read {}", from.display()))?;
        let copied = || -> std::io::Result<()> {
            if let Some(parent) = to.parent() {
                std::fs::create_dir_all(parent)?;
            }
            if let Some(first) = self.made.get(from) {
                return std::fs::hard_link(first, to);
            }
            // What the recipe itself has put there stays: two builds of one library's files do not go together.
            std::fs::File::create_new(to)?.write_all(&bytes)?;
            std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o755))?;
            // Its own time, so that the same programs make the same image.
            std::fs::File::options().write(true).open(to)?.set_modified(std::fs::metadata(from)?.modified()?)
        };
        match copied() {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(error).doing(|| format!("copy {} to {}", from.display(), to.display()));
            }
            _ => {}
        }
        self.made.entry(from.to_owned()).or_insert_with(|| to.to_owned());
        Ok(bytes)
    }

    /// The loader at the path that the program names, and every library where that loader looks without being told: in
    /// its own real directory. Libraries that a RUNPATH led to stay at their own path.
    fn closure(&mut self, program: &Path, needs: &Needs, machine: Option<u64>) -> Result<()> {
        let Some(loader) = &needs.loader else { return Ok(()) };
        let Ok(real) = Path::new(loader).canonicalize() else { return Ok(()) };
        self.file(&real, &self.inside(&real))?;
        self.file(&real, &self.inside(Path::new(loader)))?;
        let home = real.parent().unwrap_or(Path::new("/lib")).to_owned();
        let mut wanted: Vec<(PathBuf, String)> =
            needs.libraries.iter().map(|name| (program.to_owned(), name.clone())).collect();
        let mut search = BTreeMap::from([(program.to_owned(), needs.search.clone())]);
        // glibc opens this one by itself, to look up users; since 2.34 it is a part of libc.
        wanted.push((program.to_owned(), "libnss_files.so.2".to_owned()));
        while let Some((asker, name)) = wanted.pop() {
            if !self.libraries.insert(name.clone()) {
                continue;
            }
            let runpath = runpath(&asker, search.get(&asker).map_or(&[][..], Vec::as_slice));
            let at = |dir: &PathBuf| Some(dir.join(&name)).filter(|path| is_for(path, machine));
            let (found, place) = match runpath.iter().find_map(at) {
                Some(found) => (found.clone(), self.inside(&found)),
                None => match library_dirs(&home).iter().find_map(at) {
                    Some(found) => (found, self.inside(&home).join(&name)),
                    None => continue,
                },
            };
            let real = found.canonicalize().doing(|| format!("find {}", found.display()))?;
            let bytes = self.file(&real, &place)?;
            let needs = elf::needs(&bytes).unwrap_or_default();
            wanted.extend(needs.libraries.into_iter().map(|name| (real.clone(), name)));
            search.insert(real, needs.search);
        }
        Ok(())
    }

    fn inside(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }
}

fn runpath(asker: &Path, search: &[String]) -> Vec<PathBuf> {
    let origin = asker.parent().unwrap_or(Path::new("/")).to_string_lossy();
    let dirs = search.iter().map(|dir| dir.replace("$ORIGIN", &origin).replace("${ORIGIN}", &origin));
    dirs.map(PathBuf::from).filter(|dir| dir.is_absolute()).collect()
}

fn is_for(library: &Path, machine: Option<u64>) -> bool {
    use std::io::Read;
    let mut head = Vec::new();
    let read = std::fs::File::open(library).and_then(|file| file.take(64).read_to_end(&mut head));
    read.is_ok() && elf::machine(&head) == machine
}

/// Where the loader looks: its own directory, the usual ones, and what /etc/ld.so.conf adds (musl: /etc/ld-musl-*.path).
fn library_dirs(home: &Path) -> Vec<PathBuf> {
    let mut dirs = vec![home.to_owned()];
    dirs.extend(["/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib"].map(PathBuf::from));
    let in_dir = |dir: &str| std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut lists = vec![PathBuf::from("/etc/ld.so.conf")];
    lists.extend(in_dir("/etc/ld.so.conf.d"));
    lists.extend(in_dir("/etc").filter(|path| path.to_string_lossy().starts_with("/etc/ld-musl-")));
    lists.sort();
    for list in lists {
        let text = std::fs::read_to_string(list).unwrap_or_default();
        dirs.extend(text.split(['\n', ':']).map(str::trim).filter(|dir| dir.starts_with('/')).map(PathBuf::from));
    }
    dirs
}

/// busybox finds its commands' names in a table in itself: sorted, each ended by a NUL, the list by an empty one.
/// Reading it there spares running the program, which this user may not be allowed to.
fn link_applets(busybox: &[u8], place: &Path) -> Result<()> {
    const FIRST: &[u8] = b"\0[\0[[\0";
    let table = busybox.windows(FIRST.len()).position(|window| window == FIRST).map(|at| &busybox[at + 1..]);
    let names = table.unwrap_or(b"sh\0ls\0cat\0\0").split(|byte| *byte == 0).take_while(|name| !name.is_empty());
    for name in names.filter_map(|name| std::str::from_utf8(name).ok()).filter(|name| !name.contains('/')) {
        let link = place.with_file_name(name);
        match symlink("busybox", &link) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(error).doing(|| format!("make {}", link.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

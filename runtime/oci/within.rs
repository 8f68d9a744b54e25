//! Work on a container's files from outside: in a forked child that sees them with the container's ids, and that runs
//! none of the container's programs.

use super::mounts::{self, Sources, Which};
use super::wire::{self, Message};
use super::{IdMap, View, first_process, ids, mapped, namespaces, rootfs};
use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use crate::kernel::{self, Cloned};
use crate::store::beneath;
use nix::sys::wait::waitpid;
use oci_spec::runtime::{LinuxNamespaceType as Type, MountBuilder, Spec};
use serde::{Serialize, de::DeserializeOwned};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

pub fn within<T: Serialize + DeserializeOwned>(view: View, work: impl FnOnce(BorrowedFd) -> Result<T>) -> Result<T> {
    match view {
        View::Running(mounts) => in_child(FILES, 0, None, |_| {
            if namespaces::join_mounts(&mounts)? {
                ids::become_root()?;
            }
            work(beneath::root(Path::new("/"))?.as_fd())
        }),
        View::Layers { layers, ids } => {
            let flags = libc::CLONE_NEWNS | if ids.is_some() { libc::CLONE_NEWUSER } else { 0 };
            in_child(FILES, flags as u64, ids.map(|map| Outside { map, mounts: None }), |_| {
                if ids.is_some() {
                    ids::become_root()?;
                }
                work(view_of_layers(layers)?.as_fd())
            })
        }
        View::Bundle(bundle, given) => {
            let spec = super::read_bundle(bundle)?;
            let place = rootfs::path(bundle, &spec)?;
            let map = ids::of(&spec).filter(|_| namespaces::read(&spec).is_ok_and(|read| read.is_new(Type::User)));
            let flags = libc::CLONE_NEWNS | if map.is_some() { libc::CLONE_NEWUSER } else { 0 };
            let mapped = |pid| mapped::mounts(&spec, pid, given);
            let answer = map.as_ref().map(|map| Outside { map, mounts: Some(&mapped) });
            in_child(FILES, flags as u64, answer, |mapped| {
                let place = rootfs::open_place(&place)?;
                if map.is_some() {
                    ids::become_root()?;
                }
                let mut sources = Sources::new(&spec, mapped, "", given)?;
                rootfs::isolate_mounts(&spec)?;
                let root = rootfs::mount_root(&spec, &place, &mut sources)?;
                mounts::make(&spec, &root, &mut sources, Which::Binds)?;
                work(root.as_fd())
            })
        }
    }
}

/// A read-only view of layers. One needs no mount; of several an overlay is made, which only this process sees.
fn view_of_layers(layers: &[PathBuf]) -> Result<OwnedFd> {
    let escape = |path: &PathBuf| path.to_string_lossy().replace('\\', "\\\\").replace(':', "\\:");
    match layers {
        [] => Err(Error::new("the image has no layers")),
        [layer] => beneath::root(layer),
        layers => {
            let lower: Vec<String> = layers.iter().rev().map(escape).collect();
            // One of them may be the writable layer of a container that runs: overlayfs lets us only without its index.
            let options = ["ro", "userxattr", "index=off"].map(str::to_owned).into_iter();
            let options: Vec<String> = options.chain([format!("lowerdir={}", lower.join(":"))]).collect();
            let overlay = MountBuilder::default().destination("/").typ("overlay").options(options).build();
            let overlay = overlay.doing(|| "describe the image's layers")?;
            rootfs::isolate_mounts(&Spec::default())?;
            // What is attached here covers the host's root for nobody: our own root stays the directory that it is.
            let place = rootfs::open_place(Path::new("/"))?;
            rootfs::overlay(&overlay, &place, &mut Sources::default()).doing(|| "mount the image's layers")
        }
    }
}

pub fn with_ids<T: Serialize + DeserializeOwned>(map: Option<&IdMap>, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let Some(map) = map else { return work() };
    in_child(FILES, libc::CLONE_NEWUSER as u64, Some(Outside { map, mounts: None }), |_| {
        ids::become_root()?;
        work()
    })
}

/// Whose mounts [`elsewhere`] works among.
pub enum Place<'a> {
    /// Nobody else's: a new mount namespace, and with ids a new user namespace that owns it.
    New(Option<&'a IdMap>),
    /// Those of a mount namespace that is there, seen from the user namespace that owns it.
    Of(&'a OwnedFd),
}

/// Runs `work` in a forked child in another mount namespace, and brings back the descriptors that it made there.
pub fn elsewhere(place: Place, work: impl FnOnce() -> Result<(bool, Vec<OwnedFd>)>) -> Result<(bool, Vec<OwnedFd>)> {
    let (ours, theirs) = wire::pair()?;
    let give = |made: Result<(bool, Vec<OwnedFd>)>| {
        let (answer, made) = made?;
        wire::send(theirs, &Message::Mapped(made))?;
        Ok(answer)
    };
    let answer = match place {
        Place::New(ids) => {
            let flags = libc::CLONE_NEWNS | if ids.is_some() { libc::CLONE_NEWUSER } else { 0 };
            let words = "a child with mounts of its own: what it mounts, nobody else sees";
            in_child(words, flags as u64, ids.map(|map| Outside { map, mounts: None }), |_| {
                if ids.is_some() {
                    ids::become_root()?;
                }
                rootfs::isolate_mounts(&Spec::default())?;
                give(work())
            })
        }
        Place::Of(namespace) => {
            in_child("a child that goes to where the mount is, and brings a copy of it", 0, None, |_| {
                namespaces::join_mounts(namespace)?;
                give(work())
            })
        }
    }?;
    match wire::receive(&ours)? {
        Message::Mapped(made) => Ok((answer, made)),
        _ => Err(Error::new("the child process that made the mounts died")),
    }
}

/// What the child of a new user namespace needs done from outside.
struct Outside<'a> {
    map: &'a IdMap,
    mounts: Option<&'a dyn Fn(nix::unistd::Pid) -> Result<Vec<OwnedFd>>>,
}

/// What most children are for.
const FILES: &str = "a child that will see the files as the container sees them, and runs none of its programs";

/// Runs `work` in a clone with `flags`, announced by `words`, and brings back what it returned, as JSON over a pipe.
fn in_child<T: Serialize + DeserializeOwned>(
    words: &str,
    flags: u64,
    outside: Option<Outside>,
    work: impl FnOnce(Vec<OwnedFd>) -> Result<T>,
) -> Result<T> {
    let (ours, theirs) = wire::pair()?;
    let (result, answer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).doing(|| "make a pipe")?;
    explain::step(words, format_args!("unshare --fork {} …", namespaces::as_unshare_options(flags)));
    match calls::clone3(flags, None).doing(|| "clone").map_err(super::confined::explain_clone)? {
        Cloned::Child => {
            explain::process("files");
            drop((ours, result));
            let mapped = match &outside {
                Some(_) => first_process::ask_for_maps(&theirs),
                None => Ok(Vec::new()),
            };
            // Closed before the work begins: a parent that waits for more hears at once that there is none.
            drop(theirs);
            // After our maps, which nobody could write any more; before we come to where the container's processes are, or
            // have their ids: they could see our descriptors, were we not hidden from them.
            explain::step("no process of the container may look into this one", "");
            let hidden = calls::prctl(libc::PR_SET_DUMPABLE, 0).doing(|| "hide from the container");
            let done = mapped.and_then(|mapped| hidden.and_then(|_| work(mapped)));
            let text = serde_json::to_vec(&done).unwrap_or_default();
            let _ = File::from(answer).write_all(&text);
            kernel::exit_now(0)
        }
        Cloned::Parent { pid, .. } => {
            drop((theirs, answer));
            let helped = outside.map_or(Ok(()), |outside| help(pid, &outside, &ours));
            drop(ours);
            let mut text = Vec::new();
            let read = File::from(result).read_to_end(&mut text).doing(|| "hear from the child");
            let _ = waitpid(pid, None);
            helped?;
            read?;
            if text.is_empty() {
                return Err(Error::new("the child process that worked on the container's files died"));
            }
            serde_json::from_slice::<Result<T>>(&text).doing(|| "read the child's answer")?
        }
    }
}

fn help(pid: nix::unistd::Pid, outside: &Outside, socket: &OwnedFd) -> Result<()> {
    if !matches!(wire::receive(socket)?, Message::Cloned) {
        return Ok(());
    }
    ids::write(pid, outside.map)?;
    let mounts = outside.mounts.map_or(Ok(Vec::new()), |make| make(pid))?;
    wire::send(socket, &Message::Mapped(mounts))
}

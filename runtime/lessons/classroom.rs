//! A lesson's own place: a store, a home directory and a `bin/ebb`, all inside one directory that goes when it ends.

use super::parse::{File, Lesson};
use super::{screen, shell};
use crate::error::{Doing, Error, Result};
use crate::store::{Store, TmpDir};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

pub struct Room {
    dir: PathBuf,
}

impl Room {
    pub fn store(&self) -> PathBuf {
        self.dir.join("store")
    }

    pub fn home(&self) -> PathBuf {
        self.dir.join("home")
    }

    /// The learner's own PATH, with `ebb` in front: the one that plays this lesson.
    pub fn path(&self) -> OsString {
        let mut path = self.dir.join("bin").into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into()));
        path
    }
}

/// Sets up a room in the `tmp/` of the learner's own store, with the images that the lesson needs: those are made there
/// once, by `ebb pull`, and handed over by `ebb image save | ebb image load`.
pub fn open(store: &Store, lesson: &Lesson) -> Result<(Room, TmpDir)> {
    let tmp = store.make_tmp("lesson")?;
    let room = Room { dir: tmp.path.clone() };
    let this = std::env::current_exe().doing(|| "find Ebb's own binary")?;
    for dir in ["store", "home", "bin"] {
        std::fs::create_dir(room.dir.join(dir)).doing(|| format!("make the lesson's {dir}/"))?;
    }
    std::os::unix::fs::symlink(&this, room.dir.join("bin/ebb")).doing(|| "link the lesson's bin/ebb")?;
    let ebb = |root: &std::path::Path| {
        let mut command = Command::new(&this);
        command.env("EBB_ROOT", root);
        command
    };
    for image in &lesson.images {
        let mut look = ebb(store.root());
        look.args(["image", "inspect", image]).stdout(Stdio::null()).stderr(Stdio::null());
        if !look.status().doing(|| "look for the lesson's images")?.success() {
            // `pull` tells on stderr what it does; on stdout it has only the name to say.
            let mut pull = ebb(store.root());
            pull.args(["pull", image]).stdout(Stdio::null());
            if !pull.status().doing(|| "make the lesson's images")?.success() {
                return Err(Error::new(format!("cannot make the image {image} that this lesson needs"))
                    .with_cure(format!("`ebb pull {image}` says why")));
            }
        }
        screen::note(&format!("giving the lesson its own copy of {image}"));
        let mut save = ebb(store.root())
            .args(["image", "save", image])
            .stdout(Stdio::piped())
            .spawn()
            .doing(|| "save the lesson's image")?;
        let archive = save.stdout.take().map_or_else(Stdio::null, Stdio::from);
        let loaded = ebb(&room.store()).args(["image", "load", "-q"]).stdin(archive).stdout(Stdio::null()).status();
        let saved = save.wait().doing(|| "save the lesson's image")?;
        if !saved.success() || !loaded.doing(|| "load the lesson's image")?.success() {
            return Err(Error::new(format!("could not hand the image {image} to the lesson")));
        }
    }
    Ok((room, tmp))
}

/// Puts a file of the lesson into the learner's directory.
pub fn hand_out(room: &Room, file: &File) -> Result<()> {
    std::fs::write(room.home().join(&file.name), &file.text).doing(|| format!("hand out {}", file.name))
}

/// Back to the lesson's beginning: every container, volume and file of the learner's goes, the images stay.
pub fn reset(room: &Room) -> Result<()> {
    sweep(
        room,
        "ids=$(ebb ps -aq --no-trunc); [ -z \"$ids\" ] || ebb rm -f -v $ids; ebb volume prune -af; \
         ebb volume trash empty -f",
    )?;
    // What a container wrote into a directory of the host may belong to a subordinate id, which only a container's root
    // can remove where we are not root.
    sweep(
        room,
        "rm -rf ./* ./.[!.]* ./..?* 2> /dev/null || for image in $(ebb images -q --no-trunc); do \
         ebb run --rm -v \"$PWD:/room\" $image sh -c 'rm -rf /room/* /room/.[!.]* /room/..?*' && break; done",
    )
}

/// Removes all that the lesson made. Through Ebb's own commands first: without root, files may carry subordinate ids.
pub fn close(room: &Room) -> Result<()> {
    reset(room)?;
    sweep(room, "ids=$(ebb images -aq --no-trunc); [ -z \"$ids\" ] || ebb rmi -f $ids")
}

/// A terminal that is closed tells every process on it; these have to come to their end all the same.
fn sweep(room: &Room, line: &str) -> Result<()> {
    shell::run(room, &format!("trap '' HUP INT TERM; {line}")).map(drop)
}

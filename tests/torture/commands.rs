//! The commands that are struck, the state that each begins with, and what must hold after it.

use crate::common::{self, Ebb};
use crate::prepared;

/// A command under torture.
pub struct Command {
    pub name: &'static str,
    pub words: &'static [&'static str],
    /// Why it cannot be tried here.
    pub lacks: fn() -> Option<&'static str>,
    /// Makes once what all its points need.
    pub once: fn(&Ebb),
    /// Commands that make what it needs; run again before each point.
    pub before: &'static [&'static [&'static str]],
    /// What no command can make of it, done after them.
    pub prepare: fn(&Ebb),
    /// What must answer after the blow and the next ordinary command: the old state or the new one.
    pub either: &'static [&'static [&'static str]],
    /// What is neither the old state nor the new one, looked at right after the blow and the next ordinary command.
    pub holds: fn(&Ebb) -> Result<(), String>,
    /// Commands that clear away what it made, whatever became of it.
    pub after: &'static [&'static [&'static str]],
}

/// A command that needs nothing and leaves nothing.
const PLAIN: Command = Command {
    name: "",
    words: &[],
    lacks: || None,
    once: |_| {},
    before: &[],
    prepare: |_| {},
    either: &[],
    holds: |_| Ok(()),
    after: &[],
};

const RUN_BOX: &[&str] = &["run", "-d", "--name", "box", "busybox", "sleep", "1000"];
const NO_BOX: &[&str] = &["rm", "-f", "box"];
/// A volume with two files in it, the second below a directory.
const FILLED: &[&str] =
    &["run", "--rm", "-v", "vase:/v", "busybox", "sh", "-c", "echo old > /v/a; mkdir /v/sub; echo old > /v/sub/b"];
const NO_VOLUMES: &[&[&str]] = &[&["volume", "rm", "-f", "--now", "vase", "urn"], &["volume", "trash", "empty", "-f"]];
const COPY_UP: &[&str] = &["create", "--name", "box", "-v", "vase:/odd", "odd", "true"];
/// Twenty files of root's, one of them with two names.
const MANY: &[&str] = &[
    "run",
    "--rm",
    "-v",
    "vase:/v",
    "busybox",
    "sh",
    "-c",
    "cd /v; for i in 0 1 2 3 4 5 6 7 8; do mkdir $i; echo $i > $i/f; done; ln 0/f 1/g",
];
const GIVE_VOLUME: &[&str] = &["create", "--name", "box", "-u", "1000:1000", "-v", "vase:/v:U", "busybox", "true"];
const GIVE_TREE: &[&str] = &["create", "--name", "box", "-u", "1000:1000", "-v", "./tree:/v:U", "busybox", "true"];
const TREE_OF_ROOT: &[&str] = &["run", "--rm", "-u", "0:0", "-v", "./tree:/v:U", "busybox", "true"];
const NOBODY: fn() -> Option<&'static str> =
    || common::has_one_id().then_some("who has one id has nobody to give a file to");
const RESTORED: &[&str] = &["volume", "restore", "vase"];

pub const COMMANDS: &[Command] = &[
    Command {
        name: "volume create",
        words: &["volume", "create", "vase"],
        either: &[&["volume", "create", "vase"]],
        after: NO_VOLUMES,
        ..PLAIN
    },
    Command {
        name: "volume create --opt size=",
        words: &["volume", "create", "--opt", "size=8m", "vase"],
        lacks: || (!common::is_root()).then_some("a loop device takes root"),
        either: &[
            &["volume", "create", "--opt", "size=8m", "vase"],
            &["run", "--rm", "-v", "vase:/v", "busybox", "sh", "-c", "echo x > /v/x && df -m /v | grep -q loop"],
        ],
        after: NO_VOLUMES,
        ..PLAIN
    },
    Command {
        name: "volume rm",
        words: &["volume", "rm", "vase"],
        before: &[FILLED],
        // Wherever it is now, it can be removed and brought back.
        either: &[&["volume", "rm", "-f", "vase"], RESTORED],
        holds: |ebb| one_of(ebb, &[("vase", OLD)], true),
        after: NO_VOLUMES,
        ..PLAIN
    },
    Command {
        name: "volume rm --now",
        words: &["volume", "rm", "--now", "vase"],
        before: &[FILLED],
        either: &[&["volume", "rm", "-f", "--now", "vase"]],
        after: NO_VOLUMES,
        ..PLAIN
    },
    Command {
        name: "volume restore",
        words: RESTORED,
        before: &[FILLED, &["volume", "rm", "vase"]],
        either: &[&["volume", "rm", "-f", "vase"], RESTORED],
        holds: |ebb| one_of(ebb, &[("vase", OLD)], true),
        after: NO_VOLUMES,
        ..PLAIN
    },
    Command {
        name: "volume trash empty",
        words: &["volume", "trash", "empty", "-f"],
        before: &[FILLED, &["volume", "rm", "vase"]],
        either: &[&["volume", "trash", "empty", "-f"]],
        after: NO_VOLUMES,
        ..PLAIN
    },
    Command {
        name: "volume prune",
        words: &["volume", "prune", "-f"],
        before: &[&["run", "--name", "box", "-v", "/anonymous", "busybox", "touch", "/anonymous/a"], &["rm", "box"]],
        either: &[&["volume", "prune", "-f"]],
        holds: one_anonymous,
        after: NO_VOLUMES,
        ..PLAIN
    },
    Command {
        name: "system prune --volumes",
        words: &["system", "prune", "--volumes", "-f"],
        before: &[
            &["run", "--name", "box", "-v", "/anonymous", "busybox", "touch", "/anonymous/a"],
            &["create", "--name", "other", "busybox"],
            // An image without a name.
            &["import", "new.tar"],
        ],
        either: &[&["system", "prune", "--volumes", "-f"], RUN_BOX],
        holds: one_anonymous,
        after: &[NO_BOX, &["rm", "-f", "other"], NO_VOLUMES[0], NO_VOLUMES[1], &["image", "prune", "-f"]],
        ..PLAIN
    },
    Command {
        name: "volume rename",
        words: &["volume", "rename", "vase", "urn"],
        before: &[FILLED],
        holds: |ebb| one_of(ebb, &[("vase", OLD), ("urn", OLD)], false),
        after: NO_VOLUMES,
        ..PLAIN
    },
    Command {
        name: "volume clone",
        words: &["volume", "clone", "vase", "urn"],
        before: &[FILLED],
        either: &[&["volume", "rm", "-f", "--now", "urn"], &["volume", "clone", "vase", "urn"]],
        holds: |ebb| one_of(ebb, &[("vase", OLD)], false).and_then(|()| whole_or_not_there(ebb, "urn", OLD)),
        after: NO_VOLUMES,
        ..PLAIN
    },
    Command {
        name: "volume import",
        words: &["volume", "import", "vase", "new.tar"],
        before: &[FILLED],
        either: &[&["volume", "import", "vase", "new.tar"]],
        holds: |ebb| match whole_or_not_there(ebb, "vase", OLD) {
            Err(_) => whole_or_not_there(ebb, "vase", NEW),
            old => old,
        },
        after: NO_VOLUMES,
        ..PLAIN
    },
    Command {
        name: "create",
        words: &["create", "--name", "box", "-v", "vase:/etc", "busybox", "true"],
        // Copy-up is finished by whoever comes next.
        either: &[
            NO_BOX,
            &["run", "--rm", "-v", "vase:/etc", "busybox", "test", "-s", "/etc/passwd", "-a", "-s", "/etc/group"],
            &["create", "--name", "box", "-v", "vase:/etc", "busybox", "true"],
        ],
        after: &[NO_BOX, &["volume", "rm", "-f", "--now", "vase"]],
        ..PLAIN
    },
    Command {
        name: "create, copying up",
        words: COPY_UP,
        once: prepared::odd,
        either: &[NO_BOX, COPY_UP],
        holds: next_start_copies_all,
        after: &[NO_BOX, NO_VOLUMES[0]],
        ..PLAIN
    },
    Command {
        name: "run, copying up",
        words: &["run", "--rm", "--name", "box", "-v", "vase:/odd", "odd", "true"],
        once: prepared::odd,
        either: &[NO_BOX, COPY_UP],
        holds: next_start_copies_all,
        after: &[NO_BOX, NO_VOLUMES[0]],
        ..PLAIN
    },
    Command {
        name: "start, finishing a copy-up",
        words: &["start", "-a", "box"],
        once: prepared::odd,
        before: &[
            COPY_UP,
            &["run", "--rm", "-v", "vase:/v", "busybox", "sh", "-c", "cd /v; rm -rf 0 1/away 1/3 dangling second 2/0"],
        ],
        prepare: prepared::half_copied,
        either: &[&["start", "-a", "box"], NO_BOX],
        holds: next_start_copies_all,
        after: &[NO_BOX, NO_VOLUMES[0]],
        ..PLAIN
    },
    Command {
        name: "create with a volume :U",
        words: GIVE_VOLUME,
        lacks: NOBODY,
        before: &[MANY],
        either: &[NO_BOX, GIVE_VOLUME],
        holds: |ebb| of_one_owner(ebb, "vase:/v"),
        after: &[NO_BOX, NO_VOLUMES[0]],
        ..PLAIN
    },
    Command {
        name: "create with a directory :U",
        words: GIVE_TREE,
        lacks: NOBODY,
        before: &[TREE_OF_ROOT],
        either: &[NO_BOX, GIVE_TREE],
        holds: |ebb| of_one_owner(ebb, "./tree:/v"),
        after: &[NO_BOX, TREE_OF_ROOT],
        ..PLAIN
    },
    Command { name: "run -d", words: RUN_BOX, either: &[NO_BOX, RUN_BOX], after: &[NO_BOX], ..PLAIN },
    Command {
        name: "run --rm",
        words: &["run", "--rm", "--name", "box", "-v", "/anonymous", "busybox", "sh", "-c", "echo x > /x; sync"],
        either: &[NO_BOX, RUN_BOX],
        after: &[NO_BOX, &["volume", "prune", "-f"], &["volume", "trash", "empty", "-f"]],
        ..PLAIN
    },
    Command {
        name: "stop",
        words: &["stop", "-t", "0", "box"],
        before: &[RUN_BOX],
        either: &[&["stop", "-t", "0", "box"], &["start", "box"]],
        after: &[NO_BOX],
        ..PLAIN
    },
    Command {
        name: "rm -f",
        words: &["rm", "-fv", "box"],
        before: &[&[
            "run",
            "-d",
            "--name",
            "box",
            "-v",
            "/anonymous",
            "busybox",
            "sh",
            "-c",
            "mkdir -p /d/e; touch /d/e/f; exec sleep 1000",
        ]],
        either: &[NO_BOX, RUN_BOX],
        after: &[NO_BOX, &["volume", "prune", "-f"], &["volume", "trash", "empty", "-f"]],
        ..PLAIN
    },
    Command {
        name: "exec",
        words: &["exec", "box", "sh", "-c", "echo x > /x"],
        before: &[RUN_BOX],
        either: &[&["exec", "box", "true"]],
        after: &[NO_BOX],
        ..PLAIN
    },
    Command {
        name: "image load",
        words: &["image", "load", "-q", "-i", "ARCHIVE"],
        before: &[&["rmi", "-f", "busybox"]],
        either: &[&["image", "load", "-q", "-i", "ARCHIVE"], &["run", "--rm", "busybox", "true"]],
        ..PLAIN
    },
    // Its layers are unpacked as they come by.
    Command {
        name: "image load, compressed",
        words: &["image", "load", "-q", "-i", "busybox.tar.gz"],
        before: &[&["rmi", "-f", "busybox"]],
        either: &[&["image", "load", "-q", "-i", "busybox.tar.gz"], &["run", "--rm", "busybox", "true"]],
        ..PLAIN
    },
    Command {
        name: "image rm",
        words: &["image", "rm", "other"],
        before: &[&["tag", "busybox", "other"]],
        either: &[&["run", "--rm", "busybox", "true"]],
        after: &[&["rmi", "-f", "other"]],
        ..PLAIN
    },
    Command {
        name: "cp",
        words: &["cp", "tree", "box:/copied"],
        before: &[&["create", "--name", "box", "busybox", "true"]],
        either: &[&["cp", "tree", "box:/copied"], &["start", "box"]],
        after: &[NO_BOX],
        ..PLAIN
    },
    Command {
        name: "rename",
        words: &["rename", "box", "other"],
        before: &[&["create", "--name", "box", "busybox", "true"]],
        holds: |ebb| {
            let names = ["box", "other"].map(|name| ebb.run(["inspect", "-f", "{{.Name}}", name]));
            let found: Vec<_> =
                names.iter().filter(|answer| answer.code == 0).map(|answer| answer.stdout.trim()).collect();
            if found.len() == 1 { Ok(()) } else { Err(format!("it has {} names: {found:?}", found.len())) }
        },
        after: &[NO_BOX, &["rm", "-f", "other"]],
        ..PLAIN
    },
];

/// What is in the volume of [`FILLED`], as [`listing`] shows it.
const OLD: &str = "a old; sub/b old";
/// What is in new.tar.
const NEW: &str = "c new; tree/0 new; tree/1 new";

/// The files of a volume and what is in them; `None` where there is no such volume.
fn listing(ebb: &Ebb, name: &str) -> Option<String> {
    if ebb.run(["volume", "inspect", name]).code != 0 {
        return None;
    }
    let script = "cd /v; find . -type f | sort | while read -r f; do echo \"${f#./} $(cat $f)\"; done";
    let mount = format!("{name}:/v:ro");
    let shown = ebb.run(["run", "--rm", "-v", &mount, "busybox", "sh", "-c", script]);
    Some(shown.stdout.trim_end().replace('\n', "; "))
}

fn whole_or_not_there(ebb: &Ebb, name: &str, wanted: &str) -> Result<(), String> {
    match listing(ebb, name) {
        Some(found) if found != wanted => Err(format!("{name} holds {found:?}, and not {wanted:?}")),
        _ => Ok(()),
    }
}

/// Exactly one of the volumes is there, whole; or else it is in the trash, where that is as good.
fn one_of(ebb: &Ebb, volumes: &[(&str, &str)], or_in_trash: bool) -> Result<(), String> {
    let found: Vec<_> = volumes.iter().filter_map(|(name, wanted)| Some((name, wanted, listing(ebb, name)?))).collect();
    let trash = ebb.run(["volume", "trash", "ls", "-q"]).stdout.lines().count();
    match found.as_slice() {
        [(_, wanted, now)] if now == *wanted && trash == 0 => Ok(()),
        [] if or_in_trash && trash == 1 => Ok(()),
        _ => Err(format!("there are {found:?}, and {trash} in the trash")),
    }
}

fn one_anonymous(ebb: &Ebb) -> Result<(), String> {
    let unnamed = ["volume", "ls", "-q", "-f", "label=com.docker.volume.anonymous"];
    let (here, trash) = (ebb.run(unnamed).stdout, ebb.run(["volume", "trash", "ls", "-q"]).stdout);
    match here.lines().count() + trash.lines().count() {
        1 => Ok(()),
        _ => Err(format!("there is {here:?}, and {trash:?} in the trash")),
    }
}

/// Whatever of a copy-up was done, the next start does the rest.
fn next_start_copies_all(ebb: &Ebb) -> Result<(), String> {
    let image = prepared::told(ebb, &[], "/odd");
    let volume = prepared::told(ebb, &["-v", "vase:/odd"], "/odd");
    if volume == image { Ok(()) } else { Err(format!("the image has\n{image}and the volume\n{volume}")) }
}

/// After the next start all files belong to one user, and if that is the new one, somebody has said so.
fn of_one_owner(ebb: &Ebb, mount: &str) -> Result<(), String> {
    let script = "cd /v; find . | while read -r f; do stat -c %u:%g \"$f\"; done | sort -u";
    let shown = ebb.run(["run", "--rm", "-v", mount, "busybox", "sh", "-c", script]);
    let said = prepared::said_by_the_struck(ebb) + &shown.stderr;
    match shown.stdout.as_str() {
        "0:0\n" if ebb.run(["inspect", "box"]).code != 0 => Ok(()),
        "1000:1000\n" if said.contains("changed the owner of") => Ok(()),
        owners => Err(format!("they belong to {owners:?}, and what was said is {said:?}")),
    }
}

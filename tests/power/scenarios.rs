//! What is done when the power goes: on which store it begins, what the machine does, and what must be there afterwards.

use crate::common::{self, Answer};
use crate::copy_up::COPY_UP;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The store on the disk, mounted here again.
pub struct Host {
    pub disk: PathBuf,
}

impl Host {
    pub fn run<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Answer {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ebb"));
        command.args(words).env("EBB_ROOT", self.disk.join("store")).current_dir("/");
        common::answer(command.stdin(std::process::Stdio::null()))
    }

    pub fn ok<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> String {
        let answer = self.run(words);
        assert_eq!(answer.code, 0, "{}", answer.shown());
        answer.stdout.trim_end().to_owned()
    }

    /// What a volume's file holds; nothing where it is not there.
    fn in_volume(&self, volume: &str, file: &str) -> String {
        let path = self.disk.join("store/volumes").join(volume).join("_data").join(file);
        std::fs::read_to_string(path).unwrap_or_default()
    }

    fn has_in_volume(&self, volume: &str, file: &str) -> bool {
        self.disk.join("store/volumes").join(volume).join("_data").join(file).exists()
    }

    fn has(&self, words: &[&str]) -> bool {
        self.run(words).code == 0
    }
}

pub struct Scenario {
    pub name: &'static str,
    /// The last answer that it gives.
    pub answers: u32,
    pub prepare: fn(&Host),
    /// Shell, played by guest.sh.
    pub script: &'static str,
    /// What is not as the `answered` first answers say, and of the one that was under way, what is neither old nor new.
    pub verify: fn(&Host, u32) -> Vec<String>,
    /// That a cut loses what nothing forces to the disk shows that the disk is one to fear.
    pub is_control: bool,
}

/// How many of each thing there are.
pub const MANY: u32 = 8;

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "control",
        answers: MANY,
        prepare: |_| {},
        script: "each 8 'seq 1 1000 > /disk/file$i'",
        verify: |host, answered| {
            let whole = |i: &u32| {
                std::fs::read_to_string(host.disk.join(format!("file{i}")))
                    .is_ok_and(|text| text.lines().count() == 1000)
            };
            (1..=answered).filter(|i| !whole(i)).map(|i| format!("file{i} is not whole")).collect()
        },
        is_control: true,
    },
    Scenario {
        name: "volume-create",
        answers: MANY,
        prepare: |_| {},
        script: "each 8 'ebb volume create --label n=$i vase$i'",
        verify: |host, answered| {
            each(answered, |i, is_answered| {
                let found = host.run(["volume", "inspect", "-f", "{{.Labels.n}}", &format!("vase{i}")]);
                let whole = found.stdout.trim() == i.to_string()
                    && host.disk.join(format!("store/volumes/vase{i}/_data")).is_dir();
                (whole || !is_answered && found.stderr.contains("no such volume"))
                    .then_some(())
                    .ok_or(found.shown().into())
            })
        },
        is_control: false,
    },
    Scenario {
        name: "volume-rm",
        answers: MANY,
        prepare: filled_volumes,
        script: "each 8 'ebb volume rm vase$i'",
        verify: |host, answered| {
            each(answered, |i, is_answered| {
                let name = format!("vase{i}");
                let is_there = host.has(&["volume", "inspect", &name]);
                if is_there && is_answered {
                    return Err(format!("{name} is there again"));
                }
                // In its place or in the trash, it is whole.
                if !is_there {
                    host.ok(["volume", "restore", &name]);
                }
                is_old(host, &name)
            })
        },
        is_control: false,
    },
    Scenario {
        name: "volume-rm-now",
        answers: MANY,
        prepare: filled_volumes,
        script: "each 8 'ebb volume rm --now vase$i'",
        verify: |host, answered| {
            each(answered, |i, is_answered| {
                let name = format!("vase{i}");
                match (host.has(&["volume", "inspect", &name]), is_answered) {
                    (true, true) => Err(format!("{name} is there again")),
                    (true, false) => is_old(host, &name),
                    (false, _) => Ok(()),
                }
            })
        },
        is_control: false,
    },
    Scenario {
        name: "volume-restore",
        answers: MANY,
        prepare: |host| {
            filled_volumes(host);
            for i in 1..=MANY {
                host.ok(["volume", "rm", &format!("vase{i}")]);
            }
        },
        script: "each 8 'ebb volume restore vase$i'",
        verify: |host, answered| {
            each(answered, |i, is_answered| {
                let name = format!("vase{i}");
                if !is_answered && !host.has(&["volume", "inspect", &name]) {
                    host.ok(["volume", "restore", &name]);
                }
                is_old(host, &name)
            })
        },
        is_control: false,
    },
    Scenario {
        name: "volume-rename",
        answers: MANY,
        prepare: filled_volumes,
        script: "each 8 'ebb volume rename vase$i urn$i'",
        verify: |host, answered| {
            each(answered, |i, is_answered| {
                let [old, new] = ["vase", "urn"].map(|stem| format!("{stem}{i}"));
                match (host.has(&["volume", "inspect", &old]), host.has(&["volume", "inspect", &new]), is_answered) {
                    (false, true, _) => is_old(host, &new),
                    (true, false, false) => is_old(host, &old),
                    found => Err(format!("{old}, {new}: {found:?}")),
                }
            })
        },
        is_control: false,
    },
    Scenario {
        name: "volume-clone",
        answers: MANY,
        prepare: filled_volumes,
        script: "each 8 'ebb volume clone vase$i urn$i'",
        verify: |host, answered| {
            each(answered, |i, is_answered| {
                let [old, new] = ["vase", "urn"].map(|stem| format!("{stem}{i}"));
                is_old(host, &old)?;
                if !is_answered && !host.has(&["volume", "inspect", &new]) { Ok(()) } else { is_old(host, &new) }
            })
        },
        is_control: false,
    },
    Scenario {
        name: "volume-import",
        answers: MANY,
        prepare: |host| {
            filled_volumes(host);
            put_archives(host, "root");
        },
        script: "each 8 'ebb volume import vase$i /disk/root$i.tar'",
        verify: |host, answered| {
            each(answered, |i, is_answered| {
                let name = format!("vase{i}");
                if !is_answered && is_old(host, &name).is_ok() && host.in_volume(&name, "data/file").is_empty() {
                    return Ok(());
                }
                let new = [host.in_volume(&name, "data/file"), host.in_volume(&name, "data/ballast")];
                let whole = new == [format!("in image {i}\n"), i.to_string().repeat(300_000)]
                    && !host.has_in_volume(&name, "f");
                whole.then_some(()).ok_or(format!("{name} holds neither the old content nor the new"))
            })
        },
        is_control: false,
    },
    Scenario {
        name: "import",
        answers: MANY,
        prepare: |host| put_archives(host, "root"),
        script: "each 8 'ebb import /disk/root$i.tar image$i'",
        verify: |host, answered| each(answered, |i, is_answered| image(host, i, is_answered)),
        is_control: false,
    },
    Scenario {
        name: "image-load",
        answers: MANY,
        prepare: |host| put_archives(host, "image"),
        script: "each 8 'ebb image load -i /disk/image$i.tar'",
        verify: |host, answered| each(answered, |i, is_answered| image(host, i, is_answered)),
        is_control: false,
    },
    Scenario {
        name: "create",
        answers: MANY,
        prepare: load_image,
        script: "each 8 'ebb create --name box$i -v vase$i:/data image1 cat /data/file'",
        verify: |host, answered| {
            each(answered, |i, is_answered| {
                let name = format!("box{i}");
                if !host.has(&["inspect", &name]) {
                    return if is_answered { Err(format!("{name} is not there")) } else { Ok(()) };
                }
                // What the image had there was copied into its volume, and it starts.
                let started = host.run(["start", "-a", &name]);
                let whole = started.code == 0 && started.stdout == "in image 1\n";
                whole.then_some(()).ok_or_else(|| started.shown().to_owned())
            })
        },
        is_control: false,
    },
    COPY_UP,
    Scenario {
        name: "rm",
        answers: MANY,
        prepare: |host| {
            load_image(host);
            for i in 1..=MANY {
                host.ok(["create", "--name", &format!("box{i}"), "image1", "cat", "/data/file"]);
            }
        },
        script: "each 8 'ebb rm box$i'",
        verify: |host, answered| {
            each(answered, |i, is_answered| {
                let name = format!("box{i}");
                match (host.has(&["inspect", &name]), is_answered) {
                    (true, true) => Err(format!("{name} is there again")),
                    (true, false) if !host.has(&["start", "-a", &name]) => Err(format!("{name} does not start")),
                    _ => Ok(()),
                }
            })
        },
        is_control: false,
    },
    Scenario {
        name: "rename",
        answers: MANY,
        prepare: |host| {
            load_image(host);
            for i in 1..=MANY {
                host.ok(["create", "--name", &format!("box{i}"), "image1", "cat", "/data/file"]);
            }
        },
        script: "each 8 'ebb rename box$i cube$i'",
        verify: |host, answered| {
            each(answered, |i, is_answered| {
                let [old, new] = ["box", "cube"].map(|stem| host.has(&["start", "-a", &format!("{stem}{i}")]));
                match (old, new, is_answered) {
                    (false, true, _) | (true, false, false) => Ok(()),
                    _ => Err(format!("box{i}: {old}, cube{i}: {new}")),
                }
            })
        },
        is_control: false,
    },
    Scenario {
        name: "run-d",
        answers: 40,
        prepare: |host| {
            let archive = common::busybox_archive().to_str().expect("UTF-8");
            host.ok(["image", "load", "-q", "-i", archive]);
        },
        // Answered is what the container itself has forced to the disk before it says so.
        script: "ebb run -d --name box -v vase:/v busybox sh -c 'i=0; while :; do i=$((i+1)); \
                 echo line $i | dd of=/v/log oflag=append conv=notrunc,fsync 2>/dev/null; echo answered $i; done' >/dev/null \
                 2>/tmp/out || echo \"failed $(cat /tmp/out)\" >&3\n ebb logs -f box >&3",
        verify: |host, answered| {
            let mut wrong = Vec::new();
            let log = host.in_volume("vase", "log");
            for i in 1..=answered {
                if log.lines().nth(i as usize - 1) != Some(&format!("line {i}")) {
                    wrong.push(format!("line {i} of the volume is {:?}", log.lines().nth(i as usize - 1)));
                }
            }
            // After the cut it has ended, and can be started and removed.
            for (words, wanted) in [
                (&["inspect", "-f", "{{.State.Status}}", "box"][..], "exited"),
                (&["start", "box"], "box"),
                (&["rm", "-f", "box"], "box"),
            ] {
                let answer = host.run(words);
                if answered > 0 && (answer.code != 0 || answer.stdout.trim() != wanted) {
                    wrong.push(answer.shown().to_owned());
                }
            }
            wrong
        },
        is_control: false,
    },
];

/// Of the things from 1 on, the one after the last answer was under way.
pub fn each(answered: u32, check: impl Fn(u32, bool) -> Result<(), String>) -> Vec<String> {
    (1..=(answered + 1).min(MANY)).filter_map(|i| check(i, i <= answered).err()).collect()
}

/// Whole is an image that `save` can give back: it makes the layer's tar again from its files, and its digest with it.
fn image(host: &Host, i: u32, is_answered: bool) -> Result<(), String> {
    let name = format!("image{i}");
    if !host.has(&["image", "inspect", &name]) {
        return if is_answered { Err(format!("{name} is not there")) } else { Ok(()) };
    }
    let saved = host.run(["image", "save", "-o", &host.disk.join("saved.tar").display().to_string(), &name]);
    let run = host.run(["run", "--rm", &name, "cat", "/data/file"]);
    let whole = saved.code == 0 && run.stdout == format!("in image {i}\n");
    whole.then_some(()).ok_or_else(|| saved.shown().to_owned() + run.shown())
}

/// vase1 to vase8, in each a file of its own and a megabyte.
fn filled_volumes(host: &Host) {
    for i in 1..=MANY {
        host.ok(["volume", "create", &format!("vase{i}")]);
        let data = host.disk.join(format!("store/volumes/vase{i}/_data"));
        std::fs::write(data.join("f"), format!("vase{i}\n")).expect("a file");
        std::fs::write(data.join("ballast"), i.to_string().repeat(1_000_000)).expect("a file");
    }
}

/// Whole is what [`filled_volumes`] made, under whatever name.
fn is_old(host: &Host, name: &str) -> Result<(), String> {
    let number = name.trim_start_matches(|letter: char| letter.is_ascii_alphabetic());
    let whole = host.in_volume(name, "f") == format!("vase{number}\n")
        && host.in_volume(name, "ballast") == number.repeat(1_000_000);
    whole.then_some(()).ok_or(format!("{name} is not whole"))
}

fn archives(host: &Host) -> PathBuf {
    host.disk.parent().expect("a parent").join("archives")
}

fn put_archives(host: &Host, stem: &str) {
    for i in 1..=MANY {
        let name = format!("{stem}{i}.tar");
        std::fs::copy(archives(host).join(&name), host.disk.join(&name)).expect("copied");
    }
}

pub fn load_image(host: &Host) {
    host.ok(["image", "load", "-q", "-i", &archives(host).join("image1.tar").display().to_string()]);
}

/// The archives that the machines import and load: of small images, each of its own layer.
pub fn make_archives(archives: &Path) {
    let ebb = common::Ebb::empty();
    for i in 1..=MANY {
        let root = ebb.dir.join(format!("root{i}"));
        for place in ["bin", "data"] {
            std::fs::create_dir_all(root.join(place)).expect("a directory");
        }
        std::fs::copy("/bin/busybox", root.join("bin/cat")).expect("busybox");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(root.join("bin/cat"), mode).expect("its mode");
        std::fs::write(root.join("data/file"), format!("in image {i}\n")).expect("a file");
        std::fs::write(root.join("data/ballast"), format!("{i}").repeat(300_000)).expect("a file");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o640);
        std::fs::set_permissions(root.join("data/ballast"), mode).expect("its mode");
        std::fs::hard_link(root.join("data/ballast"), root.join("data/second")).expect("a second name");
        let tar = archives.join(format!("root{i}.tar"));
        crate::machine::sh("tar -C \"$0\" -cf \"$1\" .", &[&root, &tar]);
        let name = format!("image{i}");
        ebb.ok(["import", tar.to_str().expect("UTF-8"), &name]);
        ebb.ok(["image", "save", "-o", archives.join(format!("image{i}.tar")).to_str().expect("UTF-8"), &name]);
    }
}

//! A machine of qemu's, whose disk remembers all that it was told, and when each answer was given.

use crate::disk::{Disk, Event, History};
use crate::unsynced;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A machine that tells nothing for so long will tell nothing more. (Emulated, it needs 10 s to boot; on a busy
/// machine, a minute.)
const SILENCE: Duration = Duration::from_secs(300);

/// The kernel and what it begins with: busybox, Ebb, the modules that a disk and an overlay need, and `work`.
pub struct Machine {
    kernel: PathBuf,
    initramfs: PathBuf,
}

/// What was seen of it.
#[derive(Default)]
pub struct Seen {
    pub history: History,
    pub failed: Vec<String>,
}

impl Machine {
    /// Packs the initramfs in `dir`, with the files of `work` in its /work.
    pub fn new(dir: &Path, work: &Path) -> Machine {
        let kernel = newest_kernel();
        let release = kernel.file_name().expect("a name").to_string_lossy().replace("vmlinuz-", "");
        let root = dir.join("initramfs");
        for place in ["bin", "modules"] {
            std::fs::create_dir_all(root.join(place)).expect("a directory");
        }
        sh("cp -a \"$0\" \"$1/work\"", &[work, &root]);
        sh("cp /bin/busybox \"$0/bin/busybox\" && chmod 755 \"$0/bin/busybox\"", &[&root]);
        sh("strip -o \"$1/bin/ebb\" \"$0\"", &[Path::new(env!("CARGO_BIN_EXE_ebb")), &root]);
        let own = std::env::current_exe().expect("its own path");
        sh("strip -o \"$1/bin/$2\" \"$0\"", &[&own, &root, Path::new(unsynced::NAME)]);
        let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/power/guest.sh");
        sh("cp \"$0\" \"$1/init\" && chmod 755 \"$1/init\"", &[&guest, &root]);
        let modules = "n=100; for module in virtio_pci virtio_blk ext4 overlay; do \
                       modprobe -S \"$1\" --show-depends $module | while read -r _ path; do \
                       name=${path##*/}; ls \"$0/modules\" | grep -q \"^[0-9]*-$name$\" && continue; \
                       cp $path \"$0/modules/$(ls \"$0/modules\" | wc -l | awk '{print $1 + 100}')-$name\"; done; done";
        sh(modules, &[&root, Path::new(&release)]);
        let initramfs = dir.join("initramfs.cpio");
        sh("cd \"$0\" && find . | busybox cpio -o -H newc 2>/dev/null > \"$1\"", &[&root, &initramfs]);
        Machine { kernel, initramfs }
    }

    /// Starts it on the disk at `image`, and lets it play `scenario` up to that answer.
    pub fn run(&self, image: &Path, scenario: &str, answers: u32) -> Seen {
        let mut seen = Seen::default();
        let socket = image.with_extension("sock");
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).expect("a socket");
        let disk = Disk::open(image, seen.history.clone());
        let served = std::thread::spawn(move || disk.serve(&listener));
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-nodefaults", "-no-reboot", "-display", "none", "-m", "768", "-accel", "tcg"]);
        qemu.arg("-kernel").arg(&self.kernel).arg("-initrd").arg(&self.initramfs);
        // On a busy machine the emulated timer is late, which the kernel would take for broken.
        qemu.args(["-append", &format!("console=ttyS0 quiet panic=-1 no_timer_check scenario={scenario}")]);
        let shown = image.with_extension("console");
        qemu.args(["-serial", &format!("file:{}", shown.display()), "-serial", "stdio"]);
        let node = format!("driver=nbd,node-name=disk,server.type=unix,server.path={}", socket.display());
        qemu.args(["-blockdev", &node, "-device", "virtio-blk-pci,drive=disk,write-cache=on"]);
        let mut child =
            qemu.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("qemu");
        let mut stdin = child.stdin.take().expect("a pipe");
        let (told, lines) = std::sync::mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| told.send(line)));
        let mut answered = 0;
        while let Ok(line) = lines.recv_timeout(SILENCE) {
            let line = line.trim();
            if let Some(number) = line.strip_prefix("answered ").and_then(|number| number.parse().ok()) {
                answered = number;
                seen.history.add(Event::Answered(number));
            } else if line == "ready" {
                seen.history.add(Event::Ready);
            } else if line.starts_with("failed") {
                seen.failed.push(line.to_owned());
            }
            // The next command begins when the answer stands in the history: what was written before is before it there.
            let _ = writeln!(stdin);
            if answered >= answers || line == "done" {
                break;
            }
        }
        let _ = child.kill();
        let _ = child.wait();
        served.join().expect("the disk");
        if answered < answers {
            let console = std::fs::read_to_string(&shown).unwrap_or_default();
            let tail: Vec<&str> = console.lines().rev().take(20).collect();
            seen.failed.push(format!("it answered {answered} times; its console, the last line first: {tail:#?}"));
        }
        seen
    }
}

fn newest_kernel() -> PathBuf {
    let kernels = std::fs::read_dir("/boot").into_iter().flatten().flatten().map(|entry| entry.path());
    let kernel = kernels.filter(|path| path.to_string_lossy().contains("/vmlinuz-")).max();
    kernel.expect("a kernel: apt-get install linux-image-amd64")
}

/// Runs a line of shell whose `$0`, `$1` … are `words`.
pub fn sh(line: &str, words: &[&Path]) {
    let status = Command::new("sh").args(["-ec", line]).args(words).status().expect("sh");
    assert!(status.success(), "{line} {words:?}");
}

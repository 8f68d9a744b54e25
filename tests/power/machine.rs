//! A machine of qemu's, with Debian's kernel: emulated, so that it runs anywhere.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// A machine that tells nothing for so long will tell nothing more. (Emulated, it needs 10 s to boot; on a busy
/// machine, a minute.)
const SILENCE: Duration = Duration::from_secs(300);

/// The kernel and what it begins with: busybox, Ebb, `work`, modules and programs.
pub struct Machine {
    kernel: PathBuf,
    initramfs: PathBuf,
}

impl Machine {
    /// Packs the initramfs in `dir`, with the files of `work` in its /work.
    pub fn new(dir: &Path, work: &Path, modules: &[&str], programs: &[&str]) -> Machine {
        let kernel = newest_kernel();
        let release = kernel.file_name().expect("a name").to_string_lossy().replace("vmlinuz-", "");
        let root = dir.join("initramfs");
        for place in ["bin", "modules"] {
            std::fs::create_dir_all(root.join(place)).expect("a directory");
        }
        sh("cp -a \"$0\" \"$1/work\"", &[work, &root]);
        sh("cp /bin/busybox \"$0/bin/busybox\" && chmod 755 \"$0/bin/busybox\"", &[&root]);
        sh("strip -o \"$1/bin/ebb\" \"$0\"", &[Path::new(env!("CARGO_BIN_EXE_ebb")), &root]);
        let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/power/guest.sh");
        sh("cp \"$0\" \"$1/init\" && chmod 755 \"$1/init\"", &[&guest, &root]);
        let wanted = modules.join(" ");
        let modules = "for module in $2; do modprobe -S \"$1\" --show-depends $module | while read -r kind path _; do \
                       [ $kind = insmod ] || continue; \
                       name=${path##*/}; ls \"$0/modules\" | grep -q \"^[0-9]*-$name$\" && continue; \
                       cp $path \"$0/modules/$(ls \"$0/modules\" | wc -l | awk '{print $1 + 100}')-$name\"; done; done";
        sh(modules, &[&root, Path::new(&release), Path::new(&wanted)]);
        // A program comes with the libraries that it loads.
        let bring = "PATH=$PATH:/usr/sbin:/sbin; for program in $1; do path=$(command -v $program); \
                     cp -L $path \"$0/bin/\"; { ldd $path || true; } | grep -o '/[^ ]*' | while read -r library; do \
                     mkdir -p \"$0${library%/*}\"; cp -L $library \"$0$library\"; done; done";
        sh(bring, &[&root, Path::new(&programs.join(" "))]);
        let initramfs = dir.join("initramfs.cpio");
        sh("cd \"$0\" && find . | busybox cpio -o -H newc 2>/dev/null > \"$1\"", &[&root, &initramfs]);
        Machine { kernel, initramfs }
    }

    /// Starts it with a disk, which `drive` tells qemu of, to play `scenario`, one of the files of /work.
    pub fn start(&self, scenario: &str, drive: &[&str], console: &Path) -> Running {
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-nodefaults", "-no-reboot", "-display", "none", "-m", "768", "-accel", "tcg"]);
        qemu.arg("-kernel").arg(&self.kernel).arg("-initrd").arg(&self.initramfs);
        // On a busy machine the emulated timer is late, which the kernel would take for broken.
        qemu.args(["-append", &format!("console=ttyS0 quiet panic=-1 no_timer_check scenario={scenario}")]);
        qemu.args(["-serial", &format!("file:{}", console.display()), "-serial", "stdio"]);
        qemu.args(drive);
        let mut child =
            qemu.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("qemu");
        let stdin = child.stdin.take().expect("a pipe");
        let (told, lines) = std::sync::mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| told.send(line)));
        Running { child, stdin, lines, console: console.to_owned() }
    }
}

/// A machine that runs. Dropped, its power goes.
pub struct Running {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
    console: PathBuf,
}

impl Running {
    /// The next line that it tells; `None` where there will be none.
    pub fn hear(&self) -> Option<String> {
        self.lines.recv_timeout(SILENCE).ok().map(|line| line.trim().to_owned())
    }

    pub fn say(&mut self, line: &str) {
        // One that is gone is silent, too, which is what is looked at.
        let _ = writeln!(self.stdin, "{line}");
    }

    /// The end of what its kernel has said.
    pub fn console(&self) -> String {
        let console = std::fs::read_to_string(&self.console).unwrap_or_default();
        let lines: Vec<&str> = console.lines().collect();
        format!("its console: {:#?}", &lines[lines.len().saturating_sub(20)..])
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Which of these programs are not installed.
pub fn missing(programs: &[&'static str]) -> Vec<&'static str> {
    let found = |program: &str| {
        let mut which = Command::new("sh");
        which.args(["-c", "PATH=$PATH:/usr/sbin:/sbin; command -v \"$0\" >/dev/null", program]);
        which.status().is_ok_and(|status| status.success())
    };
    programs.iter().copied().filter(|program| !found(program)).collect()
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

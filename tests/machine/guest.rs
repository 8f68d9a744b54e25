//! A machine that plays what a test tells it, line by line, and answers as a shell does.

use crate::common;
use crate::machine::{Machine, Running, missing, sh};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a machine has beside Ebb and busybox.
pub struct Equipment {
    name: &'static str,
    /// The kernel's: a machine without modprobe(8) is given them all.
    modules: &'static [&'static str],
    programs: &'static [&'static str],
    packages: &'static str,
}

pub const FILE_SYSTEMS: Equipment = Equipment {
    name: "machine",
    modules: &["virtio_pci", "virtio_blk", "ext4", "overlay", "loop", "nfsv4", "nfsd", "xfs", "btrfs"],
    programs: &["exportfs", "rpc.mountd", "rpc.nfsd", "mkfs.xfs", "mkfs.ext4", "filefrag"],
    packages: "nfs-kernel-server xfsprogs",
};

/// Apart from the others, since its libraries are ten times all of theirs.
pub const SAMBA: Equipment = Equipment {
    name: "machine-samba",
    // What cifs asks for by itself where there is a modprobe(8): `modinfo -F softdep cifs`.
    modules: &[
        "virtio_pci",
        "virtio_blk",
        "ext4",
        "overlay",
        "cifs",
        "aes_generic",
        "ccm",
        "gcm",
        "cmac",
        "ctr",
        "ecb",
        "hmac",
        "md5",
        "sha256_generic",
        "sha512_generic",
        "ghash_generic",
        "nls_utf8",
    ],
    programs: &["smbd", "smbpasswd", "mkfs.ext4"],
    packages: "samba",
};

const HOST_PROGRAMS: &[&str] = &["qemu-system-x86_64", "busybox", "modprobe", "strip"];

/// What the machine does with each line that it is told.
const SHELL: &str = r#"
ip link set lo up
echo 'tcp 6 TCP' > /etc/protocols; echo 'udp 17 UDP' >> /etc/protocols
echo 'nfs 2049/tcp' > /etc/services; echo 'nfs 2049/udp' >> /etc/services; echo '127.0.0.1 localhost' > /etc/hosts
while read -r line <&3; do
    echo "$line" | base64 -d > /tmp/script
    sh /tmp/script < /dev/null > /tmp/out 2> /tmp/err
    echo "$? $(base64 -w 0 /tmp/out) $(base64 -w 0 /tmp/err)." >&3
done
"#;

/// More than the serial line's buffer in the machine would be lost.
const LONGEST: usize = 4000;

pub struct Guest {
    running: Running,
    dir: PathBuf,
    _alone: MutexGuard<'static, BTreeMap<&'static str, Machine>>,
}

pub struct Answer {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    shown: String,
}

impl Answer {
    pub fn shown(&self) -> &str {
        &self.shown
    }
}

/// Why there is no machine here, if there is none.
pub fn lacking() -> Option<String> {
    lacking_for(&FILE_SYSTEMS)
}

pub fn lacking_for(equipment: &Equipment) -> Option<String> {
    let missing = [missing(HOST_PROGRAMS), missing(equipment.programs)].concat();
    let has_kernel = std::fs::read_dir("/boot")
        .is_ok_and(|all| all.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("vmlinuz-")));
    let missing = if has_kernel { missing } else { [missing, vec!["a kernel"]].concat() };
    (!missing.is_empty()).then(|| {
        format!(
            "it needs {}: apt-get install --no-install-recommends qemu-system-x86 linux-image-amd64 busybox-static \
             kmod binutils e2fsprogs {}",
            missing.join(", "),
            equipment.packages
        )
    })
}

impl Guest {
    pub fn start() -> Guest {
        Guest::with(&FILE_SYSTEMS)
    }

    /// Starts a machine whose store holds the image `busybox`. One at a time: each takes a processor. It is packed once for
    /// all tests that want the same.
    pub fn with(equipment: &Equipment) -> Guest {
        static PACKED: Mutex<BTreeMap<&str, Machine>> = Mutex::new(BTreeMap::new());
        let mut packed = PACKED.lock().unwrap_or_else(PoisonError::into_inner);
        let machine = packed.entry(equipment.name).or_insert_with(|| pack(equipment));
        let dir = common::scratch("machine");
        let disk = dir.join("disk");
        sh("truncate -s 1G \"$0\" && PATH=$PATH:/sbin:/usr/sbin mkfs.ext4 -q \"$0\"", &[&disk]);
        let drive = format!("file={},format=raw,if=none,id=disk,cache=unsafe", disk.display());
        let running =
            machine.start("shell", &["-drive", &drive, "-device", "virtio-blk-pci,drive=disk"], &dir.join("console"));
        let mut guest = Guest { running, dir, _alone: packed };
        assert_eq!(guest.running.hear().as_deref(), Some("ready"), "{}", guest.running.console());
        guest.running.say("");
        guest.ok("ebb image load -q -i /work/busybox.tar");
        guest
    }

    /// Runs a script there, as root.
    pub fn run(&mut self, script: &str) -> Answer {
        let line = base64(script.as_bytes());
        assert!(line.len() < LONGEST, "this script is too long to be told: {script}");
        self.running.say(&line);
        let heard = self.running.hear();
        let heard = heard.unwrap_or_else(|| panic!("silence after {script}: {}", self.running.console()));
        let parts: Vec<&str> = heard.trim_end_matches('.').split(' ').collect();
        let [code, stdout, stderr] = parts[..] else { panic!("after {script} it said: {heard}") };
        let text = |part: &str| String::from_utf8_lossy(&bytes(part)).into_owned();
        let (code, stdout, stderr) = (code.parse().expect("an exit code"), text(stdout), text(stderr));
        let shown = format!("# {script}\nexit {code}\n--- stdout\n{stdout}--- stderr\n{stderr}---");
        Answer { code, stdout, stderr, shown }
    }

    /// [`Guest::run`], and it must succeed; returns stdout without the last newline.
    pub fn ok(&mut self, script: &str) -> String {
        let answer = self.run(script);
        assert_eq!(answer.code, 0, "{}\n{}", answer.shown(), self.running.console());
        answer.stdout.trim_end_matches('\n').to_owned()
    }

    /// [`Guest::run`], and it must exit with `code`; returns stderr.
    pub fn fails(&mut self, code: i32, script: &str) -> String {
        let answer = self.run(script);
        assert_eq!(answer.code, code, "{}", answer.shown());
        answer.stderr
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn pack(equipment: &Equipment) -> Machine {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(equipment.name);
    let _ = std::fs::remove_dir_all(&dir);
    let work = dir.join("work");
    std::fs::create_dir_all(&work).expect("a directory");
    std::fs::write(work.join("shell"), SHELL).expect("a script");
    std::fs::copy(common::busybox_archive(), work.join("busybox.tar")).expect("copied");
    Machine::new(&dir, &work, equipment.modules, equipment.programs)
}

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = (0..3).fold(0u32, |group, at| group << 8 | u32::from(*chunk.get(at).unwrap_or(&0)));
        for at in 0..4 {
            let letter = char::from(LETTERS[(group >> (18 - 6 * at)) as usize & 63]);
            text.push(if at <= chunk.len() { letter } else { '=' });
        }
    }
    text
}

fn bytes(text: &str) -> Vec<u8> {
    let letters = text.bytes().filter_map(|byte| LETTERS.iter().position(|letter| *letter == byte));
    let (mut bits, mut held, mut found) = (0u32, 0, Vec::new());
    for letter in letters {
        (bits, held) = (bits << 6 | letter as u32, held + 6);
        if held >= 8 {
            held -= 8;
            found.push((bits >> held) as u8);
        }
    }
    found
}

#[test]
fn what_is_told_to_the_machine_comes_back_as_it_was() {
    for text in ["", "a", "ab", "abc", "abcd", "a longer one, with \n\0\u{ff}"] {
        assert_eq!(bytes(&base64(text.as_bytes())), text.as_bytes());
    }
    assert_eq!(base64(b"abcd"), "YWJjZA==");
}

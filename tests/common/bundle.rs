//! An OCI bundle of the test's own, and `ebb oci` on it: no image, no store.

use super::{Answer, Ebb, answer};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// A bundle with busybox as its root; its containers are deleted when it is dropped.
pub struct Bundle {
    pub dir: PathBuf,
    pub config: Value,
}

impl Bundle {
    /// A container that runs `command` without a terminal, as whoever runs the test.
    pub fn new(command: &[&str]) -> Bundle {
        let rootfs = rootfs();
        let dir = super::scratch("bundle");
        let mut config = ebb::oci::features::example(!super::is_root());
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(command);
        config["root"]["path"] = json!(rootfs);
        Bundle { dir, config }
    }

    /// Writes config.json; then `ebb oci` with this bundle's own root of states, ready for more arguments.
    pub fn oci(&self) -> Command {
        std::fs::write(self.dir.join("config.json"), self.config.to_string()).expect("config.json");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ebb"));
        command.arg("oci").arg("--root").arg(self.root()).current_dir(&self.dir).stdin(Stdio::null());
        command
    }

    pub fn root(&self) -> PathBuf {
        self.dir.join("states")
    }

    /// `ebb oci ARGS` to its end. What it answers goes to files: a container that stays has its output open.
    pub fn run(&self, args: &[&str]) -> Answer {
        answer(self.oci().args(args))
    }

    /// [`Bundle::run`], and it must succeed; returns stdout without the last newline.
    pub fn ok(&self, args: &[&str]) -> String {
        let answer = self.run(args);
        assert_eq!(answer.code, 0, "{}", answer.shown());
        answer.stdout.trim_end_matches('\n').to_owned()
    }

    /// [`Bundle::run`], and it must exit with `code`; returns stderr.
    pub fn fails(&self, code: i32, args: &[&str]) -> String {
        let answer = self.run(args);
        assert_eq!(answer.code, code, "{}", answer.shown());
        answer.stderr
    }

    /// `create`, with output to a file: the container has it open for as long as it lives.
    pub fn create(&self, id: &str) {
        let output = std::fs::File::create(self.output()).expect("a file");
        let errors = output.try_clone().expect("a descriptor");
        let status = self.oci().args(["create", id]).stdout(output).stderr(errors).status().expect("ebb starts");
        assert!(status.success(), "{}", self.said());
    }

    /// What the container has written.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.output()).unwrap_or_default()
    }

    fn output(&self) -> PathBuf {
        self.dir.join("output")
    }

    pub fn state(&self, id: &str) -> Value {
        serde_json::from_str(&self.ok(&["state", id])).expect("JSON")
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        for id in self.run(&["list", "-q"]).stdout.lines() {
            self.run(&["delete", "--force", id]);
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A root directory with busybox, made once for each test program.
pub fn rootfs() -> &'static Path {
    static ROOTFS: OnceLock<PathBuf> = OnceLock::new();
    ROOTFS.get_or_init(|| {
        let user = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").expect("procfs"));
        let archive = super::busybox_archive();
        let name = archive.file_stem().expect("a name").to_string_lossy().into_owned();
        let dir = std::env::temp_dir().join(format!("{name}-rootfs-{user}"));
        if !dir.exists() {
            let ebb = Ebb::new();
            ebb.ok(["create", "--name", "rootfs", "busybox"]);
            let tar = ebb.dir.join("rootfs.tar");
            ebb.ok(["export", "-o", tar.to_str().expect("UTF-8"), "rootfs"]);
            let half = dir.with_extension(std::process::id().to_string());
            tar::Archive::new(std::fs::File::open(tar).expect("the export")).unpack(&half).expect("unpacked");
            if std::fs::rename(&half, &dir).is_err() {
                let _ = std::fs::remove_dir_all(&half); // Another test program was faster.
            }
        }
        dir
    })
}

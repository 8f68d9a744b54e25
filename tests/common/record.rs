//! Containers as their records on the disk, for tests of what is shown: any state, without running anything.

use super::Ebb;
use std::process::{Child, Command, Stdio};

/// A container to be, with what most tests do not care about filled in.
pub struct Record {
    pub name: String,
    pub state: String,
    pub config: String,
    pub host_config: String,
    pub mounts: String,
    pub args: String,
    pub created: String,
}

impl Record {
    pub fn new(name: &str) -> Record {
        Record {
            name: name.into(),
            state: r#""Status": "created""#.into(),
            config: r#""Env": ["A=1", "B=2"]"#.into(),
            host_config: r#""NetworkMode": "none""#.into(),
            mounts: "[]".into(),
            args: r#"["1000"]"#.into(),
            created: "2026-11-23T10:52:07.625880887Z".into(),
        }
    }

    pub fn state(mut self, json: &str) -> Record {
        self.state = json.into();
        self
    }

    pub fn config(mut self, json: &str) -> Record {
        self.config = json.into();
        self
    }

    pub fn host_config(mut self, json: &str) -> Record {
        self.host_config = json.into();
        self
    }

    pub fn mounts(mut self, json: &str) -> Record {
        self.mounts = json.into();
        self
    }

    pub fn args(mut self, json: &str) -> Record {
        self.args = json.into();
        self
    }

    pub fn created(mut self, time: &str) -> Record {
        self.created = time.into();
        self
    }

    /// Puts it into the store; returns its id, whose first letters are `first`.
    pub fn put(self, ebb: &Ebb, first: &str) -> String {
        ebb.ok(["ps"]); // Lays out the store.
        let id = format!("{first:0<64}");
        let dir = ebb.store().join("containers").join(&id);
        std::fs::create_dir(&dir).expect("the container's directory");
        let Record { name, state, config, host_config, mounts, args, created } = self;
        let container = format!(
            r#"{{"Version": 1, "Id": "{id}", "Name": "{name}", "Created": "{created}", "Image": "sha256:{:0<64}",
            "ImageName": "nginx", "Layers": ["sha256-1", "sha256-2"], "Path": "sleep", "Args": {args},
            "Config": {{{config}}}, "HostConfig": {{{host_config}}}, "Mounts": {mounts}}}"#,
            "a945d0fa12e4"
        );
        std::fs::write(dir.join("container.json"), container).expect("the record");
        std::fs::write(dir.join("state.json"), format!(r#"{{"Version": 1, {state}}}"#)).expect("the state");
        std::os::unix::fs::symlink(&id, ebb.store().join("names").join(name)).expect("the name");
        id
    }
}

/// A process that stands in for a container's first one; ended when dropped.
pub struct StandIn(Child);

impl StandIn {
    pub fn new() -> StandIn {
        StandIn(Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().expect("sleep starts"))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// As a state names a process.
    pub fn json(&self) -> String {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("procfs");
        let start = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(19)).expect("a start time");
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("a boot id");
        format!(r#"{{"Pid": {}, "StartTime": {start}, "BootId": "{}"}}"#, self.pid(), boot.trim())
    }

    /// The state of a container whose first process and supervisor this is, up since `started`.
    pub fn running(&self, started: &str, more: &str) -> String {
        format!(
            r#""Status": "running", "Init": {0}, "Supervisor": {0}, "StartedAt": "{started}",
            "FinishedAt": "0001-01-01T00:00:00Z" {more}"#,
            self.json()
        )
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A moment so many seconds ago, in RFC 3339.
pub fn ago(seconds: u64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let answer =
        Command::new("date").args(["-u", "-d", &format!("@{}", now - seconds), "+%Y-%m-%dT%H:%M:%S.5Z"]).output();
    String::from_utf8(answer.expect("date").stdout).expect("UTF-8").trim().to_owned()
}

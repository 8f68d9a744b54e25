//! containers/ID/container.json: what was asked for. Written at `create`, changed only by `rename` and `update`.

use crate::engine::image::ImageConfig;
use crate::store::atomic::{Durability, Versioned};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of container.json and state.json that this Ebb writes.
pub const VERSION: u32 = 1;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Container {
    pub version: u32,
    pub id: String,
    /// Without Docker's leading slash.
    pub name: String,
    /// RFC 3339 with nanoseconds, UTC.
    pub created: String,
    /// `sha256:…`
    pub image: String,
    /// As the user named it.
    pub image_name: String,
    /// The layers' directory names below images/layers, the bottom one first: a start needs no image lookup.
    pub layers: Vec<String>,
    /// The program and its arguments: entrypoint, then command.
    pub path: String,
    pub args: Vec<String>,
    pub config: Config,
    pub host_config: HostConfig,
    pub mounts: Vec<MountPoint>,
}

impl Versioned for Container {
    const VERSION: u32 = VERSION;

    fn version(&self) -> u32 {
        self.version
    }
}

impl Container {
    /// What goes with `--rm` need not outlive a power cut.
    pub fn durability(&self) -> Durability {
        if self.host_config.auto_remove { Durability::Unsynced } else { Durability::Synced }
    }
}

/// The image's config with the user's options laid over it; Docker's keys.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Config {
    pub hostname: String,
    pub tty: bool,
    pub open_stdin: bool,
    pub attach_stdin: bool,
    pub attach_stdout: bool,
    pub attach_stderr: bool,
    /// Seconds that `stop` waits; `None` is 10.
    pub stop_timeout: Option<i64>,
    pub domainname: String,
    #[serde(flatten)]
    pub image: ImageConfig,
}

/// What concerns the host; Docker's keys.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HostConfig {
    pub binds: Vec<String>,
    #[serde(rename = "ContainerIDFile")]
    pub container_id_file: String,
    pub log_config: LogConfig,
    /// `none` or `host`.
    pub network_mode: String,
    pub restart_policy: RestartPolicy,
    pub auto_remove: bool,
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    pub cgroupns_mode: String,
    pub dns: Vec<String>,
    pub dns_options: Vec<String>,
    pub dns_search: Vec<String>,
    pub annotations: BTreeMap<String, String>,
    pub extra_hosts: Vec<String>,
    pub group_add: Vec<String>,
    pub ipc_mode: String,
    pub oom_score_adj: i32,
    pub pid_mode: String,
    pub privileged: bool,
    pub readonly_rootfs: bool,
    pub security_opt: Vec<String>,
    pub tmpfs: BTreeMap<String, String>,
    /// `--mount`, as Docker's API has it.
    pub mounts: Vec<serde_json::Value>,
    /// `NAME[:ro]`, as given.
    pub volumes_from: Vec<String>,
    pub volume_driver: String,
    #[serde(rename = "UTSMode")]
    pub uts_mode: String,
    pub userns_mode: String,
    pub shm_size: i64,
    pub sysctls: BTreeMap<String, String>,
    /// The OCI runtime to use: `ebb`, or a path.
    pub runtime: String,
    pub init: bool,
    /// Bytes; 0 is no limit of the user's.
    pub memory: i64,
    pub memory_swap: i64,
    #[serde(rename = "NanoCpus")]
    pub nano_cpus: i64,
    pub cpu_shares: i64,
    /// Microseconds, as `cpu_quota`; 0 is the kernel's.
    pub cpu_period: i64,
    pub cpu_quota: i64,
    pub cpuset_cpus: String,
    pub cpuset_mems: String,
    /// Bytes that the kernel leaves to the container as long as it can.
    pub memory_reservation: i64,
    /// 0 to 100.
    pub memory_swappiness: Option<i64>,
    pub oom_kill_disable: bool,
    pub pids_limit: Option<i64>,
    /// 10 to 1000; 0 is the kernel's.
    pub blkio_weight: u16,
    pub blkio_weight_device: Vec<DeviceLimit>,
    pub blkio_device_read_bps: Vec<DeviceLimit>,
    pub blkio_device_write_bps: Vec<DeviceLimit>,
    #[serde(rename = "BlkioDeviceReadIOps")]
    pub blkio_device_read_iops: Vec<DeviceLimit>,
    #[serde(rename = "BlkioDeviceWriteIOps")]
    pub blkio_device_write_iops: Vec<DeviceLimit>,
    /// The cgroup in which the container's is made; empty is Ebb's own.
    pub cgroup_parent: String,
    pub ulimits: Vec<Ulimit>,
    pub devices: Vec<String>,
    /// `c 1:3 rwm`, as given.
    pub device_cgroup_rules: Vec<String>,
}

/// `/dev/sda:1mb`: a block device of the host's, and bytes or operations a second, or a weight.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeviceLimit {
    pub path: String,
    pub rate: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct LogConfig {
    /// `json-file` or `none`.
    #[serde(rename = "Type")]
    pub kind: String,
    pub config: BTreeMap<String, String>,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig { kind: "json-file".into(), config: BTreeMap::new() }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RestartPolicy {
    /// `no`, `always`, `unless-stopped`, `on-failure`.
    pub name: String,
    pub maximum_retry_count: u32,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        RestartPolicy { name: "no".into(), maximum_retry_count: 0 }
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Ulimit {
    pub name: String,
    pub soft: i64,
    pub hard: i64,
}

/// One mount of the container; the first eight keys are Docker's, and `inspect` shows only those.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MountPoint {
    /// `volume`, `bind` or `tmpfs`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// The volume's name; empty for others.
    pub name: String,
    /// The host path.
    pub source: String,
    /// Where a bind's source led when the container was created, with no link on the way; empty in a record of an Ebb that
    /// kept none (mounts/sources.rs).
    pub true_path: String,
    pub destination: String,
    pub driver: String,
    pub mode: String,
    #[serde(rename = "RW")]
    pub rw: bool,
    pub propagation: String,
    /// The user gave no name: goes with `rm -v` and `--rm`.
    pub anonymous: bool,
    /// A directory of the host's that is missing is made, be it before the hundredth start.
    pub make_source: bool,
    /// Copy-up was switched off.
    pub no_copy: bool,
    /// Bind without the mounts below it.
    pub non_recursive: bool,
    /// The mounts below a read-only bind stay writable.
    pub writable_below: bool,
    /// What of the volume is mounted, relative to it; empty is all of it.
    pub subpath: String,
    /// mount(8) options of a tmpfs.
    pub tmpfs_options: Vec<String>,
    /// `:U`: its files were given to the container's user when the container was created.
    pub chowned: bool,
    /// `:idmap`: what the container's user writes there belongs to the directory's owner.
    pub id_mapped: bool,
    /// The volume's options (`type`, `o`, `device`, `size`), which cannot change while it is used.
    pub driver_options: BTreeMap<String, String>,
}

impl MountPoint {
    /// What is opened of a bind: its true path.
    pub fn path(&self) -> &std::path::Path {
        std::path::Path::new(if self.true_path.is_empty() { &self.source } else { &self.true_path })
    }
}

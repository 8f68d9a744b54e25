//! The options that `run` and `create` share, and what the engine is asked for in their words.

use super::resources::{Changeable, Settled};
use super::values;
use crate::engine::container::create::{Health, Request};
use crate::engine::container::limits;
use crate::engine::container::record::{HostConfig, LogConfig, Ulimit};
use crate::engine::container::security;
use crate::engine::idmap;
use crate::engine::image::Pull;
use crate::engine::mounts;
use crate::error::{Error, Kind, Result};
use crate::progress;
use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Add a custom host-to-IP mapping (host:ip)
    #[arg(long, value_name = "list")]
    add_host: Vec<String>,
    /// Add Linux capabilities
    #[arg(long, value_name = "list")]
    cap_add: Vec<String>,
    /// Drop Linux capabilities
    #[arg(long, value_name = "list")]
    cap_drop: Vec<String>,
    /// Add an annotation to the container (passed through to the OCI runtime)
    #[arg(long, value_name = "map", value_parser = values::annotation)]
    annotation: Vec<(String, String)>,
    /// Cgroup namespace to use (host|private)
    #[arg(long, value_name = "string", value_parser = ["host", "private"])]
    cgroupns: Option<String>,
    /// Write the container ID to the file
    #[arg(long, value_name = "string")]
    cidfile: Option<PathBuf>,
    /// Add a host device to the container
    #[arg(long, value_name = "list")]
    device: Vec<String>,
    /// Set custom DNS servers
    #[arg(long, value_name = "list", value_parser = values::address)]
    dns: Vec<String>,
    /// Set DNS options
    #[arg(long, visible_alias = "dns-opt", value_name = "list")]
    dns_option: Vec<String>,
    /// Set custom DNS search domains
    #[arg(long, value_name = "list", value_parser = values::search_domain)]
    dns_search: Vec<String>,
    /// Container NIS domain name
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    domainname: String,
    /// Overwrite the default ENTRYPOINT of the image
    #[arg(long, value_name = "string")]
    entrypoint: Option<String>,
    /// Set environment variables
    #[arg(short, long, value_name = "list", value_parser = values::variable)]
    env: Vec<String>,
    /// Read in a file of environment variables
    #[arg(long, value_name = "list")]
    env_file: Vec<PathBuf>,
    /// Expose a port or a range of ports
    #[arg(long, value_name = "list")]
    expose: Vec<String>,
    /// GPU devices to add to the container ('all' to pass all GPUs)
    #[arg(long, value_name = "gpu-request")]
    gpus: Option<String>,
    /// Add additional groups to join
    #[arg(long, value_name = "list")]
    group_add: Vec<String>,
    /// Command to run to check health
    #[arg(long, value_name = "string")]
    health_cmd: Option<String>,
    /// Time between running the check (ms|s|m|h)
    #[arg(long, value_name = "duration", value_parser = values::duration)]
    health_interval: Option<i64>,
    /// Consecutive failures needed to report unhealthy
    #[arg(long, value_name = "int")]
    health_retries: Option<u32>,
    /// Start period for the container to initialize before counting retries (ms|s|m|h)
    #[arg(long, value_name = "duration", value_parser = values::duration)]
    health_start_period: Option<i64>,
    /// Maximum time to allow one check to run (ms|s|m|h)
    #[arg(long, value_name = "duration", value_parser = values::duration)]
    health_timeout: Option<i64>,
    /// Container host name
    #[arg(short = 'h', long, value_name = "string")]
    hostname: Option<String>,
    /// Print usage
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// Run an init inside the container that forwards signals and reaps processes
    #[arg(long)]
    init: bool,
    /// Keep STDIN open even if not attached
    #[arg(short, long)]
    interactive: bool,
    /// IPC mode to use (private|host)
    #[arg(long, value_name = "string", value_parser = ["private", "host", "shareable", "none"])]
    ipc: Option<String>,
    /// Set meta data on a container
    #[arg(short, long, value_name = "list", value_parser = values::label)]
    label: Vec<String>,
    /// Read in a line delimited file of labels
    #[arg(long, value_name = "list")]
    label_file: Vec<PathBuf>,
    /// Logging driver for the container (json-file|none)
    #[arg(long, value_name = "string", default_value = "json-file", hide_default_value = true)]
    log_driver: String,
    /// Log driver options (max-size, max-file)
    #[arg(long, value_name = "list")]
    log_opt: Vec<String>,
    /// Attach a filesystem mount to the container (type=volume|bind|tmpfs,source=…,target=…,readonly,…)
    #[arg(long, value_name = "mount")]
    mount: Vec<String>,
    /// Assign a name to the container
    #[arg(long, value_name = "string")]
    name: Option<String>,
    /// Connect a container to a network (none|host)
    #[arg(long, value_name = "network", visible_alias = "net", default_value = "none", hide_default_value = true)]
    network: String,
    /// Disable any container-specified HEALTHCHECK
    #[arg(long)]
    no_healthcheck: bool,
    /// Tune host's OOM preferences (-1000 to 1000)
    #[arg(long, value_name = "int", default_value_t = 0, hide_default_value = true, allow_hyphen_values = true,
          value_parser = clap::value_parser!(i32).range(-1000..=1000))]
    oom_score_adj: i32,
    /// PID namespace to use (host|container:NAME)
    #[arg(long, value_name = "string")]
    pid: Option<String>,
    /// Set platform; only this machine's
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    /// Give extended privileges to this container
    #[arg(long)]
    privileged: bool,
    /// Publish a container's port(s) to the host
    #[arg(short, long, value_name = "list")]
    publish: Vec<String>,
    /// Publish all exposed ports to random ports
    #[arg(short = 'P', long)]
    publish_all: bool,
    /// Make the image before running (always|missing|never)
    #[arg(long, value_name = "string", value_enum)]
    pull: Option<Pull>,
    /// Suppress the pull output
    #[arg(short, long)]
    quiet: bool,
    /// Mount the container's root filesystem as read only
    #[arg(long)]
    read_only: bool,
    /// Restart policy to apply when a container exits
    #[arg(long, value_name = "string", default_value = "no", hide_default_value = true)]
    restart: String,
    /// Automatically remove the container and its anonymous volumes when it exits
    #[arg(long)]
    rm: bool,
    /// OCI runtime to use for this container: a path or a name
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    runtime: String,
    /// Security options (seccomp=FILE|unconfined, no-new-privileges[:bool])
    #[arg(long, value_name = "list")]
    security_opt: Vec<String>,
    /// Size of /dev/shm
    #[arg(long, value_name = "bytes", allow_hyphen_values = true, value_parser = values::size)]
    shm_size: Option<i64>,
    /// Signal to stop the container
    #[arg(long, value_name = "string")]
    stop_signal: Option<String>,
    /// Timeout (in seconds) to stop a container
    #[arg(long, value_name = "int", allow_hyphen_values = true)]
    stop_timeout: Option<i64>,
    /// Storage driver options for the container
    #[arg(long, value_name = "list")]
    storage_opt: Vec<String>,
    /// Sysctl options
    #[arg(long, value_name = "map")]
    sysctl: Vec<String>,
    /// Mount a tmpfs directory (PATH[:size=64m,mode=1777,exec,…])
    #[arg(long, value_name = "list")]
    tmpfs: Vec<String>,
    /// Allocate a pseudo-TTY
    #[arg(short, long)]
    tty: bool,
    /// Ulimit options
    #[arg(long, value_name = "ulimit", value_parser = values::ulimit)]
    ulimit: Vec<Ulimit>,
    /// Username or UID (format: <name|uid>[:<group|gid>])
    #[arg(short, long, value_name = "string")]
    user: Option<String>,
    /// User namespace to use (host|keep-id[:uid=UID,gid=GID])
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    userns: String,
    /// UTS namespace to use (host)
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    uts: String,
    /// Mount a volume or a host directory ([SOURCE:]PATH[:ro,nocopy,…])
    #[arg(short, long, value_name = "list")]
    volume: Vec<String>,
    /// Optional volume driver for the container; only local
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    volume_driver: String,
    /// Mount volumes from the specified container(s) (NAME[:ro])
    #[arg(long, value_name = "list")]
    volumes_from: Vec<String>,
    /// Working directory inside the container
    #[arg(short, long, value_name = "string")]
    workdir: Option<String>,
    #[command(flatten)]
    limits: Changeable,
    #[command(flatten)]
    settled: Settled,
    /// The image; after it everything belongs to the command
    #[arg(value_names = ["IMAGE", "COMMAND"], required = true, num_args = 1.., trailing_var_arg = true)]
    words: Vec<String>,
}

impl Options {
    pub fn tty(&self) -> bool {
        self.tty
    }

    pub fn interactive(&self) -> bool {
        self.interactive
    }

    /// What the engine is to make.
    pub fn request(self, detached: bool) -> Result<Request> {
        self.refuse_what_is_not_yet()?;
        if self.quiet {
            progress::keep_quiet();
        }
        let env = values::environment(&self.env_file, &self.env)?;
        let mut labels = BTreeMap::new();
        for file in &self.label_file {
            labels.extend(values::lines(file)?.iter().map(|line| values::pair(line)));
        }
        labels.extend(self.label.iter().map(|label| values::pair(label)));
        let requests = values::mounts(&self.volume, &self.mount, &self.tmpfs)?;
        let host = self.host_config(&requests)?;
        let health = Health {
            command: self.health_cmd,
            interval: self.health_interval,
            timeout: self.health_timeout,
            start_period: self.health_start_period,
            retries: self.health_retries,
            none: self.no_healthcheck,
        };
        let mut words = self.words.into_iter();
        let image = words.next().ok_or_else(|| Error::of(Kind::Usage, "no image"))?;
        Ok(Request {
            image,
            pull: self.pull,
            name: self.name,
            command: words.collect(),
            entrypoint: self.entrypoint,
            env,
            labels,
            user: self.user,
            workdir: self.workdir,
            hostname: self.hostname.filter(|name| !name.is_empty()),
            domainname: self.domainname,
            stop_signal: self.stop_signal,
            stop_timeout: self.stop_timeout,
            health,
            expose: values::exposed(&self.expose)?,
            tty: self.tty,
            interactive: self.interactive,
            detached,
            host,
            mounts: requests,
            cidfile: self.cidfile,
        })
    }

    /// What decides whether the container's root is the host's; the same as in [`Options::request`].
    pub fn sharing(&self) -> HostConfig {
        HostConfig {
            network_mode: self.network.clone(),
            pid_mode: self.pid.clone().unwrap_or_default(),
            ipc_mode: self.ipc.clone().unwrap_or_default(),
            userns_mode: self.userns.clone(),
            privileged: self.privileged,
            runtime: if self.runtime == "ebb" { String::new() } else { self.runtime.clone() },
            ..HostConfig::default()
        }
    }

    /// What belongs to later issues is refused with a sentence that says so, never ignored.
    fn refuse_what_is_not_yet(&self) -> Result<()> {
        if !self.publish.is_empty() || self.publish_all {
            return Err(Error::new("publishing ports (-p, -P) comes with Ebb's networks, which are not here yet")
                .with_cure("--network host shows the container's ports on the host as they are"));
        }
        match self.network.as_str() {
            "none" | "host" => {}
            other => {
                return Err(Error::new(format!("network {other} not found: Ebb has none and host, more come later")));
            }
        }
        if self.gpus.is_some() {
            return Err(Error::new("--gpus: could not select device driver \"\" with capabilities: [[gpu]]")
                .with_cure("Ebb knows no vendor's driver; --device shows a container single devices, such as /dev/dri/renderD128"));
        }
        if !self.storage_opt.is_empty() {
            return Err(Error::new("--storage-opt is supported only for overlay over xfs with 'pquota' mount option")
                .with_cure("`ebb volume create -o size=1g NAME` makes a volume of a limited size, --tmpfs PATH:size=64m a directory"));
        }
        if !matches!(self.volume_driver.as_str(), "" | "local") {
            return Err(mounts::unknown_driver(&self.volume_driver));
        }
        idmap::keep_id(&self.userns)?;
        match self.uts.as_str() {
            "" | "host" => Ok(()),
            _ => Err(Error::new("--uts: invalid UTS mode")),
        }
    }

    fn host_config(&self, requests: &[mounts::Request]) -> Result<HostConfig> {
        let pid_mode = self.pid.clone().unwrap_or_default();
        if !matches!(pid_mode.as_str(), "" | "host" | "private") && !pid_mode.starts_with("container:") {
            return Err(Error::new("--pid: invalid PID mode"));
        }
        let option = |text: &String| text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
        let log_options: Option<BTreeMap<_, _>> = self.log_opt.iter().map(option).collect();
        let sysctls: Option<BTreeMap<_, _>> = self.sysctl.iter().map(option).collect();
        let sysctls = sysctls.ok_or_else(|| Error::new("invalid argument for --sysctl: it is name=value"))?;
        values::check_sysctls(&sysctls, &self.network, self.ipc.as_deref().unwrap_or_default())?;
        let mut host = HostConfig {
            binds: requests[..self.volume.len()].iter().filter_map(values::bind_text).collect(),
            container_id_file: self.cidfile.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
            log_config: LogConfig {
                kind: self.log_driver.clone(),
                config: log_options.ok_or_else(|| Error::new("invalid logging opts format: it is key=value"))?,
            },
            network_mode: self.network.clone(),
            restart_policy: limits::restart_policy(&self.restart)?,
            auto_remove: self.rm,
            cap_add: self.cap_add.clone(),
            cap_drop: self.cap_drop.clone(),
            cgroupns_mode: self
                .cgroupns
                .clone()
                .unwrap_or_else(|| if self.privileged { "host" } else { "private" }.into()),
            dns: self.dns.clone(),
            dns_options: self.dns_option.clone(),
            dns_search: self.dns_search.clone(),
            annotations: self.annotation.iter().cloned().collect(),
            extra_hosts: self.add_host.clone(),
            group_add: self.group_add.clone(),
            ipc_mode: self.ipc.clone().unwrap_or_else(|| "private".into()),
            oom_score_adj: self.oom_score_adj,
            pid_mode,
            privileged: self.privileged,
            readonly_rootfs: self.read_only,
            security_opt: security::with_profiles(&self.security_opt)?,
            tmpfs: requests[requests.len() - self.tmpfs.len()..]
                .iter()
                .map(|one| (one.target.clone(), one.tmpfs_options.join(",")))
                .collect(),
            mounts: requests[self.volume.len()..][..self.mount.len()].iter().map(mounts::to_api).collect(),
            volumes_from: self.volumes_from.clone(),
            volume_driver: self.volume_driver.clone(),
            uts_mode: self.uts.clone(),
            userns_mode: self.userns.clone(),
            shm_size: self.shm_size.filter(|size| *size > 0).unwrap_or(64 << 20),
            sysctls,
            runtime: if self.runtime == "ebb" { String::new() } else { self.runtime.clone() },
            init: self.init,
            ulimits: self.ulimit.clone(),
            devices: self.device.clone(),
            ..HostConfig::default()
        };
        self.limits.changes()?.lay_over(&mut host);
        self.settled.settle(&mut host);
        Ok(host)
    }
}

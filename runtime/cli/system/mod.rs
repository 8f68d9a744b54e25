//! version, info, df, prune; what makes completions and man pages stands in manual.rs.

use super::format::{template, units};
use super::{Execute, globals, output, store};
use crate::engine::{check, host};
use crate::error::Result;
use crate::oci::features;
use crate::store::Store;
use serde_json::{Value, json};

mod df;
mod prune;

pub use super::manual::{Completions, Man};
pub use df::Df;
pub use prune::Prune;

/// Display what this machine offers to containers, and what it does not
#[derive(Debug, clap::Parser)]
#[command(after_help = "\
Examples:
  ebb info
  ebb info -f '{{.CgroupVersion}} {{json .Limits}}'")]
pub struct Info {
    /// Format output: 'json', or a Go template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
}

impl Execute for Info {
    fn execute(self) -> Result<i32> {
        let facts = host::facts(&store()?)?;
        match self.format.as_deref() {
            Some(format) => formatted(format, &facts)?,
            None => {
                output::bytes(told(&facts).as_bytes())?;
                for warning in facts["Warnings"].as_array().into_iter().flatten() {
                    eprintln!("WARNING: {}", text(warning));
                }
            }
        }
        Ok(0)
    }
}

/// Check that the store is sound
#[derive(Debug, clap::Parser)]
#[command(after_help = "\
Examples:
  ebb system check
  ebb system check --repair     mends what can be mended; what cannot be read is moved to STORE/set-apart")]
pub struct Check {
    /// Mend what can be mended without losing anything
    #[arg(long)]
    repair: bool,
    /// Format output: 'json', or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
}

impl Execute for Check {
    fn execute(self) -> Result<i32> {
        let store = Store::open_to_check(globals().root.as_deref())?;
        let report = check::check(&store, self.repair)?;
        let code = i32::from(!report.is_sound());
        if let Some(format) = self.format.as_deref() {
            formatted(format, &json!(report))?;
            return Ok(code);
        }
        for finding in &report.findings {
            let mark = if finding.harmless { " (harmless)" } else { "" };
            let done = if finding.repaired.is_empty() { String::new() } else { format!("; {}", finding.repaired) };
            let next = if finding.next.is_empty() { String::new() } else { format!("; next: {}", finding.next) };
            let line = format!("{} {}: {}{mark}{done}{next}", finding.kind, finding.what, finding.wrong);
            output::line(&output::printable(&line))?;
        }
        let counted =
            format!("{} containers, {} volumes, {} images: ", report.containers, report.volumes, report.images);
        output::line(&(counted + if code == 0 { "sound" } else { "not sound" }))?;
        Ok(code)
    }
}

/// `json`, or a template; a newline ends both.
fn formatted(format: &str, value: &Value) -> Result<()> {
    match format {
        "json" => output::line(&value.to_string()),
        template => output::line(&template::render(template, value)?),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// Docker's layout, without its two halves: Ebb is one program.
fn told(facts: &Value) -> String {
    let fact = |key: &str| text(&facts[key]);
    let mut lines = vec![
        format!("Containers: {}", fact("Containers")),
        format!(" Running: {}", fact("ContainersRunning")),
        format!(" Paused: {}", fact("ContainersPaused")),
        format!(" Stopped: {}", fact("ContainersStopped")),
        format!("Images: {}", fact("Images")),
        format!("Version: {} (no server: every container has a supervisor of its own)", fact("ServerVersion")),
        format!("Storage Root: {}", fact("DockerRootDir")),
        format!("Storage Driver: {}", fact("Driver")),
    ];
    for pair in facts["DriverStatus"].as_array().into_iter().flatten() {
        lines.push(format!(" {}: {}", text(&pair[0]), text(&pair[1])));
    }
    lines.push(format!("Logging Driver: {}", fact("LoggingDriver")));
    let plugins = |kind: &str| text(&facts["Plugins"][kind]);
    lines.push(format!("Plugins:\n Volume: {}\n Network: {}", plugins("Volume"), plugins("Network")));
    lines.push(format!(" Log: {}", plugins("Log")));
    lines.push(match fact("CgroupVersion").as_str() {
        "" => "Cgroup Version: none that you may use".to_owned(),
        version => format!("Cgroup Version: {version}\n Limits: {}", fact("Limits")),
    });
    lines.push(format!("Rootless: {}", fact("Rootless")));
    lines.push(format!(" User Namespaces: {}", fact("UserNamespaces")));
    lines.push(format!(" Ids of a Container: {}", facts["SubordinateIds"].as_u64().unwrap_or(0).max(1)));
    lines.push(format!(" Id-mapped Mounts: {}", fact("IdMappedMounts")));
    lines.push("Security Options:".to_owned());
    for option in facts["SecurityOptions"].as_array().into_iter().flatten() {
        let option = text(option);
        let (name, profile) =
            option.trim_start_matches("name=").split_once(',').unwrap_or((option.trim_start_matches("name="), ""));
        lines.push(format!(" {name}"));
        if let Some(profile) = profile.strip_prefix("profile=") {
            lines.push(format!("  Profile: {profile}"));
        }
    }
    lines.push(format!("Kernel Version: {}", fact("KernelVersion")));
    let (minimum, as_root) = (fact("KernelMinimum"), fact("KernelMinimumAsRoot"));
    lines.push(format!(" Minimum: {minimum} (as root {as_root}, or --userns host)"));
    lines.push(format!("Operating System: {}", fact("OperatingSystem")));
    lines.push(format!("OSType: {}", fact("OSType")));
    lines.push(format!("Architecture: {}", fact("Architecture")));
    lines.push(format!("CPUs: {}", fact("NCPU")));
    lines.push(format!("Total Memory: {}", units::memory_size(facts["MemTotal"].as_u64().unwrap_or(0))));
    lines.push(format!("Name: {}", fact("Name")));
    lines.join("\n") + "\n"
}

/// Show the version of Ebb, and of what it follows
#[derive(Debug, clap::Parser)]
#[command(after_help = "\
Examples:
  ebb version
  ebb version -f '{{.Client.Version}}'")]
pub struct Version {
    /// Format output: 'json', or a Go template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
}

impl Execute for Version {
    fn execute(self) -> Result<i32> {
        let kernel =
            nix::sys::utsname::uname().map(|uts| uts.release().to_string_lossy().into_owned()).unwrap_or_default();
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let version = env!("CARGO_PKG_VERSION");
        let told = json!({
            "Client": {"Version": version, "Os": "linux", "Arch": arch},
            "Server": {"Version": version, "Os": "linux", "Arch": arch, "KernelVersion": kernel, "OciVersion": features::OCI_VERSION},
        });
        if let Some(format) = self.format.as_deref() {
            formatted(format, &told)?;
            return Ok(0);
        }
        let lines = format!(
            "Client: Ebb\n Version:           {version}\n OS/Arch:           linux/{arch}\n\n\
             Server: none; every container has a supervisor of its own\n Kernel:            {kernel}\n \
             OCI runtime:       {}",
            features::OCI_VERSION
        );
        output::line(&lines)?;
        Ok(0)
    }
}

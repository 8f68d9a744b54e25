//! What `inspect` says of a container: Docker's tree, built from the record, the state and the bundle.

use super::record::{Config, Container, DeviceLimit, HostConfig, MountPoint};
use super::state::{self, State, Status};
use super::{dir, log, size};
use crate::engine::{image, time};
use crate::error::Result;
use crate::store::{Store, atomic};
use serde_json::{Map, Value, json};
use std::path::Path;

/// The whole tree. With `sizes`, what the container has written is measured too.
pub fn inspect(store: &Store, container: &Container, sizes: bool) -> Result<Value> {
    let place = dir(store, &container.id);
    let file = |name: &str| place.join(name).display().to_string();
    let state = state::current(store, container)?;
    let log_path =
        if container.host_config.log_config.kind == "none" { String::new() } else { show(&log::path(&place)) };
    let mut tree = json!({
        "Id": container.id,
        "Created": container.created,
        "Path": container.path,
        "Args": container.args,
        "State": of_state(&state),
        "Image": container.image,
        "ResolvConfPath": file("resolv.conf"),
        "HostnamePath": file("hostname"),
        "HostsPath": file("hosts"),
        "LogPath": log_path,
        "Name": format!("/{}", container.name),
        "RestartCount": state.restart_count,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": null,
        "HostConfig": of_host_config(&container.host_config, &place),
        "GraphDriver": of_graph_driver(store, container, &state),
    });
    if sizes {
        let written = size::written(store, container)?;
        let image = image::find(store, &container.image).map_or(0, |image| image.size);
        tree["SizeRw"] = written.into();
        tree["SizeRootFs"] = (written + image).into();
    }
    let tmpfs = &container.host_config.tmpfs;
    let mounts = container.mounts.iter().filter(|mount| !tmpfs.contains_key(&mount.destination));
    tree["Mounts"] = mounts.map(of_mount).collect();
    tree["Config"] = of_config(&container.config, &container.image_name);
    tree["NetworkSettings"] = of_network(container, &state);
    Ok(tree)
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

fn of_state(state: &State) -> Value {
    let is_up = state.is_running() || state.status == Status::Restarting;
    let mut tree = json!({
        "Status": state.status.word(),
        "Running": is_up,
        "Paused": state.status == Status::Paused,
        "Restarting": state.status == Status::Restarting,
        "OOMKilled": state.oom_killed,
        "Dead": state.status == Status::Dead,
        "Pid": if state.is_running() { state.init.pid } else { 0 },
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": or_never(&state.started_at),
        "FinishedAt": or_never(&state.finished_at),
    });
    if let Some(health) = &state.health {
        tree["Health"] = json!(health);
    }
    tree
}

fn or_never(time: &str) -> &str {
    if time.is_empty() { time::NEVER } else { time }
}

/// Docker has null where nothing was given.
fn or_null<T: serde::Serialize>(list: &[T]) -> Value {
    if list.is_empty() { Value::Null } else { json!(list) }
}

fn of_host_config(config: &HostConfig, place: &Path) -> Value {
    // Masked and read-only paths are decided when the bundle is written, at the first start.
    let bundle: Value = atomic::read_json(&place.join("config.json")).unwrap_or_default();
    let mut tree = json!({
        "Binds": or_null(&config.binds),
        "ContainerIDFile": config.container_id_file,
        "LogConfig": config.log_config,
        "NetworkMode": config.network_mode,
        "PortBindings": {},
        "RestartPolicy": config.restart_policy,
        "AutoRemove": config.auto_remove,
        "VolumeDriver": config.volume_driver,
        "VolumesFrom": or_null(&config.volumes_from),
        "CapAdd": or_null(&config.cap_add),
        "CapDrop": or_null(&config.cap_drop),
        "CgroupnsMode": config.cgroupns_mode,
        "Dns": config.dns,
        "DnsOptions": config.dns_options,
        "DnsSearch": config.dns_search,
        "ExtraHosts": or_null(&config.extra_hosts),
        "GroupAdd": or_null(&config.group_add),
        "IpcMode": config.ipc_mode,
        "Cgroup": "",
        "Links": null,
        "OomScoreAdj": config.oom_score_adj,
        "PidMode": config.pid_mode,
        "Privileged": config.privileged,
        "PublishAllPorts": false,
        "ReadonlyRootfs": config.readonly_rootfs,
        "SecurityOpt": or_null(&config.security_opt),
    });
    if !config.tmpfs.is_empty() {
        tree["Tmpfs"] = json!(config.tmpfs);
    }
    if !config.mounts.is_empty() {
        tree["Mounts"] = json!(config.mounts);
    }
    if !config.annotations.is_empty() {
        tree["Annotations"] = json!(config.annotations);
    }
    tree["UTSMode"] = json!(config.uts_mode);
    // Where the kernel cannot map the mounts, root's containers have the host's ids, unasked.
    let namespaces = bundle.pointer("/linux/namespaces").and_then(Value::as_array);
    let has_users = namespaces.is_none_or(|all| all.iter().any(|namespace| namespace["type"] == "user"));
    tree["UsernsMode"] = json!(if has_users { &config.userns_mode } else { "host" });
    tree["ShmSize"] = json!(config.shm_size);
    if !config.sysctls.is_empty() {
        tree["Sysctls"] = json!(config.sysctls);
    }
    append(&mut tree, of_limits(config, &bundle));
    if config.init {
        tree["Init"] = json!(true);
    }
    tree
}

/// What it may take of the machine.
fn of_limits(config: &HostConfig, bundle: &Value) -> Value {
    json!({
        "Runtime": if config.runtime.is_empty() { "ebb" } else { &config.runtime },
        "CpuShares": config.cpu_shares,
        "Memory": config.memory,
        "NanoCpus": config.nano_cpus,
        "CgroupParent": config.cgroup_parent,
        "BlkioWeight": config.blkio_weight,
        "BlkioWeightDevice": of_rates(&config.blkio_weight_device, "Weight"),
        "BlkioDeviceReadBps": of_rates(&config.blkio_device_read_bps, "Rate"),
        "BlkioDeviceWriteBps": of_rates(&config.blkio_device_write_bps, "Rate"),
        "BlkioDeviceReadIOps": of_rates(&config.blkio_device_read_iops, "Rate"),
        "BlkioDeviceWriteIOps": of_rates(&config.blkio_device_write_iops, "Rate"),
        "CpuPeriod": config.cpu_period,
        "CpuQuota": config.cpu_quota,
        "CpusetCpus": config.cpuset_cpus,
        "CpusetMems": config.cpuset_mems,
        "Devices": config.devices.iter().map(|device| of_device(device)).collect::<Vec<_>>(),
        "DeviceCgroupRules": or_null(&config.device_cgroup_rules),
        "MemoryReservation": config.memory_reservation,
        "MemorySwap": config.memory_swap,
        "MemorySwappiness": config.memory_swappiness,
        "OomKillDisable": config.oom_kill_disable,
        "PidsLimit": config.pids_limit,
        "Ulimits": or_null(&config.ulimits),
        "MaskedPaths": bundle.pointer("/linux/maskedPaths").cloned().unwrap_or_default(),
        "ReadonlyPaths": bundle.pointer("/linux/readonlyPaths").cloned().unwrap_or_default(),
    })
}

fn append(tree: &mut Value, rest: Value) {
    if let (Value::Object(tree), Value::Object(rest)) = (tree, rest) {
        tree.extend(rest);
    }
}

/// `[{"Path": "/dev/sda", "Rate": 1048576}]`
fn of_rates(limits: &[DeviceLimit], key: &str) -> Value {
    limits.iter().map(|limit| json!({"Path": limit.path, key: limit.rate})).collect()
}

/// `/dev/x[:/dev/y[:rwm]]`, as `--device` takes it.
fn of_device(device: &str) -> Value {
    let mut parts = device.split(':');
    let outside = parts.next().unwrap_or_default();
    json!({
        "PathOnHost": outside,
        "PathInContainer": parts.next().unwrap_or(outside),
        "CgroupPermissions": parts.next().unwrap_or("rwm"),
    })
}

/// Where the layers lie. The merged view exists only inside the container, so while it runs the way there is its root.
fn of_graph_driver(store: &Store, container: &Container, state: &State) -> Value {
    let place = dir(store, &container.id);
    let layers = store.images().join("layers");
    let lower: Vec<_> = container.layers.iter().rev().map(|name| show(&layers.join(name))).collect();
    let merged = match state.is_running() {
        true => format!("/proc/{}/root", state.init.pid),
        false => show(&place.join("rootfs")),
    };
    json!({
        "Data": {
            "LowerDir": lower.join(":"),
            "MergedDir": merged,
            "UpperDir": show(&place.join("upper")),
            "WorkDir": show(&place.join("work")),
        },
        "Name": "overlay2",
    })
}

fn of_mount(mount: &MountPoint) -> Value {
    let mut tree = Map::new();
    tree.insert("Type".into(), json!(mount.kind));
    if !mount.name.is_empty() {
        tree.insert("Name".into(), json!(mount.name));
    }
    tree.insert("Source".into(), json!(mount.source));
    tree.insert("Destination".into(), json!(mount.destination));
    if !mount.driver.is_empty() {
        tree.insert("Driver".into(), json!(mount.driver));
    }
    tree.insert("Mode".into(), json!(mount.mode));
    tree.insert("RW".into(), json!(mount.rw));
    tree.insert("Propagation".into(), json!(mount.propagation));
    Value::Object(tree)
}

fn of_config(config: &Config, image_name: &str) -> Value {
    let image = &config.image;
    let mut tree = json!({
        "Hostname": config.hostname,
        "Domainname": config.domainname,
        "User": image.user,
        "AttachStdin": config.attach_stdin,
        "AttachStdout": config.attach_stdout,
        "AttachStderr": config.attach_stderr,
    });
    if !image.exposed_ports.is_empty() {
        tree["ExposedPorts"] = json!(image.exposed_ports);
    }
    let rest = json!({
        "Tty": config.tty,
        "OpenStdin": config.open_stdin,
        "StdinOnce": config.open_stdin && config.attach_stdin,
        "Env": image.env,
        "Cmd": image.cmd,
    });
    append(&mut tree, rest);
    if let Some(check) = &image.healthcheck {
        tree["Healthcheck"] = json!(check);
    }
    let rest = json!({
        "Image": image_name,
        "Volumes": if image.volumes.is_empty() { Value::Null } else { json!(image.volumes) },
        "WorkingDir": image.working_dir,
        "Entrypoint": image.entrypoint,
        "OnBuild": null,
        "Labels": image.labels,
    });
    append(&mut tree, rest);
    if !image.stop_signal.is_empty() {
        tree["StopSignal"] = json!(image.stop_signal);
    }
    if let Some(seconds) = config.stop_timeout {
        tree["StopTimeout"] = json!(seconds);
    }
    tree
}

/// A container has the loopback of its own (`none`) or the host's network (`host`): no address to tell.
fn of_network(container: &Container, state: &State) -> Value {
    let address = json!({
        "EndpointID": "",
        "Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "IPAddress": "",
        "IPPrefixLen": 0,
        "IPv6Gateway": "",
        "MacAddress": "",
    });
    let mut network = json!({"IPAMConfig": null, "Links": null, "Aliases": null});
    append(&mut network, address.clone());
    let mut tree = json!({
        "Ports": {},
        "SandboxKey": if state.is_running() { format!("/proc/{}/ns/net", state.init.pid) } else { String::new() },
    });
    append(&mut tree, address);
    tree["Networks"] = json!({ container.host_config.network_mode.clone(): network });
    tree
}

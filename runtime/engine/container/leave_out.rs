//! `--without STEP`: the bundle, with one isolating step left out, so that a learner sees what that step was for.
//!
//! A step that stands between the container and the host is left out only inside a user namespace, where the kernel
//! still holds root down to ids that own nothing outside. Without one it is refused.

use super::record::Container;
use crate::engine::idmap::{self, StoreIds};
use crate::error::{Doing, Error, Result};
use crate::explain::without::{Step, leaves_out, left_out};
use crate::oci::{self, View};
use crate::store::{Store, beneath, copy};
use oci_spec::runtime::{Capability, LinuxCapabilitiesBuilder, LinuxNamespaceType as Type, MountBuilder, Spec};
use std::collections::HashSet;
use std::path::Path;
use std::str::FromStr;

/// Takes out of `spec` what the command line leaves out; most often nothing.
pub fn apply(spec: &mut Spec, store: &Store, container: &Container) -> Result<()> {
    for step in left_out() {
        refuse_danger(*step, spec)?;
        match step {
            Step::Pid => share_processes(spec)?,
            Step::Net => share_network(spec),
            Step::Mount => remove_namespace(spec, Type::Mount),
            Step::User => share_ids(spec, container)?,
            Step::Seccomp => with_linux(spec, |linux| {
                linux.set_seccomp(None);
            }),
            Step::Capabilities => keep_capabilities(spec)?,
            Step::Masks => with_linux(spec, |linux| {
                linux.set_masked_paths(None).set_readonly_paths(None);
            }),
            Step::Overlay => copy_image(spec, store, container)?,
            Step::PivotRoot => {
                let mut annotations = spec.annotations().clone().unwrap_or_default();
                annotations.insert(oci::CHROOT_ONLY.to_owned(), "true".to_owned());
                spec.set_annotations(Some(annotations));
            }
        }
    }
    Ok(())
}

/// What would harm the host, or other containers, is refused, with the reason.
fn refuse_danger(step: Step, spec: &Spec) -> Result<()> {
    // Judged by all that is left out: in whatever order the steps are named, they go together.
    let has_user_namespace = namespaces(spec).any(|kind| kind == Type::User) && !leaves_out(Step::User);
    let reason = match step {
        Step::PivotRoot => {
            "the container's root would be the host's, and can walk out of a chroot to every file of the host"
        }
        Step::Mount => "every mount of the container would be the host's, for all of its processes, its root included",
        Step::Capabilities => "the container's root would be the host's root, whole",
        Step::Masks => "the container's root could change the host's kernel through /proc and /sys",
        Step::Pid => "the container's root could end every process of the host",
        Step::Net => "the container's root could use every privilege that it has over the host's network",
        Step::User | Step::Seccomp | Step::Overlay => return Ok(()),
    };
    if has_user_namespace {
        return Ok(());
    }
    Err(Error::new(format!("--without {} is refused: {reason}", step.name())).with_cure(
        "it goes where the container has a user namespace: without --privileged, --userns host and --without user",
    ))
}

fn namespaces(spec: &Spec) -> impl Iterator<Item = Type> {
    spec.linux().iter().filter_map(|linux| linux.namespaces().as_ref()).flatten().map(|namespace| namespace.typ())
}

fn with_linux(spec: &mut Spec, change: impl FnOnce(&mut oci_spec::runtime::Linux)) {
    let mut linux = spec.linux().clone().unwrap_or_default();
    change(&mut linux);
    spec.set_linux(Some(linux));
}

fn remove_namespace(spec: &mut Spec, kind: Type) {
    with_linux(spec, |linux| {
        let left = linux.namespaces().iter().flatten().filter(|namespace| namespace.typ() != kind).cloned().collect();
        linux.set_namespaces(Some(left));
    });
}

/// A proc of one's own is only to be had with a pid namespace of one's own: the host's is shown.
fn share_processes(spec: &mut Spec) -> Result<()> {
    remove_namespace(spec, Type::Pid);
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    for mount in mounts.iter_mut().filter(|mount| mount.typ().as_deref() == Some("proc")) {
        let options = ["rbind", "nosuid", "noexec", "nodev"].map(str::to_owned).to_vec();
        let built = MountBuilder::default().destination("/proc").typ("bind").source("/proc").options(options).build();
        *mount = built.doing(|| "describe /proc")?;
    }
    spec.set_mounts(Some(mounts));
    Ok(())
}

/// Settings of the network would be the host's, so those go too.
fn share_network(spec: &mut Spec) {
    remove_namespace(spec, Type::Network);
    with_linux(spec, |linux| {
        let mut sysctls = linux.sysctl().clone().unwrap_or_default();
        sysctls.retain(|name, _| !name.starts_with("net."));
        linux.set_sysctl(Some(sysctls));
    });
}

fn share_ids(spec: &mut Spec, container: &Container) -> Result<()> {
    if idmap::store_ids()? != StoreIds::Host {
        return Err(Error::new(
            "--without user is refused: it is in a user namespace that an ordinary user may make the other namespaces; \
             the kernel answers EPERM without",
        ));
    }
    remove_namespace(spec, Type::User);
    let rules = super::security::device_rules(&container.host_config, false)?;
    with_linux(spec, |linux| {
        let mut resources = linux.resources().clone().unwrap_or_default();
        resources.set_devices(rules);
        linux.set_resources(Some(resources));
        linux.set_uid_mappings(None).set_gid_mappings(None);
    });
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    for mount in &mut mounts {
        mount.set_uid_mappings(None).set_gid_mappings(None);
    }
    spec.set_mounts(Some(mounts));
    Ok(())
}

fn keep_capabilities(spec: &mut Spec) -> Result<()> {
    let names = oci::capabilities::known();
    let all: HashSet<Capability> =
        names.iter().filter_map(|name| Capability::from_str(name.trim_start_matches("CAP_")).ok()).collect();
    let built = LinuxCapabilitiesBuilder::default()
        .bounding(all.clone())
        .effective(all.clone())
        .permitted(all.clone())
        .inheritable(HashSet::new())
        .ambient(HashSet::new())
        .build();
    let mut process = spec.process().clone().unwrap_or_default();
    process.set_capabilities(Some(built.doing(|| "describe the capabilities")?));
    spec.set_process(Some(process));
    Ok(())
}

/// What a runtime must do that has no overlay: copy the whole image into the container's own directory, and run on that.
fn copy_image(spec: &mut Spec, store: &Store, container: &Container) -> Result<()> {
    let upper = super::dir(store, &container.id).join("upper");
    let ids = idmap::store_ids()?;
    let layers = super::layer_paths(store, container);
    oci::within(View::Layers { layers: &layers, ids: ids.map() }, |root| {
        let source = beneath::open(root, Path::new("/"), nix::fcntl::OFlag::O_RDONLY, nix::sys::stat::Mode::empty())
            .doing(|| "open the image's root")?;
        let target = beneath::root(&upper)?;
        copy::tree(&source, &target)
    })
    .doing(|| "copy the image")?;
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    for mount in mounts.iter_mut().filter(|mount| mount.typ().as_deref() == Some("overlay")) {
        mount.set_typ(Some("bind".into())).set_source(Some(upper.clone())).set_options(Some(vec!["bind".into()]));
    }
    spec.set_mounts(Some(mounts));
    Ok(())
}

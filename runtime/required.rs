//! What Ebb needs of a kernel. Nothing is asked beforehand: the question costs nothing when it is put where a call has just been
//! answered with ENOSYS.

use crate::error::{Error, Kind};
use crate::kernel;
use nix::sys::utsname::uname;

/// With a kernel that has all of [`kernel::LATE`], an ordinary user's containers run, and root's with `--userns host`.
pub const MINIMUM: (u32, u32) = (5, 12);

/// Root's containers have ids of their own: overlayfs takes id-mapped layers since this version.
pub const MINIMUM_AS_ROOT: (u32, u32) = (5, 19);

/// Which calls the kernel lacks, as an error; `None` where it lacks none that Ebb needs.
pub fn missing() -> Option<Error> {
    let lacking: Vec<_> = kernel::lacking().collect();
    let mut error = Error::of(Kind::Lacking, told(&lacking, &release())?);
    error.cure = Some(if all_in(&lacking, &release()) {
        "a seccomp filter that ebb runs under withholds it, that of a container around it (docker run --security-opt \
         seccomp=unconfined does without), or of a service"
            .to_owned()
    } else {
        needed()
    });
    Some(error)
}

/// The minimum, in words.
pub fn needed() -> String {
    let ((major, minor), (root_major, root_minor)) = (MINIMUM, MINIMUM_AS_ROOT);
    format!("ebb needs Linux {major}.{minor} or later, and as root {root_major}.{root_minor} or --userns host")
}

/// `uname -r`.
pub fn release() -> String {
    uname().map(|uts| uts.release().to_string_lossy().into_owned()).unwrap_or_default()
}

/// Whether a kernel of this release is at least `version`; one whose release cannot be read is taken for a new one.
pub fn is_at_least(release: &str, version: (u32, u32)) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= version,
        _ => true,
    }
}

fn all_in(lacking: &[(&str, (u32, u32))], release: &str) -> bool {
    lacking.iter().all(|(_, since)| is_at_least(release, *since))
}

fn told(lacking: &[(&str, (u32, u32))], release: &str) -> Option<String> {
    let named: Vec<String> =
        lacking.iter().map(|(name, (major, minor))| format!("{name} (Linux has it since {major}.{minor})")).collect();
    (!named.is_empty()).then(|| format!("this kernel, {release}, does not answer {}", named.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_read_as_two_numbers() {
        assert!(is_at_least("5.12.0-19-generic", (5, 12)));
        assert!(is_at_least("6.1.0-rpi7-rpi-v8", (5, 19)));
        assert!(!is_at_least("5.4.0", (5, 12)));
        assert!(!is_at_least("4.19+", (5, 1)));
        assert!(is_at_least("strange", (5, 12)));
    }

    #[test]
    fn the_sentence_names_each_call_its_version_and_this_kernels() {
        let lacking = [("clone3", (5, 3)), ("openat2", (5, 6))];
        let said =
            "this kernel, 5.1.3, does not answer clone3 (Linux has it since 5.3), openat2 (Linux has it since 5.6)";
        assert_eq!(told(&lacking, "5.1.3").as_deref(), Some(said));
        assert!(!all_in(&lacking, "5.1.3") && all_in(&lacking, "6.1.0"));
        assert_eq!(told(&[], "5.1.3"), None);
    }

    /// The table and the minimum say the same.
    #[test]
    fn the_minimum_has_every_call() {
        assert!(kernel::LATE.iter().all(|(.., since)| *since <= MINIMUM));
        assert!(kernel::LATE.iter().any(|(.., since)| *since == MINIMUM));
    }
}

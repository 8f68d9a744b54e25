//! The environment of a container's process: what Docker sets, then the image's, then the user's.

use super::record::Container;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// `config.env` holds the image's and the user's already laid over each other.
pub fn of(container: &Container, home: &str) -> Vec<String> {
    let mut env = vec![PATH.to_owned(), format!("HOSTNAME={}", container.config.hostname)];
    if container.config.tty {
        env.push("TERM=xterm".to_owned());
    }
    lay_over(&mut env, &container.config.image.env);
    if !env.iter().any(|entry| entry.starts_with("HOME=")) {
        env.push(format!("HOME={home}"));
    }
    env
}

/// `NAME=value` replaces an older NAME where that stands; a bare `NAME` takes it away. An entry of an image that is
/// neither (`=x`, empty) is dropped: execve(2) would take it, programs do not.
pub fn lay_over(env: &mut Vec<String>, more: &[String]) {
    for entry in more {
        let (name, has_value) = match entry.split_once('=') {
            Some((name, _)) => (name, true),
            None => (entry.as_str(), false),
        };
        if name.is_empty() || entry.contains('\0') {
            continue;
        }
        let old = env.iter().position(|old| old.split('=').next() == Some(name));
        match (old, has_value) {
            (Some(at), true) => env[at] = entry.clone(),
            (Some(at), false) => drop(env.remove(at)),
            (None, true) => env.push(entry.clone()),
            (None, false) => {}
        }
    }
}

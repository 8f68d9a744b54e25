//! The environment of a container's process: what Docker sets, then the image's, then the user's.

use super::record::Container;
use crate::error::{Error, Result};
use crate::store::bounds;
use std::collections::HashMap;

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
    let mut laid: Vec<Option<String>> = env.drain(..).map(Some).collect();
    // An image may have hundreds of thousands: none is looked for among all the others.
    let mut places: HashMap<String, usize> = HashMap::with_capacity(laid.len());
    for (at, entry) in laid.iter().flatten().enumerate() {
        places.entry(name_of(entry).to_owned()).or_insert(at);
    }
    for entry in more {
        let name = name_of(entry);
        if name.is_empty() || entry.contains('\0') {
            continue;
        }
        match (places.get(name), entry.contains('=')) {
            (Some(at), true) => laid[*at] = Some(entry.clone()),
            (None, true) => {
                places.insert(name.to_owned(), laid.len());
                laid.push(Some(entry.clone()));
            }
            (_, false) => {
                if let Some(at) = places.remove(name) {
                    laid[at] = None;
                }
            }
        }
    }
    env.extend(laid.into_iter().flatten());
}

fn name_of(entry: &str) -> &str {
    entry.split('=').next().unwrap_or_default()
}

/// Refuses what no program can be started with. The kernel would say so, too, but only when the container has been made, and
/// each time that it starts.
pub fn check(words: &[&String], env: &[String]) -> Result<()> {
    let mut all = 0;
    for word in words.iter().copied().chain(env) {
        if word.len() >= bounds::ARGUMENT {
            let name = name_of(word);
            let shown: String = name.chars().take(40).collect();
            return Err(Error::new(format!(
                "{:?} has {} bytes: an argument or a variable of a program's has at most {} (execve(2))",
                shown,
                word.len(),
                bounds::ARGUMENT - 1
            )));
        }
        // Its end, and the pointer to it.
        all += word.len() + 1 + size_of::<usize>();
    }
    if all > bounds::ARGUMENTS {
        return Err(Error::new(format!(
            "the command and its {} environment variables take {all} bytes: no program can be started with more than {} \
             (execve(2))",
            env.len(),
            bounds::ARGUMENTS
        )));
    }
    Ok(())
}

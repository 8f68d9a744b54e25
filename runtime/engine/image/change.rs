//! `import --change`: Dockerfile instructions that describe an image.

use super::ImageConfig;
use crate::error::{Error, Result};
use serde_json::json;

/// Applies one instruction: `CMD ["sh"]`, `ENV A=b`, `EXPOSE 80`, …
pub fn apply(config: &mut ImageConfig, text: &str) -> Result<()> {
    let (word, rest) = text.trim().split_once(char::is_whitespace).unwrap_or((text.trim(), ""));
    let rest = rest.trim();
    let missing = || Error::new(format!("{} requires at least one argument", word.to_uppercase()));
    if rest.is_empty() {
        return Err(missing());
    }
    match word.to_ascii_uppercase().as_str() {
        "CMD" => config.cmd = Some(command(rest)),
        "ENTRYPOINT" => config.entrypoint = Some(command(rest)),
        "ENV" => {
            let entries: Vec<String> = match rest.split_whitespace().next() {
                Some(first) if first.contains('=') => words(rest),
                // The old form: a name, and all the rest is its value.
                _ => vec![
                    rest.split_once(char::is_whitespace)
                        .map_or_else(|| format!("{rest}="), |(name, value)| format!("{name}={}", value.trim())),
                ],
            };
            crate::engine::container::environment::lay_over(&mut config.env, &entries);
        }
        "EXPOSE" => {
            for port in rest.split_whitespace() {
                let name = if port.contains('/') { port.to_owned() } else { format!("{port}/tcp") };
                config.exposed_ports.insert(name, json!({}));
            }
        }
        "LABEL" => {
            for pair in words(rest) {
                let (key, value) = pair.split_once('=').ok_or_else(|| Error::new("LABEL must be KEY=VALUE"))?;
                config.labels.insert(key.to_owned(), value.to_owned());
            }
        }
        "USER" => config.user = rest.to_owned(),
        "VOLUME" => {
            let list = serde_json::from_str::<Vec<String>>(rest);
            for path in list.unwrap_or_else(|_| words(rest)) {
                config.volumes.insert(path, json!({}));
            }
        }
        "WORKDIR" => config.working_dir = rest.to_owned(),
        "STOPSIGNAL" => {
            crate::engine::signal::parse(rest)?;
            config.stop_signal = rest.to_owned();
        }
        other => return Err(Error::new(format!("{other} is not a valid change command"))),
    }
    Ok(())
}

/// The exec form is a JSON list; the shell form is for a shell.
fn command(text: &str) -> Vec<String> {
    serde_json::from_str(text).unwrap_or_else(|_| vec!["/bin/sh".into(), "-c".into(), text.to_owned()])
}

/// Words, with double quotes keeping them together.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in text.chars() {
        match letter {
            '"' => quoted = !quoted,
            letter if letter.is_whitespace() && !quoted => words.push(String::new()),
            letter => words.last_mut().into_iter().for_each(|word| word.push(letter)),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_docker_s() {
        let mut config = ImageConfig::default();
        for text in [
            "CMD [\"a\",\"b\"]",
            "ENTRYPOINT run it",
            "ENV A=1 B=\"two words\"",
            "ENV C three words",
            "EXPOSE 80 53/udp",
        ] {
            apply(&mut config, text).unwrap();
        }
        assert_eq!(config.cmd, Some(vec!["a".into(), "b".into()]));
        assert_eq!(config.entrypoint, Some(vec!["/bin/sh".into(), "-c".into(), "run it".into()]));
        assert_eq!(config.env, ["A=1", "B=two words", "C=three words"]);
        assert!(config.exposed_ports.contains_key("80/tcp") && config.exposed_ports.contains_key("53/udp"));
        assert!(apply(&mut config, "FROM x").is_err() && apply(&mut config, "CMD").is_err());
    }
}

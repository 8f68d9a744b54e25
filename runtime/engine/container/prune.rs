//! Removing every container that does not run.

use super::record::Container;
use super::remove::{self, Refusal};
use super::size;
use crate::engine::moment;
use crate::error::{Error, Result};
use crate::store::Store;
use jiff::Timestamp;

/// Which stopped containers are meant; all conditions must hold.
#[derive(Debug, Default)]
pub struct Filter {
    /// Created before this.
    until: Option<Timestamp>,
    /// `key` or `key=value`, and whether it must be there or must not.
    labels: Vec<(String, bool)>,
}

impl Filter {
    /// `--filter until=…`, `label=…`, `label!=…`.
    pub fn parse(texts: &[String]) -> Result<Filter> {
        let mut filter = Filter::default();
        for text in texts {
            let (key, value) = text.split_once('=').ok_or_else(|| {
                Error::new(format!(
                    "invalid argument {text:?} for \"--filter\" flag: bad format of filter (expected name=value)"
                ))
            })?;
            match key {
                "until" if filter.until.is_some() => return Err(Error::new("more than one until filter specified")),
                "until" => {
                    let moment = moment::parse(value);
                    let bad = || Error::new(format!("invalid filter 'until={value}': not a time or duration"));
                    filter.until = Some(moment.ok_or_else(bad)?);
                }
                "label" => filter.labels.push((value.to_owned(), true)),
                "label!" => filter.labels.push((value.to_owned(), false)),
                _ => return Err(Error::new(format!("invalid filter '{key}'"))),
            }
        }
        Ok(filter)
    }

    fn matches(&self, container: &Container) -> bool {
        let created_before =
            |until: Timestamp| container.created.parse::<Timestamp>().is_ok_and(|created| created < until);
        let has = |label: &str| match label.split_once('=') {
            Some((key, value)) => container.config.image.labels.get(key).is_some_and(|found| found == value),
            None => container.config.image.labels.contains_key(label),
        };
        self.until.is_none_or(created_before) && self.labels.iter().all(|(label, wanted)| has(label) == *wanted)
    }
}

/// What went, and what did not.
#[derive(Debug)]
pub struct Pruned {
    pub ids: Vec<String>,
    /// What their layers held.
    pub bytes: u64,
    /// The first failure; the others were removed all the same.
    pub result: Result<()>,
}

/// Removes them.
pub fn prune(store: &Store, filter: &Filter) -> Result<Pruned> {
    let mut pruned = Pruned { ids: Vec::new(), bytes: 0, result: Ok(()) };
    for container in super::list(store)?.into_iter().filter(|container| filter.matches(container)) {
        let size = size::written(store, &container).unwrap_or(0);
        match remove::erase(store, &container, false) {
            Ok(_) => {
                pruned.ids.push(container.id);
                pruned.bytes += size;
            }
            Err(Refusal::Running(_)) => {}
            Err(Refusal::Failed(error)) if error.is_not_found() => {}
            Err(Refusal::Failed(error)) => pruned.result = pruned.result.and(Err(error)),
        }
    }
    Ok(pruned)
}

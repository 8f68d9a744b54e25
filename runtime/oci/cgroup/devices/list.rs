//! Version 1's list of devices: one default, and exceptions from it.
//!
//! The kernel does less with it than a bundle can say, and says nothing where it does nothing: a line of the kind `a` is
//! taken for everything, whatever else stands in it, and a line that agrees with the default only takes away an exception
//! of the very same numbers. So the list is kept here as the kernel keeps it, and a rule is written in lines that do what it
//! says, or refused.

use super::{MKNOD, READ, Rule, WRITE, access};
use crate::error::{Error, Result};

/// The list of a cgroup: what holds for all devices, and the rules that say otherwise.
struct List {
    allows: bool,
    exceptions: Vec<Rule>,
}

/// What is to be written for `rules`, line by line: to `devices.allow` (true) or `devices.deny`. `standing` is what
/// `devices.list` says now.
pub fn lines(rules: &[Rule], standing: &str) -> Result<Vec<(bool, String)>> {
    let mut list = read(standing);
    let mut lines = Vec::new();
    // What comes before the last rule for all devices means nothing.
    let first = rules.iter().rposition(Rule::is_all).unwrap_or(0);
    for rule in &rules[first..] {
        if rule.is_all() {
            list = List { allows: rule.allow, exceptions: Vec::new() };
            lines.push((rule.allow, "a".into()));
            continue;
        }
        for block in [true, false].into_iter().filter(|block| rule.block.is_none_or(|asked| asked == *block)) {
            let rule = Rule { block: Some(block), ..rule.clone() };
            if rule.allow == list.allows {
                lines.extend(list.take_away(&rule)?);
            } else {
                lines.push((rule.allow, line(&rule)));
                list.exceptions.push(rule);
            }
        }
    }
    Ok(lines)
}

/// Reads `devices.list`: `a *:* rwm` where the default is to allow (the exceptions from that are not shown), else a line for
/// each device that is allowed.
fn read(standing: &str) -> List {
    let exception = |line: &str| {
        let (kind, rest) = line.split_once(' ')?;
        let (numbers, letters) = rest.split_once(' ')?;
        let (major, minor) = numbers.split_once(':')?;
        let number = |text: &str| text.parse().ok();
        let access = access(letters).ok()?;
        Some(Rule { allow: true, block: Some(kind == "b"), major: number(major), minor: number(minor), access })
    };
    match standing.starts_with('a') {
        true => List { allows: true, exceptions: Vec::new() },
        false => List { allows: false, exceptions: standing.lines().filter_map(exception).collect() },
    }
}

impl List {
    /// A rule that agrees with the default: the exceptions that it covers go, each by a line with its own numbers. One that
    /// it covers in part cannot be cut.
    fn take_away(&mut self, rule: &Rule) -> Result<Vec<(bool, String)>> {
        let mut lines = Vec::new();
        // Whoever may not use a device may make its node all the same (the default devices say so): to deny both of one device
        // is to deny its use, as runc has it. Docker's own list has such a rule (c 10:229 rwm).
        let uses = Rule { access: rule.access & !MKNOD, ..rule.clone() };
        for exception in self.exceptions.iter_mut().filter(|exception| exception.meets(rule)) {
            if exception.only_makes_any_node() && !rule.allow && uses.access != 0 && !exception.meets(&uses) {
                continue;
            }
            if !exception.is_within(rule) {
                let words = if rule.allow { ["allow", "denied"] } else { ["deny", "allowed"] };
                let ([verb, state], what, all) = (words, line(rule), line(exception));
                return Err(Error::new(format!(
                    "linux.resources.devices: cgroup v1 cannot {verb} {what} where {all} is {state}: its list knows no \
                     exception from an exception"
                ))
                .with_cure(format!("say what is to be {state} without it, device by device")));
            }
            let taken = Rule { allow: rule.allow, access: exception.access & rule.access, ..exception.clone() };
            lines.push((rule.allow, line(&taken)));
            exception.access &= !rule.access;
        }
        self.exceptions.retain(|exception| exception.access != 0);
        Ok(lines)
    }
}

impl Rule {
    /// Whether there is a device, and something to be done with it, of which both speak.
    fn meets(&self, other: &Rule) -> bool {
        let common = |one: Option<u32>, other: Option<u32>| one.is_none() || other.is_none() || one == other;
        self.block == other.block
            && self.access & other.access != 0
            && common(self.major, other.major)
            && common(self.minor, other.minor)
    }

    fn only_makes_any_node(&self) -> bool {
        self.major.is_none() && self.minor.is_none() && self.access == MKNOD
    }

    /// Whether the other speaks of every device of this one.
    fn is_within(&self, other: &Rule) -> bool {
        let within = |one: Option<u32>, other: Option<u32>| other.is_none() || one == other;
        within(self.major, other.major) && within(self.minor, other.minor)
    }
}

/// `c 1:3 rwm`
fn line(rule: &Rule) -> String {
    let kind = if rule.block == Some(true) { 'b' } else { 'c' };
    let number = |number: Option<u32>| number.map_or("*".into(), |number| number.to_string());
    let letters = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')];
    let access: String = letters.iter().filter(|(bit, _)| rule.access & bit != 0).map(|(_, letter)| letter).collect();
    format!("{kind} {}:{} {access}", number(rule.major), number(rule.minor))
}

#[cfg(test)]
mod tests {
    use super::super::rules;
    use super::*;

    fn lines_of(json: &str, standing: &str) -> Result<Vec<(bool, String)>> {
        lines(&rules(&serde_json::from_str::<Vec<_>>(json).unwrap()).unwrap(), standing)
    }

    #[test]
    fn version_1_gets_the_same_rules_as_lines() {
        let given = r#"[{"allow":true,"access":"r"},{"allow":false,"access":"rwm"},
            {"allow":true,"type":"b","major":7,"access":"rw"},{"allow":true,"major":10,"minor":229,"access":"rw"}]"#;
        let lines = lines_of(given, "a *:* rwm").unwrap();
        let first: Vec<_> = lines[..4].iter().map(|(allow, line)| (*allow, line.as_str())).collect();
        assert_eq!(first, [(false, "a"), (true, "b *:* m"), (true, "c *:* m"), (true, "c 1:3 rwm")]);
        let last: Vec<_> = lines[lines.len() - 3..].iter().map(|(_, line)| line.as_str()).collect();
        assert_eq!(last, ["b 7:* rw", "b 10:229 rw", "c 10:229 rw"], "a rule without a type is one for each");
    }

    #[test]
    fn what_version_1_would_not_do_is_refused_or_said_in_words_that_it_does() {
        let denied = r#"{"allow":false},{"allow":true,"type":"c","major":10,"access":"rw"}"#;
        let hole =
            lines_of(&format!(r#"[{denied},{{"allow":false,"type":"c","major":10,"minor":229,"access":"w"}}]"#), "");
        assert!(hole.unwrap_err().to_string().contains("cannot deny c 10:229 w where c 10:* rw is allowed"));
        // Docker's own list: what would be an exception from "any node may be made" denies the use.
        let lines = lines_of(
            r#"[{"allow":false},{"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"},
            {"allow":false,"type":"c","major":10,"minor":229,"access":"rwm"}]"#,
            "",
        )
        .unwrap();
        assert_eq!(lines.last().unwrap(), &(true, "c 1:3 rwm".into()), "nothing allows its use");
        let only_make = r#"[{"allow":false},{"allow":false,"type":"c","major":10,"minor":229,"access":"m"}]"#;
        assert!(lines_of(only_make, "").is_err());
        // A default device is denied again, and all that is within it.
        let lines = lines_of(r#"[{"allow":false},{"allow":false,"type":"c","major":1,"access":"rw"}]"#, "").unwrap();
        let last: Vec<_> = lines[lines.len() - 5..].to_vec();
        assert_eq!(last[0], (false, "c 1:3 rw".into()));
        assert_eq!(last[4], (false, "c 1:9 rw".into()));
    }

    #[test]
    fn what_a_cgroup_above_allows_is_taken_away_by_its_own_lines() {
        let deny = r#"[{"allow":false,"type":"c","major":10}]"#;
        assert_eq!(lines_of(deny, "a *:* rwm").unwrap(), [(false, "c 10:* rwm".into())]);
        assert_eq!(lines_of(deny, "c 10:229 rw\nc 1:3 rwm").unwrap(), [(false, "c 10:229 rw".into())]);
        assert_eq!(lines_of(deny, "c *:* m").unwrap(), [], "its use is allowed nowhere");
    }
}

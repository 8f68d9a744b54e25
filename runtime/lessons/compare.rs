//! Expected against found, with `…` for what differs from run to run.

/// Whether `found` is what `expected` describes; otherwise the first difference, as (expected, found) lines.
pub fn lines(expected: &[String], found: &str) -> Result<(), (String, String)> {
    let found: Vec<&str> = found.lines().collect();
    fit(expected, &found)
}

fn fit(expected: &[String], found: &[&str]) -> Result<(), (String, String)> {
    let Some((pattern, rest)) = expected.split_first() else {
        return found.first().map_or(Ok(()), |line| Err(("(nothing more)".into(), (*line).into())));
    };
    if pattern.trim() == "…" {
        // Any number of lines: the first split at which the rest fits.
        let fits = (0..=found.len()).any(|skipped| fit(rest, &found[skipped..]).is_ok());
        let next = rest.first().cloned().unwrap_or_default();
        return if fits { Ok(()) } else { Err((next, found.last().map_or("(nothing)".into(), |line| (*line).into()))) };
    }
    match found.split_first() {
        Some((line, more)) if line_fits(pattern, line) => fit(rest, more),
        Some((line, _)) => Err((pattern.clone(), (*line).into())),
        None => Err((pattern.clone(), "(nothing more)".into())),
    }
}

/// One line, `…` standing for any text; spaces at the end do not count.
pub fn line_fits(pattern: &str, line: &str) -> bool {
    let (pattern, line) = (pattern.trim_end(), line.trim_end());
    let mut parts = pattern.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn an_ellipsis_stands_for_text_or_for_lines() {
        assert!(line_fits("a…c", "abc") && line_fits("…", "") && line_fits("a…", "a") && line_fits("…b…", "abc"));
        assert!(!line_fits("a…c", "abd") && !line_fits("ab…bc", "abc"));
        assert!(lines(&expected("a\n…\nz"), "a\nb\nc\nz\n").is_ok());
        assert!(lines(&expected("a\n…"), "a\n").is_ok());
        assert_eq!(lines(&expected("a\nb"), "a\nx\n"), Err(("b".into(), "x".into())));
        assert_eq!(lines(&expected("a"), "a\nmore\n"), Err(("(nothing more)".into(), "more".into())));
        assert_eq!(lines(&expected("a\nb"), "a\n"), Err(("b".into(), "(nothing more)".into())));
    }
}

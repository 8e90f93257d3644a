//! The nearest known word for a mistyped one, and all of them.

/// The candidate that was most likely meant, if any is near enough to be worth naming.
///
/// A third of the letters may be wrong (one at least); failing that, the shortest candidate that continues the word.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let known: Vec<&str> = known.into_iter().collect();
    let distance = |candidate: &str| strsim::damerau_levenshtein(&word, &candidate.to_ascii_lowercase());
    let tolerated = (word.chars().count() / 3).max(1);
    let closest = known.iter().min_by_key(|candidate| distance(candidate))?;
    // A word of one or two letters is one letter away from much that has nothing to do with it.
    if distance(closest) == 0 || word.len() > 2 && distance(closest) <= tolerated {
        return Some(closest);
    }
    let continued = |candidate: &&&str| word.len() > 2 && candidate.to_ascii_lowercase().starts_with(&word);
    known.iter().filter(continued).min_by_key(|candidate| candidate.len()).copied()
}

/// `; did you mean NAME?` with the name dressed by `form`, or nothing.
pub(crate) fn did_you_mean<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
    form: impl Fn(&str) -> String,
) -> String {
    nearest(word, known).map(|name| format!("; did you mean {}?", form(name))).unwrap_or_default()
}

/// `a, b or c`
pub(crate) fn listed<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<&str> = words.into_iter().collect();
    match words.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => words.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let known = ["grace-period", "hold", "hold-timeout", "hook", "stop-on"];
        for (word, meant) in [
            ("grace-perod", Some("grace-period")),
            ("grcae-period", Some("grace-period")),
            ("GRACE-PERIOD", Some("grace-period")),
            ("holds", Some("hold")),
            ("hold-time", Some("hold-timeout")),
            ("grace", Some("grace-period")),
            ("verbose", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
    }
}

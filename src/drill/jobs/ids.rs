//! The ids that the user's commands print, one per line. Pure.

use crate::reason::Reason;
use std::collections::HashSet;

/// A line of more bytes is not an id.
pub(super) const LONGEST: usize = 256;
/// How many characters of a wrong line are shown.
const SHOWN: usize = 60;

/// What one run of a command printed: the lines without the blanks around them; empty ones do not count.
///
/// # Errors
/// A line cannot be an id.
pub(super) fn parse(output: &[u8]) -> Result<Vec<String>, Reason> {
    let lines = output.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    lines
        .map(|line| match std::str::from_utf8(line) {
            Ok(text) if line.len() <= LONGEST && !text.contains(char::is_control) => Ok(text.to_owned()),
            _ => Err(format!(
                "it printed {:?}, which is not an id: expected one id a line, of {LONGEST} bytes of text at most",
                shown(&String::from_utf8_lossy(line))
            )
            .into()),
        })
        .collect()
}

/// The ids that `--submit` printed when it was asked for this many jobs.
///
/// # Errors
/// It printed fewer ids or more, or one twice.
pub(super) fn submitted(output: &[u8], asked_for: usize) -> Result<Vec<String>, Reason> {
    let ids = parse(output)?;
    if ids.len() != asked_for {
        let first = ids.first().map(|id| format!(", the first {:?}", shown(id))).unwrap_or_default();
        let lines = match ids.len() {
            0 => "printed nothing".to_owned(),
            1 => "printed 1 line".to_owned(),
            count => format!("printed {count} lines"),
        };
        let jobs = if asked_for == 1 { "1 job".to_owned() } else { format!("{asked_for} jobs") };
        return Err(format!(
            "it was to submit {jobs} and {lines}{first}: expected one id a line for each job, and nothing else on standard \
             output"
        ).into());
    }
    let mut seen = HashSet::new();
    match ids.iter().find(|id| !seen.insert(id.as_str())) {
        Some(id) => Err(format!("it printed the id {:?} twice: each job needs an id of its own", shown(id)).into()),
        None => Ok(ids),
    }
}

/// The beginning of a line that may be long.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_id_a_line_without_the_blanks_around_it() {
        assert_eq!(parse(b"a\n b \r\n\n\tc d\n"), Ok(vec!["a".to_owned(), "b".to_owned(), "c d".to_owned()]));
        assert_eq!(parse(b""), Ok(Vec::new()));
        assert_eq!(parse(b"no line end"), Ok(vec!["no line end".to_owned()]));
    }

    #[test]
    fn what_is_no_id_is_told_of() {
        for rubbish in [&b"\xff\xfe\n"[..], &[b'x'; LONGEST + 1], b"a\x1b[2Jb\n", b"a\0b"] {
            let why = parse(rubbish).unwrap_err();
            assert!(why.to_string().contains("which is not an id") && why.to_string().len() < 250, "{why}");
        }
        assert!(parse(&[b'x'; LONGEST]).is_ok());
    }

    #[test]
    fn as_many_ids_as_jobs_were_asked_for() {
        assert_eq!(submitted(b"a\nb\n", 2), Ok(vec!["a".to_owned(), "b".to_owned()]));
        let why = submitted(b"", 2).unwrap_err();
        assert!(why.to_string().starts_with("it was to submit 2 jobs and printed nothing: "), "{why}");
        let why = submitted(b"warning: x\na\n", 1).unwrap_err();
        assert!(
            why.to_string().contains("1 job and printed 2 lines, the first \"warning: x\": expected one id a line"),
            "{why}"
        );
        let why = submitted(b"a\n", 2).unwrap_err();
        assert!(why.to_string().contains("2 jobs and printed 1 line, "), "{why}");
        let why = submitted(b"a\na\n", 2).unwrap_err();
        assert!(why.to_string().contains("the id \"a\" twice"), "{why}");
    }

    proptest! {
        #[test]
        fn whatever_is_printed_is_ids_or_a_short_reason(output in prop::collection::vec(any::<u8>(), 0..600)) {
            match parse(&output) {
                Ok(ids) => prop_assert!(ids.iter().all(|id| !id.is_empty() && id.len() <= LONGEST && id.trim_ascii() == id)),
                Err(why) => prop_assert!(why.to_string().len() < 600),
            }
        }

        #[test]
        fn ids_come_back_as_they_were_printed(ids in prop::collection::hash_set("[a-z0-9:-]{1,40}", 0..30)) {
            let text: String = ids.iter().map(|id| format!("{id}\n")).collect();
            let read = submitted(text.as_bytes(), ids.len()).unwrap();
            prop_assert_eq!(read.into_iter().collect::<std::collections::HashSet<_>>(), ids);
        }
    }
}

//! For the tests of this module.

use super::check::Files;
use super::error::BesideError;
use super::finding::PlanFinding;
use super::fix::Changes;
use super::result::PlanResult;
use super::wrapped::Reader;
use std::path::Path;

/// The result for these files.
pub(super) fn check_texts(files: &[(&str, &str)]) -> PlanResult {
    check_with(files, None)
}

fn check_with(files: &[(&str, &str)], wrap: Option<&str>) -> PlanResult {
    let beside = |path: &Path| {
        let found = files.iter().find(|(name, _)| Path::new(name) == path);
        found.map(|(_, text)| (*text).to_owned()).ok_or(BesideError::Missing)
    };
    let reader = Reader::new(&crate::cli::run_options, &beside);
    let mut read = Files::default();
    // A file that no reader reads is only there for others to name.
    for (name, text) in files.iter().filter(|(name, _)| super::read::format(name).is_some()) {
        read.add(name, Ok((*text).to_owned()), &reader);
    }
    read.outcome(&reader, &[], wrap)
}

/// What is found in one file, which can be read.
pub(super) fn check_text(name: &str, text: &str) -> Vec<PlanFinding> {
    let outcome = check_texts(&[(name, text)]);
    assert!(outcome.faults.is_empty(), "{name}: {:?}", outcome.faults);
    assert!(outcome.looked_at > 0, "{name}: nothing in it");
    outcome.findings
}

/// A file with all that `--wrap` can change in it, and why it left the rest alone.
pub(super) fn wrapped(name: &str, text: &str) -> (String, Vec<String>) {
    wrapped_of(name, &[(name, text)])
}

/// The same for one of several files.
pub(super) fn wrapped_of(name: &str, files: &[(&str, &str)]) -> (String, Vec<String>) {
    let text = files.iter().find(|(other, _)| *other == name).map_or("", |(_, text)| text);
    let (mut changes, mut said) = (Changes::default(), Vec::new());
    for wrapping in check_with(files, Some("example.org/graceful:1")).wrappings {
        match wrapping.change {
            Ok(edit) if changes.make(name, text, &edit) => {}
            Ok(_) => said.push(format!("{}: cannot", wrapping.who)),
            Err(why) => said.push(format!("{}: {why}", wrapping.who)),
        }
    }
    (changes.apply(text), said)
}

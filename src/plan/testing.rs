//! For the tests of this module.

use super::check::Files;
use super::finding::PlanFinding;
use super::result::PlanResult;
use super::wrapped::Reader;
use std::path::Path;

/// What is made of these files.
pub(super) fn check_texts(files: &[(&str, &str)]) -> PlanResult {
    let beside = |path: &Path| {
        let found = files.iter().find(|(name, _)| Path::new(name) == path);
        found.map(|(_, text)| (*text).to_owned()).ok_or_else(|| "is not there".to_owned())
    };
    let reader = Reader::new(&crate::cli::run_options, &beside);
    let mut read = Files::default();
    // What no reader reads is only there to be named.
    for (name, text) in files.iter().filter(|(name, _)| super::read::format(name).is_some()) {
        read.add(name, Ok((*text).to_owned()), &reader);
    }
    read.outcome(&reader, &[], None)
}

/// What is found in one file, which can be read.
pub(super) fn check_text(name: &str, text: &str) -> Vec<PlanFinding> {
    let outcome = check_texts(&[(name, text)]);
    assert!(outcome.faults.is_empty(), "{name}: {:?}", outcome.faults);
    assert!(outcome.looked_at > 0, "{name}: nothing in it");
    outcome.findings
}

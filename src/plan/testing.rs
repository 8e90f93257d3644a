//! For the tests of this module.

use super::check::Files;
use super::finding::PlanFinding;
use super::result::PlanResult;
use super::wrapped::Reader;

/// What is made of these files.
pub(super) fn check_texts(files: &[(&str, &str)]) -> PlanResult {
    let reader = Reader::new(&crate::cli::run_options);
    let mut read = Files::default();
    for (name, text) in files {
        read.add(name, Ok((*text).to_owned()), &reader);
    }
    read.outcome(&[], None)
}

/// What is found in one file, which can be read.
pub(super) fn check_text(name: &str, text: &str) -> Vec<PlanFinding> {
    let outcome = check_texts(&[(name, text)]);
    assert!(outcome.faults.is_empty(), "{name}: {:?}", outcome.faults);
    assert!(outcome.looked_at > 0, "{name}: nothing in it");
    outcome.findings
}

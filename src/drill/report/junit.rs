//! The document as JUnit XML, which every CI shows: a test suite for each drill, a test case for each check.
//!
//! A failure has the root causes as its message, which is what most readers show, and evidence, causes and fixes as its
//! text. What was expected to fail does not fail here either; its output says what it was. A drill that shows nothing
//! has one more case, with an error: a failure would be the app's, this is the drill's. A check that could not be told
//! is an error, too, as JUnit calls a test that could not be carried out; only where the drill passed all the same is
//! it skipped, with its reason, so that a CI that reads the file says what the exit status says.
//!
//! Written by hand: quick-junit brings a calendar, UUIDs and an XML library for four elements.

use super::text::escape;
use crate::drill::evidence::{Check, CheckResult, Document, Drill, Finding, Verdict};
use std::fmt::Write;

/// The XML.
pub fn junit(document: &Document) -> String {
    let suites: Vec<Suite> = document.drills.iter().map(suite).collect();
    let sum = |number: fn(&Suite) -> usize| suites.iter().map(number).sum::<usize>();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(
        xml,
        "<testsuites name=\"graceful drill\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\">",
        sum(|suite| suite.tests),
        sum(|suite| suite.failures),
        sum(|suite| suite.errors),
        sum(|suite| suite.skipped)
    );
    for (drill, suite) in document.drills.iter().zip(&suites) {
        let Suite { tests, failures, errors, skipped, cases } = suite;
        let _ = write!(
            xml,
            "  <testsuite name=\"{}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\"",
            attribute(&drill.title)
        );
        if let Some(stopped_at) = &drill.stopped_at {
            let _ = write!(xml, " timestamp=\"{}\"", attribute(stopped_at));
        }
        let _ = writeln!(xml, ">\n{cases}  </testsuite>");
    }
    xml.push_str("</testsuites>\n");
    xml
}

struct Suite {
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
    cases: String,
}

fn suite(drill: &Drill) -> Suite {
    let number = |result| drill.checks.iter().filter(|check| check.result == result).count();
    let unknown = number(CheckResult::Unknown);
    let (errors, unknown) = if drill.verdict == Verdict::Passed { (0, unknown) } else { (unknown, 0) };
    let (failures, skipped) = (number(CheckResult::Fail), number(CheckResult::Skipped) + unknown);
    let mut suite = Suite { tests: drill.checks.len(), failures, errors, skipped, cases: String::new() };
    if drill.verdict == Verdict::Inconclusive {
        let reason = drill.inconclusive.as_deref().unwrap_or("nothing can be told");
        let error = format!("<error message=\"{}\"/>", attribute(reason));
        case(&mut suite.cases, drill, "conclusive", &error);
        (suite.tests, suite.errors) = (suite.tests + 1, suite.errors + 1);
    }
    for check in &drill.checks {
        case(&mut suite.cases, drill, check.name.name(), &outcome(drill, check));
    }
    suite
}

fn case(cases: &mut String, drill: &Drill, name: &str, inner: &str) {
    let (class, name) = (attribute(&format!("graceful drill {}", drill.title)), attribute(name));
    let _ = writeln!(cases, "    <testcase classname=\"{class}\" name=\"{name}\">{inner}</testcase>");
}

fn outcome(drill: &Drill, check: &Check) -> String {
    let mut text = check.evidence.clone();
    let findings: Vec<&Finding> =
        drill.findings.iter().filter(|finding| finding.checks.contains(&check.name)).collect();
    for Finding { words, fix, .. } in &findings {
        let _ = write!(text, "\nCause: {words}\nFix: {fix}");
    }
    match check.result {
        CheckResult::Pass => format!("<system-out>{}</system-out>", escape(&text)),
        CheckResult::Expected => format!("<system-out>It fails, as expected.\n{}</system-out>", escape(&text)),
        CheckResult::Fail => {
            // Most readers show the message alone: the cause tells more than the numbers.
            let causes: Vec<&str> = findings.iter().map(|finding| finding.words.as_str()).collect();
            let message = if causes.is_empty() { check.evidence.clone() } else { causes.join("; ") };
            let (message, name) = (attribute(&message), attribute(check.name.name()));
            format!("<failure message=\"{message}\" type=\"{name}\">{}</failure>", escape(&text))
        }
        CheckResult::Skipped => format!("<skipped message=\"{}\"/>", attribute(&check.evidence)),
        CheckResult::Unknown => {
            let message = attribute(&format!("It cannot be told: {}", check.evidence));
            match drill.verdict {
                Verdict::Passed => format!("<skipped message=\"{message}\"/>"),
                Verdict::Failed | Verdict::Inconclusive => format!("<error message=\"{message}\" type=\"unknown\"/>"),
            }
        }
    }
}

/// In an attribute a bare line break reads as a space.
fn attribute(text: &str) -> String {
    escape(text).replace('\n', "&#10;").replace('\t', "&#9;")
}

#[cfg(test)]
#[path = "junit_tests.rs"]
mod tests;

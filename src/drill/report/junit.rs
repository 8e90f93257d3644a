//! JUnit XML, as CI systems read it: a suite for each drill, a case for each check. By hand: the document is a dozen lines,
//! and a library for it would cost more than all of them.

use crate::drill::evidence::{Check, CheckResult, Document, Drill};
use std::fmt::Write as _;

/// The whole document.
pub fn junit(document: &Document) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"graceful drill\">\n");
    for drill in &document.drills {
        suite(&mut text, drill);
    }
    text.push_str("</testsuites>\n");
    text
}

fn suite(text: &mut String, drill: &Drill) {
    let count = |result: CheckResult| drill.checks.iter().filter(|check| check.result == result).count();
    let errors = usize::from(drill.inconclusive.is_some());
    _ = writeln!(
        text,
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{errors}\" skipped=\"{}\"{}>",
        escaped(&drill.title),
        drill.checks.len() + errors,
        count(CheckResult::Fail),
        count(CheckResult::Skipped),
        drill.stopped_at.as_ref().map(|at| format!(" timestamp=\"{}\"", escaped(at))).unwrap_or_default()
    );
    for check in &drill.checks {
        case(text, drill, check);
    }
    if let Some(why) = &drill.inconclusive {
        let why = escaped(why);
        _ = writeln!(text, "    <testcase classname=\"{}\" name=\"drill\">", escaped(&drill.title));
        _ = writeln!(text, "      <error message=\"inconclusive\">{why}</error>\n    </testcase>");
    }
    text.push_str("  </testsuite>\n");
}

fn case(text: &mut String, drill: &Drill, check: &Check) {
    _ = write!(text, "    <testcase classname=\"{}\" name=\"{}\"", escaped(&drill.title), escaped(&check.name));
    let evidence = escaped(&check.evidence);
    _ = match check.result {
        CheckResult::Pass => writeln!(text, ">\n      <system-out>{evidence}</system-out>\n    </testcase>"),
        CheckResult::Skipped => writeln!(text, ">\n      <skipped message=\"{evidence}\"/>\n    </testcase>"),
        CheckResult::Expected => {
            writeln!(text, ">\n      <system-out>expected to fail: {evidence}</system-out>\n    </testcase>")
        }
        CheckResult::Fail => {
            let cause = escaped(check.cause.as_deref().unwrap_or(&check.evidence));
            let fix = check.fix.as_ref().map(|fix| format!("\nfix: {}", escaped(fix))).unwrap_or_default();
            writeln!(text, ">\n      <failure message=\"{cause}\">{evidence}{fix}</failure>\n    </testcase>")
        }
    };
}

/// For text and attributes. What XML 1.0 cannot carry at all becomes U+FFFD.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push('\t'),
            c if c < ' ' || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

//! Workflow commands of GitHub Actions: `::error file=F,line=L,col=C::MESSAGE` becomes an annotation in the pull
//! request.

use crate::plan::finding::Severity;
use crate::plan::place::Position;
use crate::plan::result::PlanResult;
use std::fmt::Write as _;

/// One line for each finding.
pub(super) fn write(outcome: &PlanResult) -> String {
    let mut text = String::new();
    for fault in &outcome.faults {
        let place = place(&outcome.names[fault.file], fault.at);
        _ = writeln!(text, "::error {place},title=graceful::{}", data(&format!("cannot be read: {}", fault.reason)));
    }
    for found in &outcome.findings {
        let command = match found.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "notice",
        };
        let place = place(&outcome.names[found.at.file], Some(found.at.spot));
        let message = data(&format!("{}\nfix: {}", found.message, found.fix));
        _ = writeln!(text, "::{command} {place},title=graceful {}::{message}", property(found.rule.name));
    }
    text
}

fn place(name: &str, at: Option<Position>) -> String {
    let file = format!("file={}", property(name));
    match at {
        Some(at) => format!("{file},line={},endLine={},col={}", at.line, at.end_line, at.column),
        None => file,
    }
}

/// As actions/toolkit escapes a message (packages/core/src/command.ts).
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// And as it escapes a property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::check_texts;

    #[test]
    fn nothing_in_a_name_or_a_message_ends_the_command() {
        let text = "services:\n  'a:,%b':\n    image: x\n    init: true\n    entrypoint: [/graceful, --]\n";
        let written = write(&check_texts(&[("x,y:z.yaml", text)]));
        let line = written.lines().find(|line| line.contains("two-inits")).unwrap();
        assert!(
            line.starts_with("::warning file=x%2Cy%3Az.yaml,line=4,endLine=4,col=11,title=graceful two-inits::"),
            "{line}"
        );
        assert!(line.contains("a:,%25b") && line.contains("%0Afix: "), "{line}");
    }
}

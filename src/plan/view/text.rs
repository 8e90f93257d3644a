//! For people: `file:line:column: severity[rule]: message`, as compilers write it, so that editors and terminals find
//! the place; below it the fix, at the end the sums.

use crate::plan::finding::Severity;
use crate::plan::result::PlanResult;
use std::fmt::Write as _;

/// The whole text.
pub(super) fn write(outcome: &PlanResult) -> String {
    let mut text = String::new();
    for fault in &outcome.faults {
        let name = &outcome.names[fault.file];
        let place = fault.at.map(|at| format!(":{}:{}", at.line, at.column)).unwrap_or_default();
        _ = writeln!(text, "{name}{place}: error: cannot be read: {}", fault.reason);
    }
    for found in &outcome.findings {
        let (name, spot) = (&outcome.names[found.at.file], found.at.spot);
        let (severity, rule) = (found.severity.name(), found.rule.name);
        _ = writeln!(text, "{name}:{}:{}: {severity}[{rule}]: {}", spot.line, spot.column, found.message);
        _ = writeln!(text, "    fix: {}", found.fix);
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(&sums(outcome));
    text
}

fn sums(outcome: &PlanResult) -> String {
    let count = |severity: Severity| outcome.findings.iter().filter(|found| found.severity == severity).count();
    let counted = |count: usize, one: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        count => Some(format!("{count} {one}s")),
    };
    let all = [Severity::Error, Severity::Warning, Severity::Note];
    let found: Vec<String> = all.iter().filter_map(|severity| counted(count(*severity), severity.name())).collect();
    let found = if found.is_empty() { "no findings".to_owned() } else { found.join(", ") };
    let files = counted(outcome.names.len(), "file").unwrap_or_default();
    let ignored = counted(outcome.ignored, "finding").map(|ignored| format!("; {ignored} ignored")).unwrap_or_default();
    let hint = if outcome.findings.is_empty() { "" } else { "; graceful plan --explain RULE says why" };
    let nothing = if outcome.looked_at == 0 { "; nothing in it that is stopped" } else { "" };
    format!("{found} in {files}{ignored}{nothing}{hint}\n")
}

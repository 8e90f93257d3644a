//! One object, for programs.

use crate::plan::result::PlanResult;
use serde::Serialize;

#[derive(Serialize)]
struct Document<'a> {
    /// 1; it changes when the meaning of a field does.
    version: u32,
    files: &'a [String],
    findings: Vec<Finding<'a>>,
    /// Files that could not be read to their end.
    faults: Vec<Fault<'a>>,
    ignored: usize,
}

#[derive(Serialize)]
struct Finding<'a> {
    file: &'a str,
    line: u32,
    column: u32,
    end_line: u32,
    end_column: u32,
    severity: &'static str,
    rule: &'static str,
    message: &'a str,
    why: &'static str,
    fix: &'a str,
}

#[derive(Serialize)]
struct Fault<'a> {
    file: &'a str,
    line: Option<u32>,
    column: Option<u32>,
    reason: &'a str,
}

/// The whole document.
pub(super) fn write(outcome: &PlanResult) -> String {
    let name = |file: usize| outcome.names[file].as_str();
    let findings = outcome.findings.iter().map(|found| Finding {
        file: name(found.at.file),
        line: found.at.spot.line,
        column: found.at.spot.column,
        end_line: found.at.spot.end_line,
        end_column: found.at.spot.end_column,
        severity: found.severity.name(),
        rule: found.rule.name,
        message: &found.message,
        why: found.rule.why,
        fix: &found.fix,
    });
    let faults = outcome.faults.iter().map(|fault| Fault {
        file: name(fault.file),
        line: fault.at.map(|at| at.line),
        column: fault.at.map(|at| at.column),
        reason: &fault.reason,
    });
    pretty(&Document {
        version: 1,
        files: &outcome.names,
        findings: findings.collect(),
        faults: faults.collect(),
        ignored: outcome.ignored,
    })
}

/// A document as indented JSON, with a line end.
pub(super) fn pretty(document: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(document).map(|text| format!("{text}\n")).unwrap_or_default()
}

//! SARIF 2.1.0, which code scanning takes (docs.oasis-open.org/sarif/sarif/v2.1.0). A test holds the output to the
//! schema.

use super::json::pretty;
use crate::plan::finding::{PlanFinding, Severity};
use crate::plan::place::Position;
use crate::plan::result::{PlanResult, UnreadFile};
use crate::plan::rules::{RULES, Rule};
use serde_json::{Value, json};

/// The schema's own URI.
const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// The whole log.
pub(super) fn write(outcome: &PlanResult) -> String {
    let results: Vec<Value> = outcome.findings.iter().map(|found| result(found, outcome)).collect();
    let faults: Vec<Value> = outcome.faults.iter().map(|fault| notification(fault, outcome)).collect();
    pretty(&json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "graceful plan",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": RULES.iter().map(|rule| descriptor(rule)).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "invocations": [{ "executionSuccessful": faults.is_empty(), "toolExecutionNotifications": faults }],
            "results": results,
        }],
    }))
}

fn descriptor(rule: &Rule) -> Value {
    json!({
        "id": rule.name,
        "shortDescription": { "text": rule.title },
        "fullDescription": { "text": rule.why },
        "help": { "text": format!("{}\n\nRight, in {}:\n\n{}", rule.why, rule.good.file, rule.good.text) },
        "defaultConfiguration": { "level": rule.severity.name() },
    })
}

fn result(found: &PlanFinding, outcome: &PlanResult) -> Value {
    json!({
        "ruleId": found.rule.name,
        "ruleIndex": RULES.iter().position(|rule| rule.name == found.rule.name),
        "level": level(found.severity),
        "message": { "text": format!("{}. Fix: {}", found.message, found.fix) },
        "locations": [location(&outcome.names[found.at.file], Some(found.at.spot))],
    })
}

fn notification(fault: &UnreadFile, outcome: &PlanResult) -> Value {
    json!({
        "level": "error",
        "message": { "text": format!("cannot be read: {}", fault.reason) },
        "locations": [location(&outcome.names[fault.file], fault.at)],
    })
}

/// SARIF's levels have the same names.
fn level(severity: Severity) -> &'static str {
    severity.name()
}

fn location(name: &str, spot: Option<Position>) -> Value {
    let mut physical = json!({ "artifactLocation": { "uri": uri(name) } });
    if let Some(spot) = spot {
        let mut region = json!({ "startLine": spot.line, "startColumn": spot.column });
        if (spot.end_line, spot.end_column) > (spot.line, spot.column) {
            region["endLine"] = json!(spot.end_line);
            region["endColumn"] = json!(spot.end_column);
        }
        physical["region"] = region;
    }
    json!({ "physicalLocation": physical })
}

/// A path as a relative reference, or an absolute file URI.
fn uri(name: &str) -> String {
    use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
    const PATH: &AsciiSet = &CONTROLS
        .add(b' ')
        .add(b'"')
        .add(b'<')
        .add(b'>')
        .add(b'`')
        .add(b'#')
        .add(b'?')
        .add(b'{')
        .add(b'}')
        .add(b'%')
        .add(b'\\')
        .add(b'^')
        .add(b'|')
        .add(b'[')
        .add(b']')
        .add(b':');
    let path = utf8_percent_encode(name, PATH).to_string();
    if name.starts_with('/') { format!("file://{path}") } else { path }
}

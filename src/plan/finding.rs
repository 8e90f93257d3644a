//! What a rule is, and what it finds.

use super::model::{FileSpot, Model};
use super::place::Position;
pub(super) use super::request::Severity;

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// Its name, as `--ignore` and `--explain` take it.
    pub name: &'static str,
    /// How bad its findings usually are.
    pub severity: Severity,
    /// What is wrong, in a sentence without its full stop.
    pub title: &'static str,
    /// Why that drops requests or jobs.
    pub why: &'static str,
    /// A file that the rule finds fault with.
    pub bad: Example,
    /// The same file, put right.
    pub good: Example,
    pub(super) check: fn(&Model, &mut Findings),
}

/// An example file in an explanation.
#[derive(Debug)]
pub struct Example {
    /// Its name, which tells the format.
    pub file: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub(super) struct PlanFinding {
    /// The rule that says so.
    pub(super) rule: &'static Rule,
    /// How bad it is here, which may differ from the rule's usual severity.
    pub(super) severity: Severity,
    /// Where it is.
    pub(super) at: FileSpot,
    /// What is wrong, in numbers.
    pub(super) message: String,
    /// What would be right.
    pub(super) fix: String,
    /// The change that puts it right, where that is mechanical.
    pub(super) edit: Option<Edit>,
}

/// A change of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Edit {
    /// The text at this position becomes this one.
    Replace(Position, String),
    /// These lines go before the line of this position, with its indentation.
    Insert(Position, String),
    /// These items go before this item of a list, or these entries before this key of a map, in block or flow style.
    Items(Position, Vec<String>),
    /// The items of a list become the keys of a map, each with this value, after this entry.
    Keyed(Vec<Position>, &'static str, &'static str),
    /// All of these, or none.
    Together(Vec<Edit>),
}

/// Collects what one rule finds.
#[derive(Debug)]
pub(super) struct Findings {
    rule: &'static Rule,
    found: Vec<PlanFinding>,
}

impl Findings {
    pub(super) fn of(rule: &'static Rule) -> Findings {
        Findings { rule, found: Vec::new() }
    }

    /// Adds a finding of the rule's usual severity.
    pub(super) fn add(&mut self, file: usize, spot: Position, message: String, fix: String) {
        self.add_as(self.rule.severity, file, spot, message, fix);
    }

    /// Adds a finding of this severity.
    pub(super) fn add_as(&mut self, severity: Severity, file: usize, spot: Position, message: String, fix: String) {
        let at = FileSpot { file, spot };
        self.found.push(PlanFinding { rule: self.rule, severity, at, message, fix, edit: None });
    }

    /// Sets the change for the finding that was added last.
    pub(super) fn with(&mut self, edit: Option<Edit>) {
        if let Some(last) = self.found.last_mut() {
            last.edit = edit;
        }
    }

    pub(super) fn all(self) -> Vec<PlanFinding> {
        self.found
    }
}

//! What a rule is, and what it finds.

use super::model::{FileSpot, Model};
use super::place::Position;
pub(super) use super::request::Severity;

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// As `--ignore` and `--explain` take it.
    pub name: &'static str,
    /// How bad what it finds usually is.
    pub severity: Severity,
    /// What is wrong, in a sentence without its end.
    pub title: &'static str,
    /// Why that drops requests or jobs.
    pub why: &'static str,
    /// A file that it finds fault with, and one that is right.
    pub bad: Example,
    /// The same, put right.
    pub good: Example,
    pub(super) check: fn(&Model, &mut Findings),
}

/// A file of an explanation.
#[derive(Debug)]
pub struct Example {
    /// Its name, which says what it is.
    pub file: &'static str,
    /// What stands in it.
    pub text: &'static str,
}

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub(super) struct PlanFinding {
    /// The rule that says so.
    pub(super) rule: &'static Rule,
    /// As bad as this.
    pub(super) severity: Severity,
    /// Where it stands.
    pub(super) at: FileSpot,
    /// What is wrong, in numbers.
    pub(super) message: String,
    /// What would be right.
    pub(super) fix: String,
    /// The change that makes it right, where that is mechanical.
    pub(super) edit: Option<Edit>,
}

/// A change of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Edit {
    /// What stands here becomes this.
    Replace(Position, String),
    /// Lines before the one of this place, indented as far.
    Insert(Position, String),
    /// Items before this one of a list, or entries before this key of a map, however it is written.
    Items(Position, Vec<String>),
    /// The items of a list become keys of a map with this value each, behind this entry.
    Keyed(Vec<Position>, &'static str, &'static str),
    /// All of these, or none.
    Together(Vec<Edit>),
}

/// Collects what one rule after the other finds.
#[derive(Debug)]
pub(super) struct Findings {
    rule: &'static Rule,
    found: Vec<PlanFinding>,
}

impl Findings {
    pub(super) fn of(rule: &'static Rule) -> Findings {
        Findings { rule, found: Vec::new() }
    }

    /// Adds one, as bad as the rule says.
    pub(super) fn add(&mut self, file: usize, spot: Position, message: String, fix: String) {
        self.add_as(self.rule.severity, file, spot, message, fix);
    }

    /// Adds one that is as bad as this.
    pub(super) fn add_as(&mut self, severity: Severity, file: usize, spot: Position, message: String, fix: String) {
        let at = FileSpot { file, spot };
        self.found.push(PlanFinding { rule: self.rule, severity, at, message, fix, edit: None });
    }

    /// The change for the one that was added last.
    pub(super) fn with(&mut self, edit: Option<Edit>) {
        if let Some(last) = self.found.last_mut() {
            last.edit = edit;
        }
    }

    pub(super) fn all(self) -> Vec<PlanFinding> {
        self.found
    }
}

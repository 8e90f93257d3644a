//! What checking all the files gives: what the views show.

use super::finding::PlanFinding;
use super::place::Position;
use super::wrap::Wrapping;

/// The result for all the files.
#[derive(Debug, Default)]
pub(super) struct PlanResult {
    pub(super) names: Vec<String>,
    pub(super) findings: Vec<PlanFinding>,
    pub(super) faults: Vec<UnreadFile>,
    /// How many findings comments and `--ignore` take out.
    pub(super) ignored: usize,
    /// How many documents, images and units were looked at.
    pub(super) looked_at: usize,
    /// What `--wrap` does to pods and services.
    pub(super) wrappings: Vec<Wrapping>,
}

/// A file, or the rest of one, that could not be read.
#[derive(Debug)]
pub(super) struct UnreadFile {
    pub(super) file: usize,
    pub(super) at: Option<Position>,
    pub(super) reason: String,
}

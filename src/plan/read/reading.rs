//! What comes of one file.

use crate::plan::place::Position;

/// What a reader made of a file, besides what is in the model.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::plan) struct Reading {
    /// How many documents, images or units it has that a rule looks at.
    pub(in crate::plan) found: usize,
    /// Why it could not be read to its end.
    pub(in crate::plan) fault: Option<(Position, String)>,
}

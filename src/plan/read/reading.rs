//! What a reader makes of one file.

use crate::plan::error::SyntaxError;
use crate::plan::place::At;

/// What a reader made of a file, besides what is in the model.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::plan) struct Reading {
    /// How many documents, images or units it has that a rule looks at.
    pub(in crate::plan) found: usize,
    /// Why it could not be read to its end.
    pub(in crate::plan) fault: Option<SyntaxError>,
}

/// A shell line as the container engine runs it.
pub(super) fn of_shell(line: At<String>) -> Vec<At<String>> {
    let word = |text: &str| At { at: line.at, value: text.to_owned() };
    vec![word("/bin/sh"), word("-c"), line.clone()]
}

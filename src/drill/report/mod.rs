//! Views of a drill's document for people and for other programs. Each is a pure function from the document to a text;
//! the terminal's is written, too.
//!
//! ```text
//!   html ──► chart ──► place     the page; the timeline in SVG; what goes where in it
//!     └───────┴───┬──► text      numbers and escapes
//!   junit ────────┘              for tools that show test results
//!   terminal                     for people, at once
//! ```

pub mod html;
pub mod junit;
pub mod terminal;

mod chart;
mod place;
mod text;

#[cfg(test)]
mod testing;

use super::evidence::Document;

pub(super) use text::{counted, lost};

/// The whole document, with a line end.
pub fn json(document: &Document) -> String {
    let mut text = serde_json::to_string_pretty(document).unwrap_or_else(|error| format!("{{\"error\": \"{error}\"}}"));
    text.push('\n');
    text
}

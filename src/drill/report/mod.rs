//! Views of a drill: the terminal, JSON, JUnit XML, one HTML page.

pub mod html;
pub mod junit;
pub mod terminal;

use super::evidence::Document;

/// The whole document, with a line end.
pub fn json(document: &Document) -> String {
    let mut text = serde_json::to_string_pretty(document).unwrap_or_else(|error| format!("{{\"error\": \"{error}\"}}"));
    text.push('\n');
    text
}

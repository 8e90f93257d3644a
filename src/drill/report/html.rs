//! One page with the timeline drawn.

use crate::drill::evidence::Document;

/// The whole page.
pub fn page(_document: &Document) -> String {
    String::new()
}

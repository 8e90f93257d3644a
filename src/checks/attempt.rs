//! What all kinds of check share: how the result of a try is worded.

use crate::health::{Attempt, Status};
use std::time::Duration;

/// At most this many characters of what the other side said are logged.
const MAX_SAID: usize = 100;

/// A try that came to no answer.
pub(super) fn failed(why: impl Into<String>, took: Duration) -> Attempt {
    Attempt { status: Status::Unhealthy, detail: why.into(), said: None, took }
}

/// What the other side said, on one line; what would be invisible there, or would do something to a terminal, is
/// escaped.
pub(super) fn said(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let escaped = |c: char| if "\"'".contains(c) { c.to_string() } else { c.escape_debug().to_string() };
    let line: String = text.trim().chars().take(MAX_SAID).map(escaped).collect();
    (!line.is_empty()).then(|| line.chars().take(MAX_SAID).collect())
}

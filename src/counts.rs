//! Connections of the app, counted by what they hold back: one type for whoever counts them, and for the log, the
//! report, the metrics and the drill.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What is in flight. As text, what holds the signal back: `2 busy, 1 unknown, 3 never accepted`, or `idle`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Connections with a request that is not answered, or with data on its way.
    pub busy: usize,
    /// Connections about which that cannot be told, or not yet.
    pub unknown: usize,
    /// Connections that wait for their next request, or for their first.
    pub idle: usize,
    /// Connections that wait to be accepted: they die if the app exits now.
    pub unaccepted: usize,
}

impl Counts {
    /// Whether nothing is in flight, as certainly as that can be known.
    pub fn is_idle(&self) -> bool {
        self.unaccepted == 0 && self.busy == 0 && self.unknown == 0
    }

    /// Adds the connections of another part of the app.
    pub fn add(&mut self, other: Counts) {
        self.unaccepted += other.unaccepted;
        self.busy += other.busy;
        self.unknown += other.unknown;
        self.idle += other.idle;
    }

    /// What an exit of the app at this moment certainly loses: `2 requests unanswered and 3 never accepted`.
    pub fn lost(&self) -> Option<String> {
        let requests = |count: usize| if count == 1 { "request" } else { "requests" };
        match (self.busy, self.unaccepted) {
            (0, 0) => None,
            (busy, 0) => Some(format!("{busy} {} unanswered", requests(busy))),
            // Nobody knows whether there was a request in it.
            (0, 1) => Some("1 connection never accepted".to_owned()),
            (0, unaccepted) => Some(format!("{unaccepted} connections never accepted")),
            (busy, unaccepted) => Some(format!("{busy} {} unanswered and {unaccepted} never accepted", requests(busy))),
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [(self.busy, "busy"), (self.unknown, "unknown"), (self.unaccepted, "never accepted")];
        let mut between = "";
        for (count, what) in parts.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "{between}{count} {what}")?;
            between = ", ";
        }
        if self.is_idle() { f.write_str("idle") } else { Ok(()) }
    }
}

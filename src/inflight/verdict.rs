//! What the hold makes of what was counted.

use crate::counts::Counts;
use std::fmt;
use std::time::Duration;

/// Whether what the hold waits for has come. As text, what it is or what is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldVerdict {
    /// Nothing is in flight.
    Idle,
    /// And nothing new has come for the quiet window.
    Quiet,
    /// Something is in flight.
    InFlight(Counts),
    /// Nothing is in flight, but something new had come this short a time before.
    NotQuiet(Duration),
    /// There has been no sample yet.
    NotSeen,
}

impl HoldVerdict {
    /// Whether the hold has what it waits for.
    pub fn is_reached(&self) -> bool {
        match self {
            HoldVerdict::Idle | HoldVerdict::Quiet => true,
            HoldVerdict::InFlight(_) | HoldVerdict::NotQuiet(_) | HoldVerdict::NotSeen => false,
        }
    }
}

impl fmt::Display for HoldVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HoldVerdict::Idle => f.write_str("idle"),
            HoldVerdict::Quiet => f.write_str("quiet"),
            HoldVerdict::InFlight(counts) => counts.fmt(f),
            HoldVerdict::NotQuiet(since) => write!(f, "idle, but something new came {:.1} s ago", since.as_secs_f64()),
            HoldVerdict::NotSeen => f.write_str("not seen yet"),
        }
    }
}

//! What the demo can get wrong: each is a mistake that real apps make.

use clap::ValueEnum;
use std::fmt;

/// One way to stop badly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// Nothing is done about the stop signal: it ends the app, and all that is in flight.
    NoHandler,
    /// The handler exits at once with 0; what is in flight is lost.
    ExitsAtOnce,
    /// `/ready` goes on saying yes while the listener is closed.
    KeepsReady,
    /// The stop signal is ignored; the app serves on and never exits.
    Hangs,
    /// One request at a time; what waits in the backlog when the listener is closed is reset.
    LosesBacklog,
    /// A good stop, but an end by SIGTERM, which a shell shows as 143.
    #[value(name = "exits-143")]
    Exits143,
    /// A good stop, but a child process stays behind.
    LeavesChild,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.to_possible_value();
        f.pad(name.as_ref().map_or("unnamed", |name| name.get_name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_shown_by_the_name_that_it_is_read_from() {
        for fault in Fault::value_variants() {
            assert_eq!(Fault::from_str(&fault.to_string(), false), Ok(*fault));
        }
        assert!(Fault::from_str("none", false).is_err());
    }
}

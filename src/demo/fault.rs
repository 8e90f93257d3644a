//! What the demo can get wrong: each is a mistake that real apps make.

use std::fmt;

/// One way to stop badly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    Exits143,
    /// A good stop, but a child process stays behind.
    LeavesChild,
}

impl Fault {
    /// Every fault by its name.
    pub const NAMES: &[(&'static str, Fault)] = &[
        ("no-handler", Fault::NoHandler),
        ("exits-at-once", Fault::ExitsAtOnce),
        ("keeps-ready", Fault::KeepsReady),
        ("hangs", Fault::Hangs),
        ("loses-backlog", Fault::LosesBacklog),
        ("exits-143", Fault::Exits143),
        ("leaves-child", Fault::LeavesChild),
    ];

    /// The fault of this name.
    pub fn parse(name: &str) -> Option<Fault> {
        Fault::NAMES.iter().find(|(known, _)| *known == name).map(|(_, fault)| *fault)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Fault::NAMES.iter().find(|(_, fault)| fault == self).map_or("unnamed", |(name, _)| *name);
        f.pad(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_shown_by_the_name_that_it_is_read_from() {
        let all = [
            Fault::NoHandler,
            Fault::ExitsAtOnce,
            Fault::KeepsReady,
            Fault::Hangs,
            Fault::LosesBacklog,
            Fault::Exits143,
            Fault::LeavesChild,
        ];
        assert_eq!(Fault::NAMES.len(), all.len());
        for fault in all {
            assert_eq!(Fault::parse(&fault.to_string()), Some(fault));
        }
        assert_eq!(Fault::parse("none"), None);
    }
}

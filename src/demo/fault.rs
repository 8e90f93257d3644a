//! What apps do wrong when they are told to stop.

use std::fmt;

/// One thing done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It dies of the stop signal.
    NoHandler,
    /// Its handler exits and waits for nothing.
    ExitsAtOnce,
    /// Its readiness endpoint says ready until the listener is closed.
    KeepsReady,
    /// It does nothing about the stop signal.
    Hangs,
    /// It serves one connection at a time, and closes the listener over those that wait.
    LosesBacklog,
    /// It stops well, and then dies of the signal, as some servers do.
    Exits143,
    /// It stops well, and a child of its own lives on.
    LeavesChild,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Fault; 7] = [
        Fault::NoHandler,
        Fault::ExitsAtOnce,
        Fault::KeepsReady,
        Fault::Hangs,
        Fault::LosesBacklog,
        Fault::Exits143,
        Fault::LeavesChild,
    ];

    /// As `--demo=` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Fault::NoHandler => "no-handler",
            Fault::ExitsAtOnce => "exits-at-once",
            Fault::KeepsReady => "keeps-ready",
            Fault::Hangs => "hangs",
            Fault::LosesBacklog => "loses-backlog",
            Fault::Exits143 => "exits-143",
            Fault::LeavesChild => "leaves-child",
        }
    }

    /// The fault of this name.
    pub fn parse(name: &str) -> Option<Fault> {
        Fault::ALL.into_iter().find(|fault| fault.name() == name)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

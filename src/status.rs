//! How a process ended, and the exit codes that graceful itself uses.

use crate::signal::{Signal, SignalSet};
use std::collections::BTreeSet;
use std::fmt;

/// Usage or configuration error; nothing was started.
pub const USAGE: u8 = 2;
/// graceful's own failure, or a pre-start hook that failed; the app was not started.
pub const FAILURE: u8 = 125;
/// The command was found but could not be executed.
pub const NOT_EXECUTABLE: u8 = 126;
/// The command was not found.
pub const NOT_FOUND: u8 = 127;

/// How a process ended, as wait(2) tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It called exit(3) with this code.
    Exited(u8),
    /// This signal ended it.
    Signaled(Signal),
}

impl ExitStatus {
    /// The code that a shell would show: the process's own, or 128 + the signal's number.
    pub fn code(self) -> u8 {
        match self {
            ExitStatus::Exited(code) => code,
            ExitStatus::Signaled(signal) => 128 + signal.number() as u8,
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitStatus::Exited(code) => write!(f, "exit status {code}"),
            ExitStatus::Signaled(signal) => write!(f, "killed by {signal}"),
        }
    }
}

/// The endings that `--success-exit-status` turns into 0.
///
/// `143` matches both an exit with 143 and a death by SIGTERM, as the shell's code is one for both;
/// a signal's name matches only a death by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SuccessStatuses {
    /// Shell codes.
    pub codes: BTreeSet<u8>,
    /// Signals.
    pub signals: SignalSet,
}

impl SuccessStatuses {
    /// Whether this ending counts as success (0 always does).
    pub fn contains(&self, status: ExitStatus) -> bool {
        status.code() == 0
            || self.codes.contains(&status.code())
            || matches!(status, ExitStatus::Signaled(signal) if self.signals.contains(signal))
    }
}

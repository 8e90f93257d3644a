//! Why it cannot be told what became of the jobs, besides a command that cannot submit them.

use super::ask::AskError;
use crate::drill::subject::SubjectError;
use crate::timeline::text::human;
use std::time::Duration;

/// Why the last look told nothing, or why nothing can be told after it.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookError {
    /// One of its commands came to nothing.
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("no look at them was over in time")]
    Late,
    /// The worker cannot be started once more.
    #[error(transparent)]
    NotStarted(#[from] SubjectError),
    /// No job can be submitted to the worker that was started once more.
    #[error("whether what is not done is lost cannot be told: the worker was started once more, and {0}")]
    NotSubmitted(AskError),
    /// The worker that was started once more has ended: how, in words.
    #[error("whether what is not done is lost cannot be told: the worker was started once more, and {0}")]
    DiedEarly(String),
    /// The worker that was started once more needs longer than `--settle` for what is not done.
    #[error(
        "{missing} are not done, and the worker that was started once more has not got past them within {} (--settle); \
         --queued COMMAND prints what the queue still has",
        human(*.within)
    )]
    Behind { missing: usize, within: Duration },
}

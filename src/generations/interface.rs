//! What goes into [`super::Generations`] and what comes out.

use crate::lifecycle::Outcome;
use crate::status::ExitStatus;
use crate::timeline::GenerationCause;
use std::fmt;
use std::time::Duration;

/// Which generation, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GenerationId(u64);

impl GenerationId {
    /// That of graceful's start.
    pub const FIRST: GenerationId = GenerationId(1);

    /// The one that is started after it.
    pub(super) fn next(self) -> GenerationId {
        GenerationId(self.0.saturating_add(1))
    }

    /// Its number.
    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for GenerationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What has to be known of the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestartPlan {
    /// An app that failed is started again.
    pub failed: bool,
    /// One that ended as it should, too.
    pub clean: bool,
    /// The first pause before that; doubled from try to try.
    pub delay: Duration,
    /// The longest pause; and a run that is longer ends the row of tries.
    pub delay_max: Duration,
    /// So many tries in a row at most.
    pub limit: Option<u32>,
}

/// A fact from outside. What is said of a generation that is not there (any more) is without effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GenerationInput {
    /// It is ready.
    Ready(GenerationId),
    /// It could not be started, and nothing is left of it; graceful's exit code for that.
    Failed {
        /// Which one.
        generation: GenerationId,
        /// 125 to 127.
        code: u8,
    },
    /// It has ended, and nothing is left of it.
    Exited {
        /// Which one.
        generation: GenerationId,
        /// How its app ended.
        status: ExitStatus,
        /// That is no failure.
        clean: bool,
        /// From the app's start to its exit.
        ran: Duration,
    },
    /// Not even SIGKILL has ended it.
    Stuck(GenerationId),
    /// A new generation is asked for.
    Reload,
    /// It is not ready, and should have been.
    Late(GenerationId),
    /// It does not show any life, and is to be replaced for that.
    Hung(GenerationId),
    /// A stop signal has come.
    Stop,
    /// Nothing but time has passed.
    Tick,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GenerationAction {
    /// Start it; answer Failed, or Ready, and at its end Exited.
    Start {
        /// The new one.
        generation: GenerationId,
        /// Why.
        cause: GenerationCause,
    },
    /// From now on it is the one that counts.
    Promote(GenerationId),
    /// Its stop is to begin, if it has not.
    Stop {
        /// Which one.
        generation: GenerationId,
        /// Why, which decides what its stop may take.
        why: WhyStopped,
    },
    /// Nothing is there that counts until this time, to be told by a Tick.
    Wait {
        /// When the next one is started.
        until: Duration,
        /// How long that is.
        pause: Duration,
        /// Which try in a row that is, from 1 on.
        tries: u32,
    },
    /// The end; nothing follows.
    GiveUp {
        /// How the generation that counted last has ended.
        outcome: Outcome,
        /// Why there is no other one.
        why: GiveUpReason,
    },
}

/// Why a generation is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyStopped {
    /// By the stop signal, within the one budget that begins with it.
    Signal,
    /// A newer one counts.
    Replaced,
    /// It was not ready in time.
    NotReady,
    /// It shows no life.
    Hung,
}

/// Why it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GiveUpReason {
    /// The app has ended, and is not to be started again for such an end.
    Ended,
    /// It was tried so often in a row.
    Limit(u32),
    /// A stop signal has come.
    Stopped,
    /// It could not be started the first time.
    NeverStarted,
    /// Not even SIGKILL ended it.
    Stuck,
}

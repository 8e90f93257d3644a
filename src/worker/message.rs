//! What the main loop and a worker tell each other: [`WorkerCommand`]s one way, [`WorkerEvent`]s the other.

use crate::checks::{CheckChanged, CheckCommand};
use crate::config::CheckConfig;
use crate::health::Attempt;
use crate::http::Observation;
use crate::secret::Url;
use crate::server::ProbeListener;
use crate::status::ExitStatus;
use crate::timeline::{HookResult, Stage};
use std::net::Ipv4Addr;
use std::time::Duration;

/// What the main loop wants done.
#[derive(Debug)]
pub enum WorkerCommand {
    /// Answer probes there.
    Serve(ProbeListener),
    /// Try all checks, from now on.
    StartChecks(Vec<CheckConfig>),
    /// Stop trying checks; what is under way is given up.
    StopChecks,
    /// A command of [`WorkerEvent::RunCommand`] has ended.
    CommandEnded {
        /// The id that it came with.
        id: u32,
        /// How it went.
        attempt: Attempt,
    },
    /// For the metrics.
    Note(ProbeNote),
    /// Poll readiness at once and then in this interval, instead of what was polled before. With `until_ready` the
    /// first success is the last poll. A poll that takes longer than the interval delays the next one: polls never
    /// overlap.
    PollReadiness {
        /// The readiness endpoint.
        url: Url,
        /// From the start of one poll to the start of the next.
        interval: Duration,
        /// For one poll.
        timeout: Duration,
        /// Whether the first success ends it.
        until_ready: bool,
    },
    /// Ask the run of the app that is to take another one's place whether it is ready, at once and then in this
    /// interval, until it is. What comes from the given address reaches it.
    PollSuccessor {
        /// The readiness endpoint.
        url: Url,
        /// From the start of one poll to the start of the next.
        interval: Duration,
        /// For one poll.
        timeout: Duration,
        /// An address of 127.0.0.0/8.
        from: Ipv4Addr,
        /// Which run that is.
        generation: u64,
    },
    /// Stop polling the successor, as [`WorkerCommand::StopPolling`] does for readiness.
    StopSuccessor,
    /// Poll liveness at once and then in this interval.
    PollLiveness {
        /// The liveness endpoint.
        url: Url,
        /// From the start of one poll to the start of the next.
        interval: Duration,
        /// For one poll.
        timeout: Duration,
    },
    /// Stop polling liveness, in the same way.
    StopLiveness,
    /// Stop polling readiness; a poll under way is given up. An observation already queued still arrives.
    StopPolling,
    /// A hook: POST once.
    Post {
        /// Comes back with the result.
        id: u32,
        /// Where to.
        url: Url,
        /// For all of it.
        timeout: Duration,
    },
    /// Poll a hold's URL at once and then in this interval, until it answers 2xx.
    PollHold {
        /// The hold's URL.
        url: Url,
        /// From the start of one poll to the start of the next.
        interval: Duration,
        /// For one poll.
        timeout: Duration,
    },
    /// Stop polling the hold's URL.
    StopHold,
    /// Panic, for a test.
    #[cfg(debug_assertions)]
    Fail,
}

/// Something that happened in the main loop and is counted here.
#[derive(Clone, Debug, PartialEq)]
pub enum ProbeNote {
    /// What the probes say may have changed.
    Changed,
    /// A hook has ended.
    HookEnded {
        /// The name of the hook.
        name: String,
        /// Its stage.
        stage: Stage,
        /// How it ended.
        result: HookResult,
        /// After how long.
        took: Duration,
    },
    /// The app has ended.
    AppExited(ExitStatus),
}

/// What the thread has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerEvent {
    /// One readiness poll's result.
    Readiness(Observation),
    /// The result of one poll of a run that is to take another one's place.
    Successor {
        /// Which run that is.
        generation: u64,
        /// The result.
        observation: Observation,
    },
    /// One liveness poll's result.
    Liveness(Observation),
    /// A hook's result.
    Posted {
        /// The id of its [`WorkerCommand::Post`].
        id: u32,
        /// Success is [`crate::http::RequestResult::Ready`].
        observation: Observation,
    },
    /// The hold's URL answered 2xx; it is no longer polled.
    HoldOver {
        /// The answer.
        detail: String,
    },
    /// The hold's URL did not answer 2xx yet.
    HoldCheck(Observation),
    /// A check's status or its breaker changed.
    CheckChanged(CheckChanged),
    /// The probe server has ended, which it never should.
    ServerEnded(String),
    /// A command is to be run for a check; the answer is [`WorkerCommand::CommandEnded`].
    RunCommand {
        /// To be named in the answer.
        id: u32,
        /// What to run.
        command: CheckCommand,
    },
    /// The thread is gone and this is its last word: what was under way will not be reported.
    Died(String),
}

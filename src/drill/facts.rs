//! What one drill has seen besides its requests: the material of the verdict.

use crate::counts::Counts;
use crate::status::ExitStatus;
use crate::timeline::report::Report;

/// All that was seen. Times are seconds since the stop.
#[derive(Clone, Debug, Default)]
pub(super) struct Observations {
    /// Whether `graceful run` was in charge.
    pub(super) supervised: bool,
    /// Whether the process of `--pid` is a graceful that was there before.
    pub(super) under_graceful: bool,
    /// What the stop came to.
    pub(super) result: StopResult,
    /// When the drill itself sent SIGKILL.
    pub(super) killed_s: Option<f64>,
    /// Whether none of the processes that listen has a handler for the stop signal: they die of it.
    pub(super) no_handler: bool,
    /// Whether all of them ignore it.
    pub(super) ignores: bool,
    /// What outlived the app, where the drill itself was its parent.
    pub(super) left: Vec<String>,
    /// What graceful reported.
    pub(super) report: Option<Report>,
    /// What graceful and the app have written last, where that is the only word of it.
    pub(super) said: Vec<String>,
    /// Changes of the readiness endpoint.
    pub(super) readiness: Vec<(f64, ReadyState)>,
    /// Whether somebody still takes connections when the app is gone; none where nobody looked.
    pub(super) accepts_after: Option<bool>,
    /// How many requests were not sent, because too many were under way.
    pub(super) held_back: u64,
    /// The most connections that waited to be accepted at once.
    pub(super) most_unaccepted: usize,
    /// The drill's own look at the app's connections right before the stop, where graceful itself does not look.
    pub(super) looks_at_stop: Option<Counts>,
    /// The last one before the exit.
    pub(super) looks_at_exit: Option<Counts>,
}

/// What a stop comes to: this and nothing else says whether the app itself has ended, or only what was asked to stop
/// it. After a reload the app lives on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum StopResult {
    /// Nothing ended: there was no stop, or what was stopped is still there.
    #[default]
    Nothing,
    /// The app exited.
    AppExited(Exit),
    /// The stop command exited. Only the target's clients see what became of the target.
    CommandExited(Exit),
    /// What asked for the reload exited: the new run of the app serves, or it does not come to that.
    ReloadEnded(Exit),
}

impl StopResult {
    /// The exit of whichever exited.
    pub(super) fn exit(self) -> Option<Exit> {
        match self {
            StopResult::Nothing => None,
            StopResult::AppExited(exit) | StopResult::CommandExited(exit) | StopResult::ReloadEnded(exit) => Some(exit),
        }
    }
}

/// The exit of a process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Exit {
    pub(super) at_s: f64,
    /// None where the process is not a child of the drill.
    pub(super) status: Option<ExitStatus>,
}

/// What the readiness endpoint said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ReadyState {
    /// 200 to 399.
    Ready,
    /// Something else, in words.
    NotReady(String),
    /// Nobody listens there any more.
    Refused,
}

impl ReadyState {
    /// Whether a load balancer would send elsewhere.
    pub(super) fn is_failing(&self) -> bool {
        !matches!(self, ReadyState::Ready)
    }
}

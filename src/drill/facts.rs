//! What one drill has seen beside its requests: the material of the verdict.

use crate::inflight::Counts;
use crate::status::ExitStatus;

/// All of it. Times are seconds since the stop.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// `graceful run` was in charge.
    pub(super) supervised: bool,
    /// What ended is the app, and not a command that stopped it.
    pub(super) is_app: bool,
    /// When it ended, and how, if that can be known.
    pub(super) exit: Option<(f64, Option<ExitStatus>)>,
    /// When the drill itself sent SIGKILL.
    pub(super) killed_s: Option<f64>,
    /// None of the processes that listen has a handler for the stop signal: they die of it.
    pub(super) no_handler: bool,
    /// All of them ignore it.
    pub(super) ignores: bool,
    /// What outlived the app, where the drill itself was its parent.
    pub(super) left: Vec<String>,
    /// What graceful reported.
    pub(super) report: Option<serde_json::Value>,
    /// Changes of the readiness endpoint.
    pub(super) readiness: Vec<(f64, ReadyState)>,
    /// Somebody still takes connections when the app is gone.
    pub(super) accepts_after: Option<bool>,
    /// Requests that were not sent, because too many were under way.
    pub(super) held_back: u64,
    /// So many waited to be accepted at once, at the worst.
    pub(super) most_unaccepted: usize,
    /// The drill's own look at the app's connections right before the stop, where graceful itself does not look.
    pub(super) looks_at_stop: Option<Counts>,
    /// The last one before the exit.
    pub(super) looks_at_exit: Option<Counts>,
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
    /// A load balancer would send elsewhere.
    pub(super) fn is_failing(&self) -> bool {
        !matches!(self, ReadyState::Ready)
    }
}

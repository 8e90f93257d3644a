//! What a drill tells of its decisions while it is held, for `--log-level debug`: each thing once, as it is decided.
//!
//! Nothing here decides anything. What is told where it happens, by a line of its own, is not here.

use super::evidence::{Check, Drill};
use super::load::Control;
use super::subject::Ended;
use crate::timeline::text::human;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tracing::debug;

/// What was told of a drill.
#[derive(Debug, Default)]
pub(super) struct DecisionLog {
    /// Why there is no load yet.
    waits: String,
    sign: bool,
    lag_over: bool,
}

impl DecisionLog {
    /// There is no load yet; said again when the reason is another one.
    pub(super) fn waits(&mut self, why: &str) {
        if self.waits != why {
            debug!(name: "drill_waits", why, "no load yet: {why}");
            why.clone_into(&mut self.waits);
        }
    }

    /// The first sign of a stop that a command makes.
    pub(super) fn sign(&mut self, sign: Instant, stop: Instant) {
        if !std::mem::replace(&mut self.sign, true) {
            let after = sign.saturating_duration_since(stop);
            let (after_s, after) = (after.as_secs_f64(), human(after));
            debug!(name: "drill_sign", after_s, "first sign of the stop, {after} after it");
        }
    }

    /// Whether the load balancer has stopped sending.
    pub(super) fn lag(&mut self, control: &Control, stop: Instant, now: Instant) {
        let Some(end) = control.end().filter(|end| now >= *end && !self.lag_over) else { return };
        self.lag_over = true;
        let sent = control.sent.load(Relaxed);
        let after = end.saturating_duration_since(stop);
        let (after_s, after) = (after.as_secs_f64(), human(after));
        debug!(name: "drill_lag_over", sent, after_s, "the load balancer's lag is over, {after} after the stop: {sent} requests");
    }
}

/// What was stopped has ended.
pub(super) fn ended(ended: Ended, stop: Instant, left: &[String]) {
    let status = ended.status.map_or_else(|| "its status is not known".to_owned(), |status| status.to_string());
    let after = ended.at.saturating_duration_since(stop);
    let (after_s, after, left) = (after.as_secs_f64(), human(after), left.len());
    debug!(name: "drill_ended", status, after_s, left, "it ended {after} after the stop ({status}), and left {left} processes");
}

/// It is still there at the end of the drill's patience.
pub(super) fn kills(patience: Duration) {
    let (patience_s, patience) = (patience.as_secs_f64(), human(patience));
    debug!(name: "drill_kills", patience_s, "it has not ended within {patience}: SIGKILL");
}

/// Why the verdict is what it is: each check with what was seen.
pub(super) fn judged(drill: &Drill) {
    for Check { name, result, evidence, .. } in &drill.checks {
        debug!(name: "drill_check", check = name.name(), ?result, evidence, "check {name}: {result:?}, {evidence}");
    }
    let Drill { title, verdict, dropped, .. } = drill;
    debug!(name: "drill_judged", drill = title, ?verdict, dropped, "the drill is over: {verdict:?}, {dropped} dropped");
}

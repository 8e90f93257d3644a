//! What a drill says about its decisions while it runs, for `--log-level debug`: each thing once, as it is decided.
//!
//! Nothing here decides anything. What is logged where it happens, by a line of its own, is not here.

use super::evidence::{Check, Drill};
use super::load::Control;
use super::subject::Ended;
use crate::timeline::text::human;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tracing::debug;

/// What has been logged about a drill.
#[derive(Debug, Default)]
pub(super) struct DecisionLog {
    /// Why there is no load yet.
    waits: String,
    sign: bool,
    lag_over: bool,
}

impl DecisionLog {
    /// Logs why there is no load yet; again when the reason changes.
    pub(super) fn waits(&mut self, why: &str) {
        if self.waits != why {
            debug!(name: "drill_waits", why, "no load yet: {why}");
            why.clone_into(&mut self.waits);
        }
    }

    /// Logs the first sign of a stop that a command makes.
    pub(super) fn sign(&mut self, sign: Instant, stop: Instant) {
        if !std::mem::replace(&mut self.sign, true) {
            let after = sign.saturating_duration_since(stop);
            let (after_s, after) = (after.as_secs_f64(), human(after));
            debug!(name: "drill_sign", after_s, "first sign of the stop, {after} after it");
        }
    }

    /// Logs that the load balancer has stopped sending, once it has.
    pub(super) fn lag(&mut self, control: &Control, stop: Instant, now: Instant) {
        let Some(end) = control.end().filter(|end| now >= *end && !self.lag_over) else { return };
        self.lag_over = true;
        let sent = control.sent.load(Relaxed);
        let after = end.saturating_duration_since(stop);
        let (after_s, after) = (after.as_secs_f64(), human(after));
        debug!(name: "drill_lag_over", sent, after_s, "the load balancer's lag is over, {after} after the stop: {sent} requests");
    }
}

/// Logs that what was stopped has ended.
pub(super) fn ended(ended: Ended, stop: Instant, left: &[String]) {
    let status = ended.status.map_or_else(|| "its status is not known".to_owned(), |status| status.to_string());
    let after = ended.at.saturating_duration_since(stop);
    let (after_s, after, left) = (after.as_secs_f64(), human(after), left.len());
    debug!(name: "drill_ended", status, after_s, left, "it ended {after} after the stop ({status}), and left {left} processes");
}

/// Logs that it gets SIGKILL, being still there at the end of the drill's patience.
pub(super) fn kills(patience: Duration) {
    let (patience_s, patience) = (patience.as_secs_f64(), human(patience));
    debug!(name: "drill_kills", patience_s, "it has not ended within {patience}: SIGKILL");
}

/// Logs why the verdict is what it is: each check with what was seen.
pub(super) fn judged(drill: &Drill) {
    for Check { name, result, evidence, .. } in &drill.checks {
        debug!(name: "drill_check", check = name.name(), ?result, evidence, "check {name}: {result:?}, {evidence}");
    }
    let Drill { title, verdict, dropped, .. } = drill;
    debug!(name: "drill_judged", drill = title, ?verdict, dropped, "the drill is over: {verdict:?}, {dropped} dropped");
}

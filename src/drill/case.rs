//! What the checks and their causes look at, and how they say times. Pure.

use super::evidence::Drill;
use super::facts::{Exit, Observations, StopResult};
use super::plan::{DrillPlan, Subject, Supervision};
use super::record::Record;
use crate::signal::Signal;
use crate::timeline::report::Report;
use crate::timeline::text::human;
use std::time::Duration;

/// No orchestrator waits for fewer seconds before it sends SIGKILL (docs.docker.com, "docker container stop": 10
/// seconds).
pub(super) const PLATFORM_WAITS_S: f64 = 10.0;

/// How many seconds a platform still clears away after SIGKILL, before its command ends.
pub(super) const CLEARS_AWAY_S: f64 = 2.0;

/// How many seconds after it begins a stop is seen, at most.
const SIGN_LATE_S: f64 = 0.1;

/// Everything that the checks look at.
pub(super) struct Case<'a> {
    pub(super) drill: &'a Drill,
    pub(super) facts: &'a Observations,
    pub(super) plan: &'a DrillPlan,
    pub(super) way: Supervision,
}

impl Case<'_> {
    /// How many seconds the load balancer sends after it could know of the stop.
    pub(super) fn lag_s(&self) -> f64 {
        self.plan.lb_lag.as_secs_f64()
    }

    /// When the target began to stop: at the signal, or with the first sign of it where a command stops it. A request
    /// that is cut off is a sign, too, though no load balancer sends elsewhere for that.
    pub(super) fn stop_s(&self) -> f64 {
        if !self.is_command() || self.plan.rolling {
            return 0.0;
        }
        let lost = self.drill.lost().map(|record| record.ended_s).filter(|at| *at >= 0.0);
        lost.fold(self.first_sign_s(), f64::min)
    }

    /// When a load balancer could know that a command stops the target, at the latest with the command's end.
    pub(super) fn first_sign_s(&self) -> f64 {
        (self.drill.lb_lag_s - self.lag_s()).max(0.0)
    }

    /// Whether a command stops the target, of which nothing is known but what its clients see.
    pub(super) fn is_command(&self) -> bool {
        matches!(self.plan.subject, Subject::Command(_))
    }

    /// How many seconds the stop command took, if its platform sent SIGKILL, as far as that can be told: the platform
    /// waits from its signal on, which comes after the command's start, and an app that does nothing about the signal
    /// shows no sign until the wait is over. How long a rolling command takes says nothing about how long it waited for
    /// one instance.
    pub(super) fn platform_killed_s(&self) -> Option<f64> {
        let StopResult::CommandExited(Exit { at_s: took_s, .. }) = self.facts.result else { return None };
        let (waits_s, sign_s) = (self.platform_waits_s(), self.first_sign_s());
        // The first sign is that the target was killed, or the platform waited from the first sign on.
        let is_sign = sign_s >= waits_s - SIGN_LATE_S && took_s - sign_s < CLEARS_AWAY_S;
        let was_waited_for = took_s - sign_s >= waits_s - SIGN_LATE_S;
        let may_be = self.facts.killed_s.is_none() && !self.plan.rolling && took_s >= waits_s;
        (may_be && (is_sign || was_waited_for)).then_some(took_s)
    }

    /// The platform's patience in seconds: what the user says, or the least that any platform has.
    pub(super) fn platform_waits_s(&self) -> f64 {
        if self.plan.grace_is_given { self.plan.grace_period.as_secs_f64() } else { PLATFORM_WAITS_S }
    }
}

/// The requests that were sent before this time and were not over by then.
pub(super) fn under_way_at(drill: &Drill, at_s: f64) -> impl Iterator<Item = &Record> {
    drill.requests.iter().filter(move |record| record.sent_s < at_s && record.ended_s >= at_s)
}

/// "1.2 s", for a time that is not negative.
pub(super) fn seconds(value: f64) -> String {
    human(Duration::from_secs_f64(value.max(0.0)))
}

/// "1.2 s after the stop", "30 ms before the stop".
pub(super) fn relative(value: f64) -> String {
    format!("{} {} the stop", seconds(value.abs()), if value < 0.0 { "before" } else { "after" })
}

/// The stop signal, by name.
pub(super) fn signal(case: &Case<'_>) -> String {
    stop_signal(case).map_or_else(|| "the stop signal".to_owned(), |signal| signal.to_string())
}

/// The stop signal, where it is known.
pub(super) fn stop_signal(case: &Case<'_>) -> Option<Signal> {
    if let Some(sent) = case.facts.report.as_ref().and_then(Report::stop_signal) {
        return Some(sent.signal);
    }
    match &case.plan.subject {
        Subject::Own { signal, .. } | Subject::Pid { signal, .. } => Some(*signal),
        Subject::Command(_) | Subject::Nothing => None,
    }
}

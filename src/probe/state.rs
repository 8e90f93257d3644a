//! What the thread that asks and the thread that answers share: the last answer of the readiness endpoint, the checks'
//! memories, the metrics.
//!
//! Locks are held while something is noted down or a page is made of it, never over an await and never by the main loop,
//! which only makes and drops it. It outlives the threads: whoever is started again finds what was known.

use super::metrics::Metrics;
use crate::config::{Budget, Check, FailReadiness};
use crate::health::{Attempt, Board, Change, Checked, Probe, ReadyUrl, Rules, Situation, Tracker, judge};
use crate::sys::cgroup::OomKills;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What the probe server has to know, from the main loop.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What the main loop says, as it changes.
    pub board: Arc<Board>,
    /// `--fail-readiness`.
    pub fail_readiness: FailReadiness,
    /// Whether the app has a readiness endpoint.
    pub has_ready_url: bool,
    /// For the metrics.
    pub budget: Budget,
}

/// One check with its memory.
pub(super) struct CheckState {
    pub(super) check: Check,
    pub(super) tracker: Tracker,
}

/// See the module's text.
pub struct Shared {
    pub(super) facts: Facts,
    pub(super) metrics: Metrics,
    oom_kills: Option<OomKills>,
    ready_url: Mutex<ReadyUrl>,
    checks: Mutex<Vec<CheckState>>,
    was_ready: Mutex<bool>,
}

/// A thread that has panicked leaves nothing half changed that anybody could mistake: the next try sets it right.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Of these checks, none of which was tried yet.
    pub fn new(facts: Facts, checks: &[Check]) -> Shared {
        let state = |check: &Check| CheckState { check: check.clone(), tracker: Tracker::new(rules(check)) };
        Shared {
            facts,
            metrics: Metrics::new(),
            oom_kills: OomKills::from_now_on(),
            ready_url: Mutex::new(ReadyUrl { ready: None, detail: String::new() }),
            checks: Mutex::new(checks.iter().map(state).collect()),
            was_ready: Mutex::new(false),
        }
    }

    /// Hands over everything that is known now.
    pub(super) fn with_situation<T>(&self, use_it: impl FnOnce(&Situation) -> T) -> T {
        let (ready_url, checks) = (locked(&self.ready_url), locked(&self.checks));
        let situation = Situation {
            standing: self.facts.board.standing(),
            fail_readiness: self.facts.fail_readiness,
            ready_url: self.facts.has_ready_url.then_some(&*ready_url),
            checks: checks
                .iter()
                .map(|CheckState { check, tracker }| Checked { name: &check.name, critical: check.critical, tracker })
                .collect(),
        };
        use_it(&situation)
    }

    /// Asks the kernel for what nobody tells of when it happens.
    pub(super) fn look_for_oom_kills(&self) {
        if let Some(kills) = &self.oom_kills {
            self.facts.board.oom_killed(kills.count());
        }
    }

    /// The readiness endpoint answered.
    pub(super) fn polled(&self, ready: bool, detail: &str, took: Duration) {
        *locked(&self.ready_url) = ReadyUrl { ready: Some(ready), detail: detail.to_owned() };
        self.metrics.polled(took);
        self.reassess();
    }

    /// How long the check must not be tried: zero, unless its breaker is open.
    pub(super) fn wait(&self, index: usize) -> Duration {
        let now = self.facts.board.now();
        let mut checks = locked(&self.checks);
        checks.get_mut(index).map_or(Duration::ZERO, |state| state.tracker.wait(now))
    }

    /// A try of the check has ended; says what it changed, if anything, with the detail that is now true.
    pub(super) fn tried(&self, index: usize, attempt: Attempt) -> Option<(Change, String)> {
        let now = self.facts.board.now();
        let change = {
            let mut checks = locked(&self.checks);
            let state = checks.get_mut(index)?;
            self.metrics.checked(&state.check.name, attempt.status, attempt.took);
            let change = state.tracker.record(now, attempt);
            change.map(|change| (change, state.tracker.detail().to_owned()))
        };
        self.reassess();
        change
    }

    /// Counts how often readiness comes and goes.
    pub(super) fn reassess(&self) {
        let mut was_ready = locked(&self.was_ready);
        let ready = self.with_situation(|situation| judge(Probe::Ready, situation, &[]).ok);
        if std::mem::replace(&mut *was_ready, ready) != ready {
            self.metrics.readiness_changed(ready);
        }
    }
}

fn rules(check: &Check) -> Rules {
    Rules {
        failure_threshold: check.failure_threshold,
        success_threshold: check.success_threshold,
        breaker_after: check.breaker_after,
        breaker_reset: check.breaker_reset,
        degraded_after: check.degraded_after,
    }
}

//! What the thread that asks and the thread that answers share: the last answer of the readiness endpoint, the checks'
//! memories, the metrics.
//!
//! Locks are held while something is recorded or a page is made of it, never across an await. The main loop makes and
//! drops it, and otherwise takes a lock only if nobody has it. It outlives the threads: one that is started again finds
//! what was known.

use super::lock::{free, locked};
use super::metrics::Metrics;
use crate::config::{Budget, CheckConfig, FailReadiness};
use crate::health::{
    Attempt, CheckHistory, CheckTransition, Checked, Probe, ReadyUrl, Rules, SharedStatus, Situation, judge,
};
use crate::sys::cgroup::OomKills;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the probe server has to know, from the main loop.
#[derive(Clone, Debug)]
pub struct AppFacts {
    /// What the main loop says, as it changes.
    pub board: Arc<SharedStatus>,
    /// `--fail-readiness`.
    pub fail_readiness: FailReadiness,
    /// Whether the app has a readiness endpoint.
    pub has_ready_url: bool,
    /// For the metrics.
    pub budget: Budget,
}

/// One check with its memory.
pub(super) struct CheckState {
    pub(super) check: CheckConfig,
    pub(super) tracker: CheckHistory,
}

/// What the main loop and the thread that answers probes share.
pub struct Shared {
    pub(super) facts: AppFacts,
    pub(crate) metrics: Metrics,
    oom_kills: Option<OomKills>,
    ready_url: Mutex<ReadyUrl>,
    checks: Mutex<Vec<CheckState>>,
    was_ready: Mutex<bool>,
}

impl Shared {
    /// The state of these checks, none of which has been tried yet.
    pub fn new(facts: AppFacts, checks: &[CheckConfig]) -> Shared {
        let state = |check: &CheckConfig| CheckState { check: check.clone(), tracker: CheckHistory::new(rules(check)) };
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
    pub(crate) fn with_situation<T>(&self, use_it: impl FnOnce(&Situation) -> T) -> T {
        use_it(&self.situation(&locked(&self.ready_url), &locked(&self.checks)))
    }

    fn situation<'a>(&'a self, ready_url: &'a ReadyUrl, checks: &'a [CheckState]) -> Situation<'a> {
        Situation {
            standing: self.facts.board.standing(),
            fail_readiness: self.facts.fail_readiness,
            ready_url: self.facts.has_ready_url.then_some(ready_url),
            checks: checks
                .iter()
                .map(|CheckState { check, tracker }| Checked { name: &check.name, critical: check.critical, tracker })
                .collect(),
        }
    }

    /// Asks the kernel for what nobody reports when it happens.
    pub(super) fn look_for_oom_kills(&self) {
        if let Some(kills) = &self.oom_kills {
            self.facts.board.oom_killed(kills.count());
        }
    }

    /// The readiness endpoint answered.
    pub(crate) fn polled(&self, ready: bool, detail: &str, took: Duration) {
        *locked(&self.ready_url) = ReadyUrl { ready: Some(ready), detail: detail.to_owned() };
        self.metrics.polled(took);
        self.reassess();
    }

    /// How long the check must not be tried: zero, unless its breaker is open.
    pub(crate) fn wait(&self, index: usize) -> Duration {
        let now = self.facts.board.now();
        let mut checks = locked(&self.checks);
        checks.get_mut(index).map_or(Duration::ZERO, |state| state.tracker.wait(now))
    }

    /// A try of the check has ended; says what it changed, if anything, with the detail that is now true.
    pub(crate) fn tried(&self, index: usize, attempt: Attempt) -> Option<(CheckTransition, String)> {
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
    pub(crate) fn reassess(&self) {
        let mut was_ready = locked(&self.was_ready);
        self.compare(&mut was_ready, &locked(&self.ready_url), &locked(&self.checks));
    }

    /// The same for the main loop, which must not wait; false if one of the threads is at it, and has to be told.
    pub fn reassess_now(&self) -> bool {
        let locks = (free(&self.was_ready), free(&self.ready_url), free(&self.checks));
        let (Some(mut was_ready), Some(ready_url), Some(checks)) = locks else { return false };
        self.compare(&mut was_ready, &ready_url, &checks);
        true
    }

    fn compare(&self, was_ready: &mut bool, ready_url: &ReadyUrl, checks: &[CheckState]) {
        let ready = judge(Probe::Ready, &self.situation(ready_url, checks), &[]).ok;
        if std::mem::replace(was_ready, ready) != ready {
            self.metrics.readiness_changed(ready);
        }
    }

    /// The kernel's count since this was made.
    pub fn oom_kills(&self) -> Option<&OomKills> {
        self.oom_kills.as_ref()
    }
}

fn rules(check: &CheckConfig) -> Rules {
    Rules {
        failure_threshold: check.failure_threshold,
        success_threshold: check.success_threshold,
        breaker_after: check.breaker_after,
        breaker_reset: check.breaker_reset,
        degraded_after: check.degraded_after,
    }
}

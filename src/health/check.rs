//! One check's memory: what its last tries mean for its status, and its circuit breaker.
//!
//! ```text
//!            failure_threshold failures in a row          reset_after
//!   CLOSED ────────────────────────────────────► OPEN ─────────────────► HALF-OPEN ──┐
//!     ▲                                           ▲     a failure            │       │
//!     │                                           └──────────────────────────┘       │
//!     └──────────────────────────────────────────── success_threshold successes ◄────┘
//! ```
//!
//! - A failure makes the check unhealthy at once. Whoever asks a probe has a threshold of its own (kubelet's
//!   failureThreshold, Docker's retries, HAProxy's fall); a second one here would only add up with it.
//! - Once unhealthy it takes `success_threshold` successes in a row to be healthy again.
//! - While the breaker is open nothing is asked, and the check is unhealthy.
//! - A success that took longer than `degraded_after` is degraded.

use std::time::Duration;

/// A check's result, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// All is well.
    Healthy,
    /// It works, but not as it should.
    Degraded,
    /// It does not work.
    Unhealthy,
}

impl Status {
    /// As pages, metrics and logs name it.
    pub fn name(self) -> &'static str {
        match self {
            Status::Healthy => "healthy",
            Status::Degraded => "degraded",
            Status::Unhealthy => "unhealthy",
        }
    }
}

/// The result of one try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// How it went; being slow is judged later.
    pub status: Status,
    /// Why, in words that everybody may read: no credential, no output of a command.
    pub detail: String,
    /// What the other side said, for the log alone.
    pub said: Option<String>,
    /// How long it took.
    pub took: Duration,
}

/// What turns tries into a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Failures in a row that open the breaker.
    pub failure_threshold: u32,
    /// Successes in a row that end being unhealthy.
    pub success_threshold: u32,
    /// How long the breaker stays open.
    pub reset_after: Duration,
    /// A success that took longer is degraded.
    pub degraded_after: Option<Duration>,
}

/// The circuit breaker's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Breaker {
    /// Tries are made.
    Closed,
    /// One try decides.
    HalfOpen,
    /// No try is made.
    Open,
}

/// Something about a check is not as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Before; none before the first result.
    pub from: Option<Status>,
    /// Now.
    pub to: Status,
    /// The breaker before.
    pub breaker_from: Breaker,
    /// The breaker now.
    pub breaker_to: Breaker,
}

/// One check's memory.
#[derive(Clone, Debug)]
pub struct Tracker {
    rules: Rules,
    status: Option<Status>,
    detail: String,
    took: Duration,
    tried_at: Option<Duration>,
    failures: u32,
    successes: u32,
    breaker: Breaker,
    open_until: Duration,
}

impl Tracker {
    /// Of a check that was not tried yet.
    pub fn new(rules: Rules) -> Tracker {
        Tracker {
            rules,
            status: None,
            detail: "no result yet".to_owned(),
            took: Duration::ZERO,
            tried_at: None,
            failures: 0,
            successes: 0,
            breaker: Breaker::Closed,
            open_until: Duration::ZERO,
        }
    }

    /// How long no try may be made: zero, unless the breaker is open. When its time is over it becomes half-open.
    pub fn wait(&mut self, now: Duration) -> Duration {
        if self.breaker == Breaker::Open && now >= self.open_until {
            self.breaker = Breaker::HalfOpen;
        }
        match self.breaker {
            Breaker::Open => self.open_until.saturating_sub(now),
            Breaker::Closed | Breaker::HalfOpen => Duration::ZERO,
        }
    }

    /// Takes the result of a try that ended now; says what it changed, if anything.
    pub fn record(&mut self, now: Duration, attempt: Attempt) -> Option<Change> {
        let (status_before, breaker_before) = (self.status, self.breaker);
        self.tried_at = Some(now);
        self.took = attempt.took;
        match attempt.status {
            Status::Unhealthy => self.failed(now, attempt.detail),
            Status::Healthy | Status::Degraded => self.succeeded(attempt),
        }
        let to = self.status?;
        let changed = status_before != Some(to) || breaker_before != self.breaker;
        changed.then_some(Change { from: status_before, to, breaker_from: breaker_before, breaker_to: self.breaker })
    }

    fn failed(&mut self, now: Duration, detail: String) {
        self.successes = 0;
        self.failures = self.failures.saturating_add(1);
        self.status = Some(Status::Unhealthy);
        self.detail = detail;
        if self.breaker == Breaker::HalfOpen || self.failures >= self.rules.failure_threshold {
            self.breaker = Breaker::Open;
            self.open_until = now.saturating_add(self.rules.reset_after);
        }
    }

    fn succeeded(&mut self, attempt: Attempt) {
        self.failures = 0;
        self.successes = self.successes.saturating_add(1);
        if self.status == Some(Status::Unhealthy) && self.successes < self.rules.success_threshold {
            self.detail = format!("{} of {} successes", self.successes, self.rules.success_threshold);
            return;
        }
        self.breaker = Breaker::Closed;
        let slow = self.rules.degraded_after.is_some_and(|limit| attempt.took > limit);
        self.status = Some(if slow { Status::Degraded } else { attempt.status });
        self.detail = match (slow, attempt.detail.as_str()) {
            (false, _) => attempt.detail,
            (true, "") => format!("slow, {} ms", attempt.took.as_millis()),
            (true, detail) => format!("slow, {} ms: {detail}", attempt.took.as_millis()),
        };
    }

    /// The status; none before the first result.
    pub fn status(&self) -> Option<Status> {
        self.status
    }

    /// Why.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// How long the last try took.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// When the last try ended.
    pub fn tried_at(&self) -> Option<Duration> {
        self.tried_at
    }

    /// The breaker, as it was when a try was last made or thought of.
    pub fn breaker(&self) -> Breaker {
        self.breaker
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        failure_threshold: 3,
        success_threshold: 2,
        reset_after: Duration::from_secs(30),
        degraded_after: Some(Duration::from_millis(100)),
    };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn attempt(status: Status) -> Attempt {
        Attempt { status, detail: String::new(), said: None, took: Duration::from_millis(1) }
    }

    /// What happened, one letter a second: h, d, u for a try with that result. Then status and breaker after each.
    fn run(tracker: &mut Tracker, from: u64, tries: &str) -> Vec<(Option<Status>, Breaker)> {
        let mut seen = Vec::new();
        for (at, letter) in (from..).zip(tries.chars()) {
            let status = match letter {
                'h' => Status::Healthy,
                'd' => Status::Degraded,
                _ => Status::Unhealthy,
            };
            assert_eq!(tracker.wait(seconds(at)), Duration::ZERO, "a try at {at} is allowed");
            tracker.record(seconds(at), attempt(status));
            seen.push((tracker.status(), tracker.breaker()));
        }
        seen
    }

    #[test]
    fn the_first_result_counts_at_once() {
        let mut tracker = Tracker::new(RULES);
        assert_eq!((tracker.status(), tracker.detail()), (None, "no result yet"));
        assert_eq!(run(&mut tracker, 0, "h"), [(Some(Status::Healthy), Breaker::Closed)]);
        assert_eq!(run(&mut Tracker::new(RULES), 0, "u"), [(Some(Status::Unhealthy), Breaker::Closed)]);
    }

    #[test]
    fn the_breaker_opens_waits_tries_once_and_closes() {
        let mut tracker = Tracker::new(RULES);
        let seen = run(&mut tracker, 0, "huuu");
        assert_eq!(seen[2], (Some(Status::Unhealthy), Breaker::Closed));
        assert_eq!(seen[3], (Some(Status::Unhealthy), Breaker::Open));
        // Opened at 3: nothing is tried until 33.
        assert_eq!(tracker.wait(seconds(10)), seconds(23));
        assert_eq!(tracker.breaker(), Breaker::Open);
        assert_eq!(tracker.wait(seconds(33)), Duration::ZERO);
        assert_eq!(tracker.breaker(), Breaker::HalfOpen);
        // One failure is enough now.
        assert_eq!(run(&mut tracker, 33, "u"), [(Some(Status::Unhealthy), Breaker::Open)]);
        assert_eq!(tracker.wait(seconds(62)), seconds(1));
        let seen = run(&mut tracker, 63, "hh");
        assert_eq!(seen, [(Some(Status::Unhealthy), Breaker::HalfOpen), (Some(Status::Healthy), Breaker::Closed)]);
        // The count begins anew.
        assert_eq!(run(&mut tracker, 70, "uu")[1], (Some(Status::Unhealthy), Breaker::Closed));
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        let mut tracker = Tracker::new(RULES);
        assert!(run(&mut tracker, 0, "uuhuuduuhuud").iter().all(|(_, breaker)| *breaker == Breaker::Closed));
    }

    #[test]
    fn it_takes_successes_in_a_row_to_recover() {
        let mut tracker = Tracker::new(RULES);
        let statuses: Vec<_> = run(&mut tracker, 0, "uhuhh").into_iter().map(|(status, _)| status).collect();
        let (unhealthy, healthy) = (Some(Status::Unhealthy), Some(Status::Healthy));
        assert_eq!(statuses, [unhealthy, unhealthy, unhealthy, unhealthy, healthy]);
        // From degraded to healthy there is nothing to wait for.
        assert_eq!(run(&mut tracker, 9, "dh").last().unwrap().0, healthy);
    }

    #[test]
    fn a_slow_success_is_degraded_and_a_slow_failure_is_one() {
        let mut tracker = Tracker::new(RULES);
        let slow = |status| Attempt { took: Duration::from_millis(101), ..attempt(status) };
        tracker.record(seconds(0), slow(Status::Healthy));
        assert_eq!((tracker.status(), tracker.detail()), (Some(Status::Degraded), "slow, 101 ms"));
        tracker.record(seconds(1), Attempt { took: Duration::from_millis(100), ..attempt(Status::Healthy) });
        assert_eq!(tracker.status(), Some(Status::Healthy));
        tracker.record(seconds(2), slow(Status::Unhealthy));
        assert_eq!(tracker.status(), Some(Status::Unhealthy));
    }

    #[test]
    fn only_what_changes_is_a_change() {
        let mut tracker = Tracker::new(RULES);
        let first = tracker.record(seconds(0), attempt(Status::Healthy)).unwrap();
        assert_eq!((first.from, first.to), (None, Status::Healthy));
        assert_eq!(tracker.record(seconds(1), attempt(Status::Healthy)), None);
        let change = tracker.record(seconds(2), attempt(Status::Unhealthy)).unwrap();
        assert_eq!((change.from, change.to), (Some(Status::Healthy), Status::Unhealthy));
        assert_eq!(tracker.record(seconds(3), attempt(Status::Unhealthy)), None);
        let change = tracker.record(seconds(4), attempt(Status::Unhealthy)).unwrap();
        assert_eq!((change.breaker_from, change.breaker_to), (Breaker::Closed, Breaker::Open));
    }

    proptest::proptest! {
        /// However the tries go: an open breaker is unhealthy, a check whose last tries were successes is not, and the
        /// breaker never opens before its failures in a row.
        #[test]
        fn any_tries(tries in proptest::collection::vec((0u8..3, 0u64..40), 0..60)) {
            let mut tracker = Tracker::new(RULES);
            let (mut now, mut failures, mut successes) = (0, 0, 0);
            for (result, gap) in tries {
                now += gap;
                if tracker.wait(seconds(now)) > Duration::ZERO {
                    proptest::prop_assert_eq!(tracker.status(), Some(Status::Unhealthy));
                    continue;
                }
                let half_open = tracker.breaker() == Breaker::HalfOpen;
                let status = [Status::Healthy, Status::Degraded, Status::Unhealthy][usize::from(result)];
                tracker.record(seconds(now), attempt(status));
                let failed = status == Status::Unhealthy;
                (failures, successes) = if failed { (failures + 1, 0) } else { (0, successes + 1) };
                let opens = failed && (half_open || failures >= 3);
                proptest::prop_assert_eq!(tracker.breaker() == Breaker::Open, opens);
                if successes >= 2 {
                    proptest::prop_assert_eq!(tracker.status(), Some(status));
                    proptest::prop_assert_eq!(tracker.breaker(), Breaker::Closed);
                }
            }
        }
    }
}

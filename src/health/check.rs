//! One check's memory: what its last tries mean for its status, and its circuit breaker.
//!
//! ```text
//!              a failure               failure_threshold failures in a row
//!   HEALTHY ───────────────► DEGRADED ────────────────────────────────────► UNHEALTHY
//!      ▲                         │ a success                                    │
//!      └─────────────────────────┴────────── success_threshold successes ───────┘
//!
//!             breaker_after failures in a row          breaker_reset
//!   CLOSED ──────────────────────────────────► OPEN ─────────────────► HALF-OPEN ──┐
//!     ▲                                         ▲       a failure          │       │
//!     │                                         └──────────────────────────┘       │
//!     └──────────────────────────────────────────── success_threshold successes ◄──┘
//! ```
//!
//! - `failure_threshold` means what Kubernetes' failureThreshold, Docker's retries and HAProxy's fall mean: this many
//!   failures in a row are unhealthy, and fewer are degraded.
//! - It applies to what has worked: until the first success, each failure is unhealthy at once. Nobody knows yet that
//!   there is anything that could be wrong for a moment (kubelet, too, takes a container for unready until a probe
//!   succeeds).
//! - Once unhealthy it takes `success_threshold` successes in a row to be healthy again.
//! - The breaker is there only with `breaker_after`. While it is open nothing is asked, and the check is unhealthy.
//! - A success that took longer than `degraded_after` is degraded.

use crate::timeline::Status;
use std::time::Duration;

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
    /// Failures in a row that are unhealthy.
    pub failure_threshold: u32,
    /// Successes in a row that end being unhealthy.
    pub success_threshold: u32,
    /// Failures in a row that open the breaker; `None`: there is no breaker.
    pub breaker_after: Option<u32>,
    /// How long the breaker stays open.
    pub breaker_reset: Duration,
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

/// A change of a check's status or breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckTransition {
    /// Before; `None` before the first result.
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
pub struct CheckHistory {
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

impl CheckHistory {
    /// The history of a check that has not been tried yet.
    pub fn new(rules: Rules) -> CheckHistory {
        CheckHistory {
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
    pub fn record(&mut self, now: Duration, attempt: Attempt) -> Option<CheckTransition> {
        let (status_before, breaker_before) = (self.status, self.breaker);
        self.tried_at = Some(now);
        self.took = attempt.took;
        match attempt.status {
            Status::Unhealthy => self.failed(now, attempt.detail),
            Status::Healthy | Status::Degraded => self.succeeded(attempt),
        }
        let to = self.status?;
        let changed = status_before != Some(to) || breaker_before != self.breaker;
        changed.then_some(CheckTransition {
            from: status_before,
            to,
            breaker_from: breaker_before,
            breaker_to: self.breaker,
        })
    }

    fn failed(&mut self, now: Duration, detail: String) {
        self.successes = 0;
        self.failures = self.failures.saturating_add(1);
        let opens = self.rules.breaker_after.is_some_and(|count| self.failures >= count);
        if opens || self.breaker == Breaker::HalfOpen {
            self.breaker = Breaker::Open;
            self.open_until = now.saturating_add(self.rules.breaker_reset);
        }
        let worked = matches!(self.status, Some(Status::Healthy | Status::Degraded));
        let threshold = self.rules.failure_threshold;
        if worked && self.breaker == Breaker::Closed && self.failures < threshold {
            self.status = Some(Status::Degraded);
            self.detail = format!("{} of {threshold} failures: {detail}", self.failures);
        } else {
            self.status = Some(Status::Unhealthy);
            self.detail = detail;
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

    /// The status; `None` before the first result.
    pub fn status(&self) -> Option<Status> {
        self.status
    }

    /// Why it has its status.
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

    /// The breaker, as it was when a try was last made or considered.
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
        breaker_after: Some(4),
        breaker_reset: Duration::from_secs(30),
        degraded_after: Some(Duration::from_millis(100)),
    };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn attempt(status: Status) -> Attempt {
        Attempt { status, detail: String::new(), said: None, took: Duration::from_millis(1) }
    }

    /// What happened, one letter a second: h, d, u for a try with that result. Then status and breaker after each.
    fn run(tracker: &mut CheckHistory, from: u64, tries: &str) -> Vec<(Option<Status>, Breaker)> {
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
        let mut tracker = CheckHistory::new(RULES);
        assert_eq!((tracker.status(), tracker.detail()), (None, "no result yet"));
        assert_eq!(run(&mut tracker, 0, "h"), [(Some(Status::Healthy), Breaker::Closed)]);
        assert_eq!(run(&mut CheckHistory::new(RULES), 0, "u"), [(Some(Status::Unhealthy), Breaker::Closed)]);
    }

    /// The statuses alone, a letter each.
    fn statuses(rules: Rules, tries: &str) -> String {
        let letter = |(status, _)| match status {
            Some(Status::Healthy) => 'h',
            Some(Status::Degraded) => 'd',
            Some(Status::Unhealthy) => 'u',
            None => '-',
        };
        run(&mut CheckHistory::new(rules), 0, tries).into_iter().map(letter).collect()
    }

    #[test]
    fn fewer_failures_in_a_row_than_the_threshold_are_degraded() {
        let rules = Rules { breaker_after: None, success_threshold: 1, ..RULES };
        assert_eq!(statuses(rules, "huuhuuuuhuuu"), "hddhdduuhddu");
        assert_eq!(statuses(rules, "duudu"), "ddddd");
        assert_eq!(statuses(Rules { failure_threshold: 1, ..rules }, "huhu"), "huhu");
        // What never worked is not wrong for a moment.
        assert_eq!(statuses(rules, "uuhu"), "uuhd");
        let mut tracker = CheckHistory::new(rules);
        run(&mut tracker, 0, "h");
        let refused = Attempt { detail: "refused".to_owned(), ..attempt(Status::Unhealthy) };
        let details = [1, 2, 3].map(|at| {
            tracker.record(seconds(at), refused.clone());
            tracker.detail().to_owned()
        });
        assert_eq!(details, ["1 of 3 failures: refused", "2 of 3 failures: refused", "refused"]);
    }

    #[test]
    fn without_a_breaker_it_is_asked_on_and_on() {
        let mut tracker = CheckHistory::new(Rules { breaker_after: None, ..RULES });
        let seen = run(&mut tracker, 0, &format!("h{}", "u".repeat(1000)));
        assert!(seen.iter().all(|(_, breaker)| *breaker == Breaker::Closed));
    }

    #[test]
    fn a_breaker_that_opens_before_the_threshold_is_unhealthy() {
        let mut tracker = CheckHistory::new(Rules { breaker_after: Some(2), ..RULES });
        let seen = run(&mut tracker, 0, "huu");
        assert_eq!(seen[1..], [(Some(Status::Degraded), Breaker::Closed), (Some(Status::Unhealthy), Breaker::Open)]);
    }

    #[test]
    fn the_breaker_opens_waits_tries_once_and_closes() {
        let mut tracker = CheckHistory::new(RULES);
        let seen = run(&mut tracker, 0, "huuuu");
        assert_eq!(seen[3], (Some(Status::Unhealthy), Breaker::Closed));
        assert_eq!(seen[4], (Some(Status::Unhealthy), Breaker::Open));
        // Opened at 4: nothing is tried until 34.
        assert_eq!(tracker.wait(seconds(10)), seconds(24));
        assert_eq!(tracker.breaker(), Breaker::Open);
        assert_eq!(tracker.wait(seconds(34)), Duration::ZERO);
        assert_eq!(tracker.breaker(), Breaker::HalfOpen);
        // One failure is enough now.
        assert_eq!(run(&mut tracker, 34, "u"), [(Some(Status::Unhealthy), Breaker::Open)]);
        assert_eq!(tracker.wait(seconds(63)), seconds(1));
        let seen = run(&mut tracker, 64, "hh");
        assert_eq!(seen, [(Some(Status::Unhealthy), Breaker::HalfOpen), (Some(Status::Healthy), Breaker::Closed)]);
        // The count begins anew.
        assert_eq!(run(&mut tracker, 70, "uuu")[2], (Some(Status::Unhealthy), Breaker::Closed));
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        let mut tracker = CheckHistory::new(RULES);
        assert!(run(&mut tracker, 0, "uuuhuuuduuuhuuud").iter().all(|(_, breaker)| *breaker == Breaker::Closed));
    }

    #[test]
    fn it_takes_successes_in_a_row_to_recover() {
        let mut tracker = CheckHistory::new(RULES);
        let statuses: Vec<_> = run(&mut tracker, 0, "uhuhh").into_iter().map(|(status, _)| status).collect();
        let (unhealthy, healthy) = (Some(Status::Unhealthy), Some(Status::Healthy));
        assert_eq!(statuses, [unhealthy, unhealthy, unhealthy, unhealthy, healthy]);
        // From degraded to healthy there is nothing to wait for.
        assert_eq!(run(&mut tracker, 9, "dh").last().unwrap().0, healthy);
    }

    #[test]
    fn a_slow_success_is_degraded_and_a_slow_failure_is_one() {
        let mut tracker = CheckHistory::new(RULES);
        let slow = |status| Attempt { took: Duration::from_millis(101), ..attempt(status) };
        tracker.record(seconds(0), slow(Status::Healthy));
        assert_eq!((tracker.status(), tracker.detail()), (Some(Status::Degraded), "slow, 101 ms"));
        tracker.record(seconds(1), Attempt { took: Duration::from_millis(100), ..attempt(Status::Healthy) });
        assert_eq!(tracker.status(), Some(Status::Healthy));
        for at in 2..5 {
            tracker.record(seconds(at), slow(Status::Unhealthy));
        }
        assert_eq!(tracker.status(), Some(Status::Unhealthy));
    }

    #[test]
    fn only_what_changes_is_a_change() {
        let mut tracker = CheckHistory::new(RULES);
        let first = tracker.record(seconds(0), attempt(Status::Healthy)).unwrap();
        assert_eq!((first.from, first.to), (None, Status::Healthy));
        assert_eq!(tracker.record(seconds(1), attempt(Status::Healthy)), None);
        let change = tracker.record(seconds(2), attempt(Status::Unhealthy)).unwrap();
        assert_eq!((change.from, change.to), (Some(Status::Healthy), Status::Degraded));
        assert_eq!(tracker.record(seconds(3), attempt(Status::Unhealthy)), None);
        let change = tracker.record(seconds(4), attempt(Status::Unhealthy)).unwrap();
        assert_eq!((change.from, change.to), (Some(Status::Degraded), Status::Unhealthy));
        let change = tracker.record(seconds(5), attempt(Status::Unhealthy)).unwrap();
        assert_eq!((change.breaker_from, change.breaker_to), (Breaker::Closed, Breaker::Open));
    }

    proptest::proptest! {
        /// However the tries go: an open breaker is unhealthy, a check whose last tries were successes is not, and the
        /// breaker never opens before its failures in a row.
        #[test]
        fn any_tries(tries in proptest::collection::vec((0u8..3, 0u64..40), 0..60)) {
            let mut tracker = CheckHistory::new(RULES);
            let (mut now, mut failures, mut successes, mut worked) = (0, 0, 0, false);
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
                let opens = failed && (half_open || failures >= 4);
                proptest::prop_assert_eq!(tracker.breaker() == Breaker::Open, opens);
                if failures >= 3 {
                    proptest::prop_assert_eq!(tracker.status(), Some(Status::Unhealthy));
                } else if failed && worked {
                    proptest::prop_assert_eq!(tracker.status(), Some(Status::Degraded));
                }
                worked = matches!(tracker.status(), Some(Status::Healthy | Status::Degraded));
                if successes >= 2 {
                    proptest::prop_assert_eq!(tracker.status(), Some(status));
                    proptest::prop_assert_eq!(tracker.breaker(), Breaker::Closed);
                }
            }
        }
    }
}

//! The timers of one lifecycle: an enum and a table, nothing else. No clock: times are since graceful's start.

use std::time::Duration;

/// Every deadline that the lifecycle knows. The order breaks ties: what is listed first fires first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The app should have been ready by now.
    Startup,
    /// The pre-stop delay is over.
    PreStopDelay,
    /// Whether requests are in flight should be known by now.
    FirstLook,
    /// The hold has lasted as long as it may.
    Hold,
    /// The next escalation is due.
    Escalate,
    /// What is not delivered should be known by now.
    LookAfter,
    /// K: SIGKILL.
    Kill,
    /// Whatever is still there now is left to the kernel.
    End,
    /// SIGKILL once more: a fork may have slipped through.
    KillAgain,
}

const TIMERS: [Timer; 9] = [
    Timer::Startup,
    Timer::PreStopDelay,
    Timer::FirstLook,
    Timer::Hold,
    Timer::Escalate,
    Timer::LookAfter,
    Timer::Kill,
    Timer::End,
    Timer::KillAgain,
];

/// When each timer fires, if it runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Timers([Option<Duration>; TIMERS.len()]);

impl Timers {
    pub(super) fn set(&mut self, timer: Timer, at: Duration) {
        self.0[timer as usize] = Some(at);
    }

    pub(super) fn clear(&mut self, timer: Timer) {
        self.0[timer as usize] = None;
    }

    pub(super) fn clear_all(&mut self) {
        self.0 = Default::default();
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Duration> {
        // A loop over what runs, and no copy of the table: asked twice for each input, a copy was a third of what a
        // test build does in a million sequences.
        let mut next = None;
        for at in &self.0 {
            if let Some(at) = at
                && next.is_none_or(|next| at < next)
            {
                next = Some(at);
            }
        }
        next.copied()
    }

    /// Takes the earliest timer that is due.
    pub(super) fn take_due(&mut self, now: Duration) -> Option<Timer> {
        let next = self.next().filter(|at| *at <= now)?;
        let timer = TIMERS.into_iter().find(|timer| self.0[*timer as usize] == Some(next))?;
        self.clear(timer);
        Some(timer)
    }
}

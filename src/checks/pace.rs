//! When a check is tried.
//!
//! ```text
//!   try ──► breaker open? ──no──► the rest of interval + some of the jitter, from the try's start ──► try
//!                └───────yes────► until it is half-open, and not at some tick of the interval ──────► try
//! ```
//!
//! The first try is made at once, without jitter: readiness waits for it. Tries never overlap; one that takes longer
//! than the interval is followed by the next at once.

use crate::config::CheckConfig;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// No try follows its predecessor's start sooner than this, whatever the interval.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);

/// From the start of one try to the start of the next.
#[derive(Clone, Copy)]
pub(super) struct Rhythm {
    pub(super) interval: Duration,
    /// Up to this much comes on top, anew each time.
    pub(super) jitter: Duration,
}

impl Rhythm {
    pub(super) fn of(check: &CheckConfig) -> Rhythm {
        Rhythm { interval: check.interval, jitter: check.jitter }
    }

    fn next(self, random: u64) -> Duration {
        self.interval.max(SHORTEST_INTERVAL).saturating_add(part(self.jitter, random))
    }
}

/// Makes try after try. `wait` says how long none may be made: zero, unless the breaker is open.
pub(super) async fn keep(rhythm: Rhythm, wait: impl Fn() -> Duration, mut a_try: impl AsyncFnMut()) {
    loop {
        let start = Instant::now();
        a_try().await;
        if wait().is_zero() {
            sleep(rhythm.next(random()).saturating_sub(start.elapsed())).await;
        } else {
            // Asked again after the sleep, since timer and breaker have clocks of their own.
            while let pause = wait()
                && !pause.is_zero()
            {
                sleep(pause).await;
            }
        }
    }
}

/// Any number: each RandomState has keys of its own, the first of a thread from the kernel. Enough to spread load; no
/// secret depends on it.
fn random() -> u64 {
    RandomState::new().hash_one(())
}

/// Some part of the whole, from none of it to all.
fn part(whole: Duration, random: u64) -> Duration {
    // 53 bits are what a float has.
    whole.mul_f64((random >> 11) as f64 / (1u64 << 53) as f64)
}

#[cfg(test)]
#[path = "pace_tests.rs"]
mod tests;

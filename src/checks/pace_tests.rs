//! On tokio's paused clock: it jumps to the next timer when there is nothing else to do, so times are exact.

use super::*;
use crate::health::{Attempt, CheckHistory, Rules, Status};
use std::cell::{Cell, RefCell};
use tokio::time::timeout;

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn every(interval: Duration) -> Rhythm {
    Rhythm { interval, jitter: Duration::ZERO }
}

/// When tries began within this time, each of which took this long.
async fn begins(rhythm: Rhythm, takes: Duration, within: Duration) -> Vec<Duration> {
    let zero = Instant::now();
    let (begins, under_way) = (RefCell::new(Vec::new()), Cell::new(false));
    let tries = keep(
        rhythm,
        || Duration::ZERO,
        async || {
            assert!(!under_way.replace(true), "tries overlap");
            begins.borrow_mut().push(zero.elapsed());
            sleep(takes).await;
            under_way.set(false);
        },
    );
    timeout(within, tries).await.expect_err("it goes on for ever");
    begins.into_inner()
}

#[tokio::test(start_paused = true)]
async fn from_start_to_start_and_the_first_at_once() {
    assert_eq!(begins(every(s(10)), s(3), s(35)).await, [s(0), s(10), s(20), s(30)]);
}

#[tokio::test(start_paused = true)]
async fn a_try_longer_than_the_interval_is_followed_at_once() {
    assert_eq!(begins(every(s(10)), s(25), s(80)).await, [s(0), s(25), s(50), s(75)]);
}

#[tokio::test(start_paused = true)]
async fn jitter_is_added_to_each_interval_anew() {
    let rhythm = Rhythm { interval: s(10), jitter: s(4) };
    let begins = begins(rhythm, s(3), s(2400)).await;
    assert_eq!(begins[0], s(0), "the first waits for nothing");
    let gaps: Vec<Duration> = begins.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // The clock's timers have milliseconds.
    assert!(gaps.iter().all(|gap| (s(10)..=s(14) + Duration::from_millis(1)).contains(gap)), "{gaps:?}");
    let (early, late) =
        (gaps.iter().filter(|gap| **gap < s(11)).count(), gaps.iter().filter(|gap| **gap > s(13)).count());
    // Some 50 of 200 each.
    assert!(early > 10 && late > 10, "{gaps:?}");
}

#[test]
fn a_part_is_at_most_the_whole() {
    assert_eq!([0, u64::MAX / 2, u64::MAX].map(|random| part(s(4), random).as_secs_f64().round()), [0.0, 2.0, 4.0]);
    assert!(part(s(4), u64::MAX) <= s(4));
    assert_eq!(part(Duration::ZERO, u64::MAX), Duration::ZERO);
    assert!(part(Duration::MAX, u64::MAX) <= Duration::MAX);
}

#[tokio::test(start_paused = true)]
async fn no_interval_is_too_short_or_too_long() {
    let count = begins(every(Duration::ZERO), Duration::ZERO, Duration::from_millis(100)).await.len();
    assert!((50..=101).contains(&count), "{count} tries in 100 ms");
    let longest = Rhythm { interval: Duration::MAX, jitter: Duration::MAX };
    assert_eq!(begins(longest, s(1), s(1_000_000)).await, [s(0)]);
}

/// When tries began within this time if these (counted from 0) fail and the others do not, with a breaker that opens
/// after three failures.
async fn with_breaker(interval: u64, reset: u64, fails: impl Fn(usize) -> bool, within: u64) -> Vec<u64> {
    let zero = Instant::now();
    let breaker_reset = s(reset);
    let rules = Rules {
        failure_threshold: 3,
        success_threshold: 1,
        breaker_after: Some(3),
        breaker_reset,
        degraded_after: None,
    };
    let (tracker, begins) = (RefCell::new(CheckHistory::new(rules)), RefCell::new(Vec::new()));
    let wait = || tracker.borrow_mut().wait(zero.elapsed());
    let tries = keep(every(s(interval)), wait, async || {
        let failed = fails(begins.borrow().len());
        begins.borrow_mut().push(zero.elapsed().as_secs());
        sleep(Duration::from_millis(1)).await;
        let status = if failed { Status::Unhealthy } else { Status::Healthy };
        let attempt = Attempt { status, detail: String::new(), said: None, took: Duration::ZERO };
        tracker.borrow_mut().record(zero.elapsed(), attempt);
    });
    timeout(s(within), tries).await.expect_err("it goes on for ever");
    begins.into_inner()
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_is_left_alone_and_then_tried_once() {
    // Open from 20 on: one try at 45, at no tick of the interval, which fails, and the next at 70.
    assert_eq!(with_breaker(10, 25, |_| true, 94).await, [0, 10, 20, 45, 70]);
    // The one at 45 succeeds, and the interval counts again.
    assert_eq!(with_breaker(10, 25, |index| index < 3, 80).await, [0, 10, 20, 45, 55, 65, 75]);
    // Also where that is sooner than the next tick would be.
    assert_eq!(with_breaker(60, 5, |_| true, 134).await, [0, 60, 120, 125, 130]);
}

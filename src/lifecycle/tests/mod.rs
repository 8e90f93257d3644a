//! Tests of the pure core; no runtime, no process, no clock.
//!
//! - `stories`: timetables, one per behaviour; readable as documentation.
//! - `pairs`: every two signals in every phase.
//! - `sequences`: all short sequences of inputs and a million random ones, sensible or not.
//! - `model`: an honest world around the core, and a naive calculation of what must come out.
//!
//! All of them drive the core through [`Watched`], which knows the invariants.

mod model;
mod pairs;
pub(crate) mod random;
mod sequences;
mod stories;
mod watched;

use super::*;
use crate::budget::Budget;
use watched::Watched;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// In seconds: G, the margin before it, the delay.
const fn budget(grace_period: u64, kill_margin: u64, pre_stop_delay: u64) -> Budget {
    Budget { grace_period: s(grace_period), kill_margin: s(kill_margin), pre_stop_delay: s(pre_stop_delay) }
}

/// What `graceful -- app` runs with: 30 s, of which 5 s delay and 1 s margin, and no hold.
fn plan() -> StopPlan {
    StopPlan {
        budget: budget(30, 1, 5),
        stop_on: [Signal::TERM, Signal::INT].into_iter().collect(),
        ..StopPlan::default()
    }
}

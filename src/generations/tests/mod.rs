//! Tests of who starts, counts and stops; no runtime, no process, no clock.
//!
//! - `stories`: timetables, one per behaviour.
//! - `sequences`: all short sequences of inputs and a million random ones, sensible or not.
//! - `model`: an honest world around it, and a naive calculation of what must come out.
//!
//! All of them drive it through [`Watched`], which knows the invariants.

mod model;
mod sequences;
mod stories;
mod watched;

use super::*;
use crate::signal::Signal;
use crate::status::ExitStatus;
use watched::Watched;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// `--restart on-failure` with 1 s, 8 s and no limit.
fn plan() -> RestartPlan {
    RestartPlan { failed: true, clean: false, delay: s(1), delay_max: s(8), limit: None }
}

fn id(number: u64) -> GenerationId {
    (1..number).fold(GenerationId::FIRST, |id, _| id.next())
}

fn exited(generation: GenerationId, code: u8, ran: Duration) -> GenerationInput {
    GenerationInput::Exited { generation, status: ExitStatus::Exited(code), clean: code == 0, ran }
}

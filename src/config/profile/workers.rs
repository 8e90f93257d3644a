//! Workers of queues. Nobody sends them requests, so that the delay would only take from their own time: it is zero.

use super::{Profile, Source, with};
use crate::signal::Signal;

pub(super) static PROFILES: &[Profile] = &[Profile {
    name: "celery",
    known_by: &[with("celery", &["worker"])],
    stop_signal: Some(Signal::TERM),
    advice: "ends when its tasks are done, however long they take (QUIT drops them): the grace period must be longer \
             than the longest task",
    source: Source::Measured,
    ..Profile::WORKER
}];

//! Stores and brokers. A client of a store that has a query under way and one that waits look alike: both are worth a few
//! seconds. A subscriber of a broker waits for hours: nothing is held for it.

use super::{Profile, Source, any};
use crate::signal::Signal;

pub(super) static PROFILES: &[Profile] = &[
    Profile {
        name: "postgres",
        known_by: &[any("postgres"), any("postmaster")],
        stop_signal: Some(Signal::INT),
        advice: "INT ends sessions and rolls back; TERM waits for every session to go by itself",
        source: Source::Measured,
        ..Profile::STORE
    },
    Profile {
        name: "redis",
        known_by: &[any("redis-server"), any("valkey-server")],
        stop_signal: Some(Signal::TERM),
        foreground: Some("redis-server --daemonize no"),
        advice: "saves if save points are set; shutdown-timeout (10 s) bounds the wait for replicas",
        source: Source::Measured,
        ..Profile::STORE
    },
    Profile {
        name: "nats",
        known_by: &[any("nats-server")],
        advice: "its clients' connections last for ever and are not held; SIGUSR2 lets them go step by step, for \
                 lame_duck_duration (2 min)",
        ..Profile::BROKER
    },
];

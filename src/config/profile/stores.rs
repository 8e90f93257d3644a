//! Stores and brokers. A client of a store that has a query under way and one that waits look alike: both are worth a
//! few seconds. A subscriber of a broker waits for hours: nothing is held for it.

use super::drain::{Limit, OwnDrain, OwnFile};
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
        name: "mariadb",
        known_by: &[any("mariadbd"), any("mysqld"), any("mariadbd-safe"), any("mysqld_safe")],
        stop_signal: Some(Signal::TERM),
        advice: "aborts the queries that run, and rolls back: the hold waits some seconds for them; how long the rest \
                 takes depends on innodb_fast_shutdown and the size of the buffer pool",
        source: Source::Measured,
        ..Profile::STORE
    },
    Profile {
        name: "mongodb",
        known_by: &[any("mongod"), any("mongos")],
        stop_signal: Some(Signal::TERM),
        advice: "a primary steps down first and waits for that up to shutdownTimeoutMillisForSignaledShutdown (15 s); \
                 the hold waits some seconds for what runs",
        ..Profile::STORE
    },
    Profile {
        name: "memcached",
        known_by: &[any("memcached")],
        stop_signal: Some(Signal::TERM),
        advice: "ends at once, and what it caches is lost with it: its clients have to learn of the stop during the \
                 delay",
        source: Source::Measured,
        ..Profile::STORE
    },
    Profile {
        name: "nats",
        known_by: &[any("nats-server")],
        stop_signal: Some(Signal::USR2),
        stop_on: &[Signal::USR2],
        drain: Some(OwnDrain {
            file: Some(OwnFile {
                options: &["-c", "--config"],
                suffix: None,
                paths: &[],
                keys: &["lame_duck_duration"],
            }),
            default: Limit::Seconds(120),
            ..OwnDrain::NONE
        }),
        advice: "USR2 lets its clients go step by step, for lame_duck_duration (2 min): set that below the grace \
                 period; TERM cuts them off at once and ends with 1; their connections last for ever and are not held",
        source: Source::Measured,
        ..Profile::BROKER
    },
    Profile {
        name: "mosquitto",
        known_by: &[any("mosquitto")],
        stop_signal: Some(Signal::TERM),
        advice: "saves its persistence file when it stops; its clients' connections last for ever and are not held",
        source: Source::Measured,
        ..Profile::BROKER
    },
    Profile {
        name: "rabbitmq",
        known_by: &[any("rabbitmq-server")],
        stop_signal: Some(Signal::TERM),
        advice: "closes its queues in order, which takes seconds; epmd outlives it and is ended with the rest; its \
                 clients' connections last for ever and are not held",
        source: Source::Measured,
        ..Profile::BROKER
    },
];

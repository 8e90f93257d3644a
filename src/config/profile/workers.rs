//! Workers of queues. Nobody sends them requests, so that the delay would only take from their own time: it is zero.

use super::drain::{Limit, OwnDrain, OwnFile};
use super::{Profile, Source, any, with};
use crate::signal::Signal;
use std::time::Duration;

pub(super) static PROFILES: &[Profile] = &[
    Profile {
        name: "celery",
        known_by: &[with("celery", &["worker"]), with("manage.py", &["celery"])],
        stop_signal: Some(Signal::TERM),
        advice: "ends when its tasks are done, however long they take (QUIT drops them): the grace period must be \
                 longer than the longest task",
        source: Source::Measured,
        ..Profile::WORKER
    },
    Profile {
        name: "huey",
        known_by: &[any("huey_consumer"), with("manage.py", &["run_huey"])],
        stop_signal: Some(Signal::INT),
        advice: "TERM interrupts its tasks, and they are lost; on INT it ends when they are done, however long they take",
        source: Source::Measured,
        ..Profile::WORKER
    },
    Profile {
        name: "rq",
        known_by: &[
            with("rq", &["worker", "worker-pool"]),
            any("rqworker"),
            with("manage.py", &["rqworker", "rqworker-pool"]),
        ],
        stop_signal: Some(Signal::TERM),
        advice: "ends when its job is done, however long it takes; a second signal drops the job",
        source: Source::Measured,
        ..Profile::WORKER
    },
    Profile {
        name: "dramatiq",
        known_by: &[any("dramatiq"), any("dramatiq-gevent"), with("manage.py", &["rundramatiq"])],
        stop_signal: Some(Signal::TERM),
        drain: Some(OwnDrain {
            options: &["--worker-shutdown-timeout"],
            default: Limit::Seconds(600),
            unit: Duration::from_millis(1),
            ..OwnDrain::NONE
        }),
        advice: "ends when its messages are done; --worker-shutdown-timeout (600 s, in milliseconds) bounds that",
        source: Source::Measured,
        ..Profile::WORKER
    },
    Profile {
        name: "arq",
        known_by: &[any("arq")],
        stop_signal: Some(Signal::TERM),
        advice: "cancels its jobs at once and leaves them in the queue, to be run again from their beginning; \
                 job_completion_wait (0 s) gives them time",
        source: Source::Measured,
        ..Profile::WORKER
    },
    Profile {
        name: "sidekiq",
        known_by: &[any("sidekiq")],
        stop_signal: Some(Signal::TERM),
        drain: Some(OwnDrain {
            options: &["-t", "--timeout"],
            file: Some(OwnFile {
                options: &["-C", "--config"],
                suffix: None,
                paths: &["config/sidekiq.yml", "config/sidekiq.yml.erb"],
                keys: &["timeout"],
            }),
            default: Limit::Seconds(25),
            ..OwnDrain::NONE
        }),
        advice: "gives its jobs --timeout (25 s), puts those that are left back into Redis, and ends with 0: the grace \
                 period must be longer than that",
        source: Source::Measured,
        ..Profile::WORKER
    },
    Profile {
        name: "laravel",
        known_by: &[with("artisan", &["queue:work", "queue:listen", "horizon", "schedule:work"])],
        stop_signal: Some(Signal::TERM),
        drain: Some(OwnDrain { options: &["--timeout"], default: Limit::Seconds(60), ..OwnDrain::NONE }),
        advice: "ends when its job is done (with the pcntl extension; without it the job is lost): the grace period \
                 must be longer than --timeout (60 s)",
        ..Profile::WORKER
    },
];

//! Web servers of Python.

use super::drain::{Limit, OwnDrain, OwnFile};
use super::{Profile, Source, any, with};
use crate::signal::Signal;

pub(super) static PROFILES: &[Profile] = &[
    Profile {
        name: "uvicorn",
        known_by: &[any("uvicorn"), with("fastapi", &["run", "dev"])],
        stop_signal: Some(Signal::TERM),
        drain: Some(OwnDrain {
            options: &["--timeout-graceful-shutdown"],
            variable: Some("UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN"),
            ..OwnDrain::NONE
        }),
        clean: &[143],
        advice: "without --workers a clean stop ends with 143: --success-exit-status 143; --timeout-graceful-shutdown \
                 bounds its drain",
        source: Source::Measured,
        ..Profile::UNKNOWN
    },
    Profile {
        name: "gunicorn",
        known_by: &[any("gunicorn")],
        stop_signal: Some(Signal::TERM),
        drain: Some(OwnDrain {
            options: &["--graceful-timeout"],
            file: Some(OwnFile {
                options: &["-c", "--config"],
                suffix: None,
                paths: &["gunicorn.conf.py"],
                keys: &["graceful_timeout"],
            }),
            default: Limit::Seconds(30),
            ..OwnDrain::NONE
        }),
        advice: "INT and QUIT drop the requests of sync workers, and uvicorn workers do not end on them; a sync worker \
                 loses its backlog, which the hold waits for",
        source: Source::Measured,
        ..Profile::UNKNOWN
    },
    Profile {
        name: "hypercorn",
        known_by: &[any("hypercorn")],
        stop_signal: Some(Signal::TERM),
        drain: Some(OwnDrain { options: &["--graceful-timeout"], default: Limit::Seconds(3), ..OwnDrain::NONE }),
        advice: "--graceful-timeout (3 s) bounds its drain",
        source: Source::Measured,
        ..Profile::UNKNOWN
    },
    Profile {
        name: "flask",
        known_by: &[with("flask", &["run"])],
        advice: "the development server ends at once on SIGTERM: only the delay and the hold save its requests",
        source: Source::Measured,
        // With the reloader there is a handler, which ends it at once, too.
        ..Profile::RUNTIME
    },
    Profile {
        name: "django",
        known_by: &[
            with("manage.py", &["runserver"]),
            with("django-admin", &["runserver"]),
            with("django", &["runserver"]),
        ],
        advice: "the development server ends at once on SIGTERM: only the delay and the hold save its requests",
        ..Profile::RUNTIME
    },
];

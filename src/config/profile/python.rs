//! Web servers of Python.

use super::drain::{Limit, OwnDrain, OwnFile};
use super::{Holding, Profile, Source, any, with};
use crate::signal::Signal;
use std::time::Duration;

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
    Profile {
        name: "granian",
        known_by: &[any("granian")],
        stop_signal: Some(Signal::TERM),
        drain: Some(OwnDrain {
            options: &["--workers-kill-timeout"],
            variable: Some("GRANIAN_WORKERS_KILL_TIMEOUT"),
            ..OwnDrain::NONE
        }),
        advice: "waits for its requests as long as they take; --workers-kill-timeout bounds that",
        source: Source::Measured,
        ..Profile::UNKNOWN
    },
    Profile {
        name: "daphne",
        known_by: &[any("daphne")],
        advice: "its handler ends it about a second after the signal, whatever is in flight: only the delay and the \
                 hold save its requests",
        source: Source::Measured,
        ..Profile::RUNTIME
    },
    Profile {
        name: "waitress",
        known_by: &[any("waitress-serve"), any("waitress")],
        // It has no handler for TERM. INT is Python's KeyboardInterrupt, on which it shuts its threads down.
        stop_signal: Some(Signal::INT),
        // Nothing sets it. Its connections are held until that time is left.
        hold: Holding::AllBut(Duration::from_secs(5)),
        drain: Some(OwnDrain { default: Limit::Seconds(5), ..OwnDrain::NONE }),
        advice: "TERM drops requests; on INT it gives them 5 s",
        source: Source::Measured,
        ..Profile::UNKNOWN
    },
    Profile {
        name: "tornado",
        known_by: &[],
        advice: "has no handler of its own for TERM, and drops requests on INT, too: only the delay and the hold save \
                 its requests unless the app has one",
        source: Source::Measured,
        ..Profile::RUNTIME
    },
    Profile {
        name: "aiohttp",
        // An app that calls web.run_app itself is known by its name alone, which may be any.
        known_by: &[any("aiohttp")],
        stop_signal: Some(Signal::TERM),
        drain: Some(OwnDrain { default: Limit::Seconds(60), ..OwnDrain::NONE }),
        advice: "web.run_app gives requests shutdown_timeout, 60 s by default",
        source: Source::Measured,
        ..Profile::UNKNOWN
    },
    Profile {
        name: "sanic",
        known_by: &[any("sanic")],
        stop_signal: Some(Signal::TERM),
        drain: Some(OwnDrain {
            variable: Some("SANIC_GRACEFUL_SHUTDOWN_TIMEOUT"),
            default: Limit::Seconds(15),
            ..OwnDrain::NONE
        }),
        advice: "GRACEFUL_SHUTDOWN_TIMEOUT (15 s) bounds its drain; QUIT kills the manager and leaves its workers behind",
        source: Source::Measured,
        ..Profile::UNKNOWN
    },
    Profile {
        name: "uwsgi",
        known_by: &[any("uwsgi"), any("uwsgi-core"), any("pyuwsgi")],
        // TERM reloads the master, or with die-on-term it is QUIT that does: INT ends it in either case.
        stop_signal: Some(Signal::INT),
        stop_on: &[Signal::QUIT],
        advice: "TERM reloads it and does not end it (QUIT does so with die-on-term); INT drops requests, so that only \
                 the delay and the hold save them; without a master its status is 30",
        clean: &[30],
        source: Source::Measured,
        ..Profile::RUNTIME
    },
    Profile {
        name: "streamlit",
        known_by: &[with("streamlit", &["run"])],
        stop_signal: Some(Signal::TERM),
        advice: "ends its sessions on SIGTERM; a browser's WebSocket counts as a request while it is in use",
        ..Profile::UNKNOWN
    },
    Profile {
        name: "jupyter",
        known_by: &[
            with("jupyter", &["lab", "notebook", "server"]),
            any("jupyter-lab"),
            any("jupyter-notebook"),
            any("jupyter-server"),
            any("start-notebook.sh"),
            any("start-notebook"),
        ],
        stop_signal: Some(Signal::TERM),
        advice: "INT asks for confirmation at a terminal; on TERM it ends its kernels, and what they compute is lost: \
                 save notebooks first",
        ..Profile::UNKNOWN
    },
];

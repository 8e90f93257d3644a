//! The harness of the integration tests: real processes, real PID 1, real servers, real load.
//!
//! Rules that it keeps for every test:
//!
//! - A test waits for an event (a line, an exit, an answer), never for a time, and every wait has a deadline
//!   ([`DEADLINE`]: generous, since it is only reached when something is broken).
//! - Nothing outlives its test: a [`Proc`] kills what it started when it is dropped, by pid, by the group that
//!   it made itself, or by ending the PID namespace. It never signals anything else.
//! - Nothing is skipped in silence: see [`needs`].
//! - An ending is exact ([`Exit`]): exit with 143 and death by SIGTERM are two different things.
//!
//! ```ignore
//! use crate::support::{DEADLINE, Exit, Proc, graceful_command, signals};
//!
//! let app = Proc::spawn(graceful_command().arg("--").args(signals(&["--exit-on", "TERM=7"])));
//! app.wait_line("ready", DEADLINE);
//! app.signal(libc::SIGTERM);
//! assert_eq!(app.wait(DEADLINE), Exit::Code(7));
//! ```

pub(crate) mod checks;
pub(crate) mod cluster;
pub(crate) mod docker;
pub(crate) mod drill;
pub(crate) mod examples;
pub(crate) mod health;
pub(crate) mod load;
mod needs;
mod net;
pub(crate) mod observer;
mod place;
mod process;
pub(crate) mod procfs;
pub(crate) mod pty;
pub(crate) mod run;
pub(crate) mod sites;
pub(crate) mod stopping;
pub(crate) mod tables;

pub(crate) use needs::{
    Venv, apache2, busybox, catatonit, chromium, docker_compose, dumb_init, go, haproxy, java, mariadbd, memcached,
    mosquitto, nats_server, nginx, node, npm, php, php_fpm, postgresql, prometheus, puma, qemu, rabbitmq_server,
    redis_server, requires, root, sidekiq, strace, su, supervisord, systemd_analyze, tini, unicorn, uwsgi, venv,
};
pub(crate) use net::{address, free_port, get, get_json, wait_http};
pub(crate) use place::{Place, graceful_argv};
pub(crate) use process::{Exit, Line, Proc, in_pid_namespace};

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long a test waits for an event that must come. Only a broken program (or machine) makes it pass.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The binary under test, as cargo built it for this test run.
pub(crate) fn graceful() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_graceful"))
}

/// A command that runs the binary under test, with nothing set by the caller's environment.
pub(crate) fn graceful_command() -> Command {
    let mut command = Command::new(graceful());
    without_settings(&mut command);
    command
}

/// Keeps the GRACEFUL_* variables of whoever runs the tests from the command: the binary reads them as options.
fn without_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GRACEFUL_") {
            command.env_remove(name);
        }
    }
}

/// A test run that was put in the background (`cargo test &`, `nohup`, many a CI) ignores SIGINT, SIGQUIT or SIGHUP, every
/// child of it too, and no shell can trap what was ignored when it started. Called before anything is started.
pub(crate) fn default_signals() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    const SIGNALS: [i32; 8] = [
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGTERM,
        libc::SIGTSTP,
        libc::SIGTTIN,
        libc::SIGTTOU,
        libc::SIGUSR1,
    ];
    ONCE.call_once(|| {
        for signal in SIGNALS {
            // SAFETY: puts back a default; nothing in a test process handles these.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    });
}

/// A file of `tests/apps`.
pub(crate) fn app(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apps").join(name);
    assert!(path.is_file(), "{} is missing", path.display());
    path.to_string_lossy().into_owned()
}

/// The folder of them.
pub(crate) fn apps() -> String {
    format!("{}/tests/apps/", env!("CARGO_MANIFEST_DIR"))
}

/// The system's Python: the small test apps need it (and only its standard library), so it is no optional need.
pub(crate) fn python3() -> String {
    let system = Path::new("/usr/bin/python3");
    if system.exists() { system.to_string_lossy().into_owned() } else { "python3".to_owned() }
}

/// The command line of `tests/apps/signals.py`, which tells each signal that it gets. Its options are in its head.
pub(crate) fn signals(options: &[&str]) -> Vec<String> {
    let mut command = vec![python3(), app("signals.py")];
    command.extend(options.iter().map(|&option| option.to_owned()));
    command
}

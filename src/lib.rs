//! graceful: one process between an orchestrator and an app that makes every stop of it a clean one.
//!
//! # The picture
//!
//! ```text
//!   t0  stop signal arrives          the load balancer still sends requests for some seconds
//!   │   PRE-STOP   app untouched, keeps serving; /readyz says 503; hooks run; the delay passes
//!   │   HOLD       the stop signal is held back while requests are in flight, or a URL or a command asks for it
//!   │   DRAIN      stop signal sent to the app; readiness polled, until the app exits
//!   │   LEFTOVERS  the app is gone, other processes are not: SIGTERM and the rest of the budget
//!   K   kill       budget spent: SIGKILL to everything that is left
//!   │   POST-STOP  hooks, the report, exit with the app's own status
//!   G   the orchestrator's own SIGKILL would come here
//! ```
//!
//! # The house
//!
//! ```text
//!   main ──► cli ──► config ──► supervisor ──┬──► generations ──► lifecycle   pure: which run of the app is the app, and
//!                                            │                what happens when in each (no I/O, clock, async, libc)
//!                                            ├──► hooks, hold ──► command   commands run for graceful's own ends
//!                                            ├──► worker ──► checks ──► server ──► health   two threads, each started by
//!                                            │      │           │     its first use: one asks the app and what it needs, one
//!                                            │      └───────────┴──► http     answers probes; what probes say is pure
//!                                            ├──► inflight    what the app's connections do, on a thread from t0 on
//!                                            ├──► log ──► output ──► files   tracing's subscriber; writing, on a thread
//!                                            │                where that can block; what is opened, and what is left alone
//!                                            ├──► timeline    one vocabulary of events: log, report, message
//!                                            └──► sys         the only unsafe, the only wait(2); no policy
//!   main, cli ──► drill   a stop under load, on purpose: runs a graceful of its own and reads its report; uses http,
//!                         inflight, sys and timeline
//!             ──► plan    the timeline of a stop before there is one, and manifests checked against it; uses config
//!             ──► demo    the app that ships with graceful, and the faults that it can have
//!             ──► install copies the binary itself, for images that do not have it
//!   main, cli ──► control one line to the running graceful, and its answer, over a Unix socket; the socket's other side
//!   main ──► probe        one question to a URL, a port or the running graceful, as cli and config say; uses http
//!   budget, counts, pid, reason, signal, status: the small types that everybody shares; secret: what is never shown whole;
//!   listening: the sockets that graceful binds, for its probes and for the app;
//!   notify: sd_notify(3), from the app and to the service manager;
//!   blocking: work that a disk can hold up, on a thread of its own; panics: what a caught panic says
//! ```
//!
//! Arrows go down or to the right, never back: `sys` knows no phase and no option, `lifecycle` no process and no clock,
//! `timeline` nothing that happens. `tests/it/architecture.rs` holds the code to it.
//!
//! # A few threads at most, one usually
//!
//! The main thread waits in one system call and never for anything else: not for a server (`worker` has a thread that
//! asks, started by the first readiness poll, URL or check, and one that answers, with `--probe-listen`), not for a log
//! reader or a disk (`output` has two), not for a look at the app's connections (`inflight` has one, from the stop on),
//! not for a hook (forked; SIGCHLD tells of its end). An app that merely runs has an init of one thread that sleeps in
//! rt_sigtimedwait(2) without a timer. (`disk:` checks have threads of their own: a file system can hang.)
//!
//! # What must never be
//!
//! Exit before the app. SIGKILL later than K. The app's signal before the pre-stop delay is over, unless SIGINT says
//! so. A signal to a process that is not ours. A signal lost. An exit status other than the app's, unless asked for. A
//! byte on standard output. A wake-up while idle. A panic that ends PID 1: those of the loop are caught and forwarding
//! goes on, those of a thread end that thread.

// The rules that the compiler keeps. Tests may panic, print and start processes; `unsafe` is for sys alone. Exceptions
// are `allow`s with a reason, and tests/it/architecture.rs knows them all. The lists of what is disallowed are in
// .clippy.toml.
#![deny(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::todo,
        clippy::unimplemented,
        clippy::exit,
        clippy::dbg_macro,
        clippy::print_stdout,
        clippy::print_stderr,
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

pub mod blocking;
pub mod budget;
pub mod checks;
pub mod cli;
pub mod command;
pub mod config;
pub mod control;
pub mod counts;
pub mod demo;
pub mod drill;
pub mod files;
pub mod generations;
pub mod health;
pub mod hold;
pub mod hooks;
pub mod http;
pub mod inflight;
pub mod install;
pub mod lifecycle;
pub mod listening;
pub mod log;
pub mod notify;
pub mod output;
pub mod panics;
pub mod pid;
pub mod plan;
pub mod probe;
pub mod reason;
pub mod secret;
pub mod server;
pub mod signal;
pub mod status;
pub mod supervisor;
pub mod sys;
pub mod timeline;
pub mod worker;

//! One validated configuration for a run.
//!
//! Everything after this module works with [`Config`] and can rely on it: durations fit the budget, URLs and
//! command lines parse, signals exist. What the user typed (flags, GRACEFUL_* variables, a TOML file) never goes
//! further than here.
//!
//! The way of a value: `options` (the one table of flags, variables and keys) names it, `raw` keeps it together
//! with the place where it was typed, `load` collects it from file, environment and flags, `values` and `hook` give it
//! a type, `draft` and `budget` check it against the others. Each step adds to one list of problems, and all of
//! them are reported in one run.

mod budget;
mod draft;
mod file;
mod hook;
mod load;
pub(crate) mod options;
mod raw;
pub(crate) mod suggest;
pub(crate) mod values;

#[cfg(test)]
mod tests;

pub use load::{Settings, Surroundings, load};
pub use raw::Problem;
pub(crate) use raw::quoted;

use crate::signal::{Signal, SignalSet};
use crate::status::SuccessStatuses;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// Everything that `graceful run` was told, checked and complete.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The app's argv, bytes as they came; never empty.
    pub command: Vec<OsString>,
    /// Grace period, kill margin, pre-stop delay.
    pub budget: Budget,
    /// What the app gets instead of the stop signal that was received.
    pub stop_signal: Option<Signal>,
    /// The signals that begin the shutdown: TERM, INT, QUIT and those of `--stop-on`.
    pub stop_on: SignalSet,
    /// FROM and TO of each `--rewrite`; `None` drops the signal.
    pub rewrite: Vec<(Signal, Option<Signal>)>,
    /// Sorted by time.
    pub escalate: Vec<Escalation>,
    /// When the stop signal is held back.
    pub hold: Hold,
    /// An explicit `--hold-timeout`.
    pub hold_timeout: Option<Duration>,
    /// All hooks, in the order in which they were given (file first, then flags).
    pub hooks: Vec<Hook>,
    /// The app's readiness endpoint.
    pub ready: Option<Readiness>,
    /// `--startup-timeout` with its action; only together with `ready`.
    pub startup: Option<Startup>,
    /// `--drain-file`, absolute.
    pub drain_file: Option<PathBuf>,
    /// What becomes of processes that outlive the app.
    pub leftovers: Leftovers,
    /// Endings that become exit 0.
    pub success: SuccessStatuses,
    /// `--termination-log`, absolute; `None` means /dev/termination-log if it is there.
    pub termination_log: Option<PathBuf>,
    /// `--report`, absolute.
    pub report: Option<PathBuf>,
    /// `--log-format`.
    pub log_format: LogFormat,
    /// `--log-level`.
    pub log_level: LogLevel,
    /// Oddities that do not stop the start, one line each (an unknown GRACEFUL_ variable that looks like a slip).
    pub warnings: Vec<String>,
}

/// The time that one stop may take, counted from the first stop signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// G: from the first stop signal to the orchestrator's SIGKILL.
    pub grace_period: Duration,
    /// SIGKILL is sent at K = G - margin.
    pub kill_margin: Duration,
    /// The app runs on untouched for this long after the stop signal.
    pub pre_stop_delay: Duration,
}

impl Budget {
    /// The defaults for this grace period: margin 1s or G/10 if shorter, delay 5s or G/4 if shorter.
    pub fn for_grace_period(grace_period: Duration) -> Budget {
        Budget {
            grace_period,
            kill_margin: Duration::from_secs(1).min(grace_period / 10),
            pre_stop_delay: Duration::from_secs(5).min(grace_period / 4),
        }
    }

    /// K: when SIGKILL is sent, counted from the first stop signal.
    pub fn kill_at(&self) -> Duration {
        self.grace_period.saturating_sub(self.kill_margin)
    }
}

/// `--escalate DUR:SIG`: a signal sent before SIGKILL if the app still runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Escalation {
    /// Counted from the first stop signal.
    pub after: Duration,
    /// What the app gets then.
    pub signal: Signal,
}

/// `--hold WHEN`: how long the stop signal is held back after the pre-stop delay.
#[derive(Clone, Debug, PartialEq)]
pub enum Hold {
    /// Not at all.
    Never,
    /// Until a GET of this URL answers 2xx.
    Url(Url),
    /// Until this command (argv) exits 0.
    Command(Vec<String>),
}

pub use crate::timeline::{LogLevel, Stage};

/// One `--hook` or `[[hook]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Hook {
    /// Its own name, or one made of its command or URL.
    pub name: String,
    /// When it runs.
    pub stage: Stage,
    /// What it runs.
    pub action: HookAction,
    /// It is killed after this long.
    pub timeout: Duration,
    /// Higher first.
    pub priority: i32,
    /// Given by a flag or a variable: runs on its own, in the order given, after the file's hooks of priority 0.
    /// Hooks of the file with equal priority run together.
    pub sequential: bool,
    /// Whether a failure is only logged, or ends the start (pre-start) or begins the stop (post-start).
    pub on_failure: OnFailure,
}

/// What a hook does.
#[derive(Clone, Debug, PartialEq)]
pub enum HookAction {
    /// Runs this argv, without a shell.
    Command(Vec<String>),
    /// POSTs to this URL; 2xx is success.
    Post(Url),
}

/// What a hook's failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// pre-start: the app is not started, exit 125. post-start: the app is stopped.
    Abort,
    /// It is logged.
    Continue,
}

/// `--ready-url`, `--ready-interval`, `--ready-timeout`.
#[derive(Clone, Debug, PartialEq)]
pub struct Readiness {
    /// The endpoint.
    pub url: Url,
    /// From one poll to the next.
    pub interval: Duration,
    /// For one poll.
    pub timeout: Duration,
}

/// `--startup-timeout`, `--startup-action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Startup {
    /// Not ready after this long is late.
    pub timeout: Duration,
    /// What happens then.
    pub action: StartupAction,
}

/// `--startup-action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartupAction {
    /// Say so.
    Report,
    /// Say so and stop the app.
    Stop,
}

/// `--leftovers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftovers {
    /// SIGTERM, the rest of the budget, SIGKILL.
    Stop,
    /// Leave them running (not as PID 1: the kernel ends them with it).
    Leave,
}

/// `--log-format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// The signals that begin the shutdown without `--stop-on`.
pub const STOP_SIGNALS: SignalSet = SignalSet::EMPTY.with(Signal::TERM).with(Signal::INT).with(Signal::QUIT);

impl Config {
    /// The configuration of `graceful -- COMMAND` where nothing else was said: built without a parser, because
    /// this is the path that every container start takes.
    pub fn defaults(command: Vec<OsString>) -> Config {
        Config {
            command,
            budget: Budget::for_grace_period(Duration::from_secs(30)),
            stop_signal: None,
            stop_on: STOP_SIGNALS,
            rewrite: Vec::new(),
            escalate: Vec::new(),
            hold: Hold::Never,
            hold_timeout: None,
            hooks: Vec::new(),
            ready: None,
            startup: None,
            drain_file: None,
            leftovers: Leftovers::Stop,
            success: SuccessStatuses::default(),
            termination_log: None,
            report: None,
            log_format: LogFormat::Text,
            log_level: LogLevel::Info,
            warnings: Vec::new(),
        }
    }
}

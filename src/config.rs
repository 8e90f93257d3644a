//! One validated configuration for a run.
//!
//! Everything after this module works with [`Config`] and can rely on it: durations fit the budget, URLs and
//! command lines parse, signals exist. What the user typed (flags, GRACEFUL_* variables, a TOML file) never goes
//! further than here.
//!
//! The path of a value: `options` (the one table of flags, variables and keys) names it, `raw` keeps it together with
//! the place where it was typed, `load` collects it from file, environment and flags, `values`, `hook` and `check` give
//! it a type, `draft` holds what was given, `finish` and `budget` check it against the others. Each step adds to one
//! list of problems, and all of them are reported in one run.

mod budget;
mod check;
mod draft;
mod file;
mod finish;
mod foreground;
mod hook;
mod load;
pub(crate) mod options;
mod profile;
mod raw;
mod reload;
mod restart;
pub(crate) mod suggest;
mod table;
mod target;
pub(crate) mod values;

#[cfg(test)]
mod tests;

pub use crate::budget::Budget;
pub use load::{Environment, OuterGraceful, Settings, Variable, load, probe_listen};
pub use profile::QueueWorker;
pub use raw::ConfigError;
pub(crate) use raw::quoted;
pub(crate) use target::ready_url;

use crate::secret::{CommandLine, Hidden, Url};
use crate::signal::{Signal, SignalSet};
use crate::status::{ExitStatus, SuccessStatuses};
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything that `graceful run` was told, checked and complete.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The app's argv, bytes as they came; never empty.
    pub command: Vec<OsString>,
    /// Grace period, kill margin, pre-stop delay.
    pub budget: Budget,
    /// Whether the pre-stop delay is the default, because nobody gave one.
    pub delay_is_default: bool,
    /// What the app gets instead of the stop signal that was received.
    pub stop_signal: Option<Signal>,
    /// The signals that begin the shutdown; none of them is in `rewrite`.
    pub stop_on: SignalSet,
    /// FROM and TO of each `--rewrite`; `None` drops the signal.
    pub rewrite: Vec<(Signal, Option<Signal>)>,
    /// Sorted by time.
    pub escalate: Vec<Escalation>,
    /// When the stop signal is held back.
    pub hold: Hold,
    /// `--hold-timeout`, or the limit that the profile sets.
    pub hold_timeout: Option<Duration>,
    /// `--quiet-window`.
    pub quiet_window: Duration,
    /// `--ports`; `None`: those that the app's process tree listens on.
    pub ports: Option<Vec<u16>>,
    /// The profile in use, as `--profile` takes it.
    pub profile: Option<&'static str>,
    /// The profile's stop signal, unless `--stop-signal` gives one. It is not sent to an app that has already got a
    /// stop signal from the terminal.
    pub profile_signal: Option<Signal>,
    /// The default hold ends this long before SIGKILL, rather than at half of the budget.
    pub hold_reserve: Option<Duration>,
    /// The command that keeps the app in the foreground, if its profile knows that it would not stay there by itself.
    pub foreground: Option<&'static str>,
    /// The profile's advice, one line each.
    pub advice: Vec<Advice>,
    /// All hooks, in the order in which they were given (file first, then flags).
    pub hooks: Vec<Hook>,
    /// The app's readiness endpoint.
    pub ready: Option<Readiness>,
    /// `--startup-timeout` with its action; only together with `ready` or a post-start hook.
    pub startup: Option<Startup>,
    /// The app's liveness endpoint.
    pub live: Option<Liveness>,
    /// `--probe-listen`: where the probe server listens.
    pub probe_listen: Option<Listen>,
    /// The sockets that the app is given, in their order.
    pub listen: Vec<AppSocket>,
    /// `--fail-readiness`: when a stop turns /readyz to 503.
    pub fail_readiness: FailReadiness,
    /// All dependency checks, in the order given.
    pub checks: Vec<CheckConfig>,
    /// `--drain-file`, absolute.
    pub drain_file: Option<PathBuf>,
    /// Who gets the stop signal and the escalations.
    pub stop_to: StopTo,
    /// What becomes of processes that outlive the app.
    pub leftovers: Leftovers,
    /// What graceful itself gets when the process that started it ends.
    pub parent_death_signal: Option<Signal>,
    /// Exit statuses and signals that become exit 0.
    pub success: SuccessStatuses,
    /// `--restart` and what depends on it.
    pub restart: Restart,
    /// `--reload-on` and what depends on it.
    pub reload: Reload,
    /// `--control`: where `graceful reload` and `graceful status` ask.
    pub control: ControlPlace,
    /// `--termination-log`, absolute; `None` means /dev/termination-log if it is there.
    pub termination_log: Option<PathBuf>,
    /// `--report`, absolute.
    pub report: Option<PathBuf>,
    /// `--log-format`.
    pub log_format: LogFormat,
    /// `--log-level`.
    pub log_level: LogLevel,
    /// Oddities that do not prevent the start, one line each (an unknown GRACEFUL_ variable that looks like a typo).
    pub warnings: Vec<String>,
}

/// A line of advice from a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// When it is of use.
    pub at: AdviceAt,
    /// One line.
    pub what: String,
}

/// When a profile's advice is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdviceAt {
    /// At the start, at info level.
    Start,
    /// At the start, at debug level.
    Detail,
    /// When a stop begins, and at the start at debug level.
    Stop,
    /// When the app has to be killed, and at the start at debug level.
    Kill,
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
    /// Until no request is in flight.
    Idle,
    /// The same, and nothing new has come for the quiet window.
    Quiet,
    /// Not at all.
    Never,
    /// Until a GET of this URL answers 2xx.
    Url(Url),
    /// Until this command (argv) exits 0.
    Command(CommandLine),
}

impl Hold {
    /// The mode, as the report names it.
    pub fn mode(&self) -> HoldMode {
        match self {
            Hold::Idle => HoldMode::Idle,
            Hold::Quiet => HoldMode::Quiet,
            Hold::Never => HoldMode::Never,
            Hold::Url(_) => HoldMode::Url,
            Hold::Command(_) => HoldMode::Command,
        }
    }
}

pub use crate::timeline::{HoldMode, LogLevel, Stage};

/// One `--hook` or `[[hook]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Hook {
    /// Its own name, or one made from its command's program or its URL's host.
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
    /// Whether a failure is only logged, or ends the start (pre-start) or begins the stop (post-start, ready).
    pub on_failure: OnFailure,
}

/// What a hook does.
#[derive(Clone, Debug, PartialEq)]
pub enum HookAction {
    /// Runs this argv, without a shell.
    Command(CommandLine),
    /// POSTs to this URL; 2xx is success.
    Post(Url),
}

/// What a hook's failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// pre-start: the app is not started, exit 125. post-start, ready: the app is stopped.
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
    /// An app that is not ready after this long is late.
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

/// `--live-url` and what depends on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Liveness {
    /// The endpoint.
    pub url: Url,
    /// From one poll to the next.
    pub interval: Duration,
    /// For one poll.
    pub timeout: Duration,
    /// The number of failures in a row that is too many; at least 1.
    pub threshold: u32,
    /// What happens then.
    pub action: LiveAction,
}

/// `--live-action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveAction {
    /// Say so.
    Report,
    /// Stop the app, and end.
    Stop,
    /// Stop the app, and start it again.
    Restart,
}

impl LiveAction {
    /// As `--live-action` takes it.
    pub fn name(self) -> &'static str {
        match self {
            LiveAction::Report => "report",
            LiveAction::Stop => "stop",
            LiveAction::Restart => "restart",
        }
    }
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// ADDRESS:PORT. An unspecified IPv6 address takes IPv4 connections too.
    Tcp(SocketAddr),
    /// unix:PATH, absolute.
    Unix(PathBuf),
}

impl Listen {
    /// The same address, with a relative path resolved against this directory.
    pub(crate) fn below(self, cwd: &Path) -> Listen {
        match self {
            Listen::Tcp(address) => Listen::Tcp(address),
            Listen::Unix(path) => Listen::Unix(cwd.join(path)),
        }
    }
}

/// A socket that graceful binds for the app (`--listen`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppSocket {
    /// Where it listens.
    pub address: Listen,
    /// What LISTEN_FDNAMES calls it.
    pub name: Option<String>,
}

/// As `--probe-listen` takes it.
impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp(address) => write!(f, "{address}"),
            Listen::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `--fail-readiness`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailReadiness {
    /// With the stop signal.
    AtStop,
    /// When the app gets its signal.
    AtDrain,
    /// Not because of a stop; when the app is gone.
    Never,
}

/// `--check NAME=TARGET` or `[[check]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckConfig {
    /// Unique.
    pub name: String,
    /// What is asked.
    pub target: CheckTarget,
    /// From the start of one try to the start of the next.
    pub interval: Duration,
    /// For one try.
    pub timeout: Duration,
    /// Up to this much is added to each interval, at random, so that many instances do not ask at once.
    pub jitter: Duration,
    /// A success that took longer than this is degraded.
    pub degraded_after: Option<Duration>,
    /// Whether the app is not ready while this is unhealthy.
    pub critical: bool,
    /// Number of failures in a row that make a check that has worked unhealthy, and fewer degraded; at least 1.
    pub failure_threshold: u32,
    /// Number of successes in a row that make an unhealthy check healthy again; at least 1.
    pub success_threshold: u32,
    /// Number of failures in a row that open the circuit breaker, at least 1; `None`: there is no breaker.
    pub breaker_after: Option<u32>,
    /// An open breaker answers unhealthy without trying for this long.
    pub breaker_reset: Duration,
}

/// What a check asks.
#[derive(Clone, Debug, PartialEq)]
pub enum CheckTarget {
    /// GET, by the rules of a readiness probe; a `status` field of a JSON answer counts as well.
    Http(Url),
    /// Connect, send, and find `expect` in what comes back.
    Tcp {
        /// A name or an address.
        host: String,
        /// The port.
        port: u16,
        /// Written after connecting.
        send: Option<Hidden>,
        /// The answer must contain it.
        expect: Option<String>,
    },
    /// Run this argv, without a shell; exit 0 is healthy.
    Exec {
        /// The command.
        argv: CommandLine,
        /// Exit statuses that mean degraded.
        degraded_status: Vec<u8>,
    },
    /// The free space, and the free inodes, of the file system that holds this path.
    Disk {
        /// Absolute.
        path: PathBuf,
        /// Less than this is degraded.
        degraded_free: Space,
        /// Less than this is unhealthy.
        unhealthy_free: Space,
    },
}

/// An amount of disk space.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Space {
    /// Of the file system's size; holds for inodes as well.
    Percent(f64),
    /// Absolute.
    Bytes(u64),
}

/// `--stop-to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopTo {
    /// The app alone.
    App,
    /// Its process group.
    Group,
    /// The app and every process that descends from it.
    Tree,
}

/// `--leftovers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftovers {
    /// SIGTERM, the rest of the budget, SIGKILL.
    Stop,
    /// The same in a stop; but where the app puts itself into the background, what it has started is the app from then
    /// on.
    Wait,
    /// Leave them running (not as PID 1: the kernel ends them with it).
    Leave,
}

/// `--restart`, `--restart-delay`, `--restart-delay-max`, `--restart-limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// After which exits.
    pub when: RestartWhen,
    /// The first pause; doubled from try to try.
    pub delay: Duration,
    /// The longest pause; after a run that lasted longer, the first pause comes again.
    pub delay_max: Duration,
    /// The largest number of restarts in a row; at least 1.
    pub limit: Option<u32>,
}

impl Default for Restart {
    fn default() -> Restart {
        Restart {
            when: RestartWhen::Never,
            delay: Duration::from_millis(500),
            delay_max: Duration::from_secs(30),
            limit: None,
        }
    }
}

/// `--control`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlPlace {
    /// The default: at the usual path as PID 1, if the app can be started more than once and the socket can be had.
    Usual,
    /// There is no control socket.
    Nowhere,
    /// On the Unix socket of this path, absolute.
    At(PathBuf),
}

/// `--reload-on`, `--reload-ready`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reload {
    /// The signal that begins a reload, if one does.
    pub on: Option<Signal>,
    /// What makes the new run ready.
    pub ready: ReadyCondition,
    /// A new run that is not ready this long after its start is stopped.
    pub within: Duration,
}

impl Default for Reload {
    fn default() -> Reload {
        Reload { on: None, ready: ReadyCondition::Alive(Duration::from_secs(1)), within: Duration::from_secs(60) }
    }
}

/// How a new run of the app is known to be ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadyCondition {
    /// It says so (sd_notify(3), READY=1).
    Notify,
    /// `--ready-url` answers so.
    Url,
    /// It has been alive for this long.
    Alive(Duration),
}

/// After which exits the app is started again, if it ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartWhen {
    /// None.
    Never,
    /// Those that are not clean; see [`Config::ended_cleanly`].
    OnFailure,
    /// All.
    Always,
}

/// `--log-format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// The default of `--quiet-window`.
pub const QUIET_WINDOW: Duration = Duration::from_secs(2);

/// The signals that begin the shutdown: exactly those of `--stop-on`. By default SIGTERM and SIGINT, and as PID 1 also
/// what stops containers of systemd and LXC (SIGRTMIN+3, SIGPWR). A profile adds what its images declare.
pub fn stop_signals(explicit: Option<SignalSet>, init: bool) -> SignalSet {
    let usual = SignalSet::EMPTY.with(Signal::TERM).with(Signal::INT);
    explicit.unwrap_or(if init { usual.with(Signal::RTMIN_3).with(Signal::PWR) } else { usual })
}

/// How the daemon of this name is kept in the foreground, if that is known.
pub fn in_foreground(name: &str) -> Option<&'static str> {
    let profile = profile::all().find(|profile| profile.name == name).and_then(|profile| profile.foreground);
    profile.or_else(|| foreground::known(name))
}

/// `--profile list`: every known server, its signal and what to know about it.
pub fn profiles() -> String {
    profile::table()
}

/// The server that this command line starts, if it is known: its name, and what to know about its stop.
pub fn known_server(command: &[OsString]) -> Option<(&'static str, &'static str)> {
    profile::detect(command).map(|found| (found.profile.name, found.profile.advice))
}

/// The worker of a queue that this command line starts, if it is a known one.
pub fn known_worker(command: &[OsString]) -> Option<QueueWorker> {
    let around = profile::Around { cwd: Path::new(""), variable: &|name| std::env::var_os(name), files: true };
    profile::worker(command, &around)
}

/// How long a server gives its own requests or jobs at a stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnLimit {
    /// At most this long.
    pub limit: Duration,
    /// What sets it, as an option, a variable or a default.
    pub place: String,
    /// Whether somebody set it; otherwise it is the server's default.
    pub is_set: bool,
}

/// A server that a profile knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The profile's name.
    pub name: &'static str,
    /// The signal on which it finishes its requests; `None` if the one received is right.
    pub stop_signal: Option<Signal>,
    /// Whether it takes jobs from a queue: nobody sends it requests.
    pub is_worker: bool,
    /// Its own limit; `None` if it waits for ever, or nothing is known.
    pub limit: Option<OwnLimit>,
}

/// The server that this command line would start elsewhere, with these variables. No file is looked at.
pub fn server(command: &[OsString], variable: &dyn Fn(&str) -> Option<OsString>) -> Option<Server> {
    let around = profile::Around { cwd: Path::new(""), variable, files: false };
    profile::server(command, &around)
}

/// The exit statuses, besides 0, with which the server that this command line starts ends a clean stop.
pub fn clean_exit_statuses(command: &[OsString]) -> &'static [u8] {
    profile::detect(command).map_or(&[], |found| found.profile.clean)
}

impl Config {
    /// Whether the pre-stop delay is skipped when nothing listens: it is only there for those who route requests to the
    /// app, and then nobody does. A user who gives a delay, `--ports` or a readiness endpoint knows better; and a
    /// worker that is to see the drain file before its signal needs the time for it.
    pub fn delay_is_for_listeners(&self) -> bool {
        self.delay_is_default && self.ports.is_none() && self.ready.is_none() && self.drain_file.is_none()
    }

    /// Whether the app is started again when it has ended.
    pub fn restarts(&self) -> bool {
        let hung = self.live.as_ref().is_some_and(|live| live.action == LiveAction::Restart);
        self.restart.when != RestartWhen::Never || hung
    }

    /// Whether the app can be started more than once.
    pub fn has_generations(&self) -> bool {
        self.restarts() || self.reload.on.is_some() || matches!(self.control, ControlPlace::At(_))
    }

    /// Whether the app ended without a failure: with 0, with what `--success-exit-status` names, or as the profile's
    /// server ends a clean stop.
    pub fn ended_cleanly(&self, status: ExitStatus) -> bool {
        let of_profile =
            || self.profile.and_then(profile::by_name).is_some_and(|profile| profile.clean.contains(&status.code()));
        self.success.contains(status) || of_profile()
    }

    /// The configuration of `graceful -- COMMAND` without any option; `init`: as PID 1. Built without a parser,
    /// because this is the path that every container start takes. For a known server it is that of its profile.
    pub fn of_command(command: Vec<OsString>, init: bool) -> Config {
        let mut config = Config::defaults(command, init);
        let around = profile::Around { cwd: Path::new(""), variable: &|name| std::env::var_os(name), files: true };
        profile::apply(&mut config, &profile::Explicit::default(), &around);
        config
    }

    /// The default of every option, for an app that no profile knows; `init`: as PID 1.
    pub fn defaults(command: Vec<OsString>, init: bool) -> Config {
        Config {
            command,
            budget: Budget::for_grace_period(Duration::from_secs(30)),
            delay_is_default: true,
            stop_signal: None,
            stop_on: stop_signals(None, init),
            rewrite: Vec::new(),
            escalate: Vec::new(),
            hold: Hold::Idle,
            hold_timeout: None,
            quiet_window: QUIET_WINDOW,
            ports: None,
            profile: None,
            profile_signal: None,
            hold_reserve: None,
            foreground: None,
            advice: Vec::new(),
            hooks: Vec::new(),
            ready: None,
            startup: None,
            live: None,
            probe_listen: None,
            listen: Vec::new(),
            fail_readiness: FailReadiness::AtStop,
            checks: Vec::new(),
            drain_file: None,
            stop_to: StopTo::App,
            leftovers: Leftovers::Stop,
            parent_death_signal: None,
            success: SuccessStatuses::default(),
            restart: Restart::default(),
            reload: Reload::default(),
            control: ControlPlace::Usual,
            termination_log: None,
            report: None,
            log_format: LogFormat::Text,
            log_level: LogLevel::Info,
            warnings: Vec::new(),
        }
    }
}

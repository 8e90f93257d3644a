//! The one table of options.
//!
//! Flags, GRACEFUL_* variables, keys of the file, `--help`, completions and man pages are all made from it, and nothing
//! else has to learn an option's name: what depends on another option names its row. A new option is, in this order:
//! one row here, with the function that reads its value, and its place in the list; its field in `Draft` and in
//! `Config`; its default in `Config::defaults`, for a start without a parser; and in `finish` the way from the one to
//! the other, with what it needs of other options.

use super::draft::{Draft, set_all, set_last};
use super::raw::{ConfigError, Raw};
use super::{
    FailReadiness, Leftovers, LiveAction, LogFormat, LogLevel, RestartWhen, StartupAction, StopTo, check, hook,
    profile, target, values,
};
use crate::reason::Reason;
use std::fmt;

/// One option of `run`.
pub(crate) struct OptionSpec {
    /// The flag, without its dashes.
    pub(crate) name: &'static str,
    /// The variable.
    pub(crate) variable: &'static str,
    /// The key in the file; `None` where the file cannot say it.
    pub(crate) key: Option<&'static str>,
    /// The kind of its value.
    pub(crate) value: ValueKind,
    /// Whether it may be given more than once.
    pub(crate) repeat: Repeat,
    /// The heading under which `--help` lists it.
    pub(crate) heading: &'static str,
    /// One or two short sentences, with the default.
    pub(crate) help: &'static str,
    /// Reads what one source gave; called for the file, the variable and the flags in this order.
    pub(crate) read: fn(&mut Draft, &[Raw], &mut Vec<ConfigError>),
}

impl OptionSpec {
    /// As it is typed.
    pub(crate) fn flag(&self) -> String {
        format!("--{}", self.name)
    }

    /// As it is typed, with what stands for its value.
    pub(crate) fn form(&self) -> String {
        format!("--{} {}", self.name, self.value.name())
    }

    /// The message for an option that depends on this one when this one was not given.
    pub(crate) fn is_missing(&self) -> String {
        format!("has no effect without {}; add {}", self.flag(), self.form())
    }
}

impl PartialEq for OptionSpec {
    fn eq(&self, other: &OptionSpec) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for OptionSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueKind {
    Duration,
    Signal,
    Rewrite,
    Escalation,
    Hold,
    Hook,
    Check,
    Url,
    /// Where to listen.
    Address,
    /// Where to listen for the app, and under which name.
    AppSocket,
    /// A file that graceful writes.
    Path,
    /// A file that graceful reads.
    File,
    Statuses,
    Ports,
    /// A signal, or `none`.
    SignalOrNone,
    /// How a new run of the app is known to be ready.
    Ready,
    /// A Unix socket, or `none`.
    Control,
    /// A whole number, at least 1.
    Count,
    Profile,
    /// One of these words.
    Choice(&'static str, &'static [&'static str]),
}

impl ValueKind {
    /// As `--help` shows it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            ValueKind::Duration => "DUR",
            ValueKind::Signal | ValueKind::SignalOrNone => "SIG",
            ValueKind::Rewrite => "FROM:TO",
            ValueKind::Escalation => "DUR:SIG",
            ValueKind::Hold | ValueKind::Ready => "WHEN",
            ValueKind::Hook => "STAGE=WHAT",
            ValueKind::Check => "NAME=TARGET",
            ValueKind::Url => "URL",
            ValueKind::Address | ValueKind::Control => "ADDR",
            ValueKind::AppSocket => "ADDR[=NAME]",
            ValueKind::Path => "PATH",
            ValueKind::File => "FILE",
            ValueKind::Statuses | ValueKind::Ports => "LIST",
            ValueKind::Count => "N",
            ValueKind::Profile => "NAME",
            ValueKind::Choice(name, _) => name,
        }
    }

    /// A value that is right.
    pub(crate) fn example(self) -> &'static str {
        match self {
            ValueKind::Duration => "30s",
            ValueKind::Signal => "TERM",
            ValueKind::SignalOrNone => "HUP",
            ValueKind::Ready => "2s",
            ValueKind::Control => "unix:/run/graceful-control.sock",
            ValueKind::Rewrite => "HUP:USR1",
            ValueKind::Escalation => "25s:QUIT",
            ValueKind::Hold => "never",
            ValueKind::Hook => "pre-stop=./drain",
            ValueKind::Check => "redis=tcp://redis:6379",
            ValueKind::Url => "http://127.0.0.1:8080/ready",
            ValueKind::Address => ":9090",
            ValueKind::AppSocket => ":8000=web",
            ValueKind::Path => "/run/app/file",
            ValueKind::File => "graceful.toml",
            ValueKind::Statuses => "143",
            ValueKind::Ports => "8080",
            ValueKind::Count => "5",
            ValueKind::Profile => "nginx",
            ValueKind::Choice(_, words) => words[0],
        }
    }
}

/// Whether an option may be given more than once, and what separates its values inside one string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Once.
    No,
    /// Any number of times; a comma separates values in every source.
    Comma,
    /// Any number of times; in the variable, one value a line.
    Lines,
}

/// The headings of `--help`.
pub(crate) mod heading {
    pub(crate) const BUDGET: &str = "Budget";
    pub(crate) const SIGNALS: &str = "Signals";
    pub(crate) const HOLD: &str = "Hold";
    pub(crate) const HOOKS: &str = "Hooks";
    pub(crate) const HEALTH: &str = "Health";
    pub(crate) const SOCKETS: &str = "Sockets of the app";
    pub(crate) const ENDING: &str = "Leftovers and exit status";
    pub(crate) const RESTART: &str = "Reload and restart";
    pub(crate) const OUTPUT: &str = "Output";
    /// Also that of `--help` and `--version`.
    pub(crate) const OTHER: &str = "Other";
}

// What may be chosen from, each word once: help, completions, readers and messages take it from here.
const STARTUP_ACTIONS: [(&str, StartupAction); 2] = [("report", StartupAction::Report), ("stop", StartupAction::Stop)];
const LIVE_ACTIONS: [(&str, LiveAction); 3] =
    [("report", LiveAction::Report), ("stop", LiveAction::Stop), ("restart", LiveAction::Restart)];
const READINESS_FAILURES: [(&str, FailReadiness); 3] =
    [("at-stop", FailReadiness::AtStop), ("at-drain", FailReadiness::AtDrain), ("never", FailReadiness::Never)];
const STOP_TARGETS: [(&str, StopTo); 3] = [("app", StopTo::App), ("group", StopTo::Group), ("tree", StopTo::Tree)];
const LEFTOVER_ACTIONS: [(&str, Leftovers); 3] =
    [("stop", Leftovers::Stop), ("wait", Leftovers::Wait), ("leave", Leftovers::Leave)];
const RESTARTS: [(&str, RestartWhen); 3] =
    [("never", RestartWhen::Never), ("on-failure", RestartWhen::OnFailure), ("always", RestartWhen::Always)];
const LOG_FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];
const LOG_LEVELS: [(&str, LogLevel); 5] = [
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];

/// `--log-format`.
pub(crate) fn log_format(text: &str) -> Result<LogFormat, Reason> {
    values::choice(text, &LOG_FORMATS)
}

/// `--log-level`.
pub(crate) fn log_level(text: &str) -> Result<LogLevel, Reason> {
    values::choice(text, &LOG_LEVELS)
}

/// What `--log-level` takes.
pub(crate) const LOG_LEVEL_WORDS: [&str; 5] = words(&LOG_LEVELS);

/// The words of such a table.
const fn words<T, const N: usize>(table: &[(&'static str, T); N]) -> [&'static str; N] {
    let mut words = [""; N];
    let mut at = 0;
    while at < N {
        words[at] = table[at].0;
        at += 1;
    }
    words
}

/// Every option, in the order of `--help`.
pub(crate) static OPTIONS: &[&OptionSpec] = &[
    &GRACE_PERIOD,
    &KILL_MARGIN,
    &PRE_STOP_DELAY,
    &STOP_SIGNAL,
    &STOP_ON,
    &STOP_TO,
    &REWRITE,
    &ESCALATE,
    &PROFILE,
    &HOLD,
    &HOLD_TIMEOUT,
    &QUIET_WINDOW,
    &PORTS,
    &HOOK,
    &READY_URL,
    &READY_INTERVAL,
    &READY_TIMEOUT,
    &STARTUP_TIMEOUT,
    &STARTUP_ACTION,
    &LIVE_URL,
    &LIVE_INTERVAL,
    &LIVE_TIMEOUT,
    &LIVE_THRESHOLD,
    &LIVE_ACTION,
    &CHECK,
    &PROBE_LISTEN,
    &FAIL_READINESS,
    &DRAIN_FILE,
    &LISTEN,
    &LEFTOVERS,
    &PARENT_DEATH_SIGNAL,
    &SUCCESS_EXIT_STATUS,
    &RELOAD_ON,
    &RELOAD_READY,
    &CONTROL,
    &RESTART,
    &RESTART_DELAY,
    &RESTART_DELAY_MAX,
    &RESTART_LIMIT,
    &TERMINATION_LOG,
    &REPORT,
    &LOG_FORMAT,
    &LOG_LEVEL,
    &CONFIG,
];

pub(crate) static GRACE_PERIOD: OptionSpec = OptionSpec {
    name: "grace-period",
    variable: "GRACEFUL_GRACE_PERIOD",
    key: Some("grace_period"),
    value: ValueKind::Duration,
    repeat: Repeat::No,
    heading: heading::BUDGET,
    help: "From the first stop signal to the orchestrator's SIGKILL, as terminationGracePeriodSeconds or \
           `docker stop -t` say it. Default: 30s",
    read: |draft, raw, problems| set_last(&mut draft.grace_period, raw, problems, values::positive_duration),
};

pub(crate) static KILL_MARGIN: OptionSpec = OptionSpec {
    name: "kill-margin",
    variable: "GRACEFUL_KILL_MARGIN",
    key: Some("kill_margin"),
    value: ValueKind::Duration,
    repeat: Repeat::No,
    heading: heading::BUDGET,
    help: "SIGKILL is sent this long before the grace period ends, so that the report still gets out. Default: \
           1s, or a tenth of the grace period if shorter",
    read: |draft, raw, problems| set_last(&mut draft.kill_margin, raw, problems, values::duration),
};

pub(crate) static PRE_STOP_DELAY: OptionSpec = OptionSpec {
    name: "pre-stop-delay",
    variable: "GRACEFUL_PRE_STOP_DELAY",
    key: Some("pre_stop_delay"),
    value: ValueKind::Duration,
    repeat: Repeat::No,
    heading: heading::BUDGET,
    help: "The app serves on untouched for this long after the stop signal, as load balancers still send to it. \
           Default: 5s, or a quarter of the grace period if shorter, or half of what an explicit margin, hold \
           and escalation leave; none where the app provably listens on nothing",
    read: |draft, raw, problems| set_last(&mut draft.pre_stop_delay, raw, problems, values::duration),
};

pub(crate) static STOP_SIGNAL: OptionSpec = OptionSpec {
    name: "stop-signal",
    variable: "GRACEFUL_STOP_SIGNAL",
    key: Some("stop_signal"),
    value: ValueKind::Signal,
    repeat: Repeat::No,
    heading: heading::SIGNALS,
    help: "What the app gets in place of the stop signal, as QUIT for nginx. Default: the one received",
    read: |draft, raw, problems| set_last(&mut draft.stop_signal, raw, problems, values::stop_signal),
};

pub(crate) static STOP_ON: OptionSpec = OptionSpec {
    name: "stop-on",
    variable: "GRACEFUL_STOP_ON",
    key: Some("stop_on"),
    value: ValueKind::Signal,
    repeat: Repeat::Comma,
    heading: heading::SIGNALS,
    help: "The signals that begin the shutdown, exactly these, as TERM,USR1 for an image with another STOPSIGNAL; \
           every other one is the app's; repeatable. Default: TERM and INT, as PID 1 also RTMIN+3 and PWR",
    read: |draft, raw, problems| set_all(&mut draft.stop_on, raw, problems, values::stop_on),
};

pub(crate) static STOP_TO: OptionSpec = OptionSpec {
    name: "stop-to",
    variable: "GRACEFUL_STOP_TO",
    key: Some("stop_to"),
    value: ValueKind::Choice("WHOM", &const { words(&STOP_TARGETS) }),
    repeat: Repeat::No,
    heading: heading::SIGNALS,
    help: "Who gets the stop signal and the escalations: app, its process group, or the tree (the app and every \
           descendant), for a shell that traps the signal and waits. Default: app",
    read: |draft, raw, problems| {
        set_last(&mut draft.stop_to, raw, problems, |text| values::choice(text, &STOP_TARGETS));
    },
};

pub(crate) static REWRITE: OptionSpec = OptionSpec {
    name: "rewrite",
    variable: "GRACEFUL_REWRITE",
    key: Some("rewrite"),
    value: ValueKind::Rewrite,
    repeat: Repeat::Comma,
    heading: heading::SIGNALS,
    help: "A signal on its way to the app becomes TO, or is dropped if TO is 0, and then begins no shutdown; \
           repeatable. Default: none",
    read: |draft, raw, problems| set_all(&mut draft.rewrite, raw, problems, values::rewrite),
};

pub(crate) static ESCALATE: OptionSpec = OptionSpec {
    name: "escalate",
    variable: "GRACEFUL_ESCALATE",
    key: Some("escalate"),
    value: ValueKind::Escalation,
    repeat: Repeat::Comma,
    heading: heading::SIGNALS,
    help: "At DUR after the stop signal, if the app still runs, it gets SIG: a stack or core dump before \
           SIGKILL; repeatable. Default: none",
    read: |draft, raw, problems| set_all(&mut draft.escalate, raw, problems, values::escalation),
};

pub(crate) static PROFILE: OptionSpec = OptionSpec {
    name: "profile",
    variable: "GRACEFUL_PROFILE",
    key: Some("profile"),
    value: ValueKind::Profile,
    repeat: Repeat::No,
    heading: heading::SIGNALS,
    help: "The stop signal and the defaults of a known server: its name, auto to know it by the command line, or none; \
           list prints all. Default: auto",
    read: |draft, raw, problems| set_last(&mut draft.profile, raw, problems, profile::parse),
};

pub(crate) static HOLD: OptionSpec = OptionSpec {
    name: "hold",
    variable: "GRACEFUL_HOLD",
    key: Some("hold"),
    value: ValueKind::Hold,
    repeat: Repeat::No,
    heading: heading::HOLD,
    help: "After the delay, the stop signal is held back until no request is in flight (idle), and nothing new has \
           come for the quiet window (quiet), a URL answers 2xx, or a command exits 0; or never. Default: idle",
    read: |draft, raw, problems| set_last(&mut draft.hold, raw, problems, values::hold),
};

pub(crate) static HOLD_TIMEOUT: OptionSpec = OptionSpec {
    name: "hold-timeout",
    variable: "GRACEFUL_HOLD_TIMEOUT",
    key: Some("hold_timeout"),
    value: ValueKind::Duration,
    repeat: Repeat::No,
    heading: heading::HOLD,
    help: "The hold lasts at most this long. Default: half of what is left when it begins; all but 2s where the app \
           has no handler for the signal",
    read: |draft, raw, problems| set_last(&mut draft.hold_timeout, raw, problems, values::positive_duration),
};

pub(crate) static QUIET_WINDOW: OptionSpec = OptionSpec {
    name: "quiet-window",
    variable: "GRACEFUL_QUIET_WINDOW",
    key: Some("quiet_window"),
    value: ValueKind::Duration,
    repeat: Repeat::No,
    heading: heading::HOLD,
    help: "An answer counts as complete after a quarter of this without a byte, and a connection in doubt as idle \
           after all of it, if the app handles the signal. Default: 2s",
    read: |draft, raw, problems| set_last(&mut draft.quiet_window, raw, problems, values::positive_duration),
};

pub(crate) static PORTS: OptionSpec = OptionSpec {
    name: "ports",
    variable: "GRACEFUL_PORTS",
    key: Some("ports"),
    value: ValueKind::Ports,
    repeat: Repeat::Comma,
    heading: heading::HOLD,
    help: "The ports whose connections count as in flight, as 8000,8443; repeatable. Default: those that the app and \
           its children listen on",
    read: |draft, raw, problems| set_all(&mut draft.ports, raw, problems, values::port),
};

pub(crate) static HOOK: OptionSpec = OptionSpec {
    name: hook::KEY,
    variable: "GRACEFUL_HOOK",
    key: None,
    value: ValueKind::Hook,
    repeat: Repeat::Lines,
    heading: heading::HOOKS,
    help: "At STAGE (pre-start, post-start, ready, pre-stop, post-stop) run a command line, split as a shell would \
           but without one, or POST to a URL; repeatable, in order. Each may take 10s, or half of the time before \
           SIGKILL if shorter. Default: none",
    read: |draft, raw, problems| hook::add_short(&mut draft.hooks, raw, problems),
};

pub(crate) static READY_URL: OptionSpec = OptionSpec {
    name: "ready-url",
    variable: "GRACEFUL_READY_URL",
    key: Some("ready_url"),
    value: ValueKind::Url,
    repeat: Repeat::No,
    heading: heading::HEALTH,
    help: "The app's readiness endpoint: by http, https or unix:SOCKET:PATH, a status from 200 to 399 means ready; by \
           tcp://HOST:PORT, an accepted connection. Default: none",
    read: |draft, raw, problems| set_last(&mut draft.ready_url, raw, problems, target::ready_url),
};

pub(crate) static READY_INTERVAL: OptionSpec = OptionSpec {
    name: "ready-interval",
    variable: "GRACEFUL_READY_INTERVAL",
    key: Some("ready_interval"),
    value: ValueKind::Duration,
    repeat: Repeat::No,
    heading: heading::HEALTH,
    help: "From one poll to the next. Default: 1s",
    read: |draft, raw, problems| set_last(&mut draft.ready_interval, raw, problems, values::positive_duration),
};

pub(crate) static READY_TIMEOUT: OptionSpec = OptionSpec {
    name: "ready-timeout",
    variable: "GRACEFUL_READY_TIMEOUT",
    key: Some("ready_timeout"),
    value: ValueKind::Duration,
    repeat: Repeat::No,
    heading: heading::HEALTH,
    help: "For one poll. Default: 1s",
    read: |draft, raw, problems| set_last(&mut draft.ready_timeout, raw, problems, values::positive_duration),
};

pub(crate) static STARTUP_TIMEOUT: OptionSpec = OptionSpec {
    name: "startup-timeout",
    variable: "GRACEFUL_STARTUP_TIMEOUT",
    key: Some("startup_timeout"),
    value: ValueKind::Duration,
    repeat: Repeat::No,
    heading: heading::HEALTH,
    help: "Not ready after this long, or post-start hooks still running: --startup-action. Default: none",
    read: |draft, raw, problems| set_last(&mut draft.startup_timeout, raw, problems, values::positive_duration),
};

pub(crate) static STARTUP_ACTION: OptionSpec = OptionSpec {
    name: "startup-action",
    variable: "GRACEFUL_STARTUP_ACTION",
    key: Some("startup_action"),
    value: ValueKind::Choice("WHAT", &const { words(&STARTUP_ACTIONS) }),
    repeat: Repeat::No,
    heading: heading::HEALTH,
    help: "report (say so) or stop (the app). Default: report",
    read: |draft, raw, problems| {
        set_last(&mut draft.startup_action, raw, problems, |text| values::choice(text, &STARTUP_ACTIONS));
    },
};

pub(crate) static LIVE_URL: OptionSpec = OptionSpec {
    name: "live-url",
    variable: "GRACEFUL_LIVE_URL",
    key: Some("live_url"),
    value: ValueKind::Url,
    repeat: Repeat::No,
    heading: heading::HEALTH,
    help: "The app's liveness endpoint, as --ready-url takes it and never one that asks others; polled from the first \
           ready on. Default: none",
    read: |draft, raw, problems| set_last(&mut draft.live_url, raw, problems, target::ready_url),
};

pub(crate) static LIVE_INTERVAL: OptionSpec = OptionSpec {
    name: "live-interval",
    variable: "GRACEFUL_LIVE_INTERVAL",
    key: Some("live_interval"),
    value: ValueKind::Duration,
    repeat: Repeat::No,
    heading: heading::HEALTH,
    help: "From one such poll to the next. Default: 10s",
    read: |draft, raw, problems| set_last(&mut draft.live_interval, raw, problems, values::positive_duration),
};

pub(crate) static LIVE_TIMEOUT: OptionSpec = OptionSpec {
    name: "live-timeout",
    variable: "GRACEFUL_LIVE_TIMEOUT",
    key: Some("live_timeout"),
    value: ValueKind::Duration,
    repeat: Repeat::No,
    heading: heading::HEALTH,
    help: "For one such poll. Default: 1s",
    read: |draft, raw, problems| set_last(&mut draft.live_timeout, raw, problems, values::positive_duration),
};

pub(crate) static LIVE_THRESHOLD: OptionSpec = OptionSpec {
    name: "live-threshold",
    variable: "GRACEFUL_LIVE_THRESHOLD",
    key: Some("live_threshold"),
    value: ValueKind::Count,
    repeat: Repeat::No,
    heading: heading::HEALTH,
    help: "After this many failures in a row: --live-action. Default: 3",
    read: |draft, raw, problems| set_last(&mut draft.live_threshold, raw, problems, values::count),
};

pub(crate) static LIVE_ACTION: OptionSpec = OptionSpec {
    name: "live-action",
    variable: "GRACEFUL_LIVE_ACTION",
    key: Some("live_action"),
    value: ValueKind::Choice("WHAT", &const { words(&LIVE_ACTIONS) }),
    repeat: Repeat::No,
    heading: heading::HEALTH,
    help: "report (the log, /livez 503), stop (the app, without delay and hold, and end) or restart (the same, and \
           start it again). Default: report",
    read: |draft, raw, problems| {
        set_last(&mut draft.live_action, raw, problems, |text| values::choice(text, &LIVE_ACTIONS));
    },
};

pub(crate) static CHECK: OptionSpec = OptionSpec {
    name: check::KEY,
    variable: "GRACEFUL_CHECK",
    key: None,
    value: ValueKind::Check,
    repeat: Repeat::Lines,
    heading: heading::HEALTH,
    help: "A dependency that readiness requires, asked every 10s: a URL, tcp://HOST:PORT, exec:COMMAND or \
           disk:/PATH; repeatable. Default: none",
    read: |draft, raw, problems| check::add_short(&mut draft.checks, raw, problems),
};

pub(crate) static PROBE_LISTEN: OptionSpec = OptionSpec {
    name: "probe-listen",
    variable: "GRACEFUL_PROBE_LISTEN",
    key: Some("probe_listen"),
    value: ValueKind::Address,
    repeat: Repeat::No,
    heading: heading::HEALTH,
    help: "Where graceful answers probes itself: /livez, /readyz, /startupz, and /metrics. Default: none",
    read: |draft, raw, problems| set_last(&mut draft.probe_listen, raw, problems, values::listen),
};

pub(crate) static LISTEN: OptionSpec = OptionSpec {
    name: "listen",
    variable: "GRACEFUL_LISTEN",
    key: Some("listen"),
    value: ValueKind::AppSocket,
    repeat: Repeat::Comma,
    heading: heading::SOCKETS,
    help: "graceful binds this address and gives the app the listening socket, as systemd does: descriptor 3 on, \
           LISTEN_FDS, LISTEN_PID, and LISTEN_FDNAMES with NAME. Connections made while the app starts wait and are \
           not refused; repeatable. Default: none",
    read: |draft, raw, problems| set_all(&mut draft.listen, raw, problems, values::app_socket),
};

pub(crate) static FAIL_READINESS: OptionSpec = OptionSpec {
    name: "fail-readiness",
    variable: "GRACEFUL_FAIL_READINESS",
    key: Some("fail_readiness"),
    value: ValueKind::Choice("WHEN", &const { words(&READINESS_FAILURES) }),
    repeat: Repeat::No,
    heading: heading::HEALTH,
    help: "When a stop turns /readyz to 503: at-stop, at-drain (with the app's signal, which keeps kube-proxy's \
           fallback to the last endpoint during the delay) or never. Default: at-stop",
    read: |draft, raw, problems| {
        set_last(&mut draft.fail_readiness, raw, problems, |text| values::choice(text, &READINESS_FAILURES));
    },
};

pub(crate) static DRAIN_FILE: OptionSpec = OptionSpec {
    name: "drain-file",
    variable: "GRACEFUL_DRAIN_FILE",
    key: Some("drain_file"),
    value: ValueKind::Path,
    repeat: Repeat::No,
    heading: heading::HEALTH,
    help: "Created when the stop begins, removed at start and end: for exec probes and worker loops. Default: none",
    read: |draft, raw, problems| draft.drain_file.set(raw, problems),
};

pub(crate) static LEFTOVERS: OptionSpec = OptionSpec {
    name: "leftovers",
    variable: "GRACEFUL_LEFTOVERS",
    key: Some("leftovers"),
    value: ValueKind::Choice("WHAT", &const { words(&LEFTOVER_ACTIONS) }),
    repeat: Repeat::No,
    heading: heading::ENDING,
    help: "Processes that outlive the app: stop (SIGTERM, the rest of the budget, SIGKILL), wait (follow an app that \
           puts itself into the background) or, when not PID 1, leave. Default: stop",
    read: |draft, raw, problems| {
        set_last(&mut draft.leftovers, raw, problems, |text| values::choice(text, &LEFTOVER_ACTIONS));
    },
};

pub(crate) static PARENT_DEATH_SIGNAL: OptionSpec = OptionSpec {
    name: "parent-death-signal",
    variable: "GRACEFUL_PARENT_DEATH_SIGNAL",
    key: Some("parent_death_signal"),
    value: ValueKind::Signal,
    repeat: Repeat::No,
    heading: heading::ENDING,
    help: "What graceful itself gets when the process that started it ends, as TERM for a stop of its own. Default: none",
    read: |draft, raw, problems| {
        set_last(&mut draft.parent_death_signal, raw, problems, values::parent_death_signal);
    },
};

pub(crate) static SUCCESS_EXIT_STATUS: OptionSpec = OptionSpec {
    name: "success-exit-status",
    variable: "GRACEFUL_SUCCESS_EXIT_STATUS",
    key: Some("success_exit_status"),
    value: ValueKind::Statuses,
    repeat: Repeat::Comma,
    heading: heading::ENDING,
    help: "Exit codes and signal names that become exit 0, as 143,SIGTERM; repeatable. Default: none",
    read: |draft, raw, problems| set_all(&mut draft.success, raw, problems, values::success_status),
};

pub(crate) static RELOAD_ON: OptionSpec = OptionSpec {
    name: "reload-on",
    variable: "GRACEFUL_RELOAD_ON",
    key: Some("reload_on"),
    value: ValueKind::SignalOrNone,
    repeat: Repeat::No,
    heading: heading::RESTART,
    help: "This signal starts a new run of the app beside the old one; once it is ready it gets the new connections, \
           and the old run is stopped, without delay. A new run that is not ready within --startup-timeout, or 60s, is \
           stopped, and the old one stays; or none. Default: HUP with --listen, else none",
    read: |draft, raw, problems| set_last(&mut draft.reload_on, raw, problems, values::reload_on),
};

pub(crate) static RELOAD_READY: OptionSpec = OptionSpec {
    name: "reload-ready",
    variable: "GRACEFUL_RELOAD_READY",
    key: Some("reload_ready"),
    value: ValueKind::Ready,
    repeat: Repeat::No,
    heading: heading::RESTART,
    help: "What makes the new run ready: a time alive, as 2s, notify (READY=1, sd_notify(3)), or url (--ready-url, asked of \
           the new run alone). Default: 1s",
    read: |draft, raw, problems| set_last(&mut draft.reload_ready, raw, problems, values::reload_ready),
};

pub(crate) static CONTROL: OptionSpec = OptionSpec {
    name: "control",
    variable: "GRACEFUL_CONTROL",
    key: Some("control"),
    value: ValueKind::Control,
    repeat: Repeat::No,
    heading: heading::RESTART,
    help: "Where `graceful reload` and `graceful status` find this graceful: unix:PATH, for root and its own user \
           alone, or none. Default: unix:/run/graceful-control.sock as PID 1 with --reload-on or --restart, else none",
    read: |draft, raw, problems| set_last(&mut draft.control, raw, problems, values::control),
};

pub(crate) static RESTART: OptionSpec = OptionSpec {
    name: "restart",
    variable: "GRACEFUL_RESTART",
    key: Some("restart"),
    value: ValueKind::Choice("WHEN", &const { words(&RESTARTS) }),
    repeat: Repeat::No,
    heading: heading::RESTART,
    help: "Whether an app that ended by itself is started again: never, on-failure (an exit status that is neither 0 \
           nor a clean one of --success-exit-status or the profile) or always; never after a stop signal. Default: \
           never",
    read: |draft, raw, problems| {
        set_last(&mut draft.restart, raw, problems, |text| values::choice(text, &RESTARTS));
    },
};

pub(crate) static RESTART_DELAY: OptionSpec = OptionSpec {
    name: "restart-delay",
    variable: "GRACEFUL_RESTART_DELAY",
    key: Some("restart_delay"),
    value: ValueKind::Duration,
    repeat: Repeat::No,
    heading: heading::RESTART,
    help: "From the end of the app to its first restart; doubled from try to try. Default: 500ms",
    read: |draft, raw, problems| set_last(&mut draft.restart_delay, raw, problems, values::positive_duration),
};

pub(crate) static RESTART_DELAY_MAX: OptionSpec = OptionSpec {
    name: "restart-delay-max",
    variable: "GRACEFUL_RESTART_DELAY_MAX",
    key: Some("restart_delay_max"),
    value: ValueKind::Duration,
    repeat: Repeat::No,
    heading: heading::RESTART,
    help: "The longest such delay; after a run that lasted longer, the first delay comes again. Default: 30s",
    read: |draft, raw, problems| set_last(&mut draft.restart_delay_max, raw, problems, values::positive_duration),
};

pub(crate) static RESTART_LIMIT: OptionSpec = OptionSpec {
    name: "restart-limit",
    variable: "GRACEFUL_RESTART_LIMIT",
    key: Some("restart_limit"),
    value: ValueKind::Count,
    repeat: Repeat::No,
    heading: heading::RESTART,
    help: "After this many restarts in a row, graceful ends with the app's last status. Default: none",
    read: |draft, raw, problems| set_last(&mut draft.restart_limit, raw, problems, values::count),
};

pub(crate) static TERMINATION_LOG: OptionSpec = OptionSpec {
    name: "termination-log",
    variable: "GRACEFUL_TERMINATION_LOG",
    key: Some("termination_log"),
    value: ValueKind::Path,
    repeat: Repeat::No,
    heading: heading::OUTPUT,
    help: "The report's short form, for `kubectl describe`. Default: /dev/termination-log if it is there",
    read: |draft, raw, problems| draft.termination_log.set(raw, problems),
};

pub(crate) static REPORT: OptionSpec = OptionSpec {
    name: "report",
    variable: "GRACEFUL_REPORT",
    key: Some("report"),
    value: ValueKind::Path,
    repeat: Repeat::No,
    heading: heading::OUTPUT,
    help: "The whole report as JSON. Default: none",
    read: |draft, raw, problems| draft.report.set(raw, problems),
};

pub(crate) static LOG_FORMAT: OptionSpec = OptionSpec {
    name: "log-format",
    variable: "GRACEFUL_LOG_FORMAT",
    key: Some("log_format"),
    value: ValueKind::Choice("FORMAT", &const { words(&LOG_FORMATS) }),
    repeat: Repeat::No,
    heading: heading::OUTPUT,
    help: "text or json, to stderr only: stdout belongs to the app. Default: text",
    read: |draft, raw, problems| {
        set_last(&mut draft.log_format, raw, problems, log_format);
    },
};

pub(crate) static LOG_LEVEL: OptionSpec = OptionSpec {
    name: "log-level",
    variable: "GRACEFUL_LOG_LEVEL",
    key: Some("log_level"),
    value: ValueKind::Choice("LEVEL", &LOG_LEVEL_WORDS),
    repeat: Repeat::No,
    heading: heading::OUTPUT,
    help: "error, warn, info, debug or trace. Default: info",
    read: |draft, raw, problems| {
        set_last(&mut draft.log_level, raw, problems, log_level);
    },
};

pub(crate) static CONFIG: OptionSpec = OptionSpec {
    name: "config",
    variable: "GRACEFUL_CONFIG",
    key: None,
    value: ValueKind::File,
    repeat: Repeat::No,
    heading: heading::OTHER,
    help: "A TOML file with the same options as keys. Default: none",
    // Read before all others: the file's own keys are one of the sources.
    read: |_, _, _| {},
};

/// Every key that the file may have at its top level.
pub(crate) fn file_keys() -> impl Iterator<Item = &'static str> + Clone {
    OPTIONS.iter().filter_map(|spec| spec.key).chain([hook::KEY, check::KEY])
}

//! One vocabulary of events. Log lines, the report and the termination message are views of it.
//!
//! [`Timeline`] keeps what happened with the time since graceful's start. It is bounded: an app that is signalled every
//! second for a year must not make PID 1 grow, so before the stop only the newest events are kept and the rest is
//! counted.
//!
//! - `names`: phases, stages and the like, each with its one name.
//! - `text`: an event in words, for the log.
//! - `report`: the whole as JSON, and the short form for `kubectl describe`.

pub mod report;
pub mod text;

mod names;

pub use names::{GenerationCause, InFlightMoment, Phase, RestartCause, SignalReason, Stage, Status};

use crate::budget::Budget;
use crate::counts::Counts;
use crate::signal::Signal;
use crate::status::ExitStatus;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::time::{Duration, SystemTime};

/// What began the stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "signal", rename_all = "kebab-case")]
pub enum StopCause {
    /// A stop signal.
    Signal(Signal),
    /// The app ended by itself.
    AppExited,
    /// A post-start hook failed whose failure stops the app.
    HookFailed,
    /// The same, for a ready hook.
    ReadyHookFailed,
    /// The app was not ready in time.
    StartupTimeout,
    /// The app showed no life.
    Hung,
    /// A newer run of the app has taken its place.
    Replaced,
    /// It was to take the place of another one, and was not ready in time.
    NotReady,
    /// The app never ran.
    NotStarted,
}

/// How severe an event is (`--log-level`: this and everything more severe is written).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something that the user should look at or change.
    Warn,
    /// What happens.
    Info,
    /// Every step.
    Debug,
    /// Every look.
    Trace,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[allow(missing_docs, reason = "the fields are named in the text of each event, in `text`")]
pub enum Event {
    PhaseBegan {
        phase: Phase,
    },
    StopBegan {
        cause: StopCause,
    },
    StopSignalFrom {
        signal: Signal,
        sender: Option<i32>,
    },
    KeyShared {
        signal: Signal,
        /// The same again within this time begins the stop.
        #[serde(rename = "again_within_s", serialize_with = "seconds")]
        again_within: Duration,
    },
    DelaySkipped {
        signal: Signal,
    },
    PhaseCutShort {
        phase: Phase,
        signal: Signal,
    },
    StopRepeated {
        signal: Signal,
    },
    SignalDropped {
        signal: Signal,
    },
    ResizeDropped,
    SignalUnheard {
        signal: Signal,
    },
    SignalSent {
        signal: Signal,
        reason: SignalReason,
        pid: i32,
        error: Option<String>,
    },
    /// Nothing will come of it: the app does not even notice what it ignores.
    SignalIgnored {
        signal: Signal,
        /// Whether it has a terminal, and is hung up as well.
        hung_up: bool,
    },
    /// A signal that begins no stop came from another PID namespace, as an engine sends an image's STOPSIGNAL.
    ForeignSignal {
        signal: Signal,
        /// The app ignores it; otherwise it ended after it.
        ignored: bool,
    },
    /// By `--stop-to`: this many others got what the app got.
    AlsoSignalled {
        signal: Signal,
        /// `group` or `tree`.
        whom: &'static str,
        count: usize,
    },
    AppStarted {
        pid: i32,
    },
    /// The app exited with 0, and this process of its is a daemon, or is the app now.
    InBackground {
        pid: i32,
        name: String,
        /// How it is kept in the foreground.
        foreground: Option<String>,
        followed: bool,
    },
    Listening {
        at: String,
    },
    ListenFailed {
        what: String,
    },
    CheckChanged {
        name: String,
        from: Option<Status>,
        status: Status,
        detail: String,
        said: Option<String>,
        #[serde(rename = "not_tried_for_s", serialize_with = "maybe_seconds")]
        not_tried_for: Option<Duration>,
    },
    SpawnFailed {
        program: String,
        why: String,
        code: u8,
    },
    AppExited {
        status: ExitStatus,
        phase: Phase,
        told: bool,
        /// What may have told the app of the stop before its signal.
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<&'static str>,
    },
    KilledFromOutside {
        oom_kills: Option<u64>,
    },
    OutOfMemory {
        count: u64,
    },
    StartupLate {
        #[serde(rename = "after_s", serialize_with = "seconds")]
        after: Duration,
        stop: bool,
        /// The app was ready once.
        ready: bool,
        /// No post-start hook is left to run.
        hooks: bool,
    },
    HoldBegan {
        what: String,
        /// What is held back.
        signal: Signal,
        #[serde(rename = "at_most_s", serialize_with = "seconds")]
        at_most: Duration,
    },
    HoldCheck {
        detail: String,
    },
    HoldEnded {
        why: String,
    },
    HoldTimedOut {
        detail: String,
        /// What was held back.
        signal: Signal,
    },
    InFlight {
        at: InFlightMoment,
        #[serde(flatten)]
        counts: Counts,
        /// How old the numbers are.
        #[serde(rename = "age_s", serialize_with = "seconds")]
        age: Duration,
    },
    Unanswered {
        what: String,
    },
    NothingListens,
    NotWatched {
        what: String,
    },
    /// An answer went on that had been taken for over after a pause.
    AnswerWentOn {
        #[serde(rename = "pause_s", serialize_with = "seconds")]
        pause: Duration,
        /// The quiet window with which it would not have been.
        #[serde(rename = "quiet_window_s", serialize_with = "seconds")]
        quiet_window: Duration,
    },
    Undelivered {
        connections: usize,
        bytes: u64,
    },
    Delivered {
        #[serde(rename = "took_s", serialize_with = "seconds")]
        took: Duration,
    },
    NotDelivered {
        connections: usize,
        bytes: u64,
        why: String,
    },
    /// What the app's profile advises.
    Advice {
        what: String,
        /// Whether it is only of interest to somebody who looks closely.
        detail: bool,
    },
    Ready {
        detail: String,
        again: bool,
    },
    NotReady {
        detail: String,
        refused: bool,
    },
    NeverAnswered {
        detail: String,
    },
    NotReadyYet {
        detail: String,
    },
    StillReady,
    /// The liveness endpoint has failed this often in a row.
    NotLive {
        detail: String,
        failures: u32,
        /// `report`, `stop` or `restart`.
        then: &'static str,
    },
    LiveAgain {
        detail: String,
    },
    ReadyWarning {
        detail: String,
    },
    HookBegan {
        name: String,
        stage: Stage,
    },
    HookEnded {
        name: String,
        stage: Stage,
        #[serde(flatten)]
        result: HookResult,
        #[serde(rename = "took_s", serialize_with = "seconds")]
        took: Duration,
    },
    HookOutput {
        name: String,
        line: String,
    },
    LeftoversFound {
        count: usize,
    },
    LeftoverSignalled {
        pid: i32,
        name: String,
        signal: Signal,
        /// Whether the process ignores the signal: when it ends, it is for another reason.
        ignored: bool,
        error: Option<String>,
    },
    /// The processes that are too many to be named.
    MoreSignalled {
        count: usize,
        signal: Signal,
        /// How many of them ignore the signal.
        ignored: usize,
    },
    NotWaitedFor {
        count: usize,
        names: String,
        why: Unwaited,
    },
    EverythingKilled {
        count: Option<usize>,
        app: bool,
    },
    Reaped {
        orphans: u64,
        after_sigkill: u64,
    },
    NotDead,
    /// The app has ended, and is started again.
    Restarting {
        cause: RestartCause,
        /// How it ended; `None` if it was not started.
        status: Option<ExitStatus>,
        #[serde(rename = "ran_s", serialize_with = "seconds")]
        ran: Duration,
        #[serde(rename = "delay_s", serialize_with = "seconds")]
        delay: Duration,
        /// Which try in a row, counted from 1.
        tries: u32,
        /// Since the first end of the row.
        #[serde(rename = "row_s", serialize_with = "seconds")]
        row: Duration,
        /// Whether it is one of too many to be logged each time.
        #[serde(skip)]
        hushed: bool,
    },
    /// The app has been started again as often in a row as it may.
    GivenUp {
        tries: u32,
    },
    /// A new run of the app is started beside the current one.
    ReloadBegan {
        /// What asked for it.
        by: String,
        /// The new one.
        generation: u64,
    },
    /// The new run has taken the place of the old one.
    Reloaded {
        generation: u64,
        #[serde(rename = "took_s", serialize_with = "seconds")]
        took: Duration,
        /// What showed that it is ready.
        ready: String,
    },
    /// The new run has not, and the old one goes on.
    ReloadFailed {
        generation: u64,
        why: String,
    },
    /// A reload was asked for while another one was under way.
    ReloadWaits {
        by: String,
    },
    /// Nothing can be reloaded now.
    ReloadRefused {
        by: String,
        why: String,
    },
    /// The run that was replaced is gone.
    Retired {
        status: Option<ExitStatus>,
        #[serde(rename = "took_s", serialize_with = "seconds")]
        took: Duration,
    },
    /// A stop signal came while nothing ran.
    NotRestarted {
        signal: Signal,
    },
    Trouble {
        what: String,
    },
    Finished {
        code: u8,
    },
}

/// Why a process that is left is not waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unwaited {
    /// graceful may not signal it (EPERM).
    NotAllowed,
    /// It was brought in from outside of the container, and the app ended by itself.
    FromOutside,
}

/// How a hook ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", content = "detail", rename_all = "snake_case")]
pub enum HookResult {
    /// Exit 0, or a 2xx answer.
    Ok,
    /// Anything else.
    Failed(String),
    /// It was killed at its timeout.
    TimedOut,
    /// It was killed because it was no longer needed.
    Cancelled,
}

/// An event with its time since graceful's start.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The time since graceful's start.
    pub at: Duration,
    /// The event.
    pub event: Event,
}

/// What the stop signal is held back for, whoever has set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HoldMode {
    /// No request is in flight.
    Idle,
    /// The same, and nothing new comes.
    Quiet,
    /// Nothing: it is not held back.
    Never,
    /// A URL says so.
    Url,
    /// A command says so.
    Command,
}

/// What has happened so far.
#[derive(Debug)]
pub struct Timeline {
    started_at: SystemTime,
    budget: Budget,
    hold_mode: HoldMode,
    /// argv[0]: the arguments may hold secrets.
    program: OsString,
    app: Option<i32>,
    app_started: Duration,
    t0: Option<Duration>,
    /// When the app was told to stop, and by which signal.
    told: Option<(Duration, Signal)>,
    entries: VecDeque<Entry>,
    forgotten: u64,
    /// Which run of the app it is about, from 1 on.
    generation: u64,
    /// How often the app was started again so far.
    restarts: u64,
    /// Whether its lines say which run they are about: it is not the run that counts, or has not been for long.
    marked: bool,
}

/// At most this many of the processes that outlived the app are named.
pub const LEFTOVERS_NAMED: usize = 20;

/// How many events are kept: enough for any stop, and a bound for a long life.
const KEPT: usize = 256;

impl Timeline {
    /// An empty timeline that begins now.
    pub fn new(started_at: SystemTime, program: OsString, budget: Budget, hold_mode: HoldMode) -> Timeline {
        Timeline {
            started_at,
            budget,
            hold_mode,
            program,
            app: None,
            app_started: Duration::ZERO,
            t0: None,
            told: None,
            entries: VecDeque::new(),
            forgotten: 0,
            generation: 1,
            restarts: 0,
            marked: false,
        }
    }

    /// The timeline of another run of the app, which begins with nothing but the warnings, which hold for graceful as a
    /// whole. `again`: the app was started again, since it had ended.
    pub fn of_another(&self, generation: u64, again: bool) -> Timeline {
        let warnings = self.entries.iter().filter(|entry| matches!(entry.event, Event::Trouble { .. }));
        Timeline {
            entries: warnings.cloned().collect(),
            generation,
            restarts: self.restarts + u64::from(again),
            ..Timeline::new(self.started_at, self.program.clone(), self.budget, self.hold_mode)
        }
    }

    /// Whether its lines in the log say which run of the app they are about: there are two.
    pub fn mark(&mut self, marked: bool) {
        self.marked = marked;
    }

    /// The run of the app, where its lines are to say so.
    pub fn marked(&self) -> Option<u64> {
        self.marked.then_some(self.generation)
    }

    /// Adds an event and returns it as kept.
    pub fn record(&mut self, at: Duration, event: Event) -> Entry {
        match &event {
            Event::StopBegan { .. } => self.t0 = self.t0.or(Some(at)),
            Event::AppStarted { pid } => (self.app, self.app_started) = (Some(*pid), at),
            Event::InBackground { pid, followed: true, .. } => self.app = Some(*pid),
            Event::SignalSent { reason: SignalReason::Stop, signal, .. } => {
                self.told = self.told.or(Some((at, *signal)));
            }
            _ => {}
        }
        let entry = Entry { at, event };
        // What a hook prints belongs to the log; the report keeps how the hook ended.
        if !matches!(entry.event, Event::HookOutput { .. }) {
            self.keep(entry.clone());
        }
        entry
    }

    fn keep(&mut self, entry: Entry) {
        if self.entries.len() >= KEPT {
            // What can come without end goes first: the stop's own steps are what the report is about.
            let chatter = self.entries.iter().position(|entry| is_chatter(&entry.event));
            self.entries.remove(chatter.unwrap_or(0));
            self.forgotten += 1;
        }
        self.entries.push_back(entry);
    }

    /// What is kept, oldest first.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.entries.iter().map(|entry| &entry.event)
    }

    /// Whether this trouble has been recorded already.
    pub fn has_trouble(&self, what: &str) -> bool {
        self.events().any(|event| matches!(event, Event::Trouble { what: said } if said == what))
    }

    /// The app's pid, once it has been started.
    pub fn app(&self) -> Option<i32> {
        self.app
    }

    /// When the stop began, since graceful's start.
    pub fn t0(&self) -> Option<Duration> {
        self.t0
    }

    /// What is left of the budget at this time: K is where it ends.
    fn left(&self, at: Duration) -> Duration {
        let kill_at = self.budget.kill_at();
        kill_at.saturating_sub(self.since_stop(at))
    }

    /// Time since the stop began.
    fn since_stop(&self, at: Duration) -> Duration {
        at.saturating_sub(self.t0.unwrap_or(at))
    }
}

/// What may come any number of times in one life.
fn is_chatter(event: &Event) -> bool {
    matches!(
        event,
        Event::SignalSent { reason: SignalReason::Forwarded | SignalReason::JobControl | SignalReason::Again, .. }
            | Event::SignalDropped { .. }
            | Event::ResizeDropped
            | Event::SignalUnheard { .. }
            | Event::KeyShared { .. }
            | Event::StopRepeated { .. }
            | Event::HoldCheck { .. }
            | Event::NotReadyYet { .. }
            | Event::ReadyWarning { .. }
            | Event::Ready { .. }
            | Event::NotReady { .. }
            | Event::NotLive { .. }
            | Event::LiveAgain { .. }
            | Event::ReloadWaits { .. }
            | Event::ReloadRefused { .. }
            | Event::CheckChanged { .. }
            | Event::Trouble { .. }
    )
}

impl fmt::Display for StopCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StopCause::Signal(signal) => write!(f, "{signal}"),
            StopCause::AppExited => f.write_str("the app exited"),
            StopCause::HookFailed => f.write_str("a post-start hook failed"),
            StopCause::ReadyHookFailed => f.write_str("a ready hook failed"),
            StopCause::StartupTimeout => f.write_str("the startup timeout"),
            StopCause::Hung => f.write_str("the app shows no life"),
            StopCause::Replaced => f.write_str("replaced"),
            StopCause::NotReady => f.write_str("not ready in time"),
            StopCause::NotStarted => f.write_str("the app did not start"),
        }
    }
}

impl HookResult {
    /// Its kind, as the report and the metrics name it.
    pub fn name(&self) -> &'static str {
        match self {
            HookResult::Ok => "ok",
            HookResult::Failed(_) => "failed",
            HookResult::TimedOut => "timed_out",
            HookResult::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for HookResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HookResult::Ok => f.write_str("ok"),
            HookResult::Failed(why) => write!(f, "failed: {why}"),
            HookResult::TimedOut => f.write_str("timed out and was killed"),
            HookResult::Cancelled => f.write_str("was cancelled (no longer needed)"),
        }
    }
}

impl Serialize for Signal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for ExitStatus {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut out = serializer.serialize_struct("ExitStatus", 2)?;
        match self {
            ExitStatus::Exited(code) => out.serialize_field("exit_code", code)?,
            ExitStatus::Signaled(signal) => out.serialize_field("signal", signal)?,
        }
        out.serialize_field("code", &self.code())?;
        out.end()
    }
}

impl<'de> Deserialize<'de> for Signal {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Signal, D::Error> {
        let name = String::deserialize(deserializer)?;
        Signal::parse(&name).ok_or_else(|| serde::de::Error::custom(format!("expected a signal, as SIGTERM: {name}")))
    }
}

impl<'de> Deserialize<'de> for ExitStatus {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<ExitStatus, D::Error> {
        #[derive(Deserialize)]
        struct Fields {
            exit_code: Option<u8>,
            signal: Option<Signal>,
        }
        match Fields::deserialize(deserializer)? {
            Fields { exit_code: Some(code), signal: None } => Ok(ExitStatus::Exited(code)),
            Fields { exit_code: None, signal: Some(signal) } => Ok(ExitStatus::Signaled(signal)),
            _ => Err(serde::de::Error::custom("expected either exit_code or signal")),
        }
    }
}

/// Seconds with whole milliseconds, the unit of every duration in JSON.
fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(rounded(*duration))
}

fn maybe_seconds<S: serde::Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(rounded).serialize(serializer)
}

fn rounded(duration: Duration) -> f64 {
    duration.as_millis() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_signals_do_not_push_out_what_began_the_stop() {
        let mut timeline = Timeline::new(SystemTime::now(), OsString::from("app"), Budget::default(), HoldMode::Idle);
        timeline.record(Duration::ZERO, Event::StopBegan { cause: StopCause::Signal(Signal::TERM) });
        for millis in 0..1000 {
            let event =
                Event::SignalSent { signal: Signal::USR1, reason: SignalReason::Forwarded, pid: 7, error: None };
            timeline.record(Duration::from_millis(millis), event);
        }
        timeline.record(Duration::from_secs(2), Event::NotDead);
        assert_eq!(timeline.events().count(), KEPT);
        assert!(matches!(timeline.events().next(), Some(Event::StopBegan { .. })));
        assert!(matches!(timeline.events().last(), Some(Event::NotDead)));
    }
    #[test]
    fn a_hook_result_is_written_by_its_name() {
        let failed = HookResult::Failed("exit status 1".to_owned());
        for result in [HookResult::Ok, failed, HookResult::TimedOut, HookResult::Cancelled] {
            assert_eq!(serde_json::to_value(&result).unwrap()["result"], result.name());
        }
    }
}

//! The report: everything about one stop, as JSON for machines and in a few lines for `kubectl describe`.
//!
//! All times are seconds with milliseconds. `*_s` of a phase, a signal, a hook or a readiness change counts from t0,
//! the begin of the stop (the app's exit, if it ended by itself); what came before t0 is negative.

use super::text::{human, plural};
use super::{Cause, Event, HookResult, InFlight, Moment, Phase, SignalReason, Stage, Timeline, rounded};
use crate::signal::Signal;
use crate::status::ExitStatus;
use serde::Serialize;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

/// Kubernetes reads no more of a termination message (kubernetes.io, "Determine the Reason for Pod Failure").
pub const TERMINATION_MESSAGE_MAX: usize = 4096;

/// The whole report.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    graceful: &'static str,
    program: Cow<'a, str>,
    started_at: String,
    stop_began_at: Option<String>,
    ran_s: f64,
    cause: Option<Cause>,
    /// pid of the sender of the signal that began the stop; null when the kernel or another namespace sent it.
    stop_signal_sender: Option<i32>,
    app: App,
    exit_code: u8,
    budget: Budget,
    phases: Vec<PhaseSpan>,
    signals: Vec<SignalSent>,
    hooks: Vec<HookRun>,
    readiness: Vec<Readiness>,
    checks: Vec<CheckChange>,
    /// Empty where it could not be seen, or was not looked for.
    in_flight: Vec<InFlightAt>,
    hold: Option<String>,
    /// It was proven when the stop began, and the default pre-stop delay ended for it.
    nothing_listens: bool,
    /// What comes in where nothing can be seen, and is not held for.
    not_watched: Vec<String>,
    /// What the app had handed to the kernel when it ended; null if all of that was delivered, or the kernel goes on with it.
    undelivered: Option<Undelivered>,
    leftovers: Leftovers,
    /// Whether graceful sent SIGKILL because the budget was spent.
    sigkill: bool,
    killed_from_outside: Option<KilledFromOutside>,
    /// Processes in the app's cgroup that the kernel has killed for want of memory since the start.
    oom_kills: u64,
    warnings: Vec<String>,
    events_forgotten: u64,
    /// False where it was written shortly before SIGKILL and nothing came after: graceful itself was killed.
    complete: bool,
}

#[derive(Debug, Serialize)]
struct App {
    pid: Option<i32>,
    status: Option<ExitStatus>,
    /// The app ended before graceful told it to stop, or of one that graceful knows nothing of.
    ended_before_signal: bool,
    spawn_error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Budget {
    grace_period_s: f64,
    kill_margin_s: f64,
    pre_stop_delay_s: f64,
    used_s: f64,
    /// Until SIGKILL would have come.
    left_s: f64,
}

#[derive(Debug, Serialize)]
struct PhaseSpan {
    phase: Phase,
    start_s: f64,
    duration_s: f64,
}

#[derive(Debug, Serialize)]
struct SignalSent {
    at_s: f64,
    signal: Signal,
    to: i32,
    name: String,
    reason: &'static str,
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct HookRun {
    name: String,
    stage: Stage,
    end_s: f64,
    took_s: f64,
    #[serde(flatten)]
    result: HookResult,
}

#[derive(Debug, Serialize)]
struct Readiness {
    at_s: f64,
    ready: bool,
    refused: bool,
    detail: String,
}

/// What was in flight, in connections.
#[derive(Debug, Serialize)]
struct InFlightAt {
    moment: Moment,
    at_s: f64,
    #[serde(flatten)]
    counts: InFlight,
}

/// Answers that were on their way when the app ended.
#[derive(Debug, Serialize)]
struct Undelivered {
    /// When the app ended.
    connections: usize,
    bytes: u64,
    /// Why it was not waited for any longer; null if all was delivered.
    given_up: Option<String>,
    /// What was left then.
    bytes_left: u64,
}

/// A dependency check whose status changed.
#[derive(Debug, Serialize)]
struct CheckChange {
    at_s: f64,
    name: String,
    status: &'static str,
    detail: String,
}

#[derive(Debug, Default, Serialize)]
struct Leftovers {
    /// Processes that outlived the app.
    found: usize,
    /// Processes that are left behind: they cannot be signalled, or came from outside when the app ended by itself.
    not_waited_for: usize,
    /// Of those found, and of what the app still had when it was killed itself, how many ended after graceful's SIGKILL.
    killed: u64,
    /// Orphans that graceful has reaped in its whole life.
    orphans_reaped: u64,
}

#[derive(Debug, Serialize)]
struct KilledFromOutside {
    /// By how much the cgroup's oom_kill count rose.
    oom_kills: Option<u64>,
}

impl<'a> Report<'a> {
    /// Made of all events up to `end`.
    pub fn new(timeline: &'a Timeline, end: Duration, exit_code: u8) -> Report<'a> {
        let limits = timeline.limits;
        let used = timeline.since_stop(end);
        let mut report = Report {
            graceful: env!("CARGO_PKG_VERSION"),
            program: timeline.program.to_string_lossy(),
            started_at: wall(timeline, Duration::ZERO),
            stop_began_at: timeline.t0.map(|t0| wall(timeline, t0)),
            ran_s: rounded(end),
            cause: None,
            stop_signal_sender: None,
            app: App { pid: timeline.app, status: None, ended_before_signal: false, spawn_error: None },
            exit_code,
            budget: Budget {
                grace_period_s: rounded(limits.grace_period),
                kill_margin_s: rounded(limits.kill_margin),
                pre_stop_delay_s: rounded(limits.pre_stop_delay),
                used_s: rounded(used),
                left_s: rounded(timeline.left(end)),
            },
            phases: Vec::new(),
            signals: Vec::new(),
            hooks: Vec::new(),
            readiness: Vec::new(),
            checks: Vec::new(),
            in_flight: Vec::new(),
            hold: None,
            nothing_listens: false,
            not_watched: Vec::new(),
            undelivered: None,
            leftovers: Leftovers::default(),
            sigkill: false,
            killed_from_outside: None,
            oom_kills: 0,
            warnings: Vec::new(),
            events_forgotten: timeline.forgotten,
            complete: true,
        };
        for entry in &timeline.entries {
            report.add(timeline, entry.at, &entry.event);
        }
        report.close_phase(from_t0(timeline, end));
        report
    }

    fn add(&mut self, timeline: &Timeline, at: Duration, event: &Event) {
        let at_s = from_t0(timeline, at);
        match event {
            Event::PhaseBegan { phase } => {
                self.close_phase(at_s);
                if *phase != Phase::Done {
                    self.phases.push(PhaseSpan { phase: *phase, start_s: at_s, duration_s: 0.0 });
                }
            }
            Event::StopBegan { cause } => self.cause = self.cause.or(Some(*cause)),
            Event::StopSignalFrom { sender, .. } => self.stop_signal_sender = self.stop_signal_sender.or(*sender),
            Event::SignalSent { signal, reason, pid, error } => self.signals.push(SignalSent {
                at_s,
                signal: *signal,
                to: *pid,
                name: "app".to_owned(),
                reason: reason_name(*reason),
                error: error.clone(),
            }),
            Event::LeftoverSignalled { pid, name, signal, error } => self.signals.push(SignalSent {
                at_s,
                signal: *signal,
                to: *pid,
                name: name.clone(),
                reason: "leftover",
                error: error.clone(),
            }),
            Event::SpawnFailed { why, .. } => self.app.spawn_error = Some(why.clone()),
            Event::AppExited { status, hint, .. } => {
                self.app.status = Some(*status);
                self.app.ended_before_signal = super::text::ended_unasked(event);
                if self.app.ended_before_signal && hint.is_none() {
                    self.warn(timeline, at, event);
                }
            }
            Event::KilledFromOutside { oom_kills } => {
                self.killed_from_outside = Some(KilledFromOutside { oom_kills: *oom_kills });
                self.oom_kills = oom_kills.unwrap_or_default();
            }
            Event::OutOfMemory { count } => {
                self.oom_kills = *count;
                self.warn(timeline, at, event);
            }
            Event::HookEnded { name, stage, result, took } => self.hooks.push(HookRun {
                name: name.clone(),
                stage: *stage,
                end_s: at_s,
                took_s: rounded(*took),
                result: result.clone(),
            }),
            Event::CheckChanged { name, status, detail, .. } => {
                let (name, detail) = (name.clone(), detail.clone());
                self.checks.push(CheckChange { at_s, name, status, detail });
            }
            Event::ListenFailed { what } => self.app.spawn_error = Some(what.clone()),
            Event::Ready { detail, .. } => self.ready(at_s, true, false, detail),
            Event::NotReady { detail, refused } => self.ready(at_s, false, *refused, detail),
            Event::NeverAnswered { detail } => self.ready(at_s, false, true, detail),
            Event::HoldEnded { why } => self.hold = Some(why.clone()),
            Event::HoldTimedOut { detail, .. } if detail.is_empty() => self.hold = Some("timed out".to_owned()),
            Event::HoldTimedOut { detail, .. } => self.hold = Some(format!("timed out, {detail}")),
            Event::InFlight { at: moment, counts, age } => {
                self.in_flight.push(InFlightAt { moment: *moment, at_s: at_s - rounded(*age), counts: *counts });
            }
            Event::NothingListens => self.nothing_listens = true,
            Event::NotWatched { what } => self.not_watched.push(what.clone()),
            Event::Undelivered { connections, bytes } => {
                let (connections, bytes) = (*connections, *bytes);
                self.undelivered = Some(Undelivered { connections, bytes, given_up: None, bytes_left: 0 });
            }
            Event::NotDelivered { bytes, why, .. } => {
                if let Some(undelivered) = &mut self.undelivered {
                    (undelivered.given_up, undelivered.bytes_left) = (Some(why.clone()), *bytes);
                }
                self.warn(timeline, at, event);
            }
            Event::LeftoversFound { count } => self.leftovers.found = *count,
            Event::NotWaitedFor { count, .. } => self.leftovers.not_waited_for += count,
            Event::EverythingKilled { .. } => self.sigkill = true,
            Event::Reaped { orphans, after_sigkill } => {
                self.leftovers.orphans_reaped = *orphans;
                self.leftovers.killed = *after_sigkill;
            }
            Event::InBackground { followed: false, .. }
            | Event::StillReady
            | Event::Unanswered { .. }
            | Event::StartupLate { .. }
            | Event::ReadyWarning { .. }
            | Event::SignalIgnored { .. }
            | Event::ForeignSignal { .. }
            | Event::NotDead => self.warn(timeline, at, event),
            Event::Trouble { what } => self.warnings.push(what.clone()),
            Event::KeyShared { .. }
            | Event::DelaySkipped { .. }
            | Event::PhaseCutShort { .. }
            | Event::StopRepeated { .. }
            | Event::SignalDropped { .. }
            | Event::ResizeDropped
            | Event::SignalUnheard { .. }
            | Event::AppStarted { .. }
            | Event::AlsoSignalled { .. }
            | Event::InBackground { .. }
            | Event::Listening { .. }
            | Event::Advice { .. }
            | Event::HoldBegan { .. }
            | Event::Delivered { .. }
            | Event::HoldCheck { .. }
            | Event::NotReadyYet { .. }
            | Event::HookBegan { .. }
            | Event::HookOutput { .. }
            | Event::Finished { .. } => {}
        }
    }

    fn warn(&mut self, timeline: &Timeline, at: Duration, event: &Event) {
        let entry = super::Entry { at, event: event.clone() };
        self.warnings.push(super::text::describe(timeline, &entry));
    }

    fn ready(&mut self, at_s: f64, ready: bool, refused: bool, detail: &str) {
        self.readiness.push(Readiness { at_s, ready, refused, detail: detail.to_owned() });
    }

    fn close_phase(&mut self, at_s: f64) {
        if let Some(last) = self.phases.last_mut() {
            last.duration_s = ((at_s - last.start_s) * 1000.0).round() / 1000.0;
        }
    }

    /// It is written before the end, in case that the end is somebody else's.
    pub fn in_advance(mut self) -> Report<'a> {
        self.complete = false;
        self
    }

    /// The report as one JSON document, ending in a line end.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_else(|error| format!("{{\"error\": \"{error}\"}}"));
        text.push('\n');
        text
    }

    /// The short form: what `kubectl describe pod` shows as the message of the terminated container.
    pub fn to_message(&self) -> String {
        let mut text = String::from("graceful: ");
        let seconds = |value: f64| human(Duration::from_secs_f64(value.max(0.0)));
        let ended =
            self.app.status.map_or("the app did not run".to_owned(), |status| format!("the app ended: {status}"));
        _ = match (self.cause, self.app.status) {
            (Some(Cause::AppExited), Some(status)) => write!(text, "the app ended by itself: {status}"),
            (Some(Cause::NotStarted), _) => match &self.app.spawn_error {
                Some(why) => write!(text, "the app did not start: {why}"),
                None => write!(text, "the app did not start"),
            },
            (Some(cause), _) => write!(text, "{cause}, {ended}"),
            (None, _) => write!(text, "no stop, {ended}"),
        };
        _ = write!(text, "; {} of {} used", seconds(self.budget.used_s), seconds(self.budget.grace_period_s));
        for phase in &self.phases {
            if phase.start_s >= 0.0 && phase.duration_s >= 0.001 {
                _ = write!(text, "; {} {}", phase.phase, seconds(phase.duration_s));
            }
        }
        if self.sigkill {
            text.push_str("; SIGKILL was needed");
        }
        if let Some(killed) = &self.killed_from_outside {
            text.push_str("; SIGKILL came from outside");
            if killed.oom_kills.is_some() {
                text.push_str(" (out of memory)");
            }
        }
        if self.leftovers.found > 0 {
            let found = self.leftovers.found;
            _ = write!(text, "; {found} leftover {}", plural(found, "process", "processes"));
        }
        for hook in self.hooks.iter().filter(|hook| hook.result != HookResult::Ok) {
            _ = write!(text, "; {} hook {} {}", hook.stage, hook.name, hook.result);
        }
        for warning in &self.warnings {
            _ = write!(text, "; {warning}");
        }
        let mut text = super::text::printable(&text).into_owned();
        text.push('\n');
        cut(text, TERMINATION_MESSAGE_MAX)
    }
}

/// At most `max` bytes, cut between characters.
fn cut(mut text: String, max: usize) -> String {
    if text.len() > max {
        let end = (0..=max - 4).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push_str("...\n");
    }
    text
}

fn reason_name(reason: SignalReason) -> &'static str {
    match reason {
        SignalReason::Forwarded => "forwarded",
        SignalReason::Stop => "stop",
        SignalReason::Again => "again",
        SignalReason::Escalation => "escalation",
        SignalReason::JobControl => "job-control",
    }
}

fn wall(timeline: &Timeline, at: Duration) -> String {
    humantime::format_rfc3339_millis(timeline.started_at + at).to_string()
}

fn from_t0(timeline: &Timeline, at: Duration) -> f64 {
    let t0 = timeline.t0.unwrap_or_default();
    (at.as_millis() as f64 - t0.as_millis() as f64) / 1000.0
}

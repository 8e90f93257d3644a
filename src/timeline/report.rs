//! The report: everything about one stop, as JSON for machines and in a few lines for `kubectl describe`.
//!
//! All times are seconds with milliseconds. `*_s` of a phase, a signal, a hook or a readiness change counts from t0,
//! the beginning of the stop (the app's exit, if it ended by itself); what came before t0 is negative.
//!
//! One type serves those who write it and those who read it: `graceful drill` reads the report of the run that it
//! has supervised back into the same [`Report`].

use super::text::{human, plural};
use super::{
    Event, HoldMode, HookResult, InFlightMoment, Phase, SignalReason, Stage, Status, StopCause, Timeline, rounded,
};
use crate::counts::Counts;
use crate::signal::Signal;
use crate::status::ExitStatus;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// Kubernetes reads no more bytes of a termination message (kubernetes.io, "Determine the Reason for Pod Failure").
pub const TERMINATION_MESSAGE_MAX: usize = 4096;

/// In seconds. Helpers that end when they see that the app has, as Python's resource_tracker, are gone by then.
pub const HELPERS_LAST_S: f64 = 0.5;

/// The whole report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The version that wrote it.
    pub graceful: String,
    /// argv[0] of the app: the arguments may hold secrets.
    pub program: String,
    /// Wall clock of graceful's start, RFC 3339.
    pub started_at: String,
    /// Wall clock of t0; null where no stop began.
    pub stop_began_at: Option<String>,
    /// How long graceful ran.
    pub ran_s: f64,
    /// What began the stop.
    pub cause: Option<StopCause>,
    /// pid of the sender of the signal that began the stop; null when the kernel or another namespace sent it.
    pub stop_signal_sender: Option<i32>,
    /// Which run of the app this is about, counted from 1; times and events are those of this run alone.
    pub generation: u64,
    /// How often the app was started again in graceful's life.
    pub restarts: u64,
    /// What became of the app.
    pub app: AppEnd,
    /// graceful's own exit status.
    pub exit_code: u8,
    /// The budget, and how much of it was used.
    pub budget: BudgetReport,
    /// In the order in which they came.
    pub phases: Vec<PhaseSpan>,
    /// All that were sent to the app, and to what it left.
    pub signals: Vec<SignalSent>,
    /// Those that have ended.
    pub hooks: Vec<HookRun>,
    /// Changes of the readiness endpoint.
    pub readiness: Vec<ReadinessChange>,
    /// Changes of the dependency checks.
    pub checks: Vec<CheckChange>,
    /// Empty where it could not be seen, or was not looked for.
    pub in_flight: Vec<InFlightAt>,
    /// What the signal was to be held back for.
    pub hold_mode: HoldMode,
    /// How the hold ended, in words; null where there was none.
    pub hold: Option<String>,
    /// Whether the hold ended because its time was over, and not because of what it waited for.
    pub hold_timed_out: bool,
    /// Whether it was proven, when the stop began, that nothing listens, so that the default pre-stop delay ended.
    pub nothing_listens: bool,
    /// Where requests come in that cannot be seen, and are not held for.
    pub not_watched: Vec<String>,
    /// An answer that was taken for over went on; null if none did.
    pub answer_went_on: Option<AnswerWentOn>,
    /// What the app had handed to the kernel when it ended; null if all of that was delivered, or the kernel goes on
    /// with it.
    pub undelivered: Option<Undelivered>,
    /// What outlived the app.
    pub leftovers: LeftoversReport,
    /// Whether graceful sent SIGKILL because the budget was spent.
    pub sigkill: bool,
    /// Who else killed the app, as far as that is known; null if nobody did.
    pub killed_from_outside: Option<KilledFromOutside>,
    /// Processes in the app's cgroup that the kernel has killed for want of memory since the start.
    pub oom_kills: u64,
    /// What the log has warned of.
    pub warnings: Vec<String>,
    /// Number of events that were too many to be kept.
    pub events_forgotten: u64,
    /// False where it was written shortly before SIGKILL and nothing came after: graceful itself was killed.
    pub complete: bool,
}

/// The app, and how it ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppEnd {
    /// Its pid; null where it was never started.
    pub pid: Option<i32>,
    /// How it ended.
    pub status: Option<ExitStatus>,
    /// Whether the app ended before graceful told it to stop, or of a signal that graceful knows nothing about.
    pub ended_before_signal: bool,
    /// Why it was not started.
    pub spawn_error: Option<String>,
}

/// The budget of the stop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BudgetReport {
    /// G.
    pub grace_period_s: f64,
    /// How long before G graceful sends SIGKILL.
    pub kill_margin_s: f64,
    /// The configured delay.
    pub pre_stop_delay_s: f64,
    /// The part of G that was used until the end.
    pub used_s: f64,
    /// What was left until SIGKILL would have come.
    pub left_s: f64,
}

/// A phase of the life of the app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseSpan {
    /// The phase.
    pub phase: Phase,
    /// When it began.
    pub start_s: f64,
    /// How long it lasted.
    pub duration_s: f64,
}

/// A signal that graceful sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignalSent {
    /// Seconds since t0.
    pub at_s: f64,
    /// The signal that was sent.
    pub signal: Signal,
    /// The pid that got it.
    pub to: i32,
    /// The name of that process.
    pub name: String,
    /// Why it was sent.
    pub reason: SentBecause,
    /// Why it could not be sent.
    pub error: Option<String>,
}

/// Why a signal was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SentBecause {
    /// It came to graceful and is the app's.
    Forwarded,
    /// The app is to stop.
    Stop,
    /// Another stop signal during the drain.
    Again,
    /// `--escalate`.
    Escalation,
    /// The app is stopped (SIGSTOP, Ctrl-Z) and is to go on.
    JobControl,
    /// It outlived the app.
    Leftover,
}

/// A hook that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HookRun {
    /// The name of the hook.
    pub name: String,
    /// When it is run.
    pub stage: Stage,
    /// When it ended.
    pub end_s: f64,
    /// How long it ran.
    pub took_s: f64,
    /// How it ended.
    #[serde(flatten)]
    pub result: HookResult,
}

/// A change of the readiness endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadinessChange {
    /// Seconds since t0.
    pub at_s: f64,
    /// Whether it answered 200 to 399.
    pub ready: bool,
    /// Whether nobody listened there.
    pub refused: bool,
    /// What it said.
    pub detail: String,
}

/// What was in flight, in connections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InFlightAt {
    /// The moment of the count.
    pub moment: InFlightMoment,
    /// Seconds since t0.
    pub at_s: f64,
    /// What was seen.
    #[serde(flatten)]
    pub counts: Counts,
}

/// An answer that was taken for over went on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnswerWentOn {
    /// The pause without a byte.
    pub pause_s: f64,
    /// The `--quiet-window` that holds for such pauses.
    pub quiet_window_s: f64,
}

/// Answers that were on their way when the app ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Undelivered {
    /// The connections that had some when the app ended.
    pub connections: usize,
    /// The bytes when the app ended.
    pub bytes: u64,
    /// Why they were no longer waited for; null if all was delivered.
    pub given_up: Option<String>,
    /// What was left then.
    pub bytes_left: u64,
}

/// A dependency check whose status changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckChange {
    /// Seconds since t0.
    pub at_s: f64,
    /// The name of the check.
    pub name: String,
    /// What it is since then.
    pub status: Status,
    /// What it said.
    pub detail: String,
}

/// What outlived the app.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LeftoversReport {
    /// Processes that outlived the app.
    pub found: usize,
    /// How many of these were gone within half a second without graceful's doing: they ignore the signal that it sent,
    /// or had ended before. So do helpers of a runtime that end when they see that the app has.
    pub ended_by_themselves: usize,
    /// Processes that are left behind: they cannot be signalled, or came from outside when the app ended by itself.
    pub not_waited_for: usize,
    /// Of those found, and of what the app still had when it was killed itself, how many ended after graceful's
    /// SIGKILL.
    pub killed: u64,
    /// Orphans that graceful has reaped in its whole life.
    pub orphans_reaped: u64,
}

/// SIGKILL that was not graceful's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KilledFromOutside {
    /// By how much the cgroup's oom_kill count rose.
    pub oom_kills: Option<u64>,
}

impl Report {
    /// Made of all events up to `end`.
    pub fn new(timeline: &Timeline, end: Duration, exit_code: u8) -> Report {
        let budget = timeline.budget;
        let used = timeline.since_stop(end);
        let mut report = Report {
            graceful: env!("CARGO_PKG_VERSION").to_owned(),
            program: timeline.program.to_string_lossy().into_owned(),
            started_at: wall(timeline, Duration::ZERO),
            stop_began_at: timeline.t0.map(|t0| wall(timeline, t0)),
            ran_s: rounded(end),
            cause: None,
            stop_signal_sender: None,
            generation: timeline.generation,
            restarts: timeline.restarts,
            app: AppEnd { pid: timeline.app, status: None, ended_before_signal: false, spawn_error: None },
            exit_code,
            budget: BudgetReport {
                grace_period_s: rounded(budget.grace_period),
                kill_margin_s: rounded(budget.kill_margin),
                pre_stop_delay_s: rounded(budget.pre_stop_delay),
                used_s: rounded(used),
                left_s: rounded(timeline.left(end)),
            },
            phases: Vec::new(),
            signals: Vec::new(),
            hooks: Vec::new(),
            readiness: Vec::new(),
            checks: Vec::new(),
            in_flight: Vec::new(),
            hold_mode: timeline.hold_mode,
            hold: None,
            hold_timed_out: false,
            nothing_listens: false,
            not_watched: Vec::new(),
            answer_went_on: None,
            undelivered: None,
            leftovers: LeftoversReport::default(),
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
        report.leftovers.ended_by_themselves = report.helpers(timeline);
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
                reason: (*reason).into(),
                error: error.clone(),
            }),
            Event::LeftoverSignalled { pid, name, signal, error, .. } => self.signals.push(SignalSent {
                at_s,
                signal: *signal,
                to: *pid,
                name: name.clone(),
                reason: SentBecause::Leftover,
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
                self.checks.push(CheckChange { at_s, name, status: *status, detail });
            }
            Event::ListenFailed { what } => self.app.spawn_error = Some(what.clone()),
            Event::Ready { detail, .. } => self.ready(at_s, true, false, detail),
            Event::NotReady { detail, refused } => self.ready(at_s, false, *refused, detail),
            Event::NeverAnswered { detail } => self.ready(at_s, false, true, detail),
            Event::HoldEnded { why } => self.hold = Some(why.clone()),
            Event::HoldTimedOut { detail, .. } => {
                self.hold_timed_out = true;
                self.hold = Some(match detail.is_empty() {
                    true => "timed out".to_owned(),
                    false => format!("timed out, {detail}"),
                });
            }
            Event::InFlight { at: moment, counts, age } => {
                self.in_flight.push(InFlightAt { moment: *moment, at_s: at_s - rounded(*age), counts: *counts });
            }
            Event::NothingListens => self.nothing_listens = true,
            Event::AnswerWentOn { pause, quiet_window } => {
                self.answer_went_on =
                    Some(AnswerWentOn { pause_s: rounded(*pause), quiet_window_s: rounded(*quiet_window) });
            }
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
            | Event::NotLive { .. }
            | Event::Unanswered { .. }
            | Event::StartupLate { .. }
            | Event::ReadyWarning { .. }
            | Event::SignalIgnored { .. }
            | Event::ForeignSignal { .. }
            | Event::GivenUp { .. }
            | Event::ReloadFailed { .. }
            | Event::ReloadRefused { .. }
            | Event::NotDead => self.warn(timeline, at, event),
            Event::Trouble { what } => self.warnings.push(what.clone()),
            Event::KeyShared { .. }
            | Event::DelaySkipped { .. }
            | Event::PhaseCutShort { .. }
            | Event::StopRepeated { .. }
            | Event::SignalDropped { .. }
            | Event::ResizeDropped
            | Event::MoreSignalled { .. }
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
            | Event::Restarting { .. }
            | Event::LiveAgain { .. }
            | Event::NotRestarted { .. }
            | Event::ReloadBegan { .. }
            | Event::Reloaded { .. }
            | Event::ReloadWaits { .. }
            | Event::Retired { .. }
            | Event::Finished { .. } => {}
        }
    }

    fn warn(&mut self, timeline: &Timeline, at: Duration, event: &Event) {
        let entry = super::Entry { at, event: event.clone() };
        self.warnings.push(super::text::describe(timeline, &entry));
    }

    fn ready(&mut self, at_s: f64, ready: bool, refused: bool, detail: &str) {
        self.readiness.push(ReadinessChange { at_s, ready, refused, detail: detail.to_owned() });
    }

    fn close_phase(&mut self, at_s: f64) {
        if let Some(last) = self.phases.last_mut() {
            last.duration_s = ((at_s - last.start_s) * 1000.0).round() / 1000.0;
        }
    }

    /// How many processes outlived the app and were gone within half a second, and not because graceful said so.
    fn helpers(&self, timeline: &Timeline) -> usize {
        let lasted: f64 = self.spans(Phase::Leftovers).map(|span| span.duration_s).sum();
        if self.sigkill || lasted >= HELPERS_LAST_S {
            return 0;
        }
        let told = timeline.entries.iter().filter_map(|entry| match &entry.event {
            Event::LeftoverSignalled { pid, ignored, .. } => Some((*pid, *ignored)),
            _ => None,
        });
        let told: BTreeMap<i32, bool> = told.collect();
        // A later signal may go to fewer of them.
        let unnamed = timeline.entries.iter().filter_map(|entry| match &entry.event {
            Event::MoreSignalled { count, ignored, .. } => Some(count.saturating_sub(*ignored)),
            _ => None,
        });
        let obeyed = told.values().filter(|ignored| !**ignored).count() + unnamed.max().unwrap_or(0);
        self.leftovers.found.saturating_sub(obeyed)
    }

    fn spans(&self, phase: Phase) -> impl Iterator<Item = &PhaseSpan> {
        self.phases.iter().filter(move |span| span.phase == phase)
    }

    /// The signal that was to stop the app, when it went out.
    pub fn stop_signal(&self) -> Option<&SignalSent> {
        self.signals.iter().find(|sent| sent.reason == SentBecause::Stop && sent.error.is_none())
    }

    /// When the app had exited; `None` if it never ran, or was still there at the end.
    pub fn app_exited_s(&self) -> Option<f64> {
        self.app.status?;
        let after = |phase| self.spans(phase).map(|span| span.start_s).next();
        // SIGKILL ends it at once, and what follows is the end of all the rest.
        after(Phase::Kill)
            .filter(|_| self.sigkill)
            .or_else(|| after(Phase::Leftovers))
            .or_else(|| after(Phase::PostStop))
    }

    /// When SIGKILL was sent because the budget was spent.
    pub fn killed_s(&self) -> Option<f64> {
        self.spans(Phase::Kill).map(|span| span.start_s).next().filter(|_| self.sigkill)
    }

    /// The report as it is written before the end, in case somebody else brings that about.
    pub fn in_advance(mut self) -> Report {
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
            (Some(StopCause::AppExited), Some(status)) => write!(text, "the app ended by itself: {status}"),
            (Some(StopCause::NotStarted), _) => match &self.app.spawn_error {
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

impl From<SignalReason> for SentBecause {
    fn from(reason: SignalReason) -> SentBecause {
        match reason {
            SignalReason::Forwarded => SentBecause::Forwarded,
            SignalReason::Stop => SentBecause::Stop,
            SignalReason::Again => SentBecause::Again,
            SignalReason::Escalation => SentBecause::Escalation,
            SignalReason::JobControl => SentBecause::JobControl,
        }
    }
}

fn wall(timeline: &Timeline, at: Duration) -> String {
    humantime::format_rfc3339_millis(timeline.started_at + at).to_string()
}

fn from_t0(timeline: &Timeline, at: Duration) -> f64 {
    let t0 = timeline.t0.unwrap_or_default();
    (at.as_millis() as f64 - t0.as_millis() as f64) / 1000.0
}

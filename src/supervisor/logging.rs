//! What graceful says: events into timeline and log, and at the end the reports.

use super::Supervisor;
use crate::config::{Advice, AdviceAt};
use crate::lifecycle::Outcome;
use crate::output::Sink;
use crate::secret::hidden_command;
use crate::status::{self, ExitStatus};
use crate::sys::above;
use crate::timeline::report::{Report, TERMINATION_MESSAGE_MAX};
use crate::timeline::{Event, LogLevel, StopCause, text};
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// How long the end waits for a disk, and for a log reader. A busy disk can take seconds to open a file.
const LAST_FILES: Duration = Duration::from_secs(5);
const LAST_LINES: Duration = Duration::from_millis(250);
/// Even beyond G: whoever would end us has not done so yet.
const LAST_LEAST: Duration = Duration::from_millis(30);
/// Kubernetes' default terminationMessagePath.
const TERMINATION_LOG: &str = "/dev/termination-log";

impl Supervisor {
    pub(super) fn record(&mut self, event: Event) {
        let at = match event {
            // All deadlines count from the lifecycle's t0, so all that is said must, too.
            Event::StopBegan { .. } => self.run.lifecycle.t0().unwrap_or(self.now()),
            _ => self.now(),
        };
        self.note_for_restart(&event);
        // First of all: a probe that comes now must not be told of what was.
        if !self.is_beside() {
            self.publish(at, &event);
        }
        let entry = self.run.timeline.record(at, event);
        let level = text::level(&entry.event);
        let hushed = !self.is_beside() && self.succession.hushes(&self.run, at, self.config.restart.delay_max);
        if (if hushed { level.max(LogLevel::Debug) } else { level }) <= self.config.log_level {
            self.log.write(&self.run.timeline, &entry);
        }
    }

    /// What the profile has to say at the start.
    pub(super) fn advise_at_start(&mut self) {
        for advice in self.config.advice.clone() {
            self.record(Event::Advice { what: advice.what, detail: advice.at != AdviceAt::Start });
        }
    }

    /// What the profile has to say of what happens now.
    pub(super) fn advise(&mut self, at: AdviceAt) {
        let due = |advice: &&Advice| advice.at == at;
        let lines: Vec<String> = self.config.advice.iter().filter(due).map(|advice| advice.what.clone()).collect();
        for what in lines {
            self.record(Event::Advice { what, detail: false });
        }
    }

    pub(super) fn trouble(&mut self, what: String) {
        self.record(Event::Trouble { what });
    }

    pub(super) fn trouble_once(&mut self, what: String) {
        if !self.run.timeline.has_trouble(&what) {
            self.trouble(what);
        }
    }

    /// The app and all the rest is gone: what is left to do is to say so.
    pub(super) fn finish(&mut self) -> ExitStatus {
        let outcome = self.outcome.unwrap_or(Outcome::NotStarted(status::FAILURE));
        let code = self.exit_code(outcome);
        self.leave_terminal(outcome);
        if let Some(path) = &self.config.drain_file {
            self.writer.remove("--drain-file", path);
        }
        if let Some((orphans, after_sigkill)) = self.reaper.counts() {
            self.record(Event::Reaped { orphans, after_sigkill });
        }
        self.not_delivered("the time is over");
        self.record(Event::Finished { code });
        self.write_reports(code);
        self.control.over();
        // Its folder goes with it; nothing is dropped at the exit itself.
        self.launch.notify = super::notify::NotifyDesk::default();
        self.last_words();
        self.health_over();
        match outcome {
            // As PID 1 it would not even die of it, and a container's status is a number.
            Outcome::App(status @ ExitStatus::Signaled(_)) if !self.launch.init && code != 0 => status,
            _ => ExitStatus::Exited(code),
        }
    }

    /// The shell that started graceful goes on with its terminal.
    pub(super) fn leave_terminal(&self, outcome: Outcome) {
        let terminal = &self.launch.terminal;
        if terminal.had_foreground() || self.run.wants_terminal {
            terminal.take_back();
        }
        if matches!(outcome, Outcome::App(ExitStatus::Signaled(_)) | Outcome::Stuck) {
            terminal.restore_modes();
        }
    }

    /// Within G where there is anything left of it, and a little of that for the exit itself.
    fn last_words(&mut self) {
        let now = self.now();
        let t0 = self.run.timeline.t0().unwrap_or(now);
        let left = (t0 + self.config.budget.grace_period).saturating_sub(now);
        self.writer.finish(LAST_FILES.min(left / 2).max(LAST_LEAST), LAST_LINES.min(left / 4).max(LAST_LEAST));
    }

    fn write_reports(&mut self, code: u8) {
        let end = self.now();
        let asked = self.config.termination_log.as_deref();
        // Unasked it is written only after a stop: for an app that crashed by itself Kubernetes may show the app's last
        // log lines there instead (FallbackToLogsOnError), which a file with our words would hide.
        // And not below another graceful, whose container's end it is for.
        let of_another = || !self.launch.init && above::look().is_some();
        let default = || {
            let path = self.worth_a_message().then(|| Path::new(TERMINATION_LOG)).filter(|path| path.exists())?;
            (!of_another()).then_some(path)
        };
        if let Some(path) = asked.or_else(default) {
            let message = Report::new(&self.run.timeline, end, code).to_message();
            let sink = self.launch.sink(path);
            // Unasked, it is Kubernetes that makes the file.
            self.writer.append("--termination-log", sink, message, TERMINATION_MESSAGE_MAX as u64, asked.is_some());
        }
        // Last: it may go to a FIFO whose reader never reads.
        if let Some(path) = &self.config.report {
            let report = Report::new(&self.run.timeline, end, code);
            self.writer.write("--report", self.launch.sink(path), report.to_json());
        }
    }

    /// What the report would be if SIGKILL were the last of it; the real one takes its place. Not into what cannot be
    /// replaced: a pipe's reader would have two.
    pub(super) fn report_in_advance(&mut self, code: u8) {
        let Some(path) = self.config.report.as_ref().filter(|_| !self.is_beside()) else { return };
        let sink = self.launch.sink(path);
        let replaced = match std::fs::symlink_metadata(path) {
            Ok(found) => found.is_file(),
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        };
        if replaced && matches!(sink, Sink::Path(_)) {
            let report = Report::new(&self.run.timeline, self.now(), code).in_advance();
            self.writer.write("--report", sink, report.to_json());
        }
    }

    fn worth_a_message(&self) -> bool {
        self.run.timeline.events().any(|event| {
            matches!(
                event,
                Event::StopBegan {
                    cause: StopCause::Signal(_)
                        | StopCause::HookFailed
                        | StopCause::ReadyHookFailed
                        | StopCause::Hung
                        | StopCause::StartupTimeout
                } | Event::KilledFromOutside { .. }
                    | Event::OutOfMemory { .. }
            )
        })
    }

    /// By a signal whose status counts as success: there is no app whose end could say more.
    fn was_stopped_before_the_start(&self, code: u8) -> bool {
        let status = self.run.lifecycle.stop_signal().map(ExitStatus::Signaled);
        status.is_some_and(|status| status.code() == code && self.config.success.contains(status))
    }

    pub(super) fn exit_code(&self, outcome: Outcome) -> u8 {
        match outcome {
            Outcome::App(status) if self.config.success.contains(status) => 0,
            Outcome::NotStarted(code) if self.was_stopped_before_the_start(code) => 0,
            outcome => outcome.code(),
        }
    }
}

/// The app's argv[0], as it may be shown: the arguments may hold secrets, and so does `TOKEN=x app`, as a shell would have it.
pub(super) fn program(command: &[OsString]) -> OsString {
    let program = command.first().cloned().unwrap_or_default();
    match program.to_str() {
        Some(text) if text.contains('=') && !text.contains('/') => hidden_command(text).into(),
        _ => program,
    }
}

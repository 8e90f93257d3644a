//! Actions of the lifecycle, carried out; and the news of hooks and hold that become its inputs.

use super::{Supervisor, generations, logging};
use crate::config::{self, AdviceAt};
use crate::hold::{self, HoldEvent};
use crate::hooks::{HookEnvironment, HookEvent};
use crate::lifecycle::{Action, Input};
use crate::pid::Pid;
use crate::secret::Url;
use crate::status::{self, ExitStatus};
use crate::sys::{cgroup, executable, fds, signals, spawn};
use crate::timeline::{Event, HookResult, Phase, Stage, StopCause};
use crate::worker::WorkerCommand;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

impl Supervisor {
    /// Carries out what the lifecycle wants, and gives it the answers, until there is nothing left of either; then what follows
    /// from its end.
    pub(super) fn act(&mut self) {
        loop {
            self.act_on_one();
            if self.is_beside() {
                // Whoever has changed the two over goes on.
                return;
            }
            self.on_beside(Supervisor::act_on_one);
            if self.beside.as_ref().is_some_and(|run| run.lifecycle.phase() == Phase::Done) {
                self.beside_over();
            }
            if !self.generations_act() {
                return;
            }
        }
    }

    fn act_on_one(&mut self) {
        loop {
            while let Some(action) = self.run.lifecycle.poll_action() {
                self.carry_out(action);
            }
            if !self.is_beside() && self.generations_act() {
                continue;
            }
            let Some(input) = self.run.inputs.pop_front() else { return };
            let (now, asked) = (self.now(), self.run.lifecycle.is_asked());
            self.run.lifecycle.handle(now, input);
            if !asked && self.run.lifecycle.is_asked() && !self.is_beside() {
                self.asked_to_stop();
            }
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Spawn => self.spawn(),
            Action::RunHooks(stage) => self.run_hooks(stage),
            Action::SignalHooks(signal) => self.run.hooks.signal(signal),
            Action::NoMoreHooks => self.run.hooks.no_more(),
            Action::CancelHooks(stage) => {
                let now = self.now();
                self.run.hooks.cancel(now, stage, &self.origin);
                self.hook_news();
            }
            Action::SignalApp { signal, reason, value, from_outside } => {
                self.signal_app(signal, reason, value, from_outside);
            }
            Action::StopApp { signal, shared } => {
                self.stop_app(signal, shared);
                self.app_is_told();
            }
            Action::StartHold { until } => self.start_hold(until),
            Action::EndHold => self.end_hold(),
            Action::WatchInFlight => self.watch_in_flight(),
            Action::WatchReadiness => self.watch_readiness(),
            Action::CreateDrainFile => {
                if let Some(path) = &self.config.drain_file {
                    self.writer.create("--drain-file", path);
                }
            }
            Action::Look => self.look(),
            Action::LookAfter => self.look_after(),
            Action::SignalLeftovers(signal) => self.signal_leftovers(signal),
            Action::KillEverything => self.kill_everything(),
            Action::HoldTimedOut { signal } => {
                let detail = if self.holds_for_requests() { self.run.in_flight.words() } else { String::new() };
                self.record(Event::HoldTimedOut { detail, signal });
            }
            Action::Record(Event::StopBegan { cause }) => {
                self.record(Event::StopBegan { cause });
                self.liveness_over();
                match cause {
                    StopCause::Signal(_)
                    | StopCause::StartupTimeout
                    | StopCause::Hung
                    | StopCause::HookFailed
                    | StopCause::ReadyHookFailed => {
                        self.advise(AdviceAt::Stop);
                    }
                    StopCause::AppExited | StopCause::NotStarted | StopCause::Replaced | StopCause::NotReady => {}
                }
            }
            Action::Record(Event::AppExited { status, phase, told, .. }) => {
                let hint = self.hint().filter(|_| !told && matches!(status, ExitStatus::Exited(_)));
                self.record(Event::AppExited { status, phase, told, hint });
                self.app_is_gone();
            }
            Action::Record(event) => self.record(event),
            Action::Exit(outcome) => self.generation_over(outcome),
        }
    }

    /// What tells the app of a stop, if it looks, before its signal does.
    fn hint(&self) -> Option<&'static str> {
        let hook = || self.run.hooks.stages().contains(&Stage::PreStop).then_some("a pre-stop hook");
        self.config.drain_file.as_ref().map(|_| "--drain-file").or_else(hook)
    }

    fn spawn(&mut self) {
        let result = match self.launch.app.take() {
            Some(result) => result,
            None => {
                let added = generations::app_environment(&self.config, self.run.facts());
                self.launch.spawn(&self.config.command, &added, self.run.generation)
            }
        };
        match result {
            Ok(pid) => self.spawned(pid),
            Err(error) => self.not_spawned(&error),
        }
    }

    fn spawned(&mut self, pid: Pid) {
        self.run.app = Some(pid);
        let alone = self.health.is_none()
            && !self.http.runs()
            && !self.http.wakes()
            && self.notifier.is_none()
            && self.launch.kept.is_empty()
            && !self.launch.sockets.are_there()
            && !self.control.is_there()
            && !self.launch.notify.is_there()
            && !signals::holds_descriptor();
        let now = self.now();
        self.run.started = Some(now);
        if !self.config.has_generations() {
            fds::release_inherited(alone, !self.launch.init);
            // So that the disk that graceful was started on can be unmounted. It is in nobody's way if it fails.
            _ = std::env::set_current_dir("/");
        }
        self.run.oom_kills = self.oom_kills_from_now_on();
        self.record(Event::AppStarted { pid: pid.number() });
        self.run.inputs.push_back(Input::Started);
        if self.is_beside() {
            return self.ask_successor();
        }
        self.health_started();
        self.await_ready();
        if self.config.ready.is_none() {
            self.begin_liveness();
        }
    }

    /// That of the metrics, unless hooks came before the app, or another run of it.
    fn oom_kills_from_now_on(&self) -> Option<cgroup::OomKills> {
        match &self.health {
            Some(health) if !self.run.is_later() && !self.run.hooks.stages().contains(&Stage::PreStart) => {
                health.oom_kills()
            }
            Some(_) | None => cgroup::OomKills::from_now_on(),
        }
    }

    fn not_spawned(&mut self, error: &spawn::Error) {
        let program = self.config.command.first().cloned().unwrap_or_default();
        let found = spawn::look_up(&program);
        let (code, why) = match error {
            spawn::Error::Fork(error) => (status::FAILURE, format!("no new process: {error}")),
            spawn::Error::Exec(error) => match (error.raw_os_error(), found) {
                (Some(libc::ENOENT), Some(file)) => {
                    let named = executable::interpreter(&file).map(|name| format!(": {name}")).unwrap_or_default();
                    let what = "is there, but the interpreter or loader that it names is not";
                    (status::NOT_EXECUTABLE, format!("{} {what}{named}", file.display()))
                }
                (Some(libc::ENOENT | libc::ENOTDIR), None) if program.as_bytes().contains(&b'/') => {
                    (status::NOT_FOUND, "no such file".to_owned())
                }
                (Some(libc::ENOENT | libc::ENOTDIR), _) => (status::NOT_FOUND, "not found in PATH".to_owned()),
                (Some(libc::EACCES), Some(file)) if file.is_dir() => {
                    (status::NOT_EXECUTABLE, "it is a directory".to_owned())
                }
                (_, _) => (status::NOT_EXECUTABLE, error.to_string()),
            },
            spawn::Error::Format(_, format) => (status::NOT_EXECUTABLE, format.why()),
        };
        let program = logging::program(&self.config.command).to_string_lossy().into_owned();
        self.record(Event::SpawnFailed { program, why, code });
        self.app_is_gone();
        self.run.inputs.push_back(Input::SpawnFailed(code));
    }

    fn run_hooks(&mut self, stage: Stage) {
        let now = self.now();
        let (generation, cause) = self.run.facts();
        let facts = HookEnvironment {
            generation,
            cause,
            signal: self.run.lifecycle.stop_signal(),
            app: self.run.timeline.app(),
            exit_code: self.run.lifecycle.outcome().map(|outcome| self.exit_code(outcome)),
        };
        self.run.hooks.run(now, stage, facts, &self.origin);
        self.hook_news();
    }

    /// What hooks did becomes events, and at the end of a stage an input, for the next `act`.
    pub(super) fn hook_news(&mut self) {
        while let Some(happened) = self.run.hooks.poll() {
            match happened {
                HookEvent::Began { name, stage } => {
                    self.record(Event::HookBegan { name, stage });
                }
                // A flood that nobody reads is not even put into words.
                HookEvent::Output { .. } if !self.writer.lines().has_room() => self.writer.lines().lose_line(),
                HookEvent::Output { name, line } => self.record(Event::HookOutput { name, line }),
                HookEvent::Ended { name, stage, result, took } => {
                    self.note_hook(&name, stage, &result, took);
                    self.record(Event::HookEnded { name, stage, result, took });
                }
                HookEvent::Post { id, url, timeout } => self.post(id, url, timeout),
                HookEvent::StageDone { stage, abort } => {
                    self.stage_done(stage, abort);
                    self.run.inputs.push_back(Input::HooksDone { stage, abort });
                }
            }
        }
    }

    fn post(&mut self, id: u32, url: Url, timeout: Duration) {
        if !self.ask_http(WorkerCommand::Post { id, url, timeout }) {
            let now = self.now();
            self.run.hooks.posted(
                now,
                id,
                HookResult::Failed("the HTTP thread could not be started".to_owned()),
                &self.origin,
            );
        }
    }

    fn start_hold(&mut self, until: Duration) {
        let now = self.now();
        self.run.in_flight.hold_begins(now);
        if self.is_beside() {
            self.run.in_flight.ends_at(now, until);
        }
        let what = match &self.config.hold {
            config::Hold::Never => String::new(),
            config::Hold::Idle | config::Hold::Quiet => {
                let words = self.run.in_flight.words();
                format!("requests in flight ({})", if words.is_empty() { "not seen yet" } else { &words })
            }
            config::Hold::Url(url) => url.to_string(),
            config::Hold::Command(argv) => argv.to_string(),
        };
        let signal = self.run.lifecycle.app_signal();
        self.record(Event::HoldBegan { what, signal, at_most: until.saturating_sub(now) });
        let begun = self.run.hold.begin(now, &self.config.hold, &self.origin);
        self.hold_begun(begun);
    }

    fn hold_begun(&mut self, begun: HoldEvent) {
        match begun {
            HoldEvent::Runs => {}
            HoldEvent::Failed(detail) => self.record(Event::HoldCheck { detail }),
            HoldEvent::Poll(url) => {
                let job = WorkerCommand::PollHold { url, interval: hold::INTERVAL, timeout: hold::URL_TIMEOUT };
                if !self.ask_http(job) {
                    self.hold_over("it cannot be polled".to_owned());
                }
            }
        }
    }

    pub(super) fn hold_tick(&mut self, now: Duration) {
        let begun = self.run.hold.tick(now, &self.origin);
        self.hold_begun(begun);
    }

    pub(super) fn hold_over(&mut self, why: String) {
        // What ended it may be seen twice before the lifecycle hears of it.
        if self.run.inputs.contains(&Input::HoldOver) {
            return;
        }
        self.record(Event::HoldEnded { why });
        self.run.inputs.push_back(Input::HoldOver);
    }

    /// A hold command that cannot be run holds for nothing, as long as it may.
    pub(super) fn say_if_not_run(&mut self, status: ExitStatus) {
        let why = match status {
            ExitStatus::Exited(127) => "was not found",
            ExitStatus::Exited(126) => "could not be executed",
            _ => return,
        };
        if let config::Hold::Command(command) = &self.config.hold {
            self.trouble_once(format!(
                "--hold: the command {command} {why} ({status}): it is tried until the hold times out"
            ));
        }
    }

    fn end_hold(&mut self) {
        self.run.hold.end();
        self.http.tell(WorkerCommand::StopHold);
    }
}

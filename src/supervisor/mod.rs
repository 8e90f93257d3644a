//! The one loop: facts in as inputs to the lifecycle, its actions out.
//!
//! ```text
//!   signals, exits ─┐                                  ┌─► signals, spawn, kill     (sys)
//!   hook ends      ─┼─► Input ─► Lifecycle ─► Action ──┼─► hooks, hold              (commands, HTTP thread)
//!   HTTP facts     ─┤              ▲                   ├─► timeline ─► log, report  (output thread)
//!   time           ─┘              └── Started, Left … ┴─► exit
//! ```
//!
//! The loop is synchronous. Waiting is one system call: rt_sigtimedwait(2) while nothing but signals can come, which is
//! all the time of an app that merely runs, and ppoll(2) when there are hooks or HTTP. Nothing in the loop blocks: HTTP has
//! a thread, started by its first use; writing has a thread where it can block; hooks are forked, not waited for.
//!
//! From the moment the app runs, nothing ends graceful before it: no call here is allowed to fail upwards, and should the
//! loop panic after all, `last_resort` goes on forwarding and reaping until the app has ended.

mod actions;
mod background;
mod control;
mod generations;
mod health;
mod http;
mod inflight;
mod last_resort;
mod lateness;
mod launch;
mod leftovers;
mod liveness;
mod logging;
mod notify;
mod readiness;
mod reaper;
mod reload;
mod run;
mod signalling;
mod sockets;
mod stop_to;
mod threads;

use crate::command::LaunchContext;
use crate::config::{Config, Hold as HoldConfig, LogFormat, StartupAction};
use crate::hold::HoldLook;
use crate::hooks::Hooks;
use crate::lifecycle::{HoldPlan, Input, Outcome, SignalSource, StopPlan};
use crate::log::{self, Log};
use crate::output::Writer;
use crate::panics;
use crate::pid::Pid;
use crate::signal::Signal;
use crate::status::{self, ExitStatus};
use crate::sys::fds;
use crate::sys::reap::ChildChange;
use crate::sys::signals::{self, Inherited};
use crate::sys::{cgroup, process};
use crate::timeline::{Event, SignalReason, Timeline, text};
use launch::Launch;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime};

/// How long the last line of a loop that has failed may take.
const COMPLAINT: Duration = Duration::from_millis(200);

/// Runs the app to its end and returns how graceful is to end: as a wrapper as the app did, a signal included, so that
/// whoever waits for graceful sees what it would see of the app.
pub fn run(mut config: Config, inherited: Inherited, start: Instant) -> ExitStatus {
    let launch = Launch::new(&mut config, inherited);
    let early = launch.started();
    let mut supervisor = None;
    let life = || supervisor.insert(Supervisor::new(config, launch, start)).run();
    let panic = match catch_unwind(AssertUnwindSafe(life)) {
        Ok(status) => return status,
        Err(panic) => panics::text(&*panic),
    };
    complain_of(&mut supervisor, &panic);
    let status = match &supervisor {
        // It failed over its last words: what counts is known.
        Some(Supervisor { run, .. }) if run.app.is_none() => {
            ExitStatus::Exited(run.lifecycle.outcome().map_or(status::FAILURE, Outcome::code))
        }
        Some(Supervisor { run, .. }) => {
            last_resort::run(run.app, run.app_stopped, run.lifecycle.stop_in_progress(), start)
        }
        None => last_resort::run(early, false, None, start),
    };
    if let Some(Supervisor { writer, .. }) = &mut supervisor {
        // Usually it is written long since.
        _ = catch_unwind(AssertUnwindSafe(|| writer.finish(Duration::ZERO, COMPLAINT)));
    }
    status
}

/// Says where the loop has failed: by the writer, which nothing blocks. It may be what has failed, or not be there yet.
fn complain_of(supervisor: &mut Option<Supervisor>, panic: &str) {
    let what = format!("internal failure, signals are only forwarded from here on: {panic}");
    let written = supervisor
        .as_mut()
        .is_some_and(|Supervisor { writer, .. }| catch_unwind(AssertUnwindSafe(|| writer.complain(&what))).is_ok());
    if !written {
        fds::write_if_room(io::stderr(), format!("graceful: warning: {what}\n").as_bytes());
    }
}

struct Supervisor {
    config: Config,
    launch: Launch,
    origin: LaunchContext,
    start: Instant,
    /// The run of the app that there is, or was last.
    run: Box<run::Run>,
    /// In a reload, the other one: it was started to take the place of the first, or its own was taken.
    beside: Option<Box<run::Run>>,
    /// The two are changed over, for a moment.
    changed_over: bool,
    succession: generations::Succession,
    writer: Writer,
    log: Log,
    http: http::HttpThread,
    notifier: Option<OwnedFd>,
    reaper: reaper::Reaper,
    control: control::ControlDesk,
    /// Probe server and checks, if there are any.
    health: Option<Box<health::Health>>,
    outcome: Option<Outcome>,
}

impl Supervisor {
    fn new(mut config: Config, mut launch: Launch, start: Instant) -> Supervisor {
        let budget = config.budget;
        let program = logging::program(&config.command);
        let hooks = Hooks::new(std::mem::take(&mut config.hooks));
        let (lifecycle, succession) = generations::begin(&mut config, &hooks, launch.init);
        let started_at = SystemTime::now();
        let timeline = Timeline::new(started_at, program, budget, config.hold.mode());
        let writer = Writer::new(log::complain(config.log_format == LogFormat::Json, started_at, start));
        Supervisor {
            run: Box::new(run::Run::first(lifecycle, timeline, hooks, launch.started())),
            beside: None,
            changed_over: false,
            succession,
            log: Log::new(&writer, config.log_level, config.log_format == LogFormat::Json, started_at, start),
            writer,
            http: http::HttpThread::default(),
            notifier: None,
            reaper: reaper::Reaper::new(launch.children.clone()),
            control: std::mem::take(&mut launch.control),
            health: health::Health::new(&config, launch.listener.take(), start),
            outcome: None,
            origin: LaunchContext {
                inherited: launch.inherited,
                dir: launch.dir.take(),
                children: launch.children.clone(),
            },
            config,
            launch,
            start,
        }
    }

    fn run(&mut self) -> ExitStatus {
        for warning in std::mem::take(&mut self.config.warnings) {
            self.trouble(warning);
        }
        self.advise_at_start();
        if let Some(what) = self.launch.refused.take() {
            self.record(Event::ListenFailed { what });
            self.outcome = Some(Outcome::NotStarted(status::FAILURE));
            return self.finish();
        }
        self.begin_threads();
        self.say_if_hooks_come_first();
        self.act();
        if let Some(signal) = self.launch.parent_died.take() {
            self.feed(Input::Signal { signal, source: SignalSource::Process, value: None });
        }
        while self.outcome.is_none() {
            self.reassess();
            let deadline = self.deadline();
            self.wait(deadline);
            let now = self.now();
            if let Some(wanted) = deadline {
                self.run.lateness.woke(wanted, now);
            }
            self.health_tick(now);
            self.run_tick(now);
            self.on_beside(|this| this.run_tick(now));
            self.reload_tick(now);
            if self.control.deadline().is_some_and(|at| at <= now) {
                self.control_news(now);
            }
            self.generations_tick(now);
            self.act();
        }
        self.finish()
    }

    /// What time tells of a run.
    fn run_tick(&mut self, now: Duration) {
        self.run.hooks.tick(now, &self.origin);
        self.hook_news();
        self.hold_tick(now);
        self.readiness_tick(now);
        self.in_flight_tick();
        self.leftovers_tick(now);
        self.lateness_tick(now);
        if self.run.lifecycle.poll_deadline().is_some_and(|at| at <= now) {
            // Whoever has ended by now has ended in time.
            self.reap();
            self.run.inputs.push_back(Input::Tick);
        }
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn deadline(&self) -> Option<Duration> {
        let health = self.health.as_ref().and_then(|health| health.deadline());
        let beside = self.beside.as_ref().and_then(|run| run.deadline(self.start));
        let others = [beside, health, self.succession.deadline(), self.control.deadline()];
        others.into_iter().chain([self.run.deadline(self.start)]).flatten().min()
    }

    /// Sleeps until something comes, and takes it.
    fn wait(&mut self, deadline: Option<Duration>) {
        if self.reaper.has_more() {
            return self.reap();
        }
        let timeout = deadline.map(|at| at.saturating_sub(self.now()));
        if !self.http.wakes() && self.fds().is_empty() {
            return self.wait_for_signal(timeout);
        }
        self.watch_signals();
        let Some(notifier) = &self.notifier else {
            self.wait_for_signal(Some(timeout.map_or(fds::BLIND, |timeout| timeout.min(fds::BLIND))));
            return self.take_news(true);
        };
        let mut polled = vec![notifier.as_fd()];
        polled.extend(self.http.waker());
        polled.extend(self.fds());
        let woken = fds::poll(&polled, timeout);
        if woken.first() == Some(&true) {
            self.wait_for_signal(Some(Duration::ZERO));
        }
        self.take_news(woken.iter().skip(1).any(|woken| *woken));
    }

    fn wait_for_signal(&mut self, timeout: Option<Duration>) {
        match signals::wait(timeout) {
            Some(received) => self.signal(received),
            None if signals::is_deaf() => {
                self.trouble_once(
                    "signals cannot be heard: rt_sigtimedwait and signalfd are denied (by a seccomp profile?); only the \
                     app's own end will end this"
                        .to_owned(),
                );
                self.reap();
            }
            None => {}
        }
    }

    fn fds(&self) -> Vec<BorrowedFd<'_>> {
        let mut fds: Vec<BorrowedFd<'_>> = self.health.iter().flat_map(|health| health.fds()).collect();
        for run in std::iter::once(&*self.run).chain(self.beside.as_deref()) {
            fds.extend(run.hooks.fds().chain(run.hold.fd()).chain(run.left.fds()));
        }
        fds.extend(self.control.fds());
        fds.extend(self.launch.notify.fds());
        fds
    }

    fn watch_signals(&mut self) {
        if self.notifier.is_none() {
            match signals::notifier() {
                Ok(notifier) => self.notifier = Some(notifier),
                Err(error) => self
                    .trouble_once(format!("no signalfd, looking every {} instead: {error}", text::human(fds::BLIND))),
            }
        }
    }

    fn take_news(&mut self, any: bool) {
        if !any {
            return;
        }
        self.health.iter_mut().for_each(|health| health.read());
        self.run_news();
        self.http_news();
        self.on_beside(Supervisor::run_news);
        let now = self.now();
        self.control_news(now);
        self.notify_news();
    }

    /// What there is to be read of a run.
    fn run_news(&mut self) {
        self.run.hooks.read();
        self.run.hold.read();
        self.hook_news();
        self.in_flight_news();
        self.look_after_ends();
    }

    /// Takes every exit that there is: SIGCHLD coalesces.
    fn reap(&mut self) {
        self.take_exits();
        self.act();
        // The end of any child may be that of the last one of either run.
        if self.reaper.is_to_look() || self.beside.is_some() {
            self.look_if_asked();
            self.on_beside(Supervisor::look_if_asked);
        }
    }

    /// What follows from them is for the next `act`.
    fn take_exits(&mut self) {
        self.reaper.begin_turn();
        while let Some(change) = self.reaper.next() {
            match change {
                ChildChange::Ended { pid, status } => self.ended(pid, status),
                ChildChange::Stopped { pid, signal } => self.stopped(pid, signal),
                ChildChange::Continued { pid } => self.continued(pid),
                ChildChange::Nothing | ChildChange::NoChildren => {}
            }
        }
        self.take_apps_exit();
        self.on_beside(Supervisor::take_apps_exit);
    }

    fn take_apps_exit(&mut self) {
        // Only now, when it is known whether any child is left: the first question after the app's exit is just that.
        if let Some(status) = self.run.ended.take()
            && !(self.reaper.may_have_children() && self.goes_on_in_background(status))
        {
            self.app_ended(status);
        }
    }

    fn ended(&mut self, pid: Pid, status: ExitStatus) {
        let now = self.now();
        if !self.run.knows(pid) && self.beside.as_ref().is_some_and(|run| run.knows(pid)) && !self.changed_over {
            self.on_beside(|this| this.ended(pid, status));
            return;
        }
        if self.run.app == Some(pid) {
            self.run.app = None;
            self.run.ended = Some(status);
            return;
        }
        self.reaper.other_ended();
        if self.run.hooks.exited(now, pid, status, &self.origin) {
            self.hook_news();
        } else if let Some(look) = self.run.hold.exited(now, pid, status) {
            match look {
                HoldLook::Over => self.hold_over("the command exited 0".to_owned()),
                HoldLook::NotYet(detail) => {
                    self.say_if_not_run(status);
                    self.record(Event::HoldCheck { detail });
                }
            }
        } else if !self.check_exited(now, pid, status) {
            self.reaper.orphan_ended();
            self.count_orphan();
        }
    }

    fn app_ended(&mut self, status: ExitStatus) {
        self.out_of_memory(status);
        self.in_flight_over();
        self.readiness_over();
        self.foreign_signal_may_have_ended_it();
        self.run.inputs.push_back(Input::AppExited(status));
    }

    /// The kernel kills whom it will: the app, or a process of it whose death shows in the app's own status or not at all.
    fn out_of_memory(&mut self, status: ExitStatus) {
        let count = self.run.oom_kills.as_ref().map_or(0, cgroup::OomKills::count);
        let now = self.now();
        self.run.app_ended(now, count > 0);
        if status == ExitStatus::Signaled(Signal::KILL) && !self.reaper.is_sigkill_sent() {
            self.record(Event::KilledFromOutside { oom_kills: (count > 0).then_some(count) });
        } else if count > 0 {
            self.record(Event::OutOfMemory { count });
        }
    }

    /// Ctrl-Z and its like: the shell that waits for graceful must see it stop, as it would see the app.
    ///
    /// As PID 1 there is no such shell. In our own group the kernel ignores the key, because the group is orphaned
    /// (setpgid(2)); a group of the app's own is not, but only since graceful is its parent, so the app goes on. After
    /// SIGTTIN and SIGTTOU it needs the foreground: what raised them would raise them again at once.
    fn stopped(&mut self, pid: Pid, signal: Signal) {
        self.run.app_stopped |= self.run.app == Some(pid);
        let by_terminal = matches!(signal, Signal::TSTP | Signal::TTIN | Signal::TTOU);
        if self.run.app != Some(pid) || !by_terminal || !self.launch.terminal.is_present() {
            return;
        }
        let in_our_group = process::shares_our_group(pid);
        if self.launch.init {
            if signal == Signal::TSTP && !in_our_group {
                self.signal_app(Signal::CONT, SignalReason::JobControl, None, false);
            } else if !in_our_group {
                // Kept out of the foreground, and it reads the terminal.
                self.run.wants_terminal = self.own_job_goes_on_in_foreground();
            }
            return;
        }
        self.run.job_stopped = true;
        self.run.continue_expected = in_our_group;
        self.run.wants_terminal |= !in_our_group && signal != Signal::TSTP;
        // The foreground may be graceful's already, since a `fg` that came before the app asked.
        if in_our_group || signal == Signal::TSTP || !self.own_job_goes_on_in_foreground() {
            process::stop_self();
        }
    }

    /// A shell's `fg` or `bg` continues graceful's group alone: an app in a group of its own goes on with it, as the
    /// foreground if that is what it was stopped for the want of.
    fn own_job_goes_on(&mut self) -> bool {
        let Some(group) = self.own_group().filter(|_| self.run.job_stopped) else { return false };
        if self.run.wants_terminal {
            self.launch.terminal.hand_over(group);
        }
        self.continue_job(group)
    }

    fn own_job_goes_on_in_foreground(&mut self) -> bool {
        self.own_group().is_some_and(|group| self.launch.terminal.hand_over(group) && self.continue_job(group))
    }

    fn continue_job(&mut self, group: Pid) -> bool {
        self.run.job_stopped = false;
        process::signal_group(group, Signal::CONT).is_ok()
    }

    /// The group that the app leads.
    fn own_group(&self) -> Option<Pid> {
        self.run.app.filter(|app| process::group_of(*app) == Some(*app))
    }

    fn continued(&mut self, pid: Pid) {
        if self.run.app == Some(pid) {
            (self.run.app_stopped, self.run.job_stopped) = (false, false);
        }
    }

    /// After Ctrl-Z a shell's `fg` continues the whole group, the app included: to do it again would undo a second Ctrl-Z
    /// that came meanwhile. Whoever continues graceful alone means the app too, which then is still stopped. wait(2) tells
    /// the one from the other, and keeps them in order, which a look at the app's present state would not.
    fn job_was_continued(&mut self) -> bool {
        let expected = std::mem::take(&mut self.run.continue_expected);
        if expected {
            self.reap();
        }
        expected && !self.run.job_stopped
    }

    /// One input to the lifecycle and everything that follows from it.
    fn feed(&mut self, input: Input) {
        self.run.inputs.push_back(input);
        self.act();
    }
}

fn plan(config: &mut Config, hooks: &Hooks, init: bool) -> StopPlan {
    StopPlan {
        budget: config.budget,
        delay_is_for_listeners: config.delay_is_for_listeners(),
        // A wrapper's kernel goes on without it; who holds nothing does not want to be looked at.
        delivers: init && config.hold != HoldConfig::Never,
        stop_signal: config.stop_signal.or(config.profile_signal),
        stop_signal_is_default: config.stop_signal.is_none() && config.profile_signal.is_some(),
        stop_on: config.stop_on,
        rewrite: std::mem::take(&mut config.rewrite),
        escalate: config.escalate.iter().map(|escalation| (escalation.after, escalation.signal)).collect(),
        hold: match config.hold {
            HoldConfig::Never => None,
            HoldConfig::Idle | HoldConfig::Quiet => Some(HoldPlan { timeout: config.hold_timeout, watches: true }),
            HoldConfig::Url(_) | HoldConfig::Command(_) => {
                Some(HoldPlan { timeout: config.hold_timeout, watches: false })
            }
        },
        hold_reserve: config.hold_reserve,
        hooks: hooks.stages(),
        waits_for_ready: config.ready.is_some(),
        startup: config.startup.map(|startup| (startup.timeout, startup.action == StartupAction::Stop)),
        leave_leftovers: config.leftovers == crate::config::Leftovers::Leave,
    }
}

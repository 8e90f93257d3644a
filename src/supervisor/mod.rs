//! The one loop: facts in as inputs to the lifecycle, its actions out.
//!
//! ```text
//!   signals, exits ─┐                                  ┌─► signals, spawn, kill     (sys)
//!   hook ends      ─┼─► Input ─► Lifecycle ─► Action ──┼─► hooks, hold              (commands, HTTP thread)
//!   HTTP facts     ─┤              ▲                   ├─► timeline ─► log, report  (scribe thread)
//!   time           ─┘              └── Started, Left … ┴─► exit
//! ```
//!
//! The loop is synchronous. Waiting is one system call: rt_sigtimedwait(2) while nothing but signals can come, which is
//! all the time of an app that merely runs, and ppoll(2) when there are hooks or HTTP. Nothing in the loop blocks: HTTP has
//! a thread, started by its first use; writing has a thread, started by the first line; hooks are forked, not waited for.
//!
//! From the moment the app runs, nothing ends graceful before it: no call here is allowed to fail upwards, and should the
//! loop panic after all, `last_resort` goes on forwarding and reaping until the app has ended.

mod act;
mod background;
mod health;
mod inflight;
mod last_resort;
mod lateness;
mod launch;
mod leftovers;
mod readiness;
mod signalling;
mod stop_to;
mod threads;
mod words;

use crate::command::Origin;
use crate::config::{Config, Hold as HoldConfig, StartupAction};
use crate::hold::Hold;
use crate::hooks::Hooks;
use crate::lifecycle::{HoldPlan, Input, Lifecycle, Outcome, Plan, Source};
use crate::probe::worker::Worker;
use crate::scribe::Scribe;
use crate::signal::Signal;
use crate::status::{self, ExitStatus};
use crate::sys::fds::{self, Waker};
use crate::sys::reap::{self, Change};
use crate::sys::signals::{self, Inherited};
use crate::sys::{cgroup, process};
use crate::timeline::{Event, Limits, Phase, SignalReason, Stage, Timeline, text};
use launch::Launch;
use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime};

/// Deaths taken in one turn: a storm of orphans must not make a deadline late.
const REAPED_AT_ONCE: usize = 1000;

/// Runs the app to its end and returns how graceful is to end: as a wrapper as the app did, a signal included, so that
/// whoever waits for graceful sees what it would see of the app.
pub fn run(mut config: Config, inherited: Inherited, start: Instant) -> ExitStatus {
    let launch = Launch::new(&mut config, inherited);
    let early = launch.started();
    let mut supervisor = None;
    let life = || supervisor.insert(Supervisor::new(config, launch, start)).run();
    catch_unwind(AssertUnwindSafe(life)).unwrap_or_else(|_| match &supervisor {
        // It failed over its last words: what counts is known.
        Some(Supervisor { app: None, lifecycle, .. }) => {
            ExitStatus::Exited(lifecycle.outcome().map_or(status::FAILURE, Outcome::code))
        }
        Some(Supervisor { app, app_stopped, lifecycle, .. }) => {
            last_resort::run(*app, *app_stopped, lifecycle.stop_in_progress(), start)
        }
        None => last_resort::run(early, false, None, start),
    })
}

struct Supervisor {
    config: Config,
    launch: Launch,
    origin: Origin,
    start: Instant,
    lifecycle: Lifecycle,
    timeline: Timeline,
    scribe: Scribe,
    hooks: Hooks,
    hold: Hold,
    http: Option<Worker>,
    waker: Option<Waker>,
    notifier: Option<OwnedFd>,
    /// The app, from its start until it is reaped.
    app: Option<i32>,
    /// How the app ended, until it is known whether it goes on in the background.
    ended: Option<ExitStatus>,
    /// Answers of actions, before anything from outside.
    inputs: VecDeque<Input>,
    /// wait(2) knows of children.
    children: bool,
    /// It had more to tell than one turn of the loop takes.
    more_to_reap: bool,
    /// Those who are left and waited for.
    left: leftovers::Watch,
    lateness: lateness::Lateness,
    /// The option that needs a thread now and then.
    needs_later: Option<&'static str>,
    orphans: u64,
    reaped_after_sigkill: u64,
    sigkill_sent: bool,
    /// From the app's start on.
    oom_kills: Option<cgroup::OomKills>,
    readiness: readiness::Watch,
    /// From t0 on, unless there is no hold.
    in_flight: inflight::InFlight,
    /// Probe server and checks, if there are any.
    health: Option<Box<health::Health>>,
    /// The value that came with the signal being passed on (sigqueue(3)).
    value: Option<usize>,
    /// Signals from outside of the PID namespace.
    foreign: signalling::Foreign,
    /// wait(2) told last that the app is stopped.
    app_stopped: bool,
    /// graceful has stopped itself with the app, as a job of a shell, and the app has not gone on yet.
    job_stopped: bool,
    /// It was continued after that, and the SIGCONT that did it is still to come out of the mask.
    continue_expected: bool,
    /// An app in a group of its own was stopped because it is not the terminal's foreground.
    wants_terminal: bool,
    outcome: Option<Outcome>,
}

impl Supervisor {
    fn new(mut config: Config, mut launch: Launch, start: Instant) -> Supervisor {
        let budget = config.budget;
        let limits = Limits {
            grace_period: budget.grace_period,
            kill_margin: budget.kill_margin,
            pre_stop_delay: budget.pre_stop_delay,
        };
        let program = words::program(&config.command);
        let needs_later = threads::needed_later(&config);
        let hooks = Hooks::new(std::mem::take(&mut config.hooks));
        let plan = plan(&mut config, &hooks, launch.init);
        let started_at = SystemTime::now();
        Supervisor {
            lifecycle: Lifecycle::new(plan),
            timeline: Timeline::new(started_at, program, limits),
            scribe: Scribe::new(words::complain(config.log_format, started_at, start)),
            hooks,
            hold: Hold::default(),
            http: None,
            waker: None,
            notifier: None,
            app: launch.started(),
            ended: None,
            inputs: VecDeque::new(),
            children: false,
            more_to_reap: false,
            left: leftovers::Watch::default(),
            lateness: lateness::Lateness::default(),
            needs_later,
            orphans: 0,
            reaped_after_sigkill: 0,
            sigkill_sent: false,
            oom_kills: None,
            readiness: readiness::Watch::default(),
            in_flight: inflight::InFlight::default(),
            health: health::Health::new(&config, launch.listener.take(), start),
            value: None,
            foreign: signalling::Foreign::default(),
            app_stopped: false,
            job_stopped: false,
            continue_expected: false,
            wants_terminal: false,
            outcome: None,
            origin: Origin { inherited: launch.inherited, dir: launch.dir.take() },
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
        if let Err(what) = self.start_threads() {
            self.record(Event::ListenFailed { what });
            self.outcome = Some(Outcome::NotStarted(status::FAILURE));
            return self.finish();
        }
        if self.hooks.stages().contains(&Stage::PreStart) {
            // Where hooks come first the lifecycle begins with them; otherwise this phase has no length.
            self.record(Event::PhaseBegan { phase: Phase::PreStart });
        }
        self.act();
        if let Some(signal) = self.launch.parent_died.take() {
            self.feed(Input::Signal { signal, source: Source::Process });
        }
        while self.outcome.is_none() {
            let deadline = self.deadline();
            self.wait(deadline);
            let now = self.now();
            if let Some(wanted) = deadline {
                self.lateness.woke(wanted, now);
            }
            self.hooks.tick(now, &self.origin);
            self.hook_news();
            self.hold_tick(now);
            self.readiness_tick(now);
            self.health_tick(now);
            self.leftovers_tick(now);
            self.lateness_tick(now);
            if self.lifecycle.poll_deadline().is_some_and(|at| at <= now) {
                // Whoever has ended by now has ended in time.
                self.reap();
                self.inputs.push_back(Input::Tick);
            }
            self.act();
        }
        self.finish()
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn deadline(&self) -> Option<Duration> {
        let health = self.health.as_ref().and_then(|health| health.deadline());
        let all = [self.lifecycle.poll_deadline(), self.hooks.deadline(), self.hold.deadline()];
        let more = [self.readiness.deadline(), health, self.left.deadline(), self.lateness.deadline()];
        all.into_iter().chain(more).flatten().min()
    }

    /// Sleeps until something comes, and takes it.
    fn wait(&mut self, deadline: Option<Duration>) {
        if self.more_to_reap {
            return self.reap();
        }
        let timeout = deadline.map(|at| at.saturating_sub(self.now()));
        let fds = self.fds();
        if fds.is_empty() && self.waker.is_none() {
            return self.wait_for_signal(timeout);
        }
        self.watch_signals();
        let Some(notifier) = &self.notifier else {
            self.wait_for_signal(Some(timeout.map_or(fds::BLIND, |timeout| timeout.min(fds::BLIND))));
            return self.take_news(true);
        };
        let mut polled = vec![notifier.as_raw_fd()];
        polled.extend(self.waker.as_ref().map(|waker| waker.as_fd().as_raw_fd()));
        polled.extend(fds);
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

    fn fds(&self) -> Vec<RawFd> {
        let mut fds: Vec<RawFd> = self.hooks.fds().collect();
        fds.extend(self.hold.fd());
        fds.extend(self.health.iter().flat_map(|health| health.fds()));
        fds.extend(self.left.fds());
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
        self.hooks.read();
        self.hold.read();
        self.health.iter_mut().for_each(|health| health.read());
        self.hook_news();
        self.http_news();
        self.in_flight_news();
        self.look_after_ends();
    }

    /// Takes every exit that there is: SIGCHLD coalesces.
    fn reap(&mut self) {
        self.take_exits();
        self.act();
        let look_again = std::mem::take(&mut self.left.look_again);
        if (look_again || !self.children) && self.lifecycle.is_waiting_for_the_last() {
            self.look();
        }
    }

    /// What follows from them is for the next `act`.
    fn take_exits(&mut self) {
        self.more_to_reap = true;
        for _ in 0..REAPED_AT_ONCE {
            match reap::next() {
                Change::Ended { pid, status } => self.ended(pid, status),
                Change::Stopped { pid, signal } => self.stopped(pid, signal),
                Change::Continued { pid } => self.continued(pid),
                Change::Nothing => {
                    self.more_to_reap = false;
                    break;
                }
                Change::NoChildren => {
                    self.more_to_reap = false;
                    self.children = false;
                    break;
                }
            }
        }
        // Only now, when it is known whether any child is left: the first question after the app's exit is just that.
        if let Some(status) = self.ended.take()
            && !(self.children && self.goes_on_in_background(status))
        {
            self.app_ended(status);
        }
    }

    fn ended(&mut self, pid: i32, status: ExitStatus) {
        let now = self.now();
        if self.sigkill_sent && self.app != Some(pid) {
            self.reaped_after_sigkill += 1;
        }
        if self.app == Some(pid) {
            self.app = None;
            self.ended = Some(status);
        } else if self.hooks.exited(now, pid, status, &self.origin) {
            self.hook_news();
        } else if let Some(result) = self.hold.exited(now, pid, status) {
            match result {
                None => self.hold_over("the command exited 0".to_owned()),
                Some(detail) => {
                    self.say_if_not_run(status);
                    self.record(Event::HoldCheck { detail });
                }
            }
        } else if !self.check_exited(now, pid, status) {
            self.orphans += 1;
            self.count_orphan();
        }
    }

    fn app_ended(&mut self, status: ExitStatus) {
        self.out_of_memory(status);
        self.in_flight_over();
        self.readiness_over();
        self.foreign_signal_may_have_ended_it();
        self.inputs.push_back(Input::AppExited(status));
    }

    /// The kernel kills whom it will: the app, or a process of it whose death shows in the app's own status or not at all.
    fn out_of_memory(&mut self, status: ExitStatus) {
        let count = self.oom_kills.as_ref().map_or(0, cgroup::OomKills::count);
        if status == ExitStatus::Signaled(Signal::KILL) && !self.sigkill_sent {
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
    fn stopped(&mut self, pid: i32, signal: Signal) {
        self.app_stopped |= self.app == Some(pid);
        let by_terminal = matches!(signal, Signal::TSTP | Signal::TTIN | Signal::TTOU);
        if self.app != Some(pid) || !by_terminal || !self.launch.terminal.is_present() {
            return;
        }
        let in_our_group = process::shares_our_group(pid);
        if self.launch.init {
            if signal == Signal::TSTP && !in_our_group {
                self.signal_app(Signal::CONT, SignalReason::JobControl);
            } else if !in_our_group {
                // Kept out of the foreground, and it reads the terminal.
                self.wants_terminal = self.own_job_goes_on_in_foreground();
            }
            return;
        }
        self.job_stopped = true;
        self.continue_expected = in_our_group;
        self.wants_terminal |= !in_our_group && signal != Signal::TSTP;
        // The foreground may be graceful's already, since a `fg` that came before the app asked.
        if in_our_group || signal == Signal::TSTP || !self.own_job_goes_on_in_foreground() {
            process::stop_self();
        }
    }

    /// A shell's `fg` or `bg` continues graceful's group alone: an app in a group of its own goes on with it, as the
    /// foreground if that is what it was stopped for the want of.
    fn own_job_goes_on(&mut self) -> bool {
        let Some(group) = self.own_group().filter(|_| self.job_stopped) else { return false };
        if self.wants_terminal {
            self.launch.terminal.hand_over(group);
        }
        self.continue_job(group)
    }

    fn own_job_goes_on_in_foreground(&mut self) -> bool {
        self.own_group().is_some_and(|group| self.launch.terminal.hand_over(group) && self.continue_job(group))
    }

    fn continue_job(&mut self, group: i32) -> bool {
        self.job_stopped = false;
        process::signal_group(group, Signal::CONT).is_ok()
    }

    /// The group that the app leads.
    fn own_group(&self) -> Option<i32> {
        self.app.filter(|app| process::group_of(*app) == Some(*app))
    }

    fn continued(&mut self, pid: i32) {
        if self.app == Some(pid) {
            (self.app_stopped, self.job_stopped) = (false, false);
        }
    }

    /// After Ctrl-Z a shell's `fg` continues the whole group, the app included: to do it again would undo a second Ctrl-Z
    /// that came meanwhile. Whoever continues graceful alone means the app too, which then is still stopped. wait(2) tells
    /// the one from the other, and keeps them in order, which a look at the app's present state would not.
    fn job_was_continued(&mut self) -> bool {
        let expected = std::mem::take(&mut self.continue_expected);
        if expected {
            self.reap();
        }
        expected && !self.job_stopped
    }

    /// One input to the lifecycle and everything that follows from it.
    fn feed(&mut self, input: Input) {
        self.inputs.push_back(input);
        self.act();
    }
}

fn plan(config: &mut Config, hooks: &Hooks, init: bool) -> Plan {
    Plan {
        grace_period: config.budget.grace_period,
        kill_margin: config.budget.kill_margin,
        pre_stop_delay: config.budget.pre_stop_delay,
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

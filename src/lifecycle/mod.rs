//! The life of one app from the first hook to the exit: a state machine without I/O, clock, async or libc.
//!
//! Inputs carry the time (since graceful's start); outputs are polled. The caller's loop is
//!
//! ```text
//!   wait until an input or poll_deadline()  ──►  handle(now, input)  ──►  poll_action() until None  ──►  wait …
//! ```
//!
//! and every action must be drained before the next input (asserted in debug builds): an action may make the next
//! input untrue.
//!
//! # States
//!
//! ```text
//!   PreStart ──► Running ──► PreStop ──► Hold ──► Drain ──► Leftovers ──► PostStop ──► Done
//!      │            │           │          │        │         ▲   │           ▲
//!      │            └───────────┴──────────┴────────┴─────────┘   │           │
//!      │              the app exits, in whatever phase            │           │
//!      └──► Leftovers (no app: hook failed, signal, exec failed)  │           │
//!                                                                 │           │
//!           any phase from t0 on, at K ──► Kill ──────────────────┴───────────┘
//! ```
//!
//! t0 is the first stop signal (or the app's own exit, or a failed start). K = t0 + grace period - kill margin. The
//! end E = K + half the margin, so that half of the margin belongs to the last deaths and post-stop hooks and half
//! to the report: a deadline exists even after SIGKILL.
//!
//! # Every state against every input
//!
//! | phase | stop signal | other signal | app exited | hooks done | hold over | left = 0 | left > 0 |
//! | --- | --- | --- | --- | --- | --- | --- | --- |
//! | PreStart | t0; to the hook | to the hook | - | spawn, or Leftovers | - | - | - |
//! | Running | t0: PreStop | to the app | t0: Leftovers | post-start: note, or stop | - | - | - |
//! | PreStop | Hold or Drain | to the app | Leftovers | pre-stop: one reason less | - | - | - |
//! | Hold | Drain | to the app | Leftovers | - | Drain | - | - |
//! | Drain | to the app again | to the app | Leftovers | - | - | - | - |
//! | Leftovers | to the leftovers | - | - | - | - | PostStop | SIGTERM, once |
//! | Kill | - | to the app, if it is there | noted; look | - | - | PostStop | - |
//! | PostStop | to the hooks | - | - | Done | - | - | - |
//! | Done | - | - | - | - | - | - | - |
//!
//! "-" is said out loud in the code (no wildcard arm). A stop signal that the terminal has already delivered to the app
//! ("delivered": graceful and the app share the terminal's foreground group) is never sent a second time.
//!
//! # What must never be
//!
//! Done before the app was reaped (but for E, after SIGKILL); SIGKILL later than K; the stop signal to the app before the
//! pre-stop delay is over unless a second stop signal or SIGINT said so; a signal lost while the app runs; two outcomes.
//! The tests check these against random sequences.

mod timer;

#[cfg(test)]
mod tests;

use crate::signal::{Signal, SignalSet};
use crate::status::{self, ExitStatus};
use crate::timeline::{Cause, Event, Phase, SignalReason, Stage};
use std::collections::VecDeque;
use std::time::Duration;
use timer::{Timer, Timers};

/// What the lifecycle has to know of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// G.
    pub grace_period: Duration,
    /// G - K.
    pub kill_margin: Duration,
    /// How long the app runs on untouched after the stop signal.
    pub pre_stop_delay: Duration,
    /// What the app gets instead of the stop signal that came.
    pub stop_signal: Option<Signal>,
    /// The signals that begin the shutdown.
    pub stop_on: SignalSet,
    /// Other signals on their way to the app; `None` drops.
    pub rewrite: Vec<(Signal, Option<Signal>)>,
    /// Signals before SIGKILL, sorted by time since t0.
    pub escalate: Vec<(Duration, Signal)>,
    /// Whether there is something to hold for, and an explicit timeout for it.
    pub hold: Option<HoldPlan>,
    /// The stages that have hooks.
    pub hooks: Vec<Stage>,
    /// Time until ready, and whether being late stops the app.
    pub startup: Option<(Duration, bool)>,
    /// Leave what outlives the app alone.
    pub leave_leftovers: bool,
}

/// `--hold` other than never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldPlan {
    /// An explicit `--hold-timeout`; else half of what is left when the hold begins.
    pub timeout: Option<Duration>,
}

/// A fact from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Nothing but time has passed.
    Tick,
    /// The app runs.
    Started,
    /// The app could not be executed; graceful's exit code for it.
    SpawnFailed(u8),
    /// A signal came to graceful. `delivered`: the app has it already, from the terminal.
    Signal {
        /// Which.
        signal: Signal,
        /// The app has it already.
        delivered: bool,
    },
    /// The app was reaped.
    AppExited(ExitStatus),
    /// All hooks of the stage have ended; `abort`: one failed whose failure matters.
    HooksDone {
        /// Of which stage.
        stage: Stage,
        /// A failure that ends the start or begins the stop.
        abort: bool,
    },
    /// What the hold waited for is there.
    HoldOver,
    /// The app's readiness endpoint answered that it is ready.
    Ready,
    /// So many processes are left besides graceful: the answer to [`Action::Look`], and again whenever it turns 0.
    Left(usize),
}

/// What is to be done now.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Start the app; answer Started or SpawnFailed.
    Spawn,
    /// Run the stage's hooks; answer HooksDone.
    RunHooks(Stage),
    /// Pass a signal to the hooks that run.
    SignalHooks(Signal),
    /// End the stage's hooks with their trees; no answer.
    CancelHooks(Stage),
    /// Send a signal to the app.
    SignalApp {
        /// Which.
        signal: Signal,
        /// Why, for the report.
        reason: SignalReason,
    },
    /// Look for the hold's reason; answer HoldOver when it is gone. At the latest it ends at this time.
    StartHold {
        /// When the hold ends in any case.
        until: Duration,
    },
    /// Stop looking.
    EndHold,
    /// From now to the app's exit, watch the readiness endpoint.
    WatchReadiness,
    /// Create the drain file.
    CreateDrainFile,
    /// Count the processes that are left; answer Left.
    Look,
    /// Send a signal to everything that is left.
    SignalLeftovers(Signal),
    /// SIGKILL to everything that is left, the app included.
    KillEverything,
    /// Something to be logged and reported.
    Record(Event),
    /// The end; nothing follows.
    Exit(Outcome),
}

/// How it all ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The app's own end.
    App(ExitStatus),
    /// The app never ran; graceful's exit code.
    NotStarted(u8),
    /// Not even SIGKILL ended the app before the budget did.
    Stuck,
}

impl Outcome {
    /// The exit code for it, before `--success-exit-status`.
    pub fn code(self) -> u8 {
        match self {
            Outcome::App(status) => status.code(),
            Outcome::NotStarted(code) => code,
            Outcome::Stuck => ExitStatus::Signaled(Signal::KILL).code(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum App {
    NotStarted,
    Running,
    Gone,
}

/// From SIGKILL to the next look at what survived it.
const KILL_AGAIN: Duration = Duration::from_millis(100);
/// The least time that the dead get to be reaped after SIGKILL, whatever the margin.
const LEAST_END: Duration = Duration::from_millis(50);

/// See the module's text.
#[derive(Debug)]
pub struct Lifecycle {
    plan: Plan,
    phase: Phase,
    app: App,
    /// When the stop began.
    t0: Option<Duration>,
    /// The signal that began it.
    stop_signal: Signal,
    /// A signal or a reason of graceful's own began it, not the app's end.
    stopped: bool,
    /// The terminal has given the stop signal to the app already.
    delivered: bool,
    delay_over: bool,
    pre_stop_hooks_run: bool,
    next_escalation: usize,
    leftovers_told: bool,
    outcome: Option<Outcome>,
    timers: Timers,
    actions: VecDeque<Action>,
}

impl Lifecycle {
    /// Begins: the first actions can be polled at once.
    pub fn new(plan: Plan) -> Lifecycle {
        let mut lifecycle = Lifecycle {
            plan,
            phase: Phase::PreStart,
            app: App::NotStarted,
            t0: None,
            stop_signal: Signal::TERM,
            stopped: false,
            delivered: false,
            delay_over: false,
            pre_stop_hooks_run: false,
            next_escalation: 0,
            leftovers_told: false,
            outcome: None,
            timers: Timers::default(),
            actions: VecDeque::new(),
        };
        if !lifecycle.run_hooks(Stage::PreStart) {
            lifecycle.act(Action::Spawn);
        }
        lifecycle
    }

    /// Takes one fact; `now` never goes back.
    pub fn handle(&mut self, now: Duration, input: Input) {
        debug_assert!(self.actions.is_empty(), "actions are drained before the next input");
        match input {
            Input::Tick => {}
            Input::Started => self.started(now),
            Input::SpawnFailed(code) => self.not_started(now, code),
            Input::Signal { signal, delivered } if self.plan.stop_on.contains(signal) => {
                self.stop_requested(now, signal, delivered);
            }
            Input::Signal { signal, delivered } => self.pass_on(signal, delivered),
            Input::AppExited(status) => self.app_exited(now, status),
            Input::HooksDone { stage, abort } => self.hooks_done(now, stage, abort),
            Input::HoldOver => {
                if self.phase == Phase::Hold {
                    self.drain(now);
                }
            }
            Input::Ready => self.timers.clear(Timer::Startup),
            Input::Left(count) => self.left(count),
        }
        while let Some(timer) = self.timers.take_due(now) {
            self.fire(now, timer);
        }
    }

    /// The next thing to do; `None` when all is done until the next input.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`Lifecycle::handle`] with a Tick at the latest.
    pub fn poll_deadline(&self) -> Option<Duration> {
        self.timers.next()
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// When the stop began.
    pub fn t0(&self) -> Option<Duration> {
        self.t0
    }

    /// The signal that began the stop, or that stands for graceful's own reason to stop the app. None where the app
    /// ended by itself or never ran.
    pub fn stop_signal(&self) -> Option<Signal> {
        self.stopped.then_some(self.stop_signal)
    }

    /// How it ends, once that is certain.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// There are actions to poll.
    pub fn has_actions(&self) -> bool {
        !self.actions.is_empty()
    }

    /// It wants to know when nothing is left.
    pub fn is_waiting_for_the_last(&self) -> bool {
        matches!(self.phase, Phase::Leftovers | Phase::Kill)
    }

    /// K, once the stop has begun.
    pub fn kill_at(&self) -> Option<Duration> {
        Some(self.t0? + self.plan.grace_period.saturating_sub(self.plan.kill_margin))
    }

    /// E, once the stop has begun: everything has ended by then.
    pub fn end_at(&self) -> Option<Duration> {
        Some(self.kill_at()? + (self.plan.kill_margin / 2).max(LEAST_END))
    }

    fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.act(Action::Record(Event::PhaseBegan { phase }));
    }

    /// Sets t0 and with it the deadlines that hold for whatever comes. The first cause wins.
    fn begin(&mut self, now: Duration, cause: Cause) {
        if self.t0.is_some() {
            return;
        }
        self.t0 = Some(now);
        self.stopped = !matches!(cause, Cause::AppExited | Cause::NotStarted);
        self.timers.clear(Timer::Startup);
        self.act(Action::Record(Event::StopBegan { cause }));
        if let Some(kill_at) = self.kill_at() {
            self.timers.set(Timer::Kill, kill_at);
        }
    }

    fn run_hooks(&mut self, stage: Stage) -> bool {
        let any = self.plan.hooks.contains(&stage);
        if any {
            self.act(Action::RunHooks(stage));
        }
        any
    }

    fn started(&mut self, now: Duration) {
        if self.app != App::NotStarted || self.outcome.is_some() {
            return;
        }
        self.app = App::Running;
        if self.phase == Phase::Kill {
            self.act(Action::KillEverything);
            return;
        }
        self.enter(Phase::Running);
        if let Some((timeout, _)) = self.plan.startup {
            self.timers.set(Timer::Startup, now + timeout);
        }
        if self.t0.is_some() {
            // A stop signal came between the last hook and the app's start.
            return self.stop(now, self.stop_signal, Cause::Signal(self.stop_signal));
        }
        self.run_hooks(Stage::PostStart);
    }

    /// There is no app and there will be none.
    fn not_started(&mut self, now: Duration, code: u8) {
        if self.phase != Phase::PreStart {
            return;
        }
        self.outcome.get_or_insert(Outcome::NotStarted(code));
        self.begin(now, Cause::NotStarted);
        self.leftovers();
    }

    fn hooks_done(&mut self, now: Duration, stage: Stage, abort: bool) {
        match (self.phase, stage) {
            (Phase::PreStart, Stage::PreStart) => match (self.t0, abort) {
                (Some(_), _) => self.not_started(now, ExitStatus::Signaled(self.stop_signal).code()),
                (None, true) => self.not_started(now, status::FAILURE),
                (None, false) => self.act(Action::Spawn),
            },
            (Phase::Running, Stage::PostStart) => {
                if abort {
                    self.stop(now, Signal::TERM, Cause::HookFailed);
                }
            }
            (Phase::PreStop, Stage::PreStop) => {
                self.pre_stop_hooks_run = false;
                self.pre_stop_may_end(now);
            }
            (Phase::PostStop, Stage::PostStop) => self.done(),
            // A hook that its phase no longer waits for: a second signal or the app's exit ended the phase first.
            (
                Phase::PreStart
                | Phase::Running
                | Phase::PreStop
                | Phase::Hold
                | Phase::Drain
                | Phase::Leftovers
                | Phase::Kill
                | Phase::PostStop
                | Phase::Done,
                Stage::PreStart | Stage::PostStart | Stage::PreStop | Stage::PostStop,
            ) => {}
        }
    }

    fn stop_requested(&mut self, now: Duration, signal: Signal, delivered: bool) {
        match self.phase {
            Phase::PreStart => {
                if self.t0.is_none() {
                    self.stop_signal = signal;
                    self.begin(now, Cause::Signal(signal));
                }
                self.act(Action::SignalHooks(signal));
            }
            Phase::Running => {
                self.delivered = delivered;
                self.stop(now, signal, Cause::Signal(signal));
            }
            Phase::PreStop => {
                self.delivered |= delivered;
                self.act(Action::Record(Event::PhaseCutShort { phase: Phase::PreStop, signal }));
                self.hold_or_drain(now);
            }
            Phase::Hold => {
                self.delivered |= delivered;
                self.act(Action::Record(Event::PhaseCutShort { phase: Phase::Hold, signal }));
                self.drain(now);
            }
            Phase::Drain => {
                if !delivered {
                    let signal = self.plan.stop_signal.unwrap_or(signal);
                    self.act(Action::SignalApp { signal, reason: SignalReason::Again });
                }
            }
            Phase::Leftovers => self.act(Action::SignalLeftovers(signal)),
            Phase::PostStop => self.act(Action::SignalHooks(signal)),
            // SIGKILL is out, there is nothing gentler to say; after the end there is nobody.
            Phase::Kill | Phase::Done => {}
        }
    }

    /// Any signal that does not stop goes to the app at once, in every phase in which there is one.
    fn pass_on(&mut self, signal: Signal, delivered: bool) {
        if delivered {
            return;
        }
        match self.app {
            App::NotStarted if self.phase == Phase::PreStart => self.act(Action::SignalHooks(signal)),
            App::NotStarted | App::Gone => {}
            App::Running => {
                let rewritten = self.plan.rewrite.iter().find(|(from, _)| *from == signal);
                match rewritten.map_or(Some(signal), |(_, to)| *to) {
                    Some(signal) => self.act(Action::SignalApp { signal, reason: SignalReason::Forwarded }),
                    None => self.act(Action::Record(Event::SignalDropped { signal })),
                }
            }
        }
    }

    /// t0 of a running app.
    fn stop(&mut self, now: Duration, signal: Signal, cause: Cause) {
        self.stop_signal = signal;
        self.begin(now, cause);
        self.enter(Phase::PreStop);
        if self.plan.hooks.contains(&Stage::PostStart) {
            self.act(Action::CancelHooks(Stage::PostStart));
        }
        self.act(Action::CreateDrainFile);
        self.act(Action::WatchReadiness);
        self.pre_stop_hooks_run = self.run_hooks(Stage::PreStop);
        // A person at a terminal is waiting; and a delay for an app that has its signal already delays nothing.
        self.delay_over = signal == Signal::INT || self.delivered || self.plan.pre_stop_delay.is_zero();
        if !self.delay_over {
            self.timers.set(Timer::PreStopDelay, now + self.plan.pre_stop_delay);
        }
        self.pre_stop_may_end(now);
    }

    fn pre_stop_may_end(&mut self, now: Duration) {
        if self.delay_over && !self.pre_stop_hooks_run {
            self.hold_or_drain(now);
        }
    }

    fn hold_or_drain(&mut self, now: Duration) {
        self.timers.clear(Timer::PreStopDelay);
        match self.plan.hold {
            Some(hold) if !self.delivered => self.hold(now, hold),
            Some(_) | None => self.drain(now),
        }
    }

    fn hold(&mut self, now: Duration, hold: HoldPlan) {
        // The app's own time to shut down ends where the first escalation or SIGKILL comes.
        let kill_at = self.kill_at().unwrap_or(now);
        let first =
            self.t0.zip(self.plan.escalate.first()).map_or(kill_at, |(t0, (after, _))| kill_at.min(t0 + *after));
        let left = first.saturating_sub(now);
        let until = now + hold.timeout.unwrap_or(left / 2).min(left);
        self.enter(Phase::Hold);
        self.timers.set(Timer::Hold, until);
        self.act(Action::StartHold { until });
    }

    fn drain(&mut self, now: Duration) {
        self.end_hold();
        self.enter(Phase::Drain);
        let signal = self.plan.stop_signal.unwrap_or(self.stop_signal);
        if !self.delivered {
            self.act(Action::SignalApp { signal, reason: SignalReason::Stop });
            // A stopped app could not act on the signal.
            self.act(Action::SignalApp { signal: Signal::CONT, reason: SignalReason::Stop });
        }
        self.set_escalation(now);
    }

    fn end_hold(&mut self) {
        if self.phase == Phase::Hold {
            self.timers.clear(Timer::Hold);
            self.act(Action::EndHold);
        }
    }

    fn set_escalation(&mut self, now: Duration) {
        if let (Some(t0), Some((after, _))) = (self.t0, self.plan.escalate.get(self.next_escalation)) {
            self.timers.set(Timer::Escalate, (t0 + *after).max(now));
        }
    }

    fn app_exited(&mut self, now: Duration, status: ExitStatus) {
        if self.app != App::Running {
            return;
        }
        self.app = App::Gone;
        self.outcome.get_or_insert(Outcome::App(status));
        let told = self.phase >= Phase::Drain || self.delivered;
        self.act(Action::Record(Event::AppExited { status, phase: self.phase, told }));
        match self.phase {
            Phase::Running | Phase::PreStop | Phase::Hold | Phase::Drain => {
                self.end_hold();
                self.begin(now, Cause::AppExited);
                self.leftovers();
            }
            Phase::Kill => self.act(Action::Look),
            // Not reached with a running app.
            Phase::PreStart | Phase::Leftovers | Phase::PostStop | Phase::Done => {}
        }
    }

    fn leftovers(&mut self) {
        for timer in [Timer::Startup, Timer::PreStopDelay, Timer::Escalate] {
            self.timers.clear(timer);
        }
        self.enter(Phase::Leftovers);
        if self.plan.leave_leftovers {
            for stage in [Stage::PreStart, Stage::PostStart, Stage::PreStop] {
                if self.plan.hooks.contains(&stage) {
                    self.act(Action::CancelHooks(stage));
                }
            }
            self.post_stop();
        } else {
            self.act(Action::Look);
        }
    }

    fn left(&mut self, count: usize) {
        match self.phase {
            Phase::Leftovers if count == 0 => self.post_stop(),
            Phase::Leftovers => {
                if !self.leftovers_told {
                    self.leftovers_told = true;
                    self.act(Action::Record(Event::LeftoversFound { count }));
                    self.act(Action::SignalLeftovers(Signal::TERM));
                }
            }
            Phase::Kill if count == 0 && self.app != App::Running => self.post_stop(),
            Phase::Kill
            | Phase::PreStart
            | Phase::Running
            | Phase::PreStop
            | Phase::Hold
            | Phase::Drain
            | Phase::PostStop
            | Phase::Done => {}
        }
    }

    fn kill(&mut self, now: Duration) {
        self.end_hold();
        self.timers.clear_all();
        self.enter(Phase::Kill);
        self.set_end();
        self.timers.set(Timer::KillAgain, now + KILL_AGAIN);
        self.act(Action::KillEverything);
        self.act(Action::Look);
    }

    fn set_end(&mut self) {
        if let Some(end_at) = self.end_at() {
            self.timers.set(Timer::End, end_at);
        }
    }

    fn post_stop(&mut self) {
        self.timers.clear_all();
        self.set_end();
        self.enter(Phase::PostStop);
        if !self.run_hooks(Stage::PostStop) {
            self.done();
        }
    }

    fn done(&mut self) {
        self.timers.clear_all();
        self.enter(Phase::Done);
        let outcome = *self.outcome.get_or_insert(match self.app {
            // K came while a stop signal waited for the pre-start hooks.
            App::NotStarted => Outcome::NotStarted(ExitStatus::Signaled(self.stop_signal).code()),
            App::Running | App::Gone => Outcome::Stuck,
        });
        self.act(Action::Exit(outcome));
    }

    fn fire(&mut self, now: Duration, timer: Timer) {
        match timer {
            Timer::Startup => self.startup_late(now),
            Timer::PreStopDelay => {
                self.delay_over = true;
                self.pre_stop_may_end(now);
            }
            Timer::Hold => {
                self.act(Action::Record(Event::HoldTimedOut));
                self.drain(now);
            }
            Timer::Escalate => self.escalate(now),
            // After the app and its leftovers are gone only post-stop hooks are there, and they have until E.
            Timer::Kill => self.kill(now),
            Timer::KillAgain => {
                self.act(Action::KillEverything);
                self.act(Action::Look);
                self.timers.set(Timer::KillAgain, now + KILL_AGAIN);
            }
            Timer::End => self.end(),
        }
    }

    fn startup_late(&mut self, now: Duration) {
        let Some((after, stop)) = self.plan.startup else { return };
        self.act(Action::Record(Event::StartupLate { after, stop }));
        if stop && self.phase == Phase::Running {
            self.stop(now, Signal::TERM, Cause::StartupTimeout);
        }
    }

    fn escalate(&mut self, now: Duration) {
        if let Some((_, signal)) = self.plan.escalate.get(self.next_escalation).copied() {
            self.act(Action::SignalApp { signal, reason: SignalReason::Escalation });
            self.next_escalation += 1;
            self.set_escalation(now);
        }
    }

    /// E: whatever does not die or does not end is left behind.
    fn end(&mut self) {
        match self.phase {
            Phase::Kill => {
                self.act(Action::Record(Event::NotDead));
                self.done();
            }
            Phase::PostStop => {
                self.act(Action::CancelHooks(Stage::PostStop));
                self.done();
            }
            // The timer runs in these two phases only.
            Phase::PreStart
            | Phase::Running
            | Phase::PreStop
            | Phase::Hold
            | Phase::Drain
            | Phase::Leftovers
            | Phase::Done => {}
        }
    }
}

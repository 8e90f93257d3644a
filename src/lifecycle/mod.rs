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
//! t0 is the first stop signal (or the app's own exit, or a failed start). K = t0 + grace period - kill margin. The end
//! E = K + half the margin, so that half of the margin belongs to the last deaths and post-stop hooks and half to the
//! report: a deadline exists even after SIGKILL. Where the caller's timers fire late ("late"), SIGKILL comes earlier by
//! what it says, by a quarter of the budget at most, and E by half of that. (At least 50 ms after SIGKILL: without a
//! margin, or when graceful itself was frozen beyond K, the dead must still be reaped.)
//!
//! # Every state against every input
//!
//! | phase | SIGINT that stops | another stop signal | other signal | app exited | hooks done | hold over | left = 0 | left > 0 |
//! | --- | --- | --- | --- | --- | --- | --- | --- | --- |
//! | PreStart | t0; to the hook, no further one | the same | kept for the app | - | spawn, or Leftovers | - | - | - |
//! | Running | t0: PreStop without delay | t0: PreStop | to the app | t0: Leftovers | post-start, ready: note, or stop | - | - | - |
//! | PreStop | the delay is over; if it is: Drain | noted | to the app | Leftovers | pre-stop: one reason less | - | - | - |
//! | Hold | Drain | noted | to the app | Leftovers | - | Drain | - | - |
//! | Drain | to the app again | to the app again | to the app | Leftovers | - | - | - | - |
//! | Leftovers | to the leftovers | to the leftovers | noted | - | - | - | PostStop | SIGTERM, once |
//! | Kill | noted | noted | to the app, if it is there | noted; look | - | - | PostStop | - |
//! | PostStop | noted | noted | noted | - | Done | - | - | - |
//! | Done | - | - | - | - | - | - | - | - |
//!
//! # Stop signals
//!
//! Exactly the signals of the plan's `stop_on` begin a stop, and in a stop only SIGINT hurries: it ends the wait that
//! it meets, first the pre-stop delay, then the hold (or whatever else PreStop still waits for). A person who is tired
//! of waiting presses a key again. A machine repeats itself because it is built that way (kubelet, Kata, timeout(1)): a
//! SIGTERM that comes again changes no deadline and ends no phase.
//!
//! What the kernel sends is not always meant as a stop, whatever `stop_on` says:
//!
//! | from a terminal | is |
//! | --- | --- |
//! | SIGWINCH, SIGTSTP, SIGTTIN, SIGTTOU; SIGCONT of a shell's `fg` | never a stop: a window has a new size, a job is suspended and goes on |
//! | SIGWINCH to graceful alone, where the app is stopped by it (httpd) | dropped: to the app it would be the stop |
//! | SIGINT, SIGQUIT by key, shared with the app | the app's (a prompt interrupts its command by it); a stop when it comes again within [`KEY_AGAIN`] and the app is still there |
//! | the same, to graceful alone | a stop: nobody else can act on it |
//! | SIGHUP of a hang-up | as any SIGHUP: there is nobody left to say it again |
//!
//! The answers to Spawn count while it is unanswered, in PreStart (Running, or Leftovers) and in Kill (SIGKILL, or
//! look); "In flight: no" ends what waits for it: the end of PreStop, which does not come before it is known whether
//! there is anything to hold for (but after [`FIRST_LOOK`] at the latest). The end of the hold itself is "hold over".
//! "Nothing listens" ends a delay that is for listeners, and nothing else: pre-stop hooks still run to their end.
//! "Undelivered" is told in Leftovers, where bytes that the app has left to the kernel are waited for as processes are,
//! but get no signal: it ends when nothing is left and nothing is undelivered. SIGINT ends that wait, and so does K, at
//! which there is then nobody to kill. "Hung" begins the stop of a running app as SIGTERM does, but without the delay
//! and the hold: an app that does not answer serves nobody. "Not ready" does the same for a run of the app that was to
//! take the place of another one, and "replaced" for the one whose place was taken, except that it holds for what is in
//! flight; nobody outside is told of either (drain file, pre-stop hooks), since the app as such stays. In any other
//! phase they say nothing new, but before the start "not ready" is a stop signal like any other. "ready" and the end of
//! the post-start hooks, both, end the startup timeout. After Done nothing does anything.
//!
//! "-" is spelled out in the code (no wildcard arm). A stop signal that the app has from the terminal
//! ([`SignalSource::Shared`]) ends delay and hold, since there is nothing left to delay, and is never sent a second
//! time. But if what the app is to get is another signal (`--stop-signal`, or the SIGTERM that came before a Ctrl-C),
//! it still gets that.
//!
//! # What must never be
//!
//! The end held up by whoever cannot be signalled ("left" is the number of those that can be waited for, and at 0
//! nothing is waited for). Done before the app was reaped (except at E, after SIGKILL); SIGKILL later than K; the app
//! told to stop before the pre-stop delay is over unless SIGINT or the terminal said so; a stop begun by a signal that
//! is not in `stop_on`; a deadline or a phase changed by a stop signal that a machine repeats; a signal lost while the
//! app runs; two outcomes. The tests check these against random sequences.

#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

mod ending;
mod interface;
mod stopping;
mod timer;

#[cfg(test)]
pub(crate) mod tests;

pub use interface::{Action, HoldPlan, Input, Outcome, SignalSource, StopInProgress, StopPlan, TO_DIE};

use crate::signal::{Signal, SignalSet};
use crate::status::{self, ExitStatus};
use crate::timeline::{Event, Phase, SignalReason, Stage, StopCause};
use std::collections::VecDeque;
use std::time::Duration;
use timer::{Timer, Timers};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum App {
    NotStarted,
    /// Spawn has gone out, and its answer has not come.
    Starting,
    Running,
    Gone,
}

/// What the stop leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Haste {
    None,
    /// The delay: nothing new comes.
    Unrouted,
    /// The hold as well: nobody is served.
    Useless,
}

/// From SIGKILL to the next look at what survived it.
const KILL_AGAIN: Duration = Duration::from_millis(100);
/// SIGKILL comes earlier than K by at most the budget divided by this, however late the caller's timers fire.
const LEAST_OF_BUDGET: u32 = 4;
/// The least time that the dead get to be reaped after SIGKILL, whatever the margin and however late it came.
const LEAST_END: Duration = Duration::from_millis(50);

/// A key that the app has survived stops it when it is pressed again within this time; after that it is a new first
/// one.
pub const KEY_AGAIN: Duration = Duration::from_secs(60);

/// Whether requests are in flight is known a few milliseconds after t0. If it is not, the stop goes on after this.
pub const FIRST_LOOK: Duration = Duration::from_millis(250);

/// The state of the machine: what the app is, where the stop stands, and when which deadline comes.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    plan: StopPlan,
    phase: Phase,
    app: App,
    /// When the stop began.
    t0: Option<Duration>,
    /// The signal that began it, or that represents what did.
    stop_signal: Option<Signal>,
    /// Whether a stop signal has come; the stop may have begun without one.
    asked: bool,
    /// The last key that was left to the app, and when it came.
    key: Option<(Signal, Duration)>,
    /// The stop signals that the app has from the terminal, since the stop began.
    shared: SignalSet,
    /// Signals for the app that came before it ran.
    waiting: SignalSet,
    /// Whether what SIGKILL left was counted once.
    sigkill_looked_at: bool,
    /// Whether the app has not been ready yet, and something will tell when it is.
    waits_for_ready: bool,
    post_start_hooks_run: bool,
    /// What was said last of requests in flight.
    in_flight: Option<bool>,
    /// Whether nothing was said in time, and nobody waits for it any longer.
    looked: bool,
    no_handler: bool,
    haste: Haste,
    delay_over: bool,
    pre_stop_hooks_run: bool,
    next_escalation: usize,
    leftovers_told: bool,
    /// Whether what is not delivered is waited for.
    delivers: bool,
    /// Whether no process was left at the last count.
    none_left: bool,
    /// SIGKILL is earlier by this much, and E by half of it: dying and being reaped take longer, too.
    lead: Duration,
    outcome: Option<Outcome>,
    timers: Timers,
    actions: VecDeque<Action>,
}

impl Lifecycle {
    /// A lifecycle that begins: the first actions can be polled at once.
    pub fn new(plan: StopPlan) -> Lifecycle {
        let mut lifecycle = Lifecycle {
            plan,
            phase: Phase::PreStart,
            app: App::NotStarted,
            t0: None,
            stop_signal: None,
            asked: false,
            key: None,
            shared: SignalSet::EMPTY,
            waiting: SignalSet::EMPTY,
            sigkill_looked_at: false,
            waits_for_ready: false,
            post_start_hooks_run: false,
            in_flight: None,
            looked: false,
            no_handler: false,
            haste: Haste::None,
            delay_over: false,
            pre_stop_hooks_run: false,
            next_escalation: 0,
            leftovers_told: false,
            delivers: false,
            none_left: false,
            lead: Duration::ZERO,
            outcome: None,
            timers: Timers::default(),
            actions: VecDeque::new(),
        };
        if !lifecycle.run_hooks(Stage::PreStart) {
            lifecycle.spawn();
        }
        lifecycle
    }

    /// Takes one fact; `now` never goes back.
    #[allow(clippy::disallowed_macros, reason = "a promise of the caller's, looked at in debug builds alone")]
    pub fn handle(&mut self, now: Duration, input: Input) {
        debug_assert!(self.actions.is_empty(), "actions are drained before the next input");
        if self.phase == Phase::Done {
            return;
        }
        match input {
            Input::Tick => {}
            Input::Started => self.started(now),
            Input::SpawnFailed(code) => self.spawn_failed(now, code),
            Input::Signal { signal, source, .. } if self.stops(signal, source) => {
                self.stop_requested(now, signal, source);
            }
            Input::Signal { signal, source, value } => self.pass_on(signal, source, value),
            Input::AppExited(status) => self.app_exited(now, status),
            Input::HooksDone { stage, abort } => self.hooks_done(now, stage, abort),
            Input::HoldOver => {
                if self.phase == Phase::Hold {
                    self.drain(now);
                }
            }
            Input::InFlight(is) => self.in_flight(now, is),
            Input::NoHandler => self.no_handler(now),
            Input::NothingListens => self.nothing_listens(now),
            Input::Undelivered(count) => self.undelivered(count),
            Input::Ready => self.ready(),
            Input::Hung => self.stop_early(now, Haste::Useless, StopCause::Hung),
            Input::NotReady => self.not_ready(now),
            Input::Replaced => self.stop_early(now, Haste::Unrouted, StopCause::Replaced),
            Input::Late(lead) => self.late(now, lead),
            Input::Left(count) => self.left(now, count),
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

    /// The phase that it is in.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// When the stop began.
    pub fn t0(&self) -> Option<Duration> {
        self.t0
    }

    /// The signal that began the stop, or that represents what began it; `None` for an app that ended by itself.
    pub fn stop_signal(&self) -> Option<Signal> {
        self.stop_signal
    }

    /// Whether a stop signal has come, whatever began the stop.
    pub fn is_asked(&self) -> bool {
        self.asked
    }

    /// What the app gets at the end of the hold.
    pub fn app_signal(&self) -> Signal {
        self.plan.stop_signal.or(self.stop_signal).unwrap_or(Signal::TERM)
    }

    /// How it ends, once that is certain.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// What a caller that can no longer drive the lifecycle must still do.
    pub fn stop_in_progress(&self) -> Option<StopInProgress> {
        let signal = self.app_signal();
        let owed = (self.phase < Phase::Drain && !self.shared.contains(signal)).then_some(signal);
        Some(StopInProgress { kill_at: self.kill_at()?, owed })
    }

    /// Whether it wants to know when nothing is left.
    pub fn is_waiting_for_the_last(&self) -> bool {
        matches!(self.phase, Phase::Leftovers | Phase::Kill)
    }

    /// K, once the stop has begun.
    pub fn kill_at(&self) -> Option<Duration> {
        Some(self.t0?.saturating_add(self.plan.budget.kill_at()))
    }

    /// E, once the stop has begun.
    fn end_at(&self) -> Option<Duration> {
        Some(self.kill_at()?.saturating_add((self.plan.budget.kill_margin / 2).max(LEAST_END)))
    }

    /// The same after SIGKILL, which may have come early or, where graceful itself was frozen, late.
    fn end_after_kill(&self, now: Duration) -> Duration {
        let least = now.saturating_add(LEAST_END);
        self.end_at().map_or(least, |end_at| end_at.saturating_sub(self.lead / 2).max(least))
    }

    fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.act(Action::Record(Event::PhaseBegan { phase }));
    }

    /// Sets t0 and with it the deadlines that hold for whatever comes. The first cause wins.
    fn begin(&mut self, now: Duration, cause: StopCause) {
        if self.t0.is_some() {
            return;
        }
        self.t0 = Some(now);
        self.timers.clear(Timer::Startup);
        self.act(Action::Record(Event::StopBegan { cause }));
        if let Some(kill_at) = self.kill_at() {
            self.timers.set(Timer::Kill, kill_at);
        }
    }

    /// SIGKILL earlier than K, by a quarter of the budget at most.
    fn late(&mut self, now: Duration, lead: Duration) {
        if let (Some(kill_at), Some(t0), true) = (self.kill_at(), self.t0, self.phase < Phase::Kill) {
            self.lead = lead.min(kill_at.saturating_sub(t0) / LEAST_OF_BUDGET);
            self.timers.set(Timer::Kill, kill_at.saturating_sub(self.lead).max(now));
        }
    }

    fn run_hooks(&mut self, stage: Stage) -> bool {
        let any = self.plan.hooks.contains(&stage);
        if any {
            self.act(Action::RunHooks(stage));
        }
        any
    }

    /// Begins no further hooks. The caller deals with those that run.
    fn no_more_hooks(&mut self) {
        if !self.plan.hooks.is_empty() {
            self.act(Action::NoMoreHooks);
        }
    }

    fn spawn(&mut self) {
        self.app = App::Starting;
        self.act(Action::Spawn);
    }

    fn started(&mut self, now: Duration) {
        if self.app != App::Starting {
            return;
        }
        self.app = App::Running;
        if self.phase == Phase::Kill {
            self.act(Action::KillEverything);
            return;
        }
        self.enter(Phase::Running);
        for signal in std::mem::take(&mut self.waiting).iter() {
            self.pass_on(signal, SignalSource::Process, None);
        }
        if let Some(signal) = self.stop_signal {
            // It came between the last hook and the app's start.
            return self.stop(now, signal, StopCause::Signal(signal));
        }
        if let Some((timeout, _)) = self.plan.startup {
            self.timers.set(Timer::Startup, now.saturating_add(timeout));
        }
        self.waits_for_ready = self.plan.waits_for_ready;
        self.post_start_hooks_run = self.run_hooks(Stage::PostStart);
        self.may_be_started_up();
    }

    /// Only the first time matters: readiness may come and go.
    fn ready(&mut self) {
        if std::mem::take(&mut self.waits_for_ready) && self.phase == Phase::Running {
            self.run_hooks(Stage::Ready);
            self.may_be_started_up();
        }
    }

    fn may_be_started_up(&mut self) {
        if !self.waits_for_ready && !self.post_start_hooks_run {
            self.timers.clear(Timer::Startup);
        }
    }

    fn spawn_failed(&mut self, now: Duration, code: u8) {
        if self.app != App::Starting {
            return;
        }
        self.app = App::Gone;
        if self.phase == Phase::Kill {
            self.outcome.get_or_insert(Outcome::NotStarted(code));
            self.act(Action::Look);
            return;
        }
        self.not_started(now, code);
    }

    /// There is no app and there will be none.
    fn not_started(&mut self, now: Duration, code: u8) {
        self.outcome.get_or_insert(Outcome::NotStarted(code));
        self.begin(now, StopCause::NotStarted);
        self.leftovers();
    }

    fn hooks_done(&mut self, now: Duration, stage: Stage, abort: bool) {
        match (self.phase, stage) {
            (Phase::PreStart, Stage::PreStart) if self.app == App::NotStarted => match (self.stop_signal, abort) {
                (Some(signal), _) => self.not_started(now, ExitStatus::Signaled(signal).code()),
                (None, true) => self.not_started(now, status::FAILURE),
                (None, false) => self.spawn(),
            },
            (Phase::Running, Stage::PostStart) => {
                self.post_start_hooks_run = false;
                match abort {
                    true => self.stop(now, Signal::TERM, StopCause::HookFailed),
                    false => self.may_be_started_up(),
                }
            }
            (Phase::Running, Stage::Ready) if abort => self.stop(now, Signal::TERM, StopCause::ReadyHookFailed),
            (Phase::PreStop, Stage::PreStop) => {
                self.pre_stop_hooks_run = false;
                self.pre_stop_may_end(now);
            }
            (Phase::PostStop, Stage::PostStop) => self.done(),
            // A hook that its phase does not wait for, or no longer does: a signal or the app's exit ended the phase
            // first.
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
                Stage::PreStart | Stage::PostStart | Stage::Ready | Stage::PreStop | Stage::PostStop,
            ) => {}
        }
    }

    /// Whether this is a stop signal; see the module's text for those of a terminal.
    pub fn stops(&self, signal: Signal, source: SignalSource) -> bool {
        let is_of_a_terminal = match source {
            SignalSource::Process | SignalSource::Outside => false,
            SignalSource::Kernel | SignalSource::Shared => {
                matches!(signal, Signal::WINCH | Signal::TSTP | Signal::TTIN | Signal::TTOU | Signal::CONT)
            }
        };
        self.plan.stop_on.contains(signal) && !is_of_a_terminal
    }

    fn stop_requested(&mut self, now: Duration, signal: Signal, source: SignalSource) {
        let shared = source == SignalSource::Shared && self.app == App::Running;
        if shared && self.phase == Phase::Running && self.is_the_apps_to_decide(now, signal) {
            return self.act(Action::Record(Event::KeyShared { signal, again_within: KEY_AGAIN }));
        }
        let first = !std::mem::replace(&mut self.asked, true);
        if shared {
            self.shared = self.shared.with(signal);
        }
        match self.phase {
            Phase::PreStart => {
                if self.t0.is_none() {
                    self.stop_signal = Some(signal);
                    self.begin(now, StopCause::Signal(signal));
                    self.no_more_hooks();
                }
                self.act(Action::SignalHooks(signal));
            }
            Phase::Running => self.stop(now, signal, StopCause::Signal(signal)),
            Phase::PreStop | Phase::Hold => {
                if first {
                    // The stop began by itself; from now on it is as if this signal had begun it.
                    self.stop_signal = Some(signal);
                }
                self.asked_again(now, signal, shared);
            }
            Phase::Drain => {
                let to_app = self.plan.stop_signal.unwrap_or(signal);
                if !shared || to_app != signal {
                    self.act(Action::SignalApp {
                        signal: to_app,
                        reason: SignalReason::Again,
                        value: None,
                        from_outside: false,
                    });
                }
            }
            Phase::Leftovers => {
                self.act(Action::SignalLeftovers(signal));
                if signal == Signal::INT {
                    self.undelivered(0);
                }
            }
            // SIGKILL is out, and nothing gentler is left. Post-stop hooks have their end, and an orchestrator that
            // repeats itself must not cost a deregistration. After the end there is nobody.
            Phase::Kill | Phase::PostStop | Phase::Done => self.act(Action::Record(Event::StopRepeated { signal })),
        }
    }

    /// Whether a key is left to the app: one that the app has as well is its own affair the first time. A prompt lives
    /// on, a plain command dies of it.
    fn is_the_apps_to_decide(&mut self, now: Duration, signal: Signal) -> bool {
        let again = self.has_survived_a_key(now) && self.key.is_some_and(|(before, _)| before == signal);
        self.key = (!again).then_some((signal, now));
        !again
    }

    /// Whether the app got a key so recently that what it does now is its answer to it.
    fn has_survived_a_key(&self, now: Duration) -> bool {
        self.key.is_some_and(|(_, at)| now.saturating_sub(at) <= KEY_AGAIN)
    }

    /// Whether the app takes this signal for its stop, whoever sends it.
    fn stops_the_app(&self, signal: Signal) -> bool {
        self.plan.stop_signal.map_or(self.plan.stop_on.contains(signal), |own| own == signal)
    }

    /// Any signal that does not stop goes to the app at once, in every phase in which there is one.
    fn pass_on(&mut self, signal: Signal, source: SignalSource, value: Option<usize>) {
        if source == SignalSource::Shared {
            return;
        }
        match self.app {
            // It is for the app, not for the hook that happens to run: a migration must not die of a SIGHUP.
            App::NotStarted | App::Starting => self.waiting = self.waiting.with(signal),
            App::Gone if self.phase == Phase::Done => {}
            App::Gone => self.act(Action::Record(Event::SignalUnheard { signal })),
            App::Running if source == SignalSource::Kernel && signal == Signal::WINCH && self.stops_the_app(signal) => {
                self.act(Action::Record(Event::ResizeDropped));
            }
            App::Running => {
                let rewritten = self.plan.rewrite.iter().find(|(from, _)| *from == signal);
                match rewritten.map_or(Some(signal), |(_, to)| *to) {
                    Some(signal) => self.act(Action::SignalApp {
                        signal,
                        reason: SignalReason::Forwarded,
                        value,
                        from_outside: source == SignalSource::Outside,
                    }),
                    None => self.act(Action::Record(Event::SignalDropped { signal })),
                }
            }
        }
    }

    fn fire(&mut self, now: Duration, timer: Timer) {
        match timer {
            Timer::Startup => self.startup_late(now),
            Timer::PreStopDelay => {
                self.delay_over = true;
                self.pre_stop_may_end(now);
            }
            Timer::FirstLook => {
                self.looked = true;
                self.pre_stop_may_end(now);
            }
            Timer::Hold => {
                self.act(Action::HoldTimedOut { signal: self.app_signal() });
                self.drain(now);
            }
            Timer::Escalate => self.escalate(now),
            Timer::LookAfter => self.undelivered(0),
            // After the app and its leftovers are gone, only post-stop hooks are there, and they have until E.
            Timer::Kill => self.kill(now),
            Timer::KillAgain => {
                self.act(Action::KillEverything);
                self.act(Action::Look);
                self.timers.set(Timer::KillAgain, now.saturating_add(KILL_AGAIN));
            }
            Timer::End => self.end(),
        }
    }

    fn startup_late(&mut self, now: Duration) {
        let Some((after, stop)) = self.plan.startup else { return };
        let (ready, hooks) = (!self.waits_for_ready, !self.post_start_hooks_run);
        self.act(Action::Record(Event::StartupLate { after, stop, ready, hooks }));
        if stop && self.phase == Phase::Running {
            self.stop(now, Signal::TERM, StopCause::StartupTimeout);
        }
    }
}

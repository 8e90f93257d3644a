//! A lifecycle under watch: after every input all invariants are checked, from outside, by what went in and came out.

use super::*;

/// How the app looks from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    NotAsked,
    Asked,
    Running,
    Gone,
}

/// A lifecycle that is watched.
#[derive(Clone)]
pub(super) struct Watched {
    pub(super) life: Lifecycle,
    /// What the last input led to.
    pub(super) actions: Vec<Action>,
    app: Seen,
    /// The first status that was told.
    status: Option<ExitStatus>,
    phase: Phase,
    t0: Option<Duration>,
    /// Since the stop began somebody hurried: SIGINT, or a stop signal that the app has from the terminal.
    hurry: bool,
    /// It showed no life, and is stopped for that.
    hung: bool,
    /// Another run of the app takes its place, or was to.
    stays: bool,
    /// No process was left at the last count.
    none_left: bool,
    stop_sent: bool,
    killed: Option<Duration>,
    /// The most that the caller's timers were said to be late.
    late: Duration,
    hold: bool,
    hooks_run: [bool; 5],
    done: bool,
}

type Check = Result<(), String>;

fn ensure(holds: bool, what: &str) -> Check {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

impl Watched {
    pub(super) fn new(plan: StopPlan) -> Result<Watched, String> {
        let mut watched = Watched {
            life: Lifecycle::new(plan),
            actions: Vec::new(),
            app: Seen::NotAsked,
            status: None,
            phase: Phase::PreStart,
            t0: None,
            hurry: false,
            hung: false,
            stays: false,
            none_left: false,
            stop_sent: false,
            killed: None,
            late: Duration::ZERO,
            hold: false,
            hooks_run: [false; 5],
            done: false,
        };
        watched.drain(Duration::ZERO, Input::Tick)?;
        Ok(watched)
    }

    /// One input, and everything that must hold after it.
    pub(super) fn feed(&mut self, now: Duration, input: Input) -> Check {
        let (before, deadline) = (self.phase, self.deadline());
        self.note_input(input);
        self.life.handle(now, input);
        self.drain(now, input)?;
        self.hurry |= self.t0.is_some() && self.hurries(input);
        self.signals_are_not_lost(before, input)?;
        self.nobody_holds_up_the_end(before, input)?;
        // What a due timer does is not the signal's doing.
        if deadline.is_none_or(|at| at > now) {
            self.only_stop_signals_stop(input)?;
            self.machines_hurry_nothing(before, deadline, input)?;
        }
        self.deadlines_hold(now)
    }

    /// When nobody is left who can be waited for, nothing is waited for, neither K nor a signal that nobody would hear,
    /// except for what the app has left to the kernel.
    fn nobody_holds_up_the_end(&self, before: Phase, input: Input) -> Check {
        let last =
            before == Phase::Leftovers || before == Phase::Kill && matches!(self.app, Seen::NotAsked | Seen::Gone);
        let delivers = self.life.delivers || self.life.plan.delivers && self.actions.contains(&Action::Look);
        ensure(!last || input != Input::Left(0) || self.phase > Phase::Kill || delivers, "who is left holds up the end")
    }

    /// When the world must feed a tick.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.life.poll_deadline()
    }

    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    pub(super) fn kill_at(&self) -> Option<Duration> {
        let Budget { grace_period, kill_margin, .. } = self.life.plan.budget;
        Some(self.t0?.saturating_add(grace_period.saturating_sub(kill_margin)))
    }

    /// K, less what the caller's timers were said to be late, of which a quarter of the budget counts at most.
    fn earliest_kill(&self) -> Option<Duration> {
        let (kill_at, t0) = (self.kill_at()?, self.t0?);
        Some(kill_at.saturating_sub(self.late.min(kill_at.saturating_sub(t0) / 4)))
    }

    fn note_input(&mut self, input: Input) {
        match input {
            Input::Started if self.app == Seen::Asked => self.app = Seen::Running,
            Input::SpawnFailed(_) if self.app == Seen::Asked => self.app = Seen::Gone,
            Input::AppExited(status) if self.app == Seen::Running && !self.done => {
                self.app = Seen::Gone;
                self.status = Some(status);
            }
            Input::Late(lead) => self.late = self.late.max(lead),
            Input::Tick
            | Input::Started
            | Input::SpawnFailed(_)
            | Input::AppExited(_)
            | Input::Signal { .. }
            | Input::HooksDone { .. }
            | Input::HoldOver
            | Input::InFlight(_)
            | Input::NoHandler
            | Input::Undelivered(_)
            | Input::Ready => {}
            Input::Hung if self.phase == Phase::Running => (self.hurry, self.hung) = (true, true),
            Input::NotReady if self.phase == Phase::Running => {
                (self.hurry, self.hung, self.stays) = (true, true, true);
            }
            Input::Replaced if self.phase == Phase::Running => (self.hurry, self.stays) = (true, true),
            Input::Hung | Input::NotReady | Input::Replaced => {}
            Input::NothingListens => self.hurry |= self.life.plan.delay_is_for_listeners,
            Input::Left(count) => self.none_left = count == 0,
        }
    }

    fn drain(&mut self, now: Duration, input: Input) -> Check {
        self.actions.clear();
        while let Some(action) = self.life.poll_action() {
            ensure(!self.done, "an action after Exit")?;
            self.note_action(now, input, &action)?;
            self.actions.push(action);
        }
        ensure(self.phase == self.life.phase(), "the phase changed without an event")
    }

    fn note_action(&mut self, now: Duration, input: Input, action: &Action) -> Check {
        match action {
            Action::Spawn => {
                ensure(self.app == Seen::NotAsked, "a second Spawn")?;
                ensure(self.t0.is_none(), "Spawn after a stop signal")?;
                self.app = Seen::Asked;
            }
            Action::RunHooks(stage) => self.hooks_may_run(*stage)?,
            Action::SignalApp { reason, .. } => self.app_may_get(*reason)?,
            Action::StopApp { shared, .. } => self.app_may_be_stopped(now, input, *shared)?,
            Action::StartHold { until } => {
                ensure(self.phase == Phase::Hold && !self.hold, "a hold out of place")?;
                ensure(!self.hung, "a hold for what does not answer")?;
                ensure(*until >= now && Some(*until) <= self.kill_at().max(Some(now)), "a hold beyond K")?;
                self.hold = true;
            }
            Action::HoldTimedOut { .. } => {
                ensure(self.phase == Phase::Hold && self.hold, "the end of the time of no hold")?;
            }
            Action::EndHold => ensure(std::mem::take(&mut self.hold), "the end of no hold")?,
            Action::WatchInFlight | Action::WatchReadiness | Action::CreateDrainFile => {
                ensure(self.phase == Phase::PreStop, "the stop's first steps outside of PreStop")?;
                ensure(!self.stays || *action == Action::WatchInFlight, "a replaced run tells of its leave")?;
            }
            Action::Look => ensure(self.app != Seen::Running || self.phase == Phase::Kill, "Look while the app runs")?,
            Action::LookAfter => {
                ensure(self.app == Seen::Gone && self.phase == Phase::Leftovers, "a look after an app that is there")?;
                ensure(self.life.plan.delivers, "a look that nobody wants")?;
            }
            Action::SignalLeftovers(_) => {
                ensure(self.app != Seen::Running && self.phase == Phase::Leftovers, "leftovers while the app runs")?;
            }
            Action::KillEverything => {
                ensure(self.earliest_kill().is_some_and(|at| at <= now), "SIGKILL before K")?;
                self.killed.get_or_insert(now);
            }
            Action::Record(event) => self.note_event(now, input, event)?,
            Action::Exit(outcome) => self.may_exit(now, *outcome)?,
            Action::SignalHooks(_) | Action::NoMoreHooks | Action::CancelHooks(_) => {}
        }
        Ok(())
    }

    fn hooks_may_run(&mut self, stage: Stage) -> Check {
        ensure(self.life.plan.hooks.contains(&stage), "hooks that are not there")?;
        ensure(!std::mem::replace(&mut self.hooks_run[stage as usize], true), "the hooks of a stage twice")?;
        let phase = match stage {
            Stage::PreStart => Phase::PreStart,
            Stage::PostStart | Stage::Ready => Phase::Running,
            Stage::PreStop => Phase::PreStop,
            Stage::PostStop => Phase::PostStop,
        };
        ensure(self.phase == phase, "hooks in another phase")
    }

    /// Whether it is a stop signal: those of the plan, except what a terminal sends by itself.
    fn is_stop(&self, input: Input) -> bool {
        let Input::Signal { signal, source, .. } = input else { return false };
        let terminals = [Signal::WINCH, Signal::TSTP, Signal::TTIN, Signal::TTOU, Signal::CONT];
        self.life.plan.stop_on.contains(signal)
            && (matches!(source, SignalSource::Process | SignalSource::Outside) || !terminals.contains(&signal))
    }

    fn hurries(&self, input: Input) -> bool {
        let Input::Signal { signal, source, .. } = input else { return false };
        self.is_stop(input) && (signal == Signal::INT || source == SignalSource::Shared)
    }

    fn app_may_be_stopped(&mut self, now: Duration, input: Input, shared: bool) -> Check {
        ensure(self.app == Seen::Running, "an app that does not run is stopped")?;
        let Some(t0) = self.t0 else { return Err("the app is stopped before t0".to_owned()) };
        let waited = now >= t0.saturating_add(self.life.plan.budget.pre_stop_delay);
        let hurried = self.hurry || self.hurries(input);
        ensure(waited || hurried, "the app is stopped before the pre-stop delay was over")?;
        ensure(!shared || hurried, "the app is said to know what nobody told it")?;
        ensure(self.phase == Phase::Drain, "the app is stopped outside of Drain")?;
        ensure(!std::mem::replace(&mut self.stop_sent, true), "the app is stopped twice")
    }

    fn app_may_get(&mut self, reason: SignalReason) -> Check {
        ensure(self.app == Seen::Running, "a signal to an app that does not run")?;
        match reason {
            SignalReason::Again | SignalReason::Escalation => {
                ensure(self.phase == Phase::Drain, "another stop signal or an escalation outside of Drain")
            }
            SignalReason::Forwarded => Ok(()),
            SignalReason::Stop => Err("the app is stopped by an action of its own".to_owned()),
            SignalReason::JobControl => Err("job control is not the lifecycle's".to_owned()),
        }
    }

    /// Whatever comes that is not in the plan's list begins no stop.
    fn only_stop_signals_stop(&self, input: Input) -> Check {
        let began = self.actions.iter().any(|action| matches!(action, Action::Record(Event::StopBegan { .. })));
        let foreign = matches!(input, Input::Signal { .. }) && !self.is_stop(input);
        ensure(!began || !foreign, "a signal that is not a stop signal began the stop")
    }

    /// A stop signal that comes again, any number of times, changes no deadline and ends no phase; SIGINT is a
    /// person's.
    fn machines_hurry_nothing(&self, before: Phase, deadline: Option<Duration>, input: Input) -> Check {
        let began = self.actions.iter().any(|action| matches!(action, Action::Record(Event::StopBegan { .. })));
        if self.t0.is_none() || began || !self.is_stop(input) || self.hurries(input) {
            return Ok(());
        }
        ensure(self.phase == before, "a repeated stop signal ended a phase")?;
        ensure(self.deadline() == deadline, "a repeated stop signal changed a deadline")
    }

    fn note_event(&mut self, now: Duration, input: Input, event: &Event) -> Check {
        match event {
            Event::PhaseBegan { phase } => {
                ensure(*phase > self.phase, "a phase after a later one")?;
                ensure(*phase != Phase::Leftovers || self.app != Seen::Running, "Leftovers while the app runs")?;
                // At K, or as much earlier as SIGKILL comes, nobody looks again.
                let at_k = self.none_left && self.earliest_kill().is_some_and(|at| at <= now);
                let nothing_left = input == Input::Left(0) || self.life.plan.leave_leftovers || at_k;
                ensure(*phase != Phase::PostStop || nothing_left, "PostStop before all was gone")?;
                self.phase = *phase;
            }
            Event::StopBegan { .. } => {
                ensure(self.t0.replace(now).is_none(), "the stop began twice")?;
                ensure(self.life.t0() == Some(now), "t0 is not when the stop began")?;
            }
            Event::AppExited { status, .. } => ensure(self.status == Some(*status), "another exit than the app's")?,
            // The others depend on nothing but the story.
            _ => {}
        }
        Ok(())
    }

    fn may_exit(&mut self, now: Duration, outcome: Outcome) -> Check {
        self.done = true;
        ensure(self.phase == Phase::Done && !self.hold, "Exit before Done")?;
        if matches!(self.app, Seen::Running | Seen::Asked) {
            let killed = self.killed.is_some_and(|at| now >= at.saturating_add(LEAST_END));
            ensure(killed, "Exit before the app, without SIGKILL and time to die of it")?;
        }
        match (outcome, self.status) {
            (Outcome::App(told), Some(status)) => ensure(told == status, "another status than the app's"),
            (Outcome::App(_), None) => Err("the status of an app that has not exited".to_owned()),
            (Outcome::NotStarted(_), _) => {
                ensure(matches!(self.app, Seen::NotAsked | Seen::Gone) && self.status.is_none(), "it was started")
            }
            (Outcome::Stuck, status) => ensure(status.is_none(), "stuck, although the app has exited"),
        }
    }

    /// Each signal that came while the app ran has gone to it, or was dropped on request, or was there before.
    fn signals_are_not_lost(&self, before: Phase, input: Input) -> Check {
        let forwarded = |action: &&Action| {
            matches!(
                action,
                Action::SignalApp { reason: SignalReason::Forwarded, .. }
                    | Action::Record(Event::SignalDropped { .. } | Event::ResizeDropped)
            )
        };
        let again = |action: &&Action| matches!(action, Action::SignalApp { reason: SignalReason::Again, .. });
        let count = self.actions.iter().filter(forwarded).count();
        let Input::Signal { source, .. } = input else {
            // What came before the app ran is the app's when it does.
            return ensure(count == 0 || input == Input::Started, "a signal that nobody sent");
        };
        let (stop, shared) = (self.is_stop(input), source == SignalSource::Shared);
        let due = self.app == Seen::Running && !stop && !shared && before != Phase::Done;
        ensure(count == usize::from(due), "a signal was lost or doubled")?;
        let again = self.actions.iter().filter(again).count();
        let due = before == Phase::Drain && stop && !shared;
        ensure(again >= usize::from(due) && again <= 1, "another stop signal was lost or doubled")
    }

    fn deadlines_hold(&self, now: Duration) -> Check {
        let deadline = self.deadline();
        ensure(deadline.is_none_or(|at| at > now), "a deadline in the past: the caller would spin")?;
        if self.done {
            return ensure(deadline.is_none(), "a deadline after the end");
        }
        let Some(kill_at) = self.kill_at() else {
            let startup = self.phase == Phase::Running && self.life.plan.startup.is_some();
            return ensure(deadline.is_none() || startup, "idle, but a timer runs");
        };
        ensure(deadline.is_some(), "no deadline although the stop has begun")?;
        let over = self.phase >= Phase::Kill;
        ensure(over || deadline <= Some(kill_at), "nothing would wake the caller at K")?;
        ensure(over || now < kill_at, "K has passed without SIGKILL")?;
        ensure(self.phase != Phase::Kill || self.killed.is_some(), "Kill without SIGKILL")
    }
}

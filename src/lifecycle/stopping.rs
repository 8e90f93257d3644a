//! From t0 to the app's signal and its escalations: PreStop, Hold, Drain.

use super::timer::Timer;
use super::{Action, FIRST_LOOK, Haste, HoldPlan, Lifecycle, SignalSource, TO_DIE};
use crate::signal::{Signal, SignalSet};
use crate::timeline::{Event, Phase, SignalReason, Stage, StopCause};
use std::time::Duration;

impl Lifecycle {
    /// t0 of a running app.
    pub(super) fn stop(&mut self, now: Duration, signal: Signal, cause: StopCause) {
        self.stop_signal = Some(signal);
        self.begin(now, cause);
        self.enter(Phase::PreStop);
        self.cancel_hooks(&[Stage::PostStart, Stage::Ready]);
        // If another run takes the place of this one, the app as such stays: whoever routes is told nothing.
        let leaves = !matches!(cause, StopCause::Replaced | StopCause::NotReady);
        if leaves {
            self.act(Action::CreateDrainFile);
        }
        self.act(Action::WatchInFlight);
        if leaves {
            self.act(Action::WatchReadiness);
        }
        self.pre_stop_hooks_run = leaves && self.run_hooks(Stage::PreStop);
        self.delay_over = self.skips_delay(signal) || self.plan.budget.pre_stop_delay.is_zero();
        if !self.delay_over {
            self.timers
                .set(Timer::PreStopDelay, self.t0.unwrap_or(now).saturating_add(self.plan.budget.pre_stop_delay));
        }
        if self.plan.hold.is_some_and(|hold| hold.watches) && !self.has_one_already() && self.haste != Haste::Useless {
            self.timers.set(Timer::FirstLook, now.saturating_add(FIRST_LOOK));
        } else {
            self.looked = true;
        }
        self.pre_stop_may_end(now);
    }

    /// Stops it although no signal has come.
    pub(super) fn stop_early(&mut self, now: Duration, haste: Haste, cause: StopCause) {
        if self.phase == Phase::Running {
            self.haste = haste;
            self.stop(now, Signal::TERM, cause);
        }
    }

    /// The same for a run that is not ready; it may not even have been started.
    pub(super) fn not_ready(&mut self, now: Duration) {
        if self.phase == Phase::PreStart {
            self.stop_requested(now, Signal::TERM, SignalSource::Process);
        } else {
            self.stop_early(now, Haste::Useless, StopCause::NotReady);
        }
    }

    pub(super) fn in_flight(&mut self, now: Duration, is: bool) {
        self.in_flight = Some(is);
        if self.phase == Phase::PreStop && !std::mem::replace(&mut self.looked, true) {
            self.timers.clear(Timer::FirstLook);
            self.pre_stop_may_end(now);
        }
    }

    /// Nobody routes requests to the app: there is nothing that a delay could be good for.
    pub(super) fn nothing_listens(&mut self, now: Duration) {
        if self.phase == Phase::PreStop && self.plan.delay_is_for_listeners && !self.delay_over {
            self.delay_over = true;
            self.timers.clear(Timer::PreStopDelay);
            self.act(Action::Record(Event::NothingListens));
            self.pre_stop_may_end(now);
        }
    }

    /// The hold may last as long as there is anything to wait for but the death of the app.
    pub(super) fn no_handler(&mut self, now: Duration) {
        self.no_handler = true;
        if let (Phase::Hold, Some(hold)) = (self.phase, self.plan.hold) {
            let until = self.hold_until(now, hold);
            self.timers.set(Timer::Hold, until);
        }
    }

    /// Whether the delay is skipped: a person at a terminal is waiting; and a delay for an app that has its signal
    /// already delays nothing.
    fn skips_delay(&self, signal: Signal) -> bool {
        signal == Signal::INT || self.has_one_already() || self.haste != Haste::None
    }

    /// A stop signal while the app is left alone. Only SIGINT hurries, and what the terminal has given to the app.
    pub(super) fn asked_again(&mut self, now: Duration, signal: Signal, shared: bool) {
        let hurries = signal == Signal::INT || shared;
        match self.phase {
            Phase::PreStop if hurries && !self.delay_over => {
                self.act(Action::Record(Event::DelaySkipped { signal }));
                self.delay_over = true;
                self.timers.clear(Timer::PreStopDelay);
                self.pre_stop_may_end(now);
            }
            phase @ (Phase::PreStop | Phase::Hold) if hurries => {
                self.act(Action::Record(Event::PhaseCutShort { phase, signal }));
                self.drain(now);
            }
            Phase::PreStart
            | Phase::Running
            | Phase::PreStop
            | Phase::Hold
            | Phase::Drain
            | Phase::Leftovers
            | Phase::Kill
            | Phase::PostStop
            | Phase::Done => self.act(Action::Record(Event::StopRepeated { signal })),
        }
    }

    pub(super) fn pre_stop_may_end(&mut self, now: Duration) {
        if self.delay_over && !self.pre_stop_hooks_run && self.looked {
            self.hold_or_drain(now);
        }
    }

    fn hold_or_drain(&mut self, now: Duration) {
        let nothing = |hold: HoldPlan| hold.watches && self.in_flight == Some(false);
        match self.plan.hold {
            Some(hold) if !self.has_one_already() && self.haste != Haste::Useless && !nothing(hold) => {
                self.hold(now, hold)
            }
            Some(_) | None => self.drain(now),
        }
    }

    fn hold(&mut self, now: Duration, hold: HoldPlan) {
        let until = self.hold_until(now, hold);
        self.timers.clear(Timer::FirstLook);
        self.enter(Phase::Hold);
        self.timers.set(Timer::Hold, until);
        self.act(Action::StartHold { until });
    }

    fn hold_until(&self, now: Duration, hold: HoldPlan) -> Duration {
        // The app's own time to shut down ends where the first escalation or SIGKILL comes.
        let kill_at = self.kill_at().unwrap_or(now);
        let first = self
            .t0
            .zip(self.plan.escalate.first())
            .map_or(kill_at, |(t0, (after, _))| kill_at.min(t0.saturating_add(*after)));
        let left = first.saturating_sub(now);
        let reserve = if self.no_handler { Some(TO_DIE) } else { self.plan.hold_reserve };
        let default = reserve.map_or(left / 2, |reserve| left.saturating_sub(reserve).max(left / 2));
        now.saturating_add(hold.timeout.unwrap_or(default).min(left))
    }

    pub(super) fn drain(&mut self, now: Duration) {
        self.end_hold();
        self.timers.clear(Timer::PreStopDelay);
        self.timers.clear(Timer::FirstLook);
        self.enter(Phase::Drain);
        let signal = self.app_signal();
        let has_one = self.plan.stop_signal_is_default && self.has_one_already();
        self.act(Action::StopApp { signal, shared: has_one || self.shared.contains(signal) });
        self.set_escalation(now);
    }

    /// Whether the terminal has given the app a stop signal: then there is nothing left to delay.
    pub(super) fn has_one_already(&self) -> bool {
        self.shared != SignalSet::EMPTY
    }

    pub(super) fn end_hold(&mut self) {
        if self.phase == Phase::Hold {
            self.timers.clear(Timer::Hold);
            self.act(Action::EndHold);
        }
    }

    fn set_escalation(&mut self, now: Duration) {
        if let (Some(t0), Some((after, _))) = (self.t0, self.plan.escalate.get(self.next_escalation)) {
            self.timers.set(Timer::Escalate, t0.saturating_add(*after).max(now));
        }
    }

    pub(super) fn escalate(&mut self, now: Duration) {
        if let Some((_, signal)) = self.plan.escalate.get(self.next_escalation).copied() {
            self.act(Action::SignalApp { signal, reason: SignalReason::Escalation, value: None, from_outside: false });
            self.next_escalation += 1;
            self.set_escalation(now);
        }
    }
}

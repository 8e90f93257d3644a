//! From the app's end, or K, to the exit: Leftovers, Kill, PostStop, Done.

use super::timer::Timer;
use super::{Action, App, FIRST_LOOK, KILL_AGAIN, Lifecycle, Outcome};
use crate::signal::Signal;
use crate::status::{self, ExitStatus};
use crate::timeline::{Event, Phase, Stage, StopCause};
use std::time::Duration;

/// The stages whose hooks may still run when the app is gone.
const BEFORE_THE_END: [Stage; 4] = [Stage::PreStart, Stage::PostStart, Stage::Ready, Stage::PreStop];

impl Lifecycle {
    pub(super) fn app_exited(&mut self, now: Duration, status: ExitStatus) {
        if self.app != App::Running {
            return;
        }
        self.app = App::Gone;
        self.outcome.get_or_insert(Outcome::App(status));
        let told = self.phase >= Phase::Drain || self.has_one_already() || self.has_survived_a_key(now);
        self.act(Action::Record(Event::AppExited { status, phase: self.phase, told, hint: None }));
        match self.phase {
            Phase::Running | Phase::PreStop | Phase::Hold | Phase::Drain => {
                self.end_hold();
                // Only in a stop: nobody knows where an app that ended by itself listened.
                let delivers = self.plan.delivers && self.t0.is_some();
                self.begin(now, StopCause::AppExited);
                self.leftovers();
                if delivers && self.phase == Phase::Leftovers {
                    self.delivers = true;
                    self.timers.set(Timer::LookAfter, now.saturating_add(FIRST_LOOK));
                    self.act(Action::LookAfter);
                }
            }
            Phase::Kill if self.plan.leave_leftovers => self.post_stop(),
            Phase::Kill => self.act(Action::Look),
            // Not reached with a running app.
            Phase::PreStart | Phase::Leftovers | Phase::PostStop | Phase::Done => {}
        }
    }

    pub(super) fn leftovers(&mut self) {
        for timer in [Timer::Startup, Timer::PreStopDelay, Timer::FirstLook, Timer::Escalate] {
            self.timers.clear(timer);
        }
        self.enter(Phase::Leftovers);
        if self.plan.leave_leftovers {
            self.cancel_hooks(&BEFORE_THE_END);
            self.post_stop();
        } else {
            // Hooks that run are processes that are left, as others are.
            self.no_more_hooks();
            self.act(Action::Look);
        }
    }

    /// Cancels the hooks of these stages, if there are any. Hooks are graceful's own, and never left behind.
    pub(super) fn cancel_hooks(&mut self, stages: &[Stage]) {
        for stage in stages {
            if self.plan.hooks.contains(stage) {
                self.act(Action::CancelHooks(*stage));
            }
        }
    }

    pub(super) fn left(&mut self, now: Duration, count: usize) {
        match self.phase {
            Phase::Leftovers if count == 0 => {
                self.none_left = true;
                if !self.delivers {
                    self.post_stop();
                }
            }
            Phase::Leftovers => {
                self.none_left = false;
                if !self.leftovers_told {
                    self.leftovers_told = true;
                    self.act(Action::Record(Event::LeftoversFound { count }));
                    self.act(Action::SignalLeftovers(Signal::TERM));
                }
            }
            Phase::Kill if count == 0 && matches!(self.app, App::NotStarted | App::Gone) => self.post_stop(),
            // Sending SIGKILL to a whole tree may have taken long; a process that has it still needs a moment to be
            // reaped.
            Phase::Kill if !std::mem::replace(&mut self.sigkill_looked_at, true) => {
                let end_at = self.end_after_kill(now);
                self.timers.set(Timer::End, end_at);
            }
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

    /// Once none is undelivered, the processes that have come meanwhile count again.
    pub(super) fn undelivered(&mut self, count: usize) {
        self.timers.clear(Timer::LookAfter);
        if count == 0 && std::mem::take(&mut self.delivers) && self.phase == Phase::Leftovers && self.none_left {
            self.act(Action::Look);
        }
    }

    pub(super) fn kill(&mut self, now: Duration) {
        if std::mem::take(&mut self.delivers) && self.none_left {
            // Whom could it kill?
            self.timers.clear(Timer::LookAfter);
            return self.post_stop();
        }
        self.end_hold();
        self.timers.clear_all();
        self.enter(Phase::Kill);
        // A graceful that was itself frozen past E (`docker pause`, a stopped virtual machine) still has to reap.
        let end_at = self.end_after_kill(now);
        self.timers.set(Timer::End, end_at);
        self.timers.set(Timer::KillAgain, now.saturating_add(KILL_AGAIN));
        self.no_more_hooks();
        if self.plan.leave_leftovers {
            self.cancel_hooks(&BEFORE_THE_END);
        }
        self.act(Action::KillEverything);
        self.act(Action::Look);
    }

    fn post_stop(&mut self) {
        self.timers.clear(Timer::Kill);
        self.timers.clear(Timer::KillAgain);
        // After Kill the end is set already.
        if let (false, Some(end_at)) = (self.phase == Phase::Kill, self.end_at()) {
            self.timers.set(Timer::End, end_at);
        }
        self.enter(Phase::PostStop);
        if !self.run_hooks(Stage::PostStop) {
            self.done();
        }
    }

    pub(super) fn done(&mut self) {
        self.timers.clear_all();
        self.enter(Phase::Done);
        let outcome = *self.outcome.get_or_insert(match self.app {
            // K came while a stop signal waited for the pre-start hooks.
            App::NotStarted => Outcome::NotStarted(
                self.stop_signal.map_or(status::FAILURE, |signal| ExitStatus::Signaled(signal).code()),
            ),
            App::Starting | App::Running | App::Gone => Outcome::Stuck,
        });
        self.act(Action::Exit(outcome));
    }

    /// E: whatever does not die or does not end is left behind.
    pub(super) fn end(&mut self) {
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

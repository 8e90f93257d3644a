//! One app, many generations: who starts, who counts, who stops, when it is tried again and when it is given up. A state
//! machine without I/O, clock, async or libc, above the [`Lifecycle`](crate::lifecycle::Lifecycle) that each generation has of
//! its own.
//!
//! A generation is one run of the command with its tree. The one that *counts* is the app to the world: it gets new
//! connections and the signals, and its end is what graceful ends with. A generation that is alone counts from its start on;
//! one that was started beside another counts when it is ready.
//!
//! The caller's loop is that of the lifecycle: an input, or a tick at [`Generations::poll_deadline`], then
//! [`Generations::poll_action`] until there is none.
//!
//! # States
//!
//! ```text
//!            ┌───────────────── time, or a reload ──────────────────┐
//!            ▼                                                      │
//!        ┌─ Alone ──── it ends, and is to be started again ────► Waiting ─── stop ──► Over
//!        │   │  ▲ ▲                                                 ▲
//!        │   │  │ └── the new one fails ── Reloading                │
//!        │   └──│──────── reload ────────► │   │                    │
//!        │      │                    ready │   │ not ready in time  │
//!        │      └─ the other is gone ─ Retiring ◄──── it ends ──────┘
//!        │                                 │
//!        └── stop, or it ends for good ────┴──► Ending ── all are gone ──► Over
//! ```
//!
//! Two are there at once at most: in Reloading the one that counts and its successor, in Retiring the one that counts and the one
//! that is being stopped (the old one after a reload, the new one after a reload that failed).
//!
//! # Every state against every input
//!
//! "it" is the generation that counts, "the other" the second one.
//!
//! | state | ready | it failed to start, or ended | the other did | it is stuck | reload | not ready in time | hung | stop | tick |
//! | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
//! | Alone | - | Waiting, or given up | - | given up | start: Reloading | - | stop it | Ending | - |
//! | Reloading | the other: promote it, stop the old: Retiring | promote the other: Alone | Alone | promote the other: Alone | afterwards | stop the other: Retiring | stop it | stop both: Ending | - |
//! | Retiring | - | Waiting, or Ending | Alone, or the reload that waits | Ending | afterwards | - | stop it | stop both: Ending | - |
//! | Waiting | - | - | noted | - | start: Alone, Retiring | - | - | given up, or Ending | at its time, start: Alone, Retiring |
//! | Ending | - | the last one: given up | the same | the same | - | - | - | stop who is there, once | - |
//! | Over | - | - | - | - | - | - | - | - | - |
//!
//! "-" is said out loud in the code (no wildcard arm).
//!
//! # When it is tried again
//!
//! The app that ended by itself is started again if the plan says so of such an end; one that hung always, because that is what
//! was asked for. What could not be started the first time is not tried again: a typing error does not mend itself. Later it
//! is (the file is being replaced, there was no process to be had). The first pause is the plan's, each further one twice as
//! long up to the longest; a run longer than the longest begins anew, and so does a reload that succeeded. After so many tries
//! in a row it is given up. An app that not even SIGKILL ended is never started a second time beside itself.
//!
//! # What must never be
//!
//! Two generations that count. More than two that are there. A reload that fails and changes anything. A start after a stop
//! signal, or one of them that the signal does not stop. Another exit status than that of the generation that counted last. The
//! tests check these against random sequences.

#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

mod interface;

#[cfg(test)]
mod tests;

pub use interface::{GenerationAction, GenerationId, GenerationInput, GiveUpReason, RestartPlan, WhyStopped};

use crate::lifecycle::Outcome;
use crate::status;
use crate::timeline::GenerationCause;
use std::collections::VecDeque;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Alone { counts: GenerationId },
    Reloading { counts: GenerationId, next: GenerationId },
    Retiring { counts: GenerationId, old: GenerationId },
    Waiting { until: Duration, old: Option<GenerationId> },
    Ending { counts: Option<GenerationId>, other: Option<GenerationId>, why: GiveUpReason },
    Over,
}

/// How a generation ended, as far as it matters here.
#[derive(Clone, Copy)]
struct End {
    outcome: Outcome,
    clean: bool,
    ran: Duration,
}

/// The state of the machine.
#[derive(Clone, Debug)]
pub struct Generations {
    plan: RestartPlan,
    state: State,
    /// The youngest.
    newest: GenerationId,
    /// How often it was started again in a row.
    tries: u32,
    /// How the one that counted last ended.
    last: Option<Outcome>,
    /// The one that counts is stopped for being hung, to be started again.
    hung: bool,
    /// A reload was asked for while one goes on.
    reload_again: bool,
    /// A stop signal has come.
    stopped: bool,
    actions: VecDeque<GenerationAction>,
}

impl Generations {
    /// Begins: the first actions can be polled at once.
    pub fn new(plan: RestartPlan) -> Generations {
        let first = GenerationId::FIRST;
        let mut generations = Generations {
            plan,
            state: State::Alone { counts: first },
            newest: first,
            tries: 0,
            last: None,
            hung: false,
            reload_again: false,
            stopped: false,
            actions: VecDeque::new(),
        };
        generations.act(GenerationAction::Start { generation: first, cause: GenerationCause::Start });
        generations.act(GenerationAction::Promote(first));
        generations
    }

    /// Takes one fact; `now` never goes back.
    pub fn handle(&mut self, now: Duration, input: GenerationInput) {
        match input {
            GenerationInput::Ready(generation) => self.ready(generation),
            GenerationInput::Failed { generation, code } => {
                let end = End { outcome: Outcome::NotStarted(code), clean: false, ran: Duration::ZERO };
                self.ended(now, generation, end);
            }
            GenerationInput::Exited { generation, status, clean, ran } => {
                self.ended(now, generation, End { outcome: Outcome::App(status), clean, ran });
            }
            GenerationInput::Stuck(generation) => {
                let end = End { outcome: Outcome::Stuck, clean: false, ran: Duration::ZERO };
                self.ended(now, generation, end);
            }
            GenerationInput::Reload => self.reload(),
            GenerationInput::Late(generation) => self.late(generation),
            GenerationInput::Hung(generation) => self.hung(generation),
            GenerationInput::Stop => self.stop(),
            GenerationInput::Tick => {}
        }
        if let State::Waiting { until, old } = self.state
            && until <= now
        {
            self.start_alone(GenerationCause::Restart, old);
        }
    }

    /// The next thing to do; `None` when all is done until the next input.
    pub fn poll_action(&mut self) -> Option<GenerationAction> {
        self.actions.pop_front()
    }

    /// When to call [`Generations::handle`] with a Tick at the latest.
    pub fn poll_deadline(&self) -> Option<Duration> {
        match self.state {
            State::Waiting { until, .. } => Some(until),
            State::Alone { .. }
            | State::Reloading { .. }
            | State::Retiring { .. }
            | State::Ending { .. }
            | State::Over => None,
        }
    }

    /// Nothing runs that counts, and something will.
    pub fn is_waiting(&self) -> bool {
        self.poll_deadline().is_some()
    }

    /// Whether the generation that counts would be followed by another if it ended now like this.
    pub fn would_go_on(&self, clean: bool, ran: Duration) -> bool {
        match self.state {
            State::Alone { .. } | State::Retiring { .. } => self.goes_on(clean, ran),
            State::Reloading { .. } | State::Waiting { .. } => true,
            State::Ending { .. } | State::Over => false,
        }
    }

    /// How often the one that counts, or is waited for, was started again in a row.
    pub fn tries(&self) -> u32 {
        self.tries
    }

    fn act(&mut self, action: GenerationAction) {
        self.actions.push_back(action);
    }

    fn start(&mut self, cause: GenerationCause) -> GenerationId {
        self.newest = self.newest.next();
        self.reload_again = false;
        self.act(GenerationAction::Start { generation: self.newest, cause });
        self.newest
    }

    /// What is alone counts.
    fn start_alone(&mut self, cause: GenerationCause, old: Option<GenerationId>) {
        let counts = self.start(cause);
        self.promote(counts);
        self.state = match old {
            Some(old) => State::Retiring { counts, old },
            None => State::Alone { counts },
        };
    }

    fn promote(&mut self, generation: GenerationId) {
        self.hung = false;
        self.act(GenerationAction::Promote(generation));
    }

    fn stop_one(&mut self, generation: GenerationId, why: WhyStopped) {
        self.act(GenerationAction::Stop { generation, why });
    }

    fn ready(&mut self, generation: GenerationId) {
        match self.state {
            State::Reloading { counts, next } if next == generation => {
                self.tries = 0;
                self.promote(next);
                self.stop_one(counts, WhyStopped::Replaced);
                self.state = State::Retiring { counts: next, old: counts };
            }
            State::Alone { .. }
            | State::Reloading { .. }
            | State::Retiring { .. }
            | State::Waiting { .. }
            | State::Ending { .. }
            | State::Over => {}
        }
    }

    /// A second reload at once would need a third generation, and the one under way may know nothing of it.
    fn reload(&mut self) {
        match self.state {
            State::Alone { counts } => {
                let next = self.start(GenerationCause::Reload);
                self.state = State::Reloading { counts, next };
            }
            State::Reloading { .. } | State::Retiring { .. } => self.reload_again = true,
            State::Waiting { old, .. } => self.start_alone(GenerationCause::Reload, old),
            State::Ending { .. } | State::Over => {}
        }
    }

    /// A reload is over, with one generation left.
    fn alone(&mut self, counts: GenerationId) {
        self.state = State::Alone { counts };
        if self.reload_again {
            self.reload();
        }
    }

    fn late(&mut self, generation: GenerationId) {
        match self.state {
            State::Reloading { counts, next } if next == generation => {
                self.stop_one(next, WhyStopped::NotReady);
                self.state = State::Retiring { counts, old: next };
            }
            State::Alone { .. }
            | State::Reloading { .. }
            | State::Retiring { .. }
            | State::Waiting { .. }
            | State::Ending { .. }
            | State::Over => {}
        }
    }

    fn hung(&mut self, generation: GenerationId) {
        match self.state {
            State::Alone { counts } | State::Reloading { counts, .. } | State::Retiring { counts, .. }
                if counts == generation && !self.hung =>
            {
                self.hung = true;
                self.stop_one(counts, WhyStopped::Hung);
            }
            State::Alone { .. }
            | State::Reloading { .. }
            | State::Retiring { .. }
            | State::Waiting { .. }
            | State::Ending { .. }
            | State::Over => {}
        }
    }

    /// From here on nothing is started; whoever is there has one budget, that of this signal.
    fn stop(&mut self) {
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        let (counts, other, why) = match self.state {
            State::Alone { counts } => (Some(counts), None, GiveUpReason::Stopped),
            State::Reloading { counts, next: other } | State::Retiring { counts, old: other } => {
                (Some(counts), Some(other), GiveUpReason::Stopped)
            }
            State::Waiting { old, .. } => (None, old, GiveUpReason::Stopped),
            State::Ending { counts, other, why } => (counts, other, why),
            State::Over => return,
        };
        for generation in counts.into_iter().chain(other) {
            self.stop_one(generation, WhyStopped::Signal);
        }
        self.ending(counts, other, why);
    }

    /// Over, once nobody is there.
    fn ending(&mut self, counts: Option<GenerationId>, other: Option<GenerationId>, why: GiveUpReason) {
        if counts.is_some() || other.is_some() {
            self.state = State::Ending { counts, other, why };
            return;
        }
        self.state = State::Over;
        let outcome = self.last.unwrap_or(Outcome::NotStarted(status::FAILURE));
        self.act(GenerationAction::GiveUp { outcome, why });
    }

    fn ended(&mut self, now: Duration, generation: GenerationId, end: End) {
        match self.state {
            State::Alone { counts } if counts == generation => self.count_ended(now, end, None),
            State::Retiring { counts, old } if counts == generation => self.count_ended(now, end, Some(old)),
            State::Retiring { counts, old } if old == generation => self.alone(counts),
            State::Reloading { counts, next } if counts == generation => {
                // It is nearly there; and nobody else is.
                self.last = Some(end.outcome);
                self.promote(next);
                self.alone(next);
            }
            // A reload that failed changes nothing.
            State::Reloading { counts, next } if next == generation => self.alone(counts),
            State::Waiting { until, old: Some(old) } if old == generation => {
                self.state = State::Waiting { until, old: None };
            }
            State::Ending { counts: Some(counts), other, why } if counts == generation => {
                self.last = Some(end.outcome);
                self.ending(None, other, why);
            }
            State::Ending { counts, other: Some(other), why } if other == generation => {
                self.ending(counts, None, why);
            }
            // Of one that is not there.
            State::Alone { .. }
            | State::Reloading { .. }
            | State::Retiring { .. }
            | State::Waiting { .. }
            | State::Ending { .. }
            | State::Over => {}
        }
    }

    /// The one that counts has ended, and there is no successor.
    fn count_ended(&mut self, now: Duration, end: End, old: Option<GenerationId>) {
        self.last = Some(end.outcome);
        let End { outcome, clean, ran } = end;
        let never_started = matches!(outcome, Outcome::NotStarted(_)) && self.newest == GenerationId::FIRST;
        if never_started {
            return self.ending(None, old, GiveUpReason::NeverStarted);
        }
        if outcome == Outcome::Stuck {
            return self.ending(None, old, GiveUpReason::Stuck);
        }
        if !self.is_wanted(clean) {
            return self.ending(None, old, GiveUpReason::Ended);
        }
        if !self.goes_on(clean, ran) {
            return self.ending(None, old, GiveUpReason::Limit(self.tries));
        }
        if self.has_lasted(ran) {
            self.tries = 0;
        }
        let pause = self.pause();
        self.tries = self.tries.saturating_add(1);
        let until = now.saturating_add(pause);
        self.state = State::Waiting { until, old };
        self.act(GenerationAction::Wait { until, pause, tries: self.tries });
    }

    /// An end like this is followed by a new start, while the tries last.
    fn is_wanted(&self, clean: bool) -> bool {
        self.hung || if clean { self.plan.clean } else { self.plan.failed }
    }

    fn goes_on(&self, clean: bool, ran: Duration) -> bool {
        let left = self.has_lasted(ran) || self.plan.limit.is_none_or(|limit| self.tries < limit);
        self.is_wanted(clean) && left
    }

    /// So long that what came before it says nothing any more.
    fn has_lasted(&self, ran: Duration) -> bool {
        ran > self.plan.delay_max
    }

    fn pause(&self) -> Duration {
        let doubled = 1u32.checked_shl(self.tries).and_then(|times| self.plan.delay.checked_mul(times));
        doubled.unwrap_or(Duration::MAX).min(self.plan.delay_max)
    }
}

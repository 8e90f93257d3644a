//! The machine with somebody who watches it: every input and every action is checked against what must never be.

use super::*;
use std::collections::BTreeMap;

pub(super) type Check = Result<(), String>;

pub(super) fn ensure(holds: bool, what: &str) -> Check {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

#[derive(Clone)]
pub(super) struct Watched {
    pub(super) generations: Generations,
    /// The actions of the last input.
    pub(super) actions: Vec<GenerationAction>,
    /// Who is there, and why it was told to stop last.
    pub(super) there: BTreeMap<GenerationId, Option<WhyStopped>>,
    pub(super) counts: Option<GenerationId>,
    started: u64,
    last: Option<Outcome>,
    stopped: bool,
    waits: Option<Duration>,
    pub(super) over: Option<Outcome>,
}

impl Watched {
    pub(super) fn new(plan: RestartPlan) -> Result<Watched, String> {
        let mut watched = Watched {
            generations: Generations::new(plan),
            actions: Vec::new(),
            there: BTreeMap::new(),
            counts: None,
            started: 0,
            last: None,
            stopped: false,
            waits: None,
            over: None,
        };
        watched.drain(Duration::ZERO, GenerationInput::Tick)?;
        ensure(watched.counts == Some(GenerationId::FIRST), "the first one does not count")?;
        Ok(watched)
    }

    pub(super) fn feed(&mut self, now: Duration, input: GenerationInput) -> Check {
        let (counted, next) = (self.counts, self.other());
        let over = self.over.is_some();
        self.stopped |= input == GenerationInput::Stop;
        let ended = match input {
            GenerationInput::Exited { generation, status, .. } => Some((generation, Outcome::App(status))),
            GenerationInput::Failed { generation, code } => Some((generation, Outcome::NotStarted(code))),
            GenerationInput::Stuck(generation) => Some((generation, Outcome::Stuck)),
            _ => None,
        };
        if let Some((generation, outcome)) = ended
            && self.there.remove(&generation).is_some()
            && self.counts == Some(generation)
        {
            (self.last, self.counts) = (Some(outcome), None);
        }
        self.generations.handle(now, input);
        self.drain(now, input)?;
        ensure(!over || self.actions.is_empty(), "an action after the end")?;
        self.failed_reloads_change_nothing(counted, next, ended.map(|(generation, _)| generation))?;
        self.a_stop_stops_all(input)?;
        self.it_goes_on(now)
    }

    /// Who is there beside the one that counts.
    pub(super) fn other(&self) -> Option<GenerationId> {
        self.there.keys().copied().find(|generation| Some(*generation) != self.counts)
    }

    fn drain(&mut self, now: Duration, input: GenerationInput) -> Check {
        self.actions.clear();
        while let Some(action) = self.generations.poll_action() {
            self.actions.push(action);
        }
        for action in self.actions.clone() {
            self.check(now, input, action)?;
        }
        Ok(())
    }

    fn check(&mut self, now: Duration, input: GenerationInput, action: GenerationAction) -> Check {
        match action {
            GenerationAction::Start { generation, cause } => {
                ensure(!self.stopped, "a start after a stop signal")?;
                self.started += 1;
                ensure(generation == id(self.started), "a number was left out or taken twice")?;
                let early = self.waits.is_some_and(|until| now < until);
                ensure(!early || cause == GenerationCause::Reload, "a start before its time")?;
                ensure(input != GenerationInput::Reload || cause == GenerationCause::Reload, "it was a reload")?;
                self.there.insert(generation, None);
                ensure(self.there.len() <= 2, "three at once")?;
                self.waits = None;
            }
            GenerationAction::Promote(generation) => {
                let there = |old: &GenerationId| self.there.contains_key(old);
                if let Some(old) = self.counts.filter(there) {
                    let stop = GenerationAction::Stop { generation: old, why: WhyStopped::Replaced };
                    ensure(self.actions.contains(&stop), "two that count")?;
                    ensure(input == GenerationInput::Ready(generation), "promoted before it was ready")?;
                }
                ensure(self.there.contains_key(&generation), "who is promoted is not there")?;
                self.counts = Some(generation);
            }
            GenerationAction::Stop { generation, why } => {
                let told = self.there.get_mut(&generation).ok_or("who is stopped is not there")?;
                ensure(why != WhyStopped::Hung || input == GenerationInput::Hung(generation), "nobody said hung")?;
                ensure(*told != Some(why), "it is stopped twice for one reason")?;
                *told = Some(why);
            }
            GenerationAction::Wait { until, pause, tries } => {
                let RestartPlan { delay, delay_max, limit, .. } = self.generations.plan;
                ensure(pause >= delay && pause <= delay_max, "a pause that is not between the two")?;
                ensure(until == now.saturating_add(pause), "the pause does not begin now")?;
                ensure(tries >= 1 && limit.is_none_or(|limit| tries <= limit), "more tries than there are")?;
                ensure(self.counts.is_none() && !self.stopped, "a wait beside one that counts, or after a stop")?;
                self.waits = Some(until);
            }
            GenerationAction::GiveUp { outcome, .. } => {
                ensure(self.there.is_empty(), "given up while one is there")?;
                ensure(self.over.replace(outcome).is_none(), "given up twice")?;
                ensure(Some(outcome) == self.last, "another status than that of the one that counted last")?;
            }
        }
        Ok(())
    }

    /// The end of one that does not count says nothing to the one that does.
    fn failed_reloads_change_nothing(
        &self,
        counted: Option<GenerationId>,
        other: Option<GenerationId>,
        ended: Option<GenerationId>,
    ) -> Check {
        if counted.is_none() || other.is_none() || ended != other {
            return Ok(());
        }
        ensure(self.counts == counted, "the end of another changed who counts")?;
        let touched = |action: &GenerationAction| match action {
            GenerationAction::Stop { generation, .. } | GenerationAction::Promote(generation) => {
                Some(*generation) == counted
            }
            GenerationAction::Wait { .. } | GenerationAction::GiveUp { .. } => true,
            GenerationAction::Start { .. } => false,
        };
        ensure(!self.actions.iter().any(touched), "the end of another had consequences")
    }

    fn a_stop_stops_all(&self, input: GenerationInput) -> Check {
        if input != GenerationInput::Stop {
            return Ok(());
        }
        ensure(self.there.values().all(|told| *told == Some(WhyStopped::Signal)), "one is not stopped by the signal")
    }

    fn it_goes_on(&self, now: Duration) -> Check {
        let deadline = self.generations.poll_deadline();
        ensure(deadline.is_none_or(|at| at > now), "a deadline in the past: the caller would spin")?;
        ensure(deadline == self.waits.filter(|_| self.over.is_none() && !self.stopped), "a deadline without a wait")?;
        ensure(self.generations.is_waiting() == deadline.is_some(), "it waits for nothing")?;
        let idle = self.there.is_empty() && deadline.is_none();
        ensure(idle == self.over.is_some(), "nobody is there, nothing is waited for, and it is not over")?;
        let counts = self.counts.is_some() || deadline.is_some();
        // After the end of the one that counted for good, or a stop, another one may still be on its way.
        let leaving = matches!(self.generations.state, State::Ending { .. });
        ensure(counts || leaving || self.over.is_some(), "nobody counts")
    }
}

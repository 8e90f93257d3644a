//! Two runs of the app at once: a reload.
//!
//! ```text
//!   asked for ── the next run starts beside the one that counts, and gets nothing of what is new
//!                  │ ready                              │ ended, or not ready in time
//!                  ▼                                    ▼
//!             it counts: the kernel sends it          it is stopped, and nothing
//!             what is new; the old one is stopped,    has changed
//!             without delay, in a budget of its own
//! ```
//!
//! What the loop does it does for the run in `run`, which is the one that counts; [`Supervisor::on_beside`] has it do the same
//! for the other one, with the two changed over as long as that takes. What there is once (probes, terminal, the HTTP thread's
//! questions, `--report`) is the counting run's: code that touches it asks [`Supervisor::is_beside`].
//!
//! Of two runs each has its own processes ([`whose`](crate::sys::whose)), hooks, sockets, requests in flight, budget and
//! timeline. Lines of the log about the one that does not count say which it is.

use super::Supervisor;
use super::run::Successor;
use crate::config::ReadyCondition;
use crate::control::{LastReload, ReloadResult};
use crate::generations::{GenerationId, GenerationInput, WhyStopped};
use crate::http::Observation;
use crate::lifecycle::{Input, Outcome, SignalSource};
use crate::sys::tree::{self, Process};
use crate::sys::whose::Ownership;
use crate::timeline::{Event, GenerationCause, Phase, text};
use crate::worker::WorkerCommand;
use std::net::Ipv4Addr;
use std::time::Duration;

/// Alive for so long is ready, where `--ready-url` cannot be asked.
const ALIVE: Duration = Duration::from_secs(1);
/// From one question to the next, where `--ready-interval` is longer: requests wait for nobody, but whoever deploys does.
const CLOSE_LOOK: Duration = Duration::from_millis(100);

impl Supervisor {
    /// The run in focus is not the one that counts.
    pub(super) fn is_beside(&self) -> bool {
        self.changed_over
    }

    /// Does it for the run that does not count, if there is one.
    pub(super) fn on_beside<R>(&mut self, what: impl FnOnce(&mut Supervisor) -> R) -> Option<R> {
        if self.changed_over {
            return None;
        }
        self.change_over()?;
        self.changed_over = true;
        let result = what(self);
        self.changed_over = false;
        self.change_over()?;
        Some(result)
    }

    fn change_over(&mut self) -> Option<()> {
        std::mem::swap(&mut self.run, self.beside.as_mut()?);
        Some(())
    }

    /// Which processes are those of the run in focus; none where there is no other one: all are.
    pub(super) fn ownership(&self) -> Option<Ownership> {
        let other = self.beside.as_ref()?;
        Some(Ownership { this: self.run.owner(), other: other.owner(), counts: !self.changed_over })
    }

    /// Those of the run in focus.
    pub(super) fn own(&self, mut list: Vec<Process>) -> Vec<Process> {
        if let Some(of) = self.ownership() {
            of.keep(&mut list);
        }
        list
    }

    /// Whether this process is one of them.
    pub(super) fn is_own(&self, pid: i32) -> bool {
        let Some(of) = self.ownership() else { return true };
        tree::process(pid).is_some_and(|process| of.is(&process))
    }

    /// Somebody wants a new run of the app beside this one.
    pub(super) fn reload(&mut self, by: String) {
        if let Some(why) = self.reload_is_refused() {
            return self.record(Event::ReloadRefused { by, why });
        }
        if self.beside.is_some() {
            self.record(Event::ReloadWaits { by });
        } else {
            self.succession.asked_by = by;
        }
        self.decide(GenerationInput::Reload);
        self.act();
    }

    /// Why there is none now.
    pub(super) fn reload_is_refused(&self) -> Option<String> {
        if !self.config.has_generations() {
            return Some("this graceful was started without --reload-on, --listen, --restart or --control".to_owned());
        }
        let stops = self.run.lifecycle.t0().is_some() && !self.succession.is_waiting();
        stops.then(|| "the app is being stopped".to_owned())
    }

    /// How the reload has ended.
    fn reload_failed(&mut self, began: Duration, generation: u64, why: String) {
        let now = self.now();
        let (result, reason, took) = (ReloadResult::Failed, Some(why.clone()), now.saturating_sub(began));
        self.control.reload_ended(now, LastReload { generation, result, reason, took });
        self.record(Event::ReloadFailed { generation, why });
    }

    /// Starts a run beside the one that there is.
    pub(super) fn begin_beside(&mut self, generation: GenerationId, cause: GenerationCause) {
        let now = self.now();
        self.control.reload_begins();
        let by = std::mem::take(&mut self.succession.asked_by);
        let by = if by.is_empty() { "asked for once more".to_owned() } else { by };
        self.record(Event::ReloadBegan { by, generation: generation.number() });
        let Some(mut run) = self.another_run(generation, cause) else { return };
        let reload = self.config.reload;
        let alive = match reload.ready {
            ReadyCondition::Alive(time) => Some(time),
            ReadyCondition::Url | ReadyCondition::Notify => None,
        };
        let url = reload.ready == ReadyCondition::Url;
        run.successor =
            Some(Successor { began: now, alive, url, late_at: now.saturating_add(reload.within), late: false });
        run.timeline.mark(true);
        if let Err(error) = self.launch.sockets.join(generation) {
            let why = format!("cannot have the addresses of --listen ({error})");
            self.reload_failed(now, generation.number(), why);
            return self.decide(GenerationInput::Failed { generation, code: crate::status::FAILURE });
        }
        self.beside = Some(Box::new(run));
        self.on_beside(Supervisor::say_if_hooks_come_first);
    }

    /// What time tells of a run that is waited for.
    pub(super) fn reload_tick(&mut self, now: Duration) {
        let Some(run) = &mut self.beside else { return };
        let (generation, ready_at) = (run.generation, run.ready_at());
        let Some(successor) = run.successor.as_mut().filter(|successor| !successor.late) else { return };
        if ready_at.is_some_and(|at| at <= now) && run.app.is_some() {
            let alive = text::human(successor.alive.unwrap_or_default());
            self.successor_is_ready(&format!("alive for {alive}"));
        } else if successor.late_at <= now {
            successor.late = true;
            self.decide(GenerationInput::Late(generation));
        }
    }

    /// The run beside the one that counts is ready.
    pub(super) fn successor_is_ready(&mut self, how: &str) {
        let Some(run) = self.beside.as_ref().filter(|run| run.successor.is_some()) else { return };
        let generation = run.generation;
        self.succession.ready_by = how.to_owned();
        self.decide(GenerationInput::Ready(generation));
    }

    /// The app of that run has been started: it can be asked.
    pub(super) fn ask_successor(&mut self) {
        let asked = self.run.successor.as_ref().is_some_and(|successor| successor.url);
        let (Some(ready), Some(counts), true) = (&self.config.ready, &self.beside, asked) else { return };
        let generation = self.run.generation;
        let [_, _, high, low] = self.launch.pid.cast_unsigned().to_be_bytes();
        // Nobody has a reason to come from there: 127.g.x.y.
        let from = Ipv4Addr::new(127, b'g', high, low | 1);
        let job = WorkerCommand::PollSuccessor {
            url: ready.url.clone(),
            interval: ready.interval.min(CLOSE_LOOK),
            timeout: ready.timeout,
            from,
            generation: generation.number(),
        };
        match self.launch.sockets.ask_beside(counts.generation, generation, from) {
            Ok(()) => _ = self.ask_http(job),
            Err(error) => {
                self.trouble_once(format!(
                    "a new run of the app cannot be asked alone, being alive is enough: {error}"
                ));
                if let Some(successor) = &mut self.run.successor {
                    (successor.url, successor.alive) = (false, Some(ALIVE));
                }
            }
        }
    }

    pub(super) fn observed_successor(&mut self, generation: u64, observation: &Observation) {
        let is = self.beside.as_ref().is_some_and(|run| run.generation.number() == generation && run.app.is_some());
        if is && observation.verdict.is_ready() {
            self.successor_is_ready(&format!("--ready-url: {}", observation.detail));
            self.act();
        }
    }

    /// From here on that run counts: it is the app to the world.
    pub(super) fn promote(&mut self, generation: GenerationId) {
        let now = self.now();
        if self.beside.as_ref().is_some_and(|run| run.generation == generation) {
            _ = self.change_over();
            let steered = self.launch.sockets.promote(generation);
            self.run.timeline.mark(false);
            if let Some(other) = &mut self.beside {
                other.timeline.mark(true);
                // They ask an address, whoever answers there.
                std::mem::swap(&mut self.run.readiness, &mut other.readiness);
                std::mem::swap(&mut self.run.liveness, &mut other.liveness);
            }
            if let Err(error) = steered {
                self.trouble_once(format!("what is new still goes to the old run of the app: {error}"));
            }
            self.http.tell(WorkerCommand::StopSuccessor);
            let began = self.run.successor.take().map_or(now, |successor| successor.began);
            let ready = std::mem::take(&mut self.succession.ready_by);
            let ready = if ready.is_empty() { "the one before it has ended".to_owned() } else { ready };
            let took = now.saturating_sub(began);
            let (generation, result) = (generation.number(), ReloadResult::Serves);
            self.control.reload_ended(now, LastReload { generation, result, reason: None, took });
            self.record(Event::Reloaded { generation, took, ready });
            self.health_moved(now);
            self.run.inputs.push_back(Input::Ready);
            if self.beside.as_ref().is_some_and(|run| run.lifecycle.phase() == Phase::Done) {
                self.beside_over();
            }
        }
        self.count_generation(generation.number());
    }

    /// A run that does not count any more, or was not to, is to be stopped.
    pub(super) fn stop_generation(&mut self, generation: GenerationId, why: WhyStopped) {
        let input = match why {
            WhyStopped::Replaced => Input::Replaced,
            WhyStopped::NotReady => Input::NotReady,
            WhyStopped::Hung => Input::Hung,
            WhyStopped::Signal => {
                // The one that counts has got it itself.
                let signal = self.run.lifecycle.stop_signal().unwrap_or(crate::signal::Signal::TERM);
                Input::Signal { signal, source: SignalSource::Process, value: None }
            }
        };
        if self.run.generation == generation {
            if why != WhyStopped::Signal {
                self.run.inputs.push_back(input);
            }
        } else if let Some(run) = self.beside.as_mut().filter(|run| run.generation == generation)
            && !(why == WhyStopped::Signal && run.lifecycle.is_asked())
        {
            run.inputs.push_back(input);
        }
    }

    /// Nothing is left of the run that did not count.
    pub(super) fn beside_over(&mut self) {
        let now = self.now();
        let failed = self.on_beside(|this| this.run.successor.take());
        let Some(mut run) = self.beside.take() else { return };
        run.hooks.begin_anew();
        run.hold.end();
        self.reaper.begin_generation();
        if let Err(error) = self.launch.sockets.leave(run.generation, self.run.generation) {
            self.trouble_once(format!("the sockets of a run that is over: {error}"));
        }
        let outcome = run.lifecycle.outcome();
        let generation = run.generation.number();
        if let Some(successor) = failed.flatten() {
            self.http.tell(WorkerCommand::StopSuccessor);
            let why = match outcome {
                _ if successor.late => format!("was not ready within {}", text::human(self.config.reload.within)),
                Some(Outcome::App(status)) => format!("ended before it was ready ({status})"),
                Some(Outcome::NotStarted(_)) => "could not be started".to_owned(),
                Some(Outcome::Stuck) | None => "could not be ended".to_owned(),
            };
            if self.run.lifecycle.t0().is_none() {
                self.reload_failed(successor.began, generation, why);
            }
            return;
        }
        let t0 = run.lifecycle.t0().unwrap_or(now);
        let status = match outcome {
            Some(Outcome::App(status)) => Some(status),
            Some(Outcome::NotStarted(_) | Outcome::Stuck) | None => None,
        };
        self.beside = Some(run);
        self.on_beside(|this| this.record(Event::Retired { status, took: now.saturating_sub(t0) }));
        self.beside = None;
    }
}

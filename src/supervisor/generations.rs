//! One run of the app after another: what [`Generations`] decides, carried out.
//!
//! ```text
//!   Lifecycle ── Exit ──► Generations ── Wait ──► the loop sleeps ── Start ──► all that belongs to one run begins anew
//!                              └── GiveUp ──► the end
//! ```
//!
//! A run's own are its lifecycle and timeline, and what is known of its app, hooks, hold, readiness, requests in flight and
//! leftovers. graceful's own are its threads, the log, the probe server with its counts, and the signals: between two runs it
//! is the same loop with one deadline more.
//!
//! Where the app can be started again, graceful keeps for it what it would else let go of at the first start: its working
//! directory and the descriptors that it was started with.
//!
//! An app that crashes again and again must not fill a disk: of the tries in a row the first few are said with all that happens
//! in them, later ones only where their number is a power of two. The rest is at debug level, until a stop signal comes or the
//! app has run for longer than the longest pause.

use super::run::Run;
use super::{Supervisor, plan};
use crate::config::{Config, Restart, RestartWhen};
use crate::generations::{GenerationAction, GenerationId, GenerationInput, Generations, GiveUpReason, RestartPlan};
use crate::hooks::Hooks;
use crate::lifecycle::{Lifecycle, Outcome, StopPlan};
use crate::signal::Signal;
use crate::status::ExitStatus;
use crate::sys::signals::Received;
use crate::timeline::{Event, GenerationCause, Phase, Stage, StopCause, text};
use std::ffi::CString;
use std::time::Duration;

/// The runs of the app: which one there is, and what the next one needs.
pub(super) struct Succession {
    generations: Generations,
    /// What each lifecycle begins with; where there is only one, nobody needs it a second time.
    plan: Option<Box<StopPlan>>,
    /// The first end of the tries in a row.
    row_began: Duration,
    /// This run is one of too many to be told of.
    hushed: bool,
    /// Who has asked for the reload, and what was taken for its being ready.
    pub(super) asked_by: String,
    pub(super) ready_by: String,
}

impl Succession {
    /// Begins with this plan of the first run.
    pub(super) fn new(config: &Config, plan: &StopPlan) -> Succession {
        Succession {
            generations: Generations::new(restart_plan(&config.restart)),
            plan: config.has_generations().then(|| Box::new(plan.clone())),
            row_began: Duration::ZERO,
            hushed: false,
            asked_by: String::new(),
            ready_by: String::new(),
        }
    }

    /// When to call `generations_tick`.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.generations.poll_deadline()
    }

    /// Nothing runs; the next start is waited for.
    pub(super) fn is_waiting(&self) -> bool {
        self.generations.is_waiting()
    }

    /// Tries in a row.
    pub(super) fn tries(&self) -> u32 {
        self.generations.tries()
    }

    /// What happens now is told at debug level.
    pub(super) fn hushes(&self, run: &Run, now: Duration, longest: Duration) -> bool {
        self.hushed && run.started.is_none_or(|started| now.saturating_sub(started) <= longest)
    }
}

/// The variables that tell the app which run of it this is; none where there is only one.
pub(super) fn app_environment(config: &Config, (generation, cause): (u64, &str)) -> Vec<CString> {
    let variables = [format!("GRACEFUL_GENERATION={generation}"), format!("GRACEFUL_CAUSE={cause}")];
    let wanted = variables.into_iter().filter(|_| config.has_generations());
    wanted.filter_map(|variable| CString::new(variable).ok()).collect()
}

/// What the app is told of its first run.
pub(super) fn first_environment(config: &Config) -> Vec<CString> {
    app_environment(config, (GenerationId::FIRST.number(), GenerationCause::Start.name()))
}

fn restart_plan(restart: &Restart) -> RestartPlan {
    RestartPlan {
        failed: restart.when != RestartWhen::Never,
        clean: restart.when == RestartWhen::Always,
        delay: restart.delay,
        delay_max: restart.delay_max,
        limit: restart.limit,
    }
}

/// The lifecycle's plan with what later runs need of it.
pub(super) fn begin(config: &mut Config, hooks: &Hooks, init: bool) -> (Lifecycle, Succession) {
    let plan = plan(config, hooks, init);
    let succession = Succession::new(config, &plan);
    (Lifecycle::new(plan), succession)
}

impl Supervisor {
    /// Carries out one thing that was decided; false: there is none.
    pub(super) fn generations_act(&mut self) -> bool {
        let Some(action) = self.succession.generations.poll_action() else { return false };
        match action {
            GenerationAction::Start { generation, cause } if self.run.lifecycle.phase() == Phase::Done => {
                self.begin_generation(generation, cause);
            }
            GenerationAction::Start { generation, .. } if generation == GenerationId::FIRST => {}
            GenerationAction::Start { generation, cause } => self.begin_beside(generation, cause),
            GenerationAction::Promote(generation) => self.promote(generation),
            GenerationAction::Stop { generation, why } => self.stop_generation(generation, why),
            GenerationAction::Wait { pause, tries, .. } => self.wait_for_restart(pause, tries),
            GenerationAction::GiveUp { outcome, why } => {
                self.succession.hushed = false;
                if let GiveUpReason::Limit(tries) = why {
                    self.record(Event::GivenUp { tries });
                }
                self.app_comes_back(false);
                self.launch.sockets.close();
                self.outcome = Some(outcome);
            }
        }
        true
    }

    pub(super) fn decide(&mut self, input: GenerationInput) {
        let now = self.now();
        self.succession.generations.handle(now, input);
    }

    pub(super) fn generations_tick(&mut self, now: Duration) {
        if self.succession.deadline().is_some_and(|at| at <= now) {
            self.decide(GenerationInput::Tick);
        }
    }

    /// The app shows no life, and is to be started again for that.
    pub(super) fn generation_hung(&mut self) {
        self.decide(GenerationInput::Hung(self.run.generation));
    }

    /// A stop signal: whatever ends from here on is not started again.
    pub(super) fn asked_to_stop(&mut self) {
        self.control.close("the app is being stopped");
        self.succession.hushed = false;
        if std::mem::take(&mut self.run.comes_back) {
            self.app_comes_back(false);
        }
        self.decide(GenerationInput::Stop);
    }

    /// What has happened to the lifecycle's app.
    pub(super) fn note_for_restart(&mut self, event: &Event) {
        match event {
            Event::StopBegan {
                cause: StopCause::StartupTimeout | StopCause::HookFailed | StopCause::ReadyHookFailed,
            } => {
                self.run.stopped = true;
            }
            Event::StopBegan { cause: StopCause::Hung } => self.run.hung = true,
            // By a key at the terminal, which was the app's alone.
            Event::AppExited { told: true, phase, .. } if *phase < Phase::Drain && !self.is_beside() => {
                self.asked_to_stop()
            }
            Event::AppExited { status, .. } if !self.is_beside() => {
                let clean = self.is_clean(*status);
                let ran = self.run.ran;
                self.run.comes_back = self.succession.generations.would_go_on(clean, ran);
            }
            Event::SpawnFailed { .. } if !self.is_beside() => {
                let goes_on = self.succession.generations.would_go_on(false, Duration::ZERO);
                self.run.comes_back = self.run.is_later() && goes_on;
            }
            _ => {}
        }
    }

    /// The app has its stop signal: what it closes is to be closed, unless another run is to have it.
    pub(super) fn app_is_told(&mut self) {
        if !self.is_beside() && !(self.config.restarts() && (self.run.stopped || self.run.hung)) {
            self.launch.sockets.close();
        }
    }

    /// Who connects from here on waits for the next run of the app, or is refused if there is none.
    pub(super) fn app_is_gone(&mut self) {
        if !self.run.comes_back && !self.is_beside() {
            self.launch.sockets.close();
        }
    }

    /// One that had to be stopped unasked has failed, however it ended.
    fn is_clean(&self, status: ExitStatus) -> bool {
        !self.run.stopped && self.config.ended_cleanly(status)
    }

    /// The run of the app is over, with all that was left of it.
    pub(super) fn generation_over(&mut self, outcome: Outcome) {
        let generation = self.run.generation;
        self.decide(match outcome {
            Outcome::App(status) => {
                let (clean, ran) = (self.is_clean(status), self.run.ran);
                GenerationInput::Exited { generation, status, clean, ran }
            }
            Outcome::NotStarted(code) => GenerationInput::Failed { generation, code },
            Outcome::Stuck => GenerationInput::Stuck(generation),
        });
    }

    fn wait_for_restart(&mut self, delay: Duration, tries: u32) {
        let now = self.now();
        let outcome = self.run.lifecycle.outcome().unwrap_or(Outcome::Stuck);
        let cause = self.run.restart_cause(outcome);
        let status = match outcome {
            Outcome::App(status) => Some(status),
            Outcome::NotStarted(_) | Outcome::Stuck => None,
        };
        if tries <= 1 {
            self.succession.row_began = now;
        }
        let (ran, row) = (self.run.ran, now.saturating_sub(self.succession.row_began));
        self.leave_terminal(outcome);
        let hushed = text::is_hushed(tries);
        self.succession.hushed = false;
        self.record(Event::Restarting { cause, status, ran, delay, tries, row, hushed });
        self.succession.hushed = hushed;
        self.count_restart(now, cause);
    }

    /// Another run of the app: everything that belongs to one begins anew.
    fn begin_generation(&mut self, generation: GenerationId, cause: GenerationCause) {
        let Some(next) = self.another_run(generation, cause) else { return };
        // What is still on its way is of the one before.
        self.http_news();
        self.run.hooks.begin_anew();
        self.run.hold.end();
        if let Some(path) = &self.config.drain_file {
            self.writer.remove("--drain-file", path);
        }
        self.reaper.begin_generation();
        self.launch.sockets.succeed(self.run.generation, generation);
        *self.run = next;
        self.say_if_hooks_come_first();
    }

    /// One that nothing has happened to yet; none for the first, which is there from the start.
    pub(super) fn another_run(&self, generation: GenerationId, cause: GenerationCause) -> Option<Run> {
        let plan = self.succession.plan.as_deref().filter(|_| generation != GenerationId::FIRST)?;
        let timeline = self.run.timeline.of_another(generation.number(), cause == GenerationCause::Restart);
        Some(Run::new(generation, cause, Lifecycle::new(plan.clone()), timeline, self.run.hooks.of_another()))
    }

    /// Where hooks come first the lifecycle begins with them; otherwise this phase has no length.
    pub(super) fn say_if_hooks_come_first(&mut self) {
        if self.run.hooks.stages().contains(&Stage::PreStart) {
            self.record(Event::PhaseBegan { phase: Phase::PreStart });
        }
    }

    /// A signal while nothing runs. What is not a stop is nobody's: the next run of the app begins with what it finds.
    pub(super) fn signal_in_the_wait(&mut self, received: &Received) {
        let signal: Signal = received.signal;
        if self.is_reload(received) {
            return self.reload(signal.to_string());
        }
        let source = self.source(received);
        if !self.run.lifecycle.stops(signal, source) {
            return self.record(Event::SignalUnheard { signal });
        }
        self.asked_to_stop();
        self.record(Event::StopSignalFrom { signal, sender: received.sender });
        self.record(Event::NotRestarted { signal });
        self.act();
    }
}

//! One run of the app, and all that is known of it: what begins anew when the app is started again, and what there is twice
//! while a reload goes on.

use super::{inflight, lateness, leftovers, liveness, readiness, signalling};
use crate::generations::GenerationId;
use crate::hold::HoldCondition;
use crate::hooks::Hooks;
use crate::lifecycle::{Input, Lifecycle, Outcome};
use crate::pid::Pid;
use crate::status::ExitStatus;
use crate::sys::cgroup;
use crate::sys::whose::Owner;
use crate::timeline::{GenerationCause, RestartCause, Timeline};
use std::collections::VecDeque;
use std::time::Duration;

/// A generation, from its first hook until nothing is left of it.
pub(super) struct Run {
    pub(super) generation: GenerationId,
    /// Why it was started.
    pub(super) cause: GenerationCause,
    pub(super) lifecycle: Lifecycle,
    pub(super) timeline: Timeline,
    pub(super) hooks: Hooks,
    pub(super) hold: HoldCondition,
    /// The app, from its start until it is reaped.
    pub(super) app: Option<Pid>,
    /// How the app ended, until it is known whether it goes on in the background.
    pub(super) ended: Option<ExitStatus>,
    /// Answers of actions, before anything from outside.
    pub(super) inputs: VecDeque<Input>,
    /// Those who are left and waited for.
    pub(super) left: leftovers::LeftoverWatch,
    pub(super) lateness: lateness::Lateness,
    /// From the app's start on.
    pub(super) oom_kills: Option<cgroup::OomKills>,
    pub(super) readiness: readiness::ReadinessWatch,
    pub(super) liveness: liveness::LivenessWatch,
    /// From t0 on, unless there is no hold.
    pub(super) in_flight: inflight::InFlightState,
    /// Signals from outside of the PID namespace.
    pub(super) foreign: signalling::Foreign,
    /// wait(2) told last that the app is stopped.
    pub(super) app_stopped: bool,
    /// graceful has stopped itself with the app, as a job of a shell, and the app has not gone on yet.
    pub(super) job_stopped: bool,
    /// It was continued after that, and the SIGCONT that did it is still to come out of the mask.
    pub(super) continue_expected: bool,
    /// An app in a group of its own was stopped because it is not the terminal's foreground.
    pub(super) wants_terminal: bool,
    /// When the app was started, and how long it ran.
    pub(super) started: Option<Duration>,
    pub(super) ran: Duration,
    /// Something of it was killed for want of memory.
    pub(super) oom: bool,
    /// graceful has stopped it unasked.
    pub(super) stopped: bool,
    /// The app showed no life.
    pub(super) hung: bool,
    /// The app has ended, and will be started again.
    pub(super) comes_back: bool,
    /// It is beside another run, and is to take its place.
    pub(super) successor: Option<Successor>,
}

/// What a run beside another one is waited for.
#[derive(Debug)]
pub(super) struct Successor {
    pub(super) began: Duration,
    /// Since its start it must live so long; none: something else tells.
    pub(super) alive: Option<Duration>,
    /// `--ready-url` is asked.
    pub(super) url: bool,
    /// Not ready by then, it is stopped.
    pub(super) late_at: Duration,
    pub(super) late: bool,
}

impl Run {
    /// The first one, of an app that may run already.
    pub(super) fn first(lifecycle: Lifecycle, timeline: Timeline, hooks: Hooks, app: Option<Pid>) -> Run {
        Run { app, ..Run::new(GenerationId::FIRST, GenerationCause::Start, lifecycle, timeline, hooks) }
    }

    pub(super) fn new(
        generation: GenerationId,
        cause: GenerationCause,
        lifecycle: Lifecycle,
        timeline: Timeline,
        hooks: Hooks,
    ) -> Run {
        Run {
            generation,
            cause,
            lifecycle,
            timeline,
            hooks,
            hold: HoldCondition::default(),
            app: None,
            ended: None,
            inputs: VecDeque::new(),
            left: leftovers::LeftoverWatch::default(),
            lateness: lateness::Lateness::default(),
            oom_kills: None,
            readiness: readiness::ReadinessWatch::default(),
            liveness: liveness::LivenessWatch::default(),
            in_flight: inflight::InFlightState::default(),
            foreign: signalling::Foreign::default(),
            app_stopped: false,
            job_stopped: false,
            continue_expected: false,
            wants_terminal: false,
            started: None,
            ran: Duration::ZERO,
            oom: false,
            stopped: false,
            hung: false,
            comes_back: false,
            successor: None,
        }
    }

    /// It is not the one that graceful was started with.
    pub(super) fn is_later(&self) -> bool {
        self.generation != GenerationId::FIRST
    }

    /// A child of graceful's that this run has started.
    pub(super) fn knows(&self, pid: Pid) -> bool {
        self.app == Some(pid) || self.hooks.pids().chain(self.hold.pid()).any(|known| known == pid)
    }

    /// What hooks are told of it.
    pub(super) fn facts(&self) -> (u64, &'static str) {
        (self.generation.number(), self.cause.name())
    }

    /// When something is to be done about it at the latest.
    pub(super) fn deadline(&self, start: std::time::Instant) -> Option<Duration> {
        let all = [self.lifecycle.poll_deadline(), self.hooks.deadline(), self.hold.deadline()];
        let more = [self.readiness.deadline(), self.left.deadline(), self.lateness.deadline()];
        all.into_iter().chain(more).chain([self.in_flight.deadline(start), self.reload_deadline()]).flatten().min()
    }

    /// The app was reaped; `oom`: the kernel has killed it, or something of it, for want of memory.
    pub(super) fn app_ended(&mut self, now: Duration, oom: bool) {
        self.ran = self.started.map_or(Duration::ZERO, |started| now.saturating_sub(started));
        self.oom = oom;
    }

    /// Why it is started again after such an end.
    pub(super) fn restart_cause(&self, outcome: Outcome) -> RestartCause {
        match outcome {
            Outcome::NotStarted(_) => RestartCause::NotStarted,
            _ if self.hung => RestartCause::Hung,
            _ if self.stopped => RestartCause::Stopped,
            _ if self.oom => RestartCause::OutOfMemory,
            Outcome::App(ExitStatus::Signaled(_)) | Outcome::Stuck => RestartCause::Signal,
            Outcome::App(ExitStatus::Exited(_)) => RestartCause::Exit,
        }
    }

    /// Its number, and the app that its processes descend from.
    pub(super) fn owner(&self) -> Owner {
        Owner { generation: self.generation.number(), app: self.timeline.app() }
    }

    /// When it is ready for being alive.
    pub(super) fn ready_at(&self) -> Option<Duration> {
        Some(self.started?.saturating_add(self.successor.as_ref()?.alive?))
    }

    /// When `reload_tick` has something to do about it.
    pub(super) fn reload_deadline(&self) -> Option<Duration> {
        let successor = self.successor.as_ref().filter(|successor| !successor.late)?;
        self.ready_at().into_iter().chain([successor.late_at]).min()
    }
}

//! The app's readiness endpoint, watched: at the start until it is ready, and from t0 to its exit. And all other talk with
//! the HTTP thread, which is started by the first question.
//!
//! Around the stop signal the endpoint is polled more often than configured, for a second: what a person wants to know
//! then is whether readiness failed within milliseconds or not at all.

use super::Supervisor;
use crate::config::Hold;
use crate::lifecycle::Input;
use crate::probe::client::{Observation, Verdict};
use crate::probe::worker::{Fact, Job, Role, Worker};
use crate::sys::fds::Waker;
use crate::timeline::{Event, Phase};
use std::io;
use std::time::Duration;

/// How often the endpoint is polled right after the app got the stop signal, and for how long.
const CLOSE_LOOK: Duration = Duration::from_millis(20);
const CLOSE_LOOK_LASTS: Duration = Duration::from_secs(1);
/// An app that still says ready so long after its stop signal does not fail its readiness.
const STILL_READY: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    NotReady,
    Refused,
}

/// What is known of the app's readiness.
#[derive(Debug, Default)]
pub(super) struct Watch {
    state: Option<State>,
    /// Something other than a refusal was seen: there is, or was, somebody who listens.
    listened: bool,
    /// Said last while waiting for the first ready.
    detail: String,
    warning: String,
    relax_at: Option<Duration>,
    still_ready_at: Option<Duration>,
}

impl Watch {
    /// When to call `readiness_tick`.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.relax_at.into_iter().chain(self.still_ready_at).min()
    }
}

impl Supervisor {
    /// Asks the HTTP thread, and starts it if this is the first question. False: there is no such thread.
    pub(super) fn ask_http(&mut self, job: Job) -> bool {
        if self.http.is_none() {
            match self.start_http() {
                Ok(worker) => self.http = Some(worker),
                Err(error) => {
                    self.trouble_once(format!("the HTTP thread could not be started: {error}"));
                    return false;
                }
            }
        }
        if let Some(http) = &self.http {
            http.send(job);
        }
        true
    }

    pub(super) fn start_http(&mut self) -> io::Result<Worker> {
        let waker = self.other_waker()?;
        let shared = self.health.as_ref().map(|health| health.shared());
        Worker::start(Role::Ask, shared, move || waker.wake())
    }

    /// For a thread that has something to tell.
    pub(super) fn other_waker(&mut self) -> io::Result<Waker> {
        let waker = match self.waker.take() {
            Some(waker) => waker,
            None => Waker::new()?,
        };
        let other_end = waker.try_clone();
        self.waker = Some(waker);
        other_end
    }

    /// Everything that the HTTP threads have to say.
    pub(super) fn http_news(&mut self) {
        if let Some(waker) = &self.waker {
            waker.reset();
        }
        self.server_news();
        while let Some(fact) = self.http.as_ref().and_then(Worker::try_recv) {
            let now = self.now();
            match fact {
                Fact::Readiness(observation) => self.observed(observation),
                Fact::Posted { id, observation } => {
                    let ok = observation.verdict != Verdict::NotReady;
                    let result = if ok { Ok(()) } else { Err(observation.detail) };
                    self.hooks.posted(now, id, result, &self.origin);
                }
                Fact::HoldOver { detail } if self.lifecycle.phase() == Phase::Hold => self.hold_over(detail),
                // It came when the hold was over for another reason.
                Fact::HoldOver { .. } => {}
                Fact::HoldCheck(observation) => self.record(Event::HoldCheck { detail: observation.detail }),
                Fact::CheckChanged { .. } | Fact::RunCommand { .. } => self.health_news(fact),
                // It is the other thread's.
                Fact::ServerEnded(_) => {}
                Fact::Died(why) => {
                    self.trouble_once(format!("the HTTP thread failed: {why}"));
                    self.http = None;
                    self.health_lost();
                    self.hooks.posts_failed(now, &why, &self.origin);
                    if self.lifecycle.phase() == Phase::Hold && matches!(self.config.hold, Hold::Url(_)) {
                        self.hold_over("it can no longer be polled".to_owned());
                    }
                }
            }
            self.hook_news();
        }
    }

    /// From the app's start until it is ready; all the time, if there are probes to be answered.
    pub(super) fn await_ready(&mut self) {
        let until_ready = self.config.probe_listen.is_none();
        self.poll_readiness(until_ready, None);
    }

    /// From t0 on.
    pub(super) fn watch_readiness(&mut self) {
        // Where it is watched already, this asks once more at once.
        self.poll_readiness(false, None);
    }

    /// The app got its stop signal: now it matters.
    pub(super) fn app_told(&mut self) {
        if self.config.ready.is_some() {
            let now = self.now();
            self.poll_readiness(false, Some(CLOSE_LOOK));
            self.readiness.relax_at = Some(now + CLOSE_LOOK_LASTS);
            self.readiness.still_ready_at = Some(now + STILL_READY);
        }
    }

    fn poll_readiness(&mut self, until_ready: bool, interval: Option<Duration>) {
        if let Some(ready) = &self.config.ready {
            let interval = interval.map_or(ready.interval, |interval| interval.min(ready.interval));
            let job = Job::PollReadiness { url: ready.url.clone(), interval, timeout: ready.timeout, until_ready };
            self.ask_http(job);
        }
    }

    pub(super) fn readiness_tick(&mut self, now: Duration) {
        if self.readiness.relax_at.take_if(|at| *at <= now).is_some() {
            self.poll_readiness(false, None);
        }
        if self.readiness.still_ready_at.take_if(|at| *at <= now).is_some()
            && self.readiness.state == Some(State::Ready)
        {
            self.record(Event::StillReady);
        }
    }

    /// The app is gone, there is nothing to ask any more.
    pub(super) fn readiness_over(&mut self) {
        self.readiness.relax_at = None;
        self.readiness.still_ready_at = None;
        if let Some(http) = self.http.as_ref().filter(|_| self.config.ready.is_some()) {
            http.send(Job::StopPolling);
        }
    }

    fn observed(&mut self, observation: Observation) {
        if self.app.is_none() {
            return;
        }
        let state = match observation.verdict {
            Verdict::Ready | Verdict::Warning => State::Ready,
            Verdict::NotReady if observation.refused => State::Refused,
            Verdict::NotReady => State::NotReady,
        };
        let detail = observation.detail;
        self.readiness.listened |= state != State::Refused;
        if observation.verdict == Verdict::Warning && self.readiness.warning != detail {
            self.readiness.warning.clone_from(&detail);
            self.record(Event::ReadyWarning { detail: detail.clone() });
        }
        let before = self.readiness.state;
        if state == State::Ready {
            self.readiness.state = Some(state);
            if before != Some(state) {
                self.record(Event::Ready { detail, again: before.is_some() });
                self.app_was_ready();
                self.feed(Input::Ready);
            }
        } else if self.lifecycle.t0().is_some() || before.is_some() {
            self.readiness.state = Some(state);
            if before != Some(state) && !self.readiness.listened {
                self.record(Event::NeverAnswered { detail });
            } else if before != Some(state) {
                self.record(Event::NotReady { detail, refused: state == State::Refused });
            }
        } else if self.readiness.detail != detail {
            self.readiness.detail.clone_from(&detail);
            self.record(Event::NotReadyYet { detail });
        }
    }
}

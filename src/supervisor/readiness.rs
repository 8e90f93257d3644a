//! The app's readiness endpoint, watched: at the start until it is ready, and from t0 to its exit.
//!
//! Around the stop signal the endpoint is polled more often than configured, for a second: what a person wants to know
//! then is whether readiness failed within milliseconds or not at all.

use super::Supervisor;
use crate::http::{Observation, RequestResult};
use crate::lifecycle::Input;
use crate::timeline::Event;
use crate::worker::WorkerCommand;
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
pub(super) struct ReadinessWatch {
    state: Option<State>,
    /// Something other than a refusal was seen: there is, or was, somebody who listens.
    listened: bool,
    /// Said last while waiting for the first ready.
    detail: String,
    warning: String,
    relax_at: Option<Duration>,
    still_ready_at: Option<Duration>,
}

impl ReadinessWatch {
    /// What its endpoint says; none where nobody has asked, or it has not been ready yet.
    pub(super) fn is_ready(&self) -> Option<bool> {
        self.state.map(|state| state == State::Ready)
    }

    /// When to call `readiness_tick`.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.relax_at.into_iter().chain(self.still_ready_at).min()
    }

    /// The app has got its stop signal.
    fn look_closely(&mut self, now: Duration) {
        self.relax_at = Some(now + CLOSE_LOOK_LASTS);
        self.still_ready_at = Some(now + STILL_READY);
    }

    /// The close look is over, which is said once.
    fn relaxes(&mut self, now: Duration) -> bool {
        self.relax_at.take_if(|at| *at <= now).is_some()
    }

    /// The app does not fail its readiness, which is said once.
    fn is_still_ready(&mut self, now: Duration) -> bool {
        self.still_ready_at.take_if(|at| *at <= now).is_some() && self.state == Some(State::Ready)
    }

    fn over(&mut self) {
        (self.relax_at, self.still_ready_at) = (None, None);
    }

    /// What is new in this observation.
    fn see(&mut self, observation: Observation, in_a_stop: bool) -> Vec<Event> {
        let Observation { verdict, detail, refused, .. } = observation;
        let state = match verdict {
            RequestResult::Ready | RequestResult::Warning => State::Ready,
            RequestResult::NotReady if refused => State::Refused,
            RequestResult::NotReady => State::NotReady,
        };
        let mut news = Vec::new();
        self.listened |= state != State::Refused;
        if verdict == RequestResult::Warning && self.warning != detail {
            self.warning.clone_from(&detail);
            news.push(Event::ReadyWarning { detail: detail.clone() });
        }
        let before = self.state;
        if state == State::Ready || in_a_stop || before.is_some() {
            self.state = Some(state);
            if before != Some(state) {
                news.push(match state {
                    State::Ready => Event::Ready { detail, again: before.is_some() },
                    State::NotReady | State::Refused if !self.listened => Event::NeverAnswered { detail },
                    State::NotReady | State::Refused => Event::NotReady { detail, refused },
                });
            }
        } else if self.detail != detail {
            self.detail.clone_from(&detail);
            news.push(Event::NotReadyYet { detail });
        }
        news
    }
}

impl Supervisor {
    /// From the app's start until it is ready; all the time, if there are probes to be answered.
    pub(super) fn await_ready(&mut self) {
        let until_ready = self.config.probe_listen.is_none();
        self.poll_readiness(until_ready, None);
    }

    /// From t0 on.
    pub(super) fn watch_readiness(&mut self) {
        if self.is_beside() {
            return;
        }
        // Where it is watched already, this asks once more at once.
        self.poll_readiness(false, None);
    }

    /// The app got its stop signal: now it matters.
    pub(super) fn app_told(&mut self) {
        if self.config.ready.is_some() && !self.is_beside() {
            let now = self.now();
            self.poll_readiness(false, Some(CLOSE_LOOK));
            self.run.readiness.look_closely(now);
        }
    }

    fn poll_readiness(&mut self, until_ready: bool, interval: Option<Duration>) {
        if let Some(ready) = &self.config.ready {
            let interval = interval.map_or(ready.interval, |interval| interval.min(ready.interval));
            let job =
                WorkerCommand::PollReadiness { url: ready.url.clone(), interval, timeout: ready.timeout, until_ready };
            self.ask_http(job);
        }
    }

    pub(super) fn readiness_tick(&mut self, now: Duration) {
        if self.run.readiness.relaxes(now) {
            self.poll_readiness(false, None);
        }
        if self.run.readiness.is_still_ready(now) {
            self.record(Event::StillReady);
        }
    }

    /// The app is gone, there is nothing to ask any more.
    pub(super) fn readiness_over(&mut self) {
        if self.is_beside() {
            return;
        }
        self.run.readiness.over();
        if self.config.ready.is_some() {
            self.http.tell(WorkerCommand::StopPolling);
        }
    }

    pub(super) fn observed(&mut self, observation: Observation) {
        if self.run.app.is_none() {
            return;
        }
        for event in self.run.readiness.see(observation, self.run.lifecycle.t0().is_some()) {
            let ready = matches!(event, Event::Ready { .. });
            self.record(event);
            if ready {
                self.app_was_ready();
                self.begin_liveness();
                self.feed(Input::Ready);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(verdict: RequestResult, detail: &str) -> Observation {
        let detail = detail.to_owned();
        Observation { verdict, refused: detail == "connection refused", detail, took: Duration::ZERO }
    }

    #[test]
    fn what_is_the_same_is_said_once_and_a_refusal_is_told_from_an_answer() {
        use RequestResult::{NotReady, Ready, Warning};
        let mut watch = ReadinessWatch::default();
        let mut said = |verdict, detail: &str, in_a_stop| watch.see(look(verdict, detail), in_a_stop);
        let owned = str::to_owned;
        assert_eq!(said(NotReady, "503", false), [Event::NotReadyYet { detail: owned("503") }]);
        assert_eq!(said(NotReady, "503", false), []);
        assert_eq!(said(Ready, "200", false), [Event::Ready { detail: owned("200"), again: false }]);
        assert_eq!(said(Ready, "200", false), []);
        assert_eq!(said(Warning, "302", false), [Event::ReadyWarning { detail: owned("302") }]);
        let refused = |refused, detail| [Event::NotReady { detail, refused }];
        assert_eq!(said(NotReady, "503", true), refused(false, owned("503")));
        assert_eq!(said(NotReady, "connection refused", true), refused(true, owned("connection refused")));
        assert_eq!(said(Ready, "200", true), [Event::Ready { detail: owned("200"), again: true }]);
        // Nobody has ever listened there.
        let detail = owned("connection refused");
        assert_eq!(ReadinessWatch::default().see(look(NotReady, &detail), true), [Event::NeverAnswered { detail }]);
    }

    #[test]
    fn an_app_that_still_says_ready_is_named_once_and_one_that_does_not_never() {
        let (mut ready, mut not_ready) = (ReadinessWatch::default(), ReadinessWatch::default());
        ready.see(look(RequestResult::Ready, "200"), true);
        not_ready.see(look(RequestResult::NotReady, "503"), true);
        for watch in [&mut ready, &mut not_ready] {
            watch.look_closely(Duration::ZERO);
            assert_eq!(watch.deadline(), Some(CLOSE_LOOK_LASTS));
            assert!(!watch.relaxes(CLOSE_LOOK) && watch.relaxes(CLOSE_LOOK_LASTS) && !watch.relaxes(STILL_READY));
        }
        assert!(!ready.is_still_ready(CLOSE_LOOK_LASTS));
        assert!(ready.is_still_ready(STILL_READY) && !ready.is_still_ready(STILL_READY));
        assert!(!not_ready.is_still_ready(STILL_READY));
        assert_eq!((ready.deadline(), not_ready.deadline()), (None, None));
    }
}

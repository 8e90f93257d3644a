//! The app's liveness endpoint, asked by kubelet's rules from the first ready on (from the start, where nothing tells of it) to
//! the begin of a stop; and what becomes of an app that shows no life.
//!
//! | `--live-action` | after `--live-threshold` failures in a row | /livez |
//! | --- | --- | --- |
//! | report | it is said | 503 until it shows life again |
//! | stop | it is stopped, and graceful ends: who watches it starts it again | 503 |
//! | restart | it is stopped, and started again by graceful | 200, as in every restart |
//!
//! Its stop is a whole one but for the delay and the hold: nobody sends to what does not answer, and nothing comes of waiting for
//! its requests. Escalations and SIGKILL come as ever, so that a hang leaves evidence.

use super::Supervisor;
use crate::config::LiveAction;
use crate::http::Observation;
use crate::lifecycle::Input;
use crate::timeline::Event;
use crate::worker::WorkerCommand;

/// What is known of the app's liveness.
#[derive(Debug, Default)]
pub(super) struct LivenessWatch {
    /// It is asked.
    asks: bool,
    /// In a row.
    failures: u32,
    dead: bool,
}

impl LivenessWatch {
    /// Whether this answer changes what is known: it has shown no life for so long, or it lives again.
    fn see(&mut self, ok: bool, threshold: u32) -> Option<bool> {
        self.failures = if ok { 0 } else { self.failures.saturating_add(1) };
        let dead = self.failures >= threshold;
        // Fewer failures say nothing, neither way.
        let changes = dead != self.dead && (ok || dead);
        changes.then(|| {
            self.dead = dead;
            !dead
        })
    }
}

impl Supervisor {
    /// The app is ready for the first time, or the thread that asks is a new one.
    pub(super) fn begin_liveness(&mut self) {
        let Some(live) = self.config.live.as_ref().filter(|_| self.run.lifecycle.t0().is_none()) else { return };
        let job = WorkerCommand::PollLiveness { url: live.url.clone(), interval: live.interval, timeout: live.timeout };
        if !self.run.liveness.asks {
            self.run.liveness.asks = self.ask_http(job);
        }
    }

    /// The thread that asks has failed; where it was asked, another one goes on.
    pub(super) fn resume_liveness(&mut self) {
        if std::mem::take(&mut self.run.liveness.asks) {
            self.begin_liveness();
        }
    }

    /// The stop has begun.
    pub(super) fn liveness_over(&mut self) {
        if std::mem::take(&mut self.run.liveness.asks) {
            self.http.tell(WorkerCommand::StopLiveness);
        }
    }

    pub(super) fn observed_liveness(&mut self, observation: Observation) {
        let Some(live) = self.config.live.as_ref().filter(|_| self.run.liveness.asks && self.run.app.is_some()) else {
            return;
        };
        let (threshold, action) = (live.threshold, live.action);
        match self.run.liveness.see(observation.verdict.is_ready(), threshold) {
            None => {}
            Some(true) => {
                self.app_shows_life(true);
                self.record(Event::LiveAgain { detail: observation.detail });
            }
            Some(false) => {
                let then = action.name();
                self.app_shows_life(action == LiveAction::Restart);
                self.record(Event::NotLive { detail: observation.detail, failures: threshold, then });
                self.deal_with_hung(action);
            }
        }
    }

    fn deal_with_hung(&mut self, action: LiveAction) {
        match action {
            LiveAction::Report => {}
            LiveAction::Stop => {
                // It is for somebody else to start it again.
                self.asked_to_stop();
                self.feed(Input::Hung);
            }
            LiveAction::Restart => {
                self.generation_hung();
                self.act();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_failures_in_a_row_are_death_and_one_answer_is_life() {
        let mut watch = LivenessWatch::default();
        let mut seen = |answers: &str| answers.chars().map(|c| watch.see(c == '+', 3)).collect::<Vec<_>>();
        assert_eq!(seen("+--+--"), [None; 6]);
        assert_eq!(seen("-"), [Some(false)]);
        assert_eq!(seen("--"), [None; 2], "it is said once");
        assert_eq!(seen("+-"), [Some(true), None]);
        assert_eq!(seen("--"), [None, Some(false)]);
    }
}

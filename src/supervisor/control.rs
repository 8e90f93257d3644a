//! Who asks by the control socket (`--control`): `graceful status` is answered at once, `graceful reload` when the reload
//! is over.
//!
//! As PID 1 there is one without being asked for, where the app can be started more than once: `docker exec web /graceful reload`
//! is to work. One that was asked for and cannot be had is a failure to start, one that was not is missed by nobody.

use super::Supervisor;
use super::run::Run;
use crate::config::{Config, ControlPlace};
use crate::control::{
    ControlAddress, ControlAnswer, ControlRequest, ControlServer, DEFAULT_SOCKET, GenerationRole, GenerationStatus,
    LastReload, OtherGeneration, ReloadAnswer, ReloadResult, RequestId, StatusDocument,
};
use crate::sys::in_words;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a reload is said to have been asked for by.
const BY: &str = "graceful reload";

/// What was asked for cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on --control unix:{}: {}", .path.display(), in_words(.error))]
pub(super) struct NoControl {
    path: PathBuf,
    error: io::Error,
}

/// The socket, and who waits.
#[derive(Debug, Default)]
pub(super) struct ControlDesk {
    server: Option<ControlServer>,
    /// Of the reload that goes on.
    waiting: Vec<(RequestId, Duration)>,
    /// Of the one that follows it.
    later: Vec<(RequestId, Duration)>,
    last: Option<LastReload>,
}

impl ControlDesk {
    /// Binds what was asked for, or what is usual.
    ///
    /// # Errors
    /// What was asked for cannot be had: the app must not be started.
    pub(super) fn bind(config: &Config, init: bool) -> Result<ControlDesk, NoControl> {
        let server = match &config.control {
            ControlPlace::Nowhere => None,
            ControlPlace::Usual if !(init && config.has_generations()) => None,
            ControlPlace::Usual => {
                // An image from scratch has no /run.
                _ = Path::new(DEFAULT_SOCKET).parent().map(std::fs::create_dir);
                ControlServer::bind(&ControlAddress::at(DEFAULT_SOCKET)).ok()
            }
            ControlPlace::At(path) => {
                let bound = ControlServer::bind(&ControlAddress::at(path));
                Some(bound.map_err(|error| NoControl { path: path.clone(), error })?)
            }
        };
        Ok(ControlDesk { server, ..ControlDesk::default() })
    }

    /// There is one.
    pub(super) fn is_there(&self) -> bool {
        self.server.is_some()
    }

    /// What to poll.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.server.iter().flat_map(ControlServer::fds)
    }

    /// When to call `control_news`.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.server.as_ref().and_then(ControlServer::deadline)
    }

    fn answer(&mut self, id: RequestId, answer: &ControlAnswer) {
        if let Some(server) = &mut self.server {
            server.answer(id, answer);
        }
    }

    /// Another reload begins: who waits for one waits for this.
    pub(super) fn reload_begins(&mut self) {
        self.waiting.append(&mut self.later);
    }

    /// The reload is over.
    pub(super) fn reload_ended(&mut self, now: Duration, last: LastReload) {
        for (id, since) in std::mem::take(&mut self.waiting) {
            let answer = match last.result {
                ReloadResult::Serves => {
                    ReloadAnswer::Serves { generation: last.generation, took: now.saturating_sub(since) }
                }
                ReloadResult::Failed => ReloadAnswer::Failed { reason: last.reason.clone().unwrap_or_default() },
            };
            self.answer(id, &ControlAnswer::Reload(answer));
        }
        self.last = Some(last);
    }

    /// Nothing is reloaded any more.
    pub(super) fn close(&mut self, reason: &str) {
        let all = self.waiting.drain(..).chain(self.later.drain(..)).collect::<Vec<_>>();
        for (id, _) in all {
            self.answer(id, &ControlAnswer::Reload(ReloadAnswer::Failed { reason: reason.to_owned() }));
        }
    }

    /// The end: the next graceful may have the address.
    pub(super) fn over(&mut self) {
        self.close("graceful has ended");
        if let Some(server) = &mut self.server {
            server.close();
        }
    }
}

impl Supervisor {
    /// Takes what clients ask.
    pub(super) fn control_news(&mut self, now: Duration) {
        let Some(server) = &mut self.control.server else { return };
        for request in server.read(now) {
            match request.what {
                ControlRequest::Status => {
                    let status = ControlAnswer::Status(Box::new(self.status(now)));
                    self.control.answer(request.id, &status);
                }
                ControlRequest::Reload => self.reload_for(request.id, now),
            }
        }
    }

    fn reload_for(&mut self, id: RequestId, now: Duration) {
        if let Some(reason) = self.reload_is_refused() {
            return self.control.answer(id, &ControlAnswer::Reload(ReloadAnswer::Refused { reason }));
        }
        // The one under way may know nothing of what is to be loaded now.
        match self.beside {
            Some(_) => self.control.later.push((id, now)),
            None => self.control.waiting.push((id, now)),
        }
        self.reload(BY.to_owned());
    }

    fn status(&self, now: Duration) -> StatusDocument {
        let run = &self.run;
        let next = |run: &Run| if run.successor.is_some() { GenerationRole::Next } else { GenerationRole::Old };
        StatusDocument {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: self.launch.pid,
            generation: status_of(run, now),
            other: self.beside.as_ref().map(|run| OtherGeneration { role: next(run), generation: status_of(run, now) }),
            restarts_in_a_row: self.succession.tries(),
            in_flight: run.in_flight.counts(),
            budget_left: run.lifecycle.kill_at().map(|at| at.saturating_sub(now)),
            stop_signal: run.lifecycle.stop_signal(),
            last_reload: self.control.last.clone(),
        }
    }
}

fn status_of(run: &Run, now: Duration) -> GenerationStatus {
    GenerationStatus {
        number: run.generation.number(),
        cause: run.cause,
        app_pid: run.app.map(crate::pid::Pid::number),
        started_ago: run.started.map(|started| now.saturating_sub(started)),
        phase: run.lifecycle.phase(),
        ready: run.readiness.is_ready(),
    }
}

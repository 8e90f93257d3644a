//! All talk with the thread that asks, which is started by the first question; and what wakes the main loop when a thread
//! has something to tell.

use super::Supervisor;
use crate::config::Hold;
use crate::http::RequestResult;
use crate::server::Shared;
use crate::sys::fds::Waker;
use crate::timeline::{Event, HookResult, Phase};
use crate::worker::{Worker, WorkerCommand, WorkerEvent};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

/// The thread that asks, once there was a question, and the end by which the main loop hears of this and other threads.
#[derive(Default)]
pub(super) struct HttpThread {
    worker: Option<Worker>,
    waker: Option<Waker>,
}

impl HttpThread {
    /// One that was started before the app.
    pub(super) fn begin(&mut self, worker: Worker) {
        self.worker = Some(worker);
    }

    /// Threads that were started before the app wake by this.
    pub(super) fn wake_by(&mut self, waker: Option<Waker>) {
        self.waker = waker;
    }

    pub(super) fn runs(&self) -> bool {
        self.worker.is_some()
    }

    /// Whether there is any thread that may have something to tell.
    pub(super) fn wakes(&self) -> bool {
        self.waker.is_some()
    }

    /// What to poll for that.
    pub(super) fn waker(&self) -> Option<BorrowedFd<'_>> {
        self.waker.as_ref().map(AsFd::as_fd)
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

    /// Asks, and starts the thread if this is the first question.
    fn ask(&mut self, job: WorkerCommand, shared: Option<Arc<Shared>>) -> io::Result<()> {
        if self.worker.is_none() {
            let waker = self.other_waker()?;
            self.worker = Some(Worker::start(shared, move || waker.wake())?);
        }
        self.tell(job);
        Ok(())
    }

    /// What is worth no thread, where there is none.
    pub(super) fn tell(&self, job: WorkerCommand) {
        if let Some(worker) = &self.worker {
            worker.send(job);
        }
    }

    /// From here on a thread that has something to tell wakes the loop again.
    fn listen(&self) {
        if let Some(waker) = &self.waker {
            waker.reset();
        }
    }

    fn try_recv(&self) -> Option<WorkerEvent> {
        self.worker.as_ref().and_then(Worker::try_recv)
    }

    /// It has failed; the next question starts another.
    fn lost(&mut self) {
        self.worker = None;
    }
}

impl Supervisor {
    /// Asks the HTTP thread. False: there is no such thread.
    pub(super) fn ask_http(&mut self, job: WorkerCommand) -> bool {
        let shared = self.health.as_ref().map(|health| health.shared());
        let asked = self.http.ask(job, shared);
        if let Err(error) = &asked {
            self.trouble_once(format!("the HTTP thread could not be started: {error}"));
        }
        asked.is_ok()
    }

    /// Everything that the HTTP threads have to say.
    pub(super) fn http_news(&mut self) {
        self.http.listen();
        self.server_news();
        while let Some(fact) = self.http.try_recv() {
            let now = self.now();
            match fact {
                WorkerEvent::Readiness(observation) => self.observed(observation),
                WorkerEvent::Successor { generation, observation } => self.observed_successor(generation, &observation),
                WorkerEvent::Liveness(observation) => self.observed_liveness(observation),
                WorkerEvent::Posted { id, observation } => {
                    let ok = observation.verdict != RequestResult::NotReady;
                    let result = if ok { HookResult::Ok } else { HookResult::Failed(observation.detail) };
                    self.run.hooks.posted(now, id, result.clone(), &self.origin);
                    self.on_beside(|this| {
                        this.run.hooks.posted(now, id, result, &this.origin);
                        this.hook_news();
                    });
                }
                WorkerEvent::HoldOver { detail } => {
                    self.url_holds_no_longer(&detail);
                    self.on_beside(|this| this.url_holds_no_longer(&detail));
                }
                WorkerEvent::HoldCheck(observation) => self.record(Event::HoldCheck { detail: observation.detail }),
                WorkerEvent::CheckChanged(_) | WorkerEvent::RunCommand { .. } => self.health_news(fact),
                // It is the other thread's.
                WorkerEvent::ServerEnded(_) => {}
                WorkerEvent::Died(why) => self.http_lost(&why),
            }
            self.hook_news();
        }
    }

    /// If it is still what is waited for.
    fn url_holds_no_longer(&mut self, detail: &str) {
        if self.run.lifecycle.phase() == Phase::Hold && matches!(self.config.hold, Hold::Url(_)) {
            self.hold_over(detail.to_owned());
        }
    }

    fn http_lost(&mut self, why: &str) {
        self.trouble_once(format!("the HTTP thread failed: {why}"));
        self.http.lost();
        self.health_lost();
        let now = self.now();
        self.posts_failed(now, why);
        self.on_beside(|this| this.posts_failed(now, why));
    }

    fn posts_failed(&mut self, now: Duration, why: &str) {
        self.run.hooks.posts_failed(now, why, &self.origin);
        self.hook_news();
        self.url_holds_no_longer("it can no longer be polled");
    }
}

//! Everything HTTP, on threads of its own: one that asks, and one that answers.
//!
//! ```text
//! main loop ── Job ──►  control task ──spawns──► poll / hold / post tasks, a task for each check     graceful-http
//!     ▲    └── Job ──►  control task ──spawns──► the probe server                                  graceful-probes
//!     │                                                   │
//!     └──── notify() ◄── Fact queue ◄─────────────────────┘
//! ```
//!
//! The main loop is synchronous, must never wait for a server, and must not touch an async runtime when there is
//! nothing to ask. So a runtime lives on each of these threads, which are started with the first job that needs them,
//! or before the app where something that was asked for needs them ([`Parked`]). The one that answers builds its
//! runtime when the first client has come: until then a start has paid for a thread that sleeps, and for nothing else.
//! What the main loop says to it meanwhile waits in the queue. What answers probes is not on the thread that
//! asks: whatever a server sends there, and however much work it is to make sense of that, no probe waits for it. They
//! share what `state` holds.
//!
//! A worker and the main loop share nothing but two queues. Neither side ever waits for the other: sending a job and
//! taking a fact return at once, and `notify` (an eventfd write) tells the main loop that a fact is there.
//!
//! - Every observation is reported; the main loop decides what is news. The queue cannot grow without bound: facts
//!   come no faster than jobs and intervals make them, and each wakes the main loop, which takes all.
//! - With nothing to poll the thread sleeps without a timer.
//! - A panic ends this thread and nothing else; the main loop is told by [`WorkerEvent::Died`] and can start another.
//! - Signals: the thread has the mask of the one that started it. The main loop has all signals blocked by then, so
//!   none is ever delivered here. Nothing in this module changes a mask.
//! - Probes are answered from what is known (`state`); checks and polls only change that.
//! - These threads start no further ones except for what may hang (`blocking`: statvfs(2), the system's certificates).
//!   Name resolution is done in the same loop, without libc's blocking resolver.

mod message;

pub use message::{ProbeNote, WorkerCommand, WorkerEvent};

use crate::checks;
use crate::config::CheckConfig;
use crate::health::Attempt;
use crate::http::resolver::Names;
use crate::http::{Client, Observation};
use crate::panics;
use crate::server::{self, ProbeListener, Shared};
use crate::sys::{fds, signals};
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc as sync;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet, LocalSet};
use tokio::time::{Instant, sleep};
use tracing::trace;

/// What a thread is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Everything that graceful asks.
    Ask,
    /// The probe server.
    Answer,
}

impl Role {
    /// The thread's name, for `ps -T` and tests.
    fn thread_name(self) -> &'static str {
        match self {
            Role::Ask => "graceful-http",
            Role::Answer => "graceful-probes",
        }
    }
}

/// The stack of each thread, in bytes. An overflow would kill the whole process. In a debug build, name resolution and
/// the verification of a certificate need between 160 and 256 KiB; this is several times that. It is address space:
/// only what is used becomes memory.
const STACK: usize = 1024 * 1024;

/// No poll follows its predecessor's start sooner than this, whatever the interval.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);

/// A thread that has been started and has nothing to do yet: whoever must know that there is one, and cannot wait until
/// all that it works with is built, takes this first. Dropping it ends the thread.
pub struct Parked {
    hand_over: sync::Sender<Work>,
    call: Option<OwnedFd>,
}

/// What the thread is going to do.
type Work = Box<dyn FnOnce() + Send>;

impl Parked {
    /// Starts a thread that is going to ask. An error means that no thread can be had, or not what it needs from the
    /// kernel.
    pub fn to_ask() -> io::Result<Parked> {
        Parked::start(Role::Ask, None)
    }

    /// Starts a thread that is going to answer there, and builds what it needs for that when the first client has come:
    /// until then it is asleep in one system call, and costs neither time nor memory. Errors as above.
    pub fn to_answer(listener: &ProbeListener) -> io::Result<Parked> {
        Parked::start(Role::Answer, Some(listener.as_fd().try_clone_to_owned()?))
    }

    fn start(role: Role, listener: Option<OwnedFd>) -> io::Result<Parked> {
        // The runtime lives on the thread, and is built there; if none can be had, that is an error of this function.
        let reserve = fds::for_a_runtime()?;
        let (hand_over, handed_over) = sync::channel::<Work>();
        let (called, call) = listener.is_some().then(fds::output_pipe).transpose()?.unzip();
        let body = move || {
            if let (Some(listener), Some(called)) = (listener, called) {
                fds::poll(&[listener.as_fd(), called.as_fd()], None);
            }
            if let Ok(work) = handed_over.recv() {
                drop(reserve);
                work();
            }
        };
        signals::start_thread(role.thread_name(), STACK, body)?;
        Ok(Parked { hand_over, call })
    }

    /// Sets it to work. What it learns of checks and readiness, and what the probe server says, is in `shared`; without
    /// it there are neither. `notify` is called on the thread after each fact that was queued, and must return at once.
    pub fn begin(self, shared: Option<Arc<Shared>>, notify: impl Fn() + Send + 'static) -> Worker {
        let Parked { hand_over, call } = self;
        let (jobs, job_queue) = mpsc::unbounded_channel();
        let (fact_queue, facts) = sync::channel();
        let work = move || {
            let outbox = Rc::new(Outbox { facts: fact_queue, notify });
            // Unwind safety: after a panic the outbox is only used to say so, and everything else is gone.
            let ended = catch_unwind(AssertUnwindSafe(|| serve(job_queue, shared, outbox.clone())));
            if let Err(why) = ended.unwrap_or_else(|panic| Err(WorkerError::Panicked(panics::text(&*panic)))) {
                // The panic may have been notify's own.
                let _ = catch_unwind(AssertUnwindSafe(|| outbox.put(WorkerEvent::Died(why.to_string()))));
            }
        };
        // It waits for just that, so that nothing can fail.
        let _ = hand_over.send(Box::new(work));
        Worker { jobs, facts, _call: call }
    }
}

/// The handle of the thread. Dropping it ends the thread, without waiting for that.
pub struct Worker {
    jobs: mpsc::UnboundedSender<WorkerCommand>,
    facts: sync::Receiver<WorkerEvent>,
    /// A thread to which no client has come notices the end of this.
    _call: Option<OwnedFd>,
}

impl Worker {
    /// Starts a thread that asks, and sets it to work; see [`Parked`].
    pub fn start(shared: Option<Arc<Shared>>, notify: impl Fn() + Send + 'static) -> io::Result<Worker> {
        Ok(Parked::to_ask()?.begin(shared, notify))
    }

    /// Hands over a job. After [`WorkerEvent::Died`] it is dropped.
    pub fn send(&self, job: WorkerCommand) {
        // An error means that the thread is gone, which [`WorkerEvent::Died`] reports.
        let _ = self.jobs.send(job);
    }

    /// The next fact, if there is one.
    pub fn try_recv(&self) -> Option<WorkerEvent> {
        self.facts.try_recv().ok()
    }
}

/// The way to the main loop.
struct Outbox<N> {
    facts: sync::Sender<WorkerEvent>,
    notify: N,
}

impl<N: Fn()> Outbox<N> {
    fn put(&self, fact: WorkerEvent) {
        // When the main loop has dropped the handle, nobody wants to know.
        if self.facts.send(fact).is_ok() {
            (self.notify)();
        }
    }
}

/// What runs on the thread. Tasks share by Rc, since all of them are on it.
struct Tasks<N> {
    client: Rc<Client>,
    outbox: Rc<Outbox<N>>,
    running: JoinSet<()>,
    readiness: Option<AbortHandle>,
    successor: Option<AbortHandle>,
    liveness: Option<AbortHandle>,
    hold: Option<AbortHandle>,
    shared: Option<Arc<Shared>>,
    checks: Vec<AbortHandle>,
    commands: Rc<RefCell<Commands>>,
}

/// The commands that the main loop runs for checks.
#[derive(Default)]
struct Commands {
    next: u32,
    waiting: HashMap<u32, oneshot::Sender<Attempt>>,
}

/// What ends the thread before its time.
#[derive(Debug, thiserror::Error)]
enum WorkerError {
    #[error(transparent)]
    NoRuntime(#[from] io::Error),
    /// A task, or the thread itself; what it said.
    #[error("{0}")]
    Panicked(String),
}

/// Serves until the main loop drops its handle.
fn serve<N: Fn() + 'static>(
    mut jobs: mpsc::UnboundedReceiver<WorkerCommand>,
    shared: Option<Arc<Shared>>,
    outbox: Rc<Outbox<N>>,
) -> Result<(), WorkerError> {
    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    let client = Rc::new(Client::new());
    let mut tasks = Tasks {
        client,
        outbox,
        running: JoinSet::new(),
        readiness: None,
        successor: None,
        liveness: None,
        hold: None,
        shared,
        checks: Vec::new(),
        commands: Rc::default(),
    };
    LocalSet::new().block_on(&runtime, async move {
        loop {
            tokio::select! {
                job = jobs.recv() => match job {
                    Some(job) => tasks.take(job),
                    None => return Ok(()),
                },
                Some(ended) = tasks.running.join_next() => match ended {
                    Err(e) if e.is_panic() => return Err(WorkerError::Panicked(panics::text(&*e.into_panic()))),
                    // Done, or aborted by a later job.
                    Ok(()) | Err(_) => {}
                },
            }
        }
    })
}

impl<N: Fn() + 'static> Tasks<N> {
    fn take(&mut self, job: WorkerCommand) {
        let (client, outbox) = (self.client.clone(), self.outbox.clone());
        match job {
            WorkerCommand::Serve(listener) => self.serve(listener),
            WorkerCommand::StartChecks(checks) => self.start_checks(checks),
            WorkerCommand::StopChecks => self.stop_checks(),
            WorkerCommand::CommandEnded { id, attempt } => {
                if let Some(waiting) = self.commands.borrow_mut().waiting.remove(&id) {
                    // The check may have been given up.
                    let _ = waiting.send(attempt);
                }
            }
            WorkerCommand::Note(note) => self.note(note),
            WorkerCommand::PollReadiness { url, interval, timeout, until_ready } => {
                stop(&mut self.readiness);
                let shared = self.shared.clone();
                self.readiness = Some(self.running.spawn_local(every(interval, async move || {
                    let observation = client.get(&url, timeout).await;
                    trace_poll("readiness", &observation);
                    if let Some(shared) = &shared {
                        shared.polled(observation.verdict.is_ready(), &observation.detail, observation.took);
                    }
                    let done = until_ready && observation.verdict.is_ready();
                    outbox.put(WorkerEvent::Readiness(observation));
                    done
                })));
            }
            WorkerCommand::StopPolling => stop(&mut self.readiness),
            WorkerCommand::PollSuccessor { url, interval, timeout, from, generation } => {
                stop(&mut self.successor);
                let client = Client::coming_from(from);
                self.successor = Some(self.running.spawn_local(every(interval, async move || {
                    let observation = client.get(&url, timeout).await;
                    trace_poll("successor", &observation);
                    let done = observation.verdict.is_ready();
                    outbox.put(WorkerEvent::Successor { generation, observation });
                    done
                })));
            }
            WorkerCommand::StopSuccessor => stop(&mut self.successor),
            WorkerCommand::PollLiveness { url, interval, timeout } => {
                stop(&mut self.liveness);
                self.liveness = Some(self.running.spawn_local(every(interval, async move || {
                    let observation = client.get(&url, timeout).await;
                    trace_poll("liveness", &observation);
                    outbox.put(WorkerEvent::Liveness(observation));
                    false
                })));
            }
            WorkerCommand::StopLiveness => stop(&mut self.liveness),
            WorkerCommand::Post { id, url, timeout } => {
                self.running.spawn_local(async move {
                    let observation = client.post(&url, timeout).await;
                    outbox.put(WorkerEvent::Posted { id, observation });
                });
            }
            WorkerCommand::PollHold { url, interval, timeout } => {
                stop(&mut self.hold);
                self.hold = Some(self.running.spawn_local(every(interval, async move || {
                    let observation = client.get_2xx(&url, timeout).await;
                    trace_poll("hold", &observation);
                    let done = observation.verdict.is_ready();
                    outbox.put(match done {
                        true => WorkerEvent::HoldOver { detail: observation.detail },
                        false => WorkerEvent::HoldCheck(observation),
                    });
                    done
                })));
            }
            WorkerCommand::StopHold => stop(&mut self.hold),
            #[cfg(debug_assertions)]
            #[allow(clippy::panic, reason = "a test asks for it, and it is not in any release")]
            WorkerCommand::Fail => std::panic::panic_any("asked for by a test"),
        }
    }

    fn serve(&mut self, listener: ProbeListener) {
        let Some(shared) = self.shared.clone() else { return };
        let outbox = self.outbox.clone();
        self.running.spawn_local(async move {
            let why = server::serve(listener, shared).await;
            outbox.put(WorkerEvent::ServerEnded(why.to_string()));
        });
    }

    fn start_checks(&mut self, checks: Vec<CheckConfig>) {
        self.stop_checks();
        let Some(shared) = self.shared.clone() else { return };
        let (reporter, runner, commands) = (self.outbox.clone(), self.outbox.clone(), self.commands.clone());
        let desk = checks::CheckContext {
            client: self.client.clone(),
            names: Names::of_the_system(),
            shared,
            report: Rc::new(move |change| reporter.put(WorkerEvent::CheckChanged(change))),
            run: Rc::new(move |command| {
                let (answer, answered) = oneshot::channel();
                let id = commands.borrow_mut().add(answer);
                runner.put(WorkerEvent::RunCommand { id, command });
                answered
            }),
        };
        for (index, check) in checks.into_iter().enumerate() {
            self.checks.push(self.running.spawn_local(checks::run(index, check, desk.clone())));
        }
    }

    fn stop_checks(&mut self) {
        self.checks.drain(..).for_each(|task| task.abort());
        self.commands.borrow_mut().waiting.clear();
    }

    fn note(&self, note: ProbeNote) {
        let Some(shared) = &self.shared else { return };
        match note {
            ProbeNote::Changed => shared.reassess(),
            ProbeNote::HookEnded { name, stage, result, took } => {
                shared.metrics.hook_ended(&name, stage, &result, took)
            }
            ProbeNote::AppExited(status) => shared.metrics.app_exited(status),
        }
    }
}

impl Commands {
    fn add(&mut self, answer: oneshot::Sender<Attempt>) -> u32 {
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        self.waiting.insert(id, answer);
        id
    }
}

/// Runs `step` at once and then in this interval from start to start, or at once if it took longer, until it says
/// that it is done.
async fn every(interval: Duration, mut step: impl AsyncFnMut() -> bool) {
    loop {
        let start = Instant::now();
        if step().await {
            return;
        }
        sleep(interval.max(SHORTEST_INTERVAL).saturating_sub(start.elapsed())).await;
    }
}

fn trace_poll(purpose: &'static str, observation: &Observation) {
    let Observation { detail, took, .. } = observation;
    trace!(name: "polled", purpose, detail, took_s = took.as_secs_f64(), "{purpose} poll: {detail}, in {took:.1?}");
}

fn stop(task: &mut Option<AbortHandle>) {
    if let Some(task) = task.take() {
        task.abort();
    }
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;

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
//! nothing to ask. So a runtime lives on each of these threads, which are started with the first job that needs them.
//! What answers probes is not on the thread that asks: whatever a server sends there, and however much work it is to make
//! sense of that, no probe waits for it. They share what `state` holds.
//!
//! A worker and the main loop share nothing but two queues. Neither side ever waits for the other: sending a job and
//! taking a fact return at once, and `notify` (an eventfd write) tells the main loop that a fact is there.
//!
//! - Every observation is reported; the main loop decides what is news. The queue cannot grow without bound: facts
//!   come no faster than jobs and intervals make them, and each wakes the main loop, which takes all.
//! - With nothing to poll the thread sleeps without a timer.
//! - A panic ends this thread and nothing else; the main loop is told by [`Fact::Died`] and can start another.
//! - Signals: the thread has the mask of the one that started it. The main loop has all signals blocked by then, so
//!   none is ever delivered here. Nothing in this module changes a mask.
//! - Probes are answered from what is known (`state`); checks and polls only change that.
//! - These threads start no further ones but for what may hang (`aside`: statvfs(2), the system's certificates). Name
//!   resolution is done in the same loop, without libc's blocking resolver.

use super::checks;
use super::client::{Client, Observation};
use super::names::Names;
use super::server::{self, Listener};
use super::state::Shared;
use crate::config::Check;
use crate::health::{Attempt, Change};
use crate::secret::Url;
use crate::status::ExitStatus;
use crate::timeline::{HookResult, Stage};
use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc as sync;
use std::thread;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet, LocalSet};
use tokio::time::{Instant, sleep};

/// What a thread is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
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

/// An overflow would kill the whole process. In a debug build, name resolution and the verification of a certificate
/// need between 160 and 256 KiB; this is several times that. It is address space: only what is used becomes memory.
const STACK: usize = 1024 * 1024;

/// No poll follows its predecessor's start sooner than this, whatever the interval.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);

/// What the main loop wants done.
#[derive(Debug)]
pub enum Job {
    /// Answer probes there.
    Serve(Listener),
    /// Try all checks, from now on.
    StartChecks(Vec<Check>),
    /// Try none any more; what is under way is given up.
    StopChecks,
    /// A command of [`Fact::RunCommand`] has ended.
    CommandEnded {
        /// The id that it came with.
        id: u32,
        /// How it went.
        attempt: Attempt,
    },
    /// For the metrics.
    Note(Note),
    /// Poll readiness at once and then in this interval, instead of what was polled before. With `until_ready` the
    /// first success is the last poll. A poll that takes longer than the interval delays the next one: polls never
    /// overlap.
    PollReadiness {
        /// The readiness endpoint.
        url: Url,
        /// From the start of one poll to the start of the next.
        interval: Duration,
        /// For one poll.
        timeout: Duration,
        /// Whether the first success ends it.
        until_ready: bool,
    },
    /// Stop polling readiness; a poll under way is given up. An observation already queued still arrives.
    StopPolling,
    /// A hook: POST once.
    Post {
        /// Comes back with the result.
        id: u32,
        /// Where to.
        url: Url,
        /// For all of it.
        timeout: Duration,
    },
    /// Poll a hold's URL at once and then in this interval, until it answers 2xx.
    PollHold {
        /// The hold's URL.
        url: Url,
        /// From the start of one poll to the start of the next.
        interval: Duration,
        /// For one poll.
        timeout: Duration,
    },
    /// Stop polling the hold's URL.
    StopHold,
    /// Panic, for a test.
    #[cfg(debug_assertions)]
    Fail,
}

/// Something that happened in the main loop and is counted here.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// A phase has begun, which may have changed what the probes say.
    Phase,
    /// A hook has ended.
    HookEnded {
        /// Its name.
        name: String,
        /// Its stage.
        stage: Stage,
        /// How.
        result: HookResult,
        /// After how long.
        took: Duration,
    },
    /// The app has ended.
    AppExited(ExitStatus),
}

/// What the thread has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// One readiness poll's result.
    Readiness(Observation),
    /// A hook's result.
    Posted {
        /// The id of its [`Job::Post`].
        id: u32,
        /// Success is [`super::Verdict::Ready`].
        observation: Observation,
    },
    /// The hold's URL answered 2xx; it is polled no more.
    HoldOver {
        /// The answer.
        detail: String,
    },
    /// The hold's URL did not answer 2xx yet.
    HoldCheck(Observation),
    /// A check's status or its breaker changed.
    CheckChanged {
        /// The check.
        name: String,
        /// What changed.
        change: Change,
        /// The breaker is open: nothing is tried for this long.
        not_tried_for: Option<Duration>,
        /// Why.
        detail: String,
        /// What the other side said, for the log alone.
        said: Option<String>,
    },
    /// The probe server has ended, which it never should.
    ServerEnded(String),
    /// A command is to be run for a check; answer [`Job::CommandEnded`].
    RunCommand {
        /// To be named in the answer.
        id: u32,
        /// What to run.
        command: checks::Command,
    },
    /// The thread is gone and this is its last word: what was under way will not be reported.
    Died(String),
}

/// The handle of the thread. Dropping it ends the thread, without waiting for that.
pub struct Worker {
    jobs: mpsc::UnboundedSender<Job>,
    facts: sync::Receiver<Fact>,
}

impl Worker {
    /// Starts the thread. What it learns of checks and readiness, and what the probe server says, is in `shared`; without
    /// it there are neither. `notify` is called on the thread after each fact that was queued, and must return at once.
    pub fn start(role: Role, shared: Option<Arc<Shared>>, notify: impl Fn() + Send + 'static) -> io::Result<Worker> {
        // Built here so that a lack of descriptors is an error of this function.
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let (jobs, job_queue) = mpsc::unbounded_channel();
        let (fact_queue, facts) = sync::channel();
        let body = move || {
            let outbox = Rc::new(Outbox { facts: fact_queue, notify });
            // Unwind safety: after a panic the outbox is only used to say so, and everything else is gone.
            let ended = catch_unwind(AssertUnwindSafe(|| serve(&runtime, job_queue, shared, outbox.clone())));
            drop(runtime);
            if let Err(why) = ended.unwrap_or_else(|panic| Err(panic_text(&*panic))) {
                // The panic may have been notify's own.
                let _ = catch_unwind(AssertUnwindSafe(|| outbox.put(Fact::Died(why))));
            }
        };
        thread::Builder::new().name(role.thread_name().to_owned()).stack_size(STACK).spawn(body)?;
        Ok(Worker { jobs, facts })
    }

    /// Hands over a job. After [`Fact::Died`] it is dropped.
    pub fn send(&self, job: Job) {
        // An error says that the thread is gone, of which Fact::Died tells.
        let _ = self.jobs.send(job);
    }

    /// The next fact, if there is one.
    pub fn try_recv(&self) -> Option<Fact> {
        self.facts.try_recv().ok()
    }
}

/// The way to the main loop.
struct Outbox<N> {
    facts: sync::Sender<Fact>,
    notify: N,
}

impl<N: Fn()> Outbox<N> {
    fn put(&self, fact: Fact) {
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

/// Until the main loop drops its handle (`Ok`), or a task panics or nothing can work (`Err`).
fn serve<N: Fn() + 'static>(
    runtime: &Runtime,
    mut jobs: mpsc::UnboundedReceiver<Job>,
    shared: Option<Arc<Shared>>,
    outbox: Rc<Outbox<N>>,
) -> Result<(), String> {
    let client = Rc::new(Client::new());
    let mut tasks = Tasks {
        client,
        outbox,
        running: JoinSet::new(),
        readiness: None,
        hold: None,
        shared,
        checks: Vec::new(),
        commands: Rc::default(),
    };
    LocalSet::new().block_on(runtime, async move {
        loop {
            tokio::select! {
                job = jobs.recv() => match job {
                    Some(job) => tasks.take(job),
                    None => return Ok(()),
                },
                Some(ended) = tasks.running.join_next() => match ended {
                    Err(e) if e.is_panic() => return Err(panic_text(&*e.into_panic())),
                    // Done, or aborted by a later job.
                    Ok(()) | Err(_) => {}
                },
            }
        }
    })
}

impl<N: Fn() + 'static> Tasks<N> {
    fn take(&mut self, job: Job) {
        let (client, outbox) = (self.client.clone(), self.outbox.clone());
        match job {
            Job::Serve(listener) => self.serve(listener),
            Job::StartChecks(checks) => self.start_checks(checks),
            Job::StopChecks => self.stop_checks(),
            Job::CommandEnded { id, attempt } => {
                if let Some(waiting) = self.commands.borrow_mut().waiting.remove(&id) {
                    // The check may have been given up.
                    let _ = waiting.send(attempt);
                }
            }
            Job::Note(note) => self.note(note),
            Job::PollReadiness { url, interval, timeout, until_ready } => {
                stop(&mut self.readiness);
                let shared = self.shared.clone();
                self.readiness = Some(self.running.spawn_local(every(interval, async move || {
                    let observation = client.get(&url, timeout).await;
                    if let Some(shared) = &shared {
                        shared.polled(observation.verdict.is_ready(), &observation.detail, observation.took);
                    }
                    let done = until_ready && observation.verdict.is_ready();
                    outbox.put(Fact::Readiness(observation));
                    done
                })));
            }
            Job::StopPolling => stop(&mut self.readiness),
            Job::Post { id, url, timeout } => {
                self.running.spawn_local(async move {
                    let observation = client.post(&url, timeout).await;
                    outbox.put(Fact::Posted { id, observation });
                });
            }
            Job::PollHold { url, interval, timeout } => {
                stop(&mut self.hold);
                self.hold = Some(self.running.spawn_local(every(interval, async move || {
                    let observation = client.get_2xx(&url, timeout).await;
                    let done = observation.verdict.is_ready();
                    outbox.put(match done {
                        true => Fact::HoldOver { detail: observation.detail },
                        false => Fact::HoldCheck(observation),
                    });
                    done
                })));
            }
            Job::StopHold => stop(&mut self.hold),
            #[cfg(debug_assertions)]
            Job::Fail => std::panic::panic_any("asked for by a test"),
        }
    }

    fn serve(&mut self, listener: Listener) {
        let Some(shared) = self.shared.clone() else { return };
        let outbox = self.outbox.clone();
        self.running.spawn_local(async move {
            let why = server::serve(listener, shared).await;
            outbox.put(Fact::ServerEnded(why.to_string()));
        });
    }

    fn start_checks(&mut self, checks: Vec<Check>) {
        self.stop_checks();
        let Some(shared) = self.shared.clone() else { return };
        let (reporter, runner, commands) = (self.outbox.clone(), self.outbox.clone(), self.commands.clone());
        let desk = checks::Desk {
            client: self.client.clone(),
            names: Names::of_the_system(),
            shared,
            report: Rc::new(move |fact| reporter.put(fact)),
            run: Rc::new(move |command| {
                let (answer, answered) = oneshot::channel();
                let id = commands.borrow_mut().add(answer);
                runner.put(Fact::RunCommand { id, command });
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

    fn note(&self, note: Note) {
        let Some(shared) = &self.shared else { return };
        match note {
            Note::Phase => shared.reassess(),
            Note::HookEnded { name, stage, result, took } => shared.metrics.hook_ended(&name, stage, &result, took),
            Note::AppExited(status) => shared.metrics.app_exited(status),
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

fn stop(task: &mut Option<AbortHandle>) {
    if let Some(task) = task.take() {
        task.abort();
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panic: {}", text.unwrap_or("without a message"))
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;

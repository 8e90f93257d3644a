//! The thread that looks at the app's connections while a stop goes on.
//!
//! It finds out which ports the app's tree listens on, says whether the app has a handler for the stop signal, and then
//! takes sample after sample into a [`Tracker`]. It begins with t0 and ends with the app: an app that merely runs has no
//! such thread. The main loop is told of each sample by a queue and a wake-up, and never waits for it.
//!
//! - Ten samples a second, and more right after the app got its signal, when every moment counts for the report; fewer
//!   where a sample takes long: sampling takes a twentieth of a core at most.
//! - What cannot be seen is said once, and then nothing is held for it.
//! - A panic ends this thread and nothing else; the main loop is told by [`News::Blind`].

use super::handler::{self, Handler};
use super::{Counts, Tracker};
use crate::signal::Signal;
use crate::sys::sockets::{Held, Listener, Sampler, Source, held_by, own_ends, take_closed};
use crate::sys::{getpid, tree};
use std::collections::BTreeSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// The thread's name, for `ps -T`.
const THREAD_NAME: &str = "graceful-socks";
const STACK: usize = 256 * 1024;
/// From the start of one sample to the start of the next.
const INTERVAL: Duration = Duration::from_millis(100);
/// The same, once the app has its signal.
const CLOSE_LOOK: Duration = Duration::from_millis(20);
/// So many times as long as a sample takes it is at least to the next.
const SHARE: u32 = 20;

/// So many looks at a dying app are kept to oneself.
const DYING: u32 = 10;

/// What is to be watched.
#[derive(Clone, Debug)]
pub struct Task {
    /// `--ports`; none: what the app's tree listens on.
    pub ports: Option<Vec<u16>>,
    /// `--quiet-window`.
    pub quiet_window: Duration,
    /// The hold is over when nothing new has come for the quiet window, too.
    pub quiet: bool,
    /// What the app is going to get.
    pub signal: Signal,
    /// graceful's start: times count from it.
    pub start: Instant,
    /// This process's own connections are clients like any other: a drill's load.
    pub counts_own: bool,
}

/// What the thread has to tell.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// One sample.
    Sampled {
        /// When it was taken, since graceful's start.
        at: Duration,
        /// What was seen.
        counts: Counts,
        /// What the hold waits for has come.
        reached: bool,
        /// It in words: "idle", "2 busy, 1 unknown".
        words: String,
    },
    /// The app's processes that listen have no handler for the stop signal.
    NoHandler,
    /// Something that the user should know.
    Trouble(String),
    /// Nothing can be seen, and why; the thread has ended.
    Blind(String),
}

/// The thread's handle; dropping it ends the thread, without waiting for that.
#[derive(Debug)]
pub struct Watch {
    orders: Sender<()>,
    news: Receiver<News>,
}

impl Watch {
    /// Starts the thread; `notify` is called on it for each news and must return at once.
    pub fn start(task: Task, notify: impl Fn() + Send + 'static) -> io::Result<Watch> {
        let (orders, order_queue) = mpsc::channel();
        let (sender, news) = mpsc::channel();
        let body = move || {
            let tell = |what| {
                if sender.send(what).is_ok() {
                    notify();
                }
            };
            let ended = catch_unwind(AssertUnwindSafe(|| watch(&task, &order_queue, &tell)));
            if let Err(why) = ended.unwrap_or_else(|_| Err("internal failure".to_owned())) {
                tell(News::Blind(why));
            }
        };
        thread::Builder::new().name(THREAD_NAME.to_owned()).stack_size(STACK).spawn(body)?;
        Ok(Watch { orders, news })
    }

    /// The app has its signal: look closely.
    pub fn look_closely(&self) {
        // An error says that the thread is gone, of which News::Blind tells.
        let _ = self.orders.send(());
    }

    /// The next news, if there is any.
    pub fn try_recv(&self) -> Option<News> {
        self.news.try_recv().ok()
    }
}

fn watch(task: &Task, orders: &Receiver<()>, tell: &dyn Fn(News)) -> Result<(), String> {
    let mut sampler = Sampler::new(&[]);
    let (ports, processes) = find(task, &mut sampler, tell)?;
    sampler.watch(&ports);
    let handler = handler::of(&processes, task.signal);
    if handler == Handler::Missing {
        tell(News::NoHandler);
    }
    let mut tracker = Tracker::new(task.quiet_window);
    tracker.handler(handler);
    let mut interval = INTERVAL;
    let (mut told, mut untold) = (false, 0);
    let mut closed = Vec::new();
    loop {
        let begin = Instant::now();
        let own_now = || if task.counts_own { Default::default() } else { own_ends(&ports) };
        let mut own = own_now();
        // Once more: what was made and closed since the last sample may only be in this one. Not for ever: the port may
        // be a client's later.
        own.extend(closed.drain(..));
        let sampled = sampler.sample().map_err(|error| error.to_string())?;
        let by_proc = sampled.source == Source::Proc;
        own.extend(own_now());
        closed = take_closed();
        own.extend(&closed);
        tracker.ignore(own);
        let counts = tracker.sample(task.start.elapsed(), sampled);
        if by_proc && !std::mem::replace(&mut told, true) {
            let why = sampler.refusal().map(ToString::to_string).unwrap_or_default();
            tell(News::Trouble(format!(
                "in flight: sock_diag cannot be used ({why}); /proc/net/tcp shows connections, but not what they do"
            )));
        }
        // Connections that died with the app were not answered: what was seen before it died is what counts.
        // (Unless the app is still there after a while: it was another process that listened.)
        let dying = !processes.is_empty() && processes.iter().all(|pid| tree::has_let_go(*pid));
        untold = if dying { untold + 1 } else { 0 };
        if untold == 0 || untold > DYING {
            let verdict = if task.quiet { tracker.quiet() } else { tracker.idle() };
            let (at, reached, words) = (task.start.elapsed(), verdict.is_reached(), verdict.to_string());
            tell(News::Sampled { at, counts, reached, words });
        }
        let took = begin.elapsed();
        match orders.recv_timeout(interval.max(took * SHARE).saturating_sub(took)) {
            Ok(()) => interval = CLOSE_LOOK,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

/// The ports to watch, and the processes that listen on them.
fn find(task: &Task, sampler: &mut Sampler, tell: &dyn Fn(News)) -> Result<(Vec<u16>, Vec<i32>), String> {
    let all: Vec<Listener> = match sampler.listeners() {
        Ok(listeners) => listeners.to_vec(),
        Err(error) => return Err(error.to_string()),
    };
    let tree: Vec<i32> = tree::descendants().unwrap_or_default().iter().map(|process| process.pid).collect();
    let held = held_by(&tree, &all);
    tell_of_unix_sockets(&held, tell);
    let ports = |listeners: &[Listener]| -> Vec<u16> {
        listeners.iter().map(|listener| listener.local.port()).collect::<BTreeSet<u16>>().into_iter().collect()
    };
    if let Some(ports) = &task.ports {
        return Ok((ports.clone(), held.processes));
    }
    if held.unreadable.is_empty() {
        return Ok((ports(&held.listeners), held.processes));
    }
    // Another user's processes, without CAP_SYS_PTRACE. In a container what listens is the app's, but for graceful itself.
    if getpid() == 1 {
        let own = held_by(&[getpid()], &all).listeners;
        let others: Vec<Listener> = all.into_iter().filter(|listener| !own.contains(listener)).collect();
        return Ok((ports(&others), held.processes));
    }
    tell(News::Trouble(
        "in flight: what some of the app's processes listen on cannot be seen, they are another user's; --ports says it"
            .to_owned(),
    ));
    Ok((ports(&held.listeners), held.processes))
}

/// What they do cannot be seen, and nothing is held for it.
fn tell_of_unix_sockets(held: &Held, tell: &dyn Fn(News)) {
    let Some(first) = held.unix.first() else { return };
    let more = if held.unix.len() > 1 { format!(" and {} more", held.unix.len() - 1) } else { String::new() };
    let what = if held.listeners.is_empty() { "listens on Unix sockets only" } else { "listens on Unix sockets, too" };
    tell(News::Trouble(format!(
        "in flight: the app {what} ({first}{more}), and requests over them cannot be seen: nothing is held for those"
    )));
}

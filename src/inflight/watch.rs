//! The thread that looks at the app's connections while a stop goes on.
//!
//! It finds out where the app's tree listens, and whether it provably does not listen at all; says whether the app has a
//! handler for the stop signal; and then takes sample after sample into a [`Tracker`]. It begins with t0 and ends with the
//! app: an app that merely runs has no such thread. The main loop is told of each sample by a queue and a wake-up, and
//! never waits for it.
//!
//! - Where the app listens is looked at again each second, until it has its signal: a port may be opened later.
//! - After the app's end it tells, if asked, what is still on its way to the clients, until nothing is.
//! - Ten samples a second, and more right after the app got its signal, when every moment counts for the report; fewer
//!   where a sample takes long: sampling takes a twentieth of a core at most.
//! - What cannot be seen is said once, and then nothing is held for it.
//! - A panic ends this thread and nothing else; the main loop is told by [`News::Blind`].

use super::found::Found;
use super::handler::{self, Handler};
use super::inside::Inside;
use super::{Counts, Tracker};
use crate::signal::Signal;
use crate::sys::sockets::{Sampler, Source, UnixSampler, own_ends, take_closed};
use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
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

/// From one look for listeners to the next.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// What is on its way to the clients is not waited for any longer when none of them has taken a byte for so long: they are
/// gone without a word, as a telephone in a tunnel is.
const STALLED: Duration = Duration::from_secs(5);

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
    /// A handler of the app's own is expected to know about requests; false where it is known not to, as of a server whose
    /// profile says that its handler drops them.
    pub trusts_handler: bool,
    /// Connections are looked at; otherwise only whether anything listens, once.
    pub samples: bool,
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
    /// It is proven that nothing of the app listens.
    NothingListens,
    /// So much that the app has handed to the kernel has not reached its clients; after [`Watch::look_after`], at once and
    /// on each change. With no connection left the thread has ended.
    Undelivered {
        /// Connections that the app has closed.
        connections: usize,
        /// Of all of them together.
        bytes: u64,
    },
    /// Nobody has taken a byte of that for so long, and the thread has ended.
    Stalled(Duration),
    /// What cannot be watched, in words.
    NotWatched(String),
    /// The app's processes that listen have no handler for the stop signal.
    NoHandler,
    /// Something that the user should know.
    Trouble(String),
    /// Nothing can be seen, and why; the thread has ended.
    Blind(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    LookClosely,
    LookAfter,
}

/// The thread's handle; dropping it ends the thread, without waiting for that.
#[derive(Debug)]
pub struct Watch {
    orders: Sender<Order>,
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
        let _ = self.orders.send(Order::LookClosely);
    }

    /// The app is gone: look at what it has left to the kernel. False if nothing will be told of it.
    pub fn look_after(&self) -> bool {
        self.orders.send(Order::LookAfter).is_ok()
    }

    /// The next news, if there is any.
    pub fn try_recv(&self) -> Option<News> {
        self.news.try_recv().ok()
    }
}

fn watch(task: &Task, orders: &Receiver<Order>, tell: &dyn Fn(News)) -> Result<(), String> {
    let mut watcher = Watcher::new(task);
    watcher.find(tell)?;
    if watcher.found.nothing_listens {
        tell(News::NothingListens);
    }
    let mut looked = Instant::now();
    let mut interval = INTERVAL;
    if !task.samples {
        return Ok(());
    }
    loop {
        let begin = Instant::now();
        let again = looked.elapsed() >= LOOK_AGAIN.max(watcher.find_took * SHARE);
        if again && interval == INTERVAL && !watcher.found.have_let_go() {
            watcher.find(tell)?;
            looked = Instant::now();
        }
        watcher.sample(tell)?;
        let took = begin.elapsed();
        match orders.recv_timeout(interval.max(took * SHARE).saturating_sub(took)) {
            Ok(Order::LookClosely) => interval = CLOSE_LOOK,
            Ok(Order::LookAfter) => return watcher.look_after(orders, tell),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

/// What the thread knows.
struct Watcher<'a> {
    task: &'a Task,
    sampler: Sampler,
    unix: UnixSampler,
    inside: Inside,
    tracker: Tracker,
    found: Found,
    find_took: Duration,
    /// Own connections that were closed before the last sample.
    closed: Vec<SocketAddr>,
    told: HashSet<String>,
    /// The app has no handler, and that was told.
    unhandled: bool,
    /// Looks at a dying app that were not told.
    untold: u32,
}

impl Watcher<'_> {
    fn new(task: &Task) -> Watcher<'_> {
        Watcher {
            task,
            sampler: Sampler::new(&[]),
            unix: UnixSampler::default(),
            inside: Inside::default(),
            tracker: Tracker::new(task.quiet_window),
            found: Found::default(),
            find_took: Duration::ZERO,
            closed: Vec::new(),
            told: HashSet::new(),
            unhandled: false,
            untold: 0,
        }
    }

    /// Where requests come in, and what is to be said of that.
    fn find(&mut self, tell: &dyn Fn(News)) -> Result<(), String> {
        let begin = Instant::now();
        let found = Found::look(self.task, &mut self.sampler, &mut self.unix)?;
        self.find_took = begin.elapsed();
        let known = self.found.processes.clone();
        self.found.add(found);
        if known != self.found.processes {
            let handler = match handler::of(&self.found.processes, self.task.signal) {
                Handler::Present if !self.task.trusts_handler => Handler::Unproven,
                handler => handler,
            };
            self.tracker.handler(handler);
            if handler == Handler::Missing && !std::mem::replace(&mut self.unhandled, true) {
                tell(News::NoHandler);
            }
        }
        match &self.task.ports {
            Some(ports) => self.sampler.watch(ports),
            None => self.sampler.watch_listeners(&self.found.at),
        }
        if !self.task.samples {
            return Ok(());
        }
        if self.found.incomplete {
            let what =
                "what some of the app's processes listen on cannot be seen, they are another user's; --ports says it";
            self.tell_once(tell, format!("in flight: {what}"), News::Trouble);
        }
        if let Some(what) = self.found.not_watched() {
            self.tell_once(tell, what, News::NotWatched);
        }
        Ok(())
    }

    fn sample(&mut self, tell: &dyn Fn(News)) -> Result<(), String> {
        let Watcher { task, sampler, unix, inside, tracker, found, closed, .. } = self;
        let mut own = own_now(task, found);
        // Once more: what was made and closed since the last sample may only be in this one. Not for ever: the port may
        // be a client's later.
        own.extend(closed.drain(..));
        let mut over_unix = unix.sample(&found.unix);
        inside.leave_out(&mut over_unix, &found.tree);
        let sampled = sampler.sample().map_err(|error| error.to_string())?;
        own.extend(own_now(task, found));
        *closed = take_closed();
        own.extend(closed.iter());
        tracker.ignore(own);
        let now = task.start.elapsed();
        tracker.sample_unix(now, &over_unix);
        let counts = tracker.sample(now, sampled);
        self.tell_limits(!over_unix.is_empty(), tell);
        self.tell_sample(counts, tell);
        Ok(())
    }

    /// What cannot be seen on this machine.
    fn tell_limits(&mut self, over_unix: bool, tell: &dyn Fn(News)) {
        if self.sampler.source() == Source::Proc {
            let why = self.sampler.refusal().map(ToString::to_string).unwrap_or_default();
            let what =
                format!("sock_diag cannot be used ({why}); /proc/net/tcp shows connections, but not what they do");
            self.tell_once(tell, format!("in flight: {what}"), News::Trouble);
        }
        if let (Some(why), true) = (self.unix.refusal(), over_unix) {
            let what = format!("of connections over Unix sockets only their number can be seen ({why})");
            self.tell_once(tell, format!("in flight: {what}"), News::Trouble);
        }
    }

    /// Connections that died with the app were not answered: what was seen before it died is what counts.
    /// (Unless the app is still there after a while: it was another process that listened.)
    fn tell_sample(&mut self, counts: Counts, tell: &dyn Fn(News)) {
        self.untold = if self.found.have_let_go() { self.untold + 1 } else { 0 };
        if self.untold == 0 || self.untold > DYING {
            let verdict = if self.task.quiet { self.tracker.quiet() } else { self.tracker.idle() };
            // There was nothing to be quiet about; but a client may have come since.
            let reached = verdict.is_reached() || self.found.nothing_listens && counts.is_idle();
            tell(News::Sampled { at: self.task.start.elapsed(), counts, reached, words: verdict.to_string() });
        }
    }

    /// Until everything is delivered, or nobody takes anything any more.
    fn look_after(&mut self, orders: &Receiver<Order>, tell: &dyn Fn(News)) -> Result<(), String> {
        let mut last = None;
        let mut moved = Instant::now();
        loop {
            let begin = Instant::now();
            let (connections, bytes) = self.sampler.sample().map_err(|error| error.to_string())?.undelivered();
            if last.is_none_or(|(_, before)| before != bytes) {
                moved = begin;
            }
            if last != Some((connections, bytes)) {
                tell(News::Undelivered { connections, bytes });
            }
            last = Some((connections, bytes));
            if connections == 0 {
                return Ok(());
            }
            if moved.elapsed() >= STALLED {
                tell(News::Stalled(STALLED));
                return Ok(());
            }
            let took = begin.elapsed();
            let pause = CLOSE_LOOK.max(took * SHARE).saturating_sub(took);
            if orders.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
                return Ok(());
            }
        }
    }

    fn tell_once(&mut self, tell: &dyn Fn(News), what: String, news: fn(String) -> News) {
        if self.told.insert(what.clone()) {
            tell(news(what));
        }
    }
}

/// This process's own ends of connections to where the app listens.
fn own_now(task: &Task, found: &Found) -> HashSet<SocketAddr> {
    let ports = |at: &[SocketAddr]| at.iter().map(SocketAddr::port).collect::<Vec<u16>>();
    if task.counts_own { HashSet::new() } else { own_ends(&ports(&found.at)) }
}

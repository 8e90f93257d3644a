//! The thread that looks at the app's connections while a stop goes on.
//!
//! It finds out where the app's tree listens, and whether it provably does not listen at all; says whether the app has
//! a handler for the stop signal; and then takes sample after sample into a [`Tracker`]. It begins with t0 and ends
//! with the app: an app that merely runs has no such thread. The main loop is told of each sample by a queue and a
//! wake-up, and never waits for it.
//!
//! - Where no thread can be had, the main loop calls for each look ([`WatchThread::here`]): what is in flight is still
//!   held for.
//! - A look is cut short when its result is no longer of use, as when SIGKILL is due. Of very many processes, only the
//!   oldest are looked through.
//! - Where the app listens is looked at again each second, until it has its signal: a port may be opened later.
//! - After the app's end it tells, if asked, what is still on its way to the clients, until nothing is.
//! - Ten samples a second, and more right after the app got its signal, when every moment counts for the report; fewer
//!   where a sample takes long: sampling takes a twentieth of a core at most.
//! - What cannot be seen is said once, and then nothing is held for it.
//! - A panic ends this thread and nothing else; the main loop is told by [`InFlightEvent::Blind`].

use super::found::{Found, LOOKED_THROUGH};
use super::handler::{self, Handler};
use super::inside::Inside;
use super::own::OwnSockets;
use super::{Pause, Tracker};
use crate::counts::Counts;
use crate::panics;
use crate::signal::Signal;
use crate::sys::signals;
use crate::sys::sockets::{SampleSource, Sampler, Unavailable, UnixSampler, own_ends, take_closed};
use crate::sys::whose::Ownership;
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};
use tracing::{debug, trace};

/// The thread's name, for `ps -T`.
const THREAD_NAME: &str = "graceful-socks";
const STACK: usize = 256 * 1024;
/// From the start of one sample to the start of the next.
const INTERVAL: Duration = Duration::from_millis(100);
/// The same, once the app has its signal.
const CLOSE_LOOK: Duration = Duration::from_millis(20);
/// The pause to the next sample is at least this many times as long as a sample takes.
const SHARE: u32 = 20;

/// From one look for listeners to the next.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// What is on its way to the clients is not waited for any longer when none of them has taken a byte for this long:
/// they are gone without a word, as a telephone in a tunnel is.
const STALLED: Duration = Duration::from_secs(5);

/// Number of looks at a dying app that are not reported.
const DYING: u32 = 10;

/// After this many samples in a row in which nobody waits to be accepted, nobody will: what is new goes to another
/// socket.
const SETTLED: u32 = 3;

/// What is to be watched.
#[derive(Clone, Debug)]
pub struct Task {
    /// `--ports`; `None`: what the app's process tree listens on.
    pub ports: Option<Vec<u16>>,
    /// `--quiet-window`.
    pub quiet_window: Duration,
    /// Whether the hold also waits until nothing new has come for the quiet window.
    pub quiet: bool,
    /// The signal that the app is going to get.
    pub signal: Signal,
    /// graceful's start: times count from it.
    pub start: Instant,
    /// Whether this process's own connections are clients like any other: a drill's load.
    pub counts_own: bool,
    /// Whether a handler of the app's own is expected to know about requests; not that of a server whose profile says
    /// that its handler drops them.
    pub trusts_handler: bool,
    /// Whether connections are looked at; otherwise only whether anything listens, once.
    pub samples: bool,
    /// Whose sockets count, where another run of the app is beside the one that is watched, and may listen on the same
    /// addresses.
    pub of: Option<Ownership>,
}

impl Task {
    /// Whether another run of the app gets what is new.
    fn is_replaced(&self) -> bool {
        self.of.is_some_and(|of| !of.counts)
    }
}

/// What the thread has to tell.
#[derive(Clone, Debug, PartialEq)]
pub enum InFlightEvent {
    /// One sample.
    Sampled {
        /// When it was taken, since graceful's start.
        at: Duration,
        /// What was seen.
        counts: Counts,
        /// What the hold waits for has come.
        reached: bool,
        /// The sample in words: "idle", "2 busy, 1 unknown".
        words: String,
    },
    /// It is proven that nothing of the app listens.
    NothingListens,
    /// This much of what the app has handed to the kernel has not reached its clients; after
    /// [`WatchThread::look_after`], at once and on each change. With no connection left the thread has ended.
    Undelivered {
        /// Connections that the app has closed.
        connections: usize,
        /// Of all of them together.
        bytes: u64,
    },
    /// Nobody has taken a byte of that for this long, and the thread has ended.
    Stalled(Duration),
    /// At this moment nobody waits for an answer ([`WatchThread::look_for_calm`]).
    Calm,
    /// What cannot be watched, in words.
    NotWatched(String),
    /// An answer that was taken for over went on. Told once.
    WentOn(Pause),
    /// The app's processes that listen have no handler for the stop signal.
    NoHandler,
    /// Something that the user should know.
    Trouble(String),
    /// Nothing can be seen, and why; the thread has ended.
    Blind(String),
}

/// What comes after a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// The next look, after this pause.
    Again(Duration),
    /// Nothing: all is said, or nobody needs to know any more.
    Over,
}

/// Why nothing can be seen any more.
#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// What a panic of the look said.
    #[error("{0}")]
    Panicked(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    LookClosely,
    LookAfter,
    AwaitCalm,
}

/// The handle of the thread, or of what stands in for it. Dropping it ends the thread, in the middle of a look too, and
/// without waiting for that.
#[derive(Debug)]
pub struct WatchThread {
    orders: Sender<Order>,
    news: Receiver<InFlightEvent>,
    over: Arc<AtomicBool>,
    /// What is done without a thread, until it is over.
    here: Option<Box<Here>>,
}

impl WatchThread {
    /// Starts the thread; `notify` is called on it for each news and must return at once.
    pub fn start(task: Task, notify: impl Fn() + Send + 'static) -> io::Result<WatchThread> {
        let (watch, mut here) = WatchThread::new(task);
        let body = move || {
            while let Turn::Again(pause) = here.turn(&notify) {
                match here.orders.recv_timeout(pause) {
                    Ok(order) => here.watcher.take(order),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        };
        signals::start_thread(THREAD_NAME, STACK, body)?;
        Ok(watch)
    }

    /// The same where no thread can be had: all that it would do is done by [`WatchThread::turn`].
    pub fn here(task: Task) -> WatchThread {
        let (mut watch, here) = WatchThread::new(task);
        watch.here = Some(Box::new(here));
        watch
    }

    fn new(task: Task) -> (WatchThread, Here) {
        let (orders, order_queue) = mpsc::channel();
        let (sender, news) = mpsc::channel();
        let over = Arc::new(AtomicBool::new(false));
        let watcher = Watcher::new(task, Arc::clone(&over));
        let here = Here { watcher, orders: order_queue, news: sender, due: Instant::now() };
        (WatchThread { orders, news, over, here: None }, here)
    }

    /// When to call [`WatchThread::turn`]; never, where there is a thread.
    pub fn due(&self) -> Option<Instant> {
        self.here.as_ref().map(|here| here.due)
    }

    /// Takes a sample, if it is due. It takes as long as it takes: milliseconds, with very many processes longer.
    pub fn turn(&mut self) {
        let Some(here) = self.here.as_mut().filter(|here| here.due <= Instant::now()) else { return };
        while let Ok(order) = here.orders.try_recv() {
            here.watcher.take(order);
        }
        match here.turn(&|| {}) {
            Turn::Again(pause) => here.due = Instant::now() + pause,
            Turn::Over => self.here = None,
        }
    }

    /// The app has its signal: look closely.
    pub fn look_closely(&mut self) {
        self.order(Order::LookClosely);
    }

    /// The app is gone: look at what it has left to the kernel. Returns false if nothing will be reported of it.
    pub fn look_after(&mut self) -> bool {
        self.order(Order::LookAfter)
    }

    /// The hold is nearly over: report a moment at which nobody waits for an answer ([`InFlightEvent::Calm`]).
    pub fn look_for_calm(&mut self) {
        self.order(Order::AwaitCalm);
    }

    fn order(&mut self, order: Order) -> bool {
        if let Some(here) = &mut self.here {
            here.due = Instant::now();
        }
        // An error means that the thread is gone, which [`InFlightEvent::Blind`] reports.
        self.orders.send(order).is_ok()
    }

    /// The next news, if there is any.
    pub fn try_recv(&self) -> Option<InFlightEvent> {
        self.news.try_recv().ok()
    }
}

impl Drop for WatchThread {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// The watching itself, wherever it is done.
struct Here {
    watcher: Watcher,
    orders: Receiver<Order>,
    news: Sender<InFlightEvent>,
    due: Instant,
}

impl fmt::Debug for Here {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Here").field("due", &self.due).finish_non_exhaustive()
    }
}

impl Here {
    /// One look.
    fn turn(&mut self, notify: &dyn Fn()) -> Turn {
        let Here { watcher, news, .. } = self;
        let tell = |what| {
            if news.send(what).is_ok() {
                notify();
            }
        };
        let turned = catch_unwind(AssertUnwindSafe(|| watcher.turn(&tell)));
        turned.unwrap_or_else(|panic| Err(WatchError::Panicked(panics::text(&*panic)))).unwrap_or_else(|why| {
            tell(InFlightEvent::Blind(why.to_string()));
            Turn::Over
        })
    }
}

/// What is being looked at.
#[derive(Clone, Copy, Debug)]
enum Doing {
    /// Nothing yet.
    Before,
    /// The app; and when its listeners were last looked for.
    App { looked: Instant },
    /// What the app has left to the kernel: connections and bytes, and since when it is that many.
    After { last: Option<(usize, u64)>, moved: Instant },
}

/// What is known.
struct Watcher {
    task: Task,
    over: Arc<AtomicBool>,
    doing: Doing,
    interval: Duration,
    sampler: Sampler,
    unix: UnixSampler,
    inside: Inside,
    /// The run's own sockets, where another run of the app has some, too.
    own_sockets: Option<OwnSockets>,
    tracker: Tracker,
    found: Found,
    find_took: Duration,
    /// Own connections that were closed before the last sample.
    closed: Vec<SocketAddr>,
    told: HashSet<String>,
    /// The app has a handler that is trusted.
    has_handler: bool,
    /// A moment at which nobody waits for an answer is enough.
    wants_calm: bool,
    /// Samples in a row in which nobody waited to be accepted.
    none_waits: u32,
    /// The app has no handler, and that was reported.
    unhandled: bool,
    /// An answer that was taken for over went on, and that was reported.
    went_on: bool,
    /// Looks at a dying app that were not reported.
    untold: u32,
}

impl Watcher {
    fn new(task: Task, over: Arc<AtomicBool>) -> Watcher {
        let tracker = Tracker::new(task.quiet_window);
        let own_sockets = task.of.map(OwnSockets::new);
        Watcher {
            task,
            over,
            doing: Doing::Before,
            interval: INTERVAL,
            sampler: Sampler::new(&[]),
            unix: UnixSampler::default(),
            inside: Inside::default(),
            own_sockets,
            tracker,
            found: Found::default(),
            find_took: Duration::ZERO,
            closed: Vec::new(),
            told: HashSet::new(),
            has_handler: false,
            none_waits: 0,
            wants_calm: false,
            unhandled: false,
            went_on: false,
            untold: 0,
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::LookClosely => self.interval = CLOSE_LOOK,
            Order::AwaitCalm => (self.interval, self.wants_calm) = (CLOSE_LOOK, true),
            Order::LookAfter => self.doing = Doing::After { last: None, moved: Instant::now() },
        }
    }

    /// One look.
    fn turn(&mut self, tell: &dyn Fn(InFlightEvent)) -> Result<Turn, WatchError> {
        let mut begin = Instant::now();
        let interval = match self.doing {
            Doing::Before => {
                self.find(tell)?;
                begin = Instant::now();
                if self.found.nothing_listens && !self.is_over() {
                    tell(InFlightEvent::NothingListens);
                }
                if !self.task.samples {
                    return Ok(Turn::Over);
                }
                self.doing = Doing::App { looked: Instant::now() };
                self.sample(tell)?
            }
            Doing::App { looked } => {
                let again = looked.elapsed() >= LOOK_AGAIN.max(self.find_took * SHARE);
                if again && self.interval == INTERVAL && !self.found.have_let_go() {
                    self.find(tell)?;
                    self.doing = Doing::App { looked: Instant::now() };
                }
                self.sample(tell)?
            }
            Doing::After { last, moved } => match self.look_after(last, moved, tell)? {
                Turn::Again(interval) => interval,
                Turn::Over => return Ok(Turn::Over),
            },
        };
        let took = begin.elapsed();
        let pause = interval.max(took * SHARE).saturating_sub(took);
        Ok(if self.is_over() { Turn::Over } else { Turn::Again(pause) })
    }

    /// Where requests come in, and what is to be said of that.
    fn find(&mut self, tell: &dyn Fn(InFlightEvent)) -> Result<(), Unavailable> {
        let begin = Instant::now();
        let over = Arc::clone(&self.over);
        let go_on = || !over.load(Ordering::Relaxed);
        let of = self.task.of.as_ref();
        let found = Found::look(self.task.ports.as_deref(), of, &go_on, &mut self.sampler, &mut self.unix)?;
        if !go_on() {
            return Ok(());
        }
        self.find_took = begin.elapsed();
        let known = self.found.processes.clone();
        let listeners = self.found.at.len() + self.found.unix.len();
        self.found.add(found);
        if self.found.nothing_listens || listeners != self.found.at.len() + self.found.unix.len() {
            let Found { at, unix, processes, .. } = &self.found;
            debug!(
                name: "listeners_found", tcp = ?at, unix = unix.len(), ?processes,
                "the app listens on TCP {at:?} and {} Unix sockets, in pids {processes:?}", unix.len()
            );
        }
        if known != self.found.processes {
            let handler = match handler::of(&self.found.processes, self.task.signal) {
                Handler::Present if !self.task.trusts_handler => Handler::Unproven,
                handler => handler,
            };
            self.tracker.handler(handler);
            self.has_handler = handler == Handler::Present;
            if handler == Handler::Missing && !std::mem::replace(&mut self.unhandled, true) {
                tell(InFlightEvent::NoHandler);
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
            let what = "what some of the app's processes listen on cannot be seen (they are another user's); --ports can name it";
            self.tell_once(tell, format!("in flight: {what}"), InFlightEvent::Trouble);
        }
        if self.found.cut {
            let what = format!(
                "only the first {LOOKED_THROUGH} of the app's processes are looked through; --ports can name the rest"
            );
            self.tell_once(tell, format!("in flight: {what}"), InFlightEvent::Trouble);
        }
        if let Some(what) = self.found.not_watched() {
            self.tell_once(tell, what, InFlightEvent::NotWatched);
        }
        Ok(())
    }

    /// Takes one sample of the app's connections; returns the pause until the next one.
    fn sample(&mut self, tell: &dyn Fn(InFlightEvent)) -> Result<Duration, Unavailable> {
        if self.is_over() {
            return Ok(self.interval);
        }
        let Watcher { task, sampler, unix, inside, own_sockets, tracker, found, closed, .. } = self;
        let open = own_now(task, found);
        let mut own = open.clone();
        // Once more: what was made and closed since the last sample may only be in this one. Not for ever: the port may
        // be a client's later.
        own.extend(closed.drain(..));
        let mut over_unix = unix.sample(&found.unix);
        inside.leave_out(&mut over_unix, &found.tree);
        let mut sampled = Cow::Borrowed(sampler.sample()?);
        if let Some(own_sockets) = own_sockets {
            own_sockets.keep(sampled.to_mut());
        }
        own.extend(own_now(task, found));
        *closed = take_closed();
        own.extend(closed.iter());
        tracker.ignore(own);
        tracker.were_open(open);
        let now = task.start.elapsed();
        tracker.sample_unix(now, &over_unix);
        let before = tracker.last();
        let counts = tracker.sample(now, &sampled);
        let Counts { busy, unknown, idle, unaccepted } = counts;
        if before == Some(counts) {
            trace!(name: "sampled", busy, unknown, idle, unaccepted, "in flight, still: {counts}; {idle} at rest");
        } else {
            debug!(name: "sampled", busy, unknown, idle, unaccepted, "in flight: {counts}; {idle} at rest");
        }
        let went_on = tracker.took_for_over();
        if let Some(pause) = went_on
            && !std::mem::replace(&mut self.went_on, true)
        {
            tell(InFlightEvent::WentOn(pause));
        }
        if self.wants_calm && self.tracker.is_calm() {
            tell(InFlightEvent::Calm);
        }
        self.tell_limits(!over_unix.is_empty(), tell);
        self.tell_sample(counts, tell);
        Ok(self.interval)
    }

    /// What cannot be seen on this machine.
    fn tell_limits(&mut self, over_unix: bool, tell: &dyn Fn(InFlightEvent)) {
        if self.sampler.source() == SampleSource::Proc {
            let why = self.sampler.refusal().map(ToString::to_string).unwrap_or_default();
            let what =
                format!("sock_diag cannot be used ({why}); /proc/net/tcp shows connections, but not what they do");
            self.tell_once(tell, format!("in flight: {what}"), InFlightEvent::Trouble);
        }
        if let (Some(why), true) = (self.unix.refusal(), over_unix) {
            let what = format!("only the number of connections over Unix sockets can be seen ({why})");
            self.tell_once(tell, format!("in flight: {what}"), InFlightEvent::Trouble);
        }
    }

    /// Connections that died with the app were not answered: what was seen before it died is what counts. (If the app
    /// is still there after a while, it was another process that listened.)
    fn tell_sample(&mut self, counts: Counts, tell: &dyn Fn(InFlightEvent)) {
        self.untold = if self.found.have_let_go() { self.untold + 1 } else { 0 };
        if self.untold == 0 || self.untold > DYING {
            let verdict = if self.task.quiet { self.tracker.quiet() } else { self.tracker.idle() };
            // There was nothing to be quiet about; but a client may have come since.
            let reached = verdict.is_reached() || self.found.nothing_listens && counts.is_idle();
            // Clients stay with the run that accepted them, and with a successor there is nobody who would send them
            // away but the app's own handler: it finishes what it has and closes.
            self.none_waits = if counts.unaccepted == 0 { self.none_waits.saturating_add(1) } else { 0 };
            let all_accepted = self.task.is_replaced() && self.has_handler && self.none_waits >= SETTLED;
            let words = match all_accepted && !reached {
                true => format!("nobody waits to be accepted, and the app's handler finishes the rest ({verdict})"),
                false => verdict.to_string(),
            };
            tell(InFlightEvent::Sampled {
                at: self.task.start.elapsed(),
                counts,
                reached: reached || all_accepted,
                words,
            });
        }
    }

    /// What is still on its way to the clients, until everything is delivered or nobody takes anything for too long.
    fn look_after(
        &mut self,
        last: Option<(usize, u64)>,
        mut moved: Instant,
        tell: &dyn Fn(InFlightEvent),
    ) -> Result<Turn, Unavailable> {
        let begin = Instant::now();
        let (connections, bytes) = self.sampler.sample()?.undelivered();
        if last.is_none_or(|(_, before)| before != bytes) {
            moved = begin;
        }
        if last != Some((connections, bytes)) {
            tell(InFlightEvent::Undelivered { connections, bytes });
        }
        self.doing = Doing::After { last: Some((connections, bytes)), moved };
        if connections == 0 {
            return Ok(Turn::Over);
        }
        if moved.elapsed() >= STALLED {
            tell(InFlightEvent::Stalled(STALLED));
            return Ok(Turn::Over);
        }
        Ok(Turn::Again(CLOSE_LOOK))
    }

    fn tell_once(&mut self, tell: &dyn Fn(InFlightEvent), what: String, news: fn(String) -> InFlightEvent) {
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

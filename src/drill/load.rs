//! The load: five kinds of client on one thread, and one record for each request.
//!
//! ```text
//!   new, hot      by the pacer's times, until the lag after the stop is over
//!   idle          one request at the start, then silence; one more between the stop and the end of the lag
//!   slow          one request after another, until the lag is over
//!   stream        one open stream each, opened again if it ends before the stop
//! ```
//!
//! Nothing is sent twice and nothing is sent again. A kept connection that the server has closed in good time is
//! replaced, as any router does; one that is closed under a request is that request's failure.
//!
//! The thread is told of the stop by [`Control::stopped`] and reports what goes on by counters; the records come at the
//! end.

use super::connection::{ClientConnection, End, PreparedRequest, Tried};
use super::pacer::Pacer;
use super::plan::Mix;
use super::record::{ClientKind, RequestOutcome};
use super::undelimited::{self, UndelimitedAnswer};
use std::borrow::Cow;
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::task::{JoinSet, LocalSet};
use tracing::trace;

/// The thread's name, for `ps -T`.
const THREAD_NAME: &str = "drill-load";
/// More requests than this under way at once mean that the target is slower than the rate; the rest is not sent.
pub(super) const MOST_UNDER_WAY: u64 = 10_000;
/// How often the state of the stop is looked at where nothing else wakes the thread.
const TICK: Duration = Duration::from_millis(2);
/// The least time from one slow request of a client to the next.
const SLOW_AGAIN: Duration = Duration::from_secs(1);
/// A slow or streaming request may take this many times the timeout of the others.
const PATIENCE: u32 = 6;

/// What the load is made of.
#[derive(Clone)]
pub(super) struct Order {
    pub(super) requests: Vec<PreparedRequest>,
    pub(super) slow: Option<PreparedRequest>,
    pub(super) stream: Option<PreparedRequest>,
    pub(super) rate: u32,
    pub(super) mix: Mix,
    pub(super) lag: Duration,
    pub(super) timeout: Duration,
}

/// One request, with times of the clock. Each is kept to the end, so it has to be small.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) kind: ClientKind,
    pub(super) target: u32,
    pub(super) intended: Instant,
    pub(super) sent: Instant,
    pub(super) ended: Instant,
    pub(super) outcome: RequestOutcome,
    pub(super) status: Option<u16>,
    pub(super) reused: bool,
    pub(super) port: Option<u16>,
    /// The bytes of an answer that had no other end than that of its connection.
    pub(super) undelimited: Option<u64>,
    pub(super) detail: Cow<'static, str>,
}

/// What both threads see.
#[derive(Debug, Default)]
pub(super) struct Control {
    stop: Mutex<Stop>,
    pub(super) sent: AtomicU64,
    pub(super) ok: AtomicU64,
    pub(super) failed: AtomicU64,
    /// How many requests the rate asked for and were not sent: too many were under way.
    pub(super) held_back: AtomicU64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Stop {
    at: Option<Instant>,
    /// When the load balancer stops sending.
    until: Option<Instant>,
    /// The first sign of the stop that a client sees: a refusal, or an answer after which the connection is closed.
    sign: Option<Instant>,
    /// Whether the target closed connections after an answer before the stop, too: then that says nothing.
    closes: bool,
    /// Whether the load is given up.
    over: bool,
}

impl Control {
    fn stop(&self) -> Stop {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the stop has begun.
    pub(super) fn stopped(&self, at: Instant) {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner).at.get_or_insert(at);
    }

    /// Notes until when the load balancer sends; the first call counts.
    pub(super) fn until(&self, end: Instant) {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner).until.get_or_insert(end);
    }

    /// When it stops sending, if that is known.
    pub(super) fn end(&self) -> Option<Instant> {
        self.stop().until
    }

    /// Gives up the load: nothing more is waited for, and what is under way is unfinished.
    pub(super) fn give_up(&self) {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner).over = true;
    }

    /// Notes what an outcome tells about the stop.
    fn sign(&self, outcome: RequestOutcome, now: Instant) {
        if !matches!(outcome, RequestOutcome::Refused | RequestOutcome::OkClose) {
            return;
        }
        let mut stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        if stop.at.is_none() {
            stop.closes |= outcome == RequestOutcome::OkClose;
        } else if outcome == RequestOutcome::Refused || !stop.closes {
            stop.sign.get_or_insert(now);
        }
    }

    /// When a client saw the first sign of the stop.
    pub(super) fn first_sign(&self) -> Option<Instant> {
        self.stop().sign
    }

    /// How many requests are under way.
    pub(super) fn under_way(&self) -> u64 {
        let over = self.ok.load(Ordering::Relaxed) + self.failed.load(Ordering::Relaxed);
        self.sent.load(Ordering::Relaxed).saturating_sub(over)
    }
}

/// The load's thread.
pub(super) struct Load {
    pub(super) control: Arc<Control>,
    thread: JoinHandle<io::Result<Vec<Sent>>>,
}

impl Load {
    pub(super) fn start(order: Order) -> io::Result<Load> {
        let control = Arc::new(Control::default());
        let shared = control.clone();
        let body = move || run(order, shared);
        let thread = thread::Builder::new().name(THREAD_NAME.to_owned()).spawn(body)?;
        Ok(Load { control, thread })
    }

    pub(super) fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Every request, once the thread is over.
    pub(super) fn records(self) -> io::Result<Vec<Sent>> {
        self.thread.join().map_err(|_| io::Error::other("the load generator failed"))?
    }
}

/// A runtime for this thread alone.
pub(super) fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()
}

fn run(order: Order, control: Arc<Control>) -> io::Result<Vec<Sent>> {
    let kept = order.requests.iter().map(|_| Vec::new()).collect();
    let desk = Rc::new(LoadGenerator {
        order,
        control,
        records: RefCell::default(),
        kept: RefCell::new(kept),
        under_way: RefCell::default(),
    });
    let runtime = runtime()?;
    LocalSet::new().block_on(&runtime, desk.clone().everything());
    // What was given up is gone with the tasks; their requests are in the list of those under way.
    Ok(desk.finished())
}

/// What the clients share.
struct LoadGenerator {
    order: Order,
    control: Arc<Control>,
    records: RefCell<Vec<Sent>>,
    /// For each target, the hot clients' kept connections that wait for their next request, the one used last at the
    /// end.
    kept: RefCell<Vec<Vec<ClientConnection>>>,
    under_way: RefCell<std::collections::BTreeMap<u64, Begun>>,
}

/// A request that is under way.
#[derive(Clone, Copy)]
struct Begun {
    kind: ClientKind,
    target: usize,
    intended: Instant,
    sent: Instant,
    reused: bool,
    port: Option<u16>,
}

impl LoadGenerator {
    async fn everything(self: Rc<LoadGenerator>) {
        let mut tasks = JoinSet::new();
        let mix = self.order.mix;
        tasks.spawn_local(self.clone().paced());
        for number in 0..mix.idle {
            tasks.spawn_local(self.clone().idle(number, mix.idle));
        }
        if self.order.slow.is_some() {
            for number in 0..mix.slow {
                tasks.spawn_local(self.clone().slow(number, mix.slow));
            }
        }
        if self.order.stream.is_some() {
            for _ in 0..mix.stream {
                tasks.spawn_local(self.clone().stream());
            }
        }
        loop {
            tokio::select! {
                ended = tasks.join_next() => if ended.is_none() && self.under_way.borrow().is_empty() { return },
                () = tokio::time::sleep(TICK * 5) => if self.control.stop().over { return },
            }
            if tasks.is_empty() && !self.under_way.borrow().is_empty() {
                tokio::time::sleep(TICK).await;
            }
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        self.control.stop().over || self.control.end().is_some_and(|end| now > end)
    }

    async fn paced(self: Rc<LoadGenerator>) {
        let start = Instant::now();
        let mut pacer = Pacer::new(self.order.rate, self.order.mix);
        while let Some(at) = pacer.next_at() {
            let now = Instant::now();
            if self.is_over(now) {
                return;
            }
            while let Some(due) = pacer.due(now - start) {
                let intended = start + due.at;
                if self.control.end().is_some_and(|end| intended > end) {
                    return;
                }
                if self.control.under_way() >= MOST_UNDER_WAY {
                    self.control.held_back.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                let target = usize::try_from(due.number).unwrap_or(0) % self.order.requests.len();
                let desk = self.clone();
                tokio::task::spawn_local(async move {
                    match due.kind {
                        ClientKind::New => _ = desk.fresh(ClientKind::New, target, intended).await,
                        _ => desk.hot(target, intended).await,
                    }
                });
            }
            let next = (start + at).saturating_duration_since(Instant::now());
            tokio::time::sleep(next.clamp(Duration::from_micros(500), TICK)).await;
        }
    }

    /// One request on a connection of its own, which comes back if it can be used again.
    async fn fresh(&self, kind: ClientKind, target: usize, intended: Instant) -> Option<ClientConnection> {
        let asked = self.target(kind, target)?;
        let number = self.begin(Begun { kind, target, intended, sent: Instant::now(), reused: false, port: None });
        let deadline = self.deadline(kind);
        match ClientConnection::open(&asked.route, deadline).await {
            Err(end) => {
                self.over(number, end);
                None
            }
            Ok(connection) => self.exchange(number, connection, asked, deadline).await,
        }
    }

    async fn hot(&self, target: usize, intended: Instant) {
        let connection = match self.take_kept(target) {
            Some(connection) => self.again(ClientKind::Hot, target, intended, connection).await,
            None => self.fresh(ClientKind::Hot, target, intended).await,
        };
        if let Some(connection) = connection
            && let Some(kept) = self.kept.borrow_mut().get_mut(target)
        {
            kept.push(connection);
        }
    }

    /// One more request on a kept connection; on a new one if the server has closed it.
    async fn again(
        &self,
        kind: ClientKind,
        target: usize,
        intended: Instant,
        connection: ClientConnection,
    ) -> Option<ClientConnection> {
        let asked = self.target(kind, target)?;
        let port = connection.port();
        let number = self.begin(Begun { kind, target, intended, sent: Instant::now(), reused: true, port });
        let deadline = self.deadline(kind);
        match connection.send(asked, deadline).await {
            Tried::Over(end, connection) => {
                self.over(number, end);
                connection
            }
            Tried::WasClosed => {
                self.renew(number);
                match ClientConnection::open(&asked.route, deadline).await {
                    Err(end) => {
                        self.over(number, end);
                        None
                    }
                    Ok(connection) => self.exchange(number, connection, asked, deadline).await,
                }
            }
        }
    }

    async fn exchange(
        &self,
        number: u64,
        connection: ClientConnection,
        asked: &PreparedRequest,
        deadline: tokio::time::Instant,
    ) -> Option<ClientConnection> {
        if let Some(begun) = self.under_way.borrow_mut().get_mut(&number) {
            begun.port = connection.port();
        }
        match connection.send(asked, deadline).await {
            Tried::Over(end, connection) => {
                self.over(number, end);
                connection
            }
            // Only a used connection can have been closed before.
            Tried::WasClosed => {
                self.over(number, End::closed());
                None
            }
        }
    }

    /// One request at the start, one after the stop.
    async fn idle(self: Rc<LoadGenerator>, number: u32, all: u32) {
        let Some(mut connection) = self.fresh(ClientKind::Idle, 0, Instant::now()).await else { return };
        let lag = self.order.lag;
        let wake = loop {
            if self.control.stop().over {
                return;
            }
            let now = Instant::now();
            match self.control.stop().at.map(|stop| stop + lag * (number + 1) / (all + 1)) {
                Some(wake) if wake <= now => break wake,
                Some(wake) => tokio::time::sleep(wake - now).await,
                None => tokio::time::sleep(TICK).await,
            }
        };
        if !connection.is_open() {
            self.fresh(ClientKind::Idle, 0, wake).await;
            return;
        }
        connection = match self.again(ClientKind::Idle, 0, wake, connection).await {
            Some(connection) => connection,
            None => return,
        };
        drop(connection);
    }

    async fn slow(self: Rc<LoadGenerator>, number: u32, all: u32) {
        // Not all at once, so that one is young at the stop and another nearly done.
        tokio::time::sleep(Duration::from_millis(400) * number / all).await;
        while !self.is_over(Instant::now()) {
            let begin = Instant::now();
            self.fresh(ClientKind::Slow, 0, begin).await;
            // A target that refuses is not to be flooded.
            tokio::time::sleep((begin + SLOW_AGAIN).saturating_duration_since(Instant::now())).await;
        }
    }

    async fn stream(self: Rc<LoadGenerator>) {
        loop {
            let begin = Instant::now();
            self.fresh(ClientKind::Stream, 0, begin).await;
            let stop = self.control.stop();
            if stop.over || stop.at.is_some() {
                return;
            }
            tokio::time::sleep((begin + Duration::from_millis(200)).saturating_duration_since(Instant::now())).await;
        }
    }

    fn target(&self, kind: ClientKind, number: usize) -> Option<&PreparedRequest> {
        match kind {
            ClientKind::Slow => self.order.slow.as_ref(),
            ClientKind::Stream => self.order.stream.as_ref(),
            ClientKind::New | ClientKind::Hot | ClientKind::Idle => self.order.requests.get(number),
        }
    }

    fn deadline(&self, kind: ClientKind) -> tokio::time::Instant {
        let times = if matches!(kind, ClientKind::Slow | ClientKind::Stream) { PATIENCE } else { 1 };
        tokio::time::Instant::now() + self.order.timeout * times
    }

    fn take_kept(&self, target: usize) -> Option<ClientConnection> {
        let mut kept = self.kept.borrow_mut();
        let kept = kept.get_mut(target)?;
        // One that was closed while it waited is of no use any more.
        std::iter::from_fn(|| kept.pop()).find(ClientConnection::is_open)
    }

    fn begin(&self, begun: Begun) -> u64 {
        let number = self.control.sent.fetch_add(1, Ordering::Relaxed);
        self.under_way.borrow_mut().insert(number, begun);
        number
    }

    /// Notes that the request goes out on a new connection after all.
    fn renew(&self, number: u64) {
        if let Some(begun) = self.under_way.borrow_mut().get_mut(&number) {
            (begun.reused, begun.port) = (false, None);
        }
    }

    fn over(&self, number: u64, end: End) {
        let counter = if end.outcome.is_ok() { &self.control.ok } else { &self.control.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        self.control.sign(end.outcome, Instant::now());
        if let Some(begun) = self.under_way.borrow_mut().remove(&number) {
            self.records.borrow_mut().push(begun.ended(Instant::now(), end));
        }
    }

    /// All records; what was still under way is unfinished.
    fn finished(&self) -> Vec<Sent> {
        let now = Instant::now();
        let mut records = self.records.take();
        records.extend(self.under_way.take().into_values().map(|begun| begun.ended(now, End::unfinished())));
        if let Some(stop) = self.control.stop().at {
            let undelimited = records.iter_mut().filter_map(|sent| {
                let before = sent.ended < stop;
                let Sent { kind, target, undelimited: Some(length), outcome, detail, .. } = sent else { return None };
                Some(UndelimitedAnswer { kind: *kind, target: *target, length: *length, before, outcome, detail })
            });
            undelimited::settle(undelimited.collect());
        }
        records.sort_by_key(|record| record.intended);
        records
    }
}

impl Begun {
    fn ended(self, ended: Instant, end: End) -> Sent {
        let Begun { kind, target, intended, sent, reused, port } = self;
        let End { outcome, status, undelimited, detail, .. } = end;
        let target = u32::try_from(target).unwrap_or(u32::MAX);
        let (client, result, took) = (kind.name(), outcome.name(), ended.saturating_duration_since(sent));
        let took_s = took.as_secs_f64();
        trace!(name: "drill_request", client, target, result, status, reused, took_s, "{client} request: {result}, in {took:.1?}");
        Sent { kind, target, intended, sent, ended, outcome, status, reused, port, undelimited, detail }
    }
}

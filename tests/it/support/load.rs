//! A load client that sees what a load balancer's users see.
//!
//! Open model: requests leave at fixed times whatever became of those before, each on a connection of its own,
//! and none is ever sent again. So a server that refuses, resets or swallows a request is seen doing it, which
//! clients with keep-alive and retries hide. Every request ends in exactly one [`Outcome`]. Beside it, [`KeptAlive`]
//! sends each request on the connection of the one before, and never again either.
//!
//! ```ignore
//! let load = Load::start(address(port), "/", 50);      // 50 requests a second from now on
//! let slow = slow_requests(address(port), "/slow", 3); // three that are in flight when the signal comes
//! server.wait_lines("slow begins", 3, DEADLINE);       // the server works on them
//! let stop = Instant::now();
//! server.signal(libc::SIGTERM);
//! let fast = load.finish(stop + Duration::from_secs(2));
//! slow.collect().assert_nothing_dropped(stop);
//! fast.assert_nothing_dropped(stop);
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a request may take, and a connect, before it counts as lost.
const TIMEOUT: Duration = Duration::from_secs(15);

/// How one request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// A whole answer with status 200..=399.
    Ok,
    /// A whole answer with another status.
    Status(u16),
    /// Nobody listened.
    Refused,
    /// Connected, and then not one byte of an answer: closed, reset, or silence until the timeout.
    BlackHole,
    /// The answer began and was broken off by a reset.
    Reset,
    /// The answer began and the connection was closed before its end.
    Truncated,
    /// No connection, or no end of an answer that had begun, within the timeout.
    Timeout,
    /// The client itself could not send (out of descriptors, of ports): says nothing about the server.
    Client,
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    /// When the connect was begun.
    pub(crate) sent: Instant,
    /// When the outcome was known.
    pub(crate) done: Instant,
    pub(crate) outcome: Outcome,
}

/// All requests of one sender.
#[derive(Clone, Debug)]
pub(crate) struct Results {
    pub(crate) records: Vec<Record>,
}

/// A sender at work.
pub(crate) struct Load {
    shared: Arc<Shared>,
    pacer: JoinHandle<Vec<JoinHandle<Record>>>,
}

#[derive(Default)]
struct Shared {
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Default)]
struct Progress {
    end: Option<Instant>,
    answered: usize,
}

impl Load {
    /// Sends `rate` requests a second from now on, until [`Load::finish`].
    pub(crate) fn start(server: SocketAddr, path: &str, rate: u32) -> Load {
        let shared = Arc::<Shared>::default();
        let pacer = std::thread::spawn({
            let (shared, path) = (Arc::clone(&shared), path.to_owned());
            move || pace(server, &path, rate, &shared)
        });
        Load { shared, pacer }
    }

    /// Waits until this many requests were answered well: the load is on.
    #[track_caller]
    pub(crate) fn wait_answered(&self, count: usize, deadline: Duration) {
        let end = Instant::now() + deadline;
        let mut progress = self.shared.lock();
        while progress.answered < count {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{} of {count} requests answered in {deadline:?}", progress.answered);
            progress = self.shared.wait(progress, left);
        }
    }

    /// Goes on sending until `end` and waits for every request's outcome. Requests that the machine sent
    /// later than `end` are left out: what becomes of them was not promised.
    pub(crate) fn finish(self, end: Instant) -> Results {
        self.shared.change(|progress| progress.end = Some(end));
        let requests = self.pacer.join().expect("the pacer does not panic");
        let records = requests.into_iter().map(|request| request.join().expect("a request does not panic"));
        Results { records: records.filter(|record| record.sent < end).collect() }
    }
}

/// Clients with a connection each, on which they send one request after the other.
pub(crate) struct KeptAlive {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Vec<Record>>>,
}

impl KeptAlive {
    /// Each client sends `rate` requests a second from now on, or as many as get answered if they are fewer, until
    /// [`KeptAlive::finish`]. A new connection is made only after an answer that says `Connection: close`, and after
    /// a failure, which counts.
    pub(crate) fn start(server: SocketAddr, path: &str, clients: usize, rate: u32) -> KeptAlive {
        KeptAlive::of_kind(server, path, clients, rate, false)
    }

    /// The same, but before each request a client looks whether the server has closed the connection meanwhile, as every pool
    /// of connections does; then it makes a new one.
    pub(crate) fn pooled(server: SocketAddr, path: &str, clients: usize, rate: u32) -> KeptAlive {
        KeptAlive::of_kind(server, path, clients, rate, true)
    }

    fn of_kind(server: SocketAddr, path: &str, clients: usize, rate: u32, looks: bool) -> KeptAlive {
        let shared = Arc::<Shared>::default();
        let client = || {
            let (shared, path) = (Arc::clone(&shared), path.to_owned());
            std::thread::spawn(move || keep_alive(server, &path, rate, looks, &shared))
        };
        let clients = (0..clients).map(|_| client()).collect();
        KeptAlive { shared, clients }
    }

    /// Goes on until `end` and waits for every request's outcome.
    pub(crate) fn finish(self, end: Instant) -> Results {
        self.shared.change(|progress| progress.end = Some(end));
        let clients = self.clients.into_iter();
        Results { records: clients.flat_map(|client| client.join().expect("a client does not panic")).collect() }
    }
}

/// Requests that take long.
pub(crate) struct Slow {
    requests: Vec<JoinHandle<Record>>,
}

/// Sends `count` requests at once. That the server has them, only the server can say: let it print a line.
pub(crate) fn slow_requests(server: SocketAddr, path: &str, count: usize) -> Slow {
    Slow { requests: (0..count).map(|_| send(server, path, |_| ())).collect() }
}

impl Slow {
    /// Waits for every request's outcome.
    pub(crate) fn collect(self) -> Results {
        let records = self.requests.into_iter().map(|request| request.join().expect("a request does not panic"));
        Results { records: records.collect() }
    }
}

impl Results {
    /// How many requests ended so.
    pub(crate) fn count(&self, outcome: Outcome) -> usize {
        self.records.iter().filter(|record| record.outcome == outcome).count()
    }

    /// All that did not end in [`Outcome::Ok`].
    pub(crate) fn dropped(&self) -> usize {
        self.records.len() - self.count(Outcome::Ok)
    }

    /// Fails with a table unless every request (and there was at least one) was answered.
    #[track_caller]
    pub(crate) fn assert_nothing_dropped(&self, stop: Instant) {
        assert!(!self.records.is_empty(), "no request was sent");
        assert_eq!(self.dropped(), 0, "requests were dropped; times from the stop signal:\n{}", self.table(stop));
    }

    /// Each outcome with its number, and when its first and last request were sent, in seconds from `stop`.
    pub(crate) fn table(&self, stop: Instant) -> String {
        let from_stop = |time: Instant| match time.checked_duration_since(stop) {
            Some(after) => after.as_secs_f64(),
            None => -stop.duration_since(time).as_secs_f64(),
        };
        let mut outcomes: BTreeMap<Outcome, Vec<&Record>> = BTreeMap::new();
        for record in &self.records {
            outcomes.entry(record.outcome).or_default().push(record);
        }
        let mut table = format!("{:<14}{:>6}{:>11}{:>11}\n", "outcome", "count", "first", "last");
        for (outcome, records) in outcomes {
            let sent = || records.iter().map(|record| from_stop(record.sent));
            let (first, last) = (sent().fold(f64::INFINITY, f64::min), sent().fold(f64::NEG_INFINITY, f64::max));
            let name = format!("{outcome:?}");
            let _ = writeln!(table, "{name:<14}{:>6}{first:>+10.3}s{last:>+10.3}s", records.len());
        }
        table
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(|error| error.into_inner())
    }

    fn wait<'a>(&self, progress: MutexGuard<'a, Progress>, time: Duration) -> MutexGuard<'a, Progress> {
        self.changed.wait_timeout(progress, time).unwrap_or_else(|error| error.into_inner()).0
    }

    /// Waits until `due`; says no if the end comes first.
    fn goes_on_at(&self, due: Instant) -> bool {
        let mut progress = self.lock();
        loop {
            if progress.end.is_some_and(|end| due >= end) {
                return false;
            }
            let early = due.saturating_duration_since(Instant::now());
            if early.is_zero() {
                return true;
            }
            progress = self.wait(progress, early);
        }
    }

    fn change(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

/// Starts the n-th request at n / rate. A pacer that the machine held up catches up: it skips none.
fn pace(server: SocketAddr, path: &str, rate: u32, shared: &Arc<Shared>) -> Vec<JoinHandle<Record>> {
    let start = Instant::now();
    let mut requests = Vec::new();
    while shared.goes_on_at(start + Duration::from_secs(1) * requests.len() as u32 / rate) {
        let shared = Arc::clone(shared);
        requests.push(send(server, path, move |outcome| {
            if outcome == Outcome::Ok {
                shared.change(|progress| progress.answered += 1);
            }
        }));
    }
    requests
}

fn keep_alive(server: SocketAddr, path: &str, rate: u32, looks: bool, shared: &Shared) -> Vec<Record> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {server}\r\n\r\n");
    let mut records = Vec::new();
    let mut kept: Option<TcpStream> = None;
    let mut due = Instant::now();
    while shared.goes_on_at(due) {
        let sent = Instant::now();
        let open = kept.take().filter(|stream| !looks || is_open(stream));
        let outcome = match open.map_or_else(|| connect(server), Ok) {
            Ok(mut stream) => {
                let (outcome, reusable) = exchange(&mut stream, request.as_bytes());
                kept = reusable.then_some(stream);
                outcome
            }
            Err(outcome) => outcome,
        };
        records.push(Record { sent, done: Instant::now(), outcome });
        due += Duration::from_secs(1) / rate;
    }
    records
}

/// The server has not closed it.
fn is_open(stream: &TcpStream) -> bool {
    let nothing = || -> std::io::Result<bool> {
        stream.set_nonblocking(true)?;
        let peeked = stream.peek(&mut [0]);
        stream.set_nonblocking(false)?;
        Ok(peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock))
    };
    nothing().unwrap_or(false)
}

fn send(server: SocketAddr, path: &str, tell: impl FnOnce(Outcome) + Send + 'static) -> JoinHandle<Record> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    std::thread::spawn(move || {
        let sent = Instant::now();
        let outcome =
            connect(server).map_or_else(|outcome| outcome, |mut stream| exchange(&mut stream, request.as_bytes()).0);
        let done = Instant::now();
        tell(outcome);
        Record { sent, done, outcome }
    })
}

fn connect(server: SocketAddr) -> Result<TcpStream, Outcome> {
    TcpStream::connect_timeout(&server, TIMEOUT).map_err(|error| match error.kind() {
        ErrorKind::ConnectionRefused => Outcome::Refused,
        // A reset between the two halves of connect(2): the listener was closed over its backlog.
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => Outcome::BlackHole,
        ErrorKind::TimedOut => Outcome::Timeout,
        _ => Outcome::Client,
    })
}

/// The outcome, and whether a further request may go on the same connection.
fn exchange(stream: &mut TcpStream, request: &[u8]) -> (Outcome, bool) {
    // A write that fails is told by the read that follows: an answer may have been sent before it.
    let _ = stream.write_all(request);
    let end = Instant::now() + TIMEOUT;
    let mut answer = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        if stream.set_read_timeout(Some(left)).is_err() {
            return (Outcome::Client, false);
        }
        // How the connection ended, if it did, should the answer not be whole by now.
        let broken = match stream.read(&mut buffer) {
            Ok(0) => Some(Outcome::Truncated),
            Ok(got) => {
                answer.extend_from_slice(&buffer[..got]);
                (Instant::now() >= end).then_some(Outcome::Timeout)
            }
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => None,
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Some(Outcome::Timeout),
                _ => Some(Outcome::Reset),
            },
        };
        let closed = broken == Some(Outcome::Truncated);
        match (judge(&answer, closed), broken) {
            (Some((whole, reusable)), _) => return (whole, reusable && !closed),
            (None, Some(_)) if answer.is_empty() => return (Outcome::BlackHole, false),
            (None, Some(broken)) => return (broken, false),
            (None, None) => {}
        }
    }
}

/// The outcome of a whole answer, and whether its connection stays open; none while it is not whole.
fn judge(answer: &[u8], closed: bool) -> Option<(Outcome, bool)> {
    let head_end = find(answer, b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&answer[..head_end]).to_ascii_lowercase();
    let status: u16 = head.split([' ', '\r']).nth(1)?.parse().ok()?;
    let header = |name: &str| {
        head.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(|value| value.trim())
    };
    let body = &answer[head_end..];
    let whole = if matches!(status, 204 | 304) {
        true
    } else if header("transfer-encoding").is_some_and(|value| value.ends_with("chunked")) {
        chunks_are_whole(body)
    } else if let Some(length) = header("content-length") {
        length.parse().is_ok_and(|length: usize| body.len() >= length)
    } else {
        closed
    };
    let outcome = if (200..=399).contains(&status) { Outcome::Ok } else { Outcome::Status(status) };
    let reusable = head.starts_with("http/1.1") && header("connection") != Some("close");
    whole.then_some((outcome, reusable))
}

/// Whether the last chunk (of size 0) is there.
fn chunks_are_whole(mut body: &[u8]) -> bool {
    loop {
        let Some(line_end) = find(body, b"\r\n") else { return false };
        let size = String::from_utf8_lossy(&body[..line_end]);
        let size = size.split(';').next().unwrap_or_default().trim();
        let Ok(size) = usize::from_str_radix(size, 16) else { return false };
        if size == 0 {
            return find(&body[line_end..], b"\r\n\r\n").is_some();
        }
        // The chunk is followed by an empty line's worth of CRLF.
        let Some(rest) = body.get(line_end + 2 + size + 2..) else { return false };
        body = rest;
    }
}

fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len()).position(|window| window == needle)
}

//! A probe server in a thread, as in the worker, and clients that say exactly what they are told to.

use super::limits::ServerLimits;
use super::listener::ProbeListener;
use super::{run, serve};
use crate::config::{Budget, CheckConfig, CheckTarget, FailReadiness, Listen};
use crate::health::{Attempt, SharedStatus, Status};
use crate::http::testing::DEADLINE;
use crate::server::{AppFacts, Shared};
use crate::timeline::Phase;
use hyper::body::Incoming;
use hyper::{Request, Response};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_local};

/// A request after which the connection stays.
pub(super) const LIVEZ: &str = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";

/// A server; its thread ends when this is dropped.
pub(super) struct Server {
    pub(super) addr: SocketAddr,
    /// The status of a ready app, as long as nothing else is written to it.
    pub(super) board: Arc<SharedStatus>,
    /// The thread's id.
    pub(super) thread: libc::pid_t,
    /// When dropped, it drops what serves; the runtime goes on until the server is dropped.
    pub(super) serving: Option<oneshot::Sender<()>>,
    _running: oneshot::Sender<()>,
}

impl Server {
    /// The real one, on 127.0.0.1.
    pub(super) fn start() -> Server {
        Server::knowing(&[], |_| {})
    }

    /// The real one, with checks of these names (critical or not), and what was found out before the first request.
    pub(super) fn knowing(checks: &[(&str, bool)], found: impl FnOnce(&Shared) + Send + 'static) -> Server {
        let checks: Vec<_> = checks.iter().map(|(name, critical)| check(name, *critical)).collect();
        Server::on(&loopback(), move |listener, board| async move {
            let budget = Budget::for_grace_period(Duration::from_secs(30));
            let facts = AppFacts { board, fail_readiness: FailReadiness::AtStop, has_ready_url: false, budget };
            let shared = Arc::new(Shared::new(facts, &checks));
            found(&shared);
            panic!("it ended: {}", serve(listener, shared).await);
        })
    }

    /// One with these bounds and answers.
    pub(super) fn with<A>(listen: &Listen, limits: ServerLimits, answer: A) -> Server
    where
        A: Fn(&Request<Incoming>) -> Response<String> + Send + 'static,
    {
        Server::on(
            listen,
            move |listener, _| async move { run(listener.into_acceptor().unwrap(), limits, answer).await },
        )
    }

    fn on<F: Future<Output = ()> + 'static>(
        listen: &Listen,
        body: impl FnOnce(ProbeListener, Arc<SharedStatus>) -> F + Send + 'static,
    ) -> Server {
        let listener = ProbeListener::bind(listen).unwrap();
        let shown = listener.shown();
        // A Unix socket has none.
        let addr = shown.strip_prefix("http://").map_or(([0; 4], 0).into(), |addr| addr.parse().unwrap());
        let ((serving, served), (running, ran)) = (oneshot::channel::<()>(), oneshot::channel::<()>());
        let (board, (tell, told)) = (ready_board(), mpsc::channel());
        let for_thread = board.clone();
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_io().enable_time().build().unwrap();
            tell.send(nix::unistd::gettid().as_raw()).unwrap();
            LocalSet::new().block_on(&runtime, async move {
                spawn_local(async move {
                    tokio::select! {
                        () = body(listener, for_thread) => {}
                        _ = served => {}
                    }
                });
                _ = ran.await;
            });
        });
        let thread = told.recv_timeout(DEADLINE).unwrap();
        Server { addr, board, thread, serving: Some(serving), _running: running }
    }

    pub(super) fn client(&self) -> Client<TcpStream> {
        Client::new(TcpStream::connect(self.addr).unwrap())
    }

    /// GET on a connection of its own.
    pub(super) fn get(&self, target: &str) -> Answer {
        let mut client = self.client();
        client.send(&format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        client.answer()
    }

    /// Checks that a fresh /livez is answered.
    #[track_caller]
    pub(super) fn assert_alive(&self) {
        let answer = self.get("/livez");
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    }
}

/// One side of a connection, whose reads and writes end after a while.
pub(super) struct Client<S: Duplex>(BufReader<S>);

pub(super) trait Duplex: Read + Write {
    fn limit(&self, time: Duration);
}

impl Duplex for TcpStream {
    fn limit(&self, time: Duration) {
        self.set_read_timeout(Some(time)).unwrap();
        self.set_write_timeout(Some(time)).unwrap();
    }
}

impl Duplex for UnixStream {
    fn limit(&self, time: Duration) {
        self.set_read_timeout(Some(time)).unwrap();
        self.set_write_timeout(Some(time)).unwrap();
    }
}

impl<S: Duplex> Client<S> {
    pub(super) fn new(stream: S) -> Client<S> {
        stream.limit(DEADLINE);
        Client(BufReader::new(stream))
    }

    pub(super) fn stream(&mut self) -> &mut S {
        self.0.get_mut()
    }

    #[track_caller]
    pub(super) fn send(&mut self, text: &str) {
        self.stream().write_all(text.as_bytes()).unwrap();
    }

    /// The next answer, with a body as long as it says.
    #[track_caller]
    pub(super) fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        let mut body = vec![0; answer.header("content-length").unwrap().parse().unwrap()];
        self.0.read_exact(&mut body).unwrap();
        answer.body = String::from_utf8(body).unwrap();
        answer
    }

    /// The next answer up to where its body would begin.
    #[track_caller]
    pub(super) fn head(&mut self) -> Answer {
        let mut lines = std::iter::from_fn(|| {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            assert!(line.ends_with("\r\n"), "cut off: {line:?}");
            Some(line.trim_end().to_owned()).filter(|line| !line.is_empty())
        });
        let status = lines.next().unwrap();
        let (version, status) = status.split_once(' ').unwrap();
        let (version, status) = (version.to_owned(), status[..3].parse().unwrap());
        let pair = |line: String| line.split_once(": ").map(|(a, b)| (a.to_ascii_lowercase(), b.to_owned())).unwrap();
        Answer { version, status, headers: lines.map(pair).collect(), body: String::new() }
    }

    /// How much comes of a body of this length.
    pub(super) fn rest_of_body(&mut self, length: usize) -> usize {
        let mut body = vec![0; length];
        let mut read = 0;
        while read < length {
            match self.0.read(&mut body[read..]) {
                Ok(count @ 1..) => read += count,
                Ok(0) | Err(_) => break,
            }
        }
        read
    }

    /// What comes until the server closes; nothing more may be sent by then.
    #[track_caller]
    pub(super) fn rest(&mut self) -> (String, End) {
        let mut rest = Vec::new();
        let mut buffer = [0; 4096];
        let end = loop {
            match self.0.read(&mut buffer) {
                Ok(0) => break End::Closed,
                Ok(count) => rest.extend_from_slice(&buffer[..count]),
                Err(error) if is_reset(&error) => break End::Reset,
                Err(error) => panic!("it is still open: {error}"),
            }
        };
        (String::from_utf8(rest).unwrap(), end)
    }

    /// The server closes, and says nothing more.
    #[track_caller]
    pub(super) fn assert_closed(&mut self) {
        assert_eq!(self.rest(), (String::new(), End::Closed));
    }
}

/// How a server ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Closed,
    Reset,
}

/// Whether the other side has given the connection up.
pub(super) fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

/// Whether the server still holds the connection; what it has sent is read away.
pub(super) fn is_open(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let mut buffer = [0; 4096];
    loop {
        match (&mut &*stream).read(&mut buffer) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) version: String,
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Answer {
    /// All lines of this name.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        let values: Vec<_> = self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| &**value).collect();
        (!values.is_empty()).then(|| values.join("|"))
    }

    pub(super) fn headers_without_date(&self) -> Vec<(String, String)> {
        self.headers.iter().filter(|(key, _)| key != "date").cloned().collect()
    }
}

/// Makes a server wait in an answer: what its clients do meanwhile, it then sees all at once.
pub(super) struct Gate {
    entered: mpsc::Receiver<()>,
    leave: mpsc::Sender<()>,
}

impl Gate {
    /// The gate, and what the server's answer calls.
    pub(super) fn new() -> (Gate, impl Fn() + Send + 'static) {
        let ((enter, entered), (leave, left)) = (mpsc::channel(), mpsc::channel());
        let pass = move || {
            enter.send(()).unwrap();
            left.recv_timeout(DEADLINE).unwrap();
        };
        (Gate { entered, leave }, pass)
    }

    /// Returns when the server waits.
    pub(super) fn wait(&self) {
        self.entered.recv_timeout(DEADLINE).unwrap();
    }

    pub(super) fn open(&self) {
        self.leave.send(()).unwrap();
    }
}

pub(super) fn loopback() -> Listen {
    Listen::Tcp(([127, 0, 0, 1], 0).into())
}

pub(super) fn at(path: &Path) -> Listen {
    Listen::Unix(path.to_owned())
}

/// A check has this status.
pub(super) fn found(shared: &Shared, index: usize, status: Status, detail: &str) {
    let took = Duration::from_micros(1500);
    shared.tried(index, Attempt { status, detail: detail.to_owned(), said: None, took });
}

fn ready_board() -> Arc<SharedStatus> {
    let board = SharedStatus::new(Instant::now());
    board.app_started(Duration::ZERO);
    board.hooks_done();
    board.was_ready();
    board.phase(Duration::ZERO, Phase::Running);
    Arc::new(board)
}

fn check(name: &str, critical: bool) -> CheckConfig {
    let second = Duration::from_secs(1);
    CheckConfig {
        name: name.to_owned(),
        target: CheckTarget::Exec { argv: vec!["true".to_owned()].into(), degraded_status: Vec::new() },
        interval: second,
        timeout: second,
        jitter: Duration::ZERO,
        degraded_after: None,
        critical,
        failure_threshold: 3,
        success_threshold: 1,
        breaker_after: Some(3),
        breaker_reset: second,
    }
}

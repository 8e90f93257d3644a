//! The socket with its clients, in one process; and the statuses that all tests here use.

use super::client::{ControlError, ask};
use super::protocol::LINE_MAX;
use super::*;
use crate::counts::Counts;
use crate::signal::Signal;
use crate::sys::fds;
use crate::timeline::{GenerationCause, Phase};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(20);
const SILENCE: Duration = Duration::from_secs(5);

/// Nothing but the app runs.
pub(super) fn serving() -> StatusDocument {
    StatusDocument {
        version: "0.1.0".to_owned(),
        pid: 1,
        generation: GenerationStatus {
            number: 1,
            cause: GenerationCause::Start,
            app_pid: Some(7),
            started_ago: Some(Duration::from_secs(180)),
            phase: Phase::Running,
            ready: None,
        },
        other: None,
        restarts_in_a_row: 0,
        in_flight: None,
        budget_left: None,
        stop_signal: None,
        last_reload: None,
    }
}

/// All that there can be at once.
pub(super) fn stopping() -> StatusDocument {
    StatusDocument {
        generation: GenerationStatus {
            number: 3,
            cause: GenerationCause::Reload,
            app_pid: Some(81),
            started_ago: Some(Duration::from_secs(2)),
            phase: Phase::Drain,
            ready: Some(false),
        },
        other: Some(OtherGeneration {
            role: GenerationRole::Old,
            generation: GenerationStatus {
                number: 2,
                cause: GenerationCause::Restart,
                app_pid: None,
                started_ago: None,
                phase: Phase::Hold,
                ready: None,
            },
        }),
        restarts_in_a_row: 4,
        in_flight: Some(Counts { busy: 2, unknown: 1, idle: 5, unaccepted: 0 }),
        budget_left: Some(Duration::from_millis(12_300)),
        stop_signal: Some(Signal::TERM),
        last_reload: Some(LastReload {
            generation: 3,
            result: ReloadResult::Failed,
            reason: Some("not ready within 10s".to_owned()),
            took: Duration::from_millis(1400),
        }),
        ..serving()
    }
}

fn serves() -> ControlAnswer {
    ControlAnswer::Reload(ReloadAnswer::Serves { generation: 2, took: Duration::from_millis(1400) })
}

/// A server with a clock that the test moves.
struct Bench {
    server: ControlServer,
    address: ControlAddress,
    now: Duration,
    folder: TempDir,
}

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let address = ControlAddress::at(folder.path().join("control.sock"));
        let server = ControlServer::bind(&address).unwrap();
        Bench { server, address, now: Duration::from_secs(100), folder }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.address.path()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    /// One that has said this.
    fn says(&self, bytes: &[u8]) -> UnixStream {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        stream
    }

    /// What all clients so far have said is there: a local socket delivers at once.
    fn read(&mut self) -> Vec<PendingRequest> {
        self.server.read(self.now)
    }

    /// The one request that is there.
    #[track_caller]
    fn one(&mut self) -> PendingRequest {
        let requests = self.read();
        let [request] = requests.as_slice() else { panic!("not one: {requests:?}") };
        *request
    }

    fn clients(&self) -> usize {
        self.server.fds().count() - 1
    }

    /// Nothing makes the loop turn.
    #[track_caller]
    fn is_asleep(&self) {
        let polled: Vec<BorrowedFd<'_>> = self.server.fds().collect();
        let woken = fds::poll(&polled, Some(Duration::from_millis(20)));
        assert!(woken.iter().all(|woken| !woken), "{woken:?}");
    }
}

/// What it is told, and that the connection is closed then.
#[track_caller]
fn told(stream: UnixStream) -> ControlAnswer {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).unwrap();
    let answer = ControlAnswer::read(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
    // Reset, where it has said more than was read.
    assert!(matches!(reader.read(&mut [0]), Ok(0) | Err(_)));
    answer
}

#[track_caller]
fn fault(stream: UnixStream) -> (ControlFault, String) {
    match told(stream) {
        ControlAnswer::Error { error, reason } => (error, reason),
        other => panic!("{other:?}"),
    }
}

/// Runs the server as the main loop does, until that many requests were answered.
fn in_background(
    mut server: ControlServer,
    count: usize,
    answer: fn(ControlRequest) -> ControlAnswer,
) -> JoinHandle<()> {
    thread::spawn(move || {
        let start = Instant::now();
        let mut answered = 0;
        while answered < count && start.elapsed() < DEADLINE {
            let timeout = server.deadline().map(|at| at.saturating_sub(start.elapsed())).unwrap_or(DEADLINE);
            fds::poll(&server.fds().collect::<Vec<_>>(), Some(timeout));
            for request in server.read(start.elapsed()) {
                assert!(server.answer(request.id, &answer(request.what)));
                answered += 1;
            }
        }
    })
}

#[test]
fn a_client_asks_and_is_answered() {
    let Bench { server, address, folder, .. } = Bench::new();
    let loop_ = in_background(server, 2, |what| match what {
        ControlRequest::Status => ControlAnswer::Status(Box::new(stopping())),
        ControlRequest::Reload => serves(),
    });
    let status = ask(&address, ControlRequest::Status, DEADLINE).unwrap();
    assert_eq!(status.answer, ControlAnswer::Status(Box::new(stopping())));
    assert_eq!(format!("{}\n", status.line).into_bytes(), status.answer.line());
    assert_eq!(ask(&address, ControlRequest::Reload, DEADLINE).unwrap().answer, serves());
    loop_.join().unwrap();
    // The socket is gone with the one who made it.
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    assert!(matches!(ask(&address, ControlRequest::Status, DEADLINE), Err(ControlError::NoSocket(_))));
}

#[test]
fn the_socket_is_its_owners_alone() {
    let bench = Bench::new();
    assert_eq!(std::fs::metadata(bench.address.path()).unwrap().mode() & 0o7777, 0o600);
}

#[test]
fn a_killed_predecessors_file_is_replaced_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let address = ControlAddress::at(folder.path().join("control.sock"));
    drop(UnixListener::bind(address.path()).unwrap());
    assert!(address.path().exists());
    let mut server = ControlServer::bind(&address).unwrap();
    let error = ControlServer::bind(&address).unwrap_err();
    assert!(error.to_string().contains("somebody listens on it"), "{error}");
    // The second try has not taken the first one's file away.
    let stream = UnixStream::connect(address.path()).unwrap();
    assert_eq!(server.read(Duration::ZERO), []);
    drop(stream);
    server.close();
    assert!(!address.path().exists());

    std::fs::write(address.path(), "mine").unwrap();
    let error = ControlServer::bind(&address).unwrap_err();
    assert!(error.to_string().contains("not a socket"), "{error}");
    assert_eq!(std::fs::read_to_string(address.path()).unwrap(), "mine");
}

#[test]
fn a_successors_file_is_left_alone() {
    let bench = Bench::new();
    std::fs::remove_file(bench.address.path()).unwrap();
    let successor = ControlServer::bind(&bench.address).unwrap();
    drop(bench.server);
    assert!(bench.address.path().exists());
    drop(successor);
    assert!(!bench.address.path().exists());
}

#[test]
fn without_a_client_nothing_is_due() {
    let mut bench = Bench::new();
    assert_eq!((bench.server.deadline(), bench.clients()), (None, 0));
    bench.is_asleep();
    assert_eq!(bench.read(), []);
    assert_eq!(bench.server.deadline(), None);
}

#[test]
fn a_line_may_come_in_pieces() {
    let mut bench = Bench::new();
    let mut stream = bench.connect();
    for piece in ["{\"do\"", ":\"re", "load\"}"] {
        stream.write_all(piece.as_bytes()).unwrap();
        assert_eq!(bench.read(), []);
    }
    stream.write_all(b"\n").unwrap();
    let request = bench.one();
    assert_eq!(request.what, ControlRequest::Reload);
    assert!(bench.server.is_open(request.id));
    assert!(bench.server.answer(request.id, &serves()));
    assert_eq!(told(stream), serves());
    // It is answered once.
    assert!(!bench.server.answer(request.id, &serves()));
    assert!(!bench.server.is_open(request.id));
}

#[test]
fn who_is_silent_or_slow_is_let_go_after_five_seconds() {
    let mut bench = Bench::new();
    let silent = bench.connect();
    bench.read();
    let began = bench.now;
    bench.now += Duration::from_secs(2);
    let mut slow = bench.says(b"{");
    bench.read();
    assert_eq!(bench.server.deadline(), Some(began + SILENCE));
    bench.now = began + SILENCE - Duration::from_millis(1);
    bench.read();
    assert_eq!(bench.clients(), 2);
    bench.now = began + SILENCE;
    bench.read();
    assert_eq!(fault(silent), (ControlFault::TooSlow, "no request within 5s".to_owned()));
    // A byte now and then is no reprieve.
    slow.write_all(b" ").unwrap();
    assert_eq!(bench.server.deadline(), Some(began + SILENCE + Duration::from_secs(2)));
    bench.now = began + SILENCE + Duration::from_secs(2);
    bench.read();
    assert_eq!(fault(slow).0, ControlFault::TooSlow);
    assert_eq!((bench.server.deadline(), bench.clients()), (None, 0));
}

#[test]
fn who_waits_for_an_answer_may_wait_for_long() {
    let mut bench = Bench::new();
    let stream = bench.says(b"{\"do\":\"reload\"}\n");
    let request = bench.one();
    assert_eq!(bench.server.deadline(), None);
    bench.now += Duration::from_secs(3600);
    assert_eq!(bench.read(), []);
    bench.is_asleep();
    assert!(bench.server.answer(request.id, &serves()));
    assert_eq!(told(stream), serves());
}

#[test]
fn junk_is_answered_by_what_is_wrong_with_it() {
    let mut bench = Bench::new();
    let too_long = vec![b'x'; LINE_MAX + 1];
    for (bytes, expected) in [
        (&b"hello\n"[..], ControlFault::Malformed),
        (b"\n", ControlFault::Malformed),
        (b"\0\xff\xfe\n", ControlFault::Malformed),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", ControlFault::Malformed),
        (b"{\"do\":\"stop\"}\n", ControlFault::UnknownRequest),
        (b"{\"v\":9,\"do\":\"status\"}\n", ControlFault::Version),
        (&too_long, ControlFault::TooLong),
    ] {
        let stream = bench.says(bytes);
        assert_eq!(bench.read(), []);
        assert_eq!(bench.clients(), 0);
        assert_eq!(fault(stream).0, expected, "{:?}", &bytes[..bytes.len().min(20)]);
    }
    // And it goes on.
    let stream = bench.says(b"{\"do\":\"status\"}\n");
    let request = bench.one();
    assert!(bench.server.answer(request.id, &ControlAnswer::Status(Box::new(serving()))));
    assert_eq!(told(stream), ControlAnswer::Status(Box::new(serving())));
}

#[test]
fn the_longest_line_is_still_read() {
    let mut bench = Bench::new();
    let request = "{\"do\":\"status\"}";
    let line = format!("{request}{}\n", " ".repeat(LINE_MAX - request.len()));
    let stream = bench.says(line.as_bytes());
    assert_eq!(bench.one().what, ControlRequest::Status);
    drop(stream);
}

#[test]
fn a_client_that_vanishes_is_forgotten() {
    let mut bench = Bench::new();
    let silent = bench.connect();
    let waiting = bench.says(b"{\"do\":\"reload\"}\n");
    let request = bench.one();
    drop(silent);
    drop(waiting);
    // Asked before the loop has heard of it.
    assert!(!bench.server.is_open(request.id));
    assert_eq!(bench.read(), []);
    assert_eq!((bench.clients(), bench.server.deadline()), (0, None));
    assert!(!bench.server.answer(request.id, &serves()));

    let waiting = bench.says(b"{\"do\":\"reload\"}\n");
    let request = bench.one();
    drop(waiting);
    // Not even heard of: the answer raises no signal, and is no success.
    assert!(!bench.server.answer(request.id, &serves()));
    bench.is_asleep();
}

/// As `echo '{"do":"reload"}' | socat - UNIX:…` does it.
#[test]
fn who_says_no_more_is_answered_and_wakes_nobody_meanwhile() {
    let mut bench = Bench::new();
    // Without the end of the line, too.
    let stream = bench.says(b"{\"do\":\"reload\"}");
    stream.shutdown(Shutdown::Write).unwrap();
    let request = bench.one();
    assert_eq!(bench.read(), []);
    bench.is_asleep();
    assert!(bench.server.is_open(request.id));
    assert!(bench.server.answer(request.id, &serves()));
    assert_eq!(told(stream), serves());

    let stream = bench.says(b"{\"do\":\"reload\"}");
    stream.shutdown(Shutdown::Write).unwrap();
    let request = bench.one();
    bench.read();
    drop(stream);
    assert!(!bench.server.is_open(request.id));
    assert!(!bench.server.answer(request.id, &serves()));
}

#[test]
fn what_follows_a_request_is_passed_over() {
    let mut bench = Bench::new();
    let mut stream = bench.says(b"{\"do\":\"reload\"}\n{\"do\":\"reload\"}\n");
    let request = bench.one();
    stream.write_all(&[b'x'; 100_000]).unwrap();
    assert_eq!(bench.read(), []);
    bench.is_asleep();
    assert!(bench.server.answer(request.id, &serves()));
    assert_eq!(told(stream), serves());
}

#[test]
fn the_seventeenth_takes_the_place_of_the_oldest_that_has_asked_nothing() {
    let mut bench = Bench::new();
    let waiting = bench.says(b"{\"do\":\"reload\"}\n");
    let reload = bench.one();
    let mut silent: Vec<UnixStream> = (0..15).map(|_| bench.connect()).collect();
    assert_eq!(bench.read(), []);
    assert_eq!(bench.clients(), 16);
    // The oldest has spoken meanwhile, and is heard before somebody is let in.
    silent[0].write_all(b"{\"do\":\"status\"}\n").unwrap();
    let seventeenth = bench.says(b"{\"do\":\"status\"}\n");
    let requests = bench.read();
    assert_eq!(requests.iter().map(|request| request.what).collect::<Vec<_>>(), [ControlRequest::Status; 2]);
    assert_eq!(bench.clients(), 16);
    let (error, reason) = fault(silent.remove(1));
    assert_eq!(error, ControlFault::Busy);
    assert!(reason.contains("16 clients are connected"), "{reason}");
    for request in requests {
        assert!(bench.server.answer(request.id, &ControlAnswer::Status(Box::new(serving()))));
    }
    assert_eq!(told(silent.remove(0)), ControlAnswer::Status(Box::new(serving())));
    assert_eq!(told(seventeenth), ControlAnswer::Status(Box::new(serving())));
    assert!(bench.server.answer(reload.id, &serves()));
    assert_eq!(told(waiting), serves());
}

#[test]
fn where_all_wait_for_answers_the_seventeenth_is_refused() {
    let mut bench = Bench::new();
    let waiting: Vec<UnixStream> = (0..16).map(|_| bench.says(b"{\"do\":\"reload\"}\n")).collect();
    let requests = bench.read();
    assert_eq!(requests.len(), 16);
    let seventeenth = bench.says(b"{\"do\":\"status\"}\n");
    assert_eq!(bench.read(), []);
    let (error, reason) = fault(seventeenth);
    assert_eq!(error, ControlFault::Busy);
    assert!(reason.contains("16 clients wait for their answers"), "{reason}");
    for request in &requests {
        assert!(bench.server.answer(request.id, &serves()));
    }
    for stream in waiting {
        assert_eq!(told(stream), serves());
    }
}

#[test]
fn many_at_once_leave_the_loop_to_its_work() {
    let mut bench = Bench::new();
    // As many as the waiting line holds.
    let streams: Vec<UnixStream> = (0..60).map(|_| bench.connect()).collect();
    let polled = |bench: &Bench| fds::poll(&bench.server.fds().collect::<Vec<_>>(), Some(Duration::ZERO))[0];
    bench.read();
    assert!(polled(&bench), "all of them in one turn");
    bench.read();
    assert!(!polled(&bench));
    assert_eq!(bench.clients(), 16);
    let refused = streams.into_iter().take(44).map(fault).filter(|(error, _)| *error == ControlFault::Busy);
    assert_eq!(refused.count(), 44);
}

#[test]
fn the_longest_answer_waits_for_no_reader() {
    let mut bench = Bench::new();
    let status = StatusDocument { version: "x".repeat(LINE_MAX - 1000), ..stopping() };
    let long = ControlAnswer::Status(Box::new(status));
    assert!((LINE_MAX - 1000..=LINE_MAX).contains(&long.line().len()));
    let stream = bench.says(b"{\"do\":\"status\"}\n");
    let request = bench.one();
    assert!(bench.server.answer(request.id, &long));
    assert_eq!(bench.clients(), 0);
    // It is there for whoever reads it later.
    assert_eq!(told(stream), long);
}

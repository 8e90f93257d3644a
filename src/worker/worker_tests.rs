use super::*;
use crate::http::testing::{ClosedPort, DEADLINE, Server, assert_asleep, is_inner, rerun, say, until_hangup};
use crate::http::{Observation, RequestResult};
use crate::secret::Url;
use crate::sys::sockets::take_closed;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Instant;

/// The timeout of a poll that is not meant to end by it.
const LONG: Duration = DEADLINE;
const OFTEN: Duration = Duration::from_millis(5);
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const BUSY: &[u8] = b"HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n";

/// A worker, and the calls of its `notify` with the thread they came from.
struct Desk {
    worker: Worker,
    wakes: sync::Receiver<libc::pid_t>,
}

impl Desk {
    fn new() -> Desk {
        let (wake, wakes) = sync::channel();
        let worker = Worker::start(None, move || {
            let thread = nix::unistd::gettid().as_raw();
            let _ = wake.send(thread);
        });
        Desk { worker: worker.unwrap(), wakes }
    }

    /// The next fact and the worker's thread id. A fact is there whenever `notify` was called.
    fn next(&self) -> (WorkerEvent, libc::pid_t) {
        let thread = self.wakes.recv_timeout(DEADLINE).expect("nothing was reported");
        (self.worker.try_recv().expect("notified without a fact"), thread)
    }

    fn poll(&self, url: Url, until_ready: bool) {
        self.worker.send(WorkerCommand::PollReadiness { url, interval: OFTEN, timeout: LONG, until_ready });
    }

    fn readiness(&self) -> Observation {
        match self.next().0 {
            WorkerEvent::Readiness(observation) => observation,
            other => panic!("not an observation: {other:?}"),
        }
    }
}

/// Answers 503 to the first `failures` requests, then 200.
fn ready_after(failures: usize) -> Server {
    let count = AtomicUsize::new(0);
    Server::start(move |stream, _| {
        let early = count.fetch_add(1, Ordering::SeqCst) < failures;
        say(stream, if early { BUSY } else { OK });
    })
}

#[test]
fn polls_until_ready_and_then_sleeps() {
    let server = ready_after(2);
    let desk = Desk::new();
    desk.poll(server.url("/ready"), true);
    assert_eq!(desk.readiness().detail, "503 Service Unavailable");
    assert_eq!(desk.readiness().detail, "503 Service Unavailable");
    let (last, thread) = desk.next();
    assert!(matches!(last, WorkerEvent::Readiness(o) if o.verdict == RequestResult::Ready && o.detail == "200"));
    assert_asleep(thread);
    assert_eq!(server.drain(), 3);
    assert_eq!(desk.worker.try_recv(), None);
}

#[test]
fn a_closed_listener_is_reported_as_such() {
    let port = ClosedPort::new();
    let desk = Desk::new();
    desk.poll(port.url("http", "localhost"), true);
    for _ in 0..3 {
        assert!(desk.readiness().refused);
    }
}

#[test]
fn polls_for_ever_until_told_to_stop() {
    let server = Server::answering(OK);
    let desk = Desk::new();
    desk.poll(server.url("/"), false);
    let (_, thread) = desk.next();
    for _ in 0..5 {
        assert_eq!(desk.readiness().detail, "200");
    }
    desk.worker.send(WorkerCommand::StopPolling);
    assert_asleep(thread);
    let polls = server.drain();
    assert!(polls >= 6, "{polls}");
    assert_asleep(thread);
    assert_eq!(server.drain(), 0);
}

#[test]
fn a_new_poll_replaces_the_old_one() {
    // The old one hangs; it does not keep the new one waiting.
    let (gone, hangup) = sync::channel();
    let gone = Mutex::new(gone);
    let old = Server::start(move |stream, _| {
        until_hangup(stream);
        gone.lock().unwrap().send(()).unwrap();
    });
    let new = Server::answering(OK);
    let desk = Desk::new();
    desk.poll(old.url("/"), false);
    old.request();
    desk.poll(new.url("/"), false);
    hangup.recv_timeout(DEADLINE).expect("the old poll goes on");
    for _ in 0..3 {
        assert_eq!(desk.readiness().detail, "200");
    }
    assert_eq!(old.drain(), 0);
}

#[test]
fn what_is_given_up_is_noted_before_it_is_closed() {
    rerun("worker::tests::inner_given_up", &[]);
}

/// The body of the test above, in a process where no other test asks for the list.
#[test]
fn inner_given_up() {
    if !is_inner() {
        return;
    }
    let (ends, end) = sync::channel();
    let ends = Mutex::new(ends);
    let hanging = Server::start(move |stream, _| {
        let client = stream.peer_addr().unwrap();
        until_hangup(stream);
        ends.lock().unwrap().send(client).unwrap();
    });
    let desk = Desk::new();
    let timeout = Duration::from_millis(50);
    desk.worker.send(WorkerCommand::PollReadiness {
        url: hanging.url("/"),
        interval: LONG,
        timeout,
        until_ready: false,
    });
    assert_eq!(desk.readiness().detail, "no answer within 50ms");
    let timed_out = end.recv_timeout(DEADLINE).expect("the connection is closed");
    assert_eq!(take_closed(), [timed_out]);
    desk.poll(hanging.url("/"), false);
    hanging.request();
    hanging.request();
    desk.worker.send(WorkerCommand::StopPolling);
    let aborted = end.recv_timeout(DEADLINE).expect("the connection is closed");
    assert_eq!(take_closed(), [aborted]);
    let good = ready_after(0);
    desk.poll(good.url("/"), true);
    assert_eq!(desk.readiness().verdict, RequestResult::Ready);
    assert_eq!(take_closed(), [], "what was answered is over");
}

#[test]
fn polls_never_overlap() {
    // Each takes several intervals.
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (inside, highest) = (now.clone(), most.clone());
    let server = Server::start(move |stream, _| {
        highest.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(4 * OFTEN);
        inside.fetch_sub(1, Ordering::SeqCst);
        say(stream, OK);
    });
    let desk = Desk::new();
    desk.poll(server.url("/"), false);
    for _ in 0..10 {
        assert_eq!(desk.readiness().detail, "200");
    }
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

#[test]
fn the_interval_is_from_start_to_start() {
    let server = Server::answering(OK);
    let desk = Desk::new();
    let start = Instant::now();
    let interval = Duration::from_millis(50);
    desk.worker.send(WorkerCommand::PollReadiness {
        url: server.url("/"),
        interval,
        timeout: LONG,
        until_ready: false,
    });
    for _ in 0..4 {
        desk.readiness();
    }
    // The first is at once, so three intervals have passed.
    assert!(start.elapsed() >= 3 * interval, "{:?}", start.elapsed());
}

#[test]
fn intervals_of_any_length_are_fine() {
    let server = Server::answering(OK);
    let desk = Desk::new();
    for interval in [Duration::ZERO, Duration::MAX] {
        desk.worker.send(WorkerCommand::PollReadiness {
            url: server.url("/"),
            interval,
            timeout: LONG,
            until_ready: false,
        });
        assert_eq!(desk.readiness().detail, "200");
    }
}

#[test]
fn posts_run_beside_a_poll_and_each_other() {
    let hanging = Server::start(|stream, _| until_hangup(stream));
    // Answers when two requests are there at the same time.
    let both = Barrier::new(2);
    let server = Server::start(move |stream, request| {
        both.wait();
        say(stream, if request.starts_with("POST /good ") { OK } else { BUSY });
    });
    let desk = Desk::new();
    desk.poll(hanging.url("/"), false);
    hanging.request();
    desk.worker.send(WorkerCommand::Post { id: 7, url: server.url("/good"), timeout: LONG });
    desk.worker.send(WorkerCommand::Post { id: 8, url: server.url("/bad"), timeout: LONG });
    let mut posted: Vec<_> = (0..2)
        .map(|_| match desk.next().0 {
            WorkerEvent::Posted { id, observation } => (id, observation.verdict, observation.detail),
            other => panic!("not a hook's result: {other:?}"),
        })
        .collect();
    posted.sort_by_key(|(id, ..)| *id);
    let expected = [
        (7, RequestResult::Ready, "200".to_owned()),
        (8, RequestResult::NotReady, "503 Service Unavailable".to_owned()),
    ];
    assert_eq!(posted, expected);
}

#[test]
fn a_hold_is_checked_until_it_is_over() {
    let server = ready_after(2);
    let desk = Desk::new();
    desk.worker.send(WorkerCommand::PollHold { url: server.url("/idle"), interval: OFTEN, timeout: LONG });
    for _ in 0..2 {
        assert!(matches!(desk.next().0, WorkerEvent::HoldCheck(o) if o.detail == "503 Service Unavailable"));
    }
    let (over, thread) = desk.next();
    assert_eq!(over, WorkerEvent::HoldOver { detail: "200".to_owned() });
    assert_asleep(thread);
    assert_eq!(server.drain(), 3);
}

#[test]
fn a_hold_can_be_stopped_while_readiness_goes_on() {
    let hold = Server::answering(BUSY);
    let ready = Server::answering(OK);
    let desk = Desk::new();
    desk.worker.send(WorkerCommand::PollHold { url: hold.url("/"), interval: OFTEN, timeout: LONG });
    assert!(matches!(desk.next().0, WorkerEvent::HoldCheck(_)));
    desk.worker.send(WorkerCommand::StopHold);
    desk.poll(ready.url("/"), false);
    // One check may have been queued before the stop; then only readiness comes.
    while !matches!(desk.next().0, WorkerEvent::Readiness(_)) {}
    for _ in 0..5 {
        assert_eq!(desk.readiness().detail, "200");
    }
}

#[test]
fn a_panic_is_the_last_word_and_no_more() {
    let server = Server::answering(OK);
    let (wake, wakes) = sync::channel();
    let first = std::cell::Cell::new(true);
    let worker = Worker::start(None, move || {
        if first.replace(false) {
            panic!("on purpose");
        }
        wake.send(()).unwrap();
    })
    .unwrap();
    let poll =
        || WorkerCommand::PollReadiness { url: server.url("/"), interval: OFTEN, timeout: LONG, until_ready: false };
    worker.send(poll());
    wakes.recv_timeout(DEADLINE).expect("the death was not reported");
    assert!(matches!(worker.try_recv(), Some(WorkerEvent::Readiness(_))));
    assert_eq!(worker.try_recv(), Some(WorkerEvent::Died("panic: on purpose".to_owned())));
    // Nobody is there any longer, and nothing happens.
    worker.send(poll());
    assert!(wakes.recv().is_err());
    assert_eq!(worker.try_recv(), None);
}

#[test]
fn dropping_the_worker_ends_the_thread_and_what_it_does() {
    let (gone, hangup) = sync::channel();
    let gone = Mutex::new(gone);
    let hanging = Server::start(move |stream, _| {
        until_hangup(stream);
        gone.lock().unwrap().send(()).unwrap();
    });
    let desk = Desk::new();
    desk.worker.send(WorkerCommand::Post { id: 1, url: hanging.url("/"), timeout: LONG });
    hanging.request();
    let Desk { worker, wakes } = desk;
    drop(worker);
    hangup.recv_timeout(DEADLINE).expect("the request goes on");
    // The thread has dropped `notify`.
    assert!(matches!(wakes.recv_timeout(DEADLINE), Err(sync::RecvTimeoutError::Disconnected)));
}

#[test]
fn it_is_one_thread() {
    rerun("worker::tests::inner_one_thread", &[]);
}

/// The body of the test above, in a process where no other test starts threads.
#[test]
fn inner_one_thread() {
    if !is_inner() {
        return;
    }
    let threads = || fs::read_dir("/proc/self/task").unwrap().count();
    let desk = Desk::new();
    // A name that needs a look-up, which libc's resolver would do on yet another thread.
    let url = Url::parse("http://no-such-name.invalid/").unwrap();
    let before = threads();
    for until_ready in [false, true] {
        let (url, timeout) = (url.clone(), Duration::from_secs(2));
        desk.worker.send(WorkerCommand::PollReadiness { url, interval: LONG, timeout, until_ready });
        assert_eq!(desk.readiness().verdict, RequestResult::NotReady);
        assert_eq!(threads(), before);
    }
    let port = ClosedPort::new();
    desk.poll(port.url("http", "localhost"), true);
    for _ in 0..3 {
        desk.readiness();
        assert_eq!(threads(), before);
    }
}

#[test]
fn it_has_the_signal_mask_of_its_creator() {
    use nix::sys::signal::SigSet;
    let server = Server::answering(OK);
    let mask = |thread: libc::pid_t| {
        let status = fs::read_to_string(format!("/proc/self/task/{thread}/status")).unwrap();
        status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap().trim().to_owned()
    };
    // The test's own thread, so that nothing has to be put back.
    SigSet::all().thread_block().unwrap();
    let desk = Desk::new();
    desk.poll(server.url("/"), false);
    let (_, thread) = desk.next();
    assert_eq!(mask(thread), mask(nix::unistd::gettid().as_raw()));
    assert_ne!(mask(thread), "0000000000000000");
}

#[cfg(feature = "https")]
#[test]
fn tls_fits_on_the_stack() {
    use crate::http::testing::TlsServer;
    let server = TlsServer::start("x", OK);
    let desk = Desk::new();
    desk.poll(server.url("localhost"), true);
    assert_eq!(desk.readiness().detail, "200");
    // This machine, but not by its spelling: the certificate is verified, which goes deepest.
    desk.poll(server.url("0.0.0.0"), false);
    let detail = desk.readiness().detail;
    assert!(detail.starts_with("TLS: the certificate is "), "{detail}");
}

//! When checks are tried, and what is reported of it. Real connections: each try is counted by the server it is made
//! to.

use super::attempt::said;
use super::*;
use crate::config::{Budget, FailReadiness, Space};
use crate::health::{SharedStatus, Status};
use crate::server::AppFacts;
use std::cell::RefCell;
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::task::LocalSet;
use tokio::time::sleep;

const DEADLINE: Duration = Duration::from_secs(20);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A server that counts its connections, and answers +PONG, or closes them at once, or never says a word.
struct Server {
    port: u16,
    count: Arc<AtomicUsize>,
    good: Arc<AtomicBool>,
    held: Arc<Mutex<Vec<TcpStream>>>,
}

impl Server {
    fn new(hangs: bool) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Server { port, count: Arc::default(), good: Arc::default(), held: Arc::default() };
        server.good.store(true, Ordering::SeqCst);
        let (count, good, held) = (server.count.clone(), server.good.clone(), server.held.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                if hangs {
                    held.lock().unwrap().push(stream);
                } else if good.load(Ordering::SeqCst) {
                    use std::io::Write;
                    _ = (&stream).write_all(b"+PONG\r\n");
                }
            }
        });
        server
    }

    fn tries(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    fn check(&self, name: &str) -> CheckConfig {
        let target = CheckTarget::Tcp {
            host: "127.0.0.1".to_owned(),
            port: self.port,
            send: Some("PING\r\n".to_owned().into()),
            expect: Some("+PONG".to_owned()),
        };
        check(name, target)
    }
}

fn check(name: &str, target: CheckTarget) -> CheckConfig {
    CheckConfig {
        name: name.to_owned(),
        target,
        interval: ms(10),
        timeout: DEADLINE,
        jitter: Duration::ZERO,
        degraded_after: None,
        critical: true,
        failure_threshold: 3,
        success_threshold: 1,
        breaker_after: Some(3),
        breaker_reset: ms(400),
    }
}

fn attempt_of(status: Status, detail: &str, said: Option<&str>) -> Attempt {
    Attempt { status, detail: detail.to_owned(), said: said.map(str::to_owned), took: ms(1) }
}

/// What the checks tell the main loop.
#[derive(Clone, Debug, PartialEq)]
enum Told {
    Changed(CheckChanged),
    Run(CheckCommand),
}

/// Runs the checks until the test is done; it sees what is told.
fn with(checks: Vec<CheckConfig>, test: impl AsyncFnOnce(Arc<Shared>, Rc<RefCell<Vec<Told>>>)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let facts = AppFacts {
        board: Arc::new(SharedStatus::new(std::time::Instant::now())),
        fail_readiness: FailReadiness::AtStop,
        has_ready_url: false,
        budget: Budget::for_grace_period(DEADLINE),
    };
    let shared = Arc::new(Shared::new(facts, &checks));
    let told = Rc::new(RefCell::new(Vec::new()));
    let (reports, commands, unanswered) = (told.clone(), told.clone(), RefCell::new(Vec::new()));
    let desk = CheckContext {
        client: Rc::new(Client::new()),
        names: Names::of_the_system(),
        shared: shared.clone(),
        report: Rc::new(move |fact| reports.borrow_mut().push(Told::Changed(fact))),
        run: Rc::new(move |command| {
            let (answer, answered) = oneshot::channel();
            match command.argv[0].as_str() {
                "pool" => _ = answer.send(attempt_of(Status::Degraded, "exit status 2", Some("3 of 80 are free"))),
                // Nobody will answer.
                "hangs" => unanswered.borrow_mut().push(answer),
                _ => {}
            }
            commands.borrow_mut().push(Told::Run(command));
            answered
        }),
    };
    LocalSet::new().block_on(&runtime, async move {
        for (index, check) in checks.into_iter().enumerate() {
            tokio::task::spawn_local(run(index, check, desk.clone()));
        }
        timeout(DEADLINE, test(shared, told)).await.expect("in time");
    });
    runtime.shutdown_background();
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        sleep(ms(2)).await;
    }
}

fn status(shared: &Shared, index: usize) -> Option<Status> {
    shared.with_situation(|situation| situation.checks[index].tracker.status())
}

#[test]
fn hanging_checks_delay_no_other() {
    let (hanging, good) = (Server::new(true), Server::new(false));
    let url = format!("http://127.0.0.1:{}/", hanging.port);
    let checks = vec![
        hanging.check("tcp hangs"),
        check("http hangs", CheckTarget::Http(url.parse().unwrap())),
        check("command hangs", command("hangs")),
        good.check("tcp"),
        check("command", command("pool")),
        check("disk", disk()),
    ];
    with(checks, async |shared, told| {
        let tries = |name: &str| {
            let of_name = |fact: &&Told| matches!(fact, Told::Run(command) if command.argv[0] == name);
            told.borrow().iter().filter(of_name).count()
        };
        until(|| good.tries() >= 30 && tries("pool") >= 30 && status(&shared, 5).is_some()).await;
        assert_eq!((hanging.tries(), tries("hangs")), (2, 1), "tries of one check do not overlap");
        let statuses = [0, 1, 2, 3, 4, 5].map(|index| status(&shared, index));
        let (healthy, degraded) = (Some(Status::Healthy), Some(Status::Degraded));
        assert_eq!(statuses, [None, None, None, healthy, degraded, healthy]);
    });
}

#[test]
fn an_open_breaker_asks_nobody_and_then_once() {
    let server = Server::new(false);
    server.good.store(false, Ordering::SeqCst);
    with(vec![server.check("redis")], async |shared, told| {
        until(|| !told.borrow().is_empty()).await;
        until(|| told.borrow().len() == 2).await;
        assert_eq!(server.tries(), 3);
        let Some(Told::Changed(CheckChanged { name, change, not_tried_for: Some(pause), .. })) =
            told.borrow().last().cloned()
        else {
            panic!("{told:?}")
        };
        assert_eq!((name.as_str(), change.breaker_to), ("redis", Breaker::Open));
        assert!(pause <= ms(400) && pause > Duration::ZERO, "{pause:?}");
        // Half-open: one try, and it is open again. The interval is 10 ms: without the breaker there would be dozens.
        until(|| told.borrow().len() == 3).await;
        assert_eq!(server.tries(), 4);
        server.good.store(true, Ordering::SeqCst);
        until(|| status(&shared, 0) == Some(Status::Healthy)).await;
        assert_eq!(server.tries(), 5);
        let last = told.borrow().last().cloned();
        let Some(Told::Changed(CheckChanged { change, not_tried_for: None, .. })) = last else { panic!("{last:?}") };
        assert_eq!((change.from, change.breaker_to), (Some(Status::Unhealthy), Breaker::Closed));
    });
}

#[test]
fn only_changes_are_told() {
    let server = Server::new(false);
    with(vec![server.check("redis")], async |_, told| {
        until(|| server.tries() >= 20).await;
        assert_eq!(told.borrow().len(), 1, "{told:?}");
    });
}

fn command(name: &str) -> CheckTarget {
    CheckTarget::Exec { argv: vec![name.to_owned()].into(), degraded_status: vec![2] }
}

fn disk() -> CheckTarget {
    CheckTarget::Disk { path: "/".into(), degraded_free: Space::Bytes(1), unhealthy_free: Space::Bytes(0) }
}

#[test]
fn a_command_is_run_and_its_result_counts() {
    with(vec![check("pool", command("pool"))], async |shared, told| {
        until(|| told.borrow().len() >= 2).await;
        let asked = CheckCommand { argv: vec!["pool".to_owned()].into(), timeout: DEADLINE, degraded_status: vec![2] };
        assert_eq!(told.borrow()[0], Told::Run(asked));
        let Told::Changed(CheckChanged { name, change, not_tried_for, detail, said }) = told.borrow()[1].clone() else {
            panic!("{told:?}")
        };
        assert_eq!((name.as_str(), change.from, change.to), ("pool", None, Status::Degraded));
        let said = said.as_deref();
        assert_eq!((detail.as_str(), said, not_tried_for), ("exit status 2", Some("3 of 80 are free"), None));
        assert_eq!(status(&shared, 0), Some(Status::Degraded));
    });
}

#[tokio::test(start_paused = true)]
async fn a_command_without_an_answer_is_a_failure() {
    let (answer, answered) = oneshot::channel();
    drop(answer);
    let ended = command_ended(answered, ms(2000)).await;
    assert_eq!((ended.took, ended.detail.as_str()), (Duration::ZERO, "it could not be run"));
    // Not even at its timeout, at which the main loop has 5 seconds to say so.
    let (_answer, answered) = oneshot::channel();
    let ended = command_ended(answered, ms(2000)).await;
    assert_eq!((ended.status, ended.detail.as_str()), (Status::Unhealthy, "no exit within 2s"));
    assert!((ms(7000)..=ms(7001)).contains(&ended.took), "{:?}", ended.took);
    let late = async {
        let (answer, answered) = oneshot::channel();
        let ended = tokio::join!(command_ended(answered, ms(2000)), async {
            sleep(ms(6900)).await;
            answer.send(attempt_of(Status::Unhealthy, "no exit within 2s", Some("x")))
        });
        ended.0.said
    };
    assert_eq!(late.await.as_deref(), Some("x"));
}

#[test]
fn a_slow_success_is_degraded() {
    let slow = CheckConfig { degraded_after: Some(Duration::from_nanos(1)), ..check("disk", disk()) };
    with(vec![slow], async |shared, _| {
        until(|| status(&shared, 0) == Some(Status::Degraded)).await;
        shared.with_situation(|situation| {
            let detail = situation.checks[0].tracker.detail();
            assert!(detail.starts_with("slow, ") && detail.ends_with(" free"), "{detail}");
        });
    });
}

#[test]
fn what_was_said_is_one_short_line() {
    for (bytes, line) in [
        ("".as_bytes(), None),
        (b" \r\n", None),
        (b"+OK \"it's\"\r\n", Some("+OK \"it's\"")),
        (b"a\nb\x1b[0m\x00", Some(r"a\nb\u{1b}[0m\0")),
        (b"\\n", Some(r"\\n")),
        ("grün \u{2028}\u{202e}".as_bytes(), Some(r"grün \u{2028}\u{202e}")),
        (b"\xff\xfe", Some("\u{fffd}\u{fffd}")),
    ] {
        assert_eq!(said(bytes).as_deref(), line, "{bytes:?}");
    }
    assert_eq!(said("ü".repeat(1000).as_bytes()), Some("ü".repeat(100)));
    assert_eq!(said(&[7; 1000]).map(|line| line.len()), Some(100));
}

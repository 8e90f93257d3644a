//! The demo app as its clients and its parent see it: a good server, and each fault of it.

use crate::support::load::{KeptAlive, Load, Outcome, slow_requests};
use crate::support::procfs::{self, status};
use crate::support::run::{is_alive, kill, number_after, wait_for};
use crate::support::{DEADLINE, Exit, Proc, address, free_port, get, graceful_command};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

/// Once its listener is there.
fn start(port: u16, options: &[&str]) -> Proc {
    serving(graceful_command().arg("demo-app").arg(address(port).to_string()).args(options))
}

fn serving(command: &mut Command) -> Proc {
    let app = Proc::spawn(command);
    app.wait_line("demo-app: serving http://", DEADLINE);
    app
}

fn with_fault(port: u16, fault: &str) -> Proc {
    start(port, &["--fault", fault])
}

/// One for the main thread and one for each connection.
fn connections(app: &Proc) -> usize {
    std::fs::read_dir(format!("/proc/{}/task", app.pid())).map_or(0, |threads| threads.count() - 1)
}

fn wait_connections(app: &Proc, count: usize) {
    wait_for("the connections", || connections(app) >= count);
}

/// One connection.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(port: u16) -> Client {
        let stream = TcpStream::connect(address(port)).expect("it listens");
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Client(BufReader::new(stream))
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).expect("it reads");
    }

    fn get(&mut self, path: &str) -> (u16, String, String) {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: demo\r\n\r\n"));
        self.answer()
    }

    fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(self.0.read_line(&mut head).expect("a head") > 0, "the connection ended after {head:?}");
        }
        head
    }

    /// Status, head and body of an answer with a length.
    fn answer(&mut self) -> (u16, String, String) {
        let head = self.head();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.split_once("Content-Length: ").expect("a length").1.lines().next().unwrap().parse().unwrap();
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("a body");
        (status, head, String::from_utf8(body).unwrap())
    }

    /// Everything up to the end of the connection; nothing if it was reset.
    fn rest(&mut self) -> Option<String> {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).ok().map(|_| rest)
    }
}

// What it serves

#[test]
fn one_connection_carries_many_requests() {
    let port = free_port();
    let app = start(port, &[]);
    let first = app.lines()[0].text.clone();
    assert!(first.starts_with(&format!("demo-app: serving http://127.0.0.1:{port}/ ")), "{first}");
    let mut client = Client::connect(port);
    for _ in 0..3 {
        let (status, head, body) = client.get("/");
        assert_eq!((status, body.as_str()), (200, "hello\n"));
        assert!(!head.contains("Connection:"), "{head}");
    }
    assert_eq!(client.get("/ready").0, 200);
    assert_eq!(client.get("/nothing").0, 404);
    assert_eq!(client.get("/slow?ms=soon").0, 400);
    let asked = Instant::now();
    assert_eq!(client.get("/slow?ms=300").0, 200);
    assert!(asked.elapsed() >= Duration::from_millis(300));
    let asked = Instant::now();
    assert_eq!(client.get("/slow").0, 200);
    assert!(asked.elapsed() >= Duration::from_millis(1500));
    // HEAD tells the length and sends nothing.
    client.send("HEAD / HTTP/1.1\r\n\r\n");
    assert!(client.head().contains("Content-Length: 6\r\n"));
    // Three at once, the first with a body that comes in two parts.
    client.send("POST / HTTP/1.1\r\nContent-Length: 6\r\n\r\nabc");
    client.send("GETGET /ready HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nConnection: close\r\n\r\n");
    let bodies = [client.answer().2, client.answer().2];
    assert_eq!(bodies, ["hello\n", "ready\n"]);
    let (_, head, _) = client.answer();
    assert!(head.contains("Connection: close\r\n"), "{head}");
    assert_eq!(client.rest().as_deref(), Some(""));
}

#[test]
fn a_stream_comes_in_chunks_until_its_last_one() {
    let port = free_port();
    let _app = start(port, &[]);
    let mut client = Client::connect(port);
    client.send("GET /stream?ms=350 HTTP/1.1\r\n\r\n");
    assert!(client.head().contains("Transfer-Encoding: chunked\r\n"));
    let mut lines = String::new();
    while !lines.ends_with("0\r\n\r\n") {
        assert!(client.0.read_line(&mut lines).unwrap() > 0, "{lines:?}");
    }
    assert_eq!(lines, format!("{}0\r\n\r\n", "5\r\ntick\n\r\n".repeat(4)));
    // The connection can go on.
    assert_eq!(client.get("/").0, 200);
    // What knows no chunks gets none.
    client = Client::connect(port);
    client.send("GET /stream?ms=150 HTTP/1.0\r\n\r\n");
    client.head();
    assert_eq!(client.rest().as_deref(), Some("tick\ntick\n"));
}

#[test]
fn bad_clients_are_refused_and_good_ones_served_on() {
    let port = free_port();
    let app = start(port, &[]);
    let too_long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(70_000));
    for (bytes, expected) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00"[..], 400),
        (b"hello?\r\n\r\n", 400),
        (b"\xff\xfe\xfd", 400),
        (b"GET / HTTP/3.0\r\n\r\n", 505),
        (b"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 411),
        (too_long.as_bytes(), 431),
    ] {
        let mut client = Client::connect(port);
        client.send(bytes);
        let (status, head, _) = client.answer();
        assert_eq!(status, expected, "{}", String::from_utf8_lossy(bytes));
        assert!(head.contains("Connection: close\r\n"), "{head}");
    }
    // Half requests of clients that stay, and of some that go.
    let mut half = Client::connect(port);
    half.send("GET / HTT");
    let mut slow = Client::connect(port);
    slow.send("POST / HTTP/1.1\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n");
    assert!(slow.head().starts_with("HTTP/1.1 100 "));
    slow.send(vec![b'x'; 999_999]);
    for part in ["", "G", "GET / HTTP/1.1\r\n", "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nx"] {
        Client::connect(port).send(part);
    }
    assert_eq!(Client::connect(port).get("/").0, 200);
    half.send("P/1.1\r\n\r\n");
    assert_eq!(half.answer().0, 200);
    slow.send("x");
    assert_eq!(slow.answer().0, 200);
    // A client that says nothing more is let go.
    half.send("GET / HTT");
    assert_eq!(half.rest().as_deref(), Some(""));
    assert_eq!(app.exit(), None);
}

#[test]
fn connections_beyond_the_limit_wait() {
    let port = free_port();
    let (binary, at) = (crate::support::graceful(), address(port));
    let script = format!("ulimit -n 64; exec {} demo-app {at}", binary.display());
    let app = serving(Command::new("sh").args(["-c", &script]));
    let mut clients: Vec<Client> = (0..60).map(|_| Client::connect(port)).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\n\r\n");
    }
    let waiting = clients.split_off(48);
    for client in &mut clients {
        assert_eq!(client.answer().0, 200);
    }
    assert_eq!(connections(&app), 48);
    drop(clients);
    for mut client in waiting {
        assert_eq!(client.answer().0, 200);
    }
}

// The good stop

/// What was connected or in flight is answered, whoever connects later is refused, and nothing else happens.
#[test]
fn a_stop_under_load_loses_nothing() {
    let port = free_port();
    let app = start(port, &[]);
    let server = address(port);
    // Cut short, each with its last chunk: a minute is longer than the test waits.
    let streams = slow_requests(server, "/stream?ms=60000", 4);
    let slow = slow_requests(server, "/slow?ms=3000", 4);
    wait_connections(&app, 8);
    let fast = Load::start(server, "/", 200);
    let kept = KeptAlive::start(server, "/", 4, 100);
    fast.wait_answered(40, DEADLINE);
    let stop = Instant::now();
    app.signal(libc::SIGTERM);
    let end = stop + Duration::from_secs(1);
    for results in [fast.finish(end), kept.finish(end)] {
        let refused = results.count(Outcome::Refused);
        assert_eq!(results.dropped(), refused, "only refused ones are lost:\n{}", results.table(stop));
        assert!(refused > 0, "{}", results.table(stop));
        let before = results.records.iter().filter(|record| record.sent < stop);
        assert_eq!(before.filter(|record| record.outcome != Outcome::Ok).count(), 0, "{}", results.table(stop));
    }
    slow.collect().assert_nothing_dropped(stop);
    streams.collect().assert_nothing_dropped(stop);
    let (exit, stdout, _) = app.wait_output(DEADLINE);
    assert_eq!(exit, Exit::Code(0));
    assert!(number_after(&stdout, "demo-app: stopping, ") >= 4, "{stdout}");
    assert!(stdout.ends_with("demo-app: done\n"), "{stdout}");
}

/// Answers to `/ready` on a connection that has asked half of it before the signal.
fn ready_while_stopping(port: u16, app: &Proc, signal: i32) -> u16 {
    let mut client = Client::connect(port);
    client.send("GET /ready HTTP/1.1\r\n");
    wait_connections(app, 1);
    app.signal(signal);
    app.wait_line("stopping, ", DEADLINE);
    wait_for("the listener's end", || TcpStream::connect(address(port)).is_err());
    client.send("\r\n");
    let (status, head, _) = client.answer();
    assert!(head.contains("Connection: close\r\n"), "{head}");
    assert_eq!(client.rest().as_deref(), Some(""));
    assert_eq!(app.wait(DEADLINE), Exit::Code(0));
    status
}

#[test]
fn a_stopping_app_is_not_ready() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let port = free_port();
        let app = start(port, &[]);
        assert_eq!(Client::connect(port).get("/ready").0, 200);
        assert_eq!(ready_while_stopping(port, &app, signal), 503);
    }
}

#[test]
fn a_stop_closes_idle_connections_and_serves_the_last_ones() {
    let port = free_port();
    let app = start(port, &[]);
    let (mut idle, mut silent) = (Client::connect(port), Client::connect(port));
    assert_eq!(idle.get("/").0, 200);
    // Two in one piece: the one that is not the last does not say that it is.
    let mut two = Client::connect(port);
    two.send("GET /slow HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    wait_connections(&app, 3);
    app.signal(libc::SIGTERM);
    assert_eq!((idle.rest().as_deref(), silent.rest().as_deref()), (Some(""), Some("")));
    let (first, second) = (two.answer(), two.answer());
    assert!(!first.1.contains("close") && second.1.contains("Connection: close"), "{first:?} {second:?}");
    assert_eq!(app.wait(DEADLINE), Exit::Code(0));
}

/// Clients that have connected and sent a request while the app could not accept them; how many got an answer.
fn answered_from_the_backlog(port: u16, app: &Proc) -> usize {
    app.signal(libc::SIGSTOP);
    wait_for("the stop", || procfs::state(app.pid()) == Some('T'));
    let mut clients: Vec<Client> = (0..20).map(|_| Client::connect(port)).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\n\r\n");
    }
    app.signal(libc::SIGTERM);
    app.signal(libc::SIGCONT);
    clients.iter_mut().filter_map(Client::rest).filter(|rest| rest.ends_with("\r\n\r\nhello\n")).count()
}

#[test]
fn a_stop_serves_the_backlog() {
    let port = free_port();
    let app = start(port, &[]);
    assert_eq!(answered_from_the_backlog(port, &app), 20);
    assert_eq!(app.wait(DEADLINE), Exit::Code(0));
}

// The faults

/// Sends the stop signal while a slow request is in flight; how the app ended, and what became of the request.
fn stopped_in_flight(port: u16, app: &Proc) -> (Exit, Outcome) {
    let slow = slow_requests(address(port), "/slow", 1);
    wait_connections(app, 1);
    app.signal(libc::SIGTERM);
    let exit = app.wait(DEADLINE);
    (exit, slow.collect().records[0].outcome)
}

#[test]
fn no_handler_dies_of_the_signal() {
    for prefix in [&[][..], &["env", "--block-signal=TERM", "--ignore-signal=TERM"]] {
        let port = free_port();
        let (binary, at) = (crate::support::graceful().into_os_string(), address(port).to_string());
        let mut words = prefix.iter().map(Into::into).chain([binary]);
        let mut command = Command::new(words.next().unwrap());
        let app = serving(command.args(words).args(["demo-app", "--fault", "no-handler", &at]));
        let mask = |key| u64::from_str_radix(&status(app.pid(), key).unwrap(), 16).unwrap();
        assert_eq!(mask("SigCgt"), 0);
        assert_eq!((mask("SigBlk") | mask("SigIgn")) & 1 << (libc::SIGTERM - 1), 0);
        assert_eq!(stopped_in_flight(port, &app), (Exit::Signal(libc::SIGTERM), Outcome::BlackHole));
    }
}

#[test]
fn exits_at_once_loses_what_is_in_flight() {
    let port = free_port();
    let app = with_fault(port, "exits-at-once");
    assert_eq!(stopped_in_flight(port, &app), (Exit::Code(0), Outcome::BlackHole));
}

#[test]
fn exits_143_is_a_good_stop_and_an_end_by_the_signal() {
    let port = free_port();
    let app = with_fault(port, "exits-143");
    assert_eq!(stopped_in_flight(port, &app), (Exit::Signal(libc::SIGTERM), Outcome::Ok));
    assert!(app.stdout_so_far().contains("demo-app: stopping, "), "{}", app.dump());
}

#[test]
fn keeps_ready_says_so_to_the_end() {
    let port = free_port();
    let app = with_fault(port, "keeps-ready");
    assert_eq!(ready_while_stopping(port, &app, libc::SIGTERM), 200);
}

#[test]
fn hangs_serves_on() {
    let port = free_port();
    let app = with_fault(port, "hangs");
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGTERM] {
        app.signal(signal);
    }
    app.wait_lines("nothing is done about it", 2, DEADLINE);
    let mut client = Client::connect(port);
    for path in ["/ready", "/", "/slow"] {
        let (status, head, _) = client.get(path);
        assert!(status == 200 && !head.contains("close"), "{path}: {head}");
    }
    assert_eq!(get(port, "/ready", DEADLINE).unwrap().0, 200);
    assert_eq!(app.exit(), None);
}

#[test]
fn loses_backlog_serves_one_at_a_time_and_resets_the_rest() {
    let port = free_port();
    let app = with_fault(port, "loses-backlog");
    let (mut first, mut second) = (Client::connect(port), Client::connect(port));
    second.send("GET /ready HTTP/1.1\r\n\r\n");
    // Only after this one's request is the other looked at.
    let (_, head, _) = first.get("/slow?ms=200");
    assert!(head.contains("Connection: close\r\n"), "{head}");
    assert_eq!(second.answer().0, 200);
    // In hand at the signal, and others behind it.
    wait_for("the end of both", || connections(&app) == 0);
    let mut in_hand = Client::connect(port);
    in_hand.send("GET /slow HTTP/1.1\r\n\r\n");
    wait_connections(&app, 1);
    assert_eq!(answered_from_the_backlog(port, &app), 0);
    assert_eq!(in_hand.answer().2, "slow, but done\n");
    assert_eq!(app.wait(DEADLINE), Exit::Code(0));
}

/// Ends a process at the end of a test, whatever happens in it.
struct Ends(i32);

impl Drop for Ends {
    fn drop(&mut self) {
        if is_alive(self.0) {
            kill(self.0, libc::SIGKILL);
        }
    }
}

#[test]
fn leaves_child_leaves_a_child_that_any_signal_ends() {
    let port = free_port();
    let app = with_fault(port, "leaves-child");
    let child = Ends(number_after(&app.wait_line("started a child, pid ", DEADLINE).text, "pid "));
    assert_eq!(stopped_in_flight(port, &app), (Exit::Code(0), Outcome::Ok));
    // Its output ends with the app, although the child lives on.
    app.wait_output(DEADLINE);
    assert!(is_alive(child.0), "{}", app.dump());
    // SAFETY: getpgid(2) takes a number.
    assert_eq!(unsafe { libc::getpgid(child.0) }, child.0);
    // 32 and 33 are the C library's own; posix_spawn(3), which started the app, ignores them for it.
    let mask = |key| status(child.0, key).and_then(|mask| u64::from_str_radix(&mask, 16).ok());
    for key in ["SigBlk", "SigIgn", "SigCgt"] {
        wait_for(key, || mask(key).is_some_and(|mask| mask & !(3 << 31) == 0));
    }
    kill(child.0, libc::SIGTERM);
    wait_for("the child's end", || !is_alive(child.0));
}

// The command line

#[test]
fn a_wrong_command_line_is_told_with_what_is_right() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (args, code, expected) in [
        (&["--fault", "hang"][..], 2, "graceful: error: --fault \"hang\": expected no-handler, exits-at-once, "),
        (&["--fault", "hang"], 2, " or leaves-child; did you mean hangs?\n"),
        (&["--fault", ""], 2, "graceful: error: --fault: needs a value; expected no-handler, exits-at-once, "),
        (&["--fault"], 2, "graceful: error: --fault: needs a value; expected no-handler, exits-at-once, "),
        (&["--fault=hangs", "--fault=hangs"], 2, "graceful: error: --fault: given more than once; give it only once\n"),
        (&["--falt", "hangs"], 2, "graceful: error: --falt: unknown option; did you mean --fault?\n"),
        (&["8080"], 2, "graceful: error: demo-app 8080: not an address; expected ADDRESS:PORT, as 127.0.0.1:8080\n"),
        (
            &[&taken, "x"],
            2,
            "graceful: error: \"x\": one argument too many; expected: graceful demo-app [--fault NAME] ",
        ),
        (&[&taken], 125, &format!("demo-app: cannot listen on {taken}: Address already in use")),
    ] {
        let (exit, stdout, stderr) = crate::support::run::ended(graceful_command().arg("demo-app").args(args));
        assert_eq!((exit, stdout.as_str()), (Exit::Code(code), ""), "{args:?}: {stderr}");
        assert!(stderr.contains(expected), "{args:?}: {stderr}");
    }
    let (_, help, _) = crate::support::run::ended(graceful_command().arg("--help"));
    assert!(!help.contains("demo"), "{help}");
    let (_, help, _) = crate::support::run::ended(graceful_command().args(["demo-app", "--help"]));
    assert!(help.contains("--fault <NAME>") && help.ends_with('\n'), "{help}");
}

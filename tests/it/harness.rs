//! The harness itself: what it says about a process or a request is what happened. All other tests rest on it.

use crate::support::load::{KeptAlive, Load, Outcome, slow_requests};
use crate::support::{DEADLINE, Exit, Proc, address, free_port, in_pid_namespace, signals};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::{Duration, Instant};

fn command(args: &[String]) -> Command {
    let mut command = Command::new(&args[0]);
    command.args(&args[1..]);
    command
}

/// How one request to a server that treats each connection like this ends.
fn outcome(serve: impl Fn(TcpStream) + Send + 'static) -> Outcome {
    let listener = TcpListener::bind(address(0)).unwrap();
    let server = listener.local_addr().unwrap();
    let request = slow_requests(server, "/", 1);
    let (mut stream, _) = listener.accept().unwrap();
    // Read first, so that a close is a close and no reset.
    let mut request_bytes = [0; 1024];
    assert!(stream.read(&mut request_bytes).unwrap() > 0);
    serve(stream);
    request.collect().records[0].outcome
}

fn answer(text: &'static str) -> Outcome {
    outcome(move |mut stream| stream.write_all(text.as_bytes()).unwrap())
}

/// Closes with a reset, as the kernel does for a server that dies with unread data.
fn reset(stream: TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let size = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: the option's value is a linger that lives across the call, with its own size.
    let rc = unsafe {
        libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), size)
    };
    assert_eq!(rc, 0);
}

#[test]
fn a_whole_answer_is_ok() {
    assert_eq!(answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), Outcome::Ok);
    assert_eq!(answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), Outcome::Ok);
    assert_eq!(answer("HTTP/1.1 200 OK\r\n\r\nuntil the end"), Outcome::Ok);
    assert_eq!(answer("HTTP/1.1 204 No Content\r\n\r\n"), Outcome::Ok);
    assert_eq!(answer("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"), Outcome::Status(503));
}

#[test]
fn an_answer_that_breaks_off_is_truncated() {
    assert_eq!(answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell"), Outcome::Truncated);
    assert_eq!(answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"), Outcome::Truncated);
    assert_eq!(answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"), Outcome::Truncated);
    assert_eq!(answer("HTTP/1.1 200 OK\r\nContent-Le"), Outcome::Truncated);
}

#[test]
fn a_connection_without_an_answer_is_a_black_hole() {
    assert_eq!(outcome(drop), Outcome::BlackHole);
    assert_eq!(outcome(reset), Outcome::BlackHole);
}

#[test]
fn an_answer_cut_by_a_reset_is_a_reset() {
    let cut = |mut stream: TcpStream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell").unwrap();
        // What the client has not read yet it still can: Linux hands the queue out before the reset.
        reset(stream);
    };
    assert_eq!(outcome(cut), Outcome::Reset);
}

#[test]
fn nobody_listening_is_refused() {
    let results = slow_requests(address(free_port()), "/", 2).collect();
    assert_eq!(results.count(Outcome::Refused), 2, "{}", results.table(Instant::now()));
}

#[test]
fn the_load_goes_on_when_every_request_fails() {
    let end = Instant::now() + Duration::from_secs(1);
    let results = Load::start(address(free_port()), "/", 100).finish(end);
    // One of each 10 ms; those that a busy machine sends after the end are left out.
    assert!((50..=100).contains(&results.records.len()), "{} requests", results.records.len());
    assert_eq!(results.count(Outcome::Refused), results.records.len());
}

/// A server for one client with a connection for each of these: after how many answers, with this further header, it
/// closes it. How the client's requests ended.
fn kept_alive(connections: &'static [(usize, &'static str)]) -> Vec<Outcome> {
    let listener = TcpListener::bind(address(0)).unwrap();
    let load = KeptAlive::start(listener.local_addr().unwrap(), "/", 1, 1000);
    for (answers, header) in connections {
        let (mut stream, _) = listener.accept().unwrap();
        for _ in 0..*answers {
            assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
            let answer = format!("HTTP/1.1 200 OK\r\n{header}Content-Length: 2\r\n\r\nok");
            stream.write_all(answer.as_bytes()).unwrap();
        }
    }
    drop(listener);
    let end = Instant::now();
    let records = load.finish(end).records;
    records.into_iter().map(|record| record.outcome).filter(|outcome| *outcome != Outcome::Refused).collect()
}

#[test]
fn a_kept_connection_is_used_until_the_server_says_close_or_breaks_it() {
    use Outcome::{BlackHole, Ok};
    assert_eq!(kept_alive(&[(3, ""), (2, "")])[..6], [Ok, Ok, Ok, BlackHole, Ok, Ok]);
    assert_eq!(kept_alive(&[(1, "Connection: close\r\n"), (1, "connection: Close\r\n")])[..2], [Ok, Ok]);
}

#[test]
#[should_panic(expected = "can no longer come")]
fn a_line_that_cannot_come_any_more_is_not_waited_for() {
    let app = Proc::spawn(&mut command(&signals(&["--exit-after-ready", "0"])));
    app.wait_line("no such line", DEADLINE);
}

#[test]
fn signals_are_told_in_order_and_the_exit_is_exact() {
    let app = Proc::spawn(&mut command(&signals(&["--exit-on", "TERM@2=7"])));
    app.wait_line("ready", DEADLINE);
    for (signal, name) in [(libc::SIGHUP, "SIGHUP"), (libc::SIGRTMIN() + 3, "SIGRTMIN+3"), (libc::SIGTERM, "SIGTERM")] {
        app.signal(signal);
        app.wait_line(name, DEADLINE);
    }
    assert_eq!(app.exit(), None);
    app.signal(libc::SIGTERM);
    let (exit, stdout, stderr) = app.wait_output(DEADLINE);
    assert_eq!(exit, Exit::Code(7), "{}", app.dump());
    assert!(stdout.ends_with("\nSIGHUP\nSIGRTMIN+3\nSIGTERM\nSIGTERM\n"), "{stdout}");
    assert_eq!(stderr, "");
}

#[test]
fn exit_143_and_death_by_sigterm_are_two_things() {
    for (rule, expected) in [("TERM=143", Exit::Code(143)), ("TERM=signal", Exit::Signal(libc::SIGTERM))] {
        let app = Proc::spawn(&mut command(&signals(&["--exit-on", rule])));
        app.wait_line("ready", DEADLINE);
        app.signal(libc::SIGTERM);
        assert_eq!(app.wait(DEADLINE), expected);
        assert_eq!(expected.shell_code(), 143);
    }
}

#[test]
fn in_a_pid_namespace_the_command_is_pid_1() {
    let app = Proc::spawn_pid1(&mut in_pid_namespace(signals(&["--exit-on", "TERM=9"])));
    app.wait_line("ready pid=1 ppid=0", DEADLINE);
    app.signal(libc::SIGUSR1);
    app.wait_line("SIGUSR1", DEADLINE);
    app.signal(libc::SIGTERM);
    assert_eq!(app.wait(DEADLINE), Exit::Code(9));
}

/// Waits until no process has this pid, or only one that is a zombie of somebody else.
fn wait_gone(pid: i32) {
    let end = Instant::now() + DEADLINE;
    let state = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit(") ").next()?.chars().next()
    };
    while state().is_some_and(|state| state != 'Z') {
        assert!(Instant::now() < end, "process {pid} is still there");
        std::thread::sleep(Duration::from_millis(5)); // Not our child: nothing tells of its end.
    }
}

#[test]
fn a_dropped_group_takes_its_children_along() {
    let app = Proc::spawn_group(&mut command(&signals(&["--children", "2", "--child-on-term", "ignore"])));
    app.wait_line("ready pid", DEADLINE);
    let children = app.wait_lines("child", 2, DEADLINE);
    let pids: Vec<i32> = children.iter().map(|line| line.text.split(' ').nth(1).unwrap().parse().unwrap()).collect();
    drop(app);
    pids.into_iter().for_each(wait_gone);
}

#[test]
fn a_dropped_namespace_takes_everything_along() {
    let app = Proc::spawn_pid1(&mut in_pid_namespace(signals(&["--children", "1", "--detach", "--never-exit"])));
    app.wait_line("ready pid=1", DEADLINE);
    let pid1 = app.target();
    drop(app);
    wait_gone(pid1);
}

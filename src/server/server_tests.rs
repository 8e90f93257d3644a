//! Clients that take what they can get.

use super::testing::{Client, End, Gate, LIVEZ, Server, at, is_open, is_reset, loopback};
use super::*;
use crate::http::testing::{DEADLINE, assert_asleep, is_inner, rerun};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::time::TimeValLike;
use socket2::{Domain, Socket, Type};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

/// Longer than a loaded machine takes to read a request that is there.
const SHORT: Duration = Duration::from_millis(300);

/// So large that no kernel takes all of it.
const LARGE: usize = 1024 * 1024;

/// Bounds with which nobody gives way because of time.
fn patient() -> ServerLimits {
    ServerLimits { head: DEADLINE * 3, answer: DEADLINE * 3, ..ServerLimits::here() }
}

fn ok(_: &Request<Incoming>) -> Response<String> {
    Response::new("ok".to_owned())
}

fn large(_: &Request<Incoming>) -> Response<String> {
    Response::new("x".repeat(LARGE))
}

/// Whether this is a process for the test of this name alone; if not, that process has run by now. For what a whole
/// process has one of, and for many descriptors.
fn alone(test: &str) -> bool {
    if !is_inner() {
        rerun(&format!("server::tests::{test}"), &[]);
        return false;
    }
    limit_descriptors(4096);
    true
}

fn silent(server: &Server, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| TcpStream::connect(server.addr).unwrap()).collect()
}

#[track_caller]
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn count_open(streams: &[TcpStream]) -> usize {
    streams.iter().filter(|stream| is_open(stream)).count()
}

#[test]
fn of_silent_connections_the_oldest_give_way() {
    if !alone("of_silent_connections_the_oldest_give_way") {
        return;
    }
    let server = Server::start();
    let clients = silent(&server, 500);
    for _ in 0..20 {
        server.assert_alive();
    }
    // Those of the last /livez were accepted after all of them.
    let most = ServerLimits::here().open;
    assert_eq!(most, 256);
    let open: Vec<_> = clients.iter().map(is_open).collect();
    let gone = open.iter().filter(|open| !**open).count();
    assert!((500 - most..500 - most + 20 + 1).contains(&gone), "{gone}");
    assert!(open.iter().skip(gone).all(|open| *open), "not the oldest gave way");
}

#[test]
fn who_asks_at_once_is_answered_though_there_is_one_place() {
    let (gate, pass) = Gate::new();
    let limits = ServerLimits { open: 1, talking: 1, ..patient() };
    let server = Server::with(&loopback(), limits, move |request| {
        if request.uri().path() == "/wait" {
            pass();
        }
        ok(request)
    });
    let ask = |request: &str| {
        let mut client = server.client();
        client.send(request);
        client
    };
    let mut clients = vec![ask("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")];
    gate.wait();
    clients.extend((0..200).map(|_| ask(LIVEZ)));
    gate.open();
    for client in &mut clients {
        assert_eq!(client.answer().body, "ok");
    }
}

/// The newcomer waits to be accepted when the oldest asks, so both are there when the server looks again.
#[test]
fn a_client_that_asks_is_answered_before_it_gives_way() {
    let (gate, pass) = Gate::new();
    let server = Server::with(&loopback(), ServerLimits { open: 3, ..patient() }, move |request| {
        if request.uri().path() == "/wait" {
            pass();
        }
        ok(request)
    });
    let wait = "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n";
    let (mut oldest, mut second, mut third) = (server.client(), server.client(), server.client());
    // All have their places.
    third.send(LIVEZ);
    assert_eq!(third.answer().body, "ok");
    second.send(wait);
    gate.wait();
    third.send(wait);
    let mut newcomer = server.client();
    newcomer.send(LIVEZ);
    gate.open();
    // Now the server knows of the newcomer, but not of what comes now.
    gate.wait();
    oldest.send(LIVEZ);
    gate.open();
    for client in [&mut oldest, &mut second, &mut third, &mut newcomer] {
        assert_eq!(client.answer().body, "ok");
    }
    assert_eq!(oldest.rest().1, End::Reset);
}

/// As `nc -N` does; the end is there when the request is read.
#[test]
fn a_client_may_close_its_side_first() {
    let (gate, pass) = Gate::new();
    let server = Server::with(&loopback(), patient(), move |request| {
        if request.uri().path() == "/wait" {
            pass();
        }
        ok(request)
    });
    let (mut first, mut client) = (server.client(), server.client());
    first.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
    gate.wait();
    client.send(LIVEZ);
    client.stream().shutdown(Shutdown::Write).unwrap();
    gate.open();
    assert_eq!(client.answer().body, "ok");
    client.assert_closed();
}

#[test]
fn a_slow_loris_pushes_out_itself() {
    if !alone("a_slow_loris_pushes_out_itself") {
        return;
    }
    let server = Server::with(&loopback(), patient(), ok);
    let clients = silent(&server, 200);
    for mut client in &clients {
        client.write_all(b"GET /livez HTTP/1.1\r\nX: ").unwrap();
    }
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for mut client in &clients {
                    // Those that gave way are reset.
                    _ = client.write_all(b"x");
                }
            }
        });
        for _ in 0..50 {
            server.assert_alive();
        }
        over.store(true, Ordering::Relaxed);
    });
    wait_until("no more than 64 of them are left", || count_open(&clients) <= 64);
    server.assert_alive();
}

#[test]
fn a_flood_does_not_keep_probes_out() {
    if !alone("a_flood_does_not_keep_probes_out") {
        return;
    }
    let server = Server::start();
    let over = AtomicBool::new(false);
    let flood = || {
        let mut held = Vec::new();
        for _ in 0..10_000 {
            held.extend(TcpStream::connect(server.addr).ok());
            held.drain(..held.len().saturating_sub(300));
            if over.load(Ordering::Relaxed) {
                return;
            }
        }
    };
    thread::scope(|scope| {
        scope.spawn(flood);
        scope.spawn(flood);
        let request = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let probe = || {
            let mut client = TcpStream::connect(server.addr).ok()?;
            client.set_read_timeout(Some(DEADLINE)).ok()?;
            client.write_all(request).ok()?;
            let mut answer = String::new();
            client.read_to_string(&mut answer).ok()?;
            answer.ends_with("\r\n\r\nok").then_some(())
        };
        for _ in 0..100 {
            // As often as kubelet tries (failureThreshold): a machine that lets this thread wait between connecting and
            // asking makes it a silent client.
            assert!((0..3).any(|_| probe().is_some()), "three times without an answer");
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_head_is_bounded() {
    let server = Server::start();
    let head = |length: usize, end: &str| {
        let mut head = "GET /livez HTTP/1.1\r\nHost: x\r\nX: ".to_owned();
        head += &"x".repeat(length - head.len() - end.len());
        head + end
    };
    let mut client = server.client();
    client.send(&head(HEAD_BYTES, "\r\n\r\n"));
    assert_eq!(client.answer().body, "ok");
    // As much of it as fits, and no end in it.
    let mut client = server.client();
    client.send(&head(HEAD_BYTES, ""));
    assert_eq!(client.answer().status, 431);
    client.assert_closed();
    for (lines, status) in [(HEAD_LINES, 200), (HEAD_LINES + 1, 431)] {
        let mut client = server.client();
        client.send(&format!("GET /livez HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(lines)));
        assert_eq!(client.answer().status, status, "{lines}");
    }
    // 10 MB: what is not read any more may cost the client the answer.
    let mut client = server.client();
    let sent = client.stream().write_all(head(10_000_000, "\r\n\r\n").as_bytes());
    assert!(sent.is_ok() || sent.is_err_and(|error| is_reset(&error)));
    let (rest, _) = client.rest();
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 431 "), "{rest}");
    server.assert_alive();
}

#[test]
fn garbage_is_refused_after_what_came_before_it() {
    let server = Server::start();
    for garbage in
        ["\0\u{1}\u{2}garbage\r\n\r\n", "GET  /livez\r\n\r\n", "GET /livez HTTP/9.9\r\n\r\n", "\u{16}\u{3}\u{1}"]
    {
        let mut client = server.client();
        client.send(&format!("{LIVEZ}{LIVEZ}{garbage}"));
        assert_eq!([client.answer().body, client.answer().body], ["ok", "ok"], "{garbage:?}");
        assert_eq!(client.answer().status, 400, "{garbage:?}");
        client.rest();
    }
    let mut client = server.client();
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    client.rest();
    server.assert_alive();
}

#[test]
fn silence_ends_a_connection() {
    let server = Server::with(&loopback(), ServerLimits { head: SHORT, ..patient() }, ok);
    let start = Instant::now();
    let mut quiet = server.client();
    let mut kept = server.client();
    kept.send(LIVEZ);
    assert_eq!(kept.answer().body, "ok");
    let mut begun = server.client();
    begun.send("GET /livez HT");
    // Nothing is wrong with them, so they are not reset.
    quiet.assert_closed();
    kept.assert_closed();
    begun.assert_closed();
    assert!(start.elapsed() >= SHORT);
}

/// Each request is in time; all of them together are not.
#[test]
fn time_counts_anew_after_each_answer() {
    let head = Duration::from_secs(2);
    let server = Server::with(&loopback(), ServerLimits { head, ..patient() }, ok);
    let (mut client, start) = (server.client(), Instant::now());
    while start.elapsed() < head {
        thread::sleep(head / 3);
        client.send(LIVEZ);
        assert_eq!(client.answer().body, "ok");
    }
}

#[test]
fn a_head_that_drips_ends_a_connection() {
    let server = Server::with(&loopback(), ServerLimits { head: SHORT, ..patient() }, ok);
    let (start, mut client) = (Instant::now(), server.client());
    client.send("GET /livez HTTP/1.1\r\nX: ");
    wait_until("it is closed", || client.stream().write_all(b"x").is_err());
    assert!(start.elapsed() >= SHORT);
}

#[test]
fn an_answer_that_nobody_reads_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let limits = ServerLimits { answer: SHORT, ..patient() };
    let _server = Server::with(&at(&path), limits, large);
    let connect = || {
        let mut client = Client::new(UnixStream::connect(&path).unwrap());
        client.send(LIVEZ);
        assert_eq!(client.head().status, 200);
        client
    };
    let (start, mut client) = (Instant::now(), connect());
    wait_until("it is closed", || client.stream().write_all(b"x").is_err());
    assert!(start.elapsed() >= SHORT);
    // So is one that reads now and then, and would get all of it, but too late.
    let (mut client, mut read) = (connect(), 0);
    wait_until("it is closed", || {
        thread::sleep(SHORT / 6);
        let count = client.stream().read(&mut [0; 32 * 1024]).unwrap_or(0);
        read += count;
        count == 0
    });
    assert!(read < LARGE, "{read}");
    // One that reads gets all of it, and again after a while.
    let mut client = connect();
    assert_eq!(client.rest_of_body(LARGE), LARGE);
    thread::sleep(SHORT);
    client.send(LIVEZ);
    assert_eq!(client.head().status, 200);
    assert_eq!(client.rest_of_body(LARGE), LARGE);
}

/// The kernel would keep what it has of the answer, for a client that may never read.
#[test]
fn an_answer_that_nobody_reads_is_forgotten() {
    let limits = ServerLimits { answer: SHORT, ..patient() };
    let server = Server::with(&loopback(), limits, large);
    let mut client = server.client();
    client.send(LIVEZ);
    assert_eq!(client.head().status, 200);
    // An ordinary end would come behind all that is unread.
    let stream = client.stream();
    let mut polled = [PollFd::new(stream.as_fd(), PollFlags::empty())];
    let timeout = u16::try_from(DEADLINE.as_millis()).unwrap();
    assert_eq!(poll(&mut polled, timeout), Ok(1), "it was not reset");
    assert!(polled[0].revents().unwrap().contains(PollFlags::POLLHUP));
}

#[test]
fn unread_answers_are_bounded_together() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let limits = ServerLimits { unsent: 3 * LARGE, ..ServerLimits::here() };
    let _server = Server::with(&at(&path), limits, large);
    let mut clients: Vec<_> = (0..6)
        .map(|_| {
            let mut client = Client::new(UnixStream::connect(&path).unwrap());
            client.send(LIVEZ);
            assert_eq!(client.head().status, 200);
            client
        })
        .collect();
    let complete: Vec<_> = clients.iter_mut().map(|client| client.rest_of_body(LARGE) == LARGE).collect();
    assert_eq!(complete, [false, false, false, true, true, true]);
}

#[test]
fn a_panic_ends_its_connection_alone() {
    let server = Server::with(&loopback(), ServerLimits { open: 2, ..ServerLimits::here() }, |request| {
        match request.uri().path() {
            "/panic" => panic!("on purpose"),
            _ => ok(request),
        }
    });
    let mut bystander = server.client();
    for _ in 0..3 {
        let mut client = server.client();
        client.send("GET /panic HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(client.rest(), (String::new(), End::Reset));
        bystander.send(LIVEZ);
        assert_eq!(bystander.answer().body, "ok");
    }
}

/// Leaves this process this many descriptors besides those that are open, as long as the fillers live.
fn leave_descriptors(count: u64) -> Vec<File> {
    let (highest, mut fillers) = (*descriptors().last().unwrap(), Vec::new());
    // The numbers between are filled, or they would be free.
    while fillers.last().is_none_or(|file: &File| file.as_raw_fd() <= highest) {
        fillers.push(File::open("/dev/null").unwrap());
    }
    let next = fillers.last().unwrap().as_raw_fd() + 1;
    limit_descriptors(u64::try_from(next).unwrap() + count);
    fillers
}

fn limit_descriptors(count: u64) {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, count.min(hard), hard).unwrap();
}

/// Those that are open, in order, and the one with which they are read.
fn descriptors() -> Vec<i32> {
    let names = fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().file_name());
    let mut numbers: Vec<_> = names.filter_map(|name| name.to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

/// The CPU time of the whole process.
fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let (user, system) = (usage.user_time(), usage.system_time());
    Duration::from_micros(u64::try_from(user.num_microseconds() + system.num_microseconds()).unwrap())
}

#[test]
fn without_descriptors_it_goes_on() {
    if !alone("without_descriptors_it_goes_on") {
        return;
    }
    let server = Server::with(&loopback(), patient(), ok);
    server.assert_alive();
    let addr = server.addr.into();
    // To make them takes descriptors.
    let mut sockets: Vec<_> = (0..9).map(|_| Socket::new(Domain::IPV4, Type::STREAM, None).unwrap()).collect();
    let mut connect = || {
        let socket = sockets.pop().unwrap();
        socket.connect(&addr).unwrap();
        TcpStream::from(socket)
    };
    let before = descriptors().len();
    let fillers = leave_descriptors(2);
    let silent: Vec<_> = (0..7).map(|_| connect()).collect();
    let mut last = Client::new(connect());
    last.send(LIVEZ);
    assert_eq!(last.answer().body, "ok");
    drop((fillers, silent, last));
    limit_descriptors(4096);
    wait_until("all is closed", || descriptors().len() <= before - 8);

    // None is left, and nobody is there to give way: it waits, and does not spin.
    let _fillers = leave_descriptors(0);
    let mut last = Client::new(connect());
    last.send(LIVEZ);
    let used = cpu_time();
    thread::sleep(Duration::from_millis(500));
    let used = cpu_time() - used;
    assert!(used < Duration::from_millis(100), "{used:?}");
    limit_descriptors(4096);
    assert_eq!(last.answer().body, "ok");
}

/// The memory of this process without what is read from the binary.
fn anonymous_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The module's text says less than 2 MiB; the clients in the same process take a little too.
#[test]
fn memory_is_bounded() {
    if !alone("memory_is_bounded") {
        return;
    }
    // As /metrics is with some dozen checks.
    let server = Server::with(&loopback(), patient(), |_| Response::new("x".repeat(64 * 1024)));
    let partial = format!("GET /livez HTTP/1.1\r\nX: {}", "x".repeat(HEAD_BYTES - 100));
    let pipeline = LIVEZ.repeat(200);
    let mut held = Vec::with_capacity(401);
    let mut abuse = |number: usize| {
        let mut client = TcpStream::connect(server.addr).unwrap();
        client.set_nonblocking(true).unwrap();
        _ = match number % 8 {
            0 => Ok(()),
            1..=3 => client.write_all(partial.as_bytes()),
            _ => client.write_all(pipeline.as_bytes()),
        };
        held.push(client);
        // Those before have given way by now.
        held.drain(..held.len().saturating_sub(400));
    };
    let settle = || {
        for _ in 0..20 {
            assert_eq!(server.get("/").status, 200);
        }
    };
    (0..8).for_each(&mut abuse);
    settle();
    let before = anonymous_kib();
    (0..1000).for_each(&mut abuse);
    settle();
    let grown = anonymous_kib().saturating_sub(before);
    println!("{grown} KiB more");
    assert!(grown < 2560, "{grown} KiB more");
}

#[test]
fn an_idle_server_sleeps() {
    let server = Server::start();
    for _ in 0..10 {
        server.assert_alive();
    }
    assert_asleep(server.thread);
    server.assert_alive();
}

#[test]
fn its_end_ends_the_connections() {
    for with_its_thread in [false, true] {
        let mut server = Server::start();
        let (addr, mut silent, mut begun) = (server.addr, server.client(), server.client());
        begun.send("GET /livez HT");
        server.assert_alive();
        if with_its_thread {
            drop(server);
        } else {
            server.serving = None;
        }
        for client in [&mut silent, &mut begun] {
            assert_eq!(client.rest(), (String::new(), End::Reset));
        }
        wait_until("nobody listens", || TcpStream::connect(addr).is_err());
    }
}

//! Against real connections over the loopback, made by the tests.

use super::*;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, setsockopt, sockopt};
use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(20);

fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("bound").port();
    (listener, port)
}

/// A client's end, and the server's.
fn connect(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
    let (server, _) = listener.accept().expect("a connection");
    (client, server)
}

fn inode(socket: &impl AsRawFd) -> u32 {
    let link = std::fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).expect("open");
    let number = link.to_str().and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
    number.expect("a socket")
}

/// One look by each of the two ways; `None` if they do not agree on what both show.
fn looks(ports: &[u16]) -> Option<Snapshot> {
    let (mut sock_diag, mut of_proc) = (Sampler::new(ports), Sampler::of_proc(ports));
    let proc = of_proc.sample().expect("/proc/net/tcp");
    let snapshot = sock_diag.sample().expect("sock_diag");
    assert_eq!((snapshot.source, proc.source), (SampleSource::SockDiag, SampleSource::Proc));
    let less = |connection: &Connection| Connection { counters: None, ..*connection };
    let agree = sorted(&snapshot.listeners, |listener| *listener) == sorted(&proc.listeners, |listener| *listener)
        && sorted(&snapshot.connections, less) == sorted(&proc.connections, less);
    assert!(sock_diag.refusal().is_none() && of_proc.refusal().is_some());
    agree.then_some(sock_diag.snapshot)
}

/// What both show, where nothing is under way.
#[track_caller]
fn both(ports: &[u16]) -> Snapshot {
    wait(ports, "at rest", |_| true)
}

fn sorted<T, R: std::fmt::Debug>(items: &[T], simplified: impl Fn(&T) -> R) -> Vec<String> {
    let mut texts: Vec<String> = items.iter().map(|item| format!("{:?}", simplified(item))).collect();
    texts.sort();
    texts
}

/// Looks until `is_so`, and both ways show it.
#[track_caller]
fn wait(ports: &[u16], what: &str, is_so: impl Fn(&Snapshot) -> bool) -> Snapshot {
    let mut sampler = Sampler::new(ports);
    let end = Instant::now() + DEADLINE;
    loop {
        if is_so(sampler.sample().expect("sock_diag"))
            && let Some(snapshot) = looks(ports).filter(&is_so)
        {
            return snapshot;
        }
        let shown = |sampler: &mut Sampler| format!("{:?}", sampler.sample());
        assert!(
            Instant::now() < end,
            "not {what}: {} and {}",
            shown(&mut sampler),
            shown(&mut Sampler::of_proc(ports))
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The connection that the socket is the server's end of.
#[track_caller]
fn of(snapshot: &Snapshot, server: &TcpStream) -> Connection {
    let remote = server.peer_addr().expect("connected");
    let found: Vec<_> = snapshot.connections.iter().filter(|connection| connection.remote == remote).collect();
    assert_eq!(found.len(), 1, "{snapshot:?}");
    *found[0]
}

fn counters(connection: Connection) -> Counters {
    connection.counters.expect("a kernel since 4.19")
}

#[test]
fn a_request_and_its_answer_are_counted() {
    let (listener, port) = listen();
    let (mut client, mut server) = connect(&listener);
    let idle = of(&both(&[port]), &server);
    assert_eq!((idle.local, idle.remote), (server.local_addr().unwrap(), client.local_addr().unwrap()));
    assert_eq!((idle.state, idle.inode), (State::Established, inode(&server)));
    assert_eq!((idle.unread, idle.unsent), (0, 0));
    assert_eq!((counters(idle).received, counters(idle).sent), (0, 0));

    client.write_all(b"a request").unwrap();
    let unread = wait(&[port], "unread", |snapshot| snapshot.connections.iter().any(|c| c.unread == 9));
    assert_eq!((counters(of(&unread, &server)).received, counters(of(&unread, &server)).sent), (9, 0));

    server.read_exact(&mut [0; 9]).unwrap();
    let busy = of(&both(&[port]), &server);
    assert_eq!((busy.unread, counters(busy).received, counters(busy).sent), (0, 9, 0));

    server.write_all(b"an answer to it").unwrap();
    let answered = wait(&[port], "acknowledged", |snapshot| {
        snapshot.connections.iter().any(|c| counters(*c).sent == 15 && c.unsent == 0)
    });
    assert_eq!(counters(of(&answered, &server)).received, 9);
}

#[test]
fn the_times_tell_which_way_the_last_byte_went() {
    let (listener, port) = listen();
    let (mut client, mut server) = connect(&listener);
    let mut sampler = Sampler::new(&[port]);
    // Ticks are 10 ms long at most: the two ends differ after some of them.
    let mut times = |first: &mut TcpStream, second: &mut TcpStream| {
        first.write_all(b"x").unwrap();
        second.read_exact(&mut [0]).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        let snapshot = sampler.sample().expect("sock_diag");
        let Counters { last_received_ms, last_sent_ms, .. } = counters(snapshot.connections[0]);
        (last_received_ms, last_sent_ms)
    };
    times(&mut client, &mut server);
    let (received, sent) = times(&mut server, &mut client);
    assert!(sent < received, "{sent} < {received}");
    let (received, sent) = times(&mut client, &mut server);
    assert!(received < sent, "{received} < {sent}");
}

#[test]
fn a_connection_that_nobody_accepts_is_in_the_backlog() {
    let (listener, port) = listen();
    let mut waiting = [(); 3].map(|()| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it listens"));
    waiting[0].write_all(b"GET /").unwrap();
    let snapshot = wait(&[port], "three waiting, one with a request", |snapshot| {
        snapshot.listeners.iter().any(|listener| listener.backlog == 3)
            && snapshot.connections.iter().any(|connection| connection.unread == 5)
    });
    let expected = Listener { local: listener.local_addr().unwrap(), inode: inode(&listener), backlog: 3 };
    assert_eq!(snapshot.listeners, [expected]);
    assert_eq!(snapshot.connections.len(), 3);
    assert!(snapshot.connections.iter().all(|c| c.inode == 0 && c.state == State::Established));
    let accepted = [(); 3].map(|()| listener.accept().expect("it waits").0);
    let snapshot = both(&[port]);
    assert_eq!(snapshot.listeners[0].backlog, 0);
    let inodes: HashSet<u32> = snapshot.connections.iter().map(|connection| connection.inode).collect();
    assert_eq!(inodes, accepted.iter().map(inode).collect());
}

#[test]
fn half_closed_connections_are_told_apart() {
    let (listener, port) = listen();
    let (client, mut server) = connect(&listener);
    client.shutdown(Shutdown::Write).unwrap();
    let is_over = |snapshot: &Snapshot| snapshot.connections.iter().any(|c| c.state == State::CloseWait);
    let connection = of(&wait(&[port], "closed by the client", is_over), &server);
    // The FIN counts, until it is read; and for good among what was received.
    assert_eq!((connection.unread, counters(connection).received, connection.inode), (1, 1, inode(&server)));
    assert_eq!(server.read(&mut [0]).unwrap(), 0);
    assert_eq!(of(&both(&[port]), &server).unread, 0);

    let (client, server) = connect(&listener);
    server.shutdown(Shutdown::Write).unwrap();
    let is_closing =
        |snapshot: &Snapshot| of(snapshot, &server).state == State::Closing && of(snapshot, &server).unsent == 0;
    let connection = of(&wait(&[port], "closed by the server, one way", is_closing), &server);
    assert_eq!((connection.inode, counters(connection).sent), (inode(&server), 0));
    // Closed for good, with a client that keeps its half open: it belongs to nobody.
    let remote = client.local_addr().unwrap();
    drop(server);
    let is_orphan = |snapshot: &Snapshot| {
        let closed = |c: &Connection| c.remote == remote && c.state == State::Closing && c.inode == 0;
        snapshot.connections.iter().any(closed)
    };
    wait(&[port], "closed by the server", is_orphan);
}

#[test]
fn what_does_not_fit_is_unread_on_one_end_and_unsent_on_the_other() {
    const MUCH: usize = 1 << 24;
    let (listener, port) = listen();
    setsockopt(&listener, sockopt::RcvBuf, &4096).unwrap();
    setsockopt(&listener, sockopt::SndBuf, &4096).unwrap();
    let (client, unread_server) = connect(&listener);
    let (slow_client, unsent_server) = connect(&listener);
    // Each writes until the other end goes.
    let writers = [&client, &unsent_server].map(|end| {
        let mut end = end.try_clone().expect("a second handle");
        std::thread::spawn(move || end.write_all(&vec![b'x'; MUCH]).expect_err("nobody reads that much"))
    });
    let is_full = |snapshot: &Snapshot| {
        let (unread, unsent) = (of(snapshot, &unread_server), of(snapshot, &unsent_server));
        unread.unread > 0 && u64::from(unread.unread) == counters(unread).received && unsent.unsent > 0
    };
    let snapshot = wait(&[port], "full", is_full);
    let (unread, unsent) = (of(&snapshot, &unread_server), of(&snapshot, &unsent_server));
    assert_eq!((unread.unsent, unsent.unread), (0, 0));
    assert!(counters(unsent).sent > 0 && counters(unsent).sent < MUCH as u64, "{unsent:?}");
    drop((unread_server, slow_client));
    for writer in writers {
        writer.join().expect("it fails");
    }
}

#[test]
fn connections_of_ipv6_and_mapped_ones_are_seen() {
    // std has no dual-stack listener where net.ipv6.bindv6only is set.
    let socket =
        nix::sys::socket::socket(AddressFamily::Inet6, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    setsockopt(&socket, sockopt::Ipv6V6Only, &false).unwrap();
    let any = nix::sys::socket::SockaddrIn6::from(std::net::SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, 0));
    nix::sys::socket::bind(socket.as_raw_fd(), &any).unwrap();
    nix::sys::socket::listen(&socket, Backlog::new(16).unwrap()).unwrap();
    let listener = TcpListener::from(socket);
    let port = listener.local_addr().unwrap().port();
    let six = TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap();
    let mapped = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let snapshot = both(&[port]);
    assert_eq!(snapshot.listeners.len(), 1);
    assert_eq!(snapshot.listeners[0].local, (Ipv6Addr::UNSPECIFIED, port).into());
    assert_eq!(snapshot.listeners[0].backlog, 2);
    let mut ends: Vec<_> = snapshot.connections.iter().map(|c| (c.local, c.remote)).collect();
    ends.sort_unstable();
    let expected = [&mapped, &six].map(|client| (client.peer_addr().unwrap(), client.local_addr().unwrap()));
    assert_eq!(ends, expected);
    assert!(snapshot.connections.iter().all(|connection| connection.counters.is_some()));
}

/// Go's net/http listens with MPTCP by default since 1.24.
#[test]
fn a_listener_of_multipath_tcp_is_one_like_any_other() {
    // SAFETY: takes numbers; the descriptor is new and ours.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, libc::IPPROTO_MPTCP);
        if fd < 0 {
            // A kernel without it.
            return;
        }
        use std::os::fd::FromRawFd;
        OwnedFd::from_raw_fd(fd)
    };
    let any = nix::sys::socket::SockaddrIn::new(127, 0, 0, 1, 0);
    nix::sys::socket::bind(socket.as_raw_fd(), &any).unwrap();
    nix::sys::socket::listen(&socket, Backlog::new(16).unwrap()).unwrap();
    let listener = TcpListener::from(socket);
    let port = listener.local_addr().unwrap().port();
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    client.write_all(b"four").unwrap();
    let snapshot = wait(&[port], "in the backlog", |snapshot| snapshot.connections.iter().any(|c| c.unread == 4));
    assert_eq!(snapshot.listeners.len(), 1);
    assert_eq!((snapshot.listeners[0].inode, snapshot.listeners[0].backlog), (inode(&listener), 1));
    let (server, _) = listener.accept().unwrap();
    assert_eq!(of(&both(&[port]), &server).inode, inode(&server));
}

#[test]
fn only_the_watched_ports_are_seen_and_they_may_change() {
    let servers: Vec<_> = (0..200).map(|_| listen()).collect();
    let ends: Vec<_> = servers.iter().map(|(listener, _)| connect(listener)).collect();
    let all: Vec<u16> = servers.iter().map(|(_, port)| *port).collect();
    let mut sampler = Sampler::new(&[]);
    assert!(sampler.sample().expect("nothing is asked").is_empty());
    // One, some, and more than the kernel's filter is made for; in any order, and twice.
    for count in [1, 20, 150] {
        let mut ports: Vec<u16> = all.iter().rev().take(count).copied().collect();
        ports.extend_from_within(..1);
        sampler.watch(&ports);
        let snapshot = sampler.sample().expect("sock_diag");
        let wanted: HashSet<u16> = ports.into_iter().collect();
        assert_eq!(snapshot.listeners.iter().map(|listener| listener.local.port()).collect::<HashSet<_>>(), wanted);
        assert_eq!(snapshot.connections.iter().map(|c| c.local.port()).collect::<HashSet<_>>(), wanted);
        assert_eq!((snapshot.listeners.len(), snapshot.connections.len()), (count, count));
    }
    drop(ends);
}

#[test]
fn all_listeners_are_listed_and_those_of_a_process_known() {
    let (held, port) = listen();
    let (_client, _server) = connect(&held);
    for mut sampler in [Sampler::new(&[1]), Sampler::of_proc(&[1])] {
        let listeners = sampler.listeners().expect("sock_diag").to_vec();
        assert!(sampler.snapshot.connections.is_empty());
        let own: Vec<_> = listeners.iter().filter(|listener| listener.local.port() == port).copied().collect();
        assert_eq!(own, [Listener { local: held.local_addr().unwrap(), inode: inode(&held), backlog: 0 }]);

        let pid = crate::sys::getpid();
        let found = held_by(&[pid], &listeners);
        assert_eq!((found.processes.as_slice(), found.unreadable.as_slice()), ([pid].as_slice(), [].as_slice()));
        assert!(found.listeners.contains(&own[0]));
        // A process that listens on nothing, and no process.
        let mut sleeper = std::process::Command::new("sleep").arg("60").spawn().expect("sleep runs");
        let found = held_by(&[sleeper.id() as i32, i32::MAX], &listeners);
        sleeper.kill().expect("it runs");
        sleeper.wait().expect("it ended");
        // It may have inherited a connection of a test beside this one.
        assert_eq!(Held { others: Vec::new(), ..found }, Held::default());
        assert!(!held_by(&[pid], &[]).listeners.contains(&own[0]));
    }
}

#[test]
fn a_broken_socket_is_replaced_when_it_only_overran() {
    let (_listener, port) = listen();
    let overrun = |sequence: u32| testing::a_message(libc::NLMSG_OVERRUN, 0, sequence, &[]);
    let mut sampler = Sampler::new(&[port]);
    sampler.diag = Some(testing::answering(overrun));
    assert_eq!(sampler.sample().expect("the second answer").listeners.len(), 1);
    assert!(sampler.refusal().is_none());
}

#[test]
fn a_refusal_is_final_and_the_tables_of_proc_are_read() {
    let (_listener, port) = listen();
    for number in [libc::EPERM, libc::EACCES, libc::EPROTONOSUPPORT, libc::EAFNOSUPPORT, libc::ENOENT] {
        let refused = move |sequence| testing::a_message(libc::NLMSG_ERROR, 0, sequence, &i32::to_ne_bytes(-number));
        let mut sampler = Sampler::new(&[port]);
        sampler.diag = Some(testing::answering(refused));
        for _ in 0..2 {
            let snapshot = sampler.sample().expect("/proc/net/tcp");
            assert_eq!((snapshot.source, snapshot.listeners.len()), (SampleSource::Proc, 1));
            assert_eq!(sampler.refusal().and_then(io::Error::raw_os_error), Some(number));
        }
        assert!(sampler.diag.is_none(), "and not asked again");
    }
}

#[test]
fn an_answer_that_knows_of_nothing_is_not_believed() {
    let (_listener, port) = listen();
    let nothing = |sequence| testing::a_message(libc::NLMSG_DONE, 2, sequence, &[0; 4]);
    let mut sampler = Sampler::new(&[port]);
    sampler.diag = Some(testing::answering(nothing));
    assert_eq!(sampler.sample().expect("/proc/net/tcp").source, SampleSource::Proc);
    assert!(sampler.refusal().is_some_and(|refusal| refusal.to_string().contains("empty answer")));
    // Where there is nothing an empty answer is right, and asking /proc each time is not needed. (Port 1 is tcpmux's.)
    let mut sampler = Sampler::new(&[1]);
    for _ in 0..2 * DOUBTS {
        let snapshot = sampler.sample().expect("sock_diag");
        assert!(snapshot.source == SampleSource::SockDiag && snapshot.is_empty());
    }
    assert_eq!(sampler.doubts, 0);
}

#[test]
fn without_both_there_is_an_error_that_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let mut sampler = Sampler::of_proc(&[1]);
    sampler.folder = folder.path().to_owned();
    let error = sampler.sample().expect_err("no table").to_string();
    assert!(error.starts_with("sock_diag: not asked; /proc/net/tcp: No such file or directory"), "{error}");
    // What comes back is seen.
    for name in ["tcp", "tcp6"] {
        std::fs::copy(Path::new(proc::FOLDER).join(name), folder.path().join(name)).unwrap();
    }
    assert!(sampler.sample().is_ok());
}

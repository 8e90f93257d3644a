use super::super::{held_by, which_are_held};
use super::*;
use std::collections::HashSet;
use std::io::Write as _;
use std::os::unix::net::{UnixDatagram, UnixListener as Std, UnixStream};

#[test]
fn only_those_who_listen_or_are_connected_are_in_the_table() {
    let table = "Num       RefCount Protocol Flags    Type St Inode Path\n\
                 0000000000000000: 00000002 00000000 00010000 0001 01 24551 /run/a b.sock\n\
                 0000000000000000: 00000002 00000000 00010000 0005 01 7 @abstract\n\
                 0000000000000000: 00000003 00000000 00000000 0001 03 9 /run/a b.sock\n\
                 0000000000000000: 00000003 00000000 00000000 0001 02 0 /run/a b.sock\n\
                 0000000000000000: 00000002 00000000 00000000 0002 01 11 /run/log\n\
                 nonsense\n\
                 0000000000000000: 00000002 00000000 00010000 0001 01 12\n";
    let found = parse(table);
    let short: Vec<(bool, u32, &str)> =
        found.iter().map(|socket| (socket.listens, socket.inode, socket.name.as_str())).collect();
    let path = "/run/a b.sock";
    assert_eq!(
        short,
        [(true, 24551, path), (true, 7, "@abstract"), (false, 9, path), (false, 0, path), (true, 12, "")]
    );
    let listener = UnixListener::of(&found[0]);
    let seen = connections(&found, &[listener]);
    assert_eq!((seen.unaccepted, seen.connections.iter().map(|one| one.inode).collect::<Vec<_>>()), (1, vec![9]));
}

/// Both ways, side by side, over the kernel of this machine.
fn samplers() -> [UnixSampler; 2] {
    let refused = UnixSampler { diag: None, refusal: Some(io::Error::other("not asked")) };
    [UnixSampler::default(), refused]
}

#[test]
fn the_backlog_and_every_accepted_connection_are_seen_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (listener, other) = (Std::bind(path("one")).unwrap(), Std::bind(path("two")).unwrap());
    let clients: Vec<UnixStream> = (0..4).map(|_| UnixStream::connect(path("one")).unwrap()).collect();
    let _elsewhere = UnixStream::connect(path("two")).unwrap();
    let _accepted_elsewhere = other.accept().unwrap();
    let accepted = [listener.accept().unwrap().0, listener.accept().unwrap().0];
    (&clients[0]).write_all(b"request").unwrap();
    (&accepted[1]).write_all(b"answer").unwrap();
    let held = held_by(&[crate::sys::getpid()], &[]).unix;
    let ours: Vec<UnixListener> =
        held.into_iter().filter(|found| found.name == path("one").to_str().unwrap()).collect();
    assert_eq!(ours.len(), 1);
    let [mut diag, mut proc] = samplers();
    let mut seen = diag.sample(&ours);
    assert!(diag.refusal().is_none(), "{:?}", diag.refusal());
    seen.connections.sort_by_key(|connection| std::cmp::Reverse(connection.unread));
    let queues: Vec<(bool, bool)> =
        seen.connections.iter().map(|connection| (connection.unread == 7, connection.unsent > 0)).collect();
    assert_eq!((seen.unaccepted, queues), (2, vec![(true, false), (false, true)]));
    let inodes: HashSet<u32> = seen.connections.iter().filter_map(|connection| connection.client).collect();
    assert_eq!(which_are_held(&[crate::sys::getpid()], &inodes), inodes, "the clients are of this process, too");
    assert_eq!((inodes.len(), which_are_held(&[1], &HashSet::from([u32::MAX])).len()), (2, 0));
    // Without queues it is the numbers alone.
    let seen = proc.sample(&ours);
    assert_eq!((seen.unaccepted, seen.connections.len()), (2, 2));
    drop(clients);
    let seen = diag.sample(&ours);
    assert!(seen.connections.iter().all(|connection| connection.client == Some(0)), "{seen:?}");
}

#[test]
fn a_listener_of_this_process_is_found_by_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let _listener = Std::bind(path("listens")).unwrap();
    let _client = UnixStream::connect(path("listens")).unwrap();
    let _datagrams = UnixDatagram::bind(path("datagrams")).unwrap();
    let found = held_by(&[crate::sys::getpid()], &[]).unix;
    let names = found.iter().map(|listener| listener.name.as_str());
    let ours: Vec<&str> = names.filter(|name| name.starts_with(folder.path().to_str().unwrap())).collect();
    assert_eq!(ours, [path("listens").to_str().unwrap()]);
    assert_eq!(held_by(&[], &[]).unix, Vec::<UnixListener>::new());
}

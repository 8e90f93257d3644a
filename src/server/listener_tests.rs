use super::super::testing::{Client, LIVEZ, Server, at};
use super::*;
use crate::http::testing::DEADLINE;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc;
use std::thread;

/// Another handle to it.
fn tcp_listener(listener: &ProbeListener) -> TcpListener {
    listener.as_fd().try_clone_to_owned().unwrap().into()
}

fn error(path: &Path) -> io::Error {
    ProbeListener::bind(&at(path)).unwrap_err()
}

/// As after a SIGKILL.
fn leave_behind(path: &Path) {
    drop(UnixListener::bind(path).unwrap());
    assert!(path.exists());
}

/// A server on this socket, made by `serve`'s own loop.
fn serving(path: &Path) -> Server {
    let limits = super::super::limits::ServerLimits::here();
    Server::with(&at(path), limits, |_| hyper::Response::new("ok".to_owned()))
}

fn assert_served(path: &Path) {
    let mut client = Client::new(UnixStream::connect(path).unwrap());
    client.send(LIVEZ);
    assert_eq!(client.answer().body, "ok");
}

#[test]
fn any_address_takes_both_families() {
    let listener = ProbeListener::bind(&Listen::Tcp("[::]:0".parse().unwrap())).unwrap();
    let addr = tcp_listener(&listener).local_addr().unwrap();
    assert_eq!(listener.shown(), format!("http://{addr}"));
    // In a container without IPv6, the address is an IPv4 one.
    if addr.is_ipv6() {
        assert!(!SockRef::from(&tcp_listener(&listener)).only_v6().unwrap());
        TcpStream::connect(("::1", addr.port())).unwrap();
    }
    TcpStream::connect(("127.0.0.1", addr.port())).unwrap();
    // Nobody else gets the port's other half.
    for other in [format!("0.0.0.0:{}", addr.port()), format!("[::]:{}", addr.port())] {
        let error = ProbeListener::bind(&Listen::Tcp(other.parse().unwrap())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}

#[test]
fn connections_have_small_buffers_and_a_limit() {
    let listener = ProbeListener::bind(&Listen::Tcp(([127, 0, 0, 1], 0).into())).unwrap();
    let addr = tcp_listener(&listener).local_addr().unwrap();
    let _client = TcpStream::connect(addr).unwrap();
    let (server, _) = tcp_listener(&listener).accept().unwrap();
    let socket = SockRef::from(&server);
    assert_eq!(socket.recv_buffer_size().unwrap(), 2 * KERNEL_IN);
    assert_eq!(socket.send_buffer_size().unwrap(), 2 * KERNEL_OUT);
    assert_eq!(socket.tcp_user_timeout().unwrap(), Some(ANSWER_TIME));
    assert!(socket.tcp_nodelay().unwrap());
}

#[test]
fn a_restart_does_not_wait_for_old_connections() {
    let listener = ProbeListener::bind(&Listen::Tcp(([127, 0, 0, 1], 0).into())).unwrap();
    let addr = tcp_listener(&listener).local_addr().unwrap();
    let client = TcpStream::connect(addr).unwrap();
    let (server, _) = tcp_listener(&listener).accept().unwrap();
    // Whoever closes first has the connection for a minute more (TIME_WAIT).
    drop((server, listener, client));
    ProbeListener::bind(&Listen::Tcp(addr)).unwrap();
}

#[test]
fn no_child_gets_it() {
    let folder = tempfile::tempdir().unwrap();
    for listen in [Listen::Tcp(([127, 0, 0, 1], 0).into()), at(&folder.path().join("s"))] {
        let listener = ProbeListener::bind(&listen).unwrap();
        for listener in [&listener, &listener.try_clone().unwrap()] {
            let flags = nix::fcntl::fcntl(listener, nix::fcntl::FcntlArg::F_GETFD).unwrap();
            assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC, "{listener:?}");
        }
    }
}

#[test]
fn a_unix_socket_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("graceful.sock");
    let _server = serving(&path);
    assert_served(&path);
    let listener = ProbeListener::bind(&at(&folder.path().join("other"))).unwrap();
    assert_eq!(listener.shown(), format!("unix:{}/other", folder.path().display()));
}

#[test]
fn a_leftover_socket_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    for _ in 0..2 {
        leave_behind(&path);
        let server = serving(&path);
        assert_served(&path);
        drop(server);
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_socket_in_use_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let _server = serving(&path);
    let error = error(&path);
    assert_eq!(
        (error.kind(), &*error.to_string()),
        (io::ErrorKind::AddrInUse, "address in use: somebody listens on it")
    );
    assert_served(&path);
}

/// Its backlog is full, so that connect(2) would wait.
#[test]
fn a_socket_whose_owner_is_busy_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let owner = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    owner.bind(&SockAddr::unix(&path).unwrap()).unwrap();
    owner.listen(0).unwrap();
    let waiting: Vec<_> = std::iter::from_fn(|| {
        let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        client.set_nonblocking(true).unwrap();
        client.connect(&SockAddr::unix(&path).unwrap()).is_ok().then_some(client)
    })
    .collect();
    assert!(!waiting.is_empty());
    let (tell, told) = mpsc::channel();
    let bound = path.clone();
    thread::spawn(move || tell.send(error(&bound).to_string()));
    assert_eq!(told.recv_timeout(DEADLINE).unwrap(), "address in use: somebody listens on it");
    assert!(path.exists());
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let expected = (io::ErrorKind::AlreadyExists, "the file exists and is not a socket".to_owned());
    let of = |path: &Path| {
        let error = error(path);
        (error.kind(), error.to_string())
    };
    let (file, directory, link) = (folder.path().join("f"), folder.path().join("d"), folder.path().join("l"));
    fs::write(&file, "precious").unwrap();
    fs::create_dir(&directory).unwrap();
    leave_behind(&folder.path().join("s"));
    std::os::unix::fs::symlink("s", &link).unwrap();
    for path in [&file, &directory, &link] {
        assert_eq!(of(path), expected, "{path:?}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    assert!(directory.is_dir() && link.is_symlink());
    // A socket, but nobody can tell whether it is used.
    let path = folder.path().join("datagram");
    let _datagram = UnixDatagram::bind(&path).unwrap();
    let error = error(&path);
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(error.to_string().starts_with("address in use, and it cannot be told"), "{error}");
    assert!(path.exists());
    assert_eq!(self::error(&folder.path().join("no/such")).kind(), io::ErrorKind::NotFound);
}

#[test]
fn its_own_file_is_removed_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = ProbeListener::bind(&at(&path)).unwrap();
    let second = listener.try_clone().unwrap();
    drop(listener);
    assert!(path.exists(), "a handle of several");
    // Who may connect was changed, and it is still the same.
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    second.remove_file();
    assert!(!path.exists());
    second.remove_file();

    let first = ProbeListener::bind(&at(&path)).unwrap();
    fs::remove_file(&path).unwrap();
    let _successor = ProbeListener::bind(&at(&path)).unwrap();
    first.remove_file();
    assert!(path.exists(), "the successor's");
}

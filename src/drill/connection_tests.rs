use super::*;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream as Std};
use std::sync::mpsc;
use std::time::Duration;
use tokio::task::LocalSet;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A server that hands over the connections that it takes, one after another, with their number.
fn server(mut each: impl FnMut(Std, usize) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            each(stream.unwrap(), number);
        }
    });
    address
}

fn read_head(stream: &mut Std) -> Vec<u8> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        head.push(byte[0]);
    }
    head
}

/// Says this in answer to one request.
fn says(answer: &'static str) -> SocketAddr {
    server(move |mut stream, _| {
        read_head(&mut stream);
        stream.write_all(answer.as_bytes()).unwrap();
    })
}

/// Closes with a reset (socket(7), SO_LINGER).
fn reset(stream: Std) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

fn asked(address: SocketAddr) -> PreparedRequest {
    asked_with(&format!("http://{address}/"), Peer::Tcp(address), None, &[])
}

fn asked_with(url: &str, peer: Peer, body: Option<&str>, headers: &[&str]) -> PreparedRequest {
    let target =
        Target { method: "POST".to_owned(), place: url.parse::<Url>().unwrap(), body: body.map(str::to_owned) };
    let route = Route {
        peers: vec![peer],
        #[cfg(feature = "https")]
        tls: None,
    };
    let headers: Vec<Header> = headers.iter().map(|header| Header::parse(header).unwrap()).collect();
    PreparedRequest::new(&target, route, &headers).unwrap()
}

/// Runs on a thread as the load does.
fn on_a_thread<T>(body: impl Future<Output = T>) -> T {
    LocalSet::new().block_on(&super::super::load::runtime().unwrap(), body)
}

async fn one(address: SocketAddr, limit: Duration) -> (End, Option<ClientConnection>) {
    let deadline = Instant::now() + limit;
    match ClientConnection::open(&asked(address).route, deadline).await {
        Err(end) => (end, None),
        Ok(connection) => match connection.send(&asked(address), deadline).await {
            Tried::Over(end, connection) => (end, connection),
            Tried::WasClosed => panic!("a new connection was closed before"),
        },
    }
}

fn outcome(address: SocketAddr, limit: Duration) -> (RequestOutcome, Option<u16>, bool) {
    let (end, connection) = on_a_thread(one(address, limit));
    (end.outcome, end.status, connection.is_some())
}

#[test]
fn a_whole_answer_is_ok_and_the_connection_may_be_used_again() {
    let kept = server(|mut stream, _| {
        read_head(&mut stream);
        stream.write_all(OK.as_bytes()).unwrap();
        read_head(&mut stream);
    });
    assert_eq!(outcome(kept, LONG), (RequestOutcome::Ok, Some(200), true));
    let closes = "HTTP/1.1 200 OK\r\nConnection: keep-alive, Close\r\nContent-Length: 2\r\n\r\nok";
    assert_eq!(outcome(says(closes), LONG), (RequestOutcome::OkClose, Some(200), false));
    // Without a length it ends with the connection.
    assert_eq!(outcome(says("HTTP/1.1 200 OK\r\n\r\nall of it"), LONG).0, RequestOutcome::Ok);
    assert_eq!(outcome(says("HTTP/1.1 204 No Content\r\n\r\n"), LONG).0, RequestOutcome::Ok);
}

#[test]
fn another_status_is_told_as_such() {
    let (end, _) = on_a_thread(one(says("HTTP/1.1 302 x\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n"), LONG));
    assert_eq!((end.outcome, end.status, end.location.as_deref()), (RequestOutcome::Status, Some(302), Some("/there")));
    assert_eq!(outcome(says("HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n"), LONG).0, RequestOutcome::Status);
}

#[test]
fn nobody_listens() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert_eq!(outcome(address, LONG), (RequestOutcome::Refused, None, false));
}

#[test]
fn taken_by_the_kernel_and_never_served_is_a_black_hole() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    assert_eq!(outcome(listener.local_addr().unwrap(), SHORT), (RequestOutcome::BlackHole, None, false));
}

#[test]
fn closed_or_reset_before_an_answer() {
    let closes = server(|mut stream, _| drop(read_head(&mut stream)));
    assert_eq!(outcome(closes, LONG), (RequestOutcome::Reset, None, false));
    let resets = server(|mut stream, _| {
        read_head(&mut stream);
        reset(stream);
    });
    assert_eq!(outcome(resets, LONG), (RequestOutcome::Reset, None, false));
    // What was never accepted is reset with its listener.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (begun, begins) = mpsc::channel();
    std::thread::spawn(move || {
        begins.recv().unwrap();
        drop(listener);
    });
    let end = on_a_thread(async {
        let deadline = Instant::now() + LONG;
        let Ok(connection) = ClientConnection::open(&asked(address).route, deadline).await else {
            panic!("it is taken")
        };
        begun.send(()).unwrap();
        match connection.send(&asked(address), deadline).await {
            Tried::Over(end, _) => end.outcome,
            Tried::WasClosed => panic!("it is new"),
        }
    });
    assert_eq!(end, RequestOutcome::Reset);
}

#[test]
fn cut_off_in_the_middle_of_the_answer() {
    for cut in ["HTTP/1.1 200 OK\r\nContent-Len", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart"] {
        assert_eq!(outcome(says(cut), LONG).0, RequestOutcome::Truncated, "{cut:?}");
    }
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n";
    assert_eq!(outcome(says(chunks), LONG), (RequestOutcome::Truncated, Some(200), false));
}

#[test]
fn reset_in_the_middle_of_the_answer() {
    for part in ["HTTP/1.1 200 OK\r\nContent-Len", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart"] {
        let (seen, sees) = mpsc::channel::<()>();
        let sees = std::sync::Mutex::new(sees);
        let address = server(move |mut stream, _| {
            read_head(&mut stream);
            stream.write_all(part.as_bytes()).unwrap();
            // A reset throws away what has not been read.
            _ = sees.lock().unwrap().recv_timeout(LONG);
            reset(stream);
        });
        let end = on_a_thread(async {
            let reader = tokio::task::spawn_local(one(address, LONG));
            tokio::time::sleep(SHORT).await;
            seen.send(()).unwrap();
            reader.await.unwrap().0.outcome
        });
        assert_eq!(end, RequestOutcome::ResetInAnswer, "{part:?}");
    }
}

#[test]
fn an_answer_that_does_not_end_is_a_timeout() {
    let address = server(|mut stream, _| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart").unwrap();
        _ = stream.read(&mut [0]);
    });
    assert_eq!(outcome(address, SHORT), (RequestOutcome::Timeout, Some(200), false));
}

#[test]
fn what_is_no_http_is_broken() {
    for nonsense in ["SSH-2.0-OpenSSH_9.2\r\n\r\n", "HTTP/1.1 abc\r\n\r\n"] {
        assert_eq!(outcome(says(nonsense), LONG).0, RequestOutcome::Broken, "{nonsense:?}");
    }
}

/// As a router does: it sees that the server has closed an idle connection, and takes another.
#[test]
fn a_kept_connection_that_was_closed_in_time_is_no_failure() {
    let address = server(|mut stream, _| {
        read_head(&mut stream);
        stream.write_all(OK.as_bytes()).unwrap();
    });
    on_a_thread(async {
        let (end, connection) = one(address, LONG).await;
        assert_eq!(end.outcome, RequestOutcome::Ok);
        let connection = connection.expect("kept");
        while connection.is_open() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let again = connection.send(&asked(address), Instant::now() + LONG).await;
        assert!(matches!(again, Tried::WasClosed));
    });
}

#[test]
fn a_kept_connection_that_says_nothing_more_is_a_timeout() {
    let address = server(|mut stream, _| {
        read_head(&mut stream);
        stream.write_all(OK.as_bytes()).unwrap();
        read_head(&mut stream);
        _ = stream.read(&mut [0]);
    });
    on_a_thread(async {
        let connection = one(address, LONG).await.1.expect("kept");
        let Tried::Over(end, None) = connection.send(&asked(address), Instant::now() + SHORT).await else {
            panic!("it is open")
        };
        assert_eq!(end.outcome, RequestOutcome::Timeout);
    });
}

#[test]
fn an_answer_that_ends_with_its_connection_says_so() {
    for (answer, undelimited) in [
        ("HTTP/1.1 200 OK\r\n\r\nall of it", Some(9)),
        ("HTTP/1.0 200 OK\r\n\r\n", Some(0)),
        ("HTTP/1.1 404 Not Found\r\n\r\nnone", Some(4)),
        (OK, None),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", None),
        ("HTTP/1.1 204 No Content\r\n\r\n", None),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", None),
    ] {
        let (end, kept) = on_a_thread(one(says(answer), LONG));
        assert_eq!(end.undelimited, undelimited, "{answer:?}");
        assert_eq!(kept.is_some(), undelimited.is_none(), "{answer:?}");
    }
}

/// What is sent, head and body.
fn sent(url: &str, body: Option<&str>, headers: &[&str]) -> String {
    let (said, says) = mpsc::channel();
    let length = body.map_or(0, str::len);
    let address = server(move |mut stream, _| {
        let mut head = read_head(&mut stream);
        let mut rest = vec![0; length];
        stream.read_exact(&mut rest).unwrap();
        head.extend(rest);
        said.send(String::from_utf8(head).unwrap()).unwrap();
        stream.write_all(OK.as_bytes()).unwrap();
    });
    let asked = asked_with(url, Peer::Tcp(address), body, headers);
    assert!(!asked.name.contains("pw"), "{}", asked.name);
    on_a_thread(async {
        let Ok(connection) = ClientConnection::open(&asked.route, Instant::now() + LONG).await else {
            panic!("it is taken")
        };
        assert!(matches!(connection.send(&asked, Instant::now() + LONG).await, Tried::Over(..)));
    });
    says.recv_timeout(LONG).unwrap().to_lowercase()
}

#[test]
fn headers_take_the_place_of_the_drills_own() {
    let plain = sent("http://amy:p%77@host:81/a?b=c", Some("{}"), &[]);
    assert!(plain.starts_with("post /a?b=c http/1.1\r\n") && plain.ends_with("\r\n\r\n{}"), "{plain}");
    for line in ["host: host:81", "user-agent: graceful-drill/", "content-length: 2", "authorization: basic yw15onb3"] {
        assert!(plain.contains(&format!("\r\n{line}")), "{line}: {plain}");
    }
    let own =
        sent("http://amy:pw@host/", None, &["Host: app.test", "User-Agent:", "authorization: Bearer x", "X-A: 1"]);
    for line in ["host: app.test\r\n", "authorization: bearer x\r\n", "x-a: 1\r\n"] {
        assert!(own.contains(&format!("\r\n{line}")), "{line}: {own}");
    }
    assert!(!own.contains("user-agent") && !own.contains("basic"), "{own}");
}

#[test]
fn a_unix_socket_is_asked_as_a_port_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a 100%.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let url = format!("unix:{}:/health?x=1", path.display().to_string().replace('%', "%25"));
    let (socket, target) = url.parse::<Url>().map(|url| (url.unix_socket().unwrap().0, url.request_target())).unwrap();
    assert_eq!((socket.as_path(), target.as_str()), (path.as_path(), "/health?x=1"));
    let asked = asked_with(&url, Peer::Unix(socket), None, &[]);
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        stream.write_all(OK.as_bytes()).unwrap();
        String::from_utf8(head).unwrap()
    });
    let outcome = || {
        on_a_thread(async {
            let deadline = Instant::now() + LONG;
            match ClientConnection::open(&asked.route, deadline).await {
                Err(end) => end.outcome,
                Ok(connection) => match connection.send(&asked, deadline).await {
                    Tried::Over(end, _) => end.outcome,
                    Tried::WasClosed => panic!("it is new"),
                },
            }
        })
    };
    assert_eq!(outcome(), RequestOutcome::Ok);
    let head = server.join().unwrap();
    assert!(head.starts_with("POST /health?x=1 HTTP/1.1\r\n") && head.contains("host: localhost\r\n"), "{head}");
    // The listener is gone, and then its file.
    assert!(!asked.route.accepts(SHORT));
    assert_eq!(outcome(), RequestOutcome::Refused);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(outcome(), RequestOutcome::Refused);
}

/// The kernel lets no non-blocking connect wait (connect(2), EAGAIN); the drill waits all the same, as with TCP.
#[test]
fn a_unix_socket_whose_backlog_is_full_is_a_black_hole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("full.sock");
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    socket.listen(0).unwrap();
    let _first = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let route = asked_with(&format!("unix:{}:/", path.display()), Peer::Unix(path), None, &[]).route;
    let end = on_a_thread(ClientConnection::open(&route, Instant::now() + SHORT)).err().map(|end| end.outcome);
    assert_eq!(end, Some(RequestOutcome::BlackHole));
}

use super::*;
use crate::http::testing::{ClosedPort, FullPort, Server, say_for_ever, until_hangup};

const LONG: Duration = Duration::from_secs(20);

#[test]
fn a_ready_app_is_one_line_with_its_time() {
    let server = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let url = server.url("/healthz");
    let (ok, line) = http(&url, LONG);
    assert!(ok, "{line}");
    let rest = line.strip_prefix(&format!("{url}: 200 in ")).unwrap_or_else(|| panic!("{line}"));
    let time = rest.strip_suffix(" ms").unwrap_or_else(|| panic!("{line}"));
    assert!(time.parse::<f64>().is_ok() && time.contains('.'), "{line}");
}

#[test]
fn failures_and_warnings_say_why() {
    let port = ClosedPort::new();
    let url = port.url("http", "127.0.0.1");
    assert_eq!(http(&url, LONG), (false, format!("{url}: connection refused")));
    let server = Server::answering("HTTP/1.1 503 Nope\r\nContent-Length: 0\r\n\r\n");
    let url = server.url("/");
    assert_eq!(http(&url, LONG), (false, format!("{url}: 503 Service Unavailable")));
    let server = Server::answering("HTTP/1.1 304 x\r\n\r\n");
    let url = server.url("/");
    assert_eq!(http(&url, LONG), (true, format!("{url}: warning: 304 Not Modified")));
}

#[test]
fn credentials_are_sent_and_not_printed() {
    let server = Server::answering("HTTP/1.1 204 No Content\r\n\r\n");
    let mut url = url::Url::clone(&server.url("/x"));
    url.set_username("amy").unwrap();
    url.set_password(Some("s3cret")).unwrap();
    let (ok, line) = http(&url.into(), LONG);
    assert!(ok && line.starts_with(&format!("http://…@{}/x: 204 in ", server.addr)), "{line}");
    // base64 of "amy:s3cret"
    assert!(server.request().contains("\r\nauthorization: Basic YW15OnMzY3JldA==\r\n"));
}

/// What `graceful probe ready` says of a server on TCP.
fn asked(server: &Server, timeout: Duration) -> ProbeOutcome {
    ask(Probe::Ready, Listen::Tcp(server.addr), timeout)
}

fn ask(probe: Probe, at: Listen, timeout: Duration) -> ProbeOutcome {
    own::<()>(probe, Some(at), || Err(()), timeout).unwrap()
}

fn unavailable(body: &str) -> String {
    format!("HTTP/1.1 503 x\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A success is one line with its time.
#[track_caller]
fn assert_ready(outcome: &ProbeOutcome, start: &str) {
    let (ok, line) = outcome;
    let time = line.strip_prefix(start).and_then(|rest| rest.strip_suffix(" ms"));
    assert!(*ok && time.is_some_and(|time| time.parse::<f64>().is_ok() && time.contains('.')), "{line}");
}

#[test]
fn graceful_itself_is_asked_for_the_probe_that_was_named() {
    let server = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    for (probe, path, word) in
        [(Probe::Live, "/livez", "live"), (Probe::Ready, "/readyz", "ready"), (Probe::Startup, "/startupz", "startup")]
    {
        assert_ready(&ask(probe, Listen::Tcp(server.addr), LONG), &format!("{word}: 200 in "));
        let request = server.request();
        assert!(request.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{request}");
        assert!(request.contains(&format!("\r\nhost: {}\r\n", server.addr)), "{request}");
        assert!(request.contains("\r\naccept: text/plain\r\n"), "{request}");
    }
}

#[test]
fn a_unix_socket_is_asked_too() {
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixListener;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("graceful.sock");
    let gone = ask(Probe::Live, Listen::Unix(path.clone()), LONG);
    assert_eq!(gone, (false, format!("live: unix:{}: no such file or directory", path.display())));
    let listener = UnixListener::bind(&path).unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut first = String::new();
        BufReader::new(&stream).read_line(&mut first).unwrap();
        stream.write_all(unavailable("[-]running failed\n").as_bytes()).unwrap();
        first
    });
    let outcome = ask(Probe::Live, Listen::Unix(path.clone()), LONG);
    assert_eq!(outcome, (false, "live: 503 Service Unavailable: [-]running failed".to_owned()));
    assert_eq!(server.join().unwrap(), "GET /livez HTTP/1.1\r\n");
    let left = ask(Probe::Live, Listen::Unix(path.clone()), LONG);
    assert_eq!(left, (false, format!("live: unix:{}: connection refused", path.display())));
}

#[test]
fn what_failed_is_said_and_nothing_else() {
    let body = "[+]running ok\n[-]redis failed: connection refused\n[+]cache failed, not critical\n\
                [-]d\u{1b}[31mb failed: \u{7}x\r\nreadyz check failed\n";
    let server = Server::answering(unavailable(body));
    let expected = "ready: 503 Service Unavailable: [-]redis failed: connection refused; [-]d[31mb failed: x";
    assert_eq!(asked(&server, LONG), (false, expected.to_owned()));
    for (answer, expected) in [
        (unavailable(""), "ready: 503 Service Unavailable"),
        (unavailable("no\n"), "ready: 503 Service Unavailable"),
        ("HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n".to_owned(), "ready: 404 Not Found"),
        (
            "HTTP/1.1 503 x\r\nContent-Length: 99\r\n\r\n[-]cut off".to_owned(),
            "ready: 503 Service Unavailable: [-]cut off",
        ),
    ] {
        assert_eq!(asked(&Server::answering(answer), LONG), (false, expected.to_owned()));
    }
}

#[test]
fn redirects_are_as_good_as_for_kubelet_and_not_followed() {
    let server = Server::answering("HTTP/1.1 302 x\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n");
    assert_ready(&asked(&server, LONG), "ready: 302 Found in ");
    assert_eq!(server.drain(), 1);
}

#[test]
fn an_endless_body_is_not_read_to_its_end() {
    let server = Server::start(|mut stream, _| {
        use std::io::Write;
        let _ = stream.write_all(b"HTTP/1.1 503 x\r\n\r\n");
        say_for_ever(stream, b"[-]x\n");
    });
    let start = Instant::now();
    let (ok, line) = asked(&server, LONG);
    assert!(!ok && start.elapsed() < LONG);
    let failures = line.strip_prefix("ready: 503 Service Unavailable: ").unwrap_or_else(|| panic!("{line}"));
    assert_eq!(failures, vec!["[-]x"; 10 * 1024 / 5].join("; "));
}

#[test]
fn a_body_that_never_ends_takes_the_timeout_and_no_more() {
    let server = Server::start(|mut stream, _| {
        use std::io::Write;
        let _ = stream.write_all(b"HTTP/1.1 503 x\r\nContent-Length: 99\r\n\r\n[-]redis failed\n");
        until_hangup(stream);
    });
    let expected = "ready: 503 Service Unavailable: [-]redis failed";
    assert_eq!(asked(&server, Duration::from_millis(300)), (false, expected.to_owned()));
}

#[test]
fn silence_and_garbage_are_failures_in_words() {
    let at = |server: &Server, why: &str| (false, format!("ready: {}: {why}", server.addr));
    let silent = Server::start(|stream, _| until_hangup(stream));
    assert_eq!(asked(&silent, Duration::from_millis(300)), at(&silent, "no answer within 300ms"));
    let ssh = Server::answering("SSH-2.0-OpenSSH_9.2\r\n");
    assert_eq!(asked(&ssh, LONG), at(&ssh, "not HTTP: invalid HTTP version"));
    let rude = Server::answering("");
    assert_eq!(asked(&rude, LONG), at(&rude, "connection closed before the answer was complete"));
    let head = Server::start(|mut stream, _| {
        use std::io::Write;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ");
        say_for_ever(stream, &[b'x'; 1024]);
    });
    assert_eq!(asked(&head, LONG), at(&head, "not HTTP: message head is too large"));
    let long = Server::answering(format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(100_000)));
    assert_eq!(asked(&long, LONG), at(&long, "not HTTP: message head is too large"));
    let port = ClosedPort::new().port;
    let closed = ask(Probe::Ready, Listen::Tcp(SocketAddr::from(([0, 0, 0, 0], port))), LONG);
    assert_eq!(closed, (false, format!("ready: 127.0.0.1:{port}: connection refused")));
}

#[test]
fn port_0_cannot_be_asked() {
    let (ok, line) = ask(Probe::Ready, Listen::Tcp("127.0.0.1:0".parse().unwrap()), LONG);
    assert!(!ok && line.starts_with("ready: 127.0.0.1:0: port 0 ") && line.contains("fixed port"), "{line}");
}

#[test]
fn the_search_is_under_the_same_timeout() {
    let limit = Duration::from_millis(200);
    let never = || -> Result<Listen, String> {
        loop {
            thread::park();
        }
    };
    assert_eq!(own(Probe::Live, None, never, limit), Ok((false, "live: no address was found within 200ms".to_owned())));
    assert_eq!(own(Probe::Live, None, || Err("none"), LONG), Err("none"));
}

#[test]
fn a_port_is_connected_to_and_no_more() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_ready(&tcp("127.0.0.1", port, LONG), &format!("tcp://127.0.0.1:{port}: connected in "));
    let mut read = Vec::new();
    std::io::Read::read_to_end(&mut listener.accept().unwrap().0, &mut read).unwrap();
    assert_eq!(read, b"", "nothing is sent, and it is closed");
    assert_ready(&tcp("localhost", port, LONG), &format!("tcp://localhost:{port}: connected in "));
    let closed = ClosedPort::new().port;
    let expected = (false, format!("tcp://localhost:{closed}: connection refused"));
    assert_eq!(tcp("localhost", closed, LONG), expected);
    let full = FullPort::new();
    let expected = (false, format!("tcp://{}: no connection within 300ms", full.addr));
    assert_eq!(tcp("127.0.0.1", full.addr.port(), Duration::from_millis(300)), expected);
}

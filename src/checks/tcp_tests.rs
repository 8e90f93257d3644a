use super::*;
use crate::http::testing::{ClosedPort, DEADLINE, FullPort};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream as Client};
use std::sync::mpsc;

const LONG: Duration = DEADLINE;
const SHORT: Duration = Duration::from_millis(200);

/// A server that does this with its first connection.
fn server(with: impl FnOnce(Client) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || with(listener.accept().unwrap().0));
    port
}

/// One that says this and then waits for the end of the other side.
fn saying(bytes: impl Into<Vec<u8>>) -> u16 {
    let bytes = bytes.into();
    server(move |mut stream| {
        // The client may have heard enough.
        _ = stream.write_all(&bytes);
        _ = stream.read_to_end(&mut Vec::new());
    })
}

async fn asked(port: u16, send: Option<&str>, expect: Option<&str>, limit: Duration) -> Attempt {
    attempt(&Names::of_the_system(), "127.0.0.1", port, Talk { send, expect }, limit).await
}

fn seen(attempt: &Attempt) -> (Status, &str) {
    (attempt.status, attempt.detail.as_str())
}

#[tokio::test]
async fn a_connection_is_enough_where_nothing_is_expected() {
    let attempt = asked(server(drop), None, None, LONG).await;
    assert_eq!((seen(&attempt), attempt.said.as_deref()), ((Status::Healthy, "connected"), None));
    let closed = ClosedPort::new();
    assert_eq!(seen(&asked(closed.port, None, None, LONG).await), (Status::Unhealthy, "connection refused"));
}

#[tokio::test]
async fn a_hanging_connection_is_told_from_a_hanging_answer() {
    let full = FullPort::new();
    let attempt = asked(full.addr.port(), None, Some("x"), SHORT).await;
    assert_eq!(seen(&attempt), (Status::Unhealthy, "no connection within 200ms"));
    assert!(attempt.took >= SHORT);
    let attempt = asked(saying(""), None, Some("x"), SHORT).await;
    assert_eq!((seen(&attempt), attempt.said.as_deref()), ((Status::Unhealthy, "no answer within 200ms"), None));
    assert!(attempt.took >= SHORT);
}

#[tokio::test]
async fn names_are_resolved_or_said_not_to_be() {
    let mut hosts = tempfile::NamedTempFile::new().unwrap();
    hosts.write_all(b"127.0.0.1 redis.test\n").unwrap();
    let names = Names { hosts: hosts.path().to_owned(), resolv_conf: "/nonexistent/file".into() };
    let talk = Talk { send: None, expect: None };
    assert_eq!(attempt(&names, "redis.test", saying(""), talk, LONG).await.status, Status::Healthy);
    let found = attempt(&names, "db.test", 1, talk, LONG).await;
    let detail = "cannot resolve db.test: no DNS server, /nonexistent/file: no such file or directory";
    assert_eq!(seen(&found), (Status::Unhealthy, detail));
}

#[tokio::test]
async fn what_is_sent_is_answered_as_expected_and_ended_politely() {
    let (end, ended) = mpsc::channel();
    let port = server(move |mut stream| {
        let mut request = [0; 6];
        stream.read_exact(&mut request).unwrap();
        // In pieces, and not at the beginning.
        for part in ["* hello\r\n+PO", "NG\r\n"] {
            stream.write_all(part.as_bytes()).unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
        // Until the other side has closed: an end, and not a reset.
        end.send((request, stream.read_to_end(&mut Vec::new()).map_err(|error| error.kind()))).unwrap();
    });
    let attempt = asked(port, Some("PING\r\n"), Some("+PONG"), LONG).await;
    assert_eq!((seen(&attempt), attempt.said.as_deref()), ((Status::Healthy, "answered as expected"), None));
    assert_eq!(ended.recv_timeout(DEADLINE).expect("the connection stayed open"), (*b"PING\r\n", Ok(0)));
}

#[tokio::test]
async fn what_is_sent_needs_no_answer() {
    let (hear, heard) = mpsc::channel();
    let port = server(move |mut stream| {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        hear.send(text).unwrap();
    });
    let attempt = asked(port, Some("hello\n"), None, LONG).await;
    assert_eq!(seen(&attempt), (Status::Healthy, "connected"));
    assert_eq!(heard.recv_timeout(DEADLINE).expect("nothing came"), "hello\n");
}

#[tokio::test]
async fn another_answer_is_for_the_log_alone() {
    let refusal = "-NOAUTH \"Authentication\"\x1b\r\n required \u{202e}.\r\n";
    let expected = r#"-NOAUTH "Authentication"\u{1b}\r\n required \u{202e}."#;
    // Whether the connection is closed then, or kept: the timeout differs, the words do not.
    let closing = server(move |mut stream| stream.write_all(refusal.as_bytes()).unwrap());
    for (port, limit) in [(closing, LONG), (saying(refusal), SHORT)] {
        let attempt = asked(port, None, Some("+PONG"), limit).await;
        assert_eq!(seen(&attempt), (Status::Unhealthy, "unexpected answer"));
        assert_eq!(attempt.said.as_deref(), Some(expected));
    }
    let attempt = asked(server(drop), None, Some("+PONG"), LONG).await;
    assert_eq!((seen(&attempt).1, attempt.said.as_deref()), ("connection closed without an answer", None));
}

#[tokio::test]
async fn stray_bytes_are_one_short_line() {
    for byte in [0, b'\n', 0x80, 0xff, b'\\', b'x'] {
        let said = asked(saying([b"<".as_slice(), &[byte; 4096]].concat()), None, Some("+PONG"), LONG).await.said;
        let said = said.expect("something was said");
        assert!(said.chars().count() <= 100 && !said.chars().any(char::is_control), "{byte}: {said}");
    }
}

#[tokio::test]
async fn four_kibibytes_are_read() {
    let after = |count| [vec![b'x'; count], b"+PONG".to_vec(), vec![b'x'; 100_000]].concat();
    let attempt = asked(saying(after(MAX_ANSWER - 5)), None, Some("+PONG"), LONG).await;
    assert_eq!(seen(&attempt).1, "answered as expected");
    let attempt = asked(saying(after(MAX_ANSWER - 4)), None, Some("+PONG"), LONG).await;
    assert_eq!(seen(&attempt).1, "unexpected answer");
    let port = server(|mut stream| while stream.write_all(&[b'x'; 1024]).is_ok() {});
    let attempt = asked(port, None, Some("y"), LONG).await;
    assert_eq!((seen(&attempt).1, attempt.said.clone()), ("unexpected answer", Some("x".repeat(100))));
}

#[tokio::test]
async fn a_drip_ends_with_the_timeout() {
    let port = server(|mut stream| {
        while stream.write_all(b".").is_ok() {
            std::thread::sleep(SHORT / 20);
        }
    });
    let attempt = asked(port, None, Some("220 "), SHORT).await;
    assert_eq!(seen(&attempt), (Status::Unhealthy, "unexpected answer"));
    assert!(attempt.took >= SHORT && attempt.said.is_some_and(|said| said.starts_with('.')));
}

#[tokio::test]
async fn a_reset_is_said_so() {
    let port = server(|stream| {
        // What is unread when a socket is closed makes its end a reset (tcp(7)).
        stream.peek(&mut [0]).unwrap();
    });
    let attempt = asked(port, Some("PING\r\n"), Some("+PONG"), LONG).await;
    assert_eq!(seen(&attempt), (Status::Unhealthy, "connection reset by peer"));
}

use super::*;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream as Std};
use std::sync::mpsc;
use std::time::Duration;
use tokio::task::LocalSet;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Lets this server take connections, one after the other, each with its request's head read.
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

fn read_head(stream: &mut Std) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        head.push(byte[0]);
    }
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

fn route(address: SocketAddr) -> Route {
    Route {
        addresses: vec![address],
        host: address.to_string(),
        #[cfg(feature = "https")]
        tls: None,
    }
}

fn target(address: SocketAddr) -> Target {
    Target { method: "GET".to_owned(), url: format!("http://{address}/").parse().unwrap(), body: None }
}

/// Runs on a thread as the load does.
fn on_a_thread<T>(body: impl Future<Output = T>) -> T {
    LocalSet::new().block_on(&super::super::load::runtime().unwrap(), body)
}

async fn one(address: SocketAddr, limit: Duration) -> (End, Option<Connection>) {
    let deadline = Instant::now() + limit;
    match Connection::open(&route(address), deadline).await {
        Err(end) => (end, None),
        Ok(connection) => match connection.send(&target(address), deadline).await {
            Tried::Over(end, connection) => (end, connection),
            Tried::WasClosed => panic!("a new connection was closed before"),
        },
    }
}

fn outcome(address: SocketAddr, limit: Duration) -> (Outcome, Option<u16>, bool) {
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
    assert_eq!(outcome(kept, LONG), (Outcome::Ok, Some(200), true));
    let closes = "HTTP/1.1 200 OK\r\nConnection: keep-alive, Close\r\nContent-Length: 2\r\n\r\nok";
    assert_eq!(outcome(says(closes), LONG), (Outcome::OkClose, Some(200), false));
    // Without a length it ends with the connection.
    assert_eq!(outcome(says("HTTP/1.1 200 OK\r\n\r\nall of it"), LONG).0, Outcome::Ok);
    assert_eq!(outcome(says("HTTP/1.1 204 No Content\r\n\r\n"), LONG).0, Outcome::Ok);
}

#[test]
fn another_status_is_told_as_such() {
    let (end, _) = on_a_thread(one(says("HTTP/1.1 302 x\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n"), LONG));
    assert_eq!((end.outcome, end.status, end.location.as_deref()), (Outcome::Status, Some(302), Some("/there")));
    assert_eq!(outcome(says("HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n"), LONG).0, Outcome::Status);
}

#[test]
fn nobody_listens() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert_eq!(outcome(address, LONG), (Outcome::Refused, None, false));
}

#[test]
fn taken_by_the_kernel_and_never_served_is_a_black_hole() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    assert_eq!(outcome(listener.local_addr().unwrap(), SHORT), (Outcome::BlackHole, None, false));
}

#[test]
fn closed_or_reset_before_an_answer() {
    let closes = server(|mut stream, _| read_head(&mut stream));
    assert_eq!(outcome(closes, LONG), (Outcome::Reset, None, false));
    let resets = server(|mut stream, _| {
        read_head(&mut stream);
        reset(stream);
    });
    assert_eq!(outcome(resets, LONG), (Outcome::Reset, None, false));
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
        let Ok(connection) = Connection::open(&route(address), deadline).await else { panic!("it is taken") };
        begun.send(()).unwrap();
        match connection.send(&target(address), deadline).await {
            Tried::Over(end, _) => end.outcome,
            Tried::WasClosed => panic!("it is new"),
        }
    });
    assert_eq!(end, Outcome::Reset);
}

#[test]
fn cut_off_in_the_middle_of_the_answer() {
    for cut in ["HTTP/1.1 200 OK\r\nContent-Len", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart"] {
        assert_eq!(outcome(says(cut), LONG).0, Outcome::Truncated, "{cut:?}");
    }
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n";
    assert_eq!(outcome(says(chunks), LONG), (Outcome::Truncated, Some(200), false));
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
        assert_eq!(end, Outcome::ResetInAnswer, "{part:?}");
    }
}

#[test]
fn an_answer_that_does_not_end_is_a_timeout() {
    let address = server(|mut stream, _| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart").unwrap();
        _ = stream.read(&mut [0]);
    });
    assert_eq!(outcome(address, SHORT), (Outcome::Timeout, Some(200), false));
}

#[test]
fn what_is_no_http_is_broken() {
    for nonsense in ["SSH-2.0-OpenSSH_9.2\r\n\r\n", "HTTP/1.1 abc\r\n\r\n"] {
        assert_eq!(outcome(says(nonsense), LONG).0, Outcome::Broken, "{nonsense:?}");
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
        assert_eq!(end.outcome, Outcome::Ok);
        let connection = connection.expect("kept");
        while connection.is_open() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let again = connection.send(&target(address), Instant::now() + LONG).await;
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
        let Tried::Over(end, None) = connection.send(&target(address), Instant::now() + SHORT).await else {
            panic!("it is open")
        };
        assert_eq!(end.outcome, Outcome::Timeout);
    });
}

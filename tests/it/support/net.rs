//! Ports and single HTTP requests.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Below the kernel's ephemeral ports (32768 and up), so that no client's connection of this or another test
/// takes a port between the moment it is found free and the moment the server binds it.
const PORTS: std::ops::Range<u32> = 10_240..32_000;

/// A TCP port of the loopback that nobody listens on. No two calls in one process get the same one.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let span = PORTS.end - PORTS.start;
    // Test binaries of other checkouts may run beside this one: each begins somewhere else.
    let first = std::process::id().wrapping_mul(7919) % span;
    for _ in 0..span {
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = (PORTS.start + (first + nth) % span) as u16;
        if TcpListener::bind(address(port)).is_ok() {
            return port;
        }
    }
    panic!("no free port in {PORTS:?}");
}

/// The loopback address with this port.
pub(crate) fn address(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// One GET on a connection of its own: status, head and body as text.
pub(crate) fn get(port: u16, path: &str, timeout: Duration) -> std::io::Result<(u16, String, String)> {
    let mut stream = TcpStream::connect_timeout(&address(port), timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    // In one piece: of several small ones each waits until the one before is acknowledged, up to 40 ms.
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other(format!("no status line in {head:?}")))?;
    Ok((status, head.to_owned(), body.to_owned()))
}

/// One GET that asks for JSON.
#[track_caller]
pub(crate) fn get_json(port: u16, path: &str) -> serde_json::Value {
    let request = format!("{path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\nX-Rest:");
    let (_, _, body) = get(port, &request, super::DEADLINE).expect("an answer");
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error} in {body:?}"))
}

/// Asks again and again until the path answers 200..=399.
#[track_caller]
pub(crate) fn wait_http(port: u16, path: &str, deadline: Duration) {
    let end = Instant::now() + deadline;
    loop {
        let last = get(port, path, Duration::from_secs(2));
        if matches!(last, Ok((200..=399, ..))) {
            return;
        }
        assert!(Instant::now() < end, "http://127.0.0.1:{port}{path} not ready in {deadline:?}; last: {last:?}");
        std::thread::sleep(Duration::from_millis(20)); // A listener that opens gives no sign: ask again.
    }
}

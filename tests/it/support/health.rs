//! What the probe server's answers say, and dependencies that behave as a test wants.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use serde_json::Value;

use super::{DEADLINE, address, get, get_json};

/// A header's value in the head of an answer, whatever the case of its name.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// A check in the JSON of /readyz.
#[track_caller]
pub(crate) fn check(port: u16, name: &str) -> Value {
    let page = get_json(port, "/readyz");
    let checks = page["checks"].as_array().expect("checks is a list");
    let found = checks.iter().find(|check| check["name"] == name);
    found.unwrap_or_else(|| panic!("no check {name} in {page:#}")).clone()
}

/// What a check says: healthy, degraded, unhealthy, or unknown before its first result.
#[track_caller]
pub(crate) fn check_status(port: u16, name: &str) -> String {
    check(port, name)["status"].as_str().expect("a word").to_owned()
}

/// The page of metrics.
#[track_caller]
pub(crate) fn metrics(port: u16) -> String {
    let (status, _, page) = get(port, "/metrics", DEADLINE).expect("an answer");
    assert_eq!(status, 200, "{page}");
    page
}

/// The value of a series, as `graceful_check_status{check="db"}`, on a page of metrics.
pub(crate) fn value(page: &str, series: &str) -> Option<f64> {
    let mut values = page.lines().filter_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    values.next()?.split(' ').next()?.parse().ok()
}

/// A server on the loopback that counts its connections. Dropped, it no longer listens.
pub(crate) struct Dependency {
    port: u16,
    connections: Arc<AtomicUsize>,
    listener: TcpListener,
    thread: Option<JoinHandle<()>>,
}

impl Dependency {
    /// Reads something and answers "+PONG", as Redis does.
    pub(crate) fn answering(port: u16) -> Dependency {
        Dependency::start(port, |mut stream| {
            let _ = stream.set_read_timeout(Some(DEADLINE));
            let _ = stream.read(&mut [0; 512]).and_then(|_| stream.write_all(b"+PONG\r\n"));
            None
        })
    }

    /// Accepts, and never says anything.
    pub(crate) fn silent(port: u16) -> Dependency {
        Dependency::start(port, Some)
    }

    /// What `serve` gives back stays open as long as this does.
    fn start(port: u16, serve: impl Fn(TcpStream) -> Option<TcpStream> + Send + 'static) -> Dependency {
        let listener = TcpListener::bind(address(port)).unwrap_or_else(|error| panic!("port {port}: {error}"));
        let connections = Arc::new(AtomicUsize::new(0));
        let thread = std::thread::spawn({
            let (listener, connections) = (listener.try_clone().expect("a descriptor"), Arc::clone(&connections));
            move || {
                let mut open = Vec::new();
                while let Ok((stream, _)) = listener.accept() {
                    connections.fetch_add(1, Ordering::SeqCst);
                    open.extend(serve(stream));
                }
            }
        });
        Dependency { port, connections, listener, thread: Some(thread) }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// How many were accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Dependency {
    fn drop(&mut self) {
        // Not close(2) alone: the accept(2) under way would keep the listener.
        let _ = nix::sys::socket::shutdown(self.listener.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

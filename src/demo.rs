//! The app that ships with graceful: a small web server that stops well. Something to wrap on a machine that has nothing
//! else, `graceful -- /proc/self/exe demo-app`.
//!
//! `/` answers at once, `/slow` after two seconds, `/ready` at once too. On SIGTERM or
//! SIGINT it takes no new connection, finishes the requests that it has, and exits 0.

use crate::signal::Signal;
use crate::status;
use crate::sys::{fds, signals};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

/// How long `/slow` takes.
const SLOW: Duration = Duration::from_secs(2);
/// A client that says nothing for this long is let go.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves until a stop signal; every signal must be blocked. Returns the exit code.
pub fn run(address: SocketAddr) -> u8 {
    match serve(address) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("demo-app: cannot listen on {address}: {error}");
            status::FAILURE
        }
    }
}

fn serve(address: SocketAddr) -> std::io::Result<()> {
    let listener = TcpListener::bind(address)?;
    let signal_fd = signals::notifier()?;
    say(&format!("demo-app: serving http://{}/ (also /slow and /ready)", listener.local_addr()?));
    let mut requests = Vec::new();
    loop {
        let woken = fds::poll(&[signal_fd.as_raw_fd(), listener.as_raw_fd()], None);
        if woken.first() == Some(&true)
            && let Some(received) = signals::wait(Some(Duration::ZERO))
            && matches!(received.signal, Signal::TERM | Signal::INT)
        {
            break;
        }
        if woken.get(1) == Some(&true) {
            // A client that was gone before it was accepted is no reason to end.
            if let Ok((stream, _)) = listener.accept() {
                requests.push(thread::spawn(move || answer(stream)));
            }
            requests.retain(|request| !request.is_finished());
        }
    }
    drop(listener);
    let in_flight = requests.iter().filter(|request| !request.is_finished()).count();
    say(&format!("demo-app: stopping, {in_flight} in flight"));
    for request in requests {
        _ = request.join();
    }
    say("demo-app: done");
    Ok(())
}

/// Standard output may be full or closed; the app serves on.
fn say(line: &str) {
    _ = writeln!(std::io::stdout(), "{line}");
}

/// One request, one answer; a client that goes away is its own business.
fn answer(stream: TcpStream) -> Option<()> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut lines = BufReader::new(&stream).lines();
    let request = lines.next()?.ok()?;
    lines.find(|line| line.as_ref().map_or(true, String::is_empty))?.ok()?;
    let (status, body) = match request.split(' ').nth(1)? {
        "/" => ("200 OK", "hello\n"),
        "/slow" => {
            thread::sleep(SLOW);
            ("200 OK", "slow, but done\n")
        }
        "/ready" => ("200 OK", "ready\n"),
        _ => ("404 Not Found", "nothing here\n"),
    };
    let length = body.len();
    let mut stream = &stream;
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").ok()
}

//! `graceful probe`: one question, one line, for HEALTHCHECK and exec probes in images without curl.
//!
//! ```text
//!   URL, port ─────────────────────────► http
//!   livez, readyz, startupz ─► discover ─► self_probe ─► http   (the graceful running here)
//! ```
//!
//! - A URL is asked by the client that polls readiness, a port by its `connect`.
//! - [`discover`] finds where the running graceful listens; `self_probe` asks it, over a Unix socket too.
//!
//! Invariants: it ends within its timeout, whatever is asked and whatever has to be read to find out whom to ask; what
//! a server says reaches the terminal without control characters.

pub mod discover;

mod self_probe;

use crate::config::Listen;
use crate::health::Probe;
use crate::http::client::name;
use crate::http::observation::Deadline;
use crate::http::resolver::Names;
use crate::http::{Client, Observation, RequestResult, connect};
use crate::secret::Url;
use self_probe::SelfAnswer;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Whether the probe succeeded, and one line that says why, without a line end.
pub type ProbeOutcome = (bool, String);

/// Makes one readiness probe of a URL.
pub fn http(url: &Url, timeout: Duration) -> ProbeOutcome {
    match block_on(async { Client::new().get(url, timeout).await }) {
        Ok(observation) => (observation.verdict.is_ready(), line(url, &observation)),
        Err(error) => (false, format!("{url}: {}", no_client(&error))),
    }
}

/// Connects to a port and closes the connection.
pub fn tcp(host: &str, port: u16, timeout: Duration) -> ProbeOutcome {
    let start = Instant::now();
    let deadline = Deadline::after(timeout);
    let names = Names::of_the_system();
    let (ok, what) = match block_on(connect::to_host(&names, host, port, deadline)) {
        Ok(Ok(_stream)) => (true, format!("connected in {}", milliseconds(start.elapsed()))),
        Ok(Err(fault)) => (false, fault.detail),
        Err(error) => (false, no_client(&error)),
    };
    (ok, format!("tcp://{host}:{port}: {what}"))
}

/// Asks the graceful that listens at `at`, or where `find` says. A failure to find it is passed on.
pub fn own<E: Send + 'static>(
    probe: Probe,
    at: Option<Listen>,
    find: fn() -> Result<Listen, E>,
    timeout: Duration,
) -> Result<ProbeOutcome, E> {
    let deadline = Deadline::after(timeout);
    let word = probe.name().trim_end_matches('z');
    let listen = match at {
        Some(listen) => listen,
        None => match in_time(find, timeout) {
            Some(found) => found?,
            None => return Ok((false, format!("{word}: no address was found within {}", deadline.shown()))),
        },
    };
    if matches!(&listen, Listen::Tcp(address) if address.port() == 0) {
        return Ok((false, format!("{word}: {listen}: {PORT_ZERO}")));
    }
    let start = Instant::now();
    let asked = block_on(self_probe::ask(&listen, &format!("/{}", probe.name()), deadline));
    let (ok, what) = match asked {
        Ok(Ok(answer)) if answer.is_ready() => {
            (true, format!("{} in {}", name(answer.status), milliseconds(start.elapsed())))
        }
        Ok(Ok(answer)) => (false, refusal(&answer)),
        Ok(Err(fault)) => (false, format!("{}: {}", asked_at(&listen), fault.detail)),
        Err(error) => (false, no_client(&error)),
    };
    // Neither a server nor a path gets to write to the terminal.
    Ok((ok, format!("{word}: {what}").replace(char::is_control, "")))
}

/// Why port 0 is not an address to ask.
pub const PORT_ZERO: &str = "port 0 lets the kernel choose, so that nobody knows where to ask; expected a fixed port";

/// Runs it to its end on this thread. An error means that there can be no client.
fn block_on<T>(future: impl Future<Output = T>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map(|runtime| runtime.block_on(future))
}

fn no_client(error: &io::Error) -> String {
    format!("cannot start the client: {error}")
}

/// What `find` says, if it does so within the limit. It reads files, and a file can be a pipe without a writer or on
/// a server that is gone: such a read cannot be interrupted, only left behind.
fn in_time<T: Send + 'static>(find: fn() -> T, limit: Duration) -> Option<T> {
    let (sender, receiver) = mpsc::channel();
    let search = thread::Builder::new().spawn(move || {
        // Nobody may be waiting any more.
        let _ = sender.send(find());
    });
    match search {
        Ok(_) => receiver.recv_timeout(limit).ok(),
        // No more threads here (pids.max): the answer may still come in time.
        Err(_) => Some(find()),
    }
}

fn line(url: &Url, observation: &Observation) -> String {
    let detail = &observation.detail;
    match observation.verdict {
        RequestResult::Ready => format!("{url}: {detail} in {}", milliseconds(observation.took)),
        RequestResult::Warning => format!("{url}: warning: {detail}"),
        RequestResult::NotReady => format!("{url}: {detail}"),
    }
}

fn refusal(answer: &SelfAnswer) -> String {
    match answer.failures.as_slice() {
        [] => name(answer.status),
        failures => format!("{}: {}", name(answer.status), failures.join("; ")),
    }
}

/// The address that was asked, where it is not the one that was given.
fn asked_at(listen: &Listen) -> String {
    match listen {
        Listen::Tcp(address) => self_probe::reachable(*address).first().map(SocketAddr::to_string).unwrap_or_default(),
        Listen::Unix(_) => listen.to_string(),
    }
}

fn milliseconds(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1000.0)
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;

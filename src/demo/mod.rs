//! The app that ships with graceful: a small web server that stops well, or badly in one way that can be chosen.
//! Something to wrap, or to try a drill on, on a machine that has nothing else: `graceful -- /proc/self/exe demo-app`.
//!
//! `/` answers at once, `/slow` after a while, `/stream` bit by bit, `/ready` says whether requests are welcome. On
//! SIGTERM or SIGINT it does what a good server does: not ready from that moment on; what waits in the backlog is
//! accepted and the listener closed; requests in flight are finished and answered with `Connection: close`, streams end
//! with their last chunk, idle connections are closed; exit 0. A [`Fault`] leaves one of these out.
//!
//! ```text
//!   server       the main thread: takes the stop signal, accepts, waits for the end
//!   └ connection   a thread each: reads requests, answers, until either side has had enough
//!     └ request      pure: from bytes to what is asked
//!   app          what these threads share
//! ```
//!
//! Threads and blocking calls, so that the app shares no code with what graceful watches it with.

mod app;
mod connection;
mod fault;
mod request;
mod server;

pub use fault::Fault;

use crate::signal::Signal;
use crate::status;
use crate::sys::{fds, signals};
use std::io::{self, Write};
use std::net::SocketAddr;

/// How graceful starts it: itself, with the name of the subcommand.
pub const COMMAND: [&str; 2] = ["/proc/self/exe", "demo-app"];

/// Serves until a stop signal; every signal must be blocked. Returns the exit code.
pub fn run(address: SocketAddr, fault: Option<Fault>) -> u8 {
    // A connection must not get the number of a standard stream that was closed, and be sent what is said there.
    fds::fill_standard_streams();
    if let Err(problem) = server::serve(address, fault) {
        // Not with eprintln!, which panics where nobody reads.
        _ = writeln!(io::stderr(), "demo-app: {problem}");
        return status::FAILURE;
    }
    if fault == Some(Fault::Exits143) {
        signals::end_by(Signal::TERM);
        // As PID 1, which such a signal does not end: what a shell would have shown.
        return status::ExitStatus::Signaled(Signal::TERM).code();
    }
    0
}

//! The app that ships with graceful: a small web server that stops well, or with one fault of those that are common.
//! Something to wrap on a machine that has nothing else, `graceful -- /proc/self/exe demo-app`, and what
//! `graceful drill --demo` drills.
//!
//! `/` answers at once, `/slow` after 1.5 seconds, `/stream` with a piece every 100 ms for five (`?ms=N` says otherwise),
//! `/ready` at once, with 503 from the stop signal on. Connections are kept.
//!
//! On SIGTERM or SIGINT it takes what waits in its backlog, takes nothing more, finishes the requests that it has, says
//! `Connection: close`, and exits 0.

mod exchange;
mod fault;

pub use fault::Fault;

use crate::signal::Signal;
use crate::status;
use crate::sys::signals::{self, Inherited};
use crate::sys::{fds, process};
use exchange::Exchange;
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// So many connections at once; the next waits in the backlog. A thread each is plain, and enough for a demo.
const MOST_CONNECTIONS: usize = 1024;
/// From one look at the open connections to the next, while the app stops.
const TICK: Duration = Duration::from_millis(10);
/// The child that the fault of this name leaves lives so long, if nobody ends it.
const CHILD_LIVES: &str = "120s";

/// What the threads share.
#[derive(Default)]
struct Shared {
    stopping: AtomicBool,
    connections: AtomicUsize,
}

/// Serves until a stop signal; every signal must be blocked. Returns the exit code.
pub fn run(address: SocketAddr, fault: Option<Fault>, inherited: Inherited) -> u8 {
    match serve(address, fault, inherited) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("demo-app: cannot listen on {address}: {error}");
            status::FAILURE
        }
    }
}

fn serve(address: SocketAddr, fault: Option<Fault>, inherited: Inherited) -> std::io::Result<u8> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let signal_fd = signals::notifier()?;
    let shared = Arc::new(Shared::default());
    let at = listener.local_addr()?;
    match fault {
        None => say(&format!("demo-app: serving http://{at}/ (also /slow, /stream and /ready)")),
        Some(fault) => say(&format!("demo-app: serving http://{at}/ with a fault: {fault}")),
    }
    if fault == Some(Fault::NoHandler) {
        // Signals act on this process as on any other.
        inherited.restore();
    }
    let wait_for = [signal_fd.as_raw_fd(), listener.as_raw_fd()];
    loop {
        let full = shared.connections.load(Ordering::Relaxed) >= MOST_CONNECTIONS;
        let waited = if full { &wait_for[..1] } else { &wait_for[..] };
        let woken = fds::poll(waited, full.then_some(TICK));
        if woken.first() == Some(&true)
            && let Some(received) = signals::wait(Some(Duration::ZERO))
            && matches!(received.signal, Signal::TERM | Signal::INT)
        {
            match fault {
                Some(Fault::Hangs) => say("demo-app: SIGTERM, and nothing is done about it"),
                Some(Fault::ExitsAtOnce) => return Ok(0),
                _ => break,
            }
        }
        if woken.get(1) == Some(&true) {
            take(&listener, &shared, fault);
        }
    }
    if fault != Some(Fault::KeepsReady) {
        shared.stopping.store(true, Ordering::SeqCst);
    }
    // What has connected before the listener closes is to be served; closing it resets the rest.
    if fault != Some(Fault::LosesBacklog) {
        while take(&listener, &shared, fault) {}
    }
    drop(listener);
    shared.stopping.store(true, Ordering::SeqCst);
    say(&format!("demo-app: stopping, {} connections", shared.connections.load(Ordering::SeqCst)));
    while shared.connections.load(Ordering::SeqCst) > 0 {
        thread::sleep(TICK);
    }
    Ok(end(fault, inherited))
}

fn end(fault: Option<Fault>, inherited: Inherited) -> u8 {
    match fault {
        Some(Fault::LeavesChild) => leave_child(inherited),
        Some(Fault::Exits143) => {
            say("demo-app: done, by SIGTERM");
            inherited.restore();
            _ = process::signal_child(crate::sys::getpid(), Signal::TERM, None);
            thread::sleep(Duration::from_secs(1));
        }
        _ => {}
    }
    say("demo-app: done");
    0
}

/// One connection, if one waits.
fn take(listener: &TcpListener, shared: &Arc<Shared>, fault: Option<Fault>) -> bool {
    let stream = match listener.accept() {
        Ok((stream, _)) => stream,
        // A client that was gone before it was accepted is no reason to end.
        Err(error) => return error.kind() == ErrorKind::ConnectionAborted,
    };
    shared.connections.fetch_add(1, Ordering::SeqCst);
    let theirs = shared.clone();
    let serve = move || {
        _ = stream.set_nonblocking(false);
        let keeps = fault != Some(Fault::LosesBacklog);
        _ = Exchange::new(&stream, &theirs.stopping, keeps).serve();
        theirs.connections.fetch_sub(1, Ordering::SeqCst);
    };
    if fault == Some(Fault::LosesBacklog) {
        // One at a time, as a server with a single worker.
        serve();
    } else if thread::Builder::new().spawn(serve).is_err() {
        shared.connections.fetch_sub(1, Ordering::SeqCst);
    }
    true
}

/// A process that outlives the app.
fn leave_child(inherited: Inherited) {
    let argv =
        [c"/proc/self/exe".to_owned(), c"sleep".to_owned(), std::ffi::CString::new(CHILD_LIVES).unwrap_or_default()];
    let command = crate::sys::spawn::Command {
        argv: &argv,
        env: None,
        inherited,
        output: None,
        dir: None,
        own_group: true,
        parent_death_signal: None,
    };
    if let Ok(pid) = crate::sys::spawn::spawn(&command) {
        say(&format!("demo-app: leaves pid {pid} behind"));
    }
}

/// Standard output may be full or closed; the app serves on.
fn say(line: &str) {
    _ = writeln!(std::io::stdout(), "{line}");
}

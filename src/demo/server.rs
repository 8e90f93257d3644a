//! The app as a whole: it listens, accepts, and stops, well or with its fault.

use super::Fault;
use super::app::{ConnectionGuard, DemoState};
use super::connection;
use crate::pid::Pid;
use crate::signal::{Signal, SignalSet};
use crate::sys::signals::{self, Inherited};
use crate::sys::{self, fds, spawn};
use socket2::{SockFilter, SockRef};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Bytes that a connection's thread needs: two buffers of 8 KiB, and what formatting takes.
const STACK: usize = 128 * 1024;
/// How many connections are accepted in one go before signals are looked at again.
const AT_ONCE: usize = 64;
/// How long nothing is accepted when there is no descriptor or no memory for another connection.
const PAUSE: Duration = Duration::from_millis(50);

/// Why the app cannot serve.
#[derive(Debug, thiserror::Error)]
pub(super) enum DemoError {
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    #[error("cannot wait for connections: {0}")]
    Wait(io::Error),
    #[error("cannot wait for signals: {0}")]
    Signals(io::Error),
    #[error("cannot start its child: {0}")]
    Child(spawn::Error),
}

/// Serves until the stop is over. What it says for itself goes to standard output.
pub(super) fn serve(address: SocketAddr, fault: Option<Fault>) -> Result<(), DemoError> {
    let listener = listen(address).map_err(|error| DemoError::Listen(address, error))?;
    let address = listener.local_addr().unwrap_or(address);
    let app = DemoState::new(fault).map(Arc::new).map_err(DemoError::Wait)?;
    let signals = signals::notifier().map_err(DemoError::Signals)?;
    let child = if fault == Some(Fault::LeavesChild) { Some(start_child().map_err(DemoError::Child)?) } else { None };
    if fault == Some(Fault::NoHandler) {
        // All but SIGPIPE, which would end the app because of somebody who no longer reads what it says.
        let all = Signal::all().filter(|signal| *signal != Signal::PIPE);
        signals::act_by_default(all.fold(SignalSet::EMPTY, SignalSet::with));
    }
    let shown = fault.map(|fault| format!("; its fault: {fault}")).unwrap_or_default();
    say(&format!("serving http://{address}/ (also /slow, /stream and /ready){shown}"));
    if let Some(pid) = child {
        say(&format!("started a child, pid {pid}"));
    }
    accept_until_stop(&listener, &app, &signals);
    app.begin_stop();
    say(&format!("stopping, {} in flight", app.requests()));
    if fault != Some(Fault::LosesBacklog) {
        take_backlog(&listener, &app);
        drop(listener);
        app.wait_for_connections();
    } else {
        app.wait_for_connections();
        drop(listener);
    }
    say("done");
    Ok(())
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Accepts connections; returns when the app is to stop.
fn accept_until_stop(listener: &TcpListener, app: &Arc<DemoState>, signals: &OwnedFd) {
    let mut pause = None;
    loop {
        let mut watched = vec![signals.as_fd(), app.left.as_fd()];
        if pause.is_none() && !app.is_full() {
            watched.push(listener.as_fd());
        }
        let woken = fds::poll(&watched, pause.take());
        if woken.first() == Some(&true)
            && let Some(received) = signals::wait(Some(Duration::ZERO))
            && matches!(received.signal, Signal::TERM | Signal::INT)
        {
            match app.fault {
                Some(Fault::ExitsAtOnce) => sys::exit(0),
                Some(Fault::Hangs) => say(&format!("{}: nothing is done about it", received.signal)),
                _ => return,
            }
        }
        if woken.get(1) == Some(&true) {
            app.left.reset();
        }
        if woken.get(2) == Some(&true) {
            for _ in 0..AT_ONCE {
                match accept(listener, app) {
                    Accepted::One if !app.is_full() => {}
                    Accepted::One | Accepted::Nobody => break,
                    Accepted::NoRoom => {
                        pause = Some(PAUSE);
                        break;
                    }
                }
            }
        }
    }
}

/// Takes everybody who is connected already, even beyond the limit: the backlog has a limit of its own.
fn take_backlog(listener: &TcpListener, app: &Arc<DemoState>) {
    refuse_connections(listener);
    while matches!(accept(listener, app), Accepted::One) {}
}

/// A connection that is made between the last accept(2) and close(2) would be reset. So the first packet of each (SYN
/// without ACK in the 14th byte of TCP's header) is dropped from here on; the client sends it again, and is refused
/// then. Where the kernel has no such filter, that moment is short.
fn refuse_connections(listener: &TcpListener) {
    let code = |code: u32| code as u16;
    let statement = |operation: u32, value: u32| SockFilter::new(code(operation), 0, 0, value);
    let filter = [
        statement(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 13),
        statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0x12),
        SockFilter::new(code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K), 0, 1, 0x02),
        statement(libc::BPF_RET | libc::BPF_K, 0),
        statement(libc::BPF_RET | libc::BPF_K, u32::MAX),
    ];
    _ = SockRef::from(listener).attach_filter(&filter);
}

enum Accepted {
    One,
    /// Nobody is waiting.
    Nobody,
    /// Somebody is, but there is no descriptor or no memory.
    NoRoom,
}

fn accept(listener: &TcpListener, app: &Arc<DemoState>) -> Accepted {
    match listener.accept() {
        Ok((stream, _)) => {
            begin(stream, app);
            Accepted::One
        }
        // Gone before it was accepted: the next one.
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => Accepted::One,
        Err(error) if error.kind() == ErrorKind::WouldBlock => Accepted::Nobody,
        Err(_) => Accepted::NoRoom,
    }
}

fn begin(stream: TcpStream, app: &Arc<DemoState>) {
    let guard = ConnectionGuard::take(app);
    // The stream is closed before it is counted as gone. Without a thread both end here.
    let serve = move || {
        let guard = guard;
        connection::serve(stream, &guard.0);
    };
    _ = thread::Builder::new().stack_size(STACK).spawn(serve);
}

/// Starts the child that stays: in a group of its own and with nothing ignored or blocked, so that any signal that
/// somebody sends it ends it. It holds none of the app's pipes.
fn start_child() -> Result<Pid, spawn::Error> {
    signals::set_default(SignalSet::ALL);
    let nothing = File::options().read(true).write(true).open("/dev/null").ok();
    let argv = [c"/proc/self/exe", c"sleep", c"600s"].map(ToOwned::to_owned);
    let command = spawn::SpawnSpec {
        argv: &argv,
        env: None,
        added: &[],
        inherited: Inherited { mask: SignalSet::EMPTY, chld_ignored: false, blocked: true },
        output: nothing.as_ref().map(AsFd::as_fd),
        errors: None,
        dir: None,
        own_group: true,
        parent_death_signal: None,
        sockets: None,
    };
    spawn::spawn(&command)
}

/// Standard output may be full or closed; the app serves on.
#[allow(clippy::disallowed_methods, reason = "the demo is an app")]
fn say(line: &str) {
    fds::write_if_room(io::stdout(), format!("demo-app: {line}\n").as_bytes());
}

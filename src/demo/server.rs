//! The app as a whole: it listens, accepts, and stops, well or with its fault.

use super::Fault;
use super::connection;
use crate::signal::{Signal, SignalSet};
use crate::sys::signals::{self, Inherited};
use crate::sys::{self, fds, spawn};
use socket2::{SockFilter, SockRef};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

/// Connections at once, a thread each: a demo that is flooded must not take the machine with it, and a limit of 1024
/// descriptors is what processes usually have. More of them wait in the backlog.
const MOST_CONNECTIONS: usize = 1024;
/// Descriptors that are no connections.
const OTHER_DESCRIPTORS: i32 = 16;
/// What a connection's thread needs: two buffers of 8 KiB, and what formatting takes.
const STACK: usize = 128 * 1024;
/// Accepted in one go before signals are looked at again.
const AT_ONCE: usize = 64;
/// No descriptor or no memory for another connection: this long nothing is accepted.
const PAUSE: Duration = Duration::from_millis(50);

/// What all threads share.
pub(super) struct App {
    fault: Option<Fault>,
    most: usize,
    stopping: AtomicBool,
    /// Readable from the stop on, for whoever polls.
    stop: fds::Waker,
    connections: AtomicUsize,
    /// For the main thread: a connection that it waits for has ended.
    left: fds::Waker,
    requests: AtomicUsize,
}

impl App {
    fn new(fault: Option<Fault>) -> io::Result<App> {
        let most = usize::try_from(fds::limit() - OTHER_DESCRIPTORS).unwrap_or(0).clamp(1, MOST_CONNECTIONS);
        Ok(App {
            fault,
            most: if fault == Some(Fault::LosesBacklog) { 1 } else { most },
            stopping: AtomicBool::new(false),
            stop: fds::Waker::new()?,
            connections: AtomicUsize::new(0),
            left: fds::Waker::new()?,
            requests: AtomicUsize::new(0),
        })
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(SeqCst)
    }

    pub(super) fn stop_fd(&self) -> RawFd {
        self.stop.as_fd().as_raw_fd()
    }

    pub(super) fn is_ready(&self) -> bool {
        !self.is_stopping() || self.fault == Some(Fault::KeepsReady)
    }

    /// With one connection at a time, a client that keeps it would shut all others out.
    pub(super) fn keeps_alive(&self) -> bool {
        self.fault != Some(Fault::LosesBacklog)
    }

    /// Counts a request as long as the value lives.
    pub(super) fn in_flight(&self) -> InFlight<'_> {
        self.requests.fetch_add(1, SeqCst);
        InFlight(self)
    }

    fn begin_stop(&self) {
        self.stopping.store(true, SeqCst);
        self.stop.wake();
    }

    fn is_full(&self) -> bool {
        self.connections.load(SeqCst) >= self.most
    }

    fn wait_for_connections(&self) {
        while self.connections.load(SeqCst) > 0 {
            fds::poll(&[self.left.as_fd().as_raw_fd()], None);
            self.left.reset();
        }
    }
}

/// A request in flight.
pub(super) struct InFlight<'a>(&'a App);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, SeqCst);
    }
}

/// A connection, counted until it is closed.
struct Seat(Arc<App>);

impl Seat {
    fn take(app: &Arc<App>) -> Seat {
        app.connections.fetch_add(1, SeqCst);
        Seat(Arc::clone(app))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let before = self.0.connections.fetch_sub(1, SeqCst);
        if before >= self.0.most || self.0.is_stopping() {
            self.0.left.wake();
        }
    }
}

/// Serves until the stop is over. What it says for itself goes to standard output.
pub(super) fn serve(address: SocketAddr, fault: Option<Fault>) -> Result<(), String> {
    let failed = |what: String| move |error: io::Error| format!("{what}: {error}");
    let listener = listen(address).map_err(failed(format!("cannot listen on {address}")))?;
    let address = listener.local_addr().unwrap_or(address);
    let app = App::new(fault).map(Arc::new).map_err(failed("cannot wait for connections".to_owned()))?;
    let signals = signals::notifier().map_err(failed("cannot wait for signals".to_owned()))?;
    let child = if fault == Some(Fault::LeavesChild) { Some(start_child()?) } else { None };
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
    say(&format!("stopping, {} in flight", app.requests.load(SeqCst)));
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

/// Returns when the app is to stop.
fn accept_until_stop(listener: &TcpListener, app: &Arc<App>, signals: &OwnedFd) {
    let mut pause = None;
    loop {
        let mut watched = vec![signals.as_raw_fd(), app.left.as_fd().as_raw_fd()];
        if pause.is_none() && !app.is_full() {
            watched.push(listener.as_raw_fd());
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

/// Takes everybody who is connected already, beyond the limit too: the backlog has a limit of its own.
fn take_backlog(listener: &TcpListener, app: &Arc<App>) {
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

fn accept(listener: &TcpListener, app: &Arc<App>) -> Accepted {
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

fn begin(stream: TcpStream, app: &Arc<App>) {
    let seat = Seat::take(app);
    // The stream is closed before the seat is free. Without a thread both end here.
    let serve = move || {
        let seat = seat;
        connection::serve(stream, &seat.0);
    };
    _ = thread::Builder::new().stack_size(STACK).spawn(serve);
}

/// Starts the child that stays: in a group of its own and with nothing ignored or blocked, so that it ends by any signal
/// that somebody sends it. It holds none of the app's pipes.
fn start_child() -> Result<i32, String> {
    signals::set_default(SignalSet::ALL);
    let nothing = File::options().read(true).write(true).open("/dev/null").ok();
    let argv = [c"/proc/self/exe", c"sleep", c"600s"].map(ToOwned::to_owned);
    let command = spawn::Command {
        argv: &argv,
        env: None,
        inherited: Inherited { mask: SignalSet::EMPTY, chld_ignored: false, blocked: true },
        output: nothing.as_ref().map(AsRawFd::as_raw_fd),
        dir: None,
        own_group: true,
        parent_death_signal: None,
    };
    spawn::spawn(&command).map_err(|error| match error {
        spawn::Error::Fork(error) | spawn::Error::Exec(error) => format!("cannot start its child: {error}"),
        spawn::Error::Format(_, format) => format!("cannot start its child: {}", format.why()),
    })
}

/// Standard output may be full or closed; the app serves on.
fn say(line: &str) {
    fds::write_if_room(libc::STDOUT_FILENO, format!("demo-app: {line}\n").as_bytes());
}

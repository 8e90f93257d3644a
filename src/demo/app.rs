//! What all threads of the demo app share: its fault, whether it stops, and how many connections and requests there
//! are.

use super::Fault;
use crate::sys::fds;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

/// Connections at once, a thread each: a demo that is flooded must not take the machine down with it, and a limit of
/// 1024 descriptors is what processes usually have. More of them wait in the backlog.
const MOST_CONNECTIONS: usize = 1024;
/// Descriptors that are not connections.
const OTHER_DESCRIPTORS: i32 = 16;

/// What all threads share.
pub(super) struct DemoState {
    pub(super) fault: Option<Fault>,
    most: usize,
    stopping: AtomicBool,
    /// Readable from the stop on, for whoever polls.
    stop: fds::Waker,
    connections: AtomicUsize,
    /// Wakes the main thread when a connection that it waits for has ended.
    pub(super) left: fds::Waker,
    requests: AtomicUsize,
}

impl DemoState {
    pub(super) fn new(fault: Option<Fault>) -> io::Result<DemoState> {
        let most = usize::try_from(fds::limit() - OTHER_DESCRIPTORS).unwrap_or(0).clamp(1, MOST_CONNECTIONS);
        Ok(DemoState {
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

    pub(super) fn stop_fd(&self) -> BorrowedFd<'_> {
        self.stop.as_fd()
    }

    pub(super) fn is_ready(&self) -> bool {
        !self.is_stopping() || self.fault == Some(Fault::KeepsReady)
    }

    /// With one connection at a time, a client that keeps it would shut all others out.
    pub(super) fn keeps_alive(&self) -> bool {
        self.fault != Some(Fault::LosesBacklog)
    }

    /// Counts a request as long as the value lives.
    pub(super) fn count_request(&self) -> RequestGuard<'_> {
        self.requests.fetch_add(1, SeqCst);
        RequestGuard(self)
    }

    /// How many requests are in flight.
    pub(super) fn requests(&self) -> usize {
        self.requests.load(SeqCst)
    }

    pub(super) fn begin_stop(&self) {
        self.stopping.store(true, SeqCst);
        self.stop.wake();
    }

    pub(super) fn is_full(&self) -> bool {
        self.connections.load(SeqCst) >= self.most
    }

    pub(super) fn wait_for_connections(&self) {
        while self.connections.load(SeqCst) > 0 {
            fds::poll(&[self.left.as_fd()], None);
            self.left.reset();
        }
    }
}

/// A request in flight, counted as long as this lives.
pub(super) struct RequestGuard<'a>(&'a DemoState);

impl Drop for RequestGuard<'_> {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, SeqCst);
    }
}

/// A connection, counted until it is closed.
pub(super) struct ConnectionGuard(pub(super) Arc<DemoState>);

impl ConnectionGuard {
    pub(super) fn take(app: &Arc<DemoState>) -> ConnectionGuard {
        app.connections.fetch_add(1, SeqCst);
        ConnectionGuard(Arc::clone(app))
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        let before = self.0.connections.fetch_sub(1, SeqCst);
        if before >= self.0.most || self.0.is_stopping() {
            self.0.left.wake();
        }
    }
}

//! The listening socket: TCP, or a Unix socket with its file.

use super::limits::{ANSWER_TIME, BACKLOG, KERNEL_IN, KERNEL_OUT};
use super::stream::ProbeStream;
use crate::config::Listen;
use crate::listening::{BoundSocket, StdListener};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// Where probes come in. It stays open until its last handle is dropped; the file of a Unix socket stays until
/// [`ProbeListener::remove_file`].
#[derive(Debug)]
pub struct ProbeListener(BoundSocket);

impl ProbeListener {
    /// Binds the address, as [`BoundSocket::bind`] does.
    ///
    /// # Errors
    /// Those of [`BoundSocket::bind`].
    pub fn bind(listen: &Listen) -> io::Result<ProbeListener> {
        // These options are for the worst clients: a kernel that lacks them (gVisor) serves the others as well.
        let bound = BoundSocket::bind(listen, BACKLOG, |socket| {
            _ = socket.set_recv_buffer_size(KERNEL_IN);
            _ = socket.set_send_buffer_size(KERNEL_OUT);
            _ = socket.set_tcp_user_timeout(Some(ANSWER_TIME));
            _ = socket.set_tcp_nodelay(true);
        });
        bound.map(ProbeListener)
    }

    /// Another handle to the same socket.
    pub fn try_clone(&self) -> io::Result<ProbeListener> {
        self.0.try_clone().map(ProbeListener)
    }

    /// What to give to [`ProbeListener::bind`] for the same address, the port that the kernel has chosen included.
    pub fn address(&self) -> io::Result<Listen> {
        self.0.address()
    }

    /// As a URL or an address, for the log: `http://127.0.0.1:9090`, `unix:/run/graceful.sock`.
    pub fn shown(&self) -> String {
        match self.address() {
            Ok(Listen::Tcp(address)) => format!("http://{address}"),
            Ok(address @ Listen::Unix(_)) => address.to_string(),
            Err(_) => String::new(),
        }
    }

    /// Removes the file of a Unix socket, if it is still the one that was made here. Nobody can connect from then on.
    pub fn remove_file(&self) {
        self.0.remove_file();
    }

    /// Hands the listener to the runtime in which this is called.
    pub(super) fn into_acceptor(self) -> io::Result<Acceptor> {
        Ok(match self.0.into() {
            StdListener::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                Acceptor::Tcp(tokio::net::TcpListener::from_std(listener)?)
            }
            StdListener::Unix(listener) => {
                listener.set_nonblocking(true)?;
                Acceptor::Unix(tokio::net::UnixListener::from_std(listener)?)
            }
        })
    }
}

/// Readable when a client waits there.
impl AsFd for ProbeListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A listener in a runtime.
pub(super) enum Acceptor {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Acceptor {
    /// The next connection; `patience` as in [`ProbeStream::new`].
    pub(super) async fn accept(&self, patience: Duration) -> io::Result<ProbeStream> {
        match self {
            Acceptor::Tcp(listener) => listener.accept().await.map(|(socket, _)| ProbeStream::new(socket, patience)),
            Acceptor::Unix(listener) => listener.accept().await.map(|(socket, _)| ProbeStream::new(socket, patience)),
        }
    }
}

#[cfg(test)]
#[path = "listener_tests.rs"]
mod tests;

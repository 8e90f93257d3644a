//! The listening socket: TCP, or a Unix socket with its file.

use super::limits::{ANSWER_TIME, BACKLOG, KERNEL_IN, KERNEL_OUT};
use super::stream::ProbeStream;
use crate::config::Listen;
use crate::files::{Id, Spot};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where probes come in. It stays open until its last handle is dropped; the file of a Unix socket stays until
/// [`ProbeListener::remove_file`].
#[derive(Debug)]
pub struct ProbeListener(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix { listener: UnixListener, path: PathBuf, file: Id },
}

impl ProbeListener {
    /// Binds; the listening socket closes on exec.
    ///
    /// `[::]` takes IPv4 as well, whatever net.ipv6.bindv6only says; where there is no IPv6 at all it is 0.0.0.0.
    /// The file of a Unix socket on which nobody answers is replaced: its owner was killed. The umask decides who may
    /// connect.
    ///
    /// # Errors
    /// The address is in use or not to be had; for a Unix socket also: the path is something else than a socket, which
    /// is left as it is.
    pub fn bind(listen: &Listen) -> io::Result<ProbeListener> {
        match listen {
            Listen::Tcp(address) => or_ipv4(*address, tcp).map(|listener| ProbeListener(Kind::Tcp(listener))),
            Listen::Unix(path) => {
                let listener = unix(path)?;
                Ok(ProbeListener(Kind::Unix { listener, path: path.clone(), file: id(path)? }))
            }
        }
    }

    /// Another handle to the same socket.
    pub fn try_clone(&self) -> io::Result<ProbeListener> {
        Ok(ProbeListener(match &self.0 {
            Kind::Tcp(listener) => Kind::Tcp(listener.try_clone()?),
            Kind::Unix { listener, path, file } => {
                Kind::Unix { listener: listener.try_clone()?, path: path.clone(), file: *file }
            }
        }))
    }

    /// What to give to [`ProbeListener::bind`] for the same address, the port that the kernel has chosen included.
    pub fn address(&self) -> io::Result<Listen> {
        Ok(match &self.0 {
            Kind::Tcp(listener) => Listen::Tcp(listener.local_addr()?),
            Kind::Unix { path, .. } => Listen::Unix(path.clone()),
        })
    }

    /// As a URL or an address, for the log: `http://127.0.0.1:9090`, `unix:/run/graceful.sock`.
    pub fn shown(&self) -> String {
        match &self.0 {
            Kind::Tcp(listener) => listener.local_addr().map(|address| format!("http://{address}")).unwrap_or_default(),
            Kind::Unix { path, .. } => format!("unix:{}", path.display()),
        }
    }

    /// Removes the file of a Unix socket, if it is still the one that was made here. Nobody can connect from then on.
    pub fn remove_file(&self) {
        if let Kind::Unix { path, file, .. } = &self.0 {
            // A file that cannot be removed is a leftover, which the next start deals with.
            _ = Spot::of(path).and_then(|spot| spot.remove(*file));
        }
    }

    /// Hands it to the runtime in which this is called.
    pub(super) fn into_acceptor(self) -> io::Result<Acceptor> {
        Ok(match self.0 {
            Kind::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                Acceptor::Tcp(tokio::net::TcpListener::from_std(listener)?)
            }
            Kind::Unix { listener, .. } => {
                listener.set_nonblocking(true)?;
                Acceptor::Unix(tokio::net::UnixListener::from_std(listener)?)
            }
        })
    }
}

/// Readable when somebody waits there.
impl AsFd for ProbeListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Kind::Tcp(listener) => listener.as_fd(),
            Kind::Unix { listener, .. } => listener.as_fd(),
        }
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

/// Listens on `[::]`, or on 0.0.0.0 if there is no IPv6; on any other address as it is.
fn or_ipv4<T>(address: SocketAddr, listen: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let error = match listen(address) {
        Ok(listener) => return Ok(listener),
        Err(error) => error,
    };
    match error.raw_os_error() {
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL) if address.ip() == Ipv6Addr::UNSPECIFIED => {
            listen(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()))
        }
        _ => Err(error),
    }
}

fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.ip() == Ipv6Addr::UNSPECIFIED {
        socket.set_only_v6(false)?;
    }
    // A restart must not wait for connections of the life before (TIME_WAIT).
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    // Every connection inherits these. They are for the worst clients: a kernel that has none of them (gVisor) serves
    // the others as well.
    _ = socket.set_recv_buffer_size(KERNEL_IN);
    _ = socket.set_send_buffer_size(KERNEL_OUT);
    _ = socket.set_tcp_user_timeout(Some(ANSWER_TIME));
    _ = socket.set_tcp_nodelay(true);
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn unix(path: &Path) -> io::Result<UnixListener> {
    let listen = || -> io::Result<UnixListener> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    match listen() {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let spot = Spot::of(path)?;
            let leftover = leftover(&spot, path)?;
            // Not the one of somebody who had the same idea a moment earlier.
            spot.remove(leftover)?;
            listen()
        }
        result => result,
    }
}

/// The file of a socket on which nobody answers; an error if it is anything else.
fn leftover(spot: &Spot, path: &Path) -> io::Result<Id> {
    let found = spot.found()?.ok_or(io::ErrorKind::NotFound)?;
    if !found.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file exists and is not a socket"));
    }
    let client = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // connect(2) would wait for a server that is too busy to accept.
    client.set_nonblocking(true)?;
    match client.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(Id::of(&found)),
        // EAGAIN: somebody listens, and does not come to accept.
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            format!("address in use, and it cannot be told whether anybody listens on it: {error}"),
        )),
        Ok(()) | Err(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "address in use: somebody listens on it")),
    }
}

/// Which file a path names. As long as a socket is open its file's number is not given to another file.
fn id(path: &Path) -> io::Result<Id> {
    let found = Spot::of(path)?.found()?.ok_or(io::ErrorKind::NotFound)?;
    Ok(Id::of(&found))
}

#[cfg(test)]
#[path = "listener_tests.rs"]
mod tests;

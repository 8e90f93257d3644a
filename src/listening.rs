//! Listening sockets of graceful's own making: an address is bound, the file of a Unix socket put in its place, and taken away
//! again by the one who made it.
//!
//! Two use them: the probe server, and `--listen`, whose sockets the app accepts on.

use crate::config::Listen;
use crate::files::{Id, Spot};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// A socket that listens. It stays open until its last handle is dropped; the file of a Unix socket stays until
/// [`BoundSocket::remove_file`].
#[derive(Debug)]
pub struct BoundSocket(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix { listener: UnixListener, path: PathBuf, file: Id },
}

impl BoundSocket {
    /// Binds and listens; the socket closes on exec. `backlog` is how many may wait to be accepted, of which the kernel takes
    /// net.core.somaxconn at most (listen(2)). `prepare` sets what else a TCP socket is to have, before it listens: every
    /// connection inherits it.
    ///
    /// `[::]` takes IPv4 as well, whatever net.ipv6.bindv6only says; where there is no IPv6 at all it is 0.0.0.0.
    /// The file of a Unix socket on which nobody answers is replaced: its owner was killed. The umask decides who may
    /// connect.
    ///
    /// # Errors
    /// The address is in use or not to be had; for a Unix socket also: the path is something else than a socket, which
    /// is left as it is.
    pub fn bind(listen: &Listen, backlog: i32, prepare: impl Fn(&Socket)) -> io::Result<BoundSocket> {
        match listen {
            Listen::Tcp(address) => {
                or_ipv4(*address, |address| tcp(address, backlog, &prepare)).map(|bound| BoundSocket(Kind::Tcp(bound)))
            }
            Listen::Unix(path) => {
                let listener = unix(path, backlog)?;
                Ok(BoundSocket(Kind::Unix { listener, path: path.clone(), file: id(path)? }))
            }
        }
    }

    /// Another socket on the address of this one, if that was bound with `prepare` setting SO_REUSEPORT: a group (socket(7)).
    /// Of a Unix socket, which knows no groups, another handle.
    ///
    /// # Errors
    /// Another process has bound the address meanwhile, or no descriptor is to be had.
    pub fn beside(&self, backlog: i32) -> io::Result<BoundSocket> {
        match &self.0 {
            Kind::Tcp(listener) => {
                let address = listener.local_addr()?;
                let socket = unbound_tcp(address)?;
                socket.set_reuse_port(true)?;
                socket.bind(&address.into())?;
                socket.listen(backlog)?;
                Ok(BoundSocket(Kind::Tcp(socket.into())))
            }
            Kind::Unix { .. } => self.try_clone(),
        }
    }

    /// Whether it can be one of a group.
    pub fn is_tcp(&self) -> bool {
        matches!(self.0, Kind::Tcp(_))
    }

    /// Nobody accepts on it any more, whoever else has a handle; what waits there is reset. Of a Unix socket nothing: others use
    /// it.
    pub fn shut_down(&self) {
        if let Kind::Tcp(listener) = &self.0 {
            _ = socket2::SockRef::from(listener).shutdown(std::net::Shutdown::Both);
        }
    }

    /// Another handle to the same socket.
    pub fn try_clone(&self) -> io::Result<BoundSocket> {
        Ok(BoundSocket(match &self.0 {
            Kind::Tcp(listener) => Kind::Tcp(listener.try_clone()?),
            Kind::Unix { listener, path, file } => {
                Kind::Unix { listener: listener.try_clone()?, path: path.clone(), file: *file }
            }
        }))
    }

    /// What to give to [`BoundSocket::bind`] for the same address, the port that the kernel has chosen included.
    pub fn address(&self) -> io::Result<Listen> {
        Ok(match &self.0 {
            Kind::Tcp(listener) => Listen::Tcp(listener.local_addr()?),
            Kind::Unix { path, .. } => Listen::Unix(path.clone()),
        })
    }

    /// Removes the file of a Unix socket, if it is still the one that was made here. Nobody can connect from then on.
    pub fn remove_file(&self) {
        if let Kind::Unix { path, file, .. } = &self.0 {
            // A file that cannot be removed is a leftover, which the next start deals with.
            _ = Spot::of(path).and_then(|spot| spot.remove(*file));
        }
    }
}

/// Readable when somebody waits there.
impl AsFd for BoundSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Kind::Tcp(listener) => listener.as_fd(),
            Kind::Unix { listener, .. } => listener.as_fd(),
        }
    }
}

/// One that only accepts from here on; of a Unix socket the file stays.
pub enum StdListener {
    /// On an address.
    Tcp(TcpListener),
    /// On a path.
    Unix(UnixListener),
}

impl From<BoundSocket> for StdListener {
    fn from(bound: BoundSocket) -> StdListener {
        match bound.0 {
            Kind::Tcp(listener) => StdListener::Tcp(listener),
            Kind::Unix { listener, .. } => StdListener::Unix(listener),
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

fn tcp(address: SocketAddr, backlog: i32, prepare: &impl Fn(&Socket)) -> io::Result<TcpListener> {
    let socket = unbound_tcp(address)?;
    socket.bind(&address.into())?;
    prepare(&socket);
    socket.listen(backlog)?;
    Ok(socket.into())
}

/// One that is about to be bound to that address.
fn unbound_tcp(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.ip() == Ipv6Addr::UNSPECIFIED {
        socket.set_only_v6(false)?;
    }
    // A restart must not wait for connections of the life before (TIME_WAIT).
    socket.set_reuse_address(true)?;
    Ok(socket)
}

fn unix(path: &Path, backlog: i32) -> io::Result<UnixListener> {
    let listen = || -> io::Result<UnixListener> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        socket.listen(backlog)?;
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
#[path = "listening_tests.rs"]
mod tests;

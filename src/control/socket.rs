//! The listening socket: its owner's alone from its first moment on, and its file gone with it.

use super::address::ControlAddress;
use crate::config::Listen;
use crate::files::{Id, Spot};
use crate::listening::BoundSocket;
use crate::sys::peer;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

/// The backlog; a client that finds it full waits in connect(2).
const BACKLOG: i32 = 64;

/// A Unix socket that listens and never blocks. Its file is removed when it is dropped.
#[derive(Debug)]
pub(super) struct PrivateListener {
    socket: Socket,
    path: PathBuf,
    file: Id,
}

impl PrivateListener {
    /// Binds and listens. A file on which nobody answers is replaced, as by [`BoundSocket::bind`].
    ///
    /// The socket is made private before it has a name, and listens after that: there is no moment in which others can
    /// connect. The umask would do as well, but it belongs to the whole process, whose other threads make files of
    /// their own; and a chmod(2) of the path could meet another file by then.
    ///
    /// # Errors
    /// Somebody listens there, the path is not that of a socket, or it cannot be made.
    pub(super) fn bind(address: &ControlAddress) -> io::Result<PrivateListener> {
        let socket = match bound(address) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                // Takes the place of a leftover, and of nothing else. Nobody is accepted there.
                BoundSocket::bind(&Listen::Unix(address.path().to_owned()), 0, |_| {})?.remove_file();
                bound(address)?
            }
            socket => socket?,
        };
        let path = address.path().to_owned();
        let found = Spot::of(&path)?.found()?.ok_or(ErrorKind::NotFound)?;
        let listener = PrivateListener { socket, path, file: Id::of(&found) };
        listener.socket.set_nonblocking(true)?;
        listener.socket.listen(BACKLOG)?;
        Ok(listener)
    }

    /// The next connection in the backlog; `None` if that is empty. What is accepted does block.
    pub(super) fn accept(&self) -> io::Result<Option<Socket>> {
        loop {
            match SockRef::from(&self.socket).accept() {
                Ok((socket, _)) => return Ok(Some(socket)),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Ok(None),
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                    _ => return Err(error),
                },
            }
        }
    }
}

/// Readable when a client waits there.
impl AsFd for PrivateListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for PrivateListener {
    fn drop(&mut self) {
        // A file that cannot be removed is a leftover, which the next start deals with; a successor's is not removed.
        _ = Spot::of(&self.path).and_then(|spot| spot.remove(self.file));
    }
}

fn bound(address: &ControlAddress) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // If that is denied, the umask decides who may connect, and the server's own check who may ask.
    _ = peer::make_private(&socket);
    socket.bind(&SockAddr::unix(address.path())?)?;
    Ok(socket)
}

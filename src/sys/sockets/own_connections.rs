//! graceful's own ends of connections, so that its own probes are not taken for clients.
//!
//! What is open is found in /proc/self/fd. What graceful closes without an answer, the app may keep for long: an
//! [`UnansweredGuard`] notes it at the moment before, in a list of the whole process, which is also what owns
//! descriptors. Whoever reads the list together with the open ones, after looking at the app's connections, misses
//! none.

use nix::sys::socket::{SockaddrStorage, getpeername, getsockname};
use std::collections::{HashSet, VecDeque};
use std::fs;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// At most this many closed ends are remembered until somebody asks. The app has closed by then what was closed before
/// them, or it has other troubles.
const MAX_CLOSED: usize = 256;

static CLOSED: Mutex<VecDeque<SocketAddr>> = Mutex::new(VecDeque::new());

fn closed() -> MutexGuard<'static, VecDeque<SocketAddr>> {
    // A list of addresses is never half changed.
    CLOSED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A use of a connection to this port. Dropped before there was an answer, with the connection still open, it notes
/// this process's ends of all connections to the port for [`take_closed`].
#[derive(Debug)]
pub struct UnansweredGuard {
    port: Option<u16>,
}

impl UnansweredGuard {
    /// A guard for a connection to this port; with `None`, it notes nothing.
    pub fn of(port: Option<u16>) -> UnansweredGuard {
        UnansweredGuard { port }
    }

    /// There was an answer: the app has nothing more to do.
    pub fn answered(mut self) {
        self.port = None;
    }
}

impl Drop for UnansweredGuard {
    fn drop(&mut self) {
        let Some(port) = self.port else { return };
        let ends = own_ends(&[port]);
        let mut closed = closed();
        for end in ends {
            if !closed.contains(&end) {
                closed.push_back(end);
            }
        }
        let excess = closed.len().saturating_sub(MAX_CLOSED);
        closed.drain(..excess);
    }
}

/// The ends that were noted since the last call.
pub fn take_closed() -> Vec<SocketAddr> {
    closed().drain(..).collect()
}

/// The local addresses of this process's sockets that are connected to one of these ports. None without /proc.
///
/// A descriptor may be closed by another thread meanwhile, or be another socket by then: it is only asked for its name.
pub fn own_ends(ports: &[u16]) -> HashSet<SocketAddr> {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return HashSet::new() };
    let fds = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<RawFd>().ok());
    fds.filter(|fd| ip(getpeername(*fd)).is_some_and(|peer| ports.contains(&peer.port())))
        .filter_map(|fd| ip(getsockname(fd)))
        .collect()
}

/// One end of a TCP or UDP socket (getsockname(2), getpeername(2)).
fn ip(end: nix::Result<SockaddrStorage>) -> Option<SocketAddr> {
    let end = end.ok()?;
    // Without the interface of a link-local address, which the kernel's tables do not tell either.
    let v4 = end.as_sockaddr_in().map(|end| SocketAddr::from((end.ip(), end.port())));
    v4.or_else(|| end.as_sockaddr_in6().map(|end| SocketAddr::from((end.ip(), end.port()))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn only_connections_to_the_ports_are_found_by_this_end() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (watched, other) = (TcpListener::bind(address).unwrap(), TcpListener::bind(address).unwrap());
            let port = watched.local_addr().unwrap().port();
            let client = TcpStream::connect(watched.local_addr().unwrap()).unwrap();
            let _elsewhere = TcpStream::connect(other.local_addr().unwrap()).unwrap();
            // The other end is in this process too, and is not a client.
            let _accepted = watched.accept().unwrap();
            assert_eq!(own_ends(&[port]), HashSet::from([client.local_addr().unwrap()]));
            drop(client);
            assert_eq!(own_ends(&[port]), HashSet::new());
        }
        assert_eq!(own_ends(&[]), HashSet::new());
    }

    #[test]
    fn what_was_closed_without_an_answer_is_remembered_once() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let connect = || TcpStream::connect(server.local_addr().unwrap()).unwrap();
        let (answered, client) = (connect(), UnansweredGuard::of(Some(port)));
        client.answered();
        drop(answered);
        let (stream, client) = (connect(), UnansweredGuard::of(Some(port)));
        let end = stream.local_addr().unwrap();
        drop(client);
        drop(stream);
        // Other tests of this process may note theirs.
        let noted = take_closed();
        assert_eq!(noted.iter().filter(|noted| **noted == end).count(), 1, "{noted:?}");
        assert!(!take_closed().contains(&end));
    }
}

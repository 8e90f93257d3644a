//! graceful's own ends of connections, so that its own probes are not taken for clients.
//!
//! What is open is found in /proc/self/fd. What graceful closes without an answer the app may keep for long: a [`Client`]
//! notes it in the moment before, in a list of the whole process, as descriptors are. Whoever reads the list together with
//! the open ones, after looking at the app's connections, misses none.

use std::collections::{HashSet, VecDeque};
use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::RawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So many closed ends are remembered until somebody asks. What was closed before them the app has closed by then, or it
/// has other troubles.
const MAX_CLOSED: usize = 256;

static CLOSED: Mutex<VecDeque<SocketAddr>> = Mutex::new(VecDeque::new());

fn closed() -> MutexGuard<'static, VecDeque<SocketAddr>> {
    // A list of addresses is never half changed.
    CLOSED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A use of a connection to this port. Dropped before there was an answer, with the connection still open, it notes
/// this process's ends of all connections to the port for [`take_closed`].
#[derive(Debug)]
pub struct Client {
    port: Option<u16>,
}

impl Client {
    /// Of this port; `None` notes nothing.
    pub fn of(port: Option<u16>) -> Client {
        Client { port }
    }

    /// There was an answer: the app has nothing more to do.
    pub fn answered(mut self) {
        self.port = None;
    }
}

impl Drop for Client {
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
/// A descriptor may be closed by another thread meanwhile, or stand for another socket: it is only asked for its name.
pub fn own_ends(ports: &[u16]) -> HashSet<SocketAddr> {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return HashSet::new() };
    let fds = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<RawFd>().ok());
    fds.filter(|fd| name(*fd, libc::getpeername).is_ok_and(|peer| ports.contains(&peer.port())))
        .filter_map(|fd| name(fd, libc::getsockname).ok())
        .collect()
}

type Name = unsafe extern "C" fn(RawFd, *mut libc::sockaddr, *mut libc::socklen_t) -> i32;

/// One end of a TCP or UDP socket (getsockname(2), getpeername(2)).
fn name(fd: RawFd, which: Name) -> io::Result<SocketAddr> {
    // SAFETY: all zeroes is a value of this struct.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: a live buffer with its length; any number may be asked about.
    if unsafe { which(fd, (&raw mut storage).cast(), &raw mut length) } != 0 {
        return Err(io::Error::last_os_error());
    }
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the kernel says that it is one; storage is large enough and aligned for any address.
            let address = unsafe { &*(&raw const storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
            Ok(SocketAddr::from((ip, u16::from_be(address.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let address = unsafe { &*(&raw const storage).cast::<libc::sockaddr_in6>() };
            Ok(SocketAddr::from((Ipv6Addr::from(address.sin6_addr.s6_addr), u16::from_be(address.sin6_port))))
        }
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
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
            // The other end is in this process too, and is no client.
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
        let (answered, client) = (connect(), Client::of(Some(port)));
        client.answered();
        drop(answered);
        let (stream, client) = (connect(), Client::of(Some(port)));
        let end = stream.local_addr().unwrap();
        drop(client);
        drop(stream);
        // Other tests of this process may note theirs.
        let noted = take_closed();
        assert_eq!(noted.iter().filter(|noted| **noted == end).count(), 1, "{noted:?}");
        assert!(!take_closed().contains(&end));
    }
}

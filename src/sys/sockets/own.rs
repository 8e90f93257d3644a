//! graceful's own ends of connections, so that its own probes are not taken for clients.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::RawFd;

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
}

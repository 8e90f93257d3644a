//! Which socket of a group gets what is new.
//!
//! Sockets that listen on one address with SO_REUSEPORT are a group, in the order in which they began to listen; one
//! that stops leaves its place to the last. A program of one instruction on the group returns a place, and every new
//! connection goes to the socket in it, at once and without any privilege (socket(7), SO_ATTACH_REUSEPORT_CBPF). A
//! place that does not exist makes the kernel choose by its own hash.
//!
//! One address may be an exception: what comes from there goes to another place. So the owner of a socket that gets
//! nothing yet can be asked how it is, from an address of 127.0.0.0/8 that nobody else has a reason to use.

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::AttachReusePortCbpf;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;

/// From here on new connections go to the socket in that place of the group, counted from 0. Any socket of the group
/// will do; one with SO_REUSEPORT that is not in a group yet begins its own.
///
/// # Errors
/// The kernel has no such programs (before Linux 4.6; gVisor), or the socket is of no group.
pub fn to(socket: &impl AsFd, place: u32) -> io::Result<()> {
    attach(socket, &mut [instruction(libc::BPF_RET | libc::BPF_K, place)])
}

/// The same, except that what comes from this address goes to that other place. Errors as above.
pub fn to_but(socket: &impl AsFd, place: u32, from: Ipv4Addr, other: u32) -> io::Result<()> {
    // The IP header, wherever the kernel has the program begin (SKF_NET_OFF in linux/filter.h).
    let header = |offset: u32| (-0x10_0000_i32).cast_unsigned() + offset;
    let jump_if_not =
        |value, over| libc::sock_filter { jf: over, ..instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value) };
    attach(
        socket,
        &mut [
            // Version 4: a socket of IPv6 takes both.
            instruction(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, header(0)),
            instruction(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0xf0),
            jump_if_not(0x40, 3),
            // The source address, RFC 791.
            instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, header(12)),
            jump_if_not(from.to_bits(), 1),
            instruction(libc::BPF_RET | libc::BPF_K, other),
            instruction(libc::BPF_RET | libc::BPF_K, place),
        ],
    )
}

fn instruction(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

fn attach(socket: &impl AsFd, program: &mut [libc::sock_filter]) -> io::Result<()> {
    let all = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    setsockopt(socket, AttachReusePortCbpf, &all).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use socket2::{Domain, Socket, Type};
    use std::net::{SocketAddr, TcpListener};

    fn beside(address: SocketAddr) -> Socket {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
        socket.set_reuse_port(true).expect("an option");
        socket.bind(&address.into()).expect("an address");
        socket.listen(64).expect("a line");
        socket
    }

    fn group(count: usize, address: &str) -> (Vec<TcpListener>, SocketAddr) {
        let first = beside(address.parse().expect("an address"));
        let address = first.local_addr().expect("bound").as_socket().expect("of TCP");
        let others = (1..count).map(|_| beside(address));
        let all = std::iter::once(first).chain(others).map(|socket| {
            socket.set_nonblocking(true).expect("an option");
            socket.into()
        });
        (all.collect(), address)
    }

    /// Which sockets of the group get the connections of clients from this address.
    fn taken(group: &[TcpListener], to: SocketAddr, from: Ipv4Addr) -> Vec<usize> {
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        client.bind(&SocketAddr::from((from, 0)).into()).expect("an address");
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, to.port()));
        client.connect(&to.into()).expect("somebody listens");
        let accepted = group.iter().enumerate().filter(|(_, listener)| listener.accept().is_ok());
        accepted.map(|(place, _)| place).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// The kernel's places are those of a list from which what leaves is taken by swap_remove.
        #[test]
        fn one_that_leaves_gives_its_place_to_the_last(steps in prop::collection::vec((0usize..4, 0usize..4), 1..12)) {
            let (mut sockets, address) = group(3, "127.0.0.1:0");
            for (leaves, place) in steps {
                if leaves < sockets.len() && sockets.len() > 1 {
                    let gone = sockets.swap_remove(leaves);
                    // Another handle keeps it open, as an app's would; that it is shut down is enough.
                    let _handle = gone.try_clone().expect("a descriptor");
                    socket2::SockRef::from(&gone).shutdown(std::net::Shutdown::Both).expect("it listens");
                } else {
                    let socket = beside(address);
                    socket.set_nonblocking(true).expect("an option");
                    sockets.push(socket.into());
                }
                let place = place % sockets.len();
                to(&sockets[0], place as u32).expect("a group");
                for _ in 0..5 {
                    prop_assert_eq!(taken(&sockets, address, Ipv4Addr::LOCALHOST), [place]);
                }
            }
        }
    }

    #[test]
    fn what_comes_from_one_address_goes_elsewhere_and_of_ipv6_nothing_does() {
        let ours = Ipv4Addr::new(127, 103, 1, 2);
        for address in ["127.0.0.1:0", "[::]:0"] {
            let (sockets, address) = group(2, address);
            to_but(&sockets[0], 0, ours, 1).expect("a group");
            for _ in 0..20 {
                assert_eq!(taken(&sockets, address, Ipv4Addr::LOCALHOST), [0]);
                assert_eq!(taken(&sockets, address, Ipv4Addr::new(127, 103, 1, 3)), [0]);
                assert_eq!(taken(&sockets, address, ours), [1]);
            }
        }
        let (sockets, address) = group(2, "[::1]:0");
        to_but(&sockets[0], 0, ours, 1).expect("a group");
        for _ in 0..20 {
            let _client = std::net::TcpStream::connect(address).expect("somebody listens");
            assert!(sockets[0].accept().is_ok() && sockets[1].accept().is_err());
        }
    }
}

//! The other end of a Unix socket, and who may connect to one.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt};
use nix::sys::stat::{Mode, fchmod};
use std::io;
use std::os::fd::AsFd;

/// The effective user that has connected, as of that time (SO_PEERCRED, unix(7)). A user without a number in our user
/// namespace is the overflow user (user_namespaces(7)).
pub fn user_of_peer(socket: impl AsFd) -> io::Result<u32> {
    Ok(getsockopt(&socket, sockopt::PeerCredentials)?.uid())
}

/// Whether the other end has closed its socket. If it has only shut down its half, it may still read (`socat`, `nc
/// -N`). If that cannot be asked, it counts as open.
pub fn has_hung_up(socket: impl AsFd) -> bool {
    // POLLHUP is reported without being asked for (poll(2)).
    let mut polled = [PollFd::new(socket.as_fd(), PollFlags::empty())];
    _ = poll(&mut polled, PollTimeout::ZERO);
    polled[0].revents().is_some_and(|found| found.intersects(PollFlags::POLLHUP | PollFlags::POLLERR))
}

/// Lets only its owner and root connect to a Unix socket. To be called before it is bound, since the kernel
/// makes the file with the mode that the socket itself has, less the umask (`unix_bind_bsd`, net/unix/af_unix.c).
pub fn make_private(socket: impl AsFd) -> io::Result<()> {
    Ok(fchmod(socket, Mode::S_IRUSR | Mode::S_IWUSR)?)
}

//! Datagrams of a Unix socket, each with the pid of its sender (unix(7)).

use super::check;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

/// A datagram that was received.
#[derive(Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Its bytes, up to the maximum.
    pub bytes: Vec<u8>,
    /// Whether it was longer than that.
    pub cut: bool,
    /// The pid of its sender, or of another process in whose name a privileged sender sent it. `None` if that process
    /// has no pid in this namespace, or if the socket does not ask for credentials (SO_PASSCRED).
    pub sender: Option<i32>,
}

/// Room for the control message with the sender's credentials, and for no other.
///
/// The kernel writes the credentials first (`__scm_recv_common`, net/core/scm.c), and closes file descriptors for which
/// there is no room left (unix(7), SCM_RIGHTS). So a sender cannot fill the receiver's table of descriptors.
#[repr(C)]
struct Beside {
    /// For the alignment of `bytes`.
    header: [libc::cmsghdr; 0],
    bytes: [u8; CREDENTIALS_SPACE],
}

// SAFETY: it only calculates.
const CREDENTIALS_SPACE: usize = unsafe { libc::CMSG_SPACE(size_of::<libc::ucred>() as u32) } as usize;

/// Takes the next datagram, of `max` bytes at most; `None` if none is there. Never waits.
pub fn receive(socket: impl AsFd, max: usize) -> io::Result<Option<Datagram>> {
    // It is not zeroed: only as much of the memory is touched as is received.
    let mut bytes: Vec<u8> = Vec::with_capacity(max);
    let mut beside = Beside { header: [], bytes: [0; CREDENTIALS_SPACE] };
    let mut piece = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: max };
    // SAFETY: a struct of numbers and pointers, for which zeros are valid; some targets have private padding in it.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &raw mut piece;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut beside).cast();
    message.msg_controllen = CREDENTIALS_SPACE as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: everything that the message points to is alive and as long as the message says.
    let received = check(unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut message, flags) } as i64);
    let length = match received {
        Ok(length) => (length as usize).min(max),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    // SAFETY: the kernel has written this many bytes, which is not more than the capacity.
    unsafe { bytes.set_len(length) };
    let cut = message.msg_flags & libc::MSG_TRUNC != 0;
    Ok(Some(Datagram { bytes, cut, sender: sender(&message) }))
}

/// The sender's pid from a message that was received into a [`Beside`], which must still be alive.
fn sender(message: &libc::msghdr) -> Option<i32> {
    // SAFETY: the kernel has set the length of what it has written; a header is there as a whole or null (cmsg(3)).
    let header = unsafe { libc::CMSG_FIRSTHDR(message).as_ref() }?;
    let whole = header.cmsg_len as usize >= CREDENTIALS_LENGTH;
    if !whole || (header.cmsg_level, header.cmsg_type) != (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) {
        return None;
    }
    // SAFETY: its length was checked, and it need not be aligned.
    let credentials: libc::ucred = unsafe { ptr::read_unaligned(libc::CMSG_DATA(header).cast()) };
    // 0 is a process outside of this namespace (pid_namespaces(7)).
    Some(credentials.pid).filter(|pid| *pid > 0)
}

// SAFETY: as above.
const CREDENTIALS_LENGTH: usize = unsafe { libc::CMSG_LEN(size_of::<libc::ucred>() as u32) } as usize;

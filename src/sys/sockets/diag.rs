//! A netlink socket to sock_diag(7), and dumps through it.
//!
//! A dump comes in many messages, of which each recv(2) makes the kernel write the next ones: nothing can be lost for want
//! of room. An answer ends with NLMSG_DONE or an error. Only what comes from the kernel and has the number of the request
//! is believed; no answer within a second, or no end within five, is an error. After an error the rest of the answer may
//! still be under way: drop the socket then.

use super::Snapshot;
use super::wire::{self, Body, Family, Question, Row};
use crate::sys::check;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// The kernel writes 32 KiB at once for whoever can take them (netlink_recvmsg, max_recvmsg_len).
const BUFFER: usize = 64 * 1024;
/// For one message.
const SILENCE: Duration = Duration::from_secs(1);
/// For a whole dump. A hundred thousand sockets take a tenth of a second.
const LIMIT: Duration = Duration::from_secs(5);
/// A dump during which the table changed is not complete and is made again, so often; then it is better than none.
const TRIES: usize = 3;

/// The socket with its buffers.
#[derive(Debug)]
pub(super) struct Diag {
    socket: OwnedFd,
    received: Vec<u8>,
    request: Vec<u8>,
    sequence: u32,
    manner: Manner,
}

/// How to ask. What a kernel does not know it refuses, and the next one is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// For both families at once, filtered.
    Once,
    /// For each family, filtered.
    Twice,
    /// For each family, and for all ports.
    Whole,
}

impl Manner {
    fn next(self) -> Option<Manner> {
        match self {
            Manner::Once => Some(Manner::Twice),
            Manner::Twice => Some(Manner::Whole),
            Manner::Whole => None,
        }
    }

    fn families(self) -> &'static [Family] {
        match self {
            Manner::Once => &[Family::Both],
            Manner::Twice | Manner::Whole => &[Family::V4, Family::V6],
        }
    }
}

impl Diag {
    /// Opens it. Needs no privilege; EPROTONOSUPPORT, EAFNOSUPPORT, EPERM and EACCES are how sandboxes refuse it.
    pub(super) fn open() -> io::Result<Diag> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: takes numbers; the descriptor is new and ours.
        let socket = unsafe {
            let fd = check(libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_SOCK_DIAG).into())?;
            OwnedFd::from_raw_fd(fd as i32)
        };
        Diag::over(socket, SILENCE)
    }

    /// Over any socket that keeps messages apart.
    pub(super) fn over(socket: OwnedFd, silence: Duration) -> io::Result<Diag> {
        let silence = libc::timeval {
            tv_sec: silence.as_secs() as libc::time_t,
            tv_usec: silence.subsec_micros() as libc::suseconds_t,
        };
        // SAFETY: a live timeval with its size.
        check(i64::from(unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_RCVTIMEO,
                (&raw const silence).cast(),
                size_of_val(&silence) as libc::socklen_t,
            )
        }))?;
        Ok(Diag { socket, received: vec![0; BUFFER], request: Vec::new(), sequence: 0, manner: Manner::Once })
    }

    /// The sockets of both families in these states, filtered in the kernel by the program of [`wire::port_filter`] and,
    /// since a kernel may refuse that, by `keep` as well. After an error the answer is of no use.
    pub(super) fn dump(
        &mut self,
        states: u32,
        filter: &[u8],
        keep: impl Fn(u16) -> bool,
        answer: &mut Snapshot,
    ) -> io::Result<()> {
        loop {
            answer.clear();
            let filter = if self.manner == Manner::Whole { &[] } else { filter };
            let mut families = self.manner.families().iter();
            let result = families
                .try_for_each(|family| self.dump_family(&Question { family: *family, states, filter }, &keep, answer));
            match (&result, self.manner.next()) {
                (Err(error), Some(next)) if is_refusal(error) => self.manner = next,
                _ => return result,
            }
        }
    }

    fn dump_family(
        &mut self,
        question: &Question,
        keep: impl Fn(u16) -> bool,
        answer: &mut Snapshot,
    ) -> io::Result<()> {
        let (listeners, connections) = (answer.listeners.len(), answer.connections.len());
        for _ in 0..TRIES {
            answer.listeners.truncate(listeners);
            answer.connections.truncate(connections);
            if self.dump_once(question, |row| answer.add(row, &keep))? {
                break;
            }
        }
        Ok(())
    }

    /// Says whether nothing changed meanwhile.
    fn dump_once(&mut self, question: &Question, mut take: impl FnMut(Row)) -> io::Result<bool> {
        let ask = |request: &mut Vec<u8>, sequence| wire::write_request(request, sequence, question);
        self.exchange(ask, |row| wire::row(row).map(&mut take))
    }

    /// One question, written by `ask` with its number, and every row of its answer; `take` refuses a malformed one. Says
    /// whether nothing changed meanwhile.
    pub(super) fn exchange(
        &mut self,
        ask: impl FnOnce(&mut Vec<u8>, u32),
        mut take: impl FnMut(&[u8]) -> Option<()>,
    ) -> io::Result<bool> {
        self.sequence = self.sequence.wrapping_add(1);
        ask(&mut self.request, self.sequence);
        self.send()?;
        let end = Instant::now() + LIMIT;
        let mut complete = true;
        while Instant::now() < end {
            let length = self.receive()?;
            let mut bytes = self.received.get(..length).ok_or_else(wire::malformed)?;
            while !bytes.is_empty() {
                let message = wire::next_message(&mut bytes)?;
                if message.sequence != self.sequence {
                    continue;
                }
                complete &= !message.interrupted;
                match message.body {
                    Body::Row(row) => take(row).ok_or_else(wire::malformed)?,
                    Body::Done => return Ok(complete),
                    Body::Failed(error) => return Err(error),
                    Body::Other => {}
                }
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "sock_diag's answer does not end"))
    }

    /// To the kernel, which is whom a netlink socket sends to that is not connected.
    fn send(&self) -> io::Result<()> {
        uninterrupted(|| {
            let (data, length) = (self.request.as_ptr().cast(), self.request.len());
            // SAFETY: a live buffer with its length.
            unsafe { libc::send(self.socket.as_raw_fd(), data, length, libc::MSG_NOSIGNAL) }
        })
        .map(drop)
    }

    /// The length of what was received, 0 if it was not from the kernel.
    fn receive(&mut self) -> io::Result<usize> {
        // SAFETY: all of a sockaddr_nl may be zero.
        let mut sender: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        let length = uninterrupted(|| {
            let mut size = size_of_val(&sender) as libc::socklen_t;
            // SAFETY: a live buffer with its length, a live address with its size. MSG_TRUNC: the true length.
            unsafe {
                libc::recvfrom(
                    self.socket.as_raw_fd(),
                    self.received.as_mut_ptr().cast(),
                    self.received.len(),
                    libc::MSG_TRUNC,
                    (&raw mut sender).cast(),
                    &raw mut size,
                )
            }
        });
        match length {
            Ok(_) if sender.nl_pid != 0 => Ok(0),
            Ok(0) => Err(wire::malformed()),
            Ok(length) => Ok(length),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(io::Error::new(io::ErrorKind::TimedOut, "sock_diag does not answer"))
            }
            Err(error) => Err(error),
        }
    }
}

/// What is said of a request that is not understood.
fn is_refusal(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP | libc::ENOENT))
}

/// A call that a signal may interrupt.
fn uninterrupted(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        match check(call() as i64) {
            Ok(count) => return Ok(count as usize),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
#[path = "diag_tests.rs"]
mod tests;

//! A netlink socket to sock_diag(7), and dumps through it.
//!
//! A dump comes in many messages, of which each recv(2) makes the kernel write the next ones: nothing can be lost for
//! want of room. An answer ends with NLMSG_DONE or an error. Only what comes from the kernel and has the number of the
//! request is believed; no answer within a second, or no end within five, is an error. After an error the rest of the
//! answer may still be under way: drop the socket then.

use super::snapshot::{DumpRow, Snapshot};
use super::wire::{self, Body, Question, SocketFamily};
use nix::errno::Errno;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recvfrom, send, setsockopt, socket,
};
use nix::sys::time::TimeVal;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// In bytes. The kernel writes 32 KiB at once for whoever can take them (netlink_recvmsg, max_recvmsg_len).
const BUFFER: usize = 64 * 1024;
/// The longest wait for one message.
const SILENCE: Duration = Duration::from_secs(1);
/// The longest wait for a whole dump. A hundred thousand sockets take a tenth of a second.
const LIMIT: Duration = Duration::from_secs(5);
/// A dump during which the table changed is not complete and is made again, this many times in all; then it is better
/// than none.
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

/// How to ask. A kernel refuses what it does not know, and the next manner is tried.
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

    fn families(self) -> &'static [SocketFamily] {
        match self {
            Manner::Once => &[SocketFamily::Both],
            Manner::Twice | Manner::Whole => &[SocketFamily::V4, SocketFamily::V6],
        }
    }
}

impl Diag {
    /// Opens it. Needs no privilege; EPROTONOSUPPORT, EAFNOSUPPORT, EPERM and EACCES are how sandboxes refuse it.
    pub(super) fn open() -> io::Result<Diag> {
        let (family, protocol) = (AddressFamily::Netlink, SockProtocol::NetlinkSockDiag);
        Diag::over(socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?, SILENCE)
    }

    /// A [`Diag`] over any socket that keeps messages apart.
    pub(super) fn over(socket: OwnedFd, silence: Duration) -> io::Result<Diag> {
        let (seconds, micros) = (silence.as_secs() as libc::time_t, silence.subsec_micros() as libc::suseconds_t);
        setsockopt(&socket, ReceiveTimeout, &TimeVal::new(seconds, micros))?;
        Ok(Diag { socket, received: vec![0; BUFFER], request: Vec::new(), sequence: 0, manner: Manner::Once })
    }

    /// The sockets of both families in these states, filtered in the kernel by the program of [`wire::port_filter`]
    /// and, since a kernel may refuse that, by `keep` as well. After an error the answer is of no use.
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

    /// One dump; says whether nothing changed meanwhile.
    fn dump_once(&mut self, question: &Question, mut take: impl FnMut(DumpRow)) -> io::Result<bool> {
        let ask = |request: &mut Vec<u8>, sequence| wire::write_request(request, sequence, question);
        self.exchange(ask, |row| wire::row(row).map(&mut take))
    }

    /// One question, written by `ask` with its number, and every row of its answer; `take` refuses a malformed one.
    /// Says whether nothing changed meanwhile.
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

    /// Sends to the kernel, to which a netlink socket sends that is not connected.
    fn send(&self) -> io::Result<()> {
        uninterrupted(|| send(self.socket.as_raw_fd(), &self.request, MsgFlags::MSG_NOSIGNAL))?;
        Ok(())
    }

    /// The length of what was received, 0 if it was not from the kernel.
    fn receive(&mut self) -> io::Result<usize> {
        let received = uninterrupted(|| recvfrom::<NetlinkAddr>(self.socket.as_raw_fd(), &mut self.received));
        match received {
            Ok((_, Some(sender))) if sender.pid() != 0 => Ok(0),
            // A message that fills the buffer is cut off, or might be.
            Ok((length, _)) if length == 0 || length == self.received.len() => Err(wire::malformed()),
            Ok((length, _)) => Ok(length),
            Err(Errno::EAGAIN) => Err(io::Error::new(io::ErrorKind::TimedOut, "sock_diag does not answer")),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether the error means that the request was not understood.
fn is_refusal(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP | libc::ENOENT))
}

/// Repeats a call for as long as a signal interrupts it.
fn uninterrupted<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

#[cfg(test)]
#[path = "diag_tests.rs"]
mod tests;

//! What graceful tells the service manager that gave it a NOTIFY_SOCKET.
//!
//! Nothing here waits. sd_notify(3) itself waits while the manager's queue is full (net.unix.max_dgram_qlen, 10
//! datagrams by default), and PID 1 must not. The address is looked up for each message, so that a manager that was
//! restarted is found.
//!
//! The manager knows that it is graceful that sends: if the receiver asks for it (SO_PASSCRED), the kernel adds the
//! sender's pid, user and group to each datagram (unix(7), SCM_CREDENTIALS).

use super::message::{NotifyMessage, encode};
use super::receiver::NOTIFY_SOCKET;
use crate::sys::{as_fragment, variables};
use socket2::{Domain, SockAddr, Socket, Type};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// A socket for messages to the service manager.
#[derive(Debug)]
pub struct NotifySender {
    socket: Socket,
    address: SockAddr,
    /// The address as errors show it.
    shown: String,
}

/// Why a message was not sent. The same failure of two messages compares equal, so that it can be logged once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotifySendError {
    /// The variable's value is not the address of a socket.
    #[error("NOTIFY_SOCKET={value}: {expected}")]
    Address {
        /// The variable's value.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
    /// The manager does not keep up, and this message is lost.
    #[error("NOTIFY_SOCKET={0}: the service manager does not read; its queue is full")]
    Full(String),
    /// No socket has this address.
    #[error("NOTIFY_SOCKET={0}: nobody listens there")]
    Missing(String),
    /// Any other failure, as a lack of permission.
    #[error("NOTIFY_SOCKET={address}: cannot send: {reason}")]
    Failed {
        /// The variable's value.
        address: String,
        /// In the operating system's words.
        reason: String,
    },
}

impl NotifySender {
    /// For the NOTIFY_SOCKET of graceful's own environment; `None` if it is not set or empty.
    ///
    /// # Errors
    /// Its value is not an address that graceful understands, or a socket cannot be made.
    pub fn from_env() -> Result<Option<NotifySender>, NotifySendError> {
        let value = variables().find(|(name, _)| *name == NOTIFY_SOCKET).map(|(_, value)| value);
        value.filter(|value| !value.is_empty()).map(NotifySender::to).transpose()
    }

    /// For this address: an absolute path, or `@` and an abstract name (sd_notify(3)). Nobody has to listen there yet.
    ///
    /// # Errors
    /// As [`NotifySender::from_env`]. An AF_VSOCK address, as virtual machines use it, is not understood.
    pub fn to(value: &OsStr) -> Result<NotifySender, NotifySendError> {
        let shown = value.to_string_lossy().into_owned();
        let wrong = |expected| NotifySendError::Address { value: shown.clone(), expected };
        let address = match value.as_bytes() {
            [b'/', _, ..] => SockAddr::unix(value),
            [b'@', name @ .., _] if !name.contains(&0) => {
                let mut name = value.as_bytes().to_owned();
                name[0] = 0;
                SockAddr::unix(OsString::from_vec(name))
            }
            _ => return Err(wrong("expected an absolute path, or @ and an abstract name")),
        };
        let address = address.map_err(|_| wrong("expected an address of at most 107 bytes"))?;
        let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)
            .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
            .map_err(|error| NotifySendError::Failed { address: shown.clone(), reason: as_fragment(&error) })?;
        Ok(NotifySender { socket, address, shown })
    }

    /// Sends these in one datagram, now or not at all. [`NotifyMessage::Reloading`] needs a
    /// [`NotifyMessage::MonotonicUsec`] with it, whose time is [`crate::sys::monotonic`].
    ///
    /// # Errors
    /// The message is lost. The next one may get through.
    pub fn send(&self, messages: &[NotifyMessage]) -> Result<(), NotifySendError> {
        let datagram = encode(messages);
        // systemd would log a warning about an empty datagram.
        if datagram.is_empty() {
            return Ok(());
        }
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        match self.socket.send_to_with_flags(datagram.as_bytes(), &self.address, flags) {
            Ok(_) => Ok(()),
            Err(error) => Err(self.error(&error)),
        }
    }

    fn error(&self, error: &io::Error) -> NotifySendError {
        let address = self.shown.clone();
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::ENOBUFS) => NotifySendError::Full(address),
            Some(libc::ENOENT | libc::ECONNREFUSED) => NotifySendError::Missing(address),
            _ => NotifySendError::Failed { address, reason: as_fragment(error) },
        }
    }
}

#[cfg(test)]
#[path = "upward_tests.rs"]
mod tests;

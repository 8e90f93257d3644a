//! sd_notify(3), both sides of it: what the app says to graceful, and what graceful says to the service manager above.
//!
//! ```text
//!   app and its tree ──► NotifyReceiver ──► main loop ──► NotifySender ──► service manager
//!                        a socket of             ▲        the socket that
//!                        graceful's own          │        graceful was given
//!                                            Watchdog: how often WATCHDOG=1 is due
//! ```
//!
//! - [`message`](NotifyMessage): the messages, as types and as bytes. Pure.
//! - [`receiver`](NotifyReceiver): the app's socket.
//! - [`upward`](NotifySender): the messages to the service manager, for which graceful never waits.
//! - [`watchdog`](Watchdog): what WATCHDOG_USEC and WATCHDOG_PID ask of graceful.
//!
//! # Who may send
//!
//! The processes of the app's tree, whatever user they run as. With each datagram the kernel tells the sender's pid
//! (SCM_CREDENTIALS, unix(7)), and the caller of [`NotifyReceiver::recv`] says whether that pid belongs to the tree.
//! File modes cannot decide it: graceful may be root where the app is not (gosu, su-exec and setpriv change the user
//! after graceful has started them). So graceful does not know which user the app will send as, and other processes may
//! run as the same user. The path cannot be kept secret either: /proc/net/unix shows it.
//!
//! So the modes only have to let the app through:
//!
//! | graceful runs as | the socket is in a new directory below | directory | socket |
//! | --- | --- | --- | --- |
//! | root | the first of XDG_RUNTIME_DIR, /run, /tmp that all can get to | 0711: entered, not listed | 0666 |
//! | another user | the first of them in which that user can create it | 0700 | 0600 |
//! | any, if none of them is writable | none: it has the abstract address `@graceful/PID/…` | | |
//!
//! An app that another user than root has started keeps that user, except for set-user-ID programs, which then cannot
//! send. An abstract address has no modes; it belongs to the network namespace, so an app in another one cannot reach
//! it.
//!
//! Where the modes let others in, they can fill the queue for as long as they keep sending, and no more: each of their
//! datagrams is taken out and ignored. A privileged process can send in the name of another pid: `systemd-notify` that
//! root runs does so for its parent, unless that is PID 1. The parent of the app and of hooks is graceful, so the
//! caller should accept graceful's own pid as well.
//!
//! A sender may have ended before its message is read. Until it is reaped, /proc still shows its parent; so read
//! messages before children are reaped. `systemd-notify` and sd_notify_barrier(3) stay until then: they send a
//! descriptor with `BARRIER=1`, and wait for the receiver to close it. No descriptor ever arrives here (there is no
//! FDSTORE): the kernel closes it when the datagram is received, which is after everything that was sent before.

mod message;
mod receiver;
mod upward;
mod watchdog;

pub use message::{LONGEST_DATAGRAM, LONGEST_STATUS, NotifyLines, NotifyMessage, NotifyValueError, encode, parse};
pub use receiver::{NOTIFY_SOCKET, Notification, NotifyReceiver, ReceiveError};
pub use upward::{NotifySendError, NotifySender};
pub use watchdog::Watchdog;

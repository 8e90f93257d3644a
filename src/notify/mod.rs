//! sd_notify(3), both sides of it: what the app says to graceful, and what graceful says to the service manager above.
//!
//! - [`message`](NotifyMessage): the messages, as types and as bytes. Pure.

mod message;

pub use message::{LONGEST_DATAGRAM, LONGEST_STATUS, NotifyLines, NotifyMessage, NotifyValueError, encode, parse};

//! The control socket: how `graceful reload` and `graceful status` talk to the running graceful.
//!
//! ```text
//!   graceful reload ─┐           one line each way                  ┌─► PendingRequest ─┐
//!                    ├─ client ◄── over a Unix socket ──► server ───┤                   ├─ the main loop
//!   graceful status ─┘              (protocol)                      └── ControlAnswer ◄──┘
//! ```
//!
//! - [`protocol`]: what is said, as types and as lines. Pure.
//! - `socket`: the listening socket and its file.
//! - [`server`]: its clients and what each of them is waiting for, driven by the main loop: no thread, no runtime.
//! - [`client`]: asks one thing, waits for the answer, and says what is wrong where there is none.
//! - [`view`]: a status as a person reads it. Pure.
//!
//! # Who may ask
//!
//! root, and the user that graceful runs as: a reload starts a program in that user's name. Two things ensure it. The
//! socket's file has mode 0600 from its first moment on, so that nobody else's connect(2) gets through; and the kernel
//! tells the effective user of whoever has connected, as of that time (SO_PEERCRED, unix(7)), which is checked before a
//! byte is read. The second holds where the first does not: a file system without modes, a descriptor that was handed
//! on.
//!
//! # What clients can take
//!
//! | bound | | what happens there |
//! | --- | --- | --- |
//! | clients | 16, or a quarter of RLIMIT_NOFILE | the oldest that has asked nothing gives way, or else the newcomer |
//! | a request | 64 KiB, one for each connection | it is refused |
//! | silence, including the request | 5 s | it is refused |
//! | an answer that is not read | what the kernel holds for a socket | the connection is closed |
//!
//! Nothing here waits for a client. Without one there is no deadline: the loop sleeps.

pub mod client;
pub mod protocol;
pub mod server;
pub mod view;

mod address;
mod socket;

pub use address::{ControlAddress, DEFAULT_SOCKET};
pub use client::StatusForm;
pub use protocol::{
    ControlAnswer, ControlFault, ControlRequest, GenerationRole, GenerationStatus, LastReload, OtherGeneration,
    ReloadAnswer, ReloadResult, StatusDocument,
};
pub use server::{ControlServer, PendingRequest, RequestId};

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;

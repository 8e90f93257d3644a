//! Requests in flight, seen from outside the app. Pure: samples in, counts and a verdict out; no I/O and no clock.
//!
//! ```text
//!   sys::sockets ── Snapshot ──►┐
//!   the caller ──── now ───────►├── Tracker ──► Counts: unaccepted, busy, unknown, idle ──► log, report, metrics
//!   own probes' addresses ─────►┘        └────► Verdict: idle, quiet, or why not        ──► hold
//! ```
//!
//! The kernel does not know what a request is, but it knows for every connection how many bytes came and went and when
//! the last of each did (tcp(7), TCP_INFO). On HTTP/1 that is enough: client and server take turns, so whoever spoke last
//! has left the next word to the other.
//!
//! # What a connection counts as
//!
//! ```text
//!                       a byte comes in (and none goes out)
//!        ┌──────────────────────────┬───────────────────────────┐
//!        ▼                          │                           │
//!      Asked ── a byte goes out ─► Answering ── pause ───────► Rest ◄── accepted, nothing said yet
//!      busy                        unknown                     idle
//!        ▲                          ▲                           ▲
//!        │ in           out         │          quiet window     │
//!        └───────────────────── Unclear ────────────────────────┘
//!                               unknown: in and out within one clock tick, unseen in between
//! ```
//!
//! - Between two samples the byte counters decide. When both have moved, the later of the two times decides; both are kept
//!   in clock ticks (4 ms at HZ=250, 10 ms at 100), so different times are in true order and equal ones say nothing.
//! - At first sight there are no counters to compare: bytes in and none out is Asked, else the two times decide.
//! - Whatever the state: bytes that the app has not read, or that the client has not acknowledged, make it busy.
//! - An answer that comes in pieces goes on until nothing has been sent for a *pause*, a quarter of the quiet window. So
//!   the tokens of a language model are in flight to the last, if they come faster than that.
//! - A server that speaks unasked (server-sent events, WebSocket) makes no request of that: from Rest a byte out leads to
//!   Rest. Only when it speaks again within a pause it may be an answer that goes on. A stream that never pauses is
//!   unknown for as long as it flows.
//! - Unaccepted is whatever has no inode yet. Each port's listeners count it, too; the larger of both numbers stands.
//! - A FIN counts as a byte (of `received`, `unread` and, of the app's own, `unsent`), and is taken off again: no request
//!   is one. A client that has closed its half still waits for the answer (or has left: nobody can tell).
//! - What the app has closed is gone, not idle; unless data is still on its way to the client, which is busy.
//! - Without counters (/proc/net/tcp) only the queues tell: something in them is busy, nothing in them is unknown, and
//!   idle after a quiet window in which no sample has found anything. A request that takes longer than the quiet window
//!   is not seen then; where even the queues are always 0 (gVisor) it is as if nobody ever spoke.
//!
//! # What is subtracted, and what is not
//!
//! graceful polls the app from this same machine. It knows its own sockets, so the caller names their addresses
//! ([`Tracker::ignore`]), and they are neither counted nor news. Kubelet's probes are not subtracted: they come from the
//! node's address, and so do real clients behind a NodePort, a load balancer or a published port of Docker (source NAT).
//! Like any short request they are in flight for as long as they take; and each is news, so a probe more often than the
//! quiet window keeps `quiet` from coming, up to the hold's timeout. Probes of graceful's own port are not seen at all.
//!
//! # Where it errs
//!
//! A request taken for idle may be killed; an idle connection taken for busy costs time, at most the hold's timeout. So in
//! doubt it is unknown, and that holds until it has been silent for the quiet window. What remains:
//!
//! - idle, wrongly: a request that came within the same tick as the answer before it, with no sample in between, and
//!   takes longer than the quiet window; an answer that pauses for longer than a pause; requests side by side on one
//!   HTTP/2 connection, or pipelined, where the answer to one hides the others until the next byte.
//! - busy, wrongly: a client that had the last word and waits for nothing: WebSocket messages and pongs, HTTP/2 pings and
//!   window updates. A client that does not read its answer, or is gone without a FIN.
//! - not seen: a connection that came and went between two samples (for in flight that is right; for `quiet` it is
//!   news missed), and everything that is not TCP: Unix sockets, QUIC.
//!
//! # What must never be
//!
//! A request whose bytes were seen counted as idle for another reason than those above; a connection counted twice; a
//! panic, whatever the snapshot says. The tests hold this against a simulated world and against nonsense.

mod counts;
mod exchange;
mod tracker;
mod watch;

#[cfg(test)]
mod tests;

pub use counts::{Counts, Verdict};
pub use tracker::Tracker;
pub use watch::{News, Task, Watch};

//! Requests in flight, seen from outside the app. Pure: samples in, counts and a verdict out; no I/O and no clock.
//!
//! ```text
//!   sys::sockets ── Snapshot ──►┐
//!   the caller ──── now ───────►├── Tracker ──► Counts: unaccepted, busy, unknown, idle ──► log, report, metrics
//!   own probes' addresses ─────►┘        └────► Verdict: idle, quiet, or why not        ──► hold
//! ```
//!
//! The kernel does not know what a request is, but it knows for every connection how many bytes came and went and when
//! the last of each did (tcp(7), TCP_INFO). On HTTP/1 that is enough: client and server take turns, so the one that
//! spoke last has left the next word to the other.
//!
//! # The evidence
//!
//! What the kernel shows, what it proves, and what was measured. The recordings are in `tests/fixtures/connections`:
//! nearly 80 scenarios of real servers and clients over loopback, a veth and a line of 10 ms, recorded by `cargo run
//! --example record-connections`; `tests/it/corpus.rs` holds the tracker to them.
//!
//! ```text
//!   evidence                        proves                              measured
//!   ─────────────────────────────── ─────────────────────────────────── ─────────────────────────────────────────────
//!   bytes in, none out              a request                           every first request, plain
//!   bytes between two samples       who spoke; both: see the times      exact, whatever the clock says
//!   time of the last byte each way  who spoke last, if the ticks        in one tick: every kept connection used again at
//!                                   differ (4 ms at HZ=250)             once, TLS 1.3's tickets, fast answers
//!   one segment in, of all          the client has asked once, and      plain HTTP: all; TLS has two at least
//!                                   bytes out have answered it
//!   an ACK later than the last      the last bytes out came after it:   idle: some 40 ms later (delayed ACK, one line's
//!   byte in                         who takes turns acknowledges an     length more); pending: in the same tick, but for
//!                                   answer with the next request        handshakes, whose tickets are acknowledged late
//!   one pure ACK sent in all, and   what came last was acknowledged     plain HTTP with fast answers; a pending one makes
//!   250 ms of silence               by bytes out (the first segment     it two within 40 ms
//!                                   is always acknowledged at once)
//!   a pure ACK more, no bytes       what came last is not answered      pending, within 200 ms of the request
//!   300 bytes each way in nine      nothing: it may be a TLS handshake  tickets went out up to 260 ms after the first
//!   writes or fewer                 and the first request               request had come, on a busy machine
//!   queues                          unread or unsent: busy              slow up- and downloads
//!   out, then the same length in,   the server began (ping, PING), and  uvicorn: 6 and 10 bytes; NATS: 6 and 6;
//!   or 4 more (WebSocket's mask)    the client's reply ended it         HTTP/2: 17 and 17
//!   9, 13 or 17 bytes out           no answer: a frame of HTTP/2        grpcio: 17, and 30, while a call is under way
//! ```
//!
//! # What a connection counts as
//!
//! ```text
//!                       a byte comes in (and none goes out)
//!        ┌──────────────────────────┬───────────────────────────┐
//!        ▼                          │                           │
//!      Asked ── a byte goes out ─► Answering ── pause ───────► Rest ◄── accepted, nothing said yet
//!      busy                        unknown                     idle
//!        ▲                          ▲   └► Streaming: more of it, after a pause of the app's own, of an
//!        │ in           out         │      app without a handler; unknown until a byte comes in
//!        └───────────────────── Unclear ───── as long as doubt may last ───► Rest
//!                               unknown: no evidence of who spoke last
//! ```
//!
//! - Between two samples the byte counters decide. When both have moved, and at first sight, the rest of the evidence
//!   does: the times are in clock ticks, so different ones are in true order and equal ones say nothing.
//! - Never idle without evidence. How long doubt may last depends on what the app does about the stop signal
//!   ([`Handler`]). If the app dies of it, or may: to the end of the hold. If it has a handler of its own: a quiet
//!   window.
//! - Whatever the state: bytes that the app has not read, or that the client has not acknowledged, make it busy.
//! - An answer that comes in pieces goes on until nothing has been sent for a *pause*, a quarter of the quiet window.
//!   So the tokens of a language model are in flight to the last one, if they come faster than that. For an app without
//!   a handler, a pause is the whole quiet window, and from the second piece on there is no end to it but the client's
//!   next word.
//! - A server that speaks unasked (server-sent events, WebSocket) makes no request of that: from Rest a byte out leads
//!   to Rest. Only when it speaks again within a pause may it be an answer that goes on. A stream that never pauses is
//!   unknown for as long as it flows.
//! - What a server began, the client's reply ends: the connection is then what it was before. The reply has the same
//!   length, or the four bytes of a mask more, and comes within a pause. Nothing longer is taken for one, since a
//!   client may also react with a request.
//! - Asked before the stop, and silent since: an app with a handler of its own is waited for two quiet windows on
//!   account of that (Redis' BLPOP, a long poll). Then its own shutdown has the rest of the time, and it knows what it
//!   does.
//! - Unaccepted is whatever has no inode yet. Each port's listeners count it, too; the larger of both numbers stands,
//!   less what graceful had open before the look and what has no row, or one that is new or waited before: it was
//!   accepted while the kernel made its list.
//! - A FIN counts as a byte (of `received`, `unread` and, of the app's own, `unsent`), and is taken off again: no
//!   request is one. A client that has closed its half still waits for the answer (or has left: nobody can tell).
//! - What the app has closed is gone, not idle; unless data is still on its way to the client, which is busy.
//! - Without counters (/proc/net/tcp) only the queues tell: something in them is busy, nothing in them is unknown, and
//!   idle after a quiet window in which no sample has found anything. A request that takes longer than the quiet window
//!   is not seen then; where even the queues are always 0 (gVisor) it is as if nobody ever spoke.
//!
//! # What is subtracted, and what is not
//!
//! graceful polls the app from this same machine. It knows its own sockets, so the caller names their addresses
//! ([`Tracker::ignore`]), and they are neither counted nor news. Kubelet's probes are not subtracted: they come from
//! the node's address, and so do real clients behind a NodePort, a load balancer or a published port of Docker (source
//! NAT). Like any short request they are in flight for as long as they take; and each is news, so a probe more often
//! than the quiet window keeps `quiet` from coming, up to the hold's timeout. Probes of graceful's own port are not
//! seen at all.
//!
//! # Where it errs
//!
//! A request taken for idle may be killed; an idle connection taken for busy costs time, at most the hold's timeout. So
//! in doubt it is unknown. What remains:
//!
//! - idle, wrongly: an answer that pauses for longer than a pause, and one whose first piece came before the stop;
//!   requests side by side on one HTTP/2 connection, or pipelined, where the answer to one hides the others until the
//!   next byte; a call over HTTP/2 during which the client's ping was acknowledged before the stop (grpcio measures the
//!   line that way); a first request that came in one segment within a tick of the server's greeting; a request as long
//!   as what the server had just sent unasked, or four bytes longer; an app that switches quick acknowledgements off
//!   (TCP_QUICKACK) and was asked twice.
//! - busy or unknown, wrongly: a client that had the last word before the stop and waits for nothing: WebSocket pongs,
//!   HTTP/2's acknowledgements and window updates. (As long as a request may be as short as those, 13 bytes, they are
//!   requests.) A connection with two to four requests, or one to four over TLS, which looks like a handshake. A
//!   client that does not read its answer, or is gone without a FIN.
//! - not seen: a connection that came and went between two samples (for in flight that is right; for `quiet` it is
//!   news missed), and UDP: QUIC, DNS. The log says that there are such sockets.
//!
//! # Unix sockets
//!
//! The kernel shows their queues and no bytes, and no times. So the count of what a listener's queue holds, and of what
//! is unread or unsent, is exact; an accepted connection with empty queues may be a request that the app works on, or
//! one that a proxy keeps. It is unknown, and idle when the same one was silent for the quiet window; but not where the
//! app provably has no handler for its stop signal: there it stays unknown until the client closes it, up to the hold's
//! timeout. Connections between two processes of the app are its own affairs and count as nothing. With `--ports` only
//! those ports count.
//!
//! # Where the app listens
//!
//! Every descriptor of every process of its tree is looked at, at t0 and again each second until it has its signal;
//! what was found once stays. A connection counts by address and port; a listener on all addresses takes what comes to
//! any. Where other processes share an address and port by SO_REUSEPORT, theirs count as well: for time, at most the
//! hold's timeout. *Nothing listens* is only said where it is proven (`sys::sockets` says how).
//!
//! # What must never be
//!
//! A request whose bytes were seen counted as idle for a reason other than those above; a connection counted twice; a
//! panic, whatever the snapshot says. The tests hold this against a simulated world and against nonsense.

mod evidence;
mod exchange;
mod found;
mod handler;
mod inside;
mod own;
mod tracker;
mod unix;
mod verdict;
mod watch;

#[cfg(test)]
mod tests;

pub use handler::Handler;
pub use tracker::{Pause, Tracker};
pub use verdict::HoldVerdict;
pub use watch::{InFlightEvent, Task, WatchThread};

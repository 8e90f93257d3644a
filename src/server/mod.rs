//! The probe server: `/livez`, `/startupz`, `/readyz` and `/metrics` on `--probe-listen`.
//!
//! ```text
//! Listener ─► accept, one a turn ─► Pool ─► silent ── first byte ──► talking (hyper) ─► answer ◄── Shared
//! ```
//!
//! - [`listener`]: the listening socket, bound before the app starts.
//! - `pool`: the open connections, and which of them gives way.
//! - `stream`: one connection's socket, with the deadline for its reader.
//! - `request`, `response`: from a request to its answer, without I/O: nobody waits for a check.
//! - `state`: what is known about the app and its checks, from which probes are answered; whoever asks the app records
//!   it there.
//! - `metrics`: what `/metrics` says.
//! - `limits`: the numbers.
//!
//! # What clients can take
//!
//! Everybody who reaches the port may send anything, and as much of it as there is. Each resource has a bound, and at
//! each bound the same rule: **the oldest connection that uses it gives way to the new one**. A client that sends its
//! request at once is answered in the turn in which the request is seen, so what is old is slow or idle. A client that
//! holds connections therefore takes them from itself, and a probe gets through.
//!
//! | bound | | who gives way |
//! | --- | --- | --- |
//! | connections | 256, or a quarter of RLIMIT_NOFILE | the oldest |
//! | connections that have sent something | 64 | the oldest of them |
//! | answers that wait for their readers, together | 256 KiB (or one answer) | the oldest that waits |
//! | a request's head | 8 KiB, 64 lines | itself: 431 |
//! | silence, and then the head | 7 s each | itself |
//! | an answer that waits for its reader | 10 s | itself |
//! | a request's body | is not read | itself, after the answer |
//!
//! A silent connection costs its descriptor and less than 2 KiB. One that talks has hyper's two buffers of 8 KiB
//! besides, and its headers for as long as an answer is made. So the worst case is 256 × 2 KiB + 64 × 18 KiB + 256 KiB:
//! less than 2 MiB. The kernel holds up to 32 KiB for each TCP connection to be read, in the backlog of the listener
//! too, and 64 KiB to be sent, the latter up to 10 s longer than the connection; what gives way is reset, so that
//! nothing of it is held.
//!
//! Invariants:
//! - A turn of the loop is: accept one connection; see what has come in on all others, and answer it; if all places are
//!   taken, have the oldest give way. So no client gives way whose request was there before the newcomer was accepted,
//!   however fast they come.
//! - No error and no panic of a connection ends the loop. Where descriptors or memory are short, the oldest connections
//!   are closed, and after a growing pause it goes on.
//! - The only timers are those of open connections: without any, the thread sleeps.
//! - An answer is a line at `--log-level debug`, what a connection suffers is one at trace; of a flood, neither is
//!   written for longer than the log has room.

pub mod listener;

mod limits;
mod lock;
mod metrics;
mod pool;
mod request;
mod response;
mod state;
mod stream;

pub use listener::ProbeListener;
pub use state::{AppFacts, Shared};

use crate::sys::in_words;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use limits::{HEAD_BYTES, HEAD_LINES, ServerLimits};
use listener::Acceptor;
use pool::{Pool, Slot};
use std::convert::Infallible;
use std::future::{poll_fn, ready};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use stream::ProbeStream;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};
use tracing::{debug, trace};

/// The pause after an error of accept(2); doubled with each further one.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Answers probes until it is dropped, which closes all connections. Runs in a tokio `LocalSet`.
///
/// # Errors
/// Returns only if the runtime cannot take the listener.
pub(crate) async fn serve(listener: ProbeListener, shared: Arc<Shared>) -> io::Error {
    match listener.into_acceptor() {
        Ok(acceptor) => {
            let answer = move |request: &Request<Incoming>| response::answer(request, &shared);
            run(acceptor, ServerLimits::here(), answer).await
        }
        Err(error) => error,
    }
}

/// What all connections share.
struct ServerContext<A> {
    http: http1::Builder,
    limits: ServerLimits,
    answer: A,
}

/// The loop.
async fn run<A>(acceptor: Acceptor, limits: ServerLimits, answer: A) -> !
where
    A: Fn(&Request<Incoming>) -> Response<String> + 'static,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(HEAD_BYTES).max_headers(HEAD_LINES);
    // A client may close its side when it has asked (nc -N); without this it would get no answer.
    http.half_close(true);
    let desk = Rc::new(ServerContext { http, limits, answer });
    let pool = Pool::new(limits);
    let mut pause = SHORTEST_PAUSE;
    loop {
        let accepted = acceptor.accept(limits.answer).await;
        // Everybody's turn: what came before this connection is answered before any client gives way to it.
        yield_now().await;
        match accepted {
            Ok(stream) => {
                pool.admit(|seat| attend(stream, seat, desk.clone()));
                pause = SHORTEST_PAUSE;
            }
            // The client went away while it waited; the next one is not to wait for that.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                let (short, pause_s, why) = (is_shortage(&error), pause.as_secs_f64(), in_words(&error));
                debug!(name: "probe_not_accepted", error = why, short, pause_s, "no connection accepted for a probe: \
                              {why}; next try in {pause:.1?}");
                if short {
                    pool.shrink();
                }
                sleep(pause).await;
                pause = LONGEST_PAUSE.min(pause * 2);
            }
        }
    }
}

/// Whether there are too few descriptors or too little memory (accept(2)).
fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// A connection's life.
async fn attend<A>(stream: ProbeStream, seat: Slot, desk: Rc<ServerContext<A>>)
where
    A: Fn(&Request<Incoming>) -> Response<String>,
{
    // hyper's buffers are for those who send something; and in a box of their own, since most of a flood never does.
    match timeout(desk.limits.head, poll_fn(|cx| stream.poll_readable(cx))).await {
        Ok(_) => Box::pin(talk(stream, seat, desk)).await,
        Err(_) => {
            trace!(name: "probe_silent", "a connection to the probe server has sent nothing in time: closed");
            stream.close_quietly();
        }
    }
}

async fn talk<A>(stream: ProbeStream, seat: Slot, desk: Rc<ServerContext<A>>)
where
    A: Fn(&Request<Incoming>) -> Response<String>,
{
    seat.talks();
    let service = service_fn(|request: Request<Incoming>| {
        let body = |text| Full::new(Bytes::from_owner(seat.send(text)));
        ready(Ok::<_, Infallible>((desk.answer)(&request).map(body)))
    });
    let mut connection = desk.http.serve_connection(TokioIo::new(stream), service);
    let ended = (&mut connection).await;
    if let Err(error) = &ended {
        trace!(name: "probe_cut_off", %error, "a connection to the probe server ended before its time: {error}");
    }
    if ended.is_err_and(|error| error.is_timeout()) {
        connection.into_parts().io.into_inner().close_quietly();
    }
}

#[cfg(test)]
mod testing;

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;

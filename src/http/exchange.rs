//! One HTTP/1.1 request and its answer over a connection of their own, with a bound on what the other side may send.
//!
//! Built on hyper's bare connection: names, TLS and redirects are the client's, so that each has its deadline and its
//! words.
//!
//! ```text
//!   socket ─► Wire (bounds bytes) ─► TLS ─► hyper ─► Exchange (the head) ─► body
//! ```
//!
//! The bound is below TLS and HTTP, since what is endless may not be a message yet: records without content, answers
//! 100 to 199, the zeros before a chunk's size, header lines. None of that ends by a limit on heads and bodies, and a
//! parser that is never at the end of its input keeps the thread to itself.

use super::error::{RequestError, TooMuch, of_http};
use super::metered::{Meter, Metered};
use crate::sys::sockets::UnansweredGuard;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// All that the other side may send for one request: far more than certificates, a head and the part of the body that
/// is read come to.
const MAX_BYTES: usize = 256 * 1024;

/// A connection that takes a bounded number of bytes.
pub(crate) type Wire<S> = Metered<S, Bound>;

/// What may still come in, and what becomes of the connection: noted before the socket is closed.
pub(crate) struct Bound {
    client: Option<UnansweredGuard>,
    answered: Arc<AtomicBool>,
    left: usize,
}

impl Bound {
    /// For a connection to this port of the app, or `None` if it is not a connection to an app.
    pub(crate) fn new(port: Option<u16>) -> Bound {
        Bound { client: Some(UnansweredGuard::of(port)), answered: Arc::default(), left: MAX_BYTES }
    }

    /// To be set once there is an answer, while the connection is open.
    pub(crate) fn answered(&self) -> Arc<AtomicBool> {
        self.answered.clone()
    }
}

impl Meter for Bound {
    fn received(&mut self, bytes: usize) -> io::Result<()> {
        self.left = self.left.checked_sub(bytes).ok_or_else(|| io::Error::other(TooMuch { limit: MAX_BYTES }))?;
        Ok(())
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Some(client) = self.client.take().filter(|_| self.answered.load(Ordering::Relaxed)) {
            client.answered();
        }
    }
}

/// The head of an answer, and the connection on which the body comes. Dropped before [`Exchange::is_complete`], it
/// closes the connection at once.
pub(crate) struct Exchange {
    pub(crate) response: Response<Incoming>,
    connection: ConnectionTask,
    answered: Arc<AtomicBool>,
}

/// The task that moves the bytes.
struct ConnectionTask {
    task: JoinHandle<()>,
    is_over: bool,
    /// While it is there the socket is open.
    _held: oneshot::Sender<()>,
}

impl Drop for ConnectionTask {
    fn drop(&mut self) {
        if !self.is_over {
            self.task.abort();
        }
    }
}

impl Exchange {
    /// Sends the request and waits for the head of its answer, which may have `head` bytes; hyper takes no less
    /// than 8 KiB.
    ///
    /// `answered` is the stream's own.
    pub(crate) async fn begin<S>(
        stream: S,
        answered: Arc<AtomicBool>,
        request: Request<Empty<Bytes>>,
        head: usize,
    ) -> Result<Exchange, RequestError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let handshake = http1::Builder::new().max_buf_size(head).handshake(TokioIo::new(stream));
        let (mut sender, mut connection) = handshake.await.map_err(|error| of_http(&error))?;
        // The request learns of its end, and of its error, as well.
        let (held, released) = oneshot::channel();
        let task = tokio::spawn(async move {
            _ = (&mut connection).await;
            // It often ends before anybody has looked at the answer, and has to be there until it is known whether
            // there was one. A sender that is dropped says that it is.
            _ = released.await;
        });
        let connection = ConnectionTask { task, is_over: false, _held: held };
        let response = sender.send_request(request).await.map_err(|error| of_http(&error))?;
        Ok(Exchange { response, connection, answered })
    }

    /// The app has nothing more to do for it. Failed or given up, the connection is noted as one that graceful closed.
    pub(crate) fn has_answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// The next piece of the body; `None` is its end.
    pub(crate) async fn chunk(&mut self) -> Option<Result<Bytes, RequestError>> {
        loop {
            match self.response.body_mut().frame().await {
                Some(Ok(frame)) => {
                    // The rest are trailers.
                    if let Ok(data) = frame.into_data() {
                        return Some(Ok(data));
                    }
                }
                Some(Err(error)) => return Some(Err(of_http(&error))),
                None => {
                    // The connection may say its farewell (TLS has one), which needs nobody to wait for it.
                    self.connection.is_over = true;
                    return None;
                }
            }
        }
    }
}

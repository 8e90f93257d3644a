//! One HTTP/1.1 request and its answer over a connection of their own, with a bound on what the other side may send.
//!
//! Built on hyper's bare connection: names, TLS and redirects are the client's, so that each has its deadline and its
//! words.
//!
//! ```text
//!   socket ─► Wire (counts bytes) ─► TLS ─► hyper ─► Exchange (the head) ─► body
//! ```
//!
//! The bound is below TLS and HTTP, since what is endless may be no message yet: records without content, answers 100 to
//! 199, the zeros before a chunk's size, header lines. None of that ends by a limit on heads and bodies, and a parser that
//! is never at the end of its input keeps the thread to itself.

use super::fault::{Fault, of_http};
use crate::sys::sockets::Client;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// All that the other side may send for one request: far more than certificates, a head and the part of the body that is
/// read come to.
const MAX_BYTES: usize = 256 * 1024;

/// The other side sent more than [`MAX_BYTES`], and no end of it is in sight.
#[derive(Debug, thiserror::Error)]
#[error("more than {} KiB came before the answer was complete", MAX_BYTES / 1024)]
pub(super) struct TooMuch;

/// A connection that counts what comes in.
pub(super) struct Wire<S> {
    /// Declared before the socket, it is dropped before that is closed.
    client: Option<Client>,
    answered: Arc<AtomicBool>,
    stream: S,
    left: usize,
}

impl<S> Wire<S> {
    /// To this port of the app, or `None` if it is no connection to an app.
    pub(super) fn new(stream: S, port: Option<u16>) -> Wire<S> {
        Wire { client: Some(Client::of(port)), answered: Arc::default(), stream, left: MAX_BYTES }
    }

    /// To be set once there is an answer, while the connection is open.
    pub(super) fn answered(&self) -> Arc<AtomicBool> {
        self.answered.clone()
    }
}

impl<S> Drop for Wire<S> {
    fn drop(&mut self) {
        if let Some(client) = self.client.take().filter(|_| self.answered.load(Ordering::Relaxed)) {
            client.answered();
        }
    }
}

/// The head of an answer, and the connection on which the body comes. Dropped before [`Exchange::is_complete`], it closes
/// the connection at once.
pub(super) struct Exchange {
    pub(super) response: Response<Incoming>,
    connection: Connection,
    answered: Arc<AtomicBool>,
}

/// The task that moves the bytes.
struct Connection {
    task: JoinHandle<()>,
    is_over: bool,
    /// While it is there the socket is open.
    _held: oneshot::Sender<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.is_over {
            self.task.abort();
        }
    }
}

impl Exchange {
    /// Sends the request and waits for the head of its answer, which has so many bytes at most; hyper takes no less than
    /// 8 KiB.
    ///
    /// `answered` is the stream's own.
    pub(super) async fn begin<S>(
        stream: S,
        answered: Arc<AtomicBool>,
        request: Request<Empty<Bytes>>,
        head: usize,
    ) -> Result<Exchange, Fault>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let handshake = http1::Builder::new().max_buf_size(head).handshake(TokioIo::new(stream));
        let (mut sender, mut connection) = handshake.await.map_err(|error| of_http(&error))?;
        // Its end, and its error, are told to the request as well.
        let (held, released) = oneshot::channel();
        let task = tokio::spawn(async move {
            _ = (&mut connection).await;
            // It often ends before anybody has looked at the answer, and has to be there until it is known whether there
            // was one. A sender that is dropped says that it is.
            _ = released.await;
        });
        let connection = Connection { task, is_over: false, _held: held };
        let response = sender.send_request(request).await.map_err(|error| of_http(&error))?;
        Ok(Exchange { response, connection, answered })
    }

    /// The app has nothing more to do for it. Failed or given up, the connection is noted as one that graceful closed.
    pub(super) fn has_answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// The next piece of the body; `None` is its end.
    pub(super) async fn chunk(&mut self) -> Option<Result<Bytes, Fault>> {
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

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        match self.left.checked_sub(buffer.filled().len() - before) {
            Some(left) => self.left = left,
            None => return Poll::Ready(Err(io::Error::other(TooMuch))),
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }
}

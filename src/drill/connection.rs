//! One HTTP/1.1 connection, and exactly what became of each request on it.
//!
//! hyper speaks HTTP; this sees to it that nothing is hidden: no pool, no retry, no reconnect. What a library calls an
//! error is told apart by where it happened: while connecting, before the first byte of the answer, in it.

use super::plan::Target;
use super::record::Outcome;
use crate::sys::in_words;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, LOCATION, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::cell::Cell;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// A connection on which one request after the other may be sent.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// Bytes that came; a failure without one came before any answer.
    received: Rc<Cell<u64>>,
    used: bool,
    host: String,
}

/// What became of one request.
#[derive(Debug)]
pub(super) struct End {
    pub(super) outcome: Outcome,
    pub(super) status: Option<u16>,
    /// Where it would have been redirected to.
    pub(super) location: Option<String>,
    pub(super) detail: String,
}

/// One try on a connection.
pub(super) enum Tried {
    /// It is over; the connection, if it may be used again.
    Over(End, Option<Connection>),
    /// The server had closed the connection before the request was sent: a router would have seen that, too.
    WasClosed,
}

/// How to connect: where, and whether by TLS.
#[derive(Clone)]
pub(super) struct Route {
    /// All addresses of the host; the first that takes the connection is used.
    pub(super) addresses: Vec<SocketAddr>,
    /// For the Host header.
    pub(super) host: String,
    #[cfg(feature = "https")]
    pub(super) tls: Option<(tokio_rustls::TlsConnector, rustls::pki_types::ServerName<'static>)>,
}

impl End {
    /// The drill was over before it.
    pub(super) fn unfinished() -> End {
        End::of(Outcome::Unfinished, "still open at the end")
    }

    /// A connection that was new was closed before the request was sent.
    pub(super) fn closed() -> End {
        End::of(Outcome::Reset, "connection closed before an answer")
    }

    fn of(outcome: Outcome, detail: impl Into<String>) -> End {
        End { outcome, status: None, location: None, detail: detail.into() }
    }
}

impl Connection {
    /// Connects, or says what became of the request that needed it.
    pub(super) async fn open(route: &Route, deadline: Instant) -> Result<Connection, End> {
        let late = |what: &str| End::of(Outcome::BlackHole, what);
        let stream = timeout_at(deadline, connect(&route.addresses))
            .await
            .map_err(|_| late("the connection was not taken within the timeout"))?
            .map_err(|error| match error.kind() {
                ErrorKind::ConnectionRefused => End::of(Outcome::Refused, "connection refused"),
                ErrorKind::ConnectionReset => End::of(Outcome::Reset, "reset while connecting"),
                _ => End::of(Outcome::Broken, format!("cannot connect: {}", in_words(&error))),
            })?;
        // Without it a small request may wait for an acknowledgement (tcp(7), Nagle).
        _ = stream.set_nodelay(true);
        let received = Rc::new(Cell::new(0));
        #[cfg(feature = "https")]
        if let Some((connector, name)) = &route.tls {
            let stream = timeout_at(deadline, connector.connect(name.clone(), stream))
                .await
                .map_err(|_| late("the TLS handshake was not over within the timeout"))?
                .map_err(|error| tls_failed(&error))?;
            return Connection::speak(Box::new(stream), received, route).await;
        }
        Connection::speak(Box::new(stream), received, route).await
    }

    /// One kind of stream, and so one copy of HTTP in the binary.
    async fn speak(stream: Box<dyn Stream>, received: Rc<Cell<u64>>, route: &Route) -> Result<Connection, End> {
        let counted = TokioIo::new(Counted { stream, received: received.clone() });
        let (sender, connection) =
            http1::handshake(counted).await.map_err(|error| End::of(Outcome::Broken, error.to_string()))?;
        // Its errors come back through the requests.
        tokio::task::spawn_local(async move { _ = connection.await });
        Ok(Connection { sender, received, used: false, host: route.host.clone() })
    }

    /// Whether the server has not closed it, as far as this end knows.
    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Sends a request and reads its whole answer.
    pub(super) async fn send(mut self, target: &Target, deadline: Instant) -> Tried {
        let reused = std::mem::replace(&mut self.used, true);
        if reused && self.sender.ready().await.is_err() {
            return Tried::WasClosed;
        }
        let request = match request(target, &self.host) {
            Ok(request) => request,
            Err(error) => return Tried::Over(End::of(Outcome::Broken, error.to_string()), None),
        };
        let before = self.received.get();
        let answered = |connection: &Connection| connection.received.get() > before;
        let head = match timeout_at(deadline, self.sender.try_send_request(request)).await {
            Err(_) => {
                let outcome = if reused || answered(&self) { Outcome::Timeout } else { Outcome::BlackHole };
                return Tried::Over(End::of(outcome, "no answer within the timeout"), None);
            }
            Ok(Err(mut error)) => {
                if error.take_message().is_some() && reused {
                    return Tried::WasClosed;
                }
                let answered = answered(&self);
                return Tried::Over(before_head(&error.into_error(), answered), None);
            }
            Ok(Ok(head)) => head,
        };
        self.read(head, deadline).await
    }

    async fn read(self, mut answer: Response<hyper::body::Incoming>, deadline: Instant) -> Tried {
        let status = answer.status();
        let closes = says_close(answer.headers());
        let location = answer.headers().get(LOCATION).map(|to| String::from_utf8_lossy(to.as_bytes()).into_owned());
        let body = async {
            while let Some(frame) = answer.body_mut().frame().await {
                frame?;
            }
            Ok::<(), hyper::Error>(())
        };
        let (outcome, detail) = match timeout_at(deadline, body).await {
            Err(_) => (Outcome::Timeout, "the answer was not complete within the timeout".to_owned()),
            Ok(Err(error)) => in_body(&error),
            Ok(Ok(())) if !status.is_success() => (Outcome::Status, status.to_string()),
            Ok(Ok(())) if closes => (Outcome::OkClose, String::new()),
            Ok(Ok(())) => (Outcome::Ok, String::new()),
        };
        let complete = outcome.is_ok() || outcome == Outcome::Status;
        let end = End { outcome, status: Some(status.as_u16()), location, detail };
        Tried::Over(end, (complete && !closes).then_some(self))
    }
}

async fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) if stream.local_addr().is_ok_and(|local| stream.peer_addr().is_ok_and(|peer| peer == local)) => {
                // Connected to itself (RFC 9293, 3.5: simultaneous open): nobody listens there.
                last = ErrorKind::ConnectionRefused.into();
            }
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(feature = "https")]
fn tls_failed(error: &io::Error) -> End {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe => {
            End::of(Outcome::Reset, "closed during the TLS handshake")
        }
        _ => End::of(Outcome::Broken, format!("TLS: {error}")),
    }
}

fn request(target: &Target, host: &str) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let url = &target.url;
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let mut request = Request::builder()
        .method(target.method.as_str())
        .uri(path)
        .header(HOST, host)
        .header(USER_AGENT, concat!("graceful-drill/", env!("CARGO_PKG_VERSION")));
    if let Some(authorization) = url.basic_authorization() {
        request = request.header(AUTHORIZATION, authorization);
    }
    if let Some(body) = &target.body {
        request = request.header(CONTENT_LENGTH, body.len());
    }
    request.body(Full::new(Bytes::from(target.body.clone().unwrap_or_default())))
}

fn before_head(error: &hyper::Error, answered: bool) -> End {
    match io_kind(error) {
        Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) if answered => {
            End::of(Outcome::ResetInAnswer, "reset in the middle of the answer's head")
        }
        Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
            End::of(Outcome::Reset, "connection reset before an answer")
        }
        _ if error.is_parse() => End::of(Outcome::Broken, format!("not HTTP: {error}")),
        _ if answered => End::of(Outcome::Truncated, "closed in the middle of the answer's head"),
        _ => End::of(Outcome::Reset, "connection closed before an answer"),
    }
}

fn in_body(error: &hyper::Error) -> (Outcome, String) {
    match io_kind(error) {
        Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
            (Outcome::ResetInAnswer, "connection reset in the middle of the answer".to_owned())
        }
        _ if error.is_parse() => (Outcome::Broken, format!("not HTTP: {error}")),
        _ => (Outcome::Truncated, "connection closed in the middle of the answer".to_owned()),
    }
}

fn io_kind(error: &hyper::Error) -> Option<ErrorKind> {
    let mut source: Option<&(dyn Error + 'static)> = error.source();
    while let Some(inner) = source {
        if let Some(error) = inner.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        source = inner.source();
    }
    None
}

fn says_close(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case("close"))
}

/// A connection, with or without TLS.
trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// A stream that counts what it receives.
struct Counted {
    stream: Box<dyn Stream>,
    received: Rc<Cell<u64>>,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        let count = buf.filled().len().saturating_sub(before);
        self.received.set(self.received.get() + count as u64);
        result
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;

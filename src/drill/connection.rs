//! One HTTP/1.1 connection, and exactly what became of each request on it.
//!
//! hyper speaks HTTP; this sees to it that nothing is hidden: no pool, no retry, no reconnect. What a library calls an
//! error is told apart by where it happened: while connecting, before the first byte of the answer, or within it.

use super::header::Header;
use super::plan::Target;
use super::record::RequestOutcome;
#[cfg(feature = "https")]
use crate::http::TlsFailure;
use crate::http::{Meter, Metered};
use crate::secret::Url;
use crate::sys::in_words;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderValue, LOCATION, TRANSFER_ENCODING, USER_AGENT,
};
use hyper::http::Error as HttpError;
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use std::borrow::Cow;
use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};

/// The time from one try of a Unix socket whose backlog is full to the next: the kernel lets no non-blocking connect
/// wait there (connect(2), EAGAIN), as TCP does.
const BACKLOG_AGAIN: Duration = Duration::from_millis(5);

/// A connection on which one request after another may be sent.
pub(super) struct ClientConnection {
    sender: SendRequest<Full<Bytes>>,
    /// Bytes that came; a failure without one came before any answer.
    received: Rc<Cell<u64>>,
    used: bool,
    port: Option<u16>,
}

/// What became of one request.
#[derive(Debug)]
pub(super) struct End {
    pub(super) outcome: RequestOutcome,
    pub(super) status: Option<u16>,
    /// Where it would have been redirected.
    pub(super) location: Option<String>,
    /// The bytes of an answer that had no other end than that of its connection (RFC 9112, 6.3: no Content-Length and
    /// not chunked). Only its sender knows whether it was whole.
    pub(super) undelimited: Option<u64>,
    pub(super) detail: Cow<'static, str>,
    /// What is not spoken there, where that is the reason.
    pub(super) unspoken: Option<Unspoken>,
}

/// What the client and the server do not both speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unspoken {
    /// Both speak TLS, and the client does not trust the server's certificate.
    #[cfg(feature = "https")]
    Untrusted,
    /// Both speak TLS, and do not agree.
    #[cfg(feature = "https")]
    TlsRefused,
    /// The server does not speak TLS.
    #[cfg(feature = "https")]
    NotTls,
    /// The server does not speak HTTP/1.1.
    NotHttp,
}

/// One try on a connection.
pub(super) enum Tried {
    /// The request is over; the connection, if it may be used again.
    Over(End, Option<ClientConnection>),
    /// The server had closed the connection before the request was sent: a router would have seen that, too.
    WasClosed,
}

/// What is asked, prepared once for all requests.
#[derive(Clone)]
pub(super) struct PreparedRequest {
    /// "GET http://127.0.0.1:8080/", without what may be a secret.
    pub(super) name: String,
    pub(super) route: Route,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

/// How to connect: where, and whether by TLS.
#[derive(Clone)]
pub(super) struct Route {
    /// All addresses of the host; the first that takes the connection is used.
    pub(super) peers: Vec<Peer>,
    #[cfg(feature = "https")]
    pub(super) tls: Option<(tokio_rustls::TlsConnector, rustls::pki_types::ServerName<'static>)>,
}

/// One address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl PreparedRequest {
    /// Prepares a request, with these headers in place of the drill's own.
    pub(super) fn new(target: &Target<Url>, route: Route, headers: &[Header]) -> Result<PreparedRequest, HttpError> {
        let url = &target.place;
        let mut all = HeaderMap::new();
        all.insert(HOST, HeaderValue::from_str(&host(url))?);
        all.insert(USER_AGENT, HeaderValue::from_static(concat!("graceful-drill/", env!("CARGO_PKG_VERSION"))));
        if let Some(authorization) = url.basic_authorization() {
            let mut value = HeaderValue::from_str(&authorization)?;
            value.set_sensitive(true);
            all.insert(AUTHORIZATION, value);
        }
        if let Some(body) = &target.body {
            all.insert(CONTENT_LENGTH, body.len().into());
        }
        Header::apply(headers, &mut all);
        Ok(PreparedRequest {
            name: format!("{} {url}", target.method),
            route,
            method: Method::from_bytes(target.method.as_bytes())?,
            uri: Uri::try_from(url.request_target())?,
            headers: all,
            body: Bytes::from(target.body.clone().unwrap_or_default()),
        })
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

/// The value of the Host header.
fn host(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(name), Some(port)) => format!("{name}:{port}"),
        (Some(name), None) => name.to_owned(),
        // As curl does for --unix-socket with a URL of localhost.
        (None, _) => "localhost".to_owned(),
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Tcp(address) => address.fmt(f),
            Peer::Unix(path) => path.display().fmt(f),
        }
    }
}

impl Route {
    /// Whether somebody takes connections there at this moment.
    pub(super) fn accepts(&self, within: Duration) -> bool {
        self.peers.iter().any(|peer| match peer {
            Peer::Tcp(address) => std::net::TcpStream::connect_timeout(address, within).is_ok(),
            Peer::Unix(path) => std::os::unix::net::UnixStream::connect(path).is_ok(),
        })
    }
}

impl End {
    /// A request that was not over when the drill was.
    pub(super) fn unfinished() -> End {
        End::of(RequestOutcome::Unfinished, "still open at the end")
    }

    /// A new connection that was closed before the request was sent.
    pub(super) fn closed() -> End {
        End::of(RequestOutcome::Reset, "connection closed before an answer")
    }

    fn of(outcome: RequestOutcome, detail: impl Into<Cow<'static, str>>) -> End {
        End { outcome, status: None, location: None, undelimited: None, detail: detail.into(), unspoken: None }
    }

    fn not_http(error: &hyper::Error) -> End {
        End { unspoken: Some(Unspoken::NotHttp), ..End::of(RequestOutcome::Broken, format!("not HTTP: {error}")) }
    }
}

impl ClientConnection {
    /// Connects, or says what became of the request that needed it.
    pub(super) async fn open(route: &Route, deadline: Instant) -> Result<ClientConnection, End> {
        let late = |what: &'static str| End::of(RequestOutcome::BlackHole, what);
        let (stream, port) = timeout_at(deadline, connect(&route.peers))
            .await
            .map_err(|_| late("the connection was not taken within the timeout"))?
            .map_err(|error| match error.kind() {
                ErrorKind::ConnectionRefused => End::of(RequestOutcome::Refused, "connection refused"),
                ErrorKind::ConnectionReset => End::of(RequestOutcome::Reset, "reset while connecting"),
                _ => End::of(RequestOutcome::Broken, format!("cannot connect: {}", in_words(&error))),
            })?;
        let received = Rc::new(Cell::new(0));
        #[cfg(feature = "https")]
        if let Some((connector, name)) = &route.tls {
            let stream = timeout_at(deadline, connector.connect(name.clone(), stream))
                .await
                .map_err(|_| late("the TLS handshake was not over within the timeout"))?
                .map_err(|error| tls_failed(&error))?;
            return ClientConnection::speak(Box::new(stream), received, port).await;
        }
        ClientConnection::speak(stream, received, port).await
    }

    /// Speaks HTTP on it. One kind of stream means one copy of HTTP in the binary.
    async fn speak(
        stream: Box<dyn Stream>,
        received: Rc<Cell<u64>>,
        port: Option<u16>,
    ) -> Result<ClientConnection, End> {
        let counted = TokioIo::new(Metered::new(stream, Received(received.clone())));
        let (sender, connection) =
            http1::handshake(counted).await.map_err(|error| End::of(RequestOutcome::Broken, error.to_string()))?;
        // Its errors come back through the requests.
        tokio::task::spawn_local(async move { _ = connection.await });
        Ok(ClientConnection { sender, received, used: false, port })
    }

    /// This end's TCP port; a Unix socket has none.
    pub(super) fn port(&self) -> Option<u16> {
        self.port
    }

    /// Whether it is open, as far as this end knows.
    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Sends a request and reads its whole answer.
    pub(super) async fn send(mut self, asked: &PreparedRequest, deadline: Instant) -> Tried {
        let reused = std::mem::replace(&mut self.used, true);
        if reused && self.sender.ready().await.is_err() {
            return Tried::WasClosed;
        }
        let before = self.received.get();
        let answered = |connection: &ClientConnection| connection.received.get() > before;
        let head = match timeout_at(deadline, self.sender.try_send_request(asked.request())).await {
            Err(_) => {
                let outcome =
                    if reused || answered(&self) { RequestOutcome::Timeout } else { RequestOutcome::BlackHole };
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
        let ends_with_connection = ends_with_connection(&answer);
        let mut length = 0;
        let body = async {
            while let Some(frame) = answer.body_mut().frame().await {
                length += frame?.data_ref().map_or(0, Bytes::len) as u64;
            }
            Ok::<(), hyper::Error>(())
        };
        let end = match timeout_at(deadline, body).await {
            Err(_) => End::of(RequestOutcome::Timeout, "the answer was not complete within the timeout"),
            Ok(Err(error)) => in_body(&error),
            Ok(Ok(())) if !status.is_success() => End::of(RequestOutcome::Status, status.to_string()),
            Ok(Ok(())) if closes => End::of(RequestOutcome::OkClose, ""),
            Ok(Ok(())) => End::of(RequestOutcome::Ok, ""),
        };
        let complete = end.outcome.is_ok() || end.outcome == RequestOutcome::Status;
        let undelimited = (complete && ends_with_connection).then_some(length);
        let end = End { status: Some(status.as_u16()), location, undelimited, ..end };
        Tried::Over(end, (complete && !closes && !ends_with_connection).then_some(self))
    }
}

/// Whether the answer has neither a length nor chunks (RFC 9112, 6.3): its end is that of the connection, whatever
/// ended that.
fn ends_with_connection(answer: &Response<hyper::body::Incoming>) -> bool {
    use hyper::body::Body;
    !answer.body().is_end_stream()
        && answer.body().size_hint().exact().is_none()
        && !answer.headers().contains_key(TRANSFER_ENCODING)
}

/// Connects to the first of these that takes the connection; returns the stream, and this end's port.
async fn connect(peers: &[Peer]) -> io::Result<(Box<dyn Stream>, Option<u16>)> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for peer in peers {
        let connected: io::Result<(Box<dyn Stream>, Option<u16>)> = match peer {
            Peer::Tcp(address) => tcp(*address).await.map(|stream| {
                let port = stream.local_addr().ok().map(|local| local.port());
                (Box::new(stream) as _, port)
            }),
            Peer::Unix(path) => unix(path).await.map(|stream| (Box::new(stream) as _, None)),
        };
        match connected {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // Connected to itself (RFC 9293, 3.5: simultaneous open): nobody listens there.
    if stream.local_addr().is_ok_and(|local| stream.peer_addr().is_ok_and(|peer| peer == local)) {
        return Err(ErrorKind::ConnectionRefused.into());
    }
    // Without it a small request may wait for an acknowledgement (tcp(7), Nagle).
    _ = stream.set_nodelay(true);
    Ok(stream)
}

async fn unix(path: &std::path::Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == ErrorKind::WouldBlock => tokio::time::sleep(BACKLOG_AGAIN).await,
            // A listener that ends takes its file with it, or leaves it there: for a router it is the same.
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(ErrorKind::ConnectionRefused.into()),
            connected => return connected,
        }
    }
}

#[cfg(feature = "https")]
fn tls_failed(error: &io::Error) -> End {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe => {
            End::of(RequestOutcome::Reset, "closed during the TLS handshake")
        }
        _ => End {
            unspoken: match TlsFailure::of(error) {
                TlsFailure::Untrusted => Some(Unspoken::Untrusted),
                TlsFailure::Refused => Some(Unspoken::TlsRefused),
                TlsFailure::NotTls => Some(Unspoken::NotTls),
                TlsFailure::Connection => None,
            },
            ..End::of(RequestOutcome::Broken, crate::http::tls_words(error))
        },
    }
}

fn before_head(error: &hyper::Error, answered: bool) -> End {
    match io_kind(error) {
        Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) if answered => {
            End::of(RequestOutcome::ResetInAnswer, "reset in the middle of the answer's head")
        }
        Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
            End::of(RequestOutcome::Reset, "connection reset before an answer")
        }
        _ if error.is_parse() => End::not_http(error),
        _ if answered => End::of(RequestOutcome::Truncated, "closed in the middle of the answer's head"),
        _ => End::of(RequestOutcome::Reset, "connection closed before an answer"),
    }
}

fn in_body(error: &hyper::Error) -> End {
    match io_kind(error) {
        Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
            End::of(RequestOutcome::ResetInAnswer, "connection reset in the middle of the answer")
        }
        _ if error.is_parse() => End::not_http(error),
        _ => End::of(RequestOutcome::Truncated, "connection closed in the middle of the answer"),
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

/// Counts what is received.
struct Received(Rc<Cell<u64>>);

impl Meter for Received {
    fn received(&mut self, bytes: usize) -> io::Result<()> {
        self.0.set(self.0.get() + bytes as u64);
        Ok(())
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;

//! One HTTP request by kubelet's rules.
//!
//! graceful has to know what kubelet would say of the app, so the rules are those of Kubernetes' pkg/probe/http: a
//! fresh connection each time, no proxy, GET, success is 200 to 399, redirects are followed on the same host name
//! (whatever the port) and 10 at most, a redirect to another host is not followed and counts as a success with a
//! warning, 10 KiB of the body are read and no more, one timeout covers everything, DNS and TLS included.
//!
//! Redirects are followed here and not by the library, because each step must end in one of those outcomes with
//! words for it, and because each step decides anew whether its certificate is verified (see `tls`).

use super::connect;
#[cfg(feature = "https")]
use super::error::of_tls;
use super::error::{RequestError, of_connect};
use super::exchange::{Bound, Exchange, Wire};
use super::is_loopback;
use super::observation::{Deadline, Observation, RequestResult};
use super::resolver::Names;
#[cfg(feature = "https")]
use super::tls;
#[cfg(feature = "https")]
use crate::blocking;
use crate::secret;
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::header::{self, HeaderValue, LOCATION};
use hyper::{Method, Request, Response, StatusCode};
#[cfg(feature = "https")]
use rustls::{ClientConfig, pki_types::ServerName};
use std::io;
use std::net::Ipv4Addr;
#[cfg(feature = "https")]
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{sleep_until, timeout_at};
use tracing::debug;
use url::{Position, Url};

/// At most this many redirects are followed; one more is a failure.
pub const MAX_REDIRECTS: usize = 10;

/// What is shown of a redirect to a URL of another kind.
const ODD_REDIRECT: &str = "redirect to what is neither http:// nor https://";

const NOT_FOLLOWED: &str = "redirect to another host not followed";

/// Largest head of an answer, in bytes; an app's own with its cookies has a few KiB.
const MAX_HEAD: usize = 64 * 1024;

/// At most this many bytes of a body are read.
pub const MAX_BODY: usize = 10 * 1024;

/// Makes requests; each on a connection of its own. Needs a tokio runtime with I/O and time.
pub struct Client {
    names: Names,
    /// Where connections come from; `None`: the kernel chooses.
    from: Option<Ipv4Addr>,
    /// For https:// on loopback.
    #[cfg(feature = "https")]
    unverified: OnceLock<Tls>,
    /// For https:// elsewhere; built on another thread when first needed, because it reads the system's certificates,
    /// which takes tens of milliseconds, or for ever if they are on a file system that does not answer.
    #[cfg(feature = "https")]
    verified: OnceLock<blocking::BlockingTask<Tls>>,
}

#[cfg(feature = "https")]
type Tls = Result<Arc<ClientConfig>, RequestError>;

/// What a check can see of one request.
pub(crate) struct Page {
    /// What any request shows; its detail may quote the server.
    pub(crate) observation: Observation,
    /// The detail without a word of the server's.
    pub(crate) unquoted: String,
    /// The body, if it claims to be JSON: its first [`MAX_BODY`] bytes, or somewhat more.
    pub(crate) json: Option<Vec<u8>>,
}

/// The last answer of a chain of redirects.
struct Answer {
    status: StatusCode,
    /// The host to which it redirects and which was not followed.
    elsewhere: Option<String>,
    /// What was read of a body that claims to be JSON.
    json: Option<Vec<u8>>,
}

/// Where one answer leads.
enum Next {
    Here,
    Follow(Url),
    OtherHost(String),
}

impl Client {
    /// A client; making one reads no file and opens no socket.
    pub fn new() -> Client {
        Client::with_names(Names::of_the_system())
    }

    /// A client whose connections come from this address of the machine's own, and go to no other machine.
    pub(crate) fn coming_from(from: Ipv4Addr) -> Client {
        Client { from: Some(from), ..Client::new() }
    }

    pub(crate) fn with_names(names: Names) -> Client {
        Client {
            names,
            from: None,
            #[cfg(feature = "https")]
            unverified: OnceLock::new(),
            #[cfg(feature = "https")]
            verified: OnceLock::new(),
        }
    }

    /// A readiness probe: 200 to 399 is success, by kubelet's rules. For tcp://HOST:PORT, a connection is a success, as
    /// for kubelet's tcpSocket probes.
    pub async fn get(&self, url: &Url, timeout: Duration) -> Observation {
        if let ("tcp", Some(host), Some(port)) = (url.scheme(), url.host_str(), url.port()) {
            let deadline = Deadline::after(timeout);
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let connected = connect::to_host_from(self.from, &self.names, host, port, deadline).await;
            return deadline.observed(connected.map(|_stream| (RequestResult::Ready, "connected".to_owned())));
        }
        self.observe(url, timeout, readiness).await
    }

    /// The same over HTTP, with what was read of the body if that is JSON.
    pub(crate) async fn page(&self, url: &Url, timeout: Duration) -> Page {
        let deadline = Deadline::after(timeout);
        let mut outcome = self.follow(url, deadline).await;
        let json = outcome.as_mut().ok().and_then(|answer| answer.json.take());
        let unquoted = match &outcome {
            Ok(answer) if answer.elsewhere.is_some() => format!("{}, {NOT_FOLLOWED}", name(answer.status)),
            Ok(answer) => name(answer.status),
            Err(fault) => fault.unquoted.map_or_else(|| fault.detail.clone(), str::to_owned),
        };
        let observation = deadline.observed(outcome.map(|answer| (readiness(&answer), answer.words())));
        Page { observation, unquoted, json }
    }

    /// A GET that must end in 2xx: for holds, where a redirect says nothing.
    pub async fn get_2xx(&self, url: &Url, timeout: Duration) -> Observation {
        self.observe(url, timeout, |answer| {
            if answer.status.is_success() { RequestResult::Ready } else { RequestResult::NotReady }
        })
        .await
    }

    /// A hook: POST with an empty body; 2xx is success. No redirect is followed, since that would run the hook a
    /// second time or somewhere else.
    pub async fn post(&self, url: &Url, timeout: Duration) -> Observation {
        let deadline = Deadline::after(timeout);
        let outcome = async {
            let hop = self.send(Method::POST, url, deadline).await?;
            finish(hop, None, deadline).await
        }
        .await;
        let outcome = outcome.map(|Answer { status, .. }| match status.as_u16() {
            200..=299 => (RequestResult::Ready, name(status)),
            300..=399 => (RequestResult::NotReady, format!("{}, and a POST follows no redirect", name(status))),
            _ => (RequestResult::NotReady, name(status)),
        });
        deadline.observed(outcome)
    }

    async fn observe(&self, url: &Url, timeout: Duration, judge: impl FnOnce(&Answer) -> RequestResult) -> Observation {
        let deadline = Deadline::after(timeout);
        let outcome = self.follow(url, deadline).await;
        deadline.observed(outcome.map(|answer| (judge(&answer), answer.words())))
    }

    /// GETs and follows redirects on the same host.
    async fn follow(&self, start: &Url, deadline: Deadline) -> Result<Answer, RequestError> {
        let mut url = start.clone();
        for _ in 0..=MAX_REDIRECTS {
            let hop = self.send(Method::GET, &url, deadline).await?;
            match next(start, &url, &hop.response)? {
                Next::Here => return finish(hop, None, deadline).await,
                Next::OtherHost(host) => return finish(hop, Some(host), deadline).await,
                Next::Follow(target) => {
                    hop.has_answered();
                    url = target;
                }
            }
        }
        Err(RequestError::new(format!("redirect loop: more than {MAX_REDIRECTS} redirects")))
    }

    /// One request up to the headers of its answer.
    async fn send(&self, method: Method, url: &Url, deadline: Deadline) -> Result<Exchange, RequestError> {
        tokio::select! {
            biased;
            () = sleep_until(deadline.at()) => Err(RequestError::new(format!("no answer within {}", deadline.shown()))),
            hop = self.begin(method, url, deadline) => hop,
        }
    }

    async fn begin(&self, method: Method, url: &Url, deadline: Deadline) -> Result<Exchange, RequestError> {
        let is_https = match url.scheme() {
            "http" => false,
            "https" => true,
            "unix" => return begin_unix(method, url).await,
            // Only a redirect leads here.
            other => {
                return Err(RequestError::quoting(format!("{other}:// is neither http:// nor https://"), ODD_REDIRECT));
            }
        };
        let request = request(method, url)?;
        let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
        let wire = async {
            let stream = connect::to_host_from(self.from, &self.names, host, port, deadline).await?;
            // A delay by Nagle's algorithm would be taken for the app's.
            _ = stream.set_nodelay(true);
            Ok::<_, RequestError>(Wire::new(stream, Bound::new(Some(port))))
        };
        if is_https {
            return self.begin_tls(url, is_loopback(url), wire, request).await;
        }
        let wire = wire.await?;
        let answered = wire.meter().answered();
        Exchange::begin(wire, answered, request, MAX_HEAD).await
    }

    #[cfg(feature = "https")]
    async fn begin_tls(
        &self,
        url: &Url,
        loopback: bool,
        wire: impl Future<Output = Result<Wire<TcpStream>, RequestError>>,
        request: Request<Empty<Bytes>>,
    ) -> Result<Exchange, RequestError> {
        let config = self.trust(loopback).await?;
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(|error| RequestError::new(format!("TLS: {error}")))?;
        let wire = wire.await?;
        let answered = wire.meter().answered();
        let connected = tokio_rustls::TlsConnector::from(config).connect(name, wire).await;
        let stream = connected.map_err(|error| {
            let fault = of_tls(&error);
            debug!(name: "tls_failed", host, error = fault.detail, "no TLS with {host}: {}", fault.detail);
            fault
        })?;
        debug!(name: "tls_agreed", host, verified = !loopback, "TLS with {host}, certificate {}verified", if loopback { "not " } else { "" });
        Exchange::begin(stream, answered, request, MAX_HEAD).await
    }

    #[cfg(not(feature = "https"))]
    async fn begin_tls(
        &self,
        _: &Url,
        _: bool,
        _: impl Future<Output = Result<Wire<TcpStream>, RequestError>>,
        _: Request<Empty<Bytes>>,
    ) -> Result<Exchange, RequestError> {
        Err(RequestError::new("this graceful was built without https"))
    }

    /// Whose certificates are good enough.
    #[cfg(feature = "https")]
    async fn trust(&self, loopback: bool) -> Result<Arc<ClientConfig>, RequestError> {
        let build = |config: Result<ClientConfig, _>| {
            config.map(Arc::new).map_err(|error| RequestError::new(format!("TLS: {error}")))
        };
        if loopback {
            return self.unverified.get_or_init(|| build(tls::unverified())).clone();
        }
        let mut verified = match self.verified.get() {
            Some(verified) => verified.clone(),
            None => {
                let started = blocking::start(move || build(tls::verified()));
                let started = started
                    .map_err(|e| RequestError::new(format!("no thread for TLS: {}", crate::sys::as_fragment(&e))))?;
                self.verified.get_or_init(|| started).clone()
            }
        };
        match verified.wait().await {
            Some(built) => built,
            None => Err(RequestError::new("TLS could not be set up")),
        }
    }
}

impl Default for Client {
    fn default() -> Client {
        Client::new()
    }
}

/// The same over the socket of unix:SOCKET:PATH.
async fn begin_unix(method: Method, url: &Url) -> Result<Exchange, RequestError> {
    let request = request(method, url)?;
    let socket = secret::Url::from(url.clone()).unix_socket().map(|(socket, _)| socket).unwrap_or_default();
    let stream = UnixStream::connect(&socket).await.map_err(|error| {
        let fault = of_connect(&error);
        // The listener has removed its socket.
        let refused = fault.refused || error.kind() == io::ErrorKind::NotFound;
        debug!(name: "not_connected", address = %socket.display(), error = fault.detail, "no connection to {}: {}", socket.display(), fault.detail);
        RequestError { refused, ..fault }
    })?;
    debug!(name: "connected", address = %socket.display(), "connected to {}", socket.display());
    let wire = Wire::new(stream, Bound::new(None));
    let answered = wire.meter().answered();
    Exchange::begin(wire, answered, request, MAX_HEAD).await
}

/// The request for this URL, with its user name and password as Basic authentication.
fn request(method: Method, url: &Url) -> Result<Request<Empty<Bytes>>, RequestError> {
    let url = secret::Url::from(url.clone());
    // As curl does for --unix-socket with a URL of localhost.
    let host = if url.unix_socket().is_some() { "localhost" } else { &url[Position::BeforeHost..Position::AfterPort] };
    let target = url.request_target();
    let mut request = Request::builder()
        .uri(target)
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .header(header::HOST, host)
        .header(header::USER_AGENT, concat!("graceful/", env!("CARGO_PKG_VERSION")));
    if method == Method::POST {
        // hyper leaves it out for an empty body, and some servers then say 411.
        request = request.header(header::CONTENT_LENGTH, 0);
    }
    let credentials = url.basic_authorization();
    if let Some(Ok(mut value)) = credentials.map(|value| HeaderValue::from_str(&value)) {
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    request
        .method(method)
        .body(Empty::new())
        .map_err(|error| RequestError::new(format!("the URL cannot be requested: {error}")))
}

impl Answer {
    fn words(&self) -> String {
        match &self.elsewhere {
            Some(host) => format!("{}, {NOT_FOLLOWED}: {host}", name(self.status)),
            None => name(self.status),
        }
    }
}

/// Where this answer to `url` leads, when the first request was for `start`.
fn next<B>(start: &Url, url: &Url, response: &Response<B>) -> Result<Next, RequestError> {
    // 304 and the like are not redirects; neither is an answer without a Location.
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(Next::Here);
    }
    let Some(location) = response.headers().get(LOCATION) else { return Ok(Next::Here) };
    let target = String::from_utf8_lossy(location.as_bytes());
    let target = url
        .join(&target)
        .map_err(|e| RequestError::new(format!("{}, and its Location is not a URL: {e}", name(response.status()))))?;
    match target.host_str() {
        Some(host) if Some(host) != start.host_str() => Ok(Next::OtherHost(host.to_owned())),
        _ => Ok(Next::Follow(target)),
    }
}

/// Reads the body as far as kubelet does. A body that breaks off turns a success into a failure.
async fn finish(mut hop: Exchange, elsewhere: Option<String>, deadline: Deadline) -> Result<Answer, RequestError> {
    let status = hop.response.status();
    let mut json = is_json(&hop.response).then(Vec::new);
    let read = async {
        let mut seen = 0;
        while seen < MAX_BODY
            && let Some(chunk) = hop.chunk().await
        {
            let chunk = chunk?;
            seen += chunk.len();
            json.iter_mut().for_each(|json| json.extend_from_slice(&chunk));
        }
        Ok::<_, RequestError>(())
    };
    let failure = match timeout_at(deadline.at(), read).await {
        Ok(Ok(())) => None,
        Ok(Err(fault)) => Some(fault.detail),
        Err(_) => Some(format!("the body was not complete within {}", deadline.shown())),
    };
    match failure {
        // A status that is a failure in itself is the better explanation.
        Some(why) if (200..400).contains(&status.as_u16()) => {
            Err(RequestError::new(format!("{}, but {why}", name(status))))
        }
        _ => {
            hop.has_answered();
            Ok(Answer { status, elsewhere, json })
        }
    }
}

/// application/json, application/health+json and their like.
fn is_json<B>(response: &Response<B>) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || kind.ends_with("+json")
}

/// kubelet's rule.
fn readiness(answer: &Answer) -> RequestResult {
    match answer.status.as_u16() {
        200..=299 => RequestResult::Ready,
        300..=399 => RequestResult::Warning,
        _ => RequestResult::NotReady,
    }
}

/// "200" where all is well, "503 Service Unavailable" elsewhere. The server's own phrase is not used: it could be
/// anything.
pub(crate) fn name(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) if !status.is_success() => format!("{} {reason}", status.as_u16()),
        _ => status.as_u16().to_string(),
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;

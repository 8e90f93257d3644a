//! One request to every target before the load: a drill against something that does not answer well proves nothing.

use super::connection::{ClientConnection, End, Peer, PreparedRequest, Route, Tried, Unspoken};
use super::load::Order;
use super::plan::{DrillPlan, Target, Targets};
use super::record::RequestOutcome;
use crate::http::{self, Client};
use crate::secret::{Url, hidden};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::task::LocalSet;
use tokio::time::Instant;
use tracing::trace;

/// How long one look at the readiness endpoint may take.
const READY: Duration = Duration::from_secs(1);
/// How long a handshake that shows whether TLS is spoken may take.
#[cfg(feature = "https")]
const HANDSHAKE: Duration = Duration::from_secs(1);
/// How long the name of a target may take to be resolved.
const RESOLVE: Duration = Duration::from_secs(3);

/// Why there can be no load.
pub(super) enum Trouble {
    /// There may be later: nobody listens yet, or the app says that it is not ready.
    NotYet(String),
    /// There will be none.
    Final(String),
    /// The target was asked by http, and what answers there speaks TLS.
    Tls(String),
}

/// Looks at every target, and makes the load's order from them.
pub(super) fn check(
    runtime: &tokio::runtime::Runtime,
    targets: &Targets<Url>,
    plan: &DrillPlan,
) -> Result<Order, Trouble> {
    let asked = |target: &Target<Url>| {
        let route = route(runtime, &target.place, plan.insecure)?;
        PreparedRequest::new(target, route, &plan.headers)
            .map_err(|error| Trouble::Final(format!("{} {} cannot be asked: {error}", target.method, target.place)))
    };
    let order = Order {
        requests: targets.requests.iter().map(asked).collect::<Result<_, _>>()?,
        slow: targets.slow.as_ref().map(asked).transpose()?,
        stream: targets.stream.as_ref().map(asked).transpose()?,
        rate: plan.rate,
        mix: plan.mix,
        lag: plan.lb_lag,
        timeout: plan.timeout,
    };
    for (target, asked) in targets.requests.iter().zip(&order.requests) {
        // As long as a request of the drill may take, but no longer than Ctrl-C may go unheard.
        let deadline = plan.timeout.min(Duration::from_secs(3));
        let end = LocalSet::new().block_on(runtime, ask(asked, deadline));
        let (name, result) = (asked.name.as_str(), end.outcome.name());
        trace!(name: "drill_asked", target = name, result, detail = &*end.detail, "{name}: {result} {}", end.detail);
        if is_puzzling(&end) && target.place.scheme() == "http" && speaks_tls(runtime, &target.place) {
            let by_tls = target.place.with_tls().map(|url| format!(": {url}")).unwrap_or_default();
            return Err(Trouble::Tls(format!("{}: TLS is spoken there; expected an https URL{by_tls}", asked.name)));
        }
        judge(&asked.name, end, plan.insecure)?;
    }
    Ok(order)
}

/// Whether this is how servers of TLS answer plain HTTP: an alert, a close, or 400 in plain text.
fn is_puzzling(end: &End) -> bool {
    matches!(end.outcome, RequestOutcome::Broken | RequestOutcome::Reset | RequestOutcome::Truncated)
        || end.status == Some(400)
}

#[cfg(feature = "https")]
fn speaks_tls(runtime: &tokio::runtime::Runtime, url: &Url) -> bool {
    let Some(url) = url.with_tls() else { return false };
    let Ok(route) = route(runtime, &url, true) else { return false };
    match LocalSet::new().block_on(runtime, ClientConnection::open(&route, Instant::now() + HANDSHAKE)) {
        Ok(_) => true,
        // It has answered in TLS, though not what it was asked.
        Err(end) => matches!(end.unspoken, Some(Unspoken::Untrusted | Unspoken::TlsRefused)),
    }
}

#[cfg(not(feature = "https"))]
fn speaks_tls(_: &tokio::runtime::Runtime, _: &Url) -> bool {
    false
}

/// Looks at the readiness endpoint: no load balancer sends to an app that is not ready.
pub(super) fn is_ready(runtime: &tokio::runtime::Runtime, url: Option<&Url>) -> Result<(), Trouble> {
    let Some(url) = url else { return Ok(()) };
    let client = Client::new();
    let look = runtime.block_on(client.get(url, READY));
    match look.verdict.is_ready() {
        true => Ok(()),
        false => Err(Trouble::NotYet(format!("the readiness endpoint {url} does not say ready: {}", look.detail))),
    }
}

async fn ask(asked: &PreparedRequest, limit: Duration) -> End {
    let deadline = Instant::now() + limit;
    match ClientConnection::open(&asked.route, deadline).await {
        Err(end) => end,
        Ok(connection) => match connection.send(asked, deadline).await {
            Tried::Over(end, _) => end,
            Tried::WasClosed => End::closed(),
        },
    }
}

/// `what` names the target, as "GET http://127.0.0.1:8080/".
fn judge(what: &str, end: End, insecure: bool) -> Result<(), Trouble> {
    #[cfg(not(feature = "https"))]
    let _ = insecure;
    let is_final = |why: String| Err(Trouble::Final(format!("{what}{why}")));
    match (end.outcome, end.status) {
        (RequestOutcome::Ok | RequestOutcome::OkClose, _) => Ok(()),
        (_, Some(status @ (301 | 302 | 303 | 307 | 308))) if let Some(to) = &end.location => {
            is_final(format!(" is redirected to {} ({status}); expected the URL that answers itself", hidden(to)))
        }
        // 304 is for clients that have asked before, and the drill sends no If-None-Match of its own.
        (_, Some(304)) => is_final(
            " answers 304 Not Modified, which does not answer a first request; leave out the --header that asks for it"
                .to_owned(),
        ),
        (RequestOutcome::Status, Some(status)) if status < 500 => {
            let hint = match status {
                401 | 403 => "; --header 'Authorization: …', or a user and password in the URL, lets the drill in",
                405 => "; --target 'METHOD URL [BODY]' asks with another method",
                415 | 422 => "; the body's type is sent with --header, as --header 'Content-Type: application/json'",
                421 => "; --header 'Host: NAME' asks for another host",
                _ => "; give a target that has one",
            };
            is_final(format!(" answers {}: nothing but 200 to 299 counts as an answer{hint}", end.detail))
        }
        _ => match end.unspoken {
            #[cfg(feature = "https")]
            Some(Unspoken::Untrusted) => {
                let hint = if insecure { "" } else { "; --insecure does not verify certificates" };
                is_final(format!(": {}{hint}", end.detail))
            }
            #[cfg(feature = "https")]
            Some(Unspoken::TlsRefused) => is_final(format!(": {}", end.detail)),
            #[cfg(feature = "https")]
            Some(Unspoken::NotTls) => is_final(format!(": {}; expected an http URL", end.detail)),
            Some(Unspoken::NotHttp) => {
                is_final(format!(": what answers there does not speak HTTP/1.1 ({})", end.detail))
            }
            None => Err(Trouble::NotYet(format!("{what}: {}", end.detail))),
        },
    }
}

/// How to connect. The name is resolved once: a drill is about one server, and a name that moves is another.
fn route(runtime: &tokio::runtime::Runtime, url: &Url, insecure: bool) -> Result<Route, Trouble> {
    if let Some((socket, _)) = url.unix_socket() {
        return Ok(Route {
            peers: vec![Peer::Unix(socket)],
            #[cfg(feature = "https")]
            tls: None,
        });
    }
    let final_trouble = |why: &dyn std::fmt::Display| Trouble::Final(format!("{url}: {why}"));
    let name = url.host_str().ok_or_else(|| final_trouble(&"it has no host"))?;
    let port = url.port_or_known_default().ok_or_else(|| final_trouble(&"it has no port"))?;
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let found =
        runtime.block_on(http::resolve(bare, RESOLVE)).map_err(|why| Trouble::NotYet(format!("{url}: {why}")))?;
    let peers = found.into_iter().map(|ip| Peer::Tcp(SocketAddr::new(ip, port))).collect();
    #[cfg(feature = "https")]
    let tls = match url.scheme() {
        "https" => Some(http::tls_connector(bare, insecure).map_err(|error| final_trouble(&error))?),
        _ => None,
    };
    #[cfg(not(feature = "https"))]
    if url.scheme() == "https" {
        _ = insecure;
        return Err(final_trouble(&"this graceful was built without https"));
    }
    Ok(Route {
        peers,
        #[cfg(feature = "https")]
        tls,
    })
}

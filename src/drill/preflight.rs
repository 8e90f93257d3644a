//! One request to every target before the load: a drill against something that does not answer well proves nothing.

use super::connection::{Connection, End, Route, Tried};
use super::load::Order;
use super::plan::{Plan, Target, Targets};
use super::record::Outcome;
use crate::probe::{self, Client};
use crate::secret::{Url, hidden};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::task::LocalSet;
use tokio::time::Instant;

/// For one look at the readiness endpoint.
const READY: Duration = Duration::from_secs(1);
/// For the name of a target.
const RESOLVE: Duration = Duration::from_secs(3);

/// Why there can be no load.
pub(super) enum Trouble {
    /// It may come yet: nobody listens, or the app says that it is not ready.
    NotYet(String),
    /// It will not.
    Final(String),
}

/// Looks at every target, and makes the load's order of them.
pub(super) fn check(runtime: &tokio::runtime::Runtime, targets: &Targets, plan: &Plan) -> Result<Order, Trouble> {
    let with_route = |target: &Target| Ok::<_, Trouble>((target.clone(), route(runtime, target, plan.insecure)?));
    let order = Order {
        requests: targets.requests.iter().map(with_route).collect::<Result<_, _>>()?,
        slow: targets.slow.as_ref().map(with_route).transpose()?,
        stream: targets.stream.as_ref().map(with_route).transpose()?,
        rate: plan.rate,
        mix: plan.mix,
        lag: plan.lb_lag,
        timeout: plan.timeout,
    };
    for (target, route) in &order.requests {
        // As long as a request of the drill may take, but Ctrl-C is to be heard.
        let deadline = plan.timeout.min(Duration::from_secs(3));
        let end = LocalSet::new().block_on(runtime, ask(target, route, deadline));
        judge(target, end)?;
    }
    Ok(order)
}

/// No load balancer sends to an app that is not ready.
pub(super) fn is_ready(runtime: &tokio::runtime::Runtime, url: Option<&Url>) -> Result<(), Trouble> {
    let Some(url) = url else { return Ok(()) };
    let client = Client::new();
    let look = runtime.block_on(client.get(url, READY));
    match look.verdict.is_ready() {
        true => Ok(()),
        false => Err(Trouble::NotYet(format!("the readiness endpoint {url} does not say ready: {}", look.detail))),
    }
}

async fn ask(target: &Target, route: &Route, limit: Duration) -> End {
    let deadline = Instant::now() + limit;
    match Connection::open(route, deadline).await {
        Err(end) => end,
        Ok(connection) => match connection.send(target, deadline).await {
            Tried::Over(end, _) => end,
            Tried::WasClosed => End::closed(),
        },
    }
}

fn judge(target: &Target, end: End) -> Result<(), Trouble> {
    let what = format!("{} {}", target.method, target.url);
    match (end.outcome, end.status) {
        (Outcome::Ok | Outcome::OkClose, _) => Ok(()),
        (_, Some(status @ 300..=399)) => {
            let to = end.location.map(|to| format!(" to {}", hidden(&to))).unwrap_or_default();
            Err(Trouble::Final(format!("{what} answers {status} and redirects{to}: drill that URL instead")))
        }
        (Outcome::Status, Some(status)) if status < 500 => Err(Trouble::Final(format!(
            "{what} answers {}: nothing but 200 to 299 counts as an answer; give a target that has one",
            end.detail
        ))),
        (Outcome::Broken, _) if end.detail.starts_with("TLS") => Err(Trouble::Final(format!(
            "{what}: {}; a certificate that nobody vouches for is accepted with --insecure",
            end.detail
        ))),
        (Outcome::Broken, _) if end.detail.starts_with("not HTTP") => {
            Err(Trouble::Final(format!("{what}: what answers there does not speak HTTP/1.1 ({})", end.detail)))
        }
        _ => Err(Trouble::NotYet(format!("{what}: {}", end.detail))),
    }
}

/// Resolved once: a drill is about one server, and a name that moves is another.
fn route(runtime: &tokio::runtime::Runtime, target: &Target, insecure: bool) -> Result<Route, Trouble> {
    let url = &target.url;
    let final_trouble = |why: String| Trouble::Final(format!("{url}: {why}"));
    let name = url.host_str().ok_or_else(|| final_trouble("no host in it".to_owned()))?;
    let port = url.port_or_known_default().ok_or_else(|| final_trouble("no port in it".to_owned()))?;
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let found =
        runtime.block_on(probe::resolve(bare, RESOLVE)).map_err(|why| Trouble::NotYet(format!("{url}: {why}")))?;
    let addresses: Vec<SocketAddr> = found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
    let host = match url.port() {
        Some(port) => format!("{name}:{port}"),
        None => name.to_owned(),
    };
    #[cfg(feature = "https")]
    let tls = match url.scheme() {
        "https" => Some(probe::tls_connector(bare, insecure).map_err(final_trouble)?),
        _ => None,
    };
    #[cfg(not(feature = "https"))]
    if url.scheme() == "https" {
        _ = insecure;
        return Err(final_trouble("this graceful was built without https".to_owned()));
    }
    Ok(Route {
        addresses,
        host,
        #[cfg(feature = "https")]
        tls,
    })
}

//! Asking graceful's own probe server: one GET over TCP or a Unix socket.
//!
//! The client for the app's URLs brings redirects, names and TLS, none of which can occur here, and cannot speak to a
//! Unix socket. What is read is bounded: all of it by `exchange`, the body by [`MAX_BODY`].

use crate::config::Listen;
use crate::http::client::MAX_BODY;
use crate::http::connect;
use crate::http::error::{RequestError, of_connect};
use crate::http::exchange::{Bound, Exchange, Wire};
use crate::http::observation::Deadline;
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::time::timeout_at;

/// More than graceful's own server ever sends as a head.
const MAX_HEAD: usize = 16 * 1024;

/// What the server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SelfAnswer {
    pub(super) status: StatusCode,
    /// The lines of the body that name what failed, as the Kubernetes API server marks them: `[-]NAME failed: WHY`.
    /// Empty where the status is a success.
    pub(super) failures: Vec<String>,
}

impl SelfAnswer {
    /// Whether the status is a success by kubelet's rule: 200 to 399.
    pub(super) fn is_ready(&self) -> bool {
        (200..400).contains(&self.status.as_u16())
    }
}

/// GETs this path, as `/readyz`, of the graceful that listens there.
pub(super) async fn ask(listen: &Listen, path: &str, deadline: Deadline) -> Result<SelfAnswer, RequestError> {
    let asked = async {
        match listen {
            Listen::Tcp(address) => {
                let stream = connect::to_first(&reachable(*address), deadline).await?;
                let host = stream.peer_addr().unwrap_or(*address).to_string();
                request(stream, &host, path).await
            }
            Listen::Unix(socket) => {
                let stream = UnixStream::connect(socket).await.map_err(|error| of_connect(&error))?;
                request(stream, "localhost", path).await
            }
        }
    };
    let exchange = timeout_at(deadline.at(), asked)
        .await
        .map_err(|_| RequestError::new(format!("no answer within {}", deadline.shown())))??;
    let mut answer = SelfAnswer { status: exchange.response.status(), failures: Vec::new() };
    if !answer.is_ready() {
        answer.failures = failures(&body(exchange, deadline).await);
    }
    Ok(answer)
}

/// Where a server that listens on this address can be reached from the same machine.
pub(super) fn reachable(listening: SocketAddr) -> Vec<SocketAddr> {
    let with_port = |ip: IpAddr| SocketAddr::new(ip, listening.port());
    match listening.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => vec![with_port(Ipv4Addr::LOCALHOST.into())],
        // It takes IPv4 too, unless the machine has none or is set not to (net.ipv6.bindv6only).
        IpAddr::V6(ip) if ip.is_unspecified() => {
            vec![with_port(Ipv4Addr::LOCALHOST.into()), with_port(Ipv6Addr::LOCALHOST.into())]
        }
        _ => vec![listening],
    }
}

async fn request<S>(stream: S, host: &str, path: &str) -> Result<Exchange, RequestError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let request = Request::get(path)
        .header(HOST, host)
        .header(USER_AGENT, concat!("graceful/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "text/plain")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| RequestError::new(error.to_string()))?;
    let wire = Wire::new(stream, Bound::new(None));
    let answered = wire.meter().answered();
    Exchange::begin(wire, answered, request, MAX_HEAD).await
}

/// As much of the body as comes in time. The status is known already: a body that breaks off changes nothing about it.
async fn body(mut exchange: Exchange, deadline: Deadline) -> Vec<u8> {
    let mut read = Vec::new();
    while read.len() < MAX_BODY
        && let Ok(Some(Ok(chunk))) = timeout_at(deadline.at(), exchange.chunk()).await
    {
        read.extend_from_slice(&chunk);
    }
    read.truncate(MAX_BODY);
    read
}

fn failures(body: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(body);
    text.lines().filter(|line| line.starts_with("[-]")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_is_asked_on_loopback() {
        let reachable = |text: &str| {
            let found = reachable(text.parse().unwrap());
            found.iter().map(SocketAddr::to_string).collect::<Vec<_>>()
        };
        assert_eq!(reachable("[::]:9090"), ["127.0.0.1:9090", "[::1]:9090"]);
        // It takes no IPv6: whoever answers on [::1] is somebody else.
        assert_eq!(reachable("0.0.0.0:9090"), ["127.0.0.1:9090"]);
        assert_eq!(reachable("10.1.2.3:9090"), ["10.1.2.3:9090"]);
        assert_eq!(reachable("[::1]:9090"), ["[::1]:9090"]);
    }
}

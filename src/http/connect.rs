//! A plain connection, for what needs no HTTP client: `tcp://` targets and graceful's own server.

use super::error::{RequestError, of_connect};
use super::observation::Deadline;
use super::resolver::Names;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;

/// Connects to a host by name or address (an IPv6 address with or without brackets).
pub(crate) async fn to_host(
    names: &Names,
    host: &str,
    port: u16,
    deadline: Deadline,
) -> Result<TcpStream, RequestError> {
    to_host_from(None, names, host, port, deadline).await
}

/// The same; with `from`, the connection comes from that address of this machine, and goes to no other machine.
pub(crate) async fn to_host_from(
    from: Option<Ipv4Addr>,
    names: &Names,
    host: &str,
    port: u16,
    deadline: Deadline,
) -> Result<TcpStream, RequestError> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let found = match bare.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => timeout_at(deadline.at(), names.look_up(bare, deadline.at()))
            .await
            .map_err(|_| RequestError::new(format!("{bare} was not resolved within {}", deadline.shown())))?
            .map_err(|error| RequestError::new(error.to_string()))?,
    };
    let addresses: Vec<SocketAddr> = found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
    let Some(from) = from else { return to_first(&addresses, deadline).await };
    let own = addresses.into_iter().find(|address| address.is_ipv4() && address.ip().is_loopback());
    let own = own.ok_or_else(|| RequestError::new("no address of 127.0.0.0/8"))?;
    let connected = async {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(from.into(), 0))?;
        socket.connect(own).await
    };
    match timeout_at(deadline.at(), connected).await {
        Ok(connected) => connected.map_err(|error| of_connect(&error)),
        Err(_) => Err(RequestError::new(format!("no connection within {}", deadline.shown()))),
    }
}

/// Connects to the first address that accepts. Each gets an equal share of the time that is left, so that one
/// where packets vanish does not use up all of it.
pub(crate) async fn to_first(addresses: &[SocketAddr], deadline: Deadline) -> Result<TcpStream, RequestError> {
    let mut failure = RequestError::new("the name has no address");
    for (tried, address) in addresses.iter().enumerate() {
        let others = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let share = deadline.at().saturating_duration_since(Instant::now()) / others;
        match connect(*address, share).await {
            Some(Ok(stream)) => return Ok(stream),
            // That it was refused says more than that IPv6 is switched off.
            Some(Err(fault)) if fault.refused || !failure.refused => failure = fault,
            None if !failure.refused => {
                failure = RequestError::new(format!("no connection within {}", deadline.shown()))
            }
            Some(Err(_)) | None => {}
        }
    }
    Err(failure)
}

/// `None` if the time was up.
async fn connect(address: SocketAddr, share: Duration) -> Option<Result<TcpStream, RequestError>> {
    let Ok(connected) = timeout(share, TcpStream::connect(address)).await else {
        let took_s = share.as_secs_f64();
        debug!(name: "not_connected", %address, error = "timeout", took_s, "{address} has not answered in {share:.1?}");
        return None;
    };
    let connected = match connected {
        Ok(stream) if is_to_itself(&stream) => Err(RequestError::refused()),
        Ok(stream) => Ok(stream),
        Err(error) => Err(of_connect(&error)),
    };
    match &connected {
        Ok(_) => debug!(name: "connected", %address, "connected to {address}"),
        Err(RequestError { detail, .. }) => {
            debug!(name: "not_connected", %address, error = detail, "no connection to {address}: {detail}");
        }
    }
    Some(connected)
}

/// Where nobody listens on a port of the kernel's own range, a connection from this very port to itself can come
/// about (RFC 9293, 3.5: simultaneous open), once in some 28,000 tries.
fn is_to_itself(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(local), Ok(peer)) if local == peer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::{ClosedPort, DEADLINE, FullPort};
    use std::io::Write;
    use std::net::TcpListener;

    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[tokio::test]
    async fn the_first_address_that_takes_it_counts() {
        let (_listener, open) = listener();
        let closed = SocketAddr::from((Ipv4Addr::LOCALHOST, ClosedPort::new().port));
        let stream = to_first(&[closed, open], Deadline::after(DEADLINE)).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_leaves_time_for_the_next() {
        let ((_listener, open), full) = (listener(), FullPort::new());
        // A sixth of the time, which is far from all of it.
        let (start, limit) = (Instant::now(), Duration::from_secs(3));
        let stream = to_first(&[full.addr, open, open, open, open, open], Deadline::after(limit)).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);
        assert!(start.elapsed() < limit);
        let fault = to_first(&[full.addr], Deadline::after(Duration::from_millis(200))).await.unwrap_err();
        assert_eq!(fault, RequestError::new("no connection within 200ms"));
    }

    #[tokio::test]
    async fn a_refusal_is_said_before_anything_else() {
        let closed = SocketAddr::from((Ipv4Addr::LOCALHOST, ClosedPort::new().port));
        // Broadcast: no TCP, and the kernel says so at once.
        let (full, nowhere) = (FullPort::new(), SocketAddr::from((Ipv4Addr::BROADCAST, 9)));
        for addresses in [[closed, full.addr], [full.addr, closed], [closed, nowhere], [nowhere, closed]] {
            let fault = to_first(&addresses, Deadline::after(Duration::from_millis(500))).await.unwrap_err();
            assert_eq!((fault.detail.as_str(), fault.refused), ("connection refused", true));
        }
        let none = to_first(&[], Deadline::after(DEADLINE)).await.unwrap_err();
        assert_eq!(none, RequestError::new("the name has no address"));
    }

    #[tokio::test]
    async fn names_and_addresses_lead_to_the_same_place() {
        let (_listener, open) = listener();
        let mut hosts = tempfile::NamedTempFile::new().unwrap();
        writeln!(hosts, "127.0.0.1 db.test").unwrap();
        let names = Names { hosts: hosts.path().to_owned(), resolv_conf: "/nonexistent/file".into() };
        for host in ["db.test", "localhost", "127.0.0.1"] {
            let stream = to_host(&names, host, open.port(), Deadline::after(DEADLINE)).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), open, "{host}");
        }
        let fault = to_host(&names, "other.test", open.port(), Deadline::after(DEADLINE)).await.unwrap_err();
        let expected = "cannot resolve other.test: no DNS server, /nonexistent/file: no such file or directory";
        assert_eq!((fault.detail.as_str(), fault.refused), (expected, false));
        let listener = TcpListener::bind("[::1]:0").unwrap();
        let six = listener.local_addr().unwrap();
        for host in ["::1", "[::1]"] {
            let stream = to_host(&names, host, six.port(), Deadline::after(DEADLINE)).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), six);
        }
    }

    #[tokio::test]
    async fn a_connection_to_itself_is_none() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let own = socket.local_addr().unwrap();
        let stream = socket.connect(own).await.expect("a simultaneous open");
        assert!(is_to_itself(&stream));
        let (_listener, open) = listener();
        assert!(!is_to_itself(&TcpStream::connect(open).await.unwrap()));
    }
}

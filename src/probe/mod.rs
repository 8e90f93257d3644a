//! HTTP, both ways. As a client: readiness polls, hooks that POST, holds that wait for a URL, and the `probe` command.
//!
//! ```text
//! command ──┬─► own ────┐ (graceful's own server)
//!           │           ├─► exchange  (one request, one answer, bounded)
//!           ├─► client ─┤
//! worker ───┘           ├─► connect ─► names   (host name to addresses)
//!                       ├─► tls       (whose certificate counts)
//!                       └─► fault     (an error as a few plain words)
//! ```
//!
//! - [`client`] makes one request by kubelet's rules and says in words what it saw.
//! - [`worker`] does it on a thread of its own, so that the main loop never waits for a server, and answers probes on
//!   another. Each is started with its first job; a graceful without any has no HTTP client, resolver or TLS in its
//!   memory.
//! - `aside` is for what may block: the system's certificates, the free space of a disk.
//! - [`command`] is `graceful probe`: a URL by [`client`], a port by `connect`, a graceful that runs by `own`.
//!
//! Invariants: every request ends within its timeout, whatever the server does; what is read is bounded; a server,
//! a resolver or a file can make a request fail, never make it panic; no credential of a URL is ever printed; no
//! DNS server is asked that the system's own configuration does not name.

pub mod checks;
pub mod client;
pub mod command;
pub mod server;
pub mod worker;

mod aside;
mod connect;
mod exchange;
mod fault;
mod metrics;
mod names;
mod own;
mod state;
#[cfg(feature = "https")]
mod tls;

#[cfg(test)]
mod testing;

pub use client::{Client, Observation, Verdict};
pub use server::Listener;
pub use state::{Facts, Shared};
pub use worker::{Fact, Job, Role, Worker};

use std::net::IpAddr;
use std::time::Duration;
use url::{Host, Url};

/// The addresses of a host by name or address, as probes find them. Needs a tokio runtime with I/O and time.
pub async fn resolve(host: &str, timeout: Duration) -> Result<Vec<IpAddr>, String> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let names = names::Names::of_the_system();
    let until = client::Deadline::after(timeout).at();
    match tokio::time::timeout_at(until, names.look_up(host, until)).await {
        Ok(found) => found.map_err(|error| error.to_string()),
        Err(_) => Err(format!("{host} was not resolved within {}", humantime::format_duration(timeout))),
    }
}

/// For TLS connections to this host; with `insecure` any certificate will do.
#[cfg(feature = "https")]
pub fn tls_connector(
    host: &str,
    insecure: bool,
) -> Result<(tokio_rustls::TlsConnector, rustls::pki_types::ServerName<'static>), String> {
    let config = if insecure { tls::unverified() } else { tls::verified() };
    let config = config.map_err(|error| format!("TLS: {error}"))?;
    let name = rustls::pki_types::ServerName::try_from(host.to_owned()).map_err(|error| format!("{host}: {error}"))?;
    Ok((std::sync::Arc::new(config).into(), name))
}

/// Whether this host is this machine by its spelling alone: 127.0.0.0/8, ::1, localhost, *.localhost (RFC 6761).
///
/// The spelling decides, not what a name resolves to: whoever answers DNS must not be able to switch off the check
/// of certificates.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => names::is_localhost(name),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_a_matter_of_spelling() {
        let loopback = |s: &str| is_loopback(&Url::parse(s).unwrap());
        for yes in ["127.0.0.1", "127.9.8.7", "[::1]", "localhost", "LocalHost", "localhost.", "app.localhost"] {
            assert!(loopback(&format!("https://{yes}/")), "{yes}");
        }
        for no in ["128.0.0.1", "0.0.0.0", "[::]", "[::2]", "localhost.example", "mylocalhost", "example.com"] {
            assert!(!loopback(&format!("https://{no}/")), "{no}");
        }
    }
}

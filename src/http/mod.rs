//! The HTTP client: readiness polls, hooks that POST, holds that wait for a URL, checks, `graceful probe`, and what a
//! drill needs of names and certificates.
//!
//! ```text
//!   client ──┬─► exchange  (one request, one answer, bounded) ─► metered
//!            ├─► connect ─► resolver   (host name to addresses)
//!            ├─► tls                   (whose certificate counts)
//!            └─► error                 (an error as a few plain words)
//! ```
//!
//! - [`client`] makes one request by kubelet's rules and says in words what it saw: an [`Observation`].
//! - `resolver` finds addresses without libc, which would block, and asks nobody whom the system does not name.
//! - Everything here runs in whatever runtime calls it, and starts no thread except for the system's certificates
//!   (`crate::blocking`); who asks, how often and why is not known here.
//!
//! Invariants: every request ends within its timeout, whatever the server does; what is read is bounded; a server,
//! a resolver or a file can make a request fail, never make it panic; no credential of a URL is ever printed; no
//! DNS server is asked that the system's own configuration does not name.

pub mod client;

pub(crate) mod connect;
pub(crate) mod error;
pub(crate) mod exchange;
pub(crate) mod observation;
pub(crate) mod resolver;

mod metered;
#[cfg(feature = "https")]
mod tls;

#[cfg(test)]
pub(crate) mod testing;

pub use client::Client;
#[cfg(feature = "https")]
pub use error::TlsFailure;
pub use metered::{Meter, Metered};
pub use observation::{Observation, RequestResult};
pub use resolver::LookupError;

use std::net::IpAddr;
use std::time::Duration;
use url::{Host, Url};

/// The addresses of a host by name or address, as probes find them. Needs a tokio runtime with I/O and time.
///
/// # Errors
/// The name has no address, as far as could be found out within the timeout.
pub async fn resolve(host: &str, timeout: Duration) -> Result<Vec<IpAddr>, ResolveError> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let names = resolver::Names::of_the_system();
    let until = observation::Deadline::after(timeout).at();
    match tokio::time::timeout_at(until, names.look_up(host, until)).await {
        Ok(found) => found.map_err(ResolveError::Lookup),
        Err(_) => Err(ResolveError::TimedOut { host: host.to_owned(), timeout }),
    }
}

/// Why a host has no address.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Nobody knows one.
    #[error(transparent)]
    Lookup(LookupError),
    /// Nobody answered in time.
    #[error("{host} was not resolved within {}", humantime::format_duration(*.timeout))]
    TimedOut {
        /// The name.
        host: String,
        /// How long the look-up was given.
        timeout: Duration,
    },
}

/// Why there can be no TLS connection.
#[cfg(feature = "https")]
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    /// There are no certificates to trust, or they cannot be read.
    #[error("TLS: {0}")]
    Certificates(rustls::Error),
    /// The host is not what a certificate can be for.
    #[error("{host}: {error}")]
    HostName {
        /// The host.
        host: String,
        /// Why not.
        error: rustls::pki_types::InvalidDnsNameError,
    },
}

/// A connector and the name for TLS connections to this host; with `insecure`, any certificate will do.
///
/// # Errors
/// No certificate can be verified, or none can be valid for this host.
#[cfg(feature = "https")]
pub fn tls_connector(
    host: &str,
    insecure: bool,
) -> Result<(tokio_rustls::TlsConnector, rustls::pki_types::ServerName<'static>), TlsSetupError> {
    let config = if insecure { tls::unverified() } else { tls::verified() };
    let config = config.map_err(TlsSetupError::Certificates)?;
    let name = rustls::pki_types::ServerName::try_from(host.to_owned())
        .map_err(|error| TlsSetupError::HostName { host: host.to_owned(), error })?;
    Ok((std::sync::Arc::new(config).into(), name))
}

/// Why a TLS handshake failed, as "TLS: the certificate is signed by nobody who is trusted here".
#[cfg(feature = "https")]
pub fn tls_words(error: &std::io::Error) -> String {
    error::of_tls(error).detail
}

/// Whether this host is this machine by its spelling alone: 127.0.0.0/8, ::1, localhost, *.localhost (RFC 6761).
///
/// The spelling decides, not what a name resolves to: whoever answers DNS must not be able to switch off the check
/// of certificates.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => resolver::is_localhost(name),
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

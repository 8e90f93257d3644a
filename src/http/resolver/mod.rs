//! Host names to addresses, without libc, and with the answers that libc would give.
//!
//! A static binary cannot use libc's resolver (it loads shared objects), and that resolver would need a thread for
//! each look-up. Order:
//!
//! 1. `localhost` and its subdomains are 127.0.0.1 and ::1, without a file or a query, in a scratch image too;
//! 2. /etc/hosts;
//! 3. the DNS servers of /etc/resolv.conf, and no others. Without that file, or with none named in it, a look-up
//!    fails and says so. Libraries like to fall back to a public resolver there; the names of somebody's internal
//!    services must not leave the machine that way.
//!
//! Both files are read for each look-up, since container engines rewrite them while the container runs, and nothing
//! is cached: a name that was not there a second ago may be there now, and kubelet asks each time, too.

mod conf;
mod dns;
mod hosts;
mod message;

use conf::{Conf, ResolverEnvironment};
use dns::Resolution;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use tokio::time::Instant;
use tracing::debug;
use url::Host;

/// Resolves the names in URLs for the HTTP client.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// /etc/hosts, except in tests.
    pub(crate) hosts: PathBuf,
    /// /etc/resolv.conf, except in tests.
    pub(crate) resolv_conf: PathBuf,
}

/// A name that has no address, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot resolve {name}: {why}")]
pub struct LookupError {
    name: String,
    why: NoAddress,
}

/// Why a name has no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum NoAddress {
    /// The file that names the servers cannot be read; why, in the system's words.
    #[error("no DNS server, {}: {error}", .file.display())]
    NoFile { file: PathBuf, error: String },
    #[error("no DNS server, {} names none", .0.display())]
    NoServer(PathBuf),
    #[error("no such name")]
    NoName,
    /// The name exists.
    #[error("the name has no address")]
    NameAlone,
    #[error(transparent)]
    NoAnswer(#[from] dns::NoAnswer),
}

/// `localhost` and everything below it, which RFC 6761 reserves for this machine.
pub(crate) fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let last = name.rsplit('.').next().unwrap_or(name);
    last.eq_ignore_ascii_case("localhost")
}

impl Names {
    /// The system's own files.
    pub(crate) fn of_the_system() -> Names {
        Names { hosts: PathBuf::from("/etc/hosts"), resolv_conf: PathBuf::from("/etc/resolv.conf") }
    }

    /// All addresses of a name, in the order in which to try them. DNS servers are asked until then, or for somewhat
    /// less, so that there is time left to connect.
    pub(crate) async fn look_up(&self, name: &str, until: Instant) -> Result<Vec<IpAddr>, LookupError> {
        if is_localhost(name) {
            // The connector reports the error of what it tried last. Where IPv6 is off, ::1 fails for that reason;
            // with 127.0.0.1 as the last, a closed listener can still be told from that.
            return Ok(vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()]);
        }
        // 127.1 and 0x7f000001 are addresses, for inet_aton(3) as for URLs.
        if let Ok(Host::Ipv4(address)) = Host::parse(name) {
            return Ok(vec![address.into()]);
        }
        let from_hosts = hosts::look_up(&self.hosts, name);
        if !from_hosts.is_empty() {
            let (v6, v4): (Vec<_>, Vec<_>) = from_hosts.into_iter().partition(IpAddr::is_ipv6);
            let addresses = [v6, v4].concat();
            debug!(name: "name_resolved", host = name, ?addresses, "{name} is {addresses:?}, says {}", self.hosts.display());
            return Ok(addresses);
        }
        let resolved = self.ask_dns(name, until).await;
        match &resolved {
            Ok(addresses) => {
                debug!(name: "name_resolved", host = name, ?addresses, "{name} is {addresses:?}, says DNS")
            }
            Err(error) => debug!(name: "name_not_resolved", host = name, %error, "{name} has no address: {error}"),
        }
        resolved.map_err(|why| LookupError { name: name.to_owned(), why })
    }

    async fn ask_dns(&self, name: &str, until: Instant) -> Result<Vec<IpAddr>, NoAddress> {
        let file = || self.resolv_conf.clone();
        let text = fs::read(&self.resolv_conf)
            .map_err(|error| NoAddress::NoFile { file: file(), error: crate::sys::as_fragment(&error) })?;
        let conf = Conf::read(&text, &ResolverEnvironment::of_the_system());
        if conf.servers.is_empty() {
            return Err(NoAddress::NoServer(file()));
        }
        match dns::look_up(&conf, name, until).await {
            Resolution::Found(addresses) => Ok(addresses),
            Resolution::NoName => Err(NoAddress::NoName),
            Resolution::NoAddress => Err(NoAddress::NameAlone),
            Resolution::Failed(why) => Err(why.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::time::Duration;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    async fn look_up(names: &Names, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        names.look_up(name, Instant::now() + Duration::from_secs(5)).await
    }

    fn nowhere() -> PathBuf {
        PathBuf::from("/nonexistent/file")
    }

    #[tokio::test]
    async fn localhost_needs_no_file_and_no_server() {
        let names = Names { hosts: nowhere(), resolv_conf: nowhere() };
        for name in ["localhost", "localhost.", "LOCALHOST", "app.localhost"] {
            let found = look_up(&names, name).await.unwrap();
            assert_eq!(found, [IpAddr::from(Ipv6Addr::LOCALHOST), IpAddr::from(Ipv4Addr::LOCALHOST)], "{name}");
        }
    }

    #[tokio::test]
    async fn hosts_is_read_and_read_again() {
        let mut hosts = file("192.0.2.7 App.test other # 192.0.2.8 no\n2001:db8::7 app.test\n");
        let names = Names { hosts: hosts.path().to_owned(), resolv_conf: nowhere() };
        let both: Vec<IpAddr> = vec!["2001:db8::7".parse().unwrap(), "192.0.2.7".parse().unwrap()];
        assert_eq!(look_up(&names, "app.test").await.unwrap(), both);
        assert_eq!(look_up(&names, "other").await.unwrap(), both[1..]);
        hosts.write_all(b"192.0.2.9 late.test\n").unwrap();
        assert_eq!(look_up(&names, "late.test").await.unwrap(), ["192.0.2.9".parse::<IpAddr>().unwrap()]);
    }

    #[tokio::test]
    async fn without_a_configured_server_nobody_is_asked() {
        let names = Names { hosts: nowhere(), resolv_conf: nowhere() };
        let error = look_up(&names, "app.example").await.unwrap_err().to_string();
        assert_eq!(error, "cannot resolve app.example: no DNS server, /nonexistent/file: no such file or directory");
        for nothing in ["", "# nothing\n", "search example\noptions ndots:5\n", "nameserver not-an-address\n"] {
            let conf = file(nothing);
            let names = Names { hosts: nowhere(), resolv_conf: conf.path().to_owned() };
            let error = look_up(&names, "app.example").await.unwrap_err().to_string();
            let expected = format!("cannot resolve app.example: no DNS server, {} names none", conf.path().display());
            assert_eq!(error, expected, "{nothing:?}");
        }
    }

    #[tokio::test]
    async fn a_dead_server_is_a_failure_in_words() {
        // Nothing listens on port 53 of this address; the kernel refuses both UDP and TCP at once.
        let conf = file("nameserver 127.53.53.53\noptions timeout:1 attempts:1\n");
        let names = Names { hosts: nowhere(), resolv_conf: conf.path().to_owned() };
        let error = look_up(&names, "app.example").await.unwrap_err().to_string();
        let expected = "cannot resolve app.example: the DNS servers cannot be reached: connection refused";
        assert_eq!(error, expected);
    }

    #[tokio::test]
    async fn numbers_in_any_form_are_addresses() {
        let names = Names { hosts: nowhere(), resolv_conf: nowhere() };
        for name in ["127.1", "0x7f.1", "2130706433", "0177.0.0.1"] {
            assert_eq!(look_up(&names, name).await.unwrap(), [IpAddr::from(Ipv4Addr::LOCALHOST)], "{name}");
        }
        for name in ["1.2.3.4.5", "fe80::1%lo", "256.0.0.1"] {
            assert!(look_up(&names, name).await.is_err(), "{name}");
        }
    }
}

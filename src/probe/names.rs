//! Host names to addresses, without libc.
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

use hickory_resolver::Hosts;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolveHosts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use reqwest::dns::{Addrs, Resolve, Resolving};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// Resolves the names in URLs for the HTTP client.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// /etc/hosts, but for tests.
    pub(super) hosts: PathBuf,
    /// /etc/resolv.conf, but for tests.
    pub(super) resolv_conf: PathBuf,
}

/// Why a name has no address, in words for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot resolve {name}: {why}")]
pub(super) struct LookupError {
    name: String,
    why: String,
}

/// `localhost` and everything below it, which RFC 6761 reserves for this machine.
pub(super) fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let last = name.rsplit('.').next().unwrap_or(name);
    last.eq_ignore_ascii_case("localhost")
}

impl Names {
    /// The system's own files.
    pub(super) fn of_the_system() -> Names {
        Names { hosts: PathBuf::from("/etc/hosts"), resolv_conf: PathBuf::from("/etc/resolv.conf") }
    }

    /// All addresses of a name, in the order in which to try them.
    pub(super) async fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        if is_localhost(name) {
            // The connector reports the error of what it tried last. Where IPv6 is off, ::1 fails for that reason;
            // with 127.0.0.1 as the last, a closed listener is still told from that.
            return Ok(vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()]);
        }
        let from_hosts = self.in_hosts(name);
        if !from_hosts.is_empty() {
            return Ok(from_hosts);
        }
        self.ask_dns(name).await.map_err(|why| LookupError { name: name.to_owned(), why })
    }

    /// What /etc/hosts says. A file that is not there says nothing.
    fn in_hosts(&self, name: &str) -> Vec<IpAddr> {
        let mut hosts = Hosts::default();
        let (Ok(file), Ok(name)) = (fs::File::open(&self.hosts), Name::from_utf8(name)) else { return Vec::new() };
        if hosts.read_hosts_conf(file).is_err() {
            return Vec::new();
        }
        [RecordType::AAAA, RecordType::A]
            .into_iter()
            .filter_map(|kind| hosts.lookup_static_host(&Query::query(name.clone(), kind)))
            .flat_map(|found| found.answers().iter().filter_map(|record| address(&record.data)).collect::<Vec<_>>())
            .collect()
    }

    async fn ask_dns(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        let file = self.resolv_conf.display();
        let text =
            fs::read(&self.resolv_conf).map_err(|e| format!("no DNS server, {file}: {}", super::fault::os(&e)))?;
        let (config, mut options) =
            parse_resolv_conf(text).map_err(|e| format!("no DNS server, {file}: {}", plain(&e)))?;
        options.ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
        options.use_hosts_file = ResolveHosts::Never;
        options.cache_size = 0;
        let resolver = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            .with_options(options)
            .build()
            .map_err(|e| plain(&e))?;
        let found = resolver.lookup_ip(name).await.map_err(|e| plain(&e))?;
        Ok(found.iter().collect())
    }
}

impl Resolve for Names {
    fn resolve(&self, name: reqwest::dns::Name) -> Resolving {
        let names = self.clone();
        Box::pin(async move {
            let found = names.look_up(name.as_str()).await?;
            let addresses: Addrs = Box::new(found.into_iter().map(|ip| SocketAddr::new(ip, 0)));
            Ok(addresses)
        })
    }
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(a) => Some(IpAddr::V4(a.0)),
        RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
        _ => None,
    }
}

/// The resolver's error without its internals.
fn plain(error: &NetError) -> String {
    match error {
        e if e.is_nx_domain() => "no such name".to_owned(),
        e if e.is_no_records_found() => "the name has no address".to_owned(),
        NetError::Timeout => "no answer from the DNS servers".to_owned(),
        NetError::NoConnections => "the DNS servers cannot be reached".to_owned(),
        NetError::Io(e) => super::fault::os(e),
        e => e.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn nowhere() -> PathBuf {
        PathBuf::from("/nonexistent/file")
    }

    #[tokio::test]
    async fn localhost_needs_no_file_and_no_server() {
        let names = Names { hosts: nowhere(), resolv_conf: nowhere() };
        for name in ["localhost", "localhost.", "LOCALHOST", "app.localhost"] {
            let found = names.look_up(name).await.unwrap();
            assert_eq!(found, [IpAddr::from(Ipv6Addr::LOCALHOST), IpAddr::from(Ipv4Addr::LOCALHOST)], "{name}");
        }
    }

    #[tokio::test]
    async fn hosts_is_read_and_read_again() {
        let mut hosts = file("192.0.2.7 App.test other # 192.0.2.8 no\n2001:db8::7 app.test\n");
        let names = Names { hosts: hosts.path().to_owned(), resolv_conf: nowhere() };
        let both: Vec<IpAddr> = vec!["2001:db8::7".parse().unwrap(), "192.0.2.7".parse().unwrap()];
        assert_eq!(names.look_up("app.test").await.unwrap(), both);
        assert_eq!(names.look_up("other").await.unwrap(), both[1..]);
        hosts.write_all(b"192.0.2.9 late.test\n").unwrap();
        assert_eq!(names.look_up("late.test").await.unwrap(), ["192.0.2.9".parse::<IpAddr>().unwrap()]);
    }

    #[tokio::test]
    async fn without_a_configured_server_nobody_is_asked() {
        let names = Names { hosts: nowhere(), resolv_conf: nowhere() };
        let error = names.look_up("app.example").await.unwrap_err().to_string();
        assert_eq!(error, "cannot resolve app.example: no DNS server, /nonexistent/file: no such file or directory");
        for nothing in ["", "# nothing\n", "search example\noptions ndots:5\n", "nameserver not-an-address\n"] {
            let conf = file(nothing);
            let names = Names { hosts: nowhere(), resolv_conf: conf.path().to_owned() };
            let error = names.look_up("app.example").await.unwrap_err().to_string();
            let expected = format!(
                "cannot resolve app.example: no DNS server, {}: no nameservers found in config",
                conf.path().display()
            );
            assert_eq!(error, expected, "{nothing:?}");
        }
    }

    #[tokio::test]
    async fn a_dead_server_is_a_failure_in_words() {
        // Nothing listens on port 53 of this address; the kernel refuses both UDP and TCP at once.
        let conf = file("nameserver 127.53.53.53\noptions timeout:1 attempts:1\n");
        let names = Names { hosts: nowhere(), resolv_conf: conf.path().to_owned() };
        let error = names.look_up("app.example").await.unwrap_err().to_string();
        assert!(error.starts_with("cannot resolve app.example: "), "{error}");
        assert!(!error.contains("NetError") && !error.contains('{'), "{error}");
    }
}

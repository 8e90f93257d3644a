//! /etc/resolv.conf, as glibc reads it (resolv.conf(5), glibc's resolv/res_init.c): three servers at most, the last
//! `search` or `domain` line counts, what is unknown or makes no sense is passed over. RES_OPTIONS and LOCALDOMAIN are
//! read in the same way, and override the file.

use std::ffi::OsString;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;
use url::Host;

/// glibc's MAXNS.
const MAX_SERVERS: usize = 3;
/// glibc's RES_MAXNDOTS, RES_MAXRETRANS and RES_MAXRETRY.
const MAX_NDOTS: usize = 15;
const MAX_TIMEOUT: u64 = 30;
const MAX_ATTEMPTS: u32 = 5;
const DNS_PORT: u16 = 53;

/// What the system's configuration says about DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conf {
    /// In the order of the file.
    pub(super) servers: Vec<SocketAddr>,
    /// Domains to complete a name with, in this order.
    pub(super) search: Vec<String>,
    /// A name with at least this many dots is first tried as it is.
    pub(super) ndots: usize,
    /// How long one server is waited for before the next is asked.
    pub(super) timeout: Duration,
    /// The number of rounds over all servers.
    pub(super) attempts: u32,
    /// Whether each look-up begins with another server.
    pub(super) rotate: bool,
    /// TCP only.
    pub(super) use_tcp: bool,
    /// IPv4 only.
    pub(super) no_aaaa: bool,
    /// Whether a name without a dot is never tried as it is.
    pub(super) no_tld_query: bool,
}

/// What the environment and the kernel say.
#[derive(Clone, Debug, Default)]
pub(super) struct ResolverEnvironment {
    pub(super) res_options: Option<OsString>,
    pub(super) local_domain: Option<OsString>,
    pub(super) hostname: String,
}

impl ResolverEnvironment {
    pub(super) fn of_the_system() -> ResolverEnvironment {
        ResolverEnvironment {
            res_options: std::env::var_os("RES_OPTIONS"),
            local_domain: std::env::var_os("LOCALDOMAIN"),
            hostname: std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned(),
        }
    }
}

impl Conf {
    /// The configuration that the file's text gives.
    pub(super) fn read(text: &[u8], around: &ResolverEnvironment) -> Conf {
        let mut conf = Conf {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            rotate: false,
            use_tcp: false,
            no_aaaa: false,
            no_tld_query: false,
        };
        let (text, mut search) = (String::from_utf8_lossy(text), None);
        for line in text.lines() {
            // A keyword is at the beginning of its line.
            let Some((keyword, rest)) = line.split_once([' ', '\t']) else { continue };
            match keyword {
                "nameserver" if conf.servers.len() < MAX_SERVERS => conf.servers.extend(server(rest)),
                "domain" => search = Some(words(rest).take(1).map(str::to_owned).collect()),
                "search" => search = Some(owned(rest)),
                "options" => words(rest).for_each(|option| conf.set(option)),
                _ => {}
            }
        }
        let local = around.local_domain.as_ref().map(|domain| owned(&domain.to_string_lossy()));
        // By default the part of the machine's name after its first dot.
        let own = || around.hostname.split_once('.').map(|(_, domain)| vec![domain.to_owned()]);
        conf.search = local.or(search).or_else(own).unwrap_or_default();
        if let Some(options) = &around.res_options {
            words(&options.to_string_lossy()).for_each(|option| conf.set(option));
        }
        conf
    }

    fn set(&mut self, option: &str) {
        let number = |text: &str| text.parse::<u32>().ok();
        match option.split_once(':').unwrap_or((option, "")) {
            ("ndots", value) => {
                self.ndots = number(value).map_or(self.ndots, |ndots| MAX_NDOTS.min(ndots as usize));
            }
            // No time at all is a second, as for glibc.
            ("timeout", value) => {
                let seconds = number(value).map(|seconds| u64::from(seconds).clamp(1, MAX_TIMEOUT));
                self.timeout = seconds.map_or(self.timeout, Duration::from_secs);
            }
            ("attempts", value) => {
                self.attempts = number(value).map_or(self.attempts, |attempts| attempts.clamp(1, MAX_ATTEMPTS));
            }
            ("rotate", _) => self.rotate = true,
            ("use-vc", _) => self.use_tcp = true,
            ("no-aaaa", _) => self.no_aaaa = true,
            ("no-tld-query", _) => self.no_tld_query = true,
            // single-request and single-request-reopen are for servers that mix up two questions from one socket:
            // here each has a socket of its own. edns0, trust-ad and the like change nothing about addresses.
            _ => {}
        }
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_ascii_whitespace()
}

fn owned(text: &str) -> Vec<String> {
    words(text).map(str::to_owned).collect()
}

/// 192.0.2.1, 127.1, 2001:db8::1, fe80::1%eth0 or fe80::1%2.
fn server(text: &str) -> Option<SocketAddr> {
    let text = text.split([';', '#', ' ', '\t']).find(|word| !word.is_empty())?;
    if let Some((address, scope)) = text.split_once('%') {
        let address: Ipv6Addr = address.parse().ok()?;
        return Some(SocketAddrV6::new(address, DNS_PORT, 0, scope_id(scope)?).into());
    }
    if let Ok(address) = text.parse() {
        return Some(SocketAddr::new(address, DNS_PORT));
    }
    match Host::parse(text) {
        Ok(Host::Ipv4(address)) => Some(SocketAddr::new(address.into(), DNS_PORT)),
        _ => None,
    }
}

/// The number of an interface.
fn scope_id(scope: &str) -> Option<u32> {
    if let Ok(number) = scope.parse() {
        return Some(number);
    }
    // No path out of the folder.
    let is_name = !scope.is_empty() && !scope.starts_with('.') && !scope.contains('/');
    let index = is_name.then(|| std::fs::read_to_string(format!("/sys/class/net/{scope}/ifindex")).ok())?;
    index?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Conf {
        Conf::read(text.as_bytes(), &ResolverEnvironment::default())
    }

    fn servers(text: &str) -> Vec<String> {
        read(text).servers.iter().map(SocketAddr::to_string).collect()
    }

    #[test]
    fn servers_are_kept_in_order_and_three_at_most() {
        let text = "nameserver 192.0.2.3\nnameserver\t192.0.2.1 # a\nnameserver 2001:db8::1;x\nnameserver 192.0.2.9\n";
        assert_eq!(servers(text), ["192.0.2.3:53", "192.0.2.1:53", "[2001:db8::1]:53"]);
        assert_eq!(servers("nameserver 127.1\nnameserver fe80::1%lo"), ["127.0.0.1:53", "[fe80::1%1]:53"]);
        for nothing in ["", " nameserver 192.0.2.1", "nameserver", "nameserver x", "#nameserver 192.0.2.1"] {
            assert!(servers(nothing).is_empty(), "{nothing:?}");
        }
        assert_eq!(servers("nameserver fe80::1%../../etc\nnameserver 192.0.2.1"), ["192.0.2.1:53"]);
    }

    #[test]
    fn the_last_search_or_domain_counts() {
        assert_eq!(read("search a.test b.test\ndomain c.test d\n").search, ["c.test"]);
        assert_eq!(read("domain c.test\nsearch a.test\tb.test\n").search, ["a.test", "b.test"]);
        let named =
            |hostname: &str| ResolverEnvironment { hostname: hostname.to_owned(), ..ResolverEnvironment::default() };
        assert_eq!(Conf::read(b"", &named("host.corp.test")).search, ["corp.test"]);
        assert!(Conf::read(b"", &named("host")).search.is_empty());
        assert_eq!(Conf::read(b"search a.test", &named("host.corp.test")).search, ["a.test"]);
    }

    #[test]
    fn options_are_bounded_and_the_environment_stands_above() {
        let conf = read("options timeout:0 attempts:0 ndots:99 rotate use-vc no-aaaa no-tld-query\n");
        assert_eq!((conf.timeout, conf.attempts, conf.ndots), (Duration::from_secs(1), 1, 15));
        assert!(conf.rotate && conf.use_tcp && conf.no_aaaa && conf.no_tld_query);
        let conf = read("options timeout:99 attempts:99\noptions ndots:x edns0 timeout: nonsense\n");
        assert_eq!((conf.timeout, conf.attempts, conf.ndots), (Duration::from_secs(30), 5, 1));
        let around = ResolverEnvironment {
            res_options: Some("ndots:3".into()),
            local_domain: Some("x.test y.test".into()),
            hostname: String::new(),
        };
        let conf = Conf::read(b"search a.test\noptions ndots:5 rotate", &around);
        assert_eq!((conf.ndots, conf.rotate, conf.search), (3, true, vec!["x.test".to_owned(), "y.test".to_owned()]));
    }
}

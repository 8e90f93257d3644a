//! Where the app listens, for a drill that was not told what to ask.
//!
//! | it listens on | what is asked |
//! | --- | --- |
//! | one TCP port | that port: on loopback if it is there, else on the address that it has |
//! | no TCP port and one Unix socket with a path | that socket |
//! | several ports, or several sockets and no port | nothing: the user has to say which |
//!
//! Of a port and Unix sockets, the port is asked: many servers have a socket for their own control.

use super::preflight::Trouble;
use super::subject::RunningSubject;
use crate::secret::Url;
use crate::sys::{sockets, tree};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long it may take to see whether the port of `[::]` is open for IPv4, too: on loopback that is at once or never.
const LOOPBACK: Duration = Duration::from_millis(200);

/// What the app listens on.
#[derive(Debug, Default)]
struct Listening {
    tcp: BTreeSet<SocketAddr>,
    unix: BTreeSet<PathBuf>,
}

/// The root of what the app listens on at this moment.
pub(super) fn root(subject: &RunningSubject) -> Result<Url, Trouble> {
    let listening = listening(subject);
    let url = choose(&listening, |address| TcpStream::connect_timeout(address, LOOPBACK).is_ok())?;
    url.parse().map_err(|error| Trouble::Final(format!("{url}: {error}")))
}

/// What the processes below the subject listen on, graceful's own left out.
fn listening(subject: &RunningSubject) -> Listening {
    let Some(pid) = subject.pid() else { return Listening::default() };
    let mut sampler = sockets::Sampler::new(&[]);
    let all = sampler.listeners().map(<[_]>::to_vec).unwrap_or_default();
    let is_app = |found: &i32| !(subject.is_supervised() && *found == pid);
    let pids: Vec<i32> =
        tree::with_group(pid).unwrap_or_default().iter().map(|process| process.pid).filter(is_app).collect();
    let held = sockets::held_by(&pids, &all);
    let path = |name: &str| match name.as_bytes() {
        [b'/', ..] => Some(PathBuf::from(name)),
        // One without a path is for the app itself to ask; a relative path starts from where the process runs.
        [] | [b'@', ..] => None,
        _ => held.unix_processes.iter().find_map(|pid| {
            let path = std::fs::read_link(format!("/proc/{pid}/cwd")).ok()?.join(name);
            path.exists().then_some(path)
        }),
    };
    Listening {
        tcp: held.listeners.iter().map(|listener| listener.local).collect(),
        unix: held.unix.iter().filter_map(|listener| path(&listener.name)).collect(),
    }
}

/// The URL, as a text that is yet to be parsed. `open` says whether an address takes connections.
fn choose(listening: &Listening, open: impl Fn(&SocketAddr) -> bool) -> Result<String, Trouble> {
    let ports: BTreeSet<u16> = listening.tcp.iter().map(SocketAddr::port).collect();
    let ports: Vec<u16> = ports.into_iter().collect();
    let sockets: Vec<&Path> = listening.unix.iter().map(PathBuf::as_path).collect();
    let url = |port: u16| format!("http://{}/", asked_at(listening, port, &open));
    match (ports.as_slice(), sockets.as_slice()) {
        ([port], _) => Ok(url(*port)),
        ([], [socket]) => Ok(format!("unix:{}:/", socket.display())),
        ([], []) => Err(Trouble::NotYet(
            "the app listens on no TCP port and on no Unix socket with a path yet; a slower start needs a longer --wait, and \
             if it is another process that listens, --url says where to ask"
                .to_owned(),
        )),
        ([first, ..], _) => Err(Trouble::Final(format!(
            "the app listens on the ports {}; expected the one that is to be asked, as --url {}",
            listed(&ports),
            url(*first)
        ))),
        ([], [first, ..]) => {
            let names: Vec<String> = sockets.iter().map(|socket| socket.display().to_string()).collect();
            Err(Trouble::Final(format!(
                "the app listens on the Unix sockets {}; expected the one that is to be asked, as --url unix:{}:/",
                listed(&names),
                first.display()
            )))
        }
    }
}

/// The address with this port that is asked.
fn asked_at(listening: &Listening, port: u16, open: impl Fn(&SocketAddr) -> bool) -> SocketAddr {
    let four = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let six = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
    let rank = |address: &&SocketAddr| match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => 0,
        IpAddr::V4(Ipv4Addr::LOCALHOST) => 1,
        IpAddr::V4(ip) if ip.is_loopback() => 2,
        IpAddr::V6(ip) if ip.is_unspecified() => 3,
        IpAddr::V6(ip) if ip.is_loopback() => 4,
        IpAddr::V4(_) => 5,
        IpAddr::V6(_) => 6,
    };
    let best = listening.tcp.iter().filter(|address| address.port() == port).min_by_key(rank);
    match best {
        Some(address) if address.ip().is_unspecified() && address.is_ipv4() => four,
        // IPV6_V6ONLY (ipv6(7)) is not seen from outside, and a container may be without ::1.
        Some(address) if address.ip().is_unspecified() => {
            if open(&four) {
                four
            } else {
                six
            }
        }
        Some(address) => *address,
        None => four,
    }
}

/// "8080 and 9090", "a, b and c".
fn listed(all: &[impl ToString]) -> String {
    let all: Vec<String> = all.iter().map(ToString::to_string).collect();
    match all.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => all.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(tcp: &[&str], unix: &[&str], open: bool) -> Result<String, (bool, String)> {
        let listening = Listening {
            tcp: tcp.iter().map(|address| address.parse().unwrap()).collect(),
            unix: unix.iter().map(PathBuf::from).collect(),
        };
        choose(&listening, |_| open).map_err(|trouble| match trouble {
            Trouble::NotYet(why) => (false, why),
            Trouble::Final(why) => (true, why),
            Trouble::Tls(why) => (true, why),
        })
    }

    #[test]
    fn one_port_is_asked_where_it_is() {
        for (tcp, url) in [
            (&["0.0.0.0:80"] as &[&str], "http://127.0.0.1:80/"),
            (&["127.0.0.1:80"], "http://127.0.0.1:80/"),
            (&["127.0.0.2:80"], "http://127.0.0.2:80/"),
            (&["[::1]:80"], "http://[::1]:80/"),
            (&["[::]:80"], "http://127.0.0.1:80/"),
            (&["10.1.2.3:80"], "http://10.1.2.3:80/"),
            (&["[2001:db8::1]:80"], "http://[2001:db8::1]:80/"),
            (&["[::1]:80", "10.1.2.3:80", "127.0.0.1:80"], "http://127.0.0.1:80/"),
            (&["[::1]:80", "10.1.2.3:80"], "http://[::1]:80/"),
            (&["[::]:80", "0.0.0.0:80"], "http://127.0.0.1:80/"),
        ] {
            assert_eq!(chosen(tcp, &[], true).as_deref(), Ok(url), "{tcp:?}");
        }
        assert_eq!(chosen(&["[::]:80"], &[], false).as_deref(), Ok("http://[::1]:80/"));
    }

    #[test]
    fn a_unix_socket_is_asked_where_there_is_no_port() {
        assert_eq!(chosen(&[], &["/run/app.sock"], true).as_deref(), Ok("unix:/run/app.sock:/"));
        assert_eq!(chosen(&["0.0.0.0:80"], &["/run/a", "/run/b"], true).as_deref(), Ok("http://127.0.0.1:80/"));
        let (at_once, why) = chosen(&[], &["/run/a", "/run/b"], true).unwrap_err();
        assert!(at_once && why.contains("/run/a and /run/b; ") && why.contains("--url unix:/run/a:/"), "{why}");
    }

    #[test]
    fn several_ports_are_named_at_once_and_none_is_waited_for() {
        let (at_once, why) = chosen(&["0.0.0.0:81", "127.0.0.1:80", "[::]:82"], &[], true).unwrap_err();
        assert!(
            at_once && why.contains("ports 80, 81 and 82; ") && why.contains("--url http://127.0.0.1:80/"),
            "{why}"
        );
        let (at_once, why) = chosen(&[], &[], true).unwrap_err();
        assert!(!at_once && why.contains("longer --wait") && why.contains("--url"), "{why}");
    }
}

//! Where requests come in: what the app's tree listens on.

use super::inside::Inside;
use crate::sys::sockets::{
    Held, Listener, Sampler, Unavailable, UnixListener, UnixSampler, held_by, held_while, is_all_there_is,
    unix_of_others,
};
use crate::sys::whose::Ownership;
use crate::sys::{getpid, tree};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// At most this many of the app's processes are looked through, the oldest first: they open the listeners that the
/// others inherit. (Reading all descriptors of 10,000 processes takes half a second, and makes their end, which may be
/// due, take twice as long.)
pub(super) const LOOKED_THROUGH: usize = 1000;

/// Where requests come in, as far as it was found.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Found {
    /// Where TCP connections come in; with `--ports`, on any address.
    pub(super) at: Vec<SocketAddr>,
    /// The Unix sockets that are listened on.
    pub(super) unix: Vec<UnixListener>,
    /// The UDP sockets that are bound: nothing is known about what comes in there.
    pub(super) udp: Vec<SocketAddr>,
    /// The processes that may accept connections.
    pub(super) processes: Vec<i32>,
    /// Whether it is proven that nothing comes in anywhere.
    pub(super) nothing_listens: bool,
    /// Whether there are processes whose listeners cannot be seen.
    pub(super) incomplete: bool,
    /// Whether there are more processes than are looked through.
    pub(super) cut: bool,
    /// All processes of the tree that are looked through.
    pub(super) tree: Vec<i32>,
}

impl Found {
    /// Looks at every descriptor of every process of the tree, for these ports or for whatever it listens on; of two
    /// runs of the app, only those of one. Once `go_on` has said no, the result is worth nothing.
    pub(super) fn look(
        ports: Option<&[u16]>,
        of: Option<&Ownership>,
        go_on: &dyn Fn() -> bool,
        sampler: &mut Sampler,
        unix: &mut UnixSampler,
    ) -> Result<Found, Unavailable> {
        let all: Vec<Listener> = sampler.listeners()?.to_vec();
        let source = sampler.source();
        let mut tree = tree::eldest_descendants(LOOKED_THROUGH, go_on).unwrap_or_default();
        let cut = tree.len() >= LOOKED_THROUGH;
        if let Some(of) = of {
            of.keep(&mut tree);
        }
        let tree: Vec<i32> = tree.iter().map(|process| process.pid).collect();
        let held = held_while(go_on, &tree, &all);
        if let Some(ports) = ports {
            let anywhere = |port: &u16| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), *port);
            let at = ports.iter().map(anywhere).collect();
            return Ok(Found { at, udp: held.udp, processes: held.processes, tree, ..Found::default() });
        }
        if !held.unreadable.is_empty() {
            return Ok(Found { tree, cut, ..Found::of_others(held, all) });
        }
        let mut over_unix = unix.sample(&held.unix);
        Inside::default().leave_out(&mut over_unix, &tree);
        let connected = !over_unix.is_empty();
        let none = held.listeners.is_empty() && held.udp.is_empty() && !connected;
        let nothing_listens = none && !cut && is_all_there_is(go_on, &tree, &held, source);
        let mut found = Found { nothing_listens, cut, processes: held.processes, tree, ..Found::default() };
        if connected || held.listeners.is_empty() {
            merge(&mut found.processes, held.unix_processes);
        }
        (found.at, found.unix, found.udp) = (addresses(&held.listeners), held.unix, held.udp);
        Ok(found)
    }

    /// A later look. What was found before it stays: the app may have closed its listener, and still have requests in
    /// its hands that came in there.
    pub(super) fn add(&mut self, later: Found) {
        let Found { at, unix, udp, processes, nothing_listens, incomplete, cut, tree } = later;
        merge(&mut self.at, at);
        merge(&mut self.unix, unix);
        merge(&mut self.udp, udp);
        merge(&mut self.processes, processes);
        (self.nothing_listens, self.incomplete, self.tree) = (nothing_listens, incomplete, tree);
        self.cut |= cut;
    }

    /// For another user's processes, without CAP_SYS_PTRACE. In a container, whatever listens is the app's, except
    /// graceful itself.
    fn of_others(held: Held, all: Vec<Listener>) -> Found {
        let found = Found { udp: held.udp, processes: held.processes, ..Found::default() };
        if getpid() != 1 {
            return Found { at: addresses(&held.listeners), unix: held.unix, incomplete: true, ..found };
        }
        let own = held_by(&[getpid()], &all).listeners;
        let others: Vec<Listener> = all.into_iter().filter(|listener| !own.contains(listener)).collect();
        Found { at: addresses(&others), unix: unix_of_others(&[getpid()]), ..found }
    }

    /// Whether the processes are dead or dying.
    pub(super) fn have_let_go(&self) -> bool {
        !self.processes.is_empty() && self.processes.iter().all(|pid| tree::has_let_go(*pid))
    }

    /// What cannot be watched, in words; `None` if there is nothing.
    pub(super) fn not_watched(&self) -> Option<String> {
        let (first, more) = self.udp.split_first()?;
        let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        Some(format!(
            "the app takes UDP on {first}{more} (as QUIC and DNS do): what is in flight there cannot be seen, and \
             nothing is held for it"
        ))
    }
}

fn merge<T: Ord>(all: &mut Vec<T>, more: Vec<T>) {
    all.extend(more);
    all.sort();
    all.dedup();
}

fn addresses(listeners: &[Listener]) -> Vec<SocketAddr> {
    let mut found: Vec<SocketAddr> = listeners.iter().map(|listener| listener.local).collect();
    found.sort();
    found.dedup();
    found
}

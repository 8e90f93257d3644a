//! All connections together.

use super::Handler;
use super::counts::{Counts, Verdict};
use super::exchange::{Class, Exchange, Moment};
use super::unix::UnixTracker;
use crate::sys::sockets::{Connection, Snapshot, UnixSnapshot};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// An answer is over when nothing of it was sent for this part of the quiet window.
const PAUSES_IN_QUIET: u32 = 4;

/// Remembers what each connection has done between samples.
#[derive(Debug)]
pub struct Tracker {
    quiet_window: Duration,
    handler: Handler,
    /// When the first sample was taken.
    first: Option<Duration>,
    connections: HashMap<(SocketAddr, SocketAddr), Known>,
    unix: UnixTracker,
    own: HashSet<(IpAddr, u16)>,
    /// The last sample, and when it was; none before the first.
    last: Option<(Duration, Counts)>,
    /// When something new came last.
    news_at: Duration,
    /// Number of the sample: what does not carry it is no longer there.
    round: u64,
}

#[derive(Debug)]
struct Known {
    exchange: Exchange,
    /// graceful's own, for as long as it lasts: the app may close it long after graceful has.
    own: bool,
    round: u64,
}

/// What waits to be accepted on one port, as both sides count it.
#[derive(Debug, Default)]
struct Backlog {
    listeners: usize,
    connections: usize,
}

impl Tracker {
    /// With this quiet window: an answer without a byte for a quarter of it is over. How long anything else may be unknown
    /// depends on the [`Handler`], of which nothing is known at first.
    pub fn new(quiet_window: Duration) -> Tracker {
        Tracker {
            quiet_window,
            handler: Handler::Unproven,
            first: None,
            connections: HashMap::new(),
            unix: UnixTracker::default(),
            own: HashSet::new(),
            last: None,
            news_at: Duration::ZERO,
            round: 0,
        }
    }

    /// What the app does about the stop signal, if that is known: it says how long doubt may last.
    pub fn handler(&mut self, handler: Handler) {
        self.handler = handler;
        self.unix.no_handler(handler == Handler::Missing);
    }

    /// From the next sample on, connections from these addresses are neither counted nor news: graceful's own sockets, by
    /// their local address. A connection once ignored stays so to its end, however much longer the app keeps it; the list
    /// itself is replaced by each call, so that no client is ignored that gets the same port later. A list taken before and
    /// after the snapshot misses none.
    pub fn ignore(&mut self, own: impl IntoIterator<Item = SocketAddr>) {
        self.own.clear();
        self.own.extend(own.into_iter().map(end));
    }

    /// Takes what Unix sockets show, for the next [`Tracker::sample`], which is of the same moment and counts it in.
    pub fn sample_unix(&mut self, now: Duration, snapshot: &UnixSnapshot) {
        if self.unix.sample(now, self.quiet_window, snapshot) && self.last.is_some() {
            self.news_at = now;
        }
    }

    /// Takes a sample of this time (since graceful's start; times never go back).
    pub fn sample(&mut self, now: Duration, snapshot: &Snapshot) -> Counts {
        let moment = Moment {
            now,
            first: *self.first.get_or_insert(now),
            quiet: self.quiet_window,
            pause: self.quiet_window / PAUSES_IN_QUIET,
            handler: self.handler,
        };
        self.round += 1;
        if self.last.is_none() {
            self.news_at = now;
            self.connections.reserve(snapshot.connections.len());
        }
        let mut counts = Counts::default();
        let mut backlogs: BTreeMap<u16, Backlog> = BTreeMap::new();
        for listener in &snapshot.listeners {
            backlogs.entry(listener.local.port()).or_default().listeners += listener.backlog as usize;
        }
        for seen in &snapshot.connections {
            match self.see(moment, seen) {
                Some((Class::Unaccepted, own)) => {
                    let backlog = backlogs.entry(seen.local.port()).or_default();
                    if own {
                        backlog.listeners = backlog.listeners.saturating_sub(1);
                    } else {
                        backlog.connections += 1;
                    }
                }
                Some((Class::Busy, false)) => counts.busy += 1,
                Some((Class::Unknown, false)) => counts.unknown += 1,
                Some((Class::Idle, false)) => counts.idle += 1,
                Some((Class::Gone, _) | (_, true)) | None => {}
            }
        }
        counts.unaccepted = backlogs.values().map(|backlog| backlog.listeners.max(backlog.connections)).sum();
        self.connections.retain(|_, known| known.round == self.round);
        counts.add(self.unix.counts());
        self.last = Some((now, counts));
        counts
    }

    /// What the connection counts as, and whether it is graceful's own. None if it was in this sample already: the kernel
    /// lists while connections come and go, and may list one twice.
    fn see(&mut self, moment: Moment, seen: &Connection) -> Option<(Class, bool)> {
        let round = self.round;
        let own = !self.own.is_empty() && self.own.contains(&end(seen.remote));
        let (known, news) = match self.connections.entry((seen.local, seen.remote)) {
            Entry::Occupied(entry) if entry.get().round == round => return None,
            Entry::Occupied(entry) if entry.get().exchange.continues_as(seen) => {
                let known = entry.into_mut();
                known.own |= own;
                known.round = round;
                let news = known.exchange.follow(moment, seen);
                (known, news)
            }
            entry => {
                let new = Known { exchange: Exchange::first(moment, seen), own, round };
                (entry.insert_entry(new).into_mut(), true)
            }
        };
        if news && !known.own {
            self.news_at = moment.now;
        }
        Some((known.exchange.class(moment, seen), known.own))
    }

    /// What the last sample came to; none before the first.
    pub fn last(&self) -> Option<Counts> {
        self.last.map(|(_, counts)| counts)
    }

    /// Since when nothing new has come: no byte received, no connection made. The first sample knows of nothing before
    /// itself; none before it.
    pub fn quiet_since(&self) -> Option<Duration> {
        self.last.map(|_| self.news_at)
    }

    /// For `--hold idle`: whether something was in flight at the last sample.
    pub fn idle(&self) -> Verdict {
        match self.last() {
            None => Verdict::NotSeen,
            Some(counts) if counts.is_idle() => Verdict::Idle,
            Some(counts) => Verdict::InFlight(counts),
        }
    }

    /// For `--hold quiet`: the same, and whether nothing new had come for the quiet window by then.
    pub fn quiet(&self) -> Verdict {
        let silent = self.last.map_or(Duration::ZERO, |(at, _)| at.saturating_sub(self.news_at));
        match self.idle() {
            Verdict::Idle if silent >= self.quiet_window => Verdict::Quiet,
            Verdict::Idle => Verdict::NotQuiet(silent),
            other => other,
        }
    }
}

/// An address as both families write it: a socket for IPv4 and IPv6 shows IPv4 as ::ffff:a.b.c.d.
fn end(address: SocketAddr) -> (IpAddr, u16) {
    (address.ip().to_canonical(), address.port())
}

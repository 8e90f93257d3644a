//! All connections together.

use super::Handler;
use super::exchange::{Class, ConnectionHistory, SampleTime};
use super::unix::UnixTracker;
use super::verdict::HoldVerdict;
use crate::counts::Counts;
use crate::sys::sockets::{Connection, Snapshot, UnixSnapshot};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tracing::debug;

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
    /// Of these, what was open before the snapshot and is in no row of it.
    unlisted: HashSet<(IpAddr, u16)>,
    /// The last sample, and when it was; `None` before the first.
    last: Option<(Duration, Counts)>,
    /// When something new came last.
    news_at: Duration,
    /// The longest pause of an answer that was taken for over and went on, since it was asked for.
    longest_pause: Option<Duration>,
    /// The number of the sample: what does not carry it is no longer there.
    round: u64,
}

#[derive(Debug)]
struct Known {
    exchange: ConnectionHistory,
    /// It is graceful's own, and stays so: the app may close it long after graceful has.
    own: bool,
    /// Not accepted, as far as the last sample knew.
    waits: bool,
    round: u64,
    /// What it was last logged as counting as.
    told: Option<Class>,
}

/// What a connection is in this sample.
struct Seen {
    class: Class,
    own: bool,
    /// Its listener may have counted it: the kernel lists listeners first, and the app may have accepted it, or closed
    /// it, before its own turn came.
    in_backlog: bool,
}

/// What waits to be accepted on one port, as both sides count it.
#[derive(Debug, Default)]
struct Backlog {
    listeners: usize,
    connections: usize,
}

impl Backlog {
    fn without_a_row(&self) -> usize {
        self.listeners.saturating_sub(self.connections)
    }
}

impl Tracker {
    /// A tracker with this quiet window: an answer without a byte for a quarter of it is over. How long anything else
    /// may be unknown depends on the [`Handler`], about which nothing is known at first.
    pub fn new(quiet_window: Duration) -> Tracker {
        Tracker {
            quiet_window,
            handler: Handler::Unproven,
            first: None,
            connections: HashMap::new(),
            unix: UnixTracker::default(),
            own: HashSet::new(),
            unlisted: HashSet::new(),
            last: None,
            news_at: Duration::ZERO,
            longest_pause: None,
            round: 0,
        }
    }

    /// What the app does about the stop signal, if that is known: it says how long doubt may last.
    pub fn handler(&mut self, handler: Handler) {
        self.handler = handler;
        self.unix.no_handler(handler == Handler::Missing);
    }

    /// From the next sample on, connections from these addresses are neither counted nor news: graceful's own sockets,
    /// by their local address. A connection that was once ignored stays so to its end, however much longer the app
    /// keeps it; the list itself is replaced by each call, so that no client is ignored that gets the same port later.
    /// A list taken before and after the snapshot misses none.
    pub fn ignore(&mut self, own: impl IntoIterator<Item = SocketAddr>) {
        self.own.clear();
        self.own.extend(own.into_iter().map(end));
        self.unlisted.clear();
    }

    /// Those of graceful's own connections that were open before the next snapshot. The kernel lists who listens before
    /// it lists connections: one that waits in the backlog may be answered and gone when its row would come.
    pub fn were_open(&mut self, own: impl IntoIterator<Item = SocketAddr>) {
        self.unlisted.extend(own.into_iter().map(end));
    }

    /// Takes what Unix sockets show, for the next [`Tracker::sample`], which is of the same moment and counts it in.
    pub fn sample_unix(&mut self, now: Duration, snapshot: &UnixSnapshot) {
        if self.unix.sample(now, self.quiet_window, snapshot) && self.last.is_some() {
            self.news_at = now;
        }
    }

    /// Takes a sample of this time (since graceful's start; times never go back).
    pub fn sample(&mut self, now: Duration, snapshot: &Snapshot) -> Counts {
        let moment = SampleTime {
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
                Some(Seen { own: true, in_backlog, .. }) => {
                    if let Some(backlog) = backlogs.get_mut(&seen.local.port()).filter(|_| in_backlog) {
                        backlog.listeners = backlog.listeners.saturating_sub(1);
                    }
                }
                Some(Seen { class: Class::Unaccepted, .. }) => {
                    backlogs.entry(seen.local.port()).or_default().connections += 1;
                }
                Some(Seen { class: Class::Busy, .. }) => counts.busy += 1,
                Some(Seen { class: Class::Unknown, .. }) => counts.unknown += 1,
                Some(Seen { class: Class::Idle, .. }) => counts.idle += 1,
                Some(Seen { class: Class::Gone, .. }) | None => {}
            }
        }
        counts.unaccepted = backlogs.values().map(|backlog| backlog.listeners.max(backlog.connections)).sum();
        let without_a_row: usize = backlogs.values().map(Backlog::without_a_row).sum();
        counts.unaccepted -= without_a_row.min(self.unlisted.len());
        self.unlisted.clear();
        self.connections.retain(|_, known| known.round == self.round);
        counts.add(self.unix.counts());
        self.last = Some((now, counts));
        counts
    }

    /// What the connection counts as. `None` if it was in this sample already: the kernel lists while connections come
    /// and go, and may list one twice.
    fn see(&mut self, moment: SampleTime, seen: &Connection) -> Option<Seen> {
        let round = self.round;
        let own = !self.own.is_empty() && self.own.contains(&end(seen.remote));
        if own {
            self.unlisted.remove(&end(seen.remote));
        }
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
                let new =
                    Known { exchange: ConnectionHistory::first(moment, seen), own, waits: true, round, told: None };
                (entry.insert_entry(new).into_mut(), true)
            }
        };
        if news && !known.own {
            self.news_at = moment.now;
        }
        if let Some(pause) = known.exchange.went_on().filter(|_| !known.own) {
            self.longest_pause = self.longest_pause.max(Some(pause));
        }
        let class = known.exchange.class(moment, seen);
        if !known.own && known.told != Some(class) {
            explain(seen, class, known.told, known.exchange.why(seen));
            known.told = Some(class);
        }
        let in_backlog = std::mem::replace(&mut known.waits, class == Class::Unaccepted);
        Some(Seen { class, own: known.own, in_backlog })
    }

    /// What the last sample came to; `None` before the first.
    pub fn last(&self) -> Option<Counts> {
        self.last.map(|(_, counts)| counts)
    }

    /// Whether, as of the last sample, nobody waits for the beginning of an answer: on each connection the app has
    /// spoken last, though more may follow.
    pub fn is_calm(&self) -> bool {
        let doubtful = |known: &Known| !known.own && known.exchange.is_doubtful();
        self.last().is_some_and(|counts| counts.busy == 0 && counts.unaccepted == 0)
            && !self.connections.values().any(doubtful)
    }

    /// Since when nothing new has come: no byte received, no connection made. The first sample knows of nothing before
    /// itself; before it, this is `None`.
    pub fn quiet_since(&self) -> Option<Duration> {
        self.last.map(|_| self.news_at)
    }

    /// The longest pause of an answer that was taken for over and went on, since this was last asked. None is told if
    /// the app said something unasked: a pause and a call look the same.
    pub fn took_for_over(&mut self) -> Option<Pause> {
        let lasted = self.longest_pause.take()?;
        let windows = if self.handler == Handler::Missing { 1 } else { PAUSES_IN_QUIET };
        Some(Pause { lasted, quiet_window: whole_seconds_over(lasted * windows) })
    }

    /// For `--hold idle`: whether something was in flight at the last sample.
    pub fn idle(&self) -> HoldVerdict {
        match self.last() {
            None => HoldVerdict::NotSeen,
            Some(counts) if counts.is_idle() => HoldVerdict::Idle,
            Some(counts) => HoldVerdict::InFlight(counts),
        }
    }

    /// For `--hold quiet`: the same, and whether nothing new had come for the quiet window by then.
    pub fn quiet(&self) -> HoldVerdict {
        let silent = self.last.map_or(Duration::ZERO, |(at, _)| at.saturating_sub(self.news_at));
        match self.idle() {
            HoldVerdict::Idle if silent >= self.quiet_window => HoldVerdict::Quiet,
            HoldVerdict::Idle => HoldVerdict::NotQuiet(silent),
            other => other,
        }
    }
}

/// Logs what a connection counts as, unless it is at rest when first seen: then it has nothing to do with the stop.
fn explain(seen: &Connection, class: Class, before: Option<Class>, why: &str) {
    if before.is_none() && matches!(class, Class::Idle | Class::Gone) {
        return;
    }
    let (client, port) = (seen.remote, seen.local.port());
    let (received, sent) = seen.counters.map_or((0, 0), |counters| (counters.received, counters.sent));
    let class = match class {
        Class::Gone => "gone",
        Class::Unaccepted => "not accepted",
        Class::Busy => "busy",
        Class::Unknown => "unknown",
        Class::Idle => "idle",
    };
    debug!(
        name: "connection", %client, port, class, why, received, sent,
        "connection of {client} to port {port} is {class}: {why} ({received} bytes received, {sent} sent)"
    );
}

/// An answer went on after a silence that had made it look over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// The silence's length.
    pub lasted: Duration,
    /// The quiet window with which it would not have been taken for over.
    pub quiet_window: Duration,
}

/// The next whole second after it plus a tenth of it: no two pauses are alike.
fn whole_seconds_over(time: Duration) -> Duration {
    Duration::from_secs((time + time / 10).as_secs() + 1)
}

/// An address as both families write it: a socket for IPv4 and IPv6 shows IPv4 as ::ffff:a.b.c.d.
fn end(address: SocketAddr) -> (IpAddr, u16) {
    (address.ip().to_canonical(), address.port())
}

//! Connections over Unix sockets: queues alone, no bytes and no times.
//!
//! - Unaccepted is what the listener's queue says; a connection that is in it has no row of its own.
//! - Something unread or unsent is busy.
//! - Nothing in the queues may be a request that the app works on, or a connection that a proxy keeps: unknown. It is
//!   idle when the same row was silent for the quiet window, if the app can end a request by itself: where it provably
//!   has no handler for its stop signal, a wrong guess kills, so that it stays unknown for as long as it is there.
//! - A connection whose client has left is gone.

use crate::counts::Counts;
use crate::sys::sockets::{UnixConnection, UnixSnapshot};
use std::collections::HashMap;
use std::time::Duration;

/// Remembers since when each connection has been silent.
#[derive(Debug, Default)]
pub(super) struct UnixTracker {
    /// By the inode of the app's end.
    known: HashMap<u32, Known>,
    no_handler: bool,
    unaccepted: usize,
    counts: Counts,
    round: u64,
}

#[derive(Debug)]
struct Known {
    unread: u32,
    /// When there was something in a queue last.
    moved_at: Duration,
    round: u64,
}

impl UnixTracker {
    /// Whether it is certain that the app dies of its stop signal.
    pub(super) fn no_handler(&mut self, is: bool) {
        self.no_handler = is;
    }

    /// What the last sample came to.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes a sample; says whether something new has come: a connection, or bytes.
    pub(super) fn sample(&mut self, now: Duration, quiet: Duration, snapshot: &UnixSnapshot) -> bool {
        self.round += 1;
        let mut news = snapshot.unaccepted > self.unaccepted;
        self.unaccepted = snapshot.unaccepted;
        self.counts = Counts { unaccepted: snapshot.unaccepted, ..Counts::default() };
        for seen in snapshot.connections.iter().filter(|seen| seen.client != Some(0)) {
            news |= self.see(now, quiet, seen);
        }
        self.known.retain(|_, known| known.round == self.round);
        news
    }

    fn see(&mut self, now: Duration, quiet: Duration, seen: &UnixConnection) -> bool {
        let round = self.round;
        let mut news = false;
        let known = self.known.entry(seen.inode).or_insert_with(|| {
            news = true;
            Known { unread: 0, moved_at: now, round }
        });
        news |= seen.unread > known.unread;
        (known.unread, known.round) = (seen.unread, round);
        let busy = seen.unread > 0 || seen.unsent > 0;
        if busy {
            known.moved_at = now;
        }
        match now.saturating_sub(known.moved_at) {
            _ if busy => self.counts.busy += 1,
            silent if silent >= quiet && !self.no_handler => self.counts.idle += 1,
            _ => self.counts.unknown += 1,
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_secs(2);

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn one(inode: u32, unread: u32, unsent: u32) -> UnixConnection {
        UnixConnection { inode, unread, unsent, client: Some(inode + 1) }
    }

    fn counted(tracker: &mut UnixTracker, now: u64, unaccepted: usize, connections: &[UnixConnection]) -> [usize; 4] {
        tracker.sample(at(now), QUIET, &UnixSnapshot { unaccepted, connections: connections.to_vec() });
        let Counts { unaccepted, busy, unknown, idle } = tracker.counts();
        [unaccepted, busy, unknown, idle]
    }

    #[test]
    fn queues_are_in_flight_and_silence_is_unknown_until_it_has_lasted() {
        let mut tracker = UnixTracker::default();
        assert_eq!(counted(&mut tracker, 0, 3, &[one(1, 5, 0), one(2, 0, 7), one(3, 0, 0)]), [3, 2, 1, 0]);
        assert_eq!(counted(&mut tracker, 1999, 0, &[one(1, 0, 0), one(2, 0, 0), one(3, 0, 0)]), [0, 0, 3, 0]);
        assert_eq!(counted(&mut tracker, 2000, 0, &[one(1, 0, 0), one(2, 0, 0), one(3, 0, 0)]), [0, 0, 0, 3]);
        // The next request on the same connection.
        assert_eq!(counted(&mut tracker, 2100, 0, &[one(3, 9, 0)]), [0, 1, 0, 0]);
        assert_eq!(counted(&mut tracker, 4000, 0, &[one(3, 0, 0)]), [0, 0, 1, 0]);
        assert_eq!(counted(&mut tracker, 4100, 0, &[one(3, 0, 0)]), [0, 0, 0, 1]);
    }

    #[test]
    fn rows_that_come_and_go_are_never_idle() {
        let mut tracker = UnixTracker::default();
        for round in 0..100 {
            assert_eq!(counted(&mut tracker, u64::from(round) * 100, 0, &[one(round, 0, 0)]), [0, 0, 1, 0]);
        }
    }

    #[test]
    fn an_app_without_a_handler_is_never_trusted_with_a_guess() {
        let mut tracker = UnixTracker::default();
        tracker.no_handler(true);
        for round in 0..100 {
            assert_eq!(counted(&mut tracker, round * 1000, 0, &[one(7, 0, 0)]), [0, 0, 1, 0]);
        }
    }

    #[test]
    fn nobody_waits_on_a_connection_whose_client_has_left() {
        let mut tracker = UnixTracker::default();
        let gone = UnixConnection { client: Some(0), ..one(7, 5, 0) };
        assert_eq!(counted(&mut tracker, 0, 0, &[gone]), [0; 4]);
    }

    #[test]
    fn news_are_connections_and_bytes() {
        let mut tracker = UnixTracker::default();
        let mut news = |unaccepted: usize, connections: &[UnixConnection]| {
            tracker.sample(at(0), QUIET, &UnixSnapshot { unaccepted, connections: connections.to_vec() })
        };
        assert!(!news(0, &[]));
        assert!(news(1, &[]));
        assert!(news(0, &[one(1, 0, 0)]));
        assert!(!news(0, &[one(1, 0, 5)]));
        assert!(news(0, &[one(1, 4, 5)]));
        assert!(!news(0, &[one(1, 0, 0)]));
    }
}

//! One connection: who spoke last, as far as samples can tell. The module's head has the picture.

use crate::sys::sockets::{Connection, Counters, State};
use std::time::Duration;

/// When a sample was taken, and how long silence takes to mean something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// Since graceful's start.
    pub(super) now: Duration,
    /// After so long an unclear connection is at rest.
    pub(super) quiet: Duration,
    /// After so long an answer is over.
    pub(super) pause: Duration,
}

/// What a connection counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Closed by the app, and everything is delivered.
    Gone,
    Unaccepted,
    Busy,
    Unknown,
    Idle,
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// The client's: it has its answer, or has not said anything yet.
    Rest,
    /// The app's.
    Asked,
    /// The app has begun to answer; more may follow.
    Answering,
    /// Both spoke, and which was last cannot be told.
    Unclear,
}

/// What is remembered of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    inode: u32,
    closing: bool,
    /// Bytes received without the FIN, and sent; `None` without counters.
    bytes: Option<(u64, u64)>,
    unread: u32,
    turn: Turn,
    /// When a byte moved last, in whichever direction; without counters, when a sample last found something.
    moved_at: Duration,
}

impl Exchange {
    /// A connection that is seen for the first time.
    pub(super) fn first(moment: Moment, seen: &Connection) -> Exchange {
        let (turn, moved_at) = at_first_sight(moment.now, seen);
        Exchange {
            inode: seen.inode,
            closing: seen.state == State::Closing,
            bytes: seen.counters.map(|counters| (data_received(seen, &counters), counters.sent)),
            unread: unread(seen),
            turn,
            moved_at,
        }
    }

    /// What is now seen between the same two addresses is still this connection.
    ///
    /// The inode names the socket, which is made when the connection is accepted; the bytes are for the time before.
    pub(super) fn continues_as(&self, seen: &Connection) -> bool {
        let closing = seen.state == State::Closing;
        let same_socket = match (self.inode, seen.inode) {
            (0, _) => true,
            (_, 0) => closing,
            (before, now) => before == now,
        };
        let went_back = match (&seen.counters, self.bytes) {
            // Whether a FIN is among the bytes of a closing connection cannot be told: they may seem to go back by it.
            (Some(now), Some((before, _))) => data_received(seen, now) + u64::from(closing && !self.closing) < before,
            (Some(_) | None, _) => false,
        };
        same_socket && !went_back && (closing || !self.closing)
    }

    /// Takes what is seen now; says whether the client has sent anything since.
    pub(super) fn follow(&mut self, moment: Moment, seen: &Connection) -> bool {
        let news = match (&seen.counters, self.bytes) {
            (Some(counters), Some(before)) => self.follow_counters(moment, seen, counters, before),
            (Some(_), None) => {
                (self.turn, self.moved_at) = at_first_sight(moment.now, seen);
                unread(seen) > self.unread
            }
            (None, before) => {
                if before.is_some() || unread(seen) > 0 || unsent(seen) > 0 {
                    (self.turn, self.moved_at) = (Turn::Unclear, moment.now);
                }
                unread(seen) > self.unread
            }
        };
        self.inode = seen.inode;
        self.closing = seen.state == State::Closing;
        self.bytes = seen.counters.map(|counters| (data_received(seen, &counters), counters.sent));
        self.unread = unread(seen);
        news
    }

    fn follow_counters(&mut self, moment: Moment, seen: &Connection, now: &Counters, before: (u64, u64)) -> bool {
        let came = data_received(seen, now) > before.0;
        let went = now.sent > before.1;
        let (received_at, sent_at) = times(moment.now, now);
        (self.turn, self.moved_at) = match (came, went) {
            (false, false) => (self.turn, self.moved_at),
            (true, false) => (Turn::Asked, received_at),
            (false, true) => (self.spoke(sent_at, moment.pause), sent_at),
            (true, true) => (by_time(now), received_at.max(sent_at)),
        };
        if unread(seen) > 0 {
            // Whatever was sent, it did not answer this.
            self.turn = Turn::Asked;
        }
        came
    }

    /// The app has sent something and got nothing. From rest that is no answer, unless it goes on within a pause: then it
    /// may be one that was taken for over.
    fn spoke(&self, at: Duration, pause: Duration) -> Turn {
        match self.turn {
            Turn::Rest if at.saturating_sub(self.moved_at) >= pause => Turn::Rest,
            Turn::Rest | Turn::Asked | Turn::Answering | Turn::Unclear => Turn::Answering,
        }
    }

    /// What it counts as, after [`Exchange::first`] or [`Exchange::follow`] took the same `seen`.
    pub(super) fn class(&mut self, moment: Moment, seen: &Connection) -> Class {
        if seen.state == State::Closing {
            return if unsent(seen) > 0 { Class::Busy } else { Class::Gone };
        }
        if seen.inode == 0 {
            return Class::Unaccepted;
        }
        let silent = moment.now.saturating_sub(self.moved_at);
        match self.turn {
            Turn::Answering if silent >= moment.pause => self.turn = Turn::Rest,
            Turn::Unclear if silent >= moment.quiet => self.turn = Turn::Rest,
            Turn::Rest | Turn::Asked | Turn::Answering | Turn::Unclear => {}
        }
        match self.turn {
            _ if unread(seen) > 0 || unsent(seen) > 0 => Class::Busy,
            Turn::Asked => Class::Busy,
            Turn::Answering | Turn::Unclear => Class::Unknown,
            Turn::Rest => Class::Idle,
        }
    }
}

fn at_first_sight(now: Duration, seen: &Connection) -> (Turn, Duration) {
    let Some(counters) = &seen.counters else { return (Turn::Unclear, now) };
    let turn = match (data_received(seen, counters), counters.sent) {
        _ if unread(seen) > 0 => Turn::Asked,
        (0, _) => Turn::Rest,
        (_, 0) => Turn::Asked,
        (_, _) => by_time(counters),
    };
    let (received_at, sent_at) = times(now, counters);
    (turn, received_at.max(sent_at))
}

/// By who spoke last. Both times are whole ticks before the same moment, so any difference is true.
fn by_time(counters: &Counters) -> Turn {
    match counters.last_received_ms.cmp(&counters.last_sent_ms) {
        std::cmp::Ordering::Less => Turn::Asked,
        std::cmp::Ordering::Equal => Turn::Unclear,
        std::cmp::Ordering::Greater => Turn::Answering,
    }
}

/// When the last byte came, and when the last one went.
fn times(now: Duration, counters: &Counters) -> (Duration, Duration) {
    let before = |ms: u32| now.saturating_sub(Duration::from_millis(u64::from(ms)));
    (before(counters.last_received_ms), before(counters.last_sent_ms))
}

/// The FIN stands in the sequence like a byte (RFC 9293, 3.4), and the kernel counts it as one; last_received_ms it leaves.
fn data_received(seen: &Connection, counters: &Counters) -> u64 {
    counters.received.saturating_sub(u64::from(seen.state != State::Established))
}

fn unread(seen: &Connection) -> u32 {
    seen.unread.saturating_sub(u32::from(seen.state != State::Established))
}

/// The app's own FIN waits for its acknowledgement like data.
fn unsent(seen: &Connection) -> u32 {
    seen.unsent.saturating_sub(u32::from(seen.state == State::Closing))
}

//! One connection: who spoke last, as far as samples can tell. The module's head has the picture.

use super::Handler;
use super::evidence::{self, Last};
use crate::sys::sockets::{Connection, Counters, State};
use std::time::Duration;

/// When a sample was taken, and how long silence takes to mean something.
#[derive(Clone, Copy, Debug)]
pub(super) struct SampleTime {
    /// Since graceful's start.
    pub(super) now: Duration,
    /// The first sample of all: the stop has begun.
    pub(super) first: Duration,
    /// After this long an unclear connection is at rest, if the app handles the signal.
    pub(super) quiet: Duration,
    /// After this long an answer is over.
    pub(super) pause: Duration,
    /// What the app does about the stop signal.
    pub(super) handler: Handler,
}

/// An app with a handler of its own is waited for, on account of what it had to do before the stop, for this many quiet
/// windows.
const PATIENCE: u32 = 2;
/// After this much silence, whatever goes on is no handshake.
const SETTLED: Duration = Duration::from_secs(1);
/// A delayed acknowledgement is later than this (TCP_DELACK_MIN), and a keep-alive probe than that.
const LATEST_ACK: Duration = Duration::from_millis(300);

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
    /// The same, in more than one piece, and the app has no handler: its pauses may last.
    Streaming,
    /// Both spoke, and which was last cannot be told.
    Unclear,
    /// The same, without the counters that could tell.
    Blind,
}

/// What the app has said unasked: the client's reply to it ends it.
#[derive(Clone, Copy, Debug)]
struct Call {
    bytes: u64,
    at: Duration,
    /// As it was before.
    turn: Turn,
    moved_at: Duration,
}

/// What is remembered of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionHistory {
    inode: u32,
    closing: bool,
    /// Bytes received without the FIN, and sent; `None` without counters.
    bytes: Option<(u64, u64)>,
    unread: u32,
    /// The app has written what the client has not received: a pause is the network's.
    sending: bool,
    /// Pure acknowledgements that were sent.
    acks_out: u32,
    /// Both have spoken and then been silent for longer than any handshake is.
    settled: bool,
    /// It was there when the stop began.
    from_before: bool,
    call: Option<Call>,
    turn: Turn,
    /// It is at rest because its answer paused.
    paused: bool,
    /// After how long a pause that answer went on.
    went_on: Option<Duration>,
    /// When a byte moved last, in whichever direction; without counters, when a sample last found something.
    moved_at: Duration,
}

impl ConnectionHistory {
    /// A connection that is seen for the first time.
    pub(super) fn first(moment: SampleTime, seen: &Connection) -> ConnectionHistory {
        let (turn, moved_at) = at_first_sight(moment.now, seen);
        let mut exchange = ConnectionHistory {
            inode: 0,
            closing: false,
            bytes: None,
            unread: 0,
            sending: false,
            acks_out: 0,
            settled: false,
            from_before: moment.now == moment.first,
            call: None,
            turn,
            paused: false,
            went_on: None,
            moved_at,
        };
        exchange.remember(seen);
        exchange
    }

    fn remember(&mut self, seen: &Connection) {
        self.inode = seen.inode;
        self.closing = seen.state == State::Closing;
        self.bytes = seen.counters.map(|counters| (data_received(seen, &counters), counters.sent));
        self.unread = unread(seen);
        self.sending = unsent(seen) > 0;
        self.acks_out = seen.counters.map_or(0, |counters| counters.acks_out());
    }

    /// Whether what is now seen between the same two addresses is still this connection.
    ///
    /// The inode names the socket, which is made when the connection is accepted; before that, the bytes decide.
    pub(super) fn continues_as(&self, seen: &Connection) -> bool {
        let closing = seen.state == State::Closing;
        let same_socket = match (self.inode, seen.inode) {
            (0, _) => true,
            (_, 0) => closing,
            (before, now) => before == now,
        };
        let went_back = match (&seen.counters, self.bytes) {
            // Whether a FIN is among the bytes of a closing connection cannot be told: they may seem to go back by one.
            (Some(now), Some((before, _))) => data_received(seen, now) + u64::from(closing && !self.closing) < before,
            (Some(_) | None, _) => false,
        };
        same_socket && !went_back && (closing || !self.closing)
    }

    /// Takes what is seen now; says whether the client has sent anything since.
    pub(super) fn follow(&mut self, moment: SampleTime, seen: &Connection) -> bool {
        let news = match (&seen.counters, self.bytes) {
            (Some(counters), Some(before)) => self.follow_counters(moment, seen, counters, before),
            (Some(_), None) => {
                (self.turn, self.moved_at) = at_first_sight(moment.now, seen);
                unread(seen) > self.unread
            }
            (None, before) => {
                if before.is_some() || unread(seen) > 0 || unsent(seen) > 0 {
                    (self.turn, self.moved_at) = (Turn::Blind, moment.now);
                }
                unread(seen) > self.unread
            }
        };
        self.remember(seen);
        news
    }

    fn follow_counters(&mut self, moment: SampleTime, seen: &Connection, now: &Counters, before: (u64, u64)) -> bool {
        let came = data_received(seen, now).saturating_sub(before.0);
        let went = now.sent.saturating_sub(before.1);
        let (received_at, sent_at) = times(moment.now, now);
        let earliest = if came > 0 { received_at } else { sent_at };
        self.settled |= before.0 > 0 && before.1 > 0 && earliest.saturating_sub(self.moved_at) >= SETTLED;
        let (turn, moved_at) = match (came > 0, went > 0) {
            (false, false) => (self.silent(moment, now), self.moved_at),
            (true, false) => self.asked(came, received_at, moment),
            (false, true) => (self.spoke(went, sent_at, moment, now), sent_at),
            (true, true) => self.both(came, went, now, received_at.max(sent_at)),
        };
        // Whatever was sent did not answer what has not been read.
        self.paused &= came == 0;
        (self.turn, self.moved_at) =
            if unread(seen) > 0 { (Turn::Asked, self.moved_at.max(received_at)) } else { (turn, moved_at) };
        came > 0
    }

    /// No byte has moved; but an acknowledgement may have, which tells something.
    fn silent(&self, moment: SampleTime, now: &Counters) -> Turn {
        let silence = moment.now.saturating_sub(self.moved_at);
        match self.turn {
            // What was acknowledged without data was not answered.
            Turn::Unclear if now.acks_out() > self.acks_out && silence <= LATEST_ACK => Turn::Asked,
            Turn::Unclear => by_evidence(now, self.settled),
            turn => turn,
        }
    }

    /// The client has sent something and got nothing.
    fn asked(&mut self, came: u64, at: Duration, moment: SampleTime) -> (Turn, Duration) {
        match self.call.take() {
            Some(call) if evidence::is_reply(call.bytes, came) && at.saturating_sub(call.at) <= moment.pause => {
                (call.turn, call.moved_at)
            }
            Some(_) | None => (Turn::Asked, at),
        }
    }

    /// The app has sent something and got nothing. From rest that is no answer, unless it goes on within a pause: then
    /// it may be one that was taken for over.
    fn spoke(&mut self, went: u64, at: Duration, moment: SampleTime, now: &Counters) -> Turn {
        let lasts = self.call.filter(|call| at.saturating_sub(call.at) < moment.pause);
        let begun = lasts.unwrap_or(Call { bytes: 0, at, turn: self.turn, moved_at: self.moved_at });
        let was_asked = self.bytes.is_some_and(|(received, _)| received > 0);
        self.call = (!self.sending).then_some(Call { bytes: begun.bytes + went, ..begun });
        if self.turn == Turn::Rest && self.paused && !evidence::is_control(went) {
            self.went_on = Some(at.saturating_sub(self.moved_at));
        }
        match self.turn {
            Turn::Asked if evidence::is_control(went) => Turn::Asked,
            Turn::Rest | Turn::Answering | Turn::Streaming
                if moment.handler == Handler::Missing && was_asked && !self.sending =>
            {
                Turn::Streaming
            }
            Turn::Rest if at.saturating_sub(self.moved_at) >= moment.pause => Turn::Rest,
            Turn::Asked | Turn::Unclear if evidence::last(now, self.settled) == Last::Opening => Turn::Unclear,
            Turn::Streaming => Turn::Streaming,
            Turn::Rest | Turn::Asked | Turn::Answering | Turn::Unclear | Turn::Blind => Turn::Answering,
        }
    }

    /// Both have sent something.
    fn both(&mut self, came: u64, went: u64, now: &Counters, at: Duration) -> (Turn, Duration) {
        self.call = None;
        match self.turn {
            // The app's call and the client's reply; or a request and its answer, which comes to the same.
            Turn::Rest | Turn::Asked | Turn::Unclear if evidence::is_reply(went, came) => (self.turn, self.moved_at),
            Turn::Rest | Turn::Asked | Turn::Unclear if evidence::are_pings(came, went) => (self.turn, self.moved_at),
            _ if evidence::is_control(went) => (Turn::Asked, at),
            _ => (by_evidence(now, self.settled), at),
        }
    }

    /// What the connection counts as, after [`ConnectionHistory::first`] or [`ConnectionHistory::follow`] took the same
    /// `seen`.
    pub(super) fn class(&mut self, moment: SampleTime, seen: &Connection) -> Class {
        if seen.state == State::Closing {
            return if unsent(seen) > 0 { Class::Busy } else { Class::Gone };
        }
        if seen.inode == 0 {
            return Class::Unaccepted;
        }
        let silent = moment.now.saturating_sub(self.moved_at);
        let is_over = match (self.turn, moment.handler) {
            (Turn::Answering, Handler::Missing) | (Turn::Blind, _) => silent >= moment.quiet,
            (Turn::Answering, _) => silent >= moment.pause,
            (Turn::Unclear, Handler::Present) => silent >= moment.quiet,
            (Turn::Asked, Handler::Present) => self.is_old(moment),
            (Turn::Rest | Turn::Streaming | Turn::Unclear | Turn::Asked, _) => false,
        };
        if is_over {
            self.paused = self.turn != Turn::Asked;
            self.turn = Turn::Rest;
        }
        match self.turn {
            _ if unread(seen) > 0 || unsent(seen) > 0 => Class::Busy,
            Turn::Asked => Class::Busy,
            Turn::Answering | Turn::Streaming | Turn::Unclear | Turn::Blind => Class::Unknown,
            Turn::Rest => Class::Idle,
        }
    }

    /// Whether it is unknown who spoke last.
    pub(super) fn is_doubtful(&self) -> bool {
        matches!(self.turn, Turn::Unclear | Turn::Blind)
    }

    /// Why it counts as what [`ConnectionHistory::class`] has said.
    pub(super) fn why(&self, seen: &Connection) -> &'static str {
        match self.turn {
            _ if seen.state == State::Closing && unsent(seen) == 0 => "closed, and all is delivered",
            _ if seen.inode == 0 => "the app has not accepted it",
            _ if unread(seen) > 0 => "the app has not read all of it",
            _ if unsent(seen) > 0 => "not all of the answer is delivered",
            Turn::Asked => "a request without an answer",
            Turn::Answering | Turn::Streaming => "an answer has begun, and more may follow",
            Turn::Unclear => "both spoke, and which was last cannot be told",
            Turn::Blind => "the counters that could tell are missing",
            Turn::Rest if self.paused => "nothing has followed its answer",
            Turn::Rest => "it waits for its next request",
        }
    }

    /// The answer that was taken for over, and was not: it went on after this long without a byte. Told once.
    pub(super) fn went_on(&mut self) -> Option<Duration> {
        self.went_on.take()
    }

    /// Whether it was asked before the stop, and nothing has moved since: a client that waits for what may never come,
    /// or a request that takes long, about which the app's own shutdown knows more.
    fn is_old(&self, moment: SampleTime) -> bool {
        let waited = moment.now.saturating_sub(moment.first);
        self.from_before && self.moved_at <= moment.first && waited >= moment.quiet * PATIENCE
    }
}

fn at_first_sight(now: Duration, seen: &Connection) -> (Turn, Duration) {
    let Some(counters) = &seen.counters else { return (Turn::Blind, now) };
    let turn = match (data_received(seen, counters), counters.sent) {
        _ if unread(seen) > 0 => Turn::Asked,
        (0, _) => Turn::Rest,
        (_, 0) => Turn::Asked,
        (_, _) => by_evidence(counters, false),
    };
    let (received_at, sent_at) = times(now, counters);
    (turn, received_at.max(sent_at))
}

fn by_evidence(counters: &Counters, settled: bool) -> Turn {
    match evidence::last(counters, settled) {
        Last::Client => Turn::Asked,
        Last::App => Turn::Answering,
        Last::Tied if counters.data_segments_in == 0 => Turn::Blind,
        Last::Opening | Last::Tied => Turn::Unclear,
    }
}

/// When the last byte came, and when the last one went.
fn times(now: Duration, counters: &Counters) -> (Duration, Duration) {
    let before = |ms: u32| now.saturating_sub(Duration::from_millis(u64::from(ms)));
    (before(counters.last_received_ms), before(counters.last_sent_ms))
}

/// The FIN stands in the sequence like a byte (RFC 9293, 3.4), and the kernel counts it as one; it leaves
/// last_received_ms as it was.
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

//! What the numbers of one connection prove about whose turn it is. The module's head has the table.

use crate::sys::sockets::Counters;
use std::time::Duration;

/// Who spoke last, as far as one look can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    /// The client.
    Client,
    /// The app, and what it said may have been an answer.
    App,
    /// Perhaps the app has only sent its part of a handshake since the client asked.
    Opening,
    /// Both did within one clock tick, and nothing else tells.
    Tied,
}

/// An acknowledgement that comes later is the answer to a keep-alive probe (tcp(7), TCP_KEEPIDLE: a second at least).
const LATEST_ACK_MS: u32 = 900;
/// A delayed acknowledgement is sent within a fifth of a second (TCP_DELACK_MAX); and a few ticks.
const DELAYED_ACK: Duration = Duration::from_millis(250);
/// This much silence is not within a handshake, but after it.
const HANDSHAKE_PAUSE_MS: u32 = 1000;
/// The least bytes of a TLS handshake, each way: ClientHello, Finished and a request; ServerHello to Finished, and
/// tickets.
const LEAST_RECEIVED: u64 = 300;
const LEAST_SENT: u64 = 300;
/// Writes of both sides in a TLS handshake with the first request, at most: five and four.
const MOST_WRITES: u64 = 9;
/// When two sides that take turns have each written this many times, it is no handshake.
const TURNS: u64 = 5;

/// Who spoke last. `settled`: the connection has been silent for longer than a handshake is.
pub(super) fn last(counters: &Counters, settled: bool) -> Last {
    let (received, sent) = (counters.last_received_ms, counters.last_sent_ms);
    let is_opening = || !settled && received.saturating_sub(sent) < HANDSHAKE_PAUSE_MS && may_be_opening(counters);
    match received.cmp(&sent) {
        // Both times are whole ticks before the same moment, so any difference is real.
        std::cmp::Ordering::Less => Last::Client,
        // Only one segment has come in: an app that waits for the client to speak first has answered that.
        _ if counters.data_segments_in == 1 => Last::App,
        _ if is_opening() => Last::Opening,
        std::cmp::Ordering::Greater => Last::App,
        std::cmp::Ordering::Equal if is_acknowledged_later(counters) || is_answered_at_once(counters) => Last::App,
        std::cmp::Ordering::Equal => Last::Tied,
    }
}

/// The client has acknowledged something after its last byte. A client that takes turns acknowledges an answer with the
/// next request, so what was acknowledged was sent after that.
fn is_acknowledged_later(counters: &Counters) -> bool {
    let later = counters.last_received_ms.saturating_sub(counters.last_ack_ms);
    counters.data_segments_in > 0 && (1..=LATEST_ACK_MS).contains(&later)
}

/// All that came was acknowledged by what was sent, but for the first segment, which the kernel acknowledges at once
/// (TCP_MAX_QUICKACKS). So something was sent after the last byte had come.
fn is_answered_at_once(counters: &Counters) -> bool {
    let silent = Duration::from_millis(counters.last_received_ms.into());
    counters.data_segments_in > 1 && counters.acks_out() <= 1 && silent >= DELAYED_ACK
}

/// It may be a TLS connection on which nothing but the handshake and the first request has come, and nothing but the
/// handshake was sent. TLS 1.3 sends session tickets after the client's Finished, when the first request is there or on
/// its way (RFC 8446, 4.6.1): they follow it, and are no answer. (With TLS 1.2 and False Start: the server's Finished.)
fn may_be_opening(counters: &Counters) -> bool {
    if counters.received < LEAST_RECEIVED || counters.sent < LEAST_SENT {
        return false;
    }
    let came = writes(counters.data_segments_in, counters.received, counters.segment);
    let went = writes(counters.data_segments_out, counters.sent, counters.segment);
    let take_turns = came >= TURNS && went >= came;
    !take_turns && came + went <= MOST_WRITES && counters.data_segments_in > 0
}

/// How often one side has written, at least: a full segment may be part of a longer one.
fn writes(segments: u32, bytes: u64, segment: u32) -> u64 {
    let full = bytes.checked_div(segment.into()).unwrap_or(0);
    u64::from(segments).saturating_sub(full)
}

/// The longest message of a server that is followed up to the client's reply: a WebSocket's ping over TLS (2 + 125 +
/// 22), and somewhat more.
pub(super) const LONGEST_CALL: u64 = 200;
/// The bytes that a client's WebSocket frame has and a server's has not (RFC 6455, 5.3).
const MASK: u64 = 4;

/// It may be the client's reply to what the server began: as long as that, or longer by a WebSocket's mask. Pongs,
/// acknowledged HTTP/2 pings and NATS' PONG are such. Nothing longer is taken for one: a client may also react with a
/// request.
pub(super) fn is_reply(call: u64, reply: u64) -> bool {
    call > 0 && call <= LONGEST_CALL && (reply == call || reply == call + MASK)
}

/// The lengths in bytes of the HTTP/2 frames that are no part of an answer: SETTINGS' acknowledgement, WINDOW_UPDATE,
/// PING (RFC 9113, 6.5, 6.7, 6.9).
const CONTROL: [u64; 3] = [9, 13, 17];

/// It may be such a frame, plain or in a record of TLS 1.3 (RFC 8446, 5.2), or two of them. No answer of HTTP/1 is so
/// short.
pub(super) fn is_control(bytes: u64) -> bool {
    const RECORD: u64 = 22;
    are_controls(bytes, 2) || bytes.checked_sub(RECORD).is_some_and(|frame| CONTROL.contains(&frame))
}

/// Both sides have sent nothing but a few such frames: they measure the line while a call is under way.
pub(super) fn are_pings(came: u64, went: u64) -> bool {
    const MOST: u32 = 4;
    are_controls(came, MOST) && are_controls(went, MOST)
}

fn are_controls(bytes: u64, most: u32) -> bool {
    let rest = |frame: &u64| bytes.checked_sub(*frame).is_some_and(|rest| rest == 0 || are_controls(rest, most - 1));
    most > 0 && CONTROL.iter().any(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asked and answered so often in so many bytes each, in one tick each, the last a second ago; acknowledged 40 ms
    /// later.
    fn turns(count: u32, received: u64, sent: u64) -> Counters {
        Counters {
            received: received * u64::from(count),
            sent: sent * u64::from(count),
            last_received_ms: 1000,
            last_sent_ms: 1000,
            last_ack_ms: 960,
            segments_in: count + 3,
            data_segments_in: count,
            segments_out: count + 2,
            data_segments_out: count,
            segment: 1448,
        }
    }

    #[test]
    fn a_late_acknowledgement_proves_an_answer_and_one_with_the_request_proves_nothing() {
        let at = |last_ack_ms| last(&Counters { last_ack_ms, ..turns(12, 80, 150) }, false);
        assert_eq!([at(960), at(996), at(100)], [Last::App; 3]);
        assert_eq!([at(1000), at(1004)], [Last::Tied; 2]);
        // A keep-alive probe's.
        assert_eq!(at(0), Last::Tied);
    }

    #[test]
    fn no_acknowledgement_but_the_first_proves_an_answer() {
        let with = |segments_out, last_received_ms| {
            let silent = Counters { last_received_ms, last_sent_ms: last_received_ms, ..turns(12, 80, 150) };
            last(&Counters { segments_out, last_ack_ms: last_received_ms, ..silent }, false)
        };
        assert_eq!([with(12, 1000), with(13, 1000), with(13, 252)], [Last::App; 3]);
        // It may still come; and it has come, perhaps for the last.
        assert_eq!([with(13, 200), with(14, 1000)], [Last::Tied; 2]);
    }

    #[test]
    fn what_may_be_a_handshake_is_no_answer() {
        // ClientHello, Finished, request; ServerHello to Finished, tickets, which are acknowledged late.
        let tickets =
            Counters { data_segments_in: 3, data_segments_out: 2, received: 705, sent: 1314, ..turns(1, 0, 0) };
        assert_eq!(last(&tickets, false), Last::Opening);
        assert_eq!(last(&Counters { last_sent_ms: 980, ..tickets }, false), Last::Opening);
        // Chains of certificates and long requests are many segments, but few writes.
        let long = Counters { data_segments_in: 9, received: 10_705, data_segments_out: 6, sent: 7200, ..tickets };
        assert_eq!(last(&long, false), Last::Opening);
        // The client's word; silence in between; an answer after a second: no handshake.
        assert_eq!(last(&Counters { last_sent_ms: 1004, ..tickets }, false), Last::Client);
        assert_eq!(last(&tickets, true), Last::App);
        assert_eq!(last(&Counters { last_received_ms: 2000, ..tickets }, false), Last::App);
        // Too few bytes for one, one segment, and turns.
        assert_eq!(last(&turns(3, 80, 500), false), Last::App);
        assert_eq!(last(&turns(1, 500, 500), false), Last::App);
        assert_eq!([2, 3, 4].map(|count| last(&turns(count, 200, 200), false)), [Last::Opening; 3]);
        assert_eq!(last(&turns(5, 200, 200), false), Last::App);
    }

    #[test]
    fn replies_and_frames_are_known_by_their_length() {
        let replies = [(6, 10, true), (6, 6, true), (17, 17, true), (6, 9, false), (6, 5, false), (0, 4, false)];
        for (call, reply, is) in replies.into_iter().chain([(300, 304, false)]) {
            assert_eq!(is_reply(call, reply), is, "{reply} for {call}");
        }
        for bytes in [9, 13, 17, 22, 26, 30, 34, 31, 35, 39] {
            assert!(is_control(bytes), "{bytes}");
        }
        // "+OK\r\n", the shortest answers of HTTP/1, "100 Continue", and of HTTP/2.
        for bytes in [0, 5, 10, 11, 19, 25, 27, 38, 60] {
            assert!(!is_control(bytes), "{bytes}");
        }
        assert!(are_pings(17, 47) && are_pings(34, 30) && !are_pings(17, 0) && !are_pings(132, 17));
    }
}

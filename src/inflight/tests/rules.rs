use super::*;

/// An accepted connection: bytes received, and the last how many ms ago; bytes sent, and the last how many ms ago.
fn talk(received: u64, last_received_ms: u32, sent: u64, last_sent_ms: u32) -> Connection {
    Connection {
        local: app(PORT),
        remote: client(40_000),
        state: State::Established,
        inode: 7,
        unread: 0,
        unsent: 0,
        counters: Some(Counters { received, sent, last_received_ms, last_sent_ms, ..Counters::default() }),
    }
}

fn class(counts: Counts) -> &'static str {
    match counts {
        Counts { unaccepted: 1, busy: 0, unknown: 0, idle: 0 } => "unaccepted",
        Counts { unaccepted: 0, busy: 1, unknown: 0, idle: 0 } => "busy",
        Counts { unaccepted: 0, busy: 0, unknown: 1, idle: 0 } => "unknown",
        Counts { unaccepted: 0, busy: 0, unknown: 0, idle: 1 } => "idle",
        Counts { unaccepted: 0, busy: 0, unknown: 0, idle: 0 } => "gone",
        more => panic!("more than one: {more:?}"),
    }
}

/// One connection in samples at these times (ms): what it counts as.
fn seen(samples: &[(u64, Connection)]) -> Vec<&'static str> {
    let mut tracker = Tracker::new(QUIET);
    samples.iter().map(|(at, seen)| class(tracker.sample(ms(*at), &snapshot(vec![*seen])))).collect()
}

fn seen_once(connection: Connection) -> &'static str {
    seen(&[(60_000, connection)])[0]
}

#[test]
fn a_connection_on_which_nobody_spoke_is_idle() {
    assert_eq!(seen_once(talk(0, 0, 0, 0)), "idle");
    assert_eq!(seen_once(talk(0, 5000, 0, 5000)), "idle");
}

#[test]
fn bytes_in_and_none_out_are_a_request_whatever_the_times_say() {
    for (last_received, last_sent) in [(0, 0), (4, 0), (0, 4), (50_000, 50_000)] {
        assert_eq!(seen_once(talk(80, last_received, 0, last_sent)), "busy");
    }
}

#[test]
fn at_first_sight_who_spoke_a_tick_later_spoke_last() {
    assert_eq!(seen_once(talk(80, 1000, 300, 1004)), "busy");
    assert_eq!(seen_once(talk(80, 1000, 300, 1001)), "busy");
    assert_eq!(seen_once(talk(80, 1004, 300, 1000)), "idle");
    assert_eq!(seen_once(talk(80, 1000, 300, 1000)), "unknown");
    // However long ago: a request may take its time.
    assert_eq!(seen_once(talk(80, 30_000, 300, 30_004)), "busy");
}

#[test]
fn an_unclear_connection_is_idle_after_a_quiet_window_without_a_byte() {
    let after = |silent: u32| talk(80, silent, 300, silent);
    let samples = [(10_000, after(100)), (11_896, after(1996)), (11_900, after(2000)), (12_000, after(2100))];
    assert_eq!(seen(&samples), ["unknown", "unknown", "idle", "idle"]);
    // What was before the first sample counts, too.
    assert_eq!(seen_once(after(2000)), "idle");
    // And a byte starts the pause anew.
    let samples = [(10_000, after(1900)), (10_100, talk(160, 80, 600, 80)), (10_200, talk(160, 180, 600, 180))];
    assert_eq!(seen(&samples), ["unknown", "unknown", "unknown"]);
}

#[test]
fn between_samples_the_bytes_decide_and_the_times_do_not() {
    // All in one tick: answered, the next request, its answer; but samples fell in between.
    let samples = [
        (10_000, talk(80, 0, 300, 0)),
        (10_001, talk(160, 0, 300, 0)),
        (10_002, talk(160, 0, 600, 0)),
        (11_000, talk(160, 1000, 600, 1000)),
    ];
    assert_eq!(seen(&samples), ["unknown", "busy", "unknown", "idle"]);
    // The clock was late for the request: the counters are not.
    assert_eq!(seen(&[(10_000, talk(80, 104, 300, 100)), (10_100, talk(160, 4, 300, 0))])[1], "busy");
}

#[test]
fn when_both_spoke_between_samples_the_later_tick_decides_or_nobody_knows() {
    let before = (10_000, talk(80, 1000, 0, 1000));
    assert_eq!(seen(&[before, (10_100, talk(160, 10, 300, 14))]), ["busy", "busy"]);
    assert_eq!(seen(&[before, (10_100, talk(160, 10, 300, 10))]), ["busy", "unknown"]);
    let answered = [before, (10_100, talk(160, 14, 300, 10)), (10_700, talk(160, 614, 300, 610))];
    assert_eq!(seen(&answered), ["busy", "unknown", "idle"]);
}

#[test]
fn a_request_stays_busy_however_long_the_app_thinks() {
    let samples: Vec<_> = (0..600).map(|i| (10_000 + i * 100, talk(80, i as u32 * 100, 0, i as u32 * 100))).collect();
    assert!(seen(&samples).iter().all(|class| *class == "busy"));
    // Also on a connection that has answered before, and was seen at rest.
    let mut samples = vec![(10_000, talk(80, 5004, 300, 5000))];
    samples.extend((0..600).map(|i| (10_100 + i * 100, talk(160, i as u32 * 100, 300, 5100 + i as u32 * 100))));
    assert!(seen(&samples)[1..].iter().all(|class| *class == "busy"));
}

#[test]
fn what_the_app_has_not_read_is_busy_and_no_earlier_answer_answers_it() {
    let unread = Connection { unread: 80, ..talk(160, 1004, 300, 1000) };
    let read = talk(160, 1104, 300, 1100);
    let answered = talk(160, 1204, 600, 50);
    let samples = [(10_000, unread), (10_100, read), (10_200, answered), (10_700, talk(160, 1704, 600, 550))];
    assert_eq!(seen(&samples), ["busy", "busy", "unknown", "idle"]);
    // An answer and unread bytes in the same interval: those are the next request.
    let samples = [(10_000, talk(80, 500, 0, 500)), (10_100, Connection { unread: 80, ..talk(160, 20, 300, 10) })];
    assert_eq!(seen(&[samples[0], samples[1], (10_200, talk(160, 120, 300, 110))]), ["busy"; 3]);
}

#[test]
fn an_answer_on_its_way_is_busy_until_the_client_has_it() {
    let on_its_way = |at: u64| Connection { unsent: 1, ..talk(80, at as u32 + 4, 300, at as u32) };
    let samples = [(10_000, on_its_way(1000)), (13_000, on_its_way(4000)), (13_100, talk(80, 4104, 300, 4100))];
    assert_eq!(seen(&samples), ["busy", "busy", "idle"]);
}

#[test]
fn a_slow_upload_is_busy_to_its_end() {
    let samples: Vec<_> =
        (0..50).map(|i| (10_000 + i * 700, talk(80 + i * 10, 3, 300, i as u32 * 700 + 4000))).collect();
    assert!(seen(&samples).iter().all(|class| *class == "busy"));
}

/// Has answered nothing at 10 s, and answers at these times (ms after it); sampled every 100 ms up to `until`.
fn pieces(asked: bool, sent_at: &[u64], until: u64) -> Vec<&'static str> {
    let samples: Vec<_> = (0..=until / 100)
        .map(|i| {
            let at = i * 100;
            let sent: Vec<u64> = sent_at.iter().copied().filter(|sent| *sent <= at).collect();
            let last = sent.last().map_or(at + 400, |last| at - last);
            let received = if asked { 80 } else { 0 };
            (10_000 + at, talk(received, at as u32 + 500, sent.len() as u64 * 50, last as u32))
        })
        .collect();
    seen(&samples)
}

#[test]
fn an_answer_in_pieces_is_in_flight_until_a_pause_after_its_last() {
    let classes = pieces(true, &[250, 700, 1150, 1600], 2500);
    assert_eq!(classes[..3], ["busy"; 3]);
    // 250 is seen at 300; the last, of 1600, is a quarter of the quiet window old at 2100.
    assert!(classes[3..21].iter().all(|class| *class == "unknown"), "{classes:?}");
    assert!(classes[21..].iter().all(|class| *class == "idle"), "{classes:?}");
}

#[test]
fn an_answer_that_goes_on_after_a_pause_is_in_flight_from_its_second_piece() {
    let classes = pieces(true, &[250, 1350, 1450, 1550], 2500);
    let expected =
        [(3, "unknown"), (7, "unknown"), (8, "idle"), (13, "idle"), (14, "idle"), (15, "unknown"), (20, "unknown")];
    for (at, class) in expected {
        assert_eq!(classes[at], class, "at {at}00 ms: {classes:?}");
    }
    assert_eq!(classes[21], "idle");
}

#[test]
fn a_server_that_speaks_unasked_now_and_then_holds_nothing() {
    // Server-sent events, once a second, long after the request.
    let samples: Vec<_> = (0..100)
        .map(|i| (10_000 + i * 100, talk(80, 60_000 + i as u32 * 100, 1000 + i / 10 * 30, i as u32 % 10 * 100 + 8)))
        .collect();
    let classes = seen(&samples);
    assert!(classes[5..].iter().all(|class| *class == "idle"), "{classes:?}");
    // A protocol in which the server greets.
    assert_eq!(seen_once(talk(0, 10_000, 40, 9996)), "idle");
    assert!(pieces(false, &[700], 3000).iter().all(|class| *class == "idle"));
}

#[test]
fn a_stream_that_never_pauses_is_unknown() {
    let sent_at: Vec<u64> = (0..50).map(|i| 50 + i * 100).collect();
    let classes = pieces(true, &sent_at, 5000);
    assert!(classes[1..].iter().all(|class| *class == "unknown"), "{classes:?}");
}

/// One connection in samples at these times (ms) of an app with such a handler: what it counts as.
fn seen_of(handler: Handler, samples: &[(u64, Connection)]) -> Vec<&'static str> {
    let mut tracker = Tracker::new(QUIET);
    tracker.handler(handler);
    samples.iter().map(|(at, seen)| class(tracker.sample(ms(*at), &snapshot(vec![*seen])))).collect()
}

/// So many requests and answers in a segment each, of 200 bytes, the last of both that long ago, and the last
/// acknowledgement; and so many pure acknowledgements sent.
fn turns(count: u32, ago: u32, last_ack_ms: u32, acks_out: u32) -> Connection {
    let counters = Counters {
        received: u64::from(count) * 200,
        sent: u64::from(count) * 200,
        last_received_ms: ago,
        last_sent_ms: ago,
        last_ack_ms,
        segments_in: count + 3,
        data_segments_in: count,
        segments_out: count + acks_out,
        data_segments_out: count,
        segment: 1448,
    };
    Connection { counters: Some(counters), ..talk(0, 0, 0, 0) }
}

#[test]
fn within_one_tick_a_late_acknowledgement_is_an_answer_and_none_is_doubt_to_the_end() {
    assert_eq!(seen_once(turns(12, 1000, 956, 2)), "idle");
    let doubt: Vec<_> = (0..300).map(|i| (10_000 + i * 100, turns(12, i as u32 * 100, i as u32 * 100, 2))).collect();
    for handler in [Handler::Missing, Handler::Unproven] {
        assert!(seen_of(handler, &doubt).iter().all(|class| *class == "unknown"), "{handler:?}");
    }
    let classes = seen_of(Handler::Present, &doubt);
    assert_eq!((classes[19], classes[20]), ("unknown", "idle"));
    // The client's acknowledgement comes between two samples.
    let samples = [(10_000, turns(12, 4, 4, 2)), (10_100, turns(12, 104, 64, 2)), (10_600, turns(12, 604, 564, 2))];
    assert_eq!(seen(&samples), ["unknown", "unknown", "idle"]);
    // The kernel's, alone: nothing was sent to acknowledge the request with.
    assert_eq!(seen(&[(10_000, turns(12, 4, 4, 2)), (10_100, turns(12, 104, 104, 3))]), ["unknown", "busy"]);
}

#[test]
fn one_request_that_was_answered_is_no_handshake_and_few_may_be_one() {
    assert_eq!(seen_once(turns(1, 5000, 5000, 1)), "idle");
    assert_eq!(seen_once(turns(2, 5000, 4960, 1)), "unknown");
    // It speaks again after a second, which handshakes do not.
    let next = |ago| Connection { counters: turns(3, ago, ago - 40, 1).counters, ..turns(3, ago, ago - 40, 1) };
    let samples = [(10_000, turns(2, 5000, 4960, 1)), (10_100, next(50)), (10_600, next(550))];
    assert_eq!(seen(&samples), ["unknown", "unknown", "idle"]);
}

#[test]
fn what_the_server_began_is_over_with_the_clients_reply() {
    let rest = (10_000, talk(80, 5004, 300, 5000));
    // A WebSocket's ping and pong, at once and seen one after the other; on top of a request, too.
    assert_eq!(seen(&[rest, (10_100, talk(86, 40, 302, 44))]), ["idle", "idle"]);
    let apart = [rest, (10_100, talk(80, 5104, 306, 20)), (10_200, talk(90, 40, 306, 120))];
    assert_eq!(seen(&apart), ["idle"; 3]);
    let asked = [(10_000, talk(80, 10, 0, 10)), (10_100, talk(86, 40, 2, 44)), (10_200, talk(86, 140, 2, 144))];
    assert_eq!(seen(&asked), ["busy"; 3]);
    // What is longer, or comes late, may be a request.
    assert_eq!(seen(&[rest, (10_100, talk(87, 40, 302, 44))])[1], "busy");
    assert_eq!(seen(&[rest, (10_100, talk(80, 5104, 306, 20)), (11_000, talk(90, 40, 306, 920))])[2], "busy");
    // A server that takes no notice has read nothing.
    let unread = Connection { unread: 10, ..talk(90, 40, 306, 120) };
    assert_eq!(seen(&[apart[0], apart[1], (10_200, unread)])[2], "busy");
}

#[test]
fn a_frame_of_http_2_answers_nothing() {
    let asked = (10_000, talk(180, 10, 0, 10));
    for frame in [9, 13, 17, 30, 31, 35, 39] {
        let after = |ago| talk(180, ago + 60, frame, ago);
        assert_eq!(seen(&[asked, (10_100, after(40)), (13_000, after(2940))]), ["busy"; 3], "{frame}");
    }
    // A ping of the client, acknowledged, while it waits.
    let pinged = [asked, (10_100, talk(197, 30, 30, 28)), (13_000, talk(197, 2930, 30, 2928))];
    assert_eq!(seen(&pinged), ["busy"; 3]);
    let answered = talk(180, 110, 19, 50);
    assert_eq!(seen(&[asked, (10_100, answered), (10_600, talk(180, 610, 19, 550))]), ["busy", "unknown", "idle"]);
}

#[test]
fn pauses_of_an_app_without_a_handler_may_last() {
    let streams = |handler| {
        let sent_at = [250u64, 1150, 2050];
        let samples: Vec<_> = (0..200)
            .map(|i| {
                let at = i * 100;
                let sent = sent_at.iter().filter(|sent| **sent <= at).count();
                let last = sent_at[..sent].last().map_or(at + 400, |last| at - last);
                (10_000 + at, talk(80, at as u32 + 500, sent as u64 * 50, last as u32))
            })
            .collect();
        seen_of(handler, &samples)
    };
    assert!(!streams(Handler::Missing).contains(&"idle"));
    assert_eq!(streams(Handler::Unproven)[8], "idle");
    // One piece: the quiet window, instead of a quarter of it.
    let once = |at: u32| (10_000 + u64::from(at), talk(80, at + 500, 300, at + 100));
    assert_eq!(seen_of(Handler::Missing, &[once(0), once(1800), once(1900)]), ["unknown", "unknown", "idle"]);
    // What is merely sent slowly is one piece.
    let sending = |at: u64, sent: u64| (10_000 + at, Connection { unsent: 9, ..talk(80, 500 + at as u32, sent, 0) });
    let end = |at: u32| (10_300 + u64::from(at), talk(80, 800 + at, 900, at));
    let slow = [sending(0, 300), sending(100, 600), sending(200, 900), end(100), end(2100)];
    assert_eq!(seen_of(Handler::Missing, &slow), ["busy", "busy", "busy", "unknown", "idle"]);
}

/// What the tracker says of a pause after all of these.
fn taken_for_over(handler: Handler, samples: &[(u64, Connection)]) -> Option<(u64, u64)> {
    let mut tracker = Tracker::new(QUIET);
    tracker.handler(handler);
    for (at, seen) in samples {
        tracker.sample(ms(*at), &snapshot(vec![*seen]));
    }
    let told = tracker.took_for_over();
    assert_eq!(tracker.took_for_over(), None, "it is told once");
    told.map(|pause| (pause.lasted.as_millis() as u64, pause.quiet_window.as_secs()))
}

#[test]
fn an_answer_that_goes_on_after_it_was_taken_for_over_is_told_with_the_window_for_it() {
    let at = |at: u64, received, sent, sent_ago: u32| (10_000 + at, talk(received, at as u32 + 500, sent, sent_ago));
    let pauses = |lasted: u64| [at(0, 80, 300, 0), at(lasted - 1, 80, 300, lasted as u32 - 1), at(lasted, 80, 400, 0)];
    // A quarter of the window is the pause, and the whole one where there is no handler.
    assert_eq!(taken_for_over(Handler::Unproven, &pauses(400)), None);
    assert_eq!(taken_for_over(Handler::Unproven, &pauses(900)), Some((900, 4)));
    assert_eq!(taken_for_over(Handler::Missing, &pauses(900)), None);
    assert_eq!(taken_for_over(Handler::Missing, &pauses(3000)), Some((3000, 4)));
    // The next answer is none of it, nor is a heartbeat, nor what comes from an app that nobody has asked.
    let next = [at(0, 80, 300, 0), at(900, 80, 300, 900), (11_000, talk(160, 0, 600, 0))];
    assert_eq!(taken_for_over(Handler::Unproven, &next), None);
    let beat = [at(0, 80, 300, 0), at(900, 80, 300, 900), at(1000, 80, 317, 0)];
    assert_eq!(taken_for_over(Handler::Unproven, &beat), None);
    let unasked = [at(0, 0, 300, 0), at(900, 0, 300, 900), at(1000, 0, 400, 0)];
    assert_eq!(taken_for_over(Handler::Unproven, &unasked), None);
}

#[test]
fn an_app_with_a_handler_is_not_waited_for_long_on_account_of_what_came_before_the_stop() {
    let old = |at: u32| (10_000 + u64::from(at), talk(80, 3000 + at, 0, 3000 + at));
    let samples = [old(0), old(3900), old(4000)];
    assert_eq!(seen_of(Handler::Present, &samples), ["busy", "busy", "idle"]);
    for handler in [Handler::Missing, Handler::Unproven] {
        assert_eq!(seen_of(handler, &samples), ["busy"; 3]);
    }
    // What comes afterwards is; and a heartbeat makes it no younger.
    let late = |at: u32| (10_100 + u64::from(at), talk(80, at, 0, at));
    let seen = seen_of(Handler::Present, &[(10_000, talk(0, 50, 0, 50)), late(0), late(9000)]);
    assert_eq!(seen, ["idle", "busy", "busy"]);
    let beat = (13_000, talk(90, 40, 6, 44));
    assert_eq!(seen_of(Handler::Present, &[old(0), beat, (14_000, talk(90, 1040, 6, 1044))]), ["busy", "busy", "idle"]);
}

fn half_closed(connection: Connection) -> Connection {
    Connection { state: State::CloseWait, ..connection }
}

#[test]
fn a_fin_is_no_request() {
    assert_eq!(seen_once(half_closed(talk(1, 500, 0, 500))), "idle");
    assert_eq!(seen_once(half_closed(Connection { unread: 1, ..talk(1, 500, 0, 500) })), "idle");
    let rest = (10_000, talk(80, 5004, 300, 5000));
    let unread = Connection { unread: 1, ..talk(81, 5104, 300, 5100) };
    let read = talk(81, 5204, 300, 5200);
    assert_eq!(seen(&[rest, (10_100, half_closed(unread)), (10_200, half_closed(read))]), ["idle"; 3]);
}

#[test]
fn a_client_that_has_closed_its_half_still_waits_for_the_answer() {
    // With the FIN in the same segment, after it, and at first sight.
    let asked = half_closed(talk(161, 40, 300, 5000));
    assert_eq!(seen(&[(10_000, talk(80, 5004, 300, 4900)), (10_100, asked)]), ["idle", "busy"]);
    assert_eq!(seen(&[(10_000, talk(160, 40, 300, 4900)), (10_100, asked)]), ["busy", "busy"]);
    let answered = half_closed(talk(161, 1000, 600, 10));
    let over = half_closed(talk(161, 1500, 600, 510));
    assert_eq!(seen(&[(10_100, asked), (11_000, answered), (11_500, over)]), ["busy", "unknown", "idle"]);
    assert_eq!(seen_once(half_closed(Connection { unread: 81, ..talk(81, 40, 0, 40) })), "busy");
}

#[test]
fn what_the_app_has_closed_is_gone_once_its_data_has_arrived() {
    let closing = |unsent| Connection { state: State::Closing, inode: 0, unsent, ..talk(81, 100, 300, 10) };
    // The last of the unsent is the app's FIN.
    assert_eq!(seen(&[(10_000, closing(301)), (10_100, closing(2))]), ["busy", "busy"]);
    assert_eq!(seen(&[(10_000, closing(301)), (10_100, closing(1)), (10_200, closing(0))]), ["busy", "gone", "gone"]);
    let after_request = [(10_000, talk(80, 10, 0, 10)), (10_100, closing(0))];
    assert_eq!(seen(&after_request), ["busy", "gone"]);
    // Closed by halves only, the socket is still the app's: no answer will come of it.
    assert_eq!(seen_once(Connection { inode: 7, unread: 5, ..closing(0) }), "gone");
}

#[test]
fn without_an_inode_it_waits_to_be_accepted() {
    let waiting = Connection { inode: 0, unread: 80, ..talk(80, 10, 0, 10) };
    let accepted = talk(80, 110, 0, 110);
    assert_eq!(seen(&[(10_000, waiting), (10_100, accepted)]), ["unaccepted", "busy"]);
    assert_eq!(seen_once(Connection { inode: 0, ..talk(0, 10, 0, 10) }), "unaccepted");
    assert_eq!(seen_once(half_closed(Connection { inode: 0, ..waiting })), "unaccepted");
    // The request was seen; that it is answered in the same tick is known of the bytes.
    let answered = [(10_000, waiting), (10_100, talk(80, 96, 300, 96)), (10_600, talk(80, 596, 300, 596))];
    assert_eq!(seen(&answered), ["unaccepted", "unknown", "idle"]);
}

#[test]
fn of_what_a_listener_and_its_connections_say_of_the_backlog_the_larger_stands() {
    let waiting =
        |port, remote| Connection { local: app(port), remote: client(remote), inode: 0, ..talk(80, 10, 0, 10) };
    let listener = |port, backlog| Listener { local: app(port), inode: u32::from(port), backlog };
    let unaccepted = |listeners: &[Listener], connections: &[Connection]| {
        let snapshot = Snapshot { listeners: listeners.to_vec(), ..snapshot(connections.to_vec()) };
        Tracker::new(QUIET).sample(ms(10_000), &snapshot).unaccepted
    };
    let (one, two) = (waiting(8000, 1), waiting(8000, 2));
    assert_eq!(unaccepted(&[listener(8000, 2)], &[one, two]), 2);
    assert_eq!(unaccepted(&[listener(8000, 3)], &[one, two]), 3);
    assert_eq!(unaccepted(&[listener(8000, 1)], &[one, two]), 2);
    assert_eq!(unaccepted(&[listener(8000, 5)], &[]), 5);
    assert_eq!(unaccepted(&[], &[one, two]), 2);
    // Each port for itself; the listeners of one port (SO_REUSEPORT) together.
    assert_eq!(unaccepted(&[listener(8000, 3), listener(8001, 0)], &[waiting(8001, 1), waiting(8001, 2)]), 5);
    assert_eq!(unaccepted(&[listener(8000, 1), listener(8000, 2)], &[one, two]), 3);
}

#[test]
fn a_client_port_used_again_is_a_new_connection() {
    let at_rest = (10_000, talk(80, 5004, 300, 5000));
    let next = |connection| Connection { inode: 8, ..connection };
    // The same numbers, but of another socket: bytes in, answered in the same tick.
    assert_eq!(seen(&[at_rest, (10_100, next(talk(80, 50, 300, 50)))]), ["idle", "unknown"]);
    assert_eq!(seen(&[at_rest, (10_100, next(talk(0, 50, 0, 50)))]), ["idle", "idle"]);
    let asked = (10_000, talk(80, 10, 0, 10));
    assert_eq!(
        seen(&[asked, (10_100, next(talk(80, 54, 300, 50))), (10_600, next(talk(80, 554, 300, 550)))])[2],
        "idle"
    );
    // In the backlog there is no inode: the counters went back.
    let waiting = |connection| Connection { inode: 0, ..connection };
    let samples = [(10_000, waiting(talk(160, 10, 0, 10))), (10_100, talk(80, 50, 300, 50))];
    assert_eq!(seen(&samples), ["unaccepted", "unknown"]);
    assert_eq!(seen(&[at_rest, (10_100, waiting(talk(80, 50, 0, 50)))]), ["idle", "unaccepted"]);
    let closing = (10_000, Connection { state: State::Closing, inode: 0, ..talk(80, 10, 300, 10) });
    assert_eq!(seen(&[closing, (10_100, talk(160, 50, 400, 50))]), ["gone", "unknown"]);
}

#[test]
fn a_count_of_sent_bytes_that_goes_back_a_little_is_no_answer() {
    // Less retransmissions, some of which fail: seen of one socket, it is the same connection.
    let samples = [
        (10_000, talk(80, 5004, 300, 5000)),
        (10_100, talk(160, 50, 300, 5100)),
        (10_200, talk(160, 150, 290, 20)),
        (10_300, talk(160, 250, 590, 10)),
    ];
    assert_eq!(seen(&samples), ["idle", "busy", "busy", "unknown"]);
}

#[test]
fn gracefuls_own_connections_are_neither_counted_nor_news() {
    let probe = SocketAddr::from((Ipv4Addr::LOCALHOST, 50_001));
    let mapped = SocketAddr::from((Ipv4Addr::LOCALHOST.to_ipv6_mapped(), 50_001));
    let row = |connection| Connection { remote: mapped, ..connection };
    let mut tracker = Tracker::new(QUIET);
    tracker.sample(ms(10_000), &snapshot(vec![]));
    tracker.ignore([probe]);
    let waiting = Connection { inode: 0, ..row(talk(80, 10, 0, 10)) };
    let listeners = vec![Listener { local: app(PORT), inode: 1, backlog: 1 }];
    let counts = tracker.sample(ms(10_100), &Snapshot { listeners, ..snapshot(vec![waiting]) });
    assert_eq!(counts, Counts::default(), "it is taken out of the backlog, too");
    // graceful has closed it and no longer names it; the app is slow to notice.
    tracker.ignore([]);
    assert_eq!(tracker.sample(ms(10_200), &snapshot(vec![row(talk(80, 110, 0, 110))])), Counts::default());
    assert_eq!(tracker.sample(ms(10_300), &snapshot(vec![half_closed(row(talk(161, 50, 0, 210)))])), Counts::default());
    assert_eq!(tracker.quiet_since(), Some(ms(10_000)));
    // Whoever gets the port next is a client.
    let next = Connection { inode: 8, ..row(talk(80, 10, 0, 10)) };
    assert_eq!(class(tracker.sample(ms(10_400), &snapshot(vec![next]))), "busy");
    assert_eq!(tracker.quiet_since(), Some(ms(10_400)));
    // Another client's same port is another address.
    tracker.ignore([probe]);
    let other = talk(80, 10, 0, 10);
    let counts = tracker.sample(ms(10_500), &snapshot(vec![Connection { remote: client(50_001), ..other }]));
    assert_eq!(class(counts), "busy");
}

/// The kernel tells of a listener first, and the app may accept the connection before that one's turn has come.
#[test]
fn gracefuls_own_connection_is_not_in_the_backlog_though_the_app_has_accepted_it_meanwhile() {
    let mut tracker = Tracker::new(QUIET);
    let listening = |backlog| vec![Listener { local: app(PORT), inode: 1, backlog }];
    let mut sample = |now, own: &[u16], backlog, connections: &[Connection]| {
        tracker.ignore(own.iter().map(|port| client(*port)));
        tracker.sample(ms(now), &Snapshot { listeners: listening(backlog), ..snapshot(connections.to_vec()) })
    };
    let row = |port, connection| Connection { remote: client(port), ..connection };
    let (accepted, waiting) = (talk(0, 0, 0, 0), Connection { inode: 0, ..talk(0, 0, 0, 0) });
    // New, and accepted between the two.
    assert_eq!(sample(10_000, &[1], 1, &[row(1, accepted)]), Counts::default());
    // Known to wait, and accepted or gone between the two.
    assert_eq!(sample(10_100, &[1, 2], 1, &[row(1, accepted), row(2, waiting)]), Counts::default());
    assert_eq!(sample(10_200, &[1, 2], 1, &[row(1, accepted), row(2, accepted)]), Counts::default());
    // Accepted long ago, it is not in a backlog: what is there is somebody else.
    let counts = sample(10_300, &[1, 2], 1, &[row(1, accepted), row(2, accepted)]);
    assert_eq!(class(counts), "unaccepted");
    // And a client beside it counts.
    let counts = sample(10_400, &[3], 2, &[row(3, accepted), row(4, waiting)]);
    assert_eq!(class(counts), "unaccepted");
}

#[test]
fn what_of_a_backlog_was_gracefuls_own_and_is_gone_is_nobodys_request() {
    let probe = SocketAddr::from((Ipv4Addr::LOCALHOST, 50_001));
    let mut tracker = Tracker::new(QUIET);
    let mut unaccepted = |open: &[SocketAddr], closed: &[SocketAddr], backlog: u32, rows: Vec<Connection>| {
        tracker.ignore(open.iter().chain(closed).copied());
        tracker.were_open(open.iter().copied());
        let listeners = vec![Listener { local: app(PORT), inode: 1, backlog }];
        tracker.sample(ms(10_000), &Snapshot { listeners, ..snapshot(rows) }).unaccepted
    };
    assert_eq!(unaccepted(&[], &[], 1, vec![]), 1, "a client's");
    assert_eq!(unaccepted(&[probe], &[], 1, vec![]), 0);
    assert_eq!(unaccepted(&[probe], &[], 2, vec![]), 1, "and a client's");
    // Closed before the look: it was in no backlog.
    assert_eq!(unaccepted(&[], &[probe], 1, vec![]), 1);
    // It is listed, and was when the last look was made: what waits is somebody else's.
    let accepted = Connection { remote: probe, ..talk(80, 10, 0, 10) };
    assert_eq!(unaccepted(&[probe], &[], 0, vec![accepted]), 0);
    assert_eq!(unaccepted(&[probe], &[], 1, vec![accepted]), 1);
    let waiting = Connection { inode: 0, ..talk(80, 10, 0, 10) };
    assert_eq!(unaccepted(&[probe], &[], 1, vec![waiting]), 1, "a client's, with its row");
    assert_eq!(unaccepted(&[], &[], 1, vec![]), 1, "the list is for one look");
}

#[test]
fn without_counters_the_queues_tell_and_what_they_do_not_tell_is_unknown_for_a_quiet_window() {
    let silent = Connection { counters: None, ..talk(0, 0, 0, 0) };
    let unread = Connection { unread: 80, ..silent };
    let unsent = Connection { unsent: 300, ..silent };
    let samples = [
        (10_000, silent),
        (11_900, silent),
        (12_000, silent),
        (12_100, unread),
        (12_200, silent),
        (14_000, silent),
        (14_099, unsent),
        (16_000, silent),
        (16_099, silent),
    ];
    let expected = ["unknown", "unknown", "idle", "busy", "unknown", "unknown", "busy", "unknown", "idle"];
    assert_eq!(seen(&samples), expected);
    assert_eq!(seen_once(Connection { inode: 0, ..silent }), "unaccepted");
    assert_eq!(seen_once(Connection { state: State::Closing, ..silent }), "gone");
    assert_eq!(seen_once(Connection { state: State::CloseWait, unread: 1, ..silent }), "unknown");
}

#[test]
fn counters_that_are_lost_make_a_request_unknown_and_counters_that_come_decide_at_first_sight() {
    let silent = Connection { counters: None, ..talk(0, 0, 0, 0) };
    let samples = [(10_000, talk(80, 5000, 0, 5000)), (10_100, silent), (12_000, silent), (12_100, silent)];
    assert_eq!(seen(&samples), ["busy", "unknown", "unknown", "idle"]);
    assert_eq!(seen(&[(10_000, silent), (10_100, talk(80, 5000, 0, 5000))]), ["unknown", "busy"]);
    assert_eq!(seen(&[(10_000, silent), (10_100, talk(80, 5004, 300, 5000))]), ["unknown", "idle"]);
}

#[test]
fn a_connection_listed_twice_is_counted_once() {
    let mut tracker = Tracker::new(QUIET);
    let twice = snapshot(vec![talk(80, 10, 0, 10), talk(80, 10, 0, 10)]);
    assert_eq!(class(tracker.sample(ms(10_000), &twice)), "busy");
    assert_eq!(class(tracker.sample(ms(10_100), &twice)), "busy");
    // Two addresses of this machine are two connections.
    let other = Connection { local: (Ipv4Addr::LOCALHOST, PORT).into(), ..talk(80, 10, 0, 10) };
    assert_eq!(tracker.sample(ms(10_200), &snapshot(vec![talk(80, 10, 0, 10), other])).busy, 2);
}

#[test]
fn news_are_bytes_from_clients_and_new_connections_and_nothing_else() {
    let mut tracker = Tracker::new(QUIET);
    assert_eq!(tracker.quiet_since(), None);
    let mut since = |at, connections| {
        tracker.sample(ms(at), &snapshot(connections));
        tracker.quiet_since().unwrap().as_millis()
    };
    assert_eq!(since(10_000, vec![talk(80, 5000, 0, 5000)]), 10_000, "nothing is known of before");
    assert_eq!(since(10_100, vec![talk(80, 5100, 0, 5100)]), 10_000);
    assert_eq!(since(10_200, vec![talk(80, 5200, 300, 20)]), 10_000, "an answer is none");
    assert_eq!(since(10_300, vec![talk(81, 40, 300, 120)]), 10_300);
    assert_eq!(since(10_400, vec![half_closed(talk(82, 140, 300, 220))]), 10_300, "a FIN is none");
    let closing = Connection { state: State::Closing, inode: 0, ..talk(82, 240, 300, 320) };
    assert_eq!(since(10_500, vec![closing]), 10_300);
    assert_eq!(since(10_600, vec![]), 10_300);
    assert_eq!(since(10_700, vec![talk(0, 40, 0, 40)]), 10_700, "somebody may be about to ask");
    assert_eq!(since(10_800, vec![Connection { inode: 8, ..talk(0, 40, 0, 40) }]), 10_800);
    let waiting = Connection { inode: 0, ..talk(0, 40, 0, 40) };
    assert_eq!(since(10_850, vec![waiting]), 10_850, "from the same port, and not accepted yet");
    let closed_at_once = Connection { remote: client(2), ..closing };
    assert_eq!(since(10_900, vec![closed_at_once]), 10_900, "asked, answered and closed since");
    let without = Connection { counters: None, remote: client(2), ..talk(0, 0, 0, 0) };
    assert_eq!(since(11_000, vec![without]), 11_000);
    assert_eq!(since(11_100, vec![without]), 11_000);
    assert_eq!(since(11_200, vec![Connection { unread: 80, ..without }]), 11_200);
    assert_eq!(since(11_300, vec![Connection { unread: 80, ..without }]), 11_200);
}

#[test]
fn the_verdict_says_why_not() {
    let mut tracker = Tracker::new(QUIET);
    let said = |verdict: HoldVerdict| (verdict.is_reached(), verdict.to_string());
    assert_eq!(said(tracker.idle()), (false, "not seen yet".to_owned()));
    assert_eq!(said(tracker.quiet()), (false, "not seen yet".to_owned()));
    tracker.sample(ms(10_000), &snapshot(vec![talk(80, 5000, 0, 5000)]));
    assert_eq!(said(tracker.idle()), (false, "1 busy".to_owned()));
    assert_eq!(said(tracker.quiet()), (false, "1 busy".to_owned()));
    assert_eq!(tracker.last().map(|counts| counts.busy), Some(1));
    tracker.sample(ms(11_200), &snapshot(vec![talk(80, 6200, 300, 400)]));
    assert_eq!(said(tracker.idle()), (false, "1 unknown".to_owned()));
    tracker.sample(ms(11_300), &snapshot(vec![talk(80, 6300, 300, 500)]));
    assert_eq!(said(tracker.idle()), (true, "idle".to_owned()));
    assert_eq!(said(tracker.quiet()), (false, "idle, but something new came 1.3 s ago".to_owned()));
    tracker.sample(ms(12_000), &snapshot(vec![talk(80, 7000, 300, 1200)]));
    assert_eq!(said(tracker.quiet()), (true, "quiet".to_owned()));
}

#[test]
fn counts_as_words() {
    let words = |busy, unknown, unaccepted, idle| Counts { unaccepted, busy, unknown, idle }.to_string();
    assert_eq!(words(2, 1, 3, 9), "2 busy, 1 unknown, 3 never accepted");
    assert_eq!(words(1, 0, 1, 0), "1 busy, 1 never accepted");
    assert_eq!(words(0, 4, 0, 2), "4 unknown");
    assert_eq!(words(0, 0, 0, 5), "idle");
    let lost = |busy, unaccepted| Counts { unaccepted, busy, unknown: 3, idle: 4 }.lost();
    assert_eq!(lost(2, 3).as_deref(), Some("2 requests unanswered and 3 never accepted"));
    assert_eq!(lost(1, 1).as_deref(), Some("1 request unanswered and 1 never accepted"));
    assert_eq!(lost(1, 0).as_deref(), Some("1 request unanswered"));
    assert_eq!(lost(0, 1).as_deref(), Some("1 connection never accepted"));
    assert_eq!(lost(0, 2).as_deref(), Some("2 connections never accepted"));
    assert_eq!(lost(0, 0), None);
}

//! Snapshots that no kernel would show.

use super::*;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use std::collections::HashSet;

/// The edges, the small and the rest.
fn number(max: u64) -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1), Just(max), 0..=200u64.min(max), 0..=max]
}

fn connection() -> impl Strategy<Value = Connection> {
    let states = [State::Established, State::CloseWait, State::Closing];
    let word = || number(u64::from(u32::MAX)).prop_map(|number| number as u32);
    let bytes = (number(u64::MAX), number(u64::MAX), word(), word());
    let segments = (word(), word(), word(), word(), word(), word());
    let counters = (bytes, segments).prop_map(
        |((received, sent, came, went), (acked, segments_in, data_in, segments_out, data_out, segment))| Counters {
            received,
            sent,
            last_received_ms: came,
            last_sent_ms: went,
            last_ack_ms: acked,
            segments_in,
            data_segments_in: data_in,
            segments_out,
            data_segments_out: data_out,
            segment,
        },
    );
    // Few addresses and inodes, so that they come again.
    let ends = (8000..8003u16, 1..6u16).prop_map(|(port, remote)| (app(port), client(remote)));
    (ends, 0..3usize, 0..4u32, word(), word(), of(counters)).prop_map(
        move |((local, remote), state, inode, unread, unsent, counters)| Connection {
            local,
            remote,
            state: states[state],
            inode,
            unread,
            unsent,
            counters,
        },
    )
}

fn any_snapshot() -> impl Strategy<Value = Snapshot> {
    let listener = (8000..8003u16, number(u64::from(u32::MAX))).prop_map(|(port, backlog)| Listener {
        local: app(port),
        inode: 1,
        backlog: backlog as u32,
    });
    (vec(listener, 0..4), vec(connection(), 0..12)).prop_map(|(listeners, connections)| Snapshot {
        source: SampleSource::SockDiag,
        listeners,
        connections,
    })
}

fn samples() -> impl Strategy<Value = Vec<(u64, Snapshot)>> {
    vec((number(u64::MAX), any_snapshot()), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Even if time goes back.
    #[test]
    fn every_connection_that_is_not_closed_is_counted_once(samples in samples(), quiet in number(u64::MAX)) {
        let mut tracker = Tracker::new(ms(quiet));
        for (now, snapshot) in samples {
            let counts = tracker.sample(ms(now), &snapshot);
            let mut ends = HashSet::new();
            let unique = snapshot.connections.iter().filter(|seen| ends.insert((seen.local, seen.remote)));
            let (closing, open): (Vec<Connection>, Vec<Connection>) =
                unique.copied().partition(|seen| seen.state == State::Closing);
            let sending = closing.iter().filter(|seen| seen.unsent > 1).count();
            let unaccepted = open.iter().filter(|seen| seen.inode == 0).count();
            prop_assert_eq!(counts.busy + counts.unknown + counts.idle, open.len() - unaccepted + sending);
            let backlog: usize = snapshot.listeners.iter().map(|listener| listener.backlog as usize).sum();
            prop_assert!((unaccepted..=unaccepted + backlog).contains(&counts.unaccepted));
            prop_assert_eq!(tracker.idle().is_reached(), counts.is_idle());
            prop_assert!(counts.is_idle() || !tracker.quiet().is_reached());
        }
    }

    #[test]
    fn what_is_ignored_is_as_if_it_were_not_there(samples in samples(), own in vec(1..6u16, 1..3)) {
        let (mut ignoring, mut without) = (Tracker::new(QUIET), Tracker::new(QUIET));
        ignoring.ignore(own.iter().map(|port| client(*port)));
        for (now, mut snapshot) in samples {
            snapshot.listeners.clear();
            let counts = ignoring.sample(ms(now), &snapshot);
            snapshot.connections.retain(|seen| !own.contains(&seen.remote.port()));
            prop_assert_eq!(counts, without.sample(ms(now), &snapshot));
            prop_assert_eq!(ignoring.quiet_since(), without.quiet_since());
        }
    }
}

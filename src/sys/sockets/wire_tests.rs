use super::*;
use crate::sys::sockets::testing::{a_message, a_row, an_info};
use proptest::prelude::*;

/// What the kernel makes of a program for a local port (inet_diag_bc_run): `None` where it would run astray.
fn run(program: &[u8], port: u16) -> Option<bool> {
    let (mut at, mut left) = (0, program.len() as i64);
    while left > 0 {
        let argument = || u16_at(&program[at..], OPERATION + 2);
        let holds = match program[at] {
            JUMP => false,
            SOURCE_AT_LEAST => port >= argument(),
            SOURCE_AT_MOST => port <= argument(),
            _ => return None,
        };
        let step = if holds { program[at + 1].into() } else { u16_at(&program[at..], 2) };
        at += usize::from(step);
        left -= i64::from(step);
    }
    [0, -4].contains(&left).then_some(left == 0)
}

/// What the kernel wants of a program before it runs it (inet_diag_bc_audit).
fn audit(program: &[u8]) -> bool {
    let mut all = vec![0];
    while let Some(next) = all.last().map(|at| at + usize::from(program[at + 1])).filter(|next| *next < program.len()) {
        all.push(next);
    }
    all.iter().all(|at| {
        let left = program.len() - at;
        let least = if program[*at] == JUMP { OPERATION } else { COMPARISON };
        let (yes, no) = (usize::from(program[at + 1]), usize::from(u16_at(&program[*at..], 2)));
        let lands = no >= left || all.contains(&(at + no));
        (least..=left + 4).contains(&yes) && (least..=left + 4).contains(&no) && lands && yes % 4 == 0 && no % 4 == 0
    })
}

mod filter {
    use super::*;

    #[test]
    fn one_port_is_two_comparisons() {
        let program = port_filter(&[8080]);
        let word = u16::to_ne_bytes;
        let expected = [[[2, 8], word(20)], [[0, 0], word(8080)], [[3, 8], word(12)], [[0, 0], word(8080)]];
        assert_eq!(program, expected.as_flattened().as_flattened());
    }

    #[test]
    fn neighbours_are_one_range() {
        assert_eq!(ranges(&[0, 1, 2, 80, 80, 443, 444, 65535]), [(0, 2), (80, 80), (443, 444), (65535, 65535)]);
        assert_eq!(port_filter(&(0..=u16::MAX).collect::<Vec<_>>()).len(), RANGE - OPERATION);
        assert!(port_filter(&[]).is_empty());
    }

    #[test]
    fn with_very_many_ports_it_lets_others_pass_but_none_of_them_fail() {
        let ports: Vec<u16> = (0..500).map(|port| 1000 + 2 * port).collect();
        let program = port_filter(&ports);
        assert_eq!(program.len(), RANGE - OPERATION);
        assert!(ports.iter().all(|port| run(&program, *port) == Some(true)));
        assert_eq!((run(&program, 999), run(&program, 1999)), (Some(false), Some(false)));
    }

    proptest! {
        #[test]
        fn it_accepts_exactly_the_ports(ports in proptest::collection::btree_set(any::<u16>(), 1..MOST_RANGES), near in any::<u16>()) {
            let ports: Vec<u16> = ports.into_iter().collect();
            let program = port_filter(&ports);
            prop_assert!(audit(&program));
            let around = ports.iter().flat_map(|port| [port.wrapping_sub(1), *port, port.wrapping_add(1)]);
            for port in around.chain([0, near, u16::MAX]) {
                prop_assert_eq!(run(&program, port), Some(ports.contains(&port)), "port {}", port);
            }
        }
    }
}

mod request {
    use super::*;

    fn written(family: SocketFamily, filter: &[u8]) -> Vec<u8> {
        let mut buffer = vec![9; 3];
        write_request(&mut buffer, 77, &Question { family, states: states::LISTENERS, filter });
        buffer
    }

    #[test]
    fn it_is_as_long_as_it_says_and_names_its_number() {
        for (family, length) in
            [(SocketFamily::Both, 16 + 60), (SocketFamily::V4, 16 + 56), (SocketFamily::V6, 16 + 56)]
        {
            for filter in [[].as_slice(), &[1, 4, 0, 0]] {
                let request = written(family, filter);
                let attribute = if filter.is_empty() { 0 } else { 8 };
                assert_eq!(request.len(), length + attribute);
                assert_eq!((u32_at(&request, 0) as usize, u32_at(&request, 8)), (request.len(), 77));
                if attribute > 0 {
                    assert_eq!((u16_at(&request, length), u16_at(&request, length + 2)), (8, 1));
                    assert!(request.ends_with(filter));
                }
            }
        }
    }

    #[test]
    fn family_states_and_info_stand_where_each_of_the_structures_has_them() {
        let (both, six) = (written(SocketFamily::Both, &[]), written(SocketFamily::V6, &[]));
        assert_eq!((u16_at(&both, 4), both[16], both[19], u32_at(&both, 16 + 52)), (18, 0, 2, 1 << 10));
        assert_eq!((u16_at(&six, 4), six[16], six[17], six[18], u32_at(&six, 20)), (20, 10, 6, 2, 1 << 10));
    }
}

const COUNTERS: Counters = Counters {
    received: 300_000_000_000,
    sent: 400,
    last_received_ms: 22,
    last_sent_ms: 21,
    last_ack_ms: 23,
    segments_in: 31,
    data_segments_in: 32,
    segments_out: 33,
    data_segments_out: 34,
    segment: 1448,
};

fn connection(bytes: &[u8]) -> Connection {
    match row(bytes) {
        Some(DumpRow::Connection(connection)) => connection,
        other => panic!("{other:?}"),
    }
}

mod rows {
    use super::*;

    #[test]
    fn a_connection_is_read() {
        let found = connection(&a_row(libc::AF_INET, 1, Some(&an_info(232))));
        let expected = Connection {
            local: "127.0.0.1:8080".parse().expect("an address"),
            remote: "127.0.0.1:40000".parse().expect("an address"),
            state: State::Established,
            inode: 4242,
            unread: 5,
            unsent: 6,
            counters: Some(COUNTERS),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn a_mapped_address_is_the_one_that_it_maps() {
        let found = connection(&a_row(libc::AF_INET6, 8, None));
        assert_eq!((found.local.to_string(), found.state), ("10.0.0.7:8080".to_owned(), State::CloseWait));
    }

    #[test]
    fn a_listeners_queue_is_its_backlog() {
        let expected = Listener { local: "127.0.0.1:8080".parse().expect("an address"), inode: 4242, backlog: 5 };
        assert_eq!(row(&a_row(libc::AF_INET, 10, None)), Some(DumpRow::Listener(expected)));
    }

    #[test]
    fn tcp_info_is_read_from_kernels_old_and_new() {
        let read = |length| connection(&a_row(libc::AF_INET, 1, Some(&an_info(length)))).counters;
        // Linux 4.4, 4.18, the first with what is needed, today's, and one to come.
        assert_eq!([144, 192, 215].map(read), [None; 3]);
        assert_eq!([216, 232, 280, 1000].map(read), [Some(COUNTERS); 4]);
        assert_eq!(connection(&a_row(libc::AF_INET, 1, None)).counters, None);
    }

    #[test]
    fn more_retransmitted_than_sent_is_nothing_sent() {
        let mut info = an_info(232);
        info[208..216].copy_from_slice(&900u64.to_ne_bytes());
        assert_eq!(connection(&a_row(libc::AF_INET, 1, Some(&info))).counters.map(|counters| counters.sent), Some(0));
    }

    #[test]
    fn every_state_has_its_meaning() {
        use State::{CloseWait, Closing, Established};
        use StateKind::{Connection as C, Listener as L, Other as O};
        let meanings =
            [O, C(Established), O, O, C(Closing), C(Closing), O, O, C(CloseWait), C(Closing), L, C(Closing), O, O];
        for (state, meaning) in meanings.into_iter().enumerate() {
            assert_eq!(kind(state as u8), meaning, "state {state}");
        }
        assert!((14..=255).all(|state| kind(state) == O));
    }

    #[test]
    fn what_is_cut_short_is_malformed() {
        let whole = a_row(libc::AF_INET, 1, Some(&an_info(232)));
        // A cut between two attributes cannot be seen, and the padding of the last one is not missed.
        let good = [ROW, ROW + 5, ROW + 6, ROW + 7, ROW + 8, whole.len()];
        for length in 0..=whole.len() {
            assert_eq!(row(&whole[..length]).is_some(), good.contains(&length), "of {length} bytes");
        }
        assert_eq!(row(&a_row(libc::AF_UNIX, 1, None)), None);
    }
}

mod messages {
    use super::*;

    fn only(bytes: &[u8]) -> io::Result<Message<'_>> {
        let mut rest = bytes;
        let message = next_message(&mut rest);
        assert!(rest.is_empty() || message.is_err());
        message
    }

    #[test]
    fn they_follow_each_other_with_padding() {
        let first = a_message(20, 2, 7, &[1, 2, 3, 4, 5]);
        let bytes = [first, a_message(libc::NLMSG_DONE, 2 | libc::NLM_F_DUMP_INTR, 8, &[0; 4])].concat();
        let mut rest = bytes.as_slice();
        let message = next_message(&mut rest).expect("a message");
        assert!(matches!(message, Message { sequence: 7, interrupted: false, body: Body::Row([1, 2, 3, 4, 5]) }));
        let message = next_message(&mut rest).expect("another");
        assert!(matches!(message, Message { sequence: 8, interrupted: true, body: Body::Done }));
        assert!(rest.is_empty());
    }

    #[test]
    fn errors_have_their_number_wherever_they_stand() {
        for kind in [libc::NLMSG_ERROR, libc::NLMSG_DONE] {
            let bytes = a_message(kind, 0, 1, &(-libc::ENOENT).to_ne_bytes());
            let Ok(Message { body: Body::Failed(error), .. }) = only(&bytes) else { panic!("{kind}") };
            assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        }
        let bytes = a_message(libc::NLMSG_OVERRUN, 0, 1, &[]);
        let Ok(Message { body: Body::Failed(error), .. }) = only(&bytes) else { panic!("overrun") };
        assert_eq!(error.raw_os_error(), Some(libc::ENOBUFS));
        // The strangest number there is.
        let bytes = a_message(libc::NLMSG_ERROR, 0, 1, &i32::MIN.to_ne_bytes());
        assert!(matches!(only(&bytes), Ok(Message { body: Body::Failed(_), .. })));
    }

    #[test]
    fn an_acknowledgement_is_no_error_and_an_old_end_has_no_number() {
        let bytes = a_message(libc::NLMSG_ERROR, 0, 1, &[0; 20]);
        assert!(matches!(only(&bytes), Ok(Message { body: Body::Other, .. })));
        assert!(matches!(only(&a_message(libc::NLMSG_NOOP, 0, 1, &[])), Ok(Message { body: Body::Other, .. })));
        assert!(matches!(only(&a_message(libc::NLMSG_DONE, 0, 1, &[])), Ok(Message { body: Body::Done, .. })));
        assert!(only(&a_message(libc::NLMSG_ERROR, 0, 1, &[1])).is_err());
    }

    #[test]
    fn a_length_that_cannot_be_is_malformed() {
        for length in [0u32, 1, 15, 37, u32::MAX] {
            let mut bytes = a_message(20, 0, 1, &[0; 20]);
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            assert!(next_message(&mut bytes.as_slice()).is_err(), "{length}");
        }
    }
}

/// Reads all there is, as a dump does; returns how many messages there were.
fn read_all(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while !bytes.is_empty() {
        let before = bytes.len();
        let Ok(message) = next_message(&mut bytes) else { break };
        assert!(bytes.len() + MESSAGE_HEADER <= before || bytes.is_empty(), "every message consumes its header");
        if let Body::Row(bytes) = message.body {
            let _ = row(bytes);
        }
        count += 1;
    }
    count
}

proptest! {
    #[test]
    fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(read_all(&bytes) <= bytes.len() / MESSAGE_HEADER);
        let _ = row(&bytes);
    }

    #[test]
    fn an_answer_with_strange_bytes_in_it_is_read_or_refused(
        kinds in proptest::collection::vec((0u16..24, 0u8..14, 0usize..300), 1..6),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let family = |number: usize| if number.is_multiple_of(2) { libc::AF_INET } else { libc::AF_INET6 };
        let mut bytes: Vec<u8> = kinds.iter().flat_map(|(kind, state, info)| {
            a_message((*kind).into(), 2, 1, &a_row(family(*info), *state, Some(&an_info(*info))))
        }).collect();
        prop_assert_eq!(read_all(&bytes), kinds.len());
        for (index, byte) in changes {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        read_all(&bytes);
    }
}

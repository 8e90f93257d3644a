use super::super::testing::request;
use super::*;
use crate::drill::record::{ClientKind, RequestOutcome};
use proptest::prelude::*;

#[test]
fn ticks_are_round_and_include_the_stop() {
    let scale = Scale { from_s: -2.1, to_s: 5.7, left: 0.0, width: 100.0 };
    assert_eq!(scale.ticks(), [-2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let scale = Scale { from_s: -0.00001, to_s: 0.00101, ..scale };
    assert!(scale.ticks().contains(&0.0) && scale.ticks().len() <= 11, "{:?}", scale.ticks());
}

#[test]
fn what_is_no_number_is_at_the_edge() {
    let scale = Scale { from_s: 0.0, to_s: 1.0, left: 10.0, width: 100.0 };
    assert_eq!([f64::NAN, f64::INFINITY, -5.0, 0.5].map(|seconds| scale.x(seconds)), [10.0, 110.0, 10.0, 60.0]);
}

#[test]
fn a_name_goes_where_no_line_crosses_it() {
    assert_eq!(beside(0.0, 100.0, 30.0, &[]), 0.0);
    assert_eq!(beside(0.0, 100.0, 30.0, &[0.0, 5.0, 20.0, 60.0]), 20.0);
    assert_eq!(beside(0.0, 100.0, 30.0, &[20.0, 40.0, 60.0, 80.0]), 0.0);
}

#[test]
fn a_sample_is_even_and_has_its_size() {
    let requests: Vec<Record> =
        (0..100).map(|at| request(ClientKind::New, f64::from(at), RequestOutcome::Ok)).collect();
    let sent: Vec<f64> = drawn(&requests, 4).iter().map(|request| request.sent_s).collect();
    assert_eq!(sent, [0.0, 25.0, 50.0, 75.0]);
}

#[test]
fn every_failure_is_drawn_up_to_a_bound_and_the_rest_in_proportion() {
    let of = |failures: u32, all: u32, room: usize| {
        let outcome = |at| if at < failures { RequestOutcome::Reset } else { RequestOutcome::Ok };
        let requests: Vec<Record> = (0..all).map(|at| request(ClientKind::Hot, f64::from(at), outcome(at))).collect();
        let drawn = drawn(&requests, room);
        let failures = drawn.iter().filter(|request| !request.outcome.is_ok()).count();
        (failures, drawn.len() - failures)
    };
    assert_eq!(of(50, 1000, 100), (50, 50));
    assert_eq!(of(500, 1000, 100), (60, 40));
    assert_eq!(of(900, 1000, 100), (90, 10));
    assert_eq!(of(1000, 1000, 100), (100, 0));
    assert_eq!(of(0, 1000, 100), (0, 100));
    assert_eq!(of(3, 10, 100), (3, 7));
    assert_eq!(of(0, 0, 100), (0, 0));
}

#[test]
fn the_few_of_a_kind_are_all_drawn() {
    let mut requests: Vec<Record> =
        (0..5000).map(|at| request(ClientKind::New, f64::from(at), RequestOutcome::Ok)).collect();
    requests.extend((0..9).map(|at| request(ClientKind::Slow, f64::from(at), RequestOutcome::Ok)));
    let drawn = drawn(&requests, 500);
    assert_eq!(drawn.iter().filter(|request| request.kind == ClientKind::Slow).count(), 9);
    assert_eq!(drawn.len(), 500);
}

proptest! {
    #[test]
    fn no_label_covers_another_or_crosses_its_line(mut labels in prop::collection::vec((0.0..1000.0f64, 1.0..300.0f64), 0..16)) {
        labels.sort_by(|a, b| a.0.total_cmp(&b.0));
        let rows = rows(&labels);
        for (index, (x, _)) in labels.iter().enumerate() {
            for (before, (other, width)) in labels[..index].iter().enumerate() {
                // It begins under an earlier one: that has to be above it, so that its line ends below.
                prop_assert!(other + width <= *x || rows[before] > rows[index], "{labels:?} {rows:?}");
            }
        }
    }

    #[test]
    fn labels_end_within_the_drawing(texts in prop::collection::vec((-2.0..10.0f64, 1.0..200.0f64), 0..16)) {
        let scale = Scale { from_s: -2.1, to_s: 10.1, left: 60.0, width: 1130.0 }.leaves_room(&texts, 1190.0);
        for (seconds, width) in &texts {
            prop_assert!(scale.x(*seconds) + width <= 1190.001);
        }
    }

    #[test]
    fn lines_of_one_lane_do_not_meet_while_there_are_lanes(mut lines in prop::collection::vec((0.0..1000.0f64, 0.0..50.0f64), 0..60)) {
        lines.sort_by(|a, b| a.0.total_cmp(&b.0));
        let lines: Vec<(f64, f64)> = lines.into_iter().map(|(x, long)| (x, x + long)).collect();
        let (chosen, number) = lanes(&lines);
        prop_assert_eq!(chosen.len(), lines.len());
        prop_assert!(chosen.iter().all(|lane| *lane < number) && number <= 40);
        if number < 40 {
            for (index, (x1, _)) in lines.iter().enumerate() {
                let lane = chosen[index];
                prop_assert!(lines[..index].iter().zip(&chosen).all(|((_, x2), other)| *other != lane || x2 <= x1));
            }
        }
    }
}

use super::*;
use proptest::prelude::*;

fn ids(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn look(at_s: f64, queued: Option<&str>, done: &str) -> Look {
    Look { began_s: at_s, ended_s: at_s + 0.1, queued: queued.map(ids), done: ids(done) }
}

fn counts(jobs: &JobCounts) -> [usize; 4] {
    [jobs.done, jobs.queued, jobs.lost, jobs.unknown]
}

#[test]
fn each_job_has_one_fate() {
    let mut ledger = Ledger::default();
    ledger.submit(ids("a b c"), 1.0).unwrap();
    ledger.look(look(2.0, Some("b"), "a"), false);
    let jobs = ledger.account(1.5, true);
    assert_eq!((jobs.submitted, counts(&jobs)), (3, [1, 1, 1, 0]));
    let fates: Vec<(&str, Fate)> = jobs.list.iter().map(|job| (job.id.as_str(), job.fate)).collect();
    assert_eq!(fates, [("a", Fate::Done), ("b", Fate::Queued), ("c", Fate::Lost)]);
    assert_eq!((jobs.list[0].submitted_s, jobs.list[0].done_s), (-0.5, Some(0.6)));
    assert_eq!(counts(&ledger.account(1.5, false)), [1, 1, 0, 1], "nobody could look");
}

#[test]
fn done_is_for_ever_and_queued_is_as_of_the_last_look() {
    let mut ledger = Ledger::default();
    ledger.submit(ids("a b"), 1.0).unwrap();
    ledger.look(look(2.0, Some("b"), "a"), false);
    ledger.look(look(3.0, Some(""), ""), true);
    assert_eq!(counts(&ledger.account(2.5, true)), [1, 0, 1, 0]);
    assert_eq!((ledger.missing(), ledger.done(), ledger.submitted()), (1, 1, 2));
}

#[test]
fn done_twice_and_done_but_queued_are_no_losses() {
    let mut ledger = Ledger::default();
    ledger.submit(ids("a b"), 1.0).unwrap();
    ledger.look(look(2.0, Some("b"), "a a b"), true);
    let jobs = ledger.account(1.5, true);
    assert_eq!((counts(&jobs), jobs.done_twice, jobs.done_and_queued), ([2, 0, 0, 0], 1, 1));
    // Two looks that show it once each are one time.
    let mut ledger = Ledger::default();
    ledger.submit(ids("a"), 1.0).unwrap();
    ledger.look(look(2.0, None, "a"), false);
    ledger.look(look(3.0, None, "a"), false);
    assert_eq!(ledger.account(1.5, true).done_twice, 0);
}

#[test]
fn an_id_that_was_there_before_is_refused() {
    let mut ledger = Ledger::default();
    ledger.submit(ids("a"), 1.0).unwrap();
    assert!(ledger.submit(ids("b a"), 2.0).unwrap_err().to_string().contains("\"a\" again"));
}

#[test]
fn ids_of_others_are_counted_once_and_change_nothing() {
    let mut ledger = Ledger::default();
    ledger.submit(ids("a"), 1.0).unwrap();
    for at in [2.0, 3.0] {
        ledger.look(look(at, Some("y"), "x a z"), false);
    }
    assert_eq!(ledger.strangers(), (3, Some("x")));
    assert_eq!(counts(&ledger.account(1.5, true)), [1, 0, 0, 0]);
}

#[test]
fn what_the_next_worker_does_was_queued() {
    let mut ledger = Ledger::default();
    ledger.submit(ids("a b c"), 1.0).unwrap();
    ledger.look(look(2.0, None, "a"), true);
    ledger.handed_over(3.0);
    ledger.submit(ids("behind"), 3.5).unwrap();
    assert!(!ledger.is_last_done());
    ledger.look(look(4.0, None, "a b behind"), false);
    assert!(ledger.is_last_done());
    let jobs = ledger.account(1.5, true);
    assert_eq!((jobs.submitted, counts(&jobs)), (3, [1, 1, 1, 0]), "what is submitted afterwards does not count");
    assert!(ledger.longest_s().unwrap() < 1.2, "the next one's time is not the worker's");
}

#[test]
fn a_job_that_is_hidden_for_a_while_is_known_to_have_come_back() {
    let mut ledger = Ledger::default();
    ledger.submit(ids("a b"), 1.0).unwrap();
    ledger.look(look(2.0, Some(""), ""), false);
    assert_eq!(ledger.reappeared(), 0);
    ledger.look(look(3.0, Some("b"), ""), true);
    ledger.look(look(4.0, Some("a b"), ""), true);
    assert_eq!((ledger.reappeared(), ledger.missing()), (1, 0));
    // Before the end of the worker a job under way is in neither list: that means nothing.
    let mut ledger = Ledger::default();
    ledger.submit(ids("a"), 1.0).unwrap();
    ledger.look(look(2.0, Some(""), ""), false);
    ledger.look(look(3.0, Some(""), "a"), true);
    assert_eq!(ledger.reappeared(), 0);
}

#[test]
fn what_was_submitted_during_the_look_is_not_missed_by_it() {
    let mut ledger = Ledger::default();
    ledger.submit(ids("a"), 2.05).unwrap();
    ledger.look(look(2.0, Some(""), ""), true);
    ledger.look(look(3.0, Some("a"), ""), true);
    assert_eq!(ledger.reappeared(), 0);
}

#[test]
fn open_at_the_stop_is_what_no_look_before_it_saw_done() {
    let mut ledger = Ledger::default();
    ledger.submit(ids("a b"), 1.0).unwrap();
    ledger.look(look(2.0, None, "a"), false);
    ledger.submit(ids("c"), 6.0).unwrap();
    ledger.look(look(7.0, None, "a b c"), false);
    assert_eq!(ledger.account(5.0, true).open_at_stop, 1, "b; a was done, and c came later");
    assert_eq!(ledger.account(2.05, true).open_at_stop, 2, "the look that saw a had not ended");
    assert_eq!((ledger.taken_after(5.0), ledger.taken_after(6.0)), (1, 0));
    assert!((ledger.longest_s().unwrap() - 6.1).abs() < 1e-9);
}

#[test]
fn the_first_job_waits_for_the_workers_start() {
    let mut ledger = Ledger::default();
    ledger.submit(ids("a"), 0.0).unwrap();
    ledger.look(look(40.0, None, "a"), false);
    assert!((ledger.longest_s().unwrap() - 40.1).abs() < 1e-9, "nothing else is known");
    ledger.submit(ids("b c"), 41.0).unwrap();
    ledger.look(look(43.0, None, "a b"), false);
    assert!((ledger.longest_s().unwrap() - 2.1).abs() < 1e-9);
}

#[test]
fn the_curve_has_a_point_for_each_change_and_one_for_the_last_look() {
    let mut ledger = Ledger::default();
    ledger.submit(ids("a"), 1.0).unwrap();
    ledger.look(look(2.0, Some("a"), ""), false);
    ledger.look(look(3.0, Some("a"), ""), false);
    ledger.look(look(4.0, Some(""), "a"), false);
    ledger.look(look(5.0, Some(""), "a"), false);
    let jobs = ledger.account(0.0, true);
    let curve: Vec<(f64, usize, usize, Option<usize>)> =
        jobs.curve.iter().map(|at| (at.at_s, at.submitted, at.done, at.queued)).collect();
    let expected = [(1.0, 1, 0, None), (2.1, 1, 0, Some(1)), (4.1, 1, 1, Some(0)), (5.1, 1, 1, Some(0))];
    assert_eq!(curve, expected);
}

#[test]
fn without_a_queue_command_the_curve_does_not_know_of_a_queue() {
    let mut ledger = Ledger::default();
    ledger.submit(ids("a"), 1.0).unwrap();
    ledger.look(look(2.0, None, "a"), false);
    assert!(ledger.account(0.0, true).curve.iter().all(|at| at.queued.is_none()));
}

/// One thing that happens to a ledger.
#[derive(Clone, Debug)]
enum Step {
    Submit(u8),
    Look { queued: Option<Vec<u8>>, done: Vec<u8>, ended: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let some = || prop::collection::vec(0u8..12, 0..8);
    let step = prop_oneof![
        (0u8..10).prop_map(Step::Submit),
        (prop::option::of(some()), some(), any::<bool>()).prop_map(|(queued, done, ended)| Step::Look {
            queued,
            done,
            ended
        }),
    ];
    prop::collection::vec(step, 0..40)
}

proptest! {
    /// Against a model of three sets.
    #[test]
    fn lost_is_what_is_neither_done_nor_queued(steps in steps(), stop_s in 0.0..40.0f64) {
        let mut ledger = Ledger::default();
        let (mut all, mut done, mut queued) = (HashSet::<u8>::new(), HashSet::<u8>::new(), HashSet::<u8>::new());
        for (at, step) in steps.iter().enumerate() {
            let at_s = at as f64;
            match step {
                Step::Submit(id) => {
                    prop_assert_eq!(ledger.submit(vec![id.to_string()], at_s).is_ok(), all.insert(*id));
                }
                Step::Look { queued: in_queue, done: are_done, ended } => {
                    let text = |ids: &Vec<u8>| ids.iter().map(u8::to_string).collect::<Vec<_>>();
                    ledger.look(
                        Look {
                            began_s: at_s,
                            ended_s: at_s + 0.5,
                            queued: in_queue.as_ref().map(text),
                            done: text(are_done),
                        },
                        *ended,
                    );
                    done.extend(are_done.iter().filter(|id| all.contains(id)));
                    if let Some(in_queue) = in_queue {
                        queued = in_queue.iter().filter(|id| all.contains(id)).copied().collect();
                    }
                }
            }
        }
        let jobs = ledger.account(stop_s, true);
        let still: HashSet<u8> = queued.difference(&done).copied().collect();
        prop_assert_eq!(jobs.submitted, all.len());
        prop_assert_eq!(counts(&jobs), [done.len(), still.len(), all.len() - done.len() - still.len(), 0]);
        prop_assert_eq!(ledger.missing(), jobs.lost);
        let told = ledger.account(stop_s, false);
        prop_assert_eq!(counts(&told), [done.len(), still.len(), 0, jobs.lost]);
        prop_assert!(jobs.open_at_stop <= jobs.submitted);
        // Time goes on, and nothing is taken back but what the queue has.
        for pair in jobs.curve.windows(2) {
            prop_assert!(pair[0].at_s <= pair[1].at_s, "{:?}", pair);
            prop_assert!(pair[0].submitted <= pair[1].submitted && pair[0].done <= pair[1].done, "{:?}", pair);
            prop_assert!(pair[1].done + pair[1].queued.unwrap_or(0) <= pair[1].submitted, "{:?}", pair);
        }
    }
}

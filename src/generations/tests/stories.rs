//! The contract as timetables. A line is a time, a fact, and what follows from it, in order. `time` is a deadline, and must be
//! the very one that was asked for.

use super::*;

fn story(plan: RestartPlan, lines: &str) {
    let mut life = Watched::new(plan).expect("begins");
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (fact, expected) = line.split_once("->").expect("an arrow");
        let mut words = fact.split_whitespace();
        let now = seconds(words.next().expect("a time"));
        let fact: Vec<&str> = words.collect();
        let deadline = life.generations.poll_deadline();
        if fact == ["time"] {
            assert_eq!(deadline, Some(now), "{line}");
        } else {
            assert!(deadline.is_none_or(|at| at > now), "{line}: there is a deadline at {deadline:?}");
        }
        life.feed(now, input(&fact)).unwrap_or_else(|why| panic!("{line}: {why}"));
        let told: Vec<String> = life.actions.iter().map(said).collect();
        assert_eq!(told.join(", "), expected.trim(), "\n{line}");
    }
    assert!(life.generations.poll_deadline().is_none(), "the story has no end");
}

fn seconds(text: &str) -> Duration {
    let number: f64 = text.strip_suffix('s').and_then(|text| text.parse().ok()).expect("seconds");
    ms((number * 1000.0).round() as u64)
}

fn number(text: &str) -> GenerationId {
    id(text.parse().expect("a generation"))
}

/// `2 exits 3 after 5s`, `2 dies`, `2 ready`, `reload`, …
fn input(words: &[&str]) -> GenerationInput {
    match words {
        ["time"] => GenerationInput::Tick,
        ["stop"] => GenerationInput::Stop,
        ["reload"] => GenerationInput::Reload,
        [which, "ready"] => GenerationInput::Ready(number(which)),
        [which, "late"] => GenerationInput::Late(number(which)),
        [which, "hung"] => GenerationInput::Hung(number(which)),
        [which, "stuck"] => GenerationInput::Stuck(number(which)),
        [which, "not", "started", code] => {
            GenerationInput::Failed { generation: number(which), code: code.parse().expect("a code") }
        }
        [which, "exits", code, "after", ran] => exited(number(which), code.parse().expect("a code"), seconds(ran)),
        [which, "dies", "after", ran] => GenerationInput::Exited {
            generation: number(which),
            status: ExitStatus::Signaled(Signal::KILL),
            clean: false,
            ran: seconds(ran),
        },
        other => panic!("no fact: {other:?}"),
    }
}

fn said(action: &GenerationAction) -> String {
    match action {
        GenerationAction::Start { generation, cause } => format!("{} {generation}", cause.name()),
        GenerationAction::Promote(generation) => format!("promote {generation}"),
        GenerationAction::Stop { generation, why } => {
            format!("stop {generation} ({})", format!("{why:?}").to_lowercase())
        }
        GenerationAction::Wait { until, tries, .. } => format!("wait until {}s, try {tries}", until.as_secs_f64()),
        GenerationAction::GiveUp { outcome, why } => {
            format!("exit {} ({})", outcome.code(), format!("{why:?}").to_lowercase())
        }
    }
}

// The end of the app

#[test]
fn without_a_plan_its_end_is_the_end() {
    story(RestartPlan::default(), "5s 1 exits 7 after 5s -> exit 7 (ended)");
    story(RestartPlan::default(), "5s 1 exits 0 after 5s -> exit 0 (ended)");
    story(RestartPlan::default(), "5s 1 dies after 5s -> exit 137 (ended)");
    story(RestartPlan::default(), "0s 1 not started 127 -> exit 127 (neverstarted)");
}

#[test]
fn the_pause_doubles_up_to_the_longest() {
    story(
        plan(),
        "1s 1 exits 1 after 1s -> wait until 2s, try 1
         2s time -> restart 2, promote 2
         2s 2 exits 1 after 0s -> wait until 4s, try 2
         4s time -> restart 3, promote 3
         4s 3 dies after 0s -> wait until 8s, try 3
         8s time -> restart 4, promote 4
         8s 4 exits 1 after 0s -> wait until 16s, try 4
         16s time -> restart 5, promote 5
         16s 5 exits 1 after 0s -> wait until 24s, try 5
         24s time -> restart 6, promote 6
         24s 6 exits 0 after 0s -> exit 0 (ended)",
    );
}

#[test]
fn a_run_longer_than_the_longest_pause_begins_anew() {
    story(
        RestartPlan { limit: Some(2), ..plan() },
        "0s 1 exits 1 after 0s -> wait until 1s, try 1
         1s time -> restart 2, promote 2
         1s 2 exits 1 after 0s -> wait until 3s, try 2
         3s time -> restart 3, promote 3
         11.001s 3 exits 1 after 8.001s -> wait until 12.001s, try 1
         12.001s time -> restart 4, promote 4
         20.001s 4 exits 1 after 8s -> wait until 22.001s, try 2
         22.001s time -> restart 5, promote 5
         30s 5 exits 3 after 7.9s -> exit 3 (limit(2))",
    );
}

#[test]
fn a_clean_end_is_followed_by_another_start_only_if_always() {
    story(plan(), "1s 1 exits 0 after 1s -> exit 0 (ended)");
    story(
        RestartPlan { clean: true, limit: Some(1), ..plan() },
        "1s 1 exits 0 after 1s -> wait until 2s, try 1
         2s time -> restart 2, promote 2
         3s 2 exits 0 after 1s -> exit 0 (limit(1))",
    );
}

#[test]
fn what_cannot_be_started_is_tried_again_but_not_the_first_time() {
    story(plan(), "0s 1 not started 127 -> exit 127 (neverstarted)");
    story(
        RestartPlan { limit: Some(2), ..plan() },
        "1s 1 exits 1 after 1s -> wait until 2s, try 1
         2s time -> restart 2, promote 2
         2s 2 not started 127 -> wait until 4s, try 2
         4s time -> restart 3, promote 3
         4s 3 not started 126 -> exit 126 (limit(2))",
    );
}

#[test]
fn beside_one_that_cannot_die_nothing_is_started() {
    story(plan(), "9s 1 stuck -> exit 137 (stuck)");
}

// Stop signals

#[test]
fn after_a_stop_signal_nothing_is_started() {
    story(
        plan(),
        "1s stop -> stop 1 (signal)
         2s 1 exits 1 after 2s -> exit 1 (stopped)",
    );
}

#[test]
fn a_stop_signal_in_the_wait_is_the_end_at_once() {
    story(
        plan(),
        "1s 1 exits 9 after 1s -> wait until 2s, try 1
         1.5s stop -> exit 9 (stopped)",
    );
}

#[test]
fn a_stop_signal_stops_both_once() {
    story(
        plan(),
        "1s reload -> reload 2
         2s stop -> stop 1 (signal), stop 2 (signal)
         2s stop ->
         3s 2 exits 5 after 2s ->
         4s 1 exits 3 after 4s -> exit 3 (stopped)",
    );
}

#[test]
fn a_stop_signal_after_the_cut_over_stops_both_and_the_new_one_counts() {
    story(
        plan(),
        "1s reload -> reload 2
         2s 2 ready -> promote 2, stop 1 (replaced)
         3s stop -> stop 2 (signal), stop 1 (signal)
         4s 2 exits 5 after 3s ->
         5s 1 exits 3 after 5s -> exit 5 (stopped)",
    );
}

#[test]
fn a_stop_signal_in_the_wait_also_stops_the_old_one() {
    story(
        plan(),
        "1s reload -> reload 2
         2s 2 ready -> promote 2, stop 1 (replaced)
         3s 2 exits 5 after 2s -> wait until 4s, try 1
         3.5s stop -> stop 1 (signal)
         4s 1 exits 0 after 4s -> exit 5 (stopped)",
    );
}

// Reloads

#[test]
fn a_reload_promotes_the_new_one_when_it_is_ready_and_then_stops_the_old_one() {
    story(
        RestartPlan::default(),
        "1s reload -> reload 2
         2s 2 ready -> promote 2, stop 1 (replaced)
         2s 2 ready ->
         9s 1 exits 143 after 9s ->
         10s 2 exits 4 after 9s -> exit 4 (ended)",
    );
}

#[test]
fn a_reload_that_fails_changes_nothing() {
    story(
        plan(),
        "1s reload -> reload 2
         1s 2 not started 127 ->
         2s reload -> reload 3
         3s 3 exits 1 after 1s ->
         4s reload -> reload 4
         5s 4 late -> stop 4 (notready)
         5s 4 ready ->
         6s 4 exits 0 after 2s ->
         7s 1 exits 0 after 7s -> exit 0 (ended)",
    );
}

#[test]
fn a_reload_asked_for_during_one_comes_after_it() {
    story(
        plan(),
        "1s reload -> reload 2
         2s reload ->
         3s reload ->
         4s 2 ready -> promote 2, stop 1 (replaced)
         5s 1 exits 0 after 5s -> reload 3
         6s 3 ready -> promote 3, stop 2 (replaced)
         7s 2 exits 0 after 6s ->
         8s 3 exits 0 after 2s -> exit 0 (ended)",
    );
}

#[test]
fn a_crash_during_a_reload_leaves_the_app_to_the_new_one() {
    story(
        RestartPlan::default(),
        "1s reload -> reload 2
         2s 1 dies after 2s -> promote 2
         3s 2 exits 6 after 2s -> exit 6 (ended)",
    );
}

#[test]
fn a_new_one_that_crashes_is_started_again_while_the_old_one_goes() {
    story(
        plan(),
        "1s reload -> reload 2
         2s 2 ready -> promote 2, stop 1 (replaced)
         3s 2 exits 1 after 2s -> wait until 4s, try 1
         4s time -> restart 3, promote 3
         5s 1 exits 0 after 5s ->
         6s 3 exits 0 after 2s -> exit 0 (ended)",
    );
}

#[test]
fn a_new_one_that_ends_for_good_waits_for_the_old_one() {
    story(
        RestartPlan::default(),
        "1s reload -> reload 2
         2s 2 ready -> promote 2, stop 1 (replaced)
         3s 2 exits 1 after 2s ->
         5s 1 exits 0 after 5s -> exit 1 (ended)",
    );
}

#[test]
fn a_reload_in_the_wait_is_the_next_try_at_once() {
    story(
        plan(),
        "1s 1 exits 1 after 1s -> wait until 2s, try 1
         1.2s reload -> reload 2, promote 2
         3s 2 exits 0 after 1.8s -> exit 0 (ended)",
    );
}

// Liveness

#[test]
fn one_that_hung_is_stopped_and_started_again_whatever_the_plan() {
    story(
        RestartPlan { delay: s(1), delay_max: s(8), ..RestartPlan::default() },
        "1s 1 hung -> stop 1 (hung)
         2s 1 hung ->
         3s 1 exits 0 after 3s -> wait until 4s, try 1
         4s time -> restart 2, promote 2
         5s 2 exits 0 after 1s -> exit 0 (ended)",
    );
}

#[test]
fn a_stop_signal_counts_more_than_one_that_hung() {
    story(
        plan(),
        "1s 1 hung -> stop 1 (hung)
         2s stop -> stop 1 (signal)
         3s 1 dies after 3s -> exit 137 (stopped)",
    );
}

//! What each check says about what was seen, word by word: its words are in `checks_tests.txt`, each story below its
//! name.

use super::*;
use crate::counts::Counts;
use crate::drill::facts::{Observations, StopResult};
use crate::drill::plan::DrillPlan;
use crate::drill::testing::*;
use crate::signal::Signal;
use crate::timeline::report::KilledFromOutside;
use RequestOutcome::{Ok as Answered, Refused, Reset, Truncated, Untold};

const TOLD: &str = include_str!("checks_tests.txt");

/// These checks, and the remarks.
fn told(drill: &Drill, names: &[&str]) -> String {
    let of = |name: &&str| {
        let check = check(drill, name);
        let result = serde_json::to_value(check.result).unwrap();
        format!("{name} {}: {}\n", result.as_str().unwrap(), check.evidence)
    };
    let remarks = drill.remarks.iter().map(|remark| format!("remark: {remark}\n"));
    names.iter().map(of).chain(remarks).collect()
}

fn new(at_s: f64, outcome: RequestOutcome) -> Record {
    record(ClientKind::New, at_s, 0.01, outcome)
}

/// Good requests until this time, and these.
fn of(until_s: f64, more: &[Record], facts: &Observations, plan: &DrillPlan) -> Drill {
    judged([good_until(until_s), more.to_vec()].concat(), facts, plan)
}

type Story = (&'static str, Drill, &'static [&'static str]);

fn requests() -> Vec<Story> {
    const ALL: &[&str] = &["zero-dropped", "in-flight", "served-in-window"];
    let (clean, own) = (facts(2.5, ExitStatus::Exited(0)), own());
    let slow = |outcome| record(ClientKind::Slow, -0.5, 1.0, outcome);
    let old = || good_until(0.0).into_iter().map(|record| Record { kind: ClientKind::Hot, ..record }).collect();
    vec![
        ("all is answered", of(2.0, &[slow(Answered)], &clean, &own), ALL),
        ("none is under way, and none is new", judged(old(), &clean, &own), ALL),
        ("some are refused", of(0.9, &[new(1.0, Refused), new(1.5, Refused), new(1.9, Reset)], &clean, &own), ALL),
        (
            "one is served just as another is refused",
            of(0.9, &[new(1.0, Refused), new(1.01, Answered), new(1.5, Refused)], &clean, &own),
            ALL,
        ),
        ("all are refused", of(0.0, &[new(0.5, Refused)], &clean, &own), ALL),
        (
            "half of those under way are lost",
            of(2.0, &[slow(Answered), slow(Reset), slow(Answered), slow(Truncated)], &clean, &own),
            ALL,
        ),
        ("two are not told", of(2.0, &[slow(Untold), slow(Untold), slow(Answered)], &clean, &own), ALL),
        ("one is not told", of(2.0, &[new(0.5, Untold)], &clean, &own), ALL),
        ("one is not told and one is lost", of(2.0, &[slow(Untold), slow(Reset)], &clean, &own), ALL),
        ("sent at the end of the lag", of(1.9, &[new(2.0, Refused)], &clean, &own), ALL),
        ("sent after the lag", of(2.0, &[new(2.1, Refused)], &clean, &own), ALL),
        ("without a stop", judge_load(of_load(&[new(0.5, Refused)])), &["zero-dropped"]),
    ]
}

fn of_load(more: &[Record]) -> Vec<Record> {
    [good_until(0.4), more.to_vec()].concat()
}

fn judge_load(requests: Vec<Record>) -> Drill {
    judged(requests, &Observations::default(), &plan(Subject::Nothing))
}

fn ends() -> Vec<Story> {
    const END: &[&str] = &["exit-in-time", "exit-status", "signal-handled"];
    let (zero, term, kill) =
        (ExitStatus::Exited(0), ExitStatus::Signaled(Signal::TERM), ExitStatus::Signaled(Signal::KILL));
    let own = own();
    let uvicorn = own_of(&["uvicorn"], &[]);
    let clean = |facts: &Observations, plan: &DrillPlan| of(2.0, &[], facts, plan);
    let cut =
        |facts: &Observations, plan: &DrillPlan| of(2.0, &[record(ClientKind::Slow, 1.0, 1.5, Reset)], facts, plan);
    let there = Observations::default();
    let killed = Observations { killed_s: Some(30.0), ..facts(30.1, kill) };
    let by_graceful =
        Observations { no_handler: false, ..exited(4.1, kill, supervised(4.0, killed_at(4.0, reported(2.5, 1, 2.5)))) };
    let outside = {
        let mut report = reported(2.5, 1, 2.5);
        report.killed_from_outside = Some(KilledFromOutside { oom_kills: None });
        Observations { no_handler: false, ..exited(2.6, kill, supervised(2.5, report)) }
    };
    let under = |no_handler, told_s| Observations { no_handler, ..supervised(told_s, reported(told_s, 0, 2.5)) };
    let unknown = |at_s| Observations {
        result: StopResult::AppExited(Exit { at_s, status: None }),
        accepts_after: Some(false),
        ..Observations::default()
    };
    let no_handler = Observations { no_handler: true, ..facts(2.5, term) };
    vec![
        ("a clean end", clean(&facts(2.5, zero), &own), END),
        ("still there", clean(&there, &own), END),
        ("by pid", clean(&unknown(2.5), &by_pid()), END),
        ("another status", clean(&facts(2.5, ExitStatus::Exited(3)), &own), END),
        (
            "a status that is expected",
            clean(&facts(2.5, term), &DrillPlan { exit_status: [0, 143].into(), ..own.clone() }),
            END,
        ),
        ("a status that the server is known for", clean(&facts(2.5, ExitStatus::Exited(143)), &uvicorn), END),
        ("another status of a known server", clean(&facts(2.5, ExitStatus::Exited(3)), &uvicorn), END),
        ("no handler", clean(&no_handler, &own), END),
        (
            "no handler, by the pid of a graceful",
            clean(&Observations { under_graceful: true, ..no_handler.clone() }, &by_pid()),
            END,
        ),
        ("no handler, under graceful", clean(&under(true, 2.5), &own), END),
        ("no handler, under graceful, and a request is cut off", cut(&under(true, 2.5), &own), END),
        (
            "a request is refused before an idle app gets its signal",
            of(1.9, &[new(2.0, Refused)], &under(true, 2.5), &own),
            END,
        ),
        ("ignores the signal", clean(&Observations { ignores: true, ..killed.clone() }, &own), END),
        ("killed by the drill", clean(&killed, &own), END),
        ("killed by graceful", clean(&by_graceful, &own), END),
        ("killed from outside", clean(&outside, &own), END),
    ]
}

fn surroundings() -> Vec<Story> {
    const LEFT: &[&str] = &["gone-after", "nothing-left"];
    const READY: &[&str] = &["readiness"];
    let zero = ExitStatus::Exited(0);
    let (clean, own) = (facts(2.5, zero), own());
    let watched = DrillPlan { ready_url: Some("http://h/ready".parse().unwrap()), ..own.clone() };
    let all = |facts: &Observations, plan: &DrillPlan| of(2.0, &[], facts, plan);
    let left = |found, ended_by_themselves| {
        let mut report = reported(2.5, 0, 2.5);
        (report.leftovers.found, report.leftovers.ended_by_themselves) = (found, ended_by_themselves);
        supervised(2.5, report)
    };
    let sleeps = |count: usize| vec!["sleep (pid 9)".to_owned(); count];
    let ready = |changes: &[(f64, ReadyState)], refused: &[Record]| {
        let facts = Observations { readiness: changes.to_vec(), ..clean.clone() };
        of(2.0, refused, &facts, &watched)
    };
    let (says_ready, not) = ((-2.0, ReadyState::Ready), |at| (at, ReadyState::NotReady("503".to_owned())));
    let refused = [new(1.0, Refused)];
    vec![
        ("nothing is left", all(&clean, &own), LEFT),
        ("two helpers are left", all(&Observations { left: sleeps(2), ..clean.clone() }, &own), LEFT),
        ("the port is taken", all(&Observations { accepts_after: Some(true), ..clean.clone() }, &own), LEFT),
        ("the port was not looked at", all(&Observations { accepts_after: None, ..clean.clone() }, &own), LEFT),
        ("it did not exit", all(&Observations { accepts_after: Some(true), ..Observations::default() }, &own), LEFT),
        ("by pid, what is left", all(&clean, &by_pid()), LEFT),
        ("under graceful", all(&left(0, 0), &own), LEFT),
        ("under graceful, helpers that end by themselves", all(&left(2, 2), &own), LEFT),
        ("under graceful, one that does not", all(&left(3, 2), &own), LEFT),
        (
            "under graceful, which the drill killed",
            all(&Observations { report: None, killed_s: Some(30.0), ..left(0, 0) }, &own),
            LEFT,
        ),
        ("no readiness endpoint", all(&clean, &own), READY),
        ("readiness fails in time", ready(&[says_ready.clone(), not(0.2)], &refused), READY),
        ("readiness fails as the listener closes", ready(&[says_ready.clone(), not(1.01)], &refused), READY),
        ("readiness fails late", ready(&[says_ready.clone(), not(1.51)], &refused), READY),
        ("readiness fails and nothing is refused", ready(&[says_ready.clone(), not(0.2)], &[]), READY),
        ("readiness is refused", ready(&[says_ready.clone(), (0.3, ReadyState::Refused)], &[]), READY),
        ("readiness never fails", ready(std::slice::from_ref(&says_ready), &[]), READY),
        ("readiness fails at the stop", ready(&[says_ready.clone(), not(0.0)], &[]), READY),
        (
            "readiness flaps before the stop",
            ready(&[says_ready.clone(), not(-1.0), (-0.5, ReadyState::Ready)], &[]),
            READY,
        ),
        ("readiness fails before the stop", ready(&[not(-2.0)], &[]), READY),
    ]
}

fn commands() -> Vec<Story> {
    const IN_TIME: &[&str] = &["exit-in-time"];
    let plan = by_command();
    let all = |facts: &Observations, plan: &DrillPlan| of(2.0, &[], facts, plan);
    let given = DrillPlan { grace_is_given: true, ..plan.clone() };
    let rolling = DrillPlan { rolling: true, ..plan.clone() };
    let broken_off = Observations { killed_s: Some(30.0), ..command_ended(30.0, 0) };
    vec![
        ("a command", all(&command_ended(2.5, 0), &plan), IN_TIME),
        ("a command that takes as long as docker waits", all(&command_ended(10.0, 0), &plan), IN_TIME),
        ("a command that takes nearly as long", all(&command_ended(9.94, 0), &plan), IN_TIME),
        ("a command that may take long", all(&command_ended(10.2, 0), &given), IN_TIME),
        ("a rolling command", all(&command_ended(10.2, 0), &rolling), IN_TIME),
        ("a command that fails", all(&command_ended(12.5, 3), &plan), IN_TIME),
        ("a command that is broken off", all(&broken_off, &plan), IN_TIME),
        ("a command that does not end", all(&Observations::default(), &plan), IN_TIME),
    ]
}

fn holds() -> Vec<Story> {
    let own = own();
    let held = |delay_s, no_handler| Observations { no_handler, ..supervised(2.5, reported(2.5, 0, delay_s)) };
    let none = || {
        let mut report = reported(2.5, 0, 0.0);
        report.hold = None;
        supervised(2.5, report)
    };
    let all = |facts: &Observations, more: &[Record]| of(2.0, more, facts, &own);
    vec![
        ("only the hold", all(&held(0.0, true), &[]), &[]),
        ("a delay as long as the lag", all(&held(2.0, true), &[]), &[]),
        ("an app with a handler", all(&held(0.0, false), &[]), &[]),
        ("no hold", all(&none(), &[]), &[]),
        ("a hold that lost one", all(&held(0.0, true), &[new(1.0, Refused)]), &[]),
    ]
}

#[test]
fn each_check_has_its_evidence() {
    let all = [requests(), ends(), surroundings(), commands(), holds()].concat();
    let text: Vec<String> =
        all.iter().map(|(name, drill, names)| format!("# {name}\n{}", told(drill, names))).collect();
    is_told(&text.join("\n"), TOLD);
}

/// What the drill itself sees of the app's connections is reported where graceful does not look.
#[test]
fn a_busy_app_that_does_not_end_says_how_busy() {
    let busy = Counts { busy: 2, ..Counts::default() };
    let facts =
        Observations { killed_s: Some(30.0), looks_at_exit: Some(busy), ..facts(30.1, ExitStatus::Exited(137)) };
    let seen = judged(good(), &facts, &own());
    assert!(seen.findings[0].words.ends_with("2 connections still had a request in flight"), "{:?}", seen.findings);
}

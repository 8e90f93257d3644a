//! What is shown of a drill besides its checks, and why a drill proves nothing.

use super::*;
use crate::drill::baseline::{CanaryLimits, Sample};
use crate::drill::plan::Tolerance;
use crate::drill::testing::*;
use crate::signal::Signal;
use crate::status::ExitStatus;
use crate::timeline::report::InFlightAt;
use RequestOutcome::{Ok as Answered, OkClose, Refused, Reset};

const ZERO: ExitStatus = ExitStatus::Exited(0);

fn told(drill: &Drill) -> Vec<String> {
    drill.timeline.iter().map(|mark| format!("{:+.2} {}", mark.at_s, mark.words)).collect()
}

#[test]
fn the_timeline_of_a_bare_app() {
    let more = [
        record(ClientKind::Slow, -0.5, 1.2, Answered),
        record(ClientKind::Slow, -0.5, 1.4, Answered),
        record(ClientKind::Hot, -0.7, 0.1, OkClose),
        record(ClientKind::Hot, 0.2, 0.1, OkClose),
        record(ClientKind::Hot, 0.1, 0.1, OkClose),
        record(ClientKind::Hot, 1.9, 0.1, Answered),
        record(ClientKind::New, 1.2, 0.05, Refused),
        record(ClientKind::New, 1.1, 0.05, Refused),
    ];
    let facts = Observations {
        readiness: vec![
            (-2.0, ReadyState::Ready),
            (-1.0, ReadyState::NotReady("500".to_owned())),
            (0.0, ReadyState::NotReady("503".to_owned())),
            (1.12, ReadyState::Refused),
            (1.8, ReadyState::Ready),
        ],
        left: vec!["sleep (pid 9)".to_owned(), "cat (pid 10)".to_owned()],
        killed_s: Some(2.4),
        ..facts(2.5, ExitStatus::Signaled(Signal::KILL))
    };
    let seen = judged([good_until(1.0), more.to_vec()].concat(), &facts, &own());
    assert_eq!(
        told(&seen),
        [
            "-2.00 the load begins",
            "+0.00 stop",
            "+0.00 readiness fails: 503",
            "+0.20 first answer with Connection: close",
            "+0.90 what was under way at the stop is over",
            "+1.00 last new connection that was served",
            "+1.12 the readiness endpoint refuses",
            "+1.15 connections are refused",
            "+2.00 the load balancer stops sending",
            "+2.40 SIGKILL",
            "+2.50 the app exits: killed by SIGKILL",
            "+2.50 left behind: sleep (pid 9), cat (pid 10)",
        ]
    );
}

#[test]
fn the_timeline_under_graceful_and_of_a_command() {
    let killed = supervised(4.0, killed_at(4.0, reported(2.5, 0, 2.5)));
    let seen = judged(good(), &killed, &own());
    assert!(told(&seen).contains(&"+2.50 the app gets SIGTERM".to_owned()), "{:?}", told(&seen));
    assert!(told(&seen).contains(&"+4.00 SIGKILL".to_owned()), "{:?}", told(&seen));
    let phases: Vec<_> = seen.phases.iter().map(|one| (&*one.phase, one.start_s, one.duration_s)).collect();
    assert_eq!(phases, [("pre-stop", 0.0, 2.5), ("kill", 4.0, 0.1)]);
    let ended = command_ended(2.5, 3);
    assert_eq!(
        told(&judged(good(), &ended, &by_command())).last().unwrap(),
        "+2.50 the stop command ends: exit status 3"
    );
    let unknown = StopResult::AppExited(Exit { at_s: 2.5, status: None });
    let by_another = Observations { result: unknown, ..Observations::default() };
    assert_eq!(told(&judged(good(), &by_another, &by_pid())).last().unwrap(), "+2.50 the app exits");
}

/// What is not part of the stop is not shown.
#[test]
fn phases_before_the_stop_are_left_out() {
    let mut report = reported(2.5, 0, 2.5);
    report.phases.insert(0, PhaseSpan { phase: crate::timeline::Phase::Running, start_s: -9.0, duration_s: 9.0 });
    let phases = phases(&supervised(2.5, report));
    assert_eq!(phases.iter().map(|one| &*one.phase).collect::<Vec<_>>(), ["pre-stop"]);
}

#[test]
fn a_load_without_a_stop_shows_its_begin_its_end_and_what_is_refused() {
    let requests = [good_until(1.0), vec![record(ClientKind::New, 1.1, 0.05, Refused)]].concat();
    let seen = judged(requests, &Observations::default(), &plan(Subject::Nothing));
    assert_eq!(
        told(&seen),
        ["-2.00 the load begins", "+1.15 connections are refused", "+2.00 the load balancer stops sending"]
    );
    assert_eq!((seen.verdict, seen.dropped), (Verdict::Failed, 1));
    let none = judged(Vec::new(), &Observations::default(), &plan(Subject::Nothing));
    assert_eq!(none.inconclusive.as_deref(), Some("nothing was sent"));
}

#[test]
fn what_is_in_flight_is_seen_from_both_sides() {
    let slow = |until_s: f64| record(ClientKind::Slow, -0.5, until_s + 0.5, Answered);
    let requests = || [good(), vec![slow(0.0), slow(0.5), slow(2.9)]].concat();
    let looks = |seen: &Drill| -> Vec<(Looked, f64, usize, usize)> {
        seen.in_flight.iter().map(|look| (look.moment, look.at_s, look.counts.busy, look.clients)).collect()
    };
    let busy = |busy| Some(Counts { busy, ..Counts::default() });
    let bare = Observations { looks_at_stop: busy(3), looks_at_exit: busy(1), ..facts(2.5, ZERO) };
    assert_eq!(looks(&judged(requests(), &bare, &own())), [(Looked::Stop, 0.0, 3, 3), (Looked::Exit, 2.5, 1, 1)]);
    let mut report = reported(2.5, 1, 2.5);
    report.in_flight.push(InFlightAt { moment: Looked::Exit, at_s: 3.0, counts: Counts::default() });
    assert_eq!(
        looks(&judged(requests(), &supervised(3.0, report), &own())),
        [(Looked::Signal, 2.5, 1, 1), (Looked::Exit, 3.0, 0, 0)]
    );
}

/// They are of the requests at the rate that were answered, from their intended times.
#[test]
fn percentiles_are_those_of_the_requests() {
    let before = (1..=100).map(|took| record(ClientKind::New, -0.5, f64::from(took) / 1000.0, Answered));
    let after = (1..=3).map(|took| record(ClientKind::Hot, 0.0, f64::from(took), OkClose));
    let late = Record { sent_s: 0.5, ..record(ClientKind::New, 0.0, 4.0, Answered) };
    let others = [
        record(ClientKind::Slow, -0.5, 9.0, Answered),
        record(ClientKind::New, -0.5, 9.0, Refused),
        record(ClientKind::Stream, 0.5, 9.0, Answered),
    ];
    let seen = latencies(&before.chain(after).chain([late]).chain(others).collect::<Vec<_>>());
    let numbers = |one: Latency| (one.count, one.p50_s, one.p90_s, one.p99_s, one.max_s);
    assert_eq!(numbers(seen.before), (100, 0.05, 0.09, 0.099, 0.1));
    assert_eq!(numbers(seen.after), (4, 2.0, 4.0, 4.0, 4.0));
    assert_eq!(numbers(latency(vec![0.123_456_789])), (1, 0.123_457, 0.123_457, 0.123_457, 0.123_457));
    assert_eq!(numbers(latency(Vec::new())), (0, 0.0, 0.0, 0.0, 0.0));
}

#[test]
fn a_target_keeps_up_if_one_in_twenty_of_the_early_ones_is_late() {
    let ends = facts(4.0, ZERO);
    let early = |late: usize, kind| {
        let took = |nth: usize| if nth < late { 1.6 } else { 0.01 };
        (0..20).map(|nth| record(kind, -1.5, took(nth), Answered)).collect::<Vec<_>>()
    };
    let why = |requests: Vec<Record>, facts: &Observations| judged(requests, facts, &own()).inconclusive;
    assert_eq!(why(early(1, ClientKind::New), &ends), None);
    // What is slow on purpose, and what was sent in the second half, may be under way.
    assert_eq!(why([early(1, ClientKind::New), early(9, ClientKind::Slow)].concat(), &ends), None);
    let second_half: Vec<_> = (0..9).map(|_| record(ClientKind::New, -1.0, 2.0, Answered)).collect();
    assert_eq!(why([early(1, ClientKind::New), second_half.clone()].concat(), &ends), None);
    // Those that end at the stop, or begin at it, are not under way.
    let at_stop = vec![record(ClientKind::New, 0.0, 2.0, Answered), record(ClientKind::New, -1.5, 1.5, Answered)];
    let slower = [early(2, ClientKind::Hot), second_half, at_stop].concat();
    assert_eq!(
        why(slower, &ends).as_deref(),
        Some(
            "the target is slower than the rate: 11 requests were under way at the stop, and 0 could not be sent; lower --rate \
             (now 100 a second)"
        )
    );
    let held_back = Observations { held_back: 3, ..ends };
    let said = why(early(0, ClientKind::New), &held_back).unwrap();
    assert!(said.contains("0 requests were under way at the stop, and 3 could not be sent"), "{said}");
    // It ended just as the stop came.
    let at_the_stop = (0..20).map(|_| record(ClientKind::New, -1.5, 1.5, Answered)).collect();
    assert_eq!(why(at_the_stop, &facts(4.0, ZERO)).as_deref(), Some(NONE_BEFORE));
}

const NONE_BEFORE: &str = "no request was over before the stop: lower --rate or lengthen --before";

#[test]
fn without_a_request_before_the_stop_nothing_is_known() {
    let late = vec![record(ClientKind::New, 0.5, 0.1, Answered)];
    let seen = judged(late, &facts(2.5, ZERO), &own());
    assert_eq!((seen.verdict, seen.inconclusive.as_deref()), (Verdict::Inconclusive, Some(NONE_BEFORE)));
}

#[test]
fn what_failed_before_the_stop_is_named() {
    let why = |requests| judged(requests, &facts(2.5, ZERO), &own()).inconclusive.unwrap_or_default();
    let failed = record(ClientKind::New, -1.0, 0.1, Reset);
    assert_eq!(
        why(vec![failed.clone()]),
        "1 of 1 request already failed before the stop (new: reset before an answer): what the stop drops cannot be told; \
         --tolerate 1 accepts as many"
    );
    let detailed = Record { kind: ClientKind::Slow, detail: "503".to_owned(), ..failed.clone() };
    assert_eq!(
        why(vec![detailed, failed, record(ClientKind::New, -1.0, 0.1, Answered)]),
        "2 of 3 requests already failed before the stop (slow: 503): what the stop drops cannot be told; --tolerate 2 accepts \
         as many"
    );
}

#[test]
fn what_is_tolerated_is_said_where_there_is_a_stop() {
    let failed = || [good(), vec![record(ClientKind::New, -1.0, 0.1, Reset)]].concat();
    let tolerant = |plan: DrillPlan| DrillPlan { tolerate: Tolerance::Count(1), ..plan };
    let seen = judged(failed(), &facts(2.5, ZERO), &tolerant(own()));
    assert_eq!(
        seen.remarks,
        [
            "1 of 21 requests already failed before the stop (new: reset before an answer); --tolerate allows it, and those after \
             the stop are judged"
        ]
    );
    // One that fails as the stop comes counts for the stop.
    let at_stop = [good(), vec![record(ClientKind::New, -0.1, 0.1, Reset)]].concat();
    assert!(judged(at_stop, &facts(2.5, ZERO), &tolerant(own())).remarks.is_empty());
    let load = judged(failed(), &Observations::default(), &tolerant(plan(Subject::Nothing)));
    assert!(load.remarks.is_empty(), "{:?}", load.remarks);
}

#[test]
fn a_target_that_answers_a_quarter_of_a_second_after_its_command_lives() {
    let plan = by_command();
    let served = |at_s, outcome| [good_until(0.5), vec![record(ClientKind::New, at_s, 0.01, outcome)]].concat();
    let why =
        |at_s, outcome, plan: &DrillPlan| judged(served(at_s, outcome), &command_ended(1.0, 0), plan).inconclusive;
    assert_eq!(why(1.25, Answered, &plan), None);
    assert_eq!(
        why(1.5, Answered, &plan).as_deref(),
        Some(
            "the target still answers 500 ms after the stop command has ended: nothing was stopped, or it was started again \
             (--rolling drills a restart)"
        )
    );
    assert_eq!(why(1.5, Refused, &plan), None);
    assert_eq!(why(1.5, Answered, &DrillPlan { rolling: true, ..plan }), None);
    assert_eq!(judged(served(1.5, Answered), &facts(1.0, ZERO), &own()).inconclusive, None);
}

#[test]
fn a_canary_is_judged_by_its_limits_alone() {
    let lost = || [good_until(0.5), vec![record(ClientKind::New, 1.0, 0.1, Refused)]].concat();
    let names = |plan: &DrillPlan, facts: &Observations| -> Vec<String> {
        let mut seen = judged(lost(), facts, plan);
        compare(&mut seen, plan, None);
        seen.checks.into_iter().map(|check| check.name.to_string()).collect()
    };
    let limits = |max_error_rate| CanaryLimits { max_error_rate, min_requests: 1, ..CanaryLimits::default() };
    let load = plan(Subject::Nothing);
    let nothing = Observations::default();
    assert_eq!(names(&load, &nothing), ["zero-dropped"]);
    assert_eq!(names(&DrillPlan { limits: limits(Some(0.5)), ..load.clone() }, &nothing), ["error-rate"]);
    let baseline = DrillPlan { baseline: Some("x.json".into()), ..load.clone() };
    assert_eq!(names(&baseline, &nothing), [""; 0]);
    // A stop has its checks besides the limits.
    let stopped = DrillPlan { limits: limits(Some(0.5)), ..own() };
    let all = names(&stopped, &facts(2.5, ZERO));
    assert_eq!((all.len(), &*all[0], &*all[9]), (10, "zero-dropped", "error-rate"));
    let strict = DrillPlan { limits: CanaryLimits { max_p99_s: Some(1e-9), ..limits(Some(0.0)) }, ..load };
    let mut seen = judged(lost(), &nothing, &strict);
    compare(&mut seen, &strict, None);
    let [finding] = &seen.findings[..] else { panic!("{:?}", seen.findings) };
    assert_eq!((finding.cause, seen.verdict), (Cause::WorseThanBaseline, Verdict::Failed));
    assert!(finding.words.starts_with("more requests failed than --max-error-rate allows"), "{}", finding.words);
    assert!(finding.checks.contains(&CheckName::ErrorRate), "{finding:?}");
    // What proves nothing is not compared.
    let mut useless = judged(Vec::new(), &nothing, &strict);
    compare(&mut useless, &strict, Some(Sample::of(&seen)));
    assert_eq!((useless.checks.len(), useless.verdict), (0, Verdict::Inconclusive));
    let few = DrillPlan { limits: CanaryLimits { min_requests: 1000, ..strict.limits }, ..strict };
    let mut seen = judged(lost(), &nothing, &few);
    compare(&mut seen, &few, None);
    assert!(seen.inconclusive.is_some_and(|why| why.contains("fewer than --min-requests 1000")));
}

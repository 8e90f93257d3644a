use super::*;
use crate::drill::plan::Tolerance;
use crate::drill::testing::*;
use crate::signal::Signal;
use crate::status::ExitStatus;
use crate::timeline::HoldMode;
use crate::timeline::report::Report;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;

#[test]
fn a_clean_stop_passes() {
    let seen = judged(good(), &facts(2.5, ExitStatus::Exited(0)), &own());
    assert_eq!((seen.verdict, seen.dropped), (Verdict::Passed, 0), "{:#?}", seen.checks);
    assert_eq!(seen.at(TimelineMarkKind::LastNewServed), Some(2.0));
}

#[test]
fn dropped_is_what_a_router_would_have_sent() {
    let mut requests = good();
    requests.push(record(ClientKind::New, 1.99, 0.0, RequestOutcome::Refused));
    requests.push(record(ClientKind::New, 2.01, 0.0, RequestOutcome::Refused));
    // It goes on when the drill ends: nobody broke it.
    requests.push(record(ClientKind::Stream, -1.0, 9.0, RequestOutcome::Unfinished));
    let seen = judged(requests, &facts(2.5, ExitStatus::Exited(0)), &own());
    assert_eq!((seen.verdict, seen.dropped), (Verdict::Failed, 1));
    assert_eq!(check(&seen, "zero-dropped").causes, [Cause::StoppedListening]);
    let finding = &seen.findings[0];
    assert!(finding.fix.contains("--pre-stop-delay 2100ms"), "longer than the lag: {}", finding.fix);
    assert_eq!((finding.cause, finding.dropped), (Cause::StoppedListening, 1));
    assert_eq!(finding.flags, ["--pre-stop-delay=2100ms"]);
    assert_eq!(finding.checks, ["zero-dropped", "served-in-window"]);
}

#[test]
fn what_fails_before_the_stop_makes_it_inconclusive() {
    let mut requests = good();
    requests.push(record(ClientKind::Hot, -1.0, 0.1, RequestOutcome::Status));
    let seen = judged(requests, &facts(2.5, ExitStatus::Exited(0)), &own());
    assert_eq!((seen.verdict, seen.checks.len()), (Verdict::Inconclusive, 0));
    assert!(seen.inconclusive.unwrap().contains("1 of 21 requests already failed before the stop (hot: "));
}

#[test]
fn what_fails_before_the_stop_may_be_tolerated() {
    let mut requests = good();
    requests.push(record(ClientKind::Hot, -1.0, 0.1, RequestOutcome::Status));
    for (tolerate, covered) in [
        (Tolerance::Count(1), true),
        (Tolerance::Share(0.05), true),
        (Tolerance::Share(0.04), false),
        (Tolerance::Count(0), false),
    ] {
        let seen = judged(requests.clone(), &facts(2.5, ExitStatus::Exited(0)), &DrillPlan { tolerate, ..own() });
        assert_eq!((seen.verdict == Verdict::Passed, seen.dropped), (covered, 0), "{tolerate:?}");
        let remark =
            seen.remarks.iter().any(|remark| remark.contains("1 of 21 requests already failed before the stop"));
        assert_eq!(remark, covered, "{tolerate:?}: {:?}", seen.remarks);
    }
    // What fails after it is judged.
    requests.push(record(ClientKind::New, 1.0, 0.1, RequestOutcome::Refused));
    let tolerant = DrillPlan { tolerate: Tolerance::Count(1), ..own() };
    let seen = judged(requests, &facts(2.5, ExitStatus::Exited(0)), &tolerant);
    assert_eq!((seen.verdict, seen.dropped), (Verdict::Failed, 1));
    // None failed: nothing to say.
    assert!(judged(good(), &facts(2.5, ExitStatus::Exited(0)), &tolerant).remarks.is_empty());
}

#[test]
fn an_answer_that_may_not_have_been_whole_is_no_pass() {
    let mut requests = good();
    requests.push(record(ClientKind::New, -0.1, 0.3, RequestOutcome::Untold));
    let seen = judged(requests.clone(), &facts(2.5, ExitStatus::Exited(0)), &own());
    assert_eq!((seen.verdict, seen.dropped), (Verdict::Inconclusive, 0));
    assert!(
        seen.inconclusive.as_ref().is_some_and(|why| why.contains("1 answer ended with the connection")),
        "{seen:?}"
    );
    assert_eq!(check(&seen, "in-flight").result, CheckResult::Unknown);
    // A failure is one whatever else cannot be told.
    requests.push(record(ClientKind::New, 1.0, 0.0, RequestOutcome::Refused));
    let seen = judged(requests, &facts(2.5, ExitStatus::Exited(0)), &own());
    assert_eq!((seen.verdict, seen.inconclusive), (Verdict::Failed, None));
    // Sent after the lag, it does not count.
    let mut late = good();
    late.push(record(ClientKind::New, 2.1, 0.3, RequestOutcome::Untold));
    assert_eq!(judged(late, &facts(2.5, ExitStatus::Exited(0)), &own()).verdict, Verdict::Passed);
}

#[test]
fn a_load_without_a_stop_has_no_stop_in_its_timeline() {
    let load = Drill { stopped_at: None, ..drill(good()) };
    let seen = judge(load, &Observations::default(), &plan(Subject::Nothing), Supervision::Bare, -2.0);
    assert_eq!((seen.at(TimelineMarkKind::Stop), seen.verdict), (None, Verdict::Passed));
    assert_eq!(judged(good(), &facts(2.5, ExitStatus::Exited(0)), &own()).at(TimelineMarkKind::Stop), Some(0.0));
}

#[test]
fn a_target_that_does_not_keep_up_makes_it_inconclusive() {
    let requests =
        (-200..200).map(|at| record(ClientKind::New, f64::from(at) / 100.0, 3.0, RequestOutcome::Ok)).collect();
    let seen = judged(requests, &facts(2.5, ExitStatus::Exited(0)), &own());
    assert!(seen.inconclusive.unwrap().starts_with("the target is slower than the rate"));
    let held_back = Observations { held_back: 1, ..facts(2.5, ExitStatus::Exited(0)) };
    assert_eq!(judged(good(), &held_back, &own()).verdict, Verdict::Inconclusive);
}

#[test]
fn a_drill_that_does_not_keep_up_is_inconclusive_and_says_that_it_is_not_the_target() {
    let sent_late = |late_by: f64, every: usize| {
        let requests = good().into_iter().enumerate().map(|(number, record)| {
            let late = record.kind.is_paced() && number % every == 0;
            Record { intended_s: record.intended_s - if late { late_by } else { 0.0 }, ..record }
        });
        judged(requests.collect(), &facts(2.5, ExitStatus::Exited(0)), &own())
    };
    let seen = sent_late(0.6, 5);
    assert!(seen.inconclusive.as_ref().is_some_and(|why| why.starts_with("the drill itself is slower")), "{seen:#?}");
    assert_eq!(sent_late(0.4, 5).verdict, Verdict::Passed, "no later than a machine with other work may be");
    assert_eq!(sent_late(0.6, 20).verdict, Verdict::Passed, "few of them");
    let held_back = Observations { held_back: 1, ..facts(2.5, ExitStatus::Exited(0)) };
    let both = good().into_iter().map(|record| Record { intended_s: record.intended_s - 0.6, ..record }).collect();
    let seen = judged(both, &held_back, &own());
    assert!(seen.inconclusive.is_some_and(|why| why.starts_with("the drill itself")), "the cause, not what came of it");
}

#[test]
fn readiness_must_fail_before_the_listener_closes() {
    let plan = DrillPlan { ready_url: Some("http://h/ready".parse().unwrap()), ..own() };
    let mut requests = good();
    requests.push(record(ClientKind::New, 1.0, 0.0, RequestOutcome::Refused));
    let result = |changes: &[(f64, ReadyState)]| {
        let facts = Observations { readiness: changes.to_vec(), ..facts(2.5, ExitStatus::Exited(0)) };
        check(&judged(requests.clone(), &facts, &plan), "readiness").result
    };
    let (ready, not) = ((-2.0, ReadyState::Ready), |at| (at, ReadyState::NotReady("503".to_owned())));
    assert_eq!(result(&[ready.clone(), not(0.1)]), CheckResult::Pass);
    assert_eq!(result(&[ready.clone(), not(1.2)]), CheckResult::Fail);
    assert_eq!(result(&[ready.clone(), (1.0, ReadyState::Refused)]), CheckResult::Fail);
    assert_eq!(result(&[ready]), CheckResult::Fail);
    assert_eq!(result(&[not(-2.0)]), CheckResult::Unknown);
}

#[test]
fn statuses_and_kills_are_told_apart() {
    let result = |facts: &Observations, plan: &DrillPlan, name: &str| check(&judged(good(), facts, plan), name).result;
    let by_signal = facts(2.5, ExitStatus::Signaled(Signal::TERM));
    assert_eq!(result(&by_signal, &own(), "exit-status"), CheckResult::Fail);
    let right = DrillPlan { exit_status: BTreeSet::from([0, 143]), ..own() };
    assert_eq!(result(&by_signal, &right, "exit-status"), CheckResult::Pass);
    let expected = DrillPlan { expected: BTreeSet::from([CheckName::ExitStatus]), ..own() };
    assert_eq!(result(&by_signal, &expected, "exit-status"), CheckResult::Expected);
    assert_eq!(judged(good(), &by_signal, &expected).verdict, Verdict::Passed);
    let killed = Observations { killed_s: Some(30.0), ..facts(30.0, ExitStatus::Signaled(Signal::KILL)) };
    assert_eq!(result(&killed, &own(), "exit-in-time"), CheckResult::Fail);
    assert_eq!(result(&killed, &own(), "signal-handled"), CheckResult::Fail);
}

fn judged_supervised(requests: Vec<Record>, facts: &Observations) -> Drill {
    let command = vec!["app".into()];
    let plan = plan(Subject::Own {
        command,
        way: Supervision::Supervised,
        flags: Vec::new(),
        signal: Signal::TERM,
        demo: None,
    });
    judge(drill(requests), facts, &plan, Supervision::Supervised, -2.0)
}

#[test]
fn an_idle_app_that_dies_of_gracefuls_signal_was_stopped_cleanly() {
    let seen = judged_supervised(good(), &supervised(2.5, reported(2.5, 0, 2.5)));
    assert_eq!(seen.verdict, Verdict::Passed, "{:#?}", seen.checks);
    assert!(seen.remarks[0].contains("143, and clean"), "{:?}", seen.remarks);
    // Another signal is not graceful's, and without graceful nobody has looked.
    let other = Observations {
        result: StopResult::AppExited(Exit { at_s: 2.51, status: Some(ExitStatus::Signaled(Signal::HUP)) }),
        ..supervised(2.5, reported(2.5, 0, 2.5))
    };
    assert_eq!(check(&judged_supervised(good(), &other), "exit-status").result, CheckResult::Fail);
}

#[test]
fn a_pass_that_only_the_hold_gave_says_so() {
    let remark = |delay_s| {
        let seen = judged_supervised(good(), &supervised(2.5, reported(2.5, 0, delay_s)));
        seen.remarks.iter().any(|remark| remark.contains("only the hold"))
    };
    assert!(remark(0.0) && remark(1.9) && !remark(2.0));
}

#[test]
fn without_a_whole_report_nothing_is_concluded() {
    let killed = Observations { report: None, ..supervised(2.5, reported(2.5, 0, 2.5)) };
    let broken = supervised(2.5, Report { complete: false, ..reported(2.5, 0, 2.5) });
    for (facts, why) in [(killed, "no report"), (broken, "not complete")] {
        let seen = judged_supervised(good(), &facts);
        assert_eq!((seen.verdict, seen.checks.len()), (Verdict::Inconclusive, 0));
        assert!(seen.inconclusive.as_ref().unwrap().contains(why), "{:?}", seen.inconclusive);
        // That the drill itself had to end graceful is a failure.
        let ended = Observations { killed_s: Some(32.0), ..facts };
        assert_eq!(judged_supervised(good(), &ended).verdict, Verdict::Failed);
    }
}

#[test]
fn helpers_that_end_by_themselves_are_not_left() {
    let left = |found, ended_by_themselves| {
        let mut report = reported(2.5, 0, 2.5);
        (report.leftovers.found, report.leftovers.ended_by_themselves) = (found, ended_by_themselves);
        let seen = judged_supervised(good(), &supervised(2.5, report));
        (check(&seen, "nothing-left").result, seen.remarks.len())
    };
    assert_eq!((left(2, 2), left(2, 1)), ((CheckResult::Pass, 2), (CheckResult::Fail, 1)));
}

/// The cause of one request that was dropped like this.
fn cause_of(record: Record, facts: &Observations, plan: &DrillPlan) -> Cause {
    let way = if facts.supervised { Supervision::Supervised } else { Supervision::Bare };
    let until = (record.sent_s - 0.01).max(0.5);
    let requests = good().into_iter().filter(|other| other.sent_s <= until).chain([record]).collect();
    let seen = judge(drill(requests), facts, plan, way, -2.0);
    assert_eq!((seen.verdict, seen.dropped), (Verdict::Failed, 1), "{:?}", seen.inconclusive);
    seen.findings.iter().find(|finding| finding.dropped == 1).unwrap().cause
}

#[test]
fn each_cause_has_its_evidence() {
    let slow = |until: f64, outcome| record(ClientKind::Slow, -0.5, until + 0.5, outcome);
    let exits = |at, status| facts(at, status);
    let (zero, term, kill) =
        (ExitStatus::Exited(0), ExitStatus::Signaled(Signal::TERM), ExitStatus::Signaled(Signal::KILL));
    let own = own();
    let cut = |until, facts: &Observations| cause_of(slow(until, RequestOutcome::ResetInAnswer), facts, &own);
    let no_handler = Observations { no_handler: true, ..exits(0.01, term) };
    assert_eq!(cut(0.01, &no_handler), Cause::NoHandler);
    // A handler that raises the signal again at once comes to the same; one that takes its time does not.
    assert_eq!(cut(0.01, &exits(0.01, term)), Cause::NoHandler);
    assert_eq!(cut(1.5, &exits(1.5, term)), Cause::CutAtExit);
    assert_eq!(cut(0.1, &exits(0.1, zero)), Cause::ExitsAtOnce);
    assert_eq!(cut(0.4, &exits(0.4, zero)), Cause::CutAtExit);
    assert_eq!(cut(0.1, &exits(2.0, zero)), Cause::CutWhileStopping, "when it was cut counts, not when the app ended");
    let by_drill = Observations { killed_s: Some(30.0), ..exits(30.01, kill) };
    assert_eq!((cut(30.01, &by_drill), cut(1.0, &by_drill)), (Cause::KilledByDrill, Cause::CutWhileStopping));
    assert_eq!(cut(5.0, &exits(5.0, kill)), Cause::KilledFromOutside);
    // Under graceful.
    assert_eq!(cut(2.5, &supervised(2.5, reported(2.5, 1, 2.5))), Cause::NoHandler);
    assert_eq!(cut(2.5, &supervised(2.5, reported(2.5, 0, 2.5))), Cause::HoldMissed);
    let mut early = reported(2.5, 0, 2.5);
    (early.app.ended_before_signal, early.hold) = (true, None);
    assert_eq!(cut(1.0, &Observations { no_handler: false, ..supervised(0.99, early) }), Cause::EndedBeforeSignal);
    let mut killed = reported(1.0, 1, 0.5);
    killed.sigkill = true;
    killed.phases.push(crate::timeline::report::PhaseSpan {
        phase: crate::timeline::Phase::Kill,
        start_s: 29.0,
        duration_s: 0.1,
    });
    assert_eq!(cut(29.05, &supervised(29.0, killed)), Cause::KilledByGraceful);
}

/// Leftovers, hooks and the report take their time after it.
#[test]
fn the_app_was_gone_when_graceful_says_so_and_not_when_graceful_ended() {
    let mut report = reported(0.5, 1, 0.5);
    report.phases.push(crate::timeline::report::PhaseSpan {
        phase: crate::timeline::Phase::Leftovers,
        start_s: 1.0,
        duration_s: 3.0,
    });
    let facts = Observations { no_handler: false, ..supervised(4.0, report) };
    assert_eq!(
        cause_of(record(ClientKind::New, 1.5, 0.01, RequestOutcome::Refused), &facts, &own()),
        Cause::RefusedAfterExit
    );
    assert_eq!(cause_of(record(ClientKind::Slow, -0.5, 1.5, RequestOutcome::Reset), &facts, &own()), Cause::CutAtExit);
}

#[test]
fn a_hold_that_was_over_before_it_began_has_missed_a_request_and_none_has_not() {
    let report = Report { hold: None, ..reported(2.5, 0, 2.5) };
    let cut = || record(ClientKind::Slow, -0.5, 3.0, RequestOutcome::ResetInAnswer);
    // By the report alone: the flag is one of several places to set it.
    for (hold_mode, cause) in [
        (HoldMode::Idle, Cause::HoldMissed),
        (HoldMode::Quiet, Cause::HoldMissed),
        (HoldMode::Url, Cause::HoldMissed),
        (HoldMode::Never, Cause::NoHandler),
    ] {
        let report = Report { hold_mode, ..report.clone() };
        let facts = Observations { no_handler: false, ..supervised(2.5, report) };
        assert_eq!(cause_of(cut(), &facts, &own()), cause, "{hold_mode:?}");
    }
}

/// The listener's backlog is a queue: what came before one that was served has been accepted.
#[test]
fn what_is_not_answered_while_others_are_has_been_accepted() {
    let lives = facts(4.0, ExitStatus::Exited(0));
    let cause = |sent_s| {
        let requests =
            good().into_iter().chain([record(ClientKind::Slow, sent_s, 3.0, RequestOutcome::BlackHole)]).collect();
        let seen = judged(requests, &lives, &own());
        seen.findings.iter().find(|finding| finding.dropped == 1).map(|finding| finding.cause)
    };
    assert_eq!(cause(-0.5), Some(Cause::NotAnswered));
    assert_eq!(cause(2.0), Some(Cause::NeverAccepted), "the last one that was served was sent at the same time");
}

#[test]
fn what_never_reached_the_app_has_its_causes_too() {
    let gone = facts(1.0, ExitStatus::Exited(0));
    let lives = facts(4.0, ExitStatus::Exited(0));
    let new = |outcome| record(ClientKind::New, 1.5, 0.01, outcome);
    let own = own();
    assert_eq!(cause_of(new(RequestOutcome::Refused), &gone, &own), Cause::RefusedAfterExit);
    assert_eq!(cause_of(new(RequestOutcome::Refused), &lives, &own), Cause::StoppedListening);
    assert_eq!(cause_of(new(RequestOutcome::BlackHole), &lives, &own), Cause::NeverAccepted);
    let backlog = Observations { most_unaccepted: 2, ..facts(1.5, ExitStatus::Exited(0)) };
    assert_eq!(cause_of(new(RequestOutcome::Reset), &backlog, &own), Cause::BacklogLost);
    let kept = Record { reused: true, ..record(ClientKind::Idle, 1.5, 0.01, RequestOutcome::Reset) };
    assert_eq!(cause_of(kept.clone(), &lives, &own), Cause::IdleClosed);
    assert_eq!(cause_of(Record { kind: ClientKind::Slow, ..kept }, &lives, &own), Cause::CutWhileStopping);
    let status = |status| Record { status: Some(status), ..new(RequestOutcome::Status) };
    assert_eq!(cause_of(status(502), &lives, &own), Cause::ErrorWhileStopping);
    assert_eq!(cause_of(new(RequestOutcome::Timeout), &lives, &own), Cause::NotAnswered);
    assert_eq!(cause_of(new(RequestOutcome::Broken), &lives, &own), Cause::Other);
    let command = plan(Subject::Command("stop".to_owned()));
    let ended = |took| command_ended(took, 0);
    assert_eq!(cause_of(status(502), &ended(1.5), &command), Cause::RouterNotTold);
    assert_eq!(cause_of(status(500), &ended(1.5), &command), Cause::ErrorWhileStopping);
    assert_eq!(cause_of(new(RequestOutcome::Reset), &ended(1.5), &command), Cause::ProxyReset);
    let slow = |until: f64| record(ClientKind::Slow, 1.0, until - 1.0, RequestOutcome::Reset);
    assert_eq!(cause_of(slow(10.2), &ended(10.3), &command), Cause::KilledByPlatform);
    assert_eq!(cause_of(slow(2.0), &ended(10.3), &command), Cause::CutWhileStopping);
    let rolling = DrillPlan { rolling: true, ..command };
    assert_eq!(cause_of(slow(10.2), &ended(10.3), &rolling), Cause::CutWhileStopping);
}

/// A command that takes as long as its platform waits ends when SIGKILL has been sent, and that is why nobody answers.
#[test]
fn what_follows_the_platforms_sigkill_is_told_after_it_and_its_fix_is_the_platforms_budget() {
    let by_command = |grace: Option<u64>| {
        let late = |at_s, kind, outcome| record(kind, at_s, 0.001, outcome);
        let mut requests: Vec<Record> = good();
        requests.extend((20..100).map(|tenth| late(f64::from(tenth) / 10.0, ClientKind::New, RequestOutcome::Ok)));
        requests.push(record(ClientKind::Slow, 9.0, 1.05, RequestOutcome::Reset));
        requests.push(late(10.06, ClientKind::New, RequestOutcome::Reset));
        requests
            .extend((0..20).map(|nth| late(10.1 + f64::from(nth) / 10.0, ClientKind::New, RequestOutcome::Refused)));
        let load = Drill { lb_lag_s: 12.1, ..drill(requests) };
        let ended = command_ended(10.4, 0);
        let command = plan(Subject::Command("stop".to_owned()));
        let plan = DrillPlan {
            grace_is_given: grace.is_some(),
            grace_period: Duration::from_secs(grace.unwrap_or(30)),
            ..command
        };
        judge(load, &ended, &plan, Supervision::Bare, -2.0)
    };
    for grace in [None, Some(10)] {
        let seen = by_command(grace);
        let causes: Vec<Cause> = seen.findings.iter().map(|finding| finding.cause).collect();
        assert_eq!(causes, [Cause::KilledByPlatform, Cause::RefusedAfterExit, Cause::ProxyReset], "{grace:?}");
        assert_eq!(seen.findings[0].checks, ["zero-dropped", "in-flight", "exit-in-time"]);
        assert_eq!(seen.findings[0].flags, ["--grace-period=10s"]);
        // The lag begins when the stop can be seen: with graceful at its begin, and not when the platform has had
        // enough.
        assert_eq!(seen.findings[1].flags, ["--pre-stop-delay=2100ms", "--probe-listen=:9090"]);
        assert_eq!(check(&seen, "exit-in-time").result, CheckResult::Fail);
        assert!(check(&seen, "in-flight").evidence.starts_with("0 of 1 request "), "{seen:#?}");
    }
    // Where the platform waits for longer, it was not the platform.
    let seen = by_command(Some(20));
    let causes: Vec<Cause> = seen.findings.iter().map(|finding| finding.cause).collect();
    assert_eq!(causes, [Cause::StoppedListening, Cause::CutWhileStopping, Cause::ProxyReset]);
    assert_eq!(check(&seen, "exit-in-time").result, CheckResult::Skipped);
}

/// The platform's clock begins with its signal: a command that is slow to send it has not waited for all of its time.
#[test]
fn a_slow_stop_command_is_no_sigkill() {
    let seen = |sign_s: f64, took_s: f64| {
        let requests = good().into_iter().chain((21..200).map(|tenth| {
            let at_s = f64::from(tenth) / 10.0;
            let outcome = if at_s < took_s { RequestOutcome::Ok } else { RequestOutcome::Refused };
            record(ClientKind::New, at_s, 0.001, outcome)
        }));
        let load = Drill { lb_lag_s: sign_s + 2.0, ..drill(requests.collect()) };
        let ended = command_ended(took_s, 0);
        let seen = judge(load, &ended, &plan(Subject::Command("stop".to_owned())), Supervision::Bare, -2.0);
        (seen.verdict, check(&seen, "exit-in-time").result)
    };
    // Readiness fails five seconds after the command's start, and six later all is over.
    assert_eq!(seen(5.0, 11.0), (Verdict::Passed, CheckResult::Skipped));
    assert_eq!(seen(5.0, 15.2), (Verdict::Failed, CheckResult::Fail));
    // Nothing is seen before the end.
    assert_eq!(seen(10.1, 10.3), (Verdict::Failed, CheckResult::Fail));
    assert_eq!(seen(9.0, 9.3), (Verdict::Failed, CheckResult::Skipped));
    // The signal itself came as late as that.
    assert_eq!(seen(10.1, 13.0), (Verdict::Passed, CheckResult::Skipped));
}

/// docker-proxy takes connections while the container is restarted, and no delay saves those.
#[test]
fn a_restart_of_the_only_instance_is_named() {
    let seen = |others: bool| {
        let mut requests = good();
        for hundredth in 300..600 {
            let outcome = match hundredth {
                400..460 if !others || hundredth % 2 == 0 => RequestOutcome::Reset,
                460..500 if !others || hundredth % 2 == 0 => RequestOutcome::Refused,
                _ => RequestOutcome::Ok,
            };
            let kind = if hundredth % 2 == 0 { ClientKind::New } else { ClientKind::Hot };
            requests.push(record(kind, f64::from(hundredth) / 100.0, 0.001, outcome));
        }
        let load = Drill { lb_lag_s: 6.0, ..drill(requests) };
        let ended = command_ended(5.5, 0);
        let plan = DrillPlan { rolling: true, ..plan(Subject::Command("restart".to_owned())) };
        judge(load, &ended, &plan, Supervision::Bare, -2.0)
    };
    let alone = seen(false);
    let causes: Vec<(Cause, usize)> = alone.findings.iter().map(|finding| (finding.cause, finding.dropped)).collect();
    assert_eq!(causes, [(Cause::ProxyReset, 60), (Cause::StoppedListening, 40)]);
    assert!(alone.findings[0].fix.contains("another instance serve meanwhile"), "{:?}", alone.findings);
    assert!(alone.findings.iter().all(|finding| finding.flags.is_empty()), "{:?}", alone.findings);
    // Another instance beside it; routers take turns, and those of one kind may all have come to the one that was
    // stopped.
    let beside = seen(true);
    assert!(beside.dropped >= 50, "{:?}", beside.findings);
    assert!(beside.findings.iter().any(|finding| !finding.flags.is_empty()), "{:?}", beside.findings);
}

/// Each instance of a rolling restart has a stop of its own.
#[test]
fn the_delay_for_a_rolling_restart_is_not_as_long_as_the_command() {
    let requests = good().into_iter().chain([record(ClientKind::New, 7.0, 0.001, RequestOutcome::Refused)]).collect();
    let load = Drill { lb_lag_s: 9.0, ..drill(requests) };
    let ended = command_ended(8.0, 0);
    let rolling = DrillPlan { rolling: true, ..plan(Subject::Command("restart".to_owned())) };
    let seen = judge(load, &ended, &rolling, Supervision::Bare, -2.0);
    assert_eq!(seen.findings[0].flags, ["--pre-stop-delay=2100ms", "--probe-listen=:9090"]);
}

#[test]
fn a_delay_is_advised_for_what_it_saves_and_never_one_that_is_set() {
    let advised = |requests: Vec<Record>, facts: &Observations| {
        let seen = judged_supervised(requests, facts);
        seen.findings.iter().flat_map(|finding| finding.flags.clone()).collect::<Vec<_>>()
    };
    let with = |lost: Record| good().into_iter().chain([lost]).collect::<Vec<_>>();
    let refused = record(ClientKind::New, 0.7, 0.0, RequestOutcome::Refused);
    let facts = |delay_s| Observations { no_handler: false, ..supervised(1.0, reported(1.0, 1, delay_s)) };
    assert!(advised(with(refused.clone()), &facts(1.0)).contains(&"--pre-stop-delay=2100ms".to_owned()), "not 800ms");
    assert!(advised(with(refused.clone()), &facts(2.0)).contains(&"--pre-stop-delay=2100ms".to_owned()), "as long");
    assert!(!advised(with(refused.clone()), &facts(2.1)).iter().any(|flag| flag.contains("delay")), "longer");
    assert!(!advised(with(refused), &facts(5.0)).iter().any(|flag| flag.contains("delay")), "it is set");
    let cut = record(ClientKind::Slow, -0.5, 1.5, RequestOutcome::ResetInAnswer);
    let facts = supervised(1.0, reported(1.0, 1, 0.0));
    assert_eq!(advised(with(cut.clone()), &facts), [""; 0], "it is held");
    let report = Report { hold_mode: HoldMode::Never, ..reported(1.0, 1, 0.0) };
    let never = judged_supervised(with(cut), &supervised(1.0, report));
    assert_eq!(never.findings[0].flags, ["--hold=idle"]);
}

/// Each is advised by what the same clients saw of such requests.
#[test]
fn a_longer_time_is_advised_where_that_is_enough() {
    let advised = |requests: Vec<Record>, facts: &Observations| {
        let seen = judged_supervised(good().into_iter().chain(requests).collect(), facts);
        seen.findings.iter().flat_map(|finding| finding.flags.clone()).collect::<Vec<_>>()
    };
    let mut report = reported(2.5, 1, 2.5);
    report.sigkill = true;
    report.phases.push(crate::timeline::report::PhaseSpan {
        phase: crate::timeline::Phase::Kill,
        start_s: 4.0,
        duration_s: 0.1,
    });
    let killed = Observations { no_handler: false, ..supervised(4.0, report) };
    let cut = record(ClientKind::Slow, 1.0, 3.0, RequestOutcome::Reset);
    let answered = |took_s| record(ClientKind::Slow, -6.0, took_s, RequestOutcome::Ok);
    let budget =
        |requests, facts: &Observations| advised(requests, facts).into_iter().find(|flag| flag.contains("grace"));
    // From 1 s on for 5 s, with a second to end in and the margin.
    assert_eq!(budget(vec![answered(5.0), cut.clone()], &killed).as_deref(), Some("--grace-period=8s"));
    assert_eq!(budget(vec![answered(2.9), cut.clone()], &killed), None, "it hangs");
    assert_eq!(budget(vec![cut.clone()], &killed), None, "nobody knows how long it takes");
    assert_eq!(budget(vec![answered(5.0), cut], &Observations { ignores: true, ..killed }), None);
    let missed = supervised(2.5, reported(2.5, 0, 2.5));
    let cut = record(ClientKind::Slow, -0.5, 3.0, RequestOutcome::Truncated);
    let window = |took_s| {
        let flags = advised(vec![answered(took_s), cut.clone()], &missed);
        flags.into_iter().find(|flag| flag.contains("window"))
    };
    assert_eq!(window(3.4).as_deref(), Some("--quiet-window=4s"));
    assert_eq!(window(2.0), None, "it has that by itself");
    assert_eq!(window(2.1).as_deref(), Some("--quiet-window=3s"));
}

#[test]
fn a_stop_command_is_judged_by_its_target() {
    let plan = plan(Subject::Command("stop".to_owned()));
    let ends = |took| command_ended(took, 0);
    let seen = judged(good(), &ends(0.5), &plan);
    assert!(
        seen.inconclusive.as_ref().is_some_and(|why| why.contains("nothing was stopped")),
        "{:?}",
        seen.inconclusive
    );
    let rolling = DrillPlan { rolling: true, ..plan.clone() };
    assert_eq!(judged(good(), &ends(0.5), &rolling).verdict, Verdict::Passed);
    let result = |took, plan: &DrillPlan| {
        let seen = judged(good(), &ends(took), plan);
        check(&seen, "exit-in-time").result
    };
    assert_eq!((result(2.5, &plan), result(10.2, &plan)), (CheckResult::Skipped, CheckResult::Fail));
    assert_eq!(result(10.2, &DrillPlan { grace_is_given: true, ..plan.clone() }), CheckResult::Skipped);
    assert_eq!(result(10.2, &rolling), CheckResult::Skipped, "a rolling restart stops several, one after the other");
    // What was under way when the stop could first be seen, and not when the command began.
    let requests = good().into_iter().filter(|record| record.sent_s <= 1.6);
    let requests = requests.chain([record(ClientKind::Slow, 1.0, 1.0, RequestOutcome::Reset)]).collect();
    let late = Drill { lb_lag_s: 3.5, ..drill(requests) };
    let seen = judge(late, &ends(1.6), &plan, Supervision::Bare, -2.0);
    assert_eq!(check(&seen, "in-flight").result, CheckResult::Fail, "{:#?}", seen.checks);
    let broken_off = Observations { killed_s: Some(30.0), ..ends(30.0) };
    let seen = judged(good(), &broken_off, &plan);
    assert_eq!(seen.findings[0].cause, Cause::CommandBrokenOff);
}

fn any_record() -> impl Strategy<Value = Record> {
    let kinds = proptest::sample::select(&ClientKind::ALL[..]);
    let outcomes = proptest::sample::select(&RequestOutcome::ALL[..]);
    (kinds, outcomes, -3.0..5.0, 0.0..9.0, any::<bool>()).prop_map(|(kind, outcome, at, took, reused)| Record {
        reused,
        status: (outcome == RequestOutcome::Status).then_some(500),
        ..record(kind, at, took, outcome)
    })
}

proptest! {
    /// Whatever was seen, there is a verdict that its checks explain, and each failure has a cause and a fix.
    #[test]
    fn every_drill_has_a_verdict(
        requests in proptest::collection::vec(any_record(), 0..60),
        exit in proptest::option::of((-1.0..40.0, 0u8..=255)),
        flags in proptest::collection::vec(any::<bool>(), 5),
        unaccepted in 0usize..3,
    ) {
        let exit = exit.map(|(at_s, code)| Exit { at_s, status: flags[0].then_some(ExitStatus::Exited(code)) });
        let facts = Observations {
            result: exit.map_or(StopResult::Nothing, StopResult::AppExited),
            no_handler: flags[1],
            ignores: flags[2],
            killed_s: flags[3].then_some(30.0),
            accepts_after: Some(flags[4]),
            most_unaccepted: unaccepted,
            ..Observations::default()
        };
        for plan in [own(), plan(Subject::Nothing), plan(Subject::Command("stop".to_owned()))] {
            let seen = judged(requests.clone(), &facts, &plan);
            let failed = seen.checks.iter().any(|check| check.result == CheckResult::Fail);
            prop_assert_eq!(seen.verdict == Verdict::Failed, failed);
            prop_assert_eq!(seen.verdict == Verdict::Inconclusive, seen.inconclusive.is_some() && !failed);
            prop_assert_eq!(seen.counts.values().sum::<usize>(), seen.requests.len());
            prop_assert!(seen.dropped <= seen.requests.len());
            // Each dropped request is in the count of one cause, and each cause has its checks.
            if !matches!(plan.subject, Subject::Nothing) && seen.inconclusive.is_none() {
                prop_assert_eq!(seen.findings.iter().map(|finding| finding.dropped).sum::<usize>(), seen.dropped);
            }
            for finding in &seen.findings {
                let fails = |name: &CheckName| seen.checks.iter().any(|c| c.name == *name && c.result == CheckResult::Fail);
                prop_assert!(!finding.checks.is_empty() && finding.checks.iter().all(fails), "{:?}", finding);
            }
            for check in &seen.checks {
                let findings = seen.findings.iter().filter(|finding| finding.checks.contains(&check.name));
                let found: BTreeSet<Cause> = findings.map(|finding| finding.cause).collect();
                prop_assert_eq!(check.result == CheckResult::Fail, !found.is_empty(), "{:?}", check);
                prop_assert_eq!(check.causes.iter().copied().collect::<BTreeSet<_>>(), found, "{:?}", check);
            }
        }
    }
}

//! Where one cause ends and its neighbour begins: rows of what was seen, and the cause of the one request that was
//! dropped.

use super::*;
use crate::counts::Counts;
use crate::drill::facts::Observations;
use crate::drill::plan::DrillPlan;
use crate::drill::testing::*;
use crate::signal::Signal;
use crate::timeline::report::{InFlightAt, KilledFromOutside};
use RequestOutcome::{BlackHole, Refused, Reset, ResetInAnswer, Status, Truncated};

/// A request of this kind, sent and over at these times.
fn sent(kind: ClientKind, sent_s: f64, ended_s: f64, outcome: RequestOutcome) -> Record {
    Record { ended_s, ..record(kind, sent_s, 0.0, outcome) }
}

fn slow(ended_s: f64) -> Record {
    sent(ClientKind::Slow, -0.5, ended_s, ResetInAnswer)
}

fn new(sent_s: f64, ended_s: f64) -> Record {
    sent(ClientKind::New, sent_s, ended_s, Reset)
}

fn kept(kind: ClientKind, outcome: RequestOutcome) -> Record {
    Record { reused: true, ..sent(kind, 0.5, 0.55, outcome) }
}

/// The cause of this request, where good ones are sent until this time.
#[track_caller]
fn cause_until(served_until_s: f64, record: Record, facts: &Observations, plan: &DrillPlan) -> Cause {
    let drill = judged([good_until(served_until_s), vec![record]].concat(), facts, plan);
    let [finding] = drill.findings.iter().filter(|finding| finding.dropped > 0).collect::<Vec<_>>()[..] else {
        panic!("{:?}, {:?}", drill.findings, drill.inconclusive)
    };
    finding.cause
}

#[track_caller]
fn cause(record: Record, facts: &Observations, plan: &DrillPlan) -> Cause {
    cause_until(-0.1, record, facts, plan)
}

const ZERO: ExitStatus = ExitStatus::Exited(0);
const TERM: ExitStatus = ExitStatus::Signaled(Signal::TERM);
const KILL: ExitStatus = ExitStatus::Signaled(Signal::KILL);

#[test]
fn the_end_takes_what_is_cut_off_within_a_tenth_of_a_second_of_it() {
    let own = own();
    for (ended_s, exit_s, status, expected) in [
        (0.9, 1.0, ZERO, Cause::CutAtExit),
        (0.89, 1.0, ZERO, Cause::CutWhileStopping),
        (5.0, 1.0, ZERO, Cause::CutAtExit),
        // Nothing was waited for.
        (0.29, 0.29, ZERO, Cause::ExitsAtOnce),
        (0.3, 0.3, ZERO, Cause::CutAtExit),
        (0.05, 0.2, ZERO, Cause::CutWhileStopping),
        (0.29, 0.29, TERM, Cause::NoHandler),
        (0.3, 0.3, TERM, Cause::CutAtExit),
        (0.29, 0.29, ExitStatus::Signaled(Signal::HUP), Cause::ExitsAtOnce),
        (4.95, 5.0, KILL, Cause::KilledFromOutside),
        (1.0, 5.0, KILL, Cause::CutWhileStopping),
    ] {
        assert_eq!(cause(slow(ended_s), &facts(exit_s, status), &own), expected, "{ended_s}, {exit_s}, {status}");
    }
    let no_handler = Observations { no_handler: true, ..facts(1.0, ZERO) };
    assert_eq!(cause(slow(1.0), &no_handler, &own), Cause::NoHandler);
    assert_eq!(cause(slow(0.5), &no_handler, &own), Cause::CutWhileStopping);
    assert_eq!(cause(slow(0.5), &Observations::default(), &own), Cause::CutWhileStopping);
}

#[test]
fn a_kill_takes_what_is_cut_off_from_a_tenth_of_a_second_before_it_on() {
    let by_drill = Observations { killed_s: Some(5.0), ..facts(5.2, KILL) };
    let by_graceful = exited(5.2, KILL, supervised(4.0, killed_at(5.0, reported(2.5, 1, 2.5))));
    for (ended_s, drill, graceful) in [
        (4.9, Cause::KilledByDrill, Cause::KilledByGraceful),
        (4.8, Cause::CutWhileStopping, Cause::CutWhileStopping),
        (5.2, Cause::KilledByDrill, Cause::KilledByGraceful),
    ] {
        assert_eq!(cause(slow(ended_s), &by_drill, &own()), drill, "{ended_s}");
        assert_eq!(cause(slow(ended_s), &by_graceful, &own()), graceful, "{ended_s}");
    }
    let mut report = reported(2.5, 1, 2.5);
    report.killed_from_outside = Some(KilledFromOutside { oom_kills: None });
    let outside = exited(3.0, ZERO, supervised(2.5, report));
    assert_eq!(cause(slow(3.0), &outside, &own()), Cause::KilledFromOutside);
    assert_eq!(cause(slow(2.7), &outside, &own()), Cause::CutWhileStopping);
}

#[test]
fn under_graceful_times_count_from_the_apps_own_signal() {
    let told =
        |exit_s| Observations { no_handler: false, ..exited(exit_s, ZERO, supervised(2.5, reported(2.5, 1, 2.5))) };
    assert_eq!(cause(slow(2.7), &told(2.7), &own()), Cause::ExitsAtOnce);
    assert_eq!(cause(slow(2.9), &told(2.9), &own()), Cause::CutAtExit);
    let mut early = reported(2.5, 1, 2.5);
    early.app.ended_before_signal = true;
    let early = Observations { no_handler: false, ..exited(1.0, ZERO, supervised(1.0, early)) };
    assert_eq!(cause(slow(1.0), &early, &own()), Cause::EndedBeforeSignal);
    assert_eq!(cause(slow(0.5), &early, &own()), Cause::CutWhileStopping);
}

#[test]
fn the_hold_missed_what_was_sent_before_the_signal_and_cut_off_by_it() {
    let seen = |looks: &[(Looked, Counts)], hold_timed_out| {
        let mut report = reported(2.5, 0, 2.5);
        report.in_flight =
            looks.iter().map(|(moment, counts)| InFlightAt { moment: *moment, at_s: 2.5, counts: *counts }).collect();
        report.hold_timed_out = hold_timed_out;
        Observations { no_handler: false, ..exited(2.9, ZERO, supervised(2.5, report)) }
    };
    let idle = Counts { idle: 3, ..Counts::default() };
    let nothing = seen(&[(Looked::Signal, idle)], false);
    let request = |sent_s, ended_s| sent(ClientKind::Slow, sent_s, ended_s, Truncated);
    for (request, facts, expected) in [
        (request(2.4, 2.6), &nothing, Cause::HoldMissed),
        (request(2.5, 2.6), &nothing, Cause::CutWhileStopping),
        (request(2.6, 2.7), &nothing, Cause::CutWhileStopping),
        (request(1.9, 2.4), &nothing, Cause::HoldMissed),
        (request(1.9, 2.39), &nothing, Cause::CutWhileStopping),
        (request(1.9, 2.6), &seen(&[(Looked::Signal, idle)], true), Cause::CutWhileStopping),
        (request(1.9, 2.6), &seen(&[(Looked::Stop, idle)], false), Cause::CutWhileStopping),
        (
            request(1.9, 2.6),
            &seen(&[(Looked::Signal, Counts { unknown: 1, ..idle }), (Looked::Exit, idle)], false),
            Cause::CutWhileStopping,
        ),
        (
            request(1.9, 2.6),
            &seen(&[(Looked::Signal, Counts { unaccepted: 1, ..idle })], false),
            Cause::CutWhileStopping,
        ),
        // The last look before the signal counts.
        (
            request(1.9, 2.6),
            &seen(&[(Looked::Signal, idle), (Looked::Signal, Counts { busy: 1, ..idle })], false),
            Cause::CutWhileStopping,
        ),
    ] {
        let plan = DrillPlan { lb_lag: std::time::Duration::from_secs(3), ..own() };
        let until = good_until(1.5);
        let drill = judged_for(3.0, [until, vec![request.clone()]].concat(), facts, &plan);
        assert_eq!(drill.findings[0].cause, expected, "{request:?} {facts:?}");
    }
}

#[test]
fn the_backlog_has_what_is_new_and_was_sent_late_or_waited() {
    let waits = |at: Looked| {
        let mut report = reported(2.5, 1, 2.5);
        report.in_flight.push(InFlightAt {
            moment: at,
            at_s: 2.6,
            counts: Counts { unaccepted: 1, ..Counts::default() },
        });
        Observations { no_handler: false, ..exited(4.0, ZERO, supervised(2.5, report)) }
    };
    let own = own();
    let one = Observations { most_unaccepted: 1, ..facts(4.0, ZERO) };
    for (request, facts, expected) in [
        (new(0.5, 0.55), &one, Cause::BacklogLost),
        (new(0.5, 0.55), &facts(4.0, ZERO), Cause::CutWhileStopping),
        // Taken before the signal, at the latest; or not, as it got no answer.
        (new(-0.3, 0.0), &one, Cause::CutWhileStopping),
        (new(-0.29, 0.0), &one, Cause::BacklogLost),
        (new(-0.5, 0.0), &one, Cause::BacklogLost),
        (sent(ClientKind::Slow, -0.5, 0.0, Reset), &one, Cause::CutWhileStopping),
        (sent(ClientKind::Slow, 0.1, 0.2, Reset), &one, Cause::BacklogLost),
        (sent(ClientKind::Stream, 0.1, 0.2, Reset), &one, Cause::CutWhileStopping),
        (sent(ClientKind::New, 0.1, 0.2, Truncated), &one, Cause::CutWhileStopping),
        (kept(ClientKind::Hot, Reset), &one, Cause::IdleClosed),
        // Under graceful from its own signal on, by the last look.
        (new(1.9, 1.95), &waits(Looked::Exit), Cause::CutWhileStopping),
        (new(1.9, 2.3), &waits(Looked::Kill), Cause::BacklogLost),
        (new(1.9, 2.3), &waits(Looked::Stop), Cause::CutWhileStopping),
    ] {
        assert_eq!(cause(request.clone(), facts, &own), expected, "{request:?}");
    }
    let late = judged_for(3.0, [good_until(2.0), vec![new(2.3, 2.35)]].concat(), &waits(Looked::Exit), &own);
    assert_eq!(late.findings[0].cause, Cause::BacklogLost);
}

#[test]
fn an_idle_connection_is_kept_and_closed_while_the_app_goes_on() {
    let (own, lives) = (own(), facts(4.0, ZERO));
    for (request, facts, expected) in [
        (kept(ClientKind::Hot, Reset), &lives, Cause::IdleClosed),
        (kept(ClientKind::Idle, Reset), &lives, Cause::IdleClosed),
        (kept(ClientKind::Slow, Reset), &lives, Cause::CutWhileStopping),
        (kept(ClientKind::Hot, Truncated), &lives, Cause::CutWhileStopping),
        (Record { reused: false, ..kept(ClientKind::Idle, Reset) }, &lives, Cause::CutWhileStopping),
        (kept(ClientKind::Hot, Reset), &facts(0.55, ZERO), Cause::CutAtExit),
    ] {
        assert_eq!(cause(request.clone(), facts, &own), expected, "{request:?}");
    }
}

#[test]
fn what_is_refused_and_what_is_not_answered() {
    let refused = |ended_s| sent(ClientKind::New, 0.5, ended_s, Refused);
    let status = |status| Record { status: Some(status), ..sent(ClientKind::New, 0.5, 0.6, Status) };
    for (request, facts, plan, expected) in [
        (refused(0.9), facts(1.0, ZERO), own(), Cause::RefusedAfterExit),
        (refused(0.8), facts(1.0, ZERO), own(), Cause::StoppedListening),
        (refused(0.9), command_ended(1.0, 0), by_command(), Cause::StoppedListening),
        (status(502), facts(1.0, ZERO), own(), Cause::ErrorWhileStopping),
        (status(501), command_ended(1.0, 0), by_command(), Cause::ErrorWhileStopping),
        (status(502), command_ended(1.0, 0), by_command(), Cause::RouterNotTold),
        (status(504), command_ended(1.0, 0), by_command(), Cause::RouterNotTold),
        (status(505), command_ended(1.0, 0), by_command(), Cause::ErrorWhileStopping),
    ] {
        assert_eq!(cause(request.clone(), &facts, &plan), expected, "{request:?}");
    }
    let hole = |sent_s| sent(ClientKind::New, sent_s, 3.0, BlackHole);
    for (sent_s, expected) in [(0.9, Cause::NotAnswered), (1.0, Cause::NeverAccepted), (1.1, Cause::NeverAccepted)] {
        assert_eq!(cause_until(1.0, hole(sent_s), &facts(4.0, ZERO), &own()), expected, "{sent_s}");
    }
}

#[test]
fn of_a_commands_target_only_its_clients_tell() {
    let (plan, quick) = (by_command(), command_ended(0.4, 0));
    for (served_until_s, request, expected) in [
        (0.4, new(0.5, 0.55), Cause::ProxyReset),
        (0.5, new(0.5, 0.55), Cause::CutWhileStopping),
        (0.6, new(0.5, 0.55), Cause::CutWhileStopping),
        (0.0, new(0.1, 0.2), Cause::CutWhileStopping),
        (0.0, new(0.1, 0.19), Cause::ProxyReset),
        (-0.1, new(0.0, 0.05), Cause::CutWhileStopping),
        (-0.1, new(-0.05, 0.01), Cause::CutWhileStopping),
        (0.4, Record { reused: true, ..new(0.5, 0.55) }, Cause::CutWhileStopping),
        (0.4, sent(ClientKind::Hot, 0.5, 0.55, Reset), Cause::ProxyReset),
        (0.4, sent(ClientKind::New, 0.5, 0.55, Truncated), Cause::CutWhileStopping),
    ] {
        assert_eq!(cause_until(served_until_s, request.clone(), &quick, &plan), expected, "{request:?}");
    }
    // What is restarted serves again: if soon, no proxy reset the connection.
    let rolling = DrillPlan { rolling: true, ..by_command() };
    for (again_s, expected) in [(0.19, Cause::CutWhileStopping), (0.2, Cause::ProxyReset), (0.7, Cause::ProxyReset)] {
        let again = sent(ClientKind::Hot, again_s, again_s + 0.01, RequestOutcome::Ok);
        let seen = judged([good_until(0.0), vec![new(0.1, 0.15), again]].concat(), &quick, &rolling);
        assert_eq!(seen.findings[0].cause, expected, "{again_s}");
    }
    // One that is served on another connection, or not served, says nothing of new connections.
    let others = [
        sent(ClientKind::Hot, 0.8, 0.81, RequestOutcome::Ok),
        sent(ClientKind::New, 1.8, 1.81, Refused),
        new(0.5, 0.55),
    ];
    let seen = judged([good_until(0.4), others.to_vec()].concat(), &command_ended(1.0, 0), &plan);
    let causes: Vec<Cause> = seen.findings.iter().map(|finding| finding.cause).collect();
    assert_eq!(causes, [Cause::StoppedListening, Cause::ProxyReset]);
    for (took_s, ended_s, expected) in [
        (10.0, 9.91, Cause::KilledByPlatform),
        (10.0, 9.9, Cause::CutWhileStopping),
        (9.9, 9.9, Cause::CutWhileStopping),
        (12.0, 12.0, Cause::KilledByPlatform),
        // It clears away for two seconds at most.
        (12.5, 10.51, Cause::KilledByPlatform),
        (12.5, 10.5, Cause::CutWhileStopping),
    ] {
        assert_eq!(cause(slow(ended_s), &command_ended(took_s, 0), &plan), expected, "{took_s} {ended_s}");
    }
}

#[test]
fn what_stopped_listening_refuses_for_one_reason_to_the_end() {
    let causes = |closed_s: f64| {
        let lost =
            [sent(ClientKind::New, closed_s, closed_s + 0.01, Refused), sent(ClientKind::New, 1.5, 1.51, Refused)];
        let seen = judged([good_until(0.0), lost.to_vec()].concat(), &facts(1.0, ZERO), &own());
        seen.findings.iter().map(|one| (one.cause, one.dropped)).collect::<Vec<_>>()
    };
    assert_eq!(causes(0.2), [(Cause::StoppedListening, 2)]);
    assert_eq!(causes(1.2), [(Cause::RefusedAfterExit, 2)]);
    // It closed its listener when it exited, give or take what cannot be measured.
    let mut both = causes(1.0 - 1.5 * TOGETHER_S);
    both.sort();
    assert_eq!(both, [(Cause::RefusedAfterExit, 1), (Cause::StoppedListening, 1)]);
}

#[test]
fn the_largest_group_comes_first() {
    let facts = facts(1.0, ZERO);
    let lost = [sent(ClientKind::New, 0.1, 0.2, Refused), slow(0.5), slow(0.3)];
    let seen = judged([good_until(0.0), lost.to_vec()].concat(), &facts, &own());
    let groups: Vec<_> = seen.findings.iter().map(|one| (one.cause, one.dropped, one.at_s)).collect();
    assert_eq!(groups, [(Cause::CutWhileStopping, 2, Some(0.3)), (Cause::StoppedListening, 1, Some(0.2))]);
}

/// Ten in a row at least, for a tenth of a second, of those that come at the rate.
#[test]
fn an_outage_is_a_row_of_lost_requests() {
    let rolling = DrillPlan { rolling: true, ..by_command() };
    let lost = |count: u32, apart_s: f64| {
        let at = |nth: u32| 0.5 + f64::from(nth) * apart_s;
        let row = (0..count).map(|nth| sent(ClientKind::New, at(nth), at(nth) + 0.01, Refused)).collect::<Vec<_>>();
        // Some that were sent long before are answered meanwhile.
        [row, vec![sent(ClientKind::Slow, 0.61, 1.5, RequestOutcome::Ok)]].concat()
    };
    let advises_another = |lost: Vec<Record>, plan: &DrillPlan| {
        let again = sent(ClientKind::New, 1.9, 1.91, RequestOutcome::Ok);
        let seen = judged([good_until(0.4), lost, vec![again]].concat(), &command_ended(2.0, 0), plan);
        seen.findings[0].fix.contains("another instance")
    };
    for (count, apart_s, expected) in [(10, 0.1, true), (9, 0.1, false), (10, 0.015625, true), (10, 0.0078125, false)] {
        assert_eq!(advises_another(lost(count, apart_s), &rolling), expected, "{count} {apart_s}");
    }
    assert!(!advises_another(lost(10, 0.1), &by_command()), "what is not restarted has no outage");
}

//! What each cause says and advises, word by word. What was seen is here; what is said about it is in
//! `advice_tests.txt`, each story below its name.

use super::*;
use crate::counts::Counts;
use crate::drill::evidence::Drill;
use crate::drill::facts::{Observations, ReadyState, StopResult};
use crate::drill::plan::DrillPlan;
use crate::drill::testing::*;
use crate::timeline::HoldMode;
use crate::timeline::report::{AnswerWentOn, Report};
use RequestOutcome::{BlackHole, Broken, Refused, Reset, ResetInAnswer, Truncated};

const TOLD: &str = include_str!("advice_tests.txt");

/// Each finding: cause, dropped requests, when, what happened; the fix; its flags; the checks.
fn told(drill: &Drill) -> String {
    let of = |finding: &crate::drill::evidence::Finding| {
        let cause = serde_json::to_value(finding.cause).unwrap();
        let at = finding.at_s.map(|at_s| format!(", {}", relative(at_s))).unwrap_or_default();
        let flags = if finding.flags.is_empty() { String::new() } else { format!("\n  {}", finding.flags.join(" ")) };
        format!(
            "{} ({}{at}): {}\n  fix: {}{flags}\n  {}\n",
            cause.as_str().unwrap(),
            finding.dropped,
            finding.words,
            finding.fix,
            finding.checks.iter().map(|check| check.name()).collect::<Vec<_>>().join(", ")
        )
    };
    drill.findings.iter().map(of).collect()
}

/// A slow request that was sent half a second before the stop, and was over at this time.
fn slow(until_s: f64, outcome: RequestOutcome) -> Record {
    record(ClientKind::Slow, -0.5, until_s + 0.5, outcome)
}

/// A request on a new connection, sent at this time and over at once.
fn new(at_s: f64, outcome: RequestOutcome) -> Record {
    record(ClientKind::New, at_s, 0.01, outcome)
}

fn answered(at_s: f64, status: u16) -> Record {
    Record { status: Some(status), ..new(at_s, RequestOutcome::Status) }
}

/// A request that was answered before the stop, after this many seconds.
fn took(took_s: f64) -> Record {
    record(ClientKind::Slow, -6.0, took_s, RequestOutcome::Ok)
}

/// Good requests until the stop, and these.
fn of(lost: &[Record], facts: Observations, plan: DrillPlan) -> Drill {
    judged([good_until(0.0), lost.to_vec()].concat(), &facts, &plan)
}

/// Good requests to the end, and these.
fn beside(lost: &[Record], facts: Observations, plan: DrillPlan) -> Drill {
    judged([good(), lost.to_vec()].concat(), &facts, &plan)
}

fn stories() -> Vec<(&'static str, Drill)> {
    let (zero, term, kill) =
        (ExitStatus::Exited(0), ExitStatus::Signaled(Signal::TERM), ExitStatus::Signaled(Signal::KILL));
    let flask = || own_of(&["flask", "run"], &[]);
    let no_handler = |facts| Observations { no_handler: true, ..facts };
    let exits = |at_s, status, facts| Observations { no_handler: false, ..exited(at_s, status, facts) };
    let unheld = |facts: Observations| {
        let report = facts.report.map(|report| Report { hold_mode: HoldMode::Never, ..report });
        Observations { report, ..facts }
    };
    let idle = Counts { idle: 1, ..Counts::default() };
    let busy = Counts { busy: 2, ..Counts::default() };
    let kept = Record { reused: true, ..record(ClientKind::Idle, 1.5, 0.01, Reset) };
    let ready = |changes: &[(f64, ReadyState)], facts| Observations { readiness: changes.to_vec(), ..facts };
    let says_ready = (-2.0, ReadyState::Ready);
    let ready_url = || Some("http://h/ready".parse().unwrap());
    let never = || own_of(&["app"], &["--fail-readiness=never"]);
    let went_on = |pause_s, quiet_window_s| Report {
        answer_went_on: Some(AnswerWentOn { pause_s, quiet_window_s }),
        ..reported(2.5, 0, 2.5)
    };
    let early = || {
        let mut report = reported(2.5, 0, 2.5);
        (report.app.ended_before_signal, report.hold) = (true, None);
        report
    };
    vec![
        ("no handler", of(&[slow(0.01, ResetInAnswer)], no_handler(facts(0.01, term)), own())),
        ("no handler, by pid", of(&[slow(0.01, Reset)], no_handler(facts(0.01, term)), by_pid())),
        ("no handler, and nothing dropped", beside(&[], no_handler(facts(2.5, term)), own())),
        (
            "no handler, under graceful without a hold",
            of(&[slow(2.5, Truncated)], unheld(supervised(2.5, reported(2.5, 1, 2.5))), own()),
        ),
        ("no handler, under graceful", of(&[slow(2.5, Truncated)], supervised(2.5, reported(2.5, 1, 2.5)), own())),
        (
            "no handler, by the pid of a graceful",
            of(
                &[slow(0.01, Reset), new(0.5, Refused)],
                Observations { under_graceful: true, ..no_handler(facts(0.01, term)) },
                by_pid(),
            ),
        ),
        (
            "cut at exit, by the pid of a graceful",
            of(&[slow(1.5, Reset)], Observations { under_graceful: true, ..facts(1.5, zero) }, by_pid()),
        ),
        ("exits at once", of(&[slow(0.1, ResetInAnswer), slow(0.1, Reset)], facts(0.1, zero), own())),
        ("exits at once, and is known for it", of(&[slow(0.1, Reset)], facts(0.1, zero), flask())),
        (
            "exits at once, under graceful",
            of(&[slow(2.6, Reset)], exits(2.6, zero, supervised(2.5, reported(2.5, 1, 2.5))), own()),
        ),
        (
            "exits at once, under graceful without a hold",
            of(&[slow(2.6, Reset)], exits(2.6, zero, unheld(supervised(2.5, reported(2.5, 0, 2.5)))), own()),
        ),
        ("cut at exit", of(&[slow(1.5, Reset)], facts(1.5, zero), own())),
        ("cut while stopping", of(&[slow(0.1, Reset)], facts(2.0, zero), own())),
        ("cut while a command stops it", of(&[slow(0.1, Reset)], command_ended(2.0, 0), by_command())),
        ("ended before its signal", of(&[slow(1.0, Reset)], exits(1.0, term, supervised(0.99, early())), own())),
        ("the hold missed it", of(&[slow(2.5, Reset)], supervised(2.5, reported(2.5, 0, 2.5)), own())),
        (
            "the hold missed one of the long ones",
            of(&[took(3.4), slow(2.5, Truncated)], supervised(2.5, reported(2.5, 0, 2.5)), own()),
        ),
        (
            "the hold missed an answer that went on",
            of(&[took(3.4), slow(2.5, Truncated)], supervised(2.5, went_on(2.2, 2.8)), own()),
        ),
        (
            "killed by the drill",
            beside(
                &[slow(30.0, Reset)],
                Observations { killed_s: Some(30.0), looks_at_exit: Some(busy), ..facts(30.01, kill) },
                own(),
            ),
        ),
        (
            "killed by the drill, and is known for it",
            beside(
                &[],
                Observations { killed_s: Some(30.0), looks_at_exit: Some(idle), ..facts(30.01, kill) },
                flask(),
            ),
        ),
        (
            "killed by the drill, as it ignores the signal",
            beside(&[], Observations { killed_s: Some(30.0), ignores: true, ..facts(30.01, kill) }, own()),
        ),
        (
            "killed by graceful",
            beside(
                &[record(ClientKind::Slow, 1.0, 3.0, Reset)],
                exits(4.01, kill, supervised(4.0, killed_at(4.0, reported(2.5, 1, 2.5)))),
                own(),
            ),
        ),
        (
            "killed by graceful, with more time to come",
            beside(
                &[took(5.0), record(ClientKind::Slow, 1.0, 3.0, Reset)],
                exits(4.01, kill, supervised(4.0, killed_at(4.0, reported(2.5, 1, 2.5)))),
                own(),
            ),
        ),
        ("killed by the platform", beside(&[slow(10.1, Reset)], command_ended(10.2, 0), by_command())),
        ("killed from outside", of(&[slow(1.0, Reset)], facts(1.0, kill), own())),
        ("still there", beside(&[], Observations { accepts_after: Some(true), ..Observations::default() }, own())),
        (
            "lost in the backlog",
            of(&[new(1.0, Reset)], Observations { most_unaccepted: 1, ..facts(1.01, zero) }, own()),
        ),
        (
            "two lost in the backlog",
            of(&[new(1.0, Reset), new(1.0, Reset)], Observations { most_unaccepted: 2, ..facts(1.01, zero) }, own()),
        ),
        ("never accepted", of(&[new(0.5, BlackHole)], facts(4.0, zero), flask())),
        ("refused after the exit", of(&[new(0.5, Refused), new(1.9, Refused)], facts(0.5, zero), own())),
        ("stopped listening", of(&[new(0.5, Refused)], facts(4.0, zero), own())),
        (
            "stopped listening, under graceful",
            of(&[new(0.5, Refused)], exits(4.1, zero, supervised(4.0, reported(4.0, 1, 0.4))), own()),
        ),
        (
            "stopped listening, under graceful with a delay",
            of(&[new(0.5, Refused)], exits(4.1, zero, supervised(4.0, reported(4.0, 1, 5.0))), flask()),
        ),
        ("stopped listening, by a command", of(&[new(0.5, Refused)], command_ended(4.0, 0), by_command())),
        (
            "stopped listening, by a command with a readiness endpoint",
            of(&[new(0.5, Refused)], command_ended(4.0, 0), DrillPlan { ready_url: ready_url(), ..by_command() }),
        ),
        ("reset by a proxy", of(&[new(0.5, Reset)], command_ended(0.4, 0), by_command())),
        ("an idle connection", beside(&[kept], facts(4.0, zero), own())),
        ("a router that was not told", of(&[answered(0.5, 502)], command_ended(0.4, 0), by_command())),
        ("an error while stopping", of(&[answered(0.5, 503)], facts(4.0, zero), own())),
        ("not answered", of(&[new(0.5, RequestOutcome::Timeout)], facts(4.0, zero), own())),
        ("what nobody knows", of(&[new(0.5, Broken)], facts(4.0, zero), own())),
        (
            "readiness is late",
            of(
                &[new(0.5, Refused)],
                ready(&[says_ready.clone(), (1.0, ReadyState::NotReady("503".to_owned()))], facts(4.0, zero)),
                DrillPlan { ready_url: ready_url(), ..own() },
            ),
        ),
        (
            "readiness never fails",
            beside(
                &[],
                ready(std::slice::from_ref(&says_ready), facts(4.0, zero)),
                DrillPlan { ready_url: ready_url(), ..own() },
            ),
        ),
        (
            "readiness never fails, under graceful",
            beside(
                &[],
                ready(std::slice::from_ref(&says_ready), supervised(2.5, reported(2.5, 0, 2.5))),
                DrillPlan { readyz: ready_url(), ..own() },
            ),
        ),
        (
            "readiness never fails, under graceful that does not say it",
            beside(
                &[],
                ready(std::slice::from_ref(&says_ready), supervised(2.5, reported(2.5, 0, 2.5))),
                DrillPlan { ready_url: ready_url(), ..never() },
            ),
        ),
        (
            "readiness is not to fail",
            beside(
                &[],
                ready(&[says_ready], supervised(2.5, reported(2.5, 0, 2.5))),
                DrillPlan { readyz: ready_url(), ..never() },
            ),
        ),
        ("an exit status", beside(&[], facts(2.5, ExitStatus::Exited(3)), own())),
        ("an exit status of a known server", beside(&[], facts(2.5, ExitStatus::Exited(3)), flask())),
        ("an end by the signal", beside(&[], facts(2.5, term), own())),
        (
            "a helper that is left",
            beside(&[], Observations { left: vec!["sleep (pid 9)".to_owned()], ..facts(2.5, zero) }, own()),
        ),
        (
            "a port that is still taken",
            beside(&[], Observations { accepts_after: Some(true), ..facts(2.5, zero) }, own()),
        ),
        ("a command that fails", beside(&[], command_ended(2.5, 3), by_command())),
        (
            "a command that is broken off",
            beside(
                &[],
                Observations { killed_s: Some(30.0), result: StopResult::Nothing, ..command_ended(0.0, 0) },
                by_command(),
            ),
        ),
        ("a target that fails by itself", of(&[new(0.5, Refused)], Observations::default(), plan(Subject::Nothing))),
    ]
}

#[test]
fn each_cause_has_its_words_and_its_fix() {
    let text: Vec<String> = stories().iter().map(|(name, drill)| format!("# {name}\n{}", told(drill))).collect();
    is_told(&text.join("\n"), TOLD);
}

#[test]
fn a_delay_is_the_next_tenth_of_a_second() {
    let all =
        [(-1.0, "100ms"), (0.0, "100ms"), (0.05, "100ms"), (0.1, "200ms"), (0.95, "1s"), (2.0, "2100ms"), (2.9, "3s")];
    for (value, delay) in all {
        assert_eq!(delay_over(value), delay, "{value}");
    }
}

use super::*;
use crate::drill::plan::{Mix, Targets};
use crate::signal::Signal;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn plan(subject: Subject) -> Plan {
    Plan {
        subject,
        targets: Targets::default(),
        rate: 100,
        mix: Mix::default(),
        before: Duration::from_secs(2),
        lb_lag: Duration::from_secs(2),
        rolling: false,
        timeout: Duration::from_secs(5),
        startup_timeout: Duration::from_secs(5),
        grace_period: Duration::from_secs(30),
        insecure: false,
        ready_url: None,
        readyz: None,
        expected: BTreeSet::new(),
        exit_status: BTreeSet::from([0]),
        repeat: 1,
        tune: false,
        baseline: None,
        limits: baseline::Limits::default(),
        outputs: Vec::new(),
        show_output: false,
    }
}

fn own() -> Plan {
    let command = vec!["app".into()];
    plan(Subject::Own { command, way: Way::Bare, flags: Vec::new(), signal: Signal::TERM, demo: None })
}

fn record(kind: Kind, sent_s: f64, took_s: f64, outcome: Outcome) -> Record {
    Record {
        kind,
        target: 0,
        intended_s: sent_s,
        sent_s,
        ended_s: sent_s + took_s,
        outcome,
        status: None,
        reused: false,
        detail: String::new(),
    }
}

fn drill(requests: Vec<Record>) -> Drill {
    Drill {
        title: "bare".to_owned(),
        command: Vec::new(),
        stopped_at: None,
        rate: 100,
        lb_lag_s: 2.0,
        grace_period_s: 30.0,
        targets: Vec::new(),
        timeline: Vec::new(),
        phases: Vec::new(),
        counts: Default::default(),
        dropped: 0,
        latency: Latencies::default(),
        in_flight: Vec::new(),
        checks: Vec::new(),
        verdict: Verdict::Inconclusive,
        inconclusive: None,
        requests,
    }
}

/// The app exited so long after the stop.
fn facts(exit_s: f64, status: ExitStatus) -> Facts {
    Facts { is_app: true, exit: Some((exit_s, Some(status))), accepts_after: Some(false), ..Facts::default() }
}

fn good() -> Vec<Record> {
    (-20..=20).map(|tenth| record(Kind::New, f64::from(tenth) / 10.0, 0.01, Outcome::Ok)).collect()
}

fn judged(requests: Vec<Record>, facts: &Facts, plan: &Plan) -> Drill {
    judge(drill(requests), facts, plan, Way::Bare, -2.0)
}

fn check<'a>(drill: &'a Drill, name: &str) -> &'a Check {
    drill.checks.iter().find(|check| check.name == name).unwrap()
}

#[test]
fn a_clean_stop_passes() {
    let seen = judged(good(), &facts(2.5, ExitStatus::Exited(0)), &own());
    assert_eq!((seen.verdict, seen.dropped), (Verdict::Passed, 0), "{:#?}", seen.checks);
    assert_eq!(seen.at(What::LastNewServed), Some(2.0));
}

#[test]
fn dropped_is_what_a_router_would_have_sent() {
    let mut requests = good();
    requests.push(record(Kind::New, 1.99, 0.0, Outcome::Refused));
    requests.push(record(Kind::New, 2.01, 0.0, Outcome::Refused));
    // It goes on when the drill ends: nobody broke it.
    requests.push(record(Kind::Stream, -1.0, 9.0, Outcome::Unfinished));
    let seen = judged(requests, &facts(2.5, ExitStatus::Exited(0)), &own());
    assert_eq!((seen.verdict, seen.dropped), (Verdict::Failed, 1));
    let fix = check(&seen, "zero-dropped").fix.clone().unwrap();
    assert!(fix.contains("--pre-stop-delay 2s"), "{fix}");
}

#[test]
fn what_fails_before_the_stop_makes_it_inconclusive() {
    let mut requests = good();
    requests.push(record(Kind::Hot, -1.0, 0.1, Outcome::Status));
    let seen = judged(requests, &facts(2.5, ExitStatus::Exited(0)), &own());
    assert_eq!((seen.verdict, seen.checks.len()), (Verdict::Inconclusive, 0));
    assert!(seen.inconclusive.unwrap().contains("1 of 21 requests failed before the stop already (hot: "));
}

#[test]
fn a_target_that_does_not_keep_up_makes_it_inconclusive() {
    let requests = (-200..200).map(|at| record(Kind::New, f64::from(at) / 100.0, 3.0, Outcome::Ok)).collect();
    let seen = judged(requests, &facts(2.5, ExitStatus::Exited(0)), &own());
    assert!(seen.inconclusive.unwrap().starts_with("the target is slower than the rate"));
    let held_back = Facts { held_back: 1, ..facts(2.5, ExitStatus::Exited(0)) };
    assert_eq!(judged(good(), &held_back, &own()).verdict, Verdict::Inconclusive);
}

#[test]
fn readiness_must_fail_before_the_listener_closes() {
    let plan = Plan { ready_url: Some("http://h/ready".parse().unwrap()), ..own() };
    let mut requests = good();
    requests.push(record(Kind::New, 1.0, 0.0, Outcome::Refused));
    let result = |changes: &[(f64, ReadyState)]| {
        let facts = Facts { readiness: changes.to_vec(), ..facts(2.5, ExitStatus::Exited(0)) };
        check(&judged(requests.clone(), &facts, &plan), "readiness").result
    };
    let (ready, not) = ((-2.0, ReadyState::Ready), |at| (at, ReadyState::NotReady("503".to_owned())));
    assert_eq!(result(&[ready.clone(), not(0.1)]), CheckResult::Pass);
    assert_eq!(result(&[ready.clone(), not(1.2)]), CheckResult::Fail);
    assert_eq!(result(&[ready.clone(), (1.0, ReadyState::Refused)]), CheckResult::Fail);
    assert_eq!(result(&[ready]), CheckResult::Fail);
    assert_eq!(result(&[not(-2.0)]), CheckResult::Skipped);
}

#[test]
fn statuses_and_kills_are_told_apart() {
    let result = |facts: &Facts, plan: &Plan, name: &str| check(&judged(good(), facts, plan), name).result;
    let by_signal = facts(2.5, ExitStatus::Signaled(Signal::TERM));
    assert_eq!(result(&by_signal, &own(), "exit-status"), CheckResult::Fail);
    let right = Plan { exit_status: BTreeSet::from([0, 143]), ..own() };
    assert_eq!(result(&by_signal, &right, "exit-status"), CheckResult::Pass);
    let expected = Plan { expected: BTreeSet::from(["exit-status".to_owned()]), ..own() };
    assert_eq!(result(&by_signal, &expected, "exit-status"), CheckResult::Expected);
    assert_eq!(judged(good(), &by_signal, &expected).verdict, Verdict::Passed);
    let killed = Facts { killed_s: Some(30.0), ..facts(30.0, ExitStatus::Signaled(Signal::KILL)) };
    assert_eq!(result(&killed, &own(), "exit-in-time"), CheckResult::Fail);
    assert_eq!(result(&killed, &own(), "signal-handled"), CheckResult::Fail);
}

fn any_record() -> impl Strategy<Value = Record> {
    let kinds = proptest::sample::select(&Kind::ALL[..]);
    let outcomes = proptest::sample::select(&Outcome::ALL[..]);
    (kinds, outcomes, -3.0..5.0, 0.0..9.0, any::<bool>()).prop_map(|(kind, outcome, at, took, reused)| Record {
        reused,
        status: (outcome == Outcome::Status).then_some(500),
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
        let exit = exit.map(|(at, code)| (at, flags[0].then_some(ExitStatus::Exited(code))));
        let facts = Facts {
            is_app: true,
            exit,
            no_handler: flags[1],
            ignores: flags[2],
            killed_s: flags[3].then_some(30.0),
            accepts_after: Some(flags[4]),
            most_unaccepted: unaccepted,
            ..Facts::default()
        };
        for plan in [own(), plan(Subject::Nothing), plan(Subject::Command("stop".to_owned()))] {
            let seen = judged(requests.clone(), &facts, &plan);
            let failed = seen.checks.iter().any(|check| check.result == CheckResult::Fail);
            prop_assert_eq!(seen.verdict == Verdict::Failed, failed);
            prop_assert_eq!(seen.verdict == Verdict::Inconclusive, seen.inconclusive.is_some() && !failed);
            prop_assert_eq!(seen.counts.values().sum::<usize>(), seen.requests.len());
            prop_assert!(seen.dropped <= seen.requests.len());
            for check in &seen.checks {
                let explained = check.cause.is_some() && check.fix.is_some();
                prop_assert_eq!(check.result == CheckResult::Fail, explained, "{:?}", check);
                prop_assert!(CHECKS.contains(&check.name.as_str()));
            }
        }
    }
}

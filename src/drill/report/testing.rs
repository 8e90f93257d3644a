//! A document for the tests, made by hand.

use crate::drill::evidence::*;
use crate::drill::record::{ClientKind, Record, RequestOutcome};
use clap::ValueEnum;

/// What must never be markup.
pub(super) const NASTY: &str = "<script>\"&'</script>";

/// A request that was sent at this time and took a millisecond.
pub(super) fn request(kind: ClientKind, sent_s: f64, outcome: RequestOutcome) -> Record {
    Record {
        kind,
        target: 0,
        intended_s: sent_s,
        sent_s,
        ended_s: sent_s + 0.001,
        outcome,
        status: outcome.is_ok().then_some(200),
        reused: kind != ClientKind::New,
        port: None,
        detail: String::new(),
    }
}

fn named(name: &str) -> CheckName {
    CheckName::from_str(name, false).unwrap()
}

pub(super) fn check(name: &str, result: CheckResult) -> Check {
    Check { name: named(name), result, evidence: format!("{name} was seen"), causes: Vec::new() }
}

/// A drill of these requests, with the counts that belong to them.
pub(super) fn drill(requests: Vec<Record>) -> Drill {
    let mut drill = Drill {
        title: "bare".into(),
        mode: Mode::Bare,
        command: vec!["app".into()],
        stopped_at: Some("2025-03-04T10:20:30Z".into()),
        rate: 10,
        lb_lag_s: 2.0,
        grace_period_s: 10.0,
        targets: vec!["GET http://127.0.0.1:8080/".into()],
        timeline: vec![TimelineMark { at_s: 0.0, what: TimelineMarkKind::Stop, words: "SIGTERM was sent".into() }],
        phases: Vec::new(),
        counts: Default::default(),
        dropped: 0,
        latency: Latencies::default(),
        in_flight: Vec::new(),
        checks: vec![check("zero-dropped", CheckResult::Pass)],
        findings: Vec::new(),
        remarks: Vec::new(),
        verdict: Verdict::Passed,
        inconclusive: None,
        requests: Vec::new(),
        jobs: None,
    };
    for request in &requests {
        *drill.counts.entry(request.outcome).or_default() += 1;
    }
    drill.dropped = requests.iter().filter(|request| drill.is_dropped(request)).count();
    drill.requests = requests;
    drill
}

pub(super) fn document(drills: Vec<Drill>) -> Document {
    let verdict = drills.iter().map(|drill| drill.verdict).max().unwrap_or(Verdict::Inconclusive);
    Document { graceful: "0.1.0".into(), verdict, headline: "All is well.".into(), drills, tuned: None }
}

/// A root cause of these checks.
pub(super) fn finding(words: &str, fix: &str, checks: &[&str]) -> Finding {
    let checks = checks.iter().map(|name| named(name)).collect();
    Finding {
        cause: Cause::Other,
        words: words.into(),
        fix: fix.into(),
        flags: Vec::new(),
        at_s: None,
        dropped: 0,
        checks,
    }
}

/// A worker's drill: four jobs, of which two are done, one waits and one is lost.
pub(super) fn worker() -> Drill {
    let job = |id: &str, submitted_s: f64, fate: Fate| JobFate {
        id: id.into(),
        submitted_s,
        done_s: (fate == Fate::Done).then_some(submitted_s + 0.5),
        fate,
    };
    let look = |at_s, submitted, done, queued| JobsAt { at_s, submitted, done, queued: Some(queued) };
    let jobs = JobCounts {
        submitted: 4,
        done: 2,
        queued: 1,
        lost: 1,
        curve: vec![look(-1.0, 1, 0, 1), look(0.0, 4, 1, 2), look(2.0, 4, 2, 1)],
        list: vec![
            job("a", -1.0, Fate::Done),
            job("b", -0.6, Fate::Done),
            job(&format!("c{NASTY}"), -0.4, Fate::Lost),
            job("d", -0.2, Fate::Queued),
        ],
        ..JobCounts::default()
    };
    Drill { jobs: Some(jobs), verdict: Verdict::Failed, ..drill(Vec::new()) }
}

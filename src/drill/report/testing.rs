//! A document for the tests, made by hand.

use crate::drill::evidence::*;
use crate::drill::record::{Kind, Outcome, Record};

/// What must never be markup.
pub(super) const NASTY: &str = "<script>\"&'</script>";

/// A request that was sent then and took a millisecond.
pub(super) fn request(kind: Kind, sent_s: f64, outcome: Outcome) -> Record {
    Record {
        kind,
        target: 0,
        intended_s: sent_s,
        sent_s,
        ended_s: sent_s + 0.001,
        outcome,
        status: outcome.is_ok().then_some(200),
        reused: kind != Kind::New,
        detail: String::new(),
    }
}

pub(super) fn check(name: &str, result: CheckResult) -> Check {
    Check { name: name.into(), result, evidence: format!("{name} was seen"), cause: None, fix: None }
}

/// A drill of these requests, with the counts that belong to them.
pub(super) fn drill(requests: Vec<Record>) -> Drill {
    let mut drill = Drill {
        title: "bare".into(),
        command: vec!["app".into()],
        stopped_at: Some("2025-03-04T10:20:30Z".into()),
        rate: 10,
        lb_lag_s: 2.0,
        grace_period_s: 10.0,
        targets: vec!["GET http://127.0.0.1:8080/".into()],
        timeline: vec![Moment { at_s: 0.0, what: What::Stop, words: "SIGTERM was sent".into() }],
        phases: Vec::new(),
        counts: Default::default(),
        dropped: 0,
        latency: Latencies::default(),
        in_flight: Vec::new(),
        checks: vec![check("zero-dropped", CheckResult::Pass)],
        verdict: Verdict::Passed,
        inconclusive: None,
        requests: Vec::new(),
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

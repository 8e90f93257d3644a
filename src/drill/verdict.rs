//! From what was seen to the checks, each with its evidence and, where it fails, the cause and the fix. Pure.
//!
//! Dropped is what got no complete answer of all that a correct router would have sent: what was to be sent within the
//! lag. The outcome of each request leads to the cause: refused after the listener closed, reset in the backlog, cut
//! off by the app's death.

use super::baseline;
use super::case::{Case, seconds, under_way_at};
use super::checks;
use super::evidence::{
    Cause, CheckName, CheckResult, Drill, Finding, InFlightSeen, Latencies, Latency, ShownPhase, TimelineMark,
    TimelineMarkKind, Verdict,
};
use super::facts::{Exit, Observations, ReadyState, StopResult};
use super::plan::{DrillPlan, Subject, Supervision};
use super::record::{ClientKind, Record, RequestOutcome};
use crate::counts::Counts;
use crate::timeline::InFlightMoment as Looked;
use crate::timeline::report::{PhaseSpan, Report};

/// The share of the requests in the first half of the load before the stop that may still be under way at the stop.
const STILL_UNDER_WAY: f64 = 0.05;
/// A request that was sent this many seconds after its time was sent late. More of them than [`SENT_LATE`] mean that
/// the thread that sends them had too little of a processor, and what it took for slow or lost may have been its own
/// doing.
const SENT_LATE_S: f64 = 0.5;
/// The share of the requests that may be sent late.
const SENT_LATE: f64 = 0.1;

/// What was on its way when the stop command ended is over this many seconds later.
const AFTER_THE_COMMAND_S: f64 = 0.25;

/// Completes a drill that has its requests: timeline, numbers, checks and verdict.
pub(super) fn judge(mut drill: Drill, facts: &Observations, plan: &DrillPlan, way: Supervision, began_s: f64) -> Drill {
    for record in &drill.requests {
        *drill.counts.entry(record.outcome).or_default() += 1;
    }
    drill.dropped = drill.lost().count();
    drill.latency = latencies(&drill.requests);
    drill.phases = phases(facts);
    drill.in_flight = in_flight(&drill, facts);
    drill.timeline = timeline(&drill, facts, began_s);
    if matches!(plan.subject, Subject::Nothing) {
        // Nothing was stopped: what counts from the stop has no meaning, and is not to be drawn.
        drill.timeline.retain(|moment| {
            matches!(moment.what, TimelineMarkKind::LoadBegins | TimelineMarkKind::Refused | TimelineMarkKind::LoadEnds)
        });
    }
    drill.inconclusive = no_use(&drill, facts, plan);
    // A canary is judged by its limits; a failed request alone is no reason against it.
    let limits = plan.baseline.is_some() || plan.limits.max_error_rate.is_some();
    let by_limits = matches!(plan.subject, Subject::Nothing) && limits;
    if drill.inconclusive.is_none() && !by_limits {
        let judged = checks::of(&Case { drill: &drill, facts, plan, way });
        (drill.checks, drill.findings, drill.remarks) = (judged.checks, judged.findings, judged.remarks);
    }
    if drill.inconclusive.is_none() {
        drill.remarks.extend(tolerated(&drill, plan));
    }
    settle(&mut drill, plan);
    drill
}

/// Adds the comparison with a baseline.
pub(super) fn compare(drill: &mut Drill, plan: &DrillPlan, before: Option<baseline::Sample>) {
    if drill.inconclusive.is_some() {
        return;
    }
    let compared = baseline::compare(baseline::Sample::of(drill), before, &plan.limits);
    let failed = compared.checks.iter().filter(|check| check.result == CheckResult::Fail);
    let failed: Vec<CheckName> = failed.map(|check| check.name).collect();
    if !failed.is_empty() {
        drill.findings.push(Finding {
            cause: Cause::WorseThanBaseline,
            words: compared.exceeded.join("; "),
            fix: "keep the old version, or raise the limit if this is right".to_owned(),
            flags: Vec::new(),
            at_s: None,
            dropped: 0,
            checks: failed,
        });
    }
    drill.checks.extend(compared.checks);
    drill.inconclusive = compared.inconclusive;
    settle(drill, plan);
}

fn settle(drill: &mut Drill, plan: &DrillPlan) {
    for check in &mut drill.checks {
        if check.result == CheckResult::Fail && plan.expected.contains(&check.name) {
            check.result = CheckResult::Expected;
        }
    }
    let failed = drill.checks.iter().any(|check| check.result == CheckResult::Fail);
    let unknown = drill.checks.iter().find(|check| check.result == CheckResult::Unknown);
    if let Some(check) = unknown.filter(|_| drill.inconclusive.is_none() && !failed) {
        drill.inconclusive = Some(check.evidence.clone());
    }
    drill.verdict = match (&drill.inconclusive, failed) {
        (_, true) => Verdict::Failed,
        (Some(_), false) => Verdict::Inconclusive,
        (None, false) => Verdict::Passed,
    };
}

/// Why this drill proves nothing, if it does not.
fn no_use(drill: &Drill, facts: &Observations, plan: &DrillPlan) -> Option<String> {
    let (rate, sent) = (plan.rate, drill.requests.len());
    let half = -plan.before.as_secs_f64() / 2.0;
    let paced = || drill.requests.iter().filter(|record| record.kind.is_paced());
    let early = paced().filter(|record| record.intended_s < half);
    let (early, late) = early.fold((0, 0), |(all, late), r| (all + 1, late + usize::from(r.ended_s > 0.0)));
    let waiting = paced().filter(|record| record.intended_s < 0.0 && record.ended_s > 0.0).count();
    let sent_late = paced().filter(|record| record.sent_s - record.intended_s > SENT_LATE_S).count();
    let all_paced = paced().count();
    if sent_late as f64 > all_paced as f64 * SENT_LATE {
        return Some(format!(
            "the drill itself is slower than the rate: of {all_paced} requests {sent_late} were sent more than half a second after \
             their time; lower --rate (now {rate} a second), or leave it a processor of its own"
        ));
    }
    if facts.held_back > 0 || late as f64 > f64::from(early) * STILL_UNDER_WAY {
        return Some(format!(
            "the target is slower than the rate: {waiting} requests were under way at the stop, and {} could not be sent; \
             lower --rate (now {rate} a second)",
            facts.held_back
        ));
    }
    if matches!(plan.subject, Subject::Nothing) {
        return (sent == 0).then(|| "nothing was sent".to_owned());
    }
    let early: Vec<&Record> = drill.requests.iter().filter(|r| r.ended_s < 0.0 && !r.outcome.is_ok()).collect();
    let before = drill.requests.iter().filter(|r| r.ended_s < 0.0).count();
    if !early.is_empty() && !plan.tolerate.covers(early.len(), before) {
        return Some(format!(
            "{}: what the stop drops cannot be told; --tolerate {} accepts as many",
            failed_before(drill),
            early.len()
        ));
    }
    if before == 0 {
        return Some("no request was over before the stop: lower --rate or lengthen --before".to_owned());
    }
    // Where the drill itself ended graceful there is no report, and that is a failure.
    if facts.supervised && facts.killed_s.is_none() {
        match &facts.report {
            None => return Some("graceful wrote no report: was it killed, or is the disk full?".to_owned()),
            Some(report) if !report.complete => {
                return Some("graceful was killed before the stop was over: its report is not complete".to_owned());
            }
            Some(_) => {}
        }
    }
    nothing_was_stopped(drill, facts, plan)
}

/// "3 of 206 requests already failed before the stop (new: 503 Service Unavailable)".
fn failed_before(drill: &Drill) -> String {
    let before: Vec<&Record> = drill.requests.iter().filter(|record| record.ended_s < 0.0).collect();
    let failed: Vec<&&Record> = before.iter().filter(|record| !record.outcome.is_ok()).collect();
    let first = failed.first().map(|first| {
        let detail = if first.detail.is_empty() { first.outcome.words() } else { &first.detail };
        format!(" ({}: {detail})", first.kind.name())
    });
    let requests = if before.len() == 1 { "request" } else { "requests" };
    format!(
        "{} of {} {requests} already failed before the stop{}",
        failed.len(),
        before.len(),
        first.unwrap_or_default()
    )
}

/// What --tolerate has let pass.
fn tolerated(drill: &Drill, plan: &DrillPlan) -> Option<String> {
    let failed = drill.requests.iter().any(|record| record.ended_s < 0.0 && !record.outcome.is_ok());
    (failed && !matches!(plan.subject, Subject::Nothing))
        .then(|| format!("{}; --tolerate allows it, and those after the stop are judged", failed_before(drill)))
}

/// Why nothing was stopped, if so: after its stop command a target that is not restarted is gone.
fn nothing_was_stopped(drill: &Drill, facts: &Observations, plan: &DrillPlan) -> Option<String> {
    let StopResult::CommandExited(Exit { at_s: ended_s, .. }) = facts.result else { return None };
    let mut late = drill.requests.iter().filter(|r| !plan.rolling && r.sent_s > ended_s + AFTER_THE_COMMAND_S);
    let answered = late.find(|request| request.outcome.is_ok())?;
    Some(format!(
        "the target still answers {} after the stop command has ended: nothing was stopped, or it was started again \
         (--rolling drills a restart)",
        seconds(answered.sent_s - ended_s)
    ))
}

pub(super) fn phases(facts: &Observations) -> Vec<ShownPhase> {
    let all = facts.report.iter().flat_map(|report| &report.phases).filter(|span| span.start_s >= 0.0);
    let span = |span: &PhaseSpan| ShownPhase {
        phase: span.phase.to_string(),
        start_s: span.start_s,
        duration_s: span.duration_s,
    };
    all.map(span).collect()
}

fn in_flight(drill: &Drill, facts: &Observations) -> Vec<InFlightSeen> {
    let clients = |at_s: f64| under_way_at(drill, at_s).count();
    let seen =
        |moment: Looked, at_s: f64, counts: Counts| InFlightSeen { moment, at_s, counts, clients: clients(at_s) };
    let reported = facts.report.iter().flat_map(|report| &report.in_flight);
    let of_graceful = reported.map(|look| seen(look.moment, look.at_s, look.counts));
    let own = [
        (Looked::Stop, Some(0.0), facts.looks_at_stop),
        (Looked::Exit, facts.result.exit().map(|exit| exit.at_s), facts.looks_at_exit),
    ];
    let of_drill = own.into_iter().filter_map(|(moment, at_s, counts)| Some(seen(moment, at_s?, counts?)));
    of_graceful.chain(of_drill).collect()
}

pub(super) fn timeline(drill: &Drill, facts: &Observations, began_s: f64) -> Vec<TimelineMark> {
    let mut all = Vec::new();
    let mut add = |at_s: f64, what: TimelineMarkKind, words: String| all.push(TimelineMark { at_s, what, words });
    add(began_s, TimelineMarkKind::LoadBegins, "the load begins".to_owned());
    if drill.stopped_at.is_some() {
        add(0.0, TimelineMarkKind::Stop, "stop".to_owned());
    }
    let failing = facts.readiness.iter().filter(|(at, _)| *at >= 0.0);
    for (at, state) in failing {
        match state {
            ReadyState::NotReady(what) => add(*at, TimelineMarkKind::NotReady, format!("readiness fails: {what}")),
            ReadyState::Refused => {
                add(*at, TimelineMarkKind::ReadinessRefused, "the readiness endpoint refuses".to_owned())
            }
            ReadyState::Ready => {}
        }
    }
    if let Some(sent) = facts.report.as_ref().and_then(Report::stop_signal) {
        add(sent.at_s, TimelineMarkKind::Signal, format!("the app gets {}", sent.signal));
    }
    let after = || drill.requests.iter().filter(|record| record.ended_s >= 0.0);
    let first = |outcome: RequestOutcome| {
        after().filter(|record| record.outcome == outcome).map(|record| record.ended_s).reduce(f64::min)
    };
    if let Some(at) = first(RequestOutcome::OkClose) {
        add(at, TimelineMarkKind::FirstClose, "first answer with Connection: close".to_owned());
    }
    if let Some(at) = first(RequestOutcome::Refused) {
        add(at, TimelineMarkKind::Refused, "connections are refused".to_owned());
    }
    let served = drill.requests.iter().filter(|r| r.kind == ClientKind::New && r.outcome.is_ok() && r.sent_s >= 0.0);
    if let Some(at) = served.map(|record| record.sent_s).reduce(f64::max) {
        add(at, TimelineMarkKind::LastNewServed, "last new connection that was served".to_owned());
    }
    if let Some(at) = under_way_at(drill, 0.0).map(|record| record.ended_s).reduce(f64::max) {
        add(at, TimelineMarkKind::InFlightDone, "what was under way at the stop is over".to_owned());
    }
    add(drill.lb_lag_s, TimelineMarkKind::LoadEnds, "the load balancer stops sending".to_owned());
    if let Some(at) = facts.killed_s.or_else(|| facts.report.as_ref()?.killed_s()) {
        add(at, TimelineMarkKind::Kill, "SIGKILL".to_owned());
    }
    let exited = match facts.result {
        StopResult::Nothing => None,
        StopResult::AppExited(exit) => Some((exit, "the app exits")),
        StopResult::CommandExited(exit) => Some((exit, "the stop command ends")),
        StopResult::ReloadEnded(exit) => Some((exit, "the reload is over")),
    };
    if let Some((Exit { at_s, status }, what)) = exited {
        let how = status.map(|status| format!(": {status}")).unwrap_or_default();
        add(at_s, TimelineMarkKind::Exit, format!("{what}{how}"));
        if !facts.left.is_empty() {
            add(at_s, TimelineMarkKind::Leftovers, format!("left behind: {}", facts.left.join(", ")));
        }
    }
    all.sort_by(|one, other| one.at_s.total_cmp(&other.at_s));
    all
}

fn latencies(requests: &[Record]) -> Latencies {
    let of = |before: bool| {
        let paced = requests.iter().filter(|record| record.kind.is_paced());
        let mine = paced.filter(|record| record.outcome.is_ok() && (record.intended_s < 0.0) == before);
        latency(mine.map(Record::latency_s).collect())
    };
    Latencies { before: of(true), after: of(false) }
}

/// Exact: every request is there, so that no histogram has to round.
fn latency(mut all: Vec<f64>) -> Latency {
    all.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let rank = (all.len() as f64 * share).ceil() as usize;
        all.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
    };
    let rounded = |share: f64| (at(share) * 1e6).round() / 1e6;
    Latency {
        count: all.len() as u64,
        p50_s: rounded(0.5),
        p90_s: rounded(0.9),
        p99_s: rounded(0.99),
        max_s: rounded(1.0),
    }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "verdict_view_tests.rs"]
mod view_tests;

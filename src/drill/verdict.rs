//! From what was seen to the checks, each with its evidence and, where it fails, the cause and the fix. Pure.
//!
//! Dropped is whatever a correct router would have sent: all that was to be sent within the lag. What each of them came to
//! leads to the cause: refused after the listener closed, reset in the backlog, cut off by the app's death.

use super::advice;
use super::baseline;
use super::evidence::{Check, CheckResult, Drill, InFlight, Latencies, Latency, Moment, Span, Verdict, What};
use super::facts::{Facts, ReadyState};
use super::plan::{Plan, Subject, Way};
use super::record::{Kind, Outcome, Record};
use super::stage::human;
use crate::inflight::Counts;
use crate::status::ExitStatus;
use serde_json::Value;
use std::time::Duration;

/// The names of all checks, as `--expect` takes them.
pub const CHECKS: &[&str] = &[
    "zero-dropped",
    "in-flight",
    "served-in-window",
    "gone-after",
    "readiness",
    "exit-in-time",
    "exit-status",
    "nothing-left",
    "signal-handled",
    "error-rate",
    "p99",
    "p99-ratio",
];

/// Of the requests of the first half of the load before the stop, so many may be under way still.
const STILL_UNDER_WAY: f64 = 0.05;

/// Everything that the checks look at.
pub(super) struct Case<'a> {
    pub(super) drill: &'a Drill,
    pub(super) facts: &'a Facts,
    pub(super) plan: &'a Plan,
    pub(super) way: Way,
}

/// Completes a drill that has its requests: timeline, numbers, checks and verdict.
pub(super) fn judge(mut drill: Drill, facts: &Facts, plan: &Plan, way: Way, began_s: f64) -> Drill {
    for record in &drill.requests {
        *drill.counts.entry(record.outcome).or_default() += 1;
    }
    drill.dropped = drill.lost().count();
    drill.latency = latencies(&drill.requests);
    drill.phases = phases(facts);
    drill.in_flight = in_flight(&drill, facts);
    drill.timeline = timeline(&drill, facts, began_s);
    drill.inconclusive = no_use(&drill, facts, plan);
    let mut checks = if drill.inconclusive.is_some() {
        Vec::new()
    } else {
        let case = Case { drill: &drill, facts, plan, way };
        match plan.subject {
            Subject::Nothing => vec![zero_dropped(&case)],
            Subject::Command(_) => {
                vec![zero_dropped(&case), in_flight_check(&case), served_in_window(&case), command_ended(&case)]
            }
            Subject::Own { .. } | Subject::Pid { .. } => vec![
                zero_dropped(&case),
                in_flight_check(&case),
                served_in_window(&case),
                gone_after(&case),
                readiness(&case),
                exit_in_time(&case),
                exit_status(&case),
                nothing_left(&case),
                signal_handled(&case),
            ],
        }
    };
    // A canary is judged by its limits; a failed request alone is no reason against it.
    if matches!(plan.subject, Subject::Nothing) && (plan.baseline.is_some() || plan.limits.max_error_rate.is_some()) {
        checks.clear();
    }
    drill.checks = checks;
    settle(&mut drill, plan);
    drill
}

/// Adds the comparison with a baseline.
pub(super) fn compare(drill: &mut Drill, plan: &Plan, before: Option<baseline::Sample>) {
    if drill.inconclusive.is_some() {
        return;
    }
    let (checks, why) = baseline::compare(baseline::Sample::of(drill), before, &plan.limits);
    drill.checks.extend(checks);
    drill.inconclusive = why;
    settle(drill, plan);
}

fn settle(drill: &mut Drill, plan: &Plan) {
    for check in &mut drill.checks {
        if check.result == CheckResult::Fail && plan.expected.contains(&check.name) {
            check.result = CheckResult::Expected;
        }
    }
    let failed = drill.checks.iter().any(|check| check.result == CheckResult::Fail);
    drill.verdict = match (&drill.inconclusive, failed) {
        (_, true) => Verdict::Failed,
        (Some(_), false) => Verdict::Inconclusive,
        (None, false) => Verdict::Passed,
    };
}

/// Why this drill proves nothing.
fn no_use(drill: &Drill, facts: &Facts, plan: &Plan) -> Option<String> {
    let (rate, sent) = (plan.rate, drill.requests.len());
    let half = -plan.before.as_secs_f64() / 2.0;
    let paced = || drill.requests.iter().filter(|record| matches!(record.kind, Kind::New | Kind::Hot));
    let early = paced().filter(|record| record.intended_s < half);
    let (early, late) = early.fold((0, 0), |(all, late), r| (all + 1, late + usize::from(r.ended_s > 0.0)));
    let waiting = paced().filter(|record| record.intended_s < 0.0 && record.ended_s > 0.0).count();
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
    if let Some(first) = early.first() {
        let detail = if first.detail.is_empty() { first.outcome.words() } else { &first.detail };
        return Some(format!(
            "{} of {before} requests failed before the stop already ({}: {detail}): what the stop drops cannot be told",
            early.len(),
            first.kind.name(),
        ));
    }
    if before == 0 {
        return Some("no request was over before the stop: lower --rate or lengthen --before".to_owned());
    }
    None
}

fn pass(name: &str, evidence: String) -> Check {
    Check { name: name.to_owned(), result: CheckResult::Pass, evidence, cause: None, fix: None }
}

fn skipped(name: &str, evidence: &str) -> Check {
    Check { name: name.to_owned(), result: CheckResult::Skipped, evidence: evidence.to_owned(), cause: None, fix: None }
}

fn failed(name: &str, evidence: String, (cause, fix): (String, String)) -> Check {
    Check { name: name.to_owned(), result: CheckResult::Fail, evidence, cause: Some(cause), fix: Some(fix) }
}

fn zero_dropped(case: &Case<'_>) -> Check {
    let (drill, sent) = (case.drill, case.drill.requests.len());
    if drill.dropped == 0 {
        return pass("zero-dropped", format!("{sent} requests, none dropped"));
    }
    let last = drill.lost().map(|record| record.intended_s).fold(f64::NEG_INFINITY, f64::max);
    let first = drill.lost().map(|record| record.intended_s).fold(f64::INFINITY, f64::min);
    let evidence = format!(
        "{sent} requests, {} dropped: {}; sent from {} on to {}",
        drill.dropped,
        advice::by_outcome(drill.lost()),
        relative(first),
        relative(last)
    );
    let advice = match case.plan.subject {
        Subject::Nothing => (
            "nothing was stopped: the target fails by itself".to_owned(),
            "look at the target's own log; --rate may be more than it can do".to_owned(),
        ),
        _ => advice::dropped(case),
    };
    failed("zero-dropped", evidence, advice)
}

/// Sent before the stop and not over by then.
fn under_way_at(drill: &Drill, at_s: f64) -> impl Iterator<Item = &Record> {
    drill.requests.iter().filter(move |record| record.sent_s < at_s && record.ended_s >= at_s)
}

fn in_flight_check(case: &Case<'_>) -> Check {
    let all = under_way_at(case.drill, 0.0).count();
    let lost: Vec<&Record> = under_way_at(case.drill, 0.0).filter(|record| case.drill.is_dropped(record)).collect();
    if all == 0 {
        return skipped("in-flight", "no request was under way at the stop; --slow-target URL keeps some");
    }
    if lost.is_empty() {
        return pass("in-flight", format!("{all} of {all} requests under way at the stop were completed"));
    }
    let done = all - lost.len();
    let evidence = format!(
        "{done} of {all} requests under way at the stop were completed, {}",
        advice::by_outcome(lost.iter().copied())
    );
    failed("in-flight", evidence, advice::in_flight(case))
}

/// New connections are served until the load balancer has ceased to send them.
fn served_in_window(case: &Case<'_>) -> Check {
    let drill = case.drill;
    let lag = drill.lb_lag_s;
    let fresh = || drill.requests.iter().filter(|r| r.kind == Kind::New && r.intended_s > 0.0 && r.intended_s <= lag);
    if fresh().count() == 0 {
        return skipped(
            "served-in-window",
            "the load has no new connections after the stop (--mix new=0, or --lb-lag 0s)",
        );
    }
    match fresh().find(|record| !record.outcome.is_ok()) {
        None => {
            pass("served-in-window", format!("new connections were served to the end of the lag, {}", seconds(lag)))
        }
        Some(first) => {
            let evidence = format!(
                "new connections were served until {} only, and the load balancer sends for {}: {}",
                relative(first.intended_s),
                seconds(lag),
                first.outcome.words()
            );
            failed("served-in-window", evidence, advice::window(case, first))
        }
    }
}

fn gone_after(case: &Case<'_>) -> Check {
    match (case.facts.exit, case.facts.accepts_after) {
        (Some(_), Some(true)) => failed(
            "gone-after",
            "the port still takes connections when the app is gone".to_owned(),
            (
                "another process has the listener, most likely a child that the app has left".to_owned(),
                "let the app end its children, or run it under graceful, which does".to_owned(),
            ),
        ),
        (Some((at, _)), Some(false)) => {
            pass("gone-after", format!("connections are refused after the exit, {}", seconds(at)))
        }
        (None, _) => skipped("gone-after", "the app did not exit"),
        (_, None) => skipped("gone-after", "it could not be looked at"),
    }
}

fn readiness(case: &Case<'_>) -> Check {
    if case.plan.ready_url(case.way).is_none() {
        return skipped("readiness", "no readiness endpoint was named; --ready-url URL watches one");
    }
    let changes = &case.facts.readiness;
    if !matches!(changes.first(), Some((_, ReadyState::Ready))) {
        return skipped("readiness", "the endpoint was not ready before the stop");
    }
    let closed = case.drill.at(What::Refused);
    match changes.iter().find(|(at, state)| *at >= 0.0 && state.is_failing()) {
        Some((at, ReadyState::NotReady(what))) => match closed {
            Some(closed) if closed < *at => failed(
                "readiness",
                format!(
                    "readiness failed {} after the stop, the listener closed {} before that",
                    seconds(*at),
                    seconds(at - closed)
                ),
                advice::readiness(case),
            ),
            _ => pass("readiness", format!("it failed {} after the stop ({what})", seconds(*at))),
        },
        Some((at, _)) => failed(
            "readiness",
            format!("it said ready until its listener was gone, {} after the stop", seconds(*at)),
            advice::readiness(case),
        ),
        None => failed("readiness", "it said ready to the end".to_owned(), advice::readiness(case)),
    }
}

fn was_killed(case: &Case<'_>) -> bool {
    case.facts.killed_s.is_some() || report(case.facts, "sigkill").and_then(Value::as_bool) == Some(true)
}

fn exit_in_time(case: &Case<'_>) -> Check {
    let grace = seconds(case.drill.grace_period_s);
    match case.facts.exit {
        Some((at, _)) if !was_killed(case) => {
            pass("exit-in-time", format!("it exited {} after the stop, {grace} is the grace period", seconds(at)))
        }
        Some((at, _)) => failed(
            "exit-in-time",
            format!("SIGKILL was needed: it was gone {} after the stop, {grace} is the grace period", seconds(at)),
            advice::too_late(case),
        ),
        None => failed("exit-in-time", "it was still there at the end".to_owned(), advice::too_late(case)),
    }
}

fn command_ended(case: &Case<'_>) -> Check {
    match case.facts.exit {
        Some((at, Some(ExitStatus::Exited(0)))) => {
            pass("exit-in-time", format!("the stop command was over after {}", seconds(at)))
        }
        Some((at, status)) => failed(
            "exit-in-time",
            format!(
                "the stop command ended after {}: {}",
                seconds(at),
                status.map(|s| s.to_string()).unwrap_or_default()
            ),
            ("the command itself failed".to_owned(), "run it by hand and see what it says".to_owned()),
        ),
        None => failed(
            "exit-in-time",
            "the stop command did not end".to_owned(),
            ("it was not over within --grace-period".to_owned(), "raise --grace-period".to_owned()),
        ),
    }
}

fn exit_status(case: &Case<'_>) -> Check {
    let Some((_, Some(status))) = case.facts.exit else {
        return skipped("exit-status", "of another's child it cannot be known");
    };
    let code = status.code();
    if code == 0 || case.plan.exit_status.contains(&code) {
        return pass("exit-status", format!("{code}"));
    }
    failed("exit-status", format!("{code} ({status})"), advice::status(case, code))
}

fn nothing_left(case: &Case<'_>) -> Check {
    let by_report = report(case.facts, "leftovers").and_then(|left| left.get("found")).and_then(Value::as_u64);
    let words = match (by_report, case.facts.left.as_slice()) {
        (Some(0), _) | (None, []) if case.facts.exit.is_none() => {
            return skipped("nothing-left", "the app did not exit");
        }
        (Some(0), _) => return pass("nothing-left", "no process outlived the app".to_owned()),
        (None, []) if matches!(case.plan.subject, Subject::Pid { .. }) => {
            return skipped("nothing-left", "of another's children it cannot be known");
        }
        (None, []) => return pass("nothing-left", "no process outlived the app".to_owned()),
        (Some(count), _) => format!("{count} outlived the app; graceful ended what was left"),
        (None, left) => format!("{} outlived the app: {}", left.len(), left.join(", ")),
    };
    failed(
        "nothing-left",
        words,
        (
            "the app does not end the processes that it starts".to_owned(),
            "wait for them in the app's handler; graceful ends what is left in any case (--leftovers)".to_owned(),
        ),
    )
}

fn signal_handled(case: &Case<'_>) -> Check {
    let facts = case.facts;
    let signal = advice::signal(case);
    match (facts.no_handler, facts.ignores) {
        (true, _) if facts.supervised => {
            let held = case.drill.dropped == 0;
            let evidence = format!("no handler for {signal}: graceful held it back until nothing was in flight");
            match held {
                true => pass("signal-handled", evidence),
                false => failed("signal-handled", format!("no handler for {signal}"), advice::no_handler(case)),
            }
        }
        (true, _) => {
            failed("signal-handled", format!("no handler: {signal} kills it at once"), advice::no_handler(case))
        }
        (_, true) => failed(
            "signal-handled",
            format!("it ignores {signal}"),
            (format!("the app ignores {signal}"), "handle it, or name the right one with --stop-signal".to_owned()),
        ),
        (false, false) if was_killed(case) => failed(
            "signal-handled",
            format!("{signal} did not end it"),
            (format!("the app does nothing about {signal}"), "let its handler end the app".to_owned()),
        ),
        (false, false) => pass("signal-handled", format!("{signal} is caught or waited for")),
    }
}

pub(super) fn report<'a>(facts: &'a Facts, key: &str) -> Option<&'a Value> {
    facts.report.as_ref()?.get(key)
}

fn phases(facts: &Facts) -> Vec<Span> {
    let all = report(facts, "phases").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    all.iter()
        .filter_map(|span| {
            let start_s = span.get("start_s")?.as_f64()?;
            let phase = span.get("phase")?.as_str()?.to_owned();
            Some(Span { phase, start_s, duration_s: span.get("duration_s")?.as_f64()? })
        })
        .filter(|span| span.start_s >= 0.0)
        .collect()
}

fn in_flight(drill: &Drill, facts: &Facts) -> Vec<InFlight> {
    let clients = |at_s: f64| under_way_at(drill, at_s).count();
    let number = |value: &Value, key: &str| value.get(key).and_then(Value::as_u64).unwrap_or(0) as usize;
    let reported = report(facts, "in_flight").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut all: Vec<InFlight> = reported
        .iter()
        .filter_map(|seen| {
            let at_s = seen.get("at_s")?.as_f64()?;
            Some(InFlight {
                moment: seen.get("moment")?.as_str()?.to_owned(),
                at_s,
                busy: number(seen, "busy"),
                unknown: number(seen, "unknown"),
                idle: number(seen, "idle"),
                unaccepted: number(seen, "unaccepted"),
                clients: clients(at_s),
            })
        })
        .collect();
    let mut add = |moment: &str, at_s: f64, counts: Option<Counts>| {
        if let Some(Counts { busy, unknown, idle, unaccepted }) = counts {
            let moment = moment.to_owned();
            all.push(InFlight { moment, at_s, busy, unknown, idle, unaccepted, clients: clients(at_s) });
        }
    };
    add("stop", 0.0, facts.looks_at_stop);
    if let Some((at_s, _)) = facts.exit {
        add("exit", at_s, facts.looks_at_exit);
    }
    all
}

fn timeline(drill: &Drill, facts: &Facts, began_s: f64) -> Vec<Moment> {
    let mut all = Vec::new();
    let mut add = |at_s: f64, what: What, words: String| all.push(Moment { at_s, what, words });
    add(began_s, What::LoadBegins, "the load begins".to_owned());
    add(0.0, What::Stop, "stop".to_owned());
    let failing = facts.readiness.iter().filter(|(at, _)| *at >= 0.0);
    for (at, state) in failing {
        match state {
            ReadyState::NotReady(what) => add(*at, What::NotReady, format!("readiness fails: {what}")),
            ReadyState::Refused => add(*at, What::ReadinessRefused, "the readiness endpoint refuses".to_owned()),
            ReadyState::Ready => {}
        }
    }
    let signals = report(facts, "signals").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let sent = signals.iter().find(|signal| signal.get("reason").and_then(Value::as_str) == Some("stop"));
    if let Some((at, signal)) = sent.and_then(|sent| Some((sent.get("at_s")?.as_f64()?, sent.get("signal")?.as_str()?)))
    {
        add(at, What::Signal, format!("the app gets {signal}"));
    }
    let after = || drill.requests.iter().filter(|record| record.ended_s >= 0.0);
    let first = |outcome: Outcome| {
        after().filter(|record| record.outcome == outcome).map(|record| record.ended_s).reduce(f64::min)
    };
    if let Some(at) = first(Outcome::OkClose) {
        add(at, What::FirstClose, "first answer with Connection: close".to_owned());
    }
    if let Some(at) = first(Outcome::Refused) {
        add(at, What::Refused, "connections are refused".to_owned());
    }
    let served = drill.requests.iter().filter(|r| r.kind == Kind::New && r.outcome.is_ok() && r.sent_s >= 0.0);
    if let Some(at) = served.map(|record| record.sent_s).reduce(f64::max) {
        add(at, What::LastNewServed, "last new connection that was served".to_owned());
    }
    if let Some(at) = under_way_at(drill, 0.0).map(|record| record.ended_s).reduce(f64::max) {
        add(at, What::InFlightDone, "what was under way at the stop is over".to_owned());
    }
    add(drill.lb_lag_s, What::LoadEnds, "the load balancer ceases to send".to_owned());
    if let Some(at) = facts.killed_s {
        add(at, What::Kill, "SIGKILL".to_owned());
    } else if report(facts, "sigkill").and_then(Value::as_bool) == Some(true)
        && let Some(kill) = drill.phases.iter().find(|span| span.phase == "kill")
    {
        add(kill.start_s, What::Kill, "SIGKILL".to_owned());
    }
    if let Some((at, status)) = facts.exit {
        let what = if facts.is_app { "the app exits" } else { "the stop command ends" };
        let how = status.map(|status| format!(": {status}")).unwrap_or_default();
        add(at, What::Exit, format!("{what}{how}"));
        if !facts.left.is_empty() {
            add(at, What::Leftovers, format!("left behind: {}", facts.left.join(", ")));
        }
    }
    all.sort_by(|one, other| one.at_s.total_cmp(&other.at_s));
    all
}

fn latencies(requests: &[Record]) -> Latencies {
    let of = |before: bool| {
        let paced = requests.iter().filter(|record| matches!(record.kind, Kind::New | Kind::Hot));
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

/// "1.2 s", for a time that is not negative.
pub(super) fn seconds(value: f64) -> String {
    human(Duration::from_secs_f64(value.max(0.0)))
}

/// "1.2 s after the stop", "30 ms before the stop".
pub(super) fn relative(value: f64) -> String {
    format!("{} {} the stop", seconds(value.abs()), if value < 0.0 { "before" } else { "after" })
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;

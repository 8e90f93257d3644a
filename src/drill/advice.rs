//! Causes and fixes. Pure.
//!
//! A cause names what the app did and when; a fix names the flag of graceful, the server's own setting or the line to
//! write. What the outcomes say is believed over what the app claims.

use super::evidence::What;
use super::plan::{Subject, Way};
use super::record::{Kind, Outcome, Record};
use super::verdict::{Case, relative, report, seconds};
use crate::config;
use crate::status::ExitStatus;
use crate::timeline::text::plural;
use std::collections::BTreeMap;

/// An app that ends within this time after the signal has not waited for anything.
const AT_ONCE_S: f64 = 0.3;
/// What is reset so close to the app's end was reset by it.
const TOGETHER_S: f64 = 0.1;

/// "5 refused, 3 reset before an answer".
pub(super) fn by_outcome<'a>(records: impl Iterator<Item = &'a Record>) -> String {
    let mut counts: BTreeMap<Outcome, usize> = BTreeMap::new();
    for record in records {
        *counts.entry(record.outcome).or_default() += 1;
    }
    let parts: Vec<String> = counts.iter().map(|(outcome, count)| format!("{count} {}", outcome.words())).collect();
    parts.join(", ")
}

/// The stop signal, by name.
pub(super) fn signal(case: &Case<'_>) -> String {
    let signals = report(case.facts, "signals").and_then(|all| all.as_array()).map(Vec::as_slice).unwrap_or_default();
    let sent = signals.iter().find(|sent| sent.get("reason").and_then(|reason| reason.as_str()) == Some("stop"));
    if let Some(name) = sent.and_then(|sent| sent.get("signal")?.as_str()) {
        return name.to_owned();
    }
    match &case.plan.subject {
        Subject::Own { signal, .. } | Subject::Pid { signal, .. } => signal.to_string(),
        Subject::Command(_) | Subject::Nothing => "the stop signal".to_owned(),
    }
}

/// When the app itself got the signal.
fn told_s(case: &Case<'_>) -> f64 {
    case.drill.at(What::Signal).unwrap_or(0.0)
}

fn is_supervised(case: &Case<'_>) -> bool {
    case.way == Way::Supervised && case.facts.supervised
}

/// The app died of the signal, or ended at once by its own handler.
fn end(case: &Case<'_>) -> Option<(f64, Option<ExitStatus>)> {
    case.facts.exit.map(|(at, status)| (at - told_s(case), status))
}

/// A delay in whole tenths of a second that is longer than this.
pub(super) fn delay_over(value: f64) -> String {
    let tenths = (value.max(0.0) * 10.0).floor() as u64 + 1;
    if tenths.is_multiple_of(10) { format!("{}s", tenths / 10) } else { format!("{}ms", tenths * 100) }
}

/// The line that makes the app serve on for the lag.
fn serve_on(case: &Case<'_>) -> String {
    let last = case.drill.lost().map(|record| record.intended_s).fold(0.0, f64::max);
    let delay = delay_over(last.max(0.0));
    match is_supervised(case) {
        true => format!("set --pre-stop-delay {delay}"),
        false => format!("run it as `graceful --pre-stop-delay {delay} -- ...`, which lets it serve on for so long"),
    }
}

/// What its server is known for.
fn of_its_server(case: &Case<'_>) -> String {
    let Subject::Own { command, .. } = &case.plan.subject else { return String::new() };
    config::known_server(command).map(|(name, advice)| format!(" ({name}: {advice})")).unwrap_or_default()
}

/// Of the dropped requests.
pub(super) fn dropped(case: &Case<'_>) -> (String, String) {
    let lost: Vec<&Record> = case.drill.lost().collect();
    of_these(case, &lost)
}

/// Of the requests that were under way at the stop.
pub(super) fn in_flight(case: &Case<'_>) -> (String, String) {
    let under_way = |record: &&Record| record.sent_s < 0.0 && record.ended_s >= 0.0;
    let lost: Vec<&Record> = case.drill.lost().filter(under_way).collect();
    of_these(case, &lost)
}

/// By what became of them, each group with its cause; and what would save them.
fn of_these(case: &Case<'_>, lost: &[&Record]) -> (String, String) {
    let (drill, signal) = (case.drill, signal(case));
    let count = |test: &dyn Fn(&Record) -> bool| lost.iter().filter(|record| test(record)).count();
    let (mut causes, mut fixes) = (Vec::new(), Vec::new());
    let cut = count(&|record| is_cut(record) && !is_unaccepted(case, record));
    if cut > 0 {
        let (cause, fix) = of_the_cut(case, cut, &signal);
        causes.push(cause);
        fixes.push(fix);
    }
    let unaccepted = count(&|record| is_unaccepted(case, record));
    if unaccepted > 0 {
        causes.push(format!(
            "{unaccepted} {} in the listener's backlog and {} never accepted: the app closed the listener or ended without \
             taking what waited there",
            plural(unaccepted, "connection was", "connections were"),
            plural(unaccepted, "was", "were")
        ));
    }
    let refused = count(&|record| record.outcome == Outcome::Refused);
    if refused > 0 {
        let at = drill.at(What::Refused).unwrap_or(0.0);
        let gone = case.facts.exit.is_some_and(|(exit, _)| at >= exit - TOGETHER_S);
        causes.push(format!(
            "{refused} {} refused: {} {} after the stop, while the load balancer still sent for {}",
            plural(refused, "was", "were"),
            if gone { "the app was gone" } else { "the app stopped listening" },
            seconds(at),
            seconds(drill.lb_lag_s)
        ));
    }
    let holes = count(&|record| matches!(record.outcome, Outcome::BlackHole | Outcome::Timeout));
    if holes > 0 {
        causes.push(format!(
            "{holes} {} never answered: the app keeps its listener open and serves nothing more{}",
            plural(holes, "was", "were"),
            of_its_server(case)
        ));
    }
    if unaccepted + refused + holes > 0 {
        fixes.push(serve_on(case));
    }
    let statuses = count(&|record| record.outcome == Outcome::Status);
    if statuses > 0 {
        let first = lost.iter().find(|record| record.outcome == Outcome::Status);
        let status = first.and_then(|record| record.status).unwrap_or(0);
        causes.push(format!(
            "{statuses} {} answered with an error ({status}) while the load balancer still sent",
            plural(statuses, "was", "were")
        ));
        fixes.push("let readiness alone fail when the stop begins, and serve on".to_owned());
    }
    if causes.is_empty() {
        causes.push(by_outcome(lost.iter().copied()));
        fixes.push("see the single requests in --output html=PATH".to_owned());
    }
    (causes.join("; "), fixes.join("; "))
}

fn is_cut(record: &Record) -> bool {
    matches!(record.outcome, Outcome::Reset | Outcome::ResetInAnswer | Outcome::Truncated)
}

/// A new connection that was reset without an answer when the app no longer took any: it sat in the backlog. Such a
/// request came after the last one that was served.
fn is_unaccepted(case: &Case<'_>, record: &Record) -> bool {
    if record.outcome != Outcome::Reset || record.reused || record.kind == Kind::Stream {
        return false;
    }
    // It dies with the listener: at the app's end, or when the first connection is refused. One that the app had taken
    // dies with the app, too; what was taken last is what was answered last.
    let told = told_s(case);
    match case.facts.most_unaccepted.max(reported_unaccepted(case)) {
        0 => false,
        _ => record.sent_s > told - AT_ONCE_S || record.ended_s - record.sent_s > AT_ONCE_S && !is_slow(record),
    }
}

fn is_slow(record: &Record) -> bool {
    record.kind == Kind::Slow
}

fn reported_unaccepted(case: &Case<'_>) -> usize {
    let all = case.drill.in_flight.iter().filter(|seen| seen.moment == "exit" || seen.moment == "kill");
    all.map(|seen| seen.unaccepted).max().unwrap_or(0)
}

fn of_the_cut(case: &Case<'_>, cut: usize, signal: &str) -> (String, String) {
    let what = format!("{cut} {} cut off", plural(cut, "request was", "requests were"));
    let own_end = "finish what is in flight before the app exits (stop listening, wait for open requests, then exit)";
    match end(case) {
        Some((after, Some(ExitStatus::Signaled(by)))) if by.to_string() == signal || case.facts.no_handler => {
            let cause = format!("{what} {} after {signal}, and the app died of it: it has no handler", seconds(after));
            (cause, no_handler(case).1)
        }
        Some((after, _)) if case.facts.no_handler => {
            let cause = format!("{what} {} after {signal}, and the app died of it: it has no handler", seconds(after));
            (cause, no_handler(case).1)
        }
        _ if case.facts.killed_s.is_some() => {
            (format!("{what} by SIGKILL at the end of the grace period"), too_late(case).1)
        }
        Some((after, status)) if after < AT_ONCE_S => {
            let how = status.map(|status| format!(" ({status})")).unwrap_or_default();
            let cause = format!(
                "{what}: the app exited {} after {signal}{how}; its handler does not wait for requests in flight",
                seconds(after)
            );
            let under = match is_supervised(case) {
                true => "or keep the default --hold idle, which holds the signal back until they are done",
                false => {
                    "or run it under graceful with the default --hold idle, which holds the signal back until then"
                }
            };
            (cause, format!("{own_end}{}, {under}", of_its_server(case)))
        }
        Some((after, _)) => {
            let cause = format!("{what} while the app stopped, {} after {signal}", seconds(after));
            (cause, format!("{own_end}{}", of_its_server(case)))
        }
        None => (format!("{what} by a server that lives on"), format!("{own_end}{}", of_its_server(case))),
    }
}

/// Of the first new connection that was not served within the lag.
pub(super) fn window(case: &Case<'_>, first: &Record) -> (String, String) {
    let signal = signal(case);
    let cause = match case.facts.exit {
        Some((at, _)) if at <= first.ended_s + TOGETHER_S => {
            format!("the app was gone {} after the stop", seconds(at))
        }
        _ => format!("the app stops serving on {signal} although new requests still come"),
    };
    (cause, serve_on(case))
}

/// Of a readiness that does not fail in time.
pub(super) fn readiness(case: &Case<'_>) -> (String, String) {
    let cause = match case.drill.at(What::Refused) {
        Some(at) => format!("the load balancer is not told before the listener closes, {}", relative(at)),
        None => "the load balancer is never told to send elsewhere".to_owned(),
    };
    let fix = match is_supervised(case) {
        true => {
            "take the load balancer's readiness from graceful: --probe-listen :9090 and /readyz, which fails with the stop"
        }
        false => {
            "let /ready fail as soon as the stop begins, or take it from graceful: --probe-listen :9090 and /readyz, which \
             fails with the stop"
        }
    };
    (cause, fix.to_owned())
}

/// Of an app that needs SIGKILL.
pub(super) fn too_late(case: &Case<'_>) -> (String, String) {
    let signal = signal(case);
    let busy = case.drill.in_flight.iter().rev().find(|seen| matches!(seen.moment.as_str(), "kill" | "exit"));
    let cause = match busy {
        _ if case.facts.ignores => format!("the app ignores {signal}"),
        Some(seen) if seen.busy > 0 => {
            format!("the app did not end on {signal}; {} connections still had a request in flight", seen.busy)
        }
        _ => format!("the app did not end on {signal}"),
    };
    let fix = format!(
        "let its handler for {signal} end the app, bound its own drain, or name the signal that stops it with \
         --stop-signal{}",
        of_its_server(case)
    );
    (cause, fix)
}

/// Of an exit status other than 0.
pub(super) fn status(case: &Case<'_>, code: u8) -> (String, String) {
    let cause = match code {
        137 => "the app was killed".to_owned(),
        129..=192 => format!("the app ends by signal {}, which some servers do after a clean stop", code - 128),
        _ => format!("the app says {code} after a stop"),
    };
    let fix = match code {
        137 => "see exit-in-time".to_owned(),
        _ => format!(
            "if that is a clean stop: --success-exit-status {code} under graceful, or --expect exit-status{}",
            of_its_server(case)
        ),
    };
    (cause, fix)
}

/// Of an app that dies of the signal.
pub(super) fn no_handler(case: &Case<'_>) -> (String, String) {
    let signal = signal(case);
    let fix = match is_supervised(case) {
        true => format!("keep the default --hold idle, or add a handler for {signal}"),
        false => format!(
            "run it under graceful with the default --hold idle, or add a handler for {signal} that lets requests end"
        ),
    };
    (format!("the app has no handler for {signal}: it dies of it at once"), fix)
}

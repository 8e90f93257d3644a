//! The checks of a drill, each with its evidence, and the root causes of those that fail. Pure.
//!
//! A check passes or fails by what was seen. Where there was nothing to look at, it is skipped; where the evidence is
//! missing, it is unknown: absence of evidence is not a pass.

use super::advice::{self, Explanation};
use super::case;
use super::case::{Case, relative, seconds, under_way_at};
use super::evidence::{Check, CheckName, CheckResult, Drill, Finding, TimelineMarkKind};
use super::facts::{Exit, ReadyState};
use super::plan::Subject;
use super::record::{ClientKind, Record, RequestOutcome};
use crate::config;
use crate::status::ExitStatus;
use crate::timeline::report::Report;
use crate::timeline::text::plural;

/// What the checks come to.
#[derive(Debug, Default)]
pub(super) struct Judged {
    pub(super) checks: Vec<Check>,
    pub(super) findings: Vec<Finding>,
    pub(super) remarks: Vec<String>,
}

/// A check, and why it fails.
pub(super) type ExplainedCheck = (Check, Vec<Explanation>);

/// All checks that fit what was stopped.
pub(super) fn of(case: &Case<'_>) -> Judged {
    let mut judged = Judged::default();
    let all = match case.plan.subject {
        Subject::Nothing => vec![zero_dropped(case)],
        Subject::Command(_) if case.plan.reloads.is_some() => {
            vec![zero_dropped(case), in_flight(case), served_in_window(case), reloaded(case)]
        }
        Subject::Command(_) => {
            vec![zero_dropped(case), in_flight(case), served_in_window(case), command_in_time(case)]
        }
        Subject::Own { .. } | Subject::Pid { .. } => vec![
            zero_dropped(case),
            in_flight(case),
            served_in_window(case),
            gone_after(case),
            readiness(case),
            exit_in_time(case),
            exit_status(case, &mut judged.remarks),
            nothing_left(case, &mut judged.remarks),
            signal_handled(case),
        ],
    };
    for (check, whys) in all {
        whys.into_iter().for_each(|why| add(&mut judged.findings, why, check.name));
        judged.checks.push(check);
    }
    judged.remarks.extend(owed_to_the_hold(case));
    judged
}

/// Adds each cause once, with all checks that it fails.
pub(super) fn add(findings: &mut Vec<Finding>, why: Explanation, check: CheckName) {
    match findings.iter_mut().find(|finding| finding.cause == why.cause) {
        Some(known) if known.checks.contains(&check) => {}
        Some(known) => known.checks.push(check),
        None => findings.push(Finding {
            cause: why.cause,
            words: why.words,
            fix: why.fix.words,
            flags: why.fix.flags,
            at_s: why.at_s,
            dropped: why.dropped,
            checks: vec![check],
        }),
    }
}

fn pass(name: CheckName, evidence: String) -> ExplainedCheck {
    (Check { name, result: CheckResult::Pass, evidence, causes: Vec::new() }, Vec::new())
}

fn skipped(name: CheckName, evidence: &str) -> ExplainedCheck {
    let (check, whys) = pass(name, evidence.to_owned());
    (Check { result: CheckResult::Skipped, ..check }, whys)
}

fn unknown(name: CheckName, evidence: &str) -> ExplainedCheck {
    let (check, whys) = pass(name, evidence.to_owned());
    (Check { result: CheckResult::Unknown, ..check }, whys)
}

pub(super) fn failed(name: CheckName, evidence: String, whys: Vec<Explanation>) -> ExplainedCheck {
    let causes = whys.iter().map(|why| why.cause).collect();
    (Check { name, result: CheckResult::Fail, evidence, causes }, whys)
}

/// For how many of these it cannot be told whether they were dropped.
fn untold<'a>(case: &Case<'_>, among: impl Iterator<Item = &'a Record>) -> usize {
    among.filter(|record| case.drill.is_untold(record)).count()
}

fn zero_dropped(case: &Case<'_>) -> ExplainedCheck {
    let (drill, sent) = (case.drill, case.drill.requests.len());
    let untold = untold(case, drill.requests.iter());
    if drill.dropped == 0 && untold > 0 {
        let answers = if untold == 1 { "1 answer".to_owned() } else { format!("{untold} answers") };
        return unknown(
            CheckName::ZeroDropped,
            &format!(
                "{sent} {}, none dropped for certain, but {answers} ended with the connection within the stop and had no \
                 other end (no Content-Length, not chunked): whether they were whole cannot be told, until the server sends \
                 one of the two",
                plural(sent, "request", "requests")
            ),
        );
    }
    if drill.dropped == 0 {
        return pass(CheckName::ZeroDropped, format!("{sent} {}, none dropped", plural(sent, "request", "requests")));
    }
    let times = || drill.lost().map(|record| record.intended_s);
    let (first, last) = (times().fold(f64::INFINITY, f64::min), times().fold(f64::NEG_INFINITY, f64::max));
    let until = if last > first { format!(" to {}", relative(last)) } else { String::new() };
    let evidence = format!(
        "{sent} {}, {} dropped: {}; sent {}{}{until}",
        plural(sent, "request", "requests"),
        drill.dropped,
        advice::by_outcome(drill.lost()),
        if until.is_empty() { "" } else { "from " },
        relative(first),
    );
    let whys = match case.plan.subject {
        Subject::Nothing => vec![Explanation::new(
            super::evidence::Cause::TargetFails,
            "nothing was stopped: the target fails by itself",
            "look at the target's own log; --rate may be more than it can do",
        )],
        _ => advice::dropped(case),
    };
    failed(CheckName::ZeroDropped, evidence, whys)
}

fn in_flight(case: &Case<'_>) -> ExplainedCheck {
    let under_way = || under_way_at(case.drill, case.stop_s());
    let all = under_way().count();
    let of_all = format!("of {all} {} under way at the stop", plural(all, "request", "requests"));
    let lost: Vec<&Record> = under_way().filter(|record| case.drill.is_dropped(record)).collect();
    if all == 0 {
        return skipped(CheckName::InFlight, "no request was under way at the stop; --slow-target URL keeps some");
    }
    let untold = untold(case, under_way());
    if lost.is_empty() && untold > 0 {
        let evidence = format!("{of_all} {untold} ended with the connection, whole or not");
        return unknown(CheckName::InFlight, &evidence);
    }
    if lost.is_empty() {
        return pass(CheckName::InFlight, format!("{all} {of_all} {} completed", plural(all, "was", "were")));
    }
    let whole = all - lost.len();
    let evidence = format!(
        "{whole} {of_all} {} completed, {}",
        plural(whole, "was", "were"),
        advice::by_outcome(lost.iter().copied())
    );
    failed(CheckName::InFlight, evidence, advice::in_flight(case))
}

/// New connections are served until the load balancer has stopped sending them.
fn served_in_window(case: &Case<'_>) -> ExplainedCheck {
    let (drill, lag) = (case.drill, case.drill.lb_lag_s);
    let fresh =
        || drill.requests.iter().filter(|r| r.kind == ClientKind::New && r.intended_s > 0.0 && r.intended_s <= lag);
    if fresh().count() == 0 {
        return skipped(
            CheckName::ServedInWindow,
            "the load has no new connections after the stop (--mix new=0, or --lb-lag 0s)",
        );
    }
    let lost: Vec<&Record> = fresh().filter(|record| case.drill.is_dropped(record)).collect();
    let Some(first) = lost.first() else {
        return pass(
            CheckName::ServedInWindow,
            format!("new connections were served to the end of the lag, {}", seconds(lag)),
        );
    };
    let until = fresh().filter(|r| r.outcome.is_ok() && r.sent_s < first.ended_s).map(|r| r.sent_s).reduce(f64::max);
    let evidence = format!(
        "new connections were served only until {}, and the load balancer sends for {}: {}",
        until.map_or("the stop".to_owned(), relative),
        seconds(lag),
        first.outcome.words()
    );
    failed(CheckName::ServedInWindow, evidence, advice::window(case, &lost))
}

fn gone_after(case: &Case<'_>) -> ExplainedCheck {
    match (case.facts.result.exit(), case.facts.accepts_after) {
        (Some(_), Some(true)) => failed(
            CheckName::GoneAfter,
            "the port still takes connections when the app is gone".to_owned(),
            vec![Explanation::new(
                super::evidence::Cause::HelpersLeft,
                "another process has the listener, most likely a child that the app has left behind",
                "let the app end its children, or run it under graceful, which does",
            )],
        ),
        (Some(exit), Some(false)) => {
            pass(CheckName::GoneAfter, format!("connections are refused after the exit, {}", seconds(exit.at_s)))
        }
        (None, _) => skipped(CheckName::GoneAfter, "the app did not exit"),
        (_, None) => unknown(CheckName::GoneAfter, "it could not be checked"),
    }
}

fn readiness(case: &Case<'_>) -> ExplainedCheck {
    if case.plan.ready_url(case.way).is_none() {
        return skipped(CheckName::Readiness, "no readiness endpoint was named; --ready-url URL watches one");
    }
    let changes = &case.facts.readiness;
    if !matches!(changes.first(), Some((_, ReadyState::Ready))) {
        return unknown(CheckName::Readiness, "the endpoint was not ready before the stop");
    }
    let closed = case.drill.at(TimelineMarkKind::Refused);
    let fails = |evidence| failed(CheckName::Readiness, evidence, vec![advice::readiness(case)]);
    match changes.iter().find(|(at, state)| *at >= 0.0 && state.is_failing()) {
        Some((at, ReadyState::NotReady(what))) => match closed {
            Some(closed) if closed < *at => fails(format!(
                "readiness failed {} after the stop; the listener closed {} before that",
                seconds(*at),
                seconds(at - closed)
            )),
            _ => pass(CheckName::Readiness, format!("it failed {} after the stop ({what})", seconds(*at))),
        },
        Some((at, _)) => fails(format!("it said ready until its listener was gone, {} after the stop", seconds(*at))),
        None => fails("it said ready to the end".to_owned()),
    }
}

fn was_killed(case: &Case<'_>) -> bool {
    case.facts.killed_s.is_some() || case.facts.report.as_ref().is_some_and(|report| report.sigkill)
}

fn exit_in_time(case: &Case<'_>) -> ExplainedCheck {
    let grace = seconds(case.drill.grace_period_s);
    match case.facts.result.exit() {
        Some(Exit { at_s, .. }) if !was_killed(case) => pass(
            CheckName::ExitInTime,
            format!("it exited {} after the stop; the grace period is {grace}", seconds(at_s)),
        ),
        Some(Exit { at_s, .. }) => failed(
            CheckName::ExitInTime,
            format!("SIGKILL was needed: it was gone {} after the stop; the grace period is {grace}", seconds(at_s)),
            vec![advice::too_late(case)],
        ),
        None => failed(CheckName::ExitInTime, "it was still there at the end".to_owned(), vec![advice::too_late(case)]),
    }
}

/// Of a command's target only the command's end is seen; how long the command took says little about the target.
pub(super) fn command_in_time(case: &Case<'_>) -> ExplainedCheck {
    use super::evidence::Cause;
    let grace = seconds(case.drill.grace_period_s);
    let fails = |evidence, why| failed(CheckName::ExitInTime, evidence, vec![why]);
    let exit = case.facts.result.exit().filter(|_| case.facts.killed_s.is_none());
    let Some(Exit { at_s, status }) = exit else {
        return fails(
            format!("the stop command was not over within {grace}, and the drill cut it short"),
            Explanation::new(
                Cause::CommandBrokenOff,
                format!("the stop command takes longer than --grace-period {grace}"),
                "raise --grace-period, or see what the command waits for",
            ),
        );
    };
    let took = seconds(at_s);
    if status != Some(ExitStatus::Exited(0)) {
        let how = status.map(|status| format!(": {status}")).unwrap_or_default();
        return fails(
            format!("the stop command ended after {took}{how}"),
            Explanation::new(
                Cause::CommandFailed,
                "the stop command itself failed",
                "run it by hand and see what it says",
            ),
        );
    }
    if case.platform_killed_s().is_some() {
        let waits = seconds(case.platform_waits_s());
        let evidence = match case.plan.grace_is_given {
            true => format!("the stop command took {took}, and the grace period is {waits}"),
            false => format!("the stop command took {took}: Docker, for one, sends SIGKILL after {waits}"),
        };
        return fails(evidence, advice::killed_by_platform(case));
    }
    let evidence = format!("the stop command was over after {took}, which says nothing about the app's own end");
    skipped(CheckName::ExitInTime, &evidence)
}

/// Each reload ends with a new run of the app that serves.
fn reloaded(case: &Case<'_>) -> ExplainedCheck {
    use super::evidence::Cause;
    let times = case.plan.reloads.unwrap_or(1);
    let count = usize::try_from(times).unwrap_or(usize::MAX);
    let exit = case.facts.result.exit().filter(|_| case.facts.killed_s.is_none());
    if let Some(Exit { at_s, status: Some(ExitStatus::Exited(0)) }) = exit {
        let evidence = format!("{times} {}, the last over after {}", plural(count, "reload", "reloads"), seconds(at_s));
        return pass(CheckName::Reloaded, evidence);
    }
    let failed_as = |line: &String| line.split_once("the reload failed: ").map(|(_, why)| why.to_owned());
    let Some(why) = case.facts.said.iter().rev().find_map(failed_as) else {
        let why = Explanation::new(
            Cause::ReloadFailed,
            "a reload did not come to its end",
            "look at the log of graceful (--show-output)",
        );
        let evidence = "no reload was over, neither well nor badly".to_owned();
        return failed(CheckName::Reloaded, evidence, vec![why]);
    };
    // EADDRINUSE, as the runtimes of servers word it.
    let in_use = |line: &String| ["in use", "EADDRINUSE"].iter().any(|words| line.contains(words));
    let explanation = match case.facts.said.iter().any(in_use) {
        true => Explanation::new(
            Cause::SocketNotTaken,
            "the app binds its address itself, which the old run still has: it does not take LISTEN_FDS",
            "let it listen on descriptor 3, the socket of --listen (uvicorn --fd 3, Node listen({fd: 3}), gunicorn by itself)",
        ),
        false => Explanation::new(
            Cause::ReloadFailed,
            "the new run of the app did not come to serve",
            "see why it ends, or is not ready, in its own output (--show-output); --reload-ready says what ready means",
        ),
    };
    failed(CheckName::Reloaded, why, vec![explanation])
}

pub(super) fn exit_status(case: &Case<'_>, remarks: &mut Vec<String>) -> ExplainedCheck {
    let Some(exit) = case.facts.result.exit() else { return skipped(CheckName::ExitStatus, "the app did not exit") };
    let Some(status) = exit.status else {
        return skipped(CheckName::ExitStatus, "it cannot be known: the app is not a child of the drill");
    };
    let code = status.code();
    if code == 0 || case.plan.exit_status.contains(&code) {
        return pass(CheckName::ExitStatus, format!("{code}"));
    }
    if let Some(why) = is_clean(case, status) {
        remarks.push(format!("the exit status is {code}, and clean: {why}"));
        return pass(CheckName::ExitStatus, format!("{code} ({status}): {why}"));
    }
    failed(CheckName::ExitStatus, format!("{code} ({status})"), vec![advice::exit_status(case, status)])
}

/// Why this status is that of a clean stop, if it is.
fn is_clean(case: &Case<'_>, status: ExitStatus) -> Option<String> {
    let report = case.facts.report.as_ref();
    let sent = report.and_then(Report::stop_signal);
    if let (Some(sent), ExitStatus::Signaled(by), 0) = (sent, status, case.drill.dropped)
        && by == sent.signal
        && !case.drill.requests.is_empty()
    {
        return Some(format!("graceful sent the app {by} when none of its requests was in flight"));
    }
    let Subject::Own { command, .. } = &case.plan.subject else { return None };
    let (name, _) = config::known_server(command)?;
    config::clean_exit_statuses(command).contains(&status.code()).then(|| format!("{name} ends a clean stop with it"))
}

pub(super) fn nothing_left(case: &Case<'_>, remarks: &mut Vec<String>) -> ExplainedCheck {
    const NAME: CheckName = CheckName::NothingLeft;
    let fails = |words: String| {
        let why = Explanation::new(
            super::evidence::Cause::HelpersLeft,
            "the app does not end the processes that it starts",
            "wait for them in the app's handler; graceful ends what is left in any case (--leftovers)",
        );
        failed(NAME, words, vec![why])
    };
    if case.facts.result.exit().is_none() {
        return skipped(NAME, "the app did not exit");
    }
    if matches!(case.plan.subject, Subject::Pid { .. }) {
        return skipped(NAME, "it cannot be known: the app is not a child of the drill");
    }
    let passes = || pass(NAME, "no process outlived the app".to_owned());
    if !case.facts.supervised {
        return match case.facts.left.as_slice() {
            [] => passes(),
            left => fails(format!("{} outlived the app: {}", left.len(), left.join(", "))),
        };
    }
    let Some(report) = &case.facts.report else { return unknown(NAME, "there is no report from graceful") };
    let (found, helpers) = (report.leftovers.found, report.leftovers.ended_by_themselves);
    match (found.saturating_sub(helpers), helpers) {
        (0, 0) => passes(),
        (0, helpers) => {
            remarks.push(format!("{helpers} of the app's helpers ended by themselves within half a second of it"));
            pass(NAME, format!("{helpers} outlived the app for less than half a second"))
        }
        (left, _) => fails(format!("{left} outlived the app; graceful ended what was left")),
    }
}

fn signal_handled(case: &Case<'_>) -> ExplainedCheck {
    const NAME: CheckName = CheckName::SignalHandled;
    let (facts, signal) = (case.facts, case::signal(case));
    let is_cut = |record: &Record| {
        matches!(record.outcome, RequestOutcome::Reset | RequestOutcome::ResetInAnswer | RequestOutcome::Truncated)
            && case.drill.is_dropped(record)
    };
    match (facts.no_handler, facts.ignores) {
        (true, _) if facts.supervised || facts.under_graceful => match case.drill.requests.iter().any(is_cut) {
            false => pass(NAME, format!("no handler for {signal}: graceful held it back until nothing was in flight")),
            true => failed(NAME, format!("no handler for {signal}"), vec![advice::no_handler_why(case)]),
        },
        (true, _) => failed(NAME, format!("no handler: {signal} kills it at once"), vec![advice::no_handler_why(case)]),
        (_, true) => failed(NAME, format!("it ignores {signal}"), vec![advice::too_late(case)]),
        (false, false) if was_killed(case) || facts.result.exit().is_none() => {
            failed(NAME, format!("{signal} did not end it"), vec![advice::too_late(case)])
        }
        (false, false) => pass(NAME, format!("{signal} is caught or waited for")),
    }
}

/// The hold lets an app without a handler serve on as long as requests come without a pause, which nobody promises.
fn owed_to_the_hold(case: &Case<'_>) -> Option<String> {
    let report = case.facts.report.as_ref().filter(|_| is_dropless(case.drill))?;
    let (delay, lag) = (report.budget.pre_stop_delay_s, case.lag_s());
    let held = report.hold.is_some() && case.facts.no_handler;
    (held && delay < lag).then(|| {
        format!(
            "only the hold kept the app serving to the end of the lag: --pre-stop-delay {} does not depend on requests that \
             come without a pause",
            advice::delay_over(lag)
        )
    })
}

fn is_dropless(drill: &Drill) -> bool {
    drill.dropped == 0
}

#[cfg(test)]
#[path = "checks_tests.rs"]
mod tests;

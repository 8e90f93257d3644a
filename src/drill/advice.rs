//! What to say about each cause, and what to change. Pure.
//!
//! A fix names the flag of graceful, the server's own setting or the line to write. A delay is advised for what a delay
//! saves, and then it is longer than the load balancer's lag: one that is just long enough for what this drill saw is
//! too short for the next. One that is set already is not advised again.

use super::case::{Case, relative, seconds, signal, under_way_at};
use super::causes::{self, Group, told_s};
use super::evidence::{Cause, TimelineMarkKind};
use super::plan::Subject;
use super::record::{ClientKind, Record, RequestOutcome};
use crate::config;
use crate::signal::Signal;
use crate::status::ExitStatus;
use crate::timeline::InFlightMoment as Looked;
use crate::timeline::text::plural;
use std::collections::BTreeMap;
use std::time::Duration;

/// How many seconds an app needs to end after its last answer.
const MARGIN_S: f64 = 1.0;

/// The fix for a stop from elsewhere.
const WHO_STOPS: &str = "find out what stops it: another sender of signals, or the app itself";
/// The fix for a SIGKILL from elsewhere.
const WHO_KILLS: &str = "look for a lack of memory (dmesg, memory.events), or for whoever sends it";

/// Why a check fails, and what to change.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Explanation {
    pub(super) cause: Cause,
    pub(super) words: String,
    pub(super) fix: Fix,
    pub(super) at_s: Option<f64>,
    pub(super) dropped: usize,
}

/// What to change.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fix {
    pub(super) words: String,
    /// The flags of `graceful run` that are the fix, or a part of it.
    pub(super) flags: Vec<String>,
}

impl From<String> for Fix {
    fn from(words: String) -> Fix {
        Fix { words, flags: Vec::new() }
    }
}

impl From<&str> for Fix {
    fn from(words: &str) -> Fix {
        words.to_owned().into()
    }
}

impl Explanation {
    pub(super) fn new(cause: Cause, words: impl Into<String>, fix: impl Into<Fix>) -> Explanation {
        Explanation { cause, words: words.into(), fix: fix.into(), at_s: None, dropped: 0 }
    }
}

/// "5 refused, 3 reset before an answer".
pub(super) fn by_outcome<'a>(records: impl Iterator<Item = &'a Record>) -> String {
    let mut counts: BTreeMap<RequestOutcome, usize> = BTreeMap::new();
    for record in records {
        *counts.entry(record.outcome).or_default() += 1;
    }
    let parts: Vec<String> = counts.iter().map(|(outcome, count)| format!("{count} {}", outcome.words())).collect();
    parts.join(", ")
}

/// Whether graceful is in charge, the drill's own or one that was there before: then nobody is told to use it.
fn is_supervised(case: &Case<'_>) -> bool {
    case.facts.supervised || case.facts.under_graceful
}

/// The shortest delay in whole tenths of a second that is longer than this many seconds.
pub(super) fn delay_over(value: f64) -> String {
    let tenths = (value.max(0.0) * 10.0).floor() as u64 + 1;
    if tenths.is_multiple_of(10) { format!("{}s", tenths / 10) } else { format!("{}ms", tenths * 100) }
}

/// The delay that makes the app serve on for the lag, and not only for what this drill happened to see.
fn serve_on(case: &Case<'_>) -> Fix {
    let last = case.drill.lost().map(|record| record.intended_s).fold(0.0, f64::max);
    // The command's start is not the stop: with a delay, what it stops serves on for the lag from its own stop on, and
    // so does each instance that a rolling command stops.
    let needed = if case.is_command() { case.lag_s() } else { last.max(case.lag_s()) };
    let delay = delay_over(needed);
    if let Some(outage_s) = causes::outage_s(case) {
        return format!(
            "let another instance serve meanwhile, or start the new one before the old one stops: nobody served for {}, and no \
             delay saves what comes while the only instance is restarted",
            seconds(outage_s)
        )
        .into();
    }
    let mut flags = vec![format!("--pre-stop-delay={delay}")];
    if matches!(case.plan.subject, Subject::Command(_)) && case.plan.ready_url.is_none() {
        flags.push("--probe-listen=:9090".to_owned());
        let words = format!(
            "run it as `graceful --pre-stop-delay {delay} --probe-listen :9090 -- ...`, and let the drill, as the load \
             balancer, watch its /readyz (--ready-url): a refusal is too late to tell of a stop"
        );
        return Fix { words, flags };
    }
    if !is_supervised(case) {
        let words =
            format!("run it as `graceful --pre-stop-delay {delay} -- ...`, which lets it serve on for that long");
        return Fix { words, flags };
    }
    let set = case.facts.report.as_ref().map(|report| report.budget.pre_stop_delay_s);
    match set.filter(|set| *set > needed) {
        Some(set) => format!(
            "--pre-stop-delay is {} already; the app itself must serve until graceful tells it to stop{}",
            seconds(set),
            of_its_server(case)
        )
        .into(),
        None => Fix { words: format!("set --pre-stop-delay {delay}"), flags },
    }
}

/// What the app's server is known for, in parentheses.
fn of_its_server(case: &Case<'_>) -> String {
    let Subject::Own { command, .. } = &case.plan.subject else { return String::new() };
    config::known_server(command).map(|(name, advice)| format!(" ({name}: {advice})")).unwrap_or_default()
}

/// Explains the dropped requests, each of which counts for one cause.
pub(super) fn dropped(case: &Case<'_>) -> Vec<Explanation> {
    causes::of(case, case.drill.lost()).iter().map(|group| of_group(case, group)).collect()
}

/// Explains the loss of requests that were under way at the stop.
pub(super) fn in_flight(case: &Case<'_>) -> Vec<Explanation> {
    let lost = under_way_at(case.drill, case.stop_s()).filter(|record| case.drill.is_dropped(record));
    let groups = causes::of(case, lost);
    groups.iter().map(|group| Explanation { dropped: 0, ..of_group(case, group) }).collect()
}

/// Explains new connections that were not served within the lag.
pub(super) fn window(case: &Case<'_>, lost: &[&Record]) -> Vec<Explanation> {
    let groups = causes::of(case, lost.iter().copied());
    groups.iter().map(|group| Explanation { dropped: 0, ..of_group(case, group) }).collect()
}

fn of_group(case: &Case<'_>, group: &Group<'_>) -> Explanation {
    let (count, at_s, signal) = (group.records.len(), group.at_s(), signal(case));
    let were = plural(count, "request was", "requests were");
    let cut = format!("{count} {were} cut off");
    let after_signal = match case.plan.subject {
        Subject::Command(_) | Subject::Nothing => relative(at_s),
        _ => format!("{} after {signal}", seconds(at_s - told_s(case))),
    };
    let (words, fix): (String, Fix) = match group.cause {
        Cause::NoHandler => (
            format!("{cut} {after_signal}, and the app died of it: it has no handler that waits"),
            no_handler_fix(case),
        ),
        Cause::ExitsAtOnce => {
            (format!("{cut} {after_signal}: its handler does not wait for requests in flight"), finish(case))
        }
        Cause::CutAtExit => (format!("{cut} when the app exited, {after_signal}"), finish(case)),
        Cause::CutWhileStopping => (format!("{cut} {after_signal}, while the app was stopping"), finish(case)),
        Cause::EndedBeforeSignal => {
            (format!("{cut} {}: the app ended before graceful told it to stop", relative(at_s)), WHO_STOPS.into())
        }
        Cause::HoldMissed => (
            format!("{cut} {after_signal}: graceful saw nothing in flight, and the clients did"),
            hold_fix(case, group),
        ),
        Cause::KilledByGraceful | Cause::KilledByDrill | Cause::KilledByPlatform => {
            let by = match group.cause {
                Cause::KilledByGraceful => "graceful, at the end of its budget",
                Cause::KilledByDrill => "the drill, at the end of the grace period",
                _ => "the platform, at the end of its patience (docker stop has 10 s of it)",
            };
            let fix = if group.cause == Cause::KilledByPlatform { platform_fix(case) } else { too_late_fix(case) };
            (format!("{cut} {} by SIGKILL from {by}", relative(at_s)), fix)
        }
        Cause::KilledFromOutside => (
            format!("{cut} {} by a SIGKILL that neither graceful nor the drill sent", relative(at_s)),
            WHO_KILLS.into(),
        ),
        Cause::BacklogLost => (
            format!(
                "{count} {} in the listener's backlog and {} never accepted: the app closed the listener or ended without \
                 taking what waited there",
                plural(count, "connection was", "connections were"),
                plural(count, "was", "were")
            ),
            serve_on(case),
        ),
        Cause::NeverAccepted => (
            format!(
                "{count} {were} never answered: the app keeps its listener open and serves nothing more{}",
                of_its_server(case)
            ),
            serve_on(case),
        ),
        Cause::RefusedAfterExit => (
            format!(
                "{count} {were} refused: the app was gone {}, while the load balancer still sent for {}",
                relative(causes::gone_s(case).unwrap_or(at_s)),
                seconds(case.drill.lb_lag_s)
            ),
            serve_on(case),
        ),
        Cause::StoppedListening => (
            format!(
                "{count} {were} refused: the app stopped listening {}, while the load balancer still sent for {}",
                relative(at_s),
                seconds(case.drill.lb_lag_s)
            ),
            serve_on(case),
        ),
        Cause::ProxyReset => (
            format!(
                "{count} {were} reset by a proxy in between (docker-proxy does so) from {} on: the app behind it was gone",
                relative(at_s)
            ),
            serve_on(case),
        ),
        Cause::IdleClosed => (
            format!("{count} {were} on a kept connection that the app closed {}, as the request came", relative(at_s)),
            serve_on(case),
        ),
        Cause::RouterNotTold => (
            format!("{count} {were} answered by a router with {} from {} on", status(group), relative(at_s)),
            Fix {
                words: format!(
                    "let its readiness fail as soon as the stop begins, and the app serve on until the router has seen it \
                     (graceful's /readyz and --pre-stop-delay do both): {}",
                    serve_on(case).words
                ),
                ..serve_on(case)
            },
        ),
        Cause::ErrorWhileStopping => (
            format!(
                "{count} {were} answered with an error ({}) from {} on, while the load balancer still sent",
                status(group),
                relative(at_s)
            ),
            Fix {
                words: format!(
                    "let readiness alone fail when the stop begins, and serve on; or {}",
                    serve_on(case).words
                ),
                ..serve_on(case)
            },
        ),
        Cause::NotAnswered => (
            format!("{count} {were} not over at the end of the timeout or of the drill"),
            "see the individual requests in --output html=PATH; a request that takes so long needs a longer --timeout"
                .into(),
        ),
        _ => (by_outcome(group.records.iter().copied()), "see the individual requests in --output html=PATH".into()),
    };
    Explanation { cause: group.cause, words, fix, at_s: Some(at_s), dropped: count }
}

fn status(group: &Group<'_>) -> u16 {
    group.records.first().and_then(|record| record.status).unwrap_or(0)
}

/// The fix in the app itself, or the hold where there is none.
fn finish(case: &Case<'_>) -> Fix {
    let own = "finish what is in flight before the app exits (stop listening, wait for open requests, then exit)";
    let server = of_its_server(case);
    if causes::holds(case) {
        return format!("{own}{server}").into();
    }
    let hold = match is_supervised(case) {
        true => "--hold idle, which holds the signal back until they are done",
        false => "run it under graceful with the default --hold idle, which holds the signal back until then",
    };
    Fix { words: format!("{own}{server}, or {hold}"), flags: vec!["--hold=idle".to_owned()] }
}

fn hold_fix(case: &Case<'_>, group: &Group<'_>) -> Fix {
    let went_on = case.facts.report.as_ref().and_then(|report| report.answer_went_on.as_ref());
    if let Some(pause) = went_on {
        let window = format!("{}s", pause.quiet_window_s.ceil() as u64);
        return Fix { words: format!("set --quiet-window {window}"), flags: vec![format!("--quiet-window={window}")] };
    }
    // No answer pauses for longer than it takes.
    let takes_s = group.records.iter().map(|missed| takes_s(case, missed.kind)).fold(0.0, f64::max);
    if takes_s > config::QUIET_WINDOW.as_secs_f64() {
        let window = format!("{}s", takes_s.ceil() as u64);
        let words =
            format!("set --quiet-window {window}: answers take up to {}, and may pause as long", seconds(takes_s));
        return Fix { words, flags: vec![format!("--quiet-window={window}")] };
    }
    "set a longer --quiet-window if answers pause, or --hold with a URL or a command of the app's own that knows its \
     requests"
        .into()
}

/// How many seconds the longest answered request of this kind took.
fn takes_s(case: &Case<'_>, kind: ClientKind) -> f64 {
    let answered = case.drill.requests.iter().filter(|record| record.kind == kind && record.outcome.is_ok());
    answered.map(|record| record.ended_s - record.sent_s).fold(0.0, f64::max)
}

/// Explains a readiness that does not fail in time.
pub(super) fn readiness(case: &Case<'_>) -> Explanation {
    let words = match case.drill.at(TimelineMarkKind::Refused) {
        Some(at) => format!("the load balancer is not told before the listener closes, {}", relative(at)),
        None => "the load balancer is never told to send elsewhere".to_owned(),
    };
    let never = |flag: &std::ffi::OsString| flag.to_string_lossy().starts_with("--fail-readiness");
    let kept_ready = matches!(&case.plan.subject, Subject::Own { flags, .. } if flags.iter().any(never));
    let fix: Fix = match (is_supervised(case), case.plan.readyz.is_some()) {
        (true, true) if kept_ready => Fix {
            words: "use --fail-readiness at-stop, the default: readiness fails as soon as the stop begins".to_owned(),
            flags: vec!["--fail-readiness=at-stop".to_owned()],
        },
        (true, true) => "let the load balancer look more often than the delay is long".into(),
        (true, false) => {
            "take the load balancer's readiness from graceful: --probe-listen :9090 and /readyz, which fails with the stop"
                .into()
        }
        (false, _) => {
            "let /ready fail as soon as the stop begins, or take it from graceful: --probe-listen :9090 and /readyz, which \
             fails with the stop"
                .into()
        }
    };
    Explanation { at_s: case.drill.at(TimelineMarkKind::Refused), ..Explanation::new(Cause::ReadinessLate, words, fix) }
}

/// Explains an app that needs SIGKILL.
pub(super) fn too_late(case: &Case<'_>) -> Explanation {
    let signal = signal(case);
    let busy = case.drill.in_flight.iter().rev().find(|seen| matches!(seen.moment, Looked::Kill | Looked::Exit));
    let words = match busy {
        _ if case.facts.ignores => format!("the app ignores {signal}"),
        Some(seen) if seen.counts.busy > 0 => {
            format!("the app did not end on {signal}; {} connections still had a request in flight", seen.counts.busy)
        }
        _ => format!("the app did not end on {signal}"),
    };
    let killed_by_graceful = case.facts.report.as_ref().is_some_and(|report| report.sigkill);
    let cause = match case.facts.killed_s {
        _ if killed_by_graceful => Cause::KilledByGraceful,
        Some(_) => Cause::KilledByDrill,
        None => Cause::StillThere,
    };
    Explanation { at_s: case.drill.at(TimelineMarkKind::Kill), ..Explanation::new(cause, words, too_late_fix(case)) }
}

/// Explains a target that did not end before its platform lost patience.
pub(super) fn killed_by_platform(case: &Case<'_>) -> Explanation {
    let waits = seconds(case.platform_waits_s());
    let words = format!("the app did not end on its stop signal, and got SIGKILL from the platform after {waits}");
    Explanation::new(Cause::KilledByPlatform, words, platform_fix(case))
}

fn platform_fix(case: &Case<'_>) -> Fix {
    let budget = format!("{:.0}s", case.platform_waits_s().ceil());
    let longer = match case.plan.grace_is_given {
        true => String::new(),
        false => "; if the platform waits for longer, tell the drill with --grace-period".to_owned(),
    };
    let words = format!(
        "let its handler for the stop signal end the app, or run it as `graceful --grace-period {budget} -- ...`: without \
         a handler, PID 1 of a container ignores the signal{longer}"
    );
    Fix { words, flags: vec![format!("--grace-period={budget}")] }
}

fn too_late_fix(case: &Case<'_>) -> Fix {
    if let Some(budget_s) = longer_budget_s(case) {
        return Fix {
            words: format!("raise --grace-period to {budget_s}s or more, and the orchestrator's with it"),
            flags: vec![format!("--grace-period={budget_s}s")],
        };
    }
    format!(
        "let its handler for {} end the app, bound its own drain, or name the signal that stops it with --stop-signal{}",
        signal(case),
        of_its_server(case)
    )
    .into()
}

/// The budget that what SIGKILL cut off would have needed, in whole seconds; none if a request had been under way for
/// longer than such a request takes: it hangs, and no budget is enough for it.
fn longer_budget_s(case: &Case<'_>) -> Option<u64> {
    let report = case.facts.report.as_ref();
    let killed_s = report.and_then(|report| report.killed_s()).or(case.facts.killed_s)?;
    if case.facts.ignores {
        return None;
    }
    let mut needed_s = f64::MIN;
    for cut in case.drill.lost().filter(|record| record.ended_s >= killed_s - causes::TOGETHER_S) {
        let takes_s = takes_s(case, cut.kind);
        if cut.ended_s - cut.sent_s >= takes_s {
            return None;
        }
        needed_s = needed_s.max(cut.sent_s + takes_s);
    }
    let needed = Duration::try_from_secs_f64(needed_s + MARGIN_S).ok()?;
    // The margin for its own end is a tenth of the budget, or a second.
    Some((needed.as_secs_f64() + 1.0).ceil() as u64)
}

/// Explains an exit status other than 0.
pub(super) fn exit_status(case: &Case<'_>, status: ExitStatus) -> Explanation {
    let code = status.code();
    if code == 137 {
        let why = too_late(case);
        return match why.cause {
            Cause::StillThere => {
                let words = "the app was killed by a SIGKILL that neither graceful nor the drill sent";
                Explanation::new(Cause::KilledFromOutside, words, WHO_KILLS)
            }
            _ => Explanation { words: "the app was killed".to_owned(), ..why },
        };
    }
    if case.facts.report.as_ref().is_some_and(|report| report.app.ended_before_signal) {
        return Explanation::new(Cause::EndedBeforeSignal, "the app ended before graceful told it to stop", WHO_STOPS);
    }
    // A shell, and a server that ends workers, report a death by signal n as 128+n.
    let signal = code.checked_sub(128).and_then(|number| Signal::new(number.into()));
    if case.facts.no_handler && signal.is_some() && case.drill.dropped > 0 {
        return no_handler_why(case);
    }
    let words = match signal {
        Some(signal) => format!("the app dies of {signal}, which some servers do after a clean stop"),
        None => format!("the app exits with {code} after a stop"),
    };
    let fix = Fix {
        words: format!(
            "if that is a clean stop: --success-exit-status {code} under graceful, or --expect exit-status{}",
            of_its_server(case)
        ),
        flags: vec![format!("--success-exit-status={code}")],
    };
    Explanation::new(Cause::ExitStatus, words, fix)
}

/// Explains an app that dies of the signal.
pub(super) fn no_handler_why(case: &Case<'_>) -> Explanation {
    let words = format!("the app has no handler for {}: it dies of it at once", signal(case));
    Explanation::new(Cause::NoHandler, words, no_handler_fix(case))
}

fn no_handler_fix(case: &Case<'_>) -> Fix {
    let signal = signal(case);
    let handler = format!("add a handler for {signal} that lets requests end");
    if causes::holds(case) {
        return handler.into();
    }
    let hold = match is_supervised(case) {
        true => "keep the default --hold idle",
        false => "run it under graceful with the default --hold idle",
    };
    Fix { words: format!("{hold}, or {handler}"), flags: vec!["--hold=idle".to_owned()] }
}

#[cfg(test)]
#[path = "advice_tests.rs"]
mod tests;

//! Why requests were dropped: each goes to exactly one cause, from its own evidence, in the order of this table. Pure.
//!
//! | cause | evidence | fix |
//! | --- | --- | --- |
//! | backlog-lost | reset before an answer on a new connection, while connections waited to be accepted as the app ended | a pre-stop delay |
//! | killed-by-drill, -by-graceful | cut off at or after their SIGKILL | a handler that ends, the right stop signal, a larger budget |
//! | killed-by-platform | cut off at the end of a stop command that took as long as an orchestrator waits | graceful, with that as its budget |
//! | killed-from-outside | cut off at an end by a SIGKILL that none of these sent | memory, or whoever sends it |
//! | ended-before-signal | cut off at an end that came before graceful told the app to stop | whatever stops it |
//! | hold-missed | cut off at the signal, and the last look before it saw nothing in flight | `--quiet-window`, a hold of the app's own |
//! | proxy-reset | a stop command; reset at once on a new connection, and no later one was served, or with a restart not soon | a pre-stop delay |
//! | no-handler | cut off by an app that has no handler for the signal, or died of it at once | the hold, a handler |
//! | idle-closed | reset before an answer on a kept connection while the app went on | a pre-stop delay |
//! | exits-at-once | cut off, and the app was gone right after its signal | a handler that waits; the hold |
//! | cut-at-exit | cut off together with the app's end | a longer drain of its own |
//! | cut-while-stopping | cut off, and the app went on | a handler that waits; the hold |
//! | never-accepted | no byte of an answer within the timeout, and no connection after it was served | a pre-stop delay |
//! | refused-after-exit | refused, and the app was gone, or the platform's patience was at an end | a pre-stop delay |
//! | stopped-listening | refused, and the app was still there | a pre-stop delay |
//! | router-not-told | a stop command; 502, 503 or 504 | a readiness that fails at the stop |
//! | error-while-stopping | another status | readiness alone fails, the app serves on |
//! | not-answered | no byte of an answer within the timeout, or not the whole of it, or still open at the end | a look at the request |
//! | other | anything else | the same |

use super::case::{CLEARS_AWAY_S, Case, stop_signal};
use super::evidence::{Cause, TimelineMarkKind};
use super::facts::{Exit, StopResult};
use super::record::{ClientKind, Record, RequestOutcome};
use crate::status::ExitStatus;
use crate::timeline::{HoldMode, InFlightMoment as Looked};
use std::collections::BTreeMap;

/// An app that ends within this many seconds after the signal has not waited for anything.
const AT_ONCE_S: f64 = 0.3;
/// What is reset within this many seconds of the app's end was reset by it.
pub(super) const TOGETHER_S: f64 = 0.1;

/// This many requests in a row are not lost by chance where another instance gets half of them.
const IN_A_ROW: usize = 10;
/// And for at least this many seconds: at a high rate, ten may be one pause of the machine.
const OUTAGE_S: f64 = 0.1;

/// The dropped requests of one cause.
#[derive(Debug, PartialEq)]
pub(super) struct Group<'a> {
    pub(super) cause: Cause,
    pub(super) records: Vec<&'a Record>,
}

impl Group<'_> {
    /// When it began to cost requests: when the first of them was over.
    pub(super) fn at_s(&self) -> f64 {
        self.records.iter().map(|record| record.ended_s).fold(f64::INFINITY, f64::min)
    }
}

/// Groups these requests by cause: a SIGKILL first, from which the others follow, then those with the most requests.
pub(super) fn of<'a>(case: &Case<'_>, lost: impl Iterator<Item = &'a Record>) -> Vec<Group<'a>> {
    let mut groups: BTreeMap<Cause, Vec<&'a Record>> = BTreeMap::new();
    let served = Served::of(case);
    for record in lost {
        groups.entry(of_one(case, record, &served)).or_default().push(record);
    }
    // An app that stopped listening well before it exited refuses for one reason to the end.
    let closed_early = |lost: &Vec<&Record>| lost.iter().any(|one| !is_gone(case, one.ended_s + TOGETHER_S));
    if !case.is_command()
        && groups.get(&Cause::StoppedListening).is_some_and(closed_early)
        && let Some(later) = groups.remove(&Cause::RefusedAfterExit)
    {
        groups.entry(Cause::StoppedListening).or_default().extend(later);
    }
    let mut all: Vec<Group<'a>> = groups.into_iter().map(|(cause, records)| Group { cause, records }).collect();
    let is_kill = |cause| {
        use Cause::{KilledByDrill, KilledByGraceful, KilledByPlatform, KilledFromOutside};
        matches!(cause, KilledByDrill | KilledByGraceful | KilledByPlatform | KilledFromOutside)
    };
    all.sort_by_key(|group| (!is_kill(group.cause), std::cmp::Reverse(group.records.len())));
    all
}

fn of_one(case: &Case<'_>, record: &Record, served: &Served) -> Cause {
    match record.outcome {
        RequestOutcome::Reset if is_unaccepted(case, record) => Cause::BacklogLost,
        RequestOutcome::Reset | RequestOutcome::ResetInAnswer | RequestOutcome::Truncated => {
            of_the_cut(case, record, served)
        }
        RequestOutcome::BlackHole if record.sent_s < served.last_new_s => Cause::NotAnswered,
        RequestOutcome::BlackHole => Cause::NeverAccepted,
        RequestOutcome::Refused if is_gone(case, record.ended_s) || is_after_the_platform(case, record) => {
            Cause::RefusedAfterExit
        }
        RequestOutcome::Refused => Cause::StoppedListening,
        RequestOutcome::Status if case.is_command() && matches!(record.status, Some(502..=504)) => Cause::RouterNotTold,
        RequestOutcome::Status => Cause::ErrorWhileStopping,
        RequestOutcome::Timeout | RequestOutcome::Unfinished => Cause::NotAnswered,
        RequestOutcome::Ok | RequestOutcome::OkClose | RequestOutcome::Untold | RequestOutcome::Broken => Cause::Other,
    }
}

/// Whether this was a new connection that was reset without an answer when the app no longer took any: it sat in the
/// backlog.
fn is_unaccepted(case: &Case<'_>, record: &Record) -> bool {
    if record.reused || record.kind == ClientKind::Stream || most_unaccepted(case) == 0 {
        return false;
    }
    // Such a connection dies with the listener. One that the app had taken dies with the app, too; what was taken last
    // is what was answered last, and a slow request may be answered much later than it was taken.
    let waited = record.ended_s - record.sent_s > AT_ONCE_S && record.kind != ClientKind::Slow;
    record.sent_s > told_s(case) - AT_ONCE_S || waited
}

fn most_unaccepted(case: &Case<'_>) -> usize {
    let last = case.drill.in_flight.iter().filter(|seen| matches!(seen.moment, Looked::Exit | Looked::Kill));
    last.map(|seen| seen.counts.unaccepted).chain([case.facts.most_unaccepted]).max().unwrap_or(0)
}

fn of_the_cut(case: &Case<'_>, record: &Record, served: &Served) -> Cause {
    let facts = case.facts;
    let at_or_after = |at: Option<f64>| at.is_some_and(|at| record.ended_s >= at - TOGETHER_S);
    let at_the_end = is_gone(case, record.ended_s);
    let report = facts.report.as_ref();
    if case.is_command() {
        return of_the_cut_by_a_command(case, record, served);
    }
    if at_or_after(facts.killed_s) {
        return Cause::KilledByDrill;
    }
    if at_or_after(report.and_then(|report| report.killed_s())) {
        return Cause::KilledByGraceful;
    }
    let by_kill = matches!(facts.result.exit(), Some(Exit { status: Some(status), .. }) if status.code() == 137);
    if at_the_end && (by_kill || report.is_some_and(|report| report.killed_from_outside.is_some())) {
        return Cause::KilledFromOutside;
    }
    if at_the_end && report.is_some_and(|report| report.app.ended_before_signal) {
        return Cause::EndedBeforeSignal;
    }
    if hold_missed(case, record) {
        return Cause::HoldMissed;
    }
    if at_the_end && (facts.no_handler || died_of_the_signal(case)) {
        return Cause::NoHandler;
    }
    if !at_the_end
        && record.reused
        && record.outcome == RequestOutcome::Reset
        && matches!(record.kind, ClientKind::Hot | ClientKind::Idle)
    {
        return Cause::IdleClosed;
    }
    match end_after_signal_s(case) {
        Some(after) if after < AT_ONCE_S && at_the_end => Cause::ExitsAtOnce,
        _ if at_the_end => Cause::CutAtExit,
        _ => Cause::CutWhileStopping,
    }
}

/// Of the target of a command nothing is known but what its clients see.
fn of_the_cut_by_a_command(case: &Case<'_>, record: &Record, served: &Served) -> Cause {
    // Clients with a slow request, or with a kept connection, connect again as well. What is restarted serves again.
    let is_new = !record.reused && record.outcome == RequestOutcome::Reset && record.sent_s > 0.0;
    let is_served_after = match case.plan.rolling {
        true => served.next_s(record.sent_s) - record.sent_s < TOGETHER_S,
        false => record.sent_s <= served.last_new_s,
    };
    if is_new && !is_served_after && record.ended_s - record.sent_s < TOGETHER_S {
        return Cause::ProxyReset;
    }
    if is_after_the_platform(case, record) { Cause::KilledByPlatform } else { Cause::CutWhileStopping }
}

/// Whether the request was over only when the platform had lost its patience. The command ends later: the platform
/// clears away first.
fn is_after_the_platform(case: &Case<'_>, record: &Record) -> bool {
    let is_late = record.ended_s > case.platform_waits_s() - TOGETHER_S;
    case.platform_killed_s().is_some_and(|took_s| record.ended_s > took_s - CLEARS_AWAY_S) && is_late
}

/// For how many seconds nobody served anything while a command restarted its target: where another instance serves
/// meanwhile, some requests are answered. Those of one kind alone may all have gone to the instance that was stopped:
/// routers take turns, and so do the kinds.
pub(super) fn outage_s(case: &Case<'_>) -> Option<f64> {
    let paced = case.drill.requests.iter().filter(|record| record.kind.is_paced() && record.intended_s >= 0.0);
    let mut sent: Vec<&Record> = paced.collect();
    sent.sort_by(|one, other| one.sent_s.total_cmp(&other.sent_s));
    let outages = sent.split(|record| record.outcome.is_ok()).filter(|lost| lost.len() >= IN_A_ROW);
    let lasted = outages.map(|lost| match lost {
        [first, .., last] => last.sent_s - first.sent_s,
        _ => 0.0,
    });
    lasted.reduce(f64::max).filter(|lasted_s| case.is_command() && case.plan.rolling && *lasted_s >= OUTAGE_S)
}

/// When the requests that were served were sent: collected once, since as many may have been lost.
struct Served {
    /// When the last served connection for a single request was made. Those before it had been accepted, too: the
    /// backlog is a queue.
    last_new_s: f64,
    /// All that came at the rate, in order.
    paced_s: Vec<f64>,
}

impl Served {
    fn of(case: &Case<'_>) -> Served {
        let ok = || case.drill.requests.iter().filter(|other| other.outcome.is_ok());
        let new = ok().filter(|other| other.kind == ClientKind::New);
        let mut paced_s: Vec<f64> = ok().filter(|other| other.kind.is_paced()).map(|other| other.sent_s).collect();
        paced_s.sort_by(f64::total_cmp);
        Served { last_new_s: new.map(|other| other.sent_s).fold(f64::NEG_INFINITY, f64::max), paced_s }
    }

    /// When the next of those at the rate was sent, at this time or later.
    fn next_s(&self, after_s: f64) -> f64 {
        let next = self.paced_s.partition_point(|at| *at < after_s);
        self.paced_s.get(next).copied().unwrap_or(f64::INFINITY)
    }
}

/// Whether the hold was over because nothing was seen in flight, although the client had its request under way.
fn hold_missed(case: &Case<'_>, record: &Record) -> bool {
    let Some(report) = &case.facts.report else { return false };
    let told = told_s(case);
    let looked = report.in_flight.iter().rev().find(|look| look.moment == Looked::Signal);
    let saw_nothing = looked.is_some_and(|look| look.counts.is_idle());
    saw_nothing && holds(case) && !report.hold_timed_out && record.sent_s < told && record.ended_s >= told - TOGETHER_S
}

/// Whether graceful holds the signal back. (A hold may be over before it began, and then the report has no end of it.)
pub(super) fn holds(case: &Case<'_>) -> bool {
    case.facts.report.as_ref().is_some_and(|report| report.hold_mode != HoldMode::Never)
}

fn died_of_the_signal(case: &Case<'_>) -> bool {
    let by_it = |status: ExitStatus| matches!(status, ExitStatus::Signaled(by) if Some(by) == stop_signal(case));
    let at_once = end_after_signal_s(case).is_some_and(|after| after < AT_ONCE_S);
    at_once && matches!(case.facts.result.exit(), Some(Exit { status: Some(status), .. }) if by_it(status))
}

/// Whether the app was gone at this time.
fn is_gone(case: &Case<'_>, at_s: f64) -> bool {
    gone_s(case).is_some_and(|exit| at_s >= exit - TOGETHER_S)
}

/// When the app was gone, if that was seen. graceful itself ends later, after leftovers, hooks and its report.
pub(super) fn gone_s(case: &Case<'_>) -> Option<f64> {
    let report = case.facts.report.as_ref().and_then(|report| report.app_exited_s());
    match case.facts.result {
        StopResult::AppExited(exit) => Some(report.map_or(exit.at_s, |app_s| app_s.min(exit.at_s))),
        StopResult::CommandExited(_) | StopResult::ReloadEnded(_) | StopResult::Nothing => None,
    }
}

/// When the app itself got the signal.
pub(super) fn told_s(case: &Case<'_>) -> f64 {
    case.drill.at(TimelineMarkKind::Signal).unwrap_or(0.0)
}

fn end_after_signal_s(case: &Case<'_>) -> Option<f64> {
    gone_s(case).map(|at| at - told_s(case))
}

#[cfg(test)]
#[path = "causes_tests.rs"]
mod tests;

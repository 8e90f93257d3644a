//! From the ledger and the facts to the checks, the findings and the verdict. Pure.
//!
//! What a job came to is counted, never guessed: where the commands of the user could not tell, the drill is
//! inconclusive and says why. How the worker ended is judged by the same facts as a server's end.

use super::causes::{self, Ending, Known, Told};
use super::ledger::Ledger;
use crate::drill::advice::{Explanation, Fix};
use crate::drill::case::{Case, seconds};
use crate::drill::checks::{self, ExplainedCheck};
use crate::drill::evidence::{Check, CheckName, CheckResult, Drill, Fate, JobCounts, TimelineMarkKind, Verdict};
use crate::drill::facts::{Exit, Observations};
use crate::drill::plan::{DrillPlan, Subject, Supervision};
use crate::drill::verdict;
use crate::status::ExitStatus;
use crate::timeline::report::Report;
use crate::timeline::text::plural;

/// At most this many ids are shown.
const IDS: usize = 5;
/// The share of what the rate asked for that has to have been submitted; otherwise a remark says so.
const KEPT_UP: f64 = 0.5;

/// What was seen besides the ledger and the facts.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// When the load began and the stop came, by the ledger's clock.
    pub(super) began_s: f64,
    pub(super) stop_s: f64,
    /// Whether what is in neither list at the end is known to be lost.
    pub(super) is_told: bool,
    /// Why it cannot be told, if it cannot.
    pub(super) trouble: Option<String>,
    /// Whether a worker was started after the stop, and did what was left.
    pub(super) by_next: bool,
    /// What is known of the worker's kind.
    pub(super) known: Option<Known>,
    /// How many jobs the rate asked for.
    pub(super) wanted: u64,
}

/// Completes a drill of jobs: timeline, numbers, checks, findings and verdict.
pub(super) fn judge(
    mut drill: Drill,
    ledger: &Ledger,
    seen: &Seen,
    facts: &Observations,
    plan: &DrillPlan,
    way: Supervision,
) -> Drill {
    let jobs = ledger.account(seen.stop_s, seen.is_told);
    drill.phases = verdict::phases(facts);
    drill.timeline = timeline(&drill, &jobs, facts, seen);
    drill.inconclusive = no_use(&jobs, seen, facts, plan);
    drill.remarks = remarks(&jobs, ledger, seen);
    let end = ending(&drill, &jobs, ledger, seen, facts, plan, way);
    let case = Case { drill: &drill, facts, plan, way };
    let mut more = Vec::new();
    let mut judged = vec![nothing_lost(&jobs, &end)];
    match plan.subject {
        Subject::Command(_) => judged.push(checks::command_in_time(&case)),
        Subject::Own { .. } | Subject::Pid { .. } | Subject::Nothing => {
            judged.push(exit_in_time(&drill, &end));
            judged.push(exit_status(checks::exit_status(&case, &mut more), &jobs, &end));
            judged.push(checks::nothing_left(&case, &mut more));
            judged.push(signal_handled(&jobs, &end));
        }
    }
    drill.remarks.extend(more);
    settle(&mut drill, judged, plan);
    drill.jobs = Some(jobs);
    drill
}

fn ending<'a>(
    drill: &Drill,
    jobs: &'a JobCounts,
    ledger: &Ledger,
    seen: &Seen,
    facts: &Observations,
    plan: &DrillPlan,
    way: Supervision,
) -> Ending<'a> {
    let told_s = drill.at(TimelineMarkKind::Signal).unwrap_or(0.0);
    let given = match &plan.subject {
        Subject::Own { signal, .. } | Subject::Pid { signal, .. } => Some(*signal),
        Subject::Command(_) | Subject::Nothing => None,
    };
    let report = facts.report.as_ref();
    let sent = report.and_then(Report::stop_signal).map(|sent| sent.signal);
    Ending {
        jobs,
        supervised: facts.supervised && way != Supervision::Bare,
        signal: sent.or(given),
        told_s,
        exit: facts.result.exit(),
        killed_s: drill.at(TimelineMarkKind::Kill),
        killed_from_outside: report.is_some_and(|report| report.killed_from_outside.is_some()),
        oom_kills: report.map_or(0, |report| report.oom_kills),
        no_handler: facts.no_handler,
        ignores: facts.ignores,
        known: seen.known.clone(),
        longest_s: ledger.longest_s(),
        taken_after_signal: ledger.taken_after(seen.stop_s + told_s),
        grace_s: drill.grace_period_s,
    }
}

fn check(name: CheckName, result: CheckResult, evidence: String) -> ExplainedCheck {
    (Check { name, result, evidence, causes: Vec::new() }, Vec::new())
}

fn failed(name: CheckName, evidence: String, told: Told, end: &Ending<'_>) -> ExplainedCheck {
    let fix = Fix { words: told.fix, flags: causes::flags(told.cause, end) };
    checks::failed(name, evidence, vec![Explanation::new(told.cause, told.words, fix)])
}

/// "40 jobs: 30 done, 10 still queued, none lost"
fn counted(jobs: &JobCounts) -> String {
    let JobCounts { submitted, done, queued, lost, unknown, .. } = jobs;
    let mut parts = vec![format!("{done} done")];
    if *queued > 0 {
        parts.push(format!("{queued} still queued"));
    }
    if *unknown > 0 {
        parts.push(format!("{unknown} neither known to be done nor known to be queued"));
    }
    parts.push(if *lost == 0 { "none lost".to_owned() } else { format!("{lost} lost") });
    format!("{submitted} {}: {}", plural(*submitted, "job", "jobs"), parts.join(", "))
}

fn nothing_lost(jobs: &JobCounts, end: &Ending<'_>) -> ExplainedCheck {
    if jobs.lost == 0 {
        let result = if jobs.unknown == 0 { CheckResult::Pass } else { CheckResult::Unknown };
        return check(CheckName::NothingLost, result, counted(jobs));
    }
    let lost: Vec<&str> = jobs.list.iter().filter(|job| job.fate == Fate::Lost).map(|job| job.id.as_str()).collect();
    let more = if lost.len() > IDS { format!(" and {} more", lost.len() - IDS) } else { String::new() };
    let ids = lost.iter().take(IDS).copied().collect::<Vec<_>>().join(", ");
    let evidence = format!("{} ({ids}{more})", counted(jobs));
    let (check, mut whys) = failed(CheckName::NothingLost, evidence, causes::of_lost(end), end);
    whys.iter_mut().for_each(|why| why.dropped = jobs.lost);
    (check, whys)
}

fn exit_in_time(drill: &Drill, end: &Ending<'_>) -> ExplainedCheck {
    let grace = seconds(drill.grace_period_s);
    match (end.exit, end.killed_s) {
        (Some(Exit { at_s, .. }), None) => {
            let evidence = format!("it exited {} after the stop; the grace period is {grace}", seconds(at_s));
            check(CheckName::ExitInTime, CheckResult::Pass, evidence)
        }
        (Some(Exit { at_s, .. }), Some(_)) => failed(
            CheckName::ExitInTime,
            format!("SIGKILL was needed: it was gone {} after the stop; the grace period is {grace}", seconds(at_s)),
            causes::too_late(end),
            end,
        ),
        (None, _) => {
            failed(CheckName::ExitInTime, "it was still there at the end".to_owned(), causes::too_late(end), end)
        }
    }
}

/// A status that means death by the signal or by SIGKILL has the causes of that death.
fn exit_status((seen, whys): ExplainedCheck, jobs: &JobCounts, end: &Ending<'_>) -> ExplainedCheck {
    let is_by_signal =
        matches!(end.exit, Some(Exit { status: Some(ExitStatus::Signaled(by)), .. }) if Some(by) == end.signal);
    if seen.result != CheckResult::Fail {
        return (seen, whys);
    }
    if end.killed_s.is_some() {
        return failed(seen.name, seen.evidence, causes::too_late(end), end);
    }
    if let Some(told) = causes::killed_from_outside(end) {
        return failed(seen.name, seen.evidence, told, end);
    }
    match (is_by_signal, jobs.lost + jobs.unknown) {
        (false, _) => (seen, whys),
        (true, 0) => {
            let evidence = format!("{}: it died of its stop signal, and no job is lost by that", seen.evidence);
            check(seen.name, CheckResult::Pass, evidence)
        }
        (true, _) => failed(seen.name, seen.evidence, causes::no_handler(end), end),
    }
}

fn signal_handled(jobs: &JobCounts, end: &Ending<'_>) -> ExplainedCheck {
    let signal = causes::signal(end);
    if end.no_handler {
        // The queue keeps what the worker was working on, or there was nothing.
        if jobs.lost == 0 && jobs.unknown == 0 {
            let evidence = format!("no handler for {signal}: it dies of it, and no job is lost by that");
            return check(CheckName::SignalHandled, CheckResult::Pass, evidence);
        }
        let evidence = format!("no handler: {signal} kills it at once");
        return failed(CheckName::SignalHandled, evidence, causes::no_handler(end), end);
    }
    if end.ignores {
        return failed(CheckName::SignalHandled, format!("it ignores {signal}"), causes::too_late(end), end);
    }
    if end.killed_s.is_some() && end.taken_after_signal > 0 {
        let evidence = format!(
            "{} {} submitted after {signal} and done all the same",
            end.taken_after_signal,
            plural(end.taken_after_signal, "job was", "jobs were")
        );
        return failed(CheckName::SignalHandled, evidence, causes::too_late(end), end);
    }
    check(CheckName::SignalHandled, CheckResult::Pass, format!("{signal} is caught or waited for"))
}

/// Adds each cause once, with all checks that it fails, and sets the verdict.
fn settle(drill: &mut Drill, judged: Vec<ExplainedCheck>, plan: &DrillPlan) {
    for (mut check, whys) in judged {
        if check.result == CheckResult::Fail && plan.expected.contains(&check.name) {
            check.result = CheckResult::Expected;
        }
        whys.into_iter().for_each(|why| checks::add(&mut drill.findings, why, check.name));
        drill.checks.push(check);
    }
    let failed = drill.checks.iter().any(|check| check.result == CheckResult::Fail);
    drill.verdict = match (&drill.inconclusive, failed) {
        (_, true) => Verdict::Failed,
        (Some(_), false) => Verdict::Inconclusive,
        (None, false) => Verdict::Passed,
    };
}

/// Why this drill proves nothing, if it does not.
fn no_use(jobs: &JobCounts, seen: &Seen, facts: &Observations, plan: &DrillPlan) -> Option<String> {
    // SIGKILL to graceful itself says nothing about the worker.
    if facts.supervised && facts.report.as_ref().is_none_or(|report| !report.complete) {
        return Some("graceful was killed or wrote no complete report: how the stop went cannot be told".to_owned());
    }
    if let Some(trouble) = &seen.trouble {
        return Some(trouble.clone());
    }
    if jobs.unknown > 0 {
        return Some(format!(
            "{} of {} jobs are not done, and it cannot be told whether the queue still has them: --queued COMMAND prints \
             what does",
            jobs.unknown, jobs.submitted
        ));
    }
    if jobs.open_at_stop == 0 {
        return Some(format!(
            "no job was at work at the stop: raise --rate (now {} a second), or let the jobs take a second or so",
            plan.rate
        ));
    }
    None
}

fn remarks(jobs: &JobCounts, ledger: &Ledger, seen: &Seen) -> Vec<String> {
    let mut remarks = Vec::new();
    let mut add = |count: usize, one: &str, many: &str| {
        if count > 0 {
            remarks.push(format!("{count} {}", plural(count, one, many)));
        }
    };
    add(
        jobs.done_twice,
        "job was done twice: whatever a job does has to tolerate that",
        "jobs were done twice: whatever a job does has to tolerate that",
    );
    add(
        jobs.done_and_queued,
        "job is done and still in the queue: the next worker does it again",
        "jobs are done and still in the queue: the next worker does them again",
    );
    add(
        ledger.reappeared(),
        "job was neither done nor queued when the worker had ended, and was found later: the queue hides what is taken until \
         a visibility timeout is over, or moves it",
        "jobs were neither done nor queued when the worker had ended, and were found later: the queue hides what is taken \
         until a visibility timeout is over, or moves it",
    );
    if seen.by_next {
        add(
            jobs.queued,
            "job that was left was done by a worker that the drill started after the stop",
            "jobs that were left were done by a worker that the drill started after the stop",
        );
    }
    let (strangers, first) = ledger.strangers();
    if let Some(first) = first {
        remarks.push(format!(
            "--done and --queued printed {strangers} {} that this drill did not submit, as {first:?}: they do not count",
            plural(strangers, "id", "ids")
        ));
    }
    if (jobs.submitted as f64) < seen.wanted as f64 * KEPT_UP {
        remarks.push(format!(
            "{} jobs were submitted where --rate asked for {}: --submit takes too long; with {{n}} in it one run submits \
             several",
            jobs.submitted, seen.wanted
        ));
    }
    remarks
}

/// The timeline as for requests, but about jobs.
fn timeline(
    drill: &Drill,
    jobs: &JobCounts,
    facts: &Observations,
    seen: &Seen,
) -> Vec<crate::drill::evidence::TimelineMark> {
    let mut all = verdict::timeline(drill, facts, seen.began_s - seen.stop_s);
    for moment in &mut all {
        match moment.what {
            TimelineMarkKind::LoadBegins => moment.words = "the first jobs are submitted".to_owned(),
            TimelineMarkKind::LoadEnds => moment.words = "no more jobs are submitted".to_owned(),
            _ => {}
        }
    }
    let open = || jobs.list.iter().filter(|job| job.submitted_s <= 0.0 && job.done_s.is_none_or(|done| done > 0.0));
    let last = open().filter(|job| job.fate == Fate::Done).filter_map(|job| job.done_s).reduce(f64::max);
    if let Some(at_s) = last {
        let words = "the last of the jobs that were open at the stop is done".to_owned();
        all.push(crate::drill::evidence::TimelineMark { at_s, what: TimelineMarkKind::InFlightDone, words });
    }
    all.sort_by(|one, other| one.at_s.total_cmp(&other.at_s));
    all
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;

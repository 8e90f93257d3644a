//! Why jobs are lost or a worker does not end, and what would change that. Pure.
//!
//! Every lost job had left the queue before it was done: a worker that acknowledges late loses none. What cut the job
//! off is the cause: the first line of this table for which there is evidence.
//!
//! | evidence | cause | fix |
//! | --- | --- | --- |
//! | SIGKILL at the end of the budget; jobs that were submitted after the signal are done | it goes on taking jobs | handle the signal |
//! | SIGKILL at the end of the budget; it ignores the signal | it ignores the signal | handle the signal |
//! | SIGKILL at the end of the budget | the budget is shorter than a job | `--grace-period` above the longest job |
//! | SIGKILL as the stop signal | acknowledged before done | acknowledge late |
//! | SIGKILL that nobody here sent | killed from outside | memory, or another supervisor's limit |
//! | a signal that a known worker does not finish its jobs on | the wrong signal | its own |
//! | it died of the signal | no handler | handle the signal |
//! | it ended when its own limit was over | its own limit | raise that |
//! | it ended sooner than a job takes | it does not wait for its jobs | finish the job in the handler |
//! | it ended in its own time | acknowledged before done | acknowledge late |
//! | it never ended | it did not end | as for SIGKILL |

use crate::drill::case::seconds;
use crate::drill::evidence::{Cause, JobCounts};
use crate::drill::facts::Exit;
use crate::signal::Signal;
use crate::status::ExitStatus;
use crate::timeline::text::plural;
use std::time::Duration;

/// What is held back from the budget, and how late a look may be, in seconds: no job's length is known better than
/// this.
const SLACK_S: f64 = 2.0;
/// The worker's own limit ended it if this share of the limit was over by then: clocks and looks differ.
const LIMIT_REACHED: f64 = 0.9;

/// How the worker ended, and what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ending<'a> {
    /// The jobs.
    pub(super) jobs: &'a JobCounts,
    /// Whether graceful was in charge.
    pub(super) supervised: bool,
    /// The signal that the worker itself got, and when, in seconds since the stop.
    pub(super) signal: Option<Signal>,
    pub(super) told_s: f64,
    /// When it ended, and how, if that is known.
    pub(super) exit: Option<Exit>,
    /// When SIGKILL came because the budget was spent: from graceful, or from the drill in the orchestrator's place.
    pub(super) killed_s: Option<f64>,
    /// Whether graceful reports that SIGKILL came from outside, and the kernel's count of processes killed for want of
    /// memory.
    pub(super) killed_from_outside: bool,
    pub(super) oom_kills: u64,
    /// Whether it has no handler for the signal, and whether it ignores it.
    pub(super) no_handler: bool,
    pub(super) ignores: bool,
    /// What is known of its kind.
    pub(super) known: Option<Known>,
    /// The longest time from submission to done.
    pub(super) longest_s: Option<f64>,
    /// How many jobs were submitted after the signal and are done.
    pub(super) taken_after_signal: usize,
    /// The budget.
    pub(super) grace_s: f64,
}

/// A worker whose kind is known by its command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) name: &'static str,
    /// The signal on which it finishes its jobs.
    pub(super) signal: Option<Signal>,
    /// How long the worker itself gives its jobs, and what sets that.
    pub(super) limit: Option<(Duration, String)>,
}

/// A cause in words, and what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) cause: Cause,
    pub(super) words: String,
    pub(super) fix: String,
}

/// Why jobs are lost.
pub(super) fn of_lost(end: &Ending<'_>) -> Told {
    let lost = end.jobs.lost;
    let what = format!("{lost} {} lost", plural(lost, "job is", "jobs are"));
    let signal = signal(end);
    if end.killed_s.is_some() || end.exit.is_none() {
        return Told { fix: format!("{}; {}", too_late(end).fix, late(end)), ..prefixed(too_late(end), &what) };
    }
    let status = end.exit.and_then(|exit| exit.status);
    let after_s = end.exit.map_or(0.0, |exit| (exit.at_s - end.told_s).max(0.0));
    if end.signal == Some(Signal::KILL) {
        return prefixed(no_time(end), &what);
    }
    if let Some(told) = killed_from_outside(end) {
        return Told { fix: format!("{}; {}", told.fix, late(end)), ..prefixed(told, &what) };
    }
    if let Some(Known { name, signal: Some(right), .. }) = &end.known
        && end.signal.is_some_and(|signal| signal != *right)
    {
        let words = format!("{what}: {name} finishes its jobs on {right}, and {signal} is what it got");
        return Told { cause: Cause::JobsWrongSignal, words, fix: right_signal(end, name, *right) };
    }
    let died = matches!((status, end.signal), (Some(ExitStatus::Signaled(by)), Some(signal)) if by == signal);
    if died || end.no_handler {
        let words = format!("{what}: the worker died of {signal} in the middle of its jobs: it has no handler");
        return Told { cause: Cause::JobsNoHandler, words, fix: format!("{}; {}", handler(&signal), late(end)) };
    }
    if let Some(Known { name, limit: Some((limit, place)), .. }) = &end.known
        && after_s >= limit.as_secs_f64() * LIMIT_REACHED
        && end.longest_s.is_none_or(|longest| longest > limit.as_secs_f64())
    {
        let words = format!(
            "{what}: {name} gave up on them {} after {signal}, when its own limit was over ({place}, {})",
            seconds(after_s),
            seconds(limit.as_secs_f64())
        );
        let fix = format!("raise {} above the longest job{}", option(place), longest(end));
        return Told { cause: Cause::JobsOwnLimit, words, fix: format!("{fix}; {}", budget_too(end)) };
    }
    if end.longest_s.is_some_and(|longest| after_s < longest) {
        let how = status.map(|status| format!(" ({status})")).unwrap_or_default();
        let words = format!(
            "{what}: the worker exited {} after {signal}{how} without waiting for the jobs that it had taken{}",
            seconds(after_s),
            longest(end)
        );
        return Told { cause: Cause::JobsDropped, words, fix: format!("{}; {}", finish(&signal), late(end)) };
    }
    let words = format!(
        "{what}: the worker ended in its own time, {} after {signal}, and had acknowledged them before they were done",
        seconds(after_s)
    );
    Told { cause: Cause::JobsAckedEarly, words, fix: late(end) }
}

/// Why a worker did not end within the budget.
pub(super) fn too_late(end: &Ending<'_>) -> Told {
    let signal = signal(end);
    let after = end.killed_s.map_or("it was still there at the end".to_owned(), |at| {
        format!("SIGKILL came {} after the stop", seconds(at))
    });
    if end.ignores {
        let words = format!("{after}: the worker ignores {signal}");
        return Told { cause: Cause::JobsSignalIgnored, words, fix: handler(&signal) };
    }
    if end.taken_after_signal > 0 {
        let words = format!("{after}: the worker went on taking jobs after {signal}");
        return Told { cause: Cause::JobsSignalIgnored, words, fix: handler(&signal) };
    }
    let budget = end.killed_s.map_or(end.grace_s, |at| at) - end.told_s;
    // It had the time for its longest job, so more time would not help.
    if end.longest_s.is_some_and(|longest| longest < budget - SLACK_S) {
        let words = format!(
            "{after}: the worker did not end on {signal}, although it had time for its longest job{}",
            longest(end)
        );
        let fix = format!("{}, and look at what it waits for", finish(&signal));
        return Told { cause: Cause::JobsHung, words, fix };
    }
    let words = format!("{after}, in the middle of its jobs: the budget is shorter than a job{}", longest(end));
    let own = match end.known.as_ref().and_then(|known| known.limit.as_ref()) {
        Some((limit, place)) if limit.as_secs_f64() > budget => {
            format!(", or let the worker give up before that ({})", option(place))
        }
        _ => String::new(),
    };
    Told { cause: Cause::JobsBudget, words, fix: format!("{}{own}", longer_budget(end)) }
}

/// Why a worker died by SIGKILL that neither graceful nor the drill sent, if it did.
pub(super) fn killed_from_outside(end: &Ending<'_>) -> Option<Told> {
    let exit = end.exit.filter(|_| end.killed_s.is_none() && end.signal != Some(Signal::KILL))?;
    if !end.killed_from_outside && exit.status != Some(ExitStatus::Signaled(Signal::KILL)) {
        return None;
    }
    let (why, fix) = match end.oom_kills {
        0 => ("another process sent it SIGKILL", "find who does: the limit of another supervisor, as Docker's 10s"),
        _ => ("the kernel killed it for want of memory", "give it more memory, or fewer jobs at a time"),
    };
    let words = format!("{why} {} after the stop", seconds(exit.at_s));
    Some(Told { cause: Cause::JobsKilledFromOutside, words, fix: fix.to_owned() })
}

/// What to do about an app without a handler.
pub(super) fn no_handler(end: &Ending<'_>) -> Told {
    let signal = signal(end);
    match &end.known {
        _ if end.signal == Some(Signal::KILL) => no_time(end),
        Some(Known { name, signal: Some(right), .. }) if end.signal.is_some_and(|signal| signal != *right) => Told {
            cause: Cause::JobsWrongSignal,
            words: format!("{name} finishes its jobs on {right}, and {signal} is what it got"),
            fix: right_signal(end, name, *right),
        },
        _ => Told {
            cause: Cause::JobsNoHandler,
            words: format!("the worker has no handler for {signal}: it dies of it at once, whatever it is doing"),
            fix: handler(&signal),
        },
    }
}

/// The cause where SIGKILL is the stop signal, for which nothing can have a handler.
fn no_time(end: &Ending<'_>) -> Told {
    let words = "SIGKILL leaves no time, and they had been acknowledged before they were done".to_owned();
    Told { cause: Cause::JobsAckedEarly, words, fix: late(end) }
}

/// The signal, by name.
pub(super) fn signal(end: &Ending<'_>) -> String {
    end.signal.map_or("the stop".to_owned(), |signal| signal.to_string())
}

fn prefixed(told: Told, what: &str) -> Told {
    Told { words: format!("{what}: {}", told.words), ..told }
}

/// " (up to 3 s from the submission of a job until it was seen done)"
fn longest(end: &Ending<'_>) -> String {
    let said =
        |longest: f64| format!(" (up to {} from the submission of a job until it was seen done)", seconds(longest));
    end.longest_s.map(said).unwrap_or_default()
}

fn handler(signal: &str) -> String {
    format!(
        "handle {signal} in the worker: take no more jobs, finish those that it has, then exit; for a worker that cannot, let \
         it look for the file of --drain-file and name with --hold a command that exits with 0 when it has no job"
    )
}

fn finish(signal: &str) -> String {
    format!("let its handler for {signal} wait for the jobs that it has taken")
}

/// The signal that this worker knows, as graceful's profile sends it.
fn right_signal(end: &Ending<'_>, name: &str, right: Signal) -> String {
    let right = right.to_string();
    match end.supervised {
        true => format!("let graceful send {right}: --profile {name}, and no --stop-signal or --signal"),
        false => format!("stop it with {right}, or run it under graceful, whose profile {name} sends that"),
    }
}

/// A budget that has time for the longest job.
fn longer_budget(end: &Ending<'_>) -> String {
    format!("raise --grace-period to {:.0}s or more, and the orchestrator's with it", advised_s(end))
}

/// The grace period to advise, in whole seconds, and never what it is already: that was too short.
fn advised_s(end: &Ending<'_>) -> f64 {
    let needed = end.told_s.max(0.0) + end.longest_s.unwrap_or(0.0) + SLACK_S;
    needed.max(end.grace_s + 1.0).ceil()
}

/// The fix as flags of graceful, where it is one.
pub(super) fn flags(cause: Cause, end: &Ending<'_>) -> Vec<String> {
    match cause {
        Cause::JobsBudget => vec![format!("--grace-period={:.0}s", advised_s(end))],
        _ => Vec::new(),
    }
}

/// What a higher limit of the worker's own needs: the budget has to have that time, too.
fn budget_too(end: &Ending<'_>) -> String {
    format!("--grace-period (now {}) has to be longer than that", seconds(end.grace_s))
}

/// `--worker-shutdown-timeout` of "the default of --worker-shutdown-timeout".
fn option(place: &str) -> &str {
    place.strip_prefix("the default of ").unwrap_or(place)
}

/// What keeps a job even if its worker dies.
fn late(end: &Ending<'_>) -> String {
    let how = match end.known.as_ref().map(|known| known.name) {
        Some("celery") => "task_acks_late = True with task_reject_on_worker_lost = True",
        Some("sidekiq") => "super_fetch of Sidekiq Pro",
        Some("huey" | "rq") => "retries, or a queue that does so",
        Some("dramatiq") => "max_retries over 0",
        _ => "as AMQP, SQS and Redis streams can",
    };
    format!(
        "to lose none even then, acknowledge a job when it is done and not when it is taken ({how}), and let --queued print \
         what is taken and not acknowledged, too"
    )
}

#[cfg(test)]
#[path = "causes_tests.rs"]
mod tests;

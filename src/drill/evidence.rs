//! What one drill has shown: the document that `--output json=` writes, and of which everything else is a view.
//!
//! All times are seconds since the stop, with microseconds; before it they are negative.

use super::record::{ClientKind, Record, RequestOutcome};
use crate::counts::Counts;
use crate::timeline::InFlightMoment as Looked;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The whole document: one drill or more, and what they come to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// The version that wrote it.
    pub graceful: String,
    /// passed, failed or inconclusive.
    pub verdict: Verdict,
    /// The verdict in one sentence.
    pub headline: String,
    /// The drills, in the order in which they ran.
    pub drills: Vec<Drill>,
    /// What `--tune` found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuned: Option<Tuned>,
}

/// The smallest delay that dropped nothing, from both sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tuned {
    /// The smallest delay with which nothing was dropped, in seconds; none if every one dropped some.
    pub enough_s: Option<f64>,
    /// The largest with which something was; none if not even no delay did.
    pub too_short_s: Option<f64>,
    /// How many drills in a row the delay was enough in.
    pub confirmed: u32,
    /// The result in a sentence.
    pub words: String,
}

/// One stop under load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drill {
    /// "under graceful", "bare", "pid 12", "docker stop web".
    pub title: String,
    /// Who is in charge of the app, and what stops it.
    pub mode: Mode,
    /// The app's command line, where there is one.
    pub command: Vec<String>,
    /// The wall-clock time of the stop, as in RFC 3339; none if it never came to a stop.
    pub stopped_at: Option<String>,
    /// Requests a second.
    pub rate: u32,
    /// How long the load balancer went on sending after the stop.
    pub lb_lag_s: f64,
    /// How long the stop could take.
    pub grace_period_s: f64,
    /// What was asked, "GET http://127.0.0.1:8080/".
    pub targets: Vec<String>,
    /// What happened.
    pub timeline: Vec<TimelineMark>,
    /// Phases as `graceful run` reports them; empty without it.
    pub phases: Vec<ShownPhase>,
    /// Requests by outcome, over all kinds.
    pub counts: BTreeMap<RequestOutcome, usize>,
    /// How many requests were dropped: sent within the lag, or before the stop and not over by then, and not ok.
    pub dropped: usize,
    /// Latency of the requests that were ok and sent before the stop, and after it.
    pub latency: Latencies,
    /// What graceful saw of the app's connections, where it looked.
    pub in_flight: Vec<InFlightSeen>,
    /// Each check with its evidence.
    pub checks: Vec<Check>,
    /// Why checks fail: each root cause once.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// What a pass owes to something that is not always there, such as a hold, or what looks like a fault and is not
    /// one.
    #[serde(default)]
    pub remarks: Vec<String>,
    /// passed, failed or inconclusive.
    pub verdict: Verdict,
    /// Why it is inconclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inconclusive: Option<String>,
    /// Every request, by intended time.
    pub requests: Vec<Record>,
    /// The jobs of a worker, which a drill with `--submit` has instead of requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs: Option<JobCounts>,
}

/// Who is in charge of the app, and what stops it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// The drill runs it under `graceful run`.
    Supervised,
    /// The drill runs it, and nobody is in charge.
    Bare,
    /// It is a process of this machine, `--pid`.
    Pid,
    /// A command stops it, `--stop-command`.
    StopCommand,
    /// Nothing is stopped, `--no-stop`.
    NoStop,
}

/// What became of the jobs that were submitted to a worker: each has one fate, so that the four numbers add up to
/// `submitted`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JobCounts {
    /// All jobs whose ids `--submit` printed.
    pub submitted: usize,
    /// Those that `--done` printed.
    pub done: usize,
    /// Those that are not done, and that `--queued` printed.
    pub queued: usize,
    /// Neither done nor queued.
    pub lost: usize,
    /// Not done, and nobody can tell whether they wait in the queue: there is no `--queued`, or it failed.
    pub unknown: usize,
    /// Of the done ones, those that `--done` printed more than once.
    #[serde(default)]
    pub done_twice: usize,
    /// Of the done ones, those that are still in the queue: they are going to be done again.
    #[serde(default)]
    pub done_and_queued: usize,
    /// Of the submitted ones, those that were not known to be done when the stop began.
    #[serde(default)]
    pub open_at_stop: usize,
    /// The numbers over time: one look each time that one of them changed, the last look at the end.
    pub curve: Vec<JobsAt>,
    /// Every job, in the order of submission.
    pub list: Vec<JobFate>,
}

/// The jobs at one moment: what the last look before it had seen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobsAt {
    /// Seconds since the stop.
    pub at_s: f64,
    /// Submitted so far.
    pub submitted: usize,
    /// Known to be done.
    pub done: usize,
    /// Known to be in the queue, and not done; none where it was not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued: Option<usize>,
}

/// One job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobFate {
    /// As `--submit` printed it.
    pub id: String,
    /// When `--submit` had ended, and so was known to have submitted it.
    pub submitted_s: f64,
    /// When it was first seen to be done: later than it was done, by a look's interval at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done_s: Option<f64>,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It is done.
    Done,
    /// It waits in the queue, or is reserved and not acknowledged.
    Queued,
    /// Neither.
    Lost,
    /// It is not done, and where it is cannot be told.
    Unknown,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimelineMark {
    /// Seconds since the stop.
    pub at_s: f64,
    /// The kind of event.
    pub what: TimelineMarkKind,
    /// In words, as the log of `run` has them.
    pub words: String,
}

/// The moments of a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimelineMarkKind {
    /// The first request.
    LoadBegins,
    /// The stop.
    Stop,
    /// The readiness endpoint answered with something other than 200 to 399.
    NotReady,
    /// The readiness endpoint's listener refused.
    ReadinessRefused,
    /// The app itself got the stop signal.
    Signal,
    /// The first answer with `Connection: close`.
    FirstClose,
    /// The last request on a new connection that was answered was sent.
    LastNewServed,
    /// The first connection was refused.
    Refused,
    /// The last request that was under way at the stop was over.
    InFlightDone,
    /// The load is over.
    LoadEnds,
    /// The app exited.
    Exit,
    /// SIGKILL was sent.
    Kill,
    /// Processes outlived the app.
    Leftovers,
}

/// A phase of `graceful run`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShownPhase {
    /// pre-stop, hold, drain, leftovers, kill, post-stop.
    pub phase: String,
    /// When it began.
    pub start_s: f64,
    /// How long it lasted.
    pub duration_s: f64,
}

/// Connections of the app at one moment, as graceful sees them from outside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InFlightSeen {
    /// The moment, by name.
    pub moment: Looked,
    /// Seconds since the stop.
    pub at_s: f64,
    /// What was seen.
    #[serde(flatten)]
    pub counts: Counts,
    /// How many requests the clients had under way at that moment.
    #[serde(default)]
    pub clients: usize,
}

/// Percentiles of the latency of one part of the load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Number of requests.
    pub count: u64,
    /// Half of the requests are faster than this, in seconds.
    pub p50_s: f64,
    /// 90 % are faster than this, in seconds.
    pub p90_s: f64,
    /// 99 % are faster than this, in seconds.
    pub p99_s: f64,
    /// The slowest, in seconds.
    pub max_s: f64,
}

/// Before and after the stop; new and hot requests only, from their intended send times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latencies {
    /// Sent before the stop.
    pub before: Latency,
    /// Sent after it.
    pub after: Latency,
}

/// A check of the drill, by the name that `--expect` takes: "zero-dropped".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum CheckName {
    /// Every request of the load got its answer.
    ZeroDropped,
    /// Every job is done or still queued.
    NothingLost,
    /// Every request that was under way at the stop was completed.
    InFlight,
    /// What came after the stop, within the load balancer's lag, was served.
    ServedInWindow,
    /// Nothing accepts connections after the exit.
    GoneAfter,
    /// The readiness endpoint said in time that the app is about to go.
    Readiness,
    /// The app exited within the grace period.
    ExitInTime,
    /// It exited with a status that counts as clean.
    ExitStatus,
    /// No process outlived it.
    NothingLeft,
    /// It has a handler for the stop signal.
    SignalHandled,
    /// Each reload ended with a new run that serves.
    Reloaded,
    /// No more requests failed than `--max-error-rate` allows.
    ErrorRate,
    /// The p99 is below `--max-p99`.
    P99,
    /// The p99 is no more than `--max-p99-ratio` times that of the baseline.
    P99Ratio,
}

impl CheckName {
    /// As it is typed and shown.
    pub fn name(self) -> &'static str {
        match self {
            CheckName::ZeroDropped => "zero-dropped",
            CheckName::NothingLost => "nothing-lost",
            CheckName::InFlight => "in-flight",
            CheckName::ServedInWindow => "served-in-window",
            CheckName::GoneAfter => "gone-after",
            CheckName::Readiness => "readiness",
            CheckName::ExitInTime => "exit-in-time",
            CheckName::ExitStatus => "exit-status",
            CheckName::NothingLeft => "nothing-left",
            CheckName::SignalHandled => "signal-handled",
            CheckName::Reloaded => "reloaded",
            CheckName::ErrorRate => "error-rate",
            CheckName::P99 => "p99",
            CheckName::P99Ratio => "p99-ratio",
        }
    }
}

impl fmt::Display for CheckName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One check of the verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Its name.
    pub name: CheckName,
    /// What it came to.
    pub result: CheckResult,
    /// What was seen.
    pub evidence: String,
    /// Why it fails, by name: the finding of each cause says it in words, and what to change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
}

/// A root cause, with its fix and all checks that fail because of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The root cause.
    pub cause: Cause,
    /// What happened, in a sentence.
    pub words: String,
    /// What to change.
    pub fix: String,
    /// The flags of `graceful run` that are the fix, or a part of it, as `--pre-stop-delay=2s`; empty where the app,
    /// its server or its surroundings have to change. Another drill with these is the proof.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// When it happened, if that is one moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_s: Option<f64>,
    /// Number of requests that it dropped.
    #[serde(default)]
    pub dropped: usize,
    /// The checks that fail because of it.
    pub checks: Vec<CheckName>,
}

/// The root causes. `causes` has the evidence of each, `advice` the fix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The app died of the stop signal at once: it has no handler for it, or one that waits for nothing and raises it
    /// again.
    NoHandler,
    /// Its handler exits, or ends the processes that serve, without waiting for the requests in flight.
    ExitsAtOnce,
    /// It waited for some time, and exited with requests in flight.
    CutAtExit,
    /// Requests were cut off while the app was stopping, and it went on.
    CutWhileStopping,
    /// The app ended before graceful told it to: somebody else had.
    EndedBeforeSignal,
    /// graceful said that nothing was in flight, and the clients had a request.
    HoldMissed,
    /// SIGKILL from graceful, at the end of its budget.
    KilledByGraceful,
    /// SIGKILL from the drill, which plays the orchestrator, at the end of the grace period.
    KilledByDrill,
    /// SIGKILL from what the stop command asked for the stop, as `docker stop` sends it after 10 s.
    KilledByPlatform,
    /// SIGKILL from somebody else: the kernel for lack of memory, or an operator.
    KilledFromOutside,
    /// It had connected before the app stopped accepting, and was never accepted.
    BacklogLost,
    /// The listener stayed open, and the app accepted nothing more.
    NeverAccepted,
    /// The app was gone while the load balancer still sent.
    RefusedAfterExit,
    /// The app closed its listener while the load balancer still sent.
    StoppedListening,
    /// The app answered with an error while the load balancer still sent.
    ErrorWhileStopping,
    /// A proxy in front answered with an error (502 to 504) for an app that it was never told to leave alone.
    RouterNotTold,
    /// A proxy in between, such as docker-proxy, took connections for an app that was gone and reset them.
    ProxyReset,
    /// A kept connection was closed while a request was on its way.
    IdleClosed,
    /// A request was not over within its timeout.
    NotAnswered,
    /// The readiness endpoint did not fail before the listener closed.
    ReadinessLate,
    /// The app did not end within the grace period, though nobody was cut off by it.
    StillThere,
    /// Processes outlived the app.
    HelpersLeft,
    /// The exit status says that the stop was not clean.
    ExitStatus,
    /// The stop command failed.
    CommandFailed,
    /// A reload failed: the new run of the app did not come to serve.
    ReloadFailed,
    /// It did not because it binds the address itself that it was given a socket for.
    SocketNotTaken,
    /// The drill cut the stop command short.
    CommandBrokenOff,
    /// Nothing was stopped: the target fails by itself.
    TargetFails,
    /// The limits of a comparison are exceeded.
    WorseThanBaseline,
    /// None of those that are known.
    Other,
    /// Jobs: the budget is shorter than a job.
    JobsBudget,
    /// Jobs: the worker ignores the signal, or goes on taking jobs after it.
    JobsSignalIgnored,
    /// Jobs: it did not end although it had time for its longest job.
    JobsHung,
    /// Jobs: SIGKILL that neither graceful nor the drill sent.
    JobsKilledFromOutside,
    /// Jobs: it finishes its jobs on another signal than the one that it got.
    JobsWrongSignal,
    /// Jobs: it died of the signal.
    JobsNoHandler,
    /// Jobs: it gave up on them when a limit of its own was over.
    JobsOwnLimit,
    /// Jobs: it exited without waiting for those that it had taken.
    JobsDropped,
    /// Jobs: they were acknowledged before they were done.
    JobsAckedEarly,
}

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckResult {
    /// As it should be.
    Pass,
    /// Not as it should be.
    Fail,
    /// It fails, and `--expect` says that it may.
    Expected,
    /// There was nothing to look at; the evidence says why.
    Skipped,
    /// What it takes to tell was not seen; the evidence says what is missing.
    Unknown,
}

/// What a drill came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every check passed.
    Passed,
    /// Whether the checks pass could not be told.
    Inconclusive,
    /// At least one check failed.
    Failed,
}

impl Verdict {
    /// The exit status of `graceful drill`.
    pub fn code(self) -> u8 {
        match self {
            Verdict::Passed => 0,
            Verdict::Failed => 1,
            Verdict::Inconclusive => 3,
        }
    }

    /// Its word, for a headline.
    pub fn words(self) -> &'static str {
        match self {
            Verdict::Passed => "passed",
            Verdict::Failed => "failed",
            Verdict::Inconclusive => "inconclusive",
        }
    }
}

impl Document {
    /// Whether some of the drills are bare and some under graceful: the bare ones are then there to compare with.
    pub fn is_compared(&self) -> bool {
        self.drills.iter().any(Drill::is_bare) && !self.drills.iter().all(Drill::is_bare)
    }

    /// The drills that the verdict is about.
    pub fn judged(&self) -> impl Iterator<Item = &Drill> {
        let compared = self.is_compared();
        self.drills.iter().filter(move |drill| !(compared && drill.is_bare()))
    }

    /// The worst of those, by verdict and by what was dropped.
    pub fn worst(&self) -> Option<&Drill> {
        let lost = |drill: &Drill| drill.jobs.as_ref().map_or(drill.dropped, |jobs| jobs.lost);
        self.judged().max_by_key(|drill| (drill.verdict, lost(drill)))
    }
}

impl Drill {
    /// A drill about which nothing is known yet.
    pub fn empty(title: String, mode: Mode) -> Drill {
        Drill {
            title,
            mode,
            command: Vec::new(),
            stopped_at: None,
            rate: 0,
            lb_lag_s: 0.0,
            grace_period_s: 0.0,
            targets: Vec::new(),
            timeline: Vec::new(),
            phases: Vec::new(),
            counts: Default::default(),
            dropped: 0,
            latency: Latencies::default(),
            in_flight: Vec::new(),
            checks: Vec::new(),
            findings: Vec::new(),
            remarks: Vec::new(),
            verdict: Verdict::Inconclusive,
            inconclusive: None,
            requests: Vec::new(),
            jobs: None,
        }
    }

    /// Whether nobody was in charge of the app.
    pub fn is_bare(&self) -> bool {
        self.mode == Mode::Bare
    }

    /// When something happened first.
    pub fn at(&self, what: TimelineMarkKind) -> Option<f64> {
        self.timeline.iter().find(|moment| moment.what == what).map(|moment| moment.at_s)
    }

    /// Whether the load balancer would have sent this request, and the user did not get an answer. What failed before
    /// the stop was not dropped by it.
    pub fn is_dropped(&self, record: &Record) -> bool {
        !record.outcome.is_ok()
            && record.outcome != RequestOutcome::Untold
            && record.intended_s <= self.lb_lag_s
            && (self.stopped_at.is_none() || record.ended_s >= 0.0)
            && !is_open_stream(record)
    }

    /// Whether it cannot be told if this request was dropped.
    pub fn is_untold(&self, record: &Record) -> bool {
        record.outcome == RequestOutcome::Untold && record.intended_s <= self.lb_lag_s
    }

    /// The dropped requests.
    pub fn lost(&self) -> impl Iterator<Item = &Record> {
        self.requests.iter().filter(|record| self.is_dropped(record))
    }
}

/// Whether it is a stream that went on when the drill ended: nobody broke that.
fn is_open_stream(record: &Record) -> bool {
    record.kind == ClientKind::Stream && record.outcome == RequestOutcome::Unfinished
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_has_one_name_typed_shown_and_written() {
        for check in CheckName::value_variants() {
            assert_eq!(CheckName::from_str(check.name(), false).as_ref(), Ok(check));
            assert_eq!(serde_json::to_value(check).unwrap(), check.name());
        }
    }
}

//! What one drill has shown: the document that `--output json=` writes, and of which everything else is a view.
//!
//! All times are seconds since the stop, with microseconds; before it they are negative.

use super::record::{Kind, Outcome, Record};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The whole document: one drill or more, and what they come to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// The version that wrote it.
    pub graceful: String,
    /// passed, failed or inconclusive.
    pub verdict: Verdict,
    /// The verdict in one sentence.
    pub headline: String,
    /// In the order in which they were held.
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
    /// Drills of the delay that was enough.
    pub confirmed: u32,
    /// In a sentence.
    pub words: String,
}

/// One stop under load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drill {
    /// "under graceful", "bare", "pid 12", "docker stop web".
    pub title: String,
    /// The app's command line, where there is one.
    pub command: Vec<String>,
    /// Wall clock of the stop, RFC 3339; none if it never came to it.
    pub stopped_at: Option<String>,
    /// Requests a second.
    pub rate: u32,
    /// The load balancer went on sending for so long.
    pub lb_lag_s: f64,
    /// Until which the stop had to be over.
    pub grace_period_s: f64,
    /// What was asked, "GET http://127.0.0.1:8080/".
    pub targets: Vec<String>,
    /// What happened.
    pub timeline: Vec<Moment>,
    /// Phases as `graceful run` reports them; empty without it.
    pub phases: Vec<Span>,
    /// Requests by outcome, over all kinds.
    pub counts: BTreeMap<Outcome, usize>,
    /// Sent within the lag, or before and not over, and not ok.
    pub dropped: usize,
    /// Latency of the requests that were ok and sent before the stop, and after it.
    pub latency: Latencies,
    /// What graceful saw of the app's connections, where it looked.
    pub in_flight: Vec<InFlight>,
    /// Each check with its evidence.
    pub checks: Vec<Check>,
    /// passed, failed or inconclusive.
    pub verdict: Verdict,
    /// Why it is inconclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inconclusive: Option<String>,
    /// Every request, by intended time.
    pub requests: Vec<Record>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// When.
    pub at_s: f64,
    /// What.
    pub what: What,
    /// In words, as the log of `run` has them.
    pub words: String,
}

/// The moments of a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The first request.
    LoadBegins,
    /// The stop.
    Stop,
    /// The readiness endpoint answered otherwise than 200 to 399.
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
pub struct Span {
    /// pre-stop, hold, drain, leftovers, kill, post-stop.
    pub phase: String,
    /// When it began.
    pub start_s: f64,
    /// How long it lasted.
    pub duration_s: f64,
}

/// Connections of the app at one moment, as graceful sees them from outside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InFlight {
    /// stop, signal, exit or kill.
    pub moment: String,
    /// When.
    pub at_s: f64,
    /// With a request that is not answered.
    pub busy: usize,
    /// Of which it cannot be told.
    pub unknown: usize,
    /// That wait for their next request.
    pub idle: usize,
    /// That the app has not accepted.
    pub unaccepted: usize,
    /// Requests that the clients had under way at that moment.
    #[serde(default)]
    pub clients: usize,
}

/// Percentiles of the latency of one part of the load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// So many requests.
    pub count: u64,
    /// Half are faster, in seconds.
    pub p50_s: f64,
    /// 90 % are.
    pub p90_s: f64,
    /// 99 % are.
    pub p99_s: f64,
    /// All are.
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

/// One check of the verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// As `--expect` takes it: "zero-dropped".
    pub name: String,
    /// What it came to.
    pub result: CheckResult,
    /// What was seen.
    pub evidence: String,
    /// On a failure, why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// On a failure, what to change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
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
    /// It could not be looked at; the evidence says why.
    Skipped,
}

/// What a drill came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every check passed.
    Passed,
    /// It could not be told.
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

    /// In capitals for a headline.
    pub fn words(self) -> &'static str {
        match self {
            Verdict::Passed => "passed",
            Verdict::Failed => "failed",
            Verdict::Inconclusive => "inconclusive",
        }
    }
}

impl Drill {
    /// When something happened first.
    pub fn at(&self, what: What) -> Option<f64> {
        self.timeline.iter().find(|moment| moment.what == what).map(|moment| moment.at_s)
    }

    /// The load balancer would have sent this request, and the user did not get an answer.
    pub fn is_dropped(&self, record: &Record) -> bool {
        !record.outcome.is_ok() && record.intended_s <= self.lb_lag_s && !is_open_stream(record)
    }

    /// The dropped ones.
    pub fn lost(&self) -> impl Iterator<Item = &Record> {
        self.requests.iter().filter(|record| self.is_dropped(record))
    }
}

/// A stream that went on when the drill ended was not broken by anybody.
fn is_open_stream(record: &Record) -> bool {
    record.kind == Kind::Stream && record.outcome == Outcome::Unfinished
}

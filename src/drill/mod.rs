//! The drill: a stop under load, on purpose, to see what it drops.
//!
//! ```text
//!   plan ──► stage ──┬── subject     what is stopped: a child of its own, a pid, a command's doing
//!                    ├── discover    where the app listens, if nobody said what to ask
//!                    ├── preflight   one good answer of every target first
//!                    ├── load        pacer, undelimited (pure) + connection, header: one record for each request
//!                    ├── ready       the readiness endpoint, as a load balancer looks at it
//!                    ├── details     what it decides, for --log-level debug
//!                    ├── facts ──► verdict, advice, baseline (pure) ──► evidence ──► report/
//!                    └── jobs        the same for a worker, instead of load, preflight and ready
//! ```
//!
//! The load is an open model: requests go out at times that the rate alone decides, and what a stalled server keeps
//! waiting counts from the time it should have been sent. Nothing is sent twice. Whatever a correct router would have
//! sent within the lag after the stop and did not get an answer is dropped.
//!
//! The app runs under `graceful run` in a process of its own, exactly as it would in production, and its report is read
//! when it is over; so the timeline speaks the words of the log.

pub mod baseline;
pub mod evidence;
pub mod header;
pub mod plan;
pub mod record;
pub mod report;

mod advice;
mod case;
mod causes;
mod checks;
mod connection;
mod details;
mod discover;
mod facts;
mod idle;
mod jobs;
mod load;
mod pacer;
mod preflight;
mod progress;
mod ready;
mod stage;
mod statistics;
mod subject;
#[cfg(test)]
mod testing;
mod tune;
mod undelimited;
mod verdict;

pub use plan::DrillPlan;

use crate::files;
use crate::log::DetailLog;
use crate::reason::Reason;
use crate::status;
use crate::sys::signals::Inherited;
use crate::sys::{at, in_words, spawn};
use evidence::{Document, Drill, Verdict};
use plan::{OutputKind, Supervision, Verbosity};
use progress::{Progress, Rounds};
use report::terminal::OutputStream;
use stage::{Broken, Session};
use std::io;
use std::path::Path;

/// In bytes, more than a drill of hours writes; a device or a log given by mistake is not read to its end.
const BASELINE_MAX: u64 = 1 << 30;
/// In bytes, more than the headers of any request.
const HEADERS_MAX: u64 = 64 << 10;

/// Runs the drills of the plan, writes what is asked for and prints the rest to stdout. Every signal must be blocked.
/// Returns the exit status: 0 passed, 1 failed, 2 for a baseline that cannot be used, 3 inconclusive, 125 for a failure
/// of its own, 128+n if signal n ended it.
pub fn run(plan: &DrillPlan, inherited: Inherited) -> u8 {
    let baseline = match plan.baseline.as_ref().map(|path| (path, read(path, BASELINE_MAX))) {
        None => None,
        Some((path, text)) => {
            let read = text.map_err(|error| Reason::from(in_words(&error))).and_then(|text| baseline::read(&text));
            match read {
                Ok(sample) => Some(sample),
                Err(why) => {
                    complain(&format!("--baseline {}: {why}; expected what --output json=PATH wrote", path.display()));
                    return status::USAGE;
                }
            }
        }
    };
    if matches!(plan.subject, plan::Subject::Own { .. }) {
        // So that what the app leaves behind is found.
        _ = spawn::become_subreaper();
    }
    let has_rounds = (plan.tune || plan.repeat > 1) && plan.verbosity != Verbosity::Quiet;
    let rounds = Rounds::new(has_rounds.then(|| OutputStream::beside(&plan.outputs)), plan.rounds());
    // Lines of the app or of a log do not go together with one that is redrawn.
    let log = DetailLog::start(plan.details.level, plan.details.json);
    let has_view = plan.verbosity != Verbosity::Quiet && !plan.show_output && log.is_none();
    let mut hall = Session { inherited, progress: Progress::new(has_view), rounds, log };
    let held = held(plan, &mut hall, baseline);
    // All of the log is written before the result.
    drop(hall.log.take());
    let document = match held {
        Ok(document) => document,
        Err(Broken::Interrupted(signal)) => {
            complain(&format!("{signal}: the drill was interrupted; everything that it started was stopped"));
            return 128u8.saturating_add(u8::try_from(signal.number()).unwrap_or(0));
        }
        Err(Broken::Failed(why)) => {
            complain(&why);
            return status::FAILURE;
        }
    };
    let mut code = document.verdict.code();
    for output in &plan.outputs {
        let path = &output.path;
        let text = match output.kind {
            OutputKind::Json => report::json(&document),
            OutputKind::Junit => report::junit::junit(&document),
            OutputKind::Html => report::html::page(&document),
        };
        let written = match files::descriptor(path) {
            Some(fd) => at::duplicate(fd).and_then(|file| files::write_to(&file, text.as_bytes())),
            None => files::replace(path, text.as_bytes()),
        };
        if let Err(error) = written {
            complain(&format!("--output {}: {}", path.display(), in_words(&error)));
            code = status::FAILURE;
        }
    }
    if has_rounds {
        OutputStream::beside(&plan.outputs).write("\n");
    }
    report::terminal::print(&document, &plan.outputs, plan.verbosity);
    code
}

/// The headers of a file with one per line, for `--header @FILE`.
///
/// # Errors
/// The file cannot be read, or a line of it is not a header: why, without a value.
pub fn headers_of(path: &Path) -> Result<Vec<header::Header>, Reason> {
    let text = read(path, HEADERS_MAX).map_err(|error| in_words(&error))?;
    header::Header::parse_file(&text)
}

fn read(path: &Path, max: u64) -> io::Result<String> {
    let bytes = files::read(path, max)?;
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8 text"))
}

fn held(plan: &DrillPlan, hall: &mut Session, baseline: Option<baseline::Sample>) -> Result<Document, Broken> {
    if plan.tune {
        let (drills, tuned) = tune::tune(plan, hall)?;
        return Ok(document(drills, Some(tuned)));
    }
    let ways = match &plan.subject {
        plan::Subject::Own { way: Supervision::Both, .. } => vec![Supervision::Bare, Supervision::Supervised],
        plan::Subject::Own { way, .. } => vec![*way],
        _ => vec![Supervision::Bare],
    };
    let mut drills = Vec::new();
    for _ in 0..plan.repeat.max(1) {
        for way in &ways {
            let drill = match &plan.jobs {
                Some(jobs) => jobs::hold(plan, jobs, *way, hall)?,
                None => {
                    let mut drill = stage::hold(plan, *way, None, hall)?;
                    verdict::compare(&mut drill, plan, baseline);
                    drill
                }
            };
            details::judged(&drill);
            hall.rounds.ended(&drill);
            drills.push(drill);
        }
    }
    Ok(document(drills, None))
}

fn document(drills: Vec<Drill>, tuned: Option<evidence::Tuned>) -> Document {
    let graceful = env!("CARGO_PKG_VERSION").to_owned();
    let mut document =
        Document { graceful, verdict: Verdict::Inconclusive, headline: "no drill was held".to_owned(), drills, tuned };
    let worst = document.judged().map(|drill| drill.verdict).max().unwrap_or(Verdict::Inconclusive);
    document.verdict = match &document.tuned {
        Some(tuned) if tuned.enough_s.is_some() => Verdict::Passed,
        _ => worst,
    };
    if let Some(tuned) = &document.tuned {
        document.headline = tuned.words.clone();
    } else if let Some(worst) = document.worst() {
        document.headline = headline(worst, document.judged().count());
    }
    document
}

/// The verdict in a sentence. The findings say what to change, each from its own evidence.
fn headline(worst: &Drill, count: usize) -> String {
    if let Some(why) = &worst.inconclusive {
        return why.clone();
    }
    let of = if count > 1 { format!(" in the worst of {count} drills") } else { String::new() };
    let (what, sent) = match &worst.jobs {
        Some(jobs) => ("lost", report::counted(jobs.submitted, "job")),
        None => ("dropped", report::counted(worst.requests.len(), "request")),
    };
    let lost = worst.jobs.as_ref().map_or(worst.dropped, |jobs| jobs.lost);
    let is_failure = |check: &&evidence::Check| check.result == evidence::CheckResult::Fail;
    let failed: Vec<&str> = worst.checks.iter().filter(is_failure).map(|check| check.name.name()).collect();
    let under_way = worst.jobs.is_none() && worst.lost().all(|record| record.intended_s < 0.0);
    match (lost, failed.is_empty()) {
        (0, true) => format!("{sent}, none {what}{of}"),
        (0, false) => format!("{sent}, none {what}{of}, but failed: {}", failed.join(", ")),
        _ if under_way => format!("{}{of}, all of them under way at the stop", report::lost(worst)),
        _ => format!("{}{of}", report::lost(worst)),
    }
}

fn complain(text: &str) {
    use std::io::Write;
    _ = writeln!(std::io::stderr(), "graceful: error: {text}");
}

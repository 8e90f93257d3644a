//! The drill: a stop under load, on purpose, to see what it drops.
//!
//! ```text
//!   plan ──► stage ──┬── subject     what is stopped: an own child, a pid, a command's doing
//!                    ├── preflight   one good answer of every target first
//!                    ├── load        pacer (pure) + connection: one record for each request
//!                    ├── ready       the readiness endpoint, as a load balancer looks at it
//!                    └── facts ──► verdict, advice, baseline (pure) ──► evidence ──► report/
//! ```
//!
//! The load is an open model: requests go out at times that the rate alone decides, and what a stalled server keeps
//! waiting counts from the time it should have been sent. Nothing is sent twice. Whatever a correct router would have sent
//! within the lag after the stop and did not get an answer is dropped.
//!
//! The app runs under `graceful run` in a process of its own, exactly as it would in production, and its report is read
//! when it is over; so the timeline speaks the words of the log.

pub mod baseline;
pub mod evidence;
pub mod plan;
pub mod record;
pub mod report;

mod advice;
mod connection;
mod facts;
mod load;
mod pacer;
mod preflight;
mod progress;
mod ready;
mod stage;
mod subject;
mod tune;
mod verdict;

pub use plan::Plan;
pub use verdict::CHECKS;

use crate::files;
use crate::status;
use crate::sys::signals::Inherited;
use crate::sys::{at, in_words, spawn};
use evidence::{Document, Drill, Verdict};
use plan::{Output, Way};
use progress::Progress;
use stage::{Broken, Hall};
use std::io;
use std::path::Path;

/// More than a drill of hours writes; a device or a log given by mistake is not read to its end.
const BASELINE_MAX: u64 = 1 << 30;

/// Holds the drills of the plan, writes what is asked for and prints the rest to stdout. Every signal must be blocked.
/// Returns the exit status: 0 passed, 1 failed, 3 inconclusive, 125 for a failure of its own, 128+n if signal n ended it.
pub fn run(plan: &Plan, inherited: Inherited) -> u8 {
    let baseline = match plan.baseline.as_ref().map(|path| (path, read(path))) {
        None => None,
        Some((path, text)) => {
            let read = text.map_err(|error| in_words(&error)).and_then(|text| baseline::read(&text));
            match read {
                Ok(sample) => Some(sample),
                Err(why) => {
                    complain(&format!("--baseline {}: {why}; right is what --output json=PATH wrote", path.display()));
                    return status::USAGE;
                }
            }
        }
    };
    if matches!(plan.subject, plan::Subject::Own { .. }) {
        // What the app leaves behind is to be found.
        _ = spawn::become_subreaper();
    }
    let mut hall = Hall { inherited, progress: Progress::new() };
    let document = match held(plan, &mut hall, baseline) {
        Ok(document) => document,
        Err(Broken::Interrupted(signal)) => {
            complain(&format!("{signal}: the drill is broken off, and what it started is ended"));
            return 128u8.saturating_add(u8::try_from(signal.number()).unwrap_or(0));
        }
        Err(Broken::Failed(why)) => {
            complain(&why);
            return status::FAILURE;
        }
    };
    let mut code = document.verdict.code();
    for output in &plan.outputs {
        let (path, text) = match output {
            Output::Json(path) => (path, report::json(&document)),
            Output::Junit(path) => (path, report::junit::junit(&document)),
            Output::Html(path) => (path, report::html::page(&document)),
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
    report::terminal::print(&document, &plan.outputs);
    code
}

fn read(path: &Path) -> io::Result<String> {
    let bytes = files::read(path, BASELINE_MAX)?;
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8 text"))
}

fn held(plan: &Plan, hall: &mut Hall, baseline: Option<baseline::Sample>) -> Result<Document, Broken> {
    if plan.tune {
        let (drills, tuned) = tune::tune(plan, hall)?;
        return Ok(document(drills, Some(tuned)));
    }
    let ways = match &plan.subject {
        plan::Subject::Own { way: Way::Both, .. } => vec![Way::Bare, Way::Supervised],
        plan::Subject::Own { way, .. } => vec![*way],
        _ => vec![Way::Bare],
    };
    let mut drills = Vec::new();
    for _ in 0..plan.repeat.max(1) {
        for way in &ways {
            let mut drill = stage::hold(plan, *way, None, hall)?;
            verdict::compare(&mut drill, plan, baseline);
            drills.push(drill);
        }
    }
    Ok(document(drills, None))
}

/// The last drill by whose way it is judged is graceful's: a comparison shows the bare one beside it.
fn document(drills: Vec<Drill>, tuned: Option<evidence::Tuned>) -> Document {
    let compared = drills.iter().any(|drill| drill.title == "bare") && drills.iter().any(|drill| drill.title != "bare");
    let counted = || drills.iter().filter(|drill| !(compared && drill.title == "bare"));
    let verdict = match &tuned {
        Some(tuned) if tuned.enough_s.is_some() => Verdict::Passed,
        Some(_) => counted().map(|drill| drill.verdict).max().unwrap_or(Verdict::Inconclusive),
        None => counted().map(|drill| drill.verdict).max().unwrap_or(Verdict::Inconclusive),
    };
    let headline = match (&tuned, counted().max_by_key(|drill| drill.verdict)) {
        (Some(tuned), _) => tuned.words.clone(),
        (None, Some(worst)) => headline(worst, counted().count()),
        (None, None) => "no drill was held".to_owned(),
    };
    Document { graceful: env!("CARGO_PKG_VERSION").to_owned(), verdict, headline, drills, tuned }
}

/// The verdict in a sentence; on dropped requests, with the smallest delay that would have saved those sent after the stop.
fn headline(worst: &Drill, count: usize) -> String {
    if let Some(why) = &worst.inconclusive {
        return why.clone();
    }
    let of = if count > 1 { format!(" in the worst of {count} drills") } else { String::new() };
    let sent = worst.requests.len();
    let failed: Vec<&str> = worst
        .checks
        .iter()
        .filter(|check| check.result == evidence::CheckResult::Fail)
        .map(|check| check.name.as_str())
        .collect();
    let last = worst.lost().map(|record| record.intended_s).filter(|at| *at >= 0.0).reduce(f64::max);
    match (worst.dropped, last) {
        (0, _) if failed.is_empty() => format!("{sent} requests, none dropped{of}"),
        (0, _) => format!("{sent} requests, none dropped{of}, but: {}", failed.join(", ")),
        (dropped, Some(last)) => format!(
            "{dropped} of {sent} requests dropped{of}; those sent after the stop would have been saved by \
             --pre-stop-delay {}",
            advice::delay_over(last)
        ),
        (dropped, None) => format!("{dropped} of {sent} requests dropped{of}, all of them under way at the stop"),
    }
}

fn complain(text: &str) {
    use std::io::Write;
    _ = writeln!(std::io::stderr(), "graceful: error: {text}");
}

//! The smallest pre-stop delay that drops nothing, from both sides: halving between one that drops and one that does
//! not, then the good one again, to be sure.

use super::details;
use super::evidence::Verdict;
use super::evidence::{Drill, Tuned};
use super::plan::{DrillPlan, Subject, Supervision};
use super::stage::{Broken, Session, hold, human};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// How exact the result is.
const STEP: Duration = Duration::from_millis(100);
/// How often the good delay is drilled in the end.
const CONFIRM: u32 = 3;

/// What the next drill is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Try(Duration),
    Found { enough: Option<Duration>, too_short: Option<Duration> },
}

/// The search, without the drills.
#[derive(Debug, Default)]
struct Search {
    enough: Option<Duration>,
    too_short: Option<Duration>,
    longest: Duration,
}

impl Search {
    fn next(&self) -> Next {
        match (self.too_short, self.enough) {
            (None, None) => Next::Try(Duration::ZERO),
            (Some(low), None) if low < self.longest => Next::Try(self.longest),
            (Some(low), Some(high)) if high.saturating_sub(low) > STEP => {
                let middle = low + (high - low) / 2;
                let steps = u32::try_from(middle.as_millis() / STEP.as_millis()).unwrap_or(u32::MAX);
                Next::Try((STEP * steps).max(low + STEP))
            }
            (too_short, enough) => Next::Found { enough, too_short },
        }
    }

    fn learn(&mut self, delay: Duration, dropped: bool) {
        if dropped {
            self.too_short = Some(self.too_short.map_or(delay, |known| known.max(delay)));
            // It was enough once by luck.
            self.enough = self.enough.filter(|enough| *enough > delay);
        } else {
            self.enough = Some(self.enough.map_or(delay, |known| known.min(delay)));
        }
    }
}

/// Takes the hold out of the flags of `graceful run`: a hold lets an app serve on as long as requests come without a
/// pause, and hides the delay that it needs.
fn without_hold(flags: &mut Vec<OsString>) {
    const OF_A_HOLD: [&[u8]; 4] = [b"--hold=", b"--hold-timeout=", b"--quiet-window=", b"--ports="];
    flags.retain(|flag| !OF_A_HOLD.iter().any(|name| flag.as_bytes().starts_with(name)));
    flags.push("--hold=never".into());
}

/// Drills until the delay is known. The plan's own delay and hold, if it has them, are overridden.
pub(super) fn tune(plan: &DrillPlan, hall: &mut Session) -> Result<(Vec<Drill>, Tuned), Broken> {
    let mut plan = plan.clone();
    if let Subject::Own { flags, .. } = &mut plan.subject {
        without_hold(flags);
    }
    let plan = &plan;
    let longest = plan.lb_lag + Duration::from_secs(1);
    let mut search = Search { longest, ..Search::default() };
    let mut drills = Vec::new();
    let mut confirmed = 0;
    loop {
        let delay = match search.next() {
            Next::Try(delay) => {
                confirmed = 0;
                delay
            }
            Next::Found { enough: Some(enough), .. } if confirmed < CONFIRM => enough,
            Next::Found { enough, too_short } => return Ok((drills, told(enough, too_short, confirmed, longest))),
        };
        let mut drill = hold(plan, Supervision::Supervised, Some(delay), hall)?;
        details::judged(&drill);
        drill.title = format!("--pre-stop-delay {}", human(delay));
        let (inconclusive, dropped) = (drill.verdict == Verdict::Inconclusive, drill.dropped > 0);
        let why = drill.inconclusive.clone().unwrap_or_default();
        hall.rounds.ended(&drill);
        drills.push(drill);
        if inconclusive {
            let words = format!("a drill was inconclusive, so the smallest delay is not known: {why}");
            return Ok((drills, Tuned { enough_s: None, too_short_s: None, confirmed: 0, words }));
        }
        search.learn(delay, dropped);
        confirmed = if search.enough == Some(delay) { confirmed + 1 } else { 0 };
    }
}

fn told(enough: Option<Duration>, too_short: Option<Duration>, confirmed: u32, longest: Duration) -> Tuned {
    let words = match (enough, too_short) {
        (Some(enough), Some(low)) => format!(
            "--pre-stop-delay {} is enough: {confirmed} of {confirmed} drills without a hold dropped nothing, and {} dropped some",
            human(enough),
            human(low)
        ),
        (Some(_), None) => format!(
            "no delay is needed: {confirmed} of {confirmed} drills without one, and without a hold, dropped nothing"
        ),
        (None, _) => {
            format!("no delay up to {} saves all requests: what is dropped is not for a delay to save", human(longest))
        }
    };
    let seconds = |delay: Duration| delay.as_secs_f64();
    Tuned { enough_s: enough.map(seconds), too_short_s: too_short.map(seconds), confirmed, words }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches against an app that needs this delay; returns the delays tried, and what was found.
    fn tried(needs_ms: u64) -> (Vec<u64>, Option<Duration>, Option<Duration>) {
        let mut search = Search { longest: Duration::from_secs(3), ..Search::default() };
        let mut tried = Vec::new();
        loop {
            match search.next() {
                Next::Try(delay) => {
                    tried.push(delay.as_millis() as u64);
                    search.learn(delay, delay < Duration::from_millis(needs_ms));
                }
                Next::Found { enough, too_short } => return (tried, enough, too_short),
            }
            assert!(tried.len() < 20, "{tried:?}");
        }
    }

    #[test]
    fn what_is_measured_has_no_hold() {
        let mut flags =
            ["--hold=idle", "--hold-timeout=3s", "--grace-period=9s", "--ports=80"].map(Into::into).to_vec();
        without_hold(&mut flags);
        assert_eq!(flags, ["--grace-period=9s", "--hold=never"]);
    }

    #[test]
    fn the_smallest_is_found_from_both_sides() {
        for needs in [1, 99, 100, 101, 1450, 1999, 2000, 2950, 3000] {
            let (tried, enough, too_short) = tried(needs);
            let (enough, too_short) = (enough.unwrap().as_millis() as u64, too_short.unwrap().as_millis() as u64);
            assert!(too_short < needs && needs <= enough && enough - too_short <= 100, "{needs}: {tried:?}");
            assert!(tried.len() <= 8, "{needs}: {tried:?}");
        }
    }

    #[test]
    fn none_needed_and_none_enough_are_known_at_once() {
        assert_eq!(tried(0), (vec![0], Some(Duration::ZERO), None));
        assert_eq!(tried(9999), (vec![0, 3000], None, Some(Duration::from_secs(3))));
    }

    #[test]
    fn what_was_enough_by_luck_is_not_believed() {
        let mut search = Search { longest: Duration::from_secs(3), ..Search::default() };
        search.learn(Duration::ZERO, true);
        search.learn(Duration::from_millis(500), false);
        search.learn(Duration::from_millis(500), true);
        assert_eq!((search.enough, search.too_short), (None, Some(Duration::from_millis(500))));
        assert_eq!(search.next(), Next::Try(Duration::from_secs(3)));
    }
}

//! An app that nobody can send requests to: a worker, or one that is still starting. Which of the two it is shows in
//! what it is known as, and in whether it is busy.
//!
//! - A known worker (by its profile) counts as one as soon as it has run for a moment and listens nowhere.
//! - Any other is taken for one when it has listened nowhere and hardly used the processor for some time: an app that
//!   is still starting is busy. One that waits for something else before it listens, such as its database, is given the
//!   time of an explicit `--wait`.

use super::plan::{self, DrillPlan};
use super::subject::RunningSubject;
use crate::config;
use std::time::{Duration, Instant};

/// A known worker has opened its ports by then, if it opens any.
const MOMENT: Duration = Duration::from_secs(1);
/// An app that listens nowhere and does nothing for this long has started.
const SETTLED: Duration = Duration::from_secs(3);
/// The time from one look to the next.
const INTERVAL: Duration = Duration::from_millis(200);
/// How many ticks of the processor's clock (10 ms each) between two looks are not work: a worker looks at its queue.
const HARDLY_ANY: u64 = 2;

/// The looks at an app that listens nowhere.
#[derive(Debug)]
pub(super) struct Idle {
    /// When the last look was, and how many ticks of the processor the app had used by then.
    last: Option<(Instant, u64)>,
    nowhere_since: Option<Instant>,
    settled_since: Option<Instant>,
}

impl Idle {
    pub(super) fn new() -> Idle {
        Idle { last: None, nowhere_since: None, settled_since: None }
    }

    /// Looks now and then; returns why there is nothing to send requests to, once that is plain.
    pub(super) fn look(&mut self, subject: &RunningSubject, plan: &DrillPlan) -> Option<String> {
        let plan::Subject::Own { command, demo: None, .. } = &plan.subject else { return None };
        let now = Instant::now();
        if !plan.targets.requests.is_empty() || self.last.is_some_and(|(at, _)| now < at + INTERVAL) {
            return None;
        }
        let known = config::known_worker(command).map(|worker| worker.name);
        self.note(now, subject.listens_nowhere());
        self.is_plain(now, known.is_some(), plan.waits).then(|| words(known))
    }

    /// Notes one look: the ticks that the app has used if it listens nowhere.
    fn note(&mut self, now: Instant, ticks: Option<u64>) {
        let works = match (self.last, ticks) {
            (Some((_, before)), Some(ticks)) => ticks.abs_diff(before) > HARDLY_ANY,
            _ => true,
        };
        self.last = Some((now, ticks.unwrap_or(0)));
        self.nowhere_since = ticks.and(self.nowhere_since.or(Some(now)));
        self.settled_since = if works { None } else { self.settled_since.or(Some(now)) }.filter(|_| ticks.is_some());
    }

    fn is_plain(&self, now: Instant, is_known: bool, waits: bool) -> bool {
        let lasts = |since: Option<Instant>, long: Duration| since.is_some_and(|since| now >= since + long);
        lasts(self.nowhere_since, MOMENT) && is_known || lasts(self.settled_since, SETTLED) && !waits
    }
}

fn words(known: Option<&str>) -> String {
    let what = match known {
        Some(name) => format!("the app listens nowhere: it is a worker (profile {name})"),
        None => "the app listens nowhere and waits: it looks like a worker".to_owned(),
    };
    let more = match known {
        Some(_) => "",
        None => "; if it takes longer until it listens, --wait DUR waits for that",
    };
    format!(
        "{what}. The drill of a worker takes jobs: --submit COMMAND submits some and prints their ids, --done COMMAND prints \
         the ids of those that are done, --queued COMMAND those that the queue still has. If requests come to it through another \
         process, --url URL says where to ask{more}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks five times a second; when it was plain, in seconds.
    fn plain_after(is_known: bool, waits: bool, ticks: impl Fn(u32) -> Option<u64>) -> Option<f64> {
        let (start, mut idle) = (Instant::now(), Idle::new());
        (0..60).find_map(|look| {
            let now = start + INTERVAL * look;
            idle.note(now, ticks(look));
            idle.is_plain(now, is_known, waits).then(|| (now - start).as_secs_f64())
        })
    }

    #[test]
    fn a_known_worker_is_plain_in_a_moment_whatever_it_does() {
        assert_eq!(plain_after(true, false, |look| Some(u64::from(look) * 20)), Some(1.0));
        assert_eq!(plain_after(true, true, |look| Some(u64::from(look) * 20)), Some(1.0));
        assert_eq!(plain_after(true, false, |_| None), None, "it listens");
    }

    #[test]
    fn another_is_plain_when_it_has_settled() {
        assert_eq!(plain_after(false, false, |_| Some(7)), Some(3.2));
        assert_eq!(
            plain_after(false, false, |look| Some(u64::from(look))),
            Some(3.2),
            "a look at its queue is no work"
        );
        // It takes two seconds to start.
        let starting = |look: u32| Some(u64::from(look.min(10)) * 20);
        assert!(plain_after(false, false, starting).is_some_and(|at| at >= 5.0));
        assert_eq!(plain_after(false, false, |look| Some(u64::from(look) * 3)), None, "it works");
    }

    #[test]
    fn who_is_waited_for_or_listens_is_not_taken_for_a_worker() {
        assert_eq!(plain_after(false, true, |_| Some(7)), None);
        assert_eq!(plain_after(false, false, |look| (look % 10 != 0).then_some(7)), None, "it listens now and then");
    }

    #[test]
    fn the_words_name_what_to_do() {
        for (known, says) in [(Some("celery"), "a worker (profile celery)"), (None, "--wait DUR")] {
            let words = words(known);
            for part in [says, "--submit", "--done", "--queued", "--url"] {
                assert!(words.contains(part), "{words}");
            }
        }
    }
}

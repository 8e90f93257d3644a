//! The ledger of the jobs: what was submitted, what was seen to be done and to be queued, and what that comes to. Pure.
//!
//! ```text
//!   submit ──► open ──── in --done ────────────────────► done
//!               │ └───── in --queued, at the last look ─► queued
//!               └─────── in neither, at the last look ──► lost; unknown where nobody could look
//! ```
//!
//! Done is for ever, whatever a later look says (results expire). Queued counts as of the last look. A look asks for
//! the queue first and then for what is done: a job that moves on between the two is seen twice, and is never missed.
//!
//! All times are seconds since the drill began, by the caller's clock.

use crate::drill::evidence::{Fate, JobCounts, JobFate, JobsAt};
use crate::reason::Reason;
use std::collections::{HashMap, HashSet};

/// At most this many ids of others are kept, to be counted once each.
const STRANGERS: usize = 10_000;

/// One look at both sides.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    /// When its first command was started.
    pub(super) began_s: f64,
    /// When its last command had ended.
    pub(super) ended_s: f64,
    /// What `--queued` printed, if there is one.
    pub(super) queued: Option<Vec<String>>,
    /// What `--done` printed.
    pub(super) done: Vec<String>,
}

/// One job.
#[derive(Clone, Debug)]
struct Entry {
    id: String,
    submitted_s: f64,
    done_s: Option<f64>,
    /// The most times that one look has shown it as done.
    times: usize,
    queued: bool,
    /// Whether it was done by the worker that came after the one that was stopped.
    by_next: bool,
    /// Whether it was in neither list at a look after the worker's end.
    missed: bool,
}

/// All jobs of a drill.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    jobs: Vec<Entry>,
    by_id: HashMap<String, usize>,
    strangers: HashSet<String>,
    curve: Vec<JobsAt>,
    /// Whether a look has seen the queue.
    knows_queue: bool,
    /// When the last look began and ended, if there was one.
    last: Option<(f64, f64)>,
    /// From this time on another worker is at work, and what is submitted is not part of the drill; this many jobs are.
    next: Option<(f64, usize)>,
    reappeared: usize,
}

impl Ledger {
    /// Adds jobs that are submitted.
    ///
    /// # Errors
    /// An id was there before.
    pub(super) fn submit(&mut self, ids: Vec<String>, at_s: f64) -> Result<(), Reason> {
        for id in ids {
            if self.by_id.contains_key(&id) {
                return Err(format!(
                    "it printed the id {:?} again: each job needs an id of its own",
                    super::ids::shown(&id)
                )
                .into());
            }
            self.by_id.insert(id.clone(), self.jobs.len());
            self.jobs.push(Entry {
                id,
                submitted_s: at_s,
                done_s: None,
                times: 0,
                queued: false,
                by_next: false,
                missed: false,
            });
        }
        self.note(at_s);
        Ok(())
    }

    /// Takes in a look. `ended`: whether the worker had ended before it began, so that what is in neither list is
    /// missing.
    pub(super) fn look(&mut self, look: Look, ended: bool) {
        let mut times: HashMap<usize, usize> = HashMap::new();
        for id in look.done {
            match self.by_id.get(&id) {
                Some(at) => *times.entry(*at).or_default() += 1,
                None => self.stranger(id),
            }
        }
        let mut queued = HashSet::new();
        let looked_at_queue = look.queued.is_some();
        self.knows_queue |= looked_at_queue;
        for id in look.queued.unwrap_or_default() {
            match self.by_id.get(&id) {
                Some(at) => drop(queued.insert(*at)),
                None => self.stranger(id),
            }
        }
        let by_next = self.next.is_some_and(|(from, _)| look.began_s >= from);
        for (at, entry) in self.jobs.iter_mut().enumerate() {
            let count = times.get(&at).copied().unwrap_or(0);
            entry.times = entry.times.max(count);
            if count > 0 && entry.done_s.is_none() {
                entry.done_s = Some(look.ended_s);
                entry.by_next = by_next;
            }
            if looked_at_queue {
                entry.queued = queued.contains(&at);
            }
            // One that was submitted while the look was under way may not have been there when it looked.
            let was_there = entry.submitted_s <= look.began_s;
            let is_found = entry.done_s.is_some() || entry.queued;
            if ended && looked_at_queue && was_there && !is_found {
                entry.missed = true;
            } else if is_found && entry.missed {
                entry.missed = false;
                self.reappeared += 1;
            }
        }
        self.last = Some((look.began_s, look.ended_s));
        self.note(look.ended_s);
    }

    /// Hands over to another worker: what is done from now on was queued, and what is submitted from now on does not
    /// count.
    pub(super) fn handed_over(&mut self, at_s: f64) {
        self.next = Some((at_s, self.jobs.len()));
    }

    /// The jobs that count.
    fn counted(&self) -> &[Entry] {
        let count = self.next.map_or(self.jobs.len(), |(_, count)| count);
        self.jobs.get(..count).unwrap_or(&self.jobs)
    }

    fn stranger(&mut self, id: String) {
        if self.strangers.len() < STRANGERS {
            self.strangers.insert(id);
        }
    }

    /// Adds a point to the curve, if anything has changed.
    fn note(&mut self, at_s: f64) {
        let submitted = self.counted().len();
        let done = self.counted().iter().filter(|job| job.done_s.is_some()).count();
        let in_queue = || self.counted().iter().filter(|job| job.queued && job.done_s.is_none()).count();
        let queued = self.knows_queue.then(in_queue);
        let point = JobsAt { at_s, submitted, done, queued };
        let is_news = self.curve.last().is_none_or(|last| JobsAt { at_s, ..*last } != point);
        if is_news {
            self.curve.push(point);
        }
    }

    pub(super) fn submitted(&self) -> usize {
        self.counted().len()
    }

    pub(super) fn done(&self) -> usize {
        self.counted().iter().filter(|job| job.done_s.is_some()).count()
    }

    /// The first job that is not done, for messages.
    pub(super) fn first_open(&self) -> Option<&str> {
        self.counted().iter().find(|job| job.done_s.is_none()).map(|job| job.id.as_str())
    }

    /// Whether a job that was submitted after the hand-over is done.
    pub(super) fn is_last_done(&self) -> bool {
        self.jobs.iter().skip(self.counted().len()).any(|job| job.done_s.is_some())
    }

    /// How many jobs are neither done nor, as of the last look, queued.
    pub(super) fn missing(&self) -> usize {
        self.counted().iter().filter(|job| job.done_s.is_none() && !job.queued).count()
    }

    /// How many ids were printed and never submitted here, and one of them.
    pub(super) fn strangers(&self) -> (usize, Option<&str>) {
        (self.strangers.len(), self.strangers.iter().map(String::as_str).min())
    }

    /// How many jobs were in neither list at a look after the end, and were found by a later one.
    pub(super) fn reappeared(&self) -> usize {
        self.reappeared
    }

    /// The longest time from the submission of a job to the look that saw it done, of what was done before the
    /// hand-over. It includes the time in the queue, and so is more than the work took. The first job counts only where
    /// there is no other: it had to wait for the worker's start.
    pub(super) fn longest_s(&self) -> Option<f64> {
        let took = |job: &Entry| Some(job.done_s.filter(|_| !job.by_next)? - job.submitted_s);
        let others = self.counted().iter().skip(1).filter_map(took).reduce(f64::max);
        others.or_else(|| self.counted().first().and_then(took))
    }

    /// How many jobs were submitted after this moment and done by the worker that was stopped.
    pub(super) fn taken_after(&self, at_s: f64) -> usize {
        self.counted().iter().filter(|job| job.submitted_s > at_s && job.done_s.is_some() && !job.by_next).count()
    }

    /// What it all comes to, in seconds since the stop. `is_told`: whether what is in neither list is known to be lost.
    pub(super) fn account(&self, stop_s: f64, is_told: bool) -> JobCounts {
        let since = |at_s: f64| ((at_s - stop_s) * 1e6).round() / 1e6;
        let fate = |job: &Entry| match job {
            Entry { done_s: Some(_), by_next: false, .. } => Fate::Done,
            Entry { done_s: Some(_), by_next: true, .. } | Entry { queued: true, .. } => Fate::Queued,
            _ if is_told => Fate::Lost,
            _ => Fate::Unknown,
        };
        let list: Vec<JobFate> = self
            .counted()
            .iter()
            .map(|job| JobFate {
                id: job.id.clone(),
                submitted_s: since(job.submitted_s),
                done_s: job.done_s.map(since),
                fate: fate(job),
            })
            .collect();
        let count = |wanted: Fate| list.iter().filter(|job| job.fate == wanted).count();
        let open = |job: &&Entry| job.submitted_s <= stop_s && job.done_s.is_none_or(|done| done > stop_s);
        let mut curve = self.curve.clone();
        curve.iter_mut().for_each(|point| point.at_s = since(point.at_s));
        if let (Some(last), Some((_, ended_s))) = (curve.last().copied(), self.last)
            && last.at_s < since(ended_s)
        {
            curve.push(JobsAt { at_s: since(ended_s), ..last });
        }
        JobCounts {
            submitted: list.len(),
            done: count(Fate::Done),
            queued: count(Fate::Queued),
            lost: count(Fate::Lost),
            unknown: count(Fate::Unknown),
            done_twice: self.counted().iter().filter(|job| job.times > 1).count(),
            done_and_queued: self.counted().iter().filter(|job| job.done_s.is_some() && job.queued).count(),
            open_at_stop: self.counted().iter().filter(open).count(),
            curve,
            list,
        }
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;

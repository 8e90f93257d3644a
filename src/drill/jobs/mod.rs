//! The drill of a worker: jobs instead of requests.
//!
//! ```text
//!   plan ──► shift ──┬── ask        one run of a command of the user's: --submit, --done, --queued
//!                    ├── ids        what it printed (pure)
//!                    ├── ledger     every id, and what became of it (pure)
//!                    └── facts ──► judge, causes (pure) ──► evidence ──► report/
//! ```
//!
//! Nobody but the user knows the queue, so three shell commands of theirs ask it. One submits jobs and prints their
//! ids; one prints the ids of what is done; one those of what is queued, or taken and not acknowledged. **What is in
//! neither list is lost**, once the worker has ended and what was under way has had its time.
//!
//! ```text
//!   start ── two jobs done ─── load (--before) ── STOP ── load (--lb-lag) ── exit ── last looks (--settle) ── verdict
//!            submit 1          submit what the rate asks for, a batch each half second
//!            look ············ look ······················ look ·················· look until nothing is missing
//! ```
//!
//! A batch holds what is due by then, so that a slow command makes larger batches, not a lower rate. A look asks for
//! the queue first and then for what is done, since jobs go that way. Without `--queued` what is not done by the end
//! may wait in the queue or be lost: a COMMAND is then started once more, one more job is submitted after the others,
//! and what is not done when that one is, and the longest job has had its time, is lost.
//!
//! What must never be: a job that is called lost although a command failed, hung or printed rubbish (that is
//! inconclusive, with the reason); a wait without an end (each command has `--timeout`, the whole drill has the budget
//! and `--settle`); a second submission of the same job. One thread does it all: it waits for signals and children, and
//! reads pipes that do not block.

mod ask;
mod causes;
mod fault;
mod ids;
mod judge;
mod ledger;

use super::details;
use super::evidence::Drill;
use super::facts::Observations;
use super::plan::{self, COUNT, DrillPlan, Supervision};
use super::progress::JobsNow;
use super::stage::{Broken, Folder, Session, Unfinished, human, inconclusive, start};
use super::subject::{RunningSubject, SubjectError};
use crate::config;
use crate::pid::Pid;
use crate::signal::Signal;
use crate::sys::handlers::{self, Disposition};
use crate::sys::signals;
use ask::{Ask, AskError, AskFault};
use causes::Known;
use fault::LookError;
use judge::Seen;
use ledger::{Ledger, Look};
use std::time::{Duration, Instant, SystemTime};
use tracing::{debug, trace};

/// How often the clock is looked at. SIGCHLD and Ctrl-C end a wait at once.
const TICK: Duration = Duration::from_millis(10);
/// The least time from one batch of jobs to the next.
const BATCH: Duration = Duration::from_millis(500);
/// The most jobs of one batch: what a command that hung for long has delayed is not to be made up for at once.
const BATCH_MAX: u64 = 10_000;
/// The least time from one look to the next.
const LOOK: Duration = Duration::from_millis(500);
/// But this many times as long as a look takes, if that is more: the commands and the worker share a machine.
const LOOK_SHARE: u32 = 2;
/// `graceful run` has its own budget; the drill waits this much longer for it.
const MARGIN: Duration = Duration::from_secs(2);

/// How far a look at the jobs is.
enum Looking {
    /// The next look begins then.
    Until(Instant),
    /// `--queued` is running; the look began at this time.
    Queue(Ask, f64),
    /// `--done` is running; the look began at this time, and this is what the queue has.
    Done(Ask, f64, Option<Vec<String>>),
}

/// A drill of jobs that is under way.
struct Shift<'a> {
    plan: &'a DrillPlan,
    jobs: &'a plan::JobCommands,
    way: Supervision,
    hall: &'a mut Session,
    subject: RunningSubject,
    folder: Folder,
    facts: Observations,
    ledger: Ledger,
    /// The zero of the ledger's clock.
    zero: Instant,
    looking: Looking,
    /// `--submit` is running, for this many jobs.
    submitting: Option<(Ask, u64)>,
    last_batch: Option<Instant>,
    /// When the load began; none: no jobs are submitted yet.
    load: Option<Instant>,
    /// When it ends, if that is known.
    until: Option<Instant>,
    /// How many jobs the load has submitted, or a run is submitting.
    asked_for: u64,
    /// When the worker ended, by the ledger's clock.
    gone_s: Option<f64>,
    /// When the last look that went well began.
    looked_s: Option<f64>,
    /// Why the last look told nothing.
    look_fault: Option<LookError>,
    /// Why jobs could not be submitted.
    submit_fault: Option<AskError>,
}

/// Runs one drill of jobs.
pub(super) fn hold(
    plan: &DrillPlan,
    jobs: &plan::JobCommands,
    way: Supervision,
    hall: &mut Session,
) -> Result<Drill, Broken> {
    hall.stop_begins(None);
    let folder = Folder::new()?;
    let subject = match start(plan, way, None, &folder, hall) {
        Ok(subject) => subject,
        Err(why) => return Ok(inconclusive(plan, way, why.to_string())),
    };
    let now = Instant::now();
    let mut shift = Shift {
        plan,
        jobs,
        way,
        hall,
        subject,
        folder,
        facts: Observations::default(),
        ledger: Ledger::default(),
        zero: now,
        looking: Looking::Until(now),
        submitting: None,
        last_batch: None,
        load: None,
        until: None,
        asked_for: 0,
        gone_s: None,
        looked_s: None,
        look_fault: None,
        submit_fault: None,
    };
    let result = shift.play();
    shift.hall.progress.clear();
    shift.silence();
    shift.subject.clear_away();
    result
}

impl Shift<'_> {
    fn play(&mut self) -> Result<Drill, Broken> {
        match self.run_to_the_end() {
            Ok(drill) => Ok(drill),
            Err(Unfinished::Inconclusive(why)) => {
                debug!(name: "drill_inconclusive", why, "the drill tells nothing: {why}");
                Ok(inconclusive(self.plan, self.way, why))
            }
            Err(Unfinished::Broken(broken)) => Err(broken),
        }
    }

    fn run_to_the_end(&mut self) -> Result<Drill, Unfinished> {
        self.first_job()?;
        debug!(name: "drill_answered", "two jobs are done, so that all commands work: the load begins");
        let began_s = self.now_s();
        self.warm_up()?;
        let (stop, wall) = self.stop().map_err(|why| Unfinished::Inconclusive(why.to_string()))?;
        let stop_s = self.since_zero(stop);
        self.watch_to_the_end(stop)?;
        self.facts.report = self.subject.report();
        self.facts.supervised = self.subject.is_supervised();
        self.settle()?;
        let by_next = self.jobs.queued.is_none() && self.ledger.missing() > 0 && self.next_worker()?;
        let is_told = self.look_fault.is_none() && (self.jobs.queued.is_some() || by_next);
        let seen = Seen {
            began_s,
            stop_s,
            is_told,
            trouble: self.trouble(),
            by_next,
            known: self.known(),
            wanted: self.wanted(self.until.unwrap_or(stop)),
        };
        let drill = Drill {
            stopped_at: Some(humantime::format_rfc3339_millis(wall).to_string()),
            lb_lag_s: self.until.map_or(0.0, |until| self.since_zero(until) - stop_s),
            ..inconclusive(self.plan, self.way, String::new())
        };
        Ok(judge::judge(drill, &self.ledger, &seen, &self.facts, self.plan, self.way))
    }

    /// Waits until one job is submitted and done: only then is it known that all commands work and the worker is up.
    /// Then another, which shows how long a job takes a worker that is up.
    fn first_job(&mut self) -> Result<(), Unfinished> {
        let began = Instant::now();
        let end = began + self.plan.startup_timeout;
        self.submit(1);
        loop {
            self.turn()?;
            self.hall.progress.first_job(began.elapsed(), self.plan.startup_timeout);
            if let Some(why) = self.fault() {
                return Err(Unfinished::Inconclusive(why));
            }
            match (self.ledger.done(), &self.submitting) {
                (1, None) if self.ledger.submitted() == 1 => self.submit(1),
                (2.., None) => return Ok(()),
                // The second has its time when the first was late.
                (1, _) if Instant::now() < end + self.plan.startup_timeout => {}
                _ if Instant::now() >= end => {
                    return Err(Unfinished::Inconclusive(self.not_done_at_all()));
                }
                _ => {}
            }
        }
    }

    fn not_done_at_all(&self) -> String {
        let wait = human(self.plan.startup_timeout);
        let Some(first) = self.ledger.first_open() else {
            return format!("--submit has not submitted the first job within {wait} (--wait)");
        };
        let (strangers, example) = self.ledger.strangers();
        let others = match example {
            Some(example) => format!(
                "; --done and --queued printed {strangers} other ids, as {:?}: expected ids as --submit prints them",
                ids::shown(example)
            ),
            None => String::new(),
        };
        let queued = match self.jobs.queued {
            Some(_) if self.ledger.missing() == 0 => ", and --queued still has it: does the worker take jobs?",
            _ => "",
        };
        format!("the job {:?} is not done after {wait} (--wait){queued}{others}", ids::shown(first))
    }

    /// The load before the stop.
    fn warm_up(&mut self) -> Result<(), Unfinished> {
        let began = Instant::now();
        self.load = Some(began);
        let before = self.ledger.submitted();
        // A stop before the first batch would be one without load.
        while began.elapsed() < self.plan.before || self.ledger.submitted() == before {
            self.turn()?;
            if let Some(why) = self.fault() {
                return Err(Unfinished::Inconclusive(why));
            }
            self.show(false);
        }
        Ok(())
    }

    /// Why the drill cannot go on, before the stop.
    fn fault(&self) -> Option<String> {
        let submit = || self.submit_fault.as_ref().map(ToString::to_string);
        let look = || self.look_fault.as_ref().map(ToString::to_string);
        self.subject.died_early().or_else(submit).or_else(look)
    }

    /// Begins the stop; returns the moment, by both clocks.
    fn stop(&mut self) -> Result<(Instant, SystemTime), SubjectError> {
        let signal = match &self.plan.subject {
            plan::Subject::Own { signal, .. } | plan::Subject::Pid { signal, .. } => Some(*signal),
            plan::Subject::Command(_) | plan::Subject::Nothing => None,
        };
        // Under graceful a known worker gets what its profile says.
        let known = self.known().and_then(|known| known.signal).filter(|_| self.subject.is_supervised());
        if let (Some(signal), Some(app)) = (known.or(signal), self.subject.app()) {
            let does = handlers::disposition(app, signal);
            self.facts.no_handler =
                does == Some(Disposition::Default) && handlers::is_blocked(app, signal) == Some(false);
            self.facts.ignores = does == Some(Disposition::Ignored);
        }
        let submitted = self.ledger.submitted();
        debug!(name: "drill_stops", submitted, "the stop begins, after {submitted} jobs");
        let (stop, wall) = (Instant::now(), SystemTime::now());
        self.hall.stop_begins(Some(stop));
        self.subject.stop(self.hall.inherited)?;
        // A stop command may take long to come to the point: the lag follows its end.
        if self.subject.is_app() {
            self.until = Some(stop + self.plan.lb_lag);
        }
        Ok((stop, wall))
    }

    /// Waits until the worker has ended, and no more jobs are submitted.
    fn watch_to_the_end(&mut self, stop: Instant) -> Result<(), Broken> {
        let grace = self.plan.grace_period;
        let patience = if self.subject.is_supervised() { grace + MARGIN } else { grace };
        let killed = stop + patience + MARGIN;
        loop {
            self.turn()?;
            let now = Instant::now();
            if self.gone_s.is_none()
                && let Some(ended) = self.subject.ended()
            {
                self.gone_s = Some(self.since_zero(ended.at));
                self.facts.result = self.subject.result_of(stop);
                self.facts.left = self.subject.leftovers(&self.own_commands());
                details::ended(ended, stop, &self.facts.left);
                self.until = self.until.or(Some(ended.at + self.plan.lb_lag));
            }
            if self.gone_s.is_none() && now >= stop + patience && self.facts.killed_s.is_none() {
                self.facts.killed_s = Some((now - stop).as_secs_f64());
                details::kills(patience);
                self.subject.kill();
            }
            // Where SIGKILL has no effect, as on a process in the kernel, there is no end to wait for.
            if self.gone_s.is_none() && now >= killed {
                self.until = self.until.or(Some(now));
            }
            let is_over = self.gone_s.is_some() || now >= killed;
            if is_over && self.until.is_some_and(|until| now >= until) && self.submitting.is_none() {
                return Ok(());
            }
            self.show(true);
        }
    }

    /// Looks until nothing is missing, or for long enough; at least one whole look comes after the end.
    fn settle(&mut self) -> Result<(), Broken> {
        let from = Instant::now();
        let from_s = self.since_zero(from);
        self.looking = Looking::Until(from);
        self.look_fault = None;
        // One look may take as long as its commands.
        let least = from + 2 * self.plan.timeout + MARGIN;
        let end = from + self.jobs.settle;
        loop {
            self.turn()?;
            let now = Instant::now();
            let has_looked = self.looked_s.is_some_and(|at| at >= from_s);
            let is_over = self.ledger.missing() == 0 || now >= end || self.waits_for_next();
            if (has_looked && is_over) || (now >= end && self.look_fault.is_some()) {
                return Ok(());
            }
            if now >= end && now >= least {
                self.look_fault = Some(LookError::Late);
                return Ok(());
            }
            self.show(true);
        }
    }

    /// Whether what is missing waits for another worker, since there is none.
    fn waits_for_next(&self) -> bool {
        self.jobs.queued.is_none() && matches!(self.plan.subject, plan::Subject::Own { .. })
    }

    /// Starts the worker once more, and waits for what it does; returns whether what is missing then is lost.
    fn next_worker(&mut self) -> Result<bool, Broken> {
        if !self.waits_for_next() || self.look_fault.is_some() || self.submit_fault.is_some() {
            return Ok(false);
        }
        debug!(name: "drill_next_worker", "there is no --queued: the worker is started once more");
        self.subject.clear_away();
        self.ledger.handed_over(self.now_s());
        let started = start(self.plan, self.way, None, &self.folder, self.hall);
        match started {
            Ok(subject) => self.subject = subject,
            Err(why) => {
                self.look_fault = Some(why.into());
                return Ok(false);
            }
        }
        let longest = Duration::from_secs_f64(self.ledger.longest_s().unwrap_or(0.0));
        self.submit(1);
        let end = Instant::now() + self.jobs.settle + longest;
        let mut behind: Option<Instant> = None;
        loop {
            self.turn()?;
            self.show(true);
            let now = Instant::now();
            if self.submit_fault.is_some() || self.subject.ended().is_some() {
                let not_submitted = self.submit_fault.take().map(LookError::NotSubmitted);
                self.look_fault = not_submitted.or_else(|| self.subject.died_early().map(LookError::DiedEarly));
                return Ok(false);
            }
            if self.ledger.missing() == 0 {
                return Ok(true);
            }
            if behind.is_none() && self.ledger.is_last_done() {
                behind = Some(now);
            }
            // The jobs before it were taken earlier, and have had the time of the longest job.
            if behind.is_some_and(|at| now >= at + longest + LOOK * LOOK_SHARE) {
                return Ok(true);
            }
            if now >= end {
                let within = self.jobs.settle + longest;
                self.look_fault = Some(LookError::Behind { missing: self.ledger.missing(), within });
                return Ok(false);
            }
        }
    }

    /// Why it cannot be told what became of the jobs, if it cannot.
    fn trouble(&self) -> Option<String> {
        if let Some(why) = &self.submit_fault {
            return Some(format!("jobs could not be submitted through the stop: {why}"));
        }
        if let Some(why) = &self.look_fault {
            return Some(format!("what became of the jobs cannot be told: {why}"));
        }
        None
    }

    /// Waits for a moment and does what is due: children, pipes, looks, batches.
    fn turn(&mut self) -> Result<(), Broken> {
        let received = signals::wait(Some(TICK));
        let (submitting, looking) = (&mut self.submitting, &mut self.looking);
        self.subject.look_with(|pid, status| {
            if let Some((ask, _)) = submitting
                && ask.pid() == pid
            {
                ask.reaped(status);
            }
            if let Looking::Queue(ask, _) | Looking::Done(ask, _, _) = looking
                && ask.pid() == pid
            {
                ask.reaped(status);
            }
        });
        if let Some(signal @ (Signal::INT | Signal::TERM | Signal::HUP | Signal::QUIT)) =
            received.map(|received| received.signal)
        {
            return Err(Broken::Interrupted(signal));
        }
        let now = Instant::now();
        self.go_on_submitting(now);
        self.go_on_looking(now);
        Ok(())
    }

    fn go_on_submitting(&mut self, now: Instant) {
        if let Some((ask, count)) = &mut self.submitting {
            let Some(asked) = ask.look(now) else { return };
            let count = usize::try_from(*count).unwrap_or(usize::MAX);
            self.submitting = None;
            let at_s = self.since_zero(now);
            let submitted = asked
                .and_then(|output| {
                    ids::submitted(&output, count).map_err(|why| AskError::new("submit", AskFault::Ids(why)))
                })
                .and_then(|ids| {
                    self.ledger.submit(ids, at_s).map_err(|why| AskError::new("submit", AskFault::Ids(why)))
                });
            match submitted {
                Ok(()) => trace!(name: "drill_submitted", count, "{count} jobs submitted"),
                Err(why) => {
                    debug!(name: "drill_not_submitted", %why, "jobs are not submitted: {why}");
                    self.submit_fault = Some(why);
                }
            }
        }
        let rests = self.last_batch.is_some_and(|last| now < last + BATCH);
        if self.submit_fault.is_some() || rests || self.until.is_some_and(|until| now >= until) {
            return;
        }
        let due = self.wanted(now).saturating_sub(self.asked_for).min(BATCH_MAX);
        match due {
            0 => {}
            _ if self.jobs.submit.contains(COUNT) => self.submit(due),
            _ => self.submit(1),
        }
    }

    /// How many jobs the rate asks for by now.
    fn wanted(&self, now: Instant) -> u64 {
        let Some(load) = self.load else { return 0 };
        let end = self.until.map_or(now, |until| until.min(now));
        (end.saturating_duration_since(load).as_secs_f64() * f64::from(self.plan.rate)) as u64
    }

    /// Starts a run of `--submit` for this many jobs.
    fn submit(&mut self, count: u64) {
        let text = self.jobs.submit.replace(COUNT, &count.to_string());
        match Ask::start("submit", &text, self.plan.timeout, self.hall.inherited) {
            Ok(ask) => self.submitting = Some((ask, count)),
            Err(why) => self.submit_fault = Some(why),
        }
        self.last_batch = Some(Instant::now());
        if self.load.is_some() {
            self.asked_for += count;
        }
    }

    fn go_on_looking(&mut self, now: Instant) {
        let at_s = self.since_zero(now);
        let (next, fault) = match std::mem::replace(&mut self.looking, Looking::Until(now + LOOK)) {
            Looking::Until(at) if now < at => (Ok(Looking::Until(at)), None),
            Looking::Until(_) => match &self.jobs.queued {
                Some(text) => (self.ask("queued", text).map(|ask| Looking::Queue(ask, at_s)), None),
                None => (self.ask("done", &self.jobs.done).map(|ask| Looking::Done(ask, at_s, None)), None),
            },
            Looking::Queue(mut ask, began_s) => match ask.look(now) {
                None => (Ok(Looking::Queue(ask, began_s)), None),
                Some(asked) => match read("queued", asked) {
                    Ok(ids) => {
                        (self.ask("done", &self.jobs.done).map(|ask| Looking::Done(ask, began_s, Some(ids))), None)
                    }
                    Err(why) => (Ok(Looking::Until(now + LOOK)), Some(why)),
                },
            },
            Looking::Done(mut ask, began_s, queued) => match ask.look(now) {
                None => (Ok(Looking::Done(ask, began_s, queued)), None),
                Some(asked) => match read("done", asked) {
                    Ok(done) => {
                        let look = Look { began_s, ended_s: at_s, queued, done };
                        let ended = self.subject.is_app() && self.gone_s.is_some_and(|gone| began_s >= gone);
                        self.ledger.look(look, ended);
                        let (submitted, done, missing) =
                            (self.ledger.submitted(), self.ledger.done(), self.ledger.missing());
                        trace!(
                            name: "drill_looked", submitted, done, missing,
                            "of {submitted} jobs {done} are done and {missing} missing"
                        );
                        (self.looked_s, self.look_fault) = (Some(began_s), None);
                        let took = Duration::from_secs_f64((at_s - began_s).max(0.0));
                        (Ok(Looking::Until(now + LOOK.max(took * LOOK_SHARE))), None)
                    }
                    Err(why) => (Ok(Looking::Until(now + LOOK)), Some(why)),
                },
            },
        };
        match next {
            Ok(next) => self.looking = next,
            Err(why) => self.look_fault = Some(why.into()),
        }
        if let Some(why) = fault {
            debug!(name: "drill_not_looked", %why, "a look at the jobs told nothing: {why}");
            self.look_fault = Some(why.into());
        }
    }

    fn ask(&self, option: &'static str, text: &str) -> Result<Ask, AskError> {
        Ask::start(option, text, self.plan.timeout, self.hall.inherited)
    }

    /// Ends the commands that are running.
    fn silence(&mut self) {
        self.submitting = None;
        self.looking = Looking::Until(Instant::now());
    }

    /// The pids of the commands that are running, which no worker has left behind.
    fn own_commands(&self) -> Vec<i32> {
        let submitting = self.submitting.as_ref().map(|(ask, _)| ask.pid());
        let looking = match &self.looking {
            Looking::Until(_) => None,
            Looking::Queue(ask, _) | Looking::Done(ask, _, _) => Some(ask.pid()),
        };
        submitting.into_iter().chain(looking).map(Pid::number).collect()
    }

    fn known(&self) -> Option<Known> {
        let plan::Subject::Own { command, .. } = &self.plan.subject else { return None };
        let config::QueueWorker { name, signal, limit } = config::known_worker(command)?;
        Some(Known { name, signal, limit })
    }

    fn now_s(&self) -> f64 {
        self.since_zero(Instant::now())
    }

    fn since_zero(&self, at: Instant) -> f64 {
        at.saturating_duration_since(self.zero).as_secs_f64()
    }

    fn show(&mut self, is_stopped: bool) {
        let now = JobsNow {
            submitted: self.ledger.submitted(),
            done: self.ledger.done(),
            missing: self.ledger.missing(),
            is_stopped,
            is_gone: self.gone_s.is_some(),
        };
        let done = self.load.map(|load| load.elapsed()).unwrap_or_default();
        self.hall.progress.jobs(now, done, self.plan.before + self.plan.lb_lag);
    }
}

/// The ids that a look's command printed.
fn read(option: &'static str, printed: Result<Vec<u8>, AskError>) -> Result<Vec<String>, AskError> {
    printed.and_then(|output| ids::parse(&output).map_err(|why| AskError::new(option, AskFault::Ids(why))))
}

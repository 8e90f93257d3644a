//! One drill, from the start of the app to the last request: start, wait until it answers, load, stop, watch to the
//! end.
//!
//! The main thread waits here, for signals and for the clock; the load and the look at the readiness endpoint have a
//! thread each. Whatever happens, what was started is ended before this returns.

use super::details::{self, DecisionLog};
use super::discover;
use super::evidence::{Drill, Mode};
use super::facts::Observations;
use super::idle::Idle;
use super::load::{Control, Load, Order, Sent};
use super::plan::{self, DrillPlan, Place, Supervision, Target};
use super::preflight::{self, Trouble};
use super::progress::{Progress, Rounds};
use super::ready::ReadinessObserver;
use super::record::Record;
use super::subject::{RunningSubject, SubjectError, shown};
use super::verdict;
use crate::counts::Counts;
use crate::inflight::{InFlightEvent, Task, WatchThread};
use crate::log::DetailLog;
use crate::secret::{Url, hidden_command};
use crate::signal::Signal;
use crate::sys::handlers::{self, Disposition};
use crate::sys::signals::{self, Inherited};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};
use tracing::debug;

/// How often the clock is looked at. SIGCHLD and Ctrl-C end a wait at once.
const TICK: Duration = Duration::from_millis(10);
/// `graceful run` has its own budget, as a platform has; the drill waits this much longer for them.
const MARGIN: Duration = Duration::from_secs(2);
/// What the app and graceful say of a reload that fails is within so many lines.
const LAST_SAID: usize = 100;
/// And is there so long after the end of the command that asked for it.
const SAYS_WITHIN: Duration = Duration::from_millis(100);
/// How long the first look at the app's connections may take.
const FIRST_LOOK: Duration = Duration::from_millis(500);
/// Helpers that see the app's end, such as Python's resource_tracker, are gone by then.
const HELPERS_LAST: Duration = Duration::from_millis(500);

/// Why there is no drill to show.
#[derive(Debug)]
pub(super) enum Broken {
    /// Ctrl-C, SIGTERM or another signal that ends a program.
    Interrupted(Signal),
    /// Something of the drill's own failed.
    Failed(String),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Broken {
        Broken::Failed(error.to_string())
    }
}

/// Why a drill did not come to its end.
pub(super) enum Unfinished {
    /// There is no drill to show.
    Broken(Broken),
    /// It tells nothing about the app, and this is why.
    Inconclusive(String),
}

impl From<Broken> for Unfinished {
    fn from(broken: Broken) -> Unfinished {
        Unfinished::Broken(broken)
    }
}

impl From<io::Error> for Unfinished {
    fn from(error: io::Error) -> Unfinished {
        Broken::from(error).into()
    }
}

/// What the drills of one run share.
pub(super) struct Session {
    pub(super) inherited: Inherited,
    pub(super) progress: Progress,
    pub(super) rounds: Rounds,
    /// What logs decisions, if that is wanted.
    pub(super) log: Option<DetailLog>,
}

impl Session {
    /// Tells the log when the stop begins, or that none has begun yet.
    pub(super) fn stop_begins(&self, at: Option<Instant>) {
        if let Some(log) = &self.log {
            log.stop_begins(at);
        }
    }
}

/// A drill that is under way.
struct DrillRun<'a> {
    plan: &'a DrillPlan,
    way: Supervision,
    hall: &'a mut Session,
    subject: RunningSubject,
    /// What is asked in the end.
    order: Option<Order>,
    facts: Observations,
    told: DecisionLog,
    /// The look at the app's connections, where graceful itself does not look, and what was seen last.
    watch: Option<WatchThread>,
    seen: Option<Counts>,
}

/// A folder of the drill's own, gone with it.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> io::Result<Folder> {
        use std::os::unix::fs::DirBuilderExt;
        let base = std::env::temp_dir();
        for number in 0..1000 {
            let path = base.join(format!("graceful-drill-{}-{number}", crate::sys::getpid()));
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Folder(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
            }
        }
        Err(io::Error::other(format!("{}: full of graceful-drill folders", base.display())))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs one drill, with this pre-stop delay instead of the user's own, if there is one.
pub(super) fn hold(
    plan: &DrillPlan,
    way: Supervision,
    delay: Option<Duration>,
    hall: &mut Session,
) -> Result<Drill, Broken> {
    hall.stop_begins(None);
    let folder = Folder::new()?;
    let subject = match start(plan, way, delay, &folder, hall) {
        Ok(subject) => subject,
        Err(why) => return Ok(inconclusive(plan, way, why.to_string())),
    };
    let of_reload;
    let plan = match plan.reloads {
        Some(_) => {
            of_reload = plan.of_reload();
            &of_reload
        }
        None => plan,
    };
    let mut stage = DrillRun {
        plan,
        way,
        hall,
        subject,
        order: None,
        facts: Observations::default(),
        told: DecisionLog::default(),
        watch: None,
        seen: None,
    };
    let result = stage.play();
    stage.hall.progress.clear();
    stage.subject.clear_away();
    result
}

/// Starts what a drill is about to stop.
pub(super) fn start(
    plan: &DrillPlan,
    way: Supervision,
    delay: Option<Duration>,
    folder: &Folder,
    hall: &Session,
) -> Result<RunningSubject, SubjectError> {
    let reloads = plan.reloads.is_some();
    let started =
        RunningSubject::start(&plan.subject, way, delay, reloads, folder.path(), hall.inherited, plan.show_output);
    let started = started.and_then(|subject| match plan.reloads {
        Some(times) => subject.reloading(times, folder.path()),
        None => Ok(subject),
    });
    match &started {
        Ok(subject) => {
            debug!(name: "drill_started", pid = subject.pid(), ?way, "the drill begins: {}", subject.words());
        }
        Err(why) => debug!(name: "drill_not_started", %why, "the drill tells nothing: {why}"),
    }
    started
}

impl DrillRun<'_> {
    fn play(&mut self) -> Result<Drill, Broken> {
        match self.run_to_the_end() {
            Ok(drill) => Ok(drill),
            Err(Unfinished::Inconclusive(why)) => {
                debug!(name: "drill_inconclusive", why, "the drill tells nothing: {why}");
                Ok(self.nothing_to_tell(why))
            }
            Err(Unfinished::Broken(broken)) => Err(broken),
        }
    }

    fn run_to_the_end(&mut self) -> Result<Drill, Unfinished> {
        let order = self.until_it_answers()?;
        debug!(name: "drill_answered", targets = order.requests.len(), rate = order.rate, "every target answers: the load begins");
        self.order = Some(order.clone());
        let readiness = match self.plan.ready_url(self.way) {
            Some(url) => {
                debug!(name: "drill_watches", %url, "readiness is what {url} says");
                Some(ReadinessObserver::watch(url)?)
            }
            None => None,
        };
        let started = Instant::now();
        let load = Load::start(order)?;
        let stopped = self.warm_up(&load, started).and_then(|()| self.stop_under(&load));
        if let Err(Unfinished::Inconclusive(_)) = stopped {
            load.control.give_up();
        }
        let (stop, wall) = stopped?;
        let (sent, failed) = (load.control.sent.load(Relaxed), load.control.failed.load(Relaxed));
        debug!(name: "drill_stopped", sent, failed, "the stop has begun, after {sent} requests of which {failed} failed");
        self.watch_to_the_end(&load, stop, readiness.as_ref())?;
        self.look_back();
        let control = load.control.clone();
        let sent = load.records()?;
        self.facts.readiness = readiness.map(|readiness| readiness.changes(stop)).unwrap_or_default();
        self.facts.held_back = control.held_back.load(Relaxed);
        Ok(self.drill(stop, wall, started, sent, &control))
    }

    /// Waits for the first answers.
    fn until_it_answers(&mut self) -> Result<Order, Unfinished> {
        let began = Instant::now();
        let end = began + self.plan.startup_timeout;
        let runtime = super::load::runtime()?;
        let mut by_tls = false;
        let mut idle = Idle::new();
        loop {
            self.pause(TICK)?;
            self.hall.progress.waiting(began.elapsed(), self.plan.startup_timeout);
            if let Some(why) = self.subject.died_early().or_else(|| idle.look(&self.subject, self.plan)) {
                return Err(Unfinished::Inconclusive(why));
            }
            let last = match self.try_once(&runtime, &mut by_tls) {
                Ok(order) => return Ok(order),
                Err(Trouble::Final(why) | Trouble::Tls(why)) => return Err(Unfinished::Inconclusive(why)),
                Err(Trouble::NotYet(why)) => why,
            };
            self.told.waits(&last);
            if Instant::now() >= end {
                let why =
                    format!("{last} (still so after {}; --wait DUR waits longer)", human(self.plan.startup_timeout));
                return Err(Unfinished::Inconclusive(why));
            }
        }
    }

    /// One try of everything that has to answer.
    fn try_once(&self, runtime: &tokio::runtime::Runtime, by_tls: &mut bool) -> Result<Order, Trouble> {
        let (targets, is_found) = self.targets(*by_tls)?;
        let order = match preflight::check(runtime, &targets, self.plan) {
            Err(Trouble::Tls(_)) if is_found && !*by_tls => {
                *by_tls = true;
                let (targets, _) = self.targets(true)?;
                preflight::check(runtime, &targets, self.plan)?
            }
            checked => checked?,
        };
        preflight::is_ready(runtime, self.plan.ready_url(self.way))?;
        if is_found {
            // An app opens its ports one after another: the clock is not to decide which of them is meant.
            let root = discover::root(&self.subject)?;
            debug!(name: "drill_discovered", url = %root, "nobody said where the app listens: it is {root}");
        }
        Ok(order)
    }

    /// The targets that were given, with paths where the app listens, or the root of that if none was given; and
    /// whether that was looked for.
    fn targets(&self, by_tls: bool) -> Result<(plan::Targets<Url>, bool), Trouble> {
        let mut targets = self.plan.targets.clone();
        let is_path = |target: &plan::Target| matches!(target.place, Place::Path(_));
        let is_found = targets.requests.is_empty() || targets.all().any(is_path);
        let root = match is_found {
            true => Some(discover::root(&self.subject)?),
            false => None,
        };
        let root = root.map(|root| root.with_tls().filter(|_| by_tls).unwrap_or(root));
        if let (true, Some(root)) = (targets.requests.is_empty(), &root) {
            targets.requests.push(Target { method: "GET".to_owned(), place: Place::Url(root.clone()), body: None });
        }
        let placed = targets.placed(|place| match (place, &root) {
            (Place::Url(url), _) => Ok(url),
            (Place::Path(path), Some(root)) => {
                root.with_target(&path).map_err(|error| Trouble::Final(error.to_string()))
            }
            (Place::Path(_), None) => Err(Trouble::Final("a path without a place".to_owned())),
        });
        Ok((placed?, is_found))
    }

    /// The load before the stop.
    fn warm_up(&mut self, load: &Load, started: Instant) -> Result<(), Unfinished> {
        let end = started + self.plan.before;
        while Instant::now() < end {
            self.pause(TICK.min(end.saturating_duration_since(Instant::now())))?;
            if let Some(why) = self.subject.died_early() {
                return Err(Unfinished::Inconclusive(why));
            }
            self.hall.progress.load(&load.control, started.elapsed(), self.plan.before, self.known_lag());
        }
        Ok(())
    }

    /// How long the load goes on after the stop, where that does not depend on the end of a command.
    fn known_lag(&self) -> Option<Duration> {
        (!self.plan.rolling).then_some(self.plan.lb_lag)
    }

    /// Begins the stop; returns the moment, by both clocks.
    fn stop_under(&mut self, load: &Load) -> Result<(Instant, SystemTime), Unfinished> {
        let signal = match &self.plan.subject {
            plan::Subject::Own { signal, .. } | plan::Subject::Pid { signal, .. } => Some(*signal),
            plan::Subject::Command(_) | plan::Subject::Nothing => None,
        };
        let (ports, processes) = self.subject.listens();
        if let Some(signal) = signal {
            // Under graceful it may be another: the report tells what it rewrites or a profile knows.
            let all = |wanted| {
                !processes.is_empty() && processes.iter().all(|pid| handlers::disposition(*pid, signal) == Some(wanted))
            };
            self.facts.no_handler = all(Disposition::Default)
                && processes.iter().all(|pid| handlers::is_blocked(*pid, signal) == Some(false));
            self.facts.ignores = all(Disposition::Ignored);
        }
        self.facts.under_graceful = self.subject.is_graceful();
        self.watch_in_flight(&ports, signal)?;
        let Observations { no_handler, ignores, .. } = self.facts;
        debug!(
            name: "drill_stops", ?ports, ?processes, no_handler, ignores,
            "the stop begins; the app listens on {ports:?}, in pids {processes:?}{}",
            if no_handler { ", without a handler" } else if ignores { ", and ignores the signal" } else { "" }
        );
        let (stop, wall) = (Instant::now(), SystemTime::now());
        self.hall.stop_begins(Some(stop));
        load.control.stopped(stop);
        self.subject.stop(self.hall.inherited).map_err(|why| Unfinished::Inconclusive(why.to_string()))?;
        // After a command the stop is seen by its signs, and a SIGKILL at the command's end must be seen, too.
        if !matches!(self.plan.subject, plan::Subject::Command(_)) {
            load.control.until(stop + self.plan.lb_lag);
        }
        Ok((stop, wall))
    }

    /// Where no graceful looks at the app's connections, the drill does. The first look is before the stop.
    fn watch_in_flight(&mut self, ports: &[u16], signal: Option<Signal>) -> Result<(), Broken> {
        let Some(signal) = signal.filter(|_| !self.subject.is_supervised() && !ports.is_empty()) else {
            return Ok(());
        };
        let task = Task {
            ports: Some(ports.to_vec()),
            quiet_window: Duration::from_secs(1),
            quiet: false,
            signal,
            start: Instant::now(),
            counts_own: true,
            trusts_handler: true,
            samples: true,
            of: None,
        };
        self.watch = Some(WatchThread::start(task, || {})?);
        let end = Instant::now() + FIRST_LOOK;
        while Instant::now() < end && self.seen.is_none() {
            self.pause(Duration::from_millis(1))?;
            self.take_looks();
        }
        self.facts.looks_at_stop = self.seen;
        if let Some(watch) = &mut self.watch {
            watch.look_closely();
        }
        Ok(())
    }

    fn take_looks(&mut self) {
        while let Some(news) = self.watch.as_ref().and_then(WatchThread::try_recv) {
            if let InFlightEvent::Sampled { counts, .. } = news {
                self.facts.most_unaccepted = self.facts.most_unaccepted.max(counts.unaccepted);
                self.seen = Some(counts);
            }
        }
    }

    /// Waits until the app has ended, and the load with what was under way is over.
    fn watch_to_the_end(
        &mut self,
        load: &Load,
        stop: Instant,
        readiness: Option<&ReadinessObserver>,
    ) -> Result<(), Broken> {
        let grace = self.plan.grace_period;
        // graceful and a platform send SIGKILL themselves, and have something to do after it.
        let has_own = self.subject.is_supervised() || matches!(self.plan.subject, plan::Subject::Command(_));
        let patience = if has_own { grace + MARGIN } else { grace };
        let mut ended_at: Option<Instant> = None;
        let mut counted = false;
        loop {
            self.pause(TICK)?;
            let now = Instant::now();
            self.take_looks();
            if ended_at.is_none()
                && let Some(ended) = self.subject.ended()
            {
                ended_at = Some(ended.at);
                self.facts.looks_at_exit = self.seen;
                self.watch = None;
                self.facts.result = self.subject.result_of(stop);
                self.facts.left = self.subject.leftovers(&[]);
                details::ended(ended, stop, &self.facts.left);
                // A rolling restart is over when the command is, and the load balancer lags behind its last step.
                load.control.until(ended.at + self.plan.lb_lag);
            }
            if ended_at.is_none() && self.subject.ends() && now >= stop + patience && self.facts.killed_s.is_none() {
                self.facts.killed_s = Some((now - stop).as_secs_f64());
                details::kills(patience);
                self.subject.kill();
            }
            // The load balancer's lag begins when it can know of the stop: where a command stops the target, with the
            // first sign of it, and with the command's end at the latest. Until then requests go on: a SIGKILL may come
            // late.
            if let plan::Subject::Command(_) = self.plan.subject
                && !self.plan.rolling
                && let Some(sign) = load
                    .control
                    .first_sign()
                    .into_iter()
                    .chain(readiness.and_then(ReadinessObserver::failing_since))
                    .min()
            {
                self.told.sign(sign, stop);
                load.control.until(sign.max(stop) + self.plan.lb_lag);
            }
            let has_said = self.plan.reloads.is_some() && self.facts.said.is_empty();
            if has_said && ended_at.is_some_and(|at| now >= at + SAYS_WITHIN) {
                self.facts.said = self.subject.last_lines(LAST_SAID);
            }
            self.told.lag(&load.control, stop, now);
            if ended_at.is_some_and(|at| now >= at + HELPERS_LAST) && !std::mem::replace(&mut counted, true) {
                // What is gone by now has ended by itself.
                let left = self.subject.leftovers(&[]);
                self.facts.left.retain(|process| left.contains(process));
            }
            let quiet = ended_at.is_some() || !self.subject.ends();
            let settled = counted || self.facts.left.is_empty();
            if quiet && settled && load.is_over() {
                return Ok(());
            }
            // What has not answered by then is a black hole; a stream that still flows flows on.
            let last = load.control.end().map(|end| end.max(ended_at.unwrap_or(end)) + self.plan.timeout + MARGIN);
            if quiet && last.is_some_and(|last| now > last) {
                debug!(name: "drill_gives_up", "what has not answered by now is not waited for");
                load.control.give_up();
            }
            let lag = load.control.end().map(|end| end.saturating_duration_since(stop));
            self.hall.progress.stopping(&load.control, now - stop, self.plan.before, lag, ended_at.is_some());
        }
    }

    /// Looks at what can only be seen when all is over.
    fn look_back(&mut self) {
        if self.subject.is_app()
            && let Some(asked) = self.order.as_ref().and_then(|order| order.requests.first())
        {
            self.facts.accepts_after = Some(asked.route.accepts(Duration::from_millis(500)));
        }
        self.facts.report = self.subject.report();
        // What was reloaded is there still, and has nothing to report yet.
        self.facts.supervised = self.subject.is_supervised() && self.plan.reloads.is_none();
    }

    /// Waits for a signal, and takes note of ended children.
    fn pause(&mut self, timeout: Duration) -> Result<(), Broken> {
        let received = signals::wait(Some(timeout));
        self.subject.look();
        match received.map(|received| received.signal) {
            Some(signal @ (Signal::INT | Signal::TERM | Signal::HUP | Signal::QUIT)) => {
                Err(Broken::Interrupted(signal))
            }
            _ => Ok(()),
        }
    }

    fn nothing_to_tell(&self, why: String) -> Drill {
        let mut drill = inconclusive(self.plan, self.way, why);
        if let Some(order) = &self.order {
            drill.targets = named(order);
        }
        drill
    }

    fn drill(&self, stop: Instant, wall: SystemTime, started: Instant, sent: Vec<Sent>, control: &Control) -> Drill {
        let since = |at: Instant| match at.checked_duration_since(stop) {
            Some(after) => micro(after.as_secs_f64()),
            None => -micro(stop.saturating_duration_since(at).as_secs_f64()),
        };
        let requests: Vec<Record> = sent
            .into_iter()
            .map(|sent| Record {
                kind: sent.kind,
                target: sent.target as usize,
                intended_s: since(sent.intended),
                sent_s: since(sent.sent),
                ended_s: since(sent.ended),
                outcome: sent.outcome,
                status: sent.status,
                reused: sent.reused,
                port: sent.port,
                detail: sent.detail.into_owned(),
            })
            .collect();
        let is_stopped = !matches!(self.plan.subject, plan::Subject::Nothing);
        let lag = control.end().map_or(self.plan.lb_lag.as_secs_f64(), since);
        let drill = Drill {
            stopped_at: is_stopped.then(|| humantime::format_rfc3339_millis(wall).to_string()),
            lb_lag_s: lag,
            targets: self.order.as_ref().map(named).unwrap_or_default(),
            requests,
            ..inconclusive(self.plan, self.way, String::new())
        };
        verdict::judge(drill, &self.facts, self.plan, self.way, since(started))
    }
}

/// A drill that shows nothing, and why.
pub(super) fn inconclusive(plan: &DrillPlan, way: Supervision, why: String) -> Drill {
    let (mode, title, command) = match &plan.subject {
        plan::Subject::Own { command, .. } if way == Supervision::Bare => {
            (Mode::Bare, "bare".to_owned(), shown(command))
        }
        plan::Subject::Own { command, .. } => (Mode::Supervised, "under graceful".to_owned(), shown(command)),
        plan::Subject::Pid { pid, .. } => (Mode::Pid, format!("pid {pid}"), Vec::new()),
        plan::Subject::Command(_) if plan.reloads.is_some() => (Mode::StopCommand, plan::RELOAD.to_owned(), Vec::new()),
        plan::Subject::Command(text) => (Mode::StopCommand, hidden_command(text), Vec::new()),
        plan::Subject::Nothing => (Mode::NoStop, "no stop".to_owned(), Vec::new()),
    };
    Drill {
        command,
        rate: plan.rate,
        lb_lag_s: plan.lb_lag.as_secs_f64(),
        grace_period_s: plan.grace_period.as_secs_f64(),
        inconclusive: Some(why),
        ..Drill::empty(title, mode)
    }
}

fn named(order: &Order) -> Vec<String> {
    let all = order.requests.iter().chain(&order.slow).chain(&order.stream);
    all.map(|asked| asked.name.clone()).collect()
}

fn micro(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}

pub(super) fn human(duration: Duration) -> String {
    crate::timeline::text::human(duration)
}

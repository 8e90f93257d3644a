//! One drill, from the start of the app to the last request: start, wait until it answers, load, stop, watch to the end.
//!
//! The main thread waits here, for signals and for the clock; the load and the look at the readiness endpoint have a
//! thread each. Whatever happens, what was started is ended before this returns.

use super::evidence::{Drill, Latencies};
use super::facts::Facts;
use super::load::{Control, Load, Order, Sent};
use super::plan::{self, Plan, Target, Way};
use super::preflight::{self, Trouble};
use super::progress::Progress;
use super::ready::Readiness;
use super::record::Record;
use super::subject::{Subject, shown};
use super::verdict;
use crate::inflight::{Counts, News, Task, Watch};
use crate::secret::hidden_command;
use crate::signal::Signal;
use crate::sys::handlers::{self, Disposition};
use crate::sys::signals::{self, Inherited};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// How often the clock is looked at. SIGCHLD and Ctrl-C end a wait at once.
const TICK: Duration = Duration::from_millis(10);
/// `graceful run` has its own budget; so much longer the drill waits for it.
const MARGIN: Duration = Duration::from_secs(2);
/// So long the first look at the app's connections may take.
const FIRST_LOOK: Duration = Duration::from_millis(500);
/// So many lines of an app that failed are shown.
const LINES: usize = 10;

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

/// What the drills of one run share.
pub(super) struct Hall {
    pub(super) inherited: Inherited,
    pub(super) progress: Progress,
}

/// A drill that is being held.
struct Stage<'a> {
    plan: &'a Plan,
    way: Way,
    hall: &'a mut Hall,
    subject: Subject,
    /// What is asked in the end.
    order: Option<Order>,
    facts: Facts,
    /// The look at the app's connections, where graceful itself does not look, and what was seen last.
    watch: Option<Watch>,
    seen: Option<Counts>,
}

/// A folder of the drill's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Folder> {
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

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Holds one drill, with this pre-stop delay instead of the user's own, if there is one.
pub(super) fn hold(plan: &Plan, way: Way, delay: Option<Duration>, hall: &mut Hall) -> Result<Drill, Broken> {
    let folder = Folder::new()?;
    let started = Subject::start(&plan.subject, way, delay, folder.path(), hall.inherited, plan.show_output);
    let subject = match started {
        Ok(subject) => subject,
        Err(why) => return Ok(inconclusive(plan, way, why)),
    };
    let mut stage = Stage { plan, way, hall, subject, order: None, facts: Facts::default(), watch: None, seen: None };
    let result = stage.play();
    stage.hall.progress.clear();
    stage.subject.clear_away();
    result
}

impl Stage<'_> {
    fn play(&mut self) -> Result<Drill, Broken> {
        self.hall.progress.say("waiting for the first answer");
        let order = match self.until_it_answers()? {
            Ok(order) => order,
            Err(why) => return Ok(self.nothing_to_tell(why)),
        };
        self.order = Some(order.clone());
        let readiness = match self.plan.ready_url(self.way) {
            Some(url) => Some(Readiness::watch(url)?),
            None => None,
        };
        let started = Instant::now();
        let load = Load::start(order)?;
        let stopped = match self.warm_up(&load, started)? {
            None => self.stop_under(&load)?,
            Some(why) => Err(why),
        };
        let (stop, wall) = match stopped {
            Ok(times) => times,
            Err(why) => {
                load.control.give_up();
                return Ok(self.nothing_to_tell(why));
            }
        };
        self.watch_to_the_end(&load, stop)?;
        self.look_back();
        let control = load.control.clone();
        let sent = load.records()?;
        self.facts.readiness = readiness.map(|readiness| readiness.changes(stop)).unwrap_or_default();
        self.facts.held_back = control.held_back.load(std::sync::atomic::Ordering::Relaxed);
        Ok(self.drill(stop, wall, started, sent, &control))
    }

    /// Waits for the first answers.
    fn until_it_answers(&mut self) -> Result<Result<Order, String>, Broken> {
        let end = Instant::now() + self.plan.startup_timeout;
        let runtime = super::load::runtime()?;
        loop {
            self.pause(TICK)?;
            if let Some(why) = self.died_early() {
                return Ok(Err(why));
            }
            let found = match self.targets() {
                Ok(found) => found,
                Err(why) if Instant::now() >= end => return Ok(Err(why)),
                Err(_) => continue,
            };
            let ready = self.plan.ready_url(self.way);
            let answered = preflight::check(&runtime, &found, self.plan);
            let last = match answered.and_then(|order| preflight::is_ready(&runtime, ready).map(|()| order)) {
                Ok(order) => return Ok(Ok(order)),
                Err(Trouble::Final(why)) => return Ok(Err(why)),
                Err(Trouble::NotYet(why)) => why,
            };
            if Instant::now() >= end {
                return Ok(Err(format!("{last} ({} after the start)", human(self.plan.startup_timeout))));
            }
        }
    }

    /// What was given, or the root of the one port that the app listens on.
    fn targets(&self) -> Result<plan::Targets, String> {
        if !self.plan.targets.requests.is_empty() {
            return Ok(self.plan.targets.clone());
        }
        let (ports, _) = self.subject.listens();
        match ports[..] {
            [port] => {
                let url = format!("http://127.0.0.1:{port}/").parse().map_err(|error| format!("{error}"))?;
                let target = Target { method: "GET".to_owned(), url, body: None };
                Ok(plan::Targets { requests: vec![target], ..self.plan.targets.clone() })
            }
            [] => Err("the app listens on no TCP port; if it is another's, --url says where to ask".to_owned()),
            _ => {
                let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
                Err(format!("the app listens on the ports {}; --url says which to ask", ports.join(", ")))
            }
        }
    }

    /// The load before the stop; why there is nothing to stop, if so.
    fn warm_up(&mut self, load: &Load, started: Instant) -> Result<Option<String>, Broken> {
        let end = started + self.plan.before;
        while Instant::now() < end {
            self.pause(TICK.min(end.saturating_duration_since(Instant::now())))?;
            if let Some(why) = self.died_early() {
                return Ok(Some(why));
            }
            self.hall.progress.load("load", &load.control, started.elapsed(), self.plan.before);
        }
        Ok(None)
    }

    /// The stop; the moment, by both clocks.
    fn stop_under(&mut self, load: &Load) -> Result<Result<(Instant, SystemTime), String>, Broken> {
        let signal = match &self.plan.subject {
            plan::Subject::Own { signal, .. } | plan::Subject::Pid { signal, .. } => Some(*signal),
            plan::Subject::Command(_) | plan::Subject::Nothing => None,
        };
        let (ports, processes) = self.subject.listens();
        if let Some(signal) = signal {
            // Under graceful it may be another: what it rewrites or a profile knows, the report tells.
            let all = |wanted| {
                !processes.is_empty() && processes.iter().all(|pid| handlers::disposition(*pid, signal) == Some(wanted))
            };
            self.facts.no_handler = all(Disposition::Default)
                && processes.iter().all(|pid| handlers::is_blocked(*pid, signal) == Some(false));
            self.facts.ignores = all(Disposition::Ignored);
        }
        self.watch_in_flight(&ports, signal)?;
        let (stop, wall) = (Instant::now(), SystemTime::now());
        load.control.stopped(stop);
        if let Err(why) = self.subject.stop(self.hall.inherited) {
            return Ok(Err(why));
        }
        if !self.plan.rolling {
            load.control.until(stop + self.plan.lb_lag);
        }
        Ok(Ok((stop, wall)))
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
        };
        self.watch = Some(Watch::start(task, || {})?);
        let end = Instant::now() + FIRST_LOOK;
        while Instant::now() < end && self.seen.is_none() {
            self.pause(Duration::from_millis(1))?;
            self.take_looks();
        }
        self.facts.looks_at_stop = self.seen;
        if let Some(watch) = &self.watch {
            watch.look_closely();
        }
        Ok(())
    }

    fn take_looks(&mut self) {
        while let Some(news) = self.watch.as_ref().and_then(Watch::try_recv) {
            if let News::Sampled { counts, .. } = news {
                self.facts.most_unaccepted = self.facts.most_unaccepted.max(counts.unaccepted);
                self.seen = Some(counts);
            }
        }
    }

    /// Until the app has ended, the load is over, and what was under way with it.
    fn watch_to_the_end(&mut self, load: &Load, stop: Instant) -> Result<(), Broken> {
        let grace = self.plan.grace_period;
        let patience = if self.subject.is_supervised() { grace + MARGIN } else { grace };
        let mut ended_at = None;
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
                self.facts.exit = Some((ended.at.saturating_duration_since(stop).as_secs_f64(), ended.status));
                self.facts.left = self.subject.leftovers();
                // A restart in turn is over when the command is, and the load balancer lags behind its last step.
                load.control.until(ended.at + self.plan.lb_lag);
            }
            if ended_at.is_none() && self.subject.ends() && now >= stop + patience && self.facts.killed_s.is_none() {
                self.facts.killed_s = Some((now - stop).as_secs_f64());
                self.subject.kill();
            }
            let quiet = ended_at.is_some() || !self.subject.ends();
            if quiet && load.is_over() {
                return Ok(());
            }
            // What has not answered by then is a black hole; a stream that still flows flows on.
            let last = load.control.end().map(|end| end.max(ended_at.unwrap_or(end)) + self.plan.timeout + MARGIN);
            if quiet && last.is_some_and(|last| now > last) {
                load.control.give_up();
            }
            self.hall.progress.stopping(&load.control, now - stop, ended_at.is_some());
        }
    }

    /// What can only be seen when all is over.
    fn look_back(&mut self) {
        if self.subject.is_app()
            && let Some((_, route)) = self.order.as_ref().and_then(|order| order.requests.first())
        {
            self.facts.accepts_after = Some(
                route
                    .addresses
                    .iter()
                    .any(|address| std::net::TcpStream::connect_timeout(address, Duration::from_millis(500)).is_ok()),
            );
        }
        self.facts.report = self.subject.report();
        self.facts.supervised = self.subject.is_supervised();
        self.facts.is_app = self.subject.is_app();
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

    fn died_early(&self) -> Option<String> {
        let ended = self.subject.ended()?;
        let how = ended.status.map(|status| format!(": {status}")).unwrap_or_default();
        let lines = self.subject.last_lines(LINES);
        let said =
            if lines.is_empty() { String::new() } else { format!("; its last words:\n  {}", lines.join("\n  ")) };
        Some(format!("the app ended before the stop{how}{said}"))
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
                target: sent.target,
                intended_s: since(sent.intended),
                sent_s: since(sent.sent),
                ended_s: since(sent.ended),
                outcome: sent.outcome,
                status: sent.status,
                reused: sent.reused,
                detail: sent.detail,
            })
            .collect();
        let lag = control.end().map_or(self.plan.lb_lag.as_secs_f64(), since);
        let drill = Drill {
            stopped_at: Some(humantime::format_rfc3339_millis(wall).to_string()),
            lb_lag_s: lag,
            targets: self.order.as_ref().map(named).unwrap_or_default(),
            requests,
            ..inconclusive(self.plan, self.way, String::new())
        };
        verdict::judge(drill, &self.facts, self.plan, self.way, since(started))
    }
}

/// A drill that shows nothing, and why.
fn inconclusive(plan: &Plan, way: Way, why: String) -> Drill {
    let (title, command) = match &plan.subject {
        plan::Subject::Own { command, .. } => {
            (if way == Way::Bare { "bare" } else { "under graceful" }.to_owned(), shown(command))
        }
        plan::Subject::Pid { pid, .. } => (format!("pid {pid}"), Vec::new()),
        plan::Subject::Command(text) => (hidden_command(text), Vec::new()),
        plan::Subject::Nothing => ("no stop".to_owned(), Vec::new()),
    };
    Drill {
        title,
        command,
        stopped_at: None,
        rate: plan.rate,
        lb_lag_s: plan.lb_lag.as_secs_f64(),
        grace_period_s: plan.grace_period.as_secs_f64(),
        targets: Vec::new(),
        timeline: Vec::new(),
        phases: Vec::new(),
        counts: Default::default(),
        dropped: 0,
        latency: Latencies::default(),
        in_flight: Vec::new(),
        checks: Vec::new(),
        verdict: super::evidence::Verdict::Inconclusive,
        inconclusive: Some(why),
        requests: Vec::new(),
    }
}

fn named(order: &Order) -> Vec<String> {
    let all = order.requests.iter().chain(&order.slow).chain(&order.stream);
    all.map(|(target, _)| format!("{} {}", target.method, target.url)).collect()
}

fn micro(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}

pub(super) fn human(duration: Duration) -> String {
    crate::timeline::text::human(duration)
}

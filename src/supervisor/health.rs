//! Probe server and checks, from the main loop's side: it writes the board, starts and ends the checks, and runs the
//! commands of `exec:` checks, since it is the one owner of wait(2).
//!
//! Nothing here is there without `--probe-listen` or `--check`.

use super::Supervisor;
use crate::checks::{CheckChanged, CheckCommand};
use crate::command::Running;
use crate::config::{Config, Listen, Stage};
use crate::counts::Counts;
use crate::health::{Attempt, SharedStatus, Status};
use crate::pid::Pid;
use crate::server::{AppFacts, ProbeListener, Shared};
use crate::signal::Signal;
use crate::status::ExitStatus;
use crate::sys::cgroup::OomKills;
use crate::sys::process;
use crate::sys::tree::Process;
use crate::timeline::{Event, HookResult, Phase, RestartCause};
use crate::worker::{Parked, ProbeNote, Worker, WorkerCommand, WorkerEvent};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// After its failure a thread is started again this much later: what made it fail may come at once again.
const PAUSE: Duration = Duration::from_secs(1);

/// The probe thread as the main loop sees it, and the commands of checks that run for it.
pub(super) struct Health {
    board: Arc<SharedStatus>,
    /// What the threads know.
    shared: Arc<Shared>,
    listener: Option<ProbeListener>,
    /// Where it was, when there was nobody left to answer there.
    closed: Option<Listen>,
    /// The thread that answers probes.
    server: Option<Worker>,
    commands: Vec<Active>,
    /// Commands that got SIGKILL and are not reaped yet: nobody's leftovers and no orphans.
    killed: Vec<Pid>,
    /// The app runs and the stop has not come to its drain.
    checking: bool,
    /// What the probes say may have changed in this turn of the loop.
    changed: bool,
    start_again_at: Option<Duration>,
}

/// A command of a check, while it runs.
struct Active {
    id: u32,
    command: CheckCommand,
    running: Running,
    began: Duration,
    /// Its last line.
    said: Option<String>,
}

impl Health {
    pub(super) fn new(config: &Config, listener: Option<ProbeListener>, start: Instant) -> Option<Box<Health>> {
        let needed = listener.is_some() || !config.checks.is_empty();
        needed.then(|| {
            let board = Arc::new(SharedStatus::new(start));
            let facts = AppFacts {
                board: board.clone(),
                fail_readiness: config.fail_readiness,
                has_ready_url: config.ready.is_some(),
                budget: config.budget,
            };
            Box::new(Health {
                board,
                shared: Arc::new(Shared::new(facts, &config.checks)),
                listener,
                closed: None,
                server: None,
                commands: Vec::new(),
                killed: Vec::new(),
                checking: false,
                changed: false,
                start_again_at: None,
            })
        })
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    pub(super) fn oom_kills(&self) -> Option<OomKills> {
        self.shared.oom_kills().cloned()
    }

    pub(super) fn in_flight(&self, counts: Counts) {
        self.board.in_flight(counts);
    }

    /// When to call `health_tick`.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let ends = self.commands.iter().map(|active| active.began + active.command.timeout);
        ends.chain(self.start_again_at).min()
    }

    /// What to poll for output.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.commands.iter().filter_map(|active| active.running.fd())
    }

    /// Keeps the commands' output flowing; the last line is kept for the log.
    pub(super) fn read(&mut self) {
        for active in &mut self.commands {
            active.said = active.running.lines().pop().or(active.said.take());
        }
    }

    fn kill_all(&mut self) {
        for active in std::mem::take(&mut self.commands) {
            self.kill(&active.running);
        }
    }

    fn kill(&mut self, running: &Running) {
        running.kill_tree();
        self.killed.push(running.pid());
    }
}

impl Supervisor {
    /// Starts the thread that answers probes once more.
    fn attend(&mut self) -> io::Result<()> {
        let Some(health) = &mut self.health else { return Ok(()) };
        if let Some(at) = &health.closed {
            health.listener = Some(ProbeListener::bind(at)?);
            health.closed = None;
        }
        let Some(listener) = &health.listener else { return Ok(()) };
        let listener = listener.try_clone()?;
        let (waker, parked) = (self.http.other_waker()?, Parked::to_answer(&listener)?);
        self.answer(listener, |shared| parked.begin(shared, move || waker.wake()));
        Ok(())
    }

    /// Has probes answered there by the thread that `begin` sets to work.
    pub(super) fn answer(&mut self, listener: ProbeListener, begin: impl FnOnce(Option<Arc<Shared>>) -> Worker) {
        let Some(health) = &mut self.health else { return };
        let at = listener.shown();
        let server = begin(Some(health.shared()));
        server.send(WorkerCommand::Serve(listener));
        health.server = Some(server);
        self.record(Event::Listening { at });
    }

    /// The app runs.
    pub(super) fn health_started(&mut self) {
        let Some(health) = &mut self.health else { return };
        health.checking = true;
        if self.config.ready.is_none() {
            health.board.was_ready();
        }
        if !self.run.hooks.stages().contains(&Stage::PostStart) {
            health.board.hooks_done();
        }
        self.start_checks();
    }

    fn start_checks(&mut self) {
        if !self.config.checks.is_empty() {
            self.ask_http(WorkerCommand::StartChecks(self.config.checks.clone()));
        }
    }

    /// The app's readiness endpoint said yes.
    pub(super) fn app_was_ready(&mut self) {
        if let Some(health) = &mut self.health {
            health.board.was_ready();
            health.changed = true;
        }
    }

    pub(super) fn stage_done(&mut self, stage: Stage, abort: bool) {
        if self.is_beside() {
            return;
        }
        if let Some(health) = self.health.as_mut().filter(|_| stage == Stage::PostStart && !abort) {
            health.board.hooks_done();
            health.changed = true;
        }
    }

    pub(super) fn count_received(&self, signal: Signal) {
        if let Some(health) = &self.health {
            health.board.received(signal);
        }
    }

    pub(super) fn count_orphan(&self) {
        if let Some(health) = &self.health {
            health.board.orphan_reaped();
        }
    }

    pub(super) fn note_hook(&self, name: &str, stage: Stage, result: &HookResult, took: Duration) {
        if self.health.is_some() {
            self.note(ProbeNote::HookEnded { name: name.to_owned(), stage, result: result.clone(), took });
        }
    }

    /// Counts how often readiness comes and goes, once all that this turn of the loop has changed is known.
    pub(super) fn reassess(&mut self) {
        let Some(health) = &mut self.health else { return };
        if std::mem::take(&mut health.changed) && !health.shared.reassess_now() {
            self.note(ProbeNote::Changed);
        }
    }

    fn note(&self, note: ProbeNote) {
        if let Some(server) = self.health.as_ref().and_then(|health| health.server.as_ref()) {
            server.send(WorkerCommand::Note(note));
        }
    }

    /// The board is one more view of the timeline.
    pub(super) fn publish(&mut self, at: Duration, event: &Event) {
        let Some(health) = &mut self.health else { return };
        match event {
            Event::StopBegan { .. } => health.board.stop_began(at),
            Event::PhaseBegan { phase } => {
                health.board.phase(at, *phase);
                health.changed = true;
                if *phase >= Phase::Drain {
                    self.stop_checks();
                }
            }
            Event::AppStarted { .. } => health.board.app_started(at),
            Event::SpawnFailed { .. } => health.board.app_gone(self.run.comes_back),
            Event::AppExited { status, .. } => {
                health.board.app_gone(self.run.comes_back);
                self.note(ProbeNote::AppExited(*status));
            }
            Event::SignalSent { signal, error: None, .. } => health.board.sent(*signal),
            Event::EverythingKilled { .. } => health.board.sigkill_sent(),
            _ => {}
        }
    }

    /// Another run of the app counts, and answers where the other one did.
    pub(super) fn health_moved(&mut self, now: Duration) {
        if let Some(health) = &mut self.health {
            health.board.app_started(now);
            health.changed = true;
        }
    }

    /// Of an app that has ended.
    pub(super) fn app_comes_back(&mut self, comes_back: bool) {
        if let Some(health) = &mut self.health {
            health.board.app_gone(comes_back);
            health.changed = true;
        }
    }

    /// Whether the app shows life, for /livez.
    pub(super) fn app_shows_life(&mut self, does: bool) {
        if let Some(health) = &mut self.health {
            health.board.shows_life(does);
            health.changed = true;
        }
    }

    /// The app is waited for.
    pub(super) fn count_restart(&mut self, now: Duration, cause: RestartCause) {
        if let Some(health) = &mut self.health {
            health.board.restarting(now, cause);
            health.changed = true;
        }
    }

    pub(super) fn count_generation(&self, number: u64) {
        if let Some(health) = &self.health {
            health.board.generation(number);
        }
    }

    /// Once the app has its stop signal, nothing depends on what it depends on.
    fn stop_checks(&mut self) {
        let Some(health) = &mut self.health else { return };
        if std::mem::take(&mut health.checking) {
            health.kill_all();
            self.http.tell(WorkerCommand::StopChecks);
        }
    }

    pub(super) fn health_news(&mut self, fact: WorkerEvent) {
        match fact {
            WorkerEvent::CheckChanged(CheckChanged { name, change, not_tried_for, detail, said }) => {
                let (from, status) = (change.from, change.to);
                self.record(Event::CheckChanged { name, from, status, detail, said, not_tried_for });
            }
            WorkerEvent::RunCommand { id, command } => self.run_command(id, command),
            WorkerEvent::ServerEnded(why) | WorkerEvent::Died(why) => self.server_lost(&why),
            WorkerEvent::Readiness(_)
            | WorkerEvent::Successor { .. }
            | WorkerEvent::Liveness(_)
            | WorkerEvent::Posted { .. }
            | WorkerEvent::HoldOver { .. }
            | WorkerEvent::HoldCheck(_) => {}
        }
    }

    /// What the thread that answers probes has to say.
    pub(super) fn server_news(&mut self) {
        while let Some(fact) = self.health.as_ref().and_then(|health| health.server.as_ref()?.try_recv()) {
            self.health_news(fact);
        }
    }

    fn server_lost(&mut self, why: &str) {
        let now = self.now();
        if let Some(health) = &mut self.health {
            health.server = None;
            health.start_again_at = Some(now + PAUSE);
            // Whoever asks meanwhile is refused, and does not wait for an answer that will not come.
            if let Some(listener) = health.listener.take() {
                listener.remove_file();
                health.closed = listener.address().ok();
            }
        }
        self.trouble_once(format!("the probe server ended: {why}"));
    }

    /// Has the thread that answers fail, for a test.
    #[cfg(debug_assertions)]
    pub(super) fn fail_probes(&self) {
        if let Some(server) = self.health.as_ref().and_then(|health| health.server.as_ref()) {
            server.send(WorkerCommand::Fail);
        }
    }

    fn run_command(&mut self, id: u32, command: CheckCommand) {
        let now = self.now();
        let Some(health) = self.health.as_mut().filter(|health| health.checking) else { return };
        match Running::start(&command.argv, &[], &self.origin) {
            Ok(running) => {
                health.commands.push(Active { id, command, running, began: now, said: None });
            }
            Err(error) => {
                let detail = format!("cannot be run: {error}");
                self.command_ended(id, Status::Unhealthy, detail, None, Duration::ZERO);
            }
        }
    }

    fn command_ended(&mut self, id: u32, status: Status, detail: String, said: Option<String>, took: Duration) {
        let attempt = Attempt { status, detail, said, took };
        self.ask_http(WorkerCommand::CommandEnded { id, attempt });
    }

    /// Whether it belongs to a check's command that got SIGKILL and is not reaped yet.
    pub(super) fn is_of_killed_check(&self, process: &Process) -> bool {
        // Such a command leads a process group of its own.
        self.health.as_ref().is_some_and(|health| health.killed.iter().any(|pid| pid.number() == process.group))
    }

    /// Whether there is such a command. Its end raises SIGCHLD. One that may not be signalled has no such end.
    pub(super) fn awaits_killed_checks(&self) -> bool {
        self.health.as_ref().is_some_and(|health| health.killed.iter().any(|pid| process::may_signal(pid.number())))
    }

    /// The commands of checks that run.
    pub(super) fn check_pids(&self) -> impl Iterator<Item = Pid> {
        let of = |health: &Health| {
            let running = health.commands.iter().map(|active| active.running.pid());
            running.chain(health.killed.iter().copied()).collect::<Vec<_>>()
        };
        self.health.as_deref().map(of).unwrap_or_default().into_iter()
    }

    /// A child ended; says whether it was a check's command.
    pub(super) fn check_exited(&mut self, now: Duration, pid: Pid, status: ExitStatus) -> bool {
        let Some(health) = &mut self.health else { return false };
        if let Some(index) = health.killed.iter().position(|killed| *killed == pid) {
            health.killed.swap_remove(index);
            return true;
        }
        let Some(index) = health.commands.iter().position(|active| active.running.pid() == pid) else { return false };
        let Active { id, command, running, began, said } = health.commands.remove(index);
        let said = running.finish().pop().or(said);
        let (result, detail) = judged(status, &command);
        self.command_ended(id, result, detail, said, now.saturating_sub(began));
        true
    }

    pub(super) fn health_tick(&mut self, now: Duration) {
        let Some(health) = &mut self.health else { return };
        let over = |active: &Active| active.began + active.command.timeout <= now;
        let late: Vec<Active> = health.commands.extract_if(.., |active| over(active)).collect();
        let again = health.start_again_at.take_if(|at| *at <= now).is_some();
        late.iter().for_each(|active| health.kill(&active.running));
        for Active { id, command, began, said, .. } in late {
            let detail = format!("no exit within {}", humantime::format_duration(command.timeout));
            self.command_ended(id, Status::Unhealthy, detail, said, now.saturating_sub(began));
        }
        if again {
            self.attend_again();
        }
    }

    /// The thread that asks is gone, and with it what was under way.
    pub(super) fn health_lost(&mut self) {
        let now = self.now();
        if let Some(health) = &mut self.health {
            health.kill_all();
            health.start_again_at = Some(now + PAUSE);
        }
    }

    /// Starts again what is gone.
    fn attend_again(&mut self) {
        if self.health.as_ref().is_some_and(|health| health.server.is_none())
            && let Err(error) = self.attend()
        {
            self.trouble_once(format!("no probe server, and it is tried again: {error}"));
            let now = self.now();
            self.health.iter_mut().for_each(|health| health.start_again_at = Some(now + PAUSE));
        }
        if self.http.runs() {
            return;
        }
        if self.health.as_ref().is_some_and(|health| health.checking) {
            self.start_checks();
        }
        if self.run.app.is_some() {
            match self.run.lifecycle.t0() {
                None => self.await_ready(),
                Some(_) => self.watch_readiness(),
            }
            self.resume_liveness();
        }
    }

    /// All is said: the next graceful may have the address.
    pub(super) fn health_over(&mut self) {
        if let Some(listener) = self.health.as_ref().and_then(|health| health.listener.as_ref()) {
            listener.remove_file();
        }
    }
}

fn judged(status: ExitStatus, command: &CheckCommand) -> (Status, String) {
    match status {
        ExitStatus::Exited(0) => (Status::Healthy, "exit status 0".to_owned()),
        ExitStatus::Exited(code) if command.degraded_status.contains(&code) => {
            (Status::Degraded, format!("exit status {code}"))
        }
        ExitStatus::Exited(127) => (Status::Unhealthy, "exit status 127 (not found?)".to_owned()),
        status => (Status::Unhealthy, status.to_string()),
    }
}

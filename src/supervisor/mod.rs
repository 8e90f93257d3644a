//! The one loop: facts in as inputs to the lifecycle, its actions out.
//!
//! ```text
//!   signals, exits ─┐                                  ┌─► signals, spawn, kill     (sys)
//!   hook ends      ─┼─► Input ─► Lifecycle ─► Action ──┼─► hooks, hold              (commands, HTTP thread)
//!   HTTP facts     ─┤              ▲                   ├─► timeline ─► log, report  (scribe thread)
//!   time           ─┘              └── Started, Left … ┴─► exit
//! ```
//!
//! The loop is synchronous. Waiting is one system call: rt_sigtimedwait(2) while nothing but signals can come, which is
//! all the time of an app that merely runs, and ppoll(2) when there are hooks or HTTP. Nothing in the loop blocks: HTTP has
//! a thread, started by its first use; writing has a thread, started by the first line; hooks are forked, not waited for.
//!
//! From the moment the app runs, nothing ends graceful before it: no call here is allowed to fail upwards, and should the
//! loop panic after all, `last_resort` goes on forwarding and reaping until the app has ended.

mod act;
mod last_resort;
mod leftovers;
mod readiness;

use crate::command::Origin;
use crate::config::{Config, Hold as HoldConfig, LogFormat, StartupAction};
use crate::hold::Hold;
use crate::hooks::Hooks;
use crate::lifecycle::{HoldPlan, Input, Lifecycle, Outcome, Plan};
use crate::probe::worker::Worker;
use crate::scribe::Scribe;
use crate::signal::Signal;
use crate::status;
use crate::sys::fds::{self, Waker};
use crate::sys::reap::{self, Change};
use crate::sys::signals::{self, Inherited, Received};
use crate::sys::tty::Terminal;
use crate::sys::{self, cgroup, process, spawn, tree};
use crate::timeline::report::{Report, TERMINATION_MESSAGE_MAX};
use crate::timeline::{Cause, Entry, Event, Limits, Phase, SignalReason, Stage, Timeline, text};
use std::collections::VecDeque;
use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// How long the end waits for a disk, and for a log reader.
const LAST_FILES: Duration = Duration::from_secs(1);
const LAST_LINES: Duration = Duration::from_millis(250);
/// Where the waiting cannot be woken by a descriptor (none could be opened), it looks this often instead.
const BLIND: Duration = Duration::from_millis(100);
/// Kubernetes' default terminationMessagePath.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// Runs the app to its end and returns graceful's exit code.
pub fn run(mut config: Config, inherited: Inherited, start: Instant) -> u8 {
    let launch = Launch::new(&mut config, inherited);
    let mut supervisor = Supervisor::new(config, launch, start);
    match catch_unwind(AssertUnwindSafe(|| supervisor.run())) {
        Ok(code) => code,
        Err(_) => last_resort::run(supervisor.app),
    }
}

/// What must be done before the app is started, and, unless hooks come first, its start: as early as that. What is
/// built after it is built while the app loads on another processor.
struct Launch {
    inherited: Inherited,
    terminal: Terminal,
    pid: i32,
    /// PID 1 of its namespace.
    init: bool,
    /// Where commands run later are to run.
    dir: Option<CString>,
    /// The app's start, until the lifecycle asks for it.
    app: Option<Result<i32, spawn::Error>>,
}

impl Launch {
    fn new(config: &mut Config, inherited: Inherited) -> Launch {
        fds::fill_standard_streams();
        let pid = sys::getpid();
        let init = pid == 1;
        if !init && let Err(error) = spawn::become_subreaper() {
            config.warnings.push(format!("orphans cannot be adopted (PR_SET_CHILD_SUBREAPER): {error}"));
        }
        if let Some(path) = &config.drain_file
            && let Err(error) = crate::scribe::remove(path)
        {
            config.warnings.push(format!("cannot remove --drain-file {}: {error}", path.display()));
        }
        let mut launch =
            Launch { inherited, terminal: Terminal::look(), pid, init, dir: original_dir(config), app: None };
        if !config.hooks.iter().any(|hook| hook.stage == Stage::PreStart) {
            launch.app = Some(launch.spawn(&config.command));
        }
        launch
    }

    fn spawn(&self, command: &[OsString]) -> Result<i32, spawn::Error> {
        let argv: Vec<CString> = command
            .iter()
            .map(|part| CString::new(part.as_bytes()))
            .collect::<Result<_, _>>()
            .map_err(|error| spawn::Error::Exec(error.into()))?;
        spawn::spawn(&spawn::Command {
            argv: &argv,
            env: None,
            inherited: self.inherited,
            output: None,
            dir: None,
            own_group: false,
            // As PID 1 the kernel ends the whole namespace with graceful.
            parent_death_signal: (!self.init).then_some(Signal::TERM),
        })
    }
}

struct Supervisor {
    config: Config,
    launch: Launch,
    origin: Origin,
    start: Instant,
    lifecycle: Lifecycle,
    timeline: Timeline,
    scribe: Scribe,
    hooks: Hooks,
    hold: Hold,
    http: Option<Worker>,
    waker: Option<Waker>,
    notifier: Option<OwnedFd>,
    /// The app, from its start until it is reaped.
    app: Option<i32>,
    /// Answers of actions, before anything from outside.
    inputs: VecDeque<Input>,
    /// wait(2) knows of children.
    children: bool,
    /// Processes that are left but are no children of ours, to be told of their end.
    outsiders: Vec<OwnedFd>,
    orphans: u64,
    reaped_after_sigkill: u64,
    sigkill_sent: bool,
    oom_kills: Option<u64>,
    readiness: readiness::Watch,
    /// The value that came with the signal being passed on (sigqueue(3)).
    value: Option<usize>,
    /// graceful has stopped itself with the app, as a job of a shell.
    job_stopped: bool,
    outcome: Option<Outcome>,
}

impl Supervisor {
    fn new(mut config: Config, mut launch: Launch, start: Instant) -> Supervisor {
        let budget = config.budget;
        let limits = Limits {
            grace_period: budget.grace_period,
            kill_margin: budget.kill_margin,
            pre_stop_delay: budget.pre_stop_delay,
        };
        let program = config.command.first().cloned().unwrap_or_default();
        let hooks = Hooks::new(std::mem::take(&mut config.hooks));
        let plan = plan(&mut config, &hooks);
        let started_at = SystemTime::now();
        Supervisor {
            lifecycle: Lifecycle::new(plan),
            timeline: Timeline::new(started_at, program, limits),
            scribe: Scribe::new(complain(config.log_format, started_at, start)),
            hooks,
            hold: Hold::default(),
            http: None,
            waker: None,
            notifier: None,
            app: launch.app.as_ref().and_then(|app| app.as_ref().ok()).copied(),
            inputs: VecDeque::new(),
            children: false,
            outsiders: Vec::new(),
            orphans: 0,
            reaped_after_sigkill: 0,
            sigkill_sent: false,
            oom_kills: None,
            readiness: readiness::Watch::default(),
            value: None,
            job_stopped: false,
            outcome: None,
            origin: Origin { inherited: launch.inherited, dir: launch.dir.take() },
            config,
            launch,
            start,
        }
    }

    fn run(&mut self) -> u8 {
        for warning in std::mem::take(&mut self.config.warnings) {
            self.trouble(warning);
        }
        if self.launch.app.is_none() {
            // Where hooks come first the lifecycle begins with them; otherwise this phase has no length.
            self.record(Event::PhaseBegan { phase: Phase::PreStart });
        }
        self.act();
        while self.outcome.is_none() {
            let deadline = self.deadline();
            self.wait(deadline);
            let now = self.now();
            self.hooks.tick(now, &self.origin);
            self.hook_news();
            self.hold_tick(now);
            self.readiness_tick(now);
            if self.lifecycle.poll_deadline().is_some_and(|at| at <= now) {
                self.inputs.push_back(Input::Tick);
            }
            self.act();
        }
        self.finish()
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn deadline(&self) -> Option<Duration> {
        let all =
            [self.lifecycle.poll_deadline(), self.hooks.deadline(), self.hold.deadline(), self.readiness.deadline()];
        all.into_iter().flatten().min()
    }

    /// Sleeps until something comes, and takes it.
    fn wait(&mut self, deadline: Option<Duration>) {
        let timeout = deadline.map(|at| at.saturating_sub(self.now()));
        let fds = self.fds();
        if fds.is_empty() && self.http.is_none() {
            if let Some(received) = signals::wait(timeout) {
                self.signal(received);
            }
            return;
        }
        self.watch_signals();
        let Some(notifier) = &self.notifier else {
            let timeout = timeout.map_or(BLIND, |timeout| timeout.min(BLIND));
            if let Some(received) = signals::wait(Some(timeout)) {
                self.signal(received);
            }
            return self.take_news(true);
        };
        let mut polled = vec![notifier.as_raw_fd()];
        polled.extend(self.waker.as_ref().map(|waker| waker.as_fd().as_raw_fd()));
        polled.extend(fds);
        let woken = fds::poll(&polled, timeout);
        if woken.first() == Some(&true)
            && let Some(received) = signals::wait(Some(Duration::ZERO))
        {
            self.signal(received);
        }
        self.take_news(woken.iter().skip(1).any(|woken| *woken));
    }

    fn fds(&self) -> Vec<RawFd> {
        let mut fds: Vec<RawFd> = self.hooks.fds().collect();
        fds.extend(self.hold.fd());
        fds.extend(self.outsiders.iter().map(AsRawFd::as_raw_fd));
        fds
    }

    fn watch_signals(&mut self) {
        if self.notifier.is_none() {
            match signals::notifier() {
                Ok(notifier) => self.notifier = Some(notifier),
                Err(error) => {
                    self.trouble_once(format!("no signalfd, looking every {} instead: {error}", text::human(BLIND)))
                }
            }
        }
    }

    fn take_news(&mut self, any: bool) {
        if !any {
            return;
        }
        self.hooks.read();
        self.hold.read();
        self.hook_news();
        self.http_news();
        self.look_after_outsiders();
    }

    fn signal(&mut self, received: Received) {
        if received.signal == Signal::CHLD {
            return self.reap();
        }
        if received.is_own(self.launch.pid) {
            return;
        }
        let signal = received.signal;
        #[cfg(debug_assertions)]
        last_resort::fail_if_asked(signal);
        // The terminal's keys signal every process of its foreground group, the app included if it is in ours.
        let by_key = received.from_kernel
            && matches!(
                signal,
                Signal::INT | Signal::QUIT | Signal::TSTP | Signal::TTIN | Signal::TTOU | Signal::WINCH
            );
        let delivered = by_key && self.app.is_some_and(process::shares_our_group)
            || signal == Signal::CONT && self.job_was_continued();
        if self.lifecycle.t0().is_none() && self.config.stop_on.contains(signal) {
            self.record(Event::StopSignalFrom { signal, sender: received.sender });
        }
        self.value = received.value;
        self.feed(Input::Signal { signal, delivered });
        self.value = None;
    }

    /// Takes every exit that there is: SIGCHLD coalesces.
    fn reap(&mut self) {
        loop {
            match reap::next() {
                Change::Ended { pid, status } => self.ended(pid, status),
                Change::Stopped { pid, signal } => self.stopped(pid, signal),
                Change::Nothing => break,
                Change::NoChildren => {
                    self.children = false;
                    break;
                }
            }
        }
        // Only now, when it is known whether any child is left: the first question after the app's exit is just that.
        self.act();
        if !self.children && self.lifecycle.is_waiting_for_the_last() {
            self.look();
        }
    }

    fn ended(&mut self, pid: i32, status: status::ExitStatus) {
        let now = self.now();
        if self.sigkill_sent && self.app != Some(pid) {
            self.reaped_after_sigkill += 1;
        }
        if self.app == Some(pid) {
            self.app = None;
            if status == status::ExitStatus::Signaled(Signal::KILL) && !self.sigkill_sent {
                self.killed_from_outside();
            }
            self.readiness_over();
            self.inputs.push_back(Input::AppExited(status));
        } else if self.hooks.exited(now, pid, status, &self.origin) {
            self.hook_news();
        } else if let Some(result) = self.hold.exited(now, pid, status) {
            match result {
                None => self.hold_over("the command exited 0".to_owned()),
                Some(detail) => self.record(Event::HoldCheck { detail }),
            }
        } else {
            self.orphans += 1;
        }
    }

    fn killed_from_outside(&mut self) {
        let risen = cgroup::oom_kills().zip(self.oom_kills).map(|(now, before)| now.saturating_sub(before));
        self.record(Event::KilledFromOutside { oom_kills: risen.filter(|count| *count > 0) });
    }

    /// Ctrl-Z and its like: the shell that waits for graceful must see it stop, as it would see the app.
    ///
    /// As PID 1 there is no such shell. In our own group the kernel ignores the key, because the group is orphaned
    /// (setpgid(2)); a group of the app's own is not, but only since graceful is its parent, so the app goes on. Not after
    /// SIGTTIN and SIGTTOU: what raised them would raise them again at once.
    fn stopped(&mut self, pid: i32, signal: Signal) {
        let by_terminal = matches!(signal, Signal::TSTP | Signal::TTIN | Signal::TTOU);
        if self.app != Some(pid) || !by_terminal || !self.launch.terminal.is_present() {
            return;
        }
        let in_our_group = process::shares_our_group(pid);
        if self.launch.init {
            if signal == Signal::TSTP && !in_our_group {
                self.signal_app(Signal::CONT, SignalReason::JobControl);
            }
        } else if in_our_group {
            self.job_stopped = true;
            process::stop_self();
        }
    }

    /// After Ctrl-Z a shell's `fg` continues the whole group, the app included: to do it again would undo a second Ctrl-Z
    /// that came meanwhile. Whoever continues graceful alone means the app too, which then is still stopped.
    fn job_was_continued(&mut self) -> bool {
        let app = self.app.filter(|_| std::mem::take(&mut self.job_stopped));
        app.and_then(tree::is_stopped) == Some(false)
    }

    /// One input to the lifecycle and everything that follows from it.
    fn feed(&mut self, input: Input) {
        self.inputs.push_back(input);
        self.act();
    }

    fn record(&mut self, event: Event) {
        let at = match event {
            // All deadlines count from the lifecycle's t0, so all that is said must, too.
            Event::StopBegan { .. } => self.lifecycle.t0().unwrap_or(self.now()),
            _ => self.now(),
        };
        let entry = self.timeline.record(at, event);
        if text::level(&entry.event) <= self.config.log_level {
            let line = render(self.config.log_format, &self.timeline, &entry);
            self.scribe.line(line);
        }
    }

    fn trouble(&mut self, what: String) {
        self.record(Event::Trouble { what });
    }

    fn trouble_once(&mut self, what: String) {
        if !self.timeline.has_trouble(&what) {
            self.trouble(what);
        }
    }

    /// The app and all the rest is gone: what is left to do is to say so.
    fn finish(&mut self) -> u8 {
        let outcome = self.outcome.unwrap_or(Outcome::NotStarted(status::FAILURE));
        let code = self.exit_code(outcome);
        self.launch.terminal.take_back();
        if let Some(path) = &self.config.drain_file {
            self.scribe.remove("--drain-file", path);
        }
        if self.orphans > 0 || self.sigkill_sent {
            self.record(Event::Reaped { orphans: self.orphans, after_sigkill: self.reaped_after_sigkill });
        }
        self.record(Event::Finished { code });
        self.write_reports(code);
        self.last_words();
        code
    }

    /// Not beyond G, with a little of it left for the exit itself.
    fn last_words(&mut self) {
        let now = self.now();
        let t0 = self.timeline.t0().unwrap_or(now);
        let left = (t0 + self.config.budget.grace_period).saturating_sub(now);
        self.scribe.finish(LAST_FILES.min(left / 2), LAST_LINES.min(left / 4));
    }

    fn write_reports(&mut self, code: u8) {
        let end = self.now();
        let asked = self.config.termination_log.as_deref();
        // Unasked it is written only after a stop: for an app that crashed by itself Kubernetes may show the app's last
        // log lines there instead (FallbackToLogsOnError), which a file with our words would hide.
        let default = || self.worth_a_message().then(|| Path::new(TERMINATION_LOG)).filter(|path| path.exists());
        if let Some(path) = asked.or_else(default) {
            let message = Report::new(&self.timeline, end, code).to_message();
            self.scribe.append("--termination-log", path, message, TERMINATION_MESSAGE_MAX as u64);
        }
        // Last: it may go to a FIFO whose reader never reads.
        if let Some(path) = &self.config.report {
            let report = Report::new(&self.timeline, end, code);
            self.scribe.write("--report", path, report.to_json());
        }
    }

    fn worth_a_message(&self) -> bool {
        self.timeline.events().any(|event| {
            matches!(
                event,
                Event::StopBegan { cause: Cause::Signal(_) | Cause::HookFailed | Cause::StartupTimeout }
                    | Event::KilledFromOutside { .. }
            )
        })
    }

    fn exit_code(&self, outcome: Outcome) -> u8 {
        match outcome {
            Outcome::App(status) if self.config.success.contains(status) => 0,
            outcome => outcome.code(),
        }
    }
}

fn plan(config: &mut Config, hooks: &Hooks) -> Plan {
    Plan {
        grace_period: config.budget.grace_period,
        kill_margin: config.budget.kill_margin,
        pre_stop_delay: config.budget.pre_stop_delay,
        stop_signal: config.stop_signal,
        stop_on: config.stop_on,
        rewrite: std::mem::take(&mut config.rewrite),
        escalate: config.escalate.iter().map(|escalation| (escalation.after, escalation.signal)).collect(),
        hold: match config.hold {
            HoldConfig::Never => None,
            HoldConfig::Url(_) | HoldConfig::Command(_) => Some(HoldPlan { timeout: config.hold_timeout }),
        },
        hooks: hooks.stages(),
        startup: config.startup.map(|startup| (startup.timeout, startup.action == StartupAction::Stop)),
        leave_leftovers: config.leftovers == crate::config::Leftovers::Leave,
    }
}

/// Commands run later need the directory, and graceful itself leaves it: a supervisor must not keep a disk mounted.
fn original_dir(config: &Config) -> Option<CString> {
    let needed = !config.hooks.is_empty() || matches!(config.hold, HoldConfig::Command(_));
    let dir = needed.then(std::env::current_dir)?.ok()?;
    CString::new(dir.into_os_string().into_vec()).ok()
}

fn render(format: LogFormat, timeline: &Timeline, entry: &Entry) -> String {
    match format {
        LogFormat::Text => text::line(timeline, entry),
        LogFormat::Json => text::json_line(timeline, entry),
    }
}

/// For the writing thread, which has no timeline.
fn complain(format: LogFormat, started_at: SystemTime, start: Instant) -> crate::scribe::Complain {
    Box::new(move |what| {
        let mut timeline = Timeline::new(started_at, OsString::new(), Limits::default());
        let entry = timeline.record(start.elapsed(), Event::Trouble { what: what.to_owned() });
        render(format, &timeline, &entry)
    })
}

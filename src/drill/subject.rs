//! What is stopped: a child of the drill under `graceful run` or alone, a process by its pid, whatever a command stops,
//! or nothing.
//!
//! The drill plays the orchestrator: it sends the signal, waits for the grace period, and sends SIGKILL where nobody
//! else does. It is the subreaper of the app, so that what the app leaves behind is found and ended, too. What a stop
//! command leaves behind is not: a script that restarts a service may well have started it again.

use super::facts::{Exit, StopResult};
use super::plan::{self, Supervision};
use crate::demo;
use crate::pid::Pid;
use crate::signal::Signal;
use crate::status::ExitStatus;
use crate::sys::reap::{self, ChildChange};
use crate::sys::signals::Inherited;
use crate::sys::spawn::{self, SpawnSpec};
use crate::sys::tree::{self, Process};
use crate::sys::{in_words, process, sockets};
use crate::timeline::report::Report;
use std::collections::{BTreeSet, VecDeque};
use std::ffi::{CString, OsString};
use std::fs;
use std::io::{self, BufRead, BufReader, PipeReader, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// At most this many lines of the app's output are kept.
const LINES: usize = 200;
/// At most this many lines of an app that failed are shown.
const LAST_WORDS: usize = 10;
/// How long what is left after the end may take to end after SIGKILL.
const TO_DIE: Duration = Duration::from_secs(5);

/// The thing under test.
pub(super) struct RunningSubject {
    kind: Kind,
    /// The lines that it wrote last.
    output: Arc<Mutex<VecDeque<String>>>,
    /// Where `graceful run` leaves its report.
    report: Option<PathBuf>,
}

enum Kind {
    Child {
        pid: Pid,
        signal: Signal,
        ended: Option<(Instant, ExitStatus)>,
        supervised: bool,
    },
    Process {
        process: Process,
        signal: Signal,
        pidfd: OwnedFd,
        ended: Option<Instant>,
    },
    Command {
        text: String,
        pid: Option<Pid>,
        ended: Option<(Instant, ExitStatus)>,
    },
    /// graceful, and the command that reloads its app.
    Reload {
        graceful: Pid,
        gone: Option<(Instant, ExitStatus)>,
        argv: Vec<OsString>,
        pid: Option<Pid>,
        ended: Option<(Instant, ExitStatus)>,
    },
    Nothing,
}

/// Why it cannot be started or stopped.
#[derive(Debug, thiserror::Error)]
pub(super) enum SubjectError {
    /// The drill cannot find its own program, which it starts as `graceful run`.
    #[error("/proc/self/exe: {0}")]
    OwnProgram(io::Error),
    #[error("--pid {pid}: {error}")]
    NotOurs { pid: i32, error: io::Error },
    #[error("--pid {0}: no such process")]
    Gone(i32),
    #[error("{signal} to pid {pid}: {error}")]
    NotSent { signal: Signal, pid: i32, error: io::Error },
    #[error("pipe: {0}")]
    Pipe(io::Error),
    #[error("{}: an argument has a zero byte", .0.display())]
    ZeroByte(OsString),
    #[error("cannot run {}: {why}", .program.display())]
    NotRun { program: OsString, why: String },
    #[error("cannot start a process: {}", in_words(.0))]
    NoProcess(io::Error),
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ended {
    pub(super) at: Instant,
    /// None where it is not our child.
    pub(super) status: Option<ExitStatus>,
}

impl RunningSubject {
    /// Starts the subject, if it is to be started.
    pub(super) fn start(
        subject: &plan::Subject,
        way: Supervision,
        delay: Option<Duration>,
        reloads: bool,
        folder: &Path,
        inherited: Inherited,
        show: bool,
    ) -> Result<RunningSubject, SubjectError> {
        let output = Arc::new(Mutex::new(VecDeque::new()));
        let mut report = None;
        let kind = match subject {
            plan::Subject::Own { command, flags, signal, .. } => {
                let supervised = way != Supervision::Bare;
                let mut argv = Vec::new();
                if supervised {
                    let path = folder.join("report.json");
                    // Not argv[0]: that may be a name that PATH no longer leads to.
                    let own = fs::read_link("/proc/self/exe").map_err(SubjectError::OwnProgram)?;
                    argv.extend([own.into_os_string(), "run".into()]);
                    let given = |flag: &&OsString| !flag.as_bytes().starts_with(b"--pre-stop-delay=");
                    argv.extend(flags.iter().filter(|flag| delay.is_none() || given(flag)).cloned());
                    argv.extend(delay.map(|delay| format!("--pre-stop-delay={}ms", delay.as_millis()).into()));
                    if reloads {
                        argv.extend(["--control".into(), control_at(folder)]);
                    }
                    argv.extend(["--report".into(), path.clone().into_os_string(), "--".into()]);
                    report = Some(path);
                }
                argv.extend(command.iter().cloned());
                let dies_by = if supervised { Signal::TERM } else { Signal::KILL };
                let pid = start(&argv, inherited, Some(dies_by), &output, show)?;
                Kind::Child { pid, signal: *signal, ended: None, supervised }
            }
            plan::Subject::Pid { pid, signal } => {
                let pidfd = process::pidfd_open(*pid).map_err(|error| SubjectError::NotOurs { pid: *pid, error })?;
                let all = tree::others().unwrap_or_default();
                let process = all.into_iter().find(|process| process.pid == *pid);
                let process = process.ok_or(SubjectError::Gone(*pid))?;
                Kind::Process { process, signal: *signal, pidfd, ended: None }
            }
            plan::Subject::Command(text) => Kind::Command { text: text.clone(), pid: None, ended: None },
            plan::Subject::Nothing => Kind::Nothing,
        };
        Ok(RunningSubject { kind, output, report })
    }

    /// Has the app reloaded so often instead of stopped, by graceful's control socket in that folder.
    pub(super) fn reloading(self, times: u32, folder: &Path) -> Result<RunningSubject, SubjectError> {
        let Kind::Child { pid: graceful, ended: gone, supervised: true, .. } = self.kind else { return Ok(self) };
        let own = fs::read_link("/proc/self/exe").map_err(SubjectError::OwnProgram)?;
        // One after the other, as whoever deploys does it.
        let script =
            "times=$1; shift; while [ $times -gt 0 ]; do \"$@\" >/dev/null || exit; times=$((times - 1)); done";
        let mut argv: Vec<OsString> = ["/bin/sh", "-c", script, "sh"].map(OsString::from).into();
        argv.extend([times.to_string().into(), own.into_os_string(), "reload".into()]);
        argv.extend(["--control".into(), control_at(folder)]);
        Ok(RunningSubject { kind: Kind::Reload { graceful, gone, argv, pid: None, ended: None }, report: None, ..self })
    }

    /// Begins the stop: sends the signal, or starts the command.
    pub(super) fn stop(&mut self, inherited: Inherited) -> Result<(), SubjectError> {
        match &mut self.kind {
            Kind::Child { pid, signal, .. } => process::signal_child(*pid, *signal, None)
                .map_err(|error| SubjectError::NotSent { signal: *signal, pid: pid.number(), error }),
            Kind::Process { process, signal, .. } => process::signal_process(process, *signal)
                .map_err(|error| SubjectError::NotSent { signal: *signal, pid: process.pid, error }),
            Kind::Command { text, pid, .. } => {
                let argv = ["/bin/sh".into(), "-c".into(), OsString::from(text.as_str())];
                // What it says is for the user, and what it leaves in the background must not lose its output with the
                // drill.
                *pid = Some(spawned(&argv, inherited, None, io::stderr().as_fd())?);
                Ok(())
            }
            Kind::Reload { argv, pid, .. } => {
                *pid = Some(spawned(argv, inherited, None, io::stderr().as_fd())?);
                Ok(())
            }
            Kind::Nothing => Ok(()),
        }
    }

    /// The subject in a few words, for the log.
    pub(super) fn words(&self) -> String {
        match &self.kind {
            Kind::Child { pid, supervised: true, .. } => format!("the app runs under graceful, which is pid {pid}"),
            Kind::Child { pid, .. } => format!("the app runs alone, as pid {pid}"),
            Kind::Process { process, .. } => format!("pid {} is to be stopped", process.pid),
            Kind::Command { .. } => "a command is to stop something".to_owned(),
            Kind::Reload { graceful, .. } => {
                format!("the app runs under graceful, which is pid {graceful}, and is to be reloaded")
            }
            Kind::Nothing => "nothing is to be stopped".to_owned(),
        }
    }

    /// Sends SIGKILL, as an orchestrator does at the end of its patience.
    pub(super) fn kill(&self) {
        match &self.kind {
            Kind::Child { pid, ended: None, .. } => _ = process::signal_child(*pid, Signal::KILL, None),
            Kind::Process { process, ended: None, .. } => _ = process::signal_process(process, Signal::KILL),
            Kind::Command { pid: Some(pid), ended: None, .. } | Kind::Reload { pid: Some(pid), ended: None, .. } => {
                _ = process::signal_group(*pid, Signal::KILL);
            }
            _ => {}
        }
    }

    /// Takes notice of what has ended; call it after SIGCHLD, or now and then.
    pub(super) fn look(&mut self) {
        self.look_with(|_, _| {});
    }

    /// The same, and reports the children that are not the subject: wait(2) reports each once.
    pub(super) fn look_with(&mut self, mut other: impl FnMut(Pid, ExitStatus)) {
        let now = Instant::now();
        loop {
            match reap::next() {
                ChildChange::Ended { pid: who, status } => match &mut self.kind {
                    Kind::Child { pid, ended: ended @ None, .. } if *pid == who => *ended = Some((now, status)),
                    Kind::Command { pid: Some(pid), ended: ended @ None, .. }
                    | Kind::Reload { pid: Some(pid), ended: ended @ None, .. }
                        if *pid == who =>
                    {
                        *ended = Some((now, status));
                    }
                    Kind::Reload { graceful, gone: gone @ None, .. } if *graceful == who => *gone = Some((now, status)),
                    _ => other(who, status),
                },
                ChildChange::Stopped { .. } | ChildChange::Continued { .. } => {}
                ChildChange::Nothing | ChildChange::NoChildren => break,
            }
        }
        if let Kind::Process { pidfd, ended: ended @ None, .. } = &mut self.kind
            && crate::sys::fds::poll(&[pidfd.as_fd()], Some(Duration::ZERO)) == [true]
        {
            *ended = Some(now);
        }
    }

    /// How it ended, if it has: the app, the process, or the command.
    pub(super) fn ended(&self) -> Option<Ended> {
        match &self.kind {
            Kind::Child { ended, .. } | Kind::Command { ended, .. } => {
                ended.map(|(at, status)| Ended { at, status: Some(status) })
            }
            Kind::Process { ended, .. } => ended.map(|at| Ended { at, status: None }),
            // With graceful all is over.
            Kind::Reload { gone, ended, .. } => ended.or(*gone).map(|(at, status)| Ended { at, status: Some(status) }),
            Kind::Nothing => None,
        }
    }

    /// What the stop that began at this moment has come to so far.
    pub(super) fn result_of(&self, stop: Instant) -> StopResult {
        let Some(ended) = self.ended() else { return StopResult::Nothing };
        let exit = Exit { at_s: ended.at.saturating_duration_since(stop).as_secs_f64(), status: ended.status };
        match self.kind {
            Kind::Reload { .. } => StopResult::ReloadEnded(exit),
            _ if self.is_app() => StopResult::AppExited(exit),
            _ => StopResult::CommandExited(exit),
        }
    }

    /// Whether there is an end to wait for.
    pub(super) fn ends(&self) -> bool {
        !matches!(self.kind, Kind::Nothing)
    }

    /// The process that gets the signal: the app's own, or one that passes it on.
    pub(super) fn pid(&self) -> Option<i32> {
        match &self.kind {
            Kind::Child { pid, .. } | Kind::Reload { graceful: pid, .. } => Some(pid.number()),
            Kind::Process { process, .. } => Some(process.pid),
            Kind::Command { .. } | Kind::Nothing => None,
        }
    }

    /// The app itself: below graceful, its child.
    pub(super) fn app(&self) -> Option<i32> {
        let pid = self.pid()?;
        match self.is_supervised() {
            true => tree::with_group(pid)?.into_iter().find(|process| process.parent == pid).map(|process| process.pid),
            false => Some(pid),
        }
    }

    /// Whether the end of this process means that the app is gone.
    pub(super) fn is_app(&self) -> bool {
        matches!(self.kind, Kind::Child { .. } | Kind::Process { .. })
    }

    /// Whether the process that `--pid` names is a graceful, by the name of its binary.
    pub(super) fn is_graceful(&self) -> bool {
        let Kind::Process { process, .. } = &self.kind else { return false };
        let exe = fs::read_link(format!("/proc/{}/exe", process.pid));
        exe.is_ok_and(|exe| exe.file_name().is_some_and(|name| name == "graceful"))
    }

    pub(super) fn is_supervised(&self) -> bool {
        matches!(self.kind, Kind::Child { supervised: true, .. } | Kind::Reload { .. })
    }

    /// The ports that the app listens on, and the processes that do: those below this one, graceful's own left out.
    pub(super) fn listens(&self) -> (Vec<u16>, Vec<i32>) {
        let Some(pid) = self.pid() else { return (Vec::new(), Vec::new()) };
        let mut sampler = sockets::Sampler::new(&[]);
        let Ok(all) = sampler.listeners() else { return (Vec::new(), Vec::new()) };
        let all = all.to_vec();
        let tree = tree::with_group(pid).unwrap_or_default();
        let pids: Vec<i32> =
            tree.iter().map(|process| process.pid).filter(|found| !(self.is_supervised() && *found == pid)).collect();
        let held = sockets::held_by(&pids, &all);
        let ports: BTreeSet<u16> = held.listeners.iter().map(|listener| listener.local.port()).collect();
        (ports.into_iter().collect(), held.processes)
    }

    /// Whether the app runs and listens nowhere, as far as can be seen, Unix sockets included; and the ticks of the
    /// processor's clock that it has used. `None`: it listens, does not run, or nothing can be seen.
    pub(super) fn listens_nowhere(&self) -> Option<u64> {
        let app = self.app()?;
        let mut sampler = sockets::Sampler::new(&[]);
        let all = sampler.listeners().ok()?.to_vec();
        let tree: Vec<i32> = tree::with_group(app)?.iter().map(|process| process.pid).collect();
        let held = sockets::held_by(&tree, &all);
        (!tree.is_empty() && held.listeners.is_empty() && held.unix.is_empty()).then(|| tree::processor_time(&tree))
    }

    /// What outlived the app, by name and pid, except for what descends from these. (Under graceful the report tells of
    /// it.)
    pub(super) fn leftovers(&self, but: &[i32]) -> Vec<String> {
        match self.kind {
            Kind::Child { supervised: false, ended: Some(_), .. } => tree::descendants_but(but)
                .unwrap_or_default()
                .iter()
                .map(|process| format!("{} (pid {})", process.name, process.pid))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Why there is nothing left to stop, with its last words; none while it is there.
    pub(super) fn died_early(&self) -> Option<String> {
        let ended = self.ended()?;
        let how = ended.status.map(|status| format!(": {status}")).unwrap_or_default();
        let lines = self.last_lines(LAST_WORDS);
        let said =
            if lines.is_empty() { String::new() } else { format!("; its last words:\n  {}", lines.join("\n  ")) };
        Some(format!("the app ended before the stop{how}{said}"))
    }

    /// The lines that it wrote last.
    pub(super) fn last_lines(&self, count: usize) -> Vec<String> {
        let lines = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().skip(lines.len().saturating_sub(count)).cloned().collect()
    }

    /// graceful's report, if it wrote one.
    pub(super) fn report(&self) -> Option<Report> {
        let text = fs::read(self.report.as_ref()?).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Ends all that was started and waits for it: SIGTERM first, so that graceful can see to what is below it, then
    /// SIGKILL to each process that is left.
    pub(super) fn clear_away(&mut self) {
        if let Kind::Child { pid, ended: None, supervised: true, .. } | Kind::Reload { graceful: pid, gone: None, .. } =
            self.kind
        {
            // Twice: at once, and without the delay (the second cuts it short).
            for _ in 0..2 {
                _ = process::signal_child(pid, Signal::TERM, None);
            }
            self.wait_gone(TO_DIE);
        }
        match self.kind {
            Kind::Child { .. } | Kind::Reload { .. } => self.kill_children(),
            Kind::Command { pid: Some(pid), ended: None, .. } => {
                _ = process::signal_group(pid, Signal::KILL);
                self.wait_gone(TO_DIE);
            }
            Kind::Command { .. } | Kind::Process { .. } | Kind::Nothing => {}
        }
    }

    fn wait_gone(&mut self, patience: Duration) {
        let end = Instant::now() + patience;
        while self.ended().is_none() && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
            self.look();
        }
    }

    /// Kills everything below this process, which has started all of it.
    fn kill_children(&mut self) {
        let end = Instant::now() + TO_DIE;
        while reap::any() && Instant::now() < end {
            for process in tree::descendants().unwrap_or_default() {
                _ = process::signal_process(&process, Signal::KILL);
            }
            thread::sleep(Duration::from_millis(5));
            self.look();
        }
    }
}

/// Starts a child in a group of its own: a key typed at the terminal is for the drill, which then ends the child in its
/// own way.
fn start(
    argv: &[OsString],
    inherited: Inherited,
    dies_by: Option<Signal>,
    output: &Arc<Mutex<VecDeque<String>>>,
    show: bool,
) -> Result<Pid, SubjectError> {
    let (reader, writer) = io::pipe().map_err(SubjectError::Pipe)?;
    let pid = spawned(argv, inherited, dies_by, writer.as_fd())?;
    drop(writer);
    let lines = output.clone();
    // The thread ends with the last process that can write.
    _ = thread::Builder::new().name("drill-output".to_owned()).spawn(move || keep_lines(reader, &lines, show));
    Ok(pid)
}

fn spawned(
    argv: &[OsString],
    inherited: Inherited,
    dies_by: Option<Signal>,
    output: BorrowedFd<'_>,
) -> Result<Pid, SubjectError> {
    let program = argv.first().cloned().unwrap_or_default();
    let words: Result<Vec<CString>, _> = argv.iter().map(|word| CString::new(word.as_bytes())).collect();
    let words = words.map_err(|_| SubjectError::ZeroByte(program.clone()))?;
    let command = SpawnSpec {
        argv: &words,
        env: None,
        added: &[],
        inherited,
        output: Some(output),
        errors: None,
        dir: None,
        own_group: true,
        parent_death_signal: dies_by,
        sockets: None,
    };
    spawn::spawn(&command).map_err(|error| match error {
        spawn::Error::Exec(error) => SubjectError::NotRun { program, why: in_words(&error) },
        spawn::Error::Format(file, format) => SubjectError::NotRun { program: file.into(), why: format.why() },
        spawn::Error::Fork(error) => SubjectError::NoProcess(error),
    })
}

fn keep_lines(reader: PipeReader, lines: &Mutex<VecDeque<String>>, show: bool) {
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if show {
            // Nobody may be there to read it.
            _ = writeln!(io::stderr(), "{text}");
        }
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(text);
        line.clear();
    }
}

/// Where a drill of a reload asks its graceful.
pub(super) fn control_at(folder: &Path) -> OsString {
    let mut address = OsString::from("unix:");
    address.push(folder.join("control"));
    address
}

/// A command line for people: the program, and every word that is the path of a file. Any other word may hold a secret.
pub(super) fn shown(command: &[OsString]) -> Vec<String> {
    const LEFT_OUT: &str = "…";
    // The name under which it can be started by hand.
    if let [first, second, ..] = command
        && first == demo::COMMAND[0]
        && second == demo::COMMAND[1]
    {
        return vec!["graceful".to_owned(), demo::COMMAND[1].to_owned()];
    }
    let mut shown: Vec<String> = Vec::new();
    for (index, word) in command.iter().enumerate() {
        let is_shown = index == 0 || Path::new(word).is_file();
        match shown.last() {
            _ if is_shown => shown.push(word.to_string_lossy().into_owned()),
            Some(last) if last == LEFT_OUT => {}
            _ => shown.push(LEFT_OUT.to_owned()),
        }
    }
    shown
}

//! One run of graceful with a folder of its own for what it writes, and its report as JSON.

use std::fmt::Write as _;
use std::io::{PipeReader, PipeWriter, Write as _};
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use graceful::timeline::report::Report;
use serde_json::Value;
use tempfile::TempDir;

use super::{DEADLINE, Exit, Proc, graceful_command, in_pid_namespace, signals};

/// graceful over an app, told to write its report into [`Run::path`]`("report.json")`. It is a [`Proc`] of a group
/// of its own: signals go to graceful, and the end of the test kills all of the group.
pub(crate) struct Run {
    process: Proc,
    folder: TempDir,
}

impl Run {
    /// `graceful OPTIONS --report … -- COMMAND`.
    pub(crate) fn start(options: &[&str], command: &[String]) -> Run {
        Run::start_in(folder(), options, command)
    }

    /// The same over `tests/apps/signals.py` with these options, not before that is ready.
    #[track_caller]
    pub(crate) fn signals(options: &[&str], app: &[&str]) -> Run {
        let run = Run::start(options, &signals(app));
        run.wait_line("ready pid=", DEADLINE);
        run
    }

    /// With a folder that the test has put something into.
    pub(crate) fn start_in(folder: TempDir, options: &[&str], command: &[String]) -> Run {
        let mut graceful = graceful_command();
        graceful.args(options).arg("--report").arg(folder.path().join("report.json")).arg("--").args(command);
        Run { process: Proc::spawn_group(&mut graceful), folder }
    }

    /// As PID 1 of a namespace.
    pub(crate) fn start_pid1(options: &[&str], command: &[String]) -> Run {
        let folder = folder();
        let mut args = vec![super::graceful().into_os_string()];
        args.extend(options.iter().map(Into::into));
        args.extend(["--report".into(), folder.path().join("report.json").into(), "--".into()]);
        args.extend(command.iter().map(Into::into));
        Run { process: Proc::spawn_pid1(&mut in_pid_namespace(args)), folder }
    }

    /// A file of the run's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What is in a file of the run's folder; empty if it is not there.
    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Sends the signal and says when: right before.
    #[track_caller]
    pub(crate) fn stop(&self, signal: i32) -> Instant {
        let at = Instant::now();
        self.signal(signal);
        at
    }

    /// Sends the signal and waits until graceful has said that the stop has begun.
    #[track_caller]
    pub(crate) fn stop_begun(&self, signal: i32) -> Instant {
        let at = self.stop(signal);
        self.wait_line(": stopping", DEADLINE);
        at
    }

    /// Waits for the end and reads the report.
    #[track_caller]
    pub(crate) fn report(&self) -> Value {
        self.wait(DEADLINE);
        let text = self.read("report.json");
        let report: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("report: {error}\n{text}\n{}", self.dump()));
        // The drill reads it back into the type that it was made of: nothing is lost on the way, of any report.
        let read: Report =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("as a drill reads it: {error}\n{text}"));
        assert_eq!(serde_json::to_value(&read).expect("it was JSON before"), report);
        report
    }

    /// Waits for this end and gives the report.
    #[track_caller]
    pub(crate) fn ends(&self, exit: Exit) -> Value {
        assert_eq!(self.wait(DEADLINE), exit, "{}", self.dump());
        self.report()
    }
}

impl Deref for Run {
    type Target = Proc;

    fn deref(&self) -> &Proc {
        &self.process
    }
}

/// A new folder, removed at the end.
pub(crate) fn folder() -> TempDir {
    tempfile::Builder::new().prefix("graceful-test-").tempdir().expect("a temporary folder")
}

/// A command line as arguments of a command.
pub(crate) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// `sh -c SCRIPT`.
pub(crate) fn shell(script: &str) -> Vec<String> {
    words(&["sh", "-c", script])
}

/// The Python text as a command line. It ends after a minute whatever happens: for processes that no group holds.
pub(crate) fn python(text: &str) -> Vec<String> {
    vec![super::python3(), "-c".to_owned(), format!("import signal; signal.alarm(60)\n{text}")]
}

/// The phases of a report, in order.
pub(crate) fn phases(report: &Value) -> Vec<String> {
    let phases = report["phases"].as_array().expect("phases is a list");
    phases.iter().map(|phase| phase["phase"].as_str().expect("a name").to_owned()).collect()
}

/// How long a phase of the report lasted.
#[track_caller]
pub(crate) fn lasted(report: &Value, phase: &str) -> Duration {
    seconds_of(report, phase, "duration_s")
}

/// When a phase of the report began, since t0.
#[track_caller]
pub(crate) fn began(report: &Value, phase: &str) -> Duration {
    seconds_of(report, phase, "start_s")
}

/// When a phase of the report ended, since t0.
#[track_caller]
pub(crate) fn phase_ended(report: &Value, phase: &str) -> Duration {
    began(report, phase) + lasted(report, phase)
}

#[track_caller]
fn seconds_of(report: &Value, phase: &str, field: &str) -> Duration {
    let phases = report["phases"].as_array().expect("phases is a list");
    let found = phases.iter().find(|found| found["phase"] == phase);
    let found = found.unwrap_or_else(|| panic!("no phase {phase} in {report:#}"));
    Duration::from_secs_f64(found[field].as_f64().expect("a number"))
}

/// All that the report warns of, in one text.
pub(crate) fn warnings(report: &Value) -> String {
    report["warnings"].as_array().into_iter().flatten().fold(String::new(), |mut text, warning| {
        let _ = writeln!(text, "{}", warning.as_str().unwrap_or_default());
        text
    })
}

/// The signals that the report says went to the app, as "SIGTERM stop", without SIGCONT.
pub(crate) fn signals_sent(report: &Value) -> Vec<String> {
    let signals = report["signals"].as_array().into_iter().flatten();
    let signals = signals.filter(|sent| sent["signal"] != "SIGCONT" && sent["name"] == "app");
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    signals.map(|sent| format!("{} {}", text(&sent["signal"]), text(&sent["reason"]))).collect()
}

/// Waits until a condition of which nothing tells holds.
#[track_caller]
pub(crate) fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "{what} did not come in time");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether this pid is a process that has not ended.
pub(crate) fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// The number after `key` in a line of output, as `ready pid=7`.
#[track_caller]
pub(crate) fn number_after(text: &str, key: &str) -> i32 {
    let rest = text.split_once(key).map(|(_, rest)| rest).unwrap_or_default();
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("no number after {key:?} in {text:?}"))
}

/// kill(2) for one process (above 1) or one group (below -1) that the test has started.
pub(crate) fn kill(target: i32, signal: i32) {
    assert!(!(-1..=1).contains(&target), "kill({target}) would hit everything");
    // SAFETY: kill(2) touches no memory; the target was checked.
    unsafe { libc::kill(target, signal) };
}

/// Runs a command to its end and gives how it ended with what it wrote.
#[track_caller]
pub(crate) fn ended(command: &mut Command) -> (Exit, String, String) {
    Proc::spawn_group(command).wait_output(DEADLINE)
}

/// The whole text of a file that a process writes, once it has this many lines.
#[track_caller]
pub(crate) fn wait_file_lines(path: &Path, count: usize) -> Vec<String> {
    let read = || std::fs::read_to_string(path).unwrap_or_default();
    wait_for(&format!("{count} lines in {}", path.display()), || read().matches('\n').count() >= count);
    read().lines().map(str::to_owned).collect()
}

/// A pipe that is full, and will stay so as long as the reading end is not read but kept.
pub(crate) fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let fd = writer.as_raw_fd();
    let set_flags = |flags: i32| {
        // SAFETY: F_SETFL takes a number.
        assert_eq!(unsafe { libc::fcntl(fd, libc::F_SETFL, flags) }, 0);
    };
    set_flags(libc::O_NONBLOCK);
    // Byte by byte at the end: a page may be left that a big write does not take.
    while writer.write(&[b'x'; 65536]).is_ok() {}
    while writer.write(b"x").is_ok() {}
    set_flags(0);
    (reader, writer)
}

/// How many threads the app of this run has: graceful's only child.
pub(crate) fn threads_of(run: &Run) -> usize {
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", run.pid())).unwrap_or_default();
    let app = children.split_whitespace().next().unwrap_or_default();
    std::fs::read_dir(format!("/proc/{app}/task")).map_or(0, Iterator::count)
}

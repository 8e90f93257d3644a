//! One child process: its output by line with the time of each, its exact ending, its end with the test.
//!
//! Design: two threads read the pipes and one waits for the exit with WNOWAIT, so that the process stays a
//! zombie until [`Proc`] is dropped. Its pid (and the id of the group it leads) can therefore not be given to
//! another process while the test still holds the `Proc`, and every kill here hits what the test started.
//! One condition variable tells of all news: a wait ends at once when what it waits for can no longer come.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::DEADLINE;

/// How a process ended, exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It called exit(3).
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

impl Exit {
    /// What a shell would show for it, and what an init has to exit with.
    pub(crate) fn shell_code(self) -> i32 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
        }
    }
}

/// Where a line was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// One line of output, without its newline. Bytes that are not UTF-8 are replaced.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) stream: Stream,
    pub(crate) at: Instant,
    pub(crate) text: String,
}

/// `args` as PID 1 of a new PID namespace with its own /proc, which ends when the `unshare` in front of it is
/// killed. Not root: in a user namespace too. To be started with [`Proc::spawn_pid1`].
pub(crate) fn in_pid_namespace<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new("unshare");
    // SAFETY: geteuid(2) has no preconditions and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        command.arg("--map-root-user");
    }
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child", "--"]).args(args);
    super::without_settings(&mut command);
    command
}

/// Whom [`Proc::signal`] means and what is killed at the end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// The child alone.
    Child,
    /// Signals go to the child; at the end the process group that it was started in is killed, and what is below the child
    /// in other groups.
    Group,
    /// The child is `unshare`; signals go to the PID 1 behind it, and its death ends the namespace.
    Namespace,
}

/// A running child and all that it wrote. Dropped, it kills the child (see [`Proc::spawn`] and its relatives).
pub(crate) struct Proc {
    child: Child,
    scope: Scope,
    command: String,
    news: Arc<News>,
    /// The writing end of the child's stdin, if [`Proc::spawn_with_stdin`] was given a pipe.
    pub(crate) stdin: Option<ChildStdin>,
}

struct News {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    started: Instant,
    lines: Vec<Line>,
    open_streams: usize,
    exit: Option<(Exit, Instant)>,
}

impl Proc {
    /// Starts the command with stdin from /dev/null. At the end the child alone is killed.
    pub(crate) fn spawn(command: &mut Command) -> Proc {
        Proc::start(command.stdin(Stdio::null()), Scope::Child)
    }

    /// The same with this stdin.
    pub(crate) fn spawn_with_stdin(command: &mut Command, stdin: Stdio) -> Proc {
        Proc::start(command.stdin(stdin), Scope::Child)
    }

    /// The same with stderr to wherever the test says; what goes there is not read.
    pub(crate) fn spawn_with_stderr(command: &mut Command, stderr: Stdio) -> Proc {
        Proc::start_with(command.stdin(Stdio::null()).process_group(0), stderr, Scope::Group)
    }

    /// Starts the command as leader of its own process group. At the end the whole group is killed:
    /// for apps that start workers.
    pub(crate) fn spawn_group(command: &mut Command) -> Proc {
        Proc::start(command.stdin(Stdio::null()).process_group(0), Scope::Group)
    }

    /// Starts a command made by [`in_pid_namespace`]. Signals go to its PID 1; at the end the namespace is ended.
    pub(crate) fn spawn_pid1(command: &mut Command) -> Proc {
        Proc::start(command.stdin(Stdio::null()), Scope::Namespace)
    }

    fn start(command: &mut Command, scope: Scope) -> Proc {
        super::default_signals();
        Proc::start_with(command, Stdio::piped(), scope)
    }

    fn start_with(command: &mut Command, stderr: Stdio, scope: Scope) -> Proc {
        let shown = format!("{command:?}");
        let started = Instant::now();
        let spawned = command.stdout(Stdio::piped()).stderr(stderr).spawn();
        let child = spawned.unwrap_or_else(|error| panic!("cannot start {shown}: {error}"));
        let open_streams = 1 + usize::from(child.stderr.is_some());
        let state = State { started, lines: Vec::new(), open_streams, exit: None };
        let news = Arc::new(News { state: Mutex::new(state), changed: Condvar::new() });
        let mut process = Proc { child, scope, command: shown, news, stdin: None };
        process.stdin = process.child.stdin.take();
        read_lines(&process.news, Stream::Stdout, process.child.stdout.take().expect("stdout is piped"));
        if let Some(stderr) = process.child.stderr.take() {
            read_lines(&process.news, Stream::Stderr, stderr);
        }
        watch_exit(process.pid(), {
            let news = Arc::clone(&process.news);
            move |exit| news.tell(|state| state.exit = Some((exit, Instant::now())))
        });
        process
    }

    /// The child's pid (with [`Proc::spawn_pid1`]: that of `unshare`).
    pub(crate) fn pid(&self) -> libc::pid_t {
        self.child.id() as libc::pid_t
    }

    /// The pid, seen from here, of the process that signals go to.
    pub(crate) fn target(&self) -> libc::pid_t {
        match self.scope {
            Scope::Child | Scope::Group => self.pid(),
            Scope::Namespace => self.pid1(),
        }
    }

    /// Sends the signal to the child or the namespace's PID 1, never to a group.
    #[track_caller]
    pub(crate) fn signal(&self, signal: i32) {
        let target = self.target();
        assert!(self.exit().is_none(), "signal {signal} comes too late\n{}", self.dump());
        if let Err(error) = kill(target, signal) {
            panic!("kill({target}, {signal}): {error}\n{}", self.dump());
        }
    }

    /// Waits for a line on either stream that contains `needle`, and returns the first such line.
    #[track_caller]
    pub(crate) fn wait_line(&self, needle: &str, deadline: Duration) -> Line {
        self.wait_lines(needle, 1, deadline).remove(0)
    }

    /// Waits until `count` lines that contain `needle` are there, and returns them.
    #[track_caller]
    pub(crate) fn wait_lines(&self, needle: &str, count: usize, deadline: Duration) -> Vec<Line> {
        self.wait_until(&format!("{count} x {needle:?}"), deadline, |state| {
            let found: Vec<Line> = state.lines.iter().filter(|line| line.text.contains(needle)).cloned().collect();
            (found.len() >= count).then_some(found)
        })
    }

    /// Waits for the end of the process. What it wrote last may still be on its way: see [`Proc::wait_output`].
    #[track_caller]
    pub(crate) fn wait(&self, deadline: Duration) -> Exit {
        let exit = self.wait_until("the exit", deadline, |state| state.exit.map(|(exit, _)| exit));
        self.let_readers_finish();
        exit
    }

    /// What it wrote last is read after its end is seen, and a test looks at it after its end. Another process may hold the
    /// pipes for as long as it likes.
    fn let_readers_finish(&self) {
        let (end, mut state) = (Instant::now() + Duration::from_secs(1), self.state());
        while state.open_streams > 0 {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.news.changed.wait_timeout(state, left).unwrap_or_else(|e| e.into_inner()).0;
        }
    }

    /// Waits for the end of the process and of its output, so that all of it can be looked at. It does not
    /// come back while another process still holds one of the pipes.
    #[track_caller]
    pub(crate) fn wait_output(&self, deadline: Duration) -> (Exit, String, String) {
        let exit = self.wait_until("the exit and the end of its output", deadline, |state| {
            state.exit.filter(|_| state.open_streams == 0).map(|(exit, _)| exit)
        });
        (exit, self.stdout_so_far(), self.stderr_so_far())
    }

    /// How it ended, if it did.
    pub(crate) fn exit(&self) -> Option<Exit> {
        self.state().exit.map(|(exit, _)| exit)
    }

    /// When the end was seen.
    pub(crate) fn exited_at(&self) -> Option<Instant> {
        self.state().exit.map(|(_, at)| at)
    }

    /// What it wrote to stdout so far.
    pub(crate) fn stdout_so_far(&self) -> String {
        self.text(Stream::Stdout)
    }

    /// What it wrote to stderr so far.
    pub(crate) fn stderr_so_far(&self) -> String {
        self.text(Stream::Stderr)
    }

    /// All lines so far, of both streams, in the order in which they were read.
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.state().lines.clone()
    }

    /// All that is known of the process, for the message of an assertion.
    pub(crate) fn dump(&self) -> String {
        let state = self.state();
        let mut text = format!("--- {}\n", self.command);
        for line in &state.lines {
            let stream = if line.stream == Stream::Stdout { "out" } else { "err" };
            let at = line.at.duration_since(state.started);
            let _ = writeln!(text, "{:8.3}s {stream} | {}", at.as_secs_f64(), line.text);
        }
        let _ = match state.exit {
            Some((exit, at)) => writeln!(text, "{:8.3}s {exit:?}", at.duration_since(state.started).as_secs_f64()),
            None => writeln!(text, "{:8.3}s still runs", state.started.elapsed().as_secs_f64()),
        };
        text
    }

    /// Waits until `find` finds something in the news. Panics with the dump at the deadline, or as soon as the
    /// process has ended with all its output read and still nothing is found.
    #[track_caller]
    fn wait_until<T>(&self, what: &str, deadline: Duration, find: impl Fn(&State) -> Option<T>) -> T {
        let end = Instant::now() + deadline;
        let mut state = self.state();
        loop {
            if let Some(found) = find(&state) {
                return found;
            }
            let left = end.saturating_duration_since(Instant::now());
            let over = state.exit.is_some() && state.open_streams == 0;
            if over || left.is_zero() {
                drop(state);
                let why = if over { "can no longer come" } else { "did not come in time" };
                panic!("{what} {why} ({deadline:?})\n{}", self.dump());
            }
            state = self.news.changed.wait_timeout(state, left).unwrap_or_else(|e| e.into_inner()).0;
        }
    }

    /// The PID 1 behind `unshare`, once it has become the command (before that it has no handler at all, and as
    /// PID 1 would not even notice a signal).
    fn pid1(&self) -> libc::pid_t {
        let end = Instant::now() + DEADLINE;
        let children = format!("/proc/{0}/task/{0}/children", self.pid());
        loop {
            let child = std::fs::read_to_string(&children).ok().and_then(|pids| pids.split(' ').next()?.parse().ok());
            if let Some(pid) = child {
                let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                if !name.is_empty() && name.trim_end() != "unshare" {
                    return pid;
                }
            }
            assert!(self.exit().is_none() && Instant::now() < end, "no PID 1 behind unshare\n{}", self.dump());
            std::thread::sleep(Duration::from_millis(2)); // /proc tells no news: it has to be read again.
        }
    }

    fn text(&self, stream: Stream) -> String {
        self.state().lines.iter().filter(|line| line.stream == stream).fold(String::new(), |mut text, line| {
            text.push_str(&line.text);
            text.push('\n');
            text
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.news.lock()
    }
}

impl Proc {
    /// An app under graceful leads a group of its own. Each is killed by a pidfd that was opened while it was a child of the
    /// one above it, so that no other process is hit.
    fn end_tree(&self) -> std::io::Result<()> {
        let below = pidfds_below(self.pid());
        let killed = kill(-self.pid(), libc::SIGKILL);
        for pidfd in below {
            let (signal, info, flags) = (libc::SIGKILL, std::ptr::null::<libc::siginfo_t>(), 0);
            // SAFETY: a live descriptor; a null siginfo means as kill(2) would.
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, info, flags) };
        }
        killed
    }

    /// Kills PID 1 itself: --kill-child of `unshare` is lost when PID 1 changes its user (prctl(2), PR_SET_PDEATHSIG).
    /// A stopped `unshare` does not reap, so that the pid is PID 1's until it is killed.
    fn end_namespace(&self) -> std::io::Result<()> {
        kill(self.pid(), libc::SIGSTOP)?;
        for child in super::procfs::children(self.pid()) {
            let _ = kill(child, libc::SIGKILL);
        }
        kill(self.pid(), libc::SIGKILL)
    }
}

impl Drop for Proc {
    fn drop(&mut self) {
        // The child is not reaped yet, so both ids are still its own. An error means that nothing is left.
        let _ = match self.scope {
            Scope::Group => self.end_tree(),
            Scope::Child => kill(self.pid(), libc::SIGKILL),
            Scope::Namespace => self.end_namespace(),
        };
        let end = Instant::now() + DEADLINE;
        let mut state = self.state();
        while state.exit.is_none() && Instant::now() < end {
            state = self.news.changed.wait_timeout(state, DEADLINE).unwrap_or_else(|e| e.into_inner()).0;
        }
        let exited = state.exit.is_some();
        drop(state);
        if exited {
            let _ = self.child.wait();
        }
    }
}

/// What descends from this process.
fn pidfds_below(pid: libc::pid_t) -> Vec<OwnedFd> {
    let (mut found, mut parents) = (Vec::new(), vec![pid]);
    while let Some(parent) = parents.pop() {
        for child in super::procfs::children(parent) {
            // SAFETY: numbers in, a new descriptor out.
            let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, child, 0) };
            if fd >= 0 && super::procfs::children(parent).contains(&child) {
                // SAFETY: it is new, and nobody else's.
                found.push(unsafe { OwnedFd::from_raw_fd(fd as i32) });
                parents.push(child);
            }
        }
    }
    found
}

impl News {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|error| error.into_inner())
    }

    fn tell(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

/// kill(2) that refuses every target but one process (above 1) or one group (below -1).
pub(super) fn kill(target: libc::pid_t, signal: i32) -> std::io::Result<()> {
    assert!(!(-1..=1).contains(&target), "kill({target}) would hit everything");
    // SAFETY: kill(2) touches no memory; the target was checked.
    match unsafe { libc::kill(target, signal) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

fn read_lines(news: &Arc<News>, stream: Stream, pipe: impl Read + Send + 'static) {
    let news = Arc::clone(news);
    std::thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while matches!(pipe.read_until(b'\n', &mut line), Ok(1..)) {
            let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line)).into_owned();
            news.tell(|state| state.lines.push(Line { stream, at: Instant::now(), text }));
            line.clear();
        }
        news.tell(|state| state.open_streams -= 1);
    });
}

/// Waits for the exit without reaping. libc, not nix: nix has no name for a death by a real-time signal.
pub(super) fn watch_exit(pid: libc::pid_t, tell: impl FnOnce(Exit) + Send + 'static) {
    std::thread::spawn(move || {
        let exit = loop {
            // SAFETY: a siginfo_t of zeroes is valid, and waitid fills it.
            let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
            // SAFETY: info lives across the call; WNOWAIT leaves the child to be reaped by the Proc.
            let rc = unsafe { libc::waitid(libc::P_PID, pid as u32, &mut info, libc::WEXITED | libc::WNOWAIT) };
            if rc == 0 {
                // SAFETY: for a SIGCHLD info, which waitid makes, si_status is the field in use.
                let status = unsafe { info.si_status() };
                break if info.si_code == libc::CLD_EXITED { Exit::Code(status) } else { Exit::Signal(status) };
            }
            let error = std::io::Error::last_os_error();
            assert_eq!(error.raw_os_error(), Some(libc::EINTR), "waitid({pid}): {error}");
        };
        tell(exit);
    });
}

//! A terminal with a session of its own on it, driven as a person would: text is typed and output is waited for.
//!
//! Design: the test holds the master of a pseudo-terminal; the command leads a new session whose controlling terminal
//! is the slave, which is its stdin, stdout and stderr. Echo and output processing are off, so that output is what
//! programs wrote and nothing else. Output is consumed as it is waited for: each [`Terminal::expect`] looks behind
//! what the one before it found.

use std::io::Read as _;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::DEADLINE;
use super::process::{Exit, kill, watch_exit};

/// Ctrl-C, Ctrl-Z and Ctrl-\.
pub(crate) const CTRL_C: &str = "\x03";
pub(crate) const CTRL_Z: &str = "\x1a";
pub(crate) const CTRL_BACKSLASH: &str = "\x1c";

/// A process of the terminal's session.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) pid: i32,
    pub(crate) name: String,
    /// The letter of /proc/PID/stat: `T` is stopped.
    pub(crate) state: char,
    pub(crate) group: i32,
}

/// See the module's text. Dropped, it hangs up and kills whatever is left of the session.
pub(crate) struct Terminal {
    child: Child,
    /// The test's end; none after [`Terminal::hang_up`].
    master: Option<OwnedFd>,
    /// Closed, it ends the reading thread, which has the only other handle to the master.
    reading: Option<OwnedFd>,
    news: Arc<News>,
}

struct News {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    output: String,
    seen: usize,
    open: bool,
    exit: Option<Exit>,
}

impl Terminal {
    /// Starts the command as the leader of a new session on a new terminal of 24 lines and 80 columns.
    pub(crate) fn start(command: &mut Command) -> Terminal {
        Terminal::start_as(command, "dumb")
    }

    /// The same on a terminal of this kind.
    pub(crate) fn start_as(command: &mut Command, term: &str) -> Terminal {
        let (master, slave_end) = open_pty();
        quiet(&slave_end);
        let slave = || Stdio::from(slave_end.try_clone().expect("a descriptor"));
        command.stdin(slave()).stdout(slave()).stderr(slave()).env("TERM", term).env_remove("PROMPT_COMMAND");
        // SAFETY: system calls only, between fork and exec.
        unsafe {
            command.pre_exec(|| {
                if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        super::without_settings(command);
        super::default_signals();
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        // The command keeps clones of the slave for as long as it exists.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let state = State { output: String::new(), seen: 0, open: true, exit: None };
        let news = Arc::new(News { state: Mutex::new(state), changed: Condvar::new() });
        watch_exit(child.id() as i32, {
            let news = Arc::clone(&news);
            move |exit| news.tell(|state| state.exit = Some(exit))
        });
        let reading = read_output(&news, &master);
        let terminal = Terminal { child, master: Some(master), reading: Some(reading), news };
        terminal.resize(24, 80);
        terminal
    }

    /// An interactive bash with job control, whose prompt is `prompt> `.
    pub(crate) fn interactive_bash() -> Terminal {
        let mut bash = Command::new("bash");
        bash.args(["--norc", "--noprofile", "--noediting", "-i"]).env("PS1", "prompt> ").env_remove("HISTFILE");
        let terminal = Terminal::start(&mut bash);
        terminal.expect("prompt> ");
        terminal
    }

    /// A shell without job control that runs this script.
    pub(crate) fn script(script: &str) -> Terminal {
        Terminal::start(Command::new("sh").args(["-c", script]))
    }

    /// The session's leader.
    pub(crate) fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Types the text.
    #[track_caller]
    pub(crate) fn type_text(&self, text: &str) {
        let master = self.master();
        // SAFETY: a live buffer with its length.
        let count = unsafe { libc::write(master, text.as_ptr().cast(), text.len()) };
        assert_eq!(count, text.len() as isize, "typing {text:?}: {}", std::io::Error::last_os_error());
    }

    /// Types the text and Enter.
    #[track_caller]
    pub(crate) fn type_line(&self, line: &str) {
        self.type_text(&format!("{line}\n"));
    }

    /// Waits until the text is written, behind all that was waited for before; returns everything up to its end.
    #[track_caller]
    pub(crate) fn expect(&self, text: &str) -> String {
        self.expect_all(&[text])
    }

    /// The same for several texts, in whatever order they come: two processes write when they like.
    #[track_caller]
    pub(crate) fn expect_all(&self, texts: &[&str]) -> String {
        let end = Instant::now() + DEADLINE;
        let mut state = self.news.lock();
        loop {
            let unseen = &state.output[state.seen..];
            let ends = texts.iter().map(|text| unseen.find(text).map(|at| at + text.len()));
            if let Some(last) = ends.collect::<Option<Vec<usize>>>().and_then(|ends| ends.into_iter().max()) {
                let found = unseen[..last].to_owned();
                state.seen += last;
                return found;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || (!state.open && state.exit.is_some()) {
                drop(state);
                panic!("{texts:?} did not come\n{}", self.dump());
            }
            state = self.news.changed.wait_timeout(state, left).unwrap_or_else(|e| e.into_inner()).0;
        }
    }

    /// Types the line again and again until the text comes: for what a program does only when it is spoken to.
    #[track_caller]
    pub(crate) fn expect_typing_until(&self, line: &str, text: &str) {
        let end = Instant::now() + DEADLINE;
        while !self.output_unseen().contains(text) {
            assert!(Instant::now() < end, "{text:?} did not come\n{}", self.dump());
            self.type_line(line);
            std::thread::sleep(Duration::from_millis(50)); // Not so fast that the answers drown.
        }
        self.expect(text);
    }

    fn output_unseen(&self) -> String {
        let state = self.news.lock();
        state.output[state.seen..].to_owned()
    }

    /// All output so far.
    pub(crate) fn output(&self) -> String {
        self.news.lock().output.clone()
    }

    /// Waits for the end of the session's leader.
    #[track_caller]
    pub(crate) fn wait(&self) -> Exit {
        self.wait_for("end of the session's leader", |state| state.exit)
    }

    /// All output, once no process has the terminal open any more.
    #[track_caller]
    pub(crate) fn whole_output(&self) -> String {
        self.wait_for("end of the output", |state| (!state.open).then(|| state.output.clone()))
    }

    #[track_caller]
    fn wait_for<T>(&self, what: &str, look: impl Fn(&State) -> Option<T>) -> T {
        let end = Instant::now() + DEADLINE;
        let mut state = self.news.lock();
        loop {
            if let Some(found) = look(&state) {
                return found;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(state);
                panic!("no {what}\n{}", self.dump());
            }
            state = self.news.changed.wait_timeout(state, left).unwrap_or_else(|e| e.into_inner()).0;
        }
    }

    /// The process group that has the foreground.
    pub(crate) fn foreground(&self) -> i32 {
        // SAFETY: a live descriptor.
        unsafe { libc::tcgetpgrp(self.master()) }
    }

    /// Changes the window's size, which the kernel tells the foreground by SIGWINCH.
    pub(crate) fn resize(&self, lines: u16, columns: u16) {
        let size = libc::winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: a live descriptor, and a winsize that lives across the call.
        let rc = unsafe { libc::ioctl(self.master(), libc::TIOCSWINSZ, &raw const size) };
        assert_eq!(rc, 0, "TIOCSWINSZ: {}", std::io::Error::last_os_error());
    }

    /// Whether the terminal edits lines and turns keys into signals, as a shell leaves it (raw: it does not).
    pub(crate) fn is_cooked(&self) -> bool {
        use nix::sys::termios::{LocalFlags, tcgetattr};
        let master = self.master.as_ref().expect("not hung up");
        let flags = tcgetattr(master).expect("a terminal").local_flags;
        flags.contains(LocalFlags::ICANON | LocalFlags::ISIG)
    }

    /// Hangs up, as a closed window or a lost connection does.
    pub(crate) fn hang_up(&mut self) {
        self.reading = None;
        self.master = None;
    }

    /// Every process of the session.
    pub(crate) fn members(&self) -> Vec<Member> {
        let session = self.pid();
        let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
        entries.filter_map(|entry| member(entry.file_name().to_str()?.parse().ok()?, session)).collect()
    }

    /// Waits until the session has a process like this.
    #[track_caller]
    pub(crate) fn wait_member(&self, what: &str, like: impl Fn(&Member) -> bool) -> Member {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(found) = self.members().into_iter().find(&like) {
                return found;
            }
            assert!(Instant::now() < end, "no process that is {what}: {:?}\n{}", self.members(), self.dump());
            std::thread::sleep(Duration::from_millis(5)); // /proc tells no news: it has to be read again.
        }
    }

    /// All that is known, for the message of an assertion.
    pub(crate) fn dump(&self) -> String {
        let state = self.news.lock();
        let (seen, unseen) = state.output.split_at(state.seen);
        format!("--- seen\n{seen}\n--- not yet seen\n{unseen}\n--- {:?}\n{:?}", state.exit, self.members())
    }

    #[track_caller]
    fn master(&self) -> RawFd {
        self.master.as_ref().expect("not hung up").as_raw_fd()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.hang_up();
        let end = Instant::now() + DEADLINE;
        // The leader is not reaped yet, so its session's number belongs to nobody else. Several passes: one may fork.
        loop {
            let left: Vec<Member> = self.members().into_iter().filter(|member| member.state != 'Z').collect();
            if left.is_empty() || Instant::now() > end {
                break;
            }
            for member in left {
                let _ = kill(member.pid, libc::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        if self.news.lock().exit.is_some() || Instant::now() < end {
            let _ = self.child.wait();
        }
    }
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

fn quiet(slave: &OwnedFd) {
    use nix::sys::termios::{LocalFlags, OutputFlags, SetArg, tcgetattr, tcsetattr};
    let mut settings = tcgetattr(slave).expect("a terminal");
    settings.local_flags.remove(LocalFlags::ECHO);
    settings.output_flags.remove(OutputFlags::OPOST);
    tcsetattr(slave, SetArg::TCSANOW, &settings).expect("a terminal");
}

/// Master and slave. Both close on exec from the first moment on: a process that another test starts meanwhile must not
/// have the master, since a terminal hangs up when nobody holds it any more.
fn open_pty() -> (OwnedFd, OwnedFd) {
    let owned = |fd: RawFd| {
        assert!(fd >= 0, "a pseudo-terminal: {}", std::io::Error::last_os_error());
        // SAFETY: the descriptor is new and nobody else's.
        unsafe { OwnedFd::from_raw_fd(fd) }
    };
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: numbers only; the master is live when it is used.
    unsafe {
        let master = owned(libc::posix_openpt(flags));
        assert_eq!(libc::unlockpt(master.as_raw_fd()), 0);
        let slave = owned(libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags));
        (master, slave)
    }
}

/// Reads in a thread until the terminal ends or the descriptor that is returned is closed.
fn read_output(news: &Arc<News>, master: &OwnedFd) -> OwnedFd {
    let mut file = std::fs::File::from(master.try_clone().expect("a descriptor"));
    let mut ends = [0; 2];
    // SAFETY: writes two descriptors, which are then owned here.
    let (until, reading) = unsafe {
        assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0);
        (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))
    };
    let news = Arc::clone(news);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        let polled = |fd: RawFd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        loop {
            let mut fds = [polled(file.as_raw_fd()), polled(until.as_raw_fd())];
            // SAFETY: a live array with its length.
            unsafe { libc::poll(fds.as_mut_ptr(), 2, -1) };
            if fds[1].revents != 0 {
                break;
            }
            // EIO: no process has the terminal open any more.
            let Ok(count @ 1..) = file.read(&mut buffer) else { break };
            let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
            news.tell(|state| state.output.push_str(&text));
        }
        drop(file);
        news.tell(|state| state.open = false);
    });
    reading
}

fn member(pid: i32, session: i32) -> Option<Member> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    (fields.get(3)?.parse() == Ok(session)).then_some(Member {
        pid,
        name: name.to_owned(),
        state: fields[0].chars().next()?,
        group: fields[2].parse().ok()?,
    })
}

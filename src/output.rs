//! What graceful writes goes through a thread, because a write can block: a log reader may have stopped reading, a disk
//! may hang. The main loop only ever puts work into a queue, and at the end waits a bounded time for it.
//!
//! Lines and files have a thread each: a log that nobody reads must not keep the drain file or the report from being
//! written. Each is started by the first job that needs it. Where the kernel promises not to wait, which it does for
//! pipes, lines need none until one of them cannot be written at once: a start should neither wait for a thread nor
//! have one. From then on all go through the thread, in their order. If one cannot be started (no more processes
//! allowed), log lines are written directly when there is room for them, and files are tried directly.
//!
//! How files are opened, so that nothing is written or removed that is not graceful's, is the business of `files`.
//!
//! The queue of lines is bounded in bytes: what a flooding hook prints while nobody reads is dropped and counted.

use crate::files::{self, Made};
use crate::sys::{fds, in_words, signals};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Log lines waiting for a slow reader may take this many bytes.
const BACKLOG_MAX: usize = 1 << 20;
/// In bytes: enough for file operations and formatting.
const STACK: usize = 128 * 1024;

/// Makes a log line of a complaint.
pub type Complain = Box<dyn Fn(&str) -> String + Send + Sync>;

enum Line {
    Text(Vec<u8>),
    Flush(Sender<()>),
}

/// What the thread for files does. `option` names the culprit in a complaint.
enum Job {
    Write {
        option: &'static str,
        to: Sink,
        text: String,
    },
    /// Appends, unless the file would then be longer than `max`.
    Append {
        option: &'static str,
        to: Sink,
        text: String,
        max: u64,
        may_create: bool,
    },
    Create {
        option: &'static str,
        path: PathBuf,
    },
    /// Removes what `Create` has made under this path.
    Remove {
        option: &'static str,
        path: PathBuf,
    },
    Flush(Sender<()>),
}

/// Where a file's text goes.
pub enum Sink {
    /// The file of this path.
    Path(PathBuf),
    /// The path names a descriptor, which was kept open; this is a duplicate of it.
    Open(PathBuf, File),
}

/// What was made, until it is removed.
type AllMade = Arc<Mutex<Vec<Made>>>;

/// The handle of the thread that writes the log and the files.
pub struct Writer {
    made: AllMade,
    lines: Arc<Lines>,
    files: Thread<Job>,
}

/// The part that writes lines, for whoever logs, on whichever thread: nobody waits for anybody.
pub struct Lines {
    complain: Complain,
    /// Started by the first line that cannot be written at once.
    thread: Mutex<Thread<Line>>,
    backlog: Arc<AtomicUsize>,
    dropped: AtomicU64,
}

/// A thread that is started once; if that fails, it is not tried again.
enum Thread<T> {
    NotStarted,
    Runs(Sender<T>),
    Failed,
}

impl Writer {
    /// A writer; nothing is started yet.
    pub fn new(complain: Complain) -> Writer {
        Writer {
            made: AllMade::default(),
            lines: Arc::new(Lines {
                complain,
                thread: Mutex::new(Thread::NotStarted),
                backlog: Arc::default(),
                dropped: AtomicU64::new(0),
            }),
            files: Thread::NotStarted,
        }
    }

    /// The part that writes lines.
    pub fn lines(&self) -> &Arc<Lines> {
        &self.lines
    }

    /// Writes a line about something that went wrong.
    pub fn complain(&self, what: &str) {
        self.lines.complain(what);
    }

    /// Replaces a file's content. `option` is named if that fails.
    pub fn write(&mut self, option: &'static str, to: Sink, text: String) {
        self.hand_over(Job::Write { option, to, text });
    }

    /// Appends to a file, unless that made it longer than `max` bytes. If the file is not there, it is made, or with
    /// `may_create` false that is an error.
    pub fn append(&mut self, option: &'static str, to: Sink, text: String, max: u64, may_create: bool) {
        self.hand_over(Job::Append { option, to, text, max, may_create });
    }

    /// Creates an empty file where nothing is.
    pub fn create(&mut self, option: &'static str, path: &Path) {
        self.hand_over(Job::Create { option, path: path.to_owned() });
    }

    /// Removes what was created under this path, if anything was.
    pub fn remove(&mut self, option: &'static str, path: &Path) {
        self.hand_over(Job::Remove { option, path: path.to_owned() });
    }

    /// Waits until all is written: for the files and then for the lines, each this long at most.
    pub fn finish(&mut self, files: Duration, lines: Duration) {
        self.lines.own_up();
        // Files first, since a failure of theirs is one more line.
        self.files.flush(Job::Flush, files);
        self.lines.flush(lines);
    }

    fn hand_over(&mut self, job: Job) {
        if matches!(self.files, Thread::NotStarted) {
            // A complaint is a line: the thread that writes files must not wait for a log reader itself.
            self.lines.start(&mut self.lines.thread.lock().unwrap_or_else(PoisonError::into_inner));
            let (lines, made) = (Arc::clone(&self.lines), Arc::clone(&self.made));
            self.files = Thread::start("graceful-files", move |job| {
                if let Err(what) = perform(job, &made) {
                    lines.complain(&what.to_string());
                }
            });
        }
        // No thread: worth the risk of blocking, the files that matter come at the very end.
        if let Some(Err(what)) = self.files.send(job).map(|job| perform(job, &self.made)) {
            self.complain(&what.to_string());
        }
    }
}

impl Lines {
    /// Whether there is room for a line that is not about the stop itself; half of the queue is kept for those that
    /// are.
    pub fn has_room(&self) -> bool {
        self.backlog.load(Ordering::Relaxed) < BACKLOG_MAX / 2
    }

    /// Counts a line that was not even made because there was no room for it.
    pub fn lose_line(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes a line to standard error.
    pub fn line(&self, mut line: String) {
        line.push('\n');
        if self.backlog.fetch_add(line.len(), Ordering::Relaxed) + line.len() > BACKLOG_MAX {
            self.backlog.fetch_sub(line.len(), Ordering::Relaxed);
            return self.lose_line();
        }
        self.own_up();
        self.hand_over(line);
    }

    /// Writes a line about something that went wrong.
    fn complain(&self, what: &str) {
        self.line((self.complain)(what));
    }

    /// Writes how many lines were dropped since that was last written.
    fn own_up(&self) {
        let lost = self.dropped.load(Ordering::Relaxed);
        // Somebody else who writes it at the same time has taken them.
        if lost > 0 && self.dropped.compare_exchange(lost, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let mut notice = (self.complain)(&format!("{lost} log lines dropped: standard error was not read"));
            notice.push('\n');
            self.backlog.fetch_add(notice.len(), Ordering::Relaxed);
            self.hand_over(notice);
        }
    }

    fn hand_over(&self, line: String) {
        let mut line = line.into_bytes();
        // Nothing blocks that is done under the lock; it keeps one line's parts together, and all in their order.
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*thread, Thread::NotStarted) {
            let written = fds::write_at_once(io::stderr(), &line);
            self.backlog.fetch_sub(written, Ordering::Relaxed);
            if written == line.len() {
                return;
            }
            line.drain(..written);
        }
        self.start(&mut thread);
        if let Some(Line::Text(line)) = thread.send(Line::Text(line)) {
            self.backlog.fetch_sub(line.len(), Ordering::Relaxed);
            if !fds::write_if_room(io::stderr(), &line) {
                self.lose_line();
            }
        }
    }

    fn start(&self, thread: &mut Thread<Line>) {
        if matches!(thread, Thread::NotStarted) {
            let backlog = Arc::clone(&self.backlog);
            *thread = Thread::start("graceful-log", move |line| match line {
                Line::Text(text) => {
                    // Nobody is left to whom a failure could be reported.
                    _ = fds::write_all(io::stderr(), &text);
                    backlog.fetch_sub(text.len(), Ordering::Relaxed);
                }
                Line::Flush(done) => _ = done.send(()),
            });
        }
    }

    fn flush(&self, at_most: Duration) {
        let (done, wait) = channel();
        let refused = self.thread.lock().unwrap_or_else(PoisonError::into_inner).send(Line::Flush(done));
        if refused.is_none() {
            _ = wait.recv_timeout(at_most);
        }
    }
}

impl<T: Send + 'static> Thread<T> {
    fn start(name: &str, mut body: impl FnMut(T) + Send + 'static) -> Thread<T> {
        let (sender, jobs) = channel();
        match signals::start_thread(name, STACK, move || jobs.into_iter().for_each(&mut body)) {
            Ok(_) => Thread::Runs(sender),
            Err(_) => Thread::Failed,
        }
    }

    /// Gives the job back where there is no thread for it.
    fn send(&self, job: T) -> Option<T> {
        match self {
            Thread::Runs(sender) => sender.send(job).err().map(|refused| refused.0),
            Thread::NotStarted | Thread::Failed => Some(job),
        }
    }

    fn flush(&self, job: fn(Sender<()>) -> T, at_most: Duration) {
        let (done, wait) = channel();
        if self.send(job(done)).is_none() {
            _ = wait.recv_timeout(at_most);
        }
    }
}

/// What could not be done to the file of an option.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {option} {}: {}", .path.display(), in_words(.error))]
struct FileError {
    verb: &'static str,
    option: &'static str,
    path: PathBuf,
    error: io::Error,
}

fn perform(job: Job, made: &AllMade) -> Result<(), FileError> {
    let named = |option: &'static str, path: &Path, verb: &'static str, result: io::Result<()>| {
        result.map_err(|error| FileError { verb, option, path: path.to_owned(), error })
    };
    match job {
        Job::Write { option, to, text } => {
            let written = match &to {
                Sink::Path(path) => files::replace(path, text.as_bytes()),
                Sink::Open(_, file) => files::write_to(file, text.as_bytes()),
            };
            named(option, to.path(), "write", written)
        }
        Job::Append { option, to, text, max, may_create } => {
            let written = match &to {
                Sink::Path(path) => files::append(path, text.as_bytes(), max, may_create),
                Sink::Open(_, file) => files::write_to(file, text.as_bytes()),
            };
            named(option, to.path(), "write", written)
        }
        Job::Create { option, path } => {
            let created = files::create(&path).map(|new| all(made).push(new));
            named(option, &path, "create", created)
        }
        Job::Remove { option, path } => {
            let own = all(made).extract_if(.., |made| made.path() == path).next();
            named(option, &path, "remove", own.map_or(Ok(()), Made::remove))
        }
        Job::Flush(done) => {
            _ = done.send(());
            Ok(())
        }
    }
}

fn all(made: &AllMade) -> std::sync::MutexGuard<'_, Vec<Made>> {
    made.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sink {
    fn path(&self) -> &Path {
        let (Sink::Path(path) | Sink::Open(path, _)) = self;
        path
    }
}

//! Everything that graceful writes goes through a thread, because every write can block: a log reader may have stopped
//! reading, a disk may hang. The main loop only ever puts work into a queue, and at the end waits a bounded time for it.
//!
//! Lines and files have a thread each: a log that nobody reads must not keep the drain file or the report from being
//! written. Each is started by its first job, so that a silent graceful has none. If one cannot be started (no more
//! processes allowed), log lines are written directly when there is room for them, and files are tried directly.
//!
//! How files are opened, so that nothing is written or removed that is not graceful's, is the business of `files`.
//!
//! The queue of lines is bounded in bytes: what a flooding hook prints while nobody reads is dropped and counted.

use crate::files::{self, Made};
use crate::sys::{fds, in_words};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Log lines waiting for a slow reader may take this much memory.
const BACKLOG_MAX: usize = 1 << 20;
/// Enough for file operations and formatting.
const STACK: usize = 128 * 1024;
const STDERR: i32 = 2;

/// Makes a log line of a complaint.
pub type Complain = Box<dyn Fn(&str) -> String + Send + Sync>;

#[derive(Clone)]
enum Line {
    Text(String),
    Flush(Sender<()>),
}

/// `option` names the culprit in a complaint.
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
    /// What `Create` has made under this path.
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
    /// What the path names is a descriptor, which was kept open; a duplicate of it.
    Open(PathBuf, File),
}

/// What was made, until it is removed.
type AllMade = Arc<Mutex<Vec<Made>>>;

/// See the module's text.
pub struct Scribe {
    made: AllMade,
    complain: Arc<Complain>,
    lines: Thread<Line>,
    files: Thread<Job>,
    backlog: Arc<AtomicUsize>,
    dropped: u64,
}

/// Started once; it is not tried again where that failed.
#[derive(Clone)]
enum Thread<T> {
    NotStarted,
    Runs(Sender<T>),
    Failed,
}

impl Scribe {
    /// Nothing is started yet.
    pub fn new(complain: Complain) -> Scribe {
        Scribe {
            made: AllMade::default(),
            complain: Arc::new(complain),
            lines: Thread::NotStarted,
            files: Thread::NotStarted,
            backlog: Arc::default(),
            dropped: 0,
        }
    }

    /// Whether there is room for a line that is not graceful's own; half of the queue is kept for those that are.
    pub fn has_room(&self) -> bool {
        self.backlog.load(Ordering::Relaxed) < BACKLOG_MAX / 2
    }

    /// Counts a line that was not even made because there was no room for it.
    pub fn lose_line(&mut self) {
        self.dropped += 1;
    }

    /// Writes a line to standard error.
    pub fn line(&mut self, mut line: String) {
        line.push('\n');
        if self.backlog.fetch_add(line.len(), Ordering::Relaxed) + line.len() > BACKLOG_MAX {
            self.backlog.fetch_sub(line.len(), Ordering::Relaxed);
            self.dropped += 1;
            return;
        }
        self.own_up();
        self.hand_over_line(line);
    }

    /// Says how many lines were dropped since it was last said.
    fn own_up(&mut self) {
        if self.dropped > 0 {
            let lost = std::mem::take(&mut self.dropped);
            let mut notice = (self.complain)(&format!("{lost} log lines dropped, standard error was not read"));
            notice.push('\n');
            self.backlog.fetch_add(notice.len(), Ordering::Relaxed);
            self.hand_over_line(notice);
        }
    }

    /// Replaces a file's content. `option` is named if that fails.
    pub fn write(&mut self, option: &'static str, to: Sink, text: String) {
        self.hand_over(Job::Write { option, to, text });
    }

    /// Appends to a file, unless that made it longer than `max` bytes. If it is not there it is made, or that is an error.
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

    /// Waits until all is written: for the files and then for the lines, each so long at most.
    pub fn finish(&mut self, files: Duration, lines: Duration) {
        self.own_up();
        // Files first, since a failure of theirs is one more line.
        self.files.flush(Job::Flush, files);
        self.lines.flush(Line::Flush, lines);
    }

    fn hand_over_line(&mut self, line: String) {
        self.start_lines();
        if let Some(Line::Text(line)) = self.lines.send(Line::Text(line)) {
            self.backlog.fetch_sub(line.len(), Ordering::Relaxed);
            self.dropped += u64::from(!fds::write_if_room(STDERR, line.as_bytes()));
        }
    }

    fn start_lines(&mut self) {
        if matches!(self.lines, Thread::NotStarted) {
            let backlog = Arc::clone(&self.backlog);
            self.lines = Thread::start("graceful-log", move |line| match line {
                Line::Text(text) => {
                    // Nobody is left to tell of a failure.
                    _ = fds::write_all(STDERR, text.as_bytes());
                    backlog.fetch_sub(text.len(), Ordering::Relaxed);
                }
                Line::Flush(done) => _ = done.send(()),
            });
        }
    }

    fn hand_over(&mut self, job: Job) {
        if matches!(self.files, Thread::NotStarted) {
            // A complaint is a line: the thread that writes files must not wait for a log reader itself.
            self.start_lines();
            let (lines, complain) = (self.lines.clone(), Arc::clone(&self.complain));
            let (backlog, made) = (Arc::clone(&self.backlog), Arc::clone(&self.made));
            self.files = Thread::start("graceful-files", move |job| {
                if let Err(what) = perform(job, &made) {
                    let line = format!("{}\n", complain(&what));
                    backlog.fetch_add(line.len(), Ordering::Relaxed);
                    lines.send(Line::Text(line));
                }
            });
        }
        // No thread: worth the risk of blocking, the files that matter come at the very end.
        if let Some(Err(what)) = self.files.send(job).map(|job| perform(job, &self.made)) {
            self.line((self.complain)(&what));
        }
    }
}

impl<T: Send + 'static> Thread<T> {
    fn start(name: &str, mut body: impl FnMut(T) + Send + 'static) -> Thread<T> {
        let (sender, jobs) = channel();
        let thread = thread::Builder::new().name(name.to_owned()).stack_size(STACK);
        match thread.spawn(move || jobs.into_iter().for_each(&mut body)) {
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

fn perform(job: Job, made: &AllMade) -> Result<(), String> {
    let named = |option: &str, path: &Path, verb: &str, result: io::Result<()>| {
        result.map_err(|error| format!("cannot {verb} {option} {}: {}", path.display(), in_words(&error)))
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

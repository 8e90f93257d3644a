//! Everything that graceful writes goes through a thread, because every write can block: a log reader may have stopped
//! reading, a disk may hang. The main loop only ever puts work into a queue, and at the end waits a bounded time for it.
//!
//! Lines and files have a thread each: a log that nobody reads must not keep the drain file or the report from being
//! written. Each is started by its first job, so that a silent graceful has none. If one cannot be started (no more
//! processes allowed), log lines are written directly when there is room for them, and files are tried directly.
//!
//! The queue of lines is bounded in bytes: what a flooding hook prints while nobody reads is dropped and counted.

use crate::sys::fds;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
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
        path: PathBuf,
        text: String,
    },
    /// Appends, unless the file would then be longer than `max`.
    Append {
        option: &'static str,
        path: PathBuf,
        text: String,
        max: u64,
    },
    Create {
        option: &'static str,
        path: PathBuf,
    },
    Remove {
        option: &'static str,
        path: PathBuf,
    },
    Flush(Sender<()>),
}

/// See the module's text.
pub struct Scribe {
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
    pub fn write(&mut self, option: &'static str, path: &Path, text: String) {
        self.hand_over(Job::Write { option, path: path.to_owned(), text });
    }

    /// Appends to a file, unless that made it longer than `max` bytes.
    pub fn append(&mut self, option: &'static str, path: &Path, text: String, max: u64) {
        self.hand_over(Job::Append { option, path: path.to_owned(), text, max });
    }

    /// Creates an empty file.
    pub fn create(&mut self, option: &'static str, path: &Path) {
        self.hand_over(Job::Create { option, path: path.to_owned() });
    }

    /// Removes a file, if it is there.
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
            fds::write_if_room(STDERR, line.as_bytes());
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
            let backlog = Arc::clone(&self.backlog);
            self.files = Thread::start("graceful-files", move |job| {
                if let Err(what) = perform(job) {
                    let line = format!("{}\n", complain(&what));
                    backlog.fetch_add(line.len(), Ordering::Relaxed);
                    lines.send(Line::Text(line));
                }
            });
        }
        // No thread: worth the risk of blocking, the files that matter come at the very end.
        if let Some(Err(what)) = self.files.send(job).map(perform) {
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

fn perform(job: Job) -> Result<(), String> {
    let named = |option: &str, path: &Path, verb: &str, result: io::Result<()>| {
        result.map_err(|error| format!("cannot {verb} {option} {}: {error}", path.display()))
    };
    match job {
        Job::Write { option, path, text } => named(option, &path, "write", write(&path, text.as_bytes())),
        Job::Append { option, path, text, max } => named(option, &path, "write", append(&path, text.as_bytes(), max)),
        Job::Create { option, path } => named(option, &path, "create", write(&path, b"")),
        Job::Remove { option, path } => named(option, &path, "remove", remove(&path)),
        Job::Flush(done) => {
            _ = done.send(());
            Ok(())
        }
    }
}

/// Removes a file; one that is not there is no error.
pub fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Without O_NONBLOCK the open of a FIFO would wait for its reader.
fn options() -> std::fs::OpenOptions {
    let mut options = File::options();
    options.write(true).create(true).mode(0o644).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    options
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = options().truncate(true).open(path)?;
    fds::write_all(file.as_raw_fd(), bytes)
}

fn append(path: &Path, bytes: &[u8], max: u64) -> io::Result<()> {
    let mut file = options().read(true).truncate(false).open(path)?;
    let end = file.seek(SeekFrom::End(0)).unwrap_or(0);
    if end + bytes.len() as u64 > max {
        return Ok(());
    }
    if end > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            fds::write_all(file.as_raw_fd(), b"\n")?;
        }
    }
    fds::write_all(file.as_raw_fd(), bytes)
}

//! Clock, pipes and /proc: what the figures are read from.

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// CLOCK_MONOTONIC in nanoseconds: the same clock in every process, so that two of them can be compared.
pub(crate) fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec of this frame.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Microseconds from one reading of [`now`] to a later one.
pub(crate) fn micros(from: u64, to: u64) -> f64 {
    (to as f64 - from as f64) / 1000.0
}

/// What the app under the init writes to its stdout: readings of [`now`].
pub(crate) fn read_stamp(from: &mut ChildStdout) -> Result<u64, String> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes).map_err(|error| format!("the app under it did not answer: {error}"))?;
    Ok(u64::from_ne_bytes(bytes))
}

/// An init with an app below that talks to us over its stdin and stdout.
pub(crate) struct Running {
    child: Child,
    to_app: Option<ChildStdin>,
    from_app: ChildStdout,
}

impl Running {
    /// Starts it and waits until the app says that it is up.
    pub(crate) fn start(mut command: Command) -> Result<Running, String> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("cannot be started: {error}"))?;
        let to_app = child.stdin.take();
        let from_app = child.stdout.take().ok_or("no pipe from the app")?;
        let mut running = Running { child, to_app, from_app };
        running.stamp()?;
        Ok(running)
    }

    /// The process that we started: the init, or `unshare` when in a namespace.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next stamp of the app.
    pub(crate) fn stamp(&mut self) -> Result<u64, String> {
        read_stamp(&mut self.from_app)
    }

    /// Tells the app to go on.
    pub(crate) fn go(&mut self) -> Result<(), String> {
        let pipe = self.to_app.as_mut().ok_or("no pipe to the app")?;
        pipe.write_all(b"!").map_err(|error| format!("the app under it does not read: {error}"))
    }

    /// Closes the app's stdin and waits for the end of what we started; the time of that.
    pub(crate) fn wait(&mut self) -> Result<u64, String> {
        drop(self.to_app.take());
        self.child.wait().map_err(|error| format!("cannot be waited for: {error}"))?;
        Ok(now())
    }

    /// Waits without a word to the app.
    pub(crate) fn wait_only(&mut self) -> Result<u64, String> {
        let pipe = self.to_app.take();
        let end = self.wait();
        drop(pipe);
        end
    }

    /// Sends a signal to the process that we started.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), String> {
        send(self.pid(), signal)
    }
}

impl Drop for Running {
    /// Ends the app first, so that no init that dies before its app leaves it behind.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            end_app_of(self.pid());
            let _ = self.child.wait();
        }
    }
}

/// Sends a signal to one process.
pub(crate) fn send(pid: u32, signal: Signal) -> Result<(), String> {
    if pid <= 1 {
        return Err(format!("refused to send {signal} to process {pid}"));
    }
    kill(Pid::from_raw(pid as i32), signal).map_err(|error| format!("cannot send {signal} to it: {error}"))
}

/// Kills the only child of an init, or the init itself if it has none: either way it ends.
pub(crate) fn end_app_of(init: u32) {
    match children(init).as_deref() {
        Ok([app, ..]) => drop(send(*app, Signal::SIGKILL)),
        _ => drop(send(init, Signal::SIGKILL)),
    }
}

/// The children of a process with one thread.
pub(crate) fn children(pid: u32) -> Result<Vec<u32>, String> {
    let text = read(&format!("/proc/{pid}/task/{pid}/children"))?;
    Ok(text.split_whitespace().filter_map(|word| word.parse().ok()).collect())
}

/// CPU time of all threads in nanoseconds; exact for a thread that sleeps.
pub(crate) fn cpu_nanos(pid: u32) -> Result<u64, String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).map_err(|error| format!("/proc/{pid}/task: {error}"))?;
    tasks.flatten().try_fold(0, |sum, task| {
        let path = task.path().join("schedstat").display().to_string();
        let text = read(&path)?;
        let nanos = text.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
        Ok(sum + nanos.ok_or_else(|| format!("{path}: expected a number, found `{}`", text.trim()))?)
    })
}

/// The number after `key:` in a file of /proc/PID, `status` or `smaps_rollup` for instance.
pub(crate) fn field(pid: u32, file: &str, key: &str) -> Result<u64, String> {
    let path = format!("/proc/{pid}/{file}");
    let text = read(&path)?;
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let number = value.and_then(|value| value.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| format!("{path}: no number for {key}"))
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}

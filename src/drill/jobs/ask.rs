//! One run of a command of the user's, `--submit`, `--done` or `--queued`: its standard output, or why there is none.
//!
//! It runs through /bin/sh in a process group of its own, without the app's environment being touched. It has a deadline and
//! a limit for what it prints; whoever passes one gets SIGKILL. The caller reaps, since wait(2) has one owner, and tells.

use crate::pid::Pid;
use crate::signal::Signal;
use crate::status::ExitStatus;
use crate::sys::fds::{self, Read};
use crate::sys::signals::Inherited;
use crate::sys::spawn::{self, SpawnSpec};
use crate::sys::{in_words, process};
use crate::timeline::text::{human, printable};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// More than the ids of a million jobs.
pub(super) const OUTPUT_MAX: usize = 64 * 1024 * 1024;
/// So much of the end of standard error is kept.
const ERRORS_KEPT: usize = 2048;
/// At most this many of its last lines are shown.
const LINES_SHOWN: usize = 3;
/// A pipe's size (pipe(7)): what is read at once.
const PIECE: usize = 64 * 1024;

/// A command that runs.
#[derive(Debug)]
pub(super) struct Ask {
    /// Its option, for messages.
    option: &'static str,
    pid: Pid,
    started: Instant,
    patience: Duration,
    output: Option<OwnedFd>,
    errors: Option<OwnedFd>,
    printed: Vec<u8>,
    complaints: Vec<u8>,
    ended: Option<ExitStatus>,
}

impl Ask {
    /// Starts it.
    ///
    /// # Errors
    /// No process could be made; in words.
    pub(super) fn start(
        option: &'static str,
        text: &str,
        patience: Duration,
        inherited: Inherited,
    ) -> Result<Ask, String> {
        let failed = |error: &std::io::Error| format!("--{option}: cannot be started: {}", in_words(error));
        let (output, output_end) = fds::output_pipe().map_err(|error| failed(&error))?;
        let (errors, errors_end) = fds::output_pipe().map_err(|error| failed(&error))?;
        let text = CString::new(text).map_err(|_| format!("--{option}: a zero byte in it"))?;
        let command = SpawnSpec {
            argv: &[c"/bin/sh".to_owned(), c"-c".to_owned(), text],
            env: None,
            added: &[],
            inherited,
            output: Some(output_end.as_fd()),
            errors: Some(errors_end.as_fd()),
            dir: None,
            own_group: true,
            // Nobody is to go on submitting jobs when the drill is gone.
            parent_death_signal: Some(Signal::KILL),
        };
        let pid = spawn::spawn(&command).map_err(|error| match error {
            spawn::Error::Fork(error) | spawn::Error::Exec(error) => failed(&error),
            spawn::Error::Format(_, format) => format!("--{option}: /bin/sh: {}", format.why()),
        })?;
        Ok(Ask {
            option,
            pid,
            started: Instant::now(),
            patience,
            output: Some(output),
            errors: Some(errors),
            printed: Vec::new(),
            complaints: Vec::new(),
            ended: None,
        })
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// It was reaped.
    pub(super) fn reaped(&mut self, status: ExitStatus) {
        self.ended = Some(status);
    }

    /// Reads what is there. When it is over: its standard output, or why there is none that counts.
    pub(super) fn look(&mut self, now: Instant) -> Option<Result<Vec<u8>, String>> {
        // What was written before the end is there after it; what its background processes write later is not waited for.
        let ended = self.ended;
        self.read();
        let took = now.saturating_duration_since(self.started);
        let fault = if self.printed.len() > OUTPUT_MAX {
            format!("it prints more than {} MiB", OUTPUT_MAX >> 20)
        } else {
            match ended {
                Some(ExitStatus::Exited(0)) => return Some(Ok(std::mem::take(&mut self.printed))),
                Some(ExitStatus::Exited(code)) => format!("it failed with exit status {code}"),
                Some(status) => format!("it was {status}"),
                None if took >= self.patience => {
                    format!("it did not end within {} (--timeout)", human(self.patience))
                }
                None => return None,
            }
        };
        self.kill();
        Some(Err(self.told(&fault)))
    }

    fn read(&mut self) {
        let mut buffer = vec![0; PIECE];
        while let Some(pipe) = &self.output {
            match fds::read(pipe, &mut buffer) {
                Read::Bytes(count) => self.printed.extend_from_slice(buffer.get(..count).unwrap_or_default()),
                Read::Nothing => break,
                Read::End => self.output = None,
            }
            // A flood is read in turns: the deadline is to be seen.
            if self.printed.len() > OUTPUT_MAX || self.started.elapsed() > self.patience {
                break;
            }
        }
        for _ in 0..16 {
            let Some(pipe) = &self.errors else { break };
            match fds::read(pipe, &mut buffer) {
                Read::Bytes(count) => {
                    self.complaints.extend_from_slice(buffer.get(..count).unwrap_or_default());
                    let excess = self.complaints.len().saturating_sub(ERRORS_KEPT);
                    self.complaints.drain(..excess);
                }
                Read::Nothing => break,
                Read::End => self.errors = None,
            }
        }
    }

    /// The reason, with what it said on standard error last.
    fn told(&self, why: &str) -> String {
        let text = String::from_utf8_lossy(&self.complaints);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let last = lines.get(lines.len().saturating_sub(LINES_SHOWN)..).unwrap_or_default().join(" / ");
        let said = if last.is_empty() { String::new() } else { format!("; it said: {}", printable(&last)) };
        format!("--{}: {why}{said}", self.option)
    }

    /// It, and what it has started in its group.
    fn kill(&self) {
        if self.ended.is_none() {
            _ = process::signal_group(self.pid, Signal::KILL);
        }
    }
}

impl Drop for Ask {
    fn drop(&mut self) {
        self.kill();
    }
}

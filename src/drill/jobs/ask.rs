//! One run of a command of the user's, `--submit`, `--done` or `--queued`: its standard output, or why there is none.
//!
//! It runs through /bin/sh in a process group of its own, with the drill's own environment. It has a deadline and a
//! limit for what it prints; a run that exceeds one gets SIGKILL. The caller reaps, since wait(2) has one owner, and
//! passes the end on.

use crate::pid::Pid;
use crate::reason::Reason;
use crate::signal::Signal;
use crate::status::ExitStatus;
use crate::sys::fds::{self, Read};
use crate::sys::signals::Inherited;
use crate::sys::spawn::{self, SpawnSpec};
use crate::sys::{in_words, process};
use crate::timeline::text::{human, printable};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// More than the ids of a million jobs.
pub(super) const OUTPUT_MAX: usize = 64 * 1024 * 1024;
/// How many bytes of the end of standard error are kept.
const ERRORS_KEPT: usize = 2048;
/// At most this many of its last lines are shown.
const LINES_SHOWN: usize = 3;
/// The size of a pipe in bytes (pipe(7)): what one read takes.
const PIECE: usize = 64 * 1024;

/// Why a run of a command came to nothing.
#[derive(Debug, thiserror::Error)]
#[error("--{option}: {fault}{}", .said.as_ref().map(|said| format!("; it said: {said}")).unwrap_or_default())]
pub(super) struct AskError {
    option: &'static str,
    fault: AskFault,
    /// What it wrote to standard error last.
    said: Option<String>,
}

/// What is wrong with the run.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskFault {
    #[error("cannot be started: {}", in_words(.0))]
    NotStarted(io::Error),
    #[error("it has a zero byte in it")]
    ZeroByte,
    /// This machine's shell is not a program.
    #[error("/bin/sh: {0}")]
    Shell(String),
    #[error("it prints more than {} MiB", OUTPUT_MAX >> 20)]
    TooMuch,
    #[error("{}", ended(*.0))]
    Ended(ExitStatus),
    #[error("it did not end within {} (--timeout)", human(*.0))]
    Late(Duration),
    /// What it printed is not the ids that were asked for.
    #[error(transparent)]
    Ids(Reason),
}

impl AskError {
    /// A fault of a run of this option's command, without anything from its standard error.
    pub(super) fn new(option: &'static str, fault: AskFault) -> AskError {
        AskError { option, fault, said: None }
    }
}

fn ended(status: ExitStatus) -> String {
    match status {
        ExitStatus::Exited(code) => format!("it failed with exit status {code}"),
        status => format!("it was {status}"),
    }
}

/// A command that is running.
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
    /// Starts the command, which may take as long as `patience`.
    ///
    /// # Errors
    /// No process can be made, or the command has a zero byte in it.
    pub(super) fn start(
        option: &'static str,
        text: &str,
        patience: Duration,
        inherited: Inherited,
    ) -> Result<Ask, AskError> {
        let failed = |error: io::Error| AskError::new(option, AskFault::NotStarted(error));
        let (output, output_end) = fds::output_pipe().map_err(failed)?;
        let (errors, errors_end) = fds::output_pipe().map_err(failed)?;
        let text = CString::new(text).map_err(|_| AskError::new(option, AskFault::ZeroByte))?;
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
            sockets: None,
        };
        let pid = spawn::spawn(&command).map_err(|error| match error {
            spawn::Error::Fork(error) | spawn::Error::Exec(error) => failed(error),
            spawn::Error::Format(_, format) => AskError::new(option, AskFault::Shell(format.why())),
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

    /// Notes that it was reaped, with this status.
    pub(super) fn reaped(&mut self, status: ExitStatus) {
        self.ended = Some(status);
    }

    /// Reads what is there. Once the run is over: its standard output, or why it does not count.
    pub(super) fn look(&mut self, now: Instant) -> Option<Result<Vec<u8>, AskError>> {
        // What it wrote before its end is there after it; what its background processes write later does not count.
        let ended = self.ended;
        self.read();
        let took = now.saturating_duration_since(self.started);
        let fault = if self.printed.len() > OUTPUT_MAX {
            AskFault::TooMuch
        } else {
            match ended {
                Some(ExitStatus::Exited(0)) => return Some(Ok(std::mem::take(&mut self.printed))),
                Some(status) => AskFault::Ended(status),
                None if took >= self.patience => AskFault::Late(self.patience),
                None => return None,
            }
        };
        self.kill();
        Some(Err(AskError { option: self.option, fault, said: self.last_words() }))
    }

    fn read(&mut self) {
        let mut buffer = vec![0; PIECE];
        while let Some(pipe) = &self.output {
            match fds::read(pipe, &mut buffer) {
                Read::Bytes(count) => self.printed.extend_from_slice(buffer.get(..count).unwrap_or_default()),
                Read::Nothing => break,
                Read::End => self.output = None,
            }
            // A flood is read piece by piece, so that the deadline is noticed.
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

    /// What it said on standard error last.
    fn last_words(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.complaints);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let last = lines.get(lines.len().saturating_sub(LINES_SHOWN)..).unwrap_or_default().join(" / ");
        (!last.is_empty()).then(|| printable(&last).into_owned())
    }

    /// Kills it, and what it has started in its group.
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

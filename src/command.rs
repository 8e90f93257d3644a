//! One command that graceful runs for its own ends (a hook, a hold check): its output comes line by line, and it can be
//! ended with its whole tree.
//!
//! It runs in a process group of its own, with /dev/null as standard input, in the directory that graceful was started
//! in, with graceful's environment and what the caller adds.

use crate::pid::Pid;
use crate::signal::Signal;
use crate::sys::fds::{self, Read};
use crate::sys::reap::Children;
use crate::sys::signals::Inherited;
use crate::sys::{process, spawn, tree};
use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::rc::Rc;

/// In bytes. A longer line is cut into pieces.
const LINE_MAX: usize = 8 * 1024;
/// At most this many bytes are read in one turn of the main loop, so that a flood of output makes no deadline late.
const READ_MAX: usize = 1024;
/// The most bytes that a pipe holds (pipe(7)): to be read when the command has ended.
const PIPE_SIZE: usize = 64 * 1024;

/// What every command needs to know about how graceful was started.
#[derive(Debug)]
pub struct LaunchContext {
    /// The signal state for children.
    pub inherited: Inherited,
    /// The directory that graceful was started in.
    pub dir: Option<CString>,
    /// Notes every command that is started.
    pub children: Rc<Children>,
}

/// A command that runs.
#[derive(Debug)]
pub struct Running {
    pid: Pid,
    output: Option<OwnedFd>,
    partial: Vec<u8>,
}

impl Running {
    /// Starts it. Whether its file exists shows later, as an exit with 127 or 126.
    pub fn start(argv: &[String], env: &[(&str, String)], origin: &LaunchContext) -> io::Result<Running> {
        let argv = argv.iter().map(|part| CString::new(part.as_str())).collect::<Result<Vec<_>, _>>()?;
        let env = environment(env)?;
        let (read, write) = fds::output_pipe()?;
        let command = spawn::SpawnSpec {
            argv: &argv,
            env: Some(&env),
            added: &[],
            inherited: origin.inherited,
            output: Some(write.as_fd()),
            errors: None,
            dir: origin.dir.as_deref(),
            own_group: true,
            parent_death_signal: None,
            sockets: None,
        };
        match spawn::fork(&command) {
            Ok(pid) => {
                origin.children.forked();
                Ok(Running { pid, output: Some(read), partial: Vec::new() })
            }
            Err(spawn::Error::Fork(error) | spawn::Error::Exec(error)) => Err(error),
            Err(spawn::Error::Format(_, format)) => Err(io::Error::other(format.why())),
        }
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// What to poll for its output.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.output.as_ref().map(AsFd::as_fd)
    }

    /// Takes the complete lines that are there, some at a time.
    pub fn lines(&mut self) -> Vec<String> {
        self.read(READ_MAX)
    }

    fn read(&mut self, most: usize) -> Vec<String> {
        let mut lines = Vec::new();
        let mut buffer = [0; READ_MAX];
        for _ in 0..most / READ_MAX {
            let Some(output) = &self.output else { break };
            match fds::read(output, &mut buffer) {
                Read::Bytes(count) => self.split(&buffer[..count.min(buffer.len())], &mut lines),
                Read::Nothing => break,
                Read::End => self.output = None,
            }
        }
        lines
    }

    fn split(&mut self, bytes: &[u8], lines: &mut Vec<String>) {
        for byte in bytes {
            if *byte != b'\n' {
                self.partial.push(*byte);
            }
            if *byte == b'\n' || self.partial.len() == LINE_MAX {
                lines.push(String::from_utf8_lossy(&self.partial).trim_end_matches('\r').to_owned());
                self.partial.clear();
            }
        }
    }

    /// It was reaped: returns the rest of its output, the last line even without its end.
    pub fn finish(mut self) -> Vec<String> {
        let mut lines = self.read(PIPE_SIZE);
        if !self.partial.is_empty() {
            lines.push(String::from_utf8_lossy(&self.partial).into_owned());
        }
        lines
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        // It may have ended and not been reaped yet.
        _ = process::signal_child(self.pid, signal, None);
    }

    /// SIGKILL to it and everything below it.
    pub fn kill_tree(&self) {
        let tree = tree::with_group(self.pid.number()).unwrap_or_default();
        _ = process::signal_group(self.pid, Signal::KILL);
        self.signal(Signal::KILL);
        for process in tree {
            _ = process::signal_process(&process, Signal::KILL);
        }
    }
}

fn environment(added: &[(&str, String)]) -> io::Result<Vec<CString>> {
    let own = std::env::vars_os().filter(|(name, _)| !added.iter().any(|(new, _)| *name == **new));
    let added = added.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    own.chain(added)
        .map(|(mut variable, value)| {
            variable.push("=");
            variable.push(value);
            CString::new(variable.into_vec()).map_err(io::Error::from)
        })
        .collect()
}

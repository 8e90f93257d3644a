//! The one owner of wait(2). Whoever wants to know how a child ended is told by the caller of [`next`]: nothing else in
//! the project waits for a process (spawn takes back its own failed child before anybody knows of it).

use crate::pid::Pid;
use crate::signal::Signal;
use crate::status::ExitStatus;
use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use std::cell::Cell;
use std::io;

/// What wait(2) reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildChange {
    /// A child, or an orphan that became one, ended.
    Ended {
        /// The child.
        pid: Pid,
        /// How it ended.
        status: ExitStatus,
    },
    /// A child was stopped by this signal.
    Stopped {
        /// The child.
        pid: Pid,
        /// The signal that stopped it.
        signal: Signal,
    },
    /// A stopped child goes on.
    Continued {
        /// The child.
        pid: Pid,
    },
    /// Nothing now, but there are children.
    Nothing,
    /// There is no child at all.
    NoChildren,
}

/// Whether wait(2) may know of children. Whoever forks says so here, by [`Children::forked`]; that there are none is
/// taken from wait(2) itself.
#[derive(Debug, Default)]
pub struct Children(Cell<bool>);

impl Children {
    /// Notes that there is a child now, or was one.
    pub fn forked(&self) {
        self.0.set(true);
    }

    /// Whether there may be children, as far as that is known without asking: the last one may be gone and nobody has
    /// asked since.
    pub fn may_be_left(&self) -> bool {
        self.0.get()
    }

    /// Whether there are children; asks the kernel if there may be any.
    pub fn are_left(&self) -> bool {
        self.0.set(self.0.get() && any());
        self.0.get()
    }

    /// The next change, as [`next`] reports it.
    pub fn next(&self) -> ChildChange {
        let change = next();
        if change == ChildChange::NoChildren {
            self.0.set(false);
        }
        change
    }
}

/// The next change. SIGCHLD coalesces, so call it until it has nothing left.
#[allow(clippy::disallowed_methods, reason = "the one owner of wait(2)")]
pub fn next() -> ChildChange {
    loop {
        let mut status = 0;
        // SAFETY: the status is written to a live int.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::WUNTRACED | libc::WCONTINUED) };
        match pid {
            0 => return ChildChange::Nothing,
            pid if pid > 0 => match Pid::new(pid).and_then(|pid| change(pid, status)) {
                Some(change) => return change,
                None => continue,
            },
            _ => match io::Error::last_os_error().raw_os_error() {
                Some(libc::EINTR) => continue,
                Some(libc::ECHILD) => return ChildChange::NoChildren,
                _ => return next_by_waitid(),
            },
        }
    }
}

/// The same where a seccomp profile denies wait4(2), which the C library's waitpid is.
#[allow(clippy::disallowed_methods, reason = "the one owner of wait(2)")]
fn next_by_waitid() -> ChildChange {
    // SAFETY: a siginfo_t of zeroes is valid, and waitid fills it.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WSTOPPED | libc::WCONTINUED | libc::WNOHANG;
    // SAFETY: info lives across the call.
    let result = unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, flags) };
    if result < 0 && io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
        return ChildChange::NoChildren;
    }
    // SAFETY: both are set for a child's change; without one they are zero, as they were.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    let signal = || Signal::new(status);
    let Some(pid) = Pid::new(pid) else { return ChildChange::Nothing };
    let change = match info.si_code {
        libc::CLD_EXITED => Some(ChildChange::Ended { pid, status: ExitStatus::Exited(status as u8) }),
        libc::CLD_KILLED | libc::CLD_DUMPED => {
            signal().map(|signal| ChildChange::Ended { pid, status: ExitStatus::Signaled(signal) })
        }
        libc::CLD_STOPPED | libc::CLD_TRAPPED => signal().map(|signal| ChildChange::Stopped { pid, signal }),
        libc::CLD_CONTINUED => Some(ChildChange::Continued { pid }),
        _ => None,
    };
    change.unwrap_or(ChildChange::Nothing)
}

/// Whether there is any child, one that has ended and was not reaped included. Reaps nothing.
#[allow(clippy::disallowed_methods, reason = "the one owner of wait(2)")]
pub fn any() -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    // Whatever else may go wrong is no proof that there is none. (What nix makes of a status is not looked at: it knows
    // no real-time signal.)
    waitid(Id::All, flags) != Err(Errno::ECHILD)
}

fn change(pid: Pid, status: i32) -> Option<ChildChange> {
    if libc::WIFEXITED(status) {
        return Some(ChildChange::Ended { pid, status: ExitStatus::Exited(libc::WEXITSTATUS(status) as u8) });
    }
    if libc::WIFSIGNALED(status) {
        let status = ExitStatus::Signaled(Signal::new(libc::WTERMSIG(status))?);
        return Some(ChildChange::Ended { pid, status });
    }
    if libc::WIFCONTINUED(status) {
        return Some(ChildChange::Continued { pid });
    }
    let signal = libc::WIFSTOPPED(status).then(|| Signal::new(libc::WSTOPSIG(status))).flatten()?;
    Some(ChildChange::Stopped { pid, signal })
}

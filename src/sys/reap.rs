//! The one owner of wait(2). Whoever wants to know how a child ended is told by the caller of [`next`]: nothing else in
//! the project waits for a process (spawn takes back its own failed child before anybody knows of it).

use crate::signal::Signal;
use crate::status::ExitStatus;
use std::io;

/// What wait(2) had to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A child, or an orphan that became one, ended.
    Ended {
        /// Who.
        pid: i32,
        /// How.
        status: ExitStatus,
    },
    /// A child was stopped by this signal.
    Stopped {
        /// Who.
        pid: i32,
        /// By what.
        signal: Signal,
    },
    /// A stopped child goes on.
    Continued {
        /// Who.
        pid: i32,
    },
    /// Nothing now, but there are children.
    Nothing,
    /// There is no child at all.
    NoChildren,
}

/// The next change. SIGCHLD coalesces, so call it until it has nothing left.
pub fn next() -> Change {
    loop {
        let mut status = 0;
        // SAFETY: the status is written to a live int.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::WUNTRACED | libc::WCONTINUED) };
        match pid {
            0 => return Change::Nothing,
            pid if pid > 0 => match change(pid, status) {
                Some(change) => return change,
                None => continue,
            },
            _ => match io::Error::last_os_error().raw_os_error() {
                Some(libc::EINTR) => continue,
                Some(libc::ECHILD) => return Change::NoChildren,
                _ => return next_by_waitid(),
            },
        }
    }
}

/// The same where a seccomp profile denies wait4(2), which the C library's waitpid is.
fn next_by_waitid() -> Change {
    // SAFETY: a siginfo_t of zeroes is valid, and waitid fills it.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WSTOPPED | libc::WCONTINUED | libc::WNOHANG;
    // SAFETY: info lives across the call.
    let result = unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, flags) };
    if result < 0 && io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
        return Change::NoChildren;
    }
    // SAFETY: both are set for a child's change; without one they are zero, as they were.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    let signal = || Signal::new(status);
    let change = match info.si_code {
        _ if pid <= 0 => None,
        libc::CLD_EXITED => Some(Change::Ended { pid, status: ExitStatus::Exited(status as u8) }),
        libc::CLD_KILLED | libc::CLD_DUMPED => {
            signal().map(|signal| Change::Ended { pid, status: ExitStatus::Signaled(signal) })
        }
        libc::CLD_STOPPED | libc::CLD_TRAPPED => signal().map(|signal| Change::Stopped { pid, signal }),
        libc::CLD_CONTINUED => Some(Change::Continued { pid }),
        _ => None,
    };
    change.unwrap_or(Change::Nothing)
}

/// Whether there is any child, one that has ended and was not reaped included. Reaps nothing.
pub fn any() -> bool {
    // SAFETY: a siginfo_t of zeroes is valid, and waitid fills it.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: info lives across the call.
    let result = unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, flags) };
    // Whatever else may go wrong, it is no proof that there is none.
    result == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ECHILD)
}

fn change(pid: i32, status: i32) -> Option<Change> {
    if libc::WIFEXITED(status) {
        return Some(Change::Ended { pid, status: ExitStatus::Exited(libc::WEXITSTATUS(status) as u8) });
    }
    if libc::WIFSIGNALED(status) {
        let status = ExitStatus::Signaled(Signal::new(libc::WTERMSIG(status))?);
        return Some(Change::Ended { pid, status });
    }
    if libc::WIFCONTINUED(status) {
        return Some(Change::Continued { pid });
    }
    let signal = libc::WIFSTOPPED(status).then(|| Signal::new(libc::WSTOPSIG(status))).flatten()?;
    Some(Change::Stopped { pid, signal })
}

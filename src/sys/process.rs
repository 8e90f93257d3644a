//! Sending signals. One to a child that we alone can reap is safe by pid; one to any other process goes through a pidfd
//! that was checked to be the process that was meant, because pids are reused.
//!
//! kill(-1) is here once, guarded by getpid() == 1, asked of the kernel right before: anywhere else it would end every
//! process of the machine.

use crate::pid::Pid;
use crate::signal::Signal;
use crate::sys::tree::Process;
use crate::sys::{check, getpid, getppid};
use nix::errno::Errno;
use nix::sys::signal::{self, kill};
use nix::unistd;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// The pid as nix's type.
pub(super) fn raw(pid: Pid) -> unistd::Pid {
    unistd::Pid::from_raw(pid.number())
}

/// Sends a signal to one of our children that has not been reaped yet; with a value, as sigqueue(3) does.
pub fn signal_child(pid: Pid, signal: Signal, value: Option<usize>) -> io::Result<()> {
    let result = match value {
        // SAFETY: kill(2) takes two numbers, of which the first names one process: it is above 1.
        None => unsafe { libc::kill(pid.number(), signal.number()) },
        Some(value) => {
            let value = libc::sigval { sival_ptr: std::ptr::without_provenance_mut(value) };
            // SAFETY: sigqueue(3) takes the value as it is.
            unsafe { libc::sigqueue(pid.number(), signal.number(), value) }
        }
    };
    check(result.into()).map(drop)
}

/// Sends a signal to every process of a group of which one of our children that has not been reaped yet is a member:
/// until then its number is no other group's.
pub fn signal_group(group: Pid, signal: Signal) -> io::Result<()> {
    // SAFETY: kill(2) takes two numbers, of which the first names one group: it is below -1.
    check(unsafe { libc::kill(-group.number(), signal.number()) }.into()).map(drop)
}

/// Sends a signal to a process seen in /proc, if it is still that process.
pub fn signal_process(process: &Process, signal: Signal) -> io::Result<()> {
    match pidfd_open(process.pid) {
        Ok(pidfd) => {
            if !process.is_still_there() {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            let info = std::ptr::null::<libc::siginfo_t>();
            // SAFETY: a live descriptor; with a null siginfo the signal is sent as kill(2) would.
            let result =
                unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal.number(), info, 0) };
            check(result).map(drop)
        }
        // Before Linux 5.3, or denied by a seccomp profile that knows no pidfd.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => match Pid::new(process.pid) {
            Some(pid) if process.is_still_there() => signal_child(pid, signal, None),
            Some(_) | None => Ok(()),
        },
        Err(error) => Err(error),
    }
}

/// Whether a signal to this process would be allowed (kill(2): EPERM). A process that is gone, or whose pid is
/// another's by now, is as good as allowed.
pub fn may_signal(pid: i32) -> bool {
    // No signal: only the permission is looked at.
    Pid::new(pid).is_none_or(|pid| kill(raw(pid), None) != Err(Errno::EPERM))
}

/// A descriptor that becomes readable when the process ends (pidfd_open(2)).
pub fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: two numbers in, a new descriptor out.
    unsafe {
        let fd = check(libc::syscall(libc::SYS_pidfd_open, pid, 0))?;
        Ok(OwnedFd::from_raw_fd(fd as i32))
    }
}

/// As PID 1: sends a signal to every other process of the namespace, in one stroke that no fork slips through.
/// Refused with EPERM when this process is not PID 1.
pub fn signal_namespace(signal: Signal) -> io::Result<()> {
    kill_all_others(signal.number())
}

/// As PID 1: whether there is any other process in the namespace, zombies included.
pub fn namespace_is_empty() -> io::Result<bool> {
    match kill_all_others(0) {
        Ok(()) => Ok(false),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(true),
        Err(error) => Err(error),
    }
}

fn kill_all_others(number: i32) -> io::Result<()> {
    if getpid() != 1 {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    // SAFETY: two numbers; we are PID 1, so "all" ends at the namespace, and PID 1 itself is spared (kill(2)).
    check(unsafe { libc::kill(-1, number) }.into()).map(drop)
}

/// Stops this process, as the terminal's Ctrl-Z stops a job. Returns when it is continued.
pub fn stop_self() {
    _ = kill(unistd::getpid(), signal::SIGSTOP);
}

/// The process group of a child.
pub fn group_of(pid: Pid) -> Option<Pid> {
    Pid::new(unistd::getpgid(Some(raw(pid))).ok()?.as_raw())
}

/// The session of a process.
pub fn session_of(pid: i32) -> Option<i32> {
    if pid <= 0 {
        return None;
    }
    unistd::getsid(Some(unistd::Pid::from_raw(pid))).ok().map(unistd::Pid::as_raw)
}

/// Makes the kernel send this process a signal when the thread that started it ends (prctl(2), PR_SET_PDEATHSIG). Says
/// whether that has happened already: then the signal does not come.
pub fn on_parent_death(signal: Signal) -> io::Result<bool> {
    let parent = getppid();
    // SAFETY: takes numbers.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal.number() as libc::c_ulong) }.into())?;
    Ok(getppid() != parent)
}

/// Whether a child shares graceful's process group.
pub fn shares_our_group(pid: Pid) -> bool {
    unistd::getpgid(Some(raw(pid))) == Ok(unistd::getpgrp())
}

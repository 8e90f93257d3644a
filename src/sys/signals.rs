//! Signals are blocked, all 64, before anything else is done, and taken out one by one with rt_sigtimedwait(2). There
//! is no handler: nothing runs asynchronously, nothing coalesces beyond what the kernel does itself.
//!
//! Where a seccomp profile denies rt_sigtimedwait(2), the same signals are read from a signalfd(2); where it denies
//! that too, none can be heard, which [`is_deaf`] tells. Without rt_sigprocmask(2) none of this holds, and no app is
//! started.
//!
//! A fault of graceful's own (SIGSEGV and friends) still kills it: the kernel forces such a signal past the mask. Sent
//! by kill(2) the same signals are queued here and belong to the app.

use crate::signal::{Signal, SignalSet};
use crate::sys::{check, fds, getpid, timespec};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::OnceLock;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The kernel's sigset_t, in bytes (rt_sigprocmask(2), "C library/kernel differences").
const SET_SIZE: usize = 8;

/// What graceful changed in the signal state that it was started with, to be given back to its children.
#[derive(Clone, Copy, Debug)]
pub struct Inherited {
    /// The mask.
    pub mask: SignalSet,
    /// Whether SIGCHLD was ignored: children would have been reaped by the kernel, their statuses lost.
    pub chld_ignored: bool,
    /// Whether the signals are blocked. If not, rt_sigprocmask(2) is denied, and any signal could be lost or end
    /// graceful.
    pub blocked: bool,
}

/// A signal that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// The signal.
    pub signal: Signal,
    /// Who sent it; `None` for the kernel or a process outside this PID namespace.
    pub sender: Option<i32>,
    /// Whether the kernel itself sent it, as for the keys of a terminal.
    pub from_kernel: bool,
    /// The value of sigqueue(3), if it was sent by that.
    pub value: Option<usize>,
}

fn set_mask(mask: SignalSet) -> io::Result<SignalSet> {
    let (new, mut old) = (mask.bits(), 0u64);
    // SAFETY: both pointers are to live u64, the size that the kernel is told.
    check(unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const new, &raw mut old, SET_SIZE)
    })?;
    Ok(SignalSet::from_bits(old))
}

/// Blocks every signal. This is the first thing that main does: a signal that comes a microsecond later waits in the
/// mask.
pub fn block_all() -> Inherited {
    // Fails for a bad pointer or size (rt_sigprocmask(2)), or where a seccomp profile denies it.
    let mask = set_mask(SignalSet::ALL);
    Inherited { mask: mask.as_ref().copied().unwrap_or(SignalSet::EMPTY), chld_ignored: false, blocked: mask.is_ok() }
}

/// Starts a thread that has the mask of this one. The C library opens both masks for two signals of its own when a
/// program's first thread is started (32, which then ends the process, and 33, which then is lost): they are closed
/// again.
pub fn start_thread(name: &str, stack: usize, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    let closed = move || {
        block_hidden();
        body();
    };
    let started = thread::Builder::new().name(name.to_owned()).stack_size(stack).spawn(closed);
    block_hidden();
    started
}

fn block_hidden() {
    let hidden = 0b11u64 << 31;
    let none = std::ptr::null_mut::<u64>();
    // SAFETY: one pointer to a live u64, the size that the kernel is told, and none for the old mask.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, &raw const hidden, none, SET_SIZE) };
}

impl Inherited {
    /// Gives SIGCHLD its default disposition, so that children leave a status to wait for whatever the parent chose.
    pub fn take_sigchld(&mut self) {
        // SAFETY: a zeroed sigaction is SIG_DFL without flags; the old one is written by the kernel.
        unsafe {
            let default: libc::sigaction = std::mem::zeroed();
            let mut old: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(libc::SIGCHLD, &raw const default, &raw mut old) == 0 {
                self.chld_ignored = old.sa_sigaction == libc::SIG_IGN;
            }
        }
    }

    /// Puts the mask back: for the commands that supervise nothing.
    pub fn restore(self) {
        // Fails for a bad pointer or size only.
        _ = set_mask(self.mask);
    }
}

/// Gives these signals their default disposition, whatever the parent chose.
pub fn set_default(signals: SignalSet) {
    // SIG_DFL without flags, whatever the architecture's layout. Not by signal(3), which refuses the C library's own
    // two.
    let default = [0u64; 8];
    let old = std::ptr::null_mut::<u64>();
    for signal in signals.iter() {
        // SAFETY: setting a disposition to the default has no other requirement, and the buffer is longer than the
        // kernel's struct. SIGKILL and SIGSTOP are refused, and have no other.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal.number(), default.as_ptr(), old, SET_SIZE) };
    }
}

/// The same, and unblocks them; all others are blocked. For an app that does nothing about them.
pub fn act_by_default(signals: SignalSet) {
    set_default(signals);
    // Fails for a bad pointer or size only.
    _ = set_mask(SignalSet::from_bits(!signals.bits()));
}

/// Ends this process by a signal, which its parent sees in the status, without writing a core. Returns where that is
/// not possible: as PID 1.
pub fn end_by(signal: Signal) {
    _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    // For a core_pattern that is a pipe, which knows no limit (core(5)).
    _ = prctl::set_dumpable(false);
    act_by_default(SignalSet::EMPTY.with(signal));
    // SAFETY: our own pid.
    unsafe { libc::kill(getpid(), signal.number()) };
}

/// Takes the next signal; `None` after the timeout, or when the wait was cut short (a stop and a continue do that).
/// Where no way to wait for one is allowed, it is `None` after a moment.
pub fn wait(timeout: Option<Duration>) -> Option<Received> {
    let all = SignalSet::ALL.bits();
    // SAFETY: siginfo_t is plain data.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let spec = timeout.map(timespec);
    let spec = spec.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: all pointers are live or, for the timeout, null, which means for ever.
    let number = unsafe { libc::syscall(libc::SYS_rt_sigtimedwait, &raw const all, &raw mut info, spec, SET_SIZE) };
    if number < 0 {
        return match io::Error::last_os_error().raw_os_error() {
            Some(libc::EAGAIN | libc::EINTR) => None,
            _ => wait_by_descriptor(timeout),
        };
    }
    // SAFETY: the pid is set for every signal but the kernel's own, whose union reads as 0 here or as a fault address
    // that is not used: the code is looked at first.
    let pid = unsafe { info.si_pid() };
    // SAFETY: with SI_QUEUE the union holds pid, uid and value, and only then is it looked at.
    let value = || unsafe { info.si_value() }.sival_ptr as usize;
    received(i32::try_from(number).ok()?, info.si_code, pid, value)
}

fn received(number: i32, code: i32, pid: i32, value: impl FnOnce() -> usize) -> Option<Received> {
    let sent_by_process = code <= 0;
    Some(Received {
        signal: Signal::new(number)?,
        sender: (sent_by_process && pid > 0).then_some(pid),
        from_kernel: code == libc::SI_KERNEL,
        value: (code == libc::SI_QUEUE).then(value),
    })
}

/// What signals are read from where rt_sigtimedwait(2) is denied: opened when that is seen, and kept. `None`: denied
/// too.
static INSTEAD: OnceLock<Option<OwnedFd>> = OnceLock::new();

fn wait_by_descriptor(timeout: Option<Duration>) -> Option<Received> {
    let Some(fd) = INSTEAD.get_or_init(|| notifier().ok()) else {
        std::thread::sleep(timeout.map_or(fds::BLIND, |timeout| timeout.min(fds::BLIND)));
        return None;
    };
    if fds::poll(&[fd.as_fd()], timeout) != [true] {
        return None;
    }
    // SAFETY: signalfd_siginfo is plain data.
    let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: a live buffer with its length; the descriptor does not block.
    let count = unsafe { libc::read(fd.as_raw_fd(), (&raw mut info).cast(), size) };
    if count != size as isize {
        return None;
    }
    received(info.ssi_signo as i32, info.ssi_code, info.ssi_pid as i32, || info.ssi_ptr as usize)
}

/// Whether no signal can be heard, SIGCHLD included: a seccomp profile denies both rt_sigtimedwait(2) and signalfd(2).
/// Known once [`wait`] has tried.
pub fn is_deaf() -> bool {
    matches!(INSTEAD.get(), Some(None))
}

/// Whether signals are read from a descriptor that must not be closed.
pub fn holds_descriptor() -> bool {
    matches!(INSTEAD.get(), Some(Some(_)))
}

impl Received {
    /// Whether it is the kernel's answer to something that graceful itself did: SIGPIPE for a log line that nobody
    /// reads, SIGXFSZ for a report over the file size limit. Not the app's.
    pub fn is_own(&self, own_pid: i32) -> bool {
        self.sender == Some(own_pid)
    }
}

/// A descriptor that is readable while signals wait: to poll beside others. The signals are taken by [`wait`].
pub fn notifier() -> io::Result<OwnedFd> {
    let all = SignalSet::ALL.bits();
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: the pointer is to a live u64 of the size that the kernel is told; the descriptor returned is new and
    // ours.
    unsafe {
        let fd = check(libc::syscall(libc::SYS_signalfd4, -1, &raw const all, SET_SIZE, flags))?;
        Ok(OwnedFd::from_raw_fd(fd as i32))
    }
}

/// In a child, between fork and exec: the parent's own state again.
///
/// # Safety
/// Only in a child that is about to exec: signals are live again afterwards.
pub(super) unsafe fn restore_in_child(inherited: &Inherited) {
    if inherited.chld_ignored {
        // SAFETY: setting a disposition has no other requirement.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    }
    _ = set_mask(inherited.mask);
}

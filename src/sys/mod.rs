//! The operating system: the only `unsafe` and the only wait(2) of the project. Mechanism without policy: nothing in
//! here knows a phase, a budget or a hook.
//!
//! - `signals`: the mask, set before anything else; one signal at a time out of it.
//! - `spawn`: a child with exactly the mask, dispositions, directory, descriptors, arguments and environment that
//!   graceful was started with.
//! - `reap`: the one owner of wait(2), for app, hooks and orphans.
//! - `process`: sending signals: to one, to what is ours, and (PID 1 only) to all.
//! - `at`: files by their directory's descriptor.
//! - `executable`: what a file is that the kernel does not execute.
//! - `above`: the graceful above this one.
//! - `datagram`: one datagram and who sent it.
//! - `disk`: how full a file system is.
//! - `tree`: what /proc says about processes; `handlers`: what they do about a signal.
//! - `sockets`: the TCP sockets of some ports, and who listens.
//! - `fds`: descriptors, pipes, polling.
//! - `peer`: who has connected to a Unix socket, and who may.
//! - `tty`: the terminal's foreground and modes.
//! - `memory`: the reserve for when an allocation fails.
//! - `cgroup`: the kernel's count of out-of-memory kills.
//!
//! # What is unsafe, and why
//!
//! Where nix has a safe call for something, it is made. What is left:
//!
//! - Signals by their number: kill(2), sigqueue(3), pidfd_send_signal(2), PR_SET_PDEATHSIG. nix's `Signal` ends at 31,
//!   and an app's stop signal may be a real-time one (systemd's own is SIGRTMIN+3).
//! - wait(2): nix's `WaitStatus` cannot say that a child was killed by such a signal. It answers EINVAL when the child
//!   has been reaped already, so that its status would be lost.
//! - Masks and waiting, rt_sigprocmask(2), rt_sigtimedwait(2), signalfd4(2), rt_sigaction(2): the C library hides
//!   signals 32 and 33, and a supervisor that does not block them dies of them. So these are made without it.
//! - The child between clone(2) and exec: it shares its parent's memory, may allocate nothing, and is unsafe in nix as
//!   well.
//! - Descriptors that nobody owns: those that were inherited, closed or not, are probed and closed by number, and one
//!   that a user names is duplicated by its number. close_range(2) is not in nix.
//! - recvmsg(2) with room for the sender's credentials and for no descriptors: nix returns nothing of a datagram's
//!   control messages as soon as one of them found no room.
//! - What else nix has no safe call for: pidfd_open(2), sched_setattr(2), getxattr(2), mallopt(3), `environ`, _exit(2);
//!   and the allocator of [`memory`], which is unsafe by its trait.

#![allow(unsafe_code, reason = "this is the place for it")]

pub mod above;
pub mod at;
pub mod cgroup;
pub mod datagram;
pub mod disk;
pub mod executable;
pub mod fds;
pub mod handlers;
pub mod memory;
pub mod peer;
pub mod process;
pub mod reap;
pub mod signals;
pub mod sockets;
pub mod spawn;
pub mod tree;
pub mod tty;
pub mod whose;

use nix::time::ClockId;
use std::ffi::{CStr, OsStr, c_char};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// The result of a system call as io::Result.
fn check(result: i64) -> io::Result<i64> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A time to wait, as the kernel takes it; more than 68 years is as good as for ever.
fn timespec(timeout: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: timeout.as_secs().min(i32::MAX as u64) as libc::time_t,
        tv_nsec: i64::from(timeout.subsec_nanos()),
    }
}

/// The pid of this process in its own namespace, asked of the kernel each time: nothing cached is trusted where it
/// decides who gets SIGKILL, and the C library no longer caches it (getpid(2), since glibc 2.25).
pub fn getpid() -> i32 {
    nix::unistd::getpid().as_raw()
}

/// The time by CLOCK_MONOTONIC, which std's `Instant` does not reveal; zero if it cannot be read.
pub fn monotonic() -> Duration {
    ClockId::CLOCK_MONOTONIC.now().map(Duration::from).unwrap_or_default()
}

/// The environment as it is, without making a copy of it, and with entries that are not variables (environ(7)).
fn environment() -> impl Iterator<Item = &'static CStr> {
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    // SAFETY: nothing in this program changes the environment.
    let mut variable = unsafe { environ };
    std::iter::from_fn(move || {
        // SAFETY: an array of strings that ends with a null, beyond which nothing is read.
        unsafe {
            if variable.is_null() || (*variable).is_null() {
                return None;
            }
            let found = CStr::from_ptr(*variable);
            variable = variable.add(1);
            Some(found)
        }
    })
}

/// The variables of the environment, in their order: the text before and after the first `=` of each.
pub fn variables() -> impl Iterator<Item = (&'static OsStr, &'static OsStr)> {
    environment().filter_map(|variable| {
        let text = variable.to_bytes();
        let at = text.iter().position(|byte| *byte == b'=')?;
        Some((OsStr::from_bytes(&text[..at]), OsStr::from_bytes(&text[at + 1..])))
    })
}

/// Whether a variable's name begins with this.
pub fn environment_has(prefix: &[u8]) -> bool {
    environment().any(|variable| variable.to_bytes().starts_with(prefix))
}

/// Asks for short turns on the processor, and so for early ones: a thread that needs little of it at a time is let in
/// before those that would go on for long (sched_setattr(2): sched_runtime of SCHED_OTHER is the length of a turn, from
/// Linux 6.12 on; before that, it means nothing). For this thread and those that it starts. It takes no privilege, and
/// the share of the processor stays as it is.
pub fn take_short_turns() {
    /// The least that the kernel takes.
    const TURN_NS: u64 = 100_000;
    /// struct sched_attr, as of its first version.
    #[repr(C)]
    struct Attributes {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
    }
    let size = size_of::<Attributes>() as u32;
    let mut now = Attributes { size, policy: 0, flags: 0, nice: 0, priority: 0, runtime: 0, deadline: 0, period: 0 };
    // SAFETY: a live struct of the size that the kernel is told.
    let known = check(unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut now, size, 0) }).is_ok();
    // A policy other than the usual one was chosen by somebody who knows why.
    if known && now.policy == libc::SCHED_OTHER as u32 {
        now.runtime = TURN_NS;
        // SAFETY: as above. A failure does no harm.
        unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const now, 0) };
    }
}

/// Ends this process at once: nothing is flushed or freed, and no thread that hangs in a write is waited for.
pub fn exit(code: u8) -> ! {
    // SAFETY: takes a number.
    unsafe { libc::_exit(code.into()) }
}

/// The parent's pid; 0 if it is in another namespace.
pub fn getppid() -> i32 {
    nix::unistd::getppid().as_raw()
}

/// "No such file" as "no such file", and "TLS handshake" as it is.
pub fn lower(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

/// An operating system's error in its own words, without the number that Rust adds.
pub fn in_words(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// The same as a fragment: "no such file or directory".
pub fn as_fragment(error: &std::io::Error) -> String {
    lower(&in_words(error))
}

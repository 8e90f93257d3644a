//! The operating system: the only `unsafe` and the only wait(2) of the project. Mechanism without policy: nothing in
//! here knows a phase, a budget or a hook.
//!
//! - `signals`: the mask, taken before anything else; one signal at a time out of it.
//! - `spawn`: a child with exactly the mask, dispositions, directory, descriptors, arguments and environment that
//!   graceful was started with.
//! - `reap`: the one owner of wait(2), for app, hooks and orphans.
//! - `process`: sending signals: to one, to what is ours, and (PID 1 only) to all.
//! - `at`: files by their directory's descriptor.
//! - `executable`: what a file is that the kernel does not execute.
//! - `above`: the graceful above this one.
//! - `disk`: how full a file system is.
//! - `tree`: what /proc says about processes; `handlers`: what they do about a signal.
//! - `sockets`: the TCP sockets of some ports, and who listens.
//! - `fds`: descriptors, pipes, polling.
//! - `tty`: the terminal's foreground and modes.
//! - `memory`: the reserve for when an allocation fails.
//! - `cgroup`: the kernel's count of out-of-memory kills.
//!
//! The system calls for masks and waiting are made directly: the C library's versions hide signals 32 and 33, and a
//! supervisor that does not block them dies of them.

pub mod above;
pub mod at;
pub mod cgroup;
pub mod disk;
pub mod executable;
pub mod fds;
pub mod handlers;
pub mod memory;
pub mod process;
pub mod reap;
pub mod signals;
pub mod sockets;
pub mod spawn;
pub mod tree;
pub mod tty;

use std::ffi::{CStr, c_char};
use std::io;
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

/// The pid of this process in its own namespace, asked of the kernel each time (nothing cached is trusted where it
/// decides who gets SIGKILL).
pub fn getpid() -> i32 {
    // SAFETY: getpid(2) takes nothing and cannot fail.
    unsafe { libc::syscall(libc::SYS_getpid) as i32 }
}

/// The environment as it is, without making a copy of it, and with what is no variable (environ(7)).
fn environment() -> impl Iterator<Item = &'static CStr> {
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    // SAFETY: nothing in this program changes the environment.
    let mut variable = unsafe { environ };
    std::iter::from_fn(move || {
        // SAFETY: an array of strings that a null ends, which is not passed.
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

/// Whether a variable's name begins with this.
pub fn environment_has(prefix: &[u8]) -> bool {
    environment().any(|variable| variable.to_bytes().starts_with(prefix))
}

/// Asks for short turns on the processor, and so for early ones: whoever needs little of it at a time is let in before
/// those who would go on for long (sched_setattr(2): sched_runtime of SCHED_OTHER is the length of a turn, from Linux
/// 6.12 on; before, it is nothing). For this thread and those that it starts. It takes no privilege, and the share of the
/// processor stays as it is.
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
    // Another policy than the usual one was chosen by somebody who knows why.
    if known && now.policy == libc::SCHED_OTHER as u32 {
        now.runtime = TURN_NS;
        // SAFETY: as above. It is in nobody's way if it fails.
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
    // SAFETY: getppid(2) takes nothing and cannot fail.
    unsafe { libc::getppid() }
}

/// An operating system's error in its own words, without the number that Rust adds.
pub fn in_words(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

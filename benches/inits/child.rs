//! The app under the init: this binary, called again with [`HIDDEN`] and a role. Static, so that it starts fast.
//!
//! A stamp is one reading of the clock written to stdout. Every role but PID 1's ends by its own alarm at the latest,
//! and that one ends when its stdin is closed: nothing outlives a bench that was interrupted for long.

use crate::process::now;
use nix::errno::Errno;
use nix::sys::signal::{SigHandler, SigSet, Signal, kill, signal};
use nix::sys::wait::{wait, waitpid};
use nix::unistd::{ForkResult, Pid, alarm, fork, pause, pipe, read, write};
use std::io::{stdin, stdout};

/// The argument that turns the bench into the app.
pub(crate) const HIDDEN: &str = "--as-child";
/// Stamps and exits at once.
pub(crate) const EXIT: &str = "exit";
/// Stamps each SIGUSR1; on SIGTERM stamps twice, when it came and right before the exit.
pub(crate) const SIGNALS: &str = "signals";
/// COUNT BURST: makes COUNT orphans, BURST at a time.
pub(crate) const ORPHANS: &str = "orphans";
/// COUNT: a tree of so many processes that ignore SIGTERM.
pub(crate) const TREE: &str = "tree";
/// COUNT: as PID 1, makes the same tree, then does `kill -9 -1` and reaps.
pub(crate) const KILL_ALL: &str = "kill-all";

/// Leaves of one branch of the tree, the branch itself included.
const BRANCH: usize = 100;
/// Seconds; far more than any role needs between two words with the bench.
const LIFETIME: u32 = 30;

/// Plays the role that the arguments name.
pub(crate) fn run(arguments: &[String]) -> ! {
    alarm::set(LIFETIME);
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(1);
    match arguments.first().map(String::as_str) {
        Some(EXIT) => {
            stamp(now());
            exit(0)
        }
        Some(SIGNALS) => signals(),
        Some(ORPHANS) => orphans(number(1), number(2)),
        Some(TREE) => {
            grow(number(1));
            stamp(now());
            sleep()
        }
        Some(KILL_ALL) => kill_all(number(1)),
        _ => exit(2),
    }
}

fn signals() -> ! {
    let mut wanted = SigSet::empty();
    wanted.add(Signal::SIGUSR1);
    wanted.add(Signal::SIGTERM);
    if wanted.thread_block().is_err() {
        exit(3);
    }
    stamp(now());
    loop {
        let received = wanted.wait();
        let time = now();
        stamp(time);
        if received == Ok(Signal::SIGTERM) {
            stamp(now());
            exit(0)
        }
        alarm::set(LIFETIME);
    }
}

fn orphans(count: usize, burst: usize) -> ! {
    stamp(now());
    await_go();
    for _ in 0..count / burst {
        let parent = in_child(|| {
            for _ in 0..burst {
                in_child(|| {});
            }
        });
        let _ = waitpid(parent, None);
    }
    stamp(now());
    await_go();
    exit(0)
}

fn kill_all(count: usize) -> ! {
    let (tree_is_up, up) = match pipe() {
        Ok(ends) => ends,
        Err(_) => exit(3),
    };
    in_child(|| {
        grow(count);
        let _ = write(&up, b"!");
        sleep()
    });
    if read(&tree_is_up, &mut [0]) != Ok(1) {
        exit(3);
    }
    stamp(now());
    await_go();
    // kill(-1) reaches every process that it may signal. Only PID 1 of a namespace of its own may do that, and the
    // kernel is asked right here, not a library that may remember.
    // SAFETY: getpid takes nothing and cannot fail.
    if unsafe { libc::syscall(libc::SYS_getpid) } != 1 {
        exit(4);
    }
    let time = now();
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
    while wait() != Err(Errno::ECHILD) {}
    stamp(time);
    exit(0)
}

/// COUNT processes below this one in two generations, all asleep and deaf to SIGTERM; returns when all are there.
fn grow(count: usize) {
    // SAFETY: ignoring a signal installs no handler.
    let _ = unsafe { signal(Signal::SIGTERM, SigHandler::SigIgn) };
    let Ok((grown, tell)) = pipe() else { exit(3) };
    let branches = count.div_ceil(BRANCH);
    for branch in 0..branches {
        let leaves = BRANCH.min(count - branch * BRANCH) - 1;
        in_child(|| {
            for _ in 0..leaves {
                in_child(|| sleep());
            }
            let _ = write(&tell, b"!");
            sleep()
        });
    }
    for _ in 0..branches {
        if read(&grown, &mut [0]) != Ok(1) {
            exit(3);
        }
    }
}

/// Forks; the child runs `body` and ends. A tree that cannot be whole is worth nothing: a fork that fails ends this role.
fn in_child(body: impl FnOnce()) -> Pid {
    // SAFETY: this process has one thread, so the child finds no lock held.
    match unsafe { fork() } {
        Ok(ForkResult::Child) => {
            body();
            exit(0)
        }
        Ok(ForkResult::Parent { child }) => child,
        Err(_) => exit(3),
    }
}

fn sleep() -> ! {
    loop {
        pause();
    }
}

/// Returns when a byte comes; the end of stdin means that the bench is gone or done.
fn await_go() {
    if read(stdin(), &mut [0]) != Ok(1) {
        exit(0);
    }
}

fn stamp(time: u64) {
    // Straight to the descriptor: a buffer would add its own time.
    let _ = write(stdout(), &time.to_ne_bytes());
}

/// Ends at once, without what std and libc do at exit.
fn exit(code: i32) -> ! {
    // SAFETY: _exit never returns and touches no memory of ours.
    unsafe { libc::_exit(code) }
}

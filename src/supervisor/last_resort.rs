//! The loop behind the loop. It runs only if the supervisor panicked, which it never should: whatever went wrong, the app
//! must not be ended by it, and its exit status must still come out. No hooks and no report; of the budget only its end.

use crate::lifecycle::StopInProgress;
use crate::pid::Pid;
use crate::signal::Signal;
use crate::status::{self, ExitStatus};
use crate::sys::reap::{self, ChildChange};
use crate::sys::{getpid, process, signals};
use std::time::Instant;

/// In debug builds a test can ask for the failure that should never come.
#[cfg(debug_assertions)]
#[allow(clippy::panic, reason = "this is the one failure that is wanted, and it is not in any release")]
pub(super) fn fail_if_asked(signal: Signal) {
    if signal == Signal::USR2 && std::env::var_os("TEST_PANIC_ON_SIGUSR2").is_some() {
        std::panic::panic_any("asked for by a test");
    }
}

/// The same for the HTTP thread.
#[cfg(debug_assertions)]
pub(super) fn http_is_to_fail(signal: Signal) -> bool {
    signal == Signal::USR2 && std::env::var_os("TEST_HTTP_PANIC_ON_SIGUSR2").is_some()
}

/// The same for the thread that answers probes.
#[cfg(debug_assertions)]
pub(super) fn probes_are_to_fail(signal: Signal) -> bool {
    signal == Signal::USR2 && std::env::var_os("TEST_PROBES_PANIC_ON_SIGUSR2").is_some()
}

/// Forwards every signal and reaps until the app has ended; returns how graceful is to end. A stop that had begun is brought to its end:
/// the app gets the signal that it is still owed, and SIGKILL when the budget is spent.
/// `stopped`: it needs SIGCONT to act on it.
pub(super) fn run(app: Option<Pid>, stopped: bool, stop: Option<StopInProgress>, start: Instant) -> ExitStatus {
    let Some(app) = app else { return ExitStatus::Exited(status::FAILURE) };
    if let Some(signal) = stop.and_then(|stop| stop.owed) {
        if stopped {
            _ = process::signal_child(app, Signal::CONT, None);
        }
        _ = process::signal_child(app, signal, None);
    }
    let mut kill_at = stop.map(|stop| stop.kill_at);
    loop {
        // First look, then wait: the exit may have come during the failure.
        loop {
            match reap::next() {
                ChildChange::Ended { pid, status } if pid == app => {
                    return if getpid() == 1 { ExitStatus::Exited(status.code()) } else { status };
                }
                ChildChange::Ended { .. } | ChildChange::Stopped { .. } | ChildChange::Continued { .. } => {}
                ChildChange::Nothing => break,
                ChildChange::NoChildren => return ExitStatus::Exited(status::FAILURE),
            }
        }
        if kill_at.take_if(|at| *at <= start.elapsed()).is_some() {
            _ = process::signal_child(app, Signal::KILL, None);
        }
        let timeout = kill_at.map(|at| at.saturating_sub(start.elapsed()));
        if let Some(received) = signals::wait(timeout)
            && received.signal != Signal::CHLD
            && !received.is_own(getpid())
        {
            _ = process::signal_child(app, received.signal, received.value);
        }
    }
}

//! What the app does about the stop signal, as far as its signal masks tell.

use crate::signal::{Signal, SignalSet};
use crate::sys::handlers::{self, Disposition};

/// What the app does about the stop signal, as far as it can be known from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Handler {
    /// It certainly dies of the signal: what is in flight then is lost.
    Missing,
    /// It catches the signal; but so does everything in its language, only to die of it.
    #[default]
    Unproven,
    /// It has a handler of its own, which is expected to know about requests.
    Present,
}

/// What the processes that listen do: only what is certain of each of them is certain.
pub(super) fn of(listening: &[i32], signal: Signal) -> Handler {
    let mut all = listening.iter().map(|pid| of_one(*pid, signal));
    match all.next() {
        Some(first) if all.all(|other| other == first) => first,
        Some(_) | None => Handler::Unproven,
    }
}

fn of_one(pid: i32, signal: Signal) -> Handler {
    match handlers::disposition(pid, signal) {
        Some(Disposition::Default) if handlers::is_blocked(pid, signal) == Some(false) => Handler::Missing,
        Some(Disposition::Caught) if handlers::caught(pid).is_some_and(|caught| !is_runtime(caught)) => {
            Handler::Present
        }
        Some(Disposition::Default | Disposition::Caught | Disposition::Ignored) | None => Handler::Unproven,
    }
}

/// Runtimes that catch SIGTERM for whatever runs in them, by what they catch besides: Go nearly everything, SIGURG
/// among it (os/signal); Node SIGSEGV and SIGUSR1; a JVM SIGSEGV, SIGQUIT and SIGUSR2; Ruby SIGSEGV and both SIGUSR.
/// Python, nginx, Redis and PostgreSQL catch no such pair: there a handler is one that somebody has written for the
/// purpose.
fn is_runtime(caught: SignalSet) -> bool {
    let faults = caught.contains(Signal::SEGV);
    caught.contains(Signal::URG)
        || faults && [Signal::USR1, Signal::USR2, Signal::QUIT].map(|signal| caught.contains(signal)).contains(&true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SigCgt as /proc shows it.
    fn runtime(mask: u64) -> bool {
        is_runtime(SignalSet::from_bits(mask))
    }

    #[test]
    fn runtimes_are_known_by_what_they_catch() {
        // Node 18, nats-server (Go 1.19).
        assert!(runtime(0x0000_0001_0000_4602));
        assert!(runtime(0xffff_fffd_7fc1_feff));
        // Python with a handler, uvicorn, Redis.
        assert!(![0x4000, 0x4002, 0x0000_0001_0000_44ea].map(runtime).contains(&true));
    }

    #[test]
    fn nobody_who_listens_proves_nothing() {
        assert_eq!(of(&[], Signal::TERM), Handler::Unproven);
        assert_eq!(of(&[i32::MAX], Signal::TERM), Handler::Unproven);
    }
}

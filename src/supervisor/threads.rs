//! Threads that something asked for cannot do without, before the app: where none can be had (a seccomp profile that denies
//! clone3, `--pids-limit`), that is a failure to start, and not a port that accepts and does not answer, or a hook that
//! fails in the stop.
//!
//! What comes before the app delays it. So the threads alone do, and wait; what they are to work with is built, and handed
//! over to them, while the app loads.
//!
//! | thread | is for | without it |
//! | --- | --- | --- |
//! | HTTP that answers, from the start on | `--probe-listen` | the app is not started; after a failure the port is closed until there is one |
//! | HTTP that asks, from the start on | `--check`, `--ready-url`, `--live-url` | the app is not started |
//! | HTTP that asks, later | `--hold URL`, POST hooks | tried out before the app; the app is not started |
//! | `disk:` checks, one for each try | what may hang | tried out before the app; later the check fails and says so |
//! | log lines, from the first that does not go at once | a reader that does not read | they are written by the main loop as far as there is room |
//! | files | a disk that hangs | they are written by the main loop |
//! | connections, from t0 on | `--hold idle` and `quiet` | the main loop looks, each time as long as that takes: signals wait for it |

use super::Supervisor;
use crate::config::{CheckTarget, Config, Hold, HookAction};
use crate::server::ProbeListener;
use crate::sys::fds::Waker;
use crate::sys::{in_words, signals};
use crate::worker::Parked;
use std::io;

/// Threads that wait for their work, and all for it that may not be had.
#[derive(Default)]
pub(super) struct Threads {
    /// By which they wake the main loop.
    waker: Option<Waker>,
    /// For `--probe-listen`.
    answers: Option<(Parked, Waker, ProbeListener)>,
    /// For `--check`, `--ready-url` and `--live-url`.
    asks: Option<(Parked, Waker)>,
}

/// What was asked for cannot be done.
#[derive(Debug, thiserror::Error)]
#[error("{option} needs a thread, and none can be started: {}", in_words(.error))]
pub(super) struct NoThread {
    option: &'static str,
    error: io::Error,
}

impl Threads {
    /// Those that are needed.
    ///
    /// # Errors
    /// One of them cannot be had: the app must not be started.
    pub(super) fn start(config: &Config, listener: Option<&ProbeListener>) -> Result<Threads, NoThread> {
        let cannot = |option: &'static str, error: io::Error| NoThread { option, error };
        let mut threads = Threads::default();
        if let Some(listener) = listener {
            threads.answers = Some(threads.answering(listener).map_err(|error| cannot("--probe-listen", error))?);
        }
        if let Some(option) = needed_to_ask(config) {
            threads.asks = Some(threads.parked(Parked::to_ask).map_err(|error| cannot(option, error))?);
        }
        match needed_later(config).map(|option| (option, try_out())) {
            Some((option, Err(error))) => Err(cannot(option, error)),
            Some((_, Ok(()))) | None => Ok(threads),
        }
    }

    fn answering(&mut self, listener: &ProbeListener) -> io::Result<(Parked, Waker, ProbeListener)> {
        let listener = listener.try_clone()?;
        let (parked, waker) = self.parked(|| Parked::to_answer(&listener))?;
        Ok((parked, waker, listener))
    }

    fn parked(&mut self, start: impl FnOnce() -> io::Result<Parked>) -> io::Result<(Parked, Waker)> {
        let waker = match self.waker.take() {
            Some(waker) => waker,
            None => Waker::new()?,
        };
        let other_end = waker.try_clone()?;
        self.waker = Some(waker);
        Ok((start()?, other_end))
    }
}

/// The option that needs one to ask with, as long as the app runs.
fn needed_to_ask(config: &Config) -> Option<&'static str> {
    let options = [
        (!config.checks.is_empty(), "--check"),
        (config.ready.is_some(), "--ready-url"),
        (config.live.is_some(), "--live-url"),
    ];
    options.into_iter().find(|(is, _)| *is).map(|(_, option)| option)
}

/// The option that needs one now and then.
fn needed_later(config: &Config) -> Option<&'static str> {
    let posts = config.hooks.iter().any(|hook| matches!(hook.action, HookAction::Post(_)));
    let disks = config.checks.iter().any(|check| matches!(check.target, CheckTarget::Disk { .. }));
    let options = [(disks, "--check disk:"), (posts, "--hook"), (matches!(config.hold, Hold::Url(_)), "--hold")];
    options.into_iter().find(|(is, _)| *is).map(|(_, option)| option)
}

/// One that has nothing to do.
fn try_out() -> io::Result<()> {
    // An error of join is a panic, of which there is none.
    signals::start_thread("graceful-try", 64 * 1024, || {}).map(|thread| drop(thread.join()))
}

impl Supervisor {
    /// Gives the threads their work.
    pub(super) fn begin_threads(&mut self) {
        let Threads { waker, answers, asks } = std::mem::take(&mut self.launch.threads);
        self.http.wake_by(waker);
        if let Some((parked, waker, listener)) = answers {
            self.answer(listener, |shared| parked.begin(shared, move || waker.wake()));
        }
        if let Some((parked, waker)) = asks {
            let shared = self.health.as_ref().map(|health| health.shared());
            self.http.begin(parked.begin(shared, move || waker.wake()));
        }
    }
}

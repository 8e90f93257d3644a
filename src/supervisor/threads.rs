//! Threads that something asked for cannot do without, before the app: where none can be had (a seccomp profile that denies
//! clone3, `--pids-limit`), that is a failure to start, and not a port that accepts and does not answer, or a hook that
//! fails in the stop.
//!
//! | thread | is for | without it |
//! | --- | --- | --- |
//! | HTTP that answers, from the start on | `--probe-listen` | the app is not started |
//! | HTTP that asks, from the start on | `--check`, `--ready-url` | the app is not started |
//! | HTTP that asks, later | `--hold URL`, POST hooks | tried out before the app; the app is not started |
//! | `disk:` checks, one for each try | what may hang | tried out before the app; later the check fails and says so |
//! | log lines | a reader that does not read | they are written by the main loop as far as there is room |
//! | files | a disk that hangs | they are written by the main loop |
//! | connections, from t0 on | `--hold idle` and `quiet` | nothing is held, and that is said |

use super::Supervisor;
use crate::config::{Config, Hold, HookAction, Target};
use crate::sys::in_words;
use std::io;
use std::thread;

/// The option that needs a thread as long as the app runs.
pub(super) fn needed(config: &Config) -> Option<&'static str> {
    config.probe_listen.as_ref().map(|_| "--probe-listen").or(needed_to_ask(config))
}

/// The same, less what answers probes, which has a thread of its own.
fn needed_to_ask(config: &Config) -> Option<&'static str> {
    let options = [(!config.checks.is_empty(), "--check"), (config.ready.is_some(), "--ready-url")];
    options.into_iter().find(|(is, _)| *is).map(|(_, option)| option)
}

/// The option that needs one now and then.
pub(super) fn needed_later(config: &Config) -> Option<&'static str> {
    let posts = config.hooks.iter().any(|hook| matches!(hook.action, HookAction::Post(_)));
    let disks = config.checks.iter().any(|check| matches!(check.target, Target::Disk { .. }));
    let options = [(disks, "--check disk:"), (posts, "--hook"), (matches!(config.hold, Hold::Url(_)), "--hold")];
    options.into_iter().find(|(is, _)| *is).map(|(_, option)| option)
}

/// One that has nothing to do.
fn try_out() -> io::Result<()> {
    // An error of join is a panic, of which there is none.
    thread::Builder::new().stack_size(64 * 1024).spawn(|| {}).map(|thread| drop(thread.join()))
}

impl Supervisor {
    /// Starts what the app's start must wait for. An error is the reason why it must not come.
    pub(super) fn start_threads(&mut self) -> Result<(), String> {
        let cannot = |option: &str, error: &io::Error| {
            format!("{option} needs a thread, and none can be started: {}", in_words(error))
        };
        self.attend().map_err(|error| cannot("--probe-listen", &error))?;
        if let Some(option) = needed_to_ask(&self.config)
            && self.http.is_none()
        {
            self.http = Some(self.start_http().map_err(|error| cannot(option, &error))?);
        }
        match self.needs_later.map(|option| (option, try_out())) {
            Some((option, Err(error))) => Err(cannot(option, &error)),
            Some((_, Ok(()))) | None => Ok(()),
        }
    }
}

//! Dependency checks: each is a task of its own, so that one which hangs delays no other.
//!
//! ```text
//!   pace ─► try ─► Attempt ─► Shared (thresholds, breaker) ─► CheckChanged, if something changed
//!    ▲                                │
//!    └──── how long to wait ◄─────────┘
//! ```
//!
//! - `http`: a GET by the rules of a readiness probe, with a JSON answer's `status` field.
//! - `tcp`: connect, send, expect.
//! - `disk`: free space, on a thread of its own, since statvfs(2) may hang.
//! - commands run in the main loop, which owns wait(2).
//!
//! Invariants: tries of one check never overlap; a try ends by its timeout, whatever the other side does; while the
//! breaker is open nothing is asked; nothing blocks the thread, which all checks share; an attempt's detail is of
//! graceful's own making, since everybody may read it, and what the other side said is for the log alone.

mod disk;
mod http;
mod pace;
mod tcp;

use super::client::Client;
use super::names::Names;
use super::state::Shared;
use super::worker::Fact;
use crate::config::{Check, Target};
use crate::health::{Attempt, Breaker, Status};
use crate::secret::CommandLine;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

/// The main loop ends a command at its timeout; should it not answer, the check goes on after this.
const LAST_RESORT: Duration = Duration::from_secs(5);
/// A timeout beyond this is cut: the clock's arithmetic would overflow at the far end.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// So many characters of what the other side said are logged.
const MAX_SAID: usize = 100;

/// What the checks need of the thread.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) client: Rc<Client>,
    pub(super) names: Names,
    pub(super) shared: Arc<Shared>,
    /// Queues a fact for the main loop.
    pub(super) report: Rc<dyn Fn(Fact)>,
    /// Has the main loop run a command (it owns wait(2)); the answer comes by the channel. A dropped sender means that
    /// there will be none.
    pub(super) run: Rc<dyn Fn(Command) -> oneshot::Receiver<Attempt>>,
}

/// A command that the main loop runs for a check. It is killed with its tree after the timeout, which is the main
/// loop's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The argv.
    pub argv: CommandLine,
    /// For all of it.
    pub timeout: Duration,
    /// Exit statuses that mean degraded.
    pub degraded_status: Vec<u8>,
}

/// Tries the check of this index again and again.
pub(super) async fn run(index: usize, check: Check, desk: Desk) {
    let mut stuck = disk::Stuck::default();
    let wait = || desk.shared.wait(index);
    pace::keep(pace::Rhythm::of(&check), wait, async || {
        let attempt = attempt(&check, &desk, &mut stuck).await;
        let said = attempt.said.clone();
        let changed = desk.shared.tried(index, attempt);
        // Asked after each try: that is what makes an open breaker half-open.
        let pause = wait();
        if let Some((change, detail)) = changed {
            let not_tried_for = (change.breaker_to == Breaker::Open).then_some(pause);
            (desk.report)(Fact::CheckChanged { name: check.name.clone(), change, not_tried_for, detail, said });
        }
    })
    .await;
}

async fn attempt(check: &Check, desk: &Desk, stuck: &mut disk::Stuck) -> Attempt {
    let limit = check.timeout.min(LONGEST);
    match &check.target {
        Target::Http(url) => http::attempt(&desk.client, url, limit).await,
        Target::Tcp { host, port, send, expect } => {
            let talk = tcp::Talk { send: send.as_deref(), expect: expect.as_deref() };
            tcp::attempt(&desk.names, host, *port, talk, limit).await
        }
        Target::Exec { argv, degraded_status } => {
            let command = Command { argv: argv.clone(), timeout: limit, degraded_status: degraded_status.clone() };
            command_ended((desk.run)(command), limit).await
        }
        Target::Disk { path, degraded_free, unhealthy_free } => {
            let limits = disk::Limits { degraded: *degraded_free, unhealthy: *unhealthy_free };
            disk::attempt(path, limits, limit, stuck).await
        }
    }
}

async fn command_ended(answer: oneshot::Receiver<Attempt>, limit: Duration) -> Attempt {
    let start = Instant::now();
    match timeout(limit + LAST_RESORT, answer).await {
        Ok(Ok(attempt)) => attempt,
        Ok(Err(_)) => failed("it could not be run", start.elapsed()),
        Err(_) => failed(format!("no exit within {}", humantime::format_duration(limit)), start.elapsed()),
    }
}

fn failed(why: impl Into<String>, took: Duration) -> Attempt {
    Attempt { status: Status::Unhealthy, detail: why.into(), said: None, took }
}

/// What the other side said, on one line; what would not be seen there, or do something to a terminal, is escaped.
fn said(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let escaped = |c: char| if "\"'".contains(c) { c.to_string() } else { c.escape_debug().to_string() };
    let line: String = text.trim().chars().take(MAX_SAID).map(escaped).collect();
    (!line.is_empty()).then(|| line.chars().take(MAX_SAID).collect())
}

#[cfg(test)]
#[path = "checks_tests.rs"]
mod tests;

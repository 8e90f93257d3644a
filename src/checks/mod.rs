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

mod attempt;
mod disk;
mod http;
mod pace;
mod tcp;

use crate::config::{CheckConfig, CheckTarget};
use crate::health::{Attempt, Breaker, CheckTransition};
use crate::http::Client;
use crate::http::resolver::Names;
use crate::secret::CommandLine;
use crate::server::Shared;
use attempt::failed;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tracing::debug;

/// The main loop ends a command at its timeout; should it not answer, the check goes on after this.
const LAST_RESORT: Duration = Duration::from_secs(5);
/// A timeout beyond this is cut: the clock's arithmetic would overflow at the far end.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// A check's status or its breaker changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckChanged {
    /// The check.
    pub name: String,
    /// What changed.
    pub change: CheckTransition,
    /// The breaker is open: nothing is tried for this long.
    pub not_tried_for: Option<Duration>,
    /// Why it changed.
    pub detail: String,
    /// What the other side said, for the log alone.
    pub said: Option<String>,
}

/// A command that the main loop runs for a check. It is killed with its tree after the timeout, which is the main
/// loop's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckCommand {
    /// The argv.
    pub argv: CommandLine,
    /// For all of it.
    pub timeout: Duration,
    /// Exit statuses that mean degraded.
    pub degraded_status: Vec<u8>,
}

/// What the checks need from the thread.
#[derive(Clone)]
pub(crate) struct CheckContext {
    pub(crate) client: Rc<Client>,
    pub(crate) names: Names,
    pub(crate) shared: Arc<Shared>,
    /// Tells the main loop.
    pub(crate) report: Rc<dyn Fn(CheckChanged)>,
    /// Has the main loop run a command (it owns wait(2)); the answer comes by the channel. A dropped sender means that
    /// there will be none.
    pub(crate) run: Rc<dyn Fn(CheckCommand) -> oneshot::Receiver<Attempt>>,
}

/// Tries the check with this index again and again.
pub(crate) async fn run(index: usize, check: CheckConfig, desk: CheckContext) {
    let mut stuck = disk::Stuck::default();
    let wait = || desk.shared.wait(index);
    pace::keep(pace::Rhythm::of(&check), wait, async || {
        let attempt = attempt(&check, &desk, &mut stuck).await;
        let said = attempt.said.clone();
        let (name, status, took) = (check.name.as_str(), attempt.status.name(), attempt.took);
        debug!(name: "check_tried", check = name, status, took_s = took.as_secs_f64(), "check {name} is {status}, in {took:.1?}");
        let changed = desk.shared.tried(index, attempt);
        // Asked after each try: that is what makes an open breaker half-open.
        let pause = wait();
        if let Some((change, detail)) = changed {
            let not_tried_for = (change.breaker_to == Breaker::Open).then_some(pause);
            (desk.report)(CheckChanged { name: check.name.clone(), change, not_tried_for, detail, said });
        }
    })
    .await;
}

async fn attempt(check: &CheckConfig, desk: &CheckContext, stuck: &mut disk::Stuck) -> Attempt {
    let limit = check.timeout.min(LONGEST);
    match &check.target {
        CheckTarget::Http(url) => http::attempt(&desk.client, url, limit).await,
        CheckTarget::Tcp { host, port, send, expect } => {
            let talk = tcp::Talk { send: send.as_deref(), expect: expect.as_deref() };
            tcp::attempt(&desk.names, host, *port, talk, limit).await
        }
        CheckTarget::Exec { argv, degraded_status } => {
            let command = CheckCommand { argv: argv.clone(), timeout: limit, degraded_status: degraded_status.clone() };
            command_ended((desk.run)(command), limit).await
        }
        CheckTarget::Disk { path, degraded_free, unhealthy_free } => {
            let limits = disk::DiskLimits { degraded: *degraded_free, unhealthy: *unhealthy_free };
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

#[cfg(test)]
#[path = "checks_tests.rs"]
mod tests;

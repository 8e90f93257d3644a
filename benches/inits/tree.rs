//! The end of an app with very many processes: graceful's SIGKILL against a bare `kill -9 -1`.
//!
//! Both are PID 1 of a namespace over the same tree, and both times end when `unshare` has seen PID 1 end. graceful's
//! begins where its budget says that SIGKILL is due, so lateness, the walk, the reaping and the report all count.

use crate::Effort;
use crate::child;
use crate::contender::{Contender, Namespace};
use crate::process::{Running, children, micros, now, send};
use crate::table::{Row, Unit, interleave};
use nix::sys::signal::Signal;
use std::path::Path;

const OPTIONS: [&str; 6] = ["--grace-period", "2s", "--pre-stop-delay", "0s", "--kill-margin", "1s"];
/// Grace period less kill margin, in nanoseconds.
const KILL_AFTER: u64 = 1_000_000_000;
/// What outlives its SIGKILL by this many nanoseconds was never killed; the app's own alarm ended it.
const NEVER: u64 = 20_000_000_000;

/// From SIGKILL to the empty namespace.
pub(crate) fn kill(contenders: &[Contender], namespace: &Namespace, effort: &Effort) -> Result<Vec<Row>, String> {
    let app = std::env::current_exe().map_err(|error| format!("cannot find this binary: {error}"))?;
    let prefix = namespace.prefix()?;
    let label = format!("SIGKILL to {} processes (no init: `kill -9 -1`)", effort.tree);
    let mut row = interleave(&label, Unit::Micros, contenders, effort.tree_rounds, |contender| {
        if contender.is_graceful() {
            by_graceful(contender, prefix, &app, effort.tree)
        } else if contender.is_bare() {
            bare(contender, prefix, &app, effort.tree)
        } else {
            Err(String::new())
        }
    });
    row.against_bare = true;
    Ok(vec![row])
}

fn by_graceful(contender: &Contender, prefix: &[&str], app: &Path, count: usize) -> Result<f64, String> {
    let arguments = [child::HIDDEN, child::TREE, &count.to_string()];
    let mut running = Running::start(contender.command_in(prefix, &OPTIONS, app, &arguments))?;
    let init = *children(running.pid())?.first().ok_or("unshare has no child")?;
    let start = now();
    send(init, Signal::SIGTERM)?;
    let end = running.wait_only()?;
    if end < start + KILL_AFTER {
        return Err("ended before SIGKILL was due, over an app that ignores SIGTERM".to_owned());
    }
    if end > start + NEVER {
        return Err("did not send SIGKILL when its budget was spent".to_owned());
    }
    Ok(micros(start + KILL_AFTER, end))
}

fn bare(contender: &Contender, prefix: &[&str], app: &Path, count: usize) -> Result<f64, String> {
    let arguments = [child::HIDDEN, child::KILL_ALL, &count.to_string()];
    let mut running = Running::start(contender.command_in(prefix, &[], app, &arguments))?;
    running.go()?;
    let end = running.wait_only()?;
    Ok(micros(running.stamp()?, end))
}

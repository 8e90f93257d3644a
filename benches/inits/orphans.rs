//! What it costs an init to reap what others left behind.
//!
//! Each init is PID 1 of a namespace, since not all of them can be subreaper. Its CPU time is read from outside
//! before and after, both times while it sleeps: only then is the kernel's count up to date.

use crate::Effort;
use crate::child;
use crate::contender::{Contender, Namespace};
use crate::process::{Running, children, cpu_nanos};
use crate::table::{Row, Unit, interleave};
use std::path::Path;
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(20);

/// CPU per orphan, when they come one at a time and when they come in bursts.
pub(crate) fn cpu_per_orphan(
    contenders: &[Contender],
    namespace: &Namespace,
    effort: &Effort,
) -> Result<Vec<Row>, String> {
    let app = std::env::current_exe().map_err(|error| format!("cannot find this binary: {error}"))?;
    let prefix = namespace.prefix()?;
    let row = |name: &str, burst: usize| {
        interleave(name, Unit::Micros, contenders, effort.orphan_rounds, |contender| {
            if contender.is_bare() {
                return Err(String::new());
            }
            one_round(contender, prefix, &app, effort.orphans, burst)
        })
    };
    Ok(vec![row("CPU per orphan, one at a time", 1), row("CPU per orphan, bursts of 100", 100)])
}

fn one_round(contender: &Contender, prefix: &[&str], app: &Path, count: usize, burst: usize) -> Result<f64, String> {
    let arguments = [child::HIDDEN, child::ORPHANS, &count.to_string(), &burst.to_string()];
    let mut running = Running::start(contender.command_in(prefix, &[], app, &arguments))?;
    let init = *children(running.pid())?.first().ok_or("unshare has no child")?;
    until_only_the_app_is_left(init)?;
    let before = cpu_nanos(init)?;
    running.go()?;
    running.stamp()?;
    until_only_the_app_is_left(init)?;
    let after = cpu_nanos(init)?;
    running.wait()?;
    Ok((after - before) as f64 / 1000.0 / count as f64)
}

/// The last orphan has been reaped and the init sleeps again.
fn until_only_the_app_is_left(init: u32) -> Result<(), String> {
    let start = Instant::now();
    while children(init)?.len() > 1 || !is_asleep(init)? {
        if start.elapsed() > DEADLINE {
            return Err(format!("orphans are left {} s after the last was born", DEADLINE.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

fn is_asleep(pid: u32) -> Result<bool, String> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    Ok(status.lines().any(|line| line.starts_with("State:\tS")))
}

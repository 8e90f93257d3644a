//! `disk:`: free space and free inodes.
//!
//! statvfs(3) on a dead network file system does not return, and no timeout ends it. So it runs on a thread of its own,
//! and while one hangs, no second one is started: one stuck thread for each check at most.

use super::attempt::failed;
use crate::blocking::{self, BlockingTask};
use crate::config::Space;
use crate::health::{Attempt, Status};
use crate::sys::as_fragment;
use crate::sys::disk::{self, Usage};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Less free space than this is too little.
#[derive(Clone, Copy)]
pub(super) struct DiskLimits {
    pub(super) degraded: Space,
    pub(super) unhealthy: Space,
}

/// A question that was not answered in time.
#[derive(Default)]
pub(super) struct Stuck(Option<Question>);

/// (An `io::Error` cannot be cloned, and whoever waits again gets the same answer.)
type Question = BlockingTask<Result<Usage, Arc<io::Error>>>;

/// Asks for the file system of this path.
pub(super) async fn attempt(path: &Path, limits: DiskLimits, limit: Duration, stuck: &mut Stuck) -> Attempt {
    answered(|| ask(path), limits, limit, stuck).await
}

async fn answered(
    ask: impl FnOnce() -> io::Result<Question>,
    limits: DiskLimits,
    limit: Duration,
    stuck: &mut Stuck,
) -> Attempt {
    let start = Instant::now();
    // An answer that came between two tries is older than this one.
    let earlier = stuck.0.take().filter(|question| !question.is_over());
    let is_late = earlier.is_some();
    let mut question = match earlier.map_or_else(ask, Ok) {
        Ok(question) => question,
        Err(error) => return failed(format!("no thread to ask: {}", as_fragment(&error)), start.elapsed()),
    };
    let answer = timeout(limit, question.wait()).await;
    let took = start.elapsed();
    match answer {
        Ok(Some(Ok(usage))) => {
            let (status, detail) = judged(usage, limits);
            Attempt { status, detail, said: None, took }
        }
        Ok(Some(Err(error))) => failed(as_fragment(&error), took),
        Ok(None) => failed("it could not be asked", took),
        Err(_) => {
            stuck.0 = Some(question);
            let still = if is_late { ", still hanging" } else { "" };
            failed(format!("no answer within {}{still}", humantime::format_duration(limit)), took)
        }
    }
}

fn ask(path: &Path) -> io::Result<Question> {
    let path = path.to_owned();
    blocking::start(move || disk::usage(&path).map_err(Arc::new))
}

fn judged(usage: Usage, limits: DiskLimits) -> (Status, String) {
    if usage.size == 0 {
        // File systems that are made up (/proc), some FUSE ones, tmpfs without a limit. Nobody knows whether it is
        // full.
        return (Status::Degraded, "the file system does not say how large it is".to_owned());
    }
    for (least, status) in [(limits.unhealthy, Status::Unhealthy), (limits.degraded, Status::Degraded)] {
        if let Some(why) = shortage(usage, least) {
            return (status, why);
        }
    }
    let detail = match limits.degraded {
        Space::Bytes(_) => bytes(usage.free),
        Space::Percent(_) => percent(share(usage.free, usage.size)),
    };
    (Status::Healthy, format!("{detail} free"))
}

/// How much is left, if that is less than this.
fn shortage(usage: Usage, least: Space) -> Option<String> {
    match least {
        Space::Bytes(least) => (usage.free < least).then(|| format!("{} free", bytes(usage.free))),
        Space::Percent(least) => {
            let space = share(usage.free, usage.size);
            // btrfs and others have no fixed number of inodes, and do not run out of them.
            let inodes = if usage.inodes == 0 { 100.0 } else { share(usage.free_inodes, usage.inodes) };
            let of_what = if inodes < space { " of the inodes" } else { "" };
            (space.min(inodes) < least).then(|| format!("{}{of_what} free", percent(space.min(inodes))))
        }
    }
}

fn share(free: u64, all: u64) -> f64 {
    free as f64 * 100.0 / all as f64
}

/// Rounded down, so that what is below a limit also looks below it: 19%, 4.9%.
fn percent(share: f64) -> String {
    format!("{}%", rounded_down(share, 10.0))
}

/// Rounded down: 1.2 GiB, 512 MiB, 17 B.
fn bytes(count: u64) -> String {
    let units = [("TiB", 1_u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
    let (unit, size) = units.into_iter().find(|(_, size)| count >= *size).unwrap_or(("B", 1));
    format!("{} {unit}", rounded_down(count as f64 / size as f64, 100.0))
}

/// To tenths below this, to whole numbers above.
fn rounded_down(number: f64, tenths_below: f64) -> f64 {
    if number < tenths_below { (number * 10.0).floor() / 10.0 } else { number.floor() }
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;

//! What /proc tells of a process from outside: it sees the state that exec(2) handed over, which an app that
//! described itself would have changed already (Python ignores SIGPIPE, Perl ignores SIGFPE).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{DEADLINE, Proc};

/// Looks again and again until there is something: /proc tells no news.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "{what} did not come in time");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A file of /proc/PID, or nothing if the process is gone.
pub(crate) fn read(pid: i32, file: &str) -> Option<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/{file}")).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// A line of /proc/PID/status.
pub(crate) fn status(pid: i32, key: &str) -> Option<String> {
    let text = read(pid, "status")?;
    text.lines().find_map(|line| Some(line.strip_prefix(key)?.strip_prefix(':')?.trim().to_owned()))
}

/// R, S, D, T, Z …; nothing if there is no such process.
pub(crate) fn state(pid: i32) -> Option<char> {
    status(pid, "State")?.chars().next()
}

/// The process has ended (it may still wait to be reaped).
pub(crate) fn has_ended(pid: i32) -> bool {
    matches!(state(pid), None | Some('Z' | 'X'))
}

/// Its children, zombies included, as pids of this namespace.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    let mut found = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let pids = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        found.extend(pids.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    found
}

/// What its descriptors lead to.
pub(crate) fn descriptors(pid: i32) -> BTreeMap<i32, PathBuf> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let number = |path: &Path| path.file_name()?.to_str()?.parse().ok();
    entries.filter_map(|entry| Some((number(&entry.path())?, std::fs::read_link(entry.path()).ok()?))).collect()
}

/// The process that runs `program` as a child of the init under test, once it has executed it and sleeps. Between
/// clone and exec a child has the name of its parent; a program that is being loaded is not asleep yet.
#[track_caller]
pub(crate) fn app_of(init: &Proc, program: &str) -> i32 {
    let target = init.target();
    wait_for(&format!("{program} below {target}"), || {
        assert!(init.exit().is_none(), "it has ended\n{}", init.dump());
        children(target).into_iter().find(|pid| runs(*pid, program))
    })
}

/// This process itself has become `program` and sleeps.
#[track_caller]
pub(crate) fn wait_runs(pid: i32, program: &str) {
    wait_for(&format!("{program} as {pid}"), || runs(pid, program).then_some(()));
}

fn runs(pid: i32, program: &str) -> bool {
    read(pid, "comm").is_some_and(|name| name.trim_end() == program) && state(pid) == Some('S')
}

//! What /proc says about processes (proc_pid_stat(5)).
//!
//! /proc is believed only if it shows this very process under its own pid: after `unshare --pid` without a new mount it
//! shows another namespace, whose pids mean somebody else here.

use crate::sys::{fds, getpid};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::iter;
use std::path::PathBuf;

/// One process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its pid.
    pub pid: i32,
    /// Its parent's, 0 if that is outside of the namespace.
    pub parent: i32,
    /// Its process group.
    pub group: i32,
    /// The name of its executable, 15 bytes at most.
    pub name: String,
    /// Whether it has ended and waits to be reaped: all of its threads have, and not only the first one, whose state is
    /// shown.
    pub zombie: bool,
    /// Whether it is stopped, by a signal or a debugger: nothing but SIGCONT and SIGKILL acts on it.
    pub stopped: bool,
    /// Whether it has a controlling terminal.
    pub has_terminal: bool,
    /// Whether it leads a session that has a terminal: a login or `docker exec -t` shell.
    pub leads_terminal: bool,
    /// In clock ticks since boot; with the pid it names the process for good.
    start_time: u64,
}

impl Process {
    /// Whether the pid still means this process.
    pub fn is_still_there(&self) -> bool {
        read(self.pid).is_some_and(|now| now.start_time == self.start_time && !now.zombie)
    }
}

/// Whether /proc can be believed.
pub fn is_usable() -> bool {
    fs::read_link("/proc/self").is_ok_and(|target| target.to_str() == Some(&getpid().to_string()))
}

/// This process; `None` if it is gone, or without a usable /proc.
pub fn process(pid: i32) -> Option<Process> {
    if is_usable() { read(pid) } else { None }
}

/// Every other process that is visible and has not ended; `None` without a usable /proc.
pub fn others() -> Option<Vec<Process>> {
    let own = getpid();
    Some(all()?.into_iter().filter(|process| process.pid != own && !process.zombie).collect())
}

/// Whether the process is dead or dying: it is gone, or holds no descriptor any more, which the kernel takes away
/// before wait(2) can tell of the end. One that may not be looked into counts as alive.
pub fn has_let_go(pid: i32) -> bool {
    match descriptors(pid) {
        Ok(open) => open.is_none(),
        Err(error) => matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)),
    }
}

/// What is in the folder of a process's descriptors, which its threads share: that of its first thread or, where that
/// one has ended and the others go on (pthread_exit(3) in main), of another. `None` if nothing is open.
pub fn descriptors(pid: i32) -> io::Result<Option<impl Iterator<Item = io::Result<fs::DirEntry>>>> {
    let listed = |folder: PathBuf| -> io::Result<_> {
        let mut entries = fs::read_dir(folder)?;
        Ok(entries.next().map(|first| iter::once(first).chain(entries)))
    };
    if let Some(open) = listed(PathBuf::from(format!("/proc/{pid}/fd")))? {
        return Ok(Some(open));
    }
    let threads = fs::read_dir(format!("/proc/{pid}/task"))?.flatten();
    Ok(threads.filter_map(|thread| listed(thread.path().join("fd")).ok().flatten()).next())
}

/// The name of a process's executable, 15 bytes at most; also of one that has not been reaped yet.
pub fn name_of(pid: i32) -> Option<String> {
    let name = fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(String::from_utf8_lossy(name.strip_suffix(b"\n").unwrap_or(&name)).into_owned())
}

/// The time that these processes have had the processor for, in clock ticks; those that are gone count as nothing.
pub fn processor_time(pids: &[i32]) -> u64 {
    let of = |pid: &i32| {
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        let stat = String::from_utf8_lossy(&stat);
        let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().skip(11);
        // utime and stime, the 14th and 15th of proc_pid_stat(5).
        Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
    };
    pids.iter().filter_map(of).sum()
}

/// The name of a process's executable, 15 bytes at most, and its parent: all that one short read tells, for where time
/// counts.
pub fn name_and_parent_of(pid: i32) -> Option<(String, i32)> {
    // What is asked for is at the beginning; a name takes four bytes for each at most.
    let mut buffer = [0; 256];
    let stat = fds::read_record(&format!("/proc/{pid}/stat"), &mut buffer)?;
    let stat = String::from_utf8_lossy(stat);
    let (name, rest) = (stat.find('(')?, stat.rfind(')')?);
    let parent = stat.get(rest + 1..)?.split_ascii_whitespace().nth(1)?;
    Some((stat.get(name + 1..rest)?.to_owned(), parent.parse().ok()?))
}

/// Everything that descends from this process but not from one of these, and has not ended; `None` without a usable
/// /proc.
pub fn descendants_but(spared: &[i32]) -> Option<Vec<Process>> {
    let all = all()?;
    let below_spared: HashSet<i32> = below(all.clone(), spared).iter().map(|process| process.pid).collect();
    let is_spared = |pid: i32| spared.contains(&pid) || below_spared.contains(&pid);
    Some(below(all, &[getpid()]).into_iter().filter(|process| !is_spared(process.pid)).collect())
}

/// Everything that descends from this process and has not ended; `None` without a usable /proc.
pub fn descendants() -> Option<Vec<Process>> {
    Some(below(all()?, &[getpid()]))
}

/// The same, but of very many only about `count`, the oldest, and only while `go_on` says that there is time: each file
/// of /proc that is read also costs the kernel something when its process ends.
pub fn eldest_descendants(count: usize, go_on: &dyn Fn() -> bool) -> Option<Vec<Process>> {
    let own = getpid();
    let (mut all, mut known) = (Vec::new(), HashSet::from([own]));
    // In the order of their pids: parents come before their children, unless pids have wrapped around.
    for process in listed()? {
        if known.contains(&process.parent) {
            known.insert(process.pid);
        }
        all.push(process);
        if known.len() > count || !go_on() {
            break;
        }
    }
    Some(below(all, &[own]))
}

/// Our own children, including those that have ended and have not been reaped; none where the kernel does not list them
/// (CONFIG_PROC_CHILDREN). Far quicker than a look at all processes.
pub fn children() -> Vec<i32> {
    children_of(getpid())
}

/// The same for the first thread of another process.
pub fn children_of(pid: i32) -> Vec<i32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    if list.is_empty() || !is_usable() {
        return Vec::new();
    }
    list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// The tree below `root`, itself included, and everything in its process group; `None` without a usable /proc.
pub fn with_group(root: i32) -> Option<Vec<Process>> {
    let all = all()?;
    let group: Vec<i32> = all.iter().filter(|process| process.group == root).map(|process| process.pid).collect();
    let mut found = below(all.clone(), &[root]);
    found.extend(all.into_iter().filter(|process| {
        (process.pid == root || group.contains(&process.pid)) && !process.zombie && process.pid != getpid()
    }));
    found.sort_by_key(|process| process.pid);
    found.dedup_by_key(|process| process.pid);
    Some(found)
}

/// A zombie is left out, but not its children: they are about to be ours.
fn below(all: Vec<Process>, roots: &[i32]) -> Vec<Process> {
    let mut children: HashMap<i32, Vec<&Process>> = HashMap::new();
    for process in &all {
        children.entry(process.parent).or_default().push(process);
    }
    let (mut found, mut seen) = (Vec::new(), HashSet::new());
    let mut queue = roots.to_vec();
    while let Some(parent) = queue.pop() {
        for process in children.get(&parent).into_iter().flatten() {
            // A snapshot is not atomic: a pid that was reused while it was taken could make a circle.
            if seen.insert(process.pid) && !roots.contains(&process.pid) {
                queue.push(process.pid);
                found.push((*process).clone());
            }
        }
    }
    found.retain(|process| !process.zombie);
    found
}

fn all() -> Option<Vec<Process>> {
    Some(listed()?.collect())
}

fn listed() -> Option<impl Iterator<Item = Process>> {
    if !is_usable() {
        return None;
    }
    let (entries, kernel) = (fs::read_dir("/proc").ok()?, kernel_threads());
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Some(pids.filter(move |pid| !kernel.contains(pid)).filter_map(read))
}

/// The kernel's own threads: most of the processes of a whole machine, and none of ours. One file names them all, so
/// that they need not be looked at one by one. Empty in a container.
fn kernel_threads() -> HashSet<i32> {
    const KTHREADD: i32 = 2;
    match name_and_parent_of(KTHREADD) {
        Some((name, 0)) if name == "kthreadd" => children_of(KTHREADD).into_iter().collect(),
        Some(_) | None => HashSet::new(),
    }
}

fn read(pid: i32) -> Option<Process> {
    // 52 fields, of at most 20 digits and most of them of one; there may be very many processes.
    let mut buffer = [0; 1024];
    parse(pid, &String::from_utf8_lossy(fds::read_record(&format!("/proc/{pid}/stat"), &mut buffer)?))
}

/// The name stands in parentheses and may itself hold parentheses and spaces: the last `)` ends it.
fn parse(pid: i32, stat: &str) -> Option<Process> {
    let (name, rest) = (stat.find('(')?, stat.rfind(')')?);
    let fields: Vec<&str> = stat.get(rest + 1..)?.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<i64>().ok();
    let (session, terminal) = (number(3)?, number(4)?);
    Some(Process {
        pid,
        parent: number(1)? as i32,
        group: number(2)? as i32,
        name: stat.get(name + 1..rest)?.to_owned(),
        zombie: matches!(*fields.first()?, "Z" | "X") && number(17)? <= 1,
        stopped: matches!(*fields.first()?, "T" | "t"),
        has_terminal: terminal != 0,
        leads_terminal: session == i64::from(pid) && terminal != 0,
        start_time: fields.get(19)?.parse().ok()?,
    })
}

#[cfg(test)]
mod testing {
    use super::Process;

    impl Process {
        /// A process for the tests of code that looks at processes.
        pub(crate) fn made_up(pid: i32, parent: i32) -> Process {
            let (name, zombie, leads_terminal) = (String::new(), false, false);
            let (stopped, has_terminal) = (false, false);
            Process { pid, parent, group: pid, name, zombie, stopped, has_terminal, leads_terminal, start_time: 0 }
        }

        /// The same in this process group.
        pub(crate) fn in_group(self, group: i32) -> Process {
            Process { group, ..self }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAIL: &str = "0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 777 1000 1 2 3";

    #[test]
    fn a_name_with_parentheses_and_spaces_is_read() {
        let process = parse(7, &format!("7 (a) b (c) S 3 5 7 34816 {}", &TAIL[2..])).expect("parses");
        assert_eq!((process.name.as_str(), process.parent, process.group), ("a) b (c", 3, 5));
        assert!(process.leads_terminal && !process.zombie);
    }

    #[test]
    fn a_process_is_dead_when_its_last_thread_is() {
        let of = |state, threads| {
            let tail = TAIL[2..].replacen("20 0 1 0", &format!("20 0 {threads} 0"), 1);
            parse(7, &format!("7 (x) {state} 3 5 7 0 {tail}")).expect("parses").zombie
        };
        assert!(of("Z", 1) && of("Z", 0) && of("X", 0));
        assert!(!of("Z", 2) && !of("S", 1));
    }

    #[test]
    fn garbage_is_no_process() {
        for stat in ["", "7", "7 (x", "7 (x) S", "7 )x( S 1 1 1 0", "7 (x) S a b c d"] {
            assert_eq!(parse(7, stat), None, "{stat}");
        }
    }

    #[test]
    fn children_of_a_zombie_are_found_and_circles_end() {
        let process = |pid, parent, zombie| Process { zombie, ..Process::made_up(pid, parent) };
        let all = vec![process(2, 1, true), process(3, 2, false), process(5, 6, false), process(6, 5, false)];
        let pids: Vec<i32> = below(all.clone(), &[1]).iter().map(|process| process.pid).collect();
        assert_eq!(pids, [3]);
        assert_eq!(below(all, &[5]).len(), 1);
    }

    #[test]
    fn this_process_sees_its_own_child() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep runs");
        let pid = child.id() as i32;
        let found = descendants().expect("/proc is usable here").into_iter().find(|process| process.pid == pid);
        assert!(found.as_ref().is_some_and(Process::is_still_there));
        child.kill().expect("it runs");
        child.wait().expect("it ended");
        assert!(!found.expect("seen above").is_still_there());
    }
}

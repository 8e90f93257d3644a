//! Which of two runs of the app a process belongs to, while there are two.
//!
//! Both descend from graceful, and an orphan of either becomes its child. So what tells them apart is, in this order:
//!
//! 1. its ancestors, up to one of the two apps, as long as that exists;
//! 2. its process group, if that is one of the two apps' own: it outlives the app, and its number is not given away
//!    before the group is empty (fork(2));
//! 3. the variable GRACEFUL_GENERATION that it was started with (proc_pid_environ(5)): apps and hooks have it, and what
//!    they start inherits it.
//!
//! A process about which none of these tells belongs to the run that counts: a daemon that has replaced its environment
//! and its session, and one that was brought in from outside.

use super::tree::Process;
use std::collections::HashMap;
use std::fs;

/// The variable that a run gives to everything that it starts, with its number.
pub const VARIABLE: &str = "GRACEFUL_GENERATION";

/// One of the runs of the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its number.
    pub generation: u64,
    /// Its app's pid, which may have ended.
    pub app: Option<i32>,
}

/// One of the two runs, beside the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// Whose processes are wanted.
    pub this: Owner,
    /// The other one.
    pub other: Owner,
    /// Whether `this` is the one that counts.
    pub counts: bool,
}

impl Ownership {
    /// Keeps the processes of this run.
    pub fn keep(&self, list: &mut Vec<Process>) {
        let parents: HashMap<i32, i32> = list.iter().map(|process| (process.pid, process.parent)).collect();
        list.retain(|process| self.is_of_this(process, &parents, generation_of));
    }

    /// Whether one process is of this run, without a list of others.
    pub fn is(&self, process: &Process) -> bool {
        self.is_of_this(process, &HashMap::new(), generation_of)
    }

    fn is_of_this(
        &self,
        process: &Process,
        parents: &HashMap<i32, i32>,
        started_with: impl Fn(i32) -> Option<u64>,
    ) -> bool {
        let both = [(self.this, true), (self.other, false)];
        let mut pid = process.pid;
        // A list that is not from a single moment could hold a circle.
        for _ in 0..=parents.len() {
            if let Some((_, is)) = both.iter().find(|(owner, _)| owner.app == Some(pid)) {
                return *is;
            }
            match parents.get(&pid) {
                Some(parent) => pid = *parent,
                None => break,
            }
        }
        if let Some((_, is)) = both.iter().find(|(owner, _)| owner.app == Some(process.group)) {
            return *is;
        }
        match started_with(process.pid) {
            Some(generation) if generation == self.this.generation => true,
            Some(generation) if generation == self.other.generation => false,
            Some(_) | None => self.counts,
        }
    }
}

/// The run that this process was started in, if it says so and may be asked.
fn generation_of(pid: i32) -> Option<u64> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let prefix = format!("{VARIABLE}=");
    let value = environment.split(|byte| *byte == 0).find_map(|variable| variable.strip_prefix(prefix.as_bytes()))?;
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Owner = Owner { generation: 1, app: Some(10) };
    const NEW: Owner = Owner { generation: 2, app: Some(20) };

    fn pids(this: Owner, other: Owner, counts: bool, list: &[(i32, i32, i32)], started: &[(i32, u64)]) -> Vec<i32> {
        let all: Vec<Process> =
            list.iter().map(|(pid, parent, group)| Process::made_up(*pid, *parent).in_group(*group)).collect();
        let parents = all.iter().map(|process| (process.pid, process.parent)).collect();
        let started = |pid| started.iter().find(|(one, _)| *one == pid).map(|(_, generation)| *generation);
        let is = |process: &&Process| Ownership { this, other, counts }.is_of_this(process, &parents, started);
        all.iter().filter(is).map(|process| process.pid).collect()
    }

    #[test]
    fn descent_comes_first_then_the_group_then_what_it_was_started_with() {
        let list = [
            (10, 1, 10),
            (20, 1, 20),
            (11, 10, 99), // a child of the old app
            (12, 11, 20), // below it, whatever its group
            (13, 1, 10),  // an orphan in the old app's group
            (21, 1, 77),  // an orphan with a session of its own, of the new one
            (14, 1, 88),  // one of the old
            (30, 1, 30),  // nobody knows
            (31, 0, 31),  // from outside
        ];
        let started = [(21, 2), (14, 1), (12, 2)];
        assert_eq!(pids(OLD, NEW, false, &list, &started), [10, 11, 12, 13, 14]);
        assert_eq!(pids(NEW, OLD, true, &list, &started), [20, 21, 30, 31]);
    }

    #[test]
    fn each_process_is_one_runs_and_never_both() {
        let list = [(10, 1, 10), (20, 10, 20), (5, 6, 7), (6, 5, 10)];
        let (old, new) = (pids(OLD, NEW, false, &list, &[]), pids(NEW, OLD, true, &list, &[]));
        assert_eq!(old.len() + new.len(), list.len());
        assert!(old.iter().all(|pid| !new.contains(pid)));
    }

    #[test]
    fn what_a_process_was_started_with_is_read() {
        let mut child = std::process::Command::new("sleep").arg("1000").env(VARIABLE, "7").spawn().expect("it starts");
        let pid = i32::try_from(child.id()).expect("a pid");
        // Until exec the environment is this process's own.
        while generation_of(pid).is_none() && child.try_wait().is_ok_and(|ended| ended.is_none()) {}
        assert_eq!(generation_of(pid), Some(7));
        child.kill().expect("it runs");
        child.wait().expect("it ends");
    }
}

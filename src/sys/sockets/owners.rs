//! Which listening sockets a set of processes holds: the links in /proc/PID/fd (proc_pid_fd(5)) name their inodes.

use super::Listener;
use super::unix;
use crate::sys::tree;
use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;

/// What was found out about a set of processes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Those of the listeners that one of the processes holds.
    pub listeners: Vec<Listener>,
    /// The processes that hold one: they may accept its connections.
    pub processes: Vec<i32>,
    /// The Unix sockets that they listen on: a path, `@name` of an abstract one, or nothing.
    pub unix: Vec<String>,
    /// The processes that may not be looked into: another user's, without CAP_SYS_PTRACE. What they hold is not known,
    /// so that it may be any listener that is not known to be someone else's.
    pub unreadable: Vec<i32>,
}

/// Looks at each of the processes; one that has ended holds nothing. Without a usable /proc all of them are unreadable.
pub fn held_by(processes: &[i32], listeners: &[Listener]) -> Held {
    if !tree::is_usable() {
        return Held { unreadable: processes.to_vec(), ..Held::default() };
    }
    let tcp: HashSet<u32> = listeners.iter().map(|listener| listener.inode).collect();
    let unix = unix::listeners();
    // One look at each descriptor for both: an app may have very many, and very many processes.
    let wanted: HashSet<u32> = tcp.iter().chain(unix.keys()).copied().collect();
    let (mut held, mut inodes) = (Held::default(), HashSet::new());
    for pid in processes {
        match sockets(*pid, &wanted) {
            Ok(found) => {
                if !found.is_disjoint(&tcp) {
                    held.processes.push(*pid);
                }
                inodes.extend(found);
            }
            Err(error) if is_gone(&error) => {}
            Err(_) => held.unreadable.push(*pid),
        }
    }
    held.listeners = listeners.iter().filter(|listener| inodes.contains(&listener.inode)).copied().collect();
    held.unix = inodes.iter().filter_map(|inode| unix.get(inode).cloned()).collect();
    held.unix.sort();
    held.unix.dedup();
    held
}

/// Those of the wanted sockets that the process holds. A folder that can be listed may still hide where its links lead
/// to: the owner and CAP_DAC_OVERRIDE open the one, the other takes what ptrace(2) takes.
fn sockets(pid: i32, wanted: &HashSet<u32>) -> io::Result<HashSet<u32>> {
    let mut found = HashSet::new();
    let Some(folder) = tree::descriptors(pid)? else { return Ok(found) };
    for entry in fs::read_dir(folder)? {
        match fs::read_link(entry?.path()) {
            Ok(target) => found.extend(inode(&target).filter(|inode| wanted.contains(inode))),
            // Closed meanwhile.
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
        // An app with many connections has many descriptors.
        if found.len() == wanted.len() {
            break;
        }
    }
    Ok(found)
}

/// `socket:[12345]`. sock_diag has 32 bits for it, and sockfs gives no more.
fn inode(target: &Path) -> Option<u32> {
    let number = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
    Some(number.parse::<u64>().ok()? as u32)
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

//! Which sockets a set of processes takes requests on: the links in /proc/PID/fd (proc_pid_fd(5)) name their inodes.
//!
//! # What is proof that there are none
//!
//! If [`held_by`] finds no listener, that is no proof: a process may be another user's, or live in another network
//! namespace, whose sockets are in no table here. [`is_all_there_is`] says whether its answer is whole. What remains
//! are descriptors that no folder shows: one that a thread holds alone after unshare(2), one on its way through a
//! socket, and one that was given to io_uring and closed.

use super::proc;
use super::unix::{self, UnixListener, UnixSampler};
use super::{Listener, SampleSource};
use crate::sys::{check, tree};
use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What was found out about a set of processes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The listeners that one of the processes holds.
    pub listeners: Vec<Listener>,
    /// The processes that hold one: they may accept its connections.
    pub processes: Vec<i32>,
    /// The Unix sockets that they listen on.
    pub unix: Vec<UnixListener>,
    /// The processes that hold one of those.
    pub unix_processes: Vec<i32>,
    /// Where they take UDP datagrams from anybody: without the ports that the kernel gives to clients.
    pub udp: Vec<SocketAddr>,
    /// The processes that may not be looked into: another user's, without CAP_SYS_PTRACE. What they hold is not known,
    /// so that it may be any listener that is not known to be someone else's.
    pub unreadable: Vec<i32>,
    /// The processes that hold a socket that is none of these.
    pub others: Vec<i32>,
    /// Whether the kernel's table of UDP sockets could not be read.
    pub misses_udp: bool,
}

/// Looks at each of the processes; one that has ended holds nothing. Without a usable /proc all of them are unreadable.
pub fn held_by(processes: &[i32], listeners: &[Listener]) -> Held {
    held_while(&|| true, processes, listeners)
}

/// The same, as far as it is found while `go_on` says that there is time: there may be very many processes.
pub fn held_while(go_on: &dyn Fn() -> bool, processes: &[i32], listeners: &[Listener]) -> Held {
    if !tree::is_usable() {
        return Held { unreadable: processes.to_vec(), ..Held::default() };
    }
    let tcp: HashSet<u32> = listeners.iter().map(|listener| listener.inode).collect();
    let unix = unix_listeners();
    let bound = udp_servers();
    let misses_udp = bound.is_err();
    let udp = bound.unwrap_or_default();
    // One look at each descriptor for all: an app may have very many, and very many processes.
    let wanted: HashSet<u32> = tcp.iter().chain(unix.keys()).chain(udp.keys()).copied().collect();
    let (mut held, mut inodes) = (Held { misses_udp, ..Held::default() }, HashSet::new());
    for pid in processes.iter().take_while(|_| go_on()) {
        match sockets(*pid, &wanted) {
            Ok((found, others)) => {
                if others {
                    held.others.push(*pid);
                }
                if !found.is_disjoint(&tcp) {
                    held.processes.push(*pid);
                }
                if found.iter().any(|inode| unix.contains_key(inode)) {
                    held.unix_processes.push(*pid);
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
    held.udp = inodes.iter().filter_map(|inode| udp.get(inode).copied()).collect();
    held.udp.sort();
    held
}

/// Those of the sockets that one of the processes holds, as far as they may be looked into.
pub fn which_are_held(processes: &[i32], inodes: &HashSet<u32>) -> HashSet<u32> {
    let mut found = HashSet::new();
    for pid in processes {
        if found.len() == inodes.len() {
            break;
        }
        found.extend(sockets(*pid, inodes).unwrap_or_default().0);
    }
    found
}

/// The UDP sockets of the network namespace that somebody has bound, by inode. One that was given its port by the
/// kernel, because it sent something (ip(7)), is a client: of statsd, of a name server.
fn udp_servers() -> io::Result<HashMap<u32, SocketAddr>> {
    let given = ports_given();
    let by_the_kernel = |at: &SocketAddr| at.ip().is_unspecified() && given.contains(&at.port());
    let bound = proc::udp(Path::new(proc::FOLDER))?.into_iter();
    Ok(bound.filter(|bound| !by_the_kernel(&bound.local)).map(|bound| (bound.inode, bound.local)).collect())
}

/// The ports that the kernel gives to those who ask for none (ip_local_port_range, ip(7)); empty if it does not say.
fn ports_given() -> RangeInclusive<u16> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut numbers = text.split_ascii_whitespace().filter_map(|number| number.parse().ok());
    numbers.next().unwrap_or(1)..=numbers.next().unwrap_or(0)
}

/// All Unix listeners of the network namespace, by inode.
pub(super) fn unix_listeners() -> HashMap<u32, UnixListener> {
    unix::listeners(&UnixSampler::default().table())
}

/// The Unix listeners of the network namespace that these processes do not hold.
pub fn unix_of_others(processes: &[i32]) -> Vec<UnixListener> {
    let own: HashSet<u32> = held_by(processes, &[]).unix.iter().map(|listener| listener.inode).collect();
    let mut others: Vec<UnixListener> =
        unix_listeners().into_values().filter(|listener| !own.contains(&listener.inode)).collect();
    others.sort();
    others
}

/// The protocols (as sockfs names them) whose listeners are in the tables that [`held_by`] reads, or that have none: a
/// UDP socket that is bound is in the table, too.
const KNOWN: [&str; 16] = [
    "TCP",
    "TCPv6",
    "MPTCP",
    "MPTCPv6",
    "UDP",
    "UDPv6",
    "UNIX",
    "UNIX-STREAM",
    "NETLINK",
    "RAW",
    "RAWv6",
    "PING",
    "PINGv6",
    "PACKET",
    "ALG",
    "XDP",
];

/// Whether what [`held_by`] has said of these processes, with listeners from this source, is all that they listen on,
/// for certain. To be asked only if it has found nothing: each other socket of theirs costs a system call. Also false
/// if there was no time left for it.
pub fn is_all_there_is(go_on: &dyn Fn() -> bool, processes: &[i32], held: &Held, source: SampleSource) -> bool {
    // An emulated kernel shows what it likes.
    let seen = source == SampleSource::SockDiag && !held.misses_udp && Path::new("/proc/net/unix").exists();
    // PID 1 is there in every namespace; where it is not shown, others may be hidden as well (proc(5), hidepid=).
    let shown = tree::is_usable() && Path::new("/proc/1/stat").exists();
    let Ok(namespace) = fs::read_link("/proc/self/ns/net") else { return false };
    let is_here = |pid: &i32| go_on() && is_in(&namespace, *pid);
    seen && shown
        && !processes.is_empty()
        && processes.iter().all(is_here)
        && held.others.iter().all(|pid| go_on() && is_an_open_book(*pid))
}

/// Whether the process is in this network namespace, or gone.
fn is_in(namespace: &Path, pid: i32) -> bool {
    match fs::read_link(format!("/proc/{pid}/ns/net")) {
        Ok(its) => its == *namespace,
        Err(error) => is_gone(&error),
    }
}

/// Whether each of its sockets is of a protocol whose listeners would have been found.
fn is_an_open_book(pid: i32) -> bool {
    let known = |(path, target): (PathBuf, PathBuf)| inode(&target).is_none() || is_of_known_protocol(&path);
    match descriptors(pid) {
        Ok(mut all) => all.all(|one| one.is_ok_and(known)),
        Err(error) => is_gone(&error),
    }
}

/// Whether the protocol of this socket is known, by its name, the attribute system.sockprotoname of sockfs
/// (getxattr(2)). A socket that was closed meanwhile does not matter.
fn is_of_known_protocol(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return false };
    let mut name = [0u8; 64];
    let (buffer, size) = (name.as_mut_ptr().cast(), name.len());
    // SAFETY: two strings that end with a zero, and a live buffer with its length.
    let length = unsafe { libc::getxattr(path.as_ptr(), c"system.sockprotoname".as_ptr(), buffer, size) };
    let length = match check(length as i64) {
        Ok(length) => length as usize,
        Err(error) => return is_gone(&error),
    };
    let name = name.get(..length).and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default();
    KNOWN.contains(&name.trim_end_matches('\0'))
}

/// Those of the wanted sockets that the process holds, and whether it holds others; the search ends when all wanted
/// ones are found. A folder that can be listed may still hide where its links lead: the owner and CAP_DAC_OVERRIDE may
/// list it, but to follow the links takes what ptrace(2) takes.
fn sockets(pid: i32, wanted: &HashSet<u32>) -> io::Result<(HashSet<u32>, bool)> {
    let (mut found, mut others) = (HashSet::new(), false);
    for entry in descriptors(pid)? {
        let (_, target) = entry?;
        match inode(&target) {
            Some(inode) if wanted.contains(&inode) => drop(found.insert(inode)),
            Some(_) => others = true,
            None => {}
        }
        // An app with many connections has many descriptors.
        if !found.is_empty() && found.len() == wanted.len() {
            break;
        }
    }
    Ok((found, others))
}

/// Every descriptor with what it leads to, without those that are closed meanwhile.
fn descriptors(pid: i32) -> io::Result<impl Iterator<Item = io::Result<(PathBuf, PathBuf)>>> {
    let look = |entry: io::Result<fs::DirEntry>| {
        let path = match entry {
            Ok(entry) => entry.path(),
            Err(error) => return Some(Err(error)),
        };
        match fs::read_link(&path) {
            Ok(target) => Some(Ok((path, target))),
            Err(error) if is_gone(&error) => None,
            Err(error) => Some(Err(error)),
        }
    };
    Ok(tree::descriptors(pid)?.into_iter().flatten().filter_map(look))
}

/// `socket:[12345]`. sock_diag has 32 bits for it, and sockfs gives no more.
fn inode(target: &Path) -> Option<u32> {
    let number = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
    Some(number.parse::<u64>().ok()? as u32)
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

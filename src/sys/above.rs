//! The graceful above this one: an ancestor that supervises something, or PID 1 of the same namespace, which is not an
//! ancestor of what `docker exec` starts.
//!
//! It is recognised by its file, which is this process's own, or by its name; and by a command line that supervises.

use crate::sys::{getpid, getppid, tree};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

/// What is known about a graceful above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ancestor {
    /// Its pid.
    pub pid: i32,
    /// Its environment; `None` where it may not be read, which another user may not.
    pub environment: Option<Vec<(OsString, OsString)>>,
}

/// The number of ancestors that are looked at.
const DEEPEST: usize = 100;
/// Commands of graceful that supervise nothing.
const OTHERS: [&[u8]; 10] =
    [b"drill", b"probe", b"plan", b"reload", b"status", b"install", b"sleep", b"completions", b"demo-app", b"help"];

/// Looks for it; `None` without a usable /proc.
pub fn look() -> Option<Ancestor> {
    if getpid() == 1 || !tree::is_usable() {
        return None;
    }
    let own = file("self");
    let mut pid = getppid();
    for _ in 0..DEEPEST {
        if pid <= 1 {
            break;
        }
        // One small read tells the name and the next pid: this is looked up before the app may start.
        let (name, parent) = tree::name_and_parent_of(pid)?;
        if is_graceful(pid, &name, own) && supervises(pid) {
            return Some(found(pid));
        }
        pid = parent;
    }
    let (name, _) = tree::name_and_parent_of(1)?;
    (is_graceful(1, &name, own) && supervises(1)).then(|| found(1))
}

/// The file that a process executes, as device and inode.
fn file(pid: &str) -> Option<(u64, u64)> {
    fs::metadata(format!("/proc/{pid}/exe")).ok().map(|found| (found.dev(), found.ino()))
}

fn is_graceful(pid: i32, name: &str, own: Option<(u64, u64)>) -> bool {
    name == "graceful" || own.is_some() && file(&pid.to_string()) == own
}

fn found(pid: i32) -> Ancestor {
    let bytes = fs::read(format!("/proc/{pid}/environ")).ok();
    let variable = |text: &[u8]| {
        let at = text.iter().position(|byte| *byte == b'=')?;
        Some((OsStr::from_bytes(&text[..at]).to_owned(), OsStr::from_bytes(&text[at + 1..]).to_owned()))
    };
    let environment = bytes.map(|bytes| bytes.split(|byte| *byte == 0).filter_map(variable).collect());
    Ancestor { pid, environment }
}

fn supervises(pid: i32) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let command = line.split(|byte| *byte == 0).nth(1).unwrap_or_default();
    !OTHERS.contains(&command)
}

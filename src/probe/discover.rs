//! Where the running graceful listens, for a `probe` that was not told.
//!
//! In this order, the first that says something counts:
//!
//! 1. GRACEFUL_PROBE_LISTEN, and `probe_listen` in the file that GRACEFUL_CONFIG names: HEALTHCHECK and exec probes
//!    have the container's environment;
//! 2. PID 1, if it is a graceful that listens; otherwise every other graceful of this machine that is root's or this
//!    user's, if they agree. What a process was told is read from its command line, environment and file, by the
//!    functions that it used itself; only a regular file is opened to be read;
//! 3. the socket [`SOCKET`], if it is there.
//!
//! A process is a graceful if its argv\[0\] has the same file name as ours, which anybody can give to anything: so of
//! other users' processes only PID 1 is looked at. Everything that is read is bounded; a process that cannot be looked
//! at, or ends meanwhile, is passed over.

use crate::cli::{Invocation, parse};
use crate::config::{ConfigError, Environment, Listen, Variable, probe_listen};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Where a graceful is looked for if nothing else says where one listens.
pub const SOCKET: &str = "/run/graceful.sock";

/// The most bytes that a process can be told, where its stack has the usual limit of 8 MiB (execve(2)).
const LONGEST: u64 = 2 << 20;

/// At most this many processes are named in a message.
const NAMED: usize = 4;

/// Why no address is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The variable or the file is wrong: a usage error.
    Wrong(ConfigError),
    /// There is none, or more than one.
    Nowhere(ConfigError),
}

/// Looks for the address. Blocks for as long as the files that are read block.
pub fn find() -> Result<Listen, Unknown> {
    let argv0 = std::env::args_os().next().unwrap_or_default();
    search(&Environment::current(), &argv0, Path::new("/proc"), Path::new(SOCKET))
}

fn search(own: &Environment, argv0: &OsStr, proc: &Path, socket: &Path) -> Result<Listen, Unknown> {
    if let Some(listen) = probe_listen(&[], own).map_err(Unknown::Wrong)? {
        return Ok(listen);
    }
    let name = Path::new(argv0).file_name().unwrap_or(argv0);
    // Nothing of another process, which could be made to hold this up, is read before this.
    if let Some(Told::There(listen)) = told(proc, &proc.join("1"), name) {
        return Ok(listen);
    }
    let running = running(proc, name);
    // One address comes up more than once where graceful is about to become a hook or the app (fork(2)).
    let mut found: Vec<(&Listen, u32)> = Vec::new();
    for Running { pid, told } in &running {
        if let Told::There(listen) = told
            && found.iter().all(|(known, _)| *known != listen)
        {
            found.push((listen, *pid));
        }
    }
    match found.as_slice() {
        [(listen, _)] => Ok((*listen).clone()),
        [] if fs::metadata(socket).is_ok_and(|found| found.file_type().is_socket()) => {
            Ok(Listen::Unix(socket.to_owned()))
        }
        [] => Err(Unknown::Nowhere(nowhere(own, name, &running, socket))),
        several => Err(Unknown::Nowhere(ambiguous(name, several))),
    }
}

/// A graceful that supervises something.
struct Running {
    pid: u32,
    told: Told,
}

/// Where a graceful was told to listen.
enum Told {
    There(Listen),
    Nowhere,
    /// What it was told cannot be read.
    Unread(ConfigError),
}

/// All processes of this name that are root's, this user's or PID 1, except ourselves, by pid; none without a /proc.
fn running(proc: &Path, name: &OsStr) -> Vec<Running> {
    // Not getpid(2): a /proc of another PID namespace knows us by another number.
    let own = number(&fs::read_link(proc.join("self")).unwrap_or_default());
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| number(Path::new(&entry.file_name())));
    let owner = |folder: &Path| fs::metadata(folder).map(|folder| folder.uid()).ok();
    let user = owner(&proc.join("self"));
    let trusted = |pid: u32, folder: &Path| pid == 1 || owner(folder).is_some_and(|uid| uid == 0 || Some(uid) == user);
    let processes: BTreeMap<u32, PathBuf> = pids
        .filter(|pid| Some(*pid) != own)
        .map(|pid| (pid, proc.join(pid.to_string())))
        .filter(|(pid, folder)| trusted(*pid, folder))
        .collect();
    let told = |(pid, folder): (u32, PathBuf)| Some(Running { pid, told: told(proc, &folder, name)? });
    processes.into_iter().filter_map(told).collect()
}

/// Where this process was told to listen; `None` if it is not a graceful that supervises something, or cannot be
/// reached.
fn told(proc: &Path, folder: &Path, name: &OsStr) -> Option<Told> {
    let line = read(&folder.join("cmdline"));
    let argv0 = line.split(|byte| *byte == 0).next().map(OsStr::from_bytes)?;
    if Path::new(argv0).file_name() != Some(name) {
        return None;
    }
    let Ok(Invocation::Run { settings, .. }) = parse(&strings(&line)) else { return None };
    let variable = |text: OsString| -> Option<Variable> {
        let bytes = text.as_bytes();
        let at = bytes.iter().position(|byte| *byte == b'=')?;
        let owned = |bytes| OsStr::from_bytes(bytes).to_owned().into();
        Some((owned(&bytes[..at]), owned(&bytes[at + 1..])))
    };
    let surroundings = Environment {
        // Readable only for the same user and root; otherwise the command line is all there is.
        environment: strings(&read(&folder.join("environ"))).into_iter().filter_map(variable).collect(),
        cwd: fs::read_link(folder.join("cwd")).unwrap_or_else(|_| folder.join("cwd")),
        foreign: true,
        ..Environment::current()
    };
    let told = match probe_listen(&settings.flags, &surroundings) {
        Ok(Some(listen)) => Told::There(listen),
        Ok(None) => Told::Nowhere,
        Err(problem) => Told::Unread(problem),
    };
    let unreachable = matches!(told, Told::There(Listen::Tcp(_))) && is_in_another_network(proc, folder);
    (!unreachable).then_some(told)
}

/// Whether this process is known to have another network namespace, as one of a container has when asked from the
/// host: what is called 127.0.0.1 there is something different here.
fn is_in_another_network(proc: &Path, folder: &Path) -> bool {
    let network = |folder: &Path| fs::read_link(folder.join("ns/net"));
    matches!((network(&proc.join("self")), network(folder)), (Ok(ours), Ok(theirs)) if ours != theirs)
}

/// The beginning of a file; empty if it cannot be read.
fn read(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let whole = File::open(path).and_then(|file| file.take(LONGEST).read_to_end(&mut bytes));
    whole.map(|_| bytes).unwrap_or_default()
}

/// The strings that each end with a null (proc_pid_cmdline(5)).
fn strings(bytes: &[u8]) -> Vec<OsString> {
    let text = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    text.split(|byte| *byte == 0).map(|string| OsStr::from_bytes(string).to_owned()).collect()
}

fn number(name: &Path) -> Option<u32> {
    name.to_str()?.parse().ok()
}

/// What was looked at, and what can be done.
fn nowhere(own: &Environment, name: &OsStr, running: &[Running], socket: &Path) -> ConfigError {
    let name = name.to_string_lossy();
    let file = own.environment.iter().find(|(key, value)| **key == *"GRACEFUL_CONFIG" && !value.is_empty());
    let file = match file {
        Some((_, file)) => format!("{} has no probe_listen", Path::new(file).display()),
        None => "neither is GRACEFUL_CONFIG".to_owned(),
    };
    let processes = match running {
        [] => format!("no other process called {name} was found in /proc"),
        running => running.iter().take(NAMED).map(|running| unheard(running, &name)).collect::<Vec<_>>().join(", "),
    };
    ConfigError::new(
        "no address to ask",
        format!(
            "GRACEFUL_PROBE_LISTEN is not set, {file}, {processes}, {} is not a socket; start graceful with \
             --probe-listen, and set GRACEFUL_PROBE_LISTEN or give the address, as graceful probe :9090",
            socket.display()
        ),
    )
}

fn unheard(running: &Running, name: &str) -> String {
    match &running.told {
        Told::There(_) | Told::Nowhere => format!("{name} (pid {}) runs without --probe-listen", running.pid),
        Told::Unread(problem) => format!("what {name} (pid {}) was told cannot be read ({problem})", running.pid),
    }
}

fn ambiguous(name: &OsStr, found: &[(&Listen, u32)]) -> ConfigError {
    let name = name.to_string_lossy();
    let shown = found.iter().take(NAMED).map(|(listen, pid)| format!("{listen} (pid {pid})"));
    let mut shown = shown.collect::<Vec<_>>().join(", ");
    if found.len() > NAMED {
        shown += &format!(" and {} more", found.len() - NAMED);
    }
    let first = found.first().map(|(listen, _)| listen.to_string()).unwrap_or_default();
    ConfigError::new(
        "more than one address to ask",
        format!(
            "several processes called {name} listen, on {shown}; set GRACEFUL_PROBE_LISTEN or give the address, as \
             graceful probe {first}"
        ),
    )
}

#[cfg(test)]
#[path = "discover_tests.rs"]
mod tests;

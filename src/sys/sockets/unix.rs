//! Unix sockets that somebody listens on, and their connections: sock_diag(7) for them, or /proc/net/unix where that is
//! refused or not built in.
//!
//! The kernel counts no bytes here, but it shows queues, and an accepted connection has its listener's name and file.
//! Only the listener shows what waits to be accepted, as a number. /proc/net/unix has no queues; what waits to be
//! accepted has no inode there.

use super::diag::Diag;
use super::unix_wire::{self, UnixSocket};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// __SO_ACCEPTCON of linux/net.h, in the column of flags.
const LISTENS: u32 = 0x10000;
/// No more bytes of the table are read.
const LONGEST: usize = 16 << 20;

/// A Unix socket that is listened on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixListener {
    /// A path, `@name` if it is abstract, or nothing.
    pub name: String,
    /// Inode and device of the path, as unix_diag shows them.
    file: Option<(u32, u32)>,
    /// Its socket, as /proc/PID/fd names it.
    pub inode: u32,
}

impl UnixListener {
    fn of(socket: &UnixSocket) -> UnixListener {
        UnixListener { name: socket.name.clone(), file: socket.file, inode: socket.inode }
    }

    fn has_accepted(&self, socket: &UnixSocket) -> bool {
        let same_file = self.file.zip(socket.file).is_none_or(|(ours, theirs)| ours == theirs);
        !socket.listens && !socket.name.is_empty() && socket.name == self.name && same_file
    }
}

/// One connection that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnixConnection {
    /// Its socket, as /proc/PID/fd names it.
    pub inode: u32,
    /// Bytes that the app has not read.
    pub unread: u32,
    /// What the client has not read; not in bytes, but above 0 if there is anything.
    pub unsent: u32,
    /// The client's socket: 0 if it is closed, so that nobody waits for an answer; `None` if it is not shown.
    pub client: Option<u32>,
}

/// The connections of some listeners at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnixSnapshot {
    /// Connections that wait to be accepted.
    pub unaccepted: usize,
    /// Connections that were accepted.
    pub connections: Vec<UnixConnection>,
}

impl UnixSnapshot {
    /// Whether nobody is connected, and nobody waits to be.
    pub fn is_empty(&self) -> bool {
        self.unaccepted == 0 && self.connections.is_empty()
    }
}

/// Takes samples, and keeps its netlink socket between them.
#[derive(Debug, Default)]
pub struct UnixSampler {
    diag: Option<Diag>,
    refusal: Option<io::Error>,
}

impl UnixSampler {
    /// The connections of these listeners now. Empty where nothing can be seen.
    pub fn sample(&mut self, listeners: &[UnixListener]) -> UnixSnapshot {
        if listeners.is_empty() { UnixSnapshot::default() } else { connections(&self.table(), listeners) }
    }

    /// Why sock_diag does not show Unix sockets, so that only the number of connections is known.
    pub fn refusal(&self) -> Option<&io::Error> {
        self.refusal.as_ref()
    }

    /// All sockets of the network namespace that listen or are connected.
    pub(super) fn table(&mut self) -> Vec<UnixSocket> {
        if self.refusal.is_none() {
            match self.by_diag() {
                Ok(table) => return table,
                Err(error) => (self.diag, self.refusal) = (None, Some(error)),
            }
        }
        by_proc(Path::new(super::proc::FOLDER))
    }

    fn by_diag(&mut self) -> io::Result<Vec<UnixSocket>> {
        let diag = match &mut self.diag {
            Some(diag) => diag,
            none => none.insert(Diag::open()?),
        };
        let mut table = Vec::new();
        diag.exchange(unix_wire::write_request, |row| {
            table.push(unix_wire::row(row)?);
            Some(())
        })?;
        // An emulated kernel may answer and know of nothing.
        if table.is_empty() && !by_proc(Path::new(super::proc::FOLDER)).is_empty() {
            return Err(io::Error::other("an empty answer, though /proc/net shows sockets"));
        }
        Ok(table)
    }
}

fn connections(table: &[UnixSocket], listeners: &[UnixListener]) -> UnixSnapshot {
    let mut snapshot = UnixSnapshot::default();
    for socket in table {
        if socket.listens {
            if listeners.iter().any(|listener| listener.inode == socket.inode) {
                snapshot.unaccepted += socket.unread as usize;
            }
        } else if listeners.iter().any(|listener| listener.has_accepted(socket)) {
            match socket.inode {
                0 => snapshot.unaccepted += 1,
                inode => snapshot.connections.push(UnixConnection {
                    inode,
                    unread: socket.unread,
                    unsent: socket.unsent,
                    client: socket.peer,
                }),
            }
        }
    }
    snapshot
}

/// The listeners of the table, by inode.
pub(super) fn listeners(table: &[UnixSocket]) -> HashMap<u32, UnixListener> {
    table.iter().filter(|socket| socket.listens).map(|socket| (socket.inode, UnixListener::of(socket))).collect()
}

fn by_proc(folder: &Path) -> Vec<UnixSocket> {
    let path: PathBuf = folder.join("unix");
    let Ok(table) = fs::read(path) else { return Vec::new() };
    parse(&String::from_utf8_lossy(&table[..table.len().min(LONGEST)]))
}

/// `Num RefCount Protocol Flags Type St Inode Path`; a row that is different is left out. St: 2 is SS_CONNECTING, which
/// is what a connection shows that waits to be accepted, 3 is SS_CONNECTED.
fn parse(table: &str) -> Vec<UnixSocket> {
    let row = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(3);
        let flags = u32::from_str_radix(fields.next()?, 16).ok()?;
        let state = fields.nth(1)?;
        // sockfs numbers its inodes with 32 bits.
        let inode = fields.next()?.parse::<u64>().ok()? as u32;
        let listens = flags & LISTENS != 0;
        let name = fields.collect::<Vec<_>>().join(" ");
        let counts = listens || matches!(state, "02" | "03");
        counts.then(|| UnixSocket { listens, inode, name, ..UnixSocket::default() })
    };
    table.lines().skip(1).filter_map(row).collect()
}

#[cfg(test)]
#[path = "unix_tests.rs"]
mod tests;

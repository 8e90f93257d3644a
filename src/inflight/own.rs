//! While two runs of the app share an address: which of its sockets are this one's.

use crate::sys::sockets::{Snapshot, which_are_held};
use crate::sys::tree;
use crate::sys::whose::Ownership;
use std::collections::HashSet;

/// What is known of whose they are.
#[derive(Debug)]
pub(super) struct OwnSockets {
    of: Ownership,
    /// Those that are this run's, by inode. Each look asks again about the others: one that is being accepted is
    /// nobody's yet.
    known: HashSet<u32>,
}

impl OwnSockets {
    /// The sockets of this run.
    pub(super) fn new(of: Ownership) -> OwnSockets {
        OwnSockets { of, known: HashSet::new() }
    }

    /// Keeps this run's listeners, with the lengths of their own queues, and the connections that it has accepted. One
    /// that nobody has accepted yet has no inode, and nothing tells on whose listener it waits; only the queue's length
    /// does.
    pub(super) fn keep(&mut self, snapshot: &mut Snapshot) {
        let listeners = snapshot.listeners.iter().map(|listener| listener.inode);
        let inodes = snapshot.connections.iter().map(|connection| connection.inode).chain(listeners);
        let there: HashSet<u32> = inodes.filter(|inode| *inode != 0).collect();
        self.known.retain(|inode| there.contains(inode));
        let asked: HashSet<u32> = there.difference(&self.known).copied().collect();
        if !asked.is_empty() {
            let mut processes = tree::descendants().unwrap_or_default();
            self.of.keep(&mut processes);
            let pids: Vec<i32> = processes.iter().map(|process| process.pid).collect();
            self.known.extend(which_are_held(&pids, &asked));
        }
        snapshot.listeners.retain(|listener| self.known.contains(&listener.inode));
        snapshot.connections.retain(|connection| self.known.contains(&connection.inode));
    }
}

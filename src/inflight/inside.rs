//! Unix connections between two processes of the app: its own affairs, not requests. (What somebody outside waits for
//! is seen where it comes in.)

use crate::sys::sockets::{UnixSnapshot, which_are_held};
use std::collections::{HashMap, HashSet};

/// Remembers whose the clients are.
#[derive(Debug, Default)]
pub(super) struct Inside {
    /// By the client's socket, for as long as it is connected.
    known: HashMap<u32, bool>,
}

impl Inside {
    /// Takes out the connections whose clients are these processes. Their descriptors are looked through only for a
    /// client that was not seen before.
    pub(super) fn leave_out(&mut self, snapshot: &mut UnixSnapshot, processes: &[i32]) {
        let clients: HashSet<u32> = snapshot.connections.iter().filter_map(|connection| connection.client).collect();
        self.known.retain(|client, _| clients.contains(client));
        let new: HashSet<u32> =
            clients.into_iter().filter(|client| *client != 0 && !self.known.contains_key(client)).collect();
        let held = which_are_held(processes, &new);
        self.known.extend(new.into_iter().map(|client| (client, held.contains(&client))));
        let is_inside = |client: Option<u32>| client.is_some_and(|client| self.known.get(&client) == Some(&true));
        snapshot.connections.retain(|connection| !is_inside(connection.client));
    }
}

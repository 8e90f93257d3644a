//! Who listens on an address that somebody else wants.

use super::Sampler;
use super::owners::{unix_listeners, which_are_held};
use crate::sys::tree;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;

/// The process that listens on this TCP address, or on one that leaves no room for it, as `nginx (pid 812)`; `None` if
/// that is not shown: it is another user's, or in another PID namespace, or the socket is bound and does not listen.
pub fn of_tcp(address: SocketAddr) -> Option<String> {
    let mut sampler = Sampler::new(&[address.port()]);
    let listeners = sampler.listeners().ok()?;
    let meets = |local: &SocketAddr| {
        let any = local.ip().is_unspecified() || address.ip().is_unspecified();
        local.port() == address.port() && (any || local.ip() == address.ip())
    };
    name_of_holder(listeners.iter().filter(|listener| meets(&listener.local)).map(|listener| listener.inode).collect())
}

/// The process that listens on the Unix socket of this path.
pub fn of_unix(path: &Path) -> Option<String> {
    let name = path.to_str()?;
    name_of_holder(
        unix_listeners().into_values().filter(|listener| listener.name == name).map(|one| one.inode).collect(),
    )
}

fn name_of_holder(inodes: HashSet<u32>) -> Option<String> {
    let holds = |pid: &i32| !which_are_held(&[*pid], &inodes).is_empty();
    let pid = tree::others().filter(|_| !inodes.is_empty())?.into_iter().map(|process| process.pid).find(holds)?;
    Some(format!("{} (pid {pid})", tree::name_of(pid)?))
}

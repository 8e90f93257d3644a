//! Tests of the tracker; no socket, no clock.
//!
//! - `rules`: one behaviour each, readable as documentation.
//! - `world`: random clients and apps, shown to the tracker as Linux would show them, and what it must say of them.
//! - `nonsense`: whatever a snapshot may hold.

mod nonsense;
mod rules;
mod world;

use super::*;
use crate::counts::Counts;
use crate::sys::sockets::{Connection, Counters, Listener, SampleSource, Snapshot, State};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

const QUIET: Duration = ms(2000);
const PORT: u16 = 8000;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn client(port: u16) -> SocketAddr {
    (Ipv4Addr::new(192, 0, 2, 7), port).into()
}

fn app(port: u16) -> SocketAddr {
    (Ipv4Addr::new(192, 0, 2, 1), port).into()
}

fn snapshot(connections: Vec<Connection>) -> Snapshot {
    Snapshot { source: SampleSource::SockDiag, listeners: Vec::new(), connections }
}

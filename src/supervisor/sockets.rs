//! The sockets that graceful binds for the app (`--listen`).
//!
//! ```text
//!   before the app   bound: an address that cannot be had is known while the app can still be left alone
//!   the app runs     both have them, and only the app accepts
//!   its stop signal  graceful closes its own handles: where the app closes its, connections are refused, and nobody waits
//!                    in a line that is served by no one
//!   between two runs  (`--restart`) graceful's own handles keep the line open: who connects waits for the next run
//!   two runs          (`--reload-on`) each TCP address has a socket for each of them, and the kernel is told which of the two
//!                    gets what is new
//! ```
//!
//! A Unix socket knows no such groups, and neither does a kernel without programs for them: there both runs have the same socket,
//! and both accept until the old one closes it.
//!
//! The first socket of an address is bound alone and becomes one of a group only then, so that an address that another process
//! has is refused as ever. Each later one listens while the others get all that is new. One whose run is over is shut down,
//! not only closed: what the run may have left behind has a handle, too, and would keep its place.

use crate::config::{AppSocket, Listen};
use crate::generations::GenerationId;
use crate::listening::BoundSocket;
use crate::sys::in_words;
use crate::sys::sockets::{holder, steer};
use crate::sys::spawn::PassedSockets;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;

/// As many may wait as the kernel allows (net.core.somaxconn, to which listen(2) bounds it): the app may take its time to start.
const BACKLOG: i32 = i32::MAX;

/// Why the app cannot have its sockets.
#[derive(Debug, thiserror::Error)]
pub(super) enum SocketsError {
    #[error("cannot listen on --listen {address}: {}", why(.address, .error))]
    NotBound { address: Listen, error: io::Error },
    #[error("cannot keep the sockets of --listen: {0}")]
    NotKept(io::Error),
}

/// None of them, without `--listen`.
#[derive(Debug, Default)]
pub(super) struct AppSockets {
    names: Vec<Option<String>>,
    /// In the order in which they listen, but for those that took the place of one that left.
    sets: Places,
    /// Each TCP address has a group, which can be told who gets what is new.
    steered: bool,
}

/// Those of one run.
#[derive(Debug)]
struct SocketSet {
    generation: GenerationId,
    bound: Vec<BoundSocket>,
    passed: PassedSockets,
}

impl AppSockets {
    /// Binds all of them for the first run, and says what the app loses by that. `grouped`: others may stand beside it.
    ///
    /// # Errors
    /// One of them cannot be had: the app must not be started.
    pub(super) fn bind(sockets: &[AppSocket], grouped: bool) -> Result<(AppSockets, Vec<String>), SocketsError> {
        let bind = |AppSocket { address, .. }: &AppSocket| {
            let bound = BoundSocket::bind(address, BACKLOG, |socket| {
                if grouped {
                    // Only now: bound without it, the address is nobody else's. Where it fails there is no group.
                    _ = socket.set_reuse_port(true);
                }
            });
            bound.map_err(|error| SocketsError::NotBound { address: address.clone(), error })
        };
        let bound = sockets.iter().map(bind).collect::<Result<Vec<_>, _>>()?;
        let names: Vec<_> = sockets.iter().map(|socket| socket.name.clone()).collect();
        let mut lost = Vec::new();
        let mut steered = false;
        if grouped {
            let refused = bound.iter().filter(|socket| socket.is_tcp()).find_map(|socket| steer::to(socket, 0).err());
            steered = refused.is_none();
            if let Some(error) = refused {
                lost.push(format!(
                    "sockets of --listen cannot be told which run of the app gets what is new (SO_ATTACH_REUSEPORT_CBPF): \
                     in a reload both accept until the old one closes its: {}",
                    in_words(&error)
                ));
            }
        }
        let set = SocketSet::new(GenerationId::FIRST, bound, &names).map_err(SocketsError::NotKept)?;
        let replaced = set.passed.replaced().into_iter().map(|fd| {
            format!("descriptor {fd}, which graceful was started with, is not passed on: the app has a socket of --listen there")
        });
        lost.extend(replaced);
        Ok((AppSockets { names, sets: Places(vec![set]), steered }, lost))
    }

    /// What that run of the app is given.
    pub(super) fn passed(&self, generation: GenerationId) -> Option<&PassedSockets> {
        self.sets.of(generation).map(|set| &set.passed)
    }

    /// There are any.
    pub(super) fn are_there(&self) -> bool {
        !self.sets.0.is_empty()
    }

    /// For a run beside the one that gets what is new, which goes on to get it.
    ///
    /// # Errors
    /// An address cannot be had any more.
    pub(super) fn join(&mut self, generation: GenerationId) -> io::Result<()> {
        let Some(first) = self.sets.0.first() else { return Ok(()) };
        let another = |socket: &BoundSocket| if self.steered { socket.beside(BACKLOG) } else { socket.try_clone() };
        let bound = first.bound.iter().map(another).collect::<io::Result<Vec<_>>>()?;
        self.sets.0.push(SocketSet::new(generation, bound, &self.names)?);
        Ok(())
    }

    /// From here on that run gets what is new.
    ///
    /// # Errors
    /// The kernel refuses it, and all stays as it is.
    pub(super) fn promote(&self, generation: GenerationId) -> io::Result<()> {
        self.steer(generation, steer::to)
    }

    /// Until then it can be asked from that address, of 127.0.0.0/8.
    ///
    /// # Errors
    /// The kernel refuses it: it cannot be asked.
    pub(super) fn ask_beside(&self, counts: GenerationId, generation: GenerationId, from: Ipv4Addr) -> io::Result<()> {
        let Some(other) = self.sets.place(generation).filter(|_| self.steered) else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        self.steer(counts, |socket, place| steer::to_but(socket, place, from, numbered(other)))
    }

    fn steer(&self, generation: GenerationId, to: impl Fn(&BoundSocket, u32) -> io::Result<()>) -> io::Result<()> {
        let Some(place) = self.sets.place(generation).filter(|_| self.steered) else { return Ok(()) };
        let mut tcp = self.sets.0[place].bound.iter().filter(|socket| socket.is_tcp());
        tcp.try_for_each(|socket| to(socket, numbered(place)))
    }

    /// The run that was started again has the sockets of the one before, with all who wait there.
    pub(super) fn succeed(&mut self, before: GenerationId, after: GenerationId) {
        if let Some(place) = self.sets.place(before) {
            self.sets.0[place].generation = after;
        }
    }

    /// That run is over, and `counts` gets what is new.
    pub(super) fn leave(&mut self, generation: GenerationId, counts: GenerationId) -> io::Result<()> {
        if let Some(set) = self.sets.remove(generation) {
            if self.steered {
                set.bound.iter().for_each(BoundSocket::shut_down);
            }
            return self.promote(counts);
        }
        Ok(())
    }

    /// From here on only the app has them; the files of Unix sockets are removed, since no one new is to come.
    pub(super) fn close(&mut self) {
        let sets = self.sets.0.drain(..);
        sets.flat_map(|set| set.bound).for_each(|bound| bound.remove_file());
    }
}

impl SocketSet {
    fn new(generation: GenerationId, bound: Vec<BoundSocket>, names: &[Option<String>]) -> io::Result<SocketSet> {
        let named: Vec<_> = bound.iter().zip(names).map(|(bound, name)| (bound.as_fd(), name.as_deref())).collect();
        let passed = PassedSockets::new(&named)?;
        Ok(SocketSet { generation, bound, passed })
    }
}

/// As the kernel counts.
fn numbered(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

/// Where each run's sockets stand in their groups, as the kernel keeps it.
#[derive(Debug, Default)]
struct Places(Vec<SocketSet>);

impl Places {
    fn place(&self, generation: GenerationId) -> Option<usize> {
        self.0.iter().position(|set| set.generation == generation)
    }

    fn of(&self, generation: GenerationId) -> Option<&SocketSet> {
        self.place(generation).map(|place| &self.0[place])
    }

    /// The last one takes its place.
    fn remove(&mut self, generation: GenerationId) -> Option<SocketSet> {
        self.place(generation).map(|place| self.0.swap_remove(place))
    }
}

/// Who has the address, where that can be seen.
fn why(address: &Listen, error: &io::Error) -> String {
    let holder = match address {
        Listen::Tcp(address) if error.kind() == io::ErrorKind::AddrInUse => holder::of_tcp(*address),
        Listen::Unix(path) if error.kind() == io::ErrorKind::AddrInUse => holder::of_unix(path),
        Listen::Tcp(_) | Listen::Unix(_) => None,
    };
    let by = holder.map(|process| format!(" (by {process})")).unwrap_or_default();
    format!("{}{by}", in_words(error))
}

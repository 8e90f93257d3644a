//! Sockets as the kernel shows them: sock_diag(7) over netlink, or the tables of /proc/net where that is refused.
//!
//! ```text
//!   Sampler ──► diag ──► wire     the netlink socket; its messages as bytes
//!          └──► proc              the tables of /proc/net
//!   owners                        which listeners a set of processes holds
//!   UnixSampler ──► diag ──► unix_wire     the same for Unix sockets, or /proc/net/unix
//! ```
//!
//! A [`Sampler`] asks sock_diag as long as that answers. A refusal is final, and so is every other failure that lasts,
//! so that whoever samples reports it once: from then on [`Snapshot::source`] is [`SampleSource::Proc`] and
//! [`Sampler::refusal`] says why. Where the tables of /proc are not there either, each sample is [`Unavailable`].
//!
//! What is seen is the network namespace of this process, all of it: with the host's network the whole host, which is
//! why ports are watched. It needs no privilege. The kernel lists a table that keeps changing, bucket by bucket: a
//! socket that is made or closed meanwhile may be there or not, and one of its neighbours may, very rarely, be missing
//! or be there twice.

mod diag;
pub mod holder;
mod own_connections;
mod owners;
mod proc;
mod snapshot;
pub mod steer;
mod unix;
mod unix_wire;
mod wire;

pub use own_connections::{UnansweredGuard, own_ends, take_closed};
pub use owners::{Held, held_by, held_while, is_all_there_is, unix_of_others, which_are_held};
pub use snapshot::{Connection, Counters, Listener, SampleSource, Snapshot, State};
pub use unix::{UnixConnection, UnixListener, UnixSampler, UnixSnapshot};

use diag::Diag;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use wire::states;

/// Neither way shows anything, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sock_diag: {sock_diag}; /proc/net/tcp: {proc}")]
pub struct Unavailable {
    /// What netlink said.
    pub sock_diag: String,
    /// What reading the tables of /proc said.
    pub proc: String,
}

/// Takes samples, and keeps its socket and its memory between them.
#[derive(Debug)]
pub struct Sampler {
    /// Ascending.
    ports: Vec<u16>,
    /// Of the sockets of these ports, only those that belong to one of these listeners; all of them if this is empty.
    only: Vec<SocketAddr>,
    /// The filter that the kernel is given.
    filter: Vec<u8>,
    diag: Option<Diag>,
    refusal: Option<io::Error>,
    /// Whether sock_diag is no longer asked.
    given_up: bool,
    /// How many empty answers of sock_diag are still compared with /proc.
    doubts: u32,
    folder: PathBuf,
    snapshot: Snapshot,
}

/// Each of the first this many empty answers is compared with /proc: an emulated kernel may answer and know of nothing.
/// After them an empty answer is what it seems: the ports have no socket.
const DOUBTS: u32 = 3;
/// An answer that overran is asked for again, on a new socket, this many times in all.
const TRIES: u32 = 3;

impl Sampler {
    /// Watches these local ports. Nothing is opened before the first sample.
    pub fn new(ports: &[u16]) -> Sampler {
        let mut sampler = Sampler {
            ports: Vec::new(),
            only: Vec::new(),
            filter: Vec::new(),
            diag: None,
            refusal: None,
            given_up: false,
            doubts: DOUBTS,
            folder: PathBuf::from(proc::FOLDER),
            snapshot: Snapshot::new(),
        };
        sampler.watch(ports);
        sampler
    }

    /// A sampler that reads only the tables of /proc, as where sock_diag is refused.
    pub fn of_proc(ports: &[u16]) -> Sampler {
        let refusal = Some(io::Error::new(io::ErrorKind::Unsupported, "not asked"));
        Sampler { given_up: true, refusal, ..Sampler::new(ports) }
    }

    /// Watches these listeners from now on, and the connections that they can have accepted: another listener may have
    /// the same port on another address. One on all addresses takes what comes to any of them.
    pub fn watch_listeners(&mut self, at: &[SocketAddr]) {
        self.watch(&at.iter().map(SocketAddr::port).collect::<Vec<u16>>());
        at.clone_into(&mut self.only);
    }

    /// Watches these ports from now on, whatever the address.
    pub fn watch(&mut self, ports: &[u16]) {
        self.only.clear();
        ports.clone_into(&mut self.ports);
        self.ports.sort_unstable();
        self.ports.dedup();
        self.filter = wire::port_filter(&self.ports);
    }

    /// The sockets of the watched ports now.
    ///
    /// It may take a microsecond per socket, and a second where a kernel does not answer.
    pub fn sample(&mut self) -> Result<&Snapshot, Unavailable> {
        self.take(&What::Watched)?;
        self.snapshot.keep(&self.only);
        Ok(&self.snapshot)
    }

    /// All listening sockets of the namespace now, whatever is watched.
    pub fn listeners(&mut self) -> Result<&[Listener], Unavailable> {
        self.take(&What::Listeners).map(|snapshot| snapshot.listeners.as_slice())
    }

    /// Where the last sample came from.
    pub fn source(&self) -> SampleSource {
        self.snapshot.source
    }

    /// Why the last sample did not come from sock_diag; `None` if it did.
    pub fn refusal(&self) -> Option<&io::Error> {
        self.refusal.as_ref()
    }

    fn take(&mut self, what: &What) -> Result<&Snapshot, Unavailable> {
        if !self.given_up {
            match self.by_sock_diag(what) {
                Ok(()) => {
                    self.refusal = None;
                    self.snapshot.source = SampleSource::SockDiag;
                    return Ok(&self.snapshot);
                }
                Err(error) => {
                    self.given_up = !is_passing(&error);
                    self.refusal = Some(error);
                }
            }
        }
        self.snapshot.clear();
        self.snapshot.source = SampleSource::Proc;
        match by_proc(&self.folder, what, &self.ports, &mut self.snapshot) {
            Ok(()) => Ok(&self.snapshot),
            Err(proc) => {
                let sock_diag = self.refusal.as_ref().map(ToString::to_string).unwrap_or_default();
                Err(Unavailable { sock_diag, proc: proc.to_string() })
            }
        }
    }

    fn by_sock_diag(&mut self, what: &What) -> io::Result<()> {
        self.snapshot.clear();
        if matches!(what, What::Watched) && self.ports.is_empty() {
            return Ok(());
        }
        self.dump(what)?;
        if !self.snapshot.is_empty() {
            self.doubts = 0;
        } else if self.doubts > 0 {
            self.doubts -= 1;
            let mut shown = Snapshot::new();
            // The second look is for what was made between the first one and that at /proc.
            if by_proc(&self.folder, what, &self.ports, &mut shown).is_ok() && !shown.is_empty() {
                self.dump(what)?;
                if self.snapshot.is_empty() {
                    return Err(io::Error::other("an empty answer, though /proc/net shows sockets"));
                }
            }
        }
        Ok(())
    }

    fn dump(&mut self, what: &What) -> io::Result<()> {
        let mut tries = 1;
        loop {
            match self.dump_once(what) {
                Err(error) => {
                    // The rest of a broken answer goes with its socket.
                    self.diag = None;
                    if error.raw_os_error() != Some(libc::ENOBUFS) || tries == TRIES {
                        return Err(error);
                    }
                    tries += 1;
                }
                Ok(()) => return Ok(()),
            }
        }
    }

    fn dump_once(&mut self, what: &What) -> io::Result<()> {
        let (states, filter) = match what {
            What::Listeners => (states::LISTENERS, [].as_slice()),
            What::Watched => (states::LISTENERS | states::CONNECTIONS, self.filter.as_slice()),
        };
        let diag = match &mut self.diag {
            Some(diag) => diag,
            none => none.insert(Diag::open()?),
        };
        diag.dump(states, filter, |port| what.includes(&self.ports, port), &mut self.snapshot)
    }
}

/// What a sample is of.
enum What {
    Watched,
    Listeners,
}

impl What {
    fn includes(&self, ports: &[u16], port: u16) -> bool {
        match self {
            What::Watched => ports.binary_search(&port).is_ok(),
            What::Listeners => true,
        }
    }
}

fn by_proc(folder: &Path, what: &What, ports: &[u16], answer: &mut Snapshot) -> io::Result<()> {
    proc::read(folder, |port| what.includes(ports, port), answer)?;
    if matches!(what, What::Listeners) {
        answer.connections.clear();
    }
    Ok(())
}

/// Whether it is for want of something that may be there again at the next sample.
fn is_passing(error: &io::Error) -> bool {
    let passing = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS];
    error.raw_os_error().is_some_and(|number| passing.contains(&number))
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

//! Sockets as the kernel shows them: sock_diag(7) over netlink, or the tables of /proc/net where that is refused.
//!
//! ```text
//!   Sampler ──► diag ──► wire     the netlink socket; its messages as bytes
//!          └──► proc              the tables of /proc/net
//!   owners                        which listeners a set of processes holds
//!   UnixSampler ──► diag ──► unix_wire     the same for Unix sockets, or /proc/net/unix
//! ```
//!
//! A [`Sampler`] asks sock_diag as long as that answers. A refusal is final, and every other failure that lasts too, so
//! that whoever samples says it once: from then on [`Snapshot::source`] is [`Source::Proc`] and [`Sampler::refusal`] says
//! why. Where the tables of /proc are not there either, each sample is [`Unavailable`].
//!
//! What is seen is the network namespace of this process, all of it: with the host's network the whole host, which is why
//! one watches ports. It needs no privilege. The kernel lists a table that goes on changing, bucket by bucket: a socket that
//! is made or closed meanwhile may be there or not, and one of its neighbours may, very rarely, be missing or be there
//! twice.

mod diag;
mod own;
mod owners;
mod proc;
mod unix;
mod unix_wire;
mod wire;

pub use own::{Client, own_ends, take_closed};
pub use owners::{Held, held_by, is_all_there_is, unix_of_others, which_are_held};
pub use unix::{UnixConnection, UnixListener, UnixSampler, UnixSnapshot};

use diag::Diag;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use wire::{Row, states};

/// One connection of a watched port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// This end; its port is one of those that were asked for. A v4-mapped address is given as the IPv4 address that it is.
    pub local: SocketAddr,
    /// The other end, likewise. Without the interface of a link-local address.
    pub remote: SocketAddr,
    /// Where the connection stands.
    pub state: State,
    /// 0 while it waits to be accepted (and when the app has closed it).
    pub inode: u32,
    /// Bytes received that the app has not read. A FIN that it has not read counts as one.
    pub unread: u32,
    /// Bytes that the app has written and the other end has not acknowledged. A FIN counts as one here too.
    pub unsent: u32,
    /// What tcp_info tells; none from /proc/net/tcp, and from a kernel before 4.19.
    pub counters: Option<Counters>,
}

/// Of struct tcp_info (linux/tcp.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// tcpi_bytes_received. A received FIN counts as one.
    pub received: u64,
    /// tcpi_bytes_sent less tcpi_bytes_retrans.
    pub sent: u64,
    /// tcpi_last_data_recv: milliseconds ago, in steps of a clock tick.
    pub last_received_ms: u32,
    /// tcpi_last_data_sent: milliseconds ago, in steps of a clock tick.
    pub last_sent_ms: u32,
    /// tcpi_last_ack_recv: milliseconds ago, in steps of a clock tick, that a segment acknowledged something or was a pure
    /// acknowledgement: also the answer to a keep-alive probe. (tcpi_last_ack_sent is always 0.)
    pub last_ack_ms: u32,
    /// tcpi_segs_in: segments received, pure acknowledgements included, that of the handshake, too.
    pub segments_in: u32,
    /// tcpi_data_segs_in: of them those with data. What the network card has put together (GRO) counts as it came.
    pub data_segments_in: u32,
    /// tcpi_segs_out less tcpi_total_retrans: segments sent since the connection was made, without the SYN-ACK.
    pub segments_out: u32,
    /// tcpi_data_segs_out less tcpi_total_retrans: of them those with data.
    pub data_segments_out: u32,
    /// tcpi_snd_mss: bytes in a full segment.
    pub segment: u32,
}

impl Counters {
    /// Pure acknowledgements sent: for what came and was not answered at once.
    pub fn acks_out(&self) -> u32 {
        self.segments_out.saturating_sub(self.data_segments_out)
    }
}

/// The states of a connection that matter here (tcp_states.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// TCP_ESTABLISHED
    Established,
    /// TCP_CLOSE_WAIT: the other end has closed its half.
    CloseWait,
    /// TCP_FIN_WAIT1, TCP_FIN_WAIT2, TCP_CLOSING, TCP_LAST_ACK: the app has closed; what is unsent is still on its way.
    /// With an inode it has closed its own half only, by shutdown(2), and may still read.
    Closing,
}

/// One listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where.
    pub local: SocketAddr,
    /// Its socket, as /proc/PID/fd names it.
    pub inode: u32,
    /// Connections in its backlog that nobody has accepted.
    pub backlog: u32,
}

/// Where the numbers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// sock_diag: all there is.
    SockDiag,
    /// /proc/net/tcp and tcp6: connections, states and queues, no counters.
    Proc,
}

/// Everything at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Where it comes from.
    pub source: Source,
    /// The listeners of the watched ports.
    pub listeners: Vec<Listener>,
    /// The connections of the watched ports, without SYN_SENT, SYN_RECV and TIME_WAIT.
    pub connections: Vec<Connection>,
}

impl Snapshot {
    fn new() -> Snapshot {
        Snapshot { source: Source::SockDiag, listeners: Vec::new(), connections: Vec::new() }
    }

    fn clear(&mut self) {
        self.listeners.clear();
        self.connections.clear();
    }

    fn is_empty(&self) -> bool {
        self.listeners.is_empty() && self.connections.is_empty()
    }

    /// These listeners and what they can have accepted; all, if there is none.
    fn keep(&mut self, only: &[SocketAddr]) {
        if only.is_empty() {
            return;
        }
        let takes = |at: &SocketAddr, local: &SocketAddr| {
            at.port() == local.port() && (at.ip().is_unspecified() || at.ip() == local.ip())
        };
        self.listeners.retain(|listener| only.contains(&listener.local));
        self.connections.retain(|connection| only.iter().any(|at| takes(at, &connection.local)));
    }

    /// What was closed by this end and is not delivered yet: connections, and their bytes. No process holds them any more,
    /// the kernel goes on with them for as long as their network namespace is there.
    pub fn undelivered(&self) -> (usize, u64) {
        let left = self.connections.iter().filter(|connection| connection.state == State::Closing);
        // The FIN is one of them.
        let bytes = left.map(|connection| u64::from(connection.unsent.saturating_sub(1))).filter(|bytes| *bytes > 0);
        bytes.fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes))
    }

    fn add(&mut self, row: Row, keep: impl Fn(u16) -> bool) {
        match row {
            Row::Listener(listener) if keep(listener.local.port()) => self.listeners.push(listener),
            Row::Connection(connection) if keep(connection.local.port()) => self.connections.push(connection),
            _ => {}
        }
    }
}

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
    /// Of the sockets of these ports only those that belong to one of these listeners; all, if there is none.
    only: Vec<SocketAddr>,
    /// For the kernel.
    filter: Vec<u8>,
    diag: Option<Diag>,
    refusal: Option<io::Error>,
    /// sock_diag is not asked any more.
    given_up: bool,
    /// How many empty answers of sock_diag are still compared with /proc.
    doubts: u32,
    folder: PathBuf,
    snapshot: Snapshot,
}

/// Of the first so many empty answers each is compared with /proc: a kernel that is only acted may answer and know of
/// nothing. After them an empty answer is what it seems: the ports have no socket.
const DOUBTS: u32 = 3;
/// An answer that overran is asked for again, on a new socket, so often in all.
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

    /// Reads the tables of /proc only, as where sock_diag is refused.
    pub fn of_proc(ports: &[u16]) -> Sampler {
        let refusal = Some(io::Error::new(io::ErrorKind::Unsupported, "not asked"));
        Sampler { given_up: true, refusal, ..Sampler::new(ports) }
    }

    /// Watches these listeners from now on, and the connections that they can have accepted: another listener may have the
    /// same port on another address. One on all addresses takes what comes to whichever.
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
    /// It may take as long as a thousandth of a millisecond per socket, and a second where a kernel does not answer.
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
    pub fn source(&self) -> Source {
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
                    self.snapshot.source = Source::SockDiag;
                    return Ok(&self.snapshot);
                }
                Err(error) => {
                    self.given_up = !is_passing(&error);
                    self.refusal = Some(error);
                }
            }
        }
        self.snapshot.clear();
        self.snapshot.source = Source::Proc;
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

/// It is for want of something that may be there again at the next sample.
fn is_passing(error: &io::Error) -> bool {
    let passing = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS];
    error.raw_os_error().is_some_and(|number| passing.contains(&number))
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

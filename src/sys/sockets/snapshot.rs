//! What a sample holds: listeners and connections, whatever their source.

use std::net::SocketAddr;

/// One connection of a watched port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// This end; its port is one of those that were asked for. A v4-mapped address is given as the IPv4 address that it
    /// is.
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
    /// What tcp_info tells; `None` from /proc/net/tcp, and from a kernel before 4.19.
    pub counters: Option<Counters>,
}

/// Counters of struct tcp_info (linux/tcp.h).
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
    /// tcpi_last_ack_recv: milliseconds ago, in steps of a clock tick, that a segment acknowledged something or was a
    /// pure acknowledgement: also the answer to a keep-alive probe. (tcpi_last_ack_sent is always 0.)
    pub last_ack_ms: u32,
    /// tcpi_segs_in: segments received, including pure acknowledgements and that of the handshake.
    pub segments_in: u32,
    /// tcpi_data_segs_in: those of them with data. What the network card has put together (GRO) counts as it came.
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
    /// The address on which it listens.
    pub local: SocketAddr,
    /// Its socket, as /proc/PID/fd names it.
    pub inode: u32,
    /// Connections in its backlog that nobody has accepted.
    pub backlog: u32,
}

/// Where the numbers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleSource {
    /// sock_diag: all there is.
    SockDiag,
    /// /proc/net/tcp and tcp6: connections, states and queues, no counters.
    Proc,
}

/// Everything at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Where it comes from.
    pub source: SampleSource,
    /// The listeners of the watched ports.
    pub listeners: Vec<Listener>,
    /// The connections of the watched ports, without SYN_SENT, SYN_RECV and TIME_WAIT.
    pub connections: Vec<Connection>,
}

impl Snapshot {
    pub(super) fn new() -> Snapshot {
        Snapshot { source: SampleSource::SockDiag, listeners: Vec::new(), connections: Vec::new() }
    }

    pub(super) fn clear(&mut self) {
        self.listeners.clear();
        self.connections.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.listeners.is_empty() && self.connections.is_empty()
    }

    /// Keeps these listeners and what they can have accepted; everything if there are none.
    pub(super) fn keep(&mut self, only: &[SocketAddr]) {
        if only.is_empty() {
            return;
        }
        let takes = |at: &SocketAddr, local: &SocketAddr| {
            at.port() == local.port() && (at.ip().is_unspecified() || at.ip() == local.ip())
        };
        self.listeners.retain(|listener| only.contains(&listener.local));
        self.connections.retain(|connection| only.iter().any(|at| takes(at, &connection.local)));
    }

    /// What was closed by this end and is not delivered yet: connections, and their bytes. No process holds them any
    /// more; the kernel goes on with them for as long as their network namespace exists.
    pub fn undelivered(&self) -> (usize, u64) {
        let left = self.connections.iter().filter(|connection| connection.state == State::Closing);
        // The FIN is one of them.
        let bytes = left.map(|connection| u64::from(connection.unsent.saturating_sub(1))).filter(|bytes| *bytes > 0);
        bytes.fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes))
    }

    pub(super) fn add(&mut self, row: DumpRow, keep: impl Fn(u16) -> bool) {
        match row {
            DumpRow::Listener(listener) if keep(listener.local.port()) => self.listeners.push(listener),
            DumpRow::Connection(connection) if keep(connection.local.port()) => self.connections.push(connection),
            _ => {}
        }
    }
}

/// What a row is about.
#[derive(Debug, PartialEq)]
pub(super) enum DumpRow {
    Listener(Listener),
    Connection(Connection),
    /// A state that was not asked for.
    Other,
}

//! The bounds on what clients can take. How they add up is in the parent's text.

use crate::sys::fds;
use std::time::Duration;

/// Largest head of a request, and the size of hyper's two buffers: the least that it accepts.
pub(super) const HEAD_BYTES: usize = 8 * 1024;

/// Most lines in the head of a request.
pub(super) const HEAD_LINES: usize = 64;

/// The backlog of the listener; the kernel's own limit (net.core.somaxconn) is above it.
pub(super) const BACKLOG: i32 = 1024;

/// The bytes to be read that the kernel keeps for a TCP connection. A head fits; the kernel doubles it (socket(7)).
pub(super) const KERNEL_IN: usize = 16 * 1024;

/// The bytes to be sent that the kernel keeps for a TCP connection. The answers to probes fit; the kernel doubles it.
pub(super) const KERNEL_OUT: usize = 32 * 1024;

/// An answer that is not read by then is given up: by the server while it holds the answer, by the kernel after that.
/// It is Prometheus' default for a whole scrape.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(10);

/// Neither a head nor a silence may take longer. Not a multiple of the usual probe intervals, so that a client which
/// keeps its connection does not use it just when it is closed here.
const HEAD_TIME: Duration = Duration::from_secs(7);

/// Most connections.
const OPEN: usize = 256;
/// A server may have this share of the descriptors that the process may have. The rest are for hooks and checks.
const SHARE_OF_DESCRIPTORS: usize = 4;
/// Most connections that may have sent something.
const TALKING: usize = 64;
/// Most bytes of answers that the kernel has not taken yet.
const UNSENT: usize = 256 * 1024;

/// The bounds that depend on where graceful runs, or that a test wants to be smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ServerLimits {
    /// Connections.
    pub(super) open: usize,
    /// Connections that have sent something, and so have buffers.
    pub(super) talking: usize,
    /// Bytes of answers that are waiting for their readers, of all connections.
    pub(super) unsent: usize,
    /// From the connection's start, or its last answer, to the first byte of a request, and from there to the end of
    /// its head.
    pub(super) head: Duration,
    /// From when an answer has to wait for its reader to its last byte.
    pub(super) answer: Duration,
}

impl ServerLimits {
    /// The bounds for this process.
    pub(super) fn here() -> ServerLimits {
        ServerLimits::with_descriptors(usize::try_from(fds::limit()).unwrap_or(0))
    }

    fn with_descriptors(descriptors: usize) -> ServerLimits {
        let open = (descriptors / SHARE_OF_DESCRIPTORS).clamp(1, OPEN);
        ServerLimits { open, talking: open.min(TALKING), unsent: UNSENT, head: HEAD_TIME, answer: ANSWER_TIME }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_descriptors_are_few_connections() {
        let count = |descriptors| {
            let limits = ServerLimits::with_descriptors(descriptors);
            (limits.open, limits.talking)
        };
        assert_eq!([0, 4, 16, 256, 1024, 65_536].map(count), [(1, 1), (1, 1), (4, 4), (64, 64), (256, 64), (256, 64)]);
    }
}

//! The messages of sock_diag(7) for TCP as bytes: what is asked, and what the rows of the answer say. Pure.
//!
//! Written by hand, although there is netlink-packet-sock-diag. As of 0.5 a request of that crate carries no
//! attributes, so the kernel could not filter by port; a row whose tcp_info is shorter than the crate's fails as a
//! whole, so older kernels could not be read; and it splits every row into allocated parts, of which one in a hundred
//! is wanted here. What is left, the framing, is two headers.
//!
//! Whatever the bytes are, nothing here panics, and every step consumes at least a header. Structures of the kernel
//! grow at their ends: a field is read at its offset if it is there, and what follows is left alone.

use super::snapshot::{Connection, Counters, DumpRow, Listener, State};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The states of tcp_states.h that are asked for, as idiag_states takes them: one bit each.
pub(super) mod states {
    /// TCP_LISTEN
    pub(in super::super) const LISTENERS: u32 = 1 << 10;
    /// TCP_ESTABLISHED, TCP_FIN_WAIT1, TCP_FIN_WAIT2, TCP_CLOSE_WAIT, TCP_LAST_ACK, TCP_CLOSING
    pub(in super::super) const CONNECTIONS: u32 = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;
}

/// What a dump is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub(super) family: SocketFamily,
    /// Bits of [`states`].
    pub(super) states: u32,
    /// What [`port_filter`] made, or nothing for all ports.
    pub(super) filter: &'a [u8],
}

/// The family of the sockets. Those of IPv6 include the connections of dual-stack listeners, with v4-mapped addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SocketFamily {
    /// Both in one walk over the kernel's table, which with many sockets is a good part of the cost. Only the older of
    /// the two requests can ask for it.
    Both,
    V4,
    V6,
}

/// linux/sock_diag.h: the request for one family.
pub(super) const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// linux/inet_diag.h: the request for both families.
const TCPDIAG_GETSOCK: u16 = 18;
/// linux/inet_diag.h: an attribute of the request.
const INET_DIAG_REQ_BYTECODE: u16 = 1;
/// linux/inet_diag.h: an attribute of a row, and (less one, as a bit) what idiag_ext asks for.
const INET_DIAG_INFO: u16 = 2;
const WITH_INFO: u8 = 1 << (INET_DIAG_INFO - 1);
/// struct nlmsghdr
const MESSAGE_HEADER: usize = 16;
/// struct nlattr
const ATTRIBUTE_HEADER: usize = 4;
/// struct inet_diag_sockid. All of it is zero: the filter says whose ports.
const ANY_SOCKET: [u8; 48] = [0; 48];
/// struct inet_diag_msg
const ROW: usize = 72;

/// Writes the request for a dump into the buffer.
pub(super) fn write_request(buffer: &mut Vec<u8>, sequence: u32, question: &Question) {
    buffer.clear();
    // The length, which is written at the end.
    buffer.extend([0; 4]);
    let kind = if question.family == SocketFamily::Both { TCPDIAG_GETSOCK } else { SOCK_DIAG_BY_FAMILY };
    buffer.extend(kind.to_ne_bytes());
    buffer.extend(((libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16).to_ne_bytes());
    buffer.extend(sequence.to_ne_bytes());
    buffer.extend([0; 4]);
    match question.family {
        // struct inet_diag_req: neither the family nor idiag_dbs is looked at.
        SocketFamily::Both => {
            buffer.extend([libc::AF_UNSPEC as u8, 0, 0, WITH_INFO]);
            buffer.extend(ANY_SOCKET);
            buffer.extend(question.states.to_ne_bytes());
            buffer.extend([0; 4]);
        }
        // struct inet_diag_req_v2
        SocketFamily::V4 | SocketFamily::V6 => {
            let family = if question.family == SocketFamily::V4 { libc::AF_INET } else { libc::AF_INET6 };
            buffer.extend([family as u8, libc::IPPROTO_TCP as u8, WITH_INFO, 0]);
            buffer.extend(question.states.to_ne_bytes());
            buffer.extend(ANY_SOCKET);
        }
    }
    if !question.filter.is_empty() {
        buffer.extend(((ATTRIBUTE_HEADER + question.filter.len()) as u16).to_ne_bytes());
        buffer.extend(INET_DIAG_REQ_BYTECODE.to_ne_bytes());
        buffer.extend(question.filter);
    }
    let length = (buffer.len() as u32).to_ne_bytes();
    buffer.iter_mut().zip(length).for_each(|(byte, length)| *byte = length);
}

/// Beyond this the kernel would spend more time on the filter than we on the rows.
const MOST_RANGES: usize = 64;
/// INET_DIAG_BC_JMP, INET_DIAG_BC_S_GE, INET_DIAG_BC_S_LE. There is S_EQ too, but only since Linux 4.16.
const JUMP: u8 = 1;
const SOURCE_AT_LEAST: u8 = 2;
const SOURCE_AT_MOST: u8 = 3;
/// struct inet_diag_bc_op; a comparison is two of them, the second for the port.
const OPERATION: usize = 4;
const COMPARISON: usize = 2 * OPERATION;
const RANGE: usize = 2 * COMPARISON + OPERATION;

/// A program of inet_diag's filter language that accepts these local ports, given in ascending order. With very many
/// it accepts ports in between as well: look again at what comes.
///
/// Per range `at least FROM, else reject; at most TO, else next range; accept`. An operation says how far to go on if
/// it holds and if not. The program accepts at its end, and rejects 4 bytes after it (inet_diag_bc_run). Since the
/// ranges ascend, a port below one is in none of the rest.
pub(super) fn port_filter(ports: &[u16]) -> Vec<u8> {
    let mut ranges = ranges(ports);
    if let ([(from, _), .., (_, to)], true) = (ranges.as_slice(), ranges.len() > MOST_RANGES) {
        ranges = vec![(*from, *to)];
    }
    // The last range ends where the program does, without a jump to there.
    let length = (ranges.len() * RANGE).saturating_sub(OPERATION);
    let mut program = Vec::with_capacity(length);
    for (from, to) in ranges {
        let to_end = length - program.len();
        operation(&mut program, SOURCE_AT_LEAST, COMPARISON, to_end + OPERATION);
        operation(&mut program, 0, 0, from.into());
        operation(&mut program, SOURCE_AT_MOST, COMPARISON, COMPARISON + OPERATION);
        operation(&mut program, 0, 0, to.into());
        if program.len() < length {
            operation(&mut program, JUMP, OPERATION, to_end - 2 * COMPARISON);
        }
    }
    program
}

fn operation(program: &mut Vec<u8>, code: u8, yes: usize, no: usize) {
    program.extend([code, yes as u8]);
    program.extend((no as u16).to_ne_bytes());
}

fn ranges(ports: &[u16]) -> Vec<(u16, u16)> {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for port in ports {
        match ranges.last_mut() {
            Some((_, to)) if port.checked_sub(1).is_some_and(|before| before <= *to) => *to = *port,
            _ => ranges.push((*port, *port)),
        }
    }
    ranges
}

/// One message of an answer.
#[derive(Debug)]
pub(super) struct Message<'a> {
    /// The number of the request that it answers.
    pub(super) sequence: u32,
    /// Whether the table changed while it was listed (NLM_F_DUMP_INTR).
    pub(super) interrupted: bool,
    pub(super) body: Body<'a>,
}

/// What a message says.
#[derive(Debug)]
pub(super) enum Body<'a> {
    /// A socket, for [`row`].
    Row(&'a [u8]),
    /// All has been said.
    Done,
    /// An error, which is the end, too.
    Failed(io::Error),
    /// An acknowledgement, or nothing at all.
    Other,
}

/// The error for an answer that makes no sense.
pub(super) fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "malformed answer of sock_diag")
}

/// Takes the first message off the front (netlink(7)); the bytes that were received must not be empty.
pub(super) fn next_message<'a>(bytes: &mut &'a [u8]) -> io::Result<Message<'a>> {
    let header = bytes.first_chunk::<MESSAGE_HEADER>().ok_or_else(malformed)?;
    let length = u32_at(header, 0) as usize;
    let payload = bytes.get(MESSAGE_HEADER..length).ok_or_else(malformed)?;
    *bytes = bytes.get(aligned(length)..).unwrap_or_default();
    let interrupted = i32::from(u16_at(header, 6)) & libc::NLM_F_DUMP_INTR != 0;
    let body = match i32::from(u16_at(header, 4)) {
        libc::NLMSG_DONE => end(payload).map_or(Body::Done, Body::Failed),
        libc::NLMSG_ERROR if payload.len() < 4 => return Err(malformed()),
        libc::NLMSG_ERROR => end(payload).map_or(Body::Other, Body::Failed),
        libc::NLMSG_OVERRUN => Body::Failed(io::Error::from_raw_os_error(libc::ENOBUFS)),
        kind if [SOCK_DIAG_BY_FAMILY, TCPDIAG_GETSOCK].map(i32::from).contains(&kind) => Body::Row(payload),
        _ => Body::Other,
    };
    Ok(Message { sequence: u32_at(header, 8), interrupted, body })
}

/// NLMSG_ERROR and NLMSG_DONE begin with a negative errno, or 0; an old kernel's NLMSG_DONE with nothing.
fn end(payload: &[u8]) -> Option<io::Error> {
    let number = i32::from_ne_bytes(*payload.first_chunk()?);
    (number != 0).then(|| io::Error::from_raw_os_error(number.saturating_neg()))
}

/// Reads a row; `None` if it is malformed.
pub(super) fn row(bytes: &[u8]) -> Option<DumpRow> {
    let fixed = bytes.first_chunk::<ROW>()?;
    let local = address(fixed, 8, port_at(fixed, 4))?;
    let inode = u32_at(fixed, 68);
    let (unread, unsent) = (u32_at(fixed, 56), u32_at(fixed, 60));
    Some(match kind(fixed[1]) {
        StateKind::Listener => DumpRow::Listener(Listener { local, inode, backlog: unread }),
        StateKind::Connection(state) => {
            let remote = address(fixed, 24, port_at(fixed, 6))?;
            let counters = counters(info(bytes.get(ROW..)?)?);
            DumpRow::Connection(Connection { local, remote, state, inode, unread, unsent, counters })
        }
        StateKind::Other => DumpRow::Other,
    })
}

/// What the number of a state means here (tcp_states.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StateKind {
    Listener,
    Connection(State),
    Other,
}

pub(super) fn kind(state: u8) -> StateKind {
    match 1u32.checked_shl(state.into()).unwrap_or(0) {
        states::LISTENERS => StateKind::Listener,
        bit if bit & states::CONNECTIONS == 0 => StateKind::Other,
        _ => StateKind::Connection(match state {
            1 => State::Established,
            8 => State::CloseWait,
            _ => State::Closing,
        }),
    }
}

/// The addresses of a struct inet_diag_msg are 16 bytes in network order, of which IPv4 uses the first four.
fn address(row: &[u8; ROW], offset: usize, port: u16) -> Option<SocketAddr> {
    let bytes: [u8; 16] = *row.get(offset..)?.first_chunk()?;
    let ip = match i32::from(row[0]) {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::from(*bytes.first_chunk::<4>()?)),
        libc::AF_INET6 => Ipv6Addr::from(bytes).to_canonical(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// tcp_info among the attributes, nothing if it is not there; `None` for malformed ones.
fn info(mut attributes: &[u8]) -> Option<&[u8]> {
    while !attributes.is_empty() {
        let (kind, value) = next_attribute(&mut attributes)?;
        if kind == INET_DIAG_INFO {
            return Some(value);
        }
    }
    Some(&[])
}

/// Takes the first attribute off the front: its kind and its value; `None` if it is malformed.
pub(super) fn next_attribute<'a>(attributes: &mut &'a [u8]) -> Option<(u16, &'a [u8])> {
    /// NLA_TYPE_MASK: above it are flags.
    const KIND: u16 = 0x3fff;
    let header = attributes.first_chunk::<ATTRIBUTE_HEADER>()?;
    let length = usize::from(u16_at(header, 0));
    let value = attributes.get(ATTRIBUTE_HEADER..length)?;
    let kind = u16_at(header, 2) & KIND;
    *attributes = attributes.get(aligned(length)..).unwrap_or_default();
    Some((kind, value))
}

/// Reads struct tcp_info as in linux/tcp.h; the C library's has half of it.
fn counters(info: &[u8]) -> Option<Counters> {
    // tcpi_bytes_sent and tcpi_bytes_retrans have come last, with Linux 4.19.
    let info = info.first_chunk::<216>()?;
    // tcpi_total_retrans: what is sent again is sent once.
    let once = |offset: usize| u32_at(info, offset).saturating_sub(u32_at(info, 100));
    Some(Counters {
        received: u64_at(info, 128),
        sent: u64_at(info, 200).saturating_sub(u64_at(info, 208)),
        last_received_ms: u32_at(info, 52),
        last_sent_ms: u32_at(info, 44),
        last_ack_ms: u32_at(info, 56),
        segments_in: u32_at(info, 140),
        data_segments_in: u32_at(info, 152),
        segments_out: once(136),
        data_segments_out: once(156),
        segment: u32_at(info, 16),
    })
}

/// NLMSG_ALIGN, NLA_ALIGN
fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

// The offsets are constants of this file below the length of an array; 0 is what the compiler need not believe that.

fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    bytes.get(offset..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u16::from_ne_bytes(*bytes))
}

pub(super) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    bytes.get(offset..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    bytes.get(offset..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u64::from_ne_bytes(*bytes))
}

/// A port, in network order.
fn port_at(bytes: &[u8], offset: usize) -> u16 {
    u16::from_be(u16_at(bytes, offset))
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;

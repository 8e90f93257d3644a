//! /proc/net/tcp and tcp6 (proc_pid_net(5)): what is left where sock_diag is refused.
//!
//! Of each socket: addresses, state, both queues, inode; of a listener its backlog, in the column of the receive queue.
//! Of UDP, what is bound. A row that cannot be read is an error and not left out: a connection that is not seen would
//! be taken for one that is not there.

use super::snapshot::{Connection, DumpRow, Listener, Snapshot};
use super::wire::{StateKind, kind};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// Where both files are, those of the network namespace of this process.
pub(super) const FOLDER: &str = "/proc/net";

/// Adds the sockets whose local port is to be kept.
pub(super) fn read(folder: &Path, keep: impl Fn(u16) -> bool, answer: &mut Snapshot) -> io::Result<()> {
    let mut take = |row| answer.add(row, &keep);
    read_table(&folder.join("tcp"), &mut take)?;
    match read_table(&folder.join("tcp6"), &mut take) {
        // A kernel without IPv6 has no such file.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// A UDP socket that has a port of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BoundUdp {
    pub(super) local: SocketAddr,
    pub(super) inode: u32,
}

/// The UDP sockets that take datagrams from anybody: those that are connected to one peer are clients.
pub(super) fn udp(folder: &Path) -> io::Result<Vec<BoundUdp>> {
    let mut found = Vec::new();
    for name in ["udp", "udp6"] {
        // The kernel goes through all ports for each read of it, so there is room for all of it in one.
        let mut table = Vec::with_capacity(64 * 1024);
        match File::open(folder.join(name)).and_then(|mut file| file.read_to_end(&mut table)) {
            Ok(_) => found.extend(table.split(|byte| *byte == b'\n').skip(1).filter_map(parse_udp)),
            // As above.
            Err(error) if name == "udp6" && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// The columns are those of TCP.
fn parse_udp(line: &[u8]) -> Option<BoundUdp> {
    let mut fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
    let (local, remote) = (address(fields.nth(1)?)?, address(fields.next()?)?);
    let inode = std::str::from_utf8(fields.nth(6)?).ok()?.parse::<u64>().ok()? as u32;
    (remote.port() == 0).then_some(BoundUdp { local, inode })
}

fn read_table(path: &Path, take: &mut impl FnMut(DumpRow)) -> io::Result<()> {
    let mut file = BufReader::with_capacity(64 * 1024, File::open(path)?);
    let mut line = Vec::new();
    // The first line names the columns.
    file.read_until(b'\n', &mut line)?;
    loop {
        line.clear();
        if file.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let malformed = || {
            let text = format!("unreadable row {:?}", String::from_utf8_lossy(line.trim_ascii()));
            io::Error::new(io::ErrorKind::InvalidData, text)
        };
        take(parse(&line).ok_or_else(malformed)?);
    }
}

/// `sl local remote state tx_queue:rx_queue timer:when retransmits uid timeout inode …`, mostly in hexadecimal.
fn parse(line: &[u8]) -> Option<DumpRow> {
    let mut fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
    let (local, remote) = (fields.nth(1)?, fields.next()?);
    let state = kind(u8::try_from(hexadecimal(fields.next()?)?).ok()?);
    let (unsent, unread) = halves(fields.next()?)?;
    let (unsent, unread) = (hexadecimal(unsent)?, hexadecimal(unread)?);
    let inode = fields.nth(4)?;
    // As in sock_diag: sockfs numbers its inodes with 32 bits.
    let inode = std::str::from_utf8(inode).ok()?.parse::<u64>().ok()? as u32;
    let (local, remote) = (address(local)?, address(remote)?);
    Some(match state {
        StateKind::Listener => DumpRow::Listener(Listener { local, inode, backlog: unread }),
        StateKind::Connection(state) => {
            DumpRow::Connection(Connection { local, remote, state, inode, unread, unsent, counters: None })
        }
        StateKind::Other => DumpRow::Other,
    })
}

/// `0100007F:1F90` is 127.0.0.1:8080 on a little-endian machine: the address is printed by words of 32 bits in the
/// machine's order, the port as a number.
fn address(text: &[u8]) -> Option<SocketAddr> {
    let (address, port) = halves(text)?;
    let port = u16::try_from(hexadecimal(port)?).ok()?;
    let mut bytes = [0; 16];
    for (bytes, word) in bytes.chunks_exact_mut(4).zip(address.chunks(8)) {
        bytes.copy_from_slice(&hexadecimal(word)?.to_ne_bytes());
    }
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(*bytes.first_chunk::<4>()?)),
        32 => Ipv6Addr::from(bytes).to_canonical(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn halves(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = text.iter().position(|byte| *byte == b':')?;
    Some((text.get(..colon)?, text.get(colon + 1..)?))
}

/// Up to eight digits.
fn hexadecimal(text: &[u8]) -> Option<u32> {
    if text.is_empty() || text.len() > 8 {
        return None;
    }
    text.iter().try_fold(0, |number, digit| Some(number << 4 | char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
#[path = "proc_tests.rs"]
mod tests;

//! The messages of sock_diag(7) for Unix sockets as bytes (linux/unix_diag.h). Pure, and as careful as `wire`, whose
//! framing it uses.

use super::wire::{SOCK_DIAG_BY_FAMILY, next_attribute, states, u32_at};

/// What is asked for: UDIAG_SHOW_NAME, UDIAG_SHOW_VFS, UDIAG_SHOW_PEER, UDIAG_SHOW_RQLEN.
const SHOW: u32 = 1 | 1 << 1 | 1 << 2 | 1 << 4;
/// TCP_ESTABLISHED, which Unix sockets have, too.
const CONNECTED: u32 = 1 << 1;
/// The attributes that it comes in.
const UNIX_DIAG_NAME: u16 = 0;
const UNIX_DIAG_VFS: u16 = 1;
const UNIX_DIAG_PEER: u16 = 2;
const UNIX_DIAG_RQLEN: u16 = 4;
/// struct unix_diag_msg
const ROW: usize = 16;

/// One socket that listens or is connected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct UnixSocket {
    pub(super) listens: bool,
    pub(super) inode: u32,
    /// A path, `@name` if it is abstract, or nothing.
    pub(super) name: String,
    /// Inode and device of the path: another socket may have the same path later.
    pub(super) file: Option<(u32, u32)>,
    /// The other end's socket: 0 if it is closed; `None` if it is not shown.
    pub(super) peer: Option<u32>,
    /// Bytes that are unread; for a listener, the connections that wait.
    pub(super) unread: u32,
    /// As the kernel charges them: more than the bytes.
    pub(super) unsent: u32,
}

/// Writes the request for a dump of all sockets that listen or are connected (struct unix_diag_req).
pub(super) fn write_request(buffer: &mut Vec<u8>, sequence: u32) {
    buffer.clear();
    // struct nlmsghdr, with the length of all.
    buffer.extend(40u32.to_ne_bytes());
    buffer.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    buffer.extend(((libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16).to_ne_bytes());
    buffer.extend(sequence.to_ne_bytes());
    buffer.extend([0; 4]);
    buffer.extend([libc::AF_UNIX as u8, 0, 0, 0]);
    buffer.extend((states::LISTENERS | CONNECTED).to_ne_bytes());
    // udiag_ino, which a dump does not look at.
    buffer.extend([0; 4]);
    buffer.extend(SHOW.to_ne_bytes());
    // INET_DIAG_NOCOOKIE, twice.
    buffer.extend([0xff; 8]);
}

/// Reads a row; `None` if it is malformed.
pub(super) fn row(bytes: &[u8]) -> Option<UnixSocket> {
    let fixed = bytes.first_chunk::<ROW>()?;
    let mut socket = UnixSocket {
        listens: 1u32.checked_shl(fixed[2].into()) == Some(states::LISTENERS),
        inode: u32_at(fixed, 4),
        ..UnixSocket::default()
    };
    let mut attributes = bytes.get(ROW..)?;
    while !attributes.is_empty() {
        match next_attribute(&mut attributes)? {
            (UNIX_DIAG_NAME, bytes) => socket.name = name(bytes),
            (UNIX_DIAG_VFS, file) => socket.file = Some((u32_at(file, 0), u32_at(file, 4))),
            (UNIX_DIAG_PEER, peer) => socket.peer = Some(u32_at(peer, 0)),
            (UNIX_DIAG_RQLEN, queues) => (socket.unread, socket.unsent) = (u32_at(queues, 0), u32_at(queues, 4)),
            _ => {}
        }
    }
    Some(socket)
}

/// As /proc/net/unix writes it: a path ends before its zero byte; an abstract name begins with one, which is an `@`
/// there.
fn name(bytes: &[u8]) -> String {
    let text = match bytes {
        [0, name @ ..] => [b"@", name].concat(),
        path => path.split(|byte| *byte == 0).next().unwrap_or_default().to_vec(),
    };
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = [((4 + value.len()) as u16).to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    #[test]
    fn a_row_is_read_whatever_comes_behind_it() {
        let mut bytes = vec![1, 1, 1, 0];
        bytes.extend(words(&[77, 1, 2]));
        bytes.extend(attribute(UNIX_DIAG_NAME, b"/run/a.sock\0"));
        bytes.extend(attribute(UNIX_DIAG_VFS, &words(&[5, 6])));
        bytes.extend(attribute(UNIX_DIAG_PEER, &words(&[78])));
        bytes.extend(attribute(UNIX_DIAG_RQLEN, &words(&[9, 10])));
        bytes.extend(attribute(99, b"x"));
        let expected = UnixSocket {
            listens: false,
            inode: 77,
            name: "/run/a.sock".to_owned(),
            file: Some((5, 6)),
            peer: Some(78),
            unread: 9,
            unsent: 10,
        };
        assert_eq!(row(&bytes), Some(expected));
        for length in 0..bytes.len() {
            // Whatever is cut off, nothing panics.
            _ = row(&bytes[..length]);
        }
        assert_eq!(row(&bytes[..12]), None);
    }

    #[test]
    fn names_are_those_of_proc() {
        assert_eq!([name(b"/a b\0"), name(b"\0abstract"), name(b"")], ["/a b", "@abstract", ""]);
    }
}

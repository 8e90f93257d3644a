//! Unix sockets that somebody listens on (/proc/net/unix, unix(7)): what connections to them do the kernel does not tell, but
//! that there are such listeners can be said.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

/// __SO_ACCEPTCON of linux/net.h, in the column of flags.
const LISTENS: u32 = 0x10000;
/// More of the table is not read: it lists connections, too.
const LONGEST: usize = 16 << 20;

/// The names of all of them, by inode. Empty where they cannot be seen.
pub(super) fn listeners() -> HashMap<u32, String> {
    let path = PathBuf::from(super::proc::FOLDER).join("unix");
    let Ok(table) = fs::read(path) else { return HashMap::new() };
    parse(&String::from_utf8_lossy(&table[..table.len().min(LONGEST)]))
}

/// `Num RefCount Protocol Flags Type St Inode Path`, by inode; a row that is not so is none.
fn parse(table: &str) -> HashMap<u32, String> {
    let row = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(3);
        let flags = u32::from_str_radix(fields.next()?, 16).ok()?;
        // sockfs numbers its inodes with 32 bits.
        let inode = fields.nth(2)?.parse::<u64>().ok()? as u32;
        (flags & LISTENS != 0).then(|| (inode, fields.collect::<Vec<_>>().join(" ")))
    };
    table.lines().skip(1).filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::super::held_by;
    use super::*;
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    #[test]
    fn only_those_who_listen_are_in_the_table() {
        let table = "Num       RefCount Protocol Flags    Type St Inode Path\n\
                     0000000000000000: 00000002 00000000 00010000 0001 01 24551 /run/a b.sock\n\
                     0000000000000000: 00000002 00000000 00010000 0005 01 7 @abstract\n\
                     0000000000000000: 00000003 00000000 00000000 0001 03 9 /run/a b.sock\n\
                     nonsense\n\
                     0000000000000000: 00000002 00000000 00010000 0001 01 12\n";
        let expected = [(24551, "/run/a b.sock"), (7, "@abstract"), (12, "")];
        assert_eq!(parse(table), expected.map(|(inode, name)| (inode, name.to_owned())).into());
    }

    #[test]
    fn a_listener_of_this_process_is_found_by_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let _listener = UnixListener::bind(path("listens")).unwrap();
        let _client = UnixStream::connect(path("listens")).unwrap();
        let _datagrams = UnixDatagram::bind(path("datagrams")).unwrap();
        let found = held_by(&[crate::sys::getpid()], &[]).unix;
        let ours: Vec<&String> =
            found.iter().filter(|name| name.starts_with(folder.path().to_str().unwrap())).collect();
        assert_eq!(ours, [path("listens").to_str().unwrap()]);
        assert_eq!(held_by(&[], &[]).unix, Vec::<String>::new());
    }
}

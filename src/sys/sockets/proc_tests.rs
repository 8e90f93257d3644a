use super::*;
use crate::sys::sockets::State;
use proptest::prelude::*;
use std::fs;

/// A table that a little-endian kernel wrote, with its columns as they are.
#[cfg(target_endian = "little")]
const TCP: &str = "  \
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode                                                     \n   \
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000003 00:00000000 00000000     0        0 23361 1 00000000baf4a9d4 100 0 0 10 0                      \n   \
   1: 0100007F:1F90 0200007F:C350 01 00000007:00000009 00:00000000 00000000 65534        0 23362 1 000000004a2f2b9c 20 4 30 10 -1                     \n   \
   2: 0100007F:1F90 0200007F:C351 08 00000000:00000001 00:00000000 00000000 65534        0 0 1 000000004a2f2b9c 20 4 30 10 -1                         \n   \
   3: 0100007F:1F90 0200007F:C352 06 00000000:00000000 03:00001768 00000000     0        0 0 3 00000000a5a9d6f4                                       \n   \
   4: 0100007F:1F91 0200007F:C353 01 00000000:00000000 00:00000000 00000000     0        0 23370 1 000000004a2f2b9c 20 4 30 10 -1                     \n\
12345: 0100007F:1F90 0200007F:C354 05 00000000:00000000 00:00000000 00000000     0        0 0 1 000000004a2f2b9c 20 4 30 10 -1                        \n";
#[cfg(target_endian = "little")]
const TCP6: &str = "  \
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 99 1 0 100 0 0 10 0\n   \
   1: 0000000000000000FFFF00000700000A:1F90 0000000000000000FFFF00000800000A:C350 01 00000000:00000000 00:00000000 00000000     0        0 98 1 0 20 0 0 10 -1\n   \
   2: B80D0120000000000000000001000000:1F90 B80D0120000000000000000002000000:C350 01 00000000:00000000 00:00000000 00000000     0        0 97 1 0 20 0 0 10 -1\n";

fn read_tables(tcp: Option<&str>, tcp6: Option<&str>) -> io::Result<Snapshot> {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in [("tcp", tcp), ("tcp6", tcp6)] {
        if let Some(text) = text {
            fs::write(folder.path().join(name), text).expect("written");
        }
    }
    let mut answer = Snapshot::new();
    read(folder.path(), |port| port == 8080, &mut answer)?;
    Ok(answer)
}

#[cfg(target_endian = "little")]
#[test]
fn both_tables_are_read() {
    let answer = read_tables(Some(TCP), Some(TCP6)).expect("two tables");
    let listeners: Vec<_> = answer.listeners.iter().map(|l| (l.local.to_string(), l.inode, l.backlog)).collect();
    assert_eq!(listeners, [("127.0.0.1:8080".to_owned(), 23361, 3), ("[::]:8080".to_owned(), 99, 0)]);
    let connections: Vec<_> = answer
        .connections
        .iter()
        .map(|c| (c.local.to_string(), c.remote.to_string(), c.state, c.inode, c.unread, c.unsent))
        .collect();
    let expected = [
        ("127.0.0.1:8080", "127.0.0.2:50000", State::Established, 23362, 9, 7),
        ("127.0.0.1:8080", "127.0.0.2:50001", State::CloseWait, 0, 1, 0),
        ("127.0.0.1:8080", "127.0.0.2:50004", State::Closing, 0, 0, 0),
        ("10.0.0.7:8080", "10.0.0.8:50000", State::Established, 98, 0, 0),
        ("[2001:db8::1]:8080", "[2001:db8::2]:50000", State::Established, 97, 0, 0),
    ]
    .map(|(local, remote, state, inode, unread, unsent)| {
        (local.to_owned(), remote.to_owned(), state, inode, unread, unsent)
    });
    assert_eq!(connections, expected);
    assert!(answer.connections.iter().all(|connection| connection.counters.is_none()));
}

#[test]
fn a_kernel_without_ipv6_has_one_table_and_without_both_there_is_an_error() {
    assert!(read_tables(Some("header\n"), None).is_ok());
    assert!(read_tables(Some(""), Some("")).is_ok());
    assert_eq!(read_tables(None, Some("header\n")).expect_err("no tcp").kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_row_that_cannot_be_read_is_an_error() {
    const GOOD: &str = "0: 0100007F:1F90 0200007F:C350 01 00000007:00000009 00:00000000 00000000 0 0 23362";
    assert!(parse(GOOD.as_bytes()).is_some());
    let broken = [
        ("0100007F:1F90", "0100007F1F90"),
        ("0100007F:1F90", "0100007:1F90"),
        ("0100007F:1F90", "0100007F00000000:1F90"),
        ("0100007F:1F90", "0100007F:11F90"),
        ("0100007F:1F90", "+100007F:1F90"),
        (" 01 ", " 101 "),
        (" 01 ", " g1 "),
        ("00000007:", "000000007:"),
        ("00000007:", ":"),
        (" 23362", ""),
        (" 23362", " -1"),
    ];
    for (part, instead) in broken {
        let row = GOOD.replace(part, instead);
        assert_ne!(row, GOOD);
        assert_eq!(parse(row.as_bytes()), None, "{row}");
        let error = read_tables(Some(&format!("header\n{GOOD}\n{row}\n")), None).expect_err(&row);
        assert!(error.to_string().contains(&row), "{error}");
    }
}

proptest! {
    #[test]
    fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn no_row_is_too_strange(fields in proptest::collection::vec("[0-9A-Fa-f:]{0,40}", 0..12)) {
        let _ = parse(fields.join(" ").as_bytes());
    }
}

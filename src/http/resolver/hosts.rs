//! /etc/hosts: a line is an address and its names; `#` begins a comment (hosts(5)).
//!
//! The file is read line by line and as bytes: a line that makes no sense says nothing, and takes nothing from the
//! others. Nothing is kept of a line that has another name, so that a block list of 200,000 lines costs little memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::IpAddr;
use std::path::Path;

/// At most this many bytes of the file are read: more than the longest list that anybody publishes.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The addresses of a name, in the order of the file. A file that is missing or not a regular file says nothing.
pub(super) fn look_up(path: &Path, name: &str) -> Vec<IpAddr> {
    // To open a FIFO would wait for its writer.
    match std::fs::metadata(path) {
        Ok(file) if file.is_file() => {}
        Ok(_) | Err(_) => return Vec::new(),
    }
    let Ok(file) = File::open(path) else { return Vec::new() };
    let mut found = Vec::new();
    // What was read before an error counts.
    _ = each_line(BufReader::new(file.take(MAX_BYTES)), |line| found.extend(address(line, name.as_bytes())));
    found
}

/// Without an allocation for each line.
fn each_line(mut file: impl BufRead, mut see: impl FnMut(&[u8])) -> io::Result<()> {
    let mut line = Vec::new();
    while file.read_until(b'\n', &mut line)? > 0 {
        see(&line);
        line.clear();
    }
    Ok(())
}

/// The line's address if it has this name.
fn address(line: &[u8], name: &[u8]) -> Option<IpAddr> {
    let text = line.split(|byte| *byte == b'#').next()?;
    let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let address = words.next()?;
    if !words.any(|word| word.eq_ignore_ascii_case(name)) {
        return None;
    }
    str::from_utf8(address).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn found(text: &[u8], name: &str) -> Vec<String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        look_up(file.path(), name).iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn every_line_with_the_name_counts() {
        let text =
            b"192.0.2.7 App.test other # 192.0.2.8 no\n2001:db8::7\tapp.test\r\n#192.0.2.9 app.test\n192.0.2.1 x";
        assert_eq!(found(text, "app.TEST"), ["192.0.2.7", "2001:db8::7"]);
        assert_eq!(found(text, "other"), ["192.0.2.7"]);
        assert_eq!(found(text, "x"), ["192.0.2.1"], "the last line has no end");
        for nobody in ["no", "192.0.2.8", "app", "app.test.", "192.0.2.7", ""] {
            assert!(found(text, nobody).is_empty(), "{nobody}");
        }
    }

    #[test]
    fn what_makes_no_sense_takes_nothing_from_the_rest() {
        let odd: &[u8] = b"192.0.2.1 caf\xe9\n\xff\xfe\n192.0.2 app.test\n256.1.1.1 app.test\napp.test 192.0.2.5\n\0\n\
            fe80::1%lo app.test\n192.0.2.7 \xc3\x28 app.test\n";
        assert_eq!(found(odd, "app.test"), ["192.0.2.7"]);
    }

    #[test]
    fn what_is_no_file_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [folder.path(), &fifo, Path::new("/dev/zero"), Path::new("/nonexistent/file")] {
            assert!(look_up(path, "app.test").is_empty(), "{}", path.display());
        }
    }
}

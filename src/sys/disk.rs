//! How full a file system is.

use nix::sys::statvfs::statvfs;
use std::io;
use std::path::Path;

/// What statvfs(3) says about a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Its size in bytes.
    pub size: u64,
    /// Bytes that are free for those who are not root.
    pub free: u64,
    /// Inodes; 0 where the file system has no fixed number of them.
    pub inodes: u64,
    /// Inodes that are free for those who are not root.
    pub free_inodes: u64,
}

/// The usage of the file system that holds this path. May hang for ever if that is on the network and its server is
/// gone.
pub fn usage(path: &Path) -> io::Result<Usage> {
    let stat = statvfs(path)?;
    Ok(Usage {
        size: stat.blocks().saturating_mul(stat.fragment_size()),
        free: stat.blocks_available().saturating_mul(stat.fragment_size()),
        inodes: stat.files(),
        free_inodes: stat.files_available(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn the_numbers_are_those_of_stat() {
        let dir = tempfile::tempdir().unwrap();
        let usage = usage(dir.path()).unwrap();
        // Fragment size, blocks, inodes and free blocks (stat(1)).
        let stat = Command::new("stat").args(["-f", "-c", "%S %b %c %a"]).arg(dir.path()).output().unwrap();
        let other = String::from_utf8(stat.stdout).unwrap();
        let other: Vec<u64> = other.split_ascii_whitespace().map(|number| number.parse().unwrap()).collect();
        let [fragment, blocks, inodes, available] = other[..] else { panic!("{other:?}") };
        assert_eq!(usage.size, blocks * fragment);
        assert_eq!(usage.inodes, inodes);
        assert!(usage.size > 0 && (1..=usage.size).contains(&usage.free), "{usage:?}");
        assert!(usage.free_inodes <= usage.inodes, "{usage:?}");
        // Others write to it, too.
        let other = available * fragment;
        assert!(usage.free.abs_diff(other) <= usage.size / 10, "{usage:?}, {other} free");
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let error = usage(Path::new("/nonexistent/file")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(usage(Path::new("/a\0b")).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}

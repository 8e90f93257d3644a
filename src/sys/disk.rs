//! How full a file system is.

use super::check;
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What statvfs(3) says of a file system.
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

/// Of the file system that holds this path. May hang for ever where that is on the network and its server is gone.
pub fn usage(path: &Path) -> io::Result<Usage> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: all zeroes is a value of this struct.
    let mut stat: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: a live string and a live struct to be written.
    check(unsafe { libc::statvfs(path.as_ptr(), &raw mut stat) }.into())?;
    Ok(Usage {
        size: stat.f_blocks.saturating_mul(stat.f_frsize),
        free: stat.f_bavail.saturating_mul(stat.f_frsize),
        inodes: stat.f_files,
        free_inodes: stat.f_favail,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::statvfs::statvfs;

    #[test]
    fn the_numbers_are_those_of_statvfs() {
        let dir = tempfile::tempdir().unwrap();
        let (usage, other) = (usage(dir.path()).unwrap(), statvfs(dir.path()).unwrap());
        assert_eq!(usage.size, other.blocks() * other.fragment_size());
        assert_eq!(usage.inodes, other.files());
        assert!(usage.size > 0 && (1..=usage.size).contains(&usage.free), "{usage:?}");
        assert!(usage.free_inodes <= usage.inodes, "{usage:?}");
        // Others write to it, too.
        let other = other.blocks_available() * other.fragment_size();
        assert!(usage.free.abs_diff(other) <= usage.size / 10, "{usage:?}, {other} free");
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let error = usage(Path::new("/nonexistent/file")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(usage(Path::new("/a\0b")).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}

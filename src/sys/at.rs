//! Files by their directory's descriptor: openat(2) and its relatives, without which a path that was looked at a moment ago
//! can lead somewhere else when it is used.

use crate::sys::check;
use std::ffi::{CStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// Opens `name` below a directory; the descriptor closes on exec. `mode` is that of a file that is made, less the umask.
pub fn open(dir: &File, name: &CStr, flags: i32, mode: u32) -> io::Result<File> {
    // SAFETY: a live descriptor and a live string in, a new descriptor out.
    unsafe {
        let fd = libc::openat(dir.as_raw_fd(), name.as_ptr(), flags | libc::O_CLOEXEC, mode as libc::c_uint);
        check(fd.into()).map(|fd| File::from_raw_fd(fd as RawFd))
    }
}

/// Removes the name of what is no directory.
pub fn unlink(dir: &File, name: &CStr) -> io::Result<()> {
    // SAFETY: a live descriptor and a live string.
    check(unsafe { libc::unlinkat(dir.as_raw_fd(), name.as_ptr(), 0) }.into()).map(drop)
}

/// Gives a file of this directory another name in it. What had that name, a symbolic link included, has none any more.
pub fn rename(dir: &File, from: &CStr, to: &CStr) -> io::Result<()> {
    let fd = dir.as_raw_fd();
    // SAFETY: live descriptors and live strings.
    check(unsafe { libc::renameat(fd, from.as_ptr(), fd, to.as_ptr()) }.into()).map(drop)
}

/// Where a symbolic link leads, which was opened with O_PATH and O_NOFOLLOW.
pub fn read_link(link: &File) -> io::Result<PathBuf> {
    let mut buffer = vec![0; libc::PATH_MAX as usize];
    // SAFETY: a live descriptor, the empty path (readlinkat(2): then of the descriptor), a live buffer with its length.
    let length = unsafe { libc::readlinkat(link.as_raw_fd(), c"".as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) };
    buffer.truncate(check(length as i64)? as usize);
    Ok(OsString::from_vec(buffer).into())
}

/// Whether the kernel itself made it: it is in procfs.
pub fn is_in_proc(file: &File) -> bool {
    // SAFETY: all zeros are a valid statfs, and fstatfs(2) writes one.
    unsafe {
        let mut found: libc::statfs = std::mem::zeroed();
        libc::fstatfs(file.as_raw_fd(), &raw mut found) == 0 && found.f_type == libc::PROC_SUPER_MAGIC
    }
}

/// Another descriptor of the same file; it closes on exec.
pub fn duplicate(fd: RawFd) -> io::Result<File> {
    // SAFETY: F_DUPFD_CLOEXEC takes numbers; the new descriptor is ours.
    unsafe { check(libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3).into()).map(|fd| File::from_raw_fd(fd as RawFd)) }
}

/// The user in whose name files are opened.
pub fn effective_user() -> u32 {
    // SAFETY: geteuid(2) takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

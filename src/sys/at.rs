//! Files by their directory's descriptor: openat(2) and its relatives, without which a path that was looked at a moment
//! ago can lead somewhere else when it is used.

use crate::sys::check;
use nix::fcntl::{self, OFlag};
use nix::sys::stat::{self, FchmodatFlags, Mode};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::{self, UnlinkatFlags};
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, RawFd};
use std::path::{Path, PathBuf};

/// Opens `name` below a directory; the descriptor closes on exec. `mode` is that of a file that is made, less the
/// umask.
pub fn open(dir: &File, name: &CStr, flags: i32, mode: u32) -> io::Result<File> {
    let flags = OFlag::from_bits_retain(flags) | OFlag::O_CLOEXEC;
    Ok(fcntl::openat(dir, name, flags, Mode::from_bits_retain(mode as libc::mode_t))?.into())
}

/// Removes the name of what is not a directory.
pub fn unlink(dir: &File, name: &CStr) -> io::Result<()> {
    Ok(unistd::unlinkat(dir, name, UnlinkatFlags::NoRemoveDir)?)
}

/// Gives a file of this directory another name in it. What had that name, a symbolic link included, loses it.
pub fn rename(dir: &File, from: &CStr, to: &CStr) -> io::Result<()> {
    Ok(fcntl::renameat(dir, from, dir, to)?)
}

/// Where a symbolic link leads, which was opened with O_PATH and O_NOFOLLOW.
pub fn read_link(link: &File) -> io::Result<PathBuf> {
    // By the empty path, which means the descriptor itself (readlinkat(2)).
    Ok(fcntl::readlinkat(link, c"")?.into())
}

/// Whether the kernel itself made it: it is in procfs.
pub fn is_in_proc(file: &File) -> bool {
    fstatfs(file).is_ok_and(|found| found.filesystem_type() == PROC_SUPER_MAGIC)
}

/// Another descriptor of the same file; it closes on exec. Takes a number, since that is what a user gives: it may be
/// open or not, which a borrowed descriptor always is.
pub fn duplicate(fd: RawFd) -> io::Result<File> {
    // SAFETY: F_DUPFD_CLOEXEC takes numbers; the new descriptor is ours.
    unsafe { check(libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3).into()).map(|fd| File::from_raw_fd(fd as RawFd)) }
}

/// The user in whose name files are opened.
pub fn effective_user() -> u32 {
    unistd::geteuid().as_raw()
}

/// Makes a directory with mode 0700 under a new name: `name` and six random characters (mkdtemp(3)).
pub fn make_private_directory(base: &Path, name: &str) -> io::Result<PathBuf> {
    Ok(unistd::mkdtemp(&base.join(format!("{name}XXXXXX")))?)
}

/// Removes an empty directory by its name in another.
pub fn remove_directory(dir: &File, name: &CStr) -> io::Result<()> {
    Ok(unistd::unlinkat(dir, name, UnlinkatFlags::RemoveDir)?)
}

/// Gives a file of this directory a mode, whatever the umask says. A symbolic link is followed.
pub fn set_mode(dir: &File, name: &CStr, mode: u32) -> io::Result<()> {
    let mode = Mode::from_bits_retain(mode as libc::mode_t);
    Ok(stat::fchmodat(dir, name, mode, FchmodatFlags::FollowSymlink)?)
}

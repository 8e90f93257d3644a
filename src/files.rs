//! The one place that opens what users name and graceful writes, removes or reads: report, termination log, drain file,
//! a drill's outputs, the configuration, the file of a socket.
//!
//! graceful may be root where the app is not, and the app may write where graceful writes. So a path is no more than a
//! claim, and what it leads to is looked at before it is used:
//!
//! ```text
//!   path ──► Spot: the directory, opened step by step, and a name in it
//!              │   a link on the way counts if root or our own user made it (/var/run → /run), nobody else's does
//!              └─► create   nothing may be there; removed again only if it is the same file still
//!                  replace  written beside under a name of its own, then renamed: never half a file, never through a link
//!                  program  the same, for what is executed
//!                  append   to a regular file with one name
//!                  read     a limited number of bytes of what can end
//! ```
//!
//! The last part of a path is never followed if it is a link. Streams (a FIFO, a character device such as /dev/null)
//! are written into, since nothing can be renamed over them; block devices and sockets are not. A path that names a
//! descriptor (/dev/stderr, /dev/fd/3) is that descriptor. Where the directory cannot be written to, or the file is
//! mounted for itself (as `docker run -v` does it), a regular file is overwritten in place.
//!
//! What must never be: a byte into, or the end of, a file that graceful was not told to write.

mod look;

pub use look::{Purpose, descriptor, obstacle, unwritable};

use crate::sys::{as_fragment, at};
use std::ffi::{CString, OsString};
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

/// Everybody may read what graceful writes, unless the umask says otherwise: a sidecar reads the report, the app looks
/// for the drain file. None of it holds a secret.
const MODE: u32 = 0o644;
const PROGRAM_MODE: u32 = 0o755;
/// As many links as the kernel follows (path_resolution(7)).
const LINKS_MAX: usize = 40;
/// A name that is taken is tried anew; whoever takes that many does it on purpose.
const NAMES_TRIED: u32 = 16;
/// Without O_NONBLOCK the open of a FIFO would wait for its other end.
const CAREFUL: i32 = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;

/// A file that was made here. As long as this lives, no other file can have its number.
#[derive(Debug)]
pub struct Made {
    file: File,
    path: PathBuf,
}

/// Makes an empty file where nothing is.
///
/// # Errors
/// Something is there, or it cannot be made.
pub fn create(path: &Path) -> io::Result<Made> {
    let file = Spot::of(path)?.make(MODE)?;
    Ok(Made { file, path: path.to_owned() })
}

impl Made {
    /// The path that it was made under.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it, if it is still there.
    ///
    /// # Errors
    /// Another file is there by now, which is left alone, or it cannot be removed.
    pub fn remove(self) -> io::Result<()> {
        Spot::of(&self.path)?.remove(Id::of(&self.file.metadata()?))
    }
}

/// Removes what a killed run left behind: an empty regular file. It is no error if nothing is there.
///
/// # Errors
/// Anything else is there, and is left alone.
pub fn remove_stale(path: &Path) -> io::Result<()> {
    let spot = Spot::of(path)?;
    match spot.found()? {
        None => Ok(()),
        Some(found) if found.is_file() && found.len() == 0 => spot.remove(Id::of(&found)),
        Some(found) => Err(io::Error::other(format!("it is {}, and is left alone", what_it_is(&found)))),
    }
}

/// Replaces the content of a file, in one step for whoever reads it; makes one where nothing is.
///
/// Mode and owner of a file that is replaced are kept, as far as we may.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let spot = Spot::of(path)?;
    match spot.found()? {
        None => spot.write_beside(bytes, None),
        Some(found) if found.is_file() => match spot.write_beside(bytes, Some(&found)) {
            Err(error) if only_in_place(&error) => spot.overwrite(bytes).map_err(|_| error),
            result => result,
        },
        Some(found) => spot.write_into(&found, bytes),
    }
}

/// Puts a program there, which everybody may execute: in one step, and on the disk when this returns. A process that
/// runs from the one before goes on with that. Returns the size in bytes.
///
/// # Errors
/// Anything but a regular file is there, or it cannot be written.
pub fn put_program(mut from: &File, path: &Path) -> io::Result<u64> {
    let spot = Spot::of(path)?;
    if let Some(found) = spot.found()?.filter(|found| !found.is_file()) {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("it is {}", what_it_is(&found))));
    }
    let mut size = 0;
    spot.fill_beside(|file| {
        size = io::copy(&mut from, file)?;
        // Whatever the umask says.
        file.set_permissions(std::fs::Permissions::from_mode(PROGRAM_MODE))?;
        file.sync_all()
    })?;
    // The name too; a directory that may not be read cannot be told to.
    _ = at::open(&spot.dir, c".", libc::O_RDONLY | libc::O_DIRECTORY, 0).and_then(|dir| dir.sync_all());
    Ok(size)
}

/// Appends to a file, in a line of its own, unless that made it longer than `max` bytes.
pub fn append(path: &Path, bytes: &[u8], max: u64, may_create: bool) -> io::Result<()> {
    let spot = Spot::of(path)?;
    let mut file = match spot.found()? {
        None if may_create => spot.make(MODE)?,
        None => return Err(io::ErrorKind::NotFound.into()),
        Some(found) if found.is_file() => spot.open_sole(libc::O_RDWR)?,
        Some(found) => return spot.write_into(&found, bytes),
    };
    let end = file.seek(SeekFrom::End(0))?;
    if end + bytes.len() as u64 > max {
        return Ok(());
    }
    if end > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    file.write_all(bytes)
}

/// Why a file cannot be read or written, as "no such file or directory".
pub fn why(error: &io::Error) -> String {
    as_fragment(error)
}

/// Reads a file that has an end, of `max` bytes at most: a regular file, /dev/null, or what a descriptor was given for
/// (`--config <(make-it)`).
///
/// # Errors
/// It cannot be read, is larger, or nobody knows when it would end.
pub fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let file = match descriptor(path) {
        Some(fd) => at::duplicate(fd)?,
        None => {
            let file = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
            let found = file.metadata()?;
            if !found.is_file() && !is_null(&found) {
                return Err(io::Error::other(format!("it is {}", what_it_is(&found))));
            }
            file
        }
    };
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > max {
        true => Err(io::Error::other(format!("it is larger than {}", in_mebibytes(max)))),
        false => Ok(bytes),
    }
}

/// Writes into a stream that is open.
pub fn write_to(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    crate::sys::fds::write_all(file, bytes)?;
    file.flush()
}

/// A name in a directory that can no longer be exchanged for another.
pub struct Spot {
    dir: File,
    name: CString,
}

/// Which file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id {
    device: u64,
    inode: u64,
}

impl Id {
    /// Of a file that was looked at.
    pub fn of(found: &Metadata) -> Id {
        Id { device: found.dev(), inode: found.ino() }
    }
}

impl Spot {
    /// Opens the directory of this path, step by step.
    ///
    /// # Errors
    /// A part of it is missing or not a directory, or is a link that belongs to somebody other than root and our user.
    pub fn of(path: &Path) -> io::Result<Spot> {
        let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::IsADirectory))?;
        let name = CString::new(name.as_bytes())?;
        let parent = path.parent().unwrap_or(Path::new(""));
        let mut dir = open_dir(if path.is_absolute() { "/" } else { "." })?;
        let mut ahead: Vec<OsString> = steps(parent);
        let mut links = 0;
        while let Some(step) = ahead.pop() {
            let step = CString::new(step.into_vec())?;
            let next = at::open(&dir, &step, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
            let found = next.metadata()?;
            if !found.is_symlink() {
                dir = directory(next, &found)?;
                continue;
            }
            links += 1;
            if links > LINKS_MAX {
                return Err(io::Error::from_raw_os_error(libc::ELOOP));
            }
            if at::is_in_proc(&next) {
                // The kernel's own: what /proc/1/root leads to is not what its text says.
                dir = at::open(&dir, &step, libc::O_PATH | libc::O_DIRECTORY, 0)?;
                continue;
            }
            let target = followed(&next, &found, path)?;
            if target.is_absolute() {
                dir = open_dir("/")?;
            }
            ahead.extend(steps(&target));
        }
        Ok(Spot { dir, name })
    }

    /// What has the name, a link as such; `None` if nothing has it.
    pub fn found(&self) -> io::Result<Option<Metadata>> {
        match self.open(libc::O_PATH | libc::O_NOFOLLOW) {
            Ok(file) => file.metadata().map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes the name, if it is that of this file.
    ///
    /// # Errors
    /// Another file has the name by now.
    pub fn remove(&self, id: Id) -> io::Result<()> {
        match self.found()? {
            None => Ok(()),
            Some(found) if Id::of(&found) == id => at::unlink(&self.dir, &self.name),
            Some(_) => Err(io::Error::other("another file is there by now, and is left alone")),
        }
    }

    fn open(&self, flags: i32) -> io::Result<File> {
        at::open(&self.dir, &self.name, flags, 0)
    }

    /// A new file.
    fn make(&self, mode: u32) -> io::Result<File> {
        at::open(&self.dir, &self.name, MAKE, mode)
    }

    /// Writes a file beside, and gives it the name when it is whole.
    fn write_beside(&self, bytes: &[u8], before: Option<&Metadata>) -> io::Result<()> {
        self.fill_beside(|file| {
            file.write_all(bytes)?;
            before.map_or(Ok(()), |before| as_before(file, before))
        })
    }

    /// The same, with what `fill` writes.
    fn fill_beside(&self, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
        let (mut file, name) = self.beside()?;
        let written = fill(&mut file).and_then(|()| at::rename(&self.dir, &name, &self.name));
        if written.is_err() {
            // The error of the write is the one to report.
            _ = at::unlink(&self.dir, &name);
        }
        written
    }

    /// A new file with a name that nobody has.
    fn beside(&self) -> io::Result<(File, CString)> {
        let mut tried = 0;
        loop {
            let nanos =
                std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_nanos();
            let name = CString::new(format!(".graceful-{}-{nanos:x}.tmp", std::process::id()))?;
            match at::open(&self.dir, &name, MAKE, MODE) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tried < NAMES_TRIED => tried += 1,
                result => return result.map(|file| (file, name)),
            }
        }
    }

    /// Tells whether its content could be replaced, without doing it.
    fn try_to_replace(&self) -> io::Result<()> {
        let found = self.found()?;
        if found.as_ref().is_some_and(is_stream) {
            // Whoever reads a FIFO may come later.
            return Ok(());
        }
        let made = self.beside().and_then(|(_, name)| at::unlink(&self.dir, &name));
        match made {
            Err(error) if found.is_some() && only_in_place(&error) => {
                self.open_sole(libc::O_WRONLY).map(drop).map_err(|_| error)
            }
            result => result,
        }
    }

    /// Writes in place, where there is no other way: a reader can see half of it.
    fn overwrite(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.open_sole(libc::O_WRONLY)?;
        file.set_len(0)?;
        file.write_all(bytes)
    }

    /// A regular file, and not one that has a second name elsewhere.
    fn open_sole(&self, flags: i32) -> io::Result<File> {
        let file = self.open(flags | CAREFUL)?;
        match file.metadata()? {
            found if !found.is_file() => Err(io::Error::other(format!("it is {}", what_it_is(&found)))),
            found if found.nlink() > 1 => Err(io::Error::other("the file has a second name (a hard link)")),
            _ => Ok(file),
        }
    }

    /// A FIFO or a character device.
    fn write_into(&self, found: &Metadata, bytes: &[u8]) -> io::Result<()> {
        if !is_stream(found) {
            return Err(io::Error::other(format!("it is {}", what_it_is(found))));
        }
        let file = self.open(libc::O_WRONLY | CAREFUL)?;
        match file.metadata()? {
            found if is_stream(&found) => write_to(&file, bytes),
            found => Err(io::Error::other(format!("it is {} by now", what_it_is(&found)))),
        }
    }
}

const MAKE: i32 = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;

fn open_dir(path: &str) -> io::Result<File> {
    File::options().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(path)
}

/// The parts of a path that are to be walked, the first one last.
fn steps(path: &Path) -> Vec<OsString> {
    let named = path.components().rev().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    named.map(|part| part.as_os_str().to_owned()).collect()
}

fn directory(file: File, found: &Metadata) -> io::Result<File> {
    if found.is_dir() { Ok(file) } else { Err(io::Error::from_raw_os_error(libc::ENOTDIR)) }
}

/// Where a link on the way leads, if it may be followed: whoever makes links in a directory of his own must not lead
/// us.
fn followed(link: &File, found: &Metadata, path: &Path) -> io::Result<PathBuf> {
    if found.uid() != 0 && found.uid() != at::effective_user() && !is_from_outside(found.uid()) {
        let why = format!("a directory of {} is a symbolic link that user {} made", path.display(), found.uid());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    at::read_link(link)
}

/// Whether this is what the kernel shows for every user that a user namespace does not have, and nobody in it is that
/// user: the link was made before or outside of it, as one of the host's root.
fn is_from_outside(uid: u32) -> bool {
    const OVERFLOW: u32 = 65534;
    let map =
        if uid == OVERFLOW { std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default() } else { String::new() };
    let ranges = map.lines().filter_map(|line| {
        let mut numbers = line.split_whitespace().map(|number| number.parse::<u64>().ok());
        let (first, _, count) = (numbers.next()??, numbers.next()??, numbers.next()??);
        Some(first..first + count)
    });
    !map.is_empty() && !ranges.into_iter().any(|range| range.contains(&uid.into()))
}

/// Best effort: whoever could read or replace the old one can do so with the new one.
fn as_before(file: &File, before: &Metadata) -> io::Result<()> {
    if before.uid() != file.metadata()?.uid() {
        _ = std::os::unix::fs::fchown(file, Some(before.uid()), Some(before.gid()));
    }
    // The mode without setuid and its like.
    file.set_permissions(std::fs::Permissions::from_mode(before.mode() & 0o777))
}

/// The file can be written and its directory cannot, or it is a mount of its own.
fn only_in_place(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM | libc::EROFS | libc::EBUSY | libc::EXDEV))
}

fn is_stream(found: &Metadata) -> bool {
    found.file_type().is_fifo() || found.file_type().is_char_device()
}

/// The null device, by its numbers (null(4)).
fn is_null(found: &Metadata) -> bool {
    found.file_type().is_char_device() && found.rdev() == libc::makedev(1, 3)
}

fn what_it_is(found: &Metadata) -> String {
    let kind = found.file_type();
    match () {
        () if kind.is_symlink() => "a symbolic link".to_owned(),
        () if kind.is_dir() => "a directory".to_owned(),
        () if kind.is_fifo() => "a FIFO".to_owned(),
        () if kind.is_socket() => "a socket".to_owned(),
        () if kind.is_char_device() || kind.is_block_device() => "a device".to_owned(),
        () => format!("a file with content ({} bytes)", found.len()),
    }
}

fn in_mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;

//! What a path is, before anything is done with it: so that a fault is reported at the start and not at the stop.

use super::{Spot, is_stream, what_it_is};
use crate::sys::{at, in_words};
use std::io;
use std::os::fd::RawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What is to become of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A file is made there and removed again.
    Create,
    /// Its content is replaced.
    Replace,
    /// It is added to.
    Append,
}

/// The descriptor that a path names by its spelling: /dev/stdin, /dev/stdout, /dev/stderr, /dev/fd/N, /proc/self/fd/N.
pub fn descriptor(path: &Path) -> Option<RawFd> {
    match path.to_str()? {
        "/dev/stdin" => Some(0),
        "/dev/stdout" => Some(1),
        "/dev/stderr" => Some(2),
        text => {
            let own = format!("/proc/{}/fd/", std::process::id());
            let prefixes = ["/dev/fd/", "/proc/self/fd/", "/proc/thread-self/fd/", &own];
            let number = prefixes.iter().find_map(|prefix| text.strip_prefix(prefix))?;
            number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok())?
        }
    }
}

/// Why this path cannot be used in this way, as far as looking at it tells, as "is a symbolic link, …; expected …".
pub fn obstacle(path: &Path, purpose: Purpose) -> Option<String> {
    if let Some(fd) = descriptor(path) {
        return obstacle_of_descriptor(fd, purpose);
    }
    let found = match Spot::of(path).and_then(|spot| spot.found()) {
        Ok(found) => found?,
        // Whose link it is does not change with time; everything else is reported when it is written.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && error.raw_os_error().is_none() => {
            return Some(format!("{error}; expected a path without it"));
        }
        Err(_) => return None,
    };
    let kind = found.file_type();
    let what = what_it_is(&found);
    match purpose {
        Purpose::Create if found.is_file() && found.len() == 0 => None,
        Purpose::Create => {
            Some(format!("is {what}, which is left alone; expected a path of its own, as /run/app/draining"))
        }
        _ if kind.is_symlink() => Some(format!("is {what}, which is not followed; expected the path that it leads to")),
        _ if found.is_file() && found.nlink() > 1 && purpose == Purpose::Append => {
            Some(format!("is a file with {} names (hard links); expected one with a single name", found.nlink()))
        }
        _ if found.is_file() || is_stream(&found) => None,
        _ => Some(format!("is {what}; expected the path of a file")),
    }
}

/// Why [`super::replace`] would fail here, as "is a directory; expected …". It is tried, and nothing is left behind and
/// nothing changed: a file is made beside it and removed again, or one that is there is opened.
pub fn unwritable(path: &Path) -> Option<String> {
    if let Some(why) = obstacle(path, Purpose::Replace) {
        return Some(why);
    }
    if descriptor(path).is_some() {
        return None;
    }
    let tried = Spot::of(path).and_then(|spot| spot.try_to_replace());
    let error = tried.err()?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Some(match error.kind() {
        io::ErrorKind::NotFound => {
            format!("cannot be made: {} does not exist; expected a directory that exists", folder.display())
        }
        io::ErrorKind::NotADirectory => format!("cannot be made: {} is not a directory", folder.display()),
        io::ErrorKind::IsADirectory => "is a directory; expected the path of a file".to_owned(),
        _ => format!("cannot be written: {}; expected a path that may be written to", in_words(&error)),
    })
}

fn obstacle_of_descriptor(fd: RawFd, purpose: Purpose) -> Option<String> {
    const RIGHT: &str = "expected the path of a file, as /run/app/file";
    match fd {
        _ if purpose == Purpose::Create => Some(format!("names a descriptor; {RIGHT}")),
        0 => Some(format!("names standard input; {RIGHT}")),
        1 => Some(format!("standard output belongs to the app; {RIGHT}, or /dev/stderr")),
        2 => None,
        _ => at::duplicate(fd).err().map(|error| format!("names descriptor {fd}: {}; {RIGHT}", in_words(&error))),
    }
}

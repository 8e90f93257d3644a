//! The socket that the app is given as NOTIFY_SOCKET: where it is bound, and what comes in there. The module's head
//! says who may send.

use super::message::{LONGEST_DATAGRAM, NotifyLines, parse};
use crate::sys::datagram::{self, Datagram};
use crate::sys::{at, getpid, variables};
use socket2::{Domain, SockAddr, Socket, Type};
use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The variable that names the socket.
pub const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";
/// The name of the socket's file in its directory.
const FILE: &CStr = c"notify";
/// What the directory's name begins with; six random characters follow.
const DIRECTORY: &str = "graceful-";
/// Where root, or everybody, may create a directory.
const SYSTEM_BASES: [&str; 2] = ["/run", "/tmp"];
/// If an abstract name is taken, another one is tried; whoever takes that many does it on purpose.
const NAMES_TRIED: u32 = 16;

/// The socket that receives the app's messages. It closes on exec. The process that made its file and directory removes
/// them when this is dropped.
#[derive(Debug)]
pub struct NotifyReceiver {
    socket: Socket,
    address: OsString,
    /// `None` for an abstract address, which is free again once the socket is closed.
    _place: Option<Place>,
}

/// A datagram from a process that may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Its sender's pid.
    pub sender: i32,
    /// What it says.
    pub lines: NotifyLines,
}

/// A datagram that is ignored, or a failure to receive one.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// It came from this process, which may not send.
    #[error("a message from process {0}, which does not belong to the app; it is ignored")]
    Stranger(i32),
    /// It came from a process that has no pid in this namespace.
    #[error("a message from a process outside of this pid namespace; it is ignored")]
    Unattributed,
    /// It came from this process and was longer than [`LONGEST_DATAGRAM`].
    #[error("a message from process {0} is longer than {max} bytes; it is ignored", max = LONGEST_DATAGRAM)]
    TooLong(i32),
    /// The system call failed.
    #[error("cannot receive from the app's NOTIFY_SOCKET: {}", crate::sys::as_fragment(.0))]
    Failed(io::Error),
}

impl NotifyReceiver {
    /// Binds the socket in a new directory below the first of XDG_RUNTIME_DIR, /run and /tmp where that works, and
    /// otherwise to an abstract address.
    ///
    /// # Errors
    /// Not even the abstract address can be bound, or the kernel does not tell who sends.
    pub fn open() -> io::Result<NotifyReceiver> {
        let runtime = variables().find(|(name, _)| *name == "XDG_RUNTIME_DIR").map(|(_, value)| Path::new(value));
        let bases = runtime.into_iter().chain(SYSTEM_BASES.iter().map(Path::new));
        NotifyReceiver::below(bases, at::effective_user() == 0)
    }

    /// The same for any list of directories. With `for_all` processes of every user can send.
    fn below<'a>(bases: impl Iterator<Item = &'a Path>, for_all: bool) -> io::Result<NotifyReceiver> {
        for base in bases {
            if let Ok(receiver) = NotifyReceiver::in_directory(base, for_all) {
                return Ok(receiver);
            }
        }
        NotifyReceiver::abstract_address()
    }

    fn in_directory(base: &Path, for_all: bool) -> io::Result<NotifyReceiver> {
        let base = trusted(base, for_all)?;
        let place = Place::make(&base)?;
        let path = place.path.join(OsStr::from_bytes(FILE.to_bytes()));
        let socket = unbound()?;
        socket.bind(&SockAddr::unix(&path)?)?;
        place.admit(for_all)?;
        Ok(NotifyReceiver { socket, address: path.into_os_string(), _place: Some(place) })
    }

    fn abstract_address() -> io::Result<NotifyReceiver> {
        let mut tried = 0;
        loop {
            // The pid alone is not unique: containers that share a network namespace, and so these names, are PID 1
            // each.
            let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
            let name = format!("graceful/{}/{nanos:x}", getpid());
            let socket = unbound()?;
            match socket.bind(&SockAddr::unix(format!("\0{name}"))?) {
                Ok(()) => return Ok(NotifyReceiver { socket, address: format!("@{name}").into(), _place: None }),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && tried < NAMES_TRIED => tried += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// The value of [`NOTIFY_SOCKET`] for the app.
    pub fn env(&self) -> &OsStr {
        &self.address
    }

    /// Takes the next message; `None` if none is waiting. `may_send` decides by the sender's pid whether it counts.
    ///
    /// Each call takes one datagram, even if it is then ignored. Call it until nothing is left, but limit the number of
    /// calls in a row: a sender can be just as fast. Act on a message before the next call: that one may be
    /// `BARRIER=1`, by which its sender knows that everything before it has been dealt with.
    ///
    /// # Errors
    /// The message is ignored, or receiving failed. The next call may succeed.
    pub fn recv(&self, may_send: impl FnOnce(i32) -> bool) -> Result<Option<Notification>, ReceiveError> {
        let received = datagram::receive(&self.socket, LONGEST_DATAGRAM).map_err(ReceiveError::Failed)?;
        let Some(Datagram { bytes, cut, sender }) = received else { return Ok(None) };
        let sender = sender.ok_or(ReceiveError::Unattributed)?;
        if !may_send(sender) {
            return Err(ReceiveError::Stranger(sender));
        }
        if cut {
            return Err(ReceiveError::TooLong(sender));
        }
        Ok(Some(Notification { sender, lines: parse(&bytes) }))
    }
}

/// Readable when a message is waiting.
impl AsFd for NotifyReceiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A socket without an address. It is told to report senders before anybody can send to it.
fn unbound() -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    socket.set_passcred(true)?;
    Ok(socket)
}

/// The directory's path without symbolic links, if no third party can replace what is made there and, with `for_all`,
/// every user can get to it.
fn trusted(base: &Path, for_all: bool) -> io::Result<PathBuf> {
    const OTHERS_ENTER: u32 = 0o001;
    const OTHERS_WRITE: u32 = 0o022;
    const STICKY: u32 = 0o1000;
    // A relative path in XDG_RUNTIME_DIR is to be ignored (XDG Base Directory Specification).
    if !base.is_absolute() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let base = base.canonicalize()?;
    let found = base.metadata()?;
    let ours = [0, at::effective_user()].contains(&found.uid()) && found.mode() & OTHERS_WRITE == 0;
    let enters = |dir: &Path| dir.metadata().is_ok_and(|found| found.mode() & OTHERS_ENTER != 0);
    match (ours || found.mode() & STICKY != 0) && (!for_all || base.ancestors().all(enters)) {
        true => Ok(base),
        false => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

/// The socket's directory. It is removed through the descriptors that were opened when it was made, whatever its path
/// leads to by then.
#[derive(Debug)]
struct Place {
    base: File,
    name: CString,
    directory: File,
    path: PathBuf,
    maker: i32,
}

impl Place {
    fn make(base: &Path) -> io::Result<Place> {
        let opened = open_directory(base)?;
        let path = at::make_private_directory(base, DIRECTORY)?;
        let name = CString::new(path.file_name().unwrap_or_default().as_bytes())?;
        match open_directory(&path) {
            Ok(directory) => Ok(Place { base: opened, name, directory, path, maker: getpid() }),
            Err(error) => {
                _ = at::remove_directory(&opened, &name);
                Err(error)
            }
        }
    }

    /// Opens the directory to senders, once the socket is in it. A sender needs search permission for each directory of
    /// the path, and write permission for the socket's file (unix(7)).
    fn admit(&self, all: bool) -> io::Result<()> {
        let (file, directory) = if all { (0o666, 0o711) } else { (0o600, 0o700) };
        at::set_mode(&self.directory, FILE, file)?;
        self.directory.set_permissions(Permissions::from_mode(directory))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.maker == getpid() {
            // If it cannot be removed, it is in nobody's way: its name is not used again.
            _ = at::unlink(&self.directory, FILE);
            _ = at::remove_directory(&self.base, &self.name);
        }
    }
}

fn open_directory(path: &Path) -> io::Result<File> {
    let root = File::open("/")?;
    let path = CString::new(path.as_os_str().to_owned().into_vec())?;
    at::open(&root, &path, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW, 0)
}

#[cfg(test)]
#[path = "receiver_tests.rs"]
mod tests;

//! Descriptors: what was inherited and is not ours to keep, pipes, an eventfd to be woken by, polling.
//!
//! What is inherited is looked at and closed by number: nobody owns it here, and a number may be closed already.

use crate::sys::timespec;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::epoll::{Epoll, EpollCreateFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

/// Where news cannot be waited for (a seccomp profile, no descriptor available), it is looked for this often instead.
pub const BLIND: Duration = Duration::from_millis(100);
/// The first descriptor after the standard streams.
const FIRST: RawFd = 3;
/// Where the descriptors cannot be listed, they are looked for up to here at most.
const LAST_RESORT: u64 = 65_536;

/// Fills standard streams that were closed, so that nothing that graceful opens can take their numbers and be written
/// to as if it were standard error. What fills them closes on exec: the app sees them closed, as they were.
pub fn fill_standard_streams() {
    for stream in 0..FIRST {
        // SAFETY: F_GETFD takes a number.
        if unsafe { libc::fcntl(stream, libc::F_GETFD) } < 0
            && let Ok(nothing) = open_nothing()
        {
            // The lowest number that is free, which is `stream`; to be kept.
            _ = nothing.into_raw_fd();
        }
    }
}

/// /dev/null or, in an image without it, what can neither be read nor written.
fn open_nothing() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/null").or_else(|_| {
        let mut options = File::options();
        options.read(true).custom_flags(libc::O_PATH).open("/")
    })
}

/// Lets go of what graceful was started with and the app now has: descriptors from 3 on and, with `streams`, standard
/// input and output. Holding them would keep a pipe's other end from ever seeing the app close it. Call
/// [`fill_standard_streams`] first.
///
/// `streams`: not as PID 1 of a container, where /proc/1/fd/0 and fd/1 are how others there reach the container's own
/// streams (cron jobs, `docker exec c sh -c 'echo x >/proc/1/fd/1'`). `alone`: no descriptor of graceful's own is open
/// yet. Otherwise its own are told from the inherited ones by their close-on-exec flag: what graceful opens has it,
/// what survived an exec cannot have it.
pub fn release_inherited(alone: bool, streams: bool) {
    let closed = alone && {
        // SAFETY: closes descriptors that nothing in this process uses.
        unsafe { libc::syscall(libc::SYS_close_range, FIRST, u32::MAX, 0) == 0 }
    };
    if !closed {
        inherited().into_iter().for_each(|fd| {
            // SAFETY: as above.
            unsafe { libc::close(fd) };
        });
    }
    if streams && let Ok(nothing) = open_nothing() {
        for stream in 0..=1 {
            // SAFETY: both are open; nothing in this process reads the one or writes the other.
            unsafe { libc::dup3(nothing.as_raw_fd(), stream, libc::O_CLOEXEC) };
        }
    }
}

/// How many descriptors this process may have (RLIMIT_NOFILE); at most 65 536.
pub fn limit() -> RawFd {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(LAST_RESORT, |(soft, _)| soft.min(LAST_RESORT)) as RawFd
}

/// Another descriptor of the same file, with this number or a higher one; it closes on exec.
pub fn duplicate_above(fd: BorrowedFd<'_>, first: RawFd) -> io::Result<OwnedFd> {
    let number = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(first))?;
    // SAFETY: the kernel has just made it, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The descriptors from 3 on that this process was started with, and that an app would have too.
pub fn inherited() -> Vec<RawFd> {
    let listed = std::fs::read_dir("/proc/self/fd").map(|entries| {
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect::<Vec<RawFd>>()
    });
    let candidates = listed.unwrap_or_else(|_| (FIRST..limit()).collect());
    let survives_exec = |fd: RawFd| {
        // SAFETY: F_GETFD takes a number.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        flags >= 0 && flags & libc::FD_CLOEXEC == 0
    };
    candidates.into_iter().filter(|fd| *fd >= FIRST && survives_exec(*fd)).collect()
}

/// A pipe for a child's output: the reading end does not block, both close on exec.
pub fn output_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = unistd::pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((read, write))
}

/// What a read brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// This many bytes.
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// The other end is closed, or reading failed, which ends it as well.
    End,
}

/// Reads what is there.
pub fn read(fd: impl AsFd, buffer: &mut [u8]) -> Read {
    match unistd::read(fd, buffer) {
        Ok(0) => Read::End,
        Ok(count) => Read::Bytes(count),
        Err(Errno::EAGAIN | Errno::EINTR) => Read::Nothing,
        Err(_) => Read::End,
    }
}

/// The beginning of a file, as much as fits into the buffer; for the small files of the kernel.
pub fn read_file<'a>(path: &[u8], buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    let file = File::open(OsStr::from_bytes(path)).ok()?;
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match read(&file, rest) {
            Read::Bytes(count) => length += count,
            Read::Nothing | Read::End => break,
        }
    }
    buffer.get(..length)
}

/// The same for a file of /proc that is one record, which the kernel gives in one read as far as there is room for it.
pub fn read_record<'a>(path: &str, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    match read(File::open(path).ok()?, buffer) {
        Read::Bytes(count) => buffer.get(..count),
        Read::Nothing | Read::End => None,
    }
}

/// What an async runtime with I/O opens, by the same calls: an epoll(7) that it has twice, and an eventfd(2). To be
/// dropped right before it is built, which then finds that there are descriptors and that the calls are allowed.
pub fn for_a_runtime() -> io::Result<[OwnedFd; 3]> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?.0;
    Ok([epoll.try_clone()?, epoll, Waker::new()?.0])
}

/// Wakes the main loop from another thread.
#[derive(Debug)]
pub struct Waker(OwnedFd);

impl Waker {
    /// A new eventfd(2).
    pub fn new() -> io::Result<Waker> {
        Ok(Waker(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?.into()))
    }

    /// Another handle to it, for the thread that wakes.
    pub fn try_clone(&self) -> io::Result<Waker> {
        self.0.try_clone().map(Waker)
    }

    /// Makes it readable. (A full counter is readable already.)
    pub fn wake(&self) {
        _ = unistd::write(self, &1u64.to_ne_bytes());
    }

    /// Takes back what woke it.
    pub fn reset(&self) {
        read(self, &mut [0; 8]);
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Sleeps until one of the descriptors is readable (or its other end is closed) or the time is up; says which. Where no
/// way to wait is allowed, all of them may be readable after a moment.
pub fn poll(fds: &[BorrowedFd<'_>], timeout: Option<Duration>) -> Vec<bool> {
    let mut polled: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    if wait_for(&mut polled, timeout).is_err() {
        std::thread::sleep(timeout.map_or(BLIND, |timeout| timeout.min(BLIND)));
        return vec![true; fds.len()];
    }
    // `None`: an event that nix has no name for.
    polled.iter().map(|fd| fd.any().unwrap_or(true)).collect()
}

/// ppoll(2), or poll(2) where a seccomp profile that knows no ppoll denies it. An error means that both are denied.
fn wait_for(polled: &mut [PollFd<'_>], timeout: Option<Duration>) -> nix::Result<()> {
    let denied = |error: Errno| !matches!(error, Errno::EINTR | Errno::EAGAIN | Errno::ENOMEM);
    match nix::poll::ppoll(polled, timeout.map(|timeout| timespec(timeout).into()), None) {
        Err(error) if denied(error) => {}
        Ok(_) | Err(_) => return Ok(()),
    }
    // Rounded up: to wake up too early would be to wake up again at once.
    let millis = |timeout: Duration| timeout.as_nanos().div_ceil(1_000_000).try_into().unwrap_or(PollTimeout::MAX);
    match nix::poll::poll(polled, timeout.map_or(PollTimeout::NONE, millis)) {
        Err(error) if denied(error) => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Writes all of it to a descriptor that may be anything; blocks as long as its reader does.
pub fn write_all(fd: impl AsFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match unistd::write(&fd, bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            // Somebody made the stream non-blocking, and it is shared with us: wait for room.
            Err(Errno::EAGAIN) => _ = wait_writable(fd.as_fd(), None),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Writes as much as goes at once, and says how much that was: nothing where the kernel cannot promise not to wait
/// (RWF_NOWAIT, pwritev2(2): pipes from Linux 6.4 on, sockets, some file systems; no terminal).
///
/// A pipe that nobody reads any longer raises SIGPIPE in this thread.
pub fn write_at_once(fd: impl AsFd, bytes: &[u8]) -> usize {
    let piece = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: one piece, which is only read from and outlives the call. -1 means the file's own offset, as for
    // write(2).
    let count = unsafe {
        libc::syscall(libc::SYS_pwritev2, fd.as_fd().as_raw_fd(), &raw const piece, 1, -1_i64, -1_i64, libc::RWF_NOWAIT)
    };
    usize::try_from(count).unwrap_or(0)
}

/// Writes if there is room now, for where no thread can be had that would wait for it. Says whether there was.
pub fn write_if_room(fd: impl AsFd, bytes: &[u8]) -> bool {
    let room = wait_writable(fd.as_fd(), Some(Duration::ZERO));
    if room {
        // A pipe that is writable has room for PIPE_BUF (pipe(7)).
        _ = unistd::write(fd, &bytes[..bytes.len().min(libc::PIPE_BUF)]);
    }
    room
}

/// Whether the descriptor can be written to, after that time at most.
fn wait_writable(fd: BorrowedFd<'_>, timeout: Option<Duration>) -> bool {
    let mut polled = [PollFd::new(fd, PollFlags::POLLOUT)];
    if wait_for(&mut polled, timeout).is_err() {
        std::thread::sleep(timeout.map_or(BLIND, |timeout| timeout.min(BLIND)));
        return false;
    }
    polled[0].revents().is_some_and(|found| found.contains(PollFlags::POLLOUT))
}

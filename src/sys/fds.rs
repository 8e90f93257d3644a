//! Descriptors: what was inherited and is not ours to keep, pipes, an eventfd to be woken by, polling.

use crate::sys::{check, timespec};
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

/// Where news cannot be waited for (a seccomp profile, no descriptor to be had), one looks this often instead.
pub const BLIND: Duration = Duration::from_millis(100);
/// The first descriptor behind the standard streams.
const FIRST: RawFd = 3;
/// Where the descriptors cannot be listed, they are looked for up to here at most.
const LAST_RESORT: u64 = 65_536;

/// Fills standard streams that were closed, so that nothing that graceful opens can take their numbers and be written to
/// as if it were standard error. What fills them closes on exec: the app sees them closed, as they were.
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

/// Lets go of what graceful was started with and the app now has: descriptors from 3 on and, with `streams`, standard input
/// and output. Holding them would keep a pipe's other end from ever seeing the app close it.
/// Call [`fill_standard_streams`] first.
///
/// `streams`: not as PID 1 of a container, where /proc/1/fd/0 and fd/1 are how others there reach the container's own
/// streams (cron jobs, `docker exec c sh -c 'echo x >/proc/1/fd/1'`).
///
/// `alone`: no descriptor of graceful's own is open yet. Otherwise those are told from the inherited ones by their
/// close-on-exec flag: what graceful opens has it, what survived an exec cannot have it.
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

/// How many descriptors this process may have (RLIMIT_NOFILE); 65 536 if it is more.
pub fn limit() -> RawFd {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes one rlimit.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0;
    if known { limit.rlim_cur.min(LAST_RESORT) as RawFd } else { LAST_RESORT as RawFd }
}

fn inherited() -> Vec<RawFd> {
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
    let mut fds = [0; 2];
    // SAFETY: writes two descriptors, which are ours.
    unsafe {
        check(libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC).into())?;
        let (read, write) = (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1]));
        check(libc::fcntl(read.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK).into())?;
        Ok((read, write))
    }
}

/// What a read brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// So many bytes.
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// The other end is closed, or reading failed, which ends it as well.
    End,
}

/// Reads what is there.
pub fn read(fd: &OwnedFd, buffer: &mut [u8]) -> Read {
    // SAFETY: a live buffer with its length.
    let count = unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
    match count {
        1.. => Read::Bytes(count as usize),
        0 => Read::End,
        _ => match io::Error::last_os_error().kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Read::Nothing,
            _ => Read::End,
        },
    }
}

/// The beginning of a file, as much as fits; for the small files of the kernel.
pub fn read_file<'a>(path: &[u8], buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    let path = CString::new(path).ok()?;
    // SAFETY: a live string; the descriptor is new and ours.
    let file = unsafe {
        let fd = check(libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC).into()).ok()?;
        OwnedFd::from_raw_fd(fd as i32)
    };
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match read(&file, rest) {
            Read::Bytes(count) => length += count,
            Read::Nothing | Read::End => break,
        }
    }
    buffer.get(..length)
}

/// Wakes the main loop from another thread.
#[derive(Debug)]
pub struct Waker(OwnedFd);

impl Waker {
    /// A new eventfd(2).
    pub fn new() -> io::Result<Waker> {
        // SAFETY: two numbers in, a new descriptor out.
        unsafe {
            let fd = check(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK).into())?;
            Ok(Waker(OwnedFd::from_raw_fd(fd as i32)))
        }
    }

    /// Another handle to it, for the thread that wakes.
    pub fn try_clone(&self) -> io::Result<Waker> {
        self.0.try_clone().map(Waker)
    }

    /// Makes it readable. A full counter is readable already.
    pub fn wake(&self) {
        let one = 1u64;
        // SAFETY: eight live bytes.
        unsafe { libc::write(self.0.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    /// Takes what woke it.
    pub fn reset(&self) {
        read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Sleeps until one of the descriptors is readable (or its other end is closed) or the time is up; says which. Where no
/// way to wait is allowed, all of them may be after a moment.
pub fn poll(fds: &[RawFd], timeout: Option<Duration>) -> Vec<bool> {
    let mut polled: Vec<libc::pollfd> =
        fds.iter().map(|fd| libc::pollfd { fd: *fd, events: libc::POLLIN, revents: 0 }).collect();
    if wait_for(&mut polled, timeout).is_err() {
        std::thread::sleep(timeout.map_or(BLIND, |timeout| timeout.min(BLIND)));
        return vec![true; fds.len()];
    }
    polled.iter().map(|fd| fd.revents != 0).collect()
}

/// ppoll(2), or poll(2) where a seccomp profile that knows no ppoll denies it. An error: both are denied.
fn wait_for(polled: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<()> {
    let denied = |error: &io::Error| !matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::ENOMEM));
    let count = polled.len() as libc::nfds_t;
    let spec = timeout.map(timespec);
    let spec = spec.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: a live array with its length; the timeout is live or null; no mask.
    match check(unsafe { libc::ppoll(polled.as_mut_ptr(), count, spec, std::ptr::null()) }.into()) {
        Err(error) if denied(&error) => {}
        Ok(_) | Err(_) => return Ok(()),
    }
    // Rounded up: to wake up too early would be to wake up again at once.
    let millis = timeout.map_or(-1, |timeout| timeout.as_nanos().div_ceil(1_000_000).try_into().unwrap_or(i32::MAX));
    // SAFETY: a live array with its length.
    match check(unsafe { libc::poll(polled.as_mut_ptr(), count, millis) }.into()) {
        Err(error) if denied(&error) => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Writes to a descriptor that may be anything, all of it; blocks as long as its reader does.
pub fn write_all(fd: RawFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        // SAFETY: a live buffer with its length.
        let count = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
        match check(count as i64) {
            Ok(count) => bytes = bytes.get(count as usize..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Somebody made the stream non-blocking, and it is shared with us: wait for room.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => _ = wait_writable(fd, None),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes if there is room now; for where no thread can be had to wait for it. Says whether there was.
pub fn write_if_room(fd: RawFd, bytes: &[u8]) -> bool {
    let room = wait_writable(fd, Some(Duration::ZERO));
    if room {
        // A pipe that is writable has room for PIPE_BUF (pipe(7)).
        let bytes = &bytes[..bytes.len().min(libc::PIPE_BUF)];
        // SAFETY: a live buffer with its length.
        unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    }
    room
}

/// Whether the descriptor can be written to, after that time at most.
fn wait_writable(fd: RawFd, timeout: Option<Duration>) -> bool {
    let mut polled = [libc::pollfd { fd, events: libc::POLLOUT, revents: 0 }];
    if wait_for(&mut polled, timeout).is_err() {
        std::thread::sleep(timeout.map_or(BLIND, |timeout| timeout.min(BLIND)));
        return false;
    }
    polled[0].revents & libc::POLLOUT != 0
}

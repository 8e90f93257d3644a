//! Starting a child.
//!
//! The app is started like posix_spawn(3) does it: clone(CLONE_VM | CLONE_VFORK) on a stack of its own. Nothing is
//! copied, which makes it faster than the fork of any init, and the error of a failed exec comes back through shared
//! memory. Hooks are forked plainly instead: a hook whose file lies on a dead network disk must not stop PID 1.
//!
//! execvp(3) looks the command up in PATH and runs a script without `#!` through /bin/sh, as shells do.
//!
//! Between clone and exec the child makes system calls only; it allocates nothing and takes no lock.

use crate::signal::Signal;
use crate::sys::signals::{Inherited, restore_in_child};
use crate::sys::{check, getpid};
use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::io;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;

/// What to start and how.
pub struct Command<'a> {
    /// The arguments, the program first.
    pub argv: &'a [CString],
    /// The environment; `None` is graceful's own, untouched.
    pub env: Option<&'a [CString]>,
    /// The signal state to give it.
    pub inherited: Inherited,
    /// Standard output and error go here, standard input is /dev/null and no other descriptor is passed on; `None`
    /// leaves all as they are.
    pub output: Option<RawFd>,
    /// Its working directory, if not graceful's.
    pub dir: Option<&'a CStr>,
    /// Make it the leader of a process group of its own.
    pub own_group: bool,
    /// What it gets when graceful dies (prctl(2), PR_SET_PDEATHSIG).
    pub parent_death_signal: Option<Signal>,
}

/// A child that did not start.
#[derive(Debug)]
pub enum Error {
    /// No process could be made.
    Fork(io::Error),
    /// The command could not be executed.
    Exec(io::Error),
}

struct Child<'a> {
    argv: *const *const c_char,
    env: *const *const c_char,
    command: &'a Command<'a>,
    parent: i32,
    /// Shares the parent's memory, and the parent waits.
    shared: bool,
    errno: c_int,
}

/// For execvp's own frames; its arrays, which grow with the arguments, are added.
const STACK: usize = 64 * 1024;

/// Starts a child and waits until it has executed the command, or failed to.
pub fn spawn(command: &Command<'_>) -> Result<i32, Error> {
    clone_child(command, true)
}

/// Starts a child without waiting: where exec fails it says so on its output and exits with 127 or 126.
pub fn fork(command: &Command<'_>) -> Result<i32, Error> {
    clone_child(command, false)
}

fn clone_child(command: &Command<'_>, shared: bool) -> Result<i32, Error> {
    let argv = pointers(command.argv);
    let env = command.env.map(pointers);
    let mut child = Child {
        argv: argv.as_ptr(),
        env: env.as_ref().map_or(ptr::null(), Vec::as_ptr),
        command,
        parent: getpid(),
        shared,
        errno: 0,
    };
    let size = STACK + size_of_val(argv.as_slice());
    let stack = Stack::new(size).map_err(Error::Fork)?;
    let flags = libc::SIGCHLD | if shared { libc::CLONE_VM | libc::CLONE_VFORK } else { 0 };
    // SAFETY: the stack is ours, big enough and unmapped only after the child no longer uses it: with CLONE_VFORK this
    // thread sleeps until the child has executed or exited; without, the child has a copy. `child` outlives the call.
    let pid = unsafe { libc::clone(in_child, stack.top(), flags, (&raw mut child).cast::<c_void>()) };
    if pid < 0 {
        return Err(Error::Fork(io::Error::last_os_error()));
    }
    // SAFETY: a read of a live field; volatile because a process that the compiler knows nothing of wrote it.
    match unsafe { ptr::read_volatile(&raw const child.errno) } {
        0 => Ok(pid),
        errno => {
            // It has exited; nobody else waits for it yet. EINTR cannot be: no handler is installed.
            // SAFETY: a pid of our own child and no status wanted.
            unsafe { libc::waitpid(pid, ptr::null_mut(), 0) };
            Err(Error::Exec(io::Error::from_raw_os_error(errno)))
        }
    }
}

extern "C" fn in_child(argument: *mut c_void) -> c_int {
    // SAFETY: the pointer that clone was given.
    let child = unsafe { &mut *argument.cast::<Child<'_>>() };
    // SAFETY: we are the child, about to exec.
    let error = unsafe { become_command(child) };
    let errno = error.raw_os_error().unwrap_or(libc::EINVAL);
    if child.shared {
        child.errno = errno;
    } else {
        complain(child, errno);
    }
    // SAFETY: ends this process only; runs no handlers of the parent's.
    unsafe { libc::_exit(if errno == libc::ENOENT { 127 } else { 126 }) }
}

/// # Safety
/// Only in the child.
unsafe fn become_command(child: &Child<'_>) -> io::Error {
    let command = child.command;
    // SAFETY: plain system calls on values that outlive them.
    unsafe {
        if let Some(signal) = command.parent_death_signal {
            libc::prctl(libc::PR_SET_PDEATHSIG, signal.number() as libc::c_ulong);
            let parent = libc::getppid();
            if parent != child.parent && parent != 0 {
                // The parent died before the line above could take effect. (0: the parent is in another PID namespace, as
                // after `unshare --pid` without --fork.)
                libc::_exit(128 + signal.number());
            }
        }
        if command.own_group {
            libc::setpgid(0, 0);
        }
        if let Some(output) = command.output {
            redirect(output);
            close_on_exec_from(3);
        }
        if let Some(dir) = command.dir
            && libc::chdir(dir.as_ptr()) != 0
        {
            // It is gone since graceful was started there: run at the root rather than not at all.
            libc::chdir(c"/".as_ptr());
        }
        restore_in_child(&command.inherited);
        if child.env.is_null() {
            libc::execvp(*child.argv, child.argv);
        } else {
            libc::execvpe(*child.argv, child.argv, child.env);
        }
    }
    io::Error::last_os_error()
}

/// # Safety
/// Only in the child.
unsafe fn redirect(output: RawFd) {
    // SAFETY: plain system calls. dup2 clears close-on-exec, which is what standard streams need.
    unsafe {
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if null > 0 {
            libc::dup2(null, 0);
        } else if null < 0 {
            libc::close(0);
        }
        libc::dup2(output, 1);
        libc::dup2(output, 2);
    }
}

/// # Safety
/// Only in the child.
unsafe fn close_on_exec_from(first: RawFd) {
    /// Where the kernel cannot do it in one call (before Linux 5.11), descriptors up to here.
    const LAST_RESORT: RawFd = 1024;
    // SAFETY: plain system calls on numbers.
    unsafe {
        let flags = libc::CLOSE_RANGE_CLOEXEC as libc::c_uint;
        if libc::syscall(libc::SYS_close_range, first, u32::MAX, flags) != 0 {
            for fd in first..LAST_RESORT {
                libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
            }
        }
    }
}

/// Without allocation, in the child of a plain fork.
fn complain(child: &Child<'_>, errno: c_int) {
    let why: &[u8] = match errno {
        libc::ENOENT => b": not found\n",
        libc::EACCES => b": permission denied\n",
        libc::E2BIG => b": the arguments are too long\n",
        _ => b": cannot be executed\n",
    };
    let Some(name) = child.command.argv.first() else { return };
    // `TOKEN=secret command`, as a shell would have it: the name tells enough.
    let name = name.as_bytes().split_inclusive(|byte| *byte == b'=').next().unwrap_or_default();
    for part in [b"cannot run ".as_slice(), name, why] {
        // SAFETY: a live buffer with its length.
        unsafe { libc::write(2, part.as_ptr().cast(), part.len()) };
    }
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

struct Stack {
    base: *mut c_void,
    size: usize,
}

impl Stack {
    fn new(size: usize) -> io::Result<Stack> {
        let size = size.next_multiple_of(4096);
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
        // SAFETY: a new anonymous mapping disturbs nothing.
        let base = unsafe { libc::mmap(ptr::null_mut(), size, protection, flags, -1, 0) };
        if base == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Stack { base, size }) }
    }

    /// Stacks grow down (and the size is a multiple of 16, as the ABI wants).
    fn top(&self) -> *mut c_void {
        self.base.wrapping_byte_add(self.size)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: our own mapping, used by nobody any more.
        unsafe { libc::munmap(self.base, self.size) };
    }
}

/// Makes graceful the parent of its descendants' orphans (prctl(2), PR_SET_CHILD_SUBREAPER). The bit is read back.
pub fn become_subreaper() -> io::Result<()> {
    let mut set: c_int = 0;
    // SAFETY: the second call writes one int.
    unsafe {
        check(libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1 as libc::c_ulong).into())?;
        check(libc::prctl(libc::PR_GET_CHILD_SUBREAPER, &raw mut set).into())?;
    }
    if set == 1 { Ok(()) } else { Err(io::Error::other("the kernel did not set it")) }
}

/// The file that execvp would have tried: the path itself, or the first of that name in PATH, executable or not.
pub fn look_up(program: &OsStr) -> Option<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        return Path::new(program).exists().then(|| PathBuf::from(program));
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.exists())
}

//! Starting a child.
//!
//! The app is started as posix_spawn(3) does it: clone(CLONE_VM | CLONE_VFORK) on a stack of its own. Nothing is
//! copied, which makes it faster than the fork of any init, and the error of a failed exec comes back through shared
//! memory. Hooks are forked plainly instead: a hook whose file is on a dead network disk must not hold up PID 1.
//!
//! Where the two flags are not honoured (qemu-user makes a fork of it) the child's memory is a copy: it seems not even
//! to have begun. Then the error comes as the child's name ([`copied`]). Elsewhere that costs a start nothing, whereas
//! a pipe for it would cost every start.
//!
//! The command is looked up in PATH, and a script without `#!` runs through /bin/sh, as execvp(3) does it for shells;
//! but only what is text ([`ExecutableFormat`]).
//!
//! What a service manager says about a process by its pid ([`NAMED_BY_PID`]) is true of the app only if it names the
//! app: where a variable names graceful, the child puts its own pid in.
//!
//! Sockets that graceful has bound for the app ([`PassedSockets`]) are announced in the same way, by variables that
//! name the child: whoever started graceful with sockets sees them passed on, and graceful's own come after them.
//!
//! Between clone and exec the child makes system calls only; it allocates nothing and takes no lock.

use crate::pid::Pid;
use crate::signal::Signal;
use crate::sys::executable::ExecutableFormat;
use crate::sys::fds;
use crate::sys::signals::{Inherited, restore_in_child};
use crate::sys::{environment, getpid, tree};
use nix::sys::prctl;
use nix::unistd::{AccessFlags, access};
use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{ptr, thread};

/// What to start and how.
pub struct SpawnSpec<'a> {
    /// The arguments, the program first.
    pub argv: &'a [CString],
    /// The environment; `None` is graceful's own, untouched except for what names graceful by its pid, and what is
    /// `added`.
    pub env: Option<&'a [CString]>,
    /// `NAME=VALUE` of variables that take the place of graceful's own, where there is no `env` and no `output`.
    pub added: &'a [CString],
    /// The signal state to give it.
    pub inherited: Inherited,
    /// Standard output and error go here, standard input is /dev/null and no other descriptor is passed on; `None`
    /// leaves all as they are.
    pub output: Option<BorrowedFd<'a>>,
    /// With an `output`: standard error goes here instead.
    pub errors: Option<BorrowedFd<'a>>,
    /// Its working directory, if not graceful's.
    pub dir: Option<&'a CStr>,
    /// Whether it leads a process group of its own.
    pub own_group: bool,
    /// The signal that it gets when graceful dies (prctl(2), PR_SET_PDEATHSIG).
    pub parent_death_signal: Option<Signal>,
    /// Sockets that it gets besides what it inherits, if the environment is graceful's own.
    pub sockets: Option<&'a PassedSockets>,
}

/// Listening sockets for a child, by the protocol of sd_listen_fds(3).
#[derive(Debug)]
pub struct PassedSockets {
    first: RawFd,
    sockets: Vec<OwnedFd>,
    /// LISTEN_FDS and LISTEN_FDNAMES.
    variables: Vec<CString>,
}

/// What the child's own variables replace; one of them names it by its pid.
const LISTEN: &[u8] = b"LISTEN_";
const LISTEN_PID: &[u8] = b"LISTEN_PID=";
/// SD_LISTEN_FDS_START.
const FIRST_SOCKET: RawFd = 3;
/// The name of a socket that has none, sd_listen_fds_with_names(3).
const UNNAMED: &str = "unknown";

impl PassedSockets {
    /// These sockets, each with its name. graceful's own handles are moved out of the way of the numbers that the child
    /// sees.
    ///
    /// # Errors
    /// No descriptor can be had.
    pub fn new(sockets: &[(BorrowedFd<'_>, Option<&str>)]) -> io::Result<PassedSockets> {
        let own = getpid().to_string();
        let variable = |name: &str| std::env::var(name).ok();
        let is_ours = variable("LISTEN_PID").is_some_and(|pid| pid == own);
        let told: usize = variable("LISTEN_FDS").filter(|_| is_ours).and_then(|fds| fds.parse().ok()).unwrap_or(0);
        let inherited = told.min(fds::limit() as usize);
        let first = FIRST_SOCKET + inherited as RawFd;
        let above = first + sockets.len() as RawFd;
        let raised = sockets.iter().map(|(socket, _)| fds::duplicate_above(*socket, above));
        let inherited_names = variable("LISTEN_FDNAMES").filter(|_| is_ours).unwrap_or_default();
        let inherited_names = inherited_names.split(':').map(|name| if name.is_empty() { UNNAMED } else { name });
        let inherited_names = inherited_names.chain(std::iter::repeat(UNNAMED)).take(inherited);
        let names: Vec<&str> = inherited_names.chain(sockets.iter().map(|(_, name)| name.unwrap_or(UNNAMED))).collect();
        let variables = [format!("LISTEN_FDS={}", names.len()), format!("LISTEN_FDNAMES={}", names.join(":"))];
        Ok(PassedSockets {
            first,
            sockets: raised.collect::<io::Result<_>>()?,
            variables: variables.into_iter().map(CString::new).collect::<Result<_, _>>()?,
        })
    }

    /// The descriptors that the child finds them under.
    pub fn numbers(&self) -> std::ops::Range<RawFd> {
        self.first..self.first + self.sockets.len() as RawFd
    }

    /// Those of these numbers that were inherited, and would have been passed on.
    pub fn replaced(&self) -> Vec<RawFd> {
        fds::inherited().into_iter().filter(|fd| self.numbers().contains(fd)).collect()
    }
}

/// A child that did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No process could be made.
    #[error("{0}")]
    Fork(io::Error),
    /// The command could not be executed.
    #[error("{0}")]
    Exec(io::Error),
    /// This file is neither a program for this machine nor a script that a shell could run.
    #[error("{}", .1.why())]
    Format(PathBuf, ExecutableFormat),
}

/// Variables that name the process that the service manager started: sd_listen_fds(3), sd_watchdog_enabled(3),
/// systemd.exec(5). A process that does not find itself named there takes them for another's.
const NAMED_BY_PID: [&[u8]; 3] = [LISTEN_PID, b"WATCHDOG_PID=", b"SYSTEMD_EXEC_PID="];
/// The same process by the inode of its pidfd, which another process cannot have. Without it the pid alone counts.
const NAMED_BY_INODE: &[u8] = b"LISTEN_PIDFDID=";

/// Variables of [`NAMED_BY_PID`], each with room for a pid and the end of the string.
type Variables = Vec<Box<[u8; 32]>>;

struct Child<'a> {
    argv: *const *const c_char,
    /// What /bin/sh gets: itself, the file, the rest of the arguments.
    script: *mut *const c_char,
    env: *const *const c_char,
    /// The files to try, in the order of PATH.
    files: &'a [CString],
    variables: &'a mut Variables,
    command: &'a SpawnSpec<'a>,
    parent: i32,
    /// Set by the child, first of all.
    began: bool,
    /// Whether it shares the parent's memory, and the parent waits.
    shared: bool,
    errno: c_int,
}

/// The size of the child's stack until it executes, in bytes.
const STACK: usize = 64 * 1024;

/// Starts a child and waits until it has executed the command, or failed to.
pub fn spawn(command: &SpawnSpec<'_>) -> Result<Pid, Error> {
    clone_child(command, true)
}

/// Starts a child without waiting: where exec fails it says so on its output and exits with 127 or 126.
pub fn fork(command: &SpawnSpec<'_>) -> Result<Pid, Error> {
    clone_child(command, false)
}

#[allow(clippy::disallowed_methods, reason = "a child that failed to start is waited for before anybody knows of it")]
fn clone_child(command: &SpawnSpec<'_>, shared: bool) -> Result<Pid, Error> {
    let argv = pointers(command.argv);
    let mut script = [&[c"/bin/sh".as_ptr(), ptr::null()], argv.get(1..).unwrap_or_default()].concat();
    let mut variables = Variables::new();
    let env = match command.env {
        Some(env) => Some(pointers(env)),
        // Only the output of graceful's own commands is redirected.
        None if command.output.is_none() => naming_the_child(&mut variables, command.added, command.sockets),
        None => None,
    };
    let files = candidates(command.argv.first().map_or(c"", CString::as_c_str));
    let mut child = Child {
        argv: argv.as_ptr(),
        script: script.as_mut_ptr(),
        env: env.as_ref().map_or_else(own_environment, Vec::as_ptr),
        files: &files,
        variables: &mut variables,
        command,
        parent: getpid(),
        began: false,
        shared,
        errno: 0,
    };
    let stack = Stack::new(STACK).map_err(Error::Fork)?;
    let flags = libc::SIGCHLD | if shared { libc::CLONE_VM | libc::CLONE_VFORK } else { 0 };
    // SAFETY: the stack is ours, big enough and unmapped only after the child no longer uses it: with CLONE_VFORK this
    // thread sleeps until the child has executed or exited; without, the child has a copy. `child` outlives the call.
    let pid = unsafe { libc::clone(in_child, stack.top(), flags, (&raw mut child).cast::<c_void>()) };
    // Otherwise it is -1: to its parent, no child is PID 1.
    let Some(pid) = Pid::new(pid) else { return Err(Error::Fork(io::Error::last_os_error())) };
    // SAFETY: reads of live fields; volatile because a process that the compiler knows nothing about wrote them.
    let (began, errno) =
        unsafe { (ptr::read_volatile(&raw const child.began), ptr::read_volatile(&raw const child.errno)) };
    match if shared && !began { copied::errno(pid.number()) } else { errno } {
        0 => Ok(pid),
        errno => {
            // It has exited; nobody else waits for it yet. EINTR cannot happen: no handler is installed.
            // SAFETY: a pid of our own child and no status wanted.
            unsafe { libc::waitpid(pid.number(), ptr::null_mut(), 0) };
            Err(refused(&files, errno))
        }
    }
}

/// The error of an exec. The file that was tried last is the one whose format the kernel does not know.
fn refused(files: &[CString], errno: c_int) -> Error {
    let executable = |file: &&CString| access(file.as_c_str(), AccessFlags::X_OK).is_ok();
    match files.iter().find(executable) {
        Some(file) if errno == libc::ENOEXEC => {
            Error::Format(PathBuf::from(OsStr::from_bytes(file.as_bytes())), ExecutableFormat::of_file(file))
        }
        Some(_) | None => Error::Exec(io::Error::from_raw_os_error(errno)),
    }
}

/// What execvp(3) would try: the path itself, or the name in each folder of PATH, an empty one being the working
/// directory.
fn candidates(program: &CStr) -> Vec<CString> {
    let program = program.to_bytes();
    if program.is_empty() || program.contains(&b'/') {
        return CString::new(program).into_iter().collect();
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    let file = |folder: &[u8]| match folder {
        [] => CString::new(program),
        folder => CString::new([folder, b"/", program].concat()),
    };
    path.as_bytes().split(|byte| *byte == b':').flat_map(file).collect()
}

/// graceful's own environment with variables in it that the child will write, and with those that are added; `None`
/// where none names graceful and nothing is added.
fn naming_the_child(
    variables: &mut Variables,
    added: &[CString],
    sockets: Option<&PassedSockets>,
) -> Option<Vec<*const c_char>> {
    let own = getpid().to_string();
    let names_us = |variable: &CStr, name: &[u8]| variable.to_bytes().strip_prefix(name) == Some(own.as_bytes());
    let named = |variable: &CStr| NAMED_BY_PID.into_iter().find(|name| names_us(variable, name));
    let names = environment().any(|variable| named(variable).is_some());
    if !names && added.is_empty() && sockets.is_none() {
        return None;
    }
    let mut to_be_named = |name: &[u8]| {
        let mut text = Box::new([0; 32]);
        text.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
        let pointer = text.as_ptr().cast();
        variables.push(text);
        pointer
    };
    let name = |variable: &CStr| variable.to_bytes().iter().position(|byte| *byte == b'=');
    let is_added = |variable: &CStr| {
        name(variable).is_some_and(|end| {
            let own = &variable.to_bytes()[..=end];
            added.iter().any(|other| other.to_bytes().starts_with(own))
        })
    };
    let is_out_of_date = |variable: &CStr| match sockets {
        Some(_) => variable.to_bytes().starts_with(LISTEN),
        None => names && variable.to_bytes().starts_with(NAMED_BY_INODE),
    };
    let mut pointers: Vec<*const c_char> = added.iter().map(|variable| variable.as_ptr()).collect();
    for variable in environment().filter(|variable| !is_out_of_date(variable) && !is_added(variable)) {
        pointers.push(named(variable).map_or(variable.as_ptr(), &mut to_be_named));
    }
    if let Some(sockets) = sockets {
        pointers.push(to_be_named(LISTEN_PID));
        pointers.extend(sockets.variables.iter().map(|variable| variable.as_ptr()));
    }
    pointers.push(ptr::null());
    Some(pointers)
}

/// Writes the number after the variable's `=`. Allocates nothing.
fn put_pid(variable: &mut [u8], pid: i32) {
    let at = variable.iter().position(|byte| *byte == b'=').map_or(0, |at| at + 1);
    let mut digits = [0; 10];
    let (mut rest, mut count) = (pid.unsigned_abs(), 0);
    for digit in &mut digits {
        *digit = b'0' + (rest % 10) as u8;
        (rest, count) = (rest / 10, count + 1);
        if rest == 0 {
            break;
        }
    }
    let number = digits.iter().take(count).rev().chain([&0]);
    variable.iter_mut().skip(at).zip(number).for_each(|(to, from)| *to = *from);
}

fn own_environment() -> *const *const c_char {
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    // SAFETY: a read of a pointer that nothing in this program changes.
    unsafe { environ }
}

extern "C" fn in_child(argument: *mut c_void) -> c_int {
    // SAFETY: the pointer that clone was given.
    let child = unsafe { &mut *argument.cast::<Child<'_>>() };
    // SAFETY: a live field, which the parent reads.
    unsafe { ptr::write_volatile(&raw mut child.began, true) };
    // SAFETY: we are the child, about to exec.
    let errno = unsafe { become_command(child) };
    if child.shared {
        child.errno = errno;
        copied::tell(errno);
    } else {
        complain(child, errno);
    }
    // SAFETY: ends this process only; runs no handlers of the parent's.
    unsafe { libc::_exit(if errno == libc::ENOENT { 127 } else { 126 }) }
}

/// # Safety
/// Only in the child.
unsafe fn become_command(child: &mut Child<'_>) -> c_int {
    let command = child.command;
    // SAFETY: plain system calls on values that outlive them.
    unsafe {
        if let Some(signal) = command.parent_death_signal {
            libc::prctl(libc::PR_SET_PDEATHSIG, signal.number() as libc::c_ulong);
            let parent = libc::getppid();
            if parent != child.parent && parent != 0 {
                // The parent died before the line above could take effect. (0: the parent is in another PID namespace,
                // as after `unshare --pid` without --fork.)
                libc::_exit(128 + signal.number());
            }
        }
        if command.own_group {
            libc::setpgid(0, 0);
        }
        if let Some(output) = command.output {
            redirect(output.as_raw_fd(), command.errors.unwrap_or(output).as_raw_fd());
            close_on_exec_from(3);
        }
        if let Some(dir) = command.dir
            && libc::chdir(dir.as_ptr()) != 0
        {
            // The directory has gone since graceful was started there: run at the root rather than not at all.
            libc::chdir(c"/".as_ptr());
        }
        if let Some(sockets) = command.sockets {
            // dup2(2) clears close-on-exec. None of the numbers is that of one that is still to come.
            for (number, socket) in sockets.numbers().zip(&sockets.sockets) {
                libc::dup2(socket.as_raw_fd(), number);
            }
        }
        let pid = getpid();
        child.variables.iter_mut().for_each(|variable| put_pid(variable.as_mut_slice(), pid));
        restore_in_child(&command.inherited);
        execute(child)
    }
}

fn last_errno() -> c_int {
    // SAFETY: this thread's own.
    unsafe { *libc::__errno_location() }
}

/// As execvp(3) goes through PATH: what is not there is passed over, and what may not be executed as well, unless
/// nothing else is found.
///
/// # Safety
/// Only in the child.
unsafe fn execute(child: &Child<'_>) -> c_int {
    let (mut denied, mut errno) = (false, libc::ENOENT);
    for file in child.files {
        // SAFETY: live strings in arrays that null ends; where it comes back, nothing has changed.
        unsafe { libc::execve(file.as_ptr(), child.argv, child.env) };
        errno = last_errno();
        match errno {
            // SAFETY: as above.
            libc::ENOEXEC => return unsafe { execute_by_shell(child, file) },
            libc::EACCES => denied = true,
            libc::ENOENT | libc::ENOTDIR | libc::ESTALE | libc::ENODEV | libc::ETIMEDOUT => {}
            errno => return errno,
        }
    }
    if denied { libc::EACCES } else { errno }
}

/// # Safety
/// Only in the child.
unsafe fn execute_by_shell(child: &Child<'_>, file: &CStr) -> c_int {
    if ExecutableFormat::of_file(file) == ExecutableFormat::Text {
        // SAFETY: the array has room for two strings before the rest of the arguments, and null ends it.
        unsafe {
            *child.script.add(1) = file.as_ptr();
            libc::execve(c"/bin/sh".as_ptr(), child.script.cast_const(), child.env);
        }
    }
    libc::ENOEXEC
}

/// How a child that has a copy of the parent's memory reports an error.
mod copied {
    use super::*;

    /// What its name begins with when it could not execute the command; the number follows.
    const MARK: &[u8] = b"exec-errno=";
    /// The longest wait for a child to execute or fail. A later failure shows only in its exit status.
    const PATIENCE: Duration = Duration::from_millis(500);

    /// In the child. A name is all that a process leaves to be read until it is reaped (proc(5), comm).
    pub(super) fn tell(errno: c_int) {
        let mut name = [0; 16];
        name.iter_mut().zip(MARK).for_each(|(to, from)| *to = *from);
        put_pid(&mut name, errno);
        // SAFETY: a string of 15 bytes at most, and its end.
        unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
    }

    /// In the parent: 0 where the command was executed.
    pub(super) fn errno(pid: i32) -> c_int {
        let (own, until) = (tree::name_of(getpid()), Instant::now() + PATIENCE);
        let mark = String::from_utf8_lossy(MARK);
        while Instant::now() < until {
            match tree::name_of(pid) {
                Some(name) if name.starts_with(&*mark) => return name[mark.len()..].parse().unwrap_or(libc::EINVAL),
                name if name == own => thread::sleep(Duration::from_millis(1)),
                Some(_) | None => break,
            }
        }
        0
    }
}

/// # Safety
/// Only in the child.
unsafe fn redirect(output: RawFd, errors: RawFd) {
    // SAFETY: plain system calls. dup2 clears close-on-exec, which is what standard streams need.
    unsafe {
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if null > 0 {
            libc::dup2(null, 0);
        } else if null < 0 {
            libc::close(0);
        }
        libc::dup2(output, 1);
        libc::dup2(errors, 2);
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

/// Says why, without allocation, in the child of a plain fork.
fn complain(child: &Child<'_>, errno: c_int) {
    let why: &[u8] = match errno {
        libc::ENOENT => b": not found\n",
        libc::EACCES => b": permission denied\n",
        libc::E2BIG => b": the arguments are too long\n",
        libc::ENOEXEC => b": neither a program for this machine nor a script that a shell could run\n",
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
    prctl::set_child_subreaper(true)?;
    if prctl::get_child_subreaper()? { Ok(()) } else { Err(io::Error::other("the kernel did not set it")) }
}

/// The file that execvp(3) would have tried: the path itself, or the first of that name in PATH, executable or not.
pub fn look_up(program: &OsStr) -> Option<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        return Path::new(program).exists().then(|| PathBuf::from(program));
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.exists())
}

//! The terminal's foreground, and its modes.
//!
//! ```text
//!   at its start graceful …                the app's process group    who hears Ctrl-C and Ctrl-Z
//!   has the terminal's foreground          graceful's own             both, as without graceful
//!   the same, but comes between the two    one of the app's own       graceful, which passes it on, rewrites or drops it,
//!   (--rewrite, httpd's SIGWINCH)                                     until the app asks for the terminal; then the app
//!   is in the background of a terminal     one of the app's own       after `fg`: graceful, which passes it on, until the
//!                                                                     app asks for the terminal; then the app
//!   has no terminal                        one of the app's own       -
//! ```
//!
//! In the foreground the app stays in graceful's group, so it has the foreground if and only if graceful has it, in a
//! pipeline too, and whatever standard input is. Nothing has to be handed over. What the app may do is to take the
//! foreground for a group of its own, as every interactive shell does, and to end without giving it back: then the shell
//! that started graceful could not read its terminal. So it is taken back. An app that a signal ended in the middle of
//! raw mode could not put the terminal right again: its modes of graceful's start are.
//!
//! Everywhere else the app leads a group of its own, so that whoever signals graceful's group (timeout(1), a supervisor, the
//! app itself by kill(0)) signals one of the two. A shell's `fg` gives the foreground to graceful's group; to an app that
//! the terminal has stopped for want of it, it is handed on then ([`Terminal::hand_over`]).
//!
//! /dev/tty is the controlling terminal, however the standard streams are redirected (tty(4)).

use std::fmt;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// What graceful's controlling terminal was like at its start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminal {
    present: bool,
    foreground: bool,
    /// Where graceful had the foreground.
    modes: Option<Modes>,
}

/// What tcgetattr(3) says.
#[derive(Clone, Copy)]
struct Modes(libc::termios);

impl fmt::Debug for Modes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Modes")
    }
}

/// Usually there is none: this is asked at every start, so it is one system call and no error value.
fn open() -> Option<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_NONBLOCK | libc::O_CLOEXEC;
    // SAFETY: a string that lives for ever; the descriptor is new and ours.
    unsafe {
        let fd = libc::open(c"/dev/tty".as_ptr(), flags);
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd))
    }
}

fn own_group() -> i32 {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::getpgrp() }
}

fn foreground(tty: &OwnedFd) -> i32 {
    // SAFETY: a live descriptor.
    unsafe { libc::tcgetpgrp(tty.as_raw_fd()) }
}

fn give_foreground(tty: &OwnedFd, group: i32) -> bool {
    // SAFETY: a live descriptor and a number.
    unsafe { libc::tcsetpgrp(tty.as_raw_fd(), group) == 0 }
}

fn modes(tty: &OwnedFd) -> Option<Modes> {
    let mut termios = MaybeUninit::uninit();
    // SAFETY: a live descriptor; where the call succeeds it has written the whole struct.
    unsafe { (libc::tcgetattr(tty.as_raw_fd(), termios.as_mut_ptr()) == 0).then(|| Modes(termios.assume_init())) }
}

impl Terminal {
    /// Looks at the controlling terminal, if there is one.
    pub fn look() -> Terminal {
        let Some(tty) = open() else { return Terminal::default() };
        let foreground = foreground(&tty) == own_group();
        Terminal { present: true, foreground, modes: foreground.then(|| modes(&tty)).flatten() }
    }

    /// There is a controlling terminal.
    pub fn is_present(self) -> bool {
        self.present
    }

    /// graceful's own group had its foreground.
    pub fn had_foreground(self) -> bool {
        self.foreground
    }

    /// Hands the foreground to this group, if graceful's own has it now, as after a shell's `fg`.
    pub fn hand_over(self, group: i32) -> bool {
        self.present && open().is_some_and(|tty| foreground(&tty) == own_group() && give_foreground(&tty, group))
    }

    /// Takes the foreground back if it now belongs to a group that no longer exists. To be called where graceful had it or
    /// handed it over. SIGTTOU is blocked like every signal, so that this works from the background.
    pub fn take_back(self) {
        let Some(tty) = open() else { return };
        let (group, own) = (foreground(&tty), own_group());
        let gone = |group: i32| {
            // SAFETY: signal 0 sends nothing; a group number above 1 names a group and not everybody.
            let answered = group <= 1 || unsafe { libc::kill(-group, 0) } == 0;
            // EPERM: a group of another user, very much alive.
            !answered && std::io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH)
        };
        if group != own && gone(group) {
            give_foreground(&tty, own);
        }
    }

    /// Puts the modes of the start back, if graceful had the foreground then and has it now. For an app that a signal has
    /// ended: one that exits by itself leaves the terminal as it means to (stty(1)).
    pub fn restore_modes(self) {
        let (Some(Modes(modes)), Some(tty)) = (self.modes, open()) else { return };
        if foreground(&tty) == own_group() {
            // SAFETY: a live descriptor and a struct that tcgetattr filled.
            unsafe { libc::tcsetattr(tty.as_raw_fd(), libc::TCSADRAIN, &raw const modes) };
        }
    }
}

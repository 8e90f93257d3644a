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
//! foreground for a group of its own, as every interactive shell does, and to end without giving it back: then the
//! shell that started graceful could not read its terminal. So it is taken back. An app that a signal ended in the
//! middle of raw mode could not put the terminal right again: so the modes that it had at graceful's start are
//! restored.
//!
//! Everywhere else the app leads a group of its own, so that whoever signals graceful's group (timeout(1), a
//! supervisor, the app itself by kill(0)) signals one of the two. A shell's `fg` gives the foreground to graceful's
//! group; if the terminal has stopped the app for want of it, it is then handed on to the app
//! ([`Terminal::hand_over`]).
//!
//! /dev/tty is the controlling terminal, however the standard streams are redirected (tty(4)).

use crate::pid::Pid;
use crate::sys::process::raw;
use nix::errno::Errno;
use nix::fcntl::{self, OFlag};
use nix::sys::signal::killpg;
use nix::sys::stat::Mode;
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp, tcsetpgrp};
use std::os::fd::OwnedFd;

/// What graceful's controlling terminal was like at its start.
#[derive(Clone, Debug, Default)]
pub struct Terminal {
    present: bool,
    foreground: bool,
    /// Its modes, if graceful had the foreground.
    modes: Option<Termios>,
}

/// The controlling terminal. Usually there is none: this is asked at every start, so it is one system call and no error
/// value.
fn open() -> Option<OwnedFd> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    fcntl::open(c"/dev/tty", flags, Mode::empty()).ok()
}

fn is_own_foreground(tty: &OwnedFd) -> bool {
    tcgetpgrp(tty) == Ok(getpgrp())
}

impl Terminal {
    /// Looks at the controlling terminal, if there is one.
    pub fn look() -> Terminal {
        let Some(tty) = open() else { return Terminal::default() };
        let foreground = is_own_foreground(&tty);
        Terminal { present: true, foreground, modes: foreground.then(|| tcgetattr(&tty).ok()).flatten() }
    }

    /// Whether there is a controlling terminal.
    pub fn is_present(&self) -> bool {
        self.present
    }

    /// Whether graceful's own group had its foreground.
    pub fn had_foreground(&self) -> bool {
        self.foreground
    }

    /// Hands the foreground to this group, if graceful's own has it now, as after a shell's `fg`.
    pub fn hand_over(&self, group: Pid) -> bool {
        self.present && open().is_some_and(|tty| is_own_foreground(&tty) && tcsetpgrp(tty, raw(group)).is_ok())
    }

    /// Takes the foreground back if it now belongs to a group that no longer exists. To be called where graceful had it
    /// or handed it over. SIGTTOU is blocked like every signal, so that this works from the background.
    pub fn take_back(&self) {
        let Some(tty) = open() else { return };
        let (Ok(group), own) = (tcgetpgrp(&tty), getpgrp()) else { return };
        // No signal, which sends nothing. EPERM: a group of another user, very much alive.
        let gone = |group| Pid::new(group).is_some_and(|group| killpg(raw(group), None) == Err(Errno::ESRCH));
        if group != own && gone(group.as_raw()) {
            _ = tcsetpgrp(tty, own);
        }
    }

    /// Puts the modes of the start back, if graceful had the foreground then and has it now. For an app that a signal
    /// has ended: one that exits by itself leaves the terminal as it means to (stty(1)).
    pub fn restore_modes(&self) {
        let (Some(modes), Some(tty)) = (&self.modes, open()) else { return };
        if is_own_foreground(&tty) {
            _ = tcsetattr(tty, SetArg::TCSADRAIN, modes);
        }
    }
}

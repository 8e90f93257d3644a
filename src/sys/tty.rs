//! The terminal's foreground.
//!
//! The app stays in graceful's own process group, so it has the foreground if and only if graceful has it, in a
//! pipeline, in the background and after `fg` too, and whatever standard input is. Nothing has to be handed over.
//! What the app may do is to take the foreground for a group of its own, as every interactive shell does, and to end
//! without giving it back: then the shell that started graceful could not read its terminal. So it is taken back.
//!
//! /dev/tty is the controlling terminal, however the standard streams are redirected (tty(4)).

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Whether graceful had the foreground at its start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminal {
    present: bool,
    foreground: bool,
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

impl Terminal {
    /// Looks at the controlling terminal, if there is one.
    pub fn look() -> Terminal {
        let Some(tty) = open() else { return Terminal::default() };
        Terminal { present: true, foreground: foreground(&tty) == own_group() }
    }

    /// There is a controlling terminal.
    pub fn is_present(self) -> bool {
        self.present
    }

    /// Takes the foreground back if graceful had it and it now belongs to a group that no longer exists. SIGTTOU is
    /// blocked like every signal, so that this works from the background.
    pub fn take_back(self) {
        if !self.foreground {
            return;
        }
        let Some(tty) = open() else { return };
        let (group, own) = (foreground(&tty), own_group());
        let gone = |group: i32| {
            // SAFETY: signal 0 sends nothing; a group number above 1 names a group and not everybody.
            let answered = group <= 1 || unsafe { libc::kill(-group, 0) } == 0;
            // EPERM: a group of another user, very much alive.
            !answered && std::io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH)
        };
        if group != own && gone(group) {
            // SAFETY: a live descriptor and our own group.
            unsafe { libc::tcsetpgrp(tty.as_raw_fd(), own) };
        }
    }
}

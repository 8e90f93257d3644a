//! What the app says by sd_notify(3), where a reload waits for that (`--reload-ready notify`): the app finds a socket of
//! graceful's own in NOTIFY_SOCKET. What the run that counts says goes on to the service manager above, if there is one; where its
//! main process is, is not among that, since for the service manager it is graceful.
//!
//! Without `--reload-ready notify` the app has the NOTIFY_SOCKET that graceful was given, and speaks for itself.

use super::Supervisor;
use crate::config::{Config, ReadyCondition};
use crate::notify::{NOTIFY_SOCKET, Notification, NotifyMessage, NotifyReceiver, NotifySender};
use crate::sys::{in_words, tree};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

/// Messages taken in one turn: an app that sends without end is not to keep the loop from its deadlines.
const TAKEN_AT_ONCE: usize = 100;

/// So many parents of a sender are looked at: no tree of an app is that deep.
const GENERATIONS: usize = 100;

/// The app's socket, and the way to the service manager.
#[derive(Debug, Default)]
pub(super) struct NotifyDesk {
    receiver: Option<NotifyReceiver>,
    above: Option<NotifySender>,
}

/// The app would have nobody to tell that it is ready.
#[derive(Debug, thiserror::Error)]
#[error("--reload-ready notify needs a socket for the app, and none can be had: {}", in_words(.0))]
pub(super) struct NoReceiver(#[from] io::Error);

impl NotifyDesk {
    /// Opens the app's socket, where a reload needs it. A service manager that cannot be told is warned of.
    ///
    /// # Errors
    /// None can be had: the app must not be started.
    pub(super) fn open(config: &mut Config) -> Result<NotifyDesk, NoReceiver> {
        if config.reload.ready != ReadyCondition::Notify {
            return Ok(NotifyDesk::default());
        }
        let above = NotifySender::from_env().unwrap_or_else(|error| {
            config.warnings.push(error.to_string());
            None
        });
        Ok(NotifyDesk { receiver: Some(NotifyReceiver::open()?), above })
    }

    /// What the app finds in its environment.
    pub(super) fn variable(&self) -> Option<CString> {
        let address = self.receiver.as_ref()?.env();
        CString::new([NOTIFY_SOCKET.as_bytes(), b"=", address.as_bytes()].concat()).ok()
    }

    /// There is one.
    pub(super) fn is_there(&self) -> bool {
        self.receiver.is_some()
    }

    /// What to poll.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.receiver.iter().map(AsFd::as_fd)
    }

    fn recv(&self, own: i32) -> Option<Result<Notification, String>> {
        let is_ours = |pid| descends(pid, own);
        match self.receiver.as_ref()?.recv(is_ours) {
            Ok(notification) => notification.map(Ok),
            Err(error) => Some(Err(error.to_string())),
        }
    }
}

/// Whether it is this process, or below it: one that has ended and was not reaped yet has its parent still.
fn descends(mut pid: i32, own: i32) -> bool {
    for _ in 0..GENERATIONS {
        if pid == own {
            return true;
        }
        match tree::process(pid) {
            Some(process) if process.parent > 0 => pid = process.parent,
            Some(_) | None => return false,
        }
    }
    false
}

impl Supervisor {
    /// Takes what the app says.
    pub(super) fn notify_news(&mut self) {
        for _ in 0..TAKEN_AT_ONCE {
            match self.launch.notify.recv(self.launch.pid) {
                None => return,
                Some(Ok(notification)) => self.notified(&notification),
                Some(Err(what)) => self.trouble_once(what),
            }
        }
    }

    fn notified(&mut self, Notification { sender, lines }: &Notification) {
        for error in &lines.errors {
            self.trouble_once(format!("NOTIFY_SOCKET: {error}"));
        }
        if self.on_beside(|this| this.is_own(*sender)) == Some(true) {
            if lines.messages.contains(&NotifyMessage::Ready) {
                self.successor_is_ready("READY=1");
                self.act();
            }
            return;
        }
        let told: Vec<NotifyMessage> =
            lines.messages.iter().filter(|message| !matches!(message, NotifyMessage::MainPid(_))).cloned().collect();
        if let Some(above) = self.launch.notify.above.as_ref().filter(|_| !told.is_empty())
            && let Err(error) = above.send(&told)
        {
            self.trouble_once(error.to_string());
        }
    }
}

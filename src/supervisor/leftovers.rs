//! What is left when the app is gone, and SIGKILL.
//!
//! As PID 1 that is every other process of the namespace, those that were brought in from outside (`docker exec`)
//! included; their end raises no SIGCHLD, so it is watched through pidfds. Otherwise it is graceful's own descendants and
//! nothing else: being their subreaper, graceful has no child left exactly when no descendant is left.

use super::Supervisor;
use crate::config::AdviceAt;
use crate::config::Leftovers;
use crate::lifecycle::Input;
use crate::signal::Signal;
use crate::sys::tree::{self, Process};
use crate::sys::{fds, process, reap};
use crate::timeline::{Event, Moment, Phase};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// Log and report name this many at most.
const NAMED: usize = 20;
/// So many processes from outside are watched; the others are looked for when one of these ends.
const WATCHED: usize = 32;
/// Passes over /proc while processes still fork under SIGKILL.
const PASSES: usize = 16;
/// No further pass is begun after this long: SIGKILL comes again soon, and the end must not be late for it.
const PASSES_LAST: Duration = Duration::from_millis(50);

impl Supervisor {
    /// Counts what is left: an input for the next `act`.
    pub(super) fn look(&mut self) {
        // It may be set for a child that was meant to be started, or for a hook that is none: a POST.
        self.children = self.children && reap::any();
        let left = if self.children && self.lifecycle.phase() == Phase::Kill {
            // How many is of no interest any more, and to count ten thousand takes longer than to kill them.
            Some(1)
        } else if self.launch.init {
            self.left_in_namespace()
        } else {
            self.left_of_ours()
        };
        match left {
            Some(left) => self.inputs.push_back(Input::Left(left)),
            None => self.look_again = true,
        }
    }

    fn left_of_ours(&mut self) -> Option<usize> {
        if !self.children {
            return Some(0);
        }
        match self.seen(tree::descendants()) {
            Some(left) => self.count(&left),
            None => Some(1),
        }
    }

    fn left_in_namespace(&mut self) -> Option<usize> {
        if !self.children && process::namespace_is_empty().unwrap_or(false) {
            return Some(0);
        }
        match self.seen(tree::others()) {
            Some(left) => {
                self.watch_outsiders(&left);
                self.count(&left)
            }
            None => Some(usize::from(self.children)),
        }
    }

    /// `None`: only commands of checks, which graceful itself has just killed; when they are reaped it can be told.
    fn count(&self, left: &[Process]) -> Option<usize> {
        match left.iter().filter(|process| !self.is_of_killed_check(process)).count() {
            0 if self.awaits_killed_checks() => None,
            // A zombie that nobody has reaped yet is not in the list, but wait(2) says that there is something.
            0 => Some(usize::from(self.children)),
            count => Some(count),
        }
    }

    fn seen(&mut self, list: Option<Vec<Process>>) -> Option<Vec<Process>> {
        if list.is_none() {
            self.trouble_once("/proc is not there or shows another namespace: leftovers cannot be listed".to_owned());
        }
        list
    }

    fn watch_outsiders(&mut self, left: &[Process]) {
        let outsiders = left.iter().filter(|process| process.parent == 0).take(WATCHED);
        self.outsiders = outsiders.filter_map(|process| process::pidfd_open(process.pid).ok()).collect();
    }

    /// One of those from outside has ended: look again.
    pub(super) fn look_after_outsiders(&mut self) {
        if self.outsiders.is_empty() {
            return;
        }
        let polled: Vec<i32> = self.outsiders.iter().map(AsRawFd::as_raw_fd).collect();
        if fds::poll(&polled, Some(Duration::ZERO)).contains(&true) {
            self.outsiders.clear();
            if self.lifecycle.is_waiting_for_the_last() {
                self.look();
            }
        }
    }

    /// SIGTERM, or a stop signal that came late; SIGCONT with it, and SIGHUP to a shell that leads a terminal's session,
    /// because interactive shells ignore SIGTERM and end on a hang-up (systemd.kill(5), SendSIGHUP=).
    pub(super) fn signal_leftovers(&mut self, signal: Signal) {
        let list = if self.launch.init { tree::others() } else { tree::descendants() };
        let list = self.seen(list).unwrap_or_default();
        let mut errors: Vec<Option<String>> = Vec::new();
        if self.launch.init {
            let error = process::signal_namespace(signal).err().map(|error| error.to_string());
            _ = process::signal_namespace(Signal::CONT);
            errors.resize(list.len(), error);
        } else {
            for process in &list {
                errors.push(process::signal_process(process, signal).err().map(|error| error.to_string()));
                _ = process::signal_process(process, Signal::CONT);
            }
        }
        for process in list.iter().filter(|process| process.leads_terminal) {
            _ = process::signal_process(process, Signal::HUP);
        }
        for (Process { pid, name, .. }, error) in list.into_iter().zip(errors).take(NAMED) {
            self.record(Event::LeftoverSignalled { pid, name, signal, error });
        }
    }

    /// SIGKILL to the app and all the rest. First the deed, then the words.
    pub(super) fn kill_everything(&mut self) {
        let app = self.app.is_some();
        if !self.sigkill_sent {
            // The numbers are there already: nothing waits for this.
            self.record_in_flight(Moment::Kill);
        }
        let count = if self.launch.init { self.kill_namespace() } else { self.kill_ours() };
        if !std::mem::replace(&mut self.sigkill_sent, true) {
            self.record(Event::EverythingKilled { count, app });
            if app {
                self.advise(AdviceAt::Kill);
            }
        }
    }

    fn kill_namespace(&mut self) -> Option<usize> {
        if let Err(error) = process::signal_namespace(Signal::KILL)
            && error.raw_os_error() != Some(libc::ESRCH)
        {
            self.trouble_once(format!("SIGKILL to the namespace failed: {error}"));
        }
        None
    }

    fn kill_ours(&mut self) -> Option<usize> {
        let mut killed: Vec<i32> = Vec::new();
        if let Some(app) = self.app {
            if let Err(error) = process::signal_child(app, Signal::KILL, None) {
                self.trouble_once(format!("SIGKILL to the app (pid {app}) failed: {error}"));
            }
            killed.push(app);
        }
        if self.config.leftovers == Leftovers::Leave {
            return Some(0);
        }
        let until = self.now() + PASSES_LAST;
        for pass in 0..PASSES {
            if pass > 0 && self.now() >= until {
                break;
            }
            let list = self.seen(tree::descendants())?;
            let new: Vec<Process> = list.into_iter().filter(|process| !killed.contains(&process.pid)).collect();
            if new.is_empty() {
                break;
            }
            for process in new {
                if let Err(error) = process::signal_process(&process, Signal::KILL)
                    && error.raw_os_error() != Some(libc::ESRCH)
                {
                    self.trouble_once(format!("SIGKILL to {} (pid {}) failed: {error}", process.name, process.pid));
                }
                killed.push(process.pid);
            }
        }
        Some(killed.len() - usize::from(self.app.is_some()))
    }
}

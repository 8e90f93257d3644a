//! Whom the stop signal and the escalations reach besides the app: `--stop-to`.
//!
//! | `--stop-to` | who gets them |
//! | --- | --- |
//! | app | the app alone |
//! | group | its process group; where that is graceful's own, in the foreground of a terminal, those of it that descend from graceful |
//! | tree | the app and every process that descends from it, in whatever group or session |
//!
//! Never graceful's own hooks and the commands of checks and holds, and nothing that does not descend from graceful. The
//! list is that of the moment before: what the app starts in answer to the signal, to clean up, is not hit by it.

use super::Supervisor;
use crate::config::StopTo;
use crate::pid::Pid;
use crate::signal::Signal;
use crate::sys::process;
use crate::sys::tree::{self, Process};
use crate::timeline::{Event, SignalReason};
use std::io;

/// Programs that run others and wait for them before they look at a trapped signal.
const SHELLS: [&str; 7] = ["sh", "bash", "dash", "ash", "ksh", "zsh", "busybox"];

impl Supervisor {
    /// Sends it to the app, and to whom `--stop-to` says besides: what went wrong with the app's, and how many others got it.
    pub(super) fn send(
        &mut self,
        app: Pid,
        signal: Signal,
        reason: SignalReason,
        value: Option<usize>,
    ) -> (Option<String>, usize) {
        let spreads = matches!(reason, SignalReason::Stop | SignalReason::Again | SignalReason::Escalation);
        let words = |sent: io::Result<()>| sent.err().map(|error| error.to_string());
        if !spreads || self.config.stop_to == StopTo::App {
            return (words(process::signal_child(app, signal, value)), 0);
        }
        let others = self.others_to_stop(app);
        for process in others.iter().filter(|process| process.stopped) {
            _ = process::signal_process(process, Signal::CONT);
        }
        // In one stroke that no fork slips through.
        if self.config.stop_to == StopTo::Group && process::group_of(app) == Some(app) {
            return (words(process::signal_group(app, signal)), others.len());
        }
        let sent = process::signal_child(app, signal, None);
        let reached = others.iter().filter(|process| process::signal_process(process, signal).is_ok()).count();
        (words(sent), reached)
    }

    fn others_to_stop(&mut self, app: Pid) -> Vec<Process> {
        let group = process::group_of(app).filter(|_| self.config.stop_to == StopTo::Group);
        let commands = self.run.hooks.pids().chain(self.run.hold.pid()).chain(self.check_pids());
        let commands: Vec<i32> = commands.map(Pid::number).collect();
        let others = self.seen(tree::descendants_but(&commands)).unwrap_or_default();
        let mut others = self.own(others);
        others
            .retain(|process| process.pid != app.number() && group.is_none_or(|group| process.group == group.number()));
        others
    }

    pub(super) fn also_signalled(&mut self, signal: Signal, count: usize) {
        if count > 0 {
            let whom = if self.config.stop_to == StopTo::Group { "group" } else { "tree" };
            self.record(Event::AlsoSignalled { signal, whom, count });
        }
    }

    /// For an app that is to be killed although it may well have done all that it could: a shell acts on a trapped signal
    /// when the command that it waits for has ended (POSIX, 2.11), and that one has heard nothing.
    pub(super) fn stop_to_hint(&self) -> Option<String> {
        let app = self.run.app.filter(|_| self.config.stop_to == StopTo::App)?;
        let shell = tree::name_of(app.number()).filter(|name| SHELLS.contains(&name.as_str()))?;
        // The terminal's keys have reached all of its foreground.
        if process::shares_our_group(app) && self.run.lifecycle.stop_signal() == Some(Signal::INT) {
            return None;
        }
        // Not all processes are looked through: SIGKILL waits for this.
        let children = tree::children_of(app.number()).into_iter().filter_map(tree::process);
        let children = children.filter(|process| !process.zombie);
        let Process { pid, name, .. } = children.min_by_key(|process| process.pid)?;
        Some(format!(
            "the app is a shell ({shell}) that was waiting for {name} (pid {pid}), which never got the stop signal: give it to \
             both with --stop-to tree, or start {name} with exec"
        ))
    }
}

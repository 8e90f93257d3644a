//! An app that puts itself into the background: it exits with 0, and what it has started goes on.
//!
//! That is what daemons do when nobody tells them to stay, and then the container has nothing left to wait for. By default it
//! is said, with what would be right, and the daemon is a leftover like any other. With `--leftovers wait` the daemon is the
//! app from then on: signals, the stop, the hold and the exit status are its own, and the lifecycle does not notice. If it does
//! the same again (a daemon forks twice), the next one follows; the eldest first.

use super::Supervisor;
use crate::config::{self, Leftovers};
use crate::pid::Pid;
use crate::status::ExitStatus;
use crate::sys::process;
use crate::sys::tree::{self, Process};
use crate::timeline::{Event, Phase};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// From the first fork of a daemon to its session at most; so much later is a job that was left told to end.
const SETTLES: Duration = Duration::from_millis(20);

impl Supervisor {
    /// The app has ended like this, and there are children left: whether one of them is the app now.
    pub(super) fn goes_on_in_background(&mut self, status: ExitStatus) -> bool {
        // Of two runs, whose child it is that goes on takes longer to find out than a daemon takes to fork.
        if status != ExitStatus::Exited(0) || self.run.lifecycle.phase() != Phase::Running || self.beside.is_some() {
            return false;
        }
        let followed = self.config.leftovers == Leftovers::Wait;
        let Some(Process { pid, name, .. }) = self.daemon(followed) else { return false };
        let program = self.config.command.first().and_then(|program| Path::new(program).file_name()?.to_str());
        let known = program.and_then(config::in_foreground).or_else(|| config::in_foreground(&name));
        let foreground = self.config.foreground.or(known).map(str::to_owned);
        self.record(Event::InBackground { pid, name, foreground, followed });
        if followed {
            self.run.app = Pid::new(pid);
        }
        followed
    }

    /// The eldest of those that the app has left: one that has a session of its own, as daemons have, or where anything is to
    /// be followed, another. Who forks twice may be in the middle of it.
    fn daemon(&self, any: bool) -> Option<Process> {
        let commands = self.run.hooks.pids().chain(self.run.hold.pid()).chain(self.check_pids());
        let commands: Vec<i32> = commands.map(Pid::number).collect();
        let (own, until) = (process::session_of(self.launch.pid), Instant::now() + SETTLES);
        loop {
            let mut left = tree::descendants_but(&commands)?;
            let settles = !left.is_empty() && Instant::now() < until;
            left.retain(|process| process.parent == self.launch.pid);
            left.sort_by_key(|process| process.pid);
            let daemon = left.iter().position(|process| process::session_of(process.pid) != own);
            if let Some(which) = daemon.or((any && !left.is_empty()).then_some(0)) {
                return Some(left.swap_remove(which));
            }
            if !settles {
                return None;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

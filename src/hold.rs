//! `--hold URL|COMMAND`: looks again and again whether the stop signal may go out. A URL is polled by the HTTP thread;
//! a command is run here, again and again, until it exits 0. The hold's own deadline is the lifecycle's.

use crate::command::{LaunchContext, Running};
use crate::config;
use crate::pid::Pid;
use crate::secret::{CommandLine, Url};
use crate::status::ExitStatus;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// From the end of one look to the next.
pub const INTERVAL: Duration = Duration::from_millis(250);
/// The timeout of one GET of a hold URL.
pub const URL_TIMEOUT: Duration = Duration::from_secs(2);

/// What the hold wants done or has found.
#[derive(Debug, PartialEq)]
pub enum HoldEvent {
    /// The URL is to be polled.
    Poll(Url),
    /// The command runs; nothing to do.
    Runs,
    /// It could not be started, and will be tried again.
    Failed(String),
}

/// What an exit of the command says.
#[derive(Debug, PartialEq, Eq)]
pub enum HoldLook {
    /// The hold is over.
    Over,
    /// Not yet, and why.
    NotYet(String),
}

/// The state of the hold while it goes on.
#[derive(Debug, Default)]
pub struct HoldCondition {
    command: CommandLine,
    running: Option<Running>,
    again_at: Option<Duration>,
}

impl HoldCondition {
    /// Begins to look.
    pub fn begin(&mut self, now: Duration, what: &config::Hold, origin: &LaunchContext) -> HoldEvent {
        match what {
            // Another thread looks for requests in flight.
            config::Hold::Idle | config::Hold::Quiet | config::Hold::Never => HoldEvent::Runs,
            config::Hold::Url(url) => HoldEvent::Poll(url.clone()),
            config::Hold::Command(argv) => {
                self.command.clone_from(argv);
                self.start(now, origin)
            }
        }
    }

    fn start(&mut self, now: Duration, origin: &LaunchContext) -> HoldEvent {
        self.again_at = None;
        let env = [("GRACEFUL_PHASE", "hold".to_owned())];
        match Running::start(&self.command, &env, origin) {
            Ok(running) => {
                self.running = Some(running);
                HoldEvent::Runs
            }
            Err(error) => {
                self.again_at = Some(now + INTERVAL);
                HoldEvent::Failed(error.to_string())
            }
        }
    }

    /// A child ended. `None`: it was not the command.
    pub fn exited(&mut self, now: Duration, pid: Pid, status: ExitStatus) -> Option<HoldLook> {
        let running = self.running.take_if(|running| running.pid() == pid)?;
        let lines = running.finish();
        if status == ExitStatus::Exited(0) {
            return Some(HoldLook::Over);
        }
        self.again_at = Some(now + INTERVAL);
        let said = lines.last().map(|line| format!(": {line}")).unwrap_or_default();
        Some(HoldLook::NotYet(format!("{status}{said}")))
    }

    /// When to call [`HoldCondition::tick`].
    pub fn deadline(&self) -> Option<Duration> {
        self.again_at
    }

    /// Looks again if it is time.
    pub fn tick(&mut self, now: Duration, origin: &LaunchContext) -> HoldEvent {
        if self.again_at.is_some_and(|at| at <= now) { self.start(now, origin) } else { HoldEvent::Runs }
    }

    /// The command, while it runs.
    pub fn pid(&self) -> Option<Pid> {
        self.running.as_ref().map(Running::pid)
    }

    /// What to poll for output.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.running.as_ref()?.fd()
    }

    /// Keeps the command's output flowing; what it says is of no interest before it ends.
    pub fn read(&mut self) {
        if let Some(running) = &mut self.running {
            running.lines();
        }
    }

    /// Ends the looking, and the command with its tree.
    pub fn end(&mut self) {
        self.again_at = None;
        if let Some(running) = self.running.take() {
            running.kill_tree();
        }
    }
}

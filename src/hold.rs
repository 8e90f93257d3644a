//! `--hold URL|COMMAND`: looks again and again whether the stop signal may go out. A URL is polled by the HTTP thread; a
//! command is run here, again when it has failed, until it exits 0. The hold's own deadline is the lifecycle's.

use crate::command::{Origin, Running};
use crate::config;
use crate::secret::{CommandLine, Url};
use crate::status::ExitStatus;
use std::os::fd::RawFd;
use std::time::Duration;

/// From the end of one look to the next.
pub const INTERVAL: Duration = Duration::from_millis(250);
/// For one GET of a hold URL.
pub const URL_TIMEOUT: Duration = Duration::from_secs(2);

/// What the hold wants done or has found.
#[derive(Debug, PartialEq)]
pub enum Begun {
    /// The URL is to be polled.
    Poll(Url),
    /// The command runs; nothing to do.
    Runs,
    /// It could not be started, and will be tried again.
    Failed(String),
}

/// The looking, while it goes on.
#[derive(Debug, Default)]
pub struct Hold {
    command: CommandLine,
    running: Option<Running>,
    again_at: Option<Duration>,
}

impl Hold {
    /// Begins to look.
    pub fn begin(&mut self, now: Duration, what: &config::Hold, origin: &Origin) -> Begun {
        match what {
            // For requests in flight there is a thread that looks.
            config::Hold::Idle | config::Hold::Quiet | config::Hold::Never => Begun::Runs,
            config::Hold::Url(url) => Begun::Poll(url.clone()),
            config::Hold::Command(argv) => {
                self.command.clone_from(argv);
                self.start(now, origin)
            }
        }
    }

    fn start(&mut self, now: Duration, origin: &Origin) -> Begun {
        self.again_at = None;
        let env = [("GRACEFUL_PHASE", "hold".to_owned())];
        match Running::start(&self.command, &env, origin) {
            Ok(running) => {
                self.running = Some(running);
                Begun::Runs
            }
            Err(error) => {
                self.again_at = Some(now + INTERVAL);
                Begun::Failed(error.to_string())
            }
        }
    }

    /// A child ended. `None`: it was not the command. `Some(None)`: the command says that the hold is over.
    /// `Some(Some(why))`: not yet.
    pub fn exited(&mut self, now: Duration, pid: i32, status: ExitStatus) -> Option<Option<String>> {
        let running = self.running.take_if(|running| running.pid() == pid)?;
        let lines = running.finish();
        if status == ExitStatus::Exited(0) {
            return Some(None);
        }
        self.again_at = Some(now + INTERVAL);
        let said = lines.last().map(|line| format!(": {line}")).unwrap_or_default();
        Some(Some(format!("{status}{said}")))
    }

    /// When to call [`Hold::tick`].
    pub fn deadline(&self) -> Option<Duration> {
        self.again_at
    }

    /// Looks again if it is time.
    pub fn tick(&mut self, now: Duration, origin: &Origin) -> Begun {
        if self.again_at.is_some_and(|at| at <= now) { self.start(now, origin) } else { Begun::Runs }
    }

    /// The command, while it runs.
    pub fn pid(&self) -> Option<i32> {
        self.running.as_ref().map(Running::pid)
    }

    /// What to poll for output.
    pub fn fd(&self) -> Option<RawFd> {
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

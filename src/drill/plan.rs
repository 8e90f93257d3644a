//! What a drill is to do, validated.

use super::baseline::Limits;
use crate::demo::Fault;
use crate::secret::Url;
use crate::signal::Signal;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// One drill, or several of the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What is stopped, and how.
    pub subject: Subject,
    /// What is asked.
    pub targets: Targets,
    /// Requests a second, of new and kept connections together.
    pub rate: u32,
    /// Who asks.
    pub mix: Mix,
    /// Load before the stop.
    pub before: Duration,
    /// The load balancer goes on sending for so long after the stop.
    pub lb_lag: Duration,
    /// Of a stop command: after its end. The service is to stay up all the time.
    pub rolling: bool,
    /// For one request.
    pub timeout: Duration,
    /// Until the first answer of every target.
    pub startup_timeout: Duration,
    /// From the stop to SIGKILL where the drill itself plays the orchestrator, and until which a stop must be over.
    pub grace_period: Duration,
    /// A certificate that nobody vouches for is accepted.
    pub insecure: bool,
    /// The endpoint whose failure takes the app out of the load balancer.
    pub ready_url: Option<Url>,
    /// The same, where graceful is in charge and answers for the app.
    pub readyz: Option<Url>,
    /// Checks that may fail, by name.
    pub expected: BTreeSet<String>,
    /// The exit statuses that are right.
    pub exit_status: BTreeSet<u8>,
    /// So many drills; the worst counts.
    pub repeat: u32,
    /// Find the smallest pre-stop delay that drops nothing.
    pub tune: bool,
    /// What to compare with, and the limits.
    pub baseline: Option<PathBuf>,
    /// Limits of error rate and latency.
    pub limits: Limits,
    /// Where to write what.
    pub outputs: Vec<Output>,
    /// The app's own output is shown as it comes.
    pub show_output: bool,
}

impl Plan {
    /// The readiness endpoint that the load balancer looks at.
    pub(super) fn ready_url(&self, way: Way) -> Option<&Url> {
        match way {
            Way::Bare => self.ready_url.as_ref(),
            Way::Supervised | Way::Both => self.readyz.as_ref().or(self.ready_url.as_ref()),
        }
    }
}

/// What is stopped.
#[derive(Clone, Debug, PartialEq)]
pub enum Subject {
    /// A command of which graceful is in charge, with these flags of `graceful run`, or nobody is.
    Own {
        /// The app's argv.
        command: Vec<OsString>,
        /// How it is run.
        way: Way,
        /// Flags for `graceful run`.
        flags: Vec<OsString>,
        /// What it gets when it is told to stop.
        signal: Signal,
        /// It is the built-in app, with this fault or none.
        demo: Option<Option<Fault>>,
    },
    /// A process of this machine.
    Pid {
        /// Which.
        pid: i32,
        /// What it gets.
        signal: Signal,
    },
    /// Whatever this shell command does.
    Command(String),
    /// Nothing: load alone, for a comparison with a baseline.
    Nothing,
}

/// Who is in charge of the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `graceful run`.
    Supervised,
    /// Nobody.
    Bare,
    /// One drill each.
    Both,
}

/// What is asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Targets {
    /// By turns. Empty: the root of what the app listens on.
    pub requests: Vec<Target>,
    /// A request that takes its time.
    pub slow: Option<Target>,
    /// An answer that goes on and on.
    pub stream: Option<Target>,
}

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// GET, POST and so on.
    pub method: String,
    /// http or https, with a host.
    pub url: Url,
    /// Sent with a Content-Length.
    pub body: Option<String>,
}

/// The five kinds of client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    /// Share of the rate: a connection for each request.
    pub new: u32,
    /// Share of the rate: kept connections.
    pub hot: u32,
    /// Clients whose kept connection wakes once, after the stop.
    pub idle: u32,
    /// Clients with one slow request after the other.
    pub slow: u32,
    /// Clients with an open stream.
    pub stream: u32,
}

impl Default for Mix {
    fn default() -> Mix {
        Mix { new: 1, hot: 1, idle: 5, slow: 3, stream: 1 }
    }
}

/// A file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Everything, for machines.
    Json(PathBuf),
    /// The checks as test cases.
    Junit(PathBuf),
    /// One page with the timeline drawn.
    Html(PathBuf),
}

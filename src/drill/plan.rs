//! What a drill is to do, validated.

use super::baseline::CanaryLimits;
use super::evidence::CheckName;
use super::header::Header;
use crate::demo::Fault;
use crate::secret::{Hidden, Url};
use crate::signal::Signal;
use crate::timeline::LogLevel;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// One drill, or several of the same.
#[derive(Clone, Debug, PartialEq)]
pub struct DrillPlan {
    /// What is stopped, and how.
    pub subject: Subject,
    /// What is asked.
    pub targets: Targets,
    /// Sent with every request of the load.
    pub headers: Vec<Header>,
    /// Requests a second, of new and kept connections together.
    pub rate: u32,
    /// How many clients of each kind ask.
    pub mix: Mix,
    /// How long the load runs before the stop.
    pub before: Duration,
    /// How long the load balancer goes on sending after the stop.
    pub lb_lag: Duration,
    /// Whether a stop command restarts one instance after another: the service is to stay up all the time, and the lag
    /// follows the command's end.
    pub rolling: bool,
    /// So many reloads in a row instead of a stop.
    pub reloads: Option<u32>,
    /// How long one request may take.
    pub timeout: Duration,
    /// How long every target may take until its first answer.
    pub startup_timeout: Duration,
    /// Whether somebody has given that: the app may take that long.
    pub waits: bool,
    /// From the stop to SIGKILL where the drill itself plays the orchestrator, and until which a stop must be over.
    pub grace_period: Duration,
    /// Whether somebody has given that, rather than the default.
    pub grace_is_given: bool,
    /// Whether TLS certificates are not verified.
    pub insecure: bool,
    /// The endpoint whose failure takes the app out of the load balancer.
    pub ready_url: Option<Url>,
    /// The same, where graceful is in charge and answers for the app.
    pub readyz: Option<Url>,
    /// Checks that may fail, by name.
    pub expected: BTreeSet<CheckName>,
    /// Failures before the stop that are tolerated.
    pub tolerate: Tolerance,
    /// The exit statuses that count as clean.
    pub exit_status: BTreeSet<u8>,
    /// Number of drills; the worst counts.
    pub repeat: u32,
    /// Whether to find the smallest pre-stop delay that drops nothing.
    pub tune: bool,
    /// The document of an earlier drill to compare with.
    pub baseline: Option<PathBuf>,
    /// Limits of error rate and latency.
    pub limits: CanaryLimits,
    /// The files to write.
    pub outputs: Vec<Output>,
    /// Whether the app's own output is shown as it comes.
    pub show_output: bool,
    /// How much is said.
    pub verbosity: Verbosity,
    /// `--log-level` and `--log-format`, which COMMAND's graceful gets, too.
    pub details: Details,
    /// The commands of a drill with jobs instead of requests.
    pub jobs: Option<JobCommands>,
}

impl DrillPlan {
    /// How many drills there are going to be, if that is known.
    pub(super) fn rounds(&self) -> Option<u32> {
        let ways = match self.subject {
            Subject::Own { way: Supervision::Both, .. } => 2,
            _ => 1,
        };
        (!self.tune).then(|| self.repeat.max(1).saturating_mul(ways))
    }

    /// The same drill as a command sees it that reloads a service which is to stay up.
    pub(super) fn of_reload(&self) -> DrillPlan {
        DrillPlan { subject: Subject::Command(RELOAD.to_owned()), rolling: true, ..self.clone() }
    }

    /// The readiness endpoint that the load balancer looks at.
    pub(super) fn ready_url(&self, way: Supervision) -> Option<&Url> {
        match way {
            Supervision::Bare => self.ready_url.as_ref(),
            Supervision::Supervised | Supervision::Both => self.readyz.as_ref().or(self.ready_url.as_ref()),
        }
    }
}

/// The jobs of a worker: shell commands of the user that know its queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobCommands {
    /// Submits as many jobs as replace [`COUNT`] in it, or one where it has none, and prints their ids, one per line.
    pub submit: String,
    /// Prints the ids of all jobs that are done.
    pub done: String,
    /// Prints the ids of all jobs that are in the queue, or taken and not acknowledged.
    pub queued: Option<String>,
    /// How long after the stop the drill waits for what is missing.
    pub settle: Duration,
}

/// What a drill of a reload runs.
pub(super) const RELOAD: &str = "graceful reload";

/// What stands for the number of jobs in `--submit`.
pub const COUNT: &str = "{n}";

/// What is stopped.
#[derive(Clone, Debug, PartialEq)]
pub enum Subject {
    /// A command that graceful is in charge of, with these flags of `graceful run`, or nobody.
    Own {
        /// The app's argv.
        command: Vec<OsString>,
        /// How it is run.
        way: Supervision,
        /// Flags for `graceful run`.
        flags: Vec<OsString>,
        /// What it gets when it is told to stop.
        signal: Signal,
        /// The built-in app, if it is that.
        demo: Option<DemoApp>,
    },
    /// A process of this machine.
    Pid {
        /// Its pid.
        pid: i32,
        /// What it gets when it is told to stop.
        signal: Signal,
    },
    /// Whatever this shell command does.
    Command(String),
    /// Nothing: load alone, for a comparison with a baseline.
    Nothing,
}

/// The built-in app in place of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DemoApp {
    /// It stops well.
    Sound,
    /// It stops badly in this way.
    Faulty(Fault),
}

impl DemoApp {
    /// Its fault, if it has one.
    pub fn fault(self) -> Option<Fault> {
        match self {
            DemoApp::Sound => None,
            DemoApp::Faulty(fault) => Some(fault),
        }
    }
}

/// Who is in charge of the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Supervision {
    /// `graceful run`.
    Supervised,
    /// Nobody.
    Bare,
    /// One drill of each.
    Both,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Targets<P = Place> {
    /// Asked in turn. Empty: the root of what the app listens on.
    pub requests: Vec<Target<P>>,
    /// A request that takes its time.
    pub slow: Option<Target<P>>,
    /// An answer that goes on and on.
    pub stream: Option<Target<P>>,
}

impl<P> Default for Targets<P> {
    fn default() -> Targets<P> {
        Targets { requests: Vec::new(), slow: None, stream: None }
    }
}

impl<P> Targets<P> {
    /// All targets.
    pub fn all(&self) -> impl Iterator<Item = &Target<P>> {
        self.requests.iter().chain(&self.slow).chain(&self.stream)
    }

    /// The same targets, asked elsewhere.
    ///
    /// # Errors
    /// The first error of `place`.
    pub fn placed<Q, E>(self, place: impl Fn(P) -> Result<Q, E>) -> Result<Targets<Q>, E> {
        let move_one =
            |target: Target<P>| Ok(Target { method: target.method, place: place(target.place)?, body: target.body });
        Ok(Targets {
            requests: self.requests.into_iter().map(move_one).collect::<Result<_, E>>()?,
            slow: self.slow.map(move_one).transpose()?,
            stream: self.stream.map(move_one).transpose()?,
        })
    }
}

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub struct Target<P = Place> {
    /// GET, POST and so on.
    pub method: String,
    /// Where it is sent.
    pub place: P,
    /// Sent with a Content-Length.
    pub body: Option<String>,
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// http or https with a host, or `unix:SOCKET:PATH`.
    Url(Url),
    /// A path, with a query perhaps, where the app turns out to listen.
    Path(Hidden),
}

/// How many requests may fail before the stop without making the drill worthless.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tolerance {
    /// A number of requests.
    Count(usize),
    /// This share of those that were over before the stop, from 0 to 1.
    Share(f64),
}

impl Tolerance {
    /// Whether it covers this many failures among this many requests.
    pub fn covers(self, failed: usize, all: usize) -> bool {
        match self {
            Tolerance::Count(most) => failed <= most,
            Tolerance::Share(share) => failed as f64 <= share * all as f64,
        }
    }
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
    /// Clients with one slow request after another.
    pub slow: u32,
    /// Clients with an open stream.
    pub stream: u32,
}

impl Default for Mix {
    fn default() -> Mix {
        Mix { new: 1, hot: 1, idle: 5, slow: 3, stream: 1 }
    }
}

/// How much of the result goes to the terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verbosity {
    /// The verdict, in one line.
    Quiet,
    /// The verdict, each root cause with its fix, and the chart.
    #[default]
    Short,
    /// The timeline, every check and all counts besides.
    Full,
}

/// A file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// What is written.
    pub kind: OutputKind,
    /// Where it goes.
    pub path: PathBuf,
}

/// What the drill itself says about its decisions, on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Details {
    /// The level; above debug, nothing is said.
    pub level: LogLevel,
    /// Whether it is one JSON document per line.
    pub json: bool,
}

/// What can be written about a drill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputKind {
    /// Everything, for machines.
    Json,
    /// The checks as test cases.
    Junit,
    /// One page with the timeline drawn.
    Html,
}

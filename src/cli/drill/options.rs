//! The options of `graceful drill`: each is a field here, and nowhere else.

use super::values::{
    HeaderValues, HeadersParser, check_name, check_names, count, mix, output, pid, place, ratio, request, share,
    shell_command, stop_command, tolerance,
};
use crate::cli::arguments::value;
use crate::cli::describe::RunFlags;
use crate::config::values;
use crate::demo::Fault;
use crate::drill::evidence::CheckName;
use crate::drill::plan::{Mix, Output, Place, Target, Tolerance};
use crate::signal::Signal;
use clap::{ArgGroup, Args, Parser, ValueHint};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

const USAGE: &str = "\
graceful drill [OPTIONS] [OPTIONS OF run] -- COMMAND [ARGS...]
       graceful drill [OPTIONS] --submit COMMAND --done COMMAND -- COMMAND [ARGS...]
       graceful drill [OPTIONS] --demo[=FAULT]
       graceful drill [OPTIONS] --stop-command COMMAND --url URL
       graceful drill [OPTIONS] --pid PID --url URL
       graceful drill [OPTIONS] --no-stop --url URL --baseline FILE";

const AFTER_HELP: &str = "\
COMMAND runs under graceful with every option of run that is given here, as --pre-stop-delay 5s.
With --probe-listen the load balancer's view of readiness is graceful's /readyz, else --ready-url.
With --log-level debug the drill, too, tells on stderr what it finds and why it decides as it does.

Exit status:
  0     passed
  1     failed: at least one check did
  2     wrong usage
  3     inconclusive: nothing could be told; the output says why
  125   graceful's own failure
  128+n the drill was interrupted by signal n";

/// The group of the options that are about requests, and mean nothing to a drill of jobs.
pub(super) const REQUESTS: &str = "requests";

/// Stop COMMAND under load and report what was dropped, why, and what to change
#[derive(Parser)]
#[command(name = "drill", override_usage = USAGE, after_help = AFTER_HELP)]
#[command(group = ArgGroup::new(REQUESTS).multiple(true))]
pub(in crate::cli) struct DrillOptions {
    #[command(flatten)]
    pub(super) stop: StopOptions,
    #[command(flatten)]
    pub(super) load: LoadOptions,
    #[command(flatten)]
    pub(super) jobs: JobOptions,
    #[command(flatten)]
    pub(super) verdict: VerdictOptions,
    #[command(flatten)]
    pub(super) output: OutputOptions,
    #[command(flatten)]
    pub(super) run: RunFlags,
    /// The app and its arguments
    #[arg(last = true, value_name = "COMMAND", hide_short_help = true, value_hint = ValueHint::CommandWithArguments)]
    pub(super) command: Vec<OsString>,
}

#[derive(Args)]
#[command(next_help_heading = "What is stopped")]
pub(super) struct StopOptions {
    /// Run COMMAND without graceful
    #[arg(long)]
    pub(super) bare: bool,
    /// Drill COMMAND twice, bare and under graceful; the verdict is that of the second
    #[arg(long)]
    pub(super) compare: bool,
    /// Drill the built-in app instead of a COMMAND; with =FAULT, one that has it
    #[arg(long, value_name = "FAULT", num_args = 0..=1, require_equals = true, group = REQUESTS)]
    // The form in which clap gives an option whose value may be left out.
    pub(super) demo: Option<Option<Fault>>,
    /// Stop this process; needs --url or --submit
    #[arg(long, value_name = "PID", value_parser = value(pid))]
    pub(super) pid: Option<i32>,
    /// Stop whatever this shell command stops, as 'docker stop web'; needs --url or --submit
    #[arg(long, value_name = "COMMAND", value_parser = value(stop_command))]
    pub(super) stop_command: Option<String>,
    /// Reload COMMAND instead of stopping it, as often in a row as --repeat says; it is given a socket (--listen), and
    /// must stay up
    #[arg(long, group = REQUESTS)]
    pub(super) reload: bool,
    /// The stop command restarts instances in turn: send until it has ended, and --lb-lag longer
    #[arg(long, group = REQUESTS)]
    pub(super) rolling: bool,
    /// Stop nothing: load alone, to compare with a baseline; needs --url
    #[arg(long, group = REQUESTS)]
    pub(super) no_stop: bool,
    /// The signal that COMMAND or PID gets
    #[arg(long, value_name = "SIG", value_parser = value(values::signal), default_value = "TERM")]
    pub(super) signal: Signal,
}

#[derive(Args)]
#[command(next_help_heading = "Load")]
pub(super) struct LoadOptions {
    /// What is asked, with GET: by http or https, or unix:SOCKET:PATH. Default: the root of the port, or else the Unix
    /// socket, that COMMAND listens on
    #[arg(long, value_name = "URL", value_parser = value(place), group = REQUESTS)]
    pub(super) url: Option<Place>,
    /// What is asked, as 'POST http://127.0.0.1:8080/orders {"id":1}', or as '/orders' of --url or of what COMMAND
    /// listens on; more than one take turns
    #[arg(long, value_name = "REQUEST", value_parser = value(request), group = REQUESTS)]
    pub(super) target: Vec<Target>,
    /// Send 'Name: value' with every request of the load, Host included; 'Name:' leaves out one of the drill's own;
    /// @FILE has one a line
    #[arg(short = 'H', long, value_name = "HEADER", value_parser = HeadersParser, group = REQUESTS)]
    pub(super) header: Vec<HeaderValues>,
    /// A request that takes a second or so: some are under way at any time
    #[arg(long, value_name = "REQUEST", value_parser = value(request), group = REQUESTS)]
    pub(super) slow_target: Option<Target>,
    /// An answer that goes on and on, as server-sent events
    #[arg(long, value_name = "REQUEST", value_parser = value(request), group = REQUESTS)]
    pub(super) stream_target: Option<Target>,
    /// Requests a second, whatever the server does. Default: 100; of jobs, 5
    #[arg(long, value_name = "N", value_parser = value(count))]
    pub(super) rate: Option<u32>,
    /// The clients: shares of the rate for new and hot (kept) connections, numbers of idle, slow and stream clients.
    /// Default: new=1,hot=1,idle=5,slow=3,stream=1
    #[arg(long, value_name = "LIST", value_parser = value(mix), group = REQUESTS)]
    pub(super) mix: Option<Mix>,
    /// How long to send load before the stop
    #[arg(long, value_name = "DUR", value_parser = value(values::positive_duration), default_value = "2s")]
    pub(super) before: Duration,
    /// How long the load balancer goes on sending after the stop
    #[arg(long, value_name = "DUR", value_parser = value(values::duration), default_value = "2s")]
    pub(super) lb_lag: Duration,
    /// For one request; six times as long for slow ones. Default: 5s; for one run of --submit, --done or --queued, 30s
    #[arg(long, value_name = "DUR", value_parser = value(values::positive_duration))]
    pub(super) timeout: Option<Duration>,
    /// For the first answer of every target, or the first job. Default: 30s, 5s without COMMAND
    #[arg(long, value_name = "DUR", value_parser = value(values::positive_duration))]
    pub(super) wait: Option<Duration>,
    /// Do not verify TLS certificates
    #[arg(long, group = REQUESTS)]
    pub(super) insecure: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Jobs of a worker")]
pub(super) struct JobOptions {
    /// Submit N jobs and print their ids, one a line: a shell command, in which N takes the place of n in braces. The
    /// drill of a worker, with jobs instead of requests; needs --done
    #[arg(long, value_name = "COMMAND", value_parser = value(shell_command))]
    pub(super) submit: Option<String>,
    /// Print the ids of all jobs that are done, one a line
    #[arg(long, value_name = "COMMAND", value_parser = value(shell_command))]
    pub(super) done: Option<String>,
    /// Print the ids of all jobs that are in the queue, or taken and not acknowledged. Default: what is not done is
    /// left to COMMAND, started once more
    #[arg(long, value_name = "COMMAND", value_parser = value(shell_command))]
    pub(super) queued: Option<String>,
    /// How long to wait, after the stop, for what is neither done nor queued. Default: 5s with COMMAND and --queued,
    /// else the grace period
    #[arg(long, value_name = "DUR", value_parser = value(values::duration))]
    pub(super) settle: Option<Duration>,
}

#[derive(Args)]
#[command(next_help_heading = "Verdict")]
pub(super) struct VerdictOptions {
    /// Checks that may fail
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = value(check_name).or_one_of(check_names))]
    pub(super) expect: Vec<CheckName>,
    /// Number or share of requests that may fail before the stop, as 3 or 1%; those after it are judged
    #[arg(long, value_name = "N|SHARE", value_parser = value(tolerance), default_value = "0", group = REQUESTS)]
    pub(super) tolerate: Tolerance,
    /// Number of drills; the worst counts
    #[arg(long, value_name = "N", value_parser = value(count), default_value = "1")]
    pub(super) repeat: u32,
    /// Find the smallest --pre-stop-delay that drops nothing, to 100 ms
    #[arg(long, group = REQUESTS)]
    pub(super) tune: bool,
    /// Compare with the JSON of an earlier drill
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, group = REQUESTS)]
    pub(super) baseline: Option<PathBuf>,
    /// The share of requests that may fail, as 1% or 0.01. Default: that of the baseline
    #[arg(long, value_name = "SHARE", value_parser = value(share), group = REQUESTS)]
    pub(super) max_error_rate: Option<f64>,
    /// The 99th percentile of the latency. Default: none
    #[arg(long, value_name = "DUR", value_parser = value(values::positive_duration), group = REQUESTS)]
    pub(super) max_p99: Option<Duration>,
    /// The same, as a multiple of the baseline's. Default: none
    #[arg(long, value_name = "N", value_parser = value(ratio), group = REQUESTS)]
    pub(super) max_p99_ratio: Option<f64>,
    /// A faster p99 counts as this for --max-p99-ratio
    #[arg(long, value_name = "DUR", value_parser = value(values::duration), default_value = "5ms", group = REQUESTS)]
    pub(super) p99_floor: Duration,
    /// With fewer requests, a comparison is inconclusive
    #[arg(long, value_name = "N", value_parser = value(count), default_value = "100", group = REQUESTS)]
    pub(super) min_requests: u32,
}

#[derive(Args)]
#[command(next_help_heading = "Output")]
pub(super) struct OutputOptions {
    /// Write json=PATH, junit=PATH or html=PATH, one page with the timeline drawn
    #[arg(long, value_name = "KIND=PATH", value_parser = value(output))]
    pub(super) output: Vec<Output>,
    /// Show the timeline, every check and all counts besides the verdict and its causes
    #[arg(short, long)]
    pub(super) verbose: bool,
    /// Show the verdict alone, in one line, and nothing while the drill runs
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// Show what COMMAND writes as it comes, on stderr
    #[arg(long)]
    pub(super) show_output: bool,
}

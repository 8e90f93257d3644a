//! `graceful drill`: from its options, and those of `run`, which it hands on, to the plan of a drill.

mod options;
mod values;

pub(in crate::cli) use options::DrillOptions;

use super::arguments::{read_grouped, shown};
use super::describe::RunFlags;
use super::{EarlyExit, Invocation};
use crate::config::options::{
    CONFIG, CONTROL, GRACE_PERIOD, LISTEN, LOG_FORMAT, LOG_LEVEL, OptionSpec, PRE_STOP_DELAY, PROBE_LISTEN, PROFILE,
    READY_URL, RELOAD_ON, REPORT, SUCCESS_EXIT_STATUS, log_format, log_level,
};
use crate::config::{
    self, Config, ConfigError, Environment, Listen, LogFormat, LogLevel, quoted, values as config_values,
};
use crate::demo::{self, Fault};
use crate::drill::baseline::CanaryLimits;
use crate::drill::plan::{
    DemoApp, Details, DrillPlan, JobCommands, Mix, Output, Place, Subject, Supervision, Target, Targets, Verbosity,
};
use crate::reason::Reason;
use crate::secret::Url;
use options::REQUESTS;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;
use values::get;

/// The default of `--settle` with COMMAND and `--queued`: nobody is left to do a job, and what is missing can return
/// only by a visibility timeout.
const SETTLE: Duration = Duration::from_secs(5);

/// Those of `run`'s flags that mean something to a drill where graceful does not run: how long the app has, where it is
/// asked whether it is ready, which exit statuses are right, and what the drill itself logs of its decisions.
static FOR_BARE: [&OptionSpec; 7] =
    [&CONFIG, &GRACE_PERIOD, &LOG_FORMAT, &LOG_LEVEL, &PROFILE, &READY_URL, &SUCCESS_EXIT_STATUS];

/// The same where the drill starts nothing.
static WITHOUT_COMMAND: [&OptionSpec; 4] = [&GRACE_PERIOD, &LOG_FORMAT, &LOG_LEVEL, &READY_URL];

/// `graceful drill [OPTIONS] [-- COMMAND [ARGS...]]`
pub(super) fn parse(args: &[OsString]) -> Result<Invocation, EarlyExit> {
    let (options, about_requests) = read_grouped(args, REQUESTS)?;
    let mut planner = Planner { options, problems: Vec::new() };
    match planner.plan(&about_requests) {
        Some(plan) if planner.problems.is_empty() => Ok(Invocation::Drill(Box::new(plan))),
        _ => Err(EarlyExit::Problems(planner.problems)),
    }
}

/// Looks at the options together.
struct Planner {
    options: DrillOptions,
    problems: Vec<ConfigError>,
}

/// What `graceful run` is going to make of its flags.
struct HandedOn {
    flags: Vec<OsString>,
    config: Option<Config>,
}

impl Planner {
    fn plan(&mut self, about_requests: &BTreeSet<String>) -> Option<DrillPlan> {
        let mut subject = self.subject()?;
        let (mut targets, urls) = self.targets();
        let is_own = matches!(subject, Subject::Own { .. });
        let with_jobs = self.options.jobs.submit.is_some();
        if !is_own && urls == 0 && !with_jobs {
            self.complain(
                "no --url",
                "needed without COMMAND; add --url URL, as http://127.0.0.1:8080/, or for a worker --submit",
            );
        }
        if !is_own && targets.all().any(|target| matches!(target.place, Place::Path(_))) {
            self.complain(
                "a target that is a path alone",
                "needs a COMMAND, whose port the drill finds, or a whole --url, as --url http://127.0.0.1:8080/",
            );
        }
        let mut ready_url = None;
        let mut readyz = None;
        let mut grace_period = Duration::from_secs(30);
        let mut grace_is_given = false;
        let mut exit_status = BTreeSet::from([0]);
        let mut default_mix = Mix::default();
        let mut details = Details { level: LogLevel::Info, json: false };
        if let Subject::Own { command, flags, way, demo, .. } = &mut subject {
            let mut own_port = None;
            if let Some(app) = demo {
                let fault = app.fault();
                let port = free_port();
                own_port = Some(port);
                *command = demo_command(port, fault);
                if urls == 0 {
                    targets = demo_targets(port, fault)?;
                    // It serves one at a time: what is slow is slow for everybody, and a stream would be all that it
                    // does.
                    if fault == Some(Fault::LosesBacklog) {
                        default_mix = Mix { idle: 0, slow: 1, stream: 0, ..default_mix };
                    }
                }
            }
            let run = self.handed_on(command, own_port.is_some() && *way != Supervision::Bare);
            *flags = run.flags;
            if let Some(config) = &run.config {
                grace_period = config.budget.grace_period;
                ready_url = config.ready.as_ref().map(|ready| ready.url.clone());
                readyz = config.probe_listen.as_ref().and_then(readyz_of);
                details = Details { level: config.log_level, json: config.log_format == LogFormat::Json };
                exit_status.extend(config.success.codes.iter().copied());
                exit_status.extend(config.success.signals.iter().map(|signal| 128 + signal.number() as u8));
            }
            if ready_url.is_none() {
                ready_url = own_port.and_then(|port| Url::parse(&format!("http://127.0.0.1:{port}/ready")).ok());
            }
        } else {
            let given = self.without_command();
            grace_is_given = given.is_some();
            grace_period = given.unwrap_or(grace_period);
            ready_url = self.run_value(&READY_URL, config::ready_url);
            details = self.details();
        }
        if self.options.stop.rolling && !matches!(subject, Subject::Command(_)) {
            self.complain("--rolling", "has no effect without --stop-command; add --stop-command COMMAND");
        }
        self.check_reload(&subject);
        let default_wait = Duration::from_secs(if is_own || with_jobs { 30 } else { 5 });
        let jobs = self.jobs(is_own, grace_period, about_requests);
        let (default_rate, default_timeout) = if with_jobs { (5, 30) } else { (100, 5) };
        let outputs = self.outputs();
        let verbosity = self.verbosity();
        let DrillOptions { stop, load, verdict, output, .. } = &self.options;
        Some(DrillPlan {
            subject,
            targets,
            rate: load.rate.unwrap_or(default_rate),
            mix: load.mix.unwrap_or(default_mix),
            before: load.before,
            lb_lag: load.lb_lag,
            rolling: stop.rolling,
            reloads: stop.reload.then_some(verdict.repeat),
            timeout: load.timeout.unwrap_or(Duration::from_secs(default_timeout)),
            headers: load.header.iter().flat_map(|headers| headers.0.iter().cloned()).collect(),
            startup_timeout: load.wait.unwrap_or(default_wait),
            waits: load.wait.is_some(),
            grace_period,
            grace_is_given,
            insecure: load.insecure,
            ready_url,
            readyz,
            expected: verdict.expect.iter().copied().collect(),
            tolerate: verdict.tolerate,
            exit_status,
            repeat: if stop.reload { 1 } else { verdict.repeat },
            tune: verdict.tune,
            baseline: verdict.baseline.clone(),
            limits: CanaryLimits {
                max_error_rate: verdict.max_error_rate,
                max_p99_s: verdict.max_p99.map(|p99| p99.as_secs_f64()),
                max_p99_ratio: verdict.max_p99_ratio,
                p99_floor_s: verdict.p99_floor.as_secs_f64(),
                min_requests: verdict.min_requests.into(),
            },
            outputs,
            show_output: output.show_output,
            verbosity,
            details,
            jobs,
        })
    }

    /// `--submit` and what belongs to it.
    fn jobs(&mut self, is_own: bool, grace_period: Duration, about_requests: &BTreeSet<String>) -> Option<JobCommands> {
        let jobs = &self.options.jobs;
        let (done, queued) = (jobs.done.clone(), jobs.queued.clone());
        let Some(submit) = jobs.submit.clone() else {
            let given =
                [("--done", done.is_some()), ("--queued", queued.is_some()), ("--settle", jobs.settle.is_some())];
            for (option, _) in given.into_iter().filter(|(_, is_given)| *is_given) {
                self.complain(option, "has no effect without --submit; add --submit COMMAND");
            }
            return None;
        };
        let settle = jobs.settle.unwrap_or(if is_own && queued.is_some() { SETTLE } else { grace_period });
        if done.is_none() {
            self.complain("--submit", "needs --done COMMAND, which prints the ids of the jobs that are done; add it");
        }
        for option in about_requests {
            self.complain(
                option.clone(),
                "is about requests, and cannot be used with --submit, which sends jobs in their place; use only one of \
                 them",
            );
        }
        Some(JobCommands { submit, done: done?, queued, settle })
    }

    fn outputs(&mut self) -> Vec<Output> {
        let outputs = self.options.output.output.clone();
        for (at, output) in outputs.iter().enumerate() {
            if outputs[..at].iter().any(|other| other.path == output.path) {
                let place = format!("--output {}", quoted(output.path.as_os_str()));
                self.complain(place, "is given for two outputs; expected a path for each");
            }
        }
        outputs
    }

    fn verbosity(&mut self) -> Verbosity {
        match (self.options.output.quiet, self.options.output.verbose) {
            (true, true) => {
                self.complain("--quiet and --verbose", "use only one of them");
                Verbosity::Short
            }
            (true, false) => Verbosity::Quiet,
            (false, true) => Verbosity::Full,
            (false, false) => Verbosity::Short,
        }
    }

    fn complain(&mut self, place: impl Into<String>, reason: impl Into<String>) {
        self.problems.push(ConfigError::new(place, reason));
    }

    /// What is stopped: exactly one thing.
    fn subject(&mut self) -> Option<Subject> {
        let stop = &self.options.stop;
        let command = self.options.command.clone();
        let given = [
            ("--demo", stop.demo.is_some()),
            ("--pid", stop.pid.is_some()),
            ("--stop-command", stop.stop_command.is_some()),
            ("--no-stop", stop.no_stop),
            ("-- COMMAND", !command.is_empty()),
        ];
        let names: Vec<&str> = given.into_iter().filter(|(_, is_given)| *is_given).map(|(name, _)| name).collect();
        match names.len() {
            0 => {
                let reason = "there is nothing to drill; expected one of -- COMMAND, --demo, --pid PID, --stop-command \
                              COMMAND or --no-stop";
                self.complain("drill", reason);
                return None;
            }
            1 => {}
            _ => {
                self.complain(names.join(" and "), "use only one of them");
                return None;
            }
        }
        let signal = stop.signal;
        let demo = stop.demo.map(|fault| fault.map_or(DemoApp::Sound, DemoApp::Faulty));
        let other = match (stop.pid, stop.stop_command.clone()) {
            (Some(pid), _) => Subject::Pid { pid, signal },
            (None, Some(command)) => Subject::Command(command),
            (None, None) => Subject::Nothing,
        };
        let way = self.supervision();
        if !command.is_empty() || demo.is_some() {
            return Some(Subject::Own { command, way, flags: Vec::new(), signal, demo });
        }
        let stop = &self.options.stop;
        let of_command = [("--bare", stop.bare), ("--compare", stop.compare), ("--tune", self.options.verdict.tune)];
        for (option, _) in of_command.into_iter().filter(|(_, is_given)| *is_given) {
            self.complain(option, "has no effect without a command; add -- COMMAND or --demo");
        }
        Some(other)
    }

    /// A reload is graceful's own, of a command that it has started.
    fn check_reload(&mut self, subject: &Subject) {
        let stop = &self.options.stop;
        if !stop.reload {
            return;
        }
        let others = [
            ("--bare", stop.bare),
            ("--compare", stop.compare),
            ("--tune", self.options.verdict.tune),
            ("--demo", stop.demo.is_some()),
        ];
        let others: Vec<&str> =
            others.into_iter().filter(|(_, is_given)| *is_given).map(|(option, _)| option).collect();
        for option in &others {
            self.complain(format!("--reload and {option}"), "cannot be used together; use only one of them");
        }
        if !matches!(subject, Subject::Own { .. }) {
            self.complain("--reload", "has no effect without a command; add -- COMMAND");
        }
        for option in [&CONTROL, &RELOAD_ON] {
            if self.options.run.0.iter().any(|(given, _)| *given == option) {
                let flag = option.flag();
                self.complain(
                    format!("--reload and {flag}"),
                    format!("the drill reloads by a socket of its own; leave out {flag}"),
                );
            }
        }
    }

    fn supervision(&mut self) -> Supervision {
        let stop = &self.options.stop;
        match (stop.bare, stop.compare, self.options.verdict.tune) {
            (true, true, _) => {
                self.complain("--bare and --compare", "use only one of them");
                Supervision::Both
            }
            (true, _, true) | (_, true, true) => {
                self.complain(
                    "--tune",
                    "finds graceful's own delay, and cannot be used with --bare or --compare; use only one of them",
                );
                Supervision::Supervised
            }
            (true, false, false) => Supervision::Bare,
            (false, true, false) => Supervision::Both,
            (false, false, _) => Supervision::Supervised,
        }
    }

    /// The targets, and how many were given. Paths are resolved against `--url`, if that is a whole URL.
    fn targets(&self) -> (Targets, usize) {
        let load = &self.options.load;
        let url = load.url.clone();
        let mut requests: Vec<Target> = url.clone().into_iter().map(get).collect();
        requests.extend(load.target.iter().cloned());
        let given = requests.len();
        let targets = Targets { requests, slow: load.slow_target.clone(), stream: load.stream_target.clone() };
        let Some(Place::Url(base)) = url else { return (targets, given) };
        let placed = targets.clone().placed(|place| match place {
            Place::Path(path) => base.with_target(&path).map(Place::Url),
            Place::Url(url) => Ok(Place::Url(url)),
        });
        (placed.unwrap_or(targets), given)
    }

    /// Flags of `run`, looked at now, so that what is wrong with them is a usage error.
    fn handed_on(&mut self, command: &[OsString], is_demo: bool) -> HandedOn {
        let mut run = RunFlags(self.options.run.0.clone());
        if run.last(&REPORT).is_some() {
            let reason = "a drill reads the report itself; --output json=PATH writes its result";
            self.complain(REPORT.flag(), reason);
        }
        if self.options.stop.bare {
            let lost = run.0.iter().filter(|(option, _)| !FOR_BARE.contains(option));
            for flag in lost.map(|(option, _)| option.flag()).collect::<BTreeSet<_>>() {
                self.complain(
                    format!("--bare and {flag}"),
                    "cannot be used together: without graceful nobody does that; use only one of them",
                );
            }
        }
        if self.options.verdict.tune && run.last(&PRE_STOP_DELAY).is_some() {
            let flag = PRE_STOP_DELAY.flag();
            self.complain(format!("--tune and {flag}"), format!("--tune finds the delay; leave out {flag}"));
        }
        if is_demo {
            let probes = free_port();
            for (option, value) in
                [(&PRE_STOP_DELAY, "2500ms".to_owned()), (&PROBE_LISTEN, format!("127.0.0.1:{probes}"))]
            {
                if run.last(option).is_none() {
                    run.0.push((option, value.into()));
                }
            }
        }
        if self.options.stop.reload && run.last(&LISTEN).is_none() {
            // The kernel chooses a port, and the app is found there.
            run.0.push((&LISTEN, "127.0.0.1:0".into()));
        }
        let config = config::load(run.settings(), command.to_vec(), &Environment::current());
        let config = config.map_err(|problems| self.problems.extend(problems)).ok();
        let flags = run.0.iter().map(|(option, value)| {
            let mut flag = OsString::from(format!("{}=", option.flag()));
            flag.push(value);
            flag
        });
        HandedOn { flags: flags.collect(), config }
    }

    /// What the drill itself logs, where no `run` has these options.
    fn details(&mut self) -> Details {
        let level = self.run_value(&LOG_LEVEL, log_level).unwrap_or(LogLevel::Info);
        Details { level, json: self.run_value(&LOG_FORMAT, log_format) == Some(LogFormat::Json) }
    }

    /// Some of `run`'s flags mean something without a command. Returns the grace period, if given.
    fn without_command(&mut self) -> Option<Duration> {
        let options: Vec<&OptionSpec> = self.options.run.0.iter().map(|(option, _)| *option).collect();
        for option in options.into_iter().filter(|option| !WITHOUT_COMMAND.contains(option)) {
            self.complain(option.flag(), "has no effect without a command; add -- COMMAND");
        }
        self.run_value(&GRACE_PERIOD, config_values::positive_duration)
    }

    /// The value of one of `run`'s flags.
    fn run_value<T>(&mut self, option: &OptionSpec, parse: impl Fn(&str) -> Result<T, Reason>) -> Option<T> {
        let value = self.options.run.last(option)?;
        let parsed = value.to_str().ok_or_else(|| "not UTF-8 text".into()).and_then(parse);
        let place = format!("{} {}", option.flag(), shown(value));
        parsed.map_err(|why| self.complain(place, why)).ok()
    }
}

/// Where graceful says whether the app is ready.
fn readyz_of(listen: &Listen) -> Option<Url> {
    let Listen::Tcp(address) = listen else { return None };
    let ip = if address.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { address.ip() };
    Url::parse(&format!("http://{}/readyz", SocketAddr::new(ip, address.port()))).ok()
}

fn demo_command(port: u16, fault: Option<Fault>) -> Vec<OsString> {
    let mut command: Vec<OsString> = demo::COMMAND.map(OsString::from).into();
    command.push(format!("127.0.0.1:{port}").into());
    command.extend(fault.map(|fault| OsString::from(format!("--fault={fault}"))));
    command
}

fn demo_targets(port: u16, fault: Option<Fault>) -> Option<Targets> {
    let target = |path: &str| Url::parse(&format!("http://127.0.0.1:{port}{path}")).ok().map(Place::Url).map(get);
    let slow = if fault == Some(Fault::LosesBacklog) { "/slow?ms=300" } else { "/slow" };
    Some(Targets { requests: vec![target("/")?], slow: target(slow), stream: target("/stream") })
}

/// A port that is free at the moment. (0 means that there is none; binding to it then says why.)
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).map_or(0, |address| address.port())
}

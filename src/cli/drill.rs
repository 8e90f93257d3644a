//! `graceful drill`: its own options, and those of `run`, which it hands on.

use super::tokens::{Tokens, tokenise};
use super::{Command, Quit, help, text_for};
use crate::config::suggest::did_you_mean;
use crate::config::{self, Config, Listen, Problem, Settings, Surroundings, quoted, values};
use crate::demo::Fault;
use crate::drill::plan::{Mix, Output, Plan, Subject, Target, Targets, Way};
use crate::drill::{CHECKS, baseline::Limits};
use crate::files::{self, Purpose};
use crate::secret::{Url, hidden};
use crate::signal::Signal;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One option of `drill`.
pub(super) struct Row {
    pub(super) name: &'static str,
    /// The value's name; none for a switch.
    pub(super) value: Option<&'static str>,
    /// The value may be left out; then this is meant.
    pub(super) missing: Option<&'static str>,
    pub(super) repeats: bool,
    pub(super) heading: &'static str,
    pub(super) help: &'static str,
}

const fn row(name: &'static str, value: &'static str, heading: &'static str, help: &'static str) -> Row {
    Row { name, value: Some(value), missing: None, repeats: false, heading, help }
}

const fn switch(name: &'static str, heading: &'static str, help: &'static str) -> Row {
    Row { name, value: None, missing: None, repeats: false, heading, help }
}

const STOP: &str = "What is stopped";
const LOAD: &str = "Load";
const VERDICT: &str = "Verdict";

/// In the order of the help.
pub(super) static ROWS: &[Row] = &[
    switch("bare", STOP, "Run COMMAND without graceful"),
    switch("compare", STOP, "Drill COMMAND twice, bare and under graceful; the verdict is that of the second"),
    Row {
        name: "demo",
        value: Some("FAULT"),
        missing: Some(""),
        repeats: false,
        heading: STOP,
        help: "Drill the built-in app instead of a COMMAND; with =FAULT, one that has it: no-handler, exits-at-once, \
               keeps-ready, hangs, loses-backlog, exits-143 or leaves-child",
    },
    row("pid", "PID", STOP, "Stop this process; needs --url"),
    row("stop-command", "COMMAND", STOP, "Stop whatever this shell command stops, as 'docker stop web'; needs --url"),
    switch(
        "rolling",
        STOP,
        "The stop command restarts instances in turn: send until it has ended, and --lb-lag longer",
    ),
    switch("no-stop", STOP, "Stop nothing: load alone, to compare with a baseline; needs --url"),
    row("signal", "SIG", STOP, "What COMMAND or PID gets. Default: TERM"),
    row("url", "URL", LOAD, "What is asked, with GET. Default: the root of the port that COMMAND listens on"),
    Row {
        name: "target",
        value: Some("REQUEST"),
        missing: None,
        repeats: true,
        heading: LOAD,
        help: "What is asked, as 'POST http://127.0.0.1:8080/orders {\"id\":1}'; more than one take turns",
    },
    row("slow-target", "REQUEST", LOAD, "A request that takes a second or so: some are under way at any time"),
    row("stream-target", "REQUEST", LOAD, "An answer that goes on and on, as server-sent events"),
    row("rate", "N", LOAD, "Requests a second, whatever the server does. Default: 100"),
    row(
        "mix",
        "LIST",
        LOAD,
        "Who asks: shares of the rate for new and hot (kept) connections, numbers of idle, slow and stream clients. \
         Default: new=1,hot=1,idle=5,slow=3,stream=1",
    ),
    row("before", "DUR", LOAD, "Load before the stop. Default: 2s"),
    row("lb-lag", "DUR", LOAD, "So long after the stop the load balancer goes on sending. Default: 2s"),
    row("timeout", "DUR", LOAD, "For one request; six times as long for slow ones. Default: 5s"),
    row("wait", "DUR", LOAD, "For the first answer of every target. Default: 30s, 5s without COMMAND"),
    switch("insecure", LOAD, "Accept a TLS certificate that nobody vouches for"),
    row(
        "expect",
        "LIST",
        VERDICT,
        "Checks that may fail: zero-dropped, in-flight, served-in-window, gone-after, readiness, exit-in-time, \
         exit-status, nothing-left, signal-handled, error-rate, p99, p99-ratio",
    ),
    row("repeat", "N", VERDICT, "Drill so often; the worst counts. Default: 1"),
    switch("tune", VERDICT, "Find the smallest --pre-stop-delay that drops nothing, to 100 ms"),
    row("baseline", "FILE", VERDICT, "Compare with the JSON of an earlier drill"),
    row("max-error-rate", "SHARE", VERDICT, "As 1% or 0.01. Default: that of the baseline"),
    row("max-p99", "DUR", VERDICT, "The 99th percentile of the latency. Default: none"),
    row("max-p99-ratio", "N", VERDICT, "The same, as a multiple of the baseline's. Default: none"),
    row("min-requests", "N", VERDICT, "With fewer a comparison is inconclusive. Default: 100"),
    Row {
        name: "output",
        value: Some("KIND=PATH"),
        missing: None,
        repeats: true,
        heading: VERDICT,
        help: "Write json=PATH, junit=PATH or html=PATH, one page with the timeline drawn",
    },
    switch("show-output", VERDICT, "Show what COMMAND writes as it comes, on stderr"),
];

/// What `run` knows and a drill sets itself.
const NOT_HANDED_ON: &[&str] = &["report"];

/// `graceful drill [OPTIONS] [-- COMMAND [ARGS...]]`
pub(super) fn parse(args: &[OsString]) -> Result<Command, Quit> {
    let separator = args.iter().position(|arg| arg == "--");
    let (head, command) = match separator {
        Some(at) => (&args[..at], &args[at + 1..]),
        None => (args, &[][..]),
    };
    let Tokens { flags, rest, info, problems } = tokenise(help::drill_tokens(), head, true);
    if let Some(info) = info
        && problems.is_empty()
    {
        return Err(Quit::Text(text_for(info, Some("drill"))));
    }
    let mut reader = Reader { own: Vec::new(), run: Vec::new(), problems };
    for (name, value) in flags {
        match ROWS.iter().any(|row| row.name == name) {
            true => reader.own.push((name, value)),
            false => reader.run.push((name, value)),
        }
    }
    for stray in rest {
        let place = quoted(&stray);
        reader.problems.push(Problem::new(place, "stands before --; the form is: graceful drill [OPTIONS] -- COMMAND"));
    }
    let plan = reader.plan(command);
    match plan {
        Some(plan) if reader.problems.is_empty() => Ok(Command::Drill(Box::new(plan))),
        _ => Err(Quit::Problems(reader.problems)),
    }
}

struct Reader {
    own: Vec<(&'static str, OsString)>,
    run: Vec<(&'static str, OsString)>,
    problems: Vec<Problem>,
}

/// What `graceful run` is going to make of its flags.
struct Run {
    flags: Vec<OsString>,
    config: Option<Config>,
}

impl Reader {
    fn plan(&mut self, command: &[OsString]) -> Option<Plan> {
        for row in ROWS.iter().filter(|row| !row.repeats) {
            let count = self.own.iter().filter(|(name, _)| *name == row.name).count();
            if count > 1 {
                self.complain(row.name, format!("given {count} times; once is right"));
            }
        }
        let demo = self.demo();
        let subject = self.subject(command, demo)?;
        let (mut targets, urls) = self.targets();
        let is_own = matches!(subject, Subject::Own { .. });
        if !is_own && targets.requests.is_empty() {
            self.problems.push(Problem::new(
                "no --url",
                "without COMMAND it must be said what is asked, as --url http://127.0.0.1:8080/",
            ));
        }
        let mut subject = subject;
        let mut ready_url = None;
        let mut readyz = None;
        let mut grace_period = Duration::from_secs(30);
        let mut exit_status = BTreeSet::from([0]);
        let mut default_mix = Mix::default();
        if let Subject::Own { command, flags, way, demo, .. } = &mut subject {
            let mut own_port = None;
            if let Some(fault) = demo {
                let port = free_port();
                own_port = Some(port);
                *command = demo_command(port, *fault);
                if urls == 0 {
                    targets = demo_targets(port, *fault)?;
                    // It serves one at a time: what is slow is slow for everybody, and a stream would be all that it does.
                    if *fault == Some(Fault::LosesBacklog) {
                        default_mix = Mix { idle: 0, slow: 1, stream: 0, ..default_mix };
                    }
                }
            }
            let run = self.run_flags(command, own_port.is_some() && *way != Way::Bare)?;
            *flags = run.flags;
            if let Some(config) = &run.config {
                grace_period = config.budget.grace_period;
                ready_url = config.ready.as_ref().map(|ready| ready.url.clone());
                readyz = config.probe_listen.as_ref().and_then(readyz_of);
                exit_status.extend(config.success.codes.iter().copied());
                exit_status.extend(config.success.signals.iter().map(|signal| 128 + signal.number() as u8));
            }
            if ready_url.is_none() {
                ready_url = own_port.and_then(|port| Url::parse(&format!("http://127.0.0.1:{port}/ready")).ok());
            }
        } else {
            grace_period = self.without_command().unwrap_or(grace_period);
            ready_url = self.run_url("ready-url");
        }
        if self.has("rolling") && !matches!(subject, Subject::Command(_)) {
            self.complain("rolling", "needs --stop-command");
        }
        let default_wait = Duration::from_secs(if is_own { 30 } else { 5 });
        Some(Plan {
            subject,
            targets,
            rate: self.one("rate", count).unwrap_or(100),
            mix: self.one("mix", mix).unwrap_or(default_mix),
            before: self.one("before", values::positive_duration).unwrap_or(Duration::from_secs(2)),
            lb_lag: self.one("lb-lag", values::duration).unwrap_or(Duration::from_secs(2)),
            rolling: self.has("rolling"),
            timeout: self.one("timeout", values::positive_duration).unwrap_or(Duration::from_secs(5)),
            startup_timeout: self.one("wait", values::positive_duration).unwrap_or(default_wait),
            grace_period,
            insecure: self.has("insecure"),
            ready_url,
            readyz,
            expected: self.one("expect", checks).unwrap_or_default(),
            exit_status,
            repeat: self.one("repeat", count).unwrap_or(1),
            tune: self.has("tune"),
            baseline: self.value("baseline").map(PathBuf::from),
            limits: Limits {
                max_error_rate: self.one("max-error-rate", share),
                max_p99_s: self.one("max-p99", values::positive_duration).map(|p99| p99.as_secs_f64()),
                max_p99_ratio: self.one("max-p99-ratio", ratio),
                min_requests: self.one("min-requests", count).unwrap_or(100).into(),
            },
            outputs: self.all("output", output),
            show_output: self.has("show-output"),
        })
    }

    fn has(&self, name: &str) -> bool {
        self.own.iter().any(|(found, _)| *found == name)
    }

    fn value(&self, name: &str) -> Option<OsString> {
        self.own.iter().rev().find(|(found, _)| *found == name).map(|(_, value)| value.clone())
    }

    fn complain(&mut self, name: &str, reason: impl Into<String>) {
        self.problems.push(Problem::new(format!("--{name}"), reason.into()));
    }

    fn checked<T>(&mut self, name: &str, value: &OsString, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let parsed = value.to_str().ok_or_else(|| "not UTF-8 text".to_owned()).and_then(parse);
        parsed.map_err(|why| self.problems.push(Problem::new(format!("--{name} {}", shown(value)), why))).ok()
    }

    fn one<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let value = self.value(name)?;
        self.checked(name, &value, parse)
    }

    fn all<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let values: Vec<OsString> =
            self.own.iter().filter(|(found, _)| *found == name).map(|(_, value)| value.clone()).collect();
        values.iter().filter_map(|value| self.checked(name, value, &parse)).collect()
    }

    /// `--demo`: with which fault, if with any.
    fn demo(&mut self) -> Option<Option<Fault>> {
        let value = self.value("demo")?;
        if value.is_empty() {
            return Some(None);
        }
        self.checked("demo", &value, |text| values::choice(text, Fault::NAMES)).map(Some)
    }

    fn subject(&mut self, command: &[OsString], demo: Option<Option<Fault>>) -> Option<Subject> {
        let mut given: Vec<&str> =
            ["demo", "pid", "stop-command", "no-stop"].into_iter().filter(|name| self.has(name)).collect();
        if !command.is_empty() {
            given.push("-- COMMAND");
        }
        let shown = |name: &&str| if name.starts_with('-') { (*name).to_owned() } else { format!("--{name}") };
        let names: Vec<String> = given.iter().map(shown).collect();
        match given.len() {
            0 => {
                let reason = "there is nothing to drill; right is one of -- COMMAND, --demo, --pid PID, --stop-command \
                              COMMAND or --no-stop";
                self.problems.push(Problem::new("drill", reason));
                return None;
            }
            1 => {}
            _ => {
                self.problems.push(Problem::new(names.join(" and "), "one of them is right"));
                return None;
            }
        }
        let signal = self.one("signal", values::signal).unwrap_or(Signal::TERM);
        let way = match (self.has("bare"), self.has("compare"), self.has("tune")) {
            (true, true, _) => {
                self.complain("bare and --compare", "one of them is right");
                Way::Both
            }
            (true, _, true) | (_, true, true) => {
                self.complain("tune", "is for graceful's own delay: without --bare and --compare");
                Way::Supervised
            }
            (true, false, false) => Way::Bare,
            (false, true, false) => Way::Both,
            (false, false, _) => Way::Supervised,
        };
        let is_own = !command.is_empty() || self.has("demo");
        if !is_own {
            for name in ["bare", "compare", "tune"] {
                if self.has(name) {
                    self.complain(name, "needs a COMMAND or --demo");
                }
            }
        }
        if is_own {
            let fault = match demo {
                Some(fault) => Some(fault),
                // A wrong fault has been told of.
                None if self.has("demo") => return None,
                None => None,
            };
            return Some(Subject::Own { command: command.to_vec(), way, flags: Vec::new(), signal, demo: fault });
        }
        if self.has("pid") {
            return self.one("pid", pid).map(|pid| Subject::Pid { pid, signal });
        }
        match self.value("stop-command") {
            Some(text) => self.checked("stop-command", &text, |text| match text.trim() {
                "" => Err("the command is empty; right is as 'docker stop web'".to_owned()),
                _ => Ok(Subject::Command(text.to_owned())),
            }),
            None => Some(Subject::Nothing),
        }
    }

    /// The targets, and how many were given.
    fn targets(&mut self) -> (Targets, usize) {
        let mut requests: Vec<Target> = self.one("url", values::http_url).into_iter().map(get).collect();
        requests.extend(self.all("target", request));
        let (slow, stream) = (self.one("slow-target", request), self.one("stream-target", request));
        let given = requests.len();
        (Targets { requests, slow, stream }, given)
    }

    /// Flags of `run`, looked at now, so that what is wrong with them is a usage error.
    fn run_flags(&mut self, command: &[OsString], is_demo: bool) -> Option<Run> {
        for name in NOT_HANDED_ON {
            if self.run.iter().any(|(found, _)| found == name) {
                self.complain(name, "a drill reads the report itself; --output json=PATH writes what it comes to");
            }
        }
        if is_demo {
            let probes = free_port();
            for (name, value) in [("pre-stop-delay", "2500ms".into()), ("probe-listen", format!("127.0.0.1:{probes}"))]
            {
                if !self.run.iter().any(|(found, _)| *found == name) {
                    self.run.push((name, value.into()));
                }
            }
        }
        let settings = Settings { flags: self.run.clone(), problems: Vec::new() };
        let config = match config::load(settings, command.to_vec(), &Surroundings::current()) {
            Ok(config) => Some(config),
            Err(problems) => {
                self.problems.extend(problems);
                None
            }
        };
        let flags = self.run.iter().map(|(name, value)| {
            let mut flag = OsString::from(format!("--{name}="));
            flag.push(value);
            flag
        });
        Some(Run { flags: flags.collect(), config })
    }

    /// Of `run`'s flags two mean something without a command; its own grace period, if given.
    fn without_command(&mut self) -> Option<Duration> {
        let others: Vec<&str> = self
            .run
            .iter()
            .map(|(name, _)| *name)
            .filter(|name| !["grace-period", "ready-url"].contains(name))
            .collect();
        for name in others {
            self.complain(name, "is for a COMMAND that graceful runs");
        }
        let value = self.run.iter().rev().find(|(name, _)| *name == "grace-period").map(|(_, value)| value.clone())?;
        self.checked("grace-period", &value, values::positive_duration)
    }

    fn run_url(&mut self, name: &str) -> Option<Url> {
        let value = self.run.iter().rev().find(|(found, _)| *found == name).map(|(_, value)| value.clone())?;
        self.checked(name, &value, values::http_url)
    }
}

fn get(url: Url) -> Target {
    Target { method: "GET".to_owned(), url, body: None }
}

/// Without user and password, and without the body of a request or the arguments of a command.
fn shown(value: &OsString) -> String {
    let text = value.to_str().unwrap_or_default();
    let mut words = text.split_inclusive(char::is_whitespace);
    let first: String = words.by_ref().take(2).collect();
    match words.next() {
        Some(_) => quoted(format!("{}…", hidden(&first)).as_ref()),
        None => quoted(value),
    }
}

/// `[METHOD] URL [BODY]`
fn request(text: &str) -> Result<Target, String> {
    const RIGHT: &str = "right is METHOD URL [BODY], as POST http://127.0.0.1:8080/orders {\"id\":1}";
    let text = text.trim();
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    if values::is_http(first) {
        let body = (!rest.trim().is_empty()).then(|| rest.trim().to_owned());
        return match body {
            None => values::http_url(first).map(get),
            Some(_) => Err(format!("a body needs a method before the URL; {RIGHT}")),
        };
    }
    let is_method = !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_uppercase());
    if !is_method {
        return Err(format!("{} is no method in capitals, and no URL; {RIGHT}", quoted(&OsString::from(first))));
    }
    let rest = rest.trim_start();
    let (url, body) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let url = values::http_url(url).map_err(|why| format!("{why}; {RIGHT}"))?;
    let body = (!body.trim().is_empty()).then(|| body.trim().to_owned());
    Ok(Target { method: first.to_owned(), url, body })
}

fn pid(text: &str) -> Result<i32, String> {
    match text.trim().parse() {
        Ok(pid) if pid > 1 => Ok(pid),
        _ => Err("a pid is a number above 1".to_owned()),
    }
}

fn count(text: &str) -> Result<u32, String> {
    match text.trim().parse() {
        Ok(count @ 1..=1_000_000) => Ok(count),
        _ => Err("right is a number from 1 to 1000000".to_owned()),
    }
}

fn ratio(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(ratio) if ratio.is_finite() && ratio > 0.0 => Ok(ratio),
        _ => Err("right is a number above 0, as 1.5".to_owned()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let parsed = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
        None => text.parse(),
    };
    match parsed {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("right is a share of the requests, as 1% or 0.01".to_owned()),
    }
}

fn mix(text: &str) -> Result<Mix, String> {
    let mut mix = Mix::default();
    for part in text.split(',') {
        let (name, number) = part.split_once('=').unwrap_or((part, ""));
        let number = number.trim().parse::<u32>().ok().filter(|number| *number <= 1000);
        let number = number.ok_or_else(|| format!("{part}: right is NAME=N with N from 0 to 1000, as new=1"))?;
        *match name.trim() {
            "new" => &mut mix.new,
            "hot" => &mut mix.hot,
            "idle" => &mut mix.idle,
            "slow" => &mut mix.slow,
            "stream" => &mut mix.stream,
            other => {
                let hint = did_you_mean(other, ["new", "hot", "idle", "slow", "stream"], str::to_owned);
                return Err(format!("unknown client {other}; right is new, hot, idle, slow or stream{hint}"));
            }
        } = number;
    }
    Ok(mix)
}

fn checks(text: &str) -> Result<BTreeSet<String>, String> {
    let names = text.split(',').map(str::trim);
    names
        .map(|name| match CHECKS.contains(&name) {
            true => Ok(name.to_owned()),
            false => {
                let hint = did_you_mean(name, CHECKS.iter().copied(), str::to_owned);
                Err(format!("unknown check {name}; right is {}{hint}", CHECKS.join(", ")))
            }
        })
        .collect()
}

fn output(text: &str) -> Result<Output, String> {
    const RIGHT: &str = "right is json=PATH, junit=PATH or html=PATH";
    let (kind, path) = text.split_once('=').ok_or(RIGHT)?;
    if path.is_empty() {
        return Err(format!("the path is empty; {RIGHT}"));
    }
    // Better now than when the drill is over.
    let folder = Path::new(path).parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        return Err(format!("{} does not exist; create it", folder.display()));
    }
    // A drill's own standard output is nobody else's.
    if files::descriptor(Path::new(path)).is_none()
        && let Some(why) = files::obstacle(Path::new(path), Purpose::Replace)
    {
        return Err(format!("{path} {why}"));
    }
    match kind {
        "json" => Ok(Output::Json(path.into())),
        "junit" => Ok(Output::Junit(path.into())),
        "html" => Ok(Output::Html(path.into())),
        _ => Err(format!("unknown kind {kind}; {RIGHT}")),
    }
}

/// Where graceful says whether the app is ready.
fn readyz_of(listen: &Listen) -> Option<Url> {
    let Listen::Tcp(address) = listen else { return None };
    let ip = if address.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { address.ip() };
    Url::parse(&format!("http://{}/readyz", SocketAddr::new(ip, address.port()))).ok()
}

fn demo_command(port: u16, fault: Option<Fault>) -> Vec<OsString> {
    let mut command: Vec<OsString> = vec!["/proc/self/exe".into(), "demo-app".into()];
    command.push(format!("127.0.0.1:{port}").into());
    command.extend(fault.map(|fault| OsString::from(format!("--fault={fault}"))));
    command
}

fn demo_targets(port: u16, fault: Option<Fault>) -> Option<Targets> {
    let target = |path: &str| Url::parse(&format!("http://127.0.0.1:{port}{path}")).ok().map(get);
    let slow = if fault == Some(Fault::LosesBacklog) { "/slow?ms=300" } else { "/slow" };
    Some(Targets { requests: vec![target("/")?], slow: target(slow), stream: target("/stream") })
}

/// One that nobody has at the moment. (0 says that there is none; binding to it then says why.)
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).map_or(0, |address| address.port())
}

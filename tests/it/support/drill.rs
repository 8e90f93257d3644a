//! `graceful drill` beside clients that count for themselves: a Python script of asyncio sends the same schedule to the same
//! app through the same stop, and both must have seen the same.

use super::run::folder;
use super::{DEADLINE, Exit, Proc, app, graceful_command, python3, wait_http};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Load, lag, and a grace period that is used up once.
const DRILL: Duration = Duration::from_secs(60);
/// Requests a second of the drill and, beside it, of the others.
const RATE: &str = "50";
/// What was due before this time, since the stop, the others may not have begun with.
const FROM_S: f64 = -1.0;
/// They may differ by so many of each outcome: the clocks of two programs are not one.
const TOLERANCE: usize = 2;

/// A drill that is over.
pub(crate) struct Drilled {
    pub(crate) code: Option<i32>,
    pub(crate) document: Value,
    pub(crate) text: String,
    /// What the other clients saw.
    pub(crate) others: Vec<Value>,
}

impl Drilled {
    pub(crate) fn drill(&self) -> &Value {
        &self.document["drills"][0]
    }

    pub(crate) fn check(&self, name: &str) -> &Value {
        let checks = self.drill()["checks"].as_array().expect("a list");
        let found = checks.iter().find(|check| check["name"] == name);
        found.unwrap_or_else(|| panic!("no check {name}\n{}", self.text))
    }

    #[track_caller]
    pub(crate) fn fails(&self, name: &str, cause: &str, fix: &str) {
        let check = self.check(name);
        assert_eq!(check["result"], "fail", "{name}\n{}", self.text);
        let findings = self.drill()["findings"].as_array().expect("a list");
        let own: Vec<&Value> = findings
            .iter()
            .filter(|finding| check["causes"].as_array().is_some_and(|causes| causes.contains(&finding["cause"])))
            .collect();
        let says =
            |key: &str, what: &str| own.iter().any(|one| one[key].as_str().is_some_and(|said| said.contains(what)));
        assert!(says("words", cause), "{name}: no {cause:?} in the causes\n{}", self.text);
        assert!(says("fix", fix), "{name}: no {fix:?} in the fixes\n{}", self.text);
    }

    #[track_caller]
    pub(crate) fn passes(&self, names: &[&str]) {
        for name in names {
            assert_eq!(self.check(name)["result"], "pass", "{name}\n{}", self.text);
        }
    }

    /// How many came to this outcome, by the drill and by the others: of the paced requests those due from [`FROM_S`] on to
    /// the end of the lag, of the slow ones those under way at the stop.
    pub(crate) fn counts(&self, kind: &str, outcome: &str) -> (usize, usize) {
        let drill = self.drill();
        let stop = humantime::parse_rfc3339(drill["stopped_at"].as_str().expect("it was stopped")).expect("a time");
        let stop = stop.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs_f64();
        let lag = drill["lb_lag_s"].as_f64().expect("a number");
        let count = |all: &[Value], intended: &str, ended: &str, zero: f64| {
            let counts = |request: &&Value| {
                let at = request[intended].as_f64().expect("a number") - zero;
                let over = request[ended].as_f64().map_or(f64::INFINITY, |ended| ended - zero);
                let in_time = if kind == "slow" { at < 0.0 && over >= 0.0 } else { (FROM_S..=lag).contains(&at) };
                let came_to = match request["outcome"].as_str().expect("an outcome") {
                    "ok-close" => "ok",
                    "reset-in-answer" => "reset",
                    other => other,
                };
                in_time && request["kind"] == kind && came_to == outcome
            };
            all.iter().filter(counts).count()
        };
        let mine = drill["requests"].as_array().expect("a list");
        (count(mine, "intended_s", "ended_s", 0.0), count(&self.others, "intended", "ended", stop))
    }

    /// The drill's counts are the others'.
    #[track_caller]
    pub(crate) fn agrees(&self) {
        for kind in ["new", "slow"] {
            for outcome in ["ok", "refused", "reset", "truncated", "black-hole", "status", "unfinished", "timeout"] {
                let (mine, theirs) = self.counts(kind, outcome);
                assert!(
                    mine.abs_diff(theirs) <= TOLERANCE,
                    "{kind} {outcome}: {mine} by the drill, {theirs} by the others\n{}",
                    self.text
                );
            }
        }
    }
}

/// Drills this app, with other clients beside, and the slow requests below `slow_path`.
pub(crate) fn drill(port: u16, options: &[&str], slow_path: &str, slow_clients: u32, command: &[String]) -> Drilled {
    let folder = folder();
    let (url, json) = (format!("http://127.0.0.1:{port}/"), folder.path().join("drill.json"));
    let slow = format!("http://127.0.0.1:{port}{slow_path}");
    let mix = format!("new=1,hot=0,idle=0,slow={slow_clients},stream=0");
    let mut drill = graceful_command();
    drill.args(["drill", "--url", &url, "--slow-target", &slow, "--mix", &mix, "--rate", RATE]);
    drill.args(options).arg("--output").arg(format!("json={}", json.display())).arg("--").args(command);
    let mut others = Command::new(python3());
    others.args([app("clients.py"), url.clone(), RATE.to_owned(), slow_path.to_owned(), slow_clients.to_string()]);
    let mut clients = others.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python runs");
    let mut input = clients.stdin.take().expect("piped");
    let mut told = BufReader::new(clients.stdout.take().expect("piped")).lines().map(|line| line.expect("text"));
    assert_eq!(told.next().as_deref(), Some("ready"));
    let drill = Proc::spawn_group(&mut drill);
    // Before the app listens they would only be refused.
    wait_http(port, "/", DEADLINE);
    input.write_all(b"begin\n").expect("it listens");
    let (exit, stdout, stderr) = drill.wait_output(DRILL);
    input.write_all(b"end\n").expect("it listens");
    drop(input);
    let others = told.skip(1).map(|line| serde_json::from_str(&line).expect("JSON")).collect();
    clients.wait().expect("it ends");
    let text = std::fs::read_to_string(&json).unwrap_or_default();
    let code = match exit {
        Exit::Code(code) => Some(code),
        Exit::Signal(_) => None,
    };
    let document = serde_json::from_str(&text).unwrap_or_default();
    Drilled { code, document, text: format!("{stdout}\n{stderr}"), others }
}

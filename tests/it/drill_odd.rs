//! `graceful drill` on a server that is told how to stop: what it finds, and that its neighbour, which differs in that one
//! thing, is not said to have it.
//!
//! One row a test. The control of each fault is the same server under graceful with a delay longer than the lag, or the
//! well-behaved one, which pass.

use crate::support::run::{folder, words};
use crate::support::{Exit, Proc, app, free_port, graceful_command, python3};
use serde_json::Value;
use std::time::Duration;

/// Reached only when something is broken: a drill is over in a few seconds.
const DRILL: Duration = Duration::from_secs(60);
/// A delay that is longer than the lag of [`drill`].
const UNDER: [&str; 2] = ["--pre-stop-delay", "1500ms"];
const BARE: [&str; 1] = ["--bare"];

/// A drill that is over.
struct Seen {
    code: Exit,
    drill: Value,
    text: String,
}

/// Drills the odd server with these options.
fn drill(how: &[&str], odd: &[&str]) -> Seen {
    let (files, port) = (folder(), free_port());
    let json = files.path().join("drill.json");
    let url = format!("http://127.0.0.1:{port}/");
    let slow = format!("{url}slow?seconds=0.8");
    let mut command = graceful_command();
    command.args(["drill", "-v", "--rate", "50", "--before", "1s", "--lb-lag", "1s"]);
    if !how.contains(&"--grace-period") {
        command.args(["--grace-period", "8s"]);
    }
    command.args(["--mix", "new=1,hot=0,idle=0,slow=2,stream=0", "--url", &url, "--slow-target", &slow]);
    command.args(how).arg("--output").arg(format!("json={}", json.display())).arg("--");
    command.args(words(&[&python3(), &app("odd.py"), &port.to_string()])).args(odd);
    let (code, stdout, stderr) = Proc::spawn_group(&mut command).wait_output(DRILL);
    let document = std::fs::read_to_string(&json).unwrap_or_default();
    let document: Value = serde_json::from_str(&document).unwrap_or_default();
    Seen { code, drill: document["drills"][0].clone(), text: format!("{stdout}\n{stderr}") }
}

impl Seen {
    fn result(&self, name: &str) -> &str {
        let checks = self.drill["checks"].as_array().expect("a list");
        let found = checks.iter().find(|check| check["name"] == name);
        found.and_then(|check| check["result"].as_str()).unwrap_or_else(|| panic!("no check {name}\n{}", self.text))
    }

    /// Exactly these checks fail, each with causes that have a finding with a fix.
    #[track_caller]
    fn fails(self, names: &[&str]) -> Seen {
        let checks = self.drill["checks"].as_array().expect("a list");
        let failed: Vec<&Value> = checks.iter().filter(|check| check["result"] == "fail").collect();
        let mut seen: Vec<&str> = failed.iter().filter_map(|check| check["name"].as_str()).collect();
        let mut wanted = names.to_vec();
        seen.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(seen, wanted, "{}", self.text);
        for check in failed {
            let causes = check["causes"].as_array().expect("causes");
            let findings = self.drill["findings"].as_array().expect("a list");
            let has_fix = |cause: &Value| {
                let found = findings.iter().find(|finding| finding["cause"] == *cause);
                found.and_then(|finding| finding["fix"].as_str()).is_some_and(|fix| !fix.is_empty())
            };
            assert!(!causes.is_empty() && causes.iter().all(has_fix), "{check}\n{}", self.text);
        }
        assert_eq!((self.code, &self.drill["verdict"]), (Exit::Code(1), &Value::from("failed")), "{}", self.text);
        self
    }

    /// It passed, and nothing was dropped.
    #[track_caller]
    fn passed(self) -> Seen {
        assert_eq!((self.code, &self.drill["verdict"]), (Exit::Code(0), &Value::from("passed")), "{}", self.text);
        assert_eq!(self.drill["dropped"], 0, "{}", self.text);
        self
    }

    /// What became of the requests of this kind that were dropped: not ok, and sent before the lag was over; of the slow
    /// ones before the stop, since those that were sent later fail as new ones do.
    fn lost(&self, kind: &str) -> Vec<&str> {
        let lag = self.drill["lb_lag_s"].as_f64().expect("a number");
        let until = if kind == "slow" { 0.0 } else { lag };
        let requests = self.drill["requests"].as_array().expect("a list").iter();
        let dropped = requests
            .filter(|request| request["kind"] == kind && request["sent_s"].as_f64().is_some_and(|sent| sent <= until));
        let outcomes = dropped.filter_map(|request| request["outcome"].as_str());
        outcomes.filter(|outcome| !outcome.starts_with("ok")).collect()
    }

    /// Some requests of this kind were lost, and all of them came to one of these outcomes.
    #[track_caller]
    fn lost_by(self, kind: &str, outcomes: &[&str]) -> Seen {
        let lost = self.lost(kind);
        assert!(!lost.is_empty(), "no {kind} was lost\n{}", self.text);
        assert!(lost.iter().all(|outcome| outcomes.contains(outcome)), "{kind}: {lost:?}\n{}", self.text);
        self
    }

    /// None of this kind was lost.
    #[track_caller]
    fn lost_none(self, kind: &str) -> Seen {
        assert_eq!(self.lost(kind), [""; 0], "{kind}\n{}", self.text);
        self
    }

    #[track_caller]
    fn passes(self, names: &[&str]) -> Seen {
        for name in names {
            assert_eq!(self.result(name), "pass", "{name}\n{}", self.text);
        }
        self
    }
}

#[test]
fn a_server_that_serves_on_and_then_drains_passes_by_itself() {
    let _ = drill(&BARE, &["--serve-on", "1.5"]).passed();
}

#[test]
fn a_drain_loses_what_the_load_balancer_still_sends() {
    let seen = drill(&BARE, &["--stop", "drain"]).fails(&["zero-dropped", "served-in-window"]);
    let _ = seen.lost_by("new", &["refused", "reset"]).lost_none("slow").passes(&["in-flight", "exit-status"]);
    let _ = drill(&UNDER, &["--stop", "drain"]).passed();
}

#[test]
fn a_handler_that_exits_at_once_loses_what_is_in_flight() {
    let seen = drill(&BARE, &["--stop", "die"]).fails(&["zero-dropped", "served-in-window", "in-flight"]);
    let _ = seen.lost_by("slow", &["reset", "truncated"]).passes(&["exit-status", "signal-handled", "exit-in-time"]);
    let _ = drill(&UNDER, &["--stop", "die"]).passed();
}

#[test]
fn half_an_answer_is_a_truncated_one() {
    let seen = drill(&BARE, &["--stop", "truncate"]).fails(&["zero-dropped", "served-in-window", "in-flight"]);
    let _ = seen.lost_by("slow", &["truncated"]).passes(&["exit-status", "signal-handled"]);
    let _ = drill(&UNDER, &["--stop", "truncate"]).passed();
}

#[test]
fn an_answer_with_503_is_a_dropped_request() {
    let seen = drill(&BARE, &["--stop", "503", "--serve-on", "1.5"]);
    let seen = seen.fails(&["zero-dropped", "served-in-window", "in-flight"]);
    let _ = seen.lost_by("new", &["status"]).lost_by("slow", &["status"]).passes(&["exit-status", "exit-in-time"]);
    let _ = drill(&UNDER, &["--stop", "503"]).passed();
}

#[test]
fn a_listener_that_accepts_nothing_more_is_no_refusal() {
    let seen = drill(&BARE, &["--stop", "hole", "--serve-on", "2"]).fails(&["zero-dropped", "served-in-window"]);
    let _ =
        seen.lost_by("new", &["black-hole", "timeout", "reset", "unfinished"]).passes(&["in-flight", "exit-status"]);
    let _ = drill(&UNDER, &["--stop", "hole"]).passed();
}

#[test]
fn a_server_without_a_handler_is_not_one_that_raises_the_signal_again() {
    let _ = drill(&BARE, &["--stop", "none"]).lost_by("slow", &["reset", "truncated"]);
    let again = drill(&BARE, &["--stop", "reraise"]).lost_none("slow");
    let _ = again.passes(&["in-flight", "signal-handled", "exit-in-time"]);
    let none = drill(&BARE, &["--stop", "none"]);
    assert_eq!((none.result("signal-handled"), none.result("in-flight")), ("fail", "fail"), "{}", none.text);
}

#[test]
fn an_exit_status_fails_alone() {
    let _ = drill(&BARE, &["--serve-on", "1.5", "--status", "3"]).fails(&["exit-status"]);
    let _ = drill(&UNDER, &["--status", "3"]).fails(&["exit-status"]);
    let _ = drill(&[&UNDER[..], &["--success-exit-status", "3"]].concat(), &["--status", "3"]).passed();
}

#[test]
fn a_signal_that_is_ignored_ends_in_sigkill() {
    let seen = drill(&[&BARE[..], &["--grace-period", "3s"]].concat(), &["--stop", "ignore"]);
    assert_eq!((seen.code, seen.result("exit-in-time")), (Exit::Code(1), "fail"), "{}", seen.text);
    let _ = seen.passes(&["zero-dropped", "served-in-window"]);
    let under = ["--pre-stop-delay", "1100ms", "--grace-period", "4s", "--stop-signal", "HUP"];
    let stopped = drill(&under, &["--stop", "ignore"]);
    assert_eq!(stopped.result("exit-in-time"), "pass", "another signal ends it\n{}", stopped.text);
}

#[test]
fn a_helper_that_stays_is_left_behind() {
    let _ = drill(&BARE, &["--serve-on", "1.5", "--helper", "60"]).fails(&["nothing-left"]);
    let _ = drill(&BARE, &["--serve-on", "1.5"]).passes(&["nothing-left"]);
}

#[test]
fn an_answer_that_ends_with_its_connection_is_whole_where_nobody_dies() {
    let _ = drill(&BARE, &["--serve-on", "1.5", "--until-eof"]).passed();
}

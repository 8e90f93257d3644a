//! `--hold idle` and `quiet`: an app that does nothing about SIGTERM loses nothing, because it does not get the signal
//! while it has requests. The same apps under tini lose some, in the same test.

use crate::support::load::{KeptAlive, slow_requests};
use crate::support::run::{Run, lasted, phases, shell, wait_for, words};
use crate::support::stopping::{LAG, Site};
use crate::support::{DEADLINE, Exit, address, app, free_port, python3, wait_http};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

fn bare(port: u16) -> Vec<String> {
    words(&[&python3(), &app("bare.py"), &port.to_string()])
}

/// `sh -c 'python3 server.py; true'`: the shell stays, and hands on no signal.
fn wrapped(port: u16) -> Vec<String> {
    shell(&format!("{} {} {port}; true", python3(), app("bare.py")))
}

fn node(port: u16) -> Option<Vec<String>> {
    let node = crate::support::node()?.to_string_lossy().into_owned();
    Some(words(&[&node, &app("node_bare.js"), &port.to_string()]))
}

fn drops_nothing(port: u16, server: &[String]) {
    Site::alone(port, server.to_vec()).drops_nothing(&[], Exit::Signal(libc::SIGTERM));
}

fn loses_some(port: u16, server: &[String]) {
    Site::alone(port, server.to_vec()).loses_some_under_tini();
}

#[test]
fn python_without_a_handler_loses_nothing() {
    let port = free_port();
    drops_nothing(port, &bare(port));
}

#[test]
fn control_python_under_tini_loses_requests() {
    let port = free_port();
    loses_some(port, &bare(port));
}

#[test]
fn python_behind_a_shell_loses_nothing() {
    let port = free_port();
    drops_nothing(port, &wrapped(port));
}

#[test]
fn control_python_behind_a_shell_under_tini_loses_requests() {
    let port = free_port();
    loses_some(port, &wrapped(port));
}

#[test]
fn node_without_a_handler_loses_nothing() {
    let port = free_port();
    let Some(server) = node(port) else { return };
    drops_nothing(port, &server);
}

#[test]
fn control_node_under_tini_loses_requests() {
    let port = free_port();
    let Some(server) = node(port) else { return };
    loses_some(port, &server);
}

/// A connection to the server over which one request was answered.
fn keep_alive(port: u16) -> TcpStream {
    let mut stream = TcpStream::connect(address(port)).expect("it listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("set");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    let mut answer = Vec::new();
    while !answer.ends_with(b"ok") {
        let mut part = [0; 512];
        let count = stream.read(&mut part).expect("an answer");
        assert!(count > 0, "the connection is kept");
        answer.extend_from_slice(&part[..count]);
    }
    stream
}

fn start(port: u16, options: &[&str]) -> Run {
    let run = Run::start(options, &bare(port));
    run.wait_line("worker ready", DEADLINE);
    wait_http(port, "/", DEADLINE);
    run
}

/// The numbers of one moment of the report.
fn numbers(report: &Value, moment: &str) -> Option<[u64; 4]> {
    let all = report["in_flight"].as_array().expect("a list");
    let found = all.iter().find(|numbers| numbers["moment"] == moment)?;
    Some(["busy", "unknown", "unaccepted", "idle"].map(|key| found[key].as_u64().expect("a number")))
}

#[test]
fn the_hold_ends_when_the_last_request_does() {
    let port = free_port();
    let run = start(port, &["--grace-period", "60s", "--pre-stop-delay", "0s"]);
    let slow = slow_requests(address(port), "/slow?seconds=1.5", 2);
    run.wait_lines("slow begins", 2, DEADLINE);
    run.stop(libc::SIGTERM);
    run.wait_line("holding the app's SIGTERM back for requests in flight (2 busy)", DEADLINE);
    let report = run.ends(Exit::Signal(libc::SIGTERM));
    assert_eq!(slow.collect().dropped(), 0);
    let line = run.wait_line("hold over: idle after ", DEADLINE).text;
    assert!(report["hold"].as_str().is_some_and(|hold| line.ends_with(hold)), "{line}: {report:#}");
    assert!(lasted(&report, "hold") >= Duration::from_millis(500), "{report:#}");
    assert_eq!(numbers(&report, "stop").map(|n| n[0]), Some(2), "{report:#}");
    assert_eq!(numbers(&report, "signal").map(|n| n[0]), Some(0), "{report:#}");
    assert_eq!(report["warnings"], serde_json::json!([]));
}

#[test]
fn an_idle_connection_holds_nothing() {
    let port = free_port();
    let run = start(port, &["--grace-period", "60s", "--pre-stop-delay", "3s", "--quiet-window", "1s"]);
    let kept = keep_alive(port);
    let silent = TcpStream::connect(address(port)).expect("it listens");
    wait_for("both connections accepted", || crate::support::run::threads_of(&run) >= 3);
    run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Signal(libc::SIGTERM));
    assert_eq!(phases(&report), ["running", "pre-stop", "drain", "leftovers", "post-stop"], "{}", run.dump());
    assert_eq!(numbers(&report, "signal"), Some([0, 0, 0, 2]), "{report:#}");
    drop((kept, silent));
}

#[test]
fn a_request_that_never_ends_is_cut_off_by_the_hold_timeout() {
    let port = free_port();
    let run = start(port, &["--grace-period", "30s", "--pre-stop-delay", "0s", "--hold-timeout", "1500ms"]);
    let endless = slow_requests(address(port), "/slow?seconds=600", 1);
    run.wait_line("slow begins", DEADLINE);
    run.stop(libc::SIGTERM);
    run.wait_line("the hold timed out, 1 busy: the app gets its SIGTERM now", DEADLINE);
    let report = run.ends(Exit::Signal(libc::SIGTERM));
    assert_eq!(report["hold"], "timed out, 1 busy");
    assert_eq!(report["sigkill"], false);
    assert!(lasted(&report, "hold") >= Duration::from_millis(1500), "{report:#}");
    run.wait_line("the app exited with 1 request unanswered", DEADLINE);
    assert_eq!(endless.collect().dropped(), 1);
}

#[test]
fn quiet_waits_until_nothing_new_has_come() {
    let port = free_port();
    let options = ["--grace-period", "60s", "--pre-stop-delay", "0s", "--hold", "quiet", "--quiet-window", "1s"];
    let run = start(port, &options);
    let kept = KeptAlive::start(address(port), "/", 1, 20);
    run.stop_begun(libc::SIGTERM);
    let begin = Instant::now();
    let results = kept.finish(begin + LAG);
    assert_eq!(results.dropped(), 0);
    let report = run.ends(Exit::Signal(libc::SIGTERM));
    run.wait_line("hold over: quiet after ", DEADLINE);
    assert!(lasted(&report, "hold") >= LAG, "two seconds of requests, and one without: {report:#}");
}

/// How long the hold may last, in seconds: less than from t0 by what it took to look.
fn at_most(run: &Run) -> f64 {
    let line = run.wait_line("holding the app's SIGTERM back", DEADLINE).text;
    let seconds = line.strip_suffix(" s at most").and_then(|line| line.rsplit(' ').next()?.parse().ok());
    seconds.unwrap_or_else(|| panic!("{line}"))
}

#[test]
fn an_app_with_a_handler_keeps_half_of_the_time_for_itself() {
    let hold = |command: &[String], ready: &str| {
        let run = Run::start(&["--grace-period", "31s", "--pre-stop-delay", "0s"], command);
        run.wait_line(ready, DEADLINE);
        run
    };
    let port = free_port();
    let run = hold(&bare(port), "worker ready");
    let slow = slow_requests(address(port), "/slow?seconds=1", 1);
    run.wait_line("slow begins", DEADLINE);
    run.stop(libc::SIGTERM);
    // No handler: all of the 30 s but two.
    assert!((26.0..=28.0).contains(&at_most(&run)), "{}", run.dump());
    run.ends(Exit::Signal(libc::SIGTERM));
    slow.collect();
    let port = free_port();
    let run = hold(&words(&[&python3(), &app("web.py"), "--port", &port.to_string()]), "ready");
    wait_http(port, "/", DEADLINE);
    let slow = slow_requests(address(port), "/slow?seconds=1", 1);
    run.wait_line("slow begins", DEADLINE);
    run.stop(libc::SIGTERM);
    assert!((13.0..=15.0).contains(&at_most(&run)), "{}", run.dump());
    run.ends(Exit::Code(0));
    slow.collect();
}

/// Its SigCgt is clear, but it takes the signal all the same.
#[test]
fn an_app_that_waits_for_its_signal_keeps_half_of_the_time_too() {
    let port = free_port();
    let own = crate::support::graceful().to_string_lossy().into_owned();
    let app = words(&[&own, "demo-app", &format!("127.0.0.1:{port}")]);
    let run = Run::start(&["--grace-period", "31s", "--pre-stop-delay", "0s"], &app);
    run.wait_line("serving", DEADLINE);
    let slow = slow_requests(address(port), "/slow", 1);
    wait_for("the request", || crate::support::run::threads_of(&run) >= 2);
    run.stop(libc::SIGTERM);
    assert!((13.0..=15.0).contains(&at_most(&run)), "{}", run.dump());
    run.ends(Exit::Code(0));
    assert_eq!(slow.collect().dropped(), 0);
}

#[test]
fn an_app_that_listens_nowhere_is_not_held() {
    let run = Run::signals(&["--pre-stop-delay", "0s"], &["--exit-on", "TERM=4"]);
    run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Code(4));
    assert_eq!(phases(&report), ["running", "pre-stop", "drain", "leftovers", "post-stop"]);
    assert_eq!(report["warnings"], serde_json::json!([]));
}

#[test]
fn the_metrics_tell_what_is_in_flight() {
    let (port, probes) = (free_port(), free_port());
    let listen = format!("127.0.0.1:{probes}");
    let run = start(port, &["--grace-period", "60s", "--pre-stop-delay", "0s", "--probe-listen", &listen]);
    let page = || crate::support::get(probes, "/metrics", DEADLINE).map(|(_, _, body)| body).unwrap_or_default();
    assert!(!page().contains("graceful_in_flight"), "nothing is looked at before the stop");
    let slow = slow_requests(address(port), "/slow?seconds=2", 2);
    run.wait_lines("slow begins", 2, DEADLINE);
    run.stop(libc::SIGTERM);
    wait_for("two in flight", || page().contains("graceful_in_flight{state=\"busy\"} 2"));
    run.ends(Exit::Signal(libc::SIGTERM));
    assert_eq!(slow.collect().dropped(), 0);
}

/// graceful polls the app's readiness endpoint all the time, over connections of its own: they are no requests.
#[test]
fn gracefuls_own_polls_hold_nothing() {
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}/");
    let options = ["--grace-period", "60s", "--pre-stop-delay", "0s", "--hold", "quiet", "--quiet-window", "1s"];
    let run = start(port, &[&options[..], &["--ready-url", &url, "--ready-interval", "50ms"]].concat());
    run.wait_line("ready after", DEADLINE);
    run.stop(libc::SIGTERM);
    run.wait_line("hold over: quiet after ", DEADLINE);
    run.ends(Exit::Signal(libc::SIGTERM));
}

#[test]
fn the_profiles_are_listed() {
    let output = Command::new(crate::support::graceful()).args(["run", "--profile", "list"]).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("\nnginx        SIGQUIT  tests     TERM and INT drop requests"),
        "{text}"
    );
}

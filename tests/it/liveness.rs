//! `--live-url`: an app that shows no life is reported, stopped, or started again; over a real server that is frozen by SIGSTOP.

use crate::support::health::{metrics, value};
use crate::support::procfs::children;
use crate::support::run::{Run, kill, phases, signals_sent, wait_for, warnings, words};
use crate::support::{DEADLINE, Exit, app, free_port, get, python3};
use serde_json::Value;

const NO_DELAY: [&str; 4] = ["--grace-period", "120s", "--pre-stop-delay", "0s"];
/// A stop with this delay is over only after a test's deadline.
const LONG_DELAY: [&str; 4] = ["--grace-period", "120s", "--pre-stop-delay", "60s"];

/// graceful over `ready.py`, which it asks for life, with probes.
struct Asked {
    run: Run,
    probes: u16,
}

impl Asked {
    fn start(action: &str, options: &[&str], server: &[&str]) -> Asked {
        let (probes, port) = (free_port(), free_port());
        let (listen, url) = (format!("127.0.0.1:{probes}"), format!("http://127.0.0.1:{port}/"));
        let ready = ["--probe-listen", &listen, "--ready-url", &url, "--ready-interval", "20ms"];
        let live = ["--live-url", &url, "--live-interval", "50ms", "--live-timeout", "1s", "--live-threshold", "2"];
        let action = ["--live-action", action];
        let command = [vec![python3(), app("ready.py"), port.to_string()], words(server)].concat();
        let asked = Asked { run: Run::start(&[&ready[..], &live, &action, options].concat(), &command), probes };
        asked.wait_ready();
        asked
    }

    fn wait_ready(&self) {
        wait_for("ready", || self.status("/readyz") == 200);
    }

    /// The app neither runs nor ends from here on.
    fn freeze(&self) -> i32 {
        let pid = children(self.run.pid())[0];
        kill(pid, libc::SIGSTOP);
        pid
    }

    fn status(&self, path: &str) -> u16 {
        get(self.probes, path, DEADLINE).map_or(0, |(status, ..)| status)
    }
}

fn cause(report: &Value) -> &str {
    report["cause"]["kind"].as_str().expect("a cause")
}

#[test]
fn an_app_that_shows_no_life_is_reported_until_it_shows_some() {
    let asked = Asked::start("report", &NO_DELAY, &["--on-term", "exit", "--exit", "4"]);
    assert_eq!(asked.status("/livez"), 200);
    let pid = asked.freeze();
    asked.run.wait_line("the app shows no life: 2 times in a row", DEADLINE);
    wait_for("/livez to fail", || asked.status("/livez") == 503);
    let (_, _, body) = get(asked.probes, "/livez?verbose", DEADLINE).expect("an answer");
    assert!(body.contains("[-]live-url failed: the app has shown no life"), "{body}");
    assert_eq!(value(&metrics(asked.probes), "graceful_live"), Some(0.0));
    kill(pid, libc::SIGCONT);
    asked.run.wait_line("the app shows life again (200)", DEADLINE);
    wait_for("/livez", || asked.status("/livez") == 200);
    asked.run.signal(libc::SIGTERM);
    let report = asked.run.ends(Exit::Code(4));
    assert_eq!(cause(&report), "signal");
    assert!(warnings(&report).contains("the app shows no life"), "{report:#}");
}

#[test]
fn stop_stops_it_without_delay_and_hold_and_ends_whatever_restart_says() {
    let restart = ["--restart", "always", "--restart-delay", "5ms"];
    let asked = Asked::start("stop", &[&LONG_DELAY[..], &restart].concat(), &["--on-term", "exit", "--exit", "4"]);
    asked.freeze();
    let report = asked.run.ends(Exit::Code(4));
    assert_eq!((cause(&report), &report["restarts"]), ("hung", &Value::from(0)));
    assert!(!phases(&report).contains(&"hold".to_owned()), "{report:#}");
    assert_eq!(signals_sent(&report), ["SIGTERM stop"]);
}

#[test]
fn before_sigkill_the_escalations_take_the_evidence() {
    let asked = Asked::start("stop", &[&NO_DELAY[..], &["--escalate", "300ms:QUIT"]].concat(), &["--linger", "0"]);
    asked.freeze();
    let report = asked.run.ends(Exit::Signal(libc::SIGQUIT));
    assert_eq!(cause(&report), "hung");
    assert_eq!(signals_sent(&report), ["SIGTERM stop", "SIGQUIT escalation"]);
}

#[test]
fn restart_starts_it_again_though_nobody_said_restart() {
    let delay = ["--restart-delay", "5ms"];
    let asked = Asked::start("restart", &[&LONG_DELAY[..], &delay].concat(), &["--on-term", "exit", "--exit", "4"]);
    asked.freeze();
    asked.run.wait_line("the app, which showed no life, ended with 4", DEADLINE);
    wait_for("the next run", || value(&metrics(asked.probes), "graceful_generation") == Some(2.0));
    asked.wait_ready();
    assert_eq!(asked.status("/livez"), 200);
    assert_eq!(value(&metrics(asked.probes), "graceful_restarts_total{cause=\"hung\"}"), Some(1.0));
    // An end of its own is the end: that is what --restart would be for.
    kill(children(asked.run.pid())[0], libc::SIGKILL);
    let report = asked.run.ends(Exit::Signal(libc::SIGKILL));
    assert_eq!((&report["generation"], &report["restarts"]), (&Value::from(2), &Value::from(1)));
}

#[test]
fn a_stop_signal_while_a_hung_app_is_stopped_is_the_end() {
    let delay = ["--restart-delay", "5ms"];
    let server = ["--on-term", "stay", "--linger", "1", "--exit", "4"];
    let asked = Asked::start("restart", &[&NO_DELAY[..], &delay].concat(), &server);
    asked.freeze();
    asked.run.wait_line("the app shows no life", DEADLINE);
    asked.run.signal(libc::SIGTERM);
    let report = asked.run.ends(Exit::Code(4));
    assert_eq!((cause(&report), &report["restarts"]), ("hung", &Value::from(0)));
}

/// A slow start is no hang.
#[test]
fn it_is_not_asked_before_the_first_ready() {
    let (port, nobody) = (free_port(), free_port());
    let (url, dead) = (format!("http://127.0.0.1:{port}/ready"), format!("http://127.0.0.1:{nobody}/"));
    let ready = ["--ready-url", &url, "--ready-interval", "20ms"];
    let live = ["--live-url", &dead, "--live-interval", "20ms", "--live-threshold", "1", "--live-action", "stop"];
    let server =
        words(&[&python3(), &app("ready.py"), &port.to_string(), "--not-ready", "--on-term", "exit", "--exit", "4"]);
    let run = Run::start(&[&ready[..], &live, &NO_DELAY].concat(), &server);
    run.wait_line("GET 8 ", DEADLINE);
    assert!(!run.stderr_so_far().contains("shows no life"), "{}", run.dump());
    run.signal(libc::SIGUSR1);
    let report = run.ends(Exit::Code(4));
    assert_eq!(cause(&report), "hung");
}

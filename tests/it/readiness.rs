//! The app's readiness endpoint as graceful sees it and says it: at the start, and from the stop signal on. However the
//! endpoint behaves, it is only looked at: no phase is longer for it and no exit status different.

use crate::support::run::{Run, phases, signals_sent, wait_for, warnings, words};
use crate::support::{DEADLINE, Exit, app, free_port, get, python3};
use serde_json::Value;
use std::time::{Duration, Instant};

const NO_DELAY: [&str; 4] = ["--grace-period", "120s", "--pre-stop-delay", "0s"];

/// graceful with a readiness endpoint over `tests/apps/ready.py`, once that listens.
fn start(options: &[&str], server: &[&str]) -> (Run, u16) {
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}/ready");
    let command = [words(&[&python3(), &app("ready.py"), &port.to_string()]), words(server)].concat();
    let run = Run::start(&[options, &["--ready-url", &url]].concat(), &command);
    run.wait_line("listening", DEADLINE);
    (run, port)
}

/// So many requests the server has counted.
fn requests(run: &Run) -> usize {
    run.lines().iter().filter(|line| line.text.starts_with("GET ") && line.text.ends_with(" /ready")).count()
}

/// The seconds, or milliseconds, that a log line names after `key`.
fn duration_after(text: &str, key: &str) -> Duration {
    let mut words = text.split_once(key).map(|(_, rest)| rest).unwrap_or_default().split(' ');
    let number: f64 = words.next().and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("{key:?} in {text:?}"));
    let unit = if words.next() == Some("ms") { 0.001 } else { 1.0 };
    Duration::from_secs_f64(number * unit)
}

/// The report's readiness changes, as "ready" and "not ready" and "refused".
fn changes(report: &Value) -> Vec<&'static str> {
    let changes = report["readiness"].as_array().expect("readiness is a list").iter();
    let text = |change: &Value| match (change["ready"] == true, change["refused"] == true) {
        (true, _) => "ready",
        (false, true) => "refused",
        (false, false) => "not ready",
    };
    changes.map(text).collect()
}

/// A wrong --ready-url: no listener closes that never was.
#[test]
fn a_port_where_nobody_ever_listened_is_said_to_be_one() {
    let url = format!("http://127.0.0.1:{}/", crate::support::free_port());
    let options = ["--ready-url", &url, "--pre-stop-delay", "0s", "--log-level", "debug"];
    let run = Run::signals(&options, &["--exit-on", "USR1=3"]);
    run.wait_line("not ready yet: connection refused", DEADLINE);
    run.stop(libc::SIGTERM);
    run.wait_line("nothing has ever listened at --ready-url (connection refused)", DEADLINE);
    run.signal(libc::SIGUSR1);
    run.wait(DEADLINE);
    assert!(!run.dump().contains("listener closed"), "{}", run.dump());
}

#[test]
fn the_log_says_when_the_app_was_ready() {
    let options = [&NO_DELAY[..], &["--ready-interval", "50ms", "--log-level", "debug"]].concat();
    let (run, _) = start(&options, &["--not-ready"]);
    // It listens, so it was started before now; what the log says must be at least from now on.
    let began = Instant::now();
    wait_for("polls", || requests(&run) >= 3);
    run.wait_line("not ready yet: 503", DEADLINE);
    assert!(!run.stderr_so_far().contains("ready after"), "{}", run.dump());
    let not_ready = began.elapsed();
    run.stop(libc::SIGUSR1);
    let line = run.wait_line("ready after ", DEADLINE).text;
    assert!(line.ends_with(" (200)"), "{line}");
    let after = duration_after(&line, "ready after ");
    assert!(after + Duration::from_millis(51) >= not_ready, "{line}, but {not_ready:?} long it was not");
    // What was said once of the same failure is not said again.
    assert_eq!(run.stderr_so_far().matches("not ready yet: 503").count(), 1, "{}", run.dump());
    run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Code(0));
    assert_eq!(changes(&report)[0], "ready");
    assert!(report["readiness"][0]["at_s"].as_f64().unwrap() <= 0.0, "before the stop signal: {report:#}");
}

/// For an app without an endpoint: that it listens, as kubelet's tcpSocket probes.
#[test]
fn a_port_that_takes_connections_is_ready() {
    let port = free_port();
    let url = format!("tcp://127.0.0.1:{port}");
    let command = words(&[&python3(), &app("ready.py"), &port.to_string(), "--on-term", "close", "--linger", "0.6"]);
    let options = ["--ready-interval", "20ms", "--log-level", "debug", "--ready-url", &url];
    let run = Run::start(&[&NO_DELAY[..], &options].concat(), &command);
    let early = run.wait_line("not ready yet: connection refused", DEADLINE);
    let listening = run.wait_line("listening", DEADLINE);
    let ready = run.wait_line("ready after ", DEADLINE);
    assert!(ready.text.ends_with(" (connected)") && early.at < listening.at, "{}", run.dump());
    run.stop(libc::SIGTERM);
    run.wait_line("listener closed ", DEADLINE);
    let report = run.ends(Exit::Code(0));
    assert_eq!(changes(&report).last(), Some(&"refused"), "{report:#}");
}

#[test]
fn a_ready_app_is_left_alone_until_the_stop_signal() {
    let options = ["--grace-period", "120s", "--pre-stop-delay", "60s", "--ready-interval", "20ms"];
    let (run, port) = start(&options, &[]);
    run.wait_line("ready after", DEADLINE);
    let polled = requests(&run);
    // Fifty intervals without a poll. Only time can show that nothing comes; the request at its end is the proof that
    // the server still counts.
    std::thread::sleep(Duration::from_secs(1));
    get(port, "/", DEADLINE).unwrap();
    wait_for("the last request", || run.lines().iter().any(|line| line.text.ends_with(" /")));
    assert_eq!(requests(&run), polled, "{}", run.dump());
    let t0 = run.stop_begun(libc::SIGTERM);
    wait_for("polls after the begin of the stop", || requests(&run) >= polled + 3);
    assert!(!run.stdout_so_far().contains("SIGTERM"), "they come at once, not when the app is told\n{}", run.dump());
    let first = run.lines().into_iter().filter(|line| line.text.ends_with(" /ready")).nth(polled).unwrap();
    assert!(first.at >= t0);
    run.stop(libc::SIGINT);
    run.ends(Exit::Code(0));
}

#[test]
fn readiness_that_fails_at_the_stop_signal_is_said_with_its_time() {
    let (run, _) = start(&NO_DELAY, &["--on-term", "fail", "--linger", "0.6", "--exit", "4"]);
    run.wait_line("ready after", DEADLINE);
    run.stop(libc::SIGTERM);
    let line = run.wait_line(" after the app's SIGTERM (503 Service Unavailable)", DEADLINE).text;
    assert!(line.starts_with("graceful: not ready ") && line.contains(" ms after the app's SIGTERM"), "{line}");
    let report = run.ends(Exit::Code(4));
    assert_eq!(changes(&report)[..2], ["ready", "not ready"]);
    assert!(!run.stderr_so_far().contains("still ready"), "{}", run.dump());
}

#[test]
fn readiness_that_never_fails_is_said() {
    let (run, _) = start(&NO_DELAY, &["--linger", "3.5", "--exit", "4"]);
    run.wait_line("ready after", DEADLINE);
    let t0 = run.stop(libc::SIGTERM);
    let line = run.wait_line("still ready 3", DEADLINE);
    assert!(line.text.contains(" after the app's SIGTERM: the app does not fail its readiness"), "{}", line.text);
    assert!(line.at - t0 >= Duration::from_secs(3), "{}", run.dump());
    let report = run.ends(Exit::Code(4));
    assert!(warnings(&report).contains("does not fail its readiness"), "{report:#}");
}

#[test]
fn a_listener_that_closes_is_said_with_its_time() {
    let (run, _) = start(&NO_DELAY, &["--on-term", "close", "--linger", "3", "--exit", "4"]);
    run.wait_line("ready after", DEADLINE);
    run.stop(libc::SIGTERM);
    let line = run.wait_line("listener closed ", DEADLINE).text;
    assert!(line.contains(" after the app's SIGTERM (connection refused)"), "{line}");
    let report = run.ends(Exit::Code(4));
    // In between a connection may be reset that the listener had not accepted yet.
    let changes = changes(&report);
    assert_eq!((changes.first(), changes.last()), (Some(&"ready"), Some(&"refused")), "{changes:?}");
}

/// Side by side: each mostly waits.
#[test]
fn a_broken_endpoint_delays_nothing_and_changes_nothing() {
    std::thread::scope(|scope| {
        for (answer, why) in [
            ("hang", "no answer within 300ms"),
            ("garbage", ""),
            ("endless", ""),
            ("redirects", "redirect loop: more than 10 redirects"),
            ("silence", ""),
        ] {
            scope.spawn(move || a_broken_endpoint(answer, why));
        }
    });
}

fn a_broken_endpoint(answer: &str, why: &str) {
    // Until something was seen of the app's connections its signal is held back, and a busy machine may take its time.
    const DELAY: Duration = Duration::from_secs(3);
    let options = ["--grace-period", "120s", "--pre-stop-delay", "3s", "--ready-timeout", "300ms"];
    let options = [&options[..], &["--ready-interval", "50ms", "--log-level", "debug"]].concat();
    let (run, _) = start(&options, &["--answer", answer, "--exit", "4"]);
    match answer {
        // More than the 10 KiB that are read is a good answer; its end is nobody's concern.
        "endless" => run.wait_line("ready after", DEADLINE),
        _ => run.wait_line(&format!("not ready yet: {why}"), DEADLINE),
    };
    // A hanging answer is always under way now.
    let t0 = run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Code(4));
    let said = run.dump();
    assert_eq!(signals_sent(&report), ["SIGTERM stop"], "{answer}\n{said}");
    assert_eq!(phases(&report), ["running", "pre-stop", "drain", "leftovers", "post-stop"], "{answer}\n{said}");
    let (_, stdout, _) = run.wait_output(DEADLINE);
    assert!(stdout.contains("SIGTERM\n"), "{answer}: {stdout}");
    let told = run.lines().into_iter().find(|line| line.text == "SIGTERM").expect("the app was told").at;
    assert!(told - t0 >= DELAY, "{answer}\n{}", run.dump());
    // The app lingers 0.3 s; a request waits a minute. The deadline of the wait above is the bound.
    assert_eq!(report["sigkill"], false, "{answer}");
}

#[test]
fn a_redirect_to_another_host_is_a_warning() {
    // Unlike kubelet's, nobody reads graceful's events: it is a line in the log.
    let listener = std::net::TcpListener::bind(crate::support::address(0)).unwrap();
    let url = format!("http://127.0.0.1:{}/", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let _ = connection.read(&mut [0; 4096]);
            let head = "HTTP/1.1 302 Found\r\nLocation: http://login.example/\r\nContent-Length: 0\r\n\r\n";
            let _ = connection.write_all(head.as_bytes());
        }
    });
    let run = Run::signals(&[&NO_DELAY[..], &["--ready-url", &url]].concat(), &["--exit-on", "TERM=4"]);
    run.wait_line("redirect to another host not followed: login.example", DEADLINE);
    run.wait_line("ready after", DEADLINE);
    run.stop(libc::SIGTERM);
    assert!(warnings(&run.ends(Exit::Code(4))).contains("login.example"));
}

#[test]
fn a_slow_start_is_reported_and_goes_on() {
    let options = [&NO_DELAY[..], &["--startup-timeout", "200ms", "--ready-interval", "20ms"]].concat();
    let (run, _) = start(&options, &["--not-ready", "--exit", "4"]);
    run.wait_line("not ready 200 ms after the start (--startup-timeout): it goes on", DEADLINE);
    run.stop(libc::SIGUSR1);
    run.wait_line("ready after", DEADLINE);
    run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Code(4));
    assert!(warnings(&report).contains("--startup-timeout"), "{report:#}");
    assert_eq!(report["cause"]["signal"], "SIGTERM");
}

#[test]
fn a_slow_start_can_stop_the_app() {
    // Long enough for the interpreter to start and take SIGTERM in hand on a busy machine.
    let options = [&NO_DELAY[..], &["--startup-timeout", "3s", "--startup-action", "stop"]].concat();
    let (run, _) = start(&options, &["--not-ready", "--exit", "4"]);
    run.wait_line("not ready 3 s after the start (--startup-timeout): stopping it", DEADLINE);
    let report = run.ends(Exit::Code(4));
    assert_eq!(report["cause"]["kind"], "startup-timeout");
    assert_eq!(signals_sent(&report), ["SIGTERM stop"]);
}

#[test]
fn a_start_in_time_is_no_news() {
    let options = [&NO_DELAY[..], &["--startup-timeout", "5s", "--startup-action", "stop"]].concat();
    let (run, _) = start(&options, &["--exit", "4"]);
    run.wait_line("ready after", DEADLINE);
    run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Code(4));
    assert_eq!(warnings(&report), "");
    assert_eq!(report["cause"]["kind"], "signal");
}

#[test]
fn readiness_of_an_app_that_has_exited_is_no_news() {
    let (run, _) = start(&NO_DELAY, &["--on-term", "exit", "--exit", "4"]);
    run.wait_line("ready after", DEADLINE);
    run.stop(libc::SIGTERM);
    run.ends(Exit::Code(4));
    let exited = run.wait_line("exited after", DEADLINE);
    let lines = run.lines();
    let late = lines.iter().filter(|line| line.at > exited.at && line.text.contains("after the app's SIGTERM"));
    assert_eq!(late.count(), 0, "{}", run.dump());
}

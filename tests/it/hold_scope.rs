//! The hold where there is something to it: queues, ports that do not count, sandboxes, and what it costs an app that needs
//! none. (Unix sockets have a file of their own.)

use crate::support::docker::{Container, image};
use crate::support::load::{KeptAlive, slow_requests};
use crate::support::run::{Run, folder, lasted, phases, words};
use crate::support::{DEADLINE, Exit, Proc, address, app, free_port, in_pid_namespace, python3, wait_http};
use std::ffi::OsString;
use std::time::{Duration, Instant};

fn jobs(seconds: &str, drain: &std::path::Path) -> Vec<String> {
    words(&[&python3(), &app("jobs.py"), seconds, &drain.to_string_lossy()])
}

/// The jobs that began and were not done.
fn unfinished(lines: &[crate::support::Line]) -> Vec<String> {
    let of =
        |end: &str| lines.iter().filter_map(|line| line.text.strip_suffix(end).map(str::to_owned)).collect::<Vec<_>>();
    let done = of(" done");
    of(" begins").into_iter().filter(|job| !done.contains(job)).collect()
}

/// It has no handler and listens nowhere: the drain file keeps new jobs away, and the delay lets the last one end.
#[test]
fn a_queue_loop_without_a_handler_finishes_its_job() {
    let files = folder();
    let drain = files.path().join("drain");
    let options = ["--grace-period", "60s", "--pre-stop-delay", "3s", "--drain-file", drain.to_str().unwrap()];
    let run = Run::start(&options, &jobs("1", &drain));
    run.wait_line("job 2 begins", DEADLINE);
    run.stop(libc::SIGTERM);
    run.ends(Exit::Signal(libc::SIGTERM));
    run.wait_line("idle", DEADLINE);
    assert_eq!(unfinished(&run.lines()), Vec::<String>::new(), "{}", run.dump());
}

#[test]
fn control_a_queue_loop_under_tini_loses_its_job() {
    let Some(tini) = crate::support::tini() else { return };
    let files = folder();
    let args: Vec<OsString> = [tini.into_os_string(), "--".into()]
        .into_iter()
        .chain(jobs("1", &files.path().join("drain")).into_iter().map(Into::into))
        .collect();
    let process = Proc::spawn_pid1(&mut in_pid_namespace(args));
    process.wait_line("job 2 begins", DEADLINE);
    process.signal(libc::SIGTERM);
    process.wait(DEADLINE);
    assert_eq!(unfinished(&process.lines()), ["job 2"], "{}", process.dump());
}

/// Two servers in one tree; --ports names the other one.
#[test]
fn ports_that_are_not_named_hold_nothing() {
    let (counted, other) = (free_port(), free_port());
    let server = |port: u16| format!("{} {} {port}", python3(), app("bare.py"));
    let text = format!("{} & {} & wait", server(counted), server(other));
    let ports = counted.to_string();
    let options = ["--grace-period", "60s", "--pre-stop-delay", "300ms", "--ports", &ports];
    let run = Run::start(&options, &crate::support::run::shell(&text));
    run.wait_lines("worker ready", 2, DEADLINE);
    wait_http(other, "/", DEADLINE);
    let endless = slow_requests(address(other), "/slow?seconds=600", 1);
    run.wait_line("slow begins", DEADLINE);
    run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Signal(libc::SIGTERM));
    assert!(!phases(&report).contains(&"hold".to_owned()), "{report:#}");
    assert_eq!(endless.collect().dropped(), 1);
}

/// There is always something in flight: the hold timeout ends it, and the budget is kept.
#[test]
fn clients_that_never_stop_sending_are_cut_off_by_the_hold_timeout() {
    let port = free_port();
    let options = ["--grace-period", "30s", "--pre-stop-delay", "0s", "--hold", "quiet", "--hold-timeout", "1500ms"];
    let run = Run::start(&options, &words(&[&python3(), &app("bare.py"), &port.to_string()]));
    run.wait_line("worker ready", DEADLINE);
    wait_http(port, "/", DEADLINE);
    let kept = KeptAlive::start(address(port), "/", 4, 100);
    let begin = run.stop_begun(libc::SIGTERM);
    run.wait_line("the hold timed out", DEADLINE);
    let report = run.ends(Exit::Signal(libc::SIGTERM));
    kept.finish(begin + Duration::from_millis(1500));
    assert!(lasted(&report, "hold") >= Duration::from_millis(1500), "{report:#}");
    assert_eq!(report["sigkill"], false);
    assert!(report["budget"]["left_s"].as_f64() > Some(10.0), "{report:#}");
}

/// How long the stop of an app with a handler takes, with so many requests of a second and a half in its hands.
fn stop_of_a_good_app(hold: &str, requests: usize) -> Duration {
    let port = free_port();
    let command = words(&[&python3(), &app("web.py"), "--port", &port.to_string()]);
    let run = Run::start(&["--grace-period", "60s", "--pre-stop-delay", "0s", "--hold", hold], &command);
    wait_http(port, "/", DEADLINE);
    let slow = slow_requests(address(port), "/slow?seconds=1.5", requests);
    run.wait_lines("slow begins", requests, DEADLINE);
    let begin = run.stop(libc::SIGTERM);
    run.ends(Exit::Code(0));
    assert_eq!(slow.collect().dropped(), 0, "{}", run.dump());
    begin.elapsed()
}

/// Its requests end in either case; the hold adds no more than they take. (Twice that is the deadline, for slow machines.)
#[test]
fn an_app_with_a_handler_stops_no_later_than_its_requests() {
    let request = Duration::from_millis(1500);
    for requests in [0, 2] {
        let (never, idle) = (stop_of_a_good_app("never", requests), stop_of_a_good_app("idle", requests));
        println!("{requests} in flight: {never:?} under --hold never, {idle:?} under --hold idle");
        assert!(idle < never + request * 2, "{never:?}, {idle:?}");
    }
}

/// In a sandbox without netlink sockets: the tables of /proc show that there are connections. It is said once, and a request
/// in flight is waited for all the same, until the quiet window says that nothing moves.
#[test]
fn without_netlink_the_hold_says_so_and_still_waits() {
    let Some(image) = image() else { return };
    let (files, port) = (folder(), free_port());
    let rule = serde_json::json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{
            "names": ["socket"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": libc::EPERM,
            "args": [{ "index": 0, "value": libc::AF_NETLINK, "op": "SCMP_CMP_EQ" }],
        }],
    });
    let file = files.path().join("seccomp.json");
    std::fs::write(&file, rule.to_string()).expect("written");
    let seccomp = format!("seccomp={}", file.display());
    let options = ["--network", "host", "--security-opt", &seccomp];
    let listen = format!("127.0.0.1:{port}");
    let args = [
        "--grace-period",
        "30s",
        "--pre-stop-delay",
        "0s",
        "--",
        "/graceful",
        "demo-app",
        "--fault",
        "no-handler",
        &listen,
    ];
    let container = Container::run(&image, &options, &args);
    container.wait_line("serving");
    wait_http(port, "/", DEADLINE);
    let slow = slow_requests(address(port), "/slow?ms=1200", 1);
    // Nothing tells that the request has come: as long as it takes to be sent.
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(300) {
        std::thread::sleep(Duration::from_millis(10));
    }
    container.stop(30);
    let (code, _, stderr) = container.end();
    assert_eq!((code, slow.collect().dropped()), (143, 0), "{stderr}");
    let said = "sock_diag cannot be used (Operation not permitted";
    assert_eq!(stderr.matches(said).count(), 1, "{stderr}");
}

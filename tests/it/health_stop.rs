//! The probes while the app stops: when readiness fails, and that they are answered to the very end.

use crate::support::health::header;
use crate::support::run::{Run, folder, wait_for, words};
use crate::support::{DEADLINE, Exit, free_port, get, get_json, signals};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A delay that only SIGINT ends.
const LONG_DELAY: [&str; 4] = ["--grace-period", "120s", "--pre-stop-delay", "60s"];

/// graceful with a probe server over this app, once /readyz is 200.
fn start(port: u16, options: &[&str], command: &[String]) -> Run {
    let listen = format!("127.0.0.1:{port}");
    let run = Run::start(&[&["--probe-listen", &listen], &LONG_DELAY[..], options].concat(), command);
    run.wait_line("ready", DEADLINE);
    wait_for("ready", || get(port, "/readyz", DEADLINE).is_ok_and(|(status, ..)| status == 200));
    run
}

#[track_caller]
fn status(port: u16, path: &str) -> u16 {
    get(port, path, DEADLINE).expect("an answer").0
}

/// Both probes that go on to mean something in a stop.
#[track_caller]
fn live_and_ready(port: u16) -> (u16, u16) {
    (status(port, "/livez"), status(port, "/readyz"))
}

/// How late after the stop signal the last request was sent that was still answered with 200.
fn still_ready_for() -> Duration {
    let port = free_port();
    let run = start(port, &[], &signals(&["--exit-on", "TERM=4"]));
    let begin = run.stop(libc::SIGTERM);
    let mut late = Duration::ZERO;
    loop {
        let sent = begin.elapsed();
        match status(port, "/readyz") {
            200 => late = sent,
            other => {
                assert_eq!(other, 503);
                break;
            }
        }
        assert!(sent < DEADLINE, "{}", run.dump());
    }
    // From then on for good, and so that a client looks for another instance.
    for _ in 0..100 {
        let (status, head, body) = get(port, "/readyz", DEADLINE).expect("an answer");
        assert_eq!(status, 503, "{body}");
        assert_eq!(header(&head, "connection"), Some("close"), "{head}");
        assert!(header(&head, "retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()), "{head}");
        assert!(body.contains("[-]shutdown failed: the stop has begun, phase pre-stop\n"), "{body}");
    }
    assert_eq!(status(port, "/livez"), 200);
    assert!(!run.lines().iter().any(|line| line.text == "SIGTERM"), "the app serves on\n{}", run.dump());
    run.stop(libc::SIGINT);
    run.ends(Exit::Code(4));
    late
}

#[test]
fn readiness_fails_within_a_millisecond_of_the_stop_signal() {
    // A busy machine may let graceful wait for a processor; that it can be so fast shows in the best of some rounds.
    let mut rounds = Vec::new();
    while rounds.len() < 20 && rounds.last().is_none_or(|late| *late >= Duration::from_millis(1)) {
        rounds.push(still_ready_for());
    }
    println!("still ready: {rounds:?}");
    assert!(rounds.last().is_some_and(|late| *late < Duration::from_millis(1)), "{rounds:?}");
}

/// An app that ends when the test says so: it prints "told" on SIGTERM, waits for the file `drained`, and leaves a
/// process behind that waits for the file `left`.
fn patient(folder: &std::path::Path) -> Vec<String> {
    let until = |name: &str| format!("until test -e {}/{name}; do sleep 0.02; done", folder.display());
    let script = format!(
        "trap 'echo told; {}; exit 4' TERM; (trap '' TERM; {}) & echo ready; while :; do sleep 0.02; done",
        until("drained"),
        until("left")
    );
    words(&["sh", "-c", &script])
}

#[test]
fn at_drain_it_fails_with_the_apps_own_signal() {
    let (port, folder) = (free_port(), folder());
    let run = start(port, &["--fail-readiness", "at-drain"], &patient(folder.path()));
    run.stop_begun(libc::SIGTERM);
    for _ in 0..50 {
        assert_eq!(live_and_ready(port), (200, 200), "{}", run.dump());
    }
    assert!(!run.stdout_so_far().contains("told"), "{}", run.dump());
    run.stop(libc::SIGINT);
    run.wait_line("told", DEADLINE);
    assert_eq!(live_and_ready(port), (200, 503), "{}", run.dump());
    std::fs::write(folder.path().join("left"), "").expect("room");
    std::fs::write(folder.path().join("drained"), "").expect("room");
    run.ends(Exit::Code(4));
}

#[test]
fn with_never_it_fails_when_the_app_is_gone() {
    let (port, folder) = (free_port(), folder());
    let run = start(port, &["--fail-readiness", "never"], &patient(folder.path()));
    run.stop_begun(libc::SIGTERM);
    assert_eq!(live_and_ready(port), (200, 200), "{}", run.dump());
    run.stop(libc::SIGINT);
    run.wait_line("told", DEADLINE);
    for _ in 0..50 {
        assert_eq!(live_and_ready(port), (200, 200), "{}", run.dump());
    }
    std::fs::write(folder.path().join("drained"), "").expect("room");
    run.wait_line("exited after", DEADLINE);
    assert_eq!(live_and_ready(port), (503, 503), "{}", run.dump());
    std::fs::write(folder.path().join("left"), "").expect("room");
    run.ends(Exit::Code(4));
}

#[test]
fn probes_are_answered_to_the_very_end() {
    let (port, folder) = (free_port(), folder());
    let file = |name: &str| folder.path().join(name);
    let until = |name: &str| format!("sh -c 'until test -e {}; do sleep 0.02; done'", file(name).display());
    let hook = format!("post-stop={}", until("hooked"));
    let options = ["--hold", &until("held"), "--hold-timeout", "30s", "--hook", &hook];
    let run = start(port, &options, &patient(folder.path()));

    let (over, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        // Somebody who asks all the time, whatever the phase: when the first question without an answer was asked.
        let asked = scope.spawn(|| {
            loop {
                let sent = Instant::now();
                if over.load(Ordering::SeqCst) || get(port, "/readyz", DEADLINE).is_err() {
                    return sent;
                }
                answers.fetch_add(1, Ordering::SeqCst);
            }
        });
        let phase_is = |phase: &str, expected: (u16, u16)| {
            wait_for(phase, || get_json(port, "/readyz")["phase"] == phase);
            assert_eq!(live_and_ready(port), expected, "{phase}");
            let before = answers.load(Ordering::SeqCst);
            wait_for("more answers", || answers.load(Ordering::SeqCst) >= before + 20 || asked.is_finished());
            assert!(!asked.is_finished(), "no answer in {phase}");
        };
        let go_on = |name: &str| std::fs::write(file(name), "").expect("room");
        // A failure in here must not leave the thread to run on.
        let steps = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            run.stop(libc::SIGTERM);
            phase_is("pre-stop", (200, 503));
            run.stop(libc::SIGINT);
            phase_is("hold", (200, 503));
            go_on("held");
            run.wait_line("told", DEADLINE);
            phase_is("drain", (200, 503));
            go_on("drained");
            phase_is("leftovers", (503, 503));
            go_on("left");
            phase_is("post-stop", (503, 503));
            let end = Instant::now();
            go_on("hooked");
            run.ends(Exit::Code(4));
            end
        }));
        over.store(true, Ordering::SeqCst);
        let first_failure = asked.join().expect("it does not panic");
        let end = steps.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        assert!(first_failure >= end, "no answer {:?} before the end\n{}", end - first_failure, run.dump());
    });
    assert!(get(port, "/livez", DEADLINE).is_err(), "the port is free again");
}

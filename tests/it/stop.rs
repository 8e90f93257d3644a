//! A stop as the user sees it: when the app gets which signal, what becomes of what it leaves, how it all ends.
//!
//! Times are only bounded from below (by the clock) or by an event: a delay of 30 s that a test does not wait for
//! proves that it was cut short. The one upper bound is G, which is what graceful promises. Where another init has
//! the fault that graceful does not have, tini shows it.

use crate::support::run::{
    Run, began, folder, is_alive, kill, lasted, number_after, phases, python, shell, signals_sent, wait_for, warnings,
    words,
};
use crate::support::{
    DEADLINE, Exit, Proc, address, app, free_port, get, graceful_command, in_pid_namespace, python3, signals, tini,
};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// No phase of it ends by time within a test.
const LONG: [&str; 4] = ["--grace-period", "120s", "--pre-stop-delay", "60s"];
/// No delay, and SIGKILL far away.
const NO_DELAY: [&str; 4] = ["--grace-period", "120s", "--pre-stop-delay", "0s"];
/// SIGKILL after 1 s, and 4 s for a busy machine to end before G.
const SHORT: [&str; 6] = ["--grace-period", "5s", "--kill-margin", "4s", "--pre-stop-delay", "0s"];
const SHORT_GRACE: Duration = Duration::from_secs(5);
const SHORT_KILL: Duration = Duration::from_secs(1);

fn with<'a>(base: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [base, more].concat()
}

fn ready_app(port: u16, options: &[&str]) -> Vec<String> {
    [words(&[&python3(), &app("ready.py"), &port.to_string()]), words(options)].concat()
}

/// When the app said that it got this signal.
#[track_caller]
fn told_at(run: &Run, signal: &str) -> Instant {
    wait_for("the app's word", || run.lines().iter().any(|line| line.text == signal));
    let line = run.lines().into_iter().find(|line| line.text == signal);
    line.unwrap_or_else(|| panic!("the app did not get {signal}\n{}", run.dump())).at
}

/// It ended after K and before G.
#[track_caller]
fn assert_killed_in_time(run: &Run, t0: Instant) {
    let took = run.exited_at().expect("it has exited") - t0;
    assert!(took >= SHORT_KILL, "SIGKILL came {took:?} after the stop signal\n{}", run.dump());
    assert!(took < SHORT_GRACE, "the stop took {took:?}, longer than G\n{}", run.dump());
}

// The pre-stop delay

#[test]
fn the_app_serves_on_during_the_delay_and_gets_its_signal_after_it() {
    let port = free_port();
    let options = ["--grace-period", "60s", "--pre-stop-delay", "700ms"];
    let run = Run::start(&options, &ready_app(port, &["--on-term", "close", "--exit", "6"]));
    run.wait_line("listening", DEADLINE);
    let t0 = run.stop_begun(libc::SIGTERM);
    let (status, ..) = get(port, "/", DEADLINE).expect("it serves on");
    assert_eq!(status, 200);
    run.wait_line("closed", DEADLINE);
    assert!(told_at(&run, "SIGTERM") - t0 >= Duration::from_millis(700), "{}", run.dump());
    let report = run.ends(Exit::Code(6));
    assert!(began(&report, "drain") >= Duration::from_millis(699), "{report:#}");
    assert_eq!(phases(&report), ["running", "pre-stop", "drain", "leftovers", "post-stop"]);
}

#[test]
fn control_under_tini_the_app_stops_serving_at_once() {
    let Some(tini) = tini() else { return };
    let port = free_port();
    let mut command = in_pid_namespace([tini.into_os_string(), "--".into()]);
    let app = Proc::spawn_pid1(command.args(ready_app(port, &["--on-term", "close", "--linger", "20"])));
    app.wait_line("listening", DEADLINE);
    app.signal(libc::SIGTERM);
    app.wait_line("closed", DEADLINE);
    assert!(get(port, "/", DEADLINE).is_err(), "the signal went straight through, and the listener is closed");
}

#[test]
fn sigint_skips_the_delay() {
    let run = Run::signals(&LONG, &["--exit-on", "INT=5"]);
    run.stop(libc::SIGINT);
    run.wait_line("SIGINT: stopping without the pre-stop delay", DEADLINE);
    let report = run.ends(Exit::Code(5));
    assert_eq!(signals_sent(&report), ["SIGINT stop"]);
    assert_eq!(report["cause"], serde_json::json!({"kind": "signal", "signal": "SIGINT"}));
}

#[test]
fn sigint_ends_the_delay_of_a_stop_that_sigterm_began() {
    let run = Run::signals(&LONG, &["--exit-on", "TERM=4"]);
    run.stop_begun(libc::SIGTERM);
    run.stop(libc::SIGINT);
    run.wait_line("SIGINT ends the pre-stop delay", DEADLINE);
    let report = run.ends(Exit::Code(4));
    // It ended the delay and nothing else: the app was told once.
    assert_eq!(signals_sent(&report), ["SIGTERM stop"]);
}

#[test]
fn a_second_stop_signal_during_the_drain_goes_to_the_app() {
    let run = Run::signals(&NO_DELAY, &["--exit-on", "TERM@2=7"]);
    run.stop(libc::SIGTERM);
    wait_for("the app's SIGTERM", || run.stdout_so_far().contains("\nSIGTERM\n"));
    run.stop(libc::SIGTERM);
    assert_eq!(signals_sent(&run.ends(Exit::Code(7))), ["SIGTERM stop", "SIGTERM again"]);
}

#[test]
fn other_signals_reach_the_app_during_the_delay() {
    let run = Run::signals(&LONG, &["--exit-on", "USR2=8"]);
    run.stop_begun(libc::SIGTERM);
    run.stop(libc::SIGRTMIN() + 2);
    run.wait_line("SIGRTMIN+2", DEADLINE);
    run.stop(libc::SIGUSR2);
    run.ends(Exit::Code(8));
    let (_, told, _) = run.wait_output(DEADLINE);
    assert!(!told.contains("SIGTERM"), "{told}");
}

#[test]
fn a_stopped_app_is_continued_to_stop() {
    let run = Run::signals(&NO_DELAY, &["--exit-on", "TERM=3"]);
    let pid = number_after(&run.stdout_so_far(), "ready pid=");
    kill(pid, libc::SIGSTOP);
    wait_for("the stopped app", || {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") T "))
    });
    run.stop(libc::SIGTERM);
    run.ends(Exit::Code(3));
}

// Which signal

#[test]
fn the_app_gets_the_stop_signal_that_it_understands() {
    let run = Run::signals(&with(&NO_DELAY, &["--stop-signal", "QUIT"]), &["--exit-on", "QUIT=5"]);
    run.stop(libc::SIGTERM);
    assert_eq!(signals_sent(&run.ends(Exit::Code(5))), ["SIGQUIT stop"]);
    let (_, told, _) = run.wait_output(DEADLINE);
    assert!(told.contains("\nSIGQUIT\n") && !told.contains("SIGTERM"), "{told}");
}

#[test]
fn another_signal_can_begin_the_stop() {
    let run = Run::signals(&with(&NO_DELAY, &["--stop-on", "USR1"]), &["--exit-on", "USR1=5"]);
    run.stop_begun(libc::SIGUSR1);
    assert_eq!(signals_sent(&run.ends(Exit::Code(5))), ["SIGUSR1 stop"]);
}

#[test]
fn signals_are_rewritten_or_dropped_on_their_way() {
    let options = with(&NO_DELAY, &["--rewrite", "HUP:USR2", "--rewrite", "USR1:0"]);
    let run = Run::signals(&options, &["--exit-on", "USR2=5"]);
    run.stop(libc::SIGUSR1);
    run.stop(libc::SIGHUP);
    let report = run.ends(Exit::Code(5));
    let (_, told, _) = run.wait_output(DEADLINE);
    assert!(told.ends_with("\nSIGUSR2\n") && !told.contains("SIGUSR1") && !told.contains("SIGHUP"), "{told}");
    assert_eq!(report["cause"]["kind"], "app-exited", "neither of them is a stop signal");
}

#[test]
fn escalations_come_in_order_and_not_before_their_time() {
    let options = with(&NO_DELAY, &["--escalate", "600ms:USR2", "--escalate", "300ms:USR1"]);
    let run = Run::signals(&options, &["--exit-on", "USR2=9"]);
    let t0 = run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Code(9));
    assert_eq!(signals_sent(&report), ["SIGTERM stop", "SIGUSR1 escalation", "SIGUSR2 escalation"]);
    for (name, after) in [("SIGUSR1", 300), ("SIGUSR2", 600)] {
        assert!(told_at(&run, name) - t0 >= Duration::from_millis(after), "{name}\n{}", run.dump());
    }
}

// SIGKILL

#[test]
fn an_app_that_ignores_everything_is_killed_before_g() {
    let run = Run::signals(&SHORT, &["--never-exit"]);
    let t0 = run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Signal(libc::SIGKILL));
    assert_killed_in_time(&run, t0);
    run.wait_line("SIGKILL to the app", DEADLINE);
    run.wait_line("killed after 1", DEADLINE);
    assert_eq!(report["sigkill"], true);
    assert_eq!(report["exit_code"], 137);
    assert_eq!(report["app"]["status"]["signal"], "SIGKILL");
    assert_eq!(report["killed_from_outside"], Value::Null, "it was graceful's own");
}

#[test]
fn as_pid_1_an_app_that_ignores_everything_is_killed_before_g_with_its_children() {
    let app = signals(&["--never-exit", "--children", "2", "--child-on-term", "ignore", "--detach"]);
    let run = Run::start_pid1(&SHORT, &app);
    run.wait_line("ready pid=", DEADLINE);
    let t0 = run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Code(137));
    assert_killed_in_time(&run, t0);
    assert_eq!(report["sigkill"], true);
    assert_eq!(report["leftovers"]["killed"], 2, "{report:#}");
}

#[test]
fn without_a_word_about_it_g_is_30_s_and_sigkill_comes_one_second_before() {
    let run = Run::signals(&[], &["--exit-on", "INT=0"]);
    run.stop(libc::SIGINT);
    run.wait_line("SIGKILL after 29 s", DEADLINE);
    let budget = run.ends(Exit::Code(0))["budget"].clone();
    assert_eq!(budget["grace_period_s"], 30.0);
    assert_eq!(budget["kill_margin_s"], 1.0);
    assert_eq!(budget["pre_stop_delay_s"], 5.0);
}

// HOLD

/// A server that says 503 until told otherwise, or never says anything.
fn hold_server(answers: bool) -> (u16, Arc<AtomicBool>) {
    let listener = TcpListener::bind(address(0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let over = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&over);
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            if !answers {
                silent.push(connection);
                continue;
            }
            let _ = connection.read(&mut [0; 4096]);
            let status = if told.load(Ordering::SeqCst) { "200 OK" } else { "503 Service Unavailable" };
            let _ = write!(connection, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    (port, over)
}

#[test]
fn a_url_holds_the_signal_back_until_it_answers_2xx() {
    let (port, over) = hold_server(true);
    let url = format!("http://127.0.0.1:{port}/idle");
    let options = with(&NO_DELAY, &["--hold", &url, "--log-level", "debug"]);
    let run = Run::signals(&options, &["--exit-on", "TERM=3"]);
    run.stop(libc::SIGTERM);
    run.wait_line(&format!("holding the app's SIGTERM back for {url}"), DEADLINE);
    run.wait_lines("hold: 503", 2, DEADLINE);
    assert!(!run.stdout_so_far().contains("SIGTERM"), "{}", run.dump());
    over.store(true, Ordering::SeqCst);
    run.wait_line("hold over: 200", DEADLINE);
    let report = run.ends(Exit::Code(3));
    assert_eq!(report["hold"], "200");
    assert_eq!(phases(&report)[1..4], ["pre-stop", "hold", "drain"]);
}

#[test]
fn a_command_holds_the_signal_back_until_it_exits_0() {
    let folder = folder();
    let flag = folder.path().join("idle");
    let hold = format!("test -e {}", flag.display());
    let run = Run::start_in(
        folder,
        &with(&NO_DELAY, &["--hold", &hold, "--log-level", "debug"]),
        &signals(&["--delay", "0"]),
    );
    run.wait_line("ready pid=", DEADLINE);
    run.stop(libc::SIGTERM);
    run.wait_lines("hold: exit status 1", 2, DEADLINE);
    assert!(!run.stdout_so_far().contains("SIGTERM"), "{}", run.dump());
    std::fs::write(flag, "").unwrap();
    run.wait_line("hold over: the command exited 0", DEADLINE);
    assert_eq!(signals_sent(&run.ends(Exit::Code(0))), ["SIGTERM stop"]);
}

#[test]
fn a_hold_that_never_answers_takes_half_of_what_is_left() {
    let (port, _) = hold_server(false);
    let url = format!("http://127.0.0.1:{port}/idle");
    let options = ["--grace-period", "9s", "--kill-margin", "7s", "--pre-stop-delay", "0s", "--hold", &url];
    let run = Run::signals(&options, &["--exit-on", "TERM=3"]);
    let t0 = run.stop(libc::SIGTERM);
    run.wait_line("the hold timed out: the app gets its SIGTERM now", DEADLINE);
    let report = run.ends(Exit::Code(3));
    assert!(told_at(&run, "SIGTERM") - t0 >= Duration::from_millis(999), "{}", run.dump());
    assert_eq!(report["hold"], "timed out");
}

#[test]
fn a_hold_command_that_hangs_is_ended_with_its_children() {
    let folder = folder();
    let pids = folder.path().join("pids");
    let hold = format!("sh -c 'sleep 60 & echo $! $$ >{}; wait'", pids.display());
    let options = with(&NO_DELAY, &["--hold", &hold, "--hold-timeout", "500ms"]);
    let run = Run::start_in(folder, &options, &signals(&["--exit-on", "TERM=3", "--delay", "60"]));
    run.wait_line("ready pid=", DEADLINE);
    run.stop(libc::SIGTERM);
    run.wait_line("the hold timed out", DEADLINE);
    let pids = run.read("pids");
    assert_eq!(pids.split_whitespace().count(), 2, "{}", run.dump());
    for pid in pids.split_whitespace() {
        wait_for("the end of the hold's processes", || !is_alive(pid.parse().unwrap()));
    }
    // It was the end of the hold that ended them, not that of the app.
    assert_eq!(run.exit(), None, "{}", run.dump());
}

#[test]
fn sigint_ends_the_hold() {
    let run = Run::signals(&with(&NO_DELAY, &["--hold", "sleep 100"]), &["--exit-on", "TERM=3"]);
    run.stop(libc::SIGTERM);
    run.wait_line("holding the app's SIGTERM back for sleep", DEADLINE);
    run.stop(libc::SIGINT);
    run.wait_line("SIGINT ends the hold phase", DEADLINE);
    assert_eq!(signals_sent(&run.ends(Exit::Code(3))), ["SIGTERM stop"]);
}

#[test]
fn never_means_no_hold() {
    let run = Run::signals(&with(&NO_DELAY, &["--hold", "never"]), &["--exit-on", "TERM=3"]);
    run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Code(3));
    assert!(!phases(&report).contains(&"hold".to_owned()), "{report:#}");
}

// The app exits

#[test]
fn an_app_that_ends_in_whatever_phase_gives_its_own_status() {
    let hold = with(&NO_DELAY, &["--hold", "sleep 100"]);
    let phases: [(&[&str], &str, &str); 3] = [
        (&LONG, ": stopping", "pre-stop"),
        (&hold, "holding the app's SIGTERM back", "hold"),
        (&NO_DELAY, "SIGTERM to the app", "drain"),
    ];
    for (options, begun, phase) in phases {
        for (rule, exit, shown) in [
            ("USR1=41", Exit::Code(41), serde_json::json!({"exit_code": 41, "code": 41})),
            ("USR1=signal", Exit::Signal(libc::SIGUSR1), serde_json::json!({"signal": "SIGUSR1", "code": 138})),
        ] {
            let run = Run::signals(options, &["--exit-on", rule]);
            run.stop(libc::SIGTERM);
            run.wait_line(begun, DEADLINE);
            run.stop(libc::SIGUSR1);
            let report = run.ends(exit);
            assert_eq!(report["app"]["status"], shown, "{phase}");
            assert_eq!(report["app"]["ended_before_signal"], phase != "drain", "{phase}: {report:#}");
            assert_eq!(crate::support::run::phases(&report).iter().rev().nth(2).map(String::as_str), Some(phase));
        }
    }
}

#[test]
fn the_log_says_how_long_it_took_and_what_was_left() {
    let run = Run::signals(&["--grace-period", "30s", "--pre-stop-delay", "0s"], &["--delay", "1.1"]);
    run.stop(libc::SIGTERM);
    let line = run.wait_line("exited after 1.", DEADLINE);
    assert!(line.text.contains(" s with 0, 2") && line.text.ends_with(" s of budget left"), "{}", line.text);
    run.ends(Exit::Code(0));
}

#[test]
fn chosen_endings_count_as_success() {
    for (success, rule, exit) in [
        ("143", "TERM=143", 0),
        ("143", "TERM=signal", 0),
        ("SIGTERM", "TERM=signal", 0),
        ("SIGTERM", "TERM=143", 143),
        ("3,USR1", "TERM=3", 0),
        ("3,USR1", "TERM=4", 4),
    ] {
        let run = Run::signals(&with(&NO_DELAY, &["--success-exit-status", success]), &["--exit-on", rule]);
        run.stop(libc::SIGTERM);
        let report = run.ends(Exit::Code(exit));
        assert_eq!(report["exit_code"], exit, "{success} {rule}");
    }
}

/// What the log and the report must say of an app that something else has signalled.
#[track_caller]
fn assert_remedy(run: &Run, text: &str) {
    run.wait_line("KillMode=mixed", DEADLINE);
    run.wait_line(text, DEADLINE);
    let report = run.ends(Exit::Signal(libc::SIGTERM));
    let warnings = warnings(&report);
    assert!(warnings.contains("KillMode=mixed") && warnings.contains(text), "{report:#}");
    assert_eq!(report["app"]["ended_before_signal"], true, "{report:#}");
}

#[test]
fn an_app_that_somebody_else_told_to_stop_is_explained() {
    let run = Run::signals(&LONG, &["--default", "TERM"]);
    run.stop_begun(libc::SIGTERM);
    kill(number_after(&run.stdout_so_far(), "ready pid="), libc::SIGTERM);
    assert_remedy(&run, "before graceful sent it");

    let run = Run::signals(&LONG, &["--default", "TERM"]);
    kill(number_after(&run.stdout_so_far(), "ready pid="), libc::SIGTERM);
    assert_remedy(&run, "the app died of SIGTERM");
}

/// As systemd does it without KillMode=mixed, to each process of the cgroup.
#[test]
fn a_signal_to_all_of_the_service_is_explained() {
    let run = Run::signals(&LONG, &["--default", "TERM"]);
    for pid in [run.pid(), number_after(&run.stdout_so_far(), "ready pid=")] {
        kill(pid, libc::SIGTERM);
    }
    assert_remedy(&run, "the app died of SIGTERM");
}

// LEFTOVERS

/// So many children have said that they got SIGTERM, once nobody is left who could.
fn children_told(run: &Run) -> usize {
    let (_, stdout, _) = run.wait_output(DEADLINE);
    stdout.lines().filter(|line| line.starts_with("child ") && line.ends_with(" SIGTERM")).count()
}

#[test]
fn what_outlives_the_app_gets_sigterm_and_may_end_in_peace() {
    for detach in [&[][..], &["--detach"]] {
        let app = with(&["--exit-on", "TERM=3", "--children", "2"], detach);
        let run = Run::signals(&NO_DELAY, &app);
        run.stop(libc::SIGTERM);
        let report = run.ends(Exit::Code(3));
        assert_eq!(report["leftovers"]["found"], 2, "{report:#}");
        assert_eq!(report["sigkill"], false);
        run.wait_line("the app is gone, 2 other processes are still there: SIGTERM", DEADLINE);
        assert_eq!(children_told(&run), 2, "{}", run.dump());
    }
}

#[test]
fn control_under_tini_what_outlives_the_app_never_sees_sigterm() {
    let Some(tini) = tini() else { return };
    let mut command = in_pid_namespace([tini.into_os_string(), "--".into()]);
    let app = Proc::spawn_pid1(command.args(signals(&["--exit-on", "TERM=3", "--children", "2"])));
    app.wait_line("ready pid=", DEADLINE);
    app.signal(libc::SIGTERM);
    let (exit, stdout, _) = app.wait_output(DEADLINE);
    assert_eq!(exit, Exit::Code(3));
    assert!(!stdout.contains(" SIGTERM"), "{stdout}");
}

#[test]
fn as_pid_1_what_outlives_the_app_gets_sigterm() {
    let run = Run::start_pid1(&NO_DELAY, &signals(&["--exit-on", "TERM=3", "--children", "2", "--detach"]));
    run.wait_line("ready pid=", DEADLINE);
    run.stop(libc::SIGTERM);
    assert_eq!(run.ends(Exit::Code(3))["leftovers"]["found"], 2);
    assert_eq!(children_told(&run), 2, "{}", run.dump());
}

#[test]
fn a_leftover_that_ignores_sigterm_is_killed_before_g_wherever_it_hides() {
    for detach in [&[][..], &["--detach"]] {
        let app = with(&["--exit-on", "TERM=3", "--children", "1", "--child-on-term", "ignore"], detach);
        let run = Run::signals(&SHORT, &app);
        let child = number_after(&run.stdout_so_far(), "child ");
        let t0 = run.stop(libc::SIGTERM);
        let report = run.ends(Exit::Code(3));
        assert_killed_in_time(&run, t0);
        assert!(!is_alive(child), "{}", run.dump());
        assert_eq!(report["sigkill"], true);
        assert_eq!(
            report["leftovers"],
            serde_json::json!({"found": 1, "ended_by_themselves": 0, "killed": 1, "not_waited_for": 0, "orphans_reaped": 1})
        );
        assert!(lasted(&report, "drain") < lasted(&report, "leftovers"), "{report:#}");
    }
}

/// Each process of the chain forks the next one and exits: whoever is signalled may have been replaced already.
const CHAIN: &str = "
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def chain():
    os.setsid()
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if os.fork():
            os._exit(0)
        time.sleep(0.002)
for _ in range(3):
    if os.fork() == 0:
        chain()
        os._exit(0)
print('chains run', flush=True)
sys.exit(5)
";

/// The processes whose environment holds this.
fn with_environment(mark: &str) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let marked = |path: std::path::PathBuf| {
        std::fs::read(path.join("environ")).is_ok_and(|environ| String::from_utf8_lossy(&environ).contains(mark))
    };
    entries.filter(|entry| marked(entry.path())).count()
}

#[test]
fn leftovers_that_fork_while_they_are_killed_do_not_escape() {
    let mark = format!("CHAIN_OF={}", std::process::id());
    let run = Run::start(&SHORT, &[words(&["env", &mark]), python(CHAIN)].concat());
    let t0 = Instant::now();
    run.wait_line("chains run", DEADLINE);
    assert!(with_environment(&mark) > 0, "{}", run.dump());
    let report = run.ends(Exit::Code(5));
    assert!(run.exited_at().expect("it has exited") - t0 >= SHORT_KILL, "{}", run.dump());
    assert_eq!(with_environment(&mark), 0, "{}", run.dump());
    assert_eq!(report["sigkill"], true);
}

#[test]
fn an_app_that_exits_by_itself_leaves_nothing_behind_either() {
    let app = ["--exit-after-ready", "6", "--children", "2"];
    let run = Run::start(&LONG, &signals(&app));
    let report = run.ends(Exit::Code(6));
    assert_eq!(children_told(&run), 2, "{}", run.dump());
    assert_eq!(report["cause"], serde_json::json!({"kind": "app-exited"}));
    assert_eq!(phases(&report), ["running", "leftovers", "post-stop"]);
}

#[test]
fn leftovers_can_be_left() {
    let app = ["--exit-on", "TERM=3", "--children", "1", "--child-on-term", "ignore"];
    let run = Run::signals(&with(&NO_DELAY, &["--leftovers", "leave"]), &app);
    let child = number_after(&run.stdout_so_far(), "child ");
    run.stop(libc::SIGTERM);
    run.ends(Exit::Code(3));
    assert!(is_alive(child), "{}", run.dump());
    kill(child, libc::SIGKILL);
}

#[test]
fn what_a_shell_leaves_behind_is_stopped_kindly() {
    // The shell has no handler and dies at once; what it runs has never been told.
    let script = format!("{} --exit-on TERM=0 --delay 0.5; true", signals(&[]).join(" "));
    let run = Run::start(&NO_DELAY, &shell(&script));
    run.wait_line("ready pid=", DEADLINE);
    run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Signal(libc::SIGTERM));
    let (_, told, _) = run.wait_output(DEADLINE);
    assert!(told.contains("\nSIGTERM\n"), "{told}");
    assert_eq!(report["leftovers"]["found"], 1);
    assert!(lasted(&report, "leftovers") >= Duration::from_millis(500), "{report:#}");

    let Some(tini) = tini() else { return };
    let mut command = in_pid_namespace([tini.into_os_string(), "--".into()]);
    let control = Proc::spawn_pid1(command.args(shell(&script)));
    control.wait_line("ready pid=", DEADLINE);
    control.signal(libc::SIGTERM);
    let (_, stdout, _) = control.wait_output(DEADLINE);
    assert!(!stdout.contains("SIGTERM"), "{stdout}");
}

#[test]
fn processes_that_are_not_ours_are_never_touched() {
    // In graceful's own group and session: nothing but their parent tells them from the app.
    let script = format!(
        "sleep 60 & echo sibling $!; {} --grace-period 1s --pre-stop-delay 0s -- {} --never-exit & echo wrapper $!; wait",
        crate::support::graceful().display(),
        signals(&[]).join(" ")
    );
    let group = Proc::spawn_group(Command::new("sh").args(["-c", &script]));
    group.wait_line("ready pid=", DEADLINE);
    let sibling = number_after(&group.stdout_so_far(), "sibling ");
    let graceful = number_after(&group.wait_line("wrapper ", DEADLINE).text, "wrapper ");
    kill(graceful, libc::SIGTERM);
    wait_for("graceful's end", || !is_alive(graceful));
    group.wait_line("SIGKILL to the app", DEADLINE);
    assert!(is_alive(sibling), "{}", group.dump());
    assert!(group.exit().is_none(), "{}", group.dump());
}

#[test]
fn a_hold_command_that_is_gone_is_reported_and_the_stop_goes_on() {
    let folder = folder();
    let program = folder.path().join("drained");
    std::fs::write(&program, "#!/bin/sh\nexit 1\n").unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let hold = format!("{} --token secret", program.display());
    let options = with(&NO_DELAY, &["--hold", &hold, "--hold-timeout", "400ms"]);
    let run = Run::start_in(folder, &options, &signals(&["--exit-on", "TERM=3"]));
    run.wait_line("ready pid=", DEADLINE);
    std::fs::remove_file(&program).unwrap();
    run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Code(3));
    let warnings = crate::support::run::warnings(&report);
    assert!(warnings.contains("--hold: the command drained was not found"), "{report:#}");
    assert!(!report.to_string().contains("secret"), "{report:#}");
}

#[test]
fn hooks_and_checks_whose_program_is_not_there_yet_are_warned_of() {
    let folder = folder();
    let later = folder.path().join("later");
    let make = format!("pre-start=sh -c 'printf \"#!/bin/sh\\n\" >{0}; chmod +x {0}'", later.display());
    let hook = format!("post-start={} --token secret", later.display());
    let options = ["--hook", &make, "--hook", &hook, "--check", "c=exec:no-such-program secret"];
    let run = Run::start_in(folder, &options, &crate::support::run::words(&["sleep", "0.3"]));
    let report = run.ends(Exit::Code(0));
    let log = run.stderr_so_far();
    assert!(log.contains("\": no program that can be run at the path of later"), "{log}");
    assert!(log.contains("--check \"c=exec:no-such-program …\": no program no-such-program is in PATH"), "{log}");
    assert_eq!((&report["hooks"][1]["name"], &report["hooks"][1]["result"]), (&"later".into(), &"ok".into()), "{log}");
    assert!(!log.contains("secret"), "{log}");
}

// The drain file

#[test]
fn the_drain_file_is_there_from_the_stop_signal_to_the_end() {
    let folder = folder();
    let file = folder.path().join("draining");
    std::fs::write(&file, "").unwrap();
    let options = with(&LONG, &["--drain-file", file.to_str().unwrap()]);
    let run = Run::start_in(folder, &options, &signals(&["--exit-on", "USR1=0"]));
    run.wait_line("ready pid=", DEADLINE);
    assert!(!file.exists(), "the one of the last run is removed before the app starts");
    run.stop(libc::SIGTERM);
    wait_for("the drain file", || file.exists());
    assert!(!run.stdout_so_far().contains("SIGTERM"), "it is there before the app is told");
    run.stop(libc::SIGUSR1);
    run.ends(Exit::Code(0));
    assert!(!file.exists(), "{}", run.dump());
}

#[test]
fn the_drain_file_is_created_even_if_nobody_reads_the_log() {
    let folder = folder();
    let file = folder.path().join("draining");
    let (_reader, writer) = crate::support::run::full_pipe();
    let mut command = graceful_command();
    command.args(LONG).arg("--drain-file").arg(&file).arg("--").args(signals(&["--exit-on", "USR1=0"]));
    let app = Proc::spawn_with_stderr(&mut command, Stdio::from(writer));
    app.wait_line("ready pid=", DEADLINE);
    app.signal(libc::SIGTERM);
    wait_for("the drain file", || file.exists());
    app.signal(libc::SIGUSR1);
    assert_eq!(app.wait(DEADLINE), Exit::Code(0));
    assert!(!file.exists(), "{}", app.dump());
}

// The small commands

#[test]
fn sleep_takes_what_other_sleeps_take() {
    for args in [&["0.2"][..], &["200ms"], &["0.1", "0.1s"], &["0.2s"]] {
        let began = Instant::now();
        let (exit, _, stderr) = crate::support::run::ended(graceful_command().arg("sleep").args(args));
        assert_eq!(exit, Exit::Code(0), "{args:?}: {stderr}");
        assert!(began.elapsed() >= Duration::from_millis(200), "{args:?}");
    }
}

#[test]
fn help_is_found_where_people_look_for_it() {
    let said = |args: &[&str]| crate::support::run::ended(graceful_command().args(args));
    for (asked, same) in [
        (&["help"][..], &["--help"][..]),
        (&["help", "drill"], &["drill", "--help"]),
        (&["--help", "sleep"], &["sleep", "--help"]),
        (&["version"], &["--version"]),
    ] {
        assert_eq!(said(asked).0, Exit::Code(0));
        assert_eq!(said(asked), said(same), "{asked:?}");
    }
}

#[test]
fn sleep_sleeps_and_can_be_ended() {
    let began = Instant::now();
    let sleep = Proc::spawn(graceful_command().args(["sleep", "300ms"]));
    assert_eq!(sleep.wait(DEADLINE), Exit::Code(0));
    assert!(began.elapsed() >= Duration::from_millis(300));

    let sleep = Proc::spawn(graceful_command().args(["sleep", "60s"]));
    sleep.signal(libc::SIGTERM);
    assert_eq!(sleep.wait(DEADLINE), Exit::Signal(libc::SIGTERM));
}

#[test]
fn probe_says_by_its_exit_status_whether_a_url_is_ready() {
    let (port, over) = hold_server(true);
    let url = format!("http://127.0.0.1:{port}/");
    let probe = |url: &str| crate::support::run::ended(graceful_command().args(["probe", url]));
    let (exit, stdout, _) = probe(&url);
    assert_eq!(exit, Exit::Code(1));
    assert!(stdout.contains("503"), "{stdout}");
    over.store(true, Ordering::SeqCst);
    assert_eq!(probe(&url).0, Exit::Code(0));
    let (exit, stdout, _) = probe(&format!("http://127.0.0.1:{}/", free_port()));
    assert_eq!(exit, Exit::Code(1));
    assert!(stdout.contains("refused"), "{stdout}");
}

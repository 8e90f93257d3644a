//! `--restart`: the app is started again when it ended by itself, with pauses that grow, and never after a stop signal.

use crate::support::health::{metrics, value};
use crate::support::procfs::{children, descriptors, has_ended, status};
use crate::support::pty::{CTRL_C, Terminal};
use crate::support::run::{
    Run, folder, kill, number_after, phase_ended, shell, wait_file_lines, wait_for, warnings, words,
};
use crate::support::{DEADLINE, Exit, Proc, app, free_port, get, graceful, graceful_command, python3, signals};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const NO_DELAY: [&str; 4] = ["--grace-period", "120s", "--pre-stop-delay", "0s"];
/// A wait that only a signal can end.
const LONG_WAIT: [&str; 2] = ["--restart-delay", "60s"];
const SHORT_WAIT: [&str; 2] = ["--restart-delay", "5ms"];

/// graceful over a shell script, in whose `$D` the test's files are.
fn scripted(options: &[&str], script: &str) -> Run {
    let folder = folder();
    let command = shell(&format!("D={}; {script}", folder.path().display()));
    Run::start_in(folder, options, &command)
}

/// `signals.py` from the second run on; the first exits with 3.
fn from_the_second_on(options: &[&str]) -> Vec<String> {
    shell(&format!("test $GRACEFUL_GENERATION = 1 && exit 3; exec {}", signals(options).join(" ")))
}

#[track_caller]
fn runs(report: &Value) -> (u64, u64) {
    let number = |field: &str| report[field].as_u64().expect("a number");
    (number("generation"), number("restarts"))
}

fn probe(port: u16, path: &str) -> (u16, String) {
    let (status, _, body) = get(port, &format!("{path}?verbose"), DEADLINE).expect("an answer");
    (status, body)
}

// When it is started again

#[test]
fn the_pauses_double_and_at_the_limit_it_ends_with_the_last_status() {
    let pauses = ["--restart-delay", "50ms", "--restart-limit", "4"];
    let run = scripted(
        &[&["--restart", "on-failure"], &pauses[..]].concat(),
        "date +%s%N >>$D/log; exit $((10 + GRACEFUL_GENERATION))",
    );
    let report = run.ends(Exit::Code(15));
    assert_eq!(runs(&report), (5, 4));
    assert_eq!(report["app"]["status"]["exit_code"], 15);
    assert!(warnings(&report).contains("4 times in a row (--restart-limit)"), "{report:#}");
    let began: Vec<u64> = run.read("log").lines().map(|line| line.parse().expect("a time")).collect();
    let between: Vec<u64> = began.windows(2).map(|pair| (pair[1] - pair[0]) / 1_000_000).collect();
    // The date is taken a little after the start; the end comes after it.
    assert_eq!(between.len(), 4, "{between:?}");
    assert!(between.iter().zip([50, 100, 200, 400]).all(|(waited, least)| *waited >= least - 20), "{between:?}");
}

#[test]
fn a_run_longer_than_the_longest_pause_begins_a_new_row() {
    let pauses = ["--restart-delay", "10ms", "--restart-delay-max", "50ms", "--restart-limit", "1"];
    let run = scripted(
        &[&["--restart", "on-failure"], &pauses[..]].concat(),
        "test $GRACEFUL_GENERATION -lt 4 && sleep 0.1 && exit 1; exit 0",
    );
    assert_eq!(runs(&run.ends(Exit::Code(0))), (4, 3));
}

#[test]
fn what_is_no_failure_is_the_end_unless_always() {
    let restart = |options: &[&str], exit: &str| {
        let limit = ["--restart-limit", "2"];
        Run::start(&[options, &SHORT_WAIT, &limit].concat(), &shell(&format!("exit {exit}")))
    };
    assert_eq!(runs(&restart(&["--restart", "on-failure"], "0").ends(Exit::Code(0))), (1, 0));
    let success = ["--restart", "on-failure", "--success-exit-status", "7"];
    assert_eq!(runs(&restart(&success, "7").ends(Exit::Code(0))), (1, 0));
    // java ends a clean stop with 143.
    let java = ["--restart", "on-failure", "--profile", "jvm"];
    assert_eq!(runs(&restart(&java, "143").ends(Exit::Code(143))), (1, 0));
    assert_eq!(runs(&restart(&["--restart", "on-failure"], "143").ends(Exit::Code(143))), (3, 2));
    assert_eq!(runs(&restart(&["--restart", "always"], "0").ends(Exit::Code(0))), (3, 2));
}

#[test]
fn who_is_killed_is_started_again_and_the_status_is_that_of_the_last() {
    let run = Run::start(
        &[&["--restart", "on-failure", "--restart-limit", "1"], &SHORT_WAIT[..]].concat(),
        &shell("kill -KILL $$"),
    );
    let report = run.ends(Exit::Signal(libc::SIGKILL));
    assert_eq!(runs(&report), (2, 1));
    run.wait_line("the app was ended by SIGKILL (137)", DEADLINE);
}

#[test]
fn an_app_that_graceful_had_to_stop_has_failed() {
    let url = format!("http://127.0.0.1:{}/", free_port());
    let late = ["--ready-url", &url, "--startup-timeout", "300ms", "--startup-action", "stop"];
    let run = Run::start(
        &[&["--restart", "on-failure", "--restart-limit", "1"], &SHORT_WAIT[..], &NO_DELAY, &late].concat(),
        &shell("trap 'exit 0' TERM; while :; do sleep 0.02; done"),
    );
    let report = run.ends(Exit::Code(0));
    assert_eq!(runs(&report), (2, 1));
    run.wait_line("the app, which was stopped, ended with 0", DEADLINE);
    assert_eq!(report["cause"]["kind"], "startup-timeout");
}

#[test]
fn what_cannot_be_started_the_first_time_is_not_tried_again() {
    let run = Run::start(&[&["--restart", "always"], &LONG_WAIT[..]].concat(), &words(&["/no/such/app"]));
    assert_eq!(runs(&run.ends(Exit::Code(127))), (1, 0));
}

/// As a file that is being replaced.
#[test]
fn what_cannot_be_started_later_is_tried_again() {
    let folder = folder();
    let path = folder.path().join("app");
    script_at(&path, "rm \"$0\"; exit 3");
    let app = words(&[path.to_str().expect("UTF-8")]);
    let wait = ["--restart", "on-failure", "--restart-delay", "20ms", "--restart-delay-max", "40ms"];
    let run = Run::start_in(folder, &wait, &app);
    run.wait_lines("the app could not be started: started again in", 2, DEADLINE);
    script_at(&path, "exit 0");
    let report = run.ends(Exit::Code(0));
    assert!(runs(&report).0 >= 4, "{report:#}");
}

/// Not before it is whole.
fn script_at(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, format!("#!/bin/sh\n{text}\n")).expect("written");
    std::fs::set_permissions(&new, PermissionsExt::from_mode(0o755)).expect("executable");
    std::fs::rename(&new, path).expect("renamed");
}

// Stop signals

#[test]
fn a_stop_signal_in_the_wait_ends_it_at_once_with_the_last_status() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let run = Run::start(&[&["--restart", "always"], &LONG_WAIT[..]].concat(), &shell("exit 9"));
        run.wait_line("started again in 60 s", DEADLINE);
        // Nobody is there whom it concerns.
        run.signal(libc::SIGHUP);
        run.signal(signal);
        let report = run.ends(Exit::Code(9));
        assert_eq!(runs(&report), (1, 0));
        run.wait_line("the app has ended, and is not started again", DEADLINE);
    }
}

#[test]
fn after_a_stop_signal_it_is_not_started_again_however_it_ends() {
    let run = Run::signals(
        &[&["--restart", "always"], &SHORT_WAIT[..], &NO_DELAY].concat(),
        &["--exit-on", "TERM=1", "--delay", "0.2"],
    );
    run.signal(libc::SIGTERM);
    assert_eq!(runs(&run.ends(Exit::Code(1))), (1, 0));
    assert_eq!(run.stdout_so_far().matches("ready pid=").count(), 1);
}

#[test]
fn a_later_run_is_stopped_as_the_first_is() {
    let run = Run::start(
        &[&["--restart", "on-failure"], &SHORT_WAIT[..], &["--grace-period", "120s", "--pre-stop-delay", "300ms"]]
            .concat(),
        &from_the_second_on(&["--exit-on", "TERM=7"]),
    );
    run.wait_line("ready pid=", DEADLINE);
    run.stop_begun(libc::SIGTERM);
    let report = run.ends(Exit::Code(7));
    assert_eq!(runs(&report), (2, 1));
    assert_eq!(report["cause"]["signal"], "SIGTERM");
    assert!(phase_ended(&report, "pre-stop").as_millis() >= 300, "{report:#}");
    let phases: Vec<&str> = report["phases"].as_array().unwrap().iter().map(|p| p["phase"].as_str().unwrap()).collect();
    assert_eq!(phases.iter().filter(|phase| **phase == "running").count(), 1, "of this run alone: {phases:?}");
}

/// The app is gone, what it left is not: the signal comes between.
#[test]
fn a_stop_signal_while_leftovers_end_is_heard() {
    let run = scripted(
        &[&["--restart", "always"], &SHORT_WAIT[..], &NO_DELAY].concat(),
        "export D; sh -c 'trap \"echo SIGTERM >>$D/told\" TERM; touch $D/up; until test -e $D/go; do sleep 0.02; done' &
         until test -e $D/up; do sleep 0.02; done; exit 4",
    );
    wait_file_lines(&run.path("told"), 1);
    run.signal(libc::SIGTERM);
    wait_file_lines(&run.path("told"), 2);
    std::fs::write(run.path("go"), "").expect("written");
    assert_eq!(runs(&run.ends(Exit::Code(4))), (1, 0));
}

/// The key is the app's alone the first time, and it dies of it: whoever pressed it did not want another one.
#[test]
fn ctrl_c_at_a_terminal_is_the_end() {
    let mut graceful = graceful_command();
    graceful.args(["--restart", "always"]).args(SHORT_WAIT).args(["--", "sh", "-c", "echo up; exec sleep 1000"]);
    let terminal = Terminal::start(&mut graceful);
    terminal.expect("up\n");
    terminal.wait_member("sleep", |member| member.name == "sleep" && member.state != 'Z');
    terminal.type_text(CTRL_C);
    assert_eq!(terminal.wait(), Exit::Signal(libc::SIGINT), "{}", terminal.dump());
    assert_eq!(terminal.output().matches("up\n").count(), 1, "{}", terminal.dump());
}

// Between two runs

#[test]
fn what_a_run_left_is_gone_before_the_next_begins() {
    let run = scripted(
        &[&["--restart", "on-failure"], &SHORT_WAIT[..]].concat(),
        "if test $GRACEFUL_GENERATION = 1; then sleep 1000 & echo $! >$D/left; exit 3; fi
         kill -0 $(cat $D/left) && exit 66; exit 0",
    );
    let report = run.ends(Exit::Code(0));
    assert_eq!((runs(&report), &report["leftovers"]["found"]), ((2, 1), &Value::from(0)));
}

/// Each run has a budget of its own, and SIGKILL of one says nothing of the next.
#[test]
fn leftovers_that_do_not_obey_are_killed_at_the_end_of_that_runs_budget() {
    let budget = ["--grace-period", "1s", "--kill-margin", "500ms"];
    let run = scripted(
        &[&["--restart", "on-failure"], &SHORT_WAIT[..], &budget].concat(),
        "if test $GRACEFUL_GENERATION -lt 3; then (trap '' TERM; touch $D/up$GRACEFUL_GENERATION; exec sleep 1000) & echo $! >>$D/left
         until test -e $D/up$GRACEFUL_GENERATION; do sleep 0.02; done; exit 3; fi
         for pid in $(cat $D/left); do kill -0 $pid && exit 66; done; exit 0",
    );
    let report = run.ends(Exit::Code(0));
    assert_eq!((runs(&report), &report["sigkill"]), ((3, 2), &Value::from(false)));
    run.wait_lines("SIGKILL to", 2, DEADLINE);
}

#[test]
fn hooks_and_app_are_told_which_run_it_is() {
    let folder = folder();
    let log = folder.path().join("log");
    let tell = |stage: &str| {
        let log = log.display();
        format!("{stage}=sh -c 'echo $GRACEFUL_PHASE $GRACEFUL_GENERATION $GRACEFUL_CAUSE >>{log}'")
    };
    let hooks = ["pre-start", "post-start", "post-stop"].map(tell);
    let options: Vec<&str> = hooks.iter().flat_map(|hook| ["--hook", hook.as_str()]).collect();
    // Not before the post-start hook has told.
    let script = format!(
        "until grep -q \"post-start $GRACEFUL_GENERATION\" {log}; do sleep 0.02; done
         echo app $GRACEFUL_GENERATION $GRACEFUL_CAUSE >>{log}; test $GRACEFUL_GENERATION = 2",
        log = log.display()
    );
    let run =
        Run::start_in(folder, &[&["--restart", "on-failure"], &SHORT_WAIT[..], &options].concat(), &shell(&script));
    run.ends(Exit::Code(0));
    let of_one = |run: u64, cause: &str| {
        ["pre-start", "post-start", "app", "post-stop"].map(|who| format!("{who} {run} {cause}"))
    };
    let all = [of_one(1, "start"), of_one(2, "restart")].concat();
    assert_eq!(run.read("log").lines().collect::<Vec<_>>(), all);
}

#[test]
fn without_restart_the_environment_is_untouched() {
    let run = Run::start(&[], &words(&["env"]));
    run.ends(Exit::Code(0));
    assert!(!run.stdout_so_far().contains("GRACEFUL_"), "{}", run.dump());
}

#[test]
fn a_later_run_finds_what_the_first_found() {
    let folder = folder();
    let dir = folder.path().join("dir");
    std::fs::create_dir(&dir).expect("a folder");
    std::fs::write(dir.join("app"), "#!/bin/sh\npwd; ls -l /proc/self/fd | sed 's/.* \\([0-9]* -> \\)/\\1/' | grep '^[0257] '; cat /proc/self/stat | cut -d' ' -f7; ulimit -n; umask; exit 1\n").expect("written");
    std::fs::set_permissions(dir.join("app"), PermissionsExt::from_mode(0o755)).expect("executable");
    let limit = "--restart on-failure --restart-delay 5ms --restart-limit 1";
    let script = format!(
        "cd {}; umask 027; exec 5<app 7>{}; exec {} {limit} -- ./app",
        dir.display(),
        folder.path().join("out").display(),
        graceful().display()
    );
    let run = Proc::spawn_group(Command::new("sh").args(["-c", &script]));
    assert_eq!(run.wait(DEADLINE), Exit::Code(1), "{}", run.dump());
    let told = run.stdout_so_far();
    let lines: Vec<&str> = told.lines().collect();
    let (first, second) = lines.split_at(lines.len() / 2);
    assert_eq!(first, second);
    assert!(first.iter().any(|line| line.starts_with("5 -> ") && line.ends_with("/dir/app")), "{first:#?}");
    assert_eq!(first[0], dir.to_str().expect("UTF-8"));
}

// Probes and numbers

#[test]
fn in_the_wait_the_probes_say_alive_and_not_ready() {
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let run = Run::start(
        &[&["--restart", "on-failure", "--probe-listen", &listen], &LONG_WAIT[..]].concat(),
        &shell("exit 3"),
    );
    run.wait_line("started again in", DEADLINE);
    wait_for("the wait", || value(&metrics(port), "graceful_restarts_total{cause=\"exit\"}") == Some(1.0));
    assert_eq!(["/livez", "/startupz", "/readyz"].map(|path| probe(port, path).0), [200, 503, 503]);
    assert!(probe(port, "/readyz").1.contains("[-]running failed: the app has ended and is about to be started again"));
    let page = metrics(port);
    assert_eq!(value(&page, "graceful_generation"), Some(1.0));
    assert_eq!(value(&page, "graceful_app_running"), Some(0.0));
    assert_eq!(value(&page, "graceful_restarts_total{cause=\"signal\"}"), Some(0.0));
    run.signal(libc::SIGTERM);
    run.ends(Exit::Code(3));
}

#[test]
fn readiness_begins_anew_with_each_run() {
    let (port, app_port) = (free_port(), free_port());
    let folder = folder();
    let url = format!("http://127.0.0.1:{app_port}/ready");
    let ready = format!("ready=sh -c 'echo $GRACEFUL_GENERATION >>{}'", folder.path().join("log").display());
    let listen = format!("127.0.0.1:{port}");
    let options = ["--probe-listen", &listen, "--ready-url", &url, "--ready-interval", "20ms", "--hook", &ready];
    // The second run says no until SIGUSR1 comes.
    let server = format!("exec {} {} {app_port} --on-term exit --exit 4", python3(), app("ready.py"));
    let server = shell(&format!("test $GRACEFUL_GENERATION = 2 && {server} --not-ready; {server}"));
    let restart = ["--restart", "on-failure", "--restart-delay", "1s"];
    let run = Run::start_in(folder, &[&options[..], &restart, &NO_DELAY].concat(), &server);
    wait_file_lines(&run.path("log"), 1);
    wait_for("ready", || probe(port, "/readyz").0 == 200);
    kill(children(run.pid())[0], libc::SIGKILL);
    wait_for("not ready", || probe(port, "/readyz").0 == 503);
    assert_eq!(probe(port, "/livez").0, 200);
    run.wait_lines("listening", 2, DEADLINE);
    // Of what the first run was, nothing is left.
    assert_eq!(["/livez", "/startupz", "/readyz"].map(|path| probe(port, path).0), [200, 503, 503]);
    run.signal(libc::SIGUSR1);
    assert_eq!(wait_file_lines(&run.path("log"), 2), ["1", "2"]);
    wait_for("ready again", || probe(port, "/readyz").0 == 200);
    let page = metrics(port);
    assert_eq!(value(&page, "graceful_generation"), Some(2.0));
    assert_eq!(value(&page, "graceful_restarts_total{cause=\"signal\"}"), Some(1.0));
    run.signal(libc::SIGTERM);
    let report = run.ends(Exit::Code(4));
    assert_eq!(runs(&report), (2, 1));
}

// PID 1

/// As `docker exec` does: whoever looks into a crash is not thrown out by the next one, and what he leaves is reaped in the wait.
#[test]
fn a_session_from_outside_lives_through_a_crash_and_orphans_are_reaped_in_the_wait() {
    let run = Run::start_pid1(
        &[&["--restart", "on-failure", "--restart-delay", "1s", "--restart-delay-max", "1s"], &NO_DELAY[..]].concat(),
        // What it leaves is told to end, and nobody else.
        &shell("trap 'exit 3' USR1; sleep 1000 & echo up; while :; do sleep 0.02; done"),
    );
    run.wait_line("up", DEADLINE);
    let session = enter(&run, &signals(&["--exit-on", "TERM=0"]));
    session.wait_line("ready pid=", DEADLINE);
    run.signal(libc::SIGUSR1);
    run.wait_line("started again in", DEADLINE);
    let orphans = enter(&run, &shell("for i in 1 2 3 4 5; do (sleep 0.05 &); done"));
    assert_eq!(orphans.wait(DEADLINE), Exit::Code(0));
    run.wait_lines("up", 2, DEADLINE);
    wait_for("the orphans' end", || children(run.target()).iter().filter(|pid| has_ended(**pid)).count() == 0);
    assert!(!session.stdout_so_far().contains("SIGTERM"), "{}", session.dump());
    run.signal(libc::SIGTERM);
    assert_eq!(session.wait(DEADLINE), Exit::Code(0), "{}", session.dump());
    let report = run.report();
    assert_eq!(runs(&report), (2, 1));
    assert!(report["leftovers"]["orphans_reaped"].as_u64() >= Some(5), "{report:#}");
}

fn enter(run: &Run, command: &[String]) -> Proc {
    let mut enter = Command::new("nsenter");
    enter.args(["--target", &run.target().to_string(), "--pid", "--mount"]);
    // SAFETY: geteuid(2) has no preconditions and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        enter.args(["--user", "--preserve-credentials"]);
    }
    Proc::spawn(enter.arg("--").args(command))
}

#[test]
fn as_pid_1_leftovers_end_and_the_next_run_begins() {
    let run = Run::start_pid1(
        &[&["--restart", "on-failure"], &SHORT_WAIT[..]].concat(),
        &shell(
            "if test $GRACEFUL_GENERATION = 1; then sleep 1000 & exit 3; fi; for name in /proc/[0-9]*/comm; do grep -qx sleep $name && exit 66; done; exit 0",
        ),
    );
    assert_eq!(runs(&run.ends(Exit::Code(0))), (2, 1));
}

// Many of them

#[test]
fn two_hundred_runs_leave_nothing_behind() {
    let wait = ["--restart", "always", "--restart-delay", "1ms", "--restart-delay-max", "2ms"];
    let run = scripted(
        &wait,
        "case $GRACEFUL_GENERATION in 20|220) touch $D/at-$GRACEFUL_GENERATION
         until test -e $D/go-$GRACEFUL_GENERATION; do sleep 0.02; done;; esac; exit 1",
    );
    let look = |generation: u32| {
        wait_for("the run", || run.path(&format!("at-{generation}")).exists());
        let pid = run.pid();
        let memory = status(pid, "VmRSS").expect("it runs");
        let threads = status(pid, "Threads").expect("it runs");
        (descriptors(pid).len(), threads, number_after(&memory, ""))
    };
    let (descriptors, threads, memory) = look(20);
    std::fs::write(run.path("go-20"), "").expect("written");
    let later = look(220);
    assert_eq!((later.0, later.1), (descriptors, threads));
    assert!(later.2 - memory < 512, "{memory} kB, then {} kB", later.2);
    run.signal(libc::SIGTERM);
    let report = run.report();
    assert_eq!(runs(&report), (220, 219));
}

/// What cannot be started takes no time, so that all of them are one row.
#[test]
fn a_crash_loop_is_said_in_a_few_lines() {
    let folder = folder();
    let path = folder.path().join("app");
    script_at(&path, "rm \"$0\"; exit 3");
    let app = words(&[path.to_str().expect("UTF-8")]);
    let wait =
        ["--restart", "on-failure", "--restart-delay", "1ms", "--restart-delay-max", "1ms", "--restart-limit", "200"];
    let run = Run::start_in(folder, &wait, &app);
    let report = run.ends(Exit::Code(127));
    assert!(runs(&report).1 >= 200, "{report:#}");
    run.wait_line("(try 128 in a row, within", DEADLINE);
    run.wait_line("started again 200 times in a row", DEADLINE);
    let lines = run.stderr_so_far().lines().count();
    assert!(lines < 30, "{lines} lines\n{}", run.dump());
}

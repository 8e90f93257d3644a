//! graceful as PID 1 of a PID namespace, as in a container. The traps of PID 1 are numbered G1 to G30 at the head of
//! `tests/it/process.rs`, with the tests that watch for each.
//!
//! Where a trap is the fault of another init, that init runs beside as a control: the test that graceful passes must
//! be one that can fail. Here, behind `unshare`, such an init can harm nobody.

use crate::support::checks::{self, hangs_without_its_child, stop, to_nobody, wake_ups};
use crate::support::procfs::{app_of, children, descriptors, has_ended, state, status, wait_for};
use crate::support::tables::{checks_in, checks_of_both_places};
use crate::support::{
    DEADLINE, Exit, Place, Proc, catatonit, dumb_init, graceful_argv, in_pid_namespace, root, signals, strace, tini,
};
use std::path::Path;
use std::process::Command;

checks_of_both_places!(Place::Pid1);
checks_in!(Place::Pid1; works_without_proc, works_without_dev, works_with_a_read_only_root);

#[test]
fn a_sigterm_is_never_too_early() {
    checks::a_sigterm_is_never_too_early(Place::Pid1, 40);
}

// --- The namespace ---------------------------------------------------------------------------------------------

/// G1, the other side: as PID 1 everything in the namespace is graceful's to end, also what came in from outside.
#[test]
fn processes_brought_in_from_outside_are_stopped_too() {
    let app = Place::Pid1.spawn(graceful_argv(&[], &[], &signals(&["--exit-on", "TERM=7"])));
    app.wait_line("ready pid=2 ppid=1", DEADLINE);
    let enter = |options: &[&str]| enter(app.target(), options);
    let (polite, stubborn) = (enter(&["--exit-on", "TERM=0"]), enter(&["--never-exit"]));
    app.signal(libc::SIGTERM);
    polite.wait_line("SIGTERM", DEADLINE);
    assert_eq!(polite.wait(DEADLINE), Exit::Code(0), "{}", polite.dump());
    stubborn.wait_line("SIGTERM", DEADLINE);
    // It will only end when the namespace does, and graceful waits for it until then.
    app.wait_line("2 other processes are still there: SIGTERM", DEADLINE);
    assert_eq!(app.exit(), None, "{}", app.dump());
    drop(app);
    stubborn.wait(DEADLINE);
}

/// Their end raises no SIGCHLD, and is noticed all the same: long before the budget's end, which is past the deadline.
#[test]
fn the_end_of_processes_from_outside_ends_the_stop() {
    let app = Place::Pid1.spawn(graceful_argv(&[], &["--grace-period", "60s"], &signals(&["--exit-on", "TERM=7"])));
    app.wait_line("ready pid=2 ppid=1", DEADLINE);
    let others = [0, 1].map(|_| enter(app.target(), &["--exit-on", "TERM=0", "--delay", "0.3"]));
    app.signal(libc::SIGTERM);
    others.iter().for_each(|other| assert_eq!(other.wait(DEADLINE), Exit::Code(0), "{}", other.dump()));
    assert_eq!(app.wait(DEADLINE), Exit::Code(7), "{}", app.dump());
}

/// signals.py in the namespace of this PID 1, started from outside as `docker exec` does.
fn enter(pid1: i32, options: &[&str]) -> Proc {
    let mut command = Command::new("nsenter");
    command.args(["--target", &pid1.to_string(), "--pid", "--mount"]);
    if !root_outside() {
        command.args(["--user", "--preserve-credentials"]);
    }
    let entered = Proc::spawn(command.arg("--").args(signals(options)));
    entered.wait_line("ready pid=", DEADLINE);
    entered
}

fn root_outside() -> bool {
    // SAFETY: geteuid(2) has no preconditions and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// G1: with a shared PID namespace graceful is not PID 1, and the other containers' processes are not graceful's.
#[test]
fn in_a_shared_namespace_the_others_live_on() {
    let script = "sleep 1000 & one=$!; (sleep 1000 & exec sleep 1000) & two=$!; \
                  \"$@\"; echo code $?; kill -0 $one && kill -0 $two && echo all there";
    let leftovers = ["--children", "2", "--detach", "--child-on-term", "ignore", "--exit-after-ready", "7"];
    let app = Place::Pid1.spawn(graceful_argv(
        &["sh", "-c", script, "sh"],
        &["--grace-period", "1s", "--kill-margin", "500ms"],
        &signals(&leftovers),
    ));
    app.wait_line("code 7", DEADLINE);
    app.wait_line("all there", DEADLINE);
}

/// G1: /proc shows another namespace, in which graceful's own number and its neighbours' mean somebody else.
///
/// There, number 2 has the children 3 to 42. Here, number 2 is graceful, and among 3 to 42 are bystanders.
#[test]
fn another_namespaces_proc_is_not_believed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let go = dir.path().join("go");
    let inner = "\"$@\" & graceful=$!; test $graceful = 2; \
                 sleep 1000 & a=$!; sleep 1000 & b=$!; sleep 1000 & c=$!; echo bystanders $a $b $c; : >$GO; \
                 wait $graceful; echo code $?; kill -0 $a && kill -0 $b && kill -0 $c && echo all there";
    let outer = "sh -c 'for i in 1 2 3 4 5 6 7 8; do for j in 1 2 3 4 5; do sleep 1000 & done; done; echo full; wait' & \
                 read x; GO=$1 INNER=$2; shift 2; export GO; \
                 unshare --pid --fork --kill-child -- sh -c \"$INNER\" sh \"$@\"";
    let app = "sleep 1000 & while ! test -e \"$GO\"; do sleep 0.02; done; exit 7";
    let go = go.to_string_lossy();
    let argv = graceful_argv(
        &["sh", "-c", outer, "sh", &go, inner],
        &["--grace-period", "1s", "--kill-margin", "500ms"],
        &["sh", "-c", app],
    );
    let mut command = Place::Pid1.command(argv);
    let mut process = Proc::spawn_with_stdin(&mut command, std::process::Stdio::piped());
    process.wait_line("full", DEADLINE);
    drop(process.stdin.take());
    let bystanders = process.wait_line("bystanders", DEADLINE).text;
    assert!(bystanders.split(' ').skip(1).all(|pid| (3..=42).contains(&pid.parse().expect("a pid"))), "{bystanders}");
    process.wait_line("code 7", DEADLINE);
    process.wait_line("all there", DEADLINE);
    process.wait_line("/proc is not there or shows another namespace", DEADLINE);
}

/// The same as PID 1, where /proc is not needed to end what is left.
#[test]
fn leftovers_end_without_a_usable_proc() {
    let prefixes: [&[&str]; 2] = [
        &["unshare", "--pid", "--fork", "--kill-child", "--"],
        &["sh", "-ec", "mount -t tmpfs none /proc; exec \"$@\"", "sh"],
    ];
    let leftovers = ["--children", "3", "--detach", "--exit-after-ready", "7"];
    for prefix in prefixes {
        let app = Place::Pid1.spawn(graceful_argv(prefix, &[], &signals(&leftovers)));
        assert_eq!(app.wait(DEADLINE), Exit::Code(7), "{}", app.dump());
        app.wait_lines("SIGTERM", 3, DEADLINE);
    }
}

/// When PID 1 is killed the kernel ends the namespace: the app cannot stay behind.
#[test]
fn the_app_ends_with_a_killed_pid_1() {
    let app = Place::Pid1.spawn(graceful_argv(&[], &[], &["sleep", "1000"]));
    let pid = app_of(&app, "sleep");
    app.signal(libc::SIGKILL);
    app.wait_output(DEADLINE);
    wait_for("the app's end", || has_ended(pid).then_some(()));
}

/// G1. As PID 1 kill(-1) is allowed, and is what ends the rest: the control for the test that never sees it elsewhere.
#[test]
fn control_as_pid_1_everything_is_signalled_at_once() {
    let Some(strace) = strace() else { return };
    // With -D it is strace that becomes the child, and its command stays PID 1.
    let prefix = [&path(&strace), "-D", "-f", "-o", "/dev/stdout", "-e", "trace=kill"];
    let leftovers = ["--children", "1", "--detach", "--exit-after-ready", "7"];
    let app = Place::Pid1.spawn(graceful_argv(&prefix, &[], &signals(&leftovers)));
    app.wait_line("kill(-1, SIGTERM", DEADLINE);
}

fn path(program: &Path) -> String {
    program.to_string_lossy().into_owned()
}

// --- Controls: the same situations with other inits --------------------------------------------------------------

fn init(program: &Path, prefix: &[&str], app: &[&str]) -> Proc {
    let program = path(program);
    let argv = prefix.iter().copied().chain([program.as_str(), "--"]).chain(app.iter().copied());
    Proc::spawn_pid1(&mut in_pid_namespace(argv))
}

fn init_with_signals(program: &Path, options: &[&str]) -> Proc {
    let app = signals(options);
    let app: Vec<&str> = app.iter().map(String::as_str).collect();
    let process = init(program, &[], &app);
    process.wait_line("ready", DEADLINE);
    process
}

#[test]
fn control_g2_tini_and_catatonit_hang_when_sigchld_is_ignored() {
    let (Some(tini), Some(catatonit)) = (tini(), catatonit()) else { return };
    // Not `true`: catatonit looks whether its child is there, and may find it gone already.
    let app = ["sleep", "0.2"];
    let hanging = [&tini, &catatonit].map(|program| init(program, &["env", "--ignore-signal=CHLD"], &app));
    for process in hanging {
        assert!(hangs_without_its_child(&process), "{}", process.dump());
    }
}

#[test]
fn control_g3_tini_dies_of_a_signal_that_it_may_not_send() {
    let (Some(()), Some(tini)) = (root(), tini()) else { return };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let app = checks::becomes_root(dir.path(), &["--never-exit"]);
    let app: Vec<&str> = app.iter().map(String::as_str).collect();
    let nobody = to_nobody();
    let process = init(&tini, &nobody.iter().map(String::as_str).collect::<Vec<_>>(), &app);
    process.wait_line("ready", DEADLINE);
    process.signal(libc::SIGUSR1);
    assert_eq!(process.wait(DEADLINE), Exit::Code(1), "{}", process.dump());
}

#[test]
fn control_g10_dumb_init_and_catatonit_change_the_apps_signals() {
    let (Some(dumb_init), Some(catatonit)) = (dumb_init(), catatonit()) else { return };
    let mask = |pid: i32, key: &str| u64::from_str_radix(&status(pid, key).expect("it runs"), 16).expect("a mask");
    let bit = |signal: i32| 1u64 << (signal - 1);
    let process = init(&dumb_init, &["env", "--ignore-signal=HUP"], &["sleep", "1000"]);
    assert_eq!(mask(app_of(&process, "sleep"), "SigIgn") & bit(libc::SIGHUP), 0, "an ignored SIGHUP is lost");
    let process = init(&catatonit, &[], &["sleep", "1000"]);
    assert_ne!(mask(app_of(&process, "sleep"), "SigBlk") & bit(libc::SIGTSTP), 0, "SIGTSTP stays blocked");
}

#[test]
fn control_g16_tini_has_no_word_for_some_failures_to_execute() {
    let Some(tini) = tini() else { return };
    assert_eq!(init(&tini, &[], &["/etc/passwd/x"]).wait(DEADLINE), Exit::Code(1));
}

#[test]
fn control_g19_tini_holds_the_apps_directory_and_streams() {
    let Some(tini) = tini() else { return };
    let process = init(&tini, &["sh", "-c", "cd /usr/bin; exec \"$@\"", "sh"], &["sleep", "1000"]);
    app_of(&process, "sleep");
    let cwd = std::fs::read_link(format!("/proc/{}/cwd", process.target())).expect("it runs");
    assert_eq!(cwd, Path::new("/usr/bin"));
    assert!(descriptors(process.target())[&1].to_string_lossy().starts_with("pipe:"), "stdout");
}

#[test]
fn control_g20_tini_keeps_fault_signals_from_the_app() {
    let Some(tini) = tini() else { return };
    let process = init_with_signals(&tini, &[]);
    process.signal(libc::SIGSEGV);
    process.signal(libc::SIGUSR1);
    process.wait_line("SIGUSR1", DEADLINE);
    process.signal(libc::SIGTERM);
    let (_, stdout, _) = process.wait_output(DEADLINE);
    assert!(!stdout.contains("SIGSEGV"), "{stdout}");
}

#[test]
fn control_g23_tini_wakes_up() {
    let Some(tini) = tini() else { return };
    assert!(wake_ups(&init(&tini, &[], &["sleep", "1000"])) >= 2);
}

#[test]
fn control_g30_tini_writes_to_the_apps_stdout() {
    let Some(tini) = tini() else { return };
    let process = Proc::spawn_pid1(&mut in_pid_namespace([path(&tini).as_str(), "-vvv", "--", "true"]));
    let (exit, stdout, _) = process.wait_output(DEADLINE);
    assert_eq!(exit, Exit::Code(0));
    assert!(stdout.contains("INFO"), "{stdout}");
}

#[test]
fn control_tini_leaves_a_stopped_app_stopped() {
    let Some(tini) = tini() else { return };
    let process = init_with_signals(&tini, &["--exit-on", "TERM=7"]);
    let app = children(process.target())[0];
    stop(app);
    process.signal(libc::SIGTERM);
    let pending = || Some(u64::from_str_radix(&status(app, "ShdPnd")?, 16).ok()? & 1 << (libc::SIGTERM - 1) != 0);
    wait_for("SIGTERM", || pending()?.then_some(()));
    assert_eq!(state(app), Some('T'));
}

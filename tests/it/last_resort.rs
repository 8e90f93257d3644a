//! If graceful's own loop fails, the app does not notice: signals still reach it, and its exit status still comes out.
//! The failure is asked for by a variable that only debug builds look at.

use crate::support::{DEADLINE, Exit, Proc, graceful_command, in_pid_namespace, signals};

fn survives_a_failure(app: &Proc) {
    app.wait_line("ready", DEADLINE);
    app.signal(libc::SIGUSR2);
    app.wait_line("internal failure", DEADLINE);
    app.wait_line("panic at src/supervisor/last_resort.rs:", DEADLINE);
    app.wait_line(": asked for by a test", DEADLINE);
    app.signal(libc::SIGUSR1);
    app.wait_line("USR1", DEADLINE);
    app.signal(libc::SIGTERM);
    assert_eq!(app.wait(DEADLINE), Exit::Code(7));
}

#[test]
fn a_failure_in_graceful_does_not_end_the_app() {
    let mut command = graceful_command();
    command.env("TEST_PANIC_ON_SIGUSR2", "1").arg("--").args(signals(&["--exit-on", "TERM=7"]));
    survives_a_failure(&Proc::spawn(&mut command));
}

#[test]
fn a_failure_in_the_middle_of_a_stop_loses_neither_the_stop_signal_nor_sigkill() {
    let mut command = graceful_command();
    command.env("TEST_PANIC_ON_SIGUSR2", "1");
    command.args(["--grace-period", "3s", "--pre-stop-delay", "2s", "--"]).args(signals(&["--never-exit"]));
    let app = Proc::spawn(&mut command);
    app.wait_line("ready", DEADLINE);
    app.signal(libc::SIGTERM);
    app.wait_line("stopping", DEADLINE);
    app.signal(libc::SIGUSR2);
    app.wait_line("internal failure", DEADLINE);
    app.wait_line("SIGTERM", DEADLINE);
    assert_eq!(app.wait(DEADLINE), Exit::Signal(libc::SIGKILL));
}

#[test]
fn a_failure_in_pid_1_does_not_end_the_container() {
    let graceful = crate::support::graceful().to_string_lossy().into_owned();
    let mut args = vec![graceful, "--".to_owned()];
    args.extend(signals(&["--exit-on", "TERM=7"]));
    let mut command = in_pid_namespace(args);
    command.env("TEST_PANIC_ON_SIGUSR2", "1");
    survives_a_failure(&Proc::spawn_pid1(&mut command));
}

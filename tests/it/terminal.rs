//! Terminals: graceful between a shell and an app changes nothing that a person at the keyboard would notice.
//!
//! Real pseudo-terminals. The controls show what the inits do that give the app a process group of its own and hand it
//! the foreground through standard input (tini, catatonit), and never take it back.

use crate::support::pty::{CTRL_BACKSLASH, CTRL_C, CTRL_Z, Member, Terminal};
use crate::support::run::{is_alive, wait_for};
use crate::support::{DEADLINE, Exit, Proc, graceful, graceful_command, python3, signals};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The command line of graceful for a shell.
fn wrapped(options: &str, app: &str) -> String {
    format!("{} {options} -- {app}", graceful().display())
}

/// The command line of `tests/apps/signals.py` for a shell.
fn telling(options: &[&str]) -> String {
    signals(options).join(" ")
}

fn tini_before(app: &str) -> Option<String> {
    Some(format!("{} -s -- {app}", crate::support::tini()?.display()))
}

fn ends_with_0(terminal: &Terminal) {
    assert_eq!(terminal.wait(), Exit::Code(0), "{}", terminal.dump());
}

fn send(pid: i32, signal: nix::sys::signal::Signal) {
    assert!(pid > 1);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).expect("it runs");
}

fn named(name: &'static str) -> impl Fn(&Member) -> bool {
    move |member| member.name == name && member.state != 'Z'
}

mod foreground {
    use super::*;

    /// Reads the terminal although its standard input is something else, as password prompts do.
    const ASKS: &str = r#"sh -c 'echo ask; read line </dev/tty; echo "got $line"' </dev/null"#;

    #[test]
    fn an_app_with_its_stdin_redirected_reads_the_terminal() {
        let terminal = Terminal::script(&wrapped("", ASKS));
        terminal.expect("ask\n");
        terminal.type_line("secret");
        terminal.expect("got secret\n");
        ends_with_0(&terminal);
    }

    #[test]
    fn control_under_tini_that_app_is_stopped_for_ever() {
        let Some(script) = tini_before(ASKS) else { return };
        let terminal = Terminal::script(&script);
        terminal.expect("ask\n");
        terminal.wait_member("a stopped app", |member| member.name == "sh" && member.state == 'T');
    }

    const AND_THEN_READS: &str = r#"; if read line; then echo "read $line"; else echo "cannot read"; fi"#;

    #[test]
    fn a_script_reads_its_terminal_after_graceful() {
        let terminal = Terminal::script(&(wrapped("", "true") + AND_THEN_READS));
        terminal.type_line("hello");
        terminal.expect("read hello\n");
        ends_with_0(&terminal);
    }

    #[test]
    fn control_after_tini_and_catatonit_the_script_cannot_read() {
        let (Some(tini), Some(catatonit)) = (tini_before("true"), crate::support::catatonit()) else { return };
        for init in [tini, format!("{} -- true", catatonit.display())] {
            let terminal = Terminal::script(&(init + AND_THEN_READS));
            terminal.type_line("hello");
            terminal.expect("cannot read\n");
        }
    }

    /// A shell in an interactive shell takes the foreground for a group of its own; killed, it cannot give it back.
    const TAKES_IT_AND_DIES: &str = "bash --norc --noprofile --noediting -i";

    fn kill_the_inner_shell(terminal: &Terminal) {
        terminal.expect("$ ");
        let group = terminal.foreground();
        assert_ne!(group, terminal.pid(), "the inner shell has a group of its own");
        terminal.type_line("kill -KILL $$");
    }

    #[test]
    fn the_foreground_of_an_app_that_died_with_it_is_taken_back() {
        let script = format!("PS1='$ ' {}", wrapped("", TAKES_IT_AND_DIES)) + AND_THEN_READS;
        let terminal = Terminal::script(&script);
        kill_the_inner_shell(&terminal);
        terminal.expect("the app was killed by SIGKILL that graceful did not send");
        terminal.type_line("hello");
        terminal.expect("read hello\n");
        ends_with_0(&terminal);
    }

    #[test]
    fn control_without_graceful_it_is_lost() {
        let terminal = Terminal::script(&format!("PS1='$ ' {TAKES_IT_AND_DIES}{AND_THEN_READS}"));
        kill_the_inner_shell(&terminal);
        terminal.expect("cannot read\n");
    }

    #[test]
    fn a_background_job_does_not_take_the_foreground() {
        let shell = Terminal::interactive_bash();
        shell.type_line(&(wrapped("--pre-stop-delay 0s", "sh -c 'echo started; exec sleep 1000'") + " &"));
        shell.expect("started\n");
        assert_eq!(shell.foreground(), shell.pid());
        shell.type_line("echo alive");
        shell.expect("alive\n");
        // Its end does not take it either.
        shell.type_line("kill $!; wait $!; echo status $?");
        shell.expect("status 143\n");
        assert_eq!(shell.foreground(), shell.pid());
    }

    #[test]
    fn control_tini_as_a_background_job_takes_it() {
        let Some(tini) = tini_before("sh -c 'echo started; exec sleep 1000'") else { return };
        let shell = Terminal::interactive_bash();
        shell.type_line(&(tini + " &"));
        // A shell that is about to read when it loses the foreground may end for it.
        wait_for("tini in the foreground", || !is_alive(shell.pid()) || shell.foreground() != shell.pid());
    }

    #[test]
    fn in_a_pipeline_both_ends_have_the_terminal() {
        let shell = Terminal::interactive_bash();
        // Each of the two is graceful's pipeline neighbour once, and each reads the terminal.
        let asks = r#"sh -c 'echo ask >/dev/tty; read line </dev/tty; echo "got $line"; cat'"#;
        shell.type_line(&format!("{} </dev/null | cat", wrapped("", asks)));
        shell.expect("ask\n");
        shell.type_line("one");
        shell.expect("got one\n");
        shell.expect("prompt> ");
        shell.type_line(&format!("echo data | {}", wrapped("", asks)));
        shell.expect("ask\n");
        shell.type_line("two");
        shell.expect("got two\n");
        shell.expect("data\n");
        shell.expect("prompt> ");
    }
}

mod keys {
    use super::*;

    /// A graceful that leads the session, with an app that tells its signals.
    fn telling_app(options: &[&str]) -> Terminal {
        let terminal = Terminal::start(graceful_command().arg("--").args(signals(options)));
        terminal.expect("ready");
        terminal.expect("\n");
        terminal
    }

    #[test]
    fn ctrl_c_reaches_the_app_once_and_begins_no_stop() {
        let terminal = telling_app(&["--exit-on", "USR1=7"]);
        terminal.type_text(CTRL_C);
        terminal.expect("SIGINT by key is the app's; once more within 60 s is a stop");
        // The app takes pending signals lowest first: with USR1 told, no second INT can be on its way.
        send(terminal.pid(), nix::sys::signal::SIGUSR1);
        assert_eq!(terminal.wait(), Exit::Code(7), "{}", terminal.dump());
        assert_eq!(terminal.output().matches("SIGINT\n").count(), 1, "{}", terminal.dump());
        assert!(!terminal.output().contains("stopping"), "{}", terminal.dump());
    }

    #[test]
    fn a_second_ctrl_c_reaches_the_app_once_more_and_begins_the_stop() {
        let terminal = telling_app(&["--exit-on", "INT@2=130", "--exit-on", "INT@3=99"]);
        terminal.type_text(CTRL_C);
        // Both have the first: two of the same that wait become one.
        terminal.expect_all(&["SIGINT by key", "SIGINT\n"]);
        assert!(terminal.members().iter().any(|member| member.name == "python3"), "{}", terminal.dump());
        terminal.type_text(CTRL_C);
        terminal.expect("SIGINT: stopping");
        assert_eq!(terminal.wait(), Exit::Code(130), "{}", terminal.dump());
        terminal.expect("budget left\n");
        assert_eq!(terminal.output().matches("SIGINT\n").count(), 2, "{}", terminal.dump());
    }

    #[test]
    fn ctrl_c_and_ctrl_backslash_end_an_app_without_handler_with_its_status() {
        for (key, signal) in [(CTRL_C, libc::SIGINT), (CTRL_BACKSLASH, libc::SIGQUIT)] {
            let terminal = Terminal::start(graceful_command().args(["--", "sh", "-c", "echo up; exec sleep 1000"]));
            terminal.expect("up\n");
            terminal.wait_member("sleep", named("sleep"));
            terminal.type_text(key);
            assert_eq!(terminal.wait(), Exit::Signal(signal), "{}", terminal.dump());
        }
    }

    #[test]
    fn ctrl_c_in_an_interactive_app_stays_there() {
        let terminal = Terminal::start(
            graceful_command()
                .args(["--", "bash"])
                .args(["--norc", "--noprofile", "--noediting", "-i"])
                .env("PS1", "inner> "),
        );
        terminal.expect("inner> ");
        terminal.type_line("sleep 1000");
        terminal.wait_member("sleep", named("sleep"));
        terminal.type_text(CTRL_C);
        terminal.expect("inner> ");
        terminal.type_line("echo status $?; exit 4");
        terminal.expect("status 130\n");
        assert_eq!(terminal.wait(), Exit::Code(4), "{}", terminal.dump());
        assert!(!terminal.output().contains("stopping"), "{}", terminal.dump());
    }

    #[test]
    fn a_stopped_app_goes_on_to_stop_at_the_second_ctrl_c() {
        let terminal = telling_app(&["--exit-on", "INT=5"]);
        let app = terminal.wait_member("the app", named("python3"));
        send(app.pid, nix::sys::signal::SIGSTOP);
        terminal.wait_member("stopped", |member| member.pid == app.pid && member.state == 'T');
        terminal.type_text(CTRL_C);
        terminal.expect("SIGINT by key is the app's");
        terminal.type_text(CTRL_C);
        assert_eq!(terminal.wait(), Exit::Code(5), "{}", terminal.dump());
    }

    #[test]
    fn a_new_window_size_reaches_the_app_once() {
        let terminal = telling_app(&["--exit-on", "TERM=7"]);
        terminal.resize(50, 132);
        terminal.expect("SIGWINCH\n");
        terminal.resize(25, 80);
        terminal.expect("SIGWINCH\n");
        // The next thing told is something else: WINCH (28) would come before a real-time signal.
        queue(terminal.pid(), libc::SIGRTMIN() + 1);
        terminal.expect("SIGRTMIN+1\n");
        assert_eq!(terminal.output().matches("SIGWINCH\n").count(), 2, "{}", terminal.dump());
    }

    fn queue(pid: i32, signal: i32) {
        assert!(pid > 1);
        // SAFETY: kill(2) takes numbers; nix has no name for real-time signals.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }
}

mod jobs {
    use super::*;

    /// Counts, so that one sees whether it goes on.
    const APP: &str = r#"sh -c 'trap "echo usr1" USR1; echo started; while :; do read line && echo "got $line"; done'"#;

    #[test]
    fn ctrl_z_stops_the_job_and_fg_continues_it() {
        let shell = Terminal::interactive_bash();
        shell.type_line(&wrapped("", APP));
        shell.expect("started\n");
        for round in ["one", "two"] {
            shell.type_text(CTRL_Z);
            shell.expect("Stopped");
            shell.expect("prompt> ");
            assert_eq!(shell.foreground(), shell.pid());
            shell.type_line("jobs");
            shell.expect("Stopped");
            shell.type_line("fg");
            shell.expect("started"); // bash shows the job's command line.
            shell.type_line(round);
            shell.expect(&format!("got {round}\n"));
        }
        shell.type_text(CTRL_C);
        shell.expect("prompt> ");
        shell.type_line("echo status $?");
        shell.expect("status 130\n");
    }

    #[test]
    fn bg_lets_the_job_go_on_in_the_background() {
        let shell = Terminal::interactive_bash();
        let app = telling(&["--exit-on", "TERM=7", "--default", "TSTP"]);
        shell.type_line(&wrapped("--pre-stop-delay 0s", &app));
        shell.expect("ready");
        shell.type_text(CTRL_Z);
        shell.expect("Stopped");
        shell.expect("prompt> ");
        shell.type_line("bg");
        shell.expect("SIGCONT\n");
        assert_eq!(shell.foreground(), shell.pid());
        let graceful = shell.wait_member("graceful", named("graceful"));
        send(graceful.pid, nix::sys::signal::SIGTERM);
        shell.expect("SIGTERM to the app");
        shell.type_line("wait %1; echo status $?");
        shell.expect("status 7\n");
    }

    #[test]
    fn an_app_that_suspends_itself_as_editors_do_is_a_stopped_job() {
        let shell = Terminal::interactive_bash();
        // To its whole group, graceful included.
        shell.type_line(&wrapped("", "sh -c 'echo here; kill -TSTP 0; echo back; exit 6'"));
        shell.expect("here\n");
        shell.expect("Stopped");
        shell.expect("prompt> ");
        shell.type_line("fg");
        shell.expect("back\n");
        shell.expect("prompt> ");
        shell.type_line("echo status $?");
        shell.expect("status 6\n");
    }

    #[test]
    fn a_job_that_reads_in_the_background_is_stopped_until_fg() {
        let shell = Terminal::interactive_bash();
        shell.type_line(&(wrapped("", r#"sh -c 'read line; echo "got $line"'"#) + " &"));
        shell.wait_member("stopped by reading", |member| member.name == "graceful" && member.state == 'T');
        shell.type_line("fg");
        shell.expect("graceful"); // bash shows the job's command line.
        shell.type_line("late");
        shell.expect("got late\n");
        shell.expect("prompt> ");
    }

    /// Started in the background, the app has a group of its own, and a shell's `fg` means graceful's.
    #[test]
    fn a_job_that_came_from_the_background_reads_stops_and_goes_on_like_any_other() {
        let shell = Terminal::interactive_bash();
        let app = r#"sh -c 'while read line; do echo "got $line"; done'"#;
        shell.type_line(&(wrapped("", app) + " &"));
        shell.wait_member("stopped by reading", |member| member.name == "graceful" && member.state == 'T');
        for round in ["one", "two"] {
            shell.type_line("fg");
            shell.expect("graceful"); // bash shows the job's command line.
            shell.type_line(round);
            shell.expect(&format!("got {round}\n"));
            shell.type_text(CTRL_Z);
            shell.expect("Stopped");
            shell.expect("prompt> ");
            assert_eq!(shell.foreground(), shell.pid());
        }
        // In the background it is stopped by reading again, and `fg` still helps.
        shell.type_line("bg");
        shell.expect("prompt> ");
        shell.wait_member("stopped by reading again", |member| member.name == "graceful" && member.state == 'T');
        shell.type_line("fg");
        shell.expect("graceful");
        shell.type_line("three");
        shell.expect("got three\n");
        shell.type_text(CTRL_C);
        shell.expect("prompt> ");
        shell.type_line("echo status $?");
        shell.expect("status 130\n");
    }

    /// An app that never reads: Ctrl-C and Ctrl-Z after `fg` are graceful's, and the app gets them from it.
    #[test]
    fn after_fg_the_keys_reach_an_app_that_never_asked_for_the_terminal() {
        let shell = Terminal::interactive_bash();
        let app = telling(&["--exit-on", "INT=7", "--default", "TSTP"]);
        shell.type_line(&(wrapped("--hold never", &app) + " &"));
        shell.expect("ready");
        shell.type_line("fg");
        shell.expect("graceful"); // bash shows the job's command line.
        shell.wait_member("graceful in the foreground", |member| {
            member.name == "graceful" && member.group == shell.foreground()
        });
        shell.type_text(CTRL_Z);
        shell.expect("Stopped");
        shell.expect("prompt> ");
        shell.type_line("fg");
        shell.expect("SIGCONT\n");
        shell.type_text(CTRL_C);
        shell.expect("SIGINT: stopping");
        shell.expect("prompt> ");
        shell.type_line("echo status $?");
        shell.expect("status 7\n");
    }

    #[test]
    fn a_job_in_the_background_is_stopped_by_kill_with_its_own_status() {
        let shell = Terminal::interactive_bash();
        shell.type_line(&(wrapped("--pre-stop-delay 0s", &telling(&["--exit-on", "TERM=7"])) + " &"));
        shell.expect("ready");
        shell.type_line("kill $!; wait $!; echo status $?");
        shell.expect("status 7\n");
    }

    #[test]
    fn with_tostop_graceful_in_the_background_still_writes_its_log() {
        let shell = Terminal::interactive_bash();
        shell.type_line("stty tostop; echo set");
        shell.expect("set\n");
        shell.type_line(&(wrapped("--log-level debug --pre-stop-delay 0s", "sleep 1000") + " &"));
        shell.expect("graceful: the app runs as pid");
        shell.type_line("kill $!; wait $!; echo status $?");
        shell.expect("graceful: SIGTERM to the app");
        shell.expect("status 143\n");
    }

    #[test]
    fn control_with_tostop_an_ordinary_job_is_stopped_by_writing() {
        let shell = Terminal::interactive_bash();
        shell.type_line("stty tostop; echo set");
        shell.expect("set\n");
        shell.type_line("sh -c 'echo words; exec sleep 1000' &");
        shell.wait_member("stopped by writing", |member| member.name == "sh" && member.state == 'T');
    }
}

/// What whoever started graceful goes on with.
mod after_the_end {
    use super::*;

    fn bash(script: &str) -> Terminal {
        Terminal::start(Command::new("bash").args(["--norc", "--noprofile", "-c", script]))
    }

    fn looping(command: &str) -> Terminal {
        let terminal = bash(&format!("for i in 1 2 3; do {command}; echo round $i; done"));
        terminal.expect("up\n");
        terminal.wait_member("sleep", named("sleep"));
        terminal.type_text(CTRL_C);
        terminal
    }

    const SLEEPS: &str = "sh -c 'echo up; exec sleep 1000'";

    /// bash goes on with its loop after a command that has dealt with the key, and ends with one that died of it.
    #[test]
    fn ctrl_c_ends_the_loop_of_a_shell_too() {
        let terminal = looping(&wrapped("", SLEEPS));
        assert_eq!(terminal.wait(), Exit::Signal(libc::SIGINT), "{}", terminal.dump());
        assert!(!terminal.output().contains("round"), "{}", terminal.dump());
    }

    #[test]
    fn control_an_exit_status_of_130_does_not() {
        let terminal = looping("sh -c 'trap : INT; echo up; sleep 1000; exit 130'");
        terminal.expect("round 1\n");
    }

    const RAW: &str = "sh -c 'stty raw -echo; echo raw; kill -KILL $$'";

    #[test]
    fn a_terminal_that_the_app_could_not_put_right_is_put_right() {
        let terminal = Terminal::script(&(wrapped("", RAW) + "; echo next; read line; echo \"read $line\""));
        terminal.expect("raw");
        terminal.expect("next");
        assert!(terminal.is_cooked(), "{}", terminal.dump());
        terminal.type_line("hello");
        terminal.expect("read hello\n");
        ends_with_0(&terminal);
    }

    #[test]
    fn control_under_tini_it_stays_raw() {
        let Some(script) = tini_before(RAW) else { return };
        let terminal = Terminal::script(&(script + "; echo next; exec sleep 1000"));
        terminal.expect("next");
        assert!(!terminal.is_cooked(), "{}", terminal.dump());
    }

    /// As stty(1) does: that is what it is for.
    #[test]
    fn an_app_that_exits_by_itself_leaves_the_terminal_as_it_wants() {
        let terminal = Terminal::script(&(wrapped("", "stty raw") + "; echo next; exec sleep 1000"));
        terminal.expect("next");
        assert!(!terminal.is_cooked(), "{}", terminal.dump());
    }
}

mod hang_up {
    use super::*;

    fn file(name: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(name);
        (dir, path)
    }

    fn wait_text(path: &Path, text: &str) {
        let end = Instant::now() + DEADLINE;
        while !std::fs::read_to_string(path).is_ok_and(|content| content.contains(text)) {
            assert!(Instant::now() < end, "no {text:?} in {}", path.display());
            std::thread::sleep(Duration::from_millis(5)); // A file tells no news: read it again.
        }
    }

    #[test]
    fn it_reaches_the_app_whose_status_counts() {
        let (_dir, heard) = file("heard");
        let app = format!(r#"trap "echo hup >{}; exit 3" HUP; echo up; while :; do sleep 0.05; done"#, heard.display());
        let mut terminal = Terminal::start(graceful_command().args(["--", "sh", "-c", &app]));
        terminal.expect("up\n");
        terminal.hang_up();
        wait_text(&heard, "hup");
        assert_eq!(terminal.wait(), Exit::Code(3));
    }

    #[test]
    fn an_app_without_handler_dies_of_it() {
        let mut terminal = Terminal::start(graceful_command().args(["--", "sh", "-c", "echo up; exec sleep 1000"]));
        terminal.expect("up\n");
        terminal.hang_up();
        assert_eq!(terminal.wait(), Exit::Signal(libc::SIGHUP));
    }

    #[test]
    fn under_a_shell_that_passes_it_on_it_comes_too() {
        let (_dir, heard) = file("heard");
        let mut shell = Terminal::interactive_bash();
        let app =
            format!(r#"trap "echo hup >{0}; exit 3" HUP; echo up; while :; do sleep 0.05; done"#, heard.display());
        let report = heard.with_file_name("report");
        shell.type_line(&wrapped(&format!("--report {}", report.display()), &format!("sh -c '{app}'")));
        shell.expect("up\n");
        shell.hang_up();
        wait_text(&heard, "hup");
        wait_text(&report, "\"exit_code\": 3");
    }

    #[test]
    fn an_app_that_goes_on_is_still_looked_after_and_graceful_sleeps() {
        let (_dir, heard) = file("heard");
        let app = format!(
            r#"trap "" HUP; trap "echo term >>{0}; exit 3" TERM; echo up; echo up >{0}; while :; do sleep 0.05; done"#,
            heard.display()
        );
        let mut terminal = Terminal::start(
            graceful_command().args(["--log-level", "debug", "--pre-stop-delay", "0s", "--"]).args(["sh", "-c", &app]),
        );
        terminal.expect("up\n");
        let graceful = terminal.pid();
        terminal.hang_up();
        // The kernel sends HUP and CONT. That both were taken shows in what still waits.
        wait_for_no_pending_signal(graceful);
        let before = wake_ups(graceful);
        std::thread::sleep(Duration::from_millis(500)); // Not a guess: the time over which idleness is measured.
        let woken = wake_ups(graceful) - before;
        assert!(woken <= 3, "{woken} wake-ups in half a second of nothing");
        send(graceful, nix::sys::signal::SIGTERM);
        wait_text(&heard, "term");
        assert_eq!(terminal.wait(), Exit::Code(3));
    }

    fn status_field(pid: i32, field: &str) -> String {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let line = status.lines().find(|line| line.starts_with(field)).expect("a field of every process");
        line.split_whitespace().nth(1).expect("a value").to_owned()
    }

    fn wake_ups(pid: i32) -> u64 {
        status_field(pid, "voluntary_ctxt_switches").parse().expect("a number")
    }

    fn wait_for_no_pending_signal(pid: i32) {
        let end = Instant::now() + DEADLINE;
        while status_field(pid, "ShdPnd") != "0000000000000000" {
            assert!(Instant::now() < end, "signals wait");
            std::thread::sleep(Duration::from_millis(5)); // /proc tells no news: it has to be read again.
        }
    }
}

mod elsewhere {
    use super::*;

    #[test]
    fn without_any_terminal_it_works() {
        let app = Proc::spawn(
            Command::new("setsid")
                .arg("--wait")
                .arg(graceful())
                .args(["--", "sh", "-c"])
                .arg("if (: </dev/tty) 2>/dev/null; then echo a terminal; else echo none; fi; exit 5"),
        );
        let (exit, stdout, stderr) = app.wait_output(DEADLINE);
        assert_eq!((exit, stdout.as_str(), stderr.as_str()), (Exit::Code(5), "none\n", ""));
    }

    /// PID 1 of a namespace, with the terminal as controlling terminal, as `docker run -it` sets it up.
    fn as_pid_1(init: &[&str], app: &[String]) -> Terminal {
        let mut unshare = Command::new("unshare");
        unshare.args(["--pid", "--fork", "--mount-proc", "--kill-child", "--"]).args(init).args(app);
        let terminal = Terminal::start(&mut unshare);
        terminal.expect("ready");
        terminal.expect("\n");
        terminal
    }

    #[test]
    fn as_pid_1_ctrl_z_does_not_freeze_the_container() {
        let graceful = graceful();
        let app = signals(&["--default", "TSTP", "--exit-on", "INT=5"]);
        let terminal = as_pid_1(&[graceful.to_str().expect("a path"), "--"], &app);
        terminal.type_text(CTRL_Z);
        // Bytes typed after a key come after its signal.
        terminal.type_text(CTRL_C);
        assert_eq!(terminal.wait(), Exit::Code(5), "{}", terminal.dump());
    }

    #[test]
    fn as_pid_1_ctrl_z_does_not_freeze_an_app_that_took_the_foreground_for_its_own_group() {
        let graceful = graceful();
        let take = "import os, signal, sys\n\
                    signal.signal(signal.SIGTTOU, signal.SIG_IGN)\n\
                    os.setpgid(0, 0)\n\
                    os.tcsetpgrp(0, os.getpgrp())\n\
                    signal.signal(signal.SIGTTOU, signal.SIG_DFL)\n\
                    os.execv(sys.argv[1], sys.argv[1:])";
        let app = [&[python3(), "-c".to_owned(), take.to_owned()], signals(&["--default", "TSTP"]).as_slice()].concat();
        let terminal = as_pid_1(&[graceful.to_str().expect("a path"), "--"], &app);
        terminal.type_text(CTRL_Z);
        // Told only by an app that was stopped and continued.
        terminal.expect("SIGCONT\n");
        terminal.type_text(CTRL_C);
        terminal.expect("SIGINT\n");
        terminal.wait_member("running", |member| member.name == "python3" && member.state == 'S');
    }

    #[test]
    fn control_tini_as_pid_1_is_frozen_by_ctrl_z() {
        let Some(tini) = crate::support::tini() else { return };
        let app = signals(&["--default", "TSTP", "--exit-on", "INT=5"]);
        let terminal = as_pid_1(&[tini.to_str().expect("a path"), "--"], &app);
        terminal.type_text(CTRL_Z);
        terminal.wait_member("a frozen app", |member| member.name == "python3" && member.state == 'T');
    }

    #[test]
    fn as_pid_1_an_interactive_shell_has_job_control() {
        let graceful = graceful();
        let shell = "sh -c 'echo ready; exec bash --norc --noprofile --noediting -i'";
        let app: Vec<String> = ["sh", "-c", shell].map(str::to_owned).into();
        let terminal = as_pid_1(&[graceful.to_str().expect("a path"), "--"], &app);
        terminal.expect("# ");
        terminal.type_line("sleep 1000");
        terminal.wait_member("sleep", named("sleep"));
        terminal.type_text(CTRL_Z);
        terminal.expect("Stopped");
        terminal.expect("# ");
        terminal.type_line("fg");
        let foreground = |member: &Member| member.state == 'S' && member.group == terminal.foreground();
        terminal.wait_member("sleep in the foreground", |member| named("sleep")(member) && foreground(member));
        terminal.type_text(CTRL_C);
        terminal.expect("# ");
        terminal.type_line("echo status $?; exit 4");
        terminal.expect("status 130\n");
        assert_eq!(terminal.wait(), Exit::Code(4), "{}", terminal.dump());
    }
}

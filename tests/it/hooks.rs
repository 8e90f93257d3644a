//! Hooks as the user sees them: when they run, what they are told, what becomes of those that fail, hang or flood.

use crate::support::run::{
    Run, folder, full_pipe, is_alive, number_after, phases, shell, signals_sent, wait_file_lines, wait_for, words,
};
use crate::support::{DEADLINE, Exit, Proc, address, free_port, graceful_command, signals};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const NO_DELAY: [&str; 4] = ["--grace-period", "120s", "--pre-stop-delay", "0s"];
/// SIGKILL after 1 s, and 4 s for a busy machine to end before G.
const SHORT: [&str; 6] = ["--grace-period", "5s", "--kill-margin", "4s", "--pre-stop-delay", "0s"];

/// `STAGE=sh -c SCRIPT`, as --hook takes it. The script has no single quotes.
fn hook(stage: &str, script: &str) -> String {
    format!("{stage}=sh -c '{script}'")
}

/// graceful in a new folder, which is its hooks' directory as well, over an app.
struct InFolder {
    process: Proc,
    folder: TempDir,
}

impl InFolder {
    /// `config` is the text of the file; hooks come in there or as flags.
    fn start(options: &[&str], hooks: &[String], config: &str, app: &[String]) -> InFolder {
        let folder = folder();
        let mut command = graceful_command();
        command.current_dir(folder.path()).args(options).args(["--report", "report.json"]);
        if !config.is_empty() {
            std::fs::write(folder.path().join("graceful.toml"), config).unwrap();
            command.args(["--config", "graceful.toml"]);
        }
        command.args(hooks.iter().flat_map(|hook| ["--hook", hook]));
        InFolder { process: Proc::spawn_group(command.arg("--").args(app)), folder }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    #[track_caller]
    fn ends(&self, exit: Exit) -> Value {
        assert_eq!(self.process.wait(DEADLINE), exit, "{}", self.process.dump());
        serde_json::from_str(&self.read("report.json")).expect("the report is JSON")
    }
}

impl std::ops::Deref for InFolder {
    type Target = Proc;

    fn deref(&self) -> &Proc {
        &self.process
    }
}

/// "name result", in the order in which they ended.
fn results(report: &Value) -> Vec<String> {
    let hooks = report["hooks"].as_array().expect("hooks is a list").iter();
    hooks.map(|hook| format!("{} {}", hook["name"].as_str().unwrap(), hook["result"].as_str().unwrap())).collect()
}

// The stages

#[test]
fn hooks_run_at_four_stages_and_are_told_what_goes_on() {
    let tell =
        r#"echo "$GRACEFUL_PHASE ${GRACEFUL_SIGNAL:--} ${GRACEFUL_APP_PID:--} ${GRACEFUL_EXIT_STATUS:--}" >>log"#;
    let stages = ["pre-start", "post-start", "pre-stop", "post-stop"];
    let hooks: Vec<String> = stages.iter().map(|stage| hook(stage, tell)).collect();
    let run = InFolder::start(&NO_DELAY, &hooks, "", &signals(&["--exit-on", "TERM=3"]));
    let ready = run.wait_line("ready pid=", DEADLINE);
    let pid = number_after(&ready.text, "ready pid=");
    assert_eq!(wait_file_lines(&run.path("log"), 2), ["pre-start - - -".into(), format!("post-start - {pid} -")]);
    run.signal(libc::SIGTERM);
    let report = run.ends(Exit::Code(3));
    let log = run.read("log");
    let after: Vec<&str> = log.lines().skip(2).collect();
    assert_eq!(after, [format!("pre-stop SIGTERM {pid} -"), format!("post-stop SIGTERM {pid} 3")]);
    let told: Vec<&str> =
        report["hooks"].as_array().unwrap().iter().map(|hook| hook["stage"].as_str().unwrap()).collect();
    assert_eq!(told, stages);
}

#[test]
fn an_app_that_ends_by_itself_has_no_signal_to_tell_of() {
    let hooks = [hook("post-stop", "echo ${GRACEFUL_SIGNAL:-none} $GRACEFUL_EXIT_STATUS >>log")];
    let run = InFolder::start(&NO_DELAY, &hooks, "", &shell("exit 9"));
    run.ends(Exit::Code(9));
    assert_eq!(run.read("log"), "none 9\n");
}

#[test]
fn the_app_is_told_after_the_pre_stop_hooks_and_the_post_stop_hooks_come_after_the_app() {
    let hooks = [
        hook("pre-stop", "touch waiting; until test -e go; do sleep 0.02; done"),
        hook("post-stop", "kill -0 $GRACEFUL_APP_PID || echo gone >>log"),
    ];
    let run = InFolder::start(&NO_DELAY, &hooks, "", &signals(&["--exit-on", "TERM=3", "--delay", "0.2"]));
    run.wait_line("ready pid=", DEADLINE);
    run.signal(libc::SIGTERM);
    wait_for("the pre-stop hook", || run.path("waiting").exists());
    assert!(!run.stdout_so_far().contains("SIGTERM"), "{}", run.dump());
    std::fs::write(run.path("go"), "").unwrap();
    run.ends(Exit::Code(3));
    assert_eq!(run.read("log"), "gone\n", "{}", run.dump());
}

#[test]
fn the_hooks_of_flags_run_one_after_the_other_in_their_order() {
    let hooks: Vec<String> = ["one", "two", "three"]
        .iter()
        .map(|name| hook("pre-start", &format!("echo {name} >>log; sleep 0.1; echo end of {name} >>log")))
        .collect();
    let run = InFolder::start(&NO_DELAY, &hooks, "", &shell("echo app >>log"));
    run.ends(Exit::Code(0));
    assert_eq!(run.read("log"), "one\nend of one\ntwo\nend of two\nthree\nend of three\napp\n");
}

#[test]
fn higher_priority_runs_first_and_equal_ones_run_together() {
    let meet =
        |own: &str, other: &str| format!("echo {own} >>log; touch {own}; until test -e {other}; do sleep 0.02; done");
    let mut config = String::new();
    for (name, priority, script) in [
        ("last", -5, "echo last >>log".to_owned()),
        // Each waits for the other: one after the other they would never end.
        ("left", 0, meet("left", "right")),
        ("right", 0, meet("right", "left")),
        ("first", 10, "echo first >>log".to_owned()),
    ] {
        let _ = writeln!(
            config,
            "[[hook]]\nstage = \"pre-start\"\nname = \"{name}\"\npriority = {priority}\nrun = [\"sh\", \"-c\", \"{script}\"]"
        );
    }
    let run = InFolder::start(&NO_DELAY, &[hook("pre-start", "echo flag >>log")], &config, &shell("echo app >>log"));
    let report = run.ends(Exit::Code(0));
    let log = run.read("log");
    let log: Vec<&str> = log.lines().collect();
    assert_eq!((log[0], &log[3..]), ("first", &["flag", "last", "app"][..]), "{log:?}");
    assert!(results(&report).iter().all(|result| result.ends_with(" ok")), "{:?}", results(&report));
}

// Failure

#[test]
fn a_pre_start_hook_that_fails_keeps_the_app_from_starting() {
    for (what, why) in [
        (hook("pre-start", "echo no database; exit 4"), "failed: exit status 4"),
        ("pre-start=/nonexistent/migrate".to_owned(), "not found"),
        ("pre-start=/etc/passwd".to_owned(), "failed: exit status 126"),
        (hook("pre-start", "kill -9 $$"), "failed: killed by SIGKILL"),
    ] {
        let run = InFolder::start(&NO_DELAY, &[what, hook("pre-start", "touch second")], "", &shell("touch started"));
        let report = run.ends(Exit::Code(125));
        assert!(!run.path("started").exists() && !run.path("second").exists(), "{}", run.dump());
        run.wait_line(why, DEADLINE);
        assert_eq!(report["app"]["pid"], Value::Null);
        assert_eq!(report["cause"]["kind"], "not-started");
        assert_eq!(report["exit_code"], 125);
    }
}

#[test]
fn a_failure_that_may_be_goes_on() {
    let config = "[[hook]]\nstage = 'pre-start'\nname = 'cache'\nrun = 'false'\non_failure = 'continue'\n";
    let hooks = [hook("post-start", "exit 3"), hook("pre-stop", "exit 4"), hook("post-stop", "exit 5")];
    let run = InFolder::start(&NO_DELAY, &hooks, config, &signals(&["--exit-on", "TERM=7"]));
    run.wait_line("ready pid=", DEADLINE);
    run.wait_line("post-start hook sh failed: exit status 3", DEADLINE);
    run.signal(libc::SIGTERM);
    let report = run.ends(Exit::Code(7));
    assert_eq!(results(&report), ["cache failed", "sh failed", "sh failed", "sh failed"]);
    assert_eq!(report["hooks"][0]["detail"], "exit status 1");
}

#[test]
fn a_post_start_hook_can_stop_the_app() {
    let config = "[[hook]]\nstage = 'post-start'\nname = 'warm up'\non_failure = 'abort'\n\
                  run = ['sh', '-c', 'until test -e go; do sleep 0.02; done; exit 1']\n";
    let run = InFolder::start(&NO_DELAY, &[], config, &signals(&["--exit-on", "TERM=7"]));
    run.wait_line("ready pid=", DEADLINE);
    std::fs::write(run.path("go"), "").unwrap();
    let report = run.ends(Exit::Code(7));
    assert_eq!(report["cause"]["kind"], "hook-failed");
    assert_eq!(signals_sent(&report), ["SIGTERM stop"]);
    run.wait_line("a post-start hook failed: stopping", DEADLINE);
}

// Timeouts

/// A hook that hangs with a child, and one in a session of its own. All three pids are in the file.
const HANGING: &str = "sleep 60 & echo $! >>pids; setsid sleep 60 & echo $! >>pids; echo $$ >>pids; wait";

#[track_caller]
fn assert_none_alive(run: &InFolder, count: usize) {
    for pid in wait_file_lines(&run.path("pids"), count) {
        wait_for("the end of all that the hook has started", || !is_alive(pid.parse().unwrap()));
    }
}

#[test]
fn a_hook_that_hangs_is_killed_with_what_it_started() {
    let config = format!(
        "[[hook]]\nstage = 'pre-stop'\nname = 'deregister'\ntimeout = '800ms'\nrun = ['sh', '-c', '{HANGING}']\n"
    );
    let run = InFolder::start(&NO_DELAY, &[], &config, &signals(&["--exit-on", "TERM=7", "--delay", "60"]));
    run.wait_line("ready pid=", DEADLINE);
    let t0 = Instant::now();
    run.signal(libc::SIGTERM);
    run.wait_line("pre-stop hook deregister timed out and was killed after", DEADLINE);
    wait_for("the app's signal", || run.stdout_so_far().contains("\nSIGTERM\n"));
    assert!(t0.elapsed() >= Duration::from_millis(800), "{}", run.dump());
    // The app still runs: it was the timeout that killed them, not the end.
    assert_none_alive(&run, 3);
    assert_eq!(run.exit(), None);
}

#[test]
fn what_a_hook_has_left_behind_is_a_leftover() {
    // An orphan in a session of its own: nothing tells any more that it was the hook's.
    let daemon =
        "setsid sh -c \"echo \\$\\$ >>pids; exec sleep 60\" & sleep 0.1; until test -s pids; do sleep 0.02; done";
    let run = InFolder::start(&NO_DELAY, &[hook("pre-start", daemon)], "", &signals(&["--exit-on", "TERM=7"]));
    run.wait_line("ready pid=", DEADLINE);
    let pid: i32 = run.read("pids").trim().parse().unwrap();
    assert!(is_alive(pid), "a hook may start a daemon");
    run.signal(libc::SIGTERM);
    let report = run.ends(Exit::Code(7));
    assert!(!is_alive(pid), "{}", run.dump());
    assert_eq!(report["leftovers"]["found"], 1);
    assert_eq!(report["sigkill"], false);
}

#[test]
fn a_pre_start_hook_that_hangs_is_a_failure() {
    let config = format!("[[hook]]\nstage = 'pre-start'\ntimeout = '500ms'\nrun = ['sh', '-c', '{HANGING}']\n");
    let run = InFolder::start(&NO_DELAY, &[], &config, &shell("touch started"));
    let report = run.ends(Exit::Code(125));
    assert!(!run.path("started").exists());
    assert_eq!(results(&report), ["sh timed_out"]);
    assert_none_alive(&run, 3);
}

// Signals

#[test]
fn a_stop_signal_before_the_app_goes_to_the_hook() {
    for (signal, name, code) in [(libc::SIGTERM, "TERM", 143), (libc::SIGINT, "INT", 130)] {
        let script = format!("trap \"echo told; exit 0\" {name}; echo hook runs; while :; do sleep 0.02; done");
        let hooks = [hook("pre-start", &script)];
        let run = InFolder::start(&NO_DELAY, &hooks, "", &shell("touch started"));
        run.wait_line("[sh] hook runs", DEADLINE);
        run.signal(signal);
        let report = run.ends(Exit::Code(code));
        run.wait_line("[sh] told", DEADLINE);
        assert!(!run.path("started").exists(), "the hook has succeeded, yet the app is not started");
        assert_eq!(report["app"]["pid"], Value::Null);
        assert_eq!(report["cause"]["signal"], format!("SIG{name}"));
    }
}

#[test]
fn a_pre_start_hook_that_ignores_the_stop_signal_is_killed_before_g() {
    let hooks = [hook("pre-start", "trap \"\" TERM; echo hook runs; while :; do sleep 0.02; done")];
    let run = InFolder::start(&SHORT, &hooks, "", &shell("touch started"));
    run.wait_line("[sh] hook runs", DEADLINE);
    let t0 = Instant::now();
    run.signal(libc::SIGTERM);
    run.ends(Exit::Code(143));
    assert!(run.exited_at().unwrap() - t0 < Duration::from_secs(5), "{}", run.dump());
    assert!(!run.path("started").exists());
}

#[test]
fn a_person_who_insists_does_not_wait_for_a_pre_stop_hook() {
    let script = "trap \"echo hook told >>log; exit 0\" TERM; echo hook runs; while :; do sleep 0.02; done";
    let run = InFolder::start(&NO_DELAY, &[hook("pre-stop", script)], "", &signals(&["--exit-on", "TERM=3"]));
    run.wait_line("ready pid=", DEADLINE);
    run.signal(libc::SIGTERM);
    run.wait_line("[sh] hook runs", DEADLINE);
    run.signal(libc::SIGTERM);
    run.wait_line("SIGTERM: the stop goes on as it is", DEADLINE);
    run.signal(libc::SIGINT);
    let report = run.ends(Exit::Code(3));
    assert_eq!(signals_sent(&report), ["SIGTERM stop"]);
    assert_eq!(run.read("log"), "hook told\n", "when the app is gone it is a leftover, and gets SIGTERM");
}

// Output

#[test]
fn what_hooks_print_is_marked_line_by_line() {
    let long = "x".repeat(20_000);
    let script = r#"echo one; echo two >&2; printf "a\377b\n"; cat long; echo; printf "no end""#;
    let folder_hooks = [hook("pre-start", &format!("while ! test -e long; do sleep 0.02; done; {script}"))];
    let run = InFolder::start(&NO_DELAY, &folder_hooks, "", &shell("echo app"));
    std::fs::write(run.path("new"), &long).unwrap();
    std::fs::rename(run.path("new"), run.path("long")).unwrap();
    let (exit, stdout, stderr) = run.wait_output(DEADLINE);
    assert_eq!(exit, Exit::Code(0));
    assert_eq!(stdout, "app\n", "stdout is the app's");
    let lines: Vec<&str> = stderr.lines().filter_map(|line| line.strip_prefix("graceful: [sh] ")).collect();
    assert_eq!(lines.len(), stderr.lines().count(), "{stderr}");
    assert_eq!(lines[..3], ["one", "two", "a\u{fffd}b"]);
    assert_eq!(lines.last(), Some(&"no end"));
    assert_eq!(lines[3..lines.len() - 1].concat(), long, "a long line comes in pieces, each marked");
}

/// 10 MB in lines of 100.
const FLOOD: &str = "head -c 10000000 /dev/zero | tr \"\\000\" x | fold -w 100; echo flooded >>log";

#[test]
fn a_flood_of_output_does_not_block_the_stop() {
    let run = InFolder::start(&NO_DELAY, &[hook("pre-stop", FLOOD)], "", &signals(&["--exit-on", "TERM=3"]));
    run.wait_line("ready pid=", DEADLINE);
    run.signal(libc::SIGTERM);
    let report = run.ends(Exit::Code(3));
    assert_eq!(run.read("log"), "flooded\n");
    assert_eq!(results(&report), ["sh ok"]);
    run.wait_line("[sh] xxxx", DEADLINE);
    // Whatever was lost of the flood, graceful's own words are not.
    run.wait_line("exited after", DEADLINE);
}

#[test]
fn a_flood_that_nobody_reads_does_not_block_the_stop() {
    let folder = folder();
    let (_reader, writer) = full_pipe();
    let mut command = graceful_command();
    command.current_dir(folder.path()).args(NO_DELAY).args(["--hook", &hook("pre-stop", FLOOD), "--"]);
    let run = Proc::spawn_with_stderr(command.args(signals(&["--exit-on", "TERM=3"])), Stdio::from(writer));
    run.wait_line("ready pid=", DEADLINE);
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait(DEADLINE), Exit::Code(3), "{}", run.dump());
    assert_eq!(std::fs::read_to_string(folder.path().join("log")).unwrap(), "flooded\n");
}

#[test]
fn hooks_that_never_stop_printing_do_not_keep_sigkill_waiting() {
    let flood = "[[hook]]\nstage = 'pre-stop'\ntimeout = '900ms'\nrun = ['yes', '']\n".repeat(2);
    let run = InFolder::start(&SHORT, &[], &flood, &signals(&["--never-exit"]));
    run.wait_line("ready pid=", DEADLINE);
    run.signal(libc::SIGTERM);
    // The report would be missing if the words of the flood had been waited for.
    let report = run.ends(Exit::Signal(libc::SIGKILL));
    assert_eq!(results(&report), ["yes timed_out", "yes timed_out"]);
    assert_eq!(report["sigkill"], true);
}

// What hooks inherit

#[test]
fn hooks_run_where_graceful_was_started_with_no_descriptor_but_the_standard_ones() {
    let folder = folder();
    let tell = "pwd >>log; test -e /proc/$$/fd/7 && echo leaked >>log; readlink /proc/$$/fd/0 >>log";
    let mut command = graceful_command();
    command.current_dir(folder.path()).args(NO_DELAY);
    for stage in ["pre-start", "post-start", "post-stop"] {
        command.args(["--hook", &hook(stage, tell)]);
    }
    let app = "test -e /proc/$$/fd/7 && echo app has 7; until test \"$(grep -c dev log)\" = 2; do sleep 0.02; done";
    command.arg("--").args(shell(app));
    // SAFETY: dup2 is async-signal-safe.
    unsafe {
        command.pre_exec(|| if libc::dup2(0, 7) == 7 { Ok(()) } else { Err(std::io::Error::last_os_error()) });
    }
    let run = Proc::spawn_group(&mut command);
    assert_eq!(run.wait(DEADLINE), Exit::Code(0));
    run.wait_line("app has 7", DEADLINE);
    let expected = format!("{}\n/dev/null\n", folder.path().canonicalize().unwrap().display()).repeat(3);
    assert_eq!(std::fs::read_to_string(folder.path().join("log")).unwrap(), expected, "{}", run.dump());
}

// POST

/// What a hook's server got: the request lines, and a header that some servers insist on.
type Requests = Arc<Mutex<Vec<String>>>;

/// Answers /STATUS with that status, and never answers /hang.
fn post_server() -> (u16, Requests) {
    let listener = TcpListener::bind(address(0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests = Requests::default();
    let seen = Arc::clone(&requests);
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut bytes = [0; 4096];
            let count = connection.read(&mut bytes).unwrap_or(0);
            let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
            let line = text.lines().next().unwrap_or_default().to_owned();
            let length = text.to_ascii_lowercase().contains("content-length: 0");
            seen.lock().unwrap().push(format!("{line} length={length}"));
            match line.split(['/', ' ']).nth(2).unwrap_or_default() {
                "hang" => silent.push(connection),
                status => {
                    let _ = write!(connection, "HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                }
            }
        }
    });
    (port, requests)
}

#[test]
fn a_url_is_posted_to_and_what_goes_wrong_is_said() {
    let (port, requests) = post_server();
    let url = |path: &str| format!("http://127.0.0.1:{port}/{path}");
    let mut config = String::new();
    for (name, url, timeout, priority) in [
        ("fine", url("200"), "10s", 4),
        ("broken", url("500"), "10s", 3),
        ("hanging", url("hang"), "500ms", 2),
        ("refused", format!("http://127.0.0.1:{}/", free_port()), "10s", 1),
    ] {
        let _ = writeln!(
            config,
            "[[hook]]\nstage = 'pre-stop'\nname = '{name}'\nurl = '{url}'\ntimeout = '{timeout}'\npriority = {priority}"
        );
    }
    let run = InFolder::start(&NO_DELAY, &[], &config, &signals(&["--exit-on", "TERM=3"]));
    run.wait_line("ready pid=", DEADLINE);
    run.signal(libc::SIGTERM);
    let report = run.ends(Exit::Code(3));
    let hooks = &report["hooks"];
    assert_eq!((&hooks[0]["name"], &hooks[0]["result"]), (&"fine".into(), &"ok".into()), "{hooks:#}");
    for (index, name, why) in [(1, "broken", "500"), (3, "refused", "connection refused")] {
        assert_eq!((&hooks[index]["name"], &hooks[index]["result"]), (&name.into(), &"failed".into()), "{hooks:#}");
        assert!(hooks[index]["detail"].as_str().unwrap().contains(why), "{hooks:#}");
    }
    assert_eq!((&hooks[2]["name"], &hooks[2]["result"]), (&"hanging".into(), &"timed_out".into()), "{hooks:#}");
    let requests = requests.lock().unwrap().clone();
    let expected = ["POST /200", "POST /500", "POST /hang"].map(|line| format!("{line} HTTP/1.1 length=true"));
    assert_eq!(requests, expected);
}

#[test]
fn a_pre_start_url_that_fails_keeps_the_app_from_starting() {
    let (port, _) = post_server();
    let hooks = [format!("pre-start=http://127.0.0.1:{port}/503")];
    let run = InFolder::start(&NO_DELAY, &hooks, "", &shell("touch started"));
    run.ends(Exit::Code(125));
    run.wait_line("pre-start hook 127.0.0.1 failed: 503", DEADLINE);
    assert!(!run.path("started").exists());
}

// The budget

#[test]
fn post_stop_hooks_run_after_sigkill_too_and_never_beyond_g() {
    let config = "[[hook]]\nstage = 'post-stop'\ntimeout = '4900ms'\n\
                  run = ['sh', '-c', 'echo $GRACEFUL_EXIT_STATUS >>log; exec sleep 60']\n";
    let run = InFolder::start(&SHORT, &[], config, &signals(&["--never-exit"]));
    run.wait_line("ready pid=", DEADLINE);
    let t0 = Instant::now();
    run.signal(libc::SIGTERM);
    let report = run.ends(Exit::Signal(libc::SIGKILL));
    assert!(run.exited_at().unwrap() - t0 < Duration::from_secs(5), "{}", run.dump());
    assert_eq!(run.read("log"), "137\n");
    assert_eq!(results(&report), ["sh cancelled"]);
    assert_eq!(phases(&report), ["running", "pre-stop", "drain", "kill", "post-stop"]);
}

#[test]
fn a_pre_stop_hook_beside_the_delay_does_not_add_to_it() {
    // The hook outlasts the delay: the app is told when the hook has ended, and the delay begins nothing of its own.
    let run = Run::signals(
        &["--grace-period", "60s", "--pre-stop-delay", "300ms", "--hook", "pre-stop=sleep 0.6"],
        &["--exit-on", "TERM=3"],
    );
    let t0 = run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Code(3));
    assert!(run.exited_at().unwrap() - t0 >= Duration::from_millis(600));
    let pre_stop = crate::support::run::lasted(&report, "pre-stop");
    let hook = Duration::from_secs_f64(report["hooks"][0]["took_s"].as_f64().unwrap());
    assert!(pre_stop < hook + Duration::from_millis(300), "hook {hook:?}, phase {pre_stop:?}");
}

#[test]
fn an_app_that_exits_first_ends_the_pre_stop_hooks() {
    let run = Run::signals(&["--hook", "pre-stop=sleep 100"], &["--exit-on", "USR1=3"]);
    run.stop_begun(libc::SIGTERM);
    run.stop(libc::SIGUSR1);
    let report = run.ends(Exit::Code(3));
    assert_eq!(report["sigkill"], false, "{report:#}");
}

#[test]
fn a_hook_that_cannot_be_started_is_named() {
    let run = Run::start(&["--hook", "post-stop=/nonexistent/notify"], &words(&["true"]));
    run.ends(Exit::Code(0));
    run.wait_line("post-stop hook notify failed", DEADLINE);
    run.wait_line("/nonexistent/notify: not found", DEADLINE);
}

/// An image's variables reach every graceful in the container; what is to be done once is done once.
#[test]
fn hooks_of_the_variables_are_the_outer_graceful_s_alone() {
    let told = |whose: &str, stage: &str| hook(stage, &format!("echo {whose} {stage} >> told"));
    let stages = ["pre-start", "post-start", "pre-stop", "post-stop"];
    let table = |stage: &str| format!("[[hook]]\nstage = '{stage}'\nrun = 'sh -c \"echo outer {stage} >> told\"'\n");
    let file = stages.map(table).concat();
    let variables = [
        ("GRACEFUL_HOOK", stages.map(|stage| told("outer", stage)).join("\n")),
        ("GRACEFUL_CONFIG", "all.toml".to_owned()),
    ];
    let runs = variables.map(|(variable, value)| {
        let folder = folder();
        std::fs::write(folder.path().join("all.toml"), &file).unwrap();
        let own = crate::support::graceful().to_string_lossy().into_owned();
        // A flag of its own counts, and so does a variable that is not the outer one's.
        let inner = [&own, "--log-level", "debug", "--hook", &told("flag", "pre-start")];
        let other = format!("GRACEFUL_HOOK={}", told("other", "post-stop"));
        let inner = [words(&["env", &other]), words(&[&own, "--"]), words(&inner), words(&NO_DELAY), words(&["--"])];
        let mut command = graceful_command();
        command.env(variable, value).current_dir(folder.path()).args(NO_DELAY).args(["--hold", "never", "--"]);
        let process = Proc::spawn_group(command.args(inner.concat()).args(signals(&["--exit-on", "TERM=7"])));
        (variable, process, folder)
    });
    for (variable, process, folder) in runs {
        process.wait_line("ready pid=", DEADLINE);
        process.signal(libc::SIGTERM);
        assert_eq!(process.wait(DEADLINE), Exit::Code(7), "{}", process.dump());
        let told = std::fs::read_to_string(folder.path().join("told")).unwrap_or_default();
        let count = |line: &str| told.lines().filter(|found| *found == line).count();
        assert_eq!(
            stages.map(|stage| count(&format!("outer {stage}"))),
            [1; 4],
            "{variable}: {told}\n{}",
            process.dump()
        );
        assert_eq!(
            (count("flag pre-start"), count("other post-stop")),
            (1, 1),
            "{variable}: {told}\n{}",
            process.dump()
        );
    }
}

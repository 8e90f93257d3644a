//! What graceful says of a stop: the report, the termination message, the log. And that nothing of it can be in the
//! way of the stop: not a full disk, not a FIFO, not a log that nobody reads.

use crate::support::run::{
    Run, began, folder, full_pipe, lasted, number_after, phases, python, shell, wait_for, words,
};
use crate::support::{DEADLINE, Exit, Proc, graceful, graceful_command, requires, signals};
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const NO_DELAY: [&str; 4] = ["--grace-period", "120s", "--pre-stop-delay", "0s"];
/// SIGKILL after 1 s, and 4 s for a busy machine to end before G.
const SHORT: [&str; 6] = ["--grace-period", "5s", "--kill-margin", "4s", "--pre-stop-delay", "0s"];
/// What Kubernetes reads of a termination message.
const MESSAGE_MAX: usize = 4096;

fn with<'a>(base: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [base, more].concat()
}

// The report

#[track_caller]
fn assert_keys(object: &Value, keys: &[&str]) {
    let mut found: Vec<&str> = object.as_object().expect("an object").keys().map(String::as_str).collect();
    let mut keys = keys.to_vec();
    found.sort_unstable();
    keys.sort_unstable();
    assert_eq!(found, keys);
}

/// `2026-11-21T02:45:35.677Z`
#[track_caller]
fn assert_time(value: &Value) {
    let text = value.as_str().unwrap_or_default();
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z");
}

#[test]
fn the_report_of_a_clean_stop_field_by_field() {
    let options = ["--grace-period", "20s", "--kill-margin", "2s", "--pre-stop-delay", "300ms"];
    let options = with(&options, &["--hold", "true", "--hook", "pre-stop=true", "--hook", "post-stop=false"]);
    let run = Run::signals(&options, &["--exit-on", "TERM=3", "--delay", "0.2"]);
    let pid = number_after(&run.stdout_so_far(), "ready pid=");
    run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Code(3));
    let keys = "complete oom_kills graceful program started_at stop_began_at ran_s cause stop_signal_sender generation restarts app exit_code budget phases \
                signals hooks readiness checks in_flight hold_mode hold hold_timed_out nothing_listens not_watched answer_went_on undelivered leftovers sigkill killed_from_outside warnings events_forgotten";
    assert_keys(&report, &keys.split_whitespace().collect::<Vec<_>>());
    assert_eq!(report["graceful"], env!("CARGO_PKG_VERSION"));
    assert_eq!(report["program"], crate::support::python3(), "without the arguments: they may hold secrets");
    assert_time(&report["started_at"]);
    assert_time(&report["stop_began_at"]);
    assert_eq!(report["cause"], json!({"kind": "signal", "signal": "SIGTERM"}));
    assert_eq!(report["stop_signal_sender"], std::process::id());
    assert_eq!((&report["generation"], &report["restarts"]), (&json!(1), &json!(0)));
    let app =
        json!({"pid": pid, "status": {"exit_code": 3, "code": 3}, "ended_before_signal": false, "spawn_error": null});
    assert_eq!(report["app"], app);
    assert_eq!(report["exit_code"], 3);
    assert_eq!(phases(&report), ["running", "pre-stop", "hold", "drain", "leftovers", "post-stop"]);
    assert!(began(&report, "hold") >= Duration::from_millis(299), "{report:#}");
    assert!(lasted(&report, "drain") >= Duration::from_millis(199), "{report:#}");
    assert_eq!((&report["hold_mode"], &report["hold"]), (&json!("command"), &json!("the command exited 0")));
    assert_eq!(
        report["leftovers"],
        json!({"found": 0, "ended_by_themselves": 0, "killed": 0, "not_waited_for": 0, "orphans_reaped": 0})
    );
    assert_eq!((&report["sigkill"], &report["killed_from_outside"]), (&json!(false), &Value::Null));
    assert_eq!((&report["readiness"], &report["warnings"]), (&json!([]), &json!([])));
    assert_eq!(report["checks"], json!([]));
    let none = |moment: &str| json!({"moment": moment, "busy": 0, "unknown": 0, "idle": 0, "unaccepted": 0});
    let mut in_flight = report["in_flight"].clone();
    in_flight
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .for_each(|numbers| drop(numbers.as_object_mut().unwrap().remove("at_s")));
    assert_eq!(in_flight, json!([none("stop"), none("signal"), none("exit")]));
    assert_eq!(report["events_forgotten"], 0);
    assert_budget(&report);
    assert_signals_and_hooks(&report, pid);
}

fn assert_budget(report: &Value) {
    let budget = &report["budget"];
    assert_keys(budget, &["grace_period_s", "kill_margin_s", "pre_stop_delay_s", "used_s", "left_s"]);
    let second = |name: &str| budget[name].as_f64().unwrap();
    assert_eq!((second("grace_period_s"), second("kill_margin_s"), second("pre_stop_delay_s")), (20.0, 2.0, 0.3));
    assert!(second("used_s") >= 0.5 && (second("used_s") + second("left_s") - 18.0).abs() < 0.01, "{budget:#}");
    // The phases from t0 on are what was used.
    let after: Vec<&Value> =
        report["phases"].as_array().unwrap().iter().filter(|phase| phase["phase"] != "running").collect();
    let sum: f64 = after.iter().map(|phase| phase["duration_s"].as_f64().unwrap()).sum();
    assert!((sum - second("used_s")).abs() < 1.0, "{report:#}");
    assert!((0.0..1.0).contains(&after[0]["start_s"].as_f64().unwrap()), "{report:#}");
}

fn assert_signals_and_hooks(report: &Value, pid: i32) {
    let signals = report["signals"].as_array().unwrap();
    assert_eq!(signals.len(), 1, "SIGTERM, and no SIGCONT for an app that runs: {report:#}");
    assert_keys(&signals[0], &["at_s", "signal", "to", "name", "reason", "error"]);
    assert!(signals[0]["at_s"].as_f64().unwrap() >= 0.299);
    assert_eq!((&signals[0]["signal"], &signals[0]["to"]), (&json!("SIGTERM"), &json!(pid)));
    let hooks = report["hooks"].as_array().unwrap();
    assert_keys(&hooks[0], &["name", "stage", "end_s", "took_s", "result"]);
    assert_keys(&hooks[1], &["name", "stage", "end_s", "took_s", "result", "detail"]);
    assert_eq!((&hooks[0]["stage"], &hooks[0]["result"]), (&json!("pre-stop"), &json!("ok")));
    assert_eq!((&hooks[1]["stage"], &hooks[1]["result"]), (&json!("post-stop"), &json!("failed")));
}

#[test]
fn the_report_of_an_app_that_was_never_there() {
    let run = Run::start(&NO_DELAY, &words(&["/nonexistent/app"]));
    let report = run.ends(Exit::Code(127));
    let app = json!({"pid": null, "status": null, "ended_before_signal": false, "spawn_error": "no such file"});
    assert_eq!(report["app"], app);
    assert_eq!((&report["cause"], &report["exit_code"]), (&json!({"kind": "not-started"}), &json!(127)));
    run.wait_line("graceful: error: cannot run /nonexistent/app: no such file", DEADLINE);
}

#[test]
fn the_report_of_an_app_that_ended_by_itself() {
    let run = Run::start(&NO_DELAY, &shell("kill -SEGV $$"));
    let report = run.ends(Exit::Signal(libc::SIGSEGV));
    assert_eq!(report["cause"], json!({"kind": "app-exited"}));
    assert_eq!(report["app"]["status"], json!({"signal": "SIGSEGV", "code": 139}));
    assert_eq!((&report["stop_signal_sender"], &report["warnings"]), (&Value::Null, &json!([])));
}

#[test]
fn an_old_report_is_replaced_and_its_path_is_the_one_of_the_start() {
    let folder = folder();
    std::fs::write(folder.path().join("r.json"), "x".repeat(100_000)).unwrap();
    let mut command = graceful_command();
    command.current_dir(folder.path()).args(["--report", "r.json", "--"]).args(shell("cd /; exit 5"));
    assert_eq!(Proc::spawn_group(&mut command).wait(DEADLINE), Exit::Code(5));
    let report: Value = serde_json::from_str(&std::fs::read_to_string(folder.path().join("r.json")).unwrap()).unwrap();
    assert_eq!(report["exit_code"], 5);
}

// SIGKILL from outside

#[test]
fn a_sigkill_that_graceful_did_not_send_is_named() {
    let run = Run::signals(&NO_DELAY, &["--never-exit"]);
    crate::support::run::kill(number_after(&run.stdout_so_far(), "ready pid="), libc::SIGKILL);
    run.wait_line("the app was killed by SIGKILL that graceful did not send", DEADLINE);
    let report = run.ends(Exit::Signal(libc::SIGKILL));
    assert_eq!(report["killed_from_outside"], json!({"oom_kills": null}));
    assert_eq!(report["sigkill"], false);
}

/// A memory cgroup with a limit, of either version; removed at the end.
struct MemoryCgroup(PathBuf);

impl MemoryCgroup {
    fn new(limit: &str) -> Option<MemoryCgroup> {
        let name = format!("graceful-test-{}", std::process::id());
        let version_1 = ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.swappiness");
        let version_2 = ("/sys/fs/cgroup", "memory.max", "memory.swap.max");
        let (root, limits, swap) =
            if Path::new(version_1.0).join(version_1.1).exists() { version_1 } else { version_2 };
        let path = Path::new(root).join(name);
        std::fs::create_dir(&path).ok()?;
        let cgroup = MemoryCgroup(path);
        // Where swap is not counted there is no such file.
        let _ = std::fs::write(cgroup.0.join(swap), "0");
        std::fs::write(cgroup.0.join(limits), limit).ok().map(|()| cgroup)
    }
}

impl Drop for MemoryCgroup {
    fn drop(&mut self) {
        // The last process may be about to be gone.
        wait_for("the removal of the cgroup", || std::fs::remove_dir(&self.0).is_ok());
    }
}

#[test]
fn an_out_of_memory_kill_is_named_with_its_count() {
    let Some(cgroup) = requires("a memory cgroup that the user may make", MemoryCgroup::new("64M")) else { return };
    let folder = folder();
    let report = folder.path().join("report.json");
    let enter = format!("echo $$ >{}/cgroup.procs && exec \"$@\"", cgroup.0.display());
    let hungry = python("hoard = []\nwhile True: hoard.append(bytearray(b'x' * 1_000_000))");
    let mut inside = Command::new("sh");
    inside.args(["-c", &enter, "sh"]).arg(graceful()).arg("--report").arg(&report);
    inside.arg("--termination-log").arg(folder.path().join("message")).arg("--").args(hungry);
    let run = Proc::spawn_group(&mut inside);
    assert_eq!(run.wait(DEADLINE), Exit::Signal(libc::SIGKILL), "{}", run.dump());
    run.wait_line("oom_kill count rose by 1 since the start: out of memory", DEADLINE);
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&report).unwrap()).unwrap();
    assert_eq!(report["killed_from_outside"], json!({"oom_kills": 1}));
    let message = std::fs::read_to_string(folder.path().join("message")).unwrap();
    assert!(message.contains("SIGKILL came from outside (out of memory)"), "{message}");
    drop(run);
}

// The termination message

#[test]
fn the_termination_message_says_it_in_one_line() {
    let folder = folder();
    let path = folder.path().join("message");
    let options = with(&NO_DELAY, &["--termination-log", path.to_str().unwrap()]);
    let run = Run::signals(&options, &["--exit-on", "TERM=3", "--delay", "0.3"]);
    run.stop(libc::SIGTERM);
    run.ends(Exit::Code(3));
    let message = std::fs::read_to_string(&path).unwrap();
    assert!(message.starts_with("graceful: SIGTERM, the app ended: exit status 3; "), "{message}");
    // How long it took is the machine's business.
    assert!(message.contains("s of 2 min used; ") && message.contains("; drain "), "{message}");
    assert!(message.ends_with('\n') && message.lines().count() == 1, "{message}");
}

#[test]
fn the_termination_message_of_a_kill_says_what_was_needed() {
    let folder = folder();
    let path = folder.path().join("message");
    let options = with(&SHORT, &["--termination-log", path.to_str().unwrap()]);
    let run = Run::signals(&options, &["--never-exit"]);
    run.stop(libc::SIGTERM);
    run.ends(Exit::Signal(libc::SIGKILL));
    let message = std::fs::read_to_string(&path).unwrap();
    assert!(message.contains("killed by SIGKILL") && message.contains("SIGKILL was needed"), "{message}");
}

#[test]
fn the_termination_message_is_appended_and_never_too_long() {
    let folder = folder();
    let path = folder.path().join("message");
    let options = with(&NO_DELAY, &["--termination-log", path.to_str().unwrap()]);

    // What the app itself has written stays, in a line of its own.
    let run = Run::start(&options, &shell(&format!("printf 'own words' >{}", path.display())));
    run.ends(Exit::Code(0));
    let message = std::fs::read_to_string(&path).unwrap();
    assert!(message.starts_with("own words\ngraceful: the app ended by itself: exit status 0; "), "{message}");

    // So many words of our own that they must be cut.
    std::fs::remove_file(&path).unwrap();
    let hook = format!("post-stop=/nonexistent/{}", "x".repeat(200));
    let hooks: Vec<&str> = (0..40).flat_map(|_| ["--hook", &hook]).collect();
    Run::start(&with(&options, &hooks), &words(&["true"])).ends(Exit::Code(0));
    let message = std::fs::read_to_string(&path).unwrap();
    assert!(message.len() <= MESSAGE_MAX && message.ends_with("...\n"), "{} bytes", message.len());

    // No room: what Kubernetes would read is not pushed out.
    std::fs::write(&path, "y".repeat(MESSAGE_MAX - 10)).unwrap();
    Run::start(&options, &words(&["true"])).ends(Exit::Code(0));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "y".repeat(MESSAGE_MAX - 10));
}

/// graceful in a mount namespace whose /dev holds little, /dev/termination-log only if wanted. The message, if any.
fn with_default_path(present: bool, app: &[String], stop: bool) -> String {
    let folder = folder();
    let dev = folder.path().join("dev");
    std::fs::create_dir(&dev).unwrap();
    let log = dev.join("termination-log");
    if present {
        std::fs::write(&log, "").unwrap();
    }
    let script = "cd \"$1\"; shift; touch null; mount --bind /dev/null null; mount --rbind . /dev; exec \"$@\"";
    let mut command = Command::new("unshare");
    // SAFETY: geteuid(2) has no preconditions and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        command.arg("--map-root-user");
    }
    command.args(["--mount", "sh", "-ec", script, "sh"]).arg(&dev).arg(graceful()).args(NO_DELAY).arg("--").args(app);
    let run = Proc::spawn_group(&mut command);
    if stop {
        run.wait_line("ready pid=", DEADLINE);
        run.signal(libc::SIGTERM);
    }
    assert!(matches!(run.wait(DEADLINE), Exit::Code(0 | 3)), "{}", run.dump());
    assert_eq!(log.exists(), present, "it is not made where it was not\n{}", run.dump());
    std::fs::read_to_string(log).unwrap_or_default()
}

#[test]
fn unasked_the_message_goes_to_kubernetes_path_after_a_stop_and_if_it_is_there() {
    let message = with_default_path(true, &signals(&["--exit-on", "TERM=3"]), true);
    assert!(message.starts_with("graceful: SIGTERM, the app ended: exit status 3; "), "{message}");
    // Kubernetes may show the app's last log lines there instead.
    assert_eq!(with_default_path(true, &words(&["true"]), false), "");
    with_default_path(false, &signals(&["--exit-on", "TERM=3"]), true);
}

// What cannot be written

#[test]
fn a_full_disk_is_a_warning_and_no_more() {
    let options = with(&NO_DELAY, &["--report", "/dev/full", "--termination-log", "/dev/full"]);
    let mut command = graceful_command();
    command.args(options).arg("--").args(signals(&["--exit-on", "TERM=3"]));
    let run = Proc::spawn_group(&mut command);
    run.wait_line("ready pid=", DEADLINE);
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait(DEADLINE), Exit::Code(3), "{}", run.dump());
    run.wait_line("graceful: warning: cannot write --report /dev/full: No space left", DEADLINE);
    run.wait_line("graceful: warning: cannot write --termination-log /dev/full: No space left", DEADLINE);
}

#[test]
fn a_missing_directory_is_refused_before_the_app_starts() {
    let folder = folder();
    let started = folder.path().join("started");
    let mut command = graceful_command();
    command.args([
        "--report",
        "/nonexistent/r.json",
        "--termination-log",
        "/nonexistent/m",
        "--drain-file",
        "/nonexistent/d",
    ]);
    command.args(["--", "touch"]).arg(&started);
    let (exit, _, stderr) = crate::support::run::ended(&mut command);
    assert_eq!(exit, Exit::Code(2));
    for flag in ["--report", "--termination-log", "--drain-file"] {
        let line = stderr.lines().find(|line| line.contains(flag)).unwrap_or_else(|| panic!("{flag}: {stderr}"));
        assert!(line.contains("/nonexistent does not exist"), "{line}");
    }
    assert!(!started.exists());
}

fn fifo(path: &Path) {
    let name = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).unwrap();
    // SAFETY: a live C string.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
}

#[test]
fn a_fifo_that_nobody_reads_does_not_hold_up_the_exit() {
    for has_reader in [false, true] {
        let folder = folder();
        let path = folder.path().join("fifo");
        fifo(&path);
        // Opened for both, the open does not wait; and filled, the first byte of the report has no room.
        let reader = has_reader.then(|| {
            let mut file =
                std::fs::File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
            while file.write(&[b'x'; 65536]).is_ok() {}
            while file.write(b"x").is_ok() {}
            file
        });
        let mut command = graceful_command();
        command.args(SHORT).arg("--report").arg(&path).arg("--termination-log").arg(folder.path().join("message"));
        let run = Proc::spawn_group(command.arg("--").args(signals(&["--exit-on", "TERM=3"])));
        run.wait_line("ready pid=", DEADLINE);
        let t0 = Instant::now();
        run.signal(libc::SIGTERM);
        assert_eq!(run.wait(DEADLINE), Exit::Code(3), "{}", run.dump());
        assert!(run.exited_at().unwrap() - t0 < Duration::from_secs(5), "{}", run.dump());
        if !has_reader {
            run.wait_line("cannot write --report", DEADLINE);
        }
        let message = std::fs::read_to_string(folder.path().join("message")).unwrap();
        assert!(message.contains("exit status 3"), "{message}");
        drop(reader);
    }
}

#[test]
fn a_log_that_nobody_reads_does_not_hold_up_the_stop() {
    for (rule, exit) in
        [(&["--exit-on", "TERM=3"][..], Exit::Code(3)), (&["--never-exit"], Exit::Signal(libc::SIGKILL))]
    {
        let folder = folder();
        let (_reader, writer) = full_pipe();
        let report = folder.path().join("report.json");
        let mut command = graceful_command();
        command.args(SHORT).args(["--log-level", "debug"]).arg("--report").arg(&report).arg("--").args(signals(rule));
        let run = Proc::spawn_with_stderr(&mut command, Stdio::from(writer));
        run.wait_line("ready pid=", DEADLINE);
        let t0 = Instant::now();
        run.signal(libc::SIGTERM);
        assert_eq!(run.wait(DEADLINE), exit, "{}", run.dump());
        assert!(run.exited_at().unwrap() - t0 < Duration::from_secs(5), "{}", run.dump());
        let report: Value = serde_json::from_str(&std::fs::read_to_string(report).unwrap()).unwrap();
        assert_eq!(report["exit_code"], exit.shell_code());
    }
}

#[test]
fn a_log_that_nobody_reads_does_not_hold_up_a_short_stop_beyond_g() {
    // SIGKILL comes right before G here: there is no time for last words. A busy machine can be as late as the wait for
    // a reader that there is otherwise, though not each time.
    let took = || {
        let (_reader, writer) = full_pipe();
        let mut command = graceful_command();
        command.args(["--grace-period", "1s", "--kill-margin", "1ms", "--log-level", "debug"]);
        command.arg("--").args(signals(&["--never-exit"]));
        let run = Proc::spawn_with_stderr(&mut command, Stdio::from(writer));
        run.wait_line("ready pid=", DEADLINE);
        let t0 = Instant::now();
        run.signal(libc::SIGTERM);
        assert_eq!(run.wait(DEADLINE), Exit::Signal(libc::SIGKILL));
        run.exited_at().unwrap() - t0
    };
    let best = (0..5).map(|_| took()).find(|took| *took < Duration::from_millis(1200));
    assert!(best.is_some(), "G is 1 s, and each of five stops took longer");
}

#[test]
fn a_closed_stderr_takes_nothing_away_but_the_log() {
    let folder = folder();
    let report = folder.path().join("report.json");
    let mut command = graceful_command();
    command.arg("--report").arg(&report).args(["--hook", "pre-start=echo words", "--log-level", "debug", "--"]);
    command.args(shell("test -e /proc/$$/fd/2 || echo closed; exit 3"));
    // SAFETY: close is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            libc::close(2);
            Ok(())
        });
    }
    let (exit, stdout, _) = crate::support::run::ended(&mut command);
    assert_eq!((exit, stdout.as_str()), (Exit::Code(3), "closed\n"), "the app finds it as it was");
    let report: Value = serde_json::from_str(&std::fs::read_to_string(report).unwrap()).unwrap();
    assert_eq!(report["hooks"][0]["result"], "ok");
}

// The log

#[test]
fn every_line_of_a_json_log_is_an_object_with_time_level_message_and_event() {
    let options = ["--log-format", "json", "--log-level", "debug", "--report", "/dev/full", "--hook"];
    let options = [&NO_DELAY[..], &options, &["pre-stop=sh -c 'echo \"a \\\"b\\\"\"; exit 3'"]].concat();
    let mut command = graceful_command();
    command.args(options).arg("--").args(signals(&["--exit-on", "TERM=3"]));
    let run = Proc::spawn_group(&mut command);
    run.wait_line("ready pid=", DEADLINE);
    run.signal(libc::SIGTERM);
    let (exit, _, stderr) = run.wait_output(DEADLINE);
    assert_eq!(exit, Exit::Code(3));
    let lines: Vec<Value> = stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for line in &lines {
        assert_time(&line["time"]);
        assert!(["error", "warn", "info", "debug"].contains(&line["level"].as_str().unwrap()), "{line}");
        assert!(!line["message"].as_str().unwrap().is_empty(), "{line}");
        assert!(!line["event"].as_str().unwrap().is_empty(), "{line}");
    }
    let find = |event: &str| {
        lines.iter().find(|line| line["event"] == event).unwrap_or_else(|| panic!("no {event} in\n{stderr}"))
    };
    assert_eq!(find("stop_began")["cause"]["signal"], "SIGTERM");
    assert_eq!(find("stop_began")["since_stop_s"], 0.0);
    assert_eq!(find("hook_output")["line"], "a \"b\"");
    assert_eq!((&find("hook_ended")["level"], &find("hook_ended")["result"]), (&json!("warn"), &json!("failed")));
    assert_eq!(find("app_exited")["status"], json!({"exit_code": 3, "code": 3}));
    assert!(find("trouble")["message"].as_str().unwrap().contains("cannot write --report /dev/full"));
    assert_eq!(find("finished")["code"], 3);
}

#[test]
fn the_log_level_is_kept() {
    let log = |level: &str| {
        let options = [&NO_DELAY[..], &["--log-level", level, "--hook", "pre-stop=false"]].concat();
        let run = Run::signals(&options, &["--exit-on", "TERM=3"]);
        run.stop(libc::SIGTERM);
        assert_eq!(run.wait(DEADLINE), Exit::Code(3));
        let (_, stdout, stderr) = run.wait_output(DEADLINE);
        assert!(!stdout.contains("graceful"), "{stdout}");
        stderr
    };
    assert_eq!(log("error"), "");
    let warn = log("warn");
    assert!(warn.starts_with("graceful: warning: pre-stop hook false failed") && warn.lines().count() == 1, "{warn}");
    let info = log("info");
    assert!(info.contains("SIGTERM: stopping") && info.contains("exited after") && !info.contains("phase "), "{info}");
    assert!(log("debug").contains("phase drain"));
}

#[test]
fn an_app_that_merely_runs_hears_nothing_of_graceful() {
    let mut command = graceful_command();
    let (exit, stdout, stderr) =
        crate::support::run::ended(command.arg("--").args(shell("echo out; echo err >&2; exit 3")));
    assert_eq!((exit, stdout.as_str(), stderr.as_str()), (Exit::Code(3), "out\n", "err\n"));
}

#[test]
fn stdout_belongs_to_the_app() {
    let options =
        ["--log-level", "debug", "--hook", "pre-start=echo a", "--hook", "post-stop=echo b", "--hold", "true"];
    let run = Run::signals(&with(&NO_DELAY, &options), &["--exit-on", "TERM=3"]);
    run.stop(libc::SIGTERM);
    let (_, stdout, stderr) = run.wait_output(DEADLINE);
    assert!(stderr.contains("[echo] a") && stderr.contains("[echo] b"), "{stderr}");
    let mut lines = stdout.lines();
    assert!(lines.next().unwrap().starts_with("ready pid="));
    assert!(lines.all(|line| line == "SIGTERM"), "{stdout}");
}

/// Children of an app that end a moment after it, of which so many end of the signal: the others ignore it.
const HELPERS: &str = "
import os, signal, sys, time
reader, writer = os.pipe()
for nth in range(25):
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if nth < OBEY else signal.SIG_IGN)
        os.close(writer)
        os.read(reader, 1)
        time.sleep(0.15)
        os._exit(0)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
print('ready', flush=True)
while True:
    signal.pause()
";

/// More than are named in the log and the report.
#[test]
fn of_many_leftovers_those_that_end_by_themselves_are_counted() {
    for obey in [0, 3] {
        // On a machine that stands still for a moment they are no longer gone soon enough to be helpers.
        let is_soon = |report: &Value| lasted(report, "leftovers") < Duration::from_millis(500);
        let mut tries = (0..5).map(|_| {
            let run = Run::start(&["--pre-stop-delay", "0s"], &python(&HELPERS.replace("OBEY", &obey.to_string())));
            run.wait_line("ready", DEADLINE);
            run.stop(libc::SIGTERM);
            run.ends(Exit::Code(0))
        });
        let report = tries.find(is_soon).expect("a machine that moves");
        assert_eq!(report["leftovers"]["found"], 25, "{report:#}");
        assert_eq!(report["leftovers"]["ended_by_themselves"], 25 - obey, "{report:#}");
        let named = report["signals"].as_array().expect("a list").iter().filter(|sent| sent["reason"] == "leftover");
        assert_eq!(named.count(), 20, "{report:#}");
    }
}

/// Wherever it is set.
#[test]
fn what_the_signal_is_held_back_for_is_told() {
    let mode = |flags: &[&str], variable: Option<&str>| {
        let mut graceful = graceful_command();
        let folder = folder();
        let report = folder.path().join("report.json");
        graceful.args(flags).arg("--report").arg(&report).envs(variable.map(|value| ("GRACEFUL_HOLD", value)));
        assert_eq!(Proc::spawn(graceful.args(["--", "true"])).wait(DEADLINE), Exit::Code(0));
        let report: Value = serde_json::from_str(&std::fs::read_to_string(report).expect("written")).expect("JSON");
        report["hold_mode"].as_str().expect("a word").to_owned()
    };
    assert_eq!(mode(&[], None), "idle");
    assert_eq!(mode(&["--hold", "quiet"], None), "quiet");
    assert_eq!(mode(&["--hold", "http://127.0.0.1:1/"], None), "url");
    assert_eq!(mode(&[], Some("never")), "never");
    assert_eq!(mode(&["--hold", "idle"], Some("never")), "idle");
}

//! What graceful refuses: wrong command lines, variables and files.
//!
//! Each row says what is typed and what every line on stderr must contain: the culprit (flag, variable, or file and
//! key), its value and the remedy. Beyond that each row proves exit status 2, an empty stdout, exactly one line a
//! problem, and that the app did not run.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// One way to get it wrong.
struct Row {
    /// The whole command line after `graceful`.
    args: Vec<OsString>,
    /// All variables but PATH.
    env: Vec<(OsString, OsString)>,
    /// What graceful.toml in the working directory says.
    file: Option<String>,
    /// For each line on stderr, in any order, what it contains.
    lines: Vec<Vec<&'static str>>,
}

/// The app of every row: it leaves a trace.
const APP: [&str; 3] = ["--", "touch", "started"];

fn words(args: &[&str]) -> Vec<OsString> {
    args.iter().map(OsString::from).collect()
}

/// A whole command line.
fn line(args: &[&str], contains: &[&'static str]) -> Row {
    Row { args: words(args), env: Vec::new(), file: None, lines: vec![contains.to_vec()] }
}

/// Flags before a sound `-- COMMAND`.
fn flags(flags: &[&str], contains: &[&'static str]) -> Row {
    line(&[flags, &APP].concat(), contains)
}

/// One variable and a sound command line.
fn variable(name: &str, value: &str, contains: &[&'static str]) -> Row {
    Row { env: vec![(name.into(), value.into())], ..flags(&[], contains) }
}

/// A file and a sound command line.
fn file(text: &str, contains: &[&'static str]) -> Row {
    Row { file: Some(text.to_owned()), ..flags(&["--config", "graceful.toml"], contains) }
}

impl Row {
    /// One more variable.
    fn with(mut self, name: &str, value: &str) -> Row {
        self.env.push((name.into(), value.into()));
        self
    }

    /// One more line that must be there.
    fn and(mut self, contains: &[&'static str]) -> Row {
        self.lines.push(contains.to_vec());
        self
    }

    fn run(&self, dir: &Path) -> Output {
        if let Some(text) = &self.file {
            std::fs::write(dir.join("graceful.toml"), text).unwrap();
        }
        std::fs::create_dir(dir.join("dir")).unwrap();
        std::fs::write(dir.join("plain"), "").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_graceful"));
        command.args(&self.args).env_clear().env("PATH", "/usr/bin:/bin").envs(self.env.iter().cloned());
        command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        output(command)
    }

    /// Everything that does not hold, for people.
    fn faults(&self) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let output = self.run(dir.path());
        let stderr = String::from_utf8(output.stderr).expect("stderr is UTF-8");
        let lines: Vec<&str> = stderr.lines().collect();
        let mut faults = Vec::new();
        if output.status.code() != Some(2) {
            faults.push(format!("ended with {}", output.status));
        }
        if !output.stdout.is_empty() {
            faults.push(format!("stdout: {}", String::from_utf8_lossy(&output.stdout)));
        }
        if dir.path().join("started").exists() {
            faults.push("the app was started".to_owned());
        }
        if lines.len() != self.lines.len() {
            faults.push(format!("{} lines instead of {}", lines.len(), self.lines.len()));
        }
        faults.extend(lines.iter().filter(|line| !line.starts_with("graceful: error: ")).map(|line| line.to_string()));
        for wanted in &self.lines {
            if !lines.iter().any(|line| wanted.iter().all(|part| line.contains(part))) {
                faults.push(format!("no line with {wanted:?}"));
            }
        }
        if !faults.is_empty() {
            faults.push(format!("stderr was:\n{stderr}"));
        }
        faults
    }
}

/// Runs it to its end, which must come soon.
fn output(mut command: Command) -> Output {
    let child = command.spawn().unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    receiver.recv_timeout(Duration::from_secs(30)).map(Result::unwrap).unwrap_or_else(|_| {
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        panic!("still running after 30s: {command:?}");
    })
}

#[track_caller]
fn all_refused(rows: Vec<Row>) {
    let mut report = String::new();
    for row in &rows {
        let faults = row.faults();
        if !faults.is_empty() {
            report += &format!("\n{:?} {:?} {:?}\n  {}\n", row.args, row.env, row.file, faults.join("\n  "));
        }
    }
    assert!(report.is_empty(), "{report}");
}

#[test]
fn forms_of_the_command_line() {
    all_refused(vec![
        line(&["touch", "started"], &["\"touch\"", "did you mean: graceful -- touch started"]),
        line(&["./my app", "-v"], &["did you mean: graceful -- './my app' -v"]),
        line(&["--grace-period", "5s", "touch", "started"], &["graceful --grace-period 5s -- touch started"]),
        line(&["run", "touch", "started"], &["\"touch\"", "graceful -- touch started"]),
        line(&["run"], &["no command to run", "graceful [OPTIONS] -- COMMAND"]),
        line(&["--grace-period", "5s"], &["no command to run", "graceful [OPTIONS] -- COMMAND"]),
        line(&["--"], &["nothing after --", "graceful [OPTIONS] -- COMMAND"]),
        line(&["run", "--"], &["nothing after --", "graceful [OPTIONS] -- COMMAND"]),
        line(&["--", ""], &["name is empty", "graceful [OPTIONS] -- COMMAND"]),
        line(&["rnu", "--", "touch", "started"], &["\"rnu\"", "did you mean: graceful run -- touch started"]),
        line(&["prob", "http://h/"], &["\"prob\"", "graceful probe http://h/", "graceful -- prob http://h/"]),
        line(&["drill", "--", "touch", "started"], &["\"drill\"", "run, probe, sleep, completions", "-- COMMAND"]),
        line(&["help"], &["graceful --help"]),
        flags(&["--log-level", "info", "extra"], &["\"extra\"", "before --", "-- COMMAND"]),
    ]);
}

#[test]
fn nothing_at_all_shows_the_usage() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graceful"));
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = output(command);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    let stderr = String::from_utf8(output.stderr).unwrap();
    for part in ["graceful: error: no command", "usage: graceful [OPTIONS] -- COMMAND [ARGS...]", "graceful --help"] {
        assert!(stderr.contains(part), "{part} is not in: {stderr}");
    }
}

#[test]
fn options_that_do_not_exist_or_lack_their_value() {
    all_refused(vec![
        flags(&["--grace-perod", "5s"], &["--grace-perod", "unknown option", "did you mean --grace-period?"]),
        flags(&["--grace-perod=5s"], &["--grace-perod:", "did you mean --grace-period?"]),
        flags(&["--grace", "5s"], &["--grace:", "did you mean --grace-period?"]),
        flags(&["--verbose"], &["--verbose", "unknown option", "graceful --help"]),
        flags(&["-g", "5s"], &["-g:", "unknown option", "graceful --help"]),
        flags(&["--hold"], &["--hold", "needs a value", "--hold WHEN"]),
        flags(&["--grace-period", "--hold", "never"], &["--grace-period", "needs a value", "--grace-period DUR"]),
        flags(
            &["--grace-period", "5s", "--grace-period", "6s"],
            &["--grace-period", "2 times", "\"5s\", \"6s\"", "once"],
        ),
        flags(&["--stop-on", "HUP", "--stop-on=USR1", "--stop-on"], &["--stop-on:", "needs a value", "--stop-on SIG"]),
        flags(&["--helpp"], &["--helpp", "did you mean --help?"]),
        flags(&["--grace-perod", "5s", "--hld", "never", "-x"], &["--grace-perod", "--grace-period"])
            .and(&["--hld", "--hold?"])
            .and(&["-x", "unknown option"]),
    ]);
}

#[test]
fn durations() {
    all_refused(vec![
        flags(&["--grace-period", "30"], &["--grace-period \"30\"", "needs a unit, as 30s"]),
        flags(&["--grace-period="], &["--grace-period \"\"", "5s"]),
        flags(&["--grace-period", "fast"], &["--grace-period \"fast\"", "not a duration", "5s"]),
        flags(&["--grace-period", "5parsecs"], &["--grace-period \"5parsecs\"", "not a duration", "5s"]),
        flags(&["--grace-period", "0s"], &["--grace-period \"0s\"", "longer than zero"]),
        flags(&["--grace-period", "1000y"], &["--grace-period \"1000y\"", "100 years"]),
        flags(&["--pre-stop-delay", "-5s"], &["--pre-stop-delay \"-5s\"", "negative"]),
        flags(&["--kill-margin", "0"], &["--kill-margin \"0\"", "needs a unit, as 0s"]),
        flags(&["--hold-timeout", "0s"], &["--hold-timeout \"0s\"", "longer than zero"]),
        variable("GRACEFUL_GRACE_PERIOD", "30", &["GRACEFUL_GRACE_PERIOD=\"30\"", "needs a unit, as 30s"]),
        file("grace_period = 30", &["graceful.toml: grace_period = 30", "\"30s\""]),
        file("grace_period = \"30\"", &["graceful.toml: grace_period = \"30\"", "needs a unit, as 30s"]),
        file("kill_margin = true", &["graceful.toml: kill_margin = true", "string", "\"30s\""]),
        file("kill_margin = [\"1s\"]", &["graceful.toml: kill_margin = [\"1s\"]", "one value", "\"30s\""]),
    ]);
}

#[test]
fn times_that_do_not_fit() {
    all_refused(vec![
        flags(&["--kill-margin", "30s"], &["--kill-margin \"30s\"", "shorter than the grace period, 30s"]),
        flags(&["--pre-stop-delay", "29s"], &["--pre-stop-delay \"29s\"", "kill margin, 1s", "shorter than 29s"]),
        flags(
            &["--grace-period", "10s", "--kill-margin", "4s", "--pre-stop-delay", "6s"],
            &["--pre-stop-delay \"6s\"", "grace period, 10s", "shorter than 6s"],
        ),
        variable("GRACEFUL_PRE_STOP_DELAY", "2m", &["GRACEFUL_PRE_STOP_DELAY=\"2m\"", "grace period, 30s"]),
        file("pre_stop_delay = \"2m\"", &["graceful.toml: pre_stop_delay = \"2m\"", "grace period, 30s"]),
        flags(
            &["--hold", "true", "--hold-timeout", "25s", "--pre-stop-delay", "4s"],
            &["--hold-timeout \"25s\"", "SIGKILL at 29s", "shorter than 25s"],
        ),
        flags(
            &["--hold", "true", "--hold-timeout", "16s", "--pre-stop-delay", "4s", "--escalate", "20s:QUIT"],
            &["--hold-timeout \"16s\"", "first escalation at 20s", "shorter than 16s"],
        ),
        flags(&["--escalate", "29s:QUIT"], &["--escalate \"29s:QUIT\"", "SIGKILL is sent at 29s", "shorter"]),
        flags(
            &["--escalate", "5s:QUIT", "--pre-stop-delay", "5s"],
            &["--escalate \"5s:QUIT\"", "pre-stop delay, 5s", "longer"],
        ),
        file(
            "[[hook]]\nstage = \"pre-stop\"\nrun = \"x\"\ntimeout = \"20s\"\npriority = 1\n\
             [[hook]]\nstage = \"pre-stop\"\nrun = \"x\"\ntimeout = \"9s\"",
            &["graceful.toml: hook[1].timeout = \"20s\"", "29s", "--grace-period longer"],
        ),
        file(
            "grace_period = \"10s\"\n[[hook]]\nstage = \"post-stop\"\nrun = \"x\"\ntimeout = \"10s\"",
            &["graceful.toml: hook[1].timeout = \"10s\"", "shorter than the grace period, 10s"],
        ),
    ]);
}

#[test]
fn signals() {
    all_refused(vec![
        flags(&["--stop-signal", "TREM"], &["--stop-signal \"TREM\"", "did you mean SIGTERM?"]),
        flags(&["--stop-signal", "65"], &["--stop-signal \"65\"", "1 to 64"]),
        flags(&["--stop-signal", "KILL"], &["--stop-signal \"KILL\"", "no chance", "TERM"]),
        flags(&["--stop-signal", "SIGSTOP"], &["--stop-signal \"SIGSTOP\"", "freezes", "TERM"]),
        flags(&["--stop-on", "KILL"], &["--stop-on \"KILL\"", "no process can catch SIGKILL"]),
        flags(&["--stop-on", "HUP,CHLD"], &["--stop-on \"CHLD\"", "SIGCHLD"]),
        flags(&["--rewrite", "HUP"], &["--rewrite \"HUP\"", "FROM:TO", "HUP:USR1"]),
        flags(&["--rewrite", "HUPP:USR1"], &["--rewrite \"HUPP:USR1\"", "FROM", "did you mean SIGHUP?"]),
        flags(&["--rewrite", "HUP:USR9"], &["--rewrite \"HUP:USR9\"", "TO", "SIGUSR"]),
        flags(&["--rewrite", "TERM:QUIT"], &["--rewrite \"TERM:QUIT\"", "begins the shutdown", "--stop-signal"]),
        flags(
            &["--stop-on", "WINCH", "--rewrite", "WINCH:QUIT"],
            &["--rewrite \"WINCH:QUIT\"", "SIGWINCH begins the shutdown", "--stop-signal"],
        ),
        flags(&["--rewrite", "HUP:USR1", "--rewrite", "1:0"], &["--rewrite \"1:0\"", "SIGHUP is rewritten twice"]),
        flags(&["--rewrite", "HUP:KILL"], &["--rewrite \"HUP:KILL\"", "SIGKILL is sent by graceful itself"]),
        flags(&["--rewrite", "CHLD:USR1"], &["--rewrite \"CHLD:USR1\"", "SIGCHLD"]),
        flags(&["--escalate", "QUIT"], &["--escalate \"QUIT\"", "DUR:SIG", "25s:QUIT"]),
        flags(&["--escalate", "20:QUIT"], &["--escalate \"20:QUIT\"", "needs a unit, as 20s"]),
        flags(&["--escalate", "20s:KILL"], &["--escalate \"20s:KILL\"", "SIGKILL is sent by graceful itself"]),
        variable("GRACEFUL_STOP_ON", "HUP,STOP", &["GRACEFUL_STOP_ON=\"STOP\"", "no process can catch SIGSTOP"]),
        variable("GRACEFUL_REWRITE", "INT:HUP", &["GRACEFUL_REWRITE=\"INT:HUP\"", "--stop-signal"]),
        file("stop_on = [\"HUP\", \"KIL\"]", &["graceful.toml: stop_on[2] = \"KIL\"", "did you mean SIGKILL?"]),
        file("rewrite = \"HUP\"", &["graceful.toml: rewrite = \"HUP\"", "FROM:TO"]),
        file("stop_signal = 9", &["graceful.toml: stop_signal = \"9\"", "no chance"]),
        file("escalate = [\"20s:QUIT\", 5]", &["graceful.toml: escalate[2] = 5", "\"25s:QUIT\""]),
    ]);
}

#[test]
fn holds_and_urls() {
    all_refused(vec![
        flags(&["--hold", "idle"], &["--hold \"idle\"", "not available in this version", "never"]),
        variable("GRACEFUL_HOLD", "quiet", &["GRACEFUL_HOLD=\"quiet\"", "not available in this version"]),
        flags(&["--hold", "nver"], &["--hold \"nver\"", "did you mean never?"]),
        flags(&["--hold", "ftp://host/"], &["--hold \"ftp://host/\"", "http:// or https://"]),
        flags(&["--hold", "sh -c 'x"], &["--hold \"sh -c 'x\"", "quote", "not closed"]),
        flags(&["--hold", " "], &["--hold \" \"", "command is empty"]),
        flags(&["--ready-url", "localhost:8080/ready"], &["--ready-url \"localhost", "http://localhost:8080/ready"]),
        flags(&["--ready-url", "/ready"], &["--ready-url \"/ready\"", "http://127.0.0.1:8080/ready"]),
        flags(&["--ready-url", "http://"], &["--ready-url \"http://\"", "not a URL", "http://127.0.0.1:8080/ready"]),
        flags(&["--ready-url", "http://h:99999/"], &["--ready-url \"http://h:99999/\"", "port"]),
        variable("GRACEFUL_READY_URL", "ftp://h/r", &["GRACEFUL_READY_URL=\"ftp://h/r\"", "http://h/r"]),
        flags(&["--ready-interval", "2s"], &["--ready-interval \"2s\"", "--ready-url"]),
        variable("GRACEFUL_READY_TIMEOUT", "2s", &["GRACEFUL_READY_TIMEOUT=\"2s\"", "--ready-url"]),
        file("startup_timeout = \"9s\"", &["graceful.toml: startup_timeout = \"9s\"", "--ready-url"]),
        flags(&["--startup-action", "stop"], &["--startup-action \"stop\"", "--ready-url"]),
        flags(
            &["--ready-url", "http://h/", "--startup-action", "stop"],
            &["--startup-action \"stop\"", "--startup-timeout"],
        ),
        flags(&["--ready-url", "http://h/", "--ready-timeout", "0s"], &["--ready-timeout \"0s\"", "longer than zero"]),
    ]);
}

#[test]
fn words_statuses_and_paths() {
    all_refused(vec![
        flags(
            &["--startup-action", "halt", "--ready-url", "http://h/"],
            &["--startup-action \"halt\"", "report or stop"],
        ),
        flags(&["--leftovers", "leav"], &["--leftovers \"leav\"", "did you mean leave?"]),
        flags(&["--log-format", "jsn"], &["--log-format \"jsn\"", "text or json", "did you mean json?"]),
        flags(&["--log-level", "trace"], &["--log-level \"trace\"", "error or warn or info or debug"]),
        variable("GRACEFUL_LOG_LEVEL", "inof", &["GRACEFUL_LOG_LEVEL=\"inof\"", "did you mean info?"]),
        file("log_format = \"xml\"", &["graceful.toml: log_format = \"xml\"", "text or json"]),
        flags(&["--success-exit-status", "143,300"], &["--success-exit-status \"300\"", "0 to 255"]),
        flags(&["--success-exit-status", "-1"], &["--success-exit-status \"-1\"", "0 to 255"]),
        flags(&["--success-exit-status", "SIGTRM"], &["--success-exit-status \"SIGTRM\"", "did you mean SIGTERM?"]),
        file("success_exit_status = [143, 999]", &["graceful.toml: success_exit_status[2] = \"999\"", "0 to 255"]),
        flags(&["--report", ""], &["--report \"\"", "empty path"]),
        flags(&["--report", "dir"], &["--report \"dir\"", "is a directory"]),
        flags(&["--report", "new/"], &["--report \"new/\"", "is a directory"]),
        flags(&["--drain-file", "none/drain"], &["--drain-file \"none/drain\"", "/none does not exist", "create it"]),
        variable(
            "GRACEFUL_TERMINATION_LOG",
            "plain/log",
            &["GRACEFUL_TERMINATION_LOG=\"plain/log\"", "not a directory"],
        ),
        file("report = \"none/report\"", &["graceful.toml: report = \"none/report\"", "does not exist"]),
        flags(&["--config", "none.toml"], &["--config \"none.toml\"", "cannot be read", "No such file"]),
        flags(&["--config", "dir"], &["--config \"dir\"", "cannot be read", "directory"]),
        flags(&["--config", ""], &["--config \"\"", "empty path"]),
        variable("GRACEFUL_CONFIG", "none.toml", &["GRACEFUL_CONFIG=\"none.toml\"", "cannot be read"]),
    ]);
}

#[test]
fn hooks() {
    let hook = |body: &str| format!("[[hook]]\nstage = \"pre-stop\"\nrun = \"x\"\n[[hook]]\n{body}");
    let hook = |body: &str, contains: &[&'static str]| file(&hook(body), contains);
    all_refused(vec![
        flags(&["--hook", "./drain"], &["--hook \"./drain\"", "STAGE=WHAT", "pre-stop=./drain"]),
        flags(&["--hook", "pre-sotp=./drain"], &["--hook \"pre-sotp=./drain\"", "did you mean pre-stop?"]),
        flags(&["--hook", "pre-stop="], &["--hook \"pre-stop=\"", "command is empty"]),
        flags(&["--hook", "pre-stop=sh -c \"x"], &["--hook \"pre-stop=sh", "quote", "not closed"]),
        flags(&["--hook", "pre-stop=http://"], &["--hook \"pre-stop=http://\"", "not a URL"]),
        variable("GRACEFUL_HOOK", "pre-stop=x\n\nstop=y\n", &["GRACEFUL_HOOK=\"stop=y\"", "pre-start or"]),
        hook("stage = \"prestop\"\nrun = \"x\"", &["graceful.toml: hook[2].stage = \"prestop\"", "pre-stop?"]),
        hook("run = \"x\"", &["graceful.toml: hook[2]", "no stage", "pre-stop"]),
        hook("stage = \"pre-stop\"", &["graceful.toml: hook[2]", "run = ", "url = "]),
        hook("stage = \"pre-stop\"\nrun = \"x\"\nurl = \"http://h/\"", &["graceful.toml: hook[2]", "both run and url"]),
        hook(
            "stage = \"pre-stop\"\nrun = \"x\"\ntimeout = \"fast\"",
            &["graceful.toml: hook[2].timeout = \"fast\"", "not a duration", "5s"],
        ),
        hook("stage = \"pre-stop\"\nrun = \"x\"\ntimeout = 9", &["graceful.toml: hook[2].timeout = 9", "\"9s\""]),
        hook("stage = \"pre-stop\"\nrun = \"x\"\ntimeuot = \"9s\"", &["graceful.toml: hook[2].timeuot", "timeout?"]),
        hook("stage = \"pre-stop\"\nrun = []", &["graceful.toml: hook[2].run = []", "list of strings"]),
        hook("stage = \"pre-stop\"\nrun = [\"x\", 1]", &["graceful.toml: hook[2].run", "list of strings"]),
        hook("stage = \"pre-stop\"\nurl = \"h\"", &["graceful.toml: hook[2].url = \"h\"", "http://h"]),
        hook("stage = \"pre-stop\"\nrun = \"x\"\npriority = 3e9", &["hook[2].priority = 3000000000", "whole number"]),
        hook("stage = \"pre-stop\"\nrun = \"x\"\npriority = 3000000000", &["hook[2].priority", "whole number"]),
        hook("stage = \"pre-stop\"\nrun = \"x\"\nname = \"\"", &["graceful.toml: hook[2].name = \"\"", "one line"]),
        hook(
            "stage = \"pre-stop\"\nrun = \"x\"\non_failure = \"abort\"",
            &["graceful.toml: hook[2].on_failure = \"abort\"", "pre-start and post-start", "continue"],
        ),
        hook(
            "stage = \"pre-start\"\nrun = \"x\"\non_failure = \"stop\"",
            &["graceful.toml: hook[2].on_failure = \"stop\"", "abort or continue"],
        ),
        file("hook = \"pre-stop=x\"", &["graceful.toml: hook", "[[hook]]"]),
        file("[hook]\nstage = \"pre-stop\"", &["graceful.toml: hook", "[[hook]]"]),
    ]);
}

#[test]
fn files() {
    all_refused(vec![
        file("grace_perod = \"5s\"", &["graceful.toml: grace_perod", "unknown key", "grace_period?"]),
        file("grace-period = \"5s\"", &["graceful.toml: grace-period", "did you mean grace_period?"]),
        file("zzz = 1", &["graceful.toml: zzz", "unknown key", "grace_period, kill_margin"]),
        file("\"a\\nb\" = 1", &["graceful.toml: a\\nb:", "unknown key"]),
        file("config = \"x\"", &["graceful.toml: config", "unknown key"]),
        file("[budget]\ngrace_period = \"5s\"", &["graceful.toml: budget", "unknown key"]),
        file("log_level = \"info\"\ngrace_period = 30s\n", &["graceful.toml:2:", "not TOML"]),
        file("log_level = \"info\"\n  hold = \n", &["graceful.toml:2:10", "not TOML"]),
        file("hold = \"never\"\nhold = \"never\"", &["graceful.toml:2:1", "duplicate key"]),
    ]);
}

#[test]
fn the_small_commands() {
    all_refused(vec![
        line(&["sleep", "5"], &["5: a duration needs a unit, as 5s"]),
        line(&["sleep", "-5s"], &["-5s", "negative"]),
        line(&["sleep"], &["sleep", "graceful sleep DUR"]),
        line(&["sleep", "5s", "6s"], &["\"6s\"", "too many", "graceful sleep DUR"]),
        line(&["sleep", "--grace-period", "5s"], &["--grace-period", "unknown option"]),
        line(&["probe"], &["graceful probe URL"]),
        line(&["probe", "localhost:80"], &["probe localhost:80", "http://localhost:80"]),
        line(&["probe", "--timeout", "5", "http://h/"], &["--timeout 5", "needs a unit, as 5s"]),
        line(&["probe", "http://h/", "--timeot", "5s"], &["--timeot", "did you mean --timeout?"]),
        line(&["probe", "--timeout", "5s", "--timeout", "6s", "http://h/"], &["--timeout", "2 times"]),
        line(&["probe", "--timeout", "fast", "h"], &["--timeout fast", "not a duration"]).and(&["probe h", "http://h"]),
        line(&["completions", "bsh"], &["completions bsh", "did you mean bash?"]),
        line(&["completions"], &["graceful completions SHELL"]),
    ]);
}

#[test]
fn every_problem_is_reported() {
    all_refused(vec![
        Row {
            file: Some("log_level = \"loud\"\nkill_marg = \"1s\"".to_owned()),
            ..file("", &["log_level = \"loud\""])
        }
        .and(&["graceful.toml: kill_marg", "kill_margin?"])
        .and(&["GRACEFUL_HOLD=\"idle\"", "not available"])
        .and(&["GRACEFUL_STOP_ON=\"KILL\"", "SIGKILL"])
        .with("GRACEFUL_HOLD", "idle")
        .with("GRACEFUL_STOP_ON", "KILL"),
        flags(&["--grace-period", "x", "--hold", "idle", "--bogus"], &["--grace-period \"x\""])
            .and(&["--hold \"idle\""])
            .and(&["--bogus"]),
        // A wrong value does not hide behind a stronger source.
        flags(&["--log-level", "debug"], &["GRACEFUL_LOG_LEVEL=\"loud\""]).with("GRACEFUL_LOG_LEVEL", "loud"),
        // The form is wrong and a variable too.
        line(
            &["--log-level", "info", "touch", "started"],
            &["did you mean: graceful --log-level info -- touch started"],
        )
        .and(&["GRACEFUL_GRACE_PERIOD=\"30\"", "30s"])
        .with("GRACEFUL_GRACE_PERIOD", "30"),
        // A grace period that cannot be read says nothing about times that would not fit into the default one.
        flags(
            &["--grace-period", "60", "--pre-stop-delay", "40s", "--escalate", "50s:QUIT"],
            &["--grace-period \"60\""],
        ),
        flags(&["--kill-margin", "0", "--pre-stop-delay", "29500ms"], &["--kill-margin \"0\""]),
        // A URL that cannot be read is not also missing.
        flags(&["--ready-url", "nowhere", "--ready-interval", "2s"], &["--ready-url \"nowhere\""]),
        file("[[hook]]\nstage = \"x\"\ntimeout = \"5\"\nurl = \"y\"\nprio = 1", &["hook[1].stage = \"x\""])
            .and(&["hook[1].timeout = \"5\"", "5s"])
            .and(&["hook[1].url = \"y\"", "http://y"])
            .and(&["hook[1].prio", "priority?"]),
        flags(&["--stop-on", "FOO,KILL,HUP", "--rewrite", "A:B"], &["\"FOO\""]).and(&["\"KILL\""]).and(&["\"A:B\""]),
    ]);
}

#[test]
fn bytes_that_are_no_text() {
    let bytes = |bytes: &'static [u8]| OsStr::from_bytes(bytes).to_owned();
    let mut flag = flags(&[], &["--grace-period \"\\xFF\"", "not UTF-8"]);
    flag.args.splice(0..0, [OsString::from("--grace-period"), bytes(b"\xff")]);
    let mut variable = flags(&[], &["GRACEFUL_STOP_ON=\"\\xFE\"", "not UTF-8"]);
    variable.env.push(("GRACEFUL_STOP_ON".into(), bytes(b"\xfe")));
    let mut unknown = flags(&[], &["--\u{fffd}", "unknown option"]);
    unknown.args.insert(0, bytes(b"--\xff"));
    let mut path = flags(&[], &["--report", "does not exist"]);
    path.args.splice(0..0, [OsString::from("--report"), bytes(b"\xff/report")]);
    let newline = flags(&["--hold-\ntimeout", "1s"], &["unknown option", "\\n"]);
    all_refused(vec![flag, variable, unknown, path, newline]);
}

#[test]
fn a_file_that_is_no_text_names_the_line() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("bad.toml"), b"hold = \"never\"\nreport = \"\xff\"\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_graceful"));
    command.args(["--config", "bad.toml"]).args(APP).env_clear().current_dir(dir.path());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = output(command);
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("graceful: error: bad.toml:2: not UTF-8"), "{stderr}");
}

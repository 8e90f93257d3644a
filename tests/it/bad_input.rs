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
        line(
            &["wrench", "--", "touch", "started"],
            &["\"wrench\"", "run, drill, probe, plan, reload, status, install, sleep, completions", "-- COMMAND"],
        ),
        line(&["drill", "--submit", "x", "--", "true"], &["--submit", "needs --done COMMAND"]),
        line(&["drill", "--done", "x", "--demo"], &["--done", "has no effect without --submit"]),
        line(&["drill", "--queued", "x", "--demo"], &["--queued", "has no effect without --submit"]),
        line(&["drill", "--settle", "1s", "--demo"], &["--settle", "has no effect without --submit"]),
        line(
            &["drill", "--submit", " ", "--done", "x", "--", "true"],
            &["--submit \" \"", "the command is empty", "prints one id a line"],
        ),
        line(&["drill", "--submit", "x", "--done", "", "--", "true"], &["--done \"\"", "the command is empty"]),
        line(
            &["drill", "--submit", "x", "--done", "x", "--queued", "", "--", "true"],
            &["--queued \"\"", "the command is empty"],
        ),
        line(&["drill", "--submit", "x", "--done", "x", "--settle", "5", "--", "true"], &["--settle \"5\"", "as 5s"]),
        line(
            &["drill", "--submit", "x", "--done", "x", "--url", "http://h/", "--", "true"],
            &["--url", "is about requests", "use only one of them"],
        ),
        line(
            &["drill", "--submit", "x", "--done", "x", "--mix", "new=1", "--tune", "--", "true"],
            &["--mix", "is about requests"],
        )
        .and(&["--tune", "is about requests"]),
        line(&["drill", "--submit", "x", "--done", "x", "--demo"], &["--demo", "is about requests"]),
        line(
            &["drill", "--submit", "x", "--submit", "y", "--done", "x", "--", "true"],
            &["--submit", "given more than once"],
        ),
        line(&["drill", "--demo", "-v", "-q"], &["--quiet and --verbose", "use only one of them"]),
        line(&["drill", "--demo", "--quiet=yes"], &["--quiet", "unexpected value 'yes'"]),
        line(
            &["drill", "--demo", "--output", "html=no/such/page.html"],
            &["--output", "no/such does not exist", "expected a directory that exists"],
        ),
        line(
            &["drill", "--demo", "--output", "json=x", "--output", "html=x"],
            &["--output \"x\"", "is given for two outputs", "expected a path for each"],
        ),
        line(&["drill", "--demo", "-H", "X-A"], &["--header \"…\"", "no colon", "'Name: value'"]),
        line(&["drill", "--demo", "--header", "X A: 1"], &["--header \"X A: …\"", "not the name of a header"]),
        line(&["drill", "--demo", "-H", "Content-Length: 1"], &["--header \"Content-Length: …\"", "leave it out"]),
        line(&["drill", "--demo", "-H", "@no/such"], &["--header \"@no/such\"", "No such file"]),
        line(&["drill", "--demo", "-H", "@"], &["--header \"@\"", "@headers.txt"]),
        line(&["drill", "--demo", "--tolerate", "some"], &["--tolerate \"some\"", "3 or 1%"]),
        line(&["drill", "--demo", "--tolerate", "101%"], &["--tolerate \"101%\"", "3 or 1%"]),
        line(
            &["drill", "--no-stop", "--url", "unix:"],
            &["--url \"unix:\"", "no socket", "unix:/run/app.sock:/health"],
        ),
        line(&["drill", "--no-stop", "--url", "unix:@x:/"], &["--url \"…@x:/\"", "abstract", "unix:/run/app.sock"]),
        line(&["drill", "--no-stop", "--url", "unix:/x:y"], &["--url \"unix:/x:y\"", "begin with a slash"]),
        line(&["drill", "--no-stop", "--target", "/orders"], &["a path alone", "a whole --url"]),
        line(
            &["drill", "--bare", "--pre-stop-delay", "2s", "--", "true"],
            &["--bare and --pre-stop-delay", "use only one of them"],
        ),
        line(
            &["drill", "--tune", "--pre-stop-delay", "2s", "--", "true"],
            &["--tune and --pre-stop-delay", "finds the delay"],
        ),
        line(&["help", "drll"], &["\"drll\"", "did you mean: graceful help drill"]),
        line(&["help", "drill", "x"], &["\"x\"", "too many", "graceful help drill"]),
        line(&["--help", "drll"], &["\"drll\"", "did you mean: graceful help drill"]),
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
        flags(&["--grace-period", "30"], &["--grace-period \"30\"", "with a unit, as 30s"]),
        flags(&["--grace-period="], &["--grace-period \"\"", "5s"]),
        flags(&["--grace-period", "fast"], &["--grace-period \"fast\"", "not a duration", "5s"]),
        flags(&["--grace-period", "5parsecs"], &["--grace-period \"5parsecs\"", "not a duration", "5s"]),
        flags(&["--grace-period", "0s"], &["--grace-period \"0s\"", "longer than zero"]),
        flags(&["--grace-period", "1000y"], &["--grace-period \"1000y\"", "100 years"]),
        flags(&["--pre-stop-delay", "-5s"], &["--pre-stop-delay \"-5s\"", "negative"]),
        flags(&["--kill-margin", "0"], &["--kill-margin \"0\"", "with a unit, as 0s"]),
        flags(&["--hold-timeout", "0s"], &["--hold-timeout \"0s\"", "longer than zero"]),
        variable("GRACEFUL_GRACE_PERIOD", "30", &["GRACEFUL_GRACE_PERIOD=\"30\"", "with a unit, as 30s"]),
        file("grace_period = 30", &["graceful.toml: grace_period = 30", "\"30s\""]),
        file("grace_period = \"30\"", &["graceful.toml: grace_period = \"30\"", "with a unit, as 30s"]),
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
        flags(
            &["--stop-on", "TERM,WINCH", "--rewrite", "WINCH:QUIT"],
            &["--rewrite \"WINCH:QUIT\"", "SIGWINCH is in --stop-on", "begins no stop", "--stop-signal"],
        ),
        flags(&["--rewrite", "HUP:USR1", "--rewrite", "1:0"], &["--rewrite \"1:0\"", "SIGHUP is rewritten twice"]),
        flags(&["--rewrite", "HUP:KILL"], &["--rewrite \"HUP:KILL\"", "SIGKILL is sent by graceful itself"]),
        flags(&["--rewrite", "CHLD:USR1"], &["--rewrite \"CHLD:USR1\"", "SIGCHLD"]),
        flags(&["--escalate", "QUIT"], &["--escalate \"QUIT\"", "DUR:SIG", "25s:QUIT"]),
        flags(&["--escalate", "20:QUIT"], &["--escalate \"20:QUIT\"", "with a unit, as 20s"]),
        flags(&["--escalate", "20s:KILL"], &["--escalate \"20s:KILL\"", "SIGKILL is sent by graceful itself"]),
        variable("GRACEFUL_STOP_ON", "HUP,STOP", &["GRACEFUL_STOP_ON=\"STOP\"", "no process can catch SIGSTOP"]),
        variable("GRACEFUL_REWRITE", "INT:HUP", &["GRACEFUL_REWRITE=\"INT:HUP\"", "--stop-signal"])
            .with("GRACEFUL_STOP_ON", "INT"),
        file("stop_on = [\"HUP\", \"KIL\"]", &["graceful.toml: stop_on[2] = \"KIL\"", "did you mean SIGKILL?"]),
        file("rewrite = \"HUP\"", &["graceful.toml: rewrite = \"HUP\"", "FROM:TO"]),
        file("stop_signal = 9", &["graceful.toml: stop_signal = \"9\"", "no chance"]),
        file("escalate = [\"20s:QUIT\", 5]", &["graceful.toml: escalate[2] = 5", "\"25s:QUIT\""]),
    ]);
}

#[test]
fn holds_and_urls() {
    all_refused(vec![
        flags(&["--hold", "nver"], &["--hold \"nver\"", "did you mean never?"]),
        flags(&["--hold", "ftp://host/"], &["--hold \"ftp://host/\"", "http:// or https://"]),
        flags(&["--hold", "sh -c 'x"], &["--hold \"sh …\"", "quote", "not closed"]),
        flags(&["--hold", "none"], &["--hold \"none\"", "did you mean never?"]),
        flags(&["--hold", "Off"], &["--hold \"Off\"", "did you mean never?"]),
        variable("GRACEFUL_HOLD", "false", &["GRACEFUL_HOLD=\"false\"", "did you mean never?", "/bin/false"]),
        flags(&["--hold", "http:/x:1/y"], &["--hold \"http:/x:1/y\"", "did you mean http://x:1/y?"]),
        file("hold = 'https:x'", &["graceful.toml: hold = \"https:x\"", "did you mean https://x?"]),
        flags(
            &["--hold", "no-such-program -x"],
            &["--hold \"no-such-program …\"", "no program no-such-program is in PATH"],
        ),
        flags(&["--hold", "./nothing"], &["--hold \"./nothing\"", "no program that can be run"]),
        flags(&["--hold", "./plain"], &["--hold \"./plain\"", "no program that can be run"]),
        flags(&["--hold", "./dir"], &["--hold \"./dir\"", "no program that can be run"]),
        flags(&["--hold", "neevr"], &["--hold \"neevr\"", "never"]),
        flags(&["--hold", " "], &["--hold \" \"", "command is empty"]),
        flags(&["--ready-url", "localhost:8080/ready"], &["--ready-url \"localhost", "http://localhost:8080/ready"]),
        flags(&["--hold", "idel"], &["--hold \"idel\"", "did you mean idle?"]),
        flags(&["--hold", "Quiet"], &["--hold \"Quiet\"", "did you mean quiet?"]),
        flags(&["--ports", "0"], &["--ports \"0\"", "1 to 65535"]),
        variable("GRACEFUL_PORTS", "80,http", &["GRACEFUL_PORTS=\"http\"", "1 to 65535"]),
        flags(&["--profile", "ngnix"], &["--profile \"ngnix\"", "did you mean nginx?"]),
        variable("GRACEFUL_PROFILE", "list", &["GRACEFUL_PROFILE=\"list\"", "graceful run --profile list"]),
        flags(&["--ready-url", "tcp://h"], &["--ready-url \"tcp://h\"", "has no port", "tcp://redis:6379"]),
        flags(&["--ready-url", "unix:"], &["--ready-url \"unix:\"", "no socket", "unix:/run/app.sock:/health"]),
        flags(&["--ready-url", "/ready"], &["--ready-url \"/ready\"", "http://127.0.0.1:8080/ready"]),
        flags(&["--ready-url", "http://"], &["--ready-url \"http://\"", "not a URL", "http://127.0.0.1:8080/ready"]),
        flags(&["--ready-url", "http://h:99999/"], &["--ready-url \"http://h:99999/\"", "port"]),
        variable(
            "GRACEFUL_READY_URL",
            "ftp://h/r",
            &["GRACEFUL_READY_URL=\"ftp://h/r\"", "begins with http://, https://, tcp:// or unix:, as http://h/r"],
        ),
        flags(&["--ready-interval", "2s"], &["--ready-interval \"2s\"", "--ready-url"]),
        variable("GRACEFUL_READY_TIMEOUT", "2s", &["GRACEFUL_READY_TIMEOUT=\"2s\"", "--ready-url"]),
        file("startup_timeout = \"9s\"", &["graceful.toml: startup_timeout = \"9s\"", "--ready-url"]),
        flags(&["--startup-action", "stop"], &["--startup-action \"stop\"", "--ready-url"]),
        flags(
            &["--startup-timeout", "9s", "--hook", "pre-start=true"],
            &["--startup-timeout \"9s\"", "--ready-url or a post-start hook", "--hook post-start=COMMAND"],
        ),
        flags(
            &["--startup-action", "stop", "--hook", "post-start=true"],
            &["--startup-action \"stop\"", "--startup-timeout"],
        ),
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
        flags(&["--stop-to", "trees"], &["--stop-to \"trees\"", "app, group or tree", "did you mean tree?"]),
        variable("GRACEFUL_STOP_TO", "all", &["GRACEFUL_STOP_TO=\"all\"", "app, group or tree"]),
        file("stop_to = \"session\"", &["graceful.toml: stop_to = \"session\"", "app, group or tree"]),
        flags(&["--parent-death-signal", "TREM"], &["--parent-death-signal \"TREM\"", "did you mean SIGTERM?"]),
        flags(&["--parent-death-signal", "STOP"], &["--parent-death-signal \"STOP\"", "as TERM"]),
        flags(&["--log-format", "jsn"], &["--log-format \"jsn\"", "text or json", "did you mean json?"]),
        flags(&["--log-level", "all"], &["--log-level \"all\"", "error, warn, info, debug or trace"]),
        variable("GRACEFUL_LOG_LEVEL", "inof", &["GRACEFUL_LOG_LEVEL=\"inof\"", "did you mean info?"]),
        file("log_format = \"xml\"", &["graceful.toml: log_format = \"xml\"", "text or json"]),
        flags(&["--success-exit-status", "143,300"], &["--success-exit-status \"300\"", "0 to 255"]),
        flags(&["--success-exit-status", "-1"], &["--success-exit-status \"-1\"", "0 to 255"]),
        flags(&["--success-exit-status", "SIGTRM"], &["--success-exit-status \"SIGTRM\"", "did you mean SIGTERM?"]),
        file("success_exit_status = [143, 999]", &["graceful.toml: success_exit_status[2] = \"999\"", "0 to 255"]),
        flags(&["--report", ""], &["--report \"\"", "empty path"]),
        flags(&["--report", "dir"], &["--report \"dir\"", "is a directory"]),
        flags(&["--report", "/dev/stdout"], &["--report \"/dev/stdout\"", "belongs to the app", "or /dev/stderr"]),
        flags(&["--report", "/dev/fd/987"], &["--report \"/dev/fd/987\"", "Bad file descriptor", "path of a file"]),
        flags(&["--drain-file", "/dev/stderr"], &["--drain-file \"/dev/stderr\"", "names a descriptor"]),
        flags(&["--drain-file", "/etc/passwd"], &["--drain-file \"/etc/passwd\"", "a file with content", "left alone"]),
        flags(
            &["--drain-file", "x", "--report", "x", "--termination-log", "./x", "--probe-listen", "unix:x"],
            &["--report \"x\"", "is the path of --drain-file too"],
        )
        .and(&["--termination-log \"./x\"", "of --drain-file too"])
        .and(&["--probe-listen \"unix:x\"", "of --drain-file too"]),
        flags(&["--report", "new/"], &["--report \"new/\"", "is a directory"]),
        flags(&["--drain-file", "none/drain"], &["--drain-file \"none/drain\"", "/none does not exist", "create it"]),
        variable(
            "GRACEFUL_TERMINATION_LOG",
            "plain/log",
            &["GRACEFUL_TERMINATION_LOG=\"plain/log\"", "not a directory"],
        ),
        file("report = \"none/report\"", &["graceful.toml: report = \"none/report\"", "does not exist"]),
        flags(&["--config", "none.toml"], &["--config \"none.toml\"", "cannot be read", "no such file"]),
        flags(&["--config", "dir"], &["--config \"dir\"", "cannot be read", "directory"]),
        flags(&["--config", "/dev/zero"], &["--config \"/dev/zero\"", "it is a device", "TOML file"]),
        flags(&["--config", "/dev/fd/987"], &["--config \"/dev/fd/987\"", "cannot be read"]),
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
        variable(
            "GRACEFUL_HOOK",
            "pre-stop=x\n\nstop=y\n",
            &["GRACEFUL_HOOK=\"stop=y\"", "expected pre-start, post-start"],
        ),
        hook("stage = \"prestop\"\nrun = \"x\"", &["graceful.toml: hook[2].stage = \"prestop\"", "pre-stop?"]),
        hook("run = \"x\"", &["graceful.toml: hook[2]", "no stage", "pre-stop"]),
        flags(&["--hook", "ready=./warm"], &["--hook \"ready=./warm\"", "no effect without --ready-url", "post-start"]),
        hook("stage = \"ready\"\nrun = \"x\"", &["graceful.toml: hook[2].run", "no effect without --ready-url"]),
        flags(&["--hook", "redy=./warm"], &["--hook \"redy=./warm\"", "did you mean ready?"]),
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
            &["graceful.toml: hook[2].on_failure = \"abort\"", "pre-start, post-start and ready", "continue"],
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
fn the_probe_server() {
    let listen = |value: &'static str, contains: &[&'static str]| {
        let row = flags(&["--probe-listen", value], contains);
        Row { lines: vec![[&["--probe-listen", value], contains].concat()], ..row }
    };
    all_refused(vec![
        listen("", &["expected ADDRESS:PORT, :PORT or unix:PATH"]),
        listen("web:9090", &["web is not an IP address", "expected ADDRESS:PORT"]),
        listen("http://127.0.0.1:9090", &["not an IP address", "expected ADDRESS:PORT"]),
        listen("/run/x.sock", &["did you mean unix:/run/x.sock?"]),
        listen("127.0.0.1", &["no port", "as :9090"]),
        listen(":65536", &["has no port from 0 to 65535"]),
        listen("::1", &["IPv6 address needs brackets", "[::1]:9090"]),
        listen("::1:80", &["IPv6 address needs brackets", "[::1]:9090"]),
        listen("unix:", &["path is empty"]),
        // Before an @ there may be a password.
        flags(&["--probe-listen", "unix:@name"], &["--probe-listen", "@name", "an abstract socket", "unix:./@name"]),
        flags(&["--probe-listen", "unix://@name"], &["--probe-listen", "@name", "an abstract socket", "unix:./@name"]),
        listen("unix:dir", &["is a directory", "path of a socket"]),
        listen("unix:none/x", &["/none does not exist", "create it first"]),
        listen("unix:plain/x", &["plain is not a directory"]),
        listen("unix:plain", &["not a socket"]),
        flags(&["--probe-listen", &format!("unix:/{}", "x".repeat(107))], &["107 bytes at most", "has 108"]),
        // Short as typed, too long with what stands before it.
        flags(&["--probe-listen", &format!("unix:{}", "x".repeat(106))], &["107 bytes at most"]),
        file("probe_listen = 9090", &["graceful.toml: probe_listen = 9090", "a string, as \":9090\""]),
        flags(&["--fail-readiness", "never"], &["--fail-readiness \"never\"", "--probe-listen ADDR"]),
        flags(
            &["--probe-listen", ":0", "--fail-readiness", "at-stp"],
            &["--fail-readiness \"at-stp\"", "at-stop, at-drain or never", "did you mean at-stop?"],
        ),
        // An address that cannot be read is not also missing.
        flags(&["--probe-listen", "x", "--fail-readiness", "never"], &["--probe-listen \"x\""]),
    ]);
}

#[test]
fn the_sockets_of_the_app() {
    let listen = |value: &'static str, contains: &[&'static str]| {
        let row = flags(&["--listen", value], contains);
        Row { lines: vec![[&["--listen", value], contains].concat()], ..row }
    };
    let long = format!(":8000={}", "x".repeat(256));
    all_refused(vec![
        listen("", &["expected ADDRESS:PORT, :PORT or unix:PATH", "as :8000"]),
        listen("web:8000", &["web is not an IP address", "expected ADDRESS:PORT"]),
        listen("http://127.0.0.1:8000", &["not an IP address"]),
        listen("127.0.0.1", &["no port", "as :8000"]),
        listen(":65536", &["has no port from 0 to 65535"]),
        listen("::1:80", &["IPv6 address needs brackets"]),
        listen("/run/app.sock", &["did you mean unix:/run/app.sock?"]),
        listen("unix:", &["path is empty"]),
        // Before an @ there may be a password.
        flags(&["--listen", "unix:@name"], &["--listen", "@name", "an abstract socket"]),
        listen("unix:dir", &["is a directory", "path of a socket"]),
        listen("unix:none/x", &["/none does not exist", "create it first"]),
        listen(":8000=", &["the name behind =", "as :8000=web"]),
        listen(":8000=a:b", &["the name behind =", "without spaces and colons"]),
        listen(":8000=a b", &["without spaces and colons"]),
        flags(&["--listen", &long], &["--listen", "up to 255 ASCII characters"]),
        flags(&["--listen", ":8000", "--listen", ":8000=web"], &["--listen \":8000=web\"", "give it only once"]),
        flags(&["--listen", ":8000", "--listen", "[::]:8000"], &["[::]:8000", "give it only once"]),
        flags(
            &["--listen", ":9090", "--probe-listen", ":9090"],
            &["--listen \":9090\"", "--probe-listen listens there"],
        ),
        file("listen = 8000", &["graceful.toml: listen = 8000"]),
        file("listen = ['127.0.0.1:8000=a', 'x']", &["graceful.toml: listen", "expected ADDRESS:PORT"]),
    ]);
}

#[test]
fn names_and_targets_of_checks() {
    let long = format!("{}=tcp://h:1", "x".repeat(64));
    // What may be a secret in the value is not said back.
    let hidden = |value: &str, shown: &'static str, contains: &[&'static str]| {
        let row = flags(&["--check", value], contains);
        Row { lines: vec![[&["--check", shown], contains].concat()], ..row }
    };
    let check = |value: &'static str, contains: &[&'static str]| hidden(value, value, contains);
    all_refused(vec![
        check("redis", &["NAME=TARGET", "redis=tcp://redis:6379"]),
        check("tcp://redis:6379", &["NAME=TARGET"]),
        check("=tcp://h:1", &["1 to 63 letters, digits, -, _ and .", "NAME=TARGET"]),
        hidden("a b=tcp://h:1", "a …", &["1 to 63 letters"]),
        check("é=tcp://h:1", &["1 to 63 letters"]),
        flags(&["--check", &long], &["1 to 63 letters"]),
        check("ready-url=http://h/", &["ready-url is what graceful calls a part of its own", "any other"]),
        check("shutdown=http://h/", &["a part of its own"]),
        check("running=http://h/", &["a part of its own"]),
        check("startup=http://h/", &["a part of its own"]),
        check("a=", &["expected http://…, https://…, tcp://HOST:PORT, exec:COMMAND or disk:/PATH"]),
        check("a=./check", &["expected http://…", "exec:COMMAND"]),
        check("a=redis:6379", &["did you mean tcp://redis:6379?"]),
        check("a=tcp:redis:6379", &["did you mean tcp://redis:6379?"]),
        check("a=htp://h/", &["did you mean http://127.0.0.1:8080/health?"]),
        check("a=disc:/data", &["did you mean disk:/var/lib/app?"]),
        hidden(
            "a=redis://:secret@db:6379/0",
            "a=redis://…@db:6379/0",
            &["redis:// is not supported", "exec:COMMAND", "tcp://db:6379 asks whether a server accepts connections"],
        ),
        check("a=postgres://db/x", &["postgres:// is not supported", "tcp://HOST:PORT"]),
        check("a=grpc://h:50051", &["grpc is not supported", "tcp://HOST:PORT", "exec:COMMAND"]),
        check("a=http://", &["not a URL"]),
        check("a=http:h", &["did you mean http://"]),
        check("a=tcp://redis", &["has no port", "tcp://HOST:PORT, as tcp://redis:6379"]),
        check("a=tcp://redis:", &["expected a port from 1 to 65535"]),
        check("a=tcp://redis:0", &["expected a port from 1 to 65535"]),
        check("a=tcp://redis:65536", &["expected a port from 1 to 65535"]),
        check("a=tcp://:6379", &["neither a name nor an IP address", "tcp://HOST:PORT"]),
        hidden("a=tcp://a b:1", "a=tcp://a …", &["neither a name nor an IP address"]),
        check("a=tcp://::1:6379", &["IPv6 address needs brackets", "tcp://[::1]:6379"]),
        check("a=tcp://[::1]", &["has no port"]),
        check("a=tcp://[::x]:1", &["neither a name nor an IP address"]),
        check("a=tcp://h:1/x", &["no path and no query"]),
        hidden("a=tcp://h:1?x", "a=tcp://h:1?…", &["no path and no query"]),
        hidden("a=tcp://me@h:1", "a=tcp://…@h:1", &["no user and no password"]),
        check("a=exec:", &["command is empty"]),
        hidden("a=exec:sh -c 'x", "a=exec:sh …", &["quote", "not closed"]),
        check("a=exec://usr/bin/x", &["as exec:usr/bin/x"]),
        check("a=disk:", &["path is empty", "disk:/var/lib/app"]),
        check("a=disk://data", &["did you mean disk:/var/lib/app?"]),
        variable("GRACEFUL_CHECK", "a=tcp://h:1\n\nb\n", &["GRACEFUL_CHECK=\"b\"", "NAME=TARGET"]),
        flags(
            &["--check", "a=tcp://h:1", "--check", "a=tcp://h:2"],
            &["--check \"a=tcp://h:2\"", "the name a is taken by --check \"a=tcp://h:1\""],
        ),
        Row {
            file: Some("[[check]]\nname = \"a\"\ntarget = \"disk:/\"".to_owned()),
            ..flags(&["--config", "graceful.toml"], &["GRACEFUL_CHECK=\"a=exec:x\"", "graceful.toml: check[1].name"])
        }
        .with("GRACEFUL_CHECK", "a=exec:x"),
    ]);
}

#[test]
fn tables_of_checks() {
    let check = |body: &str, contains: &[&'static str]| {
        file(&format!("[[check]]\nname = \"a\"\ntarget = \"tcp://h:1\"\n[[check]]\n{body}"), contains)
    };
    let tcp = |keys: &str, contains: &[&'static str]| {
        check(&format!("name = \"b\"\ntarget = \"tcp://h:1\"\n{keys}"), contains)
    };
    let disk =
        |keys: &str, contains: &[&'static str]| check(&format!("name = \"b\"\ntarget = \"disk:/\"\n{keys}"), contains);
    let exec =
        |keys: &str, contains: &[&'static str]| check(&format!("name = \"b\"\ntarget = \"exec:x\"\n{keys}"), contains);
    all_refused(vec![
        check("target = \"tcp://h:1\"", &["graceful.toml: check[2]", "has no name", "name = \"redis\""]),
        check("name = \"b\"", &["graceful.toml: check[2]", "has no target", "target = \"tcp://redis:6379\""]),
        check("name = 1\ntarget = \"disk:/\"", &["graceful.toml: check[2].name = 1", "a string, as \"redis\""]),
        check("name = \" b\"\ntarget = \"disk:/\"", &["check[2].name = \" b\"", "1 to 63 letters"]),
        check("name = \"b\"\ntarget = \"redis\"", &["check[2].target = \"redis\"", "expected http://…"]),
        check("name = \"b\"\ntarget = [\"x\"]", &["check[2].target = [\"x\"]", "expected a string"]),
        check("name = \"a\"\ntarget = \"disk:/\"", &["check[2].name = \"a\"", "taken by graceful.toml: check[1].name"]),
        tcp("intervall = \"5s\"", &["graceful.toml: check[2].intervall", "did you mean interval?"]),
        tcp(
            "zzz = 1",
            &["check[2].zzz", "unknown key of a check", "breaker_after, breaker_reset, send", "unhealthy_free"],
        ),
        tcp("interval = 5", &["graceful.toml: check[2].interval = 5", "\"5s\""]),
        tcp("interval = \"0s\"", &["check[2].interval = \"0s\"", "longer than zero"]),
        tcp("timeout = \"0s\"", &["check[2].timeout = \"0s\"", "longer than zero"]),
        tcp("jitter = \"-1s\"", &["check[2].jitter = \"-1s\"", "negative"]),
        tcp("breaker_after = 0", &["check[2].breaker_after = 0", "whole number of at least 1, as 5"]),
        tcp("breaker_after = \"5\"", &["check[2].breaker_after = \"5\"", "whole number of at least 1, as 5"]),
        tcp("breaker_after = 5\nbreaker_reset = \"0s\"", &["check[2].breaker_reset = \"0s\"", "longer than zero"]),
        tcp("breaker_reset = \"1m\"", &["check[2].breaker_reset = \"1m\"", "has no effect without breaker_after"]),
        // Its name until 0.1.0.
        tcp("reset_after = \"1m\"", &["check[2].reset_after = \"1m\"", "breaker_reset", "breaker_after = 3"]),
        tcp("degraded_after = \"0s\"", &["check[2].degraded_after = \"0s\"", "longer than zero"]),
        tcp("degraded_after = \"2s\"", &["check[2].degraded_after = \"2s\"", "shorter than the timeout, 2s"]),
        tcp("interval = \"1s\"\ndegraded_after = \"1s\"", &["degraded_after", "shorter than the timeout, 1s"]),
        // What a wrong value means for others is not guessed.
        tcp("interval = \"1\"\ndegraded_after = \"3s\"", &["check[2].interval = \"1\""]),
        tcp("critical = \"no\"", &["check[2].critical = \"no\"", "true or false"]),
        tcp("failure_threshold = 0", &["check[2].failure_threshold = 0", "whole number of at least 1, as 3"]),
        tcp("failure_threshold = 4294967296", &["failure_threshold", "whole number of at least 1"]),
        tcp("success_threshold = \"1\"", &["check[2].success_threshold = \"1\"", "whole number of at least 1, as 1"]),
        tcp("send = [1]", &["check[2].send = [1]", "\"PING\\r\\n\""]),
        tcp("expect = \"\"", &["check[2].expect = \"\"", "empty", "+PONG"]),
        tcp("degraded_status = 2", &["check[2].degraded_status = 2", "for exec targets, as exec:pg_isready", "is tcp"]),
        tcp("degraded_free = \"5%\"", &["check[2].degraded_free", "for disk targets, as disk:/var/lib/app"]),
        exec("send = \"x\"", &["check[2].send = \"…\"", "for tcp targets, as tcp://redis:6379", "this one is exec"]),
        disk("expect = \"\"", &["check[2].expect = \"\"", "for tcp targets"]),
        check(
            "name = \"b\"\ntarget = \"https://h/\"\nunhealthy_free = 1",
            &["check[2].unhealthy_free = 1", "for disk targets", "this one is http"],
        ),
        exec("degraded_status = [0]", &["check[2].degraded_status = [0]", "1 to 255, as [2, 3]"]),
        exec("degraded_status = 256", &["check[2].degraded_status = 256", "1 to 255"]),
        exec("degraded_status = [2, \"3\"]", &["check[2].degraded_status = [2, \"3\"]", "1 to 255"]),
        disk("degraded_free = 20", &["check[2].degraded_free = 20", "a string, as \"20%\" or \"5GiB\""]),
        disk("degraded_free = \"20\"", &["check[2].degraded_free = \"20\"", "20%", "20GiB"]),
        disk("degraded_free = \"101%\"", &["check[2].degraded_free = \"101%\"", "more than 100%"]),
        disk("degraded_free = \"-5%\"", &["check[2].degraded_free = \"-5%\"", "as 20%", "5GiB or 500MB"]),
        disk("degraded_free = \"5G\"", &["check[2].degraded_free = \"5G\"", "5GiB or 500MB"]),
        disk("unhealthy_free = \"1e3\"", &["check[2].unhealthy_free = \"1e3\"", "5GiB or 500MB"]),
        disk("unhealthy_free = \"99999999TiB\"", &["check[2].unhealthy_free", "larger than any file system"]),
        disk(
            "degraded_free = \"5%\"",
            &["check[2].degraded_free = \"5%\"", "more than unhealthy_free, 10% by default"],
        ),
        disk(
            "unhealthy_free = \"20%\"",
            &["check[2].unhealthy_free = \"20%\"", "less than degraded_free, 20% by default"],
        ),
        disk(
            "degraded_free = \"500MB\"\nunhealthy_free = \"512MiB\"",
            &["check[2].degraded_free = \"500MB\"", "more than unhealthy_free, 512MiB"],
        ),
        file("check = \"a=disk:/\"", &["graceful.toml: check", "[[check]]", "name = \"redis\""]),
        file("[check]\nname = \"a\"", &["graceful.toml: check", "[[check]]"]),
        // Every problem of a table.
        check("name = \"b c\"\ntarget = \"h:1\"\ntimeout = 1\nnme = 1", &["check[2].name = \"b c\""])
            .and(&["check[2].target = \"h:1\"", "tcp://h:1"])
            .and(&["check[2].timeout = 1", "\"1s\""])
            .and(&["check[2].nme", "did you mean name?"]),
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
        line(&["sleep", "5x"], &["5x", "500ms, 5s or 2m"]),
        line(&["sleep", "1.2.3"], &["1.2.3", "unit"]),
        line(&["sleep", "-5s"], &["-5s", "negative"]),
        line(&["sleep"], &["sleep", "graceful sleep DUR"]),
        line(&["sleep", "5s", "six"], &["six", "500ms, 5s or 2m"]),
        line(&["sleep", "--grace-period", "5s"], &["--grace-period", "unknown option"]),
        line(&["probe", "--timeout", "5", "http://h/"], &["--timeout \"5\"", "with a unit, as 5s"]),
        line(&["probe", "http://h/", "--timeot", "5s"], &["--timeot", "did you mean --timeout?"]),
        line(&["probe", "--timeout", "5s", "--timeout", "6s", "http://h/"], &["--timeout", "more than once"]),
        line(&["probe", "--timeout", "fast", "h"], &["--timeout \"fast\"", "not a duration"])
            .and(&["probe h", "http://h"]),
        line(&["install"], &["install", "graceful install DIR"]),
        line(&["install", ""], &["install \"\"", "the path is empty", "graceful install DIR"]),
        line(&["install", "/a", "/b"], &["/b", "one argument too many", "graceful install DIR"]),
        line(&["instal", "/a"], &["did you mean: graceful install /a"]),
        line(&["completions", "bsh"], &["completions bsh", "did you mean bash?"]),
        line(&["completions"], &["graceful completions SHELL"]),
    ]);
}

#[test]
fn where_no_graceful_can_be_asked() {
    const ADDRESS: &str = "the path of graceful's control socket, as unix:/run/graceful-control.sock";
    let asked = |command: &str, contains: &[&'static str]| Row { args: words(&[command]), ..line(&[], contains) };
    all_refused(vec![
        line(&["reload", "--control", ":9090"], &["--control \":9090\"", ADDRESS]),
        line(&["reload", "--control", "unix:"], &["--control \"unix:\"", "the path is empty", ADDRESS]),
        line(&["reload", "--control", "unix:@name"], &["--control", "@name", "an abstract socket", "unix:./@name"]),
        line(&["reload", "--control", &format!("/{}", "x".repeat(107))], &["--control", "107 bytes at most", "108"]),
        line(&["reload", "--control"], &["--control", "needs a value", "--control PATH"]),
        line(&["reload", "--control", "/a", "--control", "/b"], &["--control", "more than once"]),
        line(&["reload", "--timeout", "5"], &["--timeout \"5\"", "with a unit, as 5s"]),
        line(&["reload", "--timeout", "0s"], &["--timeout \"0s\"", "longer than zero"]),
        line(&["reload", "--timeout", "x", "--control", "y"], &["--timeout \"x\"", "not a duration"])
            .and(&["--control \"y\"", ADDRESS]),
        line(&["reload", "web"], &["\"web\"", "too many", "graceful reload [OPTIONS]"]),
        line(&["reload", "--output", "json"], &["--output", "unknown option"]),
        line(&["status", "--control", "graceful.sock"], &["--control \"graceful.sock\"", ADDRESS]),
        line(&["status", "--output", "jsn"], &["--output \"jsn\"", "expected text or json", "did you mean json?"]),
        line(&["status", "--timeout", "5s"], &["--timeout", "unknown option"]),
        line(&["status", "/run/graceful.sock"], &["too many", "graceful status [OPTIONS]"]),
        line(&["relod"], &["\"relod\"", "did you mean: graceful reload"]),
        asked("reload", &["GRACEFUL_CONTROL=\":9090\"", ADDRESS]).with("GRACEFUL_CONTROL", ":9090"),
        asked("status", &["GRACEFUL_CONTROL=\"http://h/\"", ADDRESS]).with("GRACEFUL_CONTROL", "http://h/"),
    ]);
}

#[test]
fn what_cannot_be_probed() {
    const ADDRESS: &str = ":9090 or unix:/run/graceful.sock";
    all_refused(vec![
        line(&["probe", "redy"], &["probe redy", "live, ready or startup", "did you mean ready?"]),
        line(&["probe", "lives", ":9090"], &["probe lives", "live, ready or startup", "did you mean live?"]),
        line(&["probe", "web"], &["probe web", "http://web", ADDRESS]),
        line(&["probe", "/healthz"], &["probe /healthz", "http://127.0.0.1:8080/healthz", ADDRESS]),
        line(&["probe", "web:8080"], &["probe web:8080", "web is not an IP address", ADDRESS, "http://web:8080"]),
        line(&["probe", "127.0.0.1:99999"], &["probe 127.0.0.1:99999", "has no port from 0 to 65535", ADDRESS]),
        line(&["probe", ":0"], &["probe :0", "nobody listens on port 0", ":9090"]),
        line(&["probe", "live", "127.0.0.1:0"], &["probe live 127.0.0.1:0", "nobody listens on port 0"]),
        line(&["probe", "unix:"], &["probe unix:", "the path is empty", ADDRESS]),
        line(&["probe", ""], &["probe \"\"", "http://", ADDRESS]),
        line(&["probe", "live", "http://h/"], &["probe live http://h/", "without such a word", ADDRESS]),
        line(&["probe", "ready", "live"], &["probe ready live", ADDRESS]),
        line(
            &["probe", "live", ":1", ":2"],
            &["\":2\"", "too many", "graceful probe [OPTIONS] [live|ready|startup] [TARGET]"],
        ),
        line(&["probe", "http://h/", "live"], &["\"live\"", "too many"]),
        line(&["probe", "tcp://db"], &["probe tcp://db", "no port", "tcp://127.0.0.1:5432"]),
        line(&["probe", "tcp://db:0"], &["probe tcp://db:0", "has no port from 1 to 65535", "tcp://HOST:PORT"]),
        line(&["probe", "tcp://:5432"], &["probe tcp://:5432", "not a host", "tcp://HOST:PORT"]),
        line(&["probe", "tcp://amy@db:5432"], &["probe tcp://…@db:5432", "not a host"]),
        line(&["probe", "ftp://h/"], &["probe ftp://h/", "http://, https:// or tcp://"]),
        line(&["probe", "http://h:99999/"], &["probe http://h:99999/", "port"]),
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
        .and(&["GRACEFUL_HOLD=\"idel\"", "did you mean idle?"])
        .and(&["GRACEFUL_STOP_ON=\"KILL\"", "SIGKILL"])
        .with("GRACEFUL_HOLD", "idel")
        .with("GRACEFUL_STOP_ON", "KILL"),
        flags(&["--grace-period", "x", "--hold", "idel", "--bogus"], &["--grace-period \"x\""])
            .and(&["--hold \"idel\""])
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
        // Nor is a hook.
        flags(&["--startup-timeout", "9s", "--hook", "post-start=sh '"], &["--hook \"post-start=sh …\""]),
        file("startup_timeout = \"9s\"\n[[hook]]\nstage = \"post-start\"", &["hook[1]", "does nothing"]),
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

#[test]
fn restarts() {
    all_refused(vec![
        flags(&["--restart", "sometimes"], &["--restart \"sometimes\"", "expected never, on-failure or always"]),
        flags(&["--restart", "on_failure"], &["--restart \"on_failure\"", "did you mean on-failure?"]),
        flags(&["--restart", "always", "--restart", "never"], &["--restart", "2 times", "give it only once"]),
        variable("GRACEFUL_RESTART", "yes", &["GRACEFUL_RESTART=\"yes\"", "expected never, on-failure or always"]),
        file("restart = true", &["graceful.toml: restart", "expected a string", "as \"never\""]),
        flags(
            &["--restart-delay", "1s"],
            &["--restart-delay \"1s\"", "has no effect without --restart", "add --restart WHEN"],
        ),
        flags(&["--restart-delay-max", "1s"], &["--restart-delay-max \"1s\"", "has no effect without --restart"]),
        flags(&["--restart-limit", "3"], &["--restart-limit \"3\"", "has no effect without --restart"]),
        flags(
            &["--restart", "always", "--restart-delay", "0s"],
            &["--restart-delay \"0s\"", "longer than zero, as 1s"],
        ),
        flags(&["--restart", "always", "--restart-delay", "5"], &["--restart-delay \"5\"", "as 5s"]),
        flags(
            &["--restart", "always", "--restart-delay-max", "soon"],
            &["--restart-delay-max \"soon\"", "as 500ms, 5s or 2m"],
        ),
        flags(
            &["--restart", "always", "--restart-delay", "10s", "--restart-delay-max", "5s"],
            &["--restart-delay \"10s\"", "must not be longer than --restart-delay-max, 5s"],
        ),
        flags(
            &["--restart", "always", "--restart-limit", "0"],
            &["--restart-limit \"0\"", "a number of at least 1, as 5"],
        ),
        flags(&["--restart", "always", "--restart-limit", "-1"], &["--restart-limit \"-1\"", "a number of at least 1"]),
        flags(
            &["--restart", "always", "--restart-limit", "many"],
            &["--restart-limit \"many\"", "a number of at least 1"],
        ),
        file(
            "restart = \"always\"\nrestart_limit = 0",
            &["graceful.toml: restart_limit", "a number of at least 1, as 5"],
        ),
        file(
            "restart = \"always\"\nrestart_delay = 5",
            &["graceful.toml: restart_delay", "expected a string, as \"5s\""],
        ),
        // What depends on one that is wrong is not judged.
        flags(&["--restart", "x", "--restart-limit", "3"], &["--restart \"x\""]),
    ]);
}

#[test]
fn reloads() {
    let on = ["--reload-on", "HUP"];
    let with = |more: &[&'static str], contains| flags(&[&on[..], more].concat(), contains);
    let url = ["--reload-ready", "url"];
    let asked = |more: &[&'static str], contains| flags(&[&on[..], &url, more].concat(), contains);
    all_refused(vec![
        flags(&["--reload-on", "RELOAD"], &["--reload-on \"RELOAD\"", "no such signal"]),
        flags(&["--reload-on", "HPU"], &["--reload-on \"HPU\"", "did you mean SIGHUP?"]),
        flags(&["--reload-on", "0"], &["--reload-on \"0\"", "no such signal", "from 1 to 64"]),
        flags(&["--reload-on", "KILL"], &["--reload-on \"KILL\"", "no process can catch SIGKILL"]),
        flags(&["--reload-on", "STOP"], &["--reload-on \"STOP\"", "no process can catch SIGSTOP"]),
        flags(&["--reload-on", "CHLD"], &["--reload-on \"CHLD\"", "cannot mean anything else"]),
        flags(&["--reload-on", "TERM"], &["--reload-on \"TERM\"", "SIGTERM begins a stop (--stop-on)", "as HUP"]),
        flags(&["--reload-on", "INT"], &["--reload-on \"INT\"", "SIGINT begins a stop"]),
        with(&["--stop-on", "HUP"], &["--reload-on \"HUP\"", "SIGHUP begins a stop (--stop-on)"]),
        with(&["--reload-on", "USR1"], &["--reload-on", "2 times", "give it only once"]),
        flags(&["--reload-on", ""], &["--reload-on", "no such signal"]),
        variable("GRACEFUL_RELOAD_ON", "yes", &["GRACEFUL_RELOAD_ON=\"yes\"", "no such signal"]),
        file("reload_on = true", &["graceful.toml: reload_on", "expected a string", "as \"HUP\""]),
        file("reload_on = \"TERM\"", &["graceful.toml: reload_on", "begins a stop"]),
        flags(
            &["--reload-ready", "2s"],
            &["--reload-ready \"2s\"", "has no effect without --reload-on", "add --reload-on SIG"],
        ),
        flags(&["--reload-ready", "2s", "--reload-on", "none"], &["--reload-ready \"2s\"", "without --reload-on"]),
        flags(
            &["--listen", ":8000", "--reload-on", "none", "--reload-ready", "2s"],
            &["--reload-ready \"2s\"", "has no effect without --reload-on"],
        ),
        flags(
            &["--listen", ":8000", "--stop-on", "HUP", "--reload-ready", "2s"],
            &["--reload-ready \"2s\"", "has no effect without --reload-on"],
        ),
        with(&["--reload-ready", "soon"], &["--reload-ready \"soon\"", "expected notify, url or a duration, as 2s"]),
        with(&["--reload-ready", "ulr"], &["--reload-ready \"ulr\"", "did you mean url?"]),
        with(&["--reload-ready", "URL"], &["--reload-ready \"URL\"", "expected notify, url or a duration"]),
        with(&["--reload-ready", "2"], &["--reload-ready \"2\"", "a duration with a unit, as 2s"]),
        with(&["--reload-ready", "-2s"], &["--reload-ready \"-2s\"", "cannot be negative"]),
        with(&["--reload-ready", "2 fortnights"], &["--reload-ready \"2 fortnights\"", "as 500ms, 5s or 2m"]),
        with(&["--reload-ready", "200y"], &["--reload-ready \"200y\"", "longer than 100 years"]),
        with(&["--reload-ready", "1s", "--reload-ready", "2s"], &["--reload-ready", "2 times", "give it only once"]),
        variable(
            "GRACEFUL_RELOAD_READY",
            "true",
            &["GRACEFUL_RELOAD_READY=\"true\"", "expected notify, url or a duration"],
        ),
        file("reload_on = \"HUP\"\nreload_ready = 2", &["graceful.toml: reload_ready", "expected a string"]),
        asked(&[], &["--reload-ready \"url\"", "has no effect without --ready-url", "add --ready-url URL"]),
        asked(
            &["--ready-url", "http://127.0.0.1:8000/"],
            &["--reload-ready \"url\"", "expected a --ready-url of 127.0.0.1 and a TCP port of --listen"],
        ),
        asked(
            &["--ready-url", "http://127.0.0.1:8000/", "--listen", ":8001"],
            &["--reload-ready \"url\"", "a TCP port of --listen"],
        ),
        asked(
            &["--ready-url", "http://[::1]:8000/", "--listen", ":8000"],
            &["--reload-ready \"url\"", "a --ready-url of 127.0.0.1"],
        ),
        asked(
            &["--ready-url", "http://web:8000/", "--listen", ":8000"],
            &["--reload-ready \"url\"", "a --ready-url of 127.0.0.1"],
        ),
        flags(
            &["--control", "/run/graceful-control.sock"],
            &["--control \"/run/graceful-control.sock\"", "expected unix:PATH"],
        ),
        flags(&["--control", "unix:"], &["--control \"unix:\"", "as unix:/run/graceful-control.sock, or none"]),
        flags(&["--control", ":9091"], &["--control \":9091\"", "expected unix:PATH"]),
        flags(&["--control", "unix:/no/such/folder/s"], &["--control", "/no/such/folder"]),
        flags(&["--control", "none", "--control", "none"], &["--control", "2 times", "give it only once"]),
        file("control = 9091", &["graceful.toml: control", "expected a string"]),
        // What depends on one that is wrong is not judged.
        flags(&["--reload-on", "x", "--reload-ready", "2s"], &["--reload-on \"x\""]),
        asked(&["--ready-url", "x"], &["--ready-url \"x\""]),
    ]);
}

#[test]
fn liveness() {
    let url = ["--live-url", "http://h/"];
    let with = |more: &[&'static str], contains| flags(&[&url[..], more].concat(), contains);
    all_refused(vec![
        flags(&["--live-url", "localhost"], &["--live-url \"localhost\"", "http://"]),
        flags(
            &["--live-interval", "1s"],
            &["--live-interval \"1s\"", "has no effect without --live-url", "add --live-url URL"],
        ),
        flags(&["--live-timeout", "1s"], &["--live-timeout \"1s\"", "has no effect without --live-url"]),
        flags(&["--live-threshold", "3"], &["--live-threshold \"3\"", "has no effect without --live-url"]),
        flags(&["--live-action", "stop"], &["--live-action \"stop\"", "has no effect without --live-url"]),
        with(&["--live-interval", "0s"], &["--live-interval \"0s\"", "longer than zero"]),
        with(&["--live-timeout", "0s"], &["--live-timeout \"0s\"", "longer than zero"]),
        with(&["--live-threshold", "0"], &["--live-threshold \"0\"", "a number of at least 1, as 5"]),
        with(&["--live-action", "kill"], &["--live-action \"kill\"", "report, stop or restart"]),
        file(
            "live_url = \"http://h/\"\nlive_threshold = \"x\"",
            &["graceful.toml: live_threshold", "a number of at least 1"],
        ),
        variable("GRACEFUL_LIVE_URL", "ftp://h/", &["GRACEFUL_LIVE_URL=\"ftp://h/\""]),
        // --live-action restart is what the others hang on, too.
        with(&["--restart-limit", "3", "--live-action", "stop"], &["--restart-limit \"3\"", "without --restart"]),
    ]);
}

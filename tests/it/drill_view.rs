//! What a drill shows to a person: the short result, all of it, one line; on a terminal and in a pipe, with colours and without;
//! and the live view, of which nothing stays.

use crate::support::pty::{CTRL_C, Terminal};
use crate::support::run::folder;
use crate::support::{Exit, Proc, app, free_port, graceful_command, python3, wait_http};
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

const DRILL: Duration = Duration::from_secs(60);
/// A drill of a second, with a load that can be counted.
const SHORT: [&str; 6] = ["--before", "500ms", "--lb-lag", "500ms", "--mix", "slow=1,stream=0,idle=1"];

fn command(args: &[&str]) -> Command {
    let mut command = graceful_command();
    command.arg("drill").args(SHORT).args(args);
    command
}

/// Runs it with pipes: exit status, stdout, stderr.
fn piped(args: &[&str]) -> (Exit, String, String) {
    Proc::spawn_group(&mut command(args)).wait_output(DRILL)
}

/// On a terminal whose TERM is this, with this NO_COLOR; what the terminal got.
fn on_terminal(args: &[&str], term: &str, no_color: &str) -> String {
    let mut command = command(args);
    command.env("NO_COLOR", no_color);
    let terminal = Terminal::start_as(&mut command, term);
    terminal.wait();
    // The verdict is written last, and the process may be over before it is read.
    terminal.whole_output()
}

/// What is on the screen in the end: lines, as a terminal of 80 columns shows them.
fn screen(output: &str) -> Vec<String> {
    let mut lines = vec![Vec::new()];
    let (mut row, mut column) = (0, 0);
    let mut chars = output.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' => column = 0,
            '\n' => {
                (row, column) = (row + 1, 0);
                if row == lines.len() {
                    lines.push(Vec::new());
                }
            }
            '\x1b' => {
                assert_eq!(chars.next(), Some('['), "{output:?}");
                let mut code = String::new();
                while let Some(c) = chars.next_if(|c| c.is_ascii_digit() || *c == ';' || *c == '?') {
                    code.push(c);
                }
                match chars.next() {
                    Some('m') => {}
                    Some('K') => lines[row].truncate(if code == "2" { 0 } else { column }),
                    Some('A') => row -= code.parse().unwrap_or(1).min(row),
                    Some('B') => row = (row + code.parse().unwrap_or(1)).min(lines.len() - 1),
                    other => panic!("ESC [ {code} {other:?} in {output:?}"),
                }
            }
            c => {
                while lines[row].len() <= column {
                    lines[row].push(' ');
                }
                lines[row][column] = c;
                column += 1;
            }
        }
    }
    lines.into_iter().map(|line: Vec<char>| line.into_iter().collect::<String>().trim_end().to_owned()).collect()
}

#[test]
fn by_default_it_says_what_to_do_something_about() {
    let (exit, stdout, stderr) = piped(&["--demo=no-handler", "--bare"]);
    assert_eq!((exit, stderr.as_str()), (Exit::Code(1), ""), "{stdout}");
    assert!(stdout.starts_with("FAILED  ") && stdout.contains("requests dropped"), "{stdout}");
    assert!(stdout.contains("\n  why     ") && stdout.contains("\n  fix     "), "{stdout}");
    // Each failed check is named, and none that passed.
    let named: Vec<&str> = stdout.lines().filter(|line| line.starts_with("  fails   ")).collect();
    assert!(named.iter().any(|line| line.contains("zero-dropped")), "{stdout}");
    assert!(!stdout.contains("gone-after") && !stdout.contains("the load begins"), "{stdout}");
    assert!(stdout.contains("\n        new  ") && stdout.contains("S stop"), "{stdout}");
    assert!(stdout.lines().all(|line| line.chars().count() <= 80), "{stdout}");
    assert!(!stdout.contains('\u{1b}'), "no colour in a pipe\n{stdout}");
}

#[test]
fn verbose_shows_all_of_it() {
    for flag in ["-v", "--verbose"] {
        let (exit, stdout, stderr) = piped(&["--demo=no-handler", "--bare", flag]);
        assert_eq!((exit, stderr.as_str()), (Exit::Code(1), ""), "{stdout}");
        for part in
            ["FAILED  ", "  why     ", "the load begins", "  latency  before the stop p50", "  pass  gone-after"]
        {
            assert!(stdout.contains(part), "no {part:?} in\n{stdout}");
        }
        assert!(stdout.lines().all(|line| line.chars().count() <= 80), "{stdout}");
    }
}

#[test]
fn quiet_is_one_line() {
    for flag in ["-q", "--quiet"] {
        let (exit, stdout, stderr) = piped(&["--demo=no-handler", "--bare", "--repeat", "2", flag]);
        assert_eq!((exit, stderr.as_str()), (Exit::Code(1), ""), "{stdout}");
        assert!(stdout.starts_with("FAILED  ") && stdout.lines().count() == 1, "{stdout}");
    }
}

#[test]
fn rounds_are_told_as_they_end_and_the_worst_is_shown() {
    let (exit, stdout, _) = piped(&["--demo", "--bare", "--repeat", "2"]);
    assert_eq!(exit, Exit::Code(1), "{stdout}");
    let rounds: Vec<&str> = stdout.lines().take_while(|line| !line.is_empty()).collect();
    assert_eq!(rounds.len(), 2, "{stdout}");
    for (line, head) in rounds.iter().zip(["1 of 2  bare  FAILED  ", "2 of 2  bare  FAILED  "]) {
        assert!(line.starts_with(head) && line.contains(" dropped, exit +"), "{stdout}");
    }
    assert_eq!(stdout.matches("S stop, ").count(), 1, "one chart\n{stdout}");
}

#[test]
fn a_document_on_stdout_has_it_for_itself() {
    let (exit, stdout, stderr) = piped(&["--demo", "--bare", "--output", "json=/dev/stdout"]);
    assert_eq!(exit, Exit::Code(1), "{stderr}");
    let document: serde_json::Value = serde_json::from_str(&stdout).expect("nothing but JSON");
    assert_eq!(document["verdict"], "failed");
    assert!(stderr.starts_with("FAILED  "), "{stderr}");
}

#[test]
fn a_load_without_a_stop_shows_none() {
    let port = crate::support::free_port();
    let mut app = Command::new(crate::support::graceful());
    let app = Proc::spawn_group(app.args(["demo-app", &format!("127.0.0.1:{port}")]));
    app.wait_line("serving", crate::support::DEADLINE);
    let (exit, stdout, stderr) = piped(&["--no-stop", "-v", "--url", &format!("http://127.0.0.1:{port}/")]);
    assert_eq!((exit, stderr.as_str()), (Exit::Code(0), ""), "{stdout}");
    assert!(stdout.contains("the load begins") && stdout.contains("        new  "), "{stdout}");
    assert!(!stdout.contains("S stop") && !stdout.contains("the stop") && !stdout.contains(" s  stop"), "{stdout}");
}

#[test]
fn the_live_view_counts_and_leaves_nothing() {
    let args = ["--demo=no-handler", "--bare"];
    let output = on_terminal(&args, "xterm-256color", "");
    for phase in ["load  ", "over  "] {
        assert!(output.contains(phase), "no {phase:?} in {output:?}");
    }
    for part in ["/s  ", " ok  ", " dropped  ", " in flight", " left"] {
        assert!(output.contains(part), "no {part:?} in {output:?}");
    }
    assert!(output.contains("\u{1b}[1;31mFAILED"), "colours: {output:?}");
    let screen = screen(&output);
    assert!(screen[0].starts_with("FAILED  "), "{}", screen.join("\n"));
    assert!(!screen.iter().any(|line| line.contains(" in flight")), "{}", screen.join("\n"));
    assert!(!output.contains("\u{1b}[?25l"), "a cursor that is hidden can stay hidden");
}

#[test]
fn no_color_and_a_dumb_terminal_are_honoured() {
    let args = ["--demo=no-handler", "--bare"];
    let output = on_terminal(&args, "xterm-256color", "1");
    let coloured = output.split('\u{1b}').skip(1).any(|rest| {
        rest.trim_start_matches(['[', ';', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']).starts_with('m')
    });
    assert!(output.contains(" in flight") && !coloured, "{output:?}");
    let output = on_terminal(&args, "dumb", "");
    assert!(!output.contains(" in flight") && !output.contains('\u{1b}') && !output.contains('\r'), "{output:?}");
    let output = on_terminal(&["--demo=no-handler", "--bare", "-q"], "xterm-256color", "1");
    assert!(!output.contains(" in flight") && output.lines().count() == 1, "{output:?}");
}

#[test]
fn ctrl_c_leaves_a_clean_terminal() {
    let mut command = graceful_command();
    command.args(["drill", "--demo", "--before", "50s"]).env("NO_COLOR", "");
    let terminal = Terminal::start_as(&mut command, "xterm-256color");
    terminal.expect(" in flight");
    terminal.type_text(CTRL_C);
    assert_eq!(terminal.wait(), Exit::Code(130), "{}", terminal.dump());
    terminal.expect("graceful: error: SIGINT");
    let screen = screen(&terminal.output());
    assert!(screen[0].starts_with("graceful: error: SIGINT"), "{}", screen.join("\n"));
    assert!(terminal.is_cooked(), "the terminal's modes are as they were");
}

#[test]
fn an_output_that_cannot_be_written_is_told_before_the_drill() {
    let files = folder();
    let path = |name: &str| files.path().join(name).to_string_lossy().into_owned();
    std::os::unix::fs::symlink("elsewhere", path("link.html")).expect("made");
    std::fs::create_dir(path("folder")).expect("made");
    std::fs::write(path("file"), "").expect("written");
    let wrong = [
        (format!("html={}", path("link.html")), "is a symbolic link, which is not followed"),
        (format!("json={}", path("folder")), "is a directory; expected the path of a file"),
        (format!("json={}", path("no/drill.json")), "does not exist; expected a directory that exists"),
        (format!("json={}", path("file/drill.json")), "is not a directory"),
        ("json=/proc/drill.json".to_owned(), "/proc/drill.json cannot be"),
    ];
    for (output, why) in &wrong {
        // Had it begun, it would fail for want of an app.
        let (exit, stdout, stderr) = piped(&["--output", output, "--", "no-such-program"]);
        assert_eq!((exit, stdout.as_str()), (Exit::Code(2), ""), "{output}: {stderr}");
        assert!(
            stderr.contains("--output") && stderr.contains(why) && stderr.lines().count() == 1,
            "{output}: {stderr}"
        );
    }
    let twice = format!("json={}", path("drill"));
    let (exit, _, stderr) =
        piped(&["--output", &twice, "--output", &twice.replace("json", "html"), "--", "no-such-program"]);
    assert_eq!(exit, Exit::Code(2), "{stderr}");
    assert!(stderr.contains("is given for two outputs"), "{stderr}");
    // Looking leaves nothing behind.
    let mut left: Vec<_> =
        std::fs::read_dir(files.path()).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    left.sort();
    assert_eq!(left, ["file", "folder", "link.html"]);
}

/// The lines of the drill's own log.
fn details(stderr: &str) -> Vec<&str> {
    stderr.lines().filter_map(|line| line.strip_prefix("graceful: ")).collect()
}

/// Each of these is part of a line, in this order.
#[track_caller]
fn are_told(lines: &[&str], wanted: &[&str]) {
    let mut rest = lines.iter();
    for part in wanted {
        assert!(rest.any(|line| line.contains(part)), "no {part:?}, in this order, in\n{}", lines.join("\n"));
    }
}

#[test]
fn debug_tells_why_a_drill_decides_as_it_does() {
    let port = free_port();
    let app = [&python3(), &app("bare.py"), &port.to_string()].map(String::clone);
    let app: Vec<&str> = app.iter().map(String::as_str).collect();
    let drill = |options: &[&str]| piped(&[options, &["--"], &app].concat());
    let (exit, stdout, stderr) = drill(&["--bare", "--log-level", "debug"]);
    assert_eq!(exit, Exit::Code(1), "{stdout}{stderr}");
    let found = format!("nobody said where the app listens: it is http://127.0.0.1:{port}/");
    let listens = format!("the app listens on [{port}], in pids [");
    are_told(
        &details(&stderr),
        &[
            "the drill begins: the app runs alone, as pid ",
            "no load yet: ",
            &found,
            "every target answers: the load begins",
            &listens,
            "it ended ",
            "the load balancer's lag is over, ",
            "check zero-dropped: Fail, ",
            "the drill is over: Failed, ",
        ],
    );
    assert!(stdout.starts_with("FAILED  "), "{stdout}");
    // The levels above it tell nothing of this, and neither does a drill without the option.
    let (_, _, stderr) = drill(&["--bare", "--log-level", "info"]);
    assert_eq!(stderr, "");
}

#[test]
fn debug_leaves_a_document_on_stdout_as_it_is() {
    let (exit, stdout, stderr) =
        piped(&["--demo", "--bare", "--output", "json=/dev/stdout", "--log-level=debug", "--log-format=json"]);
    assert_eq!(exit, Exit::Code(1), "{stdout}{stderr}");
    let document: Value = serde_json::from_str(&stdout).expect("a document and nothing else");
    assert_eq!(document["verdict"], "failed");
    let lines: Vec<Value> = stderr.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let found = |event: &str| lines.iter().find(|line| line["event"] == event).unwrap_or_else(|| panic!("{stderr}"));
    assert_eq!((&found("drill_started")["way"], &found("drill_started")["level"]), (&json!("Bare"), &json!("debug")));
    assert!(found("drill_stops").get("since_stop_s").is_none(), "{stderr}");
    assert!(found("drill_ended")["since_stop_s"].is_f64(), "{stderr}");
    assert!(found("drill_check")["evidence"].is_string(), "{stderr}");
}

#[test]
fn debug_names_the_first_sign_of_a_stop_that_a_command_makes() {
    let port = free_port();
    let app = Proc::spawn(graceful_command().args(["demo-app", &format!("127.0.0.1:{port}")]));
    wait_http(port, "/", DRILL);
    let (url, stop) = (format!("http://127.0.0.1:{port}/"), format!("kill -TERM {}; sleep 0.5", app.pid()));
    let (_, stdout, stderr) = piped(&["--url", &url, "--stop-command", &stop, "--log-level", "debug"]);
    are_told(
        &details(&stderr),
        &[
            "the drill begins: a command is to stop something",
            "the stop begins",
            "first sign of the stop, ",
            "the load balancer's lag is over, ",
            "check zero-dropped: ",
        ],
    );
    assert!(!stdout.contains("first sign"), "{stdout}");
    app.wait(DRILL);
}

#[test]
fn a_terminal_with_details_has_no_live_view() {
    let output = on_terminal(&["--demo", "--bare", "--log-level", "debug"], "xterm-256color", "");
    assert!(output.contains("graceful: every target answers"), "{output}");
    assert!(!output.contains('━'), "{output}");
}

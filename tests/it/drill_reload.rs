//! `graceful drill --reload`: the app is reloaded under load instead of stopped, and must stay up.

use crate::support::run::{folder, python, shell, words};
use crate::support::{Exit, Proc, apps, free_port, graceful_command, venv};
use serde_json::Value;
use std::time::Duration;

const DRILL: Duration = Duration::from_secs(60);

/// The drill of the document, and all that was said.
#[track_caller]
fn drilled(options: &[&str], command: &[String]) -> (Exit, Value, String) {
    let folder = folder();
    let json = folder.path().join("drill.json");
    let mut drill = graceful_command();
    drill
        .args(["drill", "--reload", "--lb-lag", "1s", "--rate", "60", "--output"])
        .arg(format!("json={}", json.display()));
    let (exit, stdout, stderr) = Proc::spawn_group(drill.args(options).arg("--").args(command)).wait_output(DRILL);
    let document = std::fs::read_to_string(json).unwrap_or_default();
    let document: Value = serde_json::from_str(&document).unwrap_or_default();
    (exit, document["drills"][0].clone(), format!("{stdout}\n{stderr}"))
}

#[track_caller]
fn fails(seen: (Exit, Value, String), cause: &str, evidence: &str, fix: &str) {
    let (exit, drill, text) = seen;
    assert_eq!((exit, &drill["dropped"]), (Exit::Code(1), &0.into()), "{text}");
    let checks = drill["checks"].as_array().expect("a list");
    let check = checks.iter().find(|check| check["name"] == "reloaded").expect("it is there");
    assert_eq!((&check["result"], &check["causes"]), (&"fail".into(), &Value::from(vec![cause])), "{text}");
    assert!(check["evidence"].as_str().is_some_and(|said| said.contains(evidence)), "{check}\n{text}");
    assert!(drill["findings"][0]["fix"].as_str().is_some_and(|said| said.contains(fix)), "{text}");
}

#[test]
fn a_server_that_takes_the_socket_passes() {
    let Some(venv) = venv() else { return };
    let at = format!("127.0.0.1:{}", free_port());
    let url = format!("http://{at}/");
    let ready = ["--listen", &at, "--ready-url", &url, "--reload-ready", "url"];
    // A kept connection that uvicorn closes while its client sends is lost whoever stops it, now and then.
    let mix = ["--mix", "new=1,hot=0,idle=0,slow=3,stream=0"];
    let options = [&["--repeat", "2", "--slow-target", "/slow?seconds=1"][..], &ready, &mix].concat();
    let command = words(&[&venv.program("uvicorn"), "--fd", "3", "--app-dir", &apps(), "fastapi_app:app"]);
    let (exit, drill, text) = drilled(&options, &command);
    assert_eq!((exit, &drill["dropped"]), (Exit::Code(0), &0.into()), "{text}");
    assert!(text.contains("PASSED") && text.contains("graceful reload"), "{text}");
    let checks = drill["checks"].as_array().expect("a list");
    let passed: Vec<&str> =
        checks.iter().filter(|one| one["result"] == "pass").filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(passed, ["zero-dropped", "in-flight", "served-in-window", "reloaded"], "{text}");
}

/// It binds what graceful has bound for it, or what the old run has.
#[test]
fn a_server_that_does_not_take_the_socket_is_told_how() {
    let Some(venv) = venv() else { return };
    let port = free_port().to_string();
    let url = format!("http://127.0.0.1:{port}/");
    let command = words(&[&venv.program("uvicorn"), "--port", &port, "--app-dir", &apps(), "fastapi_app:app"]);
    let seen = drilled(&["--url", &url, "--reload-ready", "10s"], &command);
    fails(seen, "socket-not-taken", "ended before it was ready", "uvicorn --fd 3");
}

#[test]
fn a_new_run_that_crashes_fails_it() {
    let server = python(
        "
import http.server, os, socket, sys
if os.environ['GRACEFUL_GENERATION'] != '1': sys.exit(5)
server = http.server.ThreadingHTTPServer(('', 0), http.server.SimpleHTTPRequestHandler, bind_and_activate=False)
server.socket = socket.socket(fileno=3)
server.serve_forever()
",
    );
    let seen = drilled(&["--reload-ready", "10s"], &server);
    fails(seen, "reload-failed", "generation 2 ended before it was ready (exit status 5)", "--show-output");
}

#[test]
fn wrong_usage_is_told() {
    let rows: [(&[&str], &[&str]); 7] = [
        (&["--demo"], &["--reload and --demo: cannot be used together"]),
        (&["--bare", "--", "true"], &["--reload and --bare: cannot be used together"]),
        (&["--compare", "--", "true"], &["--reload and --compare"]),
        (&["--tune", "--", "true"], &["--reload and --tune"]),
        (&["--no-stop", "--url", "http://h/"], &["--reload: has no effect without a command; add -- COMMAND"]),
        (&["--control", "none", "--", "true"], &["--reload and --control", "leave out --control"]),
        (&["--reload-on", "USR1", "--", "true"], &["--reload and --reload-on", "leave out --reload-on"]),
    ];
    for (args, parts) in rows {
        let (exit, _, stderr) =
            Proc::spawn_group(graceful_command().args(["drill", "--reload"]).args(args)).wait_output(DRILL);
        assert_eq!(exit, Exit::Code(2), "{args:?}: {stderr}");
        for part in parts {
            assert!(stderr.contains(part), "{args:?}: no {part:?} in {stderr}");
        }
    }
    // A worker is drilled otherwise.
    let (exit, _, stderr) = Proc::spawn_group(
        graceful_command().args(["drill", "--reload", "--submit", "true", "--done", "true", "--"]).args(shell("true")),
    )
    .wait_output(DRILL);
    assert_eq!(exit, Exit::Code(2), "{stderr}");
}

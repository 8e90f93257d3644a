//! What a drill must not conclude: a pass that is owed to luck, an answer whose end nobody knows, a stop that failures before
//! it hide, and what a graceful that is there already is told.

use crate::drill_advice::{LOAD, drilled, with};
use crate::support::run::words;
use crate::support::{DEADLINE, Exit, Proc, address, app, free_port, graceful, graceful_command, python3};
use serde_json::Value;

fn url(port: u16) -> String {
    format!("--url=http://127.0.0.1:{port}/")
}

/// The load is without a pause, and so the hold is.
#[test]
fn a_pass_that_only_the_hold_gave_says_so() {
    let own = graceful().to_string_lossy().into_owned();
    let seen = |delay: &str| {
        let port = free_port();
        let options = [words(&LOAD), words(&[&url(port), "--slow-target=/slow?ms=800", delay])].concat();
        let seen = drilled(&options, &words(&[&own, "demo-app", &address(port).to_string(), "--fault=no-handler"]));
        seen.passes();
        let remarks = seen.document["drills"][0]["remarks"].as_array().expect("a list").clone();
        remarks.iter().any(|remark| remark.as_str().is_some_and(|said| said.starts_with("only the hold kept the app")))
    };
    assert!(seen("--pre-stop-delay=0s"));
    assert!(!seen("--pre-stop-delay=800ms"), "a delay as long as the lag needs no luck");
}

/// Half of it was sent, and then the connection ended as it does after a whole one.
#[test]
fn an_answer_whose_end_nobody_knows_is_no_pass() {
    let port = free_port();
    let server = words(&[&python3(), &app("odd.py"), &port.to_string(), "--stop", "die", "--until-eof"]);
    let load = ["--lb-lag=0s", "--mix=new=1,hot=0,idle=0,slow=4,stream=0", "--slow-target=/slow?seconds=0.8", "--bare"];
    let seen = drilled(&with(&words(&LOAD), &words(&[&[&*url(port)], &load[..]].concat())), &server);
    let drill = &seen.document["drills"][0];
    assert!(drill["counts"]["untold"].as_u64() >= Some(1), "{}", seen.text);
    // One that had just begun is dropped, and that is a failure.
    let expected = if drill["dropped"] == 0 { ("inconclusive", Exit::Code(3)) } else { ("failed", Exit::Code(1)) };
    assert_eq!((drill["verdict"].as_str(), seen.code), (Some(expected.0), expected.1), "{}", seen.text);
}

#[test]
fn failures_before_the_stop_may_be_tolerated_and_those_after_it_are_judged() {
    let drill = |tolerate: &str| {
        let port = free_port();
        // The second request fails: the first is that of the drill itself, which waits for a good answer.
        let text = "import http.server, sys\n\
                    class Handler(http.server.BaseHTTPRequestHandler):\n    \
                        count = 0\n    \
                        def do_GET(self):\n        \
                            Handler.count += 1\n        \
                            self.send_response(500 if Handler.count == 2 else 200)\n        \
                            self.send_header('Content-Length', '0'); self.end_headers()\n    \
                        def log_message(self, *_): pass\n\
                    http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()\n";
        let server = words(&[&python3(), "-c", text, &port.to_string()]);
        let load = words(&[&url(port), "--mix=new=1,hot=0,idle=0,slow=0,stream=0", "--bare", tolerate]);
        drilled(&with(&words(&LOAD), &load), &server)
    };
    let strict = drill("--tolerate=0");
    assert_eq!(strict.code, Exit::Code(3), "{}", strict.text);
    let why = strict.document["drills"][0]["inconclusive"].as_str().unwrap_or_default();
    assert!(why.contains("already failed before the stop (new: 500") && why.contains("--tolerate 1"), "{why}");
    let tolerant = drill("--tolerate=1");
    assert_eq!(tolerant.code, Exit::Code(1), "{}", tolerant.text);
    assert!(tolerant.document["drills"][0]["dropped"].as_u64() > Some(5), "{}", tolerant.text);
}

/// It is told what to set, not to take what it has; and with that it passes.
#[test]
fn a_graceful_that_is_there_is_not_told_to_be_taken() {
    let stopped = |flags: &[String]| {
        let port = free_port();
        let mut command = graceful_command();
        command.args(flags).arg("--").arg(graceful()).args([
            "demo-app",
            &address(port).to_string(),
            "--fault=no-handler",
        ]);
        let process = Proc::spawn_group(&mut command);
        process.wait_line("serving", DEADLINE);
        let own = words(&[&url(port), "--slow-target=/slow?ms=800", "--pid", &process.pid().to_string()]);
        drilled(&[words(&LOAD), own].concat(), &[])
    };
    let first = words(&["--hold=never", "--pre-stop-delay=0s"]);
    let seen = stopped(&first);
    assert_eq!(seen.code, Exit::Code(1), "{}", seen.text);
    for finding in seen.findings() {
        let fix = finding["fix"].as_str().expect("a fix");
        assert!(!fix.contains("run it"), "{fix}\n{}", seen.text);
    }
    assert_eq!(seen.flags(), ["--hold=idle", "--pre-stop-delay=800ms"], "{}", seen.text);
    let seen = stopped(&with(&first, &seen.flags()));
    seen.passes();
    assert_eq!(seen.document["drills"][0]["checks"][0]["causes"], Value::Null, "a pass has none");
}

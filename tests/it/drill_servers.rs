//! `graceful drill` on real servers, beside clients that count for themselves: both see the same, and what the drill says of
//! the cause is what the server is known to do.

use crate::support::drill::{Drilled, drill};
use crate::support::run::{folder, words};
use crate::support::stopping::Site;
use crate::support::{
    DEADLINE, Exit, Proc, address, app, apps, free_port, graceful, graceful_command, python3, sites, wait_http,
};
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

const SLOW: &str = "/slow?seconds=1.5";

fn bare(port: u16, options: &[&str], command: &[String]) -> Drilled {
    drill(port, &[&["--bare"], options].concat(), SLOW, 3, command)
}

fn node(script: &str) -> Option<Drilled> {
    let (node, port) = (crate::support::node()?.to_string_lossy().into_owned(), free_port());
    Some(bare(port, &[], &words(&[&node, &app(script), &port.to_string()])))
}

/// A stop of this app under graceful with a delay over the lag passes at the first try.
#[track_caller]
fn passes_at_once(port: u16, command: &[String]) {
    let mut drill = graceful_command();
    let url = format!("http://127.0.0.1:{port}/");
    drill.args(["drill", "--before", "1s", "--lb-lag", "1s", "--pre-stop-delay", "1500ms", "--url", &url, "--"]);
    let (exit, stdout, stderr) = Proc::spawn_group(drill.args(command)).wait_output(DEADLINE);
    assert_eq!(exit, Exit::Code(0), "{stdout}\n{stderr}");
    assert!(stdout.starts_with("PASSED"), "{stdout}");
}

fn python_server_passes_at_once(program: &str, arguments: &[&str]) {
    let (Some(venv), port) = (crate::support::venv(), free_port()) else { return };
    let with_port = |argument: &&str| argument.replace("PORT", &port.to_string());
    let mut command = words(&["env", &format!("PYTHONPATH={}", apps()), &venv.program(program)]);
    command.extend(arguments.iter().map(with_port));
    passes_at_once(port, &command);
}

#[test]
fn uvicorn_passes_at_once() {
    python_server_passes_at_once("uvicorn", &["--port", "PORT", "fastapi_app:app"]);
}

/// Its workers' resource_tracker outlives it for some milliseconds.
#[test]
fn uvicorn_with_workers_passes_at_once() {
    python_server_passes_at_once("uvicorn", &["--port", "PORT", "--workers", "2", "fastapi_app:app"]);
}

#[test]
fn hypercorn_passes_at_once() {
    python_server_passes_at_once("hypercorn", &["--bind", "127.0.0.1:PORT", "fastapi_app:app"]);
}

#[test]
fn flask_passes_at_once() {
    python_server_passes_at_once("flask", &["--app", "flask_app", "run", "--port", "PORT"]);
}

#[test]
fn waitress_passes_at_once() {
    python_server_passes_at_once("waitress-serve", &["--listen", "127.0.0.1:PORT", "flask_app:app"]);
}

#[test]
fn pythons_own_server_passes_at_once() {
    let port = free_port();
    passes_at_once(port, &words(&[&python3(), "-m", "http.server", &port.to_string()]));
}

#[test]
fn node_passes_at_once() {
    let (Some(node), port) = (crate::support::node(), free_port()) else { return };
    passes_at_once(port, &words(&[&node.to_string_lossy(), &app("node_bare.js"), &port.to_string()]));
}

#[test]
fn go_passes_at_once() {
    let Some(site) = sites::go(&["-shutdown"]) else { return };
    passes_at_once(site.port, &site.server);
}

#[test]
fn uvicorn_finishes_what_it_has_and_stops_listening() {
    let (Some(venv), port) = (crate::support::venv(), free_port()) else { return };
    let listen = ["--port", &port.to_string(), "--log-level", "warning", "--app-dir", &apps(), "fastapi_app:app"];
    let seen = bare(port, &[], &[words(&[&venv.program("uvicorn")]), words(&listen)].concat());
    seen.passes(&["in-flight", "signal-handled", "exit-in-time"]);
    seen.fails("zero-dropped", "stopped listening", "--pre-stop-delay 2");
    // It raises the signal again when it is done, as its profile knows.
    seen.passes(&["exit-status"]);
    let evidence = seen.check("exit-status")["evidence"].as_str().unwrap_or_default();
    assert!(evidence.contains("uvicorn ends a clean stop with it"), "{evidence}");
    seen.agrees();
}

#[test]
fn gunicorns_sync_workers_let_new_connections_wait_for_nothing() {
    let (Some(venv), port) = (crate::support::venv(), free_port()) else { return };
    let bind = address(port).to_string();
    let options = ["--bind", &bind, "--chdir", &apps(), "--no-control-socket", "--workers", "8", "wsgi_app:app"];
    let seen = bare(port, &[], &[words(&[&venv.program("gunicorn")]), words(&options)].concat());
    seen.fails("zero-dropped", "never accepted", "--pre-stop-delay 2");
    seen.fails("served-in-window", "", "--pre-stop-delay 2");
    seen.passes(&["exit-status", "signal-handled"]);
    seen.agrees();
}

#[test]
fn flasks_server_has_no_handler() {
    let (Some(venv), port) = (crate::support::venv(), free_port()) else { return };
    let run = ["--app", &app("flask_app.py"), "run", "--port", &port.to_string()];
    let seen = bare(port, &[], &[words(&[&venv.program("flask")]), words(&run)].concat());
    seen.fails("in-flight", "it has no handler", "run it under graceful with the default --hold idle");
    seen.agrees();
}

#[test]
fn node_without_a_handler_dies_of_the_signal() {
    let Some(seen) = node("node_bare.js") else { return };
    seen.fails("in-flight", "it has no handler", "run it under graceful with the default --hold idle");
    seen.agrees();
}

#[test]
fn node_with_a_handler_finishes_what_it_has() {
    let Some(seen) = node("node_handler.js") else { return };
    seen.passes(&["in-flight", "exit-status", "signal-handled"]);
    seen.fails("zero-dropped", "stopped listening", "--pre-stop-delay 2");
    seen.agrees();
}

fn at(site: &Site, options: &[&str]) -> Drilled {
    bare(site.port, options, &site.server)
}

#[test]
fn go_with_shutdown_finishes_what_it_has() {
    let Some(site) = sites::go(&["-shutdown"]) else { return };
    let seen = at(&site, &[]);
    seen.passes(&["in-flight", "exit-status", "signal-handled"]);
    seen.fails("zero-dropped", "stopped listening", "--pre-stop-delay 2");
    seen.agrees();
}

#[test]
fn nginx_drops_its_requests_on_sigterm() {
    let Some(site) = sites::nginx("") else { return };
    let seen = at(&site, &[]);
    seen.fails("in-flight", "its handler does not wait for requests in flight", "nginx: TERM and INT drop requests");
    seen.agrees();
}

#[test]
fn nginx_finishes_its_requests_on_sigquit() {
    let Some(site) = sites::nginx("") else { return };
    let seen = at(&site, &["--signal", "QUIT"]);
    seen.passes(&["in-flight", "exit-status", "signal-handled"]);
    seen.fails("zero-dropped", "stopped listening", "--pre-stop-delay 2");
    seen.agrees();
}

/// Two instances under graceful behind HAProxy, restarted one after the other by a script: no client notices.
#[test]
fn a_rolling_restart_behind_haproxy_drops_nothing() {
    let Some(haproxy) = crate::support::haproxy() else { return };
    let (files, port, ports) = (folder(), free_port(), [free_port(), free_port()]);
    let probes = [free_port(), free_port()];
    let own = graceful().to_string_lossy().into_owned();
    let start = |nth: usize| {
        format!(
            "{own} --grace-period 20s --pre-stop-delay 1500ms --probe-listen 127.0.0.1:{} --ready-url tcp://127.0.0.1:{1} \
             --ready-interval 50ms -- {2} {3} {1}",
            probes[nth],
            ports[nth],
            python3(),
            app("bare.py")
        )
    };
    let server = |nth: usize| {
        format!("server s{nth} 127.0.0.1:{} check port {} inter 100ms fall 1 rise 1\n", ports[nth], probes[nth])
    };
    let config = format!(
        "defaults\nmode http\nretries 0\ntimeout connect 5s\ntimeout client 30s\ntimeout server 30s\n\
         timeout check 5s\nlisten web\nbind 127.0.0.1:{port}\noption httpchk GET /readyz\n{}{}",
        server(0),
        server(1)
    );
    let file = files.path().join("haproxy.cfg");
    std::fs::write(&file, config).expect("written");
    // A script of a deploy: it starts what is to go on, and knows it by its pid.
    let pid = |nth: usize| files.path().join(format!("pid{nth}"));
    let log = |nth: usize| files.path().join(format!("log{nth}"));
    let launch =
        |nth: usize| format!("setsid {} >>{} 2>&1 & echo $! >{}", start(nth), log(nth).display(), pid(nth).display());
    let wait_ready =
        |nth: usize| format!("until {own} probe ready 127.0.0.1:{}; do sleep 0.05; done >/dev/null", probes[nth]);
    let both = format!("{}\n{}\n{}\n{}", launch(0), launch(1), wait_ready(0), wait_ready(1));
    let restart = |nth: usize| {
        let file = pid(nth).display().to_string();
        // HAProxy is to have seen it come back before the other goes.
        format!(
            "kill -TERM $(cat {file})\nwhile kill -0 $(cat {file}) 2>/dev/null; do sleep 0.05; done\n{}\n{}\nsleep 0.5",
            launch(nth),
            wait_ready(nth)
        )
    };
    let script = files.path().join("restart.sh");
    std::fs::write(&script, format!("{}\n{}\n", restart(0), restart(1))).expect("written");
    let started = Command::new("sh").args(["-c", &both]).status().expect("sh runs");
    assert!(started.success());
    let _ended = Ended(files.path().to_owned());
    let mut command = Command::new(haproxy);
    let balancer = Proc::spawn_group(command.args(["-db", "-f"]).arg(&file));
    wait_http(port, "/", DEADLINE);
    let (url, json) = (format!("http://127.0.0.1:{port}/"), files.path().join("drill.json"));
    let mut drill = graceful_command();
    drill.args([
        "drill",
        "--url",
        &url,
        "--slow-target",
        &format!("http://127.0.0.1:{port}/slow?seconds=1"),
        "--rate",
        "60",
    ]);
    drill
        .arg("--stop-command")
        .arg(format!("sh {}", script.display()))
        .arg(format!("--output=json={}", json.display()));
    drill.args(["--rolling", "--lb-lag", "500ms"]);
    let (exit, stdout, stderr) = Proc::spawn_group(&mut drill).wait_output(Duration::from_secs(60));
    let logs = [log(0), log(1)].map(|log| std::fs::read_to_string(log).unwrap_or_default());
    let text = format!("{stdout}\n{stderr}\n{}\n{}", balancer.dump(), logs.join("\n"));
    assert_eq!(exit, crate::support::Exit::Code(0), "{text}");
    let document: Value = serde_json::from_str(&std::fs::read_to_string(json).expect("written")).expect("JSON");
    let drill = &document["drills"][0];
    assert_eq!((&drill["dropped"], &drill["verdict"]), (&Value::from(0), &Value::from("passed")), "{text}");
    // From the command's begin to its end: two stops of 1.5 s at least.
    assert!(drill["lb_lag_s"].as_f64().is_some_and(|lag| lag > 3.5), "{text}");
    assert!(drill["requests"].as_array().is_some_and(|requests| requests.len() > 300), "{text}");
}

/// Ends what the script started.
struct Ended(std::path::PathBuf);

impl Drop for Ended {
    fn drop(&mut self) {
        for nth in 0..2 {
            let text = std::fs::read_to_string(self.0.join(format!("pid{nth}"))).unwrap_or_default();
            if let Ok(pid) = text.trim().parse::<i32>() {
                // setsid made it a group of its own.
                crate::support::run::kill(-pid, libc::SIGKILL);
            }
        }
    }
}

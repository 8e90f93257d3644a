//! Servers that take a socket, reloaded again and again under a load of new, kept and slow requests: nobody is refused, reset
//! or cut off, and what is new goes to the new run. Stopped and started instead, all else equal, they drop requests.
//!
//! `GRACEFUL_TEST_RELOADS=100` is the long form.

use crate::support::load::{KeptAlive, Load, slow_requests};
use crate::support::run::words;
use crate::support::sites::{go, puma};
use crate::support::{DEADLINE, Proc, address, apps, free_port, graceful_command, node, venv, wait_http};
use std::time::Instant;

/// Often enough to meet what happens now and then, and short enough for every day.
fn reloads() -> u32 {
    std::env::var("GRACEFUL_TEST_RELOADS").ok().and_then(|count| count.parse().ok()).unwrap_or(3)
}

/// How it is started, and where a slow answer comes from.
struct Server<'a> {
    command: Vec<String>,
    slow: &'a str,
    /// Its handler sends its clients away: they may keep their connections. Those of Go, uvicorn and hypercorn close what is at rest,
    /// whoever is about to use it; and without one, a request that comes while the kernel takes a process apart, which is some milliseconds, finds a
    /// connection that nobody reads any more.
    kept: bool,
}

#[track_caller]
fn drops_nothing(server: Server<'_>) {
    drops_nothing_on(free_port(), server);
}

#[track_caller]
fn drops_nothing_on(port: u16, server: Server<'_>) {
    let at = format!("127.0.0.1:{port}");
    // However long it takes to load, here and now.
    let ready = format!("http://{at}/");
    let mut graceful = graceful_command();
    graceful.args([
        "--listen",
        &at,
        "--ready-url",
        &ready,
        "--reload-ready",
        "url",
        "--grace-period",
        "20s",
        "--hold-timeout",
        "3s",
    ]);
    graceful.args(["--pre-stop-delay", "1s", "--"]);
    let process = Proc::spawn_group(graceful.args(&server.command));
    wait_http(port, "/", DEADLINE);
    let load = Load::start(address(port), "/", 100);
    let kept = server.kept.then(|| KeptAlive::pooled(address(port), "/", 4, 20));
    load.wait_answered(50, DEADLINE);
    let begin = Instant::now();
    for number in 0..reloads() {
        let slow = slow_requests(address(port), server.slow, 3);
        process.signal(libc::SIGHUP);
        process.wait_line(&format!("generation {} serves", number + 2), DEADLINE);
        process.wait_line(&format!("generation {}: gone", number + 1), DEADLINE);
        slow.collect().assert_nothing_dropped(begin);
    }
    let end = Instant::now();
    load.finish(end).assert_nothing_dropped(begin);
    if let Some(kept) = kept {
        let kept = kept.finish(end);
        assert_eq!(kept.dropped(), 0, "{}\n{}", kept.table(begin), process.dump());
    }
    process.signal(libc::SIGTERM);
    process.wait(DEADLINE);
    let log = process.stderr_so_far();
    assert!(!log.contains("SIGKILL to"), "{log}");
}

#[test]
fn gunicorn_by_listen_fds() {
    let Some(venv) = venv() else { return };
    let program = venv.program("gunicorn");
    let command = words(&[&program, "--workers", "2", "--threads", "8", "--chdir", &apps(), "wsgi_app:app"]);
    drops_nothing(Server { command, slow: "/slow?seconds=1", kept: true });
}

#[test]
fn uvicorn_by_its_option() {
    let Some(venv) = venv() else { return };
    let program = venv.program("uvicorn");
    let command = words(&[&program, "--fd", "3", "--app-dir", &apps(), "fastapi_app:app"]);
    drops_nothing(Server { command, slow: "/slow?seconds=1", kept: false });
}

#[test]
fn hypercorn_by_its_address() {
    let Some(venv) = venv() else { return };
    let program = venv.program("hypercorn");
    let path = format!("PYTHONPATH={}", apps());
    let command = words(&["env", &path, &program, "--bind", "fd://3", "--graceful-timeout", "10", "fastapi_app:app"]);
    drops_nothing(Server { command, slow: "/slow?seconds=1", kept: false });
}

#[test]
fn node_without_a_handler_by_the_descriptor() {
    let Some(node) = node() else { return };
    let script = "require('http').createServer((request, answer) => setTimeout(() => answer.end('ok'), \
                  request.url === '/slow' ? 1000 : 0)).listen({fd: 3})";
    let command = words(&[&node.display().to_string(), "-e", script]);
    drops_nothing(Server { command, slow: "/slow", kept: false });
}

#[test]
fn pythons_own_without_a_handler() {
    let script = "
import http.server, os, socket, time
class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_GET(self):
        time.sleep(1 if self.path == '/slow' else 0)
        self.send_response(200)
        self.send_header('Content-Length', '2')
        self.end_headers()
        self.wfile.write(b'ok')
server = http.server.ThreadingHTTPServer(('', 0), Handler, bind_and_activate=False)
server.socket = socket.socket(fileno=3)
server.serve_forever()
";
    let command = vec![crate::support::python3(), "-c".to_owned(), script.to_owned()];
    drops_nothing(Server { command, slow: "/slow", kept: false });
}

#[test]
fn go_without_a_handler() {
    let Some(site) = go(&["-fd", "3"]) else { return };
    drops_nothing_on(site.port, Server { command: site.server.clone(), slow: "/?seconds=1", kept: false });
}

#[test]
fn go_with_shutdown() {
    let Some(site) = go(&["-fd", "3", "-shutdown"]) else { return };
    drops_nothing_on(site.port, Server { command: site.server.clone(), slow: "/?seconds=1", kept: false });
}

/// It takes the socket that it is given for the address that it is told to bind.
#[test]
fn puma_by_listen_fds() {
    let Some(site) = puma(&[], "") else { return };
    drops_nothing_on(site.port, Server { command: site.server.clone(), slow: "/?seconds=1", kept: true });
}

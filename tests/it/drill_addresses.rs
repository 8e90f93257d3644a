//! `graceful drill` asks where the app listens, whatever address that is, and as a client of it has to ask.

use crate::support::run::{folder, words};
use crate::support::{DEADLINE, Exit, Proc, apps, free_port, graceful_command, python3, venv};
use std::time::Duration;

/// A short load, and a delay over its lag.
const SHORT: [&str; 6] = ["--before", "700ms", "--lb-lag", "500ms", "--pre-stop-delay", "1200ms"];
/// For all of a drill.
const DRILL: Duration = Duration::from_secs(60);

/// One after the other answers, on an address of its own.
const SERVER: &str = "import http.server, socket, sys\n\
    class Server(http.server.ThreadingHTTPServer):\n    \
        address_family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET\n\
    class Handler(http.server.BaseHTTPRequestHandler):\n    \
        def do_GET(self):\n        \
            self.send_response(200); self.send_header('Content-Length', '2'); self.end_headers(); self.wfile.write(b'ok')\n    \
        def log_message(self, *_): pass\n\
    rest = [Server((sys.argv[1], int(port)), Handler) for port in sys.argv[3:]]\n\
    Server((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()\n";

fn drill(options: &[&str], command: &[String]) -> (Exit, String) {
    let mut drill = graceful_command();
    drill.arg("drill").args(SHORT).args(options).arg("--").args(command);
    let (exit, stdout, stderr) = Proc::spawn(&mut drill).wait_output(DRILL);
    (exit, format!("{stdout}{stderr}"))
}

/// Passed, with these words.
#[track_caller]
fn passes(options: &[&str], command: &[String], said: &[&str]) {
    let (exit, text) = drill(options, command);
    assert_eq!(exit, Exit::Code(0), "{options:?}\n{text}");
    for words in said {
        assert!(text.contains(words), "no {words:?}\n{text}");
    }
}

fn server(address: &str, ports: &[u16]) -> Vec<String> {
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    [words(&[&python3(), "-c", SERVER, address]), ports].concat()
}

#[test]
fn an_app_is_found_on_the_address_that_it_has() {
    std::thread::scope(|scope| {
        for address in ["::1", "127.0.0.2"] {
            scope.spawn(move || {
                let port = free_port();
                let shown = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
                passes(&[], &server(address, &[port]), &[&format!("GET http://{shown}:{port}/")]);
                // A path is enough where the port is known.
                passes(&["--target", "/x"], &server(address, &[port]), &[&format!("GET http://{shown}:{port}/x")]);
            });
        }
    });
}

#[test]
fn an_app_on_two_ports_is_asked_about_at_once() {
    let ports = [free_port(), free_port()];
    let mut own = graceful_command();
    let ready = Proc::spawn(own.args(["drill", "--wait", "60s", "--"]).args(server("127.0.0.1", &ports)));
    let (exit, stdout, stderr) = ready.wait_output(DEADLINE);
    let text = format!("{stdout}{stderr}");
    assert_eq!(exit, Exit::Code(3), "{text}");
    assert!(ports.iter().all(|port| text.contains(&port.to_string())) && text.contains("--url"), "{text}");
}

#[test]
fn gunicorn_is_drilled_over_its_unix_socket() {
    let Some(venv) = venv() else { return };
    let files = folder();
    let socket = files.path().join("app.sock");
    let (bind, url) = (format!("unix:{}", socket.display()), format!("unix:{}:/", socket.display()));
    let probes = format!("127.0.0.1:{}", free_port());
    let apps = apps();
    let command =
        words(&[&venv.program("gunicorn"), "--bind", &bind, "--chdir", &apps, "--no-control-socket", "wsgi_app:app"]);
    let said = format!("GET {url}");
    passes(&["--url", &url, "--ready-url", &url, "--probe-listen", &probes], &command, &[&said]);
    // Without a delay it is gone while requests come, and that is seen as over TCP. Its own readiness never fails before.
    let (exit, text) = drill(&["--bare", "--url", &url, "--ready-url", &url], &command);
    assert_eq!(exit, Exit::Code(2), "--bare has no delay\n{text}");
    let mut bare = graceful_command();
    bare.args(["drill", "--bare", "--before", "700ms", "--lb-lag", "1s", "--url", &url, "--ready-url", &url, "--"]);
    let (exit, stdout, _) = Proc::spawn(bare.args(&command)).wait_output(DRILL);
    assert_eq!(exit, Exit::Code(1), "{stdout}");
    assert!(stdout.contains("refused") && stdout.contains("--pre-stop-delay"), "{stdout}");
}

#[test]
fn fastapi_is_sent_what_it_asks_for() {
    let Some(venv) = venv() else { return };
    let port = free_port();
    let command = words(&[
        &venv.program("uvicorn"),
        "fastapi_app:app",
        "--app-dir",
        &apps(),
        "--port",
        &port.to_string(),
        "--log-level",
        "warning",
    ]);
    let orders = format!("POST http://127.0.0.1:{port}/orders {{\"id\": 1}}");
    let files = folder();
    let file = files.path().join("headers.txt");
    std::fs::write(&file, "Authorization: Bearer x\nContent-Type: application/json\n").expect("written");
    let from_file = format!("@{}", file.display());
    let json = "Content-Type: application/json";
    passes(&["--target", &orders, "-H", "Authorization: Bearer x", "-H", json], &command, &[]);
    passes(&["--target", &orders, "--header", &from_file], &command, &[]);
    // User and password of the URL are sent as Basic authentication.
    let with_user = orders.replace("http://", "http://amy:pw@");
    passes(&["--target", &with_user, "-H", json], &command, &[]);
    let (exit, text) = drill(&["--target", &orders, "--wait", "3s"], &command);
    assert!(exit == Exit::Code(3) && text.contains("422"), "{text}");
}

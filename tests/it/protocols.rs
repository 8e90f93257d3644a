//! Connections that are not plain HTTP/1 with a request and its answer: TLS, streams that pause, heartbeats, clients that
//! wait for work. What the tracker makes of many more is in `corpus.rs`; here graceful stops real apps.

use crate::support::run::{Run, folder, lasted, phases, wait_for, warnings, words};
use crate::support::{DEADLINE, Exit, Proc, address, app, free_port, in_pid_namespace, python3};
use serde_json::Value;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

/// How long the request of [`get`] was under way when the signal came: the time of whatever TLS does after its handshake.
const UNDER_WAY: Duration = Duration::from_secs(1);

/// Asks once, on a fresh connection, and says "sent" when it has. What came back, to the end.
const CLIENT: &str = "import socket, ssl, sys\n\
    stream = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n\
    if sys.argv[3] == 'tls':\n    \
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)\n    \
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE\n    \
        context.minimum_version = ssl.TLSVersion.TLSv1_3\n    \
        stream = context.wrap_socket(stream)\n\
    stream.sendall(b'GET ' + sys.argv[2].encode() + b' HTTP/1.1\\r\\nHost: localhost\\r\\nAccept: */*\\r\\n\\r\\n')\n\
    print('sent', flush=True)\n\
    answer = b''\n\
    while not answer.endswith(b'ok'):\n    \
        part = stream.recv(65536)\n    \
        if not part: sys.exit('cut off after ' + repr(answer))\n    \
        answer += part\n";

fn get(port: u16, path: &str, how: &str) -> Proc {
    let client = Proc::spawn(Command::new(python3()).args(["-c", CLIENT, &port.to_string(), path, how]));
    client.wait_line("sent", DEADLINE);
    client
}

fn certificate(folder: &Path) -> [String; 2] {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("written");
        path.to_string_lossy().into_owned()
    };
    [write("key.pem", made.signing_key.serialize_pem()), write("cert.pem", made.cert.pem())]
}

fn wait_port(port: u16) {
    wait_for("the port", || TcpStream::connect(address(port)).is_ok());
}

fn under_tini(command: &[String]) -> Option<Proc> {
    let tini = crate::support::tini()?;
    let args = [tini.into_os_string(), "--".into()].into_iter().chain(command.iter().map(OsString::from));
    Some(Proc::spawn_pid1(&mut in_pid_namespace(args)))
}

/// A server in TLS without a handler, with the folder of its certificate.
fn tls_server(kind: &str, port: u16) -> Option<(tempfile::TempDir, Vec<String>)> {
    let files = folder();
    let [key, certificate] = certificate(files.path());
    let port = port.to_string();
    let command = match kind {
        "node" => words(&[&crate::support::node()?.to_string_lossy(), &app("node_tls.js"), &port, &key, &certificate]),
        _ => words(&[&python3(), &app("connections.py"), "serve", "https", &port, &key, &certificate, "TLSv1.3"]),
    };
    Some((files, command))
}

/// The session tickets that TLS 1.3 sends after the handshake are no answer: the first request of a connection is held.
fn the_first_request_over_tls_is_held(kind: &str) {
    let port = free_port();
    let Some((_files, command)) = tls_server(kind, port) else { return };
    let run = Run::start(&["--grace-period", "60s", "--pre-stop-delay", "0s", "--profile", "none"], &command);
    wait_port(port);
    let client = get(port, "/slow?s=8", "tls");
    sleep(UNDER_WAY);
    run.stop(libc::SIGTERM);
    assert_eq!(client.wait(DEADLINE), Exit::Code(0), "{}\n{}", client.dump(), run.dump());
    run.wait(DEADLINE);
    let report = run.report();
    assert!(lasted(&report, "hold") >= Duration::from_secs(3), "{report:#}");
}

fn control_the_first_request_over_tls_is_lost(kind: &str) {
    let port = free_port();
    let Some((_files, command)) = tls_server(kind, port) else { return };
    let Some(process) = under_tini(&command) else { return };
    wait_port(port);
    let client = get(port, "/slow?s=8", "tls");
    process.signal(libc::SIGTERM);
    assert_ne!(client.wait(DEADLINE), Exit::Code(0), "{}", client.dump());
}

#[test]
fn the_first_request_over_tls_of_node_is_held() {
    the_first_request_over_tls_is_held("node");
}

#[test]
fn control_the_first_request_over_tls_of_node_is_lost_under_tini() {
    control_the_first_request_over_tls_is_lost("node");
}

#[test]
fn the_first_request_over_tls_of_python_is_held() {
    the_first_request_over_tls_is_held("python");
}

#[test]
fn control_the_first_request_over_tls_of_python_is_lost_under_tini() {
    control_the_first_request_over_tls_is_lost("python");
}

fn streaming(port: u16) -> Vec<String> {
    words(&[&python3(), &app("connections.py"), "serve", "http", &port.to_string()])
}

/// A piece every 0.9 s, and then nothing for longer than any window.
const PAUSES: &str = "/stream?gaps=0.9,0.9,0.9,0.9,5,0.1";

#[test]
fn an_answer_in_pieces_may_pause_where_there_is_no_handler() {
    let port = free_port();
    let run = Run::start(&["--grace-period", "60s", "--pre-stop-delay", "0s"], &streaming(port));
    wait_port(port);
    let client = get(port, PAUSES, "plain");
    run.stop(libc::SIGTERM);
    assert_eq!(client.wait(DEADLINE), Exit::Code(0), "{}\n{}", client.dump(), run.dump());
    run.wait(DEADLINE);
}

/// The app has a handler, so that doubt ends; the pre-stop delay sees the answer go on.
#[test]
fn an_answer_that_was_taken_for_over_names_the_quiet_window_that_holds_for_it() {
    let port = free_port();
    let handler = "import os, runpy, signal, sys, threading\n\
        signal.signal(signal.SIGTERM, lambda *_: threading.Timer(0, os._exit, [0]).start())\n\
        sys.argv.pop(0)\n\
        runpy.run_path(sys.argv[0], run_name='__main__')\n";
    let mut command = streaming(port);
    command.splice(1..1, words(&["-c", handler]));
    let run = Run::start(&["--grace-period", "60s", "--pre-stop-delay", "6s"], &command);
    wait_port(port);
    let client = get(port, "/stream?gaps=3,0.1", "plain");
    run.stop(libc::SIGTERM);
    wait_for("the quiet window in the log", || run.stderr_so_far().contains("--quiet-window "));
    assert_eq!(client.wait(DEADLINE), Exit::Code(0), "{}\n{}", client.dump(), run.dump());
    run.wait(DEADLINE);
    let report = run.report();
    // The pause is a quarter of the window; the rest is a margin, and whole seconds.
    let told = &report["answer_went_on"];
    let pause = told["pause_s"].as_f64().expect("a number");
    assert!(pause >= 2.8, "{told:#}");
    let window = (pause * 4.0 * 1.1).floor() + 1.0;
    assert_eq!(told["quiet_window_s"], window, "{told:#}");
    let said = format!("--quiet-window {window}s");
    assert!(run.stderr_so_far().contains(&said), "no {said}\n{}", run.dump());
}

#[test]
fn control_an_answer_in_pieces_is_cut_off_under_tini() {
    let port = free_port();
    let Some(process) = under_tini(&streaming(port)) else { return };
    wait_port(port);
    let client = get(port, PAUSES, "plain");
    process.signal(libc::SIGTERM);
    assert_ne!(client.wait(DEADLINE), Exit::Code(0), "{}", client.dump());
}

/// Two quiet windows, and not half of the budget: 28 s here.
#[track_caller]
fn was_held_for_seconds_only(report: &Value) {
    let held = if phases(report).contains(&"hold".to_owned()) { lasted(report, "hold") } else { Duration::ZERO };
    assert!(held < Duration::from_secs(15), "{report:#}");
    let said = warnings(report);
    assert!(!said.contains("unanswered"), "{said}");
}

/// A client of a WebSocket that says nothing, but for its pongs; it says "open".
const WEBSOCKET: &str = "import asyncio, sys, websockets\n\
    async def main():\n    \
        async with websockets.connect('ws://127.0.0.1:' + sys.argv[1], ping_interval=None) as client:\n        \
            await client.send('hello')\n        \
            await client.recv()\n        \
            print('open', flush=True)\n        \
            await client.wait_closed()\n\
    asyncio.run(main())\n";

#[test]
fn heartbeats_of_a_websocket_are_no_requests() {
    let Some(venv) = crate::support::venv() else { return };
    let port = free_port();
    let folder = Path::new(&app("ws_app.py")).parent().expect("a folder").to_string_lossy().into_owned();
    let listen = port.to_string();
    let uvicorn = ["--app-dir", &folder, "--port", &listen, "--ws-ping-interval", "1", "ws_app:app"];
    let command = [words(&[&venv.program("uvicorn")]), words(&uvicorn)].concat();
    let run = Run::start(&["--grace-period", "60s", "--pre-stop-delay", "3s", "--profile", "none"], &command);
    wait_port(port);
    let client = Proc::spawn(Command::new(venv.program("python")).args(["-c", WEBSOCKET, &listen]));
    client.wait_line("open", DEADLINE);
    // One heartbeat before the stop, some in it.
    sleep(Duration::from_millis(1500));
    run.stop(libc::SIGTERM);
    run.wait(DEADLINE);
    was_held_for_seconds_only(&run.report());
}

/// A client waits for work: as many bytes as a request, and no answer for as long as there is none.
fn blocked(port: u16) -> JoinHandle<()> {
    let mut stream = TcpStream::connect(address(port)).expect("it listens");
    stream.write_all(b"BLPOP queue 0\r\n").expect("sent");
    stream.set_read_timeout(Some(DEADLINE)).expect("set");
    spawn(move || drop(stream.read(&mut [0; 64])))
}

#[test]
fn a_client_that_waits_for_work_is_worth_seconds() {
    let Some(redis) = crate::support::redis_server() else { return };
    let (files, port) = (folder(), free_port());
    let dir = files.path().to_string_lossy().into_owned();
    let command = words(&[&redis.to_string_lossy(), "--port", &port.to_string(), "--save", "", "--dir", &dir]);
    let run = Run::start(&["--grace-period", "60s", "--pre-stop-delay", "3s", "--profile", "none"], &command);
    wait_port(port);
    let client = blocked(port);
    run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Code(0));
    was_held_for_seconds_only(&report);
    client.join().expect("it ends with the server");
}

//! Servers on Unix sockets: what waits in the backlog, and what is worked on, is held for as over TCP.

use crate::support::run::{Run, folder, phases, warnings, words};
use crate::support::{DEADLINE, Exit, Proc, app, apps, in_pid_namespace, python3};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

/// No delay: what is not lost the hold has saved.
const AT_ONCE: [&str; 6] = ["--grace-period", "30s", "--pre-stop-delay", "0s", "--profile", "none"];

/// Says whether it was answered.
type Client = JoinHandle<bool>;

/// A server on a Unix socket, and how one asks it for something that takes so many seconds.
struct Server {
    /// Given its socket's path and a folder of its own.
    command: fn(&Path, &Path) -> Option<Vec<String>>,
    ask: fn(UnixStream, f64) -> bool,
    requests: usize,
    /// So many of them it works on at once, and says "slow begins" for each.
    at_once: usize,
}

/// One worker, six requests: five wait in the backlog.
const GUNICORN: Server = Server { command: gunicorn, ask: http, requests: 6, at_once: 1 };
const WAITRESS: Server = Server { command: waitress, ask: http, requests: 3, at_once: 3 };
const PHP_FPM: Server = Server { command: php_fpm, ask: fastcgi, requests: 3, at_once: 3 };
const PLAIN: Server = Server { command: plain, ask: http, requests: 3, at_once: 3 };

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn gunicorn(socket: &Path, _: &Path) -> Option<Vec<String>> {
    let program = crate::support::venv()?.program("gunicorn");
    let bind = format!("unix:{}", socket.display());
    Some(words(&[&program, "--bind", &bind, "--chdir", &apps(), "--no-control-socket", "wsgi_app:app"]))
}

/// It has no handler for SIGTERM.
fn waitress(socket: &Path, _: &Path) -> Option<Vec<String>> {
    let python = crate::support::venv()?.program("python");
    let text = format!("import sys; sys.path.insert(0, {:?}); import waitress, wsgi_app; ", apps());
    let serve = format!("waitress.serve(wsgi_app.app, unix_socket={:?})", shown(socket));
    Some(words(&[&python, "-c", &(text + &serve)]))
}

fn php_fpm(socket: &Path, files: &Path) -> Option<Vec<String>> {
    let program = shown(&crate::support::php_fpm()?);
    let config = files.join("fpm.conf");
    let text = format!(
        "[global]\nerror_log = /dev/stderr\n[www]\nlisten = {}\npm = static\npm.max_children = 3\ncatch_workers_output = yes\n\
         decorate_workers_output = no\nuser = nobody\ngroup = nogroup\nlisten.mode = 0666\n",
        socket.display()
    );
    std::fs::write(&config, text).expect("written");
    Some(words(&[&program, "-F", "-R", "-n", "-y", &shown(&config)]))
}

/// As Python's own server is, without a handler.
const SERVER: &str = "import http.server, os, socketserver, sys, time\n\
    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer): pass\n\
    class Handler(http.server.BaseHTTPRequestHandler):\n    \
        def do_GET(self):\n        \
            os.write(1, b'slow begins\\n')\n        \
            time.sleep(float(self.path.split('=')[1]))\n        \
            self.send_response(200); self.end_headers(); self.wfile.write(b'hello')\n    \
        def log_message(self, *_): pass\n    \
        def address_string(self): return ''\n\
    server = Server(sys.argv[1], Handler)\n\
    print('listening', flush=True)\n\
    server.serve_forever()\n";

fn plain(socket: &Path, _: &Path) -> Option<Vec<String>> {
    Some(words(&[&python3(), "-c", SERVER, &shown(socket)]))
}

/// Whether it was answered whole.
fn http(mut stream: UnixStream, seconds: f64) -> bool {
    let request = format!("GET /slow?seconds={seconds} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let mut answer = Vec::new();
    let done = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_end(&mut answer));
    let text = String::from_utf8_lossy(&answer);
    done.is_ok() && text.contains(" 200 OK\r\n") && text.contains("hello")
}

/// The same as a web server in front of PHP-FPM asks it (fastcgi-spec, 3.3).
fn fastcgi(mut stream: UnixStream, seconds: f64) -> bool {
    let record = |kind: u8, content: &[u8]| {
        let [high, low] = (content.len() as u16).to_be_bytes();
        [&[1, kind, 0, 1, high, low, 0, 0], content].concat()
    };
    let mut parameters = Vec::new();
    for (name, value) in [
        ("SCRIPT_FILENAME", app("slow.php")),
        ("QUERY_STRING", format!("seconds={seconds}")),
        ("REQUEST_METHOD", "GET".to_owned()),
    ] {
        parameters.extend([name.len() as u8, value.len() as u8]);
        parameters.extend(name.bytes().chain(value.bytes()));
    }
    // FCGI_BEGIN_REQUEST as a responder, FCGI_PARAMS and its end, FCGI_STDIN's end.
    let request =
        [record(1, &[0, 1, 0, 0, 0, 0, 0, 0]), record(4, &parameters), record(4, &[]), record(5, &[])].concat();
    let mut answer = Vec::new();
    let done = stream.write_all(&request).and_then(|()| stream.read_to_end(&mut answer));
    done.is_ok() && String::from_utf8_lossy(&answer).contains("\r\n\r\nok")
}

impl Server {
    /// Where it listens, with what else it needs.
    fn place(&self) -> Option<(tempfile::TempDir, PathBuf, Vec<String>)> {
        let files = folder();
        // Its workers may be another user's.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(files.path(), open).expect("our own folder");
        let socket = files.path().join("socket");
        let command = (self.command)(&socket, files.path())?;
        Some((files, socket, command))
    }

    /// All requests at once, of which it works on as many as it can.
    #[track_caller]
    fn load(&self, socket: &Path, run: &Proc, seconds: f64) -> Vec<Client> {
        crate::support::run::wait_for("the socket", || UnixStream::connect(socket).is_ok());
        let ask = self.ask;
        let clients: Vec<Client> = (0..self.requests)
            .map(|_| {
                let stream = UnixStream::connect(socket).expect("it listens");
                std::thread::spawn(move || ask(stream, seconds))
            })
            .collect();
        run.wait_lines("slow begins", self.at_once, DEADLINE);
        clients
    }

    #[track_caller]
    fn loses_nothing(&self, seconds: f64, exit: Exit) {
        let Some((files, socket, command)) = self.place() else { return };
        let run = Run::start(&AT_ONCE, &command);
        let clients = self.load(&socket, &run, seconds);
        run.stop(libc::SIGTERM);
        let report = run.ends(exit);
        assert_eq!(answered(clients), self.requests, "{}\n{report:#}", run.dump());
        assert!(phases(&report).contains(&"hold".to_owned()), "{report:#}");
        assert!(!warnings(&report).contains("Unix"), "{report:#}");
        drop(files);
    }

    #[track_caller]
    fn loses_some_under_tini(&self, seconds: f64) {
        let (Some((files, socket, command)), Some(tini)) = (self.place(), crate::support::tini()) else { return };
        let args = [tini.into_os_string(), "--".into()].into_iter().chain(command.into_iter().map(OsString::from));
        let run = Proc::spawn_pid1(&mut in_pid_namespace(args));
        let clients = self.load(&socket, &run, seconds);
        run.signal(libc::SIGTERM);
        run.wait(DEADLINE);
        assert!(answered(clients) < self.requests, "{}", run.dump());
        drop(files);
    }
}

fn answered(clients: Vec<Client>) -> usize {
    clients.into_iter().map(|client| client.join().expect("no panic")).filter(|answered| *answered).count()
}

#[test]
fn gunicorn_loses_nothing_of_its_backlog() {
    GUNICORN.loses_nothing(0.5, Exit::Code(0));
}

#[test]
fn control_gunicorn_under_tini_loses_its_backlog() {
    GUNICORN.loses_some_under_tini(0.5);
}

#[test]
fn waitress_loses_nothing() {
    WAITRESS.loses_nothing(1.5, Exit::Signal(libc::SIGTERM));
}

/// It has no handler: a request that takes longer than the quiet window is not taken for silence.
#[test]
fn waitress_loses_no_long_request() {
    WAITRESS.loses_nothing(4.0, Exit::Signal(libc::SIGTERM));
}

#[test]
fn control_waitress_under_tini_loses_all() {
    WAITRESS.loses_some_under_tini(1.5);
}

#[test]
fn php_fpm_loses_nothing() {
    let Some(()) = crate::support::root() else { return };
    PHP_FPM.loses_nothing(1.5, Exit::Code(0));
}

#[test]
fn control_php_fpm_under_tini_loses_some() {
    let Some(()) = crate::support::root() else { return };
    PHP_FPM.loses_some_under_tini(1.5);
}

#[test]
fn pythons_own_server_loses_nothing() {
    PLAIN.loses_nothing(1.5, Exit::Signal(libc::SIGTERM));
}

/// Nobody is connected when the stop begins; a request comes before the next look for listeners, and outlasts the delay.
#[test]
fn the_first_client_may_come_during_the_delay() {
    let Some((files, socket, command)) = PLAIN.place() else { return };
    let options = ["--grace-period", "30s", "--pre-stop-delay", "700ms", "--log-level", "debug"];
    let run = Run::start(&options, &command);
    run.wait_line("listening", DEADLINE);
    run.stop(libc::SIGTERM);
    run.wait_line("in flight when the stop began: 0 busy", DEADLINE);
    let stream = UnixStream::connect(&socket).expect("it listens");
    let answered = std::thread::spawn(move || http(stream, 3.0));
    run.ends(Exit::Signal(libc::SIGTERM));
    assert!(answered.join().expect("no panic"), "{}", run.dump());
    drop(files);
}

/// A connection that is kept without a request is no reason to wait longer than the quiet window, if the app has a handler.
#[test]
fn a_connection_that_is_silent_is_idle_after_the_quiet_window() {
    let run = Run::start(
        &[&AT_ONCE[..], &["--quiet-window", "500ms"]].concat(),
        &words(&[&python3(), &app("sockets.py"), "unix_client"]),
    );
    let line = run.wait_line("connect to ", DEADLINE).text;
    let _client = UnixStream::connect(line.trim_start_matches("connect to ")).expect("it listens");
    run.wait_line("ready", DEADLINE);
    run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Code(0));
    let hold = crate::support::run::lasted(&report, "hold");
    assert!(hold >= Duration::from_millis(400), "{report:#}");
    assert_eq!(report["hold"].as_str().map(|why| why.starts_with("idle after")), Some(true), "{report:#}");
}

/// gunicorn's control socket, supervisord's: nobody is connected, and nothing is said of it at any stop.
#[test]
fn a_socket_without_clients_is_no_news() {
    for kind in ["unix_alone", "unix_own", "manager"] {
        let run = Run::start(&AT_ONCE, &words(&[&python3(), &app("sockets.py"), kind]));
        run.wait_line("ready", DEADLINE);
        run.stop(libc::SIGTERM);
        let report = run.ends(Exit::Code(0));
        assert!(!phases(&report).contains(&"hold".to_owned()), "{kind}: {report:#}");
        assert_eq!(report["warnings"], serde_json::json!([]), "{kind}");
        assert!(!run.stderr_so_far().contains("Unix"), "{kind}: {}", run.dump());
    }
}

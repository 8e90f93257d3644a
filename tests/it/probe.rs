//! `graceful probe` from outside: what it asks, where it finds the running graceful, what it says and how it exits.
//!
//! The running graceful is a stand-in: a process with graceful's command line, and a server of the test's own at the
//! address that stands in it. Each test has a name of its own for it, so that no other graceful of the machine is found.

use crate::support::run::{ended, folder, full_pipe};
use crate::support::{DEADLINE, Exit, Proc, free_port, graceful, graceful_command};
use std::io::{BufRead, BufReader, PipeReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

const READY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Answers everybody the same and tells of each request's first line; ends with the test process.
struct Server {
    requests: mpsc::Receiver<String>,
    port: u16,
}

impl Server {
    fn start(answer: &str) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let accept = move || Box::new(listener.accept().unwrap().0) as Box<dyn Stream>;
        Server { requests: serve(accept, answer), port }
    }

    fn unix(path: &Path, answer: &str) -> Server {
        let listener = UnixListener::bind(path).unwrap();
        let accept = move || Box::new(listener.accept().unwrap().0) as Box<dyn Stream>;
        Server { requests: serve(accept, answer), port: 0 }
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What the next request is for.
    #[track_caller]
    fn path(&self) -> String {
        let line = self.requests.recv_timeout(DEADLINE).expect("a request");
        line.split(' ').nth(1).unwrap_or_default().to_owned()
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

fn serve(accept: impl Fn() -> Box<dyn Stream> + Send + 'static, answer: &str) -> mpsc::Receiver<String> {
    let (seen, requests) = mpsc::channel();
    let answer = answer.to_owned();
    thread::spawn(move || {
        loop {
            let mut stream = BufReader::new(accept());
            let (mut first, mut line) = (String::new(), String::new());
            _ = stream.read_line(&mut first);
            while matches!(stream.read_line(&mut line), Ok(1..)) && line != "\r\n" {
                line.clear();
            }
            _ = seen.send(first);
            // The client may be gone already.
            _ = stream.get_mut().write_all(answer.as_bytes());
        }
    });
    requests
}

/// A running graceful as far as its command line goes: echo with other arguments, which hangs as nobody reads.
struct StandIn {
    process: Proc,
    _reader: PipeReader,
}

impl StandIn {
    fn start(name: &str, args: &[&str], cwd: &Path) -> StandIn {
        StandIn::behind(Command::new("env"), name, args, cwd)
    }

    /// As nobody, whom root has no reason to believe.
    fn of_nobody(name: &str, args: &[&str]) -> StandIn {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        StandIn::behind(command, name, args, Path::new("/"))
    }

    fn behind(mut command: Command, name: &str, args: &[&str], cwd: &Path) -> StandIn {
        let (reader, writer) = full_pipe();
        // Proc takes the standard output for itself; the shell hands the full pipe to what it becomes.
        let script = "exec -a \"$@\" >&0";
        command.args(["bash", "-c", script, "bash", name, "/bin/echo"]).args(args).current_dir(cwd);
        let process = Proc::spawn_with_stdin(&mut command, writer.into());
        crate::support::procfs::wait_runs(process.pid(), "echo");
        StandIn { process, _reader: reader }
    }
}

/// A name that no other process of the machine has.
fn name(word: &str) -> String {
    format!("graceful-{word}-{}", std::process::id())
}

/// `NAME probe ARGS`, with these variables.
fn probe(name: &str, args: &[&str], environment: &[(&str, &str)]) -> (Exit, String, String) {
    let mut command = graceful_command();
    ended(command.arg0(name).arg("probe").args(args).envs(environment.iter().copied()))
}

#[track_caller]
fn assert_ready(outcome: &(Exit, String, String), word: &str) {
    let (exit, stdout, stderr) = outcome;
    assert_eq!(*exit, Exit::Code(0), "{stdout}{stderr}");
    assert!(stdout.starts_with(&format!("{word}: 200 in ")) && stdout.ends_with(" ms\n"), "{stdout}");
    assert_eq!((stdout.lines().count(), stderr.as_str()), (1, ""));
}

#[test]
fn an_address_is_asked_for_ready_unless_told_otherwise() {
    let server = Server::start(READY);
    let address = server.address();
    for (args, word, path) in [
        (&[address.as_str()][..], "ready", "/readyz"),
        (&["ready", &address], "ready", "/readyz"),
        (&["live", &address], "live", "/livez"),
        (&["--timeout", "20s", "startup", &address], "startup", "/startupz"),
        (&["live", &format!(":{}", server.port)], "live", "/livez"),
    ] {
        assert_ready(&probe("graceful", args, &[]), word);
        assert_eq!(server.path(), path);
    }
}

#[test]
fn what_fails_is_said_on_one_line() {
    let body = "[+]running ok\n[-]redis failed: connection refused\n[-]startup failed\nreadyz check failed\n";
    let server = Server::start(&format!("HTTP/1.1 503 x\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    let (exit, stdout, stderr) = probe("graceful", &[&server.address()], &[]);
    assert_eq!((exit, stderr.as_str()), (Exit::Code(1), ""));
    let expected = "ready: 503 Service Unavailable: [-]redis failed: connection refused; [-]startup failed\n";
    assert_eq!(stdout, expected);
}

#[test]
fn a_unix_socket_is_asked() {
    let folder = folder();
    let socket = folder.path().join("graceful.sock");
    let target = format!("unix:{}", socket.display());
    let (exit, stdout, _) = probe("graceful", &[&target], &[]);
    assert_eq!((exit, stdout), (Exit::Code(1), format!("ready: {target}: no such file or directory\n")));
    let server = Server::unix(&socket, READY);
    assert_ready(&probe("graceful", &["ready", &target], &[]), "ready");
    assert_eq!(server.path(), "/readyz");
    // Relative to the own directory.
    let mut command = graceful_command();
    let outcome = ended(command.args(["probe", "live", "unix:graceful.sock"]).current_dir(folder.path()));
    assert_ready(&outcome, "live");
}

#[test]
fn the_environment_says_where_graceful_listens() {
    let (variable, file) = (Server::start(READY), Server::start(READY));
    let folder = folder();
    let config = folder.path().join("graceful.toml");
    std::fs::write(&config, format!("grace_period = \"5s\"\nprobe_listen = \"{}\"\n", file.address())).unwrap();
    let config = config.to_str().unwrap();
    assert_ready(&probe("graceful", &["live"], &[("GRACEFUL_CONFIG", config)]), "live");
    assert_eq!(file.path(), "/livez");
    let both = [("GRACEFUL_CONFIG", config), ("GRACEFUL_PROBE_LISTEN", &variable.address())];
    assert_ready(&probe("graceful", &[], &both), "ready");
    assert_eq!(variable.path(), "/readyz");
    // What was typed counts more.
    let (exit, stdout, _) = probe("graceful", &["unix:/nonexistent/socket"], &both);
    assert_eq!(exit, Exit::Code(1), "{stdout}");
}

#[test]
fn a_wrong_environment_is_a_usage_error() {
    for (name, value, part) in [
        ("GRACEFUL_PROBE_LISTEN", "here", "GRACEFUL_PROBE_LISTEN=\"here\": has no port"),
        ("GRACEFUL_CONFIG", "/nonexistent/g.toml", "GRACEFUL_CONFIG=\"/nonexistent/g.toml\": cannot be read"),
    ] {
        let (exit, stdout, stderr) = probe("graceful", &["live"], &[(name, value)]);
        assert_eq!((exit, stdout.as_str()), (Exit::Code(2), ""), "{stderr}");
        assert!(stderr.starts_with(&format!("graceful: error: {part}")) && stderr.lines().count() == 1, "{stderr}");
    }
}

#[test]
fn a_running_graceful_is_found_by_its_command_line() {
    let (server, folder) = (Server::start(READY), folder());
    let address = server.address();
    std::fs::write(folder.path().join("g.toml"), format!("probe_listen = \"{address}\"")).unwrap();
    for (word, args) in [
        ("flag", &["--probe-listen", &address, "--", "app", "--probe-listen", "127.0.0.1:1"][..]),
        ("equals", &["run", &format!("--probe-listen={address}"), "--hold", "never", "--", "app"]),
        ("file", &["--config", "g.toml", "--", "app"]),
    ] {
        let name = name(word);
        let _running = StandIn::start(&format!("/usr/bin/{name}"), args, folder.path());
        assert_ready(&probe(&format!("/{name}"), &[], &[]), "ready");
        assert_eq!(server.path(), "/readyz");
    }
}

#[test]
fn a_relative_socket_is_that_of_the_running_graceful() {
    let (folder, name) = (folder(), name("socket"));
    let server = Server::unix(&folder.path().join("x.sock"), READY);
    let _running = StandIn::start(&name, &["--probe-listen", "unix:x.sock", "--", "app"], folder.path());
    assert_ready(&probe(&name, &["live"], &[]), "live");
    assert_eq!(server.path(), "/livez");
}

/// Anybody can call anything graceful.
#[test]
fn another_users_process_of_this_name_is_asked_for_nothing() {
    let Some(()) = crate::support::root() else { return };
    let (hostile, own) = (Server::start(READY), Server::start(READY));
    let (folder, name) = (folder(), name("hostile"));
    let pipe = folder.path().join("never-written");
    assert!(Command::new("mkfifo").args(["-m", "666"]).arg(&pipe).status().unwrap().success());
    let _address = StandIn::of_nobody(&name, &["--probe-listen", &hostile.address(), "--", "app"]);
    let _fifo = StandIn::of_nobody(&name, &["--config", pipe.to_str().unwrap(), "--", "app"]);
    let (exit, stdout, _) = probe(&name, &["live"], &[]);
    assert!(exit == Exit::Code(1) && !stdout.contains(&hostile.address()), "{stdout}");
    let _own = StandIn::start(&name, &["--probe-listen", &own.address(), "--", "app"], Path::new("/"));
    assert_ready(&probe(&name, &["live"], &[]), "live");
    assert_eq!(own.path(), "/livez");
}

/// In a container that is the one that answers for it, whoever else there has the name.
#[test]
fn pid_1_is_believed_before_all_others() {
    let (listen, other) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let own = graceful().to_string_lossy().into_owned();
    let script = format!(
        "{own} --probe-listen {other} --pre-stop-delay 0s -- sleep 60 & \
         until {own} probe live {listen} && {own} probe live {other}; do sleep 0.05; done >&2; {own} probe live"
    );
    let argv = [&own, "--probe-listen", &listen, "--", "bash", "-c", &script];
    let process = Proc::spawn_pid1(&mut crate::support::in_pid_namespace(argv));
    let (exit, stdout, _) = process.wait_output(DEADLINE);
    assert!(exit == Exit::Code(0) && stdout.starts_with("live: 200 in "), "{}", process.dump());
}

#[test]
fn several_gracefuls_that_do_not_agree_are_a_failure() {
    let (server, name) = (Server::start(READY), name("several"));
    let listen = |address: &str| StandIn::start(&name, &["--probe-listen", address, "--", "app"], Path::new("/"));
    let _first = (listen(&server.address()), listen(&server.address()));
    assert_ready(&probe(&name, &[], &[]), "ready");
    let other = format!("127.0.0.1:{}", free_port());
    let _second = listen(&other);
    let (exit, stdout, stderr) = probe(&name, &[], &[]);
    assert_eq!((exit, stderr.as_str(), stdout.lines().count()), (Exit::Code(1), "", 1), "{stdout}");
    for part in ["more than one address to ask: ", &server.address(), &other, "graceful probe "] {
        assert!(stdout.contains(part), "{part}: {stdout}");
    }
    assert_ready(&probe(&name, &[&server.address()], &[]), "ready");
}

#[test]
fn a_graceful_that_listens_nowhere_is_named() {
    let name = name("deaf");
    let running = StandIn::start(&name, &["--hold", "never", "--", "app"], Path::new("/"));
    let no_socket = !Path::new("/run/graceful.sock").exists();
    let Some(()) = crate::support::requires("a machine without /run/graceful.sock", no_socket.then_some(())) else {
        return;
    };
    let (exit, stdout, stderr) = probe(&name, &[], &[]);
    assert_eq!((exit, stderr.as_str(), stdout.lines().count()), (Exit::Code(1), "", 1), "{stdout}");
    let named = format!("{name} (pid {}) runs without --probe-listen", running.process.pid());
    for part in ["no address to ask: GRACEFUL_PROBE_LISTEN is not set", &named, "graceful probe :9090"] {
        assert!(stdout.contains(part), "{part}: {stdout}");
    }
}

/// What is to say where graceful listens never ends: a pipe that nobody closes.
#[test]
fn an_address_that_is_never_told_is_waited_for_until_the_deadline() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut command = graceful_command();
    command.env("GRACEFUL_CONFIG", "/dev/stdin").args(["probe", "--timeout", "300ms", "live"]);
    let start = Instant::now();
    let process = Proc::spawn_with_stdin(&mut command, reader.into());
    let (exit, stdout, stderr) = process.wait_output(DEADLINE);
    let expected = (Exit::Code(1), "live: no address was found within 300ms\n", "");
    assert_eq!((exit, stdout.as_str(), stderr.as_str()), expected);
    assert!(start.elapsed() >= Duration::from_millis(300), "{}", process.dump());
    drop(writer);
}

#[test]
fn a_port_is_connected_to() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("tcp://{}", listener.local_addr().unwrap());
    let (exit, stdout, _) = probe("graceful", &[&target], &[]);
    assert_eq!(exit, Exit::Code(0), "{stdout}");
    assert!(stdout.starts_with(&format!("{target}: connected in ")) && stdout.ends_with(" ms\n"), "{stdout}");
    let target = format!("tcp://127.0.0.1:{}", free_port());
    let (exit, stdout, _) = probe("graceful", &[&target], &[]);
    assert_eq!((exit, stdout), (Exit::Code(1), format!("{target}: connection refused\n")));
}

#[test]
fn one_timeout_is_over_everything() {
    // Connected to by the kernel alone: nobody answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let (exit, stdout, _) = probe("graceful", &["--timeout", "300ms", &address], &[]);
    assert_eq!((exit, stdout), (Exit::Code(1), format!("ready: {address}: no answer within 300ms\n")));
    // A configuration file that would never end, as nobody writes to it, is not read.
    let folder = folder();
    let pipe = folder.path().join("pipe.toml");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let environment = [("GRACEFUL_CONFIG", pipe.to_str().unwrap())];
    let (exit, _, stderr) = probe("graceful", &["live", "--timeout", "300ms"], &environment);
    assert!(exit == Exit::Code(2) && stderr.contains("pipe.toml"), "{exit:?}: {stderr}");
}

#[test]
fn garbage_is_a_failure_in_words() {
    let server = Server::start("SSH-2.0-OpenSSH_9.2\r\n");
    let (exit, stdout, _) = probe("graceful", &[&server.address()], &[]);
    assert_eq!(
        (exit, stdout),
        (Exit::Code(1), format!("ready: {}: not HTTP: invalid HTTP version\n", server.address()))
    );
}

#[test]
fn the_help_says_where_it_looks() {
    let output = Command::new(graceful()).args(["probe", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    for part in
        ["[live|ready|startup] [TARGET]", "Default: ready", "GRACEFUL_PROBE_LISTEN", "/run/graceful.sock", "tcp://"]
    {
        assert!(help.contains(part), "{part}: {help}");
    }
}

#[test]
fn debug_tells_what_a_probe_does_and_without_it_nothing_is_told() {
    let server = Server::start(READY);
    let target = format!("http://localhost:{}/", server.port);
    let (exit, stdout, stderr) = probe("graceful", &["--log-level", "debug", &target], &[]);
    assert!(exit == Exit::Code(0) && stdout.starts_with(&format!("{target}: 200 in ")), "{exit:?} {stdout}");
    assert!(stderr.contains(&format!("graceful: connected to 127.0.0.1:{}\n", server.port)), "{stderr}");
    let (_, _, stderr) = probe("graceful", &[&target], &[]);
    assert_eq!(stderr, "");
}

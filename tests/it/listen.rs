//! Sockets that graceful binds and the app accepts on (`--listen`): what the app is told, who waits, and who is refused.

use crate::support::load::Load;
use crate::support::run::{Run, ended, folder, is_alive, python, shell, words};
use crate::support::{
    DEADLINE, Exit, Proc, address, apps, free_port, graceful, graceful_command, node, python3, root, venv, wait_http,
};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

/// Says what it was told of its sockets, and which each of them is.
const TELLS: &str = "
import os, socket
print('pid', os.environ['LISTEN_PID'] == str(os.getpid()), 'fds', os.environ['LISTEN_FDS'], 'names', os.environ['LISTEN_FDNAMES'])
for fd in range(3, 3 + int(os.environ['LISTEN_FDS'])):
    s = socket.socket(fileno=fd)
    at = s.getsockname()
    print(fd, s.family.name, at if isinstance(at, str) else at[1], s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
print('told', flush=True)
";

/// Serves each connection with one line, from when a line comes on its input on.
const SERVES: &str = "
import os, signal, socket, sys
signal.signal(signal.SIGTERM, lambda *_: os._exit(3))
print('up', flush=True)
sys.stdin.readline()
s = socket.socket(fileno=3)
while True:
    c, _ = s.accept()
    c.sendall(b'served')
    c.close()
";

fn read_all(mut stream: impl Read) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it ends");
    text
}

#[test]
fn the_app_is_told_its_sockets_in_their_order() {
    let folder = folder();
    let (tcp, loopback) = (free_port(), free_port());
    let unix = folder.path().join("app.sock");
    let (tcp_arg, loopback_arg) = (format!("[::1]:{tcp}=six"), format!("127.0.0.1:{loopback}"));
    let unix_arg = format!("unix:{}=local", unix.display());
    let options = ["--listen", &tcp_arg, "--listen", &loopback_arg, "--listen", &unix_arg, "--"];
    // What is there of another's is not the app's.
    let mut graceful = graceful_command();
    graceful.env("LISTEN_PID", "1").env("LISTEN_FDS", "7").env("LISTEN_FDNAMES", "foreign");
    let (exit, stdout, stderr) = ended(graceful.args(options).args(python(TELLS)));
    assert_eq!(exit, Exit::Code(0), "{stderr}");
    let path = unix.display();
    let expected = format!(
        "pid True fds 3 names six:unknown:local\n3 AF_INET6 {tcp} 1\n4 AF_INET {loopback} 1\n5 AF_UNIX {path} 1\ntold\n"
    );
    assert_eq!(stdout, expected, "{stderr}");
    assert!(!unix.exists(), "the file is graceful's to remove");
    assert_eq!(stderr, "");
}

/// By a variable and by a file, as any option.
#[test]
fn a_list_comes_from_the_variable_and_from_the_file() {
    let folder = folder();
    let (one, two) = (free_port(), free_port());
    let (_, stdout, stderr) = ended(
        graceful_command()
            .env("GRACEFUL_LISTEN", format!("127.0.0.1:{one}=a,127.0.0.1:{two}=b"))
            .arg("--")
            .args(python(TELLS)),
    );
    assert!(stdout.contains("fds 2 names a:b\n"), "{stdout}{stderr}");
    let file = folder.path().join("graceful.toml");
    std::fs::write(&file, format!("listen = ['127.0.0.1:{one}=c', '127.0.0.1:{two}']\n")).expect("written");
    let (_, stdout, stderr) = ended(graceful_command().arg("--config").arg(&file).arg("--").args(python(TELLS)));
    assert!(stdout.contains("fds 2 names c:unknown\n"), "{stdout}{stderr}");
}

/// From systemd, graceful gets sockets of its own to pass on: those of --listen come behind them.
#[test]
fn sockets_of_a_service_manager_come_first() {
    let (inherited, own) = (free_port(), free_port());
    let script = format!(
        "
import os, socket, sys
s = socket.create_server(('127.0.0.1', {inherited}))
os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='web')
os.execv(sys.argv[1], sys.argv[1:])
"
    );
    let at = format!("127.0.0.1:{own}=own");
    let graceful = graceful().display().to_string();
    let argv = [words(&[&python3(), "-c", &script, &graceful, "--listen", &at, "--"]), python(TELLS)].concat();
    let (exit, stdout, stderr) = ended(Command::new(&argv[0]).args(&argv[1..]));
    assert_eq!(exit, Exit::Code(0), "{stdout}{stderr}");
    let expected = format!("pid True fds 2 names web:own\n3 AF_INET {inherited} 1\n4 AF_INET {own} 1\ntold\n");
    assert_eq!((stdout, stderr.as_str()), (expected, ""));
}

/// A descriptor that a shell has left open there is not the app's any more, and that is said.
#[test]
fn an_inherited_descriptor_that_is_in_the_way_is_told() {
    let at = format!("127.0.0.1:{}", free_port());
    let graceful = graceful().display().to_string();
    let script = format!("exec {graceful} --listen {at} -- \"$@\" 3</dev/null");
    let argv = [shell(&script), words(&["sh"]), python(TELLS)].concat();
    let (exit, stdout, stderr) = ended(Command::new(&argv[0]).args(&argv[1..]));
    assert_eq!(exit, Exit::Code(0), "{stdout}{stderr}");
    assert!(stdout.contains("3 AF_INET"), "{stdout}");
    assert!(stderr.contains("descriptor 3, which graceful was started with, is not passed on"), "{stderr}");
}

/// Before the app runs there is a line to wait in; a port of one's own is refused then.
#[test]
fn who_comes_before_the_app_accepts_is_served() {
    let port = free_port();
    let at = format!("127.0.0.1:{port}");
    let mut graceful = graceful_command();
    graceful.args(["--listen", &at, "--pre-stop-delay", "0s", "--"]).args(words(&[&python3(), "-c", SERVES]));
    let (input, mut go) = std::io::pipe().expect("a pipe");
    let process = Proc::spawn_with_stdin(&mut graceful, input.into());
    process.wait_line("up", DEADLINE);
    let waiting: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(address(port)).expect("it waits")).collect();
    go.write_all(b"go\n").expect("it reads");
    for stream in waiting {
        assert_eq!(read_all(stream), "served", "{}", process.dump());
    }
    process.signal(libc::SIGTERM);
    assert_eq!(process.wait(DEADLINE), Exit::Code(3), "{}", process.dump());
    assert!(TcpStream::connect(address(port)).is_err(), "nobody listens any more");
}

/// From its stop signal on the app alone has the socket: what it closes refuses, and keeps nobody waiting for no one.
#[test]
fn an_app_that_closes_its_socket_refuses() {
    let folder = folder();
    let port = free_port();
    let unix = folder.path().join("app.sock");
    let (tcp_arg, unix_arg) = (format!("127.0.0.1:{port}"), format!("unix:{}", unix.display()));
    const CLOSES: &str = "
import os, signal, time
def stop(*_):
    os.close(3); os.close(4); print('closed', flush=True)
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGUSR1, lambda *_: os._exit(0))
print('up', flush=True)
while True: time.sleep(60)
";
    let options = ["--listen", &tcp_arg, "--listen", &unix_arg, "--pre-stop-delay", "0s", "--hold", "never"];
    let run = Run::start(&options, &python(CLOSES));
    run.wait_line("up", DEADLINE);
    drop(TcpStream::connect(address(port)).expect("it listens"));
    drop(UnixStream::connect(&unix).expect("it listens"));
    run.stop(libc::SIGTERM);
    run.wait_line("closed", DEADLINE);
    // graceful's own handles go at the same time, on another processor.
    let end = Instant::now() + DEADLINE;
    while TcpStream::connect(address(port)).is_ok() || UnixStream::connect(&unix).is_ok() {
        assert!(Instant::now() < end, "somebody listens\n{}", run.dump());
    }
    assert!(!unix.exists());
    run.signal(libc::SIGUSR1);
    run.ends(Exit::Code(0));
}

/// The line outlives the app: who waited in it when the app crashed, and who came in the pause, is served by the next run.
#[test]
fn a_crash_refuses_nobody() {
    let port = free_port();
    let at = format!("127.0.0.1:{port}");
    const CRASHES: &str = "
import os, signal, socket, sys
signal.signal(signal.SIGTERM, lambda *_: os._exit(3))
generation = os.environ['GRACEFUL_GENERATION']
s = socket.socket(fileno=3)
print('up', generation, flush=True)
while True:
    c, _ = s.accept()
    if c.recv(100) == b'crash':
        os._exit(1)
    c.sendall(generation.encode())
    c.close()
";
    let options = ["--listen", &at, "--restart", "on-failure", "--restart-delay", "1s", "--pre-stop-delay", "0s"];
    let run = Run::start(&options, &python(CRASHES));
    run.wait_line("up 1", DEADLINE);
    let ask = |text: &[u8]| {
        let mut stream = TcpStream::connect(address(port)).expect("nobody is refused");
        stream.write_all(text).expect("it is taken");
        stream
    };
    assert_eq!(read_all(ask(b"who")), "1", "{}", run.dump());
    let crash = ask(b"crash");
    let in_line: Vec<TcpStream> = (0..5).map(|_| ask(b"who")).collect();
    // What it had accepted is lost with it.
    assert!(matches!({ crash }.read(&mut [0]), Ok(0) | Err(_)));
    let in_the_pause: Vec<TcpStream> = (0..5).map(|_| ask(b"who")).collect();
    assert!(!run.stdout_so_far().contains("up 2"), "the pause is over already\n{}", run.dump());
    for stream in in_line.into_iter().chain(in_the_pause) {
        assert_eq!(read_all(stream), "2", "{}", run.dump());
    }
    run.stop(libc::SIGTERM);
    run.ends(Exit::Code(3));
    assert!(TcpStream::connect(address(port)).is_err(), "nobody listens any more");
}

/// A low port is bound by graceful, and served by an app that could not have had it.
#[test]
fn a_privileged_port_for_an_app_without_privileges() {
    let Some(()) = root() else { return };
    let at = "127.0.0.1:80=http";
    let drop = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs"];
    // In a network of its own, so that nobody else has the port.
    let script = "ip link set lo up && exec \"$@\"";
    let graceful = graceful().display().to_string();
    let app = [words(&["setpriv"]), words(&drop), words(&["/usr/bin/python3", "-c", TELLS])].concat();
    let argv = [words(&["unshare", "--net", "sh", "-c", script, "sh", &graceful, "--listen", at, "--"]), app].concat();
    let (exit, stdout, stderr) = ended(Command::new(&argv[0]).args(&argv[1..]));
    assert_eq!(exit, Exit::Code(0), "{stdout}{stderr}");
    assert!(stdout.contains("pid True fds 1 names http\n3 AF_INET 80 1\n"), "{stdout}");
}

#[test]
fn who_has_the_address_is_named() {
    let folder = folder();
    let port = free_port();
    let unix = folder.path().join("s");
    let (at, any) = (format!("127.0.0.1:{port}"), format!(":{port}"));
    let path = format!("unix:{}", unix.display());
    let holder = Run::start(&["--listen", &at, "--listen", &path], &python("print('up', flush=True); signal.pause()"));
    holder.wait_line("up", DEADLINE);
    for taken in [&at, &any, &path] {
        let (exit, _, stderr) = ended(graceful_command().args(["--listen", taken, "--", "true"]));
        assert_eq!(exit, Exit::Code(125), "{stderr}");
        assert!(stderr.contains("cannot listen on --listen") && stderr.contains("in use"), "{stderr}");
        let named = stderr.split("(pid ").nth(1).and_then(|rest| rest.split(')').next()?.parse().ok());
        assert!(named.is_some_and(|pid: i32| is_alive(pid)), "{taken}: {stderr}");
    }
    assert!(unix.exists(), "somebody else's is left alone");
    holder.signal(libc::SIGKILL);
    holder.wait(DEADLINE);
}

/// Servers that take a socket, each in its own way, under a load that goes on behind the stop.
mod servers {
    use super::*;

    #[track_caller]
    fn serves_and_drops_nothing(command: &[String], exit: Exit) {
        let port = free_port();
        let at = format!("127.0.0.1:{port}");
        let mut graceful = graceful_command();
        graceful.args(["--listen", &at, "--grace-period", "20s", "--pre-stop-delay", "2s", "--"]).args(command);
        let process = Proc::spawn_group(&mut graceful);
        wait_http(port, "/", DEADLINE);
        let load = Load::start(address(port), "/", 50);
        load.wait_answered(20, DEADLINE);
        let stop = Instant::now();
        process.signal(libc::SIGTERM);
        load.finish(stop + Duration::from_secs(1)).assert_nothing_dropped(stop);
        assert_eq!(process.wait(DEADLINE), exit, "{}", process.dump());
    }

    #[test]
    fn gunicorn_by_listen_fds() {
        let Some(venv) = venv() else { return };
        let program = venv.program("gunicorn");
        let command = words(&[&program, "--workers", "2", "--chdir", &apps(), "wsgi_app:app"]);
        serves_and_drops_nothing(&command, Exit::Code(0));
    }

    #[test]
    fn uvicorn_by_its_option() {
        let Some(venv) = venv() else { return };
        let program = venv.program("uvicorn");
        let command = words(&[&program, "--fd", "3", "--app-dir", &apps(), "fastapi_app:app"]);
        serves_and_drops_nothing(&command, Exit::Signal(libc::SIGTERM));
    }

    #[test]
    fn node_without_a_handler_by_the_descriptor() {
        let Some(node) = node() else { return };
        let script = "require('http').createServer((_, answer) => answer.end('ok')).listen({fd: 3})";
        serves_and_drops_nothing(&words(&[&node.display().to_string(), "-e", script]), Exit::Signal(libc::SIGTERM));
    }
}

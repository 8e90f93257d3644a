//! Reloads (`--reload-on`): which run of the app gets what is new, what becomes of the old one, and what a reload that fails
//! changes. With real servers: `reload_servers`.

use crate::support::procfs;
use crate::support::run::{Run, folder, is_alive, phases, python, shell, words};
use crate::support::{DEADLINE, Exit, Place, Proc, address, free_port, get, graceful_argv, wait_http};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Answers each request with the number of its run; `/slow` after a second. It dies of SIGTERM.
pub(crate) const SERVER: &str = "
import http.server, os, socket, threading, time
generation = os.environ['GRACEFUL_GENERATION']
class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_GET(self):
        if self.path == '/slow':
            print('slow in', generation, flush=True)
            time.sleep(1)
        self.send_response(200)
        self.send_header('Content-Length', str(len(generation)))
        self.end_headers()
        self.wfile.write(generation.encode())
server = http.server.ThreadingHTTPServer(('', 0), Handler, bind_and_activate=False)
server.socket = socket.socket(fileno=3)
print('up', generation, flush=True)
server.serve_forever()
";

const QUICK: [&str; 4] = ["--pre-stop-delay", "0s", "--reload-ready", "300ms"];

/// graceful over it, with what it listens on.
fn serving(options: &[&str], place: impl FnOnce(&[&str], &[String]) -> Run) -> (Run, u16) {
    let port = free_port();
    let at = format!("127.0.0.1:{port}");
    let run = place(&[&["--listen", &at][..], &QUICK, options].concat(), &python(SERVER));
    run.wait_line("up 1", DEADLINE);
    (run, port)
}

/// Who answers.
#[track_caller]
fn who(port: u16) -> String {
    get(port, "/", DEADLINE).expect("it is served").2
}

#[track_caller]
fn what_is_new_goes_to_the_new_run(place: impl FnOnce(&[&str], &[String]) -> Run, exit: Exit) {
    let (run, port) = serving(&[], place);
    let slow = std::thread::spawn(move || get(port, "/slow", DEADLINE));
    run.wait_line("slow in 1", DEADLINE);
    run.signal(libc::SIGHUP);
    run.wait_line("up 2", DEADLINE);
    assert_eq!(who(port), "1", "it is not ready yet\n{}", run.dump());
    run.wait_line("generation 2 serves (alive for 300 ms)", DEADLINE);
    for _ in 0..50 {
        assert_eq!(who(port), "2", "{}", run.dump());
    }
    // What the old one had is finished by it, and then it is gone.
    let (status, _, body) = slow.join().expect("no panic").expect("an answer");
    assert_eq!((status, body.as_str()), (200, "1"), "{}", run.dump());
    run.wait_line("generation 1: gone", DEADLINE);
    assert_eq!(who(port), "2");
    run.stop(libc::SIGTERM);
    let report = run.ends(exit);
    assert_eq!(report["generation"], 2, "{report}");
    assert!(get(port, "/", DEADLINE).is_err(), "nobody listens any more");
}

#[test]
fn what_is_new_goes_to_the_new_run_and_what_is_in_flight_is_finished() {
    what_is_new_goes_to_the_new_run(Run::start, Exit::Signal(libc::SIGTERM));
}

#[test]
fn as_pid_1_too() {
    what_is_new_goes_to_the_new_run(Run::start_pid1, Exit::Code(143));
}

/// The next start of the app is this.
fn app_is(path: &Path, text: &str) {
    let next = path.with_extension("next");
    std::fs::write(&next, text).expect("it can be written");
    std::fs::set_permissions(&next, PermissionsExt::from_mode(0o755)).expect("it is ours");
    std::fs::rename(&next, path).expect("it can be replaced");
}

/// A reload that fails, for whatever reason, changes nothing: the old run serves on, and the reason is told.
#[test]
fn one_that_fails_changes_nothing() {
    let folder = folder();
    let app = folder.path().join("app");
    let server = python(SERVER);
    let good = format!("#!/bin/sh\nexec {} -c \"$CODE\"\n", server[0]);
    app_is(&app, &good);
    let port = free_port();
    let at = format!("127.0.0.1:{port}");
    let options =
        [&["--listen", &at, "--startup-timeout", "1s", "--ready-url", "tcp://127.0.0.1:1"][..], &QUICK].concat();
    let program = app.to_string_lossy().into_owned();
    let command = words(&["env", &format!("CODE={}", server[2]), &program]);
    let run = Run::start(&options, &command);
    run.wait_line("up 1", DEADLINE);
    let fails = [
        ("#!/bin/sh\nexit 7\n", "generation 2 ended before it was ready (exit status 7)"),
        ("#!/bin/sh\nkill -KILL $$\n", "generation 3 ended before it was ready (killed by SIGKILL)"),
        ("#!/no/such/interpreter\n", "generation 4 ended before it was ready (exit status 127)"),
    ];
    for (text, why) in fails {
        app_is(&app, text);
        run.signal(libc::SIGHUP);
        run.wait_line(&format!("the reload failed: {why}; the one before it serves on"), DEADLINE);
        assert_eq!(who(port), "1", "{}", run.dump());
    }
    app_is(&app, &good);
    run.signal(libc::SIGHUP);
    run.wait_line("generation 5 serves", DEADLINE);
    assert_eq!(who(port), "5");
    run.stop(libc::SIGTERM);
    run.ends(Exit::Signal(libc::SIGTERM));
}

/// It could be started when graceful was, and cannot be any more.
#[test]
fn an_app_that_is_not_there_any_more_is_told() {
    let folder = folder();
    let app = folder.path().join("app");
    app_is(&app, "#!/bin/sh\necho up\nexec sleep 60\n");
    let options = ["--reload-on", "USR1", "--pre-stop-delay", "0s", "--reload-ready", "100ms"];
    let run = Run::start(&options, &words(&[&app.to_string_lossy()]));
    run.wait_line("up", DEADLINE);
    std::fs::remove_file(&app).expect("it was there");
    run.signal(libc::SIGUSR1);
    run.wait_line("the reload failed: generation 2 could not be started", DEADLINE);
    run.stop(libc::SIGTERM);
    run.ends(Exit::Signal(libc::SIGTERM));
}

/// One that never says that it is ready is stopped in time, with what it has started.
#[test]
fn one_that_is_not_ready_in_time_is_stopped() {
    let script = "echo up $GRACEFUL_GENERATION; [ $GRACEFUL_GENERATION = 1 ] || sleep 61 & wait; exec sleep 60";
    let options = [
        "--reload-on",
        "USR1",
        "--pre-stop-delay",
        "0s",
        "--reload-ready",
        "30s",
        "--hook",
        "post-start=true",
        "--startup-timeout",
        "500ms",
    ];
    let run = Run::start(&options, &shell(script));
    run.wait_line("up 1", DEADLINE);
    run.signal(libc::SIGUSR1);
    run.wait_line("up 2", DEADLINE);
    run.wait_line("the reload failed: generation 2 was not ready within 500 ms", DEADLINE);
    procfs::wait_for("the old one alone", || (procfs::children(run.pid()).len() == 1).then_some(()));
    run.stop(libc::SIGTERM);
    run.ends(Exit::Signal(libc::SIGTERM));
}

/// The processes below that were started in that run.
fn below(pid: i32, generation: u32) -> Vec<i32> {
    let mut found = Vec::new();
    for child in procfs::children(pid) {
        let started = procfs::read(child, "environ").unwrap_or_default();
        if started.split('\0').any(|variable| variable == format!("GRACEFUL_GENERATION={generation}")) {
            found.push(child);
        }
        found.extend(below(child, generation));
    }
    found
}

/// Each run's own processes end with it, wherever they are, and nobody else's.
#[test]
fn what_the_old_run_left_ends_with_it_and_the_new_ones_does_not() {
    for start in [Run::start, Run::start_pid1] {
        // A helper below the app, one in a session of its own, and one whose parent is gone.
        let script = "for s in '' 'setsid '; do $s sh -c 'trap \"\" TERM; echo helper $GRACEFUL_GENERATION $$; sleep 60; :' & done; \
                      (setsid sh -c 'echo helper $GRACEFUL_GENERATION $$; sleep 60; :' &); sleep 60; :";
        let options = ["--reload-on", "USR1", "--reload-ready", "1s", "--pre-stop-delay", "0s", "--grace-period", "2s"];
        let run = start(&options, &shell(script));
        run.wait_lines("helper 1", 3, DEADLINE);
        run.signal(libc::SIGUSR1);
        run.wait_lines("helper 2", 3, DEADLINE);
        run.wait_line("generation 1: gone", DEADLINE);
        assert!(below(run.target(), 1).is_empty(), "{}", run.dump());
        assert!(below(run.target(), 2).len() >= 4, "the app and its helpers\n{}", run.dump());
        run.stop(libc::SIGTERM);
        run.wait(DEADLINE);
    }
}

#[test]
fn a_stop_in_the_middle_stops_both_within_one_budget() {
    let options = ["--reload-on", "USR1", "--reload-ready", "30s", "--pre-stop-delay", "0s", "--grace-period", "3s"];
    let script = "trap '' TERM; echo up $GRACEFUL_GENERATION; while :; do sleep 0.1; done";
    let run = Run::start(&options, &shell(script));
    run.wait_line("up 1", DEADLINE);
    run.signal(libc::SIGUSR1);
    run.wait_line("up 2", DEADLINE);
    let apps = procfs::children(run.pid());
    assert_eq!(apps.len(), 2, "{}", run.dump());
    let stop = run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Signal(libc::SIGKILL));
    assert!(stop.elapsed() < Duration::from_secs(6), "{:?}", stop.elapsed());
    assert_eq!(report["generation"], 1, "the new one never counted: {report}");
    assert!(!apps.iter().any(|pid| is_alive(*pid)), "{}", run.dump());
}

/// The old run is on its way out when the stop comes.
#[test]
fn a_stop_while_the_old_one_ends_stops_both() {
    let (run, port) = serving(&[], Run::start);
    let slow = std::thread::spawn(move || get(port, "/slow", DEADLINE));
    run.wait_line("slow in 1", DEADLINE);
    run.signal(libc::SIGHUP);
    run.wait_line("generation 1: holding", DEADLINE);
    run.stop(libc::SIGTERM);
    let (_, _, body) = slow.join().expect("no panic").expect("an answer");
    assert_eq!(body, "1");
    let report = run.ends(Exit::Signal(libc::SIGTERM));
    assert_eq!(report["generation"], 2, "{report}");
}

#[test]
fn in_a_stop_there_is_none() {
    let options = ["--reload-on", "USR1", "--pre-stop-delay", "1s"];
    let run = Run::start(&options, &shell("echo up; exec sleep 60"));
    run.wait_line("up", DEADLINE);
    run.stop_begun(libc::SIGTERM);
    run.signal(libc::SIGUSR1);
    run.wait_line("SIGUSR1: no reload: the app is being stopped", DEADLINE);
    run.ends(Exit::Signal(libc::SIGTERM));
    assert_eq!(run.stdout_so_far().matches("up").count(), 1);
}

#[test]
fn one_that_is_asked_for_in_the_middle_of_another_follows_it() {
    let (run, port) = serving(&[], Run::start);
    run.signal(libc::SIGHUP);
    run.wait_line("up 2", DEADLINE);
    run.signal(libc::SIGHUP);
    run.wait_line("SIGHUP: a reload is under way; another one follows it", DEADLINE);
    run.wait_line("generation 3 serves", DEADLINE);
    run.wait_line("generation 2: gone", DEADLINE);
    assert_eq!(who(port), "3");
    run.stop(libc::SIGTERM);
    run.ends(Exit::Signal(libc::SIGTERM));
}

/// The new one is nearly there, and nobody else is.
#[test]
fn the_new_run_takes_over_at_once_when_the_old_one_ends_by_itself() {
    let options = ["--reload-on", "USR1", "--reload-ready", "30s", "--pre-stop-delay", "0s"];
    let script = "echo up $GRACEFUL_GENERATION; trap 'exit 5' USR2; trap 'exit 6' TERM; while :; do sleep 0.05; done";
    let run = Run::start(&options, &shell(script));
    run.wait_line("up 1", DEADLINE);
    run.signal(libc::SIGUSR1);
    run.wait_line("up 2", DEADLINE);
    // The app is the old one still.
    run.signal(libc::SIGUSR2);
    run.wait_line("generation 2 serves (the one before it has ended)", DEADLINE);
    run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Code(6));
    assert_eq!(report["generation"], 2, "{report}");
}

#[test]
fn both_runs_have_the_same_unix_socket() {
    let folder = folder();
    let path = folder.path().join("app.sock");
    let at = format!("unix:{}", path.display());
    let run = Run::start(&[&["--listen", &at][..], &QUICK].concat(), &python(SERVER));
    run.wait_line("up 1", DEADLINE);
    let ask = || {
        let mut stream = UnixStream::connect(&path).expect("nobody is refused");
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("it is taken");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer.chars().last()
    };
    run.signal(libc::SIGHUP);
    run.wait_line("generation 1: gone", DEADLINE);
    for _ in 0..20 {
        assert_eq!(ask(), Some('2'), "{}", run.dump());
    }
    run.stop(libc::SIGTERM);
    run.ends(Exit::Signal(libc::SIGTERM));
    assert!(!path.exists(), "its file is removed");
}

/// Without `--listen` SIGHUP is the app's, and with `none` always.
#[test]
fn the_signal_is_the_apps_unless_it_is_asked_for() {
    let port = free_port();
    let at = format!("127.0.0.1:{port}");
    for options in [&[][..], &["--listen", &at, "--reload-on", "none"], &["--listen", &at, "--rewrite", "HUP:USR1"]] {
        let script = "trap 'echo hup' HUP; trap 'echo usr1' USR1; echo up; while :; do sleep 0.05; done";
        let run = Run::start(&[options, &["--pre-stop-delay", "0s"]].concat(), &shell(script));
        run.wait_line("up", DEADLINE);
        run.signal(libc::SIGHUP);
        run.wait_line(if options.contains(&"HUP:USR1") { "usr1" } else { "hup" }, DEADLINE);
        run.stop(libc::SIGTERM);
        run.ends(Exit::Signal(libc::SIGTERM));
    }
}

/// Hooks run for each run; those that tell the world of a leave do not run for one that is replaced.
#[test]
fn hooks_run_for_each_run_and_nobody_is_told_of_a_leave() {
    let say = |stage: &str| format!("{stage}=sh -c 'echo {stage} $GRACEFUL_GENERATION $GRACEFUL_CAUSE'");
    let hooks = ["pre-start", "post-start", "pre-stop", "post-stop"].map(say);
    let mut options =
        vec!["--reload-on", "USR1", "--reload-ready", "200ms", "--pre-stop-delay", "0s", "--log-level", "debug"];
    hooks.iter().for_each(|hook| options.extend(["--hook", hook]));
    let run = Run::start(&options, &shell("echo up $GRACEFUL_GENERATION; exec sleep 60"));
    run.wait_line("up 1", DEADLINE);
    run.wait_line("] post-start 1 start", DEADLINE);
    run.signal(libc::SIGUSR1);
    run.wait_line("generation 1: gone", DEADLINE);
    run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Signal(libc::SIGTERM));
    let log = run.stderr_so_far();
    let said: Vec<&str> = log.lines().filter_map(|line| line.split_once("[sh] ").map(|(_, said)| said)).collect();
    let mut expected = vec!["pre-start 1 start", "post-start 1 start", "pre-start 2 reload", "post-start 2 reload"];
    expected.extend(["post-stop 1 start", "pre-stop 2 reload", "post-stop 2 reload"]);
    assert_eq!(said, expected, "{log}");
    assert!(phases(&report).contains(&"pre-stop".to_owned()), "{report}");
}

/// Descriptors, memory and threads are as at the start.
#[test]
fn a_thousand_reloads_leave_nothing_behind() {
    let port = free_port();
    let at = format!("127.0.0.1:{port}");
    let options = [
        "--listen",
        &at,
        "--reload-ready",
        "0s",
        "--pre-stop-delay",
        "0s",
        "--hold",
        "never",
        "--log-level",
        "warn",
        "--leftovers",
        "leave",
    ];
    let run = Run::start(&options, &words(&["/bin/sleep", "60"]));
    let app = || procfs::children(run.pid()).into_iter().max();
    let first = procfs::wait_for("the app", app);
    let reload = |before: i32| {
        run.signal(libc::SIGHUP);
        procfs::wait_for("a new run alone", || {
            let all = procfs::children(run.pid());
            (all.len() == 1 && all[0] != before).then(|| all[0])
        })
    };
    let kept = |pid: i32| {
        let memory: u64 =
            procfs::status(pid, "RssAnon").expect("a number").trim_end_matches(" kB").parse().expect("kB");
        let threads = procfs::status(pid, "Threads").expect("a number");
        (procfs::descriptors(pid).len(), threads, memory)
    };
    let mut last = first;
    for _ in 0..50 {
        last = reload(last);
    }
    let (descriptors, threads, memory) = kept(run.pid());
    for _ in 50..1000 {
        last = reload(last);
    }
    let after = kept(run.pid());
    assert_eq!((after.0, &after.1), (descriptors, &threads), "{}", run.dump());
    assert!(after.2 < memory + 256, "{} kB, {memory} kB before", after.2);
    run.stop(libc::SIGTERM);
    run.ends(Exit::Signal(libc::SIGTERM));
}

#[test]
fn probes_go_on_in_a_reload() {
    let probes = free_port();
    let listen = format!("127.0.0.1:{probes}");
    let (run, port) = serving(&["--probe-listen", &listen], Run::start);
    wait_http(probes, "/readyz", DEADLINE);
    run.signal(libc::SIGHUP);
    run.wait_line("up 2", DEADLINE);
    for path in ["/livez", "/readyz", "/startupz"] {
        assert_eq!(get(probes, path, DEADLINE).expect("an answer").0, 200, "{path}\n{}", run.dump());
    }
    run.wait_line("generation 1: gone", DEADLINE);
    for path in ["/livez", "/readyz", "/startupz"] {
        assert_eq!(get(probes, path, DEADLINE).expect("an answer").0, 200, "{path}\n{}", run.dump());
    }
    assert_eq!(who(port), "2");
    run.stop(libc::SIGTERM);
    run.ends(Exit::Signal(libc::SIGTERM));
}

/// An address that another process has is refused, although ours could be shared.
#[test]
fn nobody_else_can_have_the_address() {
    let (run, port) = serving(&[], Run::start);
    let at = format!("127.0.0.1:{port}");
    let other = Place::Wrapper.spawn(graceful_argv(&[], &["--listen", &at], &["true"].map(str::to_owned)));
    let (exit, _, stderr) = other.wait_output(DEADLINE);
    assert_eq!(exit, Exit::Code(125), "{stderr}");
    assert!(stderr.contains("in use"), "{stderr}");
    assert_eq!(who(port), "1");
    run.stop(libc::SIGTERM);
    run.ends(Exit::Signal(libc::SIGTERM));
    assert!(TcpStream::connect(address(port)).is_err());
}

/// The new run alone is asked, while all others still go to the old one.
#[test]
fn ready_by_url_asks_the_new_run_alone() {
    const ASKED: &str = "
import os, socket, time
generation = os.environ['GRACEFUL_GENERATION']
server = socket.socket(fileno=3)
print('up', generation, flush=True)
begin = time.monotonic()
while True:
    client, peer = server.accept()
    line = client.recv(1000).split(b' ')[1]
    ready = generation == '1' or time.monotonic() - begin > 1
    if line == b'/ready':
        if generation == '2': print('asked', ready, '127.0.0.1' not in peer[0], flush=True)
        client.sendall(b'HTTP/1.0 200 OK\\r\\n\\r\\n' if ready else b'HTTP/1.0 503 No\\r\\n\\r\\n')
    else:
        client.sendall(b'HTTP/1.0 200 OK\\r\\nContent-Length: 1\\r\\n\\r\\n' + generation.encode())
    client.close()
";
    for listen in ["127.0.0.1", ""] {
        let port = free_port();
        let (at, ready) = (format!("{listen}:{port}"), format!("http://127.0.0.1:{port}/ready"));
        let options = ["--listen", &at, "--ready-url", &ready, "--reload-ready", "url", "--pre-stop-delay", "0s"];
        let run = Run::start(&options, &python(ASKED));
        run.wait_line("ready", DEADLINE);
        run.signal(libc::SIGHUP);
        run.wait_line("asked False True", DEADLINE);
        for _ in 0..20 {
            assert_eq!(who(port), "1", "{}", run.dump());
        }
        run.wait_line("generation 2 serves (--ready-url: 200)", DEADLINE);
        for _ in 0..20 {
            assert_eq!(who(port), "2", "{}", run.dump());
        }
        run.wait_line("generation 1: gone", DEADLINE);
        assert_eq!(who(port), "2", "{}", run.dump());
        run.stop(libc::SIGTERM);
        run.ends(Exit::Signal(libc::SIGTERM));
    }
}

/// By `graceful reload`, which ends when the new run serves, or says why it does not.
mod by_the_control_socket {
    use super::*;
    use crate::support::graceful_command;
    use crate::support::run::ended;
    use serde_json::Value;

    fn ask(run: &Run, what: &[&str]) -> (Exit, String, String) {
        let control = format!("unix:{}", run.path("control").display());
        ended(graceful_command().args(what).args(["--control", &control]))
    }

    #[track_caller]
    fn status(run: &Run) -> Value {
        let (_, stdout, stderr) = ask(run, &["status", "--output", "json"]);
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}\n{stdout}{stderr}"))
    }

    /// With the socket in its folder.
    fn controlled(options: &[&str], command: &[String]) -> Run {
        let folder = folder();
        let control = format!("unix:{}", folder.path().join("control").display());
        Run::start_in(folder, &[&["--control", &control, "--pre-stop-delay", "0s"], options].concat(), command)
    }

    #[test]
    fn it_ends_when_the_new_run_serves() {
        let port = free_port();
        let at = format!("127.0.0.1:{port}");
        let run = controlled(&["--listen", &at, "--reload-ready", "500ms"], &python(SERVER));
        run.wait_line("up 1", DEADLINE);
        let before = status(&run);
        assert_eq!((&before["generation"]["number"], &before["generation"]["cause"]), (&1.into(), &"start".into()));
        assert_eq!((&before["generation"]["phase"], &before["other"]), (&"running".into(), &Value::Null), "{before}");
        let (exit, stdout, stderr) = ask(&run, &["reload"]);
        assert_eq!(exit, Exit::Code(0), "{stdout}{stderr}");
        assert!(stdout.contains("generation 2 serves"), "{stdout}");
        assert_eq!(who(port), "2");
        run.wait_line("generation 1: gone", DEADLINE);
        let after = status(&run);
        assert_eq!((&after["generation"]["number"], &after["generation"]["cause"]), (&2.into(), &"reload".into()));
        assert_eq!(after["last_reload"]["result"], "serves", "{after}");
        run.stop(libc::SIGTERM);
        run.ends(Exit::Signal(libc::SIGTERM));
        assert!(!run.path("control").exists(), "its file is removed");
    }

    #[test]
    fn it_fails_with_the_reason() {
        let script = "[ $GRACEFUL_GENERATION = 1 ] || exit 7; echo up; exec sleep 60";
        let run = controlled(&["--reload-ready", "5s"], &shell(script));
        run.wait_line("up", DEADLINE);
        let (exit, stdout, stderr) = ask(&run, &["reload"]);
        assert_eq!(exit, Exit::Code(1), "{stdout}{stderr}");
        assert!(stderr.contains("ended before it was ready (exit status 7)"), "{stderr}");
        let after = status(&run);
        assert_eq!(after["last_reload"]["result"], "failed", "{after}");
        assert_eq!(after["generation"]["number"], 1, "{after}");
        run.stop(libc::SIGTERM);
        run.ends(Exit::Signal(libc::SIGTERM));
    }

    #[test]
    fn in_a_stop_it_is_refused_and_who_waits_is_told() {
        let script = "trap '' TERM; echo up $GRACEFUL_GENERATION; while :; do sleep 0.1; done";
        let run = controlled(&["--reload-ready", "60s", "--grace-period", "3s"], &shell(script));
        run.wait_line("up 1", DEADLINE);
        let control = format!("unix:{}", run.path("control").display());
        let waits = Proc::spawn(graceful_command().args(["reload", "--control", &control]));
        run.wait_line("up 2", DEADLINE);
        run.stop_begun(libc::SIGTERM);
        let (exit, _, stderr) = waits.wait_output(DEADLINE);
        assert_eq!(exit, Exit::Code(1), "{stderr}");
        assert!(stderr.contains("the app is being stopped"), "{stderr}");
        let (exit, _, stderr) = ask(&run, &["reload"]);
        assert_eq!(exit, Exit::Code(1), "{stderr}");
        assert!(stderr.contains("the app is being stopped"), "{stderr}");
        assert_eq!(status(&run)["stop_signal"], "SIGTERM");
        run.ends(Exit::Signal(libc::SIGKILL));
    }

    #[test]
    fn two_at_once_are_two_reloads_and_both_are_told() {
        let run = controlled(&["--reload-ready", "300ms"], &shell("echo up $GRACEFUL_GENERATION; exec sleep 60"));
        run.wait_line("up 1", DEADLINE);
        let control = format!("unix:{}", run.path("control").display());
        let first = Proc::spawn(graceful_command().args(["reload", "--control", &control]));
        run.wait_line("up 2", DEADLINE);
        let second = Proc::spawn(graceful_command().args(["reload", "--control", &control]));
        for (process, generation) in [(first, 2), (second, 3)] {
            let (exit, stdout, stderr) = process.wait_output(DEADLINE);
            assert_eq!(exit, Exit::Code(0), "{stdout}{stderr}");
            assert!(stdout.contains(&format!("generation {generation} serves")), "{stdout}");
        }
        run.stop(libc::SIGTERM);
        run.ends(Exit::Signal(libc::SIGTERM));
    }

    #[test]
    fn a_socket_that_cannot_be_had_is_told_before_the_app() {
        let run = controlled(&[], &shell("echo up; exec sleep 60"));
        run.wait_line("up", DEADLINE);
        let control = format!("unix:{}", run.path("control").display());
        let (exit, stdout, stderr) = ended(graceful_command().args(["--control", &control, "--", "echo", "started"]));
        assert_eq!((exit, stdout.as_str()), (Exit::Code(125), ""), "{stderr}");
        assert!(stderr.contains("cannot listen on --control unix:"), "{stderr}");
        run.stop(libc::SIGTERM);
        run.ends(Exit::Signal(libc::SIGTERM));
    }
}

/// The new run says that it is ready, by itself or by a child; nobody else's word counts. What the run that counts says reaches
/// the service manager above.
#[test]
fn ready_by_notify_waits_for_the_apps_own_word() {
    const SAYS: &str = "
import os, signal, socket, time
generation = os.environ['GRACEFUL_GENERATION']
def say(text):
    address = os.environ['NOTIFY_SOCKET']
    if address.startswith('@'): address = '\\0' + address[1:]
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(text.encode(), address)
print('up', generation, flush=True)
if generation == '2':
    time.sleep(1)
    if os.fork() == 0:
        say('STATUS=soon\\nREADY=1')
        time.sleep(60)
else:
    say('READY=1\\nSTATUS=serving\\nMAINPID=%d' % os.getpid())
time.sleep(60)
";
    let folder = folder();
    let above = std::os::unix::net::UnixDatagram::bind(folder.path().join("above")).expect("a socket");
    above.set_read_timeout(Some(DEADLINE)).expect("an option");
    let mut graceful = crate::support::graceful_command();
    graceful.env("NOTIFY_SOCKET", folder.path().join("above"));
    graceful.args(["--reload-on", "USR1", "--reload-ready", "notify", "--pre-stop-delay", "0s", "--"]);
    let process = Proc::spawn_group(graceful.args(python(SAYS)));
    let mut said = [0; 1000];
    let length = above.recv(&mut said).expect("the app's word goes on");
    assert_eq!(String::from_utf8_lossy(&said[..length]), "READY=1\nSTATUS=serving\n", "{}", process.dump());
    process.signal(libc::SIGUSR1);
    process.wait_line("up 2", DEADLINE);
    process.wait_line("generation 2 serves (READY=1)", DEADLINE);
    process.wait_line("generation 1: gone", DEADLINE);
    process.signal(libc::SIGTERM);
    assert_eq!(process.wait(DEADLINE), Exit::Signal(libc::SIGTERM), "{}", process.dump());
}

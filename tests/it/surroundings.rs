//! Odd and hostile surroundings: processes that may not be signalled or came from outside, system calls that a seccomp
//! profile denies, no thread to be had, no memory, no processor.
//!
//! Each was met in public. Where other inits are right, they stand beside as the controls; those run behind `unshare`
//! alone.

use crate::support::checks::{becomes_root, for_everybody, to_nobody};
use crate::support::procfs;
use crate::support::{
    DEADLINE, Exit, Place, Proc, app, catatonit, dumb_init, graceful_argv, python3, root, signals, strace, tini,
};
use std::process::Command;

/// Ends with 3 on SIGUSR1, as an app that crashes; with 0 on SIGTERM.
const CRASHES: &str = "import signal, sys, time\n\
                       signal.signal(signal.SIGUSR1, lambda *_: sys.exit(3))\n\
                       signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n\
                       print('ready', flush=True)\n\
                       while True: time.sleep(0.02)";

fn crashes() -> Vec<String> {
    vec![python3(), "-c".to_owned(), CRASHES.to_owned()]
}

/// A command in the namespace of this PID 1, started from outside as `docker exec -u 0` does.
fn enter(pid1: &Proc, command: &[&str]) -> Proc {
    let mut enter = Command::new("nsenter");
    enter.args(["--target", &pid1.target().to_string(), "--pid", "--mount", "--"]);
    let entered = Proc::spawn(enter.args(["sh", "-c", "echo up; exec \"$@\"", "sh"]).args(command));
    entered.wait_line("up", DEADLINE);
    // It is still the shell for a moment, and would be called so.
    let cmdline: String = command.iter().map(|word| format!("{word}\0")).collect();
    procfs::wait_for("the command in the place of the shell", || {
        let mut children = procfs::children(entered.pid()).into_iter();
        children.find(|pid| procfs::read(*pid, "cmdline").is_some_and(|found| found == cmdline))
    });
    entered
}

/// graceful, with more time than any test takes, for a user who is not root.
fn for_nobody(dir: &tempfile::TempDir, app: Vec<String>) -> Vec<String> {
    let mut argv = to_nobody();
    argv.push(for_everybody(dir.path()));
    argv.extend(["--pre-stop-delay", "0s", "--hold", "never", "--grace-period", "5min", "--"].map(str::to_owned));
    argv.extend(app);
    argv
}

mod whoever_cannot_be_signalled {
    use super::*;

    /// `docker exec -u 0` into a container of another user: neither a crash nor a stop waits for it.
    #[test]
    fn holds_up_nothing() {
        let Some(()) = root() else { return };
        for (signal, status) in [(libc::SIGUSR1, 3), (libc::SIGTERM, 0)] {
            let dir = tempfile::tempdir().expect("a directory");
            let pid1 = Place::Pid1.spawn(for_nobody(&dir, crashes()));
            pid1.wait_line("ready", DEADLINE);
            let session = enter(&pid1, &["sleep", "1000"]);
            pid1.signal(signal);
            assert_eq!(pid1.wait(DEADLINE), Exit::Code(status), "{}", pid1.dump());
            pid1.wait_line(
                "1 process that is left is not waited for (graceful is not permitted to signal): sleep",
                DEADLINE,
            );
            session.wait(DEADLINE);
        }
    }

    #[test]
    fn control_holds_up_no_other_init() {
        let Some(()) = root() else { return };
        let (Some(tini), Some(dumb_init), Some(catatonit)) = (tini(), dumb_init(), catatonit()) else { return };
        for init in [tini, dumb_init, catatonit] {
            let argv = [to_nobody(), vec![init.to_string_lossy().into_owned(), "--".to_owned()], crashes()].concat();
            let pid1 = Place::Pid1.spawn(argv);
            pid1.wait_line("ready", DEADLINE);
            let session = enter(&pid1, &["sleep", "1000"]);
            pid1.signal(libc::SIGUSR1);
            assert_eq!(pid1.wait(DEADLINE), Exit::Code(3), "{}", pid1.dump());
            session.wait(DEADLINE);
        }
    }

    /// The same with a child of the app's that became root: wait(2) goes on to know of it. What it started without
    /// that expected waited for all the same, and is told.
    #[test]
    fn is_left_behind_by_the_app_and_holds_up_nothing() {
        let Some(()) = root() else { return };
        for place in [Place::Pid1, Place::Wrapper] {
            let dir = tempfile::tempdir().expect("a directory");
            let script = "\"$@\" & sh -c 'trap \"exit 0\" TERM; echo polite; while :; do sleep 0.05; done' & \
                          read line; exit 3";
            let mut app = ["sh", "-c", script, "sh"].map(str::to_owned).to_vec();
            app.extend(becomes_root(dir.path(), &["--never-exit"]));
            let mut command = place.command(for_nobody(&dir, app));
            let mut process = match place {
                Place::Pid1 => Proc::spawn_with_stdin(&mut command, std::process::Stdio::piped()),
                Place::Wrapper => Proc::spawn_with_stdin(&mut command, std::process::Stdio::piped()),
            };
            process.wait_line("polite", DEADLINE);
            let ready = process.wait_line("ready pid=", DEADLINE).text;
            drop(process.stdin.take());
            let exit = process.wait(DEADLINE);
            if place == Place::Wrapper {
                let pid = ready.split(['=', ' ']).nth(2).and_then(|pid| pid.parse::<i32>().ok()).expect("a pid");
                // SAFETY: kill(2) takes two numbers; the test started it and it does not end by itself.
                assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0, "it is left behind");
            }
            assert_eq!(exit, Exit::Code(3), "{}", process.dump());
            process.wait_line("still there: SIGTERM", DEADLINE);
            process.wait_line("1 process that is left is not waited for", DEADLINE);
        }
    }
}

mod whoever_came_from_outside {
    use super::*;

    /// It is somebody's session, and would keep a crashed app from being started again.
    #[test]
    fn holds_up_no_end_of_the_apps_own() {
        let Some(()) = root() else { return };
        let pid1 = Place::Pid1.spawn(graceful_argv(&[], &["--grace-period", "5min"], &crashes()));
        pid1.wait_line("ready", DEADLINE);
        let session = enter(&pid1, &["sh", "-c", "trap '' TERM; sleep 1000 & echo deaf; wait"]);
        session.wait_line("deaf", DEADLINE);
        pid1.signal(libc::SIGUSR1);
        assert_eq!(pid1.wait(DEADLINE), Exit::Code(3), "{}", pid1.dump());
        let line = pid1.wait_line("2 processes that are left are not waited for (from outside the container", DEADLINE);
        assert!(line.text.contains("sh (pid "), "{}", line.text);
        session.wait(DEADLINE);
    }

    /// What the app itself left is still waited for.
    #[test]
    fn does_not_end_the_wait_for_the_apps_own() {
        let Some(()) = root() else { return };
        let left = ["--children", "1", "--detach", "--exit-after-ready", "3"];
        let script = "trap 'exec \"$@\"' USR1; echo up; while :; do sleep 0.05; done";
        let app: Vec<String> =
            ["sh", "-c", script, "sh"].map(str::to_owned).into_iter().chain(signals(&left)).collect();
        let pid1 = Place::Pid1.spawn(graceful_argv(&[], &["--grace-period", "5min"], &app));
        pid1.wait_line("up", DEADLINE);
        let session = enter(&pid1, &["sh", "-c", "trap '' TERM; echo deaf; sleep 1000; sleep 1000"]);
        session.wait_line("deaf", DEADLINE);
        pid1.signal(libc::SIGUSR1);
        assert_eq!(pid1.wait(DEADLINE), Exit::Code(3), "{}", pid1.dump());
        pid1.wait_line("1 other process is still there: SIGTERM", DEADLINE);
        pid1.wait_line("SIGTERM", DEADLINE);
    }
}

/// A process whose main thread has ended and whose others go on: the kernel shows it in state Z, and it is alive.
mod without_a_main_thread {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    const LIVES_ON: &str = "import ctypes, os, threading, time\n\
                            def live():\n    while open('/proc/self/stat').read().rsplit(') ')[1][0] != 'Z': time.sleep(0.01)\n    \
                            print('lives on', os.getpid(), flush=True)\n    time.sleep(1000)\n\
                            threading.Thread(target=live).start()\n\
                            ctypes.CDLL(None).pthread_exit(None)";

    #[test]
    fn what_is_left_is_told_and_named() {
        for place in [Place::Wrapper, Place::Pid1] {
            let script = "\"$@\" & read line <&3; exit 3";
            let app = ["sh", "-c", script, "sh", &python3(), "-c", LIVES_ON].map(str::to_owned);
            let argv = graceful_argv(&[], &["--grace-period", "5min", "--log-level", "debug"], &app);
            let fifo = tempfile::tempdir().expect("a directory");
            let end = fifo.path().join("end").to_string_lossy().into_owned();
            let prefix =
                ["sh", "-c", "mkfifo \"$1\"; exec 3<>\"$1\"; shift; exec \"$@\"", "sh", &end].map(str::to_owned);
            let process = place.spawn([&prefix[..], &argv].concat());
            process.wait_line("lives on", DEADLINE);
            std::fs::write(&end, "\n").expect("it is read");
            assert_eq!(process.wait(DEADLINE), Exit::Code(3), "{}", process.dump());
            process.wait_line("SIGTERM to python3 (pid ", DEADLINE);
        }
    }

    const SERVES: &str = "import ctypes, http.server, threading, time\n\
                          class Slow(http.server.BaseHTTPRequestHandler):\n    \
                          def do_GET(self):\n        \
                          print('slow begins', flush=True)\n        time.sleep(1.5)\n        \
                          self.send_response(200)\n        self.end_headers()\n        self.wfile.write(b'whole')\n\
                          server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Slow)\n\
                          threading.Thread(target=server.serve_forever).start()\n\
                          print('port', server.server_port, flush=True)\n\
                          ctypes.CDLL(None).pthread_exit(None)";

    #[test]
    fn an_apps_requests_are_seen_and_held_for() {
        let mut command = crate::support::graceful_command();
        command.args(["--pre-stop-delay", "0s", "--", &python3(), "-c", SERVES]);
        let process = Proc::spawn(&mut command);
        let line = process.wait_line("port ", DEADLINE).text;
        let port: u16 = line.trim_start_matches("port ").parse().expect("a port");
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("it reads");
        process.wait_line("slow begins", DEADLINE);
        process.signal(libc::SIGTERM);
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        assert!(answer.ends_with("whole"), "{answer:?}\n{}", process.dump());
        process.wait_line("hold over: idle", DEADLINE);
        assert_eq!(process.wait(DEADLINE).shell_code(), 143, "{}", process.dump());
    }
}

/// clone3 denied with EPERM, where the C library asks clone for a thread only after ENOSYS, and a limit of processes.
mod without_threads {
    use super::*;
    use std::io::{Read as _, Write as _};

    fn start(options: &[&str], app: &[String]) -> Proc {
        start_in(Place::Pid1, options, app)
    }

    fn start_in(place: Place, options: &[&str], app: &[String]) -> Proc {
        let argv = [python3(), crate::support::app("denied.py"), "clone3".to_owned()].into_iter();
        let argv = argv.chain([crate::support::graceful().to_string_lossy().into_owned()]);
        let options = options.iter().chain(&["--"]).map(|option| (*option).to_owned());
        place.spawn(argv.chain(options).chain(app.to_vec()).collect::<Vec<String>>())
    }

    /// One request at a time, and no handler for SIGTERM.
    const SERVES: &str = "import http.server, time\n\
                          class Slow(http.server.BaseHTTPRequestHandler):\n    \
                          def do_GET(self):\n        \
                          print('slow begins', flush=True)\n        time.sleep(1.5)\n        \
                          self.send_response(200)\n        self.end_headers()\n        self.wfile.write(b'whole')\n\
                          server = http.server.HTTPServer(('127.0.0.1', 0), Slow)\n\
                          print('port', server.server_port, flush=True)\n\
                          server.serve_forever()";

    /// The main loop looks itself.
    #[test]
    fn no_request_in_flight_is_lost() {
        for place in [Place::Pid1, Place::Wrapper] {
            let process = start_in(place, &["--pre-stop-delay", "0s"], &[&python3(), "-c", SERVES].map(str::to_owned));
            let line = process.wait_line("port ", DEADLINE).text;
            let port: u16 = line.trim_start_matches("port ").parse().expect("a port");
            let request = || {
                let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("it listens");
                stream.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("it reads");
                stream
            };
            let first = request();
            process.wait_line("slow begins", DEADLINE);
            // This one waits to be accepted.
            let second = request();
            process.signal(libc::SIGTERM);
            for mut stream in [first, second] {
                let mut answer = String::new();
                stream.read_to_string(&mut answer).expect("it answers");
                assert!(answer.ends_with("whole"), "{place:?}: {answer:?}\n{}", process.dump());
            }
            process.wait_line("hold over: idle", DEADLINE);
            assert_eq!(process.wait(DEADLINE).shell_code(), 143, "{}", process.dump());
        }
    }

    #[test]
    fn what_needs_one_is_refused_before_the_app() {
        let needs = [
            ("--probe-listen", "127.0.0.1:0"),
            ("--check", "db=tcp://127.0.0.1:1"),
            ("--check", "root=disk:/"),
            ("--ready-url", "http://127.0.0.1:1/"),
            ("--hold", "http://127.0.0.1:1/"),
            ("--hook", "pre-stop=http://127.0.0.1:1/"),
        ];
        for (option, value) in needs {
            let process = start(&[option, value], &["echo", "started"].map(str::to_owned));
            let (exit, stdout, stderr) = process.wait_output(DEADLINE);
            assert_eq!((exit, stdout.as_str()), (Exit::Code(125), ""), "{option} {value}: {stderr}");
            let words =
                format!("{option} needs a thread, and none can be started: Operation not permitted; the app is");
            assert!(stderr.contains(&words), "{stderr}");
        }
    }

    /// Nothing is lost of what needs none: log lines, the report, the stop and its status.
    #[test]
    fn the_rest_works_and_says_what_does_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let report = dir.path().join("report.json");
        let options = ["--pre-stop-delay", "0s", "--log-level", "debug", "--report", &report.to_string_lossy()];
        let process = start(&options, &signals(&["--exit-on", "TERM=7"]));
        process.wait_line("ready", DEADLINE);
        process.signal(libc::SIGTERM);
        let (exit, _, stderr) = process.wait_output(DEADLINE);
        assert_eq!(exit, Exit::Code(7), "{stderr}");
        for words in ["SIGTERM: stopping", "exit 7"] {
            assert!(stderr.contains(words), "{words}: {stderr}");
        }
        let report = std::fs::read_to_string(report).expect("it is written");
        assert!(report.contains("\"exit_code\": 7") && report.contains("\"complete\": true"), "{report}");
    }
}

mod without_a_system_call {
    use super::*;

    /// signals.py waits by calls that are denied here.
    const TELLS: &str = "import os, signal, sys, time\n\
                         signal.signal(signal.SIGUSR1, lambda *_: print('SIGUSR1', flush=True))\n\
                         signal.signal(signal.SIGTERM, lambda *_: os._exit(7))\n\
                         if os.fork() == 0: os._exit(os.fork() and 0)\n\
                         print('ready', flush=True)\n\
                         while True: time.sleep(0.02)";

    fn denied(calls: &str) -> [String; 3] {
        [python3(), app("denied.py"), calls.to_owned()]
    }

    fn start(place: Place, calls: &str, options: &[&str], app: &[String]) -> Proc {
        let prefix = denied(calls);
        let prefix: Vec<&str> = prefix.iter().map(String::as_str).collect();
        place.spawn(graceful_argv(&prefix, &[&["--grace-period", "5min"], options].concat(), app))
    }

    #[test]
    fn pidfd_open_the_end_of_who_came_from_outside_is_seen() {
        let Some(()) = root() else { return };
        let pid1 = start(Place::Pid1, "pidfd_open", &[], &signals(&["--exit-on", "TERM=7"]));
        pid1.wait_line("ready", DEADLINE);
        let polite =
            enter(&pid1, &["sh", "-c", "trap 'sleep 0.3; exit 0' TERM; echo on; while :; do sleep 0.05; done"]);
        polite.wait_line("on", DEADLINE);
        pid1.signal(libc::SIGTERM);
        assert_eq!(polite.wait(DEADLINE), Exit::Code(0));
        assert_eq!(pid1.wait(DEADLINE), Exit::Code(7), "{}", pid1.dump());
    }

    /// How much processor time a process has used, in clock ticks.
    fn ticks(pid: i32) -> u64 {
        let stat = crate::support::procfs::read(pid, "stat").expect("it runs");
        let fields: Vec<&str> = stat[stat.rfind(')').expect("a name") + 2..].split(' ').collect();
        fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime")
    }

    /// Deaf or spinning it would be without another way: the app's signals, its stop, its status and the hooks' output
    /// come through, and the processor is left alone.
    #[test]
    fn that_waits_neither_deaf_nor_spinning() {
        let waits = [
            "rt_sigtimedwait",
            "signalfd4",
            "ppoll",
            "wait4",
            "rt_sigtimedwait,ppoll",
            "ppoll,poll",
            "ppoll,poll,rt_sigtimedwait",
        ];
        for calls in waits {
            let places = if calls == "rt_sigtimedwait" { &[Place::Pid1, Place::Wrapper][..] } else { &[Place::Pid1] };
            for place in places {
                // The hook keeps a descriptor to be waited for.
                let hook = ["--hook", "post-start=sh -c 'echo hooked; exec sleep 1000'"];
                let options = [&hook[..], &["--log-level", "debug"]].concat();
                for options in [&[][..], &options[..]] {
                    let process = start(*place, calls, options, &[python3(), "-c".to_owned(), TELLS.to_owned()]);
                    process.wait_line("ready", DEADLINE);
                    if !options.is_empty() {
                        process.wait_line("] hooked", DEADLINE);
                    }
                    let before = ticks(process.target());
                    std::thread::sleep(std::time::Duration::from_millis(300));
                    let used = ticks(process.target()) - before;
                    assert!(used < 20, "{calls}: {used} ticks of 10 ms in 300 ms\n{}", process.dump());
                    process.signal(libc::SIGUSR1);
                    process.wait_line("SIGUSR1", DEADLINE);
                    process.signal(libc::SIGTERM);
                    assert_eq!(process.wait(DEADLINE), Exit::Code(7), "{calls}\n{}", process.dump());
                }
            }
        }
    }

    #[test]
    fn with_none_that_waits_it_says_so_and_ends_with_the_app() {
        let process = start(
            Place::Wrapper,
            "rt_sigtimedwait,signalfd4",
            &[],
            &["sh", "-c", "sleep 0.5; exit 7"].map(str::to_owned),
        );
        assert_eq!(process.wait(DEADLINE), Exit::Code(7), "{}", process.dump());
        process.wait_line("signals cannot be heard", DEADLINE);
    }

    #[test]
    fn that_blocks_signals_no_app_is_started() {
        for place in [Place::Pid1, Place::Wrapper] {
            let process = start(place, "rt_sigprocmask", &[], &["echo", "started"].map(str::to_owned));
            let (exit, stdout, stderr) = process.wait_output(DEADLINE);
            assert_eq!((exit, stdout.as_str()), (Exit::Code(125), ""), "{stderr}");
            assert!(
                stderr.contains("rt_sigprocmask is denied") && stderr.contains("the app is not started"),
                "{stderr}"
            );
        }
    }
}

/// Processes that fork faster than /proc is read.
mod a_chain_of_forks {
    use super::*;

    /// Each link counts itself, forks the next one and ends; it breaks by itself after twenty seconds. In C, since a link
    /// of another language lives longer than a look at /proc takes.
    const CHAIN: &str = "#include <fcntl.h>\n#include <signal.h>\n#include <time.h>\n#include <unistd.h>\n\
                         int main(int count, char **args) {\n\
                         signal(SIGTERM, SIG_IGN);\n\
                         time_t end = time(NULL) + 20;\n\
                         int links = open(args[1], O_RDWR | O_CREAT, 0644);\n\
                         if (fork()) _exit(3);\n\
                         for (long link = 0; time(NULL) < end; link++) {\n\
                         pwrite(links, &link, sizeof link, 0);\n\
                         if (fork()) _exit(0);\n\
                         }\n}\n";

    fn compiled(dir: &tempfile::TempDir) -> String {
        let (source, program) = (dir.path().join("chain.c"), dir.path().join("chain"));
        std::fs::write(&source, CHAIN).expect("room");
        // The linker that cargo needs is a compiler, too.
        let status = Command::new("cc").args(["-O1", "-o"]).args([&program, &source]).status().expect("cc runs");
        assert!(status.success());
        program.to_string_lossy().into_owned()
    }

    #[test]
    fn does_not_outlive_a_wrappers_sigkill() {
        ends_with(&[]);
    }

    /// The chain moves on many times while graceful looks once: each of its system calls takes a tracer's time, too.
    #[test]
    fn does_not_outlive_the_sigkill_of_a_slow_wrapper() {
        let Some(strace) = strace() else { return };
        ends_with(&[&strace.to_string_lossy(), "-o", "/dev/null"]);
    }

    #[track_caller]
    fn ends_with(tracer: &[&str]) {
        let dir = tempfile::tempdir().expect("a directory");
        let links = dir.path().join("links").to_string_lossy().into_owned();
        // PID 1 is the shell, and graceful a wrapper: what outlives it could not hide behind the end of the namespace.
        // Bystanders make a look at all of /proc last some milliseconds.
        let script = "for i in $(seq 300); do sleep 1000 & done; \"$@\"; echo code $?; sleep 1000";
        let options = ["--grace-period", "1s", "--kill-margin", "500ms"];
        let app = [compiled(&dir), links.clone()];
        let outer = Place::Pid1.spawn(graceful_argv(&[&["sh", "-c", script, "sh"], tracer].concat(), &options, &app));
        outer.wait_line("code 3", DEADLINE);
        let read = || std::fs::read(&links).expect("it has begun");
        let (before, _) = (read(), std::thread::sleep(std::time::Duration::from_millis(300)));
        assert_eq!(read(), before, "it goes on\n{}", outer.dump());
    }
}

/// What hooks print and what processes call themselves are words of others, and a terminal obeys some of them.
mod words_of_others {
    use super::*;

    #[test]
    fn are_shown_and_not_obeyed() {
        let dir = tempfile::tempdir().expect("a directory");
        let odd = dir.path().join("\x1b[2Jodd\nname");
        std::fs::copy("/bin/sleep", &odd).expect("it can be copied");
        let script = "\"$1\" 1000 & sleep 0.3; exit 3";
        let app = ["sh", "-c", script, "sh", &odd.to_string_lossy()].map(str::to_owned);
        let hook = r"pre-start=printf 'red \033[31m\rgraceful: forged\n'";
        let message = dir.path().join("message").to_string_lossy().into_owned();
        let options = ["--log-level", "debug", "--hook", hook, "--termination-log", &message];
        let process = Place::Wrapper.spawn(graceful_argv(&[], &options, &app));
        let (exit, _, stderr) = process.wait_output(DEADLINE);
        assert_eq!(exit, Exit::Code(3), "{stderr}");
        assert!(stderr.contains(r"red \x1b[31m\x0dgraceful: forged"), "{stderr}");
        assert!(stderr.contains(r"SIGTERM to \x1b[2Jodd\x0aname (pid "), "{stderr}");
        assert!(!stderr.contains(['\x1b', '\r']), "{stderr:?}");
    }
}

/// Address space as scarce as can be: what a start cannot do without is refused, and what was started is brought to its
/// end. An abort would be death by SIGABRT.
mod without_memory {
    use super::*;

    #[test]
    fn nothing_aborts() {
        let mut ended = std::collections::BTreeMap::<i32, Vec<u32>>::new();
        // From less than the binary itself takes on (the debug build is large) in steps of a few pages.
        let coarse = (1..200).map(|step| step * 1024).find(|limit| starts(*limit)).expect("it starts with 200 MiB");
        let least = (coarse - 1024..=coarse).step_by(64).find(|limit| starts(*limit)).expect("it starts with that");
        for limit in (least.saturating_sub(64)..least + 2000).step_by(40) {
            let script = "ulimit -v $0; exec \"$@\"";
            let graceful = crate::support::graceful().to_string_lossy().into_owned();
            // With all that a stop does: the hold looks at connections on a thread of its own.
            let options = ["--pre-stop-delay", "0s", "--grace-period", "3s", "--hook", "post-stop=echo hooked", "--"];
            // The limit is the app's too.
            let app =
                ["busybox", "sh", "-c", "trap 'exit 7' TERM; kill -TERM $PPID; while :; do busybox sleep 0.05; done"];
            let limit_text = limit.to_string();
            let argv = [&["sh", "-c", script, &limit_text, &graceful][..], &options, &app].concat();
            let process = Place::Wrapper.start(Place::Wrapper.command(argv).env_remove("RUST_BACKTRACE"));
            let code = process.wait(DEADLINE).shell_code();
            assert_ne!(code, 128 + libc::SIGABRT, "{limit} KiB\n{}", process.dump());
            assert_ne!(code, 128 + libc::SIGSEGV, "{limit} KiB\n{}", process.dump());
            ended.entry(code).or_default().push(limit);
        }
        println!("{ended:?}");
        assert!(ended.contains_key(&7), "{ended:?}");
    }

    /// Whether the kernel can load the binary at all, and it starts something that needs next to nothing.
    fn starts(limit: u32) -> bool {
        let script = format!("ulimit -v {limit}; exec \"$@\"");
        let argv = graceful_argv(&["sh", "-c", &script, "sh"], &[], &["true"]);
        Place::Wrapper.spawn(argv).wait(DEADLINE) == Exit::Code(0)
    }
}

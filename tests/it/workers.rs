//! Apps that nobody sends requests to: where provably nothing listens the default delay ends at once, so that a worker has
//! its time for its jobs; and everywhere else it is kept.

use crate::support::run::{Run, began, folder, phase_ended, words};
use crate::support::{DEADLINE, Exit, Place, Proc, app, apps, free_port, python3};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// What the log says of it.
const SAID: &str = "nothing of the app listens";
/// Of 30 s.
const DELAY: Duration = Duration::from_secs(5);
/// A delay of a second, for tests that wait for its end.
const SHORT: [&str; 2] = ["--grace-period", "4s"];

fn sockets(kind: &str, more: &[&str]) -> Vec<String> {
    [words(&[&python3(), &app("sockets.py"), kind]), words(more)].concat()
}

#[track_caller]
fn has_no_delay(report: &Value, run: &Proc) {
    assert_eq!(report["nothing_listens"], true, "{report:#}\n{}", run.dump());
    assert!(began(report, "drain") < DELAY, "{report:#}\n{}", run.dump());
    assert_eq!(run.stderr_so_far().matches(SAID).count(), 1, "{}", run.dump());
}

#[track_caller]
fn has_its_delay(report: &Value, run: &Proc) {
    assert_eq!(report["nothing_listens"], false, "{report:#}\n{}", run.dump());
    assert!(phase_ended(report, "pre-stop") >= Duration::from_millis(999), "{report:#}\n{}", run.dump());
    assert!(!run.stderr_so_far().contains(SAID), "{}", run.dump());
}

#[test]
fn where_nothing_listens_there_is_no_default_delay() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = server.local_addr().expect("bound").port().to_string();
    for kind in ["nothing", "unix_alone", "unix_own", "pair", "manager", "udp_client", "tcp_client", "not_yet"] {
        for hold in ["idle", "never", "quiet"] {
            let run = Run::start(&["--hold", hold], &sockets(kind, &[&port]));
            run.wait_line("ready", DEADLINE);
            run.stop(libc::SIGTERM);
            let report = run.ends(Exit::Code(0));
            println!("{kind}, {hold}");
            has_no_delay(&report, &run);
        }
    }
}

#[test]
fn as_pid_1_it_is_the_same() {
    let run = Run::start_pid1(&[], &sockets("nothing", &[]));
    run.wait_line("ready", DEADLINE);
    run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Code(0));
    has_no_delay(&report, &run);
}

#[test]
fn whoever_listens_keeps_the_delay() {
    let Some(()) = crate::support::root() else { return };
    let kinds = ["tcp", "tcp6", "mptcp", "udp", "vsock", "child", "other_namespace", "main_thread_gone"];
    let runs = kinds.map(|kind| (kind, Run::start(&SHORT, &sockets(kind, &[]))));
    for (kind, run) in &runs {
        run.wait_line("ready", DEADLINE);
        run.stop(libc::SIGTERM);
        println!("{kind}");
        has_its_delay(&run.ends(Exit::Code(0)), run);
    }
}

/// A control socket that nobody uses is no way for requests to come in; one with a client may be.
#[test]
fn a_unix_socket_with_a_client_keeps_the_delay() {
    let run = Run::start(&SHORT, &sockets("unix_client", &[]));
    let line = run.wait_line("connect to ", DEADLINE).text;
    let _client = UnixStream::connect(line.trim_start_matches("connect to ")).expect("it listens");
    run.wait_line("ready", DEADLINE);
    run.stop(libc::SIGTERM);
    has_its_delay(&run.ends(Exit::Code(0)), &run);
}

#[test]
fn whoever_asks_for_a_delay_or_names_where_requests_come_in_gets_it() {
    let files = folder();
    let drain = files.path().join("drain").to_string_lossy().into_owned();
    let url = format!("http://127.0.0.1:{}/", free_port());
    for (options, hold) in [
        (["--pre-stop-delay", "1s"], "idle"),
        (["--pre-stop-delay", "1s"], "never"),
        (["--ports", "8080"], "idle"),
        (["--ready-url", &url], "idle"),
        (["--drain-file", &drain], "idle"),
    ] {
        let run = Run::start(&[&SHORT[..], &options, &["--hold", hold]].concat(), &sockets("nothing", &[]));
        run.wait_line("ready", DEADLINE);
        run.stop(libc::SIGTERM);
        println!("{options:?}");
        has_its_delay(&run.ends(Exit::Code(0)), &run);
    }
}

#[test]
fn pre_stop_hooks_run_to_their_end_all_the_same() {
    let run = Run::start(&["--hook", "pre-stop=sleep 1"], &sockets("nothing", &[]));
    run.wait_line("ready", DEADLINE);
    run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Code(0));
    has_no_delay(&report, &run);
    assert!(phase_ended(&report, "pre-stop") >= Duration::from_millis(999), "{report:#}");
    assert_eq!(report["hooks"][0]["result"], "ok");
}

/// As in a container whose entry point drops privileges: what the app listens on cannot be looked up.
#[test]
fn an_app_of_another_user_keeps_its_delay() {
    let Some(()) = crate::support::root() else { return };
    let files = folder();
    let report = files.path().join("report.json");
    let start = |bounding: &str| {
        let mut command = Command::new("setpriv");
        command
            .arg(format!("--bounding-set={bounding}"))
            .arg(crate::support::graceful())
            .args(SHORT)
            .arg("--report")
            .arg(&report);
        command.args(["--", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", &python3(), "-c"]);
        command.arg("import signal, sys; print('ready', flush=True); signal.sigwait([15])");
        let run = Proc::spawn_group(&mut command);
        run.wait_line("ready", DEADLINE);
        run.signal(libc::SIGTERM);
        run.wait(DEADLINE);
        let text = std::fs::read_to_string(&report).expect("a report");
        (serde_json::from_str::<Value>(&text).expect("JSON"), run)
    };
    let (told, run) = start("-sys_ptrace");
    has_its_delay(&told, &run);
    // The control: with the privilege it is seen that there is nothing.
    let (told, run) = start("+sys_ptrace");
    assert_eq!(told["nothing_listens"], true, "{told:#}\n{}", run.dump());
}

/// Without /proc nothing is proven.
#[test]
fn without_proc_the_delay_is_kept() {
    let Some(()) = crate::support::root() else { return };
    let files = folder();
    let report = files.path().join("report.json").to_string_lossy().into_owned();
    let graceful = crate::support::graceful().to_string_lossy().into_owned();
    let script = format!(
        "mount -t tmpfs none /proc && exec {graceful} --grace-period 4s --report {report} -- {} {} nothing",
        python3(),
        app("sockets.py")
    );
    let run = Place::Wrapper.spawn(["unshare", "--mount", "sh", "-c", &script]);
    run.wait_line("ready", DEADLINE);
    run.signal(libc::SIGTERM);
    run.wait(DEADLINE);
    let text = std::fs::read_to_string(&report).expect("a report");
    has_its_delay(&serde_json::from_str(&text).expect("JSON"), &run);
}

/// One request of Redis's protocol, and its answer's first line.
fn redis(port: u16, words: &[&str]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("Redis listens");
    let mut request = format!("*{}\r\n", words.len());
    words.iter().for_each(|word| request += &format!("${}\r\n{word}\r\n", word.len()));
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).expect("it answers");
    line.trim_end().to_owned()
}

struct Redis {
    _server: Proc,
    port: u16,
}

fn redis_server(files: &tempfile::TempDir) -> Option<Redis> {
    let port = free_port();
    let mut command = Command::new(crate::support::redis_server()?);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(files.path());
    let server = Proc::spawn_group(&mut command);
    server.wait_line("Ready to accept connections", DEADLINE);
    Some(Redis { _server: server, port })
}

/// Sidekiq with a drain of 12 s, and three jobs that take longer.
fn sidekiq(redis: &Redis) -> Option<Vec<String>> {
    let sidekiq: PathBuf = crate::support::sidekiq()?;
    for number in 0..3 {
        let job = serde_json::json!({
            "class": "Job", "args": [60], "jid": format!("{number:024}"), "queue": "default", "retry": true,
            "created_at": 1.0, "enqueued_at": 1.0,
        });
        redis_push(redis, &job.to_string());
    }
    let url = format!("REDIS_URL=redis://127.0.0.1:{}/0", redis.port);
    let program = sidekiq.to_string_lossy().into_owned();
    Some(words(&["env", &url, &program, "-r", &app("sidekiq_jobs.rb"), "-c", "3", "-t", "12"]))
}

fn redis_push(server: &Redis, job: &str) {
    redis(server.port, &["SADD", "queues", "default"]);
    redis(server.port, &["LPUSH", "queue:default", job]);
}

/// Where 16 s are left, 12 s are enough for Sidekiq, and with a delay of 4 s they are not.
const SIDEKIQ: [&str; 4] = ["--grace-period", "16s", "--profile", "none"];

#[test]
fn sidekiqs_jobs_return_to_redis() {
    let files = folder();
    let Some(server) = redis_server(&files) else { return };
    let Some(command) = sidekiq(&server) else { return };
    let run = Run::start(&SIDEKIQ, &command);
    run.wait_lines("job begins", 3, DEADLINE);
    run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Code(0));
    assert_eq!(redis(server.port, &["LLEN", "queue:default"]), ":3", "{}", run.dump());
    assert_eq!((&report["nothing_listens"], &report["sigkill"]), (&true.into(), &false.into()), "{report:#}");
}

#[test]
fn control_sidekiq_alone_gives_its_jobs_back_and_with_a_delay_it_has_no_time_to() {
    let files = folder();
    let Some(server) = redis_server(&files) else { return };
    let Some(command) = sidekiq(&server) else { return };
    let bare = Proc::spawn_group(Command::new(&command[0]).args(&command[1..]));
    bare.wait_lines("job begins", 3, DEADLINE);
    bare.signal(libc::SIGTERM);
    assert_eq!(bare.wait(DEADLINE), Exit::Code(0), "{}", bare.dump());
    assert_eq!(redis(server.port, &["LLEN", "queue:default"]), ":3", "{}", bare.dump());

    let run = Run::start(&[&SIDEKIQ[..], &["--pre-stop-delay", "4s"]].concat(), &command);
    run.wait_lines("job begins", 3, DEADLINE);
    run.stop(libc::SIGTERM);
    run.ends(Exit::Signal(libc::SIGKILL));
    assert_eq!(redis(server.port, &["LLEN", "queue:default"]), ":0", "{}", run.dump());
}

#[test]
fn celery_has_no_delay_and_finishes_its_task() {
    let files = folder();
    let (Some(server), Some(venv)) = (redis_server(&files), crate::support::venv()) else { return };
    let broker = format!("redis://127.0.0.1:{}/0", server.port);
    let celery = venv.program("celery");
    let worker = words(&[&celery, "-A", "celery_app", "--workdir", &apps(), "worker", "-c", "1", "-l", "info"]);
    let command = [words(&["env", &format!("BROKER={broker}")]), worker].concat();
    // Its profile knows that it is a worker; most workers have none.
    let run = Run::start(&["--profile", "none"], &command);
    run.wait_line(" ready.", DEADLINE);
    let done = files.path().join("done");
    let mut send = Command::new(venv.program("python"));
    let text = format!("import celery_app; celery_app.work.delay(2, {:?})", done.display().to_string());
    send.args(["-c", &text]).current_dir(apps()).env("BROKER", &broker);
    assert!(send.status().expect("python runs").success());
    run.wait_line("task begins", DEADLINE);
    run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Code(0));
    has_no_delay(&report, &run);
    assert_eq!(std::fs::read_to_string(done).expect("the task wrote it"), "done\n", "{}", run.dump());
}

/// Its handler lets the job that it works on end.
const QUEUE: &str = "import signal, time\n\
    stopped = []\n\
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))\n\
    while not stopped:\n    \
        print('job begins', flush=True)\n    \
        end = time.monotonic() + 1\n    \
        while time.monotonic() < end: time.sleep(0.05)\n    \
        print('job done', flush=True)\n";

#[test]
fn a_python_queue_loop_ends_with_its_job() {
    let run = Run::start(&[], &words(&[&python3(), "-c", QUEUE]));
    run.wait_lines("job begins", 2, DEADLINE);
    run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Code(0));
    has_no_delay(&report, &run);
    let lines = run.lines();
    let count = |what: &str| lines.iter().filter(|line| line.text == what).count();
    assert_eq!(count("job begins"), count("job done"), "{}", run.dump());
}

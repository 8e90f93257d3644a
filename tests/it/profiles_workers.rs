//! Workers of queues under graceful, without being asked: each is known by its command line, gets its signal at once (nobody
//! sends it requests, so that a delay would only take from its own time), and ends when its job is done. The controls: what
//! the wrong signal does to the job.

use crate::support::run::{Run, began, folder, signals_sent, words};
use crate::support::{DEADLINE, Exit, Proc, app, free_port};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A queue with its worker.
struct Queue {
    /// The profile, and how the app of the tests calls it.
    name: &'static str,
    /// The word that tells.
    word: &'static str,
    command: fn(&Server) -> Vec<String>,
    /// What is sent where SIGTERM is received.
    signal: &'static str,
}

const HUEY: Queue = Queue {
    name: "huey",
    word: "huey_consumer",
    command: |server| words(&[&server.venv("huey_consumer"), "queue_app.huey"]),
    signal: "SIGINT stop",
};

const RQ: Queue = Queue {
    name: "rq",
    word: "rq",
    command: |server| words(&[&server.venv("rq"), "worker", "--url", &server.broker]),
    signal: "SIGTERM stop",
};

const DRAMATIQ: Queue = Queue {
    name: "dramatiq",
    word: "dramatiq",
    command: |server| words(&[&server.venv("dramatiq"), "queue_app", "--processes", "1", "--threads", "2"]),
    signal: "SIGTERM stop",
};

const ARQ: Queue = Queue {
    name: "arq",
    word: "arq",
    command: |server| words(&[&server.venv("arq"), "queue_app.Arq"]),
    signal: "SIGTERM stop",
};

/// A Redis of its own, with the queue in it.
struct Server {
    queue: &'static str,
    broker: String,
    files: PathBuf,
    bin: crate::support::Venv,
    _redis: Proc,
    _folder: tempfile::TempDir,
}

impl Server {
    fn new(queue: &Queue) -> Option<Server> {
        let (redis, bin, folder, port) =
            (crate::support::redis_server()?, crate::support::venv()?, folder(), free_port());
        let mut command = Command::new(redis);
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(folder.path());
        let redis = Proc::spawn_group(&mut command);
        redis.wait_line("Ready to accept connections", DEADLINE);
        Some(Server {
            queue: queue.name,
            broker: format!("redis://127.0.0.1:{port}/0"),
            files: folder.path().to_owned(),
            bin,
            _redis: redis,
            _folder: folder,
        })
    }

    fn venv(&self, program: &str) -> String {
        self.bin.program(program)
    }

    fn done(&self) -> PathBuf {
        self.files.join("done")
    }

    fn is_done(&self) -> bool {
        std::fs::read_to_string(self.done()).is_ok_and(|text| text == "done\n")
    }

    /// `env …`, as the worker and who gives it a job have to know the same.
    fn env(&self) -> Vec<String> {
        let apps = Path::new(&app("queue_app.py")).with_file_name("").to_string_lossy().into_owned();
        words(&[
            "env",
            "-C",
            &apps,
            &format!("PYTHONPATH={apps}"),
            &format!("QUEUE={}", self.queue),
            &format!("BROKER={}", self.broker),
        ])
    }

    fn work(&self, queue: &Queue, options: &[&str]) -> Run {
        let options = [&["--grace-period", "30s", "--log-level", "debug"], options].concat();
        Run::start(&options, &[self.env(), (queue.command)(self)].concat())
    }

    /// A job of two seconds and a half is in the queue.
    fn enqueue(&self) {
        let python = self.venv("python");
        let done = self.done().to_string_lossy().into_owned();
        let words = [self.env(), words(&[&python, &app("queue_app.py"), "2.5", &done])].concat();
        let (program, args) = words.split_first().expect("a program");
        assert!(Command::new(program).args(args).status().expect("it runs").success());
    }
}

/// A worker that has begun with its job.
fn busy(queue: &Queue, options: &[&str]) -> Option<(Server, Run)> {
    let server = Server::new(queue)?;
    server.enqueue();
    let run = server.work(queue, options);
    run.wait_line("job begins", DEADLINE);
    Some((server, run))
}

/// With graceful's defaults.
fn the_job_is_done(queue: &Queue) {
    let Some((server, run)) = busy(queue, &[]) else { return };
    run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Code(0));
    assert!(server.is_done(), "{}", run.dump());
    assert_eq!(report["sigkill"], false, "{}", run.dump());
    is_known(&run, queue);
    assert_eq!(signals_sent(&report).first().map(String::as_str), Some(queue.signal));
    let waited = began(&report, "drain");
    assert!(waited < std::time::Duration::from_secs(2), "it waited {waited:?} for nobody: {}", run.dump());
}

fn is_known(run: &Run, queue: &Queue) {
    let line = format!("profile {}, by {:?} in the command line: stopped by ", queue.name, queue.word);
    assert!(run.stderr_so_far().contains(&line), "{}", run.dump());
}

fn control_it_is_lost_on(queue: &Queue, signal: &str) {
    let Some((server, run)) = busy(queue, &["--pre-stop-delay", "0s", "--stop-signal", signal]) else { return };
    run.stop(libc::SIGTERM);
    run.wait(DEADLINE);
    assert!(!server.is_done(), "{}", run.dump());
}

#[test]
fn huey_finishes_its_task() {
    the_job_is_done(&HUEY);
}

/// What it would get without the profile.
#[test]
fn control_huey_loses_its_task_on_sigterm() {
    let Some((server, run)) = busy(&HUEY, &["--pre-stop-delay", "0s", "--profile", "none"]) else { return };
    run.stop(libc::SIGTERM);
    run.ends(Exit::Code(0));
    assert!(!server.is_done(), "{}", run.dump());
}

#[test]
fn rq_finishes_its_job() {
    the_job_is_done(&RQ);
}

#[test]
fn control_rq_loses_its_job_on_sigquit() {
    control_it_is_lost_on(&RQ, "QUIT");
}

#[test]
fn dramatiq_finishes_its_message() {
    the_job_is_done(&DRAMATIQ);
}

/// Its own limit is what interrupts a message.
#[test]
fn control_dramatiq_interrupts_its_message_after_its_own_limit() {
    let Some(server) = Server::new(&DRAMATIQ) else { return };
    server.enqueue();
    let command = [server.env(), (DRAMATIQ.command)(&server), words(&["--worker-shutdown-timeout", "200"])].concat();
    let run = Run::start(&["--grace-period", "30s"], &command);
    run.wait_line("job begins", DEADLINE);
    run.stop(libc::SIGTERM);
    run.wait(DEADLINE);
    assert!(!server.is_done(), "{}", run.dump());
}

/// It cancels the job, whatever the signal. The queue still has it, and the next worker does it.
#[test]
fn arq_puts_its_job_back() {
    let Some((server, run)) = busy(&ARQ, &[]) else { return };
    run.stop(libc::SIGTERM);
    run.ends(Exit::Code(0));
    is_known(&run, &ARQ);
    assert!(!server.is_done(), "{}", run.dump());
    let next = server.work(&ARQ, &[]);
    crate::support::run::wait_for("the job is done", || server.is_done());
    next.stop(libc::SIGTERM);
    next.ends(Exit::Code(0));
}

/// Dramatiq's own limit is in milliseconds.
#[test]
fn a_limit_of_the_workers_own_that_does_not_fit_is_told() {
    let Some(server) = Server::new(&DRAMATIQ) else { return };
    for (limit, told) in [("60000", true), ("20000", false)] {
        let mut command = [server.env(), (DRAMATIQ.command)(&server)].concat();
        command.extend(words(&["--worker-shutdown-timeout", limit]));
        let run = Run::start(&[], &command);
        run.wait_line("Worker process is ready for action", DEADLINE);
        run.stop(libc::SIGTERM);
        run.ends(Exit::Code(0));
        let line = "warning: profile dramatiq: dramatiq gives its jobs up to 1m (--worker-shutdown-timeout), and SIGKILL comes 29s";
        assert_eq!(run.stderr_so_far().contains(line), told, "{}", run.dump());
    }
}

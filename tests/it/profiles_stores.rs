//! `--profile` on stores: a real Redis and a real PostgreSQL with work under way.

use crate::support::run::{Run, folder, wait_for, words};
use crate::support::{DEADLINE, Exit, Proc, free_port};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const OPTIONS: [&str; 4] = ["--grace-period", "30s", "--pre-stop-delay", "0s"];

fn redis(options: &[&str], port: u16, files: &Path, save: &str) -> Option<Run> {
    let redis = crate::support::redis_server()?.to_string_lossy().into_owned();
    let (port, dir) = (port.to_string(), files.to_string_lossy().into_owned());
    let command = words(&[&redis, "--port", &port, "--bind", "127.0.0.1", "--save", save, "--dir", &dir]);
    let run = Run::start(&[options, &["--profile", "auto"]].concat(), &command);
    run.wait_line("Ready to accept connections", DEADLINE);
    Some(run)
}

/// One command over the protocol of its own; the first line of the answer.
fn say(port: u16, command: &str) -> String {
    use std::io::{BufRead, BufReader};
    let mut stream = std::net::TcpStream::connect(crate::support::address(port)).expect("it listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("set");
    stream.write_all(format!("{command}\r\n").as_bytes()).expect("sent");
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().expect("an answer").expect("text");
    // "$-1" is nothing at all.
    if first.starts_with('$') && first != "$-1" {
        lines.next().unwrap_or(Ok(String::new())).expect("text")
    } else {
        first
    }
}

#[test]
fn redis_saves_what_was_written() {
    let (files, port) = (folder(), free_port());
    let Some(run) = redis(&OPTIONS, port, files.path(), "3600 1") else { return };
    run.wait_line("profile redis", DEADLINE);
    assert_eq!(say(port, "SET k kept"), "+OK");
    run.stop(libc::SIGTERM);
    run.ends(Exit::Code(0));
    let Some(again) = redis(&OPTIONS, port, files.path(), "3600 1") else { return };
    assert_eq!(say(port, "GET k"), "kept");
    again.stop(libc::SIGTERM);
    again.ends(Exit::Code(0));
}

/// A script of some seconds is under way: the hold waits for it, and the client has its answer.
#[test]
fn redis_finishes_the_command_that_it_works_on() {
    let (files, port) = (folder(), free_port());
    let Some(run) = redis(&OPTIONS, port, files.path(), "") else { return };
    // From then on a script is no secret: who else asks hears that the server is busy.
    assert_eq!(say(port, "CONFIG SET busy-reply-threshold 50"), "+OK");
    let script =
        "EVAL \"local e=redis.call('TIME')[1]+3 while tonumber(redis.call('TIME')[1])<e do end return 'done'\" 0";
    let client = std::thread::spawn(move || say(port, script));
    wait_for("the script runs", || say(port, "PING").starts_with("-BUSY"));
    run.stop(libc::SIGTERM);
    run.ends(Exit::Code(0));
    assert_eq!(client.join().expect("no panic"), "done", "{}", run.dump());
}

#[test]
fn control_redis_that_is_killed_loses_what_was_written() {
    let (files, port) = (folder(), free_port());
    let Some(run) = redis(&OPTIONS, port, files.path(), "3600 1") else { return };
    assert_eq!(say(port, "SET k kept"), "+OK");
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", run.pid())).expect("children");
    crate::support::run::kill(
        children.split_whitespace().next().expect("redis").parse().expect("a pid"),
        libc::SIGKILL,
    );
    run.wait(DEADLINE);
    let Some(again) = redis(&OPTIONS, port, files.path(), "3600 1") else { return };
    assert_eq!(say(port, "GET k"), "$-1");
    again.stop(libc::SIGTERM);
    again.ends(Exit::Code(0));
}

/// A cluster that the user postgres owns, in a folder of its own: the server refuses to run as root.
struct Cluster {
    bin: PathBuf,
    files: tempfile::TempDir,
    port: u16,
}

impl Cluster {
    fn new() -> Option<Cluster> {
        crate::support::root()?;
        let bin = crate::support::postgresql()?;
        let files = folder();
        let cluster = Cluster { bin, files, port: free_port() };
        std::fs::set_permissions(cluster.files.path(), std::fs::Permissions::from_mode(0o777)).expect("set");
        let mut initdb = cluster.as_postgres("initdb");
        initdb.args(["-A", "trust", "-N", "-D"]).arg(cluster.data());
        let output = initdb.output().expect("setpriv runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(cluster)
    }

    fn data(&self) -> PathBuf {
        self.files.path().join("data")
    }

    fn words(&self, program: &str) -> Vec<String> {
        let program = self.bin.join(program).to_string_lossy().into_owned();
        words(&["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", &program])
    }

    fn as_postgres(&self, program: &str) -> Command {
        let words = self.words(program);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir("/").stdin(Stdio::null());
        command
    }

    fn start(&self, options: &[&str]) -> Run {
        let (data, files) =
            (self.data().to_string_lossy().into_owned(), self.files.path().to_string_lossy().into_owned());
        let listen = words(&["-D", &data, "-p", &self.port.to_string(), "-h", "127.0.0.1", "-k", &files]);
        let run = Run::start(options, &[self.words("postgres"), listen].concat());
        run.wait_line("database system is ready to accept connections", DEADLINE);
        run
    }

    fn psql(&self, statement: &str) -> Proc {
        let mut psql = self.as_postgres("psql");
        psql.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-h",
            "127.0.0.1",
            "-p",
            &self.port.to_string(),
            "-c",
            statement,
            "postgres",
        ]);
        Proc::spawn_group(&mut psql)
    }

    /// The lines that a statement gives.
    fn ask(&self, statement: &str) -> String {
        let (exit, stdout, stderr) = self.psql(statement).wait_output(DEADLINE);
        assert_eq!(exit, Exit::Code(0), "{stderr}");
        stdout.trim().to_owned()
    }

    /// A session that has nothing to do, until its stdin says or is closed.
    fn idle_session(&self) -> Session {
        let mut psql = self.as_postgres("psql");
        psql.args(["-X", "-q", "-A", "-t", "-h", "127.0.0.1", "-p", &self.port.to_string(), "postgres"]);
        let mut session = Session(Proc::spawn_with_stdin(&mut psql, Stdio::piped()));
        session.ask("begins");
        session
    }
}

struct Session(Proc);

impl Session {
    /// Lets the server say the word.
    fn ask(&mut self, word: &str) {
        let stdin = self.0.stdin.as_mut().expect("a pipe");
        writeln!(stdin, "select 'the server says {word}';").expect("psql reads");
        self.0.wait_line(&format!("the server says {word}"), DEADLINE);
    }

    fn close(mut self) {
        drop(self.0.stdin.take());
        assert_eq!(self.0.wait(DEADLINE), Exit::Code(0), "{}", self.0.dump());
    }
}

/// The query under way is done, a session that idles is ended, and the shutdown is a clean one.
#[test]
fn postgres_finishes_its_query_and_ends_idle_sessions() {
    let Some(cluster) = Cluster::new() else { return };
    let run = cluster.start(&[&OPTIONS[..], &["--profile", "postgres"]].concat());
    cluster.ask("create table t (x int)");
    let _idle = cluster.idle_session();
    let query = cluster.psql("insert into t select 1 from pg_sleep(2)");
    wait_for("the query", || cluster.ask("select count(*) from pg_stat_activity where wait_event='PgSleep'") == "1");
    run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Code(0));
    assert_eq!(query.wait(DEADLINE), Exit::Code(0), "{}", query.dump());
    assert_eq!(crate::support::run::signals_sent(&report), ["SIGINT stop"]);
    assert_eq!(report["sigkill"], false);
    run.wait_line("received fast shutdown request", DEADLINE);
    run.wait_line("database system is shut down", DEADLINE);
    let run = cluster.start(&OPTIONS);
    assert_eq!(cluster.ask("select count(*) from t"), "1");
    run.stop(libc::SIGINT);
    run.wait(DEADLINE);
}

/// On SIGTERM it waits for every session, however idle, and for as long as that is there.
#[test]
fn control_postgres_on_sigterm_waits_for_idle_sessions() {
    let Some(cluster) = Cluster::new() else { return };
    let run = cluster.start(&[&OPTIONS[..], &["--profile", "postgres", "--stop-signal", "TERM"]].concat());
    let mut idle = cluster.idle_session();
    run.stop(libc::SIGTERM);
    run.wait_line("received smart shutdown request", DEADLINE);
    idle.ask("it is still here");
    assert_eq!(run.exit(), None, "{}", run.dump());
    idle.close();
    run.wait_line("database system is shut down", DEADLINE);
    assert_eq!(run.ends(Exit::Code(0))["sigkill"], false, "{}", run.dump());
}

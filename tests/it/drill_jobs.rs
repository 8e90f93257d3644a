//! The drill of a worker: jobs through a stop, on a queue of files and on real queues. What is lost is counted and its cause is
//! named, the fix that is printed loses nothing, and commands that fail make no verdict.

use crate::support::run::{folder, words};
use crate::support::{DEADLINE, Exit, Proc, app, free_port, graceful_command, python3};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// Start, load, stop, looks: on a machine that has other things to do.
const DRILL: Duration = Duration::from_secs(240);

/// A drill that is over.
struct Drilled {
    code: Exit,
    document: Value,
    text: String,
}

impl Drilled {
    fn drill(&self) -> &Value {
        &self.document["drills"][0]
    }

    fn jobs(&self, what: &str) -> u64 {
        self.drill()["jobs"][what].as_u64().unwrap_or_else(|| panic!("no {what}\n{}", self.text))
    }

    #[track_caller]
    fn passes(&self) {
        assert_eq!((&self.code, &self.document["verdict"]), (&Exit::Code(0), &Value::from("passed")), "{}", self.text);
        assert_eq!((self.jobs("lost"), self.jobs("unknown")), (0, 0), "{}", self.text);
        self.adds_up();
    }

    /// Jobs are lost by this cause; its fix.
    #[track_caller]
    fn loses(&self, cause: &str, words: &str) -> String {
        assert_eq!((&self.code, &self.document["verdict"]), (&Exit::Code(1), &Value::from("failed")), "{}", self.text);
        assert!(self.jobs("lost") >= 1, "{}", self.text);
        self.fails("nothing-lost", cause, words)
    }

    /// This check fails by this cause; its fix.
    #[track_caller]
    fn fails(&self, check: &str, cause: &str, words: &str) -> String {
        assert_eq!(self.code, Exit::Code(1), "{}", self.text);
        self.adds_up();
        let findings = self.drill()["findings"].as_array().expect("a list");
        let found = findings.iter().find(|finding| finding["cause"] == cause);
        let found = found.unwrap_or_else(|| panic!("no cause {cause}: {findings:#?}\n{}", self.text));
        assert!(found["words"].as_str().is_some_and(|said| said.contains(words)), "no {words:?} in {found:#}");
        let fails = found["checks"].as_array().expect("a list");
        assert!(fails.contains(&check.into()), "{found:#}");
        found["fix"].as_str().expect("a fix").to_owned()
    }

    #[track_caller]
    fn is_inconclusive(&self, why: &str) {
        assert_eq!(
            (&self.code, &self.document["verdict"]),
            (&Exit::Code(3), &Value::from("inconclusive")),
            "{why}\n{}",
            self.text
        );
        let said = self.drill()["inconclusive"].as_str().unwrap_or_default();
        assert!(said.contains(why), "no {why:?} in {said:?}");
    }

    #[track_caller]
    fn adds_up(&self) {
        let parts = ["done", "queued", "lost", "unknown"].map(|what| self.jobs(what));
        assert_eq!(self.jobs("submitted"), parts.iter().sum::<u64>(), "{}", self.text);
        let list = self.drill()["jobs"]["list"].as_array().expect("a list");
        assert_eq!(list.len() as u64, self.jobs("submitted"), "{}", self.text);
    }

    #[track_caller]
    fn remarks(&self, what: &str) {
        let remarks = self.drill()["remarks"].as_array().expect("a list");
        let has = remarks.iter().any(|remark| remark.as_str().is_some_and(|said| said.contains(what)));
        assert!(has, "no {what:?} in {remarks:#?}\n{}", self.text);
    }
}

/// `graceful drill OPTIONS [-- COMMAND]`
fn drilled(options: &[String], command: &[String]) -> Drilled {
    let folder = folder();
    let json = folder.path().join("drill.json");
    let mut drill = graceful_command();
    drill.arg("drill").args(options).arg("-v").arg("--output").arg(format!("json={}", json.display()));
    if !command.is_empty() {
        drill.arg("--").args(command);
    }
    let (code, stdout, stderr) = Proc::spawn_group(&mut drill).wait_output(DRILL);
    let document = std::fs::read_to_string(&json).unwrap_or_default();
    Drilled { code, document: serde_json::from_str(&document).unwrap_or_default(), text: format!("{stdout}\n{stderr}") }
}

/// A queue of files.
struct Spool(TempDir);

impl Spool {
    fn new() -> Spool {
        Spool(folder())
    }

    fn path(&self) -> String {
        self.0.path().to_string_lossy().into_owned()
    }

    fn role(&self, role: &str) -> String {
        format!("{} {} {} {role}", python3(), app("spool.py"), self.path())
    }

    fn worker(&self, how: &[&str]) -> Vec<String> {
        words(&[&[&python3(), &app("spool.py"), &self.path(), "worker"], how].concat())
    }

    fn submit(&self, seconds: &str) -> Vec<String> {
        words(&["--submit", &self.role(&format!("submit {{n}} {seconds}"))])
    }

    fn commands(&self, seconds: &str) -> Vec<String> {
        let (done, queued) = (self.role("done"), self.role("queued"));
        [self.submit(seconds), words(&["--done", &done, "--queued", &queued])].concat()
    }

    /// With the commands of the queue, jobs of so many seconds, and a worker that does so about SIGTERM.
    fn drill(&self, seconds: &str, options: &[&str], how: &[&str]) -> Drilled {
        drilled(&[self.commands(seconds), words(options)].concat(), &self.worker(how))
    }
}

/// "--grace-period 8s" of a fix, as arguments.
fn grace_period(fix: &str) -> Vec<String> {
    let (_, rest) = fix.split_once("raise --grace-period to ").unwrap_or_else(|| panic!("no --grace-period in {fix}"));
    words(&["--grace-period", rest.split_whitespace().next().expect("a duration")])
}

#[test]
fn a_worker_without_a_handler_loses_its_job_and_with_one_it_loses_none() {
    let seen = Spool::new().drill("1", &["--bare"], &["none"]);
    let fix = seen.loses("jobs-no-handler", "the worker died of SIGTERM in the middle of its jobs");
    assert!(fix.contains("handle SIGTERM in the worker"), "{fix}");
    // graceful does not know when such a worker is at work.
    Spool::new().drill("1", &[], &["none"]).loses("jobs-no-handler", "it has no handler");
    Spool::new().drill("1", &[], &["handler"]).passes();
}

#[test]
fn a_handler_that_exits_at_once_is_named() {
    let fix = Spool::new().drill("2", &[], &["exit"]).loses("jobs-dropped", "without waiting for the jobs");
    assert!(fix.contains("wait for the jobs that it has taken"), "{fix}");
    Spool::new().drill("2", &[], &["handler"]).passes();
}

#[test]
fn a_worker_that_does_not_end_after_its_jobs_is_named() {
    let spool = Spool::new();
    let options = [spool.commands("1"), words(&["--bare", "--grace-period", "10s"])].concat();
    let hangs = format!("trap 'kill $w; wait $w; exec sleep 60' TERM; {} & w=$!; wait", spool.role("worker handler"));
    let seen = drilled(&options, &words(&["sh", "-c", &hangs]));
    let fix = seen.fails("exit-in-time", "jobs-hung", "it had time for its longest job");
    assert!(fix.contains("look at what it waits for"), "{fix}");
    drilled(&options, &spool.worker(&["handler"])).passes();
}

#[test]
fn sigkill_from_elsewhere_is_named() {
    let spool = Spool::new();
    let worker = spool.role("worker handler");
    let killed = format!("{worker} & w=$!; trap 'kill -KILL $w $$' TERM; wait");
    let seen = drilled(&spool.commands("2"), &words(&["sh", "-c", &killed]));
    let fix = seen.loses("jobs-killed-from-outside", "another process sent it SIGKILL");
    assert!(fix.contains("find who does"), "{fix}");
    let spool = Spool::new();
    drilled(&spool.commands("2"), &spool.worker(&["handler"])).passes();
}

#[test]
fn a_job_that_is_acknowledged_before_it_is_done_does_not_outlive_sigkill() {
    let killed = ["--bare", "--signal", "KILL", "--expect", "exit-status"];
    let seen = Spool::new().drill("1", &killed, &["handler"]);
    let fix = seen.loses("jobs-acked-early", "acknowledged before they were done");
    assert!(fix.contains("acknowledge a job when it is done"), "{fix}");
    Spool::new().drill("1", &killed, &["late"]).passes();
}

/// A worker by the name of one that has such a limit, and with the same option for it.
#[test]
fn a_limit_of_the_workers_own_is_named_and_a_longer_one_is_enough() {
    let drill = |limit_ms: &str| {
        let (spool, files) = (Spool::new(), folder());
        let dramatiq = files.path().join("dramatiq");
        let text = format!("#!/bin/sh\nexec {} $(($2 / 1000))\n", spool.role("worker handler"));
        std::fs::write(&dramatiq, text).expect("it can be written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&dramatiq, mode).expect("it can be made executable");
        let worker = words(&[&dramatiq.to_string_lossy(), "--worker-shutdown-timeout", limit_ms]);
        drilled(&[spool.commands("4"), words(&["--rate", "1"])].concat(), &worker)
    };
    let fix = drill("1000").loses("jobs-own-limit", "when its own limit was over (--worker-shutdown-timeout, 1 s)");
    assert!(fix.contains("raise --worker-shutdown-timeout above the longest job"), "{fix}");
    drill("20000").passes();
}

#[test]
fn a_budget_that_is_shorter_than_a_job_is_named_and_the_advised_one_is_enough() {
    let short = ["--rate", "1", "--grace-period", "2s"];
    let fix = Spool::new().drill("4", &short, &["handler"]).loses("jobs-budget", "in the middle of its jobs");
    let spool = Spool::new();
    let options = [spool.commands("4"), words(&["--rate", "1"]), grace_period(&fix)].concat();
    drilled(&options, &spool.worker(&["handler"])).passes();
}

#[test]
fn a_worker_that_goes_on_is_no_matter_of_the_budget() {
    let seen = Spool::new().drill("0.4", &["--grace-period", "4s"], &["ignore"]);
    let fix = seen.loses("jobs-signal-ignored", "the worker ignores SIGTERM");
    assert!(fix.starts_with("handle SIGTERM in the worker") && !fix.contains("--grace-period"), "{fix}");
    Spool::new().drill("0.4", &["--grace-period", "4s"], &["handler"]).passes();
}

#[test]
fn a_queue_that_keeps_a_job_until_it_is_done_needs_no_handler() {
    let seen = Spool::new().drill("1", &[], &["late"]);
    seen.passes();
    assert!(seen.jobs("queued") >= 1, "{}", seen.text);
}

/// What the queue still has the next worker does; what nobody has is lost.
#[test]
fn without_a_look_at_the_queue_the_next_worker_tells() {
    let options = |spool: &Spool| [spool.submit("0.5"), words(&["--done", &spool.role("done")])].concat();
    let spool = Spool::new();
    let seen = drilled(&[options(&spool), words(&["--bare"])].concat(), &spool.worker(&["none"]));
    seen.loses("jobs-no-handler", "1 job is lost");
    let spool = Spool::new();
    let seen = drilled(&options(&spool), &spool.worker(&["handler"]));
    seen.passes();
    assert!(seen.jobs("queued") >= 1, "{}", seen.text);
    seen.remarks("done by a worker that the drill started after the stop");
}

#[test]
fn a_process_and_a_command_are_drilled() {
    let how = |spool: &Spool, stop: &dyn Fn(&Proc) -> Vec<String>| {
        let command = spool.worker(&["handler"]);
        let worker = Proc::spawn_group(Command::new(&command[0]).args(&command[1..]));
        let seen = drilled(&[spool.commands("1"), stop(&worker)].concat(), &[]);
        assert_eq!(worker.wait(DEADLINE), Exit::Code(0), "{}", worker.dump());
        seen
    };
    how(&Spool::new(), &|worker| words(&["--pid", &worker.pid().to_string()])).passes();
    let stop = |worker: &Proc| words(&["--stop-command", &format!("kill {}; sleep 2", worker.pid())]);
    how(&Spool::new(), &stop).passes();
}

#[test]
fn both_ways_and_again() {
    let spool = Spool::new();
    let files = folder();
    let path = |name: &str| files.path().join(name).display().to_string();
    let (html, junit) = (format!("html={}", path("page.html")), format!("junit={}", path("junit.xml")));
    let options = ["--compare", "--repeat", "2", "--rate", "3", "--output", &html, "--output", &junit];
    let seen = spool.drill("0.7", &options, &["handler"]);
    seen.passes();
    let titles: Vec<&str> = seen.document["drills"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|drill| drill["title"].as_str())
        .collect();
    assert_eq!(titles, ["bare", "under graceful", "bare", "under graceful"], "{}", seen.text);
    for name in ["page.html", "junit.xml"] {
        let text = std::fs::read_to_string(files.path().join(name)).expect("it was written");
        assert!(text.contains("nothing-lost"), "{name}");
    }
    assert!(seen.text.contains("jobs, none lost"), "{}", seen.text);
}

/// Each as a shell command, with what is said of it.
#[test]
fn commands_that_fail_before_the_stop_make_no_verdict() {
    let spool = Spool::new();
    let (submit, done, queued) = (spool.role("submit {n} 0.2"), spool.role("done"), spool.role("queued"));
    let with = |submit: &str, done: &str, queued: &str, more: &[&str], why: &str| {
        let options = ["--submit", submit, "--done", done, "--queued", queued];
        drilled(&words(&[&options, more].concat()), &spool.worker(&["handler"])).is_inconclusive(why);
    };
    with("echo no >&2; exit 3", &done, &queued, &[], "--submit: it failed with exit status 3; it said: no");
    with("/no/such/file", &done, &queued, &[], "--submit: it failed with exit status 127; it said: ");
    with("kill -9 $$", &done, &queued, &[], "--submit: it was killed by SIGKILL");
    with("true", &done, &queued, &[], "--submit: it was to submit 1 job and printed nothing");
    with("echo a; echo b", &done, &queued, &[], "--submit: it was to submit 1 job and printed 2 lines");
    with("echo a", &done, &queued, &["--wait", "1s"], "the job \"a\" is not done after 1 s (--wait)");
    with(&submit, "exit 4", &queued, &[], "--done: it failed with exit status 4");
    with(&submit, "sleep 600", &queued, &["--timeout", "500ms"], "--done: it did not end within 500 ms (--timeout)");
    with(&submit, "yes", &queued, &[], "--done: it prints more than 64 MiB");
    with(&submit, r"printf '\377\n'", &queued, &[], "--done: it printed \"\u{fffd}\", which is not an id");
    with(&submit, &done, "exit 5", &[], "--queued: it failed with exit status 5");
    let other = "the job ";
    with(&submit, "echo other", "true", &["--wait", "1s"], other);
    with(
        &submit,
        "echo other",
        "true",
        &["--wait", "1s"],
        "printed 1 other ids, as \"other\": expected ids as --submit",
    );
}

/// After the stop a command that cannot tell makes nothing lost.
#[test]
fn commands_that_fail_after_the_stop_make_no_verdict() {
    // The worker's own handler leaves a mark: from then on the command fails.
    let spool = Spool::new();
    let mark = format!("{}/taken/mark", spool.path());
    let worker = format!("trap 'touch {mark}; kill $!; wait; exit 0' TERM; {} & wait", spool.role("worker handler"));
    let worker = words(&["sh", "-c", &worker]);
    let unless = |command: &str| format!("if [ -e {mark} ]; then exit 9; fi; {command}");
    let (done, queued) = (unless(&spool.role("done")), spool.role("queued"));
    let options = [spool.submit("1"), words(&["--done", &done, "--queued", &queued, "--settle", "1s"])].concat();
    let seen = drilled(&options, &worker);
    seen.is_inconclusive("what became of the jobs cannot be told: --done: it failed with exit status 9");
    assert_eq!(seen.jobs("lost"), 0, "{}", seen.text);
    // And so is one that cannot submit any more.
    let spool = Spool::new();
    let mark = format!("{}/taken/mark", spool.path());
    let worker = format!("trap 'touch {mark}; kill $!; wait; exit 0' TERM; {} & wait", spool.role("worker handler"));
    let submit = format!("if [ -e {mark} ]; then exit 9; fi; {}", spool.role("submit {n} 1"));
    let commands = ["--submit", &submit, "--done", &spool.role("done"), "--queued", &spool.role("queued")];
    let seen = drilled(&words(&commands), &words(&["sh", "-c", &worker]));
    seen.is_inconclusive("jobs could not be submitted through the stop: --submit: it failed with exit status 9");
}

#[test]
fn done_twice_and_ids_of_others_are_remarks() {
    let spool = Spool::new();
    let done = format!("{0}; {0}; echo other", spool.role("done"));
    let options = [spool.submit("1"), words(&["--done", &done, "--queued", &spool.role("queued")])].concat();
    let seen = drilled(&options, &spool.worker(&["handler"]));
    seen.passes();
    seen.remarks("done twice");
    seen.remarks("printed 1 id that this drill did not submit, as \"other\"");
    assert!(seen.jobs("done_twice") >= 1, "{}", seen.text);
}

/// Neither waits for the end of --wait, which would be told by other words.
#[test]
fn an_app_that_listens_nowhere_is_told_of_the_drill_of_a_worker() {
    let spool = Spool::new();
    let seen = drilled(&words(&["--wait", "30s"]), &words(&["true"]));
    seen.is_inconclusive("the app ended before the stop");
    let seen = drilled(&[], &spool.worker(&["handler"]));
    for part in ["listens nowhere and waits: it looks like a worker", "--submit", "--done", "--queued", "--url"] {
        seen.is_inconclusive(part);
    }
    // A known one, whatever is given for --wait.
    let files = folder();
    let celery = files.path().join("celery");
    std::fs::write(&celery, "#!/bin/sh\nwhile sleep 0.1; do :; done\n").expect("it can be written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&celery, mode).expect("it can be made executable");
    let seen = drilled(&words(&["--wait", "1h"]), &words(&[&celery.to_string_lossy(), "worker"]));
    seen.is_inconclusive("it is a worker (profile celery)");
}

/// A queue with a broker of its own.
struct Queue {
    name: &'static str,
    broker: String,
    bin: crate::support::Venv,
    sidekiq: Option<std::path::PathBuf>,
    _redis: Proc,
    _folder: TempDir,
}

impl Queue {
    fn new(name: &'static str) -> Option<Queue> {
        let (redis, bin, folder, port) =
            (crate::support::redis_server()?, crate::support::venv()?, folder(), free_port());
        let sidekiq = if name == "sidekiq" { Some(crate::support::sidekiq()?) } else { None };
        let mut command = Command::new(redis);
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(folder.path());
        let redis = Proc::spawn_group(&mut command);
        redis.wait_line("Ready to accept connections", DEADLINE);
        let broker = format!("redis://127.0.0.1:{port}/0");
        Some(Queue { name, broker, bin, sidekiq, _redis: redis, _folder: folder })
    }

    fn env(&self, more: &[&str]) -> Vec<String> {
        let apps = Path::new(&app("drilled.py")).with_file_name("").to_string_lossy().into_owned();
        let (queue, broker) = (format!("QUEUE={}", self.name), format!("BROKER={}", self.broker));
        let (path, redis) = (format!("PYTHONPATH={apps}"), format!("REDIS_URL={}", self.broker));
        words(&[&["env", "-C", &apps, &queue, &broker, &path, &redis], more].concat())
    }

    fn worker(&self, more: &[&str]) -> Vec<String> {
        let program = |name: &str| self.bin.program(name);
        let own = match self.name {
            "celery" => words(&[&program("celery"), "-A", "drilled", "worker", "-c", "1"]),
            "rq" => words(&[&program("rq"), "worker", "--url", &self.broker]),
            "dramatiq" => words(&[&program("dramatiq"), "drilled", "--processes", "1", "--threads", "1"]),
            _ => {
                let sidekiq = self.sidekiq.as_ref().expect("it is there").to_string_lossy().into_owned();
                words(&[&sidekiq, "-r", &app("sidekiq_jobs.rb"), "-c", "1"])
            }
        };
        [own, words(more)].concat()
    }

    fn commands(&self, env: &[&str]) -> Vec<String> {
        let python = words(&[&self.bin.program("python"), &app("drilled.py")]);
        let role = |role: &str| format!("{} {role}", [self.env(env), python.clone()].concat().join(" "));
        words(&["--submit", &role("submit {n} 2"), "--done", &role("done"), "--queued", &role("queued")])
    }

    /// A job takes two seconds, and there is one a second for one that works: at the stop it is at one.
    fn drill_with(&self, options: &[&str], more: &[&str], env: &[&str]) -> Drilled {
        let options = [self.commands(env), words(&["--rate", "1", "--wait", "90s"]), words(options)].concat();
        drilled(&options, &[self.env(env), self.worker(more)].concat())
    }

    fn drill(&self, options: &[&str], more: &[&str]) -> Drilled {
        self.drill_with(options, more, &[])
    }
}

#[test]
fn celery_loses_nothing_under_graceful() {
    let Some(queue) = Queue::new("celery") else { return };
    queue.drill(&[], &[]).passes();
}

#[test]
fn control_celery_loses_its_task_on_sigquit() {
    let Some(queue) = Queue::new("celery") else { return };
    let seen = queue.drill(&["--bare", "--signal", "QUIT"], &["--pool", "solo"]);
    let fix = seen.loses("jobs-wrong-signal", "celery finishes its jobs on SIGTERM, and SIGQUIT is what it got");
    assert!(fix.contains("stop it with SIGTERM"), "{fix}");
    queue.drill(&["--bare"], &["--pool", "solo"]).passes();
}

#[test]
fn celery_with_late_acknowledgement_loses_nothing_even_by_sigkill() {
    let Some(queue) = Queue::new("celery") else { return };
    let killed = ["--bare", "--signal", "KILL", "--expect", "exit-status"];
    let seen = queue.drill_with(&killed, &["--pool", "solo"], &["ACKS_LATE=1"]);
    seen.passes();
    assert!(seen.jobs("queued") >= 1, "{}", seen.text);
}

#[test]
fn rq_loses_nothing_under_graceful() {
    let Some(queue) = Queue::new("rq") else { return };
    queue.drill(&[], &[]).passes();
}

/// What it does not finish within its own limit it puts back.
#[test]
fn dramatiq_loses_nothing_under_graceful() {
    let Some(queue) = Queue::new("dramatiq") else { return };
    queue.drill(&[], &["--worker-shutdown-timeout", "200"]).passes();
    queue.drill(&[], &["--worker-shutdown-timeout", "20000"]).passes();
}

/// It has 25 s of its own, and puts what is not done by then back.
#[test]
fn sidekiq_loses_its_job_by_a_short_budget_and_none_with_the_advised_one() {
    let Some(queue) = Queue::new("sidekiq") else { return };
    let seen = queue.drill(&["--grace-period", "1s", "--pre-stop-delay", "0s"], &[]);
    let fix = seen.loses("jobs-budget", "the budget is shorter than a job");
    assert!(fix.contains("let the worker give up before that (-t)"), "{fix}");
    let advised = grace_period(&fix);
    let advised: Vec<&str> = advised.iter().map(String::as_str).collect();
    queue.drill(&advised, &[]).passes();
}

//! `--profile` on what runs apps, Python's servers and Node: by the server's own signal, requests in flight are done, and with graceful's defaults
//! nothing is dropped under load. The controls show what the wrong signal does, or the same server without the hold.

mod common;

use common::load::{KeptAlive, Load, Results, Slow, slow_requests};
use common::run::{Run, folder, shell, words};
use common::stopping::Site;
use common::{DEADLINE, Exit, Proc, address, app, free_port, python3, wait_http};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long the load balancer goes on sending after the signal.
const LAG: Duration = Duration::from_secs(2);
/// Nothing of graceful's own helps: the signal goes out at once.
const SIGNAL_ALONE: [&str; 6] = ["--grace-period", "30s", "--pre-stop-delay", "0s", "--hold", "never"];
const DEFAULTS: [&str; 4] = ["--grace-period", "30s", "--pre-stop-delay", "3s"];

/// One server.
struct Server {
    /// As `--profile auto` calls it.
    name: &'static str,
    /// Its command line, listening on this port; none when it is not installed.
    command: fn(u16) -> Option<Vec<String>>,
    /// So many of its processes say "worker ready".
    workers: usize,
    /// So many slow requests it works on at once.
    slow: usize,
    /// How it ends after a good stop.
    exit: Exit,
    /// A signal on which it drops what it works on; none is known of some workers.
    wrong: Option<&'static str>,
}

const UVICORN: Server = Server {
    name: "uvicorn",
    command: |port| {
        let uvicorn = common::venv()?.program("uvicorn");
        let listen = ["--port", &port.to_string(), "--log-level", "warning", "--app-dir", &apps()];
        Some([words(&[&uvicorn]), words(&listen), words(&["fastapi_app:app"])].concat())
    },
    workers: 1,
    slow: 3,
    exit: Exit::Code(143),
    wrong: Some("QUIT"),
};

const GUNICORN_SYNC: Server = Server {
    name: "gunicorn",
    command: |port| gunicorn(port, &["--workers", "3", "wsgi_app:app"]),
    workers: 3,
    slow: 2,
    exit: Exit::Code(0),
    wrong: Some("QUIT"),
};

const GUNICORN_GTHREAD: Server = Server {
    name: "gunicorn",
    command: |port| gunicorn(port, &["--worker-class", "gthread", "--threads", "8", "wsgi_app:app"]),
    workers: 1,
    slow: 3,
    exit: Exit::Code(0),
    wrong: None,
};

const GUNICORN_UVICORN: Server = Server {
    name: "gunicorn",
    command: |port| gunicorn(port, &["--worker-class", "uvicorn_worker.UvicornWorker", "fastapi_app:app"]),
    workers: 1,
    slow: 3,
    exit: Exit::Code(0),
    wrong: None,
};

const HYPERCORN: Server = Server {
    name: "hypercorn",
    command: |port| {
        let hypercorn = common::venv()?.program("hypercorn");
        let app = format!("{}fastapi_app:app", apps());
        Some(words(&[&hypercorn, "--bind", &address(port).to_string(), &app]))
    },
    workers: 1,
    slow: 3,
    exit: Exit::Code(0),
    wrong: Some("QUIT"),
};

/// Its own signal is as wrong as any: it has no handler.
const FLASK: Server = Server {
    name: "flask",
    command: |port| {
        let flask = common::venv()?.program("flask");
        Some(words(&[&flask, "--app", &app("flask_app.py"), "run", "--port", &port.to_string()]))
    },
    workers: 1,
    slow: 3,
    exit: Exit::Code(143),
    wrong: Some("TERM"),
};

const NODE: Server = Server {
    name: "node",
    command: |port| node("node_handler.js", port),
    workers: 1,
    slow: 3,
    exit: Exit::Code(0),
    wrong: None,
};

/// As Flask's.
const NODE_BARE: Server =
    Server { command: |port| node("node_bare.js", port), exit: Exit::Code(143), wrong: Some("TERM"), ..NODE };

fn node(script: &str, port: u16) -> Option<Vec<String>> {
    let node = common::node()?.to_string_lossy().into_owned();
    Some(words(&[&node, &app(script), &port.to_string()]))
}

fn gunicorn(port: u16, options: &[&str]) -> Option<Vec<String>> {
    let gunicorn = common::venv()?.program("gunicorn");
    // The control socket has one path per user: servers that run side by side would share it.
    let common = ["--bind", &address(port).to_string(), "--chdir", &apps(), "--no-control-socket"];
    Some([words(&[&gunicorn]), words(&common), words(options)].concat())
}

fn apps() -> String {
    Path::new(&app("wsgi_app.py")).with_file_name("").to_string_lossy().into_owned()
}

/// The server under graceful, ready, and so many slow requests in its hands.
fn busy(server: &Server, options: &[&str], count: usize) -> Option<(Run, u16, Slow)> {
    let port = free_port();
    let run = Run::start(&[options, &["--profile", "auto"]].concat(), &(server.command)(port)?);
    run.wait_lines("worker ready", server.workers, DEADLINE);
    wait_http(port, "/", DEADLINE);
    let slow = slow_requests(address(port), "/slow?seconds=1.5", count);
    run.wait_lines("slow begins", count.min(server.slow), DEADLINE);
    Some((run, port, slow))
}

fn its_own_signal_is_enough(server: &Server) {
    let Some((run, _, slow)) = busy(server, &SIGNAL_ALONE, server.slow) else { return };
    run.stop(libc::SIGTERM);
    let report = run.ends(server.exit);
    assert_eq!(slow.collect().dropped(), 0, "{}", run.dump());
    assert_eq!(report["sigkill"], false);
    let line = run.wait_line("profile ", DEADLINE).text;
    assert!(line.contains(server.name), "{line}");
}

fn the_wrong_signal_loses_some(server: &Server) {
    let wrong = server.wrong.expect("there is one");
    let options = [&SIGNAL_ALONE[..], &["--stop-signal", wrong]].concat();
    let Some((run, _, slow)) = busy(server, &options, server.slow) else { return };
    run.stop(libc::SIGTERM);
    run.wait(DEADLINE);
    assert!(slow.collect().dropped() > 0, "{}", run.dump());
}

/// Slow requests at the signal, new ones and kept connections for the whole of the lag, and slow ones at its end.
fn nothing_is_dropped_under_load(server: &Server) {
    let Some((run, port, slow)) = busy(server, &DEFAULTS, server.slow) else { return };
    let fresh = Load::start(address(port), "/", 30);
    let kept = KeptAlive::start(address(port), "/", 1, 10);
    fresh.wait_answered(5, DEADLINE);
    let signalled = run.stop(libc::SIGTERM);
    let late = std::thread::spawn(move || {
        std::thread::sleep((signalled + LAG).saturating_duration_since(Instant::now()));
        slow_requests(address(port), "/slow?seconds=1.5", 1).collect()
    });
    let all: [Results; 4] =
        [fresh.finish(signalled + LAG), kept.finish(signalled + LAG), slow.collect(), late.join().expect("no panic")];
    let report = run.ends(server.exit);
    let tables = || all.iter().map(|results| results.table(signalled)).collect::<Vec<_>>().join("\n");
    assert_eq!(all.iter().map(Results::dropped).sum::<usize>(), 0, "{}\n{}", tables(), run.dump());
    assert!(all[0].records.len() > 30, "{}", tables());
    assert_eq!(report["sigkill"], false);
}

macro_rules! servers {
    ($($name:ident: $server:expr, [$($test:ident)*];)*) => {$(
        mod $name {
            use super::*;

            $(#[test]
            fn $test() {
                super::$test(&$server);
            })*
        }
    )*};
}

servers! {
    uvicorn: UVICORN, [its_own_signal_is_enough the_wrong_signal_loses_some nothing_is_dropped_under_load];
    gunicorn_sync: GUNICORN_SYNC, [its_own_signal_is_enough the_wrong_signal_loses_some nothing_is_dropped_under_load];
    gunicorn_gthread: GUNICORN_GTHREAD, [its_own_signal_is_enough nothing_is_dropped_under_load];
    gunicorn_uvicorn: GUNICORN_UVICORN, [its_own_signal_is_enough nothing_is_dropped_under_load];
    hypercorn: HYPERCORN, [its_own_signal_is_enough the_wrong_signal_loses_some nothing_is_dropped_under_load];
    node: NODE, [its_own_signal_is_enough nothing_is_dropped_under_load];
    node_without_a_handler: NODE_BARE, [the_wrong_signal_loses_some nothing_is_dropped_under_load];
    flask: FLASK, [the_wrong_signal_loses_some nothing_is_dropped_under_load];
}

#[test]
fn control_flask_under_tini_loses_requests() {
    let port = free_port();
    let Some(command) = (FLASK.command)(port) else { return };
    Site::alone(port, command).loses_some_under_tini();
}

/// One worker, three requests: two wait in the backlog, where gunicorn's own graceful stop loses them.
#[test]
fn the_hold_waits_for_gunicorns_backlog_too() {
    let server = Server { command: |port| gunicorn(port, &["wsgi_app:app"]), workers: 1, slow: 1, ..GUNICORN_SYNC };
    let Some((run, _, slow)) = busy(&server, &["--grace-period", "30s", "--pre-stop-delay", "0s"], 3) else { return };
    run.stop(libc::SIGTERM);
    run.wait_line("2 never accepted", DEADLINE);
    run.ends(Exit::Code(0));
    assert_eq!(slow.collect().dropped(), 0, "{}", run.dump());
}

#[test]
fn control_gunicorn_by_itself_loses_its_backlog() {
    let server = Server { command: |port| gunicorn(port, &["wsgi_app:app"]), workers: 1, slow: 1, ..GUNICORN_SYNC };
    let Some((run, _, slow)) = busy(&server, &SIGNAL_ALONE, 3) else { return };
    run.stop(libc::SIGTERM);
    run.wait(DEADLINE);
    assert!(slow.collect().dropped() > 0, "{}", run.dump());
}

/// A Redis of its own, and a Celery worker that has begun with a task of two seconds; the file that the task writes.
fn celery(options: &[&str]) -> Option<(Proc, Run, std::path::PathBuf)> {
    let (redis, celery) = (common::redis_server()?, common::venv()?.program("celery"));
    let (port, files) = (free_port(), folder());
    let mut command = Command::new(redis);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(files.path());
    let redis = Proc::spawn_group(&mut command);
    redis.wait_line("Ready to accept connections", DEADLINE);
    let done = files.path().join("done");
    let broker = format!("redis://127.0.0.1:{port}/0");
    let worker = words(&[&celery, "-A", "celery_app", "--workdir", &apps(), "worker", "-c", "1", "--loglevel", "info"]);
    let command = [words(&["env", &format!("BROKER={broker}")]), worker].concat();
    let run = Run::start_in(files, &[options, &["--profile", "celery"]].concat(), &command);
    run.wait_line(" ready.", DEADLINE);
    let mut send = Command::new(common::venv()?.program("python"));
    let text = format!("import celery_app; celery_app.work.delay(2, {:?})", done.display().to_string());
    send.args(["-c", &text]).current_dir(apps()).env("BROKER", &broker);
    assert!(send.status().expect("python runs").success());
    run.wait_line("task begins", DEADLINE);
    Some((redis, run, done))
}

#[test]
fn celery_finishes_the_task_that_it_works_on() {
    let Some((_redis, run, done)) = celery(&["--grace-period", "30s", "--pre-stop-delay", "0s"]) else { return };
    run.stop(libc::SIGTERM);
    run.ends(Exit::Code(0));
    assert_eq!(std::fs::read_to_string(done).expect("the task wrote it"), "done\n", "{}", run.dump());
}

#[test]
fn control_celery_drops_its_task_on_quit() {
    let options = ["--grace-period", "30s", "--pre-stop-delay", "0s", "--stop-signal", "QUIT"];
    let Some((_redis, run, done)) = celery(&options) else { return };
    run.stop(libc::SIGTERM);
    run.wait(DEADLINE);
    assert!(!done.exists(), "{}", run.dump());
}

#[test]
fn a_timeout_of_the_servers_own_that_does_not_fit_is_told() {
    let port = free_port();
    let Some(command) = gunicorn(port, &["--graceful-timeout", "300", "wsgi_app:app"]) else { return };
    let run = Run::start(&["--profile", "auto"], &command);
    run.wait_line("gunicorn ends its requests after 300 s (--graceful-timeout)", DEADLINE);
    run.wait_line("worker ready", DEADLINE);
    run.stop(libc::SIGINT);
    run.wait(DEADLINE);
}

#[test]
fn what_is_said_explicitly_wins_over_the_profile() {
    let text = format!("exec {} {} --exit-on INT=7", python3(), app("signals.py"));
    let run = Run::start(&["--pre-stop-delay", "0s", "--profile", "nginx", "--stop-signal", "INT"], &shell(&text));
    run.wait_line("ready pid=", DEADLINE);
    run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Code(7));
    assert_eq!(common::run::signals_sent(&report), ["SIGINT stop"]);
}

#[test]
fn a_profile_can_be_named_by_a_variable_and_auto_may_find_nothing() {
    let find = |value: &str, app: &[&str]| {
        let mut command = common::graceful_command();
        command.env("GRACEFUL_PROFILE", value).args(["--log-level", "debug", "--"]).args(app);
        common::run::ended(&mut command)
    };
    let (_, _, nothing) = find("auto", &["/bin/true"]);
    assert!(!nothing.contains("nginx") && nothing.contains("profile"), "{nothing}");
    let (_, _, named) = find("nginx", &["/bin/true"]);
    assert!(named.contains("nginx") && named.contains("SIGQUIT"), "{named}");
    let (exit, _, wrong) = find("nginks", &["/bin/true"]);
    assert_eq!(exit, Exit::Code(2));
    assert!(wrong.contains("GRACEFUL_PROFILE") && wrong.contains("did you mean nginx?"), "{wrong}");
}

//! `--profile auto` on what runs apps, Python's servers and Node: it finds each of them, and with graceful's defaults
//! nothing is dropped under load. The controls: what the wrong signal does, what the right one does too late or without
//! the hold, and that the limits are there that the advice names.

use crate::support::load::{Slow, slow_requests};
use crate::support::run::{Run, folder, shell, words};
use crate::support::stopping::{SLOW, Site};
use crate::support::tables::servers;
use crate::support::{DEADLINE, Exit, Proc, address, app, apps, free_port, python3, wait_http};
use std::process::Command;

/// Nothing of graceful's own helps: the signal goes out at once.
const SIGNAL_ALONE: [&str; 6] = ["--grace-period", "30s", "--pre-stop-delay", "0s", "--hold", "never"];
const AUTO: [&str; 2] = ["--profile", "auto"];

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
    /// A signal on which it drops what it works on; of some workers there is none.
    wrong: Option<&'static str>,
}

const UVICORN: Server = Server {
    name: "uvicorn",
    command: |port| {
        let uvicorn = crate::support::venv()?.program("uvicorn");
        let listen = ["--port", &port.to_string(), "--log-level", "warning", "--app-dir", &apps()];
        Some([words(&[&uvicorn]), words(&listen), words(&["fastapi_app:app"])].concat())
    },
    workers: 1,
    slow: 3,
    exit: Exit::Signal(libc::SIGTERM),
    wrong: Some("QUIT"),
};

/// The supervisor of the workers ends by itself, not of the signal.
const UVICORN_WORKERS: Server = Server {
    command: |port| Some([(UVICORN.command)(port)?, words(&["--workers", "2"])].concat()),
    workers: 2,
    exit: Exit::Code(0),
    wrong: None,
    ..UVICORN
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
        let hypercorn = crate::support::venv()?.program("hypercorn");
        let app = format!("{}fastapi_app:app", apps());
        Some(words(&[&hypercorn, "--bind", &address(port).to_string(), &app]))
    },
    workers: 1,
    slow: 3,
    exit: Exit::Code(0),
    wrong: Some("QUIT"),
};

/// Its own signal is as wrong as any: it ends on the spot.
const FLASK: Server = Server {
    name: "flask",
    command: |port| {
        let flask = crate::support::venv()?.program("flask");
        Some(words(&[&flask, "--app", &app("flask_app.py"), "run", "--port", &port.to_string()]))
    },
    workers: 1,
    slow: 3,
    exit: Exit::Signal(libc::SIGTERM),
    wrong: Some("TERM"),
};

/// The reloader has a handler, which ends it and the server on the spot, and well.
const FLASK_DEBUG: Server = Server {
    command: |port| Some([(FLASK.command)(port)?, words(&["--debug"])].concat()),
    exit: Exit::Code(0),
    ..FLASK
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
const NODE_BARE: Server = Server {
    command: |port| node("node_bare.js", port),
    exit: Exit::Signal(libc::SIGTERM),
    wrong: Some("TERM"),
    ..NODE
};

fn node(script: &str, port: u16) -> Option<Vec<String>> {
    let node = crate::support::node()?.to_string_lossy().into_owned();
    Some(words(&[&node, &app(script), &port.to_string()]))
}

fn gunicorn(port: u16, options: &[&str]) -> Option<Vec<String>> {
    let gunicorn = crate::support::venv()?.program("gunicorn");
    // The control socket has one path per user: servers that run side by side would share it.
    let common = ["--bind", &address(port).to_string(), "--chdir", &apps(), "--no-control-socket"];
    Some([words(&[&gunicorn]), words(&common), words(options)].concat())
}

/// The server under graceful, ready, and so many slow requests in its hands.
fn busy(server: &Server, options: &[&str], count: usize) -> Option<(Run, u16, Slow)> {
    let port = free_port();
    let run = Run::start(&[options, &AUTO].concat(), &(server.command)(port)?);
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
    is_known(&run, server.name);
}

/// What `--profile auto` has found, and by what.
fn is_known(process: &Proc, name: &str) {
    process.wait_line(&format!("profile {name}, by \"{name}\" in the command line: stopped by "), DEADLINE);
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
    let Some(site) = site(server) else { return };
    let seen = site.drops_nothing(&AUTO, server.exit);
    is_known(&seen.process, server.name);
}

/// The same load, and the right signal at once: those lose that come after it.
fn without_delay_and_hold_new_requests_are_lost(server: &Server) {
    let Some(site) = site(server) else { return };
    let seen = site.stop_under_load(site.under_graceful(&[&SIGNAL_ALONE[..], &AUTO].concat()));
    assert!(seen.fresh.dropped() > 0, "{}", seen.table());
    assert_eq!(seen.exit, server.exit, "{}", seen.table());
}

fn site(server: &Server) -> Option<Site> {
    let port = free_port();
    Some(Site::alone(port, (server.command)(port)?))
}

servers! {
    uvicorn: UVICORN, [its_own_signal_is_enough the_wrong_signal_loses_some nothing_is_dropped_under_load];
    uvicorn_workers: UVICORN_WORKERS, [its_own_signal_is_enough nothing_is_dropped_under_load];
    gunicorn_sync: GUNICORN_SYNC, [its_own_signal_is_enough the_wrong_signal_loses_some nothing_is_dropped_under_load];
    gunicorn_gthread: GUNICORN_GTHREAD, [
        its_own_signal_is_enough nothing_is_dropped_under_load without_delay_and_hold_new_requests_are_lost
    ];
    gunicorn_uvicorn: GUNICORN_UVICORN, [
        its_own_signal_is_enough nothing_is_dropped_under_load without_delay_and_hold_new_requests_are_lost
    ];
    hypercorn: HYPERCORN, [its_own_signal_is_enough the_wrong_signal_loses_some nothing_is_dropped_under_load];
    node: NODE, [its_own_signal_is_enough nothing_is_dropped_under_load];
    node_without_a_handler: NODE_BARE, [the_wrong_signal_loses_some nothing_is_dropped_under_load];
    flask: FLASK, [the_wrong_signal_loses_some nothing_is_dropped_under_load];
    flask_debug: FLASK_DEBUG, [the_wrong_signal_loses_some nothing_is_dropped_under_load];
}

/// Its master tells them to quit, they do not, and it waits: SIGKILL has to end what TERM ends in no time.
#[test]
fn control_gunicorns_uvicorn_workers_do_not_end_on_quit() {
    let options = ["--grace-period", "5s", "--pre-stop-delay", "0s", "--hold", "never", "--stop-signal", "QUIT"];
    let Some((run, _, slow)) = busy(&GUNICORN_UVICORN, &options, 1) else { return };
    run.stop(libc::SIGTERM);
    assert_eq!(run.ends(Exit::Signal(libc::SIGKILL))["sigkill"], true, "{}", run.dump());
    slow.collect();
}

/// Requests of 4.5 s, and a server that gives them less: its signal has to wait for them.
fn its_own_limit_is_met_only_without_the_hold(server: &Server, limit: &[&str]) {
    for (options, dropped) in [(&["--grace-period", "30s", "--pre-stop-delay", "0s"][..], 0), (&SIGNAL_ALONE, SLOW)] {
        let Some(mut site) = site(server) else { return };
        site.server.extend(words(limit));
        let seen = site.stop_with_slow_requests(site.under_graceful(&[options, &AUTO].concat()), 4.5);
        assert_eq!(seen.dropped(), dropped, "{}", seen.table());
        assert_eq!(seen.exit, server.exit, "{}", seen.table());
    }
}

#[test]
fn hypercorn_gives_requests_three_seconds() {
    its_own_limit_is_met_only_without_the_hold(&HYPERCORN, &[]);
}

#[test]
fn uvicorn_gives_requests_what_its_option_says() {
    its_own_limit_is_met_only_without_the_hold(&UVICORN, &["--timeout-graceful-shutdown", "1"]);
}

#[test]
fn gunicorn_gives_requests_what_its_option_says() {
    its_own_limit_is_met_only_without_the_hold(&GUNICORN_GTHREAD, &["--graceful-timeout", "1"]);
}

#[test]
fn control_flask_under_tini_loses_requests() {
    let Some(site) = site(&FLASK) else { return };
    site.loses_some_under_tini();
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
    let (redis, celery) = (crate::support::redis_server()?, crate::support::venv()?.program("celery"));
    let (port, files) = (free_port(), folder());
    let mut command = Command::new(redis);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(files.path());
    let redis = Proc::spawn_group(&mut command);
    redis.wait_line("Ready to accept connections", DEADLINE);
    let done = files.path().join("done");
    let broker = format!("redis://127.0.0.1:{port}/0");
    let worker = words(&[&celery, "-A", "celery_app", "--workdir", &apps(), "worker", "-c", "1", "--loglevel", "info"]);
    let command = [words(&["env", &format!("BROKER={broker}")]), worker].concat();
    let run = Run::start_in(files, &[options, &AUTO].concat(), &command);
    run.wait_line(" ready.", DEADLINE);
    let mut send = Command::new(crate::support::venv()?.program("python"));
    let text = format!("import celery_app; celery_app.work.delay(2, {:?})", done.display().to_string());
    send.args(["-c", &text]).current_dir(apps()).env("BROKER", &broker);
    assert!(send.status().expect("python runs").success());
    run.wait_line("task begins", DEADLINE);
    Some((redis, run, done))
}

#[test]
fn celery_finishes_the_task_that_it_works_on() {
    let Some((_redis, run, done)) = celery(&["--grace-period", "30s", "--pre-stop-delay", "0s"]) else { return };
    is_known(&run, "celery");
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
    for (seconds, fits) in [("300", false), ("10", true)] {
        let Some(command) = gunicorn(free_port(), &["--graceful-timeout", seconds, "wsgi_app:app"]) else { return };
        let run = Run::start(&[&["--grace-period", "30s", "--pre-stop-delay", "0s"], &AUTO[..]].concat(), &command);
        run.wait_line("worker ready", DEADLINE);
        run.stop(libc::SIGTERM);
        run.ends(Exit::Code(0));
        let told = "warning: profile gunicorn: gunicorn gives its requests up to 5m (--graceful-timeout), and SIGKILL";
        assert_eq!(run.stderr_so_far().contains(told), !fits, "{}", run.dump());
        assert_eq!(run.stderr_so_far().contains("gives its requests up to"), !fits, "{}", run.dump());
    }
}

#[test]
fn what_is_said_explicitly_wins_over_the_profile() {
    let text = format!("exec {} {} --exit-on INT=7", python3(), app("signals.py"));
    let run = Run::start(&["--pre-stop-delay", "0s", "--profile", "nginx", "--stop-signal", "INT"], &shell(&text));
    run.wait_line("ready pid=", DEADLINE);
    run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Code(7));
    assert_eq!(crate::support::run::signals_sent(&report), ["SIGINT stop"]);
}

#[test]
fn a_profile_can_be_named_by_a_variable_and_auto_may_find_nothing() {
    let find = |value: &str, app: &[&str]| {
        let mut command = crate::support::graceful_command();
        command.env("GRACEFUL_PROFILE", value).args(["--log-level", "debug", "--"]).args(app);
        crate::support::run::ended(&mut command)
    };
    let (_, _, nothing) = find("auto", &["/bin/true"]);
    assert!(!nothing.contains("nginx") && nothing.contains("profile"), "{nothing}");
    let (_, _, named) = find("nginx", &["/bin/true"]);
    assert!(named.contains("nginx") && named.contains("SIGQUIT"), "{named}");
    let (exit, _, wrong) = find("nginks", &["/bin/true"]);
    assert_eq!(exit, Exit::Code(2));
    assert!(wrong.contains("GRACEFUL_PROFILE") && wrong.contains("did you mean nginx?"), "{wrong}");
}

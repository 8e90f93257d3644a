//! What graceful makes of Python's web servers without being asked: each is known by its command line, and with the defaults
//! nothing is dropped under load. The controls: what its own signal or the wrong one drops, and that the hold without a
//! profile is too short for servers whose handler does not wait.

use crate::support::run::{Run, shell, signals_sent, words};
use crate::support::stopping::{SLOW, Site};
use crate::support::tables::servers;
use crate::support::{DEADLINE, Exit, Proc, address, app, apps, free_port, graceful_command, wait_http};

/// The signal goes out at once.
const SIGNAL_ALONE: [&str; 6] = ["--grace-period", "30s", "--pre-stop-delay", "0s", "--hold", "never"];

/// One server.
struct Server {
    /// Its profile.
    name: &'static str,
    /// The word that tells; of some the command line tells nothing.
    word: Option<&'static str>,
    /// Its command line, listening on this port; none when it is not installed.
    command: fn(u16) -> Option<Vec<String>>,
    /// How it ends after a good stop.
    exit: Exit,
}

const GRANIAN: Server = Server {
    name: "granian",
    word: Some("granian"),
    command: |port| {
        let listen = ["--host", "127.0.0.1", "--port", &port.to_string(), "--working-dir", &apps()];
        venv("granian", &[&["--interface", "asgi"], &listen[..], &["fastapi_app:app"]].concat())
    },
    exit: Exit::Code(0),
};

const DAPHNE: Server = Server {
    name: "daphne",
    word: Some("daphne"),
    command: |port| in_apps(&venv("daphne", &["-b", "127.0.0.1", "-p", &port.to_string(), "fastapi_app:app"])?),
    exit: Exit::Code(0),
};

const WAITRESS: Server = Server {
    name: "waitress",
    word: Some("waitress-serve"),
    command: |port| in_apps(&venv("waitress-serve", &["--listen", &address(port).to_string(), "wsgi_app:app"])?),
    exit: Exit::Code(0),
};

const TORNADO: Server = Server {
    name: "tornado",
    word: None,
    command: |port| venv("python", &[&app("tornado_app.py"), &port.to_string()]),
    exit: Exit::Signal(libc::SIGTERM),
};

const AIOHTTP: Server = Server {
    name: "aiohttp",
    word: Some("aiohttp"),
    command: |port| {
        let listen = ["-H", "127.0.0.1", "-P", &port.to_string()];
        in_apps(&venv("python", &[&["-m", "aiohttp.web"], &listen[..], &["aiohttp_app:make"]].concat())?)
    },
    exit: Exit::Code(0),
};

const SANIC: Server = Server {
    name: "sanic",
    word: Some("sanic"),
    command: |port| {
        let listen = ["--host", "127.0.0.1", "--port", &port.to_string()];
        in_apps(&venv("sanic", &[&["sanic_app:app"], &listen[..]].concat())?)
    },
    exit: Exit::Code(0),
};

const UWSGI: Server =
    Server { name: "uwsgi", word: Some("uwsgi"), command: |port| uwsgi(port, &[]), exit: Exit::Code(0) };

/// With the meanings of TERM and QUIT swapped.
const UWSGI_DIE_ON_TERM: Server = Server { command: |port| uwsgi(port, &["--die-on-term"]), ..UWSGI };

fn uwsgi(port: u16, options: &[&str]) -> Option<Vec<String>> {
    let uwsgi = crate::support::uwsgi()?.to_string_lossy().into_owned();
    let listen = ["--plugin", "python3", "--http-socket", &address(port).to_string(), "--chdir", &apps()];
    // Its --http-socket closes every connection, and only says so if it is told to.
    let close = ["--add-header", "Connection: close"];
    let workers = ["--master", "--processes", "2", "--threads", "4", "--module", "wsgi_app:app"];
    Some([words(&[&uwsgi]), words(&listen), words(&close), words(&workers), words(options)].concat())
}

fn venv(program: &str, args: &[&str]) -> Option<Vec<String>> {
    let program = crate::support::venv()?.program(program);
    Some([words(&[&program]), words(args)].concat())
}

/// With the folder of the apps for its own, which is looked through.
fn in_apps(command: &[String]) -> Option<Vec<String>> {
    Some([words(&["env", "-C", &apps(), &format!("PYTHONPATH={}", apps())]), command.to_vec()].concat())
}

fn site(server: &Server) -> Option<Site> {
    let port = free_port();
    Some(Site::alone(port, (server.command)(port)?))
}

/// Slow requests at the signal, new ones and kept connections for the whole of the lag, and slow ones at its end.
fn nothing_is_dropped_under_load(server: &Server) {
    let Some(site) = site(server) else { return };
    let seen = site.drops_nothing(&["--log-level", "debug"], server.exit);
    is_known(&seen.process, server);
}

fn is_known(process: &Proc, server: &Server) {
    let found =
        server.word.map(|word| format!("profile {}, by {word:?} in the command line: stopped by ", server.name));
    match found {
        Some(line) => drop(process.wait_line(&line, DEADLINE)),
        None => assert!(!process.stderr_so_far().contains("profile "), "{}", process.dump()),
    }
}

fn signal_alone(server: &Server, options: &[&str], seconds: f64) -> Option<(usize, String)> {
    let site = site(server)?;
    let seen = site.stop_with_slow_requests(site.under_graceful(&[&SIGNAL_ALONE, options].concat()), seconds);
    assert_eq!(seen.slow.records.len(), SLOW);
    Some((seen.dropped(), seen.table()))
}

/// Neither delay nor hold: what the profile sends ends the requests well.
fn its_signal_alone_is_enough(server: &Server) {
    let Some((lost, what)) = signal_alone(server, &[], 1.5) else { return };
    assert_eq!(lost, 0, "{what}");
}

fn control_its_signal_alone_loses_some(server: &Server) {
    let Some((lost, what)) = signal_alone(server, &["--profile", server.name], 2.5) else { return };
    assert!(lost > 0, "{what}");
}

fn control_sigterm_alone_loses_some(server: &Server) {
    let Some((lost, what)) = signal_alone(server, &["--stop-signal", "TERM"], 1.5) else { return };
    assert!(lost > 0, "{what}");
}

/// Requests of 6 s, and 9 s until SIGKILL: half of that is too little, and the rest would be unused.
fn long_requests(server: &Server, options: &[&str]) -> Option<(usize, String)> {
    let site = site(server)?;
    let budget = ["--grace-period", "10s", "--pre-stop-delay", "0s"];
    let seen = site.stop_with_slow_requests(site.under_graceful(&[&budget, options].concat()), 6.0);
    Some((seen.dropped(), seen.table()))
}

fn the_hold_lasts_almost_to_the_end(server: &Server) {
    let Some((lost, what)) = long_requests(server, &[]) else { return };
    assert_eq!(lost, 0, "{what}");
}

fn control_without_the_profile_the_hold_is_too_short(server: &Server) {
    let Some((lost, what)) = long_requests(server, &["--profile", "none"]) else { return };
    assert!(lost > 0, "{what}");
}

servers! {
    granian: GRANIAN, [nothing_is_dropped_under_load its_signal_alone_is_enough];
    daphne: DAPHNE, [
        nothing_is_dropped_under_load control_its_signal_alone_loses_some
        the_hold_lasts_almost_to_the_end control_without_the_profile_the_hold_is_too_short
    ];
    waitress: WAITRESS, [nothing_is_dropped_under_load its_signal_alone_is_enough control_sigterm_alone_loses_some];
    // Without a handler the hold lasts as long without a profile.
    tornado: TORNADO, [
        nothing_is_dropped_under_load control_its_signal_alone_loses_some the_hold_lasts_almost_to_the_end
    ];
    aiohttp: AIOHTTP, [nothing_is_dropped_under_load its_signal_alone_is_enough];
    sanic: SANIC, [nothing_is_dropped_under_load its_signal_alone_is_enough];
    uwsgi: UWSGI, [
        nothing_is_dropped_under_load control_its_signal_alone_loses_some
        the_hold_lasts_almost_to_the_end control_without_the_profile_the_hold_is_too_short
    ];
    uwsgi_die_on_term: UWSGI_DIE_ON_TERM, [nothing_is_dropped_under_load];
    node_without_a_handler: NODE_BARE, [
        the_hold_lasts_almost_to_the_end control_without_the_profile_the_hold_is_too_short
    ];
}

const NODE_BARE: Server = Server {
    name: "node",
    word: Some("node"),
    command: |port| {
        let node = crate::support::node()?.to_string_lossy().into_owned();
        Some(words(&[&node, &app("node_bare.js"), &port.to_string()]))
    },
    exit: Exit::Signal(libc::SIGTERM),
};

/// INT ends it at once; TERM, which it would get without the profile, makes its master begin anew.
#[test]
fn uwsgi_is_stopped_by_sigint() {
    let port = free_port();
    let Some(command) = uwsgi(port, &[]) else { return };
    let run = Run::start(&["--grace-period", "20s", "--pre-stop-delay", "0s"], &command);
    run.wait_line("spawned uWSGI worker 2", DEADLINE);
    // A worker that is still being started misses its master's signal.
    wait_http(port, "/", DEADLINE);
    run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Code(0));
    assert_eq!((report["sigkill"].as_bool(), signals_sent(&report)), (Some(false), words(&["SIGINT stop"])));
}

#[test]
fn control_uwsgi_has_to_be_killed_after_sigterm() {
    let Some(command) = uwsgi(free_port(), &[]) else { return };
    let budget = ["--grace-period", "10s", "--kill-margin", "6s", "--pre-stop-delay", "0s"];
    let run = Run::start(&[&budget, &["--profile", "none"][..]].concat(), &command);
    run.wait_line("worker ready", DEADLINE);
    run.wait_line("spawned uWSGI worker 2", DEADLINE);
    run.stop(libc::SIGTERM);
    assert_eq!(run.ends(Exit::Signal(libc::SIGKILL))["sigkill"], true, "{}", run.dump());
}

/// Five seconds are all that it gives, and nothing raises them: what takes longer is the hold's to save.
#[test]
fn waitress_gives_requests_five_seconds() {
    for (options, dropped) in [(&["--grace-period", "30s", "--pre-stop-delay", "0s"][..], 0), (&SIGNAL_ALONE, SLOW)] {
        let Some(site) = site(&WAITRESS) else { return };
        let seen = site.stop_with_slow_requests(site.under_graceful(options), 7.0);
        assert_eq!(seen.dropped(), dropped, "{}", seen.table());
    }
}

/// What a start says: nothing. What a stop says of the profile: nothing where nothing differs, else one line.
#[test]
fn a_known_server_is_quiet() {
    let (one, other) = (free_port(), free_port());
    let servers = [(one, (GRANIAN.command)(one), ""), (other, uwsgi(other, &[]), "profile uwsgi, by ")];
    for (port, command, profile) in servers {
        let Some(command) = command else { return };
        let run = Run::start(&["--pre-stop-delay", "0s"], &command);
        run.wait_line(if profile.is_empty() { "worker ready" } else { "spawned uWSGI worker 2" }, DEADLINE);
        // A worker that is still being started misses its master's signal.
        wait_http(port, "/", DEADLINE);
        assert!(!run.stderr_so_far().contains("graceful: "), "{}", run.dump());
        run.stop(libc::SIGTERM);
        run.ends(Exit::Code(0));
        let said = run.stderr_so_far().lines().filter(|line| line.contains("profile ")).count();
        assert_eq!(said, usize::from(!profile.is_empty()), "{}", run.dump());
        assert!(run.stderr_so_far().contains(profile), "{}", run.dump());
    }
}

/// They have a child of their own kill it two seconds after SIGTERM.
#[test]
fn su_gives_its_command_two_seconds_and_graceful_says_so() {
    let (Some(()), Some(su)) = (crate::support::root(), crate::support::su()) else { return };
    let late = format!("exec {} -c '{}'", crate::support::python3(), LATE);
    let su = words(&[&su.to_string_lossy(), "nobody", "-s", "/bin/sh", "-c", &late]);
    let run = Run::start(&["--grace-period", "30s", "--pre-stop-delay", "0s"], &su);
    run.wait_line("su kills its command 2 s after SIGTERM", DEADLINE);
    run.wait_line("app ready", DEADLINE);
    run.stop(libc::SIGTERM);
    run.ends(Exit::Signal(libc::SIGTERM));
    assert!(!run.stdout_so_far().contains("app finished"), "{}", run.dump());
}

/// The control: what the advice names.
#[test]
fn setpriv_gives_its_command_all_the_time_that_there_is() {
    let Some(()) = crate::support::root() else { return };
    let change = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let command = [words(&change), words(&[&crate::support::python3(), "-c", LATE])].concat();
    let run = Run::start(&["--grace-period", "30s", "--pre-stop-delay", "0s"], &command);
    run.wait_line("app ready", DEADLINE);
    run.stop(libc::SIGTERM);
    run.ends(Exit::Code(7));
    assert!(run.stdout_so_far().contains("app finished"), "{}", run.dump());
    assert!(!run.stderr_so_far().contains("kills its command"), "{}", run.dump());
}

/// Needs three seconds after SIGTERM.
const LATE: &str = r#"
import os, signal, time
def stop(*_):
    time.sleep(3)
    os.write(1, b"app finished\n")
    os._exit(7)
signal.signal(signal.SIGTERM, stop)
os.write(1, b"app ready\n")
while True:
    signal.pause()
"#;

/// npm dies of the signal, and what it started has not heard of it: graceful stops that as what was left over.
#[test]
fn npm_does_not_pass_the_signal_on_and_graceful_does() {
    let Some(npm) = crate::support::npm() else { return };
    let folder = crate::support::run::folder();
    let script = "process.on('SIGTERM', () => { console.log('app heard'); process.exit(0) }); \
                  setInterval(() => 0, 1000); console.log('app ready')";
    std::fs::write(folder.path().join("app.js"), script).expect("written");
    let package = r#"{"name": "app", "version": "1.0.0", "scripts": {"start": "node app.js"}}"#;
    std::fs::write(folder.path().join("package.json"), package).expect("written");
    let start = format!("cd {} && exec {} start", folder.path().display(), npm.display());
    let bare = Proc::spawn_group(std::process::Command::new("sh").args(["-c", &start]));
    bare.wait_line("app ready", DEADLINE);
    bare.signal(libc::SIGTERM);
    assert_eq!(bare.wait(DEADLINE), Exit::Signal(libc::SIGTERM));
    assert!(!bare.stdout_so_far().contains("app heard"), "{}", bare.dump());
    drop(bare);
    let run = Run::start_in(folder, &["--grace-period", "30s", "--pre-stop-delay", "0s"], &shell(&start));
    run.wait_line("app ready", DEADLINE);
    run.stop(libc::SIGTERM);
    run.ends(Exit::Signal(libc::SIGTERM));
    run.wait_line("app heard", DEADLINE);
}

/// The server's own file is read, and never run: what is started here is not gunicorn, so that nobody else reads it.
#[test]
fn a_servers_own_file_is_compared_with_the_budget() {
    let folder = crate::support::run::folder();
    for (text, told) in [
        ("graceful_timeout = 90\n", true),
        ("graceful_timeout = 10\n", false),
        ("graceful_timeout = 9 * 10\n", false),
        ("open('executed', 'w')\ngraceful_timeout = 90\nraise SystemExit\n", true),
    ] {
        std::fs::write(folder.path().join("gunicorn.conf.py"), text).expect("written");
        let mut graceful = graceful_command();
        graceful.current_dir(folder.path()).args(["--profile", "gunicorn", "--log-level", "warn", "--", "true"]);
        let (exit, _, said) = crate::support::run::ended(&mut graceful);
        let line = "profile gunicorn: gunicorn gives its requests up to 1m 30s (graceful_timeout in gunicorn.conf.py), and \
                    SIGKILL comes 24s after its stop signal: lower it, or raise --grace-period";
        assert_eq!((exit, said.contains(line)), (Exit::Code(0), told), "{text}: {said}");
        assert!(!folder.path().join("executed").exists(), "{text}");
    }
}

//! Real servers under load, stopped with SIGTERM.
//!
//! Each server is one row ([`Server`]) and is stopped in four ways ([`Way`]). Two are controls: alone, and under
//! tini as PID 1, every server drops requests that are sent after the signal, since it stops listening at once
//! while the load balancer does not know yet. Under graceful, as a wrapper and as PID 1, the same server under
//! the same load drops nothing, and its exit status comes through.
//!
//! The load: 50 requests a second on new connections, from before the signal until 2 s after it (the lag of the
//! load balancer), and slow requests that the server has begun when the signal comes.

use crate::support::load::{Load, Outcome, Record, Results, slow_requests};
use crate::support::{
    DEADLINE, Exit, Proc, address, app, apps, free_port, graceful, graceful_command, in_pid_namespace, wait_http,
};
use std::ffi::OsString;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long the load balancer goes on sending after the signal. Shorter than graceful's delay, so that a machine
/// which is late by less than a second cannot fail the test.
const LAG: Duration = Duration::from_secs(2);
const OPTIONS: [&str; 5] = ["--grace-period", "20s", "--pre-stop-delay", "3s", "--"];
const RATE: u32 = 50;
/// The grace period and more: a stop that takes longer than this is broken.
const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// One server, and what SIGTERM does to it when nothing stands between.
struct Server {
    /// Its command line, listening on this port; none when it is not installed.
    command: fn(u16) -> Option<Vec<String>>,
    /// How many of its processes serve. Each says "worker ready".
    workers: usize,
    /// How many slow requests are in flight at the signal. Fewer than it has workers where each serves one at a
    /// time, so that nothing waits in the backlog.
    slow: usize,
    /// Whether it finishes those before it exits.
    finishes: bool,
    /// How it ends.
    exit: Exit,
}

const UVICORN: Server = Server {
    command: |port| {
        let uvicorn = crate::support::venv()?.program("uvicorn");
        let listen = ["--port", &port.to_string(), "--log-level", "warning"];
        Some(line(&uvicorn, &listen, &["--app-dir", &apps(), "fastapi_app:app"]))
    },
    workers: 1,
    slow: 3,
    finishes: true,
    // It shuts down cleanly and then raises the signal again.
    exit: Exit::Signal(libc::SIGTERM),
};

const GUNICORN_SYNC: Server = Server {
    command: |port| gunicorn(port, &["--workers", "4", "wsgi_app:app"]),
    workers: 4,
    slow: 2,
    finishes: true,
    exit: Exit::Code(0),
};

const GUNICORN_UVICORN: Server = Server {
    command: |port| {
        gunicorn(port, &["--workers", "2", "--worker-class", "uvicorn_worker.UvicornWorker", "fastapi_app:app"])
    },
    workers: 2,
    slow: 3,
    finishes: true,
    exit: Exit::Code(0),
};

const NODE_HANDLER: Server =
    Server { command: |port| node("node_handler.js", port), workers: 1, slow: 3, finishes: true, exit: Exit::Code(0) };

const NODE_BARE: Server = Server {
    command: |port| node("node_bare.js", port),
    workers: 1,
    slow: 3,
    finishes: false,
    exit: Exit::Signal(libc::SIGTERM),
};

/// What stands between the signal and the server.
#[derive(Clone, Copy)]
enum Way {
    Alone,
    TiniAsPid1,
    Graceful,
    GracefulAsPid1,
}

macro_rules! servers {
    ($($name:ident: $server:expr,)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn alone_it_drops_requests() {
                assert_control(&$server, Way::Alone);
            }

            #[test]
            fn under_tini_it_drops_requests() {
                assert_control(&$server, Way::TiniAsPid1);
            }

            #[test]
            fn under_graceful_it_drops_nothing() {
                assert_clean(&$server, Way::Graceful);
            }

            #[test]
            fn under_graceful_as_pid_1_it_drops_nothing() {
                assert_clean(&$server, Way::GracefulAsPid1);
            }
        }
    )*};
}

servers! {
    uvicorn: UVICORN,
    gunicorn_sync: GUNICORN_SYNC,
    gunicorn_uvicorn: GUNICORN_UVICORN,
    node_handler: NODE_HANDLER,
    node_bare: NODE_BARE,
}

/// What became of the load and of the server.
struct Stop {
    process: Proc,
    signalled: Instant,
    fast: Results,
    slow: Results,
    exit: Exit,
}

/// The controls: the fault that graceful is there for, and that this test sees it.
fn assert_control(server: &Server, way: Way) {
    let Some(stop) = stop_under_load(server, way) else { return };
    let what = stop.describe();
    let (before, after): (Vec<&Record>, Vec<&Record>) =
        stop.fast.records.iter().partition(|record| record.done < stop.signalled);
    assert!(before.iter().all(|record| record.outcome == Outcome::Ok), "dropped before the signal\n{what}");
    let lost = [Outcome::Refused, Outcome::BlackHole, Outcome::Reset, Outcome::Truncated];
    assert!(after.iter().any(|record| lost.contains(&record.outcome)), "nothing dropped after the signal\n{what}");
    assert_eq!(stop.slow.dropped() == 0, server.finishes, "slow requests\n{what}");
    let exit = match way {
        Way::Alone => server.exit,
        _ => Exit::Code(server.exit.shell_code()),
    };
    assert_eq!(stop.exit, exit, "{what}");
}

fn assert_clean(server: &Server, way: Way) {
    let Some(stop) = stop_under_load(server, way) else { return };
    let what = stop.describe();
    let after = stop.fast.records.iter().filter(|record| record.sent >= stop.signalled).count();
    assert!(after as u64 >= u64::from(RATE) * LAG.as_secs() / 2, "only {after} requests after the signal\n{what}");
    assert_eq!(stop.fast.dropped(), 0, "requests dropped\n{what}");
    assert_eq!(stop.slow.dropped(), 0, "slow requests dropped\n{what}");
    let exit = match way {
        Way::Graceful => server.exit,
        _ => Exit::Code(server.exit.shell_code()),
    };
    assert_eq!(stop.exit, exit, "{what}");
}

/// Starts the server, loads it, sends the signal and waits for every request and for the exit.
fn stop_under_load(server: &Server, way: Way) -> Option<Stop> {
    let port = free_port();
    let process = start(way, &(server.command)(port)?)?;
    process.wait_lines("worker ready", server.workers, DEADLINE);
    wait_http(port, "/healthz", DEADLINE);

    let load = Load::start(address(port), "/", RATE);
    load.wait_answered(RATE as usize / 5, DEADLINE);
    let slow = slow_requests(address(port), "/slow?seconds=1.5", server.slow);
    process.wait_lines("slow begins", server.slow, DEADLINE);

    let signalled = Instant::now();
    process.signal(libc::SIGTERM);
    let fast = load.finish(signalled + LAG);
    let slow = slow.collect();
    let exit = process.wait(STOP_DEADLINE);
    Some(Stop { process, signalled, fast, slow, exit })
}

fn start(way: Way, server: &[String]) -> Option<Proc> {
    let as_pid_1 = |init: OsString, options: &[&str]| {
        let options = options.iter().map(OsString::from);
        let args = std::iter::once(init).chain(options).chain(server.iter().map(OsString::from));
        Proc::spawn_pid1(&mut in_pid_namespace(args))
    };
    Some(match way {
        Way::Alone => Proc::spawn_group(Command::new(&server[0]).args(&server[1..])),
        Way::TiniAsPid1 => as_pid_1(crate::support::tini()?.into(), &["--"]),
        Way::Graceful => Proc::spawn_group(graceful_command().args(OPTIONS).args(server)),
        Way::GracefulAsPid1 => as_pid_1(graceful().into(), &OPTIONS),
    })
}

impl Stop {
    fn describe(&self) -> String {
        let (fast, slow) = (self.fast.table(self.signalled), self.slow.table(self.signalled));
        let text = format!("times from the stop signal\n{fast}\nslow requests\n{slow}\n{}", self.process.dump());
        println!("{text}");
        text
    }
}

fn gunicorn(port: u16, options: &[&str]) -> Option<Vec<String>> {
    let gunicorn = crate::support::venv()?.program("gunicorn");
    // The control socket has one path per user: servers that run side by side would share it.
    let common = ["--bind", &address(port).to_string(), "--chdir", &apps(), "--no-control-socket"];
    Some(line(&gunicorn, &common, options))
}

fn node(script: &str, port: u16) -> Option<Vec<String>> {
    let node = crate::support::node()?.to_string_lossy().into_owned();
    Some(line(&node, &[&app(script)], &[&port.to_string()]))
}

fn line(program: &str, first: &[&str], then: &[&str]) -> Vec<String> {
    [&[program], first, then].concat().into_iter().map(str::to_owned).collect()
}

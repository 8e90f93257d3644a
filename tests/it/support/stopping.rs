//! A stop under load: what its clients saw, and what a good and a bad one look like.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use super::load::{KeptAlive, Load, Outcome, Results, slow_requests};
use super::{DEADLINE, Exit, Proc, address, graceful_command, in_pid_namespace, wait_http};

/// How long the load balancer goes on sending after the signal.
pub(crate) const LAG: Duration = Duration::from_secs(2);
/// The grace period and more.
const STOP_DEADLINE: Duration = Duration::from_secs(40);
/// How many slow requests are sent at once.
pub(crate) const SLOW: usize = 3;
const SLOW_PATH: &str = "/slow?seconds=1.5";
/// The defaults for Kubernetes, but for a shorter delay. It is longer than [`LAG`], and the last slow requests end half a
/// second after it.
const OPTIONS: [&str; 4] = ["--grace-period", "30s", "--pre-stop-delay", "3s"];

/// What stands beside the server that is stopped, and outlives it.
pub(crate) enum Beside {
    Nothing,
    /// What the server is a proxy of.
    Upstream(Proc),
    /// A proxy that speaks HTTP for the server.
    Front(Proc),
}

/// A server that can be started, and the port that its clients use. Whatever answers slowly says "slow begins".
pub(crate) struct Site {
    pub(crate) port: u16,
    pub(crate) server: Vec<String>,
    pub(crate) beside: Beside,
    /// Kept until the end, and then removed.
    pub(crate) _folder: Option<tempfile::TempDir>,
}

/// What the clients saw.
pub(crate) struct Seen {
    pub(crate) fresh: Results,
    pub(crate) kept: Results,
    pub(crate) slow: Results,
    pub(crate) exit: Exit,
    pub(crate) process: Proc,
    signalled: Instant,
}

impl Site {
    /// A server that needs nothing else.
    pub(crate) fn alone(port: u16, server: Vec<String>) -> Site {
        Site { port, server, beside: Beside::Nothing, _folder: None }
    }

    /// `graceful OPTIONS -- SERVER`.
    pub(crate) fn under_graceful(&self, options: &[&str]) -> Proc {
        Proc::spawn_group(graceful_command().args(options).arg("--").args(&self.server))
    }

    /// Who says "slow begins".
    fn teller<'a>(&'a self, process: &'a Proc) -> &'a Proc {
        match &self.beside {
            Beside::Upstream(upstream) => upstream,
            Beside::Front(_) | Beside::Nothing => process,
        }
    }

    fn dump(&self) -> String {
        match &self.beside {
            Beside::Upstream(process) | Beside::Front(process) => process.dump(),
            Beside::Nothing => String::new(),
        }
    }

    /// New connections, kept ones and slow requests that begin before the signal and at the end of the lag, when the
    /// delay is nearly over.
    #[track_caller]
    pub(crate) fn stop_under_load(&self, process: Proc) -> Seen {
        let server = address(self.port);
        wait_http(self.port, "/", DEADLINE);
        let fresh = Load::start(server, "/", 50);
        let kept = KeptAlive::start(server, "/", 4, 20);
        fresh.wait_answered(10, DEADLINE);
        let slow = slow_requests(server, SLOW_PATH, SLOW);
        self.teller(&process).wait_lines("slow begins", SLOW, DEADLINE);
        let signalled = Instant::now();
        process.signal(libc::SIGTERM);
        let late = std::thread::spawn(move || {
            // The last moment at which a load balancer may send.
            std::thread::sleep((signalled + LAG).saturating_duration_since(Instant::now()));
            slow_requests(server, SLOW_PATH, SLOW).collect()
        });
        let (fresh, kept) = (fresh.finish(signalled + LAG), kept.finish(signalled + LAG));
        let mut slow = slow.collect();
        slow.records.extend(late.join().expect("no panic").records);
        let exit = process.wait(STOP_DEADLINE);
        Seen { fresh, kept, slow, exit, process, signalled }
    }

    /// Slow requests alone, of this many seconds, and the signal at once: what the server makes of it.
    #[track_caller]
    pub(crate) fn stop_with_slow_requests(&self, process: Proc, seconds: f64) -> Seen {
        wait_http(self.port, "/", DEADLINE);
        let slow = slow_requests(address(self.port), &format!("/slow?seconds={seconds}"), SLOW);
        self.teller(&process).wait_lines("slow begins", SLOW, DEADLINE);
        let signalled = Instant::now();
        process.signal(libc::SIGTERM);
        let slow = slow.collect();
        let exit = process.wait(STOP_DEADLINE);
        let none = || Results { records: Vec::new() };
        Seen { fresh: none(), kept: none(), slow, exit, process, signalled }
    }

    /// Under graceful the clients lose nothing, and it ends like this.
    #[track_caller]
    pub(crate) fn drops_nothing(&self, options: &[&str], exit: Exit) -> Seen {
        let seen = self.stop_under_load(self.under_graceful(&[&OPTIONS, options].concat()));
        let what = format!("{}\n{}", seen.table(), self.dump());
        assert_eq!(seen.dropped(), 0, "{what}");
        assert!(seen.fresh.records.len() > 100 && seen.kept.records.len() > 100, "{what}");
        assert_eq!(seen.exit, exit, "{what}");
        seen
    }

    /// The control: under tini as PID 1 they do. Nothing is started where there is no tini.
    #[track_caller]
    pub(crate) fn loses_some_under_tini(&self) {
        let Some(tini) = super::tini() else { return };
        let server = self.server.iter().map(OsString::from);
        let args = [tini.into_os_string(), "--".into()].into_iter().chain(server);
        let seen = self.stop_under_load(Proc::spawn_pid1(&mut in_pid_namespace(args)));
        let what = format!("{}\n{}", seen.table(), self.dump());
        assert!(seen.slow.count(Outcome::Ok) < seen.slow.records.len(), "{what}");
        assert!(seen.fresh.dropped() > 0, "{what}");
    }
}

impl Seen {
    pub(crate) fn dropped(&self) -> usize {
        self.fresh.dropped() + self.kept.dropped() + self.slow.dropped()
    }

    pub(crate) fn table(&self) -> String {
        let tables = [&self.fresh, &self.kept, &self.slow].map(|results| results.table(self.signalled)).join("\n");
        format!("{tables}\nended: {:?}\n{}", self.exit, self.process.dump())
    }
}

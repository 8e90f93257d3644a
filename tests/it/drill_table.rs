//! What a drill comes to, as a table: what is wrong with the app, and what is in charge of it. Another init hands a signal
//! on and no more, so that a fault is the same under it; what it changes is told by the rows that differ.
//!
//! A row has the verdict, the causes, and the flags that are advised for them. Of `a/b` one is there at
//! least, by how long the last request takes; a cause in parentheses may be there, too: it takes a request that is just then on
//! its way.

use crate::drill_advice::{Drilled, LOAD, drilled, with};
use crate::support::run::words;
use crate::support::{Exit, address, app, free_port, graceful, python3};
use std::collections::BTreeSet;

/// What is in charge, as the rows have it.
const INITS: [&str; 4] = ["bare", "tini", "dumb-init", "graceful"];
/// Of the drill under graceful: longer than the load balancer lags.
const DELAY: &str = "--pre-stop-delay=1s";

/// One kind of app.
struct Fault {
    /// Its command line: `demo FAULT` or `odd OPTIONS`.
    app: &'static str,
    /// Options of the drill besides.
    options: &'static str,
    /// In the order of [`INITS`]: "verdict: causes | flags".
    rows: [&'static str; 4],
}

impl Fault {
    fn command(&self, port: u16) -> Vec<String> {
        let (program, options) = self.app.split_once(' ').unwrap_or((self.app, ""));
        let own = graceful().to_string_lossy().into_owned();
        let options = options.split_whitespace().map(str::to_owned);
        match program {
            "demo" => {
                let fault = options.map(|fault| format!("--fault={fault}"));
                words(&[&own, "demo-app", &address(port).to_string()]).into_iter().chain(fault).collect()
            }
            _ => words(&[&python3(), &app("odd.py"), &port.to_string()]).into_iter().chain(options).collect(),
        }
    }

    fn is_seen(&self) {
        let (Some(tini), Some(dumb_init)) = (crate::support::tini(), crate::support::dumb_init()) else { return };
        let [tini, dumb_init] = [tini, dumb_init].map(|path| path.to_string_lossy().into_owned());
        let before = [vec![], words(&[&tini, "-s", "--"]), words(&[&dumb_init, "--"]), vec![]];
        let all: Vec<_> = INITS.into_iter().zip(before).zip(self.rows).collect();
        // Most of the time they wait; more than two at once would be a load of their own.
        for two in all.chunks(2) {
            std::thread::scope(|scope| {
                let drills =
                    two.iter().map(|((init, before), row)| scope.spawn(move || self.comes_to(init, before, row)));
                drills.collect::<Vec<_>>().into_iter().for_each(|drill| drill.join().expect("as in the table"));
            });
        }
    }

    fn comes_to(&self, init: &str, before: &[String], row: &str) {
        let port = free_port();
        let url = format!("--url=http://127.0.0.1:{port}/");
        let way = if init == "graceful" { DELAY } else { "--bare" };
        let own = words(&[&url, "--slow-target=/slow?seconds=0.8&ms=800", way]);
        let options: Vec<String> =
            self.options.split_whitespace().map(|option| option.replace("PORT", &port.to_string())).collect();
        let command = [before.to_vec(), self.command(port)].concat();
        // Where the machine stood still there may be nothing in flight at the stop.
        let has_some = |seen: &Drilled| {
            let checks = seen.document["drills"][0]["checks"].as_array().expect("checks");
            checks.iter().any(|check| check["name"] == "in-flight" && check["result"] != "skipped")
        };
        let mut tries = (0..3).map(|_| drilled(&with(&[words(&LOAD), own.clone()].concat(), &options), &command));
        let seen = tries.find(has_some).expect("some are in flight at the stop");
        let what = format!("{} under {init}, expected {row}\n{}", self.app, seen.text);
        let (verdict, rest) = row.split_once(':').unwrap_or((row, ""));
        let (causes, flags) = rest.split_once('|').unwrap_or((rest, ""));
        let code = if verdict == "passed" { Exit::Code(0) } else { Exit::Code(1) };
        assert_eq!((seen.code, seen.document["verdict"].as_str()), (code, Some(verdict)), "{what}");
        let told: BTreeSet<&str> = seen.findings().iter().filter_map(|finding| finding["cause"].as_str()).collect();
        let (may, must): (Vec<&str>, Vec<&str>) = causes.split_whitespace().partition(|cause| cause.starts_with('('));
        let one_of = |causes: &str| causes.split('/').any(|cause| told.contains(cause));
        assert!(must.iter().all(|causes| one_of(causes)), "{told:?}: {what}");
        let known =
            |told: &&str| must.iter().chain(&may).any(|known| known.split(['/', '(', ')']).any(|one| one == *told));
        assert!(told.iter().all(known), "{told:?}: {what}");
        assert_eq!(seen.flags().join(" "), flags.trim(), "{what}");
    }
}

macro_rules! table {
    ($($name:ident: $app:literal $(with $options:literal)? => $rows:expr;)*) => {$(
        #[test]
        fn $name() {
            Fault { app: $app, options: concat!($($options)?), rows: $rows }.is_seen();
        }
    )*};
}

table! {
    a_good_stop_that_is_too_early: "demo" => [
        "failed: stopped-listening/refused-after-exit (idle-closed) | --pre-stop-delay=800ms",
        "failed: stopped-listening/refused-after-exit (idle-closed) | --pre-stop-delay=800ms",
        "failed: stopped-listening/refused-after-exit (idle-closed) | --pre-stop-delay=800ms",
        "passed",
    ];
    no_handler: "demo no-handler" => [
        "failed: no-handler refused-after-exit (backlog-lost) | --hold=idle --pre-stop-delay=800ms",
        "failed: no-handler refused-after-exit (backlog-lost) | --hold=idle --pre-stop-delay=800ms",
        "failed: no-handler refused-after-exit (backlog-lost) | --hold=idle --pre-stop-delay=800ms",
        "passed",
    ];
    exits_at_once: "demo exits-at-once" => [
        "failed: exits-at-once refused-after-exit (backlog-lost) | --hold=idle --pre-stop-delay=800ms",
        "failed: exits-at-once refused-after-exit (backlog-lost) | --hold=idle --pre-stop-delay=800ms",
        "failed: exits-at-once refused-after-exit (backlog-lost) | --hold=idle --pre-stop-delay=800ms",
        "passed",
    ];
    // What hangs below another init outlives that, and keeps its port.
    hangs: "demo hangs" with "--grace-period=4s" => [
        "failed: killed-by-drill",
        "failed: killed-by-drill helpers-left",
        "failed: killed-by-drill helpers-left",
        "failed: killed-by-graceful",
    ];
    exits_143: "demo exits-143" => [
        "failed: stopped-listening/refused-after-exit exit-status (idle-closed) | --pre-stop-delay=800ms --success-exit-status=143",
        "failed: stopped-listening/refused-after-exit exit-status (idle-closed) | --pre-stop-delay=800ms --success-exit-status=143",
        "failed: stopped-listening/refused-after-exit exit-status (idle-closed) | --pre-stop-delay=800ms --success-exit-status=143",
        "passed",
    ];
    leaves_a_child: "demo leaves-child" => [
        "failed: stopped-listening/refused-after-exit helpers-left (idle-closed) | --pre-stop-delay=800ms",
        "failed: stopped-listening/refused-after-exit helpers-left (idle-closed) | --pre-stop-delay=800ms",
        "failed: stopped-listening/refused-after-exit helpers-left (idle-closed) | --pre-stop-delay=800ms",
        "failed: helpers-left",
    ];
    // dumb-init sends a signal to the whole group of its child, when that has ended, too.
    leaves_a_helper_in_its_group: "odd --serve-on 1 --helper 60" => [
        "failed: helpers-left",
        "failed: helpers-left",
        "passed",
        "failed: helpers-left",
    ];
    keeps_ready: "demo keeps-ready" with "--ready-url=http://127.0.0.1:PORT/ready" => [
        "failed: stopped-listening/refused-after-exit readiness-late (idle-closed) | --pre-stop-delay=800ms",
        "failed: stopped-listening/refused-after-exit readiness-late (idle-closed) | --pre-stop-delay=800ms",
        "failed: stopped-listening/refused-after-exit readiness-late (idle-closed) | --pre-stop-delay=800ms",
        "failed: readiness-late",
    ];
    answers_503: "odd --stop 503 --serve-on 1" => [
        "failed: error-while-stopping | --pre-stop-delay=800ms",
        "failed: error-while-stopping | --pre-stop-delay=800ms",
        "failed: error-while-stopping | --pre-stop-delay=800ms",
        "passed",
    ];
    accepts_nothing_more: "odd --stop hole --serve-on 3" => [
        "failed: never-accepted (backlog-lost) | --pre-stop-delay=800ms",
        "failed: never-accepted (backlog-lost) | --pre-stop-delay=800ms",
        "failed: never-accepted (backlog-lost) | --pre-stop-delay=800ms",
        "passed",
    ];
    cuts_requests_off: "odd --stop cut --serve-on 1" => [
        "failed: cut-while-stopping | --hold=idle",
        "failed: cut-while-stopping | --hold=idle",
        "failed: cut-while-stopping | --hold=idle",
        "passed",
    ];
    closes_kept_connections: "odd --stop kept --serve-on 1" => [
        "failed: idle-closed | --pre-stop-delay=800ms",
        "failed: idle-closed | --pre-stop-delay=800ms",
        "failed: idle-closed | --pre-stop-delay=800ms",
        "passed",
    ];
    says_3: "odd --serve-on 1 --status 3" => [
        "failed: exit-status | --success-exit-status=3",
        "failed: exit-status | --success-exit-status=3",
        "failed: exit-status | --success-exit-status=3",
        "failed: exit-status | --success-exit-status=3",
    ];
}

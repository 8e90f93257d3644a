//! What happens to containers besides a stop: kills, a pause, a full disk, too many processes, a network that is cut, an
//! engine that is started again.
//!
//! What holds in each case: the exit status is the app's or that of the signal that ended it; a report that can be written
//! is whole; nothing outlives the container; and the budget of a stop is the clock's, whatever stood still meanwhile.

use crate::support::cluster::Cluster;
use crate::support::docker::{Container, Image, Network, docker, image, try_docker};
use crate::support::{DEADLINE, Proc};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SIGNALS: [&str; 2] = ["/usr/bin/python3", "/apps/signals.py"];
/// An app that ends well and takes a second over it.
const SECOND: [&str; 4] = ["--delay", "1", "--exit-on", "TERM=5"];
const NO_DELAY: [&str; 2] = ["--pre-stop-delay", "0s"];

/// graceful as PID 1 with these options, and an app that tells its signals.
fn run(image: &Arc<Image>, docker: &[&str], graceful: &[&str], app: &[&str]) -> Container {
    let container = Container::run(image, docker, &[graceful, &["--"], &SIGNALS, app].concat());
    container.wait_line("ready pid");
    container
}

fn report(folder: &Path) -> Value {
    let text = std::fs::read_to_string(folder.join("report.json")).expect("a report");
    serde_json::from_str(&text).expect("a whole one")
}

/// `docker stop` that runs beside.
fn stop(container: &Container, seconds: &str) -> Proc {
    let mut command = std::process::Command::new("docker");
    Proc::spawn_group(command.args(["stop", "--time", seconds, &container.name]))
}

#[test]
fn sigkill_from_inside_does_not_reach_it_and_from_outside_nothing_is_left() {
    let Some(image) = image() else { return };
    let container = run(&image, &[], &NO_DELAY, &["--children", "2"]);
    let pid = container.inspect(".State.Pid");
    // pid_namespaces(7): a signal of the own namespace reaches init only where it has a handler, and for SIGKILL none can.
    let (code, said) = container.exec(&["sh", "-c", "kill -9 1; kill -0 1 && echo lives"]);
    assert!(said.contains("lives"), "{code:?} {said}");
    container.exec(&["kill", "-USR1", "1"]);
    container.wait_line("USR1");
    docker(&["kill", "--signal", "KILL", &container.name]);
    assert_eq!(container.end().0, 137, "{}", container.dump());
    assert!(!Path::new("/proc").join(&pid).exists(), "its first process is there");
}

#[test]
fn a_full_disk_costs_the_report_and_nothing_else() {
    let Some(image) = image() else { return };
    let full = ["--tmpfs", "/full:size=4k"];
    let container = run(&image, &full, &[&NO_DELAY[..], &["--report", "/full/report.json"]].concat(), &SECOND);
    let (code, said) = container.exec(&["sh", "-c", "head -c 100000 /dev/zero >/full/other; ls -l /full"]);
    assert!(said.contains("other"), "{code:?} {said}");
    container.stop(20);
    let (code, _, stderr) = container.end();
    assert_eq!(code, 5, "{stderr}");
    assert!(stderr.contains("/full/report.json") && stderr.contains("No space left on device"), "{stderr}");
}

#[test]
fn a_pause_in_the_drain_is_part_of_the_budget() {
    let Some(image) = image() else { return };
    let folder = tempfile::tempdir().expect("a directory");
    let out = format!("{}:/out", folder.path().display());
    let budget = ["--grace-period", "4s", "--kill-margin", "500ms", "--report", "/out/report.json"];
    let container = run(&image, &["--volume", &out], &[&NO_DELAY[..], &budget].concat(), &["--never-exit"]);
    let stopping = stop(&container, "60");
    container.wait_line("TERM");
    docker(&["pause", &container.name]);
    // What is waited for is the deadline itself: it passes while nothing can run.
    std::thread::sleep(Duration::from_secs(6));
    docker(&["unpause", &container.name]);
    let (code, _, stderr) = container.end();
    assert_eq!(code, 137, "{stderr}");
    stopping.wait(DEADLINE);
    let report = report(folder.path());
    assert_eq!(report["sigkill"], true, "{report:#}");
    assert_eq!(report["exit_code"], 137, "{report:#}");
    assert!(report["budget"]["used_s"].as_f64().is_some_and(|took| took >= 6.0), "the pause counts\n{report:#}");
}

#[test]
fn a_container_full_of_processes_is_stopped_all_the_same() {
    let Some(image) = image() else { return };
    let fork = "trap '' TERM; echo up; while :; do sleep 1000 & done 2>/dev/null";
    let options = ["--pids-limit", "60"];
    let graceful = [&NO_DELAY[..], &["--grace-period", "3s", "--", "bash", "-c", fork]].concat();
    let container = Container::run(&image, &options, &graceful);
    let end = Instant::now() + DEADLINE;
    container.wait_line("up");
    // Nothing can be run inside any more: the engine is asked.
    while docker(&["top", &container.name, "-o", "pid"]).lines().count() < 55 {
        assert!(Instant::now() < end, "it does not fill\n{}", container.dump());
    }
    let pid = container.inspect(".State.Pid");
    docker(&["stop", "--time", "30", &container.name]);
    assert_eq!(container.end().0, 137, "{}", container.dump());
    assert!(!Path::new("/proc").join(&pid).exists(), "its first process is there");
}

#[test]
fn fifty_containers_stopped_at_once_end_with_their_own_status() {
    let Some(image) = image() else { return };
    let script = "trap 'exit 5' TERM; echo up; while :; do sleep 1000 & wait; done";
    let start = || {
        let graceful = [&NO_DELAY[..], &["--", "bash", "-c", script]].concat();
        let container = Container::run(&image, &["--network", "none"], &graceful);
        container.wait_line("up");
        container
    };
    // Not all at once: it is the stop that is tried, and not how the engine starts them.
    let ten = || (0..10).map(|_| start()).collect::<Vec<_>>();
    let containers: Vec<Container> = std::thread::scope(|scope| {
        let starters: Vec<_> = (0..5).map(|_| scope.spawn(ten)).collect();
        starters.into_iter().flat_map(|starter| starter.join().expect("they start")).collect()
    });
    assert_eq!(containers.len(), 50);
    let names: Vec<&str> = containers.iter().map(|container| container.name.as_str()).collect();
    docker(&[&["stop", "--time", "50"], names.as_slice()].concat());
    let statuses: Vec<String> = docker(&[&["wait"], names.as_slice()].concat()).lines().map(str::to_owned).collect();
    assert_eq!(statuses, vec!["5"; 50]);
}

#[test]
fn a_network_that_is_cut_in_the_delay_changes_nothing_of_the_stop() {
    let Some(image) = image() else { return };
    let folder = tempfile::tempdir().expect("a directory");
    let out = format!("{}:/out", folder.path().display());
    let network = Network::new();
    let options = ["--volume", &out, "--network", &network.name];
    let graceful = ["--pre-stop-delay", "6s", "--grace-period", "20s", "--report", "/out/report.json"];
    let container = run(&image, &options, &graceful, &SECOND);
    let stopping = stop(&container, "60");
    container.wait_line("stopping");
    docker(&["network", "disconnect", &network.name, &container.name]);
    std::thread::sleep(Duration::from_secs(5));
    // It may be gone by then on a slow machine, and there is nothing to connect.
    try_docker(&["network", "connect", &network.name, &container.name]);
    let (code, _, stderr) = container.end();
    assert_eq!(code, 5, "{stderr}");
    stopping.wait(DEADLINE);
    let report = report(folder.path());
    assert_eq!((&report["sigkill"], &report["exit_code"]), (&Value::from(false), &Value::from(5)), "{report:#}");
    assert!(stderr.contains("the app serves on for 6 s"), "{stderr}");
}

/// An engine that is told to end stops its containers first; one that is killed leaves them, and stops them when it is back.
#[test]
fn an_engine_that_is_restarted_in_a_stop_finds_the_stop_done() {
    let Some(image) = image() else { return };
    let Some(cluster) = Cluster::of(1, &[&image]) else { return };
    for (name, signal) in [("told", libc::SIGTERM), ("killed", libc::SIGKILL)] {
        let folder = tempfile::tempdir().expect("a directory");
        let out = format!("{}:/out", folder.path().display());
        let docker = ["run", "--detach", "--name", name, "--network", "none", "--stop-timeout", "30", "--volume", &out];
        let graceful = ["--pre-stop-delay", "4s", "--grace-period", "25s", "--report", "/out/report.json", "--"];
        cluster.docker(1, &[&docker[..], &[&image.name], &graceful, &SIGNALS, &SECOND].concat());
        let logs = format!("exec {} 2>&1", cluster.command_line(1, &format!("logs {name}")));
        let has_said = |text: &str| {
            let output = std::process::Command::new("sh").args(["-c", &logs]).output().expect("sh runs");
            String::from_utf8_lossy(&output.stdout).contains(text)
        };
        cluster.wait_for("app", || has_said("ready pid"));
        let stop = format!("exec {}", cluster.command_line(1, &format!("stop --time 30 {name}")));
        let stopping = Proc::spawn_group(std::process::Command::new("sh").args(["-c", &stop]));
        let report_file = folder.path().join("report.json");
        cluster.wait_for("stop", || has_said("stopping"));
        assert!(!report_file.exists(), "it is over already");
        cluster.restart(1, signal);
        assert_eq!(cluster.docker(1, &["wait", name]), "5", "{name}");
        stopping.wait(DEADLINE);
        let report = report(folder.path());
        assert_eq!((&report["sigkill"], &report["exit_code"]), (&Value::from(false), &Value::from(5)), "{report:#}");
        assert!(report["budget"]["used_s"].as_f64().is_some_and(|took| (4.9..25.0).contains(&took)), "{report:#}");
        assert_eq!(crate::support::run::signals_sent(&report), ["SIGTERM stop"], "{name}: {report:#}");
    }
}

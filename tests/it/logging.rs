//! `--log-level`: what the levels have to say of one and the same stop.

use crate::names::{World, in_a_world};
use crate::support::load::slow_requests;
use crate::support::run::{Run, words};
use crate::support::{DEADLINE, Exit, address, app, free_port, python3, wait_http};
use serde_json::{Value, json};

/// A stop while one request is in flight, with a readiness URL by name; the log.
fn stop(options: &[&str]) -> String {
    let port = free_port();
    let url = format!("http://app.test:{port}/");
    let stopping = ["--grace-period", "60s", "--pre-stop-delay", "0s", "--ready-url", &url];
    let run = Run::start(&[&stopping, options].concat(), &words(&[&python3(), &app("bare.py"), &port.to_string()]));
    run.wait_line("worker ready", DEADLINE);
    wait_http(port, "/", DEADLINE);
    let slow = slow_requests(address(port), "/slow?seconds=1.5", 1);
    run.wait_line("slow begins", DEADLINE);
    run.stop(libc::SIGTERM);
    run.ends(Exit::Signal(libc::SIGTERM));
    assert_eq!(slow.collect().dropped(), 0, "{}", run.dump());
    run.stderr_so_far()
}

#[test]
fn debug_explains_a_stop_and_info_does_not() {
    in_a_world(|| {
        let servers = json!({"127.0.0.1": {"silent": true}});
        let _world = World::new("nameserver 127.0.0.1\n", b"127.0.0.1 localhost app.test\n", servers);
        let (info, debug, as_json) = std::thread::scope(|scope| {
            let info = scope.spawn(|| stop(&[]));
            let debug = scope.spawn(|| stop(&["--log-level", "debug"]));
            let as_json = scope.spawn(|| stop(&["--log-level", "debug", "--log-format", "json"]));
            (info.join().expect("no panic"), debug.join().expect("no panic"), as_json.join().expect("no panic"))
        });
        let explained = [
            "graceful: app.test is [127.0.0.1], says /etc/hosts",
            "graceful: connected to 127.0.0.1:",
            "graceful: the app listens on TCP [127.0.0.1:",
            " is busy: a request without an answer (",
            "graceful: in flight: 1 busy; ",
            "graceful: hold over: idle after ",
        ];
        for line in explained {
            assert!(debug.contains(line), "{line}: {debug}");
        }
        for line in &explained[..5] {
            assert!(!info.contains(line), "{line}: {info}");
        }
        assert!(info.contains(explained[5]), "{info}");
        let lines: Vec<Value> = as_json.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let found = |event: &str| {
            let line = lines.iter().find(|line| line["event"] == event);
            let line = line.unwrap_or_else(|| panic!("{event}: {as_json}"));
            assert!(line["time"].is_string() && line["message"].is_string() && line["level"] == "debug", "{line}");
            line.clone()
        };
        assert_eq!(found("name_resolved")["host"], "app.test");
        assert!(found("connected")["address"].is_string());
        assert!(found("listeners_found")["tcp"].is_string());
        let connection = found("connection");
        assert_eq!((&connection["class"], &connection["why"]), (&json!("busy"), &json!("a request without an answer")));
        assert!(connection["port"].is_u64() && connection["since_stop_s"].is_f64(), "{connection}");
        assert!(lines.iter().any(|line| line["event"] == "sampled" && line["busy"] == 1), "{as_json}");
        let held = lines.iter().find(|line| line["event"] == "hold_ended").expect("the hold's end");
        assert!(
            held["level"] == "info" && held["why"].as_str().is_some_and(|why| why.starts_with("idle after")),
            "{held}"
        );
    });
}

/// Beside the names, connections and requests in flight of the test above: TLS, the hold by a URL, the polls and the probes.
#[test]
fn every_source_tells_its_part_of_a_stop() {
    let (port, probes) = (free_port(), free_port());
    let (tls, plain) = (format!("https://127.0.0.1:{port}/"), format!("http://127.0.0.1:{port}/"));
    let listen = format!("127.0.0.1:{probes}");
    let options = ["--log-level", "trace", "--ready-url", &tls, "--hold", &plain, "--probe-listen", &listen];
    let run = Run::start(
        &[&["--grace-period", "60s", "--pre-stop-delay", "0s"], options.as_slice()].concat(),
        &words(&[&python3(), &app("bare.py"), &port.to_string()]),
    );
    run.wait_line("worker ready", DEADLINE);
    run.wait_line("no TLS with 127.0.0.1: ", DEADLINE);
    run.wait_line("readiness poll: not TLS", DEADLINE);
    wait_http(probes, "/livez", DEADLINE);
    run.wait_line("probe livez: ", DEADLINE);
    run.stop(libc::SIGTERM);
    run.ends(Exit::Signal(libc::SIGTERM));
    let log = run.stderr_so_far();
    for line in ["graceful: connected to 127.0.0.1:", "graceful: hold poll: 200, in ", "graceful: hold over: "] {
        assert!(log.contains(line), "{line}: {log}");
    }
}

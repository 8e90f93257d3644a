//! Where the app listens, found out as it is: late, beside others, and not over TCP; and an app that needs no signal to stop.

use crate::support::load::slow_requests;
use crate::support::run::{Run, folder, phases, words};
use crate::support::{DEADLINE, Exit, Proc, app, free_port, python3};
use std::process::Command;

/// Without a handler: listens on ADDRESS:PORT when there is the file WAIT_FOR, at once if that is empty.
const SERVER: &str = "import http.server, os, sys, time\n\
    address, port, wait_for = sys.argv[1], int(sys.argv[2]), sys.argv[3]\n\
    class Handler(http.server.BaseHTTPRequestHandler):\n    \
        def do_GET(self):\n        \
            print('slow begins', flush=True)\n        \
            time.sleep(float(self.path.split('=')[1]))\n        \
            self.send_response(200); self.send_header('Content-Length', '0'); self.end_headers()\n    \
        def log_message(self, *_): pass\n\
    print('waiting', flush=True)\n\
    while wait_for and not os.path.exists(wait_for): time.sleep(0.01)\n\
    server = http.server.ThreadingHTTPServer((address, port), Handler)\n\
    print('listening', flush=True)\n\
    server.serve_forever()\n";

fn server(address: &str, port: u16, wait_for: &str) -> Vec<String> {
    words(&[&python3(), "-c", SERVER, address, &port.to_string(), wait_for])
}

/// Its request takes longer than the delay: without the hold it would be lost.
#[test]
fn a_port_that_is_opened_during_the_delay_is_found() {
    let files = folder();
    let drain = files.path().join("drain").to_string_lossy().into_owned();
    let port = free_port();
    let options = ["--grace-period", "60s", "--pre-stop-delay", "4s", "--drain-file", &drain];
    let run = Run::start(&options, &server("127.0.0.1", port, &drain));
    run.wait_line("waiting", DEADLINE);
    run.stop(libc::SIGTERM);
    run.wait_line("listening", DEADLINE);
    let slow = slow_requests(crate::support::address(port), "/slow?seconds=6", 1);
    let report = run.ends(Exit::Signal(libc::SIGTERM));
    assert_eq!(slow.collect().dropped(), 0, "{}", run.dump());
    assert!(phases(&report).contains(&"hold".to_owned()), "{report:#}");
}

/// Whoever listens on the same port of another address is none of the app's.
#[test]
fn a_neighbour_on_another_address_holds_nothing() {
    let port = free_port();
    let neighbour = server("127.0.0.3", port, "");
    let neighbour = Proc::spawn_group(Command::new(&neighbour[0]).args(&neighbour[1..]));
    neighbour.wait_line("listening", DEADLINE);
    let run = Run::start(&["--grace-period", "60s", "--pre-stop-delay", "0s"], &server("127.0.0.2", port, ""));
    run.wait_line("listening", DEADLINE);
    let theirs = slow_requests(([127, 0, 0, 3], port).into(), "/slow?seconds=600", 1);
    neighbour.wait_line("slow begins", DEADLINE);
    run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Signal(libc::SIGTERM));
    assert!(!phases(&report).contains(&"hold".to_owned()), "{report:#}");
    // The control: on its own address a request holds.
    let run = Run::start(&["--grace-period", "60s", "--pre-stop-delay", "0s"], &server("127.0.0.2", port, ""));
    run.wait_line("listening", DEADLINE);
    let ours = slow_requests(([127, 0, 0, 2], port).into(), "/slow?seconds=1", 1);
    run.wait_line("slow begins", DEADLINE);
    run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Signal(libc::SIGTERM));
    assert!(phases(&report).contains(&"hold".to_owned()), "{report:#}");
    assert_eq!(ours.collect().dropped(), 0, "{}", run.dump());
    drop(neighbour);
    assert_eq!(theirs.collect().dropped(), 1);
}

#[test]
fn udp_is_named_as_what_cannot_be_held() {
    for (kind, named) in [("udp", true), ("udp_client", false), ("tcp", false)] {
        let run = Run::start(&["--pre-stop-delay", "0s"], &words(&[&python3(), &app("sockets.py"), kind]));
        run.wait_line("ready", DEADLINE);
        run.stop(libc::SIGTERM);
        let report = run.ends(Exit::Code(0));
        let said = report["not_watched"].as_array().expect("a list");
        assert_eq!(said.len(), usize::from(named), "{kind}: {report:#}");
        assert_eq!(
            run.stderr_so_far().matches("the app takes UDP on 127.0.0.1:").count(),
            said.len(),
            "{}",
            run.dump()
        );
        assert_eq!(report["warnings"], serde_json::json!([]), "{kind}");
    }
}

const OBEYS_A_FILE: &str = "import os, sys, time\n\
    print('ready', flush=True)\n\
    while not os.path.exists(sys.argv[1]): time.sleep(0.01)\n";

#[test]
fn an_app_that_obeys_the_drain_file_is_signalled_by_nobody() {
    let files = folder();
    let drain = files.path().join("drain").to_string_lossy().into_owned();
    let run = Run::start(&["--drain-file", &drain], &words(&[&python3(), "-c", OBEYS_A_FILE, &drain]));
    run.wait_line("ready", DEADLINE);
    run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Code(0));
    run.wait_line("it may have obeyed --drain-file", DEADLINE);
    assert!(!run.stderr_so_far().contains("something else signals"), "{}", run.dump());
    assert_eq!((&report["warnings"], &report["app"]["ended_before_signal"]), (&serde_json::json!([]), &true.into()));
}

#[test]
fn an_app_that_obeys_a_hook_is_signalled_by_nobody() {
    let files = folder();
    let told = files.path().join("told").to_string_lossy().into_owned();
    let hook = format!("pre-stop=touch {told}");
    let options = ["--pre-stop-delay", "20s", "--hook", &hook];
    let run = Run::start(&options, &words(&[&python3(), "-c", OBEYS_A_FILE, &told]));
    run.wait_line("ready", DEADLINE);
    run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Code(0));
    run.wait_line("it may have obeyed a pre-stop hook", DEADLINE);
    assert_eq!(report["warnings"], serde_json::json!([]), "{report:#}");
}

//! `graceful drill` on the app that it brings, with each fault, which it must name; and on what is no app at all.

use crate::support::drill::{Drilled, drill};
use crate::support::run::words;
use crate::support::{free_port, graceful};
use serde_json::Value;

fn demo(port: u16, fault: &str) -> Vec<String> {
    let own = graceful().to_string_lossy().into_owned();
    words(&[&own, "demo-app", &format!("127.0.0.1:{port}"), &format!("--fault={fault}")])
}

fn bare(fault: &str) -> Drilled {
    let port = free_port();
    drill(port, &["--bare", "--grace-period", "4s"], "/slow", 3, &demo(port, fault))
}

#[test]
fn no_handler_is_named() {
    let seen = bare("no-handler");
    assert_eq!(seen.code, Some(1), "{}", seen.text);
    seen.fails("zero-dropped", "the app died of it: it has no handler", "with the default --hold idle");
    seen.fails("in-flight", "it has no handler", "or add a handler for SIGTERM");
    seen.fails("signal-handled", "it has no handler", "run it under graceful");
    seen.agrees();
}

#[test]
fn a_handler_that_exits_at_once_is_named() {
    let seen = bare("exits-at-once");
    seen.fails(
        "in-flight",
        "its handler does not wait for requests in flight",
        "finish what is in flight before the app exits",
    );
    seen.fails("served-in-window", "the app was gone", "--pre-stop-delay 2");
    seen.passes(&["exit-status", "signal-handled", "exit-in-time"]);
    seen.agrees();
}

#[test]
fn an_app_that_hangs_is_named() {
    let seen = bare("hangs");
    seen.fails("exit-in-time", "did not end on SIGTERM", "let its handler for SIGTERM end the app");
    // One cause, told once.
    seen.fails("exit-status", "did not end on SIGTERM", "let its handler for SIGTERM end the app");
    seen.passes(&["zero-dropped", "served-in-window"]);
    seen.agrees();
}

#[test]
fn a_lost_backlog_is_named() {
    let port = free_port();
    let seen = drill(port, &["--bare"], "/slow?ms=200", 1, &demo(port, "loses-backlog"));
    seen.fails("zero-dropped", "in the listener's backlog and", "--pre-stop-delay 2");
    seen.agrees();
}

#[test]
fn a_child_left_behind_is_named() {
    let seen = bare("leaves-child");
    seen.fails("nothing-left", "does not end the processes that it starts", "wait for them");
    seen.fails("zero-dropped", "the app stopped listening", "--pre-stop-delay 2");
    seen.passes(&["in-flight", "exit-status", "signal-handled"]);
    seen.agrees();
}

#[test]
fn an_exit_status_of_143_is_named() {
    let seen = bare("exits-143");
    seen.fails("exit-status", "dies of SIGTERM", "--success-exit-status 143");
    seen.passes(&["in-flight", "signal-handled"]);
    seen.agrees();
}

#[test]
fn a_readiness_that_never_fails_is_named() {
    let port = free_port();
    let ready = format!("http://127.0.0.1:{port}/ready");
    let seen = drill(port, &["--bare", "--ready-url", &ready], "/slow", 1, &demo(port, "keeps-ready"));
    seen.fails("readiness", "not told before the listener closes", "--probe-listen");
    seen.agrees();
}

#[test]
fn under_graceful_an_app_without_a_handler_drops_nothing() {
    let port = free_port();
    let options = ["--pre-stop-delay", "3s", "--success-exit-status", "143"];
    let seen = drill(port, &options, "/slow", 3, &demo(port, "no-handler"));
    assert_eq!((seen.code, &seen.document["verdict"]), (Some(0), &Value::from("passed")), "{}", seen.text);
    assert_eq!(seen.drill()["dropped"], 0);
    seen.passes(&["zero-dropped", "in-flight", "served-in-window", "gone-after", "exit-in-time", "signal-handled"]);
    seen.agrees();
    // The timeline speaks of what graceful did.
    let phases: Vec<&str> =
        seen.drill()["phases"].as_array().expect("a list").iter().filter_map(|span| span["phase"].as_str()).collect();
    assert!(phases.starts_with(&["pre-stop"]) && phases.contains(&"drain"), "{phases:?}");
}

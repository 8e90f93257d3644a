use super::super::testing::{Answer, LIVEZ, Server, found};
use crate::health::Status;
use crate::timeline::Phase;
use std::time::Duration;

const PATHS: [(&str, &str); 7] = [
    ("/livez", "livez"),
    ("/healthz", "livez"),
    ("/health/live", "livez"),
    ("/startupz", "startupz"),
    ("/health/startup", "startupz"),
    ("/readyz", "readyz"),
    ("/health/ready", "readyz"),
];

fn has(answer: &Answer, headers: &[(&str, Option<&str>)]) {
    for (name, value) in headers {
        assert_eq!(answer.header(name).as_deref(), *value, "{name} in {answer:?}");
    }
}

/// A server with a critical and two other checks.
fn with_checks(db: Status) -> Server {
    Server::knowing(&[("db", true), ("my cache", false), ("disk", true)], move |shared| {
        found(shared, 0, db, "connection refused");
        found(shared, 1, Status::Unhealthy, "full");
        found(shared, 2, Status::Degraded, "15% free");
    })
}

#[test]
fn every_path_leads_to_its_probe() {
    let server = Server::start();
    for (path, probe) in PATHS {
        for target in [path.to_owned(), format!("{path}/"), format!("{path}?x=y"), format!("http://h:1{path}")] {
            let answer = server.get(&target);
            assert_eq!((answer.status, answer.body.as_str()), (200, "ok"), "{target}");
            let last = format!("{probe} check passed");
            assert_eq!(server.get(&format!("{path}?verbose")).body.lines().last(), Some(&*last));
            has(
                &answer,
                &[
                    ("content-type", Some("text/plain; charset=utf-8")),
                    ("content-length", Some("2")),
                    ("cache-control", Some("no-store")),
                    ("x-content-type-options", Some("nosniff")),
                    ("vary", Some("Accept")),
                    ("retry-after", None),
                    ("server", None),
                ],
            );
        }
    }
}

#[test]
fn the_index_lists_what_is_there() {
    let server = Server::start();
    let index = server.get("/");
    assert_eq!(index.status, 200);
    for path in PATHS.map(|(path, _)| path).into_iter().chain(["/metrics", "?verbose", "?exclude="]) {
        assert!(index.body.contains(path), "{path}");
    }
    has(&index, &[("content-type", Some("text/plain; charset=utf-8")), ("cache-control", Some("no-store"))]);
}

#[test]
fn what_is_not_there_is_not_found() {
    let server = Server::start();
    for target in ["/live", "/livez//", "//livez", "/LIVEZ", "/livez/x", "/health", "/metricsz", "/%6civez", "*"] {
        let answer = server.get(target);
        assert_eq!((answer.status, answer.body.as_str()), (404, "not found; / lists what is there\n"), "{target}");
        has(&answer, &[("x-content-type-options", Some("nosniff")), ("vary", None)]);
    }
}

#[test]
fn get_and_head_are_the_only_methods() {
    let server = Server::start();
    let mut client = server.client();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW", "get"] {
        for path in ["/livez", "/metrics", "/"] {
            client.send(&format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
            let answer = client.answer();
            assert_eq!((answer.status, answer.body.as_str()), (405, "GET and HEAD only\n"), "{method} {path}");
            has(&answer, &[("allow", Some("GET, HEAD")), ("connection", None)]);
        }
    }
    client.send("POST /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.answer().status, 404);
    client.send("CONNECT h:1 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.answer().status, 405);
}

#[test]
fn head_is_get_without_a_body() {
    let server = with_checks(Status::Healthy);
    let mut client = server.client();
    for path in ["/", "/livez", "/readyz?verbose", "/metrics", "/nothing"] {
        client.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        let get = client.answer();
        client.send(&format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        let head = client.head();
        assert_eq!(head.status, get.status);
        if path == "/metrics" {
            // Its numbers change, and so its length does.
            assert!(head.header("content-length").is_some());
            continue;
        }
        assert_eq!(head.headers_without_date(), get.headers_without_date(), "{path}");
    }
    // And a failure closes.
    server.board.stop_began(Duration::ZERO);
    client.send("HEAD /readyz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.head().status, 503);
    client.assert_closed();
}

#[test]
fn a_probe_that_fails_says_why_and_closes() {
    let server = with_checks(Status::Unhealthy);
    let mut client = server.client();
    client.send("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n");
    let answer = client.answer();
    client.assert_closed();
    let expected = "[+]running ok\n[+]startup ok\n[-]db failed: connection refused\n\
                    [+]my cache failed, not critical: full\n[+]disk degraded: 15% free\n[+]shutdown ok\n\
                    readyz check failed\n";
    assert_eq!((answer.status, answer.body.as_str()), (503, expected));
    has(
        &answer,
        &[
            ("connection", Some("close")),
            ("retry-after", Some("1")),
            ("content-type", Some("text/plain; charset=utf-8")),
            ("cache-control", Some("no-store")),
            ("x-content-type-options", Some("nosniff")),
            ("vary", Some("Accept")),
        ],
    );
    // A dependency does not concern the other two.
    assert_eq!(PATHS.map(|(path, _)| server.get(path).status), [200, 200, 200, 200, 200, 503, 503]);
}

#[test]
fn a_connection_from_before_the_stop_sees_it() {
    let server = Server::start();
    let mut client = server.client();
    let request = "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n";
    for _ in 0..3 {
        client.send(request);
        assert_eq!(client.answer().status, 200);
    }
    server.board.stop_began(Duration::ZERO);
    server.board.phase(Duration::ZERO, Phase::PreStop);
    client.send(request);
    let answer = client.answer();
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("[-]shutdown failed: the stop has begun, phase pre-stop\n"), "{}", answer.body);
    client.assert_closed();
    server.assert_alive();
    server.board.app_gone(false);
    assert_eq!(server.get("/livez").body, "[-]running failed: the app has ended\nlivez check failed\n");
}

#[test]
fn verbose_and_exclude_are_as_at_the_api_server() {
    let server = with_checks(Status::Unhealthy);
    assert_eq!(server.get("/readyz?exclude=db").body, "ok");
    assert_eq!(server.get("/readyz?exclude=db&verbose=false").body, "ok");
    let expected = "[+]running ok\n[+]startup ok\n[+]db excluded: ok\n[+]my cache excluded: ok\n\
                    [+]disk degraded: 15% free\n[+]shutdown ok\n\
                    warn: nothing is called \"<x>\\n\", so it cannot be excluded\nreadyz check passed\n";
    for verbose in ["verbose", "verbose=1", "verbose=true"] {
        let answer = server.get(&format!("/readyz?exclude=db&{verbose}&exclude=my+cache&exclude=%3Cx%3E%0A"));
        assert_eq!((answer.status, answer.body.as_str()), (200, expected), "{verbose}");
    }
    assert_eq!(server.get("/livez?verbose").body, "[+]running ok\nlivez check passed\n");
}

#[test]
fn json_comes_by_accept() {
    let server = with_checks(Status::Unhealthy);
    let get = |accept: &str| {
        let mut client = server.client();
        client.send(&format!("GET /readyz HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n"));
        client.answer()
    };
    for accept in ["application/json", "application/health+json, text/plain;q=0.5"] {
        let answer = get(accept);
        let page: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((answer.status, page["status"].as_str()), (503, Some("unhealthy")));
        let names: Vec<_> = page["checks"].as_array().unwrap().iter().map(|check| check["name"].as_str()).collect();
        assert_eq!(names, [Some("db"), Some("my cache"), Some("disk")]);
        has(
            &answer,
            &[
                ("content-type", Some("application/json")),
                ("vary", Some("Accept")),
                ("connection", Some("close")),
                ("retry-after", Some("1")),
            ],
        );
    }
    for accept in ["*/*", "text/plain", "text/html, */*;q=0.8", "application/json;q=0.5, text/plain"] {
        has(&get(accept), &[("content-type", Some("text/plain; charset=utf-8"))]);
    }
}

#[test]
fn metrics_are_open_metrics() {
    let server = Server::start();
    let answer = server.get("/metrics");
    assert_eq!(answer.status, 200);
    has(
        &answer,
        &[
            ("content-type", Some("application/openmetrics-text; version=1.0.0; charset=utf-8")),
            ("cache-control", Some("no-store")),
            ("vary", None),
        ],
    );
}

#[test]
fn a_connection_serves_many_requests() {
    let server = Server::start();
    let mut client = server.client();
    for _ in 0..100 {
        client.send(LIVEZ);
        let answer = client.answer();
        assert_eq!((answer.version.as_str(), answer.status), ("HTTP/1.1", 200));
        has(&answer, &[("connection", None)]);
    }
    // All at once, too.
    client.send(&LIVEZ.repeat(50));
    for _ in 0..50 {
        assert_eq!(client.answer().body, "ok");
    }
    client.send("GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(client.answer().body, "ok");
    client.assert_closed();
}

#[test]
fn http_1_0_is_served() {
    let server = Server::start();
    let mut client = server.client();
    client.send("GET /livez HTTP/1.0\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.version.as_str(), answer.status, answer.body.as_str()), ("HTTP/1.0", 200, "ok"));
    client.assert_closed();
    let mut client = server.client();
    for _ in 0..3 {
        client.send("GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let answer = client.answer();
        has(&answer, &[("connection", Some("keep-alive"))]);
    }
}

#[test]
fn a_body_is_not_read_and_ends_the_connection() {
    let server = Server::start();
    for (method, status) in [("GET", 200), ("POST", 405)] {
        // Announced and never sent; sent; in pieces without an end.
        for body in
            ["Content-Length: 9999999999\r\n\r\n", "Content-Length: 3\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n"]
        {
            let mut client = server.client();
            client.send(&format!("{method} /livez HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n{body}"));
            let answer = client.answer();
            assert_eq!(answer.status, status, "{body}");
            has(&answer, &[("connection", Some("close"))]);
            client.assert_closed();
        }
    }
    server.assert_alive();
}

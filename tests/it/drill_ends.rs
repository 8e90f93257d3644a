//! `graceful drill` where there is nothing to drill, or not for long: each says what is wrong, and never passes. And what is
//! left when it is broken off: nothing.

use crate::support::run::{folder, is_alive, number_after, words};
use crate::support::{DEADLINE, Exit, Proc, free_port, graceful, graceful_command, python3};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

const DRILL: Duration = Duration::from_secs(60);

/// Runs a drill to its end: exit status, stdout, stderr.
fn drill(args: &[&str]) -> (Exit, String, String) {
    let mut command = graceful_command();
    command.arg("drill").args(args);
    Proc::spawn_group(&mut command).wait_output(DRILL)
}

/// It is inconclusive, and says this.
#[track_caller]
fn says(args: &[&str], what: &str) {
    let (exit, stdout, stderr) = drill(args);
    assert_eq!(exit, Exit::Code(3), "{stdout}{stderr}");
    assert!(stdout.contains("INCONCLUSIVE") && stdout.contains(what), "no {what:?} in\n{stdout}{stderr}");
}

/// A server that answers every connection with these bytes, for as long as the test runs.
fn server(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut stream = stream;
                // What it sends before the request has come would be reset with the connection.
                _ = stream.read(&mut [0; 1024]);
                _ = stream.write_all(answer);
            });
        }
    });
    url
}

#[test]
fn a_target_that_is_not_there() {
    let url = format!("http://127.0.0.1:{}/", free_port());
    says(
        &["--no-stop", "--wait", "300ms", "--url", &url],
        "connection refused (still so after 300 ms; --wait DUR waits longer)",
    );
}

#[test]
fn a_name_that_does_not_resolve() {
    says(&["--no-stop", "--wait", "300ms", "--url", "http://no-such-host.invalid/"], "no-such-host.invalid");
}

#[test]
fn a_target_that_is_not_http() {
    let url = server(b"SSH-2.0-OpenSSH_9.2\r\n");
    says(&["--no-stop", "--url", &url], "does not speak HTTP/1.1");
}

#[test]
fn a_target_that_redirects() {
    let url = server(b"HTTP/1.1 301 x\r\nLocation: https://elsewhere.example/\r\nContent-Length: 0\r\n\r\n");
    says(
        &["--no-stop", "--url", &url],
        "is redirected to https://elsewhere.example/ (301); expected the URL that answers itself",
    );
}

#[test]
fn a_target_that_is_not_found() {
    let url = server(b"HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n");
    says(&["--no-stop", "--url", &url], "404 Not Found: nothing but 200 to 299 counts");
}

#[test]
fn a_target_with_a_certificate_of_its_own() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let files = folder();
    let (cert, key) = (files.path().join("cert.pem"), files.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let port = free_port();
    let text = "import http.server, ssl, sys\n\
                class Handler(http.server.BaseHTTPRequestHandler):\n    \
                    protocol_version = 'HTTP/1.1'\n    \
                    def do_GET(self):\n        \
                        self.send_response(200); self.send_header('Content-Length', '0'); self.end_headers()\n    \
                    def log_message(self, *_): pass\n\
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n\
                context.load_cert_chain(sys.argv[2], sys.argv[3])\n\
                server = http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Handler)\n\
                server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)\n\
                print('listening', flush=True)\n\
                server.serve_forever()\n";
    let mut command = Command::new(python3());
    command.args(["-c", text, &port.to_string()]).arg(&cert).arg(&key);
    let server = Proc::spawn_group(&mut command);
    server.wait_line("listening", DEADLINE);
    let url = format!("https://localhost:{port}/");
    let load = ["--no-stop", "--rate", "20", "--before", "500ms", "--lb-lag", "500ms", "--url", &url];
    says(&load, "--insecure does not verify certificates");
    let (exit, stdout, stderr) = drill(&[&load[..], &["--insecure"]].concat());
    assert_eq!(exit, Exit::Code(0), "{stdout}{stderr}");
    assert!(stdout.contains("none dropped"), "{stdout}");
}

#[test]
fn a_target_that_is_slower_than_the_rate() {
    let port = free_port();
    let text = "import http.server, sys, time\n\
                class Handler(http.server.BaseHTTPRequestHandler):\n    \
                    def do_GET(self):\n        \
                        time.sleep(0.3); self.send_response(200); self.send_header('Content-Length', '0'); self.end_headers()\n    \
                    def log_message(self, *_): pass\n\
                http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()\n";
    let url = format!("http://127.0.0.1:{port}/");
    let python = python3();
    let args = ["--bare", "--rate", "50", "--url", &url, "--", &python, "-c", text, &port.to_string()];
    says(&args, "the target is slower than the rate");
}

#[test]
fn an_app_that_ends_before_the_stop() {
    says(
        &["--", "sh", "-c", "echo last words; exit 3"],
        "ended before the stop: exit status 3; its last words:\n  last words",
    );
    says(&["--bare", "--", "no-such-program"], "cannot run no-such-program");
    let port = free_port();
    let own = graceful().to_string_lossy().into_owned();
    // It serves for a second, and the stop would come after two.
    let text = format!("{own} demo-app 127.0.0.1:{port} & sleep 1; kill -KILL $!; exit 5");
    says(&["--bare", "--", "sh", "-c", &text], "ended before the stop: exit status 5");
}

#[test]
fn an_app_that_never_says_that_it_is_ready() {
    let port = free_port();
    let (own, listen) = (graceful().to_string_lossy().into_owned(), format!("127.0.0.1:{port}"));
    let ready = format!("http://{listen}/no-such-page");
    let args = ["--bare", "--wait", "500ms", "--ready-url", &ready, "--", &own, "demo-app", &listen];
    says(&args, "does not say ready: 404 Not Found");
}

#[test]
fn an_app_that_listens_nowhere() {
    says(&["--bare", "--wait", "300ms", "--", "sleep", "60"], "listens on no TCP port");
}

#[test]
fn ctrl_c_ends_all_that_was_started() {
    for way in [&["--bare"][..], &[]] {
        let port = free_port();
        let own = graceful().to_string_lossy().into_owned();
        let app = words(&[&own, "demo-app", "--fault", "leaves-child", &format!("127.0.0.1:{port}")]);
        let mut command = graceful_command();
        let drill = Proc::spawn_group(command.args(["drill", "--show-output"]).args(way).arg("--").args(&app));
        let child = number_after(&drill.wait_line("pid", DEADLINE).text, "pid ");
        crate::support::wait_http(port, "/", DEADLINE);
        drill.signal(libc::SIGINT);
        let (exit, stdout, stderr) = drill.wait_output(DEADLINE);
        assert_eq!(exit, Exit::Code(130), "{stdout}{stderr}");
        assert!(
            stderr.contains("SIGINT: the drill was interrupted; everything that it started was stopped"),
            "{stderr}"
        );
        assert!(!is_alive(child), "the app's child lives on");
        assert!(std::net::TcpStream::connect(crate::support::address(port)).is_err(), "the app lives on");
    }
}

/// The numbers of one drill's document.
fn document_of(args: &[&str]) -> (Exit, Value, String) {
    let files = folder();
    let json = files.path().join("drill.json");
    let output = format!("json={}", json.display());
    let (exit, stdout, stderr) = drill(&[&["-v", "--output", &output], args].concat());
    let text = std::fs::read_to_string(json).unwrap_or_default();
    (exit, serde_json::from_str(&text).unwrap_or_default(), format!("{stdout}{stderr}"))
}

#[test]
fn the_demo_passes_and_its_faults_fail() {
    let (exit, document, text) = document_of(&["--demo"]);
    assert_eq!((exit, &document["verdict"]), (Exit::Code(0), &Value::from("passed")), "{text}");
    assert!(text.contains("PASSED") && text.contains("none dropped"), "{text}");
    let (exit, stdout, stderr) = drill(&["--demo=no-handler", "--bare"]);
    assert_eq!(exit, Exit::Code(1), "{stdout}{stderr}");
    // Long texts are broken.
    let said = stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("the app died of it: it has no handler"), "{stdout}");
    assert!(said.contains("run it under graceful with the default --hold idle"), "{stdout}");
    assert!(!stdout.contains('\u{1b}'), "no colour but on a terminal");
}

/// The stop of an app without a handler: under graceful it dies of its signal when nothing is in flight, and that is clean.
#[test]
fn an_app_without_a_handler_passes_beside_itself() {
    let (exit, document, text) = document_of(&["--compare", "--demo=no-handler"]);
    assert_eq!((exit, &document["verdict"]), (Exit::Code(0), &Value::from("passed")), "{text}");
    assert!(document["headline"].as_str().is_some_and(|words| words.ends_with("requests, none dropped")), "{text}");
    let (bare, supervised) = (&document["drills"][0], &document["drills"][1]);
    assert_eq!((&bare["mode"], &supervised["mode"]), (&Value::from("bare"), &Value::from("supervised")));
    let causes: Vec<&str> =
        bare["findings"].as_array().expect("a list").iter().filter_map(|finding| finding["cause"].as_str()).collect();
    assert!(causes.contains(&"no-handler") && causes.contains(&"refused-after-exit"), "{causes:?}\n{text}");
    assert!(supervised["findings"].as_array().is_some_and(Vec::is_empty), "{text}");
    assert!(supervised["remarks"][0].as_str().is_some_and(|words| words.contains("143, and clean")), "{text}");
}

/// A command that stops nothing, and one that stops its target later than the load balancer lags.
#[test]
fn a_stop_command_is_known_by_what_its_target_does() {
    let serve = || {
        let port = free_port();
        let mut command = Command::new(graceful());
        let app = Proc::spawn_group(command.args(["demo-app", &format!("127.0.0.1:{port}"), "--fault", "no-handler"]));
        app.wait_line("serving", DEADLINE);
        (app, format!("http://127.0.0.1:{port}/"))
    };
    let (_app, url) = serve();
    let (exit, document, text) = document_of(&["--stop-command", "true", "--url", &url, "--lb-lag", "1s"]);
    assert_eq!((exit, &document["verdict"]), (Exit::Code(3), &Value::from("inconclusive")), "{text}");
    assert!(text.contains("nothing was stopped"), "{text}");
    let (app, url) = serve();
    let stop = format!("sleep 2.5; kill -TERM {}", app.pid());
    let (exit, document, text) = document_of(&["--stop-command", &stop, "--url", &url, "--lb-lag", "1s"]);
    assert_eq!((exit, &document["verdict"]), (Exit::Code(1), &Value::from("failed")), "{text}");
    assert!(document["drills"][0]["dropped"].as_u64() > Some(20), "{text}");
}

/// Whoever kills the supervising graceful in the middle of the stop takes the proof away.
#[test]
fn without_gracefuls_report_nothing_is_concluded() {
    let port = free_port();
    let script = format!(
        "trap '' TERM; {} demo-app 127.0.0.1:{port} & sleep 4; kill -9 $PPID; sleep 1; kill -9 $!",
        graceful().display()
    );
    let url = format!("http://127.0.0.1:{port}/");
    let (exit, document, text) = document_of(&[
        "--url",
        &url,
        "--pre-stop-delay",
        "9s",
        "--grace-period",
        "20s",
        "--",
        "/bin/sh",
        "-c",
        &script,
    ]);
    assert_eq!((exit, &document["verdict"]), (Exit::Code(3), &Value::from("inconclusive")), "{text}");
    assert!(text.contains("report"), "{text}");
}

#[test]
fn both_ways_stand_side_by_side() {
    let (exit, document, text) = document_of(&["--demo", "--compare"]);
    assert_eq!(exit, Exit::Code(0), "{text}");
    let drills = document["drills"].as_array().expect("a list");
    let titles: Vec<&str> = drills.iter().filter_map(|drill| drill["title"].as_str()).collect();
    assert_eq!(titles, ["bare", "under graceful"]);
    assert!(drills[0]["dropped"].as_u64() > Some(50) && drills[1]["dropped"] == 0, "{text}");
    assert!(text.contains("zero-dropped                 FAIL              pass"), "{text}");
}

#[test]
fn a_check_that_may_fail_does_not_fail_the_drill() {
    let (exit, document, text) = document_of(&["--demo=leaves-child", "--expect", "nothing-left"]);
    assert_eq!(exit, Exit::Code(0), "{text}");
    let checks = document["drills"][0]["checks"].as_array().expect("a list").clone();
    assert!(checks.iter().any(|check| check["name"] == "nothing-left" && check["result"] == "expected"), "{text}");
}

#[test]
fn the_smallest_delay_is_found() {
    // The app serves until its signal, so it needs the lag, as nothing holds the signal back; a step is a tenth of a second.
    let args = ["--demo", "--tune", "--lb-lag", "400ms", "--before", "500ms", "--mix", "slow=0,stream=0,idle=0"];
    let (exit, document, text) = document_of(&args);
    assert_eq!(exit, Exit::Code(0), "{text}");
    let tuned = &document["tuned"];
    let (enough, too_short) =
        (tuned["enough_s"].as_f64().expect("found"), tuned["too_short_s"].as_f64().expect("found"));
    assert!((0.3..=0.7).contains(&enough) && too_short < enough && enough - too_short < 0.11, "{text}");
    assert_eq!(tuned["confirmed"], 3);
}

#[test]
fn a_canary_is_compared_with_a_baseline() {
    let own = graceful().to_string_lossy().into_owned();
    let port = free_port();
    let mut command = Command::new(&own);
    let app = Proc::spawn_group(command.args(["demo-app", &format!("127.0.0.1:{port}")]));
    app.wait_line("serving", DEADLINE);
    let files = folder();
    let stable = files.path().join("stable.json");
    let url = format!("http://127.0.0.1:{port}/");
    let output = format!("json={}", stable.display());
    let baseline = stable.to_string_lossy().into_owned();
    let load_of = |half| ["--no-stop", "--before", half, "--lb-lag", half, "--rate", "400", "--url", &url];
    // A busy machine's latencies come in clusters, and it takes more requests to tell: the drill says so, and gets them.
    let mut tries = ["1s", "5s"].into_iter().map(|half| {
        assert_eq!(drill(&[&load_of(half)[..], &["--output", &output]].concat()).0, Exit::Code(0));
        let wide = ["-v", "--baseline", &baseline, "--max-p99-ratio", "1000", "--max-p99", "30s"];
        let (exit, stdout, _) = drill(&[&load_of(half)[..], &wide].concat());
        (exit, stdout)
    });
    let told = tries.find(|(exit, stdout)| *exit != Exit::Code(3) || !stdout.contains("more requests may tell"));
    let (exit, stdout) = told.expect("4000 requests tell");
    assert_eq!(exit, Exit::Code(0), "{stdout}");
    assert!(stdout.contains("error-rate") && stdout.contains("p99-ratio"), "{stdout}");
    let load = load_of("1s");
    let compared = |more: &[&str]| drill(&[&load[..], &["-v", "--baseline", &baseline], more].concat());
    let (exit, stdout, _) = compared(&["--max-p99", "1us"]);
    assert_eq!(exit, Exit::Code(1), "{stdout}");
    // Of fewer requests the slowest is no bound from above, however far the limit is.
    let few = ["--no-stop", "--before", "1s", "--lb-lag", "1s", "--rate", "100", "--url", &url];
    let (exit, stdout, _) = drill(&[&few[..], &["-v", "--baseline", &baseline, "--max-p99-ratio", "1000"]].concat());
    assert_eq!(exit, Exit::Code(3), "{stdout}");
    assert!(stdout.contains("or more)") && stdout.contains("more requests may tell"), "{stdout}");
    let (exit, stdout, _) = compared(&["--min-requests", "100000"]);
    assert_eq!(exit, Exit::Code(3), "{stdout}");
    assert!(stdout.contains("fewer than --min-requests 100000"), "{stdout}");
    // A canary that fails now and then.
    let slow = format!("http://127.0.0.1:{port}/slow?ms=400");
    let worse = ["--no-stop", "--before", "1s", "--lb-lag", "1s", "--timeout", "200ms", "--url", &slow];
    let (exit, stdout, _) = drill(&[&worse[..], &["--wait", "300ms", "--baseline", &baseline]].concat());
    assert_eq!(exit, Exit::Code(3), "not even one good answer\n{stdout}");
    let (exit, _, stderr) = drill(&[&load[..], &["--baseline", "/etc/hostname"]].concat());
    assert_eq!(exit, Exit::Code(2), "{stderr}");
    assert!(stderr.contains("--baseline /etc/hostname: not the JSON of a drill"), "{stderr}");
    let _ = app;
}

/// `docker stop` on a container with the demo app as PID 1.
#[test]
fn docker_stop_is_drilled() {
    use crate::support::docker::{Container, engine, image};
    let (Some(()), Some(image)) = (engine(), image()) else { return };
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let options = ["--network", "host"];
    let probes = format!("127.0.0.1:{}", free_port());
    let container = Container::run(
        &image,
        &options,
        &["--pre-stop-delay", "3s", "--probe-listen", &probes, "--", "/graceful", "demo-app", &address],
    );
    container.wait_line("serving");
    let name = container.inspect(".Id");
    let stop = format!("docker stop {name}");
    let (exit, document, text) = document_of(&[
        "--stop-command",
        &stop,
        "--url",
        &format!("http://{address}/"),
        "--slow-target",
        &format!("http://{address}/slow"),
        "--ready-url",
        &format!("http://{probes}/readyz"),
    ]);
    // The load balancer lags for two seconds behind the readiness, and the app serves on for three.
    assert_eq!(exit, Exit::Code(0), "{text}");
    let drill = &document["drills"][0];
    // The command's arguments may hold secrets.
    assert_eq!((&drill["dropped"], &drill["title"]), (&Value::from(0), &Value::from("docker …")), "{text}");
    let said = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("the stop command was over after "), "{text}");
    // A stop that is quicker than the load balancer drops requests, however it is done.
    let container = Container::run(
        &image,
        &options,
        &["--pre-stop-delay", "0s", "--hold", "never", "--", "/graceful", "demo-app", &address],
    );
    container.wait_line("serving");
    let stop = format!("docker stop {}", container.inspect(".Id"));
    let (exit, _, text) = document_of(&["--stop-command", &stop, "--url", &format!("http://{address}/")]);
    assert_eq!(exit, Exit::Code(1), "{text}");
    assert!(text.contains("refused") && text.contains("--pre-stop-delay 2"), "{text}");
}

/// Another's process: its end is seen, and its status cannot be.
#[test]
fn a_process_is_stopped_by_its_pid() {
    let port = free_port();
    let mut command = Command::new(graceful());
    let app = Proc::spawn_group(command.args(["demo-app", &format!("127.0.0.1:{port}")]));
    app.wait_line("serving", DEADLINE);
    let (url, pid) = (format!("http://127.0.0.1:{port}/"), app.pid().to_string());
    let (exit, document, text) = document_of(&["--pid", &pid, "--url", &url, "--lb-lag", "0s", "--mix", "idle=0"]);
    assert_eq!(exit, Exit::Code(0), "{text}");
    assert_eq!(app.wait(DEADLINE), Exit::Code(0));
    let checks = document["drills"][0]["checks"].as_array().expect("a list").clone();
    let result = |name: &str| checks.iter().find(|check| check["name"] == name).map(|check| check["result"].clone());
    assert_eq!(
        (result("exit-in-time"), result("exit-status")),
        (Some("pass".into()), Some("skipped".into())),
        "{text}"
    );
    says(&["--pid", &pid, "--url", &url, "--wait", "300ms"], "no such process");
}

#[test]
fn the_worst_of_several_counts() {
    let short = ["--lb-lag", "300ms", "--before", "500ms", "--mix", "slow=0,stream=0,idle=0"];
    let (exit, document, text) = document_of(&[&["--demo", "--bare", "--repeat", "2"], &short[..]].concat());
    assert_eq!(exit, Exit::Code(1), "{text}");
    assert_eq!(document["drills"].as_array().map(Vec::len), Some(2), "{text}");
    assert!(text.contains("in the worst of 2 drills"), "{text}");
}

#[test]
fn wrong_usage_is_told_at_once_and_all_of_it() {
    let wrong: &[(&[&str], &[&str])] = &[
        (&[], &["there is nothing to drill", "--demo", "--stop-command"]),
        (&["--demo", "--", "true"], &["--demo and -- COMMAND: use only one of them"]),
        (&["--demo=no-handle"], &["--demo \"no-handle\"", "did you mean no-handler?"]),
        (&["--no-stop"], &["no --url", "add --url URL, as http://127.0.0.1:8080/"]),
        (
            &["--demo", "--rate", "0", "--mix", "news=1"],
            &["--rate \"0\"", "from 1 to 1000000", "--mix \"news=1\"", "did you mean new?"],
        ),
        (&["--demo", "--expect", "zero-droped"], &["--expect \"zero-droped\"", "did you mean zero-dropped?"]),
        (&["--demo", "--output", "pdf=x"], &["--output \"pdf=x\"", "json=PATH, junit=PATH or html=PATH"]),
        (&["--demo", "--output", "json=/no/such/x"], &["/no/such does not exist; expected a directory that exists"]),
        (&["--demo", "--target", "get http://h/"], &["--target", "neither a method in capitals nor a URL"]),
        (&["--demo", "--pre-stop-delay", "5"], &["--pre-stop-delay \"5\"", "5s"]),
        (&["--demo", "--report", "x"], &["--report", "--output json=PATH"]),
        (&["--pid", "1", "--url", "http://h/"], &["--pid \"1\"", "above 1"]),
        (&["--no-stop", "--url", "http://h/", "--hold", "never"], &["--hold: has no effect without a command"]),
        (&["--no-stop", "--url", "http://h/", "--rolling"], &["--rolling: has no effect without --stop-command"]),
        (&["--bare", "--tune", "--demo"], &["--tune", "cannot be used with --bare"]),
    ];
    for (args, parts) in wrong {
        let (exit, stdout, stderr) = drill(args);
        assert_eq!((exit, stdout.as_str()), (Exit::Code(2), ""), "{args:?}: {stderr}");
        for part in *parts {
            assert!(stderr.contains(part), "{args:?}: no {part:?} in {stderr}");
        }
        assert!(stderr.lines().all(|line| line.starts_with("graceful: error: ")), "{args:?}: {stderr}");
    }
}

//! Probes and checks from outside, over small apps: what each probe says and when, and what a check makes of it. The
//! real servers are in health_servers.rs, the metrics in metrics.rs.

use crate::support::run::{Run, folder, python, shell, wait_for, warnings, words};
use crate::support::{DEADLINE, Exit, app, free_port, get, python3, signals};
use serde_json::Value;
use std::net::TcpListener;

const NO_DELAY: [&str; 4] = ["--grace-period", "120s", "--pre-stop-delay", "0s"];

/// graceful with a probe server at this port.
fn start(port: u16, options: &[&str], command: &[String]) -> Run {
    let listen = format!("127.0.0.1:{port}");
    Run::start(&[&["--probe-listen", &listen], options].concat(), command)
}

/// The same, with this file as its configuration.
fn start_with_file(port: u16, file: &str, options: &[&str], command: &[String]) -> Run {
    let folder = folder();
    let path = folder.path().join("graceful.toml");
    std::fs::write(&path, file).expect("written");
    let listen = format!("127.0.0.1:{port}");
    let fixed = ["--probe-listen", &listen, "--config", path.to_str().expect("UTF-8")];
    Run::start_in(folder, &[&fixed, options].concat(), command)
}

/// The status of a probe, and its body with every part.
#[track_caller]
fn probe(port: u16, path: &str) -> (u16, String) {
    let (status, _, body) = get(port, &format!("{path}?verbose"), DEADLINE).expect("an answer");
    (status, body)
}

#[track_caller]
fn statuses(port: u16) -> [u16; 3] {
    ["/livez", "/startupz", "/readyz"].map(|path| probe(port, path).0)
}

#[track_caller]
fn wait_for_status(port: u16, path: &str, status: u16) {
    wait_for(&format!("{status} on {path}"), || probe(port, path).0 == status);
}

#[test]
fn an_app_without_any_health_code_has_all_three_probes() {
    let port = free_port();
    let run = start(port, &NO_DELAY, &signals(&["--exit-on", "TERM=4"]));
    run.wait_line("ready pid=", DEADLINE);
    run.wait_line(&format!("probes and metrics are answered on http://127.0.0.1:{port}"), DEADLINE);
    assert_eq!(statuses(port), [200, 200, 200]);
    run.stop(libc::SIGTERM);
    run.ends(Exit::Code(4));
    assert!(get(port, "/livez", DEADLINE).is_err(), "the port is free again");
}

#[test]
fn startup_waits_for_pre_start_hooks_post_start_hooks_and_the_first_ready() {
    let (port, app_port) = (free_port(), free_port());
    let url = format!("http://127.0.0.1:{app_port}/ready");
    let folder = folder();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let until = |path: &std::path::Path| format!("sh -c 'until test -e {}; do sleep 0.01; done'", path.display());
    let (pre, post) = (format!("pre-start={}", until(&first)), format!("post-start={}", until(&second)));
    let options = ["--ready-url", &url, "--ready-interval", "20ms", "--hook", &pre, "--hook", &post];
    let server = words(&[&python3(), &app("ready.py"), &app_port.to_string(), "--not-ready", "--exit", "4"]);
    let run = Run::start_in(
        folder,
        &[&["--probe-listen", &format!("127.0.0.1:{port}")], &NO_DELAY[..], &options].concat(),
        &server,
    );
    run.wait_line("answered on", DEADLINE);
    let (status, body) = probe(port, "/startupz");
    assert_eq!((status, probe(port, "/livez").0), (503, 200), "{body}");
    assert!(body.contains("[-]running failed: the app has not been started yet\n"), "{body}");
    std::fs::write(run.path("first"), "").expect("written");
    run.wait_line("listening", DEADLINE);
    run.stop(libc::SIGUSR1);
    run.wait_line("ready after", DEADLINE);
    let (status, body) = probe(port, "/startupz");
    assert_eq!((status, probe(port, "/readyz").0), (503, 503));
    assert!(body.contains("[-]startup failed: post-start hooks are left to run\n"), "{body}");
    std::fs::write(run.path("second"), "").expect("written");
    wait_for_status(port, "/startupz", 200);
    assert_eq!(statuses(port), [200, 200, 200]);
    run.stop(libc::SIGTERM);
    run.ends(Exit::Code(4));
}

#[test]
fn a_post_start_hook_that_takes_too_long_is_a_late_start() {
    let port = free_port();
    let options = ["--hook", "post-start=sleep 60", "--startup-timeout", "200ms", "--startup-action", "stop"];
    let run = start(port, &[&NO_DELAY[..], &options].concat(), &signals(&["--exit-on", "TERM=4"]));
    run.wait_line("post-start hooks still run 200 ms after the start (--startup-timeout): stopping it", DEADLINE);
    let report = run.report();
    assert_eq!(report["cause"]["kind"], "startup-timeout");
    assert!(warnings(&report).contains("post-start hooks still run"), "{report:#}");
}

#[test]
fn readiness_follows_the_apps_own_endpoint_all_the_time() {
    let (port, app_port) = (free_port(), free_port());
    let url = format!("http://127.0.0.1:{app_port}/ready");
    let server = words(&[&python3(), &app("ready.py"), &app_port.to_string(), "--not-ready", "--exit", "4"]);
    let options = [&NO_DELAY[..], &["--ready-url", &url, "--ready-interval", "20ms"]].concat();
    let run = start(port, &options, &server);
    run.wait_line("listening", DEADLINE);
    wait_for("the first answer", || probe(port, "/readyz").1.contains("[-]ready-url failed: 503"));
    run.stop(libc::SIGUSR1);
    wait_for_status(port, "/readyz", 200);
    // A frozen app: its endpoint is silent.
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", run.pid())).expect("children");
    let app = children.trim().parse().expect("one child");
    crate::support::run::kill(app, libc::SIGSTOP);
    wait_for("not ready", || probe(port, "/readyz").1.contains("[-]ready-url failed: no answer within 1s"));
    assert_eq!(probe(port, "/livez").0, 200, "that is for the app's owner to judge");
    run.wait_line("not ready (no answer within 1s)", DEADLINE);
    crate::support::run::kill(app, libc::SIGCONT);
    wait_for_status(port, "/readyz", 200);
    run.wait_line("ready again (200)", DEADLINE);
    run.stop(libc::SIGTERM);
    run.ends(Exit::Code(4));
}

#[test]
fn an_address_that_is_taken_is_said_before_the_app_starts() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = taken.local_addr().expect("an address").port();
    let run = start(port, &[], &shell("echo started"));
    let report = run.ends(Exit::Code(125));
    let line = run.wait_line("cannot listen", DEADLINE).text;
    let expected = format!("graceful: error: cannot listen on --probe-listen 127.0.0.1:{port}: Address already in use");
    assert!(line.starts_with(&expected) && line.ends_with("; the app is not started"), "{line}");
    assert_eq!(run.stdout_so_far(), "");
    assert!(report["app"]["spawn_error"].as_str().is_some_and(|why| why.contains("--probe-listen")), "{report:#}");
}

#[test]
fn a_check_by_command_is_healthy_degraded_or_unhealthy_by_its_exit_status() {
    let port = free_port();
    let file = r#"
        [[check]]
        name = "pool"
        target = "exec:sh -c 'echo secret; exit $(cat status)'"
        degraded_status = [2]
        interval = "20ms"
        timeout = "20s"
        jitter = "0s"
        failure_threshold = 1
        [[check]]
        name = "slow"
        target = "exec:sh -c 'sleep 60 & echo $! >sleeper; wait'"
        timeout = "300ms"
        critical = false
    "#;
    let folder = folder();
    std::fs::write(folder.path().join("status"), "0").expect("written");
    std::fs::write(folder.path().join("graceful.toml"), file).expect("written");
    let script = format!("cd {} && exec \"$@\"", folder.path().display());
    // Commands run where graceful was started.
    let mut argv = words(&["sh", "-c", &script, "sh"]);
    argv.push(crate::support::graceful().to_string_lossy().into_owned());
    let listen = format!("127.0.0.1:{port}");
    argv.extend(words(&["--probe-listen", &listen, "--config", "graceful.toml", "--pre-stop-delay", "0s", "--"]));
    argv.extend(signals(&["--exit-on", "TERM=4"]));
    let run = crate::support::Proc::spawn_group(std::process::Command::new(&argv[0]).args(&argv[1..]));
    run.wait_line("ready pid=", DEADLINE);
    let body = || probe(port, "/readyz").1;
    wait_for("healthy", || body().contains("[+]pool ok"));
    wait_for("the timeout", || body().contains("[+]slow failed, not critical: no exit within 300ms"));
    let sleeper = std::fs::read_to_string(folder.path().join("sleeper")).expect("a pid");
    wait_for("its child to be gone", || !crate::support::run::is_alive(sleeper.trim().parse().expect("a pid")));
    std::fs::write(folder.path().join("status"), "2").expect("written");
    wait_for("degraded", || body().contains("[+]pool degraded: exit status 2"));
    assert_eq!(probe(port, "/readyz").0, 200);
    std::fs::write(folder.path().join("status"), "3").expect("written");
    wait_for("unhealthy", || body().contains("[-]pool failed: exit status 3"));
    assert_eq!(statuses(port), [200, 200, 503]);
    assert!(!body().contains("secret"), "a command's output is not for everybody");
    run.wait_line("check pool: unhealthy: exit status 3: secret", DEADLINE);
    std::fs::write(folder.path().join("status"), "0").expect("written");
    wait_for_status(port, "/readyz", 200);
    run.wait_line("check pool: healthy again", DEADLINE);
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait(DEADLINE), Exit::Code(4));
}

#[test]
fn a_check_under_way_does_not_outlive_the_drain() {
    let port = free_port();
    let file = r#"check = [{ name = "long", target = "exec:sh -c 'echo begun >&2; exec sleep 60'", timeout = "50s" }]"#;
    let run = start_with_file(port, file, &NO_DELAY, &python("import time; time.sleep(60)"));
    wait_for("the check", || run.stderr_so_far().contains("answered on") && is_running(&run, "sleep 60"));
    run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Signal(libc::SIGTERM));
    assert_eq!(report["leftovers"]["found"], 0, "{report:#}");
    assert!(!is_running(&run, "sleep 60"));
}

#[test]
fn a_check_that_is_killed_is_no_leftover_and_no_orphan() {
    let port = free_port();
    let file = r#"check = [
        { name = "long", target = "exec:sleep 60", timeout = "50s" },
        { name = "late", target = "exec:sleep 61", timeout = "100ms", failure_threshold = 1 },
    ]"#;
    let run = start_with_file(port, file, &NO_DELAY, &signals(&["--exit-on", "USR1=3"]));
    run.wait_line("ready pid=", DEADLINE);
    run.wait_line("check late: unhealthy: no exit within 100ms", DEADLINE);
    wait_for("the check", || is_running(&run, "sleep 60"));
    // The app ends by itself.
    run.signal(libc::SIGUSR1);
    let report = run.ends(Exit::Code(3));
    assert_eq!(report["leftovers"]["found"], 0, "{report:#}");
    assert_eq!(report["leftovers"]["orphans_reaped"], 0, "{report:#}");
}

/// Whether graceful has a child with this command line.
fn is_running(run: &Run, command: &str) -> bool {
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", run.pid())).unwrap_or_default();
    children.split_whitespace().any(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ").trim() == command
    })
}

#[test]
fn nothing_of_the_apps_arguments_and_environment_is_shown() {
    let port = free_port();
    let mut command = crate::support::graceful_command();
    command.env("DB_PASSWORD", "hunter2").args(["--probe-listen", &format!("127.0.0.1:{port}")]);
    command.args(["--check", "db=http://amy:hunter2@127.0.0.1:1/hunter2", "--pre-stop-delay", "0s", "--"]);
    command.args(signals(&["--exit-on", "TERM=4"])).arg("hunter2");
    let _run = crate::support::Proc::spawn_group(&mut command);
    wait_for("the check", || get(port, "/readyz", DEADLINE).is_ok_and(|(_, _, body)| body.contains("refused")));
    for path in ["/", "/livez?verbose", "/startupz?verbose", "/readyz?verbose", "/metrics", "/hunter", "/readyz"] {
        let (_, head, body) = get(port, path, DEADLINE).expect("an answer");
        assert!(
            !head.contains("hunter2") && !body.contains("hunter2") && !body.contains("signals.py"),
            "{path}: {body}"
        );
    }
    let json = crate::support::get_json(port, "/readyz");
    assert!(!json.to_string().contains("hunter2"), "{json:#}");
}

#[test]
fn a_failure_of_the_http_thread_is_survived() {
    let port = free_port();
    let mut command = crate::support::graceful_command();
    command.env("TEST_HTTP_PANIC_ON_SIGUSR2", "1");
    command.args([
        "--probe-listen",
        &format!("127.0.0.1:{port}"),
        "--check",
        "works=exec:true",
        "--pre-stop-delay",
        "0s",
    ]);
    command.arg("--").args(signals(&["--exit-on", "TERM=4"]));
    let run = crate::support::Proc::spawn_group(&mut command);
    run.wait_line("ready pid=", DEADLINE);
    wait_for("ready", || get(port, "/readyz", DEADLINE).is_ok_and(|(status, ..)| status == 200));
    run.signal(libc::SIGUSR2);
    run.wait_line("the HTTP thread failed: panic at src/worker/mod.rs:", DEADLINE);
    wait_for("ready again", || get(port, "/readyz", DEADLINE).is_ok_and(|(status, ..)| status == 200));
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait(DEADLINE), Exit::Code(4));
}

/// Nobody waits for an answer that nobody gives: the address is closed at once, and open again a second later.
#[test]
fn a_failure_of_the_probe_server_refuses_clients_until_there_is_another_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("probes");
    let port = free_port();
    for listen in [format!("127.0.0.1:{port}"), format!("unix:{}", socket.display())] {
        let mut command = crate::support::graceful_command();
        command.env("TEST_PROBES_PANIC_ON_SIGUSR2", "1");
        command.args(["--probe-listen", &listen, "--pre-stop-delay", "0s", "--"]);
        command.args(signals(&["--exit-on", "TERM=4"]));
        let run = crate::support::Proc::spawn_group(&mut command);
        run.wait_line("ready pid=", DEADLINE);
        let answers = || match listen.starts_with("unix:") {
            false => get(port, "/readyz", DEADLINE).is_ok_and(|(status, ..)| status == 200),
            true => std::os::unix::net::UnixStream::connect(&socket).is_ok(),
        };
        wait_for("an answer", answers);
        run.signal(libc::SIGUSR2);
        let told = run.wait_line("the probe server ended: panic at src/worker/mod.rs:", DEADLINE);
        assert!(!answers() || told.at.elapsed().as_millis() > 900, "{listen}: somebody waits in the line");
        wait_for("an answer again", answers);
        run.signal(libc::SIGTERM);
        assert_eq!(run.wait(DEADLINE), Exit::Code(4));
        assert!(!socket.exists());
    }
}

#[test]
fn a_probe_is_a_line_of_the_log_level_debug_and_of_no_graver_one() {
    for (level, is_said) in [("debug", true), ("info", false)] {
        let port = free_port();
        let options = [&NO_DELAY[..], &["--log-level", level]].concat();
        let run = start(port, &options, &signals(&["--exit-on", "TERM=4"]));
        run.wait_line("ready pid=", DEADLINE);
        assert_eq!(probe(port, "/readyz").0, 200);
        if is_said {
            run.wait_line("graceful: probe readyz: ok", DEADLINE);
        }
        run.stop(libc::SIGTERM);
        run.ends(Exit::Code(4));
        assert_eq!(run.stderr_so_far().contains("probe readyz"), is_said, "{level}: {}", run.dump());
    }
}

#[test]
fn json_tells_each_check() {
    let port = free_port();
    let run =
        start(port, &[&NO_DELAY[..], &["--check", "works=exec:true"]].concat(), &signals(&["--exit-on", "TERM=4"]));
    run.wait_line("answered on", DEADLINE);
    run.wait_line("ready pid=", DEADLINE);
    wait_for_status(port, "/readyz", 200);
    let page: Value = crate::support::get_json(port, "/readyz");
    assert_eq!((&page["phase"], &page["version"]), (&"running".into(), &env!("CARGO_PKG_VERSION").into()));
    assert!(page["uptime_s"].as_f64().is_some_and(|uptime| uptime > 0.0), "{page:#}");
    assert_eq!(page["checks"][0]["name"], "works");
    assert!(page["checks"][0]["latency_ms"].as_f64().is_some(), "{page:#}");
    run.stop(libc::SIGTERM);
    run.ends(Exit::Code(4));
}

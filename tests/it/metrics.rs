//! /metrics as others read it: the Python client's OpenMetrics parser, Prometheus' own linter, and a Prometheus that
//! scrapes it. What each metric says in which situation is told beside its source, in src/server/metrics_tests.rs.

use crate::support::run::{Run, ended, folder, wait_for, words};
use crate::support::{DEADLINE, Exit, Proc, Venv, app, free_port, get, python3, wait_http};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

/// A name in which every sign that the format cares about stands.
const HOOK: &str = r#"warm "up"{le=1} \n # EOF ü"#;

/// A stop that stays in its first phase until the second stop signal.
const LONG_STOP: [&str; 4] = ["--grace-period", "120s", "--pre-stop-delay", "100s"];

/// The page, which must be sent as what it is: by its content type Prometheus chooses its parser.
#[track_caller]
fn page(port: u16) -> String {
    let (status, head, body) = get(port, "/metrics", DEADLINE).expect("an answer");
    let content_type = "\r\ncontent-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
    assert!(status == 200 && format!("{head}\r\n").to_ascii_lowercase().contains(content_type), "{head}");
    assert!(body.ends_with("\n# EOF\n"), "{body}");
    body
}

/// Whether the page has this line.
fn says(port: u16, line: &str) -> bool {
    page(port).lines().any(|found| found == line)
}

/// graceful with probes and metrics at this port, with one of everything that a page tells of, its app ready.
struct Busy {
    run: Run,
    port: u16,
    /// What its check is about.
    _dependency: TcpListener,
}

impl Busy {
    fn start() -> Busy {
        let (port, app_port, closed_port) = (free_port(), free_port(), free_port());
        let dependency = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let up = dependency.local_addr().expect("an address").port();
        let file = format!(
            r#"
            hook = [{{ stage = "post-start", name = '{HOOK}', run = "true" }}]
            [[check]]
            name = "up"
            target = "tcp://127.0.0.1:{up}"
            interval = "50ms"
            [[check]]
            name = "down"
            target = "tcp://127.0.0.1:{closed_port}"
            interval = "50ms"
            critical = false
            failure_threshold = 1
            breaker_after = 1
            breaker_reset = "1h"
            "#
        );
        let folder = folder();
        let path = folder.path().join("graceful.toml");
        std::fs::write(&path, file).expect("written");
        let (listen, url) = (format!("127.0.0.1:{port}"), format!("http://127.0.0.1:{app_port}/ready"));
        let fixed = ["--probe-listen", &listen, "--config", path.to_str().expect("UTF-8"), "--ready-url", &url];
        let server = words(&[&python3(), &app("ready.py"), &app_port.to_string(), "--exit", "4"]);
        let run = Run::start_in(folder, &[&LONG_STOP[..], &fixed].concat(), &server);
        run.wait_line("answered on", DEADLINE);
        run.wait_line("ready after", DEADLINE);
        Busy { run, port, _dependency: dependency }
    }

    /// The page of the app at work, once it tells of everything.
    #[track_caller]
    fn at_work(&self) -> String {
        self.run.signal(libc::SIGUSR1);
        for line in [
            "graceful_ready 1.0",
            "graceful_check_status{check=\"up\"} 1.0",
            "graceful_check_breaker_open{check=\"down\"} 1.0",
            "graceful_signals_forwarded_total{signal=\"SIGUSR1\"} 1",
        ] {
            wait_for(line, || says(self.port, line));
        }
        wait_for("the hook", || page(self.port).contains("graceful_hook_duration_seconds{"));
        page(self.port)
    }

    /// The page of a stop that has begun.
    #[track_caller]
    fn stopping(&self) -> String {
        self.run.stop_begun(libc::SIGTERM);
        wait_for("the phase", || says(self.port, "graceful_phase{phase=\"pre-stop\"} 1.0"));
        page(self.port)
    }

    /// SIGINT ends the first phase.
    #[track_caller]
    fn end(&self) {
        self.run.stop(libc::SIGINT);
        self.run.ends(Exit::Code(4));
    }
}

/// Runs the Python client over the page: its standard output.
#[track_caller]
fn python_client(venv: &Venv, form: &str, page: &str) -> String {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), page).expect("written");
    let mut command = Command::new(venv.program("python"));
    let (exit, stdout, stderr) = ended(command.arg(app("openmetrics.py")).arg(form).arg(file.path()));
    assert_eq!(exit, Exit::Code(0), "{stderr}\n{page}");
    stdout
}

/// The value of the sample with this name and these labels.
#[track_caller]
fn value(metrics: &Value, family: &str, sample: &str, labels: Value) -> f64 {
    let samples = metrics[family]["samples"].as_array().unwrap_or_else(|| panic!("no {family} in {metrics:#}"));
    let found = samples.iter().find(|found| found[0] == sample && found[1] == labels);
    found.unwrap_or_else(|| panic!("no {sample}{labels} in {samples:#?}"))[2].as_f64().expect("a number")
}

#[test]
fn the_python_client_reads_what_was_meant() {
    let Some(venv) = crate::support::venv() else { return };
    let busy = Busy::start();
    let at_work: Value = serde_json::from_str(&python_client(&venv, "json", &busy.at_work())).expect("JSON");
    let stopping: Value = serde_json::from_str(&python_client(&venv, "json", &busy.stopping())).expect("JSON");
    busy.end();

    let gauge = |metrics: &Value, name: &str| value(metrics, name, name, json!({}));
    assert_eq!(["live", "started", "ready"].map(|name| gauge(&at_work, &format!("graceful_{name}"))), [1.0, 1.0, 1.0]);
    assert_eq!(["live", "started", "ready"].map(|name| gauge(&stopping, &format!("graceful_{name}"))), [1.0, 1.0, 0.0]);
    assert_eq!([&at_work, &stopping].map(|page| gauge(page, "graceful_budget_seconds")), [119.0, 119.0]);
    assert_eq!(gauge(&at_work, "graceful_budget_left_seconds"), 119.0);
    assert!((1.0..119.0).contains(&gauge(&stopping, "graceful_budget_left_seconds")), "{stopping:#}");
    assert!(gauge(&stopping, "graceful_app_uptime_seconds") > gauge(&at_work, "graceful_app_uptime_seconds"));
    let phase =
        |metrics: &Value, phase: &str| value(metrics, "graceful_phase", "graceful_phase", json!({"phase": phase}));
    assert_eq!(["running", "pre-stop"].map(|name| phase(&at_work, name)), [1.0, 0.0]);
    assert_eq!(["running", "pre-stop"].map(|name| phase(&stopping, name)), [0.0, 1.0]);
    let received = |signal: &str| {
        let name = "graceful_signals_received";
        value(&stopping, name, &format!("{name}_total"), json!({"signal": signal}))
    };
    assert_eq!([received("SIGUSR1"), received("SIGTERM")], [1.0, 1.0]);

    let check = |name: &str, check: &str| value(&at_work, name, name, json!({"check": check}));
    assert_eq!(["up", "down"].map(|name| check("graceful_check_status", name)), [1.0, 0.0]);
    assert_eq!(["up", "down"].map(|name| check("graceful_check_critical", name)), [1.0, 0.0]);
    assert_eq!(["up", "down"].map(|name| check("graceful_check_breaker_open", name)), [0.0, 1.0]);
    let tries = json!({"check": "down", "result": "unhealthy"});
    assert_eq!(value(&at_work, "graceful_check_tries", "graceful_check_tries_total", tries), 1.0);
    let histogram = "graceful_check_duration_seconds";
    assert_eq!(value(&at_work, histogram, &format!("{histogram}_count"), json!({"check": "down"})), 1.0);
    let ready_url = "graceful_ready_url_duration_seconds";
    assert!(value(&at_work, ready_url, &format!("{ready_url}_count"), json!({})) >= 1.0);
    let hook = json!({"hook": HOOK, "stage": "post-start", "result": "ok"});
    assert!(value(&at_work, "graceful_hook_duration_seconds", "graceful_hook_duration_seconds", hook) > 0.0);
    for name in [histogram, ready_url, "graceful_probe_duration_seconds"] {
        assert_eq!(
            (&at_work[name]["type"], &at_work[name]["unit"]),
            (&json!("histogram"), &json!("seconds")),
            "{name}"
        );
    }
}

#[test]
fn the_linter_of_prometheus_has_nothing_to_say() {
    let (Some(venv), Some(prometheus)) = (crate::support::venv(), crate::support::prometheus()) else { return };
    let busy = Busy::start();
    let pages = [busy.at_work(), busy.stopping()];
    busy.end();
    for page in pages {
        // promtool reads the older text format alone, in which a counter is called by its whole name.
        let (exit, said) = lint(&prometheus, &python_client(&venv, "classic", &page));
        assert_eq!((exit, said.as_str()), (Exit::Code(0), ""));
        // Whoever takes the page itself for that format can still read it: faults of form are another error.
        let (_, said) = lint(&prometheus, &page);
        assert!(!said.contains("error"), "{said}");
    }
}

/// What `promtool check metrics` says of a page in the older text format.
#[track_caller]
fn lint(prometheus: &Path, page: &str) -> (Exit, String) {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), page).expect("written");
    let mut command = Command::new("sh");
    command.args(["-c", r#"exec "$0" check metrics <"$1""#]);
    let promtool = prometheus.with_file_name("promtool");
    let (exit, stdout, stderr) = ended(command.arg(promtool).arg(file.path()));
    (exit, stdout + &stderr)
}

/// A Prometheus on a port of its own, with nothing else to do than to scrape one target.
struct Prometheus {
    process: Proc,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    fn start(program: &Path, target: u16) -> Prometheus {
        let (port, folder) = (free_port(), folder());
        let file = format!(
            "global: {{ scrape_interval: 500ms, scrape_timeout: 500ms }}\n\
             scrape_configs: [{{ job_name: graceful, static_configs: [{{ targets: ['127.0.0.1:{target}'] }}] }}]\n"
        );
        let config = folder.path().join("prometheus.yml");
        std::fs::write(&config, file).expect("written");
        let mut command = Command::new(program);
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let process = Proc::spawn_group(&mut command);
        wait_http(port, "/-/ready", DEADLINE);
        Prometheus { process, port, _folder: folder }
    }

    /// What its API says.
    #[track_caller]
    fn api(&self, path: &str) -> Value {
        let (status, _, body) = get(self.port, &format!("/api/v1/{path}"), DEADLINE).expect("an answer");
        let answer: Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error} in {body:?}"));
        assert!(status == 200 && answer["status"] == "success", "{path}: {answer:#}");
        answer["data"].clone()
    }

    /// Waits until this expression, of one series, has this value.
    #[track_caller]
    fn wait_value(&self, expression: &str, value: &str) {
        let query: String = url::form_urlencoded::byte_serialize(expression.as_bytes()).collect();
        wait_for(&format!("{expression} = {value}"), || {
            let result = &self.api(&format!("query?query={query}"))["result"];
            result.as_array().is_some_and(|all| all.len() == 1) && result[0]["value"][1] == value
        });
    }
}

#[test]
fn prometheus_scrapes_a_life_to_its_end() {
    let Some(program) = crate::support::prometheus() else { return };
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let options = [&LONG_STOP[..], &["--probe-listen", &listen]].concat();
    let run = Run::signals(&options, &["--exit-on", "TERM=4"]);
    run.wait_line("answered on", DEADLINE);
    let prometheus = Prometheus::start(&program, port);

    prometheus.wait_value("up", "1");
    prometheus.wait_value("graceful_ready", "1");
    prometheus.wait_value("graceful_phase{phase=\"running\"}", "1");
    let version = env!("CARGO_PKG_VERSION");
    prometheus.wait_value(&format!("graceful_build_info{{version=\"{version}\"}}"), "1");
    let target = || prometheus.api("targets")["activeTargets"][0].clone();
    wait_for("a healthy target", || target()["health"] == "up");
    assert_eq!(target()["lastError"], "");
    // The older format has no units: it was read as OpenMetrics.
    let metadata = prometheus.api("metadata?metric=graceful_budget_left_seconds");
    let metadata = &metadata["graceful_budget_left_seconds"][0];
    assert_eq!((&metadata["type"], &metadata["unit"]), (&json!("gauge"), &json!("seconds")), "{metadata:#}");
    // What it asks counts for nothing but itself: no probe came.
    prometheus.wait_value("sum(graceful_probe_requests_total)", "0");
    get(port, "/readyz", DEADLINE).expect("an answer");
    prometheus.wait_value("graceful_probe_requests_total{probe=\"readyz\",result=\"ok\"}", "1");
    prometheus.wait_value("graceful_probe_duration_seconds_bucket{probe=\"readyz\",le=\"+Inf\"}", "1");

    run.stop_begun(libc::SIGTERM);
    prometheus.wait_value("graceful_ready", "0");
    prometheus.wait_value("graceful_phase{phase=\"pre-stop\"}", "1");
    prometheus.wait_value("graceful_signals_received_total{signal=\"SIGTERM\"}", "1");
    prometheus.wait_value("graceful_readiness_changes_total{to=\"not_ready\"}", "1");
    prometheus.wait_value("graceful_budget_left_seconds < bool graceful_budget_seconds", "1");
    run.stop(libc::SIGINT);
    run.ends(Exit::Code(4));
    prometheus.wait_value("up", "0");

    // Scrapes that it read but could not make sense of are warnings.
    let log = prometheus.process.stderr_so_far().to_lowercase();
    let complaint = log.lines().find(|line| line.contains("scrape") && line.contains("level=warn"));
    assert_eq!(complaint, None, "{log}");
}

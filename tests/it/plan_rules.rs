//! `graceful plan`: what is to be found on each platform, and in each form: with it a file is told of, and without it not. (Each
//! rule's own two files are a unit test.)

use crate::plan::{folder, out, plan_in};

/// A file that a rule finds fault with, and what in it makes it right.
struct Case {
    rule: &'static str,
    file: &'static str,
    text: String,
    wrong: &'static str,
    right: &'static str,
}

fn compose(lines: &[&str]) -> String {
    format!("services:\n  web:\n    image: example.org/web\n    {}\n", lines.join("\n    "))
}

fn unit(lines: &[&str]) -> String {
    format!("[Service]\nExecStart=/usr/bin/graceful --grace-period 90s -- /usr/bin/web\n{}\n", lines.join("\n"))
}

fn task(platform: &str, container: &str) -> String {
    format!(
        "{{\"family\": \"web\", {platform}\n\"containerDefinitions\": [{{\"name\": \"web\", \"image\": \"example.org/web\", \
         \"entryPoint\": [\"/graceful\", \"--\"],\n\"command\": [\"./web\"],\n{container}}}]}}\n"
    )
}

fn pod(spec: &str, container: &[&str]) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec:\n  {spec}\n  containers:\n    - name: web\n      {}\n",
        container.join("\n      ")
    )
}

const OURS: &str = "entrypoint: [/graceful, --]\n    command: [./web]";
const IMAGE: &str = "image: example.org/web";
const COMMAND: &str = "command: [/graceful, --, ./web]";
const FARGATE: &str = "\"requiresCompatibilities\": [\"FARGATE\"],";

fn times() -> Vec<Case> {
    let case = |rule, file, text: String, wrong, right| Case { rule, file, text, wrong, right };
    let swarm = ["deploy: {placement: {constraints: [x]}}", OURS, "environment: {GRACEFUL_GRACE_PERIOD: 15s}"];
    let nomad = "job \"web\" {\n  group \"web\" {\n    task \"web\" {\n      driver = \"docker\"\n      kill_timeout = \"30s\"\n      \
                 config {\n        entrypoint = [\"/graceful\", \"--\"]\n        command = \"./web\"\n      }\n    }\n  }\n}\n";
    let gunicorn = pod(
        "terminationGracePeriodSeconds: 30",
        &[IMAGE, "command: [/graceful, --pre-stop-delay, 5s, --, gunicorn, --graceful-timeout, '28', a:b]"],
    );
    let hook = |sleep: &str| {
        pod(
            "terminationGracePeriodSeconds: 60",
            &[IMAGE, "command: [./web]", &format!("lifecycle: {{preStop: {sleep}}}")],
        )
    };
    vec![
        // The default of each platform, and what is set.
        case(
            "grace-period",
            "pod.yaml",
            pod("terminationGracePeriodSeconds: 20", &[IMAGE, COMMAND]),
            "Seconds: 20",
            "Seconds: 30",
        ),
        case(
            "grace-period",
            "pod.yaml",
            pod("restartPolicy: Always", &[IMAGE, "command: [/graceful, --grace-period, 40s, --, ./web]"]),
            "40s",
            "30s",
        ),
        case(
            "grace-period",
            "compose.yaml",
            compose(&[OURS, "environment: {GRACEFUL_GRACE_PERIOD: 11s}"]),
            "11s",
            "10s",
        ),
        case("grace-period", "stack.yaml", compose(&swarm), "15s", "10s"),
        case(
            "grace-period",
            "task.json",
            task("", "\"environment\": [{\"name\": \"GRACEFUL_GRACE_PERIOD\", \"value\": \"31s\"}]"),
            "31s",
            "30s",
        ),
        case("grace-period", "task.json", task(FARGATE, "\"stopTimeout\": 121"), "121", "120"),
        case("grace-period", "web.service", unit(&["KillMode=mixed"]), "90s", "30s").swapped("120s"),
        case(
            "grace-period",
            "web.service",
            unit(&["KillMode=mixed", "TimeoutStopSec=30"]),
            "TimeoutStopSec=30",
            "TimeoutStopSec=90",
        ),
        case("grace-period", "web.nomad", nomad.to_owned(), "      kill_timeout = \"30s\"\n", "").turned(),
        case("budget", "pod.yaml", gunicorn, "'28'", "'20'"),
        case("pre-stop-too-long", "pod.yaml", hook("{sleep: {seconds: 60}}"), "60}}", "20}}"),
        case("pre-stop-too-long", "pod.yaml", hook("{exec: {command: [sh, -c, 'sleep 60']}}"), "sleep 60", "sleep 20"),
        case(
            "pre-stop-twice",
            "pod.yaml",
            hook("{exec: {command: [sleep, '5']}}").replace("./web]", "/graceful, --grace-period, 55s, --, ./web]"),
            "'5'",
            "'0'",
        ),
        case(
            "pre-stop-no-shell",
            "pod.yaml",
            hook("{exec: {command: [sleep, '5']}}").replace("example.org/web", "gcr.io/distroless/static"),
            "gcr.io/distroless/static",
            "debian:12",
        ),
        case(
            "pre-stop-no-shell",
            "pod.yaml",
            hook("{exec: {command: [/bin/sh, -c, 'sleep 5']}}").replace("example.org/web", "cgr.dev/chainguard/nginx"),
            "cgr.dev/chainguard/nginx",
            "nginx:1",
        ),
        case(
            "worker-delay",
            "pod.yaml",
            hook("{sleep: {seconds: 5}}").replace("./web", "celery, -A, a, worker"),
            "celery, -A, a, worker",
            "gunicorn, a:b",
        ),
    ]
}

impl Case {
    /// What is wrong is written into it in the place of what stands there.
    fn swapped(mut self, wrong: &'static str) -> Case {
        self.text = self.text.replace(self.wrong, wrong);
        (self.wrong, self.right) = (wrong, self.wrong);
        self
    }

    /// What stands there is right, and wrong without it.
    fn turned(mut self) -> Case {
        self.text = self.text.replace(self.wrong, "#\n");
        (self.wrong, self.right) = ("#\n", self.wrong);
        self
    }
}

fn signals() -> Vec<Case> {
    let case = |rule, file, text: String, wrong, right| Case { rule, file, text, wrong, right };
    let dockerfile =
        |line: &str| format!("FROM example.org/web\n{line}\nENTRYPOINT [\"/graceful\", \"--\", \"./web\"]\n");
    let before = |init: &str| format!("FROM example.org/web\nENTRYPOINT [{init}\"/graceful\", \"--\", \"./web\"]\n");
    let given = |line: &str| compose(&["stop_grace_period: 30s", OURS, line]);
    vec![
        case(
            "shell-form",
            "Dockerfile",
            "FROM x\nENTRYPOINT ./web --port 80\n".to_owned(),
            "./web --port 80",
            "[\"./web\"]",
        ),
        case(
            "shell-form",
            "Dockerfile",
            "FROM x\nCMD migrate && ./web\n".to_owned(),
            "migrate && ./web",
            "[\"./web\"]",
        ),
        case(
            "no-exec",
            "pod.yaml",
            pod("restartPolicy: Always", &[IMAGE, "command: [sh, -c, 'migrate; ./web']"]),
            "./web",
            "exec ./web",
        ),
        case("two-inits", "Dockerfile", before("\"/usr/bin/tini\", \"--\", "), "\"/usr/bin/tini\", \"--\", ", ""),
        case("two-inits", "Dockerfile", before("\"dumb-init\", "), "\"dumb-init\", ", ""),
        case("two-inits", "Dockerfile", before("\"/init\", "), "\"/init\", ", ""),
        case("two-inits", "compose.yaml", given("init: true"), "true", "false"),
        case(
            "two-inits",
            "task.json",
            task("", "\"linuxParameters\": {\"initProcessEnabled\": true}"),
            "true",
            "false",
        ),
        case("stop-signal", "Dockerfile", dockerfile("STOPSIGNAL SIGUSR1"), "SIGUSR1", "SIGTERM"),
        case(
            "stop-signal",
            "Dockerfile",
            dockerfile("ENV GRACEFUL_PRE_STOP_DELAY=5s\nSTOPSIGNAL SIGINT"),
            "SIGINT",
            "SIGTERM",
        ),
        case(
            "stop-signal",
            "Dockerfile",
            dockerfile("ENV GRACEFUL_STOP_ON=QUIT\nSTOPSIGNAL SIGTERM"),
            "SIGTERM",
            "SIGQUIT",
        ),
        case(
            "stop-signal",
            "compose.yaml",
            compose(&["entrypoint: [nginx]", "stop_signal: SIGTERM"]),
            "SIGTERM",
            "SIGQUIT",
        ),
        case("kill-mode", "web.service", unit(&["KillMode=control-group"]), "control-group", "mixed"),
        case("kill-mode", "web.service", unit(&["KillMode=none"]), "none", "mixed"),
        case("send-sigkill", "web.service", unit(&["KillMode=mixed", "SendSIGKILL=no"]), "=no", "=yes"),
        case(
            "notify-access",
            "web.service",
            unit(&["KillMode=mixed", "Type=notify", "NotifyAccess=main"]),
            "=main",
            "=all",
        ),
        case(
            "reload-hup",
            "web.service",
            unit(&["KillMode=mixed", "ExecReload=/bin/kill -HUP $MAINPID"]).replace("/usr/bin/web", "node web.js"),
            "node web.js",
            "nginx",
        ),
        case("shared-pid", "pod.yaml", pod("shareProcessNamespace: true", &[IMAGE, COMMAND]), "true", "false"),
        case("shared-pid", "pod.yaml", pod("hostPID: true", &[IMAGE, COMMAND]), "true", "false"),
        case(
            "termination-message",
            "pod.yaml",
            pod("restartPolicy: Always", &[IMAGE, COMMAND, "terminationMessagePath: /tmp/x"]),
            "/tmp/x",
            "/dev/termination-log",
        ),
    ]
}

fn probes_and_rollouts() -> Vec<Case> {
    let case = |rule, file, text: String, wrong, right| Case { rule, file, text, wrong, right };
    let probe = |lines: &[&str]| {
        let own = "command: [/graceful, --probe-listen, ':9090', --, ./web]";
        pod("restartPolicy: Always", &[&[IMAGE, own], lines].concat())
    };
    let update = |lines: &str| {
        compose(&[
            "stop_grace_period: 30s",
            OURS,
            &format!("deploy: {{replicas: 1, update_config: {{{lines}}}}}"),
            "healthcheck: {test: [CMD, /graceful, probe], start_period: 20s}",
        ])
    };
    vec![
        case(
            "same-probe",
            "pod.yaml",
            probe(&[
                "readinessProbe: {httpGet: {path: /a, port: 80}}",
                "livenessProbe: {httpGet: {path: /a, port: 80}}",
            ]),
            "livenessProbe: {httpGet: {path: /a",
            "livenessProbe: {httpGet: {path: /b",
        ),
        case(
            "liveness-dependency",
            "pod.yaml",
            probe(&["livenessProbe: {exec: {command: [pg_isready, -h, db]}}"]),
            "db",
            "localhost",
        ),
        case(
            "liveness-dependency",
            "pod.yaml",
            probe(&["livenessProbe: {httpGet: {path: /readyz, port: 9090}}"]),
            "/readyz",
            "/livez",
        ),
        case(
            "no-startup-probe",
            "pod.yaml",
            probe(&["livenessProbe: {httpGet: {path: /livez, port: 9090}, initialDelaySeconds: 120}"]),
            "120",
            "10",
        ),
        case(
            "probe-port",
            "pod.yaml",
            probe(&["readinessProbe: {httpGet: {path: /readyz, port: 8080}}"]),
            "8080",
            "9090",
        ),
        case(
            "probe-port",
            "pod.yaml",
            probe(&["readinessProbe: {httpGet: {path: /health, port: 9090}}"]),
            "/health",
            "/readyz",
        ),
        case(
            "probe-program",
            "pod.yaml",
            probe(&["livenessProbe: {exec: {command: [curl, -f, localhost]}}"])
                .replace("example.org/web", "python:3.12-slim"),
            "python:3.12-slim",
            "python:3.12",
        ),
        case(
            "readiness-slow",
            "compose.yaml",
            compose(&[
                "stop_grace_period: 30s",
                OURS,
                "environment: {GRACEFUL_PROBE_LISTEN: ':9090'}",
                "healthcheck: {test: [CMD, /graceful, probe], interval: 9s, retries: 2}",
            ]),
            "9s",
            "2s",
        ),
        case("update-order", "stack.yaml", update("order: stop-first, monitor: 30s"), "stop-first", "start-first"),
        case(
            "update-order",
            "stack.yaml",
            update("order: start-first, monitor: 30s, failure_action: continue"),
            "continue",
            "rollback",
        ),
        case("update-order", "stack.yaml", update("order: start-first, monitor: 10s"), "10s", "30s"),
    ]
}

#[test]
fn each_is_found_where_it_is_wrong_and_only_there() {
    let cases: Vec<Case> = times().into_iter().chain(signals()).chain(probes_and_rollouts()).collect();
    assert!(cases.len() >= 45);
    let mut failed = Vec::new();
    for Case { rule, file, text, wrong, right } in cases {
        assert!(text.contains(wrong), "{rule}: {wrong}\n{text}");
        for (text, is_expected) in [(text.clone(), true), (text.replace(wrong, right), false)] {
            let dir = folder(&[(file, &text)]);
            let said = out(&plan_in(dir.path(), &[file], ""));
            if said.contains(&format!("[{rule}]")) != is_expected {
                failed.push(format!("{rule}, found expected: {is_expected}\n{text}\n{said}"));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

//! The rule liveness-dependency: liveness depends on something other than the process.

use super::shared::running;
use crate::plan::finding::{Example, Findings, Rule, Severity};
use crate::plan::model::{Container, Model, ProbeHandler, ProbeSpec};
use crate::plan::shell;

pub(super) static RULE: Rule = Rule {
    name: "liveness-dependency",
    severity: Severity::Warning,
    title: "liveness depends on something other than the process",
    why: "A liveness probe that asks a database, or an endpoint that does, restarts every pod when the database is \
          down. That helps nothing, drops all requests that could still be answered, and the database gets all \
          connections at once when it is back. Dependencies belong in readiness; graceful's own /livez looks at \
          none.",
    bad: Example {
        file: "pod.yaml",
        text: "\
apiVersion: v1
kind: Pod
metadata:
  name: web
spec:
  containers:
    - name: web
      image: example.org/web
      command: [/graceful, --probe-listen, ':9090', --, ./web]
      livenessProbe:
        httpGet:
          path: /readyz
          port: 9090
",
    },
    good: Example {
        file: "pod.yaml",
        text: "\
apiVersion: v1
kind: Pod
metadata:
  name: web
spec:
  containers:
    - name: web
      image: example.org/web
      command: [/graceful, --probe-listen, ':9090', --, ./web]
      livenessProbe:
        httpGet:
          path: /livez
          port: 9090
",
    },
    check,
};

/// Clients of other servers, and the options that name another host.
const CLIENTS: &[(&str, &[&str])] = &[
    ("pg_isready", &["-h", "--host"]),
    ("psql", &["-h", "--host"]),
    ("redis-cli", &["-h"]),
    ("mysqladmin", &["-h", "--host"]),
    ("mysql", &["-h", "--host"]),
    ("nc", &[]),
    ("mongosh", &["--host"]),
];

fn check(model: &Model, findings: &mut Findings) {
    for (workload, container) in running(model) {
        let Some(probe) = &container.liveness else { continue };
        let Some(what) = asked(container, probe) else { continue };
        let message = format!("{}: liveness asks {what}", workload.who(container));
        let fix = match container.graceful {
            Some(_) => "/livez of graceful, or graceful probe live".to_owned(),
            None => "an endpoint that looks at the process alone; dependencies belong in readiness".to_owned(),
        };
        findings.add(workload.file, probe.at, message, fix);
    }
}

/// What else the probe depends on, as the message names it.
fn asked(container: &Container, probe: &ProbeSpec) -> Option<String> {
    match &probe.what {
        ProbeHandler::Http { path, .. } if container.graceful.is_some() && path.value == "/readyz" => {
            Some("/readyz, which depends on every check and turns to 503 at the stop".to_owned())
        }
        ProbeHandler::Exec(words) => {
            let words: Vec<String> = words.iter().map(|word| word.value.clone()).collect();
            let texts: Vec<&str> = words.iter().map(String::as_str).collect();
            let commands = shell::line_of(&texts).map_or_else(|| vec![words.clone()], shell::commands);
            commands.iter().find_map(|command| of_command(command))
        }
        ProbeHandler::Http { .. } | ProbeHandler::Tcp | ProbeHandler::Grpc => None,
    }
}

fn of_command(words: &[String]) -> Option<String> {
    let (program, rest) = words.split_first()?;
    let program = shell::base(program);
    if program == "graceful" {
        let is_readiness = rest.first().is_some_and(|word| word == "probe") && !rest.iter().any(|word| word == "live");
        let has_target = rest.iter().skip(1).any(|word| word.contains("://"));
        return (is_readiness && !has_target).then(|| "graceful's readiness, which depends on every check".to_owned());
    }
    let (_, options) = CLIENTS.iter().find(|(client, _)| *client == program)?;
    let named = |option: &&str| rest.iter().position(|word| word == option).and_then(|at| rest.get(at + 1));
    let host = match program {
        "nc" => rest.iter().find(|word| !word.starts_with('-')),
        _ => options.iter().find_map(named),
    };
    let host = host.filter(|host| !is_own(host))?;
    Some(format!("{} by {program}", crate::secret::hidden(host)))
}

/// Whether the host is the container itself, or one that only a template or the shell knows.
fn is_own(host: &str) -> bool {
    ["localhost", "127.0.0.1", "::1", "0.0.0.0"].contains(&host) || host.starts_with('/') || host.contains('$')
}

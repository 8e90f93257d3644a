//! The rule missing-env-file: a file with variables is not beside the one that names it.

use crate::plan::finding::{Example, Findings, Rule, Severity};
use crate::plan::model::Model;

pub(super) static RULE: Rule = Rule {
    name: "missing-env-file",
    severity: Severity::Note,
    title: "a file with variables is not beside the one that names it",
    why: "Compose starts nothing without a required file of env_file. It may well be created where the service runs, \
          and not be part of the repository; graceful's options can then be in it, and what depends on them is a \
          note here. With required: false the service starts without it.",
    bad: Example {
        file: "compose.yaml",
        text: "\
services:
  web:
    image: example.org/web
    stop_grace_period: 30s
    env_file: web.env
    entrypoint: [/graceful, --]
    command: [./web]
",
    },
    good: Example {
        file: "compose.yaml",
        text: "\
services:
  web:
    image: example.org/web
    stop_grace_period: 30s
    env_file:
      - path: web.env
        required: false
    entrypoint: [/graceful, --]
    command: [./web]
",
    },
    check,
};

fn check(model: &Model, findings: &mut Findings) {
    for workload in &model.workloads {
        // Without graceful in a container, no rule depends on its variables.
        let with_graceful = workload.containers.iter().filter(|container| container.graceful.is_some());
        for missing in with_graceful.flat_map(|container| &container.elsewhere.missing) {
            let message = format!("{}: {}", workload.title(), missing.value);
            let fix = "the file beside this one, or required: false".to_owned();
            findings.add(workload.file, missing.at, message, fix);
        }
    }
}

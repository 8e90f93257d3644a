//! The rule bypassed: command takes the place of the graceful in the image.

use super::shared::running;
use crate::config::options::OPTIONS;
use crate::plan::finding::{Example, Findings, Rule, Severity};
use crate::plan::model::{Model, WorkloadKind};
use crate::plan::shell;

pub(super) static RULE: Rule = Rule {
    name: "bypassed",
    severity: Severity::Warning,
    title: "command takes the place of the graceful in the image",
    why: "command replaces the image's ENTRYPOINT. If graceful is there, as its variables in the manifest suggest, \
          it does not run at all: the variables have no effect, and the app is PID 1 with whatever it makes of \
          SIGTERM.",
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
      command: [./web]
      env:
        - name: GRACEFUL_PRE_STOP_DELAY
          value: 5s
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
      args: [./web]
      env:
        - name: GRACEFUL_PRE_STOP_DELAY
          value: 5s
",
    },
    check,
};

fn check(model: &Model, findings: &mut Findings) {
    for (workload, container) in running(model) {
        if container.graceful.is_some() || container.argv.headless || container.argv.words.is_empty() {
            continue;
        }
        let known = |name: &str| OPTIONS.iter().any(|spec| spec.variable == name);
        let Some(variable) = container.env.iter().find(|given| known(&given.value.0)) else { continue };
        // A script may well start it.
        let program = container.argv.words.first().map_or("", |word| shell::base(&word.value));
        if workload.kind == WorkloadKind::Image || program.ends_with(".sh") || program.contains("entrypoint") {
            continue;
        }
        let message = format!(
            "{}: {} is set, and the command, {program}, does not run graceful",
            workload.who(container),
            variable.value.0,
        );
        findings.add(workload.file, variable.at, message, "args in place of command, or graceful before it".to_owned());
    }
}

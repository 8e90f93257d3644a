//! The rule termination-message: the report of the stop goes where Kubernetes does not look.

use super::shared::running;
use crate::plan::finding::{Example, Findings, Rule, Severity};
use crate::plan::model::{Graceful, Model};
use std::path::Path;

pub(super) static RULE: Rule = Rule {
    name: "termination-message",
    severity: Severity::Note,
    title: "the report of the stop goes where Kubernetes does not look",
    why: "graceful writes a short report of the stop to /dev/termination-log, and kubectl describe shows it. With \
          another terminationMessagePath that file is not there, and the report stays in the log alone.",
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
      command: [/graceful, --, ./web]
      terminationMessagePath: /tmp/message
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
      command: [/graceful, --termination-log, /tmp/message, --, ./web]
      terminationMessagePath: /tmp/message
",
    },
    check,
};

fn check(model: &Model, findings: &mut Findings) {
    for (workload, container) in running(model) {
        let Some(config) = container.graceful.as_ref().and_then(Graceful::config) else { continue };
        let Some(path) = &container.termination_message_path else { continue };
        let own = config.termination_log.as_deref().unwrap_or(Path::new("/dev/termination-log"));
        if own != Path::new(&path.value) {
            let message = format!(
                "{}: terminationMessagePath is {}, and graceful writes to {}",
                workload.who(container),
                path.value,
                own.display(),
            );
            findings.add(workload.file, path.at, message, format!("GRACEFUL_TERMINATION_LOG={}", path.value));
        }
    }
}

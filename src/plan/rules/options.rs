//! The rule options: graceful refuses its options.

use crate::plan::finding::{Example, Findings, Rule, Severity};
use crate::plan::model::Model;

pub(super) static RULE: Rule = Rule {
    name: "options",
    severity: Severity::Error,
    title: "graceful refuses its options",
    why: "graceful looks at all options before it starts the app, and exits with 2 if one of them is wrong: the container \
          never comes up. Better to know that before the deploy.",
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
      command: [/graceful, --pre-stop-delay, 5, --, ./web]
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
      command: [/graceful, --pre-stop-delay, 5s, --, ./web]
",
    },
    check,
};

fn check(model: &Model, findings: &mut Findings) {
    for workload in &model.workloads {
        for graceful in workload.containers.iter().filter_map(|container| container.graceful.as_ref()) {
            if !graceful.is_known() {
                continue;
            }
            for problem in graceful.config.as_ref().err().into_iter().flatten() {
                let place = &problem.value.place;
                findings.add(
                    workload.file,
                    problem.at,
                    format!("{place}: {}", problem.value.reason),
                    "give graceful a value that it takes".to_owned(),
                );
            }
        }
    }
}

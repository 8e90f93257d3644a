//! The rule pre-stop-no-shell: the preStop hook runs what the image does not have.

use super::shared::running;
use crate::plan::finding::{Example, Findings, Rule, Severity};
use crate::plan::image;
use crate::plan::model::{Model, PreStop};

pub(super) static RULE: Rule = Rule {
    name: "pre-stop-no-shell",
    severity: Severity::Error,
    title: "the preStop hook runs what the image does not have",
    why: "An exec hook is run in the container. In an image without a shell, distroless for example, it fails at \
          once; kubelet notes that in an event that nobody reads and sends the stop signal immediately. The delay \
          that the hook was for is gone, in silence. graceful sleep DUR needs nothing but graceful; Kubernetes from \
          1.30 on has preStop.sleep.",
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
      image: gcr.io/distroless/python3-debian12
      lifecycle:
        preStop:
          exec:
            command: [/bin/sh, -c, sleep 10]
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
      image: gcr.io/distroless/python3-debian12
      lifecycle:
        preStop:
          sleep:
            seconds: 10
",
    },
    check,
};

fn check(model: &Model, findings: &mut Findings) {
    for (workload, container) in running(model) {
        let Some(hook) = &container.pre_stop else { continue };
        let PreStop::Exec(words) = &hook.value else { continue };
        let Some((program, image)) = image::missing(container, words) else { continue };
        let message = format!(
            "{}: preStop runs {program}, which {image} does not have: the hook fails, and there is no delay",
            workload.who(container),
        );
        let seconds = hook.value.sleeps().map_or(10, |time| time.as_secs().max(1));
        let fix = match container.graceful {
            Some(_) => format!("leave the hook out, and set GRACEFUL_PRE_STOP_DELAY={seconds}s"),
            None => format!("preStop: {{sleep: {{seconds: {seconds}}}}}, or graceful in the image"),
        };
        findings.add(workload.file, hook.at, message, fix);
    }
}

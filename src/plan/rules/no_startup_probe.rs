//! The rule no-startup-probe: liveness waits for a slow start.

use super::shared::running;
use crate::config::values::show;
use crate::plan::Platform;
use crate::plan::finding::{Example, Findings, Rule, Severity};
use crate::plan::model::{Graceful, Model};
use std::time::Duration;

pub(super) static RULE: Rule = Rule {
    name: "no-startup-probe",
    severity: Severity::Note,
    title: "liveness waits for a slow start",
    why: "A long initialDelaySeconds of the liveness probe waits for the slowest start there ever was, and for \
          that long nobody notices a process that hangs. A start that is slower still is killed in the middle, again and \
          again. A startupProbe waits exactly as long as the start takes, and liveness begins then.",
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
      livenessProbe:
        initialDelaySeconds: 120
        httpGet:
          path: /live
          port: 8080
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
      startupProbe:
        failureThreshold: 24
        periodSeconds: 5
        httpGet:
          path: /live
          port: 8080
      livenessProbe:
        httpGet:
          path: /live
          port: 8080
",
    },
    check,
};

/// A start that takes longer than this is slow.
const SLOW: Duration = Duration::from_secs(60);

fn check(model: &Model, findings: &mut Findings) {
    for (workload, container) in running(model) {
        if workload.platform != Platform::Kubernetes {
            continue;
        }
        let (Some(liveness), None) = (&container.liveness, &container.startup) else { continue };
        let who = workload.who(container);
        let config = container.graceful.as_ref().and_then(Graceful::config);
        let allowed = liveness.delay + liveness.notices_after();
        let startup = config.and_then(|config| config.startup).map(|startup| startup.timeout);
        if let Some(startup) = startup.filter(|startup| *startup > allowed) {
            let message = format!(
                "{who}: --startup-timeout gives the start {}, and liveness restarts it after {}",
                show(startup),
                show(allowed),
            );
            let fix =
                format!("a startupProbe with periodSeconds: 5 and failureThreshold: {}", startup.as_secs().div_ceil(5));
            findings.add_as(Severity::Warning, workload.file, liveness.at, message, fix);
        } else if liveness.delay >= SLOW {
            let message =
                format!("{who}: liveness waits {} for the start, and there is no startupProbe", show(liveness.delay),);
            let failures = liveness.delay.as_secs().div_ceil(5);
            let fix = format!("a startupProbe with periodSeconds: 5 and failureThreshold: {failures}");
            findings.add(workload.file, liveness.at, message, fix);
        }
    }
}

//! The rule same-probe: readiness and liveness ask the same endpoint.

use super::shared::running;
use crate::config::values::show;
use crate::plan::finding::{Example, Findings, Rule, Severity};
use crate::plan::model::{Model, ProbeHandler};
use crate::plan::place::At;

pub(super) static RULE: Rule = Rule {
    name: "same-probe",
    severity: Severity::Note,
    title: "readiness and liveness ask the same endpoint",
    why: "A pod that is only busy, or waits for a dependency, should get no more requests for a while; one that is \
          stuck should be restarted. One endpoint for both restarts pods under load, all of them at once, and their \
          requests are dropped: use an endpoint that looks at nothing but the process itself for liveness, or at \
          least a higher failureThreshold.",
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
      readinessProbe:
        httpGet:
          path: /health
          port: 8080
      livenessProbe:
        httpGet:
          path: /health
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
      readinessProbe:
        httpGet:
          path: /ready
          port: 8080
      livenessProbe:
        httpGet:
          path: /live
          port: 8080
",
    },
    check,
};

fn check(model: &Model, findings: &mut Findings) {
    for (workload, container) in running(model) {
        let (Some(readiness), Some(liveness)) = (&container.readiness, &container.liveness) else { continue };
        let (ProbeHandler::Http { path: ready, port: ready_port }, ProbeHandler::Http { path: live, port: live_port }) =
            (&readiness.what, &liveness.what)
        else {
            continue;
        };
        let port = |port: &Option<At<String>>| container.port(port.as_ref());
        if ready.value != live.value || port(ready_port) != port(live_port) {
            continue;
        }
        // A liveness probe that gives up later does no harm in an overload that passes.
        if liveness.notices_after() >= readiness.notices_after() * 2 {
            continue;
        }
        let message = format!(
            "{}: both ask {}, and liveness restarts after {}",
            workload.who(container),
            live.value,
            show(liveness.notices_after()),
        );
        let fix = "an endpoint of its own for liveness, or a failureThreshold that is twice as high".to_owned();
        findings.add(workload.file, live.at, message, fix);
    }
}

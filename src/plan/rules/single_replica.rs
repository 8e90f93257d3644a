//! The rule single-replica: the only replica says at once that it is not ready.

use crate::plan::Platform;
use crate::plan::finding::{Example, Findings, Rule, Severity};
use crate::plan::model::Model;

pub(super) static RULE: Rule = Rule {
    name: "single-replica",
    severity: Severity::Note,
    title: "the only replica says at once that it is not ready",
    why: "A Service still routes to a pod that terminates while it is ready, if there is no other (the fallback of \
          kube-proxy). With one replica that is the normal case: a /readyz that turns to 503 with the stop signal \
          takes this fallback away, and requests of the next seconds have nowhere to go. --fail-readiness at-drain \
          keeps it until the delay is over.",
    bad: Example {
        file: "web.yaml",
        text: "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 1
  template:
    metadata:
      labels:
        app: web
    spec:
      containers:
        - name: web
          image: example.org/web
          command: [/graceful, --probe-listen, ':9090', --, ./web]
          readinessProbe:
            httpGet:
              path: /readyz
              port: 9090
---
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  selector:
    app: web
  ports:
    - port: 80
",
    },
    good: Example {
        file: "web.yaml",
        text: "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 1
  template:
    metadata:
      labels:
        app: web
    spec:
      containers:
        - name: web
          image: example.org/web
          command: [/graceful, --probe-listen, ':9090', --fail-readiness, at-drain, --, ./web]
          readinessProbe:
            httpGet:
              path: /readyz
              port: 9090
---
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  selector:
    app: web
  ports:
    - port: 80
",
    },
    check,
};

fn check(model: &Model, findings: &mut Findings) {
    let routed = super::shared::routed(model);
    for workload in model.workloads.iter().filter(|workload| workload.copies() == Some(1) && routed.has(workload)) {
        if workload.platform != Platform::Kubernetes {
            continue;
        }
        for container in workload.running() {
            let Some(spot) = super::shared::fails_at_stop(container) else { continue };
            let message =
                format!("{}: the only replica, and /readyz says 503 from the stop signal on", workload.who(container),);
            findings.add(workload.file, spot, message, "GRACEFUL_FAIL_READINESS=at-drain".to_owned());
        }
    }
}

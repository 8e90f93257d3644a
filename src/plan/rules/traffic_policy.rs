//! The rule traffic-policy: a node with one pod has no other to send requests to.

use super::shared::Pods;
use crate::plan::finding::{Example, Findings, Rule, Severity};
use crate::plan::model::{Model, Service};

pub(super) static RULE: Rule = Rule {
    name: "traffic-policy",
    severity: Severity::Warning,
    title: "a node with one pod has no other to send requests to",
    why: "With externalTrafficPolicy: Local a node gives requests to its own pods only. The load balancer outside \
          learns by its health check, seconds later, that the node has none that is ready; until then the \
          terminating pod is the only one that can answer, and kube-proxy sends to it only as long as it is ready. \
          So /readyz should stay 200 until the delay is over.",
    bad: Example {
        file: "web.yaml",
        text: "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 3
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
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: web
spec:
  maxUnavailable: 1
  selector:
    matchLabels:
      app: web
---
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
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
  replicas: 3
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
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: web
spec:
  maxUnavailable: 1
  selector:
    matchLabels:
      app: web
---
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  selector:
    app: web
  ports:
    - port: 80
",
    },
    check,
};

fn check(model: &Model, findings: &mut Findings) {
    let pods = Pods::of(model);
    let is_local = |service: &&Service| service.traffic_policy.as_ref().is_some_and(|policy| policy.value == "Local");
    for service in model.services.iter().filter(is_local) {
        let Some(policy) = service.traffic_policy.as_ref().filter(|_| service.is_load_balancer) else { continue };
        for workload in pods.selected(&service.namespace, &service.selector) {
            for container in workload.running().filter(|container| super::shared::fails_at_stop(container).is_some()) {
                let message = format!(
                    "Service {}: Local, and {} says 503 on /readyz from the stop signal on",
                    service.name,
                    workload.who(container),
                );
                findings.add(service.file, policy.at, message, "GRACEFUL_FAIL_READINESS=at-drain".to_owned());
            }
        }
    }
}

//! The rule deregistration: the load balancer takes longer than the delay to let go.

use super::shared::Pods;
use crate::config::values::show;
use crate::plan::finding::{Example, Findings, Rule, Severity};
use crate::plan::model::{Backend, Graceful, Model, Service, Workload};
use crate::plan::place::At;
use std::time::Duration;

pub(super) static RULE: Rule = Rule {
    name: "deregistration",
    severity: Severity::Warning,
    title: "the load balancer takes longer than the delay to let go",
    why: "A load balancer outside the cluster has to be told of the pod's end through its own API. AWS goes on \
          sending new requests for about 15s after it has begun to deregister an IP target, and existing \
          connections are kept for the deregistration delay (300s unless set). A delay that is shorter drops \
          requests in every rollout; a deregistration delay beyond the grace period keeps connections to a pod that \
          is gone.",
    bad: Example {
        file: "web.yaml",
        text: "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2
  template:
    metadata:
      labels:
        app: web
    spec:
      terminationGracePeriodSeconds: 60
      containers:
        - name: web
          image: example.org/web
          command: [/graceful, --grace-period, 60s, --pre-stop-delay, 5s, --, ./web]
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
  annotations:
    service.beta.kubernetes.io/aws-load-balancer-nlb-target-type: ip
    service.beta.kubernetes.io/aws-load-balancer-target-group-attributes: deregistration_delay.timeout_seconds=30
spec:
  type: LoadBalancer
  selector:
    app: web
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
  replicas: 2
  template:
    metadata:
      labels:
        app: web
    spec:
      terminationGracePeriodSeconds: 60
      containers:
        - name: web
          image: example.org/web
          command: [/graceful, --grace-period, 60s, --pre-stop-delay, 20s, --, ./web]
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
  annotations:
    service.beta.kubernetes.io/aws-load-balancer-nlb-target-type: ip
    service.beta.kubernetes.io/aws-load-balancer-target-group-attributes: deregistration_delay.timeout_seconds=30
spec:
  type: LoadBalancer
  selector:
    app: web
",
    },
    check,
};

/// How long, at least, an AWS load balancer still sends new requests to a target that it deregisters.
const AWS_LAG: Duration = Duration::from_secs(15);

/// The annotations of the AWS load balancer controller with target group attributes.
const ATTRIBUTES: &[&str] = &[
    "service.beta.kubernetes.io/aws-load-balancer-target-group-attributes",
    "alb.ingress.kubernetes.io/target-group-attributes",
];

/// The annotations that make pods, not nodes, the targets.
const TARGET_TYPES: &[&str] =
    &["service.beta.kubernetes.io/aws-load-balancer-nlb-target-type", "alb.ingress.kubernetes.io/target-type"];

fn check(model: &Model, findings: &mut Findings) {
    let pods = Pods::of(model);
    for service in &model.services {
        aws(service.file, &service.annotations, &pods.selected(&service.namespace, &service.selector), findings);
    }
    for backend in &model.backends {
        let services = model
            .services
            .iter()
            .filter(|service| service.namespace == backend.namespace && backend.services.contains(&service.name));
        let workloads: Vec<&Workload> =
            services.flat_map(|service| pods.selected(&service.namespace, &service.selector)).collect();
        aws(backend.file, &backend.annotations, &workloads, findings);
        gke(backend, model, findings);
    }
}

fn value<'a>(annotations: &'a [(At<String>, At<String>)], names: &[&str]) -> Option<&'a At<String>> {
    annotations.iter().find(|(name, _)| names.contains(&name.value.as_str())).map(|(_, value)| value)
}

fn aws(file: usize, annotations: &[(At<String>, At<String>)], workloads: &[&Workload], findings: &mut Findings) {
    let attributes = value(annotations, ATTRIBUTES);
    let of_delay = |text: &str| text.trim().strip_prefix("deregistration_delay.timeout_seconds=")?.parse().ok();
    let deregistration =
        attributes.and_then(|given| given.value.split(',').find_map(of_delay)).map(Duration::from_secs);
    let by_ip = value(annotations, TARGET_TYPES).filter(|given| given.value == "ip");
    let Some(spot) = attributes.or(by_ip).map(|given| given.at) else { return };
    for (workload, container) in workloads.iter().flat_map(|workload| workload.running().map(move |c| (*workload, c))) {
        let Some(config) = container.graceful.as_ref().and_then(Graceful::config) else { continue };
        let (delay, grace) = (config.budget.pre_stop_delay, config.budget.grace_period);
        let who = workload.who(container);
        if by_ip.is_some() && delay < AWS_LAG {
            let message = format!(
                "{who}: the delay is {}, and AWS sends new requests to a deregistered target for about {}",
                show(delay),
                show(AWS_LAG)
            );
            let fix = format!(
                "GRACEFUL_PRE_STOP_DELAY={}, and a grace period longer by as much",
                show(AWS_LAG + Duration::from_secs(5))
            );
            findings.add(file, spot, message, fix);
        }
        if let Some(deregistration) = deregistration.filter(|time| *time > grace) {
            let message = format!(
                "{who}: connections are kept for {} (deregistration_delay), and the grace period is {}",
                show(deregistration),
                show(grace)
            );
            let fix = format!("deregistration_delay.timeout_seconds={} at most", grace.as_secs());
            findings.add_as(Severity::Note, file, spot, message, fix);
        }
    }
}

/// A BackendConfig says how long GKE keeps connections; the Services say whether they use it.
fn gke(backend: &Backend, model: &Model, findings: &mut Findings) {
    let Some(draining) = &backend.draining else { return };
    let pods = Pods::of(model);
    let uses = |service: &&Service| {
        let config =
            value(&service.annotations, &["cloud.google.com/backend-config", "beta.cloud.google.com/backend-config"]);
        service.namespace == backend.namespace
            && config.is_some_and(|given| given.value.contains(&format!("\"{}\"", backend.name)))
    };
    for service in model.services.iter().filter(uses) {
        for workload in pods.selected(&service.namespace, &service.selector) {
            for container in workload.running() {
                let Some(config) = container.graceful.as_ref().and_then(Graceful::config) else { continue };
                let grace = config.budget.grace_period;
                if draining.value > grace {
                    let message = format!(
                        "{}: connections are kept for {} (connectionDraining), and the grace period is {}",
                        workload.who(container),
                        show(draining.value),
                        show(grace)
                    );
                    let fix = format!("drainingTimeoutSec: {} at most", grace.as_secs());
                    findings.add_as(Severity::Note, backend.file, draining.at, message, fix);
                }
            }
        }
    }
}

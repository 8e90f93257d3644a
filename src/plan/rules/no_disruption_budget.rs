//! The rule no-disruption-budget: nothing keeps a node drain from stopping all replicas.

use super::shared::Pods;
use crate::plan::Platform;
use crate::plan::finding::{Example, Findings, Rule, Severity};
use crate::plan::model::{Model, Workload, WorkloadKind};
use std::collections::HashSet;

pub(super) static RULE: Rule = Rule {
    name: "no-disruption-budget",
    severity: Severity::Note,
    title: "nothing keeps a node drain from stopping all replicas",
    why: "A rollout obeys maxUnavailable. The drain of a node, the autoscaler and an upgrade of the cluster do not: \
          they evict all pods of a node at once, unless a PodDisruptionBudget says how many must stay.",
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
  replicas: 3
  template:
    metadata:
      labels:
        app: web
    spec:
      containers:
        - name: web
          image: example.org/web
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
",
    },
    check,
};

fn check(model: &Model, findings: &mut Findings) {
    let pods = Pods::of(model);
    let covered: HashSet<*const Workload> = model
        .budgets
        .iter()
        .flat_map(|budget| pods.selected(&budget.namespace, &budget.selector))
        .map(std::ptr::from_ref)
        .collect();
    let routed = super::shared::routed(model);
    for workload in &model.workloads {
        let is_one = matches!(workload.kind, WorkloadKind::Deployment | WorkloadKind::StatefulSet);
        let Some(copies) = workload.replicas.as_ref().filter(|copies| copies.value > 1) else { continue };
        if !is_one
            || workload.platform != Platform::Kubernetes
            || !routed.has(workload)
            || covered.contains(&std::ptr::from_ref(workload))
        {
            continue;
        }
        let message =
            format!("{}: {} replicas, and no PodDisruptionBudget in these files", workload.title(), copies.value);
        let fix = "a PodDisruptionBudget with maxUnavailable: 1 and its labels".to_owned();
        findings.add(workload.file, copies.at, message, fix);
    }
}

//! The rule max-unavailable: a rollout may take all copies away at once.

use crate::plan::finding::{Edit, Example, Findings, Rule, Severity};
use crate::plan::model::{Amount, Model};

pub(super) static RULE: Rule = Rule {
    name: "max-unavailable",
    severity: Severity::Warning,
    title: "a rollout may take all copies away at once",
    why: "With maxUnavailable at 100 %, or at the number of replicas, the old pods may all get their stop signal \
          before a single new one is ready. However clean each stop is, nobody answers in between.",
    bad: Example {
        file: "web.yaml",
        text: "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 3
  strategy:
    rollingUpdate:
      maxUnavailable: 100%
  template:
    metadata:
      labels:
        app: web
    spec:
      containers:
        - name: web
          image: example.org/web
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
    good: Example {
        file: "web.yaml",
        text: "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 3
  strategy:
    rollingUpdate:
      maxUnavailable: 1
  template:
    metadata:
      labels:
        app: web
    spec:
      containers:
        - name: web
          image: example.org/web
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
    for workload in &model.workloads {
        let Some(given) = &workload.rollout.max_unavailable else { continue };
        let Some(copies) = workload.copies().filter(|copies| *copies > 1) else { continue };
        let all = match given.value {
            Amount::Percent(percent) => percent >= 100,
            Amount::Number(number) => number >= copies,
        };
        if !all {
            continue;
        }
        let message = format!("{}: all of {copies} replicas may be unavailable in a rollout", workload.title());
        findings.add(workload.file, given.at, message, "maxUnavailable: 1, or 0 with a maxSurge".to_owned());
        findings.with(Some(Edit::Replace(given.at, "1".to_owned())));
    }
}

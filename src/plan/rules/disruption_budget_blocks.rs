//! The rule disruption-budget-blocks: a disruption budget lets no pod go.

use super::shared::Pods;
use crate::plan::finding::{Edit, Example, Findings, Rule, Severity};
use crate::plan::model::{Amount, Model};
use crate::plan::place::At;

pub(super) static RULE: Rule = Rule {
    name: "disruption-budget-blocks",
    severity: Severity::Warning,
    title: "a disruption budget lets no pod go",
    why: "With maxUnavailable: 0, or a minAvailable of all replicas, no eviction is ever allowed. The drain of a \
          node waits for it until somebody loses patience and deletes the pods by force, which is the one stop that \
          nobody drains.",
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
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: web
spec:
  minAvailable: 1
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
  replicas: 2
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
  minAvailable: 1
  selector:
    matchLabels:
      app: web
",
    },
    check,
};

fn check(model: &Model, findings: &mut Findings) {
    let pods = Pods::of(model);
    for budget in &model.budgets {
        let zero = |given: &At<Amount>| matches!(given.value, Amount::Number(0) | Amount::Percent(0));
        if let Some(given) = budget.max_unavailable.as_ref().filter(|given| zero(given)) {
            let message =
                format!("PodDisruptionBudget {}: maxUnavailable is 0, so no pod may ever be evicted", budget.name);
            findings.add(budget.file, given.at, message, "maxUnavailable: 1".to_owned());
            findings.with(Some(Edit::Replace(given.at, "1".to_owned())));
        }
        let Some(given) = &budget.min_available else { continue };
        let selected = pods.selected(&budget.namespace, &budget.selector);
        // An autoscaler may own the number where the manifest has none.
        let copies: Option<u64> =
            selected.iter().map(|workload| workload.replicas.as_ref().map(|copies| copies.value)).sum();
        let all = match given.value {
            Amount::Percent(percent) => percent >= 100,
            Amount::Number(number) => {
                !selected.is_empty() && copies.is_some_and(|copies| copies > 0 && number >= copies)
            }
        };
        if all {
            let of = copies
                .filter(|_| !selected.is_empty())
                .map(|copies| format!(" of {copies} replicas"))
                .unwrap_or_default();
            let message =
                format!("PodDisruptionBudget {}: all{of} must stay, so no pod may ever be evicted", budget.name);
            findings.add(
                budget.file,
                given.at,
                message,
                "maxUnavailable: 1 instead, and more than one replica".to_owned(),
            );
        }
    }
}

//! The rule pre-stop-too-long: the preStop hook sleeps for the whole grace period.

use super::grace_period;
use super::shared::running;
use crate::config::values::show;
use crate::plan::finding::{Example, Findings, Rule, Severity};
use crate::plan::model::Model;
use std::time::Duration;

pub(super) static RULE: Rule = Rule {
    name: "pre-stop-too-long",
    severity: Severity::Error,
    title: "the preStop hook sleeps for the whole grace period",
    why: "The hook's time is taken from terminationGracePeriodSeconds. When it is over, kubelet gives the container 2s for \
          everything else, and then SIGKILL: the stop signal comes, but there is no time to do anything about it. A sleep \
          action (preStop.sleep) that is longer is even refused by the API.",
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
      lifecycle:
        preStop:
          sleep:
            seconds: 30
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
  terminationGracePeriodSeconds: 60
  containers:
    - name: web
      image: example.org/web
      lifecycle:
        preStop:
          sleep:
            seconds: 30
",
    },
    check,
};

fn check(model: &Model, findings: &mut Findings) {
    for (workload, container) in running(model) {
        let hook = container.pre_stop.as_ref().and_then(|hook| Some((hook.at, hook.value.sleeps()?)));
        let Some((spot, sleep)) = hook else { continue };
        let (grace, _) = workload.grace_of(container);
        if sleep < grace || grace.is_zero() {
            continue;
        }
        let message = format!(
            "{}: preStop sleeps {}, and {}: kubelet leaves the container 2s for its own stop",
            workload.who(container),
            show(sleep),
            workload.grace_in_words(container),
        );
        let longer = sleep + Duration::from_secs(30);
        findings.add(
            workload.file,
            spot,
            message,
            format!("{}, or a shorter sleep", workload.platform.written(longer)),
        );
        findings.with(grace_period::raise(workload, container, longer));
    }
}

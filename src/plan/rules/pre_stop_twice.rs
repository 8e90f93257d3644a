//! The rule pre-stop-twice: a preStop hook sleeps, and graceful delays as well.

use super::shared::running;
use crate::config::values::show;
use crate::plan::finding::{Example, Findings, Rule, Severity};
use crate::plan::model::Model;

pub(super) static RULE: Rule = Rule {
    name: "pre-stop-twice",
    severity: Severity::Warning,
    title: "a preStop hook sleeps, and graceful delays as well",
    why: "Both are for the same thing: the time in which load balancers learn that the pod goes away. One after the other, they only \
          take time away from the requests that have to be finished, and during the hook graceful's /readyz still says 200, \
          since it has not heard of the stop.",
    bad: Example {
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
      command: [/graceful, --grace-period, 30s, --, ./web]
      lifecycle:
        preStop:
          exec:
            command: [sleep, '10']
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
      command: [/graceful, --grace-period, 60s, --pre-stop-delay, 10s, --, ./web]
",
    },
    check,
};

fn check(model: &Model, findings: &mut Findings) {
    for (workload, container) in running(model) {
        let Some(graceful) = &container.graceful else { continue };
        let hook = container.pre_stop.as_ref().and_then(|hook| Some((hook, hook.value.waits()?)));
        let (Some(config), Some((hook, sleep))) = (graceful.config(), hook) else { continue };
        let delay = config.budget.pre_stop_delay;
        if sleep.is_zero() || delay.is_zero() {
            continue;
        }
        let how = if config.delay_is_default { " (the default)" } else { "" };
        let name = hook.value.name();
        let message = format!(
            "{}: {name} sleeps {}, then graceful delays {}{how}: {} in all, before anything is drained",
            workload.who(container),
            show(sleep),
            show(delay),
            show(sleep + delay),
        );
        let fix = format!("leave {name} out, and set GRACEFUL_PRE_STOP_DELAY={}", show(sleep.max(delay)));
        findings.add(workload.file, hook.at, message, fix);
    }
}

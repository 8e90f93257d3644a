//! The rule worker-delay: a worker is kept from stopping for a load balancer that it does not have.

use super::shared::running;
use crate::config::values::show;
use crate::plan::finding::{Example, Findings, Rule, Severity};
use crate::plan::model::Model;

pub(super) static RULE: Rule = Rule {
    name: "worker-delay",
    severity: Severity::Warning,
    title: "a worker is kept from stopping for a load balancer that it does not have",
    why: "Nobody routes requests to a worker of a queue. During a delay it takes new jobs, which then have that \
          much less time to finish, and are run again elsewhere when SIGKILL comes. By default graceful gives no \
          delay to a worker that it knows.",
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
      command: [/graceful, --pre-stop-delay, 10s, --, celery, -A, app, worker]
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
      command: [/graceful, --, celery, -A, app, worker]
",
    },
    check,
};

fn check(model: &Model, findings: &mut Findings) {
    for (workload, container) in running(model) {
        let Some(server) = container.server.as_ref().filter(|server| server.is_worker) else { continue };
        let who = workload.who(container);
        if let Some(graceful) = &container.graceful
            && let Some(config) = graceful.config().filter(|config| !config.budget.pre_stop_delay.is_zero())
            // The drain file tells it to take no more jobs, and that takes time.
            && config.drain_file.is_none()
            && let Some(spot) = graceful.given("pre-stop-delay")
        {
            let delay = show(config.budget.pre_stop_delay);
            let message = format!("{who}: {} takes new jobs for {delay} after the stop signal", server.name);
            findings.add(workload.file, spot, message, "no --pre-stop-delay".to_owned());
        }
        let hook = container.pre_stop.as_ref().and_then(|hook| Some((hook, hook.value.waits()?)));
        if let Some((hook, sleep)) = hook.filter(|(_, sleep)| !sleep.is_zero()) {
            let (name, time) = (hook.value.name(), show(sleep));
            let message = format!("{who}: {} takes new jobs for {time} more, while {name} sleeps", server.name);
            findings.add(workload.file, hook.at, message, format!("no {name}"));
        }
    }
}

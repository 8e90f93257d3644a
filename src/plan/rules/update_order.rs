//! The rule update-order: an update stops the old task before it starts the new one, or does not wait to see it run.

use crate::config::values::show;
use crate::plan::Platform;
use crate::plan::finding::{Edit, Example, Findings, Rule, Severity};
use crate::plan::model::{Graceful, Model};
use std::time::Duration;

pub(super) static RULE: Rule = Rule {
    name: "update-order",
    severity: Severity::Note,
    title: "an update stops the old task before it starts the new one, or does not wait to see it run",
    why: "Swarm's default order is stop-first: with one replica, nobody answers between the two tasks. \
          And an update counts as successful when the new task has run for monitor (5s unless set): if that is \
          shorter than the start takes, a broken release goes through to the last replica.",
    bad: Example {
        file: "stack.yaml",
        text: "\
services:
  web:
    image: example.org/web
    stop_grace_period: 30s
    entrypoint: [/graceful, --]
    command: [./web]
    deploy:
      replicas: 1
      update_config:
        parallelism: 1
",
    },
    good: Example {
        file: "stack.yaml",
        text: "\
services:
  web:
    image: example.org/web
    stop_grace_period: 30s
    entrypoint: [/graceful, --]
    command: [./web]
    deploy:
      replicas: 1
      update_config:
        parallelism: 1
        order: start-first
        failure_action: rollback
        monitor: 30s
",
    },
    check,
};

/// The default of `monitor`.
const MONITOR: Duration = Duration::from_secs(5);

fn check(model: &Model, findings: &mut Findings) {
    for workload in model.workloads.iter().filter(|workload| workload.platform == Platform::Swarm) {
        let Some(at) = workload.rollout.at else { continue };
        let title = workload.title();
        let order = workload.rollout.order.as_ref();
        if order.is_none_or(|order| order.value == "stop-first") && workload.copies() == Some(1) {
            let message =
                format!("{title}: one replica, and update_config.order is stop-first: nobody answers between the two");
            findings.add(workload.file, order.map_or(at, |order| order.at), message, "order: start-first".to_owned());
        }
        if let Some(action) = workload.rollout.failure_action.as_ref().filter(|action| action.value == "continue") {
            let message = format!("{title}: failure_action is continue: a broken update goes on to the last replica");
            findings.add_as(
                Severity::Warning,
                workload.file,
                action.at,
                message,
                "failure_action: rollback".to_owned(),
            );
            findings.with(Some(Edit::Replace(action.at, "rollback".to_owned())));
        }
        let starts = workload.running().filter_map(|container| {
            let probe = container.readiness.as_ref().map(|probe| probe.delay);
            let startup = container.graceful.as_ref().and_then(Graceful::config).and_then(|config| config.startup);
            probe.max(startup.map(|startup| startup.timeout))
        });
        let monitor = workload.rollout.monitor.as_ref();
        if let Some(start) = starts.max().filter(|start| *start > monitor.map_or(MONITOR, |given| given.value)) {
            let time = monitor.map_or(MONITOR, |given| given.value);
            let message = format!(
                "{title}: an update counts as done after {} (monitor), and a start may take {}",
                show(time),
                show(start)
            );
            findings.add(
                workload.file,
                monitor.map_or(at, |given| given.at),
                message,
                format!("monitor: {}", show(start)),
            );
            findings.with(monitor.map(|given| Edit::Replace(given.at, show(start))));
        }
    }
}

//! The rule budget: the parts of a stop are longer than the grace period.

use super::grace_period;
use super::shared::running;
use crate::config::values::show;
use crate::config::{Hold, OwnLimit};
use crate::plan::finding::{Example, Findings, Rule, Severity};
use crate::plan::model::{Container, Graceful, Model, RecognisedServer, Workload};
use std::time::Duration;

pub(super) static RULE: Rule = Rule {
    name: "budget",
    severity: Severity::Warning,
    title: "the parts of a stop are longer than the grace period",
    why: "The delay, the app's own drain and the margin before SIGKILL come one after the other, inside one grace period. A \
          server that gives its requests 30s is killed with those that take 25s where only 20s are left; its own limit, which \
          would have closed them in order, is never reached.",
    bad: Example {
        file: "deployment.yaml",
        text: "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  template:
    spec:
      terminationGracePeriodSeconds: 30
      containers:
        - name: web
          image: example.org/web
          command: [/graceful, --pre-stop-delay, 10s, --, gunicorn, --graceful-timeout, '30', app:app]
",
    },
    good: Example {
        file: "deployment.yaml",
        text: "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  template:
    spec:
      terminationGracePeriodSeconds: 45
      containers:
        - name: web
          image: example.org/web
          command: [/graceful, --grace-period, 45s, --pre-stop-delay, 10s, --, gunicorn, --graceful-timeout, '30', app:app]
",
    },
    check,
};

fn check(model: &Model, findings: &mut Findings) {
    for (workload, container) in running(model) {
        let Some(RecognisedServer { name, limit: Some(limit), .. }) = &container.server else { continue };
        match &container.graceful {
            Some(graceful) => of_graceful(workload, container, graceful, name, limit, findings),
            None => without(workload, container, name, limit, findings),
        }
    }
}

fn of_graceful(
    workload: &Workload,
    container: &Container,
    graceful: &Graceful,
    name: &str,
    limit: &OwnLimit,
    findings: &mut Findings,
) {
    let Some(config) = graceful.config() else { return };
    let budget = config.budget;
    let hold = match config.hold {
        Hold::Never => Duration::ZERO,
        // Only a hold whose length somebody set is certainly meant to be used up.
        Hold::Idle | Hold::Quiet | Hold::Url(_) | Hold::Command(_) => {
            config.hold_timeout.filter(|_| graceful.given("hold-timeout").is_some()).unwrap_or_default()
        }
    };
    let sum = budget.pre_stop_delay + hold + limit.limit + budget.kill_margin;
    if sum <= budget.grace_period {
        return;
    }
    let hold = if hold.is_zero() { String::new() } else { format!(" + hold {}", show(hold)) };
    let message = format!(
        "{}: delay {}{hold} + {name} {} ({}) + margin {} = {}, and the grace period is {}",
        workload.who(container),
        show(budget.pre_stop_delay),
        show(limit.limit),
        limit.place,
        show(budget.kill_margin),
        show(sum),
        show(budget.grace_period),
    );
    let spot = graceful.given("grace-period").or_else(|| graceful.given("pre-stop-delay")).unwrap_or(graceful.at);
    let fix = format!(
        "GRACEFUL_GRACE_PERIOD={} and {}, or a shorter limit of {name}'s own",
        show(sum),
        workload.platform.written(sum)
    );
    findings.add_as(severity(limit), workload.file, spot, message, fix);
}

/// Adds up preStop and the server's own limit, where graceful does not run.
fn without(workload: &Workload, container: &Container, name: &str, limit: &OwnLimit, findings: &mut Findings) {
    let pre_stop = container.pre_stop.as_ref().and_then(|pre_stop| Some((pre_stop.at, pre_stop.value.sleeps()?)));
    let (grace, given) = workload.grace_of(container);
    let sleep = pre_stop.map(|(_, time)| time).unwrap_or_default();
    let sum = sleep.saturating_add(limit.limit);
    // An image or a unit alone says little about the platform that will stop it.
    if sum <= grace || given.is_none() && pre_stop.is_none() && !limit.is_set {
        return;
    }
    let hook = if sleep.is_zero() { String::new() } else { format!("preStop {} + ", show(sleep)) };
    let message = format!(
        "{}: {hook}{name} {} ({}) = {}, and {}",
        workload.who(container),
        show(limit.limit),
        limit.place,
        show(sum),
        workload.grace_in_words(container),
    );
    let spot = given.or(pre_stop.map(|(at, _)| at)).or(container.argv.at).unwrap_or(container.at);
    let longer = sum + Duration::from_secs(5);
    findings.add_as(severity(limit), workload.file, spot, message, workload.platform.written(longer));
    findings.with(grace_period::raise(workload, container, longer));
}

/// What somebody set is meant; one default against another is only worth a note.
fn severity(limit: &OwnLimit) -> Severity {
    if limit.is_set { Severity::Warning } else { Severity::Note }
}

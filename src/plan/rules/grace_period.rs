//! The rule grace-period: graceful's grace period is not the platform's.

use super::shared::running;
use crate::config::values::show;
use crate::plan::finding::{Edit, Example, Findings, Rule, Severity};
use crate::plan::model::{Container, Graceful, Model, Workload, WorkloadKind};
use std::time::Duration;

pub(super) static RULE: Rule = Rule {
    name: "grace-period",
    severity: Severity::Error,
    title: "graceful's grace period is not the platform's",
    why: "Nothing inside a container can find out when the platform will send its SIGKILL, so graceful believes \
          --grace-period. Where the platform is faster, it kills everything in the middle of the drain: requests are cut, and \
          there is no report. Defaults: Kubernetes and ECS 30s (Fargate allows 120s at most), Compose, Swarm and docker stop \
          10s, systemd 90s, Nomad 5s; graceful 30s.",
    bad: Example {
        file: "compose.yaml",
        text: "\
services:
  web:
    image: example.org/web
    entrypoint: [/graceful, --]
    command: [gunicorn, app:app]
",
    },
    good: Example {
        file: "compose.yaml",
        text: "\
services:
  web:
    image: example.org/web
    stop_grace_period: 30s
    entrypoint: [/graceful, --]
    command: [gunicorn, --graceful-timeout, '20', app:app]
",
    },
    check,
};

fn check(model: &Model, findings: &mut Findings) {
    for (workload, container) in running(model) {
        if let Some(graceful) = &container.graceful {
            compare(workload, container, graceful, findings);
        }
        too_long(workload, container, findings);
    }
}

fn compare(workload: &Workload, container: &Container, graceful: &Graceful, findings: &mut Findings) {
    let Some(config) = graceful.config() else { return };
    let own = config.budget.grace_period;
    // The hook's time is part of the platform's grace period, not of graceful's.
    let pre_stop = container.pre_stop.as_ref().and_then(|pre_stop| pre_stop.value.sleeps()).unwrap_or_default();
    let (theirs, given) = workload.grace_of(container);
    let left = theirs.saturating_sub(pre_stop);
    let is_given = graceful.given("grace-period");
    let how = if is_given.is_some() { "" } else { " (the default)" };
    if workload.kind == WorkloadKind::Image {
        of_image(workload, graceful, own, findings);
    } else if own > left {
        let hook = match pre_stop {
            Duration::ZERO => String::new(),
            time => format!(", of which the preStop hook takes {}", show(time)),
        };
        let late = show(config.budget.kill_at().saturating_sub(left).max(own.saturating_sub(left)));
        let message = format!(
            "{}: {}{hook}, and graceful's --grace-period is {}{how}: the platform's SIGKILL comes {late} too early",
            workload.who(container),
            workload.grace_in_words(container),
            show(own),
        );
        let needed = own.saturating_add(pre_stop);
        let fits = workload.platform.longest_grace().is_none_or(|longest| needed <= longest);
        let lower = format!("GRACEFUL_GRACE_PERIOD={}", show(left));
        let fix = match fits {
            true => format!("{}, or {lower}", workload.platform.written(needed)),
            false => lower,
        };
        findings.add(workload.file, given.or(is_given).unwrap_or(graceful.at), message, fix);
        findings.with(raise(workload, container, needed).filter(|_| fits));
    } else if is_given.is_some() && left > own.saturating_mul(2) && left < Duration::MAX {
        let message = format!(
            "{}: {}, and graceful's --grace-period is {}: SIGKILL comes {} earlier than it has to",
            workload.who(container),
            workload.grace_in_words(container),
            show(own),
            show(left - own),
        );
        let fix = format!("GRACEFUL_GRACE_PERIOD={}", show(left));
        findings.add_as(Severity::Note, workload.file, is_given.unwrap_or(graceful.at), message, fix);
    }
}

/// An image can run anywhere, and only docker stop has no file that says how long it waits.
fn of_image(workload: &Workload, graceful: &Graceful, own: Duration, findings: &mut Findings) {
    let theirs = workload.platform.default_grace();
    if own > theirs && graceful.given("grace-period").is_none() {
        let (own, theirs) = (show(own), show(theirs));
        let message =
            format!("the image: graceful's --grace-period is {own} (the default), and docker stop waits {theirs}");
        let fix = format!("ENV GRACEFUL_GRACE_PERIOD={theirs} where it runs under docker stop or Compose");
        findings.add_as(Severity::Note, workload.file, graceful.at, message, fix);
    }
}

/// The change that sets the platform's grace period to this time.
pub(super) fn raise(workload: &Workload, container: &Container, time: Duration) -> Option<Edit> {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    match workload.grace_of(container).1 {
        Some(spot) => Some(Edit::Replace(spot, workload.platform.value(seconds))),
        None => {
            let before = container.insert_at.or(workload.insert_at)?;
            Some(Edit::Insert(before, workload.platform.written(time)))
        }
    }
}

/// Finds a grace period that is longer than the platform allows.
fn too_long(workload: &Workload, container: &Container, findings: &mut Findings) {
    let (grace, given) = workload.grace_of(container);
    if let (Some(longest), Some(spot)) = (workload.platform.longest_grace(), given)
        && grace > longest
    {
        let message = format!(
            "{}: {}, and {} allows {} at most",
            workload.who(container),
            workload.grace_in_words(container),
            workload.platform.name(),
            show(longest)
        );
        findings.add(workload.file, spot, message, workload.platform.written(longest));
        findings.with(Some(Edit::Replace(spot, workload.platform.value(longest.as_secs()))));
    }
}

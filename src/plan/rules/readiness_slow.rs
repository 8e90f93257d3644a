//! The rule readiness-slow: the probe notices the stop later than the delay lasts.

use super::shared::running;
use crate::config::FailReadiness;
use crate::config::values::show;
use crate::plan::Platform;
use crate::plan::finding::{Example, Findings, Rule, Severity};
use crate::plan::model::Model;

pub(super) static RULE: Rule = Rule {
    name: "readiness-slow",
    severity: Severity::Note,
    title: "the probe notices the stop later than the delay lasts",
    why: "Kubernetes takes a pod that is being deleted out of its Services at once, whatever the probe says. But a \
          router that learns of the stop by the probe alone (a HEALTHCHECK that Traefik or nginx-proxy follows, a \
          load balancer with health checks of its own) still sends requests until it has failed often enough, and \
          by then the delay is over.",
    bad: Example {
        file: "compose.yaml",
        text: "\
services:
  web:
    image: example.org/web
    stop_grace_period: 30s
    entrypoint: [/graceful, --probe-listen, ':9090', --]
    command: [./web]
    healthcheck:
      test: [CMD, /graceful, probe]
      interval: 10s
      retries: 3
",
    },
    good: Example {
        file: "compose.yaml",
        text: "\
services:
  web:
    image: example.org/web
    stop_grace_period: 30s
    entrypoint: [/graceful, --probe-listen, ':9090', --]
    command: [./web]
    healthcheck:
      test: [CMD, /graceful, probe]
      interval: 2s
      retries: 2
",
    },
    check,
};

fn check(model: &Model, findings: &mut Findings) {
    for (workload, container) in running(model) {
        let (Some(graceful), Some(probe)) = (&container.graceful, &container.readiness) else { continue };
        let Some(config) = graceful.config().filter(|config| config.probe_listen.is_some()) else { continue };
        let delay = config.budget.pre_stop_delay;
        // Kubernetes itself does not wait for it, and Nomad deregisters a service before it sends the signal
        // (developer.hashicorp.com/nomad/docs/job-specification/task, shutdown_delay).
        if matches!(workload.platform, Platform::Kubernetes | Platform::Nomad)
            || config.fail_readiness != FailReadiness::AtStop
            || delay.is_zero()
        {
            continue;
        }
        let notices = probe.notices_after();
        if notices <= delay {
            continue;
        }
        let message = format!(
            "{}: {} failures, one every {}, take {}, and the delay is {}",
            workload.who(container),
            probe.failures,
            show(probe.period),
            show(notices),
            show(delay),
        );
        let routed = container.labels.iter().any(|label| label.value.0.starts_with("traefik."));
        let severity = if routed { Severity::Warning } else { Severity::Note };
        let fix = format!("a shorter interval or fewer retries, or GRACEFUL_PRE_STOP_DELAY={}", show(notices));
        findings.add_as(severity, workload.file, probe.at, message, fix);
    }
}

//! The rule traefik-check: Traefik's own check notices the stop later than the delay lasts, or not at all.

use super::shared::running;
use crate::config::values::show;
use crate::config::{Config, FailReadiness, Listen};
use crate::plan::duration::go_duration;
use crate::plan::finding::{Example, Findings, Rule, Severity};
use crate::plan::model::{Container, Graceful, Model, Workload};
use crate::plan::place::Position;
use std::time::Duration;

pub(super) static RULE: Rule = Rule {
    name: "traefik-check",
    severity: Severity::Warning,
    title: "Traefik's health check notices the stop later than the delay lasts, or not at all",
    why: "With Docker, Traefik learns that a container stops when it is gone, or when a health check fails: its own, every 30s \
          unless loadbalancer.healthcheck.interval says otherwise. The delay is there for that check. If it asks the \
          app's page, which answers until the end, or if it comes less often than the delay lasts, requests go to the \
          container until it closes its port. In Kubernetes Traefik follows the endpoints and has no such check.",
    bad: Example {
        file: "compose.yaml",
        text: "\
services:
  web:
    image: example.org/web
    stop_grace_period: 30s
    entrypoint: [/graceful, --probe-listen, ':9090', --pre-stop-delay, 5s, --]
    command: [./web]
    labels:
      traefik.http.services.web.loadbalancer.healthcheck.path: /readyz
      traefik.http.services.web.loadbalancer.healthcheck.port: '9090'
",
    },
    good: Example {
        file: "compose.yaml",
        text: "\
services:
  web:
    image: example.org/web
    stop_grace_period: 30s
    entrypoint: [/graceful, --probe-listen, ':9090', --pre-stop-delay, 5s, --]
    command: [./web]
    labels:
      traefik.http.services.web.loadbalancer.healthcheck.path: /readyz
      traefik.http.services.web.loadbalancer.healthcheck.port: '9090'
      traefik.http.services.web.loadbalancer.healthcheck.interval: 2s
      traefik.http.services.web.loadbalancer.healthcheck.timeout: 1s
",
    },
    check,
};

/// The defaults (doc.traefik.io/traefik/routing/services, "Health Check"): one failure is enough, and an interval that
/// is not longer than the timeout is made a second longer than it.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(5);

fn check(model: &Model, findings: &mut Findings) {
    for (workload, container) in running(model) {
        let Some(config) = container.graceful.as_ref().and_then(Graceful::config) else { continue };
        let delay = config.budget.pre_stop_delay;
        // Where no delay was asked for, one that nobody notices costs little.
        if delay.is_zero() || config.fail_readiness != FailReadiness::AtStop {
            continue;
        }
        for (service, path) in services(container) {
            look(workload, container, config, &service, path, findings);
        }
    }
}

/// The services in Traefik that have a check, and where its path is set.
fn services(container: &Container) -> Vec<(String, Position)> {
    const END: &str = ".loadbalancer.healthcheck.path";
    let named = container.labels.iter().filter_map(|label| {
        // Traefik ignores the case of names.
        let name = label.value.0.to_ascii_lowercase();
        let service = name.strip_prefix("traefik.http.services.")?.strip_suffix(END)?;
        Some((service.to_owned(), label.at))
    });
    named.collect()
}

fn look(
    workload: &Workload,
    container: &Container,
    config: &Config,
    service: &str,
    path: Position,
    findings: &mut Findings,
) {
    let option = |option: &str| {
        let name = format!("traefik.http.services.{service}.loadbalancer.healthcheck.{option}");
        container.labels.iter().find(|label| label.value.0.eq_ignore_ascii_case(&name))
    };
    let who = workload.who(container);
    let delay = config.budget.pre_stop_delay;
    let own = match &config.probe_listen {
        Some(Listen::Tcp(address)) => Some(u64::from(address.port())),
        Some(Listen::Unix(_)) | None => None,
    };
    let asked = option("port").and_then(|label| label.value.1.parse::<u64>().ok());
    let page = option("path").map_or("/", |label| label.value.1.as_str());
    if own.is_none() || own != asked || page != "/readyz" {
        // A failing health check of Docker's takes the container out as well, and a page of the app may know of the
        // drain file.
        if container.readiness.is_some() || config.drain_file.is_some() || config.delay_is_default {
            return;
        }
        let message = format!(
            "{who}: Traefik's health check asks the app's own {page}, which answers through the delay of {}",
            show(delay)
        );
        let port = own.map_or("--probe-listen :9090, and ".to_owned(), |_| String::new());
        let fix = format!("{port}healthcheck.path=/readyz with healthcheck.port={}", own.unwrap_or(9090));
        findings.add_as(Severity::Note, workload.file, path, message, fix);
        return;
    }
    let time = |name: &str, default| option(name).map_or(Some(default), |label| go_duration(&label.value.1));
    let (Some(interval), Some(timeout)) = (time("interval", INTERVAL), time("timeout", TIMEOUT)) else { return };
    let interval = if interval > timeout { interval } else { timeout + Duration::from_secs(1) };
    if interval <= delay {
        return;
    }
    let how = if option("interval").is_some() { "" } else { " (the default)" };
    let message =
        format!("{who}: Traefik's health check comes every {}{how}, and the delay is {}", show(interval), show(delay));
    let spot = option("interval").map_or(path, |label| label.at);
    let fix =
        format!("healthcheck.interval=2s and healthcheck.timeout=1s, or GRACEFUL_PRE_STOP_DELAY={}", show(interval));
    findings.add(workload.file, spot, message, fix);
}

#[cfg(test)]
mod tests {
    use crate::plan::testing::check_text;

    #[test]
    fn labels_in_a_list_in_any_case_and_under_deploy() {
        let text = "services:\n  web:\n    image: x\n    stop_grace_period: 30s\n    entrypoint: [/graceful, --pre-stop-delay, 5s, --]\n    \
                    command: [./web]\n    deploy:\n      labels:\n        - Traefik.HTTP.Services.a.LoadBalancer.HealthCheck.Path=/health\n";
        let found = |text: &str| -> Vec<(u32, String)> {
            let all = check_text("compose.yaml", text).into_iter().filter(|found| found.rule.name == "traefik-check");
            all.map(|found| (found.at.spot.line, found.message)).collect()
        };
        let said = found(text);
        assert!(said.len() == 1 && said[0].0 == 9 && said[0].1.contains("the app's own /health"), "{said:?}");
        let listens = text.replace("--pre-stop-delay", "--probe-listen, ':9090', --pre-stop-delay");
        let ours = format!(
            "{}        - traefik.http.services.a.loadbalancer.healthcheck.port=9090\n        \
             - traefik.http.services.a.loadbalancer.healthcheck.interval=3s\n",
            listens.replace("/health", "/readyz")
        );
        let said = found(&ours);
        assert!(said.len() == 1 && said[0].0 == 9 + 2 && said[0].1.contains("every 6s"), "the timeout is 5s: {said:?}");
        let short = format!("{ours}        - traefik.http.services.a.loadbalancer.healthcheck.timeout=1s\n");
        assert_eq!(found(&short), []);
        assert_eq!(found(&text.replace("--pre-stop-delay, 5s, ", "")), [], "nobody asked for a delay");
    }
}

//! The rule probe-port: a probe asks for a page of graceful where graceful does not listen.

use super::shared::running;
use crate::config::Listen;
use crate::plan::finding::{Edit, Example, Findings, Rule, Severity};
use crate::plan::model::{Graceful, Model, ProbeHandler};

pub(super) static RULE: Rule = Rule {
    name: "probe-port",
    severity: Severity::Warning,
    title: "a probe asks for a page of graceful where graceful does not listen",
    why: "/readyz, /livez and /startupz of graceful are answered on the port of --probe-listen alone. On another \
          port the app answers (404, or whatever it makes of the path), and without --probe-listen nobody does: the \
          pod never becomes ready, or is never taken out when the stop begins.",
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
      command: [/graceful, --probe-listen, ':9090', --, ./web]
      readinessProbe:
        httpGet:
          path: /readyz
          port: 8080
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
      command: [/graceful, --probe-listen, ':9090', --, ./web]
      readinessProbe:
        httpGet:
          path: /readyz
          port: 9090
",
    },
    check,
};

/// graceful's own pages.
const PAGES: &[&str] = &["/readyz", "/livez", "/startupz"];

fn check(model: &Model, findings: &mut Findings) {
    for (workload, container) in running(model) {
        let Some(config) = container.graceful.as_ref().and_then(Graceful::config) else { continue };
        let own = match &config.probe_listen {
            Some(Listen::Tcp(address)) => Some(u64::from(address.port())),
            Some(Listen::Unix(_)) | None => None,
        };
        for (name, probe) in container.probes() {
            let ProbeHandler::Http { path, port } = &probe.what else { continue };
            let Some(asked) = container.port(port.as_ref()) else { continue };
            let is_own_page = PAGES.contains(&path.value.split('?').next().unwrap_or_default());
            let spot = port.as_ref().map_or(probe.at, |port| port.at);
            let who = format!("{}, {name}", workload.who(container));
            match own {
                // Without a server of graceful's own, such a path is the app's.
                Some(own) if is_own_page && asked != own => {
                    let message =
                        format!("{who}: {} is asked on port {asked}, and --probe-listen is {own}", path.value);
                    findings.add(workload.file, spot, message, format!("port: {own}"));
                    findings.with(Some(Edit::Replace(spot, own.to_string())));
                }
                Some(own) if !is_own_page && asked == own => {
                    let message = format!("{who}: port {asked} is graceful's, which has no {}", path.value);
                    let fix = format!("one of {}", PAGES.join(", "));
                    findings.add_as(Severity::Error, workload.file, path.at, message, fix);
                }
                Some(_) | None => {}
            }
        }
    }
}

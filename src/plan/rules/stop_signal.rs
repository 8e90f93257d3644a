//! The rule stop-signal: the platform sends a signal that begins no stop.

use super::shared::running;
use crate::plan::finding::{Edit, Example, Findings, Rule, Severity};
use crate::plan::model::Model;
use crate::signal::Signal;

pub(super) static RULE: Rule = Rule {
    name: "stop-signal",
    severity: Severity::Error,
    title: "the platform sends a signal that begins no stop",
    why: "The engine sends the image's STOPSIGNAL, the service's stop_signal, or the unit's KillSignal, and nothing \
          else. If that is not in --stop-on, graceful passes it on to the app at once, as any other signal: no \
          delay, no hold, no drain. What the app is to get in its place is said by --stop-signal.",
    bad: Example {
        file: "Dockerfile",
        text: "\
FROM example.org/web
STOPSIGNAL SIGUSR1
ENTRYPOINT [\"/graceful\", \"--\", \"./web\"]
",
    },
    good: Example {
        file: "Dockerfile",
        text: "\
FROM example.org/web
ENV GRACEFUL_STOP_SIGNAL=USR1
ENTRYPOINT [\"/graceful\", \"--\", \"./web\"]
",
    },
    check,
};

fn check(model: &Model, findings: &mut Findings) {
    for (workload, container) in running(model) {
        let Some(given) = &container.stop_signal else { continue };
        let Some(signal) = Signal::parse(given.value.trim()) else { continue };
        let who = workload.who(container);
        match &container.graceful {
            Some(graceful) => {
                let Some(config) = graceful.config().filter(|config| !config.stop_on.contains(signal)) else {
                    continue;
                };
                if graceful.app_unknown && signal == Signal::QUIT {
                    // A profile that knows the app may well have it.
                    continue;
                }
                let list: Vec<String> = Signal::all()
                    .filter(|other| config.stop_on.contains(*other))
                    .map(|other| other.to_string().trim_start_matches("SIG").to_owned())
                    .collect();
                let name = signal.to_string().trim_start_matches("SIG").to_owned();
                let message = format!("{who}: {signal} is sent at the stop, and --stop-on is {}", list.join(","));
                let fix = format!(
                    "leave the signal out and set GRACEFUL_STOP_SIGNAL={name}, or GRACEFUL_STOP_ON=TERM,{name}"
                );
                findings.add(workload.file, given.at, message, fix);
            }
            None => {
                let Some(server) = &container.server else { continue };
                let Some(right) = server.stop_signal.filter(|right| *right != signal) else { continue };
                let message =
                    format!("{who}: {signal} is sent at the stop, and {} ends its requests on {right}", server.name);
                findings.add_as(Severity::Warning, workload.file, given.at, message, right.to_string());
                findings.with(Some(Edit::Replace(given.at, right.to_string())));
            }
        }
    }
}

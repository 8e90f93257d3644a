//! The rule stop-signal: the platform sends a signal that begins no stop.

use super::shared::running;
use crate::config::Config;
use crate::config::values::show;
use crate::plan::Platform;
use crate::plan::finding::{Edit, Example, Findings, Rule, Severity};
use crate::plan::model::{Model, Workload};
use crate::plan::place::At;
use crate::signal::Signal;

pub(super) static RULE: Rule = Rule {
    name: "stop-signal",
    severity: Severity::Error,
    title: "the platform sends a signal that begins no stop",
    why: "The engine sends the image's STOPSIGNAL, the service's stop_signal, or the unit's KillSignal, and nothing \
          else. If that is not in --stop-on, graceful passes it on to the app at once, as any other signal: no \
          delay, no hold, no drain. SIGINT begins a stop, but skips the delay: it is what a person sends who is \
          waiting. --stop-signal says what the app gets instead.",
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
                let Some(config) = graceful.config() else { continue };
                if config.stop_on.contains(signal) {
                    hurries(workload, given, config, signal, &who, findings);
                    continue;
                }
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

/// Finds a platform that sends SIGINT, which is for a stop that a person waits for.
fn hurries(
    workload: &Workload,
    given: &At<String>,
    config: &Config,
    signal: Signal,
    who: &str,
    findings: &mut Findings,
) {
    let delay = config.budget.pre_stop_delay;
    if signal != Signal::INT || delay.is_zero() {
        return;
    }
    let message = format!("{who}: SIGINT is sent at the stop, which skips the delay of {}", show(delay));
    let fix = match workload.platform {
        Platform::Nomad => "kill_signal = \"SIGTERM\"",
        _ => "SIGTERM, and GRACEFUL_STOP_SIGNAL=INT where the app needs it",
    };
    // The default delay is zero where nothing listens.
    let severity = if config.delay_is_default { Severity::Note } else { Severity::Warning };
    findings.add_as(severity, workload.file, given.at, message, fix.to_owned());
}

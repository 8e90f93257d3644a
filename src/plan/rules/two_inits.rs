//! The rule two-inits: graceful runs below another init.

use super::shared::running;
use crate::plan::finding::{Edit, Example, Findings, Rule, Severity};
use crate::plan::model::Model;
use crate::plan::shell;
use crate::plan::wrapped::INITS;

pub(super) static RULE: Rule = Rule {
    name: "two-inits",
    severity: Severity::Warning,
    title: "graceful runs below another init",
    why: "graceful reaps and forwards by itself. Below tini, dumb-init, s6 or Docker's own (init: true) it is no \
          longer PID 1: processes that leave its tree are the other's, which sends them nothing, and what the other \
          does with a signal, or at the end of its child, comes first.",
    bad: Example {
        file: "compose.yaml",
        text: "\
services:
  web:
    image: example.org/web
    init: true
    stop_grace_period: 30s
    entrypoint: [/graceful, --]
    command: [./web]
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
    command: [./web]
",
    },
    check,
};

fn check(model: &Model, findings: &mut Findings) {
    for (workload, container) in running(model) {
        let Some(graceful) = &container.graceful else { continue };
        if let Some(init) = container.platform_init.as_ref().filter(|init| init.value) {
            let message =
                format!("{}: the platform's own init is PID 1, and graceful is its child", workload.who(container));
            findings.add(workload.file, init.at, message, "leave it out: graceful is an init".to_owned());
            findings.with(Some(Edit::Replace(init.at, "false".to_owned())));
        }
        for init in graceful.before.iter().filter(|word| INITS.contains(&shell::base(&word.value))) {
            let name = shell::base(&init.value);
            let message = format!("{}: {name} stands before graceful", workload.who(container));
            findings.add(workload.file, init.at, message, format!("leave {name} out: graceful is an init"));
        }
    }
}

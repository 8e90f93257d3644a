//! The rule kill-mode: systemd signals the app itself, before graceful can.

use super::shared::running;
use crate::plan::finding::{Edit, Example, Findings, Rule, Severity};
use crate::plan::model::Model;

pub(super) static RULE: Rule = Rule {
    name: "kill-mode",
    severity: Severity::Warning,
    title: "systemd signals the app itself, before graceful can",
    why: "With KillMode=control-group, the default, systemd sends SIGTERM to every process of the unit at once. The \
          app has it before graceful has even read its own: no delay, no hold. KillMode=mixed sends it to graceful \
          alone, and SIGKILL to what is left at the end. With process or none, nothing ends what is left.",
    bad: Example {
        file: "web.service",
        text: "\
[Service]
ExecStart=/usr/bin/graceful --grace-period 90s -- /usr/bin/web
",
    },
    good: Example {
        file: "web.service",
        text: "\
[Service]
ExecStart=/usr/bin/graceful --grace-period 90s -- /usr/bin/web
KillMode=mixed
",
    },
    check,
};

fn check(model: &Model, findings: &mut Findings) {
    for (workload, container) in running(model) {
        let (Some(unit), Some(graceful)) = (&workload.unit, &container.graceful) else { continue };
        let mode = unit.kill_mode.as_ref();
        let message = match mode.map_or("control-group", |mode| mode.value.as_str()) {
            "control-group" => "systemd sends SIGTERM to all processes at once, and graceful can delay nothing",
            "process" | "none" => "nothing sends SIGKILL to what graceful could not end",
            _ => continue,
        };
        let how = if mode.is_some() { "" } else { " (the default)" };
        let name = mode.map_or("control-group", |mode| mode.value.as_str());
        let message = format!("{}: KillMode is {name}{how}: {message}", workload.title());
        findings.add(workload.file, mode.map_or(graceful.at, |mode| mode.at), message, "KillMode=mixed".to_owned());
        findings.with(Some(match mode {
            Some(mode) => Edit::Replace(mode.at, "mixed".to_owned()),
            None => Edit::Insert(graceful.at, "KillMode=mixed".to_owned()),
        }));
    }
}

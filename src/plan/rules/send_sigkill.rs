//! The rule send-sigkill: systemd waits for ever for what does not end.

use crate::plan::finding::{Edit, Example, Findings, Rule, Severity};
use crate::plan::model::Model;

pub(super) static RULE: Rule = Rule {
    name: "send-sigkill",
    severity: Severity::Warning,
    title: "systemd waits for ever for what does not end",
    why: "SendSIGKILL=no takes away the last resort. graceful ends what it supervises, but if graceful itself is \
          killed or hangs, the unit stays in stop-sigterm, and the next start finds its port taken.",
    bad: Example {
        file: "web.service",
        text: "\
[Service]
ExecStart=/usr/bin/graceful --grace-period 90s -- /usr/bin/web
KillMode=mixed
SendSIGKILL=no
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
    for workload in &model.workloads {
        let Some(given) = workload.unit.as_ref().and_then(|unit| unit.send_sigkill.as_ref()) else { continue };
        if !given.value {
            let message =
                format!("{}: SendSIGKILL=no: nothing ends a process that does not end by itself", workload.title());
            findings.add(workload.file, given.at, message, "leave SendSIGKILL out".to_owned());
            findings.with(Some(Edit::Replace(given.at, "yes".to_owned())));
        }
    }
}

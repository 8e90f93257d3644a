//! The rule notify-access: systemd does not listen to the app that says it is ready.

use super::shared::running;
use crate::plan::finding::{Edit, Example, Findings, Rule, Severity};
use crate::plan::model::Model;
use crate::plan::place::At;

pub(super) static RULE: Rule = Rule {
    name: "notify-access",
    severity: Severity::Error,
    title: "systemd does not listen to the app that says it is ready",
    why: "With Type=notify systemd takes messages from the main process only, which is graceful; READY=1 comes from \
          the app below it. systemd never hears of it, and kills the unit when TimeoutStartSec is over. \
          NotifyAccess=all listens to every process of the unit.",
    bad: Example {
        file: "web.service",
        text: "\
[Service]
ExecStart=/usr/bin/graceful --grace-period 90s -- /usr/bin/web
Type=notify
KillMode=mixed
",
    },
    good: Example {
        file: "web.service",
        text: "\
[Service]
ExecStart=/usr/bin/graceful --grace-period 90s -- /usr/bin/web
Type=notify
NotifyAccess=all
KillMode=mixed
",
    },
    check,
};

fn check(model: &Model, findings: &mut Findings) {
    for (workload, container) in running(model) {
        let (Some(unit), Some(_)) = (&workload.unit, &container.graceful) else { continue };
        let is_notify = |start: &&At<String>| start.value == "notify" || start.value == "notify-reload";
        let Some(start) = unit.start.as_ref().filter(is_notify) else { continue };
        let access = unit.notify_access.as_ref();
        if access.is_some_and(|access| access.value == "all" || access.value == "exec") {
            continue;
        }
        let name = access.map_or("main", |access| access.value.as_str());
        let message = format!(
            "{}: Type={} with NotifyAccess={name}: READY=1 from the app, a child of graceful, is not heard",
            workload.title(),
            start.value
        );
        findings.add(
            workload.file,
            access.map_or(start.at, |access| access.at),
            message,
            "NotifyAccess=all".to_owned(),
        );
        findings.with(Some(match access {
            Some(access) => Edit::Replace(access.at, "all".to_owned()),
            None => Edit::Insert(start.at, "NotifyAccess=all".to_owned()),
        }));
    }
}

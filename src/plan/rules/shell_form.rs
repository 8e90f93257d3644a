//! The rule shell-form: ENTRYPOINT or CMD in its shell form.

use super::shared::running;
use crate::plan::finding::{Edit, Example, Findings, Rule, Severity};
use crate::plan::model::Model;
use crate::plan::shell;

pub(super) static RULE: Rule = Rule {
    name: "shell-form",
    severity: Severity::Warning,
    title: "ENTRYPOINT or CMD in its shell form",
    why: "Without brackets the engine runs /bin/sh -c LINE. As PID 1 the shell ignores SIGTERM and passes it on to nobody, so \
          that the app never hears of the stop and is killed at the end of the grace period. Arguments that are given to an \
          ENTRYPOINT in this form are thrown away.",
    bad: Example { file: "Dockerfile", text: "FROM python:3.12\nENTRYPOINT gunicorn app:app\n" },
    good: Example { file: "Dockerfile", text: "FROM python:3.12\nENTRYPOINT [\"gunicorn\", \"app:app\"]\n" },
    check,
};

fn check(model: &Model, findings: &mut Findings) {
    for (workload, container) in running(model) {
        let Some(form) = &container.argv.shell else { continue };
        let last = shell::last_command(&form.line).unwrap_or_default();
        if last.first().is_some_and(|word| word == "exec") {
            continue;
        }
        // Many shells replace themselves with a simple CMD.
        let is_simple = !shell::is_compound(&form.line) && form.instruction == "CMD";
        let severity = if is_simple { Severity::Note } else { Severity::Warning };
        let words = shell_words::split(&form.line).ok().filter(|_| is_plain(&form.line));
        let message = format!(
            "{} in its shell form: /bin/sh is between the engine and the app, and need not pass on the stop signal",
            form.instruction
        );
        let listed = words.map(|words| {
            let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
            format!("[{}]", quoted.join(", "))
        });
        let fix = match &listed {
            Some(list) => format!("{} {}", form.instruction, crate::secret::hidden(list)),
            None => format!("{} [\"/bin/sh\", \"-c\", \"… exec COMMAND\"], with exec before the app", form.instruction),
        };
        findings.add_as(severity, workload.file, form.at, message, fix);
        findings.with(listed.map(|list| Edit::Replace(form.at, list)));
    }
}

/// Whether the line has nothing that only a shell understands.
fn is_plain(line: &str) -> bool {
    !line.contains(['$', '`', '*', '?', '~', '<', '>', '|', '&', ';', '(', '{', '\n', '\\', '=', '#', '!'])
}

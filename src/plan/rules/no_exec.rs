//! The rule no-exec: a shell waits for the app and does not pass on the stop signal.

use super::shared::running;
use crate::config::StopTo;
use crate::plan::finding::{Example, Findings, Rule, Severity};
use crate::plan::model::{Graceful, Model, WorkloadKind};
use crate::plan::shell;

pub(super) static RULE: Rule = Rule {
    name: "no-exec",
    severity: Severity::Warning,
    title: "a shell waits for the app and does not pass on the stop signal",
    why: "In sh -c \"a && b\" the shell stays, as PID 1 or as graceful's child, and waits for the last command. It \
          gets the signal, and the app does not: as PID 1 a shell ignores SIGTERM, below graceful it dies of it and \
          leaves the app behind. exec before the last command makes the app take the shell's place.",
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
      command: [/bin/sh, -c, ./migrate && ./web]
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
      command: [/bin/sh, -c, ./migrate && exec ./web]
",
    },
    check,
};

fn check(model: &Model, findings: &mut Findings) {
    for (workload, container) in running(model) {
        // Jobs end by themselves, and an instruction in its shell form has a rule of its own.
        if workload.kind.ends_by_itself() || container.argv.shell.is_some() {
            continue;
        }
        if container.graceful.as_ref().and_then(Graceful::config).is_some_and(|config| config.stop_to == StopTo::Tree) {
            continue;
        }
        let words = &container.argv.words;
        let Some(at) = words.iter().position(|word| shell::is_shell(&word.value)) else { continue };
        let texts: Vec<&str> = words[at..].iter().map(|word| word.value.as_str()).collect();
        let Some(line) = shell::line_of(&texts) else { continue };
        let Some(last) = shell::last_command(line).filter(|_| shell::is_compound(line)) else { continue };
        // A line that traps the signal, waits, or ends in a word of the shell's own is taken to know what it does.
        let is_handled = line.contains("trap ") || line.contains("exec ");
        let is_builtin = ["wait", "true", "exit", "done", "fi", "esac", "}", ")"].contains(&last[0].as_str());
        if is_handled || is_builtin || workload.kind == WorkloadKind::Unit {
            continue;
        }
        let place = words.iter().find(|word| word.value == line).map_or(container.at, |word| word.at);
        let message = format!(
            "{}: the shell stays and waits for {}, which never gets the stop signal",
            workload.who(container),
            shell::base(&last[0]),
        );
        let fix = format!("exec before {}, the last command", shell::base(&last[0]));
        findings.add(workload.file, place, message, fix);
    }
}

//! The rule reload-hup: a reload sends SIGHUP to an app that ends on it.

use super::shared::running;
use crate::config::Config;
use crate::plan::finding::{Example, Findings, Rule, Severity};
use crate::plan::model::{Container, Graceful, Model, Workload};
use crate::plan::place::At;
use crate::plan::shell;
use crate::signal::Signal;

pub(super) static RULE: Rule = Rule {
    name: "reload-hup",
    severity: Severity::Warning,
    title: "a reload sends SIGHUP to an app that ends on it",
    why: "Without --listen graceful passes SIGHUP on to the app as it comes. A server that reloads on it (nginx, gunicorn, uWSGI) does so; a \
          program without a handler is ended by it at once (signal(7)), and with it all its requests. So what is meant as \
          a reload is a restart without a drain.",
    bad: Example {
        file: "web.service",
        text: "\
[Service]
ExecStart=/usr/bin/graceful --grace-period 90s -- node /srv/web.js
ExecReload=/bin/kill -HUP $MAINPID
KillMode=mixed
",
    },
    good: Example {
        file: "web.service",
        text: "\
[Service]
ExecStart=/usr/bin/graceful --grace-period 90s -- gunicorn app:app
ExecReload=/bin/kill -HUP $MAINPID
KillMode=mixed
",
    },
    check,
};

/// Profiles of programs that have no handler of their own: nodejs.org/api/process.html (signal events),
/// pkg.go.dev/os/signal (default behavior of signals), the JVM's termination on SIGHUP (docs.oracle.com,
/// Troubleshooting: handle signals), and Python programs that set none.
const ENDS: &[&str] = &["node", "go", "jvm", "flask", "waitress", "aiohttp", "daphne", "rq"];

fn check(model: &Model, findings: &mut Findings) {
    for workload in &model.workloads {
        let Some(reload) = workload.unit.as_ref().and_then(|unit| unit.reload.as_ref()) else { continue };
        if shell::commands(&reload.value).iter().any(|command| sends_hup(command)) {
            for container in workload.running() {
                ends(workload, container, workload.file, reload, findings);
            }
        }
    }
    for (sender, container) in running(model) {
        for (target, word) in targets(container) {
            let is_target = |workload: &&Workload| workload.name == target;
            for workload in model.workloads.iter().filter(is_target) {
                for container in workload.running() {
                    ends(workload, container, sender.file, word, findings);
                }
            }
        }
    }
}

/// Adds a finding if this container ends on the signal that this word sends.
fn ends(workload: &Workload, container: &Container, file: usize, word: &At<String>, findings: &mut Findings) {
    let Some(config) = container.graceful.as_ref().and_then(Graceful::config) else { return };
    // An unknown app may well have a handler.
    let Some(server) = container.server.as_ref().filter(|server| ENDS.contains(&server.name)) else { return };
    if !(rewrites(config) || config.reload.on == Some(Signal::HUP)) {
        let who = workload.who(container);
        let message =
            format!("{who}: the reload sends SIGHUP, and {} ends on it unless the app handles it", server.name);
        let fix = "--listen, with which graceful starts the app anew on SIGHUP and drops nothing, or --rewrite HUP:SIGNAL with what \
                   the app reloads on".to_owned();
        findings.add(file, word.at, message, fix);
    }
}

fn rewrites(config: &Config) -> bool {
    config.rewrite.iter().any(|(from, _)| *from == Signal::HUP)
}

/// Whether a command sends SIGHUP: `kill -HUP`, `kill -s HUP`, `docker kill --signal=SIGHUP`.
fn sends_hup(command: &[String]) -> bool {
    let is_kill = command.iter().take(3).any(|word| matches!(shell::base(word), "kill" | "pkill" | "killall"));
    let is_hup = |word: &String| {
        let name = word.strip_prefix("--signal=").or(word.strip_prefix('-')).unwrap_or(word);
        matches!(name, "HUP" | "SIGHUP") || name == "1" && name != word
    };
    is_kill && command.iter().skip(1).any(is_hup)
}

/// The containers that a container's command sends SIGHUP to, by name: `docker kill -s HUP web`, `docker compose kill
/// -s HUP web`.
fn targets(container: &Container) -> Vec<(String, &At<String>)> {
    let texts: Vec<&str> = container.argv.words.iter().map(|word| word.value.as_str()).collect();
    let own = || vec![texts.iter().map(|word| (*word).to_owned()).collect()];
    let line = shell::line_of(&texts);
    let commands: Vec<Vec<String>> = line.map_or_else(own, shell::commands);
    let word =
        container.argv.words.iter().find(|word| Some(word.value.as_str()) == line).or(container.argv.words.first());
    let of_engine = commands.into_iter().filter(|command| {
        let is_engine = command
            .first()
            .is_some_and(|first| matches!(shell::base(first), "docker" | "docker-compose" | "podman" | "nerdctl"));
        is_engine && sends_hup(command)
    });
    of_engine.filter_map(|mut command| Some((command.pop()?, word?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::check_text;

    #[test]
    fn commands_that_send_hup() {
        for (line, sends) in [
            ("/bin/kill -HUP $MAINPID", true),
            ("kill -s SIGHUP 1", true),
            ("/usr/bin/kill --signal=HUP 1", true),
            ("kill -1 7", true),
            ("docker kill -s HUP web", true),
            ("docker compose kill -s HUP web", true),
            ("kill -TERM 1", false),
            ("kill -USR1 1", false),
            ("nginx -s reload", false),
            ("docker restart web", false),
        ] {
            assert_eq!(sends_hup(&shell::commands(line)[0]), sends, "{line}");
        }
    }

    #[test]
    fn a_service_that_reloads_another_by_its_name() {
        let text = "services:\n  web:\n    image: node:22\n    stop_grace_period: 30s\n    entrypoint: [/graceful, --]\n    \
                    command: [node, web.js]\n  certs:\n    image: docker:27\n    entrypoint: [sh, -c]\n    \
                    command: ['renew; docker kill -s HUP web']\n";
        let found = |text: &str| check_text("compose.yaml", text).iter().any(|found| found.rule.name == "reload-hup");
        assert!(found(text));
        assert!(!found(&text.replace("HUP web", "HUP proxy")));
        assert!(!found(&text.replace("[/graceful, --]", "[/graceful, --rewrite, 'HUP:USR2', --]")));
    }
}

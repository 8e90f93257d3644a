//! ECS task definitions: JSON, as register-task-definition takes it and describe-task-definition prints it.

use super::reading::of_shell;
use crate::plan::model::{
    Argv, Container, Elsewhere, Model, Platform, ProbeHandler, ProbeSpec, Rollout, Workload, WorkloadKind,
};
use crate::plan::place::At;
use crate::plan::tree::Node;
use crate::plan::wrapped::Reader;
use std::collections::BTreeMap;
use std::time::Duration;

/// Reads the document if it is a task definition; returns whether it is.
pub(super) fn read(file: usize, document: &Node, reader: &Reader<'_>, model: &mut Model) -> bool {
    let document = document.get("taskDefinition").unwrap_or(document);
    let Some(definitions) = document.get("containerDefinitions") else { return false };
    let compatible = |key: &str| document.get(key).map(Node::strings).unwrap_or_default();
    let is_fargate = compatible("requiresCompatibilities").iter().any(|given| given.value == "FARGATE");
    let family = document.get("family");
    let containers = definitions.list().iter().map(|node| {
        let mut container = container(node);
        let as_init = container.platform_init.as_ref().is_none_or(|init| !init.value);
        reader.look(&mut container, as_init && document.get("pidMode").is_none());
        container
    });
    let pid_mode = document.get("pidMode");
    let host_pid = pid_mode.filter(|mode| mode.text() == Some("host")).map(|mode| At { at: mode.spot, value: true });
    let shared = pid_mode.filter(|mode| mode.text() == Some("task")).map(|mode| At { at: mode.spot, value: true });
    model.workloads.push(Workload {
        file,
        platform: if is_fargate { Platform::Fargate } else { Platform::Ecs },
        kind: WorkloadKind::Task,
        name: family.and_then(Node::text).unwrap_or("?").to_owned(),
        namespace: String::new(),
        labels: BTreeMap::new(),
        grace: None,
        replicas: None,
        rollout: Rollout::default(),
        share_process_namespace: shared,
        host_pid,
        containers: containers.collect(),
        unit: None,
        wrap: None,
        insert_at: None,
    });
    true
}

fn container(node: &Node) -> Container {
    let words = |key: &str| node.get(key).map(Node::strings).unwrap_or_default();
    let entrypoint = words("entryPoint");
    let headless = entrypoint.is_empty();
    let variable = |entry: &Node| {
        let value = entry.get("value")?;
        Some(At { at: value.spot, value: (entry.get("name")?.text()?.to_owned(), value.text()?.to_owned()) })
    };
    let env = node.get("environment").map(Node::list).unwrap_or_default();
    let ports = node.get("portMappings").map(Node::list).unwrap_or_default();
    let port = |entry: &Node| {
        let name = entry.get("name").and_then(Node::text).map(str::to_owned);
        Some((name, entry.get("containerPort")?.number()?.value))
    };
    let seconds = |given: At<u64>| At { at: given.at, value: Duration::from_secs(given.value) };
    Container {
        name: node.get("name").and_then(Node::text).unwrap_or("?").to_owned(),
        at: node.get("name").map_or(node.spot, |name| name.spot),
        image: node.get("image").and_then(Node::string),
        is_init: false,
        argv: Argv {
            words: entrypoint.into_iter().chain(words("command")).collect(),
            at: node.key("entryPoint").or_else(|| node.key("command")),
            shell: None,
            headless,
        },
        env: env.iter().filter_map(|entry| variable(entry)).collect(),
        graceful: None,
        server: None,
        grace: node.get("stopTimeout").and_then(Node::number).map(seconds),
        stop_signal: None,
        pre_stop: None,
        readiness: node.get("healthCheck").and_then(healthcheck),
        liveness: None,
        startup: None,
        ports: ports.iter().filter_map(|entry| port(entry)).collect(),
        platform_init: node.at(&["linuxParameters", "initProcessEnabled"]).and_then(Node::truth),
        termination_message_path: None,
        elsewhere: Elsewhere::default(),
        labels: Vec::new(),
        insert_at: node.entries().first().map(|(key, _)| key.at),
    }
}

fn healthcheck(node: &Node) -> Option<ProbeSpec> {
    let command = node.get("command")?;
    let mut words = command.strings();
    let what = match words.first().map(|word| word.value.as_str()) {
        Some("CMD") => ProbeHandler::Exec(words.split_off(1)),
        Some("CMD-SHELL") => ProbeHandler::Exec(of_shell(words.pop()?)),
        _ => return None,
    };
    let number = |key: &str, default: u64| node.get(key).and_then(Node::number).map_or(default, |given| given.value);
    Some(ProbeSpec {
        at: command.spot,
        what,
        delay: Duration::from_secs(number("startPeriod", 0)),
        period: Duration::from_secs(number("interval", 30)),
        failures: number("retries", 3),
    })
}

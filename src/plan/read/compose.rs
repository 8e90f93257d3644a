//! Compose files and Swarm stacks. They are one format: a service whose `deploy` has keys that only Swarm obeys is part
//! of a stack.

use super::dockerfile::Image;
use super::env_file;
use super::reading::of_shell;
use crate::plan::duration::go_duration as duration;
use crate::plan::model::{
    Argv, Container, DependsOn, Elsewhere, FileSpot, ListPlace, Model, Platform, ProbeHandler, ProbeSpec, Rollout,
    ServicePlaces, Workload, WorkloadKind, WrapPlaces,
};
use crate::plan::place::{At, Position};
use crate::plan::tree::Node;
use crate::plan::wrapped::{NamedFile, Reader};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

/// Reads the document if it is a Compose file; returns whether it is.
pub(super) fn read(file: usize, document: &Node, reader: &Reader<'_>, model: &mut Model) -> bool {
    let Some(services) = document.get("services") else { return false };
    for (name, node) in services.entries() {
        if node.entries().is_empty() {
            continue;
        }
        let deploy = node.get("deploy");
        let of_swarm = |key: &str| deploy.and_then(|deploy| deploy.get(key)).is_some();
        let is_stack = of_swarm("update_config") || of_swarm("rollback_config") || of_swarm("placement");
        let mut container = container(&name.value, node);
        container.at = name.at;
        env_files(node.get("env_file"), reader, &mut container);
        model.built.extend(built(file, node, reader, &mut container));
        let as_init = container.platform_init.as_ref().is_none_or(|init| !init.value);
        reader.look(&mut container, as_init);
        model.workloads.push(Workload {
            file,
            platform: if is_stack { Platform::Swarm } else { Platform::Docker },
            kind: WorkloadKind::Service,
            name: name.value.clone(),
            namespace: String::new(),
            labels: BTreeMap::new(),
            grace: time(node.get("stop_grace_period")),
            replicas: deploy
                .and_then(|deploy| deploy.get("replicas"))
                .or_else(|| node.get("scale"))
                .and_then(Node::number),
            rollout: rollout(deploy.and_then(|deploy| deploy.get("update_config"))),
            share_process_namespace: None,
            host_pid: node
                .get("pid")
                .filter(|pid| pid.text() == Some("host"))
                .map(|pid| At { at: pid.spot, value: true }),
            insert_at: node.entries().first().map(|(key, _)| key.at),
            wrap: wrap_places(document, name, node).map(|places| WrapPlaces::Service(Box::new(places))),
            containers: vec![container],
            unit: None,
        });
    }
    true
}

/// Where graceful could be added to the service.
fn wrap_places(document: &Node, name: &At<String>, node: &Node) -> Option<ServicePlaces> {
    let keys = |key: &str| document.get(key).map(Node::entries).unwrap_or_default();
    let is_ours = |(key, _): &(At<String>, Rc<Node>)| key.value == "graceful";
    let depends_on = node.get("depends_on");
    let names: Vec<Position> = depends_on.map(Node::list).unwrap_or_default().iter().map(|name| name.spot).collect();
    Some(ServicePlaces {
        is_taken: keys("services").iter().chain(keys("volumes")).any(is_ours),
        services: document.key("services")?,
        first: keys("services").first().map(|(key, _)| key.at)?,
        all_volumes: ListPlace::of_keys(document.get("volumes")),
        key: node.entries().iter().map(|(key, _)| key.at).find(|at| at.line != name.at.line),
        entrypoint: node.get("entrypoint").filter(|entrypoint| entrypoint.text().is_some()).map(|line| line.spot),
        volumes: ListPlace::of_items(node.get("volumes")),
        depends_on: match names.is_empty() {
            true => DependsOn::Map(ListPlace::of_keys(depends_on)),
            false => DependsOn::Names(names),
        },
    })
}

/// Adds the variables in the files of `env_file` before the service's own, which take precedence; of two files the
/// later one does.
fn env_files(node: Option<&Node>, reader: &Reader<'_>, container: &mut Container) {
    let Some(node) = node else { return };
    let single = node.string().map(|path| (path, true));
    let members = node.list().iter().filter_map(|member| match member.string() {
        Some(path) => Some((path, true)),
        None => {
            let is_required = member.get("required").and_then(Node::truth).is_none_or(|given| given.value);
            Some((member.get("path")?.string()?, is_required))
        }
    });
    let mut env = Vec::new();
    for (path, is_required) in single.into_iter().chain(members) {
        let name = plain(&path.value);
        // Only the file's name is there: nothing can be replaced.
        let at = path.at.empty();
        match reader.file(&name) {
            NamedFile::Text(text) => {
                env.extend(env_file::variables(&text).into_iter().map(|value| At { at, value }));
                continue;
            }
            NamedFile::Missing(why) if is_required => {
                container.elsewhere.missing.push(At { at: path.at, value: format!("env_file {name} {why}") });
            }
            NamedFile::Missing(_) | NamedFile::Elsewhere => {}
        }
        container.elsewhere.unknown.push(At { at, value: format!("env_file {name}, which is not here,") });
    }
    container.put_before(env);
}

/// Gives the service what the image has that is built for it; returns where the file says so, and the path of the
/// Dockerfile.
fn built(file: usize, node: &Node, reader: &Reader<'_>, container: &mut Container) -> Option<(FileSpot, PathBuf)> {
    let build = node.get("build")?;
    let text = |key: &str| build.get(key).and_then(Node::text);
    let context = build.text().or_else(|| text("context")).unwrap_or(".");
    let path = format!("{context}/{}", text("dockerfile").unwrap_or("Dockerfile"));
    let dockerfile = match text("dockerfile_inline") {
        Some(inline) => inline.to_owned(),
        None => match reader.file(&path) {
            NamedFile::Text(dockerfile) => dockerfile,
            NamedFile::Missing(_) | NamedFile::Elsewhere => return None,
        },
    };
    let spot = build.spot.empty();
    let image = Image::of(&dockerfile, text("target"), context, reader)?;
    image.under(container, spot, node.get("healthcheck").is_some());
    Some((FileSpot { file, spot }, reader.beside(&path)?))
}

fn rollout(update: Option<&Node>) -> Rollout {
    let text = |key: &str| update.and_then(|update| update.get(key)).and_then(Node::string);
    Rollout {
        max_unavailable: None,
        order: text("order"),
        failure_action: text("failure_action"),
        monitor: time(update.and_then(|update| update.get("monitor"))),
        at: update.map(|update| update.spot),
    }
}

/// `1m30s`, `10s`, `500ms`; a bare number counts seconds. A time that a variable sets is taken to be as long as
/// anything needs.
fn time(node: Option<&Node>) -> Option<At<Duration>> {
    node?.string()?.try_map(|text| match plain(&text) {
        computed if computed.contains('$') => Some(Duration::MAX),
        text => duration(&text),
    })
}

/// `${NAME:-default}` is the default, as far as the file shows.
fn plain(text: &str) -> String {
    match text.trim().strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
        Some(inner) => inner.split_once(":-").or_else(|| inner.split_once('-')).map_or(text, |(_, or)| or).to_owned(),
        None => text.to_owned(),
    }
}

fn container(name: &str, node: &Node) -> Container {
    let text = |key: &str| node.get(key).and_then(Node::string);
    let entrypoint = node.get("entrypoint");
    let entrypoint_words = words(entrypoint);
    let headless = entrypoint_words.is_empty();
    let command = node.get("command");
    Container {
        name: name.to_owned(),
        at: node.spot,
        image: text("image"),
        is_init: false,
        argv: Argv {
            words: entrypoint_words.into_iter().chain(words(command)).collect(),
            at: entrypoint.or(command).map(|node| node.spot),
            // Compose splits a string and gives it to no shell.
            shell: None,
            headless,
        },
        env: environment(node.get("environment")),
        graceful: None,
        server: None,
        grace: None,
        stop_signal: text("stop_signal"),
        pre_stop: None,
        readiness: node.get("healthcheck").and_then(healthcheck),
        liveness: None,
        startup: None,
        ports: Vec::new(),
        platform_init: node.get("init").and_then(Node::truth),
        termination_message_path: None,
        elsewhere: Elsewhere::default(),
        labels: pairs(node.get("labels")).chain(pairs(node.at(&["deploy", "labels"]))).collect(),
        insert_at: node.entries().first().map(|(key, _)| key.at),
    }
}

/// A list, or a string that Compose splits as a shell would, without using one (compose-spec, command). `$$` is a
/// dollar.
fn words(node: Option<&Node>) -> Vec<At<String>> {
    let Some(node) = node else { return Vec::new() };
    let words = match node.string() {
        Some(line) => shell_words::split(&line.value)
            .map(|words| words.into_iter().map(|word| At { at: line.at, value: word }).collect())
            .unwrap_or_default(),
        None => node.strings(),
    };
    words.into_iter().map(|word| At { value: word.value.replace("$$", "$"), ..word }).collect()
}

fn environment(node: Option<&Node>) -> Vec<At<(String, String)>> {
    let Some(node) = node else { return Vec::new() };
    // A name alone takes its value from the environment of whoever starts the service.
    let theirs = |name: &str| format!("${{{name}}}");
    let of_map = node.entries().iter().map(|(key, value)| At {
        at: if value.text().is_some() { value.spot } else { key.at },
        value: (key.value.clone(), value.text().map_or_else(|| theirs(&key.value), plain)),
    });
    let of_list = node.list().iter().filter_map(|member| {
        let given = member.string()?;
        given.try_map(|text| match text.split_once('=') {
            Some((name, value)) => Some((name.to_owned(), plain(value))),
            None => Some((text.clone(), theirs(&text))),
        })
    });
    of_map.chain(of_list).collect()
}

/// A map of texts, or a list of `NAME=VALUE`.
fn pairs(node: Option<&Node>) -> impl Iterator<Item = At<(String, String)>> {
    let of_map = node.map(Node::entries).unwrap_or_default().iter();
    let of_map = of_map.filter_map(|(key, value)| value.string()?.try_map(|text| Some((key.value.clone(), text))));
    let of_list = node.map(Node::list).unwrap_or_default().iter().filter_map(|member| {
        member.string()?.try_map(|text| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())))
    });
    of_map.chain(of_list)
}

fn healthcheck(node: &Node) -> Option<ProbeSpec> {
    let test = node.get("test")?;
    let mut command = match test.string() {
        Some(line) => vec![At { at: line.at, value: "CMD-SHELL".to_owned() }, line],
        None => test.strings(),
    };
    let what = match command.first().map(|word| word.value.as_str()) {
        Some("CMD") => ProbeHandler::Exec(command.split_off(1)),
        Some("CMD-SHELL") => ProbeHandler::Exec(of_shell(command.pop()?)),
        _ => return None,
    };
    let given = |key: &str, default: u64| time(node.get(key)).map_or(Duration::from_secs(default), |given| given.value);
    Some(ProbeSpec {
        at: test.spot,
        what,
        delay: given("start_period", 0),
        period: given("interval", 30),
        failures: node.get("retries").and_then(Node::number).map_or(3, |given| given.value),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_is_what_the_file_shows() {
        assert_eq!(plain("${GRACE:-20s}"), "20s");
    }
}

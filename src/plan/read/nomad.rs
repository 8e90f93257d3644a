//! Nomad jobs, in HCL and in the JSON that its API takes (`nomad job run -output`). A group is a workload, since its
//! tasks come and go together; each task is a container of it.
//!
//! The JSON has the same names in capitals (kill_timeout, KillTimeout), lists where HCL has blocks, and times in
//! nanoseconds. Sources: developer.hashicorp.com/nomad/docs/job-specification, and the drivers' pages below
//! /docs/drivers.

use crate::plan::duration::go_duration as duration;
use crate::plan::model::{
    Amount, Argv, Container, Elsewhere, Model, Platform, PreStop, ProbeHandler, ProbeSpec, Rollout, Workload,
    WorkloadKind,
};
use crate::plan::place::At;
use crate::plan::tree::{Data, Node};
use crate::plan::wrapped::Reader;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// Whether the text has what the HCL of a job begins with; other programs have files of that name, too.
pub(super) fn is_job(text: &str) -> bool {
    let is_block = |line: &str| line.strip_prefix("job").is_some_and(|rest| rest.trim_start().starts_with(['"', '{']));
    text.lines().any(is_block)
}

/// Reads the jobs of an HCL file; returns how many there are.
pub(super) fn read_hcl(file: usize, document: &Node, reader: &Reader<'_>, model: &mut Model) -> usize {
    let variables: Vec<(String, String)> = labelled(document, "variable")
        .into_iter()
        .filter_map(|(name, body)| Some((format!("${{var.{}}}", name.value), body.get("default")?.text()?.to_owned())))
        .collect();
    let known;
    let document = match variables.is_empty() {
        true => document,
        false => {
            known = with_defaults(document, &variables);
            &known
        }
    };
    let jobs = labelled(document, "job");
    for (_, job) in &jobs {
        read_job(file, job, reader, model);
    }
    jobs.len()
}

/// Reads the document if it is a job in the API's JSON; returns whether it is.
pub(super) fn read_json(file: usize, document: &Node, reader: &Reader<'_>, model: &mut Model) -> bool {
    let job = document.get("Job").unwrap_or(document);
    if job.get("TaskGroups").is_none() {
        return false;
    }
    read_job(file, job, reader, model);
    true
}

/// The tree with variables replaced by their defaults.
fn with_defaults(node: &Node, variables: &[(String, String)]) -> Node {
    let data = match &node.data {
        Data::Scalar { text, plain } => {
            let replace = |text: String, (name, value): &(String, String)| text.replace(name, value);
            Data::Scalar { text: variables.iter().fold(text.clone(), replace), plain: *plain }
        }
        Data::List(members) => {
            Data::List(members.iter().map(|member| Rc::new(with_defaults(member, variables))).collect())
        }
        Data::Map(entries) => {
            let known = |(key, value): &(At<String>, Rc<Node>)| (key.clone(), Rc::new(with_defaults(value, variables)));
            Data::Map(entries.iter().map(known).collect())
        }
    };
    Node { spot: node.spot, data, weight: node.weight }
}

/// The API's name for this key.
fn capital(name: &str) -> String {
    let word = |word: &str| match word.split_at_checked(1) {
        Some((first, rest)) => first.to_ascii_uppercase() + rest,
        None => String::new(),
    };
    name.split('_').map(word).collect()
}

fn field<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    node.get(name).or_else(|| node.get(&capital(name)))
}

/// Blocks with a label.
fn labelled<'a>(node: &'a Node, name: &str) -> Vec<(At<String>, &'a Node)> {
    let of_hcl = node.entries().iter().filter(|(key, _)| key.value == name).flat_map(|(_, block)| block.entries());
    let in_list = node.get(&format!("{}s", if name == "group" { "TaskGroup".to_owned() } else { capital(name) }));
    let of_json = in_list.map(Node::list).unwrap_or_default().iter();
    let named = of_json.filter_map(|member| Some((member.get("Name")?.string()?, &**member)));
    of_hcl.map(|(label, body)| (label.clone(), &**body)).chain(named).collect()
}

/// Blocks without a label.
fn unlabelled<'a>(node: &'a Node, name: &str) -> Vec<&'a Node> {
    let of_hcl = node.entries().iter().filter(|(key, _)| key.value == name).map(|(_, body)| &**body);
    let of_json = node.get(&format!("{}s", capital(name))).map(Node::list).unwrap_or_default();
    of_hcl.chain(of_json.iter().map(|member| &**member)).collect()
}

/// `"1m30s"`, or the API's nanoseconds. A computed time is taken to be as long as anything needs.
fn time(node: Option<&Node>) -> Option<At<Duration>> {
    let node = node?;
    let text = node.text()?;
    let value = match text.parse::<u64>() {
        Ok(nanos) => Duration::from_nanos(nanos),
        Err(_) if text.contains("${") => Duration::MAX,
        Err(_) => duration(text)?,
    };
    Some(At { at: node.spot, value })
}

fn truth(node: Option<&Node>) -> bool {
    node.and_then(Node::truth).is_some_and(|given| given.value)
}

fn read_job(file: usize, job: &Node, reader: &Reader<'_>, model: &mut Model) {
    let kind = field(job, "type").and_then(Node::text).unwrap_or("service");
    let ends = kind == "batch" || kind == "sysbatch" || field(job, "periodic").is_some();
    for (name, group) in labelled(job, "group") {
        let tasks = labelled(group, "task");
        let is_one = tasks.iter().filter(|(_, task)| !is_init(task)).count() == 1;
        let container = |(name, task): &(At<String>, &Node)| {
            let mut container = container(name, task, group, is_one);
            let as_init = is_docker(task) && container.platform_init.as_ref().is_none_or(|init| !init.value);
            let host = config(task).and_then(|config| config.get("pid_mode")).is_some();
            reader.look(&mut container, as_init && !host);
            container
        };
        let update = field(group, "update").or_else(|| field(job, "update"));
        let count = field(group, "count").and_then(Node::number).filter(|_| !kind.starts_with("sys"));
        model.workloads.push(Workload {
            file,
            platform: Platform::Nomad,
            kind: if ends { WorkloadKind::BatchGroup } else { WorkloadKind::Group },
            name: name.value.clone(),
            namespace: String::new(),
            labels: BTreeMap::new(),
            grace: None,
            rollout: rollout(update, count.as_ref()),
            replicas: count,
            share_process_namespace: None,
            host_pid: tasks.iter().find_map(|(_, task)| {
                let mode = config(task)?.get("pid_mode")?;
                (mode.text() == Some("host")).then_some(At { at: mode.spot, value: true })
            }),
            containers: tasks.iter().map(container).collect(),
            unit: None,
            insert_at: None,
            wrap: None,
        });
    }
}

/// `max_parallel` copies are replaced at a time, all at once if it is 0; with canaries, new ones start first.
fn rollout(update: Option<&Node>, count: Option<&At<u64>>) -> Rollout {
    let number = |name: &str| update.and_then(|update| field(update, name)).and_then(Node::number);
    let has_canaries = number("canary").is_some_and(|canary| canary.value > 0);
    let parallel = number("max_parallel").filter(|_| !has_canaries);
    let max_unavailable = parallel.and_then(|given| {
        let value = if given.value == 0 { count?.value } else { given.value };
        Some(At { at: given.at, value: Amount::Number(value) })
    });
    Rollout { max_unavailable, ..Rollout::default() }
}

fn config(task: &Node) -> Option<&Node> {
    field(task, "config")
}

fn is_docker(task: &Node) -> bool {
    matches!(field(task, "driver").and_then(Node::text), Some("docker" | "podman"))
}

/// Whether it runs before or after the others, and ends.
fn is_init(task: &Node) -> bool {
    let Some(lifecycle) = field(task, "lifecycle") else { return false };
    !truth(field(lifecycle, "sidecar")) || field(lifecycle, "hook").and_then(Node::text) == Some("poststop")
}

fn container(name: &At<String>, task: &Node, group: &Node, is_one: bool) -> Container {
    let is_json = task.get("Name").is_some();
    let (readiness, liveness) = checks(name, task, group, is_one);
    Container {
        name: name.value.clone(),
        at: name.at,
        image: config(task).and_then(|config| config.get("image")).and_then(Node::string),
        is_init: is_init(task),
        argv: argv(task),
        env: environment(task),
        graceful: None,
        server: None,
        // The setting is not written in the API's nanoseconds: nothing can be replaced there.
        grace: time(field(task, "kill_timeout")).map(|time| match is_json {
            true => At { at: time.at.empty(), ..time },
            false => time,
        }),
        stop_signal: stop_signal(task),
        pre_stop: pre_stop(task, group),
        readiness,
        liveness,
        startup: None,
        ports: ports(group),
        platform_init: config(task).and_then(|config| config.get("init")).and_then(Node::truth),
        termination_message_path: None,
        elsewhere: Elsewhere { unknown: templates(task), ..Elsewhere::default() },
        labels: Vec::new(),
        insert_at: task.entries().first().map(|(key, _)| key.at).filter(|_| !is_json),
    }
}

/// With the docker driver, the image may have an entrypoint; exec and raw_exec execute the command itself.
fn argv(task: &Node) -> Argv {
    let Some(config) = config(task) else { return Argv { headless: true, ..Argv::default() } };
    let list = |key: &str| config.get(key).map(Node::strings).unwrap_or_default();
    let (entrypoint, command) = (list("entrypoint"), config.get("command").and_then(Node::string));
    let headless = match is_docker(task) {
        true => entrypoint.is_empty(),
        false => command.is_none(),
    };
    let at = ["entrypoint", "command", "args"].iter().find_map(|key| config.key(key));
    Argv { words: entrypoint.into_iter().chain(command).chain(list("args")).collect(), at, shell: None, headless }
}

fn environment(task: &Node) -> Vec<At<(String, String)>> {
    let given = unlabelled(task, "env").into_iter().chain(task.get("Env"));
    let all = given.flat_map(Node::entries);
    all.map(|(key, value)| At {
        at: value.spot,
        value: (key.value.clone(), value.text().unwrap_or_default().to_owned()),
    })
    .collect()
}

/// Templates whose lines become variables, if one of graceful's is, or may be, among them.
fn templates(task: &Node) -> Vec<At<String>> {
    let all = unlabelled(task, "template").into_iter().filter(|template| {
        let text = field(template, "data").or_else(|| field(template, "embedded_tmpl")).and_then(Node::text);
        let is_env = truth(field(template, "env")) || truth(template.get("Envvars"));
        is_env && text.is_none_or(|text| text.contains("GRACEFUL_"))
    });
    all.map(|template| At { at: template.spot, value: "the template with env = true".to_owned() }).collect()
}

/// SIGINT where nothing is set, except with Docker, which uses the image's own (task, kill_signal).
fn stop_signal(task: &Node) -> Option<At<String>> {
    let given = field(task, "kill_signal").and_then(Node::string);
    let driver = field(task, "driver").filter(|driver| !is_docker(task) && driver.text() != Some("qemu"));
    // Nothing is there that could be replaced.
    let default = driver.map(|driver| At { at: driver.spot.empty(), value: "SIGINT".to_owned() });
    given.filter(|given| !given.value.contains("${")).or(default.filter(|_| field(task, "kill_signal").is_none()))
}

/// The group's shutdown_delay and the task's, one after the other: both come before the signal, and kill_timeout after
/// it.
fn pre_stop(task: &Node, group: &Node) -> Option<At<PreStop>> {
    let times = [group, task].map(|node| time(field(node, "shutdown_delay")).filter(|time| time.value < Duration::MAX));
    let sum = times.iter().flatten().map(|time| time.value).reduce(Duration::saturating_add)?;
    let at = times.into_iter().flatten().last()?.at;
    Some(At { at, value: PreStop::Deregistered(sum) })
}

/// The ports that the labels stand for inside the task.
fn ports(group: &Node) -> Vec<(Option<String>, u64)> {
    let networks = unlabelled(group, "network");
    let number = |port: &Node| {
        let named = ["to", "static", "To", "Value"].iter().filter_map(|key| port.get(key)?.number());
        named.map(|given| given.value).find(|number| *number > 0)
    };
    let of_hcl = networks.iter().flat_map(|network| labelled(network, "port"));
    let of_json = networks.iter().flat_map(|network| {
        ["DynamicPorts", "ReservedPorts"].iter().filter_map(|key| network.get(key)).flat_map(Node::list)
    });
    let labelled = of_json.filter_map(|port| Some((Some(port.get("Label")?.text()?.to_owned()), number(port)?)));
    of_hcl.filter_map(|(label, port)| Some((Some(label.value), number(port)?))).chain(labelled).collect()
}

/// The first check of the task's services, and of the group's that are for it; one with check_restart is liveness as
/// well.
fn checks(name: &At<String>, task: &Node, group: &Node, is_one: bool) -> (Option<ProbeSpec>, Option<ProbeSpec>) {
    let is_for_it = |service: &&Node| match field(service, "task").and_then(Node::text) {
        Some(task) => task == name.value,
        None => is_one,
    };
    let of_group = unlabelled(group, "service").into_iter().filter(is_for_it);
    let services = unlabelled(task, "service").into_iter().chain(of_group);
    let all = services.flat_map(|service| {
        let port = field(service, "port").or_else(|| field(service, "port_label")).and_then(Node::string);
        let checks = unlabelled(service, "check");
        checks
            .into_iter()
            .filter_map(move |check| Some((probe(check, port.clone())?, check, service)))
            .collect::<Vec<_>>()
    });
    let all: Vec<(ProbeSpec, &Node, &Node)> = all.collect();
    let liveness = all.iter().find_map(|(probe, check, service)| {
        let restart = field(check, "check_restart").or_else(|| field(service, "check_restart"))?;
        let limit = field(restart, "limit").and_then(Node::number).filter(|limit| limit.value > 0)?;
        let delay = time(field(restart, "grace")).map_or(Duration::from_secs(1), |grace| grace.value);
        Some(ProbeSpec { failures: limit.value, delay, ..probe.clone() })
    });
    (all.into_iter().next().map(|(probe, _, _)| probe), liveness)
}

fn probe(check: &Node, port: Option<At<String>>) -> Option<ProbeSpec> {
    let what = match field(check, "type").and_then(Node::text)? {
        "http" => ProbeHandler::Http {
            path: field(check, "path").and_then(Node::string)?,
            port: field(check, "port").or_else(|| field(check, "port_label")).and_then(Node::string).or(port),
        },
        "tcp" => ProbeHandler::Tcp,
        "grpc" => ProbeHandler::Grpc,
        "script" => {
            let command = field(check, "command").and_then(Node::string)?;
            let args = field(check, "args").map(Node::strings).unwrap_or_default();
            ProbeHandler::Exec(std::iter::once(command).chain(args).collect())
        }
        _ => return None,
    };
    let failures = field(check, "failures_before_critical").and_then(Node::number);
    Some(ProbeSpec {
        at: field(check, "path").or_else(|| field(check, "type")).map_or(check.spot, |given| given.spot),
        what,
        delay: Duration::ZERO,
        period: time(field(check, "interval")).map_or(Duration::from_secs(10), |given| given.value),
        failures: failures.map_or(1, |given| given.value + 1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::check_text;

    fn job(task: &str) -> String {
        format!(
            "variable \"grace\" {{\n  default = \"20s\"\n}}\njob \"shop\" {{\n  group \"web\" {{\n    task \"web\" {{\n{task}    }}\n  }}\n}}\n"
        )
    }

    /// Line, column and rule of what is found.
    fn found(name: &str, text: &str) -> Vec<(u32, u32, &'static str)> {
        let place = |at: crate::plan::place::Position| (at.line, at.column);
        let all = check_text(name, text);
        all.iter().map(|found| (place(found.at.spot).0, place(found.at.spot).1, found.rule.name)).collect()
    }

    #[test]
    fn the_time_and_the_signal_of_a_task_are_held_against_graceful() {
        let docker = "      driver = \"docker\"\n      config {\n        image = \"x\"\n        entrypoint = [\"/graceful\", \"--\"]\n        \
                      command = \"./web\"\n      }\n";
        assert_eq!(found("a.nomad", &job(docker)), [(10, 23, "grace-period")], "5s is the default");
        let exec = "      driver = \"exec\"\n      kill_timeout = \"30s\"\n      config {\n        command = \"/bin/graceful\"\n        \
                    args = [\"--pre-stop-delay\", \"5s\", \"--\", \"./web\"]\n      }\n";
        assert_eq!(found("a.nomad.hcl", &job(exec)), [(7, 16, "stop-signal")], "SIGINT is the default");
        let with = |line: &str| job(&format!("      {line}\n{docker}"));
        assert_eq!(found("a.hcl", &with("kill_timeout = \"30s\"")), []);
        assert_eq!(
            found("a.hcl", &with("kill_timeout = var.grace")),
            [(7, 22, "grace-period")],
            "its default is known"
        );
        assert_eq!(found("a.hcl", &with("kill_timeout = var.other")), [], "nobody knows");
        let quit = with("kill_timeout = \"30s\"\n      kill_signal = \"SIGQUIT\"");
        assert_eq!(found("a.hcl", &quit), [(8, 21, "stop-signal")]);
        let twice = with("kill_timeout = \"30s\"\n      shutdown_delay = \"10s\"");
        assert_eq!(found("a.hcl", &twice), [(8, 24, "pre-stop-twice")]);
    }

    #[test]
    fn a_job_in_json_is_the_same() {
        let text = r#"{"Job": {"ID": "shop", "Type": "service", "TaskGroups": [{"Name": "web", "Count": 2,
            "Update": {"MaxParallel": 2},
            "Networks": [{"DynamicPorts": [{"Label": "probes", "To": 9090}]}],
            "Services": [{"PortLabel": "probes", "Checks": [{"Type": "http", "Path": "/ready", "Interval": 1000000000}]}],
            "Tasks": [{"Name": "web", "Driver": "docker", "KillTimeout": 20000000000,
                "Env": {"GRACEFUL_PROBE_LISTEN": ":9090"},
                "Config": {"image": "x", "entrypoint": ["/graceful", "--"], "command": "./web"}}]}]}}"#;
        assert_eq!(
            found("job.json", text),
            [(2, 39, "max-unavailable"), (4, 86, "probe-port"), (5, 74, "grace-period")]
        );
    }

    #[test]
    fn other_hcl_is_nothing_that_is_looked_at() {
        assert!(!is_job("resource \"x\" \"y\" {\n}\n"));
        assert!(is_job("# a\njob \"web\" {\n}\n") && is_job("job web {\n}\n") == is_job("jobs = 1\n"));
    }
}

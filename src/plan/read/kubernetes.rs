//! Kubernetes: whatever has a pod template, Services, disruption budgets, Ingresses and GKE's BackendConfigs, in Lists
//! and in files of many documents. A field that is missing, or whose type is not the API's, says nothing.

use crate::plan::model::{
    Amount, Argv, Backend, ConfigMap, Container, ContainerPlaces, DisruptionBudget, Elsewhere, ListPlace, MapKeys,
    MapSource, Model, Platform, PodPlaces, PreStop, ProbeHandler, ProbeSpec, Rollout, Service, Workload, WorkloadKind,
    WrapPlaces,
};
use crate::plan::place::At;
use crate::plan::tree::Node;
use crate::plan::wrapped::{Reader, expanded};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// Reads the document if it is a Kubernetes object; returns whether it is.
pub(super) fn read(file: usize, document: &Node, reader: &Reader<'_>, model: &mut Model) -> bool {
    let text = |key: &str| document.get(key).and_then(Node::text);
    let (Some(version), Some(kind)) = (text("apiVersion"), text("kind")) else { return false };
    let group = version.split_once('/').map_or("", |(group, _)| group);
    let workload = |kind: WorkloadKind, template: &[&str]| workload(file, document, kind, template, reader);
    const IN_SPEC: &[&str] = &["spec", "template"];
    match (group, kind) {
        ("", "List") => {
            for item in document.get("items").map(Node::list).unwrap_or_default() {
                read(file, item, reader, model);
            }
        }
        ("", "Pod") => model.workloads.extend(workload(WorkloadKind::Pod, &[])),
        ("apps" | "extensions", "Deployment") => model.workloads.extend(workload(WorkloadKind::Deployment, IN_SPEC)),
        ("apps", "StatefulSet") => model.workloads.extend(workload(WorkloadKind::StatefulSet, IN_SPEC)),
        ("apps" | "extensions", "DaemonSet") => model.workloads.extend(workload(WorkloadKind::DaemonSet, IN_SPEC)),
        ("apps" | "extensions", "ReplicaSet") => model.workloads.extend(workload(WorkloadKind::ReplicaSet, IN_SPEC)),
        ("", "ReplicationController") => model.workloads.extend(workload(WorkloadKind::ReplicaSet, IN_SPEC)),
        ("batch", "Job") => model.workloads.extend(workload(WorkloadKind::Job, IN_SPEC)),
        ("batch", "CronJob") => {
            model.workloads.extend(workload(WorkloadKind::CronJob, &["spec", "jobTemplate", "spec", "template"]));
        }
        // An Argo Rollout is a Deployment that replaces its pods in another way.
        ("argoproj.io", "Rollout") => model.workloads.extend(workload(WorkloadKind::Deployment, IN_SPEC)),
        ("", "ConfigMap") => model.config_maps.push(config_map(document)),
        ("", "Service") => model.services.push(service(file, document)),
        ("policy", "PodDisruptionBudget") => model.budgets.push(budget(file, document)),
        ("networking.k8s.io" | "extensions", "Ingress") => model.backends.push(ingress(file, document)),
        ("cloud.google.com", "BackendConfig") => model.backends.push(backend_config(file, document)),
        _ => {}
    }
    true
}

fn metadata<'a>(document: &'a Node, key: &str) -> Option<&'a Node> {
    document.at(&["metadata", key])
}

fn name(document: &Node) -> String {
    let found = metadata(document, "name").or_else(|| metadata(document, "generateName"));
    found.and_then(Node::text).unwrap_or("?").to_owned()
}

fn namespace(document: &Node) -> String {
    metadata(document, "namespace").and_then(Node::text).unwrap_or_default().to_owned()
}

pub(super) fn texts(node: Option<&Node>) -> BTreeMap<String, String> {
    let entries = node.map(Node::entries).unwrap_or_default();
    entries.iter().filter_map(|(key, value)| Some((key.value.clone(), value.text()?.to_owned()))).collect()
}

fn annotations(document: &Node) -> Vec<(At<String>, At<String>)> {
    let entries = metadata(document, "annotations").map(Node::entries).unwrap_or_default();
    entries.iter().filter_map(|(key, value)| Some((key.clone(), value.string()?))).collect()
}

fn seconds(node: Option<&Node>) -> Option<At<Duration>> {
    node?.number().map(|number| At { at: number.at, value: Duration::from_secs(number.value) })
}

fn amount(node: Option<&Node>) -> Option<At<Amount>> {
    node?.string()?.try_map(|text| Amount::parse(&text))
}

fn workload(
    file: usize,
    document: &Node,
    kind: WorkloadKind,
    template: &[&str],
    reader: &Reader<'_>,
) -> Option<Workload> {
    let template = document.at(template)?;
    let spec = template.get("spec")?;
    let name = name(document);
    let labels = texts(template.at(&["metadata", "labels"]));
    let rollout = document.at(&["spec", "strategy"]).or_else(|| document.at(&["spec", "updateStrategy"]));
    let share_process_namespace = spec.get("shareProcessNamespace").and_then(Node::truth);
    let host_pid = spec.get("hostPID").and_then(Node::truth);
    let as_init = ![&share_process_namespace, &host_pid].into_iter().flatten().any(|given| given.value);
    let containers = |key: &str, is_init: bool| -> Vec<Container> {
        let all = spec.get(key).map(Node::list).unwrap_or_default();
        all.iter()
            .map(|node| {
                // A native sidecar runs as long as the pod.
                let is_sidecar = node.get("restartPolicy").and_then(Node::text) == Some("Always");
                let mut container = container(node);
                container.is_init = is_init && !is_sidecar;
                reader.look(&mut container, as_init);
                container
            })
            .collect()
    };
    Some(Workload {
        file,
        platform: Platform::Kubernetes,
        kind,
        name,
        namespace: namespace(document),
        labels,
        grace: seconds(spec.get("terminationGracePeriodSeconds")),
        replicas: document.at(&["spec", "replicas"]).and_then(Node::number),
        rollout: Rollout {
            max_unavailable: amount(rollout.and_then(|node| node.at(&["rollingUpdate", "maxUnavailable"]))),
            ..Rollout::default()
        },
        share_process_namespace,
        host_pid,
        containers: containers("containers", false).into_iter().chain(containers("initContainers", true)).collect(),
        unit: None,
        insert_at: spec.key("containers"),
        wrap: Some(WrapPlaces::Pod(wrap_places(spec))),
    })
}

fn wrap_places(spec: &Node) -> PodPlaces {
    let list = |node: &Node, key: &str| ListPlace::of_items(node.get(key));
    let items = |key: &str| spec.get(key).map(Node::list).unwrap_or_default();
    let is_ours = |item: &Rc<Node>| item.get("name").and_then(Node::text) == Some("graceful");
    let places = |node: &Node| {
        // Nothing can be inserted before a key that follows "- " on its line.
        let own_line = node.entries().iter().map(|(key, _)| key.at).find(|at| at.line != node.spot.line);
        ContainerPlaces { mounts: list(node, "volumeMounts"), key: own_line }
    };
    PodPlaces {
        volumes: list(spec, "volumes"),
        init_containers: list(spec, "initContainers"),
        is_taken: items("volumes").iter().chain(items("initContainers")).any(is_ours),
        containers: items("containers").iter().map(|node| places(node)).collect(),
    }
}

fn container(node: &Node) -> Container {
    let text = |key: &str| node.get(key).and_then(Node::string);
    let list = |key: &str| node.get(key).map(Node::list).unwrap_or_default();
    let env: Vec<At<(String, String)>> = list("env").iter().filter_map(|entry| variable(entry)).collect();
    let by_key = list("env").iter().filter_map(|entry| of_key(entry));
    let maps = list("envFrom").iter().filter_map(|entry| of_map(entry)).chain(by_key).collect();
    let elsewhere = Elsewhere { maps, ..Elsewhere::default() };
    let words = |key: &str| node.get(key).map(Node::strings).unwrap_or_default();
    let (command, args) = (words("command"), words("args"));
    let headless = command.is_empty();
    let words = command.into_iter().chain(args).map(|word| At { value: expanded(&word.value, &env), ..word }).collect();
    let argv = Argv { words, at: node.key("command").or_else(|| node.key("args")), shell: None, headless };
    let ports = node.get("ports").map(Node::list).unwrap_or_default();
    let port = |entry: &Node| {
        let name = entry.get("name").and_then(Node::text).map(str::to_owned);
        Some((name, entry.get("containerPort")?.number()?.value))
    };
    Container {
        name: node.get("name").and_then(Node::text).unwrap_or("?").to_owned(),
        at: node.get("name").map_or(node.spot, |name| name.spot),
        image: text("image"),
        is_init: false,
        argv,
        env,
        graceful: None,
        server: None,
        grace: None,
        stop_signal: node.at(&["lifecycle", "stopSignal"]).and_then(Node::string),
        pre_stop: node.at(&["lifecycle", "preStop"]).and_then(pre_stop),
        readiness: node.get("readinessProbe").and_then(probe),
        liveness: node.get("livenessProbe").and_then(probe),
        startup: node.get("startupProbe").and_then(probe),
        ports: ports.iter().filter_map(|entry| port(entry)).collect(),
        platform_init: None,
        termination_message_path: text("terminationMessagePath"),
        elsewhere,
        labels: Vec::new(),
        insert_at: None,
    }
}

/// A variable with a value. What `valueFrom` refers to is not in the file, except for a ConfigMap, which may be.
fn variable(entry: &Node) -> Option<At<(String, String)>> {
    let name = entry.get("name")?.text()?.to_owned();
    if let Some(from) = entry.get("valueFrom").filter(|from| from.get("configMapKeyRef").is_none()) {
        let what = from.entries().first().map_or("valueFrom", |(key, _)| key.value.as_str());
        return Some(At { at: from.spot, value: (name, format!("${{{what}}}")) });
    }
    let value = entry.get("value")?;
    Some(At { at: value.spot, value: (name, value.text().unwrap_or_default().to_owned()) })
}

/// A variable from one key of a ConfigMap.
fn of_key(entry: &Node) -> Option<MapSource> {
    let reference = entry.at(&["valueFrom", "configMapKeyRef"])?;
    let (variable, key) = (entry.get("name")?.text()?.to_owned(), reference.get("key")?.text()?.to_owned());
    // Whatever else a container takes from there is not an option of graceful.
    let is_ours = variable.starts_with("GRACEFUL_");
    let map = reference.get("name").and_then(Node::string).filter(|_| is_ours)?;
    Some(MapSource { map, keys: MapKeys::One { key, variable }, how: "configMapKeyRef" })
}

/// Variables from a whole ConfigMap. A Secret is not looked for: graceful's options are not secrets.
fn of_map(entry: &Node) -> Option<MapSource> {
    let map = entry.at(&["configMapRef", "name"])?.string()?;
    let prefix = entry.get("prefix").and_then(Node::text).unwrap_or_default().to_owned();
    Some(MapSource { map, keys: MapKeys::All { prefix }, how: "envFrom" })
}

/// The entries of a ConfigMap that can be variables, which whole files cannot.
fn config_map(document: &Node) -> ConfigMap {
    let is_variable = |(key, value): &(String, String)| {
        value.len() < 4096 && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let data = texts(document.get("data")).into_iter().filter(is_variable).collect();
    ConfigMap { namespace: namespace(document), name: name(document), data }
}

fn pre_stop(node: &Node) -> Option<At<PreStop>> {
    let (spot, value) = if let Some(sleep) = node.get("sleep") {
        let seconds = sleep.get("seconds")?.number()?;
        (seconds.at, PreStop::Sleep(Duration::from_secs(seconds.value)))
    } else if let Some(command) = node.at(&["exec", "command"]) {
        let words: Vec<String> = command.strings().into_iter().map(|word| word.value).collect();
        let spot = command.list().last().map_or(command.spot, |last| last.spot);
        (spot, PreStop::Exec(words))
    } else {
        (node.get("httpGet")?.spot, PreStop::Http)
    };
    Some(At { at: spot, value })
}

fn probe(node: &Node) -> Option<ProbeSpec> {
    let what = if let Some(http) = node.get("httpGet") {
        let slash = || At { at: http.spot, value: "/".to_owned() };
        ProbeHandler::Http {
            path: http.get("path").and_then(Node::string).unwrap_or_else(slash),
            port: http.get("port").and_then(Node::string),
        }
    } else if node.get("tcpSocket").is_some() {
        ProbeHandler::Tcp
    } else if let Some(command) = node.at(&["exec", "command"]) {
        ProbeHandler::Exec(command.strings())
    } else if node.get("grpc").is_some() {
        ProbeHandler::Grpc
    } else {
        return None;
    };
    let number = |key: &str, default: u64| node.get(key).and_then(Node::number).map_or(default, |given| given.value);
    Some(ProbeSpec {
        at: node.spot,
        what,
        delay: Duration::from_secs(number("initialDelaySeconds", 0)),
        period: Duration::from_secs(number("periodSeconds", 10).max(1)),
        failures: number("failureThreshold", 3),
    })
}

fn service(file: usize, document: &Node) -> Service {
    let name = name(document);
    let spec = |key: &str| document.at(&["spec", key]);
    let kind = spec("type").and_then(Node::text);
    Service {
        file,
        name,
        namespace: namespace(document),
        selector: texts(spec("selector")),
        traffic_policy: spec("externalTrafficPolicy").and_then(Node::string),
        annotations: annotations(document),
        is_load_balancer: matches!(kind, Some("LoadBalancer" | "NodePort")),
    }
}

fn budget(file: usize, document: &Node) -> DisruptionBudget {
    let name = name(document);
    DisruptionBudget {
        file,
        name,
        namespace: namespace(document),
        selector: texts(document.at(&["spec", "selector", "matchLabels"])),
        min_available: amount(document.at(&["spec", "minAvailable"])),
        max_unavailable: amount(document.at(&["spec", "maxUnavailable"])),
    }
}

fn ingress(file: usize, document: &Node) -> Backend {
    let name = name(document);
    let mut services = Vec::new();
    let mut add = |backend: Option<&Node>| {
        let found = backend.and_then(|backend| backend.at(&["service", "name"]).or_else(|| backend.get("serviceName")));
        services.extend(found.and_then(Node::text).map(str::to_owned));
    };
    add(document.at(&["spec", "defaultBackend"]));
    for rule in document.at(&["spec", "rules"]).map(Node::list).unwrap_or_default() {
        for path in rule.at(&["http", "paths"]).map(Node::list).unwrap_or_default() {
            add(path.get("backend"));
        }
    }
    Backend { file, namespace: namespace(document), services, annotations: annotations(document), draining: None, name }
}

fn backend_config(file: usize, document: &Node) -> Backend {
    let name = name(document);
    let draining = seconds(document.at(&["spec", "connectionDraining", "drainingTimeoutSec"]));
    Backend { file, namespace: namespace(document), services: Vec::new(), annotations: Vec::new(), draining, name }
}

//! What more than one rule asks of the model.

use crate::config::FailReadiness;
use crate::plan::model::{Container, Model, ProbeHandler, Workload};
use crate::plan::place::Position;
use crate::plan::shell;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Every container that runs as long as its pod, with its workload.
pub(super) fn running(model: &Model) -> impl Iterator<Item = (&Workload, &Container)> {
    model.workloads.iter().flat_map(|workload| workload.running().map(move |container| (workload, container)))
}

/// The pods by one of their labels, so that a selector need not be compared with all of them.
pub(super) struct Pods<'a>(HashMap<(&'a str, &'a str, &'a str), Vec<&'a Workload>>);

impl<'a> Pods<'a> {
    pub(super) fn of(model: &'a Model) -> Pods<'a> {
        let mut pods: HashMap<_, Vec<&Workload>> = HashMap::new();
        for workload in &model.workloads {
            for (key, value) in &workload.labels {
                pods.entry((workload.namespace.as_str(), key.as_str(), value.as_str())).or_default().push(workload);
            }
        }
        Pods(pods)
    }

    /// The pods with all of these labels; none for an empty selector, since the files do not tell what it selects.
    pub(super) fn selected(&self, namespace: &str, selector: &BTreeMap<String, String>) -> Vec<&'a Workload> {
        let candidates = selector.iter().map(|(key, value)| self.0.get(&(namespace, key.as_str(), value.as_str())));
        let Some(fewest) = candidates.min_by_key(|pods| pods.map_or(0, Vec::len)).flatten() else { return Vec::new() };
        let has_all =
            |workload: &&&Workload| selector.iter().all(|(key, value)| workload.labels.get(key) == Some(value));
        fewest.iter().filter(has_all).copied().collect()
    }
}

/// The workloads that some Service selects.
pub(super) struct Routed(HashSet<*const Workload>);

impl Routed {
    pub(super) fn has(&self, workload: &Workload) -> bool {
        self.0.contains(&std::ptr::from_ref(workload))
    }
}

pub(super) fn routed(model: &Model) -> Routed {
    let pods = Pods::of(model);
    let selected = model.services.iter().flat_map(|service| pods.selected(&service.namespace, &service.selector));
    Routed(selected.map(std::ptr::from_ref).collect())
}

/// What makes graceful's /readyz, which the readiness probe asks, turn to 503 with the stop signal; none where it does
/// not.
pub(super) fn fails_at_stop(container: &Container) -> Option<Position> {
    let graceful = container.graceful.as_ref()?;
    let config = graceful.config().filter(|config| config.fail_readiness == FailReadiness::AtStop)?;
    config.probe_listen.as_ref()?;
    if config.budget.pre_stop_delay.is_zero() {
        return None;
    }
    let readiness = container.readiness.as_ref()?;
    let is_ours = match &readiness.what {
        ProbeHandler::Http { path, .. } => path.value == "/readyz",
        ProbeHandler::Exec(words) => words.first().is_some_and(|word| shell::base(&word.value) == "graceful"),
        ProbeHandler::Tcp | ProbeHandler::Grpc => false,
    };
    is_ours.then(|| graceful.given("fail-readiness").unwrap_or(readiness.at))
}

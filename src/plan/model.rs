//! What the readers of all kinds of files make of them, and what the rules look at. Nothing here knows a file format.

pub(super) use super::elsewhere::{ConfigMap, ConfigMaps, Elsewhere, MapKeys, MapSource};
use super::place::{At, Position};
pub(super) use super::platform::Platform;
pub(super) use super::wrap_places::{ContainerPlaces, DependsOn, ListPlace, PodPlaces, ServicePlaces, WrapPlaces};
use crate::config::{Config, ConfigError, OwnLimit};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// What all files together say.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) workloads: Vec<Workload>,
    pub(super) services: Vec<Service>,
    pub(super) budgets: Vec<DisruptionBudget>,
    pub(super) backends: Vec<Backend>,
    pub(super) config_maps: Vec<ConfigMap>,
    /// Where a service is built from a Dockerfile, and the Dockerfile's path.
    pub(super) built: Vec<(FileSpot, PathBuf)>,
    /// The same for those Dockerfiles that are among the files, by their index.
    pub(super) builds: Vec<(FileSpot, usize)>,
}

/// A place in one of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct FileSpot {
    pub(super) file: usize,
    pub(super) spot: Position,
}

/// What runs copies of a set of containers.
#[derive(Debug)]
pub(super) struct Workload {
    pub(super) file: usize,
    pub(super) platform: Platform,
    /// As the file calls it: Deployment, service, unit.
    pub(super) kind: WorkloadKind,
    pub(super) name: String,
    pub(super) namespace: String,
    /// The labels of its pods.
    pub(super) labels: BTreeMap<String, String>,
    /// The grace period for all containers together.
    pub(super) grace: Option<At<Duration>>,
    pub(super) replicas: Option<At<u64>>,
    pub(super) rollout: Rollout,
    pub(super) share_process_namespace: Option<At<bool>>,
    pub(super) host_pid: Option<At<bool>>,
    pub(super) containers: Vec<Container>,
    /// What only a unit of systemd has.
    pub(super) unit: Option<Unit>,
    /// Where a key of the workload itself could be added: before this one.
    pub(super) insert_at: Option<Position>,
    /// Where graceful could be added.
    pub(super) wrap: Option<WrapPlaces>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WorkloadKind {
    Pod,
    Deployment,
    StatefulSet,
    DaemonSet,
    ReplicaSet,
    Job,
    CronJob,
    /// Of Compose or Swarm.
    Service,
    Image,
    Unit,
    /// Of ECS.
    Task,
    /// Of Nomad: its tasks come and go together.
    Group,
    /// The same for a job that ends by itself.
    BatchGroup,
}

impl WorkloadKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            WorkloadKind::Pod => "Pod",
            WorkloadKind::Deployment => "Deployment",
            WorkloadKind::StatefulSet => "StatefulSet",
            WorkloadKind::DaemonSet => "DaemonSet",
            WorkloadKind::ReplicaSet => "ReplicaSet",
            WorkloadKind::Job => "Job",
            WorkloadKind::CronJob => "CronJob",
            WorkloadKind::Service => "service",
            WorkloadKind::Image => "image",
            WorkloadKind::Unit => "unit",
            WorkloadKind::Task => "task",
            WorkloadKind::Group | WorkloadKind::BatchGroup => "group",
        }
    }

    /// Whether it ends by itself, and nobody routes requests to it.
    pub(super) fn ends_by_itself(self) -> bool {
        matches!(self, WorkloadKind::Job | WorkloadKind::CronJob | WorkloadKind::BatchGroup)
    }
}

/// How copies are replaced.
#[derive(Debug, Default)]
pub(super) struct Rollout {
    pub(super) max_unavailable: Option<At<Amount>>,
    /// Swarm: `start-first` or `stop-first`.
    pub(super) order: Option<At<String>>,
    pub(super) failure_action: Option<At<String>>,
    pub(super) monitor: Option<At<Duration>>,
    /// Where `update_config` is, if it is given.
    pub(super) at: Option<Position>,
}

/// A number of copies, or a share of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Amount {
    Number(u64),
    Percent(u64),
}

impl Amount {
    /// `1` or `25%`.
    pub(super) fn parse(text: &str) -> Option<Amount> {
        match text.trim().strip_suffix('%') {
            Some(percent) => percent.trim().parse().ok().map(Amount::Percent),
            None => text.trim().parse().ok().map(Amount::Number),
        }
    }
}

/// What only a unit of systemd has.
#[derive(Debug, Default)]
pub(super) struct Unit {
    /// `Type=`
    pub(super) start: Option<At<String>>,
    pub(super) kill_mode: Option<At<String>>,
    pub(super) send_sigkill: Option<At<bool>>,
    pub(super) notify_access: Option<At<String>>,
    /// `ExecReload=`
    pub(super) reload: Option<At<String>>,
}

/// One container, or the one command of an image or a unit.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) at: Position,
    pub(super) image: Option<At<String>>,
    /// Whether it runs before the others and ends.
    pub(super) is_init: bool,
    pub(super) argv: Argv,
    pub(super) env: Vec<At<(String, String)>>,
    /// graceful in it, if it runs there.
    pub(super) graceful: Option<Graceful>,
    /// The server that it starts, if that is known.
    pub(super) server: Option<RecognisedServer>,
    /// Its own grace period, where the platform gives each container one.
    pub(super) grace: Option<At<Duration>>,
    pub(super) stop_signal: Option<At<String>>,
    pub(super) pre_stop: Option<At<PreStop>>,
    pub(super) readiness: Option<ProbeSpec>,
    pub(super) liveness: Option<ProbeSpec>,
    pub(super) startup: Option<ProbeSpec>,
    /// Ports by name.
    pub(super) ports: Vec<(Option<String>, u64)>,
    /// `init: true`, or initProcessEnabled.
    pub(super) platform_init: Option<At<bool>>,
    pub(super) termination_message_path: Option<At<String>>,
    pub(super) labels: Vec<At<(String, String)>>,
    pub(super) elsewhere: Elsewhere,
    /// The key to add a sibling before.
    pub(super) insert_at: Option<Position>,
}

/// What is executed.
#[derive(Clone, Debug, Default)]
pub(super) struct Argv {
    pub(super) words: Vec<At<String>>,
    /// Where it is: the key or the instruction.
    pub(super) at: Option<Position>,
    /// The ENTRYPOINT or CMD that was written without brackets, so that a shell runs it.
    pub(super) shell: Option<ShellForm>,
    /// Whether the words are only what follows an entrypoint that the file does not name.
    pub(super) headless: bool,
}

/// An instruction of a Dockerfile in its shell form, or a string where a list was possible.
#[derive(Clone, Debug)]
pub(super) struct ShellForm {
    pub(super) at: Position,
    /// ENTRYPOINT or CMD.
    pub(super) instruction: &'static str,
    pub(super) line: String,
}

/// graceful as a container runs it.
#[derive(Debug)]
pub(super) struct Graceful {
    /// Where the word graceful is, or the variable that gives it away.
    pub(super) at: Position,
    /// What `run` would make of it, or the problems with their places.
    pub(super) config: Result<Box<Config>, Vec<At<ConfigError>>>,
    /// The options that are given, without dashes, and where.
    pub(super) given: Vec<At<String>>,
    /// The words before graceful: another init, env, a shell.
    pub(super) before: Vec<At<String>>,
    /// What else may set its options and is not in these files, as messages name it.
    pub(super) unknown: Option<String>,
    /// Whether rules look at it as if `unknown` set nothing.
    pub(super) is_assumed: bool,
    /// Whether the app's argv is not in the file.
    pub(super) app_unknown: bool,
}

impl Graceful {
    pub(super) fn config(&self) -> Option<&Config> {
        self.config.as_deref().ok().filter(|_| self.is_known())
    }

    /// Whether everything that can set its options is in these files, or taken to be.
    pub(super) fn is_known(&self) -> bool {
        self.unknown.is_none() || self.is_assumed
    }

    /// Where this option is given.
    pub(super) fn given(&self, option: &str) -> Option<Position> {
        self.given.iter().find(|given| given.value == option).map(|given| given.at)
    }
}

/// A server that a profile knows.
#[derive(Debug)]
pub(super) struct RecognisedServer {
    pub(super) name: &'static str,
    pub(super) stop_signal: Option<crate::signal::Signal>,
    pub(super) is_worker: bool,
    /// How long the server itself gives its requests or jobs.
    pub(super) limit: Option<OwnLimit>,
}

/// What runs before the stop signal.
#[derive(Clone, Debug)]
pub(super) enum PreStop {
    Sleep(Duration),
    Exec(Vec<String>),
    Http,
    /// Nomad's shutdown_delay: between the deregistration and the signal, and not part of the grace period.
    Deregistered(Duration),
}

impl PreStop {
    /// How much of the grace period it sleeps, as far as that can be seen.
    pub(super) fn sleeps(&self) -> Option<Duration> {
        match self {
            PreStop::Sleep(time) => Some(*time),
            PreStop::Exec(words) => super::shell::sleep_of(words),
            PreStop::Http | PreStop::Deregistered(_) => None,
        }
    }

    /// By how much it delays the signal.
    pub(super) fn waits(&self) -> Option<Duration> {
        match self {
            PreStop::Deregistered(time) => Some(*time),
            PreStop::Sleep(_) | PreStop::Exec(_) | PreStop::Http => self.sleeps(),
        }
    }

    /// What the file calls it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            PreStop::Deregistered(_) => "shutdown_delay",
            PreStop::Sleep(_) | PreStop::Exec(_) | PreStop::Http => "preStop",
        }
    }
}

/// A probe or a health check.
#[derive(Clone, Debug)]
pub(super) struct ProbeSpec {
    pub(super) at: Position,
    pub(super) what: ProbeHandler,
    pub(super) delay: Duration,
    pub(super) period: Duration,
    pub(super) failures: u64,
}

impl ProbeSpec {
    /// The time from the first failure to the one at which the platform acts on it.
    pub(super) fn notices_after(&self) -> Duration {
        self.period * u32::try_from(self.failures.max(1)).unwrap_or(u32::MAX)
    }
}

#[derive(Clone, Debug)]
pub(super) enum ProbeHandler {
    Http { path: At<String>, port: Option<At<String>> },
    Tcp,
    Grpc,
    Exec(Vec<At<String>>),
}

/// A Service, with what it says to a load balancer.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) file: usize,
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) selector: BTreeMap<String, String>,
    pub(super) traffic_policy: Option<At<String>>,
    pub(super) annotations: Vec<(At<String>, At<String>)>,
    pub(super) is_load_balancer: bool,
}

#[derive(Debug)]
pub(super) struct DisruptionBudget {
    pub(super) file: usize,
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) selector: BTreeMap<String, String>,
    pub(super) min_available: Option<At<Amount>>,
    pub(super) max_unavailable: Option<At<Amount>>,
}

/// What routes from outside to Services by name: an Ingress, a BackendConfig of GKE.
#[derive(Debug)]
pub(super) struct Backend {
    pub(super) file: usize,
    pub(super) namespace: String,
    /// The Services that it names, if any.
    pub(super) services: Vec<String>,
    pub(super) annotations: Vec<(At<String>, At<String>)>,
    /// connectionDraining.drainingTimeoutSec of a BackendConfig.
    pub(super) draining: Option<At<Duration>>,
    pub(super) name: String,
}

impl Workload {
    /// What messages call it: `Deployment web`.
    pub(super) fn title(&self) -> String {
        format!("{} {}", self.kind.name(), self.name)
    }

    /// What messages call one of its containers: `Deployment web, container app`.
    pub(super) fn who(&self, container: &Container) -> String {
        match self.kind {
            WorkloadKind::Image => "the image".to_owned(),
            WorkloadKind::Unit | WorkloadKind::Service => self.title(),
            WorkloadKind::Group | WorkloadKind::BatchGroup => format!("{}, task {}", self.title(), container.name),
            WorkloadKind::Pod
            | WorkloadKind::Deployment
            | WorkloadKind::StatefulSet
            | WorkloadKind::DaemonSet
            | WorkloadKind::ReplicaSet
            | WorkloadKind::Job
            | WorkloadKind::CronJob
            | WorkloadKind::Task => format!("{}, container {}", self.title(), container.name),
        }
    }

    /// The time from the platform's stop signal to its SIGKILL, and where that is set.
    pub(super) fn grace_of(&self, container: &Container) -> (Duration, Option<Position>) {
        match container.grace.as_ref().or(self.grace.as_ref()) {
            Some(given) => (given.value, Some(given.at)),
            None => (self.platform.default_grace(), None),
        }
    }

    /// The grace period with the name of its setting: `terminationGracePeriodSeconds is 30s`.
    pub(super) fn grace_in_words(&self, container: &Container) -> String {
        let (grace, given) = self.grace_of(container);
        let how = if given.is_some() { "" } else { " (the default)" };
        format!("{} is {}{how}", self.platform.setting(), crate::config::values::show(grace))
    }

    /// The containers that live as long as the pod.
    pub(super) fn running(&self) -> impl Iterator<Item = &Container> {
        self.containers.iter().filter(|container| !container.is_init)
    }

    /// How many copies there are, as far as the file says.
    pub(super) fn copies(&self) -> Option<u64> {
        match (&self.replicas, self.kind) {
            (Some(replicas), _) => Some(replicas.value),
            (
                None,
                WorkloadKind::Deployment
                | WorkloadKind::StatefulSet
                | WorkloadKind::ReplicaSet
                | WorkloadKind::Pod
                | WorkloadKind::Service
                | WorkloadKind::Group,
            ) => Some(1),
            (
                None,
                WorkloadKind::DaemonSet
                | WorkloadKind::Job
                | WorkloadKind::CronJob
                | WorkloadKind::Image
                | WorkloadKind::Unit
                | WorkloadKind::Task
                | WorkloadKind::BatchGroup,
            ) => None,
        }
    }
}

impl Container {
    /// Puts variables from elsewhere before the container's own, which take precedence.
    pub(super) fn put_before(&mut self, mut env: Vec<At<(String, String)>>) {
        env.append(&mut self.env);
        self.env = env;
    }

    /// The number of this port, which may be given by its name in the container.
    pub(super) fn port(&self, port: Option<&At<String>>) -> Option<u64> {
        let text = &port?.value;
        let named = || self.ports.iter().find(|(name, _)| name.as_deref() == Some(text)).map(|(_, number)| *number);
        text.parse().ok().or_else(named)
    }

    /// All its probes, with the names that the files have for them.
    pub(super) fn probes(&self) -> impl Iterator<Item = (&'static str, &ProbeSpec)> {
        let all = [("readiness", &self.readiness), ("liveness", &self.liveness), ("startup", &self.startup)];
        all.into_iter().filter_map(|(name, probe)| Some((name, probe.as_ref()?)))
    }

    /// The value of a variable; of one that is given twice, the last counts.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.env.iter().rev().find(|given| given.value.0 == name).map(|given| given.value.1.as_str())
    }
}

//! The platforms that stop containers and services, and how long each waits.

use std::time::Duration;

/// Who starts and stops the containers, with its own idea of a grace period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Platform {
    /// kubelet.
    Kubernetes,
    /// docker stop, and Compose.
    Docker,
    /// Docker's swarm mode.
    Swarm,
    /// ECS on EC2 or elsewhere.
    Ecs,
    /// ECS on Fargate.
    Fargate,
    /// systemd.
    Systemd,
    /// Nomad.
    Nomad,
}

impl Platform {
    /// The time from the stop signal to SIGKILL where nothing is set.
    pub fn default_grace(self) -> Duration {
        Duration::from_secs(match self {
            // pod.spec.terminationGracePeriodSeconds; ECS' stopTimeout.
            Platform::Kubernetes | Platform::Ecs | Platform::Fargate => 30,
            // docker stop -t, stop_grace_period.
            Platform::Docker | Platform::Swarm => 10,
            // DefaultTimeoutStopSec of systemd-system.conf.
            Platform::Systemd => 90,
            // kill_timeout.
            Platform::Nomad => 5,
        })
    }

    /// The longest grace period that the platform allows; none where it has no limit.
    pub fn longest_grace(self) -> Option<Duration> {
        match self {
            Platform::Fargate => Some(Duration::from_secs(120)),
            Platform::Kubernetes
            | Platform::Docker
            | Platform::Swarm
            | Platform::Ecs
            | Platform::Systemd
            | Platform::Nomad => None,
        }
    }

    /// The platform's setting for the grace period.
    pub fn setting(self) -> &'static str {
        match self {
            Platform::Kubernetes => "terminationGracePeriodSeconds",
            Platform::Docker | Platform::Swarm => "stop_grace_period",
            Platform::Ecs | Platform::Fargate => "stopTimeout",
            Platform::Systemd => "TimeoutStopSec",
            Platform::Nomad => "kill_timeout",
        }
    }

    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Platform::Kubernetes => "Kubernetes",
            Platform::Docker => "Docker",
            Platform::Swarm => "Swarm",
            Platform::Ecs => "ECS",
            Platform::Fargate => "Fargate",
            Platform::Systemd => "systemd",
            Platform::Nomad => "Nomad",
        }
    }

    /// The setting's value for this many seconds, as the platform's files write it.
    pub fn value(self, seconds: u64) -> String {
        match self {
            Platform::Kubernetes | Platform::Ecs | Platform::Fargate | Platform::Systemd => seconds.to_string(),
            Platform::Docker | Platform::Swarm => format!("{seconds}s"),
            Platform::Nomad => format!("\"{seconds}s\""),
        }
    }

    /// The setting with this value, in whole seconds rounded up, as the platform's files write it.
    pub fn written(self, time: Duration) -> String {
        let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
        match self {
            Platform::Kubernetes => format!("terminationGracePeriodSeconds: {seconds}"),
            Platform::Docker | Platform::Swarm => format!("stop_grace_period: {seconds}s"),
            Platform::Ecs | Platform::Fargate => format!("\"stopTimeout\": {seconds}"),
            Platform::Systemd => format!("TimeoutStopSec={seconds}"),
            Platform::Nomad => format!("kill_timeout = \"{seconds}s\""),
        }
    }
}

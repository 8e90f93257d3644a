//! The kinds of things in a life, each with its one name, which log, report, metrics, probes, variables and options all
//! use.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Gives every variant its name, by which it is shown, written and read.
macro_rules! named {
    ($type:ident, $count:literal: $($variant:ident = $name:literal),+ $(,)?) => {
        impl $type {
            /// All of them, in their order.
            pub const ALL: [$type; $count] = [$($type::$variant),+];

            /// Every name with what it stands for.
            pub const NAMED: [(&'static str, $type); $count] = [$(($name, $type::$variant)),+];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self {
                    $($type::$variant => $name),+
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                let name = String::deserialize(deserializer)?;
                let known = $type::ALL.into_iter().find(|known| known.name() == name);
                known.ok_or_else(|| serde::de::Error::unknown_variant(&name, &[$($name),+]))
            }
        }
    };
}

/// Where the life of the app stands; see the lifecycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Pre-start hooks run, or the app is being started.
    PreStart,
    /// The app runs.
    Running,
    /// The stop has begun, the app is left alone.
    PreStop,
    /// The app's signal is held back.
    Hold,
    /// The app has its signal.
    Drain,
    /// The app is gone, others are not.
    Leftovers,
    /// SIGKILL is out.
    Kill,
    /// Post-stop hooks run.
    PostStop,
    /// All is over.
    Done,
}

/// When a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Before the app starts.
    PreStart,
    /// As soon as the app was started.
    PostStart,
    /// Once, when the app is ready for the first time.
    Ready,
    /// From the beginning of the stop on, during the pre-stop delay.
    PreStop,
    /// When the app and everything it left is gone.
    PostStop,
}

/// Why a signal was sent to the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalReason {
    /// It came to graceful and is the app's.
    Forwarded,
    /// The app is to stop.
    Stop,
    /// Another stop signal during the drain.
    Again,
    /// `--escalate`.
    Escalation,
    /// It is stopped (SIGSTOP, Ctrl-Z) and is to go on.
    JobControl,
}

/// Why a run of the app begins; what hooks and the app are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GenerationCause {
    /// graceful was started.
    Start,
    /// The run before it has ended.
    Restart,
    /// It is to take the place of the one that goes on.
    Reload,
}

/// Why the app is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartCause {
    /// It has exited.
    Exit,
    /// A signal has ended it.
    Signal,
    /// The kernel has killed it, or a process of it, for want of memory.
    OutOfMemory,
    /// It could not be started.
    NotStarted,
    /// graceful has stopped it: the startup timeout, a hook that failed.
    Stopped,
    /// It showed no life.
    Hung,
}

/// When what is in flight was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InFlightMoment {
    /// The stop began.
    Stop,
    /// The app got its signal.
    Signal,
    /// The app exited.
    Exit,
    /// SIGKILL was sent.
    Kill,
}

/// A check's result, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// All is well.
    Healthy,
    /// It works, but not as it should.
    Degraded,
    /// It does not work.
    Unhealthy,
}

named! {
    Phase, 9:
    PreStart = "pre-start",
    Running = "running",
    PreStop = "pre-stop",
    Hold = "hold",
    Drain = "drain",
    Leftovers = "leftovers",
    Kill = "kill",
    PostStop = "post-stop",
    Done = "done",
}

named! {
    Stage, 5:
    PreStart = "pre-start",
    PostStart = "post-start",
    Ready = "ready",
    PreStop = "pre-stop",
    PostStop = "post-stop",
}

named! {
    SignalReason, 5:
    Forwarded = "forwarded",
    Stop = "stop",
    Again = "again",
    Escalation = "escalation",
    JobControl = "job-control",
}

named! {
    GenerationCause, 3:
    Start = "start",
    Restart = "restart",
    Reload = "reload",
}

named! {
    RestartCause, 6:
    Exit = "exit",
    Signal = "signal",
    OutOfMemory = "oom",
    NotStarted = "not-started",
    Stopped = "stopped",
    Hung = "hung",
}

named! {
    InFlightMoment, 4:
    Stop = "stop",
    Signal = "signal",
    Exit = "exit",
    Kill = "kill",
}

named! {
    Status, 3:
    Healthy = "healthy",
    Degraded = "degraded",
    Unhealthy = "unhealthy",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written_and_another_is_refused() {
        for phase in Phase::ALL {
            let written = serde_json::to_string(&phase).unwrap();
            assert_eq!(written, format!("\"{phase}\""));
            assert_eq!(serde_json::from_str::<Phase>(&written).unwrap(), phase);
        }
        let why = serde_json::from_str::<Stage>("\"prestop\"").unwrap_err().to_string();
        assert!(why.contains("`prestop`") && why.contains("`pre-stop`"), "{why}");
    }

    #[test]
    fn a_phase_stands_at_its_number() {
        for (number, phase) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(phase as usize, number);
        }
    }
}

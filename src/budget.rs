//! The budget of a stop: one value for whoever plans it, decides by it, logs it and reports it.

use std::time::Duration;

/// The time that one stop may take, counted from the first stop signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// G: from the first stop signal to the orchestrator's SIGKILL.
    pub grace_period: Duration,
    /// SIGKILL is sent at K = G - margin.
    pub kill_margin: Duration,
    /// The app runs on untouched for this long after the stop signal.
    pub pre_stop_delay: Duration,
}

impl Budget {
    /// The defaults for this grace period: margin 1s or G/10 if shorter, delay 5s or G/4 if shorter.
    pub fn for_grace_period(grace_period: Duration) -> Budget {
        Budget {
            grace_period,
            kill_margin: Duration::from_secs(1).min(grace_period / 10),
            pre_stop_delay: Duration::from_secs(5).min(grace_period / 4),
        }
    }

    /// K: when SIGKILL is sent, counted from the first stop signal.
    pub fn kill_at(&self) -> Duration {
        self.grace_period.saturating_sub(self.kill_margin)
    }
}

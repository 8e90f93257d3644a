//! When the app is started again: `--restart` and `--live-url`, checked against each other.

use super::draft::Draft;
use super::options::{LIVE_ACTION, LIVE_URL, RESTART, RESTART_DELAY_MAX};
use super::raw::{ConfigError, Raw};
use super::values::show;
use super::{LiveAction, Liveness, Restart, RestartWhen};
use std::time::Duration;

impl Draft {
    /// `--live-url` and what depends on it.
    pub(super) fn liveness(&self, problems: &mut Vec<ConfigError>) -> Option<Liveness> {
        if self.live_url.is_none() && !self.is_broken(&LIVE_URL) {
            let times =
                [self.live_interval.as_ref(), self.live_timeout.as_ref()].map(|given| given.map(|given| &given.raw));
            let threshold = self.live_threshold.as_ref().map(|given| &given.raw);
            let action = self.live_action.as_ref().map(|given| &given.raw);
            for raw in times.into_iter().chain([threshold, action]).flatten() {
                problems.push(raw.problem(LIVE_URL.is_missing()));
            }
        }
        self.live_url.as_ref().map(|given| Liveness {
            url: given.value.clone(),
            interval: self.live_interval.as_ref().map_or(Duration::from_secs(10), |given| given.value),
            timeout: self.live_timeout.as_ref().map_or(Duration::from_secs(1), |given| given.value),
            threshold: self.live_threshold.as_ref().map_or(3, |given| given.value),
            action: self.live_action.as_ref().map_or(LiveAction::Report, |given| given.value),
        })
    }

    /// Whether a hung app is started again, whatever `--restart` says.
    fn restarts_hung(&self) -> bool {
        self.is_broken(&LIVE_ACTION)
            || self.live_action.as_ref().is_some_and(|given| given.value == LiveAction::Restart)
    }

    /// The values that say how the app is started again.
    fn of_restart(&self) -> impl Iterator<Item = &Raw> {
        let times = [self.restart_delay.as_ref(), self.restart_delay_max.as_ref()].into_iter().flatten();
        times.map(|given| &given.raw).chain(self.restart_limit.as_ref().map(|given| &given.raw))
    }

    /// `--restart` and what depends on it, or on `--live-action restart`.
    pub(super) fn restart(&self, problems: &mut Vec<ConfigError>) -> Restart {
        let usual = Restart::default();
        let (delay, delay_max) = (self.restart_delay.as_ref(), self.restart_delay_max.as_ref());
        if self.restart.is_none() && !self.is_broken(&RESTART) && !self.restarts_hung() {
            for raw in self.of_restart() {
                problems.push(raw.problem(RESTART.is_missing()));
            }
        }
        // If only one of the two was given, the other one's default gives way.
        let (shortest, longest) = (delay.map(|given| given.value), delay_max.map(|given| given.value));
        let restart = Restart {
            when: self.restart.as_ref().map_or(RestartWhen::Never, |given| given.value),
            delay: shortest.unwrap_or(longest.map_or(usual.delay, |longest| usual.delay.min(longest))),
            delay_max: longest.unwrap_or(shortest.map_or(usual.delay_max, |shortest| usual.delay_max.max(shortest))),
            limit: self.restart_limit.as_ref().map(|given| given.value),
        };
        if let Some(given) = delay.filter(|_| restart.delay > restart.delay_max) {
            let (flag, most) = (RESTART_DELAY_MAX.flag(), show(restart.delay_max));
            problems.push(given.raw.problem(format!("must not be longer than {flag}, {most}")));
        }
        restart
    }

    /// Only a warning: the values that have no effect beside `never` may come from a file that many share.
    pub(super) fn warn_of_idle_restart(&mut self) {
        let never = self.restart.as_ref().is_some_and(|given| given.value == RestartWhen::Never);
        if never && !self.restarts_hung() {
            let no_effect = |raw: &Raw| format!("{}: has no effect with {} never", raw.place(), RESTART.flag());
            let warnings: Vec<String> = self.of_restart().map(no_effect).collect();
            self.warnings.extend(warnings);
        }
    }
}

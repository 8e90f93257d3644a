//! The configuration while it is being read: every explicit value with its origin, nothing checked against
//! anything else yet. What needs more than one option or the surroundings is [`super::finish`]'s.

use super::check::DraftCheck;
use super::hook::DraftHook;
use super::profile::Choice as ProfileChoice;
use super::raw::{ConfigError, Raw};
use super::values::SuccessStatus;
use super::{
    AppSocket, ControlPlace, Escalation, FailReadiness, Hold, Leftovers, Listen, LiveAction, LogFormat, LogLevel,
    ReadyCondition, RestartWhen, StartupAction, StopTo,
};
use crate::reason::Reason;
use crate::secret::Url;
use crate::signal::Signal;
use std::time::Duration;

/// A value that somebody typed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Given<T> {
    pub(crate) value: T,
    pub(crate) raw: Raw,
}

/// A path that somebody typed; whether it can be written is a question for the end, when it is known whether a
/// stronger source replaced it.
#[derive(Debug, Default)]
pub(crate) struct GivenPath(pub(super) Option<Raw>);

/// All explicit values.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) grace_period: Option<Given<Duration>>,
    pub(crate) kill_margin: Option<Given<Duration>>,
    pub(crate) pre_stop_delay: Option<Given<Duration>>,
    pub(crate) stop_signal: Option<Given<Signal>>,
    pub(crate) stop_on: Vec<Given<Signal>>,
    pub(crate) rewrite: Vec<Given<(Signal, Option<Signal>)>>,
    pub(crate) escalate: Vec<Given<Escalation>>,
    pub(crate) hold: Option<Given<Hold>>,
    pub(crate) hold_timeout: Option<Given<Duration>>,
    pub(crate) quiet_window: Option<Given<Duration>>,
    pub(crate) ports: Vec<Given<u16>>,
    pub(crate) profile: Option<Given<ProfileChoice>>,
    pub(crate) hooks: Vec<DraftHook>,
    pub(crate) ready_url: Option<Given<Url>>,
    pub(crate) ready_interval: Option<Given<Duration>>,
    pub(crate) ready_timeout: Option<Given<Duration>>,
    pub(crate) startup_timeout: Option<Given<Duration>>,
    pub(crate) startup_action: Option<Given<StartupAction>>,
    pub(crate) live_url: Option<Given<Url>>,
    pub(crate) live_interval: Option<Given<Duration>>,
    pub(crate) live_timeout: Option<Given<Duration>>,
    pub(crate) live_threshold: Option<Given<u32>>,
    pub(crate) live_action: Option<Given<LiveAction>>,
    pub(crate) checks: Vec<DraftCheck>,
    pub(crate) probe_listen: Option<Given<Listen>>,
    pub(crate) listen: Vec<Given<AppSocket>>,
    pub(crate) fail_readiness: Option<Given<FailReadiness>>,
    pub(crate) drain_file: GivenPath,
    pub(crate) stop_to: Option<Given<StopTo>>,
    pub(crate) leftovers: Option<Given<Leftovers>>,
    pub(crate) parent_death_signal: Option<Given<Signal>>,
    pub(crate) success: Vec<Given<SuccessStatus>>,
    pub(crate) control: Option<Given<ControlPlace>>,
    pub(crate) reload_on: Option<Given<Option<Signal>>>,
    pub(crate) reload_ready: Option<Given<ReadyCondition>>,
    pub(crate) restart: Option<Given<RestartWhen>>,
    pub(crate) restart_delay: Option<Given<Duration>>,
    pub(crate) restart_delay_max: Option<Given<Duration>>,
    pub(crate) restart_limit: Option<Given<u32>>,
    pub(crate) termination_log: GivenPath,
    pub(crate) report: GivenPath,
    pub(crate) log_format: Option<Given<LogFormat>>,
    pub(crate) log_level: Option<Given<LogLevel>>,
    /// Where hooks of the stage `ready` were typed.
    pub(crate) ready_hooks: Vec<String>,
    /// Options with a value that did not parse: what depends on them is not judged, lest one slip be
    /// reported twice and the second time wrongly.
    pub(crate) broken: Vec<&'static str>,
    /// Where options were given that apply only to the graceful above this one.
    pub(crate) of_above: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

/// Sets an option that has one value. More than one in the same source was reported before.
pub(crate) fn set_last<T>(
    slot: &mut Option<Given<T>>,
    raws: &[Raw],
    problems: &mut Vec<ConfigError>,
    parse: impl Fn(&str) -> Result<T, Reason>,
) {
    if let Some(given) = raws.last().and_then(|raw| read(raw, problems, &parse)) {
        *slot = Some(given);
    }
}

/// Sets a list; a stronger source replaces the weaker one's whole list.
pub(crate) fn set_all<T>(
    slot: &mut Vec<Given<T>>,
    raws: &[Raw],
    problems: &mut Vec<ConfigError>,
    parse: impl Fn(&str) -> Result<T, Reason>,
) {
    *slot = raws.iter().filter_map(|raw| read(raw, problems, &parse)).collect();
}

fn read<T>(raw: &Raw, problems: &mut Vec<ConfigError>, parse: impl Fn(&str) -> Result<T, Reason>) -> Option<Given<T>> {
    let value = raw.text().and_then(|text| parse(text).map_err(|reason| raw.problem(reason)));
    value.map_err(|problem| problems.push(problem)).ok().map(|value| Given { value, raw: raw.clone() })
}

impl GivenPath {
    pub(crate) fn set(&mut self, raws: &[Raw], problems: &mut Vec<ConfigError>) {
        match raws.last() {
            Some(raw) if raw.text.is_empty() => {
                problems.push(raw.problem("an empty path; expected the path of a file"))
            }
            Some(raw) => self.0 = Some(raw.clone()),
            None => {}
        }
    }
}

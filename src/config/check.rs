//! Dependency checks: `NAME=TARGET` of flags and variables, `[[check]]` tables of the file, and their defaults.
//!
//! As with hooks, sources add up: the file's, then the variable's, then the flags'. A name stands for one check in
//! answers, metrics and the log, so no two have the same, and none has that of a part that graceful judges itself.

use super::raw::{ConfigError, Raw};
use super::table::{self, TableReader};
use super::target::{example, kind, show_space, space, target};
use super::values::{duration, positive_duration, show};
use super::{CheckConfig, CheckTarget, Space};
use crate::reason::Reason;
use std::path::Path;
use std::time::Duration;
use toml::Value;

/// The name of the tables in the file.
pub(crate) const KEY: &str = "check";

/// What a probe's answer calls graceful's own parts.
const RESERVED: &[&str] = &["running", "startup", "ready-url", "shutdown"];

const INTERVAL: Duration = Duration::from_secs(10);
/// The default timeout, or the interval if that is shorter.
const TIMEOUT: Duration = Duration::from_secs(2);
const BREAKER_RESET: Duration = Duration::from_secs(30);
const FAILURE_THRESHOLD: u32 = 3;
const SUCCESS_THRESHOLD: u32 = 1;

/// Keys of every check.
const COMMON_KEYS: &[&str] = &[
    "name",
    "target",
    "interval",
    "timeout",
    "jitter",
    "degraded_after",
    "critical",
    "failure_threshold",
    "success_threshold",
    "breaker_after",
    "breaker_reset",
];

/// What `breaker_reset` was called when each check had a breaker, which opened at `failure_threshold`.
const OLD_RESET: &str = "reset_after";

/// Keys of one kind of target, with that kind.
const KEYS_OF_A_KIND: &[(&str, &str)] = &[
    ("send", "tcp"),
    ("expect", "tcp"),
    ("degraded_status", "exec"),
    ("degraded_free", "disk"),
    ("unhealthy_free", "disk"),
];

/// A check whose path, if it has one, may still be relative, and whose name may not be unique.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DraftCheck {
    pub(crate) check: CheckConfig,
    /// Where TARGET was typed.
    pub(crate) place: String,
    /// Where NAME was typed.
    name_place: String,
}

/// Adds the `NAME=TARGET` of one source.
pub(crate) fn add_short(checks: &mut Vec<DraftCheck>, raws: &[Raw], problems: &mut Vec<ConfigError>) {
    for raw in raws {
        match raw.text().and_then(|text| short(text).map_err(|reason| raw.problem(reason))) {
            Ok(check) => checks.push(DraftCheck { check, place: raw.place(), name_place: raw.place() }),
            Err(problem) => problems.push(problem),
        }
    }
}

fn short(text: &str) -> Result<CheckConfig, Reason> {
    const FORM: &str = "expected NAME=TARGET, as redis=tcp://redis:6379";
    let (given, what) = text.split_once('=').ok_or(FORM)?;
    let name = name(given.trim()).map_err(|reason| format!("{reason}; {FORM}"))?;
    Ok(CheckConfig {
        name,
        target: target(what)?,
        interval: INTERVAL,
        timeout: TIMEOUT,
        jitter: INTERVAL / 10,
        degraded_after: None,
        critical: true,
        failure_threshold: FAILURE_THRESHOLD,
        success_threshold: SUCCESS_THRESHOLD,
        breaker_after: None,
        breaker_reset: BREAKER_RESET,
    })
}

/// Limited to what is safe as a metric's label, in a query (`?exclude=NAME`) and in a line of text.
fn name(text: &str) -> Result<String, Reason> {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if !plain || !(1..=63).contains(&text.len()) {
        return Err("expected a name of 1 to 63 letters, digits, -, _ and .".into());
    }
    if RESERVED.contains(&text) {
        return Err(format!("{text} is what graceful calls a part of its own; expected any other name").into());
    }
    Ok(text.to_owned())
}

/// Adds the file's `[[check]]` tables.
pub(crate) fn add_tables(checks: &mut Vec<DraftCheck>, file: &str, value: &Value, problems: &mut Vec<ConfigError>) {
    const RIGHT: &str = "checks are tables: [[check]], then name = \"redis\" and target = \"tcp://redis:6379\"";
    table::each(file, KEY, value, RIGHT, problems, |table| checks.extend(from_table(table)));
}

fn from_table(table: &mut TableReader<'_>) -> Option<DraftCheck> {
    let keys: Vec<&str> = COMMON_KEYS.iter().copied().chain(KEYS_OF_A_KIND.iter().map(|(key, _)| *key)).collect();
    check_keys(table, &keys);
    let name = required(table, "name", "redis", name);
    let target = required(table, "target", "tcp://redis:6379", target).map(|target| with_its_keys(target, table));
    // What is there but wrong has no value, and nothing that depends on it is judged.
    let interval = or_default(table, "interval", Some(INTERVAL), positive_duration);
    let timeout = or_default(table, "timeout", interval.map(|interval| TIMEOUT.min(interval)), positive_duration);
    let jitter = or_default(table, "jitter", interval.map(|interval| interval / 10), duration);
    let degraded_after = degraded_after(table, timeout);
    let critical = critical(table);
    let failure_threshold = count(table, "failure_threshold", FAILURE_THRESHOLD).unwrap_or(FAILURE_THRESHOLD);
    let success_threshold = count(table, "success_threshold", SUCCESS_THRESHOLD).unwrap_or(SUCCESS_THRESHOLD);
    let (breaker_after, breaker_reset) = breaker(table);
    if table.is_wrong() {
        return None;
    }
    let check = CheckConfig {
        name: name?,
        target: target?,
        interval: interval?,
        timeout: timeout?,
        jitter: jitter?,
        degraded_after,
        critical,
        failure_threshold,
        success_threshold,
        breaker_after,
        breaker_reset: breaker_reset?,
    };
    Some(DraftCheck { check, place: table.place("target"), name_place: table.place("name") })
}

fn required<T>(
    table: &mut TableReader<'_>,
    key: &str,
    example: &str,
    parse: impl Fn(&str) -> Result<T, Reason>,
) -> Option<T> {
    match table.get(key) {
        None => table.fault(format!("has no {key}; expected {key} = \"{example}\"")),
        Some(_) => table.parse(key, &format!("a string, as \"{example}\""), parse),
    }
}

fn or_default(
    table: &mut TableReader<'_>,
    key: &str,
    default: Option<Duration>,
    parse: impl Fn(&str) -> Result<Duration, Reason>,
) -> Option<Duration> {
    match table.get(key) {
        None => default,
        Some(_) => table.duration(key, "10s", parse),
    }
}

fn degraded_after(table: &mut TableReader<'_>, timeout: Option<Duration>) -> Option<Duration> {
    let given = table.duration("degraded_after", "500ms", positive_duration)?;
    match timeout {
        Some(timeout) if given >= timeout => {
            table.wrong("degraded_after", format!("must be shorter than the timeout, {}", show(timeout)))
        }
        _ => Some(given),
    }
}

fn critical(table: &mut TableReader<'_>) -> bool {
    match table.get("critical") {
        None => true,
        Some(Value::Boolean(critical)) => *critical,
        Some(_) => table.wrong("critical", "expected true or false").unwrap_or(true),
    }
}

/// A whole number, at least 1; `None` if it is absent or wrong.
fn count(table: &mut TableReader<'_>, key: &str, example: u32) -> Option<u32> {
    match table.get(key)?.as_integer().and_then(|number| u32::try_from(number).ok()) {
        Some(number) if number > 0 => Some(number),
        _ => table.wrong(key, format!("expected a whole number of at least 1, as {example}")),
    }
}

/// `breaker_after` and `breaker_reset`.
fn breaker(table: &mut TableReader<'_>) -> (Option<u32>, Option<Duration>) {
    let after = count(table, "breaker_after", 5);
    let reset = or_default(table, "breaker_reset", Some(BREAKER_RESET), positive_duration);
    if table.get("breaker_reset").is_some() && table.get("breaker_after").is_none() {
        table.wrong::<()>("breaker_reset", "has no effect without breaker_after, as breaker_after = 5");
    }
    (after, reset)
}

/// Reports unknown keys; for a former key, by what it is called now.
fn check_keys(table: &mut TableReader<'_>, known: &[&str]) {
    if table.get(OLD_RESET).is_some() {
        let reason = "is called breaker_reset now, and has no effect without breaker_after, as breaker_after = 3 \
                      (failure_threshold alone no longer opens a breaker)";
        table.wrong::<()>(OLD_RESET, reason);
    }
    table.check_keys("key of a check", known, &[OLD_RESET]);
}

/// The target with what the keys of its kind say; a key of another kind is a problem.
fn with_its_keys(target: CheckTarget, table: &mut TableReader<'_>) -> CheckTarget {
    let kind = kind(&target);
    for (key, right) in KEYS_OF_A_KIND {
        if *right != kind && table.get(key).is_some() {
            let reason = format!("{key} is for {right} targets, as {}, and this one is {kind}", example(right));
            table.wrong::<()>(key, reason);
        }
    }
    match target {
        CheckTarget::Http(_) => target,
        CheckTarget::Tcp { host, port, .. } => {
            let send = table.parse("send", "a string, as \"PING\\r\\n\"", |text| Ok(text.to_owned().into()));
            CheckTarget::Tcp { host, port, send, expect: table.parse("expect", "a string, as \"+PONG\"", expect) }
        }
        CheckTarget::Exec { argv, .. } => CheckTarget::Exec { argv, degraded_status: degraded_status(table) },
        CheckTarget::Disk { path, degraded_free, unhealthy_free } => {
            let (degraded_free, unhealthy_free) = free(table, degraded_free, unhealthy_free);
            CheckTarget::Disk { path, degraded_free, unhealthy_free }
        }
    }
}

fn expect(text: &str) -> Result<String, Reason> {
    match text.is_empty() {
        true => Err("an empty text is part of every answer; expected some of the answer, as \"+PONG\"".into()),
        false => Ok(text.to_owned()),
    }
}

fn degraded_status(table: &mut TableReader<'_>) -> Vec<u8> {
    let statuses: Option<Vec<u8>> = match table.get("degraded_status") {
        None => Some(Vec::new()),
        Some(Value::Array(members)) => members.iter().map(exit_status).collect(),
        Some(one) => exit_status(one).map(|status| vec![status]),
    };
    match statuses {
        Some(statuses) => statuses,
        None => table
            .wrong("degraded_status", "expected exit statuses from 1 to 255, as [2, 3]; 0 is healthy")
            .unwrap_or_default(),
    }
}

fn exit_status(value: &Value) -> Option<u8> {
    value.as_integer().and_then(|status| u8::try_from(status).ok()).filter(|status| *status > 0)
}

/// `degraded_free` and `unhealthy_free`. A percentage and a size cannot be compared before the file system is seen.
fn free(table: &mut TableReader<'_>, degraded: Space, unhealthy: Space) -> (Space, Space) {
    const RIGHT: &str = "a string, as \"20%\" or \"5GiB\"";
    let before = [("degraded_free", degraded), ("unhealthy_free", unhealthy)];
    let read = before.map(|(key, default)| match table.get(key) {
        None => Some(default),
        Some(_) => table.parse(key, RIGHT, space),
    });
    let [Some(degraded), Some(unhealthy)] = read else { return (degraded, unhealthy) };
    let ordered = match (degraded, unhealthy) {
        (Space::Percent(degraded), Space::Percent(unhealthy)) => degraded > unhealthy,
        (Space::Bytes(degraded), Space::Bytes(unhealthy)) => degraded > unhealthy,
        _ => true,
    };
    if !ordered {
        let (key, relation, other, bound) = match table.get("degraded_free") {
            Some(_) => ("degraded_free", "more", "unhealthy_free", show_space(unhealthy)),
            None => ("unhealthy_free", "less", "degraded_free", show_space(degraded)),
        };
        let by_default = if table.get(other).is_none() { " by default" } else { "" };
        table.wrong::<()>(key, format!("must be {relation} than {other}, {bound}{by_default}"));
    }
    (degraded, unhealthy)
}

/// Makes paths absolute and finds names that are used twice.
pub(crate) fn finish_checks(drafts: Vec<DraftCheck>, cwd: &Path, problems: &mut Vec<ConfigError>) -> Vec<CheckConfig> {
    for (index, draft) in drafts.iter().enumerate() {
        if let Some(first) = drafts[..index].iter().find(|first| first.check.name == draft.check.name) {
            let reason = format!("the name {} is taken by {}; expected any other", draft.check.name, first.name_place);
            problems.push(ConfigError::new(draft.name_place.clone(), reason));
        }
    }
    drafts.into_iter().map(|draft| absolute(draft.check, cwd)).collect()
}

fn absolute(mut check: CheckConfig, cwd: &Path) -> CheckConfig {
    if let CheckTarget::Disk { path, .. } = &mut check.target {
        *path = cwd.join(&path);
    }
    check
}

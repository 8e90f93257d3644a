//! Hooks: `STAGE=WHAT` of flags and variables, `[[hook]]` tables of the file, their defaults and their budget.
//!
//! Hooks, like checks, are a list in which sources add up: the file's, then the variable's, then the flags'. The
//! pre-stop hooks run beside the delay and must be over before SIGKILL: those of the file with equal priority run
//! together and count once, those of flags and variables run one after the other.

use super::raw::{ConfigError, Raw, quoted};
use super::suggest::listed;
use super::table::{self, TableReader};
use super::values::{self, argv, choice, http_url, is_http, positive_duration, show};
use super::{Budget, Hook, HookAction, OnFailure, Stage};
use crate::reason::Reason;
use crate::secret::{Url, hidden_command, hidden_webhook};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use toml::Value;

/// The name of the flag, and of the tables in the file.
pub(crate) const KEY: &str = "hook";

/// The default timeout of one hook, or half of the time up to SIGKILL if that is shorter.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

const ON_FAILURE: &[(&str, OnFailure)] = &[("abort", OnFailure::Abort), ("continue", OnFailure::Continue)];
const HOOK_KEYS: &[&str] = &["stage", "name", "run", "url", "timeout", "priority", "on_failure"];

/// A hook whose timeout is not settled yet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DraftHook {
    pub(crate) stage: Stage,
    pub(crate) action: HookAction,
    /// Where WHAT was typed.
    pub(crate) place: String,
    name: Option<String>,
    timeout: Option<(Duration, String)>,
    priority: i32,
    sequential: bool,
    on_failure: Option<OnFailure>,
}

/// Adds the `STAGE=WHAT` of one source.
pub(crate) fn add_short(hooks: &mut Vec<DraftHook>, raws: &[Raw], problems: &mut Vec<ConfigError>) {
    for raw in raws {
        match raw.text().and_then(|text| short(text).map_err(|reason| raw.problem(reason))) {
            Ok((stage, action)) => hooks.push(DraftHook {
                stage,
                action,
                place: raw.place(),
                name: None,
                timeout: None,
                priority: 0,
                sequential: true,
                on_failure: None,
            }),
            Err(problem) => problems.push(problem),
        }
    }
}

fn short(text: &str) -> Result<(Stage, HookAction), Reason> {
    let (stage, what) = text.split_once('=').ok_or_else(|| {
        let names = Stage::ALL.map(Stage::name);
        format!("expected STAGE=WHAT, as pre-stop=./drain; STAGE is {}", listed(names))
    })?;
    let stage = choice(stage, &Stage::NAMED)
        .map_err(|reason| format!("unknown stage {}; {reason}", quoted(hidden_command(stage).as_ref())))?;
    Ok((stage, values::hook_action(what)?))
}

/// Adds the file's `[[hook]]` tables.
pub(crate) fn add_tables(hooks: &mut Vec<DraftHook>, file: &str, value: &Value, problems: &mut Vec<ConfigError>) {
    const RIGHT: &str = "hooks are tables: [[hook]], then stage = \"pre-stop\" and run = \"./drain\"";
    table::each(file, KEY, value, RIGHT, problems, |table| hooks.extend(from_table(table)));
}

fn from_table(table: &mut TableReader<'_>) -> Option<DraftHook> {
    table.check_keys("key of a hook", HOOK_KEYS, &[]);
    let stage = required_stage(table);
    let action = action(table);
    let name = table.parse("name", "a string, as \"drain\"", name);
    let timeout = table.duration("timeout", "10s", positive_duration);
    let timeout = timeout.map(|timeout| (timeout, table.place("timeout")));
    let priority = priority(table);
    let on_failure = on_failure(table, stage);
    if table.is_wrong() {
        return None;
    }
    let (action, place) = action?;
    Some(DraftHook { stage: stage?, action, place, name, timeout, priority, sequential: false, on_failure })
}

fn required_stage(table: &mut TableReader<'_>) -> Option<Stage> {
    if table.get("stage").is_none() {
        let names = Stage::ALL.map(Stage::name);
        return table.fault(format!("has no stage; expected stage = {}", listed(names)));
    }
    table.parse("stage", "a string, as \"pre-stop\"", |text| choice(text, &Stage::NAMED))
}

fn action(table: &mut TableReader<'_>) -> Option<(HookAction, String)> {
    match (table.get("run"), table.get("url")) {
        (Some(_), Some(_)) => table.fault("has both run and url; use only one of them"),
        (None, None) => table.fault("does nothing; add run = \"./drain\" or url = \"http://…\""),
        (None, Some(_)) => {
            let url = table.parse("url", "a string, as \"http://127.0.0.1:8080/drain\"", webhook)?;
            Some((HookAction::Post(url), table.place("url")))
        }
        (Some(Value::Array(words)), None) => {
            let argv: Option<Vec<String>> = words.iter().map(|word| word.as_str().map(str::to_owned)).collect();
            match argv.filter(|argv| argv.first().is_some_and(|program| !program.is_empty())) {
                Some(argv) => Some((HookAction::Command(argv.into()), table.place("run"))),
                None => table.wrong("run", "expected a list of strings that begins with the program"),
            }
        }
        (Some(_), None) => {
            let argv = table.parse("run", "a command line or a list, as \"./drain\" or [\"./drain\"]", argv)?;
            Some((HookAction::Command(argv.into()), table.place("run")))
        }
    }
}

/// Its messages show the URL without its path, which is a webhook's secret.
fn webhook(text: &str) -> Result<Url, Reason> {
    match is_http(text.trim()) {
        true => http_url(text),
        false => {
            let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
            let example = hidden_webhook(&format!("http://{rest}"));
            Err(format!("expected a URL that begins with http:// or https://, as {example}").into())
        }
    }
}

fn priority(table: &mut TableReader<'_>) -> i32 {
    let Some(value) = table.get("priority") else { return 0 };
    match value.as_integer().and_then(|number| i32::try_from(number).ok()) {
        Some(priority) => priority,
        None => table.wrong("priority", "expected a whole number, as 10; higher runs first").unwrap_or(0),
    }
}

fn on_failure(table: &mut TableReader<'_>, stage: Option<Stage>) -> Option<OnFailure> {
    let given = table.parse("on_failure", "a string, as \"continue\"", |text| choice(text, ON_FAILURE))?;
    if given == OnFailure::Abort && matches!(stage, Some(Stage::PreStop | Stage::PostStop)) {
        return table.wrong(
            "on_failure",
            "a stop that has begun cannot be aborted: abort is for pre-start, post-start and ready; expected continue",
        );
    }
    Some(given)
}

fn name(text: &str) -> Result<String, Reason> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err("expected a name of one line, as drain".into());
    }
    Ok(text.to_owned())
}

/// Where the hooks of this stage were typed.
pub(crate) fn places_of(hooks: &[DraftHook], stage: Stage) -> Vec<String> {
    hooks.iter().filter(|hook| hook.stage == stage).map(|hook| hook.place.clone()).collect()
}

/// Settles names, timeouts and failure rules. `judge` is false when the budget itself could not be read.
pub(crate) fn finish_hooks(
    hooks: Vec<DraftHook>,
    budget: &Budget,
    judge: bool,
    problems: &mut Vec<ConfigError>,
) -> Vec<Hook> {
    if judge {
        check_timeouts(&hooks, budget, problems);
    }
    let default = DEFAULT_TIMEOUT.min(budget.kill_at() / 2);
    let pre_stop_default = pre_stop_default(&hooks, budget, default);
    let settle = |hook: DraftHook| Hook {
        name: hook.name.unwrap_or_else(|| default_name(&hook.action)),
        stage: hook.stage,
        action: hook.action,
        timeout: match (hook.timeout, hook.stage) {
            (Some((timeout, _)), _) => timeout,
            (None, Stage::PreStop) => pre_stop_default,
            (None, _) => default,
        },
        priority: hook.priority,
        sequential: hook.sequential,
        on_failure: hook.on_failure.unwrap_or(match hook.stage {
            Stage::PreStart => OnFailure::Abort,
            Stage::PostStart | Stage::Ready | Stage::PreStop | Stage::PostStop => OnFailure::Continue,
        }),
    };
    let unnamed: Vec<bool> = hooks.iter().map(|hook| hook.name.is_none()).collect();
    let mut hooks: Vec<Hook> = hooks.into_iter().map(settle).collect();
    number_hosts(&mut hooks, &unnamed);
    hooks
}

fn check_timeouts(hooks: &[DraftHook], budget: &Budget, problems: &mut Vec<ConfigError>) {
    let total: Duration = groups(hooks).iter().map(|group| group.explicit).sum();
    if total >= budget.kill_at() {
        let timed = hooks.iter().filter(|hook| hook.stage == Stage::PreStop).filter_map(|hook| hook.timeout.as_ref());
        if let Some((_, place)) = timed.max_by_key(|(timeout, _)| *timeout) {
            problems.push(ConfigError::new(
                place.clone(),
                format!(
                    "the pre-stop hooks may take {}, and SIGKILL is sent at {} (grace period less kill margin); \
                     their timeouts must be shorter, or --grace-period longer",
                    show(total),
                    show(budget.kill_at())
                ),
            ));
        }
    }
    for hook in hooks.iter().filter(|hook| hook.stage == Stage::PostStop) {
        if let Some((timeout, place)) = &hook.timeout
            && *timeout >= budget.grace_period
        {
            let grace = show(budget.grace_period);
            problems.push(ConfigError::new(place.clone(), format!("must be shorter than the grace period, {grace}")));
        }
    }
}

/// Pre-stop hooks that run together.
#[derive(Default)]
struct Group {
    /// The longest explicit timeout among them.
    explicit: Duration,
    /// Whether one of them has none.
    defaulted: bool,
}

fn groups(hooks: &[DraftHook]) -> Vec<Group> {
    let mut together: BTreeMap<i32, Group> = BTreeMap::new();
    let mut alone = Vec::new();
    for hook in hooks.iter().filter(|hook| hook.stage == Stage::PreStop) {
        let explicit = hook.timeout.as_ref().map_or(Duration::ZERO, |(timeout, _)| *timeout);
        let this = Group { explicit, defaulted: hook.timeout.is_none() };
        if hook.sequential {
            alone.push(this);
        } else {
            let group = together.entry(hook.priority).or_default();
            group.explicit = group.explicit.max(this.explicit);
            group.defaulted |= this.defaulted;
        }
    }
    together.into_values().chain(alone).collect()
}

/// The default timeout of pre-stop hooks: the general one, or an equal share of what the explicit ones leave when
/// all together would not be over before SIGKILL.
fn pre_stop_default(hooks: &[DraftHook], budget: &Budget, default: Duration) -> Duration {
    let groups = groups(hooks);
    let longest = |group: &Group| if group.defaulted { group.explicit.max(default) } else { group.explicit };
    let total: Duration = groups.iter().map(longest).sum();
    if total < budget.kill_at() {
        return default;
    }
    let explicit: Duration = groups.iter().map(|group| group.explicit).sum();
    let shares = u32::try_from(groups.iter().filter(|group| group.defaulted).count()).unwrap_or(u32::MAX - 1) + 1;
    default.min(budget.kill_at().saturating_sub(explicit) / shares)
}

/// The command's file name, or the URL's host: the path of a webhook is its secret.
fn default_name(action: &HookAction) -> String {
    match action {
        HookAction::Command(argv) => argv.to_string(),
        HookAction::Post(url) => url.host_alone().to_owned(),
    }
}

/// Hooks of one stage that would be named after the same host get a number, so that the log and the metrics tell them
/// apart.
fn number_hosts(hooks: &mut [Hook], unnamed: &[bool]) {
    let mut seen: HashMap<(String, String), u32> = HashMap::new();
    for (hook, _) in hooks.iter_mut().zip(unnamed).filter(|(_, unnamed)| **unnamed) {
        if let HookAction::Post(url) = &hook.action {
            let count = seen.entry((hook.stage.to_string(), url.host_alone().to_owned())).or_default();
            *count += 1;
            if *count > 1 {
                hook.name = format!("{} {count}", hook.name);
            }
        }
    }
}

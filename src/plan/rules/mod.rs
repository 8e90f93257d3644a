//! The rules: functions from the model to findings. Each is a file of its own, with its text, its reason, a file that
//! triggers it and one that does not; the table below is all that knows them.

mod budget;
mod bypassed;
mod deregistration;
mod disruption_budget_blocks;
mod grace_period;
mod kill_mode;
mod liveness_dependency;
mod max_unavailable;
mod no_disruption_budget;
mod no_exec;
mod no_startup_probe;
mod notify_access;
mod options;
mod pre_stop_no_shell;
mod pre_stop_too_long;
mod pre_stop_twice;
mod probe_port;
mod probe_program;
mod readiness_slow;
mod same_probe;
mod send_sigkill;
mod shared;
mod shared_pid;
mod shell_form;
mod single_replica;
mod stop_signal;
mod termination_message;
#[cfg(test)]
mod tests;
mod traffic_policy;
mod two_inits;
mod update_order;
mod worker_delay;

pub use super::finding::{Example, Rule};
use super::finding::{Findings, PlanFinding};
use super::model::Model;
use crate::config::suggest::did_you_mean;

/// All of them, in the order in which they are listed.
pub static RULES: &[&Rule] = &[
    &options::RULE,
    &grace_period::RULE,
    &budget::RULE,
    &pre_stop_twice::RULE,
    &pre_stop_too_long::RULE,
    &pre_stop_no_shell::RULE,
    &shell_form::RULE,
    &no_exec::RULE,
    &two_inits::RULE,
    &bypassed::RULE,
    &stop_signal::RULE,
    &worker_delay::RULE,
    &probe_port::RULE,
    &probe_program::RULE,
    &readiness_slow::RULE,
    &same_probe::RULE,
    &liveness_dependency::RULE,
    &no_startup_probe::RULE,
    &single_replica::RULE,
    &traffic_policy::RULE,
    &deregistration::RULE,
    &max_unavailable::RULE,
    &no_disruption_budget::RULE,
    &disruption_budget_blocks::RULE,
    &update_order::RULE,
    &kill_mode::RULE,
    &send_sigkill::RULE,
    &notify_access::RULE,
    &shared_pid::RULE,
    &termination_message::RULE,
];

/// The rule of this name.
pub fn by_name(name: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.name == name).copied()
}

/// What all rules find, in the order of the files.
pub(super) fn check(model: &Model) -> Vec<PlanFinding> {
    let mut all: Vec<PlanFinding> = RULES
        .iter()
        .flat_map(|rule| {
            let mut findings = Findings::of(rule);
            (rule.check)(model, &mut findings);
            findings.all()
        })
        .collect();
    all.sort_by_key(|finding| (finding.at.file, finding.at.spot.line, finding.at.spot.column));
    all
}

/// What to say of a name that no rule has.
pub fn unknown(name: &str) -> String {
    let hint = did_you_mean(name, RULES.iter().map(|rule| rule.name), str::to_owned);
    format!("no such rule; graceful plan --explain list names them{hint}")
}

/// `--explain list`.
pub fn list() -> String {
    let line = |rule: &&Rule| format!("{:<22} {:<8} {}\n", rule.name, rule.severity.name(), rule.title);
    RULES.iter().map(line).collect()
}

/// `--explain RULE`.
pub fn explain(rule: &Rule) -> String {
    let indented = |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let why = wrapped(rule.why);
    let (bad, good) = (&rule.bad, &rule.good);
    format!(
        "{} ({}): {}\n\n{why}\nFound fault with ({}):\n\n{}\nRight:\n\n{}\nTo leave it out: --ignore {}, or in the file \
         # graceful: ignore {}\n",
        rule.name,
        rule.severity.name(),
        rule.title,
        bad.file,
        indented(bad.text),
        indented(good.text),
        rule.name,
        rule.name,
    )
}

/// In lines of 79 columns at most.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let length = lines.last().map_or(0, |line| line.chars().count());
        if length > 0 && length + 1 + word.chars().count() > 79 {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

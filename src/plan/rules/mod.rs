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
mod missing_env_file;
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
mod reload_hup;
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
mod traefik_check;
mod traffic_policy;
mod two_inits;
mod update_order;
mod worker_delay;

pub use super::finding::{Example, Rule};
use super::finding::{Findings, PlanFinding, Severity};
use super::model::{FileSpot, Model};
use crate::config::suggest::did_you_mean;
use std::collections::HashSet;

/// All rules, in the order in which they are listed.
pub static RULES: &[&Rule] = &[
    &options::RULE,
    &missing_env_file::RULE,
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
    &traefik_check::RULE,
    &max_unavailable::RULE,
    &no_disruption_budget::RULE,
    &disruption_budget_blocks::RULE,
    &update_order::RULE,
    &kill_mode::RULE,
    &send_sigkill::RULE,
    &notify_access::RULE,
    &reload_hup::RULE,
    &shared_pid::RULE,
    &termination_message::RULE,
];

/// The rule of this name.
pub fn by_name(name: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.name == name).copied()
}

/// What all rules find, in the order of the files. Where something else may set options of graceful, whatever depends
/// on them is a note that names it.
pub(super) fn check(model: &mut Model) -> Vec<PlanFinding> {
    let mut all = found(model);
    let unknown = unsure(model);
    if !unknown.is_empty() {
        let known: HashSet<_> = all.iter().map(|found| (found.rule.name, found.at, found.message.clone())).collect();
        let containers = model.workloads.iter_mut().flat_map(|workload| &mut workload.containers);
        containers.filter_map(|container| container.graceful.as_mut()).for_each(|graceful| graceful.is_assumed = true);
        for found in found(model) {
            if known.contains(&(found.rule.name, found.at, found.message.clone())) {
                continue;
            }
            // The source of the last container before it, else of the first one in the file; they are in order.
            let is_of_file = |(at, _): &&(FileSpot, String)| at.file == found.at.file;
            let before = &unknown[..unknown.partition_point(|(at, _)| *at <= found.at)];
            let source = before.last().filter(is_of_file).or_else(|| unknown.get(before.len()).filter(is_of_file));
            let source = source.or_else(|| unknown.first()).map_or("something else", |(_, source)| source);
            let message = format!("{}, unless {source} says otherwise", found.message);
            all.push(PlanFinding { severity: Severity::Note, message, edit: None, ..found });
        }
    }
    all.sort_by_key(|finding| (finding.at.file, finding.at.spot.line, finding.at.spot.column));
    twice(model, all)
}

fn found(model: &Model) -> Vec<PlanFinding> {
    let of_rule = |rule: &&'static Rule| {
        let mut findings = Findings::of(rule);
        (rule.check)(model, &mut findings);
        findings.all()
    };
    RULES.iter().flat_map(of_rule).collect()
}

/// The places of the containers with a graceful whose options are not all in these files, in order, and what else may
/// set these.
fn unsure(model: &Model) -> Vec<(FileSpot, String)> {
    let containers = model.workloads.iter().flat_map(|workload| workload.containers.iter().map(move |c| (workload, c)));
    let mut unknown: Vec<(FileSpot, String)> = containers
        .filter_map(|(workload, container)| {
            let at = FileSpot { file: workload.file, spot: container.at };
            Some((at, container.graceful.as_ref()?.unknown.clone()?))
        })
        .collect();
    unknown.sort();
    unknown
}

/// Drops what a service has from its Dockerfile, if that is one of the files and has the same finding.
fn twice(model: &Model, all: Vec<PlanFinding>) -> Vec<PlanFinding> {
    let is_said = |found: &PlanFinding| {
        let is_there = |(at, _): &&(FileSpot, usize)| *at == found.at;
        let Some((_, dockerfile)) = model.builds.iter().find(is_there) else { return false };
        all.iter().any(|other| {
            other.at.file == *dockerfile && other.rule.name == found.rule.name && other.severity >= found.severity
        })
    };
    let said: Vec<bool> = all.iter().map(is_said).collect();
    all.into_iter().zip(said).filter(|(_, said)| !said).map(|(found, _)| found).collect()
}

/// The message for a name that no rule has.
pub fn unknown(name: &str) -> String {
    let hint = did_you_mean(name, RULES.iter().map(|rule| rule.name), str::to_owned);
    format!("unknown rule; graceful plan --explain list names them{hint}")
}

/// What `--explain list` prints.
pub fn list() -> String {
    let line = |rule: &&Rule| format!("{:<22} {:<8} {}\n", rule.name, rule.severity.name(), rule.title);
    RULES.iter().map(line).collect()
}

/// What `--explain RULE` prints.
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

/// The text in lines of 79 columns at most.
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

//! systemd units (systemd.syntax(7)): `KEY=VALUE` lines below `[Section]`, a backslash at the end continues the line on
//! the next, an empty value resets a list. Written by hand: the crates for it keep no positions.

use super::reading::Reading;
use crate::plan::error::SyntaxError;
use crate::plan::model::{Argv, Container, Elsewhere, Model, Platform, Rollout, Unit, Workload, WorkloadKind};
use crate::plan::place::{At, Position};
use crate::plan::wrapped::Reader;
use std::collections::BTreeMap;
use std::time::Duration;

/// Reads one unit.
pub(super) fn read(file: usize, name: &str, text: &str, reader: &Reader<'_>, model: &mut Model) -> Reading {
    let assignments = match assignments(text) {
        Ok(assignments) => assignments,
        Err(fault) => return Reading { found: 0, fault: Some(fault) },
    };
    let service: Vec<&Assignment> = assignments.iter().filter(|given| given.section == "Service").collect();
    // The last one counts.
    let last = |key: &str| service.iter().rev().find(|given| given.key == key).map(|given| given.value.clone());
    let truth = |key: &str| {
        last(key)?.try_map(|text| match text.to_ascii_lowercase().as_str() {
            "1" | "yes" | "true" | "on" => Some(true),
            "0" | "no" | "false" | "off" => Some(false),
            _ => None,
        })
    };
    let Some(start) = last("ExecStart").filter(|start| !start.value.is_empty()) else { return Reading::default() };
    let name = name.rsplit('/').next().unwrap_or(name).to_owned();
    let environment = service.iter().filter(|given| given.key == "Environment").flat_map(|given| {
        let words = shell_words::split(&given.value.value).unwrap_or_default();
        let at = given.value.at;
        let pair = move |word: String| {
            word.split_once('=').map(|(name, value)| At { at, value: (name.to_owned(), value.to_owned()) })
        };
        words.into_iter().filter_map(pair).collect::<Vec<_>>()
    });
    // These files are on the machine that the unit runs on.
    let files = service.iter().filter(|given| given.key == "EnvironmentFile" && !given.value.value.is_empty());
    let files = files.map(|given| At {
        at: given.value.at,
        value: format!("EnvironmentFile={}", given.value.value.trim_start_matches('-')),
    });
    let mut container = Container {
        name: name.clone(),
        at: start.at,
        image: None,
        is_init: false,
        argv: Argv { words: command(&start), at: Some(start.at), shell: None, headless: false },
        env: environment.collect(),
        graceful: None,
        server: None,
        grace: None,
        stop_signal: last("KillSignal"),
        pre_stop: None,
        readiness: None,
        liveness: None,
        startup: None,
        ports: Vec::new(),
        platform_init: None,
        termination_message_path: None,
        elsewhere: Elsewhere { unknown: files.collect(), ..Elsewhere::default() },
        labels: Vec::new(),
        insert_at: Some(start.at),
    };
    reader.look(&mut container, false);
    let stop = last("TimeoutStopSec").or_else(|| last("TimeoutSec"));
    model.workloads.push(Workload {
        file,
        platform: Platform::Systemd,
        kind: WorkloadKind::Unit,
        name,
        namespace: String::new(),
        labels: BTreeMap::new(),
        grace: stop.and_then(|given| given.try_map(|text| time(&text))),
        replicas: None,
        rollout: Rollout::default(),
        share_process_namespace: None,
        host_pid: None,
        containers: vec![container],
        unit: Some(Unit {
            start: last("Type"),
            kill_mode: last("KillMode"),
            send_sigkill: truth("SendSIGKILL"),
            notify_access: last("NotifyAccess"),
            reload: last("ExecReload"),
        }),
        wrap: None,
        insert_at: Some(start.at),
    });
    Reading { found: 1, fault: None }
}

#[derive(Debug)]
struct Assignment {
    section: String,
    key: String,
    value: At<String>,
}

fn assignments(text: &str) -> Result<Vec<Assignment>, SyntaxError> {
    let mut section = String::new();
    let mut all: Vec<Assignment> = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_owned();
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            return Err(SyntaxError::new(Position::new(number + 1, 0), "expected KEY=VALUE or [Section]"));
        };
        let column = key.chars().count() + 1 + value.chars().take_while(|c| c.is_whitespace()).count();
        let mut value = value.trim().to_owned();
        while let Some(begin) = value.strip_suffix('\\') {
            let Some((_, next)) = lines.next() else { break };
            // A comment between the parts is left out.
            let next = next.trim();
            value = if next.starts_with(['#', ';']) {
                value
            } else {
                format!("{}{next}", begin.trim_end().to_owned() + " ")
            };
        }
        let at = Position::new(number + 1, column).to(number + 1, line.chars().count());
        all.push(Assignment { section: section.clone(), key: key.trim().to_owned(), value: At { at, value } });
    }
    Ok(all)
}

/// The words of ExecStart=, without the prefix characters that say how it is run.
fn command(start: &At<String>) -> Vec<At<String>> {
    let line = start.value.trim_start_matches(['@', '-', ':', '+', '!', '|']);
    let words = shell_words::split(line).unwrap_or_default();
    words.into_iter().map(|word| At { at: start.at, value: word }).collect()
}

/// systemd.time(7): `90`, `1min 30s`, `infinity`.
fn time(text: &str) -> Option<Duration> {
    let text = text.trim();
    if text == "infinity" {
        return Some(Duration::MAX);
    }
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    humantime::parse_duration(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_go_on_and_comments() {
        let text = "# c\n[Unit]\nA=1\n[Service]\nExecStart = /x \\\n  # no\n  --y\nB=\n";
        let all = assignments(text).unwrap();
        let shown: Vec<_> =
            all.iter().map(|given| (given.section.as_str(), given.key.as_str(), given.value.value.as_str())).collect();
        assert_eq!(shown, [("Unit", "A", "1"), ("Service", "ExecStart", "/x --y"), ("Service", "B", "")]);
        assert_eq!((all[1].value.at.line, all[1].value.at.column), (5, 13));
        assert_eq!(assignments("[S]\nnonsense\n").unwrap_err().spot.line, 2);
    }

    #[test]
    fn times_as_systemd_has_them() {
        for (text, seconds) in [("90", 90), ("1min 30s", 90), ("2m", 120), ("infinity", u64::MAX)] {
            assert_eq!(time(text).map(|time| time.as_secs()), Some(seconds), "{text}");
        }
    }
}

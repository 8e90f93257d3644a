//! A status as a person reads it at a glance. Pure.

use super::protocol::{GenerationRole, GenerationStatus, LastReload, ReloadResult, StatusDocument};
use crate::timeline::text::human;
use std::fmt::Write;

/// A few lines, the words of the left column aligned; only what there is to say.
pub fn text(status: &StatusDocument) -> String {
    let mut rows = vec![
        ("graceful", format!("{}, pid {}", status.version, status.pid)),
        ("generation", generation(&status.generation)),
    ];
    if let Some(other) = &status.other {
        let role = match other.role {
            GenerationRole::Next => "next",
            GenerationRole::Old => "old",
        };
        rows.push((role, generation(&other.generation)));
    }
    if let Some(stop) = stop(status) {
        rows.push(("stop", stop));
    }
    if let Some(counts) = &status.in_flight {
        rows.push(("in flight", counts.to_string()));
    }
    if status.restarts_in_a_row > 0 {
        rows.push(("restarts", format!("{} in a row", status.restarts_in_a_row)));
    }
    if let Some(reload) = &status.last_reload {
        rows.push(("last reload", last_reload(reload)));
    }
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    rows.iter().fold(String::new(), |mut text, (name, value)| {
        // A String takes everything. Nobody else gets to write to the terminal.
        _ = writeln!(text, "{name:width$}  {}", value.replace(char::is_control, ""));
        text
    })
}

/// `2 (reload), running, ready; app pid 57, started 3 min ago`
fn generation(generation: &GenerationStatus) -> String {
    let GenerationStatus { number, cause, app_pid, started_ago, phase, ready } = generation;
    let ready = match ready {
        Some(true) => ", ready",
        Some(false) => ", not ready",
        None => "",
    };
    let pid = app_pid.map(|pid| format!("app pid {pid}"));
    let started = started_ago.map(|ago| format!("started {} ago", human(ago)));
    let app: Vec<String> = pid.into_iter().chain(started).collect();
    let app = if app.is_empty() { "no app".to_owned() } else { app.join(", ") };
    format!("{number} ({cause}), {phase}{ready}; {app}")
}

fn stop(status: &StatusDocument) -> Option<String> {
    let left = status.budget_left.map(|left| format!("SIGKILL in {}", human(left)));
    let parts: Vec<String> = status.stop_signal.map(|signal| signal.to_string()).into_iter().chain(left).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn last_reload(reload: &LastReload) -> String {
    let LastReload { generation, result, reason, took } = reload;
    let result = match result {
        ReloadResult::Serves => "serves",
        ReloadResult::Failed => "failed",
    };
    let why = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("generation {generation} {result} after {}{why}", human(*took))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::tests::{serving, stopping};

    #[test]
    fn what_serves_takes_two_lines() {
        assert_eq!(
            text(&serving()),
            "graceful    0.1.0, pid 1\n\
             generation  1 (start), running; app pid 7, started 3 min ago\n"
        );
    }

    #[test]
    fn all_that_there_is_stands_in_one_column() {
        assert_eq!(
            text(&stopping()),
            "graceful     0.1.0, pid 1\n\
             generation   3 (reload), drain, not ready; app pid 81, started 2 s ago\n\
             old          2 (restart), hold; no app\n\
             stop         SIGTERM, SIGKILL in 12.3 s\n\
             in flight    2 busy, 1 unknown\n\
             restarts     4 in a row\n\
             last reload  generation 3 failed after 1.4 s: not ready within 10s\n"
        );
    }

    #[test]
    fn nothing_said_reaches_the_terminal_as_a_command() {
        let mut status = serving();
        status.version = "0.1\u{1b}[31m\n\u{9b}x".to_owned();
        let text = text(&status);
        assert!(text.starts_with("graceful    0.1[31mx, pid 1\n"), "{text:?}");
    }
}

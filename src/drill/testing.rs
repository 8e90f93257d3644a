//! Drills for the tests of the pure modules, made by hand.

use super::baseline;
use super::evidence::{Check, CheckName, Drill};
use super::facts::{Exit, Observations, StopResult};
use super::plan::{Details, DrillPlan, Mix, Subject, Supervision, Targets, Tolerance};
use super::record::{ClientKind, Record, RequestOutcome};
use super::verdict::judge;
use crate::signal::Signal;
use crate::status::ExitStatus;
use crate::timeline::report::{PhaseSpan, Report};
use crate::timeline::{LogLevel, Phase};
use std::collections::BTreeSet;
use std::time::Duration;

pub(super) fn plan(subject: Subject) -> DrillPlan {
    DrillPlan {
        subject,
        targets: Targets::default(),
        rate: 100,
        mix: Mix::default(),
        headers: Vec::new(),
        tolerate: Tolerance::Count(0),
        before: Duration::from_secs(2),
        lb_lag: Duration::from_secs(2),
        rolling: false,
        reloads: None,
        timeout: Duration::from_secs(5),
        startup_timeout: Duration::from_secs(5),
        waits: false,
        grace_period: Duration::from_secs(30),
        insecure: false,
        grace_is_given: false,
        ready_url: None,
        readyz: None,
        expected: BTreeSet::new(),
        exit_status: BTreeSet::from([0]),
        repeat: 1,
        tune: false,
        baseline: None,
        limits: baseline::CanaryLimits::default(),
        outputs: Vec::new(),
        show_output: false,
        verbosity: Default::default(),
        details: Details { level: LogLevel::Info, json: false },
        jobs: None,
    }
}

/// A plan for a command that nobody knows.
pub(super) fn own() -> DrillPlan {
    own_of(&["app"], &[])
}

/// A plan for this command, under graceful with these flags or bare.
pub(super) fn own_of(command: &[&str], flags: &[&str]) -> DrillPlan {
    let words = |all: &[&str]| all.iter().map(|word| (*word).into()).collect();
    plan(Subject::Own {
        command: words(command),
        way: Supervision::Bare,
        flags: words(flags),
        signal: Signal::TERM,
        demo: None,
    })
}

/// A plan for a process that is stopped by its pid.
pub(super) fn by_pid() -> DrillPlan {
    plan(Subject::Pid { pid: 7, signal: Signal::TERM })
}

/// A plan for a target that a command stops.
pub(super) fn by_command() -> DrillPlan {
    plan(Subject::Command("stop".to_owned()))
}

pub(super) fn record(kind: ClientKind, sent_s: f64, took_s: f64, outcome: RequestOutcome) -> Record {
    Record {
        kind,
        target: 0,
        intended_s: sent_s,
        sent_s,
        ended_s: sent_s + took_s,
        outcome,
        status: None,
        reused: false,
        port: None,
        detail: String::new(),
    }
}

pub(super) fn drill(requests: Vec<Record>) -> Drill {
    Drill {
        stopped_at: Some("2025-03-04T10:20:30Z".to_owned()),
        rate: 100,
        lb_lag_s: 2.0,
        grace_period_s: 30.0,
        requests,
        ..Drill::empty("bare".to_owned(), super::evidence::Mode::Bare)
    }
}

/// The app exited this many seconds after the stop.
pub(super) fn facts(exit_s: f64, status: ExitStatus) -> Observations {
    Observations {
        result: StopResult::AppExited(Exit { at_s: exit_s, status: Some(status) }),
        accepts_after: Some(false),
        ..Observations::default()
    }
}

/// The stop command exited this many seconds after its start.
pub(super) fn command_ended(took_s: f64, code: u8) -> Observations {
    let exit = Exit { at_s: took_s, status: Some(ExitStatus::Exited(code)) };
    Observations { result: StopResult::CommandExited(exit), ..Observations::default() }
}

pub(super) fn good() -> Vec<Record> {
    (-20..=20).map(|tenth| record(ClientKind::New, f64::from(tenth) / 10.0, 0.01, RequestOutcome::Ok)).collect()
}

/// Those of [`good`] that are sent until this time.
pub(super) fn good_until(last_s: f64) -> Vec<Record> {
    good().into_iter().filter(|record| record.sent_s <= last_s).collect()
}

/// Judges a drill under graceful where that was in charge, else a bare one.
pub(super) fn judged(requests: Vec<Record>, facts: &Observations, plan: &DrillPlan) -> Drill {
    judged_for(2.0, requests, facts, plan)
}

/// The same with a load balancer that sends on for this many seconds.
pub(super) fn judged_for(lag_s: f64, requests: Vec<Record>, facts: &Observations, plan: &DrillPlan) -> Drill {
    let way = if facts.supervised { Supervision::Supervised } else { Supervision::Bare };
    judge(Drill { lb_lag_s: lag_s, ..drill(requests) }, facts, plan, way, -2.0)
}

pub(super) fn check<'a>(drill: &'a Drill, name: &str) -> &'a Check {
    drill.checks.iter().find(|check| check.name == name).unwrap()
}

/// A report of a stop of an app that got SIGTERM this many seconds after it, with what was in flight then, and died of
/// it.
pub(super) fn reported(told_s: f64, busy: usize, delay_s: f64) -> Report {
    let text = serde_json::json!({
        "graceful": "0", "program": "app", "started_at": "", "stop_began_at": "", "ran_s": 9.0,
        "cause": {"kind": "signal", "signal": "SIGTERM"}, "stop_signal_sender": 1,
        "generation": 1, "restarts": 0,
        "app": {"pid": 7, "status": {"signal": "SIGTERM", "code": 143}, "ended_before_signal": false, "spawn_error": null},
        "exit_code": 143,
        "budget": {"grace_period_s": 30.0, "kill_margin_s": 1.0, "pre_stop_delay_s": delay_s, "used_s": 2.0, "left_s": 27.0},
        "phases": [{"phase": "pre-stop", "start_s": 0.0, "duration_s": told_s}],
        "signals": [{"at_s": told_s, "signal": "SIGTERM", "to": 7, "name": "app", "reason": "stop", "error": null}],
        "hooks": [], "readiness": [], "checks": [],
        "in_flight": [{"moment": "signal", "at_s": told_s, "busy": busy, "unknown": 0, "idle": 1, "unaccepted": 0}],
        "hold_mode": "idle", "hold": "idle after 0 s", "hold_timed_out": false, "nothing_listens": false, "not_watched": [],
        "answer_went_on": null, "undelivered": null,
        "leftovers": {"found": 0, "killed": 0, "not_waited_for": 0, "orphans_reaped": 0, "ended_by_themselves": 0},
        "sigkill": false, "killed_from_outside": null, "oom_kills": 0, "warnings": [], "events_forgotten": 0,
        "complete": true,
    });
    serde_json::from_value(text).unwrap()
}

/// What is seen under graceful, which told the app at this time.
pub(super) fn supervised(told_s: f64, report: Report) -> Observations {
    Observations {
        supervised: true,
        no_handler: true,
        report: Some(report),
        ..facts(told_s + 0.01, ExitStatus::Signaled(Signal::TERM))
    }
}

/// A report of a graceful that sent SIGKILL at this time.
pub(super) fn killed_at(at_s: f64, report: Report) -> Report {
    let mut report = Report { sigkill: true, ..report };
    report.phases.push(PhaseSpan { phase: Phase::Kill, start_s: at_s, duration_s: 0.1 });
    report
}

/// Asserts that the stories are those of the file.
#[track_caller]
pub(super) fn is_told(seen: &str, wanted: &str) {
    let differs = seen.lines().zip(wanted.lines()).find(|(seen, wanted)| seen != wanted);
    assert!(seen == wanted, "all that was told:\n{seen}\nthe first line that differs, and what it was: {differs:#?}");
}

/// The app exited like this, whatever else was seen.
pub(super) fn exited(at_s: f64, status: ExitStatus, facts: Observations) -> Observations {
    Observations { result: StopResult::AppExited(Exit { at_s, status: Some(status) }), ..facts }
}

/// So that a test can name a check by its text.
impl PartialEq<&str> for CheckName {
    fn eq(&self, other: &&str) -> bool {
        self.name() == *other
    }
}

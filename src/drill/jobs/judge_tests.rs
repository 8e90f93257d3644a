use super::*;
use crate::drill::evidence::Cause;
use crate::drill::facts::StopResult;
use crate::drill::jobs::ledger::Look;
use crate::drill::stage::inconclusive;
use crate::signal::Signal;
use crate::timeline::LogLevel;
use clap::ValueEnum;
use std::time::Duration;

fn ids(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Four jobs before the stop, which is at 10 s, of which these are done and queued in the end.
fn ledger(done: &str, queued: Option<&str>) -> Ledger {
    let mut ledger = Ledger::default();
    ledger.submit(ids("a b c d"), 9.0).unwrap();
    let look = |at: f64, done: &str| Look { began_s: at, ended_s: at + 0.1, queued: queued.map(ids), done: ids(done) };
    ledger.look(look(9.5, "a"), false);
    ledger.look(look(14.0, done), true);
    ledger
}

fn plan(extra: &str) -> DrillPlan {
    let subject = Subject::Own {
        command: vec!["worker".into()],
        way: Supervision::Bare,
        flags: Vec::new(),
        signal: Signal::TERM,
        demo: None,
    };
    DrillPlan {
        subject,
        targets: Default::default(),
        headers: Vec::new(),
        rate: 5,
        mix: Default::default(),
        before: Duration::from_secs(2),
        lb_lag: Duration::from_secs(2),
        rolling: false,
        reloads: None,
        timeout: Duration::from_secs(30),
        startup_timeout: Duration::from_secs(30),
        waits: false,
        grace_period: Duration::from_secs(30),
        grace_is_given: false,
        insecure: false,
        ready_url: None,
        readyz: None,
        expected: extra.split_whitespace().map(|name| CheckName::from_str(name, false).unwrap()).collect(),
        tolerate: crate::drill::plan::Tolerance::Count(0),
        exit_status: [0].into(),
        repeat: 1,
        tune: false,
        baseline: None,
        limits: Default::default(),
        outputs: Vec::new(),
        show_output: false,
        verbosity: Default::default(),
        details: crate::drill::plan::Details { level: LogLevel::Info, json: false },
        jobs: None,
    }
}

fn seen() -> Seen {
    Seen { began_s: 8.0, stop_s: 10.0, is_told: true, wanted: 4, ..Seen::default() }
}

/// The worker exited this many seconds after the stop.
fn facts(exit_s: f64, status: ExitStatus) -> Observations {
    let exit = Exit { at_s: exit_s, status: Some(status) };
    Observations { result: StopResult::AppExited(exit), ..Observations::default() }
}

fn judged(ledger: &Ledger, seen: &Seen, facts: &Observations, plan: &DrillPlan) -> Drill {
    let stopped_at = Some("2026-01-01T00:00:00Z".to_owned());
    let drill = Drill { inconclusive: None, stopped_at, ..inconclusive(plan, Supervision::Bare, String::new()) };
    judge(drill, ledger, seen, facts, plan, Supervision::Bare)
}

fn result(drill: &Drill, name: &str) -> CheckResult {
    drill.checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("no {name}")).result
}

const CLEAN: ExitStatus = ExitStatus::Exited(0);

#[test]
fn nothing_lost_passes_with_the_numbers() {
    let drill = judged(&ledger("a b c", Some("d")), &seen(), &facts(1.0, CLEAN), &plan(""));
    assert_eq!(drill.verdict, Verdict::Passed, "{drill:?}");
    assert_eq!(drill.checks[0].evidence, "4 jobs: 3 done, 1 still queued, none lost");
    let names: Vec<&str> = drill.checks.iter().map(|check| check.name.name()).collect();
    assert_eq!(names, ["nothing-lost", "exit-in-time", "exit-status", "nothing-left", "signal-handled"]);
    assert!(drill.findings.is_empty() && drill.remarks.is_empty(), "{drill:?}");
}

#[test]
fn a_lost_job_fails_with_its_id_its_cause_and_its_fix() {
    let died = facts(0.1, ExitStatus::Signaled(Signal::TERM));
    let drill = judged(&ledger("a b", Some("d")), &seen(), &Observations { no_handler: true, ..died }, &plan(""));
    assert_eq!(drill.verdict, Verdict::Failed);
    assert_eq!(drill.checks[0].evidence, "4 jobs: 2 done, 1 still queued, 1 lost (c)");
    let [finding] = &drill.findings[..] else { panic!("{:?}", drill.findings) };
    assert_eq!((finding.cause, finding.dropped), (Cause::JobsNoHandler, 1));
    assert_eq!(finding.checks, ["nothing-lost", "exit-status", "signal-handled"], "one cause, said once");
    assert_eq!(drill.checks[0].causes, [Cause::JobsNoHandler]);
}

#[test]
fn who_dies_of_the_signal_and_loses_nothing_passes() {
    let died = facts(0.1, ExitStatus::Signaled(Signal::TERM));
    let drill = judged(&ledger("a b c", Some("d")), &seen(), &Observations { no_handler: true, ..died }, &plan(""));
    assert_eq!(drill.verdict, Verdict::Passed, "{drill:?}");
    // The neighbouring case: another status is the worker's own word.
    let drill = judged(&ledger("a b c", Some("d")), &seen(), &facts(0.1, ExitStatus::Exited(3)), &plan(""));
    assert_eq!((drill.verdict, result(&drill, "exit-status")), (Verdict::Failed, CheckResult::Fail));
}

#[test]
fn what_cannot_be_told_is_inconclusive_and_not_lost() {
    let untold = Seen { is_told: false, ..seen() };
    let drill = judged(&ledger("a b", None), &untold, &facts(1.0, CLEAN), &plan(""));
    assert_eq!((drill.verdict, result(&drill, "nothing-lost")), (Verdict::Inconclusive, CheckResult::Unknown));
    let why = drill.inconclusive.unwrap();
    assert!(why.starts_with("2 of 4 jobs are not done, and it cannot be told") && why.contains("--queued"), "{why}");
    // Where all is done, no queue is needed.
    let drill = judged(&ledger("a b c d", None), &untold, &facts(1.0, CLEAN), &plan(""));
    assert_eq!(drill.verdict, Verdict::Passed);
}

#[test]
fn trouble_is_the_reason_before_all_others() {
    let troubled = Seen { trouble: Some("--done: it failed".to_owned()), is_told: false, ..seen() };
    let drill = judged(&ledger("a", None), &troubled, &facts(1.0, CLEAN), &plan(""));
    assert_eq!((drill.verdict, drill.inconclusive.as_deref()), (Verdict::Inconclusive, Some("--done: it failed")));
}

#[test]
fn a_stop_between_two_jobs_proves_nothing() {
    let mut idle = Ledger::default();
    idle.submit(ids("a"), 8.0).unwrap();
    idle.look(Look { began_s: 9.0, ended_s: 9.1, queued: Some(Vec::new()), done: ids("a") }, false);
    let drill = judged(&idle, &seen(), &facts(1.0, CLEAN), &plan(""));
    assert_eq!(drill.verdict, Verdict::Inconclusive);
    assert!(drill.inconclusive.unwrap().starts_with("no job was at work at the stop: raise --rate (now 5 a second)"));
}

#[test]
fn sigkill_fails_in_time_and_an_expected_failure_is_none() {
    let killed = Observations { killed_s: Some(3.0), ..facts(3.1, ExitStatus::Signaled(Signal::KILL)) };
    let drill = judged(&ledger("a b", Some("d")), &seen(), &killed, &plan(""));
    assert_eq!(result(&drill, "exit-in-time"), CheckResult::Fail);
    assert_eq!(drill.findings.len(), 1, "{:?}", drill.findings);
    assert_eq!(drill.findings[0].checks, ["nothing-lost", "exit-in-time", "exit-status"]);
    assert_eq!(
        (drill.findings[0].cause, &drill.findings[0].flags[..]),
        (Cause::JobsBudget, &["--grace-period=31s".to_owned()][..])
    );
    let expected = plan("nothing-lost exit-in-time exit-status");
    let drill = judged(&ledger("a b", Some("d")), &seen(), &killed, &expected);
    assert_eq!((drill.verdict, result(&drill, "nothing-lost")), (Verdict::Passed, CheckResult::Expected));
}

#[test]
fn who_did_not_end_fails_in_time() {
    let drill = judged(&ledger("a b c", Some("d")), &seen(), &Observations::default(), &plan(""));
    assert_eq!((drill.verdict, result(&drill, "exit-in-time")), (Verdict::Failed, CheckResult::Fail));
}

#[test]
fn who_ignores_the_signal_or_goes_on_does_not_handle_it() {
    let killed = Observations { killed_s: Some(3.0), ..facts(3.1, ExitStatus::Signaled(Signal::KILL)) };
    let ignores = Observations { ignores: true, ..killed };
    let drill = judged(&ledger("a b c", Some("d")), &seen(), &ignores, &plan(""));
    assert_eq!(result(&drill, "signal-handled"), CheckResult::Fail);
    let killed = Observations { ignores: false, ..ignores };
    let mut goes_on = Ledger::default();
    goes_on.submit(ids("a"), 9.9).unwrap();
    goes_on.submit(ids("b"), 10.5).unwrap();
    goes_on.look(Look { began_s: 12.0, ended_s: 12.1, queued: Some(Vec::new()), done: ids("a b") }, false);
    let drill = judged(&goes_on, &seen(), &killed, &plan(""));
    assert_eq!(result(&drill, "signal-handled"), CheckResult::Fail);
    assert!(drill.findings.iter().all(|finding| finding.cause == Cause::JobsSignalIgnored), "{:?}", drill.findings);
}

#[test]
fn what_looks_like_a_fault_and_is_none_is_remarked() {
    let drill = judged(&ledger("a a b c x", Some("c d y")), &seen(), &facts(1.0, CLEAN), &plan(""));
    assert_eq!(drill.verdict, Verdict::Passed);
    let [twice, again, others] = &drill.remarks[..] else { panic!("{:?}", drill.remarks) };
    assert!(twice.starts_with("1 job was done twice"), "{twice}");
    assert!(again.starts_with("1 job is done and still in the queue"), "{again}");
    assert!(
        others.starts_with("--done and --queued printed 2 ids that this drill did not submit, as \"x\""),
        "{others}"
    );
    let slow = Seen { wanted: 9, ..seen() };
    let drill = judged(&ledger("a b c", Some("d")), &slow, &facts(1.0, CLEAN), &plan(""));
    assert!(drill.remarks[0].starts_with("4 jobs were submitted where --rate asked for 9"), "{:?}", drill.remarks);
}

#[test]
fn the_timeline_speaks_of_jobs() {
    let drill = judged(&ledger("a b c", Some("d")), &seen(), &facts(1.0, CLEAN), &plan(""));
    let words: Vec<&str> = drill.timeline.iter().map(|moment| moment.words.as_str()).collect();
    assert_eq!(
        words,
        [
            "the first jobs are submitted",
            "stop",
            "the app exits: exit status 0",
            "no more jobs are submitted",
            "the last of the jobs that were open at the stop is done",
        ]
    );
    assert_eq!(drill.at(TimelineMarkKind::LoadBegins), Some(-2.0));
}

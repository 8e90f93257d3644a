use super::*;
use proptest::prelude::*;

fn jobs(lost: usize) -> JobCounts {
    JobCounts { submitted: 10, done: 10 - lost, lost, ..JobCounts::default() }
}

fn exited(at_s: f64, status: ExitStatus) -> Option<Exit> {
    Some(Exit { at_s, status: Some(status) })
}

/// A worker under graceful that exited with 0 this many seconds after the stop, and whose jobs take three seconds.
fn ending(jobs: &JobCounts, exit_s: f64) -> Ending<'_> {
    Ending {
        jobs,
        supervised: true,
        signal: Some(Signal::TERM),
        told_s: 0.0,
        exit: exited(exit_s, ExitStatus::Exited(0)),
        killed_s: None,
        killed_from_outside: false,
        oom_kills: 0,
        no_handler: false,
        ignores: false,
        known: None,
        longest_s: Some(3.0),
        taken_after_signal: 0,
        grace_s: 30.0,
    }
}

fn known(name: &'static str, signal: Signal, limit_s: Option<u64>) -> Option<Known> {
    let limit = limit_s.map(|seconds| (Duration::from_secs(seconds), "the default of --own-limit".to_owned()));
    Some(Known { name, signal: Some(signal), limit })
}

fn killed(jobs: &JobCounts, at_s: f64) -> Ending<'_> {
    Ending {
        exit: exited(at_s, ExitStatus::Signaled(Signal::KILL)),
        killed_s: Some(at_s),
        grace_s: at_s + 1.0,
        ..ending(jobs, at_s)
    }
}

#[track_caller]
fn says(told: &Told, cause: Cause, words: &str, fix: &str) {
    assert_eq!(told.cause, cause, "{told:?}");
    assert!(told.words.contains(words), "no {words:?} in {:?}", told.words);
    assert!(told.fix.contains(fix), "no {fix:?} in {:?}", told.fix);
}

#[test]
fn a_budget_that_is_shorter_than_a_job_is_told_with_one_that_is_not() {
    let jobs = jobs(2);
    let words =
        "2 jobs are lost: SIGKILL came 3 s after the stop, in the middle of its jobs: the budget is shorter than a job";
    says(&of_lost(&killed(&jobs, 3.0)), Cause::JobsBudget, words, "raise --grace-period to 5s or more");
    let longer = Ending { longest_s: Some(9.2), told_s: 1.0, ..killed(&jobs, 3.0) };
    says(
        &of_lost(&longer),
        Cause::JobsBudget,
        "up to 9.2 s from the submission",
        "raise --grace-period to 13s or more",
    );
    // What is set already is never advised.
    let odd = Ending { longest_s: Some(28.5), grace_s: 30.0, killed_s: Some(29.0), ..killed(&jobs, 29.0) };
    says(&of_lost(&odd), Cause::JobsBudget, "the budget", "raise --grace-period to 31s or more");
    says(&too_late(&killed(&jobs, 3.0)), Cause::JobsBudget, "SIGKILL came 3 s after the stop", "--grace-period");
}

#[test]
fn a_limit_of_its_own_beyond_the_budget_is_named_with_it() {
    let jobs = jobs(1);
    let end = Ending { known: known("dramatiq", Signal::TERM, Some(600)), ..killed(&jobs, 3.0) };
    says(&of_lost(&end), Cause::JobsBudget, "", ", or let the worker give up before that (--own-limit)");
    let end = Ending { known: known("sidekiq", Signal::TERM, Some(2)), ..killed(&jobs, 3.0) };
    assert!(!of_lost(&end).fix.contains("give up"));
}

#[test]
fn who_goes_on_after_the_signal_needs_a_handler_and_no_time() {
    let jobs = jobs(1);
    let ignores = Ending { ignores: true, ..killed(&jobs, 3.0) };
    says(&of_lost(&ignores), Cause::JobsSignalIgnored, "the worker ignores SIGTERM", "handle SIGTERM in the worker");
    let goes_on = Ending { taken_after_signal: 1, ..killed(&jobs, 3.0) };
    says(&of_lost(&goes_on), Cause::JobsSignalIgnored, "went on taking jobs after SIGTERM", "take no more jobs");
    for end in [ignores, goes_on] {
        assert!(!of_lost(&end).fix.contains("--grace-period"));
    }
}

#[test]
fn who_had_the_time_hangs() {
    let jobs = jobs(1);
    says(
        &of_lost(&killed(&jobs, 29.0)),
        Cause::JobsHung,
        "although it had time for its longest job",
        "what it waits for",
    );
    let unknown = Ending { longest_s: None, ..killed(&jobs, 29.0) };
    says(&of_lost(&unknown), Cause::JobsBudget, "the budget is shorter", "--grace-period");
}

#[test]
fn who_never_ended_is_told_of() {
    let jobs = jobs(1);
    let end = Ending { exit: None, grace_s: 3.0, ..ending(&jobs, 0.0) };
    says(&of_lost(&end), Cause::JobsBudget, "it was still there at the end", "--grace-period");
}

#[test]
fn sigkill_from_elsewhere_is_nobodys_budget() {
    let jobs = jobs(1);
    let by_kill = Ending { exit: exited(1.0, ExitStatus::Signaled(Signal::KILL)), ..ending(&jobs, 1.0) };
    let words = "another process sent it SIGKILL 1 s after the stop";
    says(&of_lost(&by_kill), Cause::JobsKilledFromOutside, words, "find who does");
    let reported = Ending { killed_from_outside: true, oom_kills: 1, ..ending(&jobs, 1.0) };
    says(&of_lost(&reported), Cause::JobsKilledFromOutside, "for want of memory", "more memory");
}

#[test]
fn sigkill_as_the_stop_signal_is_nobodys_fault_but_the_queues() {
    let jobs = jobs(1);
    let exit = exited(0.1, ExitStatus::Signaled(Signal::KILL));
    let end =
        Ending { signal: Some(Signal::KILL), exit, known: known("celery", Signal::TERM, None), ..ending(&jobs, 0.1) };
    says(&of_lost(&end), Cause::JobsAckedEarly, "SIGKILL leaves no time", "task_acks_late = True");
}

#[test]
fn a_known_worker_with_another_signal_gets_its_own() {
    let jobs = jobs(1);
    let huey = Ending { known: known("huey", Signal::INT, None), ..ending(&jobs, 0.1) };
    let words = "huey finishes its jobs on SIGINT, and SIGTERM is what it got";
    says(&of_lost(&huey), Cause::JobsWrongSignal, words, "--profile huey");
    let bare = Ending { supervised: false, ..huey.clone() };
    says(&of_lost(&bare), Cause::JobsWrongSignal, words, "run it under graceful, whose profile huey sends that");
    says(&no_handler(&huey), Cause::JobsWrongSignal, words, "--profile huey");
    // With its own signal it is another cause.
    let right = Ending { signal: Some(Signal::INT), ..huey };
    says(&of_lost(&right), Cause::JobsDropped, "exited 100 ms after SIGINT", "wait for the jobs");
}

#[test]
fn who_dies_of_the_signal_has_no_handler() {
    let jobs = jobs(1);
    let died = Ending { exit: exited(0.1, ExitStatus::Signaled(Signal::TERM)), ..ending(&jobs, 0.1) };
    says(&of_lost(&died), Cause::JobsNoHandler, "1 job is lost: the worker died of SIGTERM", "handle SIGTERM");
    let seen = Ending { no_handler: true, ..ending(&jobs, 0.1) };
    says(&of_lost(&seen), Cause::JobsNoHandler, "it has no handler", "handle SIGTERM");
    says(&no_handler(&seen), Cause::JobsNoHandler, "dies of it at once", "--drain-file");
    // By another signal than its own: not that.
    let other = Ending { exit: exited(0.1, ExitStatus::Signaled(Signal::INT)), ..ending(&jobs, 0.1) };
    assert_eq!(of_lost(&other).cause, Cause::JobsDropped);
}

#[test]
fn its_own_limit_is_told_when_it_was_over() {
    let jobs = jobs(1);
    let limited = |exit_s: f64| Ending { known: known("dramatiq", Signal::TERM, Some(2)), ..ending(&jobs, exit_s) };
    let words = "dramatiq gave up on them 2.1 s after SIGTERM, when its own limit was over";
    says(&of_lost(&limited(2.1)), Cause::JobsOwnLimit, words, "raise --own-limit above the longest job");
    assert!(of_lost(&limited(2.1)).fix.contains("--grace-period (now 30 s) has to be longer"));
    assert_eq!(of_lost(&limited(1.0)).cause, Cause::JobsDropped, "it was not over");
    // A limit that has room for every job is not what cut them off.
    let roomy = Ending { longest_s: Some(1.0), ..limited(2.1) };
    assert_eq!(of_lost(&roomy).cause, Cause::JobsAckedEarly);
    // From the signal on, not from the stop.
    let delayed = Ending { told_s: 1.5, ..limited(2.1) };
    assert_eq!(of_lost(&delayed).cause, Cause::JobsDropped);
}

#[test]
fn who_exits_sooner_than_a_job_takes_does_not_wait_for_it() {
    let jobs = jobs(1);
    let words = "exited 1 s after SIGTERM (exit status 0) without waiting for the jobs that it had taken";
    says(&of_lost(&ending(&jobs, 1.0)), Cause::JobsDropped, words, "wait for the jobs that it has taken");
    says(&of_lost(&ending(&jobs, 3.1)), Cause::JobsAckedEarly, "in its own time", "acknowledge a job when it is done");
    let unknown = Ending { longest_s: None, ..ending(&jobs, 1.0) };
    assert_eq!(of_lost(&unknown).cause, Cause::JobsAckedEarly);
}

#[test]
fn late_acknowledgement_is_named_as_the_worker_has_it() {
    let jobs = jobs(1);
    for (name, how) in
        [("celery", "task_acks_late = True"), ("sidekiq", "super_fetch"), ("rq", "retries"), ("arq", "AMQP")]
    {
        let end = Ending { known: known(name, Signal::TERM, None), ..ending(&jobs, 3.1) };
        says(&of_lost(&end), Cause::JobsAckedEarly, "", how);
    }
}

/// What is drawn for an ending: jobs lost, the exit, SIGKILL, whether it exits, flags, the longest job, its own limit.
type Drawn = (usize, f64, Option<f64>, bool, [bool; 4], Option<f64>, Option<u64>);

fn some_ending() -> impl Strategy<Value = Drawn> {
    (
        1usize..9,
        0.0..40.0f64,
        prop::option::of(0.0..40.0f64),
        any::<bool>(),
        any::<[bool; 4]>(),
        prop::option::of(0.0..60.0f64),
        prop::option::of(1u64..100),
    )
}

proptest! {
    /// Whatever was seen: there is one cause, with words and a fix, and a budget is never advised that is there
    /// already.
    #[test]
    fn every_ending_has_a_cause_and_a_fix_that_changes_something(
        (lost, exit_s, killed_s, exits, [no_handler, ignores, outside, supervised], longest_s, limit) in some_ending(),
        grace_s in 1.0..60.0f64,
    ) {
        let jobs = jobs(lost);
        let end = Ending {
            supervised,
            exit: exited(exit_s, ExitStatus::Exited(0)).filter(|_| exits),
            killed_s,
            killed_from_outside: outside,
            no_handler,
            ignores,
            known: known("celery", Signal::TERM, limit),
            longest_s,
            grace_s,
            ..ending(&jobs, exit_s)
        };
        let told = of_lost(&end);
        prop_assert!(told.cause != Cause::Other && !told.words.is_empty() && !told.fix.is_empty());
        if let Some((_, rest)) = told.fix.split_once("raise --grace-period to ") {
            let advised: f64 = rest.split('s').next().unwrap().parse().unwrap();
            prop_assert!(advised > grace_s && advised > longest_s.unwrap_or(0.0) + 1.0, "{}", told.fix);
        }
    }
}

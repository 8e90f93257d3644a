use super::super::testing::{check, document, drill, finding, request, worker};
use super::*;
use crate::drill::evidence::{Mode, TimelineMark};

const NONE: Paint = Paint(false);

fn failing() -> Drill {
    let mut failing = drill(vec![
        request(ClientKind::New, -0.5, RequestOutcome::Ok),
        request(ClientKind::New, 0.5, RequestOutcome::Refused),
    ]);
    let long = "a word and another and so on ".repeat(9);
    failing.checks = vec![
        check("zero-dropped", CheckResult::Fail),
        check("in-flight", CheckResult::Fail),
        check("readiness", CheckResult::Fail),
        check("exit-status", CheckResult::Expected),
        check("gone-after", CheckResult::Unknown),
        check("nothing-left", CheckResult::Pass),
        check("signal-handled", CheckResult::Skipped),
    ];
    failing.findings = vec![
        finding(long.trim(), "mend it", &["zero-dropped", "in-flight"]),
        finding("allowed", "mend allowed", &["exit-status"]),
    ];
    failing.remarks = vec!["nothing but the hold saved it".into()];
    failing.verdict = Verdict::Failed;
    failing
}

#[test]
fn the_short_form_has_each_cause_once_and_what_no_cause_explains() {
    let text = text(&document(vec![failing()]), Verbosity::Short, NONE);
    assert!(text.starts_with("FAILED  All is well.\n\n  bare: app\n"), "{text}");
    for part in [
        "\n  fails   zero-dropped, in-flight\n",
        "\n  why     allowed\n  fix     mend allowed\n  fails   exit-status (expected)\n",
        "\n  FAIL    readiness: readiness was seen\n",
        "\n  unknown gone-after: gone-after was seen\n",
        "\n  note    nothing but the hold saved it\n",
        "\n  pass    1 of 7 checks; 1 skipped\n",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    assert!(!text.contains("nothing-left was seen") && !text.contains("SIGTERM was sent"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn the_full_form_has_the_rest_too() {
    let text = text(&document(vec![failing()]), Verbosity::Full, NONE);
    for part in ["nothing-left was seen", "SIGTERM was sent", "new  1 ok, 1 refused", "fails   zero-dropped, in-flight"]
    {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn the_quiet_form_is_the_verdict() {
    assert_eq!(text(&document(vec![failing()]), Verbosity::Quiet, NONE), "FAILED  All is well.\n");
}

#[test]
fn of_several_the_worst_is_shown_and_of_a_comparison_both() {
    let (mut good, mut worse) = (drill(vec![request(ClientKind::New, 0.0, RequestOutcome::Ok)]), failing());
    (good.title, worse.title) = ("good".into(), "worse".into());
    let rounds = text(&document(vec![good.clone(), worse.clone()]), Verbosity::Short, NONE);
    assert!(rounds.contains("worse: app") && !rounds.contains("good: app"), "{rounds}");
    (good.title, worse.title) = ("under graceful".into(), "bare".into());
    good.mode = Mode::Supervised;
    let both = text(&document(vec![worse, good]), Verbosity::Short, NONE);
    assert!(both.contains("zero-dropped                 FAIL              pass"), "{both}");
    assert!(both.contains("  bare: app") && both.contains("  under graceful: app"), "{both}");
}

#[test]
fn both_charts_of_a_comparison_have_the_same_time() {
    let mut short = drill(vec![request(ClientKind::New, -1.0, RequestOutcome::Ok)]);
    let mut long = drill(vec![
        request(ClientKind::New, -1.0, RequestOutcome::Ok),
        request(ClientKind::New, 9.0, RequestOutcome::Ok),
    ]);
    (short.lb_lag_s, long.lb_lag_s) = (1.0, 1.0);
    (short.title, long.title) = ("bare".into(), "under graceful".into());
    long.mode = Mode::Supervised;
    let text = text(&document(vec![short, long]), Verbosity::Short, NONE);
    let rulers: Vec<&str> =
        text.lines().filter(|line| line.trim_start().starts_with('S') && !line.contains("stop")).collect();
    assert!(rulers.len() == 2 && rulers[0] == rulers[1], "{text}");
}

#[test]
fn a_load_without_a_stop_draws_none() {
    let mut drill = drill(vec![request(ClientKind::New, 0.5, RequestOutcome::Ok)]);
    drill.timeline.clear();
    let text = text(&document(vec![drill]), Verbosity::Full, NONE);
    assert!(!text.contains("S stop") && !text.contains("before the stop"), "{text}");
}

#[test]
fn a_round_is_a_line() {
    let mut failed = failing();
    failed.timeline.push(TimelineMark { at_s: 2.5, what: TimelineMarkKind::Exit, words: "gone".into() });
    assert_eq!(round(&failed, 2, Some(3), NONE), "2 of 3  bare  FAILED  1 of 2 requests dropped, exit +2.500 s\n");
    (failed.verdict, failed.inconclusive) = (Verdict::Inconclusive, Some("it never listened\nlast words".into()));
    assert_eq!(round(&failed, 1, None, NONE), "1  bare  INCONCLUSIVE  it never listened\n");
}

#[test]
fn colours_are_for_a_terminal_only() {
    let document = document(vec![failing()]);
    assert!(!text(&document, Verbosity::Full, NONE).contains('\u{1b}'));
    assert!(text(&document, Verbosity::Full, Paint(true)).contains("\u{1b}[1;31mFAILED"));
}

#[test]
fn the_jobs_of_a_worker_stand_in_the_place_of_requests() {
    let text = text(&document(vec![worker()]), Verbosity::Full, NONE);
    for part in ["\n  jobs    4 submitted: 2 done, 1 queued, 1 lost\n", ". done, q queued, x lost", "SIGTERM was sent"]
    {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    let chart = text.lines().find(|line| line.starts_with("       jobs  ")).unwrap_or_default();
    assert!(chart.contains('.') && chart.contains('x') && chart.contains('q'), "{text}");
    assert!(!text.contains("requests a second") && !text.contains("latency"), "{text}");
    assert!(round(&worker(), 1, None, NONE).contains("FAILED  1 of 4 jobs lost"));
}

use super::super::testing::{NASTY, check, document, drill, finding, request, worker};
use super::*;
use crate::drill::evidence::{InFlightSeen, ShownPhase as Phase, TimelineMark};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// The requests that the first drawing of a page has, by outcome.
fn lines(page: &str, outcome: &str) -> usize {
    let svg = page.split("</svg>\n<svg").next().unwrap_or_default();
    let paths = svg.split("<path class=\"requests ").skip(1).filter_map(|rest| rest.split("/>").next());
    let mine = paths.filter(|path| outcome.is_empty() || path.contains(&format!("data-outcome=\"{outcome}\"")));
    mine.map(|path| path.split(" d=\"").nth(1).unwrap_or_default().matches('M').count()).sum()
}

/// A drill of four seconds at this many requests a second, of which those after the stop are refused.
fn busy(rate: u32) -> Drill {
    let requests = (0..rate * 4).map(|index| {
        let at_s = f64::from(index) / f64::from(rate) - 2.0;
        let outcome = if at_s > 0.0 { RequestOutcome::Refused } else { RequestOutcome::Ok };
        let kind = if index % 2 == 0 { ClientKind::New } else { ClientKind::Hot };
        let mut request = request(kind, at_s, outcome);
        request.ended_s += f64::from(index % 7) * 0.0013;
        if outcome == RequestOutcome::Refused {
            request.detail = "Connection refused (os error 111)".into();
        }
        request
    });
    let few = [ClientKind::Slow, ClientKind::Stream].map(|kind| request(kind, -1.5, RequestOutcome::Ok));
    drill(requests.chain(few).collect())
}

#[test]
fn what_others_said_is_no_markup_anywhere() {
    let mut failed = request(ClientKind::Slow, 0.5, RequestOutcome::Reset);
    failed.detail = NASTY.into();
    let mut drill = drill(vec![failed]);
    drill.title = NASTY.into();
    drill.command = vec!["app".into(), NASTY.into()];
    drill.stopped_at = Some(NASTY.into());
    drill.targets = vec![format!("GET {NASTY}")];
    drill.timeline = vec![TimelineMark { at_s: 0.0, what: TimelineMarkKind::Stop, words: NASTY.into() }];
    // One that has room for its name, and one that has not.
    drill.phases = vec![
        Phase { phase: NASTY.into(), start_s: 0.0, duration_s: 2.0 },
        Phase { phase: NASTY.into(), start_s: 2.0, duration_s: 0.1 },
    ];
    drill.in_flight = vec![InFlightSeen {
        moment: crate::timeline::InFlightMoment::Exit,
        at_s: 0.0,
        counts: crate::counts::Counts { busy: 1, ..Default::default() },
        clients: 1,
    }];
    let failed = |name| Check { evidence: NASTY.into(), ..check(name, CheckResult::Fail) };
    // One that is explained, and one that is not.
    drill.checks = vec![failed("zero-dropped"), failed("readiness")];
    drill.findings = vec![finding(NASTY, NASTY, &["zero-dropped"])];
    drill.remarks = vec![NASTY.into()];
    drill.inconclusive = Some(NASTY.into());
    let mut document = document(vec![drill]);
    document.headline = NASTY.into();
    document.graceful = NASTY.into();
    document.tuned = Some(Tuned { enough_s: None, too_short_s: Some(1.0), confirmed: 0, words: NASTY.into() });
    let page = page(&document);
    // One script is the page's own, and one is data.
    assert_eq!(page.matches("<script").count(), 2, "{page}");
    assert_eq!(page.matches("</script").count(), 2);
    assert!(page.contains("\\u003cscript>"), "{page}");
    assert!(page.matches("&lt;script&gt;&quot;&amp;&#39;&lt;/script&gt;").count() >= 18, "{page}");
}

#[test]
fn nothing_is_fetched() {
    let page = page(&document(vec![drill(vec![request(ClientKind::New, 0.0, RequestOutcome::Ok)])]));
    for fetching in ["src=", "href=", "url(", "@import", "fetch(", "<link", "unsafe-inline"] {
        assert!(!page.contains(fetching), "{fetching}");
    }
    assert!(STYLE.len() + SCRIPT.len() < 16 * 1024);
}

#[test]
fn the_policy_names_the_style_and_the_script_by_their_hashes() {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
    assert_eq!((STYLE_HASH, SCRIPT_HASH), (&*hash(STYLE), &*hash(SCRIPT)), "what is expected on the right");
}

#[test]
fn all_that_failed_and_a_sample_of_the_rest_is_drawn() {
    let many = (0..9000).map(|index| {
        let outcome = if index % 90 == 0 { RequestOutcome::Refused } else { RequestOutcome::Ok };
        request(ClientKind::New, f64::from(index) * 0.001, outcome)
    });
    let page = page(&document(vec![drill(many.collect())]));
    assert_eq!((lines(&page, ""), lines(&page, "refused")), (4000, 100));
    assert!(page.contains("4,000 of 9,000 requests are drawn: all 100 that are not ok"), "{page}");
    assert!(page.contains("data-outcome=\"refused\" data-count=\"100\""));
    assert!(page.contains("data-outcome=\"ok\" data-count=\"8900\""));
}

#[test]
fn more_failures_than_lines_leave_room_for_what_was_ok() {
    let page = page(&document(vec![busy(5000)]));
    let (ok, refused) = (lines(&page, "ok"), lines(&page, "refused"));
    assert!((1500..=2400).contains(&ok) && (2000..=2400).contains(&refused), "{ok} ok, {refused} refused");
    assert!(page.contains("even samples of the 9,999 that are not ok and of the 10,003 that are"), "no words");
}

#[test]
fn the_page_of_five_thousand_requests_a_second_is_under_two_megabytes() {
    let mut bare = busy(5000);
    bare.title = "bare".into();
    let one = page(&document(vec![bare.clone()])).len();
    let mut supervised = bare.clone();
    supervised.title = "under graceful".into();
    let both = page(&document(vec![bare.clone(), supervised])).len();
    let rounds = page(&document(vec![bare; 20])).len();
    assert!(one.max(both).max(rounds) < 2_000_000, "one {one}, both {both}, twenty rounds {rounds}");
}

#[test]
fn both_sides_of_a_comparison_have_the_same_time() {
    let mut bare = drill(vec![request(ClientKind::New, -1.0, RequestOutcome::Ok)]);
    let mut supervised = drill(vec![
        request(ClientKind::New, -1.0, RequestOutcome::Ok),
        request(ClientKind::New, 9.0, RequestOutcome::Ok),
    ]);
    (bare.title, supervised.title) = ("bare".into(), "under graceful".into());
    supervised.mode = crate::drill::evidence::Mode::Supervised;
    let page = page(&document(vec![bare, supervised]));
    let axes: Vec<String> = page
        .split("<svg class=\"timeline wide\"")
        .skip(1)
        .map(|svg| {
            let svg = svg.split("</svg>").next().unwrap_or_default();
            let ticks = svg.split("<text class=\"tick\" x=\"").skip(1).filter_map(|rest| rest.split('"').next());
            ticks.collect::<Vec<&str>>().join(" ")
        })
        .collect();
    assert!(axes.len() == 2 && axes[0] == axes[1] && !axes[0].is_empty(), "{axes:?}");
    assert!(page.contains("<div class=\"pair\">") && page.contains("<th>Bare<th>Under graceful"), "{page}");
}

#[test]
fn of_several_rounds_there_is_a_table_and_the_worst() {
    let good = drill(vec![request(ClientKind::New, 0.0, RequestOutcome::Ok)]);
    let mut worse = drill(vec![request(ClientKind::New, 0.0, RequestOutcome::Refused)]);
    worse.verdict = Verdict::Failed;
    let page = page(&document(vec![good.clone(), worse, good]));
    assert_eq!((page.matches("<section>").count(), page.matches(", shown below").count()), (1, 1), "{page}");
    assert!(page.contains("1 of 1 request dropped"), "{page}");
}

#[test]
fn findings_come_first_and_what_none_explains_is_told_too() {
    let mut drill = drill(vec![request(ClientKind::New, 0.5, RequestOutcome::Refused)]);
    drill.checks = vec![
        check("zero-dropped", CheckResult::Fail),
        check("readiness", CheckResult::Fail),
        check("exit-in-time", CheckResult::Unknown),
        check("gone-after", CheckResult::Pass),
    ];
    drill.findings = vec![finding("it was short", "run `graceful --hold idle` with --lb-lag", &["zero-dropped"])];
    drill.remarks = vec!["only the hold saved it".into()];
    let page = page(&document(vec![drill]));
    let at = |what: &str| page.find(what).unwrap_or_else(|| panic!("no {what:?} in {page}"));
    assert!(at("it was short") < at("readiness fails: readiness was seen"), "{page}");
    assert!(at("exit-in-time cannot be told") < at("only the hold saved it"), "{page}");
    assert!(
        at("only the hold saved it") < at("<svg class=\"timeline") && at("<svg class=\"timeline") < at("<h3>Checks")
    );
    at("run <code>graceful --hold idle</code> with <span class=\"whole\">--lb-lag</span>");
    assert!(!page.contains("gone-after cannot") && !page.contains("gone-after fails"), "{page}");
}

#[test]
fn a_load_without_a_stop_shows_none() {
    let mut drill = drill(vec![request(ClientKind::New, 0.5, RequestOutcome::Ok)]);
    drill.timeline.clear();
    let page = page(&document(vec![drill]));
    assert!(page.contains("nothing was stopped") && !page.contains("class=\"lag\""), "{page}");
    assert!(!page.contains("before the stop") && !page.contains("seconds from the stop"), "{page}");
}

#[test]
fn a_drill_in_which_nothing_happened_is_a_page_too() {
    let mut nothing = drill(Vec::new());
    nothing.timeline.clear();
    nothing.checks.clear();
    (nothing.stopped_at, nothing.lb_lag_s) = (None, 0.0);
    (nothing.verdict, nothing.inconclusive) = (Verdict::Inconclusive, Some("the app never listened".into()));
    let page = page(&document(vec![nothing]));
    assert!(page.contains("the app never listened") && page.contains("? inconclusive"), "{page}");
    assert!(page.contains("All 0 requests are drawn") && !page.contains("NaN") && !page.contains("inf"), "{page}");
}

#[test]
fn every_outcome_has_a_colour_in_both_modes_and_all_but_ok_a_sign() {
    let css = STYLE;
    for outcome in RequestOutcome::ALL {
        assert_eq!(css.matches(&format!("--{outcome}: ")).count(), 2, "{outcome}");
        assert_eq!(css.matches(&format!("o-{outcome} {{")).count(), 2, "{outcome}");
        assert_eq!(chart::sample(outcome).matches("class=\"end").count(), usize::from(outcome != RequestOutcome::Ok));
    }
}

#[test]
fn the_jobs_of_a_worker_are_drawn_over_time_and_the_lost_are_named() {
    let page = page(&document(vec![worker()]));
    for name in ["submitted", "queued", "done"] {
        assert_eq!(page.matches(&format!("data-jobs=\"{name}\" d=\"M")).count(), 2, "{name}: {page}");
    }
    for (name, number) in [("submitted", 4), ("done", 2), ("queued", 1), ("lost", 1)] {
        assert!(page.contains(&format!("data-jobs=\"{name}\">{number}</td>")), "{name}: {page}");
    }
    assert!(page.contains("1 of 4 jobs lost") && page.contains("Lost: <code>c&lt;script&gt;"), "{page}");
    assert!(!page.contains("requests/s") && !page.contains("Latency") && !page.contains("load balancer"), "{page}");
}

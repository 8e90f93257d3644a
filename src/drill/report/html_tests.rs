use super::super::testing::{NASTY, check, document, drill, request};
use super::*;
use crate::drill::evidence::{InFlight, Moment, Span, What};

fn lines(page: &str) -> usize {
    page.matches("<line class=").count()
}

#[test]
fn what_others_said_is_no_markup_anywhere() {
    let mut failed = request(Kind::Slow, 0.5, Outcome::Reset);
    failed.detail = NASTY.into();
    let mut drill = drill(vec![failed]);
    drill.title = NASTY.into();
    drill.command = vec!["app".into(), NASTY.into()];
    drill.stopped_at = Some(NASTY.into());
    drill.targets = vec![format!("GET {NASTY}")];
    drill.timeline = vec![Moment { at_s: 0.0, what: What::Stop, words: NASTY.into() }];
    // One that has room for its name, and one that has not.
    drill.phases = vec![
        Span { phase: NASTY.into(), start_s: 0.0, duration_s: 2.0 },
        Span { phase: NASTY.into(), start_s: 2.0, duration_s: 0.001 },
    ];
    drill.in_flight =
        vec![InFlight { moment: NASTY.into(), at_s: 0.0, busy: 1, unknown: 0, idle: 0, unaccepted: 0, clients: 1 }];
    let mut failed = check(NASTY, CheckResult::Fail);
    (failed.cause, failed.fix) = (Some(NASTY.into()), Some(NASTY.into()));
    drill.checks = vec![failed];
    drill.inconclusive = Some(NASTY.into());
    let mut document = document(vec![drill]);
    document.headline = NASTY.into();
    document.graceful = NASTY.into();
    document.tuned = Some(Tuned { enough_s: None, too_short_s: Some(1.0), confirmed: 0, words: NASTY.into() });
    let page = page(&document);
    // One script is the page's own.
    assert_eq!(page.matches("<script").count(), 1, "{page}");
    assert_eq!(page.matches("</script").count(), 1);
    assert!(page.matches("&lt;script&gt;&quot;&amp;&#39;&lt;/script&gt;").count() >= 18, "{page}");
}

#[test]
fn nothing_is_fetched() {
    let page = page(&document(vec![drill(vec![request(Kind::New, 0.0, Outcome::Ok)])]));
    for fetching in ["src=", "href=", "url(", "@import", "fetch(", "<link"] {
        assert!(!page.contains(fetching), "{fetching}");
    }
    assert!(include_str!("page.css").len() + include_str!("page.js").len() < 12 * 1024);
}

#[test]
fn all_that_failed_and_a_sample_of_the_rest_is_drawn() {
    let many = (0..9000).map(|index| {
        let outcome = if index % 90 == 0 { Outcome::Refused } else { Outcome::Ok };
        request(Kind::New, f64::from(index) * 0.001, outcome)
    });
    let page = page(&document(vec![drill(many.collect())]));
    assert_eq!(lines(&page), 4000);
    assert_eq!(page.matches("data-outcome=\"refused\" data-kind").count(), 100);
    assert!(page.contains("4,000 of 9,000 requests are drawn: all 100 that are not ok"), "{page}");
    assert!(page.contains("data-outcome=\"refused\" data-count=\"100\""));
    assert!(page.contains("data-outcome=\"ok\" data-count=\"8900\""));
}

#[test]
fn more_failures_than_lines_are_a_sample_and_the_page_says_so() {
    let many = (0..5000).map(|index| request(Kind::Hot, f64::from(index) * 0.001, Outcome::Reset));
    let page = page(&document(vec![drill(many.collect())]));
    assert_eq!(lines(&page), 4000);
    assert!(page.contains("4,000 of 5,000 requests are drawn: an even sample of the 5,000 that are not ok"));
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
    let css = include_str!("page.css");
    for outcome in Outcome::ALL {
        assert_eq!(css.matches(&format!("--{outcome}: ")).count(), 2, "{outcome}");
        assert_eq!(chart::sample(outcome).matches("class=\"end").count(), usize::from(outcome != Outcome::Ok));
    }
}

//! The document as one page that needs nothing else: to be opened from a CI artefact, mailed, or printed into an incident
//! review. Nothing in it is fetched, and nothing that an app or an option said is markup in it.

use super::chart;
use super::place::{self, MAX_LINES};
use super::text::{count, duration, escape, moment, plain};
use crate::drill::evidence::{Check, CheckResult, Document, Drill, Tuned, Verdict};
use crate::drill::record::{Kind, Outcome, Record};
use std::fmt::Write;

/// The page.
pub fn page(document: &Document) -> String {
    let mut page = String::with_capacity(256 * 1024);
    let headline = escape(&document.headline);
    page.push_str(include_str!("head.html"));
    let _ = writeln!(page, "<title>{}: {headline}</title>\n<style>", document.verdict.words());
    page.push_str(include_str!("page.css"));
    for outcome in Outcome::ALL {
        let _ = writeln!(
            page,
            ".o-{outcome} {{ stroke: var(--{outcome}); }} .full.o-{outcome} {{ fill: var(--{outcome}); }}"
        );
    }
    let _ = writeln!(page, "</style>\n</head>\n<body>\n<header>\n<h1>Drill {}</h1>", badge(document.verdict));
    let _ = writeln!(page, "<p class=\"lead\">{headline}</p>");
    if let Some(tuned) = &document.tuned {
        tune(&mut page, tuned);
    }
    page.push_str("</header>\n");
    for drill in &document.drills {
        section(&mut page, drill);
    }
    let _ = writeln!(
        page,
        "<p class=\"dim\">Written by graceful {}. Times are from the stop.</p>",
        escape(&document.graceful)
    );
    let _ = write!(page, "<script>\n{}</script>\n</body>\n</html>\n", include_str!("page.js"));
    page
}

fn badge(verdict: Verdict) -> String {
    let sign = match verdict {
        Verdict::Passed => "\u{2713}",
        Verdict::Failed => "\u{2717}",
        Verdict::Inconclusive => "?",
    };
    let words = verdict.words();
    format!("<span class=\"badge {words}\" data-verdict=\"{words}\">{sign} {words}</span>")
}

fn tune(page: &mut String, tuned: &Tuned) {
    let _ = write!(page, "<p>{}</p>\n<p class=\"dim\">", escape(&tuned.words));
    match tuned.enough_s {
        Some(enough) => _ = write!(page, "Enough: {} (confirmed by {} drills).", plain(enough), tuned.confirmed),
        None => page.push_str("No delay was enough."),
    }
    if let Some(too_short) = tuned.too_short_s {
        let _ = write!(page, " Too short: {}.", plain(too_short));
    }
    page.push_str("</p>\n");
}

fn section(page: &mut String, drill: &Drill) {
    let _ = writeln!(page, "<section>\n<h2>{} {}</h2>", escape(&drill.title), badge(drill.verdict));
    if !drill.command.is_empty() {
        let command = shell_words::join(&drill.command);
        let _ = writeln!(page, "<p><code class=\"command\">{}</code></p>", escape(&command));
    }
    let all = drill.requests.len();
    let _ = write!(
        page,
        "<p><b data-dropped=\"{0}\">{1} of {2} requests dropped.</b> ",
        drill.dropped,
        count(drill.dropped),
        count(all)
    );
    let _ = write!(page, "<span class=\"dim\">{} requests/s to {}; ", drill.rate, escape(&drill.targets.join(", ")));
    let _ = write!(page, "load balancer lag {}, grace period {}", plain(drill.lb_lag_s), plain(drill.grace_period_s));
    match &drill.stopped_at {
        Some(stopped_at) => _ = write!(page, "; stopped at {}", escape(stopped_at)),
        None => page.push_str("; it never came to the stop"),
    }
    page.push_str(".</span></p>\n");
    if let Some(reason) = &drill.inconclusive {
        let _ = writeln!(page, "<p class=\"inconclusive\"><b>Inconclusive:</b> {}</p>", escape(reason));
    }
    timeline(page, drill);
    checks(page, &drill.checks);
    page.push_str("<div class=\"columns\">\n<div>\n");
    moments(page, drill);
    page.push_str("</div>\n<div>\n");
    counts(page, &drill.requests);
    in_flight(page, drill);
    latency(page, drill);
    page.push_str("</div>\n</div>\n</section>\n");
}

fn timeline(page: &mut String, drill: &Drill) {
    let drawn = place::drawn(&drill.requests, MAX_LINES);
    page.push_str("<ul class=\"legend\">\n");
    for (outcome, number) in drill.counts.iter().filter(|(_, number)| **number > 0) {
        let _ = writeln!(
            page,
            "<li data-outcome=\"{outcome}\" data-count=\"{number}\"><button type=\"button\" aria-pressed=\"true\">{}<b>{}</b> {}</button></li>",
            chart::sample(*outcome),
            count(*number),
            outcome.words()
        );
    }
    page.push_str("</ul>\n<div class=\"scroll\">\n");
    page.push_str(&chart::svg(drill, &drawn));
    let (shown, all) = (drawn.len(), drill.requests.len());
    let _ = write!(page, "</div>\n<p class=\"dim\" data-drawn=\"{shown}\" data-total=\"{all}\">");
    let not_ok = drill.requests.iter().filter(|request| !request.outcome.is_ok()).count();
    let words = match (shown == all, not_ok <= MAX_LINES) {
        (true, _) => format!("All {} requests are drawn", count(all)),
        (false, true) => format!(
            "{} of {} requests are drawn: all {} that are not ok, and an even sample of the rest",
            count(shown),
            count(all),
            count(not_ok)
        ),
        (false, false) => format!(
            "{} of {} requests are drawn: an even sample of the {} that are not ok",
            count(shown),
            count(all),
            count(not_ok)
        ),
    };
    let _ = writeln!(page, "{words}; each from when it was sent to when its outcome was certain.</p>");
}

fn checks(page: &mut String, checks: &[Check]) {
    page.push_str(
        "<h3>Checks</h3>\n<table class=\"checks\">\n<thead><tr><th>Check<th>Result<th>Evidence</tr></thead>\n<tbody>\n",
    );
    for check in checks {
        let (class, result) = match check.result {
            CheckResult::Pass => ("pass", "\u{2713} pass"),
            CheckResult::Fail => ("fail", "\u{2717} fail"),
            CheckResult::Expected => ("expected", "\u{2717} expected"),
            CheckResult::Skipped => ("skipped", "\u{2013} skipped"),
        };
        let name = escape(&check.name);
        let _ = write!(
            page,
            "<tr data-check=\"{name}\" data-result=\"{class}\"><td>{name}</td><td class=\"r {class}\">{result}</td>"
        );
        let _ = write!(page, "<td><p>{}</p>", escape(&check.evidence));
        for (what, words) in [("Cause", &check.cause), ("Fix", &check.fix)] {
            if let Some(words) = words {
                let _ = write!(page, "<p><b>{what}:</b> {}</p>", escape(words));
            }
        }
        page.push_str("</td></tr>\n");
    }
    page.push_str("</tbody>\n</table>\n");
}

fn moments(page: &mut String, drill: &Drill) {
    page.push_str("<h3>What happened</h3>\n<table>\n<tbody>\n");
    // In the order of time, the phases among the moments.
    let moments = drill.timeline.iter().map(|moment| (moment.at_s, escape(&moment.words)));
    let phases = drill.phases.iter().map(|span| {
        let words = format!("phase {} begins, and lasts {}", span.phase, duration(span.duration_s));
        (span.start_s, format!("<span class=\"dim\">{}</span>", escape(&words)))
    });
    let mut all: Vec<(f64, String)> = moments.chain(phases).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (at_s, words) in all {
        let _ = writeln!(page, "<tr><td class=\"n\">{}</td><td>{words}</td></tr>", moment(at_s));
    }
    page.push_str("</tbody>\n</table>\n");
}

/// A row for each outcome that there was, a column for each kind.
fn counts(page: &mut String, requests: &[Record]) {
    page.push_str("<h3>Requests</h3>\n<table class=\"counts\">\n<thead><tr><th>Outcome");
    for kind in Kind::ALL {
        let _ = write!(page, "<th class=\"n\">{}", kind.name());
    }
    page.push_str("<th class=\"n\">all</tr></thead>\n<tbody>\n");
    for outcome in Outcome::ALL {
        let number = |kind: Option<Kind>| {
            requests.iter().filter(|r| r.outcome == outcome && kind.is_none_or(|kind| r.kind == kind)).count()
        };
        if number(None) == 0 {
            continue;
        }
        let _ = write!(page, "<tr><th>{outcome}</th>");
        for kind in Kind::ALL {
            let number = number(Some(kind));
            let zero = if number == 0 { " zero" } else { "" };
            let name = kind.name();
            let _ = write!(page, "<td class=\"n{zero}\" data-cell=\"{outcome} {name}\">{}</td>", count(number));
        }
        let _ = writeln!(page, "<td class=\"n\">{}</td></tr>", count(number(None)));
    }
    page.push_str("</tbody>\n</table>\n");
}

fn in_flight(page: &mut String, drill: &Drill) {
    page.push_str("<h3>Connections of the app</h3>\n");
    if drill.in_flight.is_empty() {
        page.push_str("<p class=\"dim\">Not looked at.</p>\n");
        return;
    }
    page.push_str(
        "<table>\n<thead><tr><th>At<th class=\"n\">When<th class=\"n\">busy<th class=\"n\">unknown<th class=\"n\">idle",
    );
    page.push_str("<th class=\"n\">not accepted<th class=\"n\">clients' requests</tr></thead>\n<tbody>\n");
    for seen in &drill.in_flight {
        let _ = write!(page, "<tr><th>{}</th><td class=\"n\">{}</td>", escape(&seen.moment), moment(seen.at_s));
        for number in [seen.busy, seen.unknown, seen.idle, seen.unaccepted, seen.clients] {
            let _ = write!(page, "<td class=\"n\">{}</td>", count(number));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table>\n");
}

fn latency(page: &mut String, drill: &Drill) {
    page.push_str("<h3>Latency of the requests that were ok</h3>\n<table>\n<thead><tr><th>Sent<th class=\"n\">requests<th class=\"n\">p50");
    page.push_str("<th class=\"n\">p90<th class=\"n\">p99<th class=\"n\">max</tr></thead>\n<tbody>\n");
    for (name, part) in [("before the stop", &drill.latency.before), ("after the stop", &drill.latency.after)] {
        let _ = write!(page, "<tr><th>{name}</th><td class=\"n\">{}</td>", count(part.count as usize));
        for seconds in [part.p50_s, part.p90_s, part.p99_s, part.max_s] {
            let cell = if part.count == 0 { "\u{2013}".to_string() } else { duration(seconds) };
            let _ = write!(page, "<td class=\"n\">{cell}</td>");
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table>\n");
}

#[cfg(test)]
#[path = "html_tests.rs"]
mod tests;

//! The document as one page that needs nothing else: to be opened from a CI artefact, mailed, or printed into an
//! incident review.
//!
//! From the top: the verdict; each root cause with its fix; the timeline; checks, numbers, and what happened, in words.
//! A comparison has both sides beside each other with the same time axis; several rounds are a table, and the worst of
//! them.
//!
//! Nothing is fetched, and nothing that an app or an option said is markup in it. Were it, nothing would come of it:
//! the page's Content-Security-Policy names its own style and its own script by their hashes, and nothing else may run
//! or be loaded.

use super::chart::{self, DrawnSpan, Size};
use super::place::{self, MAX_LINES};
use super::text::{compared, count, counted, duration, escape, lost, moment, plain, shown, targets};
use crate::drill::evidence::{
    Check, CheckName, CheckResult, Document, Drill, Fate, Finding, JobCounts, TimelineMarkKind, Tuned, Verdict,
};
use crate::drill::record::{ClientKind, Record, RequestOutcome};
use std::fmt::Write;

/// What is between the page's tags, byte for byte.
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// SHA-256 of those two in Base64, as a Content-Security-Policy has them. (A test of this module says what is right.)
const STYLE_HASH: &str = "poKjwMi99YXllpbNQMkffWd/qDx7U8LgP1LVeq8BM4k=";
const SCRIPT_HASH: &str = "eZiq1xM7t1YyHiGuKSMYcRvH2Gq9MOTwPI/VqoN7QPc=";

/// The page.
pub fn page(document: &Document) -> String {
    let mut page = String::with_capacity(512 * 1024);
    let headline = escape(&document.headline);
    let verdict = document.verdict.words();
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; \
         script-src 'sha256-{SCRIPT_HASH}'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{verdict}: {headline}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
    );
    let _ = writeln!(page, "<header>\n<h1>Drill {}</h1>", badge(document.verdict));
    let _ = writeln!(page, "<p class=\"lead\">{headline}</p>");
    if let Some(tuned) = &document.tuned {
        tune(&mut page, tuned);
    }
    page.push_str("</header>\n");
    let (drills, both) = (shown(document), compared(document));
    if document.drills.len() > drills.len() {
        rounds(&mut page, document, &drills);
    }
    if let Some((bare, supervised)) = both {
        comparison(&mut page, bare, supervised);
    }
    // The same time for all of them.
    let span = DrawnSpan::of(&drills);
    let _ = writeln!(page, "<div class=\"{}\">", if both.is_some() { "pair" } else { "one" });
    for drill in &drills {
        section(&mut page, drill, span, both.is_some(), MAX_LINES / drills.len());
    }
    let _ = write!(
        page,
        "</div>\n<footer>Written by graceful {}. Times are from the stop.</footer>\n<script>{SCRIPT}</script>\n</body>\n</html>\n",
        escape(&document.graceful)
    );
    page
}

/// Words in which what is between two backquotes is code, and no option is broken at its hyphens.
fn prose(text: &str) -> String {
    let escaped = escape(text);
    let parts: Vec<&str> = escaped.split('`').collect();
    let has_pairs = !parts.len().is_multiple_of(2);
    let mut prose = String::with_capacity(escaped.len() + 64);
    for (at, part) in parts.iter().enumerate() {
        match at % 2 {
            1 if has_pairs => _ = write!(prose, "<code>{part}</code>"),
            _ => {
                if at > 0 && !has_pairs {
                    prose.push('`');
                }
                for word in part.split_inclusive(char::is_whitespace) {
                    if word.starts_with("--") {
                        _ = write!(prose, "<span class=\"whole\">{}</span>", word.trim_end());
                        prose.push_str(&word[word.trim_end().len()..]);
                    } else {
                        prose.push_str(word);
                    }
                }
            }
        }
    }
    prose
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

/// A line for each round, and which of them is shown.
fn rounds(page: &mut String, document: &Document, shown: &[&Drill]) {
    page.push_str("<h3>Rounds</h3>\n<div class=\"scroll\"><table class=\"rounds\">\n<thead><tr><th class=\"n\">#<th>Drill<th>Verdict");
    page.push_str("<th>Lost<th class=\"n\">Exit</tr></thead>\n<tbody>\n");
    for (at, drill) in document.drills.iter().enumerate() {
        let here = if shown.iter().any(|shown| std::ptr::eq(*shown, drill)) { ", shown below" } else { "" };
        let exit = drill.at(TimelineMarkKind::Exit).map_or("\u{2013}".to_owned(), moment);
        let _ = writeln!(
            page,
            "<tr><td class=\"n\">{}</td><td>{}<span class=\"dim\">{here}</span></td><td class=\"r {2}\">{2}</td>\
             <td>{3}</td><td class=\"n\">{exit}</td></tr>",
            at + 1,
            escape(&drill.title),
            drill.verdict.words(),
            lost(drill),
        );
    }
    page.push_str("</tbody>\n</table></div>\n");
}

/// What the two sides came to, in two columns.
fn comparison(page: &mut String, bare: &Drill, supervised: &Drill) {
    page.push_str("<div class=\"scroll\"><table class=\"comparison\">\n<thead><tr><th><th>Bare<th>Under graceful</tr></thead>\n<tbody>\n");
    let exit = |drill: &Drill| drill.at(TimelineMarkKind::Exit).map_or("never".to_owned(), moment);
    let rows = [("lost", lost(bare), lost(supervised)), ("exit", exit(bare), exit(supervised))];
    for (name, left, right) in rows {
        let _ = writeln!(page, "<tr><th>{name}</th><td>{left}</td><td>{right}</td></tr>");
    }
    for check in &bare.checks {
        let cell = |check: Option<&Check>| match check {
            Some(check) => {
                let (class, words) = result(check.result);
                format!("<td class=\"r {class}\">{words}</td>")
            }
            None => "<td class=\"r skipped\">\u{2013}</td>".to_owned(),
        };
        let other = supervised.checks.iter().find(|other| other.name == check.name);
        let _ = writeln!(page, "<tr><th>{}</th>{}{}</tr>", escape(check.name.name()), cell(Some(check)), cell(other));
    }
    page.push_str("</tbody>\n</table></div>\n");
}

/// Six parts, so that those of two sections can be beside each other.
fn section(page: &mut String, drill: &Drill, span: DrawnSpan, is_pair: bool, room: usize) {
    let _ =
        writeln!(page, "<section>\n<div class=\"about\">\n<h2>{} {}</h2>", escape(&drill.title), badge(drill.verdict));
    if !drill.command.is_empty() {
        let command = shell_words::join(&drill.command);
        let _ = writeln!(page, "<p><code class=\"command\">{}</code></p>", escape(&command));
    }
    let _ = write!(page, "<p><b data-dropped=\"{}\">{}.</b> <span class=\"dim\">", drill.dropped, lost(drill));
    if !drill.requests.is_empty() {
        let _ = write!(page, "{} requests/s to {}; ", drill.rate, escape(&targets(drill)));
        let _ = write!(page, "load balancer lag {}, ", plain(drill.lb_lag_s));
    }
    let _ = write!(page, "grace period {}", plain(drill.grace_period_s));
    match (&drill.stopped_at, drill.at(TimelineMarkKind::Stop)) {
        (Some(stopped_at), Some(_)) => {
            _ = write!(page, "; <span class=\"whole\">stopped at {}</span>", escape(stopped_at))
        }
        (Some(_), None) => page.push_str("; nothing was stopped"),
        (None, _) => page.push_str("; it never came to the stop"),
    }
    page.push_str(".</span></p>\n</div>\n<div class=\"findings\">\n");
    if let Some(reason) = &drill.inconclusive {
        let _ = writeln!(page, "<p class=\"inconclusive\"><b>Inconclusive:</b> {}</p>", escape(reason));
    }
    findings(page, drill);
    page.push_str("</div>\n<figure>\n");
    timeline(page, drill, span, is_pair, room);
    page.push_str("</figure>\n<div>\n");
    checks(page, &drill.checks);
    page.push_str("</div>\n<div class=\"columns\">\n<div>\n");
    if let Some(jobs) = &drill.jobs {
        fates(page, jobs);
    }
    if !drill.requests.is_empty() || drill.jobs.is_none() {
        counts(page, &drill.requests);
    }
    in_flight(page, drill);
    if !drill.requests.is_empty() {
        latency(page, drill);
    }
    page.push_str("</div>\n<div>\n");
    moments(page, drill);
    page.push_str("</div>\n</div>\n</section>\n");
}

/// Each root cause with its fix and the checks that it fails, then the failures that no cause explains, then the
/// remarks.
fn findings(page: &mut String, drill: &Drill) {
    for Finding { words, fix, at_s, dropped, checks, .. } in &drill.findings {
        let of = |name: &CheckName| drill.checks.iter().find(|check| check.name == *name).map(|check| check.result);
        let counts = checks.iter().any(|name| of(name) == Some(CheckResult::Fail));
        let class = if counts { "" } else { " expected" };
        let _ = writeln!(page, "<div class=\"finding{class}\">\n<p class=\"why\">{}</p>", prose(words));
        let _ = writeln!(page, "<p class=\"fix\"><b>Fix:</b> {}</p>", prose(fix));
        let names: Vec<String> = checks
            .iter()
            .map(|name| {
                let expected = if of(name) == Some(CheckResult::Expected) { " (expected)" } else { "" };
                format!("{}{expected}", escape(name.name()))
            })
            .collect();
        let mut facts = vec![format!("fails {}", names.join(", "))];
        facts.extend((*dropped > 0).then(|| format!("{} dropped", counted(*dropped, "request"))));
        facts.extend(at_s.map(|at_s| format!("at {}", moment(at_s))));
        let _ = writeln!(page, "<p class=\"dim\">{}</p>\n</div>", facts.join(" \u{b7} "));
    }
    let explained = |check: &Check| drill.findings.iter().any(|finding| finding.checks.contains(&check.name));
    for check in drill.checks.iter().filter(|check| !explained(check)) {
        let (class, what) = match check.result {
            CheckResult::Fail => ("", "fails"),
            CheckResult::Unknown => (" expected", "cannot be told"),
            CheckResult::Pass | CheckResult::Expected | CheckResult::Skipped => continue,
        };
        let (name, evidence) = (escape(check.name.name()), escape(&check.evidence));
        let _ =
            writeln!(page, "<div class=\"finding{class}\">\n<p class=\"why\">{name} {what}: {evidence}</p>\n</div>");
    }
    for remark in &drill.remarks {
        let _ = writeln!(page, "<p class=\"remark\">{}</p>", prose(remark));
    }
    let passed = drill.checks.iter().filter(|check| check.result == CheckResult::Pass).count();
    if passed > 0 && passed == drill.checks.len() {
        let _ = writeln!(page, "<p class=\"r pass\">\u{2713} All {} passed.</p>", counted(passed, "check"));
    }
}

fn timeline(page: &mut String, drill: &Drill, span: DrawnSpan, is_pair: bool, room: usize) {
    let drawn = place::drawn(&drill.requests, room);
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
    page.push_str("</ul>\n");
    if drill.jobs.is_some() {
        page.push_str("<ul class=\"legend plain\">\n");
        for name in ["submitted", "queued", "done"] {
            let line = format!(
                "<svg viewBox=\"0 0 30 12\" aria-hidden=\"true\"><path class=\"jobs j-{name}\" d=\"M2 6H28\"/></svg>"
            );
            let _ = writeln!(page, "<li>{line}{name}</li>");
        }
        page.push_str("</ul>\n");
    }
    page.push_str(&chart::svg(drill, &drawn, span, if is_pair { Size::HALF } else { Size::WIDE }));
    page.push_str(&chart::svg(drill, &drawn, span, Size::NARROW));
    let _ = writeln!(page, "<script type=\"application/json\">{}</script>", chart::details(drill, &drawn));
    let (shown, all) = (drawn.len(), drill.requests.len());
    let _ = write!(page, "<figcaption class=\"dim\" data-drawn=\"{shown}\" data-total=\"{all}\">");
    let not_ok = drill.requests.iter().filter(|request| !request.outcome.is_ok()).count();
    let not_ok_drawn = drawn.iter().filter(|request| !request.outcome.is_ok()).count();
    let of = format!("{} of {} requests are drawn", count(shown), count(all));
    let words = match (shown == all, not_ok == not_ok_drawn) {
        _ if drill.jobs.is_some() && all == 0 => {
            "Jobs that were known to be submitted, queued and done, over time; each step is a look".to_owned()
        }
        (true, _) => format!("All {} requests are drawn", count(all)),
        (false, true) => format!("{of}: all {} that are not ok, and an even sample of the rest", count(not_ok)),
        (false, false) => {
            format!(
                "{of}: even samples of the {} that are not ok and of the {} that are",
                count(not_ok),
                count(all - not_ok)
            )
        }
    };
    let each = if all > 0 { "; each from when it was sent to when its outcome was certain" } else { "" };
    let numbers = if is_pair { "always" } else { "when-narrow" };
    let _ = writeln!(
        page,
        "{words}{each}.\
         <span class=\"{numbers}\"> The numbers are those of <i>What happened</i>.</span></figcaption>"
    );
}

fn result(result: CheckResult) -> (&'static str, &'static str) {
    match result {
        CheckResult::Pass => ("pass", "\u{2713} pass"),
        CheckResult::Fail => ("fail", "\u{2717} fail"),
        CheckResult::Expected => ("expected", "\u{2717} expected"),
        CheckResult::Skipped => ("skipped", "\u{2013} skipped"),
        CheckResult::Unknown => ("unknown", "? unknown"),
    }
}

fn checks(page: &mut String, checks: &[Check]) {
    page.push_str(
        "<h3>Checks</h3>\n<table class=\"checks\">\n<thead><tr><th>Check<th>Result<th>Evidence</tr></thead>\n<tbody>\n",
    );
    for check in checks {
        let (class, result) = result(check.result);
        let (name, evidence) = (escape(check.name.name()), escape(&check.evidence));
        let _ = writeln!(
            page,
            "<tr data-check=\"{name}\" data-result=\"{class}\"><td>{name}</td><td class=\"r {class}\">{result}</td><td>{evidence}</td></tr>"
        );
    }
    page.push_str("</tbody>\n</table>\n");
}

/// The moments in order of time, with the phases among them.
fn moments(page: &mut String, drill: &Drill) {
    page.push_str("<h3>What happened</h3>\n<table class=\"moments\">\n<tbody>\n");
    for (at, event) in chart::events(drill).iter().enumerate() {
        let dim = if event.phase.is_some() { " class=\"dim\"" } else { "" };
        let _ = writeln!(
            page,
            "<tr{dim}><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
            at + 1,
            moment(event.at_s),
            escape(&event.words)
        );
    }
    page.push_str("</tbody>\n</table>\n");
}

/// What became of the jobs, and which are lost.
fn fates(page: &mut String, jobs: &JobCounts) {
    /// More than anybody looks up by hand.
    const NAMED: usize = 50;
    page.push_str("<h3>Jobs</h3>\n<table class=\"jobs\">\n<tbody>\n");
    let rows = [
        ("submitted", jobs.submitted),
        ("done", jobs.done),
        ("queued", jobs.queued),
        ("lost", jobs.lost),
        ("cannot be told", jobs.unknown),
        ("done twice", jobs.done_twice),
        ("done, and queued again", jobs.done_and_queued),
        ("open at the stop", jobs.open_at_stop),
    ];
    for (name, number) in rows {
        let zero = if number == 0 { " zero" } else { "" };
        let _ =
            writeln!(page, "<tr><th>{name}</th><td class=\"n{zero}\" data-jobs=\"{name}\">{}</td></tr>", count(number));
    }
    page.push_str("</tbody>\n</table>\n");
    let lost: Vec<String> = jobs.list.iter().filter(|job| job.fate == Fate::Lost).map(|job| escape(&job.id)).collect();
    if !lost.is_empty() {
        let more = if lost.len() > NAMED { format!(" and {} more", count(lost.len() - NAMED)) } else { String::new() };
        let named = lost.iter().take(NAMED).map(String::as_str).collect::<Vec<&str>>().join(", ");
        let _ = writeln!(page, "<p class=\"dim\">Lost: <code>{named}</code>{more}</p>");
    }
}

/// A row for each outcome that there was, a column for each kind.
fn counts(page: &mut String, requests: &[Record]) {
    page.push_str("<h3>Requests</h3>\n<div class=\"scroll\"><table class=\"counts\">\n<thead><tr><th>Outcome");
    // Without a slow target there are no slow requests.
    let kinds: Vec<ClientKind> =
        ClientKind::ALL.into_iter().filter(|kind| requests.iter().any(|r| r.kind == *kind)).collect();
    for kind in &kinds {
        let _ = write!(page, "<th class=\"n\">{}", kind.name());
    }
    page.push_str("<th class=\"n\">all</tr></thead>\n<tbody>\n");
    for outcome in RequestOutcome::ALL {
        let number = |kind: Option<ClientKind>| {
            requests.iter().filter(|r| r.outcome == outcome && kind.is_none_or(|kind| r.kind == kind)).count()
        };
        if number(None) == 0 {
            continue;
        }
        let _ = write!(page, "<tr><th>{outcome}</th>");
        for kind in &kinds {
            let number = number(Some(*kind));
            let zero = if number == 0 { " zero" } else { "" };
            let name = kind.name();
            let _ = write!(page, "<td class=\"n{zero}\" data-cell=\"{outcome} {name}\">{}</td>", count(number));
        }
        let _ = writeln!(page, "<td class=\"n\">{}</td></tr>", count(number(None)));
    }
    page.push_str("</tbody>\n</table></div>\n");
}

fn in_flight(page: &mut String, drill: &Drill) {
    if drill.in_flight.is_empty() {
        return;
    }
    page.push_str("<h3>Connections of the app</h3>\n");
    page.push_str(
        "<div class=\"scroll\"><table>\n<thead><tr><th>At<th class=\"n\">When<th class=\"n\">busy<th class=\"n\">unknown<th class=\"n\">idle",
    );
    page.push_str("<th class=\"n\">not accepted<th class=\"n\">clients' requests</tr></thead>\n<tbody>\n");
    for seen in &drill.in_flight {
        let _ = write!(page, "<tr><th>{}</th><td class=\"n\">{}</td>", seen.moment, moment(seen.at_s));
        for number in [seen.counts.busy, seen.counts.unknown, seen.counts.idle, seen.counts.unaccepted, seen.clients] {
            let _ = write!(page, "<td class=\"n\">{}</td>", count(number));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table></div>\n");
}

fn latency(page: &mut String, drill: &Drill) {
    let names = match drill.at(TimelineMarkKind::Stop) {
        Some(_) => ["before the stop", "after the stop"],
        None => ["in the first part", "in the second part"],
    };
    page.push_str("<h3>Latency of the requests that were ok</h3>\n<div class=\"scroll\"><table>\n<thead><tr><th>Sent<th class=\"n\">requests<th class=\"n\">p50");
    page.push_str("<th class=\"n\">p90<th class=\"n\">p99<th class=\"n\">max</tr></thead>\n<tbody>\n");
    for (name, part) in names.into_iter().zip([&drill.latency.before, &drill.latency.after]) {
        let _ = write!(page, "<tr><th>{name}</th><td class=\"n\">{}</td>", count(part.count as usize));
        for seconds in [part.p50_s, part.p90_s, part.p99_s, part.max_s] {
            let cell = if part.count == 0 { "\u{2013}".to_string() } else { duration(seconds) };
            let _ = write!(page, "<td class=\"n\">{cell}</td>");
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table></div>\n");
}

#[cfg(test)]
#[path = "html_tests.rs"]
mod tests;

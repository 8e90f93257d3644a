//! The page of a drill in a real browser: what is drawn is what the document says, and it can be read.

use crate::support::{Exit, Proc};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use graceful::drill::evidence::Document;
use graceful::drill::record::{ClientKind, RequestOutcome};
use graceful::drill::report::html;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::process::Command;
use std::time::Duration;

/// A browser's first start on a busy machine.
const BROWSER: Duration = Duration::from_secs(90);

/// Looks at the page from inside, and leaves what it sees in it.
const PROBE: &str = r##"{
const all = selector => [...document.querySelectorAll(selector)];
const is_seen = element => element.getClientRects().length > 0;
const seen_of = selector => all(selector).filter(is_seen);
const drawn = {}, legend = {}, checks = {}, cells = {}, faint = [], overlaps = [], outside = [], torn = [];
for (const path of seen_of('svg.timeline .requests')) {
  const key = path.dataset.outcome + ' ' + path.dataset.kind;
  drawn[key] = (drawn[key] || 0) + path.getAttribute('d').match(/M/g).length;
}
for (const item of all('.legend li')) legend[item.dataset.outcome] = Number(item.dataset.count);
for (const row of all('tr[data-check]')) checks[row.dataset.check] = row.dataset.result;
for (const cell of all('td[data-cell]')) cells[cell.dataset.cell] = Number(cell.textContent.replace(/,/g, ''));
// Texts on texts, and texts that leave the drawing.
for (const svg of seen_of('svg.timeline')) {
  const box = svg.getBoundingClientRect();
  const texts = [...svg.querySelectorAll('text')].map(text => [text.textContent, text.getBoundingClientRect()]);
  texts.forEach(([name, a], index) => {
    if (a.left < box.left || a.right > box.right || a.top < box.top || a.bottom > box.bottom) outside.push(name);
    for (const [other, b] of texts.slice(index + 1)) {
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      // The boxes are those of the font: the letters themselves have some air.
      const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (wide > 0 && high > 2) overlaps.push(name + ' / ' + other);
    }
  });
}
// Cells in which a line has hardly a letter.
for (const cell of seen_of('td, th')) {
  const range = document.createRange();
  range.selectNodeContents(cell);
  const lines = new Set([...range.getClientRects()].map(line => Math.round(line.top))).size;
  if (lines > 2 && cell.textContent.length / lines < 7) torn.push(cell.textContent);
}
// WCAG's contrast with the page: 4.5 for texts, 3 for what is drawn.
const light = colour => {
  const parts = colour.match(/[\d.]+/g).slice(0, 3).map(part => part / 255);
  const [r, g, b] = parts.map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const paper = getComputedStyle(document.body).backgroundColor;
const contrast = (colour, under) => {
  const [a, b] = [light(colour), light(under)];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
};
for (const text of all('h1, h2, h3, p, td, th, button, footer, figcaption')) {
  const card = text.closest('.finding');
  const under = card ? getComputedStyle(card).backgroundColor : paper;
  if (contrast(getComputedStyle(text).color, under) < 4.5) faint.push(text.textContent);
}
for (const text of all('svg.timeline text:not(.lag-label)'))
  if (contrast(getComputedStyle(text).fill, paper) < 4.5) faint.push(text.textContent);
for (const line of all('.legend svg path:first-child'))
  if (contrast(getComputedStyle(line).stroke, paper) < 3) faint.push(line.getAttribute('class'));
// The pointer on the end of the first line that failed.
let hover = null, near = null;
const failed = seen_of('svg.timeline .requests.bad')[0];
if (failed) {
  const [x, y, long] = failed.getAttribute('d').match(/M([\d.]+) ([\d.]+)h([\d.]+)/).slice(1).map(Number);
  const at = new DOMPoint(x + long, y).matrixTransform(failed.getScreenCTM());
  failed.ownerSVGElement.dispatchEvent(new PointerEvent('pointermove', { clientX: at.x, clientY: at.y }));
  const tip = document.getElementById('tip');
  hover = { shown: !tip.hidden, text: tip.textContent };
  near = failed.ownerSVGElement.querySelector('.near').getAttribute('class');
}
// A click on the legend hides what it stands for.
document.querySelector('.legend [data-outcome=refused] button')?.click();
const visible = all('svg.timeline [data-outcome=refused]').filter(part => getComputedStyle(part).display !== 'none');
const seen = {
  drawn, legend, checks, cells, faint, overlaps, outside, torn, hover, near, paper,
  refused_after_click: visible.length,
  verdict: document.querySelector('h1 .badge').dataset.verdict,
  findings: seen_of('.finding .why').map(text => text.textContent),
  fixes: seen_of('.finding .fix').map(text => text.textContent),
  remarks: seen_of('.remark').map(text => text.textContent),
  injected: all('shop, body img').length,
  evil: document.body.dataset.evil || '',
  command: document.querySelector('.command').textContent,
  resources: performance.getEntriesByType('resource').map(entry => entry.name),
  labels: seen_of('svg.timeline .label').map(text => text.textContent),
  ticks: seen_of('svg.timeline').map(svg => [...svg.querySelectorAll('.tick')].map(tick => tick.getAttribute('x'))),
  tops: seen_of('section').map(section => ['.findings', 'figure', '.checks'].map(part =>
    Math.round(section.querySelector(part).getBoundingClientRect().top))),
  lefts: seen_of('section').map(section => Math.round(section.getBoundingClientRect().left)),
  width: innerWidth,
  page_width: document.documentElement.scrollWidth,
};
document.body.dataset.seen = encodeURIComponent(JSON.stringify(seen));
}"##;

fn document() -> Document {
    serde_json::from_str(include_str!("../fixtures/drill.json")).expect("the document is one")
}

/// A window of a desk, and the narrowest that the browser opens without a screen.
const WIDE: u32 = 1400;
const NARROW: u32 = 400;

/// What the browser shows in a window of this width, in light or in dark.
fn seen_in(chromium: &std::path::Path, page: &str, width: u32, dark: bool) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("drill.html");
    // The page's policy lets nothing else run: the probe has to be named in it.
    let hash = STANDARD.encode(Sha256::digest(PROBE));
    let named = page.replacen("script-src '", &format!("script-src 'sha256-{hash}' '"), 1);
    assert_ne!(named, page, "a page without a policy");
    let probed = named.replace("</body>", &format!("<script>{PROBE}</script></body>"));
    std::fs::write(&path, probed).unwrap();
    let mut browser = Command::new(chromium);
    browser.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
    browser.args(["--no-first-run", "--disable-background-networking"]);
    browser.arg(format!("--window-size={width},900"));
    browser.arg(format!("--user-data-dir={}", folder.path().join("profile").display()));
    browser.arg(format!("--blink-settings=preferredColorScheme={}", if dark { 0 } else { 1 }));
    browser.arg("--dump-dom").arg(format!("file://{}", path.display()));
    let (exit, dom, stderr) = Proc::spawn_group(&mut browser).wait_output(BROWSER);
    assert_eq!(exit, Exit::Code(0), "{stderr}");
    let (_, rest) = dom.split_once("data-seen=\"").unwrap_or_else(|| panic!("the probe did not run: {stderr}"));
    let coded = rest.split('"').next().unwrap();
    serde_json::from_str(&decoded(coded)).unwrap()
}

fn seen(chromium: &std::path::Path, document: &Document, dark: bool) -> Value {
    seen_in(chromium, &html::page(document), WIDE, dark)
}

/// The document, and the same app without graceful beside it: a shorter stop with other failures.
fn compared() -> Document {
    let mut document = document();
    let mut bare = document.drills[0].clone();
    bare.title = "bare".to_owned();
    bare.mode = graceful::drill::evidence::Mode::Bare;
    bare.phases.clear();
    bare.requests.retain(|request| request.ended_s < 2.5);
    bare.findings.truncate(1);
    document.drills.insert(0, bare);
    document
}

/// encodeURIComponent, backwards.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next().unwrap(), rest.next().unwrap()];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn the_browser_draws_what_the_document_says() {
    let Some(chromium) = crate::support::chromium() else { return };
    let document = document();
    let drill = &document.drills[0];
    let seen = seen(&chromium, &document, false);
    for outcome in RequestOutcome::ALL {
        let of = |kind| drill.requests.iter().filter(|r| r.outcome == outcome && r.kind == kind).count();
        for kind in ClientKind::ALL {
            let drawn = seen["drawn"][format!("{outcome} {}", kind.name())].as_u64().unwrap_or(0);
            assert_eq!(drawn, of(kind) as u64, "{outcome} {}", kind.name());
            let cell = seen["cells"][format!("{outcome} {}", kind.name())].as_u64().unwrap_or(0);
            assert_eq!(cell, of(kind) as u64, "{outcome} {} in the table", kind.name());
        }
        let legend = seen["legend"][outcome.name()].as_u64().unwrap_or(0);
        assert_eq!(legend, drill.counts.get(&outcome).copied().unwrap_or(0) as u64, "{outcome}");
    }
    for check in &drill.checks {
        let result = serde_json::to_value(check.result).unwrap();
        assert_eq!(seen["checks"][check.name.name()], result, "{}", check.name);
    }
    assert_eq!(seen["verdict"], "failed");
    let words: Vec<&str> = drill.findings.iter().map(|finding| finding.words.as_str()).collect();
    let fixes: Vec<String> = drill.findings.iter().map(|finding| format!("Fix: {}", finding.fix)).collect();
    assert!(words.len() == 3 && drill.remarks.len() == 1, "the document has what is looked for");
    assert_eq!((&seen["findings"], &seen["fixes"]), (&Value::from(words), &Value::from(fixes)));
    assert_eq!(seen["remarks"], Value::from(drill.remarks.clone()));
    // What the app's command line has in angle brackets is text.
    assert!(seen["command"].as_str().unwrap().contains("\"<shop & co>\""), "{}", seen["command"]);
    assert_eq!((&seen["injected"], &seen["resources"]), (&Value::from(0), &Value::Array(Vec::new())));
    let labels = seen["labels"].to_string();
    for label in
        ["stop 0.000 s", "signal to the app +2.001 s", "app exits", "pre-stop", "load balancer still sends (5 s)"]
    {
        assert!(labels.contains(label), "{label}: {labels}");
    }
}

#[test]
fn the_page_can_be_read_in_light_and_in_dark_and_at_any_width() {
    let Some(chromium) = crate::support::chromium() else { return };
    let mut papers = Vec::new();
    for (document, width, dark) in [
        (document(), WIDE, false),
        (document(), WIDE, true),
        (document(), NARROW, false),
        (compared(), WIDE, false),
        (compared(), NARROW, true),
    ] {
        let drills = document.drills.len();
        let seen = seen_in(&chromium, &html::page(&document), width, dark);
        for nothing in ["overlaps", "outside", "faint", "torn"] {
            assert_eq!(seen[nothing], Value::Array(Vec::new()), "{nothing}, {drills} drills, {width}, dark: {dark}");
        }
        let (window, page) = (seen["width"].as_u64().unwrap(), seen["page_width"].as_u64().unwrap());
        assert!(page <= window, "{drills} drills, {width}: the page is {page} wide in a window of {window}");
        assert!(window.abs_diff(width.into()) <= 120, "{width}: the window is {window} wide");
        papers.push(seen["paper"].to_string());
    }
    assert_ne!(papers[0], papers[1]);
}

#[test]
fn two_that_are_compared_stand_side_by_side_with_the_same_time() {
    let Some(chromium) = crate::support::chromium() else { return };
    let document = compared();
    let page = html::page(&document);
    let wide = seen_in(&chromium, &page, WIDE, false);
    let of = |name: &str, at: usize| wide[name][at].clone();
    assert!(of("lefts", 1).as_u64() > of("lefts", 0).as_u64().map(|left| left + 500), "{}", wide["lefts"]);
    // Each part of one begins where that of the other does.
    assert_eq!(of("tops", 0), of("tops", 1));
    assert_eq!(of("ticks", 0), of("ticks", 1));
    assert_eq!(wide["ticks"].as_array().map(Vec::len), Some(2), "{}", wide["ticks"]);
    let narrow = seen_in(&chromium, &page, NARROW, false);
    assert_eq!(narrow["lefts"][0], narrow["lefts"][1]);
    assert_eq!(narrow["ticks"][0], narrow["ticks"][1]);
}

#[test]
fn nothing_that_slips_into_the_page_runs() {
    let Some(chromium) = crate::support::chromium() else { return };
    let evil = "<script>document.body.dataset.evil += 'script'</script>\
                <img src=x onerror=\"document.body.dataset.evil += 'handler'\">\
                <style>body { background: rgb(1, 2, 3) !important }</style>\
                <p style=\"position: fixed\">p</p><header>";
    let page = html::page(&document()).replacen("<header>", evil, 1);
    let seen = seen_in(&chromium, &page, WIDE, false);
    assert_eq!(seen["evil"], "");
    // Its own style and script do.
    assert_eq!(seen["paper"], "rgb(255, 255, 255)");
    assert_eq!(seen["hover"]["shown"], true);
}

#[test]
fn labels_do_not_overlap_when_all_happens_at_once() {
    let Some(chromium) = crate::support::chromium() else { return };
    let mut document = document();
    let drill = &mut document.drills[0];
    // At the end, where there is the least room.
    for (index, moment) in drill.timeline.iter_mut().enumerate().skip(2) {
        moment.at_s = 5.5 + index as f64 * 0.001;
    }
    for (index, phase) in drill.phases.iter_mut().enumerate() {
        (phase.start_s, phase.duration_s) = (5.5 + index as f64 * 0.01, 0.01);
    }
    drill.lb_lag_s = 0.2;
    drill.grace_period_s = 5.55;
    let seen = seen(&chromium, &document, false);
    assert_eq!(seen["overlaps"], Value::Array(Vec::new()));
    assert_eq!(seen["outside"], Value::Array(Vec::new()));
}

#[test]
fn the_pointer_finds_a_request_and_the_legend_hides_some() {
    let Some(chromium) = crate::support::chromium() else { return };
    let seen = seen(&chromium, &document(), false);
    assert_eq!((&seen["hover"]["shown"], &seen["near"]), (&Value::from(true), &Value::from("near o-status")));
    let text = seen["hover"]["text"].as_str().unwrap();
    // The failures of the first group come first, and its first one is the error status.
    for part in
        ["new: answered with an error status", "status 503", "GET http://127.0.0.1:8080/?a=1&b=<2>", "new connection"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(seen["refused_after_click"], 0);
}

//! The page of a drill in a real browser: what is drawn is what the document says, and it can be read.

mod common;

use common::{Exit, Proc};
use graceful::drill::evidence::Document;
use graceful::drill::record::{Kind, Outcome};
use graceful::drill::report::html;
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

/// A browser's first start on a busy machine.
const BROWSER: Duration = Duration::from_secs(90);

/// Looks at the page from inside, and leaves what it sees in it.
const PROBE: &str = r##"<script>{
const all = selector => [...document.querySelectorAll(selector)];
const drawn = {}, legend = {}, checks = {}, cells = {}, faint = [], overlaps = [], outside = [];
for (const line of all('svg.timeline line[data-outcome]')) {
  const key = line.dataset.outcome + ' ' + line.dataset.kind;
  drawn[key] = (drawn[key] || 0) + 1;
}
for (const item of all('.legend li')) legend[item.dataset.outcome] = Number(item.dataset.count);
for (const row of all('tr[data-check]')) checks[row.dataset.check] = row.dataset.result;
for (const cell of all('td[data-cell]')) cells[cell.dataset.cell] = Number(cell.textContent.replace(/,/g, ''));
// Texts on texts, and texts that leave the drawing.
for (const svg of all('svg.timeline')) {
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
// WCAG's contrast with the page: 4.5 for texts, 3 for what is drawn.
const light = colour => {
  const parts = colour.match(/[\d.]+/g).slice(0, 3).map(part => part / 255);
  const [r, g, b] = parts.map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const paper = getComputedStyle(document.body).backgroundColor;
const contrast = colour => {
  const [a, b] = [light(colour), light(paper)];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
};
for (const text of all('h1, h2, h3, p, td, th, button'))
  if (contrast(getComputedStyle(text).color) < 4.5) faint.push(text.textContent);
for (const text of all('svg.timeline text:not(.lag-label)'))
  if (contrast(getComputedStyle(text).fill) < 4.5) faint.push(text.textContent);
for (const line of all('.legend svg path:first-child'))
  if (contrast(getComputedStyle(line).stroke) < 3) faint.push(line.getAttribute('class'));
// The pointer on the first line that failed.
const failed = document.querySelector('line.bad');
const at = new DOMPoint(failed.x2.baseVal.value, failed.y1.baseVal.value).matrixTransform(failed.getScreenCTM());
failed.ownerSVGElement.dispatchEvent(new PointerEvent('pointermove', { clientX: at.x, clientY: at.y }));
const tip = document.getElementById('tip');
const hover = { shown: !tip.hidden, text: tip.textContent };
// A click on the legend hides what it stands for.
document.querySelector('.legend [data-outcome=refused] button').click();
const visible = all('svg.timeline [data-outcome=refused]').filter(part => getComputedStyle(part).display !== 'none');
const seen = {
  drawn, legend, checks, cells, faint, overlaps, outside, hover,
  refused_after_click: visible.length,
  verdict: document.querySelector('h1 .badge').dataset.verdict,
  injected: all('shop, body img').length,
  command: document.querySelector('.command').textContent,
  resources: performance.getEntriesByType('resource').map(entry => entry.name),
  labels: all('svg.timeline .label').map(text => text.textContent),
  paper,
};
document.body.dataset.seen = encodeURIComponent(JSON.stringify(seen));
}</script>"##;

fn document() -> Document {
    serde_json::from_str(include_str!("apps/drill.json")).expect("the document is one")
}

/// What the browser shows, in light or in dark.
fn seen(chromium: &std::path::Path, document: &Document, dark: bool) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("drill.html");
    std::fs::write(&path, html::page(document).replace("</body>", &format!("{PROBE}</body>"))).unwrap();
    let mut browser = Command::new(chromium);
    browser.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
    browser.args(["--no-first-run", "--disable-background-networking", "--window-size=1280,900"]);
    browser.arg(format!("--user-data-dir={}", folder.path().join("profile").display()));
    browser.arg(format!("--blink-settings=preferredColorScheme={}", if dark { 0 } else { 1 }));
    browser.arg("--dump-dom").arg(format!("file://{}", path.display()));
    let (exit, dom, stderr) = Proc::spawn_group(&mut browser).wait_output(BROWSER);
    assert_eq!(exit, Exit::Code(0), "{stderr}");
    let (_, rest) = dom.split_once("data-seen=\"").unwrap_or_else(|| panic!("the probe did not run: {stderr}"));
    let coded = rest.split('"').next().unwrap();
    serde_json::from_str(&decoded(coded)).unwrap()
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
    let Some(chromium) = common::chromium() else { return };
    let document = document();
    let drill = &document.drills[0];
    let seen = seen(&chromium, &document, false);
    for outcome in Outcome::ALL {
        let of = |kind| drill.requests.iter().filter(|r| r.outcome == outcome && r.kind == kind).count();
        for kind in Kind::ALL {
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
        assert_eq!(seen["checks"][&check.name], result, "{}", check.name);
    }
    assert_eq!(seen["verdict"], "failed");
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
fn the_page_can_be_read_in_light_and_in_dark() {
    let Some(chromium) = common::chromium() else { return };
    let document = document();
    let mut papers = Vec::new();
    for dark in [false, true] {
        let seen = seen(&chromium, &document, dark);
        for nothing in ["overlaps", "outside", "faint"] {
            assert_eq!(seen[nothing], Value::Array(Vec::new()), "{nothing}, dark: {dark}");
        }
        papers.push(seen["paper"].to_string());
    }
    assert_ne!(papers[0], papers[1]);
}

#[test]
fn labels_do_not_overlap_when_all_happens_at_once() {
    let Some(chromium) = common::chromium() else { return };
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
    let Some(chromium) = common::chromium() else { return };
    let seen = seen(&chromium, &document(), false);
    assert_eq!(seen["hover"]["shown"], true);
    let text = seen["hover"]["text"].as_str().unwrap();
    // The failures of the first group come first, and its first one is the error status.
    for part in
        ["new: answered with an error status", "status 503", "GET http://127.0.0.1:8080/?a=1&b=<2>", "new connection"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(seen["refused_after_click"], 0);
}

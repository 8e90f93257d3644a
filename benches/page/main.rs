//! How large the page of a large drill is, and how long Chromium takes to open it.
//!
//! The drill is made here: 5,000 requests a second for two seconds before the stop and two after it, of which half are refused;
//! once alone, and once as both sides of a comparison. What is timed is the whole of Chromium, from its start to the picture of
//! the page, and the same with an empty page: the difference is the page's own. Medians of several rounds, in turns.
//!
//!     cargo bench --bench page

use graceful::drill::evidence::{Document, Drill};
use graceful::drill::record::{ClientKind, Record, RequestOutcome};
use graceful::drill::report::html;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const RATE: u32 = 5000;
const ROUNDS: usize = 5;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    if std::env::args().any(|argument| argument == "--list") {
        // A test runner that lists every target finds no test here.
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let (bare, supervised) = (drill("bare", true)?, drill("under graceful", false)?);
    let pages = [
        ("empty page", "<!DOCTYPE html><title>empty</title>".to_owned()),
        ("one drill", html::page(&document(vec![bare.clone()]))),
        ("comparison", html::page(&document(vec![bare, supervised]))),
    ];
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); pages.len()];
    for (at, (_, page)) in pages.iter().enumerate() {
        std::fs::write(folder.path().join(format!("{at}.html")), page)?;
    }
    for _ in 0..ROUNDS {
        for (at, times) in times.iter_mut().enumerate() {
            times.push(opened(folder.path(), &format!("{at}.html"))?);
        }
    }
    let median = |times: &[Duration]| {
        let mut times = times.to_vec();
        times.sort();
        times[times.len() / 2]
    };
    let empty = median(&times[0]);
    println!("{RATE} requests a second for 4 s; medians of {ROUNDS} rounds");
    for ((name, page), times) in pages.iter().zip(&times) {
        let whole = median(times);
        println!(
            "{name:<12}{:>9.1} kB   Chromium, from its start to the picture: {:>6.0} ms; the page's own part: {:>5.0} ms",
            page.len() as f64 / 1000.0,
            whole.as_secs_f64() * 1000.0,
            whole.saturating_sub(empty).as_secs_f64() * 1000.0
        );
    }
    Ok(())
}

fn opened(folder: &Path, page: &str) -> Result<Duration, Failure> {
    let mut browser = Command::new("chromium");
    browser.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]);
    browser.args(["--disable-background-networking", "--window-size=1280,2000"]);
    browser.arg(format!("--user-data-dir={}", folder.join("profile").display()));
    browser.arg(format!("--screenshot={}", folder.join("page.png").display()));
    browser.arg(format!("file://{}", folder.join(page).display()));
    let began = Instant::now();
    let status = browser.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let status = status.map_err(|error| format!("chromium cannot be run: {error}; on Debian: apt install chromium"))?;
    if !status.success() {
        return Err(format!("chromium failed: {status}").into());
    }
    Ok(began.elapsed())
}

fn drill(title: &str, has_failures: bool) -> Result<Drill, Failure> {
    let mut drill: Drill = serde_json::from_value(serde_json::json!({
        "title": title, "mode": if has_failures { "bare" } else { "supervised" }, "command": ["app"], "stopped_at": "2026-01-02T03:04:05Z", "rate": RATE, "lb_lag_s": 2.0,
        "grace_period_s": 30.0, "targets": ["GET http://127.0.0.1:8080/"],
        "timeline": [{ "at_s": 0.0, "what": "stop", "words": "stop" }], "phases": [], "counts": {}, "dropped": 0,
        "latency": {
            "before": { "count": 0, "p50_s": 0.0, "p90_s": 0.0, "p99_s": 0.0, "max_s": 0.0 },
            "after": { "count": 0, "p50_s": 0.0, "p90_s": 0.0, "p99_s": 0.0, "max_s": 0.0 },
        },
        "in_flight": [], "checks": [], "verdict": "failed", "requests": [],
    }))?;
    let records = (0..RATE * 4).map(|index| {
        let sent_s = f64::from(index) / f64::from(RATE) - 2.0;
        // One in two kinds, and answers of different lengths.
        let outcome = if sent_s > 0.0 && has_failures { RequestOutcome::Refused } else { RequestOutcome::Ok };
        let is_ok = outcome == RequestOutcome::Ok;
        Record {
            kind: if index % 2 == 0 { ClientKind::New } else { ClientKind::Hot },
            target: 0,
            intended_s: sent_s,
            sent_s,
            ended_s: sent_s + 0.002 + f64::from(index % 11) * 0.0007,
            outcome,
            status: is_ok.then_some(200),
            reused: index % 2 == 1,
            port: None,
            detail: if is_ok { String::new() } else { "Connection refused (os error 111)".to_owned() },
        }
    });
    drill.requests = records.collect();
    for request in &drill.requests {
        *drill.counts.entry(request.outcome).or_default() += 1;
    }
    drill.dropped = drill.lost().count();
    Ok(drill)
}

fn document(drills: Vec<Drill>) -> Document {
    let verdict = graceful::drill::evidence::Verdict::Failed;
    Document { graceful: "0.1.0".to_owned(), verdict, headline: "made for a bench".to_owned(), drills, tuned: None }
}

//! A verdict as a body: text as the Kubernetes API server prints it (kubernetes.io, "Kubernetes API health endpoints"),
//! or JSON.
//!
//! Everybody who can reach the port can read it: names, states and reasons of graceful's own making, nothing of the
//! app's command line or environment.

use super::board::StatusSnapshot;
use super::check::Breaker;
use super::verdict::{Checked, Item, Probe, ProbeVerdict, Situation};
use crate::timeline::Status;
use serde::Serialize;
use std::fmt::Write as _;
use std::time::Duration;

/// The text: "ok", or with `verbose` and on failure a line for each part.
pub fn text(probe: Probe, verdict: &ProbeVerdict, verbose: bool) -> String {
    if verdict.ok && !verbose {
        return "ok".to_owned();
    }
    let mut text = String::new();
    for item in &verdict.items {
        line(&mut text, item);
    }
    for name in &verdict.unmatched {
        _ = writeln!(text, "warn: nothing is called {name:?}, so it cannot be excluded");
    }
    let result = if verdict.ok { "passed" } else { "failed" };
    _ = writeln!(text, "{} check {result}", probe.name());
    text
}

fn line(text: &mut String, item: &Item) {
    let Item { name, ok, status, detail, excluded } = item;
    let why = if detail.is_empty() { String::new() } else { format!(": {detail}") };
    _ = match (excluded, ok, status) {
        (true, _, _) => writeln!(text, "[+]{name} excluded: ok"),
        (false, false, _) => writeln!(text, "[-]{name} failed{why}"),
        (false, true, Status::Healthy) => writeln!(text, "[+]{name} ok"),
        (false, true, Status::Degraded) => writeln!(text, "[+]{name} degraded{why}"),
        (false, true, Status::Unhealthy) => writeln!(text, "[+]{name} failed, not critical{why}"),
    };
}

#[derive(Serialize)]
struct Page<'a> {
    status: &'static str,
    probe: &'static str,
    phase: String,
    version: &'static str,
    uptime_s: f64,
    /// Of the parts that fail the probe.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failed: Vec<Failed<'a>>,
    /// What the lines of the text are.
    parts: Vec<Part<'a>>,
    /// Names of `?exclude=` that no part has.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    unmatched: &'a [String],
    checks: Vec<Check<'a>>,
}

#[derive(Serialize)]
struct Part<'a> {
    name: &'a str,
    status: &'static str,
    /// Whether the probe can pass with it.
    ok: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'a str,
    /// By `?exclude=`: it does not count.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    excluded: bool,
}

#[derive(Serialize)]
struct Failed<'a> {
    name: &'a str,
    detail: &'a str,
}

#[derive(Serialize)]
struct Check<'a> {
    name: &'a str,
    status: &'static str,
    critical: bool,
    latency_ms: Option<f64>,
    detail: &'a str,
    /// Since the last try.
    age_s: Option<f64>,
    breaker: &'static str,
}

/// The JSON. Times are seconds or milliseconds, as their names say; what is not known yet is null.
pub fn json(probe: Probe, verdict: &ProbeVerdict, situation: &Situation) -> String {
    let StatusSnapshot { now, phase, .. } = situation.standing;
    let failed = verdict.items.iter().filter(|item| !item.ok && !item.excluded);
    let page = Page {
        status: verdict.status.name(),
        probe: probe.name(),
        phase: phase.to_string(),
        version: env!("CARGO_PKG_VERSION"),
        uptime_s: rounded(now, 1.0),
        failed: failed.map(|item| Failed { name: item.name, detail: &item.detail }).collect(),
        parts: verdict.items.iter().map(part).collect(),
        unmatched: &verdict.unmatched,
        checks: situation.checks.iter().map(|check| described(check, now)).collect(),
    };
    // Cannot fail: no map has a key that is not a string.
    serde_json::to_string(&page).unwrap_or_default()
}

fn part<'a>(item: &'a Item<'a>) -> Part<'a> {
    let Item { name, ok, status, detail, excluded } = item;
    Part { name, status: status.name(), ok: *ok, detail, excluded: *excluded }
}

fn described<'a>(check: &Checked<'a>, now: Duration) -> Check<'a> {
    let tracker = check.tracker;
    let tried_at = tracker.tried_at();
    Check {
        name: check.name,
        status: tracker.status().map_or("unknown", Status::name),
        critical: check.critical,
        latency_ms: tried_at.map(|_| rounded(tracker.took(), 1000.0)),
        detail: tracker.detail(),
        age_s: tried_at.map(|at| rounded(now.saturating_sub(at), 1.0)),
        breaker: match tracker.breaker() {
            Breaker::Closed => "closed",
            Breaker::HalfOpen => "half-open",
            Breaker::Open => "open",
        },
    }
}

/// In units of `per_second` to the second, with three decimals.
fn rounded(duration: Duration, per_second: f64) -> f64 {
    (duration.as_secs_f64() * per_second * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::super::board::AppHealth;
    use super::super::check::{Attempt, CheckHistory, Rules};
    use super::super::verdict::judge;
    use super::*;
    use crate::config::FailReadiness;
    use crate::timeline::Phase;

    fn tracker(status: Status, detail: &str) -> CheckHistory {
        let second = Duration::from_secs(1);
        let rules = Rules {
            failure_threshold: 1,
            success_threshold: 1,
            breaker_after: Some(1),
            breaker_reset: second,
            degraded_after: None,
        };
        let mut tracker = CheckHistory::new(rules);
        let took = Duration::from_micros(1500);
        tracker.record(second, Attempt { status, detail: detail.to_owned(), said: None, took });
        tracker
    }

    fn situation<'a>(checks: Vec<Checked<'a>>) -> Situation<'a> {
        let standing = StatusSnapshot {
            now: Duration::from_millis(3250),
            phase: Phase::Running,
            phase_since: Duration::ZERO,
            t0: None,
            app_started: Some(Duration::ZERO),
            app: AppHealth::Running,
            hooks_done: true,
            was_ready: true,
            shows_no_life: false,
        };
        Situation { standing, fail_readiness: FailReadiness::AtStop, ready_url: None, checks }
    }

    #[test]
    fn text_is_as_the_api_server_prints_it() {
        let (db, cache) = (tracker(Status::Unhealthy, "connection refused"), tracker(Status::Unhealthy, "full"));
        let disk = tracker(Status::Degraded, "15% free");
        let situation = situation(vec![
            Checked { name: "db", critical: true, tracker: &db },
            Checked { name: "cache", critical: false, tracker: &cache },
            Checked { name: "disk", critical: true, tracker: &disk },
        ]);
        let rest = "[+]cache failed, not critical: full\n[+]disk degraded: 15% free\n[+]shutdown ok\n";
        let failed = judge(Probe::Ready, &situation, &[]);
        let expected =
            format!("[+]running ok\n[+]startup ok\n[-]db failed: connection refused\n{rest}readyz check failed\n");
        assert_eq!(text(Probe::Ready, &failed, false), expected);
        let exclude = ["db".to_owned(), "x\n".to_owned()];
        let passed = judge(Probe::Ready, &situation, &exclude);
        assert_eq!(text(Probe::Ready, &passed, false), "ok");
        let warning = "warn: nothing is called \"x\\n\", so it cannot be excluded\n";
        let expected =
            format!("[+]running ok\n[+]startup ok\n[+]db excluded: ok\n{rest}{warning}readyz check passed\n");
        assert_eq!(text(Probe::Ready, &passed, true), expected);
    }

    #[test]
    fn json_has_status_phase_version_uptime_and_each_check() {
        let db = tracker(Status::Unhealthy, "connection refused");
        let situation = situation(vec![Checked { name: "db", critical: true, tracker: &db }]);
        let page: serde_json::Value =
            serde_json::from_str(&json(Probe::Ready, &judge(Probe::Ready, &situation, &[]), &situation)).unwrap();
        let expected = serde_json::json!({
            "status": "unhealthy", "probe": "readyz", "phase": "running", "version": env!("CARGO_PKG_VERSION"),
            "uptime_s": 3.25, "failed": [{ "name": "db", "detail": "connection refused" }],
            "parts": [
                { "name": "running", "status": "healthy", "ok": true },
                { "name": "startup", "status": "healthy", "ok": true },
                { "name": "db", "status": "unhealthy", "ok": false, "detail": "connection refused" },
                { "name": "shutdown", "status": "healthy", "ok": true },
            ],
            "checks": [{
                "name": "db", "status": "unhealthy", "critical": true, "latency_ms": 1.5,
                "detail": "connection refused", "age_s": 2.25, "breaker": "open",
            }],
        });
        assert_eq!(page, expected);
        let live: serde_json::Value =
            serde_json::from_str(&json(Probe::Live, &judge(Probe::Live, &situation, &[]), &situation)).unwrap();
        assert_eq!((live["status"].as_str(), live.get("failed")), (Some("healthy"), None));
        let exclude = ["db".to_owned(), "nope".to_owned()];
        let verdict = judge(Probe::Ready, &situation, &exclude);
        let page: serde_json::Value = serde_json::from_str(&json(Probe::Ready, &verdict, &situation)).unwrap();
        assert_eq!((&page["status"], &page["unmatched"]), (&"healthy".into(), &serde_json::json!(["nope"])));
        assert_eq!((&page["parts"][2]["name"], &page["parts"][2]["excluded"]), (&"db".into(), &true.into()));
    }

    /// Whoever reads JSON is told no less than whoever reads text.
    #[test]
    fn json_has_all_that_the_text_has() {
        let (db, cache) = (tracker(Status::Unhealthy, "connection refused"), tracker(Status::Degraded, "slow"));
        let mut situation = situation(vec![
            Checked { name: "db", critical: true, tracker: &db },
            Checked { name: "cache", critical: false, tracker: &cache },
        ]);
        situation.standing.t0 = Some(Duration::from_secs(1));
        let url = super::super::verdict::ReadyUrl { ready: Some(false), detail: "503".to_owned() };
        situation.ready_url = Some(&url);
        for probe in Probe::ALL {
            let verdict = judge(probe, &situation, &["nope".to_owned()]);
            let (text, json) = (text(probe, &verdict, true), json(probe, &verdict, &situation));
            let page: serde_json::Value = serde_json::from_str(&json).unwrap();
            let parts = page["parts"].as_array().unwrap();
            let lines = text.lines().filter(|line| line.starts_with('[')).count();
            assert_eq!(parts.len(), lines, "{text}\n{json}");
            for (part, line) in parts.iter().zip(text.lines()) {
                let word = |key: &str| part[key].as_str().unwrap_or_default().to_owned();
                assert!(line.contains(&word("name")) && line.ends_with(&word("detail")), "{line}: {part}");
                assert_eq!(line.starts_with("[-]"), part["ok"] == false, "{line}: {part}");
            }
        }
    }
}

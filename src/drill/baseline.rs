//! A comparison with an earlier drill: error rate and latency, for a canary step. Pure.

use super::evidence::{Check, CheckResult, Drill};
use super::record::Outcome;
use serde_json::Value;

/// What is still right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Share of requests that may fail, from 0 to 1.
    pub max_error_rate: Option<f64>,
    /// The 99th percentile, in seconds.
    pub max_p99_s: Option<f64>,
    /// The same as a multiple of the baseline's.
    pub max_p99_ratio: Option<f64>,
    /// With fewer requests nothing is said.
    pub min_requests: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_error_rate: None, max_p99_s: None, max_p99_ratio: None, min_requests: 100 }
    }
}

/// The numbers that are compared: all requests of a drill together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Requests.
    pub count: u64,
    /// Of these not ok.
    pub failed: u64,
    /// Of those that were ok and paced, in seconds.
    pub p99_s: f64,
}

impl Sample {
    /// Of one drill.
    pub fn of(drill: &Drill) -> Sample {
        let count: usize = drill.counts.values().sum();
        let ok: usize = drill.counts.iter().filter(|(outcome, _)| outcome.is_ok()).map(|(_, count)| count).sum();
        let (before, after) = (drill.latency.before, drill.latency.after);
        Sample { count: count as u64, failed: (count - ok) as u64, p99_s: before.p99_s.max(after.p99_s) }
    }

    fn error_rate(self) -> f64 {
        if self.count == 0 { 0.0 } else { self.failed as f64 / self.count as f64 }
    }
}

/// Reads the document that an earlier drill wrote; its last drill counts. Of all that it holds these few numbers are looked
/// at, so that one of another version can be read, too.
pub fn read(text: &str) -> Result<Sample, String> {
    const NONE: &str = "not the JSON of a drill";
    let document: Value = serde_json::from_str(text).map_err(|error| format!("{NONE}: {error}"))?;
    let drills = document.get("drills").and_then(Value::as_array).ok_or(NONE)?;
    let drill = drills.last().ok_or("it holds no drill")?;
    let counts = drill.get("counts").and_then(Value::as_object).ok_or(NONE)?;
    let number = |value: &Value| value.as_u64().ok_or(NONE);
    let (mut count, mut ok) = (0, 0);
    for (outcome, value) in counts {
        count += number(value)?;
        if [Outcome::Ok, Outcome::OkClose].iter().any(|good| good.name() == outcome) {
            ok += number(value)?;
        }
    }
    let p99 = |part: &str| drill.get("latency")?.get(part)?.get("p99_s")?.as_f64();
    let p99_s = p99("before").zip(p99("after")).map(|(before, after)| before.max(after)).ok_or(NONE)?;
    Ok(Sample { count, failed: count - ok, p99_s })
}

/// The checks that the limits ask for, and why nothing can be said, if so.
pub fn compare(now: Sample, baseline: Option<Sample>, limits: &Limits) -> (Vec<Check>, Option<String>) {
    let mut checks = Vec::new();
    let asked = limits.max_error_rate.is_some() || limits.max_p99_s.is_some() || baseline.is_some();
    if !asked {
        return (checks, None);
    }
    for (whose, sample) in [("", Some(now)), ("the baseline has ", baseline)] {
        if let Some(Sample { count, .. }) = sample
            && count < limits.min_requests
        {
            let least = limits.min_requests;
            return (checks, Some(format!("{whose}{count} requests, fewer than --min-requests {least}")));
        }
    }
    // Without a limit of its own a canary may not fail more often than what it is to replace.
    let max_rate = limits.max_error_rate.or(baseline.map(Sample::error_rate));
    if let Some(max) = max_rate {
        let rate = now.error_rate();
        let evidence = format!(
            "{} of {} requests failed ({}), {} is the limit{}",
            now.failed,
            now.count,
            percent(rate),
            percent(max),
            baseline.map(|base| format!(", {} in the baseline", percent(base.error_rate()))).unwrap_or_default()
        );
        checks.push(check("error-rate", rate <= max, evidence, "more requests failed than --max-error-rate allows"));
    }
    if let Some(max) = limits.max_p99_s {
        let evidence = format!("p99 {}, {} is the limit", seconds(now.p99_s), seconds(max));
        checks.push(check("p99", now.p99_s <= max, evidence, "slower than --max-p99 allows"));
    }
    if let (Some(base), Some(max)) = (baseline, limits.max_p99_ratio) {
        let ratio = if base.p99_s > 0.0 { now.p99_s / base.p99_s } else { f64::INFINITY };
        let evidence = format!(
            "p99 {}, {} in the baseline: {ratio:.2} times, {max} is the limit",
            seconds(now.p99_s),
            seconds(base.p99_s)
        );
        checks.push(check("p99-ratio", ratio <= max, evidence, "slower than --max-p99-ratio allows"));
    }
    (checks, None)
}

fn check(name: &str, good: bool, evidence: String, cause: &str) -> Check {
    let result = if good { CheckResult::Pass } else { CheckResult::Fail };
    let cause = (!good).then(|| cause.to_owned());
    let fix = (!good).then(|| "keep the old version, or raise the limit if this is right".to_owned());
    Check { name: name.to_owned(), result, evidence, cause, fix }
}

fn percent(rate: f64) -> String {
    format!("{:.2} %", rate * 100.0)
}

fn seconds(value: f64) -> String {
    crate::timeline::text::human(std::time::Duration::from_secs_f64(value.max(0.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(count: u64, failed: u64, p99_s: f64) -> Sample {
        Sample { count, failed, p99_s }
    }

    fn results(now: Sample, baseline: Option<Sample>, limits: &Limits) -> Vec<(String, CheckResult)> {
        let (checks, why) = compare(now, baseline, limits);
        assert_eq!(why, None);
        checks.into_iter().map(|check| (check.name, check.result)).collect()
    }

    #[test]
    fn the_last_drill_of_a_document_is_read() {
        let drill = |failed: u64| {
            let latency = serde_json::json!({ "before": { "p99_s": 0.2 }, "after": { "p99_s": 0.1 } });
            serde_json::json!({ "counts": { "ok": 90, "ok-close": 7, "refused": failed }, "latency": latency })
        };
        let text = serde_json::json!({ "drills": [drill(1), drill(3)] }).to_string();
        assert_eq!(read(&text), Ok(sample(100, 3, 0.2)));
        for wrong in
            ["", "{}", "[1]", r#"{"drills": []}"#, r#"{"drills": [{}]}"#, r#"{"drills": [{"counts": {"ok": "x"}}]}"#]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_asked_nothing_said() {
        assert_eq!(compare(sample(1, 1, 9.0), None, &Limits::default()), (Vec::new(), None));
    }

    #[test]
    fn too_few_requests_say_nothing() {
        let limits = Limits { max_p99_s: Some(1.0), ..Limits::default() };
        assert_eq!(
            compare(sample(99, 0, 0.1), None, &limits).1.as_deref(),
            Some("99 requests, fewer than --min-requests 100")
        );
        assert_eq!(
            compare(sample(100, 0, 0.1), Some(sample(3, 0, 0.1)), &limits).1.as_deref(),
            Some("the baseline has 3 requests, fewer than --min-requests 100")
        );
        assert_eq!(results(sample(100, 0, 0.1), None, &limits), [("p99".to_owned(), CheckResult::Pass)]);
    }

    #[test]
    fn each_limit_is_a_check() {
        let limits =
            Limits { max_error_rate: Some(0.01), max_p99_s: Some(0.5), max_p99_ratio: Some(2.0), min_requests: 10 };
        let baseline = Some(sample(1000, 0, 0.1));
        for (now, expected) in [
            (sample(100, 1, 0.2), [CheckResult::Pass, CheckResult::Pass, CheckResult::Pass]),
            (sample(100, 2, 0.2), [CheckResult::Fail, CheckResult::Pass, CheckResult::Pass]),
            (sample(100, 0, 0.3), [CheckResult::Pass, CheckResult::Pass, CheckResult::Fail]),
            (sample(100, 0, 0.6), [CheckResult::Pass, CheckResult::Fail, CheckResult::Fail]),
        ] {
            let found: Vec<CheckResult> =
                results(now, baseline, &limits).into_iter().map(|(_, result)| result).collect();
            assert_eq!(found, expected, "{now:?}");
        }
    }

    #[test]
    fn a_baseline_alone_asks_for_no_more_errors_than_it_had() {
        let limits = Limits::default();
        let baseline = Some(sample(200, 2, 0.1));
        assert_eq!(results(sample(100, 1, 9.0), baseline, &limits), [("error-rate".to_owned(), CheckResult::Pass)]);
        assert_eq!(results(sample(100, 2, 0.1), baseline, &limits), [("error-rate".to_owned(), CheckResult::Fail)]);
    }
}

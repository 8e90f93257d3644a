//! A comparison with an earlier drill: error rate and latency, for a canary step. Pure.
//!
//! Failed requests are counted, and their number is exact. A percentile of the latency is known only as well as its
//! requests tell ([`super::statistics`]): a limit is kept or exceeded where the whole interval is on one side of it;
//! otherwise the drill is inconclusive.

use super::evidence::{Cause, Check, CheckName, CheckResult, Drill};
use super::record::{ClientKind, RequestOutcome};
use super::statistics::{Interval, percentile};
use crate::reason::Reason;
use serde::Deserialize;
use serde_json::Value;

/// The percentile of the latencies that is compared.
const P99: f64 = 0.99;
/// The default of [`CanaryLimits::p99_floor_s`]. A tick of the kernel's clock is 4 ms at HZ=250: a latency of less than
/// one or two of them is the machine's, not the app's.
pub const P99_FLOOR_S: f64 = 0.005;

/// What a canary may do at most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CanaryLimits {
    /// Share of requests that may fail, from 0 to 1.
    pub max_error_rate: Option<f64>,
    /// The 99th percentile, in seconds.
    pub max_p99_s: Option<f64>,
    /// The 99th percentile, as a multiple of the baseline's.
    pub max_p99_ratio: Option<f64>,
    /// What a lower percentile counts as for the multiple, in seconds.
    pub p99_floor_s: f64,
    /// With fewer requests the comparison is inconclusive.
    pub min_requests: u64,
}

impl Default for CanaryLimits {
    fn default() -> CanaryLimits {
        CanaryLimits {
            max_error_rate: None,
            max_p99_s: None,
            max_p99_ratio: None,
            p99_floor_s: P99_FLOOR_S,
            min_requests: 100,
        }
    }
}

/// The numbers that are compared: all requests of a drill together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// How many requests there were.
    pub count: u64,
    /// How many of them were not ok.
    pub failed: u64,
    /// The 99th percentile of those that were ok and paced, in seconds; none if there were none.
    pub p99_s: Option<Interval>,
}

/// The fields of a request that are compared.
#[derive(Debug, Deserialize)]
struct Asked {
    kind: ClientKind,
    intended_s: f64,
    ended_s: f64,
    outcome: RequestOutcome,
}

impl Sample {
    /// The numbers of one drill.
    pub fn of(drill: &Drill) -> Sample {
        let count: usize = drill.counts.values().sum();
        let ok: usize = drill.counts.iter().filter(|(outcome, _)| outcome.is_ok()).map(|(_, count)| count).sum();
        let paced = drill.requests.iter().filter(|record| record.outcome.is_ok() && record.kind.is_paced());
        let latencies: Vec<(f64, f64)> = paced.map(|record| (record.intended_s, record.latency_s())).collect();
        Sample { count: count as u64, failed: (count - ok) as u64, p99_s: percentile(&latencies, P99) }
    }

    fn error_rate(self) -> f64 {
        if self.count == 0 { 0.0 } else { self.failed as f64 / self.count as f64 }
    }
}

/// Reads the document that an earlier drill wrote; its last drill counts. Only these few numbers are looked at, so that
/// a document of another version can be read, too. If it has no requests, the percentile that it states is taken.
///
/// # Errors
/// The text is not the JSON of a drill.
pub fn read(text: &str) -> Result<Sample, Reason> {
    const NONE: &str = "not the JSON of a drill";
    let document: Value = serde_json::from_str(text).map_err(|error| format!("{NONE}: {error}"))?;
    let drills = document.get("drills").and_then(Value::as_array).ok_or(NONE)?;
    let drill = drills.last().ok_or("it holds no drill")?;
    let counts = drill.get("counts").and_then(Value::as_object).ok_or(NONE)?;
    let number = |value: &Value| value.as_u64().ok_or(NONE);
    let (mut count, mut ok) = (0, 0);
    for (outcome, value) in counts {
        count += number(value)?;
        if [RequestOutcome::Ok, RequestOutcome::OkClose].iter().any(|good| good.name() == outcome) {
            ok += number(value)?;
        }
    }
    let requests: Option<Vec<Asked>> = drill
        .get("requests")
        .and_then(|requests| Vec::deserialize(requests).ok())
        .filter(|all: &Vec<_>| !all.is_empty());
    let p99_s = match requests {
        Some(requests) => {
            let paced = requests.iter().filter(|asked| asked.outcome.is_ok() && asked.kind.is_paced());
            percentile(
                &paced.map(|asked| (asked.intended_s, asked.ended_s - asked.intended_s)).collect::<Vec<_>>(),
                P99,
            )
        }
        None => {
            let p99 = |part: &str| drill.get("latency")?.get(part)?.get("p99_s")?.as_f64();
            let p99 = p99("before").zip(p99("after")).map(|(before, after)| before.max(after)).ok_or(NONE)?;
            Some(Interval::exactly(p99, count as usize))
        }
    };
    Ok(Sample { count, failed: count - ok, p99_s })
}

/// The result of a comparison.
#[derive(Debug, Default)]
pub struct Comparison {
    /// The checks that the limits ask for.
    pub checks: Vec<Check>,
    /// Which limits are exceeded, one for each check that fails.
    pub exceeded: Vec<&'static str>,
    /// Why nothing can be said, if nothing can.
    pub inconclusive: Option<String>,
}

/// Compares what the limits ask for.
pub fn compare(now: Sample, baseline: Option<Sample>, limits: &CanaryLimits) -> Comparison {
    let mut all = Comparison::default();
    let asked = limits.max_error_rate.is_some() || limits.max_p99_s.is_some() || baseline.is_some();
    if !asked {
        return all;
    }
    for (whose, sample) in [("", Some(now)), ("the baseline has ", baseline)] {
        if let Some(Sample { count, .. }) = sample
            && count < limits.min_requests
        {
            let least = limits.min_requests;
            all.inconclusive = Some(format!("{whose}{count} requests, fewer than --min-requests {least}"));
            return all;
        }
    }
    // Without a limit of its own a canary may not fail more often than what it is to replace.
    let max_rate = limits.max_error_rate.or(baseline.map(Sample::error_rate));
    if let Some(max) = max_rate {
        let rate = now.error_rate();
        let evidence = format!(
            "{} of {} requests failed ({}); the limit is {}{}",
            now.failed,
            now.count,
            percent(rate),
            percent(max),
            baseline.map(|base| format!(", {} in the baseline", percent(base.error_rate()))).unwrap_or_default()
        );
        let result = if rate <= max { CheckResult::Pass } else { CheckResult::Fail };
        all.add(CheckName::ErrorRate, result, evidence, "more requests failed than --max-error-rate allows");
    }
    if let (Some(p99), Some(max)) = (now.p99_s, limits.max_p99_s) {
        let evidence = format!("p99 {}; the limit is {}", with_bounds(&p99, seconds), seconds(max));
        let (result, evidence) = judged(&p99, max, evidence);
        all.add(CheckName::P99, result, evidence, "slower than --max-p99 allows");
    }
    if let (Some(p99), Some(base), Some(max)) = (now.p99_s, baseline.and_then(|base| base.p99_s), limits.max_p99_ratio)
    {
        let floor = limits.p99_floor_s;
        // Nothing is divided by 0.
        let ratio = p99.at_least(floor.max(1e-9)).over(base.at_least(floor.max(1e-9)));
        let floored = p99.value.min(base.value) < floor;
        let evidence = format!(
            "p99 {}, {} in the baseline: {} times{}; the limit is {max}",
            seconds(p99.value),
            seconds(base.value),
            with_bounds(&ratio, |ratio| format!("{ratio:.2}")),
            if floored { format!(" (what is below {} counts as that)", seconds(floor)) } else { String::new() },
        );
        let (result, evidence) = judged(&ratio, max, evidence);
        all.add(CheckName::P99Ratio, result, evidence, "slower than --max-p99-ratio allows");
    }
    all
}

impl Comparison {
    fn add(&mut self, name: CheckName, result: CheckResult, evidence: String, exceeded: &'static str) {
        let mut check = Check { name, result, evidence, causes: Vec::new() };
        if result == CheckResult::Fail {
            check.causes.push(Cause::WorseThanBaseline);
            self.exceeded.push(exceeded);
        }
        self.checks.push(check);
    }
}

/// Only certainty decides: the whole interval is within the limit, or none of it is.
fn judged(seen: &Interval, max: f64, evidence: String) -> (CheckResult, String) {
    if seen.high.is_some_and(|high| high <= max) {
        return (CheckResult::Pass, evidence);
    }
    if seen.low > max {
        return (CheckResult::Fail, evidence);
    }
    let more = match seen.needed(max) {
        Some(more) => format!("; about {more} more requests may tell, by --rate, --before and --lb-lag"),
        None => String::new(),
    };
    (CheckResult::Unknown, format!("{evidence}, which lies in between{more}"))
}

/// `12 ms (9 to 31 ms)`
fn with_bounds(seen: &Interval, show: fn(f64) -> String) -> String {
    let high = seen.high.map_or_else(|| "or more".to_owned(), |high| format!("to {}", show(high)));
    if seen.high == Some(seen.low) {
        show(seen.value)
    } else {
        format!("{} ({} {high})", show(seen.value), show(seen.low))
    }
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
    use serde_json::json;

    fn exactly(count: u64, failed: u64, p99_s: f64) -> Sample {
        Sample { count, failed, p99_s: Some(Interval::exactly(p99_s, count as usize)) }
    }

    fn between(low: f64, value: f64, high: Option<f64>) -> Sample {
        Sample {
            p99_s: Some(Interval { low, value, high, independent: 1000, requests: 1000 }),
            ..exactly(1000, 0, 0.0)
        }
    }

    fn checks(now: Sample, baseline: Option<Sample>, limits: &CanaryLimits) -> Vec<Check> {
        let seen = compare(now, baseline, limits);
        assert_eq!(seen.inconclusive, None);
        let failed = seen.checks.iter().filter(|check| check.causes == [Cause::WorseThanBaseline]).count();
        assert_eq!(seen.exceeded.len(), failed, "each that fails has its limit");
        seen.checks
    }

    fn results(now: Sample, baseline: Option<Sample>, limits: &CanaryLimits) -> Vec<(String, CheckResult)> {
        checks(now, baseline, limits).into_iter().map(|check| (check.name.to_string(), check.result)).collect()
    }

    #[test]
    fn the_last_drill_of_a_document_is_read() {
        let drill = |failed: u64| {
            let latency = json!({ "before": { "p99_s": 0.2 }, "after": { "p99_s": 0.1 } });
            json!({ "counts": { "ok": 90, "ok-close": 7, "refused": failed }, "latency": latency })
        };
        let text = json!({ "drills": [drill(1), drill(3)] }).to_string();
        assert_eq!(read(&text), Ok(exactly(100, 3, 0.2)));
        for wrong in
            ["", "{}", "[1]", r#"{"drills": []}"#, r#"{"drills": [{}]}"#, r#"{"drills": [{"counts": {"ok": "x"}}]}"#]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_requests_of_a_document_are_its_percentile() {
        let request = |kind: &str, outcome: &str, at: u32, takes: f64| {
            let at = f64::from(at);
            json!({ "kind": kind, "outcome": outcome, "intended_s": at, "sent_s": at + 0.5, "ended_s": at + takes })
        };
        let mut requests: Vec<Value> =
            (0..1000).map(|at| request("new", "ok", at, 1.0 + f64::from(at) / 1000.0)).collect();
        requests.push(request("slow", "ok", 1000, 9.0));
        requests.push(request("hot", "reset", 1001, 9.0));
        let text = json!({ "drills": [{ "counts": { "ok": 1001, "reset": 1 }, "requests": requests }] }).to_string();
        let sample = read(&text).unwrap();
        let p99 = sample.p99_s.unwrap();
        assert_eq!((sample.count, sample.failed, p99.requests), (1002, 1, 1000));
        assert!((p99.value - 1.989).abs() < 1e-6, "counted from when it should have been sent: {p99:?}");
        let none = json!({ "drills": [{ "counts": { "reset": 1 }, "requests": [request("new", "reset", 0, 1.0)] }] });
        assert_eq!(read(&none.to_string()).unwrap().p99_s, None);
    }

    #[test]
    fn nothing_asked_nothing_said() {
        let unasked = compare(exactly(1, 1, 9.0), None, &CanaryLimits::default());
        assert_eq!((unasked.checks, unasked.inconclusive), (Vec::new(), None));
    }

    #[test]
    fn too_few_requests_say_nothing() {
        let limits = CanaryLimits { max_p99_s: Some(1.0), ..CanaryLimits::default() };
        assert_eq!(
            compare(exactly(99, 0, 0.1), None, &limits).inconclusive.as_deref(),
            Some("99 requests, fewer than --min-requests 100")
        );
        assert_eq!(
            compare(exactly(100, 0, 0.1), Some(exactly(3, 0, 0.1)), &limits).inconclusive.as_deref(),
            Some("the baseline has 3 requests, fewer than --min-requests 100")
        );
        assert_eq!(results(exactly(100, 0, 0.1), None, &limits), [("p99".to_owned(), CheckResult::Pass)]);
    }

    #[test]
    fn each_limit_is_a_check() {
        let limits = CanaryLimits {
            max_error_rate: Some(0.01),
            max_p99_s: Some(0.5),
            max_p99_ratio: Some(2.0),
            min_requests: 10,
            ..CanaryLimits::default()
        };
        let baseline = Some(exactly(1000, 0, 0.1));
        for (now, expected) in [
            (exactly(100, 1, 0.2), [CheckResult::Pass, CheckResult::Pass, CheckResult::Pass]),
            (exactly(100, 2, 0.2), [CheckResult::Fail, CheckResult::Pass, CheckResult::Pass]),
            (exactly(100, 0, 0.3), [CheckResult::Pass, CheckResult::Pass, CheckResult::Fail]),
            (exactly(100, 0, 0.6), [CheckResult::Pass, CheckResult::Fail, CheckResult::Fail]),
        ] {
            let found: Vec<CheckResult> =
                results(now, baseline, &limits).into_iter().map(|(_, result)| result).collect();
            assert_eq!(found, expected, "{now:?}");
        }
    }

    #[test]
    fn what_lies_on_both_sides_of_a_limit_is_not_known() {
        let limits = CanaryLimits { max_p99_s: Some(0.5), ..CanaryLimits::default() };
        let said = |now: Sample| {
            let check = checks(now, None, &limits).remove(0);
            (check.result, check.evidence)
        };
        let (result, words) = said(between(0.1, 0.2, Some(0.5)));
        assert_eq!((result, &*words), (CheckResult::Pass, "p99 200 ms (100 ms to 500 ms); the limit is 500 ms"));
        let (result, words) = said(between(0.6, 0.7, None));
        assert_eq!((result, &*words), (CheckResult::Fail, "p99 700 ms (600 ms or more); the limit is 500 ms"));
        let (result, words) = said(between(0.1, 0.25, Some(1.0)));
        assert_eq!(result, CheckResult::Unknown);
        assert!(
            words.ends_with(
                "which lies in between; about 3000 more requests may tell, by --rate, --before and --lb-lag"
            )
        );
        let (result, words) = said(between(0.5, 0.5, Some(0.6)));
        assert_eq!((result, words.ends_with("which lies in between")), (CheckResult::Unknown, true), "{words}");
        assert_eq!(said(between(0.1, 0.2, None)).0, CheckResult::Unknown, "not even the slowest is a bound");
    }

    #[test]
    fn what_is_faster_than_a_tick_of_the_clock_is_not_compared() {
        let limits = CanaryLimits { max_p99_ratio: Some(1.5), ..CanaryLimits::default() };
        let of = |now: f64, base: f64, floor: f64| {
            let limits = CanaryLimits { p99_floor_s: floor, ..limits };
            let checks = checks(exactly(500, 0, now), Some(exactly(500, 0, base)), &limits);
            let check = checks.into_iter().find(|check| check.name == "p99-ratio").expect("asked for");
            (check.result, check.evidence)
        };
        let (result, words) = of(0.004, 0.001, P99_FLOOR_S);
        assert_eq!(result, CheckResult::Pass);
        assert!(words.contains("1.00 times (what is below 5 ms counts as that); the limit is 1.5"), "{words}");
        assert_eq!(of(0.004, 0.001, 0.0).0, CheckResult::Fail);
        let (result, words) = of(0.008, 0.001, P99_FLOOR_S);
        assert_eq!(result, CheckResult::Fail);
        assert!(words.starts_with("p99 8 ms, 1 ms in the baseline: 1.60 times"), "{words}");
        assert_eq!(of(0.0, 0.0, 0.0).0, CheckResult::Pass, "nothing is divided by nothing");
    }

    #[test]
    fn a_baseline_alone_asks_for_no_more_errors_than_it_had() {
        let limits = CanaryLimits::default();
        let baseline = Some(exactly(200, 2, 0.1));
        assert_eq!(results(exactly(100, 1, 9.0), baseline, &limits), [("error-rate".to_owned(), CheckResult::Pass)]);
        assert_eq!(results(exactly(100, 2, 0.1), baseline, &limits), [("error-rate".to_owned(), CheckResult::Fail)]);
    }
}

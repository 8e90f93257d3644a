//! Metrics in the OpenMetrics 1.0 text format, for /metrics.
//!
//! ```text
//! answered(), checked(), hook_ended() … ──► Counted (counters, histograms) ──┐
//! Situation, SharedStatus, Budget ───────────────────────────────────────────┴──► Page ──► text
//! ```
//!
//! What happens is counted when it happens; what is the case is asked for when a page is made. A page is a fresh
//! registry: it can never show what was true for the page before, nor a series of something that no longer exists.
//!
//! - Counters and histograms never go down, and a series that is known in advance is there with 0 from the first page
//!   on (prometheus.io/docs/practices/instrumentation, "Avoid missing metrics"): `rate()` sees the first failure.
//! - The number of series is bounded: checks, hooks, signals, phases and exit codes are the labels' only values.
//! - A parser of the older text format reads a page too, if somebody has lost its content type: it knows neither info
//!   nor state sets, so these are gauges, as in Prometheus itself.
//! - Series come in the same order on every page.
//! - Label values are escaped here, since prometheus-client does not (github.com/prometheus/client_rust/issues/151):
//!   one quote in the name of a hook would cost the whole scrape.
//! - Times are lengths from the monotonic clock, not the usual timestamps: a clock that is set during a stop must not
//!   move its budget.

use super::lock::locked;
use crate::config::Budget;
use crate::health::{AppHealth, Breaker, Checked, Probe, SharedStatus, Situation, Status, StatusSnapshot, judge};
use crate::signal::Signal;
use crate::status::ExitStatus;
use crate::timeline::{HookResult, Phase, RestartCause, Stage};
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::{Metric, Registry, Unit};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Duration;

/// Upper bounds, in seconds, for graceful's own answers. They take some ten microseconds; more than 5 ms is a fault.
const OWN_BUCKETS: [f64; 12] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0];
/// Upper bounds, in seconds, for answers of others: from one over loopback to the longest usual timeout.
const ASKED_BUCKETS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

const STATUSES: [Status; 3] = [Status::Healthy, Status::Degraded, Status::Unhealthy];

/// All metrics of one graceful.
pub(crate) struct Metrics {
    /// Made when something is first counted, or asked for: a start must not wait for it.
    counted: OnceLock<Mutex<Counted>>,
    readiness: ReadinessChanges,
}

/// How often /readyz turned to ready, and to not ready: the main loop counts these, and must not wait for a lock.
#[derive(Default)]
struct ReadinessChanges {
    ready: Counter,
    not_ready: Counter,
}

/// What has happened so far.
struct Counted {
    probe_requests: Series<Counter>,
    probe_durations: Series<Histogram>,
    readiness_changes: Series<Counter>,
    ready_url_duration: Histogram,
    check_tries: Series<Counter>,
    check_durations: Series<Histogram>,
    hook_durations: Series<Gauge<f64, AtomicU64>>,
    app_exits: Series<Counter>,
}

impl Counted {
    fn new(readiness: &ReadinessChanges) -> Counted {
        let mut counted = Counted {
            probe_requests: Series::default(),
            probe_durations: Series::default(),
            readiness_changes: Series::default(),
            ready_url_duration: Histogram::new(ASKED_BUCKETS),
            check_tries: Series::default(),
            check_durations: Series::default(),
            hook_durations: Series::default(),
            app_exits: Series::default(),
        };
        for probe in Probe::ALL {
            counted.probe_durations.get(probe_labels(probe), own_histogram);
            counted.probe_requests.get(answer_labels(probe, true), Counter::default);
            counted.probe_requests.get(answer_labels(probe, false), Counter::default);
        }
        counted.readiness_changes.get(readiness_labels(true), || readiness.ready.clone());
        counted.readiness_changes.get(readiness_labels(false), || readiness.not_ready.clone());
        counted
    }
}

impl Metrics {
    pub(super) fn new() -> Metrics {
        Metrics { counted: OnceLock::new(), readiness: ReadinessChanges::default() }
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        locked(self.counted.get_or_init(|| Mutex::new(Counted::new(&self.readiness))))
    }

    /// A probe was answered.
    pub(super) fn answered(&self, probe: Probe, ok: bool, took: Duration) {
        let mut counted = self.counted();
        counted.probe_requests.get(answer_labels(probe, ok), Counter::default).inc();
        counted.probe_durations.get(probe_labels(probe), own_histogram).observe(took.as_secs_f64());
    }

    /// The readiness endpoint was polled.
    pub(super) fn polled(&self, took: Duration) {
        self.counted().ready_url_duration.observe(took.as_secs_f64());
    }

    /// A try of a check has ended.
    pub(super) fn checked(&self, name: &str, status: Status, took: Duration) {
        let mut counted = self.counted();
        counted.check_tries.get(try_labels(name, status), Counter::default).inc();
        counted.check_durations.get(check_labels(name), asked_histogram).observe(took.as_secs_f64());
    }

    /// /readyz turned to this.
    pub(super) fn readiness_changed(&self, ready: bool) {
        if ready {
            self.readiness.ready.inc()
        } else {
            self.readiness.not_ready.inc()
        };
    }

    /// A hook has ended.
    pub(crate) fn hook_ended(&self, name: &str, stage: Stage, result: &HookResult, took: Duration) {
        let labels = labels([("hook", name), ("stage", stage.name()), ("result", result.name())]);
        self.counted().hook_durations.get(labels, Gauge::default).set(took.as_secs_f64());
    }

    /// The app has ended with this status, as graceful passes it on.
    pub(crate) fn app_exited(&self, status: ExitStatus) {
        let reason = match status {
            ExitStatus::Exited(_) => "exit",
            ExitStatus::Signaled(_) => "signal",
        };
        let labels = labels([("reason", reason), ("code", &status.code().to_string())]);
        self.counted().app_exits.get(labels, Counter::default).inc();
    }

    /// The page for /metrics, made of what was counted and of what is known now. It is to be sent as
    /// `application/openmetrics-text; version=1.0.0; charset=utf-8`.
    pub(super) fn page(&self, situation: &Situation, board: &SharedStatus, budget: &Budget) -> String {
        let mut counted = self.counted();
        counted.foresee(&situation.checks);
        let mut page = Page { registry: Registry::with_prefix("graceful") };
        page.graceful(&situation.standing);
        page.app(&situation.standing, board, &counted);
        page.stop(&situation.standing, board, budget);
        page.hooks(&counted);
        page.probes(situation, &counted);
        page.checks(&situation.checks, &counted);
        page.text()
    }
}

impl Counted {
    /// Gives the checks their series before their first try.
    fn foresee(&mut self, checks: &[Checked]) {
        for check in checks {
            self.check_durations.get(check_labels(check.name), asked_histogram);
            for status in STATUSES {
                self.check_tries.get(try_labels(check.name, status), Counter::default);
            }
        }
    }
}

/// A page in the making. The text of a metric's help ends without a full stop: the crate adds it.
struct Page {
    registry: Registry,
}

impl Page {
    fn graceful(&mut self, standing: &StatusSnapshot) {
        let version = [(labels([("version", env!("CARGO_PKG_VERSION"))]), truth(true))];
        self.add("build_info", "The version of graceful", Series::of(version));
        self.seconds("uptime", "Time since graceful was started", standing.now);
        let phases = Phase::ALL.map(|phase| (labels([("phase", phase.name())]), truth(phase == standing.phase)));
        self.add("phase", "1 for the phase in which the life of the app is, 0 for the others", Series::of(phases));
        let help = "Time since the current phase began";
        self.seconds("phase", help, standing.now.saturating_sub(standing.phase_since));
    }

    fn app(&mut self, standing: &StatusSnapshot, board: &SharedStatus, counted: &Counted) {
        let running = standing.app == AppHealth::Running;
        self.add("app_running", "1 while the app runs, 0 before and after", truth(running));
        let uptime = match standing.app_started {
            Some(at) if running => standing.now.saturating_sub(at),
            Some(_) | None => Duration::ZERO,
        };
        self.seconds("app_uptime", "Time since the app was started; 0 while it does not run", uptime);
        let help = "Ends of the app; code is what a shell shows, 128 + its number for a signal";
        self.add("app_exits", help, counted.app_exits.clone());
        let generation = ConstGauge::new(board.which_generation() as f64);
        self.add("generation", "Which run of the app this is, counted from 1", generation);
        let count = |(cause, count): (RestartCause, u64)| (labels([("cause", cause.name())]), ConstCounter::new(count));
        let help = "How often the app was started again, by how it had ended";
        self.add("restarts", help, Series::of(board.all_restarts().map(count)));
    }

    fn stop(&mut self, standing: &StatusSnapshot, board: &SharedStatus, budget: &Budget) {
        let budget = budget.kill_at();
        self.seconds("budget", "Time that a stop may take: the grace period less the kill margin", budget);
        let spent = standing.t0.map_or(Duration::ZERO, |t0| standing.now.saturating_sub(t0));
        let help = "What is left of the budget until SIGKILL; all of it before the stop begins";
        self.seconds("budget_left", help, budget.saturating_sub(spent));
        self.add("signals_received", "Signals that graceful received, SIGCHLD aside", signals(board.all_received()));
        self.add("signals_forwarded", "Signals that graceful sent to the app", signals(board.all_sent()));
        let help = "Processes left behind by others that graceful has reaped";
        self.add("orphans_reaped", help, ConstCounter::new(board.orphans()));
        if let Some(count) = board.oom_kills() {
            let help = "Processes in the app's cgroup that the kernel killed for want of memory";
            self.add("oom_kills", help, ConstCounter::new(count));
        }
        if let Some(in_flight) = board.all_in_flight() {
            let help = "The app's connections by what they do, from the stop signal to the app's exit";
            let gauge = |(state, count)| (labels([("state", state)]), ConstGauge::new(count as f64));
            self.add("in_flight", help, Series::of(in_flight.map(gauge)));
        }
        self.add("sigkills", "How often the budget was spent and SIGKILL sent", ConstCounter::new(board.sigkills()));
    }

    fn probes(&mut self, situation: &Situation, counted: &Counted) {
        let ok = |probe| truth(judge(probe, situation, &[]).ok);
        self.add("live", "1 if /livez answers 200, else 0", ok(Probe::Live));
        self.add("started", "1 if /startupz answers 200, else 0", ok(Probe::Startup));
        self.add("ready", "1 if /readyz answers 200, else 0", ok(Probe::Ready));
        let help = "How often readiness came and went";
        self.add("readiness_changes", help, counted.readiness_changes.clone());
        self.add("probe_requests", "Probes answered", counted.probe_requests.clone());
        self.add_seconds("probe_duration", "Time to answer a probe", counted.probe_durations.clone());
        if situation.ready_url.is_some() {
            let help = "Time that the app's readiness endpoint took to answer, or to fail to";
            self.add_seconds("ready_url_duration", help, counted.ready_url_duration.clone());
        }
    }

    fn hooks(&mut self, counted: &Counted) {
        let help = "How long the hook took, once it has ended; of hooks with the same name and stage, the last";
        self.add_seconds("hook_duration", help, counted.hook_durations.clone());
    }

    fn checks(&mut self, checks: &[Checked], counted: &Counted) {
        let gauge = |value: fn(&Checked) -> ConstGauge<f64>| {
            Series::of(checks.iter().map(|check| (check_labels(check.name), value(check))))
        };
        let help = "1 healthy, 0.5 degraded, 0 unhealthy or no result yet (all of graceful_check_tries_total is 0)";
        self.add("check_status", help, gauge(|check| ConstGauge::new(status_value(check.tracker.status()))));
        let help = "1 if the app is not ready while the check is unhealthy, 0 if that only degrades";
        self.add("check_critical", help, gauge(|check| truth(check.critical)));
        let help =
            "The check's circuit breaker: 0 closed, 0.5 half-open (the next try decides), 1 open (no try is made)";
        self.add("check_breaker_open", help, gauge(|check| ConstGauge::new(breaker_value(check.tracker.breaker()))));
        let help = "Tries of the check by what came of them; one that only took too long is healthy here";
        self.add("check_tries", help, counted.check_tries.clone());
        self.add_seconds("check_duration", "Time that a try of the check took", counted.check_durations.clone());
    }

    fn add(&mut self, name: &str, help: &str, metric: impl Metric) {
        self.registry.register(name, help, metric);
    }

    /// With `_seconds` after its name.
    fn add_seconds(&mut self, name: &str, help: &str, metric: impl Metric) {
        self.registry.register_with_unit(name, help, Unit::Seconds, metric);
    }

    fn seconds(&mut self, name: &str, help: &str, value: Duration) {
        self.add_seconds(name, help, ConstGauge::new(value.as_secs_f64()));
    }

    fn text(self) -> String {
        let mut text = String::new();
        // Cannot fail: a String takes everything.
        _ = encode(&mut text, &self.registry);
        text
    }
}

/// The series of one metric by their labels. In place of the crate's Family, which has no order.
#[derive(Clone, Debug)]
struct Series<M>(BTreeMap<Labels, M>);

impl<M> Default for Series<M> {
    fn default() -> Series<M> {
        Series(BTreeMap::new())
    }
}

impl<M> Series<M> {
    fn of(all: impl IntoIterator<Item = (Labels, M)>) -> Series<M> {
        Series(all.into_iter().collect())
    }

    fn get(&mut self, labels: Labels, new: impl FnOnce() -> M) -> &M {
        self.0.entry(labels).or_insert_with(new)
    }
}

impl<M: EncodeMetric + TypedMetric> EncodeMetric for Series<M> {
    fn encode(&self, mut encoder: MetricEncoder) -> fmt::Result {
        self.0.iter().try_for_each(|(labels, metric)| metric.encode(encoder.encode_family(labels)?))
    }

    fn metric_type(&self) -> MetricType {
        M::TYPE
    }

    // As the other clients do, the metric is not named before there is a series of it.
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Names with values; the values are escaped.
type Labels = Vec<(&'static str, String)>;

fn labels<const N: usize>(labels: [(&'static str, &str); N]) -> Labels {
    labels.map(|(name, value)| (name, escaped(value))).into()
}

/// As the OpenMetrics specification wants it ("Escaping"): backslash, quote and line feed, nothing else.
fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

fn probe_labels(probe: Probe) -> Labels {
    labels([("probe", probe.name())])
}

fn answer_labels(probe: Probe, ok: bool) -> Labels {
    labels([("probe", probe.name()), ("result", if ok { "ok" } else { "failed" })])
}

fn readiness_labels(ready: bool) -> Labels {
    labels([("to", if ready { "ready" } else { "not_ready" })])
}

fn check_labels(name: &str) -> Labels {
    labels([("check", name)])
}

fn try_labels(name: &str, status: Status) -> Labels {
    labels([("check", name), ("result", status.name())])
}

/// The signals that came at all. SIGCHLD is the kernel's word about a process, not somebody's about the app.
fn signals(counts: impl Iterator<Item = (Signal, u64)>) -> Series<ConstCounter> {
    let seen = counts.filter(|(signal, count)| *count > 0 && *signal != Signal::CHLD);
    Series::of(seen.map(|(signal, count)| (labels([("signal", &signal.to_string())]), ConstCounter::new(count))))
}

fn own_histogram() -> Histogram {
    Histogram::new(OWN_BUCKETS)
}

fn asked_histogram() -> Histogram {
    Histogram::new(ASKED_BUCKETS)
}

fn truth(is: bool) -> ConstGauge<f64> {
    ConstGauge::new(if is { 1.0 } else { 0.0 })
}

/// Without a result a check counts as unhealthy, as it does for /readyz.
fn status_value(status: Option<Status>) -> f64 {
    match status {
        Some(Status::Healthy) => 1.0,
        Some(Status::Degraded) => 0.5,
        Some(Status::Unhealthy) | None => 0.0,
    }
}

fn breaker_value(breaker: Breaker) -> f64 {
    match breaker {
        Breaker::Closed => 0.0,
        Breaker::HalfOpen => 0.5,
        Breaker::Open => 1.0,
    }
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;

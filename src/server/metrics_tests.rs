use super::*;
use crate::config::FailReadiness;
use crate::health::{Attempt, CheckHistory, ReadyUrl, Rules};
use std::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

/// Every metric that a page can have, with its type. Whoever renames one breaks a dashboard.
const FAMILIES: [(&str, &str); 29] = [
    ("graceful_app_exits", "counter"),
    ("graceful_app_running", "gauge"),
    ("graceful_app_uptime_seconds", "gauge"),
    ("graceful_budget_left_seconds", "gauge"),
    ("graceful_budget_seconds", "gauge"),
    ("graceful_build_info", "gauge"),
    ("graceful_check_breaker_open", "gauge"),
    ("graceful_check_critical", "gauge"),
    ("graceful_check_duration_seconds", "histogram"),
    ("graceful_check_status", "gauge"),
    ("graceful_check_tries", "counter"),
    ("graceful_generation", "gauge"),
    ("graceful_hook_duration_seconds", "gauge"),
    ("graceful_live", "gauge"),
    ("graceful_oom_kills", "counter"),
    ("graceful_orphans_reaped", "counter"),
    ("graceful_phase", "gauge"),
    ("graceful_phase_seconds", "gauge"),
    ("graceful_probe_duration_seconds", "histogram"),
    ("graceful_probe_requests", "counter"),
    ("graceful_readiness_changes", "counter"),
    ("graceful_ready", "gauge"),
    ("graceful_ready_url_duration_seconds", "histogram"),
    ("graceful_restarts", "counter"),
    ("graceful_sigkills", "counter"),
    ("graceful_signals_forwarded", "counter"),
    ("graceful_signals_received", "counter"),
    ("graceful_started", "gauge"),
    ("graceful_uptime_seconds", "gauge"),
];

/// A graceful at 9 s of its life, the app 1 s younger; a stop began at 5 s and the phase at 6.5 s.
fn standing(phase: Phase) -> StatusSnapshot {
    StatusSnapshot {
        now: 9 * SECOND,
        phase,
        phase_since: Duration::from_millis(6500),
        t0: (phase >= Phase::PreStop).then_some(5 * SECOND),
        app_started: (phase >= Phase::Running).then_some(SECOND),
        app: match phase {
            Phase::PreStart => AppHealth::Waiting,
            Phase::Running | Phase::PreStop | Phase::Hold | Phase::Drain => AppHealth::Running,
            Phase::Leftovers | Phase::Kill | Phase::PostStop | Phase::Done => AppHealth::Gone,
        },
        hooks_done: phase >= Phase::Running,
        was_ready: phase >= Phase::Running,
        shows_no_life: false,
    }
}

fn situation(phase: Phase) -> Situation<'static> {
    let fail_readiness = FailReadiness::AtStop;
    Situation { standing: standing(phase), fail_readiness, ready_url: None, checks: Vec::new() }
}

fn tracker() -> CheckHistory {
    CheckHistory::new(Rules {
        failure_threshold: 2,
        success_threshold: 1,
        breaker_after: Some(2),
        breaker_reset: SECOND,
        degraded_after: None,
    })
}

fn attempt(status: Status) -> Attempt {
    Attempt { status, detail: String::new(), said: None, took: SECOND }
}

fn board() -> SharedStatus {
    SharedStatus::new(Instant::now())
}

fn budget() -> Budget {
    Budget::for_grace_period(30 * SECOND)
}

/// A page with nothing but the situation in it.
fn page(situation: &Situation) -> String {
    Metrics::new().page(situation, &board(), &budget())
}

/// Every series with its value. A second line for a series, or one without a number, is a fault of the page.
#[track_caller]
fn series(page: &str) -> BTreeMap<String, f64> {
    let mut all = BTreeMap::new();
    for line in page.lines().filter(|line| !line.starts_with("# ")) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(all.insert(series.to_owned(), value.parse().unwrap()).is_none(), "twice: {series}\n{page}");
    }
    all
}

#[track_caller]
fn value(page: &str, of: &str) -> f64 {
    let all = series(page);
    *all.get(of).unwrap_or_else(|| panic!("no {of} in\n{page}"))
}

/// The series whose text contains this, in the order of the page.
fn lines<'a>(page: &'a str, part: &str) -> Vec<&'a str> {
    page.lines().filter(|line| !line.starts_with("# ") && line.contains(part)).collect()
}

/// Metrics, a board and checks to which everything has happened that can be told.
fn everything(check: &mut CheckHistory) -> (Metrics, SharedStatus) {
    let (metrics, board) = (Metrics::new(), board());
    metrics.answered(Probe::Ready, true, Duration::from_micros(80));
    metrics.polled(Duration::from_millis(3));
    metrics.checked("db", Status::Unhealthy, SECOND);
    check.record(SECOND, attempt(Status::Unhealthy));
    metrics.readiness_changed(true);
    metrics.hook_ended("warm", Stage::PostStart, &HookResult::Ok, SECOND);
    metrics.app_exited(ExitStatus::Exited(3));
    board.received(Signal::HUP);
    board.sent(Signal::HUP);
    board.orphan_reaped();
    board.oom_killed(2);
    board.sigkill_sent();
    (metrics, board)
}

#[test]
fn a_page_has_these_metrics_and_no_other() {
    let mut db = tracker();
    let (metrics, board) = everything(&mut db);
    let url = ReadyUrl { ready: Some(true), detail: String::new() };
    let checks = vec![Checked { name: "db", critical: true, tracker: &db }];
    let page = metrics.page(&Situation { ready_url: Some(&url), checks, ..situation(Phase::Drain) }, &board, &budget());
    let mut types: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    types.sort_unstable();
    assert_eq!(types, FAMILIES);
    for (name, _) in FAMILIES {
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        // A unit stands in the name, and a name that ends as a unit does has it.
        let unit = page.lines().find_map(|line| line.strip_prefix(&format!("# UNIT {name} ")));
        assert_eq!(unit, name.ends_with("_seconds").then_some("seconds"), "{name}");
        let help = page.lines().find_map(|line| line.strip_prefix(&format!("# HELP {name} "))).unwrap();
        assert!(help.ends_with('.') && !help.ends_with("..") && !help.contains(['\\', '"']), "{name}: {help}");
    }
    assert!(page.ends_with("\n# EOF\n") && page.matches("# EOF").count() == 1);
    assert_eq!(value(&page, &format!("graceful_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))), 1.0);
}

#[test]
fn one_phase_is_the_current_one() {
    for phase in Phase::ALL {
        let page = page(&situation(phase));
        let current: Vec<_> =
            Phase::ALL.map(|other| value(&page, &format!("graceful_phase{{phase=\"{other}\"}}"))).into();
        let expected: Vec<_> = Phase::ALL.map(|other| if other == phase { 1.0 } else { 0.0 }).into();
        assert_eq!(current, expected, "{phase}");
        assert_eq!(value(&page, "graceful_phase_seconds"), 2.5);
        assert_eq!(value(&page, "graceful_uptime_seconds"), 9.0);
    }
}

#[test]
fn the_app_has_an_uptime_while_it_runs() {
    for (phase, running, uptime) in
        [(Phase::PreStart, 0.0, 0.0), (Phase::Running, 1.0, 8.0), (Phase::Drain, 1.0, 8.0), (Phase::Kill, 0.0, 0.0)]
    {
        let page = page(&situation(phase));
        assert_eq!(value(&page, "graceful_app_running"), running, "{phase}");
        assert_eq!(value(&page, "graceful_app_uptime_seconds"), uptime, "{phase}");
    }
}

#[test]
fn the_end_of_the_app_is_counted_by_what_it_was() {
    let metrics = Metrics::new();
    let page = |metrics: &Metrics| metrics.page(&situation(Phase::Leftovers), &board(), &budget());
    assert!(!page(&metrics).contains("app_exits"));
    metrics.app_exited(ExitStatus::Exited(143));
    assert_eq!(lines(&page(&metrics), "exits"), ["graceful_app_exits_total{reason=\"exit\",code=\"143\"} 1"]);
    metrics.app_exited(ExitStatus::Signaled(Signal::TERM));
    assert_eq!(value(&page(&metrics), "graceful_app_exits_total{reason=\"signal\",code=\"143\"}"), 1.0);
}

#[test]
fn the_budget_is_whole_until_the_stop_and_never_below_nothing() {
    for (phase, now, left) in [
        (Phase::PreStart, 9.0, 29.0),
        (Phase::Running, 1000.0, 29.0),
        (Phase::PreStop, 5.0, 29.0),
        (Phase::Drain, 9.25, 24.75),
        (Phase::Kill, 34.0, 0.0),
        (Phase::PostStop, 50.0, 0.0),
    ] {
        let mut situation = situation(phase);
        situation.standing.now = Duration::from_secs_f64(now);
        let page = page(&situation);
        assert_eq!(value(&page, "graceful_budget_seconds"), 29.0);
        assert_eq!(value(&page, "graceful_budget_left_seconds"), left, "{phase} at {now}");
    }
}

#[test]
fn probes_are_what_they_would_answer() {
    for (phase, expected) in [
        (Phase::PreStart, [1.0, 0.0, 0.0]),
        (Phase::Running, [1.0, 1.0, 1.0]),
        (Phase::PreStop, [1.0, 1.0, 0.0]),
        (Phase::PostStop, [0.0, 0.0, 0.0]),
    ] {
        let page = page(&situation(phase));
        let answers = ["live", "started", "ready"].map(|probe| value(&page, &format!("graceful_{probe}")));
        assert_eq!(answers, expected, "{phase}");
    }
}

#[test]
fn answers_are_counted_and_timed_by_probe() {
    let metrics = Metrics::new();
    let page = |metrics: &Metrics| metrics.page(&situation(Phase::Running), &board(), &budget());
    let requests = |page: &str, probe: &str, result: &str| {
        value(page, &format!("graceful_probe_requests_total{{probe=\"{probe}\",result=\"{result}\"}}"))
    };
    let first = page(&metrics);
    for probe in Probe::ALL.map(Probe::name) {
        assert_eq!([requests(&first, probe, "ok"), requests(&first, probe, "failed")], [0.0, 0.0]);
        assert_eq!(value(&first, &format!("graceful_probe_duration_seconds_count{{probe=\"{probe}\"}}")), 0.0);
    }
    metrics.answered(Probe::Ready, false, Duration::from_micros(300));
    metrics.answered(Probe::Ready, true, Duration::from_micros(200));
    metrics.answered(Probe::Live, true, 2 * SECOND);
    let page = page(&metrics);
    assert_eq!([requests(&page, "readyz", "ok"), requests(&page, "readyz", "failed")], [1.0, 1.0]);
    assert_eq!([requests(&page, "livez", "ok"), requests(&page, "livez", "failed")], [1.0, 0.0]);
    let ready = |what: &str| value(&page, &format!("graceful_probe_duration_seconds_{what}"));
    assert!((ready("sum{probe=\"readyz\"}") - 0.0005).abs() < 1e-9);
    assert_eq!(ready("bucket{le=\"0.00025\",probe=\"readyz\"}"), 1.0);
    assert_eq!(ready("bucket{le=\"0.0005\",probe=\"readyz\"}"), 2.0);
    assert_eq!(ready("bucket{le=\"1.0\",probe=\"livez\"}"), 0.0);
    assert_eq!(ready("bucket{le=\"+Inf\",probe=\"livez\"}"), 1.0);
}

#[test]
fn polls_are_timed_where_there_is_something_to_poll() {
    let metrics = Metrics::new();
    metrics.polled(Duration::from_millis(3));
    assert!(!metrics.page(&situation(Phase::Running), &board(), &budget()).contains("ready_url"));
    let url = ReadyUrl { ready: None, detail: String::new() };
    let situation = Situation { ready_url: Some(&url), ..situation(Phase::Running) };
    let page = metrics.page(&situation, &board(), &budget());
    assert_eq!(value(&page, "graceful_ready_url_duration_seconds_count"), 1.0);
    assert_eq!(value(&page, "graceful_ready_url_duration_seconds_bucket{le=\"0.0025\"}"), 0.0);
    assert_eq!(value(&page, "graceful_ready_url_duration_seconds_bucket{le=\"0.005\"}"), 1.0);
}

#[test]
fn readiness_is_counted_as_it_comes_and_goes() {
    let metrics = Metrics::new();
    let changes = |metrics: &Metrics| {
        let page = metrics.page(&situation(Phase::Running), &board(), &budget());
        ["ready", "not_ready"].map(|to| value(&page, &format!("graceful_readiness_changes_total{{to=\"{to}\"}}")))
    };
    assert_eq!(changes(&metrics), [0.0, 0.0]);
    [true, false, true].into_iter().for_each(|ready| metrics.readiness_changed(ready));
    assert_eq!(changes(&metrics), [2.0, 1.0]);
}

#[test]
fn a_check_has_its_series_before_its_first_try() {
    let db = tracker();
    let checks = vec![Checked { name: "db", critical: true, tracker: &db }];
    let page = page(&Situation { checks, ..situation(Phase::Running) });
    let expected = [
        "graceful_check_status{check=\"db\"} 0.0",
        "graceful_check_critical{check=\"db\"} 1.0",
        "graceful_check_breaker_open{check=\"db\"} 0.0",
        "graceful_check_tries_total{check=\"db\",result=\"degraded\"} 0",
        "graceful_check_tries_total{check=\"db\",result=\"healthy\"} 0",
        "graceful_check_tries_total{check=\"db\",result=\"unhealthy\"} 0",
        "graceful_check_duration_seconds_sum{check=\"db\"} 0.0",
        "graceful_check_duration_seconds_count{check=\"db\"} 0",
    ];
    let found = lines(&page, "graceful_check_");
    assert_eq!(found.iter().filter(|line| !line.contains("_bucket")).copied().collect::<Vec<_>>(), expected);
    assert_eq!(found.len(), expected.len() + ASKED_BUCKETS.len() + 1);
}

#[test]
fn a_check_is_what_its_tracker_says() {
    use Status::{Degraded, Healthy, Unhealthy};
    let (metrics, mut db, cache) = (Metrics::new(), tracker(), tracker());
    let mut now = Duration::ZERO;
    let mut after = |status: Option<Status>| {
        now += SECOND;
        match status {
            Some(status) => {
                metrics.checked("db", status, Duration::from_millis(20));
                db.record(now, attempt(status));
            }
            None => assert_eq!(db.wait(now), Duration::ZERO),
        }
        let checks = vec![
            Checked { name: "db", critical: true, tracker: &db },
            Checked { name: "cache", critical: false, tracker: &cache },
        ];
        let page = metrics.page(&Situation { checks, ..situation(Phase::Running) }, &board(), &budget());
        ["status", "breaker_open"].map(|what| value(&page, &format!("graceful_check_{what}{{check=\"db\"}}")))
    };
    assert_eq!(after(Some(Healthy)), [1.0, 0.0]);
    assert_eq!(after(Some(Degraded)), [0.5, 0.0]);
    // One failure of two.
    assert_eq!(after(Some(Unhealthy)), [0.5, 0.0]);
    assert_eq!(after(Some(Unhealthy)), [0.0, 1.0]);
    assert_eq!(after(None), [0.0, 0.5]);
    assert_eq!(after(Some(Healthy)), [1.0, 0.0]);
    let checks = vec![
        Checked { name: "db", critical: true, tracker: &db },
        Checked { name: "cache", critical: false, tracker: &cache },
    ];
    let page = metrics.page(&Situation { checks, ..situation(Phase::Running) }, &board(), &budget());
    assert_eq!(value(&page, "graceful_check_critical{check=\"cache\"}"), 0.0);
    let tries = |check: &str| {
        ["healthy", "degraded", "unhealthy"]
            .map(|result| value(&page, &format!("graceful_check_tries_total{{check=\"{check}\",result=\"{result}\"}}")))
    };
    assert_eq!((tries("db"), tries("cache")), ([2.0, 1.0, 2.0], [0.0; 3]));
    assert_eq!(value(&page, "graceful_check_duration_seconds_count{check=\"db\"}"), 5.0);
    assert_eq!(value(&page, "graceful_check_duration_seconds_bucket{le=\"0.01\",check=\"db\"}"), 0.0);
    assert_eq!(value(&page, "graceful_check_duration_seconds_bucket{le=\"0.025\",check=\"db\"}"), 5.0);
}

#[test]
fn signals_are_there_once_they_came() {
    let board = board();
    let page = |board: &SharedStatus| Metrics::new().page(&situation(Phase::Running), board, &budget());
    assert!(!page(&board).contains("signals_"));
    let last = Signal::new(64).unwrap();
    for signal in [Signal::HUP, Signal::TERM, Signal::HUP, Signal::CHLD, last] {
        board.received(signal);
    }
    board.sent(Signal::HUP);
    let expected = [
        "graceful_signals_received_total{signal=\"SIGHUP\"} 2",
        "graceful_signals_received_total{signal=\"SIGRTMIN+30\"} 1",
        "graceful_signals_received_total{signal=\"SIGTERM\"} 1",
        "graceful_signals_forwarded_total{signal=\"SIGHUP\"} 1",
    ];
    assert_eq!(lines(&page(&board), "signals_"), expected);
}

#[test]
fn reaped_and_killed_are_counted() {
    let board = board();
    let counts = |board: &SharedStatus| {
        let page = Metrics::new().page(&situation(Phase::Kill), board, &budget());
        ["orphans_reaped", "sigkills"].map(|what| value(&page, &format!("graceful_{what}_total")))
    };
    assert_eq!(counts(&board), [0.0, 0.0]);
    board.orphan_reaped();
    board.orphan_reaped();
    board.sigkill_sent();
    assert_eq!(counts(&board), [2.0, 1.0]);
}

#[test]
fn a_hook_tells_how_long_it_took_and_how_it_ended() {
    let metrics = Metrics::new();
    metrics.hook_ended("drain", Stage::PreStop, &HookResult::Failed("exit status 3".to_owned()), SECOND / 2);
    metrics.hook_ended("warm", Stage::PostStart, &HookResult::Ok, SECOND);
    metrics.hook_ended("warm", Stage::PostStart, &HookResult::Ok, 2 * SECOND);
    metrics.hook_ended("warm", Stage::PostStop, &HookResult::TimedOut, SECOND);
    metrics.hook_ended("warm", Stage::PostStop, &HookResult::Cancelled, SECOND);
    let page = metrics.page(&situation(Phase::Running), &board(), &budget());
    let expected = [
        "graceful_hook_duration_seconds{hook=\"drain\",stage=\"pre-stop\",result=\"failed\"} 0.5",
        "graceful_hook_duration_seconds{hook=\"warm\",stage=\"post-start\",result=\"ok\"} 2.0",
        "graceful_hook_duration_seconds{hook=\"warm\",stage=\"post-stop\",result=\"cancelled\"} 1.0",
        "graceful_hook_duration_seconds{hook=\"warm\",stage=\"post-stop\",result=\"timed_out\"} 1.0",
    ];
    assert_eq!(lines(&page, "hook_"), expected);
    assert!(!page.contains("exit status"), "what a hook says is for the log");
}

#[test]
fn a_name_with_any_sign_is_one_label() {
    let metrics = Metrics::new();
    let name = "a \"b\"\\n\nc} 1 # EOF ü,{\u{7f}";
    metrics.hook_ended(name, Stage::PreStop, &HookResult::Ok, SECOND);
    metrics.checked(name, Status::Healthy, SECOND);
    let tracker = tracker();
    let checks = vec![Checked { name, critical: true, tracker: &tracker }];
    let page = metrics.page(&Situation { checks, ..situation(Phase::Running) }, &board(), &budget());
    let escaped = "a \\\"b\\\"\\\\n\\nc} 1 # EOF ü,{\u{7f}";
    let hook = format!("graceful_hook_duration_seconds{{hook=\"{escaped}\",stage=\"pre-stop\",result=\"ok\"}}");
    assert_eq!(value(&page, &hook), 1.0);
    // The same name means the same series, whether it is counted or known.
    let tries = format!("graceful_check_tries_total{{check=\"{escaped}\",result=\"healthy\"}}");
    assert_eq!(value(&page, &tries), 1.0);
    assert_eq!(value(&page, &format!("graceful_check_status{{check=\"{escaped}\"}}")), 0.0);
}

#[test]
fn nothing_that_is_counted_ever_goes_down_or_away() {
    let mut db = tracker();
    let (metrics, board) = everything(&mut db);
    let mut last: BTreeMap<String, f64> = BTreeMap::new();
    for phase in Phase::ALL {
        for again in [metrics.page(&with_db(phase, &db), &board, &budget()), {
            metrics.answered(Probe::Startup, phase == Phase::Running, SECOND);
            metrics.checked("db", Status::Healthy, SECOND);
            metrics.app_exited(ExitStatus::Exited(phase as u8));
            board.received(Signal::HUP);
            board.sigkill_sent();
            metrics.page(&with_db(phase, &db), &board, &budget())
        }] {
            let now = counted(&again);
            for (series, before) in &last {
                assert!(now.get(series).is_some_and(|value| value >= before), "{series} was {before} before\n{again}");
            }
            last = now;
        }
    }
    assert_eq!(last["graceful_probe_requests_total{probe=\"startupz\",result=\"failed\"}"], 8.0);
    assert_eq!(last["graceful_sigkills_total"], 10.0);
}

fn with_db(phase: Phase, db: &CheckHistory) -> Situation<'_> {
    Situation { checks: vec![Checked { name: "db", critical: true, tracker: db }], ..situation(phase) }
}

/// The samples of counters and histograms.
fn counted(page: &str) -> BTreeMap<String, f64> {
    let ends = ["_total", "_count", "_sum", "_bucket"];
    let is_counted = |series: &str| ends.iter().any(|end| series.split('{').next().unwrap().ends_with(end));
    series(page).into_iter().filter(|(series, _)| is_counted(series)).collect()
}

#[test]
fn pages_have_one_order_and_bounds_in_plain_numbers() {
    let mut db = tracker();
    let (metrics, board) = everything(&mut db);
    for number in 0..100 {
        metrics.checked(&format!("check {number}"), Status::Healthy, SECOND);
    }
    let situation = with_db(Phase::Running, &db);
    let page = metrics.page(&situation, &board, &budget());
    assert_eq!(metrics.page(&situation, &board, &budget()), page);
    // Below 0.0001 the specification wants an exponent ("Canonical Numbers"), which the crate does not write.
    let bounds = page.split("le=\"").skip(1).map(|rest| rest.split('"').next().unwrap().parse::<f64>().unwrap());
    assert!(bounds.clone().count() > 100 && bounds.clone().all(|bound| bound >= 0.0001), "{page}");
    let check = |line: &&str| line.starts_with("graceful_check_duration_seconds_count{");
    let counts: Vec<_> = page.lines().filter(check).collect();
    assert!(counts.len() == 101 && counts.is_sorted(), "{counts:?}");
}

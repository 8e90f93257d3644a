//! What each of the three probes says of what is known.
//!
//! | part | /livez | /startupz | /readyz | fails while |
//! | --- | --- | --- | --- | --- |
//! | `running` | x | x | x | the app is not there (for /livez: no longer there) |
//! | `live-url` | x | | | the app shows no life, and that is reported, or it is stopped for it (`--live-action`) |
//! | `startup` | | x | x | the app has not been ready yet, or post-start hooks are left to run |
//! | `ready-url` | | | x | the app's readiness endpoint says no |
//! | each check | | | x | it is critical and unhealthy, or has not been tried yet |
//! | `shutdown` | | | x | the stop has begun (`--fail-readiness`) |
//!
//! /livez is fine before the app's start: pre-start hooks may take their time, and to restart the container would only
//! make them begin again. The same holds before each restart (`--restart`), for which somebody asked. `/startupz` stays
//! fine while the app runs once it has been: kubelet stops asking.

use super::board::{AppHealth, StatusSnapshot};
use super::check::CheckHistory;
use crate::config::FailReadiness;
use crate::timeline::{Phase, Status};

/// The three probes, as Kubernetes names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Probe {
    /// /livez
    Live,
    /// /readyz
    Ready,
    /// /startupz
    Startup,
}

impl Probe {
    /// All three.
    pub const ALL: [Probe; 3] = [Probe::Live, Probe::Startup, Probe::Ready];

    /// Its path, without the slash.
    pub fn name(self) -> &'static str {
        match self {
            Probe::Live => "livez",
            Probe::Startup => "startupz",
            Probe::Ready => "readyz",
        }
    }
}

/// The last answer of the app's readiness endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyUrl {
    /// Whether it is ready; `None` before the first answer.
    pub ready: Option<bool>,
    /// The answer in words.
    pub detail: String,
}

/// A check in a verdict.
#[derive(Clone, Copy, Debug)]
pub struct Checked<'a> {
    /// The name of the check.
    pub name: &'a str,
    /// Whether readiness depends on it.
    pub critical: bool,
    /// What is known about it.
    pub tracker: &'a CheckHistory,
}

/// Everything that is known.
#[derive(Clone, Debug)]
pub struct Situation<'a> {
    /// What the main loop says.
    pub standing: StatusSnapshot,
    /// `--fail-readiness`.
    pub fail_readiness: FailReadiness,
    /// The app's readiness endpoint, if it has one.
    pub ready_url: Option<&'a ReadyUrl>,
    /// All checks.
    pub checks: Vec<Checked<'a>>,
}

/// One part of a verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// `running`, `startup`, `ready-url`, `shutdown`, or a check's name.
    pub name: &'a str,
    /// Whether the probe can pass with it.
    pub ok: bool,
    /// How it is, whatever the probe makes of it.
    pub status: Status,
    /// Why; empty where there is nothing to say.
    pub detail: String,
    /// Whether `?exclude=` named it.
    pub excluded: bool,
}

/// What a probe says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeVerdict<'a> {
    /// Whether the answer is 200; otherwise it is 503.
    pub ok: bool,
    /// The worst that counts: unhealthy if the probe fails, degraded if something that is not excluded is not healthy.
    pub status: Status,
    /// The parts.
    pub items: Vec<Item<'a>>,
    /// Names of `?exclude=` that no part has.
    pub unmatched: Vec<String>,
}

/// What this probe says of the situation, without the parts that are excluded.
pub fn judge<'a>(probe: Probe, situation: &Situation<'a>, exclude: &[String]) -> ProbeVerdict<'a> {
    let mut items = match probe {
        Probe::Live => liveness(&situation.standing),
        Probe::Startup => vec![running(&situation.standing), startup(&situation.standing)],
        Probe::Ready => readiness(situation),
    };
    for item in &mut items {
        item.excluded = exclude.iter().any(|name| name == item.name);
    }
    let counted = || items.iter().filter(|item| !item.excluded);
    let ok = counted().all(|item| item.ok);
    let worst = counted().map(|item| item.status).max().unwrap_or(Status::Healthy);
    let status = if ok { worst.min(Status::Degraded) } else { Status::Unhealthy };
    let unmatched = exclude.iter().filter(|name| !items.iter().any(|item| item.name == **name)).cloned().collect();
    ProbeVerdict { ok, status, items, unmatched }
}

fn readiness<'a>(situation: &Situation<'a>) -> Vec<Item<'a>> {
    let mut items = vec![running(&situation.standing), startup(&situation.standing)];
    items.extend(situation.ready_url.map(|url| {
        let why = if url.ready.is_none() { "not asked yet" } else { url.detail.as_str() };
        part("ready-url", url.ready == Some(true), why)
    }));
    items.extend(situation.checks.iter().map(checked));
    items.push(shutdown(&situation.standing, situation.fail_readiness));
    items
}

/// A part that is either fine or not.
fn part<'a>(name: &'a str, ok: bool, why: &str) -> Item<'a> {
    let status = if ok { Status::Healthy } else { Status::Unhealthy };
    Item { name, ok, status, detail: if ok { String::new() } else { why.to_owned() }, excluded: false }
}

fn liveness<'a>(standing: &StatusSnapshot) -> Vec<Item<'a>> {
    let hung = part("live-url", false, "the app has shown no life for --live-threshold polls in a row");
    [alive(standing)].into_iter().chain(standing.shows_no_life.then_some(hung)).collect()
}

fn alive<'a>(standing: &StatusSnapshot) -> Item<'a> {
    part("running", standing.app != AppHealth::Gone, "the app has ended")
}

fn running<'a>(standing: &StatusSnapshot) -> Item<'a> {
    match standing.app {
        AppHealth::Waiting => part("running", false, "the app has not been started yet"),
        AppHealth::Running => part("running", true, ""),
        AppHealth::Between => part("running", false, "the app has ended and is about to be started again"),
        AppHealth::Gone => part("running", false, "the app has ended"),
    }
}

fn startup<'a>(standing: &StatusSnapshot) -> Item<'a> {
    let why = match (standing.hooks_done, standing.was_ready) {
        (false, false) => "post-start hooks are left to run, and the app has not been ready yet",
        (false, true) => "post-start hooks are left to run",
        (true, _) => "the app has not been ready yet",
    };
    part("startup", standing.hooks_done && standing.was_ready, why)
}

fn checked<'a>(check: &Checked<'a>) -> Item<'a> {
    let status = check.tracker.status().unwrap_or(Status::Unhealthy);
    let ok = !check.critical || status != Status::Unhealthy;
    Item { name: check.name, ok, status, detail: check.tracker.detail().to_owned(), excluded: false }
}

fn shutdown<'a>(standing: &StatusSnapshot, fail: FailReadiness) -> Item<'a> {
    let stopping = match fail {
        FailReadiness::AtStop => standing.t0.is_some(),
        FailReadiness::AtDrain => standing.phase >= Phase::Drain,
        FailReadiness::Never => false,
    };
    part("shutdown", !stopping, &format!("the stop has begun, phase {}", standing.phase))
}

#[cfg(test)]
mod tests {
    use super::super::check::{Attempt, Rules};
    use super::*;
    use std::time::Duration;

    fn standing(phase: Phase) -> StatusSnapshot {
        let stopping = phase >= Phase::PreStop;
        StatusSnapshot {
            now: Duration::from_secs(9),
            phase,
            phase_since: Duration::from_secs(8),
            t0: stopping.then_some(Duration::from_secs(5)),
            app_started: (phase >= Phase::Running).then_some(Duration::from_secs(1)),
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

    fn tracker(status: Option<Status>) -> CheckHistory {
        let second = Duration::from_secs(1);
        let rules = Rules {
            failure_threshold: 3,
            success_threshold: 1,
            breaker_after: None,
            breaker_reset: second,
            degraded_after: None,
        };
        let mut tracker = CheckHistory::new(rules);
        if let Some(status) = status {
            tracker.record(second, Attempt { status, detail: "why".to_owned(), said: None, took: second });
        }
        tracker
    }

    fn is_ok(probe: Probe, situation: &Situation) -> bool {
        judge(probe, situation, &[]).ok
    }

    /// Every probe in every phase.
    #[test]
    fn each_probe_in_each_phase() {
        let expected = [
            (Phase::PreStart, [true, false, false]),
            (Phase::Running, [true, true, true]),
            (Phase::PreStop, [true, true, false]),
            (Phase::Hold, [true, true, false]),
            (Phase::Drain, [true, true, false]),
            (Phase::Leftovers, [false, false, false]),
            (Phase::Kill, [false, false, false]),
            (Phase::PostStop, [false, false, false]),
            (Phase::Done, [false, false, false]),
        ];
        assert_eq!(expected.map(|(phase, _)| phase), Phase::ALL);
        for (phase, answers) in expected {
            assert_eq!(Probe::ALL.map(|probe| is_ok(probe, &situation(phase))), answers, "{phase}");
        }
    }

    #[test]
    fn readiness_fails_when_it_was_told_to() {
        let ready = |fail_readiness| {
            let with = |phase| Situation { fail_readiness, ..situation(phase) };
            [Phase::Running, Phase::PreStop, Phase::Hold, Phase::Drain, Phase::Leftovers]
                .map(|phase| is_ok(Probe::Ready, &with(phase)))
        };
        assert_eq!(ready(FailReadiness::AtStop), [true, false, false, false, false]);
        assert_eq!(ready(FailReadiness::AtDrain), [true, true, true, false, false]);
        assert_eq!(ready(FailReadiness::Never), [true, true, true, true, false]);
        // A stop signal before the app's start leaves the phase as it is.
        let mut early = situation(Phase::PreStart);
        early.standing.t0 = Some(Duration::from_secs(1));
        let verdict = judge(Probe::Ready, &early, &[]);
        assert!(verdict.items.iter().any(|item| item.name == "shutdown" && !item.ok));
    }

    #[test]
    fn startup_waits_for_hooks_and_for_the_first_ready() {
        for (hooks_done, was_ready, why) in [
            (true, true, ""),
            (false, true, "post-start hooks are left to run"),
            (true, false, "the app has not been ready yet"),
            (false, false, "post-start hooks are left to run, and the app has not been ready yet"),
        ] {
            let mut situation = situation(Phase::Running);
            (situation.standing.hooks_done, situation.standing.was_ready) = (hooks_done, was_ready);
            for probe in [Probe::Startup, Probe::Ready] {
                let verdict = judge(probe, &situation, &[]);
                assert_eq!(verdict.ok, why.is_empty());
                let item = verdict.items.iter().find(|item| item.name == "startup").unwrap();
                assert_eq!(item.detail, why);
            }
            assert!(is_ok(Probe::Live, &situation));
        }
    }

    #[test]
    fn the_worst_critical_check_decides() {
        use Status::{Degraded, Healthy, Unhealthy};
        for (critical, other, ok, status) in [
            (Some(Healthy), Some(Healthy), true, Healthy),
            (Some(Degraded), Some(Healthy), true, Degraded),
            (Some(Healthy), Some(Degraded), true, Degraded),
            (Some(Healthy), Some(Unhealthy), true, Degraded),
            (Some(Healthy), None, true, Degraded),
            (Some(Unhealthy), Some(Healthy), false, Unhealthy),
            (None, Some(Healthy), false, Unhealthy),
        ] {
            let (first, second) = (tracker(critical), tracker(other));
            let checks = vec![
                Checked { name: "db", critical: true, tracker: &first },
                Checked { name: "cache", critical: false, tracker: &second },
            ];
            let situation = Situation { checks, ..situation(Phase::Running) };
            let verdict = judge(Probe::Ready, &situation, &[]);
            assert_eq!((verdict.ok, verdict.status), (ok, status), "{critical:?} {other:?}");
            // Checks do not concern the other two: a restart mends no dependency.
            assert!(is_ok(Probe::Live, &situation) && is_ok(Probe::Startup, &situation));
            // What is excluded does not count, and what is not there is named.
            let verdict = judge(Probe::Ready, &situation, &["db".to_owned(), "nope".to_owned()]);
            assert!(verdict.ok);
            assert_eq!(verdict.unmatched, ["nope"]);
        }
    }

    #[test]
    fn the_ready_url_counts_with_its_last_answer() {
        for (ready, ok, detail) in [(None, false, "not asked yet"), (Some(false), false, "503"), (Some(true), true, "")]
        {
            let url = ReadyUrl { ready, detail: "503".to_owned() };
            let situation = Situation { ready_url: Some(&url), ..situation(Phase::Running) };
            let verdict = judge(Probe::Ready, &situation, &[]);
            assert_eq!(verdict.ok, ok);
            let item = verdict.items.iter().find(|item| item.name == "ready-url").unwrap();
            assert_eq!(item.detail, detail);
        }
    }
}

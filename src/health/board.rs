//! What the main loop tells the probe server, in atomics.
//!
//! A probe that arrives after the stop signal must not be answered by what was true before it, however busy the
//! server's thread is; and the main loop must never wait for that thread, not even for a lock. So the main loop writes
//! single words here and the server reads them when it answers. Times are microseconds since graceful's start.

use crate::counts::Counts;
use crate::signal::Signal;
use crate::timeline::{Phase, RestartCause};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A time that has not come yet.
const NEVER: u64 = u64::MAX;
/// A number that is not known.
const UNKNOWN: u64 = u64::MAX;
/// One place for each signal number; the first stays empty.
const SIGNALS: usize = 65;

/// The app, as the probes see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppHealth {
    /// It has not been started yet.
    Waiting,
    /// It runs.
    Running,
    /// It has ended, and is about to be started again.
    Between,
    /// It has ended, or will never run.
    Gone,
}

/// What the main loop tells the probe server.
#[derive(Debug)]
pub struct SharedStatus {
    start: Instant,
    phase: AtomicU8,
    phase_since: AtomicU64,
    t0: AtomicU64,
    app_started: AtomicU64,
    app_gone: AtomicBool,
    comes_back: AtomicBool,
    generation: AtomicU64,
    restarts: [AtomicU64; RestartCause::ALL.len()],
    hooks_done: AtomicBool,
    was_ready: AtomicBool,
    shows_no_life: AtomicBool,
    orphans: AtomicU64,
    oom_kills: AtomicU64,
    sigkills: AtomicU64,
    received: [AtomicU64; SIGNALS],
    sent: [AtomicU64; SIGNALS],
    in_flight: [AtomicU64; 4],
    in_flight_seen: AtomicBool,
}

/// The shared status at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusSnapshot {
    /// The time since graceful's start.
    pub now: Duration,
    /// The phase.
    pub phase: Phase,
    /// When it began.
    pub phase_since: Duration,
    /// When the stop began.
    pub t0: Option<Duration>,
    /// When the app was started.
    pub app_started: Option<Duration>,
    /// The app.
    pub app: AppHealth,
    /// Whether no post-start hook is left to run.
    pub hooks_done: bool,
    /// Whether the app has been ready once, or nothing tells whether it is.
    pub was_ready: bool,
    /// Whether its liveness endpoint has failed too often in a row.
    pub shows_no_life: bool,
}

impl SharedStatus {
    /// The status of a graceful that was started at this time.
    pub fn new(start: Instant) -> SharedStatus {
        SharedStatus {
            start,
            phase: AtomicU8::new(Phase::PreStart as u8),
            phase_since: AtomicU64::new(0),
            t0: AtomicU64::new(NEVER),
            app_started: AtomicU64::new(NEVER),
            app_gone: AtomicBool::new(false),
            comes_back: AtomicBool::new(false),
            generation: AtomicU64::new(1),
            restarts: [const { AtomicU64::new(0) }; RestartCause::ALL.len()],
            hooks_done: AtomicBool::new(false),
            was_ready: AtomicBool::new(false),
            shows_no_life: AtomicBool::new(false),
            orphans: AtomicU64::new(0),
            oom_kills: AtomicU64::new(UNKNOWN),
            sigkills: AtomicU64::new(0),
            received: [const { AtomicU64::new(0) }; SIGNALS],
            sent: [const { AtomicU64::new(0) }; SIGNALS],
            in_flight: [const { AtomicU64::new(0) }; 4],
            in_flight_seen: AtomicBool::new(false),
        }
    }

    /// A phase has begun.
    pub fn phase(&self, at: Duration, phase: Phase) {
        self.phase_since.store(micros(at), Ordering::Relaxed);
        // Release: whoever sees the phase sees the time, too.
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// The stop has begun.
    pub fn stop_began(&self, t0: Duration) {
        self.t0.store(micros(t0), Ordering::Release);
    }

    /// The app runs.
    pub fn app_started(&self, at: Duration) {
        self.app_started.store(micros(at), Ordering::Release);
        self.app_gone.store(false, Ordering::Release);
    }

    /// The app has ended, or could not be started; `comes_back` says whether it is started again.
    pub fn app_gone(&self, comes_back: bool) {
        // This comes first, so that nobody takes an app that comes back for one that is gone for good.
        self.comes_back.store(comes_back, Ordering::Release);
        self.app_gone.store(true, Ordering::Release);
    }

    /// The next run of the app is due, about which nothing is known yet.
    pub fn restarting(&self, at: Duration, cause: RestartCause) {
        self.was_ready.store(false, Ordering::Release);
        self.hooks_done.store(false, Ordering::Release);
        self.shows_life(true);
        self.phase(at, Phase::PreStart);
        self.t0.store(NEVER, Ordering::Release);
        if let Some(count) = self.restarts.get(cause as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Which run of the app counts, from 1 on.
    pub fn generation(&self, number: u64) {
        self.generation.store(number, Ordering::Relaxed);
    }

    /// No post-start hook is left to run.
    pub fn hooks_done(&self) {
        self.hooks_done.store(true, Ordering::Release);
    }

    /// The app was ready for the first time, or nothing tells whether it is.
    pub fn was_ready(&self) {
        self.was_ready.store(true, Ordering::Release);
    }

    /// Whether the app shows life, as far as it is asked.
    pub fn shows_life(&self, does: bool) {
        self.shows_no_life.store(!does, Ordering::Release);
    }

    /// A process that the app left behind was reaped.
    pub fn orphan_reaped(&self) {
        self.orphans.fetch_add(1, Ordering::Relaxed);
    }

    /// Number of processes that were killed for want of memory.
    pub fn oom_killed(&self, count: u64) {
        self.oom_kills.store(count, Ordering::Relaxed);
    }

    /// SIGKILL went out because the budget was spent.
    pub fn sigkill_sent(&self) {
        self.sigkills.fetch_add(1, Ordering::Relaxed);
    }

    /// Number of connections in flight.
    pub fn in_flight(&self, counts: Counts) {
        let Counts { busy, unknown, unaccepted, idle } = counts;
        for (place, count) in self.in_flight.iter().zip([busy, unknown, unaccepted, idle]) {
            place.store(count as u64, Ordering::Relaxed);
        }
        self.in_flight_seen.store(true, Ordering::Release);
    }

    /// A signal came to graceful.
    pub fn received(&self, signal: Signal) {
        count(&self.received, signal);
    }

    /// A signal went to the app.
    pub fn sent(&self, signal: Signal) {
        count(&self.sent, signal);
    }

    /// The time since graceful's start.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// All that a verdict needs, now.
    pub fn standing(&self) -> StatusSnapshot {
        let time = |time: &AtomicU64| Some(time.load(Ordering::Acquire)).filter(|at| *at != NEVER);
        let app_started = time(&self.app_started).map(Duration::from_micros);
        let phase = self.phase.load(Ordering::Acquire);
        StatusSnapshot {
            now: self.now(),
            phase: Phase::ALL.get(usize::from(phase)).copied().unwrap_or(Phase::Done),
            phase_since: Duration::from_micros(self.phase_since.load(Ordering::Relaxed)),
            t0: time(&self.t0).map(Duration::from_micros),
            app_started,
            app: match (self.app_gone.load(Ordering::Acquire), app_started) {
                (true, _) if self.comes_back.load(Ordering::Acquire) => AppHealth::Between,
                (true, _) => AppHealth::Gone,
                (false, Some(_)) => AppHealth::Running,
                (false, None) => AppHealth::Waiting,
            },
            hooks_done: self.hooks_done.load(Ordering::Acquire),
            was_ready: self.was_ready.load(Ordering::Acquire),
            shows_no_life: self.shows_no_life.load(Ordering::Acquire),
        }
    }

    /// Connections in flight by state, once they have been looked at: from the stop signal to the app's exit.
    pub fn all_in_flight(&self) -> Option<[(&'static str, u64); 4]> {
        let [busy, unknown, unaccepted, idle] = &self.in_flight;
        let count = |state, place: &AtomicU64| (state, place.load(Ordering::Relaxed));
        self.in_flight_seen.load(Ordering::Acquire).then(|| {
            [count("busy", busy), count("unknown", unknown), count("unaccepted", unaccepted), count("idle", idle)]
        })
    }

    /// Which run of the app counts.
    pub fn which_generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// How often the app was started again, by cause.
    pub fn all_restarts(&self) -> impl Iterator<Item = (RestartCause, u64)> {
        let counts = self.restarts.iter().map(|count| count.load(Ordering::Relaxed));
        RestartCause::ALL.into_iter().zip(counts)
    }

    /// How many processes were killed for want of memory; `None` where nobody counts them.
    pub fn oom_kills(&self) -> Option<u64> {
        Some(self.oom_kills.load(Ordering::Relaxed)).filter(|count| *count != UNKNOWN)
    }

    /// Orphans reaped so far.
    pub fn orphans(&self) -> u64 {
        self.orphans.load(Ordering::Relaxed)
    }

    /// How often SIGKILL went out.
    pub fn sigkills(&self) -> u64 {
        self.sigkills.load(Ordering::Relaxed)
    }

    /// Signals that came to graceful, with their counts.
    pub fn all_received(&self) -> impl Iterator<Item = (Signal, u64)> {
        counts(&self.received)
    }

    /// Signals that went to the app, with their counts.
    pub fn all_sent(&self) -> impl Iterator<Item = (Signal, u64)> {
        counts(&self.sent)
    }
}

fn micros(at: Duration) -> u64 {
    u64::try_from(at.as_micros()).unwrap_or(NEVER - 1)
}

fn count(counts: &[AtomicU64; SIGNALS], signal: Signal) {
    if let Some(count) = usize::try_from(signal.number()).ok().and_then(|number| counts.get(number)) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

fn counts(counts: &[AtomicU64; SIGNALS]) -> impl Iterator<Item = (Signal, u64)> {
    Signal::all().zip(counts.iter().skip(1)).map(|(signal, count)| (signal, count.load(Ordering::Relaxed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standing_is_what_was_written() {
        let board = SharedStatus::new(Instant::now());
        let first = board.standing();
        assert_eq!((first.phase, first.app, first.t0), (Phase::PreStart, AppHealth::Waiting, None));
        board.app_started(Duration::from_millis(3));
        for phase in Phase::ALL {
            board.phase(Duration::from_millis(7), phase);
            let standing = board.standing();
            assert_eq!((standing.phase, standing.phase_since), (phase, Duration::from_millis(7)));
        }
        board.stop_began(Duration::from_millis(9));
        let standing = board.standing();
        assert_eq!((standing.app, standing.app_started), (AppHealth::Running, Some(Duration::from_millis(3))));
        assert_eq!(standing.t0, Some(Duration::from_millis(9)));
        assert!(!standing.hooks_done && !standing.was_ready);
        board.hooks_done();
        board.was_ready();
        board.app_gone(false);
        let standing = board.standing();
        assert!(standing.hooks_done && standing.was_ready && standing.app == AppHealth::Gone);
    }

    #[test]
    fn of_the_next_run_nothing_is_known() {
        let board = SharedStatus::new(Instant::now());
        board.app_started(Duration::from_millis(3));
        board.hooks_done();
        board.was_ready();
        board.stop_began(Duration::from_millis(9));
        board.app_gone(true);
        board.restarting(Duration::from_millis(10), RestartCause::OutOfMemory);
        let standing = board.standing();
        assert_eq!((standing.app, standing.phase, standing.t0), (AppHealth::Between, Phase::PreStart, None));
        assert!(!standing.hooks_done && !standing.was_ready);
        board.generation(2);
        board.app_started(Duration::from_millis(12));
        assert_eq!(board.standing().app, AppHealth::Running);
        assert_eq!(board.which_generation(), 2);
        let restarts: Vec<_> = board.all_restarts().filter(|(_, count)| *count > 0).collect();
        assert_eq!(restarts, [(RestartCause::OutOfMemory, 1)]);
    }

    #[test]
    fn signals_are_counted_by_their_number() {
        let board = SharedStatus::new(Instant::now());
        board.received(Signal::TERM);
        board.received(Signal::TERM);
        board.sent(Signal::HUP);
        let last = Signal::new(64).unwrap();
        board.received(last);
        let received: Vec<_> = board.all_received().filter(|(_, count)| *count > 0).collect();
        assert_eq!(received, [(Signal::TERM, 2), (last, 1)]);
        let sent: Vec<_> = board.all_sent().filter(|(_, count)| *count > 0).collect();
        assert_eq!(sent, [(Signal::HUP, 1)]);
    }
}

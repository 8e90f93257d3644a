//! Requests in flight, from t0 to the app's exit, and as PID 1 their answers until they are delivered: news of the watching
//! thread become inputs, log lines and the report's numbers.

use super::Supervisor;
use crate::config::Hold;
use crate::counts::Counts;
use crate::inflight::{InFlightEvent, Task, WatchThread};
use crate::lifecycle::Input;
use crate::signal::Signal;
use crate::timeline::{Event, InFlightMoment, Phase, text};
use std::time::{Duration, Instant};

/// So long before the end of its time a hold is content with a moment in which nobody waits for an answer.
const LAST_MOMENTS: Duration = Duration::from_secs(2);

/// What is known.
#[derive(Debug, Default)]
pub(super) struct InFlightState {
    watch: Option<WatchThread>,
    last: Option<Seen>,
    /// What the lifecycle was told.
    told: Option<bool>,
    hold_began: Duration,
    /// When a moment is looked for in which nobody waits for an answer.
    calm_at: Option<Duration>,
    /// The app is gone.
    over: bool,
    undelivered: Option<Undelivered>,
}

/// Answers that are on their way although the app is gone.
#[derive(Debug)]
struct Undelivered {
    since: Duration,
    connections: usize,
    bytes: u64,
}

#[derive(Debug)]
struct Seen {
    at: Duration,
    counts: Counts,
    words: String,
}

impl InFlightState {
    /// When to call `in_flight_tick`, of a loop that began then.
    pub(super) fn deadline(&self, start: Instant) -> Option<Duration> {
        let due = self.watch.as_ref().and_then(WatchThread::due).map(|due| due.saturating_duration_since(start));
        due.into_iter().chain(self.calm_at).min()
    }

    pub(super) fn hold_begins(&mut self, now: Duration) {
        self.hold_began = now;
    }

    /// A hold of a run that was replaced ends then, whether anybody waits or not: shortly before that there may be a moment in which
    /// nobody does.
    pub(super) fn ends_at(&mut self, now: Duration, until: Duration) {
        self.calm_at = Some(until.saturating_sub(LAST_MOMENTS.min(until.saturating_sub(now) / 2)));
    }

    /// "3 busy", "idle"; empty if nothing was seen yet.
    pub(super) fn words(&self) -> String {
        self.last.as_ref().map(|seen| seen.words.clone()).unwrap_or_default()
    }

    /// What was seen last.
    pub(super) fn counts(&self) -> Option<Counts> {
        self.last.as_ref().map(|seen| seen.counts)
    }

    /// Ends the watching: SIGKILL is due, and nothing is read any longer of processes that are being killed.
    pub(super) fn watch_no_longer(&mut self) {
        self.watch = None;
    }

    fn try_recv(&self) -> Option<InFlightEvent> {
        self.watch.as_ref().and_then(WatchThread::try_recv)
    }

    /// What is seen now. True: it is the first that was seen.
    fn see(&mut self, seen: Seen) -> bool {
        self.last.replace(seen).is_none()
    }

    /// Whether the lifecycle has to be told of it.
    fn is_news(&mut self, in_flight: bool) -> bool {
        self.told.replace(in_flight) != Some(in_flight)
    }

    /// So many connections have bytes on their way: what there is to say of that. With none, there is nothing more to
    /// be watched.
    fn undelivered(&mut self, now: Duration, connections: usize, bytes: u64) -> Option<Event> {
        if connections == 0 {
            self.watch = None;
            let known = self.undelivered.take()?;
            return Some(Event::Delivered { took: now.saturating_sub(known.since) });
        }
        match &mut self.undelivered {
            Some(known) => {
                (known.connections, known.bytes) = (connections, bytes);
                None
            }
            None => {
                self.undelivered = Some(Undelivered { since: now, connections, bytes });
                Some(Event::Undelivered { connections, bytes })
            }
        }
    }
}

impl Supervisor {
    /// The stop has begun.
    pub(super) fn watch_in_flight(&mut self) {
        let samples = match &self.config.hold {
            Hold::Idle | Hold::Quiet | Hold::Url(_) | Hold::Command(_) => true,
            Hold::Never => false,
        };
        let looks = self.config.delay_is_for_listeners() && !self.config.budget.pre_stop_delay.is_zero();
        if self.run.app.is_none() || !(samples || looks) {
            return;
        }
        let task = Task {
            ports: self.config.ports.clone(),
            quiet_window: self.config.quiet_window,
            quiet: self.config.hold == Hold::Quiet,
            signal: self
                .config
                .stop_signal
                .or(self.config.profile_signal)
                .or(self.run.lifecycle.stop_signal())
                .unwrap_or(Signal::TERM),
            start: self.start,
            counts_own: false,
            trusts_handler: self.config.hold_reserve.is_none(),
            samples,
            of: self.ownership(),
        };
        let started = self.http.other_waker().and_then(|waker| WatchThread::start(task.clone(), move || waker.wake()));
        self.run.in_flight.watch = Some(started.unwrap_or_else(|_| WatchThread::here(task)));
    }

    /// Looks, where there is no thread for it.
    pub(super) fn in_flight_tick(&mut self) {
        let now = self.now();
        let state = &mut self.run.in_flight;
        if let Some(watch) = &mut state.watch {
            if state.calm_at.take_if(|at| *at <= now).is_some() {
                watch.look_for_calm();
            }
            watch.turn();
            self.in_flight_news();
        }
    }

    /// The app is gone; what is not delivered is told by the thread that has watched it.
    pub(super) fn look_after(&mut self) {
        let asked = self.run.in_flight.watch.as_mut().is_some_and(WatchThread::look_after);
        if !asked {
            self.run.in_flight.watch_no_longer();
            self.run.inputs.push_back(Input::Undelivered(0));
        }
    }

    fn undelivered(&mut self, connections: usize, bytes: u64) {
        let now = self.now();
        if let Some(event) = self.run.in_flight.undelivered(now, connections, bytes) {
            self.record(event);
        }
        self.run.inputs.push_back(Input::Undelivered(connections));
    }

    /// It is not waited for any longer, if there is any.
    pub(super) fn not_delivered(&mut self, why: &str) {
        if let Some(Undelivered { connections, bytes, .. }) = self.run.in_flight.undelivered.take() {
            self.record(Event::NotDelivered { connections, bytes, why: why.to_owned() });
        }
    }

    /// Everything that the watching thread has to say.
    pub(super) fn in_flight_news(&mut self) {
        while let Some(news) = self.run.in_flight.try_recv() {
            match news {
                InFlightEvent::Sampled { at, counts, reached, words } => {
                    self.sampled(Seen { at, counts, words }, reached)
                }
                InFlightEvent::NoHandler => self.run.inputs.push_back(Input::NoHandler),
                InFlightEvent::NothingListens => self.run.inputs.push_back(Input::NothingListens),
                // A hold of another kind does not depend on it.
                InFlightEvent::WentOn(pause) if self.holds_for_requests() => {
                    self.record(Event::AnswerWentOn { pause: pause.lasted, quiet_window: pause.quiet_window })
                }
                InFlightEvent::WentOn(_) => {}
                InFlightEvent::NotWatched(what) => self.record(Event::NotWatched { what }),
                InFlightEvent::Undelivered { connections, bytes } => self.undelivered(connections, bytes),
                InFlightEvent::Stalled(after) => {
                    self.run.in_flight.watch_no_longer();
                    self.not_delivered(&format!("nobody has taken any of it for {}", text::human(after)));
                    self.run.inputs.push_back(Input::Undelivered(0));
                }
                InFlightEvent::Calm => self.calm(),
                InFlightEvent::Trouble(what) => self.trouble_once(what),
                InFlightEvent::Blind(why) => self.blind(&why),
            }
        }
    }

    /// Clients stay with the run that accepted them, and one that has no handler for its signal never sends them away. So
    /// its hold may run out of time, and the signal cut off whoever waits then. But between two requests nobody does.
    fn calm(&mut self) {
        if self.is_beside() && self.run.lifecycle.phase() == Phase::Hold && self.holds_for_requests() {
            self.hold_over("nobody waits for an answer in this moment".to_owned());
        }
    }

    fn sampled(&mut self, seen: Seen, reached: bool) {
        if self.run.in_flight.over {
            return;
        }
        if self.run.lifecycle.phase() == Phase::Hold && reached && self.holds_for_requests() {
            let after = text::human(seen.at.saturating_sub(self.run.in_flight.hold_began));
            self.hold_over(format!("{} after {after}", seen.words));
        }
        self.publish_in_flight(&seen.counts);
        if self.run.in_flight.see(seen) {
            self.record_in_flight(InFlightMoment::Stop);
        }
        self.tell_lifecycle(!reached);
    }

    fn publish_in_flight(&self, counts: &Counts) {
        if let Some(health) = self.health.as_ref().filter(|_| !self.is_beside()) {
            health.in_flight(*counts);
        }
    }

    fn tell_lifecycle(&mut self, in_flight: bool) {
        if self.run.in_flight.is_news(in_flight) {
            self.run.inputs.push_back(Input::InFlight(in_flight));
        }
    }

    fn blind(&mut self, why: &str) {
        self.run.in_flight.watch_no_longer();
        if self.run.app.is_some() {
            return self.cannot_see(why);
        }
        self.not_delivered(why);
        self.run.inputs.push_back(Input::Undelivered(0));
    }

    /// Nothing is held for what cannot be seen.
    fn cannot_see(&mut self, why: &str) {
        if self.config.hold == Hold::Never {
            // It was only about the delay, which is kept.
            return;
        }
        self.trouble_once(format!("requests in flight cannot be seen ({why}): nothing is held for them"));
        self.run.in_flight.last = None;
        self.tell_lifecycle(false);
        if self.run.lifecycle.phase() == Phase::Hold && self.holds_for_requests() {
            self.hold_over("requests in flight can no longer be seen".to_owned());
        }
    }

    pub(super) fn holds_for_requests(&self) -> bool {
        matches!(self.config.hold, Hold::Idle | Hold::Quiet)
    }

    /// The last numbers, for the report.
    pub(super) fn record_in_flight(&mut self, at: InFlightMoment) {
        if at == InFlightMoment::Signal
            && let Some(watch) = &mut self.run.in_flight.watch
        {
            watch.look_closely();
        }
        let Some(seen) = &self.run.in_flight.last else { return };
        let (counts, age) = (seen.counts, self.now().saturating_sub(seen.at));
        self.record(Event::InFlight { at, counts, age });
    }

    /// The app has exited: what was in flight in the moment before is lost.
    pub(super) fn in_flight_over(&mut self) {
        self.in_flight_news();
        self.run.in_flight.over = true;
        // It may be asked to look after what the app has left.
        if !self.launch.init || self.run.lifecycle.phase() >= Phase::Leftovers {
            self.run.in_flight.watch_no_longer();
        }
        let lost = self.run.in_flight.last.as_ref().and_then(|seen| seen.counts.lost());
        self.record_in_flight(InFlightMoment::Exit);
        if let Some(what) = lost {
            self.record(Event::Unanswered { what });
        }
        self.run.in_flight.last = None;
        self.publish_in_flight(&Counts::default());
    }
}

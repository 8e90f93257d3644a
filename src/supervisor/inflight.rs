//! Requests in flight, from t0 to the app's exit, and as PID 1 their answers until they are delivered: news of the watching
//! thread become inputs, log lines and the report's numbers.

use super::Supervisor;
use crate::config::Hold;
use crate::inflight::{Counts, News, Task, Watch};
use crate::lifecycle::Input;
use crate::signal::Signal;
use crate::timeline::{Event, InFlight as Numbers, Moment, Phase, text};
use std::time::Duration;

/// What is known.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    watch: Option<Watch>,
    last: Option<Seen>,
    /// What the lifecycle was told.
    told: Option<bool>,
    pub(super) hold_began: Duration,
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

impl Supervisor {
    /// The stop has begun.
    pub(super) fn watch_in_flight(&mut self) {
        let samples = match &self.config.hold {
            Hold::Idle | Hold::Quiet | Hold::Url(_) | Hold::Command(_) => true,
            Hold::Never => false,
        };
        let looks = self.config.delay_is_for_listeners() && !self.config.budget.pre_stop_delay.is_zero();
        if self.app.is_none() || !(samples || looks) {
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
                .or(self.lifecycle.stop_signal())
                .unwrap_or(Signal::TERM),
            start: self.start,
            counts_own: false,
            trusts_handler: self.config.hold_reserve.is_none(),
            samples,
        };
        let started = self.other_waker().and_then(|waker| Watch::start(task, move || waker.wake()));
        match started {
            Ok(watch) => self.in_flight.watch = Some(watch),
            Err(error) => self.cannot_see(&error.to_string()),
        }
    }

    /// The app is gone; what is not delivered is told by the thread that has watched it.
    pub(super) fn look_after(&mut self) {
        let asked = self.in_flight.watch.as_ref().is_some_and(Watch::look_after);
        if !asked {
            self.in_flight.watch = None;
            self.inputs.push_back(Input::Undelivered(0));
        }
    }

    fn undelivered(&mut self, connections: usize, bytes: u64) {
        let now = self.now();
        match &mut self.in_flight.undelivered {
            Some(known) => (known.connections, known.bytes) = (connections, bytes),
            None if connections > 0 => {
                self.in_flight.undelivered = Some(Undelivered { since: now, connections, bytes });
                self.record(Event::Undelivered { connections, bytes });
            }
            None => {}
        }
        if connections == 0 {
            self.in_flight.watch = None;
            if let Some(known) = self.in_flight.undelivered.take() {
                self.record(Event::Delivered { took: now.saturating_sub(known.since) });
            }
        }
        self.inputs.push_back(Input::Undelivered(connections));
    }

    /// It is not waited for any longer, if there is any.
    pub(super) fn not_delivered(&mut self, why: &str) {
        if let Some(Undelivered { connections, bytes, .. }) = self.in_flight.undelivered.take() {
            self.record(Event::NotDelivered { connections, bytes, why: why.to_owned() });
        }
    }

    /// Everything that the watching thread has to say.
    pub(super) fn in_flight_news(&mut self) {
        while let Some(news) = self.in_flight.watch.as_ref().and_then(Watch::try_recv) {
            match news {
                News::Sampled { at, counts, reached, words } => self.sampled(Seen { at, counts, words }, reached),
                News::NoHandler => self.inputs.push_back(Input::NoHandler),
                News::NothingListens => self.inputs.push_back(Input::NothingListens),
                News::NotWatched(what) => self.record(Event::NotWatched { what }),
                News::Undelivered { connections, bytes } => self.undelivered(connections, bytes),
                News::Stalled(after) => {
                    self.in_flight.watch = None;
                    self.not_delivered(&format!("nobody has taken any of it for {}", text::human(after)));
                    self.inputs.push_back(Input::Undelivered(0));
                }
                News::Trouble(what) => self.trouble_once(what),
                News::Blind(why) => self.blind(&why),
            }
        }
    }

    fn sampled(&mut self, seen: Seen, reached: bool) {
        if self.in_flight.over {
            return;
        }
        let first = self.in_flight.last.is_none();
        if self.lifecycle.phase() == Phase::Hold && reached && self.holds_for_requests() {
            let after = text::human(seen.at.saturating_sub(self.in_flight.hold_began));
            self.hold_over(format!("{} after {after}", seen.words));
        }
        self.publish_in_flight(&seen.counts);
        self.in_flight.last = Some(seen);
        if first {
            self.record_in_flight(Moment::Stop);
        }
        self.tell_lifecycle(!reached);
    }

    fn publish_in_flight(&self, counts: &Counts) {
        if let Some(health) = &self.health {
            health.in_flight(numbers(counts));
        }
    }

    fn tell_lifecycle(&mut self, in_flight: bool) {
        if self.in_flight.told.replace(in_flight) != Some(in_flight) {
            self.inputs.push_back(Input::InFlight(in_flight));
        }
    }

    fn blind(&mut self, why: &str) {
        self.in_flight.watch = None;
        if self.app.is_some() {
            return self.cannot_see(why);
        }
        self.not_delivered(why);
        self.inputs.push_back(Input::Undelivered(0));
    }

    /// Nothing is held for what cannot be seen.
    fn cannot_see(&mut self, why: &str) {
        if self.config.hold == Hold::Never {
            // It was only about the delay, which is kept.
            return;
        }
        self.trouble_once(format!("requests in flight cannot be seen ({why}): nothing is held for them"));
        self.in_flight.last = None;
        self.tell_lifecycle(false);
        if self.lifecycle.phase() == Phase::Hold && self.holds_for_requests() {
            self.hold_over("requests in flight can no longer be seen".to_owned());
        }
    }

    pub(super) fn holds_for_requests(&self) -> bool {
        matches!(self.config.hold, Hold::Idle | Hold::Quiet)
    }

    /// "3 busy", "idle"; empty if nothing was seen yet.
    pub(super) fn in_flight_words(&self) -> String {
        self.in_flight.last.as_ref().map(|seen| seen.words.clone()).unwrap_or_default()
    }

    /// The last numbers, for the report.
    pub(super) fn record_in_flight(&mut self, at: Moment) {
        if at == Moment::Signal
            && let Some(watch) = &self.in_flight.watch
        {
            watch.look_closely();
        }
        let Some(seen) = &self.in_flight.last else { return };
        let (counts, age) = (numbers(&seen.counts), self.now().saturating_sub(seen.at));
        self.record(Event::InFlight { at, counts, age });
    }

    /// The app has exited: what was in flight in the moment before is lost.
    pub(super) fn in_flight_over(&mut self) {
        self.in_flight_news();
        self.in_flight.over = true;
        // It may be asked to look after what the app has left.
        if !self.launch.init || self.lifecycle.phase() >= Phase::Leftovers {
            self.in_flight.watch = None;
        }
        let lost = self.in_flight.last.as_ref().and_then(|seen| seen.counts.lost());
        self.record_in_flight(Moment::Exit);
        if let Some(what) = lost {
            self.record(Event::Unanswered { what });
        }
        self.in_flight.last = None;
        self.publish_in_flight(&Counts::default());
    }
}

fn numbers(counts: &Counts) -> Numbers {
    let Counts { busy, unknown, idle, unaccepted } = *counts;
    Numbers { busy, unknown, idle, unaccepted }
}

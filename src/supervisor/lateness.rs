//! How late graceful's own timers fire, while a stop goes on.
//!
//! Where a tiny share of a processor (`--cpus 0.05`) is taken up by the app, graceful itself is kept waiting: its SIGKILL
//! goes out late, the dead are reaped late, and the orchestrator's own SIGKILL comes first, before the report is there.
//! So it asks for short turns, which come sooner. From t0 on it wakes up some times a second and looks how late that was,
//! and SIGKILL goes out so much earlier. And shortly before it does, the report is written as it would be then, and once more as
//! soon as graceful is seen to be kept waiting: who writes it waits, too. Whatever comes, there is one.

use super::Supervisor;
use crate::lifecycle::Input;
use crate::signal::Signal;
use crate::status::ExitStatus;
use crate::timeline::Phase;
use std::time::Duration;

/// From one look to the next.
const PULSE: Duration = Duration::from_millis(250);
/// What any busy machine is late now and then.
const USUAL: Duration = Duration::from_millis(50);
/// To kill, to reap and to report are a timer each, and some work between them.
const STEPS: u32 = 3;
/// How long before SIGKILL the report is written.
const IN_ADVANCE: Duration = Duration::from_millis(300);

/// How late the own timers fire.
#[derive(Debug, Default)]
pub(super) struct Lateness {
    /// The latest of late, less of it from pulse to pulse.
    worst: Duration,
    pulse_at: Option<Duration>,
    told: Duration,
    /// As soon as it was late, and shortly before SIGKILL.
    reported: (bool, bool),
}

impl Lateness {
    /// When to call `lateness_tick`.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.pulse_at
    }

    /// What was to be done at the one time was begun at the other.
    pub(super) fn woke(&mut self, wanted: Duration, now: Duration) {
        self.worst = self.worst.max(now.saturating_sub(wanted));
    }

    /// How much earlier than K it has to be.
    fn lead(&self) -> Duration {
        if self.worst < USUAL { Duration::ZERO } else { self.worst * STEPS }
    }
}

impl Supervisor {
    pub(super) fn lateness_tick(&mut self, now: Duration) {
        let Some(kill_at) = self.run.lifecycle.kill_at().filter(|_| self.run.lifecycle.phase() < Phase::Kill) else {
            self.run.lateness.pulse_at = None;
            return;
        };
        if self.run.lateness.pulse_at.is_some_and(|at| at > now) {
            return;
        }
        let late = &mut self.run.lateness;
        if late.pulse_at.is_none() {
            // What it was before the stop says nothing.
            late.worst = Duration::ZERO;
            crate::sys::take_short_turns();
        }
        let lead = late.lead();
        late.worst -= late.worst / 8;
        let kill_at = kill_at.saturating_sub(lead);
        // Whoever writes it has to wait for the processor, too.
        let close = kill_at.saturating_sub(IN_ADVANCE + lead);
        late.pulse_at = Some((now + PULSE).min(close.max(now + PULSE / 10)));
        if late.told != lead {
            late.told = lead;
            self.run.inputs.push_back(Input::Late(lead));
        }
        let (early, last) = (&mut self.run.lateness.reported.0, &mut self.run.lateness.reported.1);
        let is_close = now >= close && !std::mem::replace(last, true);
        let is_late = !lead.is_zero() && !std::mem::replace(early, true);
        if is_close || is_late {
            self.report_in_advance(ExitStatus::Signaled(Signal::KILL).code());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_more_than_usual_counts_and_the_worst_of_it() {
        let (mut late, ms) = (Lateness::default(), Duration::from_millis);
        late.woke(ms(1000), ms(1049));
        assert_eq!(late.lead(), Duration::ZERO);
        late.woke(ms(2000), ms(2400));
        late.woke(ms(3000), ms(2990));
        assert_eq!(late.lead(), ms(1200));
    }
}

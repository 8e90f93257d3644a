//! What is shown while drills run: a live view on stderr, where that is a terminal, and a line for each round of
//! several as it ends.
//!
//! ```text
//!   load       ━━━━━━╸─── 100/s  143 ok  0 dropped  5 in flight  2.6 s left
//! ```
//!
//! The view is drawn by indicatif, which knows how wide the terminal is, redraws at a bounded rate and removes what it
//! drew. It is ticked by the drill's own loop and has no thread, hides no cursor and changes no mode of the terminal:
//! whatever ends the drill leaves nothing but, at worst, one line. With NO_COLOR it has no colours, with TERM=dumb
//! there is none.

use super::evidence::Drill;
use super::load::Control;
use super::report::terminal::{self, OutputStream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::VecDeque;
use std::io::IsTerminal;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often the numbers change: more often they cannot be read.
const INTERVAL: Duration = Duration::from_millis(100);
/// The rate shown is that of the last second.
const RATE_OVER: Duration = Duration::from_secs(1);

/// How far a drill is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Until the first answer of every target.
    Waiting,
    /// Until the stop.
    Load,
    /// From the stop until the app has exited.
    Stopping,
    /// The app is gone; the load balancer may still send.
    Over,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Phase::Waiting => "waiting",
            Phase::Load => "load",
            Phase::Stopping => "stopping",
            Phase::Over => "over",
        }
    }
}

/// The numbers at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Numbers {
    sent: u64,
    ok: u64,
    dropped: u64,
    in_flight: u64,
}

impl Numbers {
    fn of(control: &Control) -> Numbers {
        let (ok, dropped) = (control.ok.load(Ordering::Relaxed), control.failed.load(Ordering::Relaxed));
        Numbers { sent: control.sent.load(Ordering::Relaxed), ok, dropped, in_flight: control.under_way() }
    }
}

/// The jobs at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct JobsNow {
    pub(super) submitted: usize,
    pub(super) done: usize,
    /// Neither done nor queued, which means something only when the worker is gone.
    pub(super) missing: usize,
    pub(super) is_stopped: bool,
    pub(super) is_gone: bool,
}

/// The live view of the drill that is under way.
pub(super) struct Progress {
    on: bool,
    colours: bool,
    bar: Option<ProgressBar>,
    last: Option<Instant>,
    rate: Rate,
}

impl Progress {
    /// A view that is shown if it is wanted and stderr is a terminal that can take back a line.
    pub(super) fn new(wanted: bool) -> Progress {
        let on = wanted && std::io::stderr().is_terminal() && !terminal::is_dumb();
        Progress { on, colours: !terminal::no_color(), bar: None, last: None, rate: Rate::default() }
    }

    /// Shows the wait for the first answer, which takes this long at most.
    pub(super) fn waiting(&mut self, since: Duration, most: Duration) {
        let words = format!("for the first answer, {} left", tenths(most.saturating_sub(since)));
        self.show(Phase::Waiting, share(since, most), words);
    }

    /// Shows the load before the stop: how much of its time is over, and how long it goes on after the stop, if that is
    /// known.
    pub(super) fn load(&mut self, control: &Control, done: Duration, before: Duration, lag: Option<Duration>) {
        let whole = before + lag.unwrap_or_default();
        self.counted(Phase::Load, control, done, whole, lag.is_some());
    }

    /// Shows the stop: how long it has lasted, and how long the load balancer goes on sending, if that is known.
    pub(super) fn stopping(
        &mut self,
        control: &Control,
        since: Duration,
        before: Duration,
        lag: Option<Duration>,
        is_gone: bool,
    ) {
        let phase = if is_gone { Phase::Over } else { Phase::Stopping };
        self.counted(phase, control, before + since, before + lag.unwrap_or_default(), lag.is_some());
    }

    /// Shows the wait for the first job of a worker to be done, which takes this long at most.
    pub(super) fn first_job(&mut self, since: Duration, most: Duration) {
        let words = format!("for the first job to be done, {} left", tenths(most.saturating_sub(since)));
        self.show(Phase::Waiting, share(since, most), words);
    }

    /// Shows the jobs of a worker: how much of the time of their load is over, and whether the worker is gone.
    pub(super) fn jobs(&mut self, jobs: JobsNow, done: Duration, whole: Duration) {
        let phase = match (jobs.is_stopped, jobs.is_gone) {
            (false, _) => Phase::Load,
            (true, false) => Phase::Stopping,
            (true, true) => Phase::Over,
        };
        let JobsNow { submitted, done: are_done, missing, .. } = jobs;
        let missing = if jobs.is_gone { format!("  {missing} neither") } else { String::new() };
        self.show(phase, share(done, whole), format!("{submitted} submitted  {are_done} done{missing}"));
    }

    /// Removes what was drawn.
    pub(super) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        (self.last, self.rate) = (None, Rate::default());
    }

    fn counted(&mut self, phase: Phase, control: &Control, done: Duration, whole: Duration, has_end: bool) {
        if !self.on {
            return;
        }
        let numbers = Numbers::of(control);
        let rate = self.rate.after(Instant::now(), numbers.sent);
        let left = has_end.then(|| whole.saturating_sub(done));
        self.show(phase, share(done, whole), words(numbers, rate, left));
    }

    fn show(&mut self, phase: Phase, share: u64, words: String) {
        if !self.on || self.last.is_some_and(|last| last.elapsed() < INTERVAL) {
            return;
        }
        self.last = Some(Instant::now());
        let colours = self.colours;
        let bar = self.bar.get_or_insert_with(|| bar(colours));
        bar.set_prefix(phase.name());
        bar.set_message(words);
        bar.set_position(share);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

const WHOLE: u64 = 1000;

fn bar(colours: bool) -> ProgressBar {
    let template = if colours { "{prefix:<9} {bar:10.cyan/dim} {wide_msg}" } else { "{prefix:<9} {bar:10} {wide_msg}" };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(Some(WHOLE), ProgressDrawTarget::stderr());
    bar.with_style(style.progress_chars("━╸─"))
}

fn share(done: Duration, whole: Duration) -> u64 {
    let share = if whole.is_zero() { 1.0 } else { done.as_secs_f64() / whole.as_secs_f64() };
    (share.clamp(0.0, 1.0) * WHOLE as f64) as u64
}

fn words(numbers: Numbers, rate: u64, left: Option<Duration>) -> String {
    let Numbers { ok, dropped, in_flight, .. } = numbers;
    let left = left.map(|left| format!("  {} left", tenths(left))).unwrap_or_default();
    format!("{rate}/s  {ok} ok  {dropped} dropped  {in_flight} in flight{left}")
}

fn tenths(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// Requests a second, over the last second.
#[derive(Debug, Default)]
struct Rate(VecDeque<(Instant, u64)>);

impl Rate {
    fn after(&mut self, now: Instant, sent: u64) -> u64 {
        self.0.push_back((now, sent));
        // One that is older stays, so that there is a whole second to measure.
        while self.0.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= RATE_OVER) {
            self.0.pop_front();
        }
        let Some((first, before)) = self.0.front() else { return 0 };
        let seconds = now.duration_since(*first).as_secs_f64();
        if seconds > 0.0 { ((sent - before) as f64 / seconds).round() as u64 } else { 0 }
    }
}

/// The lines of the rounds of several drills.
pub(super) struct Rounds {
    to: Option<OutputStream>,
    /// Number of drills to come, if it is known.
    of: Option<u32>,
    held: u32,
}

impl Rounds {
    /// Lines for this many rounds, or for as many as there will be; none without a stream.
    pub(super) fn new(to: Option<OutputStream>, of: Option<u32>) -> Rounds {
        Rounds { to, of, held: 0 }
    }

    /// Writes the line of a round that has ended.
    pub(super) fn ended(&mut self, drill: &Drill) {
        self.held += 1;
        if let Some(to) = self.to {
            to.write(&terminal::round(drill, self.held, self.of, to.paint()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_second() {
        let (start, mut rate) = (Instant::now(), Rate::default());
        let mut shown = Vec::new();
        for tenth in 0..40 {
            // 100 a second, and nothing after two seconds.
            let sent = (tenth * 10).min(200);
            shown.push(rate.after(start + Duration::from_millis(100 * tenth), sent));
        }
        assert_eq!((shown[0], shown[1], shown[15], shown[35]), (0, 100, 100, 0), "{shown:?}");
        assert!(shown[25] > 0 && shown[25] < 100, "{shown:?}");
    }

    #[test]
    fn the_words_fit_a_terminal_of_eighty_columns() {
        let numbers = Numbers { sent: 30_000, ok: 12_345, dropped: 10_003, in_flight: 27 };
        let words = words(numbers, 5000, Some(Duration::from_millis(1849)));
        assert_eq!(words, "5000/s  12345 ok  10003 dropped  27 in flight  1.8 s left");
        assert!("stopping  ".len() + 10 + 1 + words.chars().count() < 80, "{words}");
    }

    #[test]
    fn a_share_of_nothing_is_all_of_it() {
        let second = Duration::from_secs(1);
        assert_eq!(
            (share(second, Duration::ZERO), share(second, second * 4), share(second * 9, second)),
            (1000, 250, 1000)
        );
    }
}

//! One line on stderr while a drill runs, on a terminal only. By hand: a library for progress bars would be a twentieth of
//! the binary.

use super::load::Control;
use super::stage::human;
use std::io::{IsTerminal, Write};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_millis(100);
const WIDTH: usize = 24;

/// The line.
pub(super) struct Progress {
    on: bool,
    shown: bool,
    last: Option<Instant>,
}

impl Progress {
    pub(super) fn new() -> Progress {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Progress { on: std::io::stderr().is_terminal() && !dumb, shown: false, last: None }
    }

    pub(super) fn say(&mut self, text: &str) {
        self.write(text);
    }

    /// The load, with how much of its time is over.
    pub(super) fn load(&mut self, what: &str, control: &Control, done: Duration, whole: Duration) {
        if !self.is_due() {
            return;
        }
        let share = if whole.is_zero() { 1.0 } else { done.as_secs_f64() / whole.as_secs_f64() };
        let full = (share.clamp(0.0, 1.0) * WIDTH as f64) as usize;
        let bar: String = (0..WIDTH).map(|at| if at < full { '█' } else { '░' }).collect();
        self.write(&format!("{what} {bar} {}", counted(control)));
    }

    /// The stop, with how long it takes.
    pub(super) fn stopping(&mut self, control: &Control, since: Duration, gone: bool) {
        if self.is_due() {
            let what = if gone { "the app is gone" } else { "stopping" };
            self.write(&format!("{what}, {} after the stop: {}", human(since), counted(control)));
        }
    }

    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            _ = std::io::stderr().write_all(b"\r\x1b[K");
        }
    }

    fn is_due(&mut self) -> bool {
        let due = self.on && self.last.is_none_or(|last| last.elapsed() >= INTERVAL);
        if due {
            self.last = Some(Instant::now());
        }
        due
    }

    fn write(&mut self, text: &str) {
        if self.on {
            self.shown = true;
            _ = write!(std::io::stderr(), "\r\x1b[K{text}");
        }
    }
}

fn counted(control: &Control) -> String {
    let (ok, failed) = (control.ok.load(Ordering::Relaxed), control.failed.load(Ordering::Relaxed));
    format!("{ok} ok, {failed} failed, {} under way", control.under_way())
}

//! The look at the readiness endpoint, as a load balancer has it: every so often, each time on a new connection.

use super::facts::ReadyState;
use crate::probe::{Client, Verdict};
use crate::secret::Url;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// From one look to the next.
const INTERVAL: Duration = Duration::from_millis(20);
/// For one look.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The thread that looks.
pub(super) struct Readiness {
    changes: Arc<Mutex<Vec<(Instant, ReadyState)>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Readiness {
    /// Looks from now on.
    pub(super) fn watch(url: &Url) -> io::Result<Readiness> {
        let (changes, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let runtime = super::load::runtime()?;
        let client = Client::new();
        let (url, seen, ended) = (url.clone(), changes.clone(), over.clone());
        let body = move || {
            while !ended.load(Ordering::Relaxed) {
                // What was asked before the change cannot have seen it: the end of the look is its time.
                let look = runtime.block_on(client.get(&url, TIMEOUT));
                let state = match look.verdict {
                    Verdict::Ready | Verdict::Warning => ReadyState::Ready,
                    Verdict::NotReady if look.refused => ReadyState::Refused,
                    Verdict::NotReady => ReadyState::NotReady(look.detail),
                };
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                if seen.last().is_none_or(|(_, last)| *last != state) {
                    seen.push((Instant::now(), state));
                }
                drop(seen);
                thread::sleep(INTERVAL);
            }
        };
        let thread = thread::Builder::new().name("drill-ready".to_owned()).spawn(body)?;
        Ok(Readiness { changes, over, thread: Some(thread) })
    }

    /// What changed, in seconds since the stop; what was there first comes first.
    pub(super) fn changes(mut self, stop: Instant) -> Vec<(f64, ReadyState)> {
        self.end();
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let since = |at: Instant| match at.checked_duration_since(stop) {
            Some(after) => after.as_secs_f64(),
            None => -stop.saturating_duration_since(at).as_secs_f64(),
        };
        changes.iter().map(|(at, state)| (since(*at), state.clone())).collect()
    }

    fn end(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        self.end();
    }
}

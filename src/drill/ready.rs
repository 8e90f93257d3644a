//! The look at the readiness endpoint, as a load balancer has it: every so often, each time on a new connection.

use super::facts::ReadyState;
use crate::http::{Client, RequestResult};
use crate::secret::Url;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tracing::debug;

/// The time from one look to the next.
const INTERVAL: Duration = Duration::from_millis(20);
/// How long one look may take.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The thread that looks.
pub(super) struct ReadinessObserver {
    changes: Arc<Mutex<Vec<(Instant, ReadyState)>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ReadinessObserver {
    /// Starts to look.
    pub(super) fn watch(url: &Url) -> io::Result<ReadinessObserver> {
        let (changes, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let runtime = super::load::runtime()?;
        let client = Client::new();
        let (url, seen, ended) = (url.clone(), changes.clone(), over.clone());
        let body = move || {
            while !ended.load(Ordering::Relaxed) {
                // What was asked before the change cannot have seen it: the end of the look is its time.
                let look = runtime.block_on(client.get(&url, TIMEOUT));
                let state = match look.verdict {
                    RequestResult::Ready | RequestResult::Warning => ReadyState::Ready,
                    RequestResult::NotReady if look.refused => ReadyState::Refused,
                    RequestResult::NotReady => ReadyState::NotReady(look.detail),
                };
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                if seen.last().is_none_or(|(_, last)| *last != state) {
                    debug!(name: "drill_readiness", ?state, "readiness: {state:?}");
                    seen.push((Instant::now(), state));
                }
                drop(seen);
                thread::sleep(INTERVAL);
            }
        };
        let thread = thread::Builder::new().name("drill-ready".to_owned()).spawn(body)?;
        Ok(ReadinessObserver { changes, over, thread: Some(thread) })
    }

    /// When it failed first, apart from the first look, if it did.
    pub(super) fn failing_since(&self) -> Option<Instant> {
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        changes.iter().skip(1).find(|(_, state)| state.is_failing()).map(|(at, _)| *at)
    }

    /// What changed, in seconds since the stop, after what was there first.
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

impl Drop for ReadinessObserver {
    fn drop(&mut self) {
        self.end();
    }
}

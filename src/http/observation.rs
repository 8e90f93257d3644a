//! What a request showed, and the one deadline that it has.

use super::error::RequestError;
use std::time::Duration;
use tokio::time::Instant;

/// What one request showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The result.
    pub verdict: RequestResult,
    /// The result in words: "200", "503 Service Unavailable", "connection refused", "no answer within 1s".
    pub detail: String,
    /// Whether the connection was refused: the listener is closed.
    pub refused: bool,
    /// How long it took, name resolution and redirects included.
    pub took: Duration,
}

/// The result of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestResult {
    /// Success.
    Ready,
    /// Success for kubelet, but the last answer was a redirect, so that nobody has seen the page itself.
    Warning,
    /// Failure.
    NotReady,
}

impl RequestResult {
    /// Whether it is a success: a warning is one.
    pub fn is_ready(self) -> bool {
        match self {
            RequestResult::Ready | RequestResult::Warning => true,
            RequestResult::NotReady => false,
        }
    }
}

/// The one deadline over a request.
#[derive(Clone, Copy)]
pub(crate) struct Deadline {
    start: Instant,
    limit: Duration,
}

impl Deadline {
    /// Timeouts beyond a year are cut to one: the clock's arithmetic would overflow at the far end.
    pub(crate) fn after(limit: Duration) -> Deadline {
        const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
        Deadline { start: Instant::now(), limit: limit.min(YEAR) }
    }

    pub(crate) fn at(&self) -> Instant {
        self.start + self.limit
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    pub(crate) fn shown(&self) -> String {
        humantime::format_duration(self.limit).to_string()
    }

    /// This outcome as an observation that ends now.
    pub(crate) fn observed(&self, outcome: Result<(RequestResult, String), RequestError>) -> Observation {
        let took = self.start.elapsed();
        match outcome {
            Ok((verdict, detail)) => Observation { verdict, detail, refused: false, took },
            Err(RequestError { detail, refused, .. }) => {
                Observation { verdict: RequestResult::NotReady, detail, refused, took }
            }
        }
    }
}

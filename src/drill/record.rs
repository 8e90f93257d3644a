//! One request: who sent it, when, and the one outcome that it came to.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The five kinds of client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientKind {
    /// A new connection for each request.
    New,
    /// A kept connection, used all the time.
    Hot,
    /// A kept connection that wakes once, after the stop.
    Idle,
    /// A request that takes its time.
    Slow,
    /// An answer that goes on and on.
    Stream,
}

impl ClientKind {
    /// Whether it sends at the rate, whatever becomes of the requests before: how long such requests take is what a
    /// user waits.
    pub fn is_paced(self) -> bool {
        matches!(self, ClientKind::New | ClientKind::Hot)
    }

    /// Every kind.
    pub const ALL: [ClientKind; 5] =
        [ClientKind::New, ClientKind::Hot, ClientKind::Idle, ClientKind::Slow, ClientKind::Stream];

    /// As `--mix` and the reports write it.
    pub fn name(self) -> &'static str {
        match self {
            ClientKind::New => "new",
            ClientKind::Hot => "hot",
            ClientKind::Idle => "idle",
            ClientKind::Slow => "slow",
            ClientKind::Stream => "stream",
        }
    }
}

/// What became of a request: exactly one of these, at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequestOutcome {
    /// The whole answer, 200 to 299.
    Ok,
    /// The same, and the server said `Connection: close`.
    OkClose,
    /// The whole answer, with another status.
    Status,
    /// The connection was refused.
    Refused,
    /// Connected, or not even refused, and never a byte of an answer within the timeout.
    BlackHole,
    /// The connection was reset or closed before the first byte of an answer.
    Reset,
    /// The connection was reset in the middle of the answer.
    ResetInAnswer,
    /// The connection was closed before the answer was complete.
    Truncated,
    /// An answer that was not complete within the timeout, or none on a connection that had answered before.
    Timeout,
    /// What came is not HTTP, or the connection could not be made for another reason.
    Broken,
    /// The drill ended before the request did.
    Unfinished,
    /// An answer without an end of its own, whose connection ended within the stop: nobody can tell whether it was
    /// whole.
    Untold,
}

impl RequestOutcome {
    /// Every outcome, the good ones first.
    pub const ALL: [RequestOutcome; 12] = [
        RequestOutcome::Ok,
        RequestOutcome::OkClose,
        RequestOutcome::Status,
        RequestOutcome::Refused,
        RequestOutcome::BlackHole,
        RequestOutcome::Reset,
        RequestOutcome::ResetInAnswer,
        RequestOutcome::Truncated,
        RequestOutcome::Timeout,
        RequestOutcome::Broken,
        RequestOutcome::Unfinished,
        RequestOutcome::Untold,
    ];

    /// Whether the user got what was asked for.
    pub fn is_ok(self) -> bool {
        matches!(self, RequestOutcome::Ok | RequestOutcome::OkClose)
    }

    /// As the reports write it.
    pub fn name(self) -> &'static str {
        match self {
            RequestOutcome::Ok => "ok",
            RequestOutcome::OkClose => "ok-close",
            RequestOutcome::Status => "status",
            RequestOutcome::Refused => "refused",
            RequestOutcome::BlackHole => "black-hole",
            RequestOutcome::Reset => "reset",
            RequestOutcome::ResetInAnswer => "reset-in-answer",
            RequestOutcome::Truncated => "truncated",
            RequestOutcome::Timeout => "timeout",
            RequestOutcome::Broken => "broken",
            RequestOutcome::Unfinished => "unfinished",
            RequestOutcome::Untold => "untold",
        }
    }

    /// In a sentence, as in "3 refused, 1 black hole".
    pub fn words(self) -> &'static str {
        match self {
            RequestOutcome::Ok => "ok",
            RequestOutcome::OkClose => "ok with Connection: close",
            RequestOutcome::Status => "answered with an error status",
            RequestOutcome::Refused => "refused",
            RequestOutcome::BlackHole => "never answered (black hole)",
            RequestOutcome::Reset => "reset before an answer",
            RequestOutcome::ResetInAnswer => "reset in the middle of the answer",
            RequestOutcome::Truncated => "cut off in the middle of the answer",
            RequestOutcome::Timeout => "not complete within the timeout",
            RequestOutcome::Broken => "broken",
            RequestOutcome::Unfinished => "still open at the end",
            RequestOutcome::Untold => "ended with the connection, whole or not",
        }
    }
}

impl fmt::Display for RequestOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One request. All times are seconds since the stop; before it they are negative.
///
/// They are those of the client: when its thread did something, or got to know of it. On the wire the same is seen a
/// little earlier or later, by as long as that thread waited for a processor: less than a millisecond on an idle
/// machine, more where load, app and others share few processors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The kind of client that sent it.
    pub kind: ClientKind,
    /// Which of the targets, counted as the report lists them.
    pub target: usize,
    /// When it should have been sent.
    pub intended_s: f64,
    /// When it was: the connection was begun, or the request written on one that was there.
    pub sent_s: f64,
    /// When its outcome was certain.
    pub ended_s: f64,
    /// What became of it.
    pub outcome: RequestOutcome,
    /// The answer's status, if one came.
    pub status: Option<u16>,
    /// Whether it was sent on a connection that had been used before.
    pub reused: bool,
    /// The client's own TCP port: with it the request can be found in a capture of the network, or in the server's log.
    /// None where there was no connection, such as where it was refused, and on a Unix socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The failure in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

impl Record {
    /// From the intended send time to the outcome, in seconds: what a user would have waited.
    pub fn latency_s(&self) -> f64 {
        self.ended_s - self.intended_s
    }
}

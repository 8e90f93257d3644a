//! One request: who sent it, when, and the one outcome that it came to.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The five kinds of client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
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

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 5] = [Kind::New, Kind::Hot, Kind::Idle, Kind::Slow, Kind::Stream];

    /// As `--mix` and the reports write it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::New => "new",
            Kind::Hot => "hot",
            Kind::Idle => "idle",
            Kind::Slow => "slow",
            Kind::Stream => "stream",
        }
    }
}

/// What became of a request. Exactly one of these, at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
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
    /// What came is no HTTP, or the connection could not be made for another reason.
    Broken,
    /// The drill ended before the request did.
    Unfinished,
}

impl Outcome {
    /// Every outcome, the good ones first.
    pub const ALL: [Outcome; 11] = [
        Outcome::Ok,
        Outcome::OkClose,
        Outcome::Status,
        Outcome::Refused,
        Outcome::BlackHole,
        Outcome::Reset,
        Outcome::ResetInAnswer,
        Outcome::Truncated,
        Outcome::Timeout,
        Outcome::Broken,
        Outcome::Unfinished,
    ];

    /// The user got what was asked for.
    pub fn is_ok(self) -> bool {
        matches!(self, Outcome::Ok | Outcome::OkClose)
    }

    /// As the reports write it.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::OkClose => "ok-close",
            Outcome::Status => "status",
            Outcome::Refused => "refused",
            Outcome::BlackHole => "black-hole",
            Outcome::Reset => "reset",
            Outcome::ResetInAnswer => "reset-in-answer",
            Outcome::Truncated => "truncated",
            Outcome::Timeout => "timeout",
            Outcome::Broken => "broken",
            Outcome::Unfinished => "unfinished",
        }
    }

    /// In a sentence, as in "3 refused, 1 black hole".
    pub fn words(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::OkClose => "ok with Connection: close",
            Outcome::Status => "answered with an error status",
            Outcome::Refused => "refused",
            Outcome::BlackHole => "never answered (black hole)",
            Outcome::Reset => "reset before an answer",
            Outcome::ResetInAnswer => "reset in the middle of the answer",
            Outcome::Truncated => "cut off in the middle of the answer",
            Outcome::Timeout => "not complete within the timeout",
            Outcome::Broken => "broken",
            Outcome::Unfinished => "still open at the end",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One request. All times are seconds since the stop; before it they are negative.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Who.
    pub kind: Kind,
    /// Which of the targets, counted as the report lists them.
    pub target: usize,
    /// When it should have been sent.
    pub intended_s: f64,
    /// When it was: the connection was begun, or the request written on one that was there.
    pub sent_s: f64,
    /// When its outcome was certain.
    pub ended_s: f64,
    /// What became of it.
    pub outcome: Outcome,
    /// The answer's status, if one came.
    pub status: Option<u16>,
    /// It was sent on a connection that had been used before.
    pub reused: bool,
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

//! What is said over the control socket: one line of JSON each way, and nothing after it. Pure.
//!
//! ```text
//!   {"do":"status"}  ──►  {"v":1,"answer":"status","version":"0.1.0","pid":1,"generation":{…},…}
//!   {"do":"reload"}  ──►  {"v":1,"answer":"reload","result":"serves","generation":2,"took_s":1.4}
//!   anything else    ──►  {"v":1,"answer":"error","error":"unknown-request","reason":"…"}
//! ```
//!
//! Both sides pass over what they do not know in an object. So a new field is not a new version; that is only for what
//! an older reader would misunderstand. A request without a version is of version 1. Times are seconds with
//! milliseconds, and their names end in `_s`, as in the report.

use crate::counts::Counts;
use crate::signal::Signal;
use crate::timeline::{GenerationCause, Phase};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

/// The version of this protocol.
pub const VERSION: u64 = 1;

/// A line has at most this many bytes, its end not counted.
pub const LINE_MAX: usize = 64 * 1024;

/// A reason has at most this many bytes when it is written. Each can take six as JSON (`\u001b`), and there is one in a
/// line.
const REASON_MAX: usize = 4096;

/// This many bytes of a text that is not understood are shown.
const SHOWN: usize = 40;

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlRequest {
    /// The status.
    Status,
    /// A new generation; answered when it serves, or when it is certain that it will not.
    Reload,
}

impl ControlRequest {
    const NAMED: [(&'static str, ControlRequest); 2] =
        [("status", ControlRequest::Status), ("reload", ControlRequest::Reload)];

    /// Its word, as in `{"do":"status"}`.
    pub fn name(self) -> &'static str {
        match self {
            ControlRequest::Status => "status",
            ControlRequest::Reload => "reload",
        }
    }

    /// As it is sent, the line's end included.
    pub fn line(self) -> Vec<u8> {
        ended(json!({ "v": VERSION, "do": self.name() }).to_string())
    }

    /// Reads a line, with or without its end.
    ///
    /// # Errors
    /// It is not a request of this version.
    pub fn read(line: &[u8]) -> Result<ControlRequest, ProtocolError> {
        let said = object(line)?;
        let word = match said.get("do") {
            Some(Value::String(word)) => word,
            _ => return Err(ProtocolError::Malformed("no text called \"do\" in it".to_owned())),
        };
        let known = ControlRequest::NAMED.into_iter().find(|(name, _)| name == word);
        known.map(|(_, request)| request).ok_or_else(|| ProtocolError::UnknownRequest(beginning(word, SHOWN)))
    }
}

/// What graceful answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum ControlAnswer {
    /// To [`ControlRequest::Status`].
    Status(Box<StatusDocument>),
    /// To [`ControlRequest::Reload`].
    Reload(ReloadAnswer),
    /// The request was not taken.
    Error {
        /// Why, for programs.
        error: ControlFault,
        /// The same for people, as a lower-case fragment.
        #[serde(serialize_with = "short")]
        reason: String,
    },
}

impl ControlAnswer {
    /// As it is sent, the line's end included.
    pub fn line(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Versioned<'a> {
            v: u64,
            #[serde(flatten)]
            answer: &'a ControlAnswer,
        }
        let text = serde_json::to_string(&Versioned { v: VERSION, answer: self });
        match text {
            Ok(text) if text.len() <= LINE_MAX => ended(text),
            // No text in an answer is that long, and no number in it is not a number.
            Ok(_) | Err(_) => {
                let (error, reason) = (ControlFault::TooLong, "the answer is longer than 64 KiB");
                ended(json!({ "v": VERSION, "answer": "error", "error": error, "reason": reason }).to_string())
            }
        }
    }

    /// Reads a line, with or without its end.
    ///
    /// # Errors
    /// It is not an answer of this version.
    pub fn read(line: &[u8]) -> Result<ControlAnswer, ProtocolError> {
        serde_json::from_value(object(line)?).map_err(|error| ProtocolError::Malformed(error.to_string()))
    }
}

/// How a reload went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum ReloadAnswer {
    /// The new generation serves, and the old one gets its stop.
    Serves {
        /// The number of the new one.
        generation: u64,
        /// From the request to that moment.
        #[serde(rename = "took_s", with = "seconds")]
        took: Duration,
    },
    /// It was tried, and the old one goes on.
    Failed {
        /// As a lower-case fragment.
        #[serde(serialize_with = "short")]
        reason: String,
    },
    /// It was not tried: a stop is under way, or there is nothing to reload.
    Refused {
        /// As a lower-case fragment.
        #[serde(serialize_with = "short")]
        reason: String,
    },
}

/// Why a request was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ControlFault {
    /// The line is not an object with a word called `do`.
    Malformed,
    /// No request has this name.
    UnknownRequest,
    /// The version is another one.
    Version,
    /// The line is too long.
    TooLong,
    /// The line did not come in time.
    TooSlow,
    /// The client is neither root nor the user that graceful runs as.
    NotAllowed,
    /// Too many others are waiting for their answers.
    Busy,
    /// One that this version does not know.
    #[serde(other)]
    Other,
}

/// The status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusDocument {
    /// graceful's own version, as 0.1.0.
    pub version: String,
    /// graceful's own pid, in its namespace.
    pub pid: i32,
    /// The generation that counts: the app to the world.
    pub generation: GenerationStatus,
    /// The other generation of a reload that is under way, or of one whose old generation is still stopping.
    #[serde(default)]
    pub other: Option<OtherGeneration>,
    /// Tries in a row (`--restart`); 0 after a run that was long enough.
    #[serde(default)]
    pub restarts_in_a_row: u32,
    /// What the app's connections do, where that is looked at: in a stop.
    #[serde(default)]
    pub in_flight: Option<Counts>,
    /// The time until SIGKILL, in a stop.
    #[serde(default, rename = "budget_left_s", with = "maybe_seconds")]
    pub budget_left: Option<Duration>,
    /// The signal that began the stop, if one did.
    #[serde(default, deserialize_with = "signal")]
    pub stop_signal: Option<Signal>,
    /// How the last reload ended.
    #[serde(default)]
    pub last_reload: Option<LastReload>,
}

impl StatusDocument {
    /// Whether the app runs, is not known to be not ready, and no stop of it has begun.
    pub fn serves(&self) -> bool {
        let GenerationStatus { phase, ready, app_pid, .. } = self.generation;
        phase == Phase::Running && app_pid.is_some() && ready != Some(false) && self.stop_signal.is_none()
    }
}

/// One run of the app.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GenerationStatus {
    /// Counted from 1.
    pub number: u64,
    /// Why it began.
    pub cause: GenerationCause,
    /// The app's process, while it lives.
    #[serde(default)]
    pub app_pid: Option<i32>,
    /// How long ago the app was started, if it was.
    #[serde(default, rename = "started_s_ago", with = "maybe_seconds")]
    pub started_ago: Option<Duration>,
    /// The phase of its life.
    pub phase: Phase,
    /// Whether it is ready; `None` if nobody asks.
    #[serde(default)]
    pub ready: Option<bool>,
}

/// The generation that does not count, or not yet, or no longer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OtherGeneration {
    /// Which of the two it is.
    pub role: GenerationRole,
    /// The rest.
    #[serde(flatten)]
    pub generation: GenerationStatus,
}

/// What a second generation is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GenerationRole {
    /// It is to count as soon as it serves.
    Next,
    /// It has counted, and is stopping.
    Old,
}

/// A reload that is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastReload {
    /// The number of the new generation.
    pub generation: u64,
    /// How it ended.
    pub result: ReloadResult,
    /// Why it failed.
    #[serde(default, serialize_with = "maybe_short")]
    pub reason: Option<String>,
    /// From the request to its end.
    #[serde(rename = "took_s", with = "seconds")]
    pub took: Duration,
}

/// How a reload that was tried ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReloadResult {
    /// The new generation serves.
    Serves,
    /// The old one goes on.
    Failed,
}

/// Why a line is not understood, as a lower-case fragment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// It has more than [`LINE_MAX`] bytes.
    #[error("the line is longer than 64 KiB")]
    TooLong,
    /// What is wrong with it as JSON, or with its fields.
    #[error("{0}")]
    Malformed(String),
    /// It begins as a request or an answer of HTTP.
    #[error("HTTP; this is the protocol of graceful's control socket, and probes are asked on --probe-listen")]
    Http,
    /// There is no such request.
    #[error("unknown request {0:?}; expected status or reload")]
    UnknownRequest(String),
    /// The line is of another version.
    #[error(
        "of version {0}, and this graceful ({own}) knows version {VERSION}; use the same graceful on both sides",
        own = env!("CARGO_PKG_VERSION")
    )]
    Version(u64),
}

impl ProtocolError {
    /// What the client whose request it was is told.
    pub fn answer(&self) -> ControlAnswer {
        let (error, reason) = match self {
            ProtocolError::TooLong => (ControlFault::TooLong, self.to_string()),
            ProtocolError::Malformed(_) => {
                let right = "expected {\"do\":\"status\"} or {\"do\":\"reload\"}";
                (ControlFault::Malformed, format!("{self}; {right}"))
            }
            ProtocolError::Http => (ControlFault::Malformed, format!("a request of {self}")),
            ProtocolError::UnknownRequest(_) => (ControlFault::UnknownRequest, self.to_string()),
            ProtocolError::Version(_) => (ControlFault::Version, format!("the request is {self}")),
        };
        ControlAnswer::Error { error, reason }
    }
}

/// An object of a version that is known.
fn object(line: &[u8]) -> Result<Value, ProtocolError> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    if line.len() > LINE_MAX {
        return Err(ProtocolError::TooLong);
    }
    if is_http(line) {
        return Err(ProtocolError::Http);
    }
    let said: Value =
        serde_json::from_slice(line).map_err(|error| ProtocolError::Malformed(format!("not JSON ({error})")))?;
    let Some(fields) = said.as_object() else { return Err(ProtocolError::Malformed("not a JSON object".to_owned())) };
    match fields.get("v").map(Value::as_u64) {
        None | Some(Some(VERSION)) => Ok(said),
        Some(Some(other)) => Err(ProtocolError::Version(other)),
        Some(None) => Err(ProtocolError::Malformed("\"v\" is not a number of a version".to_owned())),
    }
}

/// `GET /readyz HTTP/1.1`, `HTTP/1.1 400 Bad Request`.
fn is_http(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let version = |part: &[u8]| part.starts_with(b"HTTP/1.");
    version(line) || line.len() >= 8 && version(&line[line.len() - 8..])
}

fn ended(mut text: String) -> Vec<u8> {
    text.push('\n');
    text.into_bytes()
}

/// At most this many bytes of it, and a mark where something is left out.
fn beginning(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(bytes)])
}

fn short<S: serde::Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&beginning(text, REASON_MAX))
}

fn maybe_short<S: serde::Serializer>(text: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    text.as_deref().map(|text| beginning(text, REASON_MAX)).serialize(serializer)
}

fn signal<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Signal>, D::Error> {
    let name = Option::<String>::deserialize(deserializer)?;
    // If a signal has no name, its number is there.
    let parse = |name: &str| Signal::parse(name.strip_prefix("signal ").unwrap_or(name));
    let read = |name: String| parse(&name).ok_or_else(|| serde::de::Error::custom(format!("no signal: {name}")));
    name.map(read).transpose()
}

/// A duration as seconds with milliseconds.
mod seconds {
    use super::*;

    pub(super) fn serialize<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(rounded(*time))
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        read(f64::deserialize(deserializer)?)
    }

    pub(super) fn rounded(time: Duration) -> f64 {
        (time.as_secs_f64() * 1000.0).round() / 1000.0
    }

    pub(super) fn read<E: serde::de::Error>(seconds: f64) -> Result<Duration, E> {
        Duration::try_from_secs_f64(seconds).map_err(E::custom)
    }
}

/// The same, if there is one.
mod maybe_seconds {
    use super::*;

    pub(super) fn serialize<S: serde::Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        time.map(seconds::rounded).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Option::<f64>::deserialize(deserializer)?.map(seconds::read).transpose()
    }
}

#[cfg(test)]
#[path = "protocol_tests.rs"]
mod tests;

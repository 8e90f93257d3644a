//! `graceful reload` and `graceful status`: one question to the running graceful, and its answer.
//!
//! Invariant: it ends within its timeout, whatever the other side does; and what the other side says reaches the
//! terminal without control characters.

use super::address::ControlAddress;
use super::protocol::{ControlAnswer, ControlRequest, LINE_MAX, ProtocolError, ReloadAnswer, StatusDocument};
use super::view;
use crate::config::{ConfigError, values};
use crate::sys::as_fragment;
use crate::timeline::text::human;
use socket2::{Domain, SockAddr, Socket, Type};
use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileTypeExt;
use std::time::{Duration, Instant};

/// The variable that says where the control socket is, for the graceful that listens there and for those who ask it.
pub const VARIABLE: &str = "GRACEFUL_CONTROL";

/// How long `graceful status` waits for its answer. The main loop gives it within milliseconds, once it has the
/// processor.
pub const STATUS_TIMEOUT: Duration = Duration::from_secs(5);

/// How `graceful status` is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum StatusForm {
    /// For people.
    Text,
    /// One object on one line, as graceful has sent it.
    Json,
}

/// An answer, and the line that it was read from.
#[derive(Clone, Debug, PartialEq)]
pub struct ControlReply {
    /// What it says.
    pub answer: ControlAnswer,
    /// The line, without its end.
    pub line: String,
}

/// Why there is no answer, as a lower-case fragment.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nothing has this path.
    #[error(
        "no such socket; is graceful running with --control {0}? Elsewhere it is asked with --control PATH, or with \
         {VARIABLE} set"
    )]
    NoSocket(ControlAddress),
    /// Something other than a socket has it.
    #[error("not a socket; expected that of graceful's --control")]
    NotASocket,
    /// It is root's, or another user's.
    #[error("permission denied; expected root or the user that graceful runs as")]
    Denied,
    /// Whoever made the socket is gone.
    #[error("nobody listens there; the graceful that made the socket is gone")]
    NobodyListens,
    /// Nothing was said in time.
    #[error("no answer within {}", values::show(*.0))]
    NoAnswer(Duration),
    /// The connection was closed without an answer.
    #[error("graceful closed the connection without an answer; it has probably ended")]
    Closed,
    /// What came is not an answer.
    #[error("{}", not_an_answer(.0))]
    NotAnAnswer(ProtocolError),
    /// Something else failed.
    #[error("{}", as_fragment(.0))]
    Failed(io::Error),
}

/// Where to ask: what was given, else GRACEFUL_CONTROL, else [`super::DEFAULT_SOCKET`].
///
/// # Errors
/// The variable is wrong: a usage error.
pub fn find(given: Option<ControlAddress>) -> Result<ControlAddress, ConfigError> {
    let variable = crate::sys::variables().find(|(name, _)| *name == VARIABLE).map(|(_, value)| value.to_owned());
    search(given, variable)
}

fn search(given: Option<ControlAddress>, variable: Option<OsString>) -> Result<ControlAddress, ConfigError> {
    match (given, variable.filter(|value| !value.is_empty())) {
        (Some(given), _) => Ok(given),
        (None, None) => Ok(ControlAddress::default()),
        (None, Some(value)) => {
            let address = value.to_str().ok_or_else(|| "not UTF-8 text".into()).and_then(ControlAddress::parse);
            address.map_err(|why| ConfigError::new(format!("{VARIABLE}={value:?}"), why))
        }
    }
}

/// Reloads, and waits until the new generation serves; returns the line to print.
///
/// # Errors
/// It does not serve, or nobody knows whether it does: which socket was asked, and why.
pub fn reload(address: &ControlAddress, timeout: Duration) -> Result<String, ConfigError> {
    let problem = |reason: String| ConfigError::new(format!("reload {address}"), visible(&reason));
    match ask(address, ControlRequest::Reload, timeout) {
        Ok(ControlReply { answer: ControlAnswer::Reload(answer), .. }) => match answer {
            ReloadAnswer::Serves { generation, took } => {
                Ok(format!("generation {generation} serves after {}\n", human(took)))
            }
            ReloadAnswer::Failed { reason } => Err(problem(format!("failed: {reason}"))),
            ReloadAnswer::Refused { reason } => Err(problem(format!("refused: {reason}"))),
        },
        Ok(reply) => Err(problem(unexpected(&reply.answer))),
        Err(error @ ControlError::NoAnswer(_)) => {
            Err(problem(format!("{error}; the reload may still go on, and graceful status tells how it ends")))
        }
        Err(error) => Err(problem(error.to_string())),
    }
}

/// Asks for the status; returns whether the app serves, and what to print.
///
/// # Errors
/// There is none: which socket was asked, and why.
pub fn status(address: &ControlAddress, form: StatusForm, timeout: Duration) -> Result<(bool, String), ConfigError> {
    let problem = |reason: String| ConfigError::new(format!("status {address}"), visible(&reason));
    match ask(address, ControlRequest::Status, timeout) {
        Ok(ControlReply { answer: ControlAnswer::Status(status), line }) => {
            Ok((status.serves(), written(&status, &line, form)))
        }
        Ok(reply) => Err(problem(unexpected(&reply.answer))),
        Err(error) => Err(problem(error.to_string())),
    }
}

/// Asks one thing. Blocks for this time at most.
///
/// # Errors
/// Nobody listens there, or no valid answer comes. An answer that refuses is not an error.
pub fn ask(address: &ControlAddress, what: ControlRequest, timeout: Duration) -> Result<ControlReply, ControlError> {
    let deadline = Deadline { at: Instant::now().checked_add(timeout), limit: timeout };
    let socket = connect(address, &deadline)?;
    // A client that is refused at once is told so, whatever it has asked: there may be an answer even if sending
    // failed. No SIGPIPE.
    match socket.send_with_flags(&what.line(), libc::MSG_NOSIGNAL) {
        Err(error) if is_late(&error) => return Err(ControlError::NoAnswer(timeout)),
        Ok(_) | Err(_) => {}
    }
    let line = line(&socket, &deadline)?;
    let answer = ControlAnswer::read(&line).map_err(ControlError::NotAnAnswer)?;
    Ok(ControlReply { answer, line: String::from_utf8_lossy(&line).into_owned() })
}

/// When to give up.
struct Deadline {
    /// `None`: not within the life of this machine.
    at: Option<Instant>,
    limit: Duration,
}

impl Deadline {
    /// What is left, as a socket takes it.
    fn left(&self) -> Result<Option<Duration>, ControlError> {
        let left = self.at.map(|at| at.saturating_duration_since(Instant::now()));
        match left {
            Some(Duration::ZERO) => Err(ControlError::NoAnswer(self.limit)),
            left => Ok(left),
        }
    }
}

fn connect(address: &ControlAddress, deadline: &Deadline) -> Result<Socket, ControlError> {
    let failed = ControlError::Failed;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
    let to = SockAddr::unix(address.path()).map_err(failed)?;
    loop {
        // connect(2) waits for room in the backlog as long as a write may (unix(7), SO_SNDTIMEO).
        socket.set_write_timeout(deadline.left()?).map_err(failed)?;
        match socket.connect(&to) {
            Ok(()) => return Ok(socket),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(no_connection(address, error, deadline.limit)),
        }
    }
}

fn no_connection(address: &ControlAddress, error: io::Error, limit: Duration) -> ControlError {
    let is_socket = || fs::metadata(address.path()).map(|found| found.file_type().is_socket()).unwrap_or(true);
    match error.kind() {
        ErrorKind::NotFound => ControlError::NoSocket(address.clone()),
        ErrorKind::PermissionDenied => ControlError::Denied,
        ErrorKind::ConnectionRefused if is_socket() => ControlError::NobodyListens,
        ErrorKind::ConnectionRefused => ControlError::NotASocket,
        _ if is_late(&error) => ControlError::NoAnswer(limit),
        _ => ControlError::Failed(error),
    }
}

/// Reads the one line that comes, without its end.
fn line(mut socket: &Socket, deadline: &Deadline) -> Result<Vec<u8>, ControlError> {
    let mut line = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        socket.set_read_timeout(deadline.left()?).map_err(ControlError::Failed)?;
        let count = match socket.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if is_late(&error) => return Err(ControlError::NoAnswer(deadline.limit)),
            // It was closed before the other side had read what we said.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => return Err(ControlError::Failed(error)),
        };
        let read = &buffer[..count];
        if let Some(end) = read.iter().position(|byte| *byte == b'\n') {
            line.extend_from_slice(&read[..end]);
            return Ok(line);
        }
        line.extend_from_slice(read);
        match (count, line.is_empty()) {
            (0, true) => return Err(ControlError::Closed),
            (0, false) => return Ok(line),
            _ if line.len() > LINE_MAX => return Err(ControlError::NotAnAnswer(ProtocolError::TooLong)),
            _ => {}
        }
    }
}

/// Whether the time was up: SO_RCVTIMEO and SO_SNDTIMEO end a call with EAGAIN (socket(7)).
fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn written(status: &StatusDocument, line: &str, form: StatusForm) -> String {
    match form {
        StatusForm::Text => view::text(status),
        StatusForm::Json => format!("{}\n", visible(line)),
    }
}

/// What was not asked for.
fn unexpected(answer: &ControlAnswer) -> String {
    match answer {
        ControlAnswer::Error { reason, .. } => reason.clone(),
        ControlAnswer::Status(_) | ControlAnswer::Reload(_) => "graceful answered something else".to_owned(),
    }
}

fn not_an_answer(error: &ProtocolError) -> String {
    match error {
        ProtocolError::Http => {
            "the answer is HTTP; this is a probe server (--probe-listen), not the socket of --control".to_owned()
        }
        ProtocolError::Version(_) => format!("the answer is {error}"),
        ProtocolError::TooLong | ProtocolError::Malformed(_) | ProtocolError::UnknownRequest(_) => {
            format!("the answer is not graceful's: {error}; expected the socket of --control")
        }
    }
}

/// Without what a terminal would obey.
fn visible(text: &str) -> String {
    text.replace(char::is_control, "")
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;

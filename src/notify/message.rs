//! The messages of sd_notify(3) and their form as bytes: lines of `KEY=VALUE`, separated by line ends. Pure.
//!
//! An app may send whatever it likes. Lines that are not assignments are ignored, and so are keys that graceful does
//! nothing about, whatever bytes they consist of. A known key with a value that makes no sense is a
//! [`NotifyValueError`]; the other lines of the datagram count all the same.

use std::borrow::Cow;
use std::time::Duration;

/// The longest datagram that is read, in bytes.
pub const LONGEST_DATAGRAM: usize = 64 * 1024;
/// The longest status, in bytes. systemd ignores a datagram of more than 4,096 bytes as a whole (NOTIFY_BUFFER_MAX,
/// which is PIPE_BUF, in its src/core/manager.c), and other lines stand beside the status.
pub const LONGEST_STATUS: usize = 2048;
/// How much of a key or a value an error quotes, in characters.
const QUOTED: usize = 60;
/// The largest error number (ERRNO_MAX, systemd's src/basic/errno-util.h; MAX_ERRNO, the kernel's include/linux/err.h).
const LARGEST_ERRNO: i32 = 4095;
/// What stands for the rest of a text that was cut.
const CUT: char = '…';

/// One line of a datagram. Times are sent in microseconds; [`encode`] drops fractions of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotifyMessage {
    /// `READY=1`: the start, or a reload, is complete.
    Ready,
    /// `RELOADING=1`: a reload has begun; `READY=1` ends it. [`NotifyMessage::MonotonicUsec`] has to go with it.
    Reloading,
    /// `STOPPING=1`: the shutdown has begun.
    Stopping,
    /// `STATUS=`: what the service is doing, in words: without control characters, [`LONGEST_STATUS`] bytes at most. An
    /// empty text removes the one before.
    Status(String),
    /// `ERRNO=`: an error number, as 2 for ENOENT; 0 stands for no error.
    Errno(i32),
    /// `MAINPID=`: the pid of the service's main process, 1 or larger.
    MainPid(i32),
    /// `WATCHDOG=1`: a sign of life.
    Watchdog,
    /// `WATCHDOG=trigger`: the service has noticed a failure by itself, and is to be treated as if its sign of life
    /// were overdue.
    WatchdogTrigger,
    /// `WATCHDOG_USEC=`: the longest time between two signs of life from now on. 0 and the largest
    /// number, which systemd reads as infinity, mean that none are expected.
    WatchdogUsec(Duration),
    /// `EXTEND_TIMEOUT_USEC=`: the start, the run or the stop may take this much longer from now on; the next such
    /// message has to come within that time.
    ExtendTimeout(Duration),
    /// `MONOTONIC_USEC=`: when the message was sent, by CLOCK_MONOTONIC.
    MonotonicUsec(Duration),
    /// A key that graceful does nothing about, as `FDSTORE`, `BARRIER` or `X_MINE`: without control characters, and
    /// shortened.
    Other(String),
}

/// A value that its key cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}={value}: {expected}")]
pub struct NotifyValueError {
    /// The key, or the name of the variable.
    pub key: &'static str,
    /// The value, without control characters, and shortened.
    pub value: String,
    /// What would be right.
    pub expected: &'static str,
}

impl NotifyValueError {
    pub(super) fn new(key: &'static str, value: &[u8], expected: &'static str) -> NotifyValueError {
        NotifyValueError { key, value: quoted(value), expected }
    }
}

/// What a datagram says, in its own order. If a key comes twice, the caller chooses; systemd takes the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotifyLines {
    /// The lines that could be read.
    pub messages: Vec<NotifyMessage>,
    /// The lines with a known key whose value makes no sense.
    pub errors: Vec<NotifyValueError>,
}

/// Reads a datagram. The last line may lack its line end; empty lines are ignored.
pub fn parse(datagram: &[u8]) -> NotifyLines {
    let mut lines = NotifyLines::default();
    for line in datagram.split(|byte| *byte == b'\n') {
        let Some(at) = line.iter().position(|byte| *byte == b'=') else { continue };
        match message(&line[..at], &line[at + 1..]) {
            Ok(message) => lines.messages.push(message),
            Err(error) => lines.errors.push(error),
        }
    }
    lines
}

/// The datagram for a service manager. [`NotifyMessage::Other`] is left out: graceful does not know what it means.
pub fn encode(messages: &[NotifyMessage]) -> String {
    use NotifyMessage as M;
    let lines = messages.iter().filter_map(|message| {
        let (key, value) = match message {
            M::Ready => ("READY", one()),
            M::Reloading => ("RELOADING", one()),
            M::Stopping => ("STOPPING", one()),
            M::Status(text) => ("STATUS", cleaned(text, LONGEST_STATUS).into()),
            M::Errno(number) => ("ERRNO", number.to_string().into()),
            M::MainPid(pid) => ("MAINPID", pid.to_string().into()),
            M::Watchdog => ("WATCHDOG", one()),
            M::WatchdogTrigger => ("WATCHDOG", "trigger".into()),
            M::WatchdogUsec(time) => ("WATCHDOG_USEC", micros(*time).into()),
            M::ExtendTimeout(time) => ("EXTEND_TIMEOUT_USEC", micros(*time).into()),
            M::MonotonicUsec(time) => ("MONOTONIC_USEC", micros(*time).into()),
            M::Other(_) => return None,
        };
        Some(format!("{key}={value}\n"))
    });
    lines.collect()
}

fn message(key: &[u8], value: &[u8]) -> Result<NotifyMessage, NotifyValueError> {
    use NotifyMessage as M;
    Ok(match key {
        b"READY" => is_one("READY", value, M::Ready)?,
        b"RELOADING" => is_one("RELOADING", value, M::Reloading)?,
        b"STOPPING" => is_one("STOPPING", value, M::Stopping)?,
        b"STATUS" => M::Status(cleaned(&String::from_utf8_lossy(value), LONGEST_STATUS)),
        b"ERRNO" => M::Errno(errno(value)?),
        b"MAINPID" => M::MainPid(main_pid(value)?),
        b"WATCHDOG" => match value {
            b"1" => M::Watchdog,
            b"trigger" => M::WatchdogTrigger,
            _ => return Err(NotifyValueError::new("WATCHDOG", value, "expected 1 or trigger")),
        },
        b"WATCHDOG_USEC" => M::WatchdogUsec(time("WATCHDOG_USEC", value)?),
        b"EXTEND_TIMEOUT_USEC" => M::ExtendTimeout(time("EXTEND_TIMEOUT_USEC", value)?),
        b"MONOTONIC_USEC" => M::MonotonicUsec(time("MONOTONIC_USEC", value)?),
        _ => M::Other(quoted(key)),
    })
}

fn is_one(key: &'static str, value: &[u8], message: NotifyMessage) -> Result<NotifyMessage, NotifyValueError> {
    match value {
        b"1" => Ok(message),
        _ => Err(NotifyValueError::new(key, value, "expected 1")),
    }
}

fn errno(value: &[u8]) -> Result<i32, NotifyValueError> {
    let number = number(value).and_then(|number| i32::try_from(number).ok());
    let error = || NotifyValueError::new("ERRNO", value, "expected an error number from 0 to 4095, as 2");
    number.filter(|number| *number <= LARGEST_ERRNO).ok_or_else(error)
}

fn main_pid(value: &[u8]) -> Result<i32, NotifyValueError> {
    let pid = number(value).and_then(|number| i32::try_from(number).ok());
    let error = || NotifyValueError::new("MAINPID", value, "expected a process id, as 4711");
    pid.filter(|pid| *pid > 0).ok_or_else(error)
}

fn time(key: &'static str, value: &[u8]) -> Result<Duration, NotifyValueError> {
    let error = || NotifyValueError::new(key, value, "expected a number of microseconds, as 5000000");
    number(value).map(Duration::from_micros).ok_or_else(error)
}

/// Decimal digits and nothing else.
pub(super) fn number(value: &[u8]) -> Option<u64> {
    if !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(value).ok()?.parse().ok()
}

fn one() -> Cow<'static, str> {
    Cow::Borrowed("1")
}

fn micros(time: Duration) -> String {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX).to_string()
}

/// A key or a value as errors show it.
fn quoted(bytes: &[u8]) -> String {
    // A character takes four bytes at most, so this is enough.
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * (QUOTED + 1))]);
    let mut characters = clean(&text);
    let mut quoted: String = characters.by_ref().take(QUOTED).collect();
    quoted.extend(characters.next().map(|_| CUT));
    quoted
}

/// The text without control characters, cut to `longest` bytes.
fn cleaned(text: &str, longest: usize) -> String {
    let mut cleaned = String::with_capacity(text.len().min(longest));
    // Where the text would have to end if the rest of it does not fit.
    let mut end = 0;
    for c in clean(text) {
        if cleaned.len() + c.len_utf8() > longest {
            cleaned.truncate(end);
            cleaned.push(CUT);
            break;
        }
        cleaned.push(c);
        if cleaned.len() + CUT.len_utf8() <= longest {
            end = cleaned.len();
        }
    }
    cleaned
}

/// Replaces control characters: after a line end the rest would be a line of its own, and a terminal obeys the others.
fn clean(text: &str) -> impl Iterator<Item = char> {
    text.chars().map(|c| match c {
        '\t' => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    })
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;

//! Values as the user gave them, and what can be wrong with them.
//!
//! A raw value never loses its origin, so that whoever finds a fault in it, however late, can say where it was
//! typed: `--grace-period "30"`, `GRACEFUL_GRACE_PERIOD="30"` or `graceful.toml: grace_period = "30"`.

use std::ffi::{OsStr, OsString};

/// One thing that is wrong with what the user said: where, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct Problem {
    /// The flag, the variable, or the file and its key, with the value.
    pub place: String,
    /// What is wrong and what would be right, as a lower-case fragment.
    pub reason: String,
}

impl Problem {
    /// A problem with this place. Whatever the user typed into it, the message stays on its line.
    pub fn new(place: impl Into<String>, reason: impl Into<String>) -> Problem {
        Problem { place: on_one_line(place.into()), reason: on_one_line(reason.into()) }
    }
}

fn on_one_line(text: String) -> String {
    if !text.chars().any(char::is_control) {
        return text;
    }
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escaped).collect()
}

/// Where a value was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// This flag, without its dashes.
    Flag(&'static str),
    /// This variable.
    Variable(&'static str),
    /// This file and key, both as they are to be shown.
    File { file: String, key: String },
}

impl Origin {
    /// The origin alone: `--hold`, `GRACEFUL_HOLD`, `graceful.toml: hold`.
    pub(crate) fn name(&self) -> String {
        match self {
            Origin::Flag(name) => format!("--{name}"),
            Origin::Variable(name) => (*name).to_owned(),
            Origin::File { file, key } => format!("{file}: {key}"),
        }
    }

    /// The origin with a value that is already quoted as its form wants it.
    pub(crate) fn with(&self, value: &str) -> String {
        match self {
            Origin::Flag(_) => format!("{} {value}", self.name()),
            Origin::Variable(_) => format!("{}={value}", self.name()),
            Origin::File { .. } => format!("{} = {value}", self.name()),
        }
    }
}

/// One value, not yet looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Raw {
    /// Where it was typed.
    pub(crate) origin: Origin,
    /// The bytes that were typed there.
    pub(crate) text: OsString,
}

impl Raw {
    pub(crate) fn new(origin: Origin, text: impl Into<OsString>) -> Raw {
        Raw { origin, text: text.into() }
    }

    /// The value as text; most options take nothing else.
    pub(crate) fn text(&self) -> Result<&str, Problem> {
        self.text.to_str().ok_or_else(|| self.problem("not UTF-8 text"))
    }

    /// What is wrong with this value.
    pub(crate) fn problem(&self, reason: impl Into<String>) -> Problem {
        Problem::new(self.place(), reason)
    }

    /// The origin with the value.
    pub(crate) fn place(&self) -> String {
        self.origin.with(&quoted(&self.text))
    }
}

/// The text in double quotes, control characters and stray bytes escaped.
pub(crate) fn quoted(text: &OsStr) -> String {
    format!("{text:?}")
}

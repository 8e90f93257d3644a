//! Values as the user gave them, and what can be wrong with them.
//!
//! A raw value never loses its origin, so that whoever finds a fault in it, however late, can say where it was
//! typed: `--grace-period "30"`, `GRACEFUL_GRACE_PERIOD="30"` or `graceful.toml: grace_period = "30"`.

use crate::secret::{hidden, hidden_address, hidden_after_name, hidden_command, hidden_webhook};
use std::ffi::{OsStr, OsString};
use toml::Value;

/// One thing that is wrong with what the user typed: where, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct ConfigError {
    /// The flag, the variable, or the file and its key, with the value.
    pub place: String,
    /// What is wrong and what would be right, as a lower-case fragment.
    pub reason: String,
}

impl ConfigError {
    /// A problem with this place. Whatever the user typed into it, the message stays on its line.
    pub fn new(place: impl Into<String>, reason: impl Into<String>) -> ConfigError {
        ConfigError { place: on_one_line(place.into()), reason: on_one_line(reason.into()) }
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

    /// The option, in lower case: `hold` of `--hold`, `GRACEFUL_HOLD` and `hold[1]`; `run` of `hook[2].run`.
    fn key(&self) -> String {
        let key = match self {
            Origin::Flag(name) => name,
            Origin::Variable(name) => name.trim_start_matches("GRACEFUL_"),
            Origin::File { key, .. } => key.rsplit('.').next().unwrap_or(key),
        };
        key.split('[').next().unwrap_or(key).to_ascii_lowercase()
    }

    /// Whether a list typed here would be a command's words.
    pub(crate) fn is_command(&self) -> bool {
        ["run", "hold", "target"].contains(&self.key().as_str())
    }

    /// What may be shown of a value that was typed here.
    pub(crate) fn hidden(&self, text: &str) -> String {
        let of_check = |what: &str| match what.split_once(':') {
            Some(("exec", command)) => format!("exec:{}", hidden_command(command)),
            _ => hidden_address(what),
        };
        match self.key().as_str() {
            "hook" => hidden_after_name(text, hidden_command),
            "check" => hidden_after_name(text, of_check),
            "target" => of_check(text),
            "hold" => hidden_address(text),
            "run" => hidden_command(text),
            "url" => hidden_webhook(text),
            "send" | "expect" if !text.is_empty() => "…".to_owned(),
            _ => hidden(text),
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
    pub(crate) fn text(&self) -> Result<&str, ConfigError> {
        self.text.to_str().ok_or_else(|| self.problem("not UTF-8 text"))
    }

    /// What is wrong with this value.
    pub(crate) fn problem(&self, reason: impl Into<String>) -> ConfigError {
        ConfigError::new(self.place(), reason)
    }

    /// The value in double quotes, without what may be a secret in it.
    pub(crate) fn shown(&self) -> String {
        let of_text = |text| quoted(self.origin.hidden(text).as_ref());
        self.text.to_str().map_or_else(|| quoted(&self.text), of_text)
    }

    /// The origin with the value.
    pub(crate) fn place(&self) -> String {
        self.origin.with(&self.shown())
    }
}

/// The text in double quotes, control characters and stray bytes escaped, without the secrets of a URL.
pub(crate) fn quoted(text: &OsStr) -> String {
    match text.to_str() {
        Some(text) => format!("{:?}", hidden(text)),
        None => format!("{text:?}"),
    }
}

/// A value as TOML, on one line, not endlessly long, and without what may be a secret there.
pub(crate) fn shown_as_toml(origin: &Origin, value: &Value) -> String {
    let text = match value {
        Value::String(text) => quoted(origin.hidden(text).as_ref()),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
        Value::Datetime(time) => time.to_string(),
        // The words of a command: the first is the program.
        Value::Array(members) if members.len() > 1 && origin.is_command() => {
            format!("[{}, …]", members.first().map(|first| shown_as_toml(origin, first)).unwrap_or_default())
        }
        Value::Array(members) => {
            format!("[{}]", members.iter().map(|member| shown_as_toml(origin, member)).collect::<Vec<_>>().join(", "))
        }
        Value::Table(_) => "{…}".to_owned(),
    };
    match text.char_indices().nth(100) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}

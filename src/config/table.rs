//! The file's tables, `[[hook]]` and `[[check]]`: one table, read key by key.
//!
//! Every key that is wrong is a problem of its own, and the table goes on being read, so that all of them are
//! reported. Tables are counted from 1, as a person counts them in the file: `graceful.toml: hook[2].timeout`.

use super::raw::{ConfigError, Origin, shown_as_toml};
use super::values;
use crate::reason::Reason;
use std::time::Duration;
use toml::{Table, Value};

/// One table, with the list that its problems go to.
pub(crate) struct TableReader<'a> {
    file: &'a str,
    /// As `hook[2]`.
    prefix: String,
    table: &'a Table,
    problems: &'a mut Vec<ConfigError>,
    /// How many problems there were before this table.
    before: usize,
}

/// Calls `read` with each table of this key's value, or says that `right` is how the tables look.
pub(crate) fn each(
    file: &str,
    key: &str,
    value: &Value,
    right: &str,
    problems: &mut Vec<ConfigError>,
    mut read: impl FnMut(&mut TableReader<'_>),
) {
    let Some(tables) = value.as_array().filter(|array| array.iter().all(Value::is_table)) else {
        problems.push(ConfigError::new(format!("{file}: {key}"), right));
        return;
    };
    for (index, table) in tables.iter().filter_map(Value::as_table).enumerate() {
        let before = problems.len();
        read(&mut TableReader { file, prefix: format!("{key}[{}]", index + 1), table, problems, before });
    }
}

impl TableReader<'_> {
    /// A problem for each key that is neither known nor former; `what` is a key, as "key of a hook". Only the known are
    /// offered.
    pub(crate) fn check_keys(&mut self, what: &str, known: &[&str], former: &[&str]) {
        let is_one = |key: &&String| known.contains(&key.as_str()) || former.contains(&key.as_str());
        for key in self.table.keys().filter(|key| !is_one(key)) {
            let reason = values::unknown_key(what, key, known.iter().copied());
            self.problems.push(ConfigError::new(self.origin(key).name(), reason));
        }
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.table.get(key)
    }

    /// Whether a problem with this table was found.
    pub(crate) fn is_wrong(&self) -> bool {
        self.problems.len() > self.before
    }

    /// A key that holds a string; `None` if it is absent or wrong. `right` says what else than a string would be.
    pub(crate) fn parse<T>(&mut self, key: &str, right: &str, parse: impl Fn(&str) -> Result<T, Reason>) -> Option<T> {
        let reason = match self.table.get(key)? {
            Value::String(text) => match parse(text) {
                Ok(value) => return Some(value),
                Err(reason) => reason,
            },
            _ => format!("expected {right}").into(),
        };
        self.wrong(key, reason)
    }

    /// A key that holds a duration.
    pub(crate) fn duration(
        &mut self,
        key: &str,
        example: &str,
        parse: impl Fn(&str) -> Result<Duration, Reason>,
    ) -> Option<Duration> {
        if let Value::Integer(number) = self.table.get(key)? {
            return self.wrong(key, format!("expected a string, as \"{number}s\""));
        }
        self.parse(key, &format!("a string, as \"{example}\""), parse)
    }

    /// A problem with the value of this key.
    pub(crate) fn wrong<T>(&mut self, key: &str, reason: impl Into<String>) -> Option<T> {
        self.problems.push(ConfigError::new(self.place(key), reason));
        None
    }

    /// A problem with the table as a whole.
    pub(crate) fn fault<T>(&mut self, reason: impl Into<String>) -> Option<T> {
        self.problems.push(ConfigError::new(format!("{}: {}", self.file, self.prefix), reason));
        None
    }

    /// File, table and key, with the value if there is one.
    pub(crate) fn place(&self, key: &str) -> String {
        match self.table.get(key) {
            Some(value) => {
                let origin = self.origin(key);
                origin.with(&shown_as_toml(&origin, value))
            }
            None => self.origin(key).name(),
        }
    }

    fn origin(&self, key: &str) -> Origin {
        Origin::File { file: self.file.to_owned(), key: format!("{}.{key}", self.prefix) }
    }
}

//! The TOML file of `--config`: its text, its table, its values as raw text.
//!
//! A value of the wrong type is reported here; a wrong value, by the same functions that read flags and variables.

use super::draft::Draft;
use super::options::{CHECK, HOOK, OptionSpec, Repeat, ValueKind, file_keys};
use super::raw::{ConfigError, Origin, Raw, shown_as_toml};
use super::{check, hook, values};
use crate::files;
use crate::reason::Reason;
use std::path::Path;
use toml::{Table, Value};

/// More than any configuration needs; a device or a log given by mistake is not read to its end.
const LARGEST: u64 = 1 << 20;

/// A file that was read and is TOML.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    /// As the user wrote it, for messages.
    name: String,
    table: Table,
}

impl ConfigFile {
    /// Reads the file that this value names, relative to `cwd`.
    pub(crate) fn open(named: &Raw, cwd: &Path) -> Result<ConfigFile, ConfigError> {
        if named.text.is_empty() {
            return Err(named.problem("an empty path; expected the path of a TOML file"));
        }
        let bytes = files::read(&cwd.join(&named.text), LARGEST)
            .map_err(|error| named.problem(format!("cannot be read: {}; expected a TOML file", files::why(&error))))?;
        let name = named.text.to_string_lossy().into_owned();
        let text = String::from_utf8(bytes).map_err(|error| {
            let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count();
            ConfigError::new(format!("{name}:{line}"), "not UTF-8 text, as TOML must be")
        })?;
        match text.parse::<Table>() {
            Ok(table) => Ok(ConfigFile { name, table }),
            Err(error) => Err(syntax_problem(&name, &text, &error)),
        }
    }

    /// A problem for every top-level key that no option has.
    pub(crate) fn check_keys(&self, problems: &mut Vec<ConfigError>) {
        for key in self.table.keys().filter(|key| !file_keys().any(|known| known == key.as_str())) {
            let reason = values::unknown_key("key", key, file_keys());
            problems.push(ConfigError::new(format!("{}: {key}", self.name), reason));
        }
    }

    /// The values of this option.
    pub(crate) fn values(&self, spec: &OptionSpec, problems: &mut Vec<ConfigError>) -> Vec<Raw> {
        let Some((key, value)) = spec.key.and_then(|key| Some((key, self.table.get(key)?))) else { return Vec::new() };
        let members = match value {
            Value::Array(members) if spec.repeat != Repeat::No => {
                let numbered = |(index, member)| (format!("{key}[{}]", index + 1), member);
                members.iter().enumerate().map(numbered).collect()
            }
            single => vec![(key.to_owned(), single)],
        };
        let mut raws = Vec::new();
        for (key, value) in members {
            let origin = Origin::File { file: self.name.clone(), key };
            match as_text(value, spec) {
                Ok(text) => raws.push(Raw::new(origin, text)),
                Err(reason) => problems.push(ConfigError::new(origin.with(&shown_as_toml(&origin, value)), reason)),
            }
        }
        raws
    }

    /// The options to which its tables belong.
    pub(crate) fn table_options(&self) -> Vec<&'static OptionSpec> {
        [&HOOK, &CHECK].into_iter().filter(|option| self.table.contains_key(option.name)).collect()
    }

    /// The `[[hook]]` and `[[check]]` tables.
    pub(crate) fn tables(&self, draft: &mut Draft, problems: &mut Vec<ConfigError>) {
        if let Some(value) = self.table.get(hook::KEY) {
            let before = problems.len();
            hook::add_tables(&mut draft.hooks, &self.name, value, problems);
            draft.broken.extend((problems.len() > before).then_some(HOOK.name));
        }
        if let Some(value) = self.table.get(check::KEY) {
            check::add_tables(&mut draft.checks, &self.name, value, problems);
        }
    }
}

/// The text of a value, as a flag would have given it.
fn as_text(value: &Value, spec: &OptionSpec) -> Result<String, Reason> {
    let numeric = matches!(
        spec.value,
        ValueKind::Signal | ValueKind::SignalOrNone | ValueKind::Statuses | ValueKind::Ports | ValueKind::Count
    );
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) if numeric => Ok(number.to_string()),
        Value::Integer(number) if spec.value == ValueKind::Duration => {
            Err(format!("expected a string, as \"{number}s\"").into())
        }
        Value::Array(_) => Err(format!("expected one value, as \"{}\"", spec.value.example()).into()),
        _ if spec.repeat != Repeat::No => {
            Err(format!("expected a string or a list of strings, as [\"{}\"]", spec.value.example()).into())
        }
        _ => Err(format!("expected a string, as \"{}\"", spec.value.example()).into()),
    }
}

fn syntax_problem(name: &str, text: &str, error: &toml::de::Error) -> ConfigError {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let message = error.message().replace('\n', ", ");
    let place = format!("{name}:{line}:{column}");
    ConfigError::new(place, format!("not TOML: {message}; expected KEY = \"VALUE\", as grace_period = \"30s\""))
}

//! How every command but `run` reads its arguments: into a struct for which `clap::Parser` is derived, so that an
//! option is written once, as a field. What clap objects to becomes one line, in the form of every other message.
//!
//! clap stops at the first value that is wrong. So that all of them are reported, an option with a wrong value takes
//! anything from then on, and the arguments are parsed again.

use super::describe::{dressed, listed};
use super::{EarlyExit, VERSION};
use crate::config::{ConfigError, quoted};
use crate::reason::Reason;
use crate::secret::hidden;
use clap::builder::{PossibleValue, TypedValueParser, ValueParser};
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command, Id, Parser};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};

/// The options of one command, or why there are none.
pub(super) fn read<P: Parser>(args: &[OsString]) -> Result<P, EarlyExit> {
    parse(args, |_, _| ()).map(|(options, ())| options)
}

/// The same, and which of the options of this group were given, as they are typed.
pub(super) fn read_grouped<P: Parser>(args: &[OsString], group: &str) -> Result<(P, BTreeSet<String>), EarlyExit> {
    parse(args, |parser, matches| {
        let given: Vec<&Id> = matches.get_many::<Id>(group).into_iter().flatten().collect();
        let args = parser.get_arguments().filter(|arg| given.contains(&arg.get_id()));
        args.filter_map(Arg::get_long).map(|long| format!("--{long}")).collect()
    })
}

fn parse<P: Parser, G>(args: &[OsString], groups: impl Fn(&Command, &ArgMatches) -> G) -> Result<(P, G), EarlyExit> {
    let command = dressed(P::command());
    let args = with_negative_values(&command, args);
    let mut problems = Vec::new();
    let mut wrong: Vec<Id> = Vec::new();
    loop {
        let mut parser = command.clone().no_binary_name(true).mut_args(|arg| match wrong.contains(arg.get_id()) {
            true if arg.is_positional() => arg.value_parser(ValueParser::os_string()),
            true => arg.value_parser(ValueParser::os_string()).action(ArgAction::Append),
            false => arg,
        });
        let read = parser.try_get_matches_from_mut(&args);
        let error = match read {
            Ok(mut matches) if problems.is_empty() => {
                let given = groups(&parser, &matches);
                match P::from_arg_matches_mut(&mut matches) {
                    Ok(options) => return Ok((options, given)),
                    Err(error) => error,
                }
            }
            Ok(_) => return Err(EarlyExit::Problems(problems)),
            Err(error) => error,
        };
        match error.kind() {
            ErrorKind::DisplayHelp if problems.is_empty() => {
                return Err(EarlyExit::Text(parser.render_help().to_string()));
            }
            ErrorKind::DisplayVersion if problems.is_empty() => return Err(EarlyExit::Text(VERSION.to_owned())),
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => return Err(EarlyExit::Problems(problems)),
            _ => {}
        }
        let objection = Objection { command: &parser, error: &error };
        problems.push(objection.problem());
        match objection.can_go_on() {
            Some(id) if !wrong.contains(id) => wrong.push(id.clone()),
            _ => return Err(EarlyExit::Problems(problems)),
        }
    }
}

/// A value that a function of `config::values` or one like them reads.
#[derive(Clone)]
pub(super) struct Value<T> {
    parse: fn(&str) -> Result<T, Reason>,
    words: fn() -> Vec<PossibleValue>,
}

/// A value that this function reads; it also says what is wrong with one.
pub(super) fn value<T>(parse: fn(&str) -> Result<T, Reason>) -> Value<T> {
    Value { parse, words: Vec::new }
}

impl<T> Value<T> {
    /// The same, where these words are among the values.
    pub(super) fn or_one_of(self, words: fn() -> Vec<PossibleValue>) -> Value<T> {
        Value { words, ..self }
    }
}

impl<T: Clone + Send + Sync + 'static> TypedValueParser for Value<T> {
    type Value = T;

    fn parse_ref(&self, _: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<T, Error> {
        let parsed = value.to_str().ok_or_else(|| "not UTF-8 text".into()).and_then(self.parse);
        parsed.map_err(|why| {
            let is_option = arg.is_some_and(|arg| arg.get_long().is_some());
            wrong(arg, if is_option { shown(value) } else { bare(value) }, why)
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let words = (self.words)();
        (!words.is_empty()).then(|| Box::new(words.into_iter()) as Box<dyn Iterator<Item = PossibleValue>>)
    }
}

/// What is wrong with a value; `shown` is what may be shown of it.
pub(super) fn wrong(arg: Option<&Arg>, shown: String, why: Reason) -> Error {
    let mut error = Error::new(ErrorKind::ValueValidation);
    error.insert(ContextKind::InvalidArg, ContextValue::String(arg.map(Arg::to_string).unwrap_or_default()));
    error.insert(ContextKind::InvalidValue, ContextValue::String(shown));
    error.insert(ContextKind::Custom, ContextValue::String(why.into()));
    error
}

/// One argument too many.
pub(super) fn stray(text: &OsStr, command: &Command) -> ConfigError {
    let usage = command.clone().render_usage().to_string();
    let form = usage.lines().next().unwrap_or_default().trim_start_matches("Usage: ");
    let mut positionals = command.get_positionals().peekable();
    let before_the_dashes = positionals.peek().is_some() && positionals.all(Arg::is_last_set);
    let what = if before_the_dashes { "is before --" } else { "one argument too many" };
    ConfigError::new(quoted(text), format!("{what}; expected: {form}"))
}

/// In double quotes, without user and password, and without the body of a request or the arguments of a command.
pub(super) fn shown(value: &OsStr) -> String {
    let text = value.to_str().unwrap_or_default();
    let mut words = text.split_inclusive(char::is_whitespace);
    let first: String = words.by_ref().take(2).collect();
    match words.next() {
        Some(_) => quoted(format!("{}…", hidden(&first)).as_ref()),
        None => quoted(value),
    }
}

/// Without quotes, where it is readable without them.
pub(super) fn bare(value: &OsStr) -> String {
    match value.to_str() {
        Some(text) if !text.is_empty() && !text.chars().any(char::is_control) => hidden(text),
        _ => quoted(value),
    }
}

/// What clap objects to in the arguments of a command.
struct Objection<'a> {
    command: &'a Command,
    error: &'a Error,
}

impl Objection<'_> {
    fn problem(&self) -> ConfigError {
        let typed = self.text(ContextKind::InvalidArg).unwrap_or_default();
        let known = self.arg();
        let long = known.and_then(Arg::get_long);
        let value = self.text(ContextKind::InvalidValue).unwrap_or_default();
        let name = self.command.get_name();
        let option = long.map_or_else(|| name.to_owned(), |long| format!("--{long}"));
        match self.error.kind() {
            ErrorKind::ValueValidation => {
                let why = self.text(ContextKind::Custom).unwrap_or("not a value that it takes");
                ConfigError::new(format!("{option} {value}"), why)
            }
            ErrorKind::InvalidValue => {
                let words = self.words(ContextKind::ValidValue);
                let expected = match (words.is_empty(), known) {
                    (true, Some(arg)) => typed_form(arg),
                    _ => listed(words),
                };
                if value.is_empty() {
                    return ConfigError::new(option, format!("needs a value; expected {expected}"));
                }
                let hint = self.text(ContextKind::SuggestedValue);
                let hint = hint.map(|word| format!("; did you mean {word}?")).unwrap_or_default();
                let shown = if long.is_some() { shown(value.as_ref()) } else { bare(value.as_ref()) };
                ConfigError::new(format!("{option} {shown}"), format!("expected {expected}{hint}"))
            }
            ErrorKind::UnknownArgument if typed.starts_with('-') => {
                let hint = match self.text(ContextKind::SuggestedArg) {
                    Some(option) => format!("; did you mean {option}?"),
                    None => format!("; see graceful {name} --help"),
                };
                ConfigError::new(typed, format!("unknown option{hint}"))
            }
            ErrorKind::UnknownArgument => stray(typed.as_ref(), self.command),
            ErrorKind::ArgumentConflict if self.is_repeated() => {
                ConfigError::new(option, "given more than once; give it only once")
            }
            ErrorKind::MissingRequiredArgument => {
                let usage = self.command.clone().render_usage().to_string();
                ConfigError::new(name, format!("needs an argument; expected: {}", usage.trim_start_matches("Usage: ")))
            }
            _ => ConfigError::new(option, first_line(self.error)),
        }
    }

    /// The option that may take anything from now on, where that helps.
    fn can_go_on(&self) -> Option<&Id> {
        let has_value = self.text(ContextKind::InvalidValue).is_some_and(|value| !value.is_empty());
        match self.error.kind() {
            ErrorKind::ValueValidation => {}
            ErrorKind::InvalidValue if has_value => {}
            ErrorKind::ArgumentConflict if self.is_repeated() => {}
            _ => return None,
        }
        self.arg().filter(|arg| arg.get_action().takes_values()).map(Arg::get_id)
    }

    fn is_repeated(&self) -> bool {
        let prior = self.text(ContextKind::PriorArg);
        prior.is_some() && prior == self.text(ContextKind::InvalidArg)
    }

    fn arg(&self) -> Option<&Arg> {
        let typed = self.text(ContextKind::InvalidArg)?;
        self.command.get_arguments().find(|arg| arg.to_string() == typed)
    }

    fn text(&self, kind: ContextKind) -> Option<&str> {
        match self.error.get(kind)? {
            ContextValue::String(text) => Some(text),
            _ => None,
        }
    }

    fn words(&self, kind: ContextKind) -> Vec<&str> {
        match self.error.get(kind) {
            Some(ContextValue::Strings(words)) => words.iter().map(String::as_str).collect(),
            _ => Vec::new(),
        }
    }
}

/// `--timeout DUR`
fn typed_form(arg: &Arg) -> String {
    let value = arg.get_value_names().and_then(<[_]>::first).map_or("VALUE", |name| name.as_str());
    arg.get_long().map_or_else(|| value.to_owned(), |long| format!("--{long} {value}"))
}

/// clap's own words, for the rest of what it may object to.
pub(super) fn first_line(error: &Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// `--lb-lag -5s` would be read as an option called `-5s`, and so would `sleep -5s`; both are reported as the values
/// that they are.
fn with_negative_values(command: &Command, args: &[OsString]) -> Vec<OsString> {
    let end = args.iter().position(|arg| arg == "--").unwrap_or(args.len());
    let (own, of_app) = args.split_at(end);
    let mut own = join_negative_values(command, own);
    let has_values = command.get_positionals().any(|arg| !arg.is_last_set());
    if let Some(at) = own.iter().position(|arg| is_negative(arg)).filter(|_| has_values && of_app.is_empty()) {
        own.insert(at, "--".into());
    }
    own.extend_from_slice(of_app);
    own
}

/// `--pre-stop-delay -5s` becomes `--pre-stop-delay=-5s`.
pub(super) fn join_negative_values(command: &Command, args: &[OsString]) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::with_capacity(args.len());
    for arg in args {
        let option = joined.last_mut().filter(|last| {
            let name = last.to_str().and_then(|last| last.strip_prefix("--"));
            is_negative(arg) && name.is_some_and(|name| command.get_opts().any(|opt| opt.get_long() == Some(name)))
        });
        match option {
            Some(option) => {
                option.push("=");
                option.push(arg);
            }
            None => joined.push(arg.clone()),
        }
    }
    joined
}

fn is_negative(arg: &OsStr) -> bool {
    matches!(arg.as_encoded_bytes(), [b'-', b'0'..=b'9', ..])
}

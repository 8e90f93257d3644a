//! From `run`'s arguments to tokens: which option, which bytes. No value is looked at.
//!
//! clap stops at the first argument that it does not know. So that every one is reported, the offender is taken
//! out and the rest parsed again, until nothing is left to object to.

use super::arguments::{first_line, join_negative_values};
use super::describe::REST;
use crate::config::ConfigError;
use crate::config::options::OPTIONS;
use crate::config::suggest::did_you_mean;
use clap::Command;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use std::ffi::{OsStr, OsString};

/// What the arguments consist of.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    /// Option and value, by option, each option's values in the order typed.
    pub(super) flags: Vec<(&'static str, OsString)>,
    /// Everything that is not an option.
    pub(super) rest: Vec<OsString>,
    /// `--help` or `--version`.
    pub(super) info: Option<Info>,
    /// Unknown options and missing values.
    pub(super) problems: Vec<ConfigError>,
}

/// What can be asked for instead of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Info {
    Help,
    Version,
}

/// Whether this argument looks like an option.
pub(super) fn is_flag(arg: &OsStr) -> bool {
    arg.len() > 1 && arg.as_encoded_bytes().starts_with(b"-")
}

/// Tokenises. `only_options` says that no positional argument is expected, so that what follows an unknown option
/// can only be its value.
pub(super) fn tokenise(command: Command, args: &[OsString], only_options: bool) -> Tokens {
    let mut args = join_negative_values(&command, args);
    let mut problems = Vec::new();
    loop {
        let error = match command.clone().try_get_matches_from(&args) {
            Ok(matches) => return collect(&matches, problems),
            Err(error) => error,
        };
        let info = match error.kind() {
            ErrorKind::DisplayHelp => Some(Info::Help),
            ErrorKind::DisplayVersion => Some(Info::Version),
            _ => None,
        };
        if info.is_some() {
            return Tokens { info, problems, ..Tokens::default() };
        }
        let Some(at) = offender(&error).and_then(|name| position(&args, &name, error.kind())) else {
            problems.push(ConfigError::new("command line", first_line(&error)));
            return Tokens { problems, ..Tokens::default() };
        };
        // Each round takes out at least one argument: the loop ends.
        let taken = args.remove(at);
        let name = taken.to_string_lossy().split('=').next().unwrap_or_default().to_owned();
        problems.push(match error.kind() {
            ErrorKind::UnknownArgument => {
                let hint = did_you_mean(name.trim_start_matches('-'), longs(&command), |long| format!("--{long}"));
                let own_value = !taken.as_encoded_bytes().contains(&b'=') && (only_options || !hint.is_empty());
                if own_value && args.get(at).is_some_and(|next| !is_flag(next)) {
                    args.remove(at);
                }
                let where_to_look = if hint.is_empty() { "; see graceful --help" } else { "" };
                ConfigError::new(name.as_str(), format!("unknown option{hint}{where_to_look}"))
            }
            ErrorKind::InvalidValue => {
                let value_name = value_name(&command, &name);
                ConfigError::new(name.as_str(), format!("needs a value; expected {name} {value_name}"))
            }
            _ => ConfigError::new(name.as_str(), first_line(&error)),
        });
    }
}

fn collect(matches: &clap::ArgMatches, problems: Vec<ConfigError>) -> Tokens {
    let values = |id: &str| matches.try_get_many::<OsString>(id).ok().flatten().into_iter().flatten().cloned();
    let mut tokens = Tokens { rest: values(REST).collect(), problems, ..Tokens::default() };
    for spec in OPTIONS {
        tokens.flags.extend(values(spec.name).map(|value| (spec.name, value)));
    }
    tokens
}

/// The argument that clap objects to: `--name`, without value or value name.
fn offender(error: &Error) -> Option<String> {
    match error.get(ContextKind::InvalidArg)? {
        ContextValue::String(name) => name.split([' ', '=']).next().map(str::to_owned),
        _ => None,
    }
}

/// Where it stands. An option that lacks its value is the one with another option, or nothing, behind it.
fn position(args: &[OsString], name: &str, kind: ErrorKind) -> Option<usize> {
    args.iter().enumerate().position(|(at, arg)| {
        let text = arg.to_string_lossy();
        let is_it = match text.strip_prefix(name) {
            Some(rest) => rest.is_empty() || rest.starts_with('=') || !name.starts_with("--"),
            None => false,
        };
        let lacks_value = text == name && args.get(at + 1).is_none_or(|next| is_flag(next));
        is_it && (kind != ErrorKind::InvalidValue || lacks_value)
    })
}

fn longs(command: &Command) -> impl Iterator<Item = &str> {
    command.get_arguments().filter_map(|arg| arg.get_long())
}

fn value_name(command: &Command, flag: &str) -> String {
    let opt = command.get_opts().find(|opt| opt.get_long() == Some(flag.trim_start_matches('-')));
    let name = opt.and_then(|opt| opt.get_value_names()?.first());
    name.map(ToString::to_string).unwrap_or_else(|| "VALUE".to_owned())
}

//! From arguments to tokens: which option, which bytes. No value is looked at.
//!
//! clap stops at the first argument that it does not know. So that every one is reported, the offender is taken
//! out and the rest parsed again, until nothing is left to object to.

use crate::config::Problem;
use crate::config::suggest::did_you_mean;
use clap::Command;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use std::ffi::{OsStr, OsString};

/// The id of the positional arguments in every command that is tokenised.
pub(super) const REST: &str = "rest";

/// What the arguments consist of.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    /// Option and value, by option, each option's values in the order typed.
    pub(super) flags: Vec<(&'static str, OsString)>,
    /// Everything that is no option.
    pub(super) rest: Vec<OsString>,
    /// `--help` or `--version`.
    pub(super) info: Option<Info>,
    /// Unknown options and missing values.
    pub(super) problems: Vec<Problem>,
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
            Ok(matches) => return collect(&command, &matches, problems),
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
            problems.push(Problem::new("command line", first_line(&error)));
            return Tokens { problems, ..Tokens::default() };
        };
        // Each round takes out one argument at least: the loop ends.
        let taken = args.remove(at);
        let name = taken.to_string_lossy().split('=').next().unwrap_or_default().to_owned();
        problems.push(match error.kind() {
            ErrorKind::UnknownArgument => {
                let hint = did_you_mean(name.trim_start_matches('-'), longs(&command), |long| format!("--{long}"));
                let own_value = !taken.as_encoded_bytes().contains(&b'=') && (only_options || !hint.is_empty());
                if own_value && args.get(at).is_some_and(|next| !is_flag(next)) {
                    args.remove(at);
                }
                let where_to_look = if hint.is_empty() { "; known ones: graceful --help" } else { "" };
                Problem::new(name.as_str(), format!("unknown option{hint}{where_to_look}"))
            }
            ErrorKind::InvalidValue => {
                let value_name = value_name(&command, &name);
                Problem::new(name.as_str(), format!("needs a value; right is {name} {value_name}"))
            }
            _ => Problem::new(name.as_str(), first_line(&error)),
        });
    }
}

/// `--pre-stop-delay -5s` would be read as an option called `-5s`; joined, it is reported as the value that it is.
fn join_negative_values(command: &Command, args: &[OsString]) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::with_capacity(args.len());
    for arg in args {
        let negative = matches!(arg.as_encoded_bytes(), [b'-', b'0'..=b'9', ..]);
        let option = joined.last_mut().filter(|last| {
            let name = last.to_str().and_then(|last| last.strip_prefix("--"));
            negative && name.is_some_and(|name| command.get_opts().any(|opt| opt.get_long() == Some(name)))
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

fn collect(command: &Command, matches: &clap::ArgMatches, problems: Vec<Problem>) -> Tokens {
    let values = |id: &str| matches.try_get_many::<OsString>(id).ok().flatten().into_iter().flatten().cloned();
    let mut tokens = Tokens { rest: values(REST).collect(), problems, ..Tokens::default() };
    for name in super::help::option_names(command) {
        tokens.flags.extend(values(name).map(|value| (name, value)));
        if matches.try_get_one::<bool>(name).ok().flatten() == Some(&true) {
            tokens.flags.push((name, OsString::new()));
        }
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

/// clap's own words, for the rest of what it may object to.
fn first_line(error: &Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

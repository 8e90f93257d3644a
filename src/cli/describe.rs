//! How the commands of the command line are described to clap: what each has, how its choices are listed, and the
//! options of `run`, which other commands take as well. Below [`super::help`], which knows all the commands.

use crate::config::Settings;
pub(super) use crate::config::suggest::listed;

use crate::config::options::{OPTIONS, OptionSpec, ValueKind, heading};
use clap::builder::{PossibleValue, TypedValueParser, ValueParser};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, ValueHint};
use std::ffi::{OsStr, OsString};

/// The id of the positional arguments.
pub(super) const REST: &str = "rest";

const TEMPLATE: &str = "{about-with-newline}\n{usage-heading} {usage}\n\n{all-args}{after-help}";

/// What `run`'s arguments before `--` are parsed with. The first argument that is not an option ends the options, so
/// that `graceful ./myapp --flag` is understood well enough to be corrected.
pub(super) fn run_tokens() -> Command {
    let rest = Arg::new(REST).num_args(0..).value_parser(ValueParser::os_string()).trailing_var_arg(true);
    info_flags(Command::new("graceful").args(run_args()).no_binary_name(true), None).arg(rest)
}

pub(super) fn described(command: Command) -> Command {
    command.help_template(TEMPLATE).max_term_width(100)
}

/// `--help` and `--version`, which clap lists under the heading where it first sees them.
pub(super) fn info_flags(command: Command, heading: Option<&'static str>) -> Command {
    let flag = |name: &'static str, short: char, action: ArgAction, help: &'static str| {
        Arg::new(name).short(short).long(name).action(action).help(help).help_heading(heading)
    };
    command
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_flag(true)
        .disable_version_flag(true)
        .arg(flag("help", 'h', ArgAction::Help, "Print this help"))
        .arg(flag("version", 'V', ArgAction::Version, "Print the version"))
}

/// A command whose options are derived, with what every command has. Its help lists choices and defaults as that of
/// `run` does.
pub(super) fn dressed(command: Command) -> Command {
    let heading = command.get_arguments().any(|arg| arg.get_help_heading().is_some()).then_some(heading::OTHER);
    info_flags(described(command.mut_args(spelled_out)), heading)
}

fn spelled_out(arg: Arg) -> Arg {
    if arg.is_hide_possible_values_set() || !arg.get_action().takes_values() {
        return arg;
    }
    let words = arg.get_possible_values();
    let words = listed(words.iter().map(PossibleValue::get_name));
    let default: Vec<String> = arg.get_default_values().iter().map(|value| value.display().to_string()).collect();
    let mut help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    if !words.is_empty() {
        help += &format!(": {words}");
    }
    if !default.is_empty() {
        help += &format!(". Default: {}", default.join(","));
    }
    arg.help(help).hide_possible_values(true).hide_default_value(true)
}

/// The options of `run` where another command takes them: not looked at, and not in its help.
pub(super) struct RunFlags(pub(super) Vec<(&'static OptionSpec, OsString)>);

impl RunFlags {
    /// For `config::load`.
    pub(super) fn settings(&self) -> Settings {
        let flags = self.0.iter().map(|(option, value)| (option.name, value.clone()));
        Settings { flags: flags.collect(), problems: Vec::new() }
    }

    /// The last value of this option.
    pub(super) fn last(&self, option: &OptionSpec) -> Option<&OsString> {
        self.0.iter().rev().find(|(given, _)| *given == option).map(|(_, value)| value)
    }
}

impl Args for RunFlags {
    fn augment_args(command: Command) -> Command {
        command.args(run_args().map(|arg| arg.hide(true)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        RunFlags::augment_args(command)
    }
}

impl FromArgMatches for RunFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<RunFlags, clap::Error> {
        let values = |name| matches.get_many::<OsString>(name).into_iter().flatten().cloned();
        Ok(RunFlags(OPTIONS.iter().flat_map(|spec| values(spec.name).map(|value| (*spec, value))).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = RunFlags::from_arg_matches(matches)?;
        Ok(())
    }
}

pub(super) fn run_args() -> impl Iterator<Item = Arg> {
    OPTIONS.iter().copied().map(option)
}

fn option(spec: &OptionSpec) -> Arg {
    let parser = match spec.value {
        ValueKind::Choice(_, words) => ValueParser::new(Words(words)),
        _ => ValueParser::os_string(),
    };
    let hint = match spec.value {
        ValueKind::Path | ValueKind::File => ValueHint::FilePath,
        ValueKind::Url => ValueHint::Url,
        _ => ValueHint::Unknown,
    };
    Arg::new(spec.name)
        .long(spec.name)
        .value_name(spec.value.name())
        .help(spec.help)
        .help_heading(spec.heading)
        .action(ArgAction::Append)
        .value_parser(parser)
        .hide_possible_values(true)
        .value_hint(hint)
}

/// Takes any value, and knows the right ones for completions.
#[derive(Clone)]
struct Words(&'static [&'static str]);

impl TypedValueParser for Words {
    type Value = OsString;

    fn parse_ref(&self, _: &Command, _: Option<&Arg>, value: &OsStr) -> Result<OsString, clap::Error> {
        Ok(value.to_owned())
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.0.iter().map(|word| PossibleValue::new(*word))))
    }
}

//! The small commands: `probe`, `sleep`, `completions`. Their values are checked here, for nothing else gives them
//! any.

use super::tokens::{Tokens, tokenise};
use super::{Command, Quit, Shell, help, text_for};
use crate::config::suggest::did_you_mean;
use crate::config::{Problem, quoted, values};
use clap::ValueEnum;
use std::ffi::OsString;
use std::time::Duration;

/// `graceful probe [--timeout DUR] URL`
pub(super) fn probe(args: &[OsString]) -> Result<Command, Quit> {
    let (tokens, mut problems) = tokens("probe", args)?;
    let timeouts: Vec<&OsString> = tokens.flags.iter().map(|(_, value)| value).collect();
    if timeouts.len() > 1 {
        problems.push(Problem::new("--timeout", format!("given {} times; once is right", timeouts.len())));
    }
    let timeout = match timeouts.last() {
        Some(text) => checked("--timeout ", text, values::positive_duration, &mut problems),
        None => Some(Duration::from_secs(1)),
    };
    let url = only(&tokens.rest, "probe", "URL", &mut problems)
        .and_then(|text| checked("probe ", text, url_to_probe, &mut problems));
    match (url, timeout) {
        (Some(url), Some(timeout)) if problems.is_empty() => Ok(Command::Probe { url, timeout }),
        _ => Err(Quit::Problems(problems)),
    }
}

/// `graceful sleep DUR`
pub(super) fn sleep(args: &[OsString]) -> Result<Command, Quit> {
    // A negative number is a wrong duration, not an option.
    let negative = args.first().filter(|arg| matches!(arg.as_encoded_bytes(), [b'-', b'0'..=b'9', ..]));
    let (tokens, mut problems) = tokens("sleep", if negative.is_some() { &[] } else { args })?;
    let rest = if negative.is_some() { args } else { &tokens.rest };
    let duration = only(rest, "sleep", "DUR, as 5s", &mut problems)
        .and_then(|text| checked("sleep ", text, values::duration, &mut problems));
    match duration {
        Some(duration) if problems.is_empty() => Ok(Command::Sleep(duration)),
        _ => Err(Quit::Problems(problems)),
    }
}

/// `graceful completions SHELL`
pub(super) fn completions(args: &[OsString]) -> Result<Command, Quit> {
    let (tokens, mut problems) = tokens("completions", args)?;
    let shell = only(&tokens.rest, "completions", "SHELL, as bash", &mut problems)
        .and_then(|text| checked("completions ", text, shell, &mut problems));
    match shell {
        Some(shell) if problems.is_empty() => Ok(Command::Completions(shell)),
        _ => Err(Quit::Problems(problems)),
    }
}

/// `graceful demo-app [ADDRESS:PORT]`, not in the help.
pub(super) fn demo_app(args: &[OsString]) -> Result<Command, Quit> {
    let default = OsString::from("127.0.0.1:8080");
    let (text, mut problems) = (args.first().unwrap_or(&default), Vec::new());
    let parse = |text: &str| text.parse().map_err(|_| "not an address; right is as 127.0.0.1:8080".to_owned());
    checked("demo-app ", text, parse, &mut problems).map(Command::DemoApp).ok_or(Quit::Problems(problems))
}

fn tokens(name: &'static str, args: &[OsString]) -> Result<(Tokens, Vec<Problem>), Quit> {
    let mut tokens = tokenise(help::subcommand_tokens(name), args, false);
    let problems = std::mem::take(&mut tokens.problems);
    match tokens.info {
        Some(info) if problems.is_empty() => Err(Quit::Text(text_for(info, Some(name)))),
        Some(_) => Err(Quit::Problems(problems)),
        None => Ok((tokens, problems)),
    }
}

/// The one argument that the command takes.
fn only<'a>(rest: &'a [OsString], command: &str, form: &str, problems: &mut Vec<Problem>) -> Option<&'a OsString> {
    for extra in rest.iter().skip(1) {
        problems
            .push(Problem::new(quoted(extra), format!("one argument too many; right is: graceful {command} {form}")));
    }
    if rest.is_empty() {
        problems.push(Problem::new(command, format!("needs an argument; right is: graceful {command} {form}")));
    }
    rest.first()
}

fn checked<T>(
    prefix: &str,
    text: &OsString,
    parse: impl Fn(&str) -> Result<T, String>,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    let parsed = text.to_str().ok_or_else(|| "not UTF-8 text".to_owned()).and_then(parse);
    let place = || match text.to_str() {
        Some(text) if !text.is_empty() && !text.chars().any(char::is_control) => format!("{prefix}{text}"),
        _ => format!("{prefix}{}", quoted(text)),
    };
    parsed.map_err(|reason| problems.push(Problem::new(place(), reason))).ok()
}

fn url_to_probe(text: &str) -> Result<url::Url, String> {
    let url = values::http_url(text)?;
    match url.scheme() == "https" && !cfg!(feature = "https") {
        true => Err("this build of graceful has no https; right is http://".into()),
        false => Ok(url),
    }
}

fn shell(text: &str) -> Result<Shell, String> {
    let names: Vec<String> = Shell::value_variants().iter().map(ToString::to_string).collect();
    Shell::from_str(text, false).map_err(|_| {
        let hint = did_you_mean(text, names.iter().map(String::as_str), str::to_owned);
        format!("unknown shell; right is {}{hint}", names.join(" or "))
    })
}

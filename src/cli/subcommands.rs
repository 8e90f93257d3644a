//! The small commands: `probe`, `sleep`, `completions`, and the demo. Their values are checked here, for nothing else gives them
//! any.

use super::tokens::{Tokens, tokenise};
use super::{Command, ProbeTarget, Quit, Shell, help, text_for};
use crate::config::suggest::did_you_mean;
use crate::config::{Listen, Problem, quoted, values};
use crate::demo::Fault;
use crate::health::Probe;
use crate::secret::{Url, hidden};
use clap::ValueEnum;
use std::ffi::OsString;
use std::time::Duration;
use url::Host;

/// The words of `graceful probe`.
const PROBES: &[(&str, Probe)] = &[("live", Probe::Live), ("ready", Probe::Ready), ("startup", Probe::Startup)];

/// `graceful probe [OPTIONS] [live|ready|startup] [TARGET]`
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
    let target = probe_target(&tokens.rest, &mut problems);
    match (target, timeout) {
        (Some(target), Some(timeout)) if problems.is_empty() => Ok(Command::Probe { target, timeout }),
        _ => Err(Quit::Problems(problems)),
    }
}

fn probe_target(rest: &[OsString], problems: &mut Vec<Problem>) -> Option<ProbeTarget> {
    let Some((first, others)) = rest.split_first() else {
        return Some(ProbeTarget::Own { probe: Probe::Ready, at: None });
    };
    let word = |text: &str| values::choice(text, PROBES);
    let probe = first.to_str().and_then(|text| word(text).ok());
    let too_many = if probe.is_some() { others.get(1..).unwrap_or_default() } else { others };
    if probe.is_none() && !others.is_empty() && !first.to_string_lossy().contains([':', '/', '.']) {
        // A slip in the word, and what follows may well be right.
        return checked("probe ", first, word, problems).and(None);
    }
    refuse(too_many, "probe", "[live|ready|startup] [TARGET]", problems);
    match (probe, others.first()) {
        (Some(probe), None) => Some(ProbeTarget::Own { probe, at: None }),
        (Some(probe), Some(at)) => {
            let at = checked(&format!("probe {} ", first.display()), at, own_address, problems)?;
            Some(ProbeTarget::Own { probe, at: Some(at) })
        }
        (None, _) => checked("probe ", first, target_to_probe, problems),
    }
}

/// `graceful sleep DUR`
pub(super) fn sleep(args: &[OsString]) -> Result<Command, Quit> {
    // A negative number is a wrong duration, not an option.
    let negative = args.first().filter(|arg| matches!(arg.as_encoded_bytes(), [b'-', b'0'..=b'9', ..]));
    let (tokens, mut problems) = tokens("sleep", if negative.is_some() { &[] } else { args })?;
    let rest = if negative.is_some() { args } else { &tokens.rest };
    if rest.is_empty() {
        only(rest, "sleep", "DUR, as 5s", &mut problems);
    }
    // Several add up, as with the coreutils' sleep.
    let parsed = rest.iter().filter_map(|text| checked("sleep ", text, time_to_sleep, &mut problems));
    let sum = parsed.fold(Duration::ZERO, Duration::saturating_add);
    if problems.is_empty() { Ok(Command::Sleep(sum)) } else { Err(Quit::Problems(problems)) }
}

/// A duration or, as every other sleep takes it, seconds without a unit, fractions and `infinity`: a preStop hook that
/// fails is silent, and the delay that it was for is gone.
fn time_to_sleep(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    let text = text.trim();
    if ["infinity", "inf"].contains(&text.to_ascii_lowercase().as_str()) {
        return Ok(LONGEST);
    }
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number = text[..text.len() - unit.len()].parse::<f64>().ok();
    let seconds = match (number, unit) {
        (Some(number), "" | "s") => number,
        (Some(number), "m") => number * 60.0,
        (Some(number), "h") => number * 3600.0,
        (Some(number), "d") => number * 86400.0,
        _ => return values::duration(text),
    };
    Ok(Duration::try_from_secs_f64(seconds).map_or(LONGEST, |time| time.min(LONGEST)))
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

/// `graceful demo-app [--fault NAME] [ADDRESS:PORT]`, not in the help.
pub(super) fn demo_app(args: &[OsString]) -> Result<Command, Quit> {
    let (tokens, mut problems) = tokens("demo-app", args)?;
    let faults: Vec<&OsString> = tokens.flags.iter().map(|(_, value)| value).collect();
    if faults.len() > 1 {
        problems.push(Problem::new("--fault", format!("given {} times; once is right", faults.len())));
    }
    let known = |text: &str| values::choice(text, Fault::NAMES);
    let fault = faults.last().and_then(|text| checked("--fault ", text, known, &mut problems));
    refuse(tokens.rest.get(1..).unwrap_or_default(), "demo-app", "[--fault NAME] [ADDRESS:PORT]", &mut problems);
    let default = OsString::from("127.0.0.1:8080");
    let text = tokens.rest.first().unwrap_or(&default);
    let parse = |text: &str| text.parse().map_err(|_| "not an address; right is as 127.0.0.1:8080".to_owned());
    match checked("demo-app ", text, parse, &mut problems) {
        Some(address) if problems.is_empty() => Ok(Command::DemoApp { address, fault }),
        _ => Err(Quit::Problems(problems)),
    }
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
    refuse(rest.get(1..).unwrap_or_default(), command, form, problems);
    if rest.is_empty() {
        problems.push(Problem::new(command, format!("needs an argument; right is: graceful {command} {form}")));
    }
    rest.first()
}

fn refuse(extra: &[OsString], command: &str, form: &str, problems: &mut Vec<Problem>) {
    for extra in extra {
        problems
            .push(Problem::new(quoted(extra), format!("one argument too many; right is: graceful {command} {form}")));
    }
}

fn checked<T>(
    prefix: &str,
    text: &OsString,
    parse: impl Fn(&str) -> Result<T, String>,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    let parsed = text.to_str().ok_or_else(|| "not UTF-8 text".to_owned()).and_then(parse);
    let place = || match text.to_str() {
        Some(text) if !text.is_empty() && !text.chars().any(char::is_control) => format!("{prefix}{}", hidden(text)),
        _ => format!("{prefix}{}", quoted(text)),
    };
    parsed.map_err(|reason| problems.push(Problem::new(place(), reason))).ok()
}

/// What can be probed without a word before it.
fn target_to_probe(text: &str) -> Result<ProbeTarget, String> {
    if values::is_http(text) {
        return url_to_probe(text).map(ProbeTarget::Url);
    }
    match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("tcp") => return tcp_to_probe(rest),
        Some((scheme, _)) if scheme != "unix" => {
            return Err("a URL to probe begins with http://, https:// or tcp://".into());
        }
        _ => {}
    }
    let at = own_address(text).map_err(|reason| {
        let meant = did_you_mean(text, PROBES.iter().map(|(word, _)| *word), str::to_owned);
        let url = values::http_url(text).err().unwrap_or_default();
        match text.split_once(':') {
            Some(("" | "unix", _)) => reason,
            Some(_) => format!("{reason}; {url}"),
            None if meant.is_empty() => format!("{url}; graceful's own address is as :9090 or unix:/run/graceful.sock"),
            None => format!("right is live, ready or startup{meant}"),
        }
    })?;
    Ok(ProbeTarget::Own { probe: Probe::Ready, at: Some(at) })
}

/// Where a graceful listens.
fn own_address(text: &str) -> Result<Listen, String> {
    if text.contains("://") && !text.starts_with("unix:") {
        return Err("live, ready and startup are asked of graceful itself, and a URL without such a word; right is \
                    graceful's address, as :9090 or unix:/run/graceful.sock"
            .into());
    }
    match values::listen(text)? {
        Listen::Tcp(address) if address.port() == 0 => Err("nobody listens on port 0; right is as :9090".into()),
        listen => Ok(listen),
    }
}

/// `HOST:PORT` of `tcp://HOST:PORT`.
fn tcp_to_probe(text: &str) -> Result<ProbeTarget, String> {
    const RIGHT: &str = "right is tcp://HOST:PORT, as tcp://127.0.0.1:5432";
    let (host, port) = text.trim_end_matches('/').rsplit_once(':').ok_or(format!("no port in it; {RIGHT}"))?;
    let host = Host::parse(host).map_err(|error| format!("not a host ({error}); {RIGHT}"))?;
    match port.parse() {
        Ok(port) if port > 0 => Ok(ProbeTarget::Tcp { host: host.to_string(), port }),
        _ => Err(format!("no port from 1 to 65535 in it; {RIGHT}")),
    }
}

fn url_to_probe(text: &str) -> Result<Url, String> {
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

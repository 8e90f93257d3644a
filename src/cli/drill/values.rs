//! What the options of `graceful drill` take: from one value's text to its type.

use crate::cli::arguments::wrong;
use crate::cli::describe::listed;
use crate::config::suggest::did_you_mean;
use crate::config::{quoted, values};
use crate::drill::evidence::CheckName;
use crate::drill::header::Header;
use crate::drill::plan::{Mix, Output, OutputKind, Place, Target, Tolerance};
use crate::drill::{self};
use crate::files;
use crate::reason::Reason;
use crate::secret::{Hidden, Url};
use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Arg, Command, Error, ValueEnum};
use std::ffi::{OsStr, OsString};
use std::path::Path;

pub(super) fn get(place: Place) -> Target {
    Target { method: "GET".to_owned(), place, body: None }
}

/// http or https, `unix:SOCKET:PATH`, or a path.
pub(super) fn place(text: &str) -> Result<Place, Reason> {
    let text = text.trim();
    if text.starts_with('/') {
        let is_path = Url::parse("http://host/").and_then(|base| base.with_target(text));
        return match is_path {
            Ok(_) => Ok(Place::Path(Hidden::from(text.to_owned()))),
            Err(error) => Err(format!("not a path ({error}); expected one, as /orders").into()),
        };
    }
    match text.strip_prefix("unix:") {
        Some(rest) => values::unix_url(rest).map(Place::Url),
        None => values::http_url(text).map(Place::Url),
    }
}

/// The headers of one `--header`.
#[derive(Clone)]
pub(super) struct HeaderValues(pub(super) Vec<Header>);

/// Shows nothing of a value: whatever stands behind the colon, or instead of one, may be the secret itself.
#[derive(Clone)]
pub(super) struct HeadersParser;

impl TypedValueParser for HeadersParser {
    type Value = HeaderValues;

    fn parse_ref(&self, _: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<HeaderValues, Error> {
        headers(value).map(HeaderValues).map_err(|fault| wrong(arg, fault.shown, fault.why))
    }
}

/// What is wrong with a `--header`.
struct HeaderFault {
    /// What of it may be shown.
    shown: String,
    why: Reason,
}

/// What `--header` names: one, or all of a file.
fn headers(value: &OsStr) -> Result<Vec<Header>, HeaderFault> {
    let hidden = || HeaderFault { shown: "…".to_owned(), why: "not UTF-8 text".into() };
    let text = value.to_str().ok_or_else(hidden)?;
    if let Some(path) = text.strip_prefix('@') {
        let failed = |why: Reason| HeaderFault { shown: quoted(value), why };
        if path.is_empty() {
            return Err(failed("no file is named; expected one, as @headers.txt".into()));
        }
        return drill::headers_of(Path::new(path)).map_err(failed);
    }
    let name = match text.split_once(':') {
        Some((name, _)) => format!("\"{}: …\"", name.trim()),
        None => "\"…\"".to_owned(),
    };
    Header::parse(text).map(|header| vec![header]).map_err(|why| HeaderFault { shown: name, why })
}

/// A count, or a share of the requests that were over before the stop.
pub(super) fn tolerance(text: &str) -> Result<Tolerance, Reason> {
    let text = text.trim();
    if let Ok(count) = text.parse() {
        return Ok(Tolerance::Count(count));
    }
    match share(text) {
        Ok(share) => Ok(Tolerance::Share(share)),
        Err(_) => Err("expected a number of requests, or a share of them, as 3 or 1%".into()),
    }
}

/// `[METHOD] URL [BODY]`, with a path for a URL
pub(super) fn request(text: &str) -> Result<Target, Reason> {
    const RIGHT: &str = "expected METHOD URL [BODY], as POST http://127.0.0.1:8080/orders {\"id\":1}";
    let text = text.trim();
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    if values::is_http(first) || first.starts_with('/') || first.starts_with("unix:") {
        let body = (!rest.trim().is_empty()).then(|| rest.trim().to_owned());
        return match body {
            None => place(first).map(get),
            Some(_) => Err(format!("a body needs a method before the URL; {RIGHT}").into()),
        };
    }
    let is_method = !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_uppercase());
    if !is_method {
        return Err(
            format!("{} is neither a method in capitals nor a URL; {RIGHT}", quoted(&OsString::from(first))).into()
        );
    }
    let rest = rest.trim_start();
    let (url, body) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let place = place(url).map_err(|why| format!("{why}; {RIGHT}"))?;
    let body = (!body.trim().is_empty()).then(|| body.trim().to_owned());
    Ok(Target { method: first.to_owned(), place, body })
}

/// A shell command that prints ids.
pub(super) fn shell_command(text: &str) -> Result<String, Reason> {
    match text.trim() {
        "" => Err("the command is empty; expected a shell command that prints one id a line".into()),
        _ => Ok(text.to_owned()),
    }
}

pub(super) fn pid(text: &str) -> Result<i32, Reason> {
    match text.trim().parse() {
        Ok(pid) if pid > 1 => Ok(pid),
        _ => Err("expected a process id above 1, as 4711".into()),
    }
}

pub(super) fn count(text: &str) -> Result<u32, Reason> {
    match text.trim().parse() {
        Ok(count @ 1..=1_000_000) => Ok(count),
        _ => Err("expected a number from 1 to 1000000".into()),
    }
}

pub(super) fn ratio(text: &str) -> Result<f64, Reason> {
    match text.trim().parse::<f64>() {
        Ok(ratio) if ratio.is_finite() && ratio > 0.0 => Ok(ratio),
        _ => Err("expected a number above 0, as 1.5".into()),
    }
}

pub(super) fn share(text: &str) -> Result<f64, Reason> {
    let text = text.trim();
    let parsed = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
        None => text.parse(),
    };
    match parsed {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("expected a share of the requests, as 1% or 0.01".into()),
    }
}

/// Where a number of clients stands.
type ClientField = fn(&mut Mix) -> &mut u32;

/// The kinds of client, by the names that `--mix` takes.
const CLIENTS: [(&str, ClientField); 5] = [
    ("new", |mix| &mut mix.new),
    ("hot", |mix| &mut mix.hot),
    ("idle", |mix| &mut mix.idle),
    ("slow", |mix| &mut mix.slow),
    ("stream", |mix| &mut mix.stream),
];

pub(super) fn mix(text: &str) -> Result<Mix, Reason> {
    let mut mix = Mix::default();
    let names = || CLIENTS.iter().map(|(name, _)| *name);
    for part in text.split(',') {
        let (name, number) = part.split_once('=').unwrap_or((part, ""));
        let number = number.trim().parse::<u32>().ok().filter(|number| *number <= 1000);
        let number = number.ok_or_else(|| format!("{part}: expected NAME=N with N from 0 to 1000, as new=1"))?;
        let name = name.trim();
        let Some((_, field)) = CLIENTS.iter().find(|(known, _)| *known == name) else {
            let hint = did_you_mean(name, names(), str::to_owned);
            return Err(format!("unknown client {name}; expected {}{hint}", listed(names())).into());
        };
        *field(&mut mix) = number;
    }
    Ok(mix)
}

pub(super) fn check_names() -> Vec<PossibleValue> {
    CheckName::value_variants().iter().map(|check| PossibleValue::new(check.name())).collect()
}

pub(super) fn check_name(text: &str) -> Result<CheckName, Reason> {
    let name = text.trim();
    let names = || CheckName::value_variants().iter().map(|check| check.name());
    CheckName::from_str(name, false).map_err(|_| {
        let hint = did_you_mean(name, names(), str::to_owned);
        format!("unknown check; expected {}{hint}", listed(names())).into()
    })
}

pub(super) fn output(text: &str) -> Result<Output, Reason> {
    let kinds = OutputKind::value_variants().iter().filter_map(OutputKind::to_possible_value);
    let forms: Vec<String> = kinds.map(|kind| format!("{}=PATH", kind.get_name())).collect();
    let expected = format!("expected {}", listed(forms.iter().map(String::as_str)));
    let (kind, path) = text.split_once('=').ok_or_else(|| expected.clone())?;
    let kind = OutputKind::from_str(kind, false).map_err(|_| format!("unknown kind {kind}; {expected}"))?;
    if path.is_empty() {
        return Err(format!("the path is empty; {expected}").into());
    }
    // Better now than when the drill is over. A drill's own standard output is nobody else's.
    let is_own_stream = matches!(files::descriptor(Path::new(path)), Some(1 | 2));
    if !is_own_stream && let Some(why) = files::unwritable(Path::new(path)) {
        return Err(format!("{path} {why}").into());
    }
    Ok(Output { kind, path: path.into() })
}

/// A shell command that stops something.
pub(super) fn stop_command(text: &str) -> Result<String, Reason> {
    match text.trim() {
        "" => Err("the command is empty; expected a shell command, as 'docker stop web'".into()),
        _ => Ok(text.to_owned()),
    }
}

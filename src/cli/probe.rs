//! `graceful probe`: what it asks.

use super::arguments::{bare, read, stray, value};
use super::describe::{dressed, listed};
use super::{EarlyExit, Invocation, ProbeTarget};
use crate::config::options::{LOG_LEVEL_WORDS, log_level};
use crate::config::suggest::did_you_mean;
use crate::config::{ConfigError, Listen, LogLevel, values};
use crate::health::Probe;
use crate::reason::Reason;
use crate::secret::Url;
use clap::builder::PossibleValue;
use clap::{CommandFactory, Parser, ValueEnum, ValueHint};
use std::ffi::OsString;
use std::time::Duration;
use url::Host;

const USAGE: &str = "graceful probe [OPTIONS] [live|ready|startup] [TARGET]";

const AFTER_HELP: &str = "\
Without a URL it asks a running graceful for its /livez, /readyz or /startupz. TARGET is
  http:// or https://            a status from 200 to 399 is fine
  tcp://HOST:PORT                a connection is fine
  :9090, 127.0.0.1:9090          graceful's address, as --probe-listen has it
  unix:/run/graceful.sock
If TARGET is left out, the first of these that says where graceful listens counts:
  GRACEFUL_PROBE_LISTEN, or probe_listen in the file that GRACEFUL_CONFIG names
  a running graceful's own options, as /proc shows them; PID 1 before all others
  /run/graceful.sock, if it is a socket
In a Dockerfile:
  HEALTHCHECK CMD [\"/graceful\", \"probe\"]
asks for ready, and is unhealthy while a critical dependency is gone. live looks at no dependency:
use it where a failure restarts the container, as in a Kubernetes liveness probe.";

/// Ask graceful, a URL or a port once: exit 0 if ready, else 1. For HEALTHCHECK and exec probes
#[derive(Parser)]
#[command(name = "probe", override_usage = USAGE, after_help = AFTER_HELP)]
pub(super) struct ProbeOptions {
    /// What is asked of graceful itself
    #[arg(value_name = "PROBE", value_parser = value(first_word).or_one_of(probes), default_value = "ready")]
    first: FirstWord,
    /// What is asked. Default: the graceful that is running
    #[arg(value_name = "TARGET", value_hint = ValueHint::Url)]
    address: Option<OsString>,
    /// For the whole probe, as 500ms or 2s
    #[arg(long, value_name = "DUR", value_parser = value(values::positive_duration), default_value = "1s")]
    timeout: Duration,
    /// With debug or trace, say on stderr what it does, as which addresses a name has and who answers
    #[arg(long, value_name = "LEVEL", value_parser = value(log_level).or_one_of(levels), default_value = "info")]
    log_level: LogLevel,
}

/// A probe, or already what is asked.
#[derive(Clone)]
enum FirstWord {
    Probe(Probe),
    Target(ProbeTarget),
}

/// `graceful probe [OPTIONS] [live|ready|startup] [TARGET]`
pub(super) fn parse(args: &[OsString]) -> Result<Invocation, EarlyExit> {
    let ProbeOptions { first, address, timeout, log_level } = read(args)?;
    let target = match (first, address) {
        (FirstWord::Probe(probe), None) => Ok(ProbeTarget::Own { probe, at: None }),
        (FirstWord::Probe(probe), Some(text)) => own_probe(probe, &text),
        (FirstWord::Target(target), None) => Ok(target),
        (FirstWord::Target(_), Some(extra)) => Err(stray(&extra, &dressed(ProbeOptions::command()))),
    };
    match target {
        Ok(target) => Ok(Invocation::Probe { target, timeout, details: log_level }),
        Err(problem) => Err(EarlyExit::Problems(vec![problem])),
    }
}

fn own_probe(probe: Probe, text: &OsString) -> Result<ProbeTarget, ConfigError> {
    let at = text.to_str().ok_or_else(|| "not UTF-8 text".into()).and_then(own_address);
    let place = || format!("probe {} {}", word(probe), bare(text));
    at.map(|at| ProbeTarget::Own { probe, at: Some(at) }).map_err(|why| ConfigError::new(place(), why))
}

fn levels() -> Vec<PossibleValue> {
    LOG_LEVEL_WORDS.map(PossibleValue::new).into()
}

fn probes() -> Vec<PossibleValue> {
    Probe::value_variants().iter().filter_map(Probe::to_possible_value).collect()
}

fn word(probe: Probe) -> String {
    probe.to_possible_value().map(|word| word.get_name().to_owned()).unwrap_or_default()
}

fn first_word(text: &str) -> Result<FirstWord, Reason> {
    match Probe::from_str(text, false) {
        Ok(probe) => Ok(FirstWord::Probe(probe)),
        Err(_) => target_to_probe(text).map(FirstWord::Target),
    }
}

/// What can be probed without a word before it.
fn target_to_probe(text: &str) -> Result<ProbeTarget, Reason> {
    if values::is_http(text) {
        return url_to_probe(text).map(ProbeTarget::Url);
    }
    match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("tcp") => return tcp_to_probe(rest),
        Some((scheme, _)) if scheme != "unix" => {
            return Err("expected a URL that begins with http://, https:// or tcp://".into());
        }
        _ => {}
    }
    let at = own_address(text).map_err(|reason| {
        let words = probes();
        let words = || words.iter().map(PossibleValue::get_name);
        let meant = did_you_mean(text, words(), str::to_owned);
        let url = values::http_url(text).err().map(String::from).unwrap_or_default();
        match text.split_once(':') {
            Some(("" | "unix", _)) => reason,
            Some(_) => format!("{reason}; {url}").into(),
            None if meant.is_empty() => {
                format!("{url}; graceful's own address is as :9090 or unix:/run/graceful.sock").into()
            }
            None => format!("expected {}{meant}", listed(words())).into(),
        }
    })?;
    Ok(ProbeTarget::Own { probe: Probe::Ready, at: Some(at) })
}

/// Where a graceful listens.
fn own_address(text: &str) -> Result<Listen, Reason> {
    if text.contains("://") && !text.starts_with("unix:") {
        return Err(
            "live, ready and startup ask graceful itself, and a URL is given without such a word; expected graceful's \
             address, as :9090 or unix:/run/graceful.sock"
                .into(),
        );
    }
    match values::listen(text)? {
        Listen::Tcp(address) if address.port() == 0 => {
            Err("nobody listens on port 0; expected the port that graceful listens on, as :9090".into())
        }
        listen => Ok(listen),
    }
}

/// `HOST:PORT` of `tcp://HOST:PORT`.
fn tcp_to_probe(text: &str) -> Result<ProbeTarget, Reason> {
    const RIGHT: &str = "expected tcp://HOST:PORT, as tcp://127.0.0.1:5432";
    let (host, port) = text.trim_end_matches('/').rsplit_once(':').ok_or(format!("has no port; {RIGHT}"))?;
    let host = Host::parse(host).map_err(|error| format!("not a host ({error}); {RIGHT}"))?;
    match port.parse() {
        Ok(port) if port > 0 => Ok(ProbeTarget::Tcp { host: host.to_string(), port }),
        _ => Err(format!("has no port from 1 to 65535; {RIGHT}").into()),
    }
}

fn url_to_probe(text: &str) -> Result<Url, Reason> {
    let url = values::http_url(text)?;
    match url.scheme() == "https" && !cfg!(feature = "https") {
        true => Err("this build of graceful has no https; expected http://".into()),
        false => Ok(url),
    }
}

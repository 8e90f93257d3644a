//! The small commands: `install`, `sleep`, `completions`, and the demo.

use super::arguments::{read, value};
use super::{EarlyExit, Invocation, Shell};
use crate::config::{ConfigError, values};
use crate::demo::Fault;
use crate::reason::Reason;
use clap::{Parser, ValueHint};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

/// Copy this binary to DIR/graceful. For init containers: no app image needs to have it
#[derive(Parser)]
#[command(name = "install", override_usage = "graceful install DIR")]
pub(super) struct InstallOptions {
    /// An existing directory, as the mount of an emptyDir
    #[arg(value_name = "DIR", required = true, value_hint = ValueHint::DirPath)]
    directory: OsString,
}

/// Sleep and exit 0. For preStop hooks in images without sleep
#[derive(Parser)]
#[command(name = "sleep", override_usage = "graceful sleep DUR")]
pub(super) struct SleepOptions {
    /// A number and a unit, as 500ms, 5s or 2m; without a unit, seconds
    #[arg(value_name = "DUR", required = true, value_parser = value(time_to_sleep))]
    durations: Vec<Duration>,
}

/// Print a completion script for a shell
#[derive(Parser)]
#[command(name = "completions", override_usage = "graceful completions SHELL")]
pub(super) struct CompletionsOptions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Serve the web server that ships with graceful, to try things on
#[derive(Parser)]
#[command(name = "demo-app", override_usage = "graceful demo-app [--fault NAME] [ADDRESS:PORT]")]
pub(super) struct DemoAppOptions {
    /// How it stops badly, if it does
    #[arg(long, value_name = "NAME")]
    fault: Option<Fault>,
    /// Where it listens
    #[arg(value_name = "ADDRESS:PORT", value_parser = value(address), default_value = "127.0.0.1:8080")]
    address: SocketAddr,
}

/// `graceful install DIR`
pub(super) fn install(args: &[OsString]) -> Result<Invocation, EarlyExit> {
    let InstallOptions { directory } = read(args)?;
    if directory.is_empty() {
        let reason = "the path is empty; expected: graceful install DIR, as /opt/graceful";
        return Err(EarlyExit::Problems(vec![ConfigError::new("install \"\"", reason)]));
    }
    Ok(Invocation::Install(directory.into()))
}

/// `graceful sleep DUR`
pub(super) fn sleep(args: &[OsString]) -> Result<Invocation, EarlyExit> {
    let SleepOptions { durations } = read(args)?;
    // Several add up, as with the coreutils' sleep.
    Ok(Invocation::Sleep(durations.into_iter().fold(Duration::ZERO, Duration::saturating_add)))
}

/// `graceful completions SHELL`
pub(super) fn completions(args: &[OsString]) -> Result<Invocation, EarlyExit> {
    let CompletionsOptions { shell } = read(args)?;
    Ok(Invocation::Completions(shell))
}

/// `graceful demo-app [--fault NAME] [ADDRESS:PORT]`, not in the help.
pub(super) fn demo_app(args: &[OsString]) -> Result<Invocation, EarlyExit> {
    let DemoAppOptions { fault, address } = read(args)?;
    Ok(Invocation::DemoApp { address, fault })
}

/// A duration or, as every other sleep takes it, seconds without a unit, fractions and `infinity`: a preStop hook that
/// fails is silent, and the delay that it was for is gone.
fn time_to_sleep(text: &str) -> Result<Duration, Reason> {
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

fn address(text: &str) -> Result<SocketAddr, Reason> {
    text.parse().map_err(|_| "not an address; expected ADDRESS:PORT, as 127.0.0.1:8080".into())
}

//! `graceful reload` and `graceful status`: what they ask the running graceful.

use super::arguments::{read, value};
use super::{EarlyExit, Invocation};
use crate::config::values;
use crate::control::{ControlAddress, StatusForm};
use clap::{Parser, ValueHint};
use std::ffi::OsString;
use std::time::Duration;

const RELOAD_HELP: &str = "\
It asks the running graceful, over its control socket, and waits. As a step of a deployment:
  docker exec web /graceful reload

Exit status:
  0     the new generation serves; the old one stops without dropping a request
  1     it does not, and the old one goes on; or there is no answer. The reason is on stderr
  2     wrong usage";

const STATUS_HELP: &str = "\
It asks the running graceful, over its control socket. For a script:
  graceful status --output json | jq .generation.number

Exit status:
  0     the app runs, is not known to be not ready, and no stop has begun
  1     otherwise; or there is no answer. The reason is on stderr
  2     wrong usage";

/// Start a new run of the app beside the old one, without a gap: exit 0 once the new one serves, else 1
#[derive(Parser)]
#[command(name = "reload", override_usage = "graceful reload [OPTIONS]", after_help = RELOAD_HELP)]
pub(super) struct ReloadOptions {
    /// graceful's control socket. Default: GRACEFUL_CONTROL, else /run/graceful-control.sock
    #[arg(long, value_name = "PATH", value_parser = value(ControlAddress::parse), value_hint = ValueHint::FilePath)]
    control: Option<ControlAddress>,
    /// Wait no longer than this; the reload itself goes on
    #[arg(long, value_name = "DUR", value_parser = value(values::positive_duration), default_value = "2m")]
    timeout: Duration,
}

/// Tell what the running graceful does: exit 0 if the app serves, else 1
#[derive(Parser)]
#[command(name = "status", override_usage = "graceful status [OPTIONS]", after_help = STATUS_HELP)]
pub(super) struct StatusOptions {
    /// graceful's control socket. Default: GRACEFUL_CONTROL, else /run/graceful-control.sock
    #[arg(long, value_name = "PATH", value_parser = value(ControlAddress::parse), value_hint = ValueHint::FilePath)]
    control: Option<ControlAddress>,
    /// How the status is written
    #[arg(long, value_name = "FORM", default_value = "text")]
    output: StatusForm,
}

/// `graceful reload [--control PATH] [--timeout DUR]`
pub(super) fn reload(args: &[OsString]) -> Result<Invocation, EarlyExit> {
    let ReloadOptions { control, timeout } = read(args)?;
    Ok(Invocation::Reload { control, timeout })
}

/// `graceful status [--control PATH] [--output text|json]`
pub(super) fn status(args: &[OsString]) -> Result<Invocation, EarlyExit> {
    let StatusOptions { control, output } = read(args)?;
    Ok(Invocation::Status { control, output })
}

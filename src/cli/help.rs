//! What `--help` says, and the clap commands that say it.
//!
//! [`tree`] is the whole command line as people see it: help, completions, man pages.

use super::control::{ReloadOptions, StatusOptions};
use super::describe::{described, dressed, info_flags, run_args};
use super::drill::DrillOptions;
use super::plan::PlanOptions;
use super::probe::ProbeOptions;
use super::subcommands::{CompletionsOptions, InstallOptions, SleepOptions};
use crate::config::options::heading;
use clap::builder::ValueParser;
use clap::{Arg, Command, CommandFactory, ValueHint};

/// What `graceful` without arguments prints.
pub(super) const SHORT_USAGE: &str = "\
graceful: error: no command to run
usage: graceful [OPTIONS] -- COMMAND [ARGS...]
       graceful drill [OPTIONS] -- COMMAND [ARGS...]
       graceful probe [OPTIONS] [live|ready|startup] [TARGET]
       graceful plan [OPTIONS] [FILE...]
       graceful reload [OPTIONS]
       graceful status [OPTIONS]
       graceful install DIR
       graceful sleep DUR
       graceful completions SHELL
all options: graceful --help
";

const TITLE: &str = "Makes every stop of an app a clean one";

const ABOUT: &str = "\
Stands between an orchestrator and an app, as PID 1 of a container or as a wrapper, and makes every stop a clean \
one: after the stop signal the app serves on for the pre-stop delay, then it gets the signal, and what is left at the \
end of the budget gets SIGKILL before the orchestrator would send it. The exit status is the app's own.";

const USAGE: &str = "\
graceful [OPTIONS] -- COMMAND [ARGS...]
       graceful run [OPTIONS] -- COMMAND [ARGS...]
       graceful drill [OPTIONS] -- COMMAND [ARGS...]
       graceful probe [OPTIONS] [live|ready|startup] [TARGET]
       graceful plan [OPTIONS] [FILE...]
       graceful reload [OPTIONS]
       graceful status [OPTIONS]
       graceful install DIR
       graceful sleep DUR
       graceful completions SHELL";

const RUN_USAGE: &str = "\
graceful run [OPTIONS] -- COMMAND [ARGS...]
       graceful [OPTIONS] -- COMMAND [ARGS...]";

const AFTER_HELP: &str = "\
Values:
  DUR   a number and a unit, as 500ms, 5s or 2m
  SIG   a name or a number, as TERM, SIGTERM, 15 or RTMIN+3
  URL   http:// or https://
  ADDR  ADDRESS:PORT, :PORT or unix:PATH, as 127.0.0.1:9090, :9090 or unix:/run/graceful.sock

Environment and file:
  Every option can be given three ways; a flag beats a variable, a variable beats the file.
    --grace-period 25s             on the command line
    GRACEFUL_GRACE_PERIOD=25s      in the environment; an empty variable counts as unset
    grace_period = \"25s\"           in the TOML file that --config or GRACEFUL_CONFIG names
  Lists: a comma separates the values of stop-on, rewrite, escalate and success-exit-status; the
  file may have arrays, as stop_on = [\"TERM\", \"USR1\"]. The strongest source gives the whole list.
  Hooks and checks add up: file, then variable (one a line), then flags. In the file:
    [[hook]]
    stage = \"pre-stop\"         # or pre-start, post-start, ready, post-stop
    run = \"./drain --now\"      # or a list, [\"./drain\", \"--now\"]; or url = \"http://...\" to POST to
    name = \"drain\"             # default: the command's file name, or the URL's host
    timeout = \"8s\"             # default: as for --hook
    priority = 10              # higher runs first, equal ones run together; default: 0
    on_failure = \"continue\"    # or abort: pre-start does not start the app, post-start and ready
                               # stop it; default: abort for pre-start, otherwise continue
    [[check]]
    name = \"redis\"             # up to 63 letters, digits, -, _ and .
    target = \"tcp://redis:6379\"
                               # or http://..., https://..., exec:COMMAND, disk:/PATH
    send = \"PING\\r\\n\"          # tcp only; default: nothing
    expect = \"+PONG\"           # tcp only, part of the answer; default: connecting is enough
    degraded_after = \"500ms\"   # a slower success is degraded; default: none
    breaker_after = 5          # failures in a row until it is no longer asked; default: none
    interval = \"10s\"           # this and all below are the defaults
    timeout = \"2s\"             # or the interval if shorter
    jitter = \"1s\"              # a tenth of the interval; up to this is added to each, at random
    critical = true            # false: unhealthy only degrades
    failure_threshold = 3      # failures in a row until it is unhealthy; fewer are degraded
    success_threshold = 1      # successes in a row until it is healthy again
    breaker_reset = \"30s\"      # for this long it is not asked; then one try decides
    # exec only: degraded_status = [2], exit statuses that mean degraded; default: none
    # disk only: degraded_free = \"20%\", unhealthy_free = \"10%\", or sizes, as \"5GiB\"

Exit status:
  the app's own; 128+n if signal n killed it
  2     wrong usage or configuration; the app was not started
  125   graceful's own failure, or a pre-start hook that failed
  126   COMMAND was found but cannot be executed
  127   COMMAND was not found
  probe: 0 if the answer is 200 to 399 or, for tcp://, the connection was made; otherwise 1
  reload: 0 if the new generation serves; status: 0 if the app serves; otherwise 1";

/// The whole command line.
pub(super) fn tree() -> Command {
    let run = Command::new("run").about("Run COMMAND under supervision; the word may be left out");
    let graceful = Command::new("graceful").about(TITLE).long_about(ABOUT);
    let mut tree = info_flags(running(graceful, USAGE), Some(heading::OTHER))
        .args_conflicts_with_subcommands(true)
        .disable_help_subcommand(true)
        .subcommand(info_flags(running(run, RUN_USAGE), Some(heading::OTHER)));
    let others = [
        DrillOptions::command(),
        PlanOptions::command(),
        ProbeOptions::command(),
        ReloadOptions::command(),
        StatusOptions::command(),
        InstallOptions::command(),
        SleepOptions::command(),
        CompletionsOptions::command(),
    ];
    for command in others {
        tree = tree.subcommand(dressed(command));
    }
    tree
}

/// The help of graceful, or of one of its commands.
pub(super) fn text(of: Option<&'static str>) -> String {
    // The title is for the man page's first line; people get the whole sentence at once.
    let mut tree = tree().about(ABOUT);
    tree.build();
    match of {
        Some(name) => tree.find_subcommand_mut(name).map(|found| found.render_help().to_string()).unwrap_or_default(),
        None => tree.render_help().to_string(),
    }
}

/// The command with everything that `run` takes.
fn running(command: Command, usage: &'static str) -> Command {
    described(command).override_usage(usage).after_help(AFTER_HELP).args(run_args()).arg(app())
}

/// The app's argv, for completions and man pages.
fn app() -> Arg {
    Arg::new("COMMAND")
        .value_name("COMMAND")
        .num_args(0..)
        .last(true)
        .hide_short_help(true)
        .value_hint(ValueHint::CommandWithArguments)
        .value_parser(ValueParser::os_string())
        .long_help("The app and its arguments")
}

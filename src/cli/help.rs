//! What `--help` says, and the clap commands that say it.
//!
//! [`tree`] is the whole command line as people see it: help, completions, man pages. The `*_tokens` commands are
//! what arguments are parsed with; they know the same options, and take every other argument as it comes.

use super::tokens::REST;
use crate::config::options::{OPTIONS, OTHER, OptionSpec, ValueKind};
use crate::demo::Fault;
use clap::builder::{PossibleValue, TypedValueParser, ValueParser};
use clap::{Arg, ArgAction, Command, ValueHint};
use std::ffi::{OsStr, OsString};

/// What `graceful` alone answers.
pub(super) const SHORT_USAGE: &str = "\
graceful: error: no command to run
usage: graceful [OPTIONS] -- COMMAND [ARGS...]
       graceful drill [OPTIONS] -- COMMAND [ARGS...]
       graceful probe [OPTIONS] [live|ready|startup] [TARGET]
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
       graceful sleep DUR
       graceful completions SHELL";

const RUN_USAGE: &str = "\
graceful run [OPTIONS] -- COMMAND [ARGS...]
       graceful [OPTIONS] -- COMMAND [ARGS...]";

const TEMPLATE: &str = "{about-with-newline}\n{usage-heading} {usage}\n\n{all-args}{after-help}";

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
    breaker_reset = \"30s\"      # so long it is not asked; then one try decides
    # exec only: degraded_status = [2], exit statuses that mean degraded; default: none
    # disk only: degraded_free = \"20%\", unhealthy_free = \"10%\", or sizes, as \"5GiB\"

Exit status:
  the app's own; 128+n if signal n killed it
  2     wrong usage or configuration; the app was not started
  125   graceful's own failure, or a pre-start hook that failed
  126   COMMAND was found but cannot be executed
  127   COMMAND was not found
  probe: 0 if the answer is 200 to 399 or, for tcp://, the connection was made; otherwise 1";

const DRILL_USAGE: &str = "\
graceful drill [OPTIONS] [OPTIONS OF run] -- COMMAND [ARGS...]
       graceful drill [OPTIONS] --demo[=FAULT]
       graceful drill [OPTIONS] --stop-command COMMAND --url URL
       graceful drill [OPTIONS] --pid PID --url URL
       graceful drill [OPTIONS] --no-stop --url URL --baseline FILE";

const AFTER_DRILL: &str = "\
COMMAND runs under graceful with every option of run that is given here, as --pre-stop-delay 5s.
With --probe-listen the load balancer's view of readiness is graceful's /readyz, else --ready-url.

Exit status:
  0     passed
  1     failed: at least one check did
  2     wrong usage
  3     inconclusive: nothing could be told, and why is said
  125   graceful's own failure
  128+n signal n broke the drill off";

const PROBE_USAGE: &str = "graceful probe [OPTIONS] [live|ready|startup] [TARGET]";

const AFTER_PROBE: &str = "\
Without a URL it asks a running graceful for its /livez, /readyz or /startupz. TARGET is
  http:// or https://            fine is a status from 200 to 399
  tcp://HOST:PORT                fine is a connection
  :9090, 127.0.0.1:9090          graceful's address, as --probe-listen has it
  unix:/run/graceful.sock
Where graceful listens, if TARGET is left out, is said by the first of these that says it:
  GRACEFUL_PROBE_LISTEN, or probe_listen in the file that GRACEFUL_CONFIG names
  a running graceful's own options, as /proc shows them; PID 1 before all others
  /run/graceful.sock, if it is a socket
In a Dockerfile:
  HEALTHCHECK CMD [\"/graceful\", \"probe\"]
asks for ready, and is unhealthy while a critical dependency is gone. live looks at no dependency:
it is right where a failure restarts the container, as a Kubernetes liveness probe.";

/// The whole command line.
pub(super) fn tree() -> Command {
    let run = Command::new("run").about("Run COMMAND under supervision; the word may be left out");
    let graceful = Command::new("graceful").about(TITLE).long_about(ABOUT);
    let mut tree = info_flags(running(graceful, USAGE), Some(OTHER))
        .args_conflicts_with_subcommands(true)
        .disable_help_subcommand(true)
        .subcommand(info_flags(running(run, RUN_USAGE), Some(OTHER)));
    let drill = described(Command::new("drill"))
        .about("Stop COMMAND under load and tell what was dropped, why, and what to change")
        .override_usage(DRILL_USAGE)
        .after_help(AFTER_DRILL)
        .args(drill_args())
        .args(run_args().map(|arg| arg.hide(true)))
        .arg(app());
    tree = tree.subcommand(info_flags(drill, Some(OTHER)));
    for name in ["probe", "sleep", "completions"] {
        tree = tree.subcommand(info_flags(described(subcommand(name)), None));
    }
    tree
}

/// The help of graceful, or of one of its commands.
pub(super) fn text(of: Option<&'static str>) -> String {
    // The title is for the man page's first line; people get the whole sentence at once.
    let mut tree = tree().about(ABOUT);
    tree.build();
    match of {
        Some(name) => match tree.find_subcommand_mut(name) {
            Some(found) => found.render_help().to_string(),
            // One that the tree does not show.
            None => format!("{}\n", info_flags(described(subcommand(name)), None).render_help()),
        },
        None => tree.render_help().to_string(),
    }
}

/// What `run`'s arguments before `--` are parsed with. The first argument that is no option ends the options, so
/// that `graceful ./myapp --flag` is understood well enough to be corrected.
pub(super) fn run_tokens() -> Command {
    tokens(Command::new("graceful").args(run_args())).arg(rest().trailing_var_arg(true))
}

/// What `drill`'s arguments before `--` are parsed with.
pub(super) fn drill_tokens() -> Command {
    tokens(Command::new("drill").args(drill_args()).args(run_args())).arg(rest().trailing_var_arg(true))
}

fn drill_args() -> impl Iterator<Item = Arg> {
    super::drill::ROWS.iter().map(|row| {
        let arg = Arg::new(row.name).long(row.name).help(row.help).help_heading(row.heading);
        let Some(value) = row.value else { return arg.action(ArgAction::SetTrue) };
        let arg = arg.action(ArgAction::Append).value_parser(ValueParser::os_string()).value_name(value);
        match row.missing {
            Some(missing) => arg.num_args(0..=1).require_equals(true).default_missing_value(missing),
            None => arg,
        }
    })
}

/// What the arguments of a small command are parsed with.
pub(super) fn subcommand_tokens(name: &'static str) -> Command {
    let options: Vec<Arg> = subcommand(name).get_opts().cloned().collect();
    tokens(Command::new(name).args(options)).arg(rest())
}

/// The options that a command knows, as ids.
pub(super) fn option_names(command: &Command) -> Vec<&'static str> {
    // Of `probe` there is only --timeout, which `drill` has too.
    let known =
        OPTIONS.iter().map(|spec| spec.name).chain(super::drill::ROWS.iter().map(|row| row.name)).chain([FAULT]);
    known.filter(|name| command.get_opts().any(|opt| opt.get_id() == *name)).collect()
}

/// The only option of `probe`.
const TIMEOUT: &str = "timeout";

/// The only option of `demo-app`.
const FAULT: &str = "fault";

fn tokens(command: Command) -> Command {
    info_flags(command.no_binary_name(true), None)
}

/// With everything that `run` takes.
fn running(command: Command, usage: &'static str) -> Command {
    described(command).override_usage(usage).after_help(AFTER_HELP).args(run_args()).arg(app())
}

fn described(command: Command) -> Command {
    command.help_template(TEMPLATE).max_term_width(100)
}

/// `--help` and `--version`, which clap lists under the heading where it first sees them.
fn info_flags(command: Command, heading: Option<&'static str>) -> Command {
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

fn subcommand(name: &'static str) -> Command {
    let positional = |id: &'static str, help: &'static str| {
        Arg::new(id).value_name(id).required(true).value_parser(ValueParser::os_string()).help(help)
    };
    let command = Command::new(name);
    match name {
        "probe" => command
            .about("Ask graceful, a URL or a port once: exit 0 if ready, else 1. For HEALTHCHECK and exec probes")
            .override_usage(PROBE_USAGE)
            .after_help(AFTER_PROBE)
            .arg(
                positional("PROBE", "live, ready or startup, of graceful itself. Default: ready")
                    .required(false)
                    .value_parser(Words(&["live", "ready", "startup"]))
                    .hide_possible_values(true),
            )
            .arg(
                positional("TARGET", "What is asked. Default: the graceful that runs")
                    .required(false)
                    .value_hint(ValueHint::Url),
            )
            .arg(
                Arg::new(TIMEOUT)
                    .long(TIMEOUT)
                    .value_name("DUR")
                    .action(ArgAction::Append)
                    .value_parser(ValueParser::os_string())
                    .help("For the whole probe, as 500ms or 2s. Default: 1s"),
            ),
        "sleep" => command
            .about("Sleep and exit 0. For preStop hooks in images without sleep")
            .override_usage("graceful sleep DUR")
            .arg(positional("DUR", "A number and a unit, as 500ms, 5s or 2m; without a unit, seconds")),
        "demo-app" => command
            .about("Serve the web server that ships with graceful, to try things on")
            .override_usage("graceful demo-app [--fault NAME] [ADDRESS:PORT]")
            .arg(positional("ADDRESS:PORT", "Where it listens. Default: 127.0.0.1:8080").required(false))
            .arg(
                Arg::new(FAULT)
                    .long(FAULT)
                    .value_name("NAME")
                    .action(ArgAction::Append)
                    .value_parser(ValueParser::os_string())
                    .help(fault_help()),
            ),
        _ => command.about("Print a completion script for a shell").override_usage("graceful completions SHELL").arg(
            positional("SHELL", "bash, elvish, fish, powershell or zsh")
                .value_parser(Words(&["bash", "elvish", "fish", "powershell", "zsh"]))
                .hide_possible_values(true),
        ),
    }
}

fn fault_help() -> String {
    let names: Vec<&str> = Fault::NAMES.iter().map(|(name, _)| *name).collect();
    format!("How it stops badly: {}. Default: it stops well", names.join(", "))
}

fn run_args() -> impl Iterator<Item = Arg> {
    OPTIONS.iter().map(option)
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

fn rest() -> Arg {
    Arg::new(REST).num_args(0..).value_parser(ValueParser::os_string())
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

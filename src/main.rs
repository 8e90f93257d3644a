//! The entry: signals first, then parse, dispatch, and the end: a code, or the signal that ended the app.
//!
//! There is no Rust runtime around it (`no_main`): its start-up would open /dev/null over closed standard streams,
//! ignore SIGPIPE and install handlers, all of which the app would inherit or notice.
#![no_main]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::todo,
    clippy::unimplemented,
    clippy::exit,
    clippy::dbg_macro,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]
// The same as in the library.
#![deny(unsafe_code)]

use graceful::cli::{self, Invocation, ProbeTarget};
use graceful::config::{self, Config, ConfigError, Environment, OuterGraceful, Settings};
use graceful::control::{ControlAddress, StatusForm, client};
use graceful::log::DetailLog;
use graceful::plan::{self, PlanRequest};
use graceful::probe::discover::Unknown;
use graceful::status::ExitStatus;
use graceful::sys::signals::{self, Inherited};
use graceful::{demo, drill, install, panics, probe, status, supervisor, sys};
use std::ffi::OsString;
use std::thread;
use std::time::{Duration, Instant};

/// What the C library calls. `std::env::args_os` knows the arguments without it.
// SAFETY: the one symbol `main` of this program, with a signature that C allows.
#[allow(unsafe_code, reason = "a symbol by its own name can clash with another")]
#[unsafe(no_mangle)]
pub extern "C" fn main() -> i32 {
    let mut inherited = signals::block_all();
    let start = Instant::now();
    // A panic is contained where it can happen, and reported there.
    panics::remember();
    let args: Vec<OsString> = std::env::args_os().collect();
    let plain = cli::plain_run(&args).filter(|command| !command.is_empty());
    let ending = match plain {
        Some(command) if sys::environment_has(b"GRACEFUL_") => {
            // Variables alone, as an image sets them: there is nothing to be tokenised.
            load(Settings::default(), command.to_vec(), &mut inherited, start)
        }
        Some(command) => supervise(Config::of_command(command.to_vec(), sys::getpid() == 1), &mut inherited, start),
        None => dispatch(&args, &mut inherited, start),
    };
    if let ExitStatus::Signaled(signal) = ending {
        signals::end_by(signal);
    }
    sys::exit(ending.code())
}

fn dispatch(args: &[OsString], inherited: &mut Inherited, start: Instant) -> ExitStatus {
    let command = match cli::parse(args) {
        Ok(command) => command,
        Err(quit) => return ExitStatus::Exited(quit.report()),
    };
    if let Invocation::Run { settings, command } = command {
        return load(settings, command, inherited, start);
    }
    ExitStatus::Exited(other(command, inherited))
}

fn load(settings: Settings, command: Vec<OsString>, inherited: &mut Inherited, start: Instant) -> ExitStatus {
    match config::load(settings, command, &surroundings()) {
        Ok(config) => supervise(config, inherited, start),
        Err(problems) => ExitStatus::Exited(cli::report(&problems)),
    }
}

/// The environment; a graceful above this one is looked for only if a variable could be its own.
fn surroundings() -> Environment {
    let environment = sys::variables().map(|(name, value)| (name.into(), value.into())).collect();
    let mut surroundings = Environment::with(environment);
    if surroundings.may_be_below() {
        let above = sys::above::look();
        surroundings.above = above.map(|above| OuterGraceful { pid: above.pid, environment: above.environment });
    }
    surroundings
}

/// Runs a command that supervises nothing; returns its exit code.
fn other(command: Invocation, inherited: &mut Inherited) -> u8 {
    if let Invocation::DemoApp { address, fault } = command {
        return demo::run(address, fault);
    }
    if let Invocation::Drill(plan) = command {
        inherited.take_sigchld();
        return drill::run(&plan, *inherited);
    }
    // Nothing is supervised: signals act on this process as on any other.
    inherited.restore();
    match command {
        // They were dealt with above.
        Invocation::Run { .. } | Invocation::DemoApp { .. } | Invocation::Drill(_) => status::FAILURE,
        Invocation::Plan(plan) => planned(plan),
        Invocation::Probe { target, timeout, details } => {
            let _log = DetailLog::start(details, false);
            probe(target, timeout)
        }
        Invocation::Reload { control, timeout } => reload(control, timeout),
        Invocation::Status { control, output } => status_of(control, output),
        Invocation::Install(dir) => match install::install(&dir) {
            Ok(line) => cli::print(&line),
            Err((problem, code)) => cli::report(&[problem]).max(code),
        },
        Invocation::Sleep(duration) => {
            thread::sleep(duration);
            0
        }
        Invocation::Completions(shell) => cli::print_completions(shell),
    }
}

fn planned(request: PlanRequest) -> u8 {
    let answer = match request {
        PlanRequest::Draw { settings, command, platform } => plan::draw(settings, command, platform, &surroundings()),
        PlanRequest::Check(check) => plan::check(&check, &cli::run_options),
    };
    match answer {
        Ok((text, code)) => cli::print(&text).max(code),
        Err(problems) => cli::report(&problems),
    }
}

fn probe(target: ProbeTarget, timeout: Duration) -> u8 {
    let (ready, line) = match target {
        ProbeTarget::Url(url) => probe::http(&url, timeout),
        ProbeTarget::Tcp { host, port } => probe::tcp(&host, port, timeout),
        ProbeTarget::Own { probe, at } => match probe::own(probe, at, probe::discover::find, timeout) {
            Ok(outcome) => outcome,
            Err(Unknown::Nowhere(problem)) => (false, problem.to_string()),
            Err(Unknown::Wrong(problem)) => return cli::report(&[problem]),
        },
    };
    cli::print(&format!("{line}\n"));
    u8::from(!ready)
}

fn reload(control: Option<ControlAddress>, timeout: Duration) -> u8 {
    ask(control, |address| client::reload(address, timeout).map(|line| cli::print(&line)))
}

fn status_of(control: Option<ControlAddress>, form: StatusForm) -> u8 {
    ask(control, |address| {
        let (serves, text) = client::status(address, form, client::STATUS_TIMEOUT)?;
        Ok(cli::print(&text).max(u8::from(!serves)))
    })
}

/// Asks the running graceful; returns the exit code. As with `probe`, no answer is a failure.
fn ask(control: Option<ControlAddress>, ask: impl FnOnce(&ControlAddress) -> Result<u8, ConfigError>) -> u8 {
    match client::find(control) {
        Ok(address) => ask(&address).unwrap_or_else(|problem| {
            cli::report(&[problem]);
            1
        }),
        Err(problem) => cli::report(&[problem]),
    }
}

fn supervise(config: Config, inherited: &mut Inherited, start: Instant) -> ExitStatus {
    inherited.take_sigchld();
    supervisor::run(config, *inherited, start)
}

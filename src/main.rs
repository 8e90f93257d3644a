//! The entry: signals first, then parse, dispatch, and the end: a code, or the signal that ended the app.
//!
//! There is no Rust runtime around it (`no_main`): its start-up would open /dev/null over closed standard streams,
//! ignore SIGPIPE and install handlers, all of which the app would inherit or notice.
#![no_main]

use graceful::cli::running::{self, Unknown};
use graceful::cli::{self, Command, ProbeTarget};
use graceful::config::{self, Above, Config, Surroundings};
use graceful::status::ExitStatus;
use graceful::sys::signals::{self, Inherited};
use graceful::{demo, drill, probe, status, supervisor, sys};
use std::ffi::OsString;
use std::thread;
use std::time::{Duration, Instant};

/// What the C library calls. `std::env::args_os` knows the arguments without it.
// SAFETY: the one symbol `main` of this program, with a signature that C allows.
#[unsafe(no_mangle)]
pub extern "C" fn main() -> i32 {
    let mut inherited = signals::block_all();
    let start = Instant::now();
    // A panic is contained where it can happen; what it would print could block for ever.
    std::panic::set_hook(Box::new(|_| {}));
    let args: Vec<OsString> = std::env::args_os().collect();
    let plain = cli::plain_run(&args).filter(|_| !sys::environment_has(b"GRACEFUL_"));
    let ending = match plain {
        Some(command) if !command.is_empty() => {
            supervise(Config::of_command(command.to_vec(), sys::getpid() == 1), &mut inherited, start)
        }
        Some(_) | None => dispatch(&args, &mut inherited, start),
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
    if let Command::Run { settings, command } = command {
        return match config::load(settings, command, &surroundings()) {
            Ok(config) => supervise(config, inherited, start),
            Err(problems) => ExitStatus::Exited(cli::report(&problems)),
        };
    }
    ExitStatus::Exited(other(command, inherited))
}

/// A graceful above this one is looked for only where a variable could be its own.
fn surroundings() -> Surroundings {
    let above = || sys::above::look().map(|above| Above { pid: above.pid, environment: above.environment });
    let above = sys::environment_has(b"GRACEFUL_").then(above).flatten();
    Surroundings { above, ..Surroundings::current() }
}

/// A command that supervises nothing; its exit code.
fn other(command: Command, inherited: &mut Inherited) -> u8 {
    if let Command::DemoApp { address, fault } = command {
        return demo::run(address, fault);
    }
    if let Command::Drill(plan) = command {
        inherited.take_sigchld();
        return drill::run(&plan, *inherited);
    }
    // Nothing is supervised: signals act on this process as on any other.
    inherited.restore();
    match command {
        // They were dealt with above.
        Command::Run { .. } | Command::DemoApp { .. } | Command::Drill(_) => status::FAILURE,
        Command::Probe { target, timeout } => probe(target, timeout),
        Command::Sleep(duration) => {
            thread::sleep(duration);
            0
        }
        Command::Completions(shell) => cli::print_completions(shell),
    }
}

fn probe(target: ProbeTarget, timeout: Duration) -> u8 {
    let (ready, line) = match target {
        ProbeTarget::Url(url) => probe::command::http(&url, timeout),
        ProbeTarget::Tcp { host, port } => probe::command::tcp(&host, port, timeout),
        ProbeTarget::Own { probe, at } => match probe::command::own(probe, at, running::find, timeout) {
            Ok(outcome) => outcome,
            Err(Unknown::Nowhere(problem)) => (false, problem.to_string()),
            Err(Unknown::Wrong(problem)) => return cli::report(&[problem]),
        },
    };
    cli::print(&format!("{line}\n"));
    u8::from(!ready)
}

fn supervise(config: Config, inherited: &mut Inherited, start: Instant) -> ExitStatus {
    inherited.take_sigchld();
    supervisor::run(config, *inherited, start)
}

use graceful::{cli, config};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    let code = match cli::parse(&args) {
        Err(quit) => quit.report(),
        Ok(cli::Command::Run { settings, command }) => {
            match config::load(settings, command, &config::Surroundings::current()) {
                Err(problems) => cli::report(&problems),
                Ok(_) => 0,
            }
        }
        Ok(cli::Command::Completions(shell)) => cli::print_completions(shell),
        Ok(cli::Command::Probe { .. } | cli::Command::Sleep(_)) => 0,
    };
    ExitCode::from(code)
}

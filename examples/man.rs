//! Writes the man pages of graceful and its commands into a directory: `cargo run --example man -- DIRECTORY`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(directory) = std::env::args_os().nth(1) else {
        eprintln!("man: error: no directory; right is: cargo run --example man -- DIRECTORY");
        return ExitCode::from(2);
    };
    match clap_mangen::generate_to(graceful::cli::tree(), &directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("man: error: {}: {error}", directory.display());
            ExitCode::FAILURE
        }
    }
}

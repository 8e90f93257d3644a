//! `graceful install DIR`: the running binary copies itself into a directory.
//!
//! So that an app's image need not have it: an init container FROM scratch, with nothing but graceful in it, installs
//! it into an emptyDir, and the app's container starts with it from there. The copy is made beside and renamed: whoever
//! starts it sees all of it or none, and an older one that still runs is left alone.

use crate::config::ConfigError;
use crate::files;
use crate::status::{FAILURE, USAGE};
use crate::sys::in_words;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;

/// The name of the copy.
const NAME: &str = "graceful";

/// Copies this process's own binary to `DIR/graceful`; returns the line to print.
///
/// # Errors
/// What is wrong with the directory ([`USAGE`]), or why the copy failed ([`FAILURE`]).
pub fn install(dir: &Path) -> Result<String, (ConfigError, u8)> {
    let path = dir.join(NAME);
    let own = File::open("/proc/self/exe").map_err(|error| {
        let reason = format!("{}; graceful finds its own file by it", in_words(&error));
        (ConfigError::new("/proc/self/exe", reason), FAILURE)
    })?;
    match files::put_program(&own, &path) {
        Ok(size) => {
            let mebibytes = size as f64 / f64::from(1 << 20);
            Ok(format!("graceful {} is {} ({mebibytes:.1} MiB)\n", env!("CARGO_PKG_VERSION"), path.display()))
        }
        Err(error) => Err(problem(dir, &path, &error)),
    }
}

fn problem(dir: &Path, path: &Path, error: &io::Error) -> (ConfigError, u8) {
    let place = |path: &Path, reason: String| ConfigError::new(format!("install {}", path.display()), reason);
    match error.kind() {
        ErrorKind::NotFound => {
            let reason = "does not exist; expected an existing directory, as the mount of an emptyDir".to_owned();
            (place(dir, reason), USAGE)
        }
        ErrorKind::NotADirectory => {
            (place(dir, "is not a directory; expected the one that graceful is to be put into".to_owned()), USAGE)
        }
        ErrorKind::AlreadyExists => {
            let reason = format!("cannot be put at {}: {error}, which is left alone", path.display());
            (place(dir, reason), USAGE)
        }
        _ => (place(dir, format!("cannot be written to: {}", in_words(error))), FAILURE),
    }
}

//! What `graceful plan` was asked for.

use super::platform::Platform;
use crate::config::{ConfigError, Settings};
use std::ffi::OsString;

/// The whole request.
#[derive(Clone, Debug, PartialEq)]
pub enum PlanRequest {
    /// Draw the timeline of a stop with these options.
    Draw {
        /// Not yet checked.
        settings: Settings,
        /// The app's argv; empty where none is given.
        command: Vec<OsString>,
        /// Where it will run, if that is given.
        platform: Option<Platform>,
    },
    /// Check files.
    Check(CheckRequest),
}

/// Which files, and what becomes of the findings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckRequest {
    /// Files, folders, or `-`.
    pub paths: Vec<OsString>,
    /// How findings are written.
    pub format: OutputFormat,
    /// The least severity for which the exit status is 1; none: never.
    pub fail_on: Option<Severity>,
    /// The names of the rules to ignore.
    pub ignore: Vec<String>,
    /// What becomes of mechanical fixes.
    pub fix: FixMode,
    /// The image from which workloads without graceful get it.
    pub wrap: Option<String>,
}

/// What becomes of the fixes that are mechanical.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FixMode {
    /// They are named.
    Named,
    /// They are shown as a diff.
    Shown,
    /// They are written into the files.
    Written,
}

/// How findings are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputFormat {
    /// For people, and for editors that know `file:line:column`.
    Text,
    /// One object.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// Workflow commands of GitHub Actions: annotations in a pull request.
    Github,
}

/// How bad it is; the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Requests are dropped in some stops, or a setting has no effect.
    Warning,
    /// It cannot work as it is written.
    Error,
}

impl Severity {
    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// Reads graceful's arguments, its own name first, into the options and the app's argv.
pub type ReadOptions<'a> = &'a dyn Fn(&[OsString]) -> Result<(Settings, Vec<OsString>), Vec<ConfigError>>;

/// This build reads no files; the command line has refused them already.
///
/// # Errors
/// Always.
#[cfg(not(feature = "plan"))]
pub fn check(_: &CheckRequest, _: ReadOptions<'_>) -> Result<(String, u8), Vec<ConfigError>> {
    Err(vec![ConfigError::new("FILE", "this build of graceful reads no files")])
}

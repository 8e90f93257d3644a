//! What `graceful plan` was asked for.

use super::platform::Platform;
use crate::config::{ConfigError, Settings};
use std::ffi::OsString;

/// The whole request.
#[derive(Clone, Debug, PartialEq)]
pub enum PlanRequest {
    /// The timeline of these options.
    Draw {
        /// Not yet looked at.
        settings: Settings,
        /// The app's argv; empty where none was given.
        command: Vec<OsString>,
        /// Where it will run, if that was said.
        platform: Option<Platform>,
    },
    /// Files.
    Check(CheckRequest),
}

/// Which files, and what becomes of the findings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckRequest {
    /// Files, folders, or `-`.
    pub paths: Vec<OsString>,
    /// How findings are written.
    pub format: OutputFormat,
    /// The exit status is 1 from this severity on; none: never.
    pub fail_on: Option<Severity>,
    /// Names of rules.
    pub ignore: Vec<String>,
    /// What becomes of mechanical fixes.
    pub fix: FixMode,
    /// The image with graceful in it that pods without get it from.
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
    /// Worth to know.
    Note,
    /// Requests are dropped in some stops, or a setting has no effect.
    Warning,
    /// It cannot work as it is written.
    Error,
}

impl Severity {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// Reads graceful's arguments, its own name first: the options and the app's argv.
pub type ReadOptions<'a> = &'a dyn Fn(&[OsString]) -> Result<(Settings, Vec<OsString>), Vec<ConfigError>>;

/// Files are not read by this build; the command line has said so already.
///
/// # Errors
/// Always.
#[cfg(not(feature = "plan"))]
pub fn check(_: &CheckRequest, _: ReadOptions<'_>) -> Result<(String, u8), Vec<ConfigError>> {
    Err(vec![ConfigError::new("FILE", "this build of graceful reads no files")])
}

//! `graceful plan`: its options, and what they come to.

use super::arguments::{read_grouped, value};
use super::describe::RunFlags;
use super::{EarlyExit, Invocation};
use crate::config::{ConfigError, Settings};
use crate::plan::{CheckRequest, FixMode, OutputFormat, PlanRequest, Platform, Severity};
use crate::reason::Reason;
use clap::{ArgGroup, Parser, ValueEnum, ValueHint};
use std::ffi::OsString;

const USAGE: &str = "\
graceful plan [OPTIONS OF run] [-- COMMAND [ARGS...]]
       graceful plan [OPTIONS] FILE...";

const AFTER_HELP: &str = "\
Without a file it draws the timeline of a stop with these options of run, as --pre-stop-delay 5s.
FILE is a file, a folder, or - for standard input, as in helm template web | graceful plan -
  Kubernetes        Pods and all that makes them, Services, PodDisruptionBudgets; YAML or JSON
  Compose, Swarm    services
  Dockerfile        the last stage
  systemd           units, as web.service
  ECS               task definitions, JSON
  Nomad             jobs, HCL or JSON

Exit status:
  0     the timeline was drawn, or nothing was found that is as bad as --fail-on
  1     something was found
  2     wrong usage, or a file that cannot be read";

/// The group of the options that mean nothing without a file.
const OF_FILES: &str = "of-files";

/// Draw the timeline of a stop; check manifests for what a stop would drop
#[derive(Parser)]
#[command(name = "plan", override_usage = USAGE, after_help = AFTER_HELP)]
#[command(group = ArgGroup::new(OF_FILES).multiple(true))]
pub(super) struct PlanOptions {
    /// How findings are written (sarif is 2.1.0, github means annotations)
    #[arg(long, value_name = "FORM", default_value = "text", group = OF_FILES, help_heading = "Files")]
    format: OutputFormat,
    /// Exit with 1 from this severity on
    #[arg(long, value_name = "SEVERITY", default_value = "error", group = OF_FILES, help_heading = "Files")]
    fail_on: FailOn,
    /// Ignore this rule; a comment in the file, # graceful: ignore RULE, does so for one place; repeatable
    #[arg(long, value_name = "RULE", value_delimiter = ',', group = OF_FILES, help_heading = "Files")]
    ignore: Vec<String>,
    /// Print what a rule finds, why, and a correct file; list prints all rules
    #[arg(long, value_name = "RULE", value_parser = value(explain), help_heading = "Files")]
    explain: Option<String>,
    /// Write the fixes that are mechanical into the files; comments and order stay
    #[arg(long, group = OF_FILES, help_heading = "Files")]
    fix: bool,
    /// Show these fixes as a diff, and nothing else
    #[arg(long, group = OF_FILES, help_heading = "Files")]
    diff: bool,
    /// With --fix or --diff: put graceful before the commands in Kubernetes manifests and Compose files, installed by a
    /// container of this image
    #[arg(long, value_name = "IMAGE", value_parser = value(image), group = OF_FILES, help_heading = "Files")]
    wrap: Option<String>,
    /// Draw where the platform's own SIGKILL comes
    #[arg(long, value_name = "NAME", help_heading = "Timeline")]
    platform: Option<Platform>,
    #[command(flatten)]
    run: RunFlags,
    /// What is checked
    #[arg(value_name = "FILE", value_hint = ValueHint::AnyPath)]
    files: Vec<OsString>,
    /// The app and its arguments
    #[arg(last = true, value_name = "COMMAND", hide = true)]
    command: Vec<OsString>,
}

/// The findings that make the exit status 1.
#[derive(Clone, Copy, ValueEnum)]
enum FailOn {
    Error,
    Warning,
    Note,
    Never,
}

impl FailOn {
    fn severity(self) -> Option<Severity> {
        match self {
            FailOn::Error => Some(Severity::Error),
            FailOn::Warning => Some(Severity::Warning),
            FailOn::Note => Some(Severity::Note),
            FailOn::Never => None,
        }
    }
}

/// The name of an image goes into a file.
fn image(text: &str) -> Result<String, Reason> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "./:@_-".contains(c);
    match !text.is_empty() && text.chars().all(is_name) {
        true => Ok(text.to_owned()),
        false => {
            Err("not the name of an image; expected one that has graceful in it, as example.org/graceful:1".into())
        }
    }
}

/// `graceful plan [OPTIONS] [FILE...]`
pub(super) fn parse(args: &[OsString]) -> Result<Invocation, EarlyExit> {
    let (mut options, of_files) = read_grouped::<PlanOptions>(args, OF_FILES)?;
    if let Some(text) = options.explain.take() {
        return Err(EarlyExit::Text(text));
    }
    let mut problems = Vec::new();
    let plan = match options.files.is_empty() {
        true => {
            for option in of_files {
                problems.push(ConfigError::new(option, "has no effect without a file; add FILE"));
            }
            let PlanOptions { run, command, platform, .. } = options;
            PlanRequest::Draw { settings: run.settings(), command, platform }
        }
        false => PlanRequest::Check(options.check(&mut problems)),
    };
    if problems.is_empty() { Ok(Invocation::Plan(plan)) } else { Err(EarlyExit::Problems(problems)) }
}

impl PlanOptions {
    fn check(self, problems: &mut Vec<ConfigError>) -> CheckRequest {
        for (option, _) in &self.run.0 {
            let reason = "cannot be used with files, whose own options count; use only one of them";
            problems.push(ConfigError::new(option.flag(), reason));
        }
        if self.platform.is_some() {
            problems.push(ConfigError::new("--platform", "cannot be used with files, which say what they are for"));
        }
        if !self.command.is_empty() {
            let reason = "a command and files; expected graceful plan FILE..., or graceful plan [OPTIONS OF run] \
                          [-- COMMAND]";
            problems.push(ConfigError::new("--", reason));
        }
        check_build(problems);
        let fix = self.fix(problems);
        if self.wrap.is_some() && fix == FixMode::Named {
            problems.push(ConfigError::new("--wrap", "has no effect without --fix or --diff; add one of them"));
        }
        let ignore = self.ignore.iter().map(|rule| rule.trim().to_owned()).collect();
        let (format, fail_on) = (self.format, self.fail_on.severity());
        CheckRequest { paths: self.files, format, fail_on, ignore, fix, wrap: self.wrap }
    }

    /// What becomes of mechanical fixes. Standard input can be read once, and not be written.
    fn fix(&self, problems: &mut Vec<ConfigError>) -> FixMode {
        let (option, fix) = match (self.fix, self.diff) {
            (false, false) => return FixMode::Named,
            (true, false) => ("--fix", FixMode::Written),
            (_, true) => ("--diff", FixMode::Shown),
        };
        if self.fix && self.diff {
            problems.push(ConfigError::new("--fix", "cannot be used with --diff; use only one of them"));
        }
        if self.files.iter().any(|path| path == "-") {
            problems.push(ConfigError::new(option, "cannot be used with standard input; expected files"));
        }
        fix
    }
}

/// graceful's options in an argv that a manifest declares, and the app's argv.
pub fn run_options(argv: &[OsString]) -> Result<(Settings, Vec<OsString>), Vec<ConfigError>> {
    match super::parse(argv) {
        Ok(Invocation::Run { settings, command }) if settings.problems.is_empty() => Ok((settings, command)),
        Ok(Invocation::Run { settings, .. }) => Err(settings.problems),
        Err(EarlyExit::Problems(problems)) => Err(problems),
        Ok(_) | Err(EarlyExit::Usage | EarlyExit::Text(_)) => Err(vec![ConfigError::new(
            "graceful",
            "runs no app here; expected: graceful [OPTIONS] -- COMMAND [ARGS...]",
        )]),
    }
}

#[cfg(feature = "plan")]
fn explain(name: &str) -> Result<String, Reason> {
    use crate::plan::rules;
    if name == "list" {
        return Ok(rules::list());
    }
    rules::by_name(name).map(rules::explain).ok_or_else(|| rules::unknown(name).into())
}

#[cfg(not(feature = "plan"))]
fn explain(_: &str) -> Result<String, Reason> {
    Err(NOT_BUILT.into())
}

#[cfg(feature = "plan")]
fn check_build(_: &mut Vec<ConfigError>) {}

#[cfg(not(feature = "plan"))]
fn check_build(problems: &mut Vec<ConfigError>) {
    problems.push(ConfigError::new("FILE", NOT_BUILT));
}

#[cfg(not(feature = "plan"))]
const NOT_BUILT: &str = "this build of graceful reads no files (it was built without the feature plan)";

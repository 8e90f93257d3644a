//! Files in, findings out.

use super::error::{SyntaxError, TextError, WrapError};
use super::finding::PlanFinding;
use super::fix::Changes;
use super::ignore::Ignored;
use super::input::{self, InputFile};
use super::model::{ConfigMaps, Model, Workload};
use super::request::{CheckRequest, FixMode, OutputFormat, ReadOptions};
use super::result::{PlanResult, UnreadFile};
use super::wrap::{self, Wrapping};
use super::wrap_compose;
use super::wrapped::Reader;
use super::{read, rules, view};
use crate::config::ConfigError;
use crate::files;
use crate::status::USAGE;
use std::path::Path;

/// Checks the files of the request; returns what goes to stdout, and the exit status.
///
/// # Errors
/// A rule is unknown, a path is not there, or a folder has nothing to check: nothing was checked then. Or a file cannot
/// be read again or written to fix it.
pub fn check(request: &CheckRequest, read_options: ReadOptions<'_>) -> Result<(String, u8), Vec<ConfigError>> {
    let mut problems: Vec<ConfigError> = request
        .ignore
        .iter()
        .filter(|name| rules::by_name(name).is_none())
        .map(|name| ConfigError::new(format!("--ignore {name}"), rules::unknown(name)))
        .collect();
    let mut inputs = Vec::new();
    for path in &request.paths {
        match input::files_of(path) {
            Ok(found) if found.is_empty() => {
                let reason =
                    "nothing to check in it; expected *.yaml, *.yml, *.json, *.nomad, *.hcl, Dockerfile* or *.service";
                problems.push(ConfigError::new(Path::new(path).display().to_string(), reason));
            }
            Ok(found) => inputs.extend(found),
            Err(error) => {
                problems.push(ConfigError::new(Path::new(path).display().to_string(), crate::files::why(&error)))
            }
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    inputs.dedup();
    let mut outcome = look(&inputs, request, read_options);
    let mut text = String::new();
    if request.fix != FixMode::Named {
        let fixed = fix(&inputs, &outcome, request.fix)?;
        if request.fix == FixMode::Shown {
            return Ok((fixed, status(&outcome, request)));
        }
        if !fixed.is_empty() {
            outcome = look(&inputs, request, read_options);
        }
        if request.format == OutputFormat::Text {
            text = fixed;
        }
    }
    text.push_str(&view::write(&outcome, request.format));
    Ok((text, status(&outcome, request)))
}

fn status(outcome: &PlanResult, request: &CheckRequest) -> u8 {
    let failed = outcome.findings.iter().any(|found| request.fail_on.is_some_and(|least| found.severity >= least));
    if outcome.faults.is_empty() { u8::from(failed) } else { USAGE }
}

/// The diff of all mechanical fixes, or a line for each file that they were written to.
fn fix(inputs: &[InputFile], outcome: &PlanResult, how: FixMode) -> Result<String, Vec<ConfigError>> {
    let mut said = String::new();
    for (file, input) in inputs.iter().enumerate() {
        let has_fault = outcome.faults.iter().any(|fault| fault.file == file);
        let mut of_file =
            outcome.findings.iter().filter(|found| found.at.file == file && found.edit.is_some()).peekable();
        let mut wrappings = outcome.wrappings.iter().filter(|wrapping| wrapping.file == file).peekable();
        if has_fault || of_file.peek().is_none() && wrappings.peek().is_none() {
            continue;
        }
        let problem = |reason: String| vec![ConfigError::new(input.name.clone(), reason)];
        let text = input::text(input).map_err(|error| problem(error.to_string()))?;
        let mut changes = Changes::of(&input.name, &text, of_file);
        for Wrapping { who, change, .. } in wrappings {
            let why = match change {
                Ok(edit) if changes.make(&input.name, &text, edit) => continue,
                Ok(_) => WrapError::NotInBlocks,
                Err(why) => *why,
            };
            said.push_str(&format!("{}: {who} is not wrapped: {why}\n", input.name));
        }
        if changes.is_empty() {
            continue;
        }
        match how {
            FixMode::Shown => said.push_str(&changes.diff(&input.name, &text)),
            FixMode::Named | FixMode::Written => {
                files::replace(&input.path, changes.apply(&text).as_bytes())
                    .map_err(|error| problem(format!("cannot be written: {error}")))?;
                said.push_str(&format!("{}: made the mechanical fixes\n", input.name));
            }
        }
    }
    Ok(said)
}

fn look(inputs: &[InputFile], request: &CheckRequest, read_options: ReadOptions<'_>) -> PlanResult {
    let reader = Reader::new(read_options, &input::beside);
    let mut files = Files::default();
    for input in inputs {
        files.add(&input.name, input::text(input), &reader);
    }
    files.outcome(&reader, &request.ignore, request.wrap.as_deref())
}

/// What has been read so far.
#[derive(Debug, Default)]
pub(super) struct Files {
    model: Model,
    comments: Vec<Ignored>,
    outcome: PlanResult,
}

impl Files {
    /// Reads one more file.
    pub(super) fn add(&mut self, name: &str, text: Result<String, TextError>, reader: &Reader<'_>) {
        let file = self.outcome.names.len();
        self.outcome.names.push(name.to_owned());
        match text {
            Err(error) => {
                let reason = error.to_string();
                self.comments.push(Ignored::default());
                self.outcome.faults.push(UnreadFile { file, at: None, reason });
            }
            Ok(text) => {
                self.comments.push(Ignored::of(&text));
                let format = read::format(name).unwrap_or_else(|| read::guess(&text));
                reader.enter(name);
                let reading = read::read(file, name, format, &text, reader, &mut self.model);
                self.outcome.looked_at += reading.found;
                if let Some(SyntaxError { spot, mut reason }) = reading.fault {
                    if text.contains("{{") {
                        reason.push_str("; it looks like a template: check the output of `helm template` instead");
                    }
                    self.outcome.faults.push(UnreadFile { file, at: Some(spot), reason });
                }
            }
        }
    }

    /// What the rules find in all the files together.
    pub(super) fn outcome(self, reader: &Reader<'_>, ignore: &[String], wrap: Option<&str>) -> PlanResult {
        let Files { mut model, comments, mut outcome } = self;
        complete(&mut model, &outcome.names, reader);
        outcome.wrappings = wrap
            .map(|image| {
                let of_pods = wrap::all(&model, image).into_iter();
                of_pods.chain(wrap_compose::all(&model, image)).collect()
            })
            .unwrap_or_default();
        let all = rules::check(&mut model);
        let before = all.len();
        let is_ignored = |found: &PlanFinding| {
            ignore.iter().any(|name| name == found.rule.name)
                || comments[found.at.file].covers(found.rule.name, found.at.spot.line)
        };
        outcome.findings = all.into_iter().filter(|found| !is_ignored(found)).collect();
        outcome.ignored = before - outcome.findings.len();
        outcome
    }
}

/// Adds to the model what one file says about another.
fn complete(model: &mut Model, names: &[String], reader: &Reader<'_>) {
    let Model { workloads, config_maps, built, builds, .. } = model;
    let maps: ConfigMaps<'_> =
        config_maps.iter().map(|map| ((map.namespace.as_str(), map.name.as_str()), map)).collect();
    for Workload { namespace, containers, .. } in workloads {
        for container in containers {
            reader.complete(container, namespace, &maps);
        }
    }
    let file = |path: &Path| names.iter().position(|name| Path::new(name) == path);
    builds.extend(built.iter().filter_map(|(at, path)| Some((*at, file(path)?))));
}

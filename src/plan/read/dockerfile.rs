//! Dockerfiles: the last stage, with what it inherits from earlier ones. parse-dockerfile knows here-documents,
//! continuation lines, the escape directive and the JSON form, and gives a span for each.

use super::reading::of_shell;
use crate::plan::duration::go_duration as duration;
use crate::plan::error::SyntaxError;
use crate::plan::model::Rollout;
use crate::plan::model::{
    Argv, Container, Elsewhere, Model, Platform, ProbeHandler, ProbeSpec, ShellForm, Workload, WorkloadKind,
};
use crate::plan::place::{At, Position};
use crate::plan::read::reading::Reading;
use crate::plan::wrapped::Reader;
use parse_dockerfile::{
    Command, Dockerfile, Flag, HealthcheckArguments, HealthcheckInstruction, Instruction, Source, Stage,
};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

/// Reads one Dockerfile.
pub(super) fn read(file: usize, name: &str, text: &str, reader: &Reader<'_>, model: &mut Model) -> Reading {
    let dockerfile = match parse_dockerfile::parse(text) {
        Ok(dockerfile) => dockerfile,
        Err(error) => {
            let spot = Position::new(error.line(), error.column().saturating_sub(1));
            return Reading { found: 0, fault: Some(SyntaxError::new(spot, error.to_string())) };
        }
    };
    let Some(Image { mut container, executed, .. }) = image(name, &dockerfile, text, None, ".", reader) else {
        return Reading::default();
    };
    container.argv = executed.argv();
    let name = container.name.clone();
    reader.look(&mut container, true);
    model.workloads.push(Workload {
        file,
        platform: Platform::Docker,
        kind: WorkloadKind::Image,
        name,
        namespace: String::new(),
        labels: BTreeMap::new(),
        grace: None,
        replicas: None,
        rollout: Rollout::default(),
        share_process_namespace: None,
        host_pid: None,
        containers: vec![container],
        unit: None,
        wrap: None,
        insert_at: None,
    });
    Reading { found: 1, fault: None }
}

/// The image of a service that is built. What it executes is not settled yet, since the service may set part of it.
pub(super) struct Image {
    container: Container,
    executed: Executed,
}

impl Image {
    /// The stage of this name, or the last one; none where there is no such stage or the text is not a Dockerfile.
    pub(super) fn of(text: &str, target: Option<&str>, context: &str, reader: &Reader<'_>) -> Option<Image> {
        let dockerfile = parse_dockerfile::parse(text).ok()?;
        image("Dockerfile", &dockerfile, text, target, context, reader)
    }

    /// Gives a service what it does not set itself. All of it has the place at which the service is built, where
    /// nothing can be replaced.
    pub(super) fn under(self, service: &mut Container, spot: Position, has_healthcheck: bool) {
        let Image { container, mut executed } = self;
        // An entrypoint of the service's own replaces both ENTRYPOINT and CMD.
        if service.argv.headless {
            if !service.argv.words.is_empty() {
                let words = std::mem::take(&mut service.argv.words);
                executed.cmd = Some(Part { at: service.argv.at.unwrap_or(spot), words, shell: None, is_own: true });
            }
            service.argv = executed.of_service(spot).argv();
        }
        service.put_before(container.env.into_iter().map(|given| At { at: spot, ..given }).collect());
        service.image = container.image.map(|image| At { at: spot, ..image });
        service.ports = container.ports;
        service.elsewhere.copies = container.elsewhere.copies;
        let signal = container.stop_signal.map(|signal| At { at: spot, ..signal });
        service.stop_signal = service.stop_signal.take().or(signal);
        if !has_healthcheck {
            let moved = |words: Vec<At<String>>| words.into_iter().map(|word| At { at: spot, ..word }).collect();
            service.readiness = container.readiness.map(|probe| {
                let what = match probe.what {
                    ProbeHandler::Exec(words) => ProbeHandler::Exec(moved(words)),
                    other => other,
                };
                ProbeSpec { at: spot, what, ..probe }
            });
        }
    }
}

fn image(
    name: &str,
    dockerfile: &Dockerfile<'_>,
    text: &str,
    target: Option<&str>,
    context: &str,
    reader: &Reader<'_>,
) -> Option<Image> {
    let lines = Lines::of(text);
    let stages: Vec<_> = dockerfile.stages().collect();
    let last = match target {
        Some(target) => stages.iter().position(|stage| stage.is_named(target))?,
        None => stages.len().checked_sub(1)?,
    };
    let (image, at) = base(&stages, last, &lines);
    let mut container = empty(name, at, image);
    let mut executed = Executed::default();
    for instruction in inherited(&stages, last) {
        take(instruction, &lines, &mut container, &mut executed);
    }
    for (to, from) in std::mem::take(&mut executed.copies) {
        container.elsewhere.copies.extend(reader.beside(&format!("{context}/{from}")).map(|from| (to, from)));
    }
    Some(Image { container, executed })
}

/// Turns bytes into lines and columns.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Lines<'a> {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Lines { text, starts: std::iter::once(0).chain(ends).collect() }
    }

    fn spot(&self, span: &Range<usize>) -> Position {
        let position = |at: usize| {
            let line = self.starts.partition_point(|start| *start <= at).max(1);
            let start = self.starts.get(line - 1).copied().unwrap_or_default();
            (line, self.text.get(start..at).map_or(0, |before| before.chars().count()))
        };
        let ((line, column), (end_line, end_column)) = (position(span.start), position(span.end));
        Position::new(line, column).to(end_line, end_column)
    }
}

/// The image that this stage is made from, through stages of this file, and where the stage begins.
fn base(stages: &[Stage<'_, '_>], last: usize, lines: &Lines<'_>) -> (At<String>, Position) {
    let at = lines.spot(&stages[last].from.from.span);
    let mut stage = last;
    loop {
        let image = &stages[stage].from.image;
        let earlier = stages[..stage].iter().rposition(|other| other.is_named(&image.value));
        match earlier {
            Some(found) => stage = found,
            None => return (At { at: lines.spot(&image.span), value: image.value.clone().into_owned() }, at),
        }
    }
}

/// Whether a stage has this name.
trait Named {
    fn is_named(&self, name: &str) -> bool;
}

impl Named for Stage<'_, '_> {
    fn is_named(&self, name: &str) -> bool {
        self.from.as_.as_ref().is_some_and(|(_, own)| own.value.eq_ignore_ascii_case(name))
    }
}

/// The instructions of this stage, after those of the stages that it is made from.
fn inherited<'b, 'a>(stages: &[Stage<'a, 'b>], last: usize) -> Vec<&'b Instruction<'a>> {
    let mut all: Vec<&'b [Instruction<'a>]> = Vec::new();
    let mut at = Some(last);
    while let Some(stage) = at.and_then(|at| stages.get(at)) {
        all.push(stage.instructions);
        let image = stage.from.image.value.as_ref();
        at = stages[..at.unwrap_or_default()].iter().rposition(|other| other.is_named(image));
    }
    all.into_iter().rev().flatten().collect()
}

/// What the image executes.
#[derive(Default)]
struct Executed {
    entrypoint: Option<Part>,
    cmd: Option<Part>,
    /// What is copied from the build context: destination and source.
    copies: Vec<(String, String)>,
}

/// ENTRYPOINT or CMD.
struct Part {
    at: Position,
    words: Vec<At<String>>,
    shell: Option<ShellForm>,
    /// Whether it is in the service's own file.
    is_own: bool,
}

impl Executed {
    /// The same, with the place at which a service is built.
    fn of_service(mut self, spot: Position) -> Executed {
        for part in [&mut self.entrypoint, &mut self.cmd].into_iter().flatten().filter(|part| !part.is_own) {
            part.at = spot;
            part.words.iter_mut().for_each(|word| word.at = spot);
            part.shell.iter_mut().for_each(|shell| shell.at = spot);
        }
        self
    }

    /// The whole command. After an ENTRYPOINT in its shell form, CMD is ignored.
    fn argv(self) -> Argv {
        let Executed { entrypoint, cmd, .. } = self;
        // Without an ENTRYPOINT here, that of the base image may precede the CMD.
        let headless = entrypoint.is_none();
        let cmd = cmd.filter(|_| entrypoint.as_ref().is_none_or(|entrypoint| entrypoint.shell.is_none()));
        let mut argv = Argv { headless, ..Argv::default() };
        for part in entrypoint.into_iter().chain(cmd) {
            argv.words.extend(part.words);
            argv.at = argv.at.or(Some(part.at));
            argv.shell = argv.shell.or(part.shell);
        }
        argv
    }
}

fn take(instruction: &Instruction<'_>, lines: &Lines<'_>, container: &mut Container, executed: &mut Executed) {
    match instruction {
        Instruction::Entrypoint(given) => {
            let (words, shell) = command(&given.arguments, lines, "ENTRYPOINT");
            executed.entrypoint = Some(Part { at: lines.spot(&given.entrypoint.span), words, shell, is_own: false });
            // It resets the CMD of an earlier stage or the base image (Dockerfile reference); this stage's own follows
            // it.
            executed.cmd = None;
        }
        Instruction::Cmd(given) => {
            let (words, shell) = command(&given.arguments, lines, "CMD");
            executed.cmd = Some(Part { at: lines.spot(&given.cmd.span), words, shell, is_own: false });
        }
        Instruction::Env(given) => {
            container.env.extend(variables(&given.arguments.value, &given.arguments.span, lines))
        }
        Instruction::Stopsignal(given) => {
            let at = lines.spot(&given.arguments.span);
            container.stop_signal = Some(At { at, value: given.arguments.value.trim().to_owned() });
        }
        Instruction::Healthcheck(given) => container.readiness = healthcheck(given, lines),
        Instruction::Copy(given) if !given.options.iter().any(|flag| flag.name.value == "from") => {
            for source in &given.src {
                let Source::Path(from) = source else { continue };
                // A relative destination starts from WORKDIR, which is not followed.
                if given.dest.value.starts_with('/') {
                    executed.copies.push((given.dest.value.clone().into_owned(), from.value.clone().into_owned()));
                }
            }
        }
        Instruction::Expose(given) => {
            let port = |text: &str| text.split('/').next().and_then(|port| port.parse().ok());
            container.ports.extend(given.arguments.iter().filter_map(|text| Some((None, port(&text.value)?))));
        }
        _ => {}
    }
}

fn command(
    command: &Command<'_>,
    lines: &Lines<'_>,
    instruction: &'static str,
) -> (Vec<At<String>>, Option<ShellForm>) {
    match command {
        Command::Exec(words) => {
            let words = words.value.iter();
            (
                words.map(|word| At { at: lines.spot(&word.span), value: word.value.clone().into_owned() }).collect(),
                None,
            )
        }
        Command::Shell(line) => {
            let at = lines.spot(&line.span);
            let text = At { at, value: line.value.trim().to_owned() };
            let shell = ShellForm { at, instruction, line: text.value.clone() };
            (of_shell(text), Some(shell))
        }
        // A form that Docker does not have yet.
        _ => (Vec::new(), None),
    }
}

fn healthcheck(given: &HealthcheckInstruction<'_>, lines: &Lines<'_>) -> Option<ProbeSpec> {
    let HealthcheckArguments::Cmd { arguments, .. } = &given.arguments else { return None };
    let (words, _) = command(arguments, lines, "HEALTHCHECK");
    let option = |name: &str| {
        let found = given.options.iter().find(|flag: &&Flag<'_>| flag.name.value == name)?;
        found.value.as_ref().map(|value| value.value.as_ref())
    };
    let time = |name: &str, default: u64| option(name).and_then(duration).unwrap_or(Duration::from_secs(default));
    Some(ProbeSpec {
        at: words.first().map_or_else(|| lines.spot(&given.healthcheck.span), |word| word.at),
        what: ProbeHandler::Exec(words),
        delay: time("start-period", 0),
        period: time("interval", 30),
        failures: option("retries").and_then(|text| text.parse().ok()).unwrap_or(3),
    })
}

/// `A=1 B="2 3"`, or the old `A 1`.
fn variables(text: &str, span: &Range<usize>, lines: &Lines<'_>) -> Vec<At<(String, String)>> {
    let raw = lines.text.get(span.clone()).unwrap_or(text);
    let words = shell_words::split(raw).unwrap_or_default();
    let first = words.first().map(String::as_str).unwrap_or_default();
    if !first.contains('=') {
        let at = lines.spot(span);
        let value = words.get(1..).unwrap_or_default().join(" ");
        return vec![At { at, value: (first.to_owned(), value) }];
    }
    let pairs = words.iter().filter_map(|word| word.split_once('='));
    pairs
        .map(|(name, value)| {
            let begin = raw.find(&format!("{name}=")).unwrap_or_default();
            let length = raw[begin..].find(char::is_whitespace).unwrap_or(raw.len() - begin);
            let at = lines.spot(&(span.start + begin..span.start + begin + length));
            At { at, value: (name.to_owned(), value.to_owned()) }
        })
        .collect()
}

fn empty(name: &str, at: Position, image: At<String>) -> Container {
    let folder = name.rsplit('/').nth(1).filter(|folder| !folder.is_empty() && *folder != ".");
    Container {
        name: folder.unwrap_or("of the last stage").to_owned(),
        at,
        image: Some(image),
        is_init: false,
        // The base image's entrypoint, if there is none here.
        argv: Argv { headless: true, ..Argv::default() },
        env: Vec::new(),
        graceful: None,
        server: None,
        grace: None,
        stop_signal: None,
        pre_stop: None,
        readiness: None,
        liveness: None,
        startup: None,
        ports: Vec::new(),
        platform_init: None,
        termination_message_path: None,
        elsewhere: Elsewhere::default(),
        labels: Vec::new(),
        insert_at: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_become_lines_and_columns() {
        let lines = Lines::of("ab\ncé d\n");
        let spot = lines.spot(&(7..8));
        assert_eq!((spot.line, spot.column), (2, 4));
        assert_eq!(lines.spot(&(0..1)).line, 1);
    }

    #[test]
    fn variables_in_both_forms() {
        let text = "ENV A=1 B=\"2 3\" \\\n  C=4\n";
        let lines = Lines::of(text);
        let found = variables("", &(4..text.len() - 1), &lines);
        let named: Vec<_> =
            found.iter().map(|given| (given.value.0.as_str(), given.value.1.as_str(), given.at.line)).collect();
        assert_eq!(named, [("A", "1", 1), ("B", "2 3", 1), ("C", "4", 2)]);
        let old = variables("", &(0..5), &Lines::of("A b c"));
        assert_eq!(old[0].value, ("A".to_owned(), "b c".to_owned()));
    }
}

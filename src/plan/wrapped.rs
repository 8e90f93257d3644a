//! graceful in a command line and an environment that some file declares: found, and read by the code that `run` uses.

use super::model::{Argv, Container, Graceful, RecognisedServer};
use super::place::{At, Position};
use super::request::ReadOptions;
use super::shell;
use crate::config::options::{CONFIG, OPTIONS};
use crate::config::{self, ConfigError, Environment, Settings, Variable};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// Programs that execute what follows them, or run it below themselves.
pub(super) const INITS: &[&str] = &[
    "tini",
    "tini-static",
    "docker-init",
    "dumb-init",
    "catatonit",
    "init",
    "my_init",
    "s6-svscan",
    "pid1",
    "supervisord",
];

/// What may stand before graceful.
const BEFORE: &[&str] = &["env", "exec", "setpriv", "gosu", "su-exec", "nice", "ionice", "stdbuf", "with-contenv"];

/// Commands of graceful that run no app.
const NO_RUN: &[&str] = &["drill", "probe", "install", "sleep", "completions", "plan", "help", "version", "demo-app"];

type Parsed = Result<(Settings, Vec<OsString>), Vec<ConfigError>>;

/// Reads options, each command line once.
pub(super) struct Reader<'a> {
    read: ReadOptions<'a>,
    known: RefCell<HashMap<Vec<OsString>, Parsed>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(read: ReadOptions<'a>) -> Reader<'a> {
        Reader { read, known: RefCell::default() }
    }

    fn options(&self, argv: Vec<OsString>) -> Parsed {
        self.known.borrow_mut().entry(argv).or_insert_with_key(|argv| (self.read)(argv)).clone()
    }

    /// Looks for graceful and for a known server in what the container executes. `as_init`: it would be PID 1.
    pub(super) fn look(&self, container: &mut Container, as_init: bool) {
        let found = self.graceful(container, as_init);
        let command = match &found {
            Some(graceful) => graceful.config.as_ref().map(|config| config.command.clone()).unwrap_or_default(),
            None => container.argv.words.iter().map(|word| OsString::from(&word.value)).collect(),
        };
        let variable = |name: &str| container.variable(name).map(OsString::from);
        container.server = config::server(&command, &variable).map(|server| RecognisedServer {
            name: server.name,
            stop_signal: server.stop_signal,
            is_worker: server.is_worker,
            limit: server.limit,
        });
        container.graceful = found;
    }

    fn graceful(&self, container: &Container, as_init: bool) -> Option<Graceful> {
        let Found { at, before, mut words, is_head } = find(&container.argv)
            .or_else(|| by_variable(container).map(|at| behind_entrypoint(&container.argv, at)))?;
        let app_unknown = complete(&mut words, at, is_head);
        let argv: Vec<OsString> =
            std::iter::once("graceful".into()).chain(words.iter().map(|word| OsString::from(&word.value))).collect();
        let place =
            |problem: ConfigError| At { at: place_of(&problem, &words, container).unwrap_or(at), value: problem };
        let (mut settings, command) = match self.options(argv) {
            Ok(parsed) => parsed,
            Err(problems) => {
                let problems = problems.into_iter().map(place).collect();
                let config = Err(problems);
                return Some(Graceful { at, config, given: Vec::new(), before, hidden_file: None, app_unknown });
            }
        };
        let given = given(&settings, &words, container);
        let hidden_file = given.iter().find(|given| given.value == CONFIG.name).cloned();
        settings.flags.retain(|(name, _)| *name != CONFIG.name);
        let surroundings = Environment {
            environment: environment(container),
            cwd: PathBuf::from("/"),
            pid: if as_init && before.is_empty() { 1 } else { 2 },
            https: true,
            foreign: true,
            above: None,
        };
        let config = config::load(settings, command, &surroundings).map(Box::new);
        let config = config.map_err(|problems| problems.into_iter().map(place).collect());
        Some(Graceful { at, config, given, before, hidden_file, app_unknown })
    }
}

/// graceful's own words in a command line.
struct Found {
    at: Position,
    before: Vec<At<String>>,
    /// What follows its name.
    words: Vec<At<String>>,
    /// The command line is complete: nothing can come behind it but by an argument of whoever starts it.
    is_head: bool,
}

fn find(argv: &Argv) -> Option<Found> {
    let of_shell = argv.shell.as_ref().and_then(|shell| in_line(&shell.line, shell.at));
    if of_shell.is_some() {
        return of_shell;
    }
    let words: Vec<&str> = argv.words.iter().map(|word| word.value.as_str()).collect();
    if let Some(line) = shell::line_of(&words) {
        let at = argv.words.iter().find(|word| word.value == line).map(|word| word.at)?;
        return in_line(line, at);
    }
    let at = words.iter().position(|word| shell::base(word) == "graceful")?;
    let known = |word: &str| INITS.contains(&shell::base(word)) || BEFORE.contains(&shell::base(word));
    if at > 0 && !words.first().is_some_and(|first| known(first)) {
        return None;
    }
    if words.get(at + 1).is_some_and(|word| NO_RUN.contains(word)) {
        return None;
    }
    let is_init = |word: &&At<String>| INITS.contains(&shell::base(&word.value));
    Some(Found {
        at: argv.words[at].at,
        before: argv.words[..at].iter().filter(is_init).cloned().collect(),
        words: argv.words[at + 1..].to_vec(),
        is_head: false,
    })
}

/// In `sh -c LINE`.
fn in_line(line: &str, at: Position) -> Option<Found> {
    let commands = shell::commands(line);
    let command = commands.iter().find(|words| words.iter().any(|word| shell::base(word) == "graceful"))?;
    let argv = Argv { words: command.iter().map(|word| At { at, value: word.clone() }).collect(), ..Argv::default() };
    let first = command.first()?;
    let found = find(&argv)?;
    let is_exec = first == "exec";
    let shell = (!is_exec && commands.len() > 1).then(|| At { at, value: "sh".to_owned() });
    Some(Found { before: shell.into_iter().chain(found.before).collect(), ..found })
}

/// A variable of graceful's own, where the file does not say what is executed.
fn by_variable(container: &Container) -> Option<Position> {
    let of_graceful = |name: &str| OPTIONS.iter().any(|spec| spec.variable == name);
    let found = container.env.iter().find(|given| of_graceful(&given.value.0))?;
    container.argv.headless.then_some(found.at)
}

/// The arguments behind an entrypoint that is not known: graceful's options and a command, or the command alone.
fn behind_entrypoint(argv: &Argv, at: Position) -> Found {
    let has_separator = argv.words.iter().any(|word| word.value == "--");
    let separator = At { at, value: "--".to_owned() };
    let begins = argv.words.first().is_some_and(|word| word.value.starts_with("--"));
    let words = match has_separator && begins {
        true => argv.words.clone(),
        false => std::iter::once(separator).chain(argv.words.iter().cloned()).collect(),
    };
    Found { at, before: Vec::new(), words, is_head: false }
}

/// An image may leave the app to whoever starts it: then any name stands for it. Whether it did.
fn complete(words: &mut Vec<At<String>>, at: Position, is_head: bool) -> bool {
    let word = |text: &str| At { at, value: text.to_owned() };
    match words.iter().position(|word| word.value == "--") {
        Some(separator) if separator + 1 == words.len() => words.push(word("app")),
        Some(_) => return false,
        None if is_head || words.last().is_some_and(|last| !last.value.starts_with('-') && words.len() == 1) => {
            return false;
        }
        None => words.extend([word("--"), word("app")]),
    }
    true
}

/// Variables whose value is in the file; what a template or a secret gives is not known.
fn environment(container: &Container) -> Vec<Variable> {
    let known = container.env.iter().filter(|given| !given.value.1.contains('$') && given.value.0 != "GRACEFUL_CONFIG");
    let owned = |text: &str| Cow::Owned(OsString::from(text));
    known.map(|given| (owned(&given.value.0), owned(&given.value.1))).collect()
}

/// Which options were given, and where.
fn given(settings: &Settings, words: &[At<String>], container: &Container) -> Vec<At<String>> {
    let by_flag = settings.flags.iter().filter_map(|(name, _)| {
        let at = word_of(words, &format!("--{name}"))?;
        Some(At { at, value: (*name).to_owned() })
    });
    let by_variable = OPTIONS.iter().filter_map(|spec| {
        let found = container.env.iter().rev().find(|given| given.value.0 == spec.variable)?;
        Some(At { at: found.at, value: spec.name.to_owned() })
    });
    by_flag.chain(by_variable).collect()
}

/// Where this option stands among the words; of one in two words, where its value does.
fn word_of(words: &[At<String>], flag: &str) -> Option<Position> {
    let end = words.iter().position(|word| word.value == "--").unwrap_or(words.len());
    words[..end].iter().enumerate().find_map(|(at, word)| match word.value.strip_prefix(flag)? {
        "" => words.get(at + 1).map(|value| value.at),
        rest => rest.starts_with('=').then_some(word.at),
    })
}

/// Where a problem's option or variable stands.
fn place_of(problem: &ConfigError, words: &[At<String>], container: &Container) -> Option<Position> {
    let name = problem.place.split([' ', '=', ':']).next().unwrap_or_default();
    let variable = container.env.iter().rev().find(|given| given.value.0 == name).map(|given| given.at);
    variable
        .or_else(|| word_of(words, name))
        .or_else(|| words.iter().find(|word| word.value.split('=').next() == Some(name)).map(|word| word.at))
}

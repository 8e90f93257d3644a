//! graceful in a command line and an environment that some file declares: found, and read by the code that `run` uses.

use super::error::BesideError;
use super::model::{Argv, ConfigMaps, Container, Graceful, MapKeys, MapSource, RecognisedServer};
use super::place::{At, Position};
use super::request::ReadOptions;
use super::shell;
use crate::config::options::{CONFIG, OPTIONS};
use crate::config::{self, ConfigError, Environment, Settings, Variable};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// Inits: programs that run what follows them as a child, or execute it.
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

/// Other programs that may precede graceful.
const BEFORE: &[&str] = &["env", "exec", "setpriv", "gosu", "su-exec", "nice", "ionice", "stdbuf", "with-contenv"];

/// Commands of graceful that run no app.
const NO_RUN: &[&str] =
    &["drill", "probe", "reload", "status", "install", "sleep", "completions", "plan", "help", "version", "demo-app"];

type Parsed = Result<(Settings, Vec<OsString>), Vec<ConfigError>>;

/// Reads options, each command line once.
pub(super) struct Reader<'a> {
    read: ReadOptions<'a>,
    known: RefCell<HashMap<Vec<OsString>, Parsed>>,
    files: ReadFile<'a>,
    /// The folder of the file that is being read; none for standard input.
    folder: RefCell<Option<PathBuf>>,
}

/// The text of a file that another one names, and that lies beside it.
pub(super) type ReadFile<'a> = &'a dyn Fn(&Path) -> Result<String, BesideError>;

/// A file that another one names.
pub(super) enum NamedFile {
    Text(String),
    /// It should be there; why it cannot be read.
    Missing(BesideError),
    /// It is not beside this file, but where the container will run.
    Elsewhere,
}

impl<'a> Reader<'a> {
    pub(super) fn new(read: ReadOptions<'a>, files: ReadFile<'a>) -> Reader<'a> {
        Reader { read, known: RefCell::default(), files, folder: RefCell::default() }
    }

    /// The file of this name is read next.
    pub(super) fn enter(&self, name: &str) {
        let folder = Path::new(name).parent().map(Path::to_owned);
        *self.folder.borrow_mut() = folder.filter(|_| name != "-");
    }

    /// Where this relative path leads; none for others, which belong to the machine that the container will run on.
    pub(super) fn beside(&self, path: &str) -> Option<PathBuf> {
        let is_here = !path.starts_with(['/', '~']) && !path.contains(['$', '{']) && !path.contains("://");
        self.folder.borrow().as_ref().filter(|_| is_here).map(|folder| in_short(&folder.join(path)))
    }

    pub(super) fn file(&self, path: &str) -> NamedFile {
        let Some(path) = self.beside(path) else { return NamedFile::Elsewhere };
        (self.files)(&path).map_or_else(NamedFile::Missing, NamedFile::Text)
    }

    fn options(&self, argv: Vec<OsString>) -> Parsed {
        self.known.borrow_mut().entry(argv).or_insert_with_key(|argv| (self.read)(argv)).clone()
    }

    /// Looks for graceful and for a known server in what the container executes. `as_init`: whether that would be PID
    /// 1.
    pub(super) fn look(&self, container: &mut Container, as_init: bool) {
        container.elsewhere.as_init = as_init;
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

    /// Adds what ConfigMaps give, now that all are known, and looks again.
    pub(super) fn complete(&self, container: &mut Container, namespace: &str, maps: &ConfigMaps<'_>) {
        let sources = std::mem::take(&mut container.elsewhere.maps);
        if sources.is_empty() {
            return;
        }
        let mut env = Vec::new();
        for MapSource { map, keys, how } in sources {
            let Some(found) = maps.get(&(namespace, map.value.as_str())) else {
                let name = format!("the ConfigMap {} ({how}), which is not in these files,", map.value);
                container.elsewhere.unknown.push(At { at: map.at, value: name });
                continue;
            };
            // Only the ConfigMap's name is there: nothing can be replaced.
            let at = map.at.empty();
            let given = |name: String, value: &String| At { at, value: (name, value.clone()) };
            match keys {
                MapKeys::One { key, variable } => env.extend(found.data.get(&key).map(|value| given(variable, value))),
                MapKeys::All { prefix } => {
                    env.extend(found.data.iter().map(|(key, value)| given(format!("{prefix}{key}"), value)));
                }
            }
        }
        container.put_before(env);
        for word in &mut container.argv.words {
            word.value = expanded(&word.value, &container.env);
        }
        self.look(container, container.elsewhere.as_init);
    }

    fn graceful(&self, container: &Container, as_init: bool) -> Option<Graceful> {
        let Found { at, before, mut words, is_head } = find(&container.argv)
            .or_else(|| by_variable(container).map(|at| behind_entrypoint(&container.argv, at)))?;
        let app_unknown = complete(&mut words, at, is_head);
        let argv: Vec<OsString> =
            std::iter::once("graceful".into()).chain(words.iter().map(|word| OsString::from(&word.value))).collect();
        let place = |problem: ConfigError| {
            let at = place_of(&problem, &words, container).unwrap_or(at);
            At { at, value: without_value(problem, container) }
        };
        let (mut settings, command) = match self.options(argv) {
            Ok(parsed) => parsed,
            Err(problems) => {
                let problems = problems.into_iter().map(place).collect();
                let config = Err(problems);
                let (given, unknown, is_assumed) = (Vec::new(), None, false);
                return Some(Graceful { at, config, given, before, unknown, is_assumed, app_unknown });
            }
        };
        let given = given(&settings, &words, container);
        let unknown = unknown(&mut settings, container, self.files);
        // The path of a file that was found starts from where this runs.
        let has_file = settings.flags.iter().any(|(name, _)| *name == CONFIG.name);
        let surroundings = Environment {
            environment: environment(container),
            cwd: if has_file { PathBuf::new() } else { PathBuf::from("/") },
            pid: if as_init && before.is_empty() { 1 } else { 2 },
            https: true,
            foreign: true,
            above: None,
        };
        let config = config::load(settings, command, &surroundings).map(Box::new);
        let config = config.map_err(|problems| problems.into_iter().map(place).collect());
        Some(Graceful { at, config, given, before, unknown, is_assumed: false, app_unknown })
    }
}

/// Options that a rule looks at: if one of them is computed, its value is not known here.
const LOOKED_AT: &[&str] = &[
    "grace-period",
    "kill-margin",
    "pre-stop-delay",
    "stop-signal",
    "stop-on",
    "stop-to",
    "profile",
    "hold",
    "hold-timeout",
    "startup-timeout",
    "probe-listen",
    "fail-readiness",
    "drain-file",
    "termination-log",
];

/// Takes out the options that are not known here, and names the first source of them. A configuration file that a
/// Dockerfile copies is read.
fn unknown(settings: &mut Settings, container: &Container, files: ReadFile<'_>) -> Option<String> {
    let flag = settings.flags.iter().rev().find(|(name, _)| *name == CONFIG.name);
    let variable = || container.variable(CONFIG.variable).filter(|path| !path.is_empty());
    let named = flag.map(|(_, path)| path.to_string_lossy().into_owned()).or_else(|| variable().map(str::to_owned));
    settings.flags.retain(|(name, _)| *name != CONFIG.name);
    let mut file = None;
    if let Some(path) = named {
        match copied(&path, &container.elsewhere.copies).find(|from| files(from).is_ok()) {
            Some(from) => settings.flags.push((CONFIG.name, from.into())),
            None => file = Some(format!("{path}, which is not in these files,")),
        }
    }
    let is_computed = |value: &str| value.contains("${") || value.contains("$(") || value.contains("{{");
    let looked_at = |name: &str| LOOKED_AT.contains(&name);
    let mut computed: Vec<String> = Vec::new();
    settings.flags.retain(|(name, value)| {
        let is_out = looked_at(name) && is_computed(&value.to_string_lossy());
        computed.extend(is_out.then(|| format!("--{name}")));
        !is_out
    });
    let variables = OPTIONS.iter().filter(|spec| looked_at(spec.name)).map(|spec| spec.variable);
    computed.extend(variables.filter(|name| container.variable(name).is_some_and(is_computed)).map(str::to_owned));
    let computed = computed.first().map(|name| format!("the value of {name}"));
    file.or(computed).or_else(|| container.elsewhere.unknown.first().map(|source| source.value.clone()))
}

/// Where the source of this path may lie, by what a Dockerfile copies: a file copied to it or into its folder, or one
/// in a folder that is copied.
fn copied<'b>(path: &'b str, copies: &'b [(String, PathBuf)]) -> impl Iterator<Item = PathBuf> + 'b {
    copies.iter().rev().flat_map(move |(to, from)| {
        let as_it_is = (to == path).then(|| from.clone());
        let rest = path.strip_prefix(to.trim_end_matches('/')).and_then(|rest| rest.strip_prefix('/'));
        let as_named = rest.filter(|rest| from.file_name().is_some_and(|name| name == *rest)).map(|_| from.clone());
        as_it_is.into_iter().chain(as_named).chain(rest.map(|rest| from.join(rest)))
    })
}

/// What comes from a file with variables may be a secret: its value is not shown.
fn without_value(problem: ConfigError, container: &Container) -> ConfigError {
    let name = problem.place.split([' ', '=', ':']).next().unwrap_or_default();
    match container.env.iter().rev().find(|given| given.value.0 == name) {
        Some(given) if given.at == given.at.empty() => {
            let value = &given.value.1;
            let reason = if value.is_empty() { problem.reason } else { problem.reason.replace(value.as_str(), "…") };
            ConfigError { place: name.to_owned(), reason }
        }
        _ => problem,
    }
}

/// The path without `.` and `..`, as far as that can be told from the path alone.
fn in_short(path: &Path) -> PathBuf {
    let mut short = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if short.file_name().is_some() => drop(short.pop()),
            _ => short.push(part),
        }
    }
    short
}

/// In command and args of Kubernetes `$(NAME)` is the variable, and `$$(NAME)` is not.
pub(super) fn expanded(text: &str, env: &[At<(String, String)>]) -> String {
    let mut done = text.to_owned();
    for given in env.iter().filter(|_| text.contains("$(")) {
        done = done.replace(&format!("$({})", given.value.0), &given.value.1);
    }
    done
}

/// graceful's own words in a command line.
struct Found {
    at: Position,
    before: Vec<At<String>>,
    /// What follows its name.
    words: Vec<At<String>>,
    /// Whether the command line is complete: only arguments that are given at its start can follow.
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

/// graceful in the LINE of `sh -c LINE`.
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

/// Where a variable of graceful's is, if the file does not say what is executed.
fn by_variable(container: &Container) -> Option<Position> {
    let of_graceful = |name: &str| OPTIONS.iter().any(|spec| spec.variable == name);
    let found = container.env.iter().find(|given| of_graceful(&given.value.0))?;
    container.argv.headless.then_some(found.at)
}

/// The arguments after an entrypoint that is not known: graceful's options and a command, or the command alone.
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

/// Adds a name for the app where an image leaves it to whoever starts it; returns whether it did.
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
    let is_known = |given: &&At<(String, String)>| !given.value.1.contains('$') && given.value.0 != CONFIG.variable;
    let mut seen = HashSet::new();
    // Of one that is given twice the last counts, whereas a look-up would find the first.
    let last = container.env.iter().rev().filter(|given| seen.insert(given.value.0.as_str()));
    let known: Vec<_> = last.filter(is_known).collect();
    let owned = |text: &str| Cow::Owned(OsString::from(text));
    known.into_iter().map(|given| (owned(&given.value.0), owned(&given.value.1))).collect()
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

/// Where this option is among the words; for one in two words, where its value is.
fn word_of(words: &[At<String>], flag: &str) -> Option<Position> {
    let end = words.iter().position(|word| word.value == "--").unwrap_or(words.len());
    words[..end].iter().enumerate().find_map(|(at, word)| match word.value.strip_prefix(flag)? {
        "" => words.get(at + 1).map(|value| value.at),
        rest => rest.starts_with('=').then_some(word.at),
    })
}

/// Where a problem's option or variable is.
fn place_of(problem: &ConfigError, words: &[At<String>], container: &Container) -> Option<Position> {
    let name = problem.place.split([' ', '=', ':']).next().unwrap_or_default();
    let variable = container.env.iter().rev().find(|given| given.value.0 == name).map(|given| given.at);
    variable
        .or_else(|| word_of(words, name))
        .or_else(|| words.iter().find(|word| word.value.split('=').next() == Some(name)).map(|word| word.at))
}

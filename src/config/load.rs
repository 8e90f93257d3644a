//! From what was typed to a [`Config`]: collects the sources in the order of their strength, reads them, and
//! reports everything that is wrong in one run.
//!
//! Weaker sources are read first and stronger ones overwrite them. A value that a stronger source replaces must
//! still parse: a slip is reported where it is, not on the day when the flag goes away.

use super::draft::Draft;
use super::file::ConfigFile;
use super::options::{
    CHECK, CONFIG, DRAIN_FILE, HOOK, OPTIONS, OptionSpec, PROBE_LISTEN, REPORT, Repeat, TERMINATION_LOG,
};
use super::raw::{ConfigError, Origin, Raw};
use super::suggest::nearest;
use super::{Config, Listen, values};
use crate::files;
use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// The flags of one command line, tokenised and nothing more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The option's name without dashes and its value, in the order typed.
    pub flags: Vec<(&'static str, OsString)>,
    /// What is wrong with the command line itself; [`load`] reports it together with all the rest.
    pub problems: Vec<ConfigError>,
}

/// Name and value; borrowed where they are this process's own.
pub type Variable = (Cow<'static, OsStr>, Cow<'static, OsStr>);

/// What a configuration depends on besides the command line and files. Tests make their own.
#[derive(Clone, Debug)]
pub struct Environment {
    /// All environment variables.
    pub environment: Vec<Variable>,
    /// What relative paths start from.
    pub cwd: PathBuf,
    /// graceful's own pid.
    pub pid: u32,
    /// Whether this build can do HTTPS.
    pub https: bool,
    /// Whether the variables are another process's: a descriptor that they name is then not ours, and whether a path or
    /// a program of theirs exists is not checked.
    pub foreign: bool,
    /// The graceful above this one, if there is one.
    pub above: Option<OuterGraceful>,
}

/// A graceful that supervises this one's container or command. What exists only once for both belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OuterGraceful {
    /// Its pid.
    pub pid: i32,
    /// Its variables; `None` where they may not be read.
    pub environment: Option<Vec<(OsString, OsString)>>,
}

/// Options that name one thing for a container: a port, a file that tells of a stop, the report of the container's end,
/// and what is done and asked on behalf of its app (a hook that takes it off a load balancer, the checks behind its
/// probes). (`docker exec c graceful -- migrate` has the image's variables, too.)
static ONE_EACH: [&OptionSpec; 6] = [&PROBE_LISTEN, &DRAIN_FILE, &REPORT, &TERMINATION_LOG, &HOOK, &CHECK];

impl Environment {
    /// The environment of this process.
    pub fn current() -> Environment {
        Environment::with(std::env::vars_os().map(|(name, value)| (name.into(), value.into())).collect())
    }

    /// The environment of this process with these variables, which may be borrowed, so that none is copied.
    pub fn with(environment: Vec<Variable>) -> Environment {
        Environment {
            environment,
            // Where the directory was deleted, relative paths stay relative and fail by themselves later.
            cwd: std::env::current_dir().unwrap_or_default(),
            pid: std::process::id(),
            https: cfg!(feature = "https"),
            foreign: false,
            above: None,
        }
    }

    /// Whether a variable is set that may be that of a graceful above: only then does it have to be looked for.
    pub fn may_be_below(&self) -> bool {
        let specs = ONE_EACH.into_iter().chain([&CONFIG]);
        specs.map(|spec| spec.variable).any(|name| self.variable(name).is_some())
    }

    /// Whether a variable was set for both, so that what it names belongs to the graceful above.
    fn is_of_above(&self, name: &str) -> bool {
        let Some(above) = &self.above else { return false };
        let theirs =
            |all: &Vec<(OsString, OsString)>| all.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let same =
            |own: &OsStr| above.environment.as_ref().is_none_or(|all| theirs(all).is_some_and(|value| value == own));
        self.variable(name).is_some_and(same)
    }

    /// The value of a variable as it is.
    pub fn environment_of(&self, name: &str) -> Option<OsString> {
        self.variable(name).map(OsString::from)
    }

    /// The value of a variable; an empty one counts as unset.
    pub(super) fn variable(&self, name: &str) -> Option<&OsStr> {
        let found = self.environment.iter().find(|(key, _)| **key == *name)?;
        Some(&*found.1).filter(|value| !value.is_empty())
    }
}

/// The configuration of this run, or everything that is wrong with it.
pub fn load(
    settings: Settings,
    command: Vec<OsString>,
    surroundings: &Environment,
) -> Result<Config, Vec<ConfigError>> {
    let Settings { flags, mut problems } = settings;
    if problems.is_empty() && command.first().is_none_or(|program| program.is_empty()) {
        problems.push(ConfigError::new("COMMAND", "is empty; expected: graceful [OPTIONS] -- COMMAND [ARGS...]"));
    }
    let file = config_file(&flags, surroundings, &mut problems);
    let mut draft = Draft { warnings: slips_in_the_environment(surroundings), ..Draft::default() };
    if let Some(file) = &file {
        file.check_keys(&mut problems);
        if file_is_of_above(&flags, surroundings) {
            let tables = file.table_options();
            draft.broken.extend(tables.iter().map(|spec| spec.name));
            draft.of_above.extend(tables.into_iter().map(|option| option.name.to_owned()));
        } else {
            file.tables(&mut draft, &mut problems);
        }
    }
    for spec in OPTIONS {
        let before = problems.len();
        let from_file = file.as_ref().map(|file| file.values(spec, &mut problems)).unwrap_or_default();
        let weaker = draft.own(spec, [from_file, variable_values(spec, surroundings)], &flags, surroundings);
        for raws in weaker.into_iter().chain([flag_values(spec, &flags, &mut problems)]) {
            if !raws.is_empty() {
                (spec.read)(&mut draft, &separated(raws, spec.repeat), &mut problems);
            }
        }
        if problems.len() > before {
            draft.broken.push(spec.name);
        }
    }
    let config = draft.finish(command, surroundings, &mut problems);
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

impl Draft {
    /// What file and variable say of an option, without what they say to the graceful above this one.
    fn own(
        &mut self,
        spec: &'static OptionSpec,
        [mut file, mut variable]: [Vec<Raw>; 2],
        flags: &[(&'static str, OsString)],
        surroundings: &Environment,
    ) -> [Vec<Raw>; 2] {
        if surroundings.above.is_none() || !ONE_EACH.contains(&spec) {
            return [file, variable];
        }
        let by_flag = |name: &str| flags.iter().any(|(flag, _)| *flag == name);
        let their_file = file_is_of_above(flags, surroundings);
        let mut theirs = if their_file { std::mem::take(&mut file) } else { Vec::new() };
        if surroundings.is_of_above(spec.variable) {
            theirs.append(&mut variable);
        }
        if !theirs.is_empty() && !by_flag(spec.name) {
            // Nothing that depends on it is judged.
            self.broken.push(spec.name);
        }
        self.of_above.extend(theirs.iter().map(|raw| raw.origin.name()));
        [file, variable]
    }
}

/// Where a graceful with these flags listens for probes, if anywhere, as [`load`] would find it: the flag, else the
/// variable, else the file. No other option is looked at, so that a fault in one of them is no obstacle.
pub fn probe_listen(
    flags: &[(&'static str, OsString)],
    surroundings: &Environment,
) -> Result<Option<Listen>, ConfigError> {
    let spec = &PROBE_LISTEN;
    let mut problems = Vec::new();
    let stronger = [flag_values(spec, flags, &mut problems), variable_values(spec, surroundings)];
    let raw = stronger.into_iter().find_map(|mut raws| raws.pop()).or_else(|| {
        let file = config_file(flags, surroundings, &mut problems)?;
        file.values(spec, &mut problems).pop()
    });
    if let Some(problem) = problems.into_iter().next() {
        return Err(problem);
    }
    let Some(raw) = raw else { return Ok(None) };
    let listen = values::listen(raw.text()?).map_err(|reason| raw.problem(reason))?;
    Ok(Some(listen.below(&surroundings.cwd)))
}

/// Whether the file belongs to the graceful above: its variable names it, and no flag does.
fn file_is_of_above(flags: &[(&'static str, OsString)], surroundings: &Environment) -> bool {
    let by_flag = flags.iter().any(|(flag, _)| *flag == CONFIG.name);
    !by_flag && surroundings.is_of_above(CONFIG.variable)
}

fn config_file(
    flags: &[(&'static str, OsString)],
    surroundings: &Environment,
    problems: &mut Vec<ConfigError>,
) -> Option<ConfigFile> {
    let spec = &CONFIG;
    // Giving it twice is reported with all other options, in `load`.
    let raw = flag_values(spec, flags, &mut Vec::new()).pop().or_else(|| variable_values(spec, surroundings).pop())?;
    if surroundings.foreign && files::descriptor(&surroundings.cwd.join(&raw.text)).is_some() {
        problems.push(raw.problem("a descriptor of that process; only a file can be looked into"));
        return None;
    }
    ConfigFile::open(&raw, &surroundings.cwd).map_err(|problem| problems.push(problem)).ok()
}

fn flag_values(spec: &OptionSpec, flags: &[(&'static str, OsString)], problems: &mut Vec<ConfigError>) -> Vec<Raw> {
    let given = flags.iter().filter(|(name, _)| *name == spec.name);
    let raws: Vec<Raw> = given.map(|(_, text)| Raw::new(Origin::Flag(spec.name), text)).collect();
    if spec.repeat == Repeat::No && raws.len() > 1 {
        let values: Vec<String> = raws.iter().map(Raw::shown).collect();
        let reason = format!("given {} times ({}); give it only once", raws.len(), values.join(", "));
        problems.push(ConfigError::new(format!("--{}", spec.name), reason));
    }
    raws
}

fn variable_values(spec: &OptionSpec, surroundings: &Environment) -> Vec<Raw> {
    let Some(value) = surroundings.variable(spec.variable) else { return Vec::new() };
    let raw = |text: &str| Raw::new(Origin::Variable(spec.variable), text);
    match (spec.repeat, value.to_str()) {
        (Repeat::Lines, Some(text)) => text.lines().filter(|line| !line.trim().is_empty()).map(raw).collect(),
        _ => vec![Raw::new(Origin::Variable(spec.variable), value)],
    }
}

/// Splits lists at their commas, whichever source they come from.
fn separated(raws: Vec<Raw>, repeat: Repeat) -> Vec<Raw> {
    if repeat != Repeat::Comma {
        return raws;
    }
    let split = |raw: Raw| match raw.text.to_str() {
        Some(text) => text.split(',').map(|member| Raw::new(raw.origin.clone(), member.trim())).collect(),
        None => vec![raw],
    };
    raws.into_iter().flat_map(split).collect()
}

/// A line for each GRACEFUL_ variable that graceful does not know but that looks like one it knows.
fn slips_in_the_environment(surroundings: &Environment) -> Vec<String> {
    let names = surroundings.environment.iter().filter(|(_, value)| !value.is_empty());
    let names = names.filter_map(|(name, _)| name.to_str()).filter(|name| name.starts_with("GRACEFUL_"));
    let unknown = names.filter(|name| !OPTIONS.iter().any(|spec| spec.variable == *name) && !is_foreign(name));
    let known = || OPTIONS.iter().map(|spec| spec.variable);
    // The common prefix would make any two names look alike.
    let rest = |name: &'static str| name.trim_start_matches("GRACEFUL_");
    unknown
        .filter_map(|name| {
            let meant = nearest(name.trim_start_matches("GRACEFUL_"), known().map(rest))?;
            let reason = format!("not a variable of graceful, and ignored; did you mean GRACEFUL_{meant}?");
            Some(ConfigError::new(name, reason).to_string())
        })
        .collect()
}

/// Variables that others set with good reason: Kubernetes for Services whose name begins with graceful, and
/// graceful itself for its hooks and an app that is started again, one of which may well run graceful.
fn is_foreign(name: &str) -> bool {
    const FOR_HOOKS: &[&str] = &[
        "GRACEFUL_PHASE",
        "GRACEFUL_SIGNAL",
        "GRACEFUL_APP_PID",
        "GRACEFUL_EXIT_STATUS",
        "GRACEFUL_GENERATION",
        "GRACEFUL_CAUSE",
    ];
    FOR_HOOKS.contains(&name)
        || ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT_"].iter().any(|part| name.contains(part))
        || name.ends_with("_PORT")
}

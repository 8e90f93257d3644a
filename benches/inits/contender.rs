//! Who takes part and how it is started.
//!
//! All act as subreaper where they can, so that all do the same work. graceful takes part twice: without a word, and with
//! the two variables that an image sets as the README advises. The last contender is no init at all: the app alone, the
//! floor that no init can pass.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The name of graceful's column.
pub(crate) const GRACEFUL: &str = "graceful";
/// The name of graceful's column with [`VARIABLES`] set.
pub(crate) const CONFIGURED: &str = "graceful, configured";
/// What an image says of its grace period and of where it is probed. (One instance at a time listens there.)
const VARIABLES: &[(&str, &str)] = &[("GRACEFUL_GRACE_PERIOD", "30s"), ("GRACEFUL_PROBE_LISTEN", "127.0.0.1:19177")];
/// The name of the column without an init.
pub(crate) const BARE: &str = "no init";

/// One column of the table.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    /// Where it lies; `None` for [`BARE`] and for an init that cannot take part.
    pub(crate) program: Option<PathBuf>,
    flags: &'static [&'static str],
    version: String,
}

/// The inits to compare with, by the name they have in PATH, and how they are told to be subreaper.
const OTHERS: &[(&str, &[&str])] =
    &[("tini", &["-s"]), ("tini-static", &["-s"]), ("dumb-init", &[]), ("catatonit", &[])];

/// graceful, the others, and no init; whoever cannot take part gets a note that says why.
pub(crate) fn all(graceful: &Path, notes: &mut Vec<String>) -> Vec<Contender> {
    let mut contenders = [GRACEFUL, CONFIGURED].map(|name| (name, Some(graceful.to_owned()), [].as_slice())).to_vec();
    contenders.extend(OTHERS.iter().map(|(name, flags)| (*name, in_path(name), *flags)));
    let mut contenders: Vec<_> = contenders
        .into_iter()
        .map(|(name, program, flags)| Contender { name, version: version(program.as_deref()), program, flags })
        .collect();
    for contender in &mut contenders {
        let problem = match &contender.program {
            None => Some("not found in PATH".to_owned()),
            Some(_) => contender.sanity_problem(),
        };
        if let Some(problem) = problem {
            notes.push(format!("{}: left out: {problem}", contender.name));
            contender.program = None;
        }
    }
    contenders.push(Contender { name: BARE, program: None, flags: &[], version: String::new() });
    contenders
}

/// A copy of the binary, written in one go as a package manager or an image layer writes it, and as the other inits were.
/// The linker's own file lies in the page cache in pieces of one page, which costs more faults than it ever will again.
pub(crate) struct Installed(PathBuf);

impl Installed {
    pub(crate) fn new(program: &Path) -> Result<Installed, String> {
        let copy = std::env::temp_dir().join(format!("graceful-bench-{}", std::process::id()));
        let problem = |error: std::io::Error| format!("{} to {}: {error}", program.display(), copy.display());
        let bytes = std::fs::read(program).map_err(problem)?;
        std::fs::write(&copy, bytes).map_err(problem)?;
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).map_err(problem)?;
        Ok(Installed(copy))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        // A file left in the temporary directory is no reason to fail.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Contender {
    /// Whether it can be measured.
    pub(crate) fn takes_part(&self) -> bool {
        self.program.is_some() || self.is_bare()
    }

    /// Whether this is the app without an init.
    pub(crate) fn is_bare(&self) -> bool {
        self.name == BARE
    }

    /// Whether this is graceful, in whichever way.
    pub(crate) fn is_graceful(&self) -> bool {
        self.name == GRACEFUL || self.name == CONFIGURED
    }

    /// `INIT -- app arguments`, silent, without stdin; `options` are for graceful alone.
    pub(crate) fn command(&self, options: &[&str], app: &Path, arguments: &[&str]) -> Command {
        self.prefixed(&[], options, app, arguments)
    }

    /// The same, as PID 1 of a new namespace.
    pub(crate) fn command_in(&self, namespace: &[&str], options: &[&str], app: &Path, arguments: &[&str]) -> Command {
        self.prefixed(namespace, options, app, arguments)
    }

    fn prefixed(&self, prefix: &[&str], options: &[&str], app: &Path, arguments: &[&str]) -> Command {
        let mut line: Vec<&OsStr> = prefix.iter().map(OsStr::new).collect();
        if let Some(program) = &self.program {
            line.push(program.as_os_str());
            line.extend(self.flags.iter().map(OsStr::new));
            if self.is_graceful() {
                line.extend(options.iter().map(OsStr::new));
            }
            line.push(OsStr::new("--"));
        }
        line.push(app.as_os_str());
        line.extend(arguments.iter().map(OsStr::new));
        let mut command = Command::new(line[0]);
        command.args(&line[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        for (variable, value) in VARIABLES {
            match self.name == CONFIGURED {
                true => command.env(variable, value),
                false => command.env_remove(variable),
            };
        }
        command
    }

    /// What keeps it from being compared: an init must at least run a command and pass on its exit status.
    fn sanity_problem(&self) -> Option<String> {
        match self.command(&[], Path::new("/bin/sh"), &["-c", "exit 7"]).status() {
            Ok(status) if status.code() == Some(7) => None,
            Ok(status) => Some(format!("`-- sh -c 'exit 7'` ended with {status} instead of exit status: 7")),
            Err(error) => Some(format!("cannot be started: {error}")),
        }
    }
}

/// How to start something as PID 1 of a namespace of its own with its own /proc, if that is possible here.
pub(crate) struct Namespace(Option<&'static [&'static str]>);

impl Namespace {
    /// Tries as the present user, then by way of a user namespace.
    pub(crate) fn find() -> Namespace {
        const WAYS: [&[&str]; 2] = [
            &["unshare", "--pid", "--fork", "--mount-proc"],
            &["unshare", "--map-root-user", "--pid", "--fork", "--mount-proc"],
        ];
        let works = |way: &&&[&str]| {
            let mut command = Command::new(way[0]);
            command.args(&way[1..]).args(["sh", "-c", "test $$ = 1"]).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        Namespace(WAYS.iter().find(works).copied())
    }

    /// The words to put before a command.
    pub(crate) fn prefix(&self) -> Result<&'static [&'static str], String> {
        self.0.ok_or_else(|| "needs `unshare --pid --fork --mount-proc`, which does not work here".to_owned())
    }
}

/// The line that says where and when the figures were taken.
pub(crate) fn machine(contenders: &[Contender], quick: bool) -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown CPU");
    let cores = std::thread::available_parallelism().map_or(0, |cores| cores.get());
    let date = humantime::format_rfc3339_seconds(std::time::SystemTime::now());
    let versions: Vec<_> = contenders
        .iter()
        .filter(|contender| contender.program.is_some() && contender.name != CONFIGURED)
        .map(|contender| format!("{} {}", contender.name, contender.version).trim_end().to_owned())
        .collect();
    format!(
        "Linux {}, {cores} cores ({}), {date}{}; {}.",
        kernel.trim(),
        model.trim_start_matches([' ', '\t', ':']),
        if quick { ", quick run: few rounds, a smoke test" } else { "" },
        versions.join(", ")
    )
}

fn in_path(name: &str) -> Option<PathBuf> {
    let executable = |path: &PathBuf| {
        std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(&std::env::var_os("PATH")?).map(|directory| directory.join(name)).find(executable)
}

/// The first word of `--version` that looks like one; empty when there is none.
fn version(program: Option<&Path>) -> String {
    let output = program.and_then(|path| Command::new(path).arg("--version").stdin(Stdio::null()).output().ok());
    let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    let looks_right = |word: &&str| word.trim_start_matches('v').starts_with(|first: char| first.is_ascii_digit());
    String::from_utf8_lossy(&text).split_whitespace().find(looks_right).unwrap_or_default().to_owned()
}

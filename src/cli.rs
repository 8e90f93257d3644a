//! The command line: which command was meant, its options, and the ways out that need no command.
//!
//! `run` has the one table of options (`config::options`), of which clap only makes tokens and the help: values stay
//! bytes until `config::load`, so that what is wrong with flags, variables and the file is reported together. Every
//! other command is a struct that clap fills (`arguments`), and is not built where `run` is meant. Nothing here writes
//! to stdout but help, version and completions.
//!
//! ```text
//! args ─ plain_run ──────────────────────────────────► Config::of_command   (every container start)
//!      └ parse ─┬ Command::Run ─ config::load ───────► Config, or problems
//!               ├ Command::Probe, Plan, Reload, Status, Install, Sleep, Completions
//!               └ EarlyExit: a text and exit 0, or problems and exit 2
//! ```

mod arguments;
mod control;
mod describe;
mod drill;
mod help;
mod plan;
mod probe;
mod subcommands;
mod tokens;

pub use clap_complete::Shell;
pub use plan::run_options;

use crate::config::options::PROFILE;
use crate::config::suggest::nearest;
use crate::config::{ConfigError, Listen, LogLevel, Settings, quoted};
use crate::control::{ControlAddress, StatusForm};
use crate::demo::Fault;
use crate::drill::DrillPlan;
use crate::health::Probe;
use crate::secret::{Url, hidden};
use crate::status::{FAILURE, USAGE};
use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokens::{Info, Tokens, tokenise};

/// What the user wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Invocation {
    /// Run this command under supervision, once [`crate::config::load`] has accepted the settings.
    Run {
        /// The flags, not yet looked at. They may carry problems; `load` reports them.
        settings: Settings,
        /// The app's argv.
        command: Vec<OsString>,
    },
    /// Probe once.
    Probe {
        /// What is asked.
        target: ProbeTarget,
        /// For the whole probe.
        timeout: Duration,
        /// What it logs about itself on standard error: nothing unless this is debug or trace.
        details: LogLevel,
    },
    /// Make the running graceful reload, and wait for it.
    Reload {
        /// The socket to ask, if one was given; see `control::client::find` for the rest.
        control: Option<ControlAddress>,
        /// How long to wait for the answer.
        timeout: Duration,
    },
    /// Ask the running graceful for its status.
    Status {
        /// As for `Reload`.
        control: Option<ControlAddress>,
        /// How the status is written.
        output: StatusForm,
    },
    /// Copy this binary into this directory.
    Install(PathBuf),
    /// Sleep and exit 0.
    Sleep(Duration),
    /// Print the completion script of this shell.
    Completions(Shell),
    /// Hold a drill.
    Drill(Box<DrillPlan>),
    /// Draw a stop, or check files.
    Plan(crate::plan::PlanRequest),
    /// Serve the app that ships with graceful, with this fault; not in the help.
    DemoApp {
        /// Where it listens.
        address: SocketAddr,
        /// What it does wrong, if anything.
        fault: Option<Fault>,
    },
}

/// What `graceful probe` asks.
#[derive(Clone, Debug, PartialEq)]
pub enum ProbeTarget {
    /// http or https, with a host.
    Url(Url),
    /// Whether a connection can be made.
    Tcp {
        /// A name or an address, that of IPv6 in brackets.
        host: String,
        /// Not 0.
        port: u16,
    },
    /// A graceful's own probe server.
    Own {
        /// Which of the three.
        probe: Probe,
        /// Where it listens, if that was said; see `probe::discover` for the rest.
        at: Option<Listen>,
    },
}

/// Why there is nothing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum EarlyExit {
    /// This text was asked for: stdout, exit 0.
    Text(String),
    /// The short usage, because nothing was said at all: stderr, exit 2.
    Usage,
    /// The command line is wrong: stderr, exit 2.
    Problems(Vec<ConfigError>),
}

impl EarlyExit {
    /// Writes it where it belongs and returns the exit status.
    pub fn report(&self) -> u8 {
        match self {
            EarlyExit::Text(text) => print(text),
            EarlyExit::Usage => {
                complain(help::SHORT_USAGE);
                USAGE
            }
            EarlyExit::Problems(problems) => report(problems),
        }
    }
}

/// The commands that are spelled out.
const SUBCOMMANDS: &[&str] = &["run", "drill", "probe", "plan", "reload", "status", "install", "sleep", "completions"];

/// Docker asks its `--init-path` for a version, and reads `tini version X` or `- git.COMMIT`, without a dot in COMMIT
/// (moby, parseInitVersion); `docker info` shows what it reads.
const VERSION: &str = concat!(
    "graceful ",
    env!("CARGO_PKG_VERSION"),
    " - git.v",
    env!("CARGO_PKG_VERSION_MAJOR"),
    "-",
    env!("CARGO_PKG_VERSION_MINOR"),
    "-",
    env!("CARGO_PKG_VERSION_PATCH"),
    "\n"
);

/// The one form that runs an app.
const FORM: &str = "graceful [OPTIONS] -- COMMAND [ARGS...]";

/// The app's argv when the arguments (with graceful's own name first) say nothing else: `graceful -- COMMAND` or
/// `graceful run -- COMMAND`. Where no GRACEFUL_ variable is set either, `Config::of_command` is the configuration
/// and no parser is needed.
pub fn plain_run(args: &[OsString]) -> Option<&[OsString]> {
    let (_, rest) = args.split_first()?;
    let rest = if rest.first()? == "run" { &rest[1..] } else { rest };
    let (separator, command) = rest.split_first()?;
    let named = command.first().is_some_and(|program| !program.is_empty());
    (separator == "--" && named).then_some(command)
}

/// What these arguments (with graceful's own name first) mean.
pub fn parse(args: &[OsString]) -> Result<Invocation, EarlyExit> {
    let args = args.get(1..).unwrap_or_default();
    let Some((first, rest)) = args.split_first() else { return Err(EarlyExit::Usage) };
    if let Some(problem) = words_in_one(first) {
        return Err(EarlyExit::Problems(vec![problem]));
    }
    match first.to_str() {
        Some("run") => run(rest, true),
        Some("drill") => drill::parse(rest),
        Some("probe") => probe::parse(rest),
        Some("plan") => plan::parse(rest),
        Some("reload") => control::reload(rest),
        Some("status") => control::status(rest),
        Some("install") => subcommands::install(rest),
        Some("sleep") => subcommands::sleep(rest),
        Some("completions") => subcommands::completions(rest),
        Some("demo-app") => subcommands::demo_app(rest),
        Some("help") => Err(help_for(rest)),
        Some("version") if rest.is_empty() => Err(EarlyExit::Text(text_for(Info::Version, None))),
        Some("-h" | "--help") if rest.first().is_some_and(|word| !tokens::is_flag(word)) => Err(help_for(rest)),
        _ if tokens::is_flag(first) => run(args, false),
        _ => Err(EarlyExit::Problems(vec![unknown_command(args)])),
    }
}

/// Writes one line on stderr for each problem; returns the exit status of a usage error.
pub fn report(problems: &[ConfigError]) -> u8 {
    complain(&problems.iter().map(|problem| format!("graceful: error: {problem}\n")).collect::<String>());
    USAGE
}

/// Writes the completion script to stdout; returns the exit status.
pub fn print_completions(shell: Shell) -> u8 {
    print(&completions(shell))
}

/// The whole command line as clap describes it, for man pages.
pub fn tree() -> clap::Command {
    help::tree()
}

fn run(args: &[OsString], spelled_out: bool) -> Result<Invocation, EarlyExit> {
    let separator = args.iter().position(|arg| arg == "--");
    let (head, command) = match separator {
        Some(at) => (&args[..at], &args[at + 1..]),
        None => (args, &[][..]),
    };
    let Tokens { flags, rest, info, mut problems } = tokenise(describe::run_tokens(), head, separator.is_some());
    if let Some(info) = info
        && problems.is_empty()
    {
        return Err(EarlyExit::Text(text_for(info, spelled_out.then_some("run"))));
    }
    if flags.iter().any(|(name, value)| *name == PROFILE.name && value == "list") && problems.is_empty() {
        return Err(EarlyExit::Text(crate::config::profiles()));
    }
    if let Some(stray) = rest.first() {
        problems.push(match separator {
            Some(_) => ConfigError::new(quoted(stray), format!("is before --; expected: {FORM}")),
            None => {
                let options = &head[..head.len() - rest.len()];
                ConfigError::new(
                    quoted(stray),
                    format!("no -- before it; did you mean: {}", with_separator(options, &rest)),
                )
            }
        });
    } else if command.is_empty() {
        let missing = if separator.is_some() { "nothing after --" } else { "no -- COMMAND" };
        problems.push(ConfigError::new(missing, format!("there is no command to run; expected: {FORM}")));
    } else if command[0].is_empty() {
        problems.push(ConfigError::new("-- \"\"", format!("the command's name is empty; expected: {FORM}")));
    }
    Ok(Invocation::Run { settings: Settings { flags, problems }, command: command.to_vec() })
}

/// Help or version of graceful, or of one of its commands.
fn text_for(info: Info, subcommand: Option<&'static str>) -> String {
    match info {
        Info::Help => help::text(subcommand),
        Info::Version => VERSION.to_owned(),
    }
}

/// `graceful help [COMMAND]`
fn help_for(rest: &[OsString]) -> EarlyExit {
    let Some((word, more)) = rest.split_first() else { return EarlyExit::Text(help::text(None)) };
    let known = SUBCOMMANDS.iter().find(|name| word == **name);
    match (known, more.first()) {
        (Some(name), None) => EarlyExit::Text(help::text(Some(name))),
        (Some(name), Some(extra)) => {
            let reason = format!("one argument too many; expected graceful help COMMAND, as graceful help {name}");
            EarlyExit::Problems(vec![ConfigError::new(quoted(extra), reason)])
        }
        (None, _) => {
            let hint = nearest(&word.to_string_lossy(), SUBCOMMANDS.iter().copied());
            let hint = hint.map(|name| format!("; did you mean: graceful help {name}")).unwrap_or_default();
            let reason = format!("unknown command; expected one of {}{hint}", SUBCOMMANDS.join(", "));
            EarlyExit::Problems(vec![ConfigError::new(quoted(word), reason)])
        }
    }
}

/// `#!/graceful -- /bin/sh`: the kernel passes everything after the program as one argument (execve(2)).
fn words_in_one(first: &OsString) -> Option<ConfigError> {
    let text = first.to_str()?.trim();
    let word = text.split_whitespace().next().filter(|word| *word != text)?;
    let begins = word == "--" || word == "run" || word.starts_with('-') && !word.contains('=');
    (begins && text.split_whitespace().any(|word| word == "--")).then(|| {
        let reason = "several words in one argument, as a #! line passes them; expected a line that splits them, as";
        ConfigError::new(quoted(first), format!("{reason} #!/usr/bin/env -S graceful {text}"))
    })
}

/// The first argument is neither a flag nor a command: most likely `graceful ./myapp`.
fn unknown_command(args: &[OsString]) -> ConfigError {
    let word = args[0].to_string_lossy();
    let place = quoted(&args[0]);
    let has_separator = args.iter().any(|arg| arg == "--");
    match nearest(&word, SUBCOMMANDS.iter().copied()) {
        Some(meant) if has_separator => {
            ConfigError::new(place, format!("unknown command; did you mean: graceful {}", joined(meant, &args[1..])))
        }
        Some(meant) => ConfigError::new(
            place,
            format!(
                "unknown command; did you mean: graceful {} (or, to run a program of this name: {})",
                joined(meant, &args[1..]),
                with_separator(&[], args)
            ),
        ),
        None if has_separator => {
            ConfigError::new(place, format!("unknown command; expected one of {}, or {FORM}", SUBCOMMANDS.join(", ")))
        }
        None => ConfigError::new(place, format!("no -- before it; did you mean: {}", with_separator(&[], args))),
    }
}

fn with_separator(options: &[OsString], command: &[OsString]) -> String {
    let dashes = OsString::from("--");
    let words = options.iter().chain([&dashes]).chain(command);
    shell_words::join(std::iter::once("graceful".into()).chain(words.map(|word| hidden(&word.to_string_lossy()))))
}

fn joined(subcommand: &str, rest: &[OsString]) -> String {
    let rest = rest.iter().map(|word| hidden(&word.to_string_lossy()));
    shell_words::join(std::iter::once(subcommand.to_owned()).chain(rest))
}

fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut help::tree(), "graceful", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// stderr may be closed or full: there is nobody left to tell.
fn complain(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

#[allow(clippy::disallowed_methods, reason = "what a command that runs no app was asked to print")]
pub fn print(text: &str) -> u8 {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => 0,
        // The reader has seen enough (`graceful --help | head`).
        Err(error) if error.kind() == ErrorKind::BrokenPipe => 0,
        Err(error) => {
            complain(&format!("graceful: error: stdout: {error}\n"));
            FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{CheckTarget, Config};
    use clap::CommandFactory;
    use std::os::unix::ffi::OsStringExt;

    fn args(words: &[&str]) -> Vec<OsString> {
        std::iter::once("graceful").chain(words.iter().copied()).map(OsString::from).collect()
    }

    fn parsed(words: &[&str]) -> Invocation {
        parse(&args(words)).unwrap_or_else(|quit| panic!("{quit:?}"))
    }

    #[test]
    fn both_forms_run_with_the_flags_as_typed() {
        for words in [
            &["--hook", "pre-stop=a", "--stop-on=HUP", "--hook=post-stop=b", "--", "app", "--", "-h"][..],
            &["run", "--hook", "pre-stop=a", "--stop-on=HUP", "--hook=post-stop=b", "--", "app", "--", "-h"],
        ] {
            let Invocation::Run { settings, command } = parsed(words) else { panic!("not a run: {words:?}") };
            assert_eq!(settings.problems, []);
            assert_eq!(
                settings.flags,
                [("stop-on", "HUP".into()), ("hook", "pre-stop=a".into()), ("hook", "post-stop=b".into())]
            );
            assert_eq!(command, ["app", "--", "-h"]);
        }
    }

    #[test]
    fn bytes_survive_in_the_command_and_in_values() {
        let bytes = OsString::from_vec(b"\xff\xfe".to_vec());
        let mut words = args(&["--report"]);
        words.extend([bytes.clone(), "--".into(), bytes.clone(), "".into(), bytes.clone()]);
        let Ok(Invocation::Run { settings, command }) = parse(&words) else { panic!("not a run") };
        assert_eq!(settings.flags, [("report", bytes.clone())]);
        assert_eq!(command, [bytes.clone(), "".into(), bytes]);
    }

    #[test]
    fn a_plain_run_is_known_without_a_parser() {
        assert_eq!(plain_run(&args(&["--", "app", "-x"])), Some(&args(&["app", "-x"])[1..]));
        assert_eq!(plain_run(&args(&["run", "--", "app"])), Some(&args(&["app"])[1..]));
        for words in [
            &[][..],
            &["--"],
            &["--", ""],
            &["run"],
            &["run", "--"],
            &["app"],
            &["--hold", "never", "--", "app"],
            &["run", "run", "--", "app"],
            &["probe", "--", "app"],
        ] {
            assert_eq!(plain_run(&args(words)), None, "{words:?}");
        }
        assert_eq!(plain_run(&[]), None);
    }

    #[test]
    fn a_plain_run_and_the_parser_agree() {
        for words in [&["--", "app", "x"][..], &["run", "--", "app", "--", "y"]] {
            let plain = plain_run(&args(words)).unwrap().to_vec();
            assert_eq!(parsed(words), Invocation::Run { settings: Settings::default(), command: plain });
        }
    }

    #[test]
    fn the_small_commands() {
        let probe = |url: &str, timeout| {
            let target = ProbeTarget::Url(Url::parse(url).unwrap());
            Invocation::Probe { target, timeout, details: LogLevel::Info }
        };
        let second = Duration::from_secs(1);
        assert_eq!(parsed(&["probe", "http://h:1/r"]), probe("http://h:1/r", second));
        assert_eq!(parsed(&["probe", "http://h/", "--timeout", "5s"]), probe("http://h/", second * 5));
        assert_eq!(parsed(&["probe", "--timeout=5s", "http://h/"]), probe("http://h/", second * 5));
        assert_eq!(parsed(&["sleep", "1m 1s"]), Invocation::Sleep(second * 61));
        assert_eq!(parsed(&["sleep", "0s"]), Invocation::Sleep(Duration::ZERO));
        // As the coreutils' sleep has it.
        for (words, time) in [
            (&["sleep", "5"][..], second * 5),
            (&["sleep", "0.5"], second / 2),
            (&["sleep", "1.5m"], second * 90),
            (&["sleep", "1m", "30"], second * 90),
            (&["sleep", "infinity"], second * 100 * 365 * 24 * 3600),
        ] {
            assert_eq!(parsed(words), Invocation::Sleep(time), "{words:?}");
        }
        for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
            let Invocation::Completions(found) = parsed(&["completions", shell]) else { panic!("{shell}") };
            assert_eq!(found.to_string(), shell);
        }
    }

    #[test]
    fn what_a_probe_asks() {
        let target = |words: &[&str]| match parsed(&[&["probe"], words].concat()) {
            Invocation::Probe { target, timeout, .. } if timeout == Duration::from_secs(1) => target,
            other => panic!("{words:?}: {other:?}"),
        };
        let own = |probe, at: Option<&str>| {
            let listen = |text: &str| match text.strip_prefix("unix:") {
                Some(path) => Listen::Unix(path.into()),
                None => Listen::Tcp(text.parse().unwrap()),
            };
            ProbeTarget::Own { probe, at: at.map(listen) }
        };
        assert_eq!(target(&[]), own(Probe::Ready, None));
        for (word, probe) in [("live", Probe::Live), ("ready", Probe::Ready), ("startup", Probe::Startup)] {
            assert_eq!(target(&[word]), own(probe, None));
            assert_eq!(target(&[word, ":9090"]), own(probe, Some("[::]:9090")));
            assert_eq!(target(&[word, "unix:/run/x.sock"]), own(probe, Some("unix:/run/x.sock")));
        }
        for (text, at) in [("127.0.0.1:9", "127.0.0.1:9"), ("localhost:9", "127.0.0.1:9"), ("[::1]:9", "[::1]:9")] {
            assert_eq!(target(&[text]), own(Probe::Ready, Some(at)));
        }
        assert_eq!(target(&["unix:x.sock"]), own(Probe::Ready, Some("unix:x.sock")));
        for (text, host, port) in [
            ("tcp://db:5432", "db", 5432),
            ("TCP://DB.Example:1/", "db.example", 1),
            ("tcp://127.0.0.1:65535", "127.0.0.1", 65535),
            ("tcp://[::1]:7", "[::1]", 7),
        ] {
            assert_eq!(target(&[text]), ProbeTarget::Tcp { host: host.to_owned(), port });
        }
    }

    #[test]
    fn help_and_version_are_texts() {
        let text = |words: &[&str]| match parse(&args(words)) {
            Err(EarlyExit::Text(text)) => text,
            other => panic!("{words:?}: {other:?}"),
        };
        for words in [&["--help"][..], &["-h"], &["--hold", "never", "--help"], &["--help", "--", "app"]] {
            assert_eq!(text(words), help::text(None));
        }
        assert_eq!(text(&["run", "-h"]), help::text(Some("run")));
        assert_eq!(text(&["help"]), help::text(None));
        for name in SUBCOMMANDS {
            for words in [&["help", *name], &["--help", *name], &["-h", *name]] {
                assert_eq!(text(words), text(&[name, "--help"]), "{words:?}");
            }
        }
        assert_eq!(text(&["version"]), text(&["-V"]));
        for name in ["probe", "reload", "status", "install", "sleep", "completions"] {
            let help = text(&[name, "--help"]);
            assert!(help.contains(&format!("Usage: graceful {name}")), "{help}");
        }
        assert_eq!(text(&["-V"]), VERSION);
        assert!(VERSION.starts_with(&format!("graceful {} ", env!("CARGO_PKG_VERSION"))));
        assert_eq!(text(&["probe", "--version"]), text(&["-V"]));
        assert!(matches!(parse(&args(&["--", "--help"])), Ok(Invocation::Run { .. })), "that is the app's own");
    }

    #[test]
    fn help_names_every_option_and_fits_the_width() {
        let help = help::text(None);
        for spec in crate::config::options::OPTIONS {
            assert!(help.contains(&format!("--{} <{}>", spec.name, spec.value.name())), "{}", spec.name);
        }
        for part in
            ["Usage: graceful [OPTIONS] -- COMMAND", "Exit status:", "GRACEFUL_GRACE_PERIOD=", "[[hook]]", "[[check]]"]
        {
            assert!(help.contains(part), "{part}");
        }
        for line in help.lines() {
            assert!(line.chars().count() <= 100 && line.trim_end() == line, "{line:?}");
        }
    }

    /// The tables that the help shows.
    fn shown_file() -> String {
        let help = help::text(None);
        let from = help.find("    [[hook]]").expect("an example");
        help[from..help.find("Exit status:").expect("the next part")].to_owned()
    }

    /// What graceful makes of this file, or of this one flag.
    fn loaded(file: Option<&str>, flag: Option<(&'static str, &str)>) -> Config {
        let dir = tempfile::tempdir().unwrap();
        let mut flags: Vec<(&str, OsString)> = flag.into_iter().map(|(name, value)| (name, value.into())).collect();
        if let Some(text) = file {
            std::fs::write(dir.path().join("graceful.toml"), text).unwrap();
            flags.push(("config", "graceful.toml".into()));
        }
        let settings = Settings { flags, problems: Vec::new() };
        let surroundings = crate::config::Environment {
            environment: Vec::new(),
            cwd: dir.path().to_owned(),
            pid: 7,
            https: true,
            foreign: false,
            above: None,
        };
        crate::config::load(settings, vec!["app".into()], &surroundings).unwrap_or_else(|p| panic!("{p:?}"))
    }

    #[test]
    fn the_file_shown_in_the_help_is_right() {
        let config = loaded(Some(&shown_file()), None);
        assert_eq!((config.hooks[0].name.as_str(), config.hooks[0].priority), ("drain", 10));
        let mut check = config.checks[0].clone();
        assert_eq!(check.degraded_after.take(), Some(Duration::from_millis(500)));
        assert_eq!(check.breaker_after.take(), Some(5));
        let CheckTarget::Tcp { send, expect, .. } = &mut check.target else { panic!("{check:?}") };
        assert_eq!((send.take().as_deref(), expect.take().as_deref()), (Some("PING\r\n"), Some("+PONG")));
        // All the rest it calls defaults.
        assert_eq!(loaded(None, Some(("check", "redis=tcp://redis:6379"))).checks, [check]);
    }

    #[test]
    fn keys_of_other_checks_shown_in_the_help_are_right() {
        for (target, kind, are_defaults) in [("exec:x", "# exec only: ", false), ("disk:/", "# disk only: ", true)] {
            let file = shown_file();
            let line = file.lines().find_map(|line| line.trim().strip_prefix(kind)).expect("a line of this kind");
            let keys: Vec<&str> = line.split(", ").filter(|part| part.contains(" = ")).collect();
            let table = format!("[[check]]\nname = \"x\"\ntarget = \"{target}\"\n{}", keys.join("\n"));
            let without = loaded(None, Some(("check", &format!("x={target}")))).checks;
            assert_eq!(loaded(Some(&table), None).checks == without, are_defaults, "{line}");
        }
    }

    proptest::proptest! {
        /// Whatever is typed, there is an answer: no panic, no endless loop, and no run without a command.
        #[test]
        fn every_command_line_has_an_answer(picked in proptest::collection::vec(0..WORDS.len(), 0..8)) {
            let words: Vec<OsString> = picked.iter().map(|at| OsString::from_vec(WORDS[*at].to_vec())).collect();
            let all: Vec<OsString> = std::iter::once("graceful".into()).chain(words).collect();
            let plain = plain_run(&all).map(<[_]>::to_vec);
            match parse(&all) {
                Ok(Invocation::Run { settings, command }) => {
                    assert!(!settings.problems.is_empty() || !command.is_empty());
                    assert!(plain.is_none_or(|plain| plain == command && settings == Settings::default()));
                    let surroundings = crate::config::Environment {
                        environment: Vec::new(),
                        cwd: "/".into(),
                        pid: 7,
                        https: true,
                        foreign: false,
                        above: None,
                    };
                    let had_problems = !settings.problems.is_empty();
                    let loaded = crate::config::load(settings, command, &surroundings);
                    assert!(!(had_problems && loaded.is_ok()));
                }
                Err(EarlyExit::Problems(problems)) => assert!(!problems.is_empty()),
                Ok(_) | Err(_) => assert!(plain.is_none()),
            }
        }
    }

    /// Words that mean something somewhere, and some that never do.
    const WORDS: &[&[u8]] = &[
        b"run",
        b"drill",
        b"plan",
        b"demo-app",
        b"--demo",
        b"--demo=hangs",
        b"--bare",
        b"--rate",
        b"--format",
        b"--expect=p99, p99",
        b"-q",
        b"probe",
        b"reload",
        b"status",
        b"install",
        b"sleep",
        b"completions",
        b"--",
        b"-",
        b"",
        b"-h",
        b"-V",
        b"-x",
        b"-hx",
        b"-5s",
        b"--=",
        b"--x=y",
        b"---",
        b"--hold",
        b"--hold=never",
        b"--hold=",
        b"--help=x",
        b"--timeout",
        b"--grace-period",
        b"5s",
        b"0s",
        b"5",
        b"--hook",
        b"pre-stop=x",
        b"--check",
        b"x=exec:y",
        b"--probe-listen",
        b":0",
        b"=",
        b":",
        b"--rewrite",
        b"HUP:0",
        b"--config",
        b"--report=",
        b"--control",
        b"--output",
        b"/x",
        b"--no-such=1",
        b"bash",
        b"http://h/",
        b"http://\xc3\xa9/",
        b"\xff",
        b"--\xff",
        b"-\xff",
        b"--\xff=\xff",
        b"--hold=\xff",
        b"app",
        b"a b\n",
    ];

    #[test]
    fn completions_know_every_option_and_the_words_it_takes() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let script = completions(shell);
            for spec in crate::config::options::OPTIONS {
                assert!(script.contains(spec.name), "{shell}: {}", spec.name);
            }
        }
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            assert!(completions(shell).contains("debug"), "{shell}");
        }
    }

    #[test]
    fn clap_finds_no_fault_with_its_commands() {
        help::tree().debug_assert();
        describe::run_tokens().debug_assert();
        describe::dressed(subcommands::DemoAppOptions::command()).debug_assert();
    }
}

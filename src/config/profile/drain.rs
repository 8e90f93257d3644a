//! How long a server waits for its own requests or jobs, and whether the budget has that time.
//!
//! The server's own order is followed: its command line, its variable, its configuration file, its default. Files are
//! only looked at for a server that is known, before it starts: regular, small, and by lines. They are read, never run,
//! so that what a gunicorn.conf.py computes is not known. Where nothing is known, nothing is said.

use super::Profile;
use crate::config::values;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// In bytes. A larger file is not a server's configuration.
const LARGEST: u64 = 64 * 1024;

/// The server's own limit for its graceful stop.
#[derive(Debug)]
pub(super) struct OwnDrain {
    /// Options of its command line that set it; the first names it.
    pub(super) options: &'static [&'static str],
    /// A variable that sets it.
    pub(super) variable: Option<&'static str>,
    /// Where its configuration file has it.
    pub(super) file: Option<OwnFile>,
    /// The limit if nothing sets it.
    pub(super) default: Limit,
    /// The unit of a number that has none.
    pub(super) unit: Duration,
}

impl OwnDrain {
    /// A limit that nothing sets.
    pub(super) const NONE: OwnDrain =
        OwnDrain { options: &[], variable: None, file: None, default: Limit::Never, unit: Duration::from_secs(1) };
}

/// A configuration file of `KEY = VALUE`, `KEY: VALUE` or `KEY VALUE` lines.
#[derive(Debug)]
pub(super) struct OwnFile {
    /// Options of its command line that name it.
    pub(super) options: &'static [&'static str],
    /// A word of its command line that ends like this names it, as in `uwsgi app.ini`.
    pub(super) suffix: Option<&'static str>,
    /// Where it is otherwise, the first that is there.
    pub(super) paths: &'static [&'static str],
    /// Any of these; the last line counts.
    pub(super) keys: &'static [&'static str],
}

/// How long it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    /// At most this many seconds.
    Seconds(u64),
    /// As long as it takes.
    Never,
}

/// The limit that was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DetectedDrain {
    pub(super) limit: Duration,
    /// What sets it, as an option, a variable or a file with its key.
    pub(super) place: String,
    /// Whether somebody set it; otherwise it is the server's default.
    pub(super) is_set: bool,
}

/// What surrounds the server that is to be started.
pub(crate) struct Around<'a> {
    pub(crate) cwd: &'a Path,
    pub(crate) variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// Whether the files of this machine are the server's.
    pub(crate) files: bool,
}

/// How long this server waits, and what sets that; `None` if it waits for ever or nothing is known.
pub(super) fn find(profile: &Profile, command: &[OsString], around: &Around<'_>) -> Option<DetectedDrain> {
    let own = profile.drain.as_ref()?;
    let set = |place: String, text: &str| Some(DetectedDrain { limit: duration(text, own.unit)?, place, is_set: true });
    let words: Vec<&str> = command.iter().filter_map(|word| word.to_str()).collect();
    if let Some((option, text)) = own.options.iter().find_map(|option| Some((option, value_of(&words, option)?))) {
        return set((*option).to_owned(), text);
    }
    if let Some((name, text)) = own.variable.and_then(|name| Some((name, (around.variable)(name)?))) {
        return set(name.to_owned(), text.to_str()?);
    }
    let file = own.file.as_ref().filter(|_| around.files);
    if let Some((path, key, text)) = file.and_then(|file| in_file(file, &words, around.cwd)) {
        return set(format!("{key} in {path}"), &text);
    }
    match own.default {
        Limit::Seconds(seconds) => {
            let place = own.options.first().or(own.file.as_ref().and_then(|file| file.keys.first()));
            Some(DetectedDrain {
                limit: Duration::from_secs(seconds),
                place: place.map_or("its default".to_owned(), |place| format!("the default of {place}")),
                is_set: false,
            })
        }
        Limit::Never => None,
    }
}

/// Why the server's own limit does not fit the time that it has before SIGKILL; `None` if it does, or is not known.
pub(super) fn misfit(profile: &Profile, found: &DetectedDrain, time: Duration) -> Option<String> {
    (found.limit > time).then(|| {
        format!(
            "{} gives its {} up to {} ({}), and SIGKILL comes {} after its stop signal: lower it, or raise \
             --grace-period",
            profile.name,
            if profile.delay.is_some() { "jobs" } else { "requests" },
            values::show(found.limit),
            found.place,
            values::show(time),
        )
    })
}

/// `--option 5`, `--option=5`; of a short one `-t5`, too.
fn value_of<'a>(words: &[&'a str], option: &str) -> Option<&'a str> {
    words.iter().enumerate().find_map(|(at, word)| match word.strip_prefix(option)? {
        "" => words.get(at + 1).copied(),
        rest if option.len() == 2 && !rest.starts_with('=') => Some(rest),
        rest => rest.strip_prefix('='),
    })
}

/// `30`, `30s`, `1.5`, `500ms`, `5min`.
fn duration(text: &str, unit: Duration) -> Option<Duration> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: f64 = digits.parse().ok()?;
    let unit = match text.get(digits.len()..)? {
        "" => unit.as_secs_f64(),
        "s" | "sec" | "seconds" => 1.0,
        "ms" => 0.001,
        "m" | "min" | "minutes" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number * unit).ok()
}

/// The path, the key and the value of the last line that has one of the keys.
fn in_file<'a>(file: &'a OwnFile, words: &[&'a str], cwd: &Path) -> Option<(&'a str, &'static str, String)> {
    let by_suffix = || file.suffix.and_then(|suffix| words.iter().skip(1).find(|word| word.ends_with(suffix)).copied());
    let named = file.options.iter().find_map(|option| value_of(words, option)).or_else(by_suffix);
    let paths = named.as_slice().iter().chain(if named.is_none() { file.paths } else { &[] });
    let (path, text) = paths.copied().find_map(|path| {
        let path = path.strip_prefix("file:").unwrap_or(path);
        Some((path, read(&cwd.join(path))?))
    })?;
    let (key, value) = text.lines().rev().find_map(|line| {
        let key = file.keys.iter().find(|key| in_line(line, key).is_some())?;
        Some((*key, in_line(line, key)?.to_owned()))
    })?;
    Some((path, key, value))
}

/// The text of a small regular file.
fn read(path: &Path) -> Option<String> {
    // A FIFO would wait for its writer.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path).ok()?;
    let found = file.metadata().ok()?;
    if !found.is_file() || found.len() > LARGEST {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes).ok()?;
    String::from_utf8(bytes).ok()
}

/// The value that this line gives the key: one word.
fn in_line<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let rest = line.trim_start().trim_start_matches([':', '"']).strip_prefix(key)?;
    let value = rest.trim_start_matches('"').trim_start_matches([' ', '\t', '=', ':', '(', '"', '\'']);
    if value.len() == rest.len() {
        return None;
    }
    let end = value.find([' ', '\t', ';', '#', ',', ')', '"', '\'']).unwrap_or(value.len());
    value.get(..end).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::by_name;
    use super::*;

    fn argv(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    fn found(name: &str, line: &str, cwd: &Path, variables: &[(&str, &str)]) -> Option<(u64, String, bool)> {
        let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        let around = Around { cwd, variable: &variable, files: true };
        let found = find(by_name(name).unwrap(), &argv(line), &around)?;
        Some((found.limit.as_secs(), found.place, found.is_set))
    }

    #[test]
    fn the_command_line_wins_over_the_variable_over_the_file_over_the_default() {
        let dir = tempfile::tempdir().unwrap();
        let find = |line: &str, variables: &[(&str, &str)]| found("gunicorn", line, dir.path(), variables);
        assert_eq!(find("gunicorn a", &[]), Some((30, "the default of --graceful-timeout".into(), false)));
        std::fs::write(dir.path().join("gunicorn.conf.py"), "# graceful_timeout = 1\ngraceful_timeout = 70 # s\n")
            .unwrap();
        assert_eq!(find("gunicorn a", &[]), Some((70, "graceful_timeout in gunicorn.conf.py".into(), true)));
        assert_eq!(find("gunicorn -c other.py a", &[]), Some((30, "the default of --graceful-timeout".into(), false)));
        std::fs::write(dir.path().join("other.py"), "graceful_timeout=int(os.environ['X'])\n").unwrap();
        assert_eq!(find("gunicorn -c file:other.py a", &[]), None, "computed: not known");
        assert_eq!(find("gunicorn --graceful-timeout 5 a", &[]), Some((5, "--graceful-timeout".into(), true)));
        assert_eq!(find("gunicorn --graceful-timeout=6 a", &[]), Some((6, "--graceful-timeout".into(), true)));
        let find = |line: &str, variables: &[(&str, &str)]| found("uvicorn", line, dir.path(), variables);
        assert_eq!(find("uvicorn a", &[]), None, "for ever");
        let variable = "UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN";
        assert_eq!(find("uvicorn a", &[(variable, "9")]), Some((9, variable.into(), true)));
    }

    #[test]
    fn only_a_small_regular_file_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, "a").unwrap();
        assert_eq!(read(&path), Some("a".into()));
        std::fs::write(&path, vec![b'a'; LARGEST as usize + 1]).unwrap();
        assert_eq!((read(&path), read(dir.path())), (None, None));
        nix::unistd::mkfifo(&dir.path().join("f"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(read(&dir.path().join("f")), None);
    }

    #[test]
    fn a_line_of_any_of_the_formats() {
        for (line, key, value) in [
            ("graceful_timeout = 30", "graceful_timeout", Some("30")),
            ("  worker_shutdown_timeout 10s;", "worker_shutdown_timeout", Some("10s")),
            (":timeout: 25", "timeout", Some("25")),
            ("\"timeout\": 25,", "timeout", Some("25")),
            ("stopwaitsecs=600 ; long", "stopwaitsecs", Some("600")),
            ("worker_shutdown_timeout(5)", "worker_shutdown_timeout", Some("5")),
            ("graceful_timeouts = 30", "graceful_timeout", None),
            ("# graceful_timeout = 30", "graceful_timeout", None),
            ("graceful_timeout", "graceful_timeout", None),
        ] {
            assert_eq!(in_line(line, key), value, "{line}");
        }
        let seconds = |text: &str| duration(text, Duration::from_secs(1));
        assert_eq!(duration("1500", Duration::from_millis(1)), Some(Duration::from_millis(1500)));
        for (text, millis) in
            [("30", Some(30_000)), ("1.5s", Some(1_500)), ("200ms", Some(200)), ("2min", Some(120_000))]
        {
            assert_eq!(seconds(text).map(|found| found.as_millis()), millis, "{text}");
        }
        assert_eq!((seconds("-1"), seconds("x"), seconds("5 apples"), seconds("")), (None, None, None, None));
    }
}

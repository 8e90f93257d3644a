//! `--profile`: what is right for a known server where nothing else was said, and what is known not to fit.
//!
//! One table. A profile changes nothing that was given explicitly, and never the exit status. `auto` names the server by
//! the command line: the executable, the script that an interpreter runs, the module of `python -m`. It is a guess, and
//! is said; where it finds nothing it changes nothing.
//!
//! Sources: the servers' own documents on signals, and what tests/profiles_*.rs see them do.

use super::suggest::did_you_mean;
use super::values;
use crate::signal::Signal;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// A server that is known.
#[derive(Debug)]
pub(crate) struct Profile {
    /// As `--profile` takes it.
    pub(crate) name: &'static str,
    /// The signal on which it ends its requests; `None`: the one received is right.
    pub(crate) stop_signal: Option<Signal>,
    /// What to know of it.
    pub(crate) advice: &'static str,
    /// Executables, scripts or modules that are it.
    programs: &'static [&'static str],
    /// Where its own timeout stands on the command line.
    timeout: Option<OwnTimeout>,
}

/// The server's own limit for its graceful stop.
#[derive(Debug)]
struct OwnTimeout {
    /// Options that set it, in seconds.
    options: &'static [&'static str],
    /// In seconds, where none is given; `None` is no limit.
    default: Option<u64>,
}

/// In the order of `--profile list`.
pub(crate) static PROFILES: &[Profile] = &[
    Profile {
        name: "uvicorn",
        stop_signal: Some(Signal::TERM),
        advice: "without --workers a clean stop ends with 143: --success-exit-status 143; --timeout-graceful-shutdown \
                 bounds its drain",
        programs: &["uvicorn", "fastapi"],
        timeout: Some(OwnTimeout { options: &["--timeout-graceful-shutdown"], default: None }),
    },
    Profile {
        name: "gunicorn",
        stop_signal: Some(Signal::TERM),
        advice: "INT and QUIT drop the requests of sync workers, and uvicorn workers do not end on them; a sync worker \
                 loses its backlog, which the hold waits for",
        programs: &["gunicorn"],
        timeout: Some(OwnTimeout { options: &["--graceful-timeout"], default: Some(30) }),
    },
    Profile {
        name: "hypercorn",
        stop_signal: Some(Signal::TERM),
        advice: "--graceful-timeout (3 s) bounds its drain",
        programs: &["hypercorn"],
        timeout: Some(OwnTimeout { options: &["--graceful-timeout"], default: Some(3) }),
    },
    Profile {
        name: "flask",
        stop_signal: Some(Signal::TERM),
        advice: "the development server ends at once on SIGTERM: only the delay and the hold save its requests",
        programs: &["flask"],
        timeout: None,
    },
    Profile {
        name: "django",
        stop_signal: Some(Signal::TERM),
        advice: "the development server ends at once on SIGTERM: only the delay and the hold save its requests",
        programs: &["manage.py", "django-admin", "django"],
        timeout: None,
    },
    Profile {
        name: "celery",
        stop_signal: Some(Signal::TERM),
        advice: "ends when its tasks are done, however long they take (QUIT drops them): the grace period must be longer \
                 than the longest task",
        programs: &["celery"],
        timeout: None,
    },
    Profile {
        name: "node",
        stop_signal: Some(Signal::TERM),
        advice: "has no handler of its own, and npm and yarn swallow the signal: start node itself",
        programs: &["node", "nodejs", "npm", "yarn", "pnpm"],
        timeout: None,
    },
    Profile {
        name: "go",
        stop_signal: Some(Signal::TERM),
        advice: "without http.Server.Shutdown only the delay and the hold save its requests",
        programs: &[],
        timeout: None,
    },
    Profile {
        name: "nginx",
        stop_signal: Some(Signal::QUIT),
        advice: "TERM and INT drop requests; worker_shutdown_timeout bounds its drain",
        programs: &["nginx"],
        timeout: None,
    },
    Profile {
        name: "httpd",
        stop_signal: Some(Signal::WINCH),
        advice: "TERM drops requests; GracefulShutdownTimeout (0: for ever), and some 10 s more, bounds its drain",
        programs: &["httpd", "apache2", "apachectl", "apache2ctl", "httpd-foreground", "apache2-foreground"],
        timeout: None,
    },
    Profile {
        name: "php-fpm",
        stop_signal: Some(Signal::QUIT),
        advice: "QUIT is only graceful with process_control_timeout set: its default, 0, drops requests",
        programs: &["php-fpm"],
        timeout: None,
    },
    Profile {
        name: "puma",
        stop_signal: Some(Signal::TERM),
        advice: "a clean stop ends with 143: --success-exit-status 143; worker_shutdown_timeout (30 s) bounds a \
                 cluster's drain, and only force_shutdown_after that of a single process",
        programs: &["puma"],
        timeout: None,
    },
    Profile {
        name: "unicorn",
        stop_signal: Some(Signal::QUIT),
        advice: "TERM and INT drop requests; timeout (60 s) bounds its drain",
        programs: &["unicorn", "unicorn_rails"],
        timeout: None,
    },
    Profile {
        name: "jvm",
        stop_signal: Some(Signal::TERM),
        advice: "a clean stop ends with 143: --success-exit-status 143; Spring Boot needs server.shutdown=graceful, and \
                 spring.lifecycle.timeout-per-shutdown-phase (30 s) bounds its drain",
        programs: &["java"],
        timeout: None,
    },
    Profile {
        name: "haproxy",
        stop_signal: Some(Signal::USR1),
        advice: "TERM drops requests; hard-stop-after bounds its drain",
        programs: &["haproxy"],
        timeout: None,
    },
    Profile {
        name: "caddy",
        stop_signal: Some(Signal::TERM),
        advice: "grace_period (0: for ever) bounds its drain",
        programs: &["caddy"],
        timeout: None,
    },
    Profile {
        name: "postgres",
        stop_signal: Some(Signal::INT),
        advice: "INT ends sessions and rolls back; TERM waits for every session to go by itself",
        programs: &["postgres", "postmaster"],
        timeout: None,
    },
    Profile {
        name: "redis",
        stop_signal: Some(Signal::TERM),
        advice: "saves if save points are set; shutdown-timeout (10 s) bounds the wait for replicas",
        programs: &["redis-server", "valkey-server"],
        timeout: None,
    },
];

/// `--profile`, but for `list`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// By the command line.
    Auto,
    /// This one, by its place in the table.
    Named(&'static str),
}

/// `--profile`.
pub(crate) fn parse(text: &str) -> Result<Choice, values::Reason> {
    let text = text.trim();
    let names = || PROFILES.iter().map(|profile| profile.name).chain(["auto", "list"]);
    match names().find(|name| *name == text) {
        Some("auto") => Ok(Choice::Auto),
        Some("list") => Err("prints the table by itself: graceful run --profile list".into()),
        Some(name) => Ok(Choice::Named(name)),
        None => {
            let hint = did_you_mean(text, names(), str::to_owned);
            Err(format!("unknown server; right is {}{hint}", names().collect::<Vec<_>>().join(", ")))
        }
    }
}

/// What the choice comes to for this command: the profile, and how it was found.
pub(crate) fn choose(choice: Choice, command: &[OsString]) -> Option<(&'static Profile, String)> {
    match choice {
        Choice::Named(name) => by_name(name).map(|profile| (profile, String::new())),
        Choice::Auto => detect(command).map(|(profile, word)| (profile, format!(", by {word:?} in the command line"))),
    }
}

/// The profile of this name.
pub(crate) fn by_name(name: &str) -> Option<&'static Profile> {
    PROFILES.iter().find(|profile| profile.name == name)
}

/// The profile of the server that this command line starts, and the word that tells.
pub(crate) fn detect(command: &[OsString]) -> Option<(&'static Profile, String)> {
    words(command).into_iter().find_map(|word| {
        let known = |profile: &&Profile| profile.programs.iter().any(|program| is(&word, program));
        PROFILES.iter().find(known).map(|profile| (profile, word.clone()))
    })
}

/// What may name the server, the most telling first: a script or a module says more than its interpreter.
fn words(command: &[OsString]) -> Vec<String> {
    let names: Vec<String> = command.iter().map(base_name).collect();
    let Some(program) = names.first() else { return Vec::new() };
    let mut found = Vec::new();
    if is_interpreter(program) {
        let mut rest = command.iter().zip(&names).skip(1);
        while let Some((word, name)) = rest.next() {
            match word.to_str() {
                Some("-m") => {
                    found.extend(rest.next().and_then(|(module, _)| module.to_str()).and_then(first_part));
                    break;
                }
                // What follows is code, not the name of anything.
                Some("-c" | "-e") => break,
                Some(option) if option.starts_with('-') => {}
                // `bundle exec puma`, `poetry run gunicorn`, `env A=B uvicorn`
                Some("exec" | "run") => {}
                Some(variable) if variable.contains('=') => {}
                _ => {
                    found.push(name.clone());
                    break;
                }
            }
        }
    }
    found.push(program.clone());
    found
}

fn base_name(word: &OsString) -> String {
    Path::new(word).file_name().unwrap_or(word).to_string_lossy().into_owned()
}

/// `uvicorn.main` is uvicorn.
fn first_part(module: &str) -> Option<String> {
    module.split('.').next().map(str::to_owned)
}

fn is_interpreter(program: &str) -> bool {
    ["python", "ruby", "bundle", "uv", "poetry", "pipenv", "env", "exec"].iter().any(|name| is(program, name))
}

/// `python3.12`, `php-fpm8.2` and `postgres` are python, php-fpm and postgres; `pythonista` is not.
fn is(word: &str, program: &str) -> bool {
    word.strip_prefix(program).is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
}

/// Why the server's own timeout does not fit the time that it has before SIGKILL; none if it does, or is not known.
pub(crate) fn misfit(profile: &Profile, command: &[OsString], time: Duration) -> Option<String> {
    let own = profile.timeout.as_ref()?;
    let (given, seconds) = match own.options.iter().find_map(|option| value_of(command, option)) {
        Some((option, seconds)) => (Some(option), Some(seconds)),
        None => (None, own.default),
    };
    let option = given.as_deref().or(own.options.first().copied())?;
    let (name, time_left) = (profile.name, values::show(time));
    match seconds {
        Some(seconds) if Duration::from_secs(seconds) > time => Some(format!(
            "{name} ends its requests after {seconds} s ({option}{}), and SIGKILL comes {time_left} after its signal: \
             lower it, or raise --grace-period",
            if given.is_some() { "" } else { ", its default where nothing else sets it" },
        )),
        Some(_) => None,
        None => Some(format!(
            "{name} waits for its requests for ever where nothing sets {option}, and SIGKILL comes {time_left} after \
             its signal: give it a time",
        )),
    }
}

/// `--option 5`, `--option=5`.
fn value_of(command: &[OsString], option: &str) -> Option<(String, u64)> {
    let words: Vec<&str> = command.iter().filter_map(|word| word.to_str()).collect();
    let text = words.iter().enumerate().find_map(|(at, word)| match word.strip_prefix(option)? {
        "" => words.get(at + 1).copied(),
        rest => rest.strip_prefix('='),
    })?;
    Some((option.to_owned(), text.parse().ok()?))
}

/// `--profile list`.
pub(crate) fn table() -> String {
    let mut text = format!("{:<10} {:<8} {}\n", "profile", "signal", "to know");
    for profile in PROFILES {
        let signal = profile.stop_signal.map_or("as sent".to_owned(), |signal| signal.to_string());
        text.push_str(&format!("{:<10} {signal:<8} {}\n", profile.name, profile.advice));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    fn detected(line: &str) -> &'static str {
        detect(&argv(line)).map_or("", |(profile, _)| profile.name)
    }

    #[test]
    fn a_server_is_known_by_its_command_line() {
        for (line, name) in [
            ("uvicorn app:app", "uvicorn"),
            ("/usr/local/bin/gunicorn -k uvicorn.workers.UvicornWorker app:app", "gunicorn"),
            ("python3.12 -m uvicorn app:app", "uvicorn"),
            ("python -u -m flask run", "flask"),
            ("/venv/bin/python /venv/bin/celery -A app worker", "celery"),
            ("python manage.py runserver", "django"),
            ("python server.py", ""),
            ("python -c import-flask flask", ""),
            ("node server.js", "node"),
            ("npm start", "node"),
            ("nginx -g daemon-off;", "nginx"),
            ("php-fpm8.2 -F", "php-fpm"),
            ("/usr/sbin/apache2 -DFOREGROUND", "httpd"),
            ("bundle exec puma -C config.rb", "puma"),
            ("poetry run gunicorn app:app", "gunicorn"),
            ("env A=b /bin/uvicorn app:app", "uvicorn"),
            ("java -jar app.jar", "jvm"),
            ("redis-server /etc/redis.conf", "redis"),
            ("nginxy", ""),
            ("./server", ""),
        ] {
            assert_eq!(detected(line), name, "{line}");
        }
    }

    #[test]
    fn every_profile_has_its_own_name_and_fits_the_table() {
        let mut names: Vec<&str> = PROFILES.iter().map(|profile| profile.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PROFILES.len());
        for profile in PROFILES {
            assert!(!profile.advice.contains("  ") && !profile.advice.ends_with('.'), "{}", profile.name);
            assert!(table().contains(profile.advice));
        }
    }

    #[test]
    fn a_timeout_that_does_not_fit_is_told() {
        let gunicorn = by_name("gunicorn").unwrap();
        let time = Duration::from_secs(24);
        let why = misfit(gunicorn, &argv("gunicorn app:app"), time).unwrap();
        assert!(
            why.contains("after 30 s (--graceful-timeout, its default where nothing else sets it)")
                && why.contains("24s after"),
            "{why}"
        );
        assert_eq!(misfit(gunicorn, &argv("gunicorn --graceful-timeout 20 app:app"), time), None);
        let why = misfit(gunicorn, &argv("gunicorn --graceful-timeout=60 app:app"), time).unwrap();
        assert!(why.contains("after 60 s (--graceful-timeout)"), "{why}");
        let uvicorn = by_name("uvicorn").unwrap();
        assert!(misfit(uvicorn, &argv("uvicorn app:app"), time).unwrap().contains("for ever"));
        assert_eq!(misfit(uvicorn, &argv("uvicorn app:app --timeout-graceful-shutdown 9"), time), None);
        assert_eq!(misfit(by_name("node").unwrap(), &argv("node x"), time), None);
    }
}

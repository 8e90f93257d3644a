//! Which server a command line starts. Pure: words only, no file is looked at.
//!
//! What stands before the server is walked through word by word, as long as it is known to lead to the server: programs
//! that change something and then execute their arguments (`env`, `setpriv`, `gosu`, `nice`), inits (`tini`), tools
//! that run a command in an environment (`poetry run`, `bundle exec`), interpreters with a script or a module, shells
//! with one simple command, and the entrypoint scripts of images, which end in `exec "$@"`. Anything else ends the
//! walk: a wrong guess would be worse than none.

use super::{Profile, Program, all};
use std::ffi::OsString;

/// The server that was found in a command line.
#[derive(Debug)]
pub(crate) struct DetectedServer {
    pub(crate) profile: &'static Profile,
    /// The word that tells.
    pub(crate) word: String,
    /// What follows it: the server's own arguments.
    pub(crate) args: Vec<String>,
}

/// A program that executes its arguments.
struct Wrapper {
    name: &'static str,
    /// Its options whose value is the next word.
    values: &'static [&'static str],
    /// This many words of its own come before the command: a user, a priority, a duration.
    own: usize,
    /// One of these must come before the command: `bundle exec`.
    subcommand: &'static [&'static str],
}

const fn wrapper(name: &'static str, values: &'static [&'static str], own: usize) -> Wrapper {
    Wrapper { name, values, own, subcommand: &[] }
}

const fn runner(name: &'static str, subcommand: &'static [&'static str], values: &'static [&'static str]) -> Wrapper {
    Wrapper { name, values, own: 0, subcommand }
}

static WRAPPERS: &[Wrapper] = &[
    // Who it runs as, and with what.
    wrapper("env", &["-u", "--unset", "-C", "--chdir", "-a", "--argv0"], 0),
    wrapper("exec", &["-a"], 0),
    wrapper(
        "setpriv",
        &[
            "--ambient-caps",
            "--inh-caps",
            "--bounding-set",
            "--securebits",
            "--pdeathsig",
            "--ptracer",
            "--ruid",
            "--euid",
            "--reuid",
            "--rgid",
            "--egid",
            "--regid",
            "--groups",
            "--selinux-label",
            "--apparmor-profile",
            "--landlock-access",
            "--landlock-rule",
            "--seccomp-filter",
        ],
        0,
    ),
    wrapper("gosu", &[], 1),
    wrapper("su-exec", &[], 1),
    wrapper("setuser", &[], 1),
    wrapper("s6-setuidgid", &[], 1),
    wrapper("setuidgid", &[], 1),
    wrapper(
        "chpst",
        &["-u", "-U", "-b", "-e", "-/", "-n", "-l", "-L", "-m", "-d", "-o", "-p", "-f", "-c", "-t", "-C"],
        0,
    ),
    wrapper("runuser", &["-u", "--user", "-g", "--group", "-G", "--supp-group", "-w", "--whitelist-environment"], 0),
    wrapper(
        "sudo",
        &["-u", "--user", "-g", "--group", "-D", "--chdir", "-R", "--chroot", "-C", "-p", "-r", "-t", "-T", "-h"],
        0,
    ),
    wrapper("doas", &["-u", "-C"], 0),
    // Inits.
    wrapper("tini", &["-p", "-e"], 0),
    wrapper("docker-init", &["-p", "-e"], 0),
    wrapper("tini-static", &["-p", "-e"], 0),
    wrapper("dumb-init", &["-r", "--rewrite"], 0),
    wrapper("catatonit", &[], 0),
    wrapper("with-contenv", &[], 0),
    // How it runs.
    wrapper("nice", &["-n", "--adjustment"], 0),
    wrapper("ionice", &["-c", "--class", "-n", "--classdata"], 0),
    wrapper("chrt", &["-T", "-P", "-D"], 1),
    wrapper("taskset", &[], 1),
    wrapper("numactl", &["-C", "-N", "-m", "-p", "-i"], 0),
    wrapper("prlimit", &[], 0),
    wrapper("timeout", &["-s", "--signal", "-k", "--kill-after"], 1),
    wrapper("stdbuf", &["-i", "--input", "-o", "--output", "-e", "--error"], 0),
    wrapper("chroot", &[], 1),
    wrapper("nohup", &[], 0),
    wrapper("setsid", &[], 0),
    wrapper("time", &["-f", "--format", "-o", "--output"], 0),
    // What runs a command in an environment of its own, or watches it.
    runner("bundle", &["exec"], &[]),
    runner("poetry", &["run"], &["-C", "--directory", "-P", "--project"]),
    runner(
        "uv",
        &["run"],
        &[
            "--with",
            "--python",
            "-p",
            "--project",
            "--directory",
            "--package",
            "--extra",
            "--group",
            "--env-file",
            "--index",
        ],
    ),
    runner("pipenv", &["run"], &[]),
    runner("pdm", &["run"], &["-p", "--project", "--venv"]),
    runner("rye", &["run"], &[]),
    runner("hatch", &["run"], &["-e", "--env"]),
    runner("conda", &["run"], &["-n", "--name", "-p", "--prefix", "--cwd"]),
    runner("micromamba", &["run"], &["-n", "--name", "-p", "--prefix", "--cwd"]),
    runner("dotenv", &["run"], &["-f", "--file", "-q", "--quote", "-e", "--export"]),
    runner("doppler", &["run"], &["-p", "--project", "-c", "--config", "-t", "--token"]),
    runner("newrelic-admin", &["run-program"], &[]),
    wrapper("ddtrace-run", &[], 0),
    wrapper(
        "opentelemetry-instrument",
        &["--traces_exporter", "--metrics_exporter", "--logs_exporter", "--service_name"],
        0,
    ),
];

static SHELLS: &[&str] = &["sh", "bash", "ash", "dash"];
/// What comes before the text that a shell, su or runuser runs.
static TEXT: &[&str] = &["-c", "-lc", "-ec", "-exc", "-euc", "--command"];

/// An interpreter whose first argument that is not an option is the script.
struct Interpreter {
    name: &'static str,
    /// Options whose value is the next word.
    values: &'static [&'static str],
    /// The next word is the name of a module.
    module: Option<&'static str>,
    /// What follows is code, not the name of anything.
    code: &'static [&'static str],
}

static INTERPRETERS: &[Interpreter] = &[
    Interpreter { name: "python", values: &["-W", "-X"], module: Some("-m"), code: &["-c", "-"] },
    Interpreter { name: "pypy", values: &["-W", "-X"], module: Some("-m"), code: &["-c", "-"] },
    Interpreter { name: "ruby", values: &["-C", "-E", "-I", "-r"], module: Some("-S"), code: &["-e", "-"] },
    Interpreter { name: "php", values: &["-c", "-d", "-z"], module: None, code: &["-r", "-B", "-R", "-a"] },
];

/// Deeper than anybody nests them.
const DEEPEST: usize = 12;

/// The server that this command line starts.
pub(crate) fn detect(command: &[OsString]) -> Option<DetectedServer> {
    // A word that is not UTF-8 is no known name.
    let words: Vec<&str> = command.iter().map(|word| word.to_str().unwrap_or_default()).collect();
    walk(&words, DEEPEST)
}

fn walk(words: &[&str], depth: usize) -> Option<DetectedServer> {
    let (program, rest) = words.split_first()?;
    let depth = depth.checked_sub(1)?;
    let name = base_name(program);
    if let Some(found) = server(name, rest) {
        return Some(found);
    }
    if SHELLS.contains(&name) || ["su", "runuser"].contains(&name) {
        let text = rest.iter().position(|word| TEXT.contains(word)).map(|at| rest.get(at + 1));
        match text {
            Some(text) => return walk(&simple(text?)?, depth),
            None if name == "runuser" => {}
            None => return None,
        }
    }
    if let Some(wrapper) = WRAPPERS.iter().find(|wrapper| wrapper.name == name) {
        return walk(behind(wrapper, rest)?, depth);
    }
    if let Some(interpreter) = INTERPRETERS.iter().find(|interpreter| is(name, interpreter.name)) {
        let (script, rest) = script(interpreter, rest)?;
        return server(&script, rest);
    }
    // The entrypoint scripts of images: docker-entrypoint.sh, docker-php-entrypoint, entrypoint.sh.
    if name.contains("entrypoint") { walk(rest, depth) } else { None }
}

/// The profile of this program.
fn server(name: &str, rest: &[&str]) -> Option<DetectedServer> {
    let fits = |program: &Program| {
        is(name, program.name) && (program.with.is_empty() || rest.iter().any(|word| program.with.contains(word)))
    };
    let profile = all().find(|profile| profile.known_by.iter().any(fits))?;
    Some(DetectedServer { profile, word: name.to_owned(), args: rest.iter().map(|word| (*word).to_owned()).collect() })
}

/// The command that this wrapper executes.
fn behind<'a, 'b>(wrapper: &Wrapper, words: &'b [&'a str]) -> Option<&'b [&'a str]> {
    let (mut own, mut subcommand) = (wrapper.own, !wrapper.subcommand.is_empty());
    let mut at = 0;
    while let Some(word) = words.get(at) {
        if *word == "--" && !subcommand {
            // `gosu USER -- x` is not how it is called: words of its own come before.
            return words.get(at + 1..).filter(|_| own == 0);
        }
        if word.starts_with('-') && word.len() > 1 {
            at += if wrapper.values.contains(word) { 2 } else { 1 };
        } else if subcommand {
            if !wrapper.subcommand.contains(word) {
                return None;
            }
            subcommand = false;
            at += 1;
        } else if own > 0 {
            own -= 1;
            at += 1;
        } else if wrapper.name == "env" && word.contains('=') {
            at += 1;
        } else {
            return words.get(at..);
        }
    }
    None
}

/// The name of the script or the module that an interpreter runs, and what follows it.
fn script<'a, 'b>(interpreter: &Interpreter, words: &'b [&'a str]) -> Option<(String, &'b [&'a str])> {
    let mut at = 0;
    while let Some(word) = words.get(at) {
        if interpreter.module == Some(*word) {
            let module = words.get(at + 1)?;
            // `uvicorn.main` is uvicorn; `python -m http.server` is known by its whole name.
            let name = if server(module, &[]).is_some() { module } else { module.split('.').next()? };
            return Some((name.to_owned(), words.get(at + 2..)?));
        }
        if interpreter.code.contains(word) {
            return None;
        }
        if word.starts_with('-') {
            at += if interpreter.values.contains(word) { 2 } else { 1 };
            continue;
        }
        return Some((base_name(word).to_owned(), words.get(at + 1..)?));
    }
    None
}

/// The words of the one simple command that a shell's text ends in: the text itself, or what `exec` at its end runs.
/// `None` if the shell has more to do with it than to split it.
fn simple(text: &str) -> Option<Vec<&str>> {
    let last = text.rsplit(['\n', ';']).map(str::trim).find(|part| !part.is_empty())?;
    let last = last.rsplit("&&").next()?.trim();
    let is_all = last.len() == text.trim().len();
    if !is_all && !last.starts_with("exec ") {
        return None;
    }
    let last = last.strip_suffix("2>&1").unwrap_or(last);
    if last.contains(['|', '&', '(', ')', '`', '<', '>', '{', '}']) {
        return None;
    }
    // `PORT=80 exec x`; quotes stay where they are: the words that tell have none.
    let words: Vec<&str> = last.split_ascii_whitespace().map(|word| word.trim_matches(['"', '\''])).collect();
    let first = words.iter().position(|word| !is_assignment(word))?;
    words.get(first..).map(<[&str]>::to_vec)
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

fn base_name(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

/// `python3.12`, `php-fpm8.2` and `postgres` are python, php-fpm and postgres; `pythonista` is not.
fn is(word: &str, program: &str) -> bool {
    word.strip_prefix(program).is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
}

/// Whether the command is started through util-linux' su or runuser as graceful's child: they give their own child two
/// seconds after SIGTERM, and then kill it (su(1): "the child is terminated").
pub(super) fn through_su(command: &[OsString]) -> Option<&'static str> {
    let name = command.first().and_then(|word| word.to_str()).map(base_name)?;
    ["su", "runuser"].into_iter().find(|known| *known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detected(line: &str) -> &'static str {
        // What stands between tildes is one word.
        let mut words = Vec::new();
        for (at, part) in line.split('~').enumerate() {
            match at % 2 {
                0 => words.extend(part.split_ascii_whitespace().map(OsString::from)),
                _ => words.push(part.into()),
            }
        }
        detect(&words).map_or("", |found| found.profile.name)
    }

    #[track_caller]
    fn are(cases: &[(&str, &str)]) {
        for (line, name) in cases {
            assert_eq!(detected(line), *name, "{line}");
        }
    }

    #[test]
    fn a_server_is_known_by_its_program() {
        are(&[
            ("uvicorn app:app", "uvicorn"),
            ("/usr/local/bin/gunicorn -k uvicorn.workers.UvicornWorker app:app", "gunicorn"),
            ("/usr/sbin/apache2 -DFOREGROUND", "httpd"),
            ("nginx -g daemon-off;", "nginx"),
            ("php-fpm8.2 -F", "php-fpm"),
            ("java -jar app.jar", "jvm"),
            ("redis-server /etc/redis.conf", "redis"),
            ("npm start", "node"),
            ("node server.js", "node"),
            ("nginxy", ""),
            ("./server", ""),
            ("", ""),
        ]);
    }

    #[test]
    fn by_the_script_or_the_module_that_an_interpreter_runs() {
        are(&[
            ("python3.12 -m uvicorn app:app", "uvicorn"),
            ("python -m uvicorn.main app:app", "uvicorn"),
            ("python -u -W ignore -m flask run", "flask"),
            ("/venv/bin/python /venv/bin/celery -A app worker", "celery"),
            ("python manage.py runserver", "django"),
            ("python server.py", ""),
            ("python -c import-flask flask", ""),
            ("python server.py gunicorn", ""),
            ("ruby -S puma", "puma"),
        ]);
    }

    #[test]
    fn through_what_stands_before_it() {
        are(&[
            ("bundle exec puma -C config.rb", "puma"),
            ("bundle install", ""),
            ("poetry run gunicorn app:app", "gunicorn"),
            ("uv run --with x gunicorn app:app", "gunicorn"),
            ("uv run -- python -m uvicorn app:app", "uvicorn"),
            ("pipenv run celery worker", "celery"),
            ("env A=b /bin/uvicorn app:app", "uvicorn"),
            ("env -u HOME -i A=b uvicorn app:app", "uvicorn"),
            ("setpriv --reuid 1 --regid=2 --clear-groups nginx", "nginx"),
            ("gosu postgres postgres -D /data", "postgres"),
            ("gosu nginx ./server", ""),
            ("su-exec redis:redis redis-server", "redis"),
            ("tini -g -- tini -p SIGTERM nginx", "nginx"),
            ("dumb-init --rewrite 15:3 -- nginx", "nginx"),
            ("nice -n 5 ionice -c 2 timeout -k 5 60 stdbuf -oL chroot /x nginx", "nginx"),
            ("taskset 3 chrt -r 5 nohup nginx", "nginx"),
            ("sudo -u web uvicorn app:app", "uvicorn"),
            ("runuser -u web -- uvicorn app:app", "uvicorn"),
            ("su web -c ~uvicorn app:app~", "uvicorn"),
            ("runuser -c ~exec uvicorn app:app~ web", "uvicorn"),
            ("su web", ""),
            ("/docker-entrypoint.sh nginx -g daemon-off;", "nginx"),
            ("docker-php-entrypoint php-fpm", "php-fpm"),
            ("ddtrace-run python -m gunicorn app:app", "gunicorn"),
            ("newrelic-admin run-program gunicorn app:app", "gunicorn"),
            ("env env env env env env env env env env env env env nginx", ""),
        ]);
    }

    #[test]
    fn through_a_shell_that_runs_one_simple_command() {
        are(&[
            ("sh -c ~exec gunicorn -b :$PORT app:app~", "gunicorn"),
            ("bash -lc ~cd /app && exec gunicorn app:app 2>&1~", "gunicorn"),
            ("sh -c ~migrate; exec uvicorn app:app~", "uvicorn"),
            ("sh -c ~A=b exec env C=d 'nginx'~", "nginx"),
            ("sh -c ~nginx -g daemon~", "nginx"),
            ("sh -c ~migrate; nginx~", ""),
            ("sh -c ~nginx & wait~", ""),
            ("sh -c ~exec nginx; ~", "nginx"),
            ("sh -c ~nginx | tee log~", ""),
            ("sh start.sh nginx", ""),
            ("sh -c ~exec $SERVER~", ""),
        ]);
    }

    #[test]
    fn su_is_told_of_where_it_is_the_app() {
        let through = |line: &str| through_su(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert_eq!(through("/bin/su -c server web"), Some("su"));
        assert_eq!(through("runuser -u web server"), Some("runuser"));
        assert_eq!(through("gosu web su"), None);
    }
}

//! Secrets in every place that takes a value, and every output searched for them. They are sent where they belong all the
//! same: the server here knows them by the Authorization header.

use crate::support::run::{Run, ended, folder, shell, wait_for, words};
use crate::support::{DEADLINE, Exit, address, free_port, get, get_json, graceful, graceful_command, signals};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// "amy:" and the password of each path, as [`Server`] wants them: none of them may be seen anywhere.
const PLANTED: &str = "PLANTED";

/// A server that answers every request with 200 and remembers the Authorization of each path.
struct Server {
    port: u16,
    seen: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Server {
    fn start() -> Server {
        let port = free_port();
        let listener = TcpListener::bind(address(port)).unwrap();
        let seen = Arc::new(Mutex::new(BTreeMap::new()));
        let known = Arc::clone(&seen);
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let known = Arc::clone(&known);
                std::thread::spawn(move || serve(stream, &known));
            }
        });
        Server { port, seen }
    }

    /// The Authorization that came with this path.
    fn authorization(&self, path: &str) -> Option<String> {
        self.seen.lock().unwrap().get(path).cloned()
    }
}

fn serve(stream: TcpStream, seen: &Mutex<BTreeMap<String, String>>) -> Option<()> {
    stream.set_read_timeout(Some(DEADLINE)).ok()?;
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    loop {
        let target = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
        let mut authorization = String::new();
        for header in lines.by_ref() {
            let header = header.ok()?;
            match header.split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("authorization") => authorization = value.to_owned(),
                _ if header.is_empty() => break,
                _ => {}
            }
        }
        let path = target.split('?').next()?.to_owned();
        seen.lock().unwrap().insert(path, authorization);
        (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n").ok()?;
    }
}

/// A URL with four secrets; the path is none.
fn url(port: u16, path: &str, number: u32) -> String {
    format!(
        "http://amy{PLANTED}{number}:pw{PLANTED}{number}@127.0.0.1:{port}{path}?token={PLANTED}{number}#{PLANTED}{number}"
    )
}

/// The same as [`url`] for a hook: there the path is one, too.
fn webhook(port: u16, name: &str, number: u32) -> String {
    url(port, &format!("/{name}/{PLANTED}"), number)
}

#[track_caller]
fn holds_none(what: &str, text: &str) {
    let lines: Vec<&str> = text.lines().filter(|line| line.contains(PLANTED)).collect();
    assert!(lines.is_empty(), "{what} shows {} secrets:\n{}\n\nall of it:\n{text}", lines.len(), lines.join("\n"));
}

fn configuration(port: u16) -> String {
    let (ready, hook, check) = (url(port, "/ready", 1), webhook(port, "file", 2), url(port, "/check", 3));
    format!(
        "ready_url = '{ready}'
         ready_interval = '50ms'
         [[hook]]
         stage = 'pre-start'
         run = \"sh -c 'exit 0' {PLANTED}4 TOKEN={PLANTED}5\"
         [[hook]]
         stage = 'post-start'
         run = ['/nonexistent/hook', '--token={PLANTED}6']
         [[hook]]
         stage = 'pre-stop'
         url = '{hook}'
         [[hook]]
         stage = 'pre-stop'
         url = '{hook}'
         [[check]]
         name = 'http'
         target = '{check}'
         interval = '50ms'
         [[check]]
         name = 'exec'
         target = \"exec:sh -c 'exit 3' {PLANTED}7\"
         interval = '50ms'
         [[check]]
         name = 'gone'
         target = 'exec:/nonexistent/check --password {PLANTED}8'
         interval = '50ms'
         [[check]]
         name = 'tcp'
         target = 'tcp://127.0.0.1:{port}'
         send = 'AUTH {PLANTED}9'
         expect = 'OK {PLANTED}10'
         timeout = '50ms'
         interval = '60ms'
         "
    )
}

/// A run with secrets in its file, variables and flags, to its end; everything that it said, by name.
fn run(dependency: u16, format: &str, hold: &str) -> BTreeMap<&'static str, String> {
    let probes = free_port();
    let folder = folder();
    std::fs::write(folder.path().join("graceful.toml"), configuration(dependency)).unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (config, message) = (path("graceful.toml"), path("message"));
    let hook = format!("post-stop={}", webhook(dependency, "flag", 11));
    let check = format!("flag={}", url(dependency, "/flag-check", 12));
    let listen = format!("127.0.0.1:{probes}");
    let options = [
        [
            "--config",
            &config,
            "--log-format",
            format,
            "--log-level",
            "debug",
            "--probe-listen",
            &listen,
            "--hold",
            hold,
        ],
        [
            "--grace-period",
            "60s",
            "--pre-stop-delay",
            "0s",
            "--hold-timeout",
            "500ms",
            "--hook",
            &hook,
            "--check",
            &check,
        ],
    ];
    // The variables reach graceful alone: env is the one that starts it.
    let hooks = format!("post-stop={}\npost-stop=TOKEN={PLANTED}13 x", webhook(dependency, "variable", 14));
    let mut command = graceful_command();
    command.env("GRACEFUL_HOOK", hooks);
    command.env("GRACEFUL_CHECK", format!("variable=exec:curl -H 'Authorization: {PLANTED}15' {}", url(9, "/", 16)));
    command.args(options.concat()).args(["--report", &path("report.json"), "--termination-log", &message, "--"]);
    // The arguments of the app are its own, and none of graceful's business either.
    let app = [shell("exec \"$@\""), words(&[&format!("--{PLANTED}17")]), signals(&["--exit-on", "TERM=3"])].concat();
    let process = crate::support::Proc::spawn_group(command.args(app));
    process.wait_line("ready pid=", DEADLINE);
    wait_for("every check to have been tried", || {
        let page = get_json(probes, "/readyz");
        let checks = page["checks"].as_array().unwrap();
        checks.len() == 6 && checks.iter().all(|check| check["status"] != "unknown")
    });
    let mut said = BTreeMap::new();
    for (name, path) in [
        ("livez", "/livez?verbose"),
        ("readyz", "/readyz?verbose"),
        ("startupz", "/startupz?verbose"),
        ("metrics", "/metrics"),
    ] {
        said.insert(name, get(probes, path, DEADLINE).unwrap().2);
    }
    said.insert("readyz as JSON", get_json(probes, "/readyz").to_string());
    process.signal(libc::SIGTERM);
    // As long as anybody answers: the stop's own hooks are on it for a moment.
    let pages = RefCell::new(String::new());
    wait_for("the end of the probe server", || match get(probes, "/metrics", DEADLINE) {
        Ok((_, _, page)) => {
            pages.borrow_mut().push_str(&page);
            false
        }
        Err(_) => true,
    });
    said.insert("metrics in the stop", pages.take());
    assert_eq!(process.wait(DEADLINE), Exit::Code(3), "{}", process.dump());
    said.insert("log", process.stderr_so_far());
    said.insert("report", std::fs::read_to_string(path("report.json")).unwrap());
    said.insert("message", std::fs::read_to_string(&message).unwrap());
    said
}

#[test]
fn what_is_configured_is_sent_and_never_shown() {
    let server = Server::start();
    let said = run(server.port, "text", &url(server.port, "/hold", 18));
    said.iter().for_each(|(name, text)| holds_none(name, text));
    let log = &said["log"];
    for part in [
        // Scheme, host, port and path are what a person looks for; of a webhook the host.
        &format!("http://…@127.0.0.1:{}/hold?…#…", server.port),
        "pre-stop hook 127.0.0.1 ",
        "pre-stop hook 127.0.0.1 2 ",
        "post-start hook hook failed",
        "post-stop hook TOKEN=… failed",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
    for (path, number) in [
        ("/ready".to_owned(), 1),
        (format!("/file/{PLANTED}"), 2),
        ("/check".to_owned(), 3),
        (format!("/flag/{PLANTED}"), 11),
        ("/flag-check".to_owned(), 12),
        (format!("/variable/{PLANTED}"), 14),
        ("/hold".to_owned(), 18),
    ] {
        assert_eq!(server.authorization(&path), Some(basic(number)), "{path}: {log}");
    }
}

/// RFC 7617, by another hand than graceful's.
fn basic(number: u32) -> String {
    let both = format!("amy{PLANTED}{number}:pw{PLANTED}{number}");
    let script = format!("import base64; print(base64.b64encode(b'{both}').decode())");
    format!("Basic {}", ended(std::process::Command::new(crate::support::python3()).args(["-c", &script])).1.trim())
}

#[test]
fn what_fails_is_told_without_its_secrets() {
    let hold = format!("sh -c 'exit 1' curl -H 'Authorization: Bearer {PLANTED}19'");
    let said = run(free_port(), "json", &hold);
    said.iter().for_each(|(name, text)| holds_none(name, text));
    assert!(said["log"].contains("connection refused"), "{}", said["log"]);
}

#[test]
fn wrong_usage_is_told_without_its_secrets() {
    let secret = |text: &str| text.replace('#', PLANTED);
    let flags: &[&[&str]] = &[
        &["--ready-url", "htp://amy:#@h/"],
        &["--ready-url", "amy:#@h/"],
        &["--ready-url", "http://amy:#/x@h/"],
        &["--ready-url", "http://h:port/?token=#"],
        &["--ready-url", "tcp://amy:#@h:1"],
        &["--ready-url", "http://a:#@h/", "--ready-url", "http://b:#@h/"],
        &["--hold", "curl -H 'Authorization: #"],
        &["--hold", "ftp://amy:#@h/?#"],
        &["--hold", "/nonexistent/x --token #"],
        &["--hook", "curl -H x=#"],
        &["--hook", "pre-stp=curl #"],
        &["--hook", "pre-stop=http://amy:#@:0/#"],
        &["--hook", "pre-stop=curl '#"],
        &["--check", "a=http://amy:#@h:x/?#"],
        &["--check", "a=redis://amy:#@h:6379/"],
        &["--check", "a=exec://curl -u amy:#"],
        &["--check", "a=tcp://amy:#@h:6379"],
        &["--check", "a=exec:curl '#"],
        &["--check", "running=exec:curl #"],
        &["--check", "a=exec:curl #", "--check", "a=exec:curl #"],
        &["--startup-timeout", "1s", "--ready-url", "http://amy:#@/"],
    ];
    for flags in flags {
        let mut command = graceful_command();
        command.args(flags.iter().map(|flag| secret(flag))).args(["--", "true"]);
        let (exit, stdout, stderr) = ended(&mut command);
        assert_eq!((exit, stdout.as_str()), (Exit::Code(2), ""), "{flags:?}: {stderr}");
        assert!(stderr.contains(flags[0]) || stderr.contains(flags[2]), "{flags:?}: {stderr}");
        holds_none(&format!("{flags:?}"), &stderr);
        // And the same by a variable.
        if flags.len() == 2 {
            let name = format!("GRACEFUL_{}", flags[0].trim_start_matches("--").replace('-', "_").to_uppercase());
            let mut command = graceful_command();
            let (exit, _, stderr) = ended(command.env(&name, secret(flags[1])).args(["--", "true"]));
            assert_eq!(exit, Exit::Code(2), "{flags:?}: {stderr}");
            holds_none(&name, &stderr);
        }
    }
    for text in [
        "hold = ['curl', '-H', '#']",
        "hold = 'curl \"#'",
        "ready_url = ['http://amy:#@h/']",
        "ready_url = 'amy:#@h'",
        "[[hook]]\nstage = 'pre-stop'\nrun = ['', '#']",
        "[[hook]]\nstage = 'pre-stop'\nrun = [1, '#']",
        "[[hook]]\nstage = 'pre-stop'\nrun = 'curl \"#'",
        "[[hook]]\nstage = 'pre-stop'\nurl = 'hooks.example/#'",
        "[[hook]]\nstage = 'pre-stop'\nurl = 'ftp://amy:#@hooks.example/#'",
        "[[check]]\nname = 'a'\ntarget = 'redis://amy:#@h/'",
        "[[check]]\nname = 'a'\ntarget = ['exec:curl', '#']",
        "[[check]]\nname = 'a'\ntarget = 'exec:x'\nsend = 'AUTH #'",
        "[[check]]\nname = 'a'\ntarget = 'tcp://h:1'\nexpect = ['#']",
    ] {
        let folder = folder();
        std::fs::write(folder.path().join("graceful.toml"), secret(text)).unwrap();
        let mut command = graceful_command();
        let (exit, _, stderr) = ended(command.current_dir(&folder).args(["--config", "graceful.toml", "--", "true"]));
        assert_eq!(exit, Exit::Code(2), "{text}: {stderr}");
        assert!(stderr.contains("graceful.toml"), "{text}: {stderr}");
        holds_none(text, &stderr);
    }
}

#[test]
fn other_commands_tell_no_secret_of_wrong_usage() {
    for args in [
        &["probe", "http://amy:#@h:x/?#"][..],
        &["probe", "amy:#@h/"],
        &["probe", "redis://amy:#@h/"],
        &["probe", "live", "http://amy:#@h/"],
        &["probe", "http://h/", "http://amy:#@h/?#"],
        &["drill", "--url", "htp://amy:#@h/?#", "--no-stop"],
        &["drill", "--no-stop", "--target", "POST htp://amy:#@h/ {\"password\":\"#\"}"],
        &["drill", "--no-stop", "--target", "post http://amy:#@h/ #"],
        &["drill", "http://amy:#@h/?#"],
        &["app", "--database", "postgres://amy:#@h/?#"],
        &["--log-level", "info", "app", "--database=postgres://amy:#@h/?#"],
    ] {
        let args = args.iter().map(|word| word.replace('#', PLANTED));
        let (exit, stdout, stderr) = ended(graceful_command().args(args.clone()));
        assert_eq!((exit, stdout.as_str()), (Exit::Code(2), ""), "{stderr}");
        holds_none(&format!("{:?}", args.collect::<Vec<_>>()), &stderr);
    }
}

#[test]
fn a_probe_sends_its_password_and_shows_where_it_went() {
    let server = Server::start();
    let probe = |url: &str| ended(graceful_command().args(["probe", url]));
    let (exit, stdout, stderr) = probe(&url(server.port, "/ready", 20));
    assert_eq!(exit, Exit::Code(0), "{stderr}");
    assert!(stdout.starts_with(&format!("http://…@127.0.0.1:{}/ready?…#…: 200 in ", server.port)), "{stdout}");
    holds_none("probe", &(stdout + &stderr));
    assert_eq!(server.authorization("/ready"), Some(basic(20)));
    let (exit, stdout, stderr) = probe(&url(free_port(), "/ready", 21));
    assert_eq!(exit, Exit::Code(1));
    assert!(stdout.contains("connection refused"), "{stdout}");
    holds_none("probe", &(stdout + &stderr));
}

/// All that a drill says, by name.
fn drill(options: &[&str], folder: &Path) -> (Exit, BTreeMap<&'static str, String>) {
    drill_at("50", options, folder)
}

fn drill_at(rate: &str, options: &[&str], folder: &Path) -> (Exit, BTreeMap<&'static str, String>) {
    let mut command = graceful_command();
    command.current_dir(folder).arg("drill");
    command.args(["--output", "json=d.json", "--output", "junit=d.xml", "--output", "html=d.html"]);
    command.args(["--rate", rate, "--before", "300ms", "--lb-lag", "200ms"]).args(options);
    let (exit, stdout, stderr) = ended(&mut command);
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
    let said = [
        ("terminal", stdout),
        ("errors", stderr),
        ("JSON", read("d.json")),
        ("JUnit", read("d.xml")),
        ("HTML", read("d.html")),
    ];
    (exit, said.into_iter().collect())
}

#[test]
fn a_drill_sends_its_password_and_shows_it_nowhere() {
    let server = Server::start();
    let folder = folder();
    let (one, ready) = (url(server.port, "/one", 22), url(server.port, "/ready", 23));
    let slow = format!("POST {} {{\"password\":\"{PLANTED}\"}}", url(server.port, "/slow", 24));
    let options = ["--no-stop", "--url", &one, "--slow-target", &slow, "--ready-url", &ready];
    let (exit, said) = drill(&options, folder.path());
    assert!(matches!(exit, Exit::Code(0 | 3)), "{said:?}");
    said.iter().for_each(|(name, text)| holds_none(name, text));
    for (name, parts) in [("JSON", "GET http://…@127.0.0.1"), ("JSON", "/one?…"), ("JSON", "/slow?…")] {
        assert!(said[name].contains(parts), "{parts}: {}", said[name]);
    }
    for (path, number) in [("/one", 22), ("/slow", 24)] {
        assert_eq!(server.authorization(path), Some(basic(number)), "{path}");
    }
    // Nothing answers: a message of its own.
    let (exit, said) = drill(&["--no-stop", "--wait", "100ms", "--url", &url(free_port(), "/", 25)], folder.path());
    assert_eq!(exit, Exit::Code(3), "{said:?}");
    said.iter().for_each(|(name, text)| holds_none(name, text));
}

/// The same drill twice at once, side by side: through pipes, and with its live view on a terminal.
fn drill_everywhere(options: &[&str]) -> (Exit, BTreeMap<&'static str, String>) {
    let (piped, seen) = (folder(), folder());
    let mut command = graceful_command();
    command.current_dir(seen.path()).args(["drill", "-v", "--before", "1500ms", "--lb-lag", "200ms"]).args(options);
    let terminal = crate::support::pty::Terminal::start_as(&mut command, "xterm-256color");
    let (exit, mut said) = drill(options, piped.path());
    terminal.wait();
    // What was written last may be read later than the end is seen.
    let end = said["terminal"].split_whitespace().next().unwrap_or_default().to_owned();
    said.insert("view", terminal.expect(&end));
    (exit, said)
}

#[test]
fn a_drill_sends_its_headers_and_shows_them_nowhere() {
    let (server, folder) = (Server::start(), folder());
    let file = folder.path().join("headers");
    std::fs::write(&file, format!("# mine\nAuthorization: Bearer {PLANTED}30\nX-Api-Key: {PLANTED}31\n")).unwrap();
    let by_file = format!("@{}", file.display());
    let by_flag = format!("Authorization: Bearer {PLANTED}30");
    let drills = [("-H", by_flag), ("--header", by_file)].map(|(option, header)| {
        let target = url(server.port, &format!("/{}", option.trim_matches('-')), 32);
        std::thread::spawn(move || {
            let cookie = format!("Cookie: session={PLANTED}33");
            drill_everywhere(&["--no-stop", "--url", &target, option, &header, "--header", &cookie])
        })
    });
    for drill in drills {
        let (exit, said) = drill.join().expect("no panic");
        assert!(matches!(exit, Exit::Code(0 | 3)), "{said:?}");
        said.iter().for_each(|(name, text)| holds_none(name, text));
    }
    for path in ["/H", "/header"] {
        assert_eq!(server.authorization(path), Some(format!("Bearer {PLANTED}30")), "{path}");
    }
}

#[test]
fn headers_that_are_none_are_told_without_their_values() {
    let folder = folder();
    let bad = [
        format!("Authorization Bearer {PLANTED}"),
        format!("Bad Name: {PLANTED}"),
        format!("Content-Length: {PLANTED}"),
        format!("X-Key: \u{1}{PLANTED}"),
    ];
    for (at, header) in bad.iter().enumerate() {
        let file = folder.path().join(format!("{at}"));
        std::fs::write(&file, format!("X-Good: {PLANTED}\n{header}\n")).unwrap();
        for typed in [header.clone(), format!("@{}", file.display())] {
            let args = ["drill", "--no-stop", "--url", "http://127.0.0.1:1/", "--header", &typed];
            let (exit, stdout, stderr) = ended(graceful_command().args(args));
            assert_eq!((exit, stdout.as_str()), (Exit::Code(2), ""), "{header:?}: {stderr}");
            assert!(stderr.contains("--header"), "{header:?}: {stderr}");
            holds_none(header, &stderr);
        }
    }
}

/// What is submitted, and how it is asked for, goes to a broker that wants a password.
#[test]
fn a_drill_of_a_worker_shows_no_word_of_its_commands() {
    let spool = folder();
    let role = |role: &str| {
        let script = crate::support::app("spool.py");
        format!("{} {script} {} {role}", crate::support::python3(), spool.path().display())
    };
    let submit = format!("TOKEN={PLANTED}34 {}", role("submit {n} 0.2"));
    let done = format!("true -u amy:{PLANTED}35 redis://amy:{PLANTED}36@h/; {}", role("done"));
    let queued = format!("true -H 'Authorization: {PLANTED}37'; {}", role("queued"));
    let fails = format!("true -u amy:{PLANTED}38 redis://amy:{PLANTED}39@h/; exit 3");
    let hangs = format!("true --password {PLANTED}40; sleep 60");
    let python = crate::support::python3();
    let (script, place) = (crate::support::app("spool.py"), spool.path().to_string_lossy().into_owned());
    let worker = ["--", &python, &script, &place, "worker", "handler"];
    let jobs = |submit: &str, done: &str, queued: &str, more: &[&str]| {
        let folder = folder();
        let options = [&["-v", "--submit", submit, "--done", done, "--queued", queued], more, &worker].concat();
        let (exit, said) = drill_at("5", &options, folder.path());
        said.iter().for_each(|(name, text)| holds_none(name, text));
        (exit, said)
    };
    let (exit, said) = jobs(&submit, &done, &queued, &[]);
    assert_eq!(exit, Exit::Code(0), "{said:?}");
    for (submit, done, queued, more) in [
        (&fails, &done, &queued, &[][..]),
        (&submit, &fails, &queued, &[]),
        (&submit, &done, &fails, &[]),
        (&submit, &hangs, &queued, &["--timeout", "500ms"]),
    ] {
        let (exit, said) = jobs(submit, done, queued, more);
        assert_eq!(exit, Exit::Code(3), "{said:?}");
    }
}

#[test]
fn a_drill_shows_no_argument_of_what_it_runs() {
    let folder = folder();
    let port = free_port();
    let app = format!("exec \"$0\" demo-app 127.0.0.1:{port}");
    let target = format!("http://127.0.0.1:{port}/");
    let own = graceful();
    let command =
        ["--url", &target, "--bare", "--", "sh", "-c", &app, own.to_str().unwrap(), &format!("--token={PLANTED}26")];
    let (_, said) = drill(&command, folder.path());
    said.iter().for_each(|(name, text)| holds_none(name, text));
    assert!(said["terminal"].contains("sh …"), "{said:?}");

    let server = Server::start();
    let target = format!("http://127.0.0.1:{}/", server.port);
    let stop = format!("true -H 'Authorization: {PLANTED}27'");
    let (_, said) = drill(&["--url", &target, "--stop-command", &stop], folder.path());
    said.iter().for_each(|(name, text)| holds_none(name, text));
    assert!(said["terminal"].contains("true …"), "{said:?}");
}

/// What the log says of a check that is only logged.
#[test]
fn a_warning_about_an_option_shows_no_password() {
    let check = format!("db=http://amy:{PLANTED}28@127.0.0.1:{}/?{PLANTED}29", free_port());
    let run = Run::start(&["--check", &check, "--hold", "never", "--hold-timeout", "5s"], &words(&["true"]));
    let report = run.ends(Exit::Code(0));
    run.wait_line("--check \"db=http://…@127.0.0.1:", DEADLINE);
    holds_none("log", &run.stderr_so_far());
    holds_none("report", &report.to_string());
}

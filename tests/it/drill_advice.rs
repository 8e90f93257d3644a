//! The drill's advice works: each cause is brought about, what is printed for it is done, and the drill of that passes.
//!
//! Where the fix is flags (`flags` of the findings), nothing is known here but where flags go: into the command line of
//! `graceful run`, in the place of what it had for the same. Where it is something else to change, its row names it, and
//! the words that ask for it.
//!
//! The causes of src/drill/causes.rs, but one: `other` is what none of the others explains, and has no fix. Those of jobs
//! have what they do not have here in `drill_jobs`.

use crate::support::run::{folder, wait_for, words};
use crate::support::stopping::Site;
use crate::support::{DEADLINE, Exit, Proc, address, app, free_port, graceful_command, python3, sites};
use serde_json::Value;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A stop that uses up its grace period, on a machine that has other things to do.
const DRILL: Duration = Duration::from_secs(90);
/// How often a drill that has told nothing is held.
const TRIES: u32 = 5;
/// The load before the stop and after it, of 0.8 s the slow ones.
pub(crate) const LOAD: [&str; 5] =
    ["--rate=40", "--before=700ms", "--lb-lag=700ms", "--timeout=2s", "--mix=new=2,hot=2,idle=0,slow=3,stream=0"];

/// Begun one after the other over 0.4 s: at any time some are younger than others.
const MANY_SLOW: &str = "--mix=new=1,hot=0,idle=0,slow=10,stream=0";

/// A drill that is over.
pub(crate) struct Drilled {
    pub(crate) code: Exit,
    pub(crate) document: Value,
    pub(crate) text: String,
}

/// `graceful drill OPTIONS [-- COMMAND]`. One that says that the server or the drill did not keep up has told nothing, and is held again:
/// on a machine that stands still for a moment no server does.
pub(crate) fn drilled(options: &[String], command: &[String]) -> Drilled {
    let mut tries = (0..TRIES).map(|_| held(options, command));
    tries.find(|seen| !seen.text.contains("is slower than the rate")).expect("the machine stands still")
}

fn held(options: &[String], command: &[String]) -> Drilled {
    let folder = folder();
    let json = folder.path().join("drill.json");
    let mut drill = graceful_command();
    drill.arg("drill").args(options).arg("--output").arg(format!("json={}", json.display()));
    if !command.is_empty() {
        drill.arg("--").args(command);
    }
    let (code, stdout, stderr) = Proc::spawn_group(&mut drill).wait_output(DRILL);
    let document = std::fs::read_to_string(&json).unwrap_or_default();
    let text = format!("{options:?} -- {command:?}: {code:?}\n{stdout}\n{stderr}");
    Drilled { code, document: serde_json::from_str(&document).unwrap_or_default(), text }
}

impl Drilled {
    pub(crate) fn findings(&self) -> &[Value] {
        self.document["drills"][0]["findings"].as_array().map(Vec::as_slice).unwrap_or_default()
    }

    /// It fails by this cause, whose fix this gives.
    #[track_caller]
    fn finds(&self, cause: &str) -> String {
        assert_eq!(self.code, Exit::Code(1), "{}", self.text);
        let found = self.findings().iter().find(|finding| finding["cause"] == cause);
        let found = found.unwrap_or_else(|| panic!("no {cause} in {:#?}\n{}", self.findings(), self.text));
        found["fix"].as_str().expect("a fix").to_owned()
    }

    /// What all findings advise `graceful run` to be given.
    pub(crate) fn flags(&self) -> Vec<String> {
        let flags = self.findings().iter().flat_map(|finding| finding["flags"].as_array().into_iter().flatten());
        let mut all: Vec<String> = flags.map(|flag| flag.as_str().expect("a flag").to_owned()).collect();
        // More than one may advise the same.
        all.sort();
        all.dedup();
        all
    }

    #[track_caller]
    pub(crate) fn passes(&self) {
        assert_eq!((self.code, &self.document["verdict"]), (Exit::Code(0), &Value::from("passed")), "{}", self.text);
    }
}

/// These flags in the place of what there was for the same.
pub(crate) fn with(options: &[String], flags: &[String]) -> Vec<String> {
    let name = |flag: &str| flag.split('=').next().unwrap_or_default().to_owned();
    let is_kept = |option: &&String| flags.iter().all(|flag| name(flag) != name(option));
    [options.iter().filter(is_kept).cloned().collect(), flags.to_vec()].concat()
}

/// A cause, and how it goes away.
struct Row {
    cause: &'static str,
    options: &'static [&'static str],
    site: fn() -> Option<Site>,
    /// Of a slow request, in seconds.
    slow: f64,
    fix: Fix,
}

enum Fix {
    /// The flags that are printed.
    Flags,
    /// Another command line, of which the fix has these words.
    Command(&'static str, fn() -> Option<Site>),
    /// Other options of the drill, of which the fix has these words.
    Options(&'static str, &'static [&'static str]),
}

impl Row {
    fn drill(&self, options: &[String], site: &Site) -> Drilled {
        let url = format!("--url=http://127.0.0.1:{}/", site.port);
        // Either app takes its own.
        let slow = format!("--slow-target=/slow?seconds={:.1}&ms={:.0}", self.slow, self.slow * 1000.0);
        drilled(&with(&[words(&LOAD), words(&[&url, &slow])].concat(), options), &site.server)
    }

    fn works(&self) {
        let (Some(site), options) = ((self.site)(), words(self.options)) else { return };
        let seen = self.drill(&options, &site);
        let fix = seen.finds(self.cause);
        match self.fix {
            Fix::Flags => {
                let has_own =
                    seen.findings().iter().any(|found| found["cause"] == self.cause && !found["flags"].is_null());
                assert!(has_own, "{}", seen.text);
                let is_kept = |option: &&String| *option != "--bare";
                let supervised: Vec<String> = options.iter().filter(is_kept).cloned().collect();
                self.drill(&with(&supervised, &seen.flags()), &site).passes();
            }
            Fix::Command(said, site) => {
                assert!(fix.contains(said), "no {said:?} in {fix}\n{}", seen.text);
                if let Some(site) = site() {
                    self.drill(&options, &site).passes();
                }
            }
            Fix::Options(said, options) => {
                assert!(fix.contains(said), "no {said:?} in {fix}\n{}", seen.text);
                self.drill(&words(options), &site).passes();
            }
        }
    }
}

const BARE: &[&str] = &["--bare"];

const fn row(cause: &'static str, site: fn() -> Option<Site>) -> Row {
    Row { cause, options: BARE, site, slow: 0.8, fix: Fix::Flags }
}

fn odd(options: &[&str]) -> Option<Site> {
    let port = free_port();
    Some(Site::alone(port, [words(&[&python3(), &app("odd.py"), &port.to_string()]), words(options)].concat()))
}

/// A shell script in which PORT is the port, and APP a server's command line that ends with it.
fn script(text: &str) -> Option<Site> {
    let port = free_port();
    let app = format!("{} {} {port}", python3(), app("odd.py"));
    Some(Site::alone(port, words(&["sh", "-c", &text.replace("APP", &app)])))
}

fn demo(fault: &str) -> Option<Site> {
    let port = free_port();
    let own = crate::support::graceful().to_string_lossy().into_owned();
    Some(Site::alone(port, words(&[&own, "demo-app", &address(port).to_string(), &format!("--fault={fault}")])))
}

fn gunicorn(options: &[&str]) -> Option<Site> {
    let (venv, port) = (crate::support::venv()?, free_port());
    let apps = Path::new(&app("wsgi_app.py")).with_file_name("").to_string_lossy().into_owned();
    let bind = address(port).to_string();
    let own = [&venv.program("gunicorn"), "--bind", &bind, "--chdir", &apps, "--no-control-socket", "--workers", "8"];
    Some(Site::alone(port, [words(&own), words(options), words(&["wsgi_app:app"])].concat()))
}

fn node(script: &str) -> Option<Site> {
    let (node, port) = (crate::support::node()?, free_port());
    Some(Site::alone(port, words(&[&node.to_string_lossy(), &app(script), &port.to_string()])))
}

macro_rules! rows {
    ($($name:ident: $row:expr;)*) => {$(
        #[test]
        fn $name() {
            $row.works();
        }
    )*};
}

rows! {
    backlog_lost: Row {
        options: &["--bare", "--before=1100ms", "--mix=new=1,hot=0,idle=0,slow=1,stream=0"],
        slow: 0.3,
        ..row("backlog-lost", || demo("loses-backlog"))
    };
    // It would have ended in time for what it has: only the budget is too short.
    killed_by_drill: Row {
        options: &["--bare", "--before=2200ms", "--lb-lag=1s", MANY_SLOW, "--grace-period=3s"],
        slow: 2.7,
        ..row("killed-by-drill", || odd(&["--serve-on", "1.2"]))
    };
    killed_by_drill_as_it_ignores_the_signal: Row {
        options: &["--bare", "--grace-period=3s"],
        fix: Fix::Command("let its handler for SIGTERM end the app", || odd(&["--serve-on", "0.9"])),
        slow: 0.2,
        ..row("killed-by-drill", || odd(&["--stop", "ignore"]))
    };
    killed_by_graceful: Row {
        options: &[
            "--before=2700ms",
            "--lb-lag=1s",
            MANY_SLOW,
            "--grace-period=4s",
            "--pre-stop-delay=1100ms",
            "--hold=never",
        ],
        slow: 3.2,
        ..row("killed-by-graceful", || odd(&[]))
    };
    // Something between sends SIGKILL soon, as su does after two seconds.
    killed_from_outside: Row {
        options: &["--pre-stop-delay=800ms", "--hold=never"],
        slow: 1.5,
        fix: Fix::Command("whoever sends it", || script("exec APP")),
        ..row("killed-from-outside", || script("APP & app=$!; trap 'kill -KILL $app; exit 137' TERM; wait"))
    };
    ended_before_signal: Row {
        options: &["--pre-stop-delay=800ms", "--hook=pre-stop=sh -c 'kill $GRACEFUL_APP_PID'"],
        fix: Fix::Options("what stops it", &["--pre-stop-delay=800ms"]),
        ..row("ended-before-signal", || odd(&["--stop", "die"]))
    };
    // Answers pause, and at the signal some of them have gone on and others have not.
    hold_missed: Row {
        options: &["--pre-stop-delay=3s", "--success-exit-status=SIGTERM", MANY_SLOW],
        slow: 3.5,
        ..row("hold-missed", || odd(&["--stop", "none", "--halves"]))
    };
    no_handler: row("no-handler", || node("node_bare.js"));
    no_handler_of_go: row("no-handler", || sites::go(&[]));
    exits_at_once: row("exits-at-once", || odd(&["--stop", "die"]));
    exits_at_once_of_nginx: row("exits-at-once", || sites::nginx(""));
    cut_at_exit: Row { slow: 3.0, ..row("cut-at-exit", || odd(&["--limit", "1"])) };
    cut_while_stopping: row("cut-while-stopping", || odd(&["--stop", "cut", "--serve-on", "1"]));
    idle_closed: row("idle-closed", || odd(&["--stop", "kept", "--serve-on", "1"]));
    never_accepted: row("never-accepted", || odd(&["--stop", "hole", "--serve-on", "3"]));
    never_accepted_of_gunicorn: Row { slow: 3.0, ..row("never-accepted", || gunicorn(&[])) };
    refused_after_exit: Row { slow: 0.1, ..row("refused-after-exit", || odd(&[])) };
    stopped_listening: row("stopped-listening", || odd(&[]));
    error_while_stopping: row("error-while-stopping", || odd(&["--stop", "503", "--serve-on", "1"]));
    not_answered: Row {
        options: &["--timeout=300ms", "--pre-stop-delay=800ms"],
        slow: 2.2,
        fix: Fix::Options("a longer --timeout", &["--timeout=1s", "--pre-stop-delay=800ms"]),
        ..row("not-answered", || odd(&[]))
    };
}

/// An app that a command stops: started here, bare or under graceful with flags.
struct Stopped {
    port: u16,
    process: Proc,
    /// Where graceful says whether it is ready.
    ready: Option<u16>,
}

impl Stopped {
    fn start(port: u16, options: &[&str], flags: &[String]) -> Stopped {
        let server = [words(&[&python3(), &app("odd.py"), &port.to_string()]), words(options)].concat();
        let ready = flags.iter().any(|flag| flag.starts_with("--probe-listen")).then(free_port);
        let process = if flags.is_empty() {
            Proc::spawn_group(Command::new(&server[0]).args(&server[1..]))
        } else {
            // The port is the reader's to choose.
            let listen = ready.map(|port| format!("--probe-listen={}", address(port)));
            let listen: Vec<String> = listen.into_iter().collect();
            let mut graceful = graceful_command();
            Proc::spawn_group(graceful.args(with(flags, &listen)).arg("--").args(&server))
        };
        process.wait_line("worker ready", DEADLINE);
        Stopped { port, process, ready }
    }

    /// As `docker stop`, with this patience.
    fn command(&self, tenths: u32) -> String {
        let pid = self.process.pid();
        let is_there = format!("grep -q '^State:.[^Z]' /proc/{pid}/status 2>/dev/null");
        format!(
            "kill {pid}; n=0; while {is_there}; do sleep 0.1; n=$((n + 1)); \
             if [ $n = {tenths} ]; then kill -KILL {pid}; fi; done"
        )
    }

    /// Asked on this port; what it is told of readiness is graceful's, where there is one.
    fn drill(&self, port: u16, tenths: u32, slow: &str, options: &[&str]) -> Drilled {
        let url = format!("--url=http://127.0.0.1:{port}/");
        let stop = format!("--stop-command={}", self.command(tenths));
        let own = words(&[&url, &format!("--slow-target=/slow?seconds={slow}"), &stop]);
        let ready = self.ready.map(|port| format!("--ready-url=http://{}/readyz", address(port)));
        drilled(&[with(&words(&LOAD), &words(options)), own, ready.into_iter().collect()].concat(), &[])
    }
}

#[test]
fn killed_by_platform() {
    let ignores = Stopped::start(free_port(), &["--stop", "ignore"], &[]);
    // Requests that are under way when its patience is over.
    let seen = ignores.drill(ignores.port, 102, "11", &["--mix=new=2,hot=0,idle=0,slow=3,stream=0"]);
    let fix = seen.finds("killed-by-platform");
    assert!(fix.contains("let its handler for the stop signal end the app"), "{fix}");
    let handles = Stopped::start(free_port(), &["--serve-on", "1"], &[]);
    handles.drill(handles.port, 102, "0.8", &[]).passes();
}

/// docker-proxy takes connections for a container whose app is gone.
#[test]
fn proxy_reset() {
    let before = |port: u16| {
        let own = free_port();
        let text = format!(
            "import asyncio\n\
             async def pipe(reader, writer):\n    \
                 try:\n        \
                     while data := await reader.read(65536):\n            \
                         writer.write(data)\n        \
                     writer.close()\n    \
                 except ConnectionError:\n        \
                     writer.transport.abort()\n\
             async def take(reader, writer):\n    \
                 try:\n        \
                     inner, outer = await asyncio.open_connection('127.0.0.1', {port})\n    \
                 except OSError:\n        \
                     return writer.transport.abort()\n    \
                 await asyncio.gather(pipe(reader, outer), pipe(inner, writer))\n\
             async def main():\n    \
                 server = await asyncio.start_server(take, '127.0.0.1', {own})\n    \
                 await server.serve_forever()\n\
             asyncio.run(main())\n"
        );
        let proxy = Proc::spawn_group(Command::new(python3()).args(["-c", &text]));
        wait_for("a listener", || TcpStream::connect(address(own)).is_ok());
        (own, proxy)
    };
    let site = Stopped::start(free_port(), &[], &[]);
    let (port, _proxy) = before(site.port);
    let seen = site.drill(port, 100, "0.2", &[]);
    seen.finds("proxy-reset");
    let site = Stopped::start(free_port(), &[], &seen.flags());
    let (port, _proxy) = before(site.port);
    site.drill(port, 100, "0.2", &[]).passes();
}

/// Two instances behind HAProxy, of which one is stopped. That the router asks the readiness that is advised is its own
/// configuration's matter.
#[test]
fn router_not_told() {
    let Some(haproxy) = crate::support::haproxy() else { return };
    let before = |ports: [(u16, Option<u16>); 2]| {
        let (own, files) = (free_port(), folder());
        let servers = ports.iter().enumerate().map(|(nth, (port, ready))| {
            let check = ready.map(|port| format!(" check port {port} inter 50ms fall 1 rise 1")).unwrap_or_default();
            format!("server s{nth} {}{check}\n", address(*port))
        });
        let config = format!(
            "defaults\nmode http\nretries 0\ntimeout connect 5s\ntimeout client 30s\ntimeout server 30s\n\
             timeout check 5s\nlisten web\nbind {}\noption httpchk GET /readyz\n{}",
            address(own),
            servers.collect::<String>()
        );
        let file = files.path().join("haproxy.cfg");
        std::fs::write(&file, config).expect("written");
        let balancer = Proc::spawn_group(Command::new(&haproxy).args(["-db", "-f"]).arg(&file));
        wait_for("a listener", || TcpStream::connect(address(own)).is_ok());
        (own, balancer, files)
    };
    let (stopped, other) = (Stopped::start(free_port(), &[], &[]), Stopped::start(free_port(), &[], &[]));
    let (port, _balancer, _files) = before([(stopped.port, None), (other.port, None)]);
    // What HAProxy may take on a busy machine to see a readiness that it asks for every 50 ms.
    let options = ["--rolling", "--lb-lag=2s"];
    let seen = stopped.drill(port, 100, "0.2", &options);
    let fix = seen.finds("router-not-told");
    assert!(fix.contains("let its readiness fail as soon as the stop begins"), "{fix}");
    let start = || Stopped::start(free_port(), &[], &seen.flags());
    let (stopped, other) = (start(), start());
    let (port, balancer, _files) = before([(stopped.port, stopped.ready), (other.port, other.ready)]);
    let mut seen = stopped.drill(port, 100, "0.2", &options);
    seen.text += &[balancer.dump(), stopped.process.dump(), other.process.dump()].concat();
    seen.passes();
}

//! Records what the kernel shows of real connections, for the tests of the tracker: `cargo run --example
//! record-connections -- DIR [WORD...]`.
//!
//! Each scenario of `tests/apps/connections.py` (those with one of the words in their names) is played as often as it takes
//! to record it over loopback, over a veth and over a link that is 10 ms long, and written to
//! `DIR/SCENARIO.txt`. It needs what `tests/run` installs, and root for the links: without it, loopback alone is recorded.
//!
//! A recording is the connection as the Sampler shows it, from the moment that its state was reached on: a look every
//! millisecond at first, later every ten, of which those are written down that show something new. Whoever reads it can let
//! a stop begin at any time. The tests say what the tracker makes of it.

use graceful::sys::sockets::{Connection, Counters, Sampler, State};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const LENGTH: Duration = Duration::from_millis(4500);
const CLOSE: Duration = Duration::from_millis(300);
const RUNS: usize = 1;
const AT_ONCE: usize = 3;
const INSIDE: &str = "--inside-namespace";
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.split_first() {
        Some((inside, rest)) if inside == INSIDE => record(rest),
        Some(_) => in_namespace(&arguments),
        None => Err("expected a folder, as in `record-connections tests/fixtures/connections`".to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("record-connections: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Runs this binary again where its connections are alone.
fn in_namespace(arguments: &[String]) -> Result<(), String> {
    let this = std::env::current_exe().map_err(|error| format!("this binary: {error}"))?;
    let mut unshare = Command::new("unshare");
    // SAFETY: geteuid(2) has no preconditions and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        unshare.arg("--map-root-user");
    }
    unshare.args(["--net", "--kill-child", "--fork", "--"]).arg(this).arg(INSIDE).args(arguments);
    match unshare.status().map_err(|error| format!("unshare: {error}"))? {
        status if status.success() => Ok(()),
        status => Err(format!("inside the network namespace: {status}")),
    }
}

/// A client's place, as it is named in a recording.
#[derive(Clone)]
struct Place {
    name: &'static str,
    host: &'static str,
    namespace: Option<String>,
}

struct Scenario {
    name: String,
    protocol: String,
    server: String,
    handler: String,
}

fn record(arguments: &[String]) -> Result<(), String> {
    let Some((folder, words)) = arguments.split_first() else { return Err("expected a folder".to_owned()) };
    std::fs::create_dir_all(folder).map_err(|error| format!("{folder}: {error}"))?;
    let list = Command::new(python()).args([driver(), "list".to_owned()]).output();
    let list = list.map_err(|error| format!("{}: {error}", python()))?;
    let scenarios: Vec<Scenario> = String::from_utf8_lossy(&list.stdout).lines().filter_map(scenario).collect();
    let wanted = |scenario: &Scenario| words.is_empty() || words.iter().any(|word| scenario.name.contains(word));
    let queue: Vec<Scenario> = scenarios.into_iter().filter(wanted).rev().collect();
    let mut network = played(&["network"])?;
    let mut places = vec![Place { name: "loopback", host: "127.0.0.1", namespace: None }];
    if let Some(pid) = network.said("netns ") {
        let namespace = Some(format!("/proc/{pid}/ns/net"));
        places.push(Place { name: "veth", host: "10.98.0.1", namespace: namespace.clone() });
        places.push(Place { name: "10ms", host: "10.99.0.1", namespace });
    }
    let (queue, problems) = (Arc::new(Mutex::new(queue)), Arc::new(Mutex::new(Vec::new())));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(scenario) = queue.lock().ok().and_then(|mut queue| queue.pop()) {
                    let written = whole(&scenario, &places).and_then(|text| {
                        let file = Path::new(folder).join(format!("{}.txt", scenario.name));
                        std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))
                    });
                    if let (Err(problem), Ok(mut problems)) = (written, problems.lock()) {
                        problems.push(format!("{}: {problem}", scenario.name));
                    }
                }
            });
        }
    });
    let problems = problems.lock().map(|problems| problems.join("\n")).unwrap_or_default();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

fn scenario(line: &str) -> Option<Scenario> {
    let mut words = line.split('\t').map(str::to_owned);
    Some(Scenario { name: words.next()?, protocol: words.next()?, server: words.next()?, handler: words.next()? })
}

fn whole(scenario: &Scenario, places: &[Place]) -> Result<String, String> {
    let mut text = format!(
        "protocol {}\nserver {}\nhandler {}\n\
         # at_ms state accepted unread unsent received sent | ms ago: received sent ack | segments: in, with data, out, with data | full\n",
        scenario.protocol, scenario.server, scenario.handler
    );
    for place in places {
        for _ in 0..RUNS {
            write!(text, "run {}\n{}", place.name, recording(scenario, place)?).map_err(|error| error.to_string())?;
        }
    }
    Ok(text)
}

/// One run, from when its state is reached.
fn recording(scenario: &Scenario, place: &Place) -> Result<String, String> {
    let mut words = vec!["play", &scenario.name, place.host];
    words.extend(place.namespace.as_deref());
    let mut player = played(&words)?;
    let port = player.said("port ").and_then(|port| port.parse().ok()).ok_or("it has no port")?;
    let mut sampler = Sampler::new(&[port]);
    let begin = Instant::now();
    let mut rows: Vec<(Duration, Connection)> = Vec::new();
    let mut states: Vec<(Duration, String)> = Vec::new();
    loop {
        let snapshot = sampler.sample().map_err(|error| error.to_string())?;
        let at = begin.elapsed();
        rows.extend(snapshot.connections.iter().map(|row| (at, *row)));
        states.extend(player.lines.try_iter().map(|line| (at, line)));
        let reached = states.first().map(|(at, _)| *at);
        if reached.is_some_and(|reached| at > reached + LENGTH) {
            break;
        }
        if at > PATIENCE {
            return Err("it never reached its state".to_owned());
        }
        let close = reached.is_none_or(|reached| at < reached + CLOSE);
        thread::sleep(Duration::from_millis(if close { 1 } else { 10 }));
    }
    Ok(written(&rows, &states))
}

/// From the state's first byte on: the word of it takes its time.
fn written(rows: &[(Duration, Connection)], states: &[(Duration, String)]) -> String {
    let Some((reached, state)) = states.first() else { return String::new() };
    // The server was asked whether it listens, too: that is not the connection that was meant.
    let received = |row: &Connection| row.counters.map_or(0, |counters| counters.received);
    let meant = rows.iter().max_by_key(|(at, row)| (received(row), *at)).map(|(_, row)| row.remote);
    let rows: Vec<(Duration, Connection)> = rows.iter().filter(|(_, row)| Some(row.remote) == meant).copied().collect();
    let bytes = |row: &Connection| {
        let counters = row.counters.unwrap_or_default();
        (counters.received, if state == "idle" { counters.sent } else { 0 })
    };
    let mut moved = rows.windows(2).filter(|pair| pair[1].0 <= *reached && bytes(&pair[0].1) != bytes(&pair[1].1));
    let zero = moved.next_back().map_or(*reached, |pair| pair[1].0);
    let mut text = format!("0.0 {state}\n");
    let mut states = states.iter().skip(1).peekable();
    let mut before: Option<&Connection> = None;
    for (at, row) in rows.iter().filter(|(at, _)| *at >= zero) {
        while let Some((since, state)) = states.next_if(|(since, _)| since <= at) {
            text.push_str(&format!("{} {state}\n", millis(since.saturating_sub(zero))));
        }
        if before.is_none_or(|before| is_news(before, row)) {
            text.push_str(&line(at.saturating_sub(zero), row));
        }
        before = Some(row);
    }
    text
}

/// Something else than the time has changed. (All ages grow at the same tick.)
fn is_news(before: &Connection, now: &Connection) -> bool {
    let mut aged = *before;
    if let (Some(aged), Some(now)) = (&mut aged.counters, &now.counters) {
        let apart = |counters: &Counters| {
            let since = |ms: u32| i64::from(ms) - i64::from(counters.last_received_ms);
            (since(counters.last_sent_ms), since(counters.last_ack_ms))
        };
        if apart(aged) == apart(now) {
            (aged.last_received_ms, aged.last_sent_ms) = (now.last_received_ms, now.last_sent_ms);
            aged.last_ack_ms = now.last_ack_ms;
        }
    }
    aged != *now
}

fn line(at: Duration, row: &Connection) -> String {
    let state = match row.state {
        State::Established => "established",
        State::CloseWait => "close-wait",
        State::Closing => "closing",
    };
    let counters = row.counters.unwrap_or_default();
    let numbers = [
        u64::from(row.inode != 0),
        row.unread.into(),
        row.unsent.into(),
        counters.received,
        counters.sent,
        counters.last_received_ms.into(),
        counters.last_sent_ms.into(),
        counters.last_ack_ms.into(),
        counters.segments_in.into(),
        counters.data_segments_in.into(),
        counters.segments_out.into(),
        counters.data_segments_out.into(),
        counters.segment.into(),
    ];
    let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    format!("{} {state} {}\n", millis(at), numbers.join(" "))
}

fn millis(at: Duration) -> String {
    format!("{:.1}", at.as_secs_f64() * 1000.0)
}

/// The driver, as a process that ends when its input does.
struct Player {
    child: Child,
    lines: Receiver<String>,
}

fn played(words: &[&str]) -> Result<Player, String> {
    let mut command = Command::new(python());
    command.arg(driver()).args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{}: {error}", python()))?;
    let (sender, lines) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
    }
    Ok(Player { child, lines })
}

impl Player {
    /// What follows these words in the next line.
    fn said(&mut self, words: &str) -> Option<String> {
        self.lines.recv_timeout(PATIENCE).ok()?.strip_prefix(words).map(str::to_owned)
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn python() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/target/venv/bin/python").to_owned()
}

fn driver() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/apps/connections.py").to_owned()
}

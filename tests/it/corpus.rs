//! The tracker's word on real connections: `tests/fixtures/connections`, which `cargo run --example record-connections`
//! records. Each recording is shown to it as if a stop began at several moments, for each kind of app; what it may say is
//! what was true, and how long it takes over it is the table of .github/docs/protocols.md.

use graceful::counts::Counts;
use graceful::inflight::{Handler, Tracker};
use graceful::sys::sockets::{Connection, Counters, SampleSource, Snapshot, State};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

const QUIET: Duration = Duration::from_secs(2);
/// The stop begins so long after the state was reached, in milliseconds.
const STOPS: [u64; 5] = [0, 3, 20, 100, 1000];
/// As the watching thread samples.
const PACE: u64 = 100;
/// The hold's longest, of the default grace period; what is to be seen after it is seen by nobody.
const HOLD: u64 = 24_000;
/// A connection on which nothing has moved for so long at the end of its recording goes on like that.
const STILL: u64 = 2500;
const TICK: u64 = 4;
/// Of a recording.
const LENGTH: u64 = 4500;

#[derive(Debug)]
struct Recording {
    scenario: String,
    place: String,
    /// In milliseconds, and whether a request is pending from then on.
    states: Vec<(u64, bool)>,
    rows: Vec<(u64, Connection)>,
}

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "fixtures", "connections"].iter().collect()
}

fn recordings() -> Vec<Recording> {
    let files = std::fs::read_dir(folder()).expect("the corpus").flatten();
    let mut paths: Vec<PathBuf> =
        files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|e| e == "txt")).collect();
    paths.sort();
    paths.iter().flat_map(read).collect()
}

fn read(path: &PathBuf) -> Vec<Recording> {
    let text = std::fs::read_to_string(path).expect("a recording");
    let scenario = path.file_stem().expect("a name").to_string_lossy().into_owned();
    let mut found: Vec<Recording> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let at = || (words[0].parse::<f64>().unwrap_or_else(|_| panic!("{scenario}: {line}"))) as u64;
        match (words.as_slice(), found.last_mut()) {
            (["run", place], _) => found.push(Recording {
                scenario: scenario.clone(),
                place: (*place).to_owned(),
                states: Vec::new(),
                rows: Vec::new(),
            }),
            ([_, state @ ("idle" | "pending")], Some(run)) => run.states.push((at(), *state == "pending")),
            ([_, _, numbers @ ..], Some(run)) if numbers.len() == 13 => run.rows.push((at(), row(words[1], numbers))),
            _ => {}
        }
    }
    assert!(found.iter().all(|run| !run.rows.is_empty() && !run.states.is_empty()), "{scenario}: an empty run");
    found
}

fn row(state: &str, numbers: &[&str]) -> Connection {
    let number = |index: usize| numbers[index].parse::<u64>().expect("a number");
    let word = |index: usize| number(index) as u32;
    let end = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Connection {
        local: end(80),
        remote: end(40_000),
        state: match state {
            "established" => State::Established,
            "close-wait" => State::CloseWait,
            _ => State::Closing,
        },
        inode: word(0),
        unread: word(1),
        unsent: word(2),
        counters: Some(Counters {
            received: number(3),
            sent: number(4),
            last_received_ms: word(5),
            last_sent_ms: word(6),
            last_ack_ms: word(7),
            segments_in: word(8),
            data_segments_in: word(9),
            segments_out: word(10),
            data_segments_out: word(11),
            segment: word(12),
        }),
    }
}

impl Recording {
    /// As it was then: the ages have grown since the last row.
    fn at(&self, now: u64) -> Connection {
        let (at, row) = self.rows.iter().rev().find(|(at, _)| *at <= now).unwrap_or(&self.rows[0]);
        let mut row = *row;
        if let Some(counters) = &mut row.counters {
            let older = (now.saturating_sub(*at) / TICK * TICK) as u32;
            counters.last_received_ms += older;
            counters.last_sent_ms += older;
            counters.last_ack_ms += older;
        }
        row
    }

    /// The request has arrived, and its answer is not complete.
    fn is_pending(&self, now: u64) -> bool {
        let told = self.states.iter().rev().find(|(at, _)| *at <= now).is_none_or(|(_, pending)| *pending);
        told && self.at(now).counters.is_some_and(|counters| counters.received > 0)
    }

    fn has_pending(&self) -> bool {
        self.states.iter().any(|(_, pending)| *pending)
    }

    /// For how long no byte has moved.
    fn silence(&self, now: u64) -> u64 {
        self.at(now).counters.map_or(0, |counters| counters.last_received_ms.min(counters.last_sent_ms).into())
    }

    /// How long it may be replayed: a stream goes on differently than silence.
    fn end(&self) -> u64 {
        let last = self.rows[self.rows.len() - 1].0;
        if last + STILL <= LENGTH || !self.has_pending() { u64::MAX } else { last }
    }

    /// What the tracker says of a stop that begins then: when it is idle, in milliseconds since the stop, for the first time
    /// and for good; and when it was so first while a request was pending.
    fn replay(&self, stop: u64, handler: Handler) -> Verdict {
        let mut tracker = Tracker::new(QUIET);
        tracker.handler(handler);
        let mut verdict = Verdict::default();
        let start = 100_000;
        for after in (0..HOLD).step_by(PACE as usize).take_while(|after| stop + after <= self.end()) {
            let now = stop + after;
            let snapshot = Snapshot { connections: vec![self.at(now)], ..empty() };
            let counts: Counts = tracker.sample(Duration::from_millis(start + now), &snapshot);
            match (counts.is_idle(), self.is_pending(now)) {
                (true, true) => verdict.lost = verdict.lost.or(Some(after)),
                (true, false) => {
                    verdict.idle = verdict.idle.or(Some(after));
                    verdict.rest = verdict.rest.or(Some(after));
                }
                (false, _) => verdict.rest = None,
            }
        }
        verdict
    }
}

fn empty() -> Snapshot {
    Snapshot { source: SampleSource::SockDiag, listeners: Vec::new(), connections: Vec::new() }
}

/// In milliseconds since the stop.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Verdict {
    /// Idle though a request was pending.
    lost: Option<u64>,
    /// Idle, rightly: the hold ends.
    idle: Option<u64>,
    /// And so to the end.
    rest: Option<u64>,
}

/// What cannot be seen: a request that counts as idle all the same, and why.
const HIDDEN: &[(&str, &str)] = &[
    ("grpc-unary-pending-12", "the acknowledged pings of HTTP/2, before the stop, look like an answer"),
    ("grpc-stream", "it pauses"),
    ("http-node-stream-pauses", "it pauses"),
    ("http-node-stream-first-pause", "it pauses"),
];

/// Zero pending ones called idle: of an app that has no handler of its own, to the end of the hold; of one that has, for a
/// quiet window.
#[test]
fn no_pending_request_is_called_idle() {
    let mut faults = String::new();
    for recording in recordings().iter().filter(|recording| recording.has_pending()) {
        if HIDDEN.iter().any(|(scenario, _)| *scenario == recording.scenario) {
            continue;
        }
        for (handler, stop) in cases() {
            let lost = recording.replay(stop, handler).lost;
            let silent = lost.map_or(0, |lost| recording.silence(stop + lost));
            // A quiet window; two since the stop, on account of what came before it.
            let quiet = QUIET.as_millis() as u64;
            let waited = silent + 3 * TICK >= quiet || lost >= Some(2 * quiet);
            let allowed = handler == Handler::Present && waited;
            if lost.is_some() && !allowed {
                let _ = writeln!(
                    faults,
                    "{} over {}, {handler:?}, stop after {stop} ms: idle after {lost:?}",
                    recording.scenario, recording.place
                );
            }
        }
    }
    assert_eq!(faults, "");
}

/// What is hidden is hidden, or this list and that table say too little of what the tracker can do.
#[test]
fn what_is_said_to_be_hidden_is() {
    for (scenario, why) in HIDDEN {
        let found = recordings().into_iter().filter(|recording| recording.scenario == *scenario);
        let lost = found.flat_map(|recording| STOPS.map(|stop| recording.replay(stop, Handler::Unproven).lost));
        assert!(lost.into_iter().any(|lost| lost.is_some()), "{scenario}: {why}");
    }
}

fn cases() -> impl Iterator<Item = (Handler, u64)> {
    let handlers = [Handler::Missing, Handler::Unproven, Handler::Present];
    handlers.into_iter().flat_map(|handler| STOPS.map(|stop| (handler, stop)))
}

/// One line of the table: what is recorded of it, pending and idle, and the hold that fits.
struct Line {
    name: &'static str,
    pending: &'static [&'static str],
    idle: &'static [&'static str],
    fits: &'static str,
}

const TABLE: &[Line] = &[
    Line {
        name: "HTTP/1.1, one request, or many",
        pending: &["http-node-pending", "http-python-pending", "http-node-slow", "http-python-slow"],
        idle: &["http-node-idle", "http-python-idle", "http-node-silent"],
        fits: "`idle`",
    },
    Line { name: "HTTP/1.1, two to four requests", pending: &[], idle: &["http-node-few"], fits: "`idle`" },
    Line {
        name: "HTTP/1.1 over TLS",
        pending: &[
            "https-node-12-pending",
            "https-node-13-pending",
            "https-python-12-pending",
            "https-python-13-pending",
        ],
        idle: &["https-node-12-idle-12", "https-node-13-idle-12", "https-python-12-idle-12", "https-python-13-idle-12"],
        fits: "`idle`",
    },
    Line {
        name: "HTTP/1.1 over TLS, one to four requests",
        pending: &[],
        idle: &["https-node-13-idle-1.", "https-node-13-idle-2", "https-python-13-idle-1.", "https-node-12-idle-1."],
        fits: "`idle`",
    },
    Line { name: "a stream of tokens, ten a second", pending: &["http-node-stream-tokens"], idle: &[], fits: "`idle`" },
    Line {
        name: "a stream that pauses for 0.9 s",
        pending: &["http-node-stream-pauses", "grpc-stream"],
        idle: &[],
        fits: "`idle`, with `--quiet-window` four times the pause",
    },
    Line { name: "server-sent events, one a second", pending: &[], idle: &["sse-uvicorn."], fits: "`idle`" },
    Line {
        name: "WebSocket, heartbeats of the server",
        pending: &["ws-uvicorn-pending"],
        idle: &["ws-uvicorn-idle", "ws-uvicorn-heartbeat."],
        fits: "`idle`",
    },
    Line {
        name: "WebSocket, the heartbeat was before the stop",
        pending: &[],
        idle: &["ws-uvicorn-heartbeat-last"],
        fits: "`idle`",
    },
    Line {
        name: "HTTP/2, one request at a time",
        pending: &["h2-hypercorn-pending"],
        idle: &["h2-hypercorn-idle-12"],
        fits: "`idle`",
    },
    Line {
        name: "HTTP/2, the client's frame was last",
        pending: &[],
        idle: &["h2-hypercorn-idle-1.", "h2-hypercorn-window", "h2-hypercorn-ping"],
        fits: "a URL of the app's, or `never`",
    },
    Line {
        name: "gRPC, unary",
        pending: &["grpc-unary-pending"],
        idle: &["grpc-unary-idle"],
        fits: "a URL of the app's, or `never`",
    },
    Line {
        name: "NATS, Redis, at rest",
        pending: &[],
        idle: &["nats-subscriber", "redis-get"],
        fits: "`never` (profile)",
    },
    Line {
        name: "NATS after PING and PONG, Redis in BLPOP",
        pending: &[],
        idle: &["nats-ping", "redis-blpop"],
        fits: "`never` (profile)",
    },
];

/// The worst of all recordings, places and moments.
fn cell(all: &[Recording], scenarios: &[&str], handler: Handler, pending: bool) -> String {
    let named = |recording: &&Recording| {
        let name = format!("{}.", recording.scenario);
        scenarios.iter().any(|scenario| name.starts_with(scenario))
    };
    let found: Vec<&Recording> = all.iter().filter(named).collect();
    assert!(
        scenarios
            .iter()
            .all(|scenario| all.iter().any(|recording| format!("{}.", recording.scenario).starts_with(scenario))),
        "{scenarios:?}"
    );
    if found.is_empty() {
        return "".to_owned();
    }
    // For how long it has been waited for: since the stop, or since the last byte.
    let time = |recording: &Recording, stop: u64| {
        let verdict = recording.replay(stop, handler);
        let waited = |lost: u64| lost.max(recording.silence(stop + lost));
        if pending { verdict.lost.map_or(u64::MAX, waited) } else { verdict.idle.unwrap_or(u64::MAX) }
    };
    let times = || found.iter().flat_map(|recording| STOPS.map(|stop| time(recording, stop)));
    let (least, most) = (times().min().unwrap_or(u64::MAX), times().max().unwrap_or(u64::MAX));
    match (words(least), words(most)) {
        (least, most) if pending || least == most => if pending { least } else { most }.to_owned(),
        (least, most) => format!("{least} to {most}"),
    }
}

fn words(millis: u64) -> &'static str {
    match millis {
        0..=250 => "0",
        251..=1200 => "½ s",
        1201..=3000 => "2 s",
        3001..=5200 => "4 s",
        _ => "all",
    }
}

fn table() -> String {
    let all = recordings();
    let mut table = "| | asked: none | perhaps | its own | idle: none | perhaps | its own | `--hold` |\n".to_owned();
    table.push_str("| --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for line in TABLE {
        let cells = |scenarios: &[&str], pending: bool| {
            [Handler::Missing, Handler::Unproven, Handler::Present]
                .map(|handler| cell(&all, scenarios, handler, pending))
                .join(" | ")
        };
        let _ = writeln!(
            table,
            "| {} | {} | {} | {} |",
            line.name,
            cells(line.pending, true),
            cells(line.idle, false),
            line.fits
        );
    }
    table
}

#[test]
fn the_readmes_table_is_what_the_recordings_come_to() {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/.github/docs/protocols.md")).expect("the page");
    let table = table();
    assert!(page.contains(&table), "the table of .github/docs/protocols.md is to be\n\n{table}");
}

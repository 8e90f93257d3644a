//! The drill beside a passive observer of the loopback (`tests/apps/observer.py`), in a network namespace of their own: what
//! became of each request, and when, is read from the segments of its connection and compared with the drill's record of it.
//!
//! The drill knows when its thread got to know of something, the observer when the kernel handed the segment on. Where those
//! are one event, they are no more than [`APART`] apart:
//!
//! | the drill says | the segment is |
//! | --- | --- |
//! | sent, on a new connection | its SYN |
//! | sent, on a kept one | that of the request's first byte |
//! | ended, with an answer | that of the answer's last byte, or the FIN, where nothing else is its end |
//! | ended, refused | the RST that answers the SYN |
//! | ended, cut off | the server's FIN or RST |
//! | ended, given up | the client's FIN or RST |

use super::run::folder;
use super::{Exit, Proc, app, graceful_command, in_pid_namespace, python3};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// In seconds. The stop's wall-clock time is written in whole milliseconds, which is one of these.
const APART: f64 = 0.02;
/// A stop that uses up its grace period, on a machine that has other things to do.
const DRILL: Duration = Duration::from_secs(90);

/// A drill that is over, and what passed between its clients and the server.
pub(crate) struct Observed {
    pub(crate) document: Value,
    seen: Vec<Value>,
    text: String,
}

/// Holds `graceful drill OPTIONS -- COMMAND`, with a server beside it if there is one to be, whose port comes last.
pub(crate) fn observed(port: u16, beside: &[String], options: &[String], command: &[String]) -> Observed {
    let folder = folder();
    let [json, passed] = ["drill.json", "passed.json"].map(|name| folder.path().join(name));
    let mut observer = in_pid_namespace(["unshare", "--net", "--", &python3(), &app("observer.py"), &port.to_string()]);
    observer.arg(&passed);
    if !beside.is_empty() {
        observer.arg("--beside").args(beside);
    }
    observer.arg("--").arg(graceful_command().get_program()).arg("drill").args(options);
    observer.arg("--output").arg(format!("json={}", json.display())).arg("--").args(command);
    let (exit, stdout, stderr) = Proc::spawn_pid1(&mut observer).wait_output(DRILL);
    let text = format!("{command:?}: {exit:?}\n{stdout}\n{stderr}");
    assert!(matches!(exit, Exit::Code(0 | 1 | 3)), "{text}");
    let read = |path| {
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{error}\n{text}"));
        serde_json::from_str::<Value>(&text).expect("JSON")
    };
    let Value::Array(seen) = read(passed) else { panic!("no list\n{text}") };
    Observed { document: read(json), seen, text }
}

impl Observed {
    fn drill(&self) -> &Value {
        &self.document["drills"][0]
    }

    fn records(&self) -> &[Value] {
        self.drill()["requests"].as_array().expect("a list")
    }

    /// The drill has records of this outcome.
    #[track_caller]
    pub(crate) fn has(&self, outcomes: &[&str]) {
        for outcome in outcomes {
            let has = self.records().iter().any(|record| record["outcome"] == *outcome);
            assert!(has, "no record of {outcome}\n{}", self.text);
        }
    }

    /// Each request that the drill tells of passed as it says, and nothing else passed while it sent.
    #[track_caller]
    pub(crate) fn agrees(&self) {
        let differences: Vec<String> = self.differences().into_iter().map(|difference| difference.words).collect();
        assert!(differences.is_empty(), "{}\n{}", differences.join("\n"), self.text);
    }

    /// All that differs is when: the machine had no time for either for a moment.
    pub(crate) fn differs_in_time_alone(&self) -> bool {
        let differences = self.differences();
        !differences.is_empty() && differences.iter().all(|difference| difference.is_time)
    }

    fn differences(&self) -> Vec<Difference> {
        let stop = self.drill()["stopped_at"].as_str().unwrap_or_else(|| panic!("it was not stopped\n{}", self.text));
        let stop = humantime::parse_rfc3339(stop).expect("a time");
        let stop = stop.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs_f64();
        let mut seen: Vec<Seen<'_>> = self.seen.iter().map(|value| Seen::new(value, stop)).collect();
        seen.sort_by(|one, other| one.sent_s().total_cmp(&other.sent_s()));
        let known = known_lengths(&seen);
        let mut records: Vec<&Value> = self.records().iter().collect();
        records.sort_by(|one, other| number(one, "sent_s").total_cmp(&number(other, "sent_s")));
        assert!(records.len() > 50, "hardly a load\n{}", self.text);
        let last_s = records.iter().map(|record| number(record, "ended_s")).fold(f64::MIN, f64::max);
        let first_s = number(records[0], "sent_s");
        let mut differences = Vec::new();
        for record in records {
            let found = (0..seen.len()).filter(|at| seen[*at].may_be(record)).min_by(|one, other| {
                let apart = |at: &usize| (seen[*at].sent_s() - number(record, "sent_s")).abs();
                apart(one).total_cmp(&apart(other))
            });
            let Some(found) = found else {
                differences.push(Difference::of(format!("nothing passed of {record}")));
                continue;
            };
            let passed = seen.remove(found);
            if let Some(Difference { words, is_time }) = passed.difference(record, &known, last_s) {
                let words = format!("{words}: the drill says {record}, and {} passed", passed.value);
                differences.push(Difference { words, is_time });
            }
        }
        // Before the load each target is asked once, and after it somebody looks whether anybody listens still.
        let unknown = seen.iter().filter(|passed| (first_s + 0.001..last_s).contains(&passed.sent_s()));
        let no_record = |passed: &Seen<'_>| Difference::of(format!("the drill has no record of {}", passed.value));
        differences.extend(unknown.map(no_record));
        differences
    }
}

/// What the drill says otherwise than what passed.
struct Difference {
    words: String,
    /// The same happened, at another time.
    is_time: bool,
}

impl Difference {
    fn of(words: impl Into<String>) -> Difference {
        Difference { words: words.into(), is_time: false }
    }
}

/// One request, as it passed. Times are seconds since the stop.
struct Seen<'a> {
    value: &'a Value,
    stop: f64,
}

impl<'a> Seen<'a> {
    fn new(value: &'a Value, stop: f64) -> Seen<'a> {
        Seen { value, stop }
    }

    fn text(&self, key: &str) -> &str {
        self.value[key].as_str().unwrap_or_default()
    }

    fn time(&self, key: &str) -> Option<f64> {
        self.value[key].as_f64().map(|at| at - self.stop)
    }

    /// A new connection is begun for its request.
    fn sent_s(&self) -> f64 {
        let begun = if self.value["first"] == true { None } else { self.time("sent") };
        begun.or(self.time("begun")).expect("a time")
    }

    /// There was no connection, and so the client has no port to tell.
    fn is_without(&self) -> bool {
        matches!(self.text("outcome"), "refused" | "unanswered")
    }

    fn may_be(&self, record: &Value) -> bool {
        match record["port"].as_u64() {
            Some(port) => !self.is_without() && self.value["port"] == port,
            None => self.is_without(),
        }
    }

    fn difference(&self, record: &Value, known: &BTreeSet<(String, u64)>, last_s: f64) -> Option<Difference> {
        let (outcome, ended_s) = (record["outcome"].as_str().expect("an outcome"), number(record, "ended_s"));
        // The listener went between its SYN-ACK and the client's next look: connect(2) says ECONNRESET, and nothing was sent.
        let was_reset_as_it_connected =
            record["detail"] == "reset while connecting" && self.text("outcome") == "refused";
        if !self.outcomes(known).contains(&outcome) && !was_reset_as_it_connected {
            return Some(Difference::of(format!("{outcome} was {}", self.text("outcome"))));
        }
        if outcome == "unfinished" && ended_s < last_s - APART {
            return Some(Difference::of("unfinished before the end"));
        }
        if record["status"] != self.value["status"] && !self.text("outcome").starts_with("given-up") {
            return Some(Difference::of("the status"));
        }
        if record["reused"] == self.value["first"] {
            return Some(Difference::of("the connection"));
        }
        let apart = |what, one: f64, other: f64| {
            let apart = one - other;
            (apart.abs() > APART)
                .then(|| Difference { words: format!("{what} {:.1} ms apart", apart * 1000.0), is_time: true })
        };
        let sent = apart("sent", number(record, "sent_s"), self.sent_s());
        sent.or_else(|| apart("ended", ended_s, self.time("ended").filter(|_| outcome != "unfinished")?))
    }

    /// What the drill may say of it: one outcome, but where it ended first itself.
    fn outcomes(&self, known: &BTreeSet<(String, u64)>) -> Vec<&str> {
        let outcome = self.text("outcome");
        match outcome {
            // The answer's only end is that of the connection (src/drill/undelimited.rs).
            "ok" | "ok-close" if !self.value["length"].is_null() => {
                let is_before = self.time("ended").is_some_and(|at| at < 0.0);
                let is_known = self.length().is_some_and(|length| known.contains(&length));
                vec![if is_before || is_known { outcome } else { "untold" }]
            }
            "given-up" if self.value["first"] == true => vec!["black-hole", "unfinished"],
            "given-up" | "given-up-in-answer" => vec!["timeout", "unfinished"],
            "unanswered" => vec!["black-hole", "unfinished"],
            "open" => vec!["unfinished"],
            other => vec![other],
        }
    }

    fn length(&self) -> Option<(String, u64)> {
        Some((self.text("path").to_owned(), self.value["length"].as_u64()?))
    }
}

/// The lengths of answers without an end of their own, from before the stop.
fn known_lengths(seen: &[Seen<'_>]) -> BTreeSet<(String, u64)> {
    let before =
        |seen: &&Seen<'_>| seen.text("outcome").starts_with("ok") && seen.time("ended").is_some_and(|at| at < 0.0);
    seen.iter().filter(before).filter_map(Seen::length).collect()
}

#[track_caller]
fn number(record: &Value, key: &str) -> f64 {
    record[key].as_f64().unwrap_or_else(|| panic!("no number {key} in {record}"))
}

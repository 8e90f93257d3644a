//! The drill for people: what happened when, what was dropped, what to change. Colour on a terminal only, and not with
//! NO_COLOR (no-color.org).

use crate::drill::evidence::{Check, CheckResult, Document, Drill, Latency, Verdict, What};
use crate::drill::plan::Output;
use crate::drill::record::{Kind, Outcome, Record};
use crate::drill::verdict::seconds;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};

/// Columns of the drawn timeline.
const WIDTH: usize = 60;
/// Where a long text is broken.
const LINE: usize = 100;

/// Writes it to stdout.
pub fn print(document: &Document, outputs: &[Output]) {
    let mut stdout = std::io::stdout();
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let paint = Paint(stdout.is_terminal() && !no_color && !dumb);
    let mut text = text(document, paint);
    for output in outputs {
        let (Output::Json(path) | Output::Junit(path) | Output::Html(path)) = output;
        _ = writeln!(text, "written: {}", path.display());
    }
    // Nobody may be there to read it.
    _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// The whole text.
pub fn text(document: &Document, paint: Paint) -> String {
    let mut text = String::new();
    let compared = columns(document);
    for drill in &document.drills {
        one(&mut text, drill, document.drills.len() > 1, paint);
        text.push('\n');
    }
    if let Some((bare, supervised)) = compared {
        compare(&mut text, bare, supervised, paint);
        text.push('\n');
    }
    let verdict = paint.verdict(document.verdict, &document.verdict.words().to_uppercase());
    _ = writeln!(text, "{verdict}  {}", document.headline);
    text
}

/// Colours, or none.
#[derive(Clone, Copy, Debug)]
pub struct Paint(pub bool);

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn verdict(self, verdict: Verdict, text: &str) -> String {
        match verdict {
            Verdict::Passed => self.with("1;32", text),
            Verdict::Failed => self.with("1;31", text),
            Verdict::Inconclusive => self.with("1;33", text),
        }
    }
}

/// Of several drills each says why it shows nothing; of one the headline does.
fn one(text: &mut String, drill: &Drill, says_why: bool, paint: Paint) {
    let command = if drill.command.is_empty() { String::new() } else { format!(": {}", drill.command.join(" ")) };
    _ = writeln!(text, "{}", paint.with("1", &format!("{}{command}", drill.title)));
    if drill.requests.is_empty() {
        if let Some(why) = drill.inconclusive.as_ref().filter(|_| says_why) {
            _ = writeln!(text, "  {why}");
        }
        return;
    }
    let targets = drill.targets.join(", ");
    let lag = seconds(drill.lb_lag_s);
    _ = writeln!(
        text,
        "  {} requests a second to {targets}; the load balancer sends for {lag} after the stop\n",
        drill.rate
    );
    for moment in &drill.timeline {
        let words = match moment.what {
            What::Stop => paint.with("1", &moment.words),
            What::Kill | What::Leftovers => paint.with("31", &moment.words),
            _ => moment.words.clone(),
        };
        _ = writeln!(text, "  {:>9}  {words}", signed(moment.at_s));
    }
    text.push('\n');
    draw(text, drill, paint);
    counts(text, drill);
    for check in &drill.checks {
        checked(text, check, paint);
    }
    if let Some(why) = drill.inconclusive.as_ref().filter(|_| says_why) {
        _ = writeln!(text, "  {}  {why}", paint.with("1;33", "?"));
    }
}

fn signed(at_s: f64) -> String {
    let sign = if at_s < 0.0 { '-' } else { '+' };
    format!("{sign}{:.3} s", at_s.abs())
}

/// A line for each kind: what became of the requests sent in each column's time, the worst of them first.
fn draw(text: &mut String, drill: &Drill, paint: Paint) {
    let begin = drill.requests.iter().map(|record| record.sent_s).fold(0.0, f64::min);
    let end = drill.requests.iter().map(|record| record.ended_s).fold(drill.lb_lag_s, f64::max);
    let end = drill.at(What::Exit).map_or(end, |exit| end.max(exit)).max(begin + 0.001);
    let column =
        |at: f64| (((at - begin) / (end - begin)) * (WIDTH - 1) as f64).round().clamp(0.0, (WIDTH - 1) as f64) as usize;
    let mut ruler = vec![' '; WIDTH];
    // Side by side where they fall together.
    let marks = [(0.0, 'S'), (drill.at(What::Exit).unwrap_or(f64::NAN), 'X'), (drill.lb_lag_s, 'L')];
    for (at, mark) in marks.into_iter().filter(|(at, _)| at.is_finite()) {
        let from = column(at);
        if let Some(free) = ruler.iter_mut().skip(from).find(|cell| **cell == ' ') {
            *free = mark;
        }
    }
    _ = writeln!(text, "  {:>9}  {}", "", ruler.iter().collect::<String>().trim_end());
    for kind in Kind::ALL {
        let mine: Vec<&Record> = drill.requests.iter().filter(|record| record.kind == kind).collect();
        if mine.is_empty() {
            continue;
        }
        let mut cells: Vec<Option<Mark>> = vec![None; WIDTH];
        for record in mine {
            let mark = Mark::of(drill, record);
            let from = column(record.sent_s);
            let to = column(record.ended_s).max(from);
            for (at, cell) in cells.iter_mut().enumerate().take(to + 1).skip(from) {
                // A line until the outcome, which stands at its end.
                let here = if at == to { mark } else { Mark::Waits };
                *cell = Some(cell.map_or(here, |known| known.max(here)));
            }
        }
        let line: String =
            cells.into_iter().map(|cell| cell.map_or(" ".to_owned(), |mark| mark.shown(paint))).collect();
        _ = writeln!(text, "  {:>9}  {}", kind.name(), line.trim_end());
    }
    _ = writeln!(
        text,
        "  {:>9}  S stop, L the load balancer ceases, X exit; . ok, - under way, x dropped, ! failed later\n",
        ""
    );
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    Waits,
    Ok,
    Late,
    Dropped,
}

impl Mark {
    fn of(drill: &Drill, record: &Record) -> Mark {
        match (record.outcome.is_ok() || record.outcome == Outcome::Unfinished, drill.is_dropped(record)) {
            (_, true) => Mark::Dropped,
            (true, false) => Mark::Ok,
            (false, false) => Mark::Late,
        }
    }

    fn shown(self, paint: Paint) -> String {
        match self {
            Mark::Waits => paint.with("2", "-"),
            Mark::Ok => paint.with("32", "."),
            Mark::Late => paint.with("33", "!"),
            Mark::Dropped => paint.with("1;31", "x"),
        }
    }
}

fn counts(text: &mut String, drill: &Drill) {
    for kind in Kind::ALL {
        let mut counts: BTreeMap<Outcome, usize> = BTreeMap::new();
        for record in drill.requests.iter().filter(|record| record.kind == kind) {
            *counts.entry(record.outcome).or_default() += 1;
        }
        if counts.is_empty() {
            continue;
        }
        let parts: Vec<String> = counts.iter().map(|(outcome, count)| format!("{count} {}", outcome.words())).collect();
        _ = writeln!(text, "  {:>9}  {}", kind.name(), parts.join(", "));
    }
    let latency = |latency: Latency| {
        if latency.count == 0 {
            return "none was ok".to_owned();
        }
        format!("p50 {}, p99 {}, max {}", seconds(latency.p50_s), seconds(latency.p99_s), seconds(latency.max_s))
    };
    _ = writeln!(
        text,
        "  {:>9}  before the stop {}; after it {}",
        "latency",
        latency(drill.latency.before),
        latency(drill.latency.after)
    );
    for seen in &drill.in_flight {
        _ = writeln!(
            text,
            "  {:>9}  at the {}: {} busy, {} unknown, {} never accepted, {} idle connections; {} requests of the clients",
            "in flight", seen.moment, seen.busy, seen.unknown, seen.unaccepted, seen.idle, seen.clients
        );
    }
    text.push('\n');
}

fn checked(text: &mut String, check: &Check, paint: Paint) {
    let mark = match check.result {
        CheckResult::Pass => paint.with("32", "pass"),
        CheckResult::Fail => paint.with("1;31", "FAIL"),
        CheckResult::Expected => paint.with("33", "fail"),
        CheckResult::Skipped => paint.with("2", "skip"),
    };
    let allowed = if check.result == CheckResult::Expected { " (expected)" } else { "" };
    broken(text, &format!("  {mark}  {:<17}", check.name), 25, &format!("{}{allowed}", check.evidence));
    for (what, words) in [("why: ", &check.cause), ("fix: ", &check.fix)] {
        if let Some(words) = words {
            broken(text, &format!("{:25}{what}", ""), 30, words);
        }
    }
}

/// Words behind a head, further lines indented.
fn broken(text: &mut String, head: &str, indent: usize, words: &str) {
    text.push_str(head);
    let mut column = indent;
    for (at, word) in words.split(' ').enumerate() {
        let width = word.chars().count();
        if at > 0 && column + 1 + width > LINE {
            _ = write!(text, "\n{:indent$}", "");
            column = indent;
        } else if at > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += width;
    }
    text.push('\n');
}

fn columns(document: &Document) -> Option<(&Drill, &Drill)> {
    let bare = document.drills.iter().find(|drill| drill.title == "bare")?;
    let other = document.drills.iter().find(|drill| drill.title == "under graceful")?;
    Some((bare, other))
}

/// Two columns.
fn compare(text: &mut String, bare: &Drill, supervised: &Drill, paint: Paint) {
    let exit = |drill: &Drill| drill.at(What::Exit).map_or("never".to_owned(), signed);
    let rows = [
        ("", "bare".to_owned(), "under graceful".to_owned()),
        ("requests", bare.requests.len().to_string(), supervised.requests.len().to_string()),
        ("dropped", bare.dropped.to_string(), supervised.dropped.to_string()),
        ("exit", exit(bare), exit(supervised)),
        ("verdict", bare.verdict.words().to_owned(), supervised.verdict.words().to_owned()),
    ];
    for (name, left, right) in rows {
        let line = format!("  {name:<17}{left:>16}{right:>18}");
        _ = writeln!(text, "{}", if name.is_empty() { paint.with("1", &line) } else { line });
    }
    for check in &bare.checks {
        let other = supervised.checks.iter().find(|other| other.name == check.name);
        let word = |result: CheckResult| match result {
            CheckResult::Pass => "pass",
            CheckResult::Fail => "FAIL",
            CheckResult::Expected => "fail, expected",
            CheckResult::Skipped => "-",
        };
        let right = other.map_or("-", |other| word(other.result));
        _ = writeln!(text, "  {:<17}{:>16}{right:>18}", check.name, word(check.result));
    }
}

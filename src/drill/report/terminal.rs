//! The drill for people. By default it shows what can be acted on: the verdict, each root cause once with its fix and
//! the checks that it fails, remarks, and the chart. `--verbose` adds the timeline, the counts and every check,
//! `--quiet` shows nothing but the verdict. All of it fits in 80 columns.
//!
//! On a terminal it has colours, unless NO_COLOR is set (no-color.org) or TERM is dumb. Where an output of the drill
//! goes to stdout, this goes to stderr, so that a program can read the one and a person the other.

use super::text::{compared, count, counted, fates, lost, shown, targets};
use crate::drill::case::seconds;
use crate::drill::evidence::{
    Check, CheckName, CheckResult, Document, Drill, Fate, Finding, JobCounts, Latency, TimelineMarkKind, Verdict,
};
use crate::drill::plan::{Output, Verbosity};
use crate::drill::record::{ClientKind, Record, RequestOutcome};
use crate::files;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};

/// Columns of the drawn timeline.
const WIDTH: usize = 60;
/// Where a long text is broken.
const LINE: usize = 79;

/// Where the result goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputStream {
    /// stdout.
    Out,
    /// stderr, because an output has stdout.
    Err,
}

impl OutputStream {
    /// stdout, unless one of the outputs has it.
    pub fn beside(outputs: &[Output]) -> OutputStream {
        let has_stdout = outputs.iter().any(|output| files::descriptor(&output.path) == Some(1));
        if has_stdout { OutputStream::Err } else { OutputStream::Out }
    }

    /// Colours, if it is a terminal that is to have them.
    #[allow(clippy::disallowed_methods, reason = "the drill's own report")]
    pub fn paint(self) -> Paint {
        let is_terminal = match self {
            OutputStream::Out => std::io::stdout().is_terminal(),
            OutputStream::Err => std::io::stderr().is_terminal(),
        };
        Paint(is_terminal && !no_color() && !is_dumb())
    }

    /// Writes this text. Nobody may be there to read it.
    #[allow(clippy::disallowed_methods, reason = "the drill's own report")]
    pub fn write(self, text: &str) {
        _ = match self {
            OutputStream::Out => {
                let mut stdout = std::io::stdout();
                stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
            }
            OutputStream::Err => std::io::stderr().write_all(text.as_bytes()),
        };
    }
}

/// Whether NO_COLOR is set to anything.
pub fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Whether TERM says that the terminal knows no control sequences.
pub fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// Writes the result, and where the outputs are.
pub fn print(document: &Document, outputs: &[Output], verbosity: Verbosity) {
    let stream = OutputStream::beside(outputs);
    let mut text = text(document, verbosity, stream.paint());
    if verbosity != Verbosity::Quiet {
        for output in outputs.iter().filter(|output| files::descriptor(&output.path).is_none()) {
            _ = writeln!(text, "  written  {}", output.path.display());
        }
    }
    stream.write(&text);
}

/// The whole text.
pub fn text(document: &Document, verbosity: Verbosity, paint: Paint) -> String {
    let verdict = paint.verdict(document.verdict, &document.verdict.words().to_uppercase());
    let mut text = format!("{verdict}  {}\n", document.headline);
    if verbosity == Verbosity::Quiet {
        return text;
    }
    text.push('\n');
    let (drills, both) = (shown(document), compared(document));
    if let Some((bare, supervised)) = both {
        compare(&mut text, bare, supervised, paint);
        text.push('\n');
    }
    let time = Time::of(&drills);
    for drill in drills {
        // One of several says why it shows nothing; for a single one the headline does.
        one(&mut text, drill, document.drills.len() > 1, verbosity, time, paint);
    }
    if verbosity == Verbosity::Short && document.verdict != Verdict::Passed && document.drills.iter().any(has_load) {
        _ = writeln!(text, "  {}", paint.with("2", "-v shows the timeline, every check and all counts"));
    }
    // One line end is enough.
    text.truncate(text.trim_end_matches('\n').len() + 1);
    text
}

/// One round of several, in a line: "2 of 3  bare  FAILED  12 of 410 requests dropped, exit +2.512 s".
pub fn round(drill: &Drill, number: u32, of: Option<u32>, paint: Paint) -> String {
    let of = of.map(|of| format!(" of {of}")).unwrap_or_default();
    let verdict = paint.verdict(drill.verdict, &drill.verdict.words().to_uppercase());
    let what = match &drill.inconclusive {
        Some(why) => why.lines().next().unwrap_or_default().to_owned(),
        None => {
            let exit =
                drill.at(TimelineMarkKind::Exit).map(|exit| format!(", exit {}", signed(exit))).unwrap_or_default();
            let dropped = lost(drill);
            let others: Vec<&str> = failed(drill).map(|check| check.name.name()).collect();
            match (drill.jobs.as_ref().map_or(drill.dropped, |jobs| jobs.lost), others.is_empty()) {
                (0, false) => format!("{dropped}{exit}; {} failed", others.join(", ")),
                _ => format!("{dropped}{exit}"),
            }
        }
    };
    format!("{}  {verdict}  {what}\n", paint.with("2", &format!("{number}{of}  {}", drill.title)))
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

fn has_load(drill: &Drill) -> bool {
    !drill.requests.is_empty() || drill.jobs.is_some()
}

fn failed(drill: &Drill) -> impl Iterator<Item = &Check> {
    drill.checks.iter().filter(|check| check.result == CheckResult::Fail)
}

fn one(text: &mut String, drill: &Drill, says_why: bool, verbosity: Verbosity, time: Time, paint: Paint) {
    let command = if drill.command.is_empty() { String::new() } else { format!(": {}", drill.command.join(" ")) };
    broken(text, "  ", 2, &format!("{}{command}", drill.title), |line| paint.with("1", line));
    if !drill.requests.is_empty() {
        let what = format!("{} requests a second to {}", drill.rate, targets(drill));
        broken(text, "  ", 2, &what, |line| paint.with("2", line));
    }
    text.push('\n');
    if let Some(why) = drill.inconclusive.as_ref().filter(|_| says_why) {
        labelled(text, "unclear", "33", why, paint);
        text.push('\n');
    }
    if !has_load(drill) {
        return;
    }
    if let Some(jobs) = &drill.jobs {
        labelled(text, "jobs", "1", &fates(jobs), paint);
        text.push('\n');
    }
    causes(text, drill, paint);
    draw(text, drill, time, paint);
    if verbosity == Verbosity::Full {
        moments(text, drill, paint);
        counts(text, drill);
        for check in &drill.checks {
            checked(text, check, paint);
        }
        text.push('\n');
    }
}

/// The findings, the failures that none of them explains, what could not be told, and the remarks.
fn causes(text: &mut String, drill: &Drill, paint: Paint) {
    for finding in &drill.findings {
        let (colour, names) = checks_of(drill, finding);
        labelled(text, "why", colour, &finding.words, paint);
        labelled(text, "fix", "32", &finding.fix, paint);
        labelled(text, "fails", "2", &names, paint);
        text.push('\n');
    }
    let unexplained = |check: &&Check| !drill.findings.iter().any(|finding| finding.checks.contains(&check.name));
    let (mut told, before) = (false, text.len());
    for check in drill.checks.iter().filter(unexplained) {
        let (label, colour) = match check.result {
            CheckResult::Fail => ("FAIL", "1;31"),
            CheckResult::Unknown => ("unknown", "33"),
            CheckResult::Pass | CheckResult::Expected | CheckResult::Skipped => continue,
        };
        labelled(text, label, colour, &format!("{}: {}", check.name, check.evidence), paint);
        told = true;
    }
    for remark in &drill.remarks {
        labelled(text, "note", "36", remark, paint);
        told = true;
    }
    let passed = drill.checks.iter().filter(|check| check.result == CheckResult::Pass).count();
    if passed > 0 {
        labelled(text, "pass", "32", &of_checks(drill, passed), paint);
        told = true;
    }
    if told && text.len() > before {
        text.push('\n');
    }
}

/// "5 of 9 checks", with what was skipped.
fn of_checks(drill: &Drill, passed: usize) -> String {
    let skipped = drill.checks.iter().filter(|check| check.result == CheckResult::Skipped).count();
    let skipped = if skipped > 0 { format!("; {skipped} skipped") } else { String::new() };
    format!("{passed} of {}{skipped}", counted(drill.checks.len(), "check"))
}

/// The names of the checks that fail because of it; and red, if one of them counts.
fn checks_of(drill: &Drill, finding: &Finding) -> (&'static str, String) {
    let result = |name: CheckName| drill.checks.iter().find(|check| check.name == name).map(|check| check.result);
    let names = finding.checks.iter().map(|name| match result(*name) {
        Some(CheckResult::Expected) => format!("{name} (expected)"),
        _ => name.to_string(),
    });
    let counts = finding.checks.iter().any(|name| result(*name) == Some(CheckResult::Fail));
    (if counts { "1;31" } else { "33" }, names.collect::<Vec<String>>().join(", "))
}

/// Writes "  why      what it was", with further lines below the text.
fn labelled(text: &mut String, label: &str, colour: &str, words: &str, paint: Paint) {
    let head = format!("  {}", paint.with(colour, &format!("{label:<8}")));
    broken(text, &head, 10, words, str::to_owned);
}

/// Writes words after a head, with further lines indented; line ends in the words stay.
fn broken(text: &mut String, head: &str, indent: usize, words: &str, paint: impl Fn(&str) -> String) {
    let mut lines: Vec<String> = Vec::new();
    for given in words.lines() {
        let mut line = String::new();
        let mut width = indent;
        for word in given.split(' ') {
            let long = word.chars().count();
            if !line.is_empty() && width + 1 + long > LINE {
                lines.push(std::mem::take(&mut line));
                width = indent;
            } else if !line.is_empty() {
                line.push(' ');
                width += 1;
            }
            line.push_str(word);
            width += long;
        }
        lines.push(line);
    }
    text.push_str(head);
    for (at, line) in lines.iter().enumerate() {
        if at > 0 {
            _ = write!(text, "\n{:indent$}", "");
        }
        text.push_str(&paint(line));
    }
    text.push('\n');
}

fn signed(at_s: f64) -> String {
    let sign = if at_s < 0.0 { '-' } else { '+' };
    format!("{sign}{:.3} s", at_s.abs())
}

fn moments(text: &mut String, drill: &Drill, paint: Paint) {
    for moment in &drill.timeline {
        let words = match moment.what {
            TimelineMarkKind::Stop => paint.with("1", &moment.words),
            TimelineMarkKind::Kill | TimelineMarkKind::Leftovers => paint.with("31", &moment.words),
            _ => moment.words.clone(),
        };
        broken(text, &format!("  {:>9}  ", signed(moment.at_s)), 13, &words, str::to_owned);
    }
    text.push('\n');
}

/// The time that the charts show, the same for all of them.
#[derive(Clone, Copy)]
struct Time {
    begin_s: f64,
    end_s: f64,
}

impl Time {
    fn of(drills: &[&Drill]) -> Time {
        let requests = || drills.iter().flat_map(|drill| &drill.requests);
        let begin_s = requests().map(|record| record.sent_s).fold(0.0, f64::min);
        let ends = drills.iter().flat_map(|drill| [Some(drill.lb_lag_s), drill.at(TimelineMarkKind::Exit)]).flatten();
        let jobs = || drills.iter().filter_map(|drill| drill.jobs.as_ref());
        let begin_s = jobs().flat_map(|jobs| &jobs.list).map(|job| job.submitted_s).fold(begin_s, f64::min);
        let looks = jobs().flat_map(|jobs| &jobs.curve).map(|look| look.at_s);
        let ended = requests().map(|record| record.ended_s);
        let end_s = ended.chain(ends).chain(looks).fold(begin_s + 0.001, f64::max);
        Time { begin_s, end_s }
    }

    fn column(self, at_s: f64) -> usize {
        let last = (WIDTH - 1) as f64;
        ((at_s - self.begin_s) / (self.end_s - self.begin_s) * last).round().clamp(0.0, last) as usize
    }
}

/// Draws a line for each kind: what became of the requests sent in each column's time, the worst of them.
fn draw(text: &mut String, drill: &Drill, time: Time, paint: Paint) {
    let mut ruler = vec![' '; WIDTH];
    let mut legend = Vec::new();
    // Side by side where they fall together.
    let marks = [
        (drill.at(TimelineMarkKind::Stop), 'S', "stop"),
        (drill.at(TimelineMarkKind::Exit), 'X', "exit"),
        (drill.at(TimelineMarkKind::LoadEnds), 'L', "the load balancer stops sending"),
    ];
    for (at, mark, name) in marks.into_iter().filter_map(|(at, mark, name)| Some((at?, mark, name))) {
        let from = time.column(at);
        let free = ruler.iter().skip(from).position(|cell| *cell == ' ').map(|free| from + free);
        if let Some(free) = free.or_else(|| ruler.iter().rposition(|cell| *cell == ' ')) {
            ruler[free] = mark;
            legend.push(format!("{mark} {name}"));
        }
    }
    _ = writeln!(text, "  {:>9}  {}", "", ruler.iter().collect::<String>().trim_end());
    for kind in ClientKind::ALL {
        let mine: Vec<&Record> = drill.requests.iter().filter(|record| record.kind == kind).collect();
        if mine.is_empty() {
            continue;
        }
        let mut cells: Vec<Option<Mark>> = vec![None; WIDTH];
        for record in mine {
            let mark = Mark::of(drill, record);
            let from = time.column(record.sent_s);
            let to = time.column(record.ended_s).max(from);
            for (at, cell) in cells.iter_mut().enumerate().take(to + 1).skip(from) {
                // A line until the outcome, whose mark is at its end.
                let here = if at == to { mark } else { Mark::Waits };
                *cell = Some(cell.map_or(here, |known| known.max(here)));
            }
        }
        let line: String =
            cells.into_iter().map(|cell| cell.map_or(" ".to_owned(), |mark| mark.shown(paint))).collect();
        _ = writeln!(text, "  {:>9}  {}", kind.name(), line.trim_end());
    }
    let mut marks = Vec::new();
    if let Some(jobs) = &drill.jobs {
        marks.extend(draw_jobs(text, jobs, time, paint));
    }
    if !drill.requests.is_empty() {
        let drawn = |mark: Mark| drill.requests.iter().any(|record| Mark::of(drill, record) == mark);
        marks.extend([". ok", "- under way"]);
        marks.extend(drawn(Mark::Dropped).then_some("x dropped"));
        marks.extend(drawn(Mark::Late).then_some("! failed later"));
    }
    let lines = format!("{}\n{}", legend.join(", "), marks.join(", "));
    broken(text, &format!("  {:>9}  ", ""), 13, lines.trim_start(), |line| paint.with("2", line));
    text.push('\n');
}

/// Draws what became of the jobs submitted in each column's time, the worst of them; returns what the marks mean.
fn draw_jobs(text: &mut String, jobs: &JobCounts, time: Time, paint: Paint) -> Vec<&'static str> {
    let mut cells: Vec<Option<Fate>> = vec![None; WIDTH];
    for job in &jobs.list {
        let cell = &mut cells[time.column(job.submitted_s)];
        *cell = Some(cell.map_or(job.fate, |known| known.max(job.fate)));
    }
    let mark = |fate: Fate| match fate {
        Fate::Done => (". done", "32", "."),
        Fate::Queued => ("q queued", "33", "q"),
        Fate::Lost => ("x lost", "1;31", "x"),
        Fate::Unknown => ("? cannot be told", "33", "?"),
    };
    let line = cells.iter().map(|cell| match cell.map(mark) {
        Some((_, colour, sign)) => paint.with(colour, sign),
        None => " ".to_owned(),
    });
    _ = writeln!(text, "  {:>9}  {}", "jobs", line.collect::<String>().trim_end());
    let all = [Fate::Done, Fate::Queued, Fate::Lost, Fate::Unknown];
    all.into_iter().filter(|fate| jobs.list.iter().any(|job| job.fate == *fate)).map(|fate| mark(fate).0).collect()
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
        match (record.outcome.is_ok() || record.outcome == RequestOutcome::Unfinished, drill.is_dropped(record)) {
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
    let mut line = |name: &str, words: &str| broken(text, &format!("  {name:>9}  "), 13, words, str::to_owned);
    for kind in ClientKind::ALL {
        let mut counts: BTreeMap<RequestOutcome, usize> = BTreeMap::new();
        for record in drill.requests.iter().filter(|record| record.kind == kind) {
            *counts.entry(record.outcome).or_default() += 1;
        }
        let parts: Vec<String> = counts.iter().map(|(outcome, count)| format!("{count} {}", outcome.words())).collect();
        if !parts.is_empty() {
            line(kind.name(), &parts.join(", "));
        }
    }
    let latency = |latency: Latency| {
        if latency.count == 0 {
            return "none was ok".to_owned();
        }
        format!("p50 {}, p99 {}, max {}", seconds(latency.p50_s), seconds(latency.p99_s), seconds(latency.max_s))
    };
    if drill.requests.is_empty() {
        // The jobs of a worker have none.
    } else if drill.at(TimelineMarkKind::Stop).is_some() {
        line("latency", &format!("before the stop {}", latency(drill.latency.before)));
        line("", &format!("after the stop {}", latency(drill.latency.after)));
    } else {
        line("latency", &format!("first part {}", latency(drill.latency.before)));
        line("", &format!("second part {}", latency(drill.latency.after)));
    }
    for seen in &drill.in_flight {
        let words = format!(
            "at the {}: {} busy, {} unknown, {} never accepted, {}; {} of the clients",
            seen.moment,
            seen.counts.busy,
            seen.counts.unknown,
            seen.counts.unaccepted,
            counted(seen.counts.idle, "idle connection"),
            counted(seen.clients, "request")
        );
        line("in flight", &words);
    }
    text.push('\n');
}

fn checked(text: &mut String, check: &Check, paint: Paint) {
    let mark = match check.result {
        CheckResult::Pass => paint.with("32", "pass"),
        CheckResult::Fail => paint.with("1;31", "FAIL"),
        CheckResult::Expected => paint.with("33", "fail"),
        CheckResult::Skipped => paint.with("2", "skip"),
        CheckResult::Unknown => paint.with("33", "????"),
    };
    let allowed = if check.result == CheckResult::Expected { " (expected)" } else { "" };
    broken(text, &format!("  {mark}  {:<17}", check.name), 25, &format!("{}{allowed}", check.evidence), str::to_owned);
}

/// How many requests, or jobs.
fn sent(drill: &Drill) -> String {
    match &drill.jobs {
        Some(jobs) => counted(jobs.submitted, "job"),
        None => counted(drill.requests.len(), "request"),
    }
}

/// How many requests were dropped, or jobs lost.
fn unanswered(drill: &Drill) -> String {
    match &drill.jobs {
        Some(jobs) => format!("{} lost", count(jobs.lost)),
        None => format!("{} dropped", count(drill.dropped)),
    }
}

/// Writes both sides in two columns.
fn compare(text: &mut String, bare: &Drill, supervised: &Drill, paint: Paint) {
    let exit = |drill: &Drill| drill.at(TimelineMarkKind::Exit).map_or("never".to_owned(), signed);
    let rows = [
        ("", "bare".to_owned(), "under graceful".to_owned()),
        ("load", sent(bare), sent(supervised)),
        ("", unanswered(bare), unanswered(supervised)),
        ("exit", exit(bare), exit(supervised)),
        ("verdict", bare.verdict.words().to_owned(), supervised.verdict.words().to_owned()),
    ];
    for (name, left, right) in rows {
        let line = format!("  {name:<17}{left:>16}{right:>18}");
        _ = writeln!(text, "{}", if left == "bare" { paint.with("1", &line) } else { line });
    }
    for check in &bare.checks {
        let other = supervised.checks.iter().find(|other| other.name == check.name);
        let word = |result: CheckResult| match result {
            CheckResult::Pass => "pass",
            CheckResult::Fail => "FAIL",
            CheckResult::Expected => "fail, expected",
            CheckResult::Skipped => "-",
            CheckResult::Unknown => "?",
        };
        let right = other.map_or("-", |other| word(other.result));
        _ = writeln!(text, "  {:<17}{:>16}{right:>18}", check.name, word(check.result));
    }
}

#[cfg(test)]
#[path = "terminal_tests.rs"]
mod tests;

//! Numbers for people, other people's texts made harmless, and which drills of a document a person looks at.

use crate::drill::evidence::{Document, Drill, JobCounts};

/// Escapes a text for the text and the quoted attributes of HTML and of XML. What neither may contain becomes U+FFFD.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A point in time, relative to the stop: "+1.203 s".
pub(super) fn moment(seconds: f64) -> String {
    // What rounds to nothing has no sign.
    match (seconds * 1000.0).round() {
        0.0 => "0.000 s".to_string(),
        ms if ms < 0.0 => format!("\u{2212}{:.3} s", -ms / 1000.0),
        ms => format!("+{:.3} s", ms / 1000.0),
    }
}

/// How long something took: "12.3 ms", "1.203 s".
pub(super) fn duration(seconds: f64) -> String {
    if seconds.abs() < 0.9995 { format!("{:.1} ms", seconds * 1000.0) } else { format!("{seconds:.3} s") }
}

/// What was asked for in seconds, without digits that say nothing: "5 s", "0.25 s".
pub(super) fn plain(seconds: f64) -> String {
    format!("{} s", (seconds * 1000.0).round() / 1000.0)
}

/// With a comma for thousands: "12,345".
pub(super) fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + 4);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// "1 request", "12,345 requests".
pub(in crate::drill) fn counted(number: usize, what: &str) -> String {
    format!("{} {what}{}", count(number), if number == 1 { "" } else { "s" })
}

/// What a drill has lost, in few words: "3 of 200 requests dropped", "2 of 50 jobs lost".
pub(in crate::drill) fn lost(drill: &Drill) -> String {
    match &drill.jobs {
        Some(jobs) => format!("{} of {} lost", count(jobs.lost), counted(jobs.submitted, "job")),
        None => format!("{} of {} dropped", count(drill.dropped), counted(drill.requests.len(), "request")),
    }
}

/// The jobs of a worker by what became of them: "50 submitted: 47 done (1 of them more than once), 1 queued, 2 lost".
pub(super) fn fates(jobs: &JobCounts) -> String {
    let mut parts = Vec::new();
    let again = jobs.done_twice + jobs.done_and_queued;
    let twice = match again {
        0 => String::new(),
        _ => format!(" ({} of them more than once)", count(again)),
    };
    parts.push(format!("{} done{twice}", count(jobs.done)));
    parts.push(format!("{} queued", count(jobs.queued)));
    parts.push(format!("{} lost", count(jobs.lost)));
    if jobs.unknown > 0 {
        parts.push(format!("{} unknown", count(jobs.unknown)));
    }
    format!("{} submitted: {}", count(jobs.submitted), parts.join(", "))
}

/// The targets, with a server named once where it stays the same: "GET http://127.0.0.1:8080/, /slow".
pub(super) fn targets(drill: &Drill) -> String {
    let origin = |target: &str| {
        let (_, rest) = target.split_once("://")?;
        Some(target.len() - rest.len() + rest.find('/')?)
    };
    let mut before = None;
    let mut named = Vec::new();
    for target in &drill.targets {
        let this = origin(target).and_then(|end| target.split_at_checked(end));
        match this {
            Some((origin, path)) if before == Some(origin) => named.push(path),
            _ => named.push(target),
        }
        before = this.map(|(origin, _)| origin);
    }
    named.join(", ")
}

/// The two sides of `--compare`: the worst drill under graceful, and the bare one that ran beside it.
pub(super) fn compared(document: &Document) -> Option<(&Drill, &Drill)> {
    let pairs = document.drills.windows(2).filter_map(|pair| match pair {
        [bare, other] if document.is_compared() && bare.is_bare() && !other.is_bare() => Some((bare, other)),
        _ => None,
    });
    pairs.max_by_key(|(_, other)| (other.verdict, other.dropped))
}

/// The drills that a person is shown: both sides of a comparison, or the worst.
pub(super) fn shown(document: &Document) -> Vec<&Drill> {
    match compared(document) {
        Some((bare, supervised)) => vec![bare, supervised],
        None => document.worst().into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_is_markup_afterwards() {
        assert_eq!(
            escape("<a href=\"x\" b='y'>&\u{1b}[0m\n"),
            "&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;\u{fffd}[0m\n"
        );
    }

    #[test]
    fn a_server_is_named_once() {
        let mut drill = crate::drill::report::testing::drill(Vec::new());
        let named = |drill: &mut Drill, all: &[&str]| {
            drill.targets = all.iter().map(|target| (*target).to_owned()).collect();
            targets(drill)
        };
        assert_eq!(named(&mut drill, &["GET http://h:1/", "GET http://h:1/slow"]), "GET http://h:1/, /slow");
        let other = ["GET http://h:1/", "POST http://h:1/x", "GET http://h:2/"];
        assert_eq!(named(&mut drill, &other), other.join(", "));
        assert_eq!(named(&mut drill, &["GET nonsense", "GET nonsense"]), "GET nonsense, GET nonsense");
    }

    #[test]
    fn numbers_are_for_people() {
        assert_eq!(moment(-0.25), "\u{2212}0.250 s");
        assert_eq!(moment(-0.0001), "0.000 s");
        assert_eq!(moment(12.0), "+12.000 s");
        assert_eq!(
            (duration(0.0123), duration(0.9999), duration(2.0)),
            ("12.3 ms".into(), "1.000 s".into(), "2.000 s".into())
        );
        assert_eq!((plain(5.0), plain(0.25)), ("5 s".into(), "0.25 s".into()));
        assert_eq!(
            (count(7), count(999), count(12345), count(1_000_000)),
            ("7".into(), "999".into(), "12,345".into(), "1,000,000".into())
        );
    }
}

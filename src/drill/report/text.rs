//! Numbers for people, and texts of others made harmless.

/// For the text and the quoted attributes of HTML and of XML. What neither may contain becomes U+FFFD.
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

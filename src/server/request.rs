//! What a request asks for, beyond its path: query and Accept.

use hyper::header::{ACCEPT, HeaderMap};
use url::form_urlencoded;

/// More names than this in `?exclude=` are not looked at, so that they exclude nothing.
const MAX_EXCLUDED: usize = 64;

/// The query of a probe; what is unknown in it is ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    /// `verbose`, but not `verbose=false` or `verbose=0`.
    pub(super) verbose: bool,
    /// The names of every `exclude=NAME`.
    pub(super) exclude: Vec<String>,
}

impl Query {
    /// Decodes percent signs and plus signs, as in an HTML form.
    pub(super) fn read(query: &str) -> Query {
        let mut read = Query::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "verbose" => read.verbose = !matches!(&*value, "false" | "0"),
                "exclude" if read.exclude.len() < MAX_EXCLUDED => read.exclude.push(value.into_owned()),
                _ => {}
            }
        }
        read
    }
}

/// Whether Accept asks for JSON and does not prefer plain text (RFC 9110, section 12.5.1). JSON must be named, by
/// itself or as application/*: `*/*` and no Accept at all mean text.
pub(super) fn wants_json(headers: &HeaderMap) -> bool {
    let ranges = || {
        let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).map(media_range)
    };
    // The most specific range that is there decides.
    let quality = |specific: &[&[&str]]| {
        let best = |names: &&[&str]| {
            let named = ranges().filter(|(range, _)| names.iter().any(|name| range.eq_ignore_ascii_case(name)));
            named.map(|(_, quality)| quality).max()
        };
        specific.iter().find_map(best).unwrap_or(0)
    };
    let json = quality(&[&["application/json", "application/health+json"], &["application/*"]]);
    json > 0 && json >= quality(&[&["text/plain"], &["text/*"], &["*/*"]])
}

/// `application/json;q=0.5` as its name and its quality in thousandths.
fn media_range(text: &str) -> (&str, u16) {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let quality = parts.find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.trim_end().eq_ignore_ascii_case("q").then(|| value.trim().parse::<f32>().ok())?
    });
    // What is not a number from 0 to 1 is ignored.
    let quality = quality.filter(|quality| (0.0..=1.0).contains(quality)).unwrap_or(1.0);
    (name, (quality * 1000.0).round() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn a_query_is_read() {
        let query =
            |verbose, exclude: &[&str]| Query { verbose, exclude: exclude.iter().map(|s| s.to_string()).collect() };
        for (text, expected) in [
            ("", query(false, &[])),
            ("verbose", query(true, &[])),
            ("verbose=", query(true, &[])),
            ("verbose=1", query(true, &[])),
            ("verbose=true&x=y", query(true, &[])),
            ("verbose=0", query(false, &[])),
            ("verbose=false", query(false, &[])),
            ("verbosely&VERBOSE", query(false, &[])),
            ("exclude=db&verbose&exclude=my%20cache", query(true, &["db", "my cache"])),
            ("exclude=a+b&exclude=%C3%A4%FF", query(false, &["a b", "ä\u{fffd}"])),
            ("&&==&%&exclude", query(false, &[""])),
        ] {
            assert_eq!(Query::read(text), expected, "{text}");
        }
    }

    #[test]
    fn names_to_exclude_are_bounded() {
        assert_eq!(Query::read(&"exclude=x&".repeat(5000)).exclude.len(), MAX_EXCLUDED);
    }

    #[test]
    fn json_has_to_be_asked_for() {
        for (accept, json) in [
            (&[][..], false),
            (&[""], false),
            (&["*/*"], false),
            (&["text/plain"], false),
            (&["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"], false),
            (&["application/json"], true),
            (&["Application/JSON ; Q=0.1"], true),
            (&["application/health+json"], true),
            (&["application/*"], true),
            (&["application/json, */*"], true),
            (&["application/json", "text/plain"], true),
            (&["text/plain, application/json"], true),
            (&["text/plain, application/json;q=0.9"], false),
            (&["text/plain;q=0.5, application/json;charset=utf-8;q=0.6"], true),
            (&["application/json;q=0.4, text/*;q=0.3, */*"], true),
            (&["application/json;q=0"], false),
            (&["application/json;q=0, application/*"], false),
            (&["application/json;q=nan, text/plain"], true),
            (&["application/json;q=-1;q=0"], true),
        ] {
            let mut headers = HeaderMap::new();
            for value in accept {
                headers.append(ACCEPT, HeaderValue::from_static(value));
            }
            assert_eq!(wants_json(&headers), json, "{accept:?}");
        }
        let mut headers = HeaderMap::new();
        headers.append(ACCEPT, HeaderValue::from_bytes(b"application/json, \xff").unwrap());
        assert!(!wants_json(&headers));
    }
}

//! Headers of the load, as curl's and oha's `-H` take them. Pure.
//!
//! | typed | sent |
//! | --- | --- |
//! | `Authorization: Bearer x` | this, instead of what the drill would send by this name |
//! | `User-Agent:` | no such header, not even the drill's own |
//! | the same name twice | both |
//!
//! A value may be a secret: it is sent, and never shown.

use crate::reason::Reason;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
};

/// Those that the drill sets itself: it says where a message ends, and which connections are kept.
const OWN: [HeaderName; 6] = [CONNECTION, CONTENT_LENGTH, EXPECT, TE, TRANSFER_ENCODING, UPGRADE];

/// One header.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    name: HeaderName,
    /// None: the header is left out.
    value: Option<HeaderValue>,
}

impl Header {
    /// Reads `Name: value`, or `Name:` for no header by this name.
    ///
    /// # Errors
    /// It is not a header, or one that the drill sets itself; the message does not show its value.
    pub fn parse(text: &str) -> Result<Header, Reason> {
        const RIGHT: &str = "expected 'Name: value', as 'Content-Type: application/json'";
        let (name, value) = text.split_once(':').ok_or_else(|| format!("there is no colon; {RIGHT}"))?;
        let name = name.trim();
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| format!("what stands before the colon is not the name of a header; {RIGHT}"))?;
        if OWN.contains(&name) {
            let instead = match name {
                CONNECTION => "--mix says which connections are kept",
                CONTENT_LENGTH | TRANSFER_ENCODING => "the length is that of the target's body",
                _ => "it asks for an answer that the drill does not count",
            };
            return Err(format!("the drill sets {name} itself; leave it out: {instead}").into());
        }
        let value = value.trim();
        if value.is_empty() {
            return Ok(Header { name, value: None });
        }
        let mut value = HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| format!("the value has a character that no header may have, as a line end; {RIGHT}"))?;
        value.set_sensitive(true);
        Ok(Header { name, value: Some(value) })
    }

    /// Reads one header per line; empty lines and those that begin with `#` are passed over.
    ///
    /// # Errors
    /// The number of the first line that is not a header, and why.
    pub fn parse_file(text: &str) -> Result<Vec<Header>, Reason> {
        let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
        let headers = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        headers.map(|(at, line)| Header::parse(line).map_err(|why| format!("line {at}: {why}").into())).collect()
    }

    /// Puts them in place of those that are there by the same names.
    pub(super) fn apply(headers: &[Header], to: &mut HeaderMap) {
        for header in headers {
            to.remove(&header.name);
        }
        for Header { name, value } in headers {
            if let Some(value) = value {
                to.append(name.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{AUTHORIZATION, HOST, USER_AGENT};

    fn applied(texts: &[&str]) -> Vec<String> {
        let mut map = HeaderMap::new();
        map.insert(HOST, HeaderValue::from_static("127.0.0.1:1"));
        map.insert(USER_AGENT, HeaderValue::from_static("drill"));
        let headers: Vec<Header> = texts.iter().map(|text| Header::parse(text).unwrap()).collect();
        Header::apply(&headers, &mut map);
        let mut all: Vec<String> =
            map.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap_or("?"))).collect();
        all.sort();
        all
    }

    #[test]
    fn what_is_given_takes_the_place_of_what_is_there() {
        assert_eq!(applied(&[]), ["host=127.0.0.1:1", "user-agent=drill"]);
        assert_eq!(applied(&["host:  app.test "]), ["host=app.test", "user-agent=drill"]);
        assert_eq!(applied(&["User-Agent:"]), ["host=127.0.0.1:1"]);
        assert_eq!(
            applied(&["X-A: 1", "x-a: 2:3", "User-Agent: me"]),
            ["host=127.0.0.1:1", "user-agent=me", "x-a=1", "x-a=2:3"]
        );
    }

    #[test]
    fn a_value_is_not_shown() {
        let header = Header::parse("Authorization: Bearer hush").unwrap();
        assert!(!format!("{header:?}").contains("hush"), "{header:?}");
        assert_eq!(header.name, AUTHORIZATION);
    }

    #[test]
    fn what_is_no_header_is_refused_without_its_value() {
        for (text, why) in [
            ("Authorization hush", "no colon"),
            ("Author ization: hush", "not the name of a header"),
            (": hush", "not the name of a header"),
            ("X-A: hu\nsh", "no header may have"),
            ("Content-Length: 5", "the target's body"),
            ("transfer-encoding: chunked", "the target's body"),
            ("Connection: close", "--mix"),
            ("Upgrade: websocket", "does not count"),
        ] {
            let error = Header::parse(text).unwrap_err();
            assert!(error.to_string().contains(why) && !error.to_string().contains("hush"), "{text}: {error}");
        }
    }

    #[test]
    fn a_file_has_one_a_line() {
        let headers = Header::parse_file("# the token of staging\nAuthorization: a\n\n  X-B: b\r\n").unwrap();
        assert_eq!(headers, [Header::parse("Authorization: a").unwrap(), Header::parse("X-B: b").unwrap()]);
        assert_eq!(Header::parse_file(""), Ok(Vec::new()));
        assert!(Header::parse_file("X-A: a\n\nhush").unwrap_err().to_string().starts_with("line 3: there is no colon"));
    }
}

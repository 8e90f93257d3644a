//! What may hold a secret, and how it is shown: URLs, command lines, what a check sends.
//!
//! A password in a URL, a token in its query, a webhook's path, a header on a command line: all of them reach graceful
//! by options, and none of them may leave it by a log, a report, a metric, a probe's answer or a message of wrong
//! usage. So the types here have no text other than the safe one; whoever needs the whole says so ([`url::Url::as_str`]
//! and its like).
//!
//! | what | shown as |
//! | --- | --- |
//! | `https://amy:pw@db:8443/health?token=x#y` | `https://…@db:8443/health?…#…` |
//! | `unix:/run/app.sock:/health?token=x` | `unix:/run/app.sock:/health?…` |
//! | the same where it is a webhook | `db`: there the path is the secret |
//! | `/bin/curl -H 'Authorization: x' http://h/` | `curl` |
//! | what a check sends | `…` |
//!
//! What somebody typed and what may not even parse ([`hidden`], [`hidden_command`]) is treated by the same rules, and
//! in doubt more is hidden than would have to be.

use std::ffi::OsString;
use std::fmt;
use std::ops::Deref;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What stands where something is left out.
const LEFT_OUT: char = '…';
/// The scheme of a Unix socket.
const UNIX: &str = "unix";

/// A URL. Its text is without user, password, query and fragment.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(url::Url);

impl Url {
    /// As the `url` crate parses it.
    ///
    /// # Errors
    /// The text is not a URL.
    pub fn parse(text: &str) -> Result<Url, url::ParseError> {
        url::Url::parse(text).map(Url)
    }

    /// The parts of `unix:/run/app.sock:/path`, as nginx writes it: the socket, and the path that is requested there,
    /// which is `/` if there is none. The first `:/` is where the one ends and the other begins.
    pub fn unix_socket(&self) -> Option<(PathBuf, &str)> {
        if self.0.scheme() != UNIX {
            return None;
        }
        let (socket, path) = match self.0.path().split_once(":/") {
            // The slash belongs to the path.
            Some((socket, _)) => (socket, self.0.path().get(socket.len() + 1..).unwrap_or("/")),
            None => (self.0.path(), "/"),
        };
        let socket: Vec<u8> = percent_encoding::percent_decode_str(socket).collect();
        Some((PathBuf::from(OsString::from_vec(socket)), path))
    }

    /// What is written on the request line: path and query.
    pub fn request_target(&self) -> String {
        let path = self.unix_socket().map_or(self.0.path(), |(_, path)| path);
        match self.0.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        }
    }

    /// The same place with another path, and another query if that has one: `/slow?ms=300`.
    ///
    /// # Errors
    /// The path does not begin with a slash.
    pub fn with_target(&self, target: &str) -> Result<Url, url::ParseError> {
        if !target.starts_with('/') {
            return Err(url::ParseError::RelativeUrlWithoutBase);
        }
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let mut url = self.0.clone();
        match self.unix_socket() {
            Some(_) => {
                let socket = self.0.path().split(":/").next().unwrap_or_default();
                url.set_path(&format!("{socket}:{path}"));
            }
            None => url.set_path(path),
        }
        url.set_query(query);
        url.set_fragment(None);
        Ok(Url(url))
    }

    /// The same place by https.
    pub fn with_tls(&self) -> Option<Url> {
        let mut url = self.0.clone();
        url.set_scheme("https").ok().map(|()| Url(url))
    }

    /// The host alone, for where the path may be the secret.
    pub fn host_alone(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The value of an Authorization header for its user and password (RFC 7617), if it has any.
    pub fn basic_authorization(&self) -> Option<String> {
        use base64::Engine;
        if self.0.username().is_empty() && self.0.password().is_none() {
            return None;
        }
        let decoded = |text: &str| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
        let mut both = decoded(self.0.username());
        both.push(b':');
        both.extend(decoded(self.0.password().unwrap_or_default()));
        Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(both)))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = &self.0;
        write!(f, "{}:{}", url.scheme(), if url.scheme() == UNIX { "" } else { "//" })?;
        if !url.username().is_empty() || url.password().is_some() {
            write!(f, "{LEFT_OUT}@")?;
        }
        f.write_str(url.host_str().unwrap_or_default())?;
        if let Some(port) = url.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(url.path())?;
        for (mark, part) in [('?', url.query()), ('#', url.fragment())] {
            if part.is_some_and(|part| !part.is_empty()) {
                write!(f, "{mark}{LEFT_OUT}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

/// The whole URL, for those who ask for it.
impl Deref for Url {
    type Target = url::Url;

    fn deref(&self) -> &url::Url {
        &self.0
    }
}

impl From<url::Url> for Url {
    fn from(url: url::Url) -> Url {
        Url(url)
    }
}

impl FromStr for Url {
    type Err = url::ParseError;

    fn from_str(text: &str) -> Result<Url, url::ParseError> {
        Url::parse(text)
    }
}

/// An argv. Its text is the program's file name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CommandLine(Vec<String>);

impl From<Vec<String>> for CommandLine {
    fn from(argv: Vec<String>) -> CommandLine {
        CommandLine(argv)
    }
}

impl Deref for CommandLine {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = self.0.first().map(String::as_str).unwrap_or_default();
        let file_name = Path::new(program).file_name().and_then(|name| name.to_str());
        f.write_str(&without_assigned(file_name.unwrap_or(program)))
    }
}

impl fmt::Debug for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CommandLine({self}, {} arguments)", self.0.len().saturating_sub(1))
    }
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl From<String> for Hidden {
    fn from(text: String) -> Hidden {
        Hidden(text)
    }
}

impl Deref for Hidden {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{LEFT_OUT}")
    }
}

/// A text that somebody typed, in which each word may be a URL, whole or broken.
pub fn hidden(text: &str) -> String {
    each_word(text, hidden_word)
}

/// A text that somebody typed as a command line or the URL of a hook: its first word, without a URL's path.
pub fn hidden_command(text: &str) -> String {
    let start = text.trim_start();
    let (first, rest) = start.split_once(char::is_whitespace).unwrap_or((start, ""));
    let shown = match first.split_once("://") {
        Some(_) => without_path(&hidden_word(first)),
        None => without_assigned(&hidden_word(first)),
    };
    if rest.trim().is_empty() { text.replacen(first, &shown, 1) } else { format!("{shown} {LEFT_OUT}") }
}

/// A text that somebody typed as the URL of a hook, perhaps without its scheme: nothing after the host.
pub fn hidden_webhook(text: &str) -> String {
    without_path(&hidden(text))
}

/// A text that somebody typed as a URL or a command line: a URL with its path, or the first word.
pub fn hidden_address(text: &str) -> String {
    let start = text.trim_start();
    match start.split_once(char::is_whitespace).unwrap_or((start, "")) {
        (first, rest) if first.contains("://") && rest.trim().is_empty() => hidden(text),
        (first, _) if first.contains("://") => format!("{} {LEFT_OUT}", hidden(first)),
        _ => hidden_command(text),
    }
}

/// `NAME=…` for `NAME=WHAT` with WHAT as `hide` makes it; all as `hide` makes it where there is no `=`.
pub fn hidden_after_name(text: &str, hide: impl Fn(&str) -> String) -> String {
    match text.split_once('=') {
        Some((name, what)) if !name.contains(char::is_whitespace) && !name.contains("://") => {
            format!("{name}={}", hide(what))
        }
        _ => hide(text),
    }
}

fn each_word(text: &str, hide: impl Fn(&str) -> String) -> String {
    let words = text.split_inclusive(char::is_whitespace);
    words
        .map(|word| {
            let end = word.trim_end_matches(char::is_whitespace);
            format!("{}{}", hide(end), &word[end.len()..])
        })
        .collect()
}

fn hidden_word(word: &str) -> String {
    let (before, rest) = match word.find("://") {
        Some(at) => word.split_at(at + "://".len()),
        // `NAME=amy:pw@host`
        None => word.split_at(word.find('=').map_or(0, |at| at + 1)),
    };
    let is_url = before.ends_with("://");
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let port = if authority.ends_with(']') { None } else { authority.rsplit_once(':').map(|(_, port)| port) };
    // A password with a / or a ? in it ends what looks like a host, and then has no port.
    let broken = port.is_some_and(|port| !port.bytes().all(|byte| byte.is_ascii_digit()));
    let user = match authority.rfind('@') {
        Some(at) if is_url || authority[..at].contains(':') => Some(at),
        Some(_) => None,
        None if broken => rest.rfind('@'),
        None => None,
    };
    let (user, rest) = match user {
        Some(at) => ("…@", &rest[at + 1..]),
        None => ("", rest),
    };
    let end = rest.find(['?', '#']).filter(|at| at + 1 < rest.len());
    match end {
        Some(at) => format!("{before}{user}{}{LEFT_OUT}", &rest[..=at]),
        None => format!("{before}{user}{rest}"),
    }
}

/// `scheme://host/…`
fn without_path(url: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + "://".len());
    match url[start..].find(['/', '?', '#']) {
        Some(at) if start + at + 1 < url.len() => format!("{}{LEFT_OUT}", &url[..=start + at]),
        _ => url.to_owned(),
    }
}

/// `TOKEN=…`: an assignment before a command, as a shell has it.
fn without_assigned(word: &str) -> String {
    match word.split_once('=') {
        Some((name, value)) if !value.is_empty() => format!("{name}={LEFT_OUT}"),
        _ => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_shows_where_it_leads_and_nothing_else() {
        for (text, shown) in [
            ("http://amy:pw@app:8080/healthz?x=1#y", "http://…@app:8080/healthz?…#…"),
            ("http://amy@app/", "http://…@app/"),
            ("http://:pw@app/a%20b", "http://…@app/a%20b"),
            ("https://app", "https://app/"),
            ("http://[::1]:80/?", "http://[::1]/"),
            ("tcp://db:5432", "tcp://db:5432"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.to_string().as_str(), format!("{url:?}")), (shown, format!("Url({shown})")));
        }
        assert_eq!(Url::parse("https://hooks.example/services/T0/SECRET").unwrap().host_alone(), "hooks.example");
    }

    #[test]
    fn user_and_password_become_a_header() {
        let header = |text: &str| Url::parse(text).unwrap().basic_authorization();
        // RFC 7617, section 2.
        assert_eq!(header("http://Aladdin:open%20sesame@h/").as_deref(), Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
        assert_eq!(header("http://a@h/").as_deref(), Some("Basic YTo="));
        assert_eq!(header("http://h/"), None);
    }

    #[test]
    fn a_command_shows_its_program() {
        let shown = |argv: &[&str]| CommandLine::from(argv.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
        let curl = shown(&["/usr/bin/curl", "-H", "Authorization: s3cret"]);
        assert_eq!(
            (curl.to_string().as_str(), format!("{curl:?}").as_str()),
            ("curl", "CommandLine(curl, 2 arguments)")
        );
        assert_eq!(shown(&["TOKEN=s3cret", "x"]).to_string(), "TOKEN=…");
        assert_eq!(shown(&[]).to_string(), "");
    }

    #[test]
    fn what_was_typed_shows_no_secret_even_if_it_is_broken() {
        for (text, shown) in [
            ("http://amy:pw@h/p?token=x", "http://…@h/p?…"),
            ("htp://amy:pw@h/", "htp://…@h/"),
            ("http://amy:p/w@h/", "http://…@h/"),
            ("http://amy:p?w@h/", "http://…@h/"),
            ("http://amy:p@w@h/#frag", "http://…@h/#…"),
            ("amy:pw@h/", "…@h/"),
            ("db=amy:pw@h/", "db=…@h/"),
            ("amy@h", "amy@h"),
            ("http://h:port/", "http://h:port/"),
            ("http://[::1]:8080/a?", "http://[::1]:8080/a?"),
            ("POST http://amy:pw@h/ x", "POST http://…@h/ x"),
            ("30", "30"),
            (" \t", " \t"),
            ("", ""),
        ] {
            assert_eq!(hidden(text), shown, "{text}");
        }
        for (text, shown) in [
            ("curl -H 'Authorization: s3cret' http://h/", "curl …"),
            ("https://hooks.example/services/T0/s3cret", "https://hooks.example/…"),
            ("https://amy:pw@hooks.example", "https://…@hooks.example"),
            ("TOKEN=s3cret curl", "TOKEN=… …"),
            ("never", "never"),
            (" ", " "),
            (" x ", " x "),
        ] {
            assert_eq!(hidden_command(text), shown, "{text}");
        }
        assert_eq!(hidden_after_name("pre-stop=TOKEN=s3cret x", hidden_command), "pre-stop=TOKEN=… …");
        assert_eq!(hidden_after_name("curl -H x=s3cret", hidden_command), "curl …");
    }
}

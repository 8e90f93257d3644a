//! One value's text to its type. Pure: no file, no environment, no other option.
//!
//! Every function answers with the value or with a lower-case fragment that says what would be right; the caller
//! adds where the value was typed. What depends on other options is checked later (`budget`, `finish`).

use super::suggest::{did_you_mean, listed};
use super::{AppSocket, ControlPlace, Escalation, Hold, HookAction, Listen, ReadyCondition};
use crate::reason::Reason;
use crate::secret::{Url, hidden};
use crate::signal::Signal;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Far beyond any budget, and near enough that adding it to a clock cannot overflow.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// `500ms`, `5s`, `2m`; zero included.
pub(crate) fn duration(text: &str) -> Result<Duration, Reason> {
    let trimmed = text.trim();
    if trimmed.starts_with('-') {
        return Err("cannot be negative; expected a duration, as 5s".into());
    }
    if !trimmed.is_empty() && trimmed.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(format!("expected a duration with a unit, as {trimmed}s").into());
    }
    let parsed = humantime::parse_duration(trimmed)
        .map_err(|_| "not a duration; expected a number and a unit, as 500ms, 5s or 2m")?;
    if parsed > LONGEST {
        return Err("longer than 100 years; expected at most that, as 500ms, 5s or 2m".into());
    }
    Ok(parsed)
}

/// A duration that must not be zero.
pub(crate) fn positive_duration(text: &str) -> Result<Duration, Reason> {
    match duration(text)? {
        Duration::ZERO => Err("must be longer than zero, as 1s".into()),
        longer => Ok(longer),
    }
}

/// A duration as a person would type it, to the millisecond.
pub(crate) fn show(duration: Duration) -> String {
    let whole = Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    humantime::format_duration(whole).to_string()
}

/// Any signal, by name or number.
pub(crate) fn signal(text: &str) -> Result<Signal, Reason> {
    Signal::parse(text.trim()).ok_or_else(|| {
        let upper = text.trim().to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let hint = did_you_mean(name, Signal::known_names(), |name| format!("SIG{name}"));
        match hint.is_empty() {
            true => Reason::from("no such signal; expected a name or a number from 1 to 64, as TERM, 15 or RTMIN+3"),
            false => format!("no such signal{hint}").into(),
        }
    })
}

/// `--stop-signal`.
pub(crate) fn stop_signal(text: &str) -> Result<Signal, Reason> {
    match signal(text)? {
        Signal::KILL => {
            Err("SIGKILL leaves the app no chance to end cleanly, and graceful sends it by itself when the \
                             budget is spent; expected a signal that the app can catch, as TERM"
                .into())
        }
        Signal::STOP => Err("SIGSTOP freezes the app instead of ending it; expected a signal that the app can \
                             catch, as TERM"
            .into()),
        other => Ok(other),
    }
}

/// `--stop-on`.
pub(crate) fn stop_on(text: &str) -> Result<Signal, Reason> {
    receivable(signal(text)?)
}

/// `--reload-on`.
pub(crate) fn reload_on(text: &str) -> Result<Option<Signal>, Reason> {
    if text.trim() == "none" {
        return Ok(None);
    }
    signal(text).and_then(receivable).map(Some)
}

/// `--control`.
pub(crate) fn control(text: &str) -> Result<ControlPlace, Reason> {
    const EXPECTED: &str = "expected unix:PATH, as unix:/run/graceful-control.sock, or none";
    match text.trim() {
        "none" => Ok(ControlPlace::Nowhere),
        address => match address.strip_prefix("unix:") {
            Some(path) if !path.is_empty() => Ok(ControlPlace::At(path.into())),
            Some(_) | None => Err(EXPECTED.into()),
        },
    }
}

/// `--reload-ready`.
pub(crate) fn reload_ready(text: &str) -> Result<ReadyCondition, Reason> {
    match text.trim() {
        "notify" => Ok(ReadyCondition::Notify),
        "url" => Ok(ReadyCondition::Url),
        other if other.starts_with(|first: char| first.is_ascii_digit() || first == '-') => {
            duration(other).map(ReadyCondition::Alive)
        }
        other => {
            let hint = did_you_mean(other, ["notify", "url"], str::to_owned);
            Err(format!("expected notify, url or a duration, as 2s{hint}").into())
        }
    }
}

/// `--parent-death-signal`: including SIGKILL, of which graceful dies at once, and its app by its own parent-death
/// signal.
pub(crate) fn parent_death_signal(text: &str) -> Result<Signal, Reason> {
    match signal(text)? {
        other @ (Signal::CHLD | Signal::STOP | Signal::CONT) => {
            Err(format!("{other} would end nothing; expected a signal that begins a stop, as TERM").into())
        }
        other => Ok(other),
    }
}

/// `FROM:TO` of `--rewrite`.
pub(crate) fn rewrite(text: &str) -> Result<(Signal, Option<Signal>), Reason> {
    let (from, to) = text.split_once(':').ok_or("expected FROM:TO, as HUP:USR1, or FROM:0 to drop the signal")?;
    let from = signal(from).and_then(receivable).map_err(|reason| format!("FROM: {reason}"))?;
    if to.trim() == "0" {
        return Ok((from, None));
    }
    let to = signal(to).and_then(not_final).map_err(|reason| format!("TO: {reason}"))?;
    Ok((from, Some(to)))
}

/// `DUR:SIG` of `--escalate`.
pub(crate) fn escalation(text: &str) -> Result<Escalation, Reason> {
    let (after, signal_name) =
        text.split_once(':').ok_or("expected DUR:SIG, as 25s:QUIT, DUR counted from the stop signal")?;
    Ok(Escalation { after: positive_duration(after)?, signal: signal(signal_name).and_then(not_final)? })
}

/// `--hold`.
pub(crate) fn hold(text: &str) -> Result<Hold, Reason> {
    const RIGHT: &str = "expected idle, quiet, never, a URL or a command";
    const WORDS: [(&str, Hold); 3] = [("idle", Hold::Idle), ("quiet", Hold::Quiet), ("never", Hold::Never)];
    let word = text.trim();
    let lower = word.to_ascii_lowercase();
    if let Some((_, hold)) = WORDS.into_iter().find(|(name, _)| *name == word) {
        return Ok(hold);
    }
    if is_http(word) {
        return http_url(word).map(Hold::Url);
    }
    if word.contains("://") {
        return Err(format!("a hold asks http:// or https:// URLs only; {RIGHT}").into());
    }
    if ["none", "off", "no", "false", "disabled", "0"].contains(&lower.as_str()) {
        return Err(format!("did you mean never? (a command of this name: by its path, as /bin/{lower})").into());
    }
    if let Some(scheme) = ["http", "https"].iter().find(|scheme| lower.starts_with(&format!("{scheme}:"))) {
        let rest = word[scheme.len() + 1..].trim_start_matches('/');
        return Err(format!("did you mean {}?", hidden(&format!("{scheme}://{rest}"))).into());
    }
    // One letter off is a slip; the command of that name can still be given by its path.
    let slip = |name: &&str| strsim::damerau_levenshtein(&lower, name) <= 1;
    if let Some((name, _)) = WORDS.iter().find(|(name, _)| slip(name)) {
        return Err(format!("did you mean {name}? (a command of this name: ./{word})").into());
    }
    argv(word).map(|argv| Hold::Command(argv.into())).map_err(|reason| format!("{reason}; {RIGHT}").into())
}

/// WHAT of `--hook STAGE=WHAT`: a URL to POST to, or a command line.
pub(crate) fn hook_action(text: &str) -> Result<HookAction, Reason> {
    match is_http(text.trim()) {
        true => http_url(text.trim()).map(HookAction::Post),
        false => argv(text).map(|argv| HookAction::Command(argv.into())),
    }
}

/// A command line, split as a shell would split it; no shell runs it.
pub(crate) fn argv(text: &str) -> Result<Vec<String>, Reason> {
    let words = shell_words::split(text).map_err(|_| "a quote in the command is not closed")?;
    match words.first() {
        None => Err("the command is empty; expected a command line, as './drain --now'".into()),
        Some(program) if program.is_empty() => Err("the command's program is empty".into()),
        Some(_) => Ok(words),
    }
}

/// What follows `unix:`, with the socket's path made a whole one.
pub(crate) fn unix_url(rest: &str) -> Result<Url, Reason> {
    const RIGHT: &str = "expected unix:SOCKET:PATH, as unix:/run/app.sock:/health";
    // unix:///run/app.sock is how others spell it.
    let rest = match rest.strip_prefix("//") {
        Some(path) if path.starts_with('/') => path,
        _ => rest,
    };
    let (socket, path) = match rest.split_once(":/") {
        Some((socket, path)) => (socket, format!("/{path}")),
        None if rest.contains(':') => return Err(format!("the path does not begin with a slash; {RIGHT}").into()),
        None => (rest, "/".to_owned()),
    };
    match socket.bytes().next() {
        None => return Err(format!("no socket is named; {RIGHT}").into()),
        Some(b'@') => return Err(format!("an abstract socket (@) is not supported; {RIGHT}").into()),
        Some(_) => {}
    }
    let socket = std::path::absolute(socket).map_err(|error| error.to_string())?;
    let socket = socket.to_str().ok_or_else(|| format!("the path of the socket is not UTF-8 text; {RIGHT}"))?;
    // These mean something else in a URL.
    let socket = socket.replace('%', "%25").replace('?', "%3F").replace('#', "%23");
    Url::parse(&format!("unix:{socket}:{path}")).map_err(|error| format!("not a URL ({error}); {RIGHT}").into())
}

/// An absolute http or https URL with a host.
pub(crate) fn http_url(text: &str) -> Result<Url, Reason> {
    http_url_or(text, "http:// or https://")
}

/// The same where other forms are taken as well: `begins` names what a URL may begin with.
pub(crate) fn http_url_or(text: &str, begins: &str) -> Result<Url, Reason> {
    let text = text.trim();
    if !is_http(text) {
        let example = match text.split_once("://") {
            _ if text.is_empty() => "http://127.0.0.1:8080/ready".to_owned(),
            Some((_, rest)) => format!("http://{rest}"),
            None if text.starts_with(':') => format!("http://127.0.0.1{text}"),
            None if text.starts_with('/') => format!("http://127.0.0.1:8080{text}"),
            None => format!("http://{text}"),
        };
        return Err(format!("expected a URL that begins with {begins}, as {}", hidden(&example)).into());
    }
    let url = Url::parse(text)
        .map_err(|error| format!("not a URL ({error}); expected one, as http://127.0.0.1:8080/ready"))?;
    match url.host_str() {
        None | Some("") => Err("the URL has no host; expected one, as http://127.0.0.1:8080/ready".into()),
        Some(_) => Ok(url),
    }
}

/// `--probe-listen`: ADDRESS:PORT, :PORT, PORT, localhost:PORT or unix:PATH, the path still as it was typed.
pub(crate) fn listen(text: &str) -> Result<Listen, Reason> {
    address(text, "expected ADDRESS:PORT, :PORT or unix:PATH, as :9090 or unix:/run/graceful.sock")
}

/// `--listen`: the same, and the name that the app knows the socket by behind a `=`.
pub(crate) fn app_socket(text: &str) -> Result<AppSocket, Reason> {
    /// sd_listen_fds_with_names(3): ASCII without control characters and colons, 255 of them at most.
    const LONGEST_NAME: usize = 255;
    let (text, name) = match text.rsplit_once('=') {
        Some((text, name)) => (text, Some(name.trim().to_owned())),
        None => (text, None),
    };
    let is_name = |name: &str| {
        (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic() && b != b':')
    };
    if name.as_deref().is_some_and(|name| !is_name(name)) {
        return Err("the name behind = has up to 255 ASCII characters, without spaces and colons, as :8000=web".into());
    }
    let address = address(text, "expected ADDRESS:PORT, :PORT or unix:PATH, as :8000 or unix:/run/app.sock=web")?;
    Ok(AppSocket { address, name })
}

fn address(text: &str, right: &str) -> Result<Listen, Reason> {
    let text = text.trim();
    if let Some(path) = text.strip_prefix("unix:") {
        // unix:///run/x.sock is how others spell it.
        let path = path.strip_prefix("//").unwrap_or(path);
        return match path {
            "" => Err(format!("the path is empty; {right}").into()),
            // unix(7): an abstract socket has no permissions, and whoever shares the network namespace may take its
            // name.
            _ if path.starts_with('@') => Err(format!(
                "an abstract socket (@) is open to everybody in its network namespace, and is not supported; expected \
                 the path of a file, as unix:/run/graceful.sock or, for a file of this name, unix:./{path}"
            )
            .into()),
            _ => Ok(Listen::Unix(path.into())),
        };
    }
    if text.starts_with('/') {
        return Err(format!("did you mean unix:{text}?").into());
    }
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    if [text, host].iter().any(|address| address.parse::<Ipv6Addr>().is_ok()) {
        return Err(format!("an IPv6 address needs brackets, as [::1]:9090; {right}").into());
    }
    let port: u16 = port.parse().map_err(|_| format!("has no port from 0 to 65535; {right}"))?;
    match host {
        "" | "*" => Ok(Listen::Tcp(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port))),
        "localhost" => Ok(Listen::Tcp(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port))),
        _ => text.parse().map(Listen::Tcp).map_err(|_| format!("{host} is not an IP address; {right}").into()),
    }
}

/// One member of `--ports`.
pub(crate) fn port(text: &str) -> Result<u16, Reason> {
    match text.trim().parse() {
        Ok(0) | Err(_) => Err("expected a port from 1 to 65535, as 8080".into()),
        Ok(port) => Ok(port),
    }
}

/// A number of times, at least 1.
pub(crate) fn count(text: &str) -> Result<u32, Reason> {
    match text.trim().parse() {
        Ok(0) | Err(_) => Err("expected a number of at least 1, as 5".into()),
        Ok(count) => Ok(count),
    }
}

/// One member of `--success-exit-status`.
pub(crate) fn success_status(text: &str) -> Result<SuccessStatus, Reason> {
    let text = text.trim();
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map(SuccessStatus::Code).map_err(|_| "expected an exit status from 0 to 255".into());
    }
    signal(text)
        .map(SuccessStatus::Signal)
        .map_err(|reason| format!("neither an exit status (0 to 255) nor a signal's name: {reason}").into())
}

/// A member of `--success-exit-status`: a plain number is a code, a name is a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SuccessStatus {
    Code(u8),
    Signal(Signal),
}

/// One of a few words.
pub(crate) fn choice<T: Copy>(text: &str, known: &[(&'static str, T)]) -> Result<T, Reason> {
    if let Some((_, value)) = known.iter().find(|(name, _)| *name == text.trim()) {
        return Ok(*value);
    }
    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    let hint = did_you_mean(text.trim(), names.iter().copied(), str::to_owned);
    Err(format!("expected {}{hint}", listed(names)).into())
}

/// Whether this claims to be a URL that HTTP can reach.
pub(crate) fn is_http(text: &str) -> bool {
    let begins =
        |scheme: &str| text.as_bytes().get(..scheme.len()).is_some_and(|b| b.eq_ignore_ascii_case(scheme.as_bytes()));
    begins("http://") || begins("https://")
}

/// Why a key is unknown: the nearest known one, or all of them.
pub(crate) fn unknown_key<'a>(what: &str, key: &str, known: impl Iterator<Item = &'a str> + Clone) -> Reason {
    match did_you_mean(key, known.clone(), str::to_owned) {
        hint if hint.is_empty() => format!(
            "unknown {what}; expected one of {}",
            known.collect::<Vec<_>>().join(
                ", \
                                            "
            )
        )
        .into(),
        hint => format!("unknown {what}{hint}").into(),
    }
}

/// Signals that graceful can be sent and can act on.
fn receivable(signal: Signal) -> Result<Signal, Reason> {
    match signal {
        Signal::CHLD => Err("SIGCHLD tells graceful that a child changed; it cannot mean anything else".into()),
        Signal::KILL | Signal::STOP => Err(format!("no process can catch {signal}, not even graceful").into()),
        other => Ok(other),
    }
}

/// Signals that leave the app a say.
fn not_final(signal: Signal) -> Result<Signal, Reason> {
    match signal {
        Signal::KILL => Err("SIGKILL is sent by graceful itself when the budget is spent".into()),
        Signal::STOP => Err("SIGSTOP would freeze the app, so that it cannot end".into()),
        other => Ok(other),
    }
}

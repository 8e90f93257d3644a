//! What a check asks: TARGET of `NAME=TARGET`, and amounts of disk space. Pure, as `values` is.

use super::suggest::did_you_mean;
use super::values::{argv, http_url, http_url_or};
use super::{CheckTarget, Space};
use crate::reason::Reason;
use crate::secret::{Url, hidden, hidden_command};
use std::path::PathBuf;
use url::Host;

/// What a target can begin with, and a whole one of that kind.
const KINDS: &[(&str, &str)] = &[
    ("http", "http://127.0.0.1:8080/health"),
    ("https", "https://127.0.0.1:8443/health"),
    ("tcp", "tcp://redis:6379"),
    ("exec", "exec:pg_isready -q"),
    ("disk", "disk:/var/lib/app"),
];

const RIGHT: &str = "expected http://…, https://…, tcp://HOST:PORT, exec:COMMAND or disk:/PATH";

/// Less free space than this is degraded.
const DEGRADED_FREE: Space = Space::Percent(20.0);

/// Less free space than this is unhealthy.
const UNHEALTHY_FREE: Space = Space::Percent(10.0);

/// Units of a size, in lower case, with their bytes. A bare K, M or G is a thousand to some and 1024 to others.
const UNITS: &[(&str, u64)] = &[
    ("", 1),
    ("b", 1),
    ("kb", 1000),
    ("mb", 1000_u64.pow(2)),
    ("gb", 1000_u64.pow(3)),
    ("tb", 1000_u64.pow(4)),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    // As Kubernetes writes them.
    ("ki", 1 << 10),
    ("mi", 1 << 20),
    ("gi", 1 << 30),
    ("ti", 1 << 40),
];

/// A target with the defaults of its kind; the path of a disk is still as it was typed.
pub(crate) fn target(text: &str) -> Result<CheckTarget, Reason> {
    let text = text.trim();
    let Some((scheme, rest)) = text.split_once(':') else {
        return Err(format!("not a kind of target; {RIGHT}").into());
    };
    match (scheme.to_ascii_lowercase().as_str(), rest.strip_prefix("//")) {
        ("http" | "https", Some(_)) => http_url(text).map(CheckTarget::Http),
        ("tcp", Some(authority)) => tcp(authority),
        // A path may begin with two slashes, but nobody writes it that way.
        ("exec", Some(command)) => {
            Err(format!("a command follows the colon at once, as exec:{}", hidden_command(command)).into())
        }
        ("exec", None) => argv(rest)
            .map(|argv| CheckTarget::Exec { argv: argv.into(), degraded_status: Vec::new() })
            .map_err(|why| format!("{why}; {RIGHT}").into()),
        ("disk", None) => disk(rest),
        // disk:///path is how a URL would have it.
        ("disk", Some(path)) if path.starts_with('/') => disk(path),
        _ => Err(unknown(text, scheme, rest)),
    }
}

/// `--ready-url` and `--live-url`: http, https, tcp://HOST:PORT, or unix:SOCKET:PATH.
pub(crate) fn ready_url(text: &str) -> Result<Url, Reason> {
    if let Some(rest) = text.trim().strip_prefix("unix:") {
        return super::values::unix_url(rest);
    }
    match text.trim().split_once("://") {
        Some((scheme, authority)) if scheme.eq_ignore_ascii_case("tcp") => {
            tcp(authority)?;
            Url::parse(text.trim())
                .map_err(|error| format!("not a URL ({error}); expected one, as tcp://127.0.0.1:8080").into())
        }
        _ => http_url_or(text, "http://, https://, tcp:// or unix:"),
    }
}

/// What the targets of this kind begin with.
pub(crate) fn kind(target: &CheckTarget) -> &'static str {
    match target {
        CheckTarget::Http(_) => "http",
        CheckTarget::Tcp { .. } => "tcp",
        CheckTarget::Exec { .. } => "exec",
        CheckTarget::Disk { .. } => "disk",
    }
}

/// A whole target of this kind.
pub(crate) fn example(kind: &str) -> &'static str {
    KINDS.iter().find(|(name, _)| *name == kind).map_or(RIGHT, |(_, example)| example)
}

/// An amount of disk space: `20%`, `5GiB`, `500MB`, `1048576`.
pub(crate) fn space(text: &str) -> Result<Space, Reason> {
    const RIGHT: &str = "expected a part of the file system, as 20%, or a size, as 5GiB or 500MB";
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number.parse().map_err(|_| RIGHT)?;
    let unit = unit.trim_start().to_ascii_lowercase();
    if unit == "%" {
        return if number <= 100.0 {
            Ok(Space::Percent(number))
        } else {
            Err("more than 100%; expected a share of the file system, as 20%".into())
        };
    }
    let Some((_, bytes)) = UNITS.iter().find(|(name, _)| *name == unit) else { return Err(RIGHT.into()) };
    if unit.is_empty() && number > 0.0 && number <= 100.0 {
        return Err(
            format!("{text} bytes are next to nothing; expected {text}%, or a size with a unit, as {text}GiB").into()
        );
    }
    match number * *bytes as f64 {
        bytes if bytes < i64::MAX as f64 => Ok(Space::Bytes(bytes as u64)),
        _ => Err(format!("larger than any file system; {RIGHT}").into()),
    }
}

/// A space as a person would type it, in the largest unit that gives a whole number.
pub(crate) fn show_space(space: Space) -> String {
    match space {
        Space::Percent(percent) => format!("{percent}%"),
        Space::Bytes(bytes) => {
            let units = [("TiB", 1_u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
            let whole = units.iter().find(|(_, unit)| bytes > 0 && bytes % unit == 0);
            whole.map_or(format!("{bytes}B"), |(name, unit)| format!("{}{name}", bytes / unit))
        }
    }
}

fn tcp(authority: &str) -> Result<CheckTarget, Reason> {
    const FORM: &str = "expected tcp://HOST:PORT, as tcp://redis:6379 or tcp://[::1]:6379";
    if authority.contains(['/', '?', '#']) {
        return Err(format!("a connection has no path and no query; {FORM}").into());
    }
    if authority.contains('@') {
        return Err(format!("a connection has no user and no password; {FORM}").into());
    }
    let (host, port) = host_and_port(authority);
    if host.contains(':') && !host.starts_with('[') {
        return Err(format!("an IPv6 address needs brackets; {FORM}").into());
    }
    let Some(port) = port else { return Err(format!("has no port; {FORM}").into()) };
    let port: u16 =
        port.parse().ok().filter(|port| *port > 0).ok_or_else(|| format!("expected a port from 1 to 65535; {FORM}"))?;
    let host = match Host::parse(host)
        .map_err(|why| format!("neither a name nor an IP address before the port ({why}); {FORM}"))?
    {
        Host::Domain(name) => name,
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    };
    Ok(CheckTarget::Tcp { host, port, send: None, expect: None })
}

/// At the last colon, unless that belongs to an address in brackets.
fn host_and_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

fn disk(path: &str) -> Result<CheckTarget, Reason> {
    match path.is_empty() {
        true => Err("the path is empty; expected disk:/PATH, as disk:/var/lib/app".into()),
        false => Ok(CheckTarget::Disk {
            path: PathBuf::from(path),
            degraded_free: DEGRADED_FREE,
            unhealthy_free: UNHEALTHY_FREE,
        }),
    }
}

/// Why this begins like no target.
fn unknown(text: &str, scheme: &str, rest: &str) -> Reason {
    if matches!(scheme, "grpc" | "grpcs") {
        return "grpc is not supported; expected tcp://HOST:PORT, or exec:COMMAND with a client of its health service"
            .into();
    }
    let hint = did_you_mean(scheme, KINDS.iter().map(|(name, _)| *name), |kind| example(kind).to_owned());
    if !hint.is_empty() {
        return format!("unknown kind of target{hint}").into();
    }
    let Some(rest) = rest.strip_prefix("//") else {
        let is_connection = tcp(text).is_ok();
        return if is_connection {
            format!("did you mean tcp://{}?", hidden(text)).into()
        } else {
            format!("unknown kind of target; {RIGHT}").into()
        };
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // Nothing of a password.
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let connection = match tcp(authority) {
        Ok(_) => format!("tcp://{authority}"),
        Err(_) => "tcp://HOST:PORT".to_owned(),
    };
    format!("{scheme}:// is not supported; {RIGHT}; {connection} asks whether a server accepts connections").into()
}

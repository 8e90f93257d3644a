//! What went wrong with a request, in a few words for a log line.
//!
//! The libraries' errors are chains of wrappers. Only the cause at the bottom is of use, and only some causes need words
//! of their own.

use super::exchange::TooMuch;
use crate::sys::in_words;
use std::error::Error;
use std::io;

/// A request that got no usable answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Why, as a lower-case fragment.
    pub(super) detail: String,
    /// The connection was refused: nothing listens.
    pub(super) refused: bool,
    /// The same in words that everybody may read, where the others quote the server.
    pub(super) unquoted: Option<&'static str>,
}

impl Fault {
    /// A fault with these words, in which nobody refused a connection.
    pub(super) fn new(detail: impl Into<String>) -> Fault {
        Fault { detail: detail.into(), refused: false, unquoted: None }
    }

    /// Words that quote the server, and others that do not.
    pub(super) fn quoting(detail: String, unquoted: &'static str) -> Fault {
        Fault { unquoted: Some(unquoted), ..Fault::new(detail) }
    }

    /// Nothing listens.
    pub(super) fn refused() -> Fault {
        Fault { refused: true, ..Fault::new("connection refused") }
    }
}

/// The cause of an error of a connection that speaks HTTP.
pub(super) fn of_http(error: &hyper::Error) -> Fault {
    cause(error)
}

/// The cause of an error of a TLS handshake.
#[cfg(feature = "https")]
pub(super) fn of_tls(error: &io::Error) -> Fault {
    cause(error)
}

/// Why there is no connection.
pub(super) fn of_connect(error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Fault::refused(),
        _ => Fault::new(os(error)),
    }
}

/// The first cause in the chain for which there are words, or the one at its end.
fn cause(error: &(dyn Error + 'static)) -> Fault {
    let mut last = error;
    loop {
        if let Some(fault) = known(last) {
            return fault;
        }
        match last.source() {
            Some(next) => last = next,
            None => return Fault::new(lower(&last.to_string())),
        }
    }
}

/// An operating system's error as "no such file or directory": its own words, without the number.
pub(super) fn os(error: &io::Error) -> String {
    lower(&in_words(error))
}

fn known(cause: &(dyn Error + 'static)) -> Option<Fault> {
    if let Some(too_much) = cause.downcast_ref::<TooMuch>() {
        return Some(Fault::new(too_much.to_string()));
    }
    if let Some(io) = cause.downcast_ref::<io::Error>() {
        return Some(of_io(io));
    }
    #[cfg(feature = "https")]
    if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
        return Some(of_rustls(tls));
    }
    of_hyper(cause.downcast_ref::<hyper::Error>()?)
}

fn of_io(error: &io::Error) -> Fault {
    // What an I/O error wraps is not in the chain of sources.
    if let Some(fault) = error.get_ref().and_then(|inner| known(inner)) {
        return fault;
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Fault::refused(),
        io::ErrorKind::ConnectionReset => Fault::new("connection reset"),
        io::ErrorKind::UnexpectedEof => Fault::new(CUT_OFF),
        // How hyper reports a broken chunk.
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => Fault::new(format!("not HTTP: {}", os(error))),
        _ => Fault::new(os(error)),
    }
}

/// `None` when the reason is further down the chain.
fn of_hyper(error: &hyper::Error) -> Option<Fault> {
    if error.is_parse() {
        let text = error.to_string();
        Some(Fault::new(format!("not HTTP: {}", text.strip_suffix(" parsed").unwrap_or(&text))))
    } else if error.is_incomplete_message() {
        Some(Fault::new(CUT_OFF))
    } else {
        None
    }
}

#[cfg(feature = "https")]
fn of_rustls(error: &rustls::Error) -> Fault {
    match error {
        rustls::Error::InvalidMessage(_) => Fault::new("not TLS: the server does not speak https"),
        // Says for which names it is valid.
        rustls::Error::InvalidCertificate(rustls::CertificateError::NotValidForNameContext { .. }) => {
            Fault::quoting(format!("TLS: {error}"), "TLS: the certificate is not valid for this name")
        }
        error => Fault::new(format!("TLS: {error}")),
    }
}

const CUT_OFF: &str = "connection closed before the answer was complete";

fn lower(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        // "No such file" but not "TLS handshake".
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

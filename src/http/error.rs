//! What went wrong with a request, in a few words for a log line.
//!
//! The libraries' errors are chains of wrappers. Only the cause at the bottom is useful, and only some causes need
//! words of their own.

use crate::sys::{as_fragment, lower};
use std::error::Error;
use std::io;

/// A request that got no usable answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestError {
    /// Why, as a lower-case fragment.
    pub(crate) detail: String,
    /// Whether the connection was refused: nothing listens.
    pub(crate) refused: bool,
    /// The same in words that everybody may read, where the others quote the server.
    pub(crate) unquoted: Option<&'static str>,
}

/// The other side sent more than it may, and no end of it is in sight. The connection ends with this as its I/O error.
#[derive(Debug, thiserror::Error)]
#[error("more than {} KiB came before the answer was complete", .limit / 1024)]
pub(crate) struct TooMuch {
    /// In bytes.
    pub(crate) limit: usize,
}

impl RequestError {
    /// An error with these words, where no connection was refused.
    pub(crate) fn new(detail: impl Into<String>) -> RequestError {
        RequestError { detail: detail.into(), refused: false, unquoted: None }
    }

    /// An error in words that quote the server, and in others that do not.
    pub(crate) fn quoting(detail: String, unquoted: &'static str) -> RequestError {
        RequestError { unquoted: Some(unquoted), ..RequestError::new(detail) }
    }

    /// Nothing listens.
    pub(crate) fn refused() -> RequestError {
        RequestError { refused: true, ..RequestError::new("connection refused") }
    }
}

/// The cause of an error of a connection that speaks HTTP.
pub(crate) fn of_http(error: &hyper::Error) -> RequestError {
    cause(error)
}

/// The cause of an error of a TLS handshake.
#[cfg(feature = "https")]
pub(crate) fn of_tls(error: &io::Error) -> RequestError {
    cause(error)
}

/// What the end of a TLS handshake says about the other side.
#[cfg(feature = "https")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFailure {
    /// It speaks TLS, and its certificate is not trusted, or it has none.
    Untrusted,
    /// It speaks TLS, and there is no agreement.
    Refused,
    /// It does not speak TLS.
    NotTls,
    /// Nothing: the connection has failed.
    Connection,
}

#[cfg(feature = "https")]
impl TlsFailure {
    /// What the error with which the handshake ended says.
    pub fn of(error: &io::Error) -> TlsFailure {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidMessage(_)) => TlsFailure::NotTls,
            Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
                TlsFailure::Untrusted
            }
            Some(_) => TlsFailure::Refused,
            None => TlsFailure::Connection,
        }
    }
}

/// Why there is no connection.
pub(crate) fn of_connect(error: &io::Error) -> RequestError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => RequestError::refused(),
        _ => RequestError::new(as_fragment(error)),
    }
}

/// The first cause in the chain for which there are words, or the one at its end.
fn cause(error: &(dyn Error + 'static)) -> RequestError {
    let mut last = error;
    loop {
        if let Some(fault) = known(last) {
            return fault;
        }
        match last.source() {
            Some(next) => last = next,
            None => return RequestError::new(lower(&last.to_string())),
        }
    }
}

fn known(cause: &(dyn Error + 'static)) -> Option<RequestError> {
    if let Some(too_much) = cause.downcast_ref::<TooMuch>() {
        return Some(RequestError::new(too_much.to_string()));
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

fn of_io(error: &io::Error) -> RequestError {
    // What an I/O error wraps is not in the chain of sources.
    if let Some(fault) = error.get_ref().and_then(|inner| known(inner)) {
        return fault;
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => RequestError::refused(),
        io::ErrorKind::ConnectionReset => RequestError::new("connection reset"),
        io::ErrorKind::UnexpectedEof => RequestError::new(CUT_OFF),
        // How hyper reports a broken chunk.
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            RequestError::new(format!("not HTTP: {}", as_fragment(error)))
        }
        _ => RequestError::new(as_fragment(error)),
    }
}

/// `None` when the reason is further down the chain.
fn of_hyper(error: &hyper::Error) -> Option<RequestError> {
    if error.is_parse() {
        let text = error.to_string();
        Some(RequestError::new(format!("not HTTP: {}", text.strip_suffix(" parsed").unwrap_or(&text))))
    } else if error.is_incomplete_message() {
        Some(RequestError::new(CUT_OFF))
    } else {
        None
    }
}

#[cfg(feature = "https")]
fn of_rustls(error: &rustls::Error) -> RequestError {
    match error {
        rustls::Error::InvalidMessage(_) => RequestError::new("not TLS: the server does not speak https"),
        // Says for which names it is valid.
        rustls::Error::InvalidCertificate(rustls::CertificateError::NotValidForNameContext { .. }) => {
            RequestError::quoting(format!("TLS: {error}"), "TLS: the certificate is not valid for this name")
        }
        rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer) => {
            RequestError::new("TLS: the certificate is signed by nobody who is trusted here")
        }
        // RFC 7301, 3.2: of the protocols that were offered, none is spoken there.
        rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol) => {
            RequestError::new("TLS: HTTP/1.1 is not spoken there, and most likely HTTP/2 alone is")
        }
        // What webpki has no name for: rustls would show its source, as Other(OtherError(CaUsedAsEndEntity)).
        rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other)) => {
            let why = camel_in_words(&other.0.to_string());
            // `openssl req -x509` makes it so.
            let hint = if why == "ca used as end entity" { "; it is self-signed, most likely" } else { "" };
            RequestError::new(format!("TLS: the certificate is not valid: {why}{hint}"))
        }
        error => RequestError::new(format!("TLS: {error}")),
    }
}

/// `CaUsedAsEndEntity` as "ca used as end entity"; a text that has spaces stays as it is.
#[cfg(feature = "https")]
fn camel_in_words(text: &str) -> String {
    if text.contains(char::is_whitespace) {
        return text.to_owned();
    }
    let mut words = String::new();
    for letter in text.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

const CUT_OFF: &str = "connection closed before the answer was complete";

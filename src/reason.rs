//! Why a text is not what it should be: one message for whoever typed or printed it.
//!
//! It is for people alone. Where code decides by what is wrong, the error is an enum; code that reads a text and can
//! only refuse it, as a parser of an option's value does, says why with this.

use std::borrow::Cow;
use std::fmt;

/// What is wrong and what would be right, as a lower-case fragment: "expected a number from 1 to 65535, as 8080".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(Cow<'static, str>);

impl std::error::Error for Reason {}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&'static str> for Reason {
    fn from(text: &'static str) -> Reason {
        Reason(Cow::Borrowed(text))
    }
}

impl From<String> for Reason {
    fn from(text: String) -> Reason {
        Reason(Cow::Owned(text))
    }
}

impl From<Reason> for String {
    fn from(reason: Reason) -> String {
        reason.0.into_owned()
    }
}

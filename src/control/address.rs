//! Where the control socket is.

use crate::config::{Listen, values};
use crate::reason::Reason;
use std::fmt;
use std::path::{Path, PathBuf};

/// Where graceful listens as PID 1 and where the client looks, if nothing else is said.
pub const DEFAULT_SOCKET: &str = "/run/graceful-control.sock";

/// In bytes. struct sockaddr_un holds 108, the last of which is the null that ends the path (unix(7)).
const LONGEST: usize = 107;

const RIGHT: &str = "expected the path of graceful's control socket, as unix:/run/graceful-control.sock";

/// The path of a control socket. As text, `unix:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlAddress(PathBuf);

impl ControlAddress {
    /// The socket at this path.
    pub fn at(path: impl Into<PathBuf>) -> ControlAddress {
        ControlAddress(path.into())
    }

    /// Reads `unix:PATH`, or a path with a slash in it; it stays as it was typed.
    ///
    /// # Errors
    /// It is neither, is empty or abstract, or is longer than the address of a socket may be.
    pub fn parse(text: &str) -> Result<ControlAddress, Reason> {
        let text = text.trim();
        let path = match text.split_once(':') {
            Some(("unix", "" | "//")) => return Err(format!("the path is empty; {RIGHT}").into()),
            Some(("unix", _)) => match values::listen(text)? {
                Listen::Unix(path) => path,
                Listen::Tcp(_) => return Err(RIGHT.into()),
            },
            _ if text.contains('/') && !text.contains("://") => text.into(),
            _ => return Err(RIGHT.into()),
        };
        match path.as_os_str().len() {
            0..=LONGEST => Ok(ControlAddress(path)),
            length => Err(format!("a socket's path has {LONGEST} bytes at most, and this one has {length}").into()),
        }
    }

    /// The path alone.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Default for ControlAddress {
    /// [`DEFAULT_SOCKET`].
    fn default() -> ControlAddress {
        ControlAddress::at(DEFAULT_SOCKET)
    }
}

impl fmt::Display for ControlAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix:{}", self.0.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_path_with_or_without_its_kind() {
        for (text, path) in [
            ("unix:/run/g.sock", "/run/g.sock"),
            (" /run/g.sock ", "/run/g.sock"),
            ("unix:///run/g.sock", "/run/g.sock"),
            ("unix:g.sock", "g.sock"),
            ("./g.sock", "./g.sock"),
            ("./a:b", "./a:b"),
        ] {
            assert_eq!(ControlAddress::parse(text).unwrap().path(), Path::new(path), "{text}");
        }
        assert_eq!(ControlAddress::default().to_string(), "unix:/run/graceful-control.sock");
        let longest = format!("/{}", "x".repeat(LONGEST - 1));
        assert_eq!(ControlAddress::parse(&longest).unwrap().path(), Path::new(&longest));
    }

    #[test]
    fn what_is_no_path_of_a_socket_is_refused() {
        let too_long = format!("/{}", "x".repeat(LONGEST));
        for (text, part) in [
            ("", RIGHT),
            ("g.sock", RIGHT),
            (":9090", RIGHT),
            ("127.0.0.1:9090", RIGHT),
            ("http://h/x", RIGHT),
            ("unix:", "the path is empty"),
            ("unix://", "the path is empty"),
            ("unix:@g", "abstract"),
            (&too_long, "107 bytes at most, and this one has 108"),
        ] {
            let why = ControlAddress::parse(text).unwrap_err().to_string();
            assert!(why.contains(part), "{text}: {why}");
        }
    }
}

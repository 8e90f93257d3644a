//! What can go wrong with a file: each error is a fragment that follows the file's name, or the name of what it is
//! about.

use super::place::Position;
use crate::files;
use std::io;

/// Why the text of a file is not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum TextError {
    #[error("{}", files::why(.0))]
    Unread(io::Error),
    /// The line, from 1, up to which it is text.
    #[error("not UTF-8 text in line {0}")]
    NotText(usize),
}

/// Why a file that another one names, and that lies beside it, is not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum BesideError {
    #[error("is not there")]
    Missing,
    #[error("cannot be read: {}", files::why(.0))]
    Unread(io::Error),
    #[error("is not UTF-8 text")]
    NotText,
}

/// Why a text cannot be read to its end, and where that is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(super) struct SyntaxError {
    pub(super) spot: Position,
    /// What is wrong there, as a fragment.
    pub(super) reason: String,
}

impl SyntaxError {
    pub(super) fn new(spot: Position, reason: impl Into<String>) -> SyntaxError {
        SyntaxError { spot, reason: reason.into() }
    }
}

/// Why `--wrap` leaves a container alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum WrapError {
    #[error("it has no command: name the image's own ENTRYPOINT and CMD there first")]
    NoCommand,
    #[error("its entrypoint is not known: name the image's own ENTRYPOINT, or the command, in entrypoint first")]
    NoEntrypoint,
    #[error("there is no place for it")]
    NoPlace,
    #[error("all of it is on one line")]
    OnOneLine,
    /// The change cannot be made in this text.
    #[error("it is not written on lines of its own, as block-style YAML is")]
    NotInBlocks,
    #[error("it has an empty list of volumes, mounts or init containers: leave that out")]
    EmptyList,
    #[error("it has an empty depends_on: leave that out")]
    EmptyDependsOn,
    #[error("the file has empty volumes: leave them out")]
    EmptyVolumes,
    #[error("a volume or an init container is called graceful already")]
    TakenInPod,
    #[error("a service or a volume is called graceful already")]
    TakenInFile,
}

//! Which files there are, and their texts: the only I/O of the module.

use super::error::{BesideError, TextError};
use super::read;
use crate::files;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The largest file that is read. Charts as large as this have thousands of documents.
pub(super) const LARGEST: u64 = 64 << 20;

/// The largest file that is read because another one names it: variables, a Dockerfile.
const LARGEST_BESIDE: u64 = 1 << 20;

/// How many levels of folders are read at most.
const DEEPEST: usize = 32;

/// A file that is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InputFile {
    pub(super) path: PathBuf,
    /// As messages and views name it.
    pub(super) name: String,
}

/// The files that this argument stands for: the file itself, or all files of a folder that some reader reads, in the
/// order of their names. Hidden ones and links to folders are left out.
pub(super) fn files_of(argument: &OsStr) -> io::Result<Vec<InputFile>> {
    let path = PathBuf::from(argument);
    if argument == "-" {
        return Ok(vec![InputFile { path: PathBuf::from("/dev/stdin"), name: "-".to_owned() }]);
    }
    // Anything else that is not a folder, such as a FIFO, is reported when it is read.
    if !fs::metadata(&path)?.is_dir() {
        return Ok(vec![InputFile { name: name(&path), path }]);
    }
    let mut found = Vec::new();
    walk(&path, 0, &mut found)?;
    Ok(found)
}

fn walk(folder: &Path, depth: usize, found: &mut Vec<InputFile>) -> io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (file_name, path) = (entry.file_name(), entry.path());
        if file_name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() && depth < DEEPEST {
            walk(&path, depth + 1, found)?;
        } else if path.is_file() && read::format(&file_name.to_string_lossy()).is_some() {
            found.push(InputFile { name: name(&path), path });
        }
    }
    Ok(())
}

/// The path without control characters: a name must not break a line.
fn name(path: &Path) -> String {
    let text = path.to_string_lossy();
    let text = text.strip_prefix("./").unwrap_or(&text);
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The text of a file that another one names.
///
/// # Errors
/// It is not there, cannot be read, or is not UTF-8 text.
pub(super) fn beside(path: &Path) -> Result<String, BesideError> {
    let bytes = files::read(path, LARGEST_BESIDE).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => BesideError::Missing,
        _ => BesideError::Unread(error),
    })?;
    String::from_utf8(bytes).map_err(|_| BesideError::NotText)
}

/// The text of a file.
///
/// # Errors
/// It cannot be read, is larger than [`LARGEST`], or is not UTF-8 text.
pub(super) fn text(input: &InputFile) -> Result<String, TextError> {
    let bytes = files::read(&input.path, LARGEST).map_err(TextError::Unread)?;
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        TextError::NotText(line + 1)
    })
}

//! From files to the model: what kind of file it is, and one reader for each kind. Texts in, no I/O.

mod compose;
mod dockerfile;
mod ecs;
mod env_file;
mod kubernetes;
mod nomad;
mod reading;
mod systemd;

use super::model::Model;
use super::wrapped::Reader;
use super::{hcl, yaml};
use reading::Reading;

/// What a file is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    Yaml,
    Dockerfile,
    Unit,
    Hcl,
}

/// The kind by the file's name; none for a file that no reader reads.
pub(super) fn format(name: &str) -> Option<FileKind> {
    let base = name.rsplit('/').next().unwrap_or(name);
    let lower = base.to_ascii_lowercase();
    let ends = |ending: &str| lower.ends_with(ending);
    if ends(".yaml") || ends(".yml") || ends(".json") {
        return Some(FileKind::Yaml);
    }
    if lower == "dockerfile"
        || lower == "containerfile"
        || lower.starts_with("dockerfile.")
        || lower.starts_with("containerfile.")
        || ends(".dockerfile")
        || ends(".containerfile")
    {
        return Some(FileKind::Dockerfile);
    }
    if ends(".nomad") || ends(".hcl") {
        return Some(FileKind::Hcl);
    }
    (ends(".service") || lower.ends_with(".service.d")).then_some(FileKind::Unit)
}

/// The kind of a text whose name does not tell, by its first lines.
pub(super) fn guess(text: &str) -> FileKind {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';']));
    let first = lines.next().unwrap_or_default();
    let word = first.split_whitespace().next().unwrap_or_default();
    match word.to_ascii_uppercase().as_str() {
        "FROM" | "ARG" => FileKind::Dockerfile,
        _ if first.starts_with('[') && first.ends_with(']') && !first.contains(['"', ',', '{']) => FileKind::Unit,
        _ if nomad::is_job(text) => FileKind::Hcl,
        _ => FileKind::Yaml,
    }
}

/// Reads one file into the model.
pub(super) fn read(
    file: usize,
    name: &str,
    format: FileKind,
    text: &str,
    reader: &Reader<'_>,
    model: &mut Model,
) -> Reading {
    // A byte order mark is not part of any of these formats.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match format {
        FileKind::Dockerfile => dockerfile::read(file, name, text, reader, model),
        FileKind::Unit => systemd::read(file, name, text, reader, model),
        // Packer, Terragrunt and others have files of this name, too.
        FileKind::Hcl if !nomad::is_job(text) => Reading::default(),
        FileKind::Hcl => match hcl::read(text) {
            Ok(document) => Reading { found: nomad::read_hcl(file, &document, reader, model), ..Reading::default() },
            Err(fault) => Reading { fault: Some(fault), ..Reading::default() },
        },
        FileKind::Yaml => {
            let mut reading = Reading::default();
            let read = yaml::read(text, |document| {
                reading.found += usize::from(
                    kubernetes::read(file, document, reader, model)
                        || compose::read(file, document, reader, model)
                        || ecs::read(file, document, reader, model)
                        || nomad::read_json(file, document, reader, model),
                );
            });
            reading.fault = read.err();
            reading
        }
    }
}

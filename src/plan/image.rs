//! What an image lacks, as far as its name shows. An image whose name says nothing is taken to have everything.

use super::model::Container;
use super::shell;

/// Whether the image has no shell and no sleep: distroless, scratch and their like.
pub(super) fn has_no_shell(image: &str) -> bool {
    let (name, tag) = parts(image);
    let is_debug = tag.contains("debug") || tag.contains("busybox") || tag.ends_with("-dev") || tag == "dev";
    if is_debug {
        return false;
    }
    let last = name.rsplit('/').next().unwrap_or(name);
    name == "scratch"
        || name.contains("distroless")
        || tag.contains("distroless")
        // Chainguard's, except for those that are meant to have one.
        || name.starts_with("cgr.dev/") && !["wolfi-base", "chainguard-base", "bash", "busybox", "git"].contains(&last)
}

/// Whether the image has a shell, but neither curl nor wget: the slim images of Debian.
fn is_slim(image: &str) -> bool {
    let (_, tag) = parts(image);
    tag.ends_with("slim") || tag.contains("-slim-") || tag.starts_with("slim")
}

/// Whether the image has only BusyBox's wget.
fn is_alpine(image: &str) -> bool {
    let (name, tag) = parts(image);
    name == "alpine" || name.ends_with("/alpine") || tag.contains("alpine")
}

/// Whether the image is known to lack this program.
pub(super) fn lacks(image: &str, program: &str) -> bool {
    match shell::base(program) {
        "sh" | "bash" | "ash" | "sleep" | "cat" | "test" | "ps" | "pgrep" | "grep" | "kill" => has_no_shell(image),
        "wget" => has_no_shell(image) || is_slim(image),
        "curl" => has_no_shell(image) || is_slim(image) || is_alpine(image),
        _ => false,
    }
}

/// The programs that this command would run, those in a shell's line included.
pub(super) fn programs(words: &[String]) -> Vec<String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let first = words.first().map(|word| (*word).to_owned());
    let of_line = shell::line_of(&words).map(shell::commands).unwrap_or_default();
    let inner = of_line.into_iter().filter_map(|command| command.into_iter().find(|word| !word.contains('=')));
    first.into_iter().chain(inner).collect()
}

/// The first program of the command that the container's image lacks, and the image.
pub(super) fn missing(container: &Container, words: &[String]) -> Option<(String, String)> {
    let image = &container.image.as_ref()?.value;
    let program = programs(words).into_iter().find(|program| lacks(image, program))?;
    Some((shell::base(&program).to_owned(), image.clone()))
}

/// Name and tag, without a digest.
fn parts(image: &str) -> (&str, &str) {
    let image = image.split('@').next().unwrap_or(image);
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell() {
        for (image, program, is_missing) in [
            ("gcr.io/distroless/static-debian12", "sh", true),
            ("gcr.io/distroless/python3-debian12:nonroot", "/bin/sleep", true),
            ("gcr.io/distroless/static:debug", "sh", false),
            ("cgr.dev/chainguard/nginx:latest", "sh", true),
            ("cgr.dev/chainguard/nginx:latest-dev", "sh", false),
            ("cgr.dev/chainguard/wolfi-base", "sh", false),
            ("example.org/static", "sh", false),
            ("scratch", "sh", true),
            ("python:3.12-slim", "curl", true),
            ("python:3.12-slim-bookworm", "wget", true),
            ("python:3.12-slim", "sh", false),
            ("python:3.12", "curl", false),
            ("node:22-alpine", "curl", true),
            ("node:22-alpine", "wget", false),
            ("registry:5000/web", "curl", false),
            ("localhost:5000/web@sha256:00", "curl", false),
        ] {
            assert_eq!(lacks(image, program), is_missing, "{image} {program}");
        }
    }
}

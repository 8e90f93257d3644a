//! The house rules that the compiler does not keep: who may use whom, where kill(-1) and wait(2) for any child stand, what
//! is pure, and which exceptions there are from the rules that the compiler keeps (src/lib.rs, .clippy.toml). Read from the
//! sources, without tests and comments.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Every module with what it may use. An arrow that is not here is a fault; one that nobody uses any more too.
const ARROWS: &[(&str, &[&str])] = &[
    (
        "main",
        &[
            "cli",
            "config",
            "control",
            "demo",
            "drill",
            "install",
            "log",
            "panics",
            "plan",
            "probe",
            "status",
            "supervisor",
            "sys",
        ],
    ),
    ("cli", &["config", "control", "demo", "drill", "files", "health", "plan", "reason", "secret", "signal", "status"]),
    // The stages of hooks and the levels of the log are named once, and shared in both directions.
    ("config", &["budget", "files", "reason", "secret", "signal", "status", "timeline"]),
    ("timeline", &["budget", "counts", "signal", "status"]),
    (
        "supervisor",
        &[
            "checks",
            "command",
            "config",
            "control",
            "counts",
            "files",
            "generations",
            "health",
            "hold",
            "hooks",
            "http",
            "inflight",
            "lifecycle",
            "listening",
            "log",
            "notify",
            "panics",
            "pid",
            "output",
            "secret",
            "server",
            "signal",
            "status",
            "sys",
            "timeline",
            "worker",
        ],
    ),
    ("notify", &["sys"]),
    ("lifecycle", &["budget", "signal", "status", "timeline"]),
    ("generations", &["lifecycle", "status", "timeline"]),
    ("hooks", &["command", "config", "pid", "secret", "signal", "status", "timeline"]),
    ("hold", &["command", "config", "pid", "secret", "status"]),
    ("command", &["pid", "signal", "sys"]),
    ("health", &["config", "counts", "signal", "timeline"]),
    ("demo", &["pid", "signal", "status", "sys"]),
    (
        "drill",
        &[
            "config", "counts", "demo", "files", "http", "inflight", "log", "pid", "reason", "secret", "signal",
            "status", "sys", "timeline",
        ],
    ),
    ("install", &["config", "files", "status", "sys"]),
    ("inflight", &["counts", "panics", "signal", "sys"]),
    ("worker", &["checks", "config", "health", "http", "panics", "secret", "server", "status", "sys", "timeline"]),
    ("checks", &["blocking", "config", "health", "http", "secret", "server", "sys"]),
    ("server", &["config", "health", "listening", "signal", "status", "sys", "timeline"]),
    ("listening", &["config", "files"]),
    // `graceful probe`: another process's command line is read as this one's own.
    ("probe", &["cli", "config", "health", "http", "secret"]),
    ("control", &["config", "counts", "files", "listening", "reason", "signal", "sys", "timeline"]),
    ("http", &["blocking", "secret", "sys"]),
    ("blocking", &["sys"]),
    ("plan", &["config", "files", "secret", "signal", "status"]),
    ("log", &["output", "timeline"]),
    ("output", &["files", "sys"]),
    ("secret", &[]),
    ("files", &["sys"]),
    ("notify", &["sys"]),
    ("sys", &["pid", "signal", "status"]),
    ("status", &["signal"]),
    ("signal", &[]),
    ("budget", &[]),
    ("counts", &[]),
    ("pid", &[]),
    ("panics", &[]),
    ("reason", &[]),
    ("lib", &[]),
];

/// Where a rule of the compiler does not hold. Why not is written there.
const EXCEPTIONS: &[(&str, &str)] = &[
    // What the subcommands print, and what the demo says, which is an app.
    ("cli.rs", "clippy::disallowed_methods"),
    ("demo/server.rs", "clippy::disallowed_methods"),
    ("drill/report/terminal.rs", "clippy::disallowed_methods"),
    // The entry point's name.
    ("main.rs", "unsafe_code"),
    ("sys/mod.rs", "unsafe_code"),
    // wait(2).
    ("sys/reap.rs", "clippy::disallowed_methods"),
    ("sys/spawn.rs", "clippy::disallowed_methods"),
    // In debug builds alone.
    ("lifecycle/mod.rs", "clippy::disallowed_macros"),
    ("supervisor/last_resort.rs", "clippy::panic"),
    ("worker/mod.rs", "clippy::panic"),
    ("timeline/mod.rs", "missing_docs"),
];

/// A source file without its tests and comments.
struct Source {
    /// Below src, as `sys/reap.rs`.
    path: String,
    code: Vec<String>,
}

impl Source {
    fn module(&self) -> &str {
        let top = self.path.split('/').next().unwrap_or(&self.path);
        top.strip_suffix(".rs").unwrap_or(top)
    }

    /// `path:line: text` of every line with one of the words.
    fn lines_with(&self, words: &[&str]) -> Vec<String> {
        let hit = |line: &&String| words.iter().any(|word| line.contains(word));
        self.code.iter().filter(hit).map(|line| format!("{}: {}", self.path, line.trim())).collect()
    }
}

fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut sources);
    assert!(sources.len() > 30, "only {} source files were found", sources.len());
    sources
}

fn read(folder: &Path, below: &str, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{below}{name}");
        if entry.file_type().unwrap().is_dir() {
            if name != "tests" {
                read(&entry.path(), &format!("{path}/"), sources);
            }
        } else if name.ends_with(".rs") && !is_for_tests(&name) {
            let text = fs::read_to_string(entry.path()).unwrap();
            sources.push(Source { path, code: production(&text) });
        }
    }
}

fn is_for_tests(name: &str) -> bool {
    name == "tests.rs" || name == "testing.rs" || name.ends_with("_tests.rs")
}

/// The lines without `//` comments and without what `#[cfg(test)]` stands before: a module, here or in another file.
fn production(text: &str) -> Vec<String> {
    let mut code = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            let item = lines.by_ref().find(|line| !line.trim_start().starts_with("#[")).unwrap_or_default();
            let is_module = ["mod ", "pub(crate) mod "].iter().any(|begin| item.trim_start().starts_with(begin));
            assert!(is_module, "#[cfg(test)] before something else than a module: {item}");
            if item.ends_with('{') {
                // As rustfmt writes it: the module ends with the next brace at its own depth.
                let end = format!("{}}}", &item[..item.len() - item.trim_start().len()]);
                lines.by_ref().find(|line| *line == end);
            }
            continue;
        }
        let line = line.split("// ").next().unwrap_or_default();
        if !line.trim_start().starts_with("//") {
            code.push(line.to_owned());
        }
    }
    code
}

/// The top-level modules that follow `crate::` or `graceful::`.
fn used(source: &Source) -> BTreeSet<String> {
    let text = source.code.join("\n");
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut used = BTreeSet::new();
    for prefix in ["crate::", "graceful::"] {
        for (at, _) in text.match_indices(prefix) {
            let rest = &text[at + prefix.len()..];
            match rest.strip_prefix('{') {
                Some(list) => {
                    let list = list.split('}').next().unwrap_or_default();
                    assert!(!list.contains('{'), "{}: a list in a list: {list}", source.path);
                    used.extend(list.split(',').map(|item| word(item.trim())));
                }
                None => drop(used.insert(word(rest))),
            }
        }
    }
    used.retain(|module| module != source.module() && !module.is_empty());
    used
}

fn none(hits: Vec<String>, rule: &str) {
    assert!(hits.is_empty(), "{rule}:\n  {}", hits.join("\n  "));
}

fn all_with(words: &[&str], but: impl Fn(&Source) -> bool) -> Vec<String> {
    sources().iter().filter(|source| !but(source)).flat_map(|source| source.lines_with(words)).collect()
}

#[test]
fn modules_use_only_what_the_arrows_allow() {
    let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources() {
        arrows.entry(source.module().to_owned()).or_default().extend(used(&source));
    }
    let allowed: BTreeMap<String, BTreeSet<String>> =
        ARROWS.iter().map(|(from, to)| ((*from).to_owned(), to.iter().map(|to| (*to).to_owned()).collect())).collect();
    for (from, to) in &arrows {
        assert_eq!(Some(to), allowed.get(from), "{from} uses (left) what is not what it may use (right)");
    }
    assert_eq!(arrows.keys().collect::<Vec<_>>(), allowed.keys().collect::<Vec<_>>());
}

#[test]
fn no_arrow_goes_back() {
    let to = |from: &str| ARROWS.iter().find(|(module, _)| *module == from).map_or(&[] as &[&str], |(_, to)| *to);
    for (start, _) in ARROWS {
        let (mut reached, mut next) = (BTreeSet::new(), vec![*start]);
        while let Some(module) = next.pop() {
            next.extend(to(module).iter().filter(|module| reached.insert(**module)));
        }
        assert!(!reached.contains(start), "{start} is used by what it uses");
    }
}

/// Whoever looks for a name finds one thing.
#[test]
fn a_public_type_name_stands_for_one_type() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources() {
        for name in source.code.iter().filter_map(|line| public_type(line)) {
            places.entry(name.to_owned()).or_default().push(source.path.clone());
        }
    }
    assert!(places.len() > 200, "only {} public types were found", places.len());
    let twice: Vec<_> = places.into_iter().filter(|(_, places)| places.len() > 1).collect();
    assert!(twice.is_empty(), "{twice:#?}");
}

/// The name of a type that this line makes for more than its own module.
fn public_type(line: &str) -> Option<&str> {
    let rest = ["pub ", "pub(crate) ", "pub(super) "].iter().find_map(|public| line.strip_prefix(public))?;
    let (kind, rest) = rest.split_once(' ')?;
    let is_type = ["struct", "enum", "trait", "union", "type"].contains(&kind);
    rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().filter(|_| is_type)
}

#[test]
fn the_lifecycle_and_what_is_above_it_are_pure() {
    let impure = [
        "Instant",
        "SystemTime",
        "libc",
        "tokio",
        "nix::",
        "std::fs",
        "std::io",
        "std::net",
        "std::env",
        "std::thread",
        "std::process",
        "std::os",
        "async ",
        "await",
        "unsafe",
        "sys::",
        "print!",
        "println!",
        "static ",
        "Mutex",
    ];
    let mut hits = all_with(&impure, |source| !["lifecycle", "generations"].contains(&source.module()));
    hits.retain(|hit| !hit.contains("&'static "));
    none(hits, "the lifecycle knows no clock, no I/O, no async, no libc and no shared state");
}

#[test]
fn the_tracker_of_requests_is_pure() {
    let impure =
        ["Instant", "SystemTime", "libc", "tokio", "std::fs", "std::io", "std::env", "std::thread", "async ", "Mutex"];
    let hits = all_with(&impure, |source| source.module() != "inflight" || source.path == "inflight/watch.rs");
    none(hits, "the tracker knows no clock and no I/O");
}

#[test]
fn a_plan_is_pure_but_for_its_input() {
    let impure =
        ["Instant", "SystemTime", "libc", "tokio", "std::fs", "std::env", "std::net", "std::thread", "async ", "Mutex"];
    let hits = all_with(&impure, |source| source.module() != "plan" || source.path == "plan/input.rs");
    none(hits, "readers and rules know no machine: the manifests run elsewhere");
}

#[test]
fn what_a_drill_comes_to_is_pure() {
    let pure = ["pacer", "record", "evidence", "verdict", "advice", "baseline"];
    let views = ["html", "chart", "place", "text", "junit"];
    let named =
        |folder: &str, names: &[&str]| names.iter().map(|name| format!("drill/{folder}{name}.rs")).collect::<Vec<_>>();
    let jobs = ["ids", "ledger", "judge", "causes"];
    let pure = [named("", &pure), named("report/", &views), named("jobs/", &jobs)].concat();
    assert!(pure.iter().all(|path| sources().iter().any(|source| source.path == *path)), "{pure:?}");
    let impure =
        ["Instant", "SystemTime", "libc", "tokio", "std::fs", "std::io", "std::env", "std::thread", "async ", "Mutex"];
    none(all_with(&impure, |source| !pure.contains(&source.path)), "no clock and no I/O decides a verdict");
}

#[test]
fn exceptions_from_the_rules_of_the_compiler_are_known() {
    let mut found = BTreeSet::new();
    for source in sources() {
        let text = source.code.join("\n");
        let attributes = ["allow(", "expect(clippy::", "expect(unsafe_code"];
        for (at, word) in attributes.iter().flat_map(|word| text.match_indices(word)) {
            let lint = text[at + word.len()..].trim_start().split([',', ')']).next().unwrap_or_default();
            found.insert((source.path.clone(), lint.to_owned()));
        }
    }
    let known = EXCEPTIONS.iter().map(|(path, lint)| ((*path).to_owned(), (*lint).to_owned())).collect();
    assert_eq!(found, known, "exceptions that there are (left) and that are known (right)");
}

#[test]
fn every_process_is_signalled_from_one_place() {
    let hits = all_with(&["kill(-1"], |_| false);
    assert_eq!(hits.len(), 1, "kill(-1) stands once: {hits:?}");
    assert!(hits[0].starts_with("sys/process.rs: "), "{hits:?}");
    // And it stands behind the question who we are.
    let process = sources().into_iter().find(|source| source.path == "sys/process.rs").unwrap();
    let at = process.code.iter().position(|line| line.contains("kill(-1")).unwrap();
    let before = process.code[..at].join("\n");
    let function = &before[before.rfind("fn ").unwrap()..];
    assert!(function.contains("if getpid() != 1 {\n        return Err("), "{function}");
}

#[test]
fn one_place_waits_for_any_child() {
    let hits = all_with(&["waitpid(-1", "waitpid(0"], |source| source.path == "sys/reap.rs");
    none(hits, "only sys::reap waits for any child");
}

#[test]
fn the_rules_see_through_tests_and_comments_only() {
    let text = "use crate::a;\n// crate::b\n#[cfg(test)]\nmod tests {\n    use crate::c;\n}\nfn f() { x() } // crate::d\n\
                use crate::{e, f::G};\n#[cfg(test)]\n#[path = \"x.rs\"]\nmod more;\nuse graceful::h::{i, j};\n";
    let source = Source { path: "x/y.rs".to_owned(), code: production(text) };
    assert_eq!(used(&source).into_iter().collect::<Vec<_>>(), ["a", "e", "f", "h"]);
    assert_eq!(source.module(), "x");
    assert_eq!(source.lines_with(&["x()"]), ["x/y.rs: fn f() { x() }"]);
}

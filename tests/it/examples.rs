//! `examples/`: what they hold beside what runs (`examples_apps`, `examples_containers`): `graceful plan` finds nothing in them, each
//! is well-formed by the schema or the parser of the platform that it is for, and says the same in all of its files.

use crate::support::examples::{example, examples, python};
use crate::support::{docker_compose, graceful, graceful_command, systemd_analyze, venv};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;

/// The folders.
fn folders() -> Vec<String> {
    let entries = std::fs::read_dir(examples()).expect("a folder").map(|entry| entry.expect("an entry"));
    let folders = entries.filter(|entry| entry.path().is_dir());
    folders.map(|entry| entry.file_name().into_string().expect("UTF-8")).collect()
}

#[test]
fn plan_has_nothing_to_say_of_them() {
    let mut plan = graceful_command();
    plan.args(["plan", "examples", "--fail-on", "note"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = plan.output().expect("graceful runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.starts_with("no findings in "), "{said}");
    // Ignored, it would not be clean.
    assert!(!said.contains("ignored"), "{said}");
}

#[test]
fn each_has_a_readme_that_the_others_lead_to() {
    let overview = example("README.md");
    for folder in folders() {
        assert!(overview.contains(&format!("[{folder}]({folder})")), "examples/README.md does not link to {folder}");
        assert!(example(&format!("{folder}/README.md")).starts_with("# "), "{folder}/README.md has no title");
    }
}

/// What the drill of the README starts is what the image starts.
#[test]
fn readme_and_dockerfile_start_the_same() {
    let mut compared = 0;
    for folder in folders() {
        let Ok(dockerfile) = std::fs::read_to_string(examples().join(&folder).join("Dockerfile")) else { continue };
        let Some(command) = dockerfile.lines().find_map(|line| line.strip_prefix("CMD ")) else { continue };
        let command: Vec<String> = serde_json::from_str(command).unwrap_or_else(|error| panic!("{folder}: {error}"));
        let readme = example(&format!("{folder}/README.md")).replace("\\\n", " ");
        let Some(drill) = readme.lines().find(|line| line.starts_with("graceful drill ") && line.contains(" -- "))
        else {
            continue;
        };
        let typed = shell_words::split(drill.split(" -- ").nth(1).expect("a command")).expect("words");
        let program = |word: &str| word.rsplit('/').next().unwrap_or_default().to_owned();
        assert_eq!(program(&typed[0]), program(&command[0]), "{folder}");
        // The image listens for others than itself, and may add limits.
        for word in &typed[1..] {
            assert!(command.contains(word), "{folder}: {word} of the README is not in CMD {command:?}");
        }
        compared += 1;
    }
    assert!(compared >= 9, "only {compared}");
}

/// By the schema that Kubernetes publishes of each version, refusing what it does not know.
#[test]
fn kubernetes_takes_its_manifests() {
    let Some(venv) = venv() else { return };
    let files =
        std::fs::read_dir(examples().join("kubernetes")).expect("a folder").map(|entry| entry.expect("an entry"));
    let files: Vec<PathBuf> =
        files.map(|entry| entry.path()).filter(|path| path.extension() == Some("yaml".as_ref())).collect();
    assert!(files.len() >= 5, "{files:?}");
    valid(Command::new(venv.program("kubernetes-validate")).args(["--strict", "--quiet"]).args(files));
}

/// What `graceful plan --fix --wrap` makes of a manifest that says its command.
#[test]
fn kubernetes_takes_what_plan_puts_graceful_into() {
    let Some(venv) = venv() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("web.yaml");
    let bare = example("kubernetes/worker.yaml").replace("command: [/graceful, --]\n", "command: [nice]\n");
    std::fs::write(&file, &bare).expect("room");
    let mut plan = graceful_command();
    let output = plan.args(["plan", "--fix", "--wrap", "example.org/graceful:1"]).arg(&file).output().expect("it runs");
    let fixed = std::fs::read_to_string(&file).expect("a file");
    assert!(fixed != bare && fixed.contains("install, /opt/graceful"), "{}", String::from_utf8_lossy(&output.stdout));
    valid(Command::new(venv.program("kubernetes-validate")).args(["--strict", "--quiet"]).arg(&file));
}

/// The same of a Compose file with services of both kinds: one that says its entrypoint, and one that is built.
#[test]
fn compose_takes_what_plan_puts_graceful_into() {
    const BEFORE: &str = "\
version: '3.8'
services:
  web:
    image: python:3.12
    entrypoint: [python3, -m, http.server]
    depends_on: [worker]
  worker:
    build: .
    volumes:
      - data:/data
volumes:
  data: {}
";
    let Some(program) = docker_compose() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("docker-compose.yml");
    std::fs::write(&file, BEFORE).expect("room");
    let dockerfile = "FROM python:3.12\nENTRYPOINT [\"python3\", \"$x y.py\"]\n";
    std::fs::write(folder.path().join("Dockerfile"), dockerfile).expect("room");
    let mut plan = graceful_command();
    let output = plan.args(["plan", "--fix", "--wrap", "example.org/graceful:1"]).arg(&file).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("made the mechanical fixes"), "{said}");
    let config = Command::new(program).arg("-f").arg(&file).arg("config").output().expect("docker-compose runs");
    assert!(config.status.success(), "{}", String::from_utf8_lossy(&config.stderr));
    // What it makes of it is read by plan again: graceful is seen in both, and is waited for.
    std::fs::write(folder.path().join("config.yaml"), &config.stdout).expect("room");
    let text = String::from_utf8_lossy(&config.stdout);
    assert_eq!(text.matches("condition: service_completed_successfully").count(), 2, "{text}");
    assert!(text.contains("- $$x y.py") && text.contains("graceful:/opt/graceful:ro"), "{text}");
    let again = graceful_command()
        .args(["plan", "--fail-on", "note", "--diff", "--wrap", "example.org/graceful:1"])
        .arg(folder.path().join("config.yaml"))
        .output()
        .expect("it runs");
    assert_eq!((again.status.code(), String::from_utf8_lossy(&again.stdout).as_ref()), (Some(0), ""), "{text}");
}

#[track_caller]
fn valid(check: &mut Command) {
    let output = check.current_dir(examples()).output().expect("the checker runs");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{check:?}\n{}", String::from_utf8_lossy(&said));
}

/// What Kustomize makes of a Deployment with the component, by the patch's own rules (RFC 6902, of which it uses `add` alone).
#[test]
fn the_kustomize_component_makes_a_deployment_that_is_right() {
    const APPLY: &str = r#"
import json, sys, yaml
deployment = yaml.safe_load(open(sys.argv[1]))
component = yaml.safe_load(open("kubernetes/without-a-new-image/kustomization.yaml"))
assert (component["kind"], component["apiVersion"]) == ("Component", "kustomize.config.k8s.io/v1alpha1")
for patch in component["patches"]:
    name, value = patch["target"]["labelSelector"].split("=")
    assert patch["target"]["kind"] == deployment["kind"] and deployment["metadata"]["labels"][name] == value
    for step in yaml.safe_load(open("kubernetes/without-a-new-image/" + patch["path"])):
        *way, last = step["path"].strip("/").split("/")
        node = deployment
        for key in way:
            node = node[int(key) if isinstance(node, list) else key]
        assert step["op"] == "add"
        if isinstance(node, list):
            node.insert(len(node) if last == "-" else int(last), step["value"])
        else:
            node[last] = step["value"]
print(json.dumps(deployment, indent=1))
"#;
    const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {graceful: 'true'}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 20
      containers: [{name: web, image: example.org/web, command: [./web, --port, '8000']}]
";
    let Some(venv) = venv() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (before, after) = (folder.path().join("before.yaml"), folder.path().join("after.json"));
    std::fs::write(&before, DEPLOYMENT).expect("room");
    let made = python(&venv, APPLY, &[before.to_str().expect("a path")]);
    let deployment: Value = serde_json::from_str(&made).expect("JSON");
    let pod = &deployment["spec"]["template"]["spec"];
    let app = &pod["containers"][0];
    assert_eq!(app["command"], json!(["/opt/graceful/graceful", "--", "./web", "--port", "8000"]));
    assert_eq!(app["volumeMounts"][0]["mountPath"], pod["initContainers"][0]["volumeMounts"][0]["mountPath"]);
    std::fs::write(&after, made).expect("room");
    valid(Command::new(venv.program("kubernetes-validate")).args(["--strict", "--quiet"]).arg(&after));
    let plan = graceful_command().arg("plan").arg(&after).args(["--format", "json"]).output().expect("graceful runs");
    let found: Value = serde_json::from_slice(&plan.stdout).expect("JSON");
    // graceful is seen in it, and knows of no other grace period than its default.
    let rules: Vec<&Value> = found["findings"].as_array().expect("a list").iter().map(|found| &found["rule"]).collect();
    assert_eq!(rules, ["grace-period"], "{found:#}");
}

/// By the model of the API that the AWS command line itself checks its input with.
#[test]
fn ecs_takes_its_task_definition() {
    const CHECK: &str = "
import json, sys
from botocore import loaders, model, validate
service = model.ServiceModel(loaders.Loader().load_service_model('ecs', 'service-2'))
shape = service.operation_model('RegisterTaskDefinition').input_shape
sys.exit(validate.ParamValidator().validate(json.load(open('ecs/task-definition.json')), shape).generate_report() or None)
";
    let Some(venv) = venv() else { return };
    python(&venv, CHECK, &[]);
}

/// Nomad's job by another reader of HCL: well-formed, and its numbers fit.
#[test]
fn the_nomad_job_has_the_signal_and_the_time_that_graceful_needs() {
    const READ: &str = "
import hcl2, json
print(json.dumps(hcl2.load(open('nomad/web.nomad.hcl'))).replace('\\\\\"', ''))
";
    let Some(venv) = venv() else { return };
    let job: Value = serde_json::from_str(&python(&venv, READ, &[])).expect("JSON");
    let task = &job["job"][0]["web"]["group"][0]["web"]["task"][0]["web"];
    assert_eq!(
        (&task["kill_signal"], &task["config"][0]["entrypoint"]),
        (&json!("SIGTERM"), &json!(["/graceful", "--"]))
    );
    assert_eq!(task["kill_timeout"], task["env"][0]["GRACEFUL_GRACE_PERIOD"], "{task:#}");
    let args = task["config"][0]["args"].as_array().expect("a list").iter().map(|word| word.as_str().expect("text"));
    let mut plan = graceful_command();
    let env = task["env"][0].as_object().expect("a block").iter();
    env.filter(|(name, _)| name.starts_with("GRACEFUL_")).for_each(|(name, value)| {
        plan.env(name, value.as_str().expect("text"));
    });
    let command = task["config"][0]["command"].as_str().expect("text");
    let drawn = plan.args(["plan", "--platform", "nomad", "--", command]).args(args).output().expect("graceful runs");
    assert!(drawn.status.success(), "{}", String::from_utf8_lossy(&drawn.stderr));
}

/// By the schemas of GitHub's workflows and GitLab's pipelines.
#[test]
fn the_cis_take_their_files() {
    let Some(venv) = venv() else { return };
    let files = [("vendor.github-workflows", "ci/github-actions.yml"), ("vendor.gitlab-ci", "ci/gitlab-ci.yml")];
    for (schema, file) in files {
        valid(Command::new(venv.program("check-jsonschema")).args(["--builtin-schema", schema, file]));
    }
}

/// systemd says of the unit what it would say at its start, but for where graceful is.
#[test]
fn systemd_takes_its_unit() {
    let Some(analyze) = systemd_analyze() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let unit = example("systemd/web.service").replace("/usr/local/bin/graceful", &graceful().display().to_string());
    let path = folder.path().join("web.service");
    std::fs::write(&path, unit).expect("room");
    let output = Command::new(analyze).arg("verify").arg(&path).output().expect("systemd-analyze runs");
    let said = String::from_utf8_lossy(&output.stderr);
    // Other units of this machine may have faults of their own.
    assert!(output.status.success() && !said.contains("web.service"), "{said}");
}

//! `graceful plan`: what manifests name beside themselves: files with variables, Dockerfiles, configurations, ConfigMaps.

use crate::plan::{folder, out, plan_in};

/// What is found in this folder, as text.
fn found(files: &[(&str, &str)], args: &[&str]) -> String {
    let dir = folder(files);
    out(&plan_in(dir.path(), args, ""))
}

const SERVICE: &str = "\
services:
  web:
    image: example.org/web
    stop_grace_period: 20s
    env_file: ENV
    entrypoint: [/graceful, --]
    command: [./web]
";

const NOTHING: &str = "no findings in 1 file\n";

#[test]
fn variables_come_from_the_files_that_a_service_names() {
    let one = SERVICE.replace("ENV", "web.env");
    let grace = "# of the shop\nexport GRACEFUL_GRACE_PERIOD='20s' # as below\nSECRET=s3cr3t\n";
    assert_eq!(found(&[("compose.yaml", &one), ("web.env", grace)], &["compose.yaml"]), NOTHING);
    let long = found(&[("compose.yaml", &one), ("web.env", "GRACEFUL_GRACE_PERIOD=40s\n")], &["compose.yaml"]);
    assert!(
        long.contains("compose.yaml:4:24: error[grace-period]") && long.contains("--grace-period is 40s"),
        "{long}"
    );
    // The later file counts, and the service's own variables before all.
    let both = SERVICE.replace("ENV", "[a/1.env, {path: ../x/2.env, required: true}]");
    let files = |second: &'static str| {
        [
            ("d/compose.yaml", both.clone()),
            ("d/a/1.env", "GRACEFUL_GRACE_PERIOD=9s\n".into()),
            ("x/2.env", second.to_owned()),
        ]
    };
    let found_in = |files: &[(&str, String)]| {
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        found(&files, &["d/compose.yaml"])
    };
    assert!(found_in(&files("GRACEFUL_GRACE_PERIOD=40s\n")).contains("--grace-period is 40s"));
    let mut own = files("GRACEFUL_GRACE_PERIOD=40s\n");
    own[0].1.push_str("    environment:\n      GRACEFUL_GRACE_PERIOD: 20s\n");
    assert_eq!(found_in(&own), NOTHING);
    // What is wrong in one is said without what stands there, which may be a secret.
    let wrong = found(&[("compose.yaml", &one), ("web.env", "GRACEFUL_GRACE_PERIOD=hunter2\n")], &["compose.yaml"]);
    assert!(wrong.contains("compose.yaml:5:15: error[options]: GRACEFUL_GRACE_PERIOD: not a duration"), "{wrong}");
    assert!(!wrong.contains("hunter2"), "{wrong}");
}

#[test]
fn a_file_that_is_not_there_makes_notes_of_errors() {
    let required = SERVICE.replace("ENV", "web.env");
    let text = found(&[("compose.yaml", &required)], &["compose.yaml"]);
    assert!(
        text.contains("compose.yaml:5:15: note[missing-env-file]: service web: env_file web.env is not there"),
        "{text}"
    );
    let unless = "too early, unless env_file web.env, which is not here, says otherwise";
    assert!(text.contains("note[grace-period]") && text.contains(unless) && !text.contains("error"), "{text}");
    let optional = SERVICE.replace("ENV", "[{path: web.env, required: false}]");
    let text = found(&[("compose.yaml", &optional)], &["compose.yaml"]);
    assert!(text.contains("note[grace-period]") && !text.contains("missing-env-file"), "{text}");
    // Those of the machine that it runs on are none of ours.
    let absolute = SERVICE.replace("ENV", "/etc/hostname");
    let text = found(&[("compose.yaml", &absolute)], &["compose.yaml"]);
    assert!(text.contains("note[grace-period]") && !text.contains("missing-env-file"), "{text}");
    let dir = folder(&[("compose.yaml", &required)]);
    std::fs::File::create(dir.path().join("web.env")).and_then(|file| file.set_len(10 << 20)).expect("a file");
    let text = out(&plan_in(dir.path(), &["compose.yaml"], ""));
    assert!(text.contains("env_file web.env cannot be read: it is larger than 1 MiB"), "{text}");
}

#[test]
fn what_only_a_variable_says_is_no_error() {
    let one = SERVICE.replace("    env_file: ENV\n", "");
    for (from, to) in [
        ("20s", "${GRACE}"),
        ("[/graceful, --]", "[/graceful, --grace-period, '${GRACE}', --]"),
        ("[./web]", "[./web]\n    environment: [GRACEFUL_GRACE_PERIOD]"),
        ("[./web]", "[./web]\n    environment: {GRACEFUL_GRACE_PERIOD: }"),
    ] {
        let text = found(&[("compose.yaml", &one.replace(from, to))], &["compose.yaml"]);
        assert!(!text.contains("error") && !text.contains("warning"), "{to}: {text}");
    }
    assert!(found(&[("compose.yaml", &one)], &["compose.yaml"]).contains("error[grace-period]"));
}

const POD: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 20
  containers:
    - name: web
      image: example.org/web
      command: [/graceful, --, ./web]
";

#[test]
fn variables_come_from_config_maps_of_the_same_files() {
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata:\n  GRACE_PERIOD: 20s\n  GRACEFUL_GRACE_PERIOD: 20s\n";
    let all = format!("{POD}      envFrom: [{{configMapRef: {{name: web}}}}]\n");
    // It may come later than the pod, and in another file.
    assert_eq!(found(&[("a.yaml", &all), ("b.yaml", map)], &["."]), "no findings in 2 files\n");
    let prefix = format!("{POD}      envFrom: [{{prefix: GRACEFUL_, configMapRef: {{name: web}}}}]\n");
    assert_eq!(found(&[("a.yaml", &prefix), ("b.yaml", map)], &["."]), "no findings in 2 files\n");
    let key = format!(
        "{POD}      env: [{{name: GRACEFUL_GRACE_PERIOD, valueFrom: {{configMapKeyRef: {{name: web, key: GRACE_PERIOD}}}}}}]\n"
    );
    assert_eq!(found(&[("a.yaml", &key), ("b.yaml", map)], &["."]), "no findings in 2 files\n");
    // Of another namespace, or not there at all: nobody knows.
    let other = map.replace("name: web}", "name: web, namespace: other}");
    for (files, how) in [
        (vec![("a.yaml", all.as_str())], "envFrom"),
        (vec![("a.yaml", &all), ("b.yaml", &other)], "envFrom"),
        (vec![("a.yaml", &key)], "configMapKeyRef"),
    ] {
        let text = found(&files, &["."]);
        let unless = format!("unless the ConfigMap web ({how}), which is not in these files, says otherwise");
        assert!(text.contains("note[grace-period]") && text.contains(&unless) && !text.contains("error"), "{text}");
    }
    let secret = format!("{POD}      envFrom: [{{secretRef: {{name: web}}}}]\n");
    assert!(found(&[("a.yaml", &secret)], &["."]).contains("error[grace-period]"), "options are no secrets");
}

#[test]
fn a_configuration_in_the_image_is_read_where_it_lies_beside_the_dockerfile() {
    let dockerfile = "FROM python:3.12\nCOPY graceful.toml /etc/graceful.toml\nENTRYPOINT [\"/graceful\", \"--config\", \"/etc/graceful.toml\", \"--\", \"./web\"]\n";
    let toml = "grace_period = \"10s\"\npre_stop_delay = \"20s\"\n";
    let text = found(&[("web/Dockerfile", dockerfile), ("web/graceful.toml", toml)], &["."]);
    assert!(text.contains("web/Dockerfile:3:14: error[options]: web/graceful.toml: pre_stop_delay"), "{text}");
    let right = [("web/Dockerfile", dockerfile), ("web/graceful.toml", "grace_period = \"10s\"\n")];
    assert_eq!(found(&right, &["."]), NOTHING);
    let folder_of_it = dockerfile
        .replace("COPY graceful.toml /etc/graceful.toml", "COPY . /etc/")
        .replace("\"--config\", \"/etc/graceful.toml\", ", "")
        .replace("ENTRYPOINT", "ENV GRACEFUL_CONFIG=/etc/graceful.toml\nENTRYPOINT");
    let text = found(&[("web/Dockerfile", &folder_of_it), ("web/graceful.toml", toml)], &["."]);
    assert!(text.contains("error[options]: web/graceful.toml: pre_stop_delay"), "{text}");
    // Elsewhere nobody knows what it says.
    let pod = POD.replace("/graceful, --,", "/graceful, --config, /etc/graceful.toml, --,");
    let text = found(&[("pod.yaml", &pod)], &["."]);
    let unless = "unless /etc/graceful.toml, which is not in these files, says otherwise";
    assert!(text.contains("note[grace-period]") && text.contains(unless) && !text.contains("error"), "{text}");
}

#[test]
fn a_service_has_what_its_dockerfile_says_unless_it_says_it_itself() {
    let dockerfile = "FROM python:3.12 AS web\nENV GRACEFUL_GRACE_PERIOD=40s\nSTOPSIGNAL SIGUSR1\nHEALTHCHECK CMD [\"/graceful\", \"probe\"]\nENTRYPOINT [\"/graceful\", \"--\"]\nCMD [\"./web\"]\n\
                      FROM web AS test\nENTRYPOINT [\"pytest\"]\n";
    let compose = |rest: &str| {
        format!("services:\n  web:\n    build: {{context: ../image, target: web}}\n    stop_grace_period: 20s\n{rest}")
    };
    let of = |rest: &str| {
        found(&[("image/Dockerfile", dockerfile), ("d/compose.yaml", &compose(rest))], &["d/compose.yaml"])
    };
    let text = of("");
    for part in [
        "d/compose.yaml:4:24: error[grace-period]: service web",
        "--grace-period is 40s",
        "d/compose.yaml:3:12: error[stop-signal]: service web: SIGUSR1",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert_eq!(of("    stop_signal: SIGTERM\n    environment: {GRACEFUL_GRACE_PERIOD: 20s}\n"), NOTHING);
    assert!(
        !of("    entrypoint: [./web]\n    stop_signal: SIGTERM\n    environment: {GRACEFUL_GRACE_PERIOD: }\n")
            .contains("error")
    );
    let worker = of(
        "    command: [celery, -A, app, worker]\n    stop_signal: SIGTERM\n    environment: {GRACEFUL_GRACE_PERIOD: 20s, GRACEFUL_PRE_STOP_DELAY: 5s}\n",
    );
    assert!(worker.contains("warning[worker-delay]: service web: celery"), "{worker}");
    // What is the image's own fault is said once, where that is one of the files; and a fix never goes into the wrong file.
    let shell = "FROM python:3.12\nCMD gunicorn app:app | tee log\n";
    let service = "services:\n  web:\n    build: .\n    stop_grace_period: 40s\n";
    let text = found(&[("Dockerfile", shell), ("compose.yaml", service)], &["."]);
    assert_eq!(text.matches("[shell-form]").count(), 1, "{text}");
    assert!(text.contains("Dockerfile:2:5: warning[shell-form]"), "{text}");
    let alone = found(&[("Dockerfile", shell), ("compose.yaml", service)], &["compose.yaml"]);
    assert!(alone.contains("compose.yaml:3:12: warning[shell-form]"), "{alone}");
    let dir = folder(&[("image/Dockerfile", dockerfile), ("d/compose.yaml", &compose(""))]);
    plan_in(dir.path(), &["d/compose.yaml", "--fix"], "");
    let fixed = std::fs::read_to_string(dir.path().join("d/compose.yaml")).expect("a file");
    assert_eq!(fixed, compose("").replace("20s", "40s"));
}

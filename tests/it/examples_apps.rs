//! The apps of `examples/`: each is started, loaded and stopped as its README says, word for word, and drops nothing.
//!
//! graceful is the binary under test; what the READMEs install with pip is that of target/venv, and the programs are this machine's.

use crate::support::examples::{documents, example, type_in, typed};
use crate::support::{Venv, go, java, nginx, node, php_fpm, redis_server, venv};
use std::path::PathBuf;

/// Runs the README's commands.
#[track_caller]
fn passes(folder: &str, venv: Option<Venv>, programs: &[(&str, PathBuf)]) {
    let blocks = typed(folder);
    assert!(!blocks.is_empty(), "{folder}/README.md says nothing to type");
    for block in blocks {
        let Some((_copy, said)) = type_in(folder, &block, venv.as_ref(), programs) else { return };
        assert!(said.starts_with("PASSED"), "{block}{said}");
    }
}

#[test]
fn fastapi_on_uvicorn() {
    let Some(venv) = venv() else { return };
    passes("fastapi", Some(venv), &[]);
}

#[test]
fn gunicorn() {
    let Some(venv) = venv() else { return };
    passes("gunicorn", Some(venv), &[]);
}

#[test]
fn flask() {
    let Some(venv) = venv() else { return };
    passes("flask", Some(venv), &[]);
}

#[test]
fn django() {
    let Some(venv) = venv() else { return };
    passes("django", Some(venv), &[]);
}

#[test]
fn celery_with_redis() {
    let (Some(venv), Some(redis)) = (venv(), redis_server()) else { return };
    passes("celery", Some(venv), &[("redis-server", redis)]);
}

#[test]
fn a_worker_loop_of_ones_own() {
    passes("queue-worker", None, &[]);
}

#[test]
fn node_without_a_handler() {
    let Some(node) = node() else { return };
    passes("node", None, &[("node", node)]);
}

#[test]
fn go_without_a_handler() {
    let Some(go) = go() else { return };
    passes("go", None, &[("go", go)]);
}

#[test]
fn nginx_and_php_fpm() {
    let (Some(nginx), Some(php)) = (nginx(), php_fpm()) else { return };
    // Debian has the version in its name, the image has not.
    passes("nginx-php", None, &[("nginx", nginx), ("php-fpm", php)]);
}

#[test]
fn a_jvm() {
    if java().is_some() {
        passes("jvm", None, &[]);
    }
}

/// What the unit starts, with what it sets, and what systemctl would do to it by its `KillMode=mixed`.
#[test]
fn the_systemd_unit() {
    let unit = example("systemd/web.service");
    let settings = unit.lines().filter_map(|line| line.strip_prefix("Environment="));
    let settings = settings.flat_map(str::split_whitespace).collect::<Vec<_>>();
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a command");
    let app = start.strip_prefix("/usr/local/bin/graceful -- ").expect("graceful before the app");
    assert!(unit.contains("\nKillMode=mixed\n") && settings.len() == 3, "{unit}");
    let drill = format!("env {} graceful drill --url http://127.0.0.1:8000/ --rate 20 -- {app}", settings.join(" "));
    let Some((_copy, said)) = type_in("systemd", &drill, None, &[]) else { return };
    assert!(said.starts_with("PASSED"), "{said}");
}

/// The gate of both, in the folder of an app that it fits. They write what the CI then keeps.
#[test]
fn the_drill_of_the_ci() {
    let Some(venv) = venv() else { return };
    let actions = documents(&venv, "ci/github-actions.yml");
    let steps = actions[0]["jobs"]["drill"]["steps"].as_array().expect("steps");
    let gitlab = documents(&venv, "ci/gitlab-ci.yml");
    let script = gitlab[0]["drill"]["script"].as_array().expect("a script");
    let drill = |command: Option<&str>| command.filter(|text| text.starts_with("graceful drill ")).map(str::to_owned);
    let of_actions = steps.iter().find_map(|step| drill(step["run"].as_str())).expect("a drill");
    let of_gitlab = script.iter().find_map(|line| drill(line.as_str())).expect("a drill");
    assert_eq!(of_actions, of_gitlab);
    let Some((copy, said)) = type_in("gunicorn", &of_actions, Some(&venv), &[]) else { return };
    assert!(said.starts_with("PASSED"), "{said}");
    let page = std::fs::read_to_string(copy.path().join("gunicorn/drill.html")).expect("the artifact");
    let checks = std::fs::read_to_string(copy.path().join("gunicorn/drill.xml")).expect("the report");
    assert!(page.contains("<svg") && checks.contains("<testsuite"), "{checks}");
    assert_eq!(gitlab[0]["drill"]["artifacts"]["reports"]["junit"], "drill.xml");
}

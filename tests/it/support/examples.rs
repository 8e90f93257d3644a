//! The folders of `examples/`: what they hold, copies of them, and what their READMEs tell to type, on a network of its own.

use super::{Exit, Proc, Venv, graceful, root};
use serde_json::Value;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// A drill or two, and a compiler, on a machine that has other things to do.
const DEADLINE: Duration = Duration::from_secs(240);

pub(crate) fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// The text of a file.
#[track_caller]
pub(crate) fn example(path: &str) -> String {
    let path = examples().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What the README tells to type: whatever stands between "```sh" and "```".
pub(crate) fn typed(folder: &str) -> Vec<String> {
    let readme = example(&format!("{folder}/README.md"));
    let rest = readme.split("```sh\n").skip(1);
    rest.map(|rest| rest.split("```\n").next().unwrap_or_default().to_owned()).collect()
}

/// A copy of the folder, which others than root may read: servers change their user.
pub(crate) fn copy_of(folder: &str) -> TempDir {
    let copy = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(copy.path(), PermissionsExt::from_mode(0o755)).expect("it is ours");
    let done = Command::new("cp").arg("-r").arg(examples().join(folder)).arg(copy.path()).status().expect("cp runs");
    assert!(done.success(), "cp: {done}");
    copy
}

/// Runs shell commands in a copy of the folder and in network and PID namespaces of their own, so that the ports that they name are
/// theirs; `programs` are found first, under these names, and then those of `venv`. The copy, if all went well.
#[track_caller]
pub(crate) fn type_in(
    folder: &str,
    commands: &str,
    venv: Option<&Venv>,
    programs: &[(&str, PathBuf)],
) -> Option<(TempDir, String)> {
    root()?;
    let copy = copy_of(folder);
    let bin = copy.path().join("bin");
    std::fs::create_dir(&bin).expect("a folder");
    for (name, program) in programs.iter().chain([&("graceful", graceful())]) {
        symlink(program, bin.join(name)).expect("a link");
    }
    let python = venv.map(|venv| Path::new(&venv.program("python")).with_file_name(""));
    let path = [Some(bin), python].into_iter().flatten().map(|folder| folder.display().to_string() + ":");
    let path = path.collect::<String>() + &std::env::var("PATH").expect("a PATH");
    // The last command must not take the shell's place, which is PID 1 of the namespace.
    let script = format!("ip link set lo up\n{commands}\n:\n");
    let mut command = Command::new("unshare");
    command.args(["--net", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-e", "-c", &script]);
    command.current_dir(copy.path().join(folder)).env("PATH", path);
    command.env("GOCACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-cache")).env("GOFLAGS", "");
    super::without_settings(&mut command);
    let (exit, stdout, stderr) = Proc::spawn_group(&mut command).wait_output(DEADLINE);
    assert!(exit == Exit::Code(0), "{commands}\n{exit:?}\n{stdout}{stderr}");
    Some((copy, stdout))
}

/// A Python program with the modules of target/venv; its stdout.
#[track_caller]
pub(crate) fn python(venv: &Venv, script: &str, args: &[&str]) -> String {
    let mut command = Command::new(venv.program("python"));
    let output = command.args(["-c", script]).args(args).current_dir(examples()).output().expect("python runs");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    stdout.into_owned()
}

/// The documents of a YAML file.
#[track_caller]
pub(crate) fn documents(venv: &Venv, path: &str) -> Vec<Value> {
    const SCRIPT: &str = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    serde_json::from_str(&python(venv, SCRIPT, &[path])).expect("JSON")
}

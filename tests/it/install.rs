//! `graceful install DIR`: the binary that runs copies itself, whole or not at all.

use crate::support::{DEADLINE, Exit, Proc, graceful, graceful_command};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

fn install(dir: &Path) -> Output {
    graceful_command().arg("install").arg(dir).output().expect("graceful runs")
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("a folder");
    entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect()
}

#[test]
fn it_is_a_whole_copy_that_everybody_may_execute() {
    let dir = tempfile::tempdir().expect("a folder");
    // A container's umask may be anything.
    let script = "umask 077; exec \"$0\" install \"$1\"";
    let output = Command::new("sh").args(["-c", script]).arg(graceful()).arg(dir.path()).output().expect("sh runs");
    let copy = dir.path().join("graceful");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && stderr.is_empty(), "{stdout}{stderr}");
    assert!(stdout.lines().count() == 1 && stdout.contains(&*copy.to_string_lossy()), "{stdout}");
    assert_eq!(names(dir.path()), ["graceful"]);
    assert_eq!(std::fs::metadata(&copy).expect("a file").permissions().mode() & 0o7777, 0o755);
    assert!(std::fs::read(&copy).expect("a file") == std::fs::read(graceful()).expect("a file"), "not the same");
    let ran = Command::new(&copy).args(["--", "sh", "-c", "exit 7"]).status().expect("it runs");
    assert_eq!(ran.code(), Some(7));
}

#[test]
fn one_that_runs_is_replaced_and_runs_on() {
    let dir = tempfile::tempdir().expect("a folder");
    assert!(install(dir.path()).status.success());
    let copy = dir.path().join("graceful");
    let old = std::fs::metadata(&copy).expect("a file").ino();
    let app = ["--pre-stop-delay", "0s", "--", "sh", "-c", "trap 'exit 5' TERM; echo up; while :; do sleep 0.1; done"];
    let running = Proc::spawn_group(Command::new(&copy).args(app));
    running.wait_line("up", DEADLINE);
    let output = install(dir.path());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Written over, the file of what runs would be busy; the old one is still held by its process.
    assert_ne!(std::fs::metadata(&copy).expect("a file").ino(), old);
    assert_eq!(names(dir.path()), ["graceful"]);
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait(DEADLINE), Exit::Code(5));
}

#[test]
fn what_is_in_its_way_is_named_and_left_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir_all(at("taken/graceful")).expect("a folder");
    std::fs::create_dir(at("linked")).expect("a folder");
    std::fs::write(at("file"), "mine").expect("a file");
    symlink(at("file"), at("linked/graceful")).expect("a link");
    for (dir, code, reason) in [
        (at("nowhere"), 2, "does not exist; expected an existing directory"),
        (at("file"), 2, "is not a directory; expected the one that graceful is to be put into"),
        (at("taken"), 2, "it is a directory, which is left alone"),
        (at("linked"), 2, "it is a symbolic link, which is left alone"),
        ("/sys".into(), 125, "cannot be written to: "),
    ] {
        let output = install(&dir);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(code), true), "{stderr}");
        let begin = format!("graceful: error: install {}: ", dir.display());
        assert!(stderr.lines().count() == 1 && stderr.starts_with(&begin) && stderr.contains(reason), "{stderr}");
    }
    assert_eq!(std::fs::read_to_string(at("file")).expect("a file"), "mine");
    assert_eq!((names(&at("taken")), names(&at("linked"))), (vec!["graceful".to_owned()], vec!["graceful".to_owned()]));
}

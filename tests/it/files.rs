//! What graceful opens by a path that somebody gave it: nothing that is not its own is removed, truncated or led astray,
//! least of all as root over an app that is not. Device files are those of a private /dev.

use crate::support::run::{Run, ended, folder, shell, wait_for, words};
use crate::support::{DEADLINE, Exit, Proc, graceful, graceful_command, requires, signals};
use serde_json::Value;
use std::ffi::CString;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

const NO_DELAY: [&str; 4] = ["--grace-period", "120s", "--pre-stop-delay", "0s"];
/// The delay lasts until the test has seen enough.
const LONG: [&str; 4] = ["--grace-period", "120s", "--pre-stop-delay", "60s"];
const NOBODY: u32 = 65534;

fn with<'a>(base: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [base, more].concat()
}

fn fifo(path: &Path) {
    let name = CString::new(path.as_os_str().as_encoded_bytes()).unwrap();
    // SAFETY: a live C string.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
}

/// Whether files can belong to somebody else.
#[track_caller]
fn root() -> Option<()> {
    // SAFETY: geteuid(2) has no preconditions and cannot fail.
    requires("root", (unsafe { libc::geteuid() } == 0).then_some(()))
}

/// A folder that belongs to nobody, in which its apps may do what they like.
fn nobodys_folder() -> tempfile::TempDir {
    let folder = folder();
    std::os::unix::fs::chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// A command line that runs as nobody.
fn as_nobody(script: &str) -> Vec<String> {
    words(&["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "sh", "-c", script])
}

/// A link as the app would plant it.
fn plant(target: &Path, link: &Path) {
    symlink(target, link).unwrap();
    std::os::unix::fs::lchown(link, Some(NOBODY), Some(NOBODY)).unwrap();
}

#[track_caller]
fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

// The drain file

#[test]
fn a_drain_file_that_is_somebody_elses_is_refused_and_left_as_it_is() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("content"), "precious").unwrap();
    fs::write(path("target"), "").unwrap();
    symlink("target", path("link")).unwrap();
    symlink("nowhere", path("dangling")).unwrap();
    fifo(&path("fifo"));
    let _listener = UnixListener::bind(path("socket")).unwrap();
    for (name, what) in [
        ("content", "is a file with content (8 bytes)"),
        ("link", "is a symbolic link"),
        ("dangling", "is a symbolic link"),
        ("fifo", "is a FIFO"),
        ("socket", "is a socket"),
    ] {
        let before = fs::symlink_metadata(path(name)).unwrap();
        let mut command = graceful_command();
        let (exit, _, stderr) =
            ended(command.arg("--drain-file").arg(path(name)).args(["--", "touch"]).arg(path("ran")));
        assert_eq!(exit, Exit::Code(2), "{name}: {stderr}");
        assert!(stderr.contains("--drain-file") && stderr.contains(what), "{name}: {stderr}");
        let after = fs::symlink_metadata(path(name)).expect(name);
        assert_eq!((before.ino(), before.len(), before.mode()), (after.ino(), after.len(), after.mode()), "{name}");
        assert!(!path("ran").exists(), "{name}");
    }
    assert_eq!(fs::read(path("content")).unwrap(), b"precious");
}

#[test]
fn a_device_is_no_drain_file() {
    let Some(()) = root() else { return };
    // A /dev of its own: 0.1.0 removed the machine's null device.
    let script = "mount -t tmpfs none \"$1\"; mknod -m 666 \"$1/null\" c 1 3; mknod -m 600 \"$1/disk\" b 7 99
                  for name in null disk; do \"$2\" --drain-file \"$1/$name\" -- echo ran 2>&1 && echo accepted; done
                  test -c \"$1/null\" && test -b \"$1/disk\" && echo both are there";
    let folder = folder();
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(folder.path()).arg(graceful());
    let (exit, stdout, stderr) = ended(&mut command);
    assert_eq!(exit, Exit::Code(0), "{stdout}{stderr}");
    assert_eq!(stdout.matches("is a device, which is left alone").count(), 2, "{stdout}");
    assert!(stdout.ends_with("both are there\n") && !stdout.contains("accepted"), "{stdout}");
    assert!(!stdout.contains("ran\n"), "{stdout}");
}

#[test]
fn the_drain_file_of_a_killed_run_is_removed_and_that_of_this_run_is_a_new_one() {
    let folder = folder();
    let file = folder.path().join("draining");
    fs::write(&file, "").unwrap();
    let stale = fs::metadata(&file).unwrap();
    // Its number cannot be given to another file as long as it has another name.
    fs::hard_link(&file, folder.path().join("stale")).unwrap();
    let run = Run::start_in(
        folder,
        &with(&LONG, &["--drain-file", file.to_str().unwrap()]),
        &signals(&["--exit-on", "USR1=0"]),
    );
    run.wait_line("ready pid=", DEADLINE);
    assert!(!file.exists() && run.path("stale").exists());
    run.stop_begun(libc::SIGTERM);
    wait_for("the drain file", || file.exists());
    assert_ne!(fs::metadata(&file).unwrap().ino(), stale.ino());
    run.stop(libc::SIGUSR1);
    run.ends(Exit::Code(0));
    assert!(!file.exists() && run.path("stale").exists());
}

#[test]
fn a_file_that_took_the_drain_files_place_is_left_alone() {
    let folder = folder();
    let file = folder.path().join("draining");
    let options = with(&LONG, &["--drain-file", file.to_str().unwrap()]);
    let run = Run::start_in(folder, &options, &signals(&["--exit-on", "USR1=0"]));
    run.wait_line("ready pid=", DEADLINE);
    run.stop_begun(libc::SIGTERM);
    wait_for("the drain file", || file.exists());
    fs::remove_file(&file).unwrap();
    fs::write(&file, "the app's own").unwrap();
    run.stop(libc::SIGUSR1);
    run.ends(Exit::Code(0));
    assert_eq!(fs::read(&file).unwrap(), b"the app's own");
    run.wait_line("cannot remove --drain-file", DEADLINE);
}

#[test]
fn what_the_app_made_before_the_stop_is_neither_truncated_nor_removed() {
    let folder = folder();
    let file = folder.path().join("draining");
    let options = with(&LONG, &["--drain-file", file.to_str().unwrap()]);
    let run = Run::start_in(folder, &options, &signals(&["--exit-on", "USR1=0"]));
    run.wait_line("ready pid=", DEADLINE);
    fs::write(&file, "precious").unwrap();
    run.stop_begun(libc::SIGTERM);
    run.wait_line("cannot create --drain-file", DEADLINE);
    run.stop(libc::SIGUSR1);
    run.ends(Exit::Code(0));
    assert_eq!(fs::read(&file).unwrap(), b"precious");
}

// Links that an unprivileged app plants

/// The app, as nobody, puts a link of this name into its folder, for which root then has a use. What root's file holds
/// in the end, and what graceful said.
fn planted(option: &str, name: &str) -> (String, String) {
    let (folder, roots) = (nobodys_folder(), folder());
    let victim = roots.path().join("shadow");
    fs::write(&victim, "root's own\n").unwrap();
    fs::set_permissions(roots.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = folder.path().join(name);
    let mut command = graceful_command();
    command.args(LONG).arg(option).arg(&path).arg("--");
    let script = format!(
        "trap 'exit 0' USR1; ln -s {} {} || exit 9; echo ready; while :; do sleep 0.05; done",
        victim.display(),
        path.display()
    );
    let run = Proc::spawn_group(command.args(as_nobody(&script)));
    run.wait_line("ready", DEADLINE);
    run.signal(libc::SIGTERM);
    run.wait_line(": stopping", DEADLINE);
    if option == "--drain-file" {
        run.wait_line("--drain-file", DEADLINE);
    }
    run.signal(libc::SIGUSR1);
    assert_eq!(run.wait(DEADLINE), Exit::Code(0), "{}", run.dump());
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink(), "the link itself is the app's");
    (fs::read_to_string(&victim).unwrap(), run.stderr_so_far())
}

#[test]
fn root_writes_through_no_link_that_the_app_planted() {
    let Some(()) = root() else { return };
    for (option, words) in [
        ("--drain-file", "cannot create --drain-file"),
        ("--report", "cannot write --report"),
        ("--termination-log", "cannot write --termination-log"),
    ] {
        let (content, said) = planted(option, "x");
        assert_eq!(content, "root's own\n", "{option}: {said}");
        assert!(said.contains(words), "{option}: {said}");
    }
}

#[test]
fn root_goes_through_no_directory_that_the_app_exchanged_for_a_link() {
    let Some(()) = root() else { return };
    for option in ["--drain-file", "--report", "--termination-log"] {
        let (folder, roots) = (nobodys_folder(), folder());
        fs::set_permissions(roots.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let below = folder.path().join("run");
        fs::create_dir(&below).unwrap();
        std::os::unix::fs::chown(&below, Some(NOBODY), Some(NOBODY)).unwrap();
        let mut command = graceful_command();
        command.args(LONG).arg(option).arg(below.join("x")).arg("--");
        let script = format!(
            "trap 'exit 0' USR1; rmdir {0} && ln -s {1} {0} || exit 9; echo ready; while :; do sleep 0.05; done",
            below.display(),
            roots.path().display()
        );
        let run = Proc::spawn_group(command.args(as_nobody(&script)));
        run.wait_line("ready", DEADLINE);
        run.signal(libc::SIGTERM);
        run.wait_line(": stopping", DEADLINE);
        if option == "--drain-file" {
            run.wait_line("cannot create --drain-file", DEADLINE);
        }
        run.signal(libc::SIGUSR1);
        assert_eq!(run.wait(DEADLINE), Exit::Code(0), "{}", run.dump());
        assert_eq!(fs::read_dir(roots.path()).unwrap().count(), 0, "{option}: {}", run.dump());
        assert!(run.stderr_so_far().contains("is a symbolic link that user 65534 made"), "{option}: {}", run.dump());
    }
}

#[test]
fn a_planted_link_is_refused_at_the_start_and_one_of_roots_on_the_way_is_not() {
    let Some(()) = root() else { return };
    let (folder, elsewhere) = (nobodys_folder(), folder());
    plant(elsewhere.path(), &folder.path().join("planted"));
    symlink(elsewhere.path(), folder.path().join("roots")).unwrap();
    let run = |path: PathBuf| ended(graceful_command().arg("--report").arg(path).args(["--", "true"]));
    let (exit, _, stderr) = run(folder.path().join("planted/r.json"));
    assert_eq!(exit, Exit::Code(2), "{stderr}");
    assert!(stderr.contains("--report") && stderr.contains("user 65534 made"), "{stderr}");
    let (exit, _, stderr) = run(folder.path().join("roots/r.json"));
    assert_eq!(exit, Exit::Code(0), "{stderr}");
    assert_eq!(read_json(&elsewhere.path().join("r.json"))["exit_code"], 0);
}

#[test]
fn a_file_with_a_second_name_gets_no_termination_message() {
    let folder = folder();
    let (log, other) = (folder.path().join("log"), folder.path().join("other"));
    fs::write(&other, "root's own\n").unwrap();
    let mut command = graceful_command();
    command.args(NO_DELAY).arg("--termination-log").arg(&log).arg("--");
    let run = Proc::spawn_group(command.args(shell(&format!("ln {} {}", other.display(), log.display()))));
    assert_eq!(run.wait(DEADLINE), Exit::Code(0), "{}", run.dump());
    run.wait_line("cannot write --termination-log", DEADLINE);
    assert_eq!(fs::read(&other).unwrap(), b"root's own\n");
}

// The report

#[test]
fn a_report_is_there_whole_or_not_at_all() {
    // A disk that is full before the report is written: a small tmpfs of its own.
    let Some(()) = root() else { return };
    let folder = folder();
    let script = "mount -t tmpfs -o size=16k none \"$1\"; cd \"$1\"; echo old >r.json
                  shift; \"$@\" --report r.json -- sh -c 'head -c 100000 /dev/zero >filler 2>/dev/null; true'
                  echo status $?; cat r.json; ls -A";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(folder.path()).arg(graceful());
    let (exit, stdout, stderr) = ended(&mut command);
    assert_eq!(exit, Exit::Code(0), "{stderr}");
    assert_eq!(stdout, "status 0\nold\nfiller\nr.json\n", "{stderr}");
    assert!(stderr.contains("cannot write --report") && stderr.contains("No space left"), "{stderr}");
}

#[test]
fn a_reader_never_sees_half_a_report() {
    let folder = folder();
    let path = folder.path().join("r.json");
    fs::write(&path, "{\"old\": true}").unwrap();
    let mut old = fs::File::open(&path).unwrap();
    let (exit, _, stderr) = ended(graceful_command().arg("--report").arg(&path).args(["--", "true"]));
    assert_eq!(exit, Exit::Code(0), "{stderr}");
    let mut text = String::new();
    old.read_to_string(&mut text).unwrap();
    assert_eq!(text, "{\"old\": true}", "it was replaced, not written over");
    assert_eq!(read_json(&path)["exit_code"], 0);
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["r.json"], "nothing else is left");
}

#[test]
fn a_report_that_is_a_mount_of_its_own_is_written_in_place() {
    let Some(()) = root() else { return };
    let folder = folder();
    // As `docker run --read-only -v ./host.json:/folder/r.json` does it.
    let script = "cd \"$1\"; echo a long text of the last run: {}{}{}{}{}{}{}{} >host.json; touch r.json
                  mount --bind host.json r.json; shift; \"$@\" --report r.json -- sh -c 'exit 3'";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(folder.path()).arg(graceful());
    let (exit, _, stderr) = ended(&mut command);
    assert_eq!(exit, Exit::Code(3), "{stderr}");
    assert_eq!(read_json(&folder.path().join("host.json"))["exit_code"], 3);
    assert!(!stderr.contains("cannot"), "{stderr}");
}

#[test]
fn a_report_whose_directory_is_gone_costs_a_line_and_no_more() {
    let folder = folder();
    let below = folder.path().join("below");
    fs::create_dir(&below).unwrap();
    let mut command = graceful_command();
    command.arg("--report").arg(below.join("r.json")).args(["--", "sh", "-c", "rmdir \"$0\"; exit 3"]).arg(&below);
    let (exit, _, stderr) = ended(&mut command);
    assert_eq!(exit, Exit::Code(3));
    assert!(stderr.contains("cannot write --report") && stderr.contains("No such file"), "{stderr}");
}

#[test]
fn who_may_read_a_report_is_said_by_the_umask_and_by_the_file_that_was_there() {
    let folder = folder();
    let path = folder.path().join("r.json");
    for (umask, before, mode) in [("022", None, 0o644), ("077", None, 0o600), ("022", Some(0o660), 0o660)] {
        _ = fs::remove_file(&path);
        if let Some(mode) = before {
            fs::write(&path, "old").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let script = format!("umask {umask}; exec \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh"]).arg(graceful()).arg("--report").arg(&path).args(["--", "true"]);
        assert_eq!(ended(&mut command).0, Exit::Code(0));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, mode, "{umask}");
    }
}

#[test]
fn a_report_goes_to_descriptors_and_devices_too() {
    let folder = folder();
    let out = folder.path().join("out");
    // A pipe that only a descriptor leads to, as bash makes it of >(…); and standard error that is a file already written to.
    for (redirect, path) in [("3>&1 >/dev/null", "/dev/fd/3"), ("3>&1 >/dev/null", "/proc/self/fd/3")] {
        let script = format!("\"$0\" --report {path} -- sh -c 'exit 5' {redirect} | cat >{}", out.display());
        ended(Command::new("sh").args(["-c", &script]).arg(graceful()));
        assert_eq!(read_json(&out)["exit_code"], 5, "{path}");
    }
    let script = format!("(echo before >&2; \"$0\" --report /dev/stderr -- true) 2>{}", out.display());
    ended(Command::new("sh").args(["-c", &script]).arg(graceful()));
    let text = fs::read_to_string(&out).unwrap();
    assert!(text.starts_with("before\n{") && text.contains("\"exit_code\": 0"), "{text}");

    let (exit, _, stderr) =
        ended(graceful_command().args(["--report", "/dev/null", "--termination-log", "/dev/null", "--", "true"]));
    assert_eq!((exit, stderr.as_str()), (Exit::Code(0), ""));
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
}

/// Holding a descriptor for the report must not show to the app.
#[test]
fn the_app_finds_the_descriptor_of_the_report_as_it_was() {
    let script = "\"$0\" --report /dev/fd/3 -- sh -c 'echo own >&3; ls /proc/self/fd' 3>&1 >&2 | head -1";
    let (_, stdout, stderr) = ended(Command::new("sh").args(["-c", script]).arg(graceful()));
    assert_eq!(stdout, "own\n", "{stderr}");
    let descriptors: Vec<&str> = stderr.split_whitespace().collect();
    // 4 is that of the folder that ls reads.
    assert!(!descriptors.contains(&"5"), "{stderr}");
}

// What is read

#[test]
fn a_configuration_that_comes_through_a_descriptor_is_read() {
    let folder = folder();
    let script = "echo 'success_exit_status = [7]' | \"$0\" --config /dev/stdin -- sh -c 'exit 7'";
    assert_eq!(ended(Command::new("sh").args(["-c", script]).arg(graceful())).0, Exit::Code(0));
    let script = "echo 'success_exit_status = [7]' | \"$0\" --config /dev/fd/3 -- sh -c 'exit 7' 3<&0 </dev/null";
    assert_eq!(ended(Command::new("sh").args(["-c", script]).arg(graceful())).0, Exit::Code(0));
    let (exit, _, stderr) = ended(graceful_command().args(["--config", "/dev/null", "--", "sh", "-c", "exit 7"]));
    assert_eq!((exit, stderr.as_str()), (Exit::Code(7), ""), "an empty one");
    drop(folder);
}

#[test]
fn a_baseline_that_never_ends_is_not_waited_for() {
    let folder = folder();
    fifo(&folder.path().join("fifo"));
    for (path, what) in [(folder.path().join("fifo"), "a FIFO"), ("/dev/zero".into(), "a device")] {
        let mut command = graceful_command();
        command.args(["drill", "--no-stop", "--url", "http://127.0.0.1:9/", "--baseline"]).arg(&path);
        let (exit, _, stderr) = ended(&mut command);
        assert_eq!(exit, Exit::Code(2), "{stderr}");
        assert!(stderr.contains("--baseline") && stderr.contains(what), "{stderr}");
    }
}

//! `graceful reload` and `graceful status` from outside: whom they ask, what they say and how they exit.
//!
//! The other side is the library's own server, with answers of the test's.

use crate::support::run::{ended, folder};
use crate::support::{DEADLINE, Exit, graceful, graceful_command};
use graceful::control::{
    ControlAddress, ControlAnswer, ControlRequest, ControlServer, GenerationStatus, ReloadAnswer, StatusDocument,
};
use graceful::sys::fds;
use graceful::timeline::{GenerationCause, Phase};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const NOBODY: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

/// A graceful as far as its control socket goes.
struct Running {
    folder: TempDir,
    asked: Receiver<ControlRequest>,
    end: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Answers like this; not at all where that is nothing.
    fn start(answer: impl Fn(ControlRequest) -> Option<ControlAnswer> + Send + 'static) -> Running {
        let folder = folder();
        // Whoever comes must be able to reach the socket, to be refused there.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut server = ControlServer::bind(&ControlAddress::at(folder.path().join("control"))).unwrap();
        let ((tell, asked), (end, ends)) = (channel(), channel());
        let thread = thread::spawn(move || {
            let start = Instant::now();
            while ends.try_recv().is_err() {
                fds::poll(&server.fds().collect::<Vec<BorrowedFd<'_>>>(), Some(Duration::from_millis(20)));
                for request in server.read(start.elapsed()) {
                    tell.send(request.what).unwrap();
                    if let Some(answer) = answer(request.what) {
                        server.answer(request.id, &answer);
                    }
                }
            }
        });
        Running { folder, asked, end, thread: Some(thread) }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("control")
    }

    fn ask(&self, args: &[&str]) -> (Exit, String, String) {
        let mut command = graceful_command();
        ended(command.args(args).arg("--control").arg(self.path()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.end.send(());
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

fn serving() -> StatusDocument {
    StatusDocument {
        version: "0.1.0".to_owned(),
        pid: 1,
        generation: GenerationStatus {
            number: 2,
            cause: GenerationCause::Reload,
            app_pid: Some(57),
            started_ago: Some(Duration::from_secs(180)),
            phase: Phase::Running,
            ready: Some(true),
        },
        other: None,
        restarts_in_a_row: 0,
        in_flight: None,
        budget_left: None,
        stop_signal: None,
        last_reload: None,
    }
}

#[test]
fn a_reload_ends_with_what_became_of_it() {
    let serves = ReloadAnswer::Serves { generation: 2, took: Duration::from_millis(1400) };
    let failed = ReloadAnswer::Failed { reason: "the new generation was not ready within 10s".to_owned() };
    let refused = ReloadAnswer::Refused { reason: "a stop goes on".to_owned() };
    for (answer, code, stdout, why) in [
        (serves, 0, "generation 2 serves after 1.4 s\n", ""),
        (failed, 1, "", "failed: the new generation was not ready within 10s"),
        (refused, 1, "", "refused: a stop goes on"),
    ] {
        let running = Running::start(move |_| Some(ControlAnswer::Reload(answer.clone())));
        let place = format!("graceful: error: reload unix:{}: ", running.path().display());
        let expected = if why.is_empty() { String::new() } else { format!("{place}{why}\n") };
        assert_eq!(running.ask(&["reload"]), (Exit::Code(code), stdout.to_owned(), expected));
        assert_eq!(running.asked.recv_timeout(DEADLINE), Ok(ControlRequest::Reload));
    }
}

#[test]
fn a_reload_is_waited_for_no_longer_than_was_said() {
    let running = Running::start(|_| None);
    let (exit, stdout, stderr) = running.ask(&["reload", "--timeout", "300ms"]);
    assert_eq!((exit, stdout.as_str()), (Exit::Code(1), ""));
    assert!(stderr.contains("no answer within 300ms; the reload may still go on"), "{stderr}");
    // It was asked for, and the socket is not shut for others meanwhile.
    assert_eq!(running.asked.recv_timeout(DEADLINE), Ok(ControlRequest::Reload));
}

#[test]
fn a_status_is_text_or_json_and_says_whether_the_app_serves() {
    let running = Running::start(|_| Some(ControlAnswer::Status(Box::new(serving()))));
    let text = "graceful    0.1.0, pid 1\ngeneration  2 (reload), running, ready; app pid 57, started 3 min ago\n";
    assert_eq!(running.ask(&["status"]), (Exit::Code(0), text.to_owned(), String::new()));
    assert_eq!(running.asked.recv_timeout(DEADLINE), Ok(ControlRequest::Status));
    let (exit, json, stderr) = running.ask(&["status", "--output", "json"]);
    assert_eq!((exit, stderr.as_str()), (Exit::Code(0), ""));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["v"], &json["generation"]["number"], &json["generation"]["ready"]),
        (&1.into(), &2.into(), &true.into())
    );

    let mut status = serving();
    status.generation.ready = Some(false);
    let running = Running::start(move |_| Some(ControlAnswer::Status(Box::new(status.clone()))));
    for output in ["text", "json"] {
        let (exit, stdout, stderr) = running.ask(&["status", "--output", output]);
        assert_eq!((exit, stderr.as_str()), (Exit::Code(1), ""));
        assert!(stdout.contains("ready"), "{stdout}");
    }
}

#[test]
fn the_variable_says_where_and_the_option_is_stronger() {
    let running = Running::start(|_| Some(ControlAnswer::Status(Box::new(serving()))));
    let address = format!("unix:{}", running.path().display());
    let (exit, _, stderr) = ended(graceful_command().arg("status").env("GRACEFUL_CONTROL", &address));
    assert_eq!((exit, stderr.as_str()), (Exit::Code(0), ""));
    let mut command = graceful_command();
    let (exit, _, stderr) =
        ended(command.args(["status", "--control", "/nowhere/s"]).env("GRACEFUL_CONTROL", &address));
    assert_eq!(exit, Exit::Code(1));
    assert!(stderr.contains("status unix:/nowhere/s: no such socket"), "{stderr}");
    // A relative path is one below the working directory.
    let mut command = graceful_command();
    let (exit, _, stderr) =
        ended(command.args(["status", "--control", "unix:control"]).current_dir(running.folder.path()));
    assert_eq!((exit, stderr.as_str()), (Exit::Code(0), ""));
}

#[test]
fn where_nobody_answers_one_line_says_what_would_be_right() {
    let folder = folder();
    let said = |path: &Path| {
        let (exit, stdout, stderr) = ended(graceful_command().args(["reload", "--control"]).arg(path));
        assert_eq!((exit, stdout.as_str(), stderr.lines().count()), (Exit::Code(1), "", 1), "{stderr}");
        stderr
    };
    let socket = folder.path().join("s");
    let stderr = said(&socket);
    let place = format!("reload unix:{}: no such socket; is graceful running with --control", socket.display());
    assert!(stderr.contains(&place), "{stderr}");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(said(&socket).contains("nobody listens there"));
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(said(&file).contains("not a socket"));
}

#[test]
fn another_user_cannot_connect_and_who_can_is_refused() {
    let root = nix::unistd::geteuid().is_root();
    let Some(()) = crate::support::requires("root", root.then_some(())) else { return };
    let running = Running::start(|_| Some(ControlAnswer::Status(Box::new(serving()))));
    let as_nobody = |path: &Path| {
        let mut command = Command::new(NOBODY[0]);
        ended(command.args(&NOBODY[1..]).arg(graceful()).args(["status", "--control"]).arg(path))
    };
    let (exit, stdout, stderr) = as_nobody(&running.path());
    assert_eq!((exit, stdout.as_str()), (Exit::Code(1), ""));
    assert!(stderr.contains("permission denied; expected root or the user that graceful runs as"), "{stderr}");

    // A file system without modes.
    std::fs::set_permissions(running.path(), std::fs::Permissions::from_mode(0o666)).unwrap();
    let (exit, stdout, stderr) = as_nobody(&running.path());
    assert_eq!((exit, stdout.as_str()), (Exit::Code(1), ""));
    let why = "user 65534 may not ask; graceful runs as root (user 0), and answers root alone";
    assert!(stderr.contains(why), "{stderr}");
    assert!(running.asked.try_recv().is_err(), "a request of nobody's");
    // And its owner still can.
    assert_eq!(running.ask(&["status"]).0, Exit::Code(0));
}

#[test]
fn the_help_says_where_it_looks_and_how_it_ends() {
    for (command, parts) in [
        ("reload", ["GRACEFUL_CONTROL, else", "/run/graceful-control.sock", "Default: 2m", "Exit status:"]),
        (
            "status",
            ["GRACEFUL_CONTROL, else", "/run/graceful-control.sock", "text or json. Default: text", "Exit status:"],
        ),
    ] {
        let (exit, help, _) = ended(graceful_command().args([command, "--help"]));
        assert_eq!(exit, Exit::Code(0));
        for part in parts {
            assert!(help.contains(part), "{part}: {help}");
        }
    }
}

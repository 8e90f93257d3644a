//! What is executed and what cannot be, and what of graceful's own start the app is to see as its own.

use crate::support::run::{ended, folder, shell, words};
use crate::support::{
    DEADLINE, Exit, Place, Proc, graceful, graceful_command, in_pid_namespace, python3, signals, tini,
};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An executable file with these bytes.
fn executable(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("our own folder");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("our own file");
    path
}

/// As much of an ELF file as tells what it is for: 64 bits, little endian.
fn elf(machine: u16) -> Vec<u8> {
    let mut head = b"\x7fELF\x02\x01\x01".to_vec();
    head.resize(16, 0);
    head.extend([2, 0]);
    head.extend(machine.to_le_bytes());
    head.resize(512, 0);
    head
}

mod format {
    use super::*;

    /// Neither has a `#!` line: which of the two is for a shell?
    #[test]
    fn what_is_no_script_is_126_with_the_reason() {
        let folder = folder();
        let foreign = if cfg!(target_arch = "aarch64") { (62, "x86_64") } else { (183, "aarch64") };
        for (name, bytes, why) in [
            ("foreign", elf(foreign.0), format!("built for {}, and this machine is", foreign.1)),
            ("damaged", elf(if cfg!(target_arch = "aarch64") { 183 } else { 62 }), "damaged".to_owned()),
            ("empty", Vec::new(), "the file is empty".to_owned()),
            ("picture", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec(), "NUL bytes".to_owned()),
            ("windows", b"MZ\x90\0\x03\0".to_vec(), "a program for Windows".to_owned()),
        ] {
            let path = executable(folder.path(), name, &bytes);
            let by_path = format!("{}:/usr/bin:/bin", folder.path().display());
            for program in [path.to_str().expect("a path"), name] {
                let (exit, stdout, stderr) = ended(graceful_command().env("PATH", &by_path).args(["--", program]));
                assert_eq!((exit, stdout.as_str()), (Exit::Code(126), ""), "{stderr}");
                assert_eq!(stderr.lines().count(), 1, "{stderr}");
                assert!(stderr.contains(&format!("cannot run {program}: ")) && stderr.contains(&why), "{stderr}");
            }
        }
    }

    /// The control: C's execvp, and with it every init of the field, lets a shell try.
    #[test]
    fn control_tini_gives_an_empty_file_to_a_shell() {
        let Some(tini) = tini() else { return };
        let folder = folder();
        let empty = executable(folder.path(), "empty", b"");
        let process = Proc::spawn_pid1(&mut in_pid_namespace([tini.as_os_str(), "--".as_ref(), empty.as_os_str()]));
        assert_eq!(process.wait(DEADLINE), Exit::Code(0), "as if all were well");
    }

    #[test]
    fn a_hook_that_is_no_script_is_told_as_such() {
        let folder = folder();
        let empty = executable(folder.path(), "empty", b"");
        let hook = format!("pre-start={}", empty.display());
        let (exit, _, stderr) = ended(graceful_command().args(["--hook", &hook, "--", "true"]));
        assert_eq!(exit, Exit::Code(125), "{stderr}");
        assert!(stderr.contains("neither a program for this machine nor a script"), "{stderr}");
    }

    /// The first of the name that can be executed counts; what may not be executed is passed over, as by execvp(3).
    #[test]
    fn path_is_searched_as_a_shell_does() {
        let (first, second) = (folder(), folder());
        std::fs::write(first.path().join("tool"), "exit 3\n").expect("our own");
        executable(second.path(), "tool", b"exit 4\n");
        let path = format!("/nonexistent:{}:{}", first.path().display(), second.path().display());
        let run = |path: &str, dir: &Path| {
            ended(graceful_command().env("PATH", path).current_dir(dir).args(["--", "tool"])).0
        };
        assert_eq!(run(&path, Path::new("/")), Exit::Code(4));
        assert_eq!(run(&format!("{}:/nonexistent", first.path().display()), Path::new("/")), Exit::Code(126));
        // An empty part of PATH is the working directory.
        assert_eq!(run("/nonexistent:", second.path()), Exit::Code(4));
        assert_eq!(run("/nonexistent", second.path()), Exit::Code(127));
    }

    #[test]
    fn an_interpreter_that_is_not_there_is_named() {
        let folder = folder();
        for (text, why) in [
            ("#!/nonexistent/interpreter -x\n", "names is not: /nonexistent/interpreter"),
            ("#!/bin/sh\r\necho\r\n", "/bin/sh, with a carriage return after it"),
        ] {
            let script = executable(folder.path(), "script", text.as_bytes());
            let (exit, _, stderr) = ended(graceful_command().arg("--").arg(&script));
            assert_eq!(exit, Exit::Code(126), "{stderr}");
            assert!(stderr.contains(why), "{stderr}");
        }
    }

    /// An image without a shell: the reason must not be that the file is not there.
    #[test]
    fn without_a_shell_a_script_says_what_is_missing() {
        let Some(()) = crate::support::root() else { return };
        let root = folder();
        std::fs::copy(graceful(), root.path().join("graceful")).expect("a copy");
        executable(root.path(), "script", b"echo hello\n");
        executable(root.path(), "foreign", &elf(22));
        for (program, why) in
            [("/script", "/bin/sh, which would run it, is not there"), ("/foreign", "built for s390x")]
        {
            let mut command = Command::new("chroot");
            command.arg(root.path()).args(["/graceful", "--", program]).env_clear().env("PATH", "/usr/sbin:/usr/bin");
            let (exit, _, stderr) = ended(&mut command);
            assert_eq!(exit, Exit::Code(126), "{stderr}");
            assert!(stderr.contains(why), "{stderr}");
        }
    }
}

mod emulated {
    use super::*;

    /// Where the child does not share the parent's memory (CLONE_VM and CLONE_VFORK become a fork), the reason gets out
    /// all the same.
    #[test]
    fn under_qemu_a_failed_exec_is_told() {
        let Some(qemu) = crate::support::qemu() else { return };
        let run = |app: &[&str]| {
            let mut command = Command::new(&qemu);
            command.arg(graceful()).arg("--").args(app);
            ended(&mut command)
        };
        for (app, code, why) in [
            ("/no/such/app", 127, "no such file"),
            ("no-such-app", 127, "not found in PATH"),
            ("/etc/passwd", 126, "denied"),
        ] {
            let (exit, _, stderr) = run(&[app]);
            assert_eq!(exit, Exit::Code(code), "{stderr}");
            assert!(stderr.contains(&format!("cannot run {app}: ")) && stderr.contains(why), "{stderr}");
        }
        // What runs and says 127 itself is nobody's failure to start.
        let (exit, stdout, stderr) = run(&["sh", "-c", "echo ran; exit 127"]);
        assert_eq!((exit, stdout.as_str()), (Exit::Code(127), "ran\n"), "{stderr}");
        assert!(!stderr.contains("cannot run"), "{stderr}");
    }
}

mod named_by_pid {
    use super::*;

    /// What sd_listen_fds(3) and sd_watchdog_enabled(3) do: who is not named there has nothing.
    const CHECK: &str = "
import os
own = str(os.getpid())
mine = [name for name in ('LISTEN_PID', 'WATCHDOG_PID', 'SYSTEMD_EXEC_PID') if os.environ.get(name) == own]
print('mine', ' '.join(mine), '/', os.environ.get('LISTEN_FDS'), os.environ.get('LISTEN_PIDFDID'), os.environ.get('B'))
";

    /// The variables name whoever executes this, as a service manager does it for what it starts.
    fn started(place: Place, prefix: &str, app: &[String]) -> String {
        let script = format!("{prefix} exec \"$@\"");
        let binary = graceful().to_string_lossy().into_owned();
        let argv = [words(&["sh", "-c", &script, "sh"]), vec![binary, "--".to_owned()], app.to_vec()].concat();
        let process = place.spawn(argv);
        let (exit, stdout, _) = process.wait_output(DEADLINE);
        assert_eq!(exit, Exit::Code(0), "{}", process.dump());
        stdout
    }

    const ALL: &str =
        "export B=2 LISTEN_FDS=1 LISTEN_PID=$$ WATCHDOG_PID=$$ SYSTEMD_EXEC_PID=$$ LISTEN_PIDFDID=77 WATCHDOG_USEC=1;";

    #[test]
    fn what_names_graceful_names_the_app() {
        for place in [Place::Wrapper, Place::Pid1] {
            let seen = started(place, ALL, &[python3(), "-c".to_owned(), CHECK.to_owned()]);
            assert_eq!(seen, "mine LISTEN_PID WATCHDOG_PID SYSTEMD_EXEC_PID / 1 None 2\n", "{place:?}");
        }
    }

    /// Somebody else's is handed on as it is, and everything else byte for byte.
    #[test]
    fn what_names_another_is_left_alone() {
        let prefix = "export B=2 LISTEN_FDS=1 LISTEN_PID=4194399 WATCHDOG_PID=$$;";
        let seen = started(Place::Wrapper, prefix, &shell("env"));
        assert!(
            seen.contains("LISTEN_PID=4194399\n") && seen.contains("B=2\n") && seen.contains("LISTEN_FDS=1\n"),
            "{seen}"
        );
    }

    /// The control: an init that knows nothing of it leaves the app without its sockets and its watchdog.
    #[test]
    fn control_under_tini_nothing_is_the_apps() {
        let Some(tini) = tini() else { return };
        let script = format!("{ALL} exec \"$@\"");
        let argv = [
            words(&["sh", "-c", &script, "sh", &tini.to_string_lossy(), "--", &python3(), "-c"]),
            vec![CHECK.to_owned()],
        ];
        let (_, stdout, _) = Place::Pid1.spawn(argv.concat()).wait_output(DEADLINE);
        assert_eq!(stdout, "mine  / 1 77 2\n");
    }
}

mod parent_death {
    use super::*;

    /// A launcher that is killed takes nobody with it; with the option graceful stops its app.
    #[test]
    fn graceful_gets_the_signal_when_its_launcher_dies() {
        let options = "--pre-stop-delay 0s --hold never --parent-death-signal TERM";
        let app = signals(&["--exit-on", "TERM=0"]).join(" ");
        let launcher = Proc::spawn_group(
            Command::new("sh")
                .args(["-c", &format!("{} {options} -- {app} & echo started; wait", graceful().display())]),
        );
        launcher.wait_line("ready pid=", DEADLINE);
        launcher.signal(libc::SIGKILL);
        // The end of the output: graceful and the app have gone.
        launcher.wait_line("SIGTERM: stopping", DEADLINE);
        let (exit, stdout, _) = launcher.wait_output(DEADLINE);
        assert_eq!(exit, Exit::Signal(libc::SIGKILL));
        assert!(stdout.contains("\nSIGTERM\n"), "{stdout}");
    }

    #[test]
    fn control_without_it_both_live_on() {
        let app = signals(&["--exit-on", "USR1=0"]).join(" ");
        let script = format!("{} -- {app} & echo graceful=$!; wait", graceful().display());
        let launcher = Proc::spawn_group(Command::new("sh").args(["-c", &script]));
        launcher.wait_line("ready pid=", DEADLINE);
        launcher.signal(libc::SIGKILL);
        launcher.wait(DEADLINE);
        let stdout = launcher.stdout_so_far();
        let graceful = crate::support::run::number_after(&stdout, "graceful=");
        assert!(crate::support::run::is_alive(graceful));
        crate::support::run::kill(graceful, libc::SIGUSR1);
        launcher.wait_output(DEADLINE);
    }
}

mod started_by_others {
    use super::*;

    #[test]
    fn a_script_whose_first_line_is_graceful_says_how_it_is_written() {
        let folder = folder();
        let line =
            |line: &str| executable(folder.path(), "script", format!("{line}\necho \"ran $1\"\nexit 3\n").as_bytes());
        let binary = graceful();
        let script = line(&format!("#!{} -- /bin/sh", binary.display()));
        let (exit, _, stderr) = ended(Command::new(&script).arg("x"));
        assert_eq!(exit, Exit::Code(2), "{stderr}");
        assert!(
            stderr.contains("\"-- /bin/sh\"") && stderr.contains("#!/usr/bin/env -S graceful -- /bin/sh"),
            "{stderr}"
        );
        // What it says is right.
        let script = line(&format!("#!/usr/bin/env -S {} -- /bin/sh", binary.display()));
        let (exit, stdout, stderr) = ended(Command::new(&script).arg("x"));
        assert_eq!((exit, stdout.as_str()), (Exit::Code(3), "ran x\n"), "{stderr}");
    }

    /// What dockerd does with the output of its `--init-path` (moby, daemon/info_unix.go).
    fn parsed_by_docker(output: &str) -> Option<(String, String)> {
        let parts: Vec<&str> = output.split(" - ").collect();
        let version = parts[0].trim().strip_prefix("tini version ").unwrap_or_default();
        let words: Vec<&str> = parts.get(1).map(|part| part.trim().split('.').collect()).unwrap_or_default();
        let commit = if let ["git", commit] = words[..] { commit } else { "" };
        (!version.is_empty() || !commit.is_empty()).then(|| (version.to_owned(), commit.to_owned()))
    }

    #[test]
    fn docker_can_read_the_version_of_its_init() {
        let (exit, stdout, _) = ended(graceful_command().arg("--version"));
        assert_eq!(exit, Exit::Code(0));
        assert!(stdout.starts_with(&format!("graceful {} ", env!("CARGO_PKG_VERSION"))), "{stdout}");
        let commit = format!("v{}", env!("CARGO_PKG_VERSION").replace('.', "-"));
        assert_eq!(parsed_by_docker(&stdout), Some((String::new(), commit)));
        // The controls: tini's own, and what cannot be read.
        assert_eq!(parsed_by_docker("tini version 0.19.0 - git.de40ad0\n"), Some(("0.19.0".into(), "de40ad0".into())));
        assert_eq!(parsed_by_docker("graceful 0.1.0\n"), None);
    }
}

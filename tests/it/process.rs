//! graceful in front of a command, as a process among others: what the app starts with, what reaches it, what comes
//! out, and what graceful must leave alone. What holds as PID 1 too is in `tests/it/support/checks.rs`.
//!
//! # The traps of an init, and who watches for each
//!
//! G1 to G30 are the faults that inits in use have or had. `p1` stands for `tests/it/pid1.rs`, which has the controls:
//! the same situation with tini, dumb-init or catatonit.
//!
//! | trap | test |
//! | --- | --- |
//! | G1 kill(-1) outside of an own PID namespace | `g1_others_are_never_touched`, `g1_no_system_call_names_everybody`; p1: `in_a_shared_namespace_the_others_live_on`, `another_namespaces_proc_is_not_believed`, `processes_brought_in_from_outside_are_stopped_too`, `the_end_of_processes_from_outside_ends_the_stop`, `control_as_pid_1_everything_is_signalled_at_once` |
//! | G2 SIGCHLD ignored or blocked by the parent | `ignored_and_blocked_signals_of_the_parent_break_nothing`; p1: `control_g2_…` |
//! | G3 EPERM from kill | `an_app_that_may_not_be_signalled_is_survived`; p1: `control_g3_…` |
//! | G4 closed stdin (and stdout, stderr) | `the_app_starts_as_a_direct_exec_would`, `closed_standard_streams_break_nothing`; with a terminal: `tests/it/terminal.rs` |
//! | G5 to G9 terminal | `tests/it/terminal.rs` |
//! | G10 mask and dispositions leak | `the_app_starts_as_a_direct_exec_would`, `all_64_signals_stay_blocked_or_ignored`; p1: `control_g10_…` |
//! | G11 SIGCHLD coalesces | `a_thousand_orphans_leave_no_zombie`, `the_status_survives_a_storm_of_orphans` |
//! | G12 a signal before the handlers | `a_sigterm_is_never_too_early`, `a_sigterm_at_any_time_ends_it`. No control: what comes before an init's first system call is lost for every init that is PID 1 |
//! | G13 the reaper takes the app's status | `the_status_survives_a_storm_of_orphans` |
//! | G14 signals of graceful's own making | `every_signal_reaches_the_app` (exactly those sent, each as often), `its_own_broken_log_is_no_signal_for_the_app` |
//! | G15 the status of a killed app | `death_by_signal_n_is_128_plus_n`, `exit_codes_are_the_apps_own` |
//! | G16 a failed exec | `g16_a_command_that_cannot_run_is_127_or_126`, `g16_no_process_to_be_had_is_125`; p1: `control_g16_…` |
//! | G17 a script without `#!` | `g17_a_script_without_an_interpreter_line_runs` |
//! | G18 parent-death signal | `g18_the_app_is_told_of_gracefuls_death`, `g18_no_app_outlives_an_early_death`. That exec of a setuid file clears it is the kernel's rule, and no wrapper can change it |
//! | G19 directory and descriptors held | `nothing_of_the_apps_is_held`, `g19_the_other_ends_see_the_app_close`; p1: `control_g19_…` |
//! | G20 fault signals | sent by kill(2): `every_signal_reaches_the_app`; p1: `control_g20_…`. A fault of graceful's own cannot be had in a test: there would have to be one |
//! | G21 settings under a secure exec | `g21_settings_hold_in_a_setuid_binary_too` |
//! | G22 the subreaper bit | `g22_orphans_become_gracefuls_children` (the bit is read back in `sys::spawn`; what it does is seen here) |
//! | G23 polling | `idle_is_asleep`; p1: `control_g23_…` |
//! | G24 a stop during the start, G26 fixed sleeps in the stop, G28 hooks without a limit | `tests/it/stop.rs` |
//! | G25 clock jumps | not tested: the clock belongs to the whole machine, and a time namespace shifts it only once. All deadlines are `std::time::Instant`, the monotonic clock |
//! | G27 SIGHUP from package scripts | `a_rewritten_signal_is_another_or_none` |
//! | G29 stderr closed after the first line, G30 lines on the app's stdout | `stdout_belongs_to_the_app`; p1: `control_g30_…` |

use crate::support::checks::{self, for_everybody, to_nobody};
use crate::support::procfs::{app_of, children, descriptors, has_ended, read, state, status, wait_for, wait_runs};
use crate::support::tables::{checks_by_root_in, checks_of_both_places};
use crate::support::{
    DEADLINE, Exit, Place, Proc, graceful, graceful_argv, graceful_command, python3, root, signals, strace,
};
use std::ffi::{CString, OsString};
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

checks_of_both_places!(Place::Wrapper);

checks_by_root_in!(Place::Wrapper; works_without_proc, works_without_dev, works_with_a_read_only_root);

#[test]
fn a_sigterm_is_never_too_early() {
    checks::a_sigterm_is_never_too_early(Place::Wrapper, 60);
}

/// From the moment of the exec on: before graceful's first system call SIGTERM does what it does to every program.
#[test]
fn a_sigterm_at_any_time_ends_it() {
    for step in 0..100 {
        let app = Place::Wrapper.spawn(graceful_argv(&[], &[], &["sh", "-c", "echo ran; exec sleep 1000"]));
        checks::random_pause(Duration::from_millis(5), step);
        app.signal(libc::SIGTERM);
        match app.wait(DEADLINE) {
            // Whether it had begun or not, nothing may have been left behind: the output's end shows it.
            Exit::Signal(libc::SIGTERM) => _ = app.wait_output(DEADLINE),
            other => panic!("start {step}: {other:?}\n{}", app.dump()),
        }
    }
}

// --- What the app gets ----------------------------------------------------------------------------------------

/// Arguments and environment are bytes in an order: not text, not a map.
#[test]
fn arguments_and_environment_are_handed_over_byte_for_byte() {
    let c = |bytes: &[u8]| CString::new(bytes).expect("no NUL in it");
    let app: Vec<CString> =
        [b"sh".as_slice(), b"-c", b"read x", b"\xff\xfe", b"", b" a  b ", b"new\nline", b"--", b"--help", b""]
            .map(c)
            .to_vec();
    let environment = [
        b"B=1".as_slice(),
        b"A=2",
        b"B=3",
        b"PATH=/usr/bin:/bin",
        b"no equals sign",
        b"\xff=\xfe",
        b"E=",
        b"=",
        b"A=2",
    ]
    .map(c);
    let joined =
        |strings: &[CString]| strings.iter().flat_map(|string| string.as_bytes_with_nul().to_vec()).collect::<Vec<_>>();
    for options in [&[][..], &[c(b"--log-level"), c(b"warn")]] {
        let binary = c(graceful().as_os_str().as_bytes());
        let argv: Vec<CString> = [std::slice::from_ref(&binary), options, &[c(b"--")], &app].concat();
        let mut command = Command::new(graceful());
        let environment = environment.clone();
        let expected = joined(&environment);
        // SAFETY: execve(2) is async-signal-safe, but building its arrays is not done in the child.
        unsafe { command.pre_exec(exec_with(binary, argv, environment.to_vec())) };
        let process = Proc::spawn_with_stdin(&mut command, Stdio::piped());
        let pid = app_of(&process, "sh");
        let bytes = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).expect("it runs");
        assert_eq!(bytes("cmdline"), joined(&app));
        assert_eq!(bytes("environ"), expected);
    }
}

/// Executes a program with an environment that [`Command`] could not hold.
fn exec_with(
    program: CString,
    argv: Vec<CString>,
    env: Vec<CString>,
) -> impl FnMut() -> std::io::Result<()> + Send + Sync {
    let addresses = |strings: &[CString]| strings.iter().map(|s| s.as_ptr().addr()).chain([0]).collect::<Vec<_>>();
    let (arguments, variables) = (addresses(&argv), addresses(&env));
    move || {
        _ = (&argv, &env); // They live as long as the addresses are used.
        // SAFETY: both arrays are of pointers to live strings, and end with null.
        unsafe { libc::execve(program.as_ptr(), arguments.as_ptr().cast(), variables.as_ptr().cast()) };
        Err(std::io::Error::last_os_error())
    }
}

/// The two signals of the C library included, which no tool can block or ignore.
#[test]
fn all_64_signals_stay_blocked_or_ignored() {
    let (nobody, everybody) = ("0000000000000000", "fffffffffffbfeff");
    for (blocked, ignored) in [(true, false), (false, true), (true, true)] {
        let mut command = Place::Wrapper.command(graceful_argv(&[], &[], &["sleep", "1000"]));
        // SAFETY: plain system calls.
        unsafe {
            command.pre_exec(move || {
                let ignore = [1u64, 0, 0, 0, 0, 0, 0, 0]; // SIG_IGN, no flags, whatever the architecture's layout.
                let (all, old) = (u64::MAX, std::ptr::null_mut::<u64>());
                for signal in (1..=64).filter(|_| ignored) {
                    libc::syscall(libc::SYS_rt_sigaction, signal, ignore.as_ptr(), old, 8);
                }
                if blocked {
                    libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const all, old, 8);
                }
                Ok(())
            });
        }
        let process = Place::Wrapper.start(&mut command);
        let pid = app_of(&process, "sleep");
        let expected = |is: bool| Some(if is { everybody } else { nobody }.to_owned());
        assert_eq!(status(pid, "SigBlk"), expected(blocked));
        assert_eq!(status(pid, "SigIgn"), expected(ignored));
    }
}

/// G4: whichever of the three is closed, the app runs, is stopped and gives its status.
#[test]
fn closed_standard_streams_break_nothing() {
    for closed in ["<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"] {
        let script = format!("exec \"$@\" {closed}");
        let options = ["--log-level", "debug"];
        let app = Place::Wrapper.spawn(graceful_argv(
            &["sh", "-c", &script, "sh"],
            &options,
            &["sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.05; done"],
        ));
        let shell = wait_for("the app", || {
            let shell = children(app.pid()).into_iter().next()?;
            (read(shell, "comm")? == "sh\n" && !children(shell).is_empty()).then_some(shell)
        });
        assert!(!has_ended(shell));
        // Whatever graceful opens later must not get the number of a stream that it writes to.
        let held = wait_for("the start's end", || {
            let held = descriptors(app.pid());
            (held.get(&1)? == Path::new("/dev/null") && held.keys().eq(&[0, 1, 2])).then_some(held)
        });
        assert_eq!(held[&2] == Path::new("/dev/null"), closed.contains('2'), "{closed}: {held:?}");
        app.signal(libc::SIGTERM);
        assert_eq!(app.wait(DEADLINE), Exit::Code(7), "{closed}\n{}", app.dump());
    }
}

// --- What cannot run --------------------------------------------------------------------------------------------

fn file(dir: &Path, name: &str, mode: u32, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).expect("our own directory");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("our own file");
    path.to_string_lossy().into_owned()
}

#[test]
fn g16_a_command_that_cannot_run_is_127_or_126() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let name = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let plain = file(dir.path(), "plain", 0o644, "#!/bin/sh\n");
    let dangling = file(dir.path(), "dangling", 0o755, "#!/nonexistent/interpreter\n");
    std::os::unix::fs::symlink("loop", dir.path().join("loop")).expect("a link to itself");
    let cases = [
        (name("missing"), 127, "no such file"),
        (format!("{plain}/x"), 127, "no such file"),
        ("no-such-command".to_owned(), 127, "not found in PATH"),
        (name(""), 126, "it is a directory"),
        (plain, 126, "Permission denied"),
        ("plain".to_owned(), 126, "Permission denied"),
        (dangling, 126, "the interpreter or loader that it names is not"),
        ("dangling".to_owned(), 126, "the interpreter or loader that it names is not"),
        (name("loop"), 126, "symbolic link"),
    ];
    let path = format!("{}:/usr/bin:/bin", dir.path().display());
    for (program, code, why) in cases {
        let app = Proc::spawn(graceful_command().env("PATH", &path).args(["--", &program, "argument"]));
        let (exit, stdout, stderr) = app.wait_output(DEADLINE);
        assert_eq!((exit, stdout.as_str()), (Exit::Code(code), ""), "{}", app.dump());
        let expected = format!("graceful: error: cannot run {program}: ");
        assert!(stderr.lines().any(|line| line.starts_with(&expected) && line.contains(why)), "{program:?}: {stderr}");
    }
}

#[test]
fn g16_no_process_to_be_had_is_125() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut argv = if nix::unistd::geteuid().is_root() { to_nobody() } else { Vec::new() };
    argv.extend(["prlimit", "--nproc=1", "--"].map(str::to_owned));
    argv.extend([for_everybody(dir.path()), "--".to_owned(), "true".to_owned()]);
    let app = Place::Wrapper.spawn(argv);
    let (exit, _, stderr) = app.wait_output(DEADLINE);
    assert_eq!(exit, Exit::Code(125), "{}", app.dump());
    assert!(stderr.contains("no new process: Resource temporarily unavailable"), "{stderr}");
}

#[test]
fn g17_a_script_without_an_interpreter_line_runs() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let script = file(dir.path(), "script", 0o755, "printf '[%s]' \"$@\"; echo; exit 9\n");
    file(dir.path(), "empty", 0o755, "");
    let path = format!("{}:/usr/bin:/bin", dir.path().display());
    for program in [&script, "script"] {
        let app = Proc::spawn(graceful_command().env("PATH", &path).args(["--", program, "a  b", "", "*", "\\n"]));
        let (exit, stdout, _) = app.wait_output(DEADLINE);
        assert_eq!((exit, stdout.as_str()), (Exit::Code(9), "[a  b][][*][\\n]\n"), "{}", app.dump());
    }
    // An empty file is no script: it would be a success that did nothing.
    let app = Proc::spawn(graceful_command().env("PATH", &path).args(["--", "empty"]));
    assert_eq!(app.wait(DEADLINE), Exit::Code(126), "{}", app.dump());
    app.wait_line("the file is empty", DEADLINE);
}

// --- graceful's own death, and its children ------------------------------------------------------------------------

#[test]
fn g18_the_app_is_told_of_gracefuls_death() {
    let app = Place::Wrapper.spawn(graceful_argv(&[], &[], &signals(&["--exit-on", "TERM=0"])));
    app.wait_line("ready", DEADLINE);
    app.signal(libc::SIGKILL);
    app.wait_line("SIGTERM", DEADLINE);
    app.wait_output(DEADLINE);
}

/// However early graceful dies: the end of the output shows that no app holds it.
#[test]
fn g18_no_app_outlives_an_early_death() {
    for step in 0..100 {
        let app = Place::Wrapper.spawn(graceful_argv(&[], &[], &["sleep", "1000"]));
        checks::random_pause(Duration::from_millis(8), step);
        app.signal(libc::SIGKILL);
        app.wait_output(DEADLINE);
    }
}

#[test]
fn g22_orphans_become_gracefuls_children() {
    let options = ["--children", "3", "--detach", "--child-on-term", "exit"];
    let app = Place::Wrapper.spawn(graceful_argv(&[], &[], &signals(&options)));
    app.wait_line("ready pid", DEADLINE);
    wait_for("the adoption", || (children(app.pid()).len() == 4).then_some(()));
    app.signal(libc::SIGTERM);
    assert_eq!(app.wait(DEADLINE), Exit::Code(0), "{}", app.dump());
}

// --- What is not ours ------------------------------------------------------------------------------------------------

/// G1: a sibling in graceful's own session and process group, and an elder relative of the app's name, live on.
#[test]
fn g1_others_are_never_touched() {
    let sibling = Proc::spawn_group(Command::new("sleep").arg("1000"));
    wait_runs(sibling.pid(), "sleep");
    let options = ["--leftovers", "stop", "--grace-period", "1s", "--kill-margin", "500ms"];
    let leftovers = ["--children", "3", "--detach", "--child-on-term", "ignore", "--exit-after-ready", "7"];
    let mut command = Place::Wrapper.command(graceful_argv(&[], &options, &signals(&leftovers)));
    let app = Proc::spawn(command.process_group(sibling.pid()));
    let (exit, stdout, stderr) = app.wait_output(DEADLINE);
    assert_eq!(exit, Exit::Code(7), "{}", app.dump());
    assert!(stderr.contains("SIGKILL to 3 processes left"), "{stderr}");
    for line in stdout.lines().filter(|line| line.starts_with("child")) {
        let pid = line.split(' ').nth(1).and_then(|pid| pid.parse().ok()).expect("a pid");
        assert!(has_ended(pid), "{line}");
    }
    assert_eq!(state(sibling.pid()), Some('S'));
    assert_eq!(sibling.exit(), None);
}

#[test]
fn g1_no_system_call_names_everybody() {
    let Some(strace) = strace() else { return };
    let trace = tempfile::NamedTempFile::new().expect("a temporary file");
    let (strace, path) = (strace.to_string_lossy(), trace.path().to_string_lossy());
    let calls = "trace=kill,tkill,tgkill,rt_sigqueueinfo,pidfd_send_signal,prctl";
    let prefix = [&strace, "-f", "-qq", "-o", &path, "-e", calls, "-e", "signal=none", "--"];
    let options = ["--leftovers", "stop", "--grace-period", "1s", "--kill-margin", "500ms"];
    let leftovers = ["--children", "2", "--detach", "--child-on-term", "ignore", "--exit-after-ready", "7"];
    let app = Place::Wrapper.spawn(graceful_argv(&prefix, &options, &signals(&leftovers)));
    assert_eq!(app.wait(DEADLINE), Exit::Code(7), "{}", app.dump());
    let trace = std::fs::read_to_string(trace.path()).expect("strace wrote it");
    let sent = |signal: &str| trace.lines().filter(|line| line.contains("send") && line.contains(signal)).count();
    assert!(sent("SIGTERM") >= 2 && sent("SIGKILL") >= 2, "{trace}");
    assert!(trace.contains("PR_SET_CHILD_SUBREAPER, 1)"), "{trace}");
    // Neither everybody (-1), nor a whole group (below), nor its own (0).
    for line in trace.lines().filter(|line| line.contains("kill(") || line.contains("queueinfo(")) {
        let target = line.split(['(', ',']).nth(1).and_then(|pid| pid.trim().parse::<i32>().ok());
        assert!(target.is_some_and(|target| target > 1), "{line}");
    }
}

/// G19: who reads the app's output or writes to its input sees it closed when the app closes it, and not at its end.
#[test]
fn g19_the_other_ends_see_the_app_close() {
    let (mut stdout, app_stdout) = std::io::pipe().expect("a pipe");
    let (mut extra, app_extra) = std::io::pipe().expect("a pipe");
    let (app_stdin, mut stdin) = std::io::pipe().expect("a pipe");
    let script =
        "import os, signal; os.close(0); os.close(1); os.close(100); signal.sigwait({signal.SIGUSR1}); os._exit(7)";
    let script = format!("import os, signal; signal.pthread_sigmask(0, {{signal.SIGUSR1}}); {script}");
    let mut command = Place::Wrapper.command(graceful_argv(&[], &[], &[&python3(), "-c", &script]));
    let fds = [(app_stdin, 0)].map(|(pipe, fd)| (std::os::fd::OwnedFd::from(pipe), fd)).into_iter();
    let fds: Vec<_> = fds.chain([(app_stdout, 1), (app_extra, 100)].map(|(pipe, fd)| (pipe.into(), fd))).collect();
    // SAFETY: dup2(2) is async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            fds.iter().for_each(|(pipe, fd)| _ = libc::dup2(pipe.as_raw_fd(), *fd));
            Ok(())
        });
    }
    let app = Proc::spawn(&mut command);
    drop(command); // With it go this process's own copies.
    let (done, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let ends = [stdout.read(&mut [0; 1]).ok(), extra.read(&mut [0; 1]).ok()];
        while stdin.write(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(5)); // Until the last reader has closed it.
        }
        _ = done.send(ends);
    });
    assert_eq!(wait.recv_timeout(DEADLINE), Ok([Some(0), Some(0)]), "{}", app.dump());
    assert_eq!(app.exit(), None, "the app lives on");
    app.signal(libc::SIGUSR1);
    assert_eq!(app.wait(DEADLINE), Exit::Code(7), "{}", app.dump());
}

/// A library in a setuid program must not trust the environment; an init is no library, and its settings hold.
#[test]
fn g21_settings_hold_in_a_setuid_binary_too() {
    let Some(()) = root() else { return };
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).expect("our own directory");
    let binary = dir.path().join("graceful");
    std::fs::copy(graceful(), &binary).expect("it can be copied");
    std::fs::set_permissions(&binary, PermissionsExt::from_mode(0o4755)).expect("our own file");
    let script = dir.path().join("signals.py");
    std::fs::copy(crate::support::app("signals.py"), &script).expect("it can be copied");
    let mut argv: Vec<OsString> = to_nobody().into_iter().map(OsString::from).collect();
    argv.extend([binary.into_os_string(), "--".into(), python3().into(), script.into_os_string()]);
    argv.extend(["--exit-on".into(), "USR2=7".into()]);
    let app = Place::Wrapper.start(Place::Wrapper.command(argv).env("GRACEFUL_REWRITE", "USR1:USR2"));
    app.wait_line("ready", DEADLINE);
    app.signal(libc::SIGUSR1);
    assert_eq!(app.wait(DEADLINE), Exit::Code(7), "{}", app.dump());
}

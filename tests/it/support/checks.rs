//! What holds for graceful in both places, in front of a command and as PID 1. `tests/it/process.rs` and
//! `tests/it/pid1.rs` run each of these in its own; the table of traps at the head of the former names them.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::procfs::{app_of, children, descriptors, has_ended, read, state, status, wait_for, wait_runs};
use super::{DEADLINE, Exit, Place, Proc, graceful, graceful_argv, python3, signals};

/// Every signal that ends a process that does nothing about it (signal(7)), by number.
pub(crate) fn deadly_signals() -> Vec<i32> {
    use libc::*;
    let others = [SIGCHLD, SIGCONT, SIGURG, SIGWINCH, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU];
    (1..=64).filter(|signal| !others.contains(signal)).collect()
}

fn sh(script: &str) -> [String; 3] {
    ["sh".to_owned(), "-c".to_owned(), script.to_owned()]
}

/// Pauses for less than this, busily: sleeping is not exact enough.
pub(crate) fn random_pause(below: Duration, step: u32) {
    // Weyl's sequence covers the range evenly, and a failure can be repeated.
    let part = f64::from(step.wrapping_mul(2_654_435_769)) / f64::from(u32::MAX);
    let end = Instant::now() + below.mul_f64(part);
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

// --- Exit statuses -------------------------------------------------------------------------------------------

pub(crate) fn exit_codes_are_the_apps_own(place: Place) {
    for code in [0, 1, 2, 3, 42, 77, 100, 124, 125, 126, 127, 128, 129, 137, 143, 192, 200, 254, 255] {
        let app = place.spawn(graceful_argv(&[], &[], &sh(&format!("exit {code}"))));
        assert_eq!(app.wait(DEADLINE), Exit::Code(code), "{}", app.dump());
    }
}

/// As a wrapper it dies of the same signal, which a shell shows as 128 + n too.
pub(crate) fn death_by_signal_n_is_128_plus_n(place: Place) {
    for signal in deadly_signals() {
        let app = place.spawn(graceful_argv(&[], &[], &sh(&format!("kill -{signal} $$"))));
        assert_eq!(app.wait(DEADLINE).shell_code(), 128 + signal, "signal {signal}\n{}", app.dump());
        assert_eq!(app.wait(DEADLINE), place.killed_by(signal), "signal {signal}\n{}", app.dump());
    }
}

// --- The state that the app starts with -----------------------------------------------------------------------

/// What exec(2) handed over.
fn start_state(pid: i32) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for key in [
        "Umask",
        "Uid",
        "Gid",
        "Groups",
        "SigPnd",
        "ShdPnd",
        "SigBlk",
        "SigIgn",
        "SigCgt",
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
        "Seccomp",
        "Threads",
    ] {
        found.insert(key.to_owned(), status(pid, key).unwrap_or_default());
    }
    for file in ["limits", "environ", "cmdline", "oom_score_adj", "cgroup"] {
        found.insert(file.to_owned(), read(pid, file).unwrap_or_default());
    }
    let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
    found.insert("cwd".to_owned(), cwd.to_string_lossy().into_owned());
    // SAFETY: getpriority(2) takes two numbers.
    found.insert("nice".to_owned(), unsafe { libc::getpriority(libc::PRIO_PROCESS, pid as u32) }.to_string());
    for (fd, target) in descriptors(pid) {
        // Each start has pipes of its own.
        let target = target.to_string_lossy().split(":[").next().unwrap_or_default().to_owned();
        let info = read(pid, &format!("fdinfo/{fd}")).unwrap_or_default();
        let flags = info.lines().find(|line| line.starts_with("flags:")).unwrap_or_default().to_owned();
        found.insert(format!("fd {fd}"), format!("{target} {flags}"));
    }
    found
}

pub(crate) fn the_app_starts_as_a_direct_exec_would(place: Place) {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let path = file.path().to_string_lossy().into_owned();
    let script = |script: &str| vec!["sh".to_owned(), "-c".to_owned(), script.to_owned(), path.clone()];
    let env = |options: &[&str]| ["env"].iter().chain(options).map(|&part| part.to_owned()).collect::<Vec<_>>();
    let prefixes = [
        vec![],
        env(&["--ignore-signal=HUP"]),
        env(&["--ignore-signal=CHLD"]),
        env(&["--ignore-signal=PIPE"]),
        env(&["--default-signal=PIPE"]),
        env(&["--ignore-signal=TERM", "--ignore-signal=INT", "--ignore-signal=TSTP", "--ignore-signal=TTOU"]),
        env(&["--ignore-signal"]),
        env(&["--block-signal=TERM"]),
        env(&["--block-signal=CHLD", "--ignore-signal=CHLD"]),
        env(&["--block-signal"]),
        env(&["-i", "A=1", "GRACE=no option"]),
        script("umask 027; cd /usr/bin; exec \"$@\""),
        script("ulimit -n 64; ulimit -c 0; ulimit -s 1024; exec nice -n 3 \"$@\""),
        script("exec \"$@\" <&-"),
        script("exec \"$@\" >&-"),
        script("exec \"$@\" 2>&-"),
        script("exec \"$@\" <&- >&- 2>&-"),
        script("exec \"$@\" 3<\"$0\" 4>>\"$0\" 5<>\"$0\" 9<&0"),
        script("exec \"$@\" <&- 2>&- 7<\"$0\""),
    ];
    for prefix in &prefixes {
        let prefix: Vec<&str> = prefix.iter().map(String::as_str).collect();
        let direct = place.spawn(prefix.iter().copied().chain(["sleep", "1000"]));
        let wrapped = place.spawn(graceful_argv(&prefix, &[], &["sleep", "1000"]));
        // Without any option graceful takes a shorter way through main.
        let binary = graceful().to_string_lossy().into_owned();
        let plain = place.spawn(prefix.iter().copied().chain([binary.as_str(), "--", "sleep", "1000"]));
        wait_runs(direct.target(), "sleep");
        let expected = start_state(direct.target());
        assert!(expected["cmdline"].starts_with("sleep"), "{expected:?}");
        for graceful in [&wrapped, &plain] {
            let app = app_of(graceful, "sleep");
            assert_eq!(start_state(app), expected, "after {prefix:?}");
            // SAFETY: both calls take a number.
            let ids = |pid| unsafe { (libc::getpgid(pid), libc::getsid(pid)) };
            assert_eq!(ids(app), (app, ids(graceful.target()).1), "a process group of its own, and the same session");
        }
    }
}

// --- Signals --------------------------------------------------------------------------------------------------

fn name(signal: i32) -> String {
    match signal - libc::SIGRTMIN() {
        0 => "SIGRTMIN".to_owned(),
        offset @ 1.. => format!("SIGRTMIN+{offset}"),
        _ => nix::sys::signal::Signal::try_from(signal).expect("a standard signal").as_str().to_owned(),
    }
}

/// G14, G20 and more: every signal that can be caught, those of a fault included, exactly once and nothing else.
pub(crate) fn every_signal_reaches_the_app(place: Place) {
    // Its own lines name signals too, and are not to be counted.
    let app = place.spawn(graceful_argv(&[], &["--log-level", "error"], &signals(&["--exit-on", "64=5"])));
    app.wait_line("ready", DEADLINE);
    let mut stop = vec![libc::SIGTERM, libc::SIGINT];
    if place == Place::Pid1 {
        stop.extend([libc::SIGRTMIN() + 3, libc::SIGPWR]);
    }
    let skipped = [libc::SIGKILL, libc::SIGSTOP, libc::SIGCHLD, 32, 33, 64];
    let mut expected = Vec::new();
    for signal in (1..=64).filter(|signal| !stop.contains(signal) && !skipped.contains(signal)) {
        expected.push(name(signal));
        app.signal(signal);
        app.wait_lines("SIG", expected.len(), DEADLINE);
    }
    // The first one begins the stop; those after it are passed on.
    for signal in stop {
        expected.push(name(signal));
        app.signal(signal);
        app.wait_lines("SIG", expected.len(), DEADLINE);
    }
    expected.push(name(64));
    app.signal(64);
    let (exit, stdout, _) = app.wait_output(DEADLINE);
    assert_eq!(exit, Exit::Code(5), "{}", app.dump());
    assert_eq!(stdout.lines().skip(1).collect::<Vec<_>>(), expected, "{}", app.dump());
}

/// The C library keeps 32 and 33 to itself and hides them from every program, but the kernel does not.
pub(crate) fn the_c_librarys_own_signals_reach_the_app(place: Place) {
    for signal in [32, 33] {
        let app = place.spawn(graceful_argv(&[], &[], &["sleep", "1000"]));
        app_of(&app, "sleep");
        app.signal(signal);
        assert_eq!(app.wait(DEADLINE), place.killed_by(signal), "{}", app.dump());
    }
}

/// Each with its value, none lost and none overtaken, also while graceful cannot run at all.
pub(crate) fn queued_signals_arrive_in_number_and_order(place: Place) {
    let app = place.spawn(graceful_argv(&[], &[], &[python3(), super::app("queued.py")]));
    app.wait_line("ready", DEADLINE);
    let signal = libc::SIGRTMIN() + 5;
    let values: Vec<usize> = (0..200).map(|number| number * 1_000_003).collect();
    app.signal(libc::SIGSTOP);
    wait_for("the stop", || (state(app.target()) == Some('T')).then_some(()));
    for value in &values {
        let value = libc::sigval { sival_ptr: std::ptr::without_provenance_mut(*value) };
        // SAFETY: sigqueue(3) takes the value as it is.
        let rc = unsafe { libc::sigqueue(app.target(), signal, value) };
        assert_eq!(rc, 0, "{}", std::io::Error::last_os_error());
    }
    app.signal(libc::SIGCONT);
    app.wait_lines(&format!("{signal} "), values.len(), DEADLINE);
    app.signal(libc::SIGTERM);
    let (exit, stdout, _) = app.wait_output(DEADLINE);
    assert_eq!(exit, Exit::Code(0));
    let expected: Vec<String> = values.iter().map(|value| format!("{signal} {value}")).collect();
    assert_eq!(stdout.lines().skip(1).collect::<Vec<_>>(), expected);
}

/// G12: from graceful's first system call on no SIGTERM is lost, however early.
pub(crate) fn a_sigterm_is_never_too_early(place: Place, starts: u32) {
    for step in 0..starts {
        let prefix = ["env", "--block-signal=USR1"];
        let app = place.spawn(graceful_argv(&prefix, &[], &["sleep", "1000"]));
        let target = app.target();
        // Its first system call blocks all signals. While it waits for one, the kernel shows none as blocked.
        let began = |_| (status(target, "SigBlk")? != "0000000000000200").then_some(());
        wait_for("the mask", || (read(target, "comm")? == "graceful\n").then_some(()).and_then(began));
        random_pause(Duration::from_millis(4), step);
        app.signal(libc::SIGTERM);
        assert_eq!(app.wait(DEADLINE), place.killed_by(libc::SIGTERM), "start {step}\n{}", app.dump());
    }
}

/// A stopped app could not act on the stop signal: SIGCONT goes before it.
pub(crate) fn a_stopped_app_gets_its_stop_signal(place: Place) {
    let app = place.spawn(graceful_argv(&[], &[], &signals(&["--exit-on", "TERM=7"])));
    app.wait_line("ready", DEADLINE);
    stop(app_of(&app, "python3"));
    app.signal(libc::SIGTERM);
    assert_eq!(app.wait(DEADLINE), Exit::Code(7), "{}", app.dump());
}

/// Sends SIGSTOP to a process below the one under test, and waits until it acts.
pub(crate) fn stop(pid: i32) {
    assert!(pid > 1);
    // SAFETY: kill(2) takes two numbers; the pid is a live process of this test.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGSTOP) }, 0);
    wait_for("the stop", || (state(pid) == Some('T')).then_some(()));
}

/// G27: what a package's script sends to PID 1 need not reach the app.
pub(crate) fn a_rewritten_signal_is_another_or_none(place: Place) {
    let options = ["--rewrite", "HUP:0", "--rewrite", "USR1:RTMIN+2", "--rewrite", "WINCH:QUIT"];
    let app = place.spawn(graceful_argv(&[], &options, &signals(&["--exit-on", "USR2=9"])));
    app.wait_line("ready", DEADLINE);
    for signal in [libc::SIGHUP, libc::SIGUSR1, libc::SIGHUP, libc::SIGWINCH] {
        app.signal(signal);
    }
    app.wait_lines("SIG", 2, DEADLINE);
    app.signal(libc::SIGUSR2);
    let (exit, stdout, _) = app.wait_output(DEADLINE);
    assert_eq!(exit, Exit::Code(9));
    let mut lines: Vec<&str> = stdout.lines().skip(1).collect();
    // Signals that wait together are taken lowest number first, not in the order in which they came.
    lines.sort_unstable();
    assert_eq!(lines, ["SIGQUIT", "SIGRTMIN+2", "SIGUSR2"]);
}

/// G2: what graceful's parent did to the signals that graceful lives by.
pub(crate) fn ignored_and_blocked_signals_of_the_parent_break_nothing(place: Place) {
    for prefix in [
        vec!["env", "--ignore-signal=CHLD"],
        vec!["env", "--block-signal=CHLD", "--block-signal=TERM"],
        vec!["env", "--ignore-signal=CHLD", "--ignore-signal=TERM"],
        vec!["env", "--ignore-signal"],
        vec!["env", "--block-signal", "--ignore-signal=CHLD"],
    ] {
        let app = place.spawn(graceful_argv(&prefix, &[], &sh("exit 42")));
        assert_eq!(app.wait(DEADLINE), Exit::Code(42), "{}", app.dump());
        let app = place.spawn(graceful_argv(&prefix, &[], &signals(&["--exit-on", "TERM=7"])));
        app.wait_line("ready", DEADLINE);
        app.signal(libc::SIGTERM);
        assert_eq!(app.wait(DEADLINE), Exit::Code(7), "after {prefix:?}\n{}", app.dump());
    }
}

/// G3. The app becomes root while graceful is nobody: no signal of graceful's reaches it any more.
pub(crate) fn an_app_that_may_not_be_signalled_is_survived(place: Place) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut argv = to_nobody();
    argv.push(for_everybody(dir.path()));
    argv.extend(["--pre-stop-delay", "0s", "--hold", "never", "--"].map(str::to_owned));
    argv.extend(becomes_root(dir.path(), &["--exit-on", "USR2=7"]));
    let app = place.spawn(argv);
    app.wait_line("ready", DEADLINE);
    for (signal, name) in [(libc::SIGUSR1, "SIGUSR1"), (libc::SIGTERM, "SIGTERM"), (libc::SIGHUP, "SIGHUP")] {
        app.signal(signal);
        let line = app.wait_line(&format!("{name} to the app"), DEADLINE);
        assert!(line.text.contains("failed: Operation not permitted"), "{}", line.text);
    }
    let pid = children(app.target())[0];
    // SAFETY: kill(2) takes two numbers; graceful still has this child.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGUSR2) }, 0);
    assert_eq!(app.wait(DEADLINE), Exit::Code(7), "{}", app.dump());
}

pub(crate) fn to_nobody() -> Vec<String> {
    ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"].map(str::to_owned).to_vec()
}

/// The binary under test where every user can reach it.
pub(crate) fn for_everybody(dir: &Path) -> String {
    std::fs::set_permissions(dir, PermissionsExt::from_mode(0o755)).expect("our own directory");
    let copy = dir.join("graceful");
    if std::fs::hard_link(graceful(), &copy).is_err() {
        std::fs::copy(graceful(), &copy).expect("the binary can be copied");
    }
    copy.to_string_lossy().into_owned()
}

/// signals.py as root, whoever starts it: through a setuid copy of Python.
pub(crate) fn becomes_root(dir: &Path, options: &[&str]) -> Vec<String> {
    std::fs::set_permissions(dir, PermissionsExt::from_mode(0o755)).expect("our own directory");
    for (from, to, mode) in [(python3(), "python3", 0o4755), (super::app("signals.py"), "signals.py", 0o644)] {
        std::fs::copy(from, dir.join(to)).expect("it can be copied");
        std::fs::set_permissions(dir.join(to), PermissionsExt::from_mode(mode)).expect("our own file");
    }
    let file = |name: &str| dir.join(name).to_string_lossy().into_owned();
    let script = "import os, sys; os.setresuid(0, 0, 0); os.execv(sys.argv[1], sys.argv[1:])";
    let mut argv = vec![file("python3"), "-c".to_owned(), script.to_owned(), python3(), file("signals.py")];
    argv.extend(options.iter().map(|&option| option.to_owned()));
    argv
}

// --- Reaping --------------------------------------------------------------------------------------------------

/// G11: one SIGCHLD may stand for a thousand deaths.
pub(crate) fn a_thousand_orphans_leave_no_zombie(place: Place) {
    let app = place.spawn(graceful_argv(&[], &["--log-level", "debug"], &signals(&["--orphans", "1000"])));
    app.wait_line("ready", DEADLINE);
    let target = app.target();
    wait_for("the last orphan", || (children(target).len() == 1).then_some(()));
    app.signal(libc::SIGTERM);
    assert_eq!(app.wait(DEADLINE), Exit::Code(0), "{}", app.dump());
    app.wait_line("1000 orphans reaped in all", DEADLINE);
}

/// G11, G13: the app's status comes out of the middle of a storm of other children's.
pub(crate) fn the_status_survives_a_storm_of_orphans(place: Place) {
    for round in 0..8 {
        let options = ["--orphans", "150", "--exit-after-ready", &(40 + round).to_string()];
        let app = place.spawn(graceful_argv(&[], &[], &signals(&options)));
        assert_eq!(app.wait(DEADLINE), Exit::Code(40 + round), "{}", app.dump());
    }
}

// --- What graceful keeps and what it does not -----------------------------------------------------------------

/// G19: neither the directory nor any descriptor of the app's.
pub(crate) fn nothing_of_the_apps_is_held(place: Place) {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let path = file.path().to_string_lossy().into_owned();
    let prefix = ["sh", "-c", "cd /usr/bin; exec \"$@\" 3<\"$0\" 4>>\"$0\" 9<&0", &path];
    let app = place.spawn(graceful_argv(&prefix, &[], &["sleep", "1000"]));
    let pid = app_of(&app, "sleep");
    let cwd = |pid: i32| std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
    wait_for("the root directory", || (cwd(app.target()) == Path::new("/")).then_some(()));
    assert_eq!(cwd(pid), Path::new("/usr/bin"));
    // It still reads a file or two of the kernel's.
    let held = wait_for("its own three descriptors", || {
        Some(descriptors(app.target())).filter(|held| held.keys().copied().eq([0, 1, 2]))
    });
    let kept = descriptors(pid);
    match place {
        Place::Wrapper => assert_eq!([&held[&0], &held[&1]], [Path::new("/dev/null"); 2], "{held:?}"),
        // Others write to /proc/1/fd/0 and fd/1, and mean the container's own.
        Place::Pid1 => assert_eq!([&held[&0], &held[&1]], [&kept[&0], &kept[&1]], "{held:?}"),
    }
    assert!([3, 4, 9].iter().all(|fd| kept.contains_key(fd)), "{kept:?}");
}

/// How often the process went to sleep so far, all its threads together.
fn sleeps(pid: i32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let count = |text: String| {
        let line = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        line.trim().parse::<u64>().ok()
    };
    tasks.flatten().filter_map(|task| count(std::fs::read_to_string(task.path().join("status")).ok()?)).sum()
}

/// G23. How often an init with an app that only sleeps wakes up in three seconds. A time and not an event: what is
/// looked for is that nothing happens.
pub(crate) fn wake_ups(init: &Proc) -> u64 {
    app_of(init, "sleep");
    let target = init.target();
    wait_for("sleep", || (state(target) == Some('S')).then_some(()));
    let before = sleeps(target);
    std::thread::sleep(Duration::from_secs(3));
    sleeps(target) - before
}

pub(crate) fn idle_is_asleep(place: Place) {
    let app = place.spawn(graceful_argv(&[], &[], &["sleep", "1000"]));
    app_of(&app, "sleep");
    let cwd = || std::fs::read_link(format!("/proc/{}/cwd", app.target())).ok();
    wait_for("the start's end", || (cwd()? == Path::new("/")).then_some(()));
    assert_eq!(wake_ups(&app), 0);
    assert_eq!(status(app.target(), "Threads").as_deref(), Some("1"));
    assert_eq!(descriptors(app.target()).len(), 3);
}

// --- Poor surroundings ----------------------------------------------------------------------------------------

/// The whole life in a place where something is missing: signals, an orphan, a stop with leftovers' end, the status.
fn lives_well(place: Place, prefix: &[&str], binary: Option<&str>) {
    let script = ["--exit-on", "TERM=7", "--orphans", "20"];
    let mut argv = graceful_argv(prefix, &["--log-level", "debug"], &signals(&script));
    if let Some(binary) = binary {
        argv[prefix.len()] = binary.to_owned();
    }
    let app = place.spawn(argv);
    app.wait_line("ready pid", DEADLINE);
    app.signal(libc::SIGUSR1);
    app.wait_line("SIGUSR1", DEADLINE);
    let held = descriptors(app.target());
    let pipe = held.get(&1).is_some_and(|stdout| stdout.to_string_lossy().starts_with("pipe:"));
    assert_eq!(pipe, place == Place::Pid1, "{held:?}");
    app.signal(libc::SIGTERM);
    assert_eq!(app.wait(DEADLINE), Exit::Code(7), "{}", app.dump());
    app.wait_line("20 orphans reaped", DEADLINE);
}

/// `script` runs in a mount namespace of its own, as PID 1 or not, and then becomes graceful.
fn mounted(place: Place, script: &str) -> Vec<&str> {
    let own: &[&str] = if place == Place::Wrapper { &["unshare", "--mount", "--"] } else { &[] };
    [own, &["sh", "-ec", script, "sh"]].concat()
}

pub(crate) fn works_without_proc(place: Place) {
    lives_well(place, &mounted(place, "mount -t tmpfs none /proc; ! test -e /proc/self; exec \"$@\""), None);
}

pub(crate) fn works_without_dev(place: Place) {
    lives_well(place, &mounted(place, "mount -t tmpfs none /dev; ! test -e /dev/null; exec \"$@\""), None);
}

pub(crate) fn works_with_a_read_only_root(place: Place) {
    let script = "mount -o bind / /; mount -o remount,ro,bind / /; cd /; ! touch /graceful-test 2>&-; exec \"$@\"";
    lives_well(place, &mounted(place, script), None);
}

pub(crate) fn works_without_privileges(place: Place) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let binary = for_everybody(dir.path());
    let mut prefix = to_nobody();
    prefix.extend(["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"].map(str::to_owned));
    let prefix: Vec<&str> = prefix.iter().map(String::as_str).collect();
    std::fs::copy(super::app("signals.py"), dir.path().join("signals.py")).expect("it can be copied");
    lives_well(place, &prefix, Some(&binary));
}

pub(crate) fn works_with_16_descriptors(place: Place) {
    lives_well(place, &["prlimit", "--nofile=16", "--"], None);
}

/// An image made from scratch: nothing in it but the binary, no /proc, no /dev, no library.
pub(crate) fn works_alone_in_an_empty_root(place: Place) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let root = dir.path().to_string_lossy().into_owned();
    for_everybody(dir.path());
    let run = |options: &[&str], time: &str| {
        let mut argv = graceful_argv(&["chroot", &root], options, &["/graceful", "sleep", time]);
        argv[2] = "/graceful".to_owned();
        place.spawn(argv)
    };
    assert_eq!(run(&[], "1ms").wait(DEADLINE), Exit::Code(0));
    let app = run(&["--log-level", "debug"], "1000s");
    app.wait_line("the app runs as pid", DEADLINE);
    app.signal(libc::SIGTERM);
    assert_eq!(app.wait(DEADLINE), place.killed_by(libc::SIGTERM), "{}", app.dump());
}

// --- Its own output -------------------------------------------------------------------------------------------

/// Gives the command this descriptor as standard error.
pub(crate) fn with_stderr(command: &mut Command, stderr: OwnedFd) {
    // SAFETY: dup2(2) is async-signal-safe.
    unsafe {
        command.pre_exec(move || match libc::dup2(stderr.as_raw_fd(), 2) {
            2 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
}

/// SIGPIPE and SIGXFSZ that graceful's own lines raise are not the app's.
pub(crate) fn its_own_broken_log_is_no_signal_for_the_app(place: Place) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let options = ["--log-level", "debug", "--report", "/dev/full"];
    let script = signals(&["--exit-on", "USR2=7"]);
    let mut command = place.command(graceful_argv(&[], &options, &script));
    with_stderr(&mut command, writer.into());
    goes_on_quietly(&place.start(&mut command), true);

    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let path = file.path().to_string_lossy().into_owned();
    let report = tempfile::NamedTempFile::new().expect("a temporary file");
    let options = ["--log-level", "debug", "--report", &report.path().to_string_lossy()];
    let prefix = ["prlimit", "--fsize=100", "--", "sh", "-c", "exec \"$@\" 2>\"$0\"", &path];
    let app = place.spawn(graceful_argv(&prefix, &options, &script));
    goes_on_quietly(&app, false);
    assert_eq!(file.as_file().metadata().expect("it is there").len(), 100, "the limit was reached");
}

fn goes_on_quietly(app: &Proc, pipe: bool) {
    app.wait_line("ready", DEADLINE);
    for signal in [libc::SIGUSR1, libc::SIGWINCH, libc::SIGHUP] {
        app.signal(signal);
        app.wait_line(&name(signal), DEADLINE);
    }
    let mut expected = vec!["SIGUSR1", "SIGWINCH", "SIGHUP"];
    // One that somebody sends is the app's.
    let (sent, sent_name) = if pipe { (libc::SIGPIPE, "SIGPIPE") } else { (libc::SIGXFSZ, "SIGXFSZ") };
    app.signal(sent);
    app.wait_line(sent_name, DEADLINE);
    app.signal(libc::SIGUSR2);
    expected.extend([sent_name, "SIGUSR2"]);
    let (exit, stdout, _) = app.wait_output(DEADLINE);
    assert_eq!(exit, Exit::Code(7), "{}", app.dump());
    assert_eq!(stdout.lines().skip(1).collect::<Vec<_>>(), expected);
}

/// G30: stdout is the app's alone, byte for byte. G29: stderr is still there after the first line.
pub(crate) fn stdout_belongs_to_the_app(place: Place) {
    let app = place.spawn(graceful_argv(&[], &["--log-level", "debug"], &sh("printf 'out\\n'; exit 3")));
    let (exit, stdout, stderr) = app.wait_output(DEADLINE);
    assert_eq!((exit, stdout.as_str()), (Exit::Code(3), "out\n"));
    assert!(stderr.lines().count() > 3 && stderr.lines().all(|line| line.starts_with("graceful: ")), "{stderr}");
}

/// Nobody reads standard error and its pipe is full: the stop does not wait for a reader.
pub(crate) fn an_unread_log_holds_nothing_up(place: Place) {
    let (_reader, writer) = std::io::pipe().expect("a pipe");
    let mut file = std::fs::File::from(OwnedFd::from(writer));
    // SAFETY: F_GETPIPE_SZ takes a descriptor.
    let size = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETPIPE_SZ) };
    std::io::Write::write_all(&mut file, &vec![b'x'; usize::try_from(size).expect("a size")]).expect("there is room");
    let script = signals(&["--exit-on", "TERM=7"]);
    let mut command = place.command(graceful_argv(&[], &["--log-level", "debug"], &script));
    with_stderr(&mut command, file.into());
    let app = place.start(&mut command);
    app.wait_line("ready", DEADLINE);
    app.signal(libc::SIGUSR1);
    app.wait_line("SIGUSR1", DEADLINE);
    app.signal(libc::SIGTERM);
    assert_eq!(app.wait(DEADLINE), Exit::Code(7), "{}", app.dump());
}

/// A control for the tests that say "does not hang": the init's child is gone, the init is not, and goes on so.
pub(crate) fn hangs_without_its_child(init: &Proc) -> bool {
    let target = init.target();
    // Two of tini's rounds of one second. That nothing happens can only be seen by waiting.
    std::thread::sleep(Duration::from_millis(2500));
    children(target).iter().all(|pid| has_ended(*pid)) && init.exit().is_none()
}

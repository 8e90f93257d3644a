//! Which signals begin a stop, which are the app's, and what of it the log says.
//!
//! Where other inits do it right they stand beside as controls: to an init that only passes signals on, SIGQUIT and
//! Ctrl-C were always the app's.

use crate::support::pty::{CTRL_C, Member, Terminal};
use crate::support::run::{
    Run, is_alive, kill, number_after, phases, python, shell, signals_sent, wait_file_lines, wait_for, warnings, words,
};
use crate::support::{DEADLINE, Exit, Place, Proc, app, graceful, graceful_argv, java, python3, signals, tini};
use std::process::Command;
use std::time::{Duration, Instant};

/// No phase of it ends by time within a test.
const LONG: [&str; 4] = ["--grace-period", "120s", "--pre-stop-delay", "60s"];
/// No delay, and SIGKILL far away.
const NO_DELAY: [&str; 4] = ["--grace-period", "120s", "--pre-stop-delay", "0s"];

fn with<'a>(base: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [base, more].concat()
}

fn lines_with(process: &Proc, text: &str) -> usize {
    process.lines().iter().filter(|line| line.text.contains(text)).count()
}

/// `tini -- COMMAND` as PID 1.
fn under_tini(command: &[String]) -> Option<Proc> {
    let argv = [&[tini()?.to_string_lossy().into_owned(), "--".to_owned()], command].concat();
    Some(Place::Pid1.spawn(argv))
}

/// How graceful ends whose app died of this signal: as PID 1 it cannot die of it.
fn died_of(place: Place, signal: i32) -> Exit {
    match place {
        Place::Wrapper => Exit::Signal(signal),
        Place::Pid1 => Exit::Code(128 + signal),
    }
}

// SIGQUIT is the app's

/// Two thread dumps, and then a stop as if nothing had been.
fn dumps_its_threads(jvm: &Proc) {
    jvm.wait_line("ready", DEADLINE);
    for count in 1..=2 {
        jvm.signal(libc::SIGQUIT);
        jvm.wait_lines("Full thread dump", count, DEADLINE);
    }
    jvm.wait_line("\"main\"", DEADLINE);
    assert_eq!(jvm.exit(), None, "{}", jvm.dump());
    jvm.signal(libc::SIGTERM);
    jvm.wait_line("shutdown hook", DEADLINE);
    assert_eq!(jvm.wait(DEADLINE), Exit::Code(143), "{}", jvm.dump());
}

fn jvm() -> Option<Vec<String>> {
    Some(vec![java()?.to_string_lossy().into_owned(), "-Xmx64m".to_owned(), app("Dump.java")])
}

#[test]
fn sigquit_is_a_thread_dump_of_a_jvm() {
    let Some(jvm) = jvm() else { return };
    let app = Place::Pid1.spawn(graceful_argv(&[], &[], &jvm));
    dumps_its_threads(&app);
    let stopped = app.lines().iter().position(|line| line.text.contains("stopping"));
    let dumped = app.lines().iter().rposition(|line| line.text.contains("Full thread dump"));
    assert!(dumped < stopped, "{}", app.dump());
}

#[test]
fn control_under_tini_it_is_one_too() {
    let Some(app) = jvm().and_then(|jvm| under_tini(&jvm)) else { return };
    dumps_its_threads(&app);
}

const FAULTHANDLER: &str = "import faulthandler, signal, time\nfaulthandler.register(signal.SIGQUIT)\n\
                            def sleeps():\n    print('ready', flush=True)\n    time.sleep(60)\nsleeps()";

#[test]
fn sigquit_is_a_traceback_of_pythons_faulthandler() {
    for place in [Place::Wrapper, Place::Pid1] {
        let app = place.spawn(graceful_argv(&[], &[], &python(FAULTHANDLER)));
        app.wait_line("ready", DEADLINE);
        app.signal(libc::SIGQUIT);
        app.wait_line("in sleeps", DEADLINE);
        app.signal(libc::SIGTERM);
        assert_eq!(app.wait(DEADLINE), died_of(place, libc::SIGTERM), "{}", app.dump());
        assert_eq!(lines_with(&app, "SIGQUIT"), 0, "{}", app.dump());
    }
}

#[test]
fn control_under_tini_it_is_a_traceback_too() {
    let Some(app) = under_tini(&python(FAULTHANDLER)) else { return };
    app.wait_line("ready", DEADLINE);
    app.signal(libc::SIGQUIT);
    app.wait_line("in sleeps", DEADLINE);
    assert_eq!(app.exit(), None, "{}", app.dump());
}

// --stop-on

#[test]
fn the_list_is_exact() {
    let options = with(&NO_DELAY, &["--stop-on", "QUIT,USR1"]);
    let run = Run::signals(&options, &["--exit-on", "QUIT=5"]);
    // Neither of these is in it.
    for (signal, name) in [(libc::SIGTERM, "SIGTERM"), (libc::SIGINT, "SIGINT")] {
        run.stop(signal);
        run.wait_line(name, DEADLINE);
    }
    assert_eq!(lines_with(&run, "stopping"), 0, "{}", run.dump());
    run.stop_begun(libc::SIGQUIT);
    assert_eq!(signals_sent(&run.ends(Exit::Code(5))), ["SIGTERM forwarded", "SIGINT forwarded", "SIGQUIT stop"]);
}

#[test]
fn what_stops_a_container_of_systemd_or_lxc_stops_pid_1_and_no_wrapper() {
    for signal in [libc::SIGRTMIN() + 3, libc::SIGPWR] {
        let options = ["--stop-signal", "TERM"];
        let app = Place::Pid1.spawn(graceful_argv(&[], &options, &signals(&["--exit-on", "TERM=3"])));
        app.wait_line("ready pid=", DEADLINE);
        app.signal(signal);
        assert_eq!(app.wait(DEADLINE), Exit::Code(3), "{}", app.dump());
        let app = Place::Wrapper.spawn(graceful_argv(&[], &options, &signals(&["--exit-on", &format!("{signal}=4")])));
        app.wait_line("ready pid=", DEADLINE);
        app.signal(signal);
        assert_eq!(app.wait(DEADLINE), Exit::Code(4), "{}", app.dump());
        assert_eq!(lines_with(&app, "stopping"), 0, "{}", app.dump());
    }
}

#[test]
fn int_and_quit_can_be_rewritten_and_dropped_and_then_begin_no_stop() {
    let options = with(&NO_DELAY, &["--rewrite", "INT:0", "--rewrite", "QUIT:USR1", "--rewrite", "TERM:USR2"]);
    let run = Run::signals(&options, &["--exit-on", "USR2=6"]);
    run.stop(libc::SIGINT);
    run.stop(libc::SIGQUIT);
    run.wait_line("SIGUSR1", DEADLINE);
    run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Code(6));
    assert_eq!(signals_sent(&report), ["SIGUSR1 forwarded", "SIGUSR2 forwarded"]);
    assert_eq!(report["cause"]["kind"], "app-exited");
    // Whoever comes from another init, where this is how a server gets its signal, is told.
    assert!(warnings(&report).contains("--rewrite: SIGTERM no longer begins a stop"), "{report:#}");
    let (_, told, _) = run.wait_output(DEADLINE);
    assert_eq!(told.lines().skip(1).collect::<Vec<_>>(), ["SIGUSR1", "SIGUSR2"]);
}

// Who hurries

#[test]
fn a_machine_that_repeats_its_sigterm_shortens_neither_the_delay_nor_the_hold() {
    let go = "until test -e go; do sleep 0.02; done";
    let folder = crate::support::run::folder();
    let hold = format!("sh -c 'cd {}; {go}'", folder.path().display());
    let options = ["--grace-period", "120s", "--pre-stop-delay", "1500ms", "--hold", &hold, "--hold-timeout", "100s"];
    let run = Run::signals(&options, &["--exit-on", "TERM=4"]);
    let t0 = run.stop_begun(libc::SIGTERM);
    for count in 1..=3 {
        run.stop(libc::SIGTERM);
        run.wait_lines("SIGTERM: the stop goes on as it is", count, DEADLINE);
    }
    let holding = run.wait_line("holding the app's SIGTERM back", DEADLINE);
    assert!(holding.at - t0 >= Duration::from_millis(1500), "the delay was cut short\n{}", run.dump());
    for count in 4..=6 {
        run.stop(libc::SIGTERM);
        run.wait_lines("SIGTERM: the stop goes on as it is", count, DEADLINE);
    }
    assert_eq!(lines_with(&run, "SIGTERM to the app"), 0, "the hold was cut short\n{}", run.dump());
    std::fs::write(folder.path().join("go"), "").expect("room");
    let report = run.ends(Exit::Code(4));
    assert_eq!(signals_sent(&report), ["SIGTERM stop"]);
    assert_eq!(lines_with(&run, "hold over"), 1, "{}", run.dump());
}

#[test]
fn a_person_who_presses_ctrl_c_again_waits_for_less_each_time() {
    let run = Run::signals(&with(&LONG, &["--hold", "sleep 100"]), &["--exit-on", "INT@2=4"]);
    run.stop(libc::SIGINT);
    run.wait_line("holding the app's SIGINT back for sleep", DEADLINE);
    run.stop(libc::SIGINT);
    run.wait_line("SIGINT ends the hold phase", DEADLINE);
    wait_for("the app's SIGINT", || run.stdout_so_far().contains("\nSIGINT\n"));
    run.stop(libc::SIGINT);
    assert_eq!(signals_sent(&run.ends(Exit::Code(4))), ["SIGINT stop", "SIGINT again"]);
}

// A terminal

fn named(name: &'static str) -> impl Fn(&Member) -> bool {
    move |member| member.name == name && member.state != 'Z'
}

fn send(pid: i32, signal: i32) {
    assert!(pid > 1);
    kill(pid, signal);
}

/// On a terminal, as PID 1 of a namespace (as `docker run -it` sets it up) or in front of a command.
fn on_a_terminal(place: Place, init: &[&str], app: &[String]) -> Terminal {
    let mut command = Command::new("env");
    if place == Place::Pid1 {
        command.args(["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "--"]);
    }
    Terminal::start(command.args(init).args(app))
}

/// The program as it is, without what an editor for its lines would do to the terminal.
fn prompt() -> Vec<String> {
    words(&[&python3(), "-q", "-i", "-c", "import sys; sys.ps1 = 'prompt> '"])
}

/// Waits until the app waits for its terminal: Python looks whether there was a Ctrl-C before it begins to, and not again.
fn wait_reading(terminal: &Terminal) {
    let app = terminal.wait_member("python3", named("python3")).pid;
    let waits = [libc::SYS_read, libc::SYS_poll, libc::SYS_select, libc::SYS_pselect6, libc::SYS_ppoll];
    let waits = waits.map(|number| format!("{number} "));
    wait_for("a prompt that reads", || {
        let call = std::fs::read_to_string(format!("/proc/{app}/syscall")).unwrap_or_default();
        waits.iter().any(|wait| call.starts_with(wait))
    });
}

fn survives_ctrl_c(terminal: &Terminal) {
    terminal.expect("prompt> ");
    wait_reading(terminal);
    terminal.type_text(CTRL_C);
    terminal.expect_all(&["KeyboardInterrupt", "prompt> "]);
    terminal.type_line("6 * 7");
    terminal.expect("42\n");
}

#[test]
fn ctrl_c_at_a_prompt_is_the_prompts() {
    let binary = graceful();
    for place in [Place::Wrapper, Place::Pid1] {
        let terminal = on_a_terminal(place, &[binary.to_str().expect("a path"), "--"], &prompt());
        survives_ctrl_c(&terminal);
        terminal.type_line("raise SystemExit(4)");
        assert_eq!(terminal.wait(), Exit::Code(4), "{}", terminal.dump());
        assert!(!terminal.output().contains("stopping"), "{}", terminal.dump());
    }
}

#[test]
fn control_under_tini_it_is_too() {
    let Some(tini) = tini() else { return };
    let terminal = on_a_terminal(Place::Pid1, &[tini.to_str().expect("a path"), "--"], &prompt());
    survives_ctrl_c(&terminal);
}

#[test]
fn the_second_ctrl_c_at_a_prompt_begins_the_stop() {
    let binary = graceful();
    let init = [binary.to_str().expect("a path"), "--grace-period", "3s", "--kill-margin", "2s", "--"];
    for place in [Place::Wrapper, Place::Pid1] {
        let terminal = on_a_terminal(place, &init, &prompt());
        survives_ctrl_c(&terminal);
        terminal.type_text(CTRL_C);
        terminal.expect("SIGINT: stopping");
        assert_eq!(terminal.wait(), died_of(place, libc::SIGKILL), "it survives that one, too\n{}", terminal.dump());
    }
}

#[test]
fn with_sigint_not_in_the_list_ctrl_c_is_always_the_apps() {
    let binary = graceful();
    let terminal =
        on_a_terminal(Place::Pid1, &[binary.to_str().expect("a path"), "--stop-on", "TERM", "--"], &prompt());
    survives_ctrl_c(&terminal);
    for _ in 0..3 {
        terminal.expect("prompt> ");
        wait_reading(&terminal);
        terminal.type_text(CTRL_C);
        terminal.expect("KeyboardInterrupt");
    }
    assert!(!terminal.output().contains("graceful:"), "{}", terminal.dump());
}

#[test]
fn a_new_window_size_is_no_stop_though_sigwinch_is_one() {
    let options = [&NO_DELAY[..], &["--stop-on", "TERM,WINCH", "--stop-signal", "TERM"]].concat();
    let binary = graceful();
    let init = [&[binary.to_str().expect("a path")], &options[..], &["--"]].concat();
    for place in [Place::Wrapper, Place::Pid1] {
        let terminal = on_a_terminal(place, &init, &signals(&["--exit-on", "TERM=7"]));
        terminal.expect("ready pid=");
        terminal.resize(50, 132);
        terminal.expect("SIGWINCH\n");
        assert!(!terminal.output().contains("stopping"), "{}", terminal.dump());
        // The same signal of a process is what the image says it is.
        let graceful = terminal.wait_member("graceful", named("graceful")).pid;
        wait_for("an end of what graceful has to take", || {
            let status = std::fs::read_to_string(format!("/proc/{graceful}/status")).expect("it runs");
            status.contains("ShdPnd:\t0000000000000000")
        });
        send(graceful, libc::SIGWINCH);
        terminal.expect("SIGWINCH: stopping");
        assert_eq!(terminal.wait(), Exit::Code(7), "{}", terminal.dump());
    }
}

/// Apache httpd with its own profile, on a terminal, as PID 1 (`docker run -t`): its images' STOPSIGNAL is SIGWINCH.
fn httpd_on_a_terminal(options: &[&str]) -> Option<(Terminal, crate::support::stopping::Site)> {
    let site = crate::support::sites::httpd("")?;
    let binary = graceful();
    let init = [&[binary.to_str().expect("a path")], &NO_DELAY[..], options, &["--"]].concat();
    let terminal = on_a_terminal(Place::Pid1, &init, &site.server);
    crate::support::wait_http(site.port, "/", DEADLINE);
    Some((terminal, site))
}

#[test]
fn a_new_window_size_does_not_stop_httpd() {
    for options in [&["--log-level", "debug"][..], &["--log-level", "debug", "--rewrite", "WINCH:0"]] {
        let Some((terminal, site)) = httpd_on_a_terminal(options) else { return };
        terminal.resize(50, 132);
        terminal.expect("dropped");
        terminal.resize(25, 80);
        terminal.expect("dropped");
        let (status, ..) = crate::support::get(site.port, "/", DEADLINE).expect("it serves on");
        assert_eq!(status, 200);
        assert!(!terminal.output().contains("stopping"), "{}", terminal.dump());
        // From a process, as an engine sends it, it is the image's stop; rewritten it is none.
        let graceful = terminal.wait_member("graceful", named("graceful")).pid;
        if options.len() > 2 {
            send(graceful, libc::SIGWINCH);
            terminal.expect("SIGWINCH dropped, as --rewrite says");
            send(graceful, libc::SIGTERM);
        } else {
            send(graceful, libc::SIGWINCH);
            terminal.expect("SIGWINCH: stopping");
        }
        assert_eq!(terminal.wait(), Exit::Code(0), "{}", terminal.dump());
    }
}

#[test]
fn control_under_tini_a_new_window_size_stops_httpd() {
    let (Some(tini), Some(site)) = (tini(), crate::support::sites::httpd("")) else { return };
    let terminal = on_a_terminal(Place::Pid1, &[tini.to_str().expect("a path"), "--"], &site.server);
    crate::support::wait_http(site.port, "/", DEADLINE);
    terminal.resize(50, 132);
    assert_eq!(terminal.wait(), Exit::Code(0), "{}", terminal.dump());
}

#[test]
fn an_app_whose_keys_are_rewritten_hears_what_they_became_and_can_still_read_its_terminal() {
    let binary = graceful();
    let init = [binary.to_str().expect("a path"), "--rewrite", "INT:USR1", "--"];
    for place in [Place::Wrapper, Place::Pid1] {
        let terminal = on_a_terminal(place, &init, &signals(&["--exit-on", "USR1=6"]));
        terminal.expect("ready pid=");
        terminal.type_text(CTRL_C);
        terminal.expect("SIGUSR1\n");
        assert_eq!(terminal.wait(), Exit::Code(6), "{}", terminal.dump());
        assert!(!terminal.output().contains("SIGINT"), "{}", terminal.dump());

        let terminal = on_a_terminal(place, &init, &shell("echo up; read line; echo \"got $line\"; exit 7"));
        terminal.expect("up\n");
        terminal.type_line("something");
        terminal.expect("got something\n");
        assert_eq!(terminal.wait(), Exit::Code(7), "{}", terminal.dump());
    }
}

#[test]
fn an_interactive_shell_is_hung_up_at_its_stop() {
    let binary = graceful();
    let init = [&[binary.to_str().expect("a path")], &NO_DELAY[..], &["--"]].concat();
    let shell = words(&["env", "PS1=inner> ", "bash", "--norc", "--noprofile", "--noediting", "-i"]);
    for place in [Place::Wrapper, Place::Pid1] {
        let terminal = on_a_terminal(place, &init, &shell);
        terminal.expect("inner> ");
        send(terminal.wait_member("graceful", named("graceful")).pid, libc::SIGTERM);
        terminal.expect("the app ignores SIGTERM; it has a terminal, and gets SIGHUP as well");
        assert_eq!(terminal.wait(), died_of(place, libc::SIGHUP), "{}", terminal.dump());
    }
}

#[test]
fn an_app_that_ignores_its_signal_is_said_to_and_is_not_hung_up() {
    // On a terminal or not: it may have work to finish.
    let script = "trap '' TERM; trap 'echo hup' HUP; trap 'exit 6' USR1; echo up; while :; do sleep 0.02; done";
    let binary = graceful();
    let init = [&[binary.to_str().expect("a path")], &NO_DELAY[..], &["--"]].concat();
    let terminal = on_a_terminal(Place::Wrapper, &init, &shell(script));
    terminal.expect("up\n");
    send(terminal.wait_member("graceful", named("graceful")).pid, libc::SIGTERM);
    terminal.expect("the app ignores SIGTERM\n");
    send(terminal.wait_member("graceful", named("graceful")).pid, libc::SIGUSR1);
    assert_eq!(terminal.wait(), Exit::Code(6), "{}", terminal.dump());
    assert!(!terminal.output().contains("hup"), "{}", terminal.dump());

    let run = Run::start(&NO_DELAY, &shell(script));
    run.wait_line("up", DEADLINE);
    run.stop(libc::SIGTERM);
    run.wait_line("the app ignores SIGTERM", DEADLINE);
    run.stop(libc::SIGUSR1);
    assert!(warnings(&run.ends(Exit::Code(6))).contains("the app ignores SIGTERM"), "{}", run.dump());
}

// SIGCONT

#[test]
fn an_app_that_runs_gets_no_sigcont() {
    for options in [&NO_DELAY[..], &with(&NO_DELAY, &["--stop-signal", "TSTP"])] {
        let run = Run::signals(options, &["--exit-on", "TERM=3", "--exit-on", "TSTP=3", "--delay", "0.3"]);
        run.stop(libc::SIGTERM);
        run.ends(Exit::Code(3));
        let (_, told, _) = run.wait_output(DEADLINE);
        let expected = if options.contains(&"TSTP") { "SIGTSTP" } else { "SIGTERM" };
        assert_eq!(told.lines().skip(1).collect::<Vec<_>>(), [expected]);
    }
}

#[test]
fn a_stopped_app_is_continued_first_and_then_gets_whatever_its_signal_is() {
    for signal in ["TERM", "TSTP"] {
        let run = Run::signals(&with(&NO_DELAY, &["--stop-signal", signal]), &["--exit-on", &format!("{signal}=3")]);
        let pid = number_after(&run.stdout_so_far(), "ready pid=");
        kill(pid, libc::SIGSTOP);
        wait_for("the stopped app", || {
            std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") T "))
        });
        run.stop(libc::SIGTERM);
        let report = run.ends(Exit::Code(3));
        let sent: Vec<&str> =
            report["signals"].as_array().unwrap().iter().filter_map(|s| s["signal"].as_str()).collect();
        assert_eq!(sent, ["SIGCONT", format!("SIG{signal}").as_str()]);
    }
}

/// The app ends and leaves two: one runs, one is stopped. Each tells what it gets.
fn leftovers_tell(place: Place) {
    let tells = "import os, signal, sys\n\
                 def say(*words): os.write(1, (' '.join(map(str, (sys.argv[1],) + words)) + '\\n').encode())\n\
                 signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\nsignal.alarm(60)\n\
                 say('ready', os.getpid())\n\
                 if sys.argv[1] == 'stopped': os.kill(os.getpid(), signal.SIGSTOP)\n\
                 say('goes on')\n\
                 while True:\n    got = signal.sigwait(signal.valid_signals())\n\
                 \x20   say('got', signal.Signals(got).name)\n\
                 \x20   if got == signal.SIGTERM: os._exit(0)";
    let folder = crate::support::run::folder();
    let file = folder.path().join("tells.py");
    std::fs::write(&file, tells).expect("room");
    let one = |name: &str| format!("{} {} {name} & ", python3(), file.display());
    let script =
        format!("trap 'exit 4' TERM; {}{}echo up; while :; do sleep 0.02; done", one("running"), one("stopped"));
    let app = place.spawn(graceful_argv(&[], &[], &shell(&script)));
    app.wait_line("running goes on", DEADLINE);
    let stopped = app.wait_line("stopped ready", DEADLINE).text;
    if place == Place::Wrapper {
        let pid = number_after(&stopped, "ready ");
        wait_for("the stop", || {
            std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") T "))
        });
    } else {
        // Inside of the namespace its pid is another one. It stops right behind its word; what is asked here is only whether
        // it ends.
    }
    app.signal(libc::SIGTERM);
    assert_eq!(app.wait(DEADLINE), Exit::Code(4), "{}", app.dump());
    app.wait_line("running got SIGTERM", DEADLINE);
    app.wait_line("stopped got SIGTERM", DEADLINE);
    assert_eq!(lines_with(&app, "running got SIGCONT"), 0, "{}", app.dump());
}

#[test]
fn of_what_is_left_only_the_stopped_get_sigcont() {
    leftovers_tell(Place::Wrapper);
    leftovers_tell(Place::Pid1);
}

// A STOPSIGNAL of which graceful does not know

#[test]
fn a_signal_from_outside_that_ends_the_app_names_stop_on() {
    let app = Place::Pid1.spawn(graceful_argv(&[], &[], &signals(&["--exit-on", "USR1=3"])));
    app.wait_line("ready pid=", DEADLINE);
    app.signal(libc::SIGUSR1);
    let line = app.wait_line("SIGUSR1 came from outside of the container", DEADLINE).text;
    assert!(line.contains("was followed by its end") && line.contains("STOPSIGNAL: --stop-on USR1"), "{line}");
    assert_eq!(app.wait(DEADLINE), Exit::Code(3), "{}", app.dump());
}

#[test]
fn a_signal_from_outside_that_the_app_ignores_names_stop_on_once() {
    for ignoring in [&["--default", "WINCH"], &["--ignore", "WINCH"]] {
        let app =
            Place::Pid1.spawn(graceful_argv(&[], &[], &signals(&[&ignoring[..], &["--exit-on", "TERM=3"]].concat())));
        app.wait_line("ready pid=", DEADLINE);
        for _ in 0..3 {
            app.signal(libc::SIGWINCH);
            // What it tells comes behind what it was sent before.
            app.signal(libc::SIGHUP);
        }
        let line = app.wait_line("SIGWINCH came from outside of the container", DEADLINE).text;
        assert!(line.contains("is ignored by it") && line.contains("--stop-on WINCH"), "{line}");
        app.signal(libc::SIGTERM);
        assert_eq!(app.wait(DEADLINE), Exit::Code(3), "{}", app.dump());
        app.wait_output(DEADLINE);
        assert_eq!(lines_with(&app, "came from outside"), 1, "{}", app.dump());
    }
}

#[test]
fn a_signal_that_the_app_handles_or_that_comes_from_inside_is_nobodys_business() {
    let app = Place::Pid1.spawn(graceful_argv(&[], &[], &signals(&["--exit-on", "TERM=3"])));
    app.wait_line("ready pid=", DEADLINE);
    app.signal(libc::SIGHUP);
    app.wait_line("SIGHUP", DEADLINE);
    app.signal(libc::SIGTERM);
    assert_eq!(app.wait_output(DEADLINE).0, Exit::Code(3));
    assert_eq!(lines_with(&app, "came from outside"), 0, "{}", app.dump());

    // Blocked, to be looked for, as signalfd(2) wants it: no handler is needed.
    let looks = "import sys, time\nsignal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGWINCH})\n\
                 print('ready', flush=True)\nwhile signal.SIGWINCH not in signal.sigpending(): time.sleep(0.01)\n\
                 time.sleep(0.2)\nprint('seen', flush=True)\ntime.sleep(60)";
    let app = Place::Pid1.spawn(graceful_argv(&[], &[], &python(looks)));
    app.wait_line("ready", DEADLINE);
    app.signal(libc::SIGWINCH);
    app.wait_line("seen", DEADLINE);
    assert_eq!(lines_with(&app, "came from outside"), 0, "{}", app.dump());

    let inside = "trap 'exit 5' USR1; kill -USR1 1; while :; do sleep 0.02; done";
    let app = Place::Pid1.spawn(graceful_argv(&[], &[], &shell(inside)));
    assert_eq!(app.wait_output(DEADLINE).0, Exit::Code(5));
    assert_eq!(lines_with(&app, "came from outside"), 0, "{}", app.dump());
}

// Before the app

#[test]
fn a_stop_before_the_app_says_so_and_can_be_a_success() {
    for (success, code) in [(None, 143), (Some("SIGTERM"), 0), (Some("143"), 0), (Some("130"), 143)] {
        let mut options = words(&["--hook", "pre-start=sh -c 'echo hook runs; exec sleep 60'"]);
        options.extend(success.iter().flat_map(|status| words(&["--success-exit-status", status])));
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let run = Run::start(&options, &words(&["touch", "/nonexistent/started"]));
        run.wait_line("hook runs", DEADLINE);
        run.stop(libc::SIGTERM);
        run.wait_line("SIGTERM: stopping; the app is not started, SIGKILL after 29 s", DEADLINE);
        let report = run.ends(Exit::Code(code));
        assert_eq!(phases(&report), ["pre-start", "leftovers", "post-stop"]);
        assert_eq!(lines_with(&run, "serves on"), 0, "{}", run.dump());
    }
}

#[test]
fn one_orphan_is_no_orphans() {
    let run = Run::signals(&with(&NO_DELAY, &["--log-level", "debug"]), &["--orphans", "1", "--exit-on", "TERM=0"]);
    run.stop(libc::SIGTERM);
    run.ends(Exit::Code(0));
    run.wait_line("1 orphan reaped in all; 0 processes besides the app ended after SIGKILL", DEADLINE);
}

// The hook stage ready

#[test]
fn ready_hooks_run_once_when_the_app_is_first_ready() {
    let port = crate::support::free_port();
    let folder = crate::support::run::folder();
    let log = folder.path().join("log");
    let tell = |stage: &str| format!("{stage}=sh -c 'echo $GRACEFUL_PHASE $GRACEFUL_APP_PID >>{}'", log.display());
    let url = format!("http://127.0.0.1:{port}/ready");
    let hooks =
        ["--hook", &tell("ready"), "--hook", &tell("post-start"), "--ready-url", &url, "--ready-interval", "50ms"];
    // With probes to be answered it is asked all the time.
    let hooks = [&hooks[..], &["--ready-timeout", "200ms", "--probe-listen", "127.0.0.1:0"]].concat();
    let late = format!("touch {0}/up; until test -e {0}/go; do sleep 0.02; done; exec \"$@\"", folder.path().display());
    let server = words(&["sh", "-c", &late, "sh", &python3(), &app("ready.py"), &port.to_string()]);
    let run = Run::start(&with(&NO_DELAY, &hooks), &server);
    let post_start = wait_file_lines(&log, 1);
    assert!(post_start[0].starts_with("post-start "), "right after the exec: {post_start:?}");
    std::fs::write(folder.path().join("go"), "").expect("room");
    let both = wait_file_lines(&log, 2);
    assert_eq!(both[1], post_start[0].replace("post-start", "ready"));
    // It is not ready for a while, and then again.
    let pid = number_after(&both[1], "ready ");
    kill(pid, libc::SIGSTOP);
    run.wait_line("not ready (no answer", DEADLINE);
    kill(pid, libc::SIGCONT);
    run.wait_line("ready again", DEADLINE);
    run.stop(libc::SIGTERM);
    let report = run.report();
    let hooks: Vec<&str> =
        report["hooks"].as_array().unwrap().iter().filter_map(|hook| hook["stage"].as_str()).collect();
    assert_eq!(hooks, ["post-start", "ready"], "{report:#}");
    assert!(!is_alive(pid));
}

#[test]
fn a_ready_hook_that_must_not_fail_stops_the_app() {
    let port = crate::support::free_port();
    let folder = crate::support::run::folder();
    let config = format!(
        "ready_url = 'http://127.0.0.1:{port}/ready'\n[[hook]]\nstage = 'ready'\nname = 'warm'\nrun = 'false'\n\
         on_failure = 'abort'\n"
    );
    let file = folder.path().join("graceful.toml");
    std::fs::write(&file, config).expect("room");
    let options = with(&NO_DELAY, &["--config", file.to_str().expect("a path")]);
    let began = Instant::now();
    let run = Run::start(&options, &words(&[&python3(), &app("ready.py"), &port.to_string(), "--exit", "4"]));
    run.wait_line("a ready hook failed: stopping", DEADLINE);
    let report = run.ends(Exit::Code(4));
    assert_eq!(report["cause"]["kind"], "ready-hook-failed");
    assert!(began.elapsed() < Duration::from_secs(120));
}

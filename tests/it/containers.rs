//! Real containers on the Docker engine: `docker run`, `docker stop`, `docker exec` as users type them.
//!
//! Each claim has its control beside it where the engine's own means (no init, `--init`, which is tini) show the fault.

use crate::support::docker::{Container, Image, Network, Reserved, docker, docker_command, image, try_docker};
use crate::support::load::{Load, slow_requests};
use crate::support::pty::{CTRL_C, CTRL_Z, Terminal};
use crate::support::{DEADLINE, Exit, Proc};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SIGNALS: [&str; 2] = ["/usr/bin/python3", "/apps/signals.py"];
const WEB: [&str; 2] = ["/usr/bin/python3", "/apps/web.py"];
const QUICK: [&str; 3] = ["--pre-stop-delay", "0s", "--"];

/// graceful as PID 1, without a delay.
fn quick(image: &Arc<Image>, options: &[&str], app: &[&[&str]]) -> Container {
    Container::run(image, options, &[&QUICK, app.concat().as_slice()].concat())
}

/// The app with what `docker run` has for an init: `--init`, or nothing.
fn control(image: &Arc<Image>, options: &[&str], app: &[&[&str]]) -> Container {
    Container::bare(image, options, &app.concat())
}

/// Does both at the same time.
fn while_stopping<A: Send, B>(stop: impl FnOnce() -> A + Send, other: impl FnOnce() -> B) -> (A, B) {
    std::thread::scope(|scope| {
        let stopping = scope.spawn(stop);
        let other = other();
        (stopping.join().expect("the stop succeeds"), other)
    })
}

mod exit_status {
    use super::*;

    #[test]
    fn it_is_the_apps_own() {
        let Some(image) = image() else { return };
        for (script, status) in [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137)] {
            let container = quick(&image, &[], &[&["sh", "-c", script]]);
            let (code, _, stderr) = container.end();
            assert_eq!(code, status, "{script}\n{}", container.dump());
            assert_eq!(docker(&["wait", &container.name]), status.to_string());
            let words = "killed by SIGKILL that graceful did not send; no out-of-memory kill was counted";
            assert_eq!(stderr.contains(words), status == 137, "{stderr}");
        }
    }

    #[test]
    fn what_cannot_be_run_has_the_shells_statuses() {
        let Some(image) = image() else { return };
        for (app, status) in [("/no/such/app", 127), ("/apps", 126)] {
            let container = quick(&image, &[], &[&[app]]);
            assert_eq!(container.end().0, status, "{}", container.dump());
        }
    }
}

mod stop {
    use super::*;

    const DELAY: Duration = Duration::from_millis(1500);
    /// How long the router goes on sending.
    const LAG: Duration = Duration::from_secs(1);

    /// Stops a loaded server; how many requests and slow requests were dropped, and the container.
    fn stop_under_load(container: &Container) -> (usize, usize, Duration) {
        container.wait_line("ready");
        let server = container.address(8080);
        let load = Load::start(server, "/", 50);
        load.wait_answered(10, DEADLINE);
        let slow = slow_requests(server, "/slow?seconds=2.5", 2);
        container.wait_lines("slow begins", 2);
        let begin = Instant::now();
        let (took, fast) = while_stopping(|| container.stop(20), || load.finish(begin + LAG));
        let slow = slow.collect();
        println!("{}{}", fast.table(begin), container.dump());
        assert!(fast.records.len() > 30, "hardly any load");
        (fast.dropped(), slow.dropped(), took)
    }

    #[test]
    fn docker_stop_drops_nothing_and_the_apps_status_comes_through() {
        let Some(image) = image() else { return };
        let options = ["-e", "GRACEFUL_PRE_STOP_DELAY=1500ms", "-e", "GRACEFUL_GRACE_PERIOD=15s"];
        let container = Container::run(&image, &options, &[&["--"], &WEB[..], &["--exit", "3"]].concat());
        let (fast, slow, took) = stop_under_load(&container);
        assert_eq!((fast, slow), (0, 0), "dropped");
        assert!(took >= DELAY, "the stop took {took:?}");
        assert_eq!(container.inspect(".State.ExitCode"), "3");
        assert_eq!(container.end().0, 3);
    }

    #[test]
    fn control_with_dockers_own_init_requests_are_dropped() {
        let Some(image) = image() else { return };
        let container = control(&image, &["--init"], &[&WEB, &["--exit", "3"]]);
        let (fast, _, _) = stop_under_load(&container);
        assert!(fast > 0, "nothing was dropped");
        assert_eq!(container.inspect(".State.ExitCode"), "3");
    }

    #[test]
    fn an_app_that_ignores_the_stop_is_killed_before_docker_would() {
        let Some(image) = image() else { return };
        let options = ["--grace-period", "5s", "--pre-stop-delay", "500ms", "--"];
        let app = ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"];
        let container = Container::run(&image, &[], &[&options[..], &app].concat());
        container.wait_line("ready");
        container.stop(10);
        // That the log got out shows that it was not Docker's SIGKILL.
        let (code, _, stderr) = container.end();
        assert!(stderr.contains("graceful: killed after 4."), "{stderr}");
        assert_eq!((code, container.inspect(".State.ExitCode")), (137, "137".to_owned()));
        assert_eq!(container.inspect(".State.OOMKilled"), "false");
    }

    #[test]
    fn control_without_init_an_app_without_handler_uses_up_the_grace_period() {
        let Some(image) = image() else { return };
        let app = ["sh", "-c", "echo ready; exec sleep 1000"];
        let bare = control(&image, &[], &[&app]);
        bare.wait_line("ready");
        let took = bare.stop(2);
        assert!(took >= Duration::from_secs(2), "{took:?}");
        assert_eq!(bare.inspect(".State.ExitCode"), "137");
        // With graceful it has no PID 1's immunity.
        let container = quick(&image, &[], &[&app]);
        container.wait_line("ready");
        container.stop(20);
        assert_eq!(container.inspect(".State.ExitCode"), "143");
    }

    #[test]
    fn another_stopsignal_begins_the_stop_and_goes_to_the_app() {
        let Some(image) = image() else { return };
        let options = ["--stop-signal", "SIGUSR2", "-e", "GRACEFUL_STOP_ON=USR2", "-e", "GRACEFUL_PRE_STOP_DELAY=1s"];
        let container = Container::run(&image, &options, &[&["--"], &SIGNALS[..], &["--exit-on", "USR2=6"]].concat());
        container.wait_line("ready");
        assert!(container.stop(20) >= Duration::from_secs(1));
        let (code, stdout, stderr) = container.end();
        assert_eq!(code, 6, "{stdout}{stderr}");
        assert!(stdout.contains("\nSIGUSR2\n"), "{stdout}");
        assert!(stderr.contains("graceful: SIGUSR2: stopping; the app serves on for 1 s"), "{stderr}");
    }

    #[test]
    fn other_signals_go_to_the_app_at_once() {
        let Some(image) = image() else { return };
        let container = Container::run(&image, &[], &[&["--"], &SIGNALS[..], &["--exit-on", "HUP=6"]].concat());
        container.wait_line("ready");
        docker(&["kill", "--signal", "USR1", &container.name]);
        container.wait_line("SIGUSR1");
        docker(&["kill", "--signal", "HUP", &container.name]);
        let (code, _, stderr) = container.end();
        // It ended on a signal from outside that was no stop: that may be the image's STOPSIGNAL, and is said; nothing else.
        assert_eq!(code, 6);
        assert!(stderr.lines().count() == 1 && stderr.contains("SIGHUP") && stderr.contains("--stop-on"), "{stderr}");
    }
}

/// PID 1's entries in /proc are how scripts and cron jobs in a container reach its own streams.
mod streams {
    use super::*;

    const READER: &str = "echo up; while :; do if read -r line; then echo \"read $line\"; else sleep 0.05; fi; done";
    const WRITER: &str =
        "echo to stdout >/proc/1/fd/1; echo to stderr >/proc/1/fd/2; echo to stdin >/proc/1/fd/0; ls /proc/1/root/";

    /// Anybody's, whoever is PID 1.
    fn others_can_write_to_them(container: &Container) {
        container.wait_line("up");
        let (status, seen) = container.exec(&["sh", "-c", WRITER]);
        assert!(status == Some(0) && seen.contains("graceful"), "{seen}\n{}", container.dump());
        for line in ["to stdout", "to stderr", "read to stdin"] {
            container.wait_line(line);
        }
    }

    #[test]
    fn what_others_write_to_pid_1s_streams_gets_there() {
        let Some(image) = image() else { return };
        others_can_write_to_them(&quick(&image, &["--interactive"], &[&["sh", "-c", READER]]));
    }

    #[test]
    fn control_under_dockers_own_init_and_without_any_too() {
        let Some(image) = image() else { return };
        for init in [&["--interactive"][..], &["--interactive", "--init"]] {
            others_can_write_to_them(&control(&image, init, &[&["sh", "-c", READER]]));
        }
    }

    #[test]
    fn the_environment_and_the_command_line_of_pid_1_are_the_containers() {
        let Some(image) = image() else { return };
        let container = quick(&image, &["--env", "COLOUR=blue"], &[&["sh", "-c", "echo up; exec sleep 1000"]]);
        container.wait_line("up");
        let (_, seen) = container.exec(&["sh", "-c", "cat /proc/1/environ /proc/1/cmdline | tr '\\0' '\\n'"]);
        assert!(seen.contains("COLOUR=blue\n") && seen.contains("\n--\nsh\n-c\n"), "{seen}");
    }
}

mod processes {
    use super::*;

    /// How many zombies the container has.
    fn zombies(container: &Container) -> usize {
        let (_, states) = container.exec(&["sh", "-c", "grep -h State: /proc/[0-9]*/status 2>/dev/null"]);
        assert!(states.contains("State:"), "{states}");
        states.matches("(zombie)").count()
    }

    #[test]
    fn orphans_do_not_pile_up() {
        let Some(image) = image() else { return };
        let container = quick(&image, &[], &[&SIGNALS, &["--orphans", "100"]]);
        container.wait_line("ready");
        let end = Instant::now() + DEADLINE;
        while zombies(&container) > 0 {
            assert!(Instant::now() < end, "there are zombies");
        }
        let without = control(&image, &[], &[&SIGNALS, &["--orphans", "100"]]);
        without.wait_line("ready");
        assert_eq!(zombies(&without), 100, "the control: without an init they do");
    }

    const DAEMONS: [&str; 5] = ["--children", "2", "--detach", "--exit-on", "TERM=5"];

    #[test]
    fn what_outlives_the_app_gets_sigterm() {
        let Some(image) = image() else { return };
        let container = quick(&image, &[], &[&SIGNALS, &DAEMONS]);
        container.wait_line("ready pid");
        container.stop(20);
        let (code, stdout, stderr) = container.end();
        assert_eq!(code, 5, "{stdout}{stderr}");
        let told = stdout.lines().filter(|line| line.starts_with("child") && line.ends_with("SIGTERM")).count();
        assert_eq!(told, 2, "{stdout}");
        assert!(stderr.contains("the app is gone, 2 other processes are still there: SIGTERM"), "{stderr}");
    }

    #[test]
    fn control_under_dockers_own_init_it_never_sees_one() {
        let Some(image) = image() else { return };
        let container = control(&image, &["--init"], &[&SIGNALS, &DAEMONS]);
        container.wait_line("ready pid");
        container.stop(20);
        let (code, stdout, stderr) = container.end();
        assert_eq!(code, 5, "{stdout}{stderr}");
        assert!(!stdout.lines().any(|line| line.starts_with("child") && line.ends_with("SIGTERM")), "{stdout}");
    }

    #[test]
    fn docker_exec_sessions_end_with_the_container_and_hold_nothing_up() {
        let Some(image) = image() else { return };
        let container = quick(&image, &[], &[&SIGNALS, &["--exit-on", "TERM=5"]]);
        container.wait_line("ready");
        let job = container.exec_beside(&["sh", "-c", "echo up; exec sleep 1000"]);
        job.wait_line("up", DEADLINE);
        // An interactive shell ignores SIGTERM and ends on a hang-up.
        let shell = container.exec_on_terminal(&["sh"]);
        shell.expect("# ");
        container.stop(60);
        let (code, stdout, stderr) = container.end();
        assert_eq!(code, 5, "{stdout}{stderr}");
        assert!(stderr.contains("the app is gone, 2 other processes are still there: SIGTERM"), "{stderr}");
        assert!(!stderr.contains("budget spent"), "{stderr}");
        assert_eq!(job.wait(DEADLINE), Exit::Code(143));
        shell.wait();
    }

    #[test]
    fn under_dockers_own_init_all_works_as_well() {
        let Some(image) = image() else { return };
        let container = quick(&image, &["--init"], &[&SIGNALS, &DAEMONS]);
        container.wait_line("ready pid");
        container.stop(20);
        let (code, stdout, stderr) = container.end();
        assert_eq!(code, 5, "{stdout}{stderr}");
        let told = stdout.lines().filter(|line| line.starts_with("child") && line.ends_with("SIGTERM")).count();
        assert_eq!(told, 2, "{stdout}{stderr}");
    }

    #[test]
    fn in_the_hosts_pid_namespace_only_its_own_are_touched() {
        let Some(image) = image() else { return };
        // A user of its own without any capability: the bystander is the only process that a mistake could hit.
        let host = ["--pid", "host", "--user", "47110:47110", "--cap-drop", "ALL"];
        let bystander = control(&image, &host, &[&SIGNALS, &["--exit-on", "HUP=4"]]);
        bystander.wait_line("ready");
        let container = quick(&image, &host, &[&SIGNALS, &DAEMONS]);
        container.wait_line("ready pid");
        container.stop(20);
        let (code, stdout, stderr) = container.end();
        assert_eq!(code, 5, "{stdout}{stderr}");
        assert!(stderr.contains("the app is gone, 2 other processes are still there: SIGTERM"), "{stderr}");
        docker(&["kill", "--signal", "HUP", &bystander.name]);
        let (code, stdout, _) = bystander.end();
        assert_eq!(code, 4);
        assert!(stdout.ends_with("\nSIGHUP\n") && !stdout.contains("SIGTERM"), "{stdout}");
    }

    #[test]
    fn locked_down_to_nothing_all_works_as_well() {
        let Some(image) = image() else { return };
        let locked = ["--read-only", "--user", "65534:65534", "--cap-drop", "ALL"];
        let options = [&locked[..], &["--security-opt", "no-new-privileges", "--network", "none"]].concat();
        let container = quick(&image, &options, &[&SIGNALS, &DAEMONS, &["--orphans", "5"]]);
        container.wait_line("ready pid");
        container.stop(20);
        let (code, stdout, stderr) = container.end();
        assert_eq!(code, 5, "{stdout}{stderr}");
        let told = stdout.lines().filter(|line| line.starts_with("child") && line.ends_with("SIGTERM")).count();
        assert_eq!(told, 2, "{stdout}");
        assert!(!stderr.contains("warning") && !stderr.contains("error"), "{stderr}");
    }

    #[test]
    fn an_app_killed_for_memory_is_told_from_other_kills() {
        let Some(image) = image() else { return };
        let eater = "hoard = []\nwhile True: hoard.append(bytearray(b'x' * 1048576))";
        let limits = ["--memory", "48m", "--memory-swap", "48m"];
        let container = quick(&image, &limits, &[&["/usr/bin/python3", "-c", eater]]);
        let (code, _, stderr) = container.end();
        assert_eq!(code, 137, "{stderr}");
        assert!(stderr.contains("the cgroup's oom_kill count rose by 1 since the start: out of memory"), "{stderr}");
    }

    /// A worker that dies for want of memory while the app lives on, or that the app's own status hides: the metrics know
    /// it at once, the log and the report at the end.
    #[test]
    fn a_process_of_the_app_killed_for_memory_is_told_whatever_the_app_says() {
        let Some(image) = image() else { return };
        let eater = "hoard = []\nwhile True: hoard.append(bytearray(b'x' * 1048576))";
        let script = "python3 -c \"$1\"; echo \"worker $?\"; read line <$2/go; exit 5";
        let dir = tempfile::tempdir().expect("a directory");
        let volume = format!("{}:/out", dir.path().display());
        let go = Command::new("mkfifo").arg(dir.path().join("go")).status().expect("mkfifo runs");
        assert!(go.success());
        let limits = ["--memory", "48m", "--memory-swap", "48m", "-v", &volume];
        let graceful = ["--probe-listen", "127.0.0.1:9090", "--report", "/out/report.json", "--"];
        let app = ["sh", "-c", script, "sh", eater, "/out"];
        let container = Container::run(&image, &limits, &[&graceful[..], &app].concat());
        container.wait_line("worker 137");
        let (_, page) = container.exec(&["busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:9090/metrics"]);
        assert!(page.contains("graceful_oom_kills_total 1\n"), "{page}");
        std::fs::write(dir.path().join("go"), "\n").expect("it is read");
        let (code, _, stderr) = container.end();
        assert_eq!(code, 5, "{stderr}");
        assert!(
            stderr.contains("the kernel killed 1 process in the app's cgroup since the start, out of memory"),
            "{stderr}"
        );
        let report = std::fs::read_to_string(dir.path().join("report.json")).expect("a report");
        assert!(report.contains("\"oom_kills\": 1"), "{report}");
    }

    /// A twentieth of a processor, all of it taken up by the app: the engine's SIGKILL may come before all is said, but
    /// never before there is a report, which was written ahead of graceful's own.
    #[test]
    fn with_hardly_any_processor_there_is_a_report_whoever_kills_first() {
        let Some(image) = image() else { return };
        let spin = "trap '' TERM; for i in 1 2 3 4 5 6 7; do (trap '' TERM; while :; do :; done) & done; echo ready; \
                    while :; do :; done";
        let dirs = [0, 1].map(|_| tempfile::tempdir().expect("a directory"));
        let containers = dirs.each_ref().map(|dir| {
            let volume = format!("{}:/out", dir.path().display());
            let graceful = ["--grace-period", "10s", "--report", "/out/report.json", "--", "sh", "-c", spin];
            Container::run(&image, &["--cpus", "0.05", "-v", &volume], &graceful)
        });
        containers.iter().for_each(|container| drop(container.wait_line("ready")));
        std::thread::scope(|scope| {
            let stops = containers.each_ref().map(|container| scope.spawn(|| container.stop(10)));
            stops.into_iter().for_each(|stop| assert!(stop.join().is_ok(), "it stops"));
        });
        for (dir, container) in dirs.iter().zip(&containers) {
            let report = std::fs::read_to_string(dir.path().join("report.json"));
            let report = report.unwrap_or_else(|error| panic!("no report: {error}\n{}", container.dump()));
            assert!(report.contains("\"exit_code\": 137"), "{report}");
        }
    }

    /// A session of root's in a container of another user can be told nothing, and one that came from outside must not keep
    /// a crashed app from being started again.
    #[test]
    fn sessions_from_outside_hold_up_no_crash_and_those_of_root_not_even_a_stop() {
        let Some(image) = image() else { return };
        let app = "import signal, sys, time\n\
                   signal.signal(signal.SIGUSR1, lambda *_: sys.exit(3))\n\
                   signal.signal(signal.SIGTERM, lambda *_: sys.exit(4))\n\
                   print('ready', flush=True)\n\
                   while True: time.sleep(0.02)";
        let sessions: [(&[&str], &str, i32, &str); 3] = [
            (&["-u", "0"], "USR1", 3, "not permitted to signal"),
            (&["-u", "0"], "TERM", 4, "not permitted to signal"),
            (&[], "USR1", 3, "from outside the container"),
        ];
        for (user, signal, status, why) in sessions {
            let options = ["--user", "33", "-e", "GRACEFUL_GRACE_PERIOD=5min"];
            let container = quick(&image, &options, &[&["/usr/bin/python3", "-c", app]]);
            container.wait_line("ready");
            let session = [&["exec"], user, &[container.name.as_str(), "sh", "-c", "trap '' TERM; echo up; sleep 100"]];
            let session = Proc::spawn(&mut docker_command("60", &session.concat()));
            session.wait_line("up", DEADLINE);
            docker(&["kill", "--signal", signal, &container.name]);
            let (code, _, stderr) = container.end();
            assert_eq!(code, status, "{stderr}");
            assert!(stderr.contains(why), "{stderr}");
        }
    }
}

/// What an image's variables name once for the container is its PID 1's, whoever else runs graceful in it.
mod a_second_one {
    use super::*;

    const SETTINGS: [&str; 10] = [
        "--env",
        "GRACEFUL_HOOK=pre-start=sh -c 'echo of the image >>/tmp/hooks'",
        "--env",
        "GRACEFUL_PROBE_LISTEN=:9090",
        "--env",
        "GRACEFUL_DRAIN_FILE=/tmp/drain",
        "--env",
        "GRACEFUL_REPORT=/dev/stderr",
        "--env",
        "GRACEFUL_FAIL_READINESS=at-drain",
    ];

    #[test]
    fn it_runs_beside_and_leaves_what_is_there_once() {
        let Some(image) = image() else { return };
        let app = [&SIGNALS[..], &["--exit-on", "TERM=5"]].concat();
        let options = ["--grace-period", "60s", "--pre-stop-delay", "40s"];
        let container = Container::run(&image, &SETTINGS, &[&options, &["--"][..], &app].concat());
        container.wait_line("ready");
        // In the middle of a stop, with the drain file there.
        docker(&["kill", "--signal", "TERM", &container.name]);
        container.wait_line("SIGTERM: stopping");
        let exists = ["sh", "-c", "until test -e /tmp/drain; do sleep 0.05; done"];
        assert_eq!(container.exec(&exists).0, Some(0));
        let script = "echo migrated; exit 3";
        let (status, seen) = container.exec(&["/graceful", "--", "sh", "-c", script]);
        assert_eq!((status, seen.as_str()), (Some(3), "migrated\n"), "{}", container.dump());
        // As another user, who may not read what PID 1 was started with, and below the app.
        let nobody = ["exec", "--user", "65534", &container.name, "/graceful", "--", "sh", "-c", script];
        let output = try_docker(&nobody);
        assert_eq!((output.status.code(), output.stdout), (Some(3), b"migrated\n".to_vec()));
        let nested = ["/graceful", "--", "/graceful", "--log-level", "debug", "--", "sh", "-c", script];
        let (status, seen) = container.exec(&nested);
        assert_eq!(status, Some(3), "{seen}");
        assert!(
            ["GRACEFUL_HOOK", "GRACEFUL_PROBE_LISTEN", "GRACEFUL_DRAIN_FILE", "GRACEFUL_REPORT"]
                .iter()
                .all(|name| seen.lines().any(|line| line.contains(name) && line.contains("of the graceful above"))),
            "{seen}"
        );
        let hooked = ["/graceful", "--hook", "pre-start=sh -c 'echo its own >>/tmp/hooks'", "--", "cat", "/tmp/hooks"];
        let (status, seen) = container.exec(&hooked);
        assert_eq!((status, seen.as_str()), (Some(0), "of the image\nits own\n"), "{}", container.dump());
        let (status, seen) = container.exec(&["test", "-e", "/tmp/drain"]);
        assert_eq!(status, Some(0), "the drain file of the stop in progress is gone {seen}");
        let (status, seen) = container.exec(&["/graceful", "probe", "live"]);
        assert_eq!(status, Some(0), "{seen}");
        // What is said for it alone counts.
        let (status, seen) = container.exec(&["/graceful", "--probe-listen", ":9090", "--", "true"]);
        assert!(status == Some(125) && seen.contains("cannot listen on --probe-listen"), "{seen}");
        let other = [
            "sh",
            "-c",
            "GRACEFUL_DRAIN_FILE=/tmp/other GRACEFUL_PROBE_LISTEN=:9091 /graceful -- /graceful probe live :9091",
        ];
        assert_eq!(container.exec(&other).0, Some(0), "variables of its own do, too");
    }
}

mod terminal {
    use super::*;

    #[test]
    fn docker_run_it_is_a_terminal_like_any_other() {
        let Some(image) = image() else { return };
        let container = Reserved::new();
        let shell = "bash --norc --noprofile --noediting -i";
        let script = format!(
            "timeout --foreground 120 docker run -it -e PS1='in> ' --name {} {} -- {shell}; echo status $?; \
             read line; echo \"outer read $line\"",
            container.name, image.name
        );
        let terminal = Terminal::script(&script);
        terminal.expect("in> ");
        assert!(!terminal.is_cooked(), "docker hands the keys on");
        terminal.type_line("stty -echo; echo qui''et");
        terminal.expect("quiet");
        terminal.type_line("trap 'echo the size is $(stty size)' WINCH; sleep 1000");
        wait_for(&container, 'S', "sleep 1000");
        terminal.type_text(CTRL_Z);
        terminal.expect("Stopped");
        terminal.expect("in> ");
        wait_for(&container, 'T', "sleep 1000");
        terminal.type_line("fg");
        wait_for(&container, 'S', "sleep 1000");
        terminal.type_text(CTRL_C);
        terminal.expect("in> ");
        terminal.type_line("echo slept $?");
        terminal.expect("slept 130");
        terminal.resize(50, 132);
        // The shell runs its trap when it is told the next line.
        terminal.expect_typing_until("", "the size is 50 132");
        terminal.type_line("exit 9");
        terminal.expect("status 9");
        assert!(terminal.is_cooked(), "the terminal is as it was");
        terminal.type_line("hello");
        terminal.expect("outer read hello");
        assert_eq!(terminal.wait(), Exit::Code(0));
    }

    /// Waits until the container runs this command line and it is in this state.
    fn wait_for(container: &Reserved, state: char, command: &str) {
        let end = Instant::now() + DEADLINE;
        loop {
            let output = try_docker(&["exec", &container.name, "busybox", "ps", "-o", "stat,args"]);
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            if text.lines().any(|line| line.starts_with(state) && line.ends_with(command)) {
                return;
            }
            assert!(Instant::now() < end, "{command} is not in state {state}:\n{text}");
        }
    }

    #[test]
    fn ctrl_c_reaches_the_app_and_the_second_begins_the_stop() {
        let Some(image) = image() else { return };
        let container = Reserved::new();
        let args = [&["run", "-it", "--name", &container.name, &image.name, "--"], &SIGNALS[..]].concat();
        let terminal = Terminal::start(&mut docker_command("120", &[&args[..], &["--exit-on", "USR1=8"]].concat()));
        terminal.expect("ready");
        // The first is the app's alone, and it lives on.
        terminal.type_text(CTRL_C);
        terminal.expect("SIGINT\r\n");
        assert!(!terminal.output().contains("stopping"), "{}", terminal.dump());
        terminal.type_text(CTRL_C);
        terminal.expect("graceful: SIGINT: stopping without the pre-stop delay");
        docker(&["kill", "--signal", "USR1", &container.name]);
        assert_eq!(terminal.wait(), Exit::Code(8), "{}", terminal.dump());
        // The terminal gave it to the app each time, and graceful did not send it once more.
        assert_eq!(terminal.output().matches("SIGINT\r\n").count(), 2, "{}", terminal.dump());
    }
}

mod output {
    use super::*;

    #[test]
    fn stdout_is_the_apps_own_byte_by_byte_and_stderr_is_gracefuls() {
        let Some(image) = image() else { return };
        let container = Reserved::new();
        // Everything that a byte can be, without a line end at the end; then a stop.
        let app = "import os, signal\nos.write(1, bytes(range(256)) * 64 + b'\\xff\\x00')\n\
                   os.kill(os.getppid(), signal.SIGTERM)\nsignal.pause()";
        let args = ["run", "--name", &container.name, &image.name];
        let args = [&args[..], &QUICK, &["/usr/bin/python3", "-c", app]].concat();
        let output = docker_command("60", &args).output().expect("docker runs");
        let mut expected: Vec<u8> = (0..=255).collect::<Vec<u8>>().repeat(64);
        expected.extend([0xff, 0x00]);
        assert!(output.stdout == expected, "{} bytes of stdout", output.stdout.len());
        let stderr = String::from_utf8(output.stderr).expect("text");
        assert!(stderr.lines().all(|line| line.starts_with("graceful: ")), "{stderr}");
        let steps = ["SIGTERM: stopping", "SIGTERM to the app", "exited after"];
        assert!(steps.iter().all(|step| stderr.contains(step)), "{stderr}");
        let logs = try_docker(&["logs", &container.name]);
        assert_eq!(String::from_utf8_lossy(&logs.stderr), stderr);
    }
}

mod network {
    use super::*;

    fn certificate() -> tempfile::NamedTempFile {
        use std::io::Write as _;
        let names = ["localhost", "web", "127.0.0.1"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        write!(file, "{}{}", made.cert.pem(), made.signing_key.serialize_pem()).expect("room");
        file
    }

    #[test]
    fn names_and_https_work_in_an_image_with_nothing_but_the_binary() {
        let Some(image) = image() else { return };
        let network = Network::new();
        let pem = certificate();
        let volume = format!("{}:/tls.pem:ro", pem.path().display());
        let server = ["--network", &network.name, "--network-alias"];
        let plain = quick(&image, &[&server[..], &["plain"]].concat(), &[&WEB]);
        let secure = quick(
            &image,
            // No /etc/hosts to speak of: localhost must be known without.
            &[&server[..], &["web", "-v", &volume, "-v", "/dev/null:/etc/hosts"]].concat(),
            &[&WEB, &["--tls", "/tls.pem", "--port", "8443"]],
        );
        plain.wait_line("ready");
        secure.wait_line("ready");
        let probe = |from: &Container, url: &str| from.exec(&["/graceful", "probe", "--timeout", "10s", url]);

        let (code, text) = probe(&secure, "http://plain:8080/healthz");
        assert_eq!(code, Some(0), "{text}");
        assert!(text.starts_with("http://plain:8080/healthz: 200 in "), "{text}");
        let (code, text) = probe(&plain, "http://nobody-of-that-name:8080/");
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("cannot resolve nobody-of-that-name: "), "{text}");

        for loopback in ["https://127.0.0.1:8443/", "https://localhost:8443/"] {
            let (code, text) = probe(&secure, loopback);
            assert_eq!(code, Some(0), "{text}");
        }
        // Over the network a certificate has to be one.
        let (code, text) = probe(&plain, "https://web:8443/");
        assert_eq!(code, Some(1), "{text}");
        assert!(text.to_lowercase().contains("certificate") && text.lines().count() == 1, "{text}");
    }
}

mod example {
    use super::*;
    use std::path::Path;

    /// Stands in for cargo in the build stage, since no image with a compiler is at hand: it checks what the example
    /// gave it and "builds" the binary under test.
    const CARGO: &str = "#!/bin/sh
set -e
[ \"$*\" = 'build --release --locked' ]
grep -q crt-static .cargo/config.toml
test -f Cargo.toml -a -f Cargo.lock -a -f src/main.rs
test ! -e tests -a ! -e target
mkdir -p target/some-triple/release
cp /graceful target/some-triple/release/graceful
";

    /// The tests' image with a cargo.
    fn with_cargo(image: &Arc<Image>) -> Image {
        let root = tempfile::tempdir().expect("a directory");
        let (dockerfile, cargo) = (root.path().join("Dockerfile"), root.path().join("cargo"));
        std::fs::write(&cargo, CARGO).expect("room");
        std::fs::write(&dockerfile, format!("FROM {}\nCOPY cargo /bin/cargo\n", image.name)).expect("room");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&cargo, mode).expect("it is ours");
        let made = Image::to_be();
        docker(&["build", "--quiet", "--tag", &made.name, root.path().to_str().expect("a path")]);
        made
    }

    #[test]
    fn it_builds_turns_healthy_and_stops_cleanly() {
        let Some(base) = image() else { return };
        let cargo = with_cargo(&base);
        let top = Path::new(env!("CARGO_MANIFEST_DIR"));
        let example = top.join("Dockerfile.example");
        let (rust, app) = (format!("RUST={}", cargo.name), format!("BASE={}", base.name));
        // The build stage too gets a name, by which it can be removed.
        let (stage, made) = (Image::to_be(), Arc::new(Image::to_be()));
        for (name, target) in [(&stage.name, &["--target", "build"][..]), (&made.name, &[])] {
            let fixed = ["build", "--force-rm", "--file", example.to_str().expect("a path"), "--tag", name];
            let args = ["--build-arg", &rust, "--build-arg", &app, top.to_str().expect("a path")];
            docker(&[&fixed[..], target, &args].concat());
        }

        // As it is, but for the waiting of the health check. Python looks up its host's name at start: no name server
        // answers at once, where one that cannot be reached takes its time.
        let container = Container::run(&made, &["--health-interval", "1s", "--dns", "127.0.0.1"], &[]);
        container.wait_health("healthy");
        let server = container.address(8000);
        let load = Load::start(server, "/", 50);
        load.wait_answered(10, DEADLINE);
        let begin = Instant::now();
        // Docker's own 10 s.
        let stop = || drop(docker(&["stop", &container.name]));
        let ((), sent) = while_stopping(stop, || load.finish(begin + Duration::from_secs(1)));
        let took = begin.elapsed();
        assert!(took >= Duration::from_secs(2), "{took:?}");
        sent.assert_nothing_dropped(begin);
        let (code, _, stderr) = container.end();
        assert_eq!((code, container.inspect(".State.ExitCode")), (0, "0".to_owned()), "{stderr}");
        assert!(stderr.contains("exited after 2") && stderr.contains("by SIGTERM (143)"), "{stderr}");
    }
}

/// A reload in a container, as whoever deploys by it types it.
mod reload {
    use super::*;
    use crate::reload::SERVER;

    #[test]
    fn docker_exec_is_a_deploy_step_and_drops_nothing() {
        let Some(image) = image() else { return };
        let env = ["--env", "GRACEFUL_LISTEN=:8000", "--env", "GRACEFUL_RELOAD_READY=500ms"];
        let container = quick(&image, &env, &[&["/usr/bin/python3", "-c", SERVER]]);
        container.wait_line("up 1");
        let load = Load::start(container.address(8000), "/", 50);
        load.wait_answered(20, DEADLINE);
        let begin = Instant::now();
        for generation in 2..5 {
            let (status, said) = container.exec(&["/graceful", "reload"]);
            assert_eq!(status, Some(0), "{said}\n{}", container.dump());
            assert!(said.contains(&format!("generation {generation} serves")), "{said}");
        }
        let (_, status) = container.exec(&["/graceful", "status"]);
        assert!(status.contains("generation") && status.contains('4'), "{status}");
        // By the signal as well, as `docker kill` sends it.
        docker(&["kill", "--signal", "HUP", &container.name]);
        container.wait_line("generation 5 serves");
        load.finish(Instant::now()).assert_nothing_dropped(begin);
        container.stop(10);
        assert_eq!(container.end().0, 143, "{}", container.dump());
    }
}
